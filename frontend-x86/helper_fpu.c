/*
 * Helpers over the guest's FPU state when it is in memory: cpu->fpu, an XSAVE image in standard format for x87, SSE and AVX. Called with
 * TCGH_FPU: the translator has saved the host registers before and reloads them from the image afterwards.
 *
 * Before use the image is made whole (components absent from XSTATE_BV get their initial values). Instruction and data pointers read as
 * zero: the host's would be addresses of translated code. Guest memory is read wholly before the image changes. Each helper may raise.
 * SDM vol. 1 ch. 8.1.8, 8.1.10, 10.5, 13; vol. 2 VGATHER, VMASKMOV.
 */
#include "frontend-x86/helper_fpu.h"
#include "frontend-x86/helper_int.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"
#include "softmmu/mmu.h"
#include "x86/cpuid.h"
#include <string.h>

enum { OFF_FCW = 0, OFF_FSW = 2, OFF_FTW = 4, OFF_MXCSR = 24, OFF_MXCSR_MASK = 28, OFF_ST = 32, OFF_XMM = 160, OFF_HDR = 512, OFF_AVX = 576 };
enum { X_X87 = 1, X_SSE = 2, X_AVX = 4, X_ALL = 7 };

static uint64_t rd64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static uint32_t rd32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return v; }
static uint16_t rd16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return v; }
static void wr64(uint8_t *p, uint64_t v) { memcpy(p, &v, 8); }
static void wr32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); }
static void wr16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }

static void init_component(uint8_t *f, unsigned which)
{
    if (which & X_X87) {
        memset(f, 0, 24);
        wr16(f + OFF_FCW, 0x37f);
        memset(f + OFF_ST, 0, 128);
    }
    if (which & X_SSE)
        memset(f + OFF_XMM, 0, 256);
    if (which & X_AVX)
        memset(f + OFF_AVX, 0, 256);
}

/* The image with every component present. */
static uint8_t *whole(struct x86_cpu *cpu)
{
    uint8_t *f = cpu->fpu;
    uint64_t bv = rd64(f + OFF_HDR);
    init_component(f, ~bv & X_ALL);
    memset(f + OFF_HDR, 0, 64);
    wr64(f + OFF_HDR, X_ALL);
    return f;
}

static unsigned mem_mode(struct x86_cpu *cpu) { return x86_stack_mode(cpu, cpu->cpl); }
static void get(struct x86_cpu *cpu, uint64_t va, void *buf, size_t n) { mmu_ld_mem(x86_mmu(cpu), va, buf, n, mem_mode(cpu)); }
static void put(struct x86_cpu *cpu, uint64_t va, const void *buf, size_t n) { mmu_st_mem(x86_mmu(cpu), va, buf, n, mem_mode(cpu)); }

/* ---- x87 environment ---- */

/* Two tag bits of one register from its 80 bits: 0 valid, 1 zero, 2 special. */
static unsigned tag_of(const uint8_t *st)
{
    uint64_t man = rd64(st);
    unsigned exp = rd16(st + 8) & 0x7fff;
    if (exp == 0 && man == 0)
        return 1;
    return exp == 0 || exp == 0x7fff || !(man >> 63) ? 2 : 0;
}

static uint16_t full_tags(const uint8_t *f)
{
    unsigned top = (rd16(f + OFF_FSW) >> 11) & 7, tags = 0;
    for (unsigned r = 0; r < 8; r++) {
        unsigned t = f[OFF_FTW] >> r & 1 ? tag_of(f + OFF_ST + 16 * ((r - top) & 7)) : 3;
        tags |= t << (2 * r);
    }
    return (uint16_t)tags;
}

static void set_tags(uint8_t *f, uint16_t tags)
{
    unsigned v = 0;
    for (unsigned r = 0; r < 8; r++)
        v |= (((tags >> (2 * r)) & 3) != 3 ? 1u : 0u) << r;
    f[OFF_FTW] = (uint8_t)v;
}

/* ES and B follow the unmasked exceptions. */
static void set_status(uint8_t *f, uint16_t fcw, uint16_t fsw)
{
    fsw &= 0x7f7f;
    if (fsw & ~fcw & 0x3f)
        fsw |= 0x8080;
    wr16(f + OFF_FCW, (uint16_t)((fcw & 0x1f3f) | 0x40));
    wr16(f + OFF_FSW, fsw);
}

