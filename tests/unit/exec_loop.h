/*
 * Random loops for gen_exec.c: a body of up to 12 instructions such as compilers put into loops, whose bases and indices move by
 * constants, stay, or jump about; a conditional branch back to the top; now and then a conditional exit or a second branch back in the
 * middle, and code behind the loop that goes on using the same bases. Some streams run over pages that are not contiguous, or out of
 * the window.
 */
#ifndef TESTS_UNIT_EXEC_LOOP_H
#define TESTS_UNIT_EXEC_LOOP_H
#include "tests/unit/exec_gen.h"
#include "core/log.h"

/* A register that a turn moves by step. far: what displacements must add to get back to the window. */
struct loop_reg { uint8_t r; int32_t step, far; };
struct loop_gen {
    struct gen *g;
    struct loop_reg base[5], index[2];
    unsigned n_base, n_index, counter, n_data, n_exit, exit_at[4], top_at;
    const uint8_t *data;
    unsigned turns;
    uint32_t undef_exit;
};

#define LF_LOCK 1                                    /* may be locked when it writes memory */
#define LF_XMM 2                                     /* the register operand is a vector */
#define LF_MEMONLY 4
#define LF_VEX 8
struct loop_form { uint8_t prefix, map, op, sizes; int8_t ext; uint8_t imm, how; };       /* sizes: bits 1 2 4 8; imm: bytes, 9: by operand size */

