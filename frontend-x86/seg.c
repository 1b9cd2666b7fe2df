/*
 * Descriptor reading, checks on loading a segment register, and stacks at any width (seg.h).
 *
 * In: selectors, tables in guest memory. Out: segment registers in the CPU state, or a raised fault with nothing changed.
 * In 64-bit mode loads of ES, DS and null selectors are frequent, so x86_load_seg tries those first. SDM vol. 2 MOV, vol. 3 ch. 3.4.5, 5.
 */
#include "frontend-x86/seg.h"
#include "x86/cpuid.h"
#include "frontend-x86/raise.h"

uint64_t x86_ld(struct x86_cpu *cpu, gva_t va, unsigned size, unsigned mode)
{
    uint64_t v = 0;
    mmu_ld_mem(x86_mmu(cpu), va, &v, size, mode);
    return v;
}

void x86_st(struct x86_cpu *cpu, gva_t va, unsigned size, uint64_t v, unsigned mode)
{
    mmu_st_mem(x86_mmu(cpu), va, &v, size, mode);
}

void x86_sel_fault(struct x86_cpu *cpu, unsigned vec, uint32_t sel)
{
    x86_raise_err(cpu, vec, (sel & 0xfffc) | cpu->exc_ext);
}

bool x86_try_desc(struct x86_cpu *cpu, uint32_t sel, struct x86_desc *d)
{
    bool ldt = sel & 4;
    uint64_t base = ldt ? cpu->seg[X86_LDTR].base : cpu->gdt.base;
    uint32_t limit = ldt ? cpu->seg[X86_LDTR].limit : cpu->gdt.limit;
    if (!(sel & 0xfffc) || (sel | 7) > limit || (ldt && !(cpu->seg[X86_LDTR].attr & SEG_P)))
        return false;
    d->addr = base + (sel & 0xfff8);
    if (!x86_long_mode(cpu))
        d->addr &= 0xffffffffu;
    uint64_t v = x86_ld(cpu, d->addr, 8, x86_sys_mode(cpu));
    d->lo = (uint32_t)v;
    d->hi = (uint32_t)(v >> 32);
    return true;
}

void x86_read_desc(struct x86_cpu *cpu, uint32_t sel, unsigned vec, struct x86_desc *d)
{
    if (!x86_try_desc(cpu, sel, d))
        x86_sel_fault(cpu, vec, sel);
}

uint64_t x86_desc_base(const struct x86_desc *d)
{
    return d->lo >> 16 | (d->hi & 0xff) << 16 | (d->hi & 0xff000000u);
}

uint32_t x86_desc_limit(const struct x86_desc *d)
{
    uint32_t limit = (d->lo & 0xffff) | (d->hi & 0xf0000);
    return d->hi & SEG_G ? limit << 12 | 0xfff : limit;
}

uint64_t x86_desc_base64(struct x86_cpu *cpu, const struct x86_desc *d, uint32_t sel, unsigned vec)
{
    uint32_t limit = sel & 4 ? cpu->seg[X86_LDTR].limit : cpu->gdt.limit;
    if ((sel & 0xfff8) + 15 > limit)
        x86_sel_fault(cpu, vec, sel);
    uint64_t high = x86_ld(cpu, d->addr + 8, 8, x86_sys_mode(cpu));
    uint64_t base = x86_desc_base(d) | high << 32;
    if ((high >> 32 & 0x1f00) || !x86_canonical_wide(cpu, base))
        x86_sel_fault(cpu, vec, sel);
    return base;
}

void x86_desc_mark_accessed(struct x86_cpu *cpu, struct x86_desc *d)
{
    if (d->hi & SEG_A)
        return;
    d->hi |= SEG_A;
    x86_st(cpu, d->addr + 5, 1, d->hi >> 8 & 0xff, x86_sys_mode(cpu));
}

void x86_seg_set(struct x86_cpu *cpu, unsigned seg, uint32_t sel, const struct x86_desc *d)
{
    struct x86_seg *s = &cpu->seg[seg];
    s->sel = (uint16_t)sel;
    s->base = x86_desc_base(d);
    s->limit = x86_desc_limit(d);
    s->attr = d->hi & 0xf0ff00;
}

void x86_seg_set_real(struct x86_cpu *cpu, unsigned seg, uint32_t sel)
{
    struct x86_seg *s = &cpu->seg[seg];
    s->sel = (uint16_t)sel;
    s->base = (sel & 0xffff) << 4;
}

