/*
 * Liveness of the six arithmetic flags, one backward pass.
 *
 * Out: for every insn fl_live, the flags that a later op really reads after it, and fl_fault, those that a fault, a helper call or leaving the block
 * before their redefinition could show: they need only be recoverable there. IRF_FLAGS is dropped where the flags that the op defines
 * are in neither; an op left without any effect is removed. Leaving the block, and helpers that are not pure, show all flags:
 * what the next block does with them is known only when blocks are linked.
 *
 * Labels: a forward branch finds its label's sets already recorded; a backward one assumes everything live.
 * A faulting insn shows the flags of before it, also when it defines flags itself.
 */
#include "tcg/eval.h"
#include "tcg/fold.h"
#include "tcg/frontend.h"
#include "tcg/native.h"

struct live { uint16_t read, fault; };

struct pass {
    struct ir_block *b;
    struct live now;
    struct live at[IR_MAX_LABELS];
    uint64_t seen;
};

static const struct live all_live = { FL_ALL, 0 }, all_shown = { 0, FL_ALL };

static struct live at_label(const struct pass *p, uint32_t label)
{
    return p->seen >> label & 1 ? p->at[label] : all_live;
}

static void merge(struct pass *p, struct live l)
{
    p->now.read |= l.read;
    p->now.fault |= l.fault;
}

/* Flags whose value the op itself uses, besides keeping some. */
static uint32_t flags_read(const struct ir_block *b, const struct ir_insn *in)
{
    switch (in->op) {
    case IR_adc: case IR_sbb: case IR_rcl: case IR_rcr: return FL_C;
    case IR_getf: return FL_ALL;
    case IR_cmov: case IR_setcc: case IR_brcc: case IR_jcc: return eval_cond_reads(in->sub);
    case IR_setcf: return in->sub == 2 && (in->flags & IRF_FLAGS) ? FL_C : 0;
    case IR_native: return b->natives[in->imm].reads_flags ? FL_ALL : 0;
    case IR_rmw: return in->sub == RMW_adc || in->sub == RMW_sbb || in->sub == RMW_rcl || in->sub == RMW_rcr ? FL_C : 0;
    default: return 0;
    }
}

/* The shift count when it is known, else -1. */
static int const_count(const struct ir_block *b, const struct ir_insn *in)
{
    ir_ref r = in->op == IR_rmw ? in->a : in->op == IR_shld || in->op == IR_shrd ? in->c : in->b;
    return ir_is_const(r) ? (int)eval_count(b->consts[r - IR_CONST0], in->size) : -1;
}

static uint32_t written(const struct ir_block *b, const struct ir_insn *in, uint32_t *sure)
{
    enum ir_op op = in->op == IR_rmw ? ir_rmw_op(in->sub) : (enum ir_op)in->op;
    if (op == IR_native && b->natives[in->imm].reads_flags) {
        *sure = 0;                       /* adcx and the like: it keeps part of what it reads */
        return FL_ALL;
    }
    return ir_flags_written(op, in->imm, const_count(b, in), sure);
}

/* IRF_FLAGS insn: decide whether it must define them; the state becomes that of before it. */
static void define(struct pass *p, struct ir_insn *in)
{
    uint32_t sure, w = written(p->b, in, &sure);
    const struct ir_opinfo *info = &ir_opinfo[in->op];
    if (!((p->now.read | p->now.fault) & w) && in->op != IR_native) {
        in->flags &= (uint8_t)~IRF_FLAGS;
        if (in->d == IR_NONE && in->e == IR_NONE && !(info->attr & (LD | ST | FAULT | SIDE | CTL)))
            ir_kill(in);
        return;
    }
    p->now.read &= (uint16_t)~sure;
    p->now.fault &= (uint16_t)~sure;
}

static void step(struct pass *p, struct ir_insn *in)
{
    unsigned attr = ir_opinfo[in->op].attr;
    if (attr & END)
        p->now = all_shown;
    else if (in->op == IR_jcc || in->op == IR_jmpc || (in->op == IR_call && !(p->b->fe && p->b->fe->helpers[in->imm].flags & TCGH_PURE)))
        p->now.fault = FL_ALL;
    else if (in->op == IR_br)
        p->now = at_label(p, in->imm);
    else if (in->op == IR_brcc || in->op == IR_brz || in->op == IR_brnz)
        merge(p, at_label(p, in->imm));
}

void opt_flags(struct ir_block *b)
{
    struct pass p;
    bool killed = false;
    p.b = b;
    p.now = all_shown;
    p.seen = 0;
    for (unsigned i = b->n; i-- > 0;) {
        struct ir_insn *in = &b->insn[i];
        unsigned attr = ir_opinfo[in->op].attr;
        /* What an exit or branch passes on is part of "after this insn" for it, too. */
        if (attr & (CTL | END))
            step(&p, in);
        in->fl_live = p.now.read;
        in->fl_fault = p.now.fault & (uint16_t)~p.now.read;
        if (in->op == IR_call)
            step(&p, in);
        if (in->flags & IRF_FLAGS) {
            define(&p, in);
            if (ir_is_killed(in)) {
                killed = true;
                continue;
            }
        }
        if (attr & (FR | FP | SIDE))
            p.now.read |= (uint16_t)flags_read(b, in);
        if ((attr & (LD | ST | FAULT)) || in->op == IR_native)
            p.now.fault = FL_ALL;
        if (in->op == IR_label) {
            p.at[in->imm] = p.now;
            p.seen |= 1ull << in->imm;
        }
    }
    if (killed)
        ir_compact(b);
}
