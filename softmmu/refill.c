/*
 * What runs while the guest owns the host's FPU [regs]: TLB refill from the shadow, changing root and mode.
 *
 * Compiled with -mgeneral-regs-only. Nothing here calls out of this file but ops->root and ops->mode (which keep to the same rule) and the
 * inline functions of internal.h; the compiler must not turn a loop into a library call. What is not at hand (unknown root, no shadow
 * entry, no permission, no TLB yet) is left to the slow path by returning NULL: an unknown root shows an empty TLB, so its
 * first access comes to mmu_ld/mmu_st/mmu_code_page, which resolve it.
 * Locks: m->lock for the shadow and the TLBs.
 */
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#include "softmmu/internal.h"

static void show_tlb(struct mmu *m)
{
    struct tlb_entry *t = m->cur ? m->cur->tlb[m->id][m->mode] : NULL;
    *m->tlb_word = t ? t : m->empty_tlb;
}

static bool unsettled(const struct mmu_shared *sh) { return __atomic_load_n(&sh->unsettled, __ATOMIC_ACQUIRE) != NULL; }

/* The next access goes the slow way, where what is not settled is looked at. */
void mmu_forget_root(struct mmu *m)
{
    mmu_lock(m->sh);
    regions_drop_own(m, 0);
    m->cur = NULL;
    m->gen_words[0] = gen_fresh(m->sh);
    m->gen_words[1] = gen_fresh(m->sh);
    show_tlb(m);
    mmu_unlock(m->sh);
}

void mmu_set_root(struct mmu *m)
{
    struct mmu_shared *sh = m->sh;
    struct space *cur = NULL;
    uint64_t root = m->ops->root(m->cpu);

    if (m->cur && m->cur->root == root && likely(!sh->uncached && !unsettled(sh)))
        return;
    m->stats.root_switches++;
    if (unlikely(unsettled(sh))) {
        mmu_forget_root(m);
        return;
    }
    mmu_lock(sh);
    regions_drop_own(m, 0);
    for (unsigned i = 0; i < N_SPACES; i++)
        if (sh->spaces[i].used && sh->spaces[i].root == root)
            cur = &sh->spaces[i];
    m->cur = cur;
    if (cur) {
        cur->stamp = ++sh->stamp;
        if (unlikely(sh->uncached)) {
            cur->gen_lo = gen_fresh(sh);
            sh->groups[cur->group].gen = gen_fresh(sh);
        }
        m->gen_words[0] = cur->gen_lo;
        m->gen_words[1] = sh->groups[cur->group].gen;
    } else {
        m->gen_words[0] = gen_fresh(sh);
        m->gen_words[1] = gen_fresh(sh);
    }
    show_tlb(m);
    mmu_unlock(sh);
}

void mmu_set_mode(struct mmu *m)
{
    m->mode = m->ops->mode(m->cpu);
    show_tlb(m);
}

void *mmu_refill(struct mmu *m, gva_t va, unsigned size, enum mmu_access acc)
{
    gpa_t gpa;
    unsigned perm;
    void *res = NULL;

    if (!m->cur || (va & (PAGE_SIZE - 1)) + size > PAGE_SIZE)
        return NULL;
    mmu_lock(m->sh);
    if (m->cur->tlb[m->id][m->mode] && shadow_xlat(m->sh, m->cur, va, m->mode, &gpa, &perm, false) && (perm & perm_for(acc))) {
        struct ram_run *r = run_find(m->sh, gpa);
        if (r && (acc != MMU_WRITE || (!r->rom && !__atomic_load_n(&r->track[(gpa - r->start) >> PAGE_BITS], __ATOMIC_SEQ_CST)))) {
            tlb_install(m, va, m->mode, perm, r, gpa);
            m->stats.tlb_refills++;
            res = r->host + (gpa - r->start) + (va & (PAGE_SIZE - 1));
        }
    }
    mmu_unlock(m->sh);
    return res;
}

#define REACH 2048                    /* pages looked at on each side */

static bool tracked(const uint8_t *t) { return __atomic_load_n(t, __ATOMIC_SEQ_CST); }
/* Eight at a time; t is aligned. */
static bool some_tracked(const uint8_t *t) { return __atomic_load_n((const uint64_t *)t, __ATOMIC_SEQ_CST); }
static bool aligned(const uint8_t *t) { return !((uintptr_t)t & 7); }

/* Pages [*lo, *hi) around page of r: for stores, those without a track byte. */
static void untracked_run(const struct ram_run *r, uint64_t page, uint64_t *lo, uint64_t *hi)
{
    const uint8_t *t = r->track;
    uint64_t l = page, h = page + 1, min = page > *lo + REACH ? page - REACH : *lo, max = *hi - page > REACH ? page + REACH : *hi;
    while (l > min && !tracked(&t[l - 1]))
        for (l--; l >= min + 8 && aligned(&t[l]) && !some_tracked(&t[l - 8]);)
            l -= 8;
    while (h < max && !tracked(&t[h]))
        for (h++; h + 8 <= max && aligned(&t[h]) && !some_tracked(&t[h]);)
            h += 8;
    *lo = l;
    *hi = h;
}

