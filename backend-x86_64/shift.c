/*
 * Shifts, double shifts, multiplication, division, bit operations. Guest RCX and RDX are the host's (x64_contract), so counts in CL and the
 * high halves of products need no moves; the low half goes through scratch rax. Partial flag writers keep the others in EFLAGS natively.
 */
#include <assert.h>
#include "backend-x86_64/x64.h"

static void flags_before(struct x64_ctx *x, uint16_t kept)
{
    const struct ir_insn *in = x->in;
    if (!(in->flags & IRF_FLAGS))
        x64_fl_clobber(x);
    else if ((in->fl_live | in->fl_fault) & kept)
        x64_fl_need(x);
}

static void flags_after(struct x64_ctx *x)
{
    if (x->in->flags & IRF_FLAGS)
        x64_fl_define(x);
    else
        x->fs &= ~FS_HOST;
}

static bool merges(struct x64_ctx *x) { return x->in->size < 4 && ir_is_global(x->in->d) && x64_contract[x->in->d] != NOREG; }

static void move_merge(struct x64_ctx *x, unsigned r, ir_ref a)
{
    struct x64_val v = x64_val(x, a);
    if (v.kind == V_REG && v.reg == r)
        return;
    if (!merges(x))
        x64_load(x, x->in->size, r, a);
    else if (v.kind == V_REG)
        x64_mov_rr(x->c, x->in->size, r, v.reg);
    else if (v.kind == V_IMM)
        x64_mov_ri_size(x->c, x->in->size, r, (uint64_t)v.imm);
    else
        x64_mov_rm(x->c, x->in->size, r, v.mem);
}

/* The count is neither a constant nor in CL: borrow rcx. The operation is done in a scratch register. */
static void shift_borrowing_rcx(struct x64_ctx *x, unsigned digit)
{
    const struct ir_insn *in = x->in;
    unsigned r = x64_take_scratch(x), keep = x64_take_scratch(x);
    x64_load(x, in->size, r, in->a);
    struct x64_val b = x64_val(x, in->b);
    x64_mov_rr(x->c, 8, keep, RCX);
    if (b.kind == V_REG)
        x64_mov_rr(x->c, 4, RCX, b.reg);
    else
        x64_mov_rm(x->c, 4, RCX, b.mem);
    x64_shift_rcl(x->c, digit, in->size, r);
    x64_mov_rr(x->c, 8, RCX, keep);
    if (ir_is_global(in->d) && x64_contract[in->d] != NOREG)
        x64_mov_rr(x->c, in->size, x64_contract[in->d], r);
    else
        x64_dest_done(x, in->d, r, in->size);
}

void x64_emit_shift(struct x64_ctx *x)
{
    static const uint8_t digit_of[] = {[IR_rol] = X64_ROL, [IR_ror] = X64_ROR, [IR_rcl] = X64_RCL, [IR_rcr] = X64_RCR,
                                       [IR_shl] = X64_SHL, [IR_shr] = X64_SHR, [IR_sar] = X64_SAR};
    const struct ir_insn *in = x->in;
    unsigned digit = digit_of[in->op];
    struct x64_val b = x64_val(x, in->b);
    unsigned count = (unsigned)b.imm & (in->size == 8 ? 63 : 31);
    bool rot = in->op != IR_shl && in->op != IR_shr && in->op != IR_sar, carry = in->op == IR_rcl || in->op == IR_rcr;
    if (carry) {
        x64_fl_need(x);
        if (!(in->flags & IRF_FLAGS) && (in->fl_live | in->fl_fault))
            x64_fl_to_mem(x);
    } else {
        flags_before(x, rot ? FL_ALL & ~(FL_C | FL_O) : b.kind == V_IMM && count ? 0 : FL_ALL);
        if ((in->flags & IRF_FLAGS) && rot && !(b.kind == V_IMM && count) && (in->fl_live | in->fl_fault))
            x64_fl_need(x);
    }
    if (b.kind == V_IMM && count == 0) {           /* only the zero-extension of size 4 is left */
        unsigned r = x64_dest(x, in->d, in->a);
        if (!x64_ref_is(x, in->a, r) || in->size == 4)
            move_merge(x, r, in->a);
        if (in->size == 4)
            x64_mov_rr(x->c, 4, r, r);
        x64_dest_done(x, in->d, r, in->size);
        return;
    }
    bool in_cl = b.kind == V_REG && b.reg == RCX;
    if (b.kind != V_IMM && !in_cl) {
        shift_borrowing_rcx(x, digit);
    } else {
        unsigned r;
        bool apart = in_cl && !x64_ref_is(x, in->a, RCX) && ir_is_global(in->d) && x64_contract[in->d] == RCX;
        r = apart ? x64_take_scratch(x) : x64_dest(x, in->d, in->a);
        if (apart)
            x64_load(x, in->size, r, in->a);
        else
            move_merge(x, r, in->a);
        if (b.kind == V_IMM)
            x64_shift_ri(x->c, digit, in->size, r, count);
        else
            x64_shift_rcl(x->c, digit, in->size, r);
        x64_dest_done(x, in->d, r, in->size);
    }
    flags_after(x);
}

