/*
 * 32-bit paging with 4 MiB pages and PAE paging: faults, error codes, accessed and dirty bits, PDPTEs, the wrap at 4 GiB; code that is mapped elsewhere, and
 * code whose place gets other code by every change of a mapping. SDM vol. 3 ch. 4.3, 4.4, 4.10.
 */
#include "kit.h"

#define VA 0x10000000u
#define PA 0x800000u
#define P 1
#define W 2
#define U 4
#define A 0x20
#define D 0x40

static u32 dir[1024] __attribute__((aligned(4096))), tab[1024] __attribute__((aligned(4096))), low[1024] __attribute__((aligned(4096)));
static u64 pdpt[4] __attribute__((aligned(4096))), pd[4][512] __attribute__((aligned(4096))), pt[512] __attribute__((aligned(4096)));

static void go(void *ip, int ring, u32 bx)
{
    struct regs r = { .ip = (u32)ip, .cs = ring ? 0x1b : 8, .ds = 0x23, .es = 0x23, .fs = 0x23, .gs = 0x23,
                      .ss = ring ? 0x23 : 0x10, .fl = 2, .bx = bx, .ax = 0x11223344 };
    r.sp = (ring ? (u32)user_stack_top : (u32)stack_top - 8192) - 256;
    enter(&r);
}
static void invlpg(u32 va) { __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory"); }

CODE(rd, "mov (%ebx),%eax\n" CODE_END)
CODE(wr, "mov %eax,(%ebx)\n" CODE_END)
CODE(ex, "jmp *%ebx\n")
CODE(cr3_, "mov %ebx,%cr3\n" CODE_END)
#define PF(e, at, addr) do { EXPECT(14, e, at); EQ(last.cr2, addr); } while (0)

static void pse(void)
{
    for (u32 i = 0; i < 1024; i++) {
        dir[i] = i << 22 | 0x87;
        low[i] = i << 12 | 7;
        tab[i] = 0;
    }
    dir[0] = (u32)low | 7;
    dir[VA >> 22] = (u32)tab | 7;
    *(u16 *)PA = 0x80cd;
    WRITE_CR(4, READ_CR(4) | 0x10);
    WRITE_CR(3, dir);
    WRITE_CR(0, READ_CR(0) | 0x80010000);
    go(rd, 0, VA); PF(0, rd, VA);
    go(wr, 3, VA); PF(U | W, wr, VA);
    go(ex, 3, VA); PF(U, VA, VA);
    tab[0] = PA | P | U; invlpg(VA);
    go(rd, 3, VA); EXPECT_END(); EQ(tab[0] & (A | D), A);
    go(wr, 3, VA + 4); PF(P | U | W, wr, VA + 4);
    go(wr, 0, VA + 4); PF(P | W, wr, VA + 4);
    go(ex, 3, VA); EXPECT(0x80, 0, VA + 2);
    tab[0] = PA | P | U | W; invlpg(VA);
    go(wr, 3, VA + 4); EXPECT_END(); EQ(tab[0] & (A | D), A | D); EQ(*(u32 *)(PA + 4), 0x11223344);
    dir[0x300] = PA | 0x87;                                 /* 4 MiB at C0000000 */
    invlpg(0xc0000000);
    go(rd, 3, 0xc0000004); EXPECT_END(); EQ(last.ax, 0x11223344); EQ(dir[0x300] & (A | D), A);
    go(wr, 3, 0xc03ffffc); EXPECT_END(); EQ(dir[0x300] & (A | D), A | D); EQ(*(u32 *)(PA + 0x3ffffc), 0x11223344);
    dir[0x300] = PA | 0x83; invlpg(0xc0000000);
    go(rd, 3, 0xc0000004); PF(P | U, rd, 0xc0000004);
    dir[0x300] = PA | 0x200087; invlpg(0xc0000000);         /* a reserved bit */
    go(rd, 3, 0xc0000004); PF(P | U | 8, rd, 0xc0000004);
    dir[0x300] = (u32)tab | 0x80 | 7; WRITE_CR(4, READ_CR(4) & ~0x10ul); WRITE_CR(3, READ_CR(3));
    WRITE_CR(0, READ_CR(0) & 0x7fffffff);
    /* without PSE the bit is ignored: everything else has to be small pages then, so only the low 4 MiB and the test region */
    WRITE_CR(0, READ_CR(0) | 0x80000000);
    go(rd, 3, 0xc0000004); EXPECT_END(); EQ(last.ax, 0x11223344);
    WRITE_CR(0, READ_CR(0) & 0x7fffffff);
}

/* Operands and code that go on from the end of the address space at 0. */
CODE(wrap_push, "mov %esp,%ebp; mov $2,%esp; push %eax; pop %ecx; mov %ebp,%esp\n" CODE_END)
CODE(wrap_add, "addl $0x01010101,(%ebx); lock xchg %eax,(%ebx)\n" CODE_END)
static void wrap(void)
{
    static const u8 code[] = { 0xb8, 0x78, 0x56, 0x34, 0x12, 0xcd, 0x80 };
    u8 *last_page = (u8 *)PA, *first = (u8 *)0;
    __asm__("" : "+r"(first));
    tab[1023] = PA | 7;
    dir[1023] = (u32)tab | 7;
    low[0] = 0 | 7;
    WRITE_CR(4, READ_CR(4) | 0x10);
    WRITE_CR(3, dir);
    WRITE_CR(0, READ_CR(0) | 0x80010000);
    for (int ring = 0; ring < 4; ring += 3) {
        *(u16 *)(last_page + 0xffe) = *(u16 *)first = 0;
        go(wr, ring, 0xfffffffe); EXPECT_END(); EQ(*(u16 *)(last_page + 0xffe), 0x3344); EQ(*(u16 *)first, 0x1122);
        *(u16 *)first = 0x5566;
        go(rd, ring, 0xfffffffe); EXPECT_END(); EQ(last.ax, 0x55663344);
        go(wrap_add, ring, 0xfffffffe); EXPECT_END(); EQ(last.ax, 0x56673445); EQ(*(u16 *)first, 0x1122);
        go(wrap_push, ring, 0); EXPECT_END(); EQ(last.cx, 0x11223344); EQ(*(u16 *)(last_page + 0xffe), 0x3344); EQ(*(u16 *)first, 0x1122);
        memcpy(last_page + 0xffd, code, 3);
        memcpy(first, code + 3, 4);
        go((void *)0xfffffffd, ring, 0); EXPECT(0x80, 0, 4); EQ(last.ax, 0x12345678);
        *first = 0x55;
        go((void *)0xfffffffd, ring, 0); EXPECT(0x80, 0, 4); EQ(last.ax, 0x12555678);
    }
    tab[1023] = dir[1023] = 0;
    WRITE_CR(0, READ_CR(0) & 0x7fffffff);
}

static void pae(void)
{
    for (u32 i = 0; i < 2048; i++)
        pd[i / 512][i % 512] = (u64)i << 21 | 0x87;
    for (u32 i = 0; i < 4; i++)
        pdpt[i] = (u32)pd[i] | 1;
    for (u32 i = 0; i < 512; i++)
        pt[i] = 0;
    pd[0][VA >> 21] = (u32)pt | 7;
    *(u16 *)PA = 0x80cd;
    WRITE_CR(4, READ_CR(4) | 0x20);
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
    WRITE_CR(3, pdpt);
    WRITE_CR(0, READ_CR(0) | 0x80010000);
    go(rd, 0, VA); PF(0, rd, VA);
    go(ex, 3, VA); PF(U | 16, VA, VA);
    pt[0] = PA | P | U | W | 1ull << 63; invlpg(VA);
    go(ex, 3, VA); PF(P | U | 16, VA, VA);
    go(wr, 3, VA + 4); EXPECT_END(); EQ(pt[0] & (A | D), A | D);
    pt[0] = PA | P | U | W; invlpg(VA);
    go(ex, 3, VA); EXPECT(0x80, 0, VA + 2);
    go(wr, 3, VA + 0xffe); PF(U | W, wr, VA + 0x1000);
    pt[1] = 0x100000000ull | P | U | W; invlpg(VA + 0x1000);  /* beyond 4 GiB: nothing there, reads ones */
    go(rd, 3, VA + 0x1000); EXPECT_END(); EQ(last.ax, 0xffffffff);
    pt[2] = PA | P | U | W | 1ull << 60; invlpg(VA + 0x2000);
    go(rd, 3, VA + 0x2000); PF(P | U | 8, rd, VA + 0x2000);
    pd[3][0] = PA | 0x87; WRITE_CR(3, READ_CR(3));
    go(rd, 3, 0xc0000004); EXPECT_END(); EQ(last.ax, 0x11223344);
    u64 old = pdpt[3];
    pdpt[3] = 0; invlpg(0xc0000000);                       /* PDPTEs are registers: memory counts when CR3 is loaded ... */
    go(rd, 3, 0xc0000004); EXPECT_END(); EQ(last.ax, 0x11223344);
    WRITE_CR(3, READ_CR(3));
    go(rd, 3, 0xc0000004); PF(U, rd, 0xc0000004);
    pdpt[3] = old; invlpg(0xc0000000);
    go(rd, 3, 0xc0000004); PF(U, rd, 0xc0000004);
    WRITE_CR(4, READ_CR(4) ^ 0x80);                        /* ... or CR4.PGE changes */
    go(rd, 3, 0xc0000004); EXPECT_END(); EQ(last.ax, 0x11223344);
    WRITE_CR(4, READ_CR(4) ^ 0x80);
    pdpt[3] = (u32)pd[0] | 1; invlpg(0xc0000000);          /* met by a walk while the register says something else, then loaded */
    go(rd, 3, 0xc0000004); EXPECT_END(); EQ(last.ax, 0x11223344);
    *(u32 *)4 = 0x99887766;
    WRITE_CR(3, READ_CR(3));
    go(rd, 3, 0xc0000004); EXPECT_END(); EQ(last.ax, 0x99887766);
    pdpt[3] = old; WRITE_CR(3, READ_CR(3));
    go(rd, 3, 0xc0000004); EXPECT_END(); EQ(last.ax, 0x11223344);
    pdpt[3] = 0; WRITE_CR(3, READ_CR(3));
    go(rd, 3, 0xc0000004); PF(U, rd, 0xc0000004);
    pdpt[3] = old | 2;                                     /* reserved in a PDPTE: loading CR3 is #GP(0) */
    go(cr3_, 0, (u32)pdpt); EXPECT(13, 0, cr3_);
    pdpt[3] = old; WRITE_CR(3, READ_CR(3));
    go(rd, 3, 0xc0000004); EXPECT_END();
    WRITE_CR(0, READ_CR(0) & 0x7fffffff);
    WRITE_CR(4, READ_CR(4) & ~0x20ul);
}

static u64 pdpt2[4] __attribute__((aligned(4096))), pd2[2][512] __attribute__((aligned(4096))), pt2[512] __attribute__((aligned(4096)));
#define NX (1ull << 63)

static void pae_on(void)
{
    for (u32 i = 0; i < 4; i++)
        pdpt2[i] = pdpt[i] = (u32)pd[i] | 1;
    for (u32 i = 0; i < 512; i++) {
        pt[i] = pt2[i] = pd2[0][i] = pd2[1][i] = pd[3][i] = 0;
        pd[0][i] = (u64)i << 21 | 0x87;
    }
    WRITE_CR(4, READ_CR(4) | 0xa0);
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
    WRITE_CR(3, pdpt);
    WRITE_CR(0, READ_CR(0) | 0x80010000);
}

static void pae_off(void)
{
    WRITE_CR(0, READ_CR(0) & 0x7fffffff);
    WRITE_CR(4, READ_CR(4) & ~0xa0ul);
}

/* Returns twice, pushes its address, jumps and loops: eax is what pc was, edx where f was called from, esi 2 + 2 + 2 + 1. */
__asm__(".pushsection .pieces,\"awx\",@progbits\n.global roam, roam_end\nroam: call 1f\n1: pop %eax\nmov $3,%ecx\nmov $1,%esi\n2: call 4f\n3: dec %ecx\njnz 2b\njmp 5f\n"
        "4: add $2,%esi\nmov (%esp),%edx\nret\n5: int $0x80\nroam_end:\n.popsection\n");
extern u8 roam[], roam_end[];

/* One page of code at many places of ring 3: what is pushed are the addresses there. */
static void elsewhere(void)
{
    static const u32 at[] = { 0x40000000, 0x7ffff000, 0x80000000, 0xbffdf000, 0xbffff000, 0xc0000000, 0xfffff000, 0x48000000, 0x6a5b4000, 0x40001000 };
    memcpy((u8 *)PA, roam, (u32)(roam_end - roam));
    pae_on();
    for (u32 i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        u32 n = at[i] >> 12 & 511, dirs = at[i] >> 30;
        pd[dirs][at[i] >> 21 & 511] = (u32)pt | 7;
        for (u32 j = 0; j < 512; j++)
            pt[j] = 0;
        pt[n] = PA | P | U;
        WRITE_CR(3, pdpt);
        for (u32 k = 0; k < 3; k++) {
            go((void *)at[i], 3, 0);
            EXPECT(0x80, 0, at[i] + (u32)(roam_end - roam));
            EQ(last.ax, at[i] + 5); EQ(last.si, 7); EQ(last.cx, 0); EQ(last.dx, at[i] + 21);
        }
    }
    pae_off();
}

/* A page at V jumps to the next one, whose code says N in eax; directly, and by ebx. */
static void says(u32 v, u32 n)
{
    for (u32 i = 0; i < 4; i++) {
        go((void *)(v + (i & 1) * 16), 3, v + 0x1000);
        EXPECT(0x80, 0, v + 0x1007); EQ(last.ax, n);
    }
}
static void refused(u32 v) { go((void *)v, 3, v + 0x1000); PF(P | U | 16, v + 0x1000, v + 0x1000); }

static void remapped(void)
{
    static const u8 next[] = { 0xe9, 0xfb, 0x0f, 0, 0 }, by_ebx[] = { 0xff, 0xe3 };
    memcpy((u8 *)PA, next, 5);
    memcpy((u8 *)PA + 16, by_ebx, 2);
    for (u32 i = 1; i < 4; i++)
        memcpy((u8 *)PA + i * 0x1000, (u8[]){ 0xb8, (u8)i, 0, 0, 0, 0xcd, 0x80 }, 7);
    for (u32 gib = 1; gib < 4; gib += 2) {                  /* what belongs to a process, and what Linux calls the kernel's */
        u32 v = gib << 30, top = 0x100;
        pae_on();
        pd[gib][0] = (u32)pt | 7;
        pt[0] = pt2[0] = PA | P | U;
        pt[1] = (PA + 0x1000) | P | U; says(v, 1);
        pt[1] = (PA + 0x2000) | P | U; invlpg(v + 0x1000); says(v, 2);
        pt[1] |= NX; invlpg(v + 0x1000); refused(v);
        pt[1] &= ~NX; invlpg(v + 0x1000); says(v, 2);
        pt[1] &= ~(u64)U; invlpg(v + 0x1000); refused(v);
        pt[1] = (PA + 0x3000) | P | U | top; invlpg(v + 0x1000); says(v, 3);     /* global */
        pt[1] = (PA + 0x1000) | P | U | top; invlpg(v + 0x1000); says(v, 1);
        pt2[1] = (PA + 0x2000) | P | U;
        pd[gib][0] = (u32)pt2 | 7; invlpg(v + 0x1000); invlpg(v); says(v, 2);
        pd[gib][0] |= NX; WRITE_CR(4, READ_CR(4) ^ 0x80); WRITE_CR(4, READ_CR(4) ^ 0x80);
        go((void *)v, 3, 0); PF(P | U | 16, v, v);
        pd[gib][0] &= ~NX; invlpg(v); invlpg(v + 0x1000); says(v, 2);
        pt[1] = (PA + 0x1000) | P | U;
        pd2[0][0] = (u32)pt | 7;
        pdpt[gib] = (u32)pd2[0] | 1; WRITE_CR(3, pdpt); says(v, 1);              /* a directory of its own */
        for (u32 i = 0; i < 6; i++) {                                            /* two processes with different ones, then with one */
            WRITE_CR(3, i & 1 ? pdpt : pdpt2);
            says(v, i & 1 ? 1 : 2);
        }
        pdpt[gib] = (u32)pd[gib] | 1; WRITE_CR(3, pdpt); says(v, 2);
        WRITE_CR(3, pdpt2); says(v, 2);
        pt2[1] = (PA + 0x3000) | P | U; invlpg(v + 0x1000); says(v, 3);
        WRITE_CR(3, pdpt); says(v, 3);
        pt2[1] |= NX; invlpg(v + 0x1000); refused(v);
        WRITE_CR(3, pdpt2); refused(v);
        pd2[1][0] = (u32)pt | 7;
        pdpt[gib] = (u32)pd2[1] | 1; WRITE_CR(3, pdpt); says(v, 1);              /* one of them leaves */
        WRITE_CR(3, pdpt2); refused(v);
        pt2[1] &= ~NX; invlpg(v + 0x1000); says(v, 3);
        WRITE_CR(3, pdpt); says(v, 1);
        pae_off();
    }
}

void main(void);
void main(void)
{
    RUN(pse);
    RUN(wrap);
    RUN(pae);
    RUN(elsewhere);
    RUN(remapped);
    finish();
}
