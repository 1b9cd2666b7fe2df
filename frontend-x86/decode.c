/*
 * Guest bytes -> struct x86_insn, from the rows of insns.def. In: up to n bytes at p and the code segment's mode. Out: a filled insn, or a
 * status: more bytes needed, no such instruction (#UD), longer than 15 bytes (#GP). No side effects; features, CPL and control registers
 * are not looked at: the generator gates on them.
 *
 * The row is found by x86_lists (decode_rows.c), which have only the few rows that differ in prefix, form, W or L.
 * Conventions: string operands are OK_MEM with reg = RSI or RDI and sel = segment; insn->mem then has the source's segment only.
 * XLAT has base RBX and no index (AL is added by the generator). SDM vol. 2 ch. 2, appendix A.
 */
#include "frontend-x86/rows.h"
#include "x86/cpu.h"
#include <string.h>

/* r2, v2: EVEX.R', V'; look: enum x86_look of the row; mandatory: the prefix that is part of the opcode, as in struct x86_want */
struct dec { struct x86_insn *i; const uint8_t *p; unsigned pos, n; bool over, b, x, r, w, r2, v2, fixed_mod; uint8_t mandatory, look; };


static inline uint8_t get8(struct dec *d)
{
    if (d->pos < d->n)
        return d->p[d->pos++];
    d->over = true;
    return 0;
}

static uint64_t get_le(struct dec *d, unsigned bytes)
{
    uint64_t v = 0;
    if (d->pos + bytes > d->n) {
        d->over = true;
        return 0;
    }
    memcpy(&v, d->p + d->pos, bytes);
    d->pos += bytes;
    return v;
}

static inline int64_t sext(uint64_t v, unsigned bytes)
{
    unsigned s = 64 - 8 * bytes;
    return (int64_t)(v << s) >> s;
}

/* Legacy prefixes and REX; leaves the opcode byte. A REX counts only directly before the opcode. */
static uint8_t get_prefixes(struct dec *d)
{
    struct x86_insn *i = d->i;
    for (;;) {
        uint8_t c = get8(d);
        if (i->mode == X86_M64 && (c & 0xf0) == 0x40 && !d->over) {
            i->rex = c;
            continue;
        }
        switch (c) {
        case 0x26: i->seg_override = X86_ES; break;
        case 0x2e: i->seg_override = X86_CS; break;
        case 0x36: i->seg_override = X86_SS; break;
        case 0x3e: i->seg_override = X86_DS; break;
        case 0x64: i->seg_override = X86_FS; break;
        case 0x65: i->seg_override = X86_GS; break;
        case 0x66: i->p66 = true; break;
        case 0x67: i->p67 = true; break;
        case 0xf0: i->lock = true; break;
        case 0xf2: i->repne = true; d->mandatory = PFX_F2; break;
        case 0xf3: i->rep = true; d->mandatory = PFX_F3; break;
        default: return c;
        }
        i->rex = 0;
        if (d->over)
            return 0;
    }
}

/* In 64-bit mode only FS and GS change anything, and a later ignored prefix does not undo an earlier FS or GS. */
static void fix_segment64(struct dec *d)
{
    uint8_t seg = X86_NOREG;
    for (unsigned k = 0; k < d->pos; k++)
        if (d->p[k] == 0x64 || d->p[k] == 0x65)
            seg = d->p[k] == 0x64 ? X86_FS : X86_GS;
        else if (d->p[k] != 0x26 && d->p[k] != 0x2e && d->p[k] != 0x36 && d->p[k] != 0x3e && d->p[k] != 0x66 && d->p[k] != 0x67 && d->p[k] != 0xf0 &&
                 d->p[k] != 0xf2 && d->p[k] != 0xf3 && (d->p[k] & 0xf0) != 0x40)
            break;
    d->i->seg_override = seg;
}