static void emit_shd(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    struct x64_val n = x64_val(x, in->c);
    unsigned count = (unsigned)n.imm & (in->size == 8 ? 63 : 31);
    flags_before(x, n.kind == V_IMM && count ? 0 : FL_ALL);
    bool borrow = n.kind != V_IMM && !(n.kind == V_REG && n.reg == RCX), to_rcx = x64_ref_is(x, in->d, RCX) && n.kind != V_IMM;
    unsigned src = x64_in_reg(x, in->b, in->size), r;
    if (borrow || to_rcx || (in->d != in->a && ir_is_global(in->d) && src == x64_contract[in->d])) {
        r = x64_take_scratch(x);
        x64_load(x, in->size, r, in->a);
    } else {
        r = x64_dest(x, in->d, in->a);
        move_merge(x, r, in->a);
    }
    struct x64_enc e = x64_wide(in->op == IR_shld ? 0xa4 : 0xac, in->size, 1);
    if (n.kind == V_IMM) {
        x64_rr(x->c, e, src, r);
        x64_b(x->c, count);
    } else {
        e.op++;
        if (borrow) {
            unsigned keep;
            x64_mov_mr(x->c, 8, ENV_AT(saved_misc), RCX);
            if (src == RCX) {
                keep = x64_take_scratch(x);
                x64_mov_rr(x->c, 8, keep, RCX);
                src = keep;
            }
            n = x64_val(x, in->c);
            if (n.kind == V_REG)
                x64_mov_rr(x->c, 4, RCX, n.reg);
            else
                x64_mov_rm(x->c, 4, RCX, n.mem);
        }
        x64_rr(x->c, e, src, r);
        if (borrow)
            x64_mov_rm(x->c, 8, RCX, ENV_AT(saved_misc));
    }
    x64_dest_done(x, in->d, r, in->size);
    flags_after(x);
}

static void emit_imul(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    flags_before(x, 0);
    ir_ref ra = in->a, rb = in->b;
    if (ir_is_const(ra)) {
        ra = in->b;
        rb = in->a;
    }
    struct x64_val b = x64_val(x, rb);
    if (b.kind == V_IMM && x64_fits32((uint64_t)b.imm)) {
        unsigned s = x64_in_reg(x, ra, in->size), r = in->d == IR_NONE ? x64_take_scratch(x) : x64_dest(x, in->d, ra);
        x64_rr(x->c, x64_wide(0x69, in->size, 0), r, s);
        if (in->size == 2) {
            x64_b(x->c, (uint8_t)b.imm);
            x64_b(x->c, (uint8_t)(b.imm >> 8));
        } else {
            x64_d(x->c, (uint32_t)b.imm);
        }
        if (in->d != IR_NONE)
            x64_dest_done(x, in->d, r, in->size);
    } else {
        unsigned s = x64_in_reg(x, rb, in->size), r = in->d == IR_NONE ? x64_take_scratch(x) : x64_dest(x, in->d, ra);
        if (s == r && !x64_ref_is(x, ra, r))
            s = x64_in_reg(x, ra, in->size);       /* commutative */
        else
            move_merge(x, r, ra);
        x64_rr(x->c, x64_wide(0xaf, in->size, 1), r, s);
        if (in->d != IR_NONE)
            x64_dest_done(x, in->d, r, in->size);
    }
    flags_after(x);
}

