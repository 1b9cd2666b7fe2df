/*
 * The XSAVE family and XGETBV over the saved FPU image (fpu_image.h). x87 and SSE with MXCSR have their own rules; the components from 2 on
 * are alike. The guest's standard format is the image's. There is no supervisor state. Outside 64-bit mode the upper registers of each
 * component are neither read nor written. Guest memory is read wholly before the image changes. SDM vol. 1 ch. 13.
 */
#include "frontend-x86/fpu_image.h"
#include "frontend-x86/helper_fpu.h"
#include "frontend-x86/mmu_x86.h"

#define EXTENDED (X86_XS_AVX | X86_XS_AVX512 | X86_XS_PKRU)
#define COMPACTED (1ull << 63)

static uint64_t rfbm(const struct x86_cpu *cpu)
{
    return ((cpu->regs[X86_RDX] << 32) | (uint32_t)cpu->regs[X86_RAX]) & cpu->xcr0;
}

/* Where component N >= 2 is kept: in the image F, but for PKRU. */
static uint8_t *place(struct x86_cpu *cpu, uint8_t *f, unsigned n) { return X86_XS_PKRU >> n & 1 ? (uint8_t *)&cpu->pkru : f + x86_xcomp[n].offset; }

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (p[k])
            return false;
    return true;
}

/*
 * Components not in their initial configuration: XINUSE. MXCSR counts as a part of SSE for the compacted format and XGETBV, but not for the
 * standard format, which keeps it apart.
 */
static uint64_t in_use(struct x86_cpu *cpu, uint8_t *f, bool mxcsr)
{
    uint64_t v = rd16(f) == 0x37f && all_zero(f + 2, 22) && all_zero(f + OFF_ST, 128) ? 0 : X86_XS_X87;
    v |= all_zero(f + OFF_XMM, 256) && !(mxcsr && rd32(f + OFF_MXCSR) != 0x1f80) ? 0 : X86_XS_SSE;
    for (unsigned n = 2; n < X86_XCOMPS; n++)
        if ((cpu->xcr0 >> n & 1) && !all_zero(place(cpu, f, n), x86_xcomp[n].size))
            v |= 1ull << n;
    return v;
}

uint64_t helper_xgetbv(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint32_t n = (uint32_t)cpu->regs[X86_RCX];
    if (n > 1 || (n == 1 && !x86_has(cpu->cpuid, FEAT_xgetbv1)))
        x86_raise_err(cpu, X86_GP, 0);
    uint64_t v = n ? cpu->xcr0 & in_use(cpu, fpu_whole(cpu), true) : cpu->xcr0;
    cpu->regs[X86_RAX] = (uint32_t)v;
    cpu->regs[X86_RDX] = v >> 32;
    return 0;
}

/* Bytes of component N >= 2 that the mode sees. */
static unsigned seen(unsigned n, uint64_t how)
{
    unsigned size = x86_xcomp[n].size;
    return how & FPU_H_CODE64 || ((X86_XS_OPMASK | X86_XS_PKRU) >> n & 1) ? size : X86_XS_HI16_ZMM >> n & 1 ? 0 : size / 2;
}

/* The components WRITE of the guest's state to its XSAVE area, whose XCOMP_BV is COMP. */
static void put_components(struct x86_cpu *cpu, uint64_t va, uint8_t *f, uint64_t write, bool mxcsr, uint64_t comp, uint64_t how)
{
    uint8_t x87[160];
    fpu_x87_save(cpu, x87, f, how);
    wr32(x87 + OFF_MXCSR, rd32(f + OFF_MXCSR));
    wr32(x87 + OFF_MXCSR_MASK, fpu_mxcsr_mask(f));
    if (write & X86_XS_X87) {
        fpu_put(cpu, va, x87, OFF_MXCSR);
        fpu_put(cpu, va + OFF_ST, x87 + OFF_ST, 128);
    }
    if (mxcsr)
        fpu_put(cpu, va + OFF_MXCSR, x87 + OFF_MXCSR, 8);
    if (write & X86_XS_SSE)
        fpu_put(cpu, va + OFF_XMM, f + OFF_XMM, fpu_xmm_bytes(how));
    for (unsigned n = 2; n < X86_XCOMPS; n++)
        if ((write >> n & 1) && seen(n, how))
            fpu_put(cpu, va + x86_xcomp_offset(n, comp), place(cpu, f, n), seen(n, how));
}

