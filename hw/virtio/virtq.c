/*
 * Split virtqueues: taking descriptor chains from the available ring, returning them in the used ring, notification both ways.
 *
 * In: three rings in guest RAM (each must lie in one run of RAM; host pointers are kept while the memory map stays the same). Out: iovecs.
 * Invariants: a ring field or descriptor is loaded exactly once and checked before use; every walk is bounded; nothing is written but
 * the used ring and the device-writable buffers. Reading order: avail index (acquire), then entry; used entry, then used index (release);
 * a full fence stands between publishing an index and reading the other side's event index.
 * Locks: machine lock; vCPUs write the rings at the same time. Manual: virtio 1.2, section 2.7.
 */
#include "core/log.h"
#include "hw/virtio/virtio.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum { AVAIL_NO_INTERRUPT = 1, USED_NO_NOTIFY = 1 };

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct used_entry { uint32_t id, len; };

#define AVAIL_RING 4u                    /* after flags and idx */
#define USED_RING 4u

static size_t avail_bytes(const struct virtq *q) { return AVAIL_RING + 2u * q->r.size + 2; }
static size_t used_bytes(const struct virtq *q) { return USED_RING + 8u * q->r.size + 2; }

static uint16_t load16(const uint8_t *p) { return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE); }
static void store16(uint8_t *p, uint16_t v) { __atomic_store_n((uint16_t *)p, v, __ATOMIC_RELEASE); }

/* --- set-up --- */
bool virtq_set_size(struct virtq *q, uint32_t size)
{
    if (!size || size > q->max_size || (size & (size - 1)) || q->r.enabled) {
        log_guest("%s: queue %u: size %u refused", q->v->name, q->index, size);
        return false;
    }
    q->r.size = size;
    return true;
}

bool virtq_enable(struct virtq *q)
{
    if ((q->r.desc & 15) || (q->r.avail & 1) || (q->r.used & 3) || !q->r.size) {
        virtio_broken(q->v, "queue %u: misaligned rings %#llx %#llx %#llx", q->index, (unsigned long long)q->r.desc,
                      (unsigned long long)q->r.avail, (unsigned long long)q->r.used);
        return false;
    }
    q->r.enabled = 1;
    q->map_gen = 0;
    return true;
}

bool virtq_set_legacy_pfn(struct virtq *q, uint32_t pfn)
{
    q->r.desc = (uint64_t)pfn << PAGE_BITS;
    q->r.avail = q->r.desc + 16ull * q->max_size;
    q->r.used = (q->r.avail + AVAIL_RING + 2ull * q->max_size + 2 + PAGE_SIZE - 1) & PAGE_MASK;
    q->r.size = q->max_size;
    q->r.last_avail = q->r.used_idx = q->r.signalled = 0;
    q->r.signalled_valid = 0;
    return virtq_enable(q);
}

static uint8_t *map_ring(struct virtq *q, gpa_t addr, size_t bytes, bool write)
{
    size_t len = bytes;
    uint8_t *p = as_dma_ptr(q->v->mem, addr, &len, write);
    if (p && len >= bytes && !((uintptr_t)p & 1))
        return p;
    virtio_broken(q->v, "queue %u: ring at %#llx is not in RAM", q->index, (unsigned long long)addr);
    return NULL;
}

static bool map_rings(struct virtq *q)
{
    if (likely(q->map_gen == q->v->map_gen))
        return true;
    q->desc_p = map_ring(q, q->r.desc, 16u * q->r.size, false);
    q->avail_p = q->desc_p ? map_ring(q, q->r.avail, avail_bytes(q), false) : NULL;
    q->used_p = q->avail_p ? map_ring(q, q->r.used, used_bytes(q), true) : NULL;
    if (!q->used_p)
        return false;
    q->map_gen = q->v->map_gen;
    return true;
}

bool virtq_ready(struct virtq *q)
{
    struct virtio *v = q->v;
    return q->r.enabled && virtio_running(v) && (!v->may_dma || v->may_dma(v)) && map_rings(q);
}

bool virtq_empty(struct virtq *q)
{
    return !virtq_ready(q) || load16(q->avail_p + 2) == q->r.last_avail;
}

/* --- chains --- */
static bool elem_room(struct virtq_elem *e, unsigned n)
{
    if (n < e->cap)
        return true;
    unsigned cap = e->cap ? e->cap * 2 : 16;
    struct iovec *iov = realloc(e->iov, cap * sizeof(*iov));
    if (iov)
        e->iov = iov;
    gpa_t *addr = realloc(e->addr, cap * sizeof(*addr));
    if (addr)
        e->addr = addr;
    if (!iov || !addr)
        return false;
    e->cap = cap;
    return true;
}

