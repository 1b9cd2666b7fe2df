/*
 * 64-bit mode: exceptions and error codes, IST, SYSCALL and SYSRET, SYSENTER, compatibility mode, non-canonical addresses, IRET, call gates,
 * debug traps, lazy FPU, #MF and #XM, CMPXCHG16B, time. SDM vol. 3 ch. 5.8, 6.14; vol. 2 by name.
 */
#include "kit.h"

static struct regs base0(void *ip)
{
    struct regs r = { .ip = (u64)ip, .cs = 8, .ds = 0x10, .es = 0x10, .ss = 0x10, .fl = 2 };
    r.sp = (u64)stack_top - 8192;
    return r;
}

static struct regs base3(void *ip)
{
    struct regs r = { .ip = (u64)ip, .cs = 0x2b, .ds = 0x23, .es = 0x23, .ss = 0x23, .fl = 2 };
    r.sp = (u64)user_stack_top - 256;
    return r;
}

static void go0(void *ip) { struct regs r = base0(ip); enter(&r); }
static void go3(void *ip) { struct regs r = base3(ip); enter(&r); }
static void gate(unsigned vec, unsigned sel, u64 off, unsigned attr)
{
    idt[vec] = (struct idt_entry){ (u16)off, (u16)sel, (u16)attr, (u16)(off >> 16), (u32)(off >> 32), 0 };
}

CODE(end_piece, CODE_END)
CODE(de, "xor %edx,%edx; xor %ecx,%ecx; mov $5,%eax\nde_at: div %rcx\n" CODE_END) LABEL(de_at);
CODE(ud, "ud2\n" CODE_END)
CODE(bp, "nop; int3\nbp_next:" CODE_END) LABEL(bp_next);
CODE(int40, "int $0x40\n" CODE_END)
CODE(cli_, "cli\n" CODE_END)
CODE(rdmsr_bad, "mov $0x12345678,%ecx\nrdmsr_at: rdmsr\n" CODE_END) LABEL(rdmsr_at);
CODE(old_op, ".byte 0x06\n" CODE_END)
CODE(cr8, "mov $5,%eax; mov %rax,%cr8; mov %cr8,%rbx; xor %eax,%eax; mov %rax,%cr8\n" CODE_END)

static void exceptions(void)
{
    go0(de); EXPECT(0, 0, de_at); EQ(last.fl & 0x10000, 0x10000); EQ(last.sp, (u64)stack_top - 8192); EQ(last.ss, 0x10);
    go3(de); EXPECT(0, 0, de_at); EQ(last.cs, 0x2b); EQ(last.ss, 0x23); EQ(last.sp, (u64)user_stack_top - 256);
    go3(ud); EXPECT(6, 0, ud);
    go0(old_op); EXPECT(6, 0, old_op);
    go3(bp); EXPECT(3, 0, bp_next);
    go3(int40); EXPECT(13, 0x40 * 8 + 2, int40);
    go0(int40); EXPECT(0x40, 0, int40 + 2);
    go3(cli_); EXPECT(13, 0, cli_);
    go0(rdmsr_bad); EXPECT(13, 0, rdmsr_at);
    go0(cr8); EXPECT_END(); EQ(last.bx, 5);
}

CODE(ist_unaligned, "mov $0x300008,%rsp\nist_at: ud2\n") LABEL(ist_at);
static void ist(void)
{
    struct regs r = base0(ud);
    *(u64 *)(tss + 36) = 0x310000;
    idt[6].attr = 0x8e01;
    enter(&r); EXPECT(6, 0, ud); EQ(*(u64 *)(0x310000 - 8), 0x10); EQ(*(u64 *)(0x310000 - 16), r.sp); EQ(*(u64 *)(0x310000 - 40), (u64)ud);
    go3(ud); EXPECT(6, 0, ud); EQ(*(u64 *)(0x310000 - 8), 0x23);
    idt[6].attr = 0x8e00;
    go0(ist_unaligned); EXPECT(6, 0, ist_at); EQ(last.sp, 0x300008); EQ(*(u64 *)0x2ffff8, 0x10);
    *(u64 *)(tss + 36) = 0x8000000000000000ull;            /* not canonical: #SS(0) with EXT */
    idt[6].attr = 0x8e01;
    go3(ud); EQ(last.vec, 12); EQ(last.err, 1);
    idt[6].attr = 0x8e00;
}

