/*
 * System helpers that kernels call all the time, compiled with general registers only: they run while the guest owns the host FPU.
 *
 * SYSCALL SYSRET SYSENTER SYSEXIT, SWAPGS, STI and its shadow, MOV CR3 in long mode, RDTSC(P), RDRAND, RDPID, CLAC/STAC, FSGSBASE. They may
 * call only [regs] functions of the softmmu, x86/tsc.c, x86/state.c and raising (which saves the FPU itself). Intel and AMD differ in
 * where SYSCALL and SYSENTER exist, and in what SYSRET checks: the CPU model decides. SDM vol. 2 by name.
 */
#pragma GCC target("general-regs-only")
#include "core/yield.h"
#include "frontend-x86/helper_sys.h"
#include "frontend-x86/mmu_x86.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"
#include "tcg/env.h"
#include "x86/cpuid.h"

#define FLAT_ATTR (SEG_P | SEG_S | SEG_RW | SEG_A | SEG_G)

/* Every so often a spinning vCPU lets others run. */
uint64_t helper_pause(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    if (++cpu->pauses % 32 == 0)
        host_yield();
    else
        __builtin_ia32_pause();
    return 0;
}

static void __attribute__((noreturn)) gp0(struct x86_cpu *cpu)
{
    x86_raise_err(cpu, X86_GP, 0);
}

static void flat_seg(struct x86_cpu *cpu, unsigned seg, uint32_t sel, uint32_t attr, unsigned dpl)
{
    struct x86_seg *s = &cpu->seg[seg];
    s->sel = (uint16_t)sel;
    s->base = 0;
    s->limit = 0xffffffffu;
    s->attr = FLAT_ATTR | attr | dpl << 13;
}

/* New CS and SS with new privilege; the softmmu's mode follows. */
static void enter(struct x86_cpu *cpu, uint32_t cs, uint32_t ss, bool code64, unsigned cpl)
{
    flat_seg(cpu, X86_CS, (cs & 0xfffc) | cpl, SEG_CODE | (code64 ? SEG_L : SEG_DB), cpl);
    flat_seg(cpu, X86_SS, (ss & 0xfffc) | cpl, SEG_DB, cpl);
    cpu->cpl = (uint8_t)cpl;
    mmu_set_mode(tcg_env_of(cpu)->mmu);
    x86_look_again(cpu);
    if (cpu->rflags & RF_TF)                         /* loaded, or not masked */
        x86_record_trap(cpu, 0x4000);
}

/* An AMD has SYSCALL and SYSRET in compatibility and legacy protected mode too, an Intel in 64-bit code only. */
static void syscall_enabled(struct x86_cpu *cpu)
{
    if (!(cpu->efer & EFER_SCE) || !(cpu->cr0 & CR0_PE) || (!x86_code64(cpu) && !cpu->cpuid->amd))
        x86_raise(cpu, X86_UD);
}

/* a: next rip */
uint64_t helper_syscall(struct x86_cpu *cpu, uint64_t next, uint64_t unused1, uint64_t unused2)
{
    syscall_enabled(cpu);
    uint64_t flags = x86_get_rflags(cpu) & ~(uint64_t)RF_RF;
    uint32_t cs = cpu->star >> 32 & 0xfffc;
    cpu->regs[X86_RCX] = next;
    if (x86_long_mode(cpu)) {
        cpu->regs[X86_R11] = flags;
        x86_set_rflags(cpu, flags & ~cpu->sfmask);
        cpu->rip = x86_code64(cpu) ? cpu->lstar : cpu->cstar;
    } else {
        cpu->rflags &= ~(uint64_t)(RF_VM | RF_IF | RF_RF);
        cpu->rip = (uint32_t)cpu->star;
    }
    enter(cpu, cs, cs + 8, x86_long_mode(cpu), 0);
    return 0;
}

