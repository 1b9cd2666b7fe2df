/*
 * The code cache: memory mapped twice, writable here and executable there, never both in one mapping. (It is anonymous, which is what perf wants of
 * memory whose code is named in a perf map, vmm/perf.c.) It has parts, each with the structs of its blocks; blocks are appended to one part
 * after the other, and when all are full the oldest is emptied and used again: an ordinary event, for which the other vCPUs are kept
 * outside (tcg/world.c). So a program's memory has a bound, and code that has not been run for long, or belonged to processes that are gone, does
 * not stay for ever; what is still wanted is made again. Lookup structures: a hash by (pc, physical address, mode), lists by physical page for
 * invalidation, for each part an array in address order to find the block of a host pc. All under t->lock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "core/log.h"
#include "tcg/tcg.h"

#define META_SIZE (256u << 20)        /* address space: the interpreter's blocks, which keep their IR */
#define META_LEAST (32u << 20)
#define PART_LEAST (192u << 10)       /* of code */
#define PART_BLOCKS (1u << 17)

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
    t->n_parts = (unsigned)MIN(TCG_PARTS, MAX(size / PART_LEAST, 1u));
    t->meta_base = xmap(META_SIZE);
    for (unsigned i = 0; i < t->n_parts; i++)
        if (!(t->part[i].by_code = xmap(sizeof(struct tb *) * PART_BLOCKS)))
            return -ENOMEM;
    if (!t->meta_base)
        return -ENOMEM;
    madvise(t->meta_base, META_SIZE, MADV_HUGEPAGE);         /* a wish: fewer page faults while blocks are made */
    return 0;
}

static size_t part_code(const struct tcg *t) { return t->cache_size / t->n_parts & ~63ul; }

/* The structs of blocks have three quarters of the room that their code has. */
static struct arena part_meta(const struct tcg *t, unsigned i)
{
    size_t n = (t->interp ? META_SIZE : MIN(META_SIZE, MAX(t->cache_size / 4 * 3, META_LEAST))) / t->n_parts & ~63ul;
    return (struct arena){.base = t->meta_base + i * n, .cap = n};
}

static void use_part(struct tcg *t, unsigned i)
{
    t->now = i;
    t->buf.p = i ? t->rw + i * part_code(t) : t->blocks_start;
    t->buf.end = t->rw + (i + 1) * part_code(t);
    t->meta = part_meta(t, i);
}

/* The stubs are in place: the rest is for blocks. */
void tcg_cache_start(struct tcg *t)
{
    t->blocks_start = t->buf.p;
    use_part(t, 0);
}

static bool page_has_code(struct tcg *t, gpa_t gpa)
{
    for (struct tb *n = t->pages[tb_page_hash(gpa)]; n; n = *tb_page_link(n))
        if ((((struct tb *)((uintptr_t)n & ~1ull))->phys[(uintptr_t)n & 1] & PAGE_MASK) == (gpa & PAGE_MASK))
            return true;
    return false;
}

static void forget_page(struct tcg *t, gpa_t gpa)
{
    if (gpa != ~0ull && t->n_envs && !page_has_code(t, gpa))
        mmu_code_forget_page(t->envs[0]->mmu, gpa & PAGE_MASK);
}

static bool is_of(const struct arena *m, const void *p) { return (uintptr_t)p - (uintptr_t)m->base < m->cap; }

/* Blocks whose structs are in M leave all lists, which are walked as a whole: many are long, and one walk each would be too dear. */
static void leave_lists(struct tcg *t, const struct arena *m)
{
    for (unsigned i = 0; i < ARRAY_SIZE(t->hash); i++)
        for (struct tb **at = &t->hash[i]; *at;)
            if (is_of(m, *at))
                *at = (*at)->hash_next;
            else
                at = &(*at)->hash_next;
    for (unsigned i = 0; i < ARRAY_SIZE(t->pages); i++)
        for (struct tb **at = &t->pages[i]; *at;)
            if (is_of(m, *at))
                *at = *tb_page_link(*at);
            else
                at = tb_page_link(*at);
    for (unsigned i = 0; i < ARRAY_SIZE(t->origins); i++)
        for (struct tb **at = &t->origins[i]; *at;)
            if (is_of(m, *at))
                *at = (*at)->origins_next;
            else
                at = &(*at)->origins_next;
}

/* What TB, which stays, knows of blocks that go. */
static void forget_in(struct tb *tb, const struct arena *m)
{
    if (is_of(m, tb->origin))
        tb->origin = NULL;
    for (struct tb_exit **at = &tb->in; *at;)
        if (is_of(m, (*at)->owner))
            *at = (*at)->next_in;
        else
            at = &(*at)->next_in;
}

