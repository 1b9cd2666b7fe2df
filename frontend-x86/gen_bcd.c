/* Decimal adjustment (helper_bcd) and bound. SDM vol. 2. */
#include "frontend-x86/gen.h"

void gen_bcd(struct x86_gen *g, const struct x86_insn *i)
{
    ir_call(g->ir, H_bcd, IR_NONE, gen_const(g, i->row->mnem), gen_const(g, i->n_opnd ? i->o[0].imm & 0xff : 10), IR_NONE);
}

void gen_bound(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned s = i->opsize;
    struct ir_mem m = gen_mem(g, i, 2 * s, GEN_R), hi = gen_mem_at(g, m, (int32_t)s);
    ir_ref lo_v = ir_ext(g->ir, IR_sext, 8, s, IR_NONE, ir_ld(g->ir, s, IR_LD_PLAIN, IR_NONE, &m));
    ir_ref hi_v = ir_ext(g->ir, IR_sext, 8, s, IR_NONE, ir_ld(g->ir, s, IR_LD_PLAIN, IR_NONE, &hi));
    ir_ref x = ir_ext(g->ir, IR_sext, 8, s, IR_NONE, i->o[0].reg);
    ir_call(g->ir, H_bound, IR_NONE, x, lo_v, hi_v);
}
