/*
 * What each IR op computes, written once: used by the folder, the interpreter and the tests (which compare it with the host CPU).
 * In: operand values (bits above the op's size are ignored), the old flags (FL_ bits at their RFLAGS places). Out: results masked to the
 * size written, and the flags as they are when the insn has IRF_FLAGS (a caller without it ignores them).
 *
 * Pure integer C, no memory access, no side effect. Flags that the manual leaves undefined follow one fixed choice (what current AMD
 * processors give where that is regular), so that runs are reproducible. SDM vol. 1 ch. 3.4.3, vol. 2 each instruction.
 */
#ifndef TCG_EVAL_H
#define TCG_EVAL_H
#include "tcg/ir.h"

struct ir_val {
    uint64_t a, b, c;        /* in */
    uint32_t fl;             /* in: old flags, out: new flags */
    bool fault;              /* out: divide error, results not valid */
    uint64_t d, e;           /* out */
};

static inline uint64_t eval_msb(uint64_t v, unsigned size) { return (v >> (size * 8 - 1)) & 1; }

static inline uint32_t eval_szp(uint64_t r, unsigned size)
{
    uint32_t f = __builtin_parity((unsigned)(r & 0xff)) ? 0 : FL_P;
    r &= size_mask(size);
    if (!r)
        f |= FL_Z;
    if (eval_msb(r, size))
        f |= FL_S;
    return f;
}

static inline bool eval_cond(unsigned cc, uint32_t f)
{
    bool r = false;
    switch (cc >> 1) {
    case 0: r = f & FL_O; break;
    case 1: r = f & FL_C; break;
    case 2: r = f & FL_Z; break;
    case 3: r = f & (FL_C | FL_Z); break;
    case 4: r = f & FL_S; break;
    case 5: r = f & FL_P; break;
    case 6: r = !(f & FL_S) != !(f & FL_O); break;
    case 7: r = (f & FL_Z) || !(f & FL_S) != !(f & FL_O); break;
    }
    return r != (cc & 1);
}

/* Flags that condition cc reads. */
static inline uint32_t eval_cond_reads(unsigned cc)
{
    static const uint16_t reads[8] = { FL_O, FL_C, FL_Z, FL_C | FL_Z, FL_S, FL_P, FL_S | FL_O, FL_S | FL_O | FL_Z };
    return reads[(cc >> 1) & 7];
}

static inline void eval_add(struct ir_val *v, unsigned size, unsigned carry)
{
    uint64_t m = size_mask(size), a = v->a & m, b = v->b & m, r = (a + b + carry) & m;
    v->fl = eval_szp(r, size) | (uint32_t)((a ^ b ^ r) & FL_A);
    if (r < a || (carry && r == a))
        v->fl |= FL_C;
    if (eval_msb((a ^ r) & (b ^ r), size))
        v->fl |= FL_O;
    v->d = r;
}

static inline void eval_sub(struct ir_val *v, unsigned size, unsigned carry)
{
    uint64_t m = size_mask(size), a = v->a & m, b = v->b & m, r = (a - b - carry) & m;
    v->fl = eval_szp(r, size) | (uint32_t)((a ^ b ^ r) & FL_A);
    if (a < b || (carry && a == b))
        v->fl |= FL_C;
    if (eval_msb((a ^ b) & (a ^ r), size))
        v->fl |= FL_O;
    v->d = r;
}

static inline void eval_logic(struct ir_val *v, unsigned size, uint64_t r)
{
    v->d = r & size_mask(size);
    v->fl = eval_szp(v->d, size);
}

static inline unsigned eval_count(uint64_t c, unsigned size) { return c & (size == 8 ? 63 : 31); }

static inline void eval_shift(enum ir_op op, struct ir_val *v, unsigned size)
{
    unsigned n = eval_count(v->b, size), bits = size * 8;
    uint64_t m = size_mask(size), a = v->a & m, r, c, o;
    if (!n) {
        v->d = a;
        return;
    }
    if (op == IR_shl) {
        r = n >= bits ? 0 : a << n & m;
        c = n <= bits ? a >> (bits - n) & 1 : 0;
        o = eval_msb(r, size) ^ c;
    } else if (op == IR_shr) {
        r = n >= bits ? 0 : a >> n;
        c = n <= bits ? a >> (n - 1) & 1 : 0;
        o = eval_msb(r << 1, size);
    } else {
        int64_t s = sign_extend(a, size);
        r = (uint64_t)(s >> n) & m;
        c = (uint64_t)(s >> (n - 1)) & 1;
        o = 0;
    }
    v->d = r;
    v->fl = eval_szp(r, size) | FL_A | (c ? FL_C : 0) | (o ? FL_O : 0);
}

