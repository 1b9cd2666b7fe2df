/*
 * The softmmu: creation, the pool of address spaces, their code generations, and flushing.
 *
 * An address space is a value of ops->root with its TLBs, one for each vCPU and mode; vCPUs in the same one share it. Of N_SPACES, the least
 * recently used in which no vCPU stands is recycled. Its tables of shadow pages are shared and outlive it. Generations: gen_words[0] is the space's
 * own number; gen_words[1] is the number of its group, the spaces with the same upper part: whose root tables have equal upper halves (256 entries
 * compared when the space first uses them; a write to one of them leaves the group), or with 32-bit PAE paging, whose last GiB has the same table.
 * Invariant: while a number stands, every address that code was asked for at (mmu_code_page, mmu_code_gpa_fast) under it, in its part of a space that
 * has it, leads where it led then, and may be executed in that mode. So a number is renewed when such a translation leaves the shadow (SE_FETCHED;
 * all groups at once: it is rare, and a space that has been recycled may have taught its number to blocks that others of the group still run), and
 * when a top table loses an entry under which there may be one. Whoever keeps an answer with a number has read the number first.
 * Locks: m->lock for all that DMA on another thread can reach (internal.h).
 */
#include <stdlib.h>
#include <string.h>
#include "core/alloc.h"
#include "softmmu/internal.h"

/* Tags alone: another vCPU may be between its look at the tag and at the host address, which stays true of RAM. */
static void tlb_reset(struct tlb_entry *t)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++) {
        __atomic_store_n(&t[i].tag_r, tlb_invalid(i), __ATOMIC_RELAXED);
        __atomic_store_n(&t[i].tag_w, tlb_invalid(i), __ATOMIC_RELAXED);
    }
}

void mmu_set_tiny(struct mmu *m, unsigned n) { m->n_tiny = MIN(n, MMU_TINY_MOST); }

static struct tlb_entry *tlb_new(void)
{
    struct tlb_entry *t = xzalloc(sizeof(*t) * TLB_ENTRIES);
    tlb_reset(t);
    return t;
}

void tlbs_reset(struct mmu_shared *m, struct space *s)
{
    for (unsigned v = 0; v < m->n_vcpus; v++)
        for (unsigned i = 0; i < MMU_MODES; i++)
            if (s->tlb[v][i])
                tlb_reset(s->tlb[v][i]);
}

/* Translated code compares these words; another vCPU may as well be told a moment later (it has to ask for its own sake: INVLPG and the like). */
void gens_sync(struct mmu_shared *m)
{
    for (unsigned i = 0; i < m->n_vcpus; i++) {
        struct mmu *v = m->vcpu[i];
        if (!v->cur)
            continue;
        __atomic_store_n(&v->gen_words[0], v->cur->gen_lo, __ATOMIC_RELAXED);
        __atomic_store_n(&v->gen_words[1], m->groups[v->cur->group].gen, __ATOMIC_RELAXED);
    }
}

static unsigned group_new(struct mmu_shared *m)
{
    unsigned g = 0;
    while (m->groups[g].refs)          /* never more groups than spaces */
        g++;
    m->groups[g] = (struct group){ gen_fresh(m), 1 };
    return g;
}

void space_leave_group(struct mmu_shared *m, struct space *s)
{
    m->groups[s->group].refs--;
    s->group = group_new(m);
    s->upper = NULL;
    gens_sync(m);
}

/* Two tables of an upper part that say the same. PAE's directories are shared by processes: it is one shadow page then. */
static bool same_upper(const struct shadow_page *a, const struct shadow_page *b)
{
    return a == b || (is_upper_half(a) && is_upper_half(b) && a->context == b->context && a->shift == b->shift &&
                      !memcmp(a->pt->host + PAGE_SIZE / 2, b->pt->host + PAGE_SIZE / 2, PAGE_SIZE / 2));
}

/* S has just got UPPER as the table of its upper part. */
void space_join_group(struct mmu_shared *m, struct space *s, const struct shadow_page *upper)
{
    if (s->upper)
        space_leave_group(m, s);
    s->upper = upper;
    for (unsigned i = 0; i < N_SPACES; i++) {
        struct space *o = &m->spaces[i];
        if (!o->used || o == s || !o->upper || !same_upper(o->upper, upper))
            continue;
        m->groups[s->group].refs--;
        s->group = o->group;
        m->groups[s->group].refs++;
        break;
    }
    gens_sync(m);
}

static void space_clear(struct mmu_shared *m, struct space *s)
{
    if (!s->used)
        return;
    m->groups[s->group].refs--;
    for (unsigned v = 0; v < MMU_MAX_VCPUS; v++)
        for (unsigned i = 0; i < MMU_MODES; i++)
            free(s->tlb[v][i]);
    *s = (struct space){ 0 };
}

static bool stood_in(const struct mmu_shared *m, const struct space *s)
{
    for (unsigned v = 0; v < m->n_vcpus; v++)
        if (m->vcpu[v]->cur == s)
            return true;
    return false;
}

static struct space *space_new(struct mmu_shared *m, uint64_t root)
{
    struct space *s = NULL;
    for (unsigned i = 0; i < N_SPACES; i++) {
        struct space *c = &m->spaces[i];
        if (c->used && c->root == root)
            return c;
        if (!stood_in(m, c) && (!s || (s->used && (!c->used || c->stamp < s->stamp))))
            s = c;
    }
    space_clear(m, s);
    s->used = true;
    s->root = root;
    s->made = ++m->stamp;
    s->gen_lo = gen_fresh(m);
    s->group = group_new(m);
    m->n.root_new++;
    return s;
}

