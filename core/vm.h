/*
 * The machine: two address spaces, a clock, devices in creation order, vCPUs, and requests to the main loop.
 *
 * Lock order: machine lock (core/aspace.h) > aspace map lock > tcg cache lock > clock lock > log lock. A vCPU thread holds
 * none of them while it runs guest code. Worker threads (disk I/O) hold none and report by loop_post.
 */
#ifndef CORE_VM_H
#define CORE_VM_H
#include "core/device.h"
#include "core/engine.h"
#include "core/loop.h"

#define VM_MAX_VCPUS 64

enum vm_request { VM_NONE, VM_RESET, VM_POWEROFF, VM_QUIT };   /* QUIT: isa-debug-exit and Ctrl-A X; status in exit_status */

struct vm {
    struct aspace *mem, *io;
    struct clock *clock;
    struct loop *loop;
    const struct engine *engine;
    struct device *devices, **devices_tail;
    struct vcpu *vcpus[VM_MAX_VCPUS];
    int n_vcpus;
    struct vm_topology { unsigned sockets, cores, threads; } topology;      /* cores a socket, threads a core; set before the engine's init */
    uint64_t ram_size;
    enum vm_request request;               /* highest one wins; under the machine lock */
    int exit_status;
    bool no_reboot;
    const char *cpu_spec;                  /* -cpu as given, NULL: the engine's default; set before the engine's init */
    union counters n;                      /* what is not a vCPU's own; under the machine lock */
    char accel_why[160];                   /* which engine was chosen and why, for `info accel` */
};

struct vm *vm_new(const struct engine *, struct clock *);
void vm_free(struct vm *);
void vm_reset_devices(struct vm *);                     /* every device's reset in creation order */
void vm_stop_vcpus(struct vm *);                        /* every vCPU leaves its engine (VCPU_EXIT) */
/* From any thread: ask the main loop to act; stops all vCPUs. */
void vm_request(struct vm *, enum vm_request, int status);
#endif
