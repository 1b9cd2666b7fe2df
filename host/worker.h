/*
 * The worker threads, for what may take long: jobs that need no lock (disk requests), and calls into devices that nobody is to wait for (a queue that
 * the guest has asked to be looked at).
 *
 * In: jobs and calls from any thread, with or without the machine lock. Jobs run in any order, several at once; calls one at a time, with the machine
 * lock held. A thread that holds the machine lock and waits for jobs must run them itself as long as there are any (worker_help): the threads may all
 * be waiting for the lock.
 */
#ifndef HOST_WORKER_H
#define HOST_WORKER_H
#include "core/types.h"

struct job { struct job *next; void (*run)(struct job *); };
struct call { struct call *next; bool asked; void (*run)(void *opaque); void *opaque; };

/* False: there are no threads, and none can be started. */
bool worker_submit(struct job *);
/* Soon, once, however often it is asked until it begins. No lock is needed. */
bool worker_call(struct call *);
bool worker_help(void);                   /* runs one job that waits for a thread; false: none does */
void worker_end_calls(void);              /* those that have not begun never will; machine lock held */
#endif
