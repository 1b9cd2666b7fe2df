/*
 * Pending work of a virtual CPU (core/vcpu.h): bits set by any thread, looked at by the vCPU's own.
 *
 * A sleeping vCPU waits on the pending word itself (futex): the kernel compares the word before it sleeps, so a bit set between the
 * look and the sleep is never lost, and a setter needs no lock. That matters: interrupt controllers raise lines while they
 * hold their own locks, from threads with and without the machine lock. The private bit WAITING says that a wake-up
 * call is needed, so that interrupting a running vCPU costs no system call.
 * Order: bits are stored before the poll word; an engine clears the poll word before it reads the bits.
 */
#include "core/vcpu.h"
#include "core/aspace.h"
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WAITING (1u << 31)

static void wake(void *opaque)
{
    struct vcpu *v = opaque;

    syscall(SYS_futex, &v->pending, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

void vcpu_kick(struct vcpu *v)
{
    uint32_t *poll = __atomic_load_n(&v->poll_word, __ATOMIC_ACQUIRE);

    if (poll)
        __atomic_store_n(poll, 1, __ATOMIC_SEQ_CST);
    /* What it does first is to take the vector from the interrupt controller: it would only wait for our lock. */
    if ((__atomic_load_n(&v->pending, __ATOMIC_SEQ_CST) & WAITING) && !machine_unlocked(wake, v))
        wake(v);
    pthread_cond_broadcast(&v->wake);
    if (v->kick_engine)
        v->kick_engine(v);
}

void vcpu_set_pending(struct vcpu *v, uint32_t bits)
{
    __atomic_or_fetch(&v->pending, bits, __ATOMIC_SEQ_CST);
    vcpu_kick(v);
}

void vcpu_clear_pending(struct vcpu *v, uint32_t bits)
{
    __atomic_and_fetch(&v->pending, ~bits, __ATOMIC_SEQ_CST);
}

void vcpu_set_intr(struct vcpu *v, int level)
{
    if (!level)
        vcpu_clear_pending(v, VCPU_INTR);
    else if (!(__atomic_load_n(&v->pending, __ATOMIC_SEQ_CST) & VCPU_INTR))
        vcpu_set_pending(v, VCPU_INTR);
}

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

static void sleep_on(struct vcpu *v, uint32_t seen)
{
    __atomic_store_n(&v->asleep_since, now_ns(), __ATOMIC_RELAXED);
    /* EAGAIN (the word changed), EINTR and spurious returns all just look again. */
    syscall(SYS_futex, &v->pending, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    int64_t since = v->asleep_since;
    __atomic_store_n(&v->asleep_since, 0, __ATOMIC_RELAXED);
    v->n.idle += (uint64_t)(now_ns() - since);
}

void vcpu_wait(struct vcpu *v, uint32_t mask)
{
    for (;;) {
        uint32_t seen = __atomic_or_fetch(&v->pending, WAITING, __ATOMIC_SEQ_CST);
        if (seen & mask & ~WAITING)
            break;
        sleep_on(v, seen);
    }
    __atomic_and_fetch(&v->pending, ~WAITING, __ATOMIC_SEQ_CST);
}

uint64_t vcpu_idle_ns(const struct vcpu *v)
{
    int64_t since = __atomic_load_n(&v->asleep_since, __ATOMIC_RELAXED);
    return v->n.idle + (since ? (uint64_t)(now_ns() - since) : 0);
}
