/*
 * Code that runs for the first time, in a guest (bench/translate guest): blocks of instructions as programs have them, made at random, each unlike the
 * others, run from one end to the other, and then once more. The difference between the two times is what translating them takes.
 * Prints `first PS1 PS2`: picoseconds an instruction, of the first run and of later ones, the best of many such pieces of code.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t state = 88172645463325252ull;
static unsigned pick(unsigned n)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)(state >> 20) % n;
}

static uint8_t *p;
static unsigned long insns;
static void b(unsigned v) { *p++ = (uint8_t)v; }
static void d(uint32_t v) { memcpy(p, &v, 4), p += 4; }

/* Any of rax rcx rdx rsi rdi r8..r11. */
static unsigned reg(void) { static const uint8_t regs[] = { 0, 1, 2, 6, 7, 8, 9, 10, 11 }; return regs[pick(sizeof regs)]; }

/* REX.W now and then, opcode, two registers */
static void rr(unsigned op)
{
    unsigned r = reg(), m = reg();
    b(0x40 | (pick(2) ? 8 : 0) | (r >> 3) << 2 | m >> 3);
    b(op);
    b(0xc0 | (r & 7) << 3 | (m & 7));
}

/* ... and a register with [rsp + disp8] */
static void rm(unsigned op)
{
    unsigned r = reg();
    b(0x40 | (pick(2) ? 8 : 0) | (r >> 3) << 2);
    b(op);
    b(0x44 | (r & 7) << 3);
    b(0x24);
    b(8 * pick(15));
}

static void one(void)
{
    static const uint8_t alu[] = { 0x01, 0x29, 0x21, 0x09, 0x31 };
    unsigned r = reg();
    insns++;
    switch (pick(20)) {
    case 0: case 1: case 2: rr(0x89); break;                      /* mov */
    case 3: case 4: case 5: case 6: rm(0x8b); break;              /* mov r, [rsp + n] */
    case 7: case 8: rm(0x89); break;                              /* mov [rsp + n], r */
    case 9: rm(0x03); break;                                      /* add r, [rsp + n] */
    case 10: case 11: rm(0x8d); break;                            /* lea */
    case 12: case 13: rr(alu[pick(sizeof alu)]); break;
    case 14: b(0x48 | r >> 3), b(0x83), b(0xc0 | pick(8) << 3 | (r & 7)), b(pick(100)); break;         /* op r, imm8 */
    case 15: b(0x40 | r >> 3), b(0xb8 | (r & 7)), d(pick(1000000)); break;                              /* mov r, imm32 */
    case 16: b(0x0f), b(0xb6), b(0xc0 | (r & 3) << 3 | pick(4)); break;                                 /* movzx */
    case 17: b(0x48 | r >> 3), b(0xc1), b(0xe0 | (r & 7)), b(1 + pick(31)); break;                      /* shl */
    default:                                                                                            /* test rsp, rsp; je, which is not taken */
        b(0x48), b(0x85), b(0xe4), b(0x0f), b(0x84), d(16 * pick(64));
        insns++;
    }
}

static uint64_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static uint64_t run(const uint8_t *code)
{
    uint64_t start = now();
    __asm__ volatile("sub $256, %%rsp\n\tcall *%0\n\tadd $256, %%rsp" : : "b"(code) : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
    return now() - start;
}

/* One piece of code, new to everybody: picoseconds an instruction of its first run and of the best of three more. */
static void piece(unsigned blocks, uint64_t *first, uint64_t *again)
{
    size_t size = blocks * 128 + 4096;
    uint8_t *code = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED)
        exit(1);
    p = code;
    insns = 0;
    b(0x48), b(0x81), b(0xec), d(128);                                   /* sub rsp, 128 */
    for (unsigned n = 0; n < blocks; n++) {
        for (unsigned k = 4 + pick(8); k; k--)
            one();
        b(0xe9), d(0);                                                   /* jmp to the next */
        insns++;
    }
    b(0x48), b(0x81), b(0xc4), d(128), b(0xc3);
    mprotect(code, size, PROT_READ | PROT_EXEC);
    uint64_t t = run(code) * 1000 / insns;
    *first = t < *first ? t : *first;
    for (unsigned i = 0; i < 3; i++) {
        t = run(code) * 1000 / insns;
        *again = t < *again ? t : *again;
    }
}

int main(void)
{
    uint64_t first = UINT64_MAX, again = UINT64_MAX;
    for (unsigned i = 0; i < 200; i++)                                   /* pieces of milliseconds: some are left alone by what else the host does */
        piece(500, &first, &again);
    printf("first %llu %llu\n", (unsigned long long)first, (unsigned long long)again);
    return 0;
}
