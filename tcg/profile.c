/*
 * Taking samples (tcg/profile.h). The handler runs on the vCPU's thread at any instruction, so it takes no lock, calls nothing but
 * clock_gettime, and owns the tables it writes. The period is no divisor of the guest's usual ticks, which come by the same clock.
 */
#define _GNU_SOURCE
#include "tcg/profile.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define PERIOD_NS 1009000
#define TRIES 16
#define SHOWN 8                               /* samples of a block that may be shown: its IR is wanted */

const char *const tcg_where_name[N_WHERES] = {
#define WHERE(name, what) #name,
#include "tcg/where.def"
#undef WHERE
};
const char *const tcg_where_what[N_WHERES] = {
#define WHERE(name, what) what,
#include "tcg/where.def"
#undef WHERE
};

static int arm(struct tcg_env *env)
{
    struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF, .sigev_value.sival_ptr = (char *)env + TCG_SAMPLE_PROFILE };
    struct itimerspec every = { { 0, PERIOD_NS }, { 0, PERIOD_NS } };
    struct tcg_profile *p = env->profile;
    timer_t timer;

    if (!env->tid || p->armed)
        return 0;
    ev._sigev_un._tid = env->tid;
    if (timer_create(CLOCK_MONOTONIC, &ev, &timer) < 0)
        return -errno;
    p->timer = timer;
    p->armed = true;
    return timer_settime(timer, 0, &every, NULL) < 0 ? -errno : 0;
}

static void disarm(struct tcg_env *env)
{
    struct tcg_profile *p = env->profile;
    if (p && p->armed)
        timer_delete(p->timer);
    if (p)
        p->armed = false;
}

static int begin(struct tcg_env *env)
{
    struct tcg_profile *p = env->profile;
    if (!p && !(p = xmap(sizeof *p)))
        return -ENOMEM;
    p->first_ns = p->last_ns = p->samples = p->lost = 0;
    memset(p->place, 0, sizeof p->place);
    memset(p->helper, 0, sizeof p->helper);
    memset(p->slot, 0, sizeof p->slot);
    __atomic_store_n(&env->profile, p, __ATOMIC_RELEASE);
    return arm(env);
}

int tcg_profile_start(struct tcg *t)
{
    int r = 0;
    tcg_profile_stop(t);
    for (unsigned i = 0; i < t->n_envs && r == 0; i++)
        r = begin(t->envs[i]);
    t->profiling = r == 0;
    if (r < 0)
        tcg_profile_stop(t);
    return r;
}

void tcg_profile_stop(struct tcg *t)
{
    t->profiling = false;
    for (unsigned i = 0; i < t->n_envs; i++)
        disarm(t->envs[i]);
}

int tcg_profile_thread(struct tcg_env *env) { return env->tcg->profiling ? arm(env) : 0; }

/* Nobody knows better: C code that the vCPU's thread has reached from where WHERE says. */
static enum tcg_where inner(const struct tcg_env *env, enum tcg_where where)
{
    if (as_in_device())
        return WHERE_device;
    if (mmu_is_walking())
        return WHERE_walk;
    if (env->translating)
        return WHERE_translate;
    return env->delivering ? WHERE_deliver : where;
}

static struct profile_slot *slot(struct tcg_profile *p, uint64_t at, uint32_t flush, enum tcg_where place)
{
    uint64_t h = (at ^ (uint64_t)place << 56 ^ (uint64_t)flush << 40) * 0x9e3779b97f4a7c15ull;
    for (unsigned i = 0; i < TRIES; i++) {
        struct profile_slot *s = &p->slot[((h >> 40) + i) % PROFILE_SLOTS];
        if (!s->at)
            *s = (struct profile_slot){ .flush = flush, .place = (uint8_t)place };
        else if (s->at != at || s->flush != flush || s->place != place)
            continue;
        return s;
    }
    p->lost++;
    return NULL;
}

static void add(struct profile_slot *s, uint64_t at)
{
    if (!s)
        return;
    s->samples++;
    __atomic_store_n(&s->at, at, __ATOMIC_RELEASE);
}

/* The block makes room for one that is the same, but keeps its IR. */
static void want_ir(struct tcg_env *env, struct tb *tb)
{
    if (tb->made || !tb->valid || env->cold_tb)
        return;
    tcg_learn(env->tcg, LEARNED_KEEP_IR, tb->key.pc);
    env->cold_tb = tb;
    __atomic_store_n(&env->poll, 1, __ATOMIC_RELEASE);
}

/* Time in a block, or in what was called at SITE in it. Its place says how the block was made. */
static enum tcg_where add_block(struct tcg_env *env, const struct tcg_sample *s, enum tcg_where place)
{
    struct tb *tb = tcg_tb_by_code(env->tcg, (void *)s->site);
    if (!tb || !tb->n_points)
        return place;
    if (place == WHERE_code)
        place = tb->tight && s->site - (uint64_t)tb->code >= tb->tight ? WHERE_tight : tb->hot ? WHERE_hot : WHERE_code;
    struct profile_slot *b = slot(env->profile, s->site, env->tcg->flush_count, place);
    if (b && !b->at) {
        b->in_block = true;
        b->key = tb->key;
        b->phys = tb->phys[0];
        b->guest = tcg_guest_pc_at(tb, s->site) + tb->key.cs_base;
    }
    add(b, s->site);
    if (b && b->samples >= SHOWN)
        want_ir(env, tb);
    return place;
}

static void add_helper(struct tcg_env *env, const void *fn)
{
    unsigned i = 0;
    while (i < MIN(env->fe->n_helpers, PROFILE_HELPERS - 1u) && env->fe->helpers[i].fn != fn)
        i++;
    env->profile->helper[i < env->fe->n_helpers ? i : PROFILE_HELPERS - 1]++;
}

/* Has the thread run since the last signal? Else it was asleep, waited for a lock, or the host ran others. */
static bool has_run(struct tcg_env *env)
{
    struct tcg_profile *p = env->profile;
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    uint64_t now = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec, last = p->last_ns;

    p->last_ns = now;
    if (!last)
        p->first_ns = now;
    return last && now - last >= PERIOD_NS / 16 && !env->vcpu->asleep_since;
}

void tcg_profile_sample(struct tcg_env *env, const struct tcg_sample *s)
{
    struct tcg_profile *p = env->profile;
    if (!has_run(env))
        return;
    enum tcg_where place = s->place == WHERE_code ? WHERE_code : inner(env, s->place);
    if (s->site)
        place = add_block(env, s, place);
    if (s->site != s->pc)
        add(slot(p, s->pc, UINT32_MAX, place), s->pc);
    if (s->helper)
        add_helper(env, s->helper);
    p->samples++;
    p->place[place]++;
}
