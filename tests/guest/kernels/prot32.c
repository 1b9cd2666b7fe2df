/*
 * 32-bit protected mode without paging: exceptions and their error codes, segment loads and limits, gates, far transfers, IRET,
 * virtual-8086 mode, tasks, debug traps, SYSENTER, I/O permission. SDM vol. 3 ch. 5, 6, 7, 17, 20.
 */
#include "kit.h"

static struct regs base0(void *ip)
{
    struct regs r = { .ip = (u32)ip, .cs = 8, .ds = 0x10, .es = 0x10, .fs = 0x10, .gs = 0x10, .ss = 0x10, .fl = 2 };
    r.sp = (u32)stack_top - 8192;
    return r;
}

static struct regs base3(void *ip)
{
    struct regs r = { .ip = (u32)ip, .cs = 0x1b, .ds = 0x23, .es = 0x23, .fs = 0x23, .gs = 0x23, .ss = 0x23, .fl = 2 };
    r.sp = (u32)user_stack_top - 256;
    return r;
}

static void go0(void *ip) { struct regs r = base0(ip); enter(&r); }
static void go3(void *ip) { struct regs r = base3(ip); enter(&r); }
static void gate(unsigned vec, unsigned sel, u32 off, unsigned attr)
{
    idt[vec] = (struct idt_entry){ (u16)off, (u16)sel, (u16)attr, (u16)(off >> 16) };
}

/* ---- exceptions ---- */
CODE(de, "xor %edx,%edx; xor %ecx,%ecx; mov $5,%eax\nde_at: div %ecx\n" CODE_END) LABEL(de_at);
CODE(ud, "ud2\n" CODE_END)
CODE(bp, "nop; int3\nbp_next:" CODE_END) LABEL(bp_next);
CODE(of, "mov $0x7fffffff,%eax; add $1,%eax; into\nof_next:" CODE_END) LABEL(of_next);
CODE(br, "mov $10,%eax\nbr_at: bound %eax,br_data\n" CODE_END "br_data: .long 0,9") LABEL(br_at);
CODE(int40, "int $0x40\n" CODE_END)
CODE(int80, "int $0x80\nint80_next: nop") LABEL(int80_next);
CODE(priv, "hlt\n" CODE_END)
CODE(fpu, "fninit\n" CODE_END)
CODE(lock_bad, ".byte 0xf0,0x89,0xc0\n" CODE_END)

static void exceptions(void)
{
    go0(de); EXPECT(0, 0, de_at); EQ(last.fl & 0x10000, 0x10000);
    go3(de); EXPECT(0, 0, de_at); EQ(last.cs, 0x1b); EQ(last.sp, (u32)user_stack_top - 256); EQ(last.ss, 0x23);
    go0(ud); EXPECT(6, 0, ud);
    go3(ud); EXPECT(6, 0, ud);
    go3(lock_bad); EXPECT(6, 0, lock_bad);
    go0(bp); EXPECT(3, 0, bp_next); EQ(last.fl & 0x10000, 0);
    go3(bp); EXPECT(3, 0, bp_next);
    go3(of); EXPECT(4, 0, of_next);
    go0(br); EXPECT(5, 0, br_at);
    go3(int40); EXPECT(13, 0x40 * 8 + 2, int40);
    go0(int40); EXPECT(0x40, 0, int40 + 2);
    go3(int80); EXPECT(0x80, 0, int80_next);
    go3(priv); EXPECT(13, 0, priv);
    idt[0x41].attr = 0x0e00 | 0x6000;
    CODE(int41, "int $0x41\n" CODE_END)
    go3(int41); EXPECT(11, 0x41 * 8 + 2, int41);
    idt[0x41].attr = 0x8e00;
    WRITE_CR(0, READ_CR(0) | 8);
    go0(fpu); EXPECT(7, 0, fpu);
    WRITE_CR(0, READ_CR(0) & ~8ul);
    go0(fpu); EXPECT_END();
}

/* ---- segment loads ---- */
CODE(ld_ds, "mov %eax,%ds\n" CODE_END)
CODE(ld_ss, "mov %eax,%ss\n" CODE_END)
CODE(ld_ss_use, "mov %eax,%ss; mov %eax,%eax\n" CODE_END)
CODE(use_ds, "mov %eax,%ds\nuse_ds_at: mov 0,%ebx\n" CODE_END) LABEL(use_ds_at);
CODE(pop_fs, "push %eax\npop_fs_at: pop %fs\n" CODE_END) LABEL(pop_fs_at);
CODE(les_, "les_at: lesl far_ptr,%ebx\n" CODE_END "far_ptr: .long 0x1234; .word 0x50") LABEL(les_at);

static void with_ax(void *code, u32 ax, int ring)
{
    struct regs r = ring ? base3(code) : base0(code);
    r.ax = ax;
    enter(&r);
}

static void segment_loads(void)
{
    gdt[10] = SEG_DESC(0, 0xfffff, 0x12, 0xc);            /* 50: data, not present */
    gdt[11] = SEG_DESC(0, 0xfffff, 0x98, 0xc);            /* 58: execute-only */
    gdt[12] = SEG_DESC(0, 0xfffff, 0x90, 0xc);            /* 60: read-only data */
    gdt[13] = SEG_DESC(0, 0xfffff, 0x9e, 0xc);            /* 68: conforming readable code */
    with_ax(ld_ds, 0x50, 0); EXPECT(11, 0x50, ld_ds);
    with_ax(ld_ds, 0x58, 0); EXPECT(13, 0x58, ld_ds);
    with_ax(ld_ds, 0x60, 0); EXPECT_END(); EQ(last.ds, 0x60); EQ(gdt[12] >> 40 & 0xff, 0x91);
    with_ax(ld_ds, 0x28, 0); EXPECT(13, 0x28, ld_ds);
    with_ax(ld_ds, 0x10, 1); EXPECT(13, 0x10, ld_ds);
    with_ax(ld_ds, 0x20, 1); EXPECT_END();
    with_ax(ld_ds, 0x6b, 1); EXPECT_END();
    with_ax(ld_ds, 0x100, 0); EXPECT(13, 0x100, ld_ds);
    with_ax(ld_ds, 0x104, 0); EXPECT(13, 0x104, ld_ds);
    with_ax(ld_ds, 0x0c, 0); EXPECT(13, 0x0c, ld_ds);
    with_ax(ld_ds, 3, 0); EXPECT_END(); EQ(last.ds, 3);
    with_ax(use_ds, 0, 0); EXPECT(13, 0, use_ds_at);
    with_ax(ld_ss, 0, 0); EXPECT(13, 0, ld_ss);
    with_ax(ld_ss, 0x50, 0); EXPECT(12, 0x50, ld_ss);
    with_ax(ld_ss, 8, 0); EXPECT(13, 8, ld_ss);
    with_ax(ld_ss, 0x60, 0); EXPECT(13, 0x60, ld_ss);
    with_ax(ld_ss, 0x23, 0); EXPECT(13, 0x20, ld_ss);
    with_ax(ld_ss, 0x13, 0); EXPECT(13, 0x10, ld_ss);
    with_ax(ld_ss, 0x10, 0); EXPECT_END();
    with_ax(ld_ss, 0x10, 1); EXPECT(13, 0x10, ld_ss);
    with_ax(pop_fs, 0x50, 0); EXPECT(11, 0x50, pop_fs_at); EQ(last.sp, (u32)stack_top - 8192 - 4);
    go0(les_); EXPECT(11, 0x50, les_at);
}