/* After C4 or C5. false: #UD. */
static bool get_vex(struct dec *d, uint8_t c)
{
    static const uint8_t pp[4] = { PFX_NONE, PFX_66, PFX_F3, PFX_F2 };
    struct x86_insn *i = d->i;
    bool bad = i->p66 || i->rep || i->repne || i->lock || i->rex;
    uint8_t v = get8(d), u = v;
    i->map = 1;
    if (c == 0xc4) {
        u = get8(d);
        i->map = v & 31;
        d->x = !(v & 0x40);
        d->b = !(v & 0x20);
        d->w = u & 0x80;
    }
    d->r = !(v & 0x80);
    i->vex = true;
    i->vex_w = d->w;
    i->vex_l = (u >> 2) & 1;
    i->vex_v = (~u >> 3) & 15;
    d->mandatory = pp[u & 3];
    if (i->mode != X86_M64) {
        d->r = d->x = d->b = false;         /* the bits are 0 when inverted, or this would have been LES/LDS; B is ignored */
    }
    i->opcode = get8(d);
    return !bad && i->map >= 1 && i->map <= 3;
}

/* After 62. false: #UD. Outside 64-bit mode the register bits beyond 7 say nothing, as in VEX, but V' must not be there. */
static bool get_evex(struct dec *d)
{
    static const uint8_t pp[4] = { PFX_NONE, PFX_66, PFX_F3, PFX_F2 };
    struct x86_insn *i = d->i;
    bool bad = i->p66 || i->rep || i->repne || i->lock || i->rex, wide = i->mode == X86_M64;
    uint8_t u = get8(d), v = get8(d), t = get8(d);
    i->map = u & 7;
    d->r = wide && !(u & 0x80);
    d->x = wide && !(u & 0x40);
    d->b = wide && !(u & 0x20);
    d->r2 = wide && !(u & 0x10);
    d->w = v & 0x80;
    d->v2 = !(t & 8);
    i->vex = i->evex = true;
    i->vex_w = d->w;
    i->vex_v = (uint8_t)(((~v >> 3) & 15) | (d->v2 ? 16 : 0));
    i->vex_l = (t >> 5) & 3;
    i->evex_z = t & 0x80;
    i->evex_b = t & 0x10;
    i->evex_k = t & 7;
    d->mandatory = pp[v & 3];
    i->opcode = get8(d);
    return !bad && !(u & 8) && (v & 4) && (wide || !d->v2) && i->map >= 1 && i->map <= 3;
}

static bool get_opcode(struct dec *d)
{
    struct x86_insn *i = d->i;
    uint8_t c = get_prefixes(d);
    if (i->seg_override != X86_NOREG && i->mode == X86_M64)
        fix_segment64(d);
    if ((c == 0xc4 || c == 0xc5) && (i->mode == X86_M64 || (d->pos < d->n && d->p[d->pos] >= 0xc0)))
        return get_vex(d, c);
    if (c == 0x62 && (i->mode == X86_M64 || (d->pos < d->n && d->p[d->pos] >= 0xc0)))
        return get_evex(d);
    if (c == 0xc4 || c == 0xc5 || c == 0x62)
        d->over |= d->pos >= d->n;
    d->r = i->rex & 4;
    d->x = i->rex & 2;
    d->b = i->rex & 1;
    d->w = i->rex & 8;
    if (c == 0x0f) {
        i->map = 1;
        c = get8(d);
        if (c == 0x38 || c == 0x3a) {
            i->map = c == 0x38 ? 2 : 3;
            c = get8(d);
        }
    }
    if (d->mandatory == PFX_NONE && i->p66)
        d->mandatory = PFX_66;
    i->opcode = c;
    return true;
}

/* The form bit of L or L'L. Rounding and SAE imply 512 bits. */
static unsigned length_form(const struct x86_insn *i)
{
    static const uint16_t form[4] = { 16, 32, 256, 512 };
    return i->evex_b && i->modrm >= 0xc0 ? 256 : form[i->vex_l];
}

