/*
 * 4-level paging: page faults with CR2 and error code, accessed and dirty bits, WP, NX, SMEP, SMAP, large pages, reserved bits, INVLPG, PCID,
 * INVPCID, global pages, accesses that cross pages, page-table changes without a flush where the processor needs none. SDM vol. 3 ch. 4.
 */
#include "paging.h"

#define G 0x100

static u64 pt2[512] __attribute__((aligned(4096))), pml4_b[512] __attribute__((aligned(4096)));

CODE(xchg_, "xchg %eax,(%rbx)\n" CODE_END)
CODE(pushm, "mov %rbx,%rsp; push %rax\npush_end:" CODE_END)
CODE(rd16, "movups (%rbx),%xmm0\n" CODE_END)
CODE(stac_rd, "stac; mov (%rbx),%rax; clac\n" CODE_END)
#define PF(e, at, addr) do { EXPECT(14, e, at); EQ(last.cr2, addr); } while (0)

static void setup(void)
{
    pd[1][0] = (ul)pt | 7;
    for (unsigned i = 0; i < 512; i++)
        pt[i] = 0;
    invlpg(VA);
    *(u16 *)PA = 0x80cd;                                   /* int 80h */
    *(u16 *)(PA + 0x1000) = 0x80cd;
}

static void faults(void)
{
    setup();
    go(rd, 0, VA); PF(0, rd, VA);
    go(wr, 0, VA + 8); PF(W, wr, VA + 8);
    go(rd, 3, VA); PF(U, rd, VA);
    go(wr, 3, VA); PF(U | W, wr, VA);
    go(rmw, 3, VA); PF(U | W, rmw, VA);
    go(xchg_, 3, VA + 4); PF(U | W, xchg_, VA + 4);
    go(ex, 3, VA); PF(U | 16, VA, VA);
    go(ex, 0, VA); PF(16, VA, VA);
    map(0, PA | P);
    go(rd, 3, VA); PF(P | U, rd, VA);
    go(rd, 0, VA); EXPECT_END();
    go(wr, 0, VA); PF(P | W, wr, VA);
    go(ex, 3, VA); PF(P | U | 16, VA, VA);
    go(ex, 0, VA); EXPECT(0x80, 0, VA + 2);
    map(0, PA | P | U);
    go(rd, 3, VA); EXPECT_END();
    go(wr, 3, VA); PF(P | U | W, wr, VA);
    go(rmw, 3, VA); PF(P | U | W, rmw, VA);
    go(stos, 3, VA); PF(P | U | W, stos_at, VA); EQ(last.cx, 4);
    map(0, PA | P | U | W | NX);
    go(ex, 3, VA); PF(P | U | 16, VA, VA);
    go(wr, 3, VA + 16); EXPECT_END();
    map(0, PA | P | U | W | 1ull << 51);
    go(rd, 3, VA); PF(P | U | 8, rd, VA);
    pml4[1] = 0;
    go(rd, 3, 0x8000000000); PF(U, rd, 0x8000000000);
}

static void accessed_dirty(void)
{
    setup();
    map(0, PA | P | U | W);
    pd[1][0] &= ~(u64)A; invlpg(VA);
    go(rd, 3, VA); EXPECT_END(); EQ(pt[0] & (A | D), A); EQ(pd[1][0] & A, A);
    go(wr, 3, VA); EXPECT_END(); EQ(pt[0] & (A | D), A | D);
    map(0, PA | P | U | W);
    go(rmw, 3, VA); EXPECT_END(); EQ(pt[0] & (A | D), A | D);
    map(0, PA | P | U | W);
    go(ex, 3, VA); EQ(pt[0] & (A | D), A);
    map(0, PA | P);
    go(rd, 3, VA); EQ(last.vec, 14); EQ(pt[0] & (A | D), 0);
    map(0, PA | P | U | W);                                /* cleared again after use: INVLPG makes it seen */
    go(wr, 3, VA + 64); EQ(pt[0] & D, D);
    pt[0] &= ~(u64)D; invlpg(VA);
    go(wr, 3, VA + 64); EQ(pt[0] & D, D);
    pt[0] &= ~(u64)A; invlpg(VA);
    go(rd, 3, VA + 64); EQ(pt[0] & A, A);
    *(u16 *)(PA) = 0x80cd;
}

static void write_protect(void)
{
    setup();
    map(0, PA | P | U);
    WRITE_CR(0, READ_CR(0) | 0x10000);
    go(wr, 0, VA + 8); PF(P | W, wr, VA + 8);
    WRITE_CR(0, READ_CR(0) & ~0x10000ul);
    go(wr, 0, VA + 8); EXPECT_END(); EQ(pt[0] & D, D); EQ(*(u64 *)(PA + 8), 0x1122334455667788);
    go(wr, 3, VA + 8); PF(P | U | W, wr, VA + 8);
    WRITE_CR(0, READ_CR(0) | 0x10000);
    go(wr, 0, VA + 8); PF(P | W, wr, VA + 8);
}

