/*
 * Performance counters (+pmu): what CPUID says, reserved bits, cycles against the time stamp counter, one privilege only, halting, RDPMC and who may,
 * overflow with its status and its interrupt. Without them: #GP. SDM vol. 3 ch. 20.2.
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
    EQ(v[0], 0x07300402); EQ(v[1], 0x7a); EQ(v[3], 0);
    go(wr, 0, 0x38f, 0x10, 0); EXPECT(13, 0, wr);
    go(wr, 0, 0x38f, 0, 1); EXPECT(13, 0, wr);
    go(wr, 0, 0x186, 0, 1); EXPECT(13, 0, wr);
    go(wr, 0, 0x38e, 0, 0); EXPECT(13, 0, wr);
    go(wr, 0, 0x390, 0x10, 0); EXPECT(13, 0, wr);
    go(rd, 0, 0xc5, 0, 0); EXPECT(13, 0, rd);
    go(rd, 0, 0x309, 0, 0); EXPECT(13, 0, rd);
    wrmsr(0xc1, 0xabcd); EQ(rdmsr(0xc1), 0xabcd);
    wrmsr(0xc2, 0x80000001); EQ(rdmsr(0xc2), 0xffff80000001);
    wrmsr(0x186, 0x41003c); EQ(rdmsr(0x186), 0x41003c);
    wrmsr(0x186, 0);
}

static void cycles(void)
{
    wrmsr(0x186, EN | OS | USER | 0x3c);
    wrmsr(0x187, EN | OS | USER | 0x13c);
    wrmsr(0x188, EN | OS | USER | 0xc0);                   /* instructions: cannot be counted, so they are not */
    wrmsr(0x189, OS | USER | 0x3c);                        /* not enabled */
    for (u32 n = 0; n < 4; n++)
        wrmsr(0xc1 + n, 0);
    u64 t0 = rdtsc();
    wrmsr(0x38f, 15);
    u64 t1 = rdtsc();
    spin(2000000);
    u64 t2 = rdtsc();
    wrmsr(0x38f, 0);
    u64 t3 = rdtsc(), c = rdmsr(0xc1), ref = rdmsr(0xc2);
    EQ(c >= t2 - t1 && c <= t3 - t0, 1);
    EQ(ref >= t2 - t1 && ref <= t3 - t0, 1);
    EQ(rdmsr(0xc3), 0); EQ(rdmsr(0xc4), 0);
    spin(100000);
    EQ(rdmsr(0xc1), c);
    EQ(rdpmc(0), c);
    go(pmc, 0, 4, 0, 0); EXPECT(13, 0, pmc);
    go(pmc, 0, 0x40000000, 0, 0); EXPECT(13, 0, pmc);
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
    finish();
}