static const struct loop_form loop_forms[] = {
    { 0, 0, 0x88, 15, -1, 0, 0 }, { 0, 0, 0x8a, 15, -1, 0, 0 }, { 0, 0, 0x88, 12, -1, 0, LF_MEMONLY }, { 0, 0, 0x8a, 12, -1, 0, LF_MEMONLY },
    { 0, 0, 0xc6, 15, 0, 9, 0 }, { 0, 1, 0xb6, 12, -1, 0, 0 }, { 0, 1, 0xb7, 12, -1, 0, 0 }, { 0, 1, 0xbe, 14, -1, 0, 0 },
    { 0, 1, 0xbf, 12, -1, 0, 0 }, { 0, 0, 0x00, 15, -1, 0, LF_LOCK }, { 0, 0, 0x02, 15, -1, 0, 0 }, { 0, 0, 0x28, 15, -1, 0, LF_LOCK },
    { 0, 0, 0x2a, 15, -1, 0, 0 }, { 0, 0, 0x10, 15, -1, 0, LF_LOCK }, { 0, 0, 0x12, 15, -1, 0, 0 }, { 0, 0, 0x18, 15, -1, 0, LF_LOCK },
    { 0, 0, 0x1a, 15, -1, 0, 0 }, { 0, 0, 0x30, 15, -1, 0, LF_LOCK }, { 0, 0, 0x22, 15, -1, 0, 0 }, { 0, 0, 0x0a, 15, -1, 0, 0 },
    { 0, 0, 0x38, 15, -1, 0, 0 }, { 0, 0, 0x3a, 15, -1, 0, 0 }, { 0, 0, 0x84, 15, -1, 0, 0 }, { 0, 0, 0x80, 15, 0, 9, LF_LOCK },
    { 0, 0, 0x80, 15, 2, 9, LF_LOCK }, { 0, 0, 0x80, 15, 4, 9, LF_LOCK }, { 0, 0, 0x80, 15, 7, 9, 0 }, { 0, 0, 0xf6, 15, 0, 9, 0 },
    { 0, 0, 0xf6, 15, 2, 0, LF_LOCK }, { 0, 0, 0xf6, 15, 3, 0, LF_LOCK }, { 0, 0, 0xfe, 15, 0, 0, LF_LOCK }, { 0, 0, 0xfe, 15, 1, 0, LF_LOCK },
    { 0, 0, 0xc0, 15, 4, 1, 0 }, { 0, 0, 0xc0, 15, 5, 1, 0 }, { 0, 0, 0xc0, 15, 0, 1, 0 }, { 0, 0, 0xd0, 15, 2, 0, 0 },
    { 0, 0, 0xd2, 15, 7, 0, 0 }, { 0, 1, 0xba, 12, 5, 1, LF_LOCK }, { 0, 1, 0xba, 12, 4, 1, 0 }, { 0, 0, 0x86, 15, -1, 0, 0 },
    { 0, 1, 0xc0, 15, -1, 0, LF_LOCK }, { 0, 1, 0xaf, 14, -1, 0, 0 }, { 0, 1, 0x44, 14, -1, 0, 0 }, { 0, 1, 0x42, 14, -1, 0, 0 },
    { 0, 1, 0x4c, 14, -1, 0, 0 }, { 0, 1, 0x92, 1, 0, 0, 0 }, { 0, 1, 0x94, 1, 0, 0, 0 }, { 0, 1, 0x90, 1, 0, 0, 0 },
    { 0, 0, 0x69, 12, -1, 4, 0 }, { 0, 0, 0xff, 8, 6, 0, LF_MEMONLY }, { 0, 0, 0x8f, 8, 0, 0, LF_MEMONLY }, { 0, 0, 0x8d, 12, -1, 0, LF_MEMONLY },
    { 0, 0, 0xf6, 12, 6, 0, 0 }, { 0, 1, 0x10, 0, -1, 0, LF_XMM }, { 0, 1, 0x11, 0, -1, 0, LF_XMM }, { 0, 1, 0x28, 0, -1, 0, LF_XMM },
    { 0, 1, 0x29, 0, -1, 0, LF_XMM }, { 0xf3, 1, 0x6f, 0, -1, 0, LF_XMM }, { 0xf3, 1, 0x7f, 0, -1, 0, LF_XMM },
    { 0x66, 1, 0xfe, 0, -1, 0, LF_XMM }, { 0, 1, 0x58, 0, -1, 0, LF_XMM }, { 0xf2, 1, 0x58, 0, -1, 0, LF_XMM },
    { 0xf2, 1, 0x59, 0, -1, 0, LF_XMM }, { 0xf2, 1, 0x10, 0, -1, 0, LF_XMM }, { 0xf2, 1, 0x11, 0, -1, 0, LF_XMM },
    { 0xf3, 1, 0x10, 0, -1, 0, LF_XMM }, { 0xf3, 1, 0x11, 0, -1, 0, LF_XMM }, { 0xf2, 1, 0x2a, 12, -1, 0, LF_XMM | LF_MEMONLY },
    { 0x66, 1, 0x2e, 0, -1, 0, LF_XMM }, { 0x66, 1, 0xef, 0, -1, 0, LF_XMM }, { 0x66, 1, 0xd6, 0, -1, 0, LF_XMM },
    { 0xf2, 1, 0x5e, 0, -1, 0, LF_XMM }, { 0xf3, 1, 0x6f, 0, -1, 0, LF_XMM | LF_VEX }, { 0xf3, 1, 0x7f, 0, -1, 0, LF_XMM | LF_VEX },
    { 0x66, 1, 0xfe, 0, -1, 0, LF_XMM | LF_VEX }, { 0, 1, 0x58, 0, -1, 0, LF_XMM | LF_VEX }, { 0, 0, 0xdd, 0, 0, 0, LF_MEMONLY },
    { 0, 0, 0xdd, 0, 3, 0, LF_MEMONLY }, { 0, 0, 0xd8, 0, 0, 0, LF_MEMONLY }, { 0, 0, 0xd9, 0, 3, 0, LF_MEMONLY },
};

struct loop_mem { uint8_t base, index, scale; int32_t disp; bool gs, rip; };       /* 0xff: none */

static struct loop_mem loop_operand(const struct loop_gen *l)
{
    struct loop_mem m = { 0xff, 0xff, 0, 0, false, false };
    unsigned how = pick(12);
    if (how == 0) {
        m.disp = (int32_t)(DATA + 64 + pick(DATA_SIZE - 256));
        m.rip = l->g->mode == X86_M64 && pick(2);
        if (!m.rip && chance(3) && l->g->mode == X86_M64) {
            m.gs = true;
            m.disp -= (int32_t)GS_BASE;
        }
        return m;
    }
    const struct loop_reg *b = &l->base[pick(l->n_base)];
    m.base = b->r;
    m.disp = b->far + (chance(3) ? (int32_t)pick(8) * 8 : chance(20) ? (int32_t)pick(5000) - 2500 : (int32_t)pick(200) - 100);
    if (chance(3)) {
        m.index = l->index[pick(l->n_index)].r;
        m.scale = (uint8_t)pick(4);
    }
    return m;
}

