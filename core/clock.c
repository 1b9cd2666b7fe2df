/*
 * Guest time and timers (core/clock.h): a binary heap of armed timers on a clock that is real or moved by hand.
 *
 * Whoever sets timers or lets them fire holds the machine lock; the heap has the clock lock besides, which is never held while a timer fires or
 * the re-arm hook runs (both may take other locks or set timers). Timers fire in order of their deadlines; equal deadlines in no particular
 * order. A timer that re-arms itself in the past fires again at once, but a single clock_run_timers is bounded, so a guest that programs
 * absurd periods cannot hold the event loop.
 */
#include "core/clock.h"
#include "core/alloc.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define RUN_LIMIT 10000          /* timers fired by one clock_run_timers */

struct clock {
    pthread_mutex_t lock;
    bool manual, stopped;
    int64_t base;                /* real: host ns at guest ns 0; while stopped, and for manual clocks: see frozen */
    int64_t frozen;              /* guest ns while stopped; manual: the time */
    struct timer **heap;
    int n, cap;
    int64_t armed_for;           /* what the re-arm hook was last told */
    bool firing;                 /* in clock_run_timers, which tells the hook once, at its end */
    void (*rearm)(void *opaque, int64_t deadline);
    void *rearm_opaque;
};

static int64_t host_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * (int64_t)NS_PER_SEC + ts.tv_nsec;
}

static struct clock *new_clock(bool manual)
{
    struct clock *c = xzalloc(sizeof(*c));

    pthread_mutex_init(&c->lock, NULL);
    c->manual = manual;
    c->armed_for = CLOCK_NEVER;
    if (!manual)
        c->base = host_ns();
    return c;
}

struct clock *clock_new_real(void) { return new_clock(false); }
struct clock *clock_new_manual(void) { return new_clock(true); }

void clock_free(struct clock *c)
{
    pthread_mutex_destroy(&c->lock);
    free(c->heap);
    free(c);
}

int64_t clock_ns(struct clock *c)
{
    if (__atomic_load_n(&c->manual, __ATOMIC_RELAXED) || __atomic_load_n(&c->stopped, __ATOMIC_ACQUIRE))
        return __atomic_load_n(&c->frozen, __ATOMIC_ACQUIRE);
    return host_ns() - __atomic_load_n(&c->base, __ATOMIC_ACQUIRE);
}

/* ---- the heap; clock lock held ---- */

static void place(struct clock *c, int pos, struct timer *t)
{
    c->heap[pos] = t;
    t->heap_pos = pos;
}

static void sift_up(struct clock *c, int pos)
{
    struct timer *t = c->heap[pos];

    while (pos > 0 && c->heap[(pos - 1) / 2]->deadline > t->deadline) {
        place(c, pos, c->heap[(pos - 1) / 2]);
        pos = (pos - 1) / 2;
    }
    place(c, pos, t);
}

static void sift_down(struct clock *c, int pos)
{
    struct timer *t = c->heap[pos];

    for (int kid = 2 * pos + 1; kid < c->n; kid = 2 * pos + 1) {
        if (kid + 1 < c->n && c->heap[kid + 1]->deadline < c->heap[kid]->deadline)
            kid++;
        if (c->heap[kid]->deadline >= t->deadline)
            break;
        place(c, pos, c->heap[kid]);
        pos = kid;
    }
    place(c, pos, t);
}

static void heap_remove(struct clock *c, struct timer *t)
{
    int pos = t->heap_pos;
    struct timer *last = c->heap[--c->n];

    t->heap_pos = -1;
    if (last == t)
        return;
    place(c, pos, last);
    sift_up(c, pos);
    sift_down(c, last->heap_pos);
}

static void heap_add(struct clock *c, struct timer *t)
{
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->heap = xrealloc(c->heap, (size_t)c->cap * sizeof(*c->heap));
    }
    c->heap[c->n] = t;
    t->heap_pos = c->n++;
    sift_up(c, t->heap_pos);
}

