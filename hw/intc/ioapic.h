/*
 * I/O APIC (82093AA with the EOI register of version 0x20): 24 pins, a redirection entry each.
 *
 * In: pin levels (ioapic_irq), EOI broadcasts of local APICs (ioapic_eoi). Out: messages through one callback.
 * Invariants: a level entry delivers once until its EOI (remote IRR); an edge entry delivers once for a rising
 * edge while unmasked; a rising edge while masked is lost, also if the pin is still high when the mask goes.
 * Pins carry "asserted", so the polarity bit is stored and has no effect. Locks: machine lock. Manual: 82093AA data sheet.
 */
#ifndef HW_INTC_IOAPIC_H
#define HW_INTC_IOAPIC_H
#include "core/vm.h"

#define IOAPIC_PINS 24
#define IOAPIC_BASE 0xfec00000u

/* dest_mode 0 physical, 1 logical; trigger 0 edge, 1 level. delivery_mode as in the entry (0 fixed, 1 lowest, 2 SMI, 4 NMI, 5 INIT, 7 ExtINT). */
typedef void ioapic_deliver_fn(void *opaque, uint32_t dest, int dest_mode, int delivery_mode, uint8_t vector, int trigger);

struct ioapic {
    struct device dev;
    struct region mmio;
    ioapic_deliver_fn *deliver; void *opaque;
    uint64_t redir[IOAPIC_PINS];
    uint32_t line, irr;                  /* levels now; edges not yet delivered */
    uint8_t id, index;
};

struct ioapic *ioapic_new(struct vm *, struct aspace *mem, ioapic_deliver_fn *, void *opaque);
struct irq ioapic_irq(struct ioapic *, int pin);
/* A local APIC finished a level interrupt with this vector. Matches ioapic_eoi_fn (opaque is the struct ioapic). */
void ioapic_eoi(void *ioapic, uint8_t vector);
#endif