CODE(bad_rd, "movabs $0x800000000000,%rbx\nbad_rd_at: mov (%rbx),%rax\n" CODE_END) LABEL(bad_rd_at);
CODE(bad_wr, "movabs $0x7ffffffffffd,%rbx\nbad_wr_at: mov %rax,(%rbx)\n" CODE_END) LABEL(bad_wr_at);
CODE(bad_bp, "movabs $0x800000000000,%rbp\nbad_bp_at: mov (%rbp),%rax\n" CODE_END) LABEL(bad_bp_at);
CODE(bad_push, "movabs $0x800000000008,%rsp\nbad_push_at: push %rax\n" CODE_END) LABEL(bad_push_at);
CODE(bad_pop, "movabs $0xffff7ffffffffff8,%rsp\nbad_pop_at: pop %rax\n" CODE_END) LABEL(bad_pop_at);
CODE(bad_jmp, "movabs $0x800000000000,%rbx\nbad_jmp_at: jmp *%rbx\n" CODE_END) LABEL(bad_jmp_at);
CODE(bad_sse, "movabs $0x800000000000,%rbx\nbad_sse_at: movups (%rbx),%xmm0\n" CODE_END) LABEL(bad_sse_at);
CODE(bad_lgdt, "movw $7,0x300000; movabs $0x100000000000000,%rbx; mov %rbx,0x300002\nbad_lgdt_at: lgdt 0x300000\n" CODE_END) LABEL(bad_lgdt_at);
static void canonical(void)
{
    go3(bad_rd); EXPECT(13, 0, bad_rd_at);
    go0(bad_rd); EXPECT(13, 0, bad_rd_at);
    go3(bad_wr); EQ(last.vec == 14 || last.vec == 13, 1); EQ(last.ip, (u64)bad_wr_at);
    go3(bad_bp); EXPECT(12, 0, bad_bp_at);
    go3(bad_push); EXPECT(12, 0, bad_push_at);
    go3(bad_pop); EXPECT(12, 0, bad_pop_at);
    go3(bad_jmp); EQ(last.vec, 13); EQ(last.err, 0);
    go3(bad_sse); EXPECT(13, 0, bad_sse_at);
    go0(bad_lgdt); EXPECT(13, 0, bad_lgdt_at);
}

/* Branches to what is not canonical: the fault is the branch's, with rip and rsp as before it. */
CODE(far_away_jmp_m, "movabs $0x800000000000,%rbx; mov %rbx,0x300000\nfar_away_jmp_m_at: jmp *0x300000\n" CODE_END) LABEL(far_away_jmp_m_at);
CODE(far_away_call, "movabs $0xffff7fffffffffff,%rbx; mov %rsp,%rbp; mov %rsp,-8(%rsp)\nfar_away_call_at: call *%rbx\n" CODE_END) LABEL(far_away_call_at);
CODE(far_away_ret, "movabs $0x800000000000,%rbx; mov %rsp,%rbp; push %rbx; stc\nfar_away_ret_at: ret\n" CODE_END) LABEL(far_away_ret_at);
CODE(far_away_retn, "movabs $0x1000000000000,%rbx; mov %rsp,%rbp; push %rbx\nfar_away_retn_at: ret $32\n" CODE_END) LABEL(far_away_retn_at);
CODE(far_away_lret, "movabs $0x800000000000,%rbx; mov %rsp,%rbp; mov %cs,%eax; push %rax; push %rbx\nfar_away_lret_at: lretq\n" CODE_END)
LABEL(far_away_lret_at);
CODE(far_away_iret, "movabs $0x800000000000,%rbx; mov %rsp,%rbp; mov %ss,%eax; push %rax; push %rbp; pushf; mov %cs,%eax; push %rax; push %rbx\n"
     "far_away_iret_at: iretq\n" CODE_END) LABEL(far_away_iret_at);