/* XSAVE, XSAVEOPT, XSAVEC, XSAVES. What is in use counts as modified, so XSAVES writes what XSAVEC does: there is no supervisor state. */
uint64_t helper_xsave(struct x86_cpu *cpu, uint64_t va, uint64_t how, uint64_t unused)
{
    if (va & 63)
        x86_raise_err(cpu, X86_GP, 0);
    bool compact = how & FPU_H_COMPACT;
    uint8_t *f = fpu_whole(cpu), head[16];
    uint64_t m = rfbm(cpu), used = in_use(cpu, f, compact), comp = compact ? m | COMPACTED : 0;
    uint64_t write = compact || (how & FPU_H_INIT_OPT) ? m & used : m;
    for (unsigned n = 2; n < X86_XCOMPS; n++)
        if (write >> n & 1)
            mmu_check(x86_mmu(cpu), va + x86_xcomp_offset(n, comp), x86_xcomp[n].size, MMU_WRITE, fpu_mem_mode(cpu));
    mmu_check(x86_mmu(cpu), va, OFF_AVX, MMU_WRITE, fpu_mem_mode(cpu));
    if (!compact)
        fpu_get(cpu, va + OFF_HDR, head, 8);
    put_components(cpu, va, f, write, compact ? write & X86_XS_SSE : m & (X86_XS_SSE | X86_XS_AVX), comp, how);
    wr64(head, compact ? m & used : (rd64(head) & ~m) | (m & used));
    wr64(head + 8, comp);
    fpu_put(cpu, va + OFF_HDR, head, compact ? 16 : 8);
    return 0;
}

/* The compacted format came with XSAVEC; XRSTORS takes no other. */
static bool header_ok(const struct x86_cpu *cpu, const uint8_t *h, bool compact_only)
{
    uint64_t bv = rd64(h), comp = rd64(h + 8);
    if ((comp >> 63) && x86_has(cpu->cpuid, FEAT_xsavec))
        return !(comp & ~COMPACTED & ~cpu->xcr0) && !(bv & ~comp) && !(bv >> 63) && all_zero(h + 16, 48);
    return !compact_only && !(bv & ~cpu->xcr0) && all_zero(h + 8, 16);
}

static void restore_x87(uint8_t *f, const uint8_t *img, bool present, uint64_t how)
{
    if (present) {
        fpu_x87_load(f, img, how);
        fpu_set_status(f, rd16(img), rd16(img + OFF_FSW));
        return;
    }
    uint32_t old[2] = { rd32(f + OFF_MXCSR), rd32(f + OFF_MXCSR_MASK) };
    fpu_init(f, X86_XS_X87);
    wr32(f + OFF_MXCSR, old[0]);
    wr32(f + OFF_MXCSR_MASK, old[1]);
}

/* XRSTOR, XRSTORS. The components are gathered in the places of the standard format. */
uint64_t helper_xrstor(struct x86_cpu *cpu, uint64_t va, uint64_t how, uint64_t unused)
{
    uint8_t img[X86_XSAVE_SIZE + 8], *f = fpu_whole(cpu);
    uint64_t m = rfbm(cpu), n_xmm = fpu_xmm_bytes(how);
    if (va & 63)
        x86_raise_err(cpu, X86_GP, 0);
    fpu_get(cpu, va, img, OFF_AVX);
    if (!header_ok(cpu, img + OFF_HDR, how & FPU_H_COMPACT))
        x86_raise_err(cpu, X86_GP, 0);
    uint64_t bv = rd64(img + OFF_HDR), comp = rd64(img + OFF_HDR + 8);
    bool compact = comp >> 63, mxcsr = compact ? m & bv & X86_XS_SSE : m & (X86_XS_SSE | X86_XS_AVX);
    for (unsigned n = 2; n < X86_XCOMPS; n++)
        if (m & bv & EXTENDED & (1u << n))
            fpu_get(cpu, va + x86_xcomp_offset(n, comp), img + x86_xcomp[n].offset, x86_xcomp[n].size);
    if (mxcsr && (rd32(img + OFF_MXCSR) & ~fpu_mxcsr_mask(f)))
        x86_raise_err(cpu, X86_GP, 0);
    if (m & X86_XS_X87)
        restore_x87(f, img, bv & X86_XS_X87, how);
    if (mxcsr)
        wr32(f + OFF_MXCSR, rd32(img + OFF_MXCSR));
    else if (compact && (m & X86_XS_SSE))
        wr32(f + OFF_MXCSR, 0x1f80);
    if (m & X86_XS_SSE)
        bv & X86_XS_SSE ? memcpy(f + OFF_XMM, img + OFF_XMM, n_xmm) : memset(f + OFF_XMM, 0, n_xmm);
    for (unsigned n = 2; n < X86_XCOMPS; n++) {
        uint8_t *to = place(cpu, f, n);
        if (m >> n & 1)
            bv >> n & 1 ? memcpy(to, img + x86_xcomp[n].offset, seen(n, how)) : memset(to, 0, seen(n, how));
    }
    if (m & X86_XS_PKRU) {
        cpu->pkru = (uint32_t)cpu->pkru;
        x86_pkru_changed(cpu);
    }
    return 0;
}