/* ---- limits and types ---- */
CODE(rd4, "mov %eax,%ds\nrd4_at: mov (%ebx),%ecx\n" CODE_END) LABEL(rd4_at);
CODE(wr4, "mov %eax,%ds\nwr4_at: mov %ecx,(%ebx)\n" CODE_END) LABEL(wr4_at);
CODE(rd1, "mov %eax,%ds\nrd1_at: mov (%ebx),%cl\n" CODE_END) LABEL(rd1_at);
CODE(push_small, "mov %eax,%ss; mov %ebx,%esp\npush_at: push %ecx\nmov $0x10,%cx; mov %cx,%ss; mov $stack_top-4096,%esp\n" CODE_END) LABEL(push_at);
CODE(cswr, "movl $1,%cs:0x5000\n" CODE_END)

static void seg_access(void *code, u32 sel, u32 off)
{
    struct regs r = base0(code);
    r.ax = sel;
    r.bx = off;
    enter(&r);
}

static void limits(void)
{
    gdt[10] = SEG_DESC(0x200000, 0xfff, 0x92, 4);         /* 50: 4 KiB */
    gdt[11] = SEG_DESC(0x200000, 0xfff, 0x96, 4);         /* 58: expand-down from 1000h, 32 bits */
    gdt[12] = SEG_DESC(0x200000, 0xfff, 0x90, 4);         /* 60: read-only */
    gdt[13] = SEG_DESC(0x200000, 0xfff, 0x9a, 4);         /* 68: readable code */
    gdt[14] = SEG_DESC(0, 0x1, 0x92, 0xc);                /* 70: 8 KiB, page granular */
    gdt[15] = SEG_DESC(0x200000, 0xfff, 0x96, 0);         /* 78: expand-down, 16 bits */
    *(u32 *)0x200ffc = 0x12345678;
    seg_access(rd4, 0x50, 0xffc); EXPECT_END(); EQ(last.cx, 0x12345678);
    seg_access(rd4, 0x50, 0xffd); EXPECT(13, 0, rd4_at);
    seg_access(rd1, 0x50, 0xfff); EXPECT_END(); EQ(last.cx, 0x12);
    seg_access(rd1, 0x50, 0x1000); EXPECT(13, 0, rd1_at);
    seg_access(rd4, 0x50, 0xffffffff); EXPECT(13, 0, rd4_at);
    seg_access(rd1, 0x58, 0xfff); EXPECT(13, 0, rd1_at);
    seg_access(rd1, 0x58, 0x1000); EXPECT_END();
    seg_access(rd4, 0x58, 0xfffffffd); EXPECT(13, 0, rd4_at);
    seg_access(rd1, 0x78, 0xffff); EXPECT_END();
    seg_access(rd1, 0x78, 0x10000); EXPECT(13, 0, rd1_at);
    gdt[14] = SEG_DESC(0x201000, 0xfffff, 0x92, 0xc);      /* offset plus base wraps */
    seg_access(rd4, 0x70, 0xfffffffc); EXPECT_END(); EQ(last.cx, 0x12345678);
    gdt[14] = SEG_DESC(0, 0x1, 0x92, 0xc);
    seg_access(wr4, 0x60, 0); EXPECT(13, 0, wr4_at);
    seg_access(rd4, 0x60, 0); EXPECT_END();
    seg_access(wr4, 0x68, 0); EXPECT(13, 0, wr4_at);
    seg_access(rd4, 0x68, 0); EXPECT_END();
    seg_access(rd4, 0x70, 0x1ffc); EXPECT_END();
    seg_access(rd4, 0x70, 0x1ffd); EXPECT(13, 0, rd4_at);
    go0(cswr); EXPECT(13, 0, cswr);
}

static void code_limit(void)
{
    /* 50: code of 100h bytes at 200000h; runs up to its limit, jumps over it */
    static const u8 run_off[] = { 0x90, 0x90 }, jump[] = { 0xe9, 0xfb, 0x00, 0x00, 0x00 };
    static const u8 call_ind[] = { 0xff, 0xd0 }, ret[] = { 0x50, 0xc3 }, tail[] = { 0xb8, 1, 0, 0 };
    gdt[10] = SEG_DESC(0x200000, 0xff, 0x9a, 4);
    struct regs r = base0(0);
    r.cs = 0x50;
    memcpy((void *)0x2000fe, run_off, 2);
    r.ip = 0xfe; enter(&r); EXPECT(13, 0, 0x100); EQ(last.cs, 0x50);
    memcpy((void *)0x200000, jump, 5);
    r.ip = 0; enter(&r); EXPECT(13, 0, 0);
    memcpy((void *)0x200010, call_ind, 2);
    r.ip = 0x10; r.ax = 0x100; enter(&r); EXPECT(13, 0, 0x10); EQ(last.sp, r.sp);
    memcpy((void *)0x200020, ret, 2);
    r.ip = 0x20; enter(&r); EXPECT(13, 0, 0x21); EQ(last.sp, r.sp - 4);
    memcpy((void *)0x2000fc, tail, 4);
    r.ip = 0xfc; enter(&r); EXPECT(13, 0, 0xfc);
    gdt[10] = SEG_DESC(0x200000, 0xffff, 0x9a, 4);        /* a 64 KiB limit is known to the translator */
    r.ip = 0;
    *(u8 *)0x200000 = 0xe9; *(u32 *)0x200001 = 0x10000;
    enter(&r); EXPECT(13, 0, 0);
    *(u16 *)0x200000 = 0xe0ff; r.ax = 0x10000;
    enter(&r); EXPECT(13, 0, 0);
    r.ip = 0x10000; enter(&r); EQ(last.vec, 13);
}

