/*
 * The time stamp counter: guest TSC = host TSC - cpu->tsc_offset, so it runs at the host's rate and costs one instruction.
 *
 * All vCPUs start from one epoch, hence their TSCs agree. The rate is measured once against CLOCK_MONOTONIC (about 20 ms) because the
 * processor seldom says it exactly, unless an engine knows it (x86_set_tsc_hz). Built with general registers only: x86_rdtsc is called while the guest owns the host FPU; it calls no libc.
 * SDM vol. 3 ch. 18.17.
 */
#pragma GCC target("general-regs-only")
#include "x86/cpu.h"
#include <time.h>

static uint64_t tsc_hz, tsc_epoch;
static pthread_once_t tsc_once = PTHREAD_ONCE_INIT;

static uint64_t tsc_frozen;

void x86_freeze_tsc(uint64_t v) { __atomic_store_n(&tsc_frozen, v, __ATOMIC_RELAXED); }

uint64_t x86_host_tsc(void)
{
    uint32_t lo, hi;
    uint64_t frozen = __atomic_load_n(&tsc_frozen, __ATOMIC_RELAXED);
    if (unlikely(frozen))
        return frozen;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return (uint64_t)hi << 32 | lo;
}

/* A pair of readings as close together as a few tries can make them. */
static void tsc_pair(uint64_t *tsc, int64_t *ns)
{
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 8; i++) {
        struct timespec ts;
        uint64_t before = x86_host_tsc();
        clock_gettime(CLOCK_MONOTONIC, &ts);
        uint64_t after = x86_host_tsc();
        if (after - before >= best)
            continue;
        best = after - before;
        *tsc = before + best / 2;
        *ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    }
}

static void tsc_measure(void)
{
    uint64_t t0 = 0, t1 = 0;
    int64_t n0 = 0, n1 = 0;
    struct timespec nap = { 0, 20 * 1000 * 1000 };
    tsc_pair(&t0, &n0);
    nanosleep(&nap, NULL);
    tsc_pair(&t1, &n1);
    uint64_t hz = n1 > n0 ? (uint64_t)((unsigned __int128)(t1 - t0) * 1000000000u / (uint64_t)(n1 - n0)) : 0;
    tsc_epoch = t0;
    tsc_hz = hz < 1000000 ? 1000000000 : (hz + 500) / 1000 * 1000;   /* whole kHz: what CPUID can say */
}

static uint64_t tsc_known;

static void tsc_told(void)
{
    int64_t ns;
    tsc_pair(&tsc_epoch, &ns);
    tsc_hz = tsc_known;
}

void x86_set_tsc_hz(uint64_t hz)
{
    tsc_known = hz;
    pthread_once(&tsc_once, tsc_told);
}

uint64_t x86_tsc_hz(void)
{
    pthread_once(&tsc_once, tsc_measure);
    return tsc_hz;
}

uint64_t x86_tsc_epoch(void)
{
    pthread_once(&tsc_once, tsc_measure);
    return tsc_epoch;
}

uint64_t x86_rdtsc(struct x86_cpu *cpu)
{
    return x86_host_tsc() - cpu->tsc_offset;
}

uint64_t x86_seen_tsc(struct x86_cpu *cpu)
{
    return x86_rdtsc(cpu) + (cpu->svm.guest ? cpu->svm.tsc_offset : 0);
}

void x86_write_tsc(struct x86_cpu *cpu, uint64_t v)
{
    uint64_t delta = v - x86_rdtsc(cpu);
    cpu->tsc_offset -= delta;
    cpu->tsc_adjust += delta;
}