static unsigned store_env(const uint8_t *f, uint8_t *e, unsigned opsize)
{
    memset(e, 0, 28);
    unsigned step = opsize == 2 ? 2 : 4;
    const uint16_t w[3] = { rd16(f + OFF_FCW), rd16(f + OFF_FSW), full_tags(f) };
    for (unsigned k = 0; k < 3; k++) {
        wr16(e + k * step, w[k]);
        if (step == 4)
            wr16(e + k * step + 2, 0xffff);
    }
    if (step == 4)
        wr16(e + 26, 0xffff);
    return 7 * step;
}

/* The image holds the registers by their distance from TOP: when TOP changes and they do not, they move. */
static void turn(uint8_t *f, unsigned top)
{
    unsigned by = top - ((rd16(f + OFF_FSW) >> 11) & 7);
    uint8_t st[128];
    memcpy(st, f + OFF_ST, 128);
    for (unsigned k = 0; k < 8; k++)
        memcpy(f + OFF_ST + 16 * k, st + 16 * ((k + by) & 7), 16);
}

static void load_env(uint8_t *f, const uint8_t *e, unsigned opsize)
{
    unsigned step = opsize == 2 ? 2 : 4;
    turn(f, (rd16(e + step) >> 11) & 7);
    set_status(f, rd16(e), rd16(e + step));
    set_tags(f, rd16(e + 2 * step));
    memset(f + 6, 0, 18);
}

uint64_t helper_fldenv(struct x86_cpu *cpu, uint64_t va, uint64_t opsize, uint64_t unused)
{
    uint8_t e[28];
    get(cpu, va, e, opsize == 2 ? 14 : 28);
    load_env(whole(cpu), e, (unsigned)opsize);
    return 0;
}

uint64_t helper_fnstenv(struct x86_cpu *cpu, uint64_t va, uint64_t opsize, uint64_t unused)
{
    uint8_t e[28], *f = whole(cpu);
    put(cpu, va, e, store_env(f, e, (unsigned)opsize));
    set_status(f, rd16(f + OFF_FCW) | 0x3f, rd16(f + OFF_FSW));
    return 0;
}

uint64_t helper_fnsave(struct x86_cpu *cpu, uint64_t va, uint64_t opsize, uint64_t unused)
{
    uint8_t e[108], *f = whole(cpu);
    unsigned n = store_env(f, e, (unsigned)opsize);
    for (unsigned k = 0; k < 8; k++)
        memcpy(e + n + 10 * k, f + OFF_ST + 16 * k, 10);
    put(cpu, va, e, n + 80);
    turn(f, 0);
    uint8_t st[128];
    memcpy(st, f + OFF_ST, 128);
    init_component(f, X_X87);
    memcpy(f + OFF_ST, st, 128);            /* FNINIT empties the registers, it does not change them; TOP becomes 0 with ST(0) in physical 0 */
    return 0;
}

uint64_t helper_frstor(struct x86_cpu *cpu, uint64_t va, uint64_t opsize, uint64_t unused)
{
    uint8_t e[108];
    unsigned n = opsize == 2 ? 14 : 28;
    get(cpu, va, e, n + 80);
    uint8_t *f = whole(cpu);
    load_env(f, e, (unsigned)opsize);
    for (unsigned k = 0; k < 8; k++) {
        memset(f + OFF_ST + 16 * k, 0, 16);
        memcpy(f + OFF_ST + 16 * k, e + n + 10 * k, 10);
    }
    return 0;
}

/* ---- FXSAVE, XSAVE ---- */

static uint32_t mxcsr_mask(const uint8_t *f)
{
    uint32_t m = rd32(f + OFF_MXCSR_MASK);
    return m ? m : 0xffbf;
}

static unsigned n_xmm_bytes(uint64_t how) { return how & FPU_H_CODE64 ? 256 : 128; }

/* The x87 part of an image as the guest sees it: no pointers. */
static void x87_image(uint8_t *out, const uint8_t *f)
{
    memcpy(out, f, 6);
    memset(out + 6, 0, 18);
    memcpy(out + OFF_ST, f + OFF_ST, 128);
}

