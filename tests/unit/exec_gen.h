/*
 * Random instructions for gen_exec.c: a row of insns.def -> bytes whose memory operand and implied operands make sense in a given state. Bytes are
 * built at random from the row's fields and decoded by our decoder, which tells where the operands went; then displacements are patched and
 * register values asked for: in the first instruction they are put into the initial state, later ones get MOV instructions before them.
 *
 * In blocks some registers are bases that no instruction may write, so that most operands need no MOV. gen->undef follows the flags that
 * are undefined: no instruction that reads one of them is used.
 */
#ifndef TESTS_UNIT_EXEC_GEN_H
#define TESTS_UNIT_EXEC_GEN_H
#include "tests/unit/exec_frame.h"

#define GEN_BLOCK 12                                 /* instructions of a random block */
#define GEN_MAX 48
struct gen {
    struct state *in;
    uint8_t b[768];
    unsigned n;
    uint64_t at;
    enum x86_mode mode;
    bool block;                                      /* registers of reserved are bases, R9 counts */
    uint16_t reserved;
    unsigned n_insn, pos[GEN_MAX + 1];
    uint32_t undef, undef_before[GEN_MAX + 1], undef_fault[GEN_MAX + 1];
    const struct x86_row *row[GEN_MAX];
    uint64_t skip_at; unsigned skip_len;
    struct x86_insn last; uint64_t last_ea;          /* the instruction made last, and its operand's address, 0: none */
    /* of the instruction being made */
    uint16_t need; uint64_t value[16];
};
#define RESERVED64 ((1u << X86_RBX) | (1u << X86_R8) | (1u << X86_R9) | (1u << X86_R12) | (1u << X86_R13) | (1u << X86_R14))
#define RESERVED32 ((1u << X86_RBX) | (1u << X86_RBP))

static uint64_t gen_seed = 1;
static uint64_t rnd(void)
{
    gen_seed ^= gen_seed << 13, gen_seed ^= gen_seed >> 7, gen_seed ^= gen_seed << 17;
    return gen_seed * 0x9e3779b97f4a7c15ull >> 16 ^ gen_seed << 40;
}
static unsigned pick(unsigned n) { return (unsigned)((rnd() >> 8) % n); }
static bool chance(unsigned of) { return pick(of) == 0; }
static uint64_t value(void)
{
    static const uint64_t edge[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff,
                                     0x8000000000000000, ~0ull };
    return chance(3) ? edge[pick(ARRAY_SIZE(edge))] : chance(4) ? (uint64_t)(int64_t)(int8_t)rnd() : rnd();
}

static bool is_gen(const struct x86_row *r, void (*g)(struct x86_gen *, const struct x86_insn *)) { return r->gen == g; }

static bool field_used(const struct x86_row *r, unsigned field)
{
    for (unsigned k = 0; k < 4; k++)
        if (r->opnd[k] && x86_letters[r->opnd[k]].field == field)
            return true;
    return false;
}

static bool branch(const struct x86_row *r) { return field_used(r, LF_REL) || is_gen(r, gen_jmp) || is_gen(r, gen_call) || is_gen(r, gen_ret); }
static bool stack_row(const struct x86_row *r)
{
    return is_gen(r, gen_push) || is_gen(r, gen_pop) || is_gen(r, gen_call) || is_gen(r, gen_ret) || is_gen(r, gen_pushf) || is_gen(r, gen_popf) || is_gen(r, gen_leave) ||
           is_gen(r, gen_enter) || is_gen(r, gen_push_seg);
}

/* User-visible, and the same under any operating system. */
static bool usable(const struct x86_row *r, enum x86_mode mode)
{
    static void (*const out[])(struct x86_gen *, const struct x86_insn *) = { gen_fxsave, gen_bcd, gen_pop_seg, gen_far, gen_lseg, gen_syscall, gen_out, gen_mxcsr, gen_ldtr,
        gen_lar, gen_int, gen_ins_outs, gen_in, gen_fsgsbase, gen_dtr, gen_ud, gen_rdtsc, gen_xcr, gen_vmcall, gen_rdrand, gen_msr, gen_mov_seg, gen_mov_dr, gen_mov_cr,
        gen_monitor, gen_invlpg, gen_cli_sti, gen_clac, gen_swapgs, gen_smsw, gen_salc, gen_rsm, gen_rdpid, gen_pusha, gen_popa, gen_lmsw, gen_iret, gen_hlt, gen_cpuid, gen_clts,
        gen_bound, gen_arpl };
    if (mode != X86_M64 && r->w == 1 && !(r->attr & (X86_F_VEX | X86_F_EVEX)))
        return false;
    if (r->map == 1 && (r->opcode == 0x0d || r->opcode == 0x18 || r->opcode == 0x19) && r->attr & X86_F_NOMEM)
        return false;                                /* reserved NOPs: not the same on all hosts */
    if (mode != X86_M64 && (is_gen(r, gen_bcd) || is_gen(r, gen_pusha) || is_gen(r, gen_popa) || is_gen(r, gen_salc) || is_gen(r, gen_bound) || is_gen(r, gen_arpl)))
        return true;
    if (!r->gen || (r->attr & (X86_F_PRIV | (mode == X86_M64 ? X86_F_I64 : X86_F_ONLY64))) || !x86_has(&exec_model, r->feat))
        return false;
    if (is_gen(r, gen_cache))
        return !strncmp(r->name, "cl", 2);
    if (is_gen(r, gen_mxcsr))
        return true;
    if (is_gen(r, gen_mov_seg))
        return r->opcode == 0x8c;
    if (is_gen(r, gen_fxsave) && !strncmp(r->name, "fx", 2))
        return true;
    for (unsigned i = 0; i < ARRAY_SIZE(out); i++)
        if (r->gen == out[i])
            return false;
    return true;
}

