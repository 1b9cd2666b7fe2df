/*
 * What is known of RAM pages: the runs of RAM, which pages are guest page tables, and which TLB entries must go when that changes.
 *
 * In: stores to pages with a track byte (from access.c), writes by DMA and by the guest's walker (the aspace's write hook).
 * Out: dropped shadow and TLB entries, calls to the translator's invalidate.
 * Invariant: no TLB holds tag_w for a page whose track byte is set. When a bit is set, the page's hint word names the TLB indices that were
 * given tag_w since the last time (five at most, else all tables are searched); 12 bits do, because a TLB index is va bits 12..23.
 * Locks: takes m->lock; invalidate is called without it.
 */
#include <stdlib.h>
#include <string.h>
#include "core/alloc.h"
#include "softmmu/internal.h"

/* The hint words of R's pages. A block that covers other blocks' pages (an alias was seen before its RAM) starts everything anew. */
static uint64_t *hints_of(struct mmu_shared *m, const struct region *r)
{
    uint8_t *lo = r->track, *hi = lo + ((r->size + PAGE_SIZE - 1) >> PAGE_BITS);
    bool overlap = m->n_blocks == N_BLOCKS;

    for (unsigned i = 0; i < m->n_blocks; i++) {
        struct hint_block *b = &m->blocks[i];
        if (lo >= b->lo && hi <= b->hi)
            return b->hint + (lo - b->lo);
        overlap |= lo < b->hi && hi > b->lo;
    }
    if (overlap) {
        m->n_runs = 0;
        flush_locked(m);
        for (unsigned i = 0; i < m->n_blocks; i++)
            free(m->blocks[i].hint);
        m->n_blocks = 0;
    }
    m->blocks[m->n_blocks++] = (struct hint_block){ lo, hi, xzalloc((size_t)(hi - lo) * 8) };
    return m->blocks[m->n_blocks - 1].hint;
}

struct ram_run *run_learn_locked(struct mmu_shared *m, gpa_t gpa)
{
    uint64_t off, run;
    gpa_t page = gpa & PAGE_MASK;
    struct ram_run *res = run_find(m, page), new;
    struct region *r;

    if (res)
        return res;
    r = as_find(m->mem, page, &off, &run);
    if (!r || r->kind == REGION_IO || !r->host || !r->track || run < PAGE_SIZE || off & (PAGE_SIZE - 1))
        return NULL;
    run &= PAGE_MASK;
    uint64_t *hint = hints_of(m, r) + (off >> PAGE_BITS);
    new = (struct ram_run){ page, page + run, r->host + off, r->track + (off >> PAGE_BITS), hint, r->kind == REGION_ROM };
    for (res = m->runs; res < m->runs + m->n_runs; res++)
        if (res->end == new.end && res->start > new.start)     /* the same stretch, met lower down: extend */
            break;
    if (res == m->runs + N_RUNS)
        res = m->runs;                                     /* all in use: start again, runs carry no state */
    if (res == m->runs + m->n_runs || m->n_runs == N_RUNS)
        m->n_runs = (unsigned)(res - m->runs) + 1;
    *res = new;
    return res;
}

bool run_learn(struct mmu_shared *m, gpa_t gpa, struct ram_run *out)
{
    mmu_lock(m);
    struct ram_run *r = run_learn_locked(m, gpa);
    if (r)
        *out = *r;
    mmu_unlock(m);
    return r;
}

/* ---- TLB entries that must go ---- */

static void tlb_drop_entry(struct tlb_entry *t, unsigned i)
{
    __atomic_store_n(&t[i].tag_r, tlb_invalid(i), __ATOMIC_RELAXED);
    __atomic_store_n(&t[i].tag_w, tlb_invalid(i), __ATOMIC_RELAXED);
}

static void tlb_drop_in(struct tlb_entry *t, gva_t va, unsigned bits)
{
    uint64_t pages = bits >= 64 ? ~0ull : BIT(bits - PAGE_BITS);
    unsigned n = pages < TLB_ENTRIES ? pages : TLB_ENTRIES, i = tlb_index(va);

    for (; n; n--, i = (i + 1) & (TLB_ENTRIES - 1))
        if (!((t[i].tag_r ^ va) >> bits) || !((t[i].tag_w ^ va) >> bits))
            tlb_drop_entry(t, i);
}

