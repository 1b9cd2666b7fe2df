/* The engines tcg and interp: connects the x86 frontend, the softmmu and this host's back end behind core/engine.h. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include "core/log.h"
#include "core/vm.h"
#include "frontend-x86/frontend.h"
#include "frontend-x86/mmu_x86.h"
#include "tcg/tcg.h"
#include "vmm/engines.h"
#include "x86/cpuid.h"

#define CODE_CACHE_SIZE (256u << 20)

static struct x86_cpuid model;
static struct tcg_stress stress;
static struct tcg *the_tcg;                        /* one machine a process */

void engine_tcg_stress(const struct tcg_stress *s) { stress = *s; }

int engine_tcg_init(struct vm *vm, bool interp)
{
    if (x86_cpuid_model(&model, vm->cpu_spec) < 0)
        return -EINVAL;
    model.cores = vm->topology.cores;
    model.threads = vm->topology.threads;
    the_tcg = tcg_new(&x86_frontend, &x64_backend, vm->mem, stress.cache_kib ? stress.cache_kib << 10 : CODE_CACHE_SIZE, interp);
    if (!the_tcg)
        return -ENOMEM;
    the_tcg->max_insns = stress.one_insn ? 1 : the_tcg->max_insns;
    the_tcg->check_moves = stress.check_moves;
    the_tcg->random = stress.seed * 0x9e3779b97f4a7c15ull;
    return 0;
}

struct tcg *engine_tcg_last(void) { return the_tcg; }

static int tcg_engine_init(struct vm *vm) { return engine_tcg_init(vm, false); }
static int interp_engine_init(struct vm *vm) { return engine_tcg_init(vm, true); }

int engine_tcg_vcpu(struct tcg *tcg, struct vcpu *v)
{
    struct tcg_env *env = tcg_env_new(tcg, v);
    if (!env)
        return -ENOMEM;
    struct x86_cpu *cpu = tcg_cpu(env);
    v->cpu = cpu;
    v->engine_data = env;
    cpu->vcpu = v;
    cpu->cpuid = &model;
    cpu->flags_word = &env->flags;
    env->mmu = mmu_new(cpu, &x86_mmu_ops, v->vm->mem, tcg_peer_mmu(env), &env->tlb, env->code_gen);
    if (!env->mmu)
        return -ENOMEM;
    mmu_set_tiny(env->mmu, stress.tlb);
    tcg_watch_code(env);
    x86_reset(cpu);
    tcg_state_changed(env);
    return 0;
}

static int vcpu_init(struct vcpu *v) { return engine_tcg_vcpu(the_tcg, v); }

static void vcpu_reset(struct vcpu *v)
{
    x86_reset(v->cpu);
    tcg_state_changed(v->engine_data);
}

static enum run_result vcpu_run(struct vcpu *v)
{
    static __thread bool sampled;
    if (!sampled && !the_tcg->interp && tcg_sampler_start(v->engine_data) < 0)
        log_warn("no sampling clock: hot code stays as first translated");
    sampled = true;
    tcg_run(v->engine_data);
    return RUN_STOPPED;
}

/* The translator's clock is of no use to others. */
static void let_sampler(bool on)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPROF);
    pthread_sigmask(on ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

int engine_tcg_take_over(struct vcpu *v, const struct engine *e)
{
    bool mine = e == &tcg_engine || e == &interp_engine;
    int ret = mine ? tcg_set_interp(v->engine_data, e == &interp_engine) : 0;

    if (!ret)
        let_sampler(e == &tcg_engine);
    return ret;
}

static void vcpu_state_changed(struct vcpu *v) { tcg_state_changed(v->engine_data); }

static void vcpu_free(struct vcpu *v)
{
    struct tcg_env *env = v->engine_data;
    v->poll_word = NULL;
    mmu_free(env->mmu);
    tcg_env_free(env);
}

void engine_tcg_say_counts(void)
{
    uint64_t guest = 0, host = 0;
    for (const struct tb_count *n = the_tcg ? the_tcg->counts : NULL; n; n = n->next) {
        guest += n->host ? n->runs * n->guest : 0;               /* else counted for its runs only (tcg->counting) */
        host += n->runs * n->host;
    }
    log_printf("count: guest instructions %llu host instructions %llu ratio %.3f (without slow paths and helpers)\n", (unsigned long long)guest,
               (unsigned long long)host, guest ? (double)host / (double)guest : 0.0);
}

void engine_tcg_counters(void (*add)(union counters *, const union counters *), union counters *sum)
{
    if (!the_tcg)
        return;
    add(sum, &the_tcg->n);
    for (unsigned i = 0; i < the_tcg->n_envs; i++)
        add(sum, mmu_counters(the_tcg->envs[i]->mmu));
    if (the_tcg->n_envs)
        add(sum, mmu_shared_counters(the_tcg->envs[0]->mmu));
}

void engine_tcg_count(bool on)
{
    the_tcg->counting = on;
    tcg_cache_flush(the_tcg);
}

uint64_t engine_tcg_guest_insns(void)
{
    uint64_t sum = 0;
    for (const struct tb_count *n = the_tcg ? __atomic_load_n(&the_tcg->counts, __ATOMIC_ACQUIRE) : NULL; n; n = n->next)
        sum += __atomic_load_n(&n->runs, __ATOMIC_RELAXED) * n->guest;
    return sum;
}

size_t engine_tcg_cache_used(void) { return the_tcg ? tcg_cache_used(the_tcg) : 0; }

const struct engine tcg_engine = {
    .name = "tcg", .init = tcg_engine_init, .vcpu_init = vcpu_init, .vcpu_reset = vcpu_reset, .vcpu_run = vcpu_run,
    .vcpu_state_changed = vcpu_state_changed, .vcpu_free = vcpu_free };
const struct engine interp_engine = {
    .name = "interp", .init = interp_engine_init, .vcpu_init = vcpu_init, .vcpu_reset = vcpu_reset, .vcpu_run = vcpu_run,
    .vcpu_state_changed = vcpu_state_changed, .vcpu_free = vcpu_free };
