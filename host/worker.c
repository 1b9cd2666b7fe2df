/*
 * Worker threads (worker.h). They are few, started when the first is needed, and never end.
 *
 * Locks: the pool's, a leaf. A thread takes the machine lock with nothing else held.
 * One thread at a time runs calls, so that the others are there for the jobs these make; what a call submits first is taken by its own thread when
 * it returns, without waking another.
 */
#include "host/worker.h"
#include "core/aspace.h"
#include <pthread.h>
#include <signal.h>

#define THREADS 4

static struct {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct job *jobs, **jobs_tail;
    struct call *calls, **calls_tail;
    unsigned threads;
    bool calling;                         /* a thread runs calls */
    bool ended;                           /* under the machine lock */
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .jobs_tail = &pool.jobs, .calls_tail = &pool.calls };

static __thread bool free_soon;           /* this thread runs a call, and has not submitted a job for itself yet */

/* The pool's lock is held in all of these. */

static struct job *take_job(void)
{
    struct job *j = pool.jobs;

    pool.jobs = j ? j->next : NULL;
    if (!pool.jobs)
        pool.jobs_tail = &pool.jobs;
    return j;
}

static struct call *take_call(void)
{
    struct call *c = pool.calling ? NULL : pool.calls;

    if (!c)
        return NULL;
    pool.calls = c->next;
    if (!pool.calls)
        pool.calls_tail = &pool.calls;
    c->asked = false;                     /* from here on it is asked for anew: what it is to look at may come after it has looked */
    pool.calling = true;
    return c;
}

static void run_call(struct call *c)
{
    pthread_mutex_unlock(&pool.lock);
    machine_lock();
    free_soon = true;
    if (!pool.ended)
        c->run(c->opaque);
    free_soon = false;
    machine_unlock();
    pthread_mutex_lock(&pool.lock);
    pool.calling = false;
}

static void run_job(struct job *j)
{
    if (pool.calls && !pool.calling)
        pthread_cond_signal(&pool.work);
    pthread_mutex_unlock(&pool.lock);
    j->run(j);
    pthread_mutex_lock(&pool.lock);
}

static void *worker(void *unused)
{
    struct job *j;
    struct call *c;

    pthread_mutex_lock(&pool.lock);
    for (;;) {
        if ((j = take_job()))
            run_job(j);
        else if ((c = take_call()))
            run_call(c);
        else
            pthread_cond_wait(&pool.work, &pool.lock);
    }
    return NULL;
}

/* Signals belong to the main thread, so workers block them all. */
static bool start(void)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (pool.threads < THREADS) {
        pthread_t t;
        if (pthread_create(&t, NULL, worker, NULL) != 0)
            break;
        pthread_detach(t);
        pool.threads++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return pool.threads > 0;
}

bool worker_submit(struct job *j)
{
    pthread_mutex_lock(&pool.lock);
    bool ok = pool.threads || start();
    if (ok) {
        j->next = NULL;
        *pool.jobs_tail = j;
        pool.jobs_tail = &j->next;
        if (!free_soon)
            pthread_cond_signal(&pool.work);
        free_soon = false;
    }
    pthread_mutex_unlock(&pool.lock);
    return ok;
}

bool worker_call(struct call *c)
{
    pthread_mutex_lock(&pool.lock);
    bool ok = pool.threads || start();
    if (ok && !c->asked) {
        c->asked = true;
        c->next = NULL;
        *pool.calls_tail = c;
        pool.calls_tail = &c->next;
        if (!pool.calling)                /* else its thread comes to it */
            pthread_cond_signal(&pool.work);
    }
    pthread_mutex_unlock(&pool.lock);
    return ok;
}

bool worker_help(void)
{
    pthread_mutex_lock(&pool.lock);
    struct job *j = take_job();
    pthread_mutex_unlock(&pool.lock);
    if (j)
        j->run(j);
    return j;
}

void worker_end_calls(void) { pool.ended = true; }