CODE(far_away_ljmp, "movabs $0x800000000000,%rbx; mov %rbx,0x300000; mov %cs,%eax; mov %ax,0x300008\nfar_away_ljmp_at: rex.w ljmp *0x300000\n" CODE_END)
LABEL(far_away_ljmp_at);
CODE(far_away_lcall, "movabs $0x800000000000,%rbx; mov %rbx,0x300000; mov %cs,%eax; mov %ax,0x300008\nfar_away_lcall_at: rex.w lcall *0x300000\n" CODE_END)
LABEL(far_away_lcall_at);

/* Relative branches over the end of the lower half. */
extern u64 pml4[512], pdpt[512];
static u64 top_pd[512] __attribute__((aligned(4096)));
#define TOP 0x7fffffffffc0ul
static void go_top(const char *code, unsigned len)
{
    memcpy((void *)0x9fffc0, code, len);
    struct regs r = base0((void *)TOP);
    enter(&r); EXPECT(13, 0, TOP + len - 8); EQ(last.sp, r.sp);
}

static void branches(void)
{
    for (int ring = 0; ring < 4; ring += 3) {
        void (*go)(void *) = ring ? go3 : go0;
        u64 sp = ring ? (u64)user_stack_top - 256 : (u64)stack_top - 8192;
        go(bad_jmp); EXPECT(13, 0, bad_jmp_at); EQ(last.sp, sp);
        go(far_away_jmp_m); EXPECT(13, 0, far_away_jmp_m_at); EQ(last.sp, sp);
        go(far_away_call); EXPECT(13, 0, far_away_call_at); EQ(last.sp, sp); EQ(*(u64 *)(sp - 8) == sp || !ring, 1);
        go(far_away_ret); EXPECT(13, 0, far_away_ret_at); EQ(last.sp, sp - 8); EQ(last.fl & 1, 1);
        go(far_away_retn); EXPECT(13, 0, far_away_retn_at); EQ(last.sp, sp - 8);
        go(far_away_lret); EXPECT(13, 0, far_away_lret_at); EQ(last.sp, sp - 16);
        go(far_away_iret); EXPECT(13, 0, far_away_iret_at); EQ(last.sp, sp - 40);
        go(far_away_ljmp); EXPECT(13, 0, far_away_ljmp_at); EQ(last.sp, sp);
        go(far_away_lcall); EXPECT(13, 0, far_away_lcall_at); EQ(last.sp, sp);
    }
    pml4[255] = pml4[0];
    pdpt[511] = (u64)top_pd | 7;
    top_pd[511] = 0x8000e7;
    go_top("\x90\xe9\x00\x01\0\0\x90\x90\x90", 9);
    go_top("\x90\xe8\x00\x01\0\0\x90\x90\x90", 9);
    go_top("\xf9\x0f\x82\x00\x01\0\0\x90\x90", 9);
    go_top("\x90\xeb\x7f\x90\x90\x90\x90\x90\x90", 9);
    pdpt[511] = pml4[255] = 0;
    WRITE_CR(3, READ_CR(3));
}

