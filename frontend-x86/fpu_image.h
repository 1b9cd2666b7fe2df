/*
 * The guest's FPU state when it is in memory: cpu->fpu, an XSAVE image in standard format (x86/xstate.h). Helpers called with TCGH_FPU use it: the
 * translator has saved the host registers before and reloads them from the image afterwards.
 *
 * Before use the image is made whole: components absent from XSTATE_BV get their initial values. Those of AVX-512 are the guest's when its XCR0
 * has them, else they stay as they are. Instruction and data pointers are the guest's, 64 bits of offset each (tcg/env.h x87_kept); their
 * selectors are no longer saved by processors, and are zero.
 */
#ifndef FRONTEND_X86_FPU_IMAGE_H
#define FRONTEND_X86_FPU_IMAGE_H
#include "frontend-x86/helper_int.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"
#include "softmmu/mmu.h"
#include "x86/cpuid.h"
#include "x86/xstate.h"
#include <string.h>

enum { OFF_FCW = 0, OFF_FSW = 2, OFF_FTW = 4, OFF_OP = 6, OFF_IP = 8, OFF_DP = 16, OFF_MXCSR = 24, OFF_MXCSR_MASK = 28, OFF_ST = 32, OFF_XMM = 160, OFF_HDR = 512, OFF_AVX = 576 };

static inline uint64_t rd64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static inline uint32_t rd32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static inline uint16_t rd16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static inline void wr64(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }
static inline void wr32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static inline void wr16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }

static inline unsigned fpu_mem_mode(struct x86_cpu *cpu) { return x86_stack_mode(cpu, cpu->cpl); }
static inline void fpu_get(struct x86_cpu *cpu, uint64_t va, void *buf, size_t n) { mmu_ld_mem(x86_mmu(cpu), va, buf, n, fpu_mem_mode(cpu)); }
static inline void fpu_put(struct x86_cpu *cpu, uint64_t va, const void *buf, size_t n) { mmu_st_mem(x86_mmu(cpu), va, buf, n, fpu_mem_mode(cpu)); }

void fpu_init(uint8_t *f, uint64_t which);                     /* components get their initial values; MXCSR stays */
uint8_t *fpu_whole(struct x86_cpu *);                          /* the image with every component of the guest present */
void fpu_set_status(uint8_t *f, uint16_t fcw, uint16_t fsw);   /* ES and B follow the unmasked exceptions */
uint32_t fpu_mxcsr_mask(const uint8_t *f);
/* The x87 part as the guest stores and loads it: how says which form the pointers have. An AMD stores them for a pending exception only. */
void fpu_x87_save(const struct x86_cpu *, uint8_t *out, const uint8_t *f, uint64_t how);
void fpu_x87_load(uint8_t *f, const uint8_t *in, uint64_t how);
unsigned fpu_xmm_bytes(uint64_t how);                          /* of the registers that the mode sees */
uint8_t *fpu_vec(uint8_t *f, unsigned r, unsigned off);        /* byte OFF of vector register R */
void fpu_clear_from(struct x86_cpu *, unsigned r, unsigned off);        /* its bytes from OFF on, as far as the guest has them */
/* Linear address of one element at OFF of segment SEG, with the segment's checks; X86_SEGS: OFF is linear and checked already. */
uint64_t fpu_element(struct x86_cpu *, uint64_t off, uint64_t seg, unsigned size, bool write, uint64_t how);
#endif
