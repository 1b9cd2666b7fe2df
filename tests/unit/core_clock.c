/*
 * core/clock.c: order of firing, moving and deleting timers, re-arm reports, stopping a real clock; core/vcpu.c: no lost wake-ups.
 */
#include "core/aspace.h"
#include "core/clock.h"
#include "core/vcpu.h"
#include "tests/unit/test.h"
#include <stdlib.h>
#include <unistd.h>

static struct clock *clk;
static int64_t last_fired;
static unsigned fired;

static void note(void *opaque)
{
    struct timer *t = opaque;
    CHECK(clock_ns(clk) == t->deadline && t->deadline >= last_fired && !timer_armed(t));
    last_fired = t->deadline;
    fired++;
}

TEST(fires_in_order)
{
    enum { N = 500 };
    static struct timer t[N];

    clk = clock_new_manual();
    srand(1);
    for (int i = 0; i < N; i++) {
        timer_init(&t[i], clk, note, &t[i]);
        timer_set(&t[i], rand() % 10000);
    }
    for (int i = 0; i < N; i += 3)
        timer_set(&t[i], rand() % 10000);
    for (int i = 0; i < N; i += 5)
        timer_del(&t[i]);
    clock_advance(clk, 5000);
    CHECK(last_fired <= 5000 && clock_next_deadline(clk) > 5000);
    clock_advance(clk, 5000);
    CHECK_EQ(fired, N - N / 5);
    CHECK_EQ(clock_next_deadline(clk), CLOCK_NEVER);
    clock_free(clk);
}

static struct timer periodic;
static void again(void *opaque)
{
    fired++;
    timer_set(&periodic, periodic.deadline + 10);
}

TEST(periodic)
{
    clk = clock_new_manual();
    fired = 0;
    timer_init(&periodic, clk, again, NULL);
    timer_set(&periodic, 10);
    clock_advance(clk, 105);
    CHECK_EQ(fired, 10);
    CHECK_EQ(clock_next_deadline(clk), 110);
    timer_del(&periodic);
    clock_free(clk);
}

static int64_t armed;
static void rearm(void *opaque, int64_t deadline) { armed = deadline; }
static void nothing(void *opaque) { }

TEST(rearm_reports)
{
    struct timer a, b;

    clk = clock_new_real();
    clock_on_rearm(clk, rearm, NULL);
    CHECK_EQ(armed, CLOCK_NEVER);
    timer_init(&a, clk, nothing, NULL);
    timer_init(&b, clk, nothing, NULL);
    int64_t far = clock_ns(clk) + 1000 * (int64_t)NS_PER_SEC;
    timer_set(&a, far);
    CHECK_EQ(armed, far);
    timer_set(&b, far + 1);
    CHECK_EQ(armed, far);
    timer_del(&a);
    CHECK_EQ(armed, far + 1);
    clock_stop(clk);
    int64_t t0 = clock_ns(clk);
    CHECK_EQ(armed, CLOCK_NEVER);
    CHECK_EQ(clock_ns(clk), t0);
    clock_start(clk);
    CHECK_EQ(armed, far + 1);
    CHECK(clock_ns(clk) >= t0 && clock_ns(clk) < t0 + (int64_t)NS_PER_SEC);
    timer_set(&b, 0);
    clock_run_timers(clk);
    CHECK(!timer_armed(&b));
    CHECK_EQ(armed, CLOCK_NEVER);
    clock_free(clk);
}

TEST(muldiv)
{
    CHECK_EQ(muldiv64(0xffffffffffffffffull, 3, 3), 0xffffffffffffffffull);
    CHECK_EQ(muldiv64(NS_PER_SEC, 1193182, NS_PER_SEC), 1193182);
}

static struct vcpu cpu;
static uint32_t turn;

static void *sleeper(void *opaque)
{
    for (unsigned i = 0; i < 20000; i++) {
        vcpu_wait(&cpu, VCPU_INTR | VCPU_EXIT);
        vcpu_set_intr(&cpu, 0);
        __atomic_add_fetch(&turn, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

TEST(no_lost_wakeup)
{
    pthread_t t;
    uint32_t poll = 0;

    cpu.poll_word = &poll;
    pthread_cond_init(&cpu.wake, NULL);
    pthread_create(&t, NULL, sleeper, NULL);
    for (unsigned i = 0; i < 20000; i++) {
        vcpu_set_pending(&cpu, VCPU_NMI);             /* not waited for: must not wake it for good */
        vcpu_set_intr(&cpu, 1);
        while (__atomic_load_n(&turn, __ATOMIC_SEQ_CST) == i)
            sched_yield();
    }
    pthread_join(t, NULL);
    CHECK_EQ(poll, 1);
    CHECK_EQ(cpu.pending, VCPU_NMI);
}

static void *one_wait(void *opaque)
{
    vcpu_wait(&cpu, VCPU_INTR);
    __atomic_store_n(&turn, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

/* Who interrupts a sleeping vCPU with the machine lock held wakes it when the lock is free, which the vCPU wants first of all. */
TEST(woken_after_unlock)
{
    pthread_t t;

    cpu.poll_word = NULL;
    cpu.pending = 0;
    turn = 0;
    pthread_create(&t, NULL, one_wait, NULL);
    while (!__atomic_load_n(&cpu.asleep_since, __ATOMIC_SEQ_CST))
        sched_yield();
    usleep(20000);                                        /* in the system call */
    machine_lock();
    vcpu_set_intr(&cpu, 1);
    vcpu_set_intr(&cpu, 1);
    usleep(50000);
    bool early = __atomic_load_n(&turn, __ATOMIC_SEQ_CST);
    machine_unlock();
    pthread_join(t, NULL);
    CHECK(!early);
}
