/*
 * PVH start of an ELF kernel: 32-bit protected mode at the address in its note, ebx pointing to hvm_start_info.
 *
 * In: struct boot (kernel, at most one module, memory map). Out: guest RAM and the CPU's state. The start info, map, module list and
 * command line lie in the first 64 KiB. Manual: Xen docs/misc/pvh, public/arch-x86/hvm/start_info.h.
 */
#include "core/log.h"
#include "vmm/boot.h"
#include <errno.h>
#include <string.h>

#define INFO_AT 0x6000u                  /* start info, module list at +0x100, map at +0x200 */
#define CMDLINE_AT 0x7000u
#define CMDLINE_MAX 0x8000u
#define MAGIC 0x336ec578u

bool pvh_probe(const struct image *im)
{
    struct elf_info info;
    return !elf_scan(im, &info) && info.has_note;
}

static int put_info(const struct boot *b, struct vm *vm, uint64_t initrd)
{
    uint8_t page[0x400] = { 0 };

    put32(page, MAGIC);
    put32(page + 4, 1);
    put32(page + 12, b->n_modules);
    put64(page + 16, b->n_modules ? INFO_AT + 0x100 : 0);
    put64(page + 24, CMDLINE_AT);
    put64(page + 32, b->rsdp);
    put64(page + 40, INFO_AT + 0x200);
    put32(page + 48, b->n_map);
    if (b->n_modules) {
        put64(page + 0x100, initrd);
        put64(page + 0x108, b->module[0].image.len);
    }
    for (unsigned i = 0; i < b->n_map; i++) {
        put64(page + 0x200 + 24 * i, b->map[i].base);
        put64(page + 0x208 + 24 * i, b->map[i].size);
        put32(page + 0x210 + 24 * i, b->map[i].type);
    }
    return boot_put(b, vm, INFO_AT, page, sizeof(page), "start info");
}

int pvh_load(const struct boot *b, struct vm *vm, struct x86_cpu *c)
{
    struct elf_info info;
    size_t cmd = strlen(b->cmdline) + 1, initrd_len = b->n_modules ? b->module[0].image.len : 0;
    int ret = elf_load(b, vm, &info);
    uint64_t initrd = (b->ram_below_4g - MIN(initrd_len, b->ram_below_4g)) & PAGE_MASK;

    if (!ret && cmd > CMDLINE_MAX) {
        log_error("-append: longer than %u bytes", CMDLINE_MAX - 1);
        ret = -EINVAL;
    }
    if (!ret && initrd_len && initrd < info.end) {
        log_error("-initrd: 0x%zx bytes do not fit into the guest's memory beside the kernel", initrd_len);
        ret = -EFAULT;
    }
    if (!ret && initrd_len)
        ret = boot_put(b, vm, initrd, b->module[0].image.data, initrd_len, "initrd");
    if (!ret)
        ret = boot_put(b, vm, CMDLINE_AT, b->cmdline, cmd, "command line");
    if (!ret)
        ret = put_info(b, vm, initrd);
    if (ret)
        return ret;
    boot_flat32(c, (uint32_t)info.note, 0x8, 0x10);
    c->regs[X86_RBX] = INFO_AT;
    return 0;
}