/* ---- LAR LSL VERR VERW ARPL ---- */
CODE(ask, "xor %ecx,%ecx; mov $0x5555,%edx; lar %eax,%ecx; setz %bl; lsl %eax,%edx; setz %bh; verr %ax; sete %al; verw %ax\n" CODE_END)
CODE(ask2, "verr %ax; setz %bl; verw %ax; setz %bh\n" CODE_END)
CODE(arpl_, "arpl %bx,%ax; setz %cl\n" CODE_END)
static void ask_at(u32 sel, int ring, u32 ar, u32 limit, u32 zf, u32 rw)
{
    struct regs r = ring ? base3(ask) : base0(ask);
    r.ax = sel; r.bx = 0;
    enter(&r);
    EXPECT_END(); EQ(last.bx, zf); EQ(last.cx, ar); EQ(last.dx, limit);
    r.ip = (u32)ask2; enter(&r);
    EXPECT_END(); EQ(last.bx, rw);
}

static void selectors(void)
{
    gdt[10] = SEG_DESC(0x200000, 0xfff, 0x92, 4);
    gdt[11] = SEG_DESC(0, 0x10, 0xf0, 0xc);               /* 58: ring 3 read-only data */
    gdt[12] = SEG_DESC(8, 0x123, 0x8c, 0) & ~(0xffull << 32) ;      /* 60: a call gate of 32 bits */
    gdt[13] = SEG_DESC(0, 0xfffff, 0x9e, 0xc);            /* 68: conforming readable code */
    gdt[14] = SEG_DESC(0, 0xfffff, 0x98, 0xc);            /* 70: execute-only */
    ask_at(0x50, 0, 0x409200, 0xfff, 0x101, 0x101);
    ask_at(0x50, 3, 0, 0x5555, 0, 0);
    ask_at(0x5b, 3, 0xc0f000, 0x10fff, 0x101, 0x001);
    ask_at(0x68, 3, 0xcf9e00, 0xffffffff, 0x101, 0x001);
    ask_at(0x70, 0, 0xcf9800, 0xffffffff, 0x101, 0x000);
    ask_at(0x60, 0, 0x008c00, 0x5555, 0x001, 0);
    ask_at(0, 0, 0, 0x5555, 0, 0);
    ask_at(0x200, 0, 0, 0x5555, 0, 0);
    struct regs r = base3(arpl_);
    r.ax = 0x50; r.bx = 3; enter(&r); EQ(last.ax, 0x53); EQ(last.cx & 0xff, 1);
    r.ax = 0x53; r.bx = 1; enter(&r); EQ(last.ax, 0x53); EQ(last.cx & 0xff, 0);
}

/* ---- far transfers and call gates ---- */
static void call_gate(unsigned n, unsigned sel, u32 off, unsigned attr, unsigned params)
{
    gdt[n] = (off & 0xffff) | (u64)sel << 16 | (u64)params << 32 | (u64)attr << 40 | (u64)(off >> 16) << 48;
}

CODE(gate_target, "mov %esp,%ebp; mov %cs,%ecx; mov %ss,%edx; mov (%ebp),%eax; mov 8(%ebp),%ebx; mov 12(%ebp),%esi; mov 16(%ebp),%edi; lret $8\n")
CODE(gate_call, "push $0x1111; push $0x2222; lcall $0x53,$0\ngate_back: mov %esp,%eax\n" CODE_END) LABEL(gate_back);
CODE(same_call, "lcall $0x50,$0\nsame_back:" CODE_END) LABEL(same_back);
CODE(same_target, "mov (%esp),%eax; mov 4(%esp),%ebx; lret\n")
CODE(far_jmp, "ljmp $0x53,$0\n" CODE_END)
CODE(far_jmp_code, "ljmp $0x8,$far_there\n nop\nfar_there:" CODE_END)
CODE(far_jmp_data, "ljmp $0x10,$0\n" CODE_END)
CODE(far_jmp_null, "ljmp $0,$0\n" CODE_END)
CODE(call_conf, "lcall $0x68,$conf_in\nconf_back:" CODE_END "conf_in: mov %cs,%eax; lret") LABEL(conf_back);

static void call_gates(void)
{
    call_gate(10, 8, (u32)gate_target, 0xec, 2);
    go3(gate_call);
    EXPECT_END();
    EQ(last.cx, 8); EQ(last.dx, 0x10); EQ(last.bx, 0x2222); EQ(last.si, 0x1111); EQ(last.di, (u32)user_stack_top - 256 - 8);
    EQ(last.cs, 0x1b); EQ(last.ax, (u32)user_stack_top - 256);
    call_gate(10, 8, (u32)gate_target, 0x8c, 2);
    go3(gate_call); EXPECT(13, 0x50, gate_call + 10);
    call_gate(10, 8, (u32)gate_target, 0x6c, 2);
    go3(gate_call); EXPECT(11, 0x50, gate_call + 10);
    call_gate(10, 0, (u32)gate_target, 0xec, 2);
    go3(gate_call); EXPECT(13, 0, gate_call + 10);
    call_gate(10, 0x10, (u32)gate_target, 0xec, 2);
    go3(gate_call); EXPECT(13, 0x10, gate_call + 10);
    call_gate(10, 8, (u32)same_target, 0x8c, 0);
    go0(same_call); EXPECT_END(); EQ(last.ax, (u32)same_back); EQ(last.bx, 8);
    call_gate(10, 8, (u32)gate_target, 0xec, 0);
    go3(far_jmp); EXPECT(13, 8, far_jmp);
    go0(far_jmp_code); EXPECT_END();
    go3(far_jmp_code); EXPECT(13, 8, far_jmp_code);
    go0(far_jmp_data); EXPECT(13, 0x10, far_jmp_data);
    go0(far_jmp_null); EXPECT(13, 0, far_jmp_null);
    gdt[13] = SEG_DESC(0, 0xfffff, 0x9e, 0xc);
    go3(call_conf); EXPECT_END(); EQ(last.ax, 0x6b);
}