/* a: operand size, 4 or 8. An AMD looks at a 64-bit target only when it is there. */
uint64_t helper_sysret(struct x86_cpu *cpu, uint64_t size, uint64_t unused1, uint64_t unused2)
{
    syscall_enabled(cpu);
    uint64_t rip = size == 8 ? cpu->regs[X86_RCX] : (uint32_t)cpu->regs[X86_RCX];
    if (cpu->cpl || (!cpu->cpuid->amd && !x86_canonical(cpu, rip)))
        gp0(cpu);
    uint32_t base = cpu->star >> 48;
    if (x86_long_mode(cpu))
        x86_set_rflags(cpu, (cpu->regs[X86_R11] & 0x3c7fd7) | 2);
    else
        cpu->rflags |= RF_IF;
    cpu->rip = rip;
    enter(cpu, base + (size == 8 ? 16 : 0), base + 8, size == 8, 3);
    return 0;
}

/* An AMD has SYSENTER and SYSEXIT in legacy mode only. */
static void sysenter_enabled(struct x86_cpu *cpu)
{
    if (x86_long_mode(cpu) && cpu->cpuid->amd)
        x86_raise(cpu, X86_UD);
}

uint64_t helper_sysenter(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    bool lma = x86_long_mode(cpu);
    uint32_t cs = cpu->sysenter_cs & 0xfffc;
    sysenter_enabled(cpu);
    if (!(cpu->cr0 & CR0_PE) || !cs)
        gp0(cpu);
    cpu->rflags &= ~(uint64_t)(RF_VM | RF_IF | RF_RF);
    cpu->regs[X86_RSP] = lma ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
    cpu->rip = lma ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
    enter(cpu, cs, cs + 8, lma, 0);
    return 0;
}

/* a: operand size */
uint64_t helper_sysexit(struct x86_cpu *cpu, uint64_t size, uint64_t unused1, uint64_t unused2)
{
    uint32_t cs = cpu->sysenter_cs & 0xfffc;
    bool to64 = size == 8;
    sysenter_enabled(cpu);
    if (!(cpu->cr0 & CR0_PE) || !cs || cpu->cpl)
        gp0(cpu);
    if (to64 && (!x86_canonical(cpu, cpu->regs[X86_RDX]) || !x86_canonical(cpu, cpu->regs[X86_RCX])))
        gp0(cpu);
    cpu->rip = to64 ? cpu->regs[X86_RDX] : (uint32_t)cpu->regs[X86_RDX];
    cpu->regs[X86_RSP] = to64 ? cpu->regs[X86_RCX] : (uint32_t)cpu->regs[X86_RCX];
    enter(cpu, cs + (to64 ? 32 : 16), cs + (to64 ? 40 : 24), to64, 3);
    return 0;
}

uint64_t helper_swapgs(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint64_t base = cpu->seg[X86_GS].base;
    cpu->seg[X86_GS].base = cpu->kernel_gs_base;
    cpu->kernel_gs_base = base;
    return 0;
}

/* Sets IF. Nonzero when something is pending: the caller then ends the block, and the shadow holds for one instruction (XM_SHADOW). In an
   SVM guest it always does: a #VMEXIT must tell of it. */
uint64_t helper_sti(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    if (cpu->rflags & RF_IF)
        return 0;
    cpu->rflags |= RF_IF;
    if (!x86_intr_waits(cpu) && !cpu->svm.guest)
        return 0;
    cpu->intr_shadow = true;
    return 1;
}

uint64_t helper_cli(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    cpu->rflags &= ~(uint64_t)RF_IF;
    return 0;
}

/* First in a block with XM_SHADOW: the shadow ends with this instruction, and what is pending is looked at after it. */
uint64_t helper_end_shadow(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    cpu->intr_shadow = cpu->ss_shadow = false;
    if (cpu->svm.guest) {                          /* until the run loop is back: an exit on the way must tell of it */
        cpu->svm.shadow = tcg_env_of(cpu)->need_deliver = true;
        __atomic_store_n(&tcg_env_of(cpu)->poll, 1, __ATOMIC_RELEASE);
    }
    x86_look_again(cpu);
    return 0;
}

/* STI was the last instruction of a full block: the next one is in a shadow block if interrupts are enabled. */
uint64_t helper_sti_shadow(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    cpu->intr_shadow = (cpu->rflags & RF_IF) != 0;
    return 0;
}

/* a: offset of a byte of code, or a near target, in a code segment whose limit the block's key does not tell */
uint64_t helper_cs_check(struct x86_cpu *cpu, uint64_t off, uint64_t unused1, uint64_t unused2)
{
    if (off > cpu->seg[X86_CS].limit)
        gp0(cpu);
    return 0;
}