/* Clock lock held on entry, released: tells the loop when what it should wait for has changed. */
static void unlock_and_rearm(struct clock *c, bool force)
{
    int64_t d = c->n && !c->stopped ? c->heap[0]->deadline : CLOCK_NEVER;
    bool tell = c->rearm && (force || (d != c->armed_for && !c->firing));

    c->armed_for = d;
    pthread_mutex_unlock(&c->lock);
    if (tell)
        c->rearm(c->rearm_opaque, d);
}

/* ---- timers ---- */

void timer_init(struct timer *t, struct clock *c, void (*fire)(void *), void *opaque)
{
    *t = (struct timer){ .deadline = CLOCK_NEVER, .heap_pos = -1, .clock = c, .fire = fire, .opaque = opaque };
}

void timer_set(struct timer *t, int64_t deadline_ns)
{
    struct clock *c = t->clock;

    pthread_mutex_lock(&c->lock);
    if (t->heap_pos >= 0)
        heap_remove(c, t);
    t->deadline = deadline_ns;
    if (deadline_ns != CLOCK_NEVER)
        heap_add(c, t);
    unlock_and_rearm(c, false);
}

void timer_del(struct timer *t) { timer_set(t, CLOCK_NEVER); }

int64_t clock_next_deadline(struct clock *c)
{
    pthread_mutex_lock(&c->lock);
    int64_t d = c->n ? c->heap[0]->deadline : CLOCK_NEVER;
    pthread_mutex_unlock(&c->lock);
    return d;
}

/* Takes the earliest timer due at NOW off the heap, or NULL. */
static struct timer *take_due(struct clock *c, int64_t now)
{
    struct timer *t = NULL;

    pthread_mutex_lock(&c->lock);
    if (c->n && c->heap[0]->deadline <= now) {
        t = c->heap[0];
        heap_remove(c, t);
    }
    pthread_mutex_unlock(&c->lock);
    return t;
}

void clock_run_timers(struct clock *c)
{
    int64_t now = clock_ns(c);
    struct timer *t;

    c->firing = true;
    for (int i = 0; i < RUN_LIMIT && (t = take_due(c, now)); i++)
        t->fire(t->opaque);
    pthread_mutex_lock(&c->lock);
    c->firing = false;
    unlock_and_rearm(c, true);        /* the loop's timer has run down: it must be set again even for the same deadline */
}

void clock_on_rearm(struct clock *c, void (*rearm)(void *, int64_t), void *opaque)
{
    pthread_mutex_lock(&c->lock);
    c->rearm = rearm;
    c->rearm_opaque = opaque;
    unlock_and_rearm(c, true);
}

/* ---- moving the clock ---- */

void clock_stop(struct clock *c)
{
    pthread_mutex_lock(&c->lock);
    if (!c->stopped && !c->manual) {
        __atomic_store_n(&c->frozen, host_ns() - c->base, __ATOMIC_RELEASE);
        __atomic_store_n(&c->stopped, true, __ATOMIC_RELEASE);
    }
    unlock_and_rearm(c, true);
}

void clock_start(struct clock *c)
{
    pthread_mutex_lock(&c->lock);
    if (c->stopped) {
        __atomic_store_n(&c->base, host_ns() - c->frozen, __ATOMIC_RELEASE);
        __atomic_store_n(&c->stopped, false, __ATOMIC_RELEASE);
    }
    unlock_and_rearm(c, true);
}

void clock_set_ns(struct clock *c, int64_t ns)
{
    pthread_mutex_lock(&c->lock);
    __atomic_store_n(&c->frozen, ns, __ATOMIC_RELEASE);
    if (!c->manual)
        __atomic_store_n(&c->base, host_ns() - ns, __ATOMIC_RELEASE);
    unlock_and_rearm(c, true);
}

void clock_advance(struct clock *c, int64_t ns)
{
    int64_t target = c->frozen + ns;
    struct timer *t;

    assert(c->manual && ns >= 0);
    while ((t = take_due(c, target))) {
        if (t->deadline > c->frozen)
            __atomic_store_n(&c->frozen, t->deadline, __ATOMIC_RELEASE);
        t->fire(t->opaque);
    }
    __atomic_store_n(&c->frozen, target, __ATOMIC_RELEASE);
    pthread_mutex_lock(&c->lock);
    unlock_and_rearm(c, false);
}