uint64_t helper_fxsave(struct x86_cpu *cpu, uint64_t va, uint64_t how, uint64_t unused)
{
    if (va & 15)
        x86_raise_err(cpu, X86_GP, 0);
    uint8_t img[416], *f = whole(cpu);
    unsigned n = OFF_XMM + n_xmm_bytes(how);
    memset(img, 0, sizeof(img));
    x87_image(img, f);
    wr32(img + OFF_MXCSR, rd32(f + OFF_MXCSR));
    wr32(img + OFF_MXCSR_MASK, mxcsr_mask(f));
    memcpy(img + OFF_XMM, f + OFF_XMM, n - OFF_XMM);
    put(cpu, va, img, n);
    return 0;
}

uint64_t helper_fxrstor(struct x86_cpu *cpu, uint64_t va, uint64_t how, uint64_t unused)
{
    if (va & 15)
        x86_raise_err(cpu, X86_GP, 0);
    uint8_t img[512], *f = whole(cpu);
    get(cpu, va, img, 512);
    if (rd32(img + OFF_MXCSR) & ~mxcsr_mask(f))
        x86_raise_err(cpu, X86_GP, 0);
    x87_image(f, img);
    set_status(f, rd16(img), rd16(img + OFF_FSW));
    wr32(f + OFF_MXCSR, rd32(img + OFF_MXCSR));
    memcpy(f + OFF_XMM, img + OFF_XMM, n_xmm_bytes(how));
    return 0;
}

static uint64_t rfbm(const struct x86_cpu *cpu)
{
    return ((cpu->regs[X86_RDX] << 32) | (uint32_t)cpu->regs[X86_RAX]) & cpu->xcr0;
}

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
static uint64_t in_use(const uint8_t *f, bool mxcsr)
{
    uint64_t v = rd16(f) == 0x37f && all_zero(f + 2, 4) && all_zero(f + OFF_ST, 128) ? 0 : X_X87;
    v |= all_zero(f + OFF_XMM, 256) && !(mxcsr && rd32(f + OFF_MXCSR) != 0x1f80) ? 0 : X_SSE;
    return v | (all_zero(f + OFF_AVX, 256) ? 0 : X_AVX);
}

uint64_t helper_xgetbv(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    uint32_t n = (uint32_t)cpu->regs[X86_RCX];
    if (n > 1 || (n == 1 && !x86_has(cpu->cpuid, FEAT_xgetbv1)))
        x86_raise_err(cpu, X86_GP, 0);
    uint64_t v = n ? cpu->xcr0 & in_use(whole(cpu), true) : cpu->xcr0;
    cpu->regs[X86_RAX] = (uint32_t)v;
    cpu->regs[X86_RDX] = v >> 32;
    return 0;
}

/* The components WRITE of the guest's state to its XSAVE area, in the form that 32-bit modes see where the guest is in one. */
static void put_components(struct x86_cpu *cpu, uint64_t va, const uint8_t *f, uint64_t write, bool mxcsr, uint64_t n)
{
    uint8_t x87[160];
    x87_image(x87, f);
    wr32(x87 + OFF_MXCSR, rd32(f + OFF_MXCSR));
    wr32(x87 + OFF_MXCSR_MASK, mxcsr_mask(f));
    if (write & X_X87) {
        put(cpu, va, x87, OFF_MXCSR);
        put(cpu, va + OFF_ST, x87 + OFF_ST, 128);
    }
    if (mxcsr)
        put(cpu, va + OFF_MXCSR, x87 + OFF_MXCSR, 8);
    if (write & X_SSE)
        put(cpu, va + OFF_XMM, f + OFF_XMM, n);
    if (write & X_AVX)
        put(cpu, va + OFF_AVX, f + OFF_AVX, n);
}

/* XSAVE, XSAVEOPT, XSAVEC, XSAVES. What is in use counts as modified, so XSAVES writes what XSAVEC does: there is no supervisor state. */
uint64_t helper_xsave(struct x86_cpu *cpu, uint64_t va, uint64_t how, uint64_t unused)
{
    if (va & 63)
        x86_raise_err(cpu, X86_GP, 0);
    bool compact = how & FPU_H_COMPACT;
    uint8_t *f = whole(cpu), head[16];
    uint64_t m = rfbm(cpu), used = in_use(f, compact);
    uint64_t write = compact || (how & FPU_H_INIT_OPT) ? m & used : m;
    mmu_check(x86_mmu(cpu), va, write & X_AVX ? OFF_AVX + 256 : OFF_AVX, MMU_WRITE, mem_mode(cpu));
    if (!compact)
        get(cpu, va + OFF_HDR, head, 8);
    put_components(cpu, va, f, write, compact ? write & X_SSE : m & (X_SSE | X_AVX), n_xmm_bytes(how));
    wr64(head, compact ? m & used : (rd64(head) & ~m) | (m & used));
    wr64(head + 8, m | 1ull << 63);
    put(cpu, va + OFF_HDR, head, compact ? 16 : 8);
    return 0;
}

