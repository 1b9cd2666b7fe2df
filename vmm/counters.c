/* What `info counters` and -d exec show: a line for each row of core/counters.def that is not zero. */
#include "vmm/counters.h"
#include "vmm/engines.h"
#include "x86/cpu.h"
#include <inttypes.h>
#include <stdio.h>

enum unit { UNIT_n, UNIT_bytes, UNIT_ticks };

static const struct { const char *name, *what; enum unit unit; } rows[] = {
#define COUNTER(name, unit, what) { #name, what, UNIT_##unit },
#include "core/counters.def"
#undef COUNTER
};

static void add(union counters *sum, const union counters *part)
{
    for (unsigned i = 0; i < N_COUNTERS; i++)
        sum->all[i] += part->all[i];
}

void counters_each(struct vm *vm, void (*line)(void *opaque, const char *text), void *opaque)
{
    static const char *const units[] = { "", " bytes", " ns" };
    union counters sum = { 0 };
    char text[160];

    for (int i = 0; i < vm->n_vcpus; i++)
        add(&sum, &vm->vcpus[i]->n);
    add(&sum, &vm->n);
    engine_tcg_counters(add, &sum);
    for (unsigned i = 0; i < N_COUNTERS; i++) {
        uint64_t v = rows[i].unit == UNIT_ticks ? muldiv64(sum.all[i], 1000000000, x86_tsc_hz()) : sum.all[i];
        if (!sum.all[i])
            continue;
        snprintf(text, sizeof(text), "%-15s %14" PRIu64 "%s  %s\n", rows[i].name, v, units[rows[i].unit], rows[i].what);
        line(opaque, text);
    }
}