/* Also looks at the byte behind the opcode when it is a modrm. NULL: there is none, or the bytes have run out. */
static const struct x86_row *find_row(struct dec *d)
{
    struct x86_insn *i = d->i;
    unsigned op = i->opcode == 0x90 && i->map == 0 && d->b ? 0x91 : i->opcode;      /* 90 with REX.B exchanges; only without it is it NOP */
    const struct x86_list *l = x86_lists[i->vex + i->evex][i->map][op];
    unsigned base = i->mode == X86_M64 ? 1u : 2u;
    if (l->has_modrm) {
        i->has_modrm = true;
        i->modrm = get8(d);
        if (d->over)
            return NULL;
        d->fixed_mod = i->map == 1 && !i->vex && op >= 0x20 && op <= 0x23;
        base |= i->modrm >= 0xc0 || d->fixed_mod ? 4u : 8u;
        l += (i->modrm >> 3) & 7;
    }
    base |= i->vex ? length_form(i) : 16;
    for (const struct x86_want *w = &x86_wants[l->first], *end = w + l->n; w < end; w++) {
        unsigned need = base | (d->w && !(w->look & LOOK_W_GPR && i->mode != X86_M64) ? 128u : 64u);
        if ((w->form & need) == need && (w->pfx & d->mandatory) && (w->rm < 0 || w->rm == (i->modrm & 7))) {
            d->look = w->look;
            return &x86_rows[w->row];
        }
    }
    return NULL;
}

static void set_sizes(struct dec *d)
{
    struct x86_insn *i = d->i;
    uint32_t a = i->row->attr;
    if (i->mode == X86_M64) {
        bool w = d->w && !i->vex;
        i->opsize = (a & X86_F_F64) || w ? 8 : i->p66 ? 2 : (a & X86_F_O64) ? 8 : 4;
        i->addrsize = i->p67 ? 4 : 8;
    } else {
        i->opsize = (i->mode == X86_M32) != i->p66 ? 4 : 2;
        i->addrsize = (i->mode == X86_M32) != i->p67 ? 4 : 2;
        d->w = i->vex ? d->w && !(d->look & LOOK_W_GPR) : false;
        i->vex_w = i->vex && d->w;
    }
}

static unsigned odd_size(const struct dec *d, unsigned s)
{
    const struct x86_insn *i = d->i;
    unsigned x = i->evex_b && i->modrm >= 0xc0 ? 64 : 16u << i->vex_l;
    switch (s) {
    case LS_Z: return i->opsize == 8 ? 4 : i->opsize;
    case LS_Y: return d->w ? 8 : 4;
    case LS_R: return i->mode == X86_M64 ? 8 : 4;
    case LS_X: return x;
    case LS_XH: return x / 2;
    case LS_XQ: return x / 4;
    case LS_XE: return x / 8;
    case LS_P: return i->opsize + 2u;
    case LS_S: return i->mode == X86_M64 ? 10 : 6;
    case LS_A: return 2u * i->opsize;
    case LS_ENV: return i->opsize == 2 ? 14 : 28;
    case LS_SAVE: return i->opsize == 2 ? 94 : 108;
    default: return s;
    }
}

static inline unsigned size_of(const struct dec *d, unsigned s) { return s < LS_V ? s : s == LS_V ? d->i->opsize : odd_size(d, s); }

static void mem16(struct dec *d)
{
    static const uint8_t base[8] = { X86_RBX, X86_RBX, X86_RBP, X86_RBP, X86_RSI, X86_RDI, X86_RBP, X86_RBX };
    static const uint8_t index[8] = { X86_RSI, X86_RDI, X86_RSI, X86_RDI, X86_NOREG, X86_NOREG, X86_NOREG, X86_NOREG };
    struct x86_insn *i = d->i;
    unsigned mod = i->modrm >> 6, rm = i->modrm & 7;
    i->mem.base = base[rm];
    i->mem.index = index[rm];
    if (mod == 0 && rm == 6) {
        i->mem.base = X86_NOREG;
        i->mem.disp = (int64_t)get_le(d, 2);
    } else if (mod) {
        i->mem.disp = sext(get_le(d, mod), mod);
    }
}

