/*
 * Linux bzImage: 64-bit entry (boot protocol 2.12 and later, XLF_KERNEL_64), else the 32-bit entry.
 *
 * In: struct boot. Out: guest RAM and the CPU's state. Below 640 KiB lie the GDT, boot_params, page tables (an identity map of the first
 * 4 GiB by 2 MiB pages) and the command line; the kernel goes to its preferred address when RAM reaches so far, else, if it may be moved,
 * to the lowest aligned place above 1 MiB; the initrd as high as allowed. Manual: Documentation/arch/x86/boot.rst, zero-page.rst.
 */
#include "core/log.h"
#include "vmm/boot.h"
#include <errno.h>
#include <string.h>

#define GDT_AT 0x1000u
#define PARAMS_AT 0x7000u                /* one page: struct boot_params */
#define TABLES_AT 0x8000u                /* PML4, PDPT, four page directories */
#define CMDLINE_AT 0x20000u
#define CMDLINE_ROOM 0x10000u
#define BOOT_CS 0x10
#define BOOT_DS 0x18

enum {      /* offsets in the file and in boot_params alike */
    H_SETUP_SECTS = 0x1f1, H_JUMP = 0x201, H_MAGIC = 0x202, H_VERSION = 0x206, H_LOADER = 0x210, H_LOADFLAGS = 0x211, H_CODE32 = 0x214,
    H_RAMDISK = 0x218, H_RAMDISK_SIZE = 0x21c, H_CMDLINE = 0x228, H_INITRD_MAX = 0x22c, H_ALIGN = 0x230, H_RELOCATABLE = 0x234, H_XLOADFLAGS = 0x236,
    H_CMDLINE_SIZE = 0x238, H_PREF_ADDRESS = 0x258, H_INIT_SIZE = 0x260,
    P_RSDP = 0x70, P_E820_COUNT = 0x1e8, P_E820 = 0x2d0,
};

struct plan { unsigned version; uint64_t load, init_size, initrd; size_t setup, body; bool entry64; };

bool linux_probe(const struct image *im) { return im->len > 0x268 && !memcmp(im->data + H_MAGIC, "HdrS", 4); }

static int bad(const struct boot *b, const char *why)
{
    log_error("-kernel %s: %s", b->path, why);
    return -EINVAL;
}

static bool fits(const struct boot *b, uint64_t at, uint64_t size) { return at <= b->ram_below_4g && size <= b->ram_below_4g - at; }

static int place_kernel(const struct boot *b, struct plan *p)
{
    const uint8_t *d = b->kernel.data;
    uint64_t align = p->version >= 0x205 ? get32(d + H_ALIGN) : 0;

    p->load = p->version >= 0x20a ? get64(d + H_PREF_ADDRESS) : 0x100000;
    p->init_size = MAX(p->version >= 0x20a ? get32(d + H_INIT_SIZE) : 0, (uint64_t)p->body);
    if (!fits(b, p->load, p->init_size) && p->version >= 0x205 && d[H_RELOCATABLE] && align && !(align & (align - 1)))
        p->load = (0x100000 + align - 1) & ~(align - 1);
    if (p->load < 0x100000 || !fits(b, p->load, p->init_size)) {
        log_error("-kernel %s: it needs 0x%llx bytes of RAM at 0x%llx; give it more by -m", b->path, (unsigned long long)p->init_size,
                  (unsigned long long)p->load);
        return -ENOMEM;
    }
    return 0;
}

static int place_initrd(const struct boot *b, struct plan *p)
{
    size_t len = b->n_modules ? b->module[0].image.len : 0;
    uint64_t max = p->version >= 0x203 ? get32(b->kernel.data + H_INITRD_MAX) : 0x37ffffff;
    uint64_t top = MIN(max + 1, b->ram_below_4g);

    p->initrd = 0;
    if (!len)
        return 0;
    p->initrd = len <= top ? (top - len) & PAGE_MASK : 0;
    if (p->initrd < p->load + p->init_size) {
        log_error("-initrd: 0x%zx bytes do not fit into the guest's memory beside the kernel", len);
        return -ENOMEM;
    }
    return 0;
}

