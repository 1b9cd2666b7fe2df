/*
 * #VMEXIT, and the events that cause it or are delivered to a guest: external and virtual interrupts, exceptions, injected events.
 *
 * Everything here runs at an instruction boundary (deliver.c). The guest's state goes into its VMCB, the host's comes back from svm.host, and GIF is
 * clear until the host says STGI. An event whose delivery was under way is told in EXITINTINFO. APM vol. 2 15.6, 15.7, 15.12, 15.20, 15.21.
 */
#include "core/vm.h"
#include "core/log.h"
#include "frontend-x86/deliver.h"
#include "frontend-x86/seg.h"
#include "frontend-x86/helper_sys.h"
#include "frontend-x86/svm.h"
#include "x86/cpuid.h"
#include <string.h>

static void put64(uint8_t *vmcb, unsigned at, uint64_t v) { memcpy(vmcb + at, &v, 8); }
static void put32(uint8_t *vmcb, unsigned at, uint32_t v) { memcpy(vmcb + at, &v, 4); }

static void store_guest(const struct x86_cpu *cpu, uint8_t *v)
{
    const struct x86_svm *s = &cpu->svm;
    svm_save(cpu, v, VMCB_RUN | (s->np ? VMCB_NESTED : 0));
    put64(v, 0x570, x86_get_rflags(cpu));
    put32(v, VMCB_INT_CTL, s->int_ctl);
    put64(v, VMCB_INT_STATE, cpu->intr_shadow || s->shadow);
    put64(v, VMCB_EXIT_CODE, s->exit_code);
    put64(v, VMCB_EXIT_INFO1, s->exit_info1);
    put64(v, VMCB_EXIT_INFO2, s->exit_info2);
    put64(v, VMCB_EXIT_INT_INFO, s->delivering);
    put64(v, VMCB_EVENT_INJ, 0);
    put32(v, VMCB_TLB_CONTROL, 0);
    put64(v, VMCB_NEXT_RIP, x86_has(cpu->cpuid, FEAT_nrip_save) ? s->next_rip : 0);
}

static void load_host(struct x86_cpu *cpu)
{
    const struct x86_svm *s = &cpu->svm;
    memcpy(&cpu->seg[X86_ES], s->host.seg, sizeof(s->host.seg));
    cpu->gdt = s->host.gdt;
    cpu->idt = s->host.idt;
    cpu->efer = s->host.efer;
    cpu->cr0 = s->host.cr0;
    cpu->cr3 = s->host.cr3;
    cpu->cr4 = s->host.cr4;
    cpu->pat = s->host.pat;
    x86_set_rflags(cpu, s->host.rflags & ~(uint64_t)RF_RF);
    cpu->rip = s->host.rip;
    cpu->regs[X86_RSP] = s->host.rsp;
    cpu->regs[X86_RAX] = s->host.rax;
    cpu->cpl = 0;
    cpu->dr[7] = 0x400;
}

void svm_vmexit(struct x86_cpu *cpu)
{
    struct x86_svm *s = &cpu->svm;
    uint8_t *v = svm_vmcb(cpu, s->vmcb);
    if (log_on(LOG_INT))
        log_printf("vmexit %llx info %llx %llx event %llx ip %04x:%llx asid %u\n", (unsigned long long)s->exit_code,
                   (unsigned long long)s->exit_info1, (unsigned long long)s->exit_info2, (unsigned long long)s->delivering,
                   cpu->seg[X86_CS].sel, (unsigned long long)cpu->rip, s->asid);
    store_guest(cpu, v);
    as_cpu_dirty(cpu->vcpu->vm->mem, s->vmcb, 0x700);
    s->guest = s->gif = s->exit_pending = s->np = s->shadow = false;
    s->inject = s->delivering = 0;
    load_host(cpu);
    cpu->intr_shadow = cpu->ss_shadow = cpu->exc_pending = cpu->exc_ext = false;
    cpu->exc_delivering = 0xff;
    cpu->vcpu->halted = false;
    x86_world_pdptes(cpu);
    mmu_set_root(x86_mmu(cpu));
    x86_after_transfer(cpu);
}

bool svm_take(struct x86_cpu *cpu, unsigned code)
{
    if (!svm_intercepted(cpu, code))
        return false;
    svm_record_exit(cpu, code, 0, 0, 0);
    svm_vmexit(cpu);
    return true;
}

void svm_event(struct x86_cpu *cpu, unsigned type, unsigned vector, bool has_error, uint32_t error)
{
    cpu->svm.delivering = vector | type << 8 | (has_error ? SVM_EV_HAS_ERROR : 0) | SVM_EV_VALID | (uint64_t)(has_error ? error : 0) << 32;
}

/* INT n is no exception, whatever its vector. DR6 has been written by now, CR2 not yet. */
bool svm_exception(struct x86_cpu *cpu)
{
    unsigned v = cpu->exc_vector;
    if (cpu->exc_soft == 2 || v > 31 || !svm_intercepted(cpu, SVM_EXCP + v))
        return false;
    svm_record_exit(cpu, SVM_EXCP + v, cpu->exc_has_error ? cpu->exc_error : 0, v == X86_PF ? cpu->exc_cr2 : 0, cpu->exc_next_rip);
    svm_vmexit(cpu);
    return true;
}

void svm_inject(struct x86_cpu *cpu)
{
    uint64_t e = cpu->svm.inject;
    unsigned type = SVM_EV_TYPE(e), vector = type == SVM_EV_NMI ? X86_NMI : e & 0xff;
    bool has_error = type == SVM_EV_EXCEPTION && e & SVM_EV_HAS_ERROR, soft = type == SVM_EV_SOFT;
    bool next = soft || (type == SVM_EV_EXCEPTION && (vector == X86_BP || vector == X86_OF));
    cpu->svm.inject = 0;
    cpu->svm.delivering = e & ~(has_error ? 0 : SVM_EV_HAS_ERROR | ~0ull << 32);
    cpu->exc_delivering = type == SVM_EV_EXCEPTION ? (uint8_t)vector : 0xff;
    cpu->exc_ext = !soft;
    if (log_on(LOG_INT))
        log_printf("inject %llx ip %04x:%llx\n", (unsigned long long)e, cpu->seg[X86_CS].sel, (unsigned long long)cpu->rip);
    x86_interrupt(cpu, vector, soft, has_error, (uint32_t)(e >> 32), next ? cpu->svm.inject_rip : cpu->rip);
}

bool svm_virtual_intr(struct x86_cpu *cpu)
{
    struct x86_svm *s = &cpu->svm;
    unsigned prio = s->int_ctl >> SVM_V_PRIO_SHIFT & 15, vector = s->int_vector & 0xff;
    if (!svm_virq(cpu) || !s->gif || !(cpu->rflags & RF_IF) || (!(s->int_ctl & SVM_V_IGN_TPR) && prio <= (s->int_ctl & 15)))
        return false;
    if (svm_take(cpu, SVM_VINTR))
        return true;
    s->int_ctl &= ~SVM_V_IRQ;
    cpu->vcpu->halted = false;
    cpu->exc_ext = true;
    cpu->exc_delivering = 0xff;
    svm_event(cpu, SVM_EV_INTR, vector, false, 0);
    x86_interrupt(cpu, vector, false, false, 0, cpu->rip);
    return true;
}
