/*
 * Breakpoints and single step, for debug32.c and debug64.c: every length, offset and kind of access against an overlap computed here, code breakpoints
 * in hot loops, string instructions between elements, frames of exceptions, shadows of SS, RF, GD, BTF, INT1. SDM vol. 3 ch. 17.
 */
#include "kit.h"

#define TF 0x100
#define RF 0x10000
#ifdef __x86_64__
#define R(x) "%r" #x
#else
#define R(x) "%e" #x
#endif

u8 mem[3 * 4096] __attribute__((aligned(4096)));
static u8 *const page = mem + 4096;

static struct regs context(void *ip, ul fl)
{
    struct regs r = { .ip = (ul)ip, .cs = 8, .ds = 0x10, .es = 0x10, .ss = 0x10, .fl = 2 | fl, .sp = (ul)stack_top - 8192 };
    r.fs = r.gs = 0x10;
    return r;
}
static struct regs context3(void *ip, ul fl)
{
    struct regs r = context(ip, fl);
#ifdef __x86_64__
    r.cs = 0x2b;
#else
    r.cs = 0x1b;
    r.fs = r.gs = 0x23;
#endif
    r.ds = r.es = r.ss = 0x23;
    r.sp = (ul)user_stack_top - 256;
    return r;
}
static void run(void *ip, ul fl) { struct regs r = context(ip, fl); WRITE_DR(6, 0); enter(&r); }
static void again(void) { struct regs r = last; enter(&r); }

static void set_dr(unsigned n, ul v)
{
    switch (n) {
    case 0: WRITE_DR(0, v); break;
    case 1: WRITE_DR(1, v); break;
    case 2: WRITE_DR(2, v); break;
    default: WRITE_DR(3, v);
    }
}
enum { X = 0, W = 1, IO = 2, RW = 3 };
static ul dr7(unsigned n, unsigned kind, unsigned len)
{
    static const u8 code[9] = { 0, 0, 1, 0, 3, 0, 0, 0, 2 };
    return (ul)(kind | code[len] << 2) << (16 + 4 * n) | 2u << 2 * n;
}
static void arm(unsigned n, const void *at, unsigned kind, unsigned len) { set_dr(n, (ul)at); WRITE_DR(6, 0); WRITE_DR(7, dr7(n, kind, len)); }
static void disarm(void) { WRITE_DR(7, 0x400); WRITE_DR(6, 0); }
#define HIT(bits, at) do { EXPECT(1, 0, at); EQ(READ_DR(6) & 0xe00f, bits); } while (0)

/* ---- code ---- */
CODE(line, "nop\nline_a: inc %eax\nline_b: inc %eax\nline_c: nop\n" CODE_END) LABEL(line_a); LABEL(line_b); LABEL(line_c);
CODE(hot, "1: add %eax,%edx\nhot_at: lea 3(" R(ax) ")," R(ax) "\n dec %ecx; jnz 1b\n" CODE_END) LABEL(hot_at);
CODE(bad, "ud2\n")
static void code(void)
{
    for (unsigned n = 0; n < 4; n++) {
        arm(n, line_b, X, 1);
        run(line, 0); HIT(1u << n, line_b); EQ(last.fl & RF, 0); EQ(last.ax, 1);
        last.fl |= RF; again(); EXPECT_END();
        WRITE_DR(7, dr7(n, X, 1) >> 1 & 0x55);                                   /* the local enable bit alone */
        run(line, 0); HIT(1u << n, line_b);
    }
    disarm();
    WRITE_DR(0, line_a); WRITE_DR(3, line_a); WRITE_DR(7, 0x82);
    run(line, 0); HIT(9, line_a);
    disarm();
    struct regs r = context(hot, 0);
    r.cx = 300000; enter(&r); EXPECT_END(); EQ(last.ax, 900000);
    arm(1, hot_at, X, 1);
    r.cx = 300; enter(&r);
    for (unsigned i = 0; i < 3; i++) { HIT(2, hot_at); EQ(last.cx, 300 - i); EQ(last.ax, 3 * i); last.fl |= RF; again(); }
    disarm();
    again(); EXPECT_END(); EQ(last.ax, 900);
    arm(0, bad, X, 1);
    run(bad, 0); HIT(1, bad);
    last.fl |= RF; again(); EXPECT(6, 0, bad); EQ(last.fl & RF, RF);
    arm(2, line_b, X, 1);
    r = context3(line, 0); enter(&r); HIT(4, line_b);
    disarm();
}

