/*
 * An event loop for tests: epoll over what was watched, a queue of posted callbacks, pollers. fake_loop_run turns it until a condition
 * holds or about five seconds have passed. Defines the functions of core/loop.h; include in one C file of a test only.
 */
#ifndef TESTS_UNIT_FAKE_LOOP_H
#define TESTS_UNIT_FAKE_LOOP_H
#include "core/aspace.h"
#include "core/clock.h"
#include "core/loop.h"
#include <errno.h>
#include <poll.h>
#include <unistd.h>

struct loop { int unused; };
static struct loop fake_loop __attribute__((unused));
static struct { int fd; unsigned events; void (*cb)(void *, int, unsigned); void *opaque; } fake_watch[64];
static struct { void (*cb)(void *); void *opaque; } fake_posts[4096];
static unsigned fake_n_posts;
static pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*fake_prepare)(void *, int *), (*fake_after)(void *);
static void *fake_poller;
static struct clock *fake_clock;

int loop_watch(struct loop *l, int fd, unsigned events, void (*cb)(void *, int, unsigned), void *opaque)
{
    int slot = -1;
    for (int i = 0; i < 64; i++) {
        if (fake_watch[i].cb && fake_watch[i].fd == fd)
            slot = i;
    }
    for (int i = 0; i < 64 && slot < 0; i++) {
        if (!fake_watch[i].cb)
            slot = i;
    }
    fake_watch[slot].fd = fd;
    fake_watch[slot].events = events;
    fake_watch[slot].cb = events ? cb : NULL;
    fake_watch[slot].opaque = opaque;
    return 0;
}

void loop_post(struct loop *l, void (*cb)(void *), void *opaque)
{
    pthread_mutex_lock(&fake_lock);
    if (fake_n_posts < 4096) {
        fake_posts[fake_n_posts].cb = cb;
        fake_posts[fake_n_posts++].opaque = opaque;
    }
    pthread_mutex_unlock(&fake_lock);
}

void loop_add_poller(struct loop *l, void (*prepare)(void *, int *), void (*after)(void *), void *opaque)
{
    fake_prepare = prepare;
    fake_after = after;
    fake_poller = opaque;
}

static inline void fake_run_posts(void)
{
    for (;;) {
        pthread_mutex_lock(&fake_lock);
        if (!fake_n_posts) {
            pthread_mutex_unlock(&fake_lock);
            return;
        }
        void (*cb)(void *) = fake_posts[0].cb, *opaque = fake_posts[0].opaque;
        memmove(fake_posts, fake_posts + 1, --fake_n_posts * sizeof(fake_posts[0]));
        pthread_mutex_unlock(&fake_lock);
        cb(opaque);
    }
}

static inline void fake_turn(void)
{
    struct pollfd p[64];
    int idx[64], n = 0, timeout = 1;
    if (fake_prepare)
        fake_prepare(fake_poller, &timeout);
    for (int i = 0; i < 64; i++) {
        if (fake_watch[i].cb) {
            p[n] = (struct pollfd){ .fd = fake_watch[i].fd };
            p[n].events = (fake_watch[i].events & LOOP_READ ? POLLIN : 0) | (fake_watch[i].events & LOOP_WRITE ? POLLOUT : 0);
            idx[n++] = i;
        }
    }
    bool locked = machine_lock_held();
    if (locked)
        machine_unlock();                        /* for workers that complete what they have done */
    poll(p, n, 1);
    if (locked)
        machine_lock();
    if (fake_after)
        fake_after(fake_poller);
    for (int k = 0; k < n; k++) {
        unsigned e = (p[k].revents & POLLIN ? LOOP_READ : 0) | (p[k].revents & POLLOUT ? LOOP_WRITE : 0) |
                     (p[k].revents & (POLLERR | POLLHUP) ? LOOP_ERR : 0);
        if (e && fake_watch[idx[k]].cb)
            fake_watch[idx[k]].cb(fake_watch[idx[k]].opaque, p[k].fd, e);
    }
    if (fake_clock)
        clock_run_timers(fake_clock);
    fake_run_posts();
}

#define fake_loop_run(cond) do { machine_lock(); for (int turn_ = 0; turn_ < 5000 && !(cond); turn_++) fake_turn(); machine_unlock(); } while (0)
#endif
