/*
 * Protection keys, UMIP, and 5-level paging: rights and error codes of keys for every kind of access, RDPKRU and WRPKRU, PKRU in XSAVE areas, more values
 * than anybody can number; going to five levels and back, canonical addresses of 57 bits, tables above bit 47. SDM vol. 3 ch. 4.5, 4.6.2, 4.7.
 */
#include "paging.h"

#define HIGH (1ul << 48)                 /* beyond what four levels reach */
#define KEY(k) ((u64)(k) << 59)
#define PK 32

static u64 pml5[512] __attribute__((aligned(4096)));
static u64 high_pml4[512] __attribute__((aligned(4096))), high_pdpt[512] __attribute__((aligned(4096))), high_pd[512] __attribute__((aligned(4096)));
static u8 area[4096] __attribute__((aligned(64)));

static void wrpkru(u32 v) { __asm__ volatile("wrpkru" : : "a"(v), "c"(0), "d"(0) : "memory"); }
static u32 rdpkru(void) { u32 a, d; __asm__ volatile("rdpkru" : "=a"(a), "=d"(d) : "c"(0)); return a | d; }

CODE(get_pkru, "rdpkru\n" CODE_END)
CODE(set_pkru, "wrpkru\n" CODE_END)
/* rax: the value to have; then the access, in one block or the next */
CODE(set_wr, "xor %ecx,%ecx; xor %edx,%edx; wrpkru\nset_wr_at: mov %rax,(%rbx)\n" CODE_END) LABEL(set_wr_at);
CODE(set_cr4, "mov %rax,%cr4\n" CODE_END)
CODE(xset, "xor %ecx,%ecx; xor %edx,%edx; xsetbv\n" CODE_END)
CODE(call_, "call *%rbx\ncall_end:" CODE_END) LABEL(call_end);
CODE(ret_, "push %rbx\nret_at: ret\n" CODE_END) LABEL(ret_at);
CODE(wrfs, "wrfsbase %rbx\n" CODE_END)
#define PF(e, at, addr) do { EXPECT(14, e, at); EQ(last.cr2, addr); } while (0)

static void setup(void)
{
    pd[1][0] = (ul)pt | 7;
    for (unsigned i = 0; i < 512; i++)
        pt[i] = 0;
    invlpg(VA);
    *(u16 *)PA = 0x80cd;                                   /* int 80h */
}

static u32 feature(unsigned bit)
{
    u32 c[4];
    cpuid(7, 0, c);
    return c[2] >> bit & 1;
}

static void pkru_register(void)
{
    if (!feature(3))
        SKIP("no protection keys");
    go(get_pkru, 3, 0); EQ(last.vec, 6);
    EQ(feature(4), 0);
    WRITE_CR(4, READ_CR(4) | 1ul << 22);
    EQ(feature(4), 1);
    struct regs r = base(set_pkru, 3, 0);
    r.ax = 0xffffffff12345678; r.cx = 0xffffffff00000000; r.dx = 0xffffffff00000000;
    enter(&r); EXPECT_END();
    r = base(get_pkru, 3, 0);
    r.dx = ~0ul; r.cx = 1ul << 32;
    enter(&r); EXPECT_END(); EQ(last.ax, 0x12345678); EQ(last.dx, 0);
    r.cx = 1;
    enter(&r); EXPECT(13, 0, get_pkru);
    r = base(set_pkru, 0, 0);
    r.cx = 1;
    enter(&r); EXPECT(13, 0, set_pkru);
    r.cx = 0; r.dx = 1;
    enter(&r); EXPECT(13, 0, set_pkru);
    EQ(rdpkru(), 0x12345678);
    wrpkru(0);
}

