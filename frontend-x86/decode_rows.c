/*
 * The tables made of insns.def and letters.def, the lists by which the decoder finds a row, and the check that no two rows overlap (same encoding, some common mode, prefix, W, L,
 * register/memory form). x86_rows_check is for start-up and tests; it is quadratic only within one opcode.
 */
#include "frontend-x86/rows.h"
#include "x86/cpuid.h"
#include <stdio.h>

const struct x86_letter_info x86_letters[L_COUNT] = {
#define LETTER(name, field, kind, rsize, msize, arg) [L_##name] = { field, kind, rsize, msize, arg },
#include "frontend-x86/letters.def"
#undef LETTER
};

#define A_LOCKABLE X86_F_LOCKABLE
#define A_O64 X86_F_O64
#define A_F64 X86_F_F64
#define A_I64 X86_F_I64
#define A_ONLY64 X86_F_ONLY64
#define A_PRIV X86_F_PRIV
#define A_ENDS X86_F_ENDS
#define A_VEX X86_F_VEX
#define A_NOMEM X86_F_NOMEM
#define A_NOREG X86_F_NOREG
#define A_REPOK X86_F_REPOK
#define A_VEXL0 X86_F_VEXL0
#define A_VEXL1 X86_F_VEXL1
#define A_ALIGN X86_F_ALIGN
#define A_PROT X86_F_PROT
#define A_GPRONLY X86_F_GPRONLY
#define A_BMI X86_F_BMI
#define A_EVEX X86_F_EVEX
#define A_E2 (1u << X86_F_LANE_SHIFT)
#define A_E4 (2u << X86_F_LANE_SHIFT)
#define A_E8 (3u << X86_F_LANE_SHIFT)
#define A_BC X86_F_BCAST
#define A_K X86_F_MASK
#define A_Z X86_F_ZERO
#define A_ER X86_F_ER
#define A_SAE X86_F_SAE
#define A_NF X86_F_NOSUPPR
#define A_L2 X86_F_L2
#define A_NOL0 X86_F_NOL0
#define A_LIG X86_F_LIG
#define A_PACKED X86_F_PACKED
#define A_REP X86_F_REPEAT
/* full vectors with broadcast; without; scalars; comparisons, whose destination is a mask: full vectors with broadcast, without, scalars */
#define A_F4 (A_EVEX | A_E4 | A_BC | A_K | A_Z)
#define A_F8 (A_EVEX | A_E8 | A_BC | A_K | A_Z)
#define A_M1 (A_EVEX | A_K | A_Z)
#define A_M2 (A_EVEX | A_E2 | A_K | A_Z)
#define A_M4 (A_EVEX | A_E4 | A_K | A_Z)
#define A_M8 (A_EVEX | A_E8 | A_K | A_Z)
#define A_S4 (A_M4 | A_LIG)
#define A_S8 (A_M8 | A_LIG)
#define A_C4 (A_EVEX | A_E4 | A_BC | A_K)
#define A_C8 (A_EVEX | A_E8 | A_BC | A_K)
#define A_C1M (A_EVEX | A_K)
#define A_C2M (A_EVEX | A_E2 | A_K)
#define A_CS4 (A_EVEX | A_E4 | A_K | A_LIG)
#define A_CS8 (A_EVEX | A_E8 | A_K | A_LIG)
#define FL_ALL RF_ARITH

