/*
 * Delivery: at an instruction boundary, with exact state, the run loop asks what is to happen before the next instruction.
 *
 * In: a recorded exception (exc_*), bits of vcpu->pending, the local APIC's vector. Out: the CPU state at the handler's first instruction. A
 * fault met on the way is raised as any other: it unwinds to the run loop, which calls here again, and exc_delivering tells what was under way
 * (#DF rules). So a delivery writes registers only after its last access that can fault. A triple fault asks for a reset.
 * Order: #VMEXIT, injected event, INIT/SIPI, exception, SMI, NMI, external interrupt, virtual interrupt. An event that an SVM guest's host intercepts is a
 * #VMEXIT instead (svm_exit.c). SDM vol. 3 ch. 6 (6.12 gates and stacks, 6.14 64-bit, 6.15 #DF), 20.3 (real mode and v86).
 */
#include "frontend-x86/deliver.h"
#include "core/log.h"
#include "core/vm.h"
#include "frontend-x86/fpu_image.h"
#include "frontend-x86/insn.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"
#include "frontend-x86/smm.h"
#include "frontend-x86/svm.h"

enum { GATE_TASK = 5, GATE_INT16 = 6, GATE_TRAP16 = 7, GATE_INT = 14, GATE_TRAP = 15 };

struct gate { unsigned type, dpl, ist; bool present; uint32_t sel; uint64_t off; };
struct event { unsigned vector; bool soft, has_error; uint32_t error; uint64_t ret; };

static void __attribute__((noreturn)) idt_fault(struct x86_cpu *cpu, unsigned vec, const struct event *e)
{
    x86_raise_err(cpu, vec, e->vector * 8 + 2 + cpu->exc_ext);
}

static uint64_t flags_image(struct x86_cpu *cpu, const struct event *e)
{
    uint64_t f = x86_get_rflags(cpu) & ~(uint64_t)RF_RF;
    if (cpu->rep_more || (e->vector == X86_DB && cpu->exc_rf))
        return f | RF_RF;
    bool fault = !e->soft && cpu->exc_delivering != 0xff && e->vector != X86_DB && e->vector != X86_DF && e->vector != X86_MC && e->vector != X86_NMI;
    return fault ? f | RF_RF : f;
}

static void log_event(struct x86_cpu *cpu, const char *what, const struct event *e)
{
    if (!log_on(LOG_INT) || !log_in_range(cpu->rip))
        return;
    log_printf("%s v=%02x e=%04x soft=%d cpl=%u ip=%04x:%016llx sp=%04x:%016llx cr2=%016llx rax=%016llx\n", what, e->vector, e->error, e->soft, cpu->cpl,
               cpu->seg[X86_CS].sel, (unsigned long long)cpu->rip, cpu->seg[X86_SS].sel, (unsigned long long)cpu->regs[X86_RSP],
               (unsigned long long)cpu->cr2, (unsigned long long)cpu->regs[X86_RAX]);
}

/* ---- real mode ---- */
static void deliver_real(struct x86_cpu *cpu, const struct event *e)
{
    if (e->vector * 4 + 3 > cpu->idt.limit)
        idt_fault(cpu, X86_GP, e);
    uint32_t entry = (uint32_t)x86_ld(cpu, cpu->idt.base + e->vector * 4, 4, 0);
    struct x86_stack st = x86_stack_now(cpu, 0);
    x86_push(cpu, &st, 2, x86_get_rflags(cpu));
    x86_push(cpu, &st, 2, cpu->seg[X86_CS].sel);
    x86_push(cpu, &st, 2, e->ret);
    x86_stack_commit(cpu, &st);
    cpu->rflags &= ~(uint64_t)(RF_IF | RF_TF | RF_AC | RF_RF);
    x86_seg_set_real(cpu, X86_CS, entry >> 16);
    cpu->rip = entry & 0xffff;
}

