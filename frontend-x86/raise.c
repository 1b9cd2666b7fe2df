/*
 * Recording guest exceptions and unwinding to the run loop (raise.h).
 *
 * In: a helper's or the page walk's finding. Out: exc_* in the CPU state, which deliver.c acts on. The unwinding rebuilds rip and
 * arithmetic flags of the instruction being executed, so nothing of it may have been written yet. General registers only: the guest may
 * own the host FPU here. SDM vol. 3 ch. 6.
 */
#pragma GCC target("general-regs-only")
#include "frontend-x86/raise.h"
#include "tcg/tcg.h"
#include "tcg/env.h"

void x86_record(struct x86_cpu *cpu, unsigned vector)
{
    cpu->exc_pending = true;
    cpu->exc_vector = (uint8_t)vector;
    cpu->exc_has_error = false;
    cpu->exc_soft = 0;
    cpu->exc_error = 0;
    cpu->exc_next_rip = 0;
    cpu->exc_bad_va = cpu->exc_rf = false;
}

void x86_record_err(struct x86_cpu *cpu, unsigned vector, uint32_t err)
{
    x86_record(cpu, vector);
    cpu->exc_has_error = true;
    cpu->exc_error = err;
}

void x86_record_pf(struct x86_cpu *cpu, uint64_t va, uint32_t err)
{
    x86_record_err(cpu, X86_PF, err);
    cpu->exc_cr2 = va;
}

void x86_record_soft(struct x86_cpu *cpu, unsigned vector, uint64_t next_rip, unsigned soft)
{
    x86_record(cpu, vector);
    cpu->exc_soft = (uint8_t)soft;
    cpu->exc_next_rip = next_rip;
}

void x86_record_db(struct x86_cpu *cpu, uint32_t dr6_bits)
{
    cpu->dr[6] = (cpu->dr[6] & ~0xfull) | dr6_bits;
    x86_record(cpu, X86_DB);
}

void x86_record_trap(struct x86_cpu *cpu, uint32_t dr6_bits)
{
    struct tcg_env *env = tcg_env_of(cpu);
    x86_record_db(cpu, dr6_bits);
    env->need_deliver = true;
    __atomic_store_n(&env->poll, 1, __ATOMIC_RELEASE);
}

void x86_record_bad_va(struct x86_cpu *cpu, uint64_t va)
{
    x86_record_err(cpu, X86_GP, 0);
    cpu->exc_bad_va = true;
}

void x86_raise_recorded(struct x86_cpu *cpu)
{
    tcg_unwind(tcg_env_of(cpu), TCG_UNWIND_FAULT);
}

void x86_raise(struct x86_cpu *cpu, unsigned vector)
{
    x86_record(cpu, vector);
    x86_raise_recorded(cpu);
}

void x86_raise_err(struct x86_cpu *cpu, unsigned vector, uint32_t err)
{
    x86_record_err(cpu, vector, err);
    x86_raise_recorded(cpu);
}

void x86_need_alone(struct x86_cpu *cpu)
{
    struct tcg_env *env = tcg_env_of(cpu);
    if (env->tcg->n_envs > 1 && !env->alone)
        tcg_unwind(env, TCG_UNWIND_ALONE);
}
