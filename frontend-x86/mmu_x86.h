/* The x86's side of the softmmu (mmu_x86.c): walks, fault recording, identity of the address space, access mode. */
#ifndef FRONTEND_X86_MMU_X86_H
#define FRONTEND_X86_MMU_X86_H
#include "softmmu/mmu.h"
extern const struct mmu_ops x86_mmu_ops;
struct x86_cpu;
void x86_pkru_changed(struct x86_cpu *);                      /* PKRU has been written [regs] */
unsigned x86_pkru_id(const struct x86_cpu *);                  /* stands for PKRU in roots and contexts; 0: no page is barred [regs] */
#endif