/* ---- protected mode: gate and code segment ---- */
static void read_gate(struct x86_cpu *cpu, const struct event *e, struct gate *g)
{
    bool lma = x86_long_mode(cpu);
    unsigned size = lma ? 16 : 8;
    uint32_t d[4] = { 0 };
    if (e->vector * size + size - 1 > cpu->idt.limit)
        idt_fault(cpu, X86_GP, e);
    mmu_ld_mem(x86_mmu(cpu), cpu->idt.base + e->vector * size, d, size, x86_sys_mode(cpu));
    g->type = d[1] >> 8 & 31;
    g->dpl = d[1] >> 13 & 3;
    g->present = d[1] & SEG_P;
    g->ist = lma ? d[1] & 7 : 0;
    g->sel = d[0] >> 16;
    g->off = (d[0] & 0xffff) | (d[1] & 0xffff0000u) | (uint64_t)d[2] << 32;
    bool known = g->type == GATE_INT || g->type == GATE_TRAP || (!lma && (g->type == GATE_TASK || g->type == GATE_INT16 || g->type == GATE_TRAP16));
    if (!known || (e->soft && g->dpl < cpu->cpl))
        idt_fault(cpu, X86_GP, e);
    if (!g->present)
        idt_fault(cpu, X86_NP, e);
    if (g->type == GATE_INT16 || g->type == GATE_TRAP16)
        g->off &= 0xffff;
}

/* The handler's code segment; returns the privilege level it will run at. */
static unsigned read_handler_cs(struct x86_cpu *cpu, const struct gate *g, struct x86_desc *cs)
{
    if (!(g->sel & 0xfffc))
        x86_sel_fault(cpu, X86_GP, 0);
    x86_read_desc(cpu, g->sel, X86_GP, cs);
    if ((cs->hi & (SEG_S | SEG_CODE)) != (SEG_S | SEG_CODE) || SEG_DPL(cs->hi) > cpu->cpl)
        x86_sel_fault(cpu, X86_GP, g->sel);
    if (x86_long_mode(cpu) && (cs->hi & (SEG_L | SEG_DB)) != SEG_L)
        x86_sel_fault(cpu, X86_GP, g->sel);
    if (!(cs->hi & SEG_P))
        x86_sel_fault(cpu, X86_NP, g->sel);
    unsigned cpl = cs->hi & SEG_EC ? cpu->cpl : SEG_DPL(cs->hi);
    if (x86_vm86(cpu) && cpl != 0)
        x86_sel_fault(cpu, X86_GP, g->sel);
    return cpl;
}

static void enter_handler(struct x86_cpu *cpu, const struct gate *g, struct x86_desc *cs, unsigned cpl)
{
    x86_desc_mark_accessed(cpu, cs);
    cpu->rflags &= ~(uint64_t)(RF_TF | RF_NT | RF_RF | RF_VM);
    if (!(g->type & 1))
        cpu->rflags &= ~(uint64_t)RF_IF;
    cpu->cpl = (uint8_t)cpl;
    x86_seg_set(cpu, X86_CS, (g->sel & 0xfffc) | cpl, cs);
    cpu->rip = g->off;
}

/* ---- 64-bit ---- */
static uint64_t tss64_stack(struct x86_cpu *cpu, unsigned offset)
{
    if (offset + 7 > cpu->seg[X86_TR].limit)
        x86_sel_fault(cpu, X86_TS, cpu->seg[X86_TR].sel);
    uint64_t sp = x86_ld(cpu, cpu->seg[X86_TR].base + offset, 8, x86_sys_mode(cpu));
    if (!x86_canonical(cpu, sp))
        x86_raise_err(cpu, X86_SSF, cpu->exc_ext);
    return sp;
}

static void deliver_long(struct x86_cpu *cpu, const struct event *e)
{
    struct gate g;
    struct x86_desc cs;
    read_gate(cpu, e, &g);
    unsigned cpl = read_handler_cs(cpu, &g, &cs);
    uint64_t sp = cpu->regs[X86_RSP];
    if (g.ist)
        sp = tss64_stack(cpu, 28 + g.ist * 8);
    else if (cpl < cpu->cpl)
        sp = tss64_stack(cpu, 4 + cpl * 8);
    if (!x86_canonical(cpu, g.off))
        x86_raise_err(cpu, X86_GP, cpu->exc_ext);
    uint64_t frame[6] = { e->error, e->ret, cpu->seg[X86_CS].sel, flags_image(cpu, e), cpu->regs[X86_RSP], cpu->seg[X86_SS].sel };
    unsigned skip = e->has_error ? 0 : 1;
    sp = (sp & ~15ull) - (6 - skip) * 8;
    if (!x86_canonical(cpu, sp))
        x86_raise_err(cpu, X86_SSF, cpu->exc_ext);
    /* The processor pushes from the top, which decides what CR2 a fault shows. */
    for (unsigned i = 6; (sp & 4095) > 4096 - 48 && i-- > skip;)
        mmu_check(x86_mmu(cpu), sp + (i - skip) * 8, 8, MMU_WRITE, x86_stack_mode(cpu, cpl));
    mmu_check(x86_mmu(cpu), sp + (5 - skip) * 8, 8, MMU_WRITE, x86_stack_mode(cpu, cpl));
    mmu_st_mem(x86_mmu(cpu), sp, frame + skip, (6 - skip) * 8, x86_stack_mode(cpu, cpl));
    if (unlikely(cpu->dr[7] & 0xff))
        x86_watch(cpu, sp, (6 - skip) * 8, true);
    bool change = cpl != cpu->cpl;
    enter_handler(cpu, &g, &cs, cpl);
    if (change)
        x86_seg_null(cpu, X86_SS, cpl);
    cpu->regs[X86_RSP] = sp;
}

