/* What `info counters` and -d exec show: a line for each row of core/counters.def that is not zero. */
#include "vmm/counters.h"
#include "vmm/engines.h"
#include "x86/cpu.h"
#include <stdio.h>

enum unit { UNIT_n, UNIT_bytes, UNIT_ns, UNIT_ticks };

static const struct { const char *name, *what; enum unit unit; } rows[] = {
#define COUNTER(name, unit, what) { #name, what, UNIT_##unit },
#include "core/counters.def"
#undef COUNTER
};

const char *counter_name(enum counter n) { return rows[n].name; }
const char *counter_what(enum counter n) { return rows[n].what; }
const char *counter_unit(enum counter n) { return ((const char *const[]){ "", "bytes", "ns", "ns" })[rows[n].unit]; }

double counter_value(enum counter n, uint64_t count)
{
    return (double)(rows[n].unit == UNIT_ticks ? muldiv64(count, 1000000000, x86_tsc_hz()) : count);
}

static void add(union counters *sum, const union counters *part)
{
    for (unsigned i = 0; i < N_COUNTERS; i++)
        sum->all[i] += part->all[i];
}

void counters_sum(struct vm *vm, union counters *sum)
{
    *sum = (union counters){ 0 };
    for (int i = 0; i < vm->n_vcpus; i++)
        add(sum, &vm->vcpus[i]->n);
    add(sum, &vm->n);
    add(sum, machine_counters());
    engine_tcg_counters(add, sum);
}

void counters_each(struct vm *vm, void (*line)(void *opaque, const char *text), void *opaque)
{
    union counters sum;
    char text[200];

    counters_sum(vm, &sum);
    for (unsigned i = 0; i < N_COUNTERS; i++) {
        if (!sum.all[i])
            continue;
        const char *unit = counter_unit(i);
        snprintf(text, sizeof(text), "%-15s %14.0f%s%s  %s\n", rows[i].name, counter_value(i, sum.all[i]), *unit ? " " : "", unit, rows[i].what);
        line(opaque, text);
    }
}
