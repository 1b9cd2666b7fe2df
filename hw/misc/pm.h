/*
 * PIIX4 power management (8086:7113) at 00:01.3: the ACPI block (0x600 until moved), the GPE block 0xafe0, the SMI command ports 0xb2/0xb3.
 *
 * In: port and config accesses, the power button (pm_power_button). Out: SCI (ISA irq 9, level), SMI, vm_request(VM_POWEROFF) on S5.
 * The PM timer is 3.579545 MHz, 32 bits wide as the FADT says; its carry sets TMR_STS. Locks: machine lock.
 * Manual: ACPI 6.x chapter 4 "ACPI Hardware Specification"; 82371AB data sheet.
 */
#ifndef HW_MISC_PM_H
#define HW_MISC_PM_H
#include "hw/pci/pci.h"

#define PM_BASE 0x600
#define PM_GPE_BASE 0xafe0
#define PM_SMI_CMD 0xb2
#define PM_TIMER_HZ 3579545u
#define PM_ACPI_ENABLE 0xf1
#define PM_ACPI_DISABLE 0xf0
#define PM_S5_TYPE 0                      /* SLP_TYP that means S5, as in the DSDT */

struct pm {
    struct pci_dev pci;
    struct aspace *io;
    struct vm *vm;
    struct region pm_io, gpe_io, smi_io;
    struct irq sci, smi;
    struct clock *clock;
    struct timer overflow;
    bool mapped; uint16_t mapped_base;
    uint16_t status, enable, control;
    uint16_t gpe_status, gpe_enable;
    uint32_t glb_ctl;
    uint8_t apmc, apms;
    int64_t overflow_at;                  /* when the timer's top bit changes next */
};

/* SMI may be unconnected: then APMC_EN reads as set, so that firmware does not wait for a system management mode that never comes. */
struct pm *pm_new(struct vm *, struct pci_bus *, struct aspace *io, struct irq sci, struct irq smi);
void pm_power_button(struct pm *);
#endif
