/*
 * The code cache: memory mapped twice, writable here and executable there, never both in one mapping. (It is anonymous, which is what perf wants of
 * memory whose code is named in a perf map, vmm/perf.c.) Blocks are appended; a full cache is
 * emptied as a whole (an ordinary event). Lookup structures: a hash by (pc, physical address, mode), lists by physical page for
 * invalidation, an array in address order to find the block of a host pc. All under t->lock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "core/log.h"
#include "tcg/tcg.h"

#define META_SIZE (256u << 20)

int tcg_cache_init(struct tcg *t, size_t size)
{
    t->rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    t->rx = t->rw == MAP_FAILED ? MAP_FAILED : mremap(t->rw, 0, size, MREMAP_MAYMOVE);          /* of length 0: the same memory once more */
    if (t->rx == MAP_FAILED || mprotect(t->rx, size, PROT_READ | PROT_EXEC) < 0) {
        log_error("code cache: cannot map %zu MiB executable: %s", size >> 20, strerror(errno));
        return -ENOMEM;
    }
    t->cache_size = size;
    t->buf = (struct code_buf){.rw = t->rw, .rx_delta = t->rx - t->rw, .p = t->rw, .end = t->rw + size};
    t->meta.base = xmap(META_SIZE);
    t->meta.cap = META_SIZE;
    t->cap_by_code = 1u << 20;
    t->by_code = xmap(sizeof(struct tb *) * t->cap_by_code);
    return t->meta.base && t->by_code ? 0 : -ENOMEM;
}

static void clear_jump_caches(struct tcg *t)
{
    for (unsigned i = 0; i < t->n_envs; i++)
        memset(t->envs[i]->jc, 0, sizeof t->envs[i]->jc);
}

/* Takes the lock: a DMA write on another thread may be walking the lists. */
void tcg_cache_flush(struct tcg *t)
{
    tcg_lock(t);
    for (unsigned i = 0; i < t->n_by_code; i++) {
        t->n.drop_flush += t->by_code[i]->valid;
        for (unsigned p = 0; p < 2; p++)
            if (t->by_code[i]->valid && t->by_code[i]->phys[p] != ~0ull && t->n_envs)
                mmu_code_forget_page(t->envs[0]->mmu, t->by_code[i]->phys[p] & PAGE_MASK);
    }
    memset(t->hash, 0, sizeof t->hash);
    memset(t->pages, 0, sizeof t->pages);
    memset(t->origins, 0, sizeof t->origins);
    for (unsigned i = 0; i < t->n_envs; i++)
        t->envs[i]->cold_tb = NULL;
    t->n_by_code = 0;
    t->buf.p = t->blocks_start;
    arena_reset(&t->meta);
    clear_jump_caches(t);
    t->flush_count++;
    t->n.cache_flushes++;
    tcg_unlock(t);
}

struct tb *tcg_tb_new(struct tcg *t)
{
    if (t->n_by_code + 1 >= t->cap_by_code || t->meta.used + (1u << 20) > t->meta.cap)
        return NULL;
    struct tb *tb = arena_alloc(&t->meta, sizeof *tb);
    memset(tb, 0, sizeof *tb);
    return tb;
}

void tcg_tb_insert_locked(struct tcg *t, struct tb *tb)
{
    t->by_code[t->n_by_code] = tb;
    __atomic_store_n(&t->n_by_code, t->n_by_code + 1, __ATOMIC_RELEASE);      /* faults of other vCPUs search without the lock */
    t->n.code_bytes += tb->code_size;
    t->n.guest_bytes += tb->len;
    t->n.hot_blocks += tb->hot;
    t->n.tight_loops += tb->tight != 0;
    t->n.single_blocks += tb->one_insn;
    if (tb->one_insn)
        return;
    tb->valid = true;
    uint32_t h = tb_hash(tb->key.pc, tb->phys[0], tb->key.mode);
    tb->hash_next = t->hash[h];
    __atomic_store_n(&t->hash[h], tb, __ATOMIC_RELEASE);
    for (unsigned p = 0; p < 2; p++) {
        if (tb->phys[p] == ~0ull)
            continue;
        unsigned ph = tb_page_hash(tb->phys[p]);
        tb->page_next[p] = t->pages[ph];
        t->pages[ph] = (struct tb *)((uintptr_t)tb | p);      /* low bit: which of the block's two lists goes on */
    }
    if (tb->places)
        tcg_origin_add(t, tb);
}

