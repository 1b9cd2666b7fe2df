/* bt bts btr btc (a bit string when the index is a register and the operand memory), bsf bsr tzcnt lzcnt popcnt. SDM vol. 2. */
#include "frontend-x86/gen.h"

static ir_ref bit_address(struct x86_gen *g, const struct x86_insn *i, unsigned s)
{
    unsigned lg = (unsigned)__builtin_ctz(s) + 3;
    ir_ref x = i->o[1].reg, ea = gen_ea(g, i, i->addrsize == 2 ? 4 : i->addrsize, IR_NONE);
    if (s < 8)
        x = ir_ext(g->ir, IR_sext, 8, s, IR_NONE, x);
    x = ir_op2(g->ir, IR_sar, 8, IR_NONE, x, gen_const(g, lg), 0);
    x = ir_op2(g->ir, IR_shl, 8, IR_NONE, x, gen_const(g, lg - 3), 0);
    return ir_op2(g->ir, IR_add, i->addrsize == 8 ? 8 : 4, IR_NONE, ea, x, 0);
}

void gen_bt(struct x86_gen *g, const struct x86_insn *i)
{
    const struct x86_operand *o = &i->o[0];
    unsigned s = o->size, acc = i->row->mnem == X86I_bt ? GEN_R : GEN_RW;
    enum ir_op op = i->row->mnem == X86I_bts ? IR_bts : i->row->mnem == X86I_btr ? IR_btr : i->row->mnem == X86I_btc ? IR_btc : IR_bt;
    enum ir_rmw rmw = i->row->mnem == X86I_bts ? RMW_bts : i->row->mnem == X86I_btr ? RMW_btr : RMW_btc;
    ir_ref b = gen_get(g, i, 1);
    if (o->kind != OK_MEM) {
        ir_op2(g->ir, op, s, op == IR_bt ? IR_NONE : o->reg, o->reg, b, IRF_FLAGS);
        return;
    }
    struct ir_mem m = i->o[1].kind == OK_GPR ? gen_mem_reg(g, i->mem.seg, bit_address(g, i, s), 0, i->addrsize, s, acc) : gen_mem(g, i, s, acc);
    b = ir_op2(g->ir, IR_and, s, IR_NONE, b, gen_const(g, 8 * s - 1), 0);
    if (op == IR_bt)
        ir_op2(g->ir, IR_bt, s, IR_NONE, ir_ld(g->ir, s, IR_LD_PLAIN, IR_NONE, &m), b, IRF_FLAGS);
    else
        ir_rmw(g->ir, rmw, s, IR_NONE, &m, b, IRF_FLAGS | (i->lock ? IRF_LOCK : 0));
}

void gen_bscan(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref d = i->o[0].reg, v = gen_get(g, i, 1);
    unsigned s = i->o[0].size;
    switch (i->row->mnem) {
    case X86I_bsf: ir_op2(g->ir, IR_bsf, s, d, v, d, IRF_FLAGS); break;
    case X86I_bsr: ir_op2(g->ir, IR_bsr, s, d, v, d, IRF_FLAGS); break;
    case X86I_tzcnt: ir_op1(g->ir, IR_tzcnt, s, d, v, IRF_FLAGS); break;
    case X86I_lzcnt: ir_op1(g->ir, IR_lzcnt, s, d, v, IRF_FLAGS); break;
    default: ir_op1(g->ir, IR_popcnt, s, d, v, IRF_FLAGS); break;
    }
}
