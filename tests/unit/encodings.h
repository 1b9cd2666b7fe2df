/*
 * Encodings of every row of insns.def, for the tests that compare the decoder with others: register and memory forms with several modrm
 * bytes, 66, 67, REX.W, VEX.W and VEX.L, EVEX with lengths, masks, broadcast and rounding, LOCK and REP. 67 together with REX.W is not made: capstone then takes a row without
 * mandatory prefix for the one with 66.
 */
#ifndef TESTS_UNIT_ENCODINGS_H
#define TESTS_UNIT_ENCODINGS_H
#include "frontend-x86/rows.h"
#include "x86/cpu.h"

#define VARIANTS 128

/* EVEX from P1 on: the shortest and the longest length of the row; masks, zeroing, broadcast or rounding in some variants. */
static unsigned encode_evex(const struct x86_row *r, unsigned variant, bool mem, bool h, uint8_t *b)
{
    uint32_t a = r->attr;
    unsigned pp = r->prefix == P66 ? 1 : r->prefix == PF3 ? 2 : r->prefix == PF2 ? 3 : 0, l = a & X86_F_VEXL0 ? 0 : a & X86_F_L2 || (variant & 8) ? 2 : a & X86_F_NOL0 ? 1 : 0;
    bool w = r->w == 1 || (r->w < 0 && (variant & 16)), vsib = false;
    for (unsigned k = 0; k < 4; k++)
        vsib |= x86_letters[r->opnd[k]].kind == LK_VSIB;
    unsigned mask = vsib || ((variant & 32) && (a & X86_F_MASK)) ? 3 : 0;
    bool extra = (variant & 0x24) == 4 && a & (mem ? X86_F_BCAST : X86_F_ER | X86_F_SAE), z = mask && !mem && (a & X86_F_ZERO) && (variant & 8);
    if (extra && !mem && l < 2)
        l = a & X86_F_ER ? 3 : 0;
    b[0] = 0x62;
    b[1] = (uint8_t)(0xf0 | r->map);
    b[2] = (uint8_t)((w ? 0x80 : 0) | (h ? 0x68 : 0x78) | 4 | pp);
    b[3] = (uint8_t)((z ? 0x80 : 0) | l << 5 | (extra ? 0x10 : 0) | 8 | mask);
    return 4;
}

/* One encoding of row r: variant chooses modrm, registers and prefixes. Bytes or 0. */
static unsigned encode(const struct x86_row *r, unsigned mode, unsigned variant, uint8_t *b)
{
    static const uint8_t modrm[8] = { 0xc0, 0xd1, 0xca, 0x00, 0x43, 0x81, 0x05, 0x04 };
    uint8_t mr = modrm[variant & 7], reg = r->ext >= 0 ? (uint8_t)r->ext : (variant >> 1) & 7;
    bool vex = r->attr & (X86_F_VEX | X86_F_EVEX), h = false, rexw = !vex && mode == X86_M64 && r->w != 0 && (r->w == 1 || (variant & 16));
    unsigned n = 0;
    if (((r->attr & X86_F_NOMEM) && mr < 0xc0) || ((r->attr & X86_F_NOREG) && mr >= 0xc0))
        return 0;
    for (unsigned k = 0; k < 4; k++)
        h |= x86_letters[r->opnd[k]].field == LF_VVVV;
    mr = (uint8_t)((mr & 0xc7) | reg << 3);
    if (r->rm >= 0)
        mr = (uint8_t)((mr & 0xf8) | r->rm);
    if ((variant & 64) && !rexw)
        b[n++] = 0x67;
    if ((variant & 32) && (r->attr & X86_F_LOCKABLE) && mr < 0xc0)
        b[n++] = 0xf0;
    if ((variant & 32) && (r->attr & X86_F_REPOK))
        b[n++] = r->fl_w == RF_ARITH && (variant & 2) ? 0xf2 : 0xf3;
    if (r->attr & X86_F_EVEX) {
        n += encode_evex(r, variant, mr < 0xc0, h, b + n);
    } else if (vex) {
        bool w = r->w == 1 || (r->w < 0 && (variant & 16)), l = (r->attr & X86_F_VEXL1) || (!(r->attr & X86_F_VEXL0) && (variant & 8));
        uint8_t pp = r->prefix == P66 ? 1 : r->prefix == PF3 ? 2 : r->prefix == PF2 ? 3 : 0;
        b[n++] = 0xc4;
        b[n++] = (uint8_t)(0xe0 | r->map);
        b[n++] = (uint8_t)((w ? 0x80 : 0) | (h ? 0x68 : 0x78) | (l ? 4 : 0) | pp);
    } else {
        if (r->prefix == P66 || r->prefix == PF2 || r->prefix == PF3)
            b[n++] = r->prefix;
        else if ((r->prefix == NP66 || r->prefix == ANY) && (variant & 8))
            b[n++] = 0x66;
        if (rexw)
            b[n++] = 0x48;
        if (r->map)
            b[n++] = 0x0f;
        if (r->map > 1)
            b[n++] = r->map == 2 ? 0x38 : 0x3a;
    }
    b[n++] = r->opcode;
    b[n] = mr;
    for (unsigned k = n + 1; k < 24; k++)
        b[k] = (uint8_t)(0x11 + k);
    return n;
}
#endif
