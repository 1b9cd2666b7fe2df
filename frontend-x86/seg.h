/*
 * Segment descriptors and stacks for helpers and delivery (seg.c). Faults are raised, so callers change no state before they are through.
 * Error codes get the EXT bit from cpu->exc_ext. Limits in the state are in bytes (granularity applied). SDM vol. 3 ch. 3.4, 5.
 */
#ifndef FRONTEND_X86_SEG_H
#define FRONTEND_X86_SEG_H
#include "frontend-x86/svm.h"
#include "tcg/env.h"
#include "x86/cpu.h"

struct x86_desc { uint32_t lo, hi; gva_t addr; };
/* wide: 64-bit linear addresses. limit, attr: of the stack segment; err: error code of the #SS for what lies beyond (a new stack's selector). */
struct x86_stack { uint64_t base, sp, mask; unsigned mode; bool wide; uint32_t limit, attr, err; };

static inline struct mmu *x86_mmu(struct x86_cpu *cpu) { return tcg_env_of(cpu)->mmu; }
/* Accesses to descriptor tables and TSSs: supervisor whatever the CPL, and SMAP holds whatever AC says. */
static inline unsigned x86_sys_mode(const struct x86_cpu *cpu) { return cpu->cr4 & CR4_SMAP ? 1 : 0; }
static inline unsigned x86_stack_mode(const struct x86_cpu *cpu, unsigned cpl)
{
    return cpl == 3 ? 2 : (cpu->cr4 & CR4_SMAP) && !(cpu->rflags & RF_AC);
}

/* Read a descriptor of GDT or LDT; outside the table: raises VEC(sel). system16: of 16 bytes in long mode (only the limit is checked). */
void x86_read_desc(struct x86_cpu *, uint32_t sel, unsigned vec, struct x86_desc *);
bool x86_try_desc(struct x86_cpu *, uint32_t sel, struct x86_desc *);        /* false: null or outside */
uint64_t x86_desc_base(const struct x86_desc *);
uint32_t x86_desc_limit(const struct x86_desc *);
uint64_t x86_desc_base64(struct x86_cpu *, const struct x86_desc *, uint32_t sel, unsigned vec);   /* system descriptor of 16 bytes */
void x86_desc_mark_accessed(struct x86_cpu *, struct x86_desc *);
void x86_sel_fault(struct x86_cpu *, unsigned vec, uint32_t sel) __attribute__((noreturn));        /* error = selector without RPL | EXT */

void x86_seg_set(struct x86_cpu *, unsigned seg, uint32_t sel, const struct x86_desc *);
void x86_seg_set_real(struct x86_cpu *, unsigned seg, uint32_t sel);         /* real mode: base only (limit and type stay: big real mode) */
void x86_seg_set_v86(struct x86_cpu *, unsigned seg, uint32_t sel);
void x86_seg_null(struct x86_cpu *, unsigned seg, uint32_t sel);
void x86_load_seg(struct x86_cpu *, unsigned seg, uint32_t sel);             /* MOV/POP/LSS... to ES SS DS FS GS in the current mode, all checks */
void x86_check_stack_seg(struct x86_cpu *, uint32_t sel, unsigned cpl, unsigned vec, struct x86_desc *);   /* VEC: #TS or #GP */
void x86_load_ldt(struct x86_cpu *, uint32_t sel, unsigned vec);

struct x86_stack x86_stack_now(struct x86_cpu *, unsigned cpl);              /* SS:rSP as it is, accesses as CPL */
struct x86_stack x86_stack_new(struct x86_cpu *, uint32_t sel, const struct x86_desc *ss, uint64_t sp, unsigned cpl);   /* outside 64-bit code */
void x86_push(struct x86_cpu *, struct x86_stack *, unsigned size, uint64_t v);
uint64_t x86_pop(struct x86_cpu *, struct x86_stack *, unsigned size);
void x86_stack_commit(struct x86_cpu *, const struct x86_stack *);           /* writes rSP at the stack's width */

uint64_t x86_ld(struct x86_cpu *, gva_t, unsigned size, unsigned mode);
void x86_st(struct x86_cpu *, gva_t, unsigned size, uint64_t v, unsigned mode);

/* Interrupts may be let through that were not: the run loop looks at what is pending. A virtual one is not among vcpu->pending. */
static inline bool x86_intr_waits(struct x86_cpu *cpu) { return __atomic_load_n(&cpu->vcpu->pending, __ATOMIC_ACQUIRE) || svm_virq(cpu); }
static inline void x86_look_again(struct x86_cpu *cpu)
{
    struct tcg_env *env = tcg_env_of(cpu);
    env->need_deliver |= svm_virq(cpu);
    if (x86_intr_waits(cpu))
        __atomic_store_n(&env->poll, 1, __ATOMIC_RELEASE);
}
/* helper_vme.c: a 16-bit flags image in virtual-8086 mode with the virtual interrupt flag, by POPF or IRET; raises before it writes */
void x86_set_flags_vme(struct x86_cpu *, uint64_t image);
/* Privilege or mode may have changed: softmmu mode, pending interrupts looked at again. */
void x86_after_transfer(struct x86_cpu *);

/* fast_sys.c: an access in a mode with breakpoints enabled; hits are reported at the instruction's end [regs] */
void x86_watch(struct x86_cpu *, uint64_t va, uint64_t size, bool write);
void x86_watch_io(struct x86_cpu *, unsigned port, unsigned size);

/* task.c */
enum x86_task_how { X86_TASK_JMP, X86_TASK_CALL, X86_TASK_IRET, X86_TASK_INT };
void x86_task_switch(struct x86_cpu *, uint32_t sel, enum x86_task_how, uint64_t ret_rip, bool has_error, uint32_t error);
#endif
