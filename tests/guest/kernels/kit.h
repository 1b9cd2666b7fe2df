/*
 * What the bare-metal test kernels share: output, checks, and a way to run a piece of code and see how it ended.
 *
 * enter() (start32.S, start64.S) loads a whole register context and goes there by IRET; whatever exception or interrupt comes next
 * ends it, with all registers as of that moment in `last`. So a test is: a context, a piece of code written with CODE(), and checks of `last`.
 * A kernel prints `ok NAME` or `FAIL NAME: line N: ...` for each test and ends by writing 0 to port 501h (isa-debug-exit: status 1).
 */
#ifndef KIT_H
#define KIT_H
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned long ul;

#ifdef __x86_64__
struct regs { u64 r15, r14, r13, r12, r11, r10, r9, r8, di, si, bp, bx, dx, cx, ax, ds, es, fs, gs, vec, err, ip, cs, fl, sp, ss, cr2; };
#else
struct regs { u32 di, si, bp, sp0, bx, dx, cx, ax, gs, fs, es, ds, vec, err, ip, cs, fl, sp, ss, vm_es, vm_ds, vm_fs, vm_gs, cr2; };
#endif
extern struct regs last;
void enter(struct regs *);
extern u8 stack_top[], user_stack_top[];
extern u64 gdt[32];
struct idt_entry { u16 lo, sel; u16 attr, mid;
#ifdef __x86_64__
    u32 hi, zero;
#endif
};
extern struct idt_entry idt[256];
extern u8 tss[104 + 8192 + 1];

/* A piece of code that is reached by address only. */
#define CODE(name, text) \
    __asm__(".pushsection .pieces,\"awx\",@progbits\n.global " #name "\n" #name ":\n" text "\n.popsection\n"); \
    extern u8 name[];
#define LABEL(name) extern u8 name[]
#define CODE_END "int $0x80\n"

static inline void outb(u16 p, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(p)); }
static inline u8 inb(u16 p) { u8 v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline u64 rdmsr(u32 n) { u32 a, d; __asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(n)); return (u64)d << 32 | a; }
static inline void wrmsr(u32 n, u64 v) { __asm__ volatile("wrmsr" : : "c"(n), "a"((u32)v), "d"((u32)(v >> 32)) : "memory"); }
static inline u64 rdtsc(void) { u32 a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d)); return (u64)d << 32 | a; }
static inline void cpuid(u32 leaf, u32 sub, u32 *v)
{
    __asm__ volatile("cpuid" : "=a"(v[0]), "=b"(v[1]), "=c"(v[2]), "=d"(v[3]) : "a"(leaf), "c"(sub));
}
#define READ_CR(n) ({ ul v_; __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_CR(n, v) __asm__ volatile("mov %0, %%cr" #n : : "r"((ul)(v)) : "memory")
#define READ_DR(n) ({ ul v_; __asm__ volatile("mov %%dr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_DR(n, v) __asm__ volatile("mov %0, %%dr" #n : : "r"((ul)(v)) : "memory")

static inline void put_char(char c) { while (!(inb(0x3fd) & 0x20)) { } outb(0x3f8, (u8)c); }
static inline void put(const char *s) { for (; *s; s++) put_char(*s); }
static inline void put_hex(u64 v)
{
    unsigned n = 16;
    while (n > 1 && !(v >> (4 * (n - 1))))
        n--;
    while (n--)
        put_char("0123456789abcdef"[v >> (4 * n) & 15]);
}
static inline void put_dec(unsigned v)
{
    if (v > 9)
        put_dec(v / 10);
    put_char((char)('0' + v % 10));
}

static const char *test_name;
static int test_failed, any_failed;
static inline void failed_at(int line, const char *what, u64 got, u64 want)
{
    if (test_failed++ < 4) {
        put("FAIL "); put(test_name); put(": line "); put_dec((unsigned)line); put(" "); put(what); put(" = "); put_hex(got); put(", not ");
        put_hex(want);
        put(" (vec "); put_hex(last.vec); put(" err "); put_hex(last.err); put(" ip "); put_hex(last.ip); put(")\n");
    }
    any_failed = 1;
}
#define EQ(got, want) do { u64 g_ = (u64)(got), w_ = (u64)(want); if (g_ != w_) failed_at(__LINE__, #got, g_, w_); } while (0)
#define RUN(fn) do { test_name = #fn; test_failed = 0; fn(); if (!test_failed) { put("ok "); put(#fn); put("\n"); } } while (0)
#define SKIP(why) do { put("skip "); put(test_name); put(": " why "\n"); test_failed = 1; return; } while (0)

static inline void __attribute__((noreturn)) finish(void)
{
    put("end\n");
    outb(0x501, (u8)any_failed);
    for (;;)
        __asm__ volatile("hlt");
}
/* The code ended by exception VEC with error code ERR at label AT. */
#define EXPECT(v, e, at) do { EQ(last.vec, v); EQ(last.err, e); EQ(last.ip, (ul)(at)); } while (0)
#define EXPECT_END() EQ(last.vec, 0x80)

#define SEG_DESC(base, limit, type, flags) \
    ((u64)((limit) & 0xffff) | (u64)((base) & 0xffffff) << 16 | (u64)(type) << 40 | (u64)((limit) >> 16 & 15) << 48 | \
     (u64)(flags) << 52 | (u64)((base) >> 24 & 0xff) << 56)
void *memset(void *p, int c, ul n);
void *memcpy(void *d, const void *s, ul n);
#endif