/* ---- 16- and 32-bit protected mode, and v86 ---- */
static void tss_stack(struct x86_cpu *cpu, unsigned cpl, uint32_t *ss, uint32_t *sp)
{
    const struct x86_seg *tr = &cpu->seg[X86_TR];
    bool wide = tr->attr >> 8 & 8;
    uint32_t at = wide ? 4 + cpl * 8 : 2 + cpl * 4;
    if (at + (wide ? 5 : 3) > tr->limit)
        x86_sel_fault(cpu, X86_TS, tr->sel);
    *sp = (uint32_t)x86_ld(cpu, tr->base + at, wide ? 4 : 2, x86_sys_mode(cpu));
    *ss = (uint32_t)x86_ld(cpu, tr->base + at + (wide ? 4 : 2), 2, x86_sys_mode(cpu));
}

static void push_v86_segs(struct x86_cpu *cpu, struct x86_stack *st, unsigned size)
{
    x86_push(cpu, st, size, cpu->seg[X86_GS].sel);
    x86_push(cpu, st, size, cpu->seg[X86_FS].sel);
    x86_push(cpu, st, size, cpu->seg[X86_DS].sel);
    x86_push(cpu, st, size, cpu->seg[X86_ES].sel);
}

static void push_frame(struct x86_cpu *cpu, struct x86_stack *st, unsigned size, const struct event *e)
{
    x86_push(cpu, st, size, flags_image(cpu, e));
    x86_push(cpu, st, size, cpu->seg[X86_CS].sel);
    x86_push(cpu, st, size, e->ret);
    if (e->has_error)
        x86_push(cpu, st, size, e->error);
}

static void deliver_inner(struct x86_cpu *cpu, const struct event *e, const struct gate *g, struct x86_desc *cs, unsigned cpl)
{
    unsigned size = g->type & 8 ? 4 : 2;
    struct x86_desc ss;
    uint32_t ss_sel, sp;
    bool vm = x86_vm86(cpu);
    tss_stack(cpu, cpl, &ss_sel, &sp);
    x86_check_stack_seg(cpu, ss_sel, cpl, X86_TS, &ss);
    struct x86_stack st = x86_stack_new(cpu, ss_sel, &ss, sp, cpl);
    if (vm)
        push_v86_segs(cpu, &st, size);
    x86_push(cpu, &st, size, cpu->seg[X86_SS].sel);
    x86_push(cpu, &st, size, cpu->regs[X86_RSP]);
    push_frame(cpu, &st, size, e);
    x86_desc_mark_accessed(cpu, &ss);
    enter_handler(cpu, g, cs, cpl);
    x86_seg_set(cpu, X86_SS, ss_sel, &ss);
    x86_stack_commit(cpu, &st);
    if (vm) {
        x86_seg_null(cpu, X86_ES, 0);
        x86_seg_null(cpu, X86_DS, 0);
        x86_seg_null(cpu, X86_FS, 0);
        x86_seg_null(cpu, X86_GS, 0);
    }
}

static void deliver_prot(struct x86_cpu *cpu, const struct event *e)
{
    struct gate g;
    struct x86_desc cs;
    read_gate(cpu, e, &g);
    if (g.type == GATE_TASK) {
        x86_task_switch(cpu, g.sel, X86_TASK_INT, e->ret, e->has_error, e->error);
        return;
    }
    unsigned cpl = read_handler_cs(cpu, &g, &cs);
    if (g.off > x86_desc_limit(&cs))
        x86_raise_err(cpu, X86_GP, cpu->exc_ext);
    if (cpl < cpu->cpl) {
        deliver_inner(cpu, e, &g, &cs, cpl);
        return;
    }
    struct x86_stack st = x86_stack_now(cpu, cpl);
    push_frame(cpu, &st, g.type & 8 ? 4 : 2, e);
    enter_handler(cpu, &g, &cs, cpl);
    x86_stack_commit(cpu, &st);
}

