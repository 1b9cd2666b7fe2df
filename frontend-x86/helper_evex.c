/*
 * What depends on the values of opmask registers, over the saved FPU image (fpu_image.h): AVX-512's gathers and scatters, element by element, lowest
 * first: an element's bit of the mask is cleared when it is done, so that the instruction goes on there after a fault; and the segment checks of
 * masked operands. SDM vol. 2 VGATHERDPS, VPSCATTERDD.
 */
#include "frontend-x86/fpu_image.h"
#include "frontend-x86/helper_fpu.h"
#include "tcg/native.h"

static uint8_t *opmask_at(uint8_t *f, unsigned n) { return f + x86_xcomp[5].offset + 8 * n; }

uint64_t x86_opmask(void *cpu, unsigned n)
{
    return rd64(opmask_at(fpu_whole(cpu), n));
}

/* The check of limit and type of segment HOW & 7 (8: a write) for the active elements of a masked operand at offset OFF; opmask register in bits 4..6. */
uint64_t helper_seg_lanes(struct x86_cpu *cpu, uint64_t off, uint64_t lanes, uint64_t how)
{
    unsigned size = native_lane_bytes((uint32_t)lanes);
    for (uint64_t m = native_active((uint32_t)lanes, x86_opmask(cpu, (how >> 4) & 7)); m; m &= m - 1) {
        uint64_t at = (uint32_t)off + (uint64_t)(unsigned)__builtin_ctzll(m) * size;      /* beyond 4 GiB is beyond any limit */
        helper_seg_check(cpu, MIN(at, UINT32_MAX), (how & 15) | (at > UINT32_MAX ? 2 : size) << 4, 0);
    }
    return 0;
}

static void one_element(struct x86_cpu *cpu, uint8_t *data, uint64_t at, unsigned size, bool store)
{
    uint64_t v = 0;
    if (store) {
        memcpy(&v, data, size);
        mmu_st(x86_mmu(cpu), at, v, size);
        return;
    }
    v = mmu_ld(x86_mmu(cpu), at, size);
    memcpy(data, &v, size);
}

uint64_t helper_gather512(struct x86_cpu *cpu, uint64_t ea, uint64_t how, uint64_t seg)
{
    uint8_t *f = fpu_whole(cpu), *k = opmask_at(f, (how >> 16) & 7);
    unsigned data = how & 31, index = (how >> 8) & 31, scale = (how >> 20) & 3, vl = 16u << ((how >> FPU_S_LENGTH_SHIFT) & 3);
    unsigned size = how & FPU_S_W ? 8 : 4, isize = how & FPU_S_QINDEX ? 8 : 4, n = vl / MAX(size, isize);
    uint64_t mask = rd64(k) & ((1ull << n) - 1);
    bool store = how & FPU_S_STORE;
    for (; mask; mask &= mask - 1) {
        unsigned e = (unsigned)__builtin_ctzll(mask);
        const uint8_t *x = fpu_vec(f, index, e * isize);
        uint64_t off = ea + ((isize == 8 ? rd64(x) : (uint64_t)(int64_t)(int32_t)rd32(x)) << scale);
        one_element(cpu, fpu_vec(f, data, e * size), fpu_element(cpu, off, seg, size, store, how), size, store);
        wr64(k, rd64(k) & ~(1ull << e));
        if (!store)
            fpu_clear_from(cpu, data, vl);
    }
    wr64(k, 0);                                     /* bits beyond the elements, too */
    if (!store)
        fpu_clear_from(cpu, data, n * size);
    return 0;
}
