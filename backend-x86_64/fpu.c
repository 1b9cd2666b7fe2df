/*
 * Handing the host FPU between the guest and C (tcg/env.h fpu_live). The guest's XCR0 says whether AVX-512's registers go with it: a guest that
 * has not enabled them does not pay for them. General registers only. SDM vol. 1 ch. 13.
 *
 * The x87's pointers to the last instruction and its operand would be host addresses. So they are loaded as zero and the guest's are kept aside; a
 * code address found in their place afterwards belongs to a guest instruction, and becomes its pc. Operand and opcode are noted when there is
 * an unmasked exception only (CPUID.7.0:EBX[6], and the default of the opcode). Some processors save no pointers but those of an exception:
 * there the others are the last that were loaded. SDM vol. 1 ch. 8.1.8, 8.1.9.
 */
#include "backend-x86_64/x64.h"
#include "tcg/tcg.h"

static uint8_t *area(struct tcg_env *env) { return (uint8_t *)tcg_cpu(env) + env->fe->fpu_offset; }
static uint32_t components(struct tcg_env *env) { return (*(uint32_t *)((char *)tcg_cpu(env) + env->fe->xcr0_offset) & TCG_FPU_COMPONENTS) | 7; }

static struct x64_x87 *x87_of(struct tcg_env *env) { return (struct x64_x87 *)area(env); }

void x64_x87_hide(struct tcg_env *env)
{
    struct x64_x87 *f = x87_of(env);
    env->x87_kept[0] = f->ip;
    env->x87_kept[1] = f->dp;
    env->x87_kept[2] = f->op;
    f->ip = f->dp = f->op = 0;
}

/* The guest's linear address of host memory that an instruction has just accessed; 0 when nothing remembers it. */
static uint64_t linear_of(struct tcg_env *env, uint64_t host)
{
    if (host - (uint64_t)env->bounce < sizeof env->bounce)
        return env->slow_va + (host - (uint64_t)env->bounce);
    for (unsigned i = 0; i < TLB_ENTRIES; i++) {
        const struct tlb_entry *e = &env->tlb[i];
        uint64_t tag = tlb_index(e->tag_r) == i ? e->tag_r : e->tag_w;
        if ((uint64_t)e->host == (host & PAGE_MASK) && tlb_index(tag) == i)
            return tag | (host & ~PAGE_MASK);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(env->region); i++)
        if (host - env->region[i].addend - env->region[i].start < env->region[i].len[0])
            return host - env->region[i].addend;
    return 0;
}

/* The area as the guest's: its host pointers have become the guest's. native: the range of a thunk that ran, else of the code cache. */
void x64_x87_show(struct tcg_env *env, uint64_t thunk, uint64_t thunk_end)
{
    struct x64_x87 *f = x87_of(env);
    uint64_t ip = f->ip, dp = f->dp, pc, off;
    uint16_t op;
    f->ip = env->x87_kept[0];
    f->dp = env->x87_kept[1];
    f->op = (uint16_t)env->x87_kept[2];
    if (f->ip | f->dp | f->op)
        *(uint64_t *)((uint8_t *)f + 512) |= 1;    /* the processor may have called the x87 unused: it does not know of these */
    if (thunk_end && ip - thunk < thunk_end - thunk)
        pc = env->native_pc;
    else if (thunk_end || ip - (uint64_t)env->tcg->rx >= env->tcg->cache_size || !tcg_guest_at(env->tcg, ip, &pc))
        return;
    f->ip = pc;
    if (!(f->sw & 0x80))
        return;
    op = f->op;
    off = f->dp;
    env->fe->x87_insn(tcg_cpu(env), pc, thunk_end ? env->slow_va : linear_of(env, dp), &op, &off);
    f->op = op;
    f->dp = off;
}

void tcg_fpu_save(struct tcg_env *env)
{
    static const uint32_t mxcsr = 0x1f80;
    if (!env->fpu_live)
        return;
    env->fpu_live = 0;
    env->vcpu->n.fpu_saves++;
    __asm__ volatile("xsave64 (%0)\n\tfninit\n\tvzeroupper\n\tldmxcsr %1" : : "r"(area(env)), "m"(mxcsr), "a"(components(env)), "d"(0) : "memory");
    x64_x87_show(env, 0, 0);
}

void tcg_fpu_load(struct tcg_env *env)
{
    x64_x87_hide(env);
    __asm__ volatile("xrstor64 (%0)" : : "r"(area(env)), "a"(components(env)), "d"(0) : "memory");
    env->fpu_live = 1;
}
