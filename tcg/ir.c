/*
 * The IR builder: appends insns to a block, folding constants and identities as it goes (tcg/fold.c), and numbers guest instructions.
 *
 * In: calls from a frontend, in guest order. Out: struct ir_block, well-formed by tcg/verify.c. The block is allocated once by the caller;
 * nothing is allocated here. Constants given as base or index end up in the displacement, or in a temp when they do not fit.
 * A folded result never aliases a guest register that may change later: it is a constant, or a copy in the destination.
 *
 * Invariants: arrays are never overrun as long as the frontend asks ir_room before each guest instruction and an instruction stays within the
 * reserve below; exceeding it is a bug and asserts.
 */
#include <assert.h>
#include <string.h>
#include "tcg/eval.h"
#include "tcg/fold.h"
#include "tcg/native.h"

const struct ir_opinfo ir_opinfo[IR_OP_COUNT] = {
#define OP(name, out, in, attr, doc) { #name, out, in, doc, attr },
#include "tcg/ops.def"
#undef OP
};

/* What one guest instruction may use at most. */
enum { RESERVE_INSNS = 160, RESERVE_CONSTS = 64, RESERVE_LABELS = 8, RESERVE_TEMPS = 128, RESERVE_NATIVES = 4 };

#define CONST_SEARCH 32          /* equal constants are shared when this near: a bound, so that building stays linear */

void ir_begin(struct ir_block *b, const struct tcg_frontend *fe, uint64_t pc)
{
    b->mem_bank = 0;
    b->fe = fe;
    b->pc = pc;
    b->n = b->n_guest = b->n_consts = b->n_labels = b->n_temps = b->n_natives = 0;
    b->guest_bytes = 0;
    b->uses_fpu = b->movable = false;
    memset(b->is_pc, 0, sizeof b->is_pc);
    b->guest[0] = (struct ir_guest_insn){ pc, 0 };
}

static void close_guest(struct ir_block *b)
{
    if (b->n && b->n_guest && b->insn[b->n - 1].gi == b->n_guest - 1)
        b->insn[b->n - 1].flags |= IRF_LAST;
}

void ir_guest(struct ir_block *b, uint64_t pc, unsigned len)
{
    assert(b->n_guest < IR_MAX_GUEST);
    close_guest(b);
    b->guest[b->n_guest++] = (struct ir_guest_insn){ pc, (uint8_t)len };
    b->guest[b->n_guest] = (struct ir_guest_insn){ pc + len, 0 };
    b->guest_bytes += len;
}

bool ir_room(const struct ir_block *b)
{
    return b->n + RESERVE_INSNS <= IR_MAX_INSNS && b->n_guest < IR_MAX_GUEST && b->n_consts + RESERVE_CONSTS <= IR_MAX_CONSTS &&
           b->n_labels + RESERVE_LABELS <= IR_MAX_LABELS && b->n_temps + RESERVE_TEMPS <= IR_MAX_TEMPS &&
           b->n_natives + RESERVE_NATIVES <= IR_MAX_NATIVES;
}

ir_ref ir_temp(struct ir_block *b)
{
    assert(b->n_temps < IR_MAX_TEMPS);
    return (ir_ref)(IR_TEMP0 + b->n_temps++);
}

static ir_ref find_const(struct ir_block *b, uint64_t v, bool pc)
{
    unsigned stop = b->n_consts > CONST_SEARCH ? b->n_consts - CONST_SEARCH : 0;
    for (unsigned i = b->n_consts; i > stop; i--)
        if (b->consts[i - 1] == v && ir_is_const_pc(b, (ir_ref)(IR_CONST0 + i - 1)) == pc)
            return (ir_ref)(IR_CONST0 + i - 1);
    assert(b->n_consts < IR_MAX_CONSTS);
    b->consts[b->n_consts] = v;
    return (ir_ref)(IR_CONST0 + b->n_consts++);
}

ir_ref ir_const(struct ir_block *b, uint64_t v) { return find_const(b, v, false); }

ir_ref ir_const_pc(struct ir_block *b, uint64_t v)
{
    if (v - b->pc + (1ull << 32) >= 1ull << 33 || ir_pc_low(v) != ir_pc_low(b->pc))
        b->movable = false;
    if (!b->movable)
        return ir_const(b, v);
    ir_ref r = find_const(b, v, true);
    b->is_pc[(r - IR_CONST0) / 64] |= 1ull << (r - IR_CONST0) % 64;
    return r;
}

