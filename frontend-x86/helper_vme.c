/*
 * The virtual interrupt flag: virtual-8086 mode with CR4.VME and an IOPL below 3, and CLI and STI of ring 3 under CR4.PVI. In these modes the
 * generators call here where they otherwise would raise #GP(0): CR4 is no part of the block's key. VIF stands for IF; a program that sets it
 * while VIP is set goes to its monitor by #GP(0). SDM vol. 3 ch. 20.3, 20.4, vol. 2 by name.
 */
#include "frontend-x86/helper_int.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"

static void __attribute__((noreturn)) gp0(struct x86_cpu *cpu)
{
    x86_raise_err(cpu, X86_GP, 0);
}

static void set_vif(struct x86_cpu *cpu, bool on)
{
    if (on && (cpu->rflags & RF_VIP))
        gp0(cpu);
    cpu->rflags = on ? cpu->rflags | RF_VIF : cpu->rflags & ~(uint64_t)RF_VIF;
}

/* CLI (0) and STI (1) with too low an IOPL. */
uint64_t helper_virtual_if(struct x86_cpu *cpu, uint64_t on, uint64_t unused1, uint64_t unused2)
{
    bool pvi = !x86_vm86(cpu) && cpu->cpl == 3 && (cpu->cr4 & CR4_PVI);
    if (!pvi && !x86_vme(cpu))
        gp0(cpu);
    set_vif(cpu, on);
    return 0;
}

static uint64_t virtual_flags(struct x86_cpu *cpu)
{
    uint64_t f = x86_get_rflags(cpu) & ~(uint64_t)RF_IF;
    return f | RF_IOPL | (f & RF_VIF ? RF_IF : 0);
}

/* PUSHF with an IOPL below 3: the image. a: operand size */
uint64_t helper_pushf_vme(struct x86_cpu *cpu, uint64_t size, uint64_t unused1, uint64_t unused2)
{
    if (!x86_vme(cpu) || size != 2)
        gp0(cpu);
    return virtual_flags(cpu);
}

void x86_set_flags_vme(struct x86_cpu *cpu, uint64_t image)
{
    uint64_t mask = RF_ARITH | RF_DF | RF_NT;
    if (image & RF_TF)
        gp0(cpu);
    set_vif(cpu, image & RF_IF);
    x86_set_rflags(cpu, (x86_get_rflags(cpu) & ~(mask | RF_TF)) | (image & mask));
}

/* POPF with an IOPL below 3. The stack pointer moves here: nothing may have been written when it faults. a: image, b: operand size */
uint64_t helper_popf_vme(struct x86_cpu *cpu, uint64_t image, uint64_t size, uint64_t unused)
{
    if (!x86_vme(cpu) || size != 2)
        gp0(cpu);
    x86_set_flags_vme(cpu, image);
    return 0;
}

/* The bit of VECTOR in the 32 bytes before the I/O permission map: clear means that the program's own table has the handler. */
static bool redirected(struct x86_cpu *cpu, unsigned vector)
{
    const struct x86_seg *t = &cpu->seg[X86_TR];
    if (!(t->attr & 0x800) || t->limit < 0x67)
        gp0(cpu);
    uint32_t at = (uint32_t)x86_ld(cpu, t->base + 0x66, 2, x86_sys_mode(cpu)) - 32 + vector / 8;
    if (at > t->limit)
        gp0(cpu);
    return !(x86_ld(cpu, t->base + at, 1, x86_sys_mode(cpu)) >> (vector & 7) & 1);
}

/* As in real mode, on the program's stack. */
static void to_program(struct x86_cpu *cpu, unsigned vector, uint64_t next)
{
    bool own_if = (cpu->rflags & RF_IOPL) == RF_IOPL;
    uint32_t entry = (uint32_t)x86_ld(cpu, vector * 4, 4, x86_sys_mode(cpu));
    struct x86_stack st = x86_stack_now(cpu, cpu->cpl);
    x86_push(cpu, &st, 2, own_if ? x86_get_rflags(cpu) : virtual_flags(cpu));
    x86_push(cpu, &st, 2, cpu->seg[X86_CS].sel);
    x86_push(cpu, &st, 2, next);
    x86_stack_commit(cpu, &st);
    cpu->rflags &= ~(uint64_t)(RF_TF | RF_RF | (own_if ? RF_IF : RF_VIF));
    x86_seg_set_v86(cpu, X86_CS, entry >> 16);
    cpu->rip = entry & 0xffff;
    x86_after_transfer(cpu);
}

/* INT n in virtual-8086 mode: to the program's handler, or to the monitor. a: vector, b: next ip */
uint64_t helper_int_v86(struct x86_cpu *cpu, uint64_t vector, uint64_t next, uint64_t unused)
{
    if ((cpu->cr4 & CR4_VME) && redirected(cpu, (unsigned)vector)) {
        to_program(cpu, (unsigned)vector, next);
        return 0;
    }
    if ((cpu->rflags & RF_IOPL) != RF_IOPL)
        gp0(cpu);
    x86_record_soft(cpu, (unsigned)vector, next, 2);
    x86_raise_recorded(cpu);
}
