/* Moves, extensions, two-operand arithmetic, conditional moves: IR ops that are one host instruction when registers fall well. */
#include <assert.h>
#include "backend-x86_64/x64.h"

static bool is_merge(struct x64_ctx *x, ir_ref d, unsigned size) { return size < 4 && ir_is_global(d) && x64_contract[d] != NOREG; }

/* reg = value of r at size; when merge, only the low size bytes of reg may change. */
static void move_in(struct x64_ctx *x, unsigned size, unsigned reg, ir_ref r, bool merge)
{
    if (!merge) {
        x64_load(x, size, reg, r);
        return;
    }
    struct x64_val v = x64_val(x, r);
    if (v.kind == V_IMM)
        x64_mov_ri_size(x->c, size, reg, (uint64_t)v.imm);
    else if (v.kind == V_REG)
        x64_mov_rr(x->c, size, reg, v.reg);
    else
        x64_mov_rm(x->c, size, reg, v.mem);
}

static void emit_mov(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    struct x64_val d = ir_is_temp(in->d) ? (struct x64_val){.kind = V_REG} : x64_val(x, in->d), a = x64_val(x, in->a);
    if (ir_is_global(in->d) && d.kind == V_MEM) {
        unsigned size = in->size == 4 ? 8 : in->size;
        if (a.kind == V_IMM && x64_fits32((uint64_t)a.imm) && !(in->size == 4 && a.imm < 0)) {
            x64_mov_mi(x->c, size, d.mem, (int32_t)a.imm);
            return;
        }
        unsigned r = x64_in_reg(x, in->a, in->size);
        if (in->size == 4 && a.kind != V_IMM) {     /* upper half must become zero */
            unsigned t = x64_take_scratch(x);
            x64_mov_rr(x->c, 4, t, r);
            r = t;
        }
        x64_mov_mr(x->c, size, d.mem, r);
        return;
    }
    unsigned r = x64_dest(x, in->d, IR_NONE);
    if (in->size >= 4 && a.kind == V_REG)
        x64_mov_rr(x->c, in->size, r, a.reg);
    else
        move_in(x, in->size, r, in->a, is_merge(x, in->d, in->size));
    x64_dest_done(x, in->d, r, in->size);
}

static void emit_ext(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    bool sign = in->op == IR_sext, merge = is_merge(x, in->d, in->size);
    struct x64_val a = x64_val(x, in->a);
    if (a.kind == V_IMM) {
        uint64_t v = (uint64_t)a.imm & size_mask(in->sub);
        if (sign)
            v = (uint64_t)sign_extend(v, in->sub);
        unsigned r = x64_dest(x, in->d, IR_NONE);
        if (merge)
            x64_mov_ri_size(x->c, in->size, r, v);
        else
            x64_mov_ri(x->c, r, v & size_mask(in->size));
        x64_dest_done(x, in->d, r, in->size);
        return;
    }
    unsigned r = x64_dest(x, in->d, in->a);
    unsigned size = merge ? 2 : (sign ? in->size : 4);
    if (size < 4 && !merge)
        size = 4;
    if (a.kind == V_REG)
        x64_movx_rr(x->c, sign, size, in->sub, r, a.reg);
    else
        x64_movx_rm(x->c, sign, size, in->sub, r, a.mem);
    x64_dest_done(x, in->d, r, in->size);
}

/* AH..BH: byte 1 of a register. Registers 0..3 have encodings for it (without REX), others are shifted with RORX (flags untouched). */
static void rorx(struct code_buf *c, unsigned d, unsigned s, unsigned count, bool w)
{
    x64_vex_rr(c, (struct x64_enc){.prefix = 0xf2, .w = w, .map = 3, .op = 0xf0}, false, 0, d, s);
    x64_b(c, count);
}

