/*
 * Address spaces (core/aspace.h): regions in order of enabling, flattened into a sorted array of runs for lookups.
 *
 * Lookups take no lock. Two arrays take turns: a change builds the spare one, publishes it, and the old one becomes the spare. The
 * version is raised before the spare is touched; a lookup that finds the version changed when it has its answer asks again, so it never uses
 * what it read from an array being rebuilt, and nothing need be freed (an outgrown array is kept until as_free; arrays double, so that is
 * bounded however often a guest moves its BARs).
 * Changes are serialised by the map lock; listeners run after it is released. I/O callbacks run with the machine lock held.
 */
#include "core/aspace.h"
#include "core/alloc.h"
#include "core/log.h"
#include "core/ram.h"
#include "core/spin.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_LISTENERS 8
#define MAX_LATE 8
#define IO_MAX_DEFAULT 4u

struct run_map {
    struct run_map *older;              /* all maps ever made, for as_free */
    unsigned n, cap;                    /* n <= cap always, also while being rebuilt: a racing search stays inside */
    struct as_run runs[];
};

struct owned { struct owned *next; void *p; size_t size; };     /* host memory made by as_add_ram */

struct aspace {
    const char *name;
    uint64_t limit;                     /* first address that does not exist */
    struct run_map *cur;
    uint64_t version;
    struct run_map *spare, *all;
    pthread_mutex_t map_lock;
    struct region **regions;            /* enabled, lowest priority first */
    unsigned n_regions, cap_regions;
    struct owned *owned;
    void (*hook)(void *opaque, gpa_t addr, size_t len, unsigned track);
    void *hook_opaque;
    struct { void (*cb)(void *opaque); void *opaque; } listeners[MAX_LISTENERS];
    unsigned n_listeners;
    const struct as_tap *tap;
};

/* ---- the machine lock ---- */

static pthread_mutex_t machine_mutex = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local unsigned machine_depth;     /* recursion of this thread */

static union counters machine_n;                 /* under the lock */

void machine_lock(void)
{
    if (machine_depth++ || pthread_mutex_trylock(&machine_mutex) == 0)
        return;
    uint64_t since = host_ticks();
    pthread_mutex_lock(&machine_mutex);
    machine_n.machine_waits++;
    machine_n.machine_wait_time += host_ticks() - since;
}

const union counters *machine_counters(void) { return &machine_n; }

static struct late { void (*cb)(void *opaque); void *opaque; } late[MAX_LATE];     /* under the lock */
static unsigned n_late;

bool machine_unlocked(void (*cb)(void *opaque), void *opaque)
{
    if (!machine_depth || n_late == MAX_LATE)
        return false;
    for (unsigned i = 0; i < n_late; i++) {
        if (late[i].cb == cb && late[i].opaque == opaque)
            return true;
    }
    late[n_late++] = (struct late){ cb, opaque };
    return true;
}

void machine_unlock(void)
{
    struct late now[MAX_LATE];

    assert(machine_depth > 0);
    if (--machine_depth)
        return;
    unsigned n = n_late;
    for (unsigned i = 0; i < n; i++)
        now[i] = late[i];
    n_late = 0;
    pthread_mutex_unlock(&machine_mutex);
    for (unsigned i = 0; i < n; i++)
        now[i].cb(now[i].opaque);
}

bool machine_lock_held(void) { return machine_depth > 0; }

/* ---- the map ---- */

static struct run_map *map_new(struct aspace *as, unsigned cap)
{
    struct run_map *m = xzalloc(sizeof(*m) + cap * sizeof(m->runs[0]));

    m->cap = cap;
    m->older = as->all;
    as->all = m;
    return m;
}

struct aspace *as_new(const char *name, unsigned addr_bits)
{
    struct aspace *as = xzalloc(sizeof(*as));

    as->name = name;
    as->limit = 1ull << addr_bits;
    pthread_mutex_init(&as->map_lock, NULL);
    as->cur = map_new(as, 64);
    as->spare = map_new(as, 64);
    return as;
}

void as_free(struct aspace *as)
{
    for (struct run_map *m = as->all, *older; m; m = older) {
        older = m->older;
        free(m);
    }
    for (struct owned *o = as->owned, *next; o; o = next) {
        next = o->next;
        munmap(o->p, o->size);
        free(o);
    }
    pthread_mutex_destroy(&as->map_lock);
    free(as->regions);
    free(as);
}

static int cmp_addr(const void *a, const void *b)
{
    gpa_t x = *(const gpa_t *)a, y = *(const gpa_t *)b;
    return x < y ? -1 : x > y;
}