static inline void eval_rotate(enum ir_op op, struct ir_val *v, unsigned size)
{
    unsigned cnt = eval_count(v->b, size), bits = size * 8, n = cnt % bits;
    uint64_t m = size_mask(size), a = v->a & m, r = a, c, o;
    v->d = a;
    if (!cnt)
        return;
    if (op == IR_rol) {
        if (n)
            r = (a << n | a >> (bits - n)) & m;
        c = r & 1;
        o = eval_msb(r, size) ^ c;
    } else {
        if (n)
            r = (a >> n | a << (bits - n)) & m;
        c = eval_msb(r, size);
        o = c ^ eval_msb(r << 1, size);
    }
    v->d = r;
    v->fl = (v->fl & ~(FL_C | FL_O)) | (c ? FL_C : 0) | (o ? FL_O : 0);
}

/* Through carry: a rotation of bits + 1; the count of sizes 1 and 2 is taken modulo 9 and 17. */
static inline void eval_rotate_carry(enum ir_op op, struct ir_val *v, unsigned size)
{
    unsigned cnt = eval_count(v->b, size), bits = size * 8, n = cnt % (bits + 1);
    uint64_t m = size_mask(size), a = v->a & m, r = a, c = v->fl & FL_C ? 1 : 0, o;
    v->d = a;
    if (!cnt)
        return;
    for (unsigned i = 0; i < n; i++) {
        uint64_t out = op == IR_rcl ? eval_msb(r, size) : r & 1;
        r = op == IR_rcl ? (r << 1 | c) & m : r >> 1 | c << (bits - 1);
        c = out;
    }
    o = op == IR_rcl ? eval_msb(r, size) ^ c : eval_msb(r, size) ^ eval_msb(r << 1, size);
    v->d = r;
    v->fl = (v->fl & ~(FL_C | FL_O)) | (c ? FL_C : 0) | (o ? FL_O : 0);
}

/* Size 2 with a count above 16 is undefined in the manual; processors shift the 48 bits a:b:a (or a:b:a from the right). */
static inline void eval_shift_double(enum ir_op op, struct ir_val *v, unsigned size)
{
    unsigned n = eval_count(v->c, size), bits = size * 8;
    uint64_t m = size_mask(size), a = v->a & m, b = v->b & m, r, c, o;
    v->d = a;
    if (!n)
        return;
    if (op == IR_shld) {
        if (n > bits) {
            uint64_t t = a << 32 | b << 16 | a;
            r = t >> (32 - n) & m;
            c = t >> (48 - n) & 1;
        } else {
            r = n == bits ? b : (a << n | b >> (bits - n)) & m;
            c = a >> (bits - n) & 1;
        }
        o = eval_msb(r, size) ^ c;
    } else {
        if (n > bits) {
            uint64_t t = a << 32 | b << 16 | a;
            r = t >> n & m;
            c = t >> (n - 1) & 1;
        } else {
            r = n == bits ? b : (a >> n | b << (bits - n)) & m;
            c = a >> (n - 1) & 1;
        }
        o = eval_msb(r, size) ^ eval_msb(r << 1, size);
    }
    v->d = r;
    v->fl = eval_szp(r, size) | FL_A | (c ? FL_C : 0) | (o ? FL_O : 0);
}

static inline void eval_mul(enum ir_op op, struct ir_val *v, unsigned size)
{
    unsigned bits = size * 8;
    uint64_t m = size_mask(size);
    bool over;
    if (op == IR_mulu) {
        unsigned __int128 p = (unsigned __int128)(v->a & m) * (v->b & m);
        v->d = (uint64_t)p & m;
        v->e = (uint64_t)(p >> bits) & m;
        over = v->e != 0;
    } else {
        __int128 p = (__int128)sign_extend(v->a, size) * sign_extend(v->b, size);
        v->d = (uint64_t)p & m;
        v->e = (uint64_t)(p >> bits) & m;
        over = p != (__int128)sign_extend(v->d, size);
    }
    if (size == 1 && op != IR_imul)
        v->d |= v->e << 8;
    v->fl = (v->fl & ~(FL_C | FL_O)) | (over ? FL_C | FL_O : 0);
}