void x86_seg_set_v86(struct x86_cpu *cpu, unsigned seg, uint32_t sel)
{
    struct x86_seg *s = &cpu->seg[seg];
    s->sel = (uint16_t)sel;
    s->base = (sel & 0xffff) << 4;
    s->limit = 0xffff;
    s->attr = SEG_P | SEG_S | SEG_RW | SEG_A | 3u << 13;
}

/* A null selector: unusable. FS and GS bases are cleared too (Intel); in long mode SS stays a stack of DPL = RPL. */
void x86_seg_null(struct x86_cpu *cpu, unsigned seg, uint32_t sel)
{
    struct x86_seg *s = &cpu->seg[seg];
    s->sel = (uint16_t)sel;
    s->base = 0;
    s->limit = 0;
    s->attr = 0;
    if (seg == X86_SS && x86_long_mode(cpu)) {
        s->limit = 0xffffffffu;
        s->attr = SEG_P | SEG_S | SEG_RW | SEG_A | SEG_G | SEG_DB | (sel & 3) << 13;
    }
}

void x86_check_stack_seg(struct x86_cpu *cpu, uint32_t sel, unsigned cpl, unsigned vec, struct x86_desc *d)
{
    if (!(sel & 0xfffc))
        x86_sel_fault(cpu, vec, sel);
    x86_read_desc(cpu, sel, vec, d);
    if ((sel & 3) != cpl || SEG_DPL(d->hi) != cpl || (d->hi & (SEG_S | SEG_CODE | SEG_RW)) != (SEG_S | SEG_RW))
        x86_sel_fault(cpu, vec, sel);
    if (!(d->hi & SEG_P))
        x86_sel_fault(cpu, X86_SSF, sel);
}

static void load_data_seg(struct x86_cpu *cpu, unsigned seg, uint32_t sel)
{
    struct x86_desc d;
    x86_read_desc(cpu, sel, X86_GP, &d);
    bool code = d.hi & SEG_CODE;
    if (!(d.hi & SEG_S) || (code && !(d.hi & SEG_RW)))
        x86_sel_fault(cpu, X86_GP, sel);
    if (!(code && (d.hi & SEG_EC)) && (SEG_DPL(d.hi) < cpu->cpl || SEG_DPL(d.hi) < (sel & 3)))
        x86_sel_fault(cpu, X86_GP, sel);
    if (!(d.hi & SEG_P))
        x86_sel_fault(cpu, X86_NP, sel);
    x86_desc_mark_accessed(cpu, &d);
    x86_seg_set(cpu, seg, sel, &d);
}

static void load_stack_seg(struct x86_cpu *cpu, uint32_t sel)
{
    struct x86_desc d;
    if (!(sel & 0xfffc)) {
        if (!x86_code64(cpu) || cpu->cpl == 3 || (sel & 3) != cpu->cpl)
            x86_sel_fault(cpu, X86_GP, 0);
        x86_seg_null(cpu, X86_SS, sel);
        return;
    }
    x86_check_stack_seg(cpu, sel, cpu->cpl, X86_GP, &d);
    x86_desc_mark_accessed(cpu, &d);
    x86_seg_set(cpu, X86_SS, sel, &d);
}

void x86_load_seg(struct x86_cpu *cpu, unsigned seg, uint32_t sel)
{
    sel &= 0xffff;
    if (!(cpu->cr0 & CR0_PE))
        x86_seg_set_real(cpu, seg, sel);
    else if (cpu->rflags & RF_VM)
        x86_seg_set_v86(cpu, seg, sel);
    else if (seg == X86_SS)
        load_stack_seg(cpu, sel);
    else if (!(sel & 0xfffc))
        x86_seg_null(cpu, seg, sel);
    else
        load_data_seg(cpu, seg, sel);
}

