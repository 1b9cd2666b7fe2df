/*
 * Hot loops whose accesses share one address check (the translator's groups) over pages that are not neighbours in memory: every store must
 * go where its own page is mapped, whatever other accesses off the same register do between. On a processor all of it is trivially so.
 */
#include "kit.h"

#define VA 0x40000000ul
#define PA 0x800000ul
#define FAR 0x900000ul

extern u64 pml4[512], pdpt[512], pd[4][512];
static u64 pt[512] __attribute__((aligned(4096)));

static void setup(u64 bits)
{
    pd[1][0] = (ul)pt | 7;
    pt[0] = PA | bits;
    pt[3] = FAR | bits;
    WRITE_CR(3, READ_CR(3));
    memset((void *)PA, 0, 0x4000);
    memset((void *)(FAR - 0x3000), 0, 0x4000);
}

static void go(void *ip, int ring, ul n)
{
    struct regs r = { .ip = (ul)ip, .cs = ring ? 0x2b : 8, .ds = 0x23, .es = 0x23, .ss = ring ? 0x23 : 0x10, .fl = 2, .bx = VA, .cx = 0x3000 / 8, .di = n };
    r.sp = (ring ? (ul)user_stack_top : (ul)stack_top - 8192) - 256;
    enter(&r);
    EXPECT_END();
}

/* A load, a store off the same register elsewhere, then a store beside the load. Two copies, one a ring: what misses often changes its form. */
#define BETWEEN "1: mov (%rbx),%eax\n mov %edi,(%rbx,%rcx,8)\n mov %edi,8(%rbx)\n dec %rdi\n jnz 1b\n" CODE_END
CODE(between_user, BETWEEN)
CODE(between, BETWEEN)
/* The same with a second group there. */
#define BETWEEN2 "1: mov (%rbx),%eax\n mov %edi,(%rbx,%rcx,8)\n mov 16(%rbx,%rcx,8),%edx\n mov %edi,8(%rbx,%rcx,8)\n mov 4(%rbx),%eax\n" \
    " mov %edi,8(%rbx)\n dec %rdi\n jnz 1b\n" CODE_END
CODE(between2_user, BETWEEN2)
CODE(between2, BETWEEN2)
/* The other way round: the group of stores is older, and goes on after the load. */
#define AROUND "1: mov %edi,(%rbx,%rcx,8)\n mov (%rbx),%eax\n mov %edi,8(%rbx,%rcx,8)\n mov %edi,8(%rbx)\n dec %rdi\n jnz 1b\n" CODE_END
CODE(around_user, AROUND)
CODE(around, AROUND)

static void run(void *ip, int ring)
{
    setup(ring ? 7 : 3);
    go(ip, ring, 40000000);
    EQ(*(u32 *)(PA + 8), 1);
    EQ(*(u32 *)FAR, 1);
    for (ul a = FAR - 0x3000; a < FAR; a += 8)
        EQ(*(u64 *)a, 0);
    for (ul a = PA + 16; a < PA + 0x4000; a += 8)
        EQ(*(u64 *)a, 0);
}

static void store_between(void) { run(between_user, 3); run(between, 0); }
static void around_load(void) { run(around_user, 3); EQ(*(u32 *)(FAR + 8), 1); run(around, 0); EQ(*(u32 *)(FAR + 8), 1); }
static void group_between(void) { run(between2_user, 3); run(between2, 0); }

void main(void);
void main(void)
{
    RUN(store_between);
    RUN(group_between);
    RUN(around_load);
    finish();
}
