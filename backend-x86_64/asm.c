/* The assembler's bodies: prefixes, REX and VEX, ModRM and SIB (asm.h). SDM vol. 2 ch. 2. */
#include "backend-x86_64/asm.h"

/* Each byte is stored, and then counted or not: with registers as they come, branches would be mispredicted more often than not. */
static inline uint8_t *put_prefixes(uint8_t *p, struct x64_enc e, unsigned reg, unsigned index, unsigned base, bool rm_is_reg)
{
    *p = 0x66;
    p += e.prefix66 || e.prefix == 0x66;
    *p = e.prefix;
    p += e.prefix >= 0xf2;
    unsigned rex = (e.w ? 8 : 0) | (reg & 8) >> 1 | (index & 8) >> 2 | (base & 8) >> 3;
    bool need = (e.byte_reg && reg >= 4) || (e.byte_rm && rm_is_reg && base >= 4);
    *p = (uint8_t)(0x40 | rex);
    p += rex || need;
    if (e.map) {
        *p = 0x0f;
        p[1] = e.map == 2 ? 0x38 : 0x3a;
        p += 1 + (e.map >= 2);
    }
    return p;
}

/* A displacement of one byte counts UNIT bytes (EVEX). */
static inline uint8_t *put_modrm(uint8_t *p, unsigned reg, struct x64_mem m, int unit)
{
    static const uint8_t disp_bytes[3] = {0, 1, 4};
    int d8 = unit == 1 ? m.disp : m.disp / unit;
    unsigned r = (reg & 7) << 3;
    if (m.base == NOREG) {                         /* [index*scale + disp32] or absolute disp32 */
        *p++ = (uint8_t)(r | 4);
        *p++ = (uint8_t)(m.scale << 6 | (m.index & 7) << 3 | 5);
        __builtin_memcpy(p, &m.disp, 4);
        return p + 4;
    }
    unsigned mod = m.disp == 0 && (m.base & 7) != RBP ? 0 : d8 == (int8_t)d8 && d8 * unit == m.disp ? 1 : 2;
    int disp = mod == 1 ? d8 : m.disp;
    bool sib = m.index != NOREG || (m.base & 7) == RSP;
    p[0] = (uint8_t)(mod << 6 | r | (sib ? 4 : m.base & 7));
    p[1] = (uint8_t)(m.scale << 6 | (m.index & 7) << 3 | (m.base & 7));
    p += 1 + sib;
    __builtin_memcpy(p, &disp, 4);
    return p + disp_bytes[mod];
}

static inline void put_rr(struct code_buf *c, struct x64_enc e, unsigned reg, unsigned rm)
{
    uint8_t *p = put_prefixes(c->p, e, reg, 0, rm, true);
    p[0] = e.op;
    p[1] = (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7));
    c->p = p + 2;
}

static inline void put_rm(struct code_buf *c, struct x64_enc e, unsigned reg, struct x64_mem m)
{
    uint8_t *p = put_prefixes(c->p, e, reg, m.index, m.base, false);
    *p++ = e.op;
    c->p = put_modrm(p, reg, m, 1);
}

/* ---- nearly all: 32 or 64 bits, an opcode of one byte. Put together in a register, REX last, and stored once ---- */

static inline void put_word(struct code_buf *c, unsigned rex, uint64_t word, unsigned n)
{
    word = rex ? word << 8 | 0x40 | rex : word;
    __builtin_memcpy(c->p, &word, 8);
    c->p += n + (rex != 0);
}

/* W is the bit of 8 in the size. */
static inline void word_rr(struct code_buf *c, unsigned size, unsigned op, unsigned reg, unsigned rm)
{
    put_word(c, (size & 8) | (reg & 8) >> 1 | (rm & 8) >> 3, op | 0xc000 | (reg & 7) << 11 | (rm & 7) << 8, 2);
}

