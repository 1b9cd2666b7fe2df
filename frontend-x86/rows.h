/*
 * What decode.c, disas.c, the native generators and the decoder's tests share about the rows of insns.def: the operand letters and where each
 * takes its operand from. It also declares every generator that a row names. Letters: legend of insns.def; SDM vol. 2 appendix A.2.
 * Everything here is constant after x86_rows_init, which x86_decode needs to have been called once (it runs before main).
 */
#ifndef FRONTEND_X86_ROWS_H
#define FRONTEND_X86_ROWS_H
#include "frontend-x86/insn.h"

enum x86_letter {
    L__,
#define LETTER(name, field, kind, rsize, msize, arg) L_##name,
#include "frontend-x86/letters.def"
#undef LETTER
    L_COUNT
};

enum x86_field { LF_NONE, LF_RM, LF_REG, LF_VVVV, LF_IS4, LF_OPCODE, LF_IMM, LF_IMMS, LF_REL, LF_FAR, LF_MOFFS, LF_FIXED, LF_STRING, LF_XLAT, LF_ONE };
/* Sizes that depend on the instruction; smaller numbers are bytes. */
enum { LS_V = 600, LS_Z, LS_Y, LS_R, LS_X, LS_XH, LS_XQ, LS_XE, LS_P, LS_S, LS_A, LS_ENV, LS_SAVE };
/* Register kinds that depend on VEX.L or on the form. */
enum { LK_X = 64 /* XMM, YMM or ZMM, by size */, LK_NOREG, LK_VSIB };

struct x86_letter_info { uint8_t field, kind; uint16_t rsize, msize; uint8_t arg; };
extern const struct x86_letter_info x86_letters[L_COUNT];

enum { NP = 0, ANY = 1, NP66 = 2, P66 = 0x66, PF2 = 0xf2, PF3 = 0xf3 };      /* x86_row.prefix */

/* What a row wants of an instruction, in a form that is quick to compare. Prefixes that are part of the opcode are a bit each. */
enum { PFX_NONE = 1, PFX_66 = 2, PFX_F2 = 4, PFX_F3 = 8 };
enum x86_look {             /* what the decoder has to look at besides */
    LOOK_W_GPR = 1,         /* W chooses a GPR size, and is ignored outside 64-bit mode */
    LOOK_VSIB = 2, LOOK_VVVV = 4 /* has such operands */, LOOK_REGS = 8 /* has registers that may not exist */,
    LOOK_SIZED = 16,        /* the mnemonic depends on a size */
};
struct x86_sized { uint16_t by2, by4, by8; bool by_address; };
extern const struct x86_sized x86_sized[];
struct x86_want {
    uint16_t row;
    uint16_t form;          /* bit set: 1 mode 64, 2 other modes, 4 register, 8 memory, 16 L0, 32 L1, 64 W0, 128 W1, 256 L2 */
    uint8_t pfx;            /* bit set of PFX_ */
    int8_t rm;
    uint8_t look;           /* bit set of enum x86_look */
};
struct x86_list { uint16_t first; uint8_t n; bool has_modrm; };
enum { LEGACY, VEX, EVEX, PREFIX_KINDS };
extern struct x86_list x86_lists[PREFIX_KINDS][4][256][8];           /* the last: modrm.reg; 0 when there is no modrm */
extern const struct x86_want *const x86_wants;

#define I(map, op, pfx, ext, rm, w, mn, gen, a, b, c, d, acc, attr, feat, fw, fu, fr) void gen(struct x86_gen *, const struct x86_insn *);
#include "frontend-x86/insns.def"
#undef I

/* EVEX: the bytes that a displacement of one byte counts, when the operand in memory has SIZE bytes: those, or an element's. */
static inline unsigned x86_disp_unit(const struct x86_row *r, unsigned size)
{
    return r->attr & X86_F_PACKED ? 1u << ((r->attr >> X86_F_LANE_SHIFT) & 3) : size;
}

/* NULL when no two rows overlap and every letter is known, else what is wrong (static buffer). */
const char *x86_rows_check(void);
#endif