static void loop_modrm(const struct gen *g, struct enc *e, unsigned reg, const struct loop_mem *m)
{
    bool none = m->base == 0xff, small = m->disp == (int8_t)m->disp && !none && pick(3);
    bool zero = !m->disp && !none && (m->base & 7) != X86_RBP && pick(2);
    bool sib = m->index != 0xff || (none && g->mode == X86_M64 && !m->rip) || (m->base & 7) == X86_RSP;
    unsigned mod = none || zero ? 0 : small ? 1 : 2;
    e->b[e->n++] = (uint8_t)(mod << 6 | (reg & 7) << 3 | (sib ? 4 : none ? 5 : m->base & 7));
    if (sib)
        e->b[e->n++] = (uint8_t)(m->scale << 6 | (m->index == 0xff ? 4 : m->index & 7) << 3 | (none ? 5 : m->base & 7));
    memcpy(e->b + e->n, &m->disp, 4);
    e->disp_at = e->n;
    e->n += mod == 1 ? 1 : mod == 2 || none ? 4 : 0;
}

/* size 0: no general operand. */
static void loop_encode(const struct gen *g, struct enc *e, const struct loop_form *f, unsigned size, unsigned reg, const struct loop_mem *m,
                        unsigned rm)
{
    unsigned x = m && m->index != 0xff ? m->index >> 3 : 0, b = !m ? rm >> 3 : m->base != 0xff ? m->base >> 3 : 0;
    memset(e, 0, sizeof *e);
    if (m && m->gs)
        e->b[e->n++] = 0x65;
    if (m && f->how & LF_LOCK && chance(6))
        e->b[e->n++] = 0xf0;
    if (f->how & LF_VEX) {
        e->b[e->n++] = 0xc4;
        e->b[e->n++] = (uint8_t)((reg >> 3 ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | 1);
        unsigned v = f->op & 0x80 || f->op == 0x58 ? 15 - reg : 15;
        e->b[e->n++] = (uint8_t)(v << 3 | pick(2) << 2 | (f->prefix == 0x66 ? 1 : f->prefix == 0xf3 ? 2 : 0));
    } else {
        if (size == 2)
            e->b[e->n++] = 0x66;
        if (f->prefix)
            e->b[e->n++] = f->prefix;
        unsigned rex = (size == 8 && (f->op != 0xff || f->map) && (f->op != 0x8f || f->map)) * 8 | (reg >> 3) << 2 | x << 1 | b;
        if (g->mode == X86_M64 && (rex || size == 1))
            e->b[e->n++] = (uint8_t)(0x40 | rex);
        if (f->map)
            e->b[e->n++] = 0x0f;
    }
    bool sized = f->sizes & 1 && !(f->map == 1 && f->op != 0xc0);
    e->b[e->n++] = (uint8_t)(f->op + (sized && size > 1));
    if (m)
        loop_modrm(g, e, reg, m);
    else
        e->b[e->n++] = (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7));
    e->imm_at = e->n;
    uint64_t imm = pick(2) ? pick(64) : rnd();
    unsigned n = f->imm == 9 ? size == 8 ? 4 : size : f->imm;
    memcpy(e->b + e->n, &imm, 4);
    e->n += n;
}

/* Append an instruction. force: it may write a base. */
static bool loop_put(struct gen *g, const uint8_t *b, unsigned n, bool force)
{
    struct x86_insn i;
    uint8_t pad[24] = { 0 };
    memcpy(pad, b, n);
    if (g->n_insn >= GEN_MAX || x86_decode(&i, pad, 15, g->mode) != X86_OK || i.len != n || reads_undefined(g, &i) || (!force && clobbers(g, &i)))
        return false;
    g->undef_before[g->n_insn] = g->undef;
    follow_flags(g, &i);
    g->row[g->n_insn] = i.row;
    emit(g, b, n);
    g->pos[++g->n_insn] = g->n;
    return true;
}

static unsigned data_reg(const struct loop_gen *l, unsigned size)
{
    unsigned r = l->data[pick(l->n_data)];
    return size == 1 && l->g->mode != X86_M64 ? r & 3 : r;
}

