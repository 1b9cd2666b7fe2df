/* The folder, shared by the builder (tcg/ir.c) and constant propagation (tcg/opt_copy.c). */
#ifndef TCG_FOLD_H
#define TCG_FOLD_H
#include "tcg/ir.h"

/* Operand fields that hold refs, as letters; jcc's target is a constant in a that is no input. */
static inline const char *ir_ins(unsigned op) { return op == IR_jcc ? "a" : ir_opinfo[op].in; }
static inline ir_ref *ir_field(struct ir_insn *in, char f)
{
    return f == 'a' ? &in->a : f == 'b' ? &in->b : f == 'c' ? &in->c : f == 'd' ? &in->d : &in->e;
}

enum fold { FOLD_NO, FOLD_VALUE };
/* FOLD_VALUE: IN computes what *ref already is (one of its inputs, or a constant) at IN's size, and changes no flag; the insn may become a mov
   (or, where *ref is d itself and no bits change, nothing). IN's commutative inputs may be swapped in any case. */
enum fold ir_fold(struct ir_block *, struct ir_insn *in, ir_ref *ref);

/* A constant base or index goes into the displacement when it fits; true when changed. */
bool ir_fold_base(struct ir_block *, struct ir_insn *in);

/* mov of a to d at size changes nothing. */
bool ir_mov_is_nop(unsigned size, ir_ref d, ir_ref a);

/* Removes insns with op mov and no d (the mark of a removed insn), keeping IRF_LAST on the last insn of each guest instruction. */
void ir_compact(struct ir_block *);
static inline void ir_kill(struct ir_insn *in)
{
    in->op = IR_mov;
    in->d = in->e = IR_NONE;
    in->flags &= IRF_LAST;
}
static inline bool ir_is_killed(const struct ir_insn *in) { return in->op == IR_mov && in->d == IR_NONE; }
#endif
