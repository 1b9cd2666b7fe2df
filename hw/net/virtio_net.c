/*
 * Virtio network card: one receive and one transmit queue, mergeable receive buffers, no offloads (frames cross as they are on the wire).
 *
 * In: frames of the back end (host/net.h), transmit chains {header, frame}. Out: the reverse. The header is 12 bytes with VERSION_1 or
 * MRG_RXBUF, else 10. A frame that does not fit the posted buffers is dropped, as a full card would; while there are none the back end queues.
 * Saved: the MAC address (a legacy driver may change it). Locks: machine lock. Manual: virtio 1.2, section 5.1.
 */
#include "hw/net/virtio_net.h"
#include "core/log.h"
#include <stdlib.h>
#include <string.h>

enum { F_MAC = 5, F_MRG_RXBUF = 15, F_STATUS = 16 };
enum { Q_RX = 0, Q_TX = 1 };
#define QUEUE_SIZE 256u
#define MERGE_MAX 64u                    /* buffers a frame may take */

struct net_header { uint8_t flags, gso_type; uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers; };
struct net_config { uint8_t mac[6]; uint16_t status; };

struct virtio_net {
    struct virtio_pci vp;
    uint8_t mac[6];                      /* saved */
    uint8_t mac_reset[6];
    struct netdev *net;
    struct virtq_elem elem[MERGE_MAX];   /* scratch */
    uint8_t frame[NET_MAX_FRAME];        /* scratch */
};

static const struct state_row net_rows[] = {
    VIRTIO_PCI_ROWS(struct virtio_net, vp), S_SAVE(struct virtio_net, mac), S_SKIP(struct virtio_net, mac_reset), S_SKIP(struct virtio_net, net),
    S_SKIP(struct virtio_net, elem), S_SKIP(struct virtio_net, frame), S_END,
};

static struct virtio_net *net_of(struct virtio *v) { return container_of(v, struct virtio_net, vp.vio); }

static unsigned header_size(const struct virtio *v)
{
    return virtio_has(v, VIRTIO_F_VERSION_1) || virtio_has(v, F_MRG_RXBUF) ? 12 : 10;
}

/* --- configuration --- */
static uint64_t net_features(struct virtio *v)
{
    return BIT(F_MAC) | BIT(F_MRG_RXBUF) | BIT(F_STATUS);
}

static uint64_t net_config_read(struct virtio *v, unsigned off, unsigned size)
{
    struct virtio_net *n = net_of(v);
    struct net_config c = { .status = n->net != NULL };
    memcpy(c.mac, n->mac, sizeof(c.mac));
    return virtio_bytes_read(&c, sizeof(c), off, size);
}

static void net_config_write(struct virtio *v, unsigned off, uint64_t val, unsigned size)
{
    struct virtio_net *n = net_of(v);
    for (unsigned i = 0; i < size && !virtio_has(v, VIRTIO_F_VERSION_1) && off + i < 6; i++)
        n->mac[off + i] = val >> 8 * i;
}

/* --- receive --- */
static bool net_can_receive(void *opaque)
{
    struct virtio_net *n = opaque;
    struct virtq *q = &n->vp.vio.vq[Q_RX];
    if (!virtq_empty(q))
        return true;
    return virtq_enable_kicks(q, true);
}

/* Take buffers until LEN bytes fit: their number, or 0 with everything given back. */
static unsigned take_buffers(struct virtio_net *n, struct virtq *q, size_t len)
{
    unsigned k = 0, max = virtio_has(q->v, F_MRG_RXBUF) ? MERGE_MAX : 1;
    size_t room = 0;
    while (room < len && k < max && virtq_pop(q, &n->elem[k]) > 0)
        room += n->elem[k++].in_len;
    if (room >= len)
        return k;
    while (k)
        virtq_unpop(q, &n->elem[--k]);
    return 0;
}

static void net_receive(void *opaque, const uint8_t *frame, size_t len)
{
    struct virtio_net *n = opaque;
    struct virtq *q = &n->vp.vio.vq[Q_RX];
    unsigned hs = header_size(&n->vp.vio), k = take_buffers(n, q, hs + len);
    struct net_header h = { .num_buffers = k };
    if (!k) {
        log_guest("%s: a frame of %zu bytes does not fit the receive buffers", n->vp.vio.name, len);
        return;
    }
    if (n->elem[0].in_len < hs) {
        virtio_broken(&n->vp.vio, "receive buffer smaller than a header");
        return;
    }
    size_t done = 0;
    for (unsigned i = 0; i < k; i++) {
        size_t at = 0;
        if (i == 0)
            at = virtq_in_copy(&n->elem[0], 0, &h, hs);
        size_t put = virtq_in_copy(&n->elem[i], at, frame + done, len - done);
        done += put;
        virtq_fill(q, &n->elem[i], at + put, i);
    }
    virtq_publish(q, k);
    virtq_notify(q);
}

static void rx_kick(struct virtio *v, struct virtq *q)
{
    virtq_enable_kicks(q, false);
    netdev_flush(net_of(v)->net);
}

/* --- transmit --- */
static void transmit(struct virtio_net *n, struct virtq_elem *e)
{
    struct net_header h = { 0 };
    unsigned hs = header_size(&n->vp.vio);
    if (virtq_out_copy(e, 0, &h, hs) < hs || e->out_len - hs > sizeof(n->frame) || h.gso_type || (h.flags & 1)) {
        log_guest("%s: transmit request of %u bytes with flags %#x, gso %#x dropped", n->vp.vio.name, e->out_len, h.flags, h.gso_type);
        return;
    }
    size_t len = virtq_out_copy(e, hs, n->frame, sizeof(n->frame));
    if (len >= 14)
        netdev_send(n->net, n->frame, len);
}

static void tx_kick(struct virtio *v, struct virtq *q)
{
    struct virtio_net *n = net_of(v);
    int budget = VIRTQ_BUDGET;
    do {
        virtq_enable_kicks(q, false);
        while (budget > 0 && virtq_pop(q, &n->elem[0]) > 0) {
            transmit(n, &n->elem[0]);
            virtq_push(q, &n->elem[0], 0);
            budget--;
        }
    } while (virtq_enable_kicks(q, true) && budget > 0);
    virtq_notify(q);
    if (budget <= 0)
        virtq_kick_later(q);
}

static void net_reset(struct virtio *v)
{
    struct virtio_net *n = net_of(v);
    memcpy(n->mac, n->mac_reset, sizeof(n->mac));
}

static const struct virtio_ops net_ops = {
    .get_features = net_features, .config_read = net_config_read, .config_write = net_config_write, .reset = net_reset,
};

struct virtio_net *virtio_net_new(struct vm *vm, struct pci_bus *bus, const char *name, const struct virtio_net_opts *o)
{
    struct virtio_net *n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    n->net = o->net;
    memcpy(n->mac_reset, o->mac, sizeof(n->mac_reset));
    if (virtio_pci_init(bus, &n->vp, &o->pci, VIRTIO_ID_NET, 0x020000, name, &net_ops, sizeof(struct net_config)) < 0) {
        free(n);
        return NULL;
    }
    virtio_add_queue(&n->vp.vio, QUEUE_SIZE, rx_kick);
    virtio_add_queue(&n->vp.vio, QUEUE_SIZE, tx_kick);
    if (virtio_pci_finish(vm, &n->vp, net_rows, sizeof(*n)) < 0)
        return NULL;
    if (n->net)
        netdev_set_receiver(n->net, net_can_receive, net_receive, n);
    return n;
}
