/*
 * Virtio core: feature negotiation, device status, configuration space; what every transport does the same way. Queues are in virtq.c.
 *
 * In: register writes of the driver, decoded by the transport. Out: calls of struct virtio_ops. Every value is the guest's and is checked here;
 * a violation that the device cannot survive ends in virtio_broken (DEVICE_NEEDS_RESET, -d guest), never in host trouble.
 * Locks: machine lock. Manual: virtio 1.2, sections 2.1, 2.2, 2.5 and 3.1; for legacy drivers 2.2.3 and 3.1.2.
 */
#include "hw/virtio/virtio.h"
#include "core/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void map_changed(void *opaque)
{
    struct virtio *v = opaque;
    v->map_gen++;
}

void virtio_init(struct virtio *v, struct aspace *mem, const char *name, enum virtio_id id, const struct virtio_ops *ops, unsigned config_size)
{
    v->mem = mem;
    v->name = name;
    v->id = id;
    v->ops = ops;
    v->config_size = config_size;
    v->map_gen = 1;
    as_on_change(mem, map_changed, v);
}

static void called(void *opaque)
{
    struct virtq *q = opaque;
    virtio_kick(q->v, q->index);
}

struct virtq *virtio_add_queue(struct virtio *v, unsigned max_size, void (*kick)(struct virtio *, struct virtq *))
{
    struct virtq *q = &v->vq[v->n_queues];
    q->v = v;
    q->index = v->n_queues++;
    q->max_size = MIN(max_size, VIRTQ_MAX);
    q->kick = kick;
    q->call = (struct call){ .run = called, .opaque = q };
    return q;
}

void virtio_core_reset(struct virtio *v)
{
    if (v->ops->reset)
        v->ops->reset(v);
    memset(&v->r, 0, sizeof(v->r));
    v->r.config_vector = VIRTIO_NO_VECTOR;
    for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
        struct virtq *q = &v->vq[i];
        memset(&q->r, 0, sizeof(q->r));
        q->r.vector = VIRTIO_NO_VECTOR;
        q->r.size = q->max_size;
        q->in_flight = 0;
        q->map_gen = 0;
    }
}

void virtio_broken(struct virtio *v, const char *fmt, ...)
{
    char msg[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    log_guest("%s: %s; the device stops until it is reset", v->name ? v->name : "virtio", msg);
    if (v->r.broken)
        return;
    v->r.broken = 1;
    if (virtio_has(v, VIRTIO_F_VERSION_1)) {
        v->r.status |= VIRTIO_S_NEEDS_RESET;
        virtio_config_changed(v);
    }
}

/* --- features --- */
uint64_t virtio_offered(struct virtio *v, bool legacy)
{
    uint64_t f = (v->ops->get_features ? v->ops->get_features(v) : 0) | BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX);
    if (legacy)
        return (f | BIT(VIRTIO_F_ANY_LAYOUT)) & 0xffffffffu;
    return v->offer_v1 ? f | BIT(VIRTIO_F_VERSION_1) : f;
}

/* Modern drivers commit by FEATURES_OK; legacy ones by the write itself. */
void virtio_set_features(struct virtio *v, uint64_t val, bool legacy)
{
    if (v->r.status & (legacy ? VIRTIO_S_DRIVER_OK : VIRTIO_S_FEATURES_OK)) {
        log_guest("%s: features written after negotiation", v->name);
        return;
    }
    v->r.features = legacy ? val & virtio_offered(v, true) : val;
    if (legacy && v->ops->set_features)
        v->ops->set_features(v, v->r.features);
}

static bool features_acceptable(struct virtio *v)
{
    uint64_t extra = v->r.features & ~virtio_offered(v, false);
    if (!extra && virtio_has(v, VIRTIO_F_VERSION_1))
        return true;
    log_guest("%s: FEATURES_OK refused: features %#llx, not offered %#llx", v->name, (unsigned long long)v->r.features, (unsigned long long)extra);
    return false;
}

void virtio_set_status(struct virtio *v, uint8_t val, bool legacy)
{
    uint8_t old = v->r.status;
    if (val == 0) {
        virtio_core_reset(v);
        return;
    }
    if (!legacy && (val & ~old & VIRTIO_S_FEATURES_OK)) {
        if (!features_acceptable(v))
            val &= ~VIRTIO_S_FEATURES_OK;
        else if (v->ops->set_features)
            v->ops->set_features(v, v->r.features);
    }
    if (!legacy && (val & ~old & VIRTIO_S_DRIVER_OK) && !(val & VIRTIO_S_FEATURES_OK)) {
        log_guest("%s: DRIVER_OK without FEATURES_OK", v->name);
        val &= ~VIRTIO_S_DRIVER_OK;
    }
    v->r.status = (val & ~VIRTIO_S_NEEDS_RESET) | (old & VIRTIO_S_NEEDS_RESET);
    if (v->ops->set_status)
        v->ops->set_status(v, v->r.status);
    if (!(v->r.status & ~old & VIRTIO_S_DRIVER_OK))
        return;
    for (unsigned i = 0; i < v->n_queues; i++)           /* buffers may have been queued, and kicked, before DRIVER_OK */
        virtio_kick(v, i);
}

/* --- configuration --- */
uint64_t virtio_bytes_read(const void *config, size_t config_len, unsigned off, unsigned size)
{
    uint64_t val = 0;
    if (off < config_len)
        memcpy(&val, (const uint8_t *)config + off, MIN(size, config_len - off));
    return val;
}

uint64_t virtio_config_read(struct virtio *v, unsigned off, unsigned size)
{
    if (off >= v->config_size || !v->ops->config_read)
        return 0;
    return v->ops->config_read(v, off, size) & size_mask(size);
}

void virtio_config_write(struct virtio *v, unsigned off, uint64_t val, unsigned size)
{
    if (off >= v->config_size || size > v->config_size - off || !v->ops->config_write) {
        log_guest("%s: write of read-only configuration at %#x", v->name, off);
        return;
    }
    v->ops->config_write(v, off, val, size);
}

void virtio_config_changed(struct virtio *v)
{
    v->r.generation++;
    if ((v->r.status & VIRTIO_S_DRIVER_OK) && v->notify_config)
        v->notify_config(v);
}

void virtio_kick(struct virtio *v, unsigned queue)
{
    if (queue >= v->n_queues) {
        log_guest("%s: kick of queue %u, which does not exist", v->name, queue);
        return;
    }
    struct virtq *q = &v->vq[queue];
    if (virtq_ready(q) && q->kick)
        q->kick(v, q);
}

static void kick_posted(void *opaque)
{
    struct virtq *q = opaque;
    q->later = false;
    virtio_kick(q->v, q->index);
}

bool virtio_kick_by_worker(struct virtio *v, unsigned queue) { return v->by_worker && worker_call(&v->vq[queue].call); }

void virtq_kick_later(struct virtq *q)
{
    if (q->later || !q->v->loop || virtio_kick_by_worker(q->v, q->index))
        return;
    q->later = true;
    loop_post(q->v->loop, kick_posted, q);
}

/* Saved registers come from a file: make them lawful again. Work that the guest had queued is picked up as if it had just kicked. */
void virtio_post_load(struct virtio *v)
{
    v->map_gen++;
    for (unsigned i = 0; i < v->n_queues; i++) {
        struct virtq *q = &v->vq[i];
        q->in_flight = 0;
        q->map_gen = 0;
        if (q->r.size > q->max_size || (q->r.size & (q->r.size - 1)))
            q->r.size = q->max_size;
    }
    for (unsigned i = 0; i < v->n_queues; i++)
        virtio_kick(v, i);
}