/* Make the current root and mode known and give them a TLB. Cheap when nothing is to do. */
void mmu_resolve(struct mmu *m)
{
    struct mmu_shared *sh = m->sh;
    if (likely(m->cur && m->cur->tlb[m->id][m->mode]))
        return;
    uint64_t root = m->ops->root(m->cpu);
    m->mode = m->ops->mode(m->cpu);
    mmu_lock(sh);
    if (unlikely(sh->unsettled))
        settle_locked(sh);
    if (!m->cur) {
        m->cur = space_new(sh, root);
        m->cur->stamp = ++sh->stamp;
        gens_sync(sh);
    }
    if (!m->cur->tlb[m->id][m->mode])
        m->cur->tlb[m->id][m->mode] = tlb_new();
    *m->tlb_word = m->cur->tlb[m->id][m->mode];
    mmu_unlock(sh);
}

void flush_locked(struct mmu_shared *m)
{
    shadow_zap_all_locked(m);
    regions_drop(m, false);
    for (unsigned i = 0; i < N_SPACES; i++) {
        struct space *s = &m->spaces[i];
        if (!s->used)
            continue;
        s->n_slots = 0;
        s->flat = false;
        s->gen_lo = gen_fresh(m);
        space_leave_group(m, s);
        tlbs_reset(m, s);
    }
    for (unsigned i = 0; i < N_FLAT; i++)
        m->flat[i].va = ~0ull;         /* no page address */
    for (unsigned i = 0; i < m->n_blocks; i++)
        if (m->blocks[i].hi - m->blocks[i].lo <= 4096)   /* clearing is optional: small ones only */
            memset(m->blocks[i].hint, 0, (size_t)(m->blocks[i].hi - m->blocks[i].lo) * 8);
    drop_seq_next(m);
    epoch_new_locked(m);               /* descriptors that are being filled go, too */
    gens_sync(m);
}

void mmu_flush_all(struct mmu *m)
{
    mmu_lock(m->sh);
    m->sh->n.tlb_flushes++;
    flush_locked(m->sh);
    mmu_unlock(m->sh);
}

void mmu_drop_context(struct mmu *m, unsigned context)
{
    mmu_lock(m->sh);
    m->sh->n.tlb_flushes++;
    regions_drop(m->sh, false);
    shadow_zap_context_locked(m->sh, context);
    drop_seq_next(m->sh);
    mmu_unlock(m->sh);
}

void mmu_flush_page(struct mmu *m, gva_t va)
{
    struct mmu_shared *sh = m->sh;
    if (unlikely(__atomic_load_n(&sh->unsettled, __ATOMIC_ACQUIRE))) {
        mmu_forget_root(m);
        return;
    }
    mmu_lock(sh);
    regions_drop_own(m, 0);
    /* Nothing else is cached that is not tracked, except that the translator may have linked code found through tables outside RAM. */
    if (unlikely(sh->uncached) && m->cur) {
        m->cur->gen_lo = gen_fresh(sh);
        sh->groups[m->cur->group].gen = gen_fresh(sh);
        gens_sync(sh);
    }
    mmu_unlock(sh);
}

static void map_changed(void *opaque)
{
    struct mmu_shared *m = opaque;
    mmu_lock(m);
    m->n_runs = 0;
    flush_locked(m);
    mmu_unlock(m);
}

static struct mmu_shared *shared_new(struct aspace *mem)
{
    struct mmu_shared *sh = xzalloc(sizeof(*sh));
    sh->mem = mem;
    sh->lru.lru_next = sh->lru.lru_prev = &sh->lru;
    flush_locked(sh);
    as_set_write_hook(mem, track_write_hook, sh);
    as_on_change(mem, map_changed, sh);
    return sh;
}

struct mmu *mmu_new(void *cpu, const struct mmu_ops *ops, struct aspace *mem, struct mmu *peer, struct tlb_entry **tlb_word, uint32_t *gen_words)
{
    struct mmu_shared *sh = peer ? peer->sh : shared_new(mem);
    struct mmu *m;

    if (sh->n_vcpus == MMU_MAX_VCPUS)
        return NULL;
    m = xzalloc(sizeof(*m));
    m->sh = sh;
    m->cpu = cpu;
    m->ops = ops;
    m->tlb_word = tlb_word;
    m->gen_words = gen_words;
    m->empty_tlb = tlb_new();
    *tlb_word = m->empty_tlb;
    m->outside = true;
    mmu_lock(sh);
    gen_words[0] = gen_fresh(sh);
    gen_words[1] = gen_fresh(sh);
    m->id = sh->n_vcpus;
    sh->vcpu[sh->n_vcpus++] = m;
    mmu_unlock(sh);
    return m;
}

void mmu_set_regions(struct mmu *m, struct mem_region *r, unsigned n, uint64_t *live)
{
    m->regions_live = live;
    m->regions = r;
    m->n_regions = n;
}

static void shared_free(struct mmu_shared *sh)
{
    as_set_write_hook(sh->mem, NULL, NULL);
    mmu_lock(sh);
    flush_locked(sh);
    code_free_all(sh);
    for (unsigned i = 0; i < N_SPACES; i++)
        space_clear(sh, &sh->spaces[i]);
    mmu_unlock(sh);
    for (unsigned i = 0; i < sh->n_blocks; i++)
        free(sh->blocks[i].hint);
    free(sh);
}

/* The machine's vCPUs end together, the last one made first. The aspace keeps its change callback: free it no later than the last one's last use. */
void mmu_free(struct mmu *m)
{
    struct mmu_shared *sh = m->sh;
    if (sh->n_vcpus == 1)
        shared_free(sh);
    else
        sh->n_vcpus--;
    free(m->empty_tlb);
    free(m);
}

const union counters *mmu_counters(const struct mmu *m) { return &m->stats; }
const union counters *mmu_shared_counters(const struct mmu *m) { return &m->sh->n; }
