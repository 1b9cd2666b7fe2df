/*
 * The verifier: says what is wrong with a block, or nothing. Debug builds run it after every stage (tcg/pipeline.c); the parser's tests too.
 *
 * In: a complete block. Out: NULL, or a message in a static buffer (read it before the next call) and the index of the insn.
 * It checks shape (operands that the op uses and no others, sizes, indices in range), definition of temps before use within a straight line, the
 * END rule and the order of guest instruction numbers. It does not prove the precision rule of tcg/ir.h.
 */
#include <stdio.h>
#include <string.h>
#include "tcg/eval.h"
#include "tcg/fold.h"
#include "tcg/frontend.h"

struct verifier {
    const struct ir_block *b;
    uint16_t def_epoch[IR_MAX_TEMPS];      /* straight line in which the temp was last defined */
    uint16_t epoch;
    uint64_t placed;                       /* labels seen */
};

static __thread char why[128];

static const char *bad(const char *what, ir_ref r)
{
    snprintf(why, sizeof(why), "%s (ref 0x%x)", what, r);
    return why;
}

static const char *check_in(struct verifier *v, ir_ref r, bool const_ok)
{
    const struct ir_block *b = v->b;
    if (ir_is_global(r))
        return b->fe && r >= b->fe->n_globals ? bad("no such global", r) : NULL;
    if (ir_is_const(r)) {
        if (!const_ok)
            return bad("constant where a register or temp is needed", r);
        return r - IR_CONST0 >= (int)b->n_consts ? bad("no such constant", r) : NULL;
    }
    if (r - IR_TEMP0 >= (int)b->n_temps)
        return bad("no such temp", r);
    return v->def_epoch[r - IR_TEMP0] != v->epoch ? bad("temp used before it is defined in this straight line", r) : NULL;
}

static const char *check_out(struct verifier *v, ir_ref r)
{
    const struct ir_block *b = v->b;
    if (ir_is_const(r))
        return bad("output is a constant", r);
    if (ir_is_global(r))
        return b->fe && (r >= b->fe->n_globals || b->fe->globals[r].size != 8) ? bad("output is no writable global", r) : NULL;
    if (r - IR_TEMP0 >= (int)b->n_temps)
        return bad("no such temp", r);
    v->def_epoch[r - IR_TEMP0] = v->epoch;
    return NULL;
}

static bool may_be_none(const struct ir_insn *in, char f)
{
    unsigned op = in->op;
    if (op == IR_call || op == IR_native)
        return true;
    if (op == IR_rmw)
        return f == 'd' || (f == 'a' && (in->sub == RMW_inc || in->sub == RMW_dec || in->sub == RMW_neg || in->sub == RMW_not));
    if (op == IR_jmpc)
        return f != 'a';
    if (op == IR_divu || op == IR_divs)
        return f == 'e' || f == 'd' || (f == 'b' && in->size == 1);
    if (f == 'e')
        return true;
    return f == 'd' && (ir_opinfo[op].attr & (FW | FP));
}

static const char *check_mem(struct verifier *v, const struct ir_insn *in)
{
    const char *e = NULL;
    if (in->base != IR_NONE)
        e = check_in(v, in->base, false);
    if (!e && in->index != IR_NONE)
        e = check_in(v, in->index, false);
    if (!e && in->seg != IR_NONE && !ir_is_global(in->seg))
        e = bad("segment base is no global", in->seg);
    if (!e && in->scale > 3)
        e = "scale above 3";
    return e;
}

static const char *check_size(const struct ir_insn *in)
{
    unsigned s = in->size;
    if (s != 1 && s != 2 && s != 4 && s != 8)
        return "size is not 1, 2, 4 or 8";
    switch (in->op) {
    case IR_zext: case IR_sext:
        return in->sub != 1 && in->sub != 2 && in->sub != 4 ? "bad source size" : in->sub >= s ? "source not smaller than size" : NULL;
    case IR_bswap: case IR_lea: return s < 4 && !(in->op == IR_lea && s == 2) ? "size must be 4 or 8" : NULL;
    case IR_imul: case IR_shld: case IR_shrd: return s == 1 ? "size 1 does not exist" : NULL;
    case IR_cmov: case IR_setcc: case IR_brcc: case IR_jcc: return in->sub > 15 ? "bad condition" : NULL;
    case IR_rmw: return in->sub >= RMW_COUNT ? "bad rmw" : NULL;
    case IR_ld: return in->sub > IR_LD_SX8 ? "bad load kind" : NULL;
    case IR_jmpc: return in->sub < 1 || in->sub > 64 ? "bad number of bits" : in->d != in->b || ir_is_temp(in->d) ? "jmpc adds to one global" : NULL;
    case IR_setcf: case IR_fence: return in->sub > 2 ? "bad sub" : NULL;
    default: return NULL;
    }
}