/* ---- bytes ---- */

struct enc { uint8_t b[32]; unsigned n, disp_at, imm_at; bool a16; };        /* a16: 16-bit addressing */

static void prefixes(const struct gen *g, const struct x86_row *r, struct enc *e, bool mem)
{
    bool v = r->attr & (X86_F_VEX | X86_F_EVEX), p66 = !v && (r->prefix == ANY || r->prefix == NP66) && !branch(r) && chance(4);
    if (mem && chance(14) && g->mode == X86_M64)
        e->b[e->n++] = 0x65;
    bool p67 = chance(mem ? g->mode == X86_M64 ? 14 : 3 : 60) && (g->mode == X86_M64 || exec_seg);
    if (p67)
        e->b[e->n++] = 0x67;
    e->a16 = g->mode == X86_M16 ? !p67 : g->mode == X86_M32 && p67;
    if (chance(40))
        e->b[e->n++] = pick(2) || is_gen(r, gen_maskmov) || is_gen(r, gen_arpl) ? 0x3e : 0x2e;
    if (p66 || (r->prefix == P66 && !v))
        e->b[e->n++] = 0x66;
    if ((r->attr & X86_F_REPOK) && pick(2))
        e->b[e->n++] = pick(2) ? 0xf2 : 0xf3;
    if (!v && (r->prefix == PF2 || r->prefix == PF3)) {
        if (!strcmp(r->name, "crc32") && chance(4))
            e->b[e->n++] = 0x66;
        e->b[e->n++] = r->prefix;
    }
    if ((r->attr & X86_F_LOCKABLE) && mem && chance(4))
        e->b[e->n++] = 0xf0;
}

static void vex(const struct gen *g, const struct x86_row *r, struct enc *e)
{
    unsigned pp = r->prefix == P66 ? 1 : r->prefix == PF3 ? 2 : r->prefix == PF2 ? 3 : 0, rxb = pick(2) ? 7 : pick(8), w = r->w >= 0 ? (unsigned)r->w : pick(2);
    unsigned v = field_used(r, LF_VVVV) ? pick(16) : 15, l = r->attr & X86_F_VEXL1 ? 1 : r->attr & X86_F_VEXL0 ? 0 : pick(2);
    if (g->mode != X86_M64)
        rxb = 6 | (rxb & 1);
    if (r->map == 1 && (rxb & 3) == 3 && !w && pick(2)) {
        e->b[e->n++] = 0xc5;
        e->b[e->n++] = (uint8_t)((rxb >> 2) << 7 | v << 3 | l << 2 | pp);
        return;
    }
    e->b[e->n++] = 0xc4;
    e->b[e->n++] = (uint8_t)(rxb << 5 | r->map);
    e->b[e->n++] = (uint8_t)(w << 7 | v << 3 | l << 2 | pp);
}

/* L'L, b, V', z and the mask. */
static uint8_t evex_last(const struct x86_row *r, bool mem, bool vsib, unsigned v)
{
    unsigned a = r->attr, l = a & X86_F_VEXL0 ? 0 : a & X86_F_L2 ? 2 : a & X86_F_NOL0 ? 1 + pick(2) : pick(3), k = a & X86_F_MASK && (vsib || pick(3)) ? 1 + pick(7) : 0;
    bool b = chance(3) && a & (mem ? X86_F_BCAST : X86_F_ER | X86_F_SAE), z = k && a & X86_F_ZERO && pick(2);
    if (b && !mem)
        l = pick(4);
    return (uint8_t)((z ? 0x80 : 0) | l << 5 | (b ? 0x10 : 0) | (v & 16 ? 0 : 8) | k);
}

static void evex(const struct gen *g, const struct x86_row *r, struct enc *e, bool mem, bool vsib)
{
    unsigned pp = r->prefix == P66 ? 1 : r->prefix == PF3 ? 2 : r->prefix == PF2 ? 3 : 0, rxb = pick(2) ? 15 : pick(16), w = r->w >= 0 ? (unsigned)r->w : pick(2);
    unsigned v = field_used(r, LF_VVVV) ? pick(32) : vsib ? pick(2) * 16 : 0;
    if (g->mode != X86_M64) {
        rxb |= 12;                                   /* or it would be BOUND */
        v &= 15;
    }
    e->b[e->n++] = 0x62;
    e->b[e->n++] = (uint8_t)(rxb << 4 | r->map);
    e->b[e->n++] = (uint8_t)(w << 7 | (~v & 15) << 3 | 4 | pp);
    e->b[e->n++] = evex_last(r, mem, vsib, v);
}

static unsigned block_base(const struct gen *g)
{
    static const uint8_t base[4] = { X86_RBX, X86_R8, X86_R12, X86_R13 };
    return g->mode != X86_M64 ? pick(2) ? X86_RBX : X86_RBP : base[pick(4)];
}

