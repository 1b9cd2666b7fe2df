/*
 * Composition of RFLAGS, the reset and INIT states, and the register dump.
 *
 * RFLAGS is kept in three places (cpu.h): arithmetic flags in *flags_word, DF in df, the rest in rflags. Nothing here takes a lock; the
 * CPU state belongs to its vCPU's thread. SDM vol. 3 table 9-1 (reset and INIT), 9.1.4.
 */
#pragma GCC target("general-regs-only")   /* flags are composed while the guest owns the FPU */
#include "x86/cpu.h"
#include "x86/cpuid.h"
#include <stdio.h>
#include <stdarg.h>
#include <string.h>

uint64_t x86_get_rflags(const struct x86_cpu *c)
{
    uint32_t w = c->flags_word ? *c->flags_word : 0;
    uint64_t arith = ((w >> 8) & 0xd5) | (uint64_t)(w & 1) << 11;
    return (c->rflags & ~(uint64_t)(RF_ARITH | RF_DF)) | arith | (c->df < 0 ? RF_DF : 0) | 2;
}

void x86_set_rflags(struct x86_cpu *c, uint64_t v)
{
    c->rflags = (v & ~(uint64_t)(RF_ARITH | RF_DF)) | 2;
    c->df = v & RF_DF ? -1 : 1;
    if (c->flags_word)
        *c->flags_word = (uint32_t)((v & 0xd5) << 8 | ((v >> 11) & 1));
}

static void reset_segs(struct x86_cpu *c)
{
    memset(c->seg, 0, sizeof(c->seg));
    for (int i = X86_ES; i <= X86_GS; i++) {
        c->seg[i].limit = 0xffff;
        c->seg[i].attr = SEG_P | SEG_S | SEG_RW | SEG_A;
    }
    c->seg[X86_CS].sel = 0xf000;
    c->seg[X86_CS].base = 0xffff0000;
    c->seg[X86_CS].attr |= SEG_CODE;
    c->seg[X86_LDTR].limit = c->seg[X86_TR].limit = 0xffff;
    c->seg[X86_LDTR].attr = SEG_P | 2 << 8;
    c->seg[X86_TR].attr = SEG_P | 11 << 8;
    c->gdt.base = c->idt.base = 0;
    c->gdt.limit = c->idt.limit = 0xffff;
}

/* What RESET and INIT have in common. */
static void reset_core(struct x86_cpu *c)
{
    memset(c->regs, 0, sizeof(c->regs));
    c->regs[X86_RDX] = c->cpuid ? c->cpuid->signature : 0;
    c->rip = 0xfff0;
    x86_set_rflags(c, 2);
    reset_segs(c);
    c->cr2 = c->cr3 = c->cr4 = c->efer = 0;
    memset(c->dr, 0, sizeof(c->dr));
    c->dr[6] = 0xffff0ff0;
    c->dr[7] = 0x400;
    c->cpl = 0;
    c->intr_shadow = c->ss_shadow = c->rep_more = c->exc_rf = c->exc_ext = c->nmi_masked = c->x87_wait = false;
    c->x87_ignored = 0;
    c->exc_pending = c->smm = false;
    c->io_smi = (struct x86_io_smi){ 0 };
    c->exc_delivering = 0xff;
    c->svm.guest = c->svm.exit_pending = c->svm.shadow = false;
    c->svm.gif = true;
    c->svm.inject = c->svm.delivering = 0;
    if (c->vcpu)                       /* all but the first processor wait for SIPI */
        c->vcpu->halted = c->wait_sipi = c->vcpu->id != 0;
}

/* XSAVE image: FCW 0040, all registers +0.0 and valid (tag word 5555), MXCSR 1f80; every component marked in use so that XRSTOR loads them. */
static void reset_fpu(struct x86_cpu *c)
{
    uint16_t fcw = 0x40;
    uint32_t mxcsr = 0x1f80, mxcsr_mask = 0xffff;
    uint64_t xstate_bv = 7;
    memset(c->fpu, 0, sizeof(c->fpu));
    memcpy(c->fpu, &fcw, 2);
    c->fpu[4] = 0xff;
    memcpy(c->fpu + 24, &mxcsr, 4);
    memcpy(c->fpu + 28, &mxcsr_mask, 4);
    memcpy(c->fpu + 512, &xstate_bv, 8);
}

static void reset_msrs(struct x86_cpu *c)
{
    c->star = c->lstar = c->cstar = c->sfmask = c->kernel_gs_base = c->tsc_aux = 0;
    c->sysenter_cs = c->sysenter_esp = c->sysenter_eip = 0;
    c->pat = 0x0007040600070406ull;
    c->misc_enable = 0x1801;                    /* fast strings; no BTS, no PEBS */
    c->mcg_status = c->debugctl = c->mtrr_def = c->tsc_adjust = c->bios_sign = c->xss = 0;
    c->mcg_ctl = ~0ull;
    memset(c->mtrr_fix, 0, sizeof(c->mtrr_fix));
    memset(c->mtrr_phys, 0, sizeof(c->mtrr_phys));
    memset(c->mce_banks, 0, sizeof(c->mce_banks));
    c->spec_ctrl = c->pv_wall_clock = c->pv_system_time = c->pv_async_pf = c->pv_async_pf_int = c->pv_steal_time = c->pv_eoi = 0;
    c->pv_poll = 1;
    c->svm.vm_cr = c->svm.hsave_pa = 0;
    for (unsigned i = 0; i < X86_SVM_CONTEXTS; i++)
        c->svm_contexts[i].id = 0;                  /* numbers are not used again: the softmmu may know them */
}