/* End of a region in this space (clipped: a guest can program a BAR anywhere). */
static gpa_t region_end(const struct aspace *as, const struct region *r)
{
    if (r->base >= as->limit)
        return r->base;
    return r->size > as->limit - r->base ? as->limit : r->base + r->size;
}

static struct region *top_region(const struct aspace *as, gpa_t addr)
{
    for (unsigned i = as->n_regions; i-- > 0;) {
        struct region *r = as->regions[i];
        if (addr >= r->base && addr < region_end(as, r))
            return r;
    }
    return NULL;
}

/* A run in a map that another thread may be rebuilding, or reading. */
static struct as_run run_get(const struct as_run *r)
{
    return (struct as_run){ __atomic_load_n(&r->start, __ATOMIC_RELAXED), __atomic_load_n(&r->size, __ATOMIC_RELAXED),
                            __atomic_load_n(&r->region, __ATOMIC_RELAXED), __atomic_load_n(&r->off, __ATOMIC_RELAXED) };
}

static void run_set(struct as_run *r, struct as_run v)
{
    __atomic_store_n(&r->start, v.start, __ATOMIC_RELAXED);
    __atomic_store_n(&r->size, v.size, __ATOMIC_RELAXED);
    __atomic_store_n(&r->region, v.region, __ATOMIC_RELAXED);
    __atomic_store_n(&r->off, v.off, __ATOMIC_RELAXED);
}

/* The runs of the enabled regions into M (whose cap is at least 2 * n_regions). */
static void flatten(const struct aspace *as, struct run_map *m)
{
    unsigned n_edges = 0, n = 0;
    gpa_t *edges = xmalloc((2 * as->n_regions + 1) * sizeof(*edges));

    for (unsigned i = 0; i < as->n_regions; i++) {
        edges[n_edges++] = as->regions[i]->base;
        edges[n_edges++] = region_end(as, as->regions[i]);
    }
    qsort(edges, n_edges, sizeof(*edges), cmp_addr);
    for (unsigned i = 0; i + 1 < n_edges; i++) {
        struct region *r = edges[i] < edges[i + 1] ? top_region(as, edges[i]) : NULL;
        struct as_run *last = n ? &m->runs[n - 1] : NULL;
        if (!r)
            continue;
        if (last && last->region == r && last->start + last->size == edges[i])
            __atomic_store_n(&last->size, last->size + edges[i + 1] - edges[i], __ATOMIC_RELAXED);
        else
            run_set(&m->runs[n++], (struct as_run){ edges[i], edges[i + 1] - edges[i], r, edges[i] - r->base });
    }
    __atomic_store_n(&m->n, n, __ATOMIC_RELEASE);
    free(edges);
}

