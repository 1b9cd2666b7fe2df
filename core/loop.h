/*
 * The event loop seen from below: what host/ back ends and devices need from it. Implemented once, in vmm/loop.c (epoll + timerfd).
 * All callbacks run on the loop's thread with the machine lock held.
 */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H
#include "core/types.h"

struct loop;
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_ERR = 4 };

/* Watch FD; cb(opaque, fd, events). Changing interest: call again with the same fd. events 0 removes. 0 or -errno. */
int loop_watch(struct loop *, int fd, unsigned events, void (*cb)(void *opaque, int fd, unsigned events), void *opaque);
/* Run cb soon on the loop's thread; callable from any thread without locks (worker completions use it). */
void loop_post(struct loop *, void (*cb)(void *opaque), void *opaque);
/* Called before each wait and after each wake-up, for libraries with their own poll sets (libslirp). timeout_ms may be lowered. */
void loop_add_poller(struct loop *, void (*prepare)(void *opaque, int *timeout_ms), void (*after)(void *opaque), void *opaque);
#endif
