/* What the helpers over the saved FPU state share (fpu_image.h): its parts and their initial values. SDM vol. 1 ch. 13.4, 13.6. */
#include "frontend-x86/fpu_image.h"
#include "frontend-x86/helper_fpu.h"

void fpu_init(uint8_t *f, uint64_t which)
{
    if (which & X86_XS_X87) {
        memset(f, 0, 24);
        wr16(f + OFF_FCW, 0x37f);
        memset(f + OFF_ST, 0, 128);
    }
    if (which & X86_XS_SSE)
        memset(f + OFF_XMM, 0, 256);
    for (unsigned n = 2; n < X86_XCOMPS_FPU; n++)
        if (which >> n & 1)
            memset(f + x86_xcomp[n].offset, 0, x86_xcomp[n].size);
}

uint8_t *fpu_whole(struct x86_cpu *cpu)
{
    uint8_t *f = cpu->fpu;
    uint64_t bv = rd64(f + OFF_HDR), all = X86_XS_BASE | (cpu->xcr0 & X86_XS_AVX512);
    fpu_init(f, ~bv & all);
    memset(f + OFF_HDR, 0, 64);
    wr64(f + OFF_HDR, all | (bv & X86_XS_AVX512));
    return f;
}

void fpu_set_status(uint8_t *f, uint16_t fcw, uint16_t fsw)
{
    fsw &= 0x7f7f;
    if (fsw & ~fcw & 0x3f)
        fsw |= 0x8080;
    wr16(f + OFF_FCW, (uint16_t)((fcw & 0x1f3f) | 0x40));
    wr16(f + OFF_FSW, fsw);
}

uint32_t fpu_mxcsr_mask(const uint8_t *f)
{
    uint32_t m = rd32(f + OFF_MXCSR_MASK);
    return m ? m : 0xffbf;
}

unsigned fpu_xmm_bytes(uint64_t how) { return how & FPU_H_CODE64 ? 256 : 128; }

void fpu_x87_save(const struct x86_cpu *cpu, uint8_t *out, const uint8_t *f, uint64_t how)
{
    bool seen = !cpu->cpuid->amd || (rd16(f + OFF_FSW) & 0x80);
    memcpy(out, f, 6);
    memset(out + OFF_OP, 0, 18);
    memcpy(out + OFF_OP, f + OFF_OP, seen ? 2 : 0);
    memcpy(out + OFF_IP, f + OFF_IP, !seen ? 0 : how & FPU_H_WIDE ? 8 : 4);
    memcpy(out + OFF_DP, f + OFF_DP, !seen ? 0 : how & FPU_H_WIDE ? 8 : 4);
    memcpy(out + OFF_ST, f + OFF_ST, 128);
}

void fpu_x87_load(uint8_t *f, const uint8_t *in, uint64_t how)
{
    memcpy(f, in, 6);
    wr16(f + OFF_OP, rd16(in + OFF_OP) & 0x7ff);
    wr64(f + OFF_IP, how & FPU_H_WIDE ? rd64(in + OFF_IP) : rd32(in + OFF_IP));
    wr64(f + OFF_DP, how & FPU_H_WIDE ? rd64(in + OFF_DP) : rd32(in + OFF_DP));
    memcpy(f + OFF_ST, in + OFF_ST, 128);
}

uint8_t *fpu_vec(uint8_t *f, unsigned r, unsigned off)
{
    if (r >= 16)
        return f + x86_xcomp[7].offset + 64 * (r - 16) + off;
    if (off >= 32)
        return f + x86_xcomp[6].offset + 32 * r + off - 32;
    return off < 16 ? f + OFF_XMM + 16 * r + off : f + OFF_AVX + 16 * r + off - 16;
}

void fpu_clear_from(struct x86_cpu *cpu, unsigned r, unsigned off)
{
    unsigned end = cpu->xcr0 & X86_XS_AVX512 ? 64 : 32;
    for (; off < end; off++)
        *fpu_vec(cpu->fpu, r, off) = 0;
}

static uint64_t element_at(struct x86_cpu *cpu, uint64_t off, uint64_t seg, unsigned size, bool write, uint64_t how)
{
    if (how & FPU_ADDR32)
        off = (uint32_t)off;
    if (how & FPU_ADDR16)
        off &= 0xffff;
    if (x86_code64(cpu))
        return off + (seg == X86_FS || seg == X86_GS ? cpu->seg[seg].base : 0);
    helper_seg_check(cpu, off, seg | (write ? 8 : 0) | size << 4, 0);
    return (uint32_t)(off + cpu->seg[seg].base);
}

uint64_t fpu_element(struct x86_cpu *cpu, uint64_t off, uint64_t seg, unsigned size, bool write, uint64_t how)
{
    if (seg >= X86_SEGS)
        return off;
    uint64_t va = element_at(cpu, off, seg, size, write, how);
    if (unlikely(cpu->dr[7] & 0xff))
        x86_watch(cpu, va, size, write);
    return va;
}
