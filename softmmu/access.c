/*
 * The slow path of guest accesses: translate (shadow first, then the guest's own walk), then RAM, tracked store or as_read/as_write.
 *
 * Faults leave through ops->raise; no lock is held and nothing has been written then: an access that crosses pages translates all of them
 * before it touches the first byte. Ordinary C: only after the guest's FPU state was saved.
 * Manual: SDM 3A 4.6-4.8 (access rights, A and D), 8.1 (split accesses).
 */
#include <string.h>
#include "softmmu/internal.h"

/* Guest walk; what it finds goes into the shadow if possible. Raises on a fault. */
static void walk_slow(struct mmu *m, gva_t va, enum mmu_access acc, unsigned mode, gpa_t *gpa, unsigned *perm)
{
    struct mmu_shared *sh = m->sh;
    struct mmu_walk w;
    uint64_t seq;
    bool again, cacheable;
    unsigned tries = 0;

    do {
        again = false;
        w = (struct mmu_walk){ 0 };
        seq = __atomic_load_n(&sh->drop_seq, __ATOMIC_ACQUIRE);
        m->stats.walks++;
        mmu_walking = true;
        int r = m->ops->walk(m->cpu, va, acc, mode, &w);
        mmu_walking = false;
        if (r)
            m->ops->raise(m->cpu);
        cacheable = w.n_entries || w.page_bits == 64;
        *gpa = w.gpa & PAGE_MASK;
        *perm = w.perm[mode];
        mmu_lock(sh);
        /* A table is tracked before its contents are believed: walk again when one was not. */
        for (unsigned k = 0; k < w.n_entries && k < MAX_LEVELS && cacheable; k++)
            cacheable = pt_track_locked(sh, w.entry[k], &again);
        if (w.page_bits == 64) {
            unsigned i = (va >> PAGE_BITS) & (N_FLAT - 1);
            m->cur->flat = true;
            sh->flat[i].va = va & PAGE_MASK;
            sh->flat[i].gpa = *gpa;
        } else if (cacheable && !again && seq == sh->drop_seq) {
            m->cur->flat = false;
            shadow_make_room_locked(sh);
            if (!shadow_insert_locked(sh, m->cur, va, &w))
                again = true;           /* making room took one of its tables */
            if (unlikely(sh->unsettled))
                settle_locked(sh);
        } else {
            again = cacheable;
            sh->uncached |= !cacheable && w.page_bits;
        }
        mmu_unlock(sh);
    } while (again && ++tries < 8);
}

/* Raises on a fault. Also installs the page in the TLB of MODE when it is RAM. */
static void translate(struct mmu *m, gva_t va, enum mmu_access acc, unsigned mode, struct xlat *x)
{
    gpa_t gpa;
    unsigned perm;

    mmu_resolve(m);
    mmu_lock(m->sh);
    bool ok = shadow_xlat(m->sh, m->cur, va, mode, &gpa, &perm, false) && (perm & perm_for(acc));
    m->stats.shadow_misses += !ok;
    if (!ok) {
        mmu_unlock(m->sh);
        walk_slow(m, va, acc, mode, &gpa, &perm);
        mmu_lock(m->sh);
    }
    struct ram_run *r = run_learn_locked(m->sh, gpa);
    *x = (struct xlat){ .gpa = gpa };
    if (r) {
        uint64_t page = (gpa - r->start) >> PAGE_BITS;
        x->host = r->host + (page << PAGE_BITS);
        x->track = r->track + page;
        x->rom = r->rom;
    }
    /* Install from the shadow only: what is not in it (any more) would not be dropped. */
    if (r && acc != MMU_EXEC && shadow_xlat(m->sh, m->cur, va, mode, &gpa, &perm, false) && gpa == x->gpa && (perm & perm_for(acc)))
        tlb_install(m, va, mode, perm, r, gpa);
    mmu_unlock(m->sh);
}

/* The rest of an access that began in the last page of a 32-bit address space. */
static gva_t wrapped(struct mmu *m, gva_t va)
{
    return (va & PAGE_MASK) == BIT(32) && m->ops->wraps && m->ops->wraps(m->cpu) ? va & ~PAGE_MASK : va;
}

