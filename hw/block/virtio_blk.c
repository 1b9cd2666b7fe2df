/*
 * Virtio block device: requests of up to four queues become requests of a host image (host/block.h), run by its worker threads.
 *
 * In: chains {header 16 bytes, data, status byte}, in any framing. Out: block requests on the guest's own memory; when one is done
 * the status byte is written, the pages marked, the chain returned and the queue notified. All of that is the workers' (host/worker.h): the vCPU
 * that kicks a queue only wakes one. An image that works at once is served before the kick returns.
 * Invariants: data is whole sectors inside the capacity, or the request fails with IOERR before it reaches the image; without the FLUSH feature the
 * driver believes in a write-through disk, so each write is followed by a flush. A reset, a save and an unplugging drain first.
 * Locks: machine lock. Manual: virtio 1.2, section 5.2.
 */
#include "hw/block/virtio_blk.h"
#include "core/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { F_SEG_MAX = 2, F_GEOMETRY = 4, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_TOPOLOGY = 10, F_MQ = 12, F_DISCARD = 13, F_WRITE_ZEROES = 14 };
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
#define QUEUE_SIZE 256u
#define MAX_QUEUES 4u
#define MAX_DISCARD_SECTORS 0x3fffffu       /* 2 GiB a request */

struct blk_config {
    uint64_t capacity;
    uint32_t size_max, seg_max;
    uint16_t cylinders;
    uint8_t heads, sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp, alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t writeback, unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_alignment, max_zero_sectors, max_zero_seg;
    uint8_t zero_may_unmap, unused1[3];
} __attribute__((packed));

struct blk_header { uint32_t type, reserved; uint64_t sector; };
struct blk_segment { uint64_t sector; uint32_t count, flags; };

/* One request in flight; kept on a free list with its storage. */
struct request {
    struct virtio_blk *dev;
    struct virtq *q;
    struct request *next;
    struct virtq_elem elem;
    struct block_req breq;
    struct iovec *iov;
    unsigned iov_cap;
    uint32_t type;
    bool flush_after;
};

struct virtio_blk {
    struct virtio_pci vp;
    struct block *blk;
    char serial[24];
    unsigned num_queues;
    struct request *free;
};

static const struct state_row blk_rows[] = {
    VIRTIO_PCI_ROWS(struct virtio_blk, vp), S_SKIP(struct virtio_blk, blk), S_SKIP(struct virtio_blk, serial), S_SKIP(struct virtio_blk, num_queues),
    S_SKIP(struct virtio_blk, free), S_END,
};

static struct virtio_blk *blk_of(struct virtio *v) { return container_of(v, struct virtio_blk, vp.vio); }

/* --- configuration --- */
static uint64_t blk_features(struct virtio *v)
{
    struct virtio_blk *b = blk_of(v);
    uint64_t f = BIT(F_SEG_MAX) | BIT(F_GEOMETRY) | BIT(F_BLK_SIZE) | BIT(F_TOPOLOGY);
    if (block_write_cache(b->blk))
        f |= BIT(F_FLUSH);
    if (block_readonly(b->blk))
        f |= BIT(F_RO);
    else
        f |= BIT(F_DISCARD) | BIT(F_WRITE_ZEROES);
    return b->num_queues > 1 ? f | BIT(F_MQ) : f;
}

static uint64_t blk_config_read(struct virtio *v, unsigned off, unsigned size)
{
    struct virtio_blk *b = blk_of(v);
    uint64_t sectors = block_size(b->blk) / BLOCK_SECTOR;
    struct blk_config c = {
        .capacity = sectors, .seg_max = QUEUE_SIZE - 2, .cylinders = MIN(sectors / (16 * 63), 16383), .heads = 16, .sectors = 63,
        .blk_size = BLOCK_SECTOR, .min_io_size = 1, .writeback = block_write_cache(b->blk), .num_queues = b->num_queues,
        .max_discard_sectors = MAX_DISCARD_SECTORS, .max_discard_seg = 1, .discard_alignment = 1,
        .max_zero_sectors = MAX_DISCARD_SECTORS, .max_zero_seg = 1, .zero_may_unmap = 1,
    };
    return virtio_bytes_read(&c, sizeof(c), off, size);
}