static inline void word_rm(struct code_buf *c, unsigned size, unsigned op, unsigned reg, struct x64_mem m)
{
    unsigned rex = (size & 8) | (reg & 8) >> 1 | (m.index & 8) >> 2 | (m.base & 8) >> 3, low = m.base & 7, n = 2;
    uint64_t word = op | (reg & 7) << 11;
    if (m.index != NOREG || low == (NOREG & 7)) {  /* also no base at all, whose low bits are RSP's: there is a SIB byte */
        word |= 4 << 8 | (uint64_t)((unsigned)m.scale << 6 | (m.index & 7) << 3 | (m.base == NOREG ? 5 : low)) << 16;
        n = 3;
    } else {
        word |= low << 8;
    }
    if (m.disp == (int8_t)m.disp && m.base != NOREG) {
        if (m.disp || low == RBP) {
            word |= 0x4000 | (uint64_t)(uint8_t)m.disp << (8 * n);
            n++;
        }
    } else {
        word |= (m.base == NOREG ? 0 : 0x8000) | (uint64_t)(uint32_t)m.disp << (8 * n);
        n += 4;
    }
    put_word(c, rex, word, n);
}
_Static_assert((NOREG & 7) == RSP && !(NOREG & 8), "an absent register's bits in REX, ModRM and SIB");

/* An opcode whose byte form is op and whose wider form is op + 1. */
static inline void sized_rr(struct code_buf *c, unsigned size, unsigned op, unsigned reg, unsigned rm)
{
    if (likely(size >= 4))
        word_rr(c, size, op + 1, reg, rm);
    else
        put_rr(c, x64_sized(op, size, 0), reg, rm);
}

static inline void sized_rm(struct code_buf *c, unsigned size, unsigned op, unsigned reg, struct x64_mem m)
{
    if (likely(size >= 4))
        word_rm(c, size, op + 1, reg, m);
    else
        put_rm(c, x64_sized(op, size, 0), reg, m);
}

/* reg is part of the opcode, and no byte register. */
static inline void digit_rr(struct code_buf *c, unsigned size, unsigned op, unsigned digit, unsigned rm)
{
    struct x64_enc e = x64_sized(op, size, 0);
    e.byte_reg = 0;
    x64_touch(c, 1u << rm);
    if (likely(size >= 4))
        word_rr(c, size, op + 1, digit, rm);
    else
        put_rr(c, e, digit, rm);
}

static inline void digit_rm(struct code_buf *c, unsigned size, unsigned op, unsigned digit, struct x64_mem m)
{
    struct x64_enc e = x64_sized(op, size, 0);
    e.byte_reg = 0;
    if (likely(size >= 4))
        word_rm(c, size, op + 1, digit, m);
    else
        put_rm(c, e, digit, m);
}

void x64_rr(struct code_buf *c, struct x64_enc e, unsigned reg, unsigned r)
{
    x64_touch(c, 1u << reg | 1u << r);
    put_rr(c, e, reg, r);
}

void x64_rm(struct code_buf *c, struct x64_enc e, unsigned reg, struct x64_mem m)
{
    x64_touch(c, 1u << reg);
    put_rm(c, e, reg, m);
}

static void emit_vex(struct code_buf *c, struct x64_enc e, bool l, unsigned vvvv, unsigned reg, unsigned index, unsigned base)
{
    unsigned pp = e.prefix == 0x66 ? 1 : e.prefix == 0xf3 ? 2 : e.prefix == 0xf2 ? 3 : 0;
    x64_b(c, 0xc4);
    x64_b(c, (~reg & 8) << 4 | (~index & 8) << 3 | (~base & 8) << 2 | e.map);
    x64_b(c, e.w << 7 | (~vvvv & 15) << 3 | l << 2 | pp);
    x64_b(c, e.op);
}