static void keys(void)
{
    if (!feature(3))
        SKIP("no protection keys");
    setup();
    for (u64 k = 0; k < 16; k++)
        map((unsigned)k, PA | P | W | U | KEY(k));
    for (unsigned k = 1; k < 16; k++) {
        ul va = VA + k * 4096;
        map(k, PA | P | W | U | KEY(k));
        wrpkru(1u << 2 * k);                               /* no access */
        go(rd, 3, va); PF(P | U | PK, rd, va); EQ(pt[k] & (A | D), 0);
        go(wr, 3, va); PF(P | W | U | PK, wr, va); EQ(pt[k] & (A | D), 0);
        go(rd, 0, va); PF(P | PK, rd, va);
        go(ex, 3, va); EXPECT(0x80, 0, va + 2);            /* fetches are free */
        go(wr, 3, VA + (k ^ 1) * 4096); EXPECT_END();
        wrpkru(2u << 2 * k);                               /* no writes */
        go(rd, 3, va); EXPECT_END();
        go(wr, 3, va); PF(P | W | U | PK, wr, va); EQ(pt[k] & D, 0);
        go(rmw, 3, va); PF(P | W | U | PK, rmw, va);
        go(stos, 3, va); PF(P | W | U | PK, stos_at, va); EQ(last.cx, 4);
        go(wr, 0, va); PF(P | W | PK, wr, va);
        WRITE_CR(0, READ_CR(0) & ~0x10000ul);              /* a supervisor that does not heed read-only pages */
        go(wr, 0, va + 8); EXPECT_END();
        go(wr, 3, va + 8); PF(P | W | U | PK, wr, va + 8);
        WRITE_CR(0, READ_CR(0) | 0x10000);
        go(wr, 0, va + 8); PF(P | W | PK, wr, va + 8);
        wrpkru(0);
        go(wr, 3, va + 16); EXPECT_END();
        *(u16 *)PA = 0x80cd;
    }
    wrpkru(~3u);
    map(0, PA | P | U);                                    /* read-only and barred: both reasons are one error code */
    map(1, PA | P | U | KEY(1));
    map(2, PA | P | W | KEY(2));                           /* a supervisor's page has no key */
    map(3, PA | W | U | KEY(3));
    map(4, PA | P | W | U | KEY(4) | 1ull << 51);
    go(wr, 3, VA); PF(P | W | U, wr, VA);
    go(wr, 3, VA + 0x1000); PF(P | W | U | PK, wr, VA + 0x1000);
    go(wr, 0, VA + 0x2000); EXPECT_END();
    go(rd, 3, VA + 0x2000); PF(P | U, rd, VA + 0x2000);
    go(rd, 3, VA + 0x3000); PF(U, rd, VA + 0x3000);
    go(rd, 3, VA + 0x4000); PF(P | U | 8, rd, VA + 0x4000);
    map(0, PA | P | W | U);
    go(wr, 3, VA + 0xffc); PF(P | W | U | PK, wr, VA + 0x1000);     /* across the page end: nothing is written */
    wrpkru(0);
    *(u16 *)PA = 0x80cd;
}

static void keys_large(void)
{
    if (!feature(3))
        SKIP("no protection keys");
    setup();
    pd[1][0] = PA | 0xe7 | KEY(5); invlpg(VA);
    wrpkru(2u << 10);
    go(rd, 3, VA + 0x123450); EXPECT_END();
    go(wr, 3, VA + 0x123450); PF(P | W | U | PK, wr, VA + 0x123450);
    wrpkru(0);
    go(wr, 3, VA + 0x123450); EXPECT_END();
    pd[1][0] = (ul)pt | 7; invlpg(VA);
    map(0, PA | P | W | U | KEY(7));
    wrpkru(3u << 14);
    go(rd, 3, VA); PF(P | U | PK, rd, VA);
    WRITE_CR(4, READ_CR(4) & ~(1ul << 22));                /* without PKE the bits mean nothing */
    go(rd, 3, VA); EXPECT_END();
    WRITE_CR(4, READ_CR(4) | 1ul << 22);
    go(rd, 3, VA); PF(P | U | PK, rd, VA);
    map(0, PA | P | W | U | KEY(6));                       /* the entry changes, PKRU stays */
    go(rd, 3, VA); EXPECT_END();
    wrpkru(0);
}