/* ---- SYSCALL ---- */
CODE(syscall_, "syscall\nsyscall_next: mov %cs,%r8d; mov %ss,%r9d; pushf; pop %r12\n" CODE_END) LABEL(syscall_next);
CODE(syscall_in, "mov %cs,%ebx; mov %ss,%edx; mov %rcx,%rsi; mov %r11,%rdi; pushf; pop %r10; mov %rsp,%rbp; sysretq\n")
CODE(syscall_in32, "mov $compat_end,%ecx; sysretl\n")
CODE(syscall_bad, "movabs $0x800000000000,%rcx\nsysret_at: sysretq\n") LABEL(sysret_at);
__asm__(".pushsection .pieces\n.code32\n.global compat_end\ncompat_end: mov %cs,%eax\n inc %eax\n int $0x80\n.code64\n.popsection");
LABEL(compat_end);
static void syscalls(void)
{
    wrmsr(0xc0000081, (u64)0x1b << 48 | (u64)8 << 32);
    wrmsr(0xc0000082, (u64)syscall_in);
    wrmsr(0xc0000084, 0x200);
    struct regs r = base3(syscall_);
    r.fl = 0x246;
    enter(&r); EXPECT_END();
    EQ(last.bx, 8); EQ(last.dx, 0x10); EQ(last.si, (u64)syscall_next); EQ(last.di, 0x246); EQ(last.r10 & 0x246, 0x046); EQ(last.bp, r.sp);
    EQ(last.r8, 0x2b); EQ(last.r9, 0x23); EQ(last.r12 & 0x200, 0x200);
    wrmsr(0xc0000082, (u64)syscall_in32);
    go3(syscall_); EXPECT_END(); EQ(last.ax, 0x1c); EQ(last.cs, 0x1b);
    wrmsr(0xc0000082, (u64)syscall_bad);
    go3(syscall_); EQ(last.vec, 13); EQ(last.cs, 8);
    wrmsr(0xc0000080, rdmsr(0xc0000080) & ~1ull);
    go3(syscall_); EXPECT(6, 0, syscall_);
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
    CODE(sysret3, "sysretq\n") go3(sysret3); EXPECT(13, 0, sysret3);
}

CODE(sysenter_, "sysenter\n" CODE_END)
CODE(sysenter_in, "mov %rsp,%rbx; mov %cs,%esi; mov %ss,%edi; lea sysexit_to,%rdx; lea user_stack_top-64,%rcx; rex.w sysexit\n")
CODE(sysexit_to, "mov %cs,%eax; mov %ss,%ebp\n" CODE_END)
static void sysenter(void)
{
    wrmsr(0x174, 8); wrmsr(0x175, 0x123450); wrmsr(0x176, (u64)sysenter_in);
    go3(sysenter_); EXPECT_END(); EQ(last.bx, 0x123450); EQ(last.si, 8); EQ(last.di, 0x10); EQ(last.ax, 0x2b); EQ(last.bp, 0x33);
    EQ(last.sp, (u64)user_stack_top - 64);
}

/* ---- compatibility mode ---- */
/* Operands and code that go on from 4 GiB at 0, with the last pages mapped to A00000h. */
__asm__(".pushsection .pieces\n.code32\n.global compat_wrap, compat_wrap_sse\n"
        "compat_wrap: mov %eax,(%ebx)\n mov (%ebx),%ecx\n addl $0x01010101,(%ebx)\n lock xchg %eax,(%ebx)\n int $0x80\n"
        "compat_wrap_sse: fninit\n movups -6(%ebx),%xmm0\n movups %xmm0,-5(%ebx)\n fildll (%ebx)\n fistpll 0x300000\n int $0x80\n.code64\n.popsection");
LABEL(compat_wrap); LABEL(compat_wrap_sse);
static void compat_wraps(void)
{
    static const u8 code[] = { 0xb8, 0x78, 0x56, 0x34, 0x12, 0xcd, 0x80 };
    u8 *end = (u8 *)0xc00000, *first = (u8 *)0;
    extern u64 pd[4][512];
    u64 old = pd[3][511];
    __asm__("" : "+r"(first));
    pd[3][511] = 0xa000e7;
    WRITE_CR(3, READ_CR(3));
    struct regs r = base3(compat_wrap);
    r.cs = 0x1b; r.bx = 0xfffffffe; r.ax = 0x11223344;
    enter(&r); EXPECT_END(); EQ(last.cx, 0x11223344); EQ(last.ax, 0x12233445); EQ(*(u16 *)(end - 2), 0x3344); EQ(*(u16 *)first, 0x1122);
    for (int i = 0; i < 32; i++)
        (i < 16 ? end - 16 : first - 16)[i] = (u8)(i + 1);
    r.ip = (ul)compat_wrap_sse;
    enter(&r); EXPECT_END(); EQ(*(u64 *)(end - 8), 0x0f0e0d0c0b0a0909); EQ(*(u64 *)first, 0x1716151413121110);
    EQ(*(u64 *)0x300000, 0x1514131211100f0e);
    memcpy(end - 3, code, 3);
    memcpy(first, code + 3, 4);
    r.ip = 0xfffffffd;
    enter(&r); EXPECT(0x80, 0, 4); EQ(last.ax, 0x12345678);
    *first = 0x55;
    enter(&r); EXPECT(0x80, 0, 4); EQ(last.ax, 0x12555678);
    pd[3][511] = old;
    WRITE_CR(3, READ_CR(3));
}

