/*
 * Segment instructions: far jumps, calls and returns in every mode, IRET, segment loads, LAR LSL VERR VERW, LLDT LTR.
 *
 * Helpers get (cpu, a, b, c); all guest registers are in the CPU state. A far call finds the return address in cpu->rip (ir_setpc before the
 * call); faults restore it. Nothing of the state is written before the last check. The block ends after any of them. SDM vol. 2 by name, vol. 3 ch. 5.8, 20.
 */
#include "frontend-x86/helper_sys.h"
#include "core/log.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"

static bool plain_mode(const struct x86_cpu *cpu)
{
    return !(cpu->cr0 & CR0_PE) || (cpu->rflags & RF_VM);
}

static uint64_t trunc_ip(uint64_t v, unsigned size)
{
    return v & size_mask(size);
}

static void set_plain_cs(struct x86_cpu *cpu, uint32_t sel, uint64_t rip)
{
    if (cpu->rflags & RF_VM)
        x86_seg_set_v86(cpu, X86_CS, sel);
    else
        x86_seg_set_real(cpu, X86_CS, sel);
    cpu->rip = rip;
}

/* In 64-bit code the target must be canonical, else within the limit. */
static void check_target(struct x86_cpu *cpu, const struct x86_desc *cs, uint64_t rip)
{
    bool code64 = x86_long_mode(cpu) && (cs->hi & SEG_L);
    if (code64 ? !x86_canonical(cpu, rip) : rip > x86_desc_limit(cs))
        x86_raise_err(cpu, X86_GP, cpu->exc_ext);
}

