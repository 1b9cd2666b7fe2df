/*
 * Direct kernel start (vmm/boot.h): reads the files, tells what kind of kernel it is, and hands it to its loader after each reset.
 *
 * Order of the kinds: a Linux image says "HdrS" at 0x202; a multiboot header lies in the first 8 KiB; PVH is a note in an ELF file.
 * Locks: called with the machine standing still.
 */
#include "vmm/boot.h"
#include "core/alloc.h"
#include "core/log.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void add_range(struct boot *b, uint64_t base, uint64_t size, uint32_t type)
{
    if (size)
        b->map[b->n_map++] = (struct boot_range){ base, size, type };
}

/* The last KiB of low memory is where firmware keeps its extended data; 0xe0000 up holds the ACPI tables. */
static void make_map(struct boot *b, uint64_t below, uint64_t above)
{
    add_range(b, 0, 0x9fc00, 1);
    add_range(b, 0x9fc00, 0x400, 2);
    add_range(b, 0xe0000, 0x20000, 2);
    if (below > 0x100000)
        add_range(b, 0x100000, below - 0x100000, 1);
    add_range(b, 0x100000000ull, above, 1);
}

/* "FILE args,FILE2 args": the text of a module is its whole word, as boot loaders pass it. */
static int read_modules(struct boot *b, const char *list)
{
    char *words = xstrdup(list), *save = NULL;
    int ret = 0;

    for (char *w = strtok_r(words, ",", &save); w && !ret; w = strtok_r(NULL, ",", &save)) {
        struct boot_module *m = &b->module[b->n_modules];
        size_t n = strcspn(w, " ");
        if (b->n_modules == BOOT_MODULES) {
            log_error("-initrd: more than %d modules", BOOT_MODULES);
            ret = -EINVAL;
            break;
        }
        m->text = xstrdup(w);
        w[n] = 0;
        ret = image_read(&m->image, w, "-initrd", b->ram_below_4g, false);
        b->n_modules++;
    }
    free(words);
    return ret;
}

int boot_prepare(struct boot *b, const char *kernel, const char *initrd, const char *cmdline, uint64_t below, uint64_t above, uint32_t rsdp)
{
    int ret;

    *b = (struct boot){ .path = kernel, .cmdline = cmdline ? cmdline : "", .ram_below_4g = below, .rsdp = rsdp };
    make_map(b, below, above);
    if ((ret = image_read(&b->kernel, kernel, "-kernel", 4ull << 30, true)))
        return ret;
    b->kind = linux_probe(&b->kernel) ? BOOT_LINUX : multiboot_probe(&b->kernel) ? BOOT_MULTIBOOT : pvh_probe(&b->kernel) ? BOOT_PVH : BOOT_NONE;
    if (b->kind == BOOT_NONE) {
        log_error("-kernel %s: not a Linux image (bzImage), a multiboot kernel or an ELF kernel with a PVH entry", kernel);
        return -EINVAL;
    }
    if (!initrd)
        return 0;
    if (b->kind == BOOT_MULTIBOOT)
        return read_modules(b, initrd);
    b->n_modules = 1;
    b->module[0].text = "";
    return image_read(&b->module[0].image, initrd, "-initrd", below, false);
}

/* What a BIOS would have left in its data area and kernels look for without one: COM1's port, the EBDA's segment, kilobytes of base memory. */
static int put_bios_data(const struct boot *b, struct vm *vm)
{
    static const uint8_t com1[2] = { 0xf8, 0x03 }, ebda[2] = { 0xc0, 0x9f }, base_kb[2] = { 0x7f, 0x02 };
    int ret = boot_put(b, vm, 0x400, com1, 2, "BIOS data area");
    ret = ret ? ret : boot_put(b, vm, 0x40e, ebda, 2, "BIOS data area");
    return ret ? ret : boot_put(b, vm, 0x413, base_kb, 2, "BIOS data area");
}

int boot_load(const struct boot *b, struct vm *vm)
{
    struct vcpu *v = vm->vcpus[0];
    int ret = put_bios_data(b, vm);
    if (ret)
        return ret;
    ret = b->kind == BOOT_LINUX ? linux_load(b, vm, v->cpu) : b->kind == BOOT_MULTIBOOT ? multiboot_load(b, vm, v->cpu) : pvh_load(b, vm, v->cpu);

    if (!ret)
        v->engine->vcpu_state_changed(v);
    return ret;
}

int boot_put(const struct boot *b, struct vm *vm, uint64_t addr, const void *data, uint64_t len, const char *what)
{
    static const uint8_t zeros[65536];

    if (addr > b->ram_below_4g || len > b->ram_below_4g - addr) {
        log_error("-kernel %s: the %s (0x%llx bytes at 0x%llx) does not fit into the guest's memory", b->path, what, (unsigned long long)len,
                  (unsigned long long)addr);
        return -EFAULT;
    }
    if (data)
        return as_load(vm->mem, addr, data, len);
    for (uint64_t n; len; addr += n, len -= n) {
        n = MIN(len, sizeof(zeros));
        if (as_load(vm->mem, addr, zeros, n))
            return -EFAULT;
    }
    return 0;
}

static struct x86_seg flat(uint16_t sel, uint32_t attr)
{
    return (struct x86_seg){ .base = 0, .limit = 0xffffffff, .attr = attr, .sel = sel };
}

void boot_flat32(struct x86_cpu *c, uint32_t eip, uint16_t cs, uint16_t ds)
{
    uint32_t data = SEG_G | SEG_DB | SEG_P | SEG_S | SEG_RW | SEG_A;

    memset(c->regs, 0, sizeof(c->regs));
    for (int i = X86_ES; i <= X86_GS; i++)
        c->seg[i] = flat(ds, data);
    c->seg[X86_CS] = flat(cs, data | SEG_CODE);
    c->seg[X86_TR] = (struct x86_seg){ .limit = 0x67, .attr = SEG_P | 0xb00 };      /* busy 32-bit TSS */
    c->cr0 = CR0_PE | CR0_ET;
    c->cr3 = c->cr4 = c->efer = 0;
    c->cpl = 0;
    c->rip = eip;
    x86_set_rflags(c, 2);
    c->intr_shadow = false;
    c->vcpu->halted = false;
}