/* As programs do: open, write, close, over and over; then more values than there are. */
static void switching(void)
{
    if (!feature(3))
        SKIP("no protection keys");
    setup();
    map(0, PA | P | W | U | KEY(1));
    map(1, (PA + 0x1000) | P | W | U | KEY(2));
    for (unsigned i = 0; i < 2000; i++) {
        struct regs r = base(set_wr, 3, VA + 64);
        r.ax = i & 1 ? 0x55555554 : 0x55555550;
        enter(&r);
        if (i & 1)
            PF(P | W | U | PK, set_wr_at, VA + 64);
        else
            EXPECT_END();
    }
    for (unsigned i = 0; i < 400; i++) {
        u32 v = (i % 3) << 2 | ((i / 3) % 3) << 4 | i << 8;
        struct regs r = base(set_wr, 3, VA + 64 + (i & 1) * 4096);
        r.ax = v;
        enter(&r);
        if (v >> (i & 1 ? 4 : 2) & 3)
            PF(P | W | U | PK, set_wr_at, VA + 64 + (i & 1) * 4096);
        else
            EXPECT_END();
    }
    EQ(rdpkru(), (399 % 3) << 2 | ((399 / 3) % 3) << 4 | 399 << 8);
    wrpkru(0);
}

static u64 xgetbv1(void) { u32 a, d; __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1)); return (u64)d << 32 | a; }

static void pkru_xsave(void)
{
    u32 c[4], comp[4];
    cpuid(1, 0, c);
    if (!feature(3) || !(c[2] >> 26 & 1))
        SKIP("no protection keys, or no XSAVE");
    WRITE_CR(4, READ_CR(4) | 1ul << 18);
    struct regs r = base(xset, 0, 0);
    r.ax = 0x203;
    enter(&r); EXPECT_END();
    cpuid(0xd, 9, comp);
    EQ(comp[0], 8); EQ(comp[2], 0); EQ(comp[1] >= 576 && comp[1] + 8 <= sizeof(area), 1);
    cpuid(0xd, 0, c);
    EQ(c[1], comp[1] + 8);
    wrpkru(0);
    EQ(xgetbv1() & 0x200, 0);
    wrpkru(0x55555554);
    EQ(xgetbv1() & 0x200, 0x200);
    memset(area, 0xcc, sizeof(area));
    memset(area + 512, 0, 64);
    __asm__ volatile("xsave (%0)" : : "r"(area), "a"(0x200), "d"(0) : "memory");
    EQ(*(u64 *)(area + 512), 0x200);
    EQ(*(u64 *)(area + comp[1]), 0x55555554);
    EQ(area[0], 0xcc);
    setup();
    map(0, PA | P | W | U | KEY(1));
    wrpkru(0);
    go(rd, 3, VA); EXPECT_END();
    __asm__ volatile("xrstor (%0)" : : "r"(area), "a"(0x200), "d"(0) : "memory");
    EQ(rdpkru(), 0x55555554);
    go(rd, 3, VA); PF(P | U | PK, rd, VA);
    *(u64 *)(area + 512) = 0;                              /* initial: all is allowed */
    __asm__ volatile("xrstor (%0)" : : "r"(area), "a"(0x200), "d"(0) : "memory");
    EQ(rdpkru(), 0);
    go(rd, 3, VA); EXPECT_END();
    wrpkru(0x10);
    memset(area, 0, sizeof(area));
    __asm__ volatile("xsavec (%0)" : : "r"(area), "a"(0x200), "d"(0) : "memory");
    EQ(*(u64 *)(area + 512), 0x200); EQ(*(u64 *)(area + 520), 1ull << 63 | 0x200); EQ(*(u64 *)(area + 576), 0x10);
    wrpkru(0);
    __asm__ volatile("xrstor (%0)" : : "r"(area), "a"(0x200), "d"(0) : "memory");
    EQ(rdpkru(), 0x10);
    wrpkru(0);
}

/* ---- five levels ---- */

/* Paging off, LA57 as wanted, CR3, paging on: by way of 32-bit code. */
void set_levels(ul cr3, ul five);
__asm__(".text\n.global set_levels\nset_levels: push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "pushq $0x40; lea 1f(%rip),%rax; push %rax; lretq\n.code32\n"
        "1: mov %cr0,%eax; and $0x7fffffff,%eax; mov %eax,%cr0\n"
        "mov %cr4,%eax; and $~0x1000,%eax; shl $12,%esi; or %esi,%eax; mov %eax,%cr4; mov %edi,%cr3\n"
        "mov %cr0,%eax; or $0x80000000,%eax; mov %eax,%cr0\nljmp $8,$2f\n.code64\n"
        "2: pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n");

