/*
 * Helpers over the guest's FPU state when it is in memory (fpu_image.h): x87 environments, FXSAVE, AVX2's gathers and masked moves. XSAVE is in
 * helper_xsave.c, AVX-512's gathers and scatters are in helper_evex.c. Guest memory is read wholly before the image changes. Each may raise.
 * SDM vol. 1 ch. 8.1.8, 8.1.10, 10.5; vol. 2 VGATHER, VMASKMOV.
 */
#include "frontend-x86/fpu_image.h"
#include "frontend-x86/helper_fpu.h"
#include "frontend-x86/raise.h"
#include <string.h>

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

/* The environment's pointers: offsets and zero selectors in protected mode, 20 or 32 bits of linear address elsewhere. The opcode's place is where
   there is one. */
static bool plain_mode(const struct x86_cpu *cpu) { return !(cpu->cr0 & CR0_PE) || x86_vm86(cpu); }

static void store_pointers(const struct x86_cpu *cpu, const uint8_t *f, uint8_t *e, unsigned opsize)
{
    uint32_t ip = rd32(f + OFF_IP), dp = rd32(f + OFF_DP), op = rd16(f + OFF_OP) & 0x7ff;
    if (opsize == 2) {
        wr16(e + 6, (uint16_t)ip);
        wr16(e + 10, (uint16_t)dp);
        wr16(e + 8, plain_mode(cpu) ? (uint16_t)((ip >> 4 & 0xf000) | op) : 0);
        wr16(e + 12, plain_mode(cpu) ? (uint16_t)(dp >> 4 & 0xf000) : 0);
    } else if (plain_mode(cpu)) {
        wr32(e + 12, 0xffff0000 | (uint16_t)ip);
        wr32(e + 16, (ip >> 16) << 12 | op);
        wr32(e + 20, 0xffff0000 | (uint16_t)dp);
        wr32(e + 24, (dp >> 16) << 12);
    } else {
        wr32(e + 12, ip);
        wr32(e + 16, op << 16);
        wr32(e + 20, dp);
        wr32(e + 24, 0xffff0000);
    }
}

static void load_pointers(const struct x86_cpu *cpu, uint8_t *f, const uint8_t *e, unsigned opsize)
{
    uint32_t ip, dp, op = rd16(f + OFF_OP);
    if (opsize == 2) {
        bool plain = plain_mode(cpu);
        ip = rd16(e + 6) | (plain ? (rd16(e + 8) & 0xf000u) << 4 : 0);
        dp = rd16(e + 10) | (plain ? (rd16(e + 12) & 0xf000u) << 4 : 0);
        op = plain ? rd16(e + 8) : 0;
    } else if (plain_mode(cpu)) {
        ip = rd16(e + 12) | rd32(e + 16) >> 12 << 16;
        dp = rd16(e + 20) | rd32(e + 24) >> 12 << 16;
        op = rd32(e + 16);
    } else {
        ip = rd32(e + 12);
        dp = rd32(e + 20);
        op = rd16(e + 18);
    }
    wr16(f + OFF_OP, op & 0x7ff);
    wr64(f + OFF_IP, ip);
    wr64(f + OFF_DP, dp);
}

