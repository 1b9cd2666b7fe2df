/* The assembler's bodies: prefixes, REX and VEX, ModRM and SIB (asm.h). SDM vol. 2 ch. 2. */
#include "backend-x86_64/asm.h"

void x64_d(struct code_buf *c, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        x64_b(c, v >> (8 * i));
}

void x64_q(struct code_buf *c, uint64_t v)
{
    x64_d(c, (uint32_t)v);
    x64_d(c, (uint32_t)(v >> 32));
}

static void emit_head(struct code_buf *c, struct x64_enc e, unsigned reg, unsigned index, unsigned base, bool rm_is_reg)
{
    if (e.prefix66 || e.prefix == 0x66)
        x64_b(c, 0x66);
    if (e.prefix == 0xf2 || e.prefix == 0xf3)
        x64_b(c, e.prefix);
    unsigned rex = (e.w ? 8 : 0) | (reg & 8) >> 1 | (index & 8) >> 2 | (base & 8) >> 3;
    bool need = (e.byte_reg && reg >= 4) || (e.byte_rm && rm_is_reg && base >= 4);
    if (rex || need)
        x64_b(c, 0x40 | rex);
    if (e.map) {
        x64_b(c, 0x0f);
        if (e.map == 2)
            x64_b(c, 0x38);
        if (e.map == 3)
            x64_b(c, 0x3a);
    }
    x64_b(c, e.op);
}

/* A displacement of one byte counts UNIT bytes (EVEX). */
static void emit_modrm_unit(struct code_buf *c, unsigned reg, struct x64_mem m, int unit)
{
    int d8 = m.disp / unit;
    unsigned r = (reg & 7) << 3;
    if (m.base == NOREG) {                         /* [index*scale + disp32] or absolute disp32 */
        x64_b(c, r | 4);
        x64_b(c, m.scale << 6 | (m.index == NOREG ? 4 : m.index & 7) << 3 | 5);
        x64_d(c, (uint32_t)m.disp);
        return;
    }
    unsigned mod = m.disp == 0 && (m.base & 7) != RBP ? 0 : d8 == (int8_t)d8 && d8 * unit == m.disp ? 1 : 2;
    if (m.index != NOREG || (m.base & 7) == RSP) {
        x64_b(c, mod << 6 | r | 4);
        x64_b(c, m.scale << 6 | (m.index == NOREG ? 4 : m.index & 7) << 3 | (m.base & 7));
    } else {
        x64_b(c, mod << 6 | r | (m.base & 7));
    }
    if (mod == 1)
        x64_b(c, (uint8_t)d8);
    if (mod == 2)
        x64_d(c, (uint32_t)m.disp);
}

static void emit_modrm_mem(struct code_buf *c, unsigned reg, struct x64_mem m) { emit_modrm_unit(c, reg, m, 1); }

static unsigned high(uint8_t r) { return r == NOREG ? 0 : r; }

