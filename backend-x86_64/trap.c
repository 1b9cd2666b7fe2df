/*
 * Host traps inside translated code: division errors, unmasked floating-point exceptions, misaligned SSE operands. In a block rsp is env, so
 * the handler finds everything from the signal frame: it saves the pinned registers, lets the frontend record the guest exception, and resumes
 * at a stub that leaves for the run loop. The FPU state in the frame stays live: the kernel restores it.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include "backend-x86_64/x64.h"
#include "core/log.h"
#include "tcg/profile.h"

static struct tcg *the_tcg;
static const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
enum { TRAP_DE = 0, TRAP_GP = 13, TRAP_MF = 16, TRAP_AC = 17, TRAP_XM = 19 };

static int fault_of(long trap)
{
    switch (trap) {
    case TRAP_DE: return TCG_FAULT_DIV;
    case TRAP_GP: case TRAP_AC: return TCG_FAULT_GP;
    case TRAP_MF: return TCG_FAULT_X87;
    case TRAP_XM: return TCG_FAULT_SIMD;
    default: return -1;
    }
}

static bool in_cache(const struct tcg *t, uint64_t pc) { return pc - (uint64_t)t->rx < t->cache_size; }

/* Code at PC belongs to which stub? */
static enum tcg_place stub_of(const struct tcg *t, uint64_t pc)
{
    uint8_t *p = (uint8_t *)(pc - (uint64_t)t->buf.rx_delta);
    return p >= t->blocks_start ? PLACE_code : p >= x64_stubs.fpu_load ? PLACE_fpu : p >= x64_stubs.probe ? PLACE_memory
         : p >= x64_stubs.call_regs ? PLACE_helper : PLACE_between;
}

/*
 * What a vCPU is doing when the processor is at PC with stack SP. In a block rsp is env; what a block calls is a stub, whose return address lies just
 * below env, and the C code that the stub calls has its own there below another word (stubs.c: enter_c).
 */
static struct tcg_sample sample_of(struct tcg_env *env, uint64_t pc, uint64_t sp)
{
    const struct tcg *t = env->tcg;
    const uint64_t *below = (const uint64_t *)env;
    struct tcg_sample s = { .pc = pc, .place = PLACE_between };
    bool c = sp < (uint64_t)env && sp >= (uint64_t)env->stack_base && !in_cache(t, pc);
    if (in_cache(t, pc))
        s.place = stub_of(t, pc);
    else if (c && in_cache(t, below[-3]))
        s.place = stub_of(t, below[-3]);
    if (s.place == PLACE_code)
        s.site = pc;
    else if ((c || sp < (uint64_t)env) && s.place != PLACE_between && in_cache(t, below[-1]))
        s.site = below[-1];
    s.helper = s.place == PLACE_helper && s.site ? x64_called_helper((const uint8_t *)s.site) : NULL;
    return s;
}

/* The clocks of a vCPU thread: whose, and which one, is the value's (tcg.h). */
static void on_sample(int sig, siginfo_t *si, void *ctx)
{
    const greg_t *g = ((ucontext_t *)ctx)->uc_mcontext.gregs;
    uint64_t pc = (uint64_t)g[REG_RIP], value = (uint64_t)si->si_value.sival_ptr;
    struct tcg_env *env = (struct tcg_env *)(value & ~1ull);
    struct tcg *t = the_tcg;
    if (!t)
        return;
    if ((value & 1) == TCG_SAMPLE_PROFILE) {
        struct tcg_sample s = sample_of(env, pc, (uint64_t)g[REG_RSP]);
        tcg_profile_sample(env, &s);
    } else if (in_cache(t, pc) && (uint64_t)g[REG_RSP] == value) {
        tcg_sample(t, env, pc);
    }
}

static void on_trap(int sig, siginfo_t *si, void *ctx)
{
    ucontext_t *uc = ctx;
    greg_t *g = uc->uc_mcontext.gregs;
    struct tcg *t = the_tcg;
    uint64_t pc = (uint64_t)g[REG_RIP];
    int kind = fault_of(g[REG_TRAPNO]);
    uint64_t tail = kind < 0 ? 0 : x64_native_trap(pc, (enum tcg_host_fault)kind);
    if (tail) {
        g[REG_RIP] = (greg_t)tail;
        return;
    }
    if (!t || !in_cache(t, pc) || kind < 0) {
        signal(sig, SIG_DFL);                      /* a bug of ours: die visibly at the same instruction */
        return;
    }
    struct tcg_env *env = (struct tcg_env *)g[REG_RSP];
    for (unsigned i = 0; i < env->fe->n_globals; i++)
        if (x64_contract[i] != NOREG)
            *(uint64_t *)((char *)tcg_cpu(env) + env->fe->globals[i].offset) = (uint64_t)g[greg_of[x64_contract[i]]];
    tcg_restore_at(env, tcg_tb_by_code(t, (void *)pc), pc);
    if (env->fault_fl == TBF_HOST)
        env->flags = fl_from_rflags((uint64_t)g[REG_EFL]);
    env->in_code = false;                          /* state is exact now */
    env->fe->host_fault(tcg_cpu(env), (enum tcg_host_fault)kind);
    env->fe->given_up(tcg_cpu(env));
    env->exit_info = TCG_UNWIND_FAULT;
    g[REG_RIP] = (greg_t)(x64_stubs.fault_return + t->buf.rx_delta);
}

void x64_trap_init(struct tcg *t)
{
    struct sigaction sa;
    the_tcg = t;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = on_trap;
    sa.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGFPE, &sa, NULL);
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    sa.sa_sigaction = on_sample;
    sa.sa_flags = SA_SIGINFO | SA_RESTART;         /* not within itself: it writes tables */
    sigaction(SIGPROF, &sa, NULL);
}