static void emit_exth(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    struct x64_val a = x64_val(x, in->a);
    unsigned r = x64_dest(x, in->d, IR_NONE);
    if (a.kind == V_MEM) {
        a.mem.disp += 1;
        x64_movx_rm(x->c, false, 4, 1, r, a.mem);
    } else if (a.kind == V_IMM) {
        x64_mov_ri(x->c, r, ((uint64_t)a.imm >> 8) & 0xff);
    } else {
        rorx(x->c, r, a.reg, 8, true);
        x64_movx_rr(x->c, false, 4, 1, r, r);
    }
    x64_dest_done(x, in->d, r, 8);
}

static void emit_deph(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    struct x64_val d = x64_val(x, in->d);
    struct x64_val b = x64_val(x, in->b);
    assert(in->d == in->a);
    if (d.kind == V_MEM) {
        d.mem.disp += 1;
        if (b.kind == V_IMM)
            x64_mov_mi(x->c, 1, d.mem, (int32_t)b.imm);
        else
            x64_mov_mr(x->c, 1, d.mem, x64_in_reg(x, in->b, 1));
        return;
    }
    /* rotate the byte into place and back: no flags, no REX trouble */
    unsigned t = x64_take_scratch(x);
    rorx(x->c, t, d.reg, 8, true);
    move_in(x, 1, t, in->b, true);
    rorx(x->c, d.reg, t, 56, true);
}

static unsigned alu_of(unsigned op)
{
    switch (op) {
    case IR_add: return X64_ADD;
    case IR_sub: return X64_SUB;
    case IR_adc: return X64_ADC;
    case IR_sbb: return X64_SBB;
    case IR_and: return X64_AND;
    case IR_or: return X64_OR;
    default: return X64_XOR;
    }
}

/* Whether a constant can be an immediate of an op of this size. */
static bool imm_ok(int64_t v, unsigned size) { return size < 8 || x64_fits32((uint64_t)v); }

/* The operand b as register, memory or immediate that one instruction can take. */
static struct x64_val operand(struct x64_ctx *x, ir_ref r, unsigned size)
{
    struct x64_val v = x64_val(x, r);
    if (v.kind == V_IMM && !imm_ok(v.imm, size)) {
        v.kind = V_REG;
        v.reg = x64_in_reg(x, r, size);
    }
    if (v.kind == V_REG && (v.reg == RAX || v.reg == R10 || v.reg == R11))
        x->locked |= BIT(v.reg);
    return v;
}

static void alu_rv(struct x64_ctx *x, unsigned alu, unsigned size, unsigned r, struct x64_val b)
{
    if (b.kind == V_REG)
        x64_alu_rr(x->c, alu, size, r, b.reg);
    else if (b.kind == V_MEM)
        x64_alu_rm(x->c, alu, size, r, b.mem);
    else
        x64_alu_ri(x->c, alu, size, r, (int32_t)b.imm);
}

static void emit_cmp(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    bool test = in->op == IR_and;
    struct x64_val b = operand(x, in->b, in->size), a = x64_val(x, in->a);
    if (a.kind == V_IMM || (a.kind == V_MEM && b.kind == V_MEM)) {
        a.reg = x64_in_reg(x, in->a, in->size);
        a.kind = V_REG;
    }
    if (!test && a.kind == V_REG)
        alu_rv(x, X64_CMP, in->size, a.reg, b);
    else if (!test && b.kind == V_REG)
        x64_alu_mr(x->c, X64_CMP, in->size, a.mem, b.reg);
    else if (!test)
        x64_alu_mi(x->c, X64_CMP, in->size, a.mem, (int32_t)b.imm);
    else if (a.kind == V_REG && b.kind == V_REG)
        x64_test_rr(x->c, in->size, a.reg, b.reg);
    else if (b.kind == V_IMM && a.kind == V_REG)
        x64_test_ri(x->c, in->size, a.reg, (int32_t)b.imm);
    else if (b.kind == V_IMM)
        x64_test_mi(x->c, in->size, a.mem, (int32_t)b.imm);
    else
        x64_test_mr(x->c, in->size, a.kind == V_MEM ? a.mem : b.mem, a.kind == V_MEM ? b.reg : a.reg);
}

