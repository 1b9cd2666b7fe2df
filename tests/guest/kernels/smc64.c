/*
 * Self-modifying code: the block being run, the next instruction, another page, an alias, REP MOVS over code, a remapped page, an
 * instruction across a page end. The processor needs no serialisation for a CPU's own stores. SDM vol. 3 ch. 8.1.3.
 */
#include "kit.h"

#define VA 0x40000000ul
#define PA 0x800000ul
extern u64 pd[4][512];
static u64 pt[512] __attribute__((aligned(4096)));

static struct regs base(void *ip, ul bx)
{
    struct regs r = { .ip = (ul)ip, .cs = 8, .ds = 0x10, .es = 0x10, .ss = 0x10, .fl = 2, .bx = bx, .sp = (ul)stack_top - 8192 };
    return r;
}
static void go(void *ip, ul bx) { struct regs r = base(ip, bx); enter(&r); }

CODE(next, "movb $0x22,next_1+1\nnext_1: mov $0x11,%al\n" CODE_END) LABEL(next_1);
CODE(later, "movb %bl,later_1+1; nop; xor %eax,%eax; inc %ecx\nlater_1: add $0x11,%al\n" CODE_END)
CODE(loop_, "mov $50,%ecx; xor %eax,%eax\n1: add $1,%eax\nloop_imm: add $1,%edx\n incb loop_imm+2; loop 1b\n" CODE_END) LABEL(loop_imm);
CODE(backward, "xor %eax,%eax\nbk_1: add $1,%eax; cmp $1,%eax; jne 2f; movb $5,bk_1+2; jmp bk_1\n2:" CODE_END) LABEL(bk_1);
CODE(callee, "mov $1,%eax; ret")
CODE(caller, "call callee; mov %eax,%ecx; movl $7,callee+1; call callee; add %eax,%ecx; movl $1,callee+1\n" CODE_END)
CODE(rep_over, "lea rep_src,%rsi; lea rep_dst,%rdi; mov $6,%ecx; rep movsb\nrep_dst: mov $1,%eax; nop\n" CODE_END "rep_src: mov $9,%eax; "
     "nop") LABEL(rep_dst);
CODE(locked, "mov $2,%dl; lock xchg %dl,locked_1+1\nlocked_1: mov $1,%al\n" CODE_END) LABEL(locked_1);
CODE(sse_st, "movups sse_src,%xmm0; movups %xmm0,sse_dst\nsse_dst: .fill 16,1,0x90\n" CODE_END "sse_src: inc %eax; inc %eax; inc %eax; "
     ".fill 10,1,0x90") LABEL(sse_dst);
CODE(push_code, "mov %rsp,%rbp; lea push_dst+8,%rsp; push push_src; mov %rbp,%rsp\npush_dst: mov $1,%eax; nop; nop; "
     "nop\n" CODE_END "push_src: mov $6,%eax; nop; nop; nop") LABEL(push_dst);

static void own_block(void)
{
    for (int i = 0; i < 3; i++) {
        next_1[1] = 0x11;
        go(next, 0); EXPECT_END(); EQ(last.ax & 0xff, 0x22);
        go(later, 0x30 + i); EXPECT_END(); EQ(last.ax, 0x30 + i);
        locked_1[1] = 1;
        go(locked, 0); EXPECT_END(); EQ(last.ax & 0xff, 2);
        go(caller, 0); EXPECT_END(); EQ(last.cx, 8);
        rep_dst[1] = 1;
        go(rep_over, 0); EXPECT_END(); EQ(last.ax, 9);
        memset(sse_dst, 0x90, 16);
        go(sse_st, 0); EXPECT_END(); EQ(last.ax, 3);
        push_dst[1] = 1;
        go(push_code, 0); EXPECT_END(); EQ(last.ax, 6);
        bk_1[2] = 1;
        go(backward, 0); EXPECT_END(); EQ(last.ax, 6);
    }
    loop_imm[2] = 1;
    go(loop_, 0); EXPECT_END(); EQ(last.ax, 50); EQ(last.dx, 50 * 51 / 2);
}

static void write_code(ul at, u8 imm) { ((u8 *)at)[0] = 0xb8; *(u32 *)(at + 1) = imm; ((u8 *)at)[5] = 0xcd; ((u8 *)at)[6] = 0x80; }

/* A port that gives another byte at each read: the letters of the firmware configuration's signature. */
CODE(ins_over, "mov $0x510,%edx; xor %eax,%eax; out %ax,%dx; inc %edx; lea ins_imm+1,%rdi; mov $4,%ecx\nins_imm: mov $0,%ebx; rep insb\n" CODE_END)
LABEL(ins_imm);
CODE(ins_one, "mov $0x510,%edx; xor %eax,%eax; out %ax,%dx; inc %edx; lea one_imm+1,%rdi\none_imm: mov $0,%bl; insb; in %dx,%al\n" CODE_END) LABEL(one_imm);
static void ins_over_itself(void)
{
    for (int i = 0; i < 3; i++) {
        *(u32 *)(ins_imm + 1) = 0;
        go(ins_over, 0); EXPECT_END(); EQ(*(u32 *)(ins_imm + 1), 0x554d4551); EQ(last.cx, 0); EQ(last.di, ins_imm + 5);
        one_imm[1] = 0;
        go(ins_one, 0); EXPECT_END(); EQ(one_imm[1], 'Q'); EQ(last.ax & 0xff, 'E');
    }
}