static void go_to_five(void)
{
    u32 c[4];
    gdt[8] = 0x00cf9a000000ffff;
    cpuid(0x80000008, 0, c);
    EQ(c[0] >> 8 & 0xff, feature(16) ? 57 : 48);
    if (!feature(16)) {
        struct regs r = base(set_cr4, 0, 0);
        r.ax = READ_CR(4) | 0x1000;
        enter(&r); EXPECT(13, 0, set_cr4);
        SKIP("no 5-level paging");
    }
    struct regs r = base(set_cr4, 0, 0);
    r.ax = READ_CR(4) | 0x1000;
    enter(&r); EXPECT(13, 0, set_cr4);                     /* not in long mode */
    go(rd, 3, HIGH); EXPECT(13, 0, rd);
    go(ex, 3, HIGH); EXPECT(13, 0, ex);
    go(ret_, 3, HIGH); EXPECT(13, 0, ret_at);
    wrmsr(0xc0000102, HIGH * 128);                         /* what the processor could use is taken all the same */
    EQ(rdmsr(0xc0000102), HIGH * 128);
    wrmsr(0xc0000102, 0);
    pml5[0] = (ul)pml4 | 7;
    pml5[1] = (ul)high_pml4 | 7;
    high_pml4[0] = (ul)high_pdpt | 7;
    high_pdpt[0] = (ul)high_pd | 7;
    high_pd[0] = (ul)pt | 7;
    set_levels((ul)pml5, 1);
    EQ(READ_CR(4) & 0x1000, 0x1000);
    EQ(rdmsr(0xc0000080) & 0x500, 0x500);
    r = base(set_cr4, 0, 0);
    r.ax = READ_CR(4) & ~0x1000ul;
    enter(&r); EXPECT(13, 0, set_cr4);
}

static void five_levels(void)
{
    if (!feature(16))
        SKIP("no 5-level paging");
    setup();
    map(0, PA | P | U | W);
    pml5[1] &= ~(u64)A; invlpg(HIGH);
    go(wr, 3, HIGH + 8); EXPECT_END(); EQ(pml5[1] & A, A); EQ(pt[0] & D, D); EQ(*(u64 *)(PA + 8), 0x1122334455667788);
    go(rd, 3, VA + 8); EXPECT_END(); EQ(last.ax, 0x1122334455667788);
    go(rd, 3, HIGH * 2); PF(U, rd, HIGH * 2);
    go(rd, 3, 0xff800000000000); PF(U, rd, 0xff800000000000);
    go(rd, 0, 0xff00000000000000); PF(0, rd, 0xff00000000000000);
    go(rd, 3, 1ul << 56); EXPECT(13, 0, rd);
    go(rd, 3, 0xfeffffffffffffff); EXPECT(13, 0, rd);
    go(wr, 3, (1ul << 56) - 4); EXPECT(13, 0, wr);         /* its end is not canonical: before any page is looked for */
    pml5[1] = (ul)high_pml4 | P | W; WRITE_CR(3, (ul)pml5);
    go(rd, 3, HIGH); PF(P | U, rd, HIGH);
    pml5[1] = (ul)high_pml4 | P | U; WRITE_CR(3, (ul)pml5);
    go(wr, 3, HIGH); PF(P | W | U, wr, HIGH);
    pml5[1] = (ul)high_pml4 | 7 | NX; WRITE_CR(3, (ul)pml5);
    go(ex, 3, HIGH); PF(P | U | 16, HIGH, HIGH);
    pml5[1] = (ul)high_pml4 | 0x87; WRITE_CR(3, (ul)pml5);
    go(rd, 3, HIGH); PF(P | U | 8, rd, HIGH);
    pml5[1] = 0; WRITE_CR(3, (ul)pml5);
    go(rd, 3, HIGH); PF(U, rd, HIGH);
    pml5[1] = (ul)high_pml4 | 7; WRITE_CR(3, (ul)pml5);
    go(rd, 3, HIGH + 8); EXPECT_END(); EQ(last.ax, 0x1122334455667788);
    pt[0] = 0; invlpg(HIGH);
    go(rd, 3, HIGH + 8); PF(U, rd, HIGH + 8);
    if (READ_CR(4) >> 22 & 1) {
        map(0, PA | P | U | W | KEY(3)); invlpg(HIGH);
        wrpkru(1u << 6);
        go(rd, 3, HIGH + 8); PF(P | U | PK, rd, HIGH + 8);
        wrpkru(0);
    }
}