/* Product or quotient: rax is scratch, rdx is guest RDX; a different high half saves rdx around. */
static void emit_wide(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    bool div = in->op == IR_divu || in->op == IR_divs;
    unsigned digit = in->op == IR_mulu ? 4 : in->op == IR_muls ? 5 : in->op == IR_divu ? 6 : 7;
    if (div)
        x64_fl_clobber(x);
    else
        flags_before(x, 0);
    x64_claim(x, RAX);
    ir_ref third = div ? in->c : in->b;
    bool uses_rdx = in->size > 1, rdx_is_out = in->e != IR_NONE && x64_ref_is(x, in->e, RDX);
    struct x64_val v = x64_val(x, third);
    if (v.kind == V_IMM || (v.kind == V_REG && v.reg == RDX && div && uses_rdx)) {
        unsigned t = x64_take_scratch(x);
        x64_load(x, in->size, t, third);
        v = (struct x64_val){.kind = V_REG, .reg = (uint8_t)t};
    } else if (v.kind == V_REG && (v.reg == R10 || v.reg == R11)) {
        x->locked |= BIT(v.reg);
    }
    x64_load(x, in->size == 1 && div ? 2 : in->size, RAX, in->a);
    if (uses_rdx && !rdx_is_out)
        x64_mov_mr(x->c, 8, ENV_AT(saved_misc), RDX);
    if (div && uses_rdx && !x64_ref_is(x, in->b, RDX)) {
        assert(!rdx_is_out || ir_is_const(in->b) || true);
        x64_load(x, in->size, RDX, in->b);
    }
    if (div)
        x64_point(x, x->c->p, x64_fl_where(x));
    if (v.kind == V_REG)
        x64_group_r(x->c, 0xf6, digit, in->size, v.reg);
    else
        x64_group_m(x->c, 0xf6, digit, in->size, v.mem);
    if (uses_rdx && !rdx_is_out) {
        if (in->e != IR_NONE) {
            unsigned t = x64_take_scratch(x);
            x64_mov_rr(x->c, 8, t, RDX);
            x64_dest_done(x, in->e, t, in->size);
        }
        x64_mov_rm(x->c, 8, RDX, ENV_AT(saved_misc));
    }
    if (in->d != IR_NONE)
        x64_dest_done(x, in->d, RAX, in->size == 1 ? 2 : in->size);
    if (div)
        x->fs &= ~FS_HOST;
    else
        flags_after(x);
}

void x64_emit_muldiv(struct x64_ctx *x)
{
    if (x->in->op == IR_imul)
        emit_imul(x);
    else
        emit_wide(x);
}

static void emit_bt(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    flags_before(x, FL_ALL & ~FL_C);
    unsigned n = in->op == IR_bt ? 0 : in->op == IR_bts ? 1 : in->op == IR_btr ? 2 : 3, r;
    struct x64_val b = x64_val(x, in->b);
    if (b.kind != V_IMM)
        b.reg = x64_in_reg(x, in->b, in->size);
    if (in->d == IR_NONE || in->op == IR_bt) {
        r = x64_in_reg(x, in->a, in->size);
    } else {
        r = x64_dest(x, in->d, in->a);
        if (b.kind != V_IMM && b.reg == r && !x64_ref_is(x, in->a, r)) {
            unsigned t = x64_take_scratch(x);
            x64_mov_rr(x->c, 8, t, b.reg);
            b.reg = (uint8_t)t;
        }
        move_merge(x, r, in->a);
    }
    if (b.kind == V_IMM) {
        x64_rr(x->c, x64_wide(0xba, in->size, 1), 4 + n, r);
        x64_b(x->c, (unsigned)b.imm & (in->size * 8 - 1));
    } else {
        x64_rr(x->c, x64_wide(0xa3 | n << 3, in->size, 1), b.reg, r);
    }
    if (in->op != IR_bt && in->d != IR_NONE)
        x64_dest_done(x, in->d, r, in->size);
    flags_after(x);
}