static inline void eval_div(enum ir_op op, struct ir_val *v, unsigned size)
{
    unsigned bits = size * 8;
    uint64_t m = size_mask(size), div = v->c & m;
    unsigned __int128 num, q, rem, lim;
    bool nneg = false, dneg = false;
    if (size == 1)
        num = v->a & 0xffff;
    else
        num = (unsigned __int128)(v->b & m) << bits | (v->a & m);
    if (op == IR_divs) {
        unsigned __int128 top = (unsigned __int128)1 << (bits * 2 - 1);
        nneg = (num & top) != 0;
        dneg = eval_msb(div, size);
        if (nneg)
            num = (-num) & (top | (top - 1));
        if (dneg)
            div = (0 - div) & m;
    }
    v->fault = true;
    if (!div)
        return;
    q = num / div;
    rem = num % div;
    lim = op == IR_divu ? m : (uint64_t)(m >> 1) + (nneg != dneg);
    if (q > lim)
        return;
    v->fault = false;
    v->d = (uint64_t)(nneg != dneg ? -q : q) & m;
    v->e = (uint64_t)(nneg ? -rem : rem) & m;
    if (size == 1)
        v->d |= v->e << 8;
}

static inline void eval_bit(enum ir_op op, struct ir_val *v, unsigned size)
{
    uint64_t bit = 1ull << (v->b & (size * 8 - 1)), a = v->a & size_mask(size);
    v->fl = (v->fl & ~FL_C) | (a & bit ? FL_C : 0);
    switch (op) {
    case IR_bts: a |= bit; break;
    case IR_btr: a &= ~bit; break;
    case IR_btc: a ^= bit; break;
    default: break;
    }
    v->d = a;
}

static inline void eval_scan(enum ir_op op, struct ir_val *v, unsigned size)
{
    uint64_t m = size_mask(size), a = v->a & m;
    unsigned bits = size * 8;
    switch (op) {
    case IR_bsf:
        v->d = a ? (uint64_t)__builtin_ctzll(a) : v->b & m;
        v->fl = a ? eval_szp(v->d, 8) & FL_P : FL_P | FL_Z;
        break;
    case IR_bsr:
        v->d = a ? (uint64_t)(63 - __builtin_clzll(a)) : v->b & m;
        v->fl = a ? eval_szp(v->d, 8) & FL_P : FL_P | FL_Z;
        break;
    case IR_tzcnt:
        v->d = a ? (unsigned)__builtin_ctzll(a) : bits;
        v->fl = (v->fl & FL_O) | (a ? 0 : FL_C) | (v->d ? 0 : FL_Z);
        break;
    case IR_lzcnt:
        v->d = a ? bits - 1 - (63 - (unsigned)__builtin_clzll(a)) : bits;
        v->fl = (v->fl & FL_O) | (a ? 0 : FL_C) | (v->d ? 0 : FL_Z);
        break;
    default:
        v->d = (unsigned)__builtin_popcountll(a);
        v->fl = a ? 0 : FL_Z;
        break;
    }
}

