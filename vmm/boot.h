/*
 * Direct kernel start: what to load, kept for the guest's resets, and the loaders. A loader writes guest RAM and the first vCPU's state;
 * nothing else. Files are read and checked once, in boot_prepare.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H
#include "core/vm.h"
#include "vmm/image.h"
#include "x86/cpu.h"

#define BOOT_MODULES 16
#define BOOT_MAP 8

enum boot_kind { BOOT_NONE, BOOT_LINUX, BOOT_MULTIBOOT, BOOT_PVH };
struct boot_module { struct image image; const char *text; };
struct boot_range { uint64_t base, size; uint32_t type; };          /* e820: 1 RAM, 2 reserved */

struct boot {
    enum boot_kind kind;
    const char *path, *cmdline;
    struct image kernel;
    struct boot_module module[BOOT_MODULES]; unsigned n_modules;    /* Linux and PVH: one, the initrd */
    struct boot_range map[BOOT_MAP]; unsigned n_map;
    uint64_t ram_below_4g;
    uint32_t rsdp;                                                  /* ACPI root pointer, 0 none */
};

/* Reads the files. 0, or -errno after one line on stderr. */
int boot_prepare(struct boot *, const char *kernel, const char *initrd, const char *cmdline, uint64_t ram_below_4g, uint64_t ram_above_4g, uint32_t rsdp);
/* After a reset of everything: writes RAM and the CPU's state, and tells the engine. */
int boot_load(const struct boot *, struct vm *);

/* ---- for the loaders ---- */
bool linux_probe(const struct image *);
bool multiboot_probe(const struct image *);
bool pvh_probe(const struct image *);
int linux_load(const struct boot *, struct vm *, struct x86_cpu *);
int multiboot_load(const struct boot *, struct vm *, struct x86_cpu *);
int pvh_load(const struct boot *, struct vm *, struct x86_cpu *);
/* Flat 32-bit protected mode without paging, code selector CS, data selector DS, interrupts off. */
void boot_flat32(struct x86_cpu *, uint32_t eip, uint16_t cs, uint16_t ds);
/* RAM only, below 4 GiB: 0, or -EFAULT after saying so. data NULL: zeros. */
int boot_put(const struct boot *, struct vm *, uint64_t addr, const void *data, uint64_t len, const char *what);

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t get32(const uint8_t *p) { return get16(p) | (uint32_t)get16(p + 2) << 16; }
static inline uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }
static inline void put32(uint8_t *p, uint64_t v) { for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8 * i)); }
static inline void put64(uint8_t *p, uint64_t v) { put32(p, v); put32(p + 4, v >> 32); }

/* ---- vmm/elf.c ---- */
struct elf_info { uint64_t entry, end, note; bool is64, has_note; };     /* end: past the last loaded byte; note: PVH's 32-bit entry */
bool elf_probe(const struct image *);
/* Reads headers and notes only. 0 or -EINVAL (silent). */
int elf_scan(const struct image *, struct elf_info *);
/* Copies the loadable segments to their physical addresses. */
int elf_load(const struct boot *, struct vm *, struct elf_info *);
#endif
