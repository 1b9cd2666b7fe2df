/*
 * A virtual CPU as everything outside the engines sees it. Threads: one host thread a vCPU. pending is the only word other threads
 * write: they set bits and call vcpu_kick; translated code compares its copy of "anything pending" with zero at loop edges.
 */
#ifndef CORE_VCPU_H
#define CORE_VCPU_H
#include "core/counters.h"
#include <pthread.h>
#include <stdbool.h>

enum vcpu_pending {
    VCPU_INTR = 1 << 0,        /* level: the interrupt controller has a vector for us (vcpu_set_intr) */
    VCPU_NMI = 1 << 1,
    VCPU_SMI = 1 << 2,
    VCPU_INIT = 1 << 3,
    VCPU_SIPI = 1 << 4,        /* vector in sipi_vector */
    VCPU_EXIT = 1 << 5,        /* leave the run loop (stop, reset, power-off, debugger) */
    VCPU_WORK = 1 << 6,        /* engine-private work (cross-vCPU flush) */
    VCPU_PMI = 1 << 7,         /* a performance counter may have overflowed */
};

/* The local interrupt controller of this vCPU, connected by vmm/pc.c. Called on the vCPU thread; takes its own locks. */
struct vcpu_intc {
    int (*ack)(void *opaque);                               /* take the highest-priority vector: 0..255, or -1 when none is left (spurious) */
    uint64_t (*get_tpr)(void *opaque);                      /* CR8 */
    void (*set_tpr)(void *opaque, uint64_t v);
    uint64_t (*get_base)(void *opaque);                     /* IA32_APIC_BASE */
    int (*set_base)(void *opaque, uint64_t v);              /* 0, or -1: #GP */
    int (*x2apic_read)(void *opaque, uint32_t msr, uint64_t *v);    /* MSR 0x800..0x8ff and 0x6e0; -1: #GP */
    int (*x2apic_write)(void *opaque, uint32_t msr, uint64_t v);
    void (*pmi)(void *opaque);                              /* a performance counter has overflowed */
    void *opaque;
};

/* The wires of x87 errors that are no exceptions (CR0.NE clear): FERR# changes, the answer is IGNNE#. vCPU thread, machine lock not held. */
struct vcpu_ferr { bool (*signal)(void *opaque, bool on); void *opaque; };

struct vcpu {
    struct vm *vm;
    int id;                                /* 0..n-1; also the APIC id */
    pthread_t thread;
    uint32_t pending;                      /* enum vcpu_pending; atomic */
    uint32_t sipi_vector;
    uint32_t barred;                       /* pending bits that the last look at them found masked: they do not end a wait; vCPU thread only */
    int64_t asleep_since;                  /* CLOCK_MONOTONIC, while in vcpu_wait; else 0; read by others (vcpu_idle_ns) */
    bool halted;                           /* in HLT (or waiting for SIPI); vCPU thread only */
    pthread_cond_t wake;                   /* waited on under the machine lock while halted */
    struct vcpu_intc intc;
    struct vcpu_ferr ferr;
    void *cpu;                             /* struct x86_cpu */
    uint32_t *poll_word;                   /* engine's "look up" word: set to 1 by vcpu_kick (may be NULL) */
    void (*kick_engine)(struct vcpu *);    /* optional: make a blocking engine return (KVM) */
    const struct engine *engine;
    void *engine_data;
    union counters n;                      /* vCPU thread only */
};

void vcpu_set_pending(struct vcpu *, uint32_t bits);       /* sets bits and kicks; any thread */
void vcpu_clear_pending(struct vcpu *, uint32_t bits);
void vcpu_set_intr(struct vcpu *, int level);              /* VCPU_INTR follows level; any thread */
void vcpu_kick(struct vcpu *);
/* Sleep until something is pending (bits of MASK); vCPU thread only, machine lock not held. */
void vcpu_wait(struct vcpu *, uint32_t mask);
uint64_t vcpu_idle_ns(const struct vcpu *);        /* slept in vcpu_wait, a sleep under way included; any thread */
#endif
