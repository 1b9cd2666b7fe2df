/*
 * Disk images: the list of open ones, requests and the worker threads that run them. Bytes are block_raw.c's part.
 *
 * A request goes: block_submit (machine lock) -> queue of the pool -> a worker (no lock) -> done list of its image -> loop_post ->
 * its done callback on the loop's thread with the machine lock held. block_drain takes the last two steps itself.
 * Workers are few (POOL_THREADS), shared by all images, and started at the first request. One lock guards queue, done lists and counts.
 * Hazard: media are only swapped or closed after draining, so that a worker never sees one go away.
 */
#define _GNU_SOURCE 1
#include "host/block_int.h"
#include "core/log.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POOL_THREADS 4

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    struct block_req *head, **tail;
    unsigned threads;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .idle = PTHREAD_COND_INITIALIZER, .tail = &pool.head };

static struct block *all_blocks;

/* --- running requests --- */
static int check_range(struct block *b, uint64_t off, uint64_t len)
{
    if (!b->m)
        return -ENOMEDIUM;
    if (off % BLOCK_SECTOR || len % BLOCK_SECTOR || off > b->m->size || len > b->m->size - off)
        return -EINVAL;
    return 0;
}

static int run_request(struct block_req *r)
{
    struct medium *m = r->b->m;
    int e = r->op == BLOCK_FLUSH ? (m ? 0 : -ENOMEDIUM) : check_range(r->b, r->offset, r->len);
    if (e < 0)
        return e;
    switch (r->op) {
    case BLOCK_READ:
        return medium_readv(m, r->offset, r->iov, r->niov);
    case BLOCK_WRITE:
        return medium_writev(m, r->offset, r->iov, r->niov);
    case BLOCK_FLUSH:
        return medium_flush(m);
    case BLOCK_DISCARD:
        return r->len ? medium_discard(m, r->offset, r->len) : 0;
    case BLOCK_ZERO:
        return r->len ? medium_zero(m, r->offset, r->len, r->may_unmap) : 0;
    }
    return -EINVAL;
}

static void block_post_done(void *opaque)
{
    struct block *b = opaque;
    pthread_mutex_lock(&pool.lock);
    b->posted = false;
    bool closed = b->closed;
    pthread_mutex_unlock(&pool.lock);
    if (closed)
        free(b);
    else
        block_poll(b);
}

static void *worker(void *unused)
{
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        struct block_req *r = pool.head;
        if (!r) {
            pthread_cond_wait(&pool.work, &pool.lock);
            continue;
        }
        pool.head = r->next;
        if (!pool.head)
            pool.tail = &pool.head;
        pthread_mutex_unlock(&pool.lock);
        r->ret = run_request(r);
        pthread_mutex_lock(&pool.lock);
        struct block *b = r->b;
        r->next = NULL;
        *b->done_tail = r;
        b->done_tail = &r->next;
        bool post = b->loop && !b->posted;
        b->posted |= post;
        if (post)
            loop_post(b->loop, block_post_done, b);     /* under the lock: a drain and close on another thread must not free b first */
        if (--b->in_flight == 0)
            pthread_cond_broadcast(&pool.idle);
    }
    return NULL;
}

