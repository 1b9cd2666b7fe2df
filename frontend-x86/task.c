/*
 * Task switches through TSSs and task gates (not in long mode): JMP, CALL, IRET and interrupts.
 *
 * In: the selector of the new task's TSS and how it is entered. Out: the old state saved in its TSS, the new one loaded. Checks up to the
 * commit point raise in the old task; faults on loading segments afterwards are raised in the new one, as the processor does: its
 * general registers, rip and CR3 are in place then. SDM vol. 3 ch. 7.2 (TSS formats), 7.3 (steps), table 7-2 (busy, NT, link).
 */
#include "core/log.h"
#include "frontend-x86/helper_sys.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"

static const uint8_t reg_order[8] = { X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI };

struct tss_image { uint32_t cr3, rip, flags, regs[8], seg[6], ldt; bool trap; };

static void save_old(struct x86_cpu *cpu, uint64_t rip, uint64_t flags)
{
    bool wide = cpu->seg[X86_TR].attr >> 8 & 8;
    unsigned n = wide ? 4 : 2, at = wide ? 0x20 : 14, mode = x86_sys_mode(cpu);
    gva_t base = cpu->seg[X86_TR].base;
    mmu_check(x86_mmu(cpu), base, wide ? 104 : 44, MMU_WRITE, mode);
    x86_st(cpu, base + at, n, rip, mode);
    x86_st(cpu, base + at + n, n, flags, mode);
    for (unsigned i = 0; i < 8; i++)
        x86_st(cpu, base + at + n * (2 + i), n, cpu->regs[reg_order[i]], mode);
    for (unsigned i = 0; i < (wide ? 6 : 4); i++)
        x86_st(cpu, base + at + n * (10 + i), 2, cpu->seg[i].sel, mode);
}

static void read_new(struct x86_cpu *cpu, gva_t base, bool wide, struct tss_image *t)
{
    unsigned n = wide ? 4 : 2, at = wide ? 0x20 : 14, mode = x86_sys_mode(cpu);
    mmu_check(x86_mmu(cpu), base, wide ? 104 : 44, MMU_READ, mode);
    *t = (struct tss_image){ .cr3 = wide ? (uint32_t)x86_ld(cpu, base + 0x1c, 4, mode) : 0 };
    t->rip = (uint32_t)x86_ld(cpu, base + at, n, mode);
    t->flags = (uint32_t)x86_ld(cpu, base + at + n, n, mode);
    for (unsigned i = 0; i < 8; i++)
        t->regs[i] = (uint32_t)x86_ld(cpu, base + at + n * (2 + i), n, mode) | (wide ? 0 : 0xffff0000u);
    for (unsigned i = 0; i < (wide ? 6 : 4); i++)
        t->seg[i] = (uint32_t)x86_ld(cpu, base + at + n * (10 + i), 2, mode);
    t->ldt = (uint32_t)x86_ld(cpu, base + (wide ? 0x60 : 0x2a), 2, mode);
    t->trap = wide && (x86_ld(cpu, base + 0x64, 2, mode) & 1);
}

static void set_busy(struct x86_cpu *cpu, gva_t desc, bool busy)
{
    unsigned mode = x86_sys_mode(cpu);
    uint64_t b = x86_ld(cpu, desc + 5, 1, mode);
    x86_st(cpu, desc + 5, 1, busy ? b | 2 : b & ~2ull, mode);
}

static void load_new_cs(struct x86_cpu *cpu, uint32_t sel)
{
    struct x86_desc d;
    if (!(sel & 0xfffc))
        x86_sel_fault(cpu, X86_TS, sel);
    x86_read_desc(cpu, sel, X86_TS, &d);
    bool conforming = d.hi & SEG_EC;
    if ((d.hi & (SEG_S | SEG_CODE)) != (SEG_S | SEG_CODE) || (conforming ? SEG_DPL(d.hi) > (sel & 3) : SEG_DPL(d.hi) != (sel & 3)))
        x86_sel_fault(cpu, X86_TS, sel);
    if (!(d.hi & SEG_P))
        x86_sel_fault(cpu, X86_NP, sel);
    x86_desc_mark_accessed(cpu, &d);
    x86_seg_set(cpu, X86_CS, sel, &d);
}

static void load_new_data(struct x86_cpu *cpu, unsigned seg, uint32_t sel)
{
    struct x86_desc d;
    if (!(sel & 0xfffc))
        return;
    x86_read_desc(cpu, sel, X86_TS, &d);
    bool code = d.hi & SEG_CODE, conforming = code && (d.hi & SEG_EC);
    if (!(d.hi & SEG_S) || (code && !(d.hi & SEG_RW)) || (!conforming && (SEG_DPL(d.hi) < cpu->cpl || SEG_DPL(d.hi) < (sel & 3))))
        x86_sel_fault(cpu, X86_TS, sel);
    if (!(d.hi & SEG_P))
        x86_sel_fault(cpu, X86_NP, sel);
    x86_desc_mark_accessed(cpu, &d);
    x86_seg_set(cpu, seg, sel, &d);
}

