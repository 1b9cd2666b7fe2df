/*
 * What is done while the vCPU stands still, between two instructions: stop, cont, and calls that need the guest's exact state (the monitor's).
 *
 * A call is queued by any thread with the machine lock held, and made on the vCPU's own thread, machine lock held, once it has left its engine;
 * the guest then goes on, unless it is stopped. While it is stopped, its clock and its time stamp counter stand still too.
 */
#ifndef VMM_REST_H
#define VMM_REST_H
#include "core/vm.h"

enum rest_state { REST_RUNNING, REST_STOPPED, REST_OFF };     /* OFF: the guest has switched itself off (-no-shutdown); only a reset helps */

/* All with the machine lock held. */
void rest_call(struct vm *, void (*call)(void *opaque), void *opaque);
void rest_set(struct vm *, enum rest_state);
enum rest_state rest_state(void);
/* On the vCPU's thread, outside its engine: makes the calls, and returns when the guest is to run or the machine has a request. */
void rest_wait(struct vm *);
/* The guest's time stands still, the time stamp counter with it, from one to the other; in pairs, the vCPU at rest. */
void rest_freeze(struct vm *);
void rest_thaw(struct vm *);
#endif