/* ---- IRET ---- */
CODE(iret_raw, "iret\n" CODE_END)
static void iret_with(u32 ip, u32 cs, u32 fl, u32 sp, u32 ss)
{
    struct regs r = base0(iret_raw);
    u32 *s = (u32 *)(r.sp - 64);
    s[0] = ip; s[1] = cs; s[2] = fl; s[3] = sp; s[4] = ss;
    r.sp = (u32)s;
    enter(&r);
}
CODE(end_piece, CODE_END)
CODE(iret16, "mov %esp,%ebp; pushw $2; pushw $8; pushw %ax\niret16_at: iretw\n") LABEL(iret16_at);
static void iret_forms(void)
{
    iret_with((u32)end_piece, 0, 2, 0, 0); EXPECT(13, 0, iret_raw);
    iret_with((u32)end_piece, 0x10, 2, 0, 0); EXPECT(13, 0x10, iret_raw);
    iret_with((u32)end_piece, 0x1b, 2, (u32)user_stack_top - 64, 0x10); EXPECT(13, 0x10, iret_raw);
    iret_with((u32)end_piece, 0x1b, 2, (u32)user_stack_top - 64, 0); EXPECT(13, 0, iret_raw);
    iret_with((u32)end_piece, 0x1b, 2, (u32)user_stack_top - 64, 0x23); EXPECT_END(); EQ(last.cs, 0x1b); EQ(last.ds, 0);
    iret_with((u32)end_piece, 0x1b, 0x3202, (u32)user_stack_top - 64, 0x23); EXPECT_END(); EQ(last.fl & 0x3200, 0x3200);
    gdt[10] = SEG_DESC(0, 0xfffff, 0x1a, 0xc);
    iret_with((u32)end_piece, 0x50, 2, 0, 0); EXPECT(11, 0x50, iret_raw);
    gdt[10] = SEG_DESC(0, 0xfff, 0x9a, 4);
    iret_with(0x1000, 0x50, 2, 0, 0); EXPECT(13, 0, iret_raw);
    /* from ring 3: IOPL and IF stay */
    struct regs r = base3(iret_raw);
    u32 *s = (u32 *)(r.sp - 64);
    s[0] = (u32)end_piece; s[1] = 0x1b; s[2] = 0x3202; r.sp = (u32)s;
    enter(&r); EXPECT_END(); EQ(last.fl & 0x3200, 0); EQ(last.sp, (u32)s + 12);
}

/* ---- interrupt gates of 16 bits, trap gates, inner interrupts through bad stacks ---- */
static void gates(void)
{
    gate(0x81, 8, (u32)gate_target, 0xee00);
    CODE(int81, "int $0x81\n" CODE_END)
    gate(0x81, 0x10, 0, 0xee00); go3(int81); EXPECT(13, 0x10, int81);
    gate(0x81, 0, 0, 0xee00); go3(int81); EXPECT(13, 0, int81);
    gate(0x81, 0x1b, 0, 0xee00); go0(int81); EXPECT(13, 0x18, int81);
    gate(0x81, 8, 0, 0xe500); go3(int81); EXPECT(13, 0x08, int81);
    gate(0x81, 8, 0, 0xe900); go3(int81); EXPECT(13, 0x81 * 8 + 2, int81);
}

/* ---- virtual-8086 mode ---- */
static void go86(const u8 *code, unsigned n, u32 fl)
{
    memcpy((void *)0x8000, code, n);
    struct regs r = { .ip = 0x10, .cs = 0x7ff, .fl = 0x20002 | fl, .sp = 0x1000, .ss = 0x900,
                      .vm_ds = 0x8000 / 16, .vm_es = 0x1234, .vm_fs = 0x5678, .vm_gs = 0x9abc };
    enter(&r);
}

static void v86(void)
{
    static const u8 cli[] = { 0xfa }, int21[] = { 0xcd, 0x21 }, pushf[] = { 0x9c }, int80c[] = { 0xcd, 0x80 };
    static const u8 lgdt_[] = { 0x0f, 0x01, 0x16, 0, 0 }, lar_[] = { 0x0f, 0x02, 0xc0 };
    static const u8 mem[] = { 0xb8, 0x34, 0x12, 0xa3, 0x00, 0x03, 0x8c, 0xdb, 0x9c, 0x59, 0xcd, 0x80 };    /* mov ax,1234; mov [300],ax;
    mov bx,ds; pushf; pop cx; int 80 */
    static const u8 wrap[] = { 0xa1, 0xff, 0xff, 0xcd, 0x80 }, farj[] = { 0xea, 0x20, 0x00, 0x00, 0x08 }, hlt_[] = { 0xf4 };
    static const u8 int3_[] = { 0xcc };
    go86(cli, 1, 0); EXPECT(13, 0, 0x10); EQ(last.cs, 0x7ff); EQ(last.vm_es, 0x1234); EQ(last.vm_gs, 0x9abc); EQ(last.ds, 0);
    EQ(last.fl & 0x20000, 0x20000);
    go86(int21, 2, 0); EXPECT(13, 0, 0x10);
    go86(pushf, 1, 0); EXPECT(13, 0, 0x10);
    go86(hlt_, 1, 0); EXPECT(13, 0, 0x10);
    go86(lgdt_, 5, 0); EXPECT(13, 0, 0x10);
    go86(lar_, 3, 0); EXPECT(6, 0, 0x10);
    go86(int3_, 1, 0); EXPECT(3, 0, 0x11);
    go86(int80c, 2, 0x3000); EXPECT(0x80, 0, 0x12); EQ(last.cs, 0x7ff); EQ(last.ss, 0x900); EQ(last.sp, 0x1000); EQ(last.vm_ds, 0x800);
    go86(mem, sizeof(mem), 0x3000); EXPECT_END(); EQ(*(u16 *)0x8300, 0x1234); EQ(last.bx & 0xffff, 0x800); EQ(last.cx & 0xf000, 0x3000);
    go86(cli, 1, 0x3000); memcpy((void *)0x8001, int80c, 2); go86(cli, 1, 0x3200); EXPECT_END(); EQ(last.fl & 0x200, 0);
    go86(wrap, 5, 0x3000); EXPECT(13, 0, 0x10);
    memcpy((void *)0x8020, int80c, 2);
    go86(farj, 5, 0x3000); EXPECT_END(); EQ(last.cs, 0x800); EQ(last.ip, 0x22);
}

