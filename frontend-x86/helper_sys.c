/*
 * System instructions as helpers: control and debug registers, CPUID, MSRs, HLT, INVLPG, INVPCID, XCR0, software interrupts.
 *
 * Helpers get (cpu, a, b, c) and run with the guest's FPU saved; privilege that depends on the CPL alone is checked by the generator (block
 * key), what depends on values here. A change of what page-table entries mean tells the softmmu; a change of CR3 only switches roots: shadow tables
 * are coherent, so the flushes that the architecture promises have nothing to do. SDM vol. 3 ch. 2.5, 4.10, 17; vol. 2 by name.
 */
#include "frontend-x86/helper_sys.h"
#include "core/vm.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"
#include "frontend-x86/svm.h"
#include "x86/cpuid.h"
#include "x86/xstate.h"

static void __attribute__((noreturn)) gp0(struct x86_cpu *cpu)
{
    x86_raise_err(cpu, X86_GP, 0);
}

/* ---- CR0, CR3, CR4, CR8 ---- */
/* PAE: the PDPTEs are loaded into registers and checked; under nested paging they are entries like others. The softmmu follows the table in memory; what it learned while that differed goes. */
void x86_set_pdptes(struct x86_cpu *cpu, uint64_t cr3)
{
    if (svm_nested(cpu))
        return;
    if (x86_load_pdptes(cpu, cpu->vcpu->vm->mem, cr3))
        gp0(cpu);
    if (cpu->pdpte_stale)
        mmu_flush_all(x86_mmu(cpu));
    cpu->pdpte_stale = false;
}

static bool uses_pae(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LME);
}

void x86_world_pdptes(struct x86_cpu *cpu)
{
    if (svm_nested(cpu) || !uses_pae(cpu->cr0, cpu->cr4, cpu->efer))
        return;
    x86_load_pdptes(cpu, cpu->vcpu->vm->mem, cpu->cr3);
    if (cpu->pdpte_stale)
        mmu_flush_all(x86_mmu(cpu));
    cpu->pdpte_stale = false;
}

uint64_t helper_write_cr0(struct x86_cpu *cpu, uint64_t v, uint64_t unused1, uint64_t unused2)
{
    uint64_t known = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;
    if (v >> 32 || ((v & CR0_PG) && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD)))
        gp0(cpu);
    v = (v & known) | CR0_ET;
    uint64_t diff = v ^ cpu->cr0;
    if ((diff & CR0_PG) && (v & CR0_PG) && (cpu->efer & EFER_LME) && (!(cpu->cr4 & CR4_PAE) || (cpu->seg[X86_CS].attr & SEG_L)))
        gp0(cpu);
    if ((diff & CR0_PG) && !(v & CR0_PG) && ((cpu->cr4 & CR4_PCIDE) || x86_code64(cpu)))
        gp0(cpu);
    if ((diff & (CR0_PG | CR0_CD | CR0_NW)) && uses_pae(v, cpu->cr4, cpu->efer))
        x86_set_pdptes(cpu, cpu->cr3);
    cpu->cr0 = v;
    if (diff & CR0_PG)
        cpu->efer = (v & CR0_PG) && (cpu->efer & EFER_LME) ? cpu->efer | EFER_LMA : cpu->efer & ~(uint64_t)EFER_LMA;
    if (diff & (CR0_PG | CR0_WP))
        x86_paging_changed(cpu);
    mmu_set_mode(x86_mmu(cpu));
    return 0;
}

uint64_t helper_clts(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    cpu->cr0 &= ~(uint64_t)CR0_TS;
    return 0;
}

/* Outside long mode; helper_write_cr3_long is the other. */
uint64_t helper_write_cr3(struct x86_cpu *cpu, uint64_t v, uint64_t unused1, uint64_t unused2)
{
    if (uses_pae(cpu->cr0, cpu->cr4, cpu->efer))
        x86_set_pdptes(cpu, v);
    cpu->cr3 = v;
    cpu->vcpu->n.cr3_writes++;
    mmu_set_root(x86_mmu(cpu));
    return 0;
}

uint64_t x86_cr4_known(const struct x86_cpuid *id)
{
    static const struct { uint8_t feat; uint32_t bits; } row[] = {
        { FEAT_vme, CR4_VME | CR4_PVI }, { FEAT_tsc, CR4_TSD }, { FEAT_de, CR4_DE }, { FEAT_pse, CR4_PSE }, { FEAT_pae, CR4_PAE }, { FEAT_mce, CR4_MCE },
        { FEAT_pge, CR4_PGE }, { FEAT_cmov, CR4_PCE }, { FEAT_fxsr, CR4_OSFXSR }, { FEAT_sse, CR4_OSXMMEXCPT }, { FEAT_umip, CR4_UMIP },
        { FEAT_fsgsbase, CR4_FSGSBASE }, { FEAT_pcid, CR4_PCIDE }, { FEAT_xsave, CR4_OSXSAVE }, { FEAT_smep, CR4_SMEP }, { FEAT_smap, CR4_SMAP },
        { FEAT_la57, CR4_LA57 }, { FEAT_pku, CR4_PKE } };
    uint64_t known = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(row); i++)
        known |= x86_has(id, row[i].feat) ? row[i].bits : 0;
    return known;
}

