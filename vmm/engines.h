/* The engines by name (-accel). */
#ifndef VMM_ENGINES_H
#define VMM_ENGINES_H
#include "core/engine.h"

extern const struct engine tcg_engine, interp_engine;

/* On the vCPU's thread, at rest: blocks and shadow tables go, as anything may have been written meanwhile, and if it is one of these two, that engine
   runs next. 0 or -errno. */
int engine_tcg_take_over(struct vcpu *, const struct engine *);
/* Counters of the translator and the softmmu, for -d exec at the end of a run. */
void engine_tcg_stats(struct vm *);
#endif
