/*
 * The vCPUs at rest (vmm/rest.h). VCPU_EXIT makes them leave their engine, and CPU 0's wakes the one whose thread is here; it is cleared with the
 * machine lock held, after the queue was seen empty, so no call is forgotten. Locks: machine lock, dropped only while sleeping.
 */
#include "vmm/rest.h"
#include "core/alloc.h"
#include "core/aspace.h"
#include "core/clock.h"
#include "x86/cpu.h"
#include <stdlib.h>

struct call { struct call *next; void (*call)(void *opaque); void *opaque; };

static struct call *first, **last = &first;
static enum rest_state state;
static unsigned frozen;
static uint64_t frozen_since;                  /* the host's time stamp counter */

enum rest_state rest_state(void) { return state; }

void rest_call(struct vm *vm, void (*call)(void *), void *opaque)
{
    struct call *c = xmalloc(sizeof(*c));

    *c = (struct call){ NULL, call, opaque };
    *last = c;
    last = &c->next;
    vm_stop_vcpus(vm);
}

void rest_set(struct vm *vm, enum rest_state s)
{
    state = s;
    vm_stop_vcpus(vm);
}

static void make_calls(void)
{
    while (first) {
        struct call *c = first;
        first = c->next;
        if (!first)
            last = &first;
        c->call(c->opaque);
        free(c);
    }
}

static void sleep_until_asked(struct vm *vm)
{
    vcpu_clear_pending(vm->vcpus[0], VCPU_EXIT);
    machine_unlock();
    vcpu_wait(vm->vcpus[0], VCPU_EXIT);
    machine_lock();
}

void rest_freeze(struct vm *vm)
{
    if (frozen++)
        return;
    frozen_since = x86_host_tsc();
    clock_stop(vm->clock);
}

void rest_thaw(struct vm *vm)
{
    if (--frozen)
        return;
    clock_start(vm->clock);
    uint64_t ticks = x86_host_tsc() - frozen_since;       /* the same for all: they agree */
    for (int i = 0; i < vm->n_vcpus; i++) {
        struct vcpu *v = vm->vcpus[i];
        ((struct x86_cpu *)v->cpu)->tsc_offset += ticks;
        v->engine->vcpu_state_changed(v);
    }
}

void rest_wait(struct vm *vm)
{
    make_calls();
    if (state == REST_RUNNING || vm->request != VM_NONE)
        return;
    rest_freeze(vm);
    while (state != REST_RUNNING && vm->request == VM_NONE) {
        sleep_until_asked(vm);
        make_calls();
    }
    rest_thaw(vm);
}