/* ---- data: one access of each size and kind ---- */
CODE(ld1, "mov (" R(bx) "),%al\nld1_n: nop\n" CODE_END) LABEL(ld1_n);
CODE(ld2, "mov (" R(bx) "),%ax\nld2_n: nop\n" CODE_END) LABEL(ld2_n);
CODE(ld4, "mov (" R(bx) "),%eax\nld4_n: nop\n" CODE_END) LABEL(ld4_n);
CODE(ld8, "movq (" R(bx) "),%xmm0\nld8_n: nop\n" CODE_END) LABEL(ld8_n);
CODE(ld16, "movups (" R(bx) "),%xmm0\nld16_n: nop\n" CODE_END) LABEL(ld16_n);
CODE(st1, "mov %al,(" R(bx) ")\nst1_n: nop\n" CODE_END) LABEL(st1_n);
CODE(st2, "mov %ax,(" R(bx) ")\nst2_n: nop\n" CODE_END) LABEL(st2_n);
CODE(st4, "mov %eax,(" R(bx) ")\nst4_n: nop\n" CODE_END) LABEL(st4_n);
CODE(st8, "movq %xmm0,(" R(bx) ")\nst8_n: nop\n" CODE_END) LABEL(st8_n);
CODE(st16, "movups %xmm0,(" R(bx) ")\nst16_n: nop\n" CODE_END) LABEL(st16_n);
CODE(rmw, "lock xadd %eax,(" R(bx) ")\nrmw_n: nop\n" CODE_END) LABEL(rmw_n);
CODE(cmpx, "cmpxchg %ecx,(" R(bx) ")\ncmpx_n: nop\n" CODE_END) LABEL(cmpx_n);
CODE(fst, "fstpl (" R(bx) ")\nfst_n: nop\n" CODE_END) LABEL(fst_n);
CODE(fxs, "fxsave (" R(bx) ")\nfxs_n: nop\n" CODE_END) LABEL(fxs_n);
CODE(env_, "fnstenv (" R(bx) ")\nenv_n: nop\n" CODE_END) LABEL(env_n);
CODE(pushm, "push (" R(bx) ")\npushm_n: nop\n" CODE_END) LABEL(pushm_n);
CODE(bts_, "btsl %ecx,(" R(bx) ")\nbts_n: nop\n" CODE_END) LABEL(bts_n);
CODE(sgdt_, "sgdt (" R(bx) ")\nsgdt_n: nop\n" CODE_END) LABEL(sgdt_n);
CODE(movnt, "movntps %xmm0,(" R(bx) ")\nmovnt_n: nop\n" CODE_END) LABEL(movnt_n);
static const struct access { u8 *code, *next; u8 size, read, write, align; } accesses[] = {
    { ld1, ld1_n, 1, 1, 0, 1 }, { ld2, ld2_n, 2, 1, 0, 1 }, { ld4, ld4_n, 4, 1, 0, 1 }, { ld8, ld8_n, 8, 1, 0, 1 }, { ld16, ld16_n, 16, 1, 0, 1 },
    { st1, st1_n, 1, 0, 1, 1 }, { st2, st2_n, 2, 0, 1, 1 }, { st4, st4_n, 4, 0, 1, 1 }, { st8, st8_n, 8, 0, 1, 1 }, { st16, st16_n, 16, 0, 1, 1 },
    { rmw, rmw_n, 4, 1, 1, 1 }, { cmpx, cmpx_n, 4, 1, 1, 1 }, { fst, fst_n, 8, 0, 1, 1 }, { env_, env_n, 28, 0, 1, 1 }, { fxs, fxs_n, 160, 0, 1, 16 },
    { pushm, pushm_n, sizeof(ul), 1, 0, 1 }, { bts_, bts_n, 4, 1, 1, 1 }, { sgdt_, sgdt_n, 2 + sizeof(ul), 0, 1, 1 }, { movnt, movnt_n, 16, 0, 1, 16 },
};

