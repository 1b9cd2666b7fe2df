/* Helpers over the saved FPU image cpu->fpu (helper_fpu.c) and the packed words that the generators give them. */
#ifndef FRONTEND_X86_HELPER_FPU_H
#define FRONTEND_X86_HELPER_FPU_H
#include "x86/cpu.h"

/* WIDE: REX.W, the pointers have 64 bits; COMPACT: the compacted format alone (XRSTORS takes no other); INIT_OPT: components in their initial state need not be written */
enum { FPU_H_CODE64 = 1, FPU_H_COMPACT = 2, FPU_H_INIT_OPT = 4, FPU_H_WIDE = 8 };
/* gather512: data register 0..4, index register 8..12, opmask register 16..18, scale 20..21; sizes as for gather */
enum { FPU_S_STORE = 1 << 22, FPU_S_W = 1 << 23, FPU_S_QINDEX = 1 << 26, FPU_S_LENGTH_SHIFT = 27 };
/* gather: destination 0..3, index register 4..7, mask 8..11, scale 12..13 */
enum { FPU_G_L = 1 << 16, FPU_G_W = 1 << 17, FPU_G_QINDEX = 1 << 18 };
/* maskmov: data register 0..3, mask register 4..7 */
enum { FPU_M_STORE = 1 << 16, FPU_M_L = 1 << 17, FPU_M_QUADS = 1 << 18, FPU_M_BYTES = 1 << 19, FPU_M_MMX = 1 << 20 };
/* both: elements' addresses wrap */
enum { FPU_ADDR32 = 1 << 24, FPU_ADDR16 = 1 << 25 };

uint64_t helper_x87_init(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_ferr(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_fldenv(struct x86_cpu *, uint64_t va, uint64_t opsize, uint64_t);
uint64_t helper_fnstenv(struct x86_cpu *, uint64_t va, uint64_t opsize, uint64_t);
uint64_t helper_fnsave(struct x86_cpu *, uint64_t va, uint64_t opsize, uint64_t);
uint64_t helper_frstor(struct x86_cpu *, uint64_t va, uint64_t opsize, uint64_t);
uint64_t helper_fxsave(struct x86_cpu *, uint64_t va, uint64_t how, uint64_t);
uint64_t helper_fxrstor(struct x86_cpu *, uint64_t va, uint64_t how, uint64_t);
uint64_t helper_xsave(struct x86_cpu *, uint64_t va, uint64_t how, uint64_t);
uint64_t helper_xrstor(struct x86_cpu *, uint64_t va, uint64_t how, uint64_t);
uint64_t helper_xgetbv(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_gather(struct x86_cpu *, uint64_t ea, uint64_t how, uint64_t seg);
uint64_t helper_gather512(struct x86_cpu *, uint64_t ea, uint64_t how, uint64_t seg);
uint64_t helper_seg_lanes(struct x86_cpu *, uint64_t off, uint64_t lanes, uint64_t how);
uint64_t x86_opmask(void *cpu, unsigned n);        /* tcg_frontend.opmask */
uint64_t helper_maskmov(struct x86_cpu *, uint64_t ea, uint64_t how, uint64_t seg);
#endif