/* VA is aligned to BITS. An invalid tag may look like an address in the range: dropping it again does no harm. */
void tlb_drop_range(struct mmu_shared *m, uint64_t as_mask, gva_t va, unsigned bits)
{
    for (; as_mask; as_mask &= as_mask - 1) {
        struct space *s = &m->spaces[__builtin_ctzll(as_mask)];
        for (unsigned v = 0; v < m->n_vcpus; v++)
            for (unsigned j = 0; j < MMU_MODES; j++)
                if (s->tlb[v][j])
                    tlb_drop_in(s->tlb[v][j], va, bits);
    }
    regions_drop(m, false);
}

static void tlb_bar_writes(struct tlb_entry *t, uint8_t *track, uint64_t hint)
{
    unsigned n = (hint >> 60) & 7;
    if (hint >> 63) {
        for (unsigned i = 0; i < TLB_ENTRIES; i++)
            if (t[i].page_id == (uintptr_t)track)
                __atomic_store_n(&t[i].tag_w, tlb_invalid(i), __ATOMIC_RELAXED);
        return;
    }
    for (unsigned k = 0; k < n; k++) {
        unsigned i = (hint >> (k * 12)) & 4095;
        if (t[i].page_id == (uintptr_t)track)
            __atomic_store_n(&t[i].tag_w, tlb_invalid(i), __ATOMIC_RELAXED);
    }
}

/* From now on writes to the page must be noticed. */
void page_track_locked(struct mmu_shared *m, uint8_t *track, unsigned bit)
{
    if (__atomic_fetch_or(track, (uint8_t)bit, __ATOMIC_SEQ_CST))
        return;                         /* something else barred the writes already */
    __atomic_store_n(&m->n.tracked_pages, m->n.tracked_pages + 1, __ATOMIC_RELAXED);
    regions_drop(m, true);
    for (unsigned b = 0; b < m->n_blocks; b++) {
        struct hint_block *hb = &m->blocks[b];
        if (track < hb->lo || track >= hb->hi)
            continue;
        uint64_t *hint = &hb->hint[track - hb->lo];
        if (!*hint)
            return;
        for (unsigned i = 0; i < N_SPACES; i++)
            for (unsigned j = 0; j < MMU_MODES * m->n_vcpus; j++)
                if (m->spaces[i].tlb[j / MMU_MODES][j % MMU_MODES])
                    tlb_bar_writes(m->spaces[i].tlb[j / MMU_MODES][j % MMU_MODES], track, *hint);
        *hint = 0;
        return;
    }
}

/* ---- guest page-table pages ---- */

struct pt_page *pt_find_locked(struct mmu_shared *m, const uint8_t *track)
{
    struct pt_page *pt = m->pt_hash[ptr_hash(track)];
    while (pt && pt->track != track)
        pt = pt->hash_next;
    return pt;
}

/* PT has just been tracked. */
static void unsettle(struct mmu_shared *m, struct pt_page *pt)
{
    pt->epoch = epoch_new_locked(m);
    if (!pt->epoch)
        return;
    pt->known = xmalloc(PAGE_SIZE);
    ram_read(pt->known, pt->host, PAGE_SIZE);
    pt->unsettled_next = m->unsettled;
    __atomic_store_n(&m->unsettled, pt, __ATOMIC_RELEASE);
}

/* PT is no longer on the list of unsettled pages. */
static void settled(struct mmu_shared *m, struct pt_page *pt)
{
    struct pt_page **p = &m->unsettled;
    if (!pt->known)
        return;
    while (*p != pt)
        p = &(*p)->unsettled_next;
    __atomic_store_n(p, pt->unsettled_next, __ATOMIC_RELEASE);
    free(pt->known);
    pt->known = NULL;
}

/* Entries that changed without anybody noticing leave the shadow. */
static void compare(struct mmu_shared *m, struct pt_page *pt)
{
    const uint64_t *now = (const uint64_t *)pt->host;
    for (unsigned i = 0; i < PAGE_SIZE / 8; i++) {
        uint64_t v = __atomic_load_n(&now[i], __ATOMIC_RELAXED);
        if (pt->known[i] == v)
            continue;
        pt->known[i] = v;
        pt->flood = 0;                  /* or it would be given up, and PT be freed */
        shadow_pt_write_locked(m, pt, i * 8, 8);
    }
}

void settle_locked(struct mmu_shared *m)
{
    struct pt_page *next;
    for (struct pt_page *pt = m->unsettled; pt; pt = next) {
        next = pt->unsettled_next;
        bool done = epoch_settled(m, pt->epoch);       /* before the comparison: stores come no more */
        compare(m, pt);
        if (done)
            settled(m, pt);
    }
}

