/*
 * The engine on /dev/kvm, as vmm sees it. One machine a process.
 *
 * Interrupt controllers: OFF, all of them are our models; SPLIT, the local APICs are the kernel's; ON, the PIC, the I/O APIC and the PIT
 * too. Our models stay the one description of their state: vmm/kvm_chips.c carries it to the kernel and back.
 */
#ifndef KVM_KVM_H
#define KVM_KVM_H
#include "core/engine.h"
#include <linux/kvm.h>

enum kvm_chips { KVM_CHIPS_OFF, KVM_CHIPS_SPLIT, KVM_CHIPS_ON };

extern const struct engine kvm_engine;

/* What this host's /dev/kvm is worth (kvm/probe.c). why: one line, also when it is good. rate: ring-0 instructions a second in a throw-away VM. */
struct kvm_probe { bool usable, assisted; uint64_t rate; char why[160]; };
/* Leaves nothing behind. MEASURE: run the throw-away VM (a few milliseconds); without it assisted is what the loaded module says, and rate is 0. */
void kvm_probe(struct kvm_probe *, bool measure);

/* Before the engine's init. */
void kvm_want_irqchip(enum kvm_chips);
enum kvm_chips kvm_chips_place(void);

/* ---- the kernel's interrupt controllers (kvm/chips.c). All return 0 or -errno, logged; machine lock held. ---- */
/* ON: a global interrupt's level. 0..23: pins of the I/O APIC, 0..15 inputs of the PIC too (0 is pin 2). */
int kvm_chips_line(int gsi, int level);
/* SPLIT, ON. */
int kvm_chips_msi(uint64_t addr, uint32_t data);
/* SPLIT: tell the kernel that EOIs of this level-triggered message are ours to see; END is called on the vCPU's thread for each. */
int kvm_chips_watch_eoi(uint64_t addr, uint32_t data);
void kvm_chips_on_eoi(void (*end)(void *opaque, uint8_t vector), void *opaque);
/* Messages that were given to the kernel (kvm/notifier.c) come back to their senders, and those on their way have arrived. */
void kvm_notifiers_drop(void);
/* State as the kernel keeps it. CHIP: KVM_IRQCHIP_PIC_MASTER, _PIC_SLAVE or _IOAPIC. */
int kvm_chips_get(struct kvm_irqchip *, unsigned chip);
int kvm_chips_set(struct kvm_irqchip *);
int kvm_chips_get_lapic(struct vcpu *, struct kvm_lapic_state *, uint64_t *base, uint64_t *tsc_deadline);
/* BASE, which has the mode of the local APIC, goes first. */
int kvm_chips_set_lapic(struct vcpu *, const struct kvm_lapic_state *, uint64_t base, uint64_t tsc_deadline);
/* The time stamp counter's offset of struct x86_cpu, and the deadline that depends on it. */
int kvm_chips_set_deadline(struct vcpu *, uint64_t tsc);
int kvm_chips_get_pit(struct kvm_pit_state2 *);
int kvm_chips_set_pit(const struct kvm_pit_state2 *);

/* ---- aside (kvm/aside.c): the processor does something for us between two instructions of the guest. Its own thread, machine lock held, struct
   x86_cpu complete; the guest goes on with that. 0 or -errno, logged. ---- */
int kvm_aside_begin(struct vcpu *);
int kvm_aside_end(struct vcpu *);
/* One entry: timers of the local APIC that have run down become interrupts, ends of interrupts are reported. */
int kvm_aside_turn(struct vcpu *);
/* A port of a chip in the kernel. */
int kvm_aside_out(struct vcpu *, uint16_t port, uint8_t val);
int kvm_aside_in(struct vcpu *, uint16_t port, uint8_t *val);

/* ---- debugging (kvm/debug.c) ---- */
/* One instruction with the device accesses that belong to it; struct x86_cpu is complete afterwards, its model-specific registers only with MSRS. On the
   vCPU's thread. 0 or -errno. */
int kvm_step(struct vcpu *, bool msrs);
/* Run until the instruction at linear ADDR is next, at most MS milliseconds (-ETIMEDOUT); struct x86_cpu as after a step, in every case. The trap flag
   is not used, so no instruction and no handler can see it. Needs the breakpoints. */
int kvm_run_to(struct vcpu *, uint64_t addr, unsigned ms, bool msrs);
/* The next entry begins with this interrupt, whatever the flags say. */
int kvm_interrupt(struct vcpu *, int vector);
/* Stop before the instructions at ADDR (linear; at most 4, 0 removes them): HIT is called on the vCPU's thread, and asks for an exit or not. */
int kvm_breakpoints(struct vcpu *, const uint64_t *addr, unsigned n, void (*hit)(void *opaque, struct vcpu *), void *opaque);

/* ---- dirty log (kvm/memory.c): which pages of RAM the guest's processors have written ---- */
int kvm_dirty_start(void);
/* Calls page for every page written since the last call. */
int kvm_dirty_collect(void (*page)(void *opaque, gpa_t addr), void *opaque);
int kvm_dirty_stop(void);
#endif
