/*
 * The run loop of a vCPU: deliver what is pending, find or translate the block at pc, run until translated code needs something. General
 * registers only, because the guest may own the FPU here: every call into ordinary C is preceded by tcg_fpu_save.
 * Faults and other abrupt ends (tcg_unwind) come back to the setjmp in tcg_run with an exact state.
 */
#include "core/log.h"
#include "tcg/eval.h"
#include "tcg/interp.h"
#include "tcg/tcg.h"

static uint32_t recipe_flags(struct tcg_env *env, const struct tb_recipe *r)
{
    const char *cpu = tcg_cpu(env);
    static const uint8_t op[] = {[RECIPE_CMP] = IR_sub, [RECIPE_AND] = IR_and, [RECIPE_ADDR] = IR_add, [RECIPE_SUBR] = IR_sub, [RECIPE_INC] = IR_inc, [RECIPE_DEC] = IR_dec};
    struct ir_val v = {.fl = fl_to_rflags(env->flags),
                       .a = r->a_const ? r->a : *(const uint64_t *)(cpu + env->fe->globals[r->a].offset),
                       .b = r->b_const ? r->b : *(const uint64_t *)(cpu + env->fe->globals[r->b].offset)};
    if (r->op == RECIPE_ADDR || r->op == RECIPE_INC)
        v.a -= v.b;
    else if (r->op == RECIPE_SUBR || r->op == RECIPE_DEC)
        v.a += v.b;
    ir_eval(op[r->op], r->size, 0, 0, &v);
    return v.fl;
}

/* The point at or before host address rx. */
static const struct tb_point *find_point(const struct tb *tb, uint64_t rx)
{
    uint32_t off = (uint32_t)(rx - (uint64_t)tb->code);
    unsigned lo = 0, hi = tb->n_points;
    while (hi - lo > 1) {
        unsigned mid = (lo + hi) / 2;
        if (tb->points[mid].off <= off)
            lo = mid;
        else
            hi = mid;
    }
    return &tb->points[lo];
}

uint64_t tcg_guest_pc_at(const struct tb *tb, uint64_t rx) { return tcg_guest_pc(tb, find_point(tb, rx)->gi); }

bool tcg_guest_at(struct tcg *t, uint64_t rx, uint64_t *pc)
{
    struct tb *tb = tcg_tb_by_code(t, (void *)rx);
    if (!tb || !tb->n_points)
        return false;
    *pc = tcg_guest_pc_at(tb, rx);
    return true;
}

/* pc and flags as of host address rx, a return address (then the earliest point of that address counts: later ones belong to what
   follows the call) or a trapping instruction of tb. */
static void restore(struct tcg_env *env, struct tb *tb, uint64_t rx, bool ret)
{
    if (!tb || !tb->n_points)
        return;
    const struct tb_point *p = find_point(tb, rx);
    while (ret && p > tb->points && p[-1].off == (uint32_t)(rx - (uint64_t)tb->code))
        p--;
    *(uint64_t *)((char *)tcg_cpu(env) + env->fe->pc_offset) = tcg_guest_pc(tb, p->gi);
    env->fault_fl = p->fl;
    if (env->fault_fl == TBF_RECIPE)
        env->flags = fl_from_rflags(recipe_flags(env, &tb->recipes[p->recipe]));
}

void tcg_restore_at(struct tcg_env *env, struct tb *tb, uint64_t rx) { restore(env, tb, rx, false); }

void tcg_restore_state(struct tcg_env *env)
{
    if (env->tcg->interp)
        interp_restore_state(env);
    else if (env->in_code)
        restore(env, tcg_tb_by_code(env->tcg, (void *)env->ret_pc), env->ret_pc, true);
}

void tcg_unwind(struct tcg_env *env, enum tcg_unwind why)
{
    tcg_restore_state(env);
    if (env->tcg->interp ? env->interp != NULL : env->in_code)
        env->fe->given_up(tcg_cpu(env));
    if (env->tcg->interp)
        interp_unwound(env);
    if (env->translating)
        tcg_translation_end(env);
    env->in_code = false;
    env->interp_tb = NULL;
    env->exit_info = why;
    __builtin_longjmp(env->host_unwind, 1);
}

static struct tb *find_or_translate(struct tcg_env *env)
{
    struct tb_key key;
    env->fe->get_key(tcg_cpu(env), &key);
    if (env->step_key)
        *env->step_key = key;
    uint32_t mode = key.mode;
    key.mode |= env->apart ? TB_APART : 0;
    struct tb *tb = env->one_insn ? NULL : tcg_find(env, &key);
    if (!tb) {
        gpa_t gpa;
        tcg_fpu_save(env);
        mmu_code_page(env->mmu, key.pc, &gpa);     /* may fault */
        tb = env->one_insn ? NULL : tcg_find(env, &key);
        if (!tb)
            tb = tcg_translate(env, &key, env->one_insn ? 1 : env->tcg->max_insns);
    }
    key.mode = mode;
    if (!env->tcg->interp)
        tcg_salts_for(env, &key);
    return tb;
}

