/*
 * Performance counters: architectural version 2 with 4 counters of 48 bits and none of the fixed ones, offered when asked for (+pmu). They count
 * cycles, which are those of the time stamp counter while the processor does not halt; instructions would cost translated code, so CPUID says that
 * they cannot be counted, and a counter with any other event stands still.
 *
 * Nothing runs along: a counter is brought up to date when somebody looks, when the processor halts, when its privilege changes and a counter
 * counts at one level only, and when a timer says that one may have overflowed. In: MSRs, RDPMC, x86_pmu_mode. Out: VCPU_PMI from the timer's
 * thread; the overflow's interrupt by vcpu->intc. The vCPU's thread owns the state. SDM vol. 3 ch. 20.2.
 */
#pragma GCC target("general-regs-only")
#include "core/alloc.h"
#include "core/aspace.h"
#include "core/clock.h"
#include "core/vm.h"
#include "x86/cpuid.h"

#define WIDTH_MASK (BIT(X86_PMU_WIDTH) - 1)
#define CYCLES 0x003cu                        /* event and unit: core cycles, and reference cycles with unit 1 */
enum { SEL_USER = 1 << 16, SEL_OS = 1 << 17, SEL_EDGE = 1 << 18, SEL_INT = 1 << 20, SEL_EN = 1 << 22, SEL_INV = 1 << 23, SEL_KNOWN = 0xffdfffff };
#define SEL_CMASK 0xff000000u
#define DEBUGCTL_FREEZE BIT(12)
enum { MSR_PMC = 0xc1, MSR_SEL = 0x186, MSR_FIXED_CTRL = 0x38d, MSR_STATUS = 0x38e, MSR_CTRL = 0x38f, MSR_OVF = 0x390 };

/* Does counter N count at this level? */
static bool counts(const struct x86_pmu *p, unsigned n, bool user)
{
    uint64_t s = p->sel[n];
    return (p->ctrl >> n & 1) && (s & SEL_EN) && (s & (user ? SEL_USER : SEL_OS)) && (s & 0xfeff) == CYCLES && !(s & (SEL_EDGE | SEL_INV | SEL_CMASK));
}

static void interrupt(struct x86_cpu *c)
{
    const struct vcpu_intc *ic = &c->vcpu->intc;
    if (c->debugctl & DEBUGCTL_FREEZE)
        c->pmu.ctrl = 0;
    c->pmu.interrupt = false;
    if (ic->pmi)
        ic->pmi(ic->opaque);
}

/* Counters as of now. Overflows that want an interrupt are left in pmu.interrupt: the caller may be no place for one. */
static void bring_up(struct x86_cpu *c)
{
    struct x86_pmu *p = &c->pmu;
    uint64_t now = x86_host_tsc(), d = p->halted ? 0 : now - p->since;
    p->since = now;
    for (unsigned n = 0; n < X86_PMU_COUNTERS; n++) {
        if (!counts(p, n, p->user))
            continue;
        uint64_t v = (p->pmc[n] + d) & WIDTH_MASK;
        if (v < p->pmc[n]) {
            p->status |= BIT(n);
            p->interrupt |= (p->sel[n] & SEL_INT) != 0;
        }
        p->pmc[n] = v;
    }
    p->user = c->cpl == 3;
}

/* An interrupt that is owed is made at the next boundary (x86_pmu_event). The vCPU's own thread, which may own no FPU: no kick. */
static void owe(struct x86_cpu *c)
{
    if (!c->pmu.interrupt || !c->vcpu)
        return;
    __atomic_fetch_or(&c->vcpu->pending, VCPU_PMI, __ATOMIC_SEQ_CST);
    if (c->vcpu->poll_word)
        __atomic_store_n(c->vcpu->poll_word, 1, __ATOMIC_RELEASE);
}

static void fire(void *opaque) { vcpu_set_pending(opaque, VCPU_PMI); }

