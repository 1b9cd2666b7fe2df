/* Showing what has been counted since the start (core/counters.def). */
#ifndef VMM_COUNTERS_H
#define VMM_COUNTERS_H
#include "core/vm.h"

/* One call for each line, with its line end. From any thread: what is counted meanwhile may be in it or not. */
void counters_each(struct vm *, void (*line)(void *opaque, const char *text), void *opaque);
#endif
