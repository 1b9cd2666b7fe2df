/*
 * The IR interpreter: executes optimised blocks as translated code would, on any host. It is the engine of -accel interp and the oracle
 * for the translator. While interp_run is on the C stack, env->interp points at its struct interp_state: that is how a fault or a helper
 * that asks for exact state is resolved to a guest instruction.
 */
#ifndef TCG_INTERP_H
#define TCG_INTERP_H
#include "tcg/tcg.h"

struct interp_state {
    const struct ir_block *block;
    uint32_t i;                            /* insn being executed */
    uint32_t gi;                           /* its guest instruction */
    bool in_call;                          /* a helper is running: the flags value is in env->flags */
    uint32_t fl;                           /* the flags value, FL_ bits at their RFLAGS places */
    uint64_t temp[IR_MAX_TEMPS];
};

typedef int interp_native_fn(struct tcg_env *, const struct ir_native *, uint64_t io[5], uint32_t *flags, void *mem);

/* Once, before the first run. run_native: tcg_backend.run_native, or NULL when the host cannot (then native ops raise TCG_FAULT_GP). */
int interp_init(interp_native_fn *run_native);

/* Run one block. The guest pc is stored in the CPU state, flags in env->flags; the result is TCG_EXIT_JMPI (go on at pc), TCG_EXIT_LOOKUP (pc and mode
   may have changed) or TCG_EXIT_REASON (env->exit_info = imm). Faults leave by tcg_unwind. */
unsigned interp_run(struct tcg_env *, const struct ir_block *);

/* From tcg_restore_state / tcg_unwind: pc and env->flags of the guest instruction being executed. false when no block is being run. */
bool interp_restore_state(struct tcg_env *);
/* tcg_unwind, after restoring and before its longjmp: interp_run's frame is gone. */
void interp_unwound(struct tcg_env *);
#endif
