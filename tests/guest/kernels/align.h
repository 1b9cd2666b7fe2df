/*
 * #AC (CR0.AM, EFLAGS.AC, ring 3) by every kind of access, for align32.c and align64.c: what alignment each wants is as measured on a processor (Zen 3),
 * whose #AC comes before a page fault and after a bad address. Off it is in ring 0, without AM and without AC. SDM vol. 3 table 6-7.
 */
#include "kit.h"

#define AC 0x40000
#ifdef __x86_64__
#define R(x) "%r" #x
#define CS3 0x2b
#else
#define R(x) "%e" #x
#define CS3 0x1b
#endif
static u8 mem[8192] __attribute__((aligned(4096)));
#define A(name, want, text) CODE(a_##name, "name_" #name ": " text "\n" CODE_END)
/* the operand is at (e|r)bx, which is SI and DI, too; "sp": the stack is there */
#define SP "mov " R(bx) ",%" SPREG "; "
#ifdef __x86_64__
#define SPREG "rsp"
#define WORD 8
#else
#define SPREG "esp"
#define WORD 4
#endif
#define B "(" R(bx) ")"
#define KINDS \
    A(b, 1, "mov " B ",%al") A(w, 2, "mov " B ",%ax") A(l, 4, "mov " B ",%eax") A(sw, 2, "mov %ax," B) A(sl, 4, "mov %eax," B) A(add, 4, "addl $1," B) \
    A(lock, 4, "lock incl " B) A(xchg, 2, "xchg %ax," B) A(cx8, 8, "cmpxchg8b " B) A(bt, 4, "btsl %ecx," B) A(bti, 2, "btw $3," B) A(shld, 4, "shld $1,%eax," B) \
    A(push, WORD, SP "push " R(ax)) A(pushw, 2, SP "pushw %ax") A(pop, WORD, SP "pop " R(ax)) A(pushf, WORD, SP "pushf") A(call, WORD, SP "call 1f; 1:") \
    A(enter, WORD, SP "enter $8,$0") A(leave, WORD, "mov " R(bx) "," R(bp) "; leave") A(pushm, WORD, "push " B) A(popm, WORD, "push $0; pop " B) \
    A(movsw, 2, "movsw") A(movsl, 4, "movsl") A(reps, 4, "rep movsl") A(repst, 2, "rep stosw") A(lods, 4, "lodsl") A(scas, 2, "scasw") A(cmps, 4, "cmpsl") \
    A(fld4, 4, "flds " B) A(fld8, 8, "fldl " B) A(fld10, 8, "fldt " B) A(fstp10, 8, "fldz; fstpt " B) A(fild2, 2, "filds " B) A(fbld, 8, "fbld " B) \
    A(fldcw, 2, "fldcw " B) A(fnstcw, 2, "fnstcw " B) A(fnstenv, 4, "fnstenv " B) A(fnstenv16, 2, "data16 fnstenv " B) A(fnsave, 4, "fnsave " B) \
    A(frstor, 4, "frstor " B) A(stmxcsr, 4, "stmxcsr " B) A(movd, 4, "movd " B ",%xmm0") A(movq, 8, "movq " B ",%xmm0") A(movups, 16, "movups " B ",%xmm0") \
    A(movdqus, 16, "movdqu %xmm0," B) A(addss, 4, "addss " B ",%xmm0") A(addsd, 8, "addsd " B ",%xmm0") A(movnti, 4, "movnti %eax," B) \
    A(movntq, 8, "movntq %mm0," B) A(maskmov, 8, "maskmovdqu %xmm1,%xmm0") A(mmx, 8, "paddb " B ",%mm0; emms") A(cvtps2pd, 8, "cvtps2pd " B ",%xmm0") \
    A(pinsrw, 2, "pinsrw $0," B ",%xmm0") A(movlps, 8, "movlps %xmm0," B) A(movseg, 2, "mov %ds," B) A(lar, 2, "lar " B ",%eax") A(imul, 4, "imul " B ",%eax") \
    A(set, 1, "setz " B) A(clflush, 1, "clflush " B) A(lea, 1, "lea " B "," R(ax)) A(xlat, 1, "xlat") A(sgdt, 4, "sgdt " B) A(cmov, 4, "cmovz " B ",%eax")