static bool loop_insn(struct loop_gen *l)
{
    const struct loop_form *f = &loop_forms[pick(ARRAY_SIZE(loop_forms))];
    struct gen *g = l->g;
    struct enc e;
    struct loop_mem m = loop_operand(l);
    unsigned size = f->sizes ? 1u << pick(4) : 0;
    if ((f->sizes && !(f->sizes & size)) || (g->mode != X86_M64 && size == 8))
        return false;
    bool mem = f->how & LF_MEMONLY || pick(5);
    unsigned reg = f->ext >= 0 ? (unsigned)f->ext : f->how & LF_XMM ? pick(g->mode == X86_M64 ? 16 : 8) : data_reg(l, size);
    unsigned rm = f->how & LF_XMM ? pick(8) : data_reg(l, size);
    if (!mem && f->op == 0xc0 && f->map == 0 && chance(2))
        rm = data_reg(l, size);
    loop_encode(g, &e, f, size, reg, mem ? &m : NULL, rm);
    if (mem && m.rip)
        put32(&e, (int64_t)m.disp - (int64_t)(g->at + g->n + e.n));
    return loop_put(g, e.b, e.n, false);
}

/* r += by: LEA keeps flags. */
static void loop_move(struct loop_gen *l, unsigned r, int32_t by)
{
    struct gen *g = l->g;
    uint8_t b[8], rex = (uint8_t)(0x48 | r >> 3);
    bool lea = pick(2), small = by == (int8_t)by && pick(4);
    unsigned n = 0;
    if (lea) {
        if (g->mode == X86_M64)
            b[n++] = (uint8_t)(0x48 | (r >> 3) << 2 | r >> 3);
        b[n++] = 0x8d;
        b[n++] = (uint8_t)((small ? 0x40 : 0x80) | (r & 7) << 3 | (r & 7));
        if ((r & 7) == X86_RSP)
            b[n++] = 0x24;
    } else {
        bool sub = pick(2) && by != INT32_MIN && !(small && by == -128);
        if (g->mode == X86_M64)
            b[n++] = rex;
        if (sub)
            by = -by;
        small = by == (int8_t)by && small;
        b[n++] = small ? 0x83 : 0x81;
        b[n++] = (uint8_t)(0xc0 | (sub ? 5 : 0) << 3 | (r & 7));
    }
    memcpy(b + n, &by, 4);
    loop_put(g, b, n + (small ? 1 : 4), true);
}

/* A jcc rel32; to: offset in the code, or ~0 for one that is known later (then where its rel32 is). */
static unsigned loop_jcc(struct loop_gen *l, unsigned cc, unsigned to)
{
    uint8_t b[6] = { 0x0f, (uint8_t)(0x80 | cc) };
    int32_t d = to == ~0u ? 0 : (int32_t)to - (int32_t)(l->g->n + 6);
    memcpy(b + 2, &d, 4);
    return loop_put(l->g, b, 6, true) ? l->g->n - 4 : 0;
}

static void loop_counter(struct loop_gen *l, unsigned op, unsigned ext, int imm)
{
    uint8_t b[4] = { 0x49, (uint8_t)op, (uint8_t)(0xc0 | ext << 3 | (l->counter & 7)), (uint8_t)imm };
    bool wide = l->g->mode == X86_M64;
    loop_put(l->g, b + !wide, (op == 0xff ? 3u : 4u) - !wide, true);
}

/* A way out in the middle, by the counter or by data; or a branch back after counting. */
static void loop_middle(struct loop_gen *l)
{
    struct gen *g = l->g;
    unsigned how = pick(3);
    if (l->n_exit >= ARRAY_SIZE(l->exit_at) - 1)
        return;
    if (how == 0) {
        loop_counter(l, 0x83, 7, (int)pick(100));
        if ((l->exit_at[l->n_exit] = loop_jcc(l, 4, ~0u)))
            l->undef_exit |= g->undef, l->n_exit++;
    } else if (how == 1) {
        uint8_t b[5] = { 0x3c, (uint8_t)rnd() };
        loop_put(g, b, 2, true);
        if ((l->exit_at[l->n_exit] = loop_jcc(l, pick(2) ? 4 : 10, ~0u)))
            l->undef_exit |= g->undef, l->n_exit++;
    } else {
        uint8_t b[2] = { 0xa8, (uint8_t)(1 + pick(3)) };
        loop_counter(l, 0x83, 5, 1);
        if ((l->exit_at[l->n_exit] = loop_jcc(l, 14, ~0u)))
            l->undef_exit |= g->undef, l->n_exit++;
        loop_put(g, b, 2, true);
        loop_jcc(l, pick(2) ? 5 : 4, l->top_at);
    }
}