void x64_vex_rr(struct code_buf *c, struct x64_enc e, bool l, unsigned vvvv, unsigned reg, unsigned rm)
{
    x64_touch(c, 1u << reg | 1u << vvvv | 1u << rm);
    emit_vex(c, e, l, vvvv, reg, 0, rm);
    x64_b(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

void x64_vex_rm(struct code_buf *c, struct x64_enc e, bool l, unsigned vvvv, unsigned reg, struct x64_mem m)
{
    x64_touch(c, 1u << reg | 1u << vvvv);
    emit_vex(c, e, l, vvvv, reg, m.index, m.base);
    c->p = put_modrm(c->p, reg, m, 1);
}

/* R, X, B and R', V' in P0 and P2. x: bit 3 of the index, or bit 4 of a register in modrm.rm. */
static void emit_evex(struct code_buf *c, struct x64_enc e, struct x64_evex v, unsigned reg, bool x, unsigned base)
{
    unsigned pp = e.prefix == 0x66 ? 1 : e.prefix == 0xf3 ? 2 : e.prefix == 0xf2 ? 3 : 0;
    x64_b(c, 0x62);
    x64_b(c, (~reg & 8) << 4 | (unsigned)!x << 6 | (~base & 8) << 2 | (~reg & 16) | e.map);
    x64_b(c, e.w << 7 | (~v.vvvv & 15) << 3 | 4 | pp);
    x64_b(c, (unsigned)v.z << 7 | v.ll << 5 | (unsigned)v.b << 4 | (~v.vvvv & 16) >> 1 | v.k);
    x64_b(c, e.op);
}

void x64_evex_rr(struct code_buf *c, struct x64_enc e, struct x64_evex v, unsigned reg, unsigned rm)
{
    x64_touch(c, 1u << reg | 1u << rm);
    emit_evex(c, e, v, reg, rm & 16, rm);
    x64_b(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

void x64_evex_rm(struct code_buf *c, struct x64_enc e, struct x64_evex v, unsigned reg, struct x64_mem m)
{
    x64_touch(c, 1u << reg);
    emit_evex(c, e, v, reg, m.index & 8, m.base);
    c->p = put_modrm(c->p, reg, m, v.unit);
}

void x64_mov_rr(struct code_buf *c, unsigned size, unsigned d, unsigned s)
{
    if (d == s && size != 4)
        return;
    x64_touch(c, 1u << d);
    sized_rr(c, size, 0x88, s, d);
}

void x64_mov_rm(struct code_buf *c, unsigned size, unsigned d, struct x64_mem m)
{
    x64_touch(c, 1u << d);
    sized_rm(c, size, 0x8a, d, m);
}

void x64_mov_mr(struct code_buf *c, unsigned size, struct x64_mem m, unsigned s) { sized_rm(c, size, 0x88, s, m); }

static inline void emit_imm(struct code_buf *c, unsigned size, int32_t imm)
{
    __builtin_memcpy(c->p, &imm, 4);
    c->p += MIN(size, 4u);
}

void x64_mov_mi(struct code_buf *c, unsigned size, struct x64_mem m, int32_t imm)
{
    digit_rm(c, size, 0xc6, 0, m);
    emit_imm(c, size, imm);
}

void x64_mov_ri(struct code_buf *c, unsigned d, uint64_t imm)
{
    x64_touch(c, 1u << d);
    if (imm == (uint32_t)imm) {
        if (d & 8)
            x64_b(c, 0x41);
        x64_b(c, 0xb8 | (d & 7));
        x64_d(c, (uint32_t)imm);
    } else if (x64_fits32(imm)) {
        word_rr(c, 8, 0xc7, 0, d);
        x64_d(c, (uint32_t)imm);
    } else {
        x64_b(c, 0x48 | (d & 8) >> 3);
        x64_b(c, 0xb8 | (d & 7));
        x64_q(c, imm);
    }
}

void x64_mov_ri_place(struct code_buf *c, unsigned d, uint64_t imm, enum code_place kind)
{
    x64_touch(c, 1u << d);
    x64_b(c, 0x48 | (d & 8) >> 3);
    x64_b(c, 0xb8 | (d & 7));
    x64_place(c, kind);
    x64_q(c, imm);
}

void x64_mov_ri_size(struct code_buf *c, unsigned size, unsigned d, uint64_t imm)
{
    if (size >= 4) {
        x64_mov_ri(c, d, size == 4 ? (uint32_t)imm : imm);
        return;
    }
    digit_rr(c, size, 0xc6, 0, d);
    emit_imm(c, size, (int32_t)imm);
}

void x64_lea(struct code_buf *c, unsigned size, unsigned d, struct x64_mem m)
{
    x64_touch(c, 1u << d);
    if (likely(size >= 4))
        word_rm(c, size, 0x8d, d, m);
    else
        put_rm(c, x64_wide(0x8d, size, 0), d, m);
}

void x64_alu_rr(struct code_buf *c, unsigned alu, unsigned size, unsigned d, unsigned s)
{
    x64_touch(c, 1u << d);
    sized_rr(c, size, alu << 3, s, d);
}

void x64_alu_rm(struct code_buf *c, unsigned alu, unsigned size, unsigned d, struct x64_mem m)
{
    x64_touch(c, 1u << d);
    sized_rm(c, size, alu << 3 | 2, d, m);
}

void x64_alu_mr(struct code_buf *c, unsigned alu, unsigned size, struct x64_mem m, unsigned s) { sized_rm(c, size, alu << 3, s, m); }

void x64_alu_ri(struct code_buf *c, unsigned alu, unsigned size, unsigned d, int32_t imm)
{
    if (size > 1 && imm == (int8_t)imm) {          /* 80 and 83 are no pair: 82 would be the byte form of the latter */
        digit_rr(c, size, 0x82, alu, d);
        x64_b(c, (uint8_t)imm);
    } else {
        digit_rr(c, size, 0x80, alu, d);
        emit_imm(c, size, imm);
    }
}

void x64_alu_mi(struct code_buf *c, unsigned alu, unsigned size, struct x64_mem m, int32_t imm)
{
    bool small = size > 1 && imm == (int8_t)imm;
    digit_rm(c, size, small ? 0x82 : 0x80, alu, m);
    emit_imm(c, small ? 1 : size, imm);
}

void x64_test_rr(struct code_buf *c, unsigned size, unsigned a, unsigned b) { sized_rr(c, size, 0x84, b, a); }
void x64_test_mr(struct code_buf *c, unsigned size, struct x64_mem m, unsigned r) { sized_rm(c, size, 0x84, r, m); }

void x64_test_ri(struct code_buf *c, unsigned size, unsigned a, int32_t imm)
{
    digit_rr(c, size, 0xf6, 0, a);
    emit_imm(c, size, imm);
}

void x64_test_mi(struct code_buf *c, unsigned size, struct x64_mem m, int32_t imm)
{
    digit_rm(c, size, 0xf6, 0, m);
    emit_imm(c, size, imm);
}

void x64_shift_ri(struct code_buf *c, unsigned sh, unsigned size, unsigned d, unsigned count)
{
    x64_group_r(c, count == 1 ? 0xd0 : 0xc0, sh, size, d);
    if (count != 1)
        x64_b(c, count);
}

void x64_shift_rcl(struct code_buf *c, unsigned sh, unsigned size, unsigned d) { x64_group_r(c, 0xd2, sh, size, d); }

void x64_group_r(struct code_buf *c, unsigned op, unsigned digit, unsigned size, unsigned r) { digit_rr(c, size, op, digit, r); }
void x64_group_m(struct code_buf *c, unsigned op, unsigned digit, unsigned size, struct x64_mem m) { digit_rm(c, size, op, digit, m); }

static struct x64_enc movx_enc(bool sign, unsigned size, unsigned from)
{
    if (from == 8)
        return x64_wide(0x8b, 8, 0);
    if (from == 4)
        return sign && size == 8 ? x64_wide(0x63, size, 0) : x64_wide(0x8b, 4, 0);
    struct x64_enc e = x64_wide((sign ? 0xbe : 0xb6) + (from == 2), size, 1);
    e.byte_rm = from == 1;
    return e;
}

void x64_movx_rr(struct code_buf *c, bool sign, unsigned size, unsigned from, unsigned d, unsigned s) { x64_rr(c, movx_enc(sign, size, from), d, s); }
void x64_movx_rm(struct code_buf *c, bool sign, unsigned size, unsigned from, unsigned d, struct x64_mem m) { x64_rm(c, movx_enc(sign, size, from), d, m); }

void x64_setcc(struct code_buf *c, unsigned cc, unsigned d)
{
    struct x64_enc e = {.map = 1, .op = 0x90 | cc, .byte_rm = 1};
    x64_touch(c, 1u << d);
    put_rr(c, e, 0, d);
}

void x64_push(struct code_buf *c, unsigned r)
{
    if (r & 8)
        x64_b(c, 0x41);
    x64_b(c, 0x50 | (r & 7));
}

void x64_pop(struct code_buf *c, unsigned r)
{
    if (r & 8)
        x64_b(c, 0x41);
    x64_b(c, 0x58 | (r & 7));
}

void x64_nops(struct code_buf *c, unsigned bytes)
{
    static const uint8_t nop[9][9] = { { 0x90 }, { 0x66, 0x90 }, { 0x0f, 0x1f, 0 }, { 0x0f, 0x1f, 0x40, 0 }, { 0x0f, 0x1f, 0x44, 0, 0 },
        { 0x66, 0x0f, 0x1f, 0x44, 0, 0 }, { 0x0f, 0x1f, 0x80, 0, 0, 0, 0 }, { 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0 }, { 0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0 } };
    while (bytes) {
        unsigned n = MIN(bytes, 9u);
        __builtin_memcpy(c->p, nop[n - 1], 9);
        c->p += n;
        bytes -= n;
    }
}

void x64_jmp_m(struct code_buf *c, struct x64_mem m) { x64_rm(c, x64_wide(0xff, 4, 0), 4, m); }
void x64_jmp_r(struct code_buf *c, unsigned r) { x64_rr(c, x64_wide(0xff, 4, 0), 4, r); }
void x64_call_r(struct code_buf *c, unsigned r) { x64_rr(c, x64_wide(0xff, 4, 0), 2, r); }

void x64_place(struct code_buf *c, enum code_place kind)
{
    struct code_places *l = c->places;
    if (l && l->n++ < CODE_MAX_PLACES) {
        l->place[l->n - 1].at = c->p;
        l->place[l->n - 1].kind = (uint8_t)kind;
    }
}

void x64_rewind(struct code_buf *c, uint8_t *to)
{
    struct code_places *l = c->places;
    c->p = to;
    while (l && l->n && l->n <= CODE_MAX_PLACES && l->place[l->n - 1].at >= to)
        l->n--;
}

static uint8_t *rel32(struct code_buf *c)
{
    x64_d(c, 0);
    return c->p - 4;
}

/* Distances inside a block are the same in a copy of it. */
static void rel32_to(struct code_buf *c, const uint8_t *target)
{
    if (c->places && target < c->places->from)
        x64_place(c, PLACE_REL32);
    x64_d(c, (uint32_t)(target - (c->p + 4)));
}

uint8_t *x64_jmp(struct code_buf *c)
{
    x64_b(c, 0xe9);
    return rel32(c);
}

uint8_t *x64_jcc(struct code_buf *c, unsigned cc)
{
    x64_b(c, 0x0f);
    x64_b(c, 0x80 | cc);
    return rel32(c);
}

void x64_jmp_to(struct code_buf *c, const uint8_t *target)
{
    x64_b(c, 0xe9);
    rel32_to(c, target);
}

void x64_jcc_to(struct code_buf *c, unsigned cc, const uint8_t *target)
{
    x64_b(c, 0x0f);
    x64_b(c, 0x80 | cc);
    rel32_to(c, target);
}

void x64_call_to(struct code_buf *c, const uint8_t *target)
{
    x64_b(c, 0xe8);
    rel32_to(c, target);
}
