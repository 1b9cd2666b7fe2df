/*
 * The cases of gen_system.c and gen_kvm.c: a random encoding of a row of insns.def, with registers, operands and a stack such as it would like, on the
 * bare machines of sys_world.h.
 */
#ifndef TESTS_UNIT_SYS_CASE_H
#define TESTS_UNIT_SYS_CASE_H
#include "tests/unit/sys_world.h"

static uint64_t frame_word(unsigned k)               /* as IRET and far RET take them: ip, cs, flags, sp, ss */
{
    switch (k % 5) {
    case 0: return HANDLERS + pick(0x400);
    case 1: return some_selector();
    case 2: return (rnd() & 0x257fd5) | 2;
    case 3: return STACK3 + pick(0x4000);
    default: return some_selector();
    }
}

static void fill_stack(const struct x86_cpu *c, const struct x86_insn *i)
{
    bool iret = is_gen(i->row, gen_iret);
    uint64_t at = w->ss + c->regs[X86_RSP];
    for (unsigned k = 0; k < 10; k++, at += i->opsize) {
        uint64_t v = iret ? frame_word(k) : k % 2 ? some_selector() : some_address();
        memcpy(image + at, &v, i->opsize);
    }
}

/* Far pointers, table registers, XSAVE areas, VMCBs: what the operand in memory should look like to get far. */
static void fill_operand(const struct x86_insn *i, uint64_t ea)
{
    if (ea < WORK || ea > WORK + WORK_SIZE - 0x1000 || chance(4))
        return;
    if (is_gen(i->row, gen_far) || is_gen(i->row, gen_lseg)) {
        uint64_t off = HANDLERS + pick(0x400);
        uint16_t sel = some_selector();
        memcpy(image + ea, &off, i->opsize);
        memcpy(image + ea + i->opsize, &sel, 2);
    } else if (is_gen(i->row, gen_dtr)) {
        uint16_t limit = (uint16_t)(pick(2) ? 0xfff : value());
        uint64_t base = pick(3) ? (pick(2) ? GDT : w->lma ? IDT64 : IDT32) : value();
        memcpy(image + ea, &limit, 2);
        memcpy(image + ea + 2, &base, 8);
    } else if (is_gen(i->row, gen_fxsave) || is_gen(i->row, gen_invlpg)) {
        static struct state st;
        random_fpu(st.fpu);
        memcpy(image + ea, st.fpu, 512);
        memset(image + ea + 512, 0, 64);
        put64((uint32_t)ea + 512, exec_components & rnd());
        put64((uint32_t)ea + 520, pick(2) ? 0 : 1ull << 63 | (exec_components & rnd()));
        if (is_gen(i->row, gen_invlpg))
            put64((uint32_t)ea, pick(2) ? 0 : pick(0x1000));
    } else if (i->n_opnd && i->o[0].size == 2) {
        memcpy(image + ea, (uint16_t[]){ some_selector() }, 2);
    }
}

static bool place(struct x86_cpu *c, struct enc *e, struct x86_insn *i)
{
    unsigned base = i->mem.base, index = i->mem.vsib ? X86_NOREG : i->mem.index, size = i->addrsize;
    uint64_t seg = i->mem.seg < X86_SEGS ? c->seg[i->mem.seg].base : 0, ea = some_address();
    uint64_t mask = size == 8 ? ~0ull : size == 4 ? 0xffffffff : 0xffff;
    if (is_gen(i->row, gen_fxsave) && pick(8))
        ea &= ~63ull;
    if (w->ds)
        ea = WORK + (ea & 0x7fff);
    uint64_t off = ea - (w->mode == X86_M64 && i->mem.seg < X86_FS ? 0 : seg);
    if (base == X86_NOREG && index == X86_NOREG) {
        int32_t d = (int32_t)(off - (i->mem.rip_rel ? w->cs + c->rip + i->len : 0));
        if (e->disp_at)
            memcpy(e->b + e->disp_at, &d, e->a16 ? 2 : 4);
    } else if (base != X86_NOREG && base != X86_RSP) {
        if (index != X86_NOREG && index != base)
            off -= (c->regs[index] = pick(64)) << i->mem.scale;
        else if (index == base)
            off /= (1u << i->mem.scale) + 1;
        c->regs[base] = ((off - (uint64_t)i->mem.disp) & mask) | (size == 2 ? c->regs[base] & 0xffff0000 : 0);
    }
    fill_operand(i, ea);
    return true;
}

