/*
 * Several vCPUs in one code cache: who may translate, and stopping the others.
 *
 * A vCPU's thread is inside (env->inside) from the top of its run loop until it comes there again, but not while it sleeps or waits for a lock of
 * this file. What must happen alone (emptying the cache, an access that cannot be atomic otherwise) stops the others: it says so,
 * pokes them, and waits until all are outside. Order: alone (exclusive_lock) before translating; nobody waits for either while inside.
 * Ordinary C: the guest's FPU state has been saved.
 */
#include <pthread.h>
#include <sched.h>
#include "tcg/tcg.h"

static pthread_mutex_t alone = PTHREAD_MUTEX_INITIALIZER, translating = PTHREAD_MUTEX_INITIALIZER;

/* Until nobody is alone. */
static void wait_turn(void)
{
    pthread_mutex_lock(&alone);
    pthread_mutex_unlock(&alone);
}

void tcg_go_inside(struct tcg_env *env)
{
    while (!tcg_try_inside(env))
        wait_turn();
}

void tcg_stop_others(struct tcg_env *env)
{
    struct tcg *t = env->tcg;
    tcg_go_outside(env);
    pthread_mutex_lock(&alone);
    __atomic_store_n(&t->exclusive, true, __ATOMIC_SEQ_CST);
    env->alone = true;
    for (unsigned i = 0; i < t->n_envs; i++) {
        struct tcg_env *o = t->envs[i];
        while (o != env && __atomic_load_n(&o->inside, __ATOMIC_SEQ_CST)) {
            __atomic_store_n(&o->poll, 1, __ATOMIC_SEQ_CST);
            sched_yield();
        }
    }
}

void tcg_let_others(struct tcg_env *env)
{
    env->alone = false;
    __atomic_store_n(&env->tcg->exclusive, false, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&alone);
    tcg_go_inside(env);
}

void tcg_translation_begin(struct tcg_env *env)
{
    struct tcg *t = env->tcg;
    uint64_t since = 0;
    if (env->alone) {
        pthread_mutex_lock(&translating);          /* free: its holder would be inside */
        env->translating = true;
        return;
    }
    for (;;) {
        tcg_go_outside(env);
        if (pthread_mutex_trylock(&translating)) {
            since = since ? since : host_ticks();
            pthread_mutex_lock(&translating);
        }
        if (tcg_try_inside(env))
            break;
        pthread_mutex_unlock(&translating);
        wait_turn();
    }
    t->n.translation_waits += since != 0;
    t->n.translation_wait_time += since ? host_ticks() - since : 0;
    env->translating = true;
}

void tcg_translation_end(struct tcg_env *env)
{
    env->translating = false;
    pthread_mutex_unlock(&translating);
}