/* The branch back; the counter is signed and ends at or below 0. */
static void loop_close(struct loop_gen *l)
{
    struct gen *g = l->g;
    unsigned how = pick(5), top = l->top_at;
    if (how == 0 && !(g->undef & RF_CF)) {
        loop_counter(l, 0xff, 1, 0);
        loop_jcc(l, 15, top);
    } else if (how == 1) {
        loop_move(l, l->counter, -1);
        loop_counter(l, 0x83, 7, 0);
        loop_jcc(l, 15, top);
    } else if (how == 2) {
        loop_counter(l, 0x83, 0, -1);
        loop_jcc(l, 15, top);
    } else if (how == 3 && !l->n_exit) {
        loop_counter(l, 0x83, 5, 1);
        loop_jcc(l, 5, top);
    } else {
        loop_counter(l, 0x83, 5, 1 + (int)pick(3));
        loop_jcc(l, 15, top);
    }
}

static int32_t loop_stride(bool index)
{
    static const int16_t s[] = { 0, 0, 1, 1, 2, 4, 4, 8, 8, 8, 16, 16, 32, 3, 5, 7, 12, 24, 48, 64, 100, 256, 4096, 4000 };
    int32_t v = s[pick(index ? 9 : ARRAY_SIZE(s))];
    return chance(3) ? -v : v;
}

/* Registers' values and what they move by. fit: all turns stay in the window. */
static void loop_state(struct loop_gen *l)
{
    static const uint8_t base64[5] = { X86_RBX, X86_R8, X86_R12, X86_R13, X86_RSP }, index64[2] = { X86_RBP, X86_RSI };
    static const uint8_t data64[] = { 0, 1, 2, 7, 10, 11, 15 };
    static const uint8_t base32[2] = { X86_RBX, X86_RSP }, index32[2] = { X86_RBP, X86_RDI }, data32[] = { 0, 1 };
    struct gen *g = l->g;
    bool wide = g->mode == X86_M64, fit = pick(4);
    l->data = wide ? data64 : data32;
    l->n_data = wide ? ARRAY_SIZE(data64) : ARRAY_SIZE(data32);
    l->counter = wide ? X86_R9 : X86_RSI;
    l->n_base = wide ? 1 + pick(5) : 1 + pick(2);
    l->n_index = 1 + pick(2);
    l->turns = chance(3) ? 1 + pick(3000) : chance(4) ? 1 + pick(8) : 1 + pick(200);
    for (unsigned k = 0; k < l->n_base; k++) {
        l->base[k] = (struct loop_reg){ .r = wide ? base64[k] : base32[k], .step = loop_stride(false) };
        if (wide && chance(10) && l->base[k].r != X86_RSP)
            l->base[k].far = pick(2) ? 0x7ffff000 : -0x7ffff000;
        if (fit && l->base[k].step)
            l->turns = MIN(l->turns, 1 + 8000u / (unsigned)abs(l->base[k].step));
    }
    for (unsigned k = 0; k < l->n_index; k++) {
        l->index[k] = (struct loop_reg){ .r = wide ? index64[k] : index32[k], .step = loop_stride(true) };
        if (fit && l->index[k].step)
            l->turns = MIN(l->turns, 1 + 2500u / (unsigned)abs(8 * l->index[k].step));
    }
    for (unsigned k = 0; k < l->n_base; k++) {
        int64_t span = (int64_t)l->base[k].step * (int64_t)l->turns, at = DATA + (span < 0 ? DATA_SIZE - 2700 : 2700);
        if (!fit)
            at = DATA + 512 + pick(DATA_SIZE - 1024);
        else if (span < 8000 && span > -8000)
            at += span < 0 ? -(int64_t)pick(2000) : (int64_t)pick(2000);
        if (chance(2))
            at &= ~63ll;
        g->in->r[l->base[k].r] = (uint64_t)(at - l->base[k].far);
    }
    for (unsigned k = 0; k < l->n_index; k++)
        g->in->r[l->index[k].r] = pick(32);
    g->in->r[l->counter] = l->turns;
}