/* bsf bsr tzcnt lzcnt popcnt */
static void emit_scan(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    bool bs = in->op == IR_bsf || in->op == IR_bsr;
    flags_before(x, 0);
    unsigned s = x64_in_reg(x, in->a, in->size), r = x64_dest(x, in->d, bs ? in->b : IR_NONE);
    if (bs && !x64_ref_is(x, in->b, r)) {
        if (s == r) {
            unsigned t = x64_take_scratch(x);
            x64_mov_rr(x->c, 8, t, s);
            s = t;
        }
        if (in->size == 4)                         /* of zero: the whole register stays */
            x64_load(x, 8, r, in->b);
        else
            move_merge(x, r, in->b);
    }
    unsigned op = in->op == IR_bsf || in->op == IR_tzcnt ? 0xbc : in->op == IR_popcnt ? 0xb8 : 0xbd;
    struct x64_enc e = x64_wide(op, in->size, 1);
    if (!bs)
        e.prefix = 0xf3;
    x64_rr(x->c, e, r, s);
    x64_dest_done(x, in->d, r, bs && in->size == 4 ? 8 : in->size);
    flags_after(x);
}

void x64_emit_bits(struct x64_ctx *x)
{
    switch (x->in->op) {
    case IR_bt: case IR_bts: case IR_btr: case IR_btc: emit_bt(x); break;
    case IR_shld: case IR_shrd: emit_shd(x); break;
    default: emit_scan(x); break;
    }
}

static void emit_getf(struct x64_ctx *x)
{
    struct x64_mem of = ENV_AT(flags), rest = ENV_AT(flags);
    rest.disp += 1;
    x64_fl_to_mem(x);
    unsigned r = x64_take_scratch(x), t = x64_take_scratch(x);
    x64_movx_rm(x->c, false, 4, 1, r, rest);
    x64_movx_rm(x->c, false, 4, 1, t, of);
    x64_alu_ri(x->c, X64_AND, 4, r, 0xd5);
    x64_shift_ri(x->c, X64_SHL, 4, t, 11);
    x64_alu_rr(x->c, X64_OR, 4, r, t);
    x->fs = FS_MEM;
    x64_dest_done(x, x->in->d, r, 4);
}

static void emit_setf(struct x64_ctx *x)
{
    struct x64_mem of = ENV_AT(flags), rest = ENV_AT(flags);
    uint32_t mask = x->in->imm & FL_ALL;
    rest.disp += 1;
    if (mask != FL_ALL)
        x64_fl_to_mem(x);
    unsigned r = x64_take_scratch(x);
    if (mask & 0xd5) {
        x64_load(x, 4, r, x->in->a);
        if ((mask & 0xd5) != 0xd5) {
            unsigned t = x64_take_scratch(x);
            x64_movx_rm(x->c, false, 4, 1, t, rest);
            x64_alu_ri(x->c, X64_AND, 4, r, (int32_t)(mask & 0xd5));
            x64_alu_ri(x->c, X64_AND, 4, t, (int32_t)(~mask & 0xd5));
            x64_alu_rr(x->c, X64_OR, 4, r, t);
        }
        x64_mov_mr(x->c, 1, rest, r);
    }
    if (mask & FL_O) {
        x64_load(x, 4, r, x->in->a);
        x64_shift_ri(x->c, X64_SHR, 4, r, 11);
        x64_alu_ri(x->c, X64_AND, 4, r, 1);
        x64_mov_mr(x->c, 1, of, r);
    }
    x->has_recipe = false;
    x->fs = FS_MEM;
}

static void emit_setcf(struct x64_ctx *x)
{
    struct x64_mem m = ENV_AT(flags);
    m.disp += 1;
    if (x->fs == FS_RECIPE)
        x64_fl_need(x);
    if (x->fs & FS_HOST) {
        x64_b(x->c, x->in->sub == 0 ? 0xf8 : x->in->sub == 1 ? 0xf9 : 0xf5);
        x64_fl_define(x);
        return;
    }
    x64_alu_mi(x->c, x->in->sub == 0 ? X64_AND : x->in->sub == 1 ? X64_OR : X64_XOR, 1, m, x->in->sub == 0 ? -2 : 1);
    x->fs = FS_MEM;
    x->has_recipe = false;
}

void x64_emit_flagop(struct x64_ctx *x)
{
    switch (x->in->op) {
    case IR_getf: emit_getf(x); break;
    case IR_setf: emit_setf(x); break;
    default: emit_setcf(x); break;
    }
}
