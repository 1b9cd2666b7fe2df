/* mul imul div idiv. SDM vol. 2. */
#include "frontend-x86/gen.h"

static void wide(struct x86_gen *g, const struct x86_insn *i, enum ir_op op)
{
    unsigned s = i->o[0].size;
    ir_ref v = gen_get(g, i, 0);
    if (s == 1) {
        ir_ref t = ir_temp(g->ir);
        ir_muldiv(g->ir, op, 1, t, IR_NONE, X86_RAX, v, IR_NONE, IRF_FLAGS);
        ir_mov(g->ir, 2, X86_RAX, t);
    } else {
        ir_muldiv(g->ir, op, s, X86_RAX, X86_RDX, X86_RAX, v, IR_NONE, IRF_FLAGS);
    }
}

void gen_mul(struct x86_gen *g, const struct x86_insn *i) { wide(g, i, IR_mulu); }

void gen_imul(struct x86_gen *g, const struct x86_insn *i)
{
    if (i->n_opnd == 1) {
        wide(g, i, IR_muls);
        return;
    }
    unsigned n = i->n_opnd == 3 ? 1 : 0;
    ir_ref a = gen_get(g, i, n);
    ir_op2(g->ir, IR_imul, i->o[0].size, i->o[0].reg, a, gen_get(g, i, n + 1), IRF_FLAGS);
}

void gen_div(struct x86_gen *g, const struct x86_insn *i)
{
    enum ir_op op = i->row->mnem == X86I_idiv ? IR_divs : IR_divu;
    unsigned s = i->o[0].size;
    ir_ref v = gen_get(g, i, 0);
    if (s == 1) {
        ir_ref t = ir_temp(g->ir);
        ir_muldiv(g->ir, op, 1, t, IR_NONE, X86_RAX, IR_NONE, v, 0);
        ir_mov(g->ir, 2, X86_RAX, t);
    } else {
        ir_muldiv(g->ir, op, s, X86_RAX, X86_RDX, X86_RAX, X86_RDX, v, 0);
    }
}
