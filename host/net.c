/*
 * Network back ends: the queue towards the guest, the null and tap back ends, and the parser of -netdev's first word. User networking is
 * in net_user.c. See net.h for the contract.
 *
 * Frames from the world are copied into a bounded queue and handed over from a posted callback or netdev_flush, never from inside netdev_send:
 * the card may be in the middle of its transmit queue then. Locks: machine lock.
 */
#define _GNU_SOURCE 1
#include "host/net.h"
#include "core/log.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define QUEUE_FRAMES 1024u

struct net_frame { struct net_frame *next; size_t len; uint8_t data[]; };

void netdev_init(struct netdev *nd, struct loop *loop, const char *kind)
{
    nd->loop = loop;
    nd->kind = kind;
    nd->tail = &nd->head;
}

void netdev_set_receiver(struct netdev *nd, bool (*can_receive)(void *), void (*receive)(void *, const uint8_t *, size_t), void *opaque)
{
    nd->can_receive = can_receive;
    nd->receive = receive;
    nd->opaque = opaque;
}

void netdev_flush(struct netdev *nd)
{
    if (!nd || nd->in_flush)
        return;
    nd->in_flush = true;
    while (nd->head && nd->receive && nd->can_receive(nd->opaque)) {
        struct net_frame *f = nd->head;
        nd->head = f->next;
        nd->queued--;
        if (!nd->head)
            nd->tail = &nd->head;
        nd->receive(nd->opaque, f->data, f->len);
        free(f);
    }
    nd->in_flush = false;
}

static void flush_posted(void *opaque)
{
    struct netdev *nd = opaque;
    nd->posted = false;
    netdev_flush(nd);
}

void netdev_deliver(struct netdev *nd, const uint8_t *frame, size_t len)
{
    struct net_frame *f;
    if (!nd->receive || len > NET_MAX_FRAME)
        return;
    if (nd->queued >= QUEUE_FRAMES || !(f = malloc(sizeof(*f) + MAX(len, 60u)))) {
        nd->dropped++;
        return;
    }
    f->next = NULL;
    f->len = MAX(len, 60u);                       /* the wire pads to the least frame size */
    memcpy(f->data, frame, len);
    memset(f->data + len, 0, f->len - len);
    *nd->tail = f;
    nd->tail = &f->next;
    nd->queued++;
    if (!nd->posted && nd->loop) {
        nd->posted = true;
        loop_post(nd->loop, flush_posted, nd);
    }
}

void netdev_send(struct netdev *nd, const uint8_t *frame, size_t len)
{
    if (nd && nd->output && len >= 14 && len <= NET_MAX_FRAME)
        nd->output(nd, frame, len);
}

void netdev_close(struct netdev *nd)
{
    if (!nd)
        return;
    nd->receive = NULL;
    while (nd->head) {
        struct net_frame *f = nd->head;
        nd->head = f->next;
        free(f);
    }
    nd->tail = &nd->head;
    if (nd->shut)
        nd->shut(nd);                             /* the struct stays: a posted flush may still name it */
}

/* --- null --- */
struct netdev *netdev_null_new(struct loop *loop)
{
    struct netdev *nd = calloc(1, sizeof(*nd));
    if (nd)
        netdev_init(nd, loop, "null");
    return nd;
}

/* --- tap --- */
struct net_tap { struct netdev nd; int fd; };

static void tap_readable(void *opaque, int fd, unsigned events)
{
    struct net_tap *t = opaque;
    static uint8_t buf[NET_MAX_FRAME];            /* under the machine lock */
    for (int i = 0; i < 64; i++) {
        ssize_t n = read(fd, buf, sizeof(buf));
        if (n <= 0)
            return;
        netdev_deliver(&t->nd, buf, n);
    }
}

static void tap_output(struct netdev *nd, const uint8_t *frame, size_t len)
{
    struct net_tap *t = container_of(nd, struct net_tap, nd);
    if (write(t->fd, frame, len) < 0)
        nd->dropped++;                            /* a full tap drops, as a wire does */
}

static void tap_shut(struct netdev *nd)
{
    struct net_tap *t = container_of(nd, struct net_tap, nd);
    loop_watch(nd->loop, t->fd, 0, tap_readable, t);
    close(t->fd);
}

struct netdev *netdev_tap_new(struct loop *loop, const char *opts, char *err, size_t errlen)
{
    struct net_tap *t = calloc(1, sizeof(*t));
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    const char *name = opts ? strstr(opts, "ifname=") : NULL;
    if (!t) {
        snprintf(err, errlen, "out of memory");
        return NULL;
    }
    if (name)
        snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%.*s", (int)strcspn(name + 7, ","), name + 7);
    netdev_init(&t->nd, loop, "tap");
    t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (t->fd < 0 || ioctl(t->fd, TUNSETIFF, &ifr) < 0) {
        snprintf(err, errlen, "cannot open tap interface '%s': %s", ifr.ifr_name, strerror(errno));
        if (t->fd >= 0)
            close(t->fd);
        free(t);
        return NULL;
    }
    t->nd.output = tap_output;
    t->nd.shut = tap_shut;
    loop_watch(loop, t->fd, LOOP_READ, tap_readable, t);
    return &t->nd;
}

/* --- the words of -netdev --- */
struct netdev *netdev_open(struct loop *loop, struct clock *clock, const char *spec, char *err, size_t errlen)
{
    size_t n = strcspn(spec, ",");
    const char *opts = spec[n] ? spec + n + 1 : "";
    struct netdev *nd = NULL;
    if (n == 4 && !strncmp(spec, "user", n))
        nd = netdev_user_new(loop, clock, opts, err, errlen);
    else if (n == 3 && !strncmp(spec, "tap", n))
        nd = netdev_tap_new(loop, opts, err, errlen);
    else if ((n == 4 && !strncmp(spec, "none", n)) || (n == 4 && !strncmp(spec, "null", n)))
        nd = netdev_null_new(loop);
    else
        snprintf(err, errlen, "unknown network back end '%.*s' (valid: user, tap, none)", (int)n, spec);
    const char *id = strncmp(opts, "id=", 3) ? strstr(opts, ",id=") : opts - 1;
    if (nd && id)
        snprintf(nd->id, sizeof(nd->id), "%.*s", (int)strcspn(id + 4, ","), id + 4);
    return nd;
}