static void modrm(const struct gen *g, const struct x86_row *r, struct enc *e, bool mem, bool vsib, bool reserved, unsigned base)
{
    unsigned reg = r->ext >= 0 ? (unsigned)r->ext : pick(8), mod = mem ? pick(3) : 3, rm = r->rm >= 0 ? (unsigned)r->rm : pick(8);
    if (mem && reserved && e->a16)
        rm = pick(2) ? 6 + pick(2) : pick(8);
    else if (mem && reserved)
        rm = chance(4) ? 4 : base & 7;
    if (vsib)
        rm = 4;
    e->b[e->n++] = (uint8_t)(mod << 6 | reg << 3 | rm);
    if (!mem)
        return;
    unsigned sib = pick(256), disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    if (reserved)
        sib = (sib & 0xc0) | (vsib ? sib & 0x38 : g->mode == X86_M64 && chance(3) ? 6 << 3 : 4 << 3) | (base & 7);
    if (e->a16)
        disp = mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0;
    if (rm == 4 && !e->a16)
        e->b[e->n++] = (uint8_t)sib;
    if (!e->a16 && mod == 0 && (rm == 5 || (rm == 4 && (sib & 7) == 5)))
        disp = 4;
    if (disp)
        e->disp_at = e->n;
    for (unsigned k = 0; k < disp; k++)
        e->b[e->n++] = (uint8_t)rnd();
    if (mod == 2 && !e->a16 && pick(3)) {
        int32_t d = (int32_t)pick(0x800) - 0x400;
        memcpy(e->b + e->disp_at, &d, 4);
    }
}

static bool wants_modrm(const struct x86_row *r)
{
    bool v = r->attr & (X86_F_VEX | X86_F_EVEX);
    return r->map >= 2 || (v && r->opcode != 0x77) || r->ext >= 0 || field_used(r, LF_RM) || field_used(r, LF_REG);
}

static void encode(const struct gen *g, const struct x86_row *r, struct enc *e)
{
    bool has = wants_modrm(r), vsib = x86_letters[r->opnd[0]].kind == LK_VSIB || x86_letters[r->opnd[1]].kind == LK_VSIB, mem = has && !(r->attr & X86_F_NOMEM) && ((r->attr & X86_F_NOREG) || pick(2));
    bool reserved = g->block && mem && pick(4);
    unsigned base = block_base(g);
    memset(e, 0, sizeof *e);
    prefixes(g, r, e, mem || field_used(r, LF_STRING) || field_used(r, LF_MOFFS) || field_used(r, LF_XLAT));
    if (r->attr & X86_F_EVEX) {
        evex(g, r, e, mem, vsib);
        if (reserved && g->mode == X86_M64)
            e->b[e->n - 3] = (uint8_t)((e->b[e->n - 3] & 0x9f) | (base < 8 ? 0x20 : 0) | pick(2) << 6);
    } else if (r->attr & X86_F_VEX) {
        vex(g, r, e);
        if (reserved && g->mode == X86_M64 && e->n >= 3 && e->b[e->n - 3] == 0xc4)          /* B selects the base, X the index R14 */
            e->b[e->n - 2] = (uint8_t)((e->b[e->n - 2] & 0x9f) | (base < 8 ? 0x20 : 0) | pick(2) << 6);
    } else {
        unsigned rex = r->w == 1 ? 8 : r->w == 0 ? 0 : pick(2) * 8;
        if (pick(2))
            rex |= pick(8);
        if (reserved)
            rex = (rex & 0xc) | (base >= 8) | pick(2) * 2;
        if (g->mode == X86_M64 && (rex || chance(4)))
            e->b[e->n++] = (uint8_t)(0x40 | rex);
        if (r->map)
            e->b[e->n++] = 0x0f;
        if (r->map > 1)
            e->b[e->n++] = r->map == 2 ? 0x38 : 0x3a;
    }
    e->b[e->n++] = r->opcode;
    if (has)
        modrm(g, r, e, mem, vsib, reserved, base);
    if (field_used(r, LF_MOFFS))
        e->disp_at = e->n;
    e->imm_at = e->n;
    for (unsigned k = 0; k < 12; k++)
        e->b[e->n + k] = (uint8_t)(chance(4) ? pick(2) * 0xff : rnd());
    if (chance(3))
        e->b[e->n] = (uint8_t)pick(65);
}

/* ---- operands that make sense ---- */

static bool need(struct gen *g, unsigned reg, uint64_t v)
{
    if (g->need >> reg & 1)
        return g->value[reg] == (g->mode == X86_M64 ? v : (uint32_t)v);
    if (g->block && (g->reserved >> reg & 1))
        return g->in->r[reg] == v;
    if (g->block && reg == X86_RSP)
        return false;
    g->need |= (uint16_t)(1u << reg);
    g->value[reg] = g->mode == X86_M64 ? v : (uint32_t)v;
    return true;
}

static uint64_t known(const struct gen *g, unsigned reg) { return g->need >> reg & 1 ? g->value[reg] : g->in->r[reg]; }
static bool is_known(const struct gen *g, unsigned reg) { return (g->need >> reg & 1) || (g->block && (g->reserved >> reg & 1)); }