static void unlink_others(struct tcg *t, struct tb *tb, const struct arena *m)
{
    for (struct tb_exit *e = tb->in; e; e = e->next_in)
        if (!is_of(m, e->owner)) {
            t->be->link(t, e->owner, e->n, NULL);
            e->dest = NULL;
        }
}

static void forget_jumps(struct tcg *t, unsigned i)
{
    for (unsigned v = 0; v < t->n_envs; v++)
        for (unsigned k = 0; k < ARRAY_SIZE(t->envs[v]->jc); k++)
            if ((size_t)((uint8_t *)t->envs[v]->jc[k].code - (t->rx + i * part_code(t))) < part_code(t))
                t->envs[v]->jc[k].tag = 0;
}

/* The blocks of part I go. Under the lock: a DMA write on another thread may be walking the lists. */
static void empty_part(struct tcg *t, unsigned i)
{
    struct tcg_part *p = &t->part[i];
    struct arena m = part_meta(t, i);
    if (!p->n)
        return;
    leave_lists(t, &m);
    forget_jumps(t, i);
    for (unsigned k = 0; k < t->n_parts; k++)
        for (unsigned n = 0; n < t->part[k].n && k != i; n++)
            forget_in(t->part[k].by_code[n], &m);
    for (unsigned k = 0; k < p->n; k++) {
        struct tb *tb = p->by_code[k];
        if (!tb->valid)
            continue;
        t->n.drop_old++;
        unlink_others(t, tb, &m);
        forget_page(t, tb->phys[0]);
        forget_page(t, tb->phys[1]);
    }
    p->n = 0;
}

/* What others remember of blocks that are gone. */
static void forget_gone(struct tcg *t)
{
    for (unsigned i = 0; i < t->n_envs; i++)
        t->envs[i]->cold_tb = NULL;
    t->flush_count++;
}

static void drop_all(struct tcg *t, struct tcg_part *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        struct tb *tb = p->by_code[i];
        t->n.drop_flush += tb->valid;
        for (unsigned k = 0; k < 2; k++)
            if (tb->valid && tb->phys[k] != ~0ull && t->n_envs)
                mmu_code_forget_page(t->envs[0]->mmu, tb->phys[k] & PAGE_MASK);
    }
    p->n = 0;
}

void tcg_cache_flush(struct tcg *t)
{
    tcg_lock(t);
    for (unsigned i = 0; i < t->n_parts; i++)
        drop_all(t, &t->part[i]);
    memset(t->hash, 0, sizeof t->hash);
    memset(t->pages, 0, sizeof t->pages);
    memset(t->origins, 0, sizeof t->origins);
    for (unsigned i = 0; i < t->n_envs; i++)
        memset(t->envs[i]->jc, 0, sizeof t->envs[i]->jc);
    use_part(t, 0);
    forget_gone(t);
    t->n.cache_flushes++;
    tcg_unlock(t);
}

/* No room is left: go on in the part that was begun the longest ago. The others are outside. */
void tcg_cache_next(struct tcg *t)
{
    unsigned i = (t->now + 1) % t->n_parts;
    if (t->n_parts == 1) {
        tcg_cache_flush(t);
        return;
    }
    tcg_lock(t);
    t->n.cache_turns += t->part[i].n != 0;
    empty_part(t, i);
    use_part(t, i);
    forget_gone(t);
    tcg_unlock(t);
}

size_t tcg_cache_used(const struct tcg *t)
{
    size_t used = 0;
    for (unsigned i = 0; i < t->n_parts; i++) {
        const struct tcg_part *p = &t->part[i];
        if (p->n)
            used += (size_t)(p->by_code[p->n - 1]->code + p->by_code[p->n - 1]->code_size - p->by_code[0]->code);
    }
    return used;
}

struct tb *tcg_tb_new(struct tcg *t)
{
    if (t->part[t->now].n == PART_BLOCKS || t->meta.used + (1u << 20) > t->meta.cap)
        return NULL;
    struct tb *tb = arena_alloc(&t->meta, sizeof *tb);
    memset(tb, 0, sizeof *tb);
    return tb;
}

void tcg_tb_insert_locked(struct tcg *t, struct tb *tb)
{
    struct tcg_part *part = &t->part[t->now];
    part->by_code[part->n] = tb;
    __atomic_store_n(&part->n, part->n + 1, __ATOMIC_RELEASE);      /* faults of other vCPUs search without the lock */
    t->n.code_bytes += tb->code_size;
    t->n.guest_bytes += tb->len;
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
    forget_page(t, gpa);
}