/* ---- breakpoints: blocks of one instruction (XM_DR). dr[4] holds the hits of watched data until the instruction's end ---- */
static uint32_t dr_hits(const struct x86_cpu *cpu, uint64_t va, uint64_t size, unsigned kinds)
{
    static const uint8_t len[4] = { 1, 2, 8, 4 };
    uint32_t hits = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned ctl = cpu->dr[7] >> (16 + 4 * i) & 15, n = len[ctl >> 2];
        uint64_t at = cpu->dr[i] & ~(uint64_t)(n - 1);
        if ((cpu->dr[7] >> (2 * i) & 3) && (kinds >> (ctl & 3) & 1) && va < at + n && at < va + size)
            hits |= 1u << i;
    }
    return hits;
}

void x86_watch(struct x86_cpu *cpu, uint64_t va, uint64_t size, bool write)
{
    cpu->dr[4] |= dr_hits(cpu, va, size, write ? 0xa : 0x8);
}

void x86_watch_io(struct x86_cpu *cpu, unsigned port, unsigned size)
{
    if (cpu->cr4 & CR4_DE)
        cpu->dr[4] |= dr_hits(cpu, port, size, 4);
}

/* a: linear address of the instruction. Its breakpoint is a fault, unless RF or the shadow of a load of SS holds it off. */
uint64_t helper_dr_begin(struct x86_cpu *cpu, uint64_t pc, uint64_t unused1, uint64_t unused2)
{
    if (cpu->ss_shadow)
        return 0;
    cpu->dr[4] = 0;
    uint32_t hits = cpu->rflags & RF_RF ? 0 : dr_hits(cpu, pc, 1, 1);
    if (hits) {
        x86_record_db(cpu, hits);
        x86_raise_recorded(cpu);
    }
    return 0;
}

/* a: linear address, b: size | write << 16 */
uint64_t helper_dr_watch(struct x86_cpu *cpu, uint64_t va, uint64_t what, uint64_t unused)
{
    x86_watch(cpu, va, what & 0xffff, what >> 16 & 1);
    return 0;
}

uint64_t helper_write_cr3_long(struct x86_cpu *cpu, uint64_t v, uint64_t unused1, uint64_t unused2)
{
    if (cpu->cr4 & CR4_PCIDE)
        v &= ~(1ull << 63);                        /* "do not flush": nothing needs to be flushed anyway */
    if (v >> X86_PHYS_BITS)
        gp0(cpu);
    cpu->cr3 = v;
    cpu->vcpu->n.cr3_writes++;
    mmu_set_root(tcg_env_of(cpu)->mmu);
    return 0;
}

static uint64_t timed(struct x86_cpu *cpu)
{
    if ((cpu->cr4 & CR4_TSD) && cpu->cpl)
        gp0(cpu);
    return x86_seen_tsc(cpu);
}

uint64_t helper_rdtsc(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint64_t v = timed(cpu);
    cpu->regs[X86_RAX] = (uint32_t)v;
    cpu->regs[X86_RDX] = v >> 32;
    return 0;
}

uint64_t helper_rdtscp(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    __asm__ volatile("lfence" : : : "memory");       /* it waits for what is before it: processors are compared by that */
    helper_rdtsc(cpu, 0, 0, 0);
    cpu->regs[X86_RCX] = (uint32_t)cpu->tsc_aux;
    return 0;
}

/* Without counters any number is wrong. */
uint64_t helper_rdpmc(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint64_t v;
    if ((cpu->cpl && !(cpu->cr4 & CR4_PCE)) || x86_rdpmc(cpu, (uint32_t)cpu->regs[X86_RCX], &v))
        gp0(cpu);
    cpu->regs[X86_RAX] = (uint32_t)v;
    cpu->regs[X86_RDX] = v >> 32;
    return 0;
}

uint64_t helper_pmu_full(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    x86_pmu_full(cpu);
    return 0;
}

uint64_t helper_rdpid(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    return (uint32_t)cpu->tsc_aux;
}

/* CF says whether a number was there; the other flags are zero. */
static void set_cf(struct x86_cpu *cpu, bool cf)
{
    if (cpu->flags_word)
        *cpu->flags_word = cf ? 0x100 : 0;
}

