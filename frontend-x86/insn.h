/*
 * A decoded guest instruction: what decode.c makes of bytes and the table insns.def, and all that gen_*.c, the disassembler and the tests
 * know of it. Decoding has no side effects. SDM vol. 2 ch. 2 and appendix A (operand letters).
 */
#ifndef FRONTEND_X86_INSN_H
#define FRONTEND_X86_INSN_H
#include "core/types.h"

enum x86_mnem {             /* one a mnemonic: X86I_add, ... (mnems.h is generated from nothing: insns.def lists it) */
    X86I_INVALID,
#define MNEM(name) X86I_##name,
#include "frontend-x86/mnems.def"
#undef MNEM
    X86I_COUNT
};

enum x86_okind {
    OK_NONE,
    OK_GPR,                 /* reg 0..15, size 1 2 4 8; byte registers: low byte */
    OK_GPRH,                /* AH CH DH BH: reg 0..3, size 1 */
    OK_MEM,                 /* insn->mem; size in bytes (may be 10, 16, 28, 32, 108, 512...; 0 when unsized: lea, invlpg) */
    OK_IMM,                 /* imm, already sign- or zero-extended as the instruction wants, truncated to size */
    OK_REL,                 /* imm: displacement from the next instruction */
    OK_FAR,                 /* imm: offset, sel: selector */
    OK_SEG, OK_CR, OK_DR,   /* reg */
    OK_XMM, OK_YMM, OK_ZMM, OK_MMX, OK_ST,   /* reg; vector registers 0..31 */
    OK_MASK,                /* reg 0..7: an opmask register */
    OK_CONST1,              /* the implied 1 of D0/D1 shifts: imm = 1 */
};

struct x86_operand { uint8_t kind, reg; uint8_t access; uint16_t size; uint16_t sel; uint64_t imm; };   /* access: bit 0 read, bit 1 written */

#define X86_NOREG 0xff

enum x86_fl { X86_F_LOCKABLE = 1, X86_F_O64 = 2 /* default 64-bit operand in long mode */, X86_F_F64 = 4 /* forced 64 */, X86_F_I64 = 8 /* invalid in 64-bit mode */,
              X86_F_ONLY64 = 16, X86_F_PRIV = 32 /* CPL 0 only */, X86_F_ENDS = 64 /* ends a block */, X86_F_VEX = 128, X86_F_NOMEM = 256 /* #UD with memory */, X86_F_NOREG = 512 /* #UD with register */,
              X86_F_REPOK = 1024, X86_F_VEXL0 = 2048, X86_F_VEXL1 = 4096, X86_F_ALIGN = 8192 /* legacy SSE memory operand must be aligned */, X86_F_PROT = 16384 /* #UD in real and v86 mode */,
              X86_F_GPRONLY = 32768 /* no FPU state touched although in an SSE-like map */, X86_F_BMI = 65536,
              /* EVEX: what the prefix may say of the row */
              X86_F_EVEX = 1 << 17, X86_F_LANE_SHIFT = 18 /* two bits: log2 of the bytes of an element in memory */, X86_F_BCAST = 1 << 20 /* b: that element for all */,
              X86_F_MASK = 1 << 21, X86_F_ZERO = 1 << 22 /* z */, X86_F_ER = 1 << 23, X86_F_SAE = 1 << 24 /* b on registers: rounding, exceptions suppressed */,
              X86_F_NOSUPPR = 1 << 25 /* a masked-out element may fault */, X86_F_L2 = 1 << 26 /* 512 bits only */, X86_F_NOL0 = 1 << 27 /* not 128 bits */,
              X86_F_LIG = 1 << 28 /* a scalar: L'L is ignored */, X86_F_PACKED = 1 << 29 /* memory has the active elements only, side by side */,
              X86_F_REPEAT = 1 << 30 /* memory has fewer elements than the vector, repeated */ };

struct x86_insn;
struct x86_gen;             /* the generator's context: gen.h */
struct x86_row {
    uint8_t map;            /* 0 one byte, 1 0F, 2 0F38, 3 0F3A */
    uint8_t opcode;
    uint8_t prefix;         /* mandatory: 0 none wanted (NP), 0x66, 0xf2, 0xf3; 1: any (not part of the opcode) */
    int8_t ext;             /* /0../7 in modrm.reg, or -1 */
    int8_t rm;              /* exact modrm.rm for register forms such as 0F 01 C8, or -1 */
    int8_t w;               /* REX.W / VEX.W: 0, 1, or -1 any */
    uint16_t mnem;
    const char *name;       /* AT&T-free Intel mnemonic, "add" */
    void (*gen)(struct x86_gen *, const struct x86_insn *);
    uint8_t opnd[4];        /* enum of SDM letters, private to decode.c / disas.c / tests */
    uint32_t attr;          /* enum x86_fl */
    uint8_t feat;           /* enum x86_feat (x86/cpuid.h): must be offered by the CPU model, else #UD */
    uint16_t fl_w, fl_u, fl_r;   /* RFLAGS arithmetic bits written / left undefined / read */
    uint8_t acc;            /* two bits an operand, first lowest: 1 read, 2 written */
};
extern const struct x86_row x86_rows[];
extern const unsigned x86_n_rows;

enum x86_mode { X86_M16, X86_M32, X86_M64 };        /* default operand size of the code segment; M64 long */

struct x86_insn {
    const struct x86_row *row;
    uint16_t mnem;
    uint8_t len;                     /* 1..15 */
    uint8_t mode;                    /* enum x86_mode */
    uint8_t opsize, addrsize;        /* effective: 2 4 8 */
    bool lock, rep, repne, p66, p67; /* prefixes seen (rep: F3, repne: F2), also when mandatory */
    uint8_t rex;                     /* 0x40..0x4f, or 0 */
    bool vex, vex_w; uint8_t vex_l, vex_v;   /* VEX or EVEX; L or L'L: 0 128, 1 256, 2 512 bits; vvvv as a register number */
    bool evex, evex_z, evex_b; uint8_t evex_k;  /* zeroing; broadcast, rounding or SAE; opmask register, 0: none */
    uint8_t map, opcode, modrm; bool has_modrm;
    uint8_t seg_override;            /* X86_ES.. or X86_NOREG */
    uint8_t n_opnd;
    struct x86_operand o[4];         /* in Intel order: destination first */
    struct { uint8_t base, index, scale; /* X86_NOREG; scale 0..3 */ uint8_t seg; /* effective segment, X86_DS.. */
             bool rip_rel;           /* disp is relative to the next instruction */
             bool vsib;              /* index is a vector register */
             int64_t disp; } mem;    /* sign-extended; moffs: up to 64 bits with no base */
    uint8_t imm8;                    /* last immediate byte (native instructions) */
};

enum x86_status { X86_OK, X86_TRUNC /* more bytes needed: n was too small */, X86_BAD /* #UD */, X86_TOOLONG /* > 15 bytes: #GP(0) */ };

/* Decode at most n bytes at p. On OK insn is filled. On BAD insn->len holds the bytes looked at. Features are not checked here. */
struct x86_cpu;
enum x86_status x86_decode_at(struct x86_cpu *, uint64_t pc, struct x86_insn *);      /* what is at CS:PC now; touches nothing (frontend.c) */
enum x86_status x86_decode(struct x86_insn *, const uint8_t *p, unsigned n, enum x86_mode);
/* Intel syntax as capstone prints it where that is sane: "add rax, qword ptr [rbx + rcx*8 + 0x10]". pc: address of the instruction. */
int x86_disas(const struct x86_insn *, uint64_t pc, char *out, size_t len);
#endif
