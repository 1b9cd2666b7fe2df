/* Generators of system and segment instructions (gen_sys.c, gen_seg.c), named by insns.def. */
#ifndef FRONTEND_X86_GEN_SYS_H
#define FRONTEND_X86_GEN_SYS_H
#include "frontend-x86/gen.h"
#define GEN(name) void name(struct x86_gen *, const struct x86_insn *)
GEN(gen_cli_sti); GEN(gen_int); GEN(gen_iret); GEN(gen_far); GEN(gen_mov_seg); GEN(gen_push_seg); GEN(gen_pop_seg); GEN(gen_lseg); GEN(gen_mov_cr);
GEN(gen_mov_dr); GEN(gen_clts); GEN(gen_lmsw); GEN(gen_smsw); GEN(gen_dtr); GEN(gen_ldtr); GEN(gen_lar); GEN(gen_arpl); GEN(gen_syscall);
GEN(gen_swapgs); GEN(gen_cpuid); GEN(gen_rdtsc); GEN(gen_msr); GEN(gen_hlt); GEN(gen_invlpg); GEN(gen_cache); GEN(gen_monitor); GEN(gen_xcr);
GEN(gen_rdrand); GEN(gen_rdpid); GEN(gen_pkru); GEN(gen_clac); GEN(gen_fsgsbase); GEN(gen_fence); GEN(gen_rsm); GEN(gen_vmcall); GEN(gen_svm);
#undef GEN
bool gen_cr_exists(const struct x86_gen *, unsigned n);
/* gen_svm.c: intercepts that want the operands; in a guest only. */
void gen_svm_cr0(struct x86_gen *, ir_ref v, bool lmsw);
void gen_svm_invpcid(struct x86_gen *, ir_ref type, ir_ref at);
/* Shared by both files. */
void gen_helper(struct x86_gen *, enum x86_helper, ir_ref a, ir_ref b, ir_ref c);
ir_ref gen_helper_val(struct x86_gen *, enum x86_helper, ir_ref a, ir_ref b, ir_ref c);
void gen_set_pc(struct x86_gen *, uint64_t pc);
void gen_lookup(struct x86_gen *);        /* to the pc that a helper has left in the CPU state; ends the block */
void gen_exit(struct x86_gen *);          /* to the run loop; ends the block */
#endif
