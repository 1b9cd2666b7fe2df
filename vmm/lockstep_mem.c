/*
 * Lock-step: B's own copy of A's memory, under a map of its own that has A's regions, and which pages were written lately.
 *
 * All pages start with TRACK_DIRTY; the first store to one reports it, and it stays in the list of pages to be compared until the list is forgotten.
 * What devices write by DMA is copied to B: at once, or, while A's turn is recorded in mode blocks, when B is where A was.
 */
#include "vmm/lockstep_int.h"
#include "core/alloc.h"
#include <stdlib.h>
#include <string.h>

struct ls_copy *ls_copy_by_track(const uint8_t *track)
{
    for (unsigned i = 0; i < ls.n_copies; i++) {
        if (track >= ls.copies[i].track_a && track < ls.copies[i].track_a + ((ls.copies[i].size + PAGE_SIZE - 1) >> PAGE_BITS))
            return &ls.copies[i];
    }
    return NULL;
}

static struct ls_copy *copy_of(const uint8_t *a)
{
    for (unsigned i = 0; i < ls.n_copies; i++) {
        if (a >= ls.copies[i].a && a < ls.copies[i].a + ls.copies[i].size)
            return &ls.copies[i];
    }
    return NULL;
}

/* A's map has changed. Memory comes before the windows onto it, so a region that is new here is a whole one. B's map follows after the turn. */
static void on_change(void *opaque)
{
    struct ls_space *s = opaque;
    struct as_run r = { 0 };

    for (gpa_t at = 0; as_next_run(s->a, at, &r); at = r.start + r.size) {
        if (r.region->kind == REGION_IO || copy_of(r.region->host) || ls.n_copies == LS_MAX_COPIES)
            continue;
        uint8_t *b = xmap(r.region->size), *track = xmap((r.region->size + PAGE_SIZE - 1) >> PAGE_BITS);
        if (b && track)
            ls.copies[ls.n_copies++] = (struct ls_copy){ r.region->host, b, r.region->track, track, r.region->size };
    }
    s->stale = true;
    if (ls.blocks)
        ls_record(&(struct ls_event){ .kind = EV_MAP });
}

static void follow_map(struct ls_space *s)
{
    struct as_run r = { 0 };

    if (!s->stale)
        return;
    while (s->n)
        as_remove(s->b, &s->regions[--s->n]);
    for (gpa_t at = 0; s->n < LS_MAX_REGIONS && as_next_run_of_cpu(s->a, at, &r); at = r.start + r.size) {
        struct ls_copy *c = r.region->kind == REGION_IO ? NULL : copy_of(r.region->host);
        struct region *to = &s->regions[s->n++];
        *to = (struct region){ .kind = r.region->kind, .name = r.region->name, .max_size = r.region->max_size,
                                .cpu_only = r.region->cpu_only };
        if (r.region->kind == REGION_IO && r.region->track && (c = ls_copy_by_track(r.region->track))) {
            to->track = c->track_b + (r.region->track - c->track_a) + (r.off >> PAGE_BITS);
        } else if (c) {
            to->host = c->b + (r.region->host + r.off - c->a);
            to->track = c->track_b + ((to->host - c->b) >> PAGE_BITS);
        }
        as_add(s->b, to, r.start, r.size);
    }
    s->stale = false;
}

void ls_dma_to(int i, gpa_t addr, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;

    for (size_t n; len; addr += n, from += n, len -= n) {
        n = MIN(len, PAGE_SIZE - (size_t)(addr & ~PAGE_MASK));
        as_load(i ? ls.mem.b : ls.mem.a, addr, from, n);
    }
}

/* Bytes that a device or a loader put into A's memory. */
static void follow_dma(gpa_t addr, size_t len)
{
    for (size_t n; len; addr += n, len -= n) {
        uint8_t *bytes = xmalloc(PAGE_SIZE);
        n = MIN(len, PAGE_SIZE - (size_t)(addr & ~PAGE_MASK));
        bool memory = !as_dma_read(ls.mem.a, addr, bytes, n);
        if (memory && ls.blocks && ls.recording) {
            ls_record(&(struct ls_event){ EV_DMA, (unsigned)n, 0, addr, 0, bytes });
            continue;
        }
        if (memory)
            ls_dma_to(1, addr, bytes, n);
        free(bytes);
    }
}

/* What a page was before: the other side has not written it yet. */
static void keep(struct ls_page *p, const uint8_t *was)
{
    if (!p->was)
        p->was = xmalloc(PAGE_SIZE);
    memcpy(p->was, was, PAGE_SIZE);
}

