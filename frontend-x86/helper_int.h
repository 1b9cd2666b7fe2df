/* Integer helpers (helper_int.c, helper_string.c, helper_vme.c, fast.c, fast_string.c); the table rows are in helpers.def. */
#ifndef FRONTEND_X86_HELPER_INT_H
#define FRONTEND_X86_HELPER_INT_H
#include "x86/cpu.h"

enum x86_rep { REP_MOVS, REP_STOS, REP_LODS, REP_CMPS, REP_SCAS, REP_INS, REP_OUTS };
void x86_io_check(struct x86_cpu *, unsigned port, unsigned size);         /* #GP(0) when barred */
uint64_t helper_popf(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_pushf(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_virtual_if(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_pushf_vme(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_popf_vme(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_int_v86(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_in(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_out(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_bound(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_check_write(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_enter(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_rep(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_rep_fast(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_raise_err(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_bcd(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_seg_check(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_align_check(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_cmpxchg8b(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_cmpxchg16b(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_cli(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_write_cr3_long(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
#endif