/* ---- tasks ---- */
static struct tss32 { u32 link, sp0, ss0, sp1, ss1, sp2, ss2, cr3, ip, fl, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, fs, gs, ldt; u16 t, io;
    } tss_b;
CODE(task_b, "task_b_in: mov %eax,%ebx; mov %cr0,%ecx; pushf; pop %edx; iret\ntask_b_again: mov $0x77,%edi; iret; jmp task_b_in")
CODE(call_task, "mov $5,%eax; lcall $0x50,$0\ncall_back:" CODE_END) LABEL(call_back);
CODE(int_task, "int $0x81\nint_back:" CODE_END) LABEL(int_back);
CODE(jmp_task, "ljmp $0x50,$0\n" CODE_END)
CODE(jmp_end, CODE_END)
static void task_init(void *ip, unsigned type)
{
    memset(&tss_b, 0, sizeof(tss_b));
    tss_b.ip = (u32)ip; tss_b.fl = 2; tss_b.sp = (u32)stack_top - 4096; tss_b.cs = 8; tss_b.ax = 0x4242;
    tss_b.es = tss_b.ss = tss_b.ds = tss_b.fs = tss_b.gs = 0x10; tss_b.io = 104;
    tss_b.sp0 = (u32)stack_top - 2048; tss_b.ss0 = 0x10;
    gdt[10] = SEG_DESC((u32)&tss_b, 103, type, 0);
}

static void tasks(void)
{
    struct tss32 *a = (void *)tss;
    task_init(task_b, 0x89);
    go0(call_task);
    EXPECT(0x80, 0, call_back + 2); EQ(last.ax, 5); EQ(tss_b.bx, 0x4242); EQ(tss_b.cx & 8, 8); EQ(tss_b.dx & 0x4000, 0x4000); EQ(tss_b.link, 0x28);
    EQ(gdt[10] >> 40 & 0xff, 0x89); EQ(gdt[5] >> 40 & 0xff, 0x8b); EQ(a->ip, (u32)call_back);
    WRITE_CR(0, READ_CR(0) & ~8ul);
    task_init(task_b, 0x89);
    gate(0x81, 0x50, 0, 0xe500);
    go3(int_task); EXPECT(0x80, 0, int_back + 2); EQ(last.cs, 0x1b); EQ(tss_b.bx, 0x4242);
    task_init(task_b, 0x8b); go0(call_task); EXPECT(13, 0x50, call_task + 5);
    task_init(task_b, 0x09); go0(call_task); EXPECT(11, 0x50, call_task + 5);
    task_init(task_b, 0x89); gdt[10] = SEG_DESC((u32)&tss_b, 102, 0x89, 0); go0(call_task); EXPECT(10, 0x50, call_task + 5);
    task_init(jmp_end, 0x89);
    go0(jmp_task); EXPECT(0x80, 0, jmp_end + 2); EQ(last.ax, 0x4242); EQ(gdt[10] >> 40 & 0xff, 0x8b); EQ(gdt[5] >> 40 & 0xff, 0x89);
    EQ(last.fl & 0x4000, 0);
    gdt[5] &= ~(2ull << 40);
    __asm__ volatile("ltr %w0" : : "r"(0x28));
    task_init(jmp_end, 0x89); tss_b.ds = 0x200;           /* a fault in the new task */
    go0(jmp_task); EXPECT(10, 0x200, jmp_end);
    gdt[5] &= ~(2ull << 40);
    __asm__ volatile("ltr %w0" : : "r"(0x28));
    task_init(jmp_end, 0x89); tss_b.t = 1;
    go0(jmp_task); EXPECT(1, 0, jmp_end); EQ(READ_DR(6) & 0x8000, 0x8000);
    gdt[5] &= ~(2ull << 40);
    __asm__ volatile("ltr %w0" : : "r"(0x28));
    WRITE_CR(0, READ_CR(0) & ~8ul);
    WRITE_DR(6, 0);
}

CODE(df_task, "df_in: pop %eax\n" CODE_END) LABEL(df_in);
static void double_fault(void)
{
    struct idt_entry old = idt[8];
    task_init(df_task, 0x89);
    gdt[11] = SEG_DESC(0, 0, 0x92, 4);
    gdt[12] = gdt[10];
    gdt[10] = SEG_DESC(0x200000, 0xff, 0x92, 4);
    gate(8, 0x60, 0, 0x8500);
    CODE(df_code, "mov $0x50,%eax; mov %eax,%ss; mov $2,%esp\ndf_at: push %eax\n" CODE_END) LABEL(df_at);
    go0(df_code);                                          /* #SS, whose frame does not fit either */
    EXPECT_END(); EQ(last.ax, 0); EQ(((struct tss32 *)tss)->ip, (u32)df_at);
    idt[8] = old;
    gdt[5] &= ~(2ull << 40);
    __asm__ volatile("ltr %w0" : : "r"(0x28));
    WRITE_CR(0, READ_CR(0) & ~8ul);
}

/* ---- debug traps ---- */
CODE(tf, "nop\ntf1: nop\ntf2: nop\n" CODE_END) LABEL(tf1);
CODE(tf_popf, "pushf; orl $0x100,(%esp); popf\ntf_p1: nop\ntf_p2:" CODE_END) LABEL(tf_p2);
CODE(tf_rep, "rep stosb\ntf_r1: nop\n" CODE_END) LABEL(tf_r1);
CODE(tf_ss, "mov %ss,%ebx; mov %ebx,%ss\ntf_s1: nop\ntf_s2:" CODE_END) LABEL(tf_s2);
CODE(tf_jmp, "jmp tf_j1; nop\ntf_j1: nop\n" CODE_END) LABEL(tf_j1);
CODE(tf_int, "int $0x80\n" CODE_END)
CODE(tf_sti, "sti\ntf_i1: nop\n" CODE_END) LABEL(tf_i1);
static void go_tf(void *ip)
{
    struct regs r = base0(ip);
    r.fl = 0x102; r.di = 0x200000; r.cx = 3; r.bx = 0x10;
    WRITE_DR(6, 0);
    enter(&r);
}