static unsigned run_interp(struct tcg_env *env, struct tb *tb)
{
    for (unsigned budget = 256;; budget--) {
        env->interp_tb = tb;
        unsigned r = interp_run(env, tb->ir);
        env->interp_tb = NULL;
        struct tb_key key;
        if (r == TCG_EXIT_REASON || !budget || env->one_insn || env->step_key || __atomic_load_n(&env->poll, __ATOMIC_ACQUIRE) ||
            (r == TCG_EXIT_LOOKUP && env->vcpu->pending))
            return r;
        env->fe->get_key(tcg_cpu(env), &key);
        tb = tcg_find(env, &key);
        if (!tb)
            return r;
    }
}

/* Pending interrupts, recorded exceptions, HLT. True: run on. */
static bool ready(struct tcg_env *env)
{
    uint32_t pending = __atomic_load_n(&env->vcpu->pending, __ATOMIC_ACQUIRE);
    if (!env->need_deliver && !pending)
        return true;
    tcg_fpu_save(env);
    env->need_deliver = false;
    if (pending & VCPU_WORK) {                     /* something outside changed how memory is seen (A20) */
        vcpu_clear_pending(env->vcpu, VCPU_WORK);
        mmu_flush_all(env->mmu);
        mmu_set_root(env->mmu);
    }
    env->delivering = true;
    bool run = env->fe->deliver(tcg_cpu(env));
    env->delivering = false;
    if (run)
        return true;
    env->need_deliver = true;                      /* still halted: only something new can help */
    return false;
}

static bool deliver(struct tcg_env *env)
{
    if (ready(env))
        return true;
    mmu_outside(env->mmu);
    tcg_go_outside(env);
    vcpu_wait(env->vcpu, ~env->vcpu->barred);      /* not of what was read above: the line may have fallen and risen since */
    return false;
}

static void step(struct tcg_env *env)
{
    struct tb *tb = find_or_translate(env);
    unsigned r = env->tcg->interp ? run_interp(env, tb) : tcg_chain(env, tb->code);
    env->one_insn = env->apart = false;
    if (r == TCG_EXIT_REASON || r == TCG_EXIT_UNWIND)
        env->need_deliver = true;
}

__thread struct tcg_env *tcg_running;

/* What was unwound from, for the next turn. */
static void unwound(struct tcg_env *env)
{
    env->vcpu->n.all[CNT_unwound_fault + env->exit_info - TCG_UNWIND_FAULT]++;
    env->delivering = false;
    if (env->alone) {
        tcg_fpu_save(env);
        tcg_let_others(env);
    }
    env->one_insn = env->exit_info == TCG_UNWIND_ONE_INSN || env->exit_info == TCG_UNWIND_ALONE;
    env->apart = env->exit_info == TCG_UNWIND_APART;
    env->stop_others = env->exit_info == TCG_UNWIND_ALONE;
    env->need_deliver = env->exit_info == TCG_UNWIND_FAULT;
}

/* No access is under way and no block's address is held: others may do what they wait for. The FPU, which may know such an address, is saved before. */
static void turnstile(struct tcg_env *env)
{
    while (!env->inside || __atomic_load_n(&env->tcg->exclusive, __ATOMIC_SEQ_CST)) {
        tcg_fpu_save(env);
        mmu_outside(env->mmu);
        tcg_go_outside(env);
        tcg_go_inside(env);
    }
    mmu_quiesce(env->mmu);
}

static void step_alone(struct tcg_env *env)
{
    tcg_fpu_save(env);
    env->stop_others = false;
    tcg_stop_others(env);
    step(env);
    tcg_fpu_save(env);
    tcg_let_others(env);
}

void tcg_run(struct tcg_env *env)
{
    tcg_running = env;
    if (__builtin_setjmp(env->host_unwind))
        unwound(env);
    for (;;) {
        __atomic_store_n(&env->poll, 0, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&env->vcpu->pending, __ATOMIC_SEQ_CST) & VCPU_EXIT)
            break;
        turnstile(env);
        if (env->cold_tb)
            tcg_retire(env);
        if (env->stop_others)
            step_alone(env);
        else if (env->one_insn || env->apart || deliver(env))
            step(env);
    }
    tcg_fpu_save(env);
    mmu_outside(env->mmu);
    tcg_go_outside(env);
    tcg_running = NULL;
}

static bool turn(struct tcg_env *env)
{
    if (__builtin_setjmp(env->host_unwind)) {
        unwound(env);
        if (env->need_deliver)
            return true;
    }
    __atomic_store_n(&env->poll, 0, __ATOMIC_SEQ_CST);
    if (env->cold_tb)
        tcg_retire(env);
    bool on = env->one_insn || env->apart || ready(env);
    if (on)
        step(env);
    return on;
}

/* A turn that starts again (code that was written, a page that became tracked) has done nothing yet. A fault ends it: its delivery belongs to the next. */
bool tcg_turn(struct tcg_env *env)
{
    tcg_running = env;
    bool on = turn(env);
    tcg_fpu_save(env);
    tcg_running = NULL;
    return on;
}

bool tcg_step(struct tcg_env *env, struct tb_key *key)
{
    env->step_key = key;
    bool on = tcg_turn(env);
    env->step_key = NULL;
    return on;
}

void tcg_show(struct tcg_env *env, const struct tb_key *key, unsigned max)
{
    if (__builtin_setjmp(env->host_unwind))
        return;
    tcg_cache_flush(env->tcg);                     /* what is known is not made again */
    env->one_insn = max == 1;
    tcg_translate(env, key, max);
    env->one_insn = false;
}
