/*
 * Virtio console with one port: receive queue 0, transmit queue 1, and the emergency-write register for output before the queues exist.
 *
 * In: bytes of a character stream, offered while the guest has posted buffers. Out: transmit chains, written to the stream; when it takes only
 * a part, the chain is given back to the queue and tx_done remembers how much of it went out, so nothing is held outside saved state.
 * Locks: machine lock. Manual: virtio 1.2, section 5.3.
 */
#include "hw/char/virtio_console.h"
#include <stdlib.h>

enum { F_EMERG_WRITE = 2 };
enum { Q_RX = 0, Q_TX = 1, CONFIG_EMERG = 8, CONFIG_SIZE = 12 };
#define QUEUE_SIZE 128u

struct virtio_console {
    struct virtio_pci vp;
    struct chr *chr;
    uint64_t tx_done;                    /* saved: bytes of the next transmit chain that are out already */
    struct virtq_elem elem;              /* scratch */
};

static const struct state_row console_rows[] = {
    VIRTIO_PCI_ROWS(struct virtio_console, vp), S_SKIP(struct virtio_console, chr), S_SAVE(struct virtio_console, tx_done),
    S_SKIP(struct virtio_console, elem), S_END,
};

static struct virtio_console *console_of(struct virtio *v) { return container_of(v, struct virtio_console, vp.vio); }

/* Without a chardev everything is swallowed. */
static size_t to_host(struct virtio_console *c, const uint8_t *buf, size_t n) { return c->chr ? (size_t)chr_write(c->chr, buf, n) : n; }

static uint64_t console_features(struct virtio *v) { return BIT(F_EMERG_WRITE); }

static uint64_t console_config_read(struct virtio *v, unsigned off, unsigned size)
{
    static const uint8_t config[CONFIG_SIZE] = { [4] = 1 };     /* one port */
    return virtio_bytes_read(config, sizeof(config), off, size);
}

static void console_config_write(struct virtio *v, unsigned off, uint64_t val, unsigned size)
{
    uint8_t b = val;
    if (off == CONFIG_EMERG)
        to_host(console_of(v), &b, 1);
}

/* --- receive --- */
/* Room in the next buffer; empty buffers are returned on the way. */
static size_t console_can_receive(void *opaque)
{
    struct virtio_console *c = opaque;
    struct virtq *q = &c->vp.vio.vq[Q_RX];
    int budget = QUEUE_SIZE;
    do {
        while (budget-- > 0 && virtq_pop(q, &c->elem) > 0) {
            if (c->elem.in_len) {
                virtq_unpop(q, &c->elem);
                return c->elem.in_len;
            }
            virtq_push(q, &c->elem, 0);
        }
    } while (virtq_enable_kicks(q, true) && budget > 0);
    return 0;
}

static void console_receive(void *opaque, const uint8_t *buf, size_t len)
{
    struct virtio_console *c = opaque;
    struct virtq *q = &c->vp.vio.vq[Q_RX];
    if (virtq_pop(q, &c->elem) <= 0)
        return;
    virtq_push(q, &c->elem, virtq_in_copy(&c->elem, 0, buf, len));
    virtq_notify(q);
}

static void rx_kick(struct virtio *v, struct virtq *q)
{
    if (console_of(v)->chr)
        chr_accept_input(console_of(v)->chr);
}

/* --- transmit --- */
/* True when the whole chain is out. */
static bool transmit(struct virtio_console *c)
{
    uint8_t buf[1024];
    for (;;) {
        size_t n = virtq_out_copy(&c->elem, c->tx_done, buf, sizeof(buf));
        if (!n)
            break;
        size_t took = to_host(c, buf, n);
        c->tx_done += took;
        if (took < n)
            return false;
    }
    c->tx_done = 0;
    return true;
}

static void tx_kick(struct virtio *v, struct virtq *q)
{
    struct virtio_console *c = console_of(v);
    int budget = VIRTQ_BUDGET;
    do {
        virtq_enable_kicks(q, false);
        while (budget-- > 0 && virtq_pop(q, &c->elem) > 0) {
            if (!transmit(c)) {
                virtq_unpop(q, &c->elem);
                virtq_notify(q);
                return;                  /* console_writable comes back */
            }
            virtq_push(q, &c->elem, 0);
        }
    } while (virtq_enable_kicks(q, true) && budget > 0);
    virtq_notify(q);
    if (budget <= 0)
        virtq_kick_later(q);
}

static void console_writable(void *opaque)
{
    struct virtio_console *c = opaque;
    virtio_kick(&c->vp.vio, Q_TX);
}

static void console_reset(struct virtio *v)
{
    console_of(v)->tx_done = 0;
}

static const struct virtio_ops console_ops = {
    .get_features = console_features, .config_read = console_config_read, .config_write = console_config_write, .reset = console_reset,
};

struct virtio_console *virtio_console_new(struct vm *vm, struct pci_bus *bus, const char *name, const struct virtio_pci_opts *o, struct chr *chr)
{
    struct virtio_console *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->chr = chr;
    if (virtio_pci_init(bus, &c->vp, o, VIRTIO_ID_CONSOLE, 0x078000, name, &console_ops, CONFIG_SIZE) < 0) {
        free(c);
        return NULL;
    }
    virtio_add_queue(&c->vp.vio, QUEUE_SIZE, rx_kick);
    virtio_add_queue(&c->vp.vio, QUEUE_SIZE, tx_kick);
    if (virtio_pci_finish(vm, &c->vp, console_rows, sizeof(*c)) < 0)
        return NULL;
    if (chr) {
        chr_set_receiver(chr, console_can_receive, console_receive, NULL, c);
        chr_set_writable(chr, console_writable, c);
    }
    return c;
}