#ifdef __x86_64__
#define KINDS64 A(q, 8, "mov " B ",%rax") A(sq, 8, "mov %rax," B) A(movsq, 8, "movsq") A(bt8, 8, "bts %rcx," B) A(cvt8, 8, "cvtsi2sdq " B ",%xmm0") A(xadd8, 8, "lock xadd %rax," B)
#else
#define KINDS64 A(pusha, 4, SP "pusha") A(popa, 4, SP "popa") A(lfs, 4, "lfs " B ",%eax")
#endif
KINDS KINDS64
#undef A
#define A(name, want, text) { a_##name, want, #name },
static const struct { u8 *code; unsigned want; const char *name; } kinds[] = { KINDS KINDS64 };

static struct regs context(void *ip, u8 *at, ul fl)
{
    struct regs r = { .ip = (ul)ip, .cs = CS3, .ds = 0x23, .es = 0x23, .ss = 0x23, .fl = 2 | fl, .sp = (ul)user_stack_top - 256 };
    r.fs = r.gs = 0x23;
    r.bx = r.si = r.di = (ul)at;
    r.cx = 1;
    return r;
}

static void sweep(ul fl, int on)
{
    for (unsigned k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
        for (unsigned off = 0; off < 17; off++) {
            u8 *at = mem + 4096 - 16 + off;
            memset(mem, 0, sizeof(mem));
            *(u16 *)at = 0x37f;
            __asm__ volatile("fninit; pcmpeqb %%xmm1, %%xmm1" : : : "memory");
            struct regs r = context(kinds[k].code, at, fl);
            enter(&r);
            unsigned want = on && (off & (kinds[k].want - 1)) ? 17 : 0x80;
            if (last.vec != want) { put("# "); put(kinds[k].name); put(" "); put_dec(off); put("\n"); }
            EQ(last.vec, want);
            if (want == 17) EQ(last.err, 0);
        }
}

static void every_kind(void) { sweep(AC, 1); }
static void off(void)
{
    sweep(0, 0);
    WRITE_CR(0, READ_CR(0) & ~AC);
    sweep(AC, 0);
    struct regs r = context(a_l, mem + 1, AC);
    WRITE_CR(0, READ_CR(0) | AC);
    r.cs = 8; r.ss = r.ds = r.es = 0x10; r.sp = (ul)stack_top - 8192;
    enter(&r); EXPECT_END();
}

/* Its own rules first: #GP of aligned SSE operands, whatever AC says; FXSAVE has both. */
CODE(movaps_, "movaps (" R(bx) "),%xmm0\n" CODE_END)
CODE(fxsave_, "fxsave (" R(bx) ")\n" CODE_END)
CODE(ret_, "mov " R(bx) ",%" SPREG "\nret_at: ret\n") LABEL(ret_at);
CODE(popf_, "push " R(ax) "; popf; mov 1(" R(bx) "),%edx\n" CODE_END)
static void others(void)
{
    struct regs r = context(movaps_, mem + 4, AC);
    enter(&r); EXPECT(13, 0, movaps_);
    r = context(fxsave_, mem + 4, AC); enter(&r); EXPECT(13, 0, fxsave_);
    r = context(fxsave_, mem + 2, AC); enter(&r); EXPECT(17, 0, fxsave_);
    r = context(ret_, mem + 1, AC); enter(&r); EXPECT(17, 0, ret_at);
    r = context(popf_, mem, 0); r.ax = AC | 2; enter(&r); EXPECT(17, 0, popf_ + 2);
    r = context(popf_, mem, AC); r.ax = 2; enter(&r); EXPECT_END();
#ifdef __x86_64__
    CODE(cx16, "cmpxchg16b (%rbx)\n" CODE_END)
    CODE(ld8, "mov (%rbx),%rax\n" CODE_END)
    r = context(cx16, mem + 8, AC); enter(&r); EXPECT(13, 0, cx16);
    r = context(ld8, (u8 *)0x800000000001, AC); enter(&r); EXPECT(13, 0, ld8);
    extern u64 pml4[512];
    r = context(ld8, (u8 *)0x8000000001, AC); u64 old = pml4[1]; pml4[1] = 0;
    enter(&r); EXPECT(17, 0, ld8);
    r.bx = 0x8000000000; enter(&r); EXPECT(14, 4, ld8);
    pml4[1] = old;
#endif
}

void main(void);
void main(void)
{
    WRITE_CR(0, (READ_CR(0) & ~0xcul) | AC);
    WRITE_CR(4, READ_CR(4) | 0x600);
    RUN(every_kind);
    RUN(off);
    RUN(others);
    finish();
}
