/*
 * i440FX host bridge (8086:1237) at 00:00.0: identity, the PAM registers 0x59-0x5f that choose RAM or ROM for 0xc0000-0xfffff, and the SMRAM
 * register 0x72. D_CLS, which bars data but not code, is stored only.
 *
 * In: config writes. Out: thirteen windows laid over the ROM hole. A segment readable and writable is RAM; readable only is RAM that
 * drops writes; writable only reads the ROM below and writes RAM; neither shows the ROM below (no window).
 * Locks: machine lock. Manual: 82441FX data sheet, PAM registers.
 */
#ifndef HW_PCI_I440FX_H
#define HW_PCI_I440FX_H
#include "hw/pci/pci.h"

#define PAM_SEGMENTS 13

struct pam_segment { struct region window; struct i440fx *bridge; uint32_t base, size; uint8_t mode; };

struct i440fx {
    struct pci_dev pci;
    struct aspace *mem;
    struct region *ram, *rom;
    struct pam_segment pam[PAM_SEGMENTS];
    struct irq smram[2];                  /* levels: SMRAM is open to everybody; it is there in system management mode */
};

/* RAM: the region at 0 that also has the bytes behind 0xc0000-0xfffff. ROM: the region (kind ROM) covering 0xc0000-0xfffff, 256 KiB; may be NULL
   (reads ones). Both are added to the map by the caller; the ROM after the RAM. */
struct i440fx *i440fx_new(struct vm *, struct pci_bus *, struct aspace *mem, struct region *ram, struct region *rom);
void i440fx_connect_smram(struct i440fx *, struct irq open, struct irq enabled);
/* RAM everywhere (as firmware leaves it), for direct kernel boot. Until the next reset. */
void i440fx_open_shadow(struct i440fx *);
#endif
