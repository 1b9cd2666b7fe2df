/*
 * Loops for lock-step in whole blocks (tests/lockstep.sh): a block of several instructions, a loop that becomes hot, and flags that go from one block
 * to another. Each is spoiled on purpose there, in its optimised form only; the labels are where those blocks begin.
 */
#include "kit.h"

void main(void);

CODE(sums, "mov $3000, %ecx\nxor %eax, %eax\nxor %edx, %edx\n.global in_a_block\nin_a_block: add %ecx, %eax\nadd $2, %edx\ntest $1, %cl\njz 1f\nadd $1, %rdx\n"
           "1: dec %ecx\njnz in_a_block\n" CODE_END)
CODE(stores, "mov $2000, %ecx\n.global in_a_hot_loop\nin_a_hot_loop: mov %rcx, (%rbx)\nmov (%rbx), %rsi\nadd %rsi, %rax\nadd $8, %rbx\n"
             "dec %ecx\njnz in_a_hot_loop\n" CODE_END)
CODE(carries, "mov $4000, %ecx\nmov $0x7fffffff, %esi\nxor %eax, %eax\nxor %edx, %edx\n1: add %esi, %eax\njmp *%rdi\n"
              ".global by_flags\nby_flags: adc $0, %edx\nlea 3(%rsi), %esi\ndec %ecx\njnz 2f\n" CODE_END "2: add %esi, %eax\njo by_flags\njmp by_flags\n")
LABEL(by_flags);

static u64 room[2048];

static struct regs *context(void *ip)
{
    static struct regs r;
    memset(&r, 0, sizeof(r));
    r.ip = (ul)ip;
    r.cs = 8;
    r.ss = r.ds = r.es = 0x10;
    r.fl = 2;
    r.sp = (ul)stack_top - 4096;
    return &r;
}

static void block(void)
{
    enter(context(sums));
    EXPECT_END();
    EQ(last.ax, 3000 * 3001 / 2);
    EQ(last.dx, 6000 + 1500);
}

static void hot_loop(void)
{
    struct regs *r = context(stores);
    r->bx = (ul)room;
    enter(r);
    EXPECT_END();
    EQ(last.ax, 2000 * 2001 / 2);
    EQ(room[0], 2000);
    EQ(room[1999], 1);
}

static void flags_between(void)
{
    struct regs *r = context(carries);
    u32 a = 0, d = 0, s = 0x7fffffff;
    for (unsigned i = 0; i < 4000; i++, s += 3) {
        d += a + s < a;
        a += s;
    }
    r->di = (ul)by_flags;
    enter(r);
    EXPECT_END();
    EQ(last.ax, a);
    EQ(last.dx, d);
}

void main(void)
{
    RUN(block);
    RUN(hot_loop);
    RUN(flags_between);
    finish();
}
