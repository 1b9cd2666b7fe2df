/*
 * The passes in their order, between frontend and backend: copies first (they make shift counts constant, which flags wants to know), then
 * flags (drops what defines flags nobody sees), then dead code, which finds what both left.
 *
 * In: a block as the frontend built it. Out: the block ready for a backend or the interpreter. -d ir shows it before, -d opt after; debug builds
 * verify after every stage and abort with the block when a stage broke it. Linear in the number of insns, nothing allocated.
 */
#include <stdlib.h>
#include "core/log.h"
#include "tcg/fold.h"
#include "tcg/native.h"

#ifdef DUET_DEBUG
enum { VERIFY = 1 };
#else
enum { VERIFY = 0 };
#endif

static void check(const struct ir_block *b, const char *stage)
{
    unsigned at;
    const char *e = VERIFY ? ir_verify(b, &at) : NULL;
    if (!e)
        return;
    log_error("IR of block 0x%llx is wrong after %s: insn %u: %s", (unsigned long long)b->pc, stage, at, e);
    ir_dump(b, stage);
    abort();
}

static void note_fpu(struct ir_block *b)
{
    for (unsigned i = 0; i < b->n_natives; i++)
        if (b->natives[i].kind == NATIVE_FPU)
            b->uses_fpu = true;
}

void ir_optimise(struct ir_block *b)
{
    note_fpu(b);
    if (log_on(LOG_IR) && log_in_range(b->pc))
        ir_dump(b, "IR:");
    check(b, "frontend");
    opt_copy(b);
    check(b, "opt_copy");
    opt_flags(b);
    check(b, "opt_flags");
    opt_dead(b);
    check(b, "opt_dead");
    opt_move(b);
    if (log_on(LOG_OPT) && log_in_range(b->pc))
        ir_dump(b, "OPT:");
}
