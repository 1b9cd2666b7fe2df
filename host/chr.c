/*
 * Character streams: buffering, delivery to the device, Ctrl-A escapes, and several front ends on one stream. See chr.h for the contract.
 *
 * Flow: chr_on_io (loop thread) reads into the in ring through the escape filter; chr_deliver hands the ring to the receiver as far as it
 * has room. Interest in reading is dropped while the ring is full and taken up again by chr_accept_input. Files and /dev/null cannot be
 * watched by epoll (EPERM): they are always ready, and are read by a posted callback instead.
 *
 * Hazard: stdin and stdout are shared with other processes, so they are never set to non-blocking; a poll with zero timeout goes before
 * each write, and a write is at most `chunk` bytes, which a ready pipe or terminal takes without blocking.
 */
#include "host/chr_int.h"
#include "core/log.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct chr *all_chrs;

/* --- rings --- */
static size_t ring_put(struct ring *r, const uint8_t *buf, size_t len)
{
    size_t n = MIN(len, (size_t)(r->size - r->count));
    for (size_t done = 0; done < n;) {
        unsigned tail = (r->head + r->count) & (r->size - 1);
        size_t run = MIN(n - done, (size_t)(r->size - tail));
        memcpy(r->buf + tail, buf + done, run);
        r->count += run;
        done += run;
    }
    return n;
}

/* The first contiguous run of the ring's bytes. */
static uint8_t *ring_peek(struct ring *r, size_t *len)
{
    *len = MIN(r->count, r->size - r->head);
    return r->buf + r->head;
}

static void ring_drop(struct ring *r, size_t len)
{
    r->head = (r->head + len) & (r->size - 1);
    r->count -= len;
}

struct chr *chr_alloc(struct loop *loop)
{
    struct chr *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->loop = loop;
    c->in_fd = c->out_fd = c->listen_fd = c->slave_fd = -1;
    c->in.size = CHR_IN;
    c->out.size = CHR_OUT;
    c->in.buf = malloc(CHR_IN);
    c->out.buf = malloc(CHR_OUT);
    if (!c->in.buf || !c->out.buf) {
        free(c->in.buf);
        free(c->out.buf);
        free(c);
        return NULL;
    }
    c->next = all_chrs;
    all_chrs = c;
    return c;
}

/* --- input --- */
void chr_send_event(struct chr *c, int event)
{
    if (c->n_fronts) {
        struct chr *f = c->fronts[c->focus];
        if (f->event)
            f->event(f->opaque, event);
    } else if (c->event) {
        c->event(c->opaque, event);
    }
}

static void chr_deliver(struct chr *c)
{
    struct chr *to = c->n_fronts ? c->fronts[c->focus] : c;

    while (c->in.count && to->receive && !c->closed) {
        size_t len, room = to->can_receive ? to->can_receive(to->opaque) : CHR_IN;
        uint8_t *p = ring_peek(&c->in, &len), tmp[256];
        len = MIN(MIN(len, room), sizeof(tmp));
        if (!len)
            return;
        memcpy(tmp, p, len);                      /* the receiver may re-enter chr_accept_input: the ring must be consistent */
        ring_drop(&c->in, len);
        to->receive(to->opaque, tmp, len);
        to = c->n_fronts ? c->fronts[c->focus] : c;
    }
}

static void chr_help(struct chr *c)
{
    static const char text[] = "\r\nCtrl-A H  this help\r\nCtrl-A X  exit the emulator\r\nCtrl-A C  switch between console and monitor\r\n"
                               "Ctrl-A B  send break\r\nCtrl-A Ctrl-A  send Ctrl-A\r\n";
    chr_write(c, (const uint8_t *)text, sizeof(text) - 1);
}

static void chr_rotate(struct chr *c)
{
    if (c->n_fronts > 1)
        c->focus = (c->focus + 1) % c->n_fronts;
}

/* The byte after Ctrl-A: true when it is to be sent to the guest. */
static bool chr_escape(struct chr *c, uint8_t b)
{
    switch (b) {
    case 'x': case 'X':
        if (c->quit)
            c->quit(c->quit_opaque);
        return false;
    case 'h': case 'H': case '?':
        chr_help(c);
        return false;
    case 'c': case 'C':
        chr_deliver(c);                           /* what was typed before belongs to the old front end */
        chr_rotate(c);
        return false;
    case 'b': case 'B':
        chr_deliver(c);
        chr_send_event(c, CHR_BREAK);
        return false;
    case 1:
        return true;
    default:
        return false;
    }
}

static void chr_take_input(struct chr *c, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len && !c->closed; i++) {
        uint8_t b = buf[i];
        if (c->has_escape && c->escape) {
            c->escape = false;
            if (!chr_escape(c, b))
                continue;
        } else if (c->has_escape && b == 1) {
            c->escape = true;
            continue;
        }
        ring_put(&c->in, &b, 1);
    }
}

static void chr_on_io(void *opaque, int fd, unsigned events);

