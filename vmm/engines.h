/* The engines by name (-accel). */
#ifndef VMM_ENGINES_H
#define VMM_ENGINES_H
#include "core/engine.h"

extern const struct engine tcg_engine, interp_engine;

/* Counters of the translator and the softmmu, for -d exec at the end of a run. */
void engine_tcg_stats(struct vm *);
#endif
