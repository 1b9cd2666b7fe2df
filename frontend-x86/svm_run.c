/*
 * VMRUN, VMLOAD and VMSAVE: checks, saving the host, loading the guest.
 *
 * What VMRUN saves of the host stays in the CPU state (svm.host) instead of the page that VM_HSAVE_PA names, as the architecture allows. A
 * VMCB that is not consistent ends as #VMEXIT(INVALID) before anything was loaded. The event to inject is delivered by the run loop,
 * which comes next, so that its faults have the guest's exact state. APM vol. 2 15.5, 15.15 (clean bits: we always load), 15.20, appendix B.
 */
#include "core/vm.h"
#include "frontend-x86/helper_sys.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"
#include "frontend-x86/svm.h"
#include "x86/cpuid.h"
#include <string.h>

static uint64_t get64(const uint8_t *vmcb, unsigned at)
{
    uint64_t v;
    memcpy(&v, vmcb + at, 8);
    return v;
}

static uint32_t get32(const uint8_t *vmcb, unsigned at)
{
    uint32_t v;
    memcpy(&v, vmcb + at, 4);
    return v;
}

uint8_t *svm_vmcb(struct x86_cpu *cpu, uint64_t addr)
{
    size_t len = PAGE_SIZE;
    uint8_t *p = addr & ~PAGE_MASK || addr >> X86_PHYS_BITS ? NULL : as_dma_ptr(cpu->vcpu->vm->mem, addr, &len, true);
    if (!p || len < PAGE_SIZE)
        x86_raise_err(cpu, X86_GP, 0);
    return p;
}

/* ---- the state-save area (x86/svm.def) ---- */
static void load_seg(struct x86_seg *s, const uint8_t *p)
{
    uint32_t attr = p[2] | (p[3] & 0xfu) << 8;
    s->sel = (uint16_t)(p[0] | p[1] << 8);
    s->attr = (attr & 0xff) << 8 | (attr & 0xf00) << 12;
    s->limit = get32(p, 4);
    s->base = get64(p, 8);
}

static void save_seg(const struct x86_seg *s, uint8_t *p)
{
    uint16_t attr = (uint16_t)((s->attr >> 8 & 0xff) | (s->attr >> 12 & 0xf00));
    memcpy(p, &s->sel, 2);
    memcpy(p + 2, &attr, 2);
    memcpy(p + 4, &s->limit, 4);
    memcpy(p + 8, &s->base, 8);
}

void svm_load(struct x86_cpu *cpu, const uint8_t *vmcb, unsigned set)
{
#define VMCB_SEG(at, seg_, s) if (set & s) load_seg(&cpu->seg[seg_], vmcb + at);
#define VMCB_DTR(at, field, s) if (set & s) { cpu->field.limit = get32(vmcb, at + 4) & 0xffff; cpu->field.base = get64(vmcb, at + 8); }
#define VMCB_REG(at, size, field, s) if (set & s) memcpy(&cpu->field, vmcb + at, size);
#include "x86/svm.def"
#undef VMCB_SEG
#undef VMCB_DTR
#undef VMCB_REG
}

void svm_save(const struct x86_cpu *cpu, uint8_t *vmcb, unsigned set)
{
#define VMCB_SEG(at, seg_, s) if (set & s) save_seg(&cpu->seg[seg_], vmcb + at);
#define VMCB_DTR(at, field, s) if (set & s) { memcpy(vmcb + at + 4, &cpu->field.limit, 4); memcpy(vmcb + at + 8, &cpu->field.base, 8); }
#define VMCB_REG(at, size, field, s) if (set & s) memcpy(vmcb + at, &cpu->field, size);
#include "x86/svm.def"
#undef VMCB_SEG
#undef VMCB_DTR
#undef VMCB_REG
}

/* ---- VMRUN ---- */
enum { AT_CS_ATTR = 0x412, AT_EFER = 0x4d0, AT_CR4 = 0x548, AT_CR3 = 0x550, AT_CR0 = 0x558, AT_DR7 = 0x560, AT_DR6 = 0x568, AT_RFLAGS = 0x570 };