static unsigned store_env(const struct x86_cpu *cpu, const uint8_t *f, uint8_t *e, unsigned opsize)
{
    memset(e, 0, 28);
    unsigned step = opsize == 2 ? 2 : 4;
    const uint16_t w[3] = { rd16(f + OFF_FCW), rd16(f + OFF_FSW), full_tags(f) };
    for (unsigned k = 0; k < 3; k++) {
        wr16(e + k * step, w[k]);
        if (step == 4)
            wr16(e + k * step + 2, 0xffff);
    }
    store_pointers(cpu, f, e, opsize);
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

static void load_env(const struct x86_cpu *cpu, uint8_t *f, const uint8_t *e, unsigned opsize)
{
    unsigned step = opsize == 2 ? 2 : 4;
    turn(f, (rd16(e + step) >> 11) & 7);
    fpu_set_status(f, rd16(e), rd16(e + step));
    set_tags(f, rd16(e + 2 * step));
    load_pointers(cpu, f, e, opsize);
}

uint64_t helper_fldenv(struct x86_cpu *cpu, uint64_t va, uint64_t opsize, uint64_t unused)
{
    uint8_t e[28];
    fpu_get(cpu, va, e, opsize == 2 ? 14 : 28);
    load_env(cpu, fpu_whole(cpu), e, (unsigned)opsize);
    return 0;
}

uint64_t helper_fnstenv(struct x86_cpu *cpu, uint64_t va, uint64_t opsize, uint64_t unused)
{
    uint8_t e[28], *f = fpu_whole(cpu);
    fpu_put(cpu, va, e, store_env(cpu, f, e, (unsigned)opsize));
    fpu_set_status(f, rd16(f + OFF_FCW) | 0x3f, rd16(f + OFF_FSW));
    return 0;
}

uint64_t helper_fnsave(struct x86_cpu *cpu, uint64_t va, uint64_t opsize, uint64_t unused)
{
    uint8_t e[108], *f = fpu_whole(cpu);
    unsigned n = store_env(cpu, f, e, (unsigned)opsize);
    for (unsigned k = 0; k < 8; k++)
        memcpy(e + n + 10 * k, f + OFF_ST + 16 * k, 10);
    fpu_put(cpu, va, e, n + 80);
    turn(f, 0);
    uint8_t st[128];
    memcpy(st, f + OFF_ST, 128);
    fpu_init(f, X86_XS_X87);
    memcpy(f + OFF_ST, st, 128);            /* FNINIT empties the registers, it does not change them; TOP becomes 0 with ST(0) in physical 0 */
    return 0;
}

uint64_t helper_frstor(struct x86_cpu *cpu, uint64_t va, uint64_t opsize, uint64_t unused)
{
    uint8_t e[108];
    unsigned n = opsize == 2 ? 14 : 28;
    fpu_get(cpu, va, e, n + 80);
    uint8_t *f = fpu_whole(cpu);
    load_env(cpu, f, e, (unsigned)opsize);
    for (unsigned k = 0; k < 8; k++) {
        memset(f + OFF_ST + 16 * k, 0, 16);
        memcpy(f + OFF_ST + 16 * k, e + n + 10 * k, 10);
    }
    return 0;
}

/* CR0.NE is clear: FERR# falls with the last error. */
uint64_t helper_ferr(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    const struct vcpu_ferr *w = &cpu->vcpu->ferr;
    if (w->signal && !(rd16(fpu_whole(cpu) + OFF_FSW) & 0x80))
        w->signal(w->opaque, false);
    return 0;
}

/* ---- FXSAVE, XSAVE ---- */

uint64_t helper_fxsave(struct x86_cpu *cpu, uint64_t va, uint64_t how, uint64_t unused)
{
    if (va & 15)
        x86_raise_err(cpu, X86_GP, 0);
    uint8_t img[416], *f = fpu_whole(cpu);
    unsigned n = OFF_XMM + fpu_xmm_bytes(how);
    memset(img, 0, sizeof(img));
    fpu_x87_save(cpu, img, f, how);
    wr32(img + OFF_MXCSR, rd32(f + OFF_MXCSR));
    wr32(img + OFF_MXCSR_MASK, fpu_mxcsr_mask(f));
    memcpy(img + OFF_XMM, f + OFF_XMM, n - OFF_XMM);
    fpu_put(cpu, va, img, n);
    return 0;
}

uint64_t helper_fxrstor(struct x86_cpu *cpu, uint64_t va, uint64_t how, uint64_t unused)
{
    if (va & 15)
        x86_raise_err(cpu, X86_GP, 0);
    uint8_t img[512], *f = fpu_whole(cpu);
    fpu_get(cpu, va, img, 512);
    if (rd32(img + OFF_MXCSR) & ~fpu_mxcsr_mask(f))
        x86_raise_err(cpu, X86_GP, 0);
    fpu_x87_load(f, img, how);
    fpu_set_status(f, rd16(img), rd16(img + OFF_FSW));
    wr32(f + OFF_MXCSR, rd32(img + OFF_MXCSR));
    memcpy(f + OFF_XMM, img + OFF_XMM, fpu_xmm_bytes(how));
    return 0;
}

/* ---- gathers and masked moves ---- */

/* Elements done before a fault stay done, and their mask bits are cleared: the instruction is restarted. */
uint64_t helper_gather(struct x86_cpu *cpu, uint64_t ea, uint64_t how, uint64_t seg)
{
    uint8_t *f = fpu_whole(cpu);
    unsigned dst = how & 15, index = (how >> 4) & 15, mask = (how >> 8) & 15, scale = (how >> 12) & 3;
    unsigned esize = how & FPU_G_W ? 8 : 4, isize = how & FPU_G_QINDEX ? 8 : 4, width = how & FPU_G_L ? 32 : 16;
    unsigned n = width / (esize > isize ? esize : isize), bytes = n * esize;
    for (unsigned k = 0; k < n; k++) {          /* the mask becomes all ones or zeros by its sign bits */
        uint8_t *e = fpu_vec(f, mask, k * esize);
        memset(e, e[esize - 1] & 0x80 ? 0xff : 0, esize);
    }
    for (unsigned k = 0; k < n; k++) {
        if (!fpu_vec(f, mask, k * esize)[0])
            continue;
        const uint8_t *x = fpu_vec(f, index, k * isize);
        uint64_t a = ea + ((isize == 8 ? rd64(x) : (uint64_t)(int32_t)rd32(x)) << scale);
        uint64_t v = mmu_ld(x86_mmu(cpu), fpu_element(cpu, a, seg, esize, false, how), esize);
        memcpy(fpu_vec(f, dst, k * esize), &v, esize);
        memset(fpu_vec(f, mask, k * esize), 0, esize);
    }
    fpu_clear_from(cpu, dst, bytes);
    fpu_clear_from(cpu, mask, 0);
    return 0;
}

/* Masked stores check all active elements before the first is written. Those masked by bytes check the others as well (the manuals leave that to the
   processor, and this is what processors do), but touch only active ones. */
uint64_t helper_maskmov(struct x86_cpu *cpu, uint64_t ea, uint64_t how, uint64_t seg)
{
    uint8_t *f = fpu_whole(cpu), data[32], mask[32];
    unsigned r = how & 15, mr = (how >> 4) & 15, esize = how & FPU_M_BYTES ? 1 : how & FPU_M_QUADS ? 8 : 4;
    unsigned width = how & FPU_M_MMX ? 8 : how & FPU_M_L ? 32 : 16;
    bool store = how & FPU_M_STORE;
    unsigned top = (rd16(f + OFF_FSW) >> 11) & 7;
    for (unsigned b = 0; b < width; b++) {      /* MMn is physical register n; the image is in stack order */
        data[b] = how & FPU_M_MMX ? f[OFF_ST + 16 * ((r - top) & 7) + b] : *fpu_vec(f, r, b);
        mask[b] = how & FPU_M_MMX ? f[OFF_ST + 16 * ((mr - top) & 7) + b] : *fpu_vec(f, mr, b);
    }
    struct mmu *mmu = x86_mmu(cpu);
    for (unsigned k = 0; k < width; k += esize) {
        bool on = mask[k + esize - 1] & 0x80, asked = on || esize == 1;
        uint64_t va = asked ? fpu_element(cpu, ea + k, seg, esize, store, how) : 0;
        if (asked && store) {
            mmu_check(mmu, va, esize, MMU_WRITE, fpu_mem_mode(cpu));
        } else if (!store) {
            uint64_t v = on ? mmu_ld(mmu, va, esize) : 0;
            memcpy(data + k, &v, esize);
        }
    }
    for (unsigned k = 0; store && k < width; k += esize)
        if (mask[k + esize - 1] & 0x80) {
            uint64_t v = 0;
            memcpy(&v, data + k, esize);
            mmu_st(mmu, fpu_element(cpu, ea + k, seg, esize, true, how), v, esize);
        }
    for (unsigned b = 0; !store && b < width; b++)
        *fpu_vec(f, r, b) = data[b];
    if (!store)
        fpu_clear_from(cpu, r, width);
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
