/*
 * Removes insns that nobody can notice: outputs are temps that are not read later, no flags, no memory, no fault, no side effect. One backward pass.
 *
 * Loads stay, even when their value is dead: they can fault. A subtraction or conjunction that is only wanted for its flags loses
 * its destination and becomes a compare or test. Movs that change nothing go, too.
 */
#include <string.h>
#include "tcg/eval.h"
#include "tcg/fold.h"
#include "tcg/frontend.h"

struct pass {
    struct ir_block *b;
    uint64_t used[(IR_MAX_TEMPS + 63) / 64];
};

static bool is_used(const struct pass *p, ir_ref r)
{
    return r != IR_NONE && (!ir_is_temp(r) || p->used[(r - IR_TEMP0) / 64] >> (r - IR_TEMP0) % 64 & 1);
}

static void use(struct pass *p, ir_ref r)
{
    if (ir_is_temp(r))
        p->used[(r - IR_TEMP0) / 64] |= 1ull << (r - IR_TEMP0) % 64;
}

static void unuse(struct pass *p, ir_ref r)
{
    if (ir_is_temp(r))
        p->used[(r - IR_TEMP0) / 64] &= ~(1ull << (r - IR_TEMP0) % 64);
}

static bool removable(const struct pass *p, const struct ir_insn *in)
{
    unsigned attr = ir_opinfo[in->op].attr;
    if (in->op == IR_mov && ir_mov_is_nop(in->size, in->d, in->a))
        return true;
    if (is_used(p, in->d) || is_used(p, in->e))
        return false;
    if (in->op == IR_call)
        return p->b->fe && (p->b->fe->helpers[in->imm].flags & TCGH_PURE);
    return !(in->flags & IRF_FLAGS) && !(attr & (LD | ST | FAULT | SIDE | CTL));
}

static void use_inputs(struct pass *p, const struct ir_insn *in)
{
    use(p, in->a), use(p, in->b), use(p, in->c), use(p, in->base), use(p, in->index);       /* what an op has no use for is IR_NONE */
}

void opt_dead(struct ir_block *b)
{
    struct pass p;
    bool killed = false;
    p.b = b;
    memset(p.used, 0, (b->n_temps + 63) / 64 * 8);
    for (unsigned i = b->n; i-- > 0;) {
        struct ir_insn *in = &b->insn[i];
        if (removable(&p, in)) {
            ir_kill(in);
            killed = true;
            continue;
        }
        if ((in->op == IR_sub || in->op == IR_and) && !is_used(&p, in->d))
            in->d = IR_NONE;
        unuse(&p, in->d);
        unuse(&p, in->e);
        use_inputs(&p, in);
    }
    if (killed)
        ir_compact(b);
}
