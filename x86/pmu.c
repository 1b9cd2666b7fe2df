/*
 * Performance counters: architectural version 2 with 4 general and 3 fixed counters of 48 bits, offered when asked for (+pmu). They count cycles,
 * which are those of the time stamp counter while the processor does not halt, and instructions; CPUID says that nothing else can be counted, and a
 * general counter with any other event stands still.
 *
 * Cycles do not run along: a counter is brought up to date when somebody looks, when the processor halts, when its privilege changes and a counter
 * counts at one level only, and when a timer says that one may have overflowed. Instructions are counted by the code of blocks with XM_COUNT, which
 * are made while pmu.count has the bit of the current level: a block adds to pmu.insns at each instruction the one before it, which is complete then,
 * and leaves the last one in pmu.open (taken back when the instruction is given up: fault, restart). So an instruction that reads a counter
 * is not in what it reads, one that writes counts for what it has written, and one that changes the privilege belongs to the level where it began.
 * insns is negative while no counter that wants to tell can have overflowed; the first instruction of a block looks at its sign.
 *
 * In: MSRs, RDPMC, x86_pmu_mode. Out: VCPU_PMI from the timer's thread or from blocks; the overflow's interrupt by vcpu->intc. The vCPU's thread
 * owns the state. SDM vol. 3 ch. 20.2.
 */
#pragma GCC target("general-regs-only")
#include "core/alloc.h"
#include "core/aspace.h"
#include "core/clock.h"
#include "core/vm.h"
#include "x86/cpuid.h"

#define WIDTH_MASK (BIT(X86_PMU_WIDTH) - 1)
#define COUNTERS (X86_PMU_COUNTERS + X86_PMU_FIXED)
#define ALL_BITS (BIT(X86_PMU_COUNTERS) - 1 + ((BIT(X86_PMU_FIXED) - 1) << 32))
#define CYCLES 0x003cu                        /* event and unit: core cycles, and reference cycles with unit 1 */
#define INSNS 0x00c0u                         /* instructions retired */
enum { SEL_USER = 1 << 16, SEL_OS = 1 << 17, SEL_EDGE = 1 << 18, SEL_INT = 1 << 20, SEL_EN = 1 << 22, SEL_INV = 1 << 23, SEL_KNOWN = 0xffdfffff };
#define SEL_CMASK 0xff000000u
enum { FIXED_OS = 1, FIXED_USER = 2, FIXED_INT = 8, FIXED_KNOWN = 0xbbb };
#define DEBUGCTL_FREEZE BIT(12)
enum { MSR_PMC = 0xc1, MSR_SEL = 0x186, MSR_FIXED = 0x309, MSR_FIXED_CTRL = 0x38d, MSR_STATUS = 0x38e, MSR_CTRL = 0x38f, MSR_OVF = 0x390 };

/* Counters by number: the general ones, then the fixed ones: instructions, core cycles, reference cycles. */
static uint64_t bit_of(unsigned n) { return n < X86_PMU_COUNTERS ? BIT(n) : BIT(32 + n - X86_PMU_COUNTERS); }
static unsigned fixed_ctrl(const struct x86_pmu *p, unsigned n) { return p->fixed_ctrl >> 4 * (n - X86_PMU_COUNTERS) & 15; }

static bool tells(const struct x86_pmu *p, unsigned n)
{
    return n < X86_PMU_COUNTERS ? (p->sel[n] & SEL_INT) != 0 : (fixed_ctrl(p, n) & FIXED_INT) != 0;
}

enum event { NOTHING, CYCLE, INSN };

