/*
 * Performance counters (+pmu): what CPUID says, reserved bits, cycles against the time stamp counter, one privilege only, halting, RDPMC and who may,
 * overflow with its status and its interrupt; instructions, to the last one. Without them: #GP. SDM vol. 3 ch. 20.2.
 */
#include "kit.h"

#define EN (1ull << 22)
#define INT (1ull << 20)
#define OS (1ull << 17)
#define USER (1ull << 16)
#define LVT_PERF (*(volatile u32 *)0xfee00340)
#define LVT_TIMER (*(volatile u32 *)0xfee00320)
#define MASK48 ((1ull << 48) - 1)

static struct regs base(void *ip, int ring)
{
    struct regs r = { .ip = (ul)ip, .cs = ring ? 0x2b : 8, .ds = 0x23, .es = 0x23, .ss = ring ? 0x23 : 0x10, .fl = 2 };
    r.sp = (ring ? (ul)user_stack_top : (ul)stack_top - 8192) - 256;
    return r;
}
static void go(void *ip, int ring, ul cx, ul ax, ul dx)
{
    struct regs r = base(ip, ring);
    r.cx = cx, r.ax = ax, r.dx = dx;
    enter(&r);
}
static u64 rdpmc(u32 n) { u32 a, d; __asm__ volatile("rdpmc" : "=a"(a), "=d"(d) : "c"(n)); return (u64)d << 32 | a; }
static void spin(u64 cycles) { for (u64 t = rdtsc(); rdtsc() - t < cycles;) { } }
static int there(void) { u32 v[4]; cpuid(0xa, 0, v); return v[0] & 0xff; }

CODE(rd, "rdmsr\n" CODE_END)
CODE(wr, "wrmsr\n" CODE_END)
CODE(pmc, "rdpmc\n" CODE_END)
/* rbx: how long */
CODE(busy, "rdtsc; shl $32,%rdx; or %rdx,%rax; add %rax,%rbx\n1: rdtsc; shl $32,%rdx; or %rdx,%rax; cmp %rbx,%rax; jb 1b\n" CODE_END)
CODE(wait_here, "1: pause; jmp 1b\n")
CODE(halt, "sti; hlt\n" CODE_END)

static void absent(void)
{
    go(rd, 0, 0xc1, 0, 0); EXPECT(13, 0, rd);
    go(rd, 0, 0x38f, 0, 0); EXPECT(13, 0, rd);
    go(pmc, 0, 0, 0, 0); EXPECT(13, 0, pmc);
}

static void registers(void)
{
    u32 v[4];
    cpuid(0xa, 0, v);
    EQ(v[0], 0x07300402); EQ(v[1], 0x78); EQ(v[3], 0x603);
    go(wr, 0, 0x38f, 0x10, 0); EXPECT(13, 0, wr);
    go(wr, 0, 0x186, 0, 1); EXPECT(13, 0, wr);
    go(wr, 0, 0x38e, 0, 0); EXPECT(13, 0, wr);
    go(wr, 0, 0x390, 0x10, 0); EXPECT(13, 0, wr);
    go(rd, 0, 0xc5, 0, 0); EXPECT(13, 0, rd);
    go(rd, 0, 0x30c, 0, 0); EXPECT(13, 0, rd);
    go(wr, 0, 0x38d, 4, 0); EXPECT(13, 0, wr);             /* "any thread" is of version 3 */
    go(wr, 0, 0x38d, 0x1000, 0); EXPECT(13, 0, wr);
    go(wr, 0, 0x38f, 0, 8); EXPECT(13, 0, wr);
    go(wr, 0, 0x390, 0, 8); EXPECT(13, 0, wr);
    go(wr, 0, 0x309, 0, 0x10000); EXPECT(13, 0, wr);
    wrmsr(0x30a, 0xabcd80000001); EQ(rdmsr(0x30a), 0xabcd80000001);
    wrmsr(0x38d, 0xb3b); EQ(rdmsr(0x38d), 0xb3b);
    wrmsr(0x38d, 0);
    wrmsr(0xc1, 0xabcd); EQ(rdmsr(0xc1), 0xabcd);
    wrmsr(0xc2, 0x80000001); EQ(rdmsr(0xc2), 0xffff80000001);
    wrmsr(0x186, 0x41003c); EQ(rdmsr(0x186), 0x41003c);
    wrmsr(0x186, 0);
}