uint64_t helper_write_cr4(struct x86_cpu *cpu, uint64_t v, uint64_t unused1, uint64_t unused2)
{
    uint64_t diff = v ^ cpu->cr4;
    if (v & ~x86_cr4_known(cpu->cpuid))
        gp0(cpu);
    if (x86_long_mode(cpu) && (!(v & CR4_PAE) || (diff & CR4_LA57)))
        gp0(cpu);
    if ((diff & v & CR4_PCIDE) && (!x86_long_mode(cpu) || (cpu->cr3 & 0xfff)))
        gp0(cpu);
    if ((diff & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) && uses_pae(cpu->cr0, v, cpu->efer))
        x86_set_pdptes(cpu, cpu->cr3);
    cpu->cr4 = v;
    if (diff & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PCIDE | CR4_LA57 | CR4_PKE)) {
        x86_paging_changed(cpu);
        mmu_set_mode(x86_mmu(cpu));
    }
    return 0;
}

uint64_t helper_read_cr8(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    const struct vcpu_intc *ic = &cpu->vcpu->intc;
    if (cpu->svm.guest && cpu->svm.int_ctl & SVM_V_MASKING)
        return cpu->svm.int_ctl & 15;
    return ic->get_tpr ? ic->get_tpr(ic->opaque) : 0;
}

uint64_t helper_write_cr8(struct x86_cpu *cpu, uint64_t v, uint64_t unused1, uint64_t unused2)
{
    const struct vcpu_intc *ic = &cpu->vcpu->intc;
    if (v > 15)
        gp0(cpu);
    if (cpu->svm.guest)
        cpu->svm.int_ctl = (cpu->svm.int_ctl & ~SVM_V_TPR) | (uint32_t)v;
    if (ic->set_tpr && !(cpu->svm.guest && cpu->svm.int_ctl & SVM_V_MASKING))
        ic->set_tpr(ic->opaque, v);
    x86_after_transfer(cpu);                       /* a virtual interrupt may be above it now */
    return 0;
}

/* ---- debug registers ---- */
static unsigned dr_number(struct x86_cpu *cpu, unsigned n)
{
    if ((n == 4 || n == 5) && (cpu->cr4 & CR4_DE))
        x86_raise(cpu, X86_UD);
    if (cpu->dr[7] & 0x2000) {                     /* GD: debug registers are guarded */
        x86_record_db(cpu, 0);
        cpu->dr[6] |= 0x2000;
        cpu->exc_rf = true;
        x86_raise_recorded(cpu);
    }
    return n == 4 || n == 5 ? n + 2 : n;
}

uint64_t helper_read_dr(struct x86_cpu *cpu, uint64_t n, uint64_t unused1, uint64_t unused2)
{
    return cpu->dr[dr_number(cpu, (unsigned)n & 7)];
}

uint64_t helper_write_dr(struct x86_cpu *cpu, uint64_t n, uint64_t v, uint64_t unused)
{
    unsigned i = dr_number(cpu, (unsigned)n & 7);
    if (i >= 6 && v >> 32)
        gp0(cpu);
    cpu->dr[i] = i == 6 ? (v & 0xe00f) | 0xffff0ff0 : i == 7 ? (v & 0xffff23ff) | 0x400 : v;
    cpu->rflags &= ~(uint64_t)RF_RF;
    return 0;
}

/* ---- CPUID, MSRs, XCR0 ---- */
static void set_edx_eax(struct x86_cpu *cpu, uint64_t v)
{
    cpu->regs[X86_RAX] = (uint32_t)v;
    cpu->regs[X86_RDX] = v >> 32;
}

static uint64_t edx_eax(const struct x86_cpu *cpu)
{
    return (uint32_t)cpu->regs[X86_RAX] | cpu->regs[X86_RDX] << 32;
}

uint64_t helper_cpuid(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint32_t out[4];
    cpu->vcpu->n.cpuid++;
    x86_cpuid(cpu, (uint32_t)cpu->regs[X86_RAX], (uint32_t)cpu->regs[X86_RCX], out);
    cpu->regs[X86_RAX] = out[0];
    cpu->regs[X86_RBX] = out[1];
    cpu->regs[X86_RCX] = out[2];
    cpu->regs[X86_RDX] = out[3];
    return 0;
}

uint64_t helper_rdmsr(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint64_t v;
    cpu->vcpu->n.rdmsr++;
    if (x86_rdmsr(cpu, (uint32_t)cpu->regs[X86_RCX], &v))
        gp0(cpu);
    set_edx_eax(cpu, v);
    return 0;
}

uint64_t helper_wrmsr(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint64_t efer = cpu->efer;
    cpu->vcpu->n.wrmsr++;
    if (x86_wrmsr(cpu, (uint32_t)cpu->regs[X86_RCX], edx_eax(cpu)))
        gp0(cpu);
    if ((efer ^ cpu->efer) & EFER_NXE)
        x86_paging_changed(cpu);
    x86_after_transfer(cpu);
    return 0;
}

