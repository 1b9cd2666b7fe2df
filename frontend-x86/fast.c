/* Integer helpers that use general registers only, so the guest keeps the FPU: segment and alignment checks. SDM vol. 3 ch. 5.3. */
#include "frontend-x86/helper_int.h"
#include "frontend-x86/helper_fpu.h"
#include "frontend-x86/raise.h"
#include "tcg/env.h"

/* what: segment | 8 for a write | size << 4. Unusable (null) segments have attr 0. */
uint64_t helper_seg_check(struct x86_cpu *cpu, uint64_t off, uint64_t what, uint64_t unused)
{
    unsigned seg = what & 7, vec = seg == X86_SS ? X86_SSF : X86_GP;
    const struct x86_seg *s = &cpu->seg[seg];
    uint32_t lo = (uint32_t)off, n = (uint32_t)(what >> 4) - 1 + !(what >> 4);
    uint64_t last = (uint64_t)lo + n;
    bool plain = !(cpu->cr0 & CR0_PE) || (cpu->rflags & RF_VM), code = s->attr & SEG_CODE;
    if (!plain && (!(s->attr & SEG_P) || ((what & 8) ? code || !(s->attr & SEG_RW) : code && !(s->attr & SEG_RW))))
        x86_raise_err(cpu, vec, 0);
    if (!code && (s->attr & SEG_EC)) {
        if (lo <= s->limit || last > (s->attr & SEG_DB ? 0xffffffffu : 0xffffu))
            x86_raise_err(cpu, vec, 0);
    } else if (last > s->limit) {
        x86_raise_err(cpu, vec, 0);
    }
    return 0;
}

/* FNINIT has cleared the host's x87 pointers; the guest's are elsewhere. */
uint64_t helper_x87_init(struct x86_cpu *cpu, uint64_t unused1, uint64_t unused2, uint64_t unused3)
{
    struct tcg_env *env = tcg_env_of(cpu);
    uint64_t *image = (uint64_t *)cpu->fpu;
    if (env->fpu_live) {
        env->x87_kept[0] = env->x87_kept[1] = env->x87_kept[2] = 0;
    } else {
        image[0] &= 0xffffffffffffull;             /* FOP */
        image[1] = image[2] = 0;
    }
    return 0;
}

uint64_t helper_align_check(struct x86_cpu *cpu, uint64_t va, uint64_t size, uint64_t unused)
{
    if ((va & (size - 1)) && !(x86_code64(cpu) && !x86_canonical(cpu, va)))       /* else #GP or #SS comes first; a page fault does not */
        x86_raise_err(cpu, X86_AC, 0);
    return 0;
}
