/*
 * x87 errors and the pointers to the instruction that made them: #MF with CR0.NE, FERR# to IRQ 13 and IGNNE# by port F0h without it; FIP, FDP and FOP
 * in every format that stores them, at each width of operand, in hot loops and through the stack. SDM vol. 1 ch. 8.1.8, 8.7, vol. 3 ch. 2.5.
 */
#include "kit.h"

static struct regs context(void *ip)
{
    struct regs r = { .ip = (u32)ip, .cs = 8, .ds = 0x10, .es = 0x10, .fs = 0x10, .gs = 0x10, .ss = 0x10, .fl = 2, .sp = (u32)stack_top - 8192 };
    return r;
}
static void go(void *ip) { struct regs r = context(ip); enter(&r); }

struct env { u32 cw, sw, tw, ip, cs_op, dp, ds; } env, env2;
static u8 fx[512] __attribute__((aligned(16)));
float zero_f;
double zero_d, two_d = 2;
u8 at_end[4096 + 8] __attribute__((aligned(4096)));
u16 unmask = 0x360, unmask_z = 0x37b, e_sw;
#define NE 0x20ul
#define FNSTENV(e) __asm__ volatile("fnstenv %0" : "=m"(e) : : "memory")

CODE(div_s, "fninit; fldcw unmask; fld1\ndiv_s_at: fdivs zero_f\ndiv_s_wait: fwait\n" CODE_END) LABEL(div_s_at); LABEL(div_s_wait);
CODE(div_d, "fninit; fldcw unmask; fld1\ndiv_d_at: fdivl 8(%ebx,%ecx,4)\nnop; xor %ebx,%ebx\ndiv_d_next: fld1\n" CODE_END) LABEL(div_d_at); LABEL(div_d_next);
CODE(sqrt_, "fninit; fldcw unmask; fldl two_d; fchs\nsqrt_at: fsqrt\nfnop\n" CODE_END) LABEL(sqrt_at);
CODE(mem_wait, "fninit; fldcw unmask; fld1; fdivs zero_f\nmem_wait_at: fstps 0xfffffff0\n" CODE_END) LABEL(mem_wait_at);
CODE(seg_div, "fninit; fldcw unmask; mov $0x50,%eax; mov %eax,%fs; fld1\nseg_at: fdivs %fs:0x10\nfwait\n" CODE_END) LABEL(seg_at);
CODE(loop_div, "fninit; fldcw unmask; mov $at_end+4096-8000,%edx; mov $1000,%ecx; fld1\n1: fld %st(0)\nloop_at: fdivl (%edx)\nfstp %st(0)\nadd $8,%edx; dec %ecx; jnz 1b\n"
     CODE_END) LABEL(loop_at);
CODE(mmx_wait, "fninit; fldcw unmask; fld1; fdivs zero_f\nmmx_at: movd %mm0,%eax\n" CODE_END) LABEL(mmx_at);

static void extern_names(void) { __asm__ volatile("" : : "m"(zero_f), "m"(zero_d), "m"(two_d), "m"(unmask), "m"(unmask_z), "m"(at_end)); }

static void shown(u32 ip, u32 dp, u32 op)
{
    __asm__ volatile("fxsave %0" : "=m"(fx) : : "memory");
    EQ(*(u32 *)(fx + 8), ip); EQ(*(u32 *)(fx + 16), dp); EQ(*(u16 *)(fx + 6), op); EQ(*(u16 *)(fx + 12), 0); EQ(*(u16 *)(fx + 20), 0);
    FNSTENV(env);
    EQ(env.ip, ip); EQ(env.cs_op, op << 16); EQ(env.dp, dp); EQ(env.ds, 0xffff0000);
    __asm__ volatile("fnclex; fldenv %0; fnclex" : : "m"(env));
}

static void error(void)
{
    go(div_s); EXPECT(16, 0, div_s_wait);
    shown((u32)div_s_at, (u32)&zero_f, 0x035 | 0x000);
    struct regs r = context(div_d);
    r.bx = (u32)&zero_d - 8 - 4 * 7; r.cx = 7;
    enter(&r); EXPECT(16, 0, div_d_next); shown((u32)div_d_at, (u32)&zero_d, 0x474 | 0);
    go(mem_wait); EXPECT(16, 0, mem_wait_at);
    go(mmx_wait); EXPECT(16, 0, mmx_at);
    go(sqrt_); EXPECT(16, 0, sqrt_at + 2);
    FNSTENV(env); EQ(env.ip, (u32)sqrt_at); EQ(env.cs_op, 0x1fau << 16);
    __asm__ volatile("fnclex");
    gdt[10] = SEG_DESC((u32)&zero_f - 0x10, 0xfffff, 0x92, 0xc);
    go(seg_div); EXPECT(16, 0, seg_at + 7); FNSTENV(env); EQ(env.ip, (u32)seg_at); EQ(env.dp, 0x10);
    __asm__ volatile("fnclex");
}

/* The error comes after hundreds of turns, of a page end too. */
static void in_loop(void)
{
    static double ones[4096 / 8 * 3];
    struct regs r = context(loop_div + 2 + 6 + 5);
    for (u32 skew = 0; skew < 8; skew += 4) {
        double *bad = (double *)(((u32)ones + 4095) / 4096 * 4096 + 4096 - skew);
        for (unsigned i = 0; i < 4096 / 8 * 3 - 1; i++)
            *(u64 *)((u8 *)ones + 8 * i + skew) = 0x3ff0000000000000;
        *(u64 *)bad = 0;
        r.dx = (u32)bad - 8 * 400; r.cx = 1000;
        __asm__ volatile("fninit; fldcw %0" : : "m"(unmask));
        enter(&r); EQ(last.vec, 16); EQ(last.dx, (u32)bad);
        FNSTENV(env); EQ(env.ip, (u32)loop_at); EQ(env.dp, (u32)bad); EQ(env.cs_op, 0x432u << 16);
        __asm__ volatile("fninit");
    }
}