/* Neighbours of leaf i of sp that continue it in guest-physical memory with the same rights: [*first, *last]. */
static void contiguous_leaves(const struct shadow_page *sp, unsigned i, unsigned *first, unsigned *last)
{
    uint64_t step = BIT(sp->bits);
    unsigned n = sp_size(sp);
    *first = *last = i;
    while (*first > 0 && i - *first < 64 && (sp->e[*first - 1] | SE_FETCHED) == (sp->e[*first] | SE_FETCHED) - step)
        --*first;
    while (*last + 1 < n && *last - i < 64 && (sp->e[*last + 1] | SE_FETCHED) == (sp->e[*last] | SE_FETCHED) + step)
        ++*last;
}

/* reg = the part of the mapping [lo_va, +bytes) -> lo_gpa that lies in r (and, for stores, around va without a track byte). */
static void *region_set(struct mmu *m, struct mem_region *reg, const struct ram_run *r, gva_t va, gva_t lo_va, gpa_t lo_gpa, uint64_t bytes, bool write)
{
    uint64_t lo = ((lo_gpa > r->start ? lo_gpa : r->start) - r->start) >> PAGE_BITS;
    uint64_t hi = ((lo_gpa + bytes < r->end ? lo_gpa + bytes : r->end) - r->start) >> PAGE_BITS;
    if (write)
        untracked_run(r, (lo_gpa + (va - lo_va) - r->start) >> PAGE_BITS, &lo, &hi);
    uint64_t start = lo_va + (r->start + (lo << PAGE_BITS) - lo_gpa);
    for (unsigned i = 0; i < MEM_REGION_LENS; i++)
        reg->len[i] = 0;
    reg->start = start;
    reg->addend = (uint64_t)(uintptr_t)(r->host + (lo << PAGE_BITS)) - start;
    for (unsigned i = 0; i < MEM_REGION_LENS; i++)
        reg->len[i] = ((hi - lo) << PAGE_BITS) - mem_region_slack(i);
    *m->regions_live = 1;
    m->stats.region_fills++;
    return (void *)(uintptr_t)(va + reg->addend);
}

void *mmu_region_fill(struct mmu *m, gva_t va, unsigned size, bool write, struct mem_region *reg)
{
    void *res = NULL;
    struct shadow_page *sp;

    if (!m->cur || (va & (PAGE_SIZE - 1)) + size > PAGE_SIZE)
        return NULL;
    mmu_lock(m->sh);
    uint64_t e = m->cur->flat ? 0 : shadow_lookup(m->sh, m->cur, va, &sp);
    if (m->cur->flat) {
        struct ram_run *r = va >> 32 ? NULL : run_find(m->sh, va);
        if (r && !(write && r->rom) && !(write && __atomic_load_n(&r->track[(va - r->start) >> PAGE_BITS], __ATOMIC_SEQ_CST)))
            res = region_set(m, reg, r, va, r->start, r->start, MIN(r->end, 1ull << 32) - r->start, write);         /* no linear address is above */
    } else if (e && (se_perm(e, m->mode) & (write ? MP_W : MP_R)) && (m->mode == 2 || !se_perm(e, 2))) {
        unsigned first, last, i = sp_index(sp, va);
        contiguous_leaves(sp, i, &first, &last);
        gva_t lo_va = (va & ~(BIT(sp->bits) - 1)) - ((uint64_t)(i - first) << sp->bits);
        uint64_t bytes = (uint64_t)(last - first + 1) << sp->bits;
        gpa_t lo_gpa = se_gpa(sp->e[first]), gpa = lo_gpa + (va - lo_va);
        struct ram_run *r = run_find(m->sh, gpa);
        if (r && (!write || (!r->rom && !__atomic_load_n(&r->track[(gpa - r->start) >> PAGE_BITS], __ATOMIC_SEQ_CST))))
            res = region_set(m, reg, r, va, lo_va, lo_gpa, bytes, write);
    }
    mmu_unlock(m->sh);
    return res;
}

/*
 * Without the lock where the answer is known: what leaves the shadow raises drop_seq before its code generation is renewed. A space that was made
 * anew since is another one.
 */
bool mmu_code_gpa_fast(struct mmu *m, gva_t va, gpa_t *gpa)
{
    struct asked *a = &m->asked[((va >> PAGE_BITS) ^ (va >> (PAGE_BITS + 8))) % N_ASKED];
    gva_t key = (va & PAGE_MASK) | m->mode;
    unsigned perm;

    if (!m->cur)
        return false;
    if (a->va == key && a->made == m->cur->made && a->drop_seq == __atomic_load_n(&m->sh->drop_seq, __ATOMIC_ACQUIRE)) {
        *gpa = a->gpa;
        return true;
    }
    m->stats.code_asked++;
    mmu_lock(m->sh);
    bool ok = shadow_xlat(m->sh, m->cur, va, m->mode, gpa, &perm, true) && (perm & MP_X);
    if (ok)
        *a = (struct asked){ key, *gpa, m->cur->made, m->sh->drop_seq };
    mmu_unlock(m->sh);
    return ok;
}

uint64_t mmu_tracked_pages(const struct mmu *m) { return __atomic_load_n(&m->sh->n.tracked_pages, __ATOMIC_RELAXED); }