static void chr_watch(struct chr *c, int fd, unsigned *watched, unsigned events)
{
    if (*watched == events)
        return;
    if (loop_watch(c->loop, fd, events, chr_on_io, c) == -EPERM && (events & LOOP_READ)) {
        c->in_always_ready = true;
        return;
    }
    *watched = events;
}

static void chr_read_posted(void *opaque);

void chr_update_watch(struct chr *c)
{
    if (c->closed)
        return;
    bool want_in = c->in_fd >= 0 && (c->in.count < c->in.size || c->lossy_in);
    bool want_out = c->out_fd >= 0 && c->out.count;
    if (c->in_fd >= 0 && c->in_fd == c->out_fd) {
        chr_watch(c, c->in_fd, &c->watched_in, (want_in ? LOOP_READ : 0) | (want_out ? LOOP_WRITE : 0));
        return;
    }
    if (c->in_fd >= 0 && !c->in_always_ready)
        chr_watch(c, c->in_fd, &c->watched_in, want_in ? LOOP_READ : 0);
    if (c->out_fd >= 0)
        chr_watch(c, c->out_fd, &c->watched_out, want_out ? LOOP_WRITE : 0);
    if (c->in_always_ready && want_in && !c->in_posted) {
        c->in_posted = true;
        loop_post(c->loop, chr_read_posted, c);
    }
}

/* The input has ended, or the peer has gone. Sockets wait for the next peer. */
static void chr_hang_up(struct chr *c)
{
    if (c->watched_in)
        loop_watch(c->loop, c->in_fd, 0, chr_on_io, c);
    c->watched_in = 0;
    if (!c->is_socket) {
        if (c->in_fd == c->out_fd)
            c->out_fd = -1;
        c->in_fd = -1;                            /* stdin at its end: not closed, it is not ours */
        return;
    }
    close(c->in_fd);
    c->in_fd = c->out_fd = -1;
    c->out.count = 0;
    c->connected = false;
    chr_send_event(c, CHR_CLOSED);
    if (c->listen_fd >= 0)
        loop_watch(c->loop, c->listen_fd, LOOP_READ, chr_on_accept, c);
    if (c->refused && c->writable) {
        c->refused = false;
        c->writable(c->writable_opaque);
    }
}

static void chr_read_some(struct chr *c)
{
    uint8_t buf[CHR_IN];
    size_t want = c->lossy_in ? sizeof(buf) : c->in.size - c->in.count;
    if (!want || c->in_fd < 0)
        return;
    ssize_t n = read(c->in_fd, buf, want);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        chr_hang_up(c);
    else
        chr_take_input(c, buf, n);
}

static void chr_read_posted(void *opaque)
{
    struct chr *c = opaque;
    c->in_posted = false;
    if (c->closed) {
        free(c);
        return;
    }
    chr_read_some(c);
    chr_deliver(c);
    chr_update_watch(c);
}

/* --- output --- */
/* Bytes written, 0 when the fd would block, -1 when the peer has gone. */
static ssize_t chr_write_fd(struct chr *c, const uint8_t *buf, size_t len)
{
    size_t done = 0;
    while (done < len && c->out_fd >= 0) {
        size_t n = c->chunk ? MIN(len - done, c->chunk) : len - done;
        if (c->poll_before_write) {
            struct pollfd p = { .fd = c->out_fd, .events = POLLOUT };
            if (poll(&p, 1, 0) <= 0 || !(p.revents & (POLLOUT | POLLERR)))
                break;
        }
        ssize_t r = c->is_socket ? send(c->out_fd, buf + done, n, MSG_NOSIGNAL | MSG_DONTWAIT) : write(c->out_fd, buf + done, n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0 && errno == EAGAIN)
            break;
        if (r < 0)
            return -1;
        done += r;
    }
    return done;
}

/* A failed write means the reader has gone: forget what waits. Sockets hang up when the read side says so. */
static void chr_flush_out(struct chr *c)
{
    while (c->out.count) {
        size_t len;
        uint8_t *p = ring_peek(&c->out, &len);
        ssize_t n = chr_write_fd(c, p, len);
        if (n < 0)
            c->out.count = 0;
        if (n <= 0)
            break;
        ring_drop(&c->out, n);
    }
    if (c->refused && c->out.count < c->out.size / 2) {
        c->refused = false;
        if (c->writable)
            c->writable(c->writable_opaque);
    }
}

static void chr_on_io(void *opaque, int fd, unsigned events)
{
    struct chr *c = opaque;
    if (fd == c->out_fd && (events & (LOOP_WRITE | LOOP_ERR)))
        chr_flush_out(c);
    if (c->closed)
        return;
    if (fd == c->in_fd && (events & (LOOP_READ | LOOP_ERR)))
        chr_read_some(c);
    else if (fd == c->out_fd && (events & LOOP_ERR) && !(events & LOOP_WRITE))
        c->out.count = 0;
    if (c->closed)
        return;
    chr_deliver(c);
    chr_update_watch(c);
}

