/* Showing what has been counted since the start (core/counters.def). */
#ifndef VMM_COUNTERS_H
#define VMM_COUNTERS_H
#include "core/vm.h"

void counters_sum(struct vm *, union counters *sum);
/* Of a row. The value is nanoseconds where ticks were counted. */
const char *counter_name(enum counter), *counter_unit(enum counter), *counter_what(enum counter);
double counter_value(enum counter, uint64_t count);
/* One call for each line, with its line end. From any thread: what is counted meanwhile may be in it or not. */
void counters_each(struct vm *, void (*line)(void *opaque, const char *text), void *opaque);
#endif