static void one_access(const struct access *a, u8 *at, u8 *dr, unsigned len, unsigned kind)
{
    u8 *lo = (u8 *)((ul)dr & ~(ul)(len - 1));
    int hit = at < lo + len && lo < at + a->size && (a->write || (kind == RW && a->read));
    unsigned n = (unsigned)((ul)at & 3);
    __asm__ volatile("fninit; fldz");
    arm(n, dr, kind, len);
    struct regs r = context(a->code, 0);
    r.bx = (ul)at; r.dx = (ul)at;
    enter(&r);
    if (hit) HIT(1u << n, a->next); else EXPECT_END();
}

static void data(void)
{
    for (unsigned i = 0; i < sizeof(accesses) / sizeof(*accesses); i++)
        for (unsigned len = 1; len <= sizeof(ul); len *= 2)
            for (int off = -17; off <= 17; off += accesses[i].align > 1 ? 1 : 3)
                for (unsigned kind = W; kind <= RW; kind += 2)
                    one_access(&accesses[i], accesses[i].align > 1 ? page : page + off, accesses[i].align > 1 ? page + off : page, len, kind);
    disarm();
}

/* ---- a loop that has run hot: the very turn ---- */
CODE(fill, "1: mov %eax,(" R(di) ")\nfill_n: add $4," R(di) "; dec %ecx; jnz 1b\n" CODE_END) LABEL(fill_n);
static void hot_data(void)
{
    struct regs r = context(fill, 0);
    for (unsigned i = 0; i < 300; i++) { r.di = (ul)mem; r.cx = sizeof(mem) / 4; enter(&r); }
    EXPECT_END();
    arm(2, page + 16, W, 4);
    r.di = (ul)mem; r.cx = sizeof(mem) / 4;
    enter(&r); HIT(4, fill_n); EQ(last.di, (ul)page + 16); EQ(last.cx, sizeof(mem) / 4 - 1024 - 4);
    again(); EXPECT_END();
    disarm();
}

/* ---- string instructions: after the element, with RF in the frame so that a breakpoint on the instruction is not met anew ---- */
CODE(rstos, "rep stosb\nrstos_n: nop\n" CODE_END) LABEL(rstos_n);
CODE(rmovs, "rep movsl\nrmovs_n: nop\n" CODE_END) LABEL(rmovs_n);
CODE(rlods, "rep lodsb\nrlods_n: nop\n" CODE_END) LABEL(rlods_n);
CODE(rscas, "repne scasb\nrscas_n: nop\n" CODE_END) LABEL(rscas_n);
CODE(rcmps, "repe cmpsb\nrcmps_n: nop\n" CODE_END) LABEL(rcmps_n);
static void strings(void)
{
    static const struct { u8 *code, *next; unsigned size, kind; } s[] = { { rstos, rstos_n, 1, W }, { rmovs, rmovs_n, 4, W }, { rlods, rlods_n, 1, RW },
        { rscas, rscas_n, 1, RW }, { rcmps, rcmps_n, 1, RW } };
    memset(mem, 0, sizeof(mem));
    for (unsigned i = 0; i < sizeof(s) / sizeof(*s); i++) {
        struct regs r = context(s[i].code, 0);
        r.di = (ul)page - 64; r.si = s[i].code == rlods ? (ul)page - 64 : (ul)mem; r.cx = 64; r.ax = 1;
        arm(0, page - 40, s[i].kind, 1);
        enter(&r); HIT(1, s[i].code); EQ(last.fl & RF, RF); EQ(last.cx, 64 - (24 / s[i].size + 1));
        WRITE_DR(1, s[i].code); WRITE_DR(7, READ_DR(7) | 8);                     /* a breakpoint on the instruction too: RF passes it */
        again(); EXPECT_END(); EQ(last.cx, 0);
        r.cx = 5; enter(&r); HIT(2, s[i].code); EQ(last.cx, 5); EQ(last.fl & RF, 0);
        last.fl |= RF; again(); EXPECT_END();
        arm(3, page - 64 + 63 * s[i].size, s[i].kind, 1);
        r.cx = 64; enter(&r); HIT(8, s[i].next); EQ(last.fl & RF, 0); EQ(last.cx, 0);      /* the last element: the instruction is done */
        disarm();
        memset(mem, 0, sizeof(mem));
    }
}

