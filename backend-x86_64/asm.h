/*
 * A small x86-64 assembler: bytes into a struct code_buf. Each function emits one instruction; names say what it emits. Nothing here knows
 * about guests or IR. Encodings: SDM vol. 2 ch. 2. Sizes are operand bytes (1, 2, 4, 8).
 */
#ifndef BACKEND_X64_ASM_H
#define BACKEND_X64_ASM_H
#include "tcg/backend.h"

/* NOREG's bits are what an address without an index has in its SIB byte (100) and in REX (0). */
enum x64_reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NOREG = 0xf4 };

struct x64_mem { uint8_t base, index, scale; int32_t disp; };        /* NOREG: absent */
static inline struct x64_mem x64_at(uint8_t base, int32_t disp) { return (struct x64_mem){base, NOREG, 0, disp}; }

enum { X64_ADD, X64_OR, X64_ADC, X64_SBB, X64_AND, X64_SUB, X64_XOR, X64_CMP };    /* /digit of the ALU group */
enum { X64_ROL, X64_ROR, X64_RCL, X64_RCR, X64_SHL, X64_SHR, X64_SAR = 7 };         /* /digit of the shift group */

/* Nothing here asks whether there is room: who emits sees to it, a few instructions at a time (x64_room). Up to 8 bytes behind p are overwritten. */
static inline void x64_b(struct code_buf *c, unsigned v) { *c->p++ = (uint8_t)v; }
static inline void x64_d(struct code_buf *c, uint32_t v)
{
    __builtin_memcpy(c->p, &v, 4);
    c->p += 4;
}
static inline void x64_q(struct code_buf *c, uint64_t v)
{
    __builtin_memcpy(c->p, &v, 8);
    c->p += 8;
}
/* For what one IR insn, or one piece of code out of line, becomes. */
#define X64_ROOM 16384
static inline bool x64_room(const struct code_buf *c) { return c->end - c->p >= X64_ROOM; }
static inline void x64_touch(struct code_buf *c, unsigned regs)
{
    c->touched |= (uint16_t)regs;
    c->same &= (uint16_t)~regs;
}

/* [66] [F2/F3] REX map opcode modrm. prefix 0/0x66/0xf2/0xf3; map 0..3; size 1 demands low-byte registers (REX for spl..dil). */
struct x64_enc { uint8_t prefix, prefix66, w, map, op, byte_reg, byte_rm; };
void x64_rr(struct code_buf *c, struct x64_enc e, unsigned reg, unsigned rm);
void x64_rm(struct code_buf *c, struct x64_enc e, unsigned reg, struct x64_mem m);
void x64_vex_rr(struct code_buf *c, struct x64_enc e, bool l, unsigned vvvv, unsigned reg, unsigned rm);
void x64_vex_rm(struct code_buf *c, struct x64_enc e, bool l, unsigned vvvv, unsigned reg, struct x64_mem m);
/* EVEX; registers 0..31. unit: bytes that a displacement of one byte counts. */
struct x64_evex { uint8_t ll, vvvv, k, unit; bool z, b; };
void x64_evex_rr(struct code_buf *c, struct x64_enc e, struct x64_evex v, unsigned reg, unsigned rm);
void x64_evex_rm(struct code_buf *c, struct x64_enc e, struct x64_evex v, unsigned reg, struct x64_mem m);

/* An opcode whose byte form is op and whose wider form is op + 1. */
static inline struct x64_enc x64_sized(unsigned op, unsigned size, unsigned map)
{
    return (struct x64_enc){.prefix66 = size == 2, .w = size == 8, .map = map, .op = op + (size > 1), .byte_reg = size == 1, .byte_rm = size == 1};
}
/* An opcode with 16/32/64-bit forms only. */
static inline struct x64_enc x64_wide(unsigned op, unsigned size, unsigned map)
{
    return (struct x64_enc){.prefix66 = size == 2, .w = size == 8, .map = map, .op = op};
}