uint64_t helper_rdrand(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint64_t v;
    uint8_t ok;
    __asm__ volatile("rdrand %0; setc %1" : "=r"(v), "=qm"(ok) : : "cc");
    set_cf(cpu, ok);
    return ok ? v : 0;
}

uint64_t helper_rdseed(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint64_t v;
    uint8_t ok;
    __asm__ volatile("rdseed %0; setc %1" : "=r"(v), "=qm"(ok) : : "cc");
    set_cf(cpu, ok);
    return ok ? v : 0;
}

/* #UD without CR4.PKE, #GP with something else than zero in ECX, for WRPKRU in EDX too. */
static void need_pkru(struct x86_cpu *cpu, uint64_t zero)
{
    if (!(cpu->cr4 & CR4_PKE))
        x86_raise(cpu, X86_UD);
    if ((uint32_t)zero)
        gp0(cpu);
}

uint64_t helper_rdpkru(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    need_pkru(cpu, cpu->regs[X86_RCX]);
    cpu->regs[X86_RAX] = (uint32_t)cpu->pkru;
    cpu->regs[X86_RDX] = 0;
    return 0;
}

uint64_t helper_wrpkru(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    need_pkru(cpu, cpu->regs[X86_RCX] | cpu->regs[X86_RDX]);
    if (cpu->pkru != (uint32_t)cpu->regs[X86_RAX]) {
        cpu->pkru = (uint32_t)cpu->regs[X86_RAX];
        x86_pkru_changed(cpu);
    }
    return 0;
}

/* CLAC 0, STAC 1 */
uint64_t helper_set_ac(struct x86_cpu *cpu, uint64_t on, uint64_t unused1, uint64_t unused2)
{
    cpu->rflags = on ? cpu->rflags | RF_AC : cpu->rflags & ~(uint64_t)RF_AC;
    mmu_set_mode(tcg_env_of(cpu)->mmu);
    return 0;
}

static void need_fsgsbase(struct x86_cpu *cpu)
{
    if (!(cpu->cr4 & CR4_FSGSBASE))
        x86_raise(cpu, X86_UD);
}

uint64_t helper_read_fsgs(struct x86_cpu *cpu, uint64_t seg, uint64_t unused1, uint64_t unused2)
{
    need_fsgsbase(cpu);
    return cpu->seg[seg & 7].base;
}

/* a: segment register, b: value, c: operand size */
uint64_t helper_write_fsgs(struct x86_cpu *cpu, uint64_t seg, uint64_t v, uint64_t size)
{
    need_fsgsbase(cpu);
    v &= size_mask((unsigned)size);
    if (!x86_canonical_wide(cpu, v))
        gp0(cpu);
    cpu->seg[seg & 7].base = v;
    return 0;
}

uint64_t helper_read_seg(struct x86_cpu *cpu, uint64_t seg, uint64_t unused1, uint64_t unused2)
{
    return cpu->seg[seg & 7].sel;
}

uint64_t helper_read_cr(struct x86_cpu *cpu, uint64_t n, uint64_t unused1, uint64_t unused2)
{
    return n == 0 ? cpu->cr0 : n == 2 ? cpu->cr2 : n == 3 ? cpu->cr3 : cpu->cr4;
}

uint64_t helper_write_cr2(struct x86_cpu *cpu, uint64_t v, uint64_t unused1, uint64_t unused2)
{
    cpu->cr2 = v;
    return 0;
}

/* 0 GDT base, 1 GDT limit, 2 IDT base, 3 IDT limit */
uint64_t helper_read_dt(struct x86_cpu *cpu, uint64_t what, uint64_t unused1, uint64_t unused2)
{
    return what == 0 ? cpu->gdt.base : what == 1 ? cpu->gdt.limit : what == 2 ? cpu->idt.base : cpu->idt.limit;
}

/* a: destination, b: source selector; low 16 bits the result, bit 32 ZF */
uint64_t helper_arpl(struct x86_cpu *cpu, uint64_t dst, uint64_t src, uint64_t unused)
{
    return (dst & 3) < (src & 3) ? (dst & 0xfffc) | (src & 3) | BIT(32) : dst & 0xffff;
}
