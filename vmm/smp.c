/*
 * Several CPUs (vmm/smp.h): -smp in QEMU's words, and one thread for each.
 *
 * A vCPU that comes out of its engine makes all others come out: VCPU_EXIT is set for all by whoever wants something, and here by one that stops for a
 * reason of its own. The last to arrive does the work; the others sleep on the number of the round.
 */
#include "vmm/smp.h"
#include "core/log.h"
#include "vmm/cpu_models.h"
#include "vmm/words.h"
#include "x86/cpuid.h"
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOST 32u

int smp_take(struct options *o, const char *opt, char *arg)
{
    static const char *const keys[] = { "cpus", "maxcpus", "sockets", "dies", "cores", "threads", NULL };
    struct words w;
    unsigned max = 0, dies = 1;
    unsigned *const to[] = { &o->cpus, &max, &o->sockets, &dies, &o->cores, &o->threads };
    bool named = strchr(arg, '=') && (!strchr(arg, ',') || strchr(arg, '=') < strchr(arg, ','));

    if (named ? words_split_keys(&w, arg, opt) : words_split(&w, arg, opt))
        return -EINVAL;
    if (!named && words_number("-smp", w.head, 1, MOST, &o->cpus))
        return -EINVAL;
    for (unsigned i = 0; i < w.n; i++) {
        unsigned k = 0;
        while (keys[k] && strcmp(keys[k], w.key[i]))
            k++;
        if (!keys[k])
            return words_unknown(opt, w.key[i], keys);
        if (words_number(w.key[i], w.val[i], 1, MOST, to[k]))
            return -EINVAL;
    }
    if (dies != 1) {
        log_error("-smp: dies=%u: a socket has one die here", dies);
        return -EINVAL;
    }
    if (max && o->cpus && max != o->cpus) {
        log_error("-smp: maxcpus=%u: CPUs cannot be added later (valid: %u)", max, o->cpus);
        return -EINVAL;
    }
    o->cpus = o->cpus ? o->cpus : max;
    return 0;
}

static bool power_of_two(unsigned n) { return !(n & (n - 1)); }

int smp_complete(struct vm *vm, const struct options *o)
{
    struct vm_topology t = { o->sockets ? o->sockets : 1, o->cores, o->threads ? o->threads : 1 };
    unsigned cpus = o->cpus ? o->cpus : t.sockets * (t.cores ? t.cores : 1) * t.threads;

    if (!t.cores)
        t.cores = MAX(cpus / (t.sockets * t.threads), 1u);
    if (!o->sockets)
        t.sockets = MAX(cpus / (t.cores * t.threads), 1u);
    if (t.sockets * t.cores * t.threads != cpus || cpus > MOST) {
        log_error("-smp: %u sockets of %u cores of %u threads are not %u CPUs (at most %u)", t.sockets, t.cores, t.threads, cpus, MOST);
        return -EINVAL;
    }
    if (!power_of_two(t.threads) || (t.sockets > 1 && !power_of_two(t.cores))) {
        log_error("-smp: %u cores of %u threads: numbers that are no powers of two leave holes in the APIC ids, which this machine does not have",
                  t.cores, t.threads);
        return -EINVAL;
    }
    if (cpus > 1 && o->lockstep) {
        log_error("-smp: -lockstep needs a machine of one CPU");
        return -EINVAL;
    }
    if (cpus > 1 && cpu_has(o, FEAT_svm)) {
        log_error("-smp: +svm needs a machine of one CPU");
        return -EINVAL;
    }
    vm->topology = t;
    return (int)cpus;
}

/* ---- the threads ---- */

static struct {
    struct vm *vm;
    bool (*handle)(void *, enum run_result);
    void (*begin)(void *, struct vcpu *);
    void *opaque;
    uint32_t round;                    /* futex */
    int arrived;                       /* machine lock */
    enum run_result worst;
    bool on;
} cpus;

static void next_round(void)
{
    cpus.arrived = 0;
    cpus.worst = RUN_STOPPED;
    __atomic_add_fetch(&cpus.round, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &cpus.round, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* All have come out when the last one has. True: go on running. */
static bool rendezvous(enum run_result result)
{
    machine_lock();
    uint32_t round = cpus.round;
    bool last = ++cpus.arrived == cpus.vm->n_vcpus;
    if (result == RUN_ERROR)
        cpus.worst = RUN_ERROR;
    if (!last)
        vm_stop_vcpus(cpus.vm);
    enum run_result worst = cpus.worst;
    machine_unlock();
    if (last) {
        cpus.on = cpus.handle(cpus.opaque, worst);
        next_round();
    } else {
        while (__atomic_load_n(&cpus.round, __ATOMIC_SEQ_CST) == round)
            syscall(SYS_futex, &cpus.round, FUTEX_WAIT_PRIVATE, round, NULL, NULL, 0);
    }
    return cpus.on;
}

static void *vcpu_main(void *opaque)
{
    struct vcpu *v = opaque;
    sigset_t all;

    sigfillset(&all);
    for (const int *s = (const int[]){ SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, 0 }; *s; s++)
        sigdelset(&all, *s);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    cpus.begin(cpus.opaque, v);
    while (rendezvous(v->engine->vcpu_run(v)))
        ;
    return NULL;
}

int smp_run(struct vm *vm, bool (*handle)(void *, enum run_result), void (*begin)(void *, struct vcpu *), void *opaque)
{
    cpus.vm = vm;
    cpus.handle = handle;
    cpus.begin = begin;
    cpus.opaque = opaque;
    for (int i = 0; i < vm->n_vcpus; i++) {
        int ret = pthread_create(&vm->vcpus[i]->thread, NULL, vcpu_main, vm->vcpus[i]);
        if (ret) {
            log_error("cannot start a thread for CPU %d: %s", i, strerror(ret));
            return -ret;
        }
    }
    return 0;
}

void smp_join(struct vm *vm)
{
    for (int i = 0; i < vm->n_vcpus; i++)
        pthread_join(vm->vcpus[i]->thread, NULL);
}