/* The compacted format came with XSAVEC; XRSTORS takes no other. */
static bool header_ok(const struct x86_cpu *cpu, const uint8_t *h, bool compact_only)
{
    uint64_t bv = rd64(h), comp = rd64(h + 8);
    if ((comp >> 63) && x86_has(cpu->cpuid, FEAT_xsavec))
        return !(comp & ~(1ull << 63) & ~cpu->xcr0) && !(bv & ~comp) && !(bv >> 63) && all_zero(h + 16, 48);
    return !compact_only && !(bv & ~cpu->xcr0) && all_zero(h + 8, 16);
}

/* XRSTOR, XRSTORS. */
uint64_t helper_xrstor(struct x86_cpu *cpu, uint64_t va, uint64_t how, uint64_t unused)
{
    uint8_t img[OFF_AVX + 256], *f = whole(cpu);
    uint64_t m = rfbm(cpu), n = n_xmm_bytes(how);
    if (va & 63)
        x86_raise_err(cpu, X86_GP, 0);
    get(cpu, va, img, OFF_AVX);
    if (!header_ok(cpu, img + OFF_HDR, how & FPU_H_COMPACT))
        x86_raise_err(cpu, X86_GP, 0);
    uint64_t bv = rd64(img + OFF_HDR);
    bool compact = img[OFF_HDR + 15] >> 7, mxcsr = compact ? m & bv & X_SSE : m & (X_SSE | X_AVX);
    if (m & bv & X_AVX)
        get(cpu, va + OFF_AVX, img + OFF_AVX, 256);
    if (mxcsr && (rd32(img + OFF_MXCSR) & ~mxcsr_mask(f)))
        x86_raise_err(cpu, X86_GP, 0);
    if (m & X_X87) {
        if (bv & X_X87) {
            x87_image(f, img);
            set_status(f, rd16(img), rd16(img + OFF_FSW));
        } else {
            uint32_t old[2] = { rd32(f + OFF_MXCSR), rd32(f + OFF_MXCSR_MASK) };
            init_component(f, X_X87);
            wr32(f + OFF_MXCSR, old[0]);
            wr32(f + OFF_MXCSR_MASK, old[1]);
        }
    }
    if (mxcsr)
        wr32(f + OFF_MXCSR, rd32(img + OFF_MXCSR));
    else if (compact && (m & X_SSE))
        wr32(f + OFF_MXCSR, 0x1f80);
    if (m & X_SSE)
        bv & X_SSE ? memcpy(f + OFF_XMM, img + OFF_XMM, n) : memset(f + OFF_XMM, 0, n);
    if (m & X_AVX)
        bv & X_AVX ? memcpy(f + OFF_AVX, img + OFF_AVX, n) : memset(f + OFF_AVX, 0, n);
    return 0;
}

/* ---- gathers and masked moves ---- */

/* Byte OFF of XMM/YMM register R. */
static uint8_t *vec(uint8_t *f, unsigned r, unsigned off)
{
    return off < 16 ? f + OFF_XMM + 16 * r + off : f + OFF_AVX + 16 * r + off - 16;
}

/* Linear address of one element at OFF of segment SEG, with the segment's checks; X86_SEGS: OFF is linear and checked already. */
static uint64_t element(struct x86_cpu *cpu, uint64_t off, uint64_t seg, unsigned size, bool write, uint64_t how)
{
    if (seg >= X86_SEGS)
        return off;
    if (how & FPU_ADDR32)
        off = (uint32_t)off;
    if (how & FPU_ADDR16)
        off &= 0xffff;
    if (x86_code64(cpu))
        return off + (seg == X86_FS || seg == X86_GS ? cpu->seg[seg].base : 0);
    helper_seg_check(cpu, off, seg | (write ? 8 : 0) | size << 4, 0);
    return (uint32_t)(off + cpu->seg[seg].base);
}