/* One descriptor's bytes as iovecs; it may span several runs of RAM. */
static int add_buffer(struct virtq *q, struct virtq_elem *e, gpa_t addr, uint32_t len, bool write)
{
    uint32_t *total = write ? &e->in_len : &e->out_len;
    if (!write && e->n_in) {
        virtio_broken(q->v, "queue %u: readable descriptor after a writable one", q->index);
        return -1;
    }
    if (len > UINT32_MAX - *total || addr + len < addr) {
        virtio_broken(q->v, "queue %u: length overflow", q->index);
        return -1;
    }
    *total += len;
    while (len) {
        unsigned n = e->n_out + e->n_in;
        size_t run = len;
        void *p = as_dma_ptr(q->v->mem, addr, &run, write);
        if (!p || !run || n >= 4 * VIRTQ_MAX || !elem_room(e, n)) {
            virtio_broken(q->v, "queue %u: buffer %#llx+%#x is not in RAM", q->index, (unsigned long long)addr, len);
            return -1;
        }
        run = MIN(run, (size_t)len);
        e->iov[n].iov_base = p;
        e->iov[n].iov_len = run;
        e->addr[n] = addr;
        *(write ? &e->n_in : &e->n_out) += 1;
        addr += run;
        len -= run;
    }
    return 0;
}

/* A table of descriptors: the ring itself, or an indirect one. */
struct table { const uint8_t *host; gpa_t addr; unsigned count; bool indirect; };

static int table_load(struct virtq *q, const struct table *t, unsigned i, struct desc *d)
{
    if (i >= t->count) {
        virtio_broken(q->v, "queue %u: descriptor %u of %u", q->index, i, t->count);
        return -1;
    }
    if (t->host) {
        memcpy(d, t->host + 16 * i, sizeof(*d));
        __asm__ volatile("" : : : "memory");            /* one load: the checks below must see what is used */
    } else if (as_dma_read(q->v->mem, t->addr + 16 * i, d, sizeof(*d)) < 0) {
        virtio_broken(q->v, "queue %u: indirect table at %#llx is not in RAM", q->index, (unsigned long long)t->addr);
        return -1;
    }
    return 0;
}

static int enter_indirect(struct virtq *q, struct table *t, const struct desc *d)
{
    if (t->indirect || !virtio_has(q->v, VIRTIO_F_INDIRECT_DESC) || !d->len || d->len % 16 || d->len / 16 > VIRTQ_MAX || (d->flags & DESC_NEXT) ||
        d->addr + d->len < d->addr) {
        virtio_broken(q->v, "queue %u: bad indirect descriptor (length %#x, flags %#x)", q->index, d->len, d->flags);
        return -1;
    }
    size_t run = d->len;
    *t = (struct table){ as_dma_ptr(q->v->mem, d->addr, &run, false), d->addr, d->len / 16, true };
    if (run < d->len)
        t->host = NULL;                                  /* in several runs: load each by itself */
    return 0;
}

static int walk_chain(struct virtq *q, struct virtq_elem *e)
{
    struct table t = { q->desc_p, q->r.desc, q->r.size, false };
    unsigned i = e->head, left = t.count;
    struct desc d;
    for (;;) {
        if (!left--) {
            virtio_broken(q->v, "queue %u: loop in a descriptor chain", q->index);
            return -1;
        }
        if (table_load(q, &t, i, &d) < 0)
            return -1;
        if (d.flags & DESC_INDIRECT) {
            if (enter_indirect(q, &t, &d) < 0)
                return -1;
            left = t.count;
            i = 0;
            continue;
        }
        if (add_buffer(q, e, d.addr, d.len, d.flags & DESC_WRITE) < 0)
            return -1;
        if (!(d.flags & DESC_NEXT))
            return 0;
        i = d.next;
    }
}

int virtq_pop(struct virtq *q, struct virtq_elem *e)
{
    if (!virtq_ready(q))
        return q->v->r.broken ? -1 : 0;
    uint16_t waiting = load16(q->avail_p + 2) - q->r.last_avail;
    if (!waiting)
        return 0;
    if (waiting > q->r.size || q->in_flight >= q->r.size) {
        virtio_broken(q->v, "queue %u: available index jumped (%u waiting, %u in flight, size %u)", q->index, waiting, q->in_flight, q->r.size);
        return -1;
    }
    e->head = load16(q->avail_p + AVAIL_RING + 2 * (q->r.last_avail & (q->r.size - 1)));
    e->n_out = e->n_in = 0;
    e->out_len = e->in_len = 0;
    if (e->head >= q->r.size) {
        virtio_broken(q->v, "queue %u: head %u of %u", q->index, e->head, q->r.size);
        return -1;
    }
    if (walk_chain(q, e) < 0)
        return -1;
    q->r.last_avail++;
    q->in_flight++;
    return 1;
}

