/* The engines by name (-accel). */
#ifndef VMM_ENGINES_H
#define VMM_ENGINES_H
#include "core/engine.h"

extern const struct engine tcg_engine, interp_engine;

/* Before init: the CPU model (-cpu, x86/cpuid.h). 0, or -EINVAL after one line on stderr. */
int engine_set_cpu(const char *spec);
/* Counters of the translator and the softmmu, for -d exec at the end of a run. */
void engine_tcg_stats(struct vm *);
#endif
