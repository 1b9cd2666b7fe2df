/* Creating the translator and its per-vCPU environments; the answer to writes into translated code. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "core/log.h"
#include "tcg/interp.h"
#include "tcg/native.h"
#include "tcg/profile.h"
#include "tcg/tcg.h"

#define STACK_SIZE (1u << 20)
#define GUARD_SIZE 65536u

struct tcg *tcg_new(const struct tcg_frontend *fe, const struct tcg_backend *be, struct aspace *mem, size_t cache_size, bool interp)
{
    struct tcg *t = xmap(sizeof *t);
    if (!t)
        return NULL;
    madvise(t, sizeof *t, MADV_HUGEPAGE);          /* a wish */
    t->fe = fe;
    t->be = be;
    t->mem = mem;
    t->interp = interp;
    t->max_insns = IR_MAX_GUEST;
    if (getrandom(&t->salt_seed, sizeof t->salt_seed, 0) != sizeof t->salt_seed)
        t->salt_seed = __builtin_ia32_rdtsc();
    t->ir = xzalloc(sizeof *t->ir);
    t->ir->natives = xzalloc(sizeof(struct ir_native) * IR_MAX_NATIVES);
    t->ir->code = xzalloc(IR_MAX_CODE);
    int r = tcg_cache_init(t, cache_size);
    if (r == 0 && (r = be->init(t, fe)) == -ENOTSUP)
        log_error("the translator's %s back end needs a host with AVX2 and BMI2", be->name);
    if (r == 0 && interp)
        r = interp_init(be->run_native);
    if (r < 0) {
        tcg_free(t);
        return NULL;
    }
    tcg_cache_start(t);
    return t;
}

void tcg_free(struct tcg *t)
{
    if (t->rw)
        munmap(t->rw, t->cache_size);
    if (t->rx)
        munmap(t->rx, t->cache_size);
    free(t->ir->natives);
    free(t->ir->code);
    free(t->ir);
    munmap(t, sizeof *t);
}

struct tcg_env *tcg_env_new(struct tcg *t, struct vcpu *v)
{
    size_t top = (TCG_CPU_OFFSET + t->fe->cpu_size + PAGE_SIZE - 1) & PAGE_MASK, size = STACK_SIZE + top;
    uint8_t *base = xmap(size);
    if (!base)
        return NULL;
    mprotect(base, GUARD_SIZE, PROT_NONE);
    madvise(base + STACK_SIZE, size - STACK_SIZE, MADV_HUGEPAGE);      /* a wish */
    struct tcg_env *env = (struct tcg_env *)(base + STACK_SIZE);
    env->stack_base = base;
    env->stack_size = size;
    env->tcg = t;
    env->fe = t->fe;
    env->vcpu = v;
    v->poll_word = &env->poll;
    t->envs[t->n_envs++] = env;
    return env;
}

void tcg_env_free(struct tcg_env *env)
{
    struct tcg *t = env->tcg;
    for (unsigned i = 0; i < t->n_envs; i++)
        if (t->envs[i] == env)
            t->envs[i] = t->envs[--t->n_envs];
    munmap(env->stack_base, env->stack_size);
}

/* Called before bytes of code change (softmmu), on any thread. The block that this thread's vCPU is running must not go on with stale code: it
   restarts at the storing instruction, alone and uncached, and goes on from there. (A device's DMA, from within its callback, is no store of the
   instruction's: what is left of the block may run as it was.) */
static void code_written(void *opaque, gpa_t gpa, unsigned len)
{
    struct tcg *t = opaque;
    struct tcg_env *env = tcg_running;
    struct tb *cur = NULL;
    if (env && env->tcg == t && !env->one_insn && !as_in_device()) {
        if (t->interp && env->interp_tb)
            cur = env->interp_tb;
        else if (env->in_code)
            cur = tcg_tb_by_code(t, (void *)env->ret_pc);
    }
    tcg_lock(t);
    bool was = cur && cur->valid;
    tcg_invalidate_range(t, gpa, len, !env || as_in_device() ? CNT_drop_dma : len == PAGE_SIZE ? CNT_drop_beside : CNT_drop_written);
    bool is = cur && cur->valid;
    tcg_unlock(t);
    if (was && !is)
        tcg_unwind(env, TCG_UNWIND_ONE_INSN);
}

struct mmu *tcg_peer_mmu(const struct tcg_env *env)
{
    const struct tcg *t = env->tcg;
    return t->n_envs && t->envs[0] != env ? t->envs[0]->mmu : NULL;
}

void tcg_watch_code(struct tcg_env *env)
{
    mmu_on_code_write(env->mmu, code_written, env->tcg);
    mmu_set_regions(env->mmu, env->region, TCG_REGIONS, &env->regions_live);
    mmu_set_poll(env->mmu, &env->poll);
}

int tcg_sampler_start(struct tcg_env *env)
{
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF, .sigev_value.sival_ptr = env};
    struct itimerspec every = {{0, 1000000}, {0, 1000000}};
    timer_t timer;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPROF);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    ev._sigev_un._tid = env->tid = gettid();
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &timer) < 0 || timer_settime(timer, 0, &every, NULL) < 0)
        return -errno;
    return tcg_profile_thread(env);
}

/* The CPU state was changed from outside. */
void tcg_state_changed(struct tcg_env *env)
{
    env->need_deliver = true;
    env->salt_gens = ~0ull;
    mmu_set_root(env->mmu);
    mmu_set_mode(env->mmu);
}

int tcg_set_interp(struct tcg_env *env, bool interp)
{
    struct tcg *t = env->tcg;
    int r = interp ? interp_init(t->be->run_native) : 0;
    if (r < 0)
        return r;
    mmu_flush_all(env->mmu);
    t->interp = interp;
    tcg_cache_flush(t);
    return 0;
}
