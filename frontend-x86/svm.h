/*
 * Secure virtual machine in the translator: the world switches (svm_run.c, svm_exit.c), what is intercepted (svm_intercept.c), and which
 * translations belong together (svm_tlb.c). Nothing of it costs a machine that is not in a guest anything: blocks of a guest have a mode
 * bit of their own (XM_GUEST), and only those ask about intercepts.
 *
 * A #VMEXIT is recorded and then unwinds like a fault; the run loop makes it (deliver.c), with exact state. AMD APM vol. 2 ch. 15.
 */
#ifndef FRONTEND_X86_SVM_H
#define FRONTEND_X86_SVM_H
#include "x86/svm.h"

/* Record a #VMEXIT [regs]; raise: and unwind. next: rip of the next instruction where the architecture saves it, else 0. */
void svm_record_exit(struct x86_cpu *, uint64_t code, uint64_t info1, uint64_t info2, uint64_t next);
void svm_raise_exit(struct x86_cpu *, uint64_t code, uint64_t info1, uint64_t info2, uint64_t next) __attribute__((noreturn));

void svm_enabled(struct x86_cpu *);                           /* SVM instructions: #UD without EFER.SVME, #GP above CPL 0 [regs] */

/* ---- for delivery, at an instruction boundary ---- */
void svm_vmexit(struct x86_cpu *);                            /* makes the exit that was recorded */
bool svm_take(struct x86_cpu *, unsigned code);               /* intercepted: makes the exit and says true */
void svm_inject(struct x86_cpu *);                            /* delivers svm.inject */
bool svm_virtual_intr(struct x86_cpu *);                      /* V_IRQ, if it may be delivered now: delivered, or intercepted. False: no */
void svm_event(struct x86_cpu *, unsigned type, unsigned vector, bool has_error, uint32_t error);   /* its delivery begins */
bool svm_exception(struct x86_cpu *);                         /* the recorded exception is intercepted: the exit has been made */
static inline bool svm_virq(const struct x86_cpu *c) { return c->svm.guest && (c->svm.int_ctl & SVM_V_IRQ); }

/* ---- VMCB ---- */
uint8_t *svm_vmcb(struct x86_cpu *, uint64_t addr);           /* host address; #GP when there is no page of memory at ADDR */
void svm_load(struct x86_cpu *, const uint8_t *vmcb, unsigned set);
void svm_save(const struct x86_cpu *, uint8_t *vmcb, unsigned set);

/* ---- address spaces ---- */
uint64_t svm_root(const struct x86_cpu *);                    /* mmu_ops.root of a guest [regs] */
void svm_set_context(struct x86_cpu *);                       /* after VMRUN, and when control bits of paging have changed in a guest */
void svm_flush(struct x86_cpu *, uint32_t asid);              /* translations of that ASID are forgotten; 0: of all */
void x86_paging_changed(struct x86_cpu *);                    /* CR0, CR4 or EFER changed what page-table entries mean */

/* ---- generated code (gen_svm.c) and its helpers ---- */
struct x86_gen;
struct x86_insn;
void gen_svm_check(struct x86_gen *, const struct x86_insn *);        /* in a guest, before an instruction: its intercepts */
#endif