static void check_long_code(struct x86_cpu *cpu, const struct x86_desc *cs, uint32_t sel)
{
    if (x86_long_mode(cpu) && (cs->hi & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
        x86_sel_fault(cpu, X86_GP, sel);
}

/* A code segment as the direct target of JMP or CALL: no change of privilege. */
static void check_direct_code(struct x86_cpu *cpu, const struct x86_desc *cs, uint32_t sel)
{
    bool conforming = cs->hi & SEG_EC;
    if (conforming ? SEG_DPL(cs->hi) > cpu->cpl : (sel & 3) > cpu->cpl || SEG_DPL(cs->hi) != cpu->cpl)
        x86_sel_fault(cpu, X86_GP, sel);
    check_long_code(cpu, cs, sel);
    if (!(cs->hi & SEG_P))
        x86_sel_fault(cpu, X86_NP, sel);
}

static void enter_code(struct x86_cpu *cpu, struct x86_desc *cs, uint32_t sel, unsigned cpl, uint64_t rip)
{
    x86_desc_mark_accessed(cpu, cs);
    x86_seg_set(cpu, X86_CS, (sel & 0xfffc) | cpl, cs);
    cpu->cpl = (uint8_t)cpl;
    cpu->rip = rip;
    x86_after_transfer(cpu);
}

/* ---- call gates ---- */
struct call_gate { unsigned size, params; uint32_t sel; uint64_t off; };

static void read_call_gate(struct x86_cpu *cpu, const struct x86_desc *d, uint32_t sel, struct call_gate *g, struct x86_desc *cs)
{
    bool lma = x86_long_mode(cpu);
    if (SEG_DPL(d->hi) < cpu->cpl || SEG_DPL(d->hi) < (sel & 3))
        x86_sel_fault(cpu, X86_GP, sel);
    if (!(d->hi & SEG_P))
        x86_sel_fault(cpu, X86_NP, sel);
    g->size = lma ? 8 : (d->hi >> 8 & 15) == 12 ? 4 : 2;
    g->params = d->hi & 31;
    g->sel = d->lo >> 16;
    g->off = (d->lo & 0xffff) | (g->size == 2 ? 0 : d->hi & 0xffff0000u);
    if (lma)
        g->off |= (uint64_t)(uint32_t)x86_ld(cpu, d->addr + 8, 4, x86_sys_mode(cpu)) << 32;
    if (!(g->sel & 0xfffc))
        x86_sel_fault(cpu, X86_GP, 0);
    x86_read_desc(cpu, g->sel, X86_GP, cs);
    if ((cs->hi & (SEG_S | SEG_CODE)) != (SEG_S | SEG_CODE) || SEG_DPL(cs->hi) > cpu->cpl)
        x86_sel_fault(cpu, X86_GP, g->sel);
    if (lma && (cs->hi & (SEG_L | SEG_DB)) != SEG_L)
        x86_sel_fault(cpu, X86_GP, g->sel);
    if (!(cs->hi & SEG_P))
        x86_sel_fault(cpu, X86_NP, g->sel);
}

static void inner_stack(struct x86_cpu *cpu, unsigned cpl, uint32_t *ss, uint64_t *sp)
{
    const struct x86_seg *tr = &cpu->seg[X86_TR];
    bool lma = x86_long_mode(cpu), wide = tr->attr >> 8 & 8;
    uint32_t at = lma || wide ? 4 + cpl * 8 : 2 + cpl * 4, n = lma ? 8 : wide ? 4 : 2;
    if (at + n + (lma ? 0 : 2) - 1 > tr->limit)
        x86_sel_fault(cpu, X86_TS, tr->sel);
    *sp = x86_ld(cpu, tr->base + at, n, x86_sys_mode(cpu));
    *ss = lma ? cpl : (uint32_t)x86_ld(cpu, tr->base + at + n, 2, x86_sys_mode(cpu));
}

static void call_inner(struct x86_cpu *cpu, const struct call_gate *g, struct x86_desc *cs, unsigned cpl, uint64_t ret)
{
    struct x86_desc ss = { 0 };
    uint32_t ss_sel;
    uint64_t sp, params[32];
    bool lma = x86_long_mode(cpu);
    inner_stack(cpu, cpl, &ss_sel, &sp);
    if (!lma)
        x86_check_stack_seg(cpu, ss_sel, cpl, X86_TS, &ss);
    else if (!x86_canonical(cpu, sp))
        x86_raise_err(cpu, X86_SSF, 0);
    struct x86_stack from = x86_stack_now(cpu, cpu->cpl);
    for (unsigned i = 0; !lma && i < g->params; i++)
        params[i] = x86_pop(cpu, &from, g->size);
    struct x86_stack st = lma ? (struct x86_stack){ .sp = sp, .mode = x86_stack_mode(cpu, cpl), .wide = true, .mask = ~0ull }
                              : x86_stack_new(cpu, ss_sel, &ss, sp, cpl);
    x86_push(cpu, &st, g->size, cpu->seg[X86_SS].sel);
    x86_push(cpu, &st, g->size, cpu->regs[X86_RSP]);
    for (unsigned i = g->params; !lma && i-- > 0;)
        x86_push(cpu, &st, g->size, params[i]);
    x86_push(cpu, &st, g->size, cpu->seg[X86_CS].sel);
    x86_push(cpu, &st, g->size, ret);
    check_target(cpu, cs, g->off);
    if (lma) {
        x86_seg_null(cpu, X86_SS, cpl);
    } else {
        x86_desc_mark_accessed(cpu, &ss);
        x86_seg_set(cpu, X86_SS, ss_sel, &ss);
    }
    x86_stack_commit(cpu, &st);
    enter_code(cpu, cs, g->sel, cpl, g->off);
}

static void through_gate(struct x86_cpu *cpu, const struct x86_desc *d, uint32_t sel, bool call)
{
    struct call_gate g;
    struct x86_desc cs;
    uint64_t ret = cpu->rip;
    read_call_gate(cpu, d, sel, &g, &cs);
    bool conforming = cs.hi & SEG_EC;
    if (!call && !conforming && SEG_DPL(cs.hi) != cpu->cpl)
        x86_sel_fault(cpu, X86_GP, g.sel);
    if (call && !conforming && SEG_DPL(cs.hi) < cpu->cpl) {
        call_inner(cpu, &g, &cs, SEG_DPL(cs.hi), ret);
        return;
    }
    check_target(cpu, &cs, g.off);
    struct x86_stack st = x86_stack_now(cpu, cpu->cpl);
    if (call) {
        x86_push(cpu, &st, g.size, cpu->seg[X86_CS].sel);
        x86_push(cpu, &st, g.size, ret);
        x86_stack_commit(cpu, &st);
    }
    enter_code(cpu, &cs, g.sel, cpu->cpl, g.off);
}

/* System descriptors as targets: call gates, task gates, TSSs. */
static void far_system(struct x86_cpu *cpu, const struct x86_desc *d, uint32_t sel, bool call)
{
    unsigned type = d->hi >> 8 & 15;
    bool lma = x86_long_mode(cpu);
    if (type == 12 || (type == 4 && !lma)) {
        through_gate(cpu, d, sel, call);
        return;
    }
    bool task = !lma && (type == 5 || type == 1 || type == 9);
    if (!task || SEG_DPL(d->hi) < cpu->cpl || SEG_DPL(d->hi) < (sel & 3))
        x86_sel_fault(cpu, X86_GP, sel);
    if (!(d->hi & SEG_P))
        x86_sel_fault(cpu, X86_NP, sel);
    x86_task_switch(cpu, type == 5 ? d->lo >> 16 : sel, call ? X86_TASK_CALL : X86_TASK_JMP, cpu->rip, false, 0);
}

static void far_to(struct x86_cpu *cpu, uint32_t sel, uint64_t off, unsigned size, bool call)
{
    struct x86_desc cs;
    struct x86_stack st = x86_stack_now(cpu, cpu->cpl);
    uint64_t ret = cpu->rip;
    bool plain = plain_mode(cpu);
    if (plain) {
        if (off > cpu->seg[X86_CS].limit)
            x86_raise_err(cpu, X86_GP, 0);
    } else {
        if (!(sel & 0xfffc))
            x86_raise_err(cpu, X86_GP, 0);
        x86_read_desc(cpu, sel, X86_GP, &cs);
        if (!(cs.hi & SEG_S)) {
            far_system(cpu, &cs, sel, call);
            return;
        }
        if (!(cs.hi & SEG_CODE))
            x86_sel_fault(cpu, X86_GP, sel);
        check_direct_code(cpu, &cs, sel);
        check_target(cpu, &cs, off);
    }
    if (call) {
        x86_push(cpu, &st, size, cpu->seg[X86_CS].sel);
        x86_push(cpu, &st, size, ret);
        x86_stack_commit(cpu, &st);
    }
    if (plain)
        set_plain_cs(cpu, sel, off);
    else
        enter_code(cpu, &cs, sel, cpu->cpl, off);
}

/* a: selector, b: offset, c: operand size */
uint64_t helper_far_jmp(struct x86_cpu *cpu, uint64_t sel, uint64_t off, uint64_t size)
{
    far_to(cpu, sel & 0xffff, trunc_ip(off, (unsigned)size), (unsigned)size, false);
    return 0;
}

uint64_t helper_far_call(struct x86_cpu *cpu, uint64_t sel, uint64_t off, uint64_t size)
{
    far_to(cpu, sel & 0xffff, trunc_ip(off, (unsigned)size), (unsigned)size, true);
    return 0;
}

/* ---- returns ---- */
struct ret_frame { uint64_t rip, flags, sp; uint32_t cs, ss; unsigned size, imm; bool iret, outer; };

static uint64_t iret_mask(const struct x86_cpu *cpu, unsigned size)
{
    uint64_t m = RF_ARITH | RF_TF | RF_DF | RF_NT | RF_RF | RF_AC | RF_ID;
    bool plain_real = !(cpu->cr0 & CR0_PE);
    if (cpu->cpl == 0 || plain_real)
        m |= RF_IOPL | RF_VIF | RF_VIP;
    if (cpu->cpl <= (cpu->rflags & RF_IOPL) >> 12 || plain_real)
        m |= RF_IF;
    return size == 2 ? m & 0xffff : m;
}

static void set_flags(struct x86_cpu *cpu, uint64_t v, uint64_t mask)
{
    x86_set_rflags(cpu, (x86_get_rflags(cpu) & ~mask) | (v & mask));
}

static void ret_plain(struct x86_cpu *cpu, unsigned size, unsigned imm, bool iret)
{
    struct x86_stack st = x86_stack_now(cpu, cpu->cpl);
    uint64_t rip = x86_pop(cpu, &st, size), sel = x86_pop(cpu, &st, size), flags = iret ? x86_pop(cpu, &st, size) : 0;
    uint64_t mask = iret_mask(cpu, size);
    if (rip > cpu->seg[X86_CS].limit)
        x86_raise_err(cpu, X86_GP, 0);
    st.sp += imm;
    bool vme = iret && x86_vme(cpu);
    if (vme)
        x86_set_flags_vme(cpu, flags);
    x86_stack_commit(cpu, &st);
    if (iret && !vme)
        set_flags(cpu, flags, cpu->rflags & RF_VM ? mask & ~(uint64_t)RF_IOPL : mask & ~(uint64_t)(RF_VIF | RF_VIP));
    set_plain_cs(cpu, sel & 0xffff, rip);
    x86_after_transfer(cpu);
}

static void iret_to_v86(struct x86_cpu *cpu, struct x86_stack *st, const struct ret_frame *f)
{
    static const uint8_t order[] = { X86_SS, X86_ES, X86_DS, X86_FS, X86_GS };
    uint32_t sel[5];
    uint64_t sp = x86_pop(cpu, st, 4);
    for (int i = 0; i < 5; i++)
        sel[i] = x86_pop(cpu, st, 4) & 0xffff;
    x86_set_rflags(cpu, f->flags & 0x3f7fd7);
    cpu->cpl = 3;
    for (int i = 0; i < 5; i++)
        x86_seg_set_v86(cpu, order[i], sel[i]);
    x86_seg_set_v86(cpu, X86_CS, f->cs);
    cpu->regs[X86_RSP] = sp;
    cpu->rip = f->rip & 0xffff;
    x86_after_transfer(cpu);
}

/* Data segments that the outer level may not use become null. */
static void drop_inner_segs(struct x86_cpu *cpu, unsigned cpl)
{
    static const uint8_t segs[] = { X86_ES, X86_DS, X86_FS, X86_GS };
    for (unsigned i = 0; i < 4; i++) {
        const struct x86_seg *s = &cpu->seg[segs[i]];
        bool conforming = (s->attr & (SEG_CODE | SEG_EC)) == (SEG_CODE | SEG_EC);
        if ((s->attr & SEG_P) && SEG_DPL(s->attr) < cpl && !conforming)
            x86_seg_null(cpu, segs[i], 0);
    }
}

static void read_return_cs(struct x86_cpu *cpu, const struct ret_frame *f, struct x86_desc *cs)
{
    unsigned rpl = f->cs & 3;
    if (!(f->cs & 0xfffc))
        x86_sel_fault(cpu, X86_GP, 0);
    x86_read_desc(cpu, f->cs, X86_GP, cs);
    bool conforming = cs->hi & SEG_EC;
    if ((cs->hi & (SEG_S | SEG_CODE)) != (SEG_S | SEG_CODE) || rpl < cpu->cpl ||
        (conforming ? SEG_DPL(cs->hi) > rpl : SEG_DPL(cs->hi) != rpl))
        x86_sel_fault(cpu, X86_GP, f->cs);
    check_long_code(cpu, cs, f->cs);
    if (!(cs->hi & SEG_P))
        x86_sel_fault(cpu, X86_NP, f->cs);
}

/* The outer (or, in 64-bit IRET, any) stack: checks, and the descriptor when it is not null. */
static bool read_return_ss(struct x86_cpu *cpu, const struct ret_frame *f, const struct x86_desc *cs, struct x86_desc *ss)
{
    unsigned rpl = f->cs & 3;
    bool to64 = x86_long_mode(cpu) && (cs->hi & SEG_L);
    if (!(f->ss & 0xfffc)) {
        if (!to64 || rpl == 3 || (f->ss & 3) != rpl)
            x86_sel_fault(cpu, X86_GP, 0);
        return false;
    }
    x86_check_stack_seg(cpu, f->ss, rpl, X86_GP, ss);
    return true;
}

static void ret_prot(struct x86_cpu *cpu, unsigned size, unsigned imm, bool iret)
{
    struct x86_stack st = x86_stack_now(cpu, cpu->cpl);
    struct ret_frame f = { .size = size, .iret = iret };
    struct x86_desc cs, ss = { 0 };
    bool from64 = x86_code64(cpu), have_ss = false;
    f.rip = x86_pop(cpu, &st, size);
    f.cs = x86_pop(cpu, &st, size) & 0xffff;
    f.flags = iret ? x86_pop(cpu, &st, size) : 0;
    if (iret && size == 4 && cpu->cpl == 0 && (f.flags & RF_VM) && !x86_long_mode(cpu)) {
        iret_to_v86(cpu, &st, &f);
        return;
    }
    read_return_cs(cpu, &f, &cs);
    unsigned rpl = f.cs & 3, old = cpu->cpl;
    st.sp = (st.sp & ~st.mask) | ((st.sp + imm) & st.mask);
    f.outer = rpl > cpu->cpl || (iret && from64);
    if (f.outer) {
        f.sp = x86_pop(cpu, &st, size);
        f.ss = x86_pop(cpu, &st, size) & 0xffff;
        have_ss = read_return_ss(cpu, &f, &cs, &ss);
    }
    check_target(cpu, &cs, f.rip);
    uint64_t mask = iret_mask(cpu, size);
    if (have_ss)
        x86_desc_mark_accessed(cpu, &ss);
    x86_desc_mark_accessed(cpu, &cs);
    if (iret)
        set_flags(cpu, f.flags, mask);
    if (f.outer) {
        cpu->cpl = (uint8_t)rpl;
        if (have_ss)
            x86_seg_set(cpu, X86_SS, f.ss, &ss);
        else
            x86_seg_null(cpu, X86_SS, f.ss);
        st.mask = x86_long_mode(cpu) && (cs.hi & SEG_L) ? ~0ull : !have_ss || (ss.hi & SEG_DB) ? 0xffffffffu : 0xffff;
        st.sp = (f.sp & ~st.mask) | ((f.sp + imm) & st.mask);
        if (rpl > old)
            drop_inner_segs(cpu, rpl);
    }
    x86_stack_commit(cpu, &st);
    enter_code(cpu, &cs, f.cs, rpl, f.rip);
}

/* a: operand size, b: bytes of parameters to drop */
uint64_t helper_far_ret(struct x86_cpu *cpu, uint64_t size, uint64_t imm, uint64_t unused)
{
    if (plain_mode(cpu))
        ret_plain(cpu, (unsigned)size, (unsigned)imm, false);
    else
        ret_prot(cpu, (unsigned)size, (unsigned)imm, false);
    return 0;
}

/* a: operand size; cpu->rip is the next instruction's (setpc), for the task switch */
uint64_t helper_iret(struct x86_cpu *cpu, uint64_t size, uint64_t unused1, uint64_t unused2)
{
    if ((cpu->rflags & RF_VM) && (cpu->rflags & RF_IOPL) != RF_IOPL && !(x86_vme(cpu) && size == 2))
        x86_raise_err(cpu, X86_GP, 0);
    if (plain_mode(cpu)) {
        ret_plain(cpu, (unsigned)size, 0, true);
    } else if (cpu->rflags & RF_NT) {
        if (x86_long_mode(cpu))
            x86_raise_err(cpu, X86_GP, 0);
        uint32_t link = (uint32_t)x86_ld(cpu, cpu->seg[X86_TR].base, 2, x86_sys_mode(cpu));
        x86_task_switch(cpu, link, X86_TASK_IRET, cpu->rip, false, 0);
    } else {
        ret_prot(cpu, (unsigned)size, 0, true);
    }
    cpu->nmi_masked = false;
    cpu->intr_shadow = cpu->ss_shadow = false;
    x86_after_transfer(cpu);
    return 0;
}

/* ---- loads ---- */
/* a: segment register | 8 for MOV SS and POP SS, which shadow interrupts and traps for one instruction; b: selector */
uint64_t helper_load_seg(struct x86_cpu *cpu, uint64_t seg, uint64_t sel, uint64_t unused)
{
    x86_load_seg(cpu, seg & 7, (uint32_t)sel);
    if (seg & 8)
        cpu->intr_shadow = cpu->ss_shadow = true;
    return 0;
}

static void need_cpl0(struct x86_cpu *cpu)
{
    if (cpu->cpl)
        x86_raise_err(cpu, X86_GP, 0);
}

uint64_t helper_lldt(struct x86_cpu *cpu, uint64_t sel, uint64_t unused1, uint64_t unused2)
{
    need_cpl0(cpu);
    x86_load_ldt(cpu, sel & 0xffff, X86_GP);
    return 0;
}

uint64_t helper_ltr(struct x86_cpu *cpu, uint64_t a, uint64_t unused1, uint64_t unused2)
{
    uint32_t sel = a & 0xffff;
    struct x86_desc d;
    need_cpl0(cpu);
    if (!(sel & 0xfffc) || (sel & 4))
        x86_sel_fault(cpu, X86_GP, sel);
    x86_read_desc(cpu, sel, X86_GP, &d);
    unsigned type = d.hi >> 8 & 31;
    if (type != 9 && !(type == 1 && !x86_long_mode(cpu)))
        x86_sel_fault(cpu, X86_GP, sel);
    if (!(d.hi & SEG_P))
        x86_sel_fault(cpu, X86_NP, sel);
    uint64_t base = x86_long_mode(cpu) ? x86_desc_base64(cpu, &d, sel, X86_GP) : x86_desc_base(&d);
    d.hi |= 0x200;                                /* busy */
    x86_st(cpu, d.addr + 4, 4, d.hi, x86_sys_mode(cpu));
    x86_seg_set(cpu, X86_TR, sel, &d);
    cpu->seg[X86_TR].base = base;
    return 0;
}

static void umip(struct x86_cpu *cpu)
{
    if ((cpu->cr4 & CR4_UMIP) && cpu->cpl)
        x86_raise_err(cpu, X86_GP, 0);
}

uint64_t helper_umip_check(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    umip(cpu);
    return 0;
}

uint64_t helper_sldt(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    umip(cpu);
    return cpu->seg[X86_LDTR].sel;
}

uint64_t helper_str(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    umip(cpu);
    return cpu->seg[X86_TR].sel;
}

/* ---- questions about selectors: result bit 32 is ZF, low 32 bits the value ---- */
static bool visible(struct x86_cpu *cpu, uint32_t sel, const struct x86_desc *d)
{
    if ((d->hi & (SEG_S | SEG_CODE | SEG_EC)) == (SEG_S | SEG_CODE | SEG_EC))
        return true;
    return SEG_DPL(d->hi) >= cpu->cpl && SEG_DPL(d->hi) >= (sel & 3);
}

/* System types that LAR (and LSL) accept, a bit each. */
static bool system_type_ok(const struct x86_cpu *cpu, const struct x86_desc *d, bool lsl)
{
    unsigned mask = x86_long_mode(cpu) ? (lsl ? 0x0a04 : 0x1a04) : (lsl ? 0x0a0e : 0x1a3e);
    return (d->hi & SEG_S) || mask >> (d->hi >> 8 & 15) & 1;
}

uint64_t helper_lar(struct x86_cpu *cpu, uint64_t sel, uint64_t old, uint64_t unused)
{
    struct x86_desc d;
    if (!x86_try_desc(cpu, sel & 0xffff, &d) || !visible(cpu, sel & 0xffff, &d) || !system_type_ok(cpu, &d, false))
        return (uint32_t)old;
    return (d.hi & 0xffff00) | BIT(32);
}

uint64_t helper_lsl(struct x86_cpu *cpu, uint64_t sel, uint64_t old, uint64_t unused)
{
    struct x86_desc d;
    if (!x86_try_desc(cpu, sel & 0xffff, &d) || !visible(cpu, sel & 0xffff, &d) || !system_type_ok(cpu, &d, true))
        return (uint32_t)old;
    return x86_desc_limit(&d) | BIT(32);
}

static uint64_t verify(struct x86_cpu *cpu, uint32_t sel, bool write)
{
    struct x86_desc d;
    if (!x86_try_desc(cpu, sel, &d) || !(d.hi & SEG_S) || !visible(cpu, sel, &d))
        return 0;
    bool code = d.hi & SEG_CODE, rw = d.hi & SEG_RW;
    return write ? !code && rw : !code || rw;
}

uint64_t helper_verr(struct x86_cpu *cpu, uint64_t sel, uint64_t unused1, uint64_t unused2)
{
    return verify(cpu, sel & 0xffff, false);
}

uint64_t helper_verw(struct x86_cpu *cpu, uint64_t sel, uint64_t unused1, uint64_t unused2)
{
    return verify(cpu, sel & 0xffff, true);
}