int chr_write(struct chr *c, const uint8_t *buf, size_t len)
{
    if (c->base)
        c = c->base;
    if (c->out_fd < 0)
        return len;
    size_t done = 0;
    if (!c->out.count) {
        ssize_t n = chr_write_fd(c, buf, len);
        if (n < 0)
            return len;                           /* reader gone: like a cable with nothing at its end */
        done = n;
    }
    if (done < len)
        done += ring_put(&c->out, buf + done, len - done);
    chr_update_watch(c);
    if (done < len && c->lossy_out)
        return len;
    if (done < len)
        c->refused = true;
    return done;
}

size_t chr_write_room(struct chr *c)
{
    if (c->base)
        c = c->base;
    return c->out_fd < 0 || c->lossy_out ? CHR_OUT : c->out.size - c->out.count;
}

/* --- the device's side --- */
void chr_set_receiver(struct chr *c, size_t (*can_receive)(void *), void (*receive)(void *, const uint8_t *, size_t), void (*event)(void *, int),
                      void *opaque)
{
    c->can_receive = can_receive;
    c->receive = receive;
    c->event = event;
    c->opaque = opaque;
    if (receive)
        chr_accept_input(c);
}

void chr_set_writable(struct chr *c, void (*writable)(void *), void *opaque)
{
    if (c->base)
        c = c->base;                              /* one retrying front end on a mux: the last one asking */
    c->writable = writable;
    c->writable_opaque = opaque;
}

void chr_accept_input(struct chr *c)
{
    if (c->base)
        c = c->base;
    chr_deliver(c);
    chr_update_watch(c);
}

bool chr_connected(struct chr *c)
{
    return c->base ? c->base->connected : c->connected;
}

void chr_set_peer(struct chr *c, int fd)
{
    c->in_fd = c->out_fd = fd;
    c->connected = true;
    c->in.count = c->out.count = 0;
    c->watched_in = c->watched_out = 0;
    chr_update_watch(c);
    chr_send_event(c, CHR_OPENED);
}

static void mux_event(void *opaque, int event)
{
}

struct chr *chr_mux_add(struct chr *base)
{
    if (base->n_fronts == CHR_FRONTS)
        return NULL;
    struct chr *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    f->loop = base->loop;
    f->base = base;
    f->event = mux_event;
    f->in_fd = f->out_fd = f->listen_fd = f->slave_fd = -1;
    base->fronts[base->n_fronts++] = f;
    return f;
}

/* --- the end --- */
static int64_t chr_now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

/* A reader that takes something now and then gets all of it, what the device still holds included: flushing makes room, and it is told. */
static void chr_restore(struct chr *c)
{
    int64_t start = chr_now_ms(), moved = start;
    while (c->out.count && c->out_fd >= 0 && chr_now_ms() - moved < 1000 && chr_now_ms() - start < 5000) {
        struct pollfd p = { .fd = c->out_fd, .events = POLLOUT };
        unsigned before = c->out.count;
        poll(&p, 1, 50);
        chr_flush_out(c);
        if (c->out.count != before)
            moved = chr_now_ms();
    }
    c->writable = NULL;
    if (c->tty_changed)
        tcsetattr(c->in_fd >= 0 ? c->in_fd : 0, TCSANOW, &c->saved_tty);
    c->tty_changed = false;
    if (c->unlink_path)
        unlink(c->unlink_path);
    free(c->unlink_path);
    c->unlink_path = NULL;
}

void chr_exit_all(void)
{
    for (struct chr *c = all_chrs; c; c = c->next)
        chr_restore(c);
}

static void chr_unwatch_close(struct chr *c, int fd)
{
    if (fd < 0)
        return;
    loop_watch(c->loop, fd, 0, chr_on_io, c);
    if (fd > 2)
        close(fd);
}

void chr_close(struct chr *c)
{
    if (!c)
        return;
    if (c->base) {                                /* a front end lives as long as its base: only detach */
        chr_set_receiver(c, NULL, NULL, NULL, NULL);
        return;
    }
    c->writable = NULL;
    chr_restore(c);
    for (struct chr **p = &all_chrs; *p; p = &(*p)->next) {
        if (*p == c) {
            *p = c->next;
            break;
        }
    }
    chr_unwatch_close(c, c->in_fd);
    if (c->out_fd != c->in_fd)
        chr_unwatch_close(c, c->out_fd);
    chr_unwatch_close(c, c->listen_fd);
    if (c->slave_fd >= 0)
        close(c->slave_fd);
    for (unsigned i = 0; i < c->n_fronts; i++)
        free(c->fronts[i]);
    free(c->in.buf);
    free(c->out.buf);
    c->in_fd = c->out_fd = -1;
    c->in.count = c->out.count = 0;
    c->closed = true;
    if (!c->in_posted)
        free(c);                                  /* otherwise the posted callback frees */
}