void x86_interrupt(struct x86_cpu *cpu, unsigned vector, bool soft, bool has_error, uint32_t error, uint64_t ret)
{
    struct event e = { vector, soft, has_error && (cpu->cr0 & CR0_PE), error, ret };
    if (!(cpu->cr0 & CR0_PE))
        deliver_real(cpu, &e);
    else if (x86_long_mode(cpu))
        deliver_long(cpu, &e);
    else
        deliver_prot(cpu, &e);
    cpu->exc_delivering = 0xff;
    cpu->svm.delivering = 0;
    cpu->svm.shadow = false;
    cpu->exc_ext = false;
    cpu->intr_shadow = cpu->ss_shadow = cpu->rep_more = cpu->exc_rf = false;
    if (unlikely(cpu->dr[4])) {                    /* the frame, or what MOV SS or POP SS has held off: a trap before the handler */
        x86_record_db(cpu, (uint32_t)cpu->dr[4] & 15);
        cpu->dr[4] = 0;
    }
    x86_after_transfer(cpu);
}

/* ---- exceptions ---- */
static bool contributory(unsigned v)
{
    return v == X86_DE || (v >= X86_TS && v <= X86_GP);
}

/* The state after a triple fault, which only a reset ends. */
void x86_shutdown(struct x86_cpu *cpu)
{
    char text[4096];
    if (svm_take(cpu, SVM_SHUTDOWN))
        return;
    if (log_on(LOG_INT)) {
        x86_dump(cpu, text, sizeof(text));
        log_printf("triple fault: reset\n%s", text);
    }
    cpu->exc_delivering = 0xff;
    cpu->exc_ext = false;
    cpu->vcpu->halted = true;                  /* shutdown state until the reset comes */
    vm_request(cpu->vcpu->vm, VM_RESET, 0);
}

/* #DF or shutdown when one exception meets the delivery of another. False: shutdown. */
static bool promote(struct x86_cpu *cpu)
{
    unsigned first = cpu->exc_delivering, second = cpu->exc_vector;
    if (first == 0xff)
        return true;
    bool bad = contributory(second) || second == X86_PF;
    if (first == X86_DF && bad)
        return false;
    if ((contributory(first) && contributory(second)) || (first == X86_PF && bad))
        x86_record_err(cpu, X86_DF, 0);
    return true;
}

/* Was the access of the instruction at rip one to the stack? rip and registers are those at its start. */
static bool stack_access(struct x86_cpu *cpu)
{
    struct x86_insn i;
    uint8_t b[15];
    unsigned n = 4096 - (cpu->rip & 4095) < 15 ? 4096 - (cpu->rip & 4095) : 15;
    if (mmu_peek_mem(x86_mmu(cpu), cpu->rip, b, 15))
        if (n == 15 || mmu_peek_mem(x86_mmu(cpu), cpu->rip, b, n))
            return false;
    if (x86_decode(&i, b, 15, X86_M64) != X86_OK)
        return false;
    for (unsigned k = 0; k < i.n_opnd; k++)
        if (i.o[k].kind == OK_MEM && i.mem.seg == X86_SS)
            return true;
    switch (i.mnem) {
    case X86I_push: case X86I_pop: case X86I_call: case X86I_ret: case X86I_pushf: case X86I_popf: case X86I_enter: case X86I_lcall: case X86I_retf:
    case X86I_iret:
        return !x86_canonical(cpu, cpu->regs[X86_RSP]) || !x86_canonical(cpu, cpu->regs[X86_RSP] - 8);
    case X86I_leave:
        return !x86_canonical(cpu, cpu->regs[X86_RBP]);
    }
    return false;
}