/* Track the table page that holds ENTRY; *fresh is set when it was not yet. */
bool pt_track_locked(struct mmu_shared *m, gpa_t entry, bool *fresh)
{
    struct ram_run *r = run_learn_locked(m, entry);
    if (!r)
        return false;
    uint64_t page = (entry - r->start) >> PAGE_BITS;
    uint8_t *track = r->track + page;
    if (pt_find_locked(m, track))
        return true;
    struct pt_page *pt = xzalloc(sizeof(*pt));
    unsigned h = ptr_hash(track);
    *pt = (struct pt_page){ .hash_next = m->pt_hash[h], .track = track, .host = r->host + (page << PAGE_BITS) };
    m->pt_hash[h] = pt;
    page_track_locked(m, track, TRACK_PT);
    unsettle(m, pt);
    *fresh = true;
    return true;
}

void pt_free_locked(struct mmu_shared *m, struct pt_page *pt)
{
    struct pt_page **p = &m->pt_hash[ptr_hash(pt->track)];
    while (*p != pt)
        p = &(*p)->hash_next;
    *p = pt->hash_next;
    __atomic_and_fetch(pt->track, (uint8_t)~TRACK_PT, __ATOMIC_SEQ_CST);
    drop_seq_next(m);
    settled(m, pt);
    free(pt);
}

static void pt_written(struct mmu_shared *m, const uint8_t *track, unsigned off, unsigned len)
{
    mmu_lock(m);
    struct pt_page *pt = pt_find_locked(m, track);
    if (pt)
        shadow_pt_write_locked(m, pt, off, len);
    mmu_unlock(m);
}

/* ---- writes ---- */

__thread bool mmu_walking;
bool mmu_is_walking(void) { return mmu_walking; }

/* After a write that did not come through track_store: DMA, device models, the guest's walker setting A and D (which changes no mapping). */
void track_write_hook(void *opaque, gpa_t addr, size_t len, unsigned bits)
{
    struct mmu_shared *m = opaque;

    if (mmu_walking)
        return;
    while (len) {
        uint64_t off, run;
        unsigned po = addr & (PAGE_SIZE - 1);
        size_t n = MIN(len, PAGE_SIZE - po);
        struct region *r = as_find(m->mem, addr, &off, &run);
        if (r && r->track) {
            uint8_t *track = &r->track[off >> PAGE_BITS];
            po = off & (PAGE_SIZE - 1);
            if (__atomic_load_n(track, __ATOMIC_SEQ_CST) & TRACK_CODE)
                code_store(m, track, po, (unsigned)MIN(n, PAGE_SIZE - po), NULL, NULL);
            if (__atomic_load_n(track, __ATOMIC_SEQ_CST) & TRACK_PT)
                pt_written(m, track, po, (unsigned)MIN(n, PAGE_SIZE - po));
        }
        addr += n;
        len -= n;
    }
}

/* After a CPU store within one page of RAM. TRACK_DIRTY means "clean and watched": the store clears it. The look at the byte comes after the store
   (fence): a thread that sets it and then reads the page either sees the store, or is told of it here. */
void track_written(struct mmu_shared *m, const struct xlat *x, unsigned off, unsigned len)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    unsigned bits = __atomic_load_n(x->track, __ATOMIC_SEQ_CST);

    if (bits & TRACK_CODE && m->n_vcpus > 1)   /* another vCPU may have made a block of the old bytes between its notice and the store */
        code_store(m, x->track, off, len, NULL, NULL);
    if (bits & TRACK_PT)
        pt_written(m, x->track, off, len);
    if (bits & TRACK_DIRTY) {
        __atomic_and_fetch(x->track, (uint8_t)~TRACK_DIRTY, __ATOMIC_SEQ_CST);
        as_tell_dirty(m->mem, x->gpa, PAGE_SIZE, false);
    }
}

/* A CPU store within one page of RAM (not ROM). */
void track_store(struct mmu_shared *m, const struct xlat *x, unsigned off, const void *buf, unsigned len)
{
    uint8_t *p = x->host + off;
    unsigned bits = __atomic_load_n(x->track, __ATOMIC_SEQ_CST);

    if (!bits && m->n_vcpus < 2) {
        ram_write(p, buf, len);
        return;
    }
    /* Done when it is seen that nothing changes; not before those that came earlier: translating has taken the lock, which is a full fence. */
    if (bits && ram_same(p, buf, len))
        return;
    if (bits & TRACK_CODE)
        code_store(m, x->track, off, len, p, buf);
    ram_write(p, buf, len);
    track_written(m, x, off, len);
}