/* An access by the program itself; the others (descriptor tables, page by page) may be meant beyond 4 GiB. */
static void translate_own(struct mmu *m, gva_t va, enum mmu_access acc, struct xlat *x) { translate(m, wrapped(m, va), acc, m->mode, x); }

/* Of an access that crosses a page. */
static void reach(struct mmu *m, gva_t va, size_t len)
{
    if (m->ops->reach && m->ops->reach(m->cpu, wrapped(m, va + len - 1)))
        m->ops->raise(m->cpu);
}

static void ld_part(struct mmu *m, const struct xlat *x, unsigned off, void *buf, unsigned len)
{
    uint8_t *p = buf;

    if (x->host) {
        ram_read(buf, x->host + off, len);
        return;
    }
    m->stats.mmio++;
    for (unsigned n; len; len -= n, off += n, p += n) {
        n = MIN(len, 8u);
        uint64_t v = as_read(m->sh->mem, x->gpa + off, n);
        memcpy(p, &v, n);
    }
}

static void st_part(struct mmu *m, const struct xlat *x, unsigned off, const void *buf, unsigned len)
{
    const uint8_t *p = buf;

    if (x->host) {
        if (!x->rom) {
            m->stats.tracked_stores += __atomic_load_n(x->track, __ATOMIC_RELAXED) != 0;
            track_store(m->sh, x, off, buf, len);
        }
        return;
    }
    m->stats.mmio++;
    for (unsigned n; len; len -= n, off += n, p += n) {
        uint64_t v = 0;
        n = MIN(len, 8u);
        memcpy(&v, p, n);
        as_write(m->sh->mem, x->gpa + off, v, n);
    }
}

static unsigned page_left(gva_t va) { return PAGE_SIZE - (unsigned)(va & (PAGE_SIZE - 1)); }

void *mmu_probe(struct mmu *m, gva_t va, unsigned size, enum mmu_access acc)
{
    struct xlat x;

    if (size > page_left(va)) {
        reach(m, va, size);
        return NULL;
    }
    mmu_resolve(m);
    translate_own(m, va, acc, &x);
    if (!x.host || (acc == MMU_WRITE && (x.rom || __atomic_load_n(x.track, __ATOMIC_SEQ_CST))))
        return NULL;
    return x.host + (va & (PAGE_SIZE - 1));
}

static uint8_t *tlb_hit(struct mmu *m, gva_t va, unsigned size, bool write)
{
    const struct tlb_entry *t = &(*m->tlb_word)[tlb_index(va)];
    uint64_t tag = write ? t->tag_w : t->tag_r;
    return (va ^ tag) <= PAGE_SIZE - size ? t->host + (va & (PAGE_SIZE - 1)) : NULL;
}

uint64_t mmu_ld(struct mmu *m, gva_t va, unsigned size)
{
    struct xlat x, y;
    uint64_t v = 0;
    unsigned n = MIN(size, page_left(va));
    uint8_t *p = tlb_hit(m, va, size, false);

    if (p)
        return ram_load(p, size);
    mmu_resolve(m);
    if (n < size)
        reach(m, va, size);
    translate_own(m, va, MMU_READ, &x);
    if (n < size)
        translate_own(m, va + n, MMU_READ, &y);
    ld_part(m, &x, va & (PAGE_SIZE - 1), &v, n);
    if (n < size)
        ld_part(m, &y, 0, (uint8_t *)&v + n, size - n);
    return v;
}

void mmu_st(struct mmu *m, gva_t va, uint64_t val, unsigned size)
{
    uint8_t *p = tlb_hit(m, va, size, true);

    if (p)
        ram_store(p, val, size);
    else
        mmu_st_wide(m, va, &val, size);
}

void mmu_st_wide(struct mmu *m, gva_t va, const void *buf, unsigned size)
{
    struct xlat x, y;
    unsigned n = MIN(size, page_left(va));

    mmu_resolve(m);
    if (n < size)
        reach(m, va, size);
    translate_own(m, va, MMU_WRITE, &x);
    if (n < size)
        translate_own(m, va + n, MMU_WRITE, &y);
    st_part(m, &x, va & (PAGE_SIZE - 1), buf, n);
    if (n < size)
        st_part(m, &y, 0, (const uint8_t *)buf + n, size - n);
}

