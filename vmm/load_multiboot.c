/*
 * Multiboot 1 kernels: header in the first 8 KiB, loaded by the header's addresses (a.out kludge) or as 32-bit ELF, entered in flat 32-bit
 * protected mode with eax = 0x2badb002 and ebx = the information structure.
 *
 * In: struct boot; each module is page-aligned behind the kernel. Out: guest RAM and the CPU's state. The information structure and its
 * strings lie below 0x9fc00. Manual: Multiboot Specification 0.6.96.
 */
#include "core/log.h"
#include "vmm/boot.h"
#include <errno.h>
#include <string.h>

#define MB_MAGIC 0x1badb002u
#define MB_INFO_AT 0x9000u
#define MB_INFO_LEN 0x7000u              /* structure, map, modules, strings */
#define MB_MODS 0x100u
#define MB_MMAP 0x300u
#define MB_TEXT 0x400u

enum { MBH_PAGE_ALIGN = 1, MBH_MEMINFO = 2, MBH_VIDEO = 4, MBH_ADDRESSES = 0x10000 };
enum { MBI_MEM = 1, MBI_CMDLINE = 4, MBI_MODS = 8, MBI_MMAP = 0x40, MBI_LOADER = 0x200 };

static const uint8_t *find_header(const struct image *im)
{
    for (size_t at = 0; at + 12 <= MIN(im->len, (size_t)8192); at += 4) {
        const uint8_t *h = im->data + at;
        if (get32(h) == MB_MAGIC && !(uint32_t)(get32(h) + get32(h + 4) + get32(h + 8)))
            return h;
    }
    return NULL;
}

bool multiboot_probe(const struct image *im) { return find_header(im) != NULL; }

/* By the addresses in the header. *end: past the bss. */
static int load_addresses(const struct boot *b, struct vm *vm, const uint8_t *h, uint32_t *entry, uint64_t *end)
{
    const struct image *im = &b->kernel;
    size_t at = (size_t)(h - im->data);

    if (at + 32 > im->len)
        goto damaged;
    uint32_t header = get32(h + 12), load = get32(h + 16), load_end = get32(h + 20), bss_end = get32(h + 24);
    if (load > header || header - load > at)
        goto damaged;
    size_t from = at - (header - load);
    uint64_t len = load_end ? (uint64_t)load_end - load : im->len - from;
    if ((load_end && load_end < load) || len > im->len - from)
        goto damaged;
    *entry = get32(h + 28);
    *end = MAX(load + len, (uint64_t)bss_end);
    if (boot_put(b, vm, load, im->data + from, len, "kernel"))
        return -EFAULT;
    return boot_put(b, vm, load + len, NULL, *end - (load + len), "kernel");
damaged:
    log_error("-kernel %s: the multiboot header's addresses do not match the file", b->path);
    return -EINVAL;
}

static int load_kernel(const struct boot *b, struct vm *vm, uint32_t *entry, uint64_t *end)
{
    const uint8_t *h = find_header(&b->kernel);
    struct elf_info info;
    int ret;

    if (get32(h + 4) & 0xfff8) {
        log_error("-kernel %s: the multiboot header asks for features 0x%x that are not known", b->path, get32(h + 4) & 0xfff8);
        return -EINVAL;
    }
    if (get32(h + 4) & MBH_ADDRESSES)
        return load_addresses(b, vm, h, entry, end);
    if ((ret = elf_load(b, vm, &info)))
        return ret;
    *entry = (uint32_t)info.entry;
    *end = info.end;
    return 0;
}

/* Appends TEXT and a zero to the page of strings; its guest address, or 0 when it is full. */
static uint32_t put_text(uint8_t *info, uint32_t *used, const char *a, const char *between, const char *z)
{
    size_t n = strlen(a) + strlen(between) + strlen(z) + 1;
    uint32_t at = *used;

    if (n > MB_INFO_LEN - at)
        return 0;
    strcat(strcat(strcpy((char *)info + at, a), between), z);
    *used += (uint32_t)n;
    return MB_INFO_AT + at;
}

static int put_modules(const struct boot *b, struct vm *vm, uint8_t *info, uint32_t *used, uint64_t at)
{
    for (unsigned i = 0; i < b->n_modules; i++) {
        const struct boot_module *m = &b->module[i];
        uint8_t *entry = info + MB_MODS + 16 * i;
        at = (at + PAGE_SIZE - 1) & PAGE_MASK;
        if (boot_put(b, vm, at, m->image.data, m->image.len, "initrd"))
            return -EFAULT;
        put32(entry, at);
        put32(entry + 4, at + m->image.len);
        put32(entry + 8, put_text(info, used, m->text, "", ""));
        if (!get32(entry + 8)) {
            log_error("-initrd: the modules' arguments are too long");
            return -EINVAL;
        }
        at += m->image.len;
    }
    return 0;
}

/* Entries carry their size in front, not counting itself. */
static void put_map(const struct boot *b, uint8_t *info)
{
    put32(info + 44, 24 * b->n_map);
    put32(info + 48, MB_INFO_AT + MB_MMAP);
    for (unsigned i = 0; i < b->n_map; i++) {
        uint8_t *e = info + MB_MMAP + 24 * i;
        put32(e, 20);
        put64(e + 4, b->map[i].base);
        put64(e + 12, b->map[i].size);
        put32(e + 20, b->map[i].type);
    }
}

int multiboot_load(const struct boot *b, struct vm *vm, struct x86_cpu *c)
{
    static uint8_t info[MB_INFO_LEN];
    uint32_t entry, used = MB_TEXT;
    uint64_t end;
    int ret = load_kernel(b, vm, &entry, &end);

    memset(info, 0, sizeof(info));
    if (ret || (ret = put_modules(b, vm, info, &used, end)))
        return ret;
    put32(info, MBI_MEM | MBI_CMDLINE | MBI_MMAP | MBI_LOADER | MBI_MODS);
    put32(info + 4, 639);
    put32(info + 8, b->ram_below_4g > 0x100000 ? (b->ram_below_4g - 0x100000) >> 10 : 0);
    put32(info + 16, put_text(info, &used, b->path, *b->cmdline ? " " : "", b->cmdline));
    put32(info + 20, b->n_modules);
    put32(info + 24, MB_INFO_AT + MB_MODS);
    put_map(b, info);
    put32(info + 64, put_text(info, &used, "duet", "", ""));
    if (!get32(info + 16) || !get32(info + 64)) {
        log_error("-append: too long for a multiboot kernel");
        return -EINVAL;
    }
    if ((ret = boot_put(b, vm, MB_INFO_AT, info, sizeof(info), "multiboot information")))
        return ret;
    boot_flat32(c, entry, 0x8, 0x10);
    c->regs[X86_RAX] = 0x2badb002;
    c->regs[X86_RBX] = MB_INFO_AT;
    return 0;
}