static void load_segs(struct x86_cpu *cpu, const struct tss_image *t)
{
    static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };
    struct x86_desc ss;
    if (cpu->rflags & RF_VM) {
        for (unsigned i = 0; i < 6; i++)
            x86_seg_set_v86(cpu, i, t->seg[i]);
        return;
    }
    load_new_cs(cpu, t->seg[X86_CS]);
    x86_check_stack_seg(cpu, t->seg[X86_SS], cpu->cpl, X86_TS, &ss);
    x86_desc_mark_accessed(cpu, &ss);
    x86_seg_set(cpu, X86_SS, t->seg[X86_SS], &ss);
    for (unsigned i = 0; i < 4; i++)
        load_new_data(cpu, data[i], t->seg[data[i]]);
}

/* From here on faults belong to the new task. */
static void load_state(struct x86_cpu *cpu, const struct tss_image *t, bool wide)
{
    for (unsigned i = 0; i < 8; i++)
        cpu->regs[reg_order[i]] = t->regs[i];
    x86_set_rflags(cpu, wide ? t->flags & 0x3f7fd7 : t->flags & 0x7fd7);
    cpu->rip = t->rip;
    if ((cpu->cr0 & CR0_PG) && wide) {
        if (cpu->cr4 & CR4_PAE)
            x86_set_pdptes(cpu, t->cr3);
        cpu->cr3 = t->cr3;
        mmu_set_root(x86_mmu(cpu));
    }
    cpu->cr0 |= CR0_TS;
    cpu->dr[7] &= ~0x155ull;                        /* local breakpoints */
    cpu->cpl = cpu->rflags & RF_VM ? 3 : t->seg[X86_CS] & 3;
    for (unsigned i = 0; i < 6; i++)
        x86_seg_null(cpu, i, t->seg[i]);
    x86_seg_null(cpu, X86_LDTR, t->ldt);
    mmu_set_mode(x86_mmu(cpu));
    x86_load_ldt(cpu, t->ldt, X86_TS);
    load_segs(cpu, t);
}

static gva_t read_tss_desc(struct x86_cpu *cpu, uint32_t sel, enum x86_task_how how, struct x86_desc *d)
{
    unsigned vec = how == X86_TASK_IRET ? X86_TS : X86_GP;
    if (!(sel & 0xfffc) || (sel & 4))
        x86_sel_fault(cpu, vec, sel);
    x86_read_desc(cpu, sel, vec, d);
    unsigned type = d->hi >> 8 & 31, want = how == X86_TASK_IRET ? 3 : 1;
    if ((type & ~8u) != want)
        x86_sel_fault(cpu, vec, sel);
    if (!(d->hi & SEG_P))
        x86_sel_fault(cpu, X86_NP, sel);
    if (x86_desc_limit(d) < (type & 8 ? 103u : 43u))
        x86_sel_fault(cpu, X86_TS, sel);
    return x86_desc_base(d);
}

static void push_error(struct x86_cpu *cpu, bool wide, uint32_t error)
{
    struct x86_stack st = x86_stack_now(cpu, cpu->cpl);
    x86_push(cpu, &st, wide ? 4 : 2, error);
    x86_stack_commit(cpu, &st);
}

void x86_task_switch(struct x86_cpu *cpu, uint32_t sel, enum x86_task_how how, uint64_t ret_rip, bool has_error, uint32_t error)
{
    struct x86_desc d;
    struct tss_image t;
    gva_t base = read_tss_desc(cpu, sel & 0xffff, how, &d);
    bool wide = d.hi >> 8 & 8, nested = how == X86_TASK_CALL || how == X86_TASK_INT;
    uint32_t old_sel = cpu->seg[X86_TR].sel;
    uint64_t flags = x86_get_rflags(cpu);
    if (svm_intercepted(cpu, SVM_TASK_SWITCH))
        svm_raise_exit(cpu, SVM_TASK_SWITCH, sel & 0xffff, (how == X86_TASK_IRET ? BIT(36) : how == X86_TASK_JMP ? BIT(38) : 0) |
                       (has_error ? BIT(44) | error : 0) | (flags & RF_RF ? BIT(48) : 0), ret_rip);
    read_new(cpu, base, wide, &t);
    save_old(cpu, ret_rip, how == X86_TASK_IRET ? flags & ~(uint64_t)RF_NT : flags);
    if (!nested)
        set_busy(cpu, cpu->gdt.base + (old_sel & 0xfff8), false);
    if (how != X86_TASK_IRET)
        set_busy(cpu, d.addr, true);
    if (nested) {
        x86_st(cpu, base, 2, old_sel, x86_sys_mode(cpu));
        t.flags |= RF_NT;
    }
    d.hi |= 0x200;
    x86_seg_set(cpu, X86_TR, sel & 0xffff, &d);
    struct tcg_env *env = tcg_env_of(cpu);
    bool in_code = env->in_code;
    void *interp = env->interp;
    env->in_code = false;                           /* rip and flags are the new task's: a fault must not rebuild the old one's */
    env->interp = NULL;
    load_state(cpu, &t, wide);
    if (cpu->rip > cpu->seg[X86_CS].limit)
        x86_raise_err(cpu, X86_GP, 0);
    if (has_error)
        push_error(cpu, wide, error);
    env->in_code = in_code;
    env->interp = interp;
    if (t.trap)
        x86_record_trap(cpu, 0x8000);
    x86_after_transfer(cpu);
}