/* Registers that an instruction takes as numbers and values of its own kind. */
static void own_values(struct x86_cpu *c, const struct x86_insn *i)
{
    uint64_t v;
    if (is_gen(i->row, gen_msr)) {
        c->regs[X86_RCX] = chance(12) ? value() : x86_msrs[pick(x86_n_msrs)].num;
        if (pick(3) && !x86_rdmsr(c, (uint32_t)c->regs[X86_RCX], &v)) {
            v ^= pick(3) ? 1ull << pick(64) : 0;
            c->regs[X86_RAX] = (uint32_t)v, c->regs[X86_RDX] = v >> 32;
        }
    } else if (is_gen(i->row, gen_mov_cr) && i->opcode == 0x22) {
        static const uint32_t roots[] = { PML4, PDPT + 0x800, PD32 };
        unsigned n = i->o[0].reg;
        v = n == 0 ? c->cr0 : n == 4 ? c->cr4 : n == 3 ? (pick(3) ? c->cr3 : roots[pick(3)]) : value();
        c->regs[i->o[1].reg] = v ^ (pick(4) ? 1ull << pick(pick(4) ? 32 : 64) : 0);
    } else if (is_gen(i->row, gen_xcr)) {
        static const uint32_t x[] = { 0, 1, 2, 3, 5, 7, 0x27, 0xe7, 0xe3, 0x18, 0x1f };
        c->regs[X86_RCX] = chance(8) ? value() : pick(2);
        c->regs[X86_RAX] = x[pick(ARRAY_SIZE(x))], c->regs[X86_RDX] = chance(8);
    } else if (is_gen(i->row, gen_fxsave)) {
        c->regs[X86_RAX] = pick(2) ? ~0u : rnd() & 0xff, c->regs[X86_RDX] = pick(2) ? 0 : (uint32_t)rnd();
    } else if (is_gen(i->row, gen_cpuid)) {
        c->regs[X86_RAX] = pick(0x20) | (pick(2) ? 0 : pick(2) ? 0x80000000u : 0x40000000u);
        c->regs[X86_RCX] = pick(10);
    } else if (is_gen(i->row, gen_syscall) && pick(4)) {
        c->regs[X86_RCX] = HANDLERS + pick(0x400), c->regs[X86_RDX] = HANDLERS + pick(0x400), c->regs[X86_R11] = rnd() & 0x257fd5;
    } else if (i->row->feat == FEAT_svm && pick(4)) {
        c->regs[X86_RAX] = WORK + pick(8) * 0x1000;
    } else if (i->n_opnd && i->o[0].kind == OK_GPR && (i->row->attr & X86_F_PROT) && pick(4)) {
        c->regs[i->o[i->n_opnd - 1].reg] = some_selector();
    } else if (is_gen(i->row, gen_mov_seg) && i->n_opnd == 2 && i->o[1].kind == OK_GPR && pick(4)) {
        c->regs[i->o[1].reg] = some_selector();
    }
}

static bool make(struct x86_cpu *c, const struct x86_row *r, struct enc *e, struct x86_insn *i)
{
    struct gen g = { .mode = w->mode };
    encode(&g, r, e);
    if (x86_decode(i, e->b, 15, w->mode) != X86_OK || i->row != r)
        return false;
    own_values(c, i);
    if (is_gen(r, gen_shd) && i->opsize == 2)        /* counts above 16 are undefined */
        e->b[e->imm_at] &= 15, c->regs[X86_RCX] &= ~16ull;
    if (i->n_opnd && i->o[0].kind == OK_FAR) {
        uint64_t off = HANDLERS + pick(0x400);
        uint16_t sel = some_selector();
        memcpy(e->b + e->imm_at, &off, i->opsize);
        memcpy(e->b + e->imm_at + i->opsize, &sel, 2);
    }
    for (unsigned k = 0; k < i->n_opnd; k++)
        if (i->o[k].kind == OK_MEM && !field_used(r, LF_STRING)) {
            place(c, e, i);
            break;
        }
    if (field_used(r, LF_STRING)) {
        c->regs[X86_RCX] = pick(40);
        c->regs[X86_RSI] = some_address() - w->ds, c->regs[X86_RDI] = some_address() - w->ds;
    }
    if (w->ss + c->regs[X86_RSP] < MEM - 0x100)
        fill_stack(c, i);
    if (is_gen(r, gen_shd) && i->opsize == 2 && c->regs[X86_RCX] & 16)        /* the operand's address has taken the count's register */
        return false;
    return x86_decode(i, e->b, 15, w->mode) == X86_OK && i->row == r;
}

static bool by_host(const struct x86_row *r) { return usable(r, X86_M64) || usable(r, X86_M32) || usable(r, X86_M16); }
static bool fits(const struct x86_row *r, enum x86_mode mode)
{
    if (!r->gen || r->attr & (mode == X86_M64 ? X86_F_I64 : X86_F_ONLY64))
        return false;
    return mode == X86_M64 || r->w != 1 || r->attr & (X86_F_VEX | X86_F_EVEX);
}
#endif