static void mem32(struct dec *d, bool vsib)
{
    struct x86_insn *i = d->i;
    unsigned mod = i->modrm >> 6, rm = i->modrm & 7, disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    i->mem.base = (uint8_t)(rm | (d->b ? 8 : 0));
    if (rm == 4) {
        uint8_t sib = get8(d);
        unsigned index = ((sib >> 3) & 7) | (d->x ? 8 : 0) | (vsib && d->v2 && i->mode == X86_M64 ? 16 : 0);
        i->mem.scale = sib >> 6;
        i->mem.index = index == 4 && !vsib ? X86_NOREG : (uint8_t)index;
        i->mem.vsib = vsib;
        i->mem.base = (uint8_t)((sib & 7) | (d->b ? 8 : 0));
        if (i->mem.index == X86_NOREG)
            i->mem.scale = 0;
        if (mod == 0 && (sib & 7) == 5) {
            i->mem.base = X86_NOREG;
            disp = 4;
        }
    } else if (mod == 0 && rm == 5) {
        i->mem.base = X86_NOREG;
        i->mem.rip_rel = i->mode == X86_M64;
        disp = 4;
    }
    if (disp)
        i->mem.disp = sext(get_le(d, disp), disp);
}

/* The address of a modrm memory operand; before any immediate. false: #UD. */
static bool get_mem(struct dec *d)
{
    struct x86_insn *i = d->i;
    bool vsib = d->look & LOOK_VSIB;
    if (i->addrsize == 2) {
        if (vsib)
            return false;
        mem16(d);
    } else {
        if (vsib && (i->modrm & 7) != 4)
            return false;
        mem32(d, vsib);
    }
    bool stack = i->mem.base == X86_RBP || i->mem.base == X86_RSP;
    i->mem.seg = i->seg_override != X86_NOREG ? i->seg_override : stack ? X86_SS : X86_DS;
    return true;
}

static inline void reg_operand(struct dec *d, struct x86_operand *o, unsigned kind, unsigned reg, bool rm)
{
    o->kind = kind != LK_X ? (uint8_t)kind : o->size == 64 ? OK_ZMM : o->size == 32 ? OK_YMM : OK_XMM;
    o->reg = (uint8_t)reg;
    if (kind == OK_GPR && o->size == 1 && !d->i->rex && reg >= 4 && reg < 8) {
        o->kind = OK_GPRH;
        o->reg = (uint8_t)(reg - 4);
    } else if (kind == OK_MMX || kind == OK_ST || kind == OK_SEG || (kind == OK_MASK && rm)) {
        o->reg = reg & 7;
    }
}

static void imm_operand(struct dec *d, struct x86_operand *o, const struct x86_letter_info *l)
{
    struct x86_insn *i = d->i;
    unsigned bytes = l->arg;
    if (bytes == 4)
        bytes = l->field == LF_REL && i->mode == X86_M64 ? 4 : i->opsize == 2 ? 2 : 4;
    else if (bytes == 8)
        bytes = i->opsize;
    uint64_t v = get_le(d, bytes);
    i->imm8 = (uint8_t)(bytes == 1 ? v : i->imm8);
    o->kind = l->kind;
    o->imm = l->field == LF_IMM ? v : (uint64_t)sext(v, bytes);
    if (l->field == LF_IMMS && o->size < 8)
        o->imm &= ((uint64_t)1 << (8 * o->size)) - 1;
}

