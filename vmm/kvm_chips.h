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
/* The wires. ON: line N of 24. SPLIT: the PIC's INTR, and the I/O APIC's messages (ioapic_deliver_fn). Both: MSI. */
struct irq kvm_models_gsi(int n);
struct irq kvm_models_intr(struct vm *);
void kvm_models_deliver(void *opaque, uint32_t dest, int dest_mode, int delivery_mode, uint8_t vector, int trigger);
void kvm_models_msi(void *opaque, uint64_t addr, uint32_t data);
/* All are created: saving them asks the kernel from now on, loading them tells it. Does nothing when OFF. */
void kvm_models_connect(const struct kvm_models *);
/* After a reset: the models' state to the kernel. 0 or -errno (logged). */
int kvm_models_load(void);
#endif
