/*
 * The cases of tests/insn on the host's own processor, as far as a program can run them: UD2 enters a signal handler, which writes the case's
 * start into the signal frame; whatever trap comes next ends the case, and its frame is the outcome.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include "run.h"

static const int greg[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13,
                              REG_R14, REG_R15 };
static const struct insn_state *start;
static struct insn_state *end;
static unsigned attributes;
static greg_t saved[NGREG];
static struct _libc_fpstate saved_fp;

static void put(const char *s) { fputs(s, stdout); }
static void put_hex(unsigned long long v) { printf("%llx", v); }

static int has_feature(unsigned leaf, unsigned reg, unsigned bit)
{
    unsigned v[4];
    return __get_cpuid_count(leaf, 0, v, v + 1, v + 2, v + 3) && v[reg] >> bit & 1;
}

static void begin(ucontext_t *uc)
{
    struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;
    greg_t *g = uc->uc_mcontext.gregs;
    memcpy(saved, g, sizeof saved);
    memcpy(&saved_fp, fp, sizeof saved_fp);
    for (unsigned k = 0; k < 16; k++)
        g[greg[k]] = (greg_t)start->r[k];
    g[REG_RIP] = (greg_t)start->ip;
    g[REG_EFL] = (greg_t)start->r[FLAGS];
    if (attributes & ATTR_32)
        g[REG_CSGSFS] = 0x23 | (greg_t)(0x2bull << 48);
    fp->cwd = 0x37f, fp->swd = fp->ftw = 0, fp->mxcsr = 0x1f80;
    memcpy(fp->_xmm, start->xmm, 256);
    start = NULL;
}

static void finish(ucontext_t *uc)
{
    greg_t *g = uc->uc_mcontext.gregs;
    for (unsigned k = 0; k < 16; k++)
        end->r[k] = (unsigned long)g[greg[k]];
    end->r[FLAGS] = (unsigned long)g[REG_EFL];
    end->vec = (unsigned long)g[REG_TRAPNO];
    end->ip = (unsigned long)g[REG_RIP] - (end->vec == 3);
    end->err = end->vec == 14 || end->vec == 13 || end->vec == 12 || end->vec == 17 ? (unsigned long)g[REG_ERR] : 0;
    end->cr2 = end->vec == 14 ? (unsigned long)g[REG_CR2] : 0;
    memcpy(end->xmm, uc->uc_mcontext.fpregs->_xmm, 256);
    memcpy(g, saved, sizeof saved);
    memcpy(uc->uc_mcontext.fpregs, &saved_fp, sizeof saved_fp);
    g[REG_RIP] += 2;
}

static void handler(int sig, siginfo_t *si, void *uc)
{
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~0x40000ull);       /* a case's alignment checks are not ours */
    start ? begin(uc) : finish(uc);
}

static __attribute__((noinline)) void run(const struct insn_state *in, unsigned attr, struct insn_state *out)
{
    attributes = attr;
    start = in;
    end = out;
    __asm__ volatile("ud2" ::: "memory", "cc");
}

static void map(unsigned first, unsigned n, int prot)
{
    void *p = (void *)(WINDOW + first * 4096ul);
    if (mmap(p, n * 4096ul, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != p) {
        printf("FAIL window: cannot map it\n");
        _exit(1);
    }
    *(volatile char *)p;                             /* present */
}

int main(void)
{
    static char alt[65536];
    static const int sig[] = { SIGILL, SIGTRAP, SIGFPE, SIGSEGV, SIGBUS };
    stack_t ss = { .ss_sp = alt, .ss_size = sizeof alt };
    struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    map(0, 2, PROT_READ | PROT_WRITE | PROT_EXEC);
    map(3, 1, PROT_READ | PROT_EXEC);
    map(4, 1, PROT_READ | PROT_WRITE | PROT_EXEC);
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(0x2b));      /* 32-bit code needs them */
    sigaltstack(&ss, NULL);
    for (unsigned k = 0; k < sizeof sig / sizeof *sig; k++)
        sigaction(sig[k], &sa, NULL);
    int failed = run_all(1);
    printf("end\n");
    return failed != 0;
}
