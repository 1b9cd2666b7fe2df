/* Shifts and rotates: rol ror rcl rcr shl shr sar, shld shrd. A count of zero keeps the flags: the IR ops say so. SDM vol. 1 ch. 7.3.6. */
#include "frontend-x86/gen.h"

static void pick(unsigned mnem, enum ir_op *op, enum ir_rmw *rmw)
{
    switch (mnem) {
    case X86I_rol: *op = IR_rol; *rmw = RMW_rol; break;
    case X86I_ror: *op = IR_ror; *rmw = RMW_ror; break;
    case X86I_rcl: *op = IR_rcl; *rmw = RMW_rcl; break;
    case X86I_rcr: *op = IR_rcr; *rmw = RMW_rcr; break;
    case X86I_shr: *op = IR_shr; *rmw = RMW_shr; break;
    case X86I_sar: *op = IR_sar; *rmw = RMW_sar; break;
    default: *op = IR_shl; *rmw = RMW_shl; break;
    }
}

void gen_shift(struct x86_gen *g, const struct x86_insn *i)
{
    const struct x86_operand *o = &i->o[0];
    enum ir_op op;
    enum ir_rmw rmw;
    ir_ref count = i->n_opnd > 1 ? gen_get(g, i, 1) : gen_const(g, 1);
    pick(i->row->mnem, &op, &rmw);
    if (o->kind == OK_MEM) {
        struct ir_mem m = gen_mem(g, i, o->size, GEN_RW);
        ir_rmw(g->ir, rmw, o->size, IR_NONE, &m, count, IRF_FLAGS);
        return;
    }
    ir_ref x = gen_get(g, i, 0);
    if (o->kind == OK_GPRH)
        gen_put_reg(g, o, ir_op2(g->ir, op, 1, ir_temp(g->ir), x, count, IRF_FLAGS));
    else
        ir_op2(g->ir, op, o->size, x, x, count, IRF_FLAGS);
}

/* With memory the access is a write from the start, so its fault is. The flags come after the store: the shift is done twice, first without flags, because the store may fault. */
void gen_shd(struct x86_gen *g, const struct x86_insn *i)
{
    const struct x86_operand *o = &i->o[0];
    enum ir_op op = i->row->mnem == X86I_shld ? IR_shld : IR_shrd;
    ir_ref count = gen_get(g, i, 2), fill = gen_get(g, i, 1);
    if (o->kind != OK_MEM) {
        ir_op3(g->ir, op, o->size, o->reg, o->reg, fill, count, IRF_FLAGS);
        return;
    }
    struct ir_mem m = gen_mem(g, i, o->size, GEN_RW);
    ir_call(g->ir, H_check_write, IR_NONE, gen_linear(g, &m), gen_const(g, o->size), IR_NONE);
    ir_ref v = ir_ld(g->ir, o->size, IR_LD_PLAIN, IR_NONE, &m);
    ir_st(g->ir, o->size, &m, ir_op3(g->ir, op, o->size, IR_NONE, v, fill, count, 0));
    ir_op3(g->ir, op, o->size, ir_temp(g->ir), v, fill, count, IRF_FLAGS);
}