static void cycles(void)
{
    wrmsr(0x186, EN | OS | USER | 0x3c);
    wrmsr(0x187, EN | OS | USER | 0x13c);
    wrmsr(0x188, EN | OS | USER | 0xc4);                   /* branches: cannot be counted, so they are not */
    wrmsr(0x189, OS | USER | 0x3c);                        /* not enabled */
    wrmsr(0x38d, 0x330);
    for (u32 n = 0; n < 4; n++)
        wrmsr(0xc1 + n, 0);
    for (u32 n = 0; n < 3; n++)
        wrmsr(0x309 + n, 0);
    u64 t0 = rdtsc();
    wrmsr(0x38f, 7ull << 32 | 15);
    u64 t1 = rdtsc();
    spin(2000000);
    u64 t2 = rdtsc();
    wrmsr(0x38f, 0);
    u64 t3 = rdtsc(), c = rdmsr(0xc1), ref = rdmsr(0xc2);
    EQ(c >= t2 - t1 && c <= t3 - t0, 1);
    EQ(ref >= t2 - t1 && ref <= t3 - t0, 1);
    EQ(rdmsr(0xc3), 0); EQ(rdmsr(0xc4), 0); EQ(rdmsr(0x309), 0);
    EQ(rdmsr(0x30a), c); EQ(rdmsr(0x30b), c);
    EQ(rdpmc(1 << 30 | 1), c);
    spin(100000);
    EQ(rdmsr(0xc1), c);
    EQ(rdpmc(0), c);
    go(pmc, 0, 4, 0, 0); EXPECT(13, 0, pmc);
    go(pmc, 0, 0x40000003, 0, 0); EXPECT(13, 0, pmc);
    go(pmc, 3, 0, 0, 0); EXPECT(13, 0, pmc);
    WRITE_CR(4, READ_CR(4) | 0x100);
    go(pmc, 3, 0, 0, 0); EXPECT_END(); EQ(last.ax | last.dx << 32, c);
    WRITE_CR(4, READ_CR(4) & ~0x100ul);
}

static void one_level(void)
{
    wrmsr(0x186, EN | OS | 0x3c);
    wrmsr(0x187, EN | USER | 0x3c);
    wrmsr(0xc1, 0); wrmsr(0xc2, 0);
    wrmsr(0x38f, 3);
    spin(1000000);
    EQ(rdpmc(0) >= 1000000, 1); EQ(rdpmc(1), 0);
    wrmsr(0x38f, 0);
    wrmsr(0xc1, 0);
    struct regs r = base(busy, 3);
    r.bx = 3000000;
    wrmsr(0x38f, 3);
    u64 t = rdtsc();
    enter(&r);
    t = rdtsc() - t;
    wrmsr(0x38f, 0);
    EXPECT_END();
    u64 os = rdmsr(0xc1), user = rdmsr(0xc2);
    EQ(user >= 3000000 && user <= t, 1);
    EQ(os > 0 && os < t - user + 2000000, 1);
}