uint64_t ir_const_value(const struct ir_block *b, ir_ref r)
{
    assert(ir_is_const(r) && r - IR_CONST0 < (int)b->n_consts);
    return b->consts[r - IR_CONST0];
}

uint32_t ir_new_label(struct ir_block *b)
{
    assert(b->n_labels < IR_MAX_LABELS);
    return b->n_labels++;
}

static struct ir_insn *put(struct ir_block *b, unsigned op, unsigned size)
{
    assert(b->n < IR_MAX_INSNS);
    struct ir_insn *in = &b->insn[b->n++];
    *in = (struct ir_insn){ .op = (uint8_t)op, .size = (uint8_t)size, .d = IR_NONE, .e = IR_NONE, .a = IR_NONE, .b = IR_NONE, .c = IR_NONE,
                            .base = IR_NONE, .index = IR_NONE, .seg = IR_NONE,
                            .gi = (uint16_t)(b->n_guest ? b->n_guest - 1 : 0) };
    if (ir_opinfo[op].attr & END)
        in->flags = IRF_LAST;
    return in;
}

/* The last insn was just appended with its inputs: replace it by what folding finds, and settle its destination. */
static ir_ref finish(struct ir_block *b)
{
    struct ir_insn *in = &b->insn[b->n - 1];
    ir_ref ref;
    bool cmp = in->d == IR_NONE && (in->flags & IRF_FLAGS);
    if (ir_fold(b, in, &ref) == FOLD_VALUE) {
        ir_ref d = in->d;
        unsigned size = in->size;
        if (cmp) {                                   /* only flags were wanted, and they stay as they are */
            b->n--;
            return IR_NONE;
        }
        if (d == IR_NONE && ir_is_const(ref)) {
            b->n--;
            return ref;
        }
        if (d != IR_NONE && ir_mov_is_nop(size, d, ref)) {
            b->n--;
            return d;
        }
        b->n--;
        in = put(b, IR_mov, size);
        in->d = d;
        in->a = ref;
    }
    if (in->d == IR_NONE && !cmp)
        in->d = ir_temp(b);
    return in->d;
}

ir_ref ir_op3(struct ir_block *b, enum ir_op op, unsigned size, ir_ref d, ir_ref a, ir_ref b2, ir_ref c, unsigned flags)
{
    struct ir_insn *in = put(b, op, size);
    in->d = d;
    in->a = a;
    in->b = b2;
    in->c = c;
    in->flags |= (uint8_t)flags;
    if (op == IR_bt) {
        in->flags |= IRF_FLAGS;
        in->d = IR_NONE;
        return IR_NONE;
    }
    return finish(b);
}

ir_ref ir_op2(struct ir_block *b, enum ir_op op, unsigned size, ir_ref d, ir_ref a, ir_ref b2, unsigned flags)
{
    return ir_op3(b, op, size, d, a, b2, IR_NONE, flags);
}

ir_ref ir_op1(struct ir_block *b, enum ir_op op, unsigned size, ir_ref d, ir_ref a, unsigned flags)
{
    return ir_op3(b, op, size, d, a, IR_NONE, IR_NONE, flags);
}

void ir_muldiv(struct ir_block *b, enum ir_op op, unsigned size, ir_ref d, ir_ref e, ir_ref a, ir_ref b2, ir_ref c, unsigned flags)
{
    struct ir_insn *in = put(b, op, size);
    in->d = d;
    in->e = e;
    in->a = a;
    in->b = b2;
    in->c = c;
    in->flags |= (uint8_t)flags;
}

void ir_cmp(struct ir_block *b, enum ir_op op, unsigned size, ir_ref a, ir_ref b2)
{
    struct ir_insn *in = put(b, op, size);
    in->a = a;
    in->b = b2;
    in->flags |= IRF_FLAGS;
}

ir_ref ir_mov(struct ir_block *b, unsigned size, ir_ref d, ir_ref a)
{
    return ir_op1(b, IR_mov, size, d, a, 0);
}

ir_ref ir_ext(struct ir_block *b, enum ir_op op, unsigned size, unsigned from, ir_ref d, ir_ref a)
{
    struct ir_insn *in = put(b, from >= size ? IR_mov : op, size);
    in->d = d;
    in->a = a;
    in->sub = (uint8_t)(from >= size ? 0 : from);
    return finish(b);
}

