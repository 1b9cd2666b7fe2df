/*
 * Handing the host FPU between the guest and C (tcg/env.h fpu_live). The guest's XCR0 says whether AVX-512's registers go with it: a guest that
 * has not enabled them does not pay for them. General registers only. SDM vol. 1 ch. 13.
 */
#include "tcg/tcg.h"

static void *area(struct tcg_env *env) { return (char *)tcg_cpu(env) + env->fe->fpu_offset; }
static uint32_t components(struct tcg_env *env) { return (*(uint32_t *)((char *)tcg_cpu(env) + env->fe->xcr0_offset) & TCG_FPU_COMPONENTS) | 7; }

void tcg_fpu_save(struct tcg_env *env)
{
    static const uint32_t mxcsr = 0x1f80;
    if (!env->fpu_live)
        return;
    env->fpu_live = 0;
    __asm__ volatile("xsave64 (%0)\n\tfninit\n\tvzeroupper\n\tldmxcsr %1" : : "r"(area(env)), "m"(mxcsr), "a"(components(env)), "d"(0) : "memory");
}

void tcg_fpu_load(struct tcg_env *env)
{
    __asm__ volatile("xrstor64 (%0)" : : "r"(area(env)), "a"(components(env)), "d"(0) : "memory");
    env->fpu_live = 1;
}
