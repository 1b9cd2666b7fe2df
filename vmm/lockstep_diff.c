/*
 * Lock-step: what counts as a difference between two processors, and how it is shown. One row for each register.
 *
 * Not compared: the x87's last instruction and operand pointers (a translated instruction's are the host's), XSAVE's own header, and the arithmetic flags that the
 * manual leaves undefined after the instruction.
 */
#include "vmm/lockstep_int.h"
#include "core/log.h"
#include "x86/xstate.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define PTE_ACCESSED 0x20
#define AT(field) offsetof(struct x86_cpu, field)
#define SIZED(field) AT(field), sizeof(((struct x86_cpu *)NULL)->field)
#define SEG(i) AT(seg) + (i) * sizeof(struct x86_seg), 18         /* without padding */
#define DTR(field) AT(field), 12
#define REG(i) AT(regs) + (i) * 8, 8

static const struct reg { const char *name; size_t offset, size; } regs[] = {
    { "rax", REG(0) }, { "rcx", REG(1) }, { "rdx", REG(2) }, { "rbx", REG(3) }, { "rsp", REG(4) }, { "rbp", REG(5) }, { "rsi", REG(6) }, { "rdi", REG(7) },
    { "r8", REG(8) }, { "r9", REG(9) }, { "r10", REG(10) }, { "r11", REG(11) }, { "r12", REG(12) }, { "r13", REG(13) }, { "r14", REG(14) }, { "r15", REG(15) },
    { "rip", SIZED(rip) },
    { "es", SEG(X86_ES) }, { "cs", SEG(X86_CS) }, { "ss", SEG(X86_SS) }, { "ds", SEG(X86_DS) }, { "fs", SEG(X86_FS) }, { "gs", SEG(X86_GS) },
    { "ldtr", SEG(X86_LDTR) }, { "tr", SEG(X86_TR) }, { "gdtr", DTR(gdt) }, { "idtr", DTR(idt) },
    { "cr0", SIZED(cr0) }, { "cr2", SIZED(cr2) }, { "cr3", SIZED(cr3) }, { "cr4", SIZED(cr4) }, { "xcr0", SIZED(xcr0) },
    { "pkru", SIZED(pkru) }, { "efer", SIZED(efer) },
    { "dr", SIZED(dr) }, { "cpl", SIZED(cpl) }, { "interrupt shadow", SIZED(intr_shadow) }, { "exception pending", SIZED(exc_pending) },
    { "kernel_gs_base", SIZED(kernel_gs_base) }, { "star", SIZED(star) }, { "lstar", SIZED(lstar) }, { "sfmask", SIZED(sfmask) }, { "tsc_offset", SIZED(tsc_offset) },
    { "x87 control, status, tags", AT(fpu), 5 }, { "mxcsr", AT(fpu) + 24, 4 }, { "x87 registers", AT(fpu) + 32, 128 }, { "xmm", AT(fpu) + 160, 256 },
    { "ymm high halves", AT(fpu) + 576, 256 },
};

static void hex(const uint8_t *p, size_t n, char *out)
{
    if (n <= 8)
        for (size_t i = n; i-- > 0; out += 2)
            sprintf(out, "%02x", p[i]);
    else
        for (size_t i = 0; i < n; i++)
            out += sprintf(out, "%02x%s", p[i], i % 8 == 7 ? " " : "");
}

static void show_reg(const struct reg *r, const uint8_t *a, const uint8_t *b, const char *mark)
{
    char ta[700], tb[700];
    hex(a, r->size, ta);
    hex(b, r->size, tb);
    log_printf("%s %-18s %s%s%s\n", mark, r->name, ta, r->size <= 8 ? "   " : "\n                      ", tb);
}

/* The components of AVX-512, whose places the host chooses. */
static bool avx512_differs(const struct x86_cpu *a, const struct x86_cpu *b, bool quiet)
{
    static const char *const name[] = { "opmask registers", "zmm high halves", "zmm16 to zmm31" };
    bool differ = false;
    for (unsigned n = 5; n < X86_XCOMPS_FPU && (a->xcr0 & b->xcr0 & X86_XS_AVX512); n++) {
        if (!memcmp(a->fpu + x86_xcomp[n].offset, b->fpu + x86_xcomp[n].offset, x86_xcomp[n].size))
            continue;
        differ = true;
        if (!quiet)
            log_printf("lockstep: %s differ\n", name[n - 5]);
    }
    return differ;
}

bool ls_cpus_differ(const struct x86_cpu *a, const struct x86_cpu *b, uint64_t undefined, bool quiet)
{
    bool differ = ((x86_get_rflags(a) ^ x86_get_rflags(b)) & ~undefined) != 0;
    if (differ && !quiet)
        log_printf("lockstep: rflags differ: %llx %llx\n", (unsigned long long)x86_get_rflags(a), (unsigned long long)x86_get_rflags(b));
    for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
        const uint8_t *pa = (const uint8_t *)a + regs[i].offset, *pb = (const uint8_t *)b + regs[i].offset;
        if (!memcmp(pa, pb, regs[i].size))
            continue;
        differ = true;
        if (!quiet)
            log_printf("lockstep: %s differs\n", regs[i].name);
    }
    return avx512_differs(a, b, quiet) || differ;
}

void ls_show_cpus(const struct x86_cpu *a, const struct x86_cpu *b, const char *name_a, const char *name_b)
{
    log_printf("registers: %s first, then %s; * differs\n", name_a, name_b);
    uint64_t fa = x86_get_rflags(a), fb = x86_get_rflags(b);
    show_reg(&(struct reg){ "rflags", 0, 8 }, (const uint8_t *)&fa, (const uint8_t *)&fb, fa == fb ? " " : "*");
    for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
        const uint8_t *pa = (const uint8_t *)a + regs[i].offset, *pb = (const uint8_t *)b + regs[i].offset;
        bool same = !memcmp(pa, pb, regs[i].size);
        if (!same || regs[i].size <= 18)
            show_reg(&regs[i], pa, pb, same ? " " : "*");
    }
}

/* B may have set the accessed bit of a page-table entry that A will set when it fetches the next instruction. */
static bool byte_differs(const struct ls_page *p, unsigned i)
{
    return p->a[i] != p->b[i] && !(ls.ahead && i % 4 == 0 && (p->a[i] | PTE_ACCESSED) == p->b[i]);
}

bool ls_page_differs(const struct ls_page *p, bool quiet)
{
    unsigned n = 0;

    if (!memcmp(p->a, p->b, PAGE_SIZE))
        return false;
    for (unsigned i = 0; i < PAGE_SIZE && n < (quiet ? 1 : 16); i++) {
        if (!byte_differs(p, i))
            continue;
        n++;
        if (!quiet)
            log_printf("lockstep: memory at 0x%llx differs: %02x %02x\n", (unsigned long long)(p->gpa + i), p->a[i], p->b[i]);
    }
    return n != 0;
}