/* The effective address of an insn. */
static void set_mem(struct ir_block *b, struct ir_insn *in, const struct ir_mem *m)
{
    in->base = m->base;
    in->index = m->index;
    in->seg = m->seg;
    in->scale = m->index == IR_NONE ? 0 : m->scale;
    in->disp = m->disp;
    in->flags |= m->flags;
    ir_fold_base(b, in);
}

static ir_ref const_to_temp(struct ir_block *b, ir_ref r)
{
    if (!ir_is_const(r))
        return r;
    struct ir_insn *mov = put(b, IR_mov, 8);
    mov->a = r;
    return mov->d = ir_temp(b);
}

/* Append an insn that has a memory operand; constants that remain in it become temps first. */
static struct ir_insn *put_mem(struct ir_block *b, unsigned op, unsigned size, const struct ir_mem *m)
{
    struct ir_insn t = { .d = IR_NONE };
    set_mem(b, &t, m);
    t.base = const_to_temp(b, t.base);
    t.index = const_to_temp(b, t.index);
    struct ir_insn *in = put(b, op, size);
    in->base = t.base;
    in->index = t.index;
    in->seg = t.seg;
    in->scale = t.scale;
    in->disp = t.disp;
    in->flags |= t.flags;
    return in;
}

/* The truncations of a lea: its sum's width. */
static unsigned lea_width(const struct ir_insn *in)
{
    return in->flags & IRF_ADDR16 ? 2 : in->flags & IRF_ADDR32 ? 4 : 8;
}

ir_ref ir_lea(struct ir_block *b, unsigned size, ir_ref d, const struct ir_mem *m)
{
    struct ir_insn *in = put_mem(b, IR_lea, size, m);
    unsigned width = MIN(lea_width(in), size);
    ir_ref base = in->base;
    if (in->seg != IR_NONE || in->index != IR_NONE || (base != IR_NONE && in->disp)) {
        in->d = d == IR_NONE ? ir_temp(b) : d;
        return in->d;
    }
    uint64_t v = (uint64_t)(int64_t)in->disp & size_mask(width);
    b->n--;
    if (base == IR_NONE)
        return ir_mov(b, size, d, ir_const(b, v));
    return ir_ext(b, IR_zext, size, width, d, base);
}

ir_ref ir_ld(struct ir_block *b, unsigned size, enum ir_ldsub sub, ir_ref d, const struct ir_mem *m)
{
    struct ir_insn *in = put_mem(b, IR_ld, size, m);
    in->sub = (uint8_t)sub;
    in->d = d == IR_NONE ? ir_temp(b) : d;
    return in->d;
}

void ir_st(struct ir_block *b, unsigned size, const struct ir_mem *m, ir_ref a)
{
    put_mem(b, IR_st, size, m)->a = a;
}

void ir_rmw(struct ir_block *b, enum ir_rmw sub, unsigned size, ir_ref d, const struct ir_mem *m, ir_ref a, unsigned flags)
{
    struct ir_insn *in = put_mem(b, IR_rmw, size, m);
    in->sub = (uint8_t)sub;
    in->d = d;
    in->a = a;
    in->flags |= (uint8_t)flags;
}

void ir_cmpxchg(struct ir_block *b, unsigned size, ir_ref acc, const struct ir_mem *m, ir_ref newval, unsigned flags)
{
    struct ir_insn *in = put_mem(b, IR_cmpxchg, size, m);
    in->d = in->a = acc;
    in->b = newval;
    in->flags |= (uint8_t)flags;
}

ir_ref ir_setcc(struct ir_block *b, enum ir_cond cc, ir_ref d)
{
    struct ir_insn *in = put(b, IR_setcc, 1);
    in->sub = (uint8_t)cc;
    in->d = d == IR_NONE ? ir_temp(b) : d;
    return in->d;
}

void ir_cmov(struct ir_block *b, unsigned size, enum ir_cond cc, ir_ref d, ir_ref a, ir_ref b2)
{
    struct ir_insn *in = put(b, IR_cmov, size);
    in->sub = (uint8_t)cc;
    in->d = d;
    in->a = a;
    in->b = b2;
    finish(b);
}

