/*
 * ELF kernels, 32 and 64 bit: segments to their physical addresses, and the note that gives PVH's entry.
 *
 * In: a file image, not trusted: every offset is checked against its length before use. Out: guest RAM, struct elf_info.
 * Manual: System V ABI, "Object Files"; Xen's public/elfnote.h for the note (name "Xen", type 18).
 */
#include "core/log.h"
#include "vmm/boot.h"
#include <errno.h>
#include <string.h>

#define PT_LOAD 1
#define PT_NOTE 4
#define PF_X 1
#define NOTE_PHYS32_ENTRY 18

struct phdr { uint32_t type, flags; uint64_t off, vaddr, paddr, filesz, memsz, align; };

bool elf_probe(const struct image *im)
{
    return im->len >= 64 && !memcmp(im->data, "\177ELF", 4) && (im->data[4] == 1 || im->data[4] == 2) && im->data[5] == 1;
}

/* Program header I, or false at the end and for a damaged file. */
static bool get_phdr(const struct image *im, unsigned i, struct phdr *p)
{
    const uint8_t *d = im->data;
    bool is64 = d[4] == 2;
    uint64_t off = is64 ? get64(d + 32) : get32(d + 28), size = get16(d + (is64 ? 54 : 42));
    unsigned n = get16(d + (is64 ? 56 : 44));

    if (i >= n || size < (is64 ? 56 : 32) || off > im->len || (uint64_t)n * size > im->len - off)
        return false;
    d += off + i * size;
    if (is64)
        *p = (struct phdr){ get32(d), get32(d + 4), get64(d + 8), get64(d + 16), get64(d + 24), get64(d + 32), get64(d + 40), get64(d + 48) };
    else
        *p = (struct phdr){ get32(d), get32(d + 24), get32(d + 4), get32(d + 8), get32(d + 12), get32(d + 16), get32(d + 20), get32(d + 28) };
    return true;
}

static bool in_file(const struct image *im, const struct phdr *p) { return p->off <= im->len && p->filesz <= im->len - p->off; }

static void scan_notes(const struct image *im, const struct phdr *p, struct elf_info *info)
{
    const uint8_t *d = im->data + p->off;
    uint64_t align = p->align == 8 ? 8 : 4;

    for (uint64_t at = 0; at + 12 <= p->filesz;) {
        uint64_t namesz = get32(d + at), descsz = get32(d + at + 4);
        uint32_t type = get32(d + at + 8);
        uint64_t name = at + 12, desc = (name + namesz + align - 1) & ~(align - 1);
        if (desc > p->filesz || descsz > p->filesz - desc)
            return;
        if (type == NOTE_PHYS32_ENTRY && namesz == 4 && !memcmp(d + name, "Xen", 4) && (descsz == 4 || descsz == 8)) {
            info->note = descsz == 8 ? get64(d + desc) : get32(d + desc);
            info->has_note = true;
        }
        at = (desc + descsz + align - 1) & ~(align - 1);
    }
}

/* Paging is off at the start: an entry given as the address that the kernel is linked at is meant where its segment is loaded. */
static uint64_t physical_entry(uint64_t entry, const struct phdr *p)
{
    return (p->flags & PF_X) && entry - p->vaddr < p->memsz ? entry - p->vaddr + p->paddr : entry;
}

int elf_scan(const struct image *im, struct elf_info *info)
{
    struct phdr p;
    bool any = false;
    uint64_t linked;

    *info = (struct elf_info){ 0 };
    if (!elf_probe(im))
        return -EINVAL;
    info->is64 = im->data[4] == 2;
    info->entry = linked = info->is64 ? get64(im->data + 24) : get32(im->data + 24);
    for (unsigned i = 0; get_phdr(im, i, &p); i++) {
        if ((p.type == PT_LOAD || p.type == PT_NOTE) && !in_file(im, &p))
            return -EINVAL;
        if (p.type == PT_NOTE)
            scan_notes(im, &p, info);
        if (p.type == PT_LOAD && p.memsz) {
            if (p.filesz > p.memsz || p.paddr + p.memsz < p.paddr)
                return -EINVAL;
            info->end = MAX(info->end, p.paddr + p.memsz);
            if (info->entry == linked)
                info->entry = physical_entry(linked, &p);
            any = true;
        }
    }
    return any ? 0 : -EINVAL;
}

int elf_load(const struct boot *b, struct vm *vm, struct elf_info *info)
{
    struct phdr p;
    int ret = elf_scan(&b->kernel, info);

    if (ret)
        log_error("-kernel %s: damaged or truncated ELF file", b->path);
    for (unsigned i = 0; !ret && get_phdr(&b->kernel, i, &p); i++) {
        if (p.type != PT_LOAD || !p.memsz)
            continue;
        ret = boot_put(b, vm, p.paddr, b->kernel.data + p.off, p.filesz, "kernel");
        if (!ret)
            ret = boot_put(b, vm, p.paddr + p.filesz, NULL, p.memsz - p.filesz, "kernel");
    }
    return ret;
}