static void other_page(void)
{
    for (int i = 0; i < 300; i++) {
        write_code(PA, (u8)i);
        go((void *)PA, 0); EXPECT_END(); EQ(last.ax, i & 0xff);
    }
    for (int i = 0; i < 300; i++) {                        /* data beside code */
        *(u32 *)(PA + 0x100) = (u32)i;
        go((void *)PA, 0); EQ(last.ax, 299 & 0xff); EQ(*(u32 *)(PA + 0x100), i);
    }
}

static void invlpg(ul va) { __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory"); }
static void alias(void)
{
    pd[1][0] = (ul)pt | 7;
    pt[0] = PA | 7; pt[1] = (PA + 0x1000) | 7; invlpg(VA);
    for (int i = 0; i < 50; i++) {
        write_code(PA + 0x200, (u8)i);
        go((void *)(VA + 0x200), 0); EXPECT_END(); EQ(last.ax, i);
        write_code(VA + 0x200, (u8)(i + 100));
        go((void *)(PA + 0x200), 0); EXPECT_END(); EQ(last.ax, i + 100);
        go((void *)(VA + 0x200), 0); EXPECT_END(); EQ(last.ax, i + 100);
    }
}

static void remapped(void)
{
    write_code(PA + 0x300, 1);
    write_code(PA + 0x1300, 2);
    for (int i = 0; i < 50; i++) {
        pt[0] = (PA + (i & 1) * 0x1000) | 7; invlpg(VA);
        go((void *)(VA + 0x300), 0); EXPECT_END(); EQ(last.ax, (i & 1) + 1);
    }
    /* a jump from one page to another whose mapping changes: linked blocks must notice */
    pt[0] = PA | 7; invlpg(VA);
    ((u8 *)PA)[0x400] = 0xe9; *(u32 *)(PA + 0x401) = 0x1300 - 0x405;
    for (int i = 0; i < 50; i++) {
        write_code(PA + 0x2300, 2); write_code(PA + 0x3300, 3);
        pt[1] = (PA + 0x2000 + (i & 1) * 0x1000) | 7; invlpg(VA + 0x1000);
        go((void *)(VA + 0x400), 0); EXPECT_END(); EQ(last.ax, 2 + (i & 1));
    }
    /* by CR3 alone */
    for (int i = 0; i < 50; i++) {
        pt[1] = (PA + 0x2000 + (i & 1) * 0x1000) | 7; WRITE_CR(3, READ_CR(3));
        go((void *)(VA + 0x400), 0); EXPECT_END(); EQ(last.ax, 2 + (i & 1));
    }
}

static void across(void)
{
    /* mov eax, imm32 across a page end: the second page changes, by a store or by its mapping */
    pt[0] = PA | 7; pt[1] = (PA + 0x1000) | 7; invlpg(VA); invlpg(VA + 0x1000);
    ((u8 *)PA)[0xffe] = 0xb8; ((u8 *)PA)[0xfff] = 0x44;
    for (int i = 0; i < 30; i++) {
        u8 *b = (u8 *)PA + 0x1000;
        b[0] = (u8)i; b[1] = 0; b[2] = 0; b[3] = 0xcd; b[4] = 0x80;
        go((void *)(VA + 0xffe), 0); EXPECT_END(); EQ(last.ax, (i << 8) + 0x44);
        memcpy((void *)(PA + 0x2000), b, 8);
        *(u8 *)(PA + 0x2000) = (u8)(i + 1);
        pt[1] = (PA + 0x2000) | 7; invlpg(VA + 0x1000);
        go((void *)(VA + 0xffe), 0); EXPECT_END(); EQ(last.ax, ((i + 1) << 8) + 0x44);
        pt[1] = (PA + 0x1000) | 7; invlpg(VA + 0x1000);
    }
}

/* Code in a device's registers: the counter of the HPET, which stands still, so it keeps what is written. */
static void in_mmio(void)
{
    volatile u64 *counter = (u64 *)0xfed000f0ul;
    u32 engine[4];
    cpuid(0x40000000, 0, engine);
    if (engine[1] == 0x4b4d564b)                   /* "KVMK" */
        SKIP("KVM does not run code from devices' registers");
    *(volatile u64 *)0xfed00010ul = 0;
    for (unsigned i = 0; i < 40; i++) {
        *counter = 0x80cd00000000b8ull | (u64)i << 8;
        if (*counter != (0x80cd00000000b8ull | (u64)i << 8))
            SKIP("no HPET");
        go((void *)counter, 0); EXPECT_END(); EQ(last.ax, i);
    }
}

void main(void);
void main(void)
{
    RUN(own_block);
    RUN(ins_over_itself);
    RUN(in_mmio);
    RUN(other_page);
    RUN(alias);
    RUN(remapped);
    RUN(across);
    finish();
}
