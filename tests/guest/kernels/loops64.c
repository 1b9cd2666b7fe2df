/*
 * Hot loops whose addresses move by constants, which the translator runs without checks for many turns: interrupts in the middle of
 * them, streams that run into a device, a page that is not there, not writable or their own code, remapped pages, floating-point
 * exceptions in a late turn. SDM vol. 3 ch. 4.7, 6.5, 8.1.3.
 */
#include "kit.h"

#define VA 0x40000000ul
#define PA 0x800000ul
#define APIC 0xfee00000ul
#define RUNS 4                                       /* of each loop: the first makes it hot */
extern u64 pd[4][512];
static u64 pt[512] __attribute__((aligned(4096)));

static void map(unsigned n, u64 pte)
{
    ul va = VA + n * 4096ul;
    pt[n] = pte;
    __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

/* Pages of the supervisor, which alone get region descriptors at CPL 0. The first five at VA are neighbours in memory, the others not: an
   instruction that often meets a new run is translated otherwise. */
static void setup(void)
{
    static const u8 page[8] = { 0, 1, 2, 3, 4, 6, 5, 7 };
    pd[1][0] = (ul)pt | 3;
    for (unsigned i = 0; i < 8; i++)
        map(i, (PA + page[i] * 4096ul) | 3);
    memset((void *)PA, 0, 0x8000);
    for (ul i = 0; i < 0x8000 / 8; i++)
        *(u64 *)(VA + 8 * i) = i;
}

static struct regs base(void *ip, ul bx, ul cx)
{
    struct regs r = { .ip = (ul)ip, .cs = 8, .ds = 0x10, .es = 0x10, .ss = 0x10, .fl = 2, .bx = bx, .cx = cx, .sp = (ul)stack_top - 8192 };
    return r;
}
static void go(void *ip, ul bx, ul cx) { struct regs r = base(ip, bx, cx); enter(&r); }

CODE(sum, "1: add (%rbx),%rax\n add $8,%rbx\nsum_2: sub $1,%rcx\n jnz 1b\n" CODE_END)
CODE(fill, "1: mov %rcx,(%rbx)\n add $8,%rbx\n dec %rcx\n jnz 1b\n" CODE_END)
CODE(down, "1: incq (%rbx)\n lea -8(%rbx),%rbx\n cmp %rdx,%rbx\n jae 1b\n" CODE_END)
CODE(devs, "1: mov (%rbx),%eax\n add $16,%rbx\n dec %ecx\n jnz 1b\n" CODE_END)
CODE(devw, "1: mov %edx,(%rbx)\n add $0x100,%rbx\n dec %ecx\n jnz 1b\n" CODE_END)
CODE(carry, "1: adc (%rbx),%rax\n lea 8(%rbx),%rbx\n dec %rcx\n jnz 1b\n" CODE_END)
CODE(back, "1: lea -64(%rbx),%rbx\n mov %rcx,64(%rbx,%rsi,8)\n add $64,%rbx\n add $1,%rsi\n sub $1,%rcx\n jnz 1b\n" CODE_END)
CODE(after, "1: add (%rbx),%rax\n add $8,%rbx\n sub $1,%rcx\n jnz 1b\nafter_2: mov 0x30(%rbx),%rdx\n" CODE_END) LABEL(after_2);

CODE(chain, "1: mov (%rbx),%rbx\n dec %rcx\n jnz 1b\n" CODE_END)
CODE(mixed, "1: mov %r12,%rbx\n mov $64,%ecx\n"
     "2: mov (%rbx),%rsi\n add $8,%rbx\n sub $1,%rcx\n jnz 2b\n"
     " mov %r13,%rbx\n mov $200,%ecx\n jmp 3f\n nop\n"
     "3: mov %dx,0x400(%rbx)\n mov 8(%rbx),%rbp\n mov (%rbx),%rsi\n mov %rcx,8(%rbx)\n mov %dl,(%rdi,%rsi)\n add 8(%rbx),%rax\n"
     " add $1,%rdi\n sub $1,%rcx\n jnz 3b\n xchg %r14,%rdi\n sub $1,%r8\n jnz 1b\n" CODE_END)

/* A list through all pages, neighbours and not. */
static void lists(void)
{
    setup();
    for (ul i = 0; i < 4096; i++)
        *(u64 *)(VA + i * 1365 % 4096 * 8) = VA + (i + 1) * 1365 % 4096 * 8;
    for (ul n = 1; n <= 0x10000; n = n * 3 + 1) {
        go(chain, VA, n); EXPECT_END(); EQ(last.bx, VA + n * 1365 % 4096 * 8); EQ(last.fl & 0x8d5, 0x44);
    }
    *(u64 *)(VA + 1365 * 4095 % 4096 * 8) = VA + 0x8000;             /* the last leads to a page that is not there */
    struct regs r = base(chain, VA, 0x10000);
    r.fl = 3;                                                        /* CF stays through DEC */
    enter(&r); EXPECT(14, 0, chain); EQ(last.cr2, VA + 0x8000); EQ(last.cx, 0x10000 - 4096); EQ(last.fl & 0x41, 1);
}

/* Loads and stores off one base, the descriptor for loads elsewhere when the copy begins, and a store that misses in its middle. Few turns: an
   instruction that misses often is translated otherwise. */
static void two_descriptors(void)
{
    setup();
    *(u64 *)VA = 0;
    struct regs r = base(mixed, 0, 0);
    r.r12 = VA + 0x5000; r.r13 = VA; r.r8 = 6; r.di = VA + 0x6800; r.r14 = VA + 0x1800;
    enter(&r); EXPECT_END(); EQ(last.ax, 6 * 200 * 201 / 2); EQ(last.di, VA + 0x6800 + 600);
}

static void streams(void)
{
    for (ul n = 1; n <= 0x1000; n = n * 3 + 1) {
        setup();
        go(sum, VA, n); EXPECT_END(); EQ(last.ax, n * (n - 1) / 2); EQ(last.bx, VA + 8 * n); EQ(last.fl & 0x8d5, 0x44);
        go(fill, VA, n); EXPECT_END(); EQ(*(u64 *)VA, n); EQ(*(u64 *)(VA + 8 * n - 8), 1);
        struct regs r = base(down, VA + 8 * n - 8, 0);
        r.dx = VA;
        enter(&r); EXPECT_END(); EQ(*(u64 *)VA, n + 1); EQ(*(u64 *)(VA + 8 * n - 8), 2); EQ(last.bx, VA - 8);
        go(back, VA, n); EXPECT_END();
        for (ul i = 0; i < n; i++)
            EQ(*(u64 *)(VA + 8 * i), n - i);
        go(fill, VA, n);
        go(carry, VA, n); EXPECT_END(); EQ(last.ax, n * (n + 1) / 2);
    }
}

/* The turn that leaves what is mapped: 0x1000 bytes of 8 before VA + 0x5000. */
static void faults(void)
{
    for (int i = 0; i < RUNS; i++) {
        setup();
        map(5, 0);
        go(sum, VA, 0x1000); EXPECT(14, 0, sum); EQ(last.cr2, VA + 0x5000); EQ(last.bx, VA + 0x5000); EQ(last.cx, 0x1000 - 0xa00);
        EQ(last.ax, 0xa00 * 0x9ff / 2);
        EQ(last.fl & 0x8d5, 0x04);
        go(fill, VA, 0x1000); EXPECT(14, 2, fill); EQ(last.bx, VA + 0x5000); EQ(last.cx, 0x600);
        EQ(*(u64 *)(VA + 0x4ff8), 0x601); EQ(last.fl & 0x8d5, 4);
        go(after, VA, 0x9fd - i); EXPECT(14, 0, after_2); EQ(last.cr2, VA + 0x5018 - 8 * (ul)i); EQ(last.cx, 0);
        map(5, (PA + 0x6000) | 5);                       /* read-only, and CR0.WP is set */
        WRITE_CR(0, READ_CR(0) | 1ul << 16);
        go(fill, VA, 0x1000); EXPECT(14, 3, fill); EQ(last.bx, VA + 0x5000); EQ(last.cx, 0x600);
        map(1, 0);
        struct regs r = base(down, VA + 0x4ff8, 0);
        r.dx = VA;
        enter(&r); EXPECT(14, 2, down); EQ(last.bx, VA + 0x1ff8); EQ(last.cr2, VA + 0x1ff8); EQ(*(u64 *)(VA + 0x2000), 0xc01);
    }
}

static void devices(void)
{
    volatile u32 *apic = (volatile u32 *)APIC;
    setup();
    map(2, APIC | 0x1b);
    for (int i = 0; i < RUNS; i++) {
        go(devs, VA, 0x2000 / 16 + 4); EXPECT_END(); EQ(last.ax, apic[0x30 / 4]);
        u32 id = apic[0x20 / 4];
        go(devs, VA + 0x1000, 0x1000 / 16 + 3); EXPECT_END(); EQ(last.ax, id);
        struct regs r = base(devw, VA + 0x80, 0x2000 / 0x100 + 1);      /* the last is the task priority */
        r.dx = 0x10 + i;
        enter(&r); EXPECT_END(); EQ(apic[0x80 / 4], 0x10 + i); EQ(*(u32 *)(VA + 0x1f80), 0x10 + i); EQ(last.bx, VA + 0x2180);
        apic[0x80 / 4] = 0;
    }
}

static void remapped(void)
{
    setup();
    for (u64 i = 0; i < 20; i++) {
        map(1, (PA + 0x1000 + (i & 1) * 0x10000) | 3);
        *(u64 *)(PA + 0x1008) = 1; *(u64 *)(PA + 0x11008) = 1000;
        memset((void *)(PA + 0x11010), 0, 0xff0);
        memset((void *)PA, 0, 0x1008);
        *(u64 *)(PA + 0x11000) = 0;
        memset((void *)(PA + 0x1010), 0, 0xff0);
        go(sum, VA, 0x400); EXPECT_END(); EQ(last.ax, i & 1 ? 1000 : 1);
        go(fill, VA, 0x400); EQ(*(u64 *)(PA + 0x1008 + (i & 1) * 0x10000), 0x400 - 0x201);
        EQ(*(u64 *)(PA + 0x1008 + !(i & 1) * 0x10000), i & 1 ? 1 : 1000);
    }
}

/* Copies bytes over itself: the addend becomes 5 when its byte is written, before the ADD of the same turn. */
CODE(over, "1: mov (%rsi),%al\n mov %al,(%rbx)\n"
     "over_add: add $1,%rdx\n add $1,%rsi\n add $1,%rbx\n dec %rcx\n jnz 1b\n" CODE_END
     "over_end: nop") LABEL(over_add); LABEL(over_end);
static void own_code(void)
{
    ul at = PA + 0x20800, from = PA + 0x30000, imm = (ul)(over_add - over) + 3, n = (ul)(over_end - over), before = 1500;
    for (int i = 0; i < RUNS; i++) {
        memcpy((void *)at, over, n);
        memset((void *)from, 0x90, 8192);
        memcpy((void *)(from + before), over, n);
        *(u8 *)(from + before + imm) = (u8)(5 + i);
        struct regs r = base((void *)at, at - before, before + n);
        r.si = from;
        enter(&r); EXPECT_END();
        EQ(last.dx, before + imm + (n - imm) * (ul)(5 + i)); EQ(last.cx, 0);
    }
}

/* Every tick ends enter(); the loop goes on from there. */
CODE(ticked, "1: add (%rbx),%rax\n mov %rax,(%rbx)\n add $8,%rbx\n add $1,%rdx\n sub $8,%rcx\n jnz 1b\nticked_end:" CODE_END) LABEL(ticked_end);
CODE(forever, "1: add (%rbx),%rax\n add $1,%rdx\n dec %rcx\n jnz 1b\n" CODE_END)

static void timer(void)
{
    for (unsigned i = 0; i < 8; i++) {
        static const u8 init[8][2] = {
            { 0x20, 0x11 }, { 0x21, 0x20 }, { 0x21, 4 }, { 0x21, 1 }, { 0xa0, 0x11 }, { 0xa1, 0x28 }, { 0xa1, 2 }, { 0xa1, 1 },
        };
        outb(init[i][0], init[i][1]);
    }
    outb(0x21, 0xfe); outb(0xa1, 0xff);
    outb(0x43, 0x34); outb(0x40, 0xa9); outb(0x40, 4);            /* 1 ms */
}

/* A loop that would run for minutes is left at each tick. */
static void latency(void)
{
    setup();
    timer();
    *(u64 *)VA = 3;
    struct regs r = base(forever, VA, 1ul << 40);
    r.fl = 0x202;
    for (unsigned n = 0; n < 100; n++) {
        ul before = r.cx;
        enter(&r);
        EQ(last.vec, 0x20);
        EQ(last.dx, (1ul << 40) - last.cx + (last.ip > (ul)forever + 3 && last.ip < (ul)forever + 10)); EQ(last.cx <= before, 1);
        if (last.ip == (ul)forever)
            EQ(last.ax, 3 * last.dx);
        outb(0x20, 0x20);
        r = last;
    }
    EQ(last.cx < 1ul << 40, 1);
    outb(0x21, 0xff);
}

static void ticks(void)
{
    unsigned n_ticks = 0, early = 0;
    setup();
    timer();
    struct regs r = base(ticked, VA, 0x8000);
    r.fl = 0x202;
    for (unsigned turns = 0; turns < 1000000000 && n_ticks < 300;) {
        enter(&r);
        ul done = last.bx - VA;
        if (last.vec == 0x80) {
            EQ(done, 0x8000); EQ(last.cx, 0); EQ(last.dx, 0x1000); EQ(last.fl & 0xcd5, 0x44);
            turns += 0x1000;
            r = base(ticked, VA, 0x8000);
            r.fl = 0x202;
            continue;
        }
        EQ(last.vec, 0x20); EQ(last.ip >= (ul)ticked && last.ip <= (ul)ticked_end, 1); EQ(last.fl & 0x602, 0x202);
        if (last.ip == (ul)ticked) {
            EQ(done & 7, 0); EQ(done / 8, last.dx); EQ(last.cx, 0x8000 - done);
            if (done && done < 0x8000) {
                early++;
                EQ(last.fl & 0x8c1, 0);
            }
        }
        n_ticks++;
        outb(0x20, 0x20);
        r = last;
    }
    outb(0x21, 0xff);
    EQ(n_ticks > 50, 1); EQ(early > 0, 1);
}

static u32 mxcsr_zm = 0x1d80;
static u16 fcw_zm = 0x37b;
static u64 ones[2048];
CODE(xm, "ldmxcsr (%rsi); mov $0x3ff0000000000000,%rax; movq %rax,%xmm0; movq %rax,%xmm1\n"
     "1: divsd (%rbx),%xmm0\n addsd %xmm1,%xmm0\n add $8,%rbx\n dec %ecx\n jnz 1b\n" CODE_END)
CODE(mf, "fninit; fldcw (%rsi)\n"
     "1: fld1\n fdivl (%rbx)\nmf_at: fstp %st(0)\n add $8,%rbx\n dec %ecx\n jnz 1b\n" CODE_END) LABEL(mf_at);
static void arithmetic(void)
{
    WRITE_CR(4, READ_CR(4) | 0x600);
    WRITE_CR(0, (READ_CR(0) & ~4ul) | 0x22);
    for (unsigned i = 0; i < 2048; i++)
        ones[i] = 0x3ff0000000000000ull;
    for (unsigned i = 0; i < RUNS; i++) {
        ones[1700 + i] = 0;
        struct regs r = base(xm, (ul)ones, 2048);
        r.si = (ul)&mxcsr_zm;
        enter(&r); EQ(last.vec, 19); EQ(last.bx, (ul)(ones + 1700 + i)); EQ(last.cx, 348 - i);
        r = base(mf, (ul)ones, 2048);
        r.si = (ul)&fcw_zm;
        enter(&r); EXPECT(16, 0, mf_at); EQ(last.bx, (ul)(ones + 1700 + i)); EQ(last.cx, 348 - i);
        __asm__ volatile("fnclex; fninit");
        ones[1700 + i] = 0x3ff0000000000000ull;
    }
}

void main(void);
void main(void)
{
    RUN(streams);
    RUN(lists);
    RUN(two_descriptors);
    RUN(faults);
    RUN(devices);
    RUN(remapped);
    RUN(own_code);
    RUN(ticks);
    RUN(latency);
    RUN(arithmetic);
    finish();
}