/* What is loaded stays, whatever control instructions follow; FNINIT and FNSAVE clear it. */
static void kept(void)
{
    __asm__ volatile("fninit");
    FNSTENV(env); EQ(env.ip, 0); EQ(env.dp, 0); EQ(env.cs_op, 0);
    env.ip = 0x12345678; env.dp = 0x9abcdef0; env.cs_op = 0x05550000;
    __asm__ volatile("fldenv %0; fnclex; fldcw %1" : : "m"(env), "m"(unmask));
    go(loop_div + 2 + 6);                                                    /* nothing of this may be lost on the way */
    __asm__ volatile("fninit; fldenv %0" : : "m"(env));
    FNSTENV(env2); EQ(env2.ip, 0x12345678); EQ(env2.dp, 0x9abcdef0); EQ(env2.cs_op, 0x05550000);
    u16 e16[7];
    __asm__ volatile("data16 fnstenv %0" : "=m"(e16)); EQ(e16[3], 0x5678); EQ(e16[4], 0); EQ(e16[5], 0xdef0); EQ(e16[6], 0);
    e16[3] = 0x1111; e16[5] = 0x2222;
    __asm__ volatile("data16 fldenv %0" : : "m"(e16)); FNSTENV(env2); EQ(env2.ip, 0x1111); EQ(env2.dp, 0x2222);
    __asm__ volatile("fxsave %0" : "=m"(fx));
    *(u32 *)(fx + 8) = 0xcafe0000; *(u32 *)(fx + 16) = 0xbeef; *(u16 *)(fx + 6) = 0xffff;
    __asm__ volatile("fxrstor %0" : : "m"(fx)); FNSTENV(env2); EQ(env2.ip, 0xcafe0000); EQ(env2.dp, 0xbeef); EQ(env2.cs_op, 0x07ff0000);
    static u8 image[108];
    __asm__ volatile("fnsave %0" : "=m"(image)); EQ(*(u32 *)(image + 12), 0xcafe0000);
    FNSTENV(env2); EQ(env2.ip, 0); EQ(env2.dp, 0); EQ(env2.cs_op, 0);
    __asm__ volatile("frstor %0" : : "m"(image)); FNSTENV(env2); EQ(env2.ip, 0xcafe0000);
    __asm__ volatile("fninit"); FNSTENV(env2); EQ(env2.ip, 0);
}

/* ---- CR0.NE clear: the way of the PC/AT ---- */
static void pic(void)
{
    outb(0x20, 0x11); outb(0x21, 0x20); outb(0x21, 4); outb(0x21, 1); outb(0x21, 0xfb);
    outb(0xa0, 0x11); outb(0xa1, 0x28); outb(0xa1, 2); outb(0xa1, 1); outb(0xa1, 0xdf);
}
static int irq13(void) { outb(0xa0, 0x0a); return inb(0xa0) >> 5 & 1; }
static void eoi(void) { outb(0xa0, 0x20); outb(0x20, 0x20); }

CODE(ferr_ign, "fld1; fstp %st(0); fld1\n fadd %st(0),%st; fnstcw unmask_z\n fistl at_end\n" CODE_END)
static void ferr(void)
{
    struct regs r = context(div_s);
    pic();
    WRITE_CR(0, READ_CR(0) & ~NE);
    r.fl = 0x202;
    enter(&r); EXPECT(0x2d, 0, div_s_wait); EQ(irq13(), 0);
    eoi();
    outb(0xf0, 0); EQ(irq13(), 0);
    r.ip = (u32)ferr_ign; enter(&r); EXPECT_END(); EQ(*(u32 *)at_end, 2); EQ(unmask_z & 0x3f, 0x20);        /* IGNNE#: it goes on */
    __asm__ volatile("fnstsw %0" : "=m"(e_sw)); EQ(e_sw & 0x84, 0x84);
    __asm__ volatile("fnclex");
    r.ip = (u32)div_s; enter(&r); EXPECT(0x2d, 0, div_s_wait);              /* FNCLEX has ended it: the next error interrupts again */
    outb(0xf0, 0); eoi();
    __asm__ volatile("fnclex; fwait");
    r.ip = (u32)sqrt_; enter(&r); EXPECT(0x2d, 0, sqrt_at + 2);
    outb(0xf0, 0); eoi();
    FNSTENV(env); EQ(env.ip, (u32)sqrt_at); EQ(env.sw & 0x81, 0x81);
    __asm__ volatile("fninit");
    outb(0xa1, 0xff); outb(0x21, 0xff);
    WRITE_CR(0, READ_CR(0) | NE);
    unmask_z = 0x37b;
    go(div_s); EXPECT(16, 0, div_s_wait);
    __asm__ volatile("fninit");
}

void main(void);
void main(void)
{
    extern_names();
    WRITE_CR(0, (READ_CR(0) & ~0xcul) | NE);
    WRITE_CR(4, READ_CR(4) | 0x200);
    RUN(error);
    RUN(in_loop);
    RUN(kept);
    RUN(ferr);
    finish();
}