void x86_load_ldt(struct x86_cpu *cpu, uint32_t sel, unsigned vec)
{
    struct x86_desc d;
    if (!(sel & 0xfffc)) {
        x86_seg_null(cpu, X86_LDTR, sel);
        return;
    }
    if (sel & 4)
        x86_sel_fault(cpu, vec, sel);
    x86_read_desc(cpu, sel, vec, &d);
    if ((d.hi & (SEG_S | 0xf00)) != 0x200)
        x86_sel_fault(cpu, vec, sel);
    uint64_t base = x86_long_mode(cpu) ? x86_desc_base64(cpu, &d, sel, vec) : x86_desc_base(&d);
    if (!(d.hi & SEG_P))
        x86_sel_fault(cpu, vec == X86_GP ? X86_NP : vec, sel);
    x86_seg_set(cpu, X86_LDTR, sel, &d);
    cpu->seg[X86_LDTR].base = base;
}

struct x86_stack x86_stack_now(struct x86_cpu *cpu, unsigned cpl)
{
    struct x86_stack s = { .sp = cpu->regs[X86_RSP], .mode = x86_stack_mode(cpu, cpl), .wide = x86_code64(cpu) };
    s.mask = s.wide ? ~0ull : cpu->seg[X86_SS].attr & SEG_DB ? 0xffffffffu : 0xffff;
    s.base = s.wide ? 0 : cpu->seg[X86_SS].base;
    s.limit = cpu->seg[X86_SS].limit;
    s.attr = cpu->seg[X86_SS].attr;
    return s;
}

struct x86_stack x86_stack_new(struct x86_cpu *cpu, uint32_t sel, const struct x86_desc *ss, uint64_t sp, unsigned cpl)
{
    struct x86_stack s = { .base = x86_desc_base(ss), .sp = sp, .mode = x86_stack_mode(cpu, cpl), .limit = x86_desc_limit(ss), .attr = ss->hi };
    s.mask = ss->hi & SEG_DB ? 0xffffffffu : 0xffff;
    s.err = sel & 0xfffc;
    return s;
}

static gva_t stack_address(const struct x86_stack *s)
{
    gva_t va = s->base + (s->sp & s->mask);
    return s->wide ? va : (uint32_t)va;
}

static void check_stack(struct x86_cpu *cpu, const struct x86_stack *s, unsigned size)
{
    uint64_t lo = s->sp & s->mask, last = lo + size - 1;
    bool down = (s->attr & (SEG_CODE | SEG_EC)) == SEG_EC;
    if (s->wide)
        return;
    if (down ? lo <= s->limit || last > (s->attr & SEG_DB ? 0xffffffffu : 0xffffu) : last > s->limit)
        x86_raise_err(cpu, X86_SSF, s->err | cpu->exc_ext);
}

/* #AC: for what a program does on its own stack. */
static void align_stack(struct x86_cpu *cpu, const struct x86_stack *s, unsigned size)
{
    bool on = s->mode == 2 && cpu->cpl == 3 && (cpu->cr0 & CR0_AM) && (cpu->rflags & RF_AC);
    if (unlikely(on && (stack_address(s) & (size - 1))))
        x86_raise_err(cpu, X86_AC, 0);
}

static void watch_stack(struct x86_cpu *cpu, const struct x86_stack *s, unsigned size, bool write)
{
    if (unlikely(cpu->dr[7] & 0xff))
        x86_watch(cpu, stack_address(s), size, write);
}

void x86_push(struct x86_cpu *cpu, struct x86_stack *s, unsigned size, uint64_t v)
{
    s->sp = (s->sp & ~s->mask) | ((s->sp - size) & s->mask);
    check_stack(cpu, s, size);
    align_stack(cpu, s, size);
    x86_st(cpu, stack_address(s), size, v, s->mode);
    watch_stack(cpu, s, size, true);
}

uint64_t x86_pop(struct x86_cpu *cpu, struct x86_stack *s, unsigned size)
{
    check_stack(cpu, s, size);
    align_stack(cpu, s, size);
    uint64_t v = x86_ld(cpu, stack_address(s), size, s->mode);
    watch_stack(cpu, s, size, false);
    s->sp = (s->sp & ~s->mask) | ((s->sp + size) & s->mask);
    return v;
}

void x86_stack_commit(struct x86_cpu *cpu, const struct x86_stack *s)
{
    uint64_t old = cpu->regs[X86_RSP];
    cpu->regs[X86_RSP] = s->mask == 0xffff ? (old & ~0xffffull) | (s->sp & 0xffff) : s->sp & s->mask;
}

void x86_after_transfer(struct x86_cpu *cpu)
{
    struct tcg_env *env = tcg_env_of(cpu);
    mmu_set_mode(env->mmu);
    x86_look_again(cpu);
}