void x64_mov_rr(struct code_buf *c, unsigned size, unsigned d, unsigned s);
void x64_mov_rm(struct code_buf *c, unsigned size, unsigned d, struct x64_mem m);      /* load; size 1, 2 merge */
void x64_mov_mr(struct code_buf *c, unsigned size, struct x64_mem m, unsigned s);      /* store */
void x64_mov_mi(struct code_buf *c, unsigned size, struct x64_mem m, int32_t imm);     /* size 8: sign-extended */
void x64_mov_ri(struct code_buf *c, unsigned d, uint64_t imm);                         /* shortest; flags untouched */
void x64_mov_ri_place(struct code_buf *c, unsigned d, uint64_t imm, enum code_place);  /* 64 bits, and noted as a place */
void x64_mov_ri_size(struct code_buf *c, unsigned size, unsigned d, uint64_t imm);     /* size 1, 2 merge */
void x64_lea(struct code_buf *c, unsigned size, unsigned d, struct x64_mem m);
void x64_alu_rr(struct code_buf *c, unsigned alu, unsigned size, unsigned d, unsigned s);
void x64_alu_rm(struct code_buf *c, unsigned alu, unsigned size, unsigned d, struct x64_mem m);
void x64_alu_mr(struct code_buf *c, unsigned alu, unsigned size, struct x64_mem m, unsigned s);
void x64_alu_ri(struct code_buf *c, unsigned alu, unsigned size, unsigned d, int32_t imm);
void x64_alu_mi(struct code_buf *c, unsigned alu, unsigned size, struct x64_mem m, int32_t imm);
void x64_test_rr(struct code_buf *c, unsigned size, unsigned a, unsigned b);
void x64_test_ri(struct code_buf *c, unsigned size, unsigned a, int32_t imm);
void x64_test_mi(struct code_buf *c, unsigned size, struct x64_mem m, int32_t imm);
void x64_test_mr(struct code_buf *c, unsigned size, struct x64_mem m, unsigned r);
void x64_shift_ri(struct code_buf *c, unsigned sh, unsigned size, unsigned d, unsigned count);
void x64_shift_rcl(struct code_buf *c, unsigned sh, unsigned size, unsigned d);        /* by CL */
void x64_group_r(struct code_buf *c, unsigned op, unsigned digit, unsigned size, unsigned r);          /* F6/F7 FE/FF groups */
void x64_group_m(struct code_buf *c, unsigned op, unsigned digit, unsigned size, struct x64_mem m);
void x64_movx_rr(struct code_buf *c, bool sign, unsigned size, unsigned from, unsigned d, unsigned s);
void x64_movx_rm(struct code_buf *c, bool sign, unsigned size, unsigned from, unsigned d, struct x64_mem m);
void x64_setcc(struct code_buf *c, unsigned cc, unsigned d);
void x64_push(struct code_buf *c, unsigned r);
void x64_pop(struct code_buf *c, unsigned r);
void x64_jmp_m(struct code_buf *c, struct x64_mem m);
void x64_jmp_r(struct code_buf *c, unsigned r);
void x64_call_r(struct code_buf *c, unsigned r);

void x64_place(struct code_buf *c, enum code_place);                   /* the next bytes are one */
void x64_rewind(struct code_buf *c, uint8_t *to);                      /* what was emitted from there on is given up */

void x64_nops(struct code_buf *c, unsigned bytes);                     /* as few instructions as do nothing for so many bytes */
static inline void x64_align(struct code_buf *c, unsigned to) { x64_nops(c, -(unsigned)(uintptr_t)c->p & (to - 1)); }

/* Jumps with a 32-bit displacement: return where it is, to be set by x64_patch_here / x64_set_rel32 to somewhere in the same block. */
uint8_t *x64_jmp(struct code_buf *c);
uint8_t *x64_jcc(struct code_buf *c, unsigned cc);
void x64_jmp_to(struct code_buf *c, const uint8_t *target_rw);
void x64_jcc_to(struct code_buf *c, unsigned cc, const uint8_t *target_rw);
void x64_call_to(struct code_buf *c, const uint8_t *target_rw);
static inline void x64_set_rel32(uint8_t *at, const uint8_t *target)
{
    int32_t v = (int32_t)(target - (at + 4));
    __atomic_store_n((int32_t *)at, v, __ATOMIC_RELEASE);
}
static inline void x64_patch_here(struct code_buf *c, uint8_t *at) { x64_set_rel32(at, c->p); }
static inline bool x64_fits32(uint64_t v) { return (int64_t)v == (int32_t)v; }
#endif
