/*
 * Guest debugging in the kernel's hands: single steps, and up to four addresses at which the guest stops before it executes them.
 *
 * In: the vCPU stands still or the calling thread is its own. A step is one instruction with the accesses to devices that belong to it; interrupts
 * are held off where the kernel can do that. Invariant: the guest's own debug registers are untouched, the kernel loads others while it runs.
 * Linux api.rst: KVM_SET_GUEST_DEBUG; SDM vol. 3 ch. 18.2.
 */
#define _GNU_SOURCE
#include "core/vm.h"
#include "kvm/internal.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define BREAKPOINTS 4
#define DR7_EXACT 0x700u                          /* GE, LE and the bit that is always 1 */

static struct { uint64_t addr[BREAKPOINTS]; unsigned n; } points;
static void (*on_break)(void *opaque, struct vcpu *v);
static void *break_opaque;
static volatile sig_atomic_t late;

/* What the kernel is to watch for this vCPU. */
static int set_debug(struct kvm_cpu *k, bool step)
{
    bool hold = kvm_try(kvm_host.dev, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ;
    struct kvm_guest_debug d = { .arch.debugreg[7] = DR7_EXACT };

    if (step)
        d.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | (hold ? KVM_GUESTDBG_BLOCKIRQ : 0);
    if (points.n)
        d.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    for (unsigned i = 0; i < points.n; i++) {
        d.arch.debugreg[i] = points.addr[i];
        d.arch.debugreg[7] |= 2u << (2 * i);      /* global, on execution, one byte */
    }
    return kvm_do(k->fd, "KVM_SET_GUEST_DEBUG", KVM_SET_GUEST_DEBUG, &d);
}

int kvm_breakpoints(struct vcpu *v, const uint64_t *addr, unsigned n, void (*hit)(void *, struct vcpu *), void *opaque)
{
    if (n > BREAKPOINTS)
        return -ENOSPC;
    for (unsigned i = 0; i < n; i++)
        points.addr[i] = addr[i];
    points.n = n;
    on_break = hit;
    break_opaque = opaque;
    return set_debug(v->engine_data, false);
}

/* The last exit was the instruction's own, for a device. Where the kernel emulates instructions it forgets the trap after such a one: pc tells. */
static int finish(struct kvm_cpu *k)
{
    struct kvm_regs now;
    int ret = kvm_run_once(k, true);

    if (ret < 0 || k->stepped)
        return ret;
    ret = kvm_do(k->fd, "KVM_GET_REGS", KVM_GET_REGS, &now);
    k->stepped = ret >= 0 && now.rip != k->cpu.rip;
    return ret;
}

/* One entry after another until a debug exit has come, each with what its exit leaves to be done. SINGLE: an
   instruction that is over without one counts too. */
static int until_stepped(struct kvm_cpu *k, bool single)
{
    int ret = 0;

    k->stepped = false;
    while (ret >= 0 && !k->stepped && !late) {
        ret = kvm_run_once(k, false);
        if (ret >= 0 && !k->stepped && single)
            ret = finish(k);
    }
    return ret < 0 ? ret : k->stepped ? 0 : -ETIMEDOUT;
}

static int get(struct kvm_cpu *k, bool msrs) { return msrs ? kvm_state_get(k) : kvm_registers_get(k); }

int kvm_step(struct vcpu *v, bool msrs)
{
    struct kvm_cpu *k = v->engine_data;
    int ret = kvm_begin(k);

    if (ret < 0 || (ret = set_debug(k, true)) < 0)
        return ret;
    late = 0;
    ret = until_stepped(k, true);
    int off = set_debug(k, false);
    return ret < 0 ? ret : off < 0 ? off : get(k, msrs);
}

/* ---- to an address, by a breakpoint there ---- */

static void on_late(int sig) { late = 1; }

/* A guest that does not come by is stopped: by a signal, and by its being repeated when the first came before the vCPU went in. */
static int set_limit(timer_t *timer, unsigned ms)
{
    struct sigaction a = { .sa_handler = on_late };
    struct sigevent e = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 3, ._sigev_un._tid = gettid() };
    struct itimerspec t = { { 0, 20000000 }, { ms / 1000, (long)(ms % 1000) * 1000000 } };
    sigset_t set;

    late = 0;
    sigaction(SIGRTMIN + 3, &a, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 3);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return timer_create(CLOCK_MONOTONIC, &e, timer) < 0 || timer_settime(*timer, 0, &t, NULL) < 0 ? -errno : 0;
}

int kvm_run_to(struct vcpu *v, uint64_t addr, unsigned ms, bool msrs)
{
    struct kvm_cpu *k = v->engine_data;
    int ret = k->push ? kvm_state_put(k) : 0;
    timer_t timer;

    if (ret < 0 || (ret = set_limit(&timer, ms)) < 0)
        return ret;
    points.addr[0] = addr;
    points.n = 1;
    if ((ret = set_debug(k, false)) >= 0)
        ret = until_stepped(k, false);
    timer_delete(timer);
    points.n = 0;
    int off = set_debug(k, false), got = get(k, msrs);
    return ret < 0 ? ret : off < 0 ? off : got;
}

int kvm_interrupt(struct vcpu *v, int vector)
{
    struct kvm_cpu *k = v->engine_data;
    struct kvm_interrupt i = { .irq = (uint32_t)vector };
    int ret = k->push ? kvm_state_put(k) : 0;

    v->halted = false;
    return ret < 0 ? ret : kvm_do(k->fd, "KVM_INTERRUPT", KVM_INTERRUPT, &i);
}

int kvm_debug_exit(struct kvm_cpu *k)
{
    k->stepped = true;
    if (!(k->run->debug.arch.dr6 & 0x4000) && on_break)      /* not BS: a breakpoint */
        on_break(break_opaque, k->vcpu);
    return 0;
}