/* ---- the stack: pushes, calls, frames ---- */
#define ARMED(name, text) CODE(name, "mov " R(ax) ",%dr7\n" text)
ARMED(push_, "push " R(ax) "\npush_n: nop\n" CODE_END) LABEL(push_n);
ARMED(call_, "call call_to\ncall_n: nop\n" CODE_END "call_to: ret\n") LABEL(call_to);
ARMED(enter_, "enter $16,$0\nenter_n: nop\n" CODE_END) LABEL(enter_n);
ARMED(int_armed, "int $0x81\n")
ARMED(bad_armed, "ud2\n")
CODE(int_, "int $0x81\nint_n: nop\n" CODE_END) LABEL(int_n);
CODE(ss_nop, "mov (" R(bx) "),%ss\nnop\nss_nop_n: nop\n" CODE_END) LABEL(ss_nop_n);
CODE(ss_int, "mov (" R(bx) "),%ss\nint $0x81\n")
static u8 *entry(unsigned vec)
{
#ifdef __x86_64__
    return (u8 *)((ul)idt[vec].lo | (ul)idt[vec].mid << 16 | (ul)idt[vec].hi << 32);
#else
    return (u8 *)((ul)idt[vec].lo | (ul)idt[vec].mid << 16);
#endif
}

/* The code arms the breakpoint: what starts it uses that stack, too. */
static void run_armed(void *ip, unsigned kind, unsigned len)
{
    struct regs r = context(ip, 0);
    disarm();
    set_dr(0, r.sp - (len == 1 ? 1 : sizeof(ul)));
    r.ax = dr7(0, kind, len);
    enter(&r);
}

static void stack(void)
{
    run_armed(push_, W, 1); HIT(1, push_n);
    run_armed(call_, W, 1); HIT(1, call_to);
    run_armed(enter_, W, 1); HIT(1, enter_n);
    run_armed(int_armed, W, 1); HIT(1, entry(0x81));                              /* the frame: a trap before the handler */
    run_armed(bad_armed, W, 1); HIT(1, entry(6));
#ifdef __x86_64__                                                               /* in 32-bit code the handler itself reads there */
    run_armed(call_, RW, 4); HIT(1, call_to);
    last.fl |= RF; again(); HIT(1, entry(1));                                     /* the trap of RET pushes over it */
#endif
    disarm();
    *(u16 *)page = 0x10;
    arm(3, page, RW, 2);
    struct regs r = context(ss_nop, 0);
    r.bx = (ul)page; enter(&r); HIT(8, ss_nop_n);                                /* held off for one instruction */
    r.ip = (ul)ss_int; enter(&r); HIT(8, entry(0x81)); EQ(last.cs, 8);
    disarm();
}