static bool deliver_exception(struct x86_cpu *cpu)
{
    if (cpu->exc_bad_va && cpu->exc_delivering == 0xff && x86_code64(cpu) && x86_canonical(cpu, cpu->rip) && stack_access(cpu))
        x86_record_err(cpu, X86_SSF, 0);
    if (svm_exception(cpu))
        return true;
    if (cpu->exc_vector == X86_PF)
        cpu->cr2 = cpu->exc_cr2;               /* whenever one is detected, even if a double fault comes of it */
    if (!promote(cpu)) {
        cpu->exc_pending = false;
        x86_shutdown(cpu);
        return !cpu->vcpu->halted;             /* a guest's shutdown may be its host's business */
    }
    unsigned v = cpu->exc_vector;
    if (v == X86_DF && svm_exception(cpu))
        return true;
    bool soft = cpu->exc_soft, has_error = cpu->exc_has_error;
    uint32_t error = cpu->exc_error;
    uint64_t ret = soft || cpu->exc_next_rip ? cpu->exc_next_rip : cpu->rip;
    cpu->vcpu->n.exceptions++;
    cpu->vcpu->n.page_faults += v == X86_PF;
    log_event(cpu, "exception", &(struct event){ v, soft, has_error, error, ret });
    if (v == X86_DB) {
        cpu->dr[7] &= ~0x2000ull;              /* GD */
        cpu->debugctl &= ~(uint64_t)(DEBUGCTL_LBR | DEBUGCTL_BTF);
    }
    if (!soft && !cpu->exc_next_rip)
        cpu->dr[4] = 0;                        /* a fault: the instruction has not been */
    cpu->exc_pending = false;
    cpu->vcpu->halted = false;                 /* a single step over HLT */
    cpu->exc_delivering = soft ? 0xff : (uint8_t)v;
    cpu->exc_ext = !soft;
    svm_event(cpu, cpu->exc_soft == 2 ? SVM_EV_SOFT : SVM_EV_EXCEPTION, v, has_error, error);
    bool user = cpu->cpl == 3, counted = (soft || cpu->exc_next_rip) && cpu->pmu.count >> user & 1;
    x86_interrupt(cpu, v, soft, has_error, error, ret);
    if (unlikely(counted))                     /* INT n ends here, or in a fault */
        x86_pmu_retire(cpu, user);
    return true;
}

/* ---- INIT and SIPI ---- */
static void do_init(struct x86_cpu *cpu)
{
    struct vcpu *v = cpu->vcpu;
    vcpu_clear_pending(v, VCPU_INIT);
    x86_init(cpu);
    mmu_set_root(x86_mmu(cpu));
    mmu_set_mode(x86_mmu(cpu));
}

static void do_sipi(struct x86_cpu *cpu)
{
    struct vcpu *v = cpu->vcpu;
    vcpu_clear_pending(v, VCPU_SIPI);
    if (!cpu->wait_sipi)
        return;
    cpu->wait_sipi = false;
    v->halted = false;
    uint32_t vector = __atomic_load_n(&v->sipi_vector, __ATOMIC_RELAXED);
    cpu->seg[X86_CS].sel = (uint16_t)(vector << 8);
    cpu->seg[X86_CS].base = (uint64_t)(vector & 0xff) << 12;
    cpu->rip = 0;
}

/* ---- external events ---- */
static void deliver_nmi(struct x86_cpu *cpu)
{
    vcpu_clear_pending(cpu->vcpu, VCPU_NMI);
    cpu->vcpu->halted = false;
    cpu->nmi_masked = true;
    cpu->exc_ext = true;
    cpu->exc_delivering = X86_NMI;
    log_event(cpu, "nmi", &(struct event){ .vector = X86_NMI });
    svm_event(cpu, SVM_EV_NMI, X86_NMI, false, 0);
    x86_interrupt(cpu, X86_NMI, false, false, 0, cpu->rip);
}

static void deliver_intr(struct x86_cpu *cpu)
{
    struct vcpu *v = cpu->vcpu;
    int vector = v->intc.ack ? v->intc.ack(v->intc.opaque) : -1;
    if (vector < 0)
        return;
    v->halted = false;
    v->n.interrupts++;
    cpu->exc_ext = true;
    cpu->exc_delivering = 0xff;
    log_event(cpu, "interrupt", &(struct event){ .vector = (unsigned)vector & 0xff });
    svm_event(cpu, SVM_EV_INTR, (unsigned)vector & 0xff, false, 0);
    x86_interrupt(cpu, (unsigned)vector & 0xff, false, false, 0, cpu->rip);
}

