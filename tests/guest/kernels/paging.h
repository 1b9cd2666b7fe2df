/* What the 64-bit paging kernels share: entries' bits, a page table for the pages at VA, and the accesses, run at either ring with the address in rbx. */
#ifndef PAGING_H
#define PAGING_H
#include "kit.h"

#define VA 0x40000000ul
#define PA 0x800000ul
#define P 1
#define W 2
#define U 4
#define A 0x20
#define D 0x40
#define NX (1ull << 63)

extern u64 pml4[512], pdpt[512], pd[4][512];
static u64 pt[512] __attribute__((aligned(4096)));

static struct regs base(void *ip, int ring, ul bx)
{
    struct regs r = { .ip = (ul)ip, .cs = ring ? 0x2b : 8, .ds = 0x23, .es = 0x23,
                      .ss = ring ? 0x23 : 0x10, .fl = 2, .bx = bx, .ax = 0x1122334455667788 };
    r.sp = (ring ? (ul)user_stack_top : (ul)stack_top - 8192) - 256;
    return r;
}

static void go(void *ip, int ring, ul bx) { struct regs r = base(ip, ring, bx); enter(&r); }
static void invlpg(ul va) { __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory"); }
static void map(unsigned n, u64 pte) { pt[n] = pte; invlpg(VA + n * 4096); }

CODE(rd, "mov (%rbx),%rax\n" CODE_END)
CODE(wr, "mov %rax,(%rbx)\n" CODE_END)
CODE(rmw, "incl (%rbx)\n" CODE_END)
CODE(ex, "jmp *%rbx\n")
CODE(stos, "mov %rbx,%rdi; mov $4,%ecx\nstos_at: rep stosq\n" CODE_END) LABEL(stos_at);
#endif