/* Rows whose operands lie at fixed addresses in a loop, or are a helper's work. */
static bool loop_row(const struct x86_row *r)
{
    static void (*const out[])(struct x86_gen *, const struct x86_insn *) = { gen_bt, gen_fxsave, gen_x87_env, gen_mxcsr, gen_maskmov,
        gen_x87, gen_cmpxchg, gen_cmpxchg8b, gen_cache, gen_nop, gen_mov_seg };
    for (unsigned i = 0; i < ARRAY_SIZE(out); i++)
        if (r->gen == out[i])
            return false;
    return !branch(r) && !stack_row(r) && !field_used(r, LF_STRING) && !field_used(r, LF_XLAT) && r->opnd[1] != L_Gx && r->opnd[1] != L_Gh;
}

static void loop_body(struct loop_gen *l, const struct x86_row *const *rows, unsigned n_rows)
{
    struct gen *g = l->g;
    unsigned want = 1 + pick(12), push = 0;
    bool middle = chance(5);
    bool moved[5] = { 0 }, moved_index[2] = { 0 };
    g->undef = middle ? RF_AF : 0;                       /* of a TEST before a branch back in the middle */
    for (unsigned k = 0, tries = 0; k < want && tries < 200 && g->n < 500; tries++) {
        unsigned b = pick(l->n_base), i = pick(l->n_index), how = pick(20);
        if (how == 0 && !moved[b])
            loop_move(l, l->base[b].r, l->base[b].step), moved[b] = true, k++;
        else if (how == 1 && !moved_index[i] && l->index[i].step)
            loop_move(l, l->index[i].r, l->index[i].step), moved_index[i] = true, k++;
        else if (how == 2 && chance(3)) {                /* there and back again, an access in between */
            int32_t by = (int32_t)pick(64) * 8 - 256;
            loop_move(l, l->base[b].r, by);
            loop_insn(l);
            loop_move(l, l->base[b].r, -by);
            k += 3;
        } else if (how == 3 && g->mode == X86_M64) {
            uint8_t p = (uint8_t)(push && pick(2) ? 0x58 : 0x50);
            push += p == 0x50 ? 1 : -1u;
            p |= (uint8_t)(pick(3));
            loop_put(g, &p, 1, true), k++;
        } else if (how == 4 && middle)
            loop_middle(l), middle = false, k++;
        else if (how == 5 && chance(3)) {                /* a base that jumps about */
            uint8_t b4[4] = { (uint8_t)(0x48 | l->base[b].r >> 3), 0x83, (uint8_t)(0xf0 | (l->base[b].r & 7)), (uint8_t)(8 * pick(16)) };
            bool wide = g->mode == X86_M64;
            loop_put(g, b4 + !wide, 4u - !wide, true), k++;
        } else if (how == 5 && chance(3)) {                /* an index that does */
            uint8_t b3[4] = { 0x0f, 0xb6, (uint8_t)(0xc0 | (l->index[0].r & 7) << 3 | pick(3)) };
            loop_put(g, b3, 3, true), k++;
        } else if (how < 9 && n_rows)
            k += gen_insn(g, rows[pick(n_rows)]);
        else
            k += loop_insn(l);
    }
    for (; push > 0; push--)
        loop_put(g, (const uint8_t *)"\x58", 1, true);
    for (unsigned k = 0; k < l->n_base; k++)
        if (!moved[k] && l->base[k].step)
            loop_move(l, l->base[k].r, l->base[k].step);
    for (unsigned k = 0; k < l->n_index; k++)
        if (!moved_index[k] && l->index[k].step)
            loop_move(l, l->index[k].r, l->index[k].step);
}

/* g: empty, with place and state. False: no loop was made. */
static bool loop_gen(struct gen *g, const struct x86_row *const *rows, unsigned n_rows)
{
    static struct loop_gen l;
    memset(&l, 0, sizeof l);
    l.g = g;
    g->reserved = 1u << X86_RSI | (g->mode == X86_M64 ? RESERVED64 | 1u << X86_RBP : RESERVED32 | 1u << X86_RDI);
    loop_state(&l);
    loop_body(&l, rows, n_rows);
    loop_close(&l);
    for (unsigned k = pick(4); k > 0; k--)
        loop_insn(&l);
    for (unsigned k = 0; k < l.n_exit; k++) {
        int32_t d = (int32_t)(g->n - (l.exit_at[k] + 4));
        memcpy(g->b + l.exit_at[k], &d, 4);
    }
    g->undef |= l.undef_exit;
    return g->n < 700;
}
#endif