/* Map lock held. */
static void rebuild(struct aspace *as)
{
    struct run_map *m = as->spare;

    if (m->cap < 2 * as->n_regions)
        m = map_new(as, 4 * as->n_regions);
    __atomic_store_n(&as->version, as->version + 1, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    flatten(as, m);
    as->spare = as->cur;
    __atomic_store_n(&as->cur, m, __ATOMIC_SEQ_CST);
}

static void unlock_and_tell(struct aspace *as)
{
    pthread_mutex_unlock(&as->map_lock);
    for (unsigned i = 0; i < as->n_listeners; i++)
        as->listeners[i].cb(as->listeners[i].opaque);
}

void as_add(struct aspace *as, struct region *r, gpa_t base, uint64_t size)
{
    pthread_mutex_lock(&as->map_lock);
    assert(!r->enabled);
    r->base = base;
    r->size = size;
    r->enabled = true;
    if (as->n_regions == as->cap_regions) {
        as->cap_regions = as->cap_regions ? as->cap_regions * 2 : 32;
        as->regions = xrealloc(as->regions, as->cap_regions * sizeof(*as->regions));
    }
    as->regions[as->n_regions++] = r;
    rebuild(as);
    unlock_and_tell(as);
}

void as_remove(struct aspace *as, struct region *r)
{
    pthread_mutex_lock(&as->map_lock);
    if (!r->enabled) {
        pthread_mutex_unlock(&as->map_lock);
        return;
    }
    unsigned i = 0;
    while (i < as->n_regions && as->regions[i] != r)
        i++;
    assert(i < as->n_regions);
    memmove(&as->regions[i], &as->regions[i + 1], (as->n_regions - i - 1) * sizeof(*as->regions));
    as->n_regions--;
    r->enabled = false;
    rebuild(as);
    unlock_and_tell(as);
}

void as_move(struct aspace *as, struct region *r, gpa_t base)
{
    pthread_mutex_lock(&as->map_lock);
    r->base = base;
    if (!r->enabled) {
        pthread_mutex_unlock(&as->map_lock);
        return;
    }
    rebuild(as);
    unlock_and_tell(as);
}

static void *own_map(struct aspace *as, size_t size)
{
    void *p = xmap(size);

    if (p) {
        struct owned *o = xmalloc(sizeof(*o));
        *o = (struct owned){ as->owned, p, (size + PAGE_SIZE - 1) & PAGE_MASK };
        as->owned = o;
    }
    return p;
}

int as_add_ram(struct aspace *as, struct region *r, const char *name, gpa_t base, uint64_t size, enum region_kind kind)
{
    uint8_t *host = own_map(as, size), *track = host ? own_map(as, (size + PAGE_SIZE - 1) >> PAGE_BITS) : NULL;

    if (!track)
        return -ENOMEM;
    madvise(host, size, MADV_HUGEPAGE);           /* a wish: fails harmlessly where the host has none */
    memset(r, 0, sizeof(*r));
    r->kind = kind;
    r->name = name;
    r->host = host;
    r->track = track;
    as_add(as, r, base, size);
    return 0;
}

void as_add_alias(struct aspace *as, struct region *alias, const char *name, struct region *ram, uint64_t ram_off, gpa_t base, uint64_t size)
{
    assert(!(ram_off & ~PAGE_MASK) && ram_off + size <= ram->size);
    memset(alias, 0, sizeof(*alias));
    alias->kind = ram->kind;
    alias->name = name;
    alias->host = ram->host + ram_off;
    alias->track = ram->track + (ram_off >> PAGE_BITS);
    as_add(as, alias, base, size);
}

/* The last run of M that starts at ADDR or before, or NULL. M may be under reconstruction: the caller checks the version afterwards. */
static const struct as_run *search(const struct run_map *m, gpa_t addr)
{
    unsigned lo = 0, hi = __atomic_load_n(&m->n, __ATOMIC_ACQUIRE);

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (__atomic_load_n(&m->runs[mid].start, __ATOMIC_RELAXED) <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? &m->runs[lo - 1] : NULL;
}

struct region *as_find(struct aspace *as, gpa_t addr, uint64_t *off, uint64_t *left)
{
    for (;;) {
        uint64_t version = __atomic_load_n(&as->version, __ATOMIC_ACQUIRE);
        const struct as_run *p = search(__atomic_load_n(&as->cur, __ATOMIC_ACQUIRE), addr);
        struct as_run found = p ? run_get(p) : (struct as_run){ 0 };
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (unlikely(__atomic_load_n(&as->version, __ATOMIC_RELAXED) != version))
            continue;
        if (addr - found.start >= found.size)
            return *off = *left = 0, NULL;
        *off = found.off + (addr - found.start);
        *left = found.size - (addr - found.start);
        return found.region;
    }
}

static bool next_run(struct aspace *as, gpa_t from, struct as_run *out, bool cpu_only)
{
    for (;;) {
        uint64_t version = __atomic_load_n(&as->version, __ATOMIC_ACQUIRE);
        const struct run_map *m = __atomic_load_n(&as->cur, __ATOMIC_ACQUIRE);
        unsigned n = __atomic_load_n(&m->n, __ATOMIC_ACQUIRE), i = 0;
        for (; i < n; i++) {
            *out = run_get(&m->runs[i]);
            if (out->start + out->size > from && (cpu_only || !out->region->cpu_only))
                break;
        }
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (likely(__atomic_load_n(&as->version, __ATOMIC_RELAXED) == version))
            return i < n;
    }
}

bool as_next_run(struct aspace *as, gpa_t from, struct as_run *out) { return next_run(as, from, out, false); }
bool as_next_run_of_cpu(struct aspace *as, gpa_t from, struct as_run *out) { return next_run(as, from, out, true); }

void as_set_write_hook(struct aspace *as, void (*hook)(void *, gpa_t, size_t, unsigned), void *opaque)
{
    assert(!hook || !as->hook);
    as->hook_opaque = opaque;
    as->hook = hook;
}

void as_on_change(struct aspace *as, void (*cb)(void *), void *opaque)
{
    assert(as->n_listeners < MAX_LISTENERS);
    as->listeners[as->n_listeners].cb = cb;
    as->listeners[as->n_listeners++].opaque = opaque;
}

bool as_has_tap(const struct aspace *as) { return as->tap; }
void as_set_tap(struct aspace *as, const struct as_tap *tap) { as->tap = tap; }

void as_tell_dirty(struct aspace *as, gpa_t addr, size_t len, bool dma)
{
    if (unlikely(as->tap))
        as->tap->dirty(as->tap->opaque, addr, len, dma);
}

/* ---- CPU accesses ---- */

static uint64_t tapped(struct aspace *as, gpa_t addr, uint64_t val, unsigned size, bool write)
{
    return unlikely(as->tap) ? as->tap->access(as->tap->opaque, addr, val, size, write) : val;
}

static uint64_t host_load(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    ram_read(&v, p, size);
    return v;
}

/* After a store: the full fence orders it before the look at the track byte, against a thread that sets the byte and then reads the page. */
static void written(struct aspace *as, struct region *r, uint64_t off, gpa_t addr, size_t len)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    while (len) {
        size_t n = MIN(len, PAGE_SIZE - (off & ~PAGE_MASK));
        unsigned track = __atomic_load_n(&r->track[off >> PAGE_BITS], __ATOMIC_RELAXED);
        if (track && as->hook)
            as->hook(as->hook_opaque, addr, n, track);
        off += n;
        addr += n;
        len -= n;
    }
}

/* The largest access at OFF that the region takes, of SIZE bytes wanted. */
static unsigned io_piece(const struct region *r, uint64_t off, unsigned size)
{
    unsigned max = r->max_size ? r->max_size : IO_MAX_DEFAULT;
    unsigned n = MIN(size, max);

    return (n & (n - 1)) || (off & (n - 1)) ? 1 : n;
}

static __thread unsigned callbacks;

bool as_in_device(void) { return callbacks; }

static void begin_io(const struct region *r)
{
    if (!r->no_lock)
        machine_lock();
    callbacks++;
}

static void end_io(const struct region *r)
{
    callbacks--;
    if (!r->no_lock)
        machine_unlock();
}

static uint64_t io_read(struct region *r, uint64_t off, unsigned size)
{
    uint64_t v = 0;

    if (!r->read)
        return size_mask(size);
    begin_io(r);
    unsigned piece = io_piece(r, off, size);
    for (unsigned i = 0; i < size; i += piece) {
        piece = MIN(piece, io_piece(r, off + i, size - i));
        v |= (r->read(r->opaque, off + i, piece) & size_mask(piece)) << (i * 8);
    }
    end_io(r);
    return v;
}

static void io_write(struct region *r, uint64_t off, uint64_t val, unsigned size)
{
    if (!r->write)
        return;
    begin_io(r);
    unsigned piece = io_piece(r, off, size);
    for (unsigned i = 0; i < size; i += piece) {
        piece = MIN(piece, io_piece(r, off + i, size - i));
        r->write(r->opaque, off + i, val >> (i * 8) & size_mask(piece), piece);
    }
    end_io(r);
}

static bool taken(const struct region *r, uint64_t off, uint64_t val, unsigned size)
{
    for (const struct doorbell *b = r->doorbells; b; b = b->next) {
        if (b->offset == off && b->size == size && (!b->match || b->value == val))
            return b->take(b->opaque, b->n);
    }
    return false;
}

/* An access that lies in one run, or in none (R NULL). */
static uint64_t read_one(struct aspace *as, struct region *r, uint64_t off, gpa_t addr, unsigned size)
{
    if (!r) {
        log_guest("%s: read of %u bytes at 0x%llx: nothing there", as->name, size, (unsigned long long)addr);
        return tapped(as, addr, size_mask(size), size, false);
    }
    return r->kind == REGION_IO ? tapped(as, addr, io_read(r, off, size), size, false) : host_load(r->host + off, size);
}

static void write_one(struct aspace *as, struct region *r, uint64_t off, gpa_t addr, uint64_t val, unsigned size)
{
    if (!r || r->kind == REGION_ROM) {
        log_guest("%s: write of %u bytes at 0x%llx: %s", as->name, size, (unsigned long long)addr, r ? "read-only" : "nothing there");
        tapped(as, addr, val & size_mask(size), size, true);
    } else if (r->kind == REGION_IO) {
        if (!taken(r, off, val & size_mask(size), size))
            io_write(r, off, val & size_mask(size), size);
        tapped(as, addr, val & size_mask(size), size, true);
        if (r->track)
            written(as, r, off, addr, size);
    } else {
        ram_write(r->host + off, &val, size);
        written(as, r, off, addr, size);
        as_tell_dirty(as, addr, size, false);
    }
}

uint64_t as_read(struct aspace *as, gpa_t addr, unsigned size)
{
    uint64_t off, left, v = 0;
    struct region *r = as_find(as, addr, &off, &left);

    if (likely(r && left >= size))
        return read_one(as, r, off, addr, size);
    for (unsigned i = 0, n; i < size; i += n) {
        r = as_find(as, addr + i, &off, &left);
        n = r ? (unsigned)MIN(left, size - i) : 1;
        v |= (read_one(as, r, off, addr + i, n) & size_mask(n)) << (i * 8);
    }
    return v;
}

void as_write(struct aspace *as, gpa_t addr, uint64_t val, unsigned size)
{
    uint64_t off, left;
    struct region *r = as_find(as, addr, &off, &left);

    if (likely(r && left >= size)) {
        write_one(as, r, off, addr, val, size);
        return;
    }
    for (unsigned i = 0, n; i < size; i += n) {
        r = as_find(as, addr + i, &off, &left);
        n = r ? (unsigned)MIN(left, size - i) : 1;
        write_one(as, r, off, addr + i, val >> (i * 8), n);
    }
}

/* ---- DMA and loading ---- */

static bool has_bytes(const struct region *r, bool write) { return r && !r->cpu_only && (r->kind == REGION_RAM || (r->kind == REGION_ROM && !write)); }

/* Bytes of [addr, addr+len) that belong together: all in one run, or (nothing there) up to the end of the page. */
static size_t step(const struct region *r, gpa_t addr, uint64_t left, size_t len)
{
    return (size_t)MIN((uint64_t)len, r ? left : PAGE_SIZE - (addr & ~PAGE_MASK));
}

int as_dma_read(struct aspace *as, gpa_t addr, void *buf, size_t len)
{
    uint8_t *out = buf;
    int ret = 0;

    while (len) {
        uint64_t off, left;
        struct region *r = as_find(as, addr, &off, &left);
        size_t n = step(r, addr, left, len);
        if (has_bytes(r, false)) {
            memcpy(out, r->host + off, n);
        } else {
            log_guest("%s: DMA read at 0x%llx: not memory", as->name, (unsigned long long)addr);
            memset(out, 0xff, n);
            ret = -EFAULT;
        }
        out += n;
        addr += n;
        len -= n;
    }
    return ret;
}

int as_dma_write(struct aspace *as, gpa_t addr, const void *buf, size_t len)
{
    const uint8_t *in = buf;
    int ret = 0;

    while (len) {
        uint64_t off, left;
        struct region *r = as_find(as, addr, &off, &left);
        size_t n = step(r, addr, left, len);
        if (has_bytes(r, true)) {
            memcpy(r->host + off, in, n);
            written(as, r, off, addr, n);
            as_tell_dirty(as, addr, n, true);
        } else {
            log_guest("%s: DMA write at 0x%llx: not memory", as->name, (unsigned long long)addr);
            ret = -EFAULT;
        }
        in += n;
        addr += n;
        len -= n;
    }
    return ret;
}

void *as_dma_ptr(struct aspace *as, gpa_t addr, size_t *len, bool write)
{
    uint64_t off, left;
    struct region *r = as_find(as, addr, &off, &left);

    if (!has_bytes(r, write)) {
        log_guest("%s: DMA at 0x%llx: not memory", as->name, (unsigned long long)addr);
        return NULL;
    }
    *len = (size_t)MIN((uint64_t)*len, left);
    return r->host + off;
}

static void dirty(struct aspace *as, gpa_t addr, size_t len, bool dma)
{
    while (len) {
        uint64_t off, left;
        struct region *r = as_find(as, addr, &off, &left);
        size_t n = step(r, addr, left, len);
        if (has_bytes(r, true)) {
            written(as, r, off, addr, n);
            as_tell_dirty(as, addr, n, dma);
        }
        addr += n;
        len -= n;
    }
}

void as_dma_dirty(struct aspace *as, gpa_t addr, size_t len) { dirty(as, addr, len, true); }
void as_cpu_dirty(struct aspace *as, gpa_t addr, size_t len) { dirty(as, addr, len, false); }

int as_load(struct aspace *as, gpa_t addr, const void *buf, size_t len)
{
    const uint8_t *in = buf;

    while (len) {
        uint64_t off, left;
        struct region *r = as_find(as, addr, &off, &left);
        if (!has_bytes(r, false))
            return -EFAULT;
        size_t n = step(r, addr, left, len);
        memcpy(r->host + off, in, n);
        written(as, r, off, addr, n);
        as_tell_dirty(as, addr, n, true);
        in += n;
        addr += n;
        len -= n;
    }
    return 0;
}
