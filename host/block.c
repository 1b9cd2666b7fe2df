/*
 * Disk images: the list of open ones and requests, which workers carry out (host/worker.h). Bytes are block_raw.c's part.
 *
 * A request goes: block_submit (machine lock) -> a worker (no lock) -> done list of its image -> its done callback, on the worker that has
 * finished and then taken the machine lock. block_drain takes the last steps itself. An image that works at once does without workers: block_submit
 * carries the request out, and block_poll, which the device calls before it returns to the guest, does the rest.
 * The lock below guards done lists and counts; it is a leaf.
 * Hazard: media are only swapped or closed after draining, so that a worker never sees one go away.
 */
#define _GNU_SOURCE 1
#include "host/block_int.h"
#include "core/aspace.h"
#include "core/log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t idle = PTHREAD_COND_INITIALIZER;
static bool exiting;

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

/* Machine lock held. */
static void complete(struct block *b)
{
    pthread_mutex_lock(&lock);
    b->completing = false;
    bool closed = b->closed;
    pthread_mutex_unlock(&lock);
    if (closed)
        free(b);
    else
        block_poll(b);
}

static void finished(struct block_req *r)
{
    struct block *b = r->b;

    r->next = NULL;
    *b->done_tail = r;
    b->done_tail = &r->next;
}

/* One worker at a time completes the requests of an image; the others leave theirs to it. */
static void run_job(struct job *j)
{
    struct block_req *r = container_of(j, struct block_req, job);
    struct block *b = r->b;

    r->ret = run_request(r);
    pthread_mutex_lock(&lock);
    finished(r);
    bool mine = !b->completing && !exiting;
    b->completing |= mine;
    if (--b->in_flight == 0)
        pthread_cond_broadcast(&idle);
    pthread_mutex_unlock(&lock);
    if (!mine)
        return;
    machine_lock();
    complete(b);
    machine_unlock();
}

/* Until no request of B is under way. Requests that wait for a worker are carried out here: the workers may be waiting for the machine lock. */
static void wait_idle(struct block *b)
{
    pthread_mutex_lock(&lock);
    while (b->in_flight) {
        pthread_mutex_unlock(&lock);
        bool helped = worker_help();
        pthread_mutex_lock(&lock);
        if (!helped && b->in_flight)
            pthread_cond_wait(&idle, &lock);
    }
    pthread_mutex_unlock(&lock);
}

/* atexit: what was submitted reaches the file; callbacks do not run, the machine may be half gone. */
static void wait_for_writes(void)
{
    pthread_mutex_lock(&lock);
    exiting = true;
    pthread_mutex_unlock(&lock);
    for (struct block *b = all_blocks; b; b = b->next)
        wait_idle(b);
}

void block_submit(struct block *b, struct block_req *r)
{
    static bool at_exit;

    if (!at_exit)
        at_exit = !atexit(wait_for_writes);
    r->b = b;
    r->job.run = run_job;
    if (!b->at_once) {
        pthread_mutex_lock(&lock);
        b->in_flight++;
        pthread_mutex_unlock(&lock);
        if (worker_submit(&r->job))
            return;
    }
    r->ret = run_request(r);
    pthread_mutex_lock(&lock);
    finished(r);
    b->in_flight -= !b->at_once;
    pthread_mutex_unlock(&lock);
}

void block_poll(struct block *b)
{
    pthread_mutex_lock(&lock);
    while (b->done_head) {
        struct block_req *r = b->done_head;
        b->done_head = r->next;
        if (!b->done_head)
            b->done_tail = &b->done_head;
        pthread_mutex_unlock(&lock);
        r->done(r, r->ret);
        pthread_mutex_lock(&lock);
    }
    pthread_mutex_unlock(&lock);
}

/* A done callback may submit again, so look until both counts are nil. */
void block_drain(struct block *b)
{
    for (;;) {
        wait_idle(b);
        pthread_mutex_lock(&lock);
        bool more = b->done_head != NULL;
        pthread_mutex_unlock(&lock);
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
struct block *block_open(const struct block_opts *o, char *err, size_t errlen)
{
    struct block *b = calloc(1, sizeof(*b));
    if (!b) {
        snprintf(err, errlen, "out of memory");
        return NULL;
    }
    b->at_once = o->at_once;
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
    pthread_mutex_lock(&lock);
    b->closed = true;
    bool completing = b->completing;
    pthread_mutex_unlock(&lock);
    if (!completing)
        free(b);                                       /* otherwise the worker that is about to complete frees */
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
bool block_at_once(struct block *b) { return b->at_once; }
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
