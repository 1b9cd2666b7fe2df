/*
 * Masked operands in memory, element by element: for page crossings, devices, tracked pages, and pages that are not there, which a masked-out
 * element may lie in. In: env->slow_lanes, slow_mask (tcg/native.h) and the address of element 0; the data is in env->bounce, in its place.
 * All active elements are checked, lowest first, before one is read or written. General registers only. SDM vol. 2 ch. 2.8.5.
 */
#include "tcg/lanes.h"
#include "tcg/native.h"

bool tcg_lanes_any(const struct tcg_env *env) { return native_active(env->slow_lanes, env->slow_mask); }

void tcg_lanes_check(struct tcg_env *env, gva_t va, enum mmu_access access)
{
    unsigned size = native_lane_bytes(env->slow_lanes);
    for (uint64_t m = native_active(env->slow_lanes, env->slow_mask); m; m &= m - 1) {
        gva_t at = va + (uint64_t)(unsigned)__builtin_ctzll(m) * size, last = at + size - 1;
        mmu_probe(env->mmu, at, 1, access);
        if ((at ^ last) & PAGE_MASK)
            mmu_probe(env->mmu, last & PAGE_MASK, 1, access);
    }
}

void tcg_lanes_load(struct tcg_env *env, gva_t va)
{
    unsigned size = native_lane_bytes(env->slow_lanes);
    for (uint64_t m = native_active(env->slow_lanes, env->slow_mask); m; m &= m - 1) {
        unsigned at = (unsigned)__builtin_ctzll(m) * size;
        uint64_t v = mmu_ld(env->mmu, va + at, size);
        for (unsigned k = 0; k < size; k++)
            env->bounce[at + k] = (uint8_t)(v >> (8 * k));
    }
}

void tcg_lanes_store(struct tcg_env *env, gva_t va)
{
    unsigned size = native_lane_bytes(env->slow_lanes);
    for (uint64_t m = native_active(env->slow_lanes, env->slow_mask); m; m &= m - 1) {
        unsigned at = (unsigned)__builtin_ctzll(m) * size;
        uint64_t v = 0;
        for (unsigned k = 0; k < size; k++)
            v |= (uint64_t)env->bounce[at + k] << (8 * k);
        mmu_st(env->mmu, va + at, v, size);
    }
}