/* An address for SIZE bytes; ALIGN is what the instruction demands. */
static uint64_t window(const struct gen *g, unsigned size, unsigned align, bool masked)
{
    uint64_t ea = DATA + 64 + pick(DATA_SIZE - 512 - size);
    unsigned how = pick(100);
    if (how < (g->block ? 1 : masked ? 30 : 4))
        ea = pick(2) ? DATA + DATA_SIZE - pick(size + 2) : DATA - 1 - pick(size + 2);
    else if (how < 15)
        ea = DATA + 4096 * (1 + pick(DATA_SIZE / 4096 - 1)) - pick(size + 1);
    else if (how < 60)
        ea &= ~(uint64_t)63;
    if (align > 1 && (exec_seg || pick(g->block ? 100 : 12)))
        ea &= ~(uint64_t)(align - 1);
    return ea;
}

static void put32(struct enc *e, int64_t v)
{
    int32_t d = (int32_t)v;
    memcpy(e->b + e->disp_at, &d, e->a16 ? 2 : 4);
}

/* Make the operand's address EA by registers and displacement. prologue: bytes of MOVs that will come first. */
static bool aim(struct gen *g, struct enc *e, struct x86_insn *i, uint64_t ea)
{
    if (i->mem.seg == X86_GS && i->addrsize == 4 && ea < GS_BASE)
        ea += 0x2000;                                /* wrapping at 4 GiB differs from one instruction to the next */
    uint64_t off = i->mem.seg == X86_GS ? ea - GS_BASE : ea - exec_ds_base;
    bool wide = e->disp_at && e->imm_at - e->disp_at == (e->a16 ? 2 : 4);
    unsigned base = i->mem.base, index = i->mem.vsib ? X86_NOREG : i->mem.index, s = i->mem.scale;
    if (field_used(i->row, LF_MOFFS)) {
        memcpy(e->b + e->disp_at, &off, i->addrsize);
        return true;
    }
    if (i->mem.rip_rel || (base == X86_NOREG && index == X86_NOREG)) {
        put32(e, (int64_t)off);                      /* rip-relative: finished when the place is known */
        return wide;
    }
    if (base == X86_RSP && (g->block || stack_row(i->row))) {
        if (wide)
            put32(e, (int64_t)pick(0x400) - 0x200);
        if (g->block && index != X86_NOREG && index != X86_R14)
            return false;
        return index == X86_NOREG || need(g, index, pick(64));
    }
    uint64_t high = i->addrsize == 2 ? rnd() << 16 : i->addrsize == 4 && g->mode == X86_M64 ? rnd() << 32 : 0;
    uint64_t mask = i->addrsize == 2 ? 0xffff : i->addrsize == 4 ? 0xffffffff : ~0ull;
    if (base == index) {
        uint64_t v = is_known(g, base) ? known(g, base) : pick(256);
        if (!wide || !need(g, base, v))
            return false;
        int64_t d = (int64_t)(off - v * (1 + (1u << s)));
        put32(e, d);
        return g->mode != X86_M64 || d == (int32_t)d;
    }
    uint64_t x = 0;
    if (index != X86_NOREG) {
        x = is_known(g, index) ? known(g, index) : base == X86_NOREG ? pick(4096) : chance(2) ? rnd() : pick(256);
        if (!need(g, index, x))
            return false;
    }
    if (base == X86_NOREG || (is_known(g, base) && wide)) {
        int64_t d = (int64_t)(off - (x << s) - (base == X86_NOREG ? 0 : known(g, base)));
        put32(e, d);
        return wide && (g->mode != X86_M64 || d == (int32_t)d);
    }
    if (is_known(g, base))                            /* where it points is good enough */
        return (known(g, base) + exec_ds_base - DATA) < DATA_SIZE && (index == X86_NOREG || x < 256);
    return need(g, base, ((off - (x << s) - (uint64_t)i->mem.disp) & mask) | high);
}

static unsigned mem_size(const struct x86_insn *i, unsigned *align)
{
    unsigned size = 0;
    for (unsigned k = 0; k < i->n_opnd; k++)
        if (i->o[k].kind == OK_MEM)
            size = i->o[k].size;
    *align = i->row->attr & X86_F_ALIGN ? size : 1;
    if (is_gen(i->row, gen_cmpxchg8b))
        *align = size = 16;
    return size ? size : 64;
}

/* Bit strings: the address is far from the operand. */
static bool bit_string(struct gen *g, const struct x86_insn *i, uint64_t *ea)
{
    if (!is_gen(i->row, gen_bt) || i->o[0].kind != OK_MEM || i->o[1].kind != OK_GPR)
        return true;
    int64_t bit = (int64_t)pick(0x8000) - 0x4000;
    uint64_t m = i->o[1].size == 8 ? ~0ull : (1ull << (8 * i->o[1].size)) - 1;
    *ea = DATA + 0x1000 + pick(0x2000);
    return is_known(g, i->o[1].reg) ? !g->block : need(g, i->o[1].reg, ((uint64_t)bit & m) | (rnd() & ~m));
}