static const char *check_imm(struct verifier *v, const struct ir_insn *in)
{
    const struct ir_block *b = v->b;
    switch (in->op) {
    case IR_label:
        if (in->imm >= b->n_labels || (v->placed >> in->imm & 1))
            return "label out of range or placed twice";
        v->placed |= 1ull << in->imm;
        return NULL;
    case IR_br: case IR_brcc: case IR_brz: case IR_brnz: return in->imm >= b->n_labels ? "no such label" : NULL;
    case IR_call: return b->fe && in->imm >= b->fe->n_helpers ? "no such helper" : NULL;
    case IR_native: return in->imm >= b->n_natives ? "no such native record" : NULL;
    case IR_jcc: case IR_jmp: return ir_is_const(in->a) ? NULL : "target is no constant";
    default: return NULL;
    }
}

static const char *check_insn(struct verifier *v, const struct ir_insn *in)
{
    const struct ir_opinfo *info = &ir_opinfo[in->op];
    struct ir_insn t = *in;
    const char *e = check_size(in);
    bool mem = strchr(info->in, 'm') != NULL;
    for (const char *p = ir_ins(in->op); !e && *p; p++) {
        ir_ref r = *p == 'm' ? IR_NONE : *ir_field(&t, *p);
        if (*p == 'm')
            e = check_mem(v, in);
        else if (r != IR_NONE)
            e = check_in(v, r, true);
        else if (!may_be_none(in, *p))
            e = "missing input";
    }
    for (const char *p = info->out; !e && *p; p++) {
        ir_ref r = *ir_field(&t, *p);
        if (r != IR_NONE)
            e = check_out(v, r);
        else if (!may_be_none(in, *p))
            e = "missing output";
    }
    if (!e && !mem && (in->base != IR_NONE || in->index != IR_NONE || in->seg != IR_NONE))
        e = "address on an op without memory operand";
    if (!e && (in->flags & IRF_FLAGS) && !(info->attr & (FW | FP)) && in->op != IR_native)
        e = "op cannot define flags";
    if (!e && in->op == IR_deph && in->d != in->a)
        e = "deph into another register";
    return e ? e : check_imm(v, in);
}

static const char *check_branches(const struct verifier *v, unsigned *at)
{
    const struct ir_block *b = v->b;
    for (unsigned i = 0; i < b->n; i++) {
        const struct ir_insn *in = &b->insn[i];
        bool br = in->op == IR_br || in->op == IR_brcc || in->op == IR_brz || in->op == IR_brnz;
        if (br && !(v->placed >> in->imm & 1)) {
            *at = i;
            return "branch to a label that is nowhere";
        }
    }
    return NULL;
}

const char *ir_verify(const struct ir_block *b, unsigned *at)
{
    struct verifier v = { .b = b, .epoch = 1 };
    unsigned gi = 0;
    *at = 0;
    if (!b->n)
        return "empty block";
    for (unsigned i = 0; i < b->n; i++) {
        const struct ir_insn *in = &b->insn[i];
        *at = i;
        if (in->op >= IR_OP_COUNT)
            return "no such op";
        const char *e = check_insn(&v, in);
        if (e)
            return e;
        if (in->gi < gi || (b->n_guest && in->gi >= b->n_guest))
            return "guest instruction number out of order";
        gi = in->gi;
        if (in->op == IR_label || in->op == IR_br)             /* past a conditional branch that was not taken the line goes on */
            v.epoch++;
        if (i + 1 == b->n && !(ir_opinfo[in->op].attr & END))
            return "the last insn does not leave the block";
    }
    return check_branches(&v, at);
}
