/* A lock for code that may call nothing (general registers only): a word, 0 when free. */
#ifndef CORE_SPIN_H
#define CORE_SPIN_H
#include "core/yield.h"
#include <stdint.h>

static inline uint64_t host_ticks(void) { return __builtin_ia32_rdtsc(); }

/* Returns the ticks of the time stamp counter that were waited; 0: it was free. */
static inline uint64_t spin_lock(uint32_t *lock)
{
    if (__builtin_expect(!__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE), 1))
        return 0;
    uint64_t since = host_ticks();
    do
        for (unsigned spins = 0; __atomic_load_n(lock, __ATOMIC_RELAXED); spins++)
            if (spins % 1024 < 1023)
                __builtin_ia32_pause();
            else
                host_yield();          /* its holder may wait for a processor */
    while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE));
    return host_ticks() - since;
}

static inline void spin_unlock(uint32_t *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }
#endif
