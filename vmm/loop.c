/*
 * The event loop (core/loop.h): epoll for descriptors, a timerfd for the guest's clock, an eventfd for posted calls.
 *
 * One thread runs loop_run; every callback runs there with the machine lock held, and the lock is dropped while waiting. loop_watch and
 * loop_add_poller are called with the machine lock held (from any thread); loop_post and loop_quit need no lock. The post lock
 * is a leaf: nothing is called under it.
 */
#define _GNU_SOURCE
#include "vmm/loop.h"
#include "core/alloc.h"
#include "core/aspace.h"
#include "core/log.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define MAX_POLLERS 16
#define MAX_EVENTS 64
#define MAX_WAIT_MS 60000

struct watch { void (*cb)(void *opaque, int fd, unsigned events); void *opaque; unsigned events; };
struct post { struct post *next; void (*cb)(void *opaque); void *opaque; };
struct poller { void (*prepare)(void *opaque, int *timeout_ms); void (*after)(void *opaque); void *opaque; };

struct loop {
    int epoll_fd, timer_fd, event_fd;
    struct clock *clock;
    struct watch *watches; int n_watches;         /* by descriptor */
    struct poller pollers[MAX_POLLERS]; unsigned n_pollers;
    pthread_mutex_t post_lock;
    struct post *posts, **posts_tail;
    bool quit;
};

/* The clock's earliest deadline changed. Machine lock held. */
static void rearm(void *opaque, int64_t deadline)
{
    struct loop *l = opaque;
    struct itimerspec when = { 0 };

    if (deadline != CLOCK_NEVER) {
        int64_t now = clock_ns(l->clock), in = deadline > now ? deadline - now : 1;
        when.it_value.tv_sec = in / (int64_t)NS_PER_SEC;
        when.it_value.tv_nsec = in % (int64_t)NS_PER_SEC;
    }
    timerfd_settime(l->timer_fd, 0, &when, NULL);
}

/* The descriptor need not be read: it is set anew when the timers have run, and that ends its being readable. */
static void on_timer(void *opaque, int fd, unsigned events)
{
    struct loop *l = opaque;

    clock_run_timers(l->clock);
}

static void on_post(void *opaque, int fd, unsigned events)
{
    struct loop *l = opaque;
    uint64_t n;

    if (read(fd, &n, sizeof(n)) != sizeof(n))
        return;                                      /* nothing: somebody else's wake-up */
    pthread_mutex_lock(&l->post_lock);
    struct post *p = l->posts;
    l->posts = NULL;
    l->posts_tail = &l->posts;
    pthread_mutex_unlock(&l->post_lock);
    for (struct post *next; p; p = next) {
        next = p->next;
        p->cb(p->opaque);
        free(p);
    }
}

struct loop *loop_new(struct clock *clock)
{
    struct loop *l = xzalloc(sizeof(*l));

    l->clock = clock;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    l->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    l->posts_tail = &l->posts;
    pthread_mutex_init(&l->post_lock, NULL);
    if (l->epoll_fd < 0 || l->timer_fd < 0 || l->event_fd < 0 || loop_watch(l, l->timer_fd, LOOP_READ, on_timer, l) ||
        loop_watch(l, l->event_fd, LOOP_READ, on_post, l)) {
        log_error("cannot make the event loop: %s", strerror(errno));
        loop_free(l);
        return NULL;
    }
    clock_on_rearm(clock, rearm, l);
    return l;
}

void loop_free(struct loop *l)
{
    clock_on_rearm(l->clock, NULL, NULL);
    for (struct post *p = l->posts, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    if (l->timer_fd >= 0)
        close(l->timer_fd);
    if (l->event_fd >= 0)
        close(l->event_fd);
    pthread_mutex_destroy(&l->post_lock);
    free(l->watches);
    free(l);
}

int loop_watch(struct loop *l, int fd, unsigned events, void (*cb)(void *, int, unsigned), void *opaque)
{
    if (fd < 0)
        return -EBADF;
    if (fd >= l->n_watches) {
        int n = MAX(fd + 1, l->n_watches * 2);
        l->watches = xrealloc(l->watches, (size_t)n * sizeof(*l->watches));
        memset(&l->watches[l->n_watches], 0, (size_t)(n - l->n_watches) * sizeof(*l->watches));
        l->n_watches = n;
    }
    struct watch *w = &l->watches[fd];
    struct epoll_event ev = { .events = (events & LOOP_READ ? (unsigned)EPOLLIN : 0) | (events & LOOP_WRITE ? (unsigned)EPOLLOUT : 0), .data.fd = fd };
    int op = !events ? EPOLL_CTL_DEL : w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (!events && !w->events)
        return 0;
    int ret = epoll_ctl(l->epoll_fd, op, fd, &ev) < 0 ? -errno : 0;
    if (ret == -ENOENT && op == EPOLL_CTL_MOD)       /* the descriptor was closed unannounced and its number used again */
        ret = epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
    if (!events)
        ret = 0;                                     /* a closed descriptor has left the set by itself */
    *w = !ret && events ? (struct watch){ cb, opaque, events } : (struct watch){ 0 };
    return ret;
}

void loop_post(struct loop *l, void (*cb)(void *), void *opaque)
{
    struct post *p = xmalloc(sizeof(*p));
    uint64_t one = 1;

    *p = (struct post){ NULL, cb, opaque };
    pthread_mutex_lock(&l->post_lock);
    *l->posts_tail = p;
    l->posts_tail = &p->next;
    pthread_mutex_unlock(&l->post_lock);
    if (write(l->event_fd, &one, sizeof(one)) < 0)
        return;                                      /* the counter is full: the loop is awake anyway */
}

void loop_add_poller(struct loop *l, void (*prepare)(void *, int *), void (*after)(void *), void *opaque)
{
    if (l->n_pollers < MAX_POLLERS)
        l->pollers[l->n_pollers++] = (struct poller){ prepare, after, opaque };
}

static void wake(void *opaque) { }

void loop_quit(struct loop *l)
{
    __atomic_store_n(&l->quit, true, __ATOMIC_SEQ_CST);
    loop_post(l, wake, NULL);
}

/* Hang-ups and errors are told as whatever was asked for too, so that the next read or write finds out. */
static void dispatch(struct loop *l, const struct epoll_event *ev)
{
    int fd = ev->data.fd;
    struct watch w = l->watches[fd];
    unsigned got = (ev->events & EPOLLIN ? LOOP_READ : 0) | (ev->events & EPOLLOUT ? LOOP_WRITE : 0);

    if (ev->events & (EPOLLERR | EPOLLHUP))
        got |= LOOP_ERR | w.events;
    got &= w.events | LOOP_ERR;
    if (w.cb && got)
        w.cb(w.opaque, fd, got);
}

void loop_run(struct loop *l)
{
    struct epoll_event ev[MAX_EVENTS];

    machine_lock();
    while (!__atomic_load_n(&l->quit, __ATOMIC_SEQ_CST)) {
        int timeout = MAX_WAIT_MS;
        for (unsigned i = 0; i < l->n_pollers; i++) {
            if (l->pollers[i].prepare)
                l->pollers[i].prepare(l->pollers[i].opaque, &timeout);
        }
        machine_unlock();
        int n = epoll_wait(l->epoll_fd, ev, MAX_EVENTS, MAX(timeout, 0));
        machine_lock();
        for (int i = 0; i < n; i++)
            dispatch(l, &ev[i]);
        for (unsigned i = 0; i < l->n_pollers; i++) {
            if (l->pollers[i].after)
                l->pollers[i].after(l->pollers[i].opaque);
        }
    }
    machine_unlock();
}
