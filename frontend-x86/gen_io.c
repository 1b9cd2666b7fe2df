/*
 * in, out: helpers that check IOPL and the TSS bitmap. An OUT ends the block: it may have moved A20, raised an interrupt or asked for a reset,
 * which the very next instruction must find done. SDM vol. 1 ch. 18.
 */
#include "frontend-x86/gen.h"

static ir_ref port(struct x86_gen *g, const struct x86_insn *i, unsigned n)
{
    return i->o[n].kind == OK_IMM ? gen_const(g, i->o[n].imm & 0xff) : ir_ext(g->ir, IR_zext, 8, 2, IR_NONE, X86_RDX);
}

void gen_in(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned s = i->o[0].size;
    ir_ref v = ir_call(g->ir, H_in, ir_temp(g->ir), port(g, i, 1), gen_const(g, s), IR_NONE);
    ir_mov(g->ir, s, X86_RAX, v);
}

void gen_out(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned s = i->o[1].size;
    ir_call(g->ir, H_out, IR_NONE, port(g, i, 0), X86_RAX, gen_const(g, s));
    gen_lookup_next(g);
}