/* Code above bit 47: branches there and back, and to where nothing can be. */
static void high_code(void)
{
    if (!feature(16))
        SKIP("no 5-level paging");
    static const u8 ret_code[] = { 0x48, 0xff, 0xc0, 0xc3 };                  /* inc %rax; ret */
    setup();
    map(0, PA | P | U | W);
    memcpy((void *)(PA + 0x100), ret_code, sizeof(ret_code));
    for (unsigned i = 0; i < 300; i++) {
        go(call_, 3, HIGH + 0x100); EXPECT(0x80, 0, call_end + 2); EQ(last.ax, 0x1122334455667789);
        go(ex, 3, HIGH); EXPECT(0x80, 0, HIGH + 2);
        go(ret_, 3, VA); EXPECT(0x80, 0, VA + 2);
        go(ret_, 3, HIGH); EXPECT(0x80, 0, HIGH + 2);
    }
    go(ex, 3, 1ul << 56); EXPECT(13, 0, ex);
    go(call_, 3, 1ul << 56); EXPECT(13, 0, call_);
    go(ret_, 3, 1ul << 56); EXPECT(13, 0, ret_at);
    go(ret_, 3, 0xfeffffffffffffff); EXPECT(13, 0, ret_at);
    u32 c[4];
    cpuid(7, 0, c);
    if (c[1] & 1) {
        WRITE_CR(4, READ_CR(4) | 0x10000);
        go(wrfs, 0, 0xff000000000000); EXPECT_END(); EQ(rdmsr(0xc0000100), 0xff000000000000);
        go(wrfs, 0, 1ul << 56); EXPECT(13, 0, wrfs);
        go(wrfs, 0, 0); EXPECT_END();
    }
}

static void back_to_four(void)
{
    if (!feature(16))
        SKIP("no 5-level paging");
    set_levels((ul)pml4, 0);
    EQ(READ_CR(4) & 0x1000, 0);
    setup();
    map(0, PA | P | U | W);
    go(rd, 3, VA); EXPECT_END();
    go(rd, 3, HIGH); EXPECT(13, 0, rd);
    go(ex, 3, HIGH); EXPECT(13, 0, ex);
    go(call_, 3, HIGH + 0x100); EXPECT(13, 0, call_);
    set_levels((ul)pml5, 1);
    go(rd, 3, HIGH); EXPECT_END();
    set_levels((ul)pml4, 0);
}

CODE(sgdt_, "sgdt (%rbx)\n" CODE_END) CODE(sidt_, "sidt (%rbx)\n" CODE_END) CODE(sldt_, "sldt %eax\n" CODE_END) CODE(sldt_m, "sldt (%rbx)\n" CODE_END)
CODE(str_, "str %eax\n" CODE_END) CODE(smsw_, "smsw %eax\n" CODE_END) CODE(smsw_m, "smsw (%rbx)\n" CODE_END)

/* What tells a program about the kernel: barred in ring 3, before memory is looked at. */
static void umip(void)
{
    static u8 *const code[] = { sgdt_, sidt_, sldt_, sldt_m, str_, smsw_, smsw_m };
    static const char memory[] = { 1, 1, 0, 1, 0, 0, 1 };
    if (!feature(2))
        SKIP("no UMIP");
    setup();
    map(0, PA | P | U | W);
    for (unsigned on = 0; on < 2; on++) {
        WRITE_CR(4, on ? READ_CR(4) | 0x800 : READ_CR(4) & ~0x800ul);
        for (unsigned i = 0; i < 7; i++) {
            go(code[i], 0, VA); EXPECT_END();
            go(code[i], 3, VA);
            if (on)
                EXPECT(13, 0, code[i]);
            else
                EXPECT_END();
            if (!memory[i])
                continue;
            go(code[i], 3, VA + 0x1000);
            if (on)
                EXPECT(13, 0, code[i]);
            else
                PF(U | W, code[i], VA + 0x1000);
        }
    }
    WRITE_CR(4, READ_CR(4) & ~0x800ul);
}

int main(void)
{
    WRITE_CR(0, READ_CR(0) | 0x10000);
    RUN(pkru_register);
    RUN(keys);
    RUN(keys_large);
    RUN(switching);
    RUN(pkru_xsave);
    RUN(umip);
    RUN(go_to_five);
    RUN(five_levels);
    RUN(high_code);
    RUN(back_to_four);
    finish();
}