static void single_step(void)
{
    go_tf(tf); EXPECT(1, 0, tf1); EQ(READ_DR(6) & 0x400f, 0x4000); EQ(last.fl & 0x10100, 0x100);
    go0(tf_popf); EXPECT(1, 0, tf_p2);
    go_tf(tf_rep); EXPECT(1, 0, tf_rep); EQ(last.cx, 2); EQ(last.di, 0x200001);
    struct regs r = last; r.sp = (u32)stack_top - 8192; enter(&r); EXPECT(1, 0, tf_rep); EQ(last.cx, 1);
    r = last; r.sp = (u32)stack_top - 8192; enter(&r); EXPECT(1, 0, tf_r1); EQ(last.cx, 0);
    go_tf(tf_ss + 2); EXPECT(1, 0, tf_s2);
    go_tf(tf_jmp); EXPECT(1, 0, tf_j1);
    go_tf(tf_int); EXPECT_END();
    go_tf(tf_sti); EXPECT(1, 0, tf_i1);
    go_tf(ud); EXPECT(6, 0, ud);
    go_tf(priv); EXPECT(1, 0, priv + 1);
    WRITE_DR(6, 0);
}

CODE(bpx, "nop\nbpx_at: nop\nbpx_next: nop\n" CODE_END) LABEL(bpx_at);
CODE(watch_wr, "mov 0x200004,%eax; movb $1,0x200006\nwatch_next: nop\n" CODE_END) LABEL(watch_next);
CODE(watch_rd, "mov 0x200001,%eax\nwatchr_next: nop\n" CODE_END) LABEL(watchr_next);
CODE(watch_push, "push %eax\nwatchp_next: nop\n" CODE_END) LABEL(watchp_next);
CODE(gd, "gd_at: mov %dr0,%eax\n" CODE_END) LABEL(gd_at);
CODE(watch_rep, "rep stosb\nwatch_rep_next: nop\n" CODE_END)
CODE(watch_far, "lcall $0x1b,$watch_far+7\n" CODE_END)
CODE(watch_io, "in $0x80,%al\nwatch_io_next: nop\n" CODE_END) LABEL(watch_io_next);
static void breakpoints(void)
{
    struct regs r;
    WRITE_DR(6, 0); WRITE_DR(0, bpx_at); WRITE_DR(7, 2);
    go0(bpx); EXPECT(1, 0, bpx_at); EQ(READ_DR(6) & 0x400f, 1); EQ(last.fl & 0x10000, 0);
    r = base0(bpx_at); r.fl = 0x10002; enter(&r); EXPECT_END();
    WRITE_DR(6, 0); WRITE_DR(1, 0x200004); WRITE_DR(7, 0xd00000 | 8);       /* 1: write, 4 bytes */
    go0(watch_wr); EXPECT(1, 0, watch_next); EQ(READ_DR(6) & 15, 2);
    WRITE_DR(6, 0); WRITE_DR(2, 0x200004); WRITE_DR(7, 0x3000000 | 0x20);   /* 2: read-write, 1 byte */
    go0(watch_rd); EXPECT(1, 0, watchr_next); EQ(READ_DR(6) & 15, 4);
    WRITE_DR(6, 0); WRITE_DR(3, (u32)user_stack_top - 260); WRITE_DR(7, 0xd0000000 | 0x80);
    go3(watch_push); EXPECT(1, 0, watchp_next); EQ(READ_DR(6) & 15, 8);
    WRITE_DR(6, 0); WRITE_DR(1, 0x200005); WRITE_DR(7, 0x100000 | 8);
    r = base0(watch_rep); r.cx = 10; r.di = 0x200000; enter(&r); EXPECT(1, 0, watch_rep); EQ(last.cx, 4);
    WRITE_DR(6, 0); WRITE_DR(3, (u32)user_stack_top - 264); WRITE_DR(7, 0xd0000000 | 0x80);
    go3(watch_far); EXPECT(1, 0, watch_far + 7); EQ(READ_DR(6) & 15, 8);
    WRITE_CR(4, READ_CR(4) | 8);
    WRITE_DR(6, 0); WRITE_DR(3, 0x80); WRITE_DR(7, 0x20000000 | 0x80);
    go0(watch_io); EXPECT(1, 0, watch_io_next); EQ(READ_DR(6) & 15, 8);
    WRITE_CR(4, READ_CR(4) & ~8ul);
    WRITE_DR(6, 0); WRITE_DR(7, 0x2000);
    go0(gd); EXPECT(1, 0, gd_at); EQ(READ_DR(6) & 0x2000, 0x2000);
    WRITE_DR(7, 0); WRITE_DR(6, 0);
    go0(bpx); EXPECT_END();
}

/* ---- I/O permission, alignment, SYSENTER, interrupt shadow ---- */
CODE(io_in, "mov $0x80,%dx; in %dx,%al\n" CODE_END)
CODE(io_in2, "mov $0x7f,%dx; in %dx,%ax\n" CODE_END)
CODE(cli_, "cli\n" CODE_END)
static void io_permission(void)
{
    struct regs r = base3(io_in);
    tss[104 + 0x80 / 8] = 1;
    enter(&r); EXPECT(13, 0, io_in + 4);
    r.ip = (u32)io_in2; enter(&r); EXPECT(13, 0, io_in2 + 4);
    tss[104 + 0x80 / 8] = 0;
    r.ip = (u32)io_in; enter(&r); EXPECT_END();
    tss[104 + 0x80 / 8] = 1;
    r.fl = 0x3002; enter(&r); EXPECT_END();
    tss[104 + 0x80 / 8] = 0;
    r.ip = (u32)cli_; enter(&r); EXPECT_END();
    r.fl = 2; enter(&r); EXPECT(13, 0, cli_);
}

CODE(unaligned, "mov 0x200001,%eax\n" CODE_END)
static void alignment(void)
{
    struct regs r = base3(unaligned);
    r.fl = 0x40002;
    enter(&r); EXPECT_END();
    WRITE_CR(0, READ_CR(0) | 0x40000);
    enter(&r); EXPECT(17, 0, unaligned);
    r.fl = 2; enter(&r); EXPECT_END();
    r = base0(unaligned); r.fl = 0x40002; enter(&r); EXPECT_END();
    WRITE_CR(0, READ_CR(0) & ~0x40000ul);
}

