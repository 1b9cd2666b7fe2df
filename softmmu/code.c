/*
 * Which bytes of RAM are translated code.
 *
 * In: ranges registered by the translator. Out: a call of its invalidate() before a store that changes one of those bytes, so data
 * beside code costs a slow store but no translation. A page that takes many such stores has most likely been freed and used for data: all of
 * its code is given up, after twice as many stores each time. DMA is noticed after the write, whatever its value.
 * Invariant: TRACK_CODE is set on a page exactly while it has a code_page. Locks: m->lock inside, never across invalidate().
 * Manual: SDM 3A 8.1.3 (self-modifying code).
 */
#include <stdlib.h>
#include <string.h>
#include "core/alloc.h"
#include "softmmu/internal.h"

static struct code_page *code_find(struct mmu_shared *m, const uint8_t *track)
{
    struct code_page *c = m->code_hash[ptr_hash(track)];
    while (c && c->track != track)
        c = c->hash_next;
    return c;
}

static struct code_page *code_get(struct mmu_shared *m, uint8_t *track)
{
    struct code_page *c = code_find(m, track);
    if (c)
        return c;
    unsigned h = ptr_hash(track);
    c = xzalloc(sizeof(*c));
    c->track = track;
    c->hash_next = m->code_hash[h];
    m->code_hash[h] = c;
    m->n_code++;
    page_track_locked(m, track, TRACK_CODE);
    c->epoch = epoch_new_locked(m);
    return c;
}

static void code_unlink(struct mmu_shared *m, struct code_page *c)
{
    struct code_page **p = &m->code_hash[ptr_hash(c->track)];
    while (*p != c)
        p = &(*p)->hash_next;
    *p = c->hash_next;
    __atomic_and_fetch(c->track, (uint8_t)~TRACK_CODE, __ATOMIC_SEQ_CST);
    m->n_code--;
    free(c);
}

static uint64_t add_in_page(struct mmu_shared *m, gpa_t gpa, unsigned len)
{
    struct ram_run r;
    if (!run_learn(m, gpa, &r))
        return 0;                       /* code in MMIO is never kept by the translator */
    mmu_lock(m);
    struct code_page *c = code_get(m, r.track + ((gpa - r.start) >> PAGE_BITS));
    unsigned i = 0, off = gpa & (PAGE_SIZE - 1);
    while (i < c->n_gpa && c->gpa[i] != (gpa & PAGE_MASK))
        i++;
    if (i == c->n_gpa && i < ARRAY_SIZE(c->gpa))
        c->gpa[c->n_gpa++] = gpa & PAGE_MASK;
    for (; len; len--, off++)
        c->bytes[off / 64] |= BIT(off % 64);
    uint64_t epoch = c->epoch && epoch_settled(m, c->epoch) ? 0 : c->epoch;
    mmu_unlock(m);
    return epoch;
}

uint64_t mmu_code_add(struct mmu *m, gpa_t gpa, unsigned len)
{
    uint64_t last = 0;
    while (len) {
        unsigned n = MIN(len, PAGE_SIZE - (unsigned)(gpa & (PAGE_SIZE - 1)));
        uint64_t epoch = add_in_page(m->sh, gpa, n);
        last = MAX(last, epoch);
        gpa += n;
        len -= n;
    }
    return last;
}

void mmu_code_forget_page(struct mmu *vcpu, gpa_t page)
{
    struct mmu_shared *m = vcpu->sh;
    struct ram_run r;
    if (!run_learn(m, page, &r))
        return;
    mmu_lock(m);
    struct code_page *c = code_find(m, r.track + ((page - r.start) >> PAGE_BITS));
    unsigned i = 0;
    while (c && i < c->n_gpa && c->gpa[i] != (page & PAGE_MASK))
        i++;
    if (c && i < c->n_gpa)
        c->gpa[i] = c->gpa[--c->n_gpa];
    if (c && !c->n_gpa)                 /* else: code under an alias remains; its byte map may be too large, which is harmless */
        code_unlink(m, c);
    mmu_unlock(m);
}

void mmu_on_code_write(struct mmu *m, void (*invalidate)(void *opaque, gpa_t gpa, unsigned len), void *opaque)
{
    m->sh->invalidate = invalidate;
    m->sh->inv_opaque = opaque;
}

void code_store(struct mmu_shared *m, uint8_t *track, unsigned off, unsigned len, const uint8_t *old, const uint8_t *new)
{
    gpa_t gpa[4];
    unsigned n = 0, lo = PAGE_SIZE, hi = 0;

    mmu_lock(m);
    struct code_page *c = code_find(m, track);
    for (unsigned i = 0; c && i < len; i++) {
        unsigned b = off + i;
        if (!(c->bytes[b / 64] >> (b % 64) & 1) || (old && ram_load(&old[i], 1) == new[i]))
            continue;
        lo = MIN(lo, b);
        hi = b + 1;
    }
    if (hi)
        for (n = 0; n < c->n_gpa; n++)
            gpa[n] = c->gpa[n];
    if (c && !hi && old && ++c->beside >= BESIDE_LIMIT << m->code_floods[ptr_hash(track) % N_FLOODS]) {
        uint8_t *k = &m->code_floods[ptr_hash(track) % N_FLOODS];
        *k += *k < 10;
        lo = 0;
        hi = PAGE_SIZE;
        for (n = 0; n < c->n_gpa; n++)
            gpa[n] = c->gpa[n];
    }
    mmu_unlock(m);
    for (unsigned i = 0; i < n && m->invalidate; i++)
        m->invalidate(m->inv_opaque, gpa[i] + lo, hi - lo);
}

void code_free_all(struct mmu_shared *m)
{
    for (unsigned i = 0; i < HASH_SIZE; i++)
        while (m->code_hash[i])
            code_unlink(m, m->code_hash[i]);
}
