/* A hot block on trial (tcg/learn.c) counts its runs at its entry, where EFLAGS and the scratch registers are free, and calls when they are over. */
#include "backend-x86_64/x64.h"

bool x64_wants_trial(const struct x64_ctx *x)
{
    if (!x->tb->hot || tcg_has_learned(x->t, LEARNED_TRIED, x->tb->key.pc))
        return false;
    for (uint32_t k = 0; k < x->ir->n; k++)
        if (x64_mem_kind(x, &x->ir->insn[k]) != NM_NONE && !x->group[k].tlb)
            return true;
    return false;
}

static void trial_over(struct x64_ctx *x, struct x64_ool *o)
{
    x64_patch_here(x->c, o->from);
    x64_call_to(x->c, x->s->trial);
    x64_jmp_to(x->c, o->resume);
}

void x64_trial_count(struct x64_ctx *x)
{
    struct x64_mem left = ENV_AT(trial);
    left.disp += 4 * (x->tb->trial - 1);
    x64_alu_mi(x->c, X64_SUB, 4, left, 1);
    struct x64_ool o = {.emit = trial_over, .in = x->in, .from = x64_jcc(x->c, CC_S), .resume = x->c->p};
    *x64_ool(x, trial_over) = o;
}