CODE(sysenter_, "sysenter\n" CODE_END)
CODE(sysenter_in, "mov %esp,%ebx; mov %cs,%esi; mov %ss,%edi; mov $sysexit_to,%edx; mov $user_stack_top-64,%ecx; sysexit\n")
CODE(sysexit_to, "mov %cs,%eax; mov %ss,%ebp\n" CODE_END)
static void sysenter(void)
{
    wrmsr(0x174, 0); go3(sysenter_); EXPECT(13, 0, sysenter_);
    wrmsr(0x174, 8); wrmsr(0x175, 0x123450); wrmsr(0x176, (u32)sysenter_in);
    go3(sysenter_);
    EXPECT_END(); EQ(last.bx, 0x123450); EQ(last.si, 8); EQ(last.di, 0x10); EQ(last.ax, 0x1b); EQ(last.bp, 0x23);
    EQ(last.sp, (u32)user_stack_top - 64);
}

static void pic_init(void)
{
    outb(0x20, 0x11); outb(0x21, 0x20); outb(0x21, 4); outb(0x21, 1); outb(0x21, 0xfe);
    outb(0xa0, 0x11); outb(0xa1, 0x28); outb(0xa1, 2); outb(0xa1, 1); outb(0xa1, 0xff);
}

static void pit_soon(void) { outb(0x43, 0x30); outb(0x40, 0xe8); outb(0x40, 3); }
static void eoi(void) { outb(0x20, 0x20); }
static void wait_irr(void) { do outb(0x20, 0x0a); while (!(inb(0x20) & 1)); }

CODE(hlt_wait, "sti; hlt\nhlt_next:" CODE_END) LABEL(hlt_next);
CODE(sti_two, "sti; nop\nsti_two_at: nop\n" CODE_END) LABEL(sti_two_at);
CODE(ss_two, "mov %ss,%eax; sti; mov %eax,%ss; nop\nss_two_at: nop\n" CODE_END)
CODE(spin, "sti\nspin_at: jmp spin_at") LABEL(spin_at);
CODE(spin_long, "sti\n1: inc %eax; jnz 1b\n" CODE_END)
CODE(popf_if, "push $0x202; popf\npopf_at: nop\n" CODE_END) LABEL(popf_at);
CODE(rep_long, "rep stosb\n" CODE_END)
static void interrupts(void)
{
    pic_init();
    pit_soon(); go0(hlt_wait); EXPECT(0x20, 0, hlt_next); eoi();
    for (int i = 0; i < 20; i++) { pit_soon(); go0(hlt_wait); EXPECT(0x20, 0, hlt_next); eoi(); }
    pit_soon(); wait_irr(); go0(sti_two); EXPECT(0x20, 0, sti_two_at); eoi();
    pit_soon(); wait_irr(); go0(popf_if); EXPECT(0x20, 0, popf_at); eoi();
    pit_soon(); go0(spin); EXPECT(0x20, 0, spin_at); eoi();
    pit_soon(); go0(spin_long); EQ(last.vec, 0x20); eoi();
    pit_soon(); wait_irr(); struct regs r = base3(spin_at); r.fl = 0x202; enter(&r); EXPECT(0x20, 0, spin_at); EQ(last.cs, 0x1b); eoi();
    /* a long REP STOS is interrupted between elements and goes on; on a busy host the timer may come behind its end: once more then */
    for (int i = 0; i < 50; i++) {
        r = base0(rep_long); r.fl = 0x202; r.di = 0x400000; r.cx = 0x2000000 - 0x400000 * 2; r.ax = 0x5a;
        pit_soon(); enter(&r);
        if (last.vec == 0x20) break;
        wait_irr(); go0(sti_two); EXPECT(0x20, 0, sti_two_at); eoi();
    }
    eoi(); EXPECT(0x20, 0, rep_long); EQ(last.cx + last.di, r.cx + r.di); EQ(last.cx && last.cx < r.cx, 1);
    EQ(((u8 *)last.di)[-1], 0x5a);
    r = last; r.fl = 2; r.sp = (u32)stack_top - 8192; enter(&r); EXPECT_END(); EQ(last.cx, 0);
    outb(0x21, 0xff);
}

/* ---- 16-bit code segment in protected mode ---- */
static void code16(void)
{
    static const u8 c[] = { 0xb8, 0x34, 0x12, 0x66, 0xbb, 0x78, 0x56, 0x34, 0x12, 0x50, 0x58, 0xe8, 0x00, 0x00, 0x59, 0xcd, 0x80 };
    struct regs r = base0(0);
    memcpy((void *)0x4000, c, sizeof(c));
    r.cs = 0x30; r.ip = 0x4000; r.ss = 0x38; r.sp = 0x7000; r.ax = 0xffffffff;
    enter(&r); EXPECT_END(); EQ(last.ax, 0xffff1234); EQ(last.bx, 0x12345678); EQ(last.cx, 0x400e); EQ(last.ip, 0x4011); EQ(last.cs, 0x30);
}

/* ---- gates, call gates and tasks of the 80286: everything in words. The pieces run below 64 KiB ---- */
CODE(low_in, "mov %esp,%ebp; movzwl (%ebp),%eax; movzwl 2(%ebp),%ebx; movzwl 4(%ebp),%ecx; movzwl 6(%ebp),%edx; movzwl 8(%ebp),%esi; "
     "iretw\nlow_in_end:") LABEL(low_in_end);
CODE(low_call, "int $0x82\nlow_call_2:" CODE_END "low_call_end:") LABEL(low_call_end);
CODE(low_gate, "mov %esp,%ebp; movzwl (%ebp),%eax; movzwl 2(%ebp),%ebx; movzwl 4(%ebp),%ecx; movzwl 6(%ebp),%edx; "
     "lretw $2\nlow_gate_end:") LABEL(low_gate_end);
CODE(low_far, "pushw $0x7777; data16 lcall *%cs:0x6300+low_far_ptr-low_far\n" CODE_END "low_far_ptr: .word 0, 0x53\nlow_far_end:") LABEL(low_far_end);
CODE(task16, "mov $0x1234,%ax; mov %esp,%ebx; iret\ntask16_end:") LABEL(task16_end);
static struct tss16 { u16 link, sp0, ss0, sp1, ss1, sp2, ss2, ip, fl, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt; } tss_16;

