/*
 * Folding: what an op with these inputs is already known to be. Identities are rows, by op; constants are computed by tcg/eval.h.
 *
 * In: one insn of the block (not necessarily appended). Out: a ref that holds its result. An insn that defines flags is folded only when the
 * row says that the flags stay as they are. Constants made here are masked to the op's size.
 */
#include "tcg/eval.h"
#include "tcg/fold.h"

enum pat { END_OF_ROWS, ZERO, ONE, ONES, SAME, COUNT0 };     /* of input b; SAME: b is a; COUNT0: shift count 0 after masking */
enum res { R_A, R_ZERO, R_ONES };

struct fold_row { uint8_t b, res, keeps_flags; };

static const struct fold_row rows[IR_OP_COUNT][4] = {
    [IR_add] = { { ZERO, R_A, 0 } },
    [IR_sub] = { { ZERO, R_A, 0 }, { SAME, R_ZERO, 0 } },
    [IR_and] = { { ONES, R_A, 0 }, { ZERO, R_ZERO, 0 }, { SAME, R_A, 0 } },
    [IR_or] = { { ZERO, R_A, 0 }, { ONES, R_ONES, 0 }, { SAME, R_A, 0 } },
    [IR_xor] = { { ZERO, R_A, 0 }, { SAME, R_ZERO, 0 } },
    [IR_imul] = { { ONE, R_A, 0 }, { ZERO, R_ZERO, 0 } },
    [IR_shl] = { { COUNT0, R_A, 1 } },
    [IR_shr] = { { COUNT0, R_A, 1 } },
    [IR_sar] = { { COUNT0, R_A, 1 } },
    [IR_rol] = { { COUNT0, R_A, 1 } },
    [IR_ror] = { { COUNT0, R_A, 1 } },
    [IR_rcl] = { { COUNT0, R_A, 1 } },
    [IR_rcr] = { { COUNT0, R_A, 1 } },
    [IR_cmov] = { { SAME, R_A, 0 } },
};

/* What is folded with a constant's value holds for this pc only. */
static uint64_t value(struct ir_block *b, ir_ref r)
{
    if (ir_is_const_pc(b, r))
        b->movable = false;
    return b->consts[r - IR_CONST0];
}

static bool commutes(unsigned op)
{
    return op == IR_add || op == IR_adc || op == IR_and || op == IR_or || op == IR_xor || op == IR_imul;
}

static bool matches(struct ir_block *b, const struct ir_insn *in, unsigned pat)
{
    if (pat == SAME)
        return in->a == in->b;
    if (!ir_is_const(in->b))
        return false;
    uint64_t m = size_mask(in->size), v = value(b, in->b) & m;
    switch (pat) {
    case ZERO: return v == 0;
    case ONE: return v == 1;
    case ONES: return v == m;
    case COUNT0: return eval_count(v, in->size) == 0;
    default: return false;
    }
}

/* All inputs constant and the op depends on nothing else. */
static bool fold_const(struct ir_block *b, const struct ir_insn *in, ir_ref *ref)
{
    const struct ir_opinfo *info = &ir_opinfo[in->op];
    if ((info->attr & ~(FW | FP)) || (in->flags & IRF_FLAGS) || info->out[0] != 'd' || info->out[1] || !info->in[0])
        return false;
    struct ir_val v = { 0 };
    for (const char *p = info->in; *p; p++) {
        ir_ref r = *p == 'a' ? in->a : *p == 'b' ? in->b : in->c;
        if (*p == 'm' || !ir_is_const(r))
            return false;
        *(*p == 'a' ? &v.a : *p == 'b' ? &v.b : &v.c) = value(b, r);
    }
    if (!ir_eval(in->op, in->size, in->sub, in->imm, &v) || v.fault)
        return false;
    *ref = ir_const(b, v.d);
    return true;
}

enum fold ir_fold(struct ir_block *b, struct ir_insn *in, ir_ref *ref)
{
    if (in->op == IR_mov) {
        *ref = in->a;
        return FOLD_VALUE;
    }
    if (in->op == IR_deph)                 /* its d must stay its a */
        return FOLD_NO;
    if (commutes(in->op) && ir_is_const(in->a) && !ir_is_const(in->b)) {
        ir_ref t = in->a;
        in->a = in->b;
        in->b = t;
    }
    if (ir_is_const(in->a) && fold_const(b, in, ref))
        return FOLD_VALUE;
    if (!ir_is_const(in->b) && in->a != in->b)
        return FOLD_NO;
    for (const struct fold_row *r = rows[in->op]; r->b != END_OF_ROWS; r++) {
        if (((in->flags & IRF_FLAGS) && !r->keeps_flags) || !matches(b, in, r->b))
            continue;
        *ref = r->res == R_A ? in->a : ir_const(b, r->res == R_ZERO ? 0 : size_mask(in->size));
        return FOLD_VALUE;
    }
    return FOLD_NO;
}

/* Add V (already scaled) to the displacement; sums that wrap need only its low bits. */
static bool add_disp(struct ir_insn *in, uint64_t v)
{
    uint64_t s = (uint64_t)(int64_t)in->disp + v;
    if (!(in->flags & (IRF_ADDR32 | IRF_ADDR16)) && (uint64_t)(int64_t)(int32_t)s != s)
        return false;
    in->disp = (int32_t)(uint32_t)s;
    return true;
}

/* One that stays a pc does not fit a displacement, wherever it is moved to; but sums that wrap take anything. */
static uint64_t base_value(struct ir_block *b, const struct ir_insn *in, ir_ref r)
{
    return in->flags & (IRF_ADDR32 | IRF_ADDR16) || in->scale ? value(b, r) : b->consts[r - IR_CONST0];
}

bool ir_fold_base(struct ir_block *b, struct ir_insn *in)
{
    bool changed = false;
    if (ir_is_const(in->base) && add_disp(in, base_value(b, in, in->base))) {
        in->base = IR_NONE;
        changed = true;
    }
    if (ir_is_const(in->index) && add_disp(in, base_value(b, in, in->index) << in->scale)) {
        in->index = IR_NONE;
        in->scale = 0;
        changed = true;
    }
    if (in->base == IR_NONE && in->index != IR_NONE && !in->scale) {
        in->base = in->index;
        in->index = IR_NONE;
        changed = true;
    }
    return changed;
}

bool ir_mov_is_nop(unsigned size, ir_ref d, ir_ref a)
{
    return d == a && (size != 4 || ir_is_temp(d));      /* size 4 clears the upper half of a global */
}

void ir_compact(struct ir_block *b)
{
    unsigned n = 0;
    for (unsigned i = 0; i < b->n; i++) {
        const struct ir_insn *in = &b->insn[i];
        if (!ir_is_killed(in)) {
            if (n != i)
                b->insn[n] = *in;
            n++;
        } else if ((in->flags & IRF_LAST) && n && b->insn[n - 1].gi == in->gi) {
            b->insn[n - 1].flags |= IRF_LAST;
        }
    }
    b->n = n;
}
