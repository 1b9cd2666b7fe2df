/*
 * Is the block movable still? Constants that are pcs may stand where an op takes one as it is, all bits of it; anything else that is done with their values
 * depends on where the block is. In: movable as frontend and folding left it. Out: movable, of which a backend makes what tcg/move.c uses.
 */
#include "tcg/ir.h"

static bool taken_whole(const struct ir_block *b, const struct ir_insn *in)
{
    switch (in->op) {
    case IR_mov: return in->size == 8;
    case IR_st: return in->size == (ir_pc_low(b->pc) ? 4 : 8);
    case IR_setpc: case IR_jmp: case IR_jcc: case IR_call: return true;
    default: return false;
    }
}

/* Another constant so near may be a pc that its maker forgot to call one. (Among low ones there are too many.) */
static bool suspect(const struct ir_block *b, unsigned i)
{
    return !ir_pc_low(b->pc) && b->consts[i] - b->pc + (1ull << 32) < 1ull << 33 && !ir_is_const_pc(b, (ir_ref)(IR_CONST0 + i));
}

void opt_move(struct ir_block *b)
{
    for (unsigned i = 0; i < b->n_consts && b->movable; i++)
        if (suspect(b, i))
            b->movable = false;
    for (unsigned i = 0; i < b->n && b->movable; i++) {
        const struct ir_insn *in = &b->insn[i];
        if (!ir_is_const(in->a) && !ir_is_const(in->b) && !ir_is_const(in->c) && !ir_is_const(in->base) && !ir_is_const(in->index))
            continue;
        bool any = ir_is_const_pc(b, in->a) || ir_is_const_pc(b, in->b) || ir_is_const_pc(b, in->c);
        bool fixed = (in->op == IR_jmp || in->op == IR_jcc) && !ir_is_const_pc(b, in->a);      /* a way out to where it always goes */
        if (fixed || (any && !taken_whole(b, in)) || ir_is_const_pc(b, in->base) || ir_is_const_pc(b, in->index))
            b->movable = false;
    }
}