/* One op. sub and imm as in struct ir_insn. false: not a computation on values (memory, control, helpers). */
static inline bool ir_eval(enum ir_op op, unsigned size, unsigned sub, uint32_t imm, struct ir_val *v)
{
    uint64_t m = size_mask(size);
    uint32_t old = v->fl;
    unsigned cf = old & FL_C ? 1 : 0;
    v->e = 0;
    v->fault = false;
    switch (op) {
    case IR_mov: v->d = v->a & m; break;
    case IR_zext: v->d = v->a & size_mask(sub); break;
    case IR_sext: v->d = (uint64_t)sign_extend(v->a, sub) & m; break;
    case IR_exth: v->d = v->a >> 8 & 0xff; break;
    case IR_deph: v->d = (v->a & ~0xff00ull) | (v->b & 0xff) << 8; break;
    case IR_cmov: v->d = (eval_cond(sub, old) ? v->a : v->b) & m; break;
    case IR_setcc: v->d = eval_cond(sub, old); break;
    case IR_bswap: v->d = size == 4 ? __builtin_bswap32((uint32_t)v->a) : __builtin_bswap64(v->a); break;
    case IR_add: eval_add(v, size, 0); break;
    case IR_adc: eval_add(v, size, cf); break;
    case IR_sub: eval_sub(v, size, 0); break;
    case IR_sbb: eval_sub(v, size, cf); break;
    case IR_and: eval_logic(v, size, v->a & v->b); break;
    case IR_or: eval_logic(v, size, v->a | v->b); break;
    case IR_xor: eval_logic(v, size, v->a ^ v->b); break;
    case IR_inc: v->b = 1; eval_add(v, size, 0); v->fl = (v->fl & ~FL_C) | (old & FL_C); break;
    case IR_dec: v->b = 1; eval_sub(v, size, 0); v->fl = (v->fl & ~FL_C) | (old & FL_C); break;
    case IR_neg: v->b = v->a; v->a = 0; eval_sub(v, size, 0); break;
    case IR_not: v->d = ~v->a & m; break;
    case IR_shl: case IR_shr: case IR_sar: eval_shift(op, v, size); break;
    case IR_rol: case IR_ror: eval_rotate(op, v, size); break;
    case IR_rcl: case IR_rcr: eval_rotate_carry(op, v, size); break;
    case IR_shld: case IR_shrd: eval_shift_double(op, v, size); break;
    case IR_imul: case IR_mulu: case IR_muls: eval_mul(op, v, size); break;
    case IR_divu: case IR_divs: eval_div(op, v, size); break;
    case IR_bt: case IR_bts: case IR_btr: case IR_btc: eval_bit(op, v, size); break;
    case IR_bsf: case IR_bsr: case IR_tzcnt: case IR_lzcnt: case IR_popcnt: eval_scan(op, v, size); break;
    case IR_getf: v->d = old & FL_ALL; break;
    case IR_setf: v->fl = (old & ~imm & FL_ALL) | ((uint32_t)v->a & imm & FL_ALL); break;
    case IR_setcf: v->fl = sub == 2 ? old ^ FL_C : sub ? old | FL_C : old & ~FL_C; break;
    default: return false;
    }
    return true;
}

/* Bytes of d that the op writes (e: always size). */
static inline unsigned ir_out_size(enum ir_op op, unsigned size, unsigned sub)
{
    switch (op) {
    case IR_mulu: case IR_muls: case IR_divu: case IR_divs: return size == 1 ? 2 : size;
    case IR_deph: case IR_call: return 8;
    case IR_getf: return 4;
    case IR_ld: return sub == IR_LD_PLAIN ? size : sub == IR_LD_SX4 ? 4 : 8;
    default: return size;
    }
}

/* The register op that an rmw does on memory; IR_OP_COUNT for xchg. xadd adds. */
static inline enum ir_op ir_rmw_op(unsigned sub)
{
    static const uint8_t ops[RMW_COUNT] = {
        [RMW_add] = IR_add, [RMW_or] = IR_or, [RMW_adc] = IR_adc, [RMW_sbb] = IR_sbb, [RMW_and] = IR_and, [RMW_sub] = IR_sub,
        [RMW_xor] = IR_xor, [RMW_inc] = IR_inc, [RMW_dec] = IR_dec, [RMW_neg] = IR_neg, [RMW_not] = IR_not, [RMW_shl] = IR_shl,
        [RMW_shr] = IR_shr, [RMW_sar] = IR_sar, [RMW_rol] = IR_rol, [RMW_ror] = IR_ror, [RMW_rcl] = IR_rcl, [RMW_rcr] = IR_rcr,
        [RMW_bts] = IR_bts, [RMW_btr] = IR_btr, [RMW_btc] = IR_btc, [RMW_xchg] = IR_OP_COUNT, [RMW_xadd] = IR_add };
    return sub < RMW_COUNT ? ops[sub] : IR_OP_COUNT;
}

/* Flags an op with IRF_FLAGS may change. count: its shift count when constant, else -1; *sure: those it replaces on every run. */
static inline uint32_t ir_flags_written(enum ir_op op, uint32_t imm, int count, uint32_t *sure)
{
    uint32_t w = FL_ALL;
    bool shift = false;
    switch (op) {
    case IR_inc: case IR_dec: w = FL_ALL & ~FL_C; break;
    case IR_shl: case IR_shr: case IR_sar: case IR_shld: case IR_shrd: shift = true; break;
    case IR_rol: case IR_ror: case IR_rcl: case IR_rcr: w = FL_C | FL_O; shift = true; break;
    case IR_bt: case IR_bts: case IR_btr: case IR_btc: case IR_setcf: w = FL_C; break;
    case IR_setf: w = imm & FL_ALL; break;
    default: break;
    }
    *sure = !shift ? w : count > 0 ? w : 0;
    return w;
}
#endif
