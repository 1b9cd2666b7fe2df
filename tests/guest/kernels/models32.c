/*
 * The model and the machine agree: an instruction whose feature CPUID does not show is #UD, and one that it shows is not; bits of CR4 and EFER
 * without their feature are reserved. Says what it finds whatever the model is, so it runs under many. SDM vol. 1 ch. 5, vol. 2 CPUID, vol. 3 2.5.
 */
#include "kit.h"

static u32 leaf(u32 n, u32 sub, unsigned reg)
{
    u32 v[4];
    cpuid(n & 0x80000000, 0, v);
    if (v[0] < n || (n & 0x80000000 && !(v[0] & 0x80000000)))
        return 0;
    cpuid(n, sub, v);
    return v[reg];
}

static struct regs base(void *ip)
{
    static u8 room[4096] __attribute__((aligned(4096)));
    struct regs r = { .ip = (ul)ip, .cs = 8, .ds = 0x10, .es = 0x10, .fs = 0x10, .gs = 0x10, .ss = 0x10, .fl = 2, .bx = (ul)room + 1024, .dx = 1 };
    r.sp = (ul)stack_top - 8192;
    return r;
}

#define I(name, text) CODE(i_##name, text "\n" CODE_END)
I(tsc, "rdtsc") I(msr, "mov $0x8b,%ecx; rdmsr") I(cx8, "cmpxchg8b (%ebx)") I(cmov, "cmovz %eax,%ecx")
I(nop, ".byte 0x0f,0x1f,0xc0") I(fcmov, "fninit; fldz; fcmovb %st(0),%st") I(fcomi, "fninit; fldz; fcomi %st(0),%st") I(mmx, "emms")
I(fxsr, "fxsave (%ebx)")
I(sse, "xorps %xmm0,%xmm0") I(sse2, "xorpd %xmm0,%xmm0") I(sse3, "haddps %xmm0,%xmm0") I(fisttp, "fninit; fldz; fisttps (%ebx)")
I(ssse3, "pabsb %xmm0,%xmm0") I(sse41, "ptest %xmm0,%xmm0") I(sse42, "pcmpgtq %xmm0,%xmm0") I(popcnt, "popcnt %eax,%eax") I(aes, "aesenc %xmm0,%xmm0")
I(pclmulqdq, "pclmulqdq $0,%xmm0,%xmm0") I(movbe, "movbe (%ebx),%eax") I(rdrand, "rdrand %eax") I(rdseed, "rdseed %eax") I(clfsh, "clflush (%ebx)")
I(clflushopt, "clflushopt (%ebx)") I(clwb, "clwb (%ebx)") I(adx, "adcx %eax,%eax") I(sha, "sha1nexte %xmm0,%xmm0") I(gfni, "gf2p8mulb %xmm0,%xmm0")
I(xsave, "xor %ecx,%ecx; xgetbv") I(avx, "vxorps %xmm0,%xmm0,%xmm0") I(avx2, "vpxor %ymm0,%ymm0,%ymm0") I(fma, "vfmadd132ps %xmm0,%xmm0,%xmm0")
I(f16c, "vcvtph2ps %xmm0,%xmm0") I(bmi1, "andn %eax,%eax,%eax") I(bmi2, "pdep %eax,%eax,%eax") I(avx512f, "vpxord %zmm0,%zmm0,%zmm0")
I(rdtscp, "rdtscp") I(rdpid, "rdpid %eax") I(monitor, "mov %ebx,%eax; monitor") I(smap, "clac") I(sse4a, "extrq $1,$1,%xmm0") I(prefetchw, "prefetchw (%ebx)")
#undef I

#define ROW(name, n, sub, reg, bit) { #name, i_##name, n, sub, reg, bit }
static const struct { const char *name; u8 *code; u32 leaf, sub; u8 reg, bit; } rows[] = {
    ROW(tsc, 1, 0, 3, 4), ROW(msr, 1, 0, 3, 5), ROW(cx8, 1, 0, 3, 8), ROW(cmov, 1, 0, 3, 15), ROW(nop, 1, 0, 3, 15),
    ROW(fcmov, 1, 0, 3, 15), ROW(fcomi, 1, 0, 3, 15), ROW(mmx, 1, 0, 3, 23), ROW(fxsr, 1, 0, 3, 24), ROW(sse, 1, 0, 3, 25), ROW(sse2, 1, 0, 3, 26),
    ROW(sse3, 1, 0, 2, 0), ROW(fisttp, 1, 0, 2, 0), ROW(ssse3, 1, 0, 2, 9), ROW(sse41, 1, 0, 2, 19), ROW(sse42, 1, 0, 2, 20),
    ROW(popcnt, 1, 0, 2, 23),
    ROW(aes, 1, 0, 2, 25), ROW(pclmulqdq, 1, 0, 2, 1), ROW(movbe, 1, 0, 2, 22), ROW(rdrand, 1, 0, 2, 30), ROW(rdseed, 7, 0, 1, 18),
    ROW(clfsh, 1, 0, 3, 19),
    ROW(clflushopt, 7, 0, 1, 23), ROW(clwb, 7, 0, 1, 24), ROW(adx, 7, 0, 1, 19), ROW(sha, 7, 0, 1, 29), ROW(gfni, 7, 0, 2, 8),
    ROW(xsave, 1, 0, 2, 26),
    ROW(avx, 1, 0, 2, 28), ROW(avx2, 7, 0, 1, 5), ROW(fma, 1, 0, 2, 12), ROW(f16c, 1, 0, 2, 29), ROW(bmi1, 7, 0, 1, 3), ROW(bmi2, 7, 0, 1, 8),
    ROW(avx512f, 7, 0, 1, 16), ROW(rdtscp, 0x80000001, 0, 3, 27), ROW(rdpid, 7, 0, 2, 22), ROW(monitor, 1, 0, 2, 3), ROW(smap, 7, 0, 1, 20),
    ROW(sse4a, 0x80000001, 0, 2, 6), ROW(prefetchw, 0x80000001, 0, 2, 8),
};