uint64_t helper_xsetbv(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint64_t v = edx_eax(cpu), zmm = v & X86_XS_AVX512;
    if ((uint32_t)cpu->regs[X86_RCX] || (v & ~x86_xcr0_valid(cpu->cpuid)) || !(v & 1) || (v & 6) == 4)
        gp0(cpu);
    if (zmm && (zmm != X86_XS_AVX512 || (v & 6) != 6))
        gp0(cpu);
    cpu->xcr0 = v;                   /* the FPU is in memory: what it holds next, it holds for these components */
    return 0;
}

/* ---- waiting, TLB ---- */
uint64_t helper_hlt(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    cpu->intr_shadow = cpu->ss_shadow = false;
    cpu->vcpu->halted = true;
    x86_pmu_halt(cpu, true);
    cpu->vcpu->n.hlt++;
    return 0;
}

uint64_t helper_invlpg(struct x86_cpu *cpu, uint64_t va, uint64_t unused1, uint64_t unused2)
{
    if (!x86_long_mode(cpu) || x86_canonical_wide(cpu, va))
        mmu_flush_page(x86_mmu(cpu), va);
    cpu->vcpu->n.invlpg++;
    return 0;
}

/* a: type, b: linear address of the descriptor */
uint64_t helper_invpcid(struct x86_cpu *cpu, uint64_t type, uint64_t at, uint64_t unused)
{
    uint64_t d[2];
    mmu_ld_mem(x86_mmu(cpu), at, d, 16, x86_stack_mode(cpu, cpu->cpl));
    if (type > 3 || d[0] >> 12 || (type < 2 && d[0] && !(cpu->cr4 & CR4_PCIDE)))
        gp0(cpu);
    if (type == 0 && x86_long_mode(cpu) && !x86_canonical_wide(cpu, d[1]))
        gp0(cpu);
    if (type == 0)
        mmu_flush_page(x86_mmu(cpu), d[1]);
    else
        mmu_set_root(x86_mmu(cpu));
    return 0;
}

/* ---- interrupts by software, traps ---- */
/* a: vector, b: next rip, c: 2 INT n, 1 INT3 and INTO, 0 INT1. The fault unwinding puts rip back to the instruction, in case its gate faults. */
uint64_t helper_int_n(struct x86_cpu *cpu, uint64_t vector, uint64_t next, uint64_t soft)
{
    x86_record_soft(cpu, (unsigned)vector & 0xff, next, (unsigned)soft);
    x86_raise_recorded(cpu);
}

/*
 * After an instruction under TF or with breakpoints (ir_setpc(next) before, ir_exit after): single step, watched data. MOV SS and POP SS hold
 * both off. how: 1 RF stays (IRET: it is for the next instruction), 2 TF was set when the instruction began. next: where it ends unless it
 * branches: DEBUGCTL.BTF wants traps for branches alone.
 */
uint64_t helper_single_step(struct x86_cpu *cpu, uint64_t how, uint64_t next, uint64_t unused)
{
    bool trap = (how & 2) && !((cpu->debugctl & DEBUGCTL_BTF) && cpu->rip == next);
    uint32_t bits = (trap ? 0x4000 : 0) | (uint32_t)(cpu->dr[4] & 15);
    if (!(how & 1))
        cpu->rflags &= ~(uint64_t)RF_RF;
    if (cpu->ss_shadow || cpu->exc_pending)
        return 0;
    cpu->dr[4] = 0;
    if (bits)
        x86_record_db(cpu, bits);
    return 0;
}

uint64_t helper_raise(struct x86_cpu *cpu, uint64_t vector, uint64_t unused1, uint64_t unused2)
{
    x86_raise(cpu, (unsigned)vector);
}

uint64_t helper_raise_gp0(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    gp0(cpu);
}

/* ---- descriptor table registers: a base, b limit ---- */
uint64_t helper_set_gdt(struct x86_cpu *cpu, uint64_t base, uint64_t limit, uint64_t unused)
{
    if (x86_code64(cpu) && !x86_canonical_wide(cpu, base))
        gp0(cpu);
    cpu->gdt.base = base;
    cpu->gdt.limit = limit & 0xffff;
    return 0;
}

uint64_t helper_set_idt(struct x86_cpu *cpu, uint64_t base, uint64_t limit, uint64_t unused)
{
    if (x86_code64(cpu) && !x86_canonical_wide(cpu, base))
        gp0(cpu);
    cpu->idt.base = base;
    cpu->idt.limit = limit & 0xffff;
    return 0;
}

/* LMSW may set PE but not clear it. */
uint64_t helper_lmsw(struct x86_cpu *cpu, uint64_t v, uint64_t unused1, uint64_t unused2)
{
    return helper_write_cr0(cpu, (cpu->cr0 & ~0xeull) | (v & 0xf), 0, 0);
}