/* ---- x87 errors with CR0.NE clear: the FPU is saved ---- */
/* The processor stops before the instruction until an interrupt comes, unless IGNNE# lets it run: alone, as if the exceptions were masked. */
static void x87_error(struct x86_cpu *cpu)
{
    struct vcpu *v = cpu->vcpu;
    uint16_t cw = rd16(cpu->fpu + OFF_FCW);
    cpu->x87_wait = false;
    if (!v->ferr.signal || !v->ferr.signal(v->ferr.opaque, true)) {
        v->halted = true;
        return;
    }
    cpu->x87_ignored = cw | 0x10000;
    fpu_set_status(cpu->fpu, cw | 0x3f, rd16(cpu->fpu + OFF_FSW));
    tcg_env_of(cpu)->one_insn = tcg_env_of(cpu)->need_deliver = true;
    __atomic_store_n(&tcg_env_of(cpu)->poll, 1, __ATOMIC_RELEASE);
}

static void x87_no_longer_ignored(struct x86_cpu *cpu)
{
    uint16_t cw = rd16(cpu->fpu + OFF_FCW), was = (uint16_t)cpu->x87_ignored;
    cpu->x87_ignored = 0;
    fpu_set_status(cpu->fpu, cw == (was | 0x3f) ? was : cw, rd16(cpu->fpu + OFF_FSW));
}

#define EXTERNAL (VCPU_INTR | VCPU_NMI | VCPU_SMI | VCPU_INIT)

static void deliver_external(struct x86_cpu *cpu, uint32_t pending)
{
    if ((pending & VCPU_SMI) && !cpu->smm) {
        if (!svm_take(cpu, SVM_SMI)) {
            log_event(cpu, "smi", &(struct event){ 0 });
            x86_smi(cpu);
        }
    } else if ((pending & VCPU_NMI) && !cpu->nmi_masked) {
        if (!svm_take(cpu, SVM_NMI))
            deliver_nmi(cpu);
    } else if ((pending & VCPU_INTR) && svm_intr_open(cpu)) {
        if (!svm_take(cpu, SVM_INTR))
            deliver_intr(cpu);
    } else {
        svm_virtual_intr(cpu);
    }
}

static bool deliver_one(struct x86_cpu *cpu)
{
    struct vcpu *v = cpu->vcpu;
    uint32_t pending = __atomic_load_n(&v->pending, __ATOMIC_ACQUIRE), held = (cpu->svm.gif ? 0 : EXTERNAL) | (cpu->smm ? VCPU_INIT : 0);
    if (cpu->x87_ignored)
        x87_no_longer_ignored(cpu);
    if (cpu->svm.exit_pending) {
        svm_vmexit(cpu);
        return true;
    }
    if (cpu->svm.inject) {
        svm_inject(cpu);
        return true;
    }
    if (pending & VCPU_INIT & ~held) {
        if (svm_take(cpu, SVM_INIT))
            return true;
        do_init(cpu);
        pending = __atomic_load_n(&v->pending, __ATOMIC_ACQUIRE);
    }
    v->barred = pending & (VCPU_NMI | VCPU_SMI | (svm_intr_open(cpu) ? 0 : VCPU_INTR) | held);
    if (pending & VCPU_SIPI)
        do_sipi(cpu);
    if (cpu->wait_sipi)
        return false;
    if (cpu->exc_pending) {
        bool on = deliver_exception(cpu);
        if (on && cpu->svm.guest)              /* one whose handler faults at once must not keep its host's interrupts out */
            deliver_external(cpu, pending);
        return on;
    }
    if (cpu->x87_wait)
        x87_error(cpu);
    cpu->svm.shadow = false;
    if (cpu->intr_shadow && !v->halted)
        return true;                           /* the next instruction comes first: a block of its own (XM_SHADOW) */
    deliver_external(cpu, pending & ~held);
    return !v->halted;
}

/* A delivery may itself be watched by a breakpoint, and so bring the next one. */
bool x86_deliver(void *opaque)
{
    struct x86_cpu *cpu = opaque;
    bool on;
    if (unlikely(__atomic_load_n(&cpu->vcpu->pending, __ATOMIC_ACQUIRE) & VCPU_PMI))
        x86_pmu_event(cpu);
    do
        on = deliver_one(cpu);
    while (on && cpu->exc_pending);
    if (unlikely(cpu->pmu.halted) && !cpu->vcpu->halted)
        x86_pmu_halt(cpu, false);
    return on;
}