/* ---- single step over every kind ---- */
#define STEP(name, text) CODE(name, text "\n" #name "_n: nop; nop\n" CODE_END) LABEL(name##_n)
STEP(s_nop, "nop"); STEP(s_mem, "mov mem,%eax"); STEP(s_cpuid, "cpuid"); STEP(s_out, "out %al,$0x80"); STEP(s_cr3, "mov %cr3," R(ax)); STEP(s_sti, "sti");
STEP(s_cli, "cli"); STEP(s_into0, "nop"); STEP(s_fninit, "fninit"); STEP(s_sse, "movups mem,%xmm1"); STEP(s_pushf, "push " R(ax)); STEP(s_stos, "stosb");
STEP(s_hlt, "hlt"); STEP(s_dr, "mov %dr6," R(ax)); STEP(s_lgdt, "sgdt mem"); STEP(s_rep0, "rep stosb"); STEP(s_wb, "wbinvd"); STEP(s_msr, "rdmsr");
STEP(s_loop, "jecxz 1f; 1:"); STEP(s_rd, "rdtsc"); STEP(s_pause, "pause"); STEP(s_cmov, "cmovz %eax,%ecx"); STEP(s_div, "div %ebx");
CODE(s_jmp, "jmp s_jmp_n; nop; nop\ns_jmp_n: nop\n" CODE_END) LABEL(s_jmp_n);
CODE(s_jcc, "jz s_jcc_n; nop\ns_jcc_n: nop\n" CODE_END) LABEL(s_jcc_n);
CODE(s_ind, "jmp *" R(bp) "; nop\ns_ind_n: nop\n" CODE_END) LABEL(s_ind_n);
CODE(s_ss, "mov %edx,%ss; nop\ns_ss_n: nop\n" CODE_END) LABEL(s_ss_n);
CODE(s_lss, "lss mem+64,%esp\ns_lss_n: nop\n" CODE_END) LABEL(s_lss_n);
CODE(s_popf, "push $0x202; popf\ns_popf_n: nop; nop\n" CODE_END) LABEL(s_popf_n);
CODE(s_popf_in, "push $0x102; popf\ns_popf_in_1: nop\ns_popf_in_n: nop\n" CODE_END) LABEL(s_popf_in_n); LABEL(s_popf_in_1);
CODE(s_rep, "rep stosb\ns_rep_n: nop\n" CODE_END) LABEL(s_rep_n);
CODE(s_bp, "int3\ns_bp_n: nop\n" CODE_END) LABEL(s_bp_n);
CODE(s_icebp, ".byte 0xf1\ns_icebp_n: nop\n" CODE_END) LABEL(s_icebp_n);
static const struct { u8 *from, *to; } steps[] = { { s_nop, s_nop_n }, { s_mem, s_mem_n }, { s_cpuid, s_cpuid_n }, { s_out, s_out_n }, { s_cr3, s_cr3_n },
    { s_sti, s_sti_n }, { s_cli, s_cli_n }, { s_into0, s_into0_n }, { s_fninit, s_fninit_n }, { s_sse, s_sse_n }, { s_pushf, s_pushf_n }, { s_stos, s_stos_n },
    { s_hlt, s_hlt_n }, { s_dr, s_dr_n }, { s_lgdt, s_lgdt_n }, { s_rep0, s_rep0_n }, { s_wb, s_wb_n }, { s_msr, s_msr_n }, { s_loop, s_loop_n },
    { s_rd, s_rd_n }, { s_pause, s_pause_n }, { s_cmov, s_cmov_n }, { s_div, s_div_n }, { s_jmp, s_jmp_n }, { s_jcc, s_jcc_n }, { s_ind, s_ind_n },
    { s_ss, s_ss_n }, { s_lss, s_lss_n } };

static struct regs stepping(void *ip)
{
    struct regs r = context(ip, TF | 0x40);
    r.di = (ul)page; r.cx = 0; r.dx = 0; r.bx = 1; r.bp = (ul)s_ind_n; r.ax = 1;
    WRITE_DR(6, 0);
    if (ip == s_ss) r.dx = 0x10;
    if (ip == s_msr) r.cx = 0x10;
    return r;
}

