/*
 * Virtio devices without their transport: feature negotiation, device status, and split virtqueues (virtio 1.2, sections 2 and 3).
 *
 * In: queue addresses from the transport, descriptor chains from guest RAM. Out: struct virtq_elem, host iovecs over guest RAM.
 * Invariants: each descriptor is read once and validated before use; a chain is at most the queue's size (and an indirect table at most
 * VIRTQ_MAX) long; any violation latches "broken": DEVICE_NEEDS_RESET is set, -d guest says why, and the queues stop until a reset.
 * Locks: the machine lock, always. The rings' memory is shared with running vCPUs: ring indices use acquire/release accesses.
 */
#ifndef HW_VIRTIO_VIRTIO_H
#define HW_VIRTIO_VIRTIO_H
#include "core/aspace.h"
#include "core/loop.h"
#include "core/state.h"
#include "host/worker.h"
#include <sys/uio.h>

#define VIRTQ_MAX 1024u                  /* largest queue size offered, and bound on a chain */
#define VIRTIO_MAX_QUEUES 8
#define VIRTIO_NO_VECTOR 0xffffu

enum virtio_status {
    VIRTIO_S_ACKNOWLEDGE = 1, VIRTIO_S_DRIVER = 2, VIRTIO_S_DRIVER_OK = 4,
    VIRTIO_S_FEATURES_OK = 8, VIRTIO_S_NEEDS_RESET = 0x40, VIRTIO_S_FAILED = 0x80,
};
enum virtio_id { VIRTIO_ID_NET = 1, VIRTIO_ID_BLOCK = 2, VIRTIO_ID_CONSOLE = 3, VIRTIO_ID_RNG = 4 };
#define VIRTIO_F_NOTIFY_ON_EMPTY 24
#define VIRTIO_F_ANY_LAYOUT 27
#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32

struct virtio;

/* One buffer chain taken from a queue; owned by the device until virtq_push. */
struct virtq_elem {
    uint16_t head;
    uint16_t n_out, n_in;                /* iovecs: device-readable first, device-writable after */
    uint32_t out_len, in_len;            /* bytes */
    uint32_t cap;
    struct iovec *iov;                   /* out at iov[0], in at iov[n_out] */
    gpa_t *addr;                         /* guest address of each iovec, for as_dma_dirty */
};

/* What a guest can see of a queue: saved. */
struct virtq_regs {
    uint64_t desc, avail, used;          /* guest addresses */
    uint16_t size;                       /* entries; a power of two; set by the driver (modern), max when legacy */
    uint16_t vector;                     /* MSI-X vector or VIRTIO_NO_VECTOR */
    uint16_t last_avail;                 /* next avail index to take */
    uint16_t used_idx;                   /* next used index to write */
    uint16_t signalled;                  /* used index at the last notification */
    uint8_t enabled, signalled_valid;
};

struct virtq {
    struct virtq_regs r;                 /* saved */
    struct virtio *v; unsigned index;    /* wiring */
    uint16_t max_size;
    void (*kick)(struct virtio *, struct virtq *);
    uint8_t *desc_p, *avail_p, *used_p;  /* host pointers of the rings; NULL: to be looked up */
    unsigned map_gen;
    unsigned in_flight;                  /* elements popped and not pushed */
    bool later;                          /* virtq_kick_later has been posted */
    struct call call;                    /* ... or asked of a worker */
};

struct virtio_ops {
    uint64_t (*get_features)(struct virtio *);                         /* device-specific bits; the core adds ring features and VERSION_1 */
    void (*set_features)(struct virtio *, uint64_t accepted);          /* optional, after FEATURES_OK (legacy: at each write) */
    uint64_t (*config_read)(struct virtio *, unsigned off, unsigned size);
    void (*config_write)(struct virtio *, unsigned off, uint64_t val, unsigned size);   /* optional */
    void (*set_status)(struct virtio *, uint8_t status);               /* optional, after the status changed (not for reset) */
    void (*reset)(struct virtio *);                                    /* must return every popped element or forget it: queues are cleared after */
};

/* Saved part of a virtio device, transport registers included (one struct, so that a device's rows name it once). */
struct virtio_regs {
    uint64_t features;                   /* accepted by the driver */
    uint32_t feature_sel, driver_feature_sel;
    uint16_t config_vector, queue_sel;
    uint8_t status, isr, generation, broken;
    uint8_t pad[4];
};

struct virtio {
    struct virtio_regs r;                /* saved */
    struct virtq vq[VIRTIO_MAX_QUEUES];
    unsigned n_queues;
    uint16_t id;                         /* enum virtio_id */
    unsigned config_size;
    const char *name;
    const struct virtio_ops *ops;
    struct aspace *mem;
    struct loop *loop;                   /* for virtq_kick_later; NULL: at once is as good */
    bool by_worker;                      /* kicks are handled by a worker: a vCPU does not wait for them */
    unsigned map_gen;                    /* bumped by each change of the memory map */
    /* transport */
    void (*notify_queue)(struct virtio *, struct virtq *);
    void (*notify_config)(struct virtio *);
    bool (*may_dma)(struct virtio *);    /* bus mastering is on; NULL: always */
    bool offer_v1;                       /* modern interface exists */
};

