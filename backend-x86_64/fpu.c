/* Handing the host FPU between the guest and C (tcg/env.h fpu_live). General registers only. SDM vol. 1 ch. 13. */
#include "tcg/tcg.h"

static void *area(struct tcg_env *env) { return (char *)tcg_cpu(env) + env->fe->fpu_offset; }

void tcg_fpu_save(struct tcg_env *env)
{
    static const uint32_t mxcsr = 0x1f80;
    if (!env->fpu_live)
        return;
    env->fpu_live = 0;
    __asm__ volatile("xsave64 (%0)\n\tfninit\n\tvzeroupper\n\tldmxcsr %1" : : "r"(area(env)), "m"(mxcsr), "a"(7), "d"(0) : "memory");
}

void tcg_fpu_load(struct tcg_env *env)
{
    __asm__ volatile("xrstor64 (%0)" : : "r"(area(env)), "a"(7), "d"(0) : "memory");
    env->fpu_live = 1;
}