void x86_reset(struct x86_cpu *c)
{
    reset_core(c);
    reset_fpu(c);
    reset_msrs(c);
    c->cr0 = CR0_CD | CR0_NW | CR0_ET;
    c->xcr0 = 1;
    c->pkru = c->pkru_id = 0;
    x86_pmu_reset(c);
    c->smbase = 0x30000;
    c->a20_off = false;
    c->tsc_offset = x86_tsc_epoch();
}

void x86_init(struct x86_cpu *c)
{
    uint64_t cr0 = (c->cr0 & (CR0_CD | CR0_NW)) | CR0_ET;
    reset_core(c);
    c->cr0 = cr0;
}

struct dump { char *buf; size_t len, at; };

static void dump_line(struct dump *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void dump_line(struct dump *d, const char *fmt, ...)
{
    va_list ap;
    if (d->at >= d->len)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(d->buf + d->at, d->len - d->at, fmt, ap);
    va_end(ap);
    d->at = n < 0 || (size_t)n >= d->len - d->at ? d->len : d->at + (size_t)n;
}

static void dump_gprs(struct dump *d, const struct x86_cpu *c)
{
    static const char names[16][4] = { "RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "RSP", "R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15" };
    static const uint8_t order[16] = { 0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15 };
    bool wide = x86_long_mode(c);
    for (int i = 0; i < (wide ? 16 : 8); i++) {
        if (wide)
            dump_line(d, "%s=%016llx%c", names[i], (unsigned long long)c->regs[order[i]], i % 4 == 3 ? '\n' : ' ');
        else
            dump_line(d, "E%s=%08x%c", names[i] + 1, (uint32_t)c->regs[order[i]], i % 4 == 3 ? '\n' : ' ');
    }
}

void x86_dump(const struct x86_cpu *c, char *buf, size_t len)
{
    static const char segs[X86_SEGS][4] = { "ES ", "CS ", "SS ", "DS ", "FS ", "GS ", "LDT", "TR " };
    struct dump d = { buf, len, 0 };
    uint64_t f = x86_get_rflags(c);
    if (len)
        buf[0] = 0;
    dump_gprs(&d, c);
    dump_line(&d, "%s=%0*llx %s=%08x [%c%c%c%c%c%c%c] CPL=%u II=%u A20=%u HLT=%u\n", x86_long_mode(c) ? "RIP" : "EIP", x86_long_mode(c) ? 16 : 8,
              (unsigned long long)c->rip, x86_long_mode(c) ? "RFL" : "EFL", (uint32_t)f, f & RF_DF ? 'D' : '-', f & RF_OF ? 'O' : '-', f & RF_SF ? 'S' : '-',
              f & RF_ZF ? 'Z' : '-', f & RF_AF ? 'A' : '-', f & RF_PF ? 'P' : '-', f & RF_CF ? 'C' : '-', c->cpl, c->intr_shadow, !c->a20_off,
              c->vcpu ? c->vcpu->halted : 0);
    for (int i = 0; i < X86_SEGS; i++)
        dump_line(&d, "%s =%04x %016llx %08x %08x DPL=%u %s\n", segs[i], c->seg[i].sel, (unsigned long long)c->seg[i].base, c->seg[i].limit,
                  c->seg[i].attr, SEG_DPL(c->seg[i].attr), c->seg[i].attr & SEG_P ? (c->seg[i].attr & SEG_CODE ? "CS" : "DS") : "--");
    dump_line(&d, "GDT=     %016llx %08x\nIDT=     %016llx %08x\n", (unsigned long long)c->gdt.base, c->gdt.limit, (unsigned long long)c->idt.base,
              c->idt.limit);
    dump_line(&d, "CR0=%08x CR2=%016llx CR3=%016llx CR4=%08x\n", (uint32_t)c->cr0, (unsigned long long)c->cr2, (unsigned long long)c->cr3, (uint32_t)c->cr4);
    dump_line(&d, "DR0=%016llx DR1=%016llx DR2=%016llx DR3=%016llx\nDR6=%016llx DR7=%016llx\nEFER=%016llx\n", (unsigned long long)c->dr[0],
              (unsigned long long)c->dr[1], (unsigned long long)c->dr[2], (unsigned long long)c->dr[3], (unsigned long long)c->dr[6],
              (unsigned long long)c->dr[7], (unsigned long long)c->efer);
}