static void implied_mem(struct dec *d, struct x86_operand *o, const struct x86_letter_info *l)
{
    struct x86_insn *i = d->i;
    uint8_t seg = i->seg_override != X86_NOREG ? i->seg_override : X86_DS;
    o->kind = OK_MEM;
    if (l->field == LF_MOFFS)
        i->mem.disp = (int64_t)get_le(d, i->addrsize);
    else
        o->reg = l->arg;
    if (l->field == LF_XLAT)
        i->mem.base = X86_RBX;
    o->sel = l->field == LF_STRING && l->arg == X86_RDI ? X86_ES : seg;
    if (l->field != LF_STRING || l->arg == X86_RSI)
        i->mem.seg = seg;
}

static bool is_vector(unsigned kind) { return kind == LK_X || kind == OK_XMM || kind == OK_YMM; }

static void rare_operand(struct dec *d, struct x86_operand *o, const struct x86_letter_info *l)
{
    struct x86_insn *i = d->i;
    switch (l->field) {
    case LF_IMM: case LF_IMMS: case LF_REL: imm_operand(d, o, l); break;
    case LF_VVVV: reg_operand(d, o, l->kind, i->mode == X86_M64 ? i->vex_v : i->vex_v & 7, false); break;
    case LF_OPCODE: reg_operand(d, o, l->kind, (i->opcode & 7) | (d->b ? 8 : 0), false); break;
    case LF_FIXED:
        o->kind = l->kind;
        o->reg = l->arg;
        break;
    case LF_IS4:
        i->imm8 = get8(d);
        reg_operand(d, o, l->kind, i->mode == X86_M64 ? i->imm8 >> 4 : (i->imm8 >> 4) & 7, false);
        break;
    case LF_ONE:
        o->kind = OK_CONST1;
        o->imm = 1;
        break;
    case LF_FAR:
        o->kind = OK_FAR;
        o->imm = get_le(d, i->opsize);
        o->sel = (uint16_t)get_le(d, 2);
        break;
    default: implied_mem(d, o, l); break;
    }
}

static inline void get_operand(struct dec *d, struct x86_operand *o, unsigned letter)
{
    const struct x86_letter_info *l = &x86_letters[letter];
    struct x86_insn *i = d->i;
    switch (l->field) {
    case LF_RM:
        if (i->modrm < 0xc0 && !d->fixed_mod) {
            o->kind = OK_MEM;
            o->size = (uint16_t)(i->evex_b ? 1u << ((i->row->attr >> X86_F_LANE_SHIFT) & 3) : size_of(d, l->msize));
            o->sel = i->mem.seg;
            if (i->evex && i->modrm >> 6 == 1)       /* a displacement of one byte counts units */
                i->mem.disp *= x86_disp_unit(i->row, o->size);
        } else {
            o->size = (uint16_t)size_of(d, l->rsize);
            reg_operand(d, o, l->kind, (i->modrm & 7) | (d->b ? 8 : 0) | (i->evex && d->x && is_vector(l->kind) ? 16 : 0), true);
        }
        break;
    case LF_REG:
        o->size = (uint16_t)size_of(d, l->rsize);
        reg_operand(d, o, l->kind, ((i->modrm >> 3) & 7) | (d->r ? 8 : 0) | (d->r2 ? 16 : 0), false);
        break;
    default:
        o->size = (uint16_t)size_of(d, l->rsize);
        rare_operand(d, o, l);
    }
}

/* Which control, debug and segment registers exist. */
static bool regs_exist(const struct x86_insn *i)
{
    for (unsigned k = 0; k < i->n_opnd; k++) {
        const struct x86_operand *o = &i->o[k];
        if (o->kind == OK_CR && !(o->reg == 0 || (o->reg >= 2 && o->reg <= 4) || (o->reg == 8 && i->mode == X86_M64)))
            return false;
        if (o->kind == OK_DR && o->reg > 7)
            return false;
        if ((o->kind == OK_MASK && o->reg > 7) || (o->kind == OK_GPR && o->reg > 15))
            return false;
        if (o->kind == OK_SEG && (o->reg > X86_GS || (k == 0 && i->row->opnd[0] == L_Sw && o->reg == X86_CS)))
            return false;
    }
    return true;
}

