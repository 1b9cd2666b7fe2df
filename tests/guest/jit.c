/*
 * A program that makes code all the time (tests/jit.sh): what it prints is the same natively and in a guest.
 *
 *   generate  two threads fill slots of one page set with small random functions, each runs what the other has made, and compares with what a plain
 *             interpretation of the same recipe gives: code of one processor is written by another, with the flag and the serializing
 *             instruction that the manual asks for.
 *   poke      one thread changes an instruction that three others run all the time, as kernels do: INT3 over its first byte, everybody serializes, the
 *             rest, everybody serializes, the first byte. Who meets the INT3 goes on behind it.
 *   own       a thread rewrites the instructions that it is about to run.
 * Manual: SDM 3A 8.1.3. usage: jit ROUNDS
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

static unsigned rounds;
static uint8_t *area;

/* By IRET: CPUID, where this runs natively in a virtual machine, takes very long. */
static void serialize(void)
{
    __asm__ volatile("mov %%rsp, %%rax\n\tmov %%ss, %%ecx\n\tsub $128, %%rsp\n\tpush %%rcx\n\tpush %%rax\n\tpushf\n\tmov %%cs, %%ecx\n\tpush %%rcx\n\t"
                     "lea 1f(%%rip), %%rax\n\tpush %%rax\n\tiretq\n1:" : : : "rax", "rcx", "cc", "memory");
}

static uint32_t next(uint32_t *seed) { return *seed = *seed * 1664525u + 1013904223u; }

/* ---- generate ---- */

enum { SLOTS = 32, SLOT = 256, STEPS = 24 };
struct slot { volatile int full; uint32_t seed; } __attribute__((aligned(64)));
static struct slot slots[2][SLOTS];
static uint64_t sums[2];

static uint8_t *put32(uint8_t *p, uint32_t v) { memcpy(p, &v, 4); return p + 4; }

/* eax = f(edi), of STEPS operations. */
static void make(uint8_t *p, uint32_t seed)
{
    static const uint8_t op[6] = { 0x05, 0x2d, 0x35, 0x25, 0x0d, 0x15 };           /* add sub xor and or adc */
    *p++ = 0x89, *p++ = 0xf8;                                                      /* mov %edi, %eax */
    for (unsigned i = 0; i < STEPS; i++) {
        uint32_t r = next(&seed), imm = next(&seed);
        if ((r >> 16) % 8 == 7) {
            *p++ = 0xc1, *p++ = 0xc0, *p++ = (uint8_t)(imm >> 27);                 /* rol */
        } else if ((r >> 16) % 8 == 6) {                                           /* test $1, %al; jz over an addition */
            *p++ = 0xa8, *p++ = 1, *p++ = 0x74, *p++ = 5, *p++ = 0x05;
            p = put32(p, imm);
        } else {
            *p++ = 0xf8, *p++ = op[(r >> 16) % 8];                                 /* clc first: adc is an addition */
            p = put32(p, imm);
        }
    }
    *p = 0xc3;
}

static uint32_t interpret(uint32_t v, uint32_t seed)
{
    for (unsigned i = 0; i < STEPS; i++) {
        uint32_t r = next(&seed), imm = next(&seed);
        switch ((r >> 16) % 8) {
        case 1: v -= imm; break;
        case 2: v ^= imm; break;
        case 3: v &= imm; break;
        case 4: v |= imm; break;
        case 6: v += v & 1 ? imm : 0; break;
        case 7: v = imm >> 27 ? v << (imm >> 27) | v >> (32 - (imm >> 27)) : v; break;
        default: v += imm; break;
        }
    }
    return v;
}

static uint8_t *code_of(unsigned writer, unsigned n) { return area + (writer * SLOTS + n) * SLOT; }