/* The timer to when the first counter that wants to tell can have overflowed, at the soonest; and what changes of privilege have to do. */
static void rearm(struct x86_cpu *c)
{
    struct x86_pmu *p = &c->pmu;
    uint64_t left = UINT64_MAX;
    p->filter = false;
    for (unsigned n = 0; n < X86_PMU_COUNTERS; n++) {
        bool user = counts(p, n, true), os = counts(p, n, false);
        p->filter |= user != os;
        if ((user || os) && (p->sel[n] & SEL_INT))
            left = MIN(left, WIDTH_MASK + 1 - p->pmc[n]);
    }
    if (!c->vcpu || (!p->timer && left == UINT64_MAX))
        return;
    machine_lock();
    if (!p->timer) {
        p->timer = xzalloc(sizeof(*p->timer));
        timer_init(p->timer, c->vcpu->vm->clock, fire, c->vcpu);
    }
    if (left == UINT64_MAX || p->halted)
        timer_del(p->timer);
    else
        timer_set(p->timer, clock_ns(c->vcpu->vm->clock) + (int64_t)muldiv64(left, NS_PER_SEC, x86_tsc_hz()) + 1);
    machine_unlock();
}

void x86_pmu_mode(struct x86_cpu *c)
{
    if (c->pmu.user == (c->cpl == 3))
        return;
    bring_up(c);
    owe(c);
}

void x86_pmu_halt(struct x86_cpu *c, bool halt)
{
    if (c->pmu.halted == halt || (halt && !c->pmu.ctrl))
        return;
    bring_up(c);
    c->pmu.halted = halt;
    rearm(c);
}

void x86_pmu_event(struct x86_cpu *c)
{
    vcpu_clear_pending(c->vcpu, VCPU_PMI);
    bring_up(c);
    if (c->pmu.interrupt)
        interrupt(c);
    rearm(c);
}

void x86_pmu_reset(struct x86_cpu *c)
{
    struct timer *t = c->pmu.timer;
    c->pmu = (struct x86_pmu){ .timer = t };
    if (t)
        rearm(c);
}

int x86_rdpmc(struct x86_cpu *c, uint32_t n, uint64_t *v)
{
    if (!x86_has(c->cpuid, FEAT_pmu) || n >= X86_PMU_COUNTERS)
        return -1;
    bring_up(c);
    *v = c->pmu.pmc[n];
    owe(c);
    return 0;
}

int x86_pmu_rdmsr(struct x86_cpu *c, uint32_t msr, uint64_t *v)
{
    struct x86_pmu *p = &c->pmu;
    bring_up(c);
    if (msr - MSR_PMC < X86_PMU_COUNTERS)
        *v = p->pmc[msr - MSR_PMC];
    else if (msr - MSR_SEL < X86_PMU_COUNTERS)
        *v = p->sel[msr - MSR_SEL];
    else
        *v = msr == MSR_CTRL ? p->ctrl : msr == MSR_STATUS ? p->status : 0;
    owe(c);
    return 0;
}

int x86_pmu_wrmsr(struct x86_cpu *c, uint32_t msr, uint64_t v)
{
    struct x86_pmu *p = &c->pmu;
    const uint64_t all = BIT(X86_PMU_COUNTERS) - 1;
    bring_up(c);
    if (msr - MSR_PMC < X86_PMU_COUNTERS) {
        p->pmc[msr - MSR_PMC] = (uint64_t)(int64_t)(int32_t)v & WIDTH_MASK;      /* bits 31..0, with their sign */
    } else if (msr - MSR_SEL < X86_PMU_COUNTERS) {
        if (v & ~(uint64_t)SEL_KNOWN)
            return -1;
        p->sel[msr - MSR_SEL] = v;
    } else if (msr == MSR_CTRL) {
        if (v & ~all)
            return -1;
        p->ctrl = v;
    } else if (msr == MSR_OVF) {                  /* and the two bits of debug stores and of their buffer, which do nothing here */
        if (v & ~(all | 3ull << 62))
            return -1;
        p->status &= ~v;
    } else if (v || msr == MSR_STATUS) {
        return -1;
    }
    owe(c);
    rearm(c);
    return 0;
}