static bool string_operands(struct gen *g, const struct x86_insn *i)
{
    bool src = false, dst = false;
    uint64_t high = i->addrsize == 2 ? rnd() << 16 : i->addrsize == 4 && g->mode == X86_M64 ? rnd() << 32 : 0, gs = i->seg_override == X86_GS ? GS_BASE : exec_ds_base;
    for (unsigned k = 0; k < i->n_opnd; k++) {
        src |= i->o[k].kind == OK_MEM && i->o[k].reg == X86_RSI;
        dst |= i->o[k].kind == OK_MEM && i->o[k].reg == X86_RDI;
    }
    uint64_t s = window(g, i->opsize, 1, false), d = chance(4) || (src && dst && i->opcode >= 0xa6) ? s + pick(32) - 16 : window(g, i->opsize, 1, false), lim = i->addrsize == 2 ? 0xffff : i->addrsize == 4 ? 0xffffffff : ~0ull;
    if (src && dst && i->opcode >= 0xa6 && (s < DATA + 16 || s > DATA + DATA_SIZE - 32))
        d = DATA + 0x1000;                           /* when both fault the order is the processor's */
    if (src && !need(g, X86_RSI, ((s - gs) & lim) | high))
        return false;
    if (dst && !need(g, X86_RDI, ((d - exec_ds_base) & lim) | high))
        return false;
    if (!i->rep && !i->repne)
        return true;
    return need(g, X86_RCX, (chance(8) ? 0 : chance(8) ? pick(3000) : pick(40)) | high);
}

static void poke(struct gen *g, uint64_t ea, uint64_t v, unsigned size)
{
    if (!g->n_insn && ea >= DATA && ea + size <= DATA + DATA_SIZE)
        memcpy(g->in->mem + (ea - DATA), &v, size);
}

static bool small_dividend(struct gen *g, const struct x86_insn *i)
{
    if (!is_gen(i->row, gen_div) || chance(6))
        return true;
    if (i->o[0].size == 1)
        return (g->need & 1) ? true : need(g, X86_RAX, pick(2) ? pick(256) : pick(32768));
    return (g->need >> X86_RDX & 1) || (i->o[0].kind == OK_GPR && i->o[0].reg == X86_RDX) ? true : need(g, X86_RDX, chance(3) ? ~0ull : chance(3) ? pick(16) : 0);
}

/* Half of the compare-and-exchanges shall find what they expect. */
static void expect(struct gen *g, const struct x86_insn *i, uint64_t ea)
{
    if (g->n_insn || pick(2))
        return;
    if (is_gen(i->row, gen_cmpxchg) && !(g->need & 1))
        poke(g, ea, g->in->r[X86_RAX], i->o[0].size);
    if (is_gen(i->row, gen_cmpxchg8b) && !(g->need & 5)) {
        unsigned half = i->rex & 8 ? 8 : 4;
        poke(g, ea, g->in->r[X86_RAX], half);
        poke(g, ea + half, g->in->r[X86_RDX], half);
    }
}

static uint8_t *vector_at(uint8_t *f, unsigned r, unsigned off)
{
    return r >= 16 ? f + x86_xcomp[7].offset + 64 * (r - 16) + off : off >= 32 ? f + x86_xcomp[6].offset + 32 * r + off - 32
           : off >= 16 ? f + 576 + 16 * r + off - 16 : f + 160 + 16 * r + off;
}

/* The same for AVX-512's, whose mask is as it is; now and then an element is far off. */
static void gather512_indices(struct gen *g, const struct x86_insn *i)
{
    for (unsigned k = 0; k < (i->mem.index >= 16 || exec_components & X86_XS_AVX512 ? 16 : 8); k++) {
        uint8_t *p = vector_at(g->in->fpu, i->mem.index, 4 * k);
        int32_t v = chance(40) ? 0x100000 : (int32_t)pick(400) - 200;
        if (i->opcode & 1 && k & 1)
            v = *(int32_t *)vector_at(g->in->fpu, i->mem.index, 4 * k - 4) < 0 ? -1 : 0;
        memcpy(p, &v, 4);
    }
}

/* Elements of a gather's index vector such that base + index * scale stays in the window. */
static void gather_indices(struct gen *g, const struct x86_insn *i)
{
    unsigned r = i->mem.index;
    for (unsigned k = 0; k < 8; k++) {
        uint8_t *p = g->in->fpu + (k < 4 ? 160 + 16 * r + 4 * k : 576 + 16 * r + 4 * (k - 4));
        int32_t v = (int32_t)pick(400) - 200;
        if (i->opcode & 1 && k & 1)
            v = *(int32_t *)(p - 4) < 0 ? -1 : 0;
        memcpy(p, &v, 4);
        p += 16 * (i->o[2].reg - (int)r);            /* the mask: sign-extended, as some processors make it before they fault */
        v = pick(2) ? -1 : 0;
        if (i->o[0].size == 8 || i->vex_w)
            v = k & 1 ? *(int32_t *)(p - 4) : v;
        memcpy(p, &v, 4);
    }
}

