/* Masked operands in memory whose access cannot simply be made by the host (tcg/native.h, lanes): element by element. */
#ifndef TCG_LANES_H
#define TCG_LANES_H
#include "tcg/env.h"

/* The elements are env->slow_lanes and slow_mask; data is in env->bounce. The FPU has been saved; faults raise. */
bool tcg_lanes_any(const struct tcg_env *);                            /* is an element active? */
void tcg_lanes_check(struct tcg_env *, gva_t va, enum mmu_access);     /* may every active element be accessed? */
void tcg_lanes_load(struct tcg_env *, gva_t va);
void tcg_lanes_store(struct tcg_env *, gva_t va);
#endif
