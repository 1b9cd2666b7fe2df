/* The x87's pointers in 64-bit mode: 64 bits by FXSAVE64 and FXRSTOR64, an operand beyond 4 GiB, 32 bits in the other forms. SDM vol. 1 ch. 8.1.8, 10.5.1. */
#include "kit.h"

static u8 fx[512] __attribute__((aligned(16)));
u16 unmask = 0x360;
double zero_d, one_d = 1;
static struct { u32 cw, sw, tw, ip, cs_op, dp, ds; } env;
extern u64 pml4[512];
CODE(div_, "fninit; fldcw unmask; fld1\ndiv_at: fdivl (%rbx,%rcx,8)\nfwait\n" CODE_END) LABEL(div_at);

static void pointers(void)
{
    struct regs r = { .ip = (ul)div_, .cs = 8, .ss = 0x10, .ds = 0x10, .es = 0x10, .fl = 2, .sp = (ul)stack_top - 8192 };
    pml4[1] = pml4[0];
    r.bx = (1ull << 39) + (ul)&zero_d - 80; r.cx = 10;
    __asm__ volatile("" : : "m"(unmask), "m"(zero_d), "m"(one_d));
    enter(&r); EXPECT(16, 0, div_at + 3);
    __asm__ volatile("fxsave64 %0" : "=m"(fx));
    EQ(*(u64 *)(fx + 8), (ul)div_at); EQ(*(u64 *)(fx + 16), r.bx + 80); EQ(*(u16 *)(fx + 6), 0x434);
    __asm__ volatile("fxsave %0" : "=m"(fx));
    EQ(*(u64 *)(fx + 16), (u32)(r.bx + 80));
    __asm__ volatile("fnstenv %0" : "=m"(env)); EQ(env.ip, (u32)(ul)div_at); EQ(env.dp, (u32)(r.bx + 80)); EQ(env.cs_op, 0x4340000);
    __asm__ volatile("fnclex; fxsave64 %0" : "=m"(fx));
    *(u64 *)(fx + 8) = 0xffff800012345678; *(u64 *)(fx + 16) = 0x123456789abcdef0;
    __asm__ volatile("fninit; fxrstor64 %0; fxsave64 %0; fninit" : "+m"(fx));
    EQ(*(u64 *)(fx + 8), 0xffff800012345678); EQ(*(u64 *)(fx + 16), 0x123456789abcdef0);
}

/* CPUID.7.0:EBX[6]: the operand's pointer and the opcode are those of an exception; without one they stay. */
static void only_exceptions(void)
{
    u32 v[4];
    cpuid(7, 0, v);
    EQ(v[1] >> 6 & 1, 1);
    __asm__ volatile("fninit; fldl %1; fstp %%st(0); fnstenv %0" : "=m"(env) : "m"(one_d)); EQ(env.dp, 0); EQ(env.cs_op, 0);
    __asm__ volatile("fninit; fldl %1; fstp %%st(0); fxsave64 %0" : "=m"(fx) : "m"(one_d)); EQ(*(u64 *)(fx + 16), 0);
}

void main(void);
void main(void)
{
    WRITE_CR(0, (READ_CR(0) & ~0xcul) | 0x20);
    WRITE_CR(4, READ_CR(4) | 0x200);
    RUN(pointers);
    RUN(only_exceptions);
    finish();
}