/* atexit: what was submitted reaches the file; callbacks do not run, the machine may be half gone. */
static void wait_for_writes(void)
{
    pthread_mutex_lock(&pool.lock);
    for (struct block *b = all_blocks; b; b = b->next) {
        while (b->in_flight)
            pthread_cond_wait(&pool.idle, &pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
}

/* Under the pool's lock. Signals belong to the main thread, so workers block them all. False: no thread could be started at all. */
static bool pool_start(void)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (!pool.threads)
        atexit(wait_for_writes);
    while (pool.threads < POOL_THREADS) {
        pthread_t t;
        if (pthread_create(&t, NULL, worker, NULL) != 0)
            break;
        pthread_detach(t);
        pool.threads++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return pool.threads > 0;
}

void block_submit(struct block *b, struct block_req *r)
{
    r->b = b;
    r->next = NULL;
    pthread_mutex_lock(&pool.lock);
    if (!pool.threads && !pool_start()) {
        r->ret = -EAGAIN;
        *b->done_tail = r;
        b->done_tail = &r->next;
        if (b->loop && !b->posted)
            loop_post(b->loop, block_post_done, b);
        b->posted = b->loop != NULL;
        pthread_mutex_unlock(&pool.lock);
        return;
    }
    b->in_flight++;
    *pool.tail = r;
    pool.tail = &r->next;
    pthread_cond_signal(&pool.work);
    pthread_mutex_unlock(&pool.lock);
}

void block_poll(struct block *b)
{
    pthread_mutex_lock(&pool.lock);
    while (b->done_head) {
        struct block_req *r = b->done_head;
        b->done_head = r->next;
        if (!b->done_head)
            b->done_tail = &b->done_head;
        pthread_mutex_unlock(&pool.lock);
        r->done(r, r->ret);
        pthread_mutex_lock(&pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
}

/* A done callback may submit again, so look until both counts are nil. */
void block_drain(struct block *b)
{
    for (;;) {
        pthread_mutex_lock(&pool.lock);
        while (b->in_flight)
            pthread_cond_wait(&pool.idle, &pool.lock);
        bool more = b->done_head != NULL;
        pthread_mutex_unlock(&pool.lock);
        if (!more)
            return;
        block_poll(b);
    }
}

void block_drain_all(void)
{
    for (struct block *b = all_blocks; b; b = b->next)
        block_drain(b);
}

/* --- opening and media --- */
struct block *block_open(struct loop *loop, const struct block_opts *o, char *err, size_t errlen)
{
    struct block *b = calloc(1, sizeof(*b));
    if (!b) {
        snprintf(err, errlen, "out of memory");
        return NULL;
    }
    b->loop = loop;
    b->done_tail = &b->done_head;
    if (o->path && !(b->m = medium_open(o, err, errlen))) {
        free(b);
        return NULL;
    }
    b->next = all_blocks;
    all_blocks = b;
    return b;
}

void block_close(struct block *b)
{
    if (!b)
        return;
    block_drain(b);
    for (struct block **p = &all_blocks; *p; p = &(*p)->next) {
        if (*p == b) {
            *p = b->next;
            break;
        }
    }
    medium_close(b->m);
    b->m = NULL;
    pthread_mutex_lock(&pool.lock);
    b->closed = true;
    bool posted = b->posted;
    pthread_mutex_unlock(&pool.lock);
    if (!posted)
        free(b);                                       /* otherwise the posted callback frees */
}

int block_change(struct block *b, const struct block_opts *o, char *err, size_t errlen)
{
    struct medium *m = NULL;
    block_drain(b);
    if (o->path && !(m = medium_open(o, err, errlen)))
        return -EINVAL;
    medium_close(b->m);
    b->m = m;
    if (b->changed)
        b->changed(b->changed_opaque);
    return 0;
}

void block_on_change(struct block *b, void (*changed)(void *), void *opaque)
{
    b->changed = changed;
    b->changed_opaque = opaque;
}

uint64_t block_size(struct block *b) { return b->m ? b->m->size : 0; }
bool block_readonly(struct block *b) { return b->m && b->m->readonly; }
bool block_write_cache(struct block *b) { return !b->m || b->m->cache != BLOCK_WRITETHROUGH; }
bool block_inserted(struct block *b) { return b->m != NULL; }
const char *block_path(struct block *b) { return b->m ? b->m->path : ""; }

/* --- at once --- */
int block_pread(struct block *b, uint64_t offset, void *buf, size_t len)
{
    struct iovec v = { buf, len };
    int e = check_range(b, offset, len);
    return e < 0 ? e : medium_readv(b->m, offset, &v, 1);
}

int block_pwrite(struct block *b, uint64_t offset, const void *buf, size_t len)
{
    struct iovec v = { (void *)buf, len };
    int e = check_range(b, offset, len);
    return e < 0 ? e : medium_writev(b->m, offset, &v, 1);
}

int block_flush(struct block *b)
{
    return b->m ? medium_flush(b->m) : -ENOMEDIUM;
}