__asm__(".pushsection .pieces\n.code32\n.global compat, compat_seg, compat_seg_at\n"
        "compat: mov $0x12345678,%eax\n push %eax\n pop %ebx\n dec %ecx\n mov %cs,%edx\n int $0x80\n"
        "compat_seg: mov %eax,%fs\ncompat_seg_at: mov %fs:(%ebx),%ecx\n int $0x80\n.code64\n.popsection");
LABEL(compat); LABEL(compat_seg); LABEL(compat_seg_at);
static void compat_mode(void)
{
    struct regs r = base3(compat);
    r.cs = 0x1b; r.cx = 0; r.bx = ~0ull;
    enter(&r); EXPECT_END(); EQ(last.ax, 0x12345678); EQ(last.bx, 0x12345678); EQ(last.cx, 0xffffffff); EQ(last.dx, 0x1b);
    gdt[8] = SEG_DESC(0x300000, 0xfff, 0xf2, 4);
    *(u32 *)0x300010 = 77;
    r = base3(compat_seg); r.cs = 0x1b; r.ax = 0x43; r.bx = 0x10;
    enter(&r); EXPECT_END(); EQ(last.cx, 77);
    r.bx = 0xffd; enter(&r); EXPECT(13, 0, compat_seg_at);
    gdt[8] = SEG_DESC(0x300020, 0xfffff, 0xf2, 0xc);      /* offset plus base wraps at 4 GiB */
    r.bx = 0xfffffff0; enter(&r); EXPECT_END(); EQ(last.cx, 77);
}

/* ---- segments, far transfers, IRET ---- */
CODE(null_ss, "xor %eax,%eax; mov %eax,%ss; push %rax; pop %rbx\n" CODE_END)
CODE(null_ss3, "mov $3,%eax\nnull_ss3_at: mov %eax,%ss\n" CODE_END) LABEL(null_ss3_at);
CODE(ld_fs, "mov %eax,%fs\n" CODE_END)
CODE(swapgs_, "mov %gs:0,%rax; swapgs; mov %gs:0,%rbx; swapgs\n" CODE_END)
CODE(call_gate, "mov $call_gate_ptr,%ebx\ncall_gate_at: lcall *(%rbx)\ncall_gate_back:" CODE_END "call_gate_ptr: .long 0; "
     ".word 0x43") LABEL(call_gate_back); LABEL(call_gate_at);
CODE(gate_in, "mov %cs,%eax; mov %ss,%ecx; mov (%rsp),%rdx; mov 8(%rsp),%rsi; mov 16(%rsp),%rdi; lretq\n")
CODE(iret_raw, "iretq\n" CODE_END)
static void iret_with(u64 ip, u64 cs, u64 fl, u64 sp, u64 ss)
{
    struct regs r = base0(iret_raw);
    u64 *s = (u64 *)(r.sp - 64);
    s[0] = ip; s[1] = cs; s[2] = fl; s[3] = sp; s[4] = ss;
    r.sp = (u64)s;
    enter(&r);
}