static void single_step(void)
{
    struct regs r;
    *(u32 *)(mem + 64) = (u32)context(0, 0).sp; *(u16 *)(mem + 68) = 0x10;
    for (unsigned i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        r = stepping(steps[i].from); enter(&r);
        HIT(0x4000, steps[i].to); EQ(last.fl & (RF | TF), TF);
        if (test_failed) { put("# "); put_dec(i); put("\n"); break; }
    }
    r = stepping(s_popf); enter(&r); HIT(0x4000, s_popf + 5);
    again(); HIT(0x4000, s_popf_n); EQ(last.fl & TF, 0);                          /* POPF takes TF away: the trap comes all the same */
    run(s_popf_in, 0); HIT(0x4000, s_popf_in_n);                                  /* and sets it: from the next instruction on */
    (void)s_popf_in_1;
    r = stepping(s_rep); r.cx = 3; enter(&r); HIT(0x4000, s_rep); EQ(last.cx, 2); EQ(last.fl & RF, RF);
    again(); EXPECT(1, 0, s_rep); again(); HIT(0x4000, s_rep_n); EQ(last.fl & RF, 0);
    r = stepping(int_); enter(&r); EXPECT(0x81, 0, int_n); EQ(READ_DR(6) & 0x4000, 0); EQ(last.fl & TF, TF);
    r = stepping(s_bp); enter(&r); EXPECT(3, 0, s_bp_n);
    r = stepping(bad); enter(&r); EXPECT(6, 0, bad); EQ(READ_DR(6) & 0x4000, 0);
    run(s_icebp, 0); EXPECT(1, 0, s_icebp_n); EQ(READ_DR(6) & 0xe00f, 0); EQ(last.fl & RF, 0);
    r = context3(s_icebp, 0); enter(&r); EXPECT(1, 0, s_icebp_n);                 /* its gate asks for no privilege */
    arm(1, page, W, 1);
    r = stepping(s_stos); enter(&r); HIT(0x4002, s_stos_n);                       /* both in one */
    disarm();
}

/* ---- DR6, DR7, GD, BTF ---- */
CODE(gd, "mov %dr3," R(ax) "\ngd_n:" CODE_END)
CODE(gd_w, "mov " R(ax) ",%dr7\n" CODE_END)
CODE(dr4_, "mov %dr4," R(ax) "\n" CODE_END)
CODE(dr5_, "mov %dr5," R(ax) "\n" CODE_END)
CODE(btf, "nop; nop; jnz 1f; nop; cmp %eax,%eax; jz btf_to; nop\n1: nop\nbtf_to: nop\nbtf_n: nop\n" CODE_END) LABEL(btf_to); LABEL(btf_n);
static void registers(void)
{
    WRITE_DR(6, ~0u); EQ(READ_DR(6), 0xffffefff);
    WRITE_DR(7, 0x0000d000); EQ(READ_DR(7), 0x400);
    WRITE_DR(7, 0x400 | 0x2000);
    { struct regs r = context(gd, 0); enter(&r); }
    EXPECT(1, 0, gd); EQ(last.fl & RF, RF); EQ(READ_DR(7) & 0x2000, 0); EQ(READ_DR(6) & 0x2000, 0x2000);
    WRITE_DR(6, 0); WRITE_DR(7, 0x2400);
    { struct regs r = context3(gd_w, 0); enter(&r); EXPECT(13, 0, gd_w); }
    { struct regs r = context(gd_w, 0); r.ax = 0x400; enter(&r); EXPECT(1, 0, gd_w); }
    WRITE_DR(6, 0); WRITE_DR(7, 0x400);
    WRITE_DR(6, 1); run(dr4_, 0); EXPECT_END(); EQ(last.ax, 0xffff0ff0);
    run(dr5_, 0); EXPECT_END(); EQ(last.ax, 0x400);
    WRITE_CR(4, READ_CR(4) | 8);
    run(dr4_, 0); EXPECT(6, 0, dr4_);
    run(dr5_, 0); EXPECT(6, 0, dr5_);
    WRITE_CR(4, READ_CR(4) & ~8ul);
    wrmsr(0x1d9, 2);
    EQ(rdmsr(0x1d9), 2);
    struct regs r = stepping(btf);
    enter(&r); HIT(0x4000, btf_to); EQ(rdmsr(0x1d9), 0);                          /* the branch not taken is none */
    again(); HIT(0x4000, btf_n);
    disarm();
}

void main(void);
void main(void)
{
    WRITE_CR(0, READ_CR(0) & ~0xcul);
    WRITE_CR(4, READ_CR(4) | 0x600);
    RUN(code);
    RUN(data);
    RUN(hot_data);
    RUN(strings);
    RUN(stack);
    RUN(single_step);
    RUN(registers);
    finish();
}
