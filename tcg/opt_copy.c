/*
 * Copy and constant propagation, one forward pass, local to a straight line between labels.
 *
 * `mov t, x` makes later reads of t, of at most the mov's size, read x instead (a constant, another temp, or a guest register that has not
 * been written since); what becomes constant by that is folded on the way, constants in addresses join the displacement. The movs stay: tcg/opt_dead.c
 * removes those that nobody reads any more. Operands that an op wants in one place with an output (deph, cmpxchg, native) are left alone.
 */
#include <string.h>
#include "tcg/eval.h"
#include "tcg/fold.h"
#include "tcg/frontend.h"

struct copy { ir_ref src; uint16_t src_version, line; uint8_t size; };

struct pass {
    struct ir_block *b;
    uint16_t line;                                  /* straight line; entries of others are void */
    uint16_t version[IR_TEMP0 + IR_MAX_TEMPS];      /* writes so far to each global and temp */
    struct copy copy[IR_MAX_TEMPS];
};

/* Bytes of input f that the op reads. */
static unsigned read_size(const struct ir_insn *in, char f)
{
    switch (in->op) {
    case IR_zext: case IR_sext: return in->sub;
    case IR_exth: return 2;
    case IR_shl: case IR_shr: case IR_sar: case IR_rol: case IR_ror: case IR_rcl: case IR_rcr: return f == 'b' ? 1 : in->size;
    case IR_shld: case IR_shrd: return f == 'c' ? 1 : in->size;
    case IR_divu: case IR_divs: return f == 'a' && in->size == 1 ? 2 : in->size;
    case IR_deph: return f == 'b' ? 1 : 8;
    case IR_setf: return 4;
    default: return in->size;
    }
}

static bool pinned(const struct ir_insn *in, char f)
{
    switch (in->op) {
    case IR_native: case IR_jcc: return true;
    case IR_deph: case IR_cmpxchg: return f == 'a';
    case IR_jmpc: case IR_bsf: case IR_bsr: return f == 'b';
    default: return false;
    }
}

static const struct copy *lookup(const struct pass *p, ir_ref r, unsigned size)
{
    if (!ir_is_temp(r))
        return NULL;
    const struct copy *c = &p->copy[r - IR_TEMP0];
    if (c->line != p->line || c->size < size || (!ir_is_const(c->src) && p->version[c->src] != c->src_version))
        return NULL;
    return c;
}

static bool temp_in_mem(const struct ir_insn *in) { return ir_is_temp(in->base) || ir_is_temp(in->index); }

/* True: some input is another now. */
static bool replace_inputs(struct pass *p, struct ir_insn *in)
{
    bool changed = false;
    if (!ir_is_temp(in->a) && !ir_is_temp(in->b) && !ir_is_temp(in->c) && !temp_in_mem(in))
        return false;
    for (const char *f = ir_opinfo[in->op].in; *f; f++) {
        if (*f == 'm' && !temp_in_mem(in))
            continue;
        if (*f == 'm') {
            unsigned size = in->flags & IRF_ADDR16 ? 2 : in->flags & IRF_ADDR32 ? 4 : 8;
            const struct copy *c = lookup(p, in->base, size);
            struct ir_insn was = *in;
            if (c)
                in->base = c->src;
            if ((c = lookup(p, in->index, size)))
                in->index = c->src;
            ir_fold_base(p->b, in);
            if (ir_is_const(in->base) || ir_is_const(in->index))      /* does not fit: the temps stay */
                *in = was;
        } else if (!pinned(in, *f)) {
            ir_ref *r = ir_field(in, *f);
            const struct copy *c = lookup(p, *r, read_size(in, *f));
            if (c)
                *r = c->src;
            changed |= c != NULL;
        }
    }
    return changed;
}

/* A value now known becomes a mov. What has the inputs that it was built with has been tried then. */
static void refold(struct pass *p, struct ir_insn *in)
{
    ir_ref ref;
    if (in->op == IR_mov || in->d == IR_NONE || in->e != IR_NONE || (ir_opinfo[in->op].attr & (LD | ST | SIDE | CTL | FAULT)))
        return;
    if (p->b->n_consts == IR_MAX_CONSTS || ir_fold(p->b, in, &ref) != FOLD_VALUE)
        return;
    in->op = IR_mov;
    in->a = ref;
    in->b = in->c = IR_NONE;
    in->sub = 0;
    in->flags &= IRF_LAST;
}

static void wrote(struct pass *p, ir_ref r)
{
    if (r == IR_NONE)
        return;
    p->version[r]++;
    if (ir_is_temp(r))
        p->copy[r - IR_TEMP0].line = 0;
}

static void note_outputs(struct pass *p, const struct ir_insn *in)
{
    wrote(p, in->d);
    wrote(p, in->e);
    if (in->op == IR_call && !(p->b->fe && p->b->fe->helpers[in->imm].flags & TCGH_PURE))
        for (unsigned g = 0; g < IR_MAX_GLOBALS; g++)
            p->version[g]++;
    if (in->op == IR_label || in->op == IR_br || in->op == IR_brcc || in->op == IR_brz || in->op == IR_brnz)
        p->line++;
    if (in->op == IR_mov && ir_is_temp(in->d) && in->a != in->d) {
        struct copy *c = &p->copy[in->d - IR_TEMP0];
        *c = (struct copy){ in->a, ir_is_const(in->a) ? 0 : p->version[in->a], p->line, in->size };
    }
}

void opt_copy(struct ir_block *b)
{
    struct pass p;
    p.b = b;
    p.line = 1;
    memset(p.version, 0, sizeof(p.version[0]) * (IR_TEMP0 + b->n_temps));
    memset(p.copy, 0, sizeof(p.copy[0]) * b->n_temps);
    for (unsigned i = 0; i < b->n; i++) {
        struct ir_insn *in = &b->insn[i];
        if (replace_inputs(&p, in))
            refold(&p, in);
        note_outputs(&p, in);
    }
}