/* Flag-free add/sub while the guest's flags sit in EFLAGS. */
static bool emit_by_lea(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    struct x64_val a = x64_val(x, in->a), b = x64_val(x, in->b);
    if ((in->op != IR_add && in->op != IR_sub) || in->size < 4 || a.kind == V_IMM)
        return false;
    if (b.kind == V_IMM ? !x64_fits32((uint64_t)b.imm) || b.imm == INT32_MIN : in->op == IR_sub)
        return false;
    unsigned ra = x64_in_reg(x, in->a, in->size);
    struct x64_mem m = {ra, NOREG, 0, 0};
    if (b.kind == V_IMM)
        m.disp = (int32_t)(in->op == IR_add ? b.imm : -b.imm);
    else
        m.index = x64_in_reg(x, in->b, in->size);
    unsigned r = x64_dest(x, in->d, in->a);
    x64_lea(x->c, in->size, r, m);
    x64_dest_done(x, in->d, r, in->size);
    return true;
}

static void emit_two(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    unsigned alu = alu_of(in->op), size = in->size;
    bool setf = in->flags & IRF_FLAGS, reads = in->op == IR_adc || in->op == IR_sbb;
    ir_ref ra = in->a, rb = in->b;
    if (reads)
        x64_fl_need(x);
    else if (!setf && x->fs == FS_HOST && x64_fl_wanted_before(x) && emit_by_lea(x))
        return;
    if (!setf) {
        if (reads && (in->fl_live | in->fl_fault))
            x64_fl_to_mem(x);
        else
            x64_fl_clobber(x);
    }
    if (in->d == IR_NONE && (in->op == IR_sub || in->op == IR_and)) {
        emit_cmp(x);
        x64_fl_define(x);
        return;
    }
    struct x64_val b = operand(x, rb, size);
    if (in->d == ra && ir_is_global(ra) && x64_contract[ra] == NOREG && size != 4 && b.kind != V_MEM) {
        struct x64_mem m = x64_global_mem(x, ra);
        if (b.kind == V_REG)
            x64_alu_mr(x->c, alu, size, m, b.reg);
        else
            x64_alu_mi(x->c, alu, size, m, (int32_t)b.imm);
    } else {
        unsigned r = in->d == IR_NONE ? x64_take_scratch(x) : x64_dest(x, in->d, ra);
        if (b.kind == V_REG && b.reg == r && !x64_ref_is(x, ra, r)) {
            if (in->op != IR_sub && in->op != IR_sbb && x64_val(x, ra).kind != V_IMM) {
                ir_ref t = ra;                     /* commutative: d = b op a */
                ra = rb;
                rb = t;
                b = operand(x, rb, size);
            } else {
                unsigned t = x64_take_scratch(x);
                x64_mov_rr(x->c, 8, t, b.reg);
                b.reg = t;
            }
        }
        if (!x64_ref_is(x, ra, r))
            move_in(x, size, r, ra, is_merge(x, in->d, size));
        alu_rv(x, alu, size, r, b);
        x64_dest_done(x, in->d, r, size);
    }
    if (setf)
        x64_fl_define(x);
    else
        x->fs &= ~FS_HOST;
}

/* inc dec neg not: group FE/FF /0 /1, F6/F7 /3 /2 */
static void emit_one(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    bool setf = in->flags & IRF_FLAGS, incdec = in->op == IR_inc || in->op == IR_dec;
    if (in->op != IR_not) {
        if (incdec && setf && ((in->fl_live | in->fl_fault) & FL_C))
            x64_fl_need_carry(x);
        else if (!setf)
            x64_fl_clobber(x);
    }
    unsigned op = incdec ? 0xfe : 0xf6, digit = in->op == IR_inc ? 0 : in->op == IR_dec ? 1 : in->op == IR_neg ? 3 : 2;
    if (in->d == in->a && ir_is_global(in->d) && x64_contract[in->d] == NOREG && in->size != 4) {
        x64_group_m(x->c, op, digit, in->size, x64_global_mem(x, in->d));
    } else {
        unsigned r = in->d == IR_NONE ? x64_take_scratch(x) : x64_dest(x, in->d, in->a);
        if (!x64_ref_is(x, in->a, r))
            move_in(x, in->size, r, in->a, in->d != IR_NONE && is_merge(x, in->d, in->size));
        x64_group_r(x->c, op, digit, in->size, r);
        x64_dest_done(x, in->d, r, in->size);
    }
    if (in->op == IR_not)
        return;
    if (setf)
        x64_fl_define(x);
    else
        x->fs &= ~FS_HOST;
}

