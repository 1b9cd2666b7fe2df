/*
 * ACPI tables for the PC: RSDP, RSDT, XSDT, FADT, FACS, MADT, HPET, DSDT.
 *
 * In: the numbers that describe the machine. Out: one block of bytes for guest-physical blob->addr in 0xe0000-0xfffff (RSDP first, on a
 * 16-byte boundary) that the kernel finds by its scan. Pure function: no devices touched. Manual: ACPI 6.4, chapters 5, 19, 20.
 */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H
#include "core/types.h"

struct acpi_config {
    int n_cpus;                           /* APIC ids 0..n-1 */
    uint32_t load_addr;                   /* 0: 0xe0000 */
    uint64_t pci_mem_base, pci_mem_end;   /* 32-bit PCI window, end exclusive (e.g. 0xc0000000..0xfec00000) */
    uint64_t pci_mem64_base, pci_mem64_end;   /* both 0: none */
    bool hpet, com1, com2, i8042;
};

struct acpi_blob {
    uint8_t *data; size_t len;            /* xmalloc'd; the caller frees */
    uint32_t addr;                        /* where it must be loaded; also the RSDP's address */
    uint32_t dsdt_offset, dsdt_len;       /* of the DSDT within data (tests) */
};

/* 0; -EINVAL for a senseless config; -E2BIG when the tables do not fit below 1 MiB. */
int acpi_build(const struct acpi_config *, struct acpi_blob *out);
#endif
