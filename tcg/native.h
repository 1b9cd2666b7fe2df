/*
 * A guest instruction that the host executes itself (x87, MMX, SSE, AVX, and odd integer instructions: BMI, CRC32, ADX). The frontend
 * records the encoding as fields; tcg carries them without looking; a backend of the same ISA re-encodes them with renamed GPR and memory
 * operands, and the interpreter runs them through backend->run_native. x87, MMX, vector and opmask register numbers stay as they are: the host's
 * FPU registers are the guest's (host FPU ownership: tcg/env.h fpu_live).
 */
#ifndef TCG_NATIVE_H
#define TCG_NATIVE_H
#include "core/types.h"

enum native_kind { NATIVE_FPU, NATIVE_GPR };       /* GPR: touches no FPU state at all, needs no ownership */
enum native_enc { NENC_LEGACY, NENC_VEX, NENC_EVEX };
enum native_role { NR_FIXED,                       /* the field is what it is: FPU register, opcode extension, or absent */
                   NR_GPR };                       /* the field names a GPR: taken from the insn's refs below */
/* Fixed registers besides the encoded ones, of hosts that are x86: the insn's a and b go to RAX and RDX, its d gets RCX (PCMPxSTRx). */
enum native_implied { NIMP_AX_DX = 1, NIMP_CX_OUT = 2 };
enum native_mem { NM_NONE = 0, NM_READ = 1, NM_WRITE = 2, NM_RW = 3 };

struct ir_native {
    uint8_t kind, enc;
    uint8_t prefix;            /* 0, 0x66, 0xf2, 0xf3 (VEX: pp) */
    bool prefix66;             /* legacy: an extra 66 beside f2/f3 (crc32 of 16 bits) */
    bool rexw;                 /* REX.W / VEX.W */
    uint8_t vex_l;             /* VEX.L, EVEX.L'L */
    uint8_t evex_k; bool evex_z, evex_b;
    uint8_t map;               /* 0 one-byte, 1 0F, 2 0F38, 3 0F3A */
    uint8_t opcode;
    bool has_modrm;
    /* Numbers 0..31 for NR_FIXED. For NR_GPR: reg is written if the insn's d is a global/temp for it and read if its a is; rm: e and b; vvvv: (d/e unused) c.
       So d/a belong to reg, e/b to rm, c to vvvv; a VEX op that writes its vvvv GPR (blsr..) puts it in d with vvvv_out set. */
    uint8_t reg_role, reg;
    uint8_t rm_role, rm;       /* register forms */
    uint8_t vvvv_role, vvvv;   /* VEX; 0 when unused */
    bool vvvv_out;
    bool byte_gpr;             /* GPR operands are 8 bits wide in the encoding (needs REX for sil.. and never AH..) */
    bool has_imm; uint8_t imm;
    uint8_t mem;               /* enum native_mem; NM_NONE: register form (mod = 3) */
    uint8_t mem_size;          /* bytes 1..64 */
    uint8_t disp_unit;         /* EVEX: what a displacement of one byte counts */
    uint8_t align;             /* bytes the host itself demands (16 for legacy SSE), else 1 */
    bool reads_flags, writes_flags;   /* EFLAGS; IRF_FLAGS is set on the insn when it writes */
    uint8_t implied;           /* enum native_implied */
    bool out_ax;               /* FNSTSW AX: d receives AX (16 bits) */
    uint32_t lanes;            /* native_lanes(); 0: the operand in memory is accessed as a whole */
};

/*
 * A masked operand in memory consists of N elements of 1 << LOG bytes, and those alone that the mask selects are accessed: the others neither
 * fault nor are written. TOTAL bits of the mask count; when they are more than N, the operand is repeated for them. PACKED: the active
 * elements lie side by side at its beginning.
 */
static inline uint32_t native_lanes(unsigned log, unsigned n, unsigned total, bool packed) { return log | (unsigned)packed << 7 | n << 8 | total << 16; }
static inline unsigned native_lane_bytes(uint32_t lanes) { return 1u << (lanes & 3); }

static inline uint64_t native_ones(unsigned n) { return n >= 64 ? ~0ull : (1ull << n) - 1; }

/* The elements that the value MASK of the opmask register selects. */
static inline uint64_t native_active(uint32_t lanes, uint64_t mask)
{
    unsigned n = (lanes >> 8) & 0xff, total = lanes >> 16, count = 0;
    uint64_t active = 0;
    mask &= native_ones(total);
    if (lanes & 0x80) {
        for (; mask; mask &= mask - 1)
            count++;
        return native_ones(count);
    }
    for (unsigned at = 0; at < total; at += n)
        active |= (mask >> at) & native_ones(n);
    return active;
}
#endif