static void segments(void)
{
    go0(null_ss); EXPECT_END(); EQ(last.bx, 0); EQ(last.ss, 0);
    go3(null_ss3); EXPECT(13, 0, null_ss3_at);
    struct regs r = base0(ld_fs);
    r.ax = 0x50; gdt[10] = SEG_DESC(0, 0xfffff, 0x12, 0xc); enter(&r); EXPECT(11, 0x50, ld_fs);
    r = base3(ld_fs); r.ax = 0x10; enter(&r); EXPECT(13, 0x10, ld_fs);
    wrmsr(0xc0000101, 0x300000); wrmsr(0xc0000102, 0x300100);
    *(u64 *)0x300000 = 11; *(u64 *)0x300100 = 22;
    go0(swapgs_); EXPECT_END(); EQ(last.ax, 11); EQ(last.bx, 22);
    go3(swapgs_); EXPECT(13, 0, swapgs_ + 9);
    gdt[8] = ((u64)gate_in & 0xffff) | 8 << 16 | 0xecull << 40 | ((u64)gate_in >> 16 & 0xffff) << 48;
    gdt[9] = (u64)gate_in >> 32;
    go3(call_gate); EXPECT_END(); EQ(last.ax, 8); EQ(last.cx, 0); EQ(last.dx, (u64)call_gate_back); EQ(last.si, 0x2b);
    EQ(last.di, (u64)user_stack_top - 256);
    gdt[8] &= ~(0x80ull << 40); go3(call_gate); EXPECT(11, 0x40, call_gate_at);
    gdt[8] |= 0x80ull << 40; gdt[8] &= ~(0x60ull << 40); go3(call_gate); EXPECT(13, 0x40, call_gate_at);
}

static void iret_forms(void)
{
    iret_with((u64)end_piece, 8, 2, (u64)stack_top - 8192, 0); EXPECT_END(); EQ(last.ss, 0);
    iret_with((u64)end_piece, 0x2b, 2, (u64)user_stack_top - 64, 0); EXPECT(13, 0, iret_raw);
    iret_with((u64)end_piece, 0x2b, 2, (u64)user_stack_top - 64, 0x10); EXPECT(13, 0x10, iret_raw);
    iret_with((u64)end_piece, 0x10, 2, (u64)stack_top - 8192, 0x10); EXPECT(13, 0x10, iret_raw);
    iret_with(0x800000000000, 8, 2, (u64)stack_top - 8192, 0x10); EXPECT(13, 0, iret_raw);
    iret_with((u64)end_piece, 8, 0x4002, (u64)stack_top - 8192, 0x10); EXPECT_END(); EQ(last.fl & 0x4000, 0x4000);
    struct regs r = base0(iret_raw); r.fl = 0x4002; enter(&r); EXPECT(13, 0, iret_raw);
    gdt[8] = SEG_DESC(0, 0xfffff, 0x9a, 0xe);              /* L and D: reserved */
    iret_with((u64)end_piece, 0x40, 2, (u64)stack_top - 8192, 0x10); EXPECT(13, 0x40, iret_raw);
}

/* ---- far transfers between 64-bit and compatibility mode ---- */
CODE(far_mem, "rex.w ljmp *far_mem_ptr\n" CODE_END "far_mem_ptr: .quad far_mem_to; .word 0x2b\nfar_mem_to: mov %cs,%eax; int $0x80")
CODE(far_compat, "lcall *far_compat_ptr\n mov %cs,%ebx\n" CODE_END "far_compat_ptr: .long compat_ret; .word 0x1b")
CODE(retf_compat, "push $0x1b; push $compat_end; lretq\n")
CODE(retf_noncanon, "push $8; movabs $0x800000000000,%rax; push %rax\nretf_nc_at: lretq\n") LABEL(retf_nc_at);
__asm__(".pushsection .pieces\n.code32\n.global compat_ret, compat_lret, compat_ud, compat_sysenter\ncompat_ret: mov %cs,%eax\n lret\n"
        "compat_ud: ud2\ncompat_lret: ljmp $0x2b,$end_piece\ncompat_sysenter: sysenter\n.code64\n.popsection");