static bool memory(struct gen *g, struct enc *e, struct x86_insn *i)
{
    unsigned align, size = mem_size(i, &align);
    uint64_t ea = window(g, size, align, i->evex_k);
    if (is_gen(i->row, gen_maskmov) && exec_seg)     /* AMD's check the whole operand against the limit, Intel's what the mask selects */
        ea = DATA + 64 + pick(DATA_SIZE - 512);
    if (field_used(i->row, LF_STRING))
        return string_operands(g, i);
    if (field_used(i->row, LF_XLAT))
        return !g->block && need(g, X86_RBX, ea - (g->in->r[0] & 255) - (i->seg_override == X86_GS ? GS_BASE : exec_ds_base));
    if (is_gen(i->row, gen_maskmov) && i->opcode == 0xf7)
        return need(g, X86_RDI, DATA + pick(DATA_SIZE - 16) - (i->seg_override == X86_GS ? GS_BASE : exec_ds_base));
    if (is_gen(i->row, gen_fxsave))
        ea = (GS_BASE + 128 + pick(DATA_SIZE - 0x1000 - 1024)) & ~(uint64_t)(chance(8) ? 0 : 15);
    if (is_gen(i->row, gen_x87_env))                 /* which part of a long operand faults first is the processor's affair */
        ea = DATA + 128 + pick(DATA_SIZE - 512);
    bool mem = false;
    for (unsigned k = 0; k < i->n_opnd; k++)
        mem |= i->o[k].kind == OK_MEM;
    g->last_ea = 0;
    if (!mem)
        return true;
    if (i->mem.vsib) {
        if (g->n_insn)
            return false;
        i->evex ? gather512_indices(g, i) : gather_indices(g, i);
        ea = DATA + 0x1000 + pick(0x2000);
    }
    if (!bit_string(g, i, &ea) || !aim(g, e, i, ea))
        return false;
    g->last_ea = ea;
    expect(g, i, ea);
    if (is_gen(i->row, gen_mxcsr) && pick(4))
        poke(g, ea, pick(0x10000), 4);
    if (is_gen(i->row, gen_fxsave)) {                /* a state that can be loaded; pointers and MXCSR_MASK (AMD has a bit more) are not compared */
        poke(g, ea, 0x37f | (uint64_t)pick(0x80) << 24 | (uint64_t)pick(256) << 32, 8);
        poke(g, ea + 24, pick(0x10000), 4);
        g->skip_at = ea + 6;
        g->skip_len = 26;
        return !g->block;
    }
    if (is_gen(i->row, gen_x87_env) && (i->mnem == X86I_fnstenv || i->mnem == X86I_fnsave)) {
        g->skip_at = ea + (i->opsize == 2 ? 6 : 12);
        g->skip_len = i->opsize == 2 ? 8 : 16;
        return !g->block;
    }
    return true;
}

static bool clobbers(const struct gen *g, const struct x86_insn *i)
{
    for (unsigned k = 0; k < i->n_opnd; k++)
        if ((i->o[k].kind == OK_GPR || i->o[k].kind == OK_GPRH) && (i->o[k].access & 2 || is_gen(i->row, gen_xchg)) &&
            ((g->reserved | 1u << X86_RSP) >> i->o[k].reg & 1))
            return true;
    if (is_gen(i->row, gen_popa))
        return true;
    for (unsigned k = 0; k < i->n_opnd; k++)         /* misaligned or beyond the limit: which is said first is the processor's affair */
        if (exec_seg && i->row->attr & X86_F_ALIGN && i->o[k].kind == OK_MEM)
            return true;
    if (is_gen(i->row, gen_maskmov) && (exec_seg || g->mode == X86_M16))      /* AMD's check the whole operand against the limit, Intel's what the mask selects */
        return true;
    return is_gen(i->row, gen_fsgsbase);
}

static bool stack_operands(struct gen *g, struct enc *e, const struct x86_insn *i)
{
    if ((is_gen(i->row, gen_leave) || is_gen(i->row, gen_enter)) && !need(g, X86_RBP, DATA - exec_ds_base + 0x1000 + pick(0x2000)))
        return false;
    if (is_gen(i->row, gen_enter)) {
        e->b[e->imm_at + 1] &= 3;
        e->b[e->imm_at + 2] = (uint8_t)(pick(3) ? pick(4) : pick(34));
    }
    return true;
}

static void emit(struct gen *g, const void *p, unsigned n)
{
    memcpy(g->b + g->n, p, n);
    g->n += n;
}

static unsigned mov_len(const struct gen *g) { return g->mode == X86_M64 ? 10 : g->mode == X86_M32 ? 5 : 6; }
static unsigned push_len(const struct gen *g, unsigned opsize) { return g->mode != X86_M16 ? 5 : opsize == 2 ? 3 : 6; }

static void emit_mov(struct gen *g, unsigned reg, uint64_t v)
{
    uint8_t s[5] = { (uint8_t)(0xb8 | reg) };
    memcpy(s + 1, &v, 4);
    if (g->mode != X86_M64) {
        emit(g, "\x66", g->mode == X86_M16);
        emit(g, s, 5);
        return;
    }
    uint8_t b[10] = { (uint8_t)(0x48 | (reg >> 3)), (uint8_t)(0xb8 | (reg & 7)) };
    memcpy(b + 2, &v, 8);
    emit(g, b, 10);
}

static void emit_push(struct gen *g, uint32_t v, unsigned opsize)
{
    uint8_t b[6] = { 0x66, 0x68 };
    unsigned len = push_len(g, opsize);
    memcpy(b + 2, &v, 4);
    emit(g, len == 6 ? b : b + 1, len);
}