static void gates16(void)
{
    memcpy((void *)0x6000, low_in, (ul)(low_in_end - low_in));
    memcpy((void *)0x6100, low_call, (ul)(low_call_end - low_call));
    memcpy((void *)0x6200, low_gate, (ul)(low_gate_end - low_gate));
    memcpy((void *)0x6300, low_far, (ul)(low_far_end - low_far));
    memcpy((void *)0x6400, task16, (ul)(task16_end - task16));
    u32 esp0 = *(u32 *)(tss + 4);
    struct regs r = base3((void *)0x6100);
    gate(0x82, 8, 0x6000, 0xe600);
    r.sp = 0x5000; r.fl = 0x202;
    enter(&r); EXPECT(0x80, 0, 0x6104); EQ(last.ax, 0x6102); EQ(last.bx, 0x1b); EQ(last.cx, 0x202); EQ(last.dx, 0x5000); EQ(last.si, 0x23);
    EQ(last.cs, 0x1b); EQ(last.sp & 0xffff, 0x5000); EQ(last.bp, esp0 - 10);
    r = base0((void *)0x6100); r.sp = 0x5000;
    enter(&r); EXPECT(0x80, 0, 0x6104); EQ(last.ax, 0x6102); EQ(last.bx, 8); EQ(last.bp, 0x4ffa);
    call_gate(10, 8, 0x6200, 0xe4, 1);
    r = base3((void *)0x6300); r.sp = 0x5000;
    enter(&r); EXPECT_END(); EQ(last.ax, 0x6000 + 0x300 + (u32)(low_far_end - low_far) - 6); EQ(last.bx, 0x1b); EQ(last.cx, 0x7777);
    EQ(last.dx, 0x4ffe); EQ(last.sp & 0xffff, 0x5000);
    memset(&tss_16, 0, sizeof(tss_16));
    tss_16.ip = 0x6400; tss_16.cs = 8; tss_16.fl = 2; tss_16.sp = 0x5000; tss_16.ss = tss_16.ds = tss_16.es = 0x10;
    gdt[10] = SEG_DESC((u32)&tss_16, 43, 0x81, 0);
    go0(call_task); EXPECT(0x80, 0, call_back + 2); EQ(tss_16.ax, 0x1234); EQ(tss_16.bx, 0x5000); EQ(last.ax, 5); EQ(tss_16.link, 0x28);
    EQ(gdt[10] >> 40 & 0xff, 0x81);
    WRITE_CR(0, READ_CR(0) & ~8ul);
}

/* ---- stacks of 16 bits under a 32-bit kernel: the upper half of ESP stays out of it ---- */
CODE(ss_down, "mov %ebx,%ss; mov $0x2000,%esp; push %ecx; pop %edx; mov $0x1004,%esp; push %ecx\nss_down_at: push %ecx\n") LABEL(ss_down_at);
static void odd_stacks(void)
{
    gdt[10] = SEG_DESC(0x200000, 0xffff, 0x92, 0);
    struct regs r = base0(0); r.bx = 0x50; r.cx = 0x11223344;
    CODE(ss16_ok, "mov %ebx,%ss; mov $0xabcd8004,%esp; push %ecx; mov %esp,%edx; pop %edi; mov %esp,%ebp; mov $0x10,%esi; mov %esi,%ss; "
     "mov $stack_top-8192,%esp\n" CODE_END)
    r.ip = (u32)ss16_ok;
    enter(&r); EXPECT_END(); EQ(last.dx, 0xabcd8000); EQ(last.di, 0x11223344); EQ(last.bp, 0xabcd8004); EQ(*(u32 *)0x208000, 0x11223344);
    gdt[11] = SEG_DESC(0x200000, 0xfff, 0x96, 4);
    task_init(df_task, 0x89);                              /* #SS on a stack that ends: the handler needs another one */
    gdt[12] = gdt[10]; gdt[10] = SEG_DESC(0x200000, 0xffff, 0x92, 0);
    struct idt_entry old = idt[8], old12 = idt[12];
    gate(8, 0x60, 0, 0x8500); gate(12, 0x60, 0, 0x8500);
    r = base0(ss_down); r.bx = 0x58; r.cx = 0x55667788;
    enter(&r); EXPECT_END(); EQ(last.ax, 0); EQ(((struct tss32 *)tss)->ip, (u32)ss_down_at); EQ(((struct tss32 *)tss)->dx, 0x55667788);
    EQ(((struct tss32 *)tss)->sp, 0x1000);
    idt[8] = old; idt[12] = old12;
    gdt[5] &= ~(2ull << 40);
    __asm__ volatile("ltr %w0" : : "r"(0x28));
    WRITE_CR(0, READ_CR(0) & ~8ul);
}

/* ---- LDT ---- */
static void ldt(void)
{
    static u64 table[4];
    table[1] = SEG_DESC(0x200000, 0xfff, 0xf2, 4);
    gdt[10] = SEG_DESC((u32)table, 31, 0x82, 0);
    gdt[11] = SEG_DESC((u32)table, 31, 0x02, 0);
    CODE(lldt_, "lldt %ax\n" CODE_END)
    with_ax(lldt_, 0x10, 0); EXPECT(13, 0x10, lldt_);
    with_ax(lldt_, 0x58, 0); EXPECT(11, 0x58, lldt_);
    with_ax(lldt_, 0x54, 0); EXPECT(13, 0x54, lldt_);
    with_ax(lldt_, 0x50, 3); EXPECT(13, 0, lldt_);
    with_ax(lldt_, 0x50, 0); EXPECT_END();
    *(u32 *)0x200020 = 0x1357;
    struct regs r = base3(rd4); r.ax = 0x0f; r.bx = 0x20; enter(&r); EXPECT_END(); EQ(last.cx, 0x1357); EQ(last.ds, 0x0f);
    with_ax(ld_ds, 0x24, 0); EXPECT(13, 0x24, ld_ds);
    with_ax(ld_ds, 0x14, 0); EXPECT(13, 0x14, ld_ds);
    CODE(ltr_, "ltr %ax\n" CODE_END)
    with_ax(ltr_, 0x28, 0); EXPECT(13, 0x28, ltr_);       /* busy */
    with_ax(ltr_, 0, 0); EXPECT(13, 0, ltr_);
    with_ax(lldt_, 0, 0); EXPECT_END();
}

void main(void);
void main(void)
{
    RUN(exceptions);
    RUN(segment_loads);
    RUN(limits);
    RUN(code_limit);
    RUN(selectors);
    RUN(call_gates);
    RUN(iret_forms);
    RUN(gates);
    RUN(v86);
    RUN(tasks);
    RUN(double_fault);
    RUN(single_step);
    RUN(breakpoints);
    RUN(io_permission);
    RUN(alignment);
    RUN(sysenter);
    RUN(interrupts);
    RUN(code16);
    RUN(gates16);
    RUN(odd_stacks);
    RUN(ldt);
    finish();
}