LABEL(compat_lret); LABEL(compat_ud); LABEL(compat_sysenter);
CODE(sysenter_in32, "mov $0x1b,%eax; lea compat_end,%rdx; lea user_stack_top-64,%rcx; sysexit\n")
static void far64(void)
{
    go3(far_mem); EXPECT_END(); EQ(last.ax, 0x2b);
    go3(far_compat); EXPECT_END(); EQ(last.ax, 0x1b); EQ(last.bx, 0x2b); EQ(last.sp, (u64)user_stack_top - 256);
    go3(retf_compat); EXPECT_END(); EQ(last.ax, 0x1c);
    go0(retf_noncanon); EXPECT(13, 0, retf_nc_at);
    struct regs r = base3(compat_lret); r.cs = 0x1b;
    enter(&r); EXPECT_END(); EQ(last.cs, 0x2b);
    r.ip = (u64)compat_ud; enter(&r); EXPECT(6, 0, compat_ud); EQ(last.cs, 0x1b); EQ(last.ss, 0x23); EQ(last.sp, r.sp);
    wrmsr(0x174, 8); wrmsr(0x175, 0x123450); wrmsr(0x176, (u64)sysenter_in32);
    r.ip = (u64)compat_sysenter; enter(&r); EXPECT_END(); EQ(last.cs, 0x1b); EQ(last.ax, 0x1c); EQ(last.sp, (u64)user_stack_top - 64);
}

/* ---- FPU: lazy switching, unmasked exceptions ---- */
CODE(use_x87, "fld1\n" CODE_END)
CODE(use_sse, "xorps %xmm0,%xmm0\n" CODE_END)
CODE(fwait_, "fwait\n" CODE_END)
CODE(mf, "fninit; movw $0x37b,0x300000; fldcw 0x300000; fld1; fldz\nmf_div: fdivrp %st,%st(1); nop; nop\nmf_at: fwait\n" CODE_END) LABEL(mf_at);
CODE(xm, "movl $0x1d80,0x300000; ldmxcsr 0x300000; pxor %xmm0,%xmm0; movl $1,%eax; "
     "cvtsi2ss %eax,%xmm1\nxm_at: divss %xmm0,%xmm1\n" CODE_END) LABEL(xm_at);
CODE(fix, "movl $0x1f80,0x300000; ldmxcsr 0x300000; fninit\n" CODE_END)
static void fpu(void)
{
    WRITE_CR(0, READ_CR(0) | 8);
    go3(use_x87); EXPECT(7, 0, use_x87);
    go3(use_sse); EXPECT(7, 0, use_sse);
    WRITE_CR(0, READ_CR(0) | 0xa);
    go3(fwait_); EXPECT(7, 0, fwait_);
    WRITE_CR(0, (READ_CR(0) & ~8ul) | 2);
    go3(use_x87); EXPECT_END();
    go3(use_sse); EXPECT_END();
    WRITE_CR(0, READ_CR(0) | 4);
    go3(use_x87); EXPECT(7, 0, use_x87);
    go3(use_sse); EXPECT(6, 0, use_sse);
    WRITE_CR(0, READ_CR(0) & ~4ul);
    go3(mf); EXPECT(16, 0, mf_at);
    go3(fix); EXPECT_END();
    go3(xm); EXPECT(19, 0, xm_at);
    go3(fix); EXPECT_END();
    WRITE_CR(4, READ_CR(4) & ~0x400ul);
    go3(xm); EXPECT(6, 0, xm_at);
    WRITE_CR(4, READ_CR(4) | 0x400ul);
    go3(fix);
    WRITE_CR(4, READ_CR(4) & ~0x200ul);
    go3(use_sse); EXPECT(6, 0, use_sse);
    WRITE_CR(4, READ_CR(4) | 0x200ul);
}

/* ---- atomics, time ---- */
CODE(cx16, "lock cmpxchg16b (%rdi); setz %sil\n" CODE_END)
static void cmpxchg16b(void)
{
    u64 *m = (u64 *)0x300000;
    struct regs r = base3(cx16);
    m[0] = 1; m[1] = 2; r.di = 0x300000; r.ax = 1; r.dx = 2; r.bx = 3; r.cx = 4;
    enter(&r); EXPECT_END(); EQ(m[0], 3); EQ(m[1], 4); EQ(last.si & 0xff, 1);
    enter(&r); EXPECT_END(); EQ(m[0], 3); EQ(last.ax, 3); EQ(last.dx, 4); EQ(last.si & 0xff, 0);
    r.di = 0x300008; enter(&r); EXPECT(13, 0, cx16);
}