static void *generate(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    uint32_t seed = 12345 + me;
    for (unsigned i = 0; i < rounds * SLOTS; i++) {
        struct slot *mine = &slots[me][i % SLOTS], *other = &slots[!me][i % SLOTS];
        while (mine->full)
            sched_yield();
        mine->seed = next(&seed);
        make(code_of(me, i % SLOTS), mine->seed);
        __atomic_store_n(&mine->full, 1, __ATOMIC_RELEASE);
        while (!__atomic_load_n(&other->full, __ATOMIC_ACQUIRE))
            sched_yield();
        serialize();
        uint32_t got = ((uint32_t (*)(uint32_t))code_of(!me, i % SLOTS))(i), want = interpret(i, other->seed);
        if (got != want)
            printf("generate: round %u: %#x instead of %#x\n", i, got, want);
        sums[me] = sums[me] * 31 + got;
        __atomic_store_n(&other->full, 0, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* ---- poke ---- */

enum { RUNNERS = 3 };
static uint8_t *poked;                                     /* mov $IMM, %eax; ret */
static volatile unsigned asked, answered[RUNNERS], poke_end;
static uint64_t wrong, pokes_seen[RUNNERS];

static void on_trap(int sig, siginfo_t *si, void *ctx)
{
    greg_t *g = ((ucontext_t *)ctx)->uc_mcontext.gregs;
    (void)sig, (void)si;
    if ((uint8_t *)g[REG_RIP] != poked + 1)
        abort();
    g[REG_RIP] += 4;
    g[REG_RAX] = -1;
}

static void *run_poked(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    int last = 0;
    unsigned n = 0;
    while (!poke_end) {
        if (answered[me] != asked) {
            unsigned a = asked;
            serialize();
            __atomic_store_n(&answered[me], a, __ATOMIC_SEQ_CST);
        }
        int v = ((int (*)(void))poked)();
        if (v != -1 && (v & 0xff) != (v >> 8 & 0xff))
            __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
        pokes_seen[me] += v != last;
        if (++n % 64 == 0)
            sched_yield();
        last = v;
    }
    return NULL;
}

static void everybody_serializes(void)
{
    unsigned a = __atomic_add_fetch(&asked, 1, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < RUNNERS; i++)
        while (__atomic_load_n(&answered[i], __ATOMIC_SEQ_CST) != a)
            sched_yield();
}

static void poke(void)
{
    pthread_t t[RUNNERS];
    struct sigaction sa = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
    sigaction(SIGTRAP, &sa, NULL);
    poked = area + 64 * SLOT + 4093;                        /* over the end of a page */
    memcpy(poked, "\xb8\0\0\0\0\xc3", 6);
    for (uintptr_t i = 0; i < RUNNERS; i++)
        pthread_create(&t[i], NULL, run_poked, (void *)i);
    for (unsigned i = 1; i <= rounds; i++) {
        uint32_t imm = (i & 0xff) * 0x01010101u & 0x7fffffffu;
        *(volatile uint8_t *)poked = 0xcc;
        everybody_serializes();
        for (unsigned k = 0; k < 4; k++)
            ((volatile uint8_t *)poked)[1 + k] = (uint8_t)(imm >> (8 * k));
        everybody_serializes();
        *(volatile uint8_t *)poked = 0xb8;
        everybody_serializes();
        if (((uint32_t (*)(void))poked)() != imm)
            __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    }
    poke_end = 1;
    for (unsigned i = 0; i < RUNNERS; i++)
        pthread_join(t[i], NULL);
    printf("poke: %s wrong, %s\n", wrong ? "some" : "none", pokes_seen[0] && pokes_seen[1] && pokes_seen[2] ? "all saw changes" : "some saw no change");
}

/* ---- own ---- */

static uint64_t own_sum;

/* %rdi: the round. Stores over the immediate of the next instruction but one, in a loop of 16. */
extern uint8_t own_code[], own_end[];
__asm__(".pushsection .rodata\nown_code:\n xor %eax, %eax\n mov $16, %ecx\n"
        "1: lea (%rdi,%rcx,4), %edx\n mov %edx, 3f + 1 - own_code(%rsi)\n 3: add $0x11111111, %eax\n rol $3, %eax\n"
        " mov $0xd0, %dl\n test $1, %cl\n jz 4f\n mov $0xc0, %dl\n 4: mov %dl, 5f + 1 - own_code(%rsi)\n 5: .byte 0xf7, 0xd0\n"    /* notl, or test $imm */
        " nop; nop; nop; nop\n loop 1b\n ret\nown_end:\n.popsection\n");

static void *own(void *unused)
{
    uint8_t *code = area + 0x10000;
    memcpy(code, own_code, (size_t)(own_end - own_code));
    for (unsigned i = 0; i < rounds * 4; i++)
        own_sum = own_sum * 31 + ((uint32_t (*)(unsigned, uint8_t *))code)(i, code);
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t t[3];
    rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
    area = mmap(NULL, 0x20000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    pthread_create(&t[0], NULL, generate, (void *)0);
    pthread_create(&t[1], NULL, generate, (void *)1);
    pthread_create(&t[2], NULL, own, NULL);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    printf("generate: %#llx %#llx\nown: %#llx\n", (unsigned long long)sums[0], (unsigned long long)sums[1], (unsigned long long)own_sum);
    poke();
    printf("jit: end of %u rounds\n", rounds);
    return 0;
}