/* What EVEX's masks, b and length may say of this row. */
static bool evex_legal(const struct x86_insn *i)
{
    uint32_t a = i->row->attr;
    bool mem = i->modrm < 0xc0;
    if (i->evex_b && !(a & (mem ? X86_F_BCAST : X86_F_ER | X86_F_SAE)))
        return false;
    if (i->evex_z && (!(a & X86_F_ZERO) || !i->evex_k || i->o[0].kind == OK_MEM))
        return false;
    if (i->mem.vsib)
        return i->evex_k && !(i->vex_v & 15) && (i->o[0].kind == OK_MEM || i->o[0].reg != i->mem.index);
    return !i->evex_k || (a & X86_F_MASK);
}

/* Asked where there is a LOCK, a VEX or EVEX, or a register that may not exist. */
static bool legal(const struct dec *d)
{
    const struct x86_insn *i = d->i;
    if (i->lock && !((i->row->attr & X86_F_LOCKABLE) && i->o[0].kind == OK_MEM))
        return false;
    if (i->evex && !evex_legal(i))
        return false;
    if (i->vex && i->vex_v && !(i->evex && i->mem.vsib) && !(d->look & LOOK_VVVV))
        return false;
    if (i->mem.vsib && !i->evex) {      /* destination, index and mask must differ */
        if (i->o[0].reg == i->mem.index || i->o[2].reg == i->mem.index || i->o[0].reg == i->o[2].reg)
            return false;
    }
    return !(d->look & LOOK_REGS) || regs_exist(i);
}

static enum x86_status short_of(const struct dec *d, unsigned n)
{
    d->i->len = (uint8_t)d->pos;
    return n >= 15 ? X86_TOOLONG : X86_TRUNC;
}

static enum x86_status bad(const struct dec *d)
{
    d->i->len = (uint8_t)d->pos;
    return X86_BAD;
}

static void clear(struct x86_insn *i, enum x86_mode mode)
{
    *i = (struct x86_insn){ .mode = (uint8_t)mode, .seg_override = X86_NOREG, .mem = { .base = X86_NOREG, .index = X86_NOREG, .seg = X86_DS } };
}

enum x86_status x86_decode(struct x86_insn *i, const uint8_t *p, unsigned n, enum x86_mode mode)
{
    struct dec d = { .i = i, .p = p, .n = n < 15 ? n : 15, .mandatory = PFX_NONE };
    clear(i, mode);
    bool ok = get_opcode(&d);
    if (d.over)
        return short_of(&d, n);
    if (!ok)
        return bad(&d);
    const struct x86_row *row = i->row = find_row(&d);
    if (d.over)
        return short_of(&d, n);
    if (!row)
        return bad(&d);
    i->mnem = row->mnem;
    set_sizes(&d);
    if (i->has_modrm && i->modrm < 0xc0 && !d.fixed_mod && !get_mem(&d))
        return bad(&d);
    for (unsigned k = 0, acc = row->acc; k < 4 && row->opnd[k]; k++, acc >>= 2) {
        i->n_opnd++;
        i->o[k].access = acc & 3;
        get_operand(&d, &i->o[k], row->opnd[k]);
    }
    if (d.over)
        return short_of(&d, n);
    i->len = (uint8_t)d.pos;
    if ((i->lock || i->vex || d.look & LOOK_REGS) && !legal(&d))
        return bad(&d);
    if (d.look & LOOK_SIZED) {
        const struct x86_sized *s = &x86_sized[i->mnem];
        unsigned z = s->by_address ? i->addrsize : i->opsize;
        i->mnem = z == 2 ? s->by2 : z == 4 ? s->by4 : s->by8;
    }
    return X86_OK;
}