static void overflow(void)
{
    *(volatile u32 *)0xfee000f0 = 0x1ff;
    wrmsr(0x186, EN | INT | OS | USER | 0x3c);
    wrmsr(0x187, EN | OS | USER | 0x3c);
    for (unsigned way = 0; way < 3; way++) {               /* a vector, an NMI, masked */
        LVT_PERF = way == 0 ? 0x45 : way == 1 ? 0x400 : 0x10045;
        wrmsr(0xc1, -5000000ll); wrmsr(0xc2, -2000000ll);
        EQ(rdmsr(0xc1), -5000000ll & MASK48);
        struct regs r = base(way == 2 ? busy : wait_here, 0);
        r.fl = 0x202;
        r.bx = 20000000;
        u64 t = rdtsc();
        wrmsr(0x38f, 3);
        enter(&r);
        t = rdtsc() - t;
        EQ(last.vec, way == 0 ? 0x45 : way == 1 ? 2 : 0x80);
        EQ(rdmsr(0x38e), 3);                               /* the other one has passed zero without a word */
        EQ(rdmsr(0xc1) < 1000000000, 1);
        EQ(t >= 5000000, 1);
        EQ(LVT_PERF >> 16 & 1, 1);                         /* it has masked itself */
        wrmsr(0x390, 1); EQ(rdmsr(0x38e), 2);
        wrmsr(0x38f, 0);
        wrmsr(0x390, 2); EQ(rdmsr(0x38e), 0);
        *(volatile u32 *)0xfee000b0 = 0;
    }
    LVT_PERF = 0x45;                                       /* DEBUGCTL says: the counters stop when one overflows */
    wrmsr(0x1d9, 1 << 12);
    wrmsr(0xc1, -1000000ll);
    wrmsr(0x38f, 1);
    struct regs r = base(wait_here, 3);
    r.fl = 0x202;
    enter(&r);
    EQ(last.vec, 0x45);
    EQ(rdmsr(0x38f), 0);
    wrmsr(0x1d9, 0);
    wrmsr(0x390, 3);
    *(volatile u32 *)0xfee000b0 = 0;
}

/* A processor that halts has no cycles, and no counter wakes it. */
static void halting(void)
{
    LVT_PERF = 0x45;
    LVT_TIMER = 0x46;
    *(volatile u32 *)0xfee003e0 = 0xb;
    wrmsr(0x186, EN | INT | OS | USER | 0x3c);
    wrmsr(0xc1, -30000000ll);
    struct regs r = base(halt, 0);
    wrmsr(0x38f, 1);
    *(volatile u32 *)0xfee00380 = 100000000;               /* 0.1 s of the timer's 1 GHz: some 200 million cycles */
    u64 t = rdtsc();
    enter(&r);
    t = rdtsc() - t;
    wrmsr(0x38f, 0);
    EQ(last.vec, 0x46);
    EQ(t > 60000000, 1);
    EQ(rdmsr(0x38e), 0);
    *(volatile u32 *)0xfee000b0 = 0;
}

/* ---- instructions: from RDPMC to RDPMC, the first of them included ---- */
#define FROM "mov $0x40000000,%ecx; rdpmc; shl $32,%rdx; or %rdx,%rax; mov %rax,%r15\n"     /* 3 behind the RDPMC */
#define TO "mov $0x40000000,%ecx; rdpmc; shl $32,%rdx; or %rdx,%rax; sub %r15,%rax\n"       /* 1 before it */
#define AROUND 5
CODE(i_none, FROM TO CODE_END)
CODE(i_nops, FROM ".fill 200,1,0x90\n" TO CODE_END)
/* Linked blocks, calls and indirect jumps: 3 + 1000 * 6 */
CODE(i_linked, FROM "mov $1000,%ebx; lea 3f(%rip),%rsi; lea 4f(%rip),%rdi\n1: call *%rsi; dec %ebx; jnz 1b; jmp 2f\n3: test $1,%bl; jmp *%rdi\n4: ret\n2:" TO
     CODE_END)
/* A loop of loads and stores that becomes hot: 3 + 100000 * 6 */
CODE(i_copy, FROM "mov $100000,%ebx; lea buffer(%rip),%rsi; xor %edi,%edi\n1: mov (%rsi,%rdi),%rax; mov %rax,8192(%rsi,%rdi); add $8,%edi; and $4088,%edi; dec %ebx;"
     "jnz 1b\n" TO CODE_END)