/* --- for transports --- */
void virtio_init(struct virtio *, struct aspace *mem, const char *name, enum virtio_id, const struct virtio_ops *, unsigned config_size);
void virtio_core_reset(struct virtio *);
uint64_t virtio_offered(struct virtio *, bool legacy);                 /* features as the driver reads them */
void virtio_set_features(struct virtio *, uint64_t val, bool legacy);
void virtio_set_status(struct virtio *, uint8_t val, bool legacy);
uint64_t virtio_config_read(struct virtio *, unsigned off, unsigned size);
void virtio_config_write(struct virtio *, unsigned off, uint64_t val, unsigned size);
void virtio_kick(struct virtio *, unsigned queue);                     /* the driver wrote the notify register */
bool virtio_kick_by_worker(struct virtio *, unsigned queue);           /* ... without the machine lock; false: virtio_kick must do it */
bool virtq_set_legacy_pfn(struct virtq *, uint32_t pfn);               /* lays the three rings out from one page frame */
void virtio_post_load(struct virtio *);

/* Enable a queue whose addresses and size the driver has set; false (and a broken device) when they make no sense. */
bool virtq_enable(struct virtq *);
bool virtq_set_size(struct virtq *, uint32_t size);

/* --- for devices --- */
/* SIZE bytes at OFF of a config structure, zeros beyond its end. */
uint64_t virtio_bytes_read(const void *config, size_t config_len, unsigned off, unsigned size);
struct virtq *virtio_add_queue(struct virtio *, unsigned max_size, void (*kick)(struct virtio *, struct virtq *));
static inline bool virtio_has(const struct virtio *v, unsigned bit) { return v->r.features >> bit & 1; }
static inline bool virtio_running(const struct virtio *v) { return (v->r.status & VIRTIO_S_DRIVER_OK) && !v->r.broken; }
bool virtq_ready(struct virtq *);                                      /* enabled, driver ok, not broken */
bool virtq_empty(struct virtq *);                                      /* true also when not ready */
/* Take the next chain: 1 and a filled elem (reused storage: zero it once before first use), 0 when there is none, -1 when the queue broke. */
int virtq_pop(struct virtq *, struct virtq_elem *);
void virtq_unpop(struct virtq *, struct virtq_elem *);                 /* give back the chain taken last */
/* Return a chain; WRITTEN bytes were stored from the start of its in part. virtq_notify raises the interrupt if the driver wants one. */
void virtq_push(struct virtq *, struct virtq_elem *, uint32_t written);
/* Write a used entry OFFSET places ahead without publishing; virtq_publish makes N entries visible (mergeable receive buffers). */
void virtq_fill(struct virtq *, struct virtq_elem *, uint32_t written, unsigned offset);
void virtq_publish(struct virtq *, unsigned n);
void virtq_notify(struct virtq *);
/* Ask for kicks or not; true when chains have arrived meanwhile, so look again. */
bool virtq_enable_kicks(struct virtq *, bool on);
/* Run the queue's kick handler again from the loop or a worker: for handlers that stop after a budget, so that a guest cannot hold the lock for ever. */
void virtq_kick_later(struct virtq *);
#define VIRTQ_BUDGET 256                                               /* chains handled synchronously in one kick */
void virtq_elem_free(struct virtq_elem *);                             /* storage only */
void virtio_config_changed(struct virtio *);
void virtio_broken(struct virtio *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Copy out of / into an element's out / in bytes at OFF; returns bytes copied. */
size_t virtq_out_copy(const struct virtq_elem *, size_t off, void *buf, size_t len);
size_t virtq_in_copy(const struct virtq_elem *, size_t off, const void *buf, size_t len);

/* Rows for `struct virtio` at member M of TYPE. */
#define VIRTQ_ROWS(type, m, i)                                                                                                     \
    S_SAVE(type, m.vq[i].r), S_SKIP(type, m.vq[i].v), S_SKIP(type, m.vq[i].index), S_SKIP(type, m.vq[i].max_size), S_SKIP(type, m.vq[i].kick), \
        S_SKIP(type, m.vq[i].desc_p), S_SKIP(type, m.vq[i].avail_p), S_SKIP(type, m.vq[i].used_p), S_SKIP(type, m.vq[i].map_gen),   \
        S_SKIP(type, m.vq[i].in_flight), S_SKIP(type, m.vq[i].later), S_SKIP(type, m.vq[i].call)
#define VIRTIO_ROWS(type, m)                                                                                                       \
    S_SAVE(type, m.r), \
        VIRTQ_ROWS(type, m, 0), VIRTQ_ROWS(type, m, 1), VIRTQ_ROWS(type, m, 2), VIRTQ_ROWS(type, m, 3), \
        VIRTQ_ROWS(type, m, 4), VIRTQ_ROWS(type, m, 5), VIRTQ_ROWS(type, m, 6), VIRTQ_ROWS(type, m, 7), S_SKIP(type, m.n_queues), \
        S_SKIP(type, m.id), \
        S_SKIP(type, m.config_size), S_SKIP(type, m.name), S_SKIP(type, m.ops), S_SKIP(type, m.mem), S_SKIP(type, m.loop), S_SKIP(type, m.map_gen), \
        S_SKIP(type, m.by_worker), \
        S_SKIP(type, m.notify_queue), S_SKIP(type, m.notify_config), S_SKIP(type, m.may_dma), S_SKIP(type, m.offer_v1)
#endif