void ls_keep_pages(void)
{
    for (unsigned i = 0; i < ls.n_pages; i++)
        keep(&ls.pages[i], ls.pages[i].b);
}

void ls_note_page(gpa_t gpa, int writer)
{
    uint64_t off_a, off_b, left;

    struct region *a = as_find(ls.mem.a, gpa, &off_a, &left), *b = as_find(ls.mem.b, gpa, &off_b, &left);
    if (!a || !b || !a->host || !b->host || ls.n_pages == LS_MAX_PAGES)
        return;
    for (unsigned i = ls.n_pages; i-- > 0;) {
        if (ls.pages[i].gpa == gpa && ls.pages[i].a == a->host + off_a)      /* the map may have changed since */
            return;
    }
    struct ls_page *p = &ls.pages[ls.n_pages++];
    *p = (struct ls_page){ gpa, a->host + off_a, b->host + off_b, a->track + (off_a >> PAGE_BITS), b->track + (off_b >> PAGE_BITS), p->was };
    if (ls.blocks)
        keep(p, writer ? p->a : p->b);
}

static void note_pages(gpa_t addr, size_t len, int writer)
{
    ls_note_page(addr & PAGE_MASK, writer);
    ls_note_page((addr + len - 1) & PAGE_MASK, writer);
}

static void dirty_a(void *opaque, gpa_t addr, size_t len, bool dma)
{
    if (ls.resync || (dma && ls.dead))
        return;
    if (dma)
        follow_dma(addr, len);
    else
        note_pages(addr, len, 0);
}

static void dirty_b(void *opaque, gpa_t addr, size_t len, bool dma)
{
    if (!dma && !ls.resync)
        note_pages(addr, len, 1);
}

void ls_follow_maps(void)
{
    follow_map(&ls.mem);
    follow_map(&ls.io);
}

/* Pages that were written lately are watched for their next first store again. */
void ls_forget_pages(void)
{
    for (unsigned i = 0; i < ls.n_pages; i++) {
        __atomic_or_fetch(ls.pages[i].track_a, TRACK_DIRTY, __ATOMIC_SEQ_CST);
        __atomic_or_fetch(ls.pages[i].track_b, TRACK_DIRTY, __ATOMIC_SEQ_CST);
    }
    ls.n_pages = 0;
    for (int i = 0; i < 2 && ls.env[i]; i++)
        mmu_flush_all(ls.env[i]->mmu);
}

void ls_copy_memory(void)
{
    struct as_run r = { 0 };

    for (gpa_t at = 0; as_next_run(ls.mem.a, at, &r); at = r.start + r.size) {
        struct ls_copy *c = r.region->kind == REGION_IO ? NULL : copy_of(r.region->host);
        const uint8_t *a = r.region->host + r.off;
        for (uint64_t i = 0; c && i < r.size; i += PAGE_SIZE) {
            if (memcmp(a + i, c->b + (a + i - c->a), MIN(PAGE_SIZE, r.size - i)))
                as_load(ls.mem.b, r.start + i, a + i, MIN(PAGE_SIZE, r.size - i));
        }
    }
    for (struct ls_copy *c = ls.copies; c < ls.copies + ls.n_copies; c++) {          /* and what is hidden now */
        for (uint64_t i = 0; i < c->size; i += PAGE_SIZE) {
            if (memcmp(c->a + i, c->b + i, MIN(PAGE_SIZE, c->size - i)))
                memcpy(c->b + i, c->a + i, MIN(PAGE_SIZE, c->size - i));
            __atomic_or_fetch(&c->track_a[i >> PAGE_BITS], TRACK_DIRTY, __ATOMIC_SEQ_CST);
            __atomic_or_fetch(&c->track_b[i >> PAGE_BITS], TRACK_DIRTY, __ATOMIC_SEQ_CST);
        }
    }
}

static void make_space(struct ls_space *s, struct aspace *a, struct aspace *b)
{
    s->a = a;
    s->b = b;
    s->tap_a = (struct as_tap){ ls_access_a, dirty_a, s };
    s->tap_b = (struct as_tap){ ls_access_b, dirty_b, s };
    as_set_tap(a, &s->tap_a);
    as_set_tap(b, &s->tap_b);
    as_on_change(a, on_change, s);
}

void ls_spaces_init(struct vm *a, struct vm *b)
{
    make_space(&ls.mem, a->mem, b->mem);
    make_space(&ls.io, a->io, b->io);
}