static void levels(void)
{
    setup();
    map(0, PA | P | U | W);
    pd[1][0] = (ul)pt | P | W; invlpg(VA);
    go(rd, 3, VA); PF(P | U, rd, VA);
    pd[1][0] = (ul)pt | P | U; invlpg(VA);
    go(wr, 3, VA); PF(P | U | W, wr, VA);
    pd[1][0] = (ul)pt | P | U | W | NX; invlpg(VA);
    go(ex, 3, VA); PF(P | U | 16, VA, VA);
    pd[1][0] = 0; invlpg(VA);
    go(rd, 3, VA); PF(U, rd, VA);
    pd[1][0] = PA | 0xe7 | 0x2000; invlpg(VA);             /* large page with a reserved bit */
    go(rd, 3, VA); PF(P | U | 8, rd, VA);
    pd[1][0] = PA | 0x87; invlpg(VA);
    go(wr, 3, VA + 0x1ffff0); EXPECT_END(); EQ(*(u64 *)(PA + 0x1ffff0), 0x1122334455667788); EQ(pd[1][0] & (A | D), A | D);
    u64 old = pdpt[1];
    pdpt[1] = 0x87; WRITE_CR(3, READ_CR(3));
    u32 c[4]; cpuid(0x80000001, 0, c);
    go(rd, 3, VA + 0x2000000); 
    if (c[3] >> 26 & 1)
        EXPECT_END();
    else
        PF(P | U | 8, rd, VA + 0x2000000);
    pdpt[1] = old; WRITE_CR(3, READ_CR(3));
}

static void smep_smap(void)
{
    u32 c[4]; cpuid(7, 0, c);
    setup();
    if (!(c[1] >> 7 & 1) || !(c[1] >> 20 & 1))
        SKIP("no SMEP or SMAP");
    map(0, PA | P | U | W);
    map(1, (PA + 0x1000) | P | W);
    /* everything else is user memory too: the kernel itself must become supervisor memory first */
    for (int i = 0; i < 512; i++)
        pd[0][i] &= ~(u64)U;
    WRITE_CR(3, READ_CR(3));
    WRITE_CR(4, READ_CR(4) | 0x100000);
    go(ex, 0, VA); PF(P | 16, VA, VA);
    go(ex, 0, VA + 0x1000); EXPECT(0x80, 0, VA + 0x1002);
    WRITE_CR(4, (READ_CR(4) & ~0x100000ul) | 0x200000);
    go(rd, 0, VA); PF(P, rd, VA);
    go(wr, 0, VA); PF(P | W, wr, VA);
    go(stac_rd, 0, VA); EXPECT_END();
    go(rd, 0, VA + 0x1000); EXPECT_END();
    struct regs r = base(rd, 0, VA); r.fl = 0x40002; enter(&r); EXPECT_END();
    go(rd, 0, VA); PF(P, rd, VA);
    go(ex, 0, VA); EXPECT(0x80, 0, VA + 2);
    WRITE_CR(4, READ_CR(4) & ~0x300000ul);
    for (int i = 0; i < 512; i++)
        pd[0][i] |= U;
    WRITE_CR(3, READ_CR(3));
}

static void crossing(void)
{
    setup();
    map(0, PA | P | U | W);
    map(1, (PA + 0x3000) | P | U | W);
    go(wr, 3, VA + 0xffc); EXPECT_END(); EQ(*(u32 *)(PA + 0xffc), 0x55667788); EQ(*(u32 *)(PA + 0x3000), 0x11223344);
    go(rd, 3, VA + 0xffc); EXPECT_END(); EQ(last.ax, 0x1122334455667788);
    *(u32 *)(PA + 0xffc) = 0;
    map(1, 0);
    go(wr, 3, VA + 0xffc); PF(U | W, wr, VA + 0x1000); EQ(*(u32 *)(PA + 0xffc), 0);
    go(rmw, 3, VA + 0xffe); PF(U | W, rmw, VA + 0x1000);
    go(rd, 3, VA + 0xff9); PF(U, rd, VA + 0x1000);
    go(rd16, 3, VA + 0xff8); PF(U, rd16, VA + 0x1000);
    map(1, (PA + 0x3000) | P | U);
    go(wr, 3, VA + 0xffc); PF(P | U | W, wr, VA + 0x1000); EQ(*(u32 *)(PA + 0xffc), 0);
    go(stos, 3, VA + 0xff0); PF(P | U | W, stos_at, VA + 0x1000); EQ(last.cx, 2); EQ(last.di, VA + 0x1000);
    /* an instruction across the page end */
    *(u8 *)(PA + 0xfff) = 0xcd; *(u8 *)(PA + 0x3000) = 0x80;
    go(ex, 3, VA + 0xfff); EXPECT(0x80, 0, VA + 0x1001);
    map(1, 0);
    go(ex, 3, VA + 0xfff); PF(U | 16, VA + 0xfff, VA + 0x1000);
    map(1, (PA + 0x3000) | P | U | NX);
    *(u8 *)(PA + 0xffe) = 0x90;
    go(ex, 3, VA + 0xffe); PF(P | U | 16, VA + 0xfff, VA + 0x1000);
    *(u8 *)(PA + 0xfff) = 0x90;
    go(ex, 3, VA + 0xffe); PF(P | U | 16, VA + 0x1000, VA + 0x1000);
    map(1, (PA + 0x3000) | P | U);
    *(u16 *)(PA + 0x3000) = 0x80cd;
    go(ex, 3, VA + 0xffe); EXPECT(0x80, 0, VA + 0x1002);
}

