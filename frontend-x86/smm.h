/* System management mode (smm.c): what delivery and the I/O helpers need of it. */
#ifndef FRONTEND_X86_SMM_H
#define FRONTEND_X86_SMM_H
#include "x86/cpu.h"

void x86_smi(struct x86_cpu *);                          /* enters the handler; at an instruction boundary */
/* After an OUT: does not come back when it has caused an SMI or changed how memory is seen. The run loop goes on after the instruction, which
   x86_step_over makes so (io_smi.end). */
void x86_end_out(struct x86_cpu *, unsigned port, unsigned size);
void x86_step_over(struct x86_cpu *);
#endif