/* --- requests --- */
static struct request *request_get(struct virtio_blk *b, struct virtq *q)
{
    struct request *r = b->free;
    if (r)
        b->free = r->next;
    else if (!(r = calloc(1, sizeof(*r))))
        return NULL;
    r->dev = b;
    r->q = q;
    r->flush_after = false;
    return r;
}

static void request_put(struct request *r)
{
    r->next = r->dev->free;
    r->dev->free = r;
}

/* The status is the last device-writable byte. The used length covers everything up to it, data that was not written included: a driver
   that sees IOERR does not look at the data, and the marks on pages must cover the status byte. */
static void request_finish(struct request *r, uint8_t status)
{
    virtq_in_copy(&r->elem, r->elem.in_len - 1, &status, 1);
    virtq_push(r->q, &r->elem, r->elem.in_len);
    request_put(r);
}

static void request_done(struct block_req *breq, int ret)
{
    struct request *r = breq->opaque;
    struct virtq *q = r->q;
    if (ret == 0 && r->flush_after) {
        r->flush_after = false;
        breq->op = BLOCK_FLUSH;
        block_submit(r->dev->blk, breq);
        return;
    }
    request_finish(r, ret == 0 ? S_OK : ret == -EOPNOTSUPP ? S_UNSUPP : S_IOERR);
    virtq_notify(q);
}

/* The part [skip, skip + len) of N iovecs, as a vector of the request's own. Returns its length or -ENOMEM. */
static int request_iov(struct request *r, const struct iovec *src, unsigned n, size_t skip, size_t len)
{
    int k = 0;
    if (r->iov_cap < n) {
        struct iovec *p = realloc(r->iov, n * sizeof(*p));
        if (!p)
            return -ENOMEM;
        r->iov = p;
        r->iov_cap = n;
    }
    for (unsigned i = 0; i < n && len; i++) {
        if (skip >= src[i].iov_len) {
            skip -= src[i].iov_len;
            continue;
        }
        r->iov[k].iov_base = (uint8_t *)src[i].iov_base + skip;
        r->iov[k].iov_len = MIN(src[i].iov_len - skip, len);
        len -= r->iov[k++].iov_len;
        skip = 0;
    }
    return k;
}

static bool in_capacity(struct virtio_blk *b, uint64_t sector, uint64_t count)
{
    uint64_t cap = block_size(b->blk) / BLOCK_SECTOR;
    return sector <= cap && count <= cap - sector;
}

static int start_rw(struct request *r, uint64_t sector)
{
    bool out = r->type == T_OUT;
    uint64_t len = out ? r->elem.out_len - sizeof(struct blk_header) : r->elem.in_len - 1;
    if (len % BLOCK_SECTOR || !in_capacity(r->dev, sector, len / BLOCK_SECTOR) || (out && block_readonly(r->dev->blk)))
        return S_IOERR;
    int n = out ? request_iov(r, r->elem.iov, r->elem.n_out, sizeof(struct blk_header), len)
                : request_iov(r, r->elem.iov + r->elem.n_out, r->elem.n_in, 0, len);
    if (n < 0)
        return S_IOERR;
    r->flush_after = out && block_write_cache(r->dev->blk) && !virtio_has(r->q->v, F_FLUSH);
    r->breq = (struct block_req){ .op = out ? BLOCK_WRITE : BLOCK_READ, .offset = sector * BLOCK_SECTOR, .len = len, .iov = r->iov, .niov = n };
    return -1;
}

static int start_range(struct request *r)
{
    struct blk_segment s;
    bool zero = r->type == T_WRITE_ZEROES;
    if (!virtio_has(r->q->v, zero ? F_WRITE_ZEROES : F_DISCARD))
        return S_UNSUPP;
    if (r->elem.out_len != sizeof(struct blk_header) + sizeof(s))
        return S_IOERR;
    virtq_out_copy(&r->elem, sizeof(struct blk_header), &s, sizeof(s));
    if (s.flags & (zero ? ~1u : ~0u))
        return S_UNSUPP;
    if (s.count > MAX_DISCARD_SECTORS || !in_capacity(r->dev, s.sector, s.count) || block_readonly(r->dev->blk))
        return S_IOERR;
    r->flush_after = block_write_cache(r->dev->blk) && !virtio_has(r->q->v, F_FLUSH);
    r->breq = (struct block_req){ .op = zero ? BLOCK_ZERO : BLOCK_DISCARD, .offset = s.sector * BLOCK_SECTOR, .len = (uint64_t)s.count * BLOCK_SECTOR,
                                  .may_unmap = s.flags & 1 };
    return -1;
}

