/* The engines by name (-accel). */
#ifndef VMM_ENGINES_H
#define VMM_ENGINES_H
#include "core/engine.h"
#include "core/vm.h"
#include "kvm/kvm.h"

struct tcg;
extern const struct engine tcg_engine, interp_engine;

/* On the vCPU's thread, at rest: blocks and shadow tables go, as anything may have been written meanwhile, and if it is one of these two, that engine
   runs next. 0 or -errno. */
int engine_tcg_take_over(struct vcpu *, const struct engine *);
/* For lock-step, which has two of them: a translator of the machine's memory, and a vCPU of it. The back end's stubs are those of the last one made. */
int engine_tcg_init(struct vm *, bool interp);
struct tcg *engine_tcg_last(void);
int engine_tcg_vcpu(struct tcg *, struct vcpu *);

/* Counters of the translator and the softmmu, for -d exec at the end of a run. */
void engine_tcg_stats(struct vm *);
#endif