/* Elements done before a fault stay done, and their mask bits are cleared: the instruction is restarted. */
uint64_t helper_gather(struct x86_cpu *cpu, uint64_t ea, uint64_t how, uint64_t seg)
{
    uint8_t *f = whole(cpu);
    unsigned dst = how & 15, index = (how >> 4) & 15, mask = (how >> 8) & 15, scale = (how >> 12) & 3;
    unsigned esize = how & FPU_G_W ? 8 : 4, isize = how & FPU_G_QINDEX ? 8 : 4, width = how & FPU_G_L ? 32 : 16;
    unsigned n = width / (esize > isize ? esize : isize), bytes = n * esize;
    for (unsigned k = 0; k < n; k++) {          /* the mask becomes all ones or zeros by its sign bits */
        uint8_t *e = vec(f, mask, k * esize);
        memset(e, e[esize - 1] & 0x80 ? 0xff : 0, esize);
    }
    for (unsigned k = 0; k < n; k++) {
        if (!vec(f, mask, k * esize)[0])
            continue;
        const uint8_t *x = vec(f, index, k * isize);
        uint64_t a = ea + ((isize == 8 ? rd64(x) : (uint64_t)(int32_t)rd32(x)) << scale);
        uint64_t v = mmu_ld(x86_mmu(cpu), element(cpu, a, seg, esize, false, how), esize);
        memcpy(vec(f, dst, k * esize), &v, esize);
        memset(vec(f, mask, k * esize), 0, esize);
    }
    for (unsigned b = bytes; b < 32; b++)
        *vec(f, dst, b) = 0;
    for (unsigned b = 0; b < 32; b++)
        *vec(f, mask, b) = 0;
    return 0;
}

/* Masked stores check all active elements before the first is written; byte-masked ones touch only active bytes. */
uint64_t helper_maskmov(struct x86_cpu *cpu, uint64_t ea, uint64_t how, uint64_t seg)
{
    uint8_t *f = whole(cpu), data[32], mask[32];
    unsigned r = how & 15, mr = (how >> 4) & 15, esize = how & FPU_M_BYTES ? 1 : how & FPU_M_QUADS ? 8 : 4;
    unsigned width = how & FPU_M_MMX ? 8 : how & FPU_M_L ? 32 : 16;
    bool store = how & FPU_M_STORE;
    unsigned top = (rd16(f + OFF_FSW) >> 11) & 7;
    for (unsigned b = 0; b < width; b++) {      /* MMn is physical register n; the image is in stack order */
        data[b] = how & FPU_M_MMX ? f[OFF_ST + 16 * ((r - top) & 7) + b] : *vec(f, r, b);
        mask[b] = how & FPU_M_MMX ? f[OFF_ST + 16 * ((mr - top) & 7) + b] : *vec(f, mr, b);
    }
    struct mmu *mmu = x86_mmu(cpu);
    for (unsigned k = 0; k < width; k += esize) {
        bool on = mask[k + esize - 1] & 0x80;
        uint64_t va = on ? element(cpu, ea + k, seg, esize, store, how) : 0;
        if (on && store) {
            mmu_check(mmu, va, esize, MMU_WRITE, mem_mode(cpu));
        } else if (!store) {
            uint64_t v = on ? mmu_ld(mmu, va, esize) : 0;
            memcpy(data + k, &v, esize);
        }
    }
    for (unsigned k = 0; store && k < width; k += esize)
        if (mask[k + esize - 1] & 0x80) {
            uint64_t v = 0;
            memcpy(&v, data + k, esize);
            mmu_st(mmu, element(cpu, ea + k, seg, esize, true, how), v, esize);
        }
    for (unsigned b = 0; !store && b < 32; b++)
        *vec(f, r, b) = b < width ? data[b] : 0;
    if (how & FPU_M_MMX) {                      /* as any MMX instruction: all registers valid, TOP 0 */
        uint8_t st[128];
        for (unsigned k = 0; k < 8; k++)
            memcpy(st + 16 * k, f + OFF_ST + 16 * ((k - top) & 7), 16);
        memcpy(f + OFF_ST, st, 128);
        wr16(f + OFF_FSW, rd16(f + OFF_FSW) & 0xc7ff);
        f[OFF_FTW] = 0xff;
    }
    return 0;
}