/* What does counter N count at this level? */
static enum event counts(const struct x86_pmu *p, unsigned n, bool user)
{
    if (!(p->ctrl & bit_of(n)))
        return NOTHING;
    if (n >= X86_PMU_COUNTERS)
        return !(fixed_ctrl(p, n) & (user ? FIXED_USER : FIXED_OS)) ? NOTHING : n == X86_PMU_COUNTERS ? INSN : CYCLE;
    uint64_t s = p->sel[n];
    if (!(s & SEL_EN) || !(s & (user ? SEL_USER : SEL_OS)) || (s & (SEL_EDGE | SEL_INV | SEL_CMASK)))
        return NOTHING;
    return (s & 0xfeff) == CYCLES ? CYCLE : (s & 0xffff) == INSNS ? INSN : NOTHING;
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

static void add(struct x86_pmu *p, unsigned n, uint64_t d)
{
    uint64_t v = (p->pmc[n] + d) & WIDTH_MASK;
    if (v < p->pmc[n]) {
        p->status |= bit_of(n);
        p->interrupt |= tells(p, n);
    }
    p->pmc[n] = v;
}

/* So many instructions from now on the first counter that wants to tell overflows. */
static void aim(struct x86_pmu *p)
{
    uint64_t left = BIT(62);
    for (unsigned n = 0; n < COUNTERS; n++)
        if (counts(p, n, p->user) == INSN && tells(p, n))
            left = MIN(left, WIDTH_MASK + 1 - p->pmc[n]);
    p->insns = p->insns_seen = -left;
}

/* Counters as of now, without the instruction in pmu.open. Overflows that want an interrupt are left in pmu.interrupt: the caller may be no place
   for one. */
static void bring_up(struct x86_cpu *c)
{
    struct x86_pmu *p = &c->pmu;
    uint64_t now = x86_host_tsc(), d = p->halted ? 0 : now - p->since;
    p->since = now;
    for (unsigned n = 0; n < COUNTERS; n++) {
        enum event e = counts(p, n, p->user);
        if (e)
            add(p, n, e == CYCLE ? d : p->insns - p->insns_seen);
    }
    p->user = c->cpl == 3;
    aim(p);
}

/* ... and with it: between two instructions, or where its level ends. */
static void close_insn(struct x86_pmu *p)
{
    p->insns += p->open;
    p->open = 0;
}

/* x86_pmu_event at the next boundary. The vCPU's own thread, which may own no FPU: no kick. */
static void ask(struct x86_cpu *c)
{
    if (!c->vcpu)
        return;
    __atomic_fetch_or(&c->vcpu->pending, VCPU_PMI, __ATOMIC_SEQ_CST);
    if (c->vcpu->poll_word)
        __atomic_store_n(c->vcpu->poll_word, 1, __ATOMIC_RELEASE);
}

static void owe(struct x86_cpu *c)
{
    if (c->pmu.interrupt)
        ask(c);
}

static void fire(void *opaque) { vcpu_set_pending(opaque, VCPU_PMI); }

/* The timer to when the first counter that wants to tell can have overflowed, at the soonest; what changes of privilege have to do; and where
   instructions are counted. */
static void rearm(struct x86_cpu *c)
{
    struct x86_pmu *p = &c->pmu;
    uint64_t left = UINT64_MAX;
    p->filter = false;
    p->count = 0;
    for (unsigned n = 0; n < COUNTERS; n++) {
        enum event user = counts(p, n, true), os = counts(p, n, false);
        p->filter |= user != os;
        p->count |= (os == INSN) | (user == INSN) << 1;
        if ((user == CYCLE || os == CYCLE) && tells(p, n))
            left = MIN(left, WIDTH_MASK + 1 - p->pmc[n]);
    }
    aim(p);
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
    close_insn(&c->pmu);
    bring_up(c);
    owe(c);
}

void x86_pmu_retire(struct x86_cpu *c, bool user)
{
    bring_up(c);
    for (unsigned n = 0; n < COUNTERS; n++)
        if (counts(&c->pmu, n, user) == INSN)
            add(&c->pmu, n, 1);
    aim(&c->pmu);
    owe(c);
}

void x86_pmu_full(struct x86_cpu *c) { ask(c); }

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
    close_insn(&c->pmu);
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
    uint32_t fixed = n - BIT(30);
    if (!x86_has(c->cpuid, FEAT_pmu) || (n >= X86_PMU_COUNTERS && fixed >= X86_PMU_FIXED))
        return -1;
    bring_up(c);
    *v = c->pmu.pmc[n < X86_PMU_COUNTERS ? n : X86_PMU_COUNTERS + fixed];
    owe(c);
    return 0;
}

int x86_pmu_rdmsr(struct x86_cpu *c, uint32_t msr, uint64_t *v)
{
    struct x86_pmu *p = &c->pmu;
    bring_up(c);
    if (msr - MSR_PMC < X86_PMU_COUNTERS)
        *v = p->pmc[msr - MSR_PMC];
    else if (msr - MSR_FIXED < X86_PMU_FIXED)
        *v = p->pmc[X86_PMU_COUNTERS + msr - MSR_FIXED];
    else if (msr - MSR_SEL < X86_PMU_COUNTERS)
        *v = p->sel[msr - MSR_SEL];
    else
        *v = msr == MSR_CTRL ? p->ctrl : msr == MSR_STATUS ? p->status : msr == MSR_FIXED_CTRL ? p->fixed_ctrl : 0;
    owe(c);
    return 0;
}

/* -1: reserved bits */
static int write_reg(struct x86_pmu *p, uint32_t msr, uint64_t v)
{
    if (msr - MSR_PMC < X86_PMU_COUNTERS) {
        p->pmc[msr - MSR_PMC] = (uint64_t)(int64_t)(int32_t)v & WIDTH_MASK;      /* bits 31..0, with their sign */
        return 0;
    }
    uint64_t known = msr - MSR_FIXED < X86_PMU_FIXED ? WIDTH_MASK : msr - MSR_SEL < X86_PMU_COUNTERS ? SEL_KNOWN : msr == MSR_CTRL ? ALL_BITS :
        msr == MSR_FIXED_CTRL ? FIXED_KNOWN : msr == MSR_OVF ? ALL_BITS | 3ull << 62 : 0;   /* of the debug store and its buffer: nothing to clear */
    if ((v & ~known) || msr == MSR_STATUS)
        return -1;
    if (msr - MSR_FIXED < X86_PMU_FIXED)
        p->pmc[X86_PMU_COUNTERS + msr - MSR_FIXED] = v;
    else if (msr - MSR_SEL < X86_PMU_COUNTERS)
        p->sel[msr - MSR_SEL] = v;
    else if (msr == MSR_OVF)
        p->status &= ~v;
    else
        *(msr == MSR_CTRL ? &p->ctrl : &p->fixed_ctrl) = v;
    return 0;
}

int x86_pmu_wrmsr(struct x86_cpu *c, uint32_t msr, uint64_t v)
{
    struct x86_pmu *p = &c->pmu;
    bring_up(c);
    if (write_reg(p, msr, v))
        return -1;
    owe(c);
    rearm(c);
    p->open = p->count >> p->user & 1;
    return 0;
}