/* What comes before: register values, stack contents, branch targets. FILL bytes will follow that the branch skips. */
static bool prologue(struct gen *g, struct enc *e, struct x86_insn *i, unsigned fill)
{
    const struct x86_row *r = i->row;
    unsigned regs = (unsigned)__builtin_popcount(g->need), len = i->len, push = is_gen(r, gen_ret) || is_gen(r, gen_popf) ? push_len(g, i->opsize) : 0;
    bool ind = (is_gen(r, gen_jmp) || is_gen(r, gen_call)) && !field_used(r, LF_REL);
    bool in_state = !g->n_insn && !g->block;
    uint64_t start = g->at + g->n + (in_state ? 0 : mov_len(g) * regs) + push, target = start + len + fill;
    if (ind && i->o[0].kind == OK_GPR) {
        if (g->need || (g->block && (g->reserved >> i->o[0].reg & 1)) || i->o[0].reg == X86_RSP)
            return false;
        if (!in_state)
            target += mov_len(g);
        need(g, i->o[0].reg, target - exec_cs_base);
    } else if (ind) {                                /* the pointer may lie where there is nothing, too */
        if (!in_state || i->mem.base == X86_RSP)
            return false;
        poke(g, g->last_ea, target - exec_cs_base, i->o[0].size);
    }
    for (unsigned k = 0; k < 16; k++)
        if (g->need >> k & 1) {
            if (in_state)
                g->in->r[k] = g->value[k];
            else
                emit_mov(g, k, g->value[k]);
        }
    if (is_gen(r, gen_ret)) {
        emit_push(g, (uint32_t)(target - exec_cs_base), i->opsize);
        if (r->opcode == 0xc2)
            e->b[e->imm_at + 1] &= 1;
    }
    if (is_gen(r, gen_popf))
        emit_push(g, (uint32_t)rnd() & 0xcd5, i->opsize);
    if (i->mem.rip_rel) {
        int32_t d;
        memcpy(&d, e->b + e->disp_at, 4);
        put32(e, (int64_t)(uint32_t)d - (int64_t)(g->at + g->n + len));
    }
    if (field_used(r, LF_REL)) {
        memset(e->b + e->imm_at, 0, 4);
        e->b[e->imm_at] = (uint8_t)fill;
    }
    return true;
}

static bool reads_undefined(const struct gen *g, const struct x86_insn *i)
{
    if (is_gen(i->row, gen_pushf) || is_gen(i->row, gen_lahf))
        return g->undef != 0;
    return g->undef & i->row->fl_r;
}

static void follow_flags(struct gen *g, const struct x86_insn *i)
{
    const struct x86_row *r = i->row;
    g->undef_fault[g->n_insn] = g->undef;
    if (is_gen(r, gen_shift) || is_gen(r, gen_shd)) {
        g->undef_fault[g->n_insn] |= r->fl_u;
        bool once = r->opnd[1] == L_I1;
        g->undef = once ? (g->undef & ~(uint32_t)r->fl_w) | r->fl_u : g->undef | r->fl_u | RF_OF;
    } else if (i->rep || i->repne) {
        g->undef |= r->fl_u;
    } else {
        g->undef = (g->undef & ~(uint32_t)r->fl_w) | r->fl_u;
    }
}

/* EVEX.X says nothing of a general register in r/m, but with it some AMD processors give an RSP from before the pushes and pops that precede. */
static bool evex_gpr_x(const struct enc *e, const struct x86_insn *i)
{
    unsigned at = 0;
    if (!i->evex || i->modrm < 0xc0)
        return false;
    while (e->b[at] != 0x62)
        at++;
    bool gpr = false;
    for (unsigned k = 0; k < i->n_opnd; k++)
        gpr |= i->o[k].kind == OK_GPR && x86_letters[i->row->opnd[k]].field == LF_RM;
    return gpr && !(e->b[at + 1] & 0x40);
}

static bool try_insn(struct gen *g, const struct x86_row *r)
{
    struct enc e;
    struct x86_insn i;
    static const uint8_t lea_eax[3] = { 0x8d, 0x40, 0x01 };
    encode(g, r, &e);
    if (x86_decode(&i, e.b, 15, g->mode) != X86_OK || i.row != r || reads_undefined(g, &i) || (g->block && clobbers(g, &i)))
        return false;
    if (evex_gpr_x(&e, &i))
        return false;
    if (stack_row(r) && i.opsize == 2 && branch(r) && g->mode != X86_M16)
        return false;
    if (is_gen(r, gen_shd) && i.opsize == 2)          /* counts above 16 are undefined */
        return false;
    if ((i.repne || i.rep) && (field_used(r, LF_STRING)) && g->block && chance(2))
        return false;
    g->need = 0;
    unsigned fill = branch(r) && !is_gen(r, gen_call) && pick(3) ? 3 : 0;
    if (!memory(g, &e, &i) || !small_dividend(g, &i) || !stack_operands(g, &e, &i) || !prologue(g, &e, &i, fill))
        return false;
    g->undef_before[g->n_insn] = g->undef;
    follow_flags(g, &i);
    g->row[g->n_insn] = r;
    g->last = i;
    emit(g, e.b, i.len);
    if (fill)
        emit(g, lea_eax, 3);
    g->pos[++g->n_insn] = g->n;
    return true;
}

static bool gen_insn(struct gen *g, const struct x86_row *r)
{
    struct gen save = *g;
    for (unsigned k = 0; k < 30; k++) {
        if (try_insn(g, r))
            return true;
        unsigned n = save.n;
        g->n = n;
        g->n_insn = save.n_insn;
        g->skip_len = 0;
    }
    return false;
}

/* ---- states ---- */

