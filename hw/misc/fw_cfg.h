/*
 * The firmware configuration device: items of bytes selected by a 16-bit key, files by name in a directory item.
 *
 * In: selector port 0x510, data 0x511, DMA 0x514 (big endian address of a control block). Out: the items' bytes.
 * Items are read-only for the guest (DMA writes are refused with the error bit) unless added with a write callback.
 * Locks: machine lock. Manual: the fw_cfg interface as documented for QEMU guests.
 */
#ifndef HW_MISC_FW_CFG_H
#define HW_MISC_FW_CFG_H
#include "core/vm.h"

#define FW_CFG_MAX 64                     /* files, and as many legacy keys */
enum fw_cfg_key {
    FW_CFG_SIGNATURE = 0x00, FW_CFG_ID = 0x01, FW_CFG_UUID = 0x02, FW_CFG_RAM_SIZE = 0x03, FW_CFG_NOGRAPHIC = 0x04, FW_CFG_NB_CPUS = 0x05,
    FW_CFG_MACHINE_ID = 0x06, FW_CFG_KERNEL_ADDR = 0x07, FW_CFG_KERNEL_SIZE = 0x08, FW_CFG_INITRD_ADDR = 0x0a, FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_MENU = 0x0e, FW_CFG_MAX_CPUS = 0x0f, FW_CFG_KERNEL_ENTRY = 0x10, FW_CFG_KERNEL_DATA = 0x11, FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13, FW_CFG_CMDLINE_SIZE = 0x14, FW_CFG_CMDLINE_DATA = 0x15, FW_CFG_SETUP_ADDR = 0x16, FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18, FW_CFG_FILE_DIR = 0x19, FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_ACPI_TABLES = 0x8000, FW_CFG_SMBIOS = 0x8001, FW_CFG_IRQ0_OVERRIDE = 0x8002, FW_CFG_E820 = 0x8003, FW_CFG_HPET = 0x8004,
};

struct fw_cfg_item { uint16_t key; char name[56]; uint8_t *data; uint32_t len; };

struct fw_cfg {
    struct device dev;
    struct region io, dma_io;
    struct aspace *mem;
    struct fw_cfg_item items[2 * FW_CFG_MAX];
    int n_items, n_files;
    uint64_t dma_addr;
    uint32_t offset;
    uint16_t key;
};

/* MEM: where DMA goes. The signature, id and directory items exist from the start. */
struct fw_cfg *fw_cfg_new(struct vm *, struct aspace *io, struct aspace *mem);
/* Bytes are copied. A second add with the same key or name replaces the first. 0, -ENOSPC, or -EINVAL (name longer than 55). */
int fw_cfg_add_bytes(struct fw_cfg *, uint16_t key, const void *data, uint32_t len);
int fw_cfg_add_file(struct fw_cfg *, const char *name, const void *data, uint32_t len);
/* Little-endian integers under a legacy key. */
int fw_cfg_add_u16(struct fw_cfg *, uint16_t key, uint16_t val);
int fw_cfg_add_u32(struct fw_cfg *, uint16_t key, uint32_t val);
int fw_cfg_add_u64(struct fw_cfg *, uint16_t key, uint64_t val);
#endif
