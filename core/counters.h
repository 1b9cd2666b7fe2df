/*
 * Counters (core/counters.def): plain additions by the thread that owns the set, read from others as they stand. A vCPU, a translator and a softmmu
 * have a set each; what is shown is the sum.
 */
#ifndef CORE_COUNTERS_H
#define CORE_COUNTERS_H
#include "core/types.h"

enum counter {
#define COUNTER(name, unit, what) CNT_##name,
#include "core/counters.def"
#undef COUNTER
    N_COUNTERS
};

union counters {
    struct {
#define COUNTER(name, unit, what) uint64_t name;
#include "core/counters.def"
#undef COUNTER
    };
    uint64_t all[N_COUNTERS];
};
#endif