static void random_float(uint8_t *p, unsigned n)
{
    static const uint32_t f[] = { 0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffc12345, 1, 0x807fffff, 0x00800000, 0x7f7fffff,
                                  0x4f000000, 0xcf000000, 0x4b000000, 0x3f000000, 0x40490fdb };
    static const uint64_t d[] = { 0, 1ull << 63, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001,
                                  1, 0x800fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0x43e0000000000000, 0x41dfffffffc00000, 0xc1e0000000000000, 0x3fe0000000000000 };
    unsigned how = pick(5);
    for (unsigned k = 0; k < n; k += 8) {
        uint64_t v = rnd();
        if (how == 1)
            v = (uint64_t)f[pick(ARRAY_SIZE(f))] << 32 | f[pick(ARRAY_SIZE(f))];
        else if (how == 2)
            v = d[pick(ARRAY_SIZE(d))];
        else if (how == 3)
            v = (uint64_t)(0x3f000000 + pick(0x1000000)) << 32 | (0x3f000000 + pick(0x1000000));
        else if (how == 4)
            v = (v & 0xbfffffffffffffff) | 0x3800000000000000;
        memcpy(p + k, &v, 8);
    }
}

static void random_st(uint8_t *p)
{
    static const uint16_t exp[] = { 0, 0x7fff, 0xffff, 0x3fff, 0xbfff, 1, 0x7ffe, 0x403e, 0x400e, 0x8000, 0x3fbe };
    uint64_t man = chance(5) ? 0 : chance(5) ? 0x8000000000000000 : chance(6) ? 0xc000000000000000 : chance(6) ? rnd() : rnd() | 0x8000000000000000;
    uint16_t e = chance(4) ? exp[pick(ARRAY_SIZE(exp))] : chance(4) ? (uint16_t)rnd() : (uint16_t)(0x3fe0 + pick(64) + pick(2) * 0x8000);
    memset(p, 0, 16);
    memcpy(p, &man, 8);
    memcpy(p + 8, &e, 2);
}

/* An opmask register: few bits, many, the lowest, the highest of some width. */
static void random_mask(uint8_t *p)
{
    uint64_t v = rnd(), w = 1ull << pick(7);
    v = chance(4) ? v & rnd() : chance(4) ? v | rnd() : chance(4) ? (1ull << pick(64)) - 1 : chance(3) ? ~((1ull << pick(64)) - 1) : chance(8) ? w >> 1 : v;
    memcpy(p, &v, 8);
}

static void random_fpu(uint8_t *f)
{
    uint16_t fcw = 0x37f, fsw = (uint16_t)(pick(8) << 11 | (rnd() & 0x4700) | (chance(2) ? rnd() & 0x3f : 0));
    uint32_t mxcsr = chance(2) ? 0x1f80 : 0x1f80 | (rnd() & 0xe07f), mask = 0xffff;
    if (chance(2))
        fcw = (uint16_t)(0x7f | (rnd() & 0x0f00));
    if (chance(10))
        fcw &= (uint16_t)~(1u << pick(6));
    if (chance(10))
        mxcsr &= ~(0x80u << pick(6));
    if (fsw & ~fcw & 0x3f) {
        if (pick(4))
            fsw &= (uint16_t)~0x3f;
        else
            fsw |= 0x8080;
    }
    memset(f, 0, FPU_SIZE);
    memcpy(f, &fcw, 2);
    memcpy(f + 2, &fsw, 2);
    f[4] = (uint8_t)(chance(3) ? rnd() : chance(2) ? 0xff : 0);
    memcpy(f + 24, &mxcsr, 4);
    memcpy(f + 28, &mask, 4);
    for (unsigned k = 0; k < 8; k++)
        random_st(f + 32 + 16 * k);
    for (unsigned k = 0; k < 16; k++) {
        random_float(f + 160 + 16 * k, 16);
        random_float(f + 576 + 16 * k, 16);
    }
    for (unsigned n = 5; n < X86_XCOMPS_FPU; n++)
        for (unsigned k = 0; (exec_components >> n & 1) && k < x86_xcomp[n].size; k += n == 5 ? 8 : 16)
            if (n == 5)
                random_mask(f + x86_xcomp[n].offset + k);
            else
                random_float(f + x86_xcomp[n].offset + k, 16);
    f[512] = (uint8_t)exec_components;
}

static void random_state(struct state *s, uint64_t rip, uint16_t reserved)
{
    for (unsigned k = 0; k < 16; k++)
        s->r[k] = value();
    for (unsigned k = 0; k < 16; k++)
        if (reserved >> k & 1)
            s->r[k] = k == X86_R14 ? pick(64) : k == X86_R9 ? 1 + pick(5) : DATA - exec_ds_base + 0x800 + pick(DATA_SIZE - 0x1000);
    s->r[X86_RSP] = DATA - exec_ds_base + 0x1000 + (chance(3) ? pick(0x2000) : pick(0x200) * 8);
    for (unsigned k = 0; k < 16 && exec_mode != X86_M64; k++)
        s->r[k] = k < 8 ? (uint32_t)s->r[k] : 0;
    s->rip = rip;
    s->flags = 0x202 | (rnd() & RF_ARITH) | (chance(4) ? RF_DF : 0);
    random_fpu(s->fpu);
    for (unsigned k = 0; k < DATA_SIZE; k += 64)
        if (chance(4))
            random_float(s->mem + k, 64);
        else
            for (unsigned j = 0; j < 64; j += 8) {
                uint64_t v = value();
                memcpy(s->mem + k + j, &v, 8);
            }
}
#endif
