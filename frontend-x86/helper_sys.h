/* Helpers for system and segment instructions (helper_sys.c, helper_seg.c, fast_sys.c); the table rows are in helpers.def. */
#ifndef FRONTEND_X86_HELPER_SYS_H
#define FRONTEND_X86_HELPER_SYS_H
#include "x86/cpu.h"

uint64_t helper_far_jmp(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_far_call(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_far_ret(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_iret(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_load_seg(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_lar(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_lsl(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_verr(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_verw(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_lldt(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_ltr(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_sldt(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_str(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_write_cr0(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_write_cr3(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_write_cr4(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_write_cr8(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_read_cr8(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_clts(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_read_dr(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_write_dr(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_cpuid(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_rdmsr(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_wrmsr(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_rdpkru(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_wrpkru(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_hlt(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_invlpg(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_invpcid(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_xsetbv(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_int_n(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_single_step(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_raise(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_raise_gp0(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_umip_check(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_set_gdt(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_set_idt(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
void x86_world_pdptes(struct x86_cpu *);                     /* ... after VMRUN or #VMEXIT: CR3 came with the world; nothing is raised */
void x86_set_pdptes(struct x86_cpu *, uint64_t cr3);         /* PAE paging; raises #GP(0) */
uint64_t helper_sti(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_end_shadow(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_sti_shadow(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_cs_check(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_dr_begin(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_dr_watch(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_cli(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_write_cr3_long(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_swapgs(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_syscall(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_sysret(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_sysenter(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_sysexit(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_pause(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_rdtsc(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_rdtscp(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_rdpmc(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_pmu_full(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_rdrand(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_rdseed(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_rdpid(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_set_ac(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_read_fsgs(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_write_fsgs(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_read_seg(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_read_cr(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_write_cr2(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_read_dt(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_arpl(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_lmsw(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_rsm(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_vmrun(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_vmload(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_invlpga(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_set_gif(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_svm_check(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_svm_cr0(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_svm_invpcid(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_svm_msr(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
uint64_t helper_svm_io(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
/* CR4 bits that this CPU model has. */
uint64_t x86_cr4_known(const struct x86_cpuid *);
#endif