static bool modes_ok(const struct x86_cpu *cpu, const uint8_t *v)
{
    uint64_t cr0 = get64(v, AT_CR0), cr3 = get64(v, AT_CR3), cr4 = get64(v, AT_CR4), efer = get64(v, AT_EFER);
    uint64_t efer_known = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_SVME;
    bool lme = efer & EFER_LME && cr0 & CR0_PG;
    unsigned cs = v[AT_CS_ATTR] | v[AT_CS_ATTR + 1] << 8;
    if (!(efer & EFER_SVME) || efer & ~efer_known || cr0 >> 32 || ((cr0 & CR0_NW) && !(cr0 & CR0_CD)) || cr4 & ~x86_cr4_known(cpu->cpuid))
        return false;
    if (lme && (!(cr4 & CR4_PAE) || !(cr0 & CR0_PE) || (cs & 0x600) == 0x600 || cr3 >> X86_PHYS_BITS))
        return false;
    return !(get64(v, AT_DR6) >> 32) && !(get64(v, AT_DR7) >> 32);
}

static bool event_ok(uint64_t e)
{
    unsigned type = SVM_EV_TYPE(e), vector = e & 0xff;
    if (!(e & SVM_EV_VALID))
        return true;
    return type == SVM_EV_INTR || type == SVM_EV_NMI || type == SVM_EV_SOFT || (type == SVM_EV_EXCEPTION && vector < 32 && vector != X86_NMI);
}

static bool nested_wanted(const struct x86_cpu *cpu, const uint8_t *v)
{
    return v[VMCB_NP] & 1 && x86_has(cpu->cpuid, FEAT_npt);
}

static bool control_ok(const struct x86_cpu *cpu, const uint8_t *v)
{
    uint64_t limit = BIT(X86_PHYS_BITS);
    bool vmrun = get32(v, VMCB_INTERCEPT + 4 * (SVM_VMRUN / 32)) >> (SVM_VMRUN % 32) & 1;
    if (!vmrun || !get32(v, VMCB_ASID) || get32(v, VMCB_ASID) >= SVM_ASIDS)
        return false;
    if ((get64(v, VMCB_IOPM) & PAGE_MASK) + 0x3000 > limit || (get64(v, VMCB_MSRPM) & PAGE_MASK) + 0x2000 > limit)
        return false;
    return event_ok(get64(v, VMCB_EVENT_INJ)) && (!nested_wanted(cpu, v) || !(get64(v, VMCB_NCR3) >> X86_PHYS_BITS));
}

static void save_host(struct x86_cpu *cpu, uint64_t next)
{
    struct x86_svm *s = &cpu->svm;
    memcpy(s->host.seg, &cpu->seg[X86_ES], sizeof(s->host.seg));
    s->host.gdt = cpu->gdt;
    s->host.idt = cpu->idt;
    s->host.efer = cpu->efer;
    s->host.cr0 = cpu->cr0;
    s->host.cr3 = cpu->cr3;
    s->host.cr4 = cpu->cr4;
    s->host.pat = cpu->pat;
    s->host.rflags = x86_get_rflags(cpu);
    s->host.rip = next;
    s->host.rsp = cpu->regs[X86_RSP];
    s->host.rax = cpu->regs[X86_RAX];
}