/* A store whose first bytes change the entry of its own page: all of it goes where the page was when it began. */
static u64 bcd = 120000000000300067;
static struct { u64 m; u16 e; } __attribute__((packed)) real = { 1ull << 63 | 0x300067, 0x4012 };
static u64 two[2] = { 0x300067, 0x12 };
CODE(st_bcd, "fninit; fildll bcd; mov (%rbx),%rax; fbstp (%rbx)\n" CODE_END)
CODE(st_real, "fninit; fldt real; mov (%rbx),%rax; fstpt (%rbx)\n" CODE_END)
CODE(st_xmm, "movups two,%xmm0; mov (%rbx),%rax; movups %xmm0,(%rbx)\n" CODE_END)

static void own_entry(void)
{
    void *const code[] = { st_bcd, st_real, st_xmm };
    volatile u64 *other = (u64 *)0x300000ul;
    __asm__ volatile("" : : "m"(bcd), "m"(real), "m"(two));
    WRITE_CR(0, READ_CR(0) & ~0xcul);
    WRITE_CR(4, READ_CR(4) | 0x200);
    for (unsigned k = 0; k < 9; k++) {
        setup();
        other[4] = other[5] = 0x7777777777777777;
        pt[4] = (ul)pt | 0x67;
        invlpg(VA + 0x4000);
        go(code[k % 3], 0, VA + 0x4000 + 32); EXPECT_END();
        EQ(pt[4] & ~NX, 0x300067);
        EQ(pt[5], k % 3 == 1 ? 0x4012 : 0x12);
        EQ(other[4], 0x7777777777777777); EQ(other[5], 0x7777777777777777);
    }
}

static void remap(void)
{
    setup();
    *(u64 *)PA = 1; *(u64 *)(PA + 0x1000) = 2;
    for (int i = 0; i < 50; i++) {
        map(0, (PA + (i & 1) * 0x1000) | P | U | W);
        go(rd, 3, VA); EXPECT_END(); EQ(last.ax, (i & 1) + 1);
    }
    map(0, 0);                                             /* not present to present takes no flush */
    go(rd, 3, VA); PF(U, rd, VA);
    pt[0] = PA | P | U | W;
    go(rd, 3, VA); EXPECT_END(); EQ(last.ax, 1);
    map(0, 0);
    go(rd, 3, VA); PF(U, rd, VA);
    /* the table itself replaced */
    map(0, PA | P | U | W); pt2[0] = (PA + 0x1000) | P | U | W;
    go(rd, 3, VA); EQ(last.ax, 1);
    pd[1][0] = (ul)pt2 | 7; WRITE_CR(3, READ_CR(3));
    go(rd, 3, VA); EQ(last.ax, 2);
    pt2[0] = PA | P | U | W; invlpg(VA);
    go(rd, 3, VA); EQ(last.ax, 1);
    /* the table mapped into the region and written through it */
    setup();
    *(u64 *)PA = 1; *(u64 *)(PA + 0x1000) = 2;
    map(0, PA | P | U | W); map(3, (ul)pt | P | U | W);
    go(rd, 3, VA); EQ(last.ax, 1);
    struct regs r = base(wr, 3, VA + 0x3000); r.ax = (PA + 0x1000) | P | U | W; enter(&r); EXPECT_END(); invlpg(VA);
    go(rd, 3, VA); EQ(last.ax, 2);
}

