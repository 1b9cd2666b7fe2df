/*
 * PIIX3 ISA bridge (8086:7000) at 00:01.0: routes PIRQA-D to ISA interrupts by registers 0x60-0x63, and the reset control register 0xcf9.
 *
 * In: PIRQ levels from the bus (connected here). Out: the 16 ISA/GSI lines. PIRQs share their line with nothing else.
 * Locks: machine lock. Manual: 82371SB data sheet.
 */
#ifndef HW_PCI_PIIX3_H
#define HW_PCI_PIIX3_H
#include "hw/pci/pci.h"

struct piix3 {
    struct pci_dev pci;
    struct irq isa[16];
    struct vm *vm;
    uint8_t pirq_level[4];
    uint16_t isa_level;                   /* ISA lines driven by PIRQs now */
    uint8_t rcr;
};

/* ISA: lines 0..15 that PIRQs can be routed to (PIC input and I/O APIC pin of the same number). */
struct piix3 *piix3_new(struct vm *, struct pci_bus *, const struct irq isa[16]);
#endif
