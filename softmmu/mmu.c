/*
 * The softmmu of a vCPU: creation, the pool of address spaces, their code generations, and flushing.
 *
 * An address space is a value of ops->root with its TLBs; the least recently used of N_SPACES is recycled. Its tables of shadow pages are shared
 * and outlive it. Generations: gen_words[0] is the space's own number; gen_words[1] is the number of its group, the spaces whose root
 * tables have equal upper halves (256 entries compared when the space first uses its upper half; a write to one of them leaves the group).
 * Any drop of an executable upper mapping renews all groups: it is rare (module loading), and a space that has been recycled
 * may have taught its number to blocks that others of the group still run.
 * Locks: m->lock for all that DMA on another thread can reach (internal.h).
 */
#include <stdlib.h>
#include <string.h>
#include "core/alloc.h"
#include "softmmu/internal.h"

void tlb_reset(struct tlb_entry *t)
{
    for (unsigned i = 0; i < TLB_ENTRIES; i++)
        t[i] = (struct tlb_entry){ tlb_invalid(i), tlb_invalid(i), NULL, 0 };
}

static struct tlb_entry *tlb_new(void)
{
    struct tlb_entry *t = xmalloc(sizeof(*t) * TLB_ENTRIES);
    tlb_reset(t);
    return t;
}

void gens_sync(struct mmu *m)
{
    if (!m->cur)
        return;
    m->gen_words[0] = m->cur->gen_lo;
    m->gen_words[1] = m->groups[m->cur->group].gen;
}

static unsigned group_new(struct mmu *m)
{
    unsigned g = 0;
    while (m->groups[g].refs)          /* never more groups than spaces */
        g++;
    m->groups[g] = (struct group){ gen_fresh(m), 1 };
    return g;
}

void space_leave_group(struct mmu *m, struct space *s)
{
    m->groups[s->group].refs--;
    s->group = group_new(m);
    gens_sync(m);
}

/* The root table of a space that has used its upper half, or NULL. */
static const struct shadow_page *upper_root(const struct space *s)
{
    for (unsigned i = 0; i < s->n_slots; i++)
        if (s->slot[i].tag && s->slot[i].shift >= 48)
            return s->slot[i].sp;
    return NULL;
}

/* S has just got ROOT as the table of its upper half. */
void space_join_group(struct mmu *m, struct space *s, const struct shadow_page *root)
{
    const uint8_t *upper = root->pt->host + PAGE_SIZE / 2;
    for (unsigned i = 0; i < N_SPACES; i++) {
        struct space *o = &m->spaces[i];
        const struct shadow_page *r = o->used && o != s ? upper_root(o) : NULL;
        if (!r || r->context != root->context || (r->pt != root->pt && memcmp(r->pt->host + PAGE_SIZE / 2, upper, PAGE_SIZE / 2)))
            continue;
        m->groups[s->group].refs--;
        s->group = o->group;
        m->groups[s->group].refs++;
        break;
    }
    gens_sync(m);
}

static void space_clear(struct mmu *m, struct space *s)
{
    if (!s->used)
        return;
    m->groups[s->group].refs--;
    for (unsigned i = 0; i < MMU_MODES; i++)
        free(s->tlb[i]);
    *s = (struct space){ 0 };
}

static struct space *space_new(struct mmu *m, uint64_t root)
{
    struct space *s = &m->spaces[0];
    for (unsigned i = 0; i < N_SPACES; i++) {
        struct space *c = &m->spaces[i];
        if (c->used && c->root == root)
            return c;
        if (s->used && (!c->used || c->stamp < s->stamp))
            s = c;
    }
    space_clear(m, s);
    s->used = true;
    s->root = root;
    s->gen_lo = gen_fresh(m);
    s->group = group_new(m);
    m->stats.root_new++;
    return s;
}

/* Make the current root and mode known and give them a TLB. Cheap when nothing is to do. */
void mmu_resolve(struct mmu *m)
{
    if (likely(m->cur && m->cur->tlb[m->mode]))
        return;
    uint64_t root = m->ops->root(m->cpu);
    m->mode = m->ops->mode(m->cpu);
    mmu_lock(m);
    if (!m->cur) {
        m->cur = space_new(m, root);
        m->cur->stamp = ++m->stamp;
        gens_sync(m);
    }
    if (!m->cur->tlb[m->mode])
        m->cur->tlb[m->mode] = tlb_new();
    *m->tlb_word = m->cur->tlb[m->mode];
    mmu_unlock(m);
}

