/*
 * PIIX3 ISA bridge: PIRQ routing and reset control. See piix3.h.
 *
 * In: PIRQ levels, config writes to 0x60-0x63, port 0xcf9. Out: ISA line levels, vm_request(VM_RESET).
 * Invariant: isa_level is the OR of asserted PIRQs under the present routing; lines are told only of changes.
 * Reset state routes PIRQA-D to 10, 10, 11, 11, as firmware would, so that a kernel started without firmware finds them.
 * Locks: machine lock. Manual: 82371SB data sheet.
 */
#include "hw/pci/piix3.h"
#include "core/alloc.h"
#include <string.h>

enum { PIRQ_ROUTE = 0x60, ROUTE_DISABLED = 0x80, RCR_CPU_RESET = 4, RCR_HARD = 2 };
#define ROUTABLE 0xdef8u                  /* ISA lines a PIRQ may drive: 3-7, 9-12, 14, 15 */

static void route_update(struct piix3 *p)
{
    uint16_t level = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t route = p->pci.config[PIRQ_ROUTE + i];
        if (p->pirq_level[i] && !(route & ROUTE_DISABLED) && (ROUTABLE >> (route & 15) & 1))
            level |= (uint16_t)(1u << (route & 15));
    }
    uint16_t changed = level ^ p->isa_level;
    p->isa_level = level;
    for (int n = 0; n < 16; n++) {
        if (changed >> n & 1)
            irq_set(p->isa[n], level >> n & 1);
    }
}

static void pirq_set(void *opaque, int n, int level)
{
    struct piix3 *p = opaque;
    p->pirq_level[n] = level != 0;
    route_update(p);
}

static void piix3_config_written(struct pci_dev *d, unsigned offset, unsigned size)
{
    if (offset < PIRQ_ROUTE + 4 && offset + size > PIRQ_ROUTE)
        route_update(container_of(d, struct piix3, pci));
}

static uint8_t rcr_read(void *opaque)
{
    return ((struct piix3 *)opaque)->rcr;
}

/* A rising reset bit resets; the hard/soft choice makes no difference here. */
static void rcr_write(void *opaque, uint8_t val)
{
    struct piix3 *p = opaque;
    bool rising = (val & RCR_CPU_RESET) && !(p->rcr & RCR_CPU_RESET);
    p->rcr = val & RCR_HARD;
    if (rising)
        vm_request(p->vm, VM_RESET, 0);
}

static void piix3_reset(void *dev)
{
    struct piix3 *p = dev;
    p->rcr = 0;
    pci_dev_reset(&p->pci);
    route_update(p);
}

static const struct state_row piix3_rows[] = {
    PCI_ROWS(struct piix3, pci), S_SKIP(struct piix3, isa), S_SKIP(struct piix3, vm), S_SAVE(struct piix3, pirq_level),
    S_SAVE(struct piix3, isa_level), S_SAVE(struct piix3, rcr), S_END
};

struct piix3 *piix3_new(struct vm *vm, struct pci_bus *bus, const struct irq isa[16])
{
    static const uint8_t routes[4] = { 10, 10, 11, 11 };
    struct piix3 *p = xzalloc(sizeof(*p));
    p->vm = vm;
    memcpy(p->isa, isa, sizeof(p->isa));
    pci_dev_init(bus, &p->pci, PCI_DEVFN(1, 0), 0x8086, 0x7000, 0x060100, 0);
    pci_config_set(&p->pci, PCI_COMMAND, 2, 0x0007, 0);
    pci_config_set(&p->pci, PCI_STATUS, 2, 0x0200, 0);
    pci_config_set(&p->pci, PCI_HEADER_TYPE, 1, 0x80, 0);
    pci_config_set(&p->pci, 0x4c, 1, 0x4d, 0xff);
    pci_config_set(&p->pci, 0x4e, 2, 0x0003, 0xffff);
    for (int i = 0; i < 4; i++) {
        pci_config_set(&p->pci, PIRQ_ROUTE + (unsigned)i, 1, routes[i], 0x8f);
        bus->pirq[i] = (struct irq){ pirq_set, p, i };
    }
    bus->rcr_read = rcr_read;
    bus->rcr_write = rcr_write;
    bus->rcr_opaque = p;
    p->pci.config_written = piix3_config_written;
    device_add(vm, &p->pci.dev, "piix3", piix3_rows, sizeof(*p), piix3_reset);
    piix3_reset(p);
    return p;
}