/* The block is complete: make it findable. one_insn blocks are only found by host pc. */
void tcg_tb_insert(struct tcg *t, struct tb *tb)
{
    tcg_lock(t);
    tcg_tb_insert_locked(t, tb);
    tcg_unlock(t);
}

static bool overlaps(const struct tb *tb, unsigned p, gpa_t gpa, unsigned len)
{
    gpa_t start, end;
    if (p == 0) {
        start = tb->phys[0];
        end = tb->phys[1] == ~0ull ? start + tb->len : (start | ~PAGE_MASK) + 1;
    } else {
        start = tb->phys[1] & PAGE_MASK;
        end = start + tb->len - (PAGE_SIZE - (tb->phys[0] & ~PAGE_MASK));
    }
    return gpa < end && gpa + len > start;
}

/*
 * Code that changes itself in a loop. Each time round a whole block would be made for the sake of one changed instruction, so blocks that are
 * lost again and again become short, then single instructions: then the changing instruction alone is made anew. The sampler retires
 * blocks that run much, so a while after the last change they are long again.
 */
#define LOST_NS 20000000              /* losses further apart than this are no storm */
#define LOST_SHORT 8
#define LOST_SINGLE 16
#define SHORT_BLOCK 8u

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static void note_loss(struct tcg *t, uint64_t pc)
{
    unsigned i = tcg_pc_slot(pc) % ARRAY_SIZE(t->lost);
    int64_t now = now_ns();
    if (t->lost[i].pc != pc || now - t->lost[i].ns > LOST_NS)
        t->lost[i].n = 0;
    t->lost[i].pc = pc;
    t->lost[i].ns = now;
    t->lost[i].n++;
}

unsigned tcg_max_insns(struct tcg *t, uint64_t pc, unsigned max)
{
    unsigned i = tcg_pc_slot(pc) % ARRAY_SIZE(t->lost);
    tcg_lock(t);                                   /* others may be losing blocks */
    unsigned n = t->lost[i].pc == pc ? t->lost[i].n : 0;
    int64_t last = t->lost[i].ns;
    tcg_unlock(t);
    if (unlikely(t->random) && tcg_random(t, 4))
        max = 1 + tcg_random(t, MIN(max, 16u));
    if (n < LOST_SHORT || now_ns() - last > LOST_NS)
        return max;
    return n < LOST_SINGLE ? MIN(max, SHORT_BLOCK) : 1;
}

/* Drop every block that has a byte in [gpa, gpa + len), which lies in one page. */
void tcg_invalidate_range(struct tcg *t, gpa_t gpa, unsigned len, enum counter why)
{
    struct tb *n = t->pages[tb_page_hash(gpa)], *next;
    for (; n; n = next) {
        struct tb *tb = (struct tb *)((uintptr_t)n & ~1ull);
        unsigned p = (uintptr_t)n & 1;
        next = tb->page_next[p];
        if ((tb->phys[p] & PAGE_MASK) == (gpa & PAGE_MASK) && overlaps(tb, p, gpa, len)) {
            note_loss(t, tb->key.pc);
            tcg_tb_invalidate(t, tb, why);
        }
    }
    for (n = t->pages[tb_page_hash(gpa)]; n; n = *tb_page_link(n))
        if ((((struct tb *)((uintptr_t)n & ~1ull))->phys[(uintptr_t)n & 1] & PAGE_MASK) == (gpa & PAGE_MASK))
            return;
    if (t->n_envs)
        mmu_code_forget_page(t->envs[0]->mmu, gpa & PAGE_MASK);
}