void x64_emit_alu(struct x64_ctx *x)
{
    switch (x->in->op) {
    case IR_inc: case IR_dec: case IR_neg: case IR_not: emit_one(x); break;
    default: emit_two(x); break;
    }
}

static void emit_cmov(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    int cc = -1;
    if (x->fs == FS_MEM)
        cc = x64_cc_from_mem(x, in->sub);
    if (cc < 0) {
        x64_fl_need(x);
        cc = in->sub;
    }
    struct x64_val a = x64_val(x, in->a);
    if (a.kind == V_IMM) {
        a.reg = x64_in_reg(x, in->a, in->size);
        a.kind = V_REG;
    } else if (a.kind == V_REG && (a.reg == RAX || a.reg == R10 || a.reg == R11)) {
        x->locked |= BIT(a.reg);
    }
    if (a.kind == V_MEM && x64_fits32((uint64_t)a.mem.disp) && ir_is_global(in->a) && x->ir->fe->globals[in->a].size < in->size) {
        a.reg = x64_in_reg(x, in->a, in->size);
        a.kind = V_REG;
    }
    unsigned size = in->size < 2 ? 4 : in->size, r = x64_dest(x, in->d, in->b);
    if (!x64_ref_is(x, in->b, r)) {
        if (a.kind == V_REG && a.reg == r) {       /* d is a's register: invert */
            unsigned t = x64_in_reg(x, in->b, in->size);
            x64_rr(x->c, x64_wide(0x40 | ((unsigned)cc ^ 1), size, 1), r, t);
            x64_dest_done(x, in->d, r, in->size);
            return;
        }
        move_in(x, in->size, r, in->b, is_merge(x, in->d, in->size));
    }
    if (a.kind == V_REG)
        x64_rr(x->c, x64_wide(0x40 | (unsigned)cc, size, 1), r, a.reg);
    else
        x64_rm(x->c, x64_wide(0x40 | (unsigned)cc, size, 1), r, a.mem);
    x64_dest_done(x, in->d, r, in->size);
}

static void emit_setcc(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    int cc = x->fs == FS_MEM ? x64_cc_from_mem(x, in->sub) : -1;
    if (cc < 0) {
        x64_fl_need(x);
        cc = in->sub;
    }
    unsigned r = x64_dest(x, in->d, IR_NONE);
    x64_setcc(x->c, (unsigned)cc, r);
    x64_dest_done(x, in->d, r, 1);
}

static void emit_bswap(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    unsigned r = x64_dest(x, in->d, in->a);
    if (!x64_ref_is(x, in->a, r))
        x64_load(x, in->size, r, in->a);
    unsigned rex = (in->size == 8 ? 8u : 0u) | (r >> 3);
    if (rex)
        x64_b(x->c, 0x40 | rex);
    x64_b(x->c, 0x0f);
    x64_b(x->c, 0xc8 | (r & 7));
    x64_dest_done(x, in->d, r, in->size);
}

void x64_emit_move(struct x64_ctx *x)
{
    switch (x->in->op) {
    case IR_mov: emit_mov(x); break;
    case IR_zext: case IR_sext: emit_ext(x); break;
    case IR_exth: emit_exth(x); break;
    case IR_deph: emit_deph(x); break;
    case IR_cmov: emit_cmov(x); break;
    case IR_setcc: emit_setcc(x); break;
    default: emit_bswap(x); break;
    }
}
