/*
 * The interrupt controllers and the PIT when KVM has them (kernel-irqchip=split, on): our models stay the one description of their state. They are
 * created as always; here their wires are led to the kernel, and their state is carried there and back.
 */
#ifndef VMM_KVM_CHIPS_H
#define VMM_KVM_CHIPS_H
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "hw/intc/pic.h"
#include "hw/timer/hpet.h"
#include "hw/timer/pit.h"
#include "kvm/kvm.h"

struct kvm_models {
    struct vm *vm;
    struct pic *pic; struct ioapic *ioapic; struct apic_bus *apics; struct pit *pit; struct hpet *hpet;
};

/* Where this machine's chips are: OFF under every other engine. */
enum kvm_chips kvm_chips_of(const struct vm *);
/* The wires, to wherever the chips are; the models may be filled in later, but before anything uses them. Line N of 24 (0 is pin 2 of the I/O APIC,
   below 16 also an input of the PIC), the PIC's INTR, the I/O APIC's messages (ioapic_deliver_fn), MSI; OPAQUE is the struct kvm_models. */
struct irq kvm_models_gsi(struct kvm_models *, int n);
struct irq kvm_models_intr(struct kvm_models *);
void kvm_models_deliver(void *opaque, uint32_t dest, int dest_mode, int delivery_mode, uint8_t vector, int trigger);
void kvm_models_msi(void *opaque, uint64_t addr, uint32_t data);
/* All are created and wired; stays valid. Saving them asks the kernel when it has them, loading them tells it. One machine a process. */
void kvm_models_connect(struct kvm_models *);
/* After a reset: the models' state to the kernel, if it has the chips. 0 or -errno (logged). */
int kvm_models_load(void);
/* The machine moves to or from KVM, whose vCPU is the connected one, at rest, its state complete. 0, or -errno (logged): they are where they were. */
int kvm_models_take(void);
int kvm_models_leave(void);
/* After kvm_models_take: the guest's time goes on, and the time stamp counter has another offset. */
void kvm_models_go(void);
#endif