static int make_plan(const struct boot *b, struct plan *p)
{
    const uint8_t *d = b->kernel.data;
    size_t cmd_max;
    int ret;

    p->version = get16(d + H_VERSION);
    p->setup = ((size_t)(d[H_SETUP_SECTS] ? d[H_SETUP_SECTS] : 4) + 1) * 512;
    if (p->version < 0x202 || !(d[H_LOADFLAGS] & 1))
        return bad(b, "a Linux kernel too old for this loader (boot protocol before 2.02, or a zImage)");
    if (p->setup >= b->kernel.len)
        return bad(b, "truncated: it ends inside the setup code");
    p->body = b->kernel.len - p->setup;
    if (p->version >= 0x204 && (uint64_t)get32(d + 0x1f4) * 16 > p->body + 15)
        return bad(b, "truncated: shorter than its header says");
    p->entry64 = p->version >= 0x20c && (get16(d + H_XLOADFLAGS) & 1);
    cmd_max = p->version >= 0x206 ? get32(d + H_CMDLINE_SIZE) : 255;
    if (strlen(b->cmdline) > MIN(cmd_max, (size_t)CMDLINE_ROOM - 1))
        return bad(b, "-append is longer than this kernel allows");
    if ((ret = place_kernel(b, p)))
        return ret;
    return place_initrd(b, p);
}

static int put_params(const struct boot *b, struct vm *vm, const struct plan *p)
{
    uint8_t params[4096] = { 0 };
    const uint8_t *d = b->kernel.data;
    size_t header_end = MIN((size_t)H_MAGIC + d[H_JUMP], (size_t)P_E820 - 0x40);

    memcpy(params + H_SETUP_SECTS, d + H_SETUP_SECTS, MAX(header_end, (size_t)H_INIT_SIZE + 8) - H_SETUP_SECTS);
    params[H_LOADER] = 0xff;
    put32(params + H_CODE32, p->load);
    put32(params + H_RAMDISK, p->initrd);
    put32(params + H_RAMDISK_SIZE, b->n_modules ? b->module[0].image.len : 0);
    put32(params + H_CMDLINE, CMDLINE_AT);
    put64(params + P_RSDP, b->rsdp);
    params[P_E820_COUNT] = (uint8_t)b->n_map;
    for (unsigned i = 0; i < b->n_map; i++) {
        put64(params + P_E820 + 20 * i, b->map[i].base);
        put64(params + P_E820 + 20 * i + 8, b->map[i].size);
        put32(params + P_E820 + 20 * i + 16, b->map[i].type);
    }
    return boot_put(b, vm, PARAMS_AT, params, sizeof(params), "boot parameters");
}

static int put_tables(const struct boot *b, struct vm *vm, bool entry64)
{
    static uint8_t t[6 * 4096];
    uint8_t gdt[32] = { 0 };

    put64(gdt + BOOT_CS, entry64 ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull);
    put64(gdt + BOOT_DS, 0x00cf93000000ffffull);
    if (boot_put(b, vm, GDT_AT, gdt, sizeof(gdt), "GDT"))
        return -EFAULT;
    memset(t, 0, sizeof(t));
    put64(t, (TABLES_AT + 0x1000) | 3);
    for (unsigned i = 0; i < 4; i++)
        put64(t + 0x1000 + 8 * i, (TABLES_AT + 0x2000 + 0x1000 * i) | 3);
    for (uint64_t i = 0; i < 2048; i++)
        put64(t + 0x2000 + 8 * i, i << 21 | 0x83);
    return boot_put(b, vm, TABLES_AT, t, sizeof(t), "page tables");
}

static void set_cpu(struct x86_cpu *c, const struct plan *p)
{
    boot_flat32(c, (uint32_t)p->load, BOOT_CS, BOOT_DS);
    c->gdt.base = GDT_AT;
    c->gdt.limit = 31;
    c->idt.base = 0;
    c->idt.limit = 0;
    c->regs[X86_RSI] = PARAMS_AT;
    if (!p->entry64)
        return;
    c->rip = p->load + 0x200;
    c->seg[X86_CS].attr = (c->seg[X86_CS].attr & ~SEG_DB) | SEG_L;
    c->cr0 = CR0_PG | CR0_PE | CR0_ET | CR0_NE | CR0_WP;
    c->cr3 = TABLES_AT;
    c->cr4 = CR4_PAE;
    c->efer = EFER_LME | EFER_LMA;
}

int linux_load(const struct boot *b, struct vm *vm, struct x86_cpu *c)
{
    struct plan p;
    int ret = make_plan(b, &p);

    if (!ret)
        ret = boot_put(b, vm, p.load, b->kernel.data + p.setup, p.body, "kernel");
    if (!ret && p.initrd)
        ret = boot_put(b, vm, p.initrd, b->module[0].image.data, b->module[0].image.len, "initrd");
    if (!ret)
        ret = boot_put(b, vm, CMDLINE_AT, b->cmdline, strlen(b->cmdline) + 1, "command line");
    if (!ret)
        ret = put_params(b, vm, &p);
    if (!ret)
        ret = put_tables(b, vm, p.entry64);
    if (!ret)
        set_cpu(c, &p);
    return ret;
}
