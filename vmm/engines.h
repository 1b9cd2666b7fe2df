/* The engines by name (-accel). */
#ifndef VMM_ENGINES_H
#define VMM_ENGINES_H
#include "core/engine.h"
#include "core/vm.h"
#include "kvm/kvm.h"

struct tcg;
/* Ways to make the translator's life hard, for tests (-accel tcg,...). Zeros: none. */
struct tcg_stress { bool one_insn; unsigned cache_kib, tlb, seed; };
void engine_tcg_stress(const struct tcg_stress *);         /* before the engine's init */
extern const struct engine tcg_engine, interp_engine;

/* On the vCPU's thread, at rest: blocks and shadow tables go, as anything may have been written meanwhile, and if it is one of these two, that engine
   runs next. 0 or -errno. */
int engine_tcg_take_over(struct vcpu *, const struct engine *);
/* For lock-step, which has two of them: a translator of the machine's memory, and a vCPU of it. The back end's stubs are those of the last one made. */
int engine_tcg_init(struct vm *, bool interp);
struct tcg *engine_tcg_last(void);
int engine_tcg_vcpu(struct tcg *, struct vcpu *);

/* What the translator and its softmmus have counted, if there is one, each set handed to ADD. */
void engine_tcg_counters(void (*add)(union counters *, const union counters *), union counters *sum);
void engine_tcg_count(bool on);                    /* sets tcg->counting and has all blocks made anew; the vCPUs are at rest */
uint64_t engine_tcg_guest_insns(void);             /* executed by blocks that count: those made since tcg->counting, and -d count's */
size_t engine_tcg_cache_used(void);                /* bytes of host code, dropped blocks' included; 0: there is no translator */
/* -d count: what translated code of the -dfilter range has executed. Without slow paths of memory accesses, helpers and the code between blocks. */
void engine_tcg_say_counts(void);
#endif