static void pcid(void)
{
    u32 c[4]; cpuid(1, 0, c);
    setup();
    if (!(c[2] >> 17 & 1))
        SKIP("no PCID");
    WRITE_CR(4, READ_CR(4) | 0x20000);
    memcpy(pml4_b, pml4, 4096);
    static u64 pdpt_b[512] __attribute__((aligned(4096))), pd_b[512] __attribute__((aligned(4096)));
    memcpy(pdpt_b, pdpt, 4096); memcpy(pd_b, pd[1], 4096);
    pml4_b[0] = (ul)pdpt_b | 7; pdpt_b[1] = (ul)pd_b | 7; pd_b[0] = (ul)pt2 | 7;
    *(u64 *)PA = 1; *(u64 *)(PA + 0x1000) = 2; *(u64 *)(PA + 0x2000) = 3;
    map(0, PA | P | U | W); pt2[0] = (PA + 0x1000) | P | U | W;
    for (int i = 0; i < 10; i++) {
        WRITE_CR(3, (ul)pml4 | 1); go(rd, 3, VA); EQ(last.ax, 1);
        WRITE_CR(3, (ul)pml4_b | 2); go(rd, 3, VA); EQ(last.ax, 2);
        WRITE_CR(3, (ul)pml4 | 1 | 1ul << 63); go(rd, 3, VA); EQ(last.ax, 1);
    }
    /* INVPCID of one address in another PCID */
    pt2[0] = (PA + 0x2000) | P | U | W;
    cpuid(7, 0, c);
    if (c[1] >> 10 & 1) {
        u64 d[2] = { 2, VA };
        __asm__ volatile("invpcid %0,%1" : : "m"(d), "r"(0ul) : "memory");
        WRITE_CR(3, (ul)pml4_b | 2 | 1ul << 63); go(rd, 3, VA); EQ(last.ax, 3);
        CODE(invpcid_bad, "mov $4,%eax; invpcid (%rbx),%rax\n" CODE_END)
        d[0] = 0; go(invpcid_bad, 0, (ul)d); EXPECT(13, 0, invpcid_bad + 5);
    }
    WRITE_CR(3, pml4);
    WRITE_CR(4, READ_CR(4) & ~0x20000ul);
    /* global pages: MOV CR3 need not flush them, INVLPG and CR4.PGE do */
    WRITE_CR(4, READ_CR(4) | 0x80);
    map(0, PA | P | U | W | G);
    go(rd, 3, VA); EQ(last.ax, 1);
    pt[0] = (PA + 0x1000) | P | U | W | G; invlpg(VA);
    go(rd, 3, VA); EQ(last.ax, 2);
    pt[0] = (PA + 0x2000) | P | U | W | G; WRITE_CR(4, READ_CR(4) & ~0x80ul); WRITE_CR(4, READ_CR(4) | 0x80);
    go(rd, 3, VA); EQ(last.ax, 3);
}

CODE(cr3_bad, "mov %rbx,%cr3\n" CODE_END)
CODE(cr0_bad, "mov %cr0,%rax; btr $0,%eax\ncr0_at: mov %rax,%cr0\n" CODE_END) LABEL(cr0_at);
CODE(cr4_bad, "mov %cr4,%rax; btr $5,%eax\ncr4_at: mov %rax,%cr4\n" CODE_END) LABEL(cr4_at);
CODE(cr4_res, "mov %cr4,%rax; bts $30,%eax\ncr4r_at: mov %rax,%cr4\n" CODE_END) LABEL(cr4r_at);
static void control(void)
{
    go(cr3_bad, 0, 1ul << 60); EXPECT(13, 0, cr3_bad);
    go(cr0_bad, 0, 0); EXPECT(13, 0, cr0_at);
    go(cr4_bad, 0, 0); EXPECT(13, 0, cr4_at);
    go(cr4_res, 0, 0); EXPECT(13, 0, cr4r_at);
    go(cr3_bad, 3, 0); EXPECT(13, 0, cr3_bad);
}

CODE(push_pf, "mov %rbx,%rsp; push %rax\n" CODE_END)
static void stacks(void)
{
    setup();
    map(0, PA | P | U | W);
    go(push_pf, 3, VA + 0x1000); EXPECT_END(); EQ(last.sp, VA + 0xff8);
    go(push_pf, 3, VA + 0x5000); PF(U | W, push_pf + 3, VA + 0x4ff8); EQ(last.sp, VA + 0x5000);
    /* the handler's stack is missing: #DF by its IST */
    u64 old = *(u64 *)(tss + 4);
    *(u64 *)(tss + 4) = VA + 0x5000; *(u64 *)(tss + 36) = 0x700000;
    idt[8].attr = 0x8e01;
    go(rd, 3, VA + 0x9000); EQ(last.vec, 8); EQ(last.err, 0); EQ(last.ip, (ul)rd); EQ(last.cr2, VA + 0x4ff8);
    *(u64 *)(tss + 4) = old; idt[8].attr = 0x8e00;
}

void main(void);
void main(void)
{
    RUN(faults);
    RUN(accessed_dirty);
    RUN(write_protect);
    RUN(levels);
    RUN(smep_smap);
    RUN(crossing);
    RUN(own_entry);
    RUN(remap);
    RUN(pcid);
    RUN(control);
    RUN(stacks);
    finish();
}
