/*
 * Virtio entropy device: each device-writable buffer is filled from the host's getrandom(2), which never blocks once the host has booted.
 *
 * In: chains of one queue. Out: random bytes, at most RNG_MAX a request (the driver asks again for more). No configuration, no features.
 * Nothing to save but the queue. Locks: machine lock. Manual: virtio 1.2, section 5.4.
 */
#include "hw/virtio/virtio_rng.h"
#include <stdlib.h>
#include <sys/random.h>

#define RNG_MAX 65536u

struct virtio_rng {
    struct virtio_pci vp;
    struct virtq_elem elem;              /* scratch */
};

static const struct state_row rng_rows[] = { VIRTIO_PCI_ROWS(struct virtio_rng, vp), S_SKIP(struct virtio_rng, elem), S_END };

static uint32_t fill(struct virtq_elem *e)
{
    uint32_t done = 0;
    for (unsigned i = e->n_out; i < e->n_out + e->n_in && done < RNG_MAX; i++) {
        uint8_t *p = e->iov[i].iov_base;
        size_t left = MIN(e->iov[i].iov_len, RNG_MAX - done);
        while (left) {
            ssize_t n = getrandom(p, left, 0);
            if (n <= 0)
                return done;
            p += n;
            left -= n;
            done += n;
        }
    }
    return done;
}

static void rng_kick(struct virtio *v, struct virtq *q)
{
    struct virtio_rng *r = container_of(v, struct virtio_rng, vp.vio);
    int budget = VIRTQ_BUDGET;
    do {
        while (budget-- > 0 && virtq_pop(q, &r->elem) > 0)
            virtq_push(q, &r->elem, fill(&r->elem));
    } while (virtq_enable_kicks(q, true) && budget > 0);
    virtq_notify(q);
    if (budget <= 0)
        virtq_kick_later(q);
}

static const struct virtio_ops rng_ops = { 0 };

struct virtio_rng *virtio_rng_new(struct vm *vm, struct pci_bus *bus, const char *name, const struct virtio_pci_opts *o)
{
    struct virtio_rng *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    if (virtio_pci_init(bus, &r->vp, o, VIRTIO_ID_RNG, 0x00ff00, name, &rng_ops, 0) < 0) {
        free(r);
        return NULL;
    }
    virtio_add_queue(&r->vp.vio, 8, rng_kick);
    return virtio_pci_finish(vm, &r->vp, rng_rows, sizeof(*r)) < 0 ? NULL : r;
}