/* The floating-point units are switched on as far as there are bits for it. */
static void instructions(void)
{
    u32 d = leaf(1, 0, 3), c = leaf(1, 0, 2);
    WRITE_CR(0, READ_CR(0) & ~14ul);
    if (d >> 24 & 1)
        WRITE_CR(4, READ_CR(4) | 0x200 | (d >> 25 & 1) << 10);
    if (c >> 26 & 1) {
        u32 all = leaf(0xd, 0, 0);
        WRITE_CR(4, READ_CR(4) | 0x40000);
        __asm__ volatile("xsetbv" : : "a"(all), "d"(0), "c"(0));
    }
    for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct regs r = base(rows[i].code);
        unsigned offered = leaf(rows[i].leaf, rows[i].sub, rows[i].reg) >> rows[i].bit & 1;
        enter(&r);
        if (last.vec != (offered ? 0x80u : 6u)) {
            put(rows[i].name);
            put(": ");
            EQ(last.vec, offered ? 0x80 : 6);
        }
    }
}

CODE(set_cr4, "mov %eax,%cr4\n" CODE_END)
CODE(set_efer, "mov $0xc0000080,%ecx; xor %edx,%edx; wrmsr\n" CODE_END)

static void try_bit(u8 *code, ul old, unsigned bit, int offered)
{
    struct regs r = base(code);
    r.ax = old ^ 1u << bit;
    enter(&r);
    EQ(last.vec, offered ? 0x80 : 13);
    if (last.vec != (offered ? 0x80u : 13u)) {
        put("bit ");
        put_dec(bit);
        put("\n");
    }
}

static void cr4(void)
{
    static const struct { u32 leaf; u8 reg, bit; } need[32] = {
        [0] = { 1, 3, 1 }, [1] = { 1, 3, 1 }, [2] = { 1, 3, 4 }, [3] = { 1, 3, 2 }, [4] = { 1, 3, 3 }, [6] = { 1, 3, 7 }, [7] = { 1, 3, 13 },
        [8] = { 1, 3, 15 },
        [9] = { 1, 3, 24 }, [10] = { 1, 3, 25 }, [11] = { 7, 2, 2 }, [12] = { 7, 2, 16 }, [16] = { 7, 1, 0 }, [18] = { 1, 2, 26 }, [20] = { 7, 1, 7 },
        [21] = { 7, 1, 20 }, [22] = { 7, 2, 3 },
    };
    ul old = READ_CR(4);
    for (unsigned b = 0; b < 32; b++) {
        if (b == 5 || b == 17)                 /* PAE would change the tables; PCIDE is for long mode */
            continue;
        try_bit(set_cr4, old, b, need[b].leaf && (leaf(need[b].leaf, 0, need[b].reg) >> need[b].bit & 1));
        WRITE_CR(4, old);
    }
}

static void efer(void)
{
    u32 d = leaf(0x80000001, 0, 3), c = leaf(0x80000001, 0, 2);
    int there = (d >> 29 & 1) || (d >> 20 & 1);
    u32 v[4];
    if (!(leaf(1, 0, 3) >> 5 & 1))
        SKIP("no MSRs");
    cpuid(0, 0, v);
    /* SYSCALL is shown to 64-bit code only by an Intel: long mode stands for it */
    try_bit(set_efer, 0, 0, there && (v[1] == 0x68747541 ? d >> 11 & 1 : d >> 29 & 1));
    try_bit(set_efer, 0, 8, d >> 29 & 1);
    try_bit(set_efer, 0, 11, d >> 20 & 1);
    try_bit(set_efer, 0, 12, c >> 2 & 1);
    if (there)
        wrmsr(0xc0000080, 0);
}

/* EFLAGS.ID says that there is CPUID: on all of them. */
static void flags_id(void)
{
    ul f, g;
    __asm__ volatile("pushf; pop %0; mov %0,%1; xor $0x200000,%1; push %1; popf; pushf; pop %1" : "=&r"(f), "=&r"(g));
    EQ((f ^ g) >> 21 & 1, 1);
}

int main(void)
{
    RUN(flags_id);
    RUN(instructions);
    RUN(cr4);
    RUN(efer);
    finish();
}
