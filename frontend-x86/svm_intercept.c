/*
 * Is what a guest is about to do intercepted? Helpers that blocks of a guest (XM_GUEST) call before an instruction; the codes come from gen_svm.c.
 *
 * Intercepts come after the exceptions that need no memory operand (privilege, CR4.TSD and the like), which the generator has checked or
 * which are left here to the instruction itself. An intercepted instruction has had no effect: rip and flags are those before it.
 * APM vol. 2 15.9 (instructions), 15.10 (ports), 15.11 (MSRs).
 */
#pragma GCC target("general-regs-only")
#include "core/vm.h"
#include "frontend-x86/helper_int.h"
#include "frontend-x86/helper_sys.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"
#include "frontend-x86/svm.h"
#include "frontend-x86/svm_io.h"

void svm_record_exit(struct x86_cpu *cpu, uint64_t code, uint64_t info1, uint64_t info2, uint64_t next)
{
    struct x86_svm *s = &cpu->svm;
    s->exit_pending = true;
    s->exit_code = code;
    s->exit_info1 = info1;
    s->exit_info2 = info2;
    s->next_rip = next;
}

void svm_raise_exit(struct x86_cpu *cpu, uint64_t code, uint64_t info1, uint64_t info2, uint64_t next)
{
    svm_record_exit(cpu, code, info1, info2, next);
    x86_raise_recorded(cpu);
}

/* The instruction itself will fault. */
static bool faults_first(const struct x86_cpu *cpu, unsigned code)
{
    bool v86_barred = x86_vm86(cpu) && (cpu->rflags & RF_IOPL) != RF_IOPL;
    switch (code) {
    case SVM_RDTSC: case SVM_RDTSCP: return cpu->cpl && cpu->cr4 & CR4_TSD;
    case SVM_RDPMC: return cpu->cpl && !(cpu->cr4 & CR4_PCE);
    case SVM_IDTR_READ: case SVM_GDTR_READ: case SVM_LDTR_READ: case SVM_TR_READ: case SVM_CR_READ: return cpu->cpl && cpu->cr4 & CR4_UMIP;
    case SVM_XSETBV: return !(cpu->cr4 & CR4_OSXSAVE);
    case SVM_PUSHF: case SVM_POPF: case SVM_IRET: case SVM_INTN: return v86_barred;
    case SVM_VMRUN: case SVM_VMLOAD: case SVM_VMSAVE: case SVM_STGI: case SVM_CLGI: case SVM_INVLPGA: return cpu->cpl || !(cpu->efer & EFER_SVME);
    }
    return false;
}

/* a: exit code, b: next rip */
uint64_t helper_svm_check(struct x86_cpu *cpu, uint64_t code, uint64_t next, uint64_t unused)
{
    if (svm_intercepted(cpu, (unsigned)code) && !faults_first(cpu, (unsigned)code))
        svm_raise_exit(cpu, code, 0, 0, next);
    return 0;
}

/* Of a write of CR0 that changes more than TS and MP. a: value, b: next rip, c: 1 LMSW (which writes four bits, and cannot clear PE) */
uint64_t helper_svm_cr0(struct x86_cpu *cpu, uint64_t v, uint64_t next, uint64_t lmsw)
{
    if (lmsw)
        v = (cpu->cr0 & ~0xeull) | (v & 0xf);
    if (svm_intercepted(cpu, SVM_CR0_SEL_WRITE) && (v ^ cpu->cr0) & ~(uint64_t)(CR0_TS | CR0_MP | CR0_ET))
        svm_raise_exit(cpu, SVM_CR0_SEL_WRITE, 0, 0, next);
    return 0;
}

/* a: type, b: linear address of the descriptor, c: next rip. This one tells its operands. */
uint64_t helper_svm_invpcid(struct x86_cpu *cpu, uint64_t type, uint64_t at, uint64_t next)
{
    if (svm_intercepted(cpu, SVM_INVPCID))
        svm_raise_exit(cpu, SVM_INVPCID, at, type, next);
    return 0;
}

/* Two bits an MSR, read and write, in three ranges of 2000h; all others are intercepted. */
static bool msr_intercepted(struct x86_cpu *cpu, uint32_t msr, bool write)
{
    static const uint32_t base[3] = { 0, 0xc0000000u, 0xc0010000u };
    for (unsigned i = 0; i < 3; i++) {
        uint32_t n = msr - base[i];
        if (n < 0x2000)
            return as_read(cpu->vcpu->vm->mem, cpu->svm.msrpm + i * 0x800 + n / 4, 1) >> (n % 4 * 2 + write) & 1;
    }
    return true;
}

/* a: 1 WRMSR, b: next rip */
uint64_t helper_svm_msr(struct x86_cpu *cpu, uint64_t write, uint64_t next, uint64_t unused)
{
    if (svm_intercepted(cpu, SVM_MSR) && msr_intercepted(cpu, (uint32_t)cpu->regs[X86_RCX], write))
        svm_raise_exit(cpu, SVM_MSR, write, 0, next);
    return 0;
}

/* a: port, b: EXITINFO1 without the port, c: next rip. One bit a port; any of those that the access covers. */
uint64_t helper_svm_io(struct x86_cpu *cpu, uint64_t port, uint64_t info, uint64_t next)
{
    unsigned size = info >> SVM_IO_SIZE_SHIFT & 7, as = info >> SVM_IO_ADDR_SHIFT & 7;
    uint64_t count = as == 1 ? cpu->regs[X86_RCX] & 0xffff : as == 2 ? (uint32_t)cpu->regs[X86_RCX] : cpu->regs[X86_RCX];
    port &= 0xffff;
    if (!svm_intercepted(cpu, SVM_IOIO) || (info & SVM_IO_REP && !count))
        return 0;
    x86_io_check(cpu, (unsigned)port, size);
    if (as_read(cpu->vcpu->vm->mem, cpu->svm.iopm + port / 8, 2) >> (port & 7) & ((1u << size) - 1))
        svm_raise_exit(cpu, SVM_IOIO, info | port << 16, next, next);
    return 0;
}

void svm_enabled(struct x86_cpu *cpu)
{
    if (!(cpu->efer & EFER_SVME))
        x86_raise(cpu, X86_UD);
    if (cpu->cpl)
        x86_raise_err(cpu, X86_GP, 0);
}

/* STGI 1, CLGI 0 */
uint64_t helper_set_gif(struct x86_cpu *cpu, uint64_t on, uint64_t unused1, uint64_t unused2)
{
    svm_enabled(cpu);
    cpu->svm.gif = on;
    x86_look_again(cpu);
    return 0;
}