ir_ref ir_getf(struct ir_block *b)
{
    struct ir_insn *in = put(b, IR_getf, 4);
    return in->d = ir_temp(b);
}

void ir_setf(struct ir_block *b, ir_ref a, uint32_t mask)
{
    if (!(mask & FL_ALL))
        return;
    struct ir_insn *in = put(b, IR_setf, 4);
    in->a = a;
    in->imm = mask & FL_ALL;
    in->flags |= IRF_FLAGS;
}

void ir_setcf(struct ir_block *b, unsigned what)
{
    struct ir_insn *in = put(b, IR_setcf, 1);
    in->sub = (uint8_t)what;
    in->flags |= IRF_FLAGS;
}

static struct ir_insn *put_label(struct ir_block *b, unsigned op, unsigned size, uint32_t label)
{
    assert(label < b->n_labels);
    struct ir_insn *in = put(b, op, size);
    in->imm = label;
    return in;
}

void ir_label(struct ir_block *b, uint32_t label)
{
    put_label(b, IR_label, 8, label);
}

void ir_br(struct ir_block *b, uint32_t label)
{
    put_label(b, IR_br, 8, label);
}

void ir_brcc(struct ir_block *b, enum ir_cond cc, uint32_t label)
{
    put_label(b, IR_brcc, 8, label)->sub = (uint8_t)cc;
}

static void brz_brnz(struct ir_block *b, unsigned op, unsigned size, ir_ref a, uint32_t label)
{
    if (!ir_is_const(a))
        put_label(b, op, size, label)->a = a;
    else if (((ir_const_value(b, a) & size_mask(size)) == 0) == (op == IR_brz))
        ir_br(b, label);
}

void ir_brz(struct ir_block *b, unsigned size, ir_ref a, uint32_t label)
{
    brz_brnz(b, IR_brz, size, a, label);
}

void ir_brnz(struct ir_block *b, unsigned size, ir_ref a, uint32_t label)
{
    brz_brnz(b, IR_brnz, size, a, label);
}

void ir_jcc(struct ir_block *b, enum ir_cond cc, uint64_t pc)
{
    ir_ref a = ir_const_pc(b, pc);
    struct ir_insn *in = put(b, IR_jcc, 8);
    in->sub = (uint8_t)cc;
    in->a = a;
}

void ir_jmp(struct ir_block *b, uint64_t pc)
{
    ir_ref a = ir_const_pc(b, pc);
    put(b, IR_jmp, 8)->a = a;
}

void ir_jmpi(struct ir_block *b, ir_ref a)
{
    put(b, ir_is_const(a) ? IR_jmp : IR_jmpi, 8)->a = a;
}

void ir_jmpc(struct ir_block *b, ir_ref a, unsigned bits, ir_ref d, uint32_t add)
{
    struct ir_insn *in = put(b, IR_jmpc, 8);
    in->a = a;
    in->sub = (uint8_t)bits;
    in->d = in->b = d;
    in->imm = add;
}

void ir_lookup(struct ir_block *b)
{
    put(b, IR_lookup, 8);
}

void ir_exit(struct ir_block *b, unsigned reason)
{
    put(b, IR_exit, 8)->imm = reason;
}

void ir_setpc(struct ir_block *b, ir_ref a)
{
    put(b, IR_setpc, 8)->a = a;
}

ir_ref ir_call(struct ir_block *b, unsigned helper, ir_ref d, ir_ref a, ir_ref b2, ir_ref c)
{
    struct ir_insn *in = put(b, IR_call, 8);
    in->imm = helper;
    in->d = d;
    in->a = a;
    in->b = b2;
    in->c = c;
    return d;
}

struct ir_native *ir_native(struct ir_block *b, ir_ref d, ir_ref e, ir_ref a, ir_ref b2, ir_ref c, const struct ir_mem *m, unsigned flags)
{
    static const struct ir_mem none = { IR_NONE, IR_NONE, IR_NONE, 0, 0, 0 };
    assert(b->n_natives < IR_MAX_NATIVES);
    struct ir_insn *in = put_mem(b, IR_native, 8, m ? m : &none);
    in->d = d;
    in->e = e;
    in->a = a;
    in->b = b2;
    in->c = c;
    in->flags |= (uint8_t)flags;
    in->imm = b->n_natives;
    struct ir_native *n = &b->natives[b->n_natives++];
    memset(n, 0, sizeof(*n));
    return n;
}