CODE(rdtsc_, "rdtsc\n" CODE_END)
static void tsc(void)
{
    u64 a = rdtsc();
    for (int i = 0; i < 1000; i++) {
        u64 b = rdtsc();
        if (b < a) { EQ(b, a); return; }
        a = b;
    }
    WRITE_CR(4, READ_CR(4) | 4);
    go3(rdtsc_); EXPECT(13, 0, rdtsc_);
    go0(rdtsc_); EXPECT_END();
    WRITE_CR(4, READ_CR(4) & ~4ul);
    wrmsr(0x10, 0x1000); EQ(rdtsc() < 0x100000000ull, 1);
}

/* ---- local APIC timer, HPET and APIC registers across a page end ---- */
static volatile u32 *apic = (void *)0xfee00000;
CODE(hlt_wait, "sti; hlt\nhlt_next:" CODE_END) LABEL(hlt_next);
static void lapic(void)
{
    apic[0xf0 / 4] = 0x1ff; apic[0x3e0 / 4] = 11;
    for (int i = 0; i < 5; i++) {
        apic[0x320 / 4] = 0x31; apic[0x380 / 4] = 200000;
        go0(hlt_wait); EXPECT(0x31, 0, hlt_next); EQ(apic[0x110 / 4], 1u << 17); apic[0xb0 / 4] = 0;
    }
    apic[0x320 / 4] = 0x40031;                             /* TSC deadline */
    u32 c[4]; cpuid(1, 0, c);
    if (c[2] >> 24 & 1) {
        wrmsr(0x6e0, rdtsc() + 1000000); go0(hlt_wait); EXPECT(0x31, 0, hlt_next); apic[0xb0 / 4] = 0; EQ(rdmsr(0x6e0), 0);
    }
    apic[0x300 / 4] = 0x40000 | 0x32;                      /* to itself */
    go0(hlt_wait); EQ(last.vec, 0x32); apic[0xb0 / 4] = 0;
    EQ(*(volatile u32 *)0xfed00004, 10000000);             /* HPET: femtoseconds a tick */
    u64 cap = *(volatile u64 *)0xfed00000;
    EQ(cap >> 32, 10000000);
    *(volatile u64 *)0xfed00010 = 1;
    u64 t = *(volatile u64 *)0xfed000f0;
    for (int i = 0; i < 100000; i++)
        __asm__ volatile("pause");
    EQ(*(volatile u64 *)0xfed000f0 > t, 1);
    /* half of it RAM that does not exist, half a register of the HPET: neither half is lost */
    EQ(*(volatile u64 *)0xfecffffc >> 32, cap & 0xffffffff);
}

CODE(tf64, "nop\ntf64_1: nop\n" CODE_END) LABEL(tf64_1);
CODE(tf_iret, "iretq\n")
CODE(tf_sys, "syscall\ntf_sys_next: nop\n" CODE_END) LABEL(tf_sys_next);
CODE(sys_back, "sysretq\n")
static void single_step(void)
{
    struct regs r = base3(tf64);
    r.fl = 0x102;
    enter(&r); EXPECT(1, 0, tf64_1); EQ(READ_DR(6) & 0x4000, 0x4000);
    iret_with((u64)tf64, 8, 0x102, (u64)stack_top - 8192, 0x10); EXPECT(1, 0, tf64_1);
    wrmsr(0xc0000082, (u64)sys_back); wrmsr(0xc0000084, 0x300);
    r = base3(tf_sys); r.fl = 0x102; enter(&r); EXPECT(1, 0, tf_sys_next); EQ(last.cs, 0x2b);
    WRITE_DR(6, 0);
    (void)gate; (void)tf_iret;
}

void main(void);
void main(void)
{
    RUN(exceptions);
    RUN(ist);
    RUN(canonical);
    RUN(branches);
    RUN(compat_wraps);
    RUN(syscalls);
    RUN(sysenter);
    RUN(compat_mode);
    RUN(segments);
    RUN(iret_forms);
    RUN(far64);
    RUN(fpu);
    RUN(cmpxchg16b);
    RUN(tsc);
    RUN(lapic);
    RUN(single_step);
    finish();
}