static int give_id(struct request *r)
{
    char id[20] = { 0 };
    memcpy(id, r->dev->serial, strnlen(r->dev->serial, sizeof(id)));
    virtq_in_copy(&r->elem, 0, id, MIN(sizeof(id), r->elem.in_len - 1));
    return S_OK;
}

/* A status to finish with at once, or -1: breq is filled in. */
static int request_start(struct request *r, const struct blk_header *h)
{
    switch (r->type) {
    case T_IN: case T_OUT: return start_rw(r, h->sector);
    case T_DISCARD: case T_WRITE_ZEROES: return start_range(r);
    case T_GET_ID: return give_id(r);
    case T_FLUSH:
        r->breq = (struct block_req){ .op = BLOCK_FLUSH };
        return -1;
    default: return S_UNSUPP;
    }
}

/* False: the queue is finished or broken. */
static bool handle_one(struct virtio_blk *b, struct virtq *q)
{
    struct blk_header h;
    struct request *r = request_get(b, q);
    if (!r)
        return false;
    if (virtq_pop(q, &r->elem) <= 0) {
        request_put(r);
        return false;
    }
    if (virtq_out_copy(&r->elem, 0, &h, sizeof(h)) < sizeof(h) || !r->elem.in_len) {
        virtio_broken(q->v, "request without header or status byte");
        request_put(r);
        return false;
    }
    r->type = h.type;
    int status = request_start(r, &h);
    if (status >= 0) {
        request_finish(r, status);
        virtq_notify(q);
        return true;
    }
    r->breq.done = request_done;
    r->breq.opaque = r;
    block_submit(b->blk, &r->breq);
    return true;
}

static void blk_kick(struct virtio *v, struct virtq *q)
{
    struct virtio_blk *b = blk_of(v);
    int budget = VIRTQ_BUDGET;
    do {
        virtq_enable_kicks(q, false);
        while (budget > 0 && handle_one(b, q))
            budget--;
    } while (virtq_enable_kicks(q, true) && budget > 0);
    if (budget <= 0)
        virtq_kick_later(q);
    block_poll(b->blk);
}

static void blk_reset(struct virtio *v)
{
    block_drain(blk_of(v)->blk);
}

static void blk_pre_save(void *dev)
{
    struct virtio_blk *b = dev;
    block_drain(b->blk);
}

static void blk_changed(void *opaque)
{
    struct virtio_blk *b = opaque;
    virtio_config_changed(&b->vp.vio);
}

static const struct virtio_ops blk_ops = { .get_features = blk_features, .config_read = blk_config_read, .reset = blk_reset };

struct virtio_blk *virtio_blk_new(struct vm *vm, struct pci_bus *bus, const char *name, const struct virtio_blk_opts *o)
{
    struct virtio_blk *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->blk = o->blk;
    b->num_queues = MIN(MAX(o->num_queues, 1u), MAX_QUEUES);
    strncpy(b->serial, o->serial ? o->serial : "", 20);
    if (virtio_pci_init(bus, &b->vp, &o->pci, VIRTIO_ID_BLOCK, 0x010000, name, &blk_ops, sizeof(struct blk_config)) < 0) {
        free(b);
        return NULL;
    }
    b->vp.vio.by_worker = !block_at_once(b->blk);
    for (unsigned i = 0; i < b->num_queues; i++)
        virtio_add_queue(&b->vp.vio, QUEUE_SIZE, blk_kick);
    if (virtio_pci_finish(vm, &b->vp, blk_rows, sizeof(*b)) < 0)
        return NULL;
    b->vp.pci.dev.pre_save = blk_pre_save;
    block_on_change(b->blk, blk_changed, b);
    return b;
}
