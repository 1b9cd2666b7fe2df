/*
 * Local APICs, one a vCPU, and the bus between them (IPIs, I/O APIC messages, MSI, EOI broadcasts).
 *
 * In: register accesses by MMIO (the page at IA32_APIC_BASE) or x2APIC MSRs, messages, the PIC's INTR on LINT0.
 * Out: vcpu_set_intr, vcpu_set_pending (NMI, SMI, INIT, SIPI), EOIs to the I/O APIC.
 * The MMIO page is one region for all vCPUs: which APIC answers is decided by the calling thread, so every vCPU thread calls
 * lapic_set_current once before it runs guest code (without that, APIC 0 answers).
 * Locks: machine lock; the vcpu_intc functions are called on vCPU threads and take it themselves.
 * Manual: Intel SDM volume 3, "Advanced Programmable Interrupt Controller".
 */
#ifndef HW_INTC_LAPIC_H
#define HW_INTC_LAPIC_H
#include "core/vm.h"

#define LAPIC_BASE 0xfee00000u
enum lapic_lvt { LVT_CMCI, LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

/* The guest's time-stamp counter, for the TSC-deadline timer: rdtsc(opaque) as this vCPU sees it, and its frequency. */
struct lapic_tsc {
    uint64_t (*rdtsc)(void *opaque);
    void *opaque;
    uint64_t hz;                          /* 0: no TSC-deadline timer */
};

struct lapic {
    struct device dev;
    struct apic_bus *bus;
    struct vcpu *vcpu;
    struct lapic_tsc tsc;
    struct timer timer;
    char name[16];
    uint64_t base;                        /* IA32_APIC_BASE */
    uint32_t isr[8], tmr[8], irr[8], lvt[LVT_COUNT];
    uint32_t id, ldr, dfr, svr, tpr, esr, esr_pending, icr_lo, icr_hi, divide, initial_count;
    int64_t timer_start;                  /* clock ns when the current count began; 0 count: initial_count is 0 */
    int64_t timer_next;                   /* absolute deadline, CLOCK_NEVER when idle */
    uint64_t tsc_deadline;
    uint8_t lint0_level, lint1_level, extint, timer_fired;   /* extint: an ExtINT message is waiting; timer_fired: one-shot count ran out */
};

struct apic_bus {
    struct vm *vm;
    struct aspace *mem;
    struct region mmio;                   /* the shared page */
    bool mmio_on; gpa_t mmio_base;
    struct lapic *apics[VM_MAX_VCPUS];
    int n, arb;                           /* arb: where the next lowest-priority arbitration starts */
    void (*eoi)(void *opaque, uint8_t vector); void *eoi_opaque;
    int (*pic_ack)(void *opaque); void *pic_opaque;
    int pic_level;
};

/* The bus; MEM is where the register page is mapped. */
struct apic_bus *apic_bus_new(struct vm *, struct aspace *mem);
/* EOIs of level interrupts go here (ioapic_eoi); INTA cycles for ExtINT go to the PIC (a wrapper of pic_ack). */
void apic_bus_connect_eoi(struct apic_bus *, void (*eoi)(void *opaque, uint8_t vector), void *opaque);
void apic_bus_connect_pic(struct apic_bus *, int (*ack)(void *opaque), void *opaque);
/* The PIC's INTR (LINT0 of every APIC), and the NMI line (LINT1 of every APIC). */
struct irq apic_bus_pic_irq(struct apic_bus *);
struct irq apic_bus_nmi_irq(struct apic_bus *);

/* One APIC for the vCPU (id vcpu->id, BSP when 0). Fills vcpu->intc. tsc may be NULL. */
struct lapic *lapic_new(struct vm *, struct apic_bus *, struct vcpu *, const struct lapic_tsc *tsc);
/* The calling thread runs this vCPU. */
void lapic_set_current(struct lapic *);
/* The vCPU received INIT: everything but the base and the id returns to reset values. Called by apic_deliver too; harmless twice. */
void lapic_init_reset(struct lapic *);

/* The timer's current count register. */
uint32_t lapic_current_count(const struct lapic *);
/* Another (the kernel's) takes this chip's place: what is due is done, and no timer is armed. And back, with the state loaded: what the timer has
   had to do since SINCE (clock ns) is this one's to do. */
void lapic_pause(struct lapic *);
void lapic_resume(struct lapic *, int64_t since);

/* A message on the bus; the signature is ioapic_deliver_fn's (opaque is the struct apic_bus). */
void apic_deliver(void *bus, uint32_t dest, int dest_mode, int delivery_mode, uint8_t vector, int trigger);
/* A device wrote DATA to ADDR in 0xfee00000..0xfeefffff. Others are dropped. Machine lock held. */
void apic_msi(struct apic_bus *, uint64_t addr, uint32_t data);
#endif
