/*
 * The guest mode that a block is translated for: the bits of tb_key.mode, and how they follow from the CPU state.
 *
 * x86_get_key is inline so that general-regs-only code can use it; it reads the state and writes only *key.
 * Everything that changes what an instruction means, or which checks it makes, must either be a bit here or be checked at run time.
 * Whoever changes one of the inputs from within translated code ends the block with ir_setpc + ir_lookup.
 */
#ifndef FRONTEND_X86_MODE_H
#define FRONTEND_X86_MODE_H
#include "tcg/frontend.h"
#include "x86/cpu.h"

#define XM_CODE64 0x1u          /* 64-bit code */
#define XM_CODE32 0x2u          /* CS.D (not in 64-bit code) */
#define XM_SS32 0x4u            /* SS.B: 32-bit stack pointer (not in 64-bit code, where it is 64 bits) */
#define XM_CPL_SHIFT 3
#define XM_CPL_MASK 0x18u
#define XM_FLAT 0x20u           /* DS, ES, SS: base 0, limit 4 GiB, present, read-write; CS base 0 and limit 4 GiB; always in 64-bit code */
#define XM_VM86 0x40u
#define XM_PE 0x80u
#define XM_TF 0x100u            /* single step: one-instruction blocks, then helper single_step */
#define XM_SHADOW 0x200u        /* interrupt shadow of STI / MOV SS: a one-instruction block that ends the shadow */
#define XM_IOPL_SHIFT 10
#define XM_IOPL_MASK 0xc00u
#define XM_TS 0x1000u
#define XM_EM 0x2000u
#define XM_MP 0x4000u
#define XM_OSFXSR 0x8000u
#define XM_AVX 0x10000u         /* CR4.OSXSAVE and XCR0 has SSE and AVX */
#define XM_NE 0x20000u
#define XM_OSXSAVE 0x40000u
#define XM_LMA 0x80000u         /* long mode is active (with CODE64 clear: compatibility mode) */
#define XM_AC 0x100000u         /* alignment checks: CR0.AM, RFLAGS.AC, CPL 3 */
#define XM_DR 0x200000u         /* some breakpoint of DR7 is enabled */
#define XM_OSXMM 0x400000u      /* CR4.OSXMMEXCPT */
#define XM_LIM64K 0x800000u     /* not 64-bit code: CS limit FFFFh */
#define XM_LIM4G 0x1000000u     /* not 64-bit code: CS limit FFFFFFFFh; with neither, run-time checks */

#define XM_FS4G 0x2000000u      /* not 64-bit code: FS, GS are writable data with a limit of 4 GiB (any base): no checks, as for thread-local data */
#define XM_GS4G 0x4000000u

#define XM_GUEST 0x8000000u       /* a guest of the secure virtual machine: instructions ask about intercepts */

#define XM_AVX512 0x10000000u     /* XM_AVX, and XCR0 has the opmask registers and all of ZMM */

#define XM_COUNT 0x20000000u      /* instructions are counted at this level (x86/pmu.c) */

#define XM_LA57 0x40000000u       /* 64-bit code under 5-level paging: canonical addresses have 57 bits */

#define XM_CPL(mode) (((mode) & XM_CPL_MASK) >> XM_CPL_SHIFT)
#define XM_IOPL(mode) (((mode) & XM_IOPL_MASK) >> XM_IOPL_SHIFT)

/* Present, S, data, writable, expand-up, no limit. */
static inline bool x86_seg_is_open(const struct x86_seg *s)
{
    return s->limit == 0xffffffffu && (s->attr & (SEG_P | SEG_S | SEG_CODE | SEG_EC | SEG_RW)) == (SEG_P | SEG_S | SEG_RW);
}

static inline bool x86_seg_is_flat_data(const struct x86_seg *s)
{
    return s->base == 0 && x86_seg_is_open(s);
}

static inline bool x86_is_flat(const struct x86_cpu *c)
{
    return c->seg[X86_CS].base == 0 && c->seg[X86_CS].limit == 0xffffffffu && x86_seg_is_flat_data(&c->seg[X86_DS]) &&
           x86_seg_is_flat_data(&c->seg[X86_ES]) && x86_seg_is_flat_data(&c->seg[X86_SS]);
}

static inline uint32_t x86_mode_cr0(const struct x86_cpu *c)
{
    uint64_t v = c->cr0;
    return (uint32_t)((v & CR0_PE) * XM_PE | ((v & CR0_TS) / CR0_TS) * XM_TS | ((v & CR0_EM) / CR0_EM) * XM_EM | ((v & CR0_MP) / CR0_MP) * XM_MP |
                      ((v & CR0_NE) / CR0_NE) * XM_NE);
}

static inline uint32_t x86_mode_cr4(const struct x86_cpu *c)
{
    uint32_t m = 0;
    if (c->cr4 & CR4_OSFXSR)
        m |= XM_OSFXSR;
    if (c->cr4 & CR4_OSXMMEXCPT)
        m |= XM_OSXMM;
    if (c->cr4 & CR4_OSXSAVE)
        m |= XM_OSXSAVE | ((c->xcr0 & 6) == 6 ? XM_AVX : 0) | ((c->xcr0 & 0xe6) == 0xe6 ? XM_AVX512 : 0);
    return m;
}

static inline void x86_get_key(void *opaque, struct tb_key *key)
{
    const struct x86_cpu *c = opaque;
    uint32_t m = x86_mode_cr0(c) | x86_mode_cr4(c) | (uint32_t)c->cpl << XM_CPL_SHIFT;
    m |= (uint32_t)((c->rflags & RF_IOPL) >> 12) << XM_IOPL_SHIFT;
    m |= (c->rflags & RF_TF ? XM_TF : 0) | (c->intr_shadow ? XM_SHADOW : 0) | (c->rflags & RF_VM ? XM_VM86 : 0);
    m |= (c->efer & EFER_LMA ? XM_LMA : 0) | (c->dr[7] & 0xff ? XM_DR : 0) | (c->svm.guest ? XM_GUEST : 0);
    m |= c->pmu.count >> (c->cpl == 3) & 1 ? XM_COUNT : 0;
    if ((c->cr0 & CR0_AM) && (c->rflags & RF_AC) && c->cpl == 3)
        m |= XM_AC;
    if (x86_code64(c)) {
        key->mode = m | XM_CODE64 | XM_FLAT | (c->cr4 & CR4_LA57 ? XM_LA57 : 0);
        key->cs_base = 0;
        key->pc = c->rip;
        return;
    }
    m |= (c->seg[X86_CS].attr & SEG_DB ? XM_CODE32 : 0) | (c->seg[X86_SS].attr & SEG_DB ? XM_SS32 : 0) | (x86_is_flat(c) ? XM_FLAT : 0);
    uint32_t limit = c->seg[X86_CS].limit;
    m |= (x86_seg_is_open(&c->seg[X86_FS]) ? XM_FS4G : 0) | (x86_seg_is_open(&c->seg[X86_GS]) ? XM_GS4G : 0);
    key->mode = m | (limit == 0xffff ? XM_LIM64K : limit == 0xffffffffu ? XM_LIM4G : 0);
    key->cs_base = (uint32_t)c->seg[X86_CS].base;
    key->pc = (uint32_t)(c->seg[X86_CS].base + (uint32_t)c->rip);
}
#endif
