/*
 * What blocks show about themselves while they run, and what they are made of the next time: which are met often (then they are made as hot blocks),
 * and how the accesses of a hot block are best checked. A region descriptor belongs to a base register, whoever uses it: in a loop it
 * serves one access after the other, in code that wanders it is always somebody else's. So a hot block is at first on trial: it counts its runs,
 * and each access counts its misses; afterwards it is made once more, and accesses that missed too often ask the TLB, alone or in groups. Those
 * that keep missing later all the same are found by their misses' frequency.
 *
 * General registers only: all this happens while the guest owns the FPU.
 */
#include "tcg/tcg.h"

#define TRIAL_RUNS 1000
#define TRIAL_SHARE 32                 /* one in so many runs may miss: a miss costs so many times what a hit saves */
#define TRIAL_SHARE_LOOP 8             /* ... of a loop, whose check is often for some turns at once */
#define MISS_LIMIT 32                  /* so many misses ... */
#define REGION_TURN 15                 /* user-mode misses that the TLB serves between two that come here ... */
#define REGION_TURN_PAGE 127           /* ... when the last one found no longer run than a page */
#define MISS_CYCLES 600                /* ... at most so far apart on the average: the descriptor costs more than it saves */

/* A check missed at the instruction that called; WHAT is learned of one that keeps missing. cost: in misses; window: host cycles in
   which they count. */
static void note_miss(struct tcg_env *env, enum tcg_learned what, unsigned cost, uint64_t window)
{
    struct tcg *t = env->tcg;
    uint64_t at = env->ret_pc, now = __builtin_ia32_rdtsc();
    unsigned i = (at ^ at >> 10) & 1023;
    if (cost > 1)                                  /* dear ones are far apart */
        window *= 32;
    if (t->region_miss[i].at != at || now - t->region_miss[i].tsc > window) {
        t->region_miss[i].at = at;
        t->region_miss[i].tsc = now;
        t->region_miss[i].n = 0;
    }
    t->region_miss[i].n += cost;
    if (t->region_miss[i].n < MISS_LIMIT)
        return;
    struct tb *tb = tcg_tb_by_code(t, (void *)at);
    if (!tb || !tb->valid)
        return;
    tcg_learn(t, what, tcg_guest_pc_at(tb, at) + tb->key.cs_base);
    tcg_lock(t);
    tcg_tb_invalidate(t, tb, CNT_drop_region);
    tcg_unlock(t);
}

/* in_vain: the descriptor, filled, does not serve all that it was asked for. */
void tcg_note_region_miss(struct tcg_env *env, unsigned region, bool in_vain)
{
    uint64_t window = (uint64_t)MISS_LIMIT * MISS_CYCLES * (uint64_t)(env->region_turns + 1) / (REGION_TURN + 1);
    env->region_turns = env->region_turn = env->region[region - 1].len[0] >= PAGE_SIZE ? REGION_TURN : REGION_TURN_PAGE;
    note_miss(env, LEARNED_TLB, in_vain ? MISS_LIMIT / 4 : 1, window);
}

/* A group's accesses are not on one page, or not in plain RAM. */
void tcg_note_group_miss(struct tcg_env *env) { note_miss(env, LEARNED_APART, MISS_LIMIT / 4, MISS_LIMIT * MISS_CYCLES); }

void tcg_trial_begin(struct tcg *t, struct tb *tb, bool many)
{
    tb->trial_share = many ? TRIAL_SHARE_LOOP : TRIAL_SHARE;
    for (unsigned i = 0; i < t->n_envs; i++) {
        t->envs[i]->trial[tb->trial - 1] = unlikely(t->random) ? (int32_t)tcg_random(t, 8) : TRIAL_RUNS;
        for (unsigned p = 0; p < tb->n_points; p++)
            t->envs[i]->site_misses[tcg_site((uintptr_t)tb->code + tb->points[p].off)] = 0;
    }
}

/* In the run loop, soon, the block makes room for its better self. */
static void retire_soon(struct tcg_env *env, struct tb *tb)
{
    env->cold_tb = tb;
    __atomic_store_n(&env->poll, 1, __ATOMIC_RELEASE);
}

void tcg_trial_over(struct tcg_env *env)
{
    struct tcg *t = env->tcg;
    struct tb *tb = tcg_tb_by_code(t, (void *)env->ret_pc);
    if (!tb || !tb->trial)
        return;
    int32_t *left = &env->trial[tb->trial - 1];
    *left = TRIAL_RUNS;
    if (!tb->valid || env->cold_tb)
        return;
    for (unsigned i = 0; i < tb->n_points; i++) {
        uint64_t at = (uintptr_t)tb->code + tb->points[i].off;
        if (env->site_misses[tcg_site(at)] > TRIAL_RUNS / tb->trial_share)
            tcg_learn(t, LEARNED_TLB, tcg_guest_pc(tb, tb->points[i].gi) + tb->key.cs_base);
    }
    tcg_learn(t, LEARNED_TRIED, tb->key.pc);
    retire_soon(env, tb);
}

/* From the sampling signal: host pc RX was running. A block met often is worth being made anew with region descriptors. */
void tcg_sample(struct tcg *t, struct tcg_env *env, uint64_t rx)
{
    struct tb *tb = tcg_tb_by_code(t, (void *)rx);
    if (!tb || !tb->valid || tb->hot || ++tb->samples < TCG_HOT_SAMPLES)
        return;
    tcg_learn(t, LEARNED_HOT, tb->key.pc);
    retire_soon(env, tb);
}

void tcg_retire(struct tcg_env *env)
{
    struct tb *tb = env->cold_tb;
    env->cold_tb = NULL;
    tcg_lock(env->tcg);
    tcg_tb_invalidate(env->tcg, tb, CNT_drop_hot);
    tcg_unlock(env->tcg);
}