/* A repeated instruction is one, whatever it does: 3 + 1, 2 + 1, 2 + 1, 2 + 1 */
CODE(i_rep, FROM "lea buffer(%rip),%rsi; lea 5(%rsi),%rdi; mov $12000,%ecx; rep movsb; lea buffer(%rip),%rdi; xor %ecx,%ecx; rep stosl;"
     "mov $9000,%ecx; mov $7,%eax; repne scasw; mov $3,%ecx; mov $0x80,%dx; rep outsb\n" TO CODE_END)
/* Its own next instruction is written, then the one before; a write across a page's end: 1 + 1 + 1 + 1, 2 */
CODE(i_smc, FROM "movb $0x90,i_smc_at(%rip)\n.global i_smc_at\ni_smc_at: clc; 2: nop; movb $0xf8,2b(%rip); lea buffer(%rip),%rsi; lock incq 4093(%rsi)\n" TO CODE_END)
/* At CPL 3, whole: up to the fault, which is not complete; INT n is. */
CODE(u_end, "nop; nop; nop\n" CODE_END)
CODE(u_page, "mov %rsp,%rbx; inc %rbx; mov (%rax),%rcx; nop\n" CODE_END)
CODE(u_push, "mov %rsp,%rbx; xor %esp,%esp; push %rax; nop\n" CODE_END)
CODE(u_div, "nop; xor %ecx,%ecx; nop; div %ecx; nop\n" CODE_END)
CODE(u_ud, "nop; ud2\n")
CODE(u_gp, "nop; nop; hlt\n")
CODE(u_rdmsr, "nop; rdmsr\n")
CODE(u_string, "cld; lea buffer(%rip),%rsi; mov $0xfffffffffffff800,%rdi; mov $4096,%ecx; rep movsb; nop\n" CODE_END)
CODE(u_fetch, "nop; nop; jmp *%rax\n")
CODE(u_int3, "nop; int3\n")
CODE(u_icebp, "nop; .byte 0xf1\n")
CODE(u_int_gp, "nop; int $0x81\n")
CODE(u_simd, "nop; movl $0,-8(%rsp); ldmxcsr -8(%rsp); pcmpeqd %xmm0,%xmm0; pslld $31,%xmm0; pxor %xmm1,%xmm1; divss %xmm1,%xmm0; nop\n" CODE_END)
CODE(u_jcc, "xor %eax,%eax; jz 1f; nop\n1: cmp $1,%eax; jz 2f; nop; nop\n2:" CODE_END)
CODE(u_loop, "mov $10000,%ecx; 1: add %rcx,%rax; mov %rax,-8(%rsp); loop 1b\n" CODE_END)
LABEL(i_smc_at);
u8 buffer[65536] __attribute__((aligned(4096)));

static u64 counted(void *ip, int ring)
{
    struct regs r = base(ip, ring);
    enter(&r);
    EXPECT_END();
    return last.ax - AROUND;
}

static void instructions(void)
{
    WRITE_CR(4, READ_CR(4) | 0x300);
    wrmsr(0x38d, 3);
    wrmsr(0x38f, 1ull << 32);
    for (int ring = 0; ring < 4; ring += 3)
        for (int turn = 0; turn < 3; turn++) {
            EQ(counted(i_none, ring), 0);
            EQ(counted(i_nops, ring), 200);
            EQ(counted(i_linked, ring), 4 + 1000 * 6);
            EQ(counted(i_copy, ring), 3 + 100000 * 6);
            if (!ring) {
                EQ(counted(i_rep, ring), 4 + 3 + 3 + 3);
                EQ(counted(i_smc, ring), 6);
                i_smc_at[0] = 0xf8;
            }
        }
    wrmsr(0x38f, 0);
    WRITE_CR(4, READ_CR(4) & ~0x100ul);
}