void flush_locked(struct mmu *m)
{
    shadow_zap_all_locked(m);
    regions_drop(m, 0);
    for (unsigned i = 0; i < N_SPACES; i++) {
        struct space *s = &m->spaces[i];
        if (!s->used)
            continue;
        s->n_slots = 0;
        s->flat = false;
        s->gen_lo = gen_fresh(m);
        space_leave_group(m, s);
        for (unsigned j = 0; j < MMU_MODES; j++)
            if (s->tlb[j])
                tlb_reset(s->tlb[j]);
    }
    for (unsigned i = 0; i < N_FLAT; i++)
        m->flat[i].va = ~0ull;         /* no page address */
    for (unsigned i = 0; i < m->n_blocks; i++)
        if (m->blocks[i].hi - m->blocks[i].lo <= 4096)   /* clearing is optional: small ones only */
            memset(m->blocks[i].hint, 0, (size_t)(m->blocks[i].hi - m->blocks[i].lo) * 8);
    m->drop_seq++;
    gens_sync(m);
}

void mmu_flush_all(struct mmu *m)
{
    mmu_lock(m);
    m->stats.tlb_flushes++;
    flush_locked(m);
    mmu_unlock(m);
}

void mmu_drop_context(struct mmu *m, unsigned context)
{
    mmu_lock(m);
    m->stats.tlb_flushes++;
    regions_drop(m, 0);
    shadow_zap_context_locked(m, context);
    m->drop_seq++;
    mmu_unlock(m);
}

void mmu_flush_page(struct mmu *m, gva_t va)
{
    mmu_lock(m);
    regions_drop(m, 0);
    mmu_unlock(m);
    /* Nothing else is cached that is not tracked, except that the translator may have linked code found through tables outside RAM. */
    if (likely(!m->uncached) || !m->cur)
        return;
    mmu_lock(m);
    m->cur->gen_lo = gen_fresh(m);
    m->groups[m->cur->group].gen = gen_fresh(m);
    gens_sync(m);
    mmu_unlock(m);
}

static void map_changed(void *opaque)
{
    struct mmu *m = opaque;
    mmu_lock(m);
    m->n_runs = 0;
    flush_locked(m);
    mmu_unlock(m);
}

struct mmu *mmu_new(void *cpu, const struct mmu_ops *ops, struct aspace *mem, struct tlb_entry **tlb_word, uint32_t *gen_words)
{
    struct mmu *m = xzalloc(sizeof(*m));
    m->cpu = cpu;
    m->ops = ops;
    m->mem = mem;
    m->tlb_word = tlb_word;
    m->gen_words = gen_words;
    m->lru.lru_next = m->lru.lru_prev = &m->lru;
    m->empty_tlb = tlb_new();
    *tlb_word = m->empty_tlb;
    gen_words[0] = gen_fresh(m);
    gen_words[1] = gen_fresh(m);
    flush_locked(m);
    as_set_write_hook(mem, track_write_hook, m);
    as_on_change(mem, map_changed, m);
    return m;
}

void mmu_set_regions(struct mmu *m, struct mem_region *r, unsigned n, uint64_t *live)
{
    m->regions_live = live;
    m->regions = r;
    m->n_regions = n;
}

/* The aspace keeps its change callback: free the address space no later than the mmu's last use of it. */
void mmu_free(struct mmu *m)
{
    as_set_write_hook(m->mem, NULL, NULL);
    mmu_lock(m);
    flush_locked(m);
    code_free_all(m);
    for (unsigned i = 0; i < N_SPACES; i++)
        space_clear(m, &m->spaces[i]);
    mmu_unlock(m);
    for (unsigned i = 0; i < m->n_blocks; i++)
        free(m->blocks[i].hint);
    free(m->empty_tlb);
    free(m);
}

const union counters *mmu_counters(struct mmu *m) { return &m->stats; }
