/* Delivery of exceptions and interrupts (deliver.c), called by the run loop and by nobody else but its test. */
#ifndef FRONTEND_X86_DELIVER_H
#define FRONTEND_X86_DELIVER_H
#include "x86/cpu.h"
bool x86_deliver(void *cpu);                                          /* struct tcg_frontend.deliver */
/* Vector through the IDT in the current mode. soft: INT n and friends (gate DPL checked). ret: rip to push. */
void x86_interrupt(struct x86_cpu *, unsigned vector, bool soft, bool has_error, uint32_t error, uint64_t ret);
void x86_shutdown(struct x86_cpu *);                     /* the state after a triple fault, which only a reset ends */
#endif
