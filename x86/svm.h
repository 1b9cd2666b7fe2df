/*
 * AMD's secure virtual machine as facts: exit codes, fields of the VMCB's control area, bits of its words. The state-save area is the table
 * svm.def; the state of the processor is struct x86_svm (cpu.h). AMD APM vol. 2 ch. 15, appendices B (VMCB layout) and C (exit codes).
 */
#ifndef X86_SVM_H
#define X86_SVM_H
#include "x86/cpu.h"

/* Exit codes. Below A8h they number the bits of the intercept words too: bit n % 32 of word n / 32. */
enum {
    SVM_CR_READ = 0x00, SVM_CR_WRITE = 0x10, SVM_DR_READ = 0x20, SVM_DR_WRITE = 0x30, SVM_EXCP = 0x40, SVM_INTR = 0x60, SVM_NMI, SVM_SMI, SVM_INIT,
    SVM_VINTR, SVM_CR0_SEL_WRITE, SVM_IDTR_READ, SVM_GDTR_READ, SVM_LDTR_READ, SVM_TR_READ, SVM_IDTR_WRITE, SVM_GDTR_WRITE, SVM_LDTR_WRITE,
    SVM_TR_WRITE, SVM_RDTSC, SVM_RDPMC, SVM_PUSHF, SVM_POPF, SVM_CPUID, SVM_RSM, SVM_IRET, SVM_INTN, SVM_INVD, SVM_PAUSE, SVM_HLT, SVM_INVLPG,
    SVM_INVLPGA, SVM_IOIO, SVM_MSR, SVM_TASK_SWITCH, SVM_FERR_FREEZE, SVM_SHUTDOWN, SVM_VMRUN, SVM_VMMCALL, SVM_VMLOAD, SVM_VMSAVE, SVM_STGI, SVM_CLGI,
    SVM_SKINIT, SVM_RDTSCP, SVM_ICEBP, SVM_WBINVD, SVM_MONITOR, SVM_MWAIT, SVM_MWAIT_ARMED, SVM_XSETBV, SVM_INVPCID = 0xa2, SVM_NPF = 0x400 };
#define SVM_INVALID (~0ull)

/* Control area: offsets in the VMCB. */
enum {
    VMCB_INTERCEPT = 0x00, VMCB_IOPM = 0x40, VMCB_MSRPM = 0x48, VMCB_TSC_OFFSET = 0x50, VMCB_ASID = 0x58, VMCB_TLB_CONTROL = 0x5c,
    VMCB_INT_CTL = 0x60, VMCB_INT_VECTOR = 0x64, VMCB_INT_STATE = 0x68, VMCB_EXIT_CODE = 0x70, VMCB_EXIT_INFO1 = 0x78, VMCB_EXIT_INFO2 = 0x80,
    VMCB_EXIT_INT_INFO = 0x88, VMCB_NP = 0x90, VMCB_EVENT_INJ = 0xa8, VMCB_NCR3 = 0xb0, VMCB_NEXT_RIP = 0xc8 };

/* VMCB_INT_CTL */
#define SVM_V_TPR 0xffu
#define SVM_V_IRQ 0x100u
#define SVM_V_PRIO_SHIFT 16
#define SVM_V_IGN_TPR 0x100000u
#define SVM_V_MASKING 0x1000000u

/* EVENTINJ and EXITINTINFO: vector, type << 8, then */
enum { SVM_EV_INTR = 0, SVM_EV_NMI = 2, SVM_EV_EXCEPTION = 3, SVM_EV_SOFT = 4 };
#define SVM_EV_TYPE(e) ((unsigned)((e) >> 8) & 7)
#define SVM_EV_HAS_ERROR 0x800ull
#define SVM_EV_VALID 0x80000000ull

/* EXITINFO1 of a nested page fault, beside the bits of a page fault's error code */
#define SVM_NPF_FINAL BIT(32)              /* the translation of the guest-physical address itself */
#define SVM_NPF_TABLE BIT(33)              /* of an entry of the guest's page tables */

#define SVM_VM_CR_LOCK 8u
#define SVM_VM_CR_SVMDIS 0x10u
#define SVM_ASIDS 64u

/* Which instruction moves a row of svm.def: VMRUN (and back at #VMEXIT), VMLOAD and VMSAVE, VMRUN with nested paging only. */
enum { VMCB_RUN = 1, VMCB_LOAD = 2, VMCB_NESTED = 4 };

static inline bool svm_intercepted(const struct x86_cpu *c, unsigned code)
{
    return c->svm.guest && (c->svm.intercept[code >> 5] >> (code & 31) & 1);
}
/* Nested paging is in force: physical addresses of the guest are not the system's. */
static inline bool svm_nested(const struct x86_cpu *c) { return c->svm.guest && c->svm.np; }
/* Is an external interrupt let through? */
static inline bool svm_intr_open(const struct x86_cpu *c)
{
    return c->svm.gif && ((c->svm.guest && (c->svm.int_ctl & SVM_V_MASKING) ? c->svm.host.rflags : c->rflags) & RF_IF);
}
#endif