static void load_control(struct x86_cpu *cpu, const uint8_t *v)
{
    struct x86_svm *s = &cpu->svm;
    memcpy(s->intercept, v + VMCB_INTERCEPT, sizeof(s->intercept));
    s->iopm = get64(v, VMCB_IOPM) & PAGE_MASK;
    s->msrpm = get64(v, VMCB_MSRPM) & PAGE_MASK;
    s->tsc_offset = get64(v, VMCB_TSC_OFFSET);
    s->asid = get32(v, VMCB_ASID);
    s->int_ctl = get32(v, VMCB_INT_CTL);
    s->int_vector = get32(v, VMCB_INT_VECTOR);
    s->np = nested_wanted(cpu, v);
    s->ncr3 = s->np ? get64(v, VMCB_NCR3) : 0;
    s->inject = get64(v, VMCB_EVENT_INJ);
    s->inject_rip = x86_has(cpu->cpuid, FEAT_nrip_save) ? get64(v, VMCB_NEXT_RIP) : get64(v, 0x578);
    s->delivering = 0;
    if (!(s->inject & SVM_EV_VALID))
        s->inject = 0;
    unsigned tlb = v[VMCB_TLB_CONTROL];
    if (tlb)
        svm_flush(cpu, tlb == 1 ? 0 : s->asid);
}

static void load_guest(struct x86_cpu *cpu, const uint8_t *v)
{
    svm_load(cpu, v, VMCB_RUN | (cpu->svm.np ? VMCB_NESTED : 0));
    x86_set_rflags(cpu, get64(v, AT_RFLAGS) & 0x3f7fd7);
    cpu->cr0 |= CR0_ET;
    cpu->efer &= ~(uint64_t)EFER_LMA;
    if (cpu->efer & EFER_LME && cpu->cr0 & CR0_PG)
        cpu->efer |= EFER_LMA;
    cpu->cpl = !(cpu->cr0 & CR0_PE) ? 0 : x86_vm86(cpu) ? 3 : cpu->cpl & 3;
    cpu->dr[4] = 0;                                /* hits of the host's breakpoints (fast_sys.c) */
    cpu->dr[6] = (cpu->dr[6] & 0xe00f) | 0xffff0ff0;
    cpu->dr[7] = (cpu->dr[7] & 0xffff23ff) | 0x400;
    cpu->intr_shadow = v[VMCB_INT_STATE] & 1;
    cpu->ss_shadow = false;
}

/* a: physical address of the VMCB, b: next rip. The block ends with an exit to the run loop. */
uint64_t helper_vmrun(struct x86_cpu *cpu, uint64_t addr, uint64_t next, uint64_t unused)
{
    svm_enabled(cpu);
    uint8_t *v = svm_vmcb(cpu, addr);
    if (!control_ok(cpu, v) || !modes_ok(cpu, v)) {
        uint64_t code = SVM_INVALID;
        memcpy(v + VMCB_EXIT_CODE, &code, 8);
        as_cpu_dirty(cpu->vcpu->vm->mem, addr + VMCB_EXIT_CODE, 8);
        cpu->rip = next;
        cpu->svm.gif = false;
        return 0;
    }
    save_host(cpu, next);
    cpu->svm.vmcb = addr;
    load_control(cpu, v);
    load_guest(cpu, v);
    cpu->svm.guest = cpu->svm.gif = true;
    svm_set_context(cpu);
    x86_world_pdptes(cpu);
    mmu_set_root(x86_mmu(cpu));
    x86_after_transfer(cpu);
    return 0;
}

/* a: physical address of the VMCB, b: 1 save, 0 load */
uint64_t helper_vmload(struct x86_cpu *cpu, uint64_t addr, uint64_t save, uint64_t unused)
{
    svm_enabled(cpu);
    uint8_t *v = svm_vmcb(cpu, addr);
    if (save) {
        svm_save(cpu, v, VMCB_LOAD);
        as_cpu_dirty(cpu->vcpu->vm->mem, addr + 0x400, 0x300);
    } else {
        svm_load(cpu, v, VMCB_LOAD);
    }
    return 0;
}

/* a: linear address, b: ASID. A guest's own tables are tracked; what nested ones said of that address is not known by address. */
uint64_t helper_invlpga(struct x86_cpu *cpu, uint64_t va, uint64_t asid, uint64_t unused)
{
    svm_enabled(cpu);
    if ((uint32_t)asid)
        svm_flush(cpu, (uint32_t)asid);
    else
        mmu_flush_page(x86_mmu(cpu), va);
    return 0;
}
