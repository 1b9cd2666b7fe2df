/*
 * The tables made of insns.def and letters.def, and the check that no two rows overlap (same encoding, some common mode, prefix, W, L,
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