void virtq_unpop(struct virtq *q, struct virtq_elem *e)
{
    q->r.last_avail--;
    q->in_flight--;
}

/* --- returning --- */
static void dirty_in(struct virtq *q, const struct virtq_elem *e, uint32_t written)
{
    for (unsigned i = e->n_out; i < e->n_out + e->n_in && written; i++) {
        size_t n = MIN((size_t)written, e->iov[i].iov_len);
        as_dma_dirty(q->v->mem, e->addr[i], n);
        written -= n;
    }
}

void virtq_fill(struct virtq *q, struct virtq_elem *e, uint32_t written, unsigned offset)
{
    struct used_entry u = { e->head, MIN(written, e->in_len) };
    dirty_in(q, e, written);
    if (!virtq_ready(q))
        return;
    memcpy(q->used_p + USED_RING + 8 * ((uint16_t)(q->r.used_idx + offset) & (q->r.size - 1)), &u, sizeof(u));
}

void virtq_publish(struct virtq *q, unsigned n)
{
    q->in_flight -= MIN(n, q->in_flight);
    if (!virtq_ready(q))
        return;
    uint16_t old = q->r.used_idx;
    q->r.used_idx += n;
    store16(q->used_p + 2, q->r.used_idx);
    as_dma_dirty(q->v->mem, q->r.used, used_bytes(q));
    /* When the index passes the last signalled value the comparison in need_signal would be wrong once in 65536: signal then. */
    if ((uint16_t)(q->r.used_idx - q->r.signalled) < (uint16_t)(q->r.used_idx - old))
        q->r.signalled_valid = 0;
}

void virtq_push(struct virtq *q, struct virtq_elem *e, uint32_t written)
{
    virtq_fill(q, e, written, 0);
    virtq_publish(q, 1);
}

static bool need_signal(struct virtq *q)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!virtio_has(q->v, VIRTIO_F_EVENT_IDX))
        return !(load16(q->avail_p) & AVAIL_NO_INTERRUPT);
    uint16_t old = q->r.signalled, now = q->r.used_idx, event = load16(q->avail_p + AVAIL_RING + 2 * q->r.size);
    bool valid = q->r.signalled_valid;
    q->r.signalled = now;
    q->r.signalled_valid = 1;
    return !valid || (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

void virtq_notify(struct virtq *q)
{
    if (virtq_ready(q) && need_signal(q) && q->v->notify_queue)
        q->v->notify_queue(q->v, q);
}

bool virtq_enable_kicks(struct virtq *q, bool on)
{
    if (!virtq_ready(q))
        return false;
    if (virtio_has(q->v, VIRTIO_F_EVENT_IDX)) {
        if (!on)
            return false;                                /* a stale event index asks for no kick */
        store16(q->used_p + USED_RING + 8 * q->r.size, q->r.last_avail);
        as_dma_dirty(q->v->mem, q->r.used + USED_RING + 8 * q->r.size, 2);
    } else {
        store16(q->used_p, on ? 0 : USED_NO_NOTIFY);
        as_dma_dirty(q->v->mem, q->r.used, 2);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return on && !virtq_empty(q);
}

void virtq_elem_free(struct virtq_elem *e)
{
    free(e->iov);
    free(e->addr);
    memset(e, 0, sizeof(*e));
}

/* --- copying --- */
static size_t iov_copy(const struct iovec *iov, unsigned n, size_t off, uint8_t *buf, size_t len, bool to_iov)
{
    size_t done = 0;
    for (unsigned i = 0; i < n && done < len; i++) {
        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        size_t k = MIN(len - done, iov[i].iov_len - off);
        uint8_t *p = (uint8_t *)iov[i].iov_base + off;
        if (to_iov)
            memcpy(p, buf + done, k);
        else
            memcpy(buf + done, p, k);
        done += k;
        off = 0;
    }
    return done;
}

size_t virtq_out_copy(const struct virtq_elem *e, size_t off, void *buf, size_t len)
{
    return iov_copy(e->iov, e->n_out, off, buf, len, false);
}

size_t virtq_in_copy(const struct virtq_elem *e, size_t off, const void *buf, size_t len)
{
    return iov_copy(e->iov + e->n_out, e->n_in, off, (uint8_t *)buf, len, true);
}
