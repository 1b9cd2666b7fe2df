/*
 * The cases of tests/insn on the bare machine, at user level of long mode (64- and 32-bit code) and in ring 0. The start and the expectation of
 * each case are records that its macros leave (tests/insn/insn.h).
 */
#include "kit.h"
#include "tests/insn/run.h"

static u64 page_table[512] __attribute__((aligned(4096)));
static u8 window[WINDOW_PAGES][4096] __attribute__((aligned(4096)));

static int has_feature(unsigned leaf, unsigned reg, unsigned bit)
{
    u32 v[4];
    cpuid(0, 0, v);
    if (leaf > v[0])
        return 0;
    cpuid(leaf, 0, v);
    return v[reg] >> bit & 1;
}

/* The first page of the window's 2 MiB is the window's; what comes before it and behind it is absent. */
static void make_window(void)
{
    extern u64 pd[4][512];
    const u64 bits[WINDOW_PAGES] = { 7, 7, 0, 5, 7, 0 };
    for (unsigned k = 0; k < WINDOW_PAGES; k++)
        page_table[k] = bits[k] ? (ul)window[k] | bits[k] : 0;
    pd[0][WINDOW >> 21] = (ul)page_table | 7;
    pd[0][(WINDOW >> 21) - 1] = 0;
    WRITE_CR(0, READ_CR(0) | 0x50000);               /* WP, AM */
    WRITE_CR(3, READ_CR(3));
}

static int has_avx;
static void enable_avx(void)
{
    u32 v[4];
    cpuid(1, 0, v);
    if (!(v[2] >> 26 & 1))
        return;
    WRITE_CR(4, READ_CR(4) | 0x40000);
    cpuid(13, 0, v);
    has_avx = v[0] >> 2 & 1;
    __asm__ volatile("xsetbv" : : "a"(v[0] & 0xe7), "d"(0), "c"(0));
}

#define EACH_XMM(m) m(0) m(1) m(2) m(3) m(4) m(5) m(6) m(7) m(8) m(9) m(10) m(11) m(12) m(13) m(14) m(15)
#define LOAD_XMM(n) __asm__ volatile("movups %0, %%xmm" #n : : "m"(in->xmm[n]));
#define STORE_XMM(n) __asm__ volatile("movups %%xmm" #n ", %0" : "=m"(out->xmm[n]));

static void run(const struct insn_state *in, unsigned attr, struct insn_state *out)
{
    static const u32 mxcsr = 0x1f80;
    int user = !(attr & ATTR_RING0);
    ul sel = user ? 0x23 : 0x10;
    struct regs r = { .r15 = in->r[15], .r14 = in->r[14], .r13 = in->r[13], .r12 = in->r[12], .r11 = in->r[11], .r10 = in->r[10], .r9 = in->r[9],
                      .r8 = in->r[8], .di = in->r[RDI], .si = in->r[RSI], .bp = in->r[RBP], .bx = in->r[RBX], .dx = in->r[RDX], .cx = in->r[RCX],
                      .ax = in->r[RAX], .ds = sel, .es = sel, .ip = in->ip, .cs = !user ? 8 : attr & ATTR_32 ? 0x1b : 0x2b, .fl = in->r[FLAGS] & ~0x200ul,
                      .sp = in->r[RSP], .ss = sel };
    __asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
    if (has_avx)
        __asm__ volatile("vzeroupper");
    EACH_XMM(LOAD_XMM)
    if (attr & ATTR_TS)
        WRITE_CR(0, READ_CR(0) | 8);
    enter(&r);
    __asm__ volatile("clts");
    EACH_XMM(STORE_XMM)
    const u64 g[17] = { last.ax, last.cx, last.dx, last.bx, last.sp, last.bp, last.si, last.di, last.r8, last.r9, last.r10, last.r11, last.r12, last.r13,
                        last.r14, last.r15, last.fl };
    for (unsigned k = 0; k < 17; k++)
        out->r[k] = g[k];
    out->vec = last.vec;
    out->err = last.err;
    out->ip = last.ip - (last.vec == 3);
    out->cr2 = last.vec == 14 ? last.cr2 : 0;
}

/* Exceptions in ring 0 go to a stack of their own: a case's is in the window. */
static void own_stack(void)
{
    static u8 stack[4096] __attribute__((aligned(16)));
    *(u64 *)(tss + 36) = (ul)stack + sizeof stack;
    for (unsigned v = 0; v < 256; v++)
        idt[v].attr |= 1;
}

int main(void);
int main(void)
{
    idt[4].attr = 0xee00;                            /* INTO */
    own_stack();
    enable_avx();
    make_window();
    any_failed = run_all(0) != 0;
    finish();
}