/* What a counter of CPL 3 has counted of a piece that ends by VEC. */
static void user(int line, void *ip, unsigned vec, unsigned want, ul fl)
{
    struct regs r = base(ip, 3);
    r.ax = 0xffffffffffff0000 - 0x8000000000;              /* nothing is there */
    r.fl = fl;
    wrmsr(0xc1, 0); wrmsr(0xc2, 0);
    wrmsr(0x38f, 3);
    enter(&r);
    wrmsr(0x38f, 0);
    if (last.vec != vec || rdmsr(0xc1) != want)
        failed_at(line, "instructions", rdmsr(0xc1), want);
    EQ(last.vec, vec);
    static u64 os;                                         /* the way there and back is always the same, but for the vector's stub */
    u64 v = rdmsr(0xc2);
    if (!os)
        os = v;
    EQ(v - os + 2 <= 4, 1);
}

static void instructions_of_a_level(void)
{
    wrmsr(0x186, EN | USER | 0xc0);
    wrmsr(0x187, EN | OS | 0xc0);
    for (int turn = 0; turn < 3; turn++) {
        user(__LINE__, u_end, 0x80, 4, 2);
        user(__LINE__, u_page, 14, 2, 2);
        user(__LINE__, u_push, 14, 2, 2);
        user(__LINE__, u_div, 0, 3, 2);
        user(__LINE__, u_ud, 6, 1, 2);
        user(__LINE__, u_gp, 13, 2, 2);
        user(__LINE__, u_rdmsr, 13, 1, 2);
        user(__LINE__, u_string, 14, 4, 2);
        user(__LINE__, u_fetch, 14, 3, 2);
        user(__LINE__, u_int3, 3, 2, 2);
        user(__LINE__, u_icebp, 1, 2, 2);
        user(__LINE__, u_int_gp, 13, 1, 2);
        user(__LINE__, u_simd, 19, 6, 2);
        user(__LINE__, u_jcc, 0x80, 7, 2);
        user(__LINE__, u_loop, 0x80, 30002, 2);
        user(__LINE__, u_end, 1, 1, 0x102);                /* single step */
    }
}

/* The interrupt comes at once, the counter goes on. */
static void instructions_overflow(void)
{
    LVT_PERF = 0x45;
    wrmsr(0x186, EN | INT | USER | 0xc0);
    wrmsr(0x38d, 8 | 2);
    for (unsigned left = 1; left < 200000; left = left * 3 + 1) {
        LVT_PERF = 0x45;
        wrmsr(0xc1, -(u64)left);
        wrmsr(0x309, -(u64)left - 100000 & MASK48);
        struct regs r = base(wait_here, 3);
        r.fl = 0x202;
        wrmsr(0x38f, 1ull << 32 | 1);
        enter(&r);
        wrmsr(0x38f, 0);
        EQ(last.vec, 0x45);
        EQ(rdmsr(0x38e), 1);
        EQ(rdmsr(0xc1) < 64, 1);
        EQ(rdmsr(0xc1) + left, (rdmsr(0x309) + left + 100000) & MASK48);
        wrmsr(0x390, 1); EQ(rdmsr(0x38e), 0);
        *(volatile u32 *)0xfee000b0 = 0;
    }
    LVT_PERF = 0x45;
    wrmsr(0x309, -50000ull & MASK48);
    struct regs r = base(wait_here, 3);
    r.fl = 0x202;
    wrmsr(0x38f, 1ull << 32);
    enter(&r);
    wrmsr(0x38f, 0);
    EQ(last.vec, 0x45); EQ(rdmsr(0x38e), 1ull << 32); EQ(rdmsr(0x309) < 64, 1);
    wrmsr(0x390, 1ull << 32); EQ(rdmsr(0x38e), 0);
    *(volatile u32 *)0xfee000b0 = 0;
    LVT_PERF = 0x10045;
}

int main(void)
{
    if (!there()) {
        RUN(absent);
        finish();
    }
    RUN(registers);
    RUN(cycles);
    RUN(one_level);
    RUN(overflow);
    RUN(halting);
    RUN(instructions);
    RUN(instructions_of_a_level);
    RUN(instructions_overflow);
    finish();
}