void mmu_check(struct mmu *m, gva_t va, size_t len, enum mmu_access acc, unsigned mode)
{
    struct xlat x;

    if (len > page_left(va))
        reach(m, va, len);
    while (len) {
        size_t n = MIN(len, page_left(va));
        translate(m, va, acc, mode, &x);
        va = wrapped(m, va + n);
        len -= n;
    }
}

void mmu_ld_mem(struct mmu *m, gva_t va, void *buf, size_t len, unsigned mode)
{
    struct xlat x;
    uint8_t *p = buf;

    if (len > page_left(va))
        mmu_check(m, va, len, MMU_READ, mode);
    for (size_t n; len; len -= n, va += n, p += n) {
        n = MIN(len, page_left(va));
        translate(m, va, MMU_READ, mode, &x);
        ld_part(m, &x, va & (PAGE_SIZE - 1), p, (unsigned)n);
    }
}

void mmu_st_mem(struct mmu *m, gva_t va, const void *buf, size_t len, unsigned mode)
{
    struct xlat x[2];
    const uint8_t *p = buf;
    unsigned first = (unsigned)MIN(len, page_left(va));

    if (!len)
        return;
    if (len > first)
        reach(m, va, len);
    if (len - first <= PAGE_SIZE) {     /* the usual case: every page translated once, before the first store may change the tables */
        translate(m, va, MMU_WRITE, mode, &x[0]);
        if (len > first)
            translate(m, va + first, MMU_WRITE, mode, &x[1]);
        st_part(m, &x[0], va & (PAGE_SIZE - 1), p, first);
        if (len > first)
            st_part(m, &x[1], 0, p + first, (unsigned)(len - first));
        return;
    }
    mmu_check(m, va, len, MMU_WRITE, mode);
    for (size_t n; len; len -= n, va += n, p += n) {
        n = MIN(len, page_left(va));
        translate(m, va, MMU_WRITE, mode, &x[0]);
        st_part(m, &x[0], va & (PAGE_SIZE - 1), p, (unsigned)n);
    }
}

int mmu_peek_mem(struct mmu *m, gva_t va, void *buf, size_t len)
{
    uint8_t *p = buf;

    while (len) {
        struct mmu_walk w = { 0 };
        unsigned off = va & (PAGE_SIZE - 1);
        size_t n = MIN(len, page_left(va));
        if (m->ops->peek(m->cpu, va, &w))
            return -1;
        struct ram_run r;
        if (!run_learn(m->sh, w.gpa, &r))
            return -1;                  /* reading a device would change it */
        memcpy(p, r.host + ((w.gpa & PAGE_MASK) - r.start) + off, n);
        va += n;
        p += n;
        len -= n;
    }
    return 0;
}

const uint8_t *mmu_code_page(struct mmu *m, gva_t va, gpa_t *gpa)
{
    struct xlat x;

    mmu_resolve(m);
    translate_own(m, va, MMU_EXEC, &x);
    mmu_code_gpa_fast(m, wrapped(m, va), gpa);     /* says in the shadow that it was asked for */
    *gpa = x.gpa;
    return x.host;
}

/* ---- read-modify-write of tracked RAM ---- */

void *mmu_rmw_begin(struct mmu *m, gva_t va, unsigned size)
{
    struct xlat *x = &m->rmw.x;

    if (size > page_left(va))
        return NULL;
    mmu_resolve(m);
    translate_own(m, va, MMU_WRITE, x);
    if (!x->host || x->rom)
        return NULL;
    m->rmw.off = va & (PAGE_SIZE - 1);
    m->stats.tracked_stores++;
    if (__atomic_load_n(x->track, __ATOMIC_SEQ_CST) & TRACK_CODE)
        code_store(m->sh, x->track, m->rmw.off, size, NULL, NULL);
    return x->host + m->rmw.off;
}

void mmu_rmw_end(struct mmu *m, unsigned size) { track_written(m->sh, &m->rmw.x, m->rmw.off, size); }