const struct x86_row x86_rows[] = {
#define I(map, op, pfx, ext, rm, w, mn, gen, a, b, c, d, acc, attr, feat, fw, fu, fr) \
    { map, op, pfx, ext, rm, w, X86I_##mn, #mn, gen, { L_##a, L_##b, L_##c, L_##d }, attr, FEAT_##feat, fw, fu, fr, acc },
#include "frontend-x86/insns.def"
#undef I
};
const unsigned x86_n_rows = sizeof(x86_rows) / sizeof(x86_rows[0]);

/* Mnemonics that depend on the operand size, or on the address size. */
const struct x86_sized x86_sized[X86I_COUNT] = {
    [X86I_cwde] = { X86I_cbw, X86I_cwde, X86I_cdqe, false },
    [X86I_cdq] = { X86I_cwd, X86I_cdq, X86I_cqo, false },
    [X86I_insd] = { X86I_insw, X86I_insd, X86I_insd, false },
    [X86I_outsd] = { X86I_outsw, X86I_outsd, X86I_outsd, false },
    [X86I_movsd] = { X86I_movsw, X86I_movsd, X86I_movsq, false },
    [X86I_cmpsd] = { X86I_cmpsw, X86I_cmpsd, X86I_cmpsq, false },
    [X86I_stosd] = { X86I_stosw, X86I_stosd, X86I_stosq, false },
    [X86I_lodsd] = { X86I_lodsw, X86I_lodsd, X86I_lodsq, false },
    [X86I_scasd] = { X86I_scasw, X86I_scasd, X86I_scasq, false },
    [X86I_iret] = { X86I_iret, X86I_iretd, X86I_iretq, false },
    [X86I_pushf] = { X86I_pushf, X86I_pushfd, X86I_pushfq, false },
    [X86I_popf] = { X86I_popf, X86I_popfd, X86I_popfq, false },
    [X86I_pusha] = { X86I_pushaw, X86I_pushal, X86I_pushal, false },
    [X86I_popa] = { X86I_popaw, X86I_popal, X86I_popal, false },
    [X86I_jecxz] = { X86I_jcxz, X86I_jecxz, X86I_jrcxz, true },
    [X86I_retf] = { X86I_retf, X86I_retf, X86I_retfq, false },
    [X86I_sysret] = { X86I_sysret, X86I_sysret, X86I_sysretq, false },
    [X86I_sysexit] = { X86I_sysexit, X86I_sysexit, X86I_sysexitq, false },
};

static struct x86_want want_pool[16384];
const struct x86_want *const x86_wants = want_pool;
struct x86_list x86_lists[PREFIX_KINDS][4][256][8];

static uint8_t pfx_set(uint8_t p)
{
    return p == ANY ? PFX_NONE | PFX_66 | PFX_F2 | PFX_F3 : p == NP66 ? PFX_NONE | PFX_66 : p == P66 ? PFX_66 : p == PF2 ? PFX_F2 : p == PF3 ? PFX_F3 : PFX_NONE;
}

static bool row_has_field(const struct x86_row *r, unsigned field)
{
    for (unsigned k = 0; k < 4; k++)
        if (r->opnd[k] && x86_letters[r->opnd[k]].field == field)
            return true;
    return false;
}

static unsigned prefix_kind(const struct x86_row *r) { return r->attr & X86_F_EVEX ? EVEX : r->attr & X86_F_VEX ? VEX : LEGACY; }

static uint8_t look_of(const struct x86_row *r)
{
    unsigned look = (row_has_field(r, LF_VVVV) ? LOOK_VVVV : 0) | (r->attr & X86_F_EVEX ? LOOK_REGS : 0) | (x86_sized[r->mnem].by2 && r->gen != gen_native && r->map <= 1 ? LOOK_SIZED : 0);
    for (unsigned k = 0; k < 4; k++) {
        const struct x86_letter_info *l = &x86_letters[r->opnd[k]];
        if (!r->opnd[k])
            continue;
        look |= l->rsize == LS_Y ? LOOK_W_GPR : 0;
        look |= l->kind == LK_VSIB ? LOOK_VSIB : 0;
        look |= l->kind == OK_CR || l->kind == OK_DR || l->kind == OK_SEG || l->kind == OK_MASK ? LOOK_REGS : 0;
    }
    return (uint8_t)look;
}

static struct x86_want want_of(unsigned n)
{
    const struct x86_row *r = &x86_rows[n];
    uint32_t a = r->attr;
    uint16_t f = 511;
    f &= a & X86_F_I64 ? ~1 : 511;
    f &= a & X86_F_ONLY64 ? ~2 : 511;
    f &= a & X86_F_NOMEM ? ~8 : 511;
    f &= a & X86_F_NOREG ? ~4 : 511;
    f &= a & X86_F_VEXL0 ? ~(32 | 256) : 511;
    f &= a & X86_F_VEXL1 ? ~(16 | 256) : 511;
    f &= a & X86_F_L2 ? ~(16 | 32) : 511;
    f &= a & X86_F_NOL0 ? ~16 : 511;
    f &= r->w == 0 ? ~128 : r->w == 1 ? ~64 : 511;
    return (struct x86_want){ (uint16_t)n, f, pfx_set(r->prefix), r->rm, look_of(r) };
}

__attribute__((constructor)) static void rows_init(void)
{
    static uint16_t next[PREFIX_KINDS][4][256][8];
    unsigned total = 0;
    for (unsigned n = 0; n < x86_n_rows; n++) {
        const struct x86_row *r = &x86_rows[n];
        struct x86_list *l = x86_lists[prefix_kind(r)][r->map][r->opcode];
        for (unsigned e = 0; e < 8; e++) {
            l[e].n += r->ext < 0 || r->ext == (int)e;
            l[e].has_modrm |= r->map >= 2 || (prefix_kind(r) != LEGACY && r->opcode != 0x77) || r->ext >= 0 || row_has_field(r, LF_RM) || row_has_field(r, LF_REG);
        }
    }
    struct x86_list *l = &x86_lists[0][0][0][0];
    for (unsigned k = 0; k < PREFIX_KINDS * 4 * 256 * 8; k++) {
        l[k].first = (uint16_t)total;
        (&next[0][0][0][0])[k] = (uint16_t)total;
        total += l[k].n;
    }
    for (unsigned n = 0; n < x86_n_rows && total <= ARRAY_SIZE(want_pool); n++) {
        const struct x86_row *r = &x86_rows[n];
        for (unsigned e = 0; e < 8; e++)
            if (r->ext < 0 || r->ext == (int)e)
                want_pool[next[prefix_kind(r)][r->map][r->opcode][e]++] = want_of(n);
    }
}

static bool pfx_overlap(unsigned a, unsigned b)
{
    if (a == ANY || b == ANY || a == b)
        return true;
    return (a == NP66 && (b == NP || b == P66)) || (b == NP66 && (a == NP || a == P66));
}

static bool rows_overlap(const struct x86_row *a, const struct x86_row *b)
{
    uint32_t both = a->attr | b->attr;
    if (a->map != b->map || a->opcode != b->opcode || ((a->attr ^ b->attr) & (X86_F_VEX | X86_F_EVEX)) || !pfx_overlap(a->prefix, b->prefix))
        return false;
    if ((a->ext >= 0 && b->ext >= 0 && a->ext != b->ext) || (a->rm >= 0 && b->rm >= 0 && a->rm != b->rm))
        return false;
    if (a->w >= 0 && b->w >= 0 && a->w != b->w)
        return false;
    if ((both & (X86_F_VEXL0 | X86_F_VEXL1)) == (X86_F_VEXL0 | X86_F_VEXL1) || ((both & X86_F_VEXL0) && (both & (X86_F_L2 | X86_F_NOL0))))
        return false;
    return (both & (X86_F_NOMEM | X86_F_NOREG)) != (X86_F_NOMEM | X86_F_NOREG) &&
           (both & (X86_F_I64 | X86_F_ONLY64)) != (X86_F_I64 | X86_F_ONLY64);
}

const char *x86_rows_check(void)
{
    static char msg[160];
    for (unsigned i = 0; i < x86_n_rows; i++)
        for (unsigned j = i + 1; j < x86_n_rows; j++)
            if (rows_overlap(&x86_rows[i], &x86_rows[j])) {
                snprintf(msg, sizeof(msg), "rows %u %s and %u %s overlap: map %u opcode %02x", i, x86_rows[i].name, j, x86_rows[j].name, x86_rows[i].map,
                         x86_rows[i].opcode);
                return msg;
            }
    return NULL;
}
