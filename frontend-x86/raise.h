/*
 * Raising guest exceptions from helpers, softmmu callbacks and the translator (raise.c).
 *
 * x86_raise* record the exception in the CPU state and unwind to the run loop, which rebuilds rip and flags for the instruction being
 * executed and calls deliver (deliver.c). They do not return. x86_record* only record: for faults found before unwinding (page walks), and
 * for traps, whose block goes on with ir_setpc(next) and ir_exit. SDM vol. 3 ch. 6.
 */
#ifndef FRONTEND_X86_RAISE_H
#define FRONTEND_X86_RAISE_H
#include "x86/cpu.h"

void x86_raise(struct x86_cpu *, unsigned vector) __attribute__((noreturn));
void x86_raise_err(struct x86_cpu *, unsigned vector, uint32_t err) __attribute__((noreturn));
/* What was recorded earlier: unwinds. */
/* The instruction cannot be atomic against other vCPUs: it begins anew while they stand still. Returns where they do, or where there are none. */
void x86_need_alone(struct x86_cpu *);
void x86_raise_recorded(struct x86_cpu *) __attribute__((noreturn));

void x86_record(struct x86_cpu *, unsigned vector);
void x86_record_err(struct x86_cpu *, unsigned vector, uint32_t err);
void x86_record_pf(struct x86_cpu *, uint64_t va, uint32_t err);
/* INT n (soft 2), INT3, INTO (1), INT1 (0): the return address is next_rip; gate DPL is checked (not for INT1). */
void x86_record_soft(struct x86_cpu *, unsigned vector, uint64_t next_rip, unsigned soft);
/* A #DB trap: DR6 gets bits; rip (already the next instruction's) is pushed. */
void x86_record_db(struct x86_cpu *, uint32_t dr6_bits);
/* The same from an instruction whose block goes on with ir_lookup: the run loop is made to look. */
void x86_record_trap(struct x86_cpu *, uint32_t dr6_bits);
/* #GP(0) or #SS(0) for an address that is not canonical; delivery finds out which. */
void x86_record_bad_va(struct x86_cpu *, uint64_t va);
#endif