static void rr(struct code_buf *c, struct x64_enc e, unsigned reg, unsigned rm)
{
    x64_touch(c, 1u << rm);
    emit_head(c, e, reg, 0, rm, true);
    x64_b(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static void rm(struct code_buf *c, struct x64_enc e, unsigned reg, struct x64_mem m)
{
    emit_head(c, e, reg, high(m.index), high(m.base), false);
    emit_modrm_mem(c, reg, m);
}

void x64_rr(struct code_buf *c, struct x64_enc e, unsigned reg, unsigned r)
{
    x64_touch(c, 1u << reg);
    rr(c, e, reg, r);
}

void x64_rm(struct code_buf *c, struct x64_enc e, unsigned reg, struct x64_mem m)
{
    x64_touch(c, 1u << reg);
    rm(c, e, reg, m);
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
    emit_vex(c, e, l, vvvv, reg, high(m.index), high(m.base));
    emit_modrm_mem(c, reg, m);
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
    emit_evex(c, e, v, reg, high(m.index) & 8, high(m.base));
    emit_modrm_unit(c, reg, m, v.unit);
}

void x64_mov_rr(struct code_buf *c, unsigned size, unsigned d, unsigned s)
{
    if (d == s && size != 4)
        return;
    x64_rr(c, x64_sized(0x88, size, 0), s, d);
}

void x64_mov_rm(struct code_buf *c, unsigned size, unsigned d, struct x64_mem m) { x64_rm(c, x64_sized(0x8a, size, 0), d, m); }
void x64_mov_mr(struct code_buf *c, unsigned size, struct x64_mem m, unsigned s) { x64_rm(c, x64_sized(0x88, size, 0), s, m); }

static void emit_imm(struct code_buf *c, unsigned size, int32_t imm)
{
    if (size == 1) {
        x64_b(c, (uint8_t)imm);
    } else if (size == 2) {
        x64_b(c, (uint8_t)imm);
        x64_b(c, (uint8_t)(imm >> 8));
    } else {
        x64_d(c, (uint32_t)imm);
    }
}

void x64_mov_mi(struct code_buf *c, unsigned size, struct x64_mem m, int32_t imm)
{
    rm(c, x64_sized(0xc6, size, 0), 0, m);
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
        rr(c, x64_wide(0xc7, 8, 0), 0, d);
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
    rr(c, x64_sized(0xc6, size, 0), 0, d);
    emit_imm(c, size, (int32_t)imm);
}

void x64_lea(struct code_buf *c, unsigned size, unsigned d, struct x64_mem m) { x64_rm(c, x64_wide(0x8d, size, 0), d, m); }

void x64_alu_rr(struct code_buf *c, unsigned alu, unsigned size, unsigned d, unsigned s) { x64_rr(c, x64_sized(alu << 3, size, 0), s, d); }
void x64_alu_rm(struct code_buf *c, unsigned alu, unsigned size, unsigned d, struct x64_mem m) { x64_rm(c, x64_sized(alu << 3 | 2, size, 0), d, m); }
void x64_alu_mr(struct code_buf *c, unsigned alu, unsigned size, struct x64_mem m, unsigned s) { x64_rm(c, x64_sized(alu << 3, size, 0), s, m); }

void x64_alu_ri(struct code_buf *c, unsigned alu, unsigned size, unsigned d, int32_t imm)
{
    bool small = size > 1 && imm == (int8_t)imm;
    rr(c, small ? x64_wide(0x83, size, 0) : x64_sized(0x80, size, 0), alu, d);
    emit_imm(c, small ? 1 : size, imm);
}

void x64_alu_mi(struct code_buf *c, unsigned alu, unsigned size, struct x64_mem m, int32_t imm)
{
    bool small = size > 1 && imm == (int8_t)imm;
    rm(c, small ? x64_wide(0x83, size, 0) : x64_sized(0x80, size, 0), alu, m);
    emit_imm(c, small ? 1 : size, imm);
}

void x64_test_rr(struct code_buf *c, unsigned size, unsigned a, unsigned b) { x64_rr(c, x64_sized(0x84, size, 0), b, a); }
void x64_test_mr(struct code_buf *c, unsigned size, struct x64_mem m, unsigned r) { x64_rm(c, x64_sized(0x84, size, 0), r, m); }

void x64_test_ri(struct code_buf *c, unsigned size, unsigned a, int32_t imm)
{
    struct x64_enc e = x64_sized(0xf6, size, 0);
    e.byte_reg = 0;                                /* /0 is no register */
    rr(c, e, 0, a);
    emit_imm(c, size, imm);
}

void x64_test_mi(struct code_buf *c, unsigned size, struct x64_mem m, int32_t imm)
{
    rm(c, x64_sized(0xf6, size, 0), 0, m);
    emit_imm(c, size, imm);
}

void x64_shift_ri(struct code_buf *c, unsigned sh, unsigned size, unsigned d, unsigned count)
{
    x64_group_r(c, count == 1 ? 0xd0 : 0xc0, sh, size, d);
    if (count != 1)
        x64_b(c, count);
}

void x64_shift_rcl(struct code_buf *c, unsigned sh, unsigned size, unsigned d) { x64_group_r(c, 0xd2, sh, size, d); }

void x64_group_r(struct code_buf *c, unsigned op, unsigned digit, unsigned size, unsigned r)
{
    struct x64_enc e = x64_sized(op, size, 0);
    e.byte_reg = 0;
    rr(c, e, digit, r);
}

void x64_group_m(struct code_buf *c, unsigned op, unsigned digit, unsigned size, struct x64_mem m)
{
    struct x64_enc e = x64_sized(op, size, 0);
    e.byte_reg = 0;
    rm(c, e, digit, m);
}

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
    rr(c, e, 0, d);
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
        for (unsigned i = 0; i < n; i++)
            x64_b(c, nop[n - 1][i]);
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
    x64_place(c, PLACE_REL32);
    x64_d(c, 0);
    return c->p - 4;
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

static void rel_to(struct code_buf *c, uint8_t *at, const uint8_t *target)
{
    if (c->p <= c->end)
        x64_set_rel32(at, target);
}

void x64_jmp_to(struct code_buf *c, const uint8_t *target) { rel_to(c, x64_jmp(c), target); }
void x64_jcc_to(struct code_buf *c, unsigned cc, const uint8_t *target) { rel_to(c, x64_jcc(c, cc), target); }

void x64_call_to(struct code_buf *c, const uint8_t *target)
{
    x64_b(c, 0xe8);
    rel_to(c, rel32(c), target);
}
