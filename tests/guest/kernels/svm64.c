/*
 * AMD SVM from a hypervisor's side: VMRUN's checks, each intercept, port and MSR maps, events injected, intercepted and virtual, nested paging
 * with its faults and flushes. The guest runs pieces of code that end with VMMCALL. Under duet it wants -cpu max,+svm. APM vol. 2 ch. 15.
 */
#include "kit.h"

#define VMMCALL "vmmcall\n"
#define EFER 0xc0000080u
enum { IDT_READ = 0x66, RDTSC = 0x6e, RDPMC, PUSHF, POPF, CPUID, RSM, IRET, INTN, INVD, PAUSE, HLT, INVLPG, INVLPGA, IOIO, MSR,
       SHUTDOWN = 0x7f, VMRUN, VMCALL, VMLOAD, VMSAVE, STGI, CLGI, RDTSCP = 0x87, ICEBP, WBINVD, NPF = 0x400 };
#define INVALID (~0ull)

struct seg { u16 sel, attr; u32 limit; u64 base; };
struct vmcb {
    u32 intercept[6]; u32 pad0[10];
    u64 iopm, msrpm, tsc_offset; u32 asid; u8 tlb_control, pad1[3]; u32 int_ctl, int_vector; u64 int_state, exit_code, info1, info2, int_info, np;
    u64 pad2[2]; u64 event_inj, ncr3, lbr; u32 clean, pad3; u64 next_rip; u8 pad4[0x400 - 0xd0];
    struct seg es, cs, ss, ds, fs, gs, gdt, ldt, idt, tr;
    u8 pad5[0xcb - 0xa0], cpl; u32 pad6; u64 efer; u8 pad7[0x148 - 0xd8];
    u64 cr4, cr3, cr0, dr7, dr6, rflags, rip; u8 pad8[0x1d8 - 0x180];
    u64 rsp, cet[3], rax, star, lstar, cstar, sfmask, kgs, sys_cs, sys_esp, sys_eip, cr2;
    u8 pad9[0x268 - 0x248]; u64 pat;
    u8 rest[0x990];
};
_Static_assert(sizeof(struct vmcb) == 4096 && __builtin_offsetof(struct vmcb, es) == 0x400 &&
               __builtin_offsetof(struct vmcb, rsp) == 0x5d8 && __builtin_offsetof(struct vmcb, pat) == 0x668 &&
               __builtin_offsetof(struct vmcb, cr4) == 0x548, "the layout of appendix B");

static struct vmcb vm __attribute__((aligned(4096))), host_state __attribute__((aligned(4096)));
static u8 iopm[12288] __attribute__((aligned(4096))), msrpm[8192] __attribute__((aligned(4096))), hsave[4096] __attribute__((aligned(4096)));
static u64 guest_stack[512] __attribute__((aligned(4096)));
static struct idt_entry guest_idt[256] __attribute__((aligned(4096)));
extern u64 pml4[512], pdpt[512], pd[4][512];
struct gregs { u64 bx, cx, dx, si, di, bp, r8, r9; };
static struct gregs gr;
void vm_enter(struct vmcb *, struct gregs *, struct vmcb *host);
void *memcpy(void *, const void *, ul);

__asm__(".text\nvm_enter: push %rbx; push %rbp; push %rdi; push %rsi; push %rdx\n"
        "mov %rdx, %rax; vmsave; mov %rdi, %rax; mov %rsi, %r8\n"
        "mov (%r8), %rbx; mov 8(%r8), %rcx; mov 16(%r8), %rdx; mov 24(%r8), %rsi; mov 32(%r8), %rdi; mov 40(%r8), %rbp\n"
        "mov 56(%r8), %r9; mov 48(%r8), %r8\n"
        "vmload; vmrun; vmsave\n"
        "push %r8; mov 16(%rsp), %r8\n"
        "mov %rbx, (%r8); mov %rcx, 8(%r8); mov %rdx, 16(%r8); mov %rsi, 24(%r8); mov %rdi, 32(%r8); mov %rbp, 40(%r8)\n"
        "mov %r9, 56(%r8); pop 48(%r8)\n"
        "mov (%rsp), %rax; vmload; pop %rdx; pop %rsi; pop %rdi; pop %rbp; pop %rbx; ret\n");

static void intercept(unsigned code, int on)
{
    u32 bit = 1u << (code & 31);
    vm.intercept[code >> 5] = on ? vm.intercept[code >> 5] | bit : vm.intercept[code >> 5] & ~bit;
}

/* A long-mode guest at CPL 0 that shares the kernel's tables and memory, at IP. */
static void prepare(void *ip)
{
    memset(&vm, 0, sizeof vm);
    memset(&gr, 0, sizeof gr);
    memset(iopm, 0, sizeof iopm);
    memset(msrpm, 0, sizeof msrpm);
    vm.cs = (struct seg){ 8, 0xa9b, 0xffffffff, 0 };
    vm.ss = vm.ds = vm.es = (struct seg){ 0x10, 0xc93, 0xffffffff, 0 };
    vm.gdt = (struct seg){ 0, 0, 255, (ul)gdt };
    vm.idt = (struct seg){ 0, 0, 4095, (ul)guest_idt };
    vm.tr = (struct seg){ 0x30, 0x8b, 104 + 8192, (ul)tss };
    vm.efer = rdmsr(EFER);
    vm.cr0 = READ_CR(0);
    vm.cr3 = READ_CR(3);
    vm.cr4 = READ_CR(4);
    vm.dr6 = 0xffff0ff0;
    vm.dr7 = 0x400;
    vm.rflags = 2;
    vm.rip = (ul)ip;
    vm.rsp = (ul)(guest_stack + 500);
    vm.rax = 0x1234;
    vm.pat = 0x0007040600070406ull;
    vm.asid = 1;
    vm.iopm = (ul)iopm;
    vm.msrpm = (ul)msrpm;
    intercept(VMRUN, 1);
    intercept(VMCALL, 1);
    intercept(SHUTDOWN, 1);
}

static void run(void) { vm_enter(&vm, &gr, &host_state); __asm__ volatile("stgi"); }
static void go(void *ip) { prepare(ip); run(); }
#define EXIT(code, at) do { EQ(vm.exit_code, code); EQ(vm.rip, (ul)(at)); } while (0)

CODE(nothing, VMMCALL)
CODE(vmrun_at, "mov %rbx,%rax; vmrun_op: vmrun\n" CODE_END) LABEL(vmrun_op);
CODE(stgi_at, "stgi\n" CODE_END)

static void unavailable(void)
{
    struct regs r = { .ip = (ul)vmrun_at, .cs = 8, .ds = 0x10, .es = 0x10, .ss = 0x10, .fl = 2, .sp = (ul)stack_top - 8192, .bx = (ul)&vm };
    u32 id[4];
    cpuid(0x80000001, 0, id);
    EQ(id[2] >> 2 & 1, 1);
    cpuid(0x8000000a, 0, id);
    EQ(id[0] & 0xff, 1);
    EQ(id[1] > 1, 1);
    EQ(id[3] & 9, 9);
    wrmsr(EFER, rdmsr(EFER) & ~0x1000ull);
    enter(&r); EXPECT(6, 0, vmrun_op);
    r.ip = (ul)stgi_at;
    enter(&r); EXPECT(6, 0, stgi_at);
    wrmsr(EFER, rdmsr(EFER) | 0x1000);
    wrmsr(0xc0010117, (ul)hsave);
    EQ(rdmsr(0xc0010117), (ul)hsave);
    EQ(rdmsr(0xc0010114) & 0x10, 0);
    r.ip = (ul)vmrun_at;
    r.bx = (ul)&vm + 8;
    enter(&r); EXPECT(13, 0, vmrun_op);
    r.bx = (ul)&vm;
    r.cs = 0x2b; r.ss = r.ds = r.es = 0x23; r.sp = (ul)user_stack_top;
    enter(&r); EXPECT(13, 0, vmrun_op);
}

CODE(registers_at, "add $1,%rax; lea 2(%rbx),%rbx; mov %rsp,%rcx; mov %cr0,%rdx; stc\nreg_end:" VMMCALL) LABEL(reg_end);
static void registers(void)
{
    prepare(registers_at);
    gr.bx = 40;
    gr.bp = 0x77;
    run();
    EXIT(VMCALL, reg_end);
    EQ(vm.next_rip, (ul)reg_end + 3);
    EQ(vm.rax, 0x1235);
    EQ(gr.bx, 42);
    EQ(gr.bp, 0x77);
    EQ(gr.cx, (ul)(guest_stack + 500));
    EQ(gr.dx, READ_CR(0));
    EQ(vm.rflags & 1, 1);
    EQ(vm.info1, 0);
    EQ(vm.int_info, 0);
    EQ(vm.cpl, 0);
    EQ(vm.cs.attr, 0xa9b);
    EQ(vm.ss.attr, 0xc93);
    EQ(vm.idt.limit, 4095);
}

CODE(user_at, "mov %cs,%eax\nuser_end:" VMMCALL) LABEL(user_end);
static void user_mode(void)
{
    prepare(user_at);
    vm.cs = (struct seg){ 0x2b, 0xafb, 0xffffffff, 0 };
    vm.ss = (struct seg){ 0x23, 0xcf3, 0xffffffff, 0 };
    vm.cpl = 3;
    run();
    EXIT(VMCALL, user_end);
    EQ(vm.rax, 0x2b);
    EQ(vm.cpl, 3);
}

static void invalid(void)
{
#define BAD(change) do { prepare(nothing); change; run(); EXIT(INVALID, nothing); } while (0)
    BAD(vm.asid = 0);
    BAD(intercept(VMRUN, 0));
    BAD(vm.efer &= ~0x1000ull);
    BAD(vm.cr0 |= 1ull << 29; vm.cr0 &= ~(1ull << 30));
    BAD(vm.cr0 |= 1ull << 32);
    BAD(vm.dr7 |= 1ull << 32);
    BAD(vm.dr6 |= 1ull << 32);
    BAD(vm.cr4 |= 1ull << 40);
    BAD(vm.efer |= 1ull << 40);
    BAD(vm.cr4 &= ~0x20ull);
    BAD(vm.cs.attr |= 0x400);
    BAD(vm.event_inj = 0x80000500);
    prepare(nothing);
    run();
    EXIT(VMCALL, nothing);
}

/* ---- instructions ---- */
#define PIECE(name, text) CODE(name, text "\n" #name "_end:" VMMCALL) LABEL(name ## _end);
PIECE(i_cpuid, "cpuid") PIECE(i_rdtsc, "rdtsc") PIECE(i_rdtscp, "rdtscp") PIECE(i_pushf, "pushf") PIECE(i_popf, "popf") PIECE(i_wbinvd, "wbinvd")
PIECE(i_pause, "pause") PIECE(i_invlpg, "invlpg (%rbx)") PIECE(i_rcr0, "mov %cr0,%rcx") PIECE(i_rcr3, "mov %cr3,%rcx") PIECE(i_wcr3, "mov %rbx,%cr3")
PIECE(i_rcr4, "mov %cr4,%rcx") PIECE(i_wcr4, "mov %rdx,%cr4") PIECE(i_rdr0, "mov %dr0,%rcx") PIECE(i_wdr7, "mov %r8,%dr7")
PIECE(i_sidt, "sidt -16(%rsp)")
PIECE(i_sgdt, "sgdt -16(%rsp)") PIECE(i_sldt, "sldt %ecx") PIECE(i_str, "str %ecx") PIECE(i_stgi, "stgi") PIECE(i_clgi, "clgi")
PIECE(i_vmload, "vmload")
PIECE(i_vmsave, "vmsave") PIECE(i_invlpga, "invlpga") PIECE(i_clts, "clts") PIECE(i_smsw, "smsw %ecx") PIECE(i_rcr8, "mov %cr8,%rcx")

static void instructions(void)
{
    static const struct { u8 *at, *end; u16 code; u8 len; } t[] = {
        { i_cpuid, i_cpuid_end, CPUID, 2 }, { i_rdtsc, i_rdtsc_end, RDTSC, 2 }, { i_rdtscp, i_rdtscp_end, RDTSCP, 3 },
        { i_pushf, i_pushf_end, PUSHF, 1 },
        { i_popf, i_popf_end, POPF, 1 }, { i_wbinvd, i_wbinvd_end, WBINVD, 2 }, { i_pause, i_pause_end, PAUSE, 2 },
        { i_invlpg, i_invlpg_end, INVLPG, 3 },
        { i_rcr0, i_rcr0_end, 0, 3 }, { i_rcr3, i_rcr3_end, 3, 3 }, { i_wcr3, i_wcr3_end, 0x13, 3 }, { i_rcr4, i_rcr4_end, 4, 3 },
        { i_wcr4, i_wcr4_end, 0x14, 3 },
        { i_rdr0, i_rdr0_end, 0x20, 3 }, { i_wdr7, i_wdr7_end, 0x37, 4 }, { i_sidt, i_sidt_end, 0x66, 5 }, { i_sgdt, i_sgdt_end, 0x67, 5 },
        { i_sldt, i_sldt_end, 0x68, 3 }, { i_str, i_str_end, 0x69, 3 }, { i_stgi, i_stgi_end, STGI, 3 }, { i_clgi, i_clgi_end, CLGI, 3 },
        { i_vmload, i_vmload_end, VMLOAD, 3 }, { i_vmsave, i_vmsave_end, VMSAVE, 3 }, { i_invlpga, i_invlpga_end, INVLPGA, 3 },
        { i_clts, i_clts_end, 0x10, 2 },
        { i_smsw, i_smsw_end, 0, 3 }, { i_rcr8, i_rcr8_end, 8, 4 } };
    for (unsigned i = 0; i < sizeof t / sizeof t[0]; i++) {
        for (int on = 0; on < 2; on++) {
            prepare(t[i].at);
            gr.bx = vm.cr3;
            gr.dx = vm.cr4;
            gr.r8 = 0x400;
            vm.rax = (ul)&host_state;
            guest_stack[500] = 2;
            intercept(t[i].code, on);
            run();
            EXIT(on ? t[i].code : VMCALL, on ? t[i].at : t[i].end);
            EQ(vm.next_rip, (ul)t[i].at + t[i].len + (on ? 0 : 3));
        }
    }
}

PIECE(i_invpcid, "invpcid (%rbx),%rcx") CODE(hlt_at, "sti; hlt\nhlt_end:" VMMCALL) LABEL(hlt_end);
CODE(rsm_at, "int $0x30\nint_end:" VMMCALL) LABEL(int_end);
PIECE(cr0_ts, "mov %cr0,%rcx; or $8,%rcx; mov %rcx,%cr0")
PIECE(cr0_wp, "mov %cr0,%rcx; xor $0x10000,%rcx\ncr0_wp_at: mov %rcx,%cr0") LABEL(cr0_wp_at);
CODE(handler_at, VMMCALL)
static void set_handler(unsigned n, void *at)
{
    guest_idt[n] = (struct idt_entry){ .lo = (u16)(ul)at, .sel = 8, .attr = 0x8e00, .mid = (u16)((ul)at >> 16) };
}

static void more_instructions(void)
{
    prepare(hlt_at);
    intercept(HLT, 1);
    run();
    EXIT(HLT, (ul)hlt_at + 1);
    EQ(vm.int_state & 1, 1);
    EQ(vm.next_rip, (ul)hlt_end);
    EQ(vm.rflags & 0x200, 0x200);
    u32 id[4];
    cpuid(7, 0, id);
    for (int on = 0; on < 2 && id[1] >> 10 & 1; on++) {    /* the one that tells its operands */
        prepare(i_invpcid);
        gr.bx = (ul)guest_stack;
        gr.cx = 2;
        memset(guest_stack, 0, 16);
        intercept(0xa2, on);
        run();
        EXIT(on ? 0xa2 : VMCALL, on ? i_invpcid : i_invpcid_end);
        EQ(vm.info1, on ? (ul)guest_stack : 0);
        EQ(vm.info2, on ? 2 : 0);
    }
    prepare(rsm_at);
    intercept(INTN, 1);
    run();
    EXIT(INTN, rsm_at);
    EQ(vm.next_rip, (ul)int_end);
    set_handler(0x30, handler_at);
    guest_idt[0x30].attr |= 0x6000;
    go(rsm_at);
    EXIT(VMCALL, handler_at);
    EQ(*(u64 *)vm.rsp, (ul)int_end);
    prepare(cr0_ts);
    intercept(0x65, 1);
    run();
    EXIT(VMCALL, cr0_ts_end);
    EQ(vm.cr0 & 8, 8);
    prepare(cr0_wp);
    intercept(0x65, 1);
    run();
    EXIT(0x65, cr0_wp_at);
    EQ(READ_CR(0) & 8, 0);
    prepare(rsm_at);                                       /* no IDT: #GP, #DF, shutdown */
    vm.idt.limit = 0;
    run();
    EQ(vm.exit_code, SHUTDOWN);
}

/* ---- exceptions ---- */
CODE(ud_at, "ud2\n") CODE(de_at, "xor %edx,%edx; mov $1,%eax; xor %ecx,%ecx\nde_op: div %ecx\n") LABEL(de_op);
CODE(gp_at, "mov $0x1238,%eax\ngp_op: mov %eax,%ds\n") LABEL(gp_op);
CODE(pf_at, "mov %rax,(%rbx)\n") CODE(bp_at, "int3\nbp_end:" VMMCALL) LABEL(bp_end);
CODE(icebp_at, ".byte 0xf1\nicebp_end:" VMMCALL) LABEL(icebp_end);
CODE(xsetbv_at, ".byte 0x0f,0x01,0xd1\n")
static void exceptions(void)
{
    prepare(xsetbv_at); intercept(0x46, 1); intercept(0x8d, 1); vm.cr4 &= ~0x40000ull; run();        /* #UD comes before the intercept */
    EXIT(0x46, xsetbv_at);
    prepare(xsetbv_at); intercept(0x46, 1); intercept(0x8d, 1); vm.cr4 |= 0x40000; run();
    EXIT(0x8d, xsetbv_at);
    prepare(ud_at); intercept(0x46, 1); run();
    EXIT(0x46, ud_at);
    prepare(de_at); intercept(0x40, 1); run();
    EXIT(0x40, de_op);
    prepare(gp_at); intercept(0x4d, 1); run();
    EXIT(0x4d, gp_op);
    EQ(vm.info1, 0x1238);
    u64 cr2 = READ_CR(2);
    prepare(pf_at); intercept(0x4e, 1); gr.bx = 0x7f1234567008; run();
    EXIT(0x4e, pf_at);
    EQ(vm.info1, 2);
    EQ(vm.info2, 0x7f1234567008);
    EQ(READ_CR(2) == 0x7f1234567008, 0);
    WRITE_CR(2, cr2);
    prepare(bp_at); intercept(0x43, 1); run();
    EXIT(0x43, bp_at);
    prepare(icebp_at); intercept(ICEBP, 1); run();
    EXIT(ICEBP, icebp_at);
    set_handler(14, handler_at);
    prepare(pf_at); gr.bx = 0x7f1234567010; run();         /* its own handler */
    EXIT(VMCALL, handler_at);
    EQ(vm.cr2, 0x7f1234567010);
    EQ(*(u64 *)vm.rsp, 2);
    guest_idt[14].attr = 0xe00;                              /* the handler is not there: #NP, contributory after #PF */
    prepare(pf_at); gr.bx = 0x7f1234567018; intercept(0x4b, 1); run();
    EXIT(0x4b, pf_at);
    EQ(vm.info1, 14 * 8 + 3);
    EQ(vm.int_info, 0x80000b0e | 2ull << 32);
}

/* ---- ports and MSRs ---- */
CODE(out_at, "out %al,$0x80\nout_2: mov $0x1f7,%edx; out_3: in (%dx),%eax\n"
     "out_4: mov $0x44,%edx; mov %rsp,%rsi; mov $3,%ecx\nout_5: rep outsw\nout_end:" VMMCALL)
LABEL(out_2); LABEL(out_3); LABEL(out_4); LABEL(out_5); LABEL(out_end);
static void ports(void)
{
    prepare(out_at); intercept(IOIO, 1);
    iopm[0x80 / 8] = 1;
    iopm[0x1fa / 8] = 4;                                   /* the last byte of the access at 1f7h */
    iopm[0x45 / 8] |= 0x20;
    run();
    EXIT(IOIO, out_at);
    EQ(vm.info1, 0x80 << 16 | 0x210);
    EQ(vm.info2, (ul)out_2);
    vm.rip = vm.info2;
    run();
    EXIT(IOIO, out_3);
    EQ(vm.info1, 0x1f7 << 16 | 0x241);
    EQ(vm.info2, (ul)out_4);
    vm.rip = vm.info2;
    run();
    EXIT(IOIO, out_5);
    EQ(vm.info1 & 0xffff03ff, 0x44 << 16 | 0x22c);
    EQ(vm.info2, (ul)out_end);
    EQ(gr.cx, 3);
    gr.cx = 0;
    run();
    EXIT(VMCALL, out_end);
}

CODE(msr_at, "mov $0xc0000082,%ecx; rdmsr\nmsr_2: mov $0x174,%ecx; xor %edx,%edx; msr_3: wrmsr\nmsr_4: mov $0x40000000,%ecx\nmsr_5: rdmsr\n")
LABEL(msr_2); LABEL(msr_3); LABEL(msr_4); LABEL(msr_5);
static void msrs(void)
{
    prepare(msr_at); intercept(MSR, 1);
    msrpm[0x800 + 0x82 / 4] = 1 << (0x82 % 4 * 2);
    msrpm[0x174 / 4] = 2 << (0x174 % 4 * 2);
    run();
    EXIT(MSR, (ul)msr_2 - 2);
    EQ(vm.info1, 0);
    vm.rip = (ul)msr_2;
    run();
    EXIT(MSR, msr_3);
    EQ(vm.info1, 1);
    EQ(vm.next_rip, (ul)msr_4);
    vm.rip = (ul)msr_4;
    run();
    EXIT(MSR, msr_5);
}

/* ---- injected events ---- */
static void inject(void)
{
    for (unsigned n = 0; n < 256; n++)
        set_handler(n, handler_at);
    prepare(nothing);
    vm.event_inj = 0x80000041;                             /* interrupt, in spite of IF */
    run();
    EXIT(VMCALL, handler_at);
    EQ(((u64 *)vm.rsp)[0], (ul)nothing);
    EQ(((u64 *)vm.rsp)[1], 8);
    EQ(vm.event_inj >> 31 & 1, 0);
    prepare(nothing);
    vm.event_inj = 0x80000b0d | 0x56ull << 32;
    run();
    EXIT(VMCALL, handler_at);
    EQ(((u64 *)vm.rsp)[0], 0x56);
    EQ(((u64 *)vm.rsp)[1], (ul)nothing);
    prepare(nothing);
    vm.event_inj = 0x80000202;
    run();
    EXIT(VMCALL, handler_at);
    prepare(nothing);                                      /* a software interrupt has the address of the next instruction from the VMCB */
    vm.event_inj = 0x80000430;
    guest_idt[0x30].attr |= 0x6000;
    vm.next_rip = (ul)nothing + 3;
    run();
    EXIT(VMCALL, handler_at);
    EQ(((u64 *)vm.rsp)[0], (ul)nothing + 3);
    prepare(nothing);                                      /* its delivery faults */
    vm.event_inj = 0x80000041;
    vm.idt.limit = 100;
    intercept(0x4d, 1);
    run();
    EXIT(0x4d, nothing);
    EQ(vm.info1, 0x41 * 8 + 3);
    EQ(vm.int_info, 0x80000041);
}

/* ---- interrupts ---- */
CODE(sti_at, "sti; nop\nsti_2: nop\n" VMMCALL) LABEL(sti_2);
CODE(cr8_at, "sti; nop; nop\ncr8_2: mov %rbx,%cr8\ncr8_3: nop\n" VMMCALL) LABEL(cr8_2); LABEL(cr8_3);
static void virtual_interrupts(void)
{
    prepare(sti_at);
    vm.int_ctl = 0x100 | 5 << 16 | 1 << 24;
    vm.int_vector = 0x55;
    run();
    EXIT(VMCALL, handler_at);
    EQ(*(u64 *)vm.rsp, (ul)sti_2);
    EQ(vm.int_ctl & 0x100, 0);
    prepare(sti_at);                                       /* intercepted: it stays pending */
    vm.int_ctl = 0x100 | 5 << 16 | 1 << 24;
    intercept(0x64, 1);
    run();
    EXIT(0x64, sti_2);
    EQ(vm.int_ctl & 0x100, 0x100);
    prepare(cr8_at);                                       /* below V_TPR until the guest lowers it */
    vm.int_ctl = 0x100 | 5 << 16 | 1 << 24 | 7;
    gr.bx = 4;
    run();
    EXIT(VMCALL, handler_at);
    EQ(*(u64 *)vm.rsp, (ul)cr8_3);
    EQ(vm.int_ctl & 15, 4);
    EQ(READ_CR(8), 0);
    prepare(cr8_at);                                       /* V_IGN_TPR */
    vm.int_ctl = 0x100 | 5 << 16 | 1 << 24 | 7 | 1 << 20;
    run();
    EXIT(VMCALL, handler_at);
    EQ(*(u64 *)vm.rsp, (ul)cr8_at + 2);
    prepare(nothing);                                      /* in an interrupt shadow the next instruction comes first */
    vm.rip = (ul)sti_at + 1;
    vm.rflags = 0x202;
    vm.int_state = 1;
    vm.int_ctl = 0x100 | 5 << 16 | 1 << 24;
    run();
    EXIT(VMCALL, handler_at);
    EQ(*(u64 *)vm.rsp, (ul)sti_2);
}

static volatile u32 *const apic = (volatile u32 *)0xfee00000;
static void ipi(u32 icr) { apic[0x310 / 4] = 0; apic[0x300 / 4] = icr; }
CODE(open_at, "stgi; sti; nop; nop\n" CODE_END) CODE(stgi_nop, "stgi; nop; nop\n" CODE_END) CODE(spin, "1: pause; jmp 1b\n")
static void host_code(void *ip)
{
    struct regs r = { .ip = (ul)ip, .cs = 8, .ds = 0x10, .es = 0x10, .ss = 0x10, .fl = 2, .sp = (ul)stack_top - 8192 };
    enter(&r);
}

static void physical_interrupts(void)
{
    apic[0xf0 / 4] = 0x1ff;
    prepare(spin);                                         /* intercepted, not acknowledged; the guest's IF does not matter */
    vm.int_ctl = 1 << 24;
    intercept(0x60, 1);
    ipi(0x40041);
    __asm__ volatile("clgi; sti; nop" ::: "memory");
    vm_enter(&vm, &gr, &host_state);
    __asm__ volatile("cli");
    EXIT(0x60, spin);
    host_code(open_at);
    EQ(last.vec, 0x41);
    apic[0xb0 / 4] = 0;
    prepare(spin);                                         /* not intercepted: the guest's own IF and IDT */
    vm.rflags = 0x202;
    ipi(0x40042);
    run();
    EXIT(VMCALL, handler_at);
    EQ(((u64 *)vm.rsp)[2] & 0x200, 0x200);
    apic[0xb0 / 4] = 0;
    prepare(spin);
    intercept(0x61, 1);
    __asm__ volatile("clgi");
    ipi(0x40400);                                          /* NMI */
    vm_enter(&vm, &gr, &host_state);
    EXIT(0x61, spin);
    host_code(stgi_nop);
    EQ(last.vec, 2);
}

/* ---- time, VMLOAD and VMSAVE ---- */
CODE(tsc_at, "rdtsc; shl $32,%rdx; or %rdx,%rax\n" VMMCALL)
static void tsc_offset(void)
{
    prepare(tsc_at);
    vm.tsc_offset = 1ull << 50;
    u64 before = rdtsc();
    run();
    u64 after = rdtsc();
    EQ(vm.rax - (1ull << 50) - before < after - before, 1);
    EQ(after - before < 1ull << 40, 1);
}

CODE(msr_set, "mov $0xc0000102,%ecx; mov $0x5678,%eax; xor %edx,%edx; wrmsr\n" VMMCALL)
static void load_and_save(void)
{
    wrmsr(0xc0000102, 0x1111);
    prepare(msr_set);
    vm.kgs = 0x2222;
    vm.lstar = 0x3333;
    vm.fs = (struct seg){ 0x10, 0xc93, 0xfffff, 0x4444 };
    run();
    EQ(vm.kgs, 0x5678);
    EQ(vm.lstar, 0x3333);
    EQ(vm.fs.base, 0x4444);
    EQ(vm.tr.sel, 0x30);
    EQ(rdmsr(0xc0000102), 0x1111);
    wrmsr(0xc0000102, 0);
}

/* ---- nested paging ---- */
#define GPA 0x40000000ul
#define PA 0x800000ul
static u64 npml4[512] __attribute__((aligned(4096))), npdpt[512] __attribute__((aligned(4096))), npd[512] __attribute__((aligned(4096))),
    npt[512] __attribute__((aligned(4096)));

/* Identity, but for a window of 4 KiB pages at GPA. */
static void nested(void *ip)
{
    prepare(ip);
    memcpy(npml4, pml4, 4096);
    memcpy(npdpt, pdpt, 4096);
    memset(npd, 0, 4096);
    memset(npt, 0, 4096);
    npml4[0] = (ul)npdpt | 7;
    npdpt[1] = (ul)npd | 7;
    npd[0] = (ul)npt | 7;
    vm.np = 1;
    vm.ncr3 = (ul)npml4;
    vm.tlb_control = 1;
    gr.bx = GPA + 0x1010;
}

CODE(np_rd, "mov (%rbx),%rcx\n" VMMCALL) CODE(np_wr, "mov %rax,(%rbx)\n" VMMCALL) CODE(np_ex, "jmp *%rbx\n")
CODE(np_rw, "mov (%rbx),%rcx; mov %rax,(%rbx)\n" VMMCALL)
#define FAULT(at, i1, i2) do { EXIT(NPF, at); EQ(vm.info1, i1); EQ(vm.info2, i2); } while (0)
#define FINAL (1ull << 32)
#define TABLE (1ull << 33)

static void nested_faults(void)
{
    nested(np_rd); run(); FAULT(np_rd, 4 | FINAL, GPA + 0x1010);
    nested(np_wr); run(); FAULT(np_wr, 6 | FINAL, GPA + 0x1010);
    nested(np_ex); run(); FAULT(GPA + 0x1010, 0x14 | FINAL, GPA + 0x1010);
    nested(np_wr); npt[1] = PA | 5; run(); FAULT(np_wr, 7 | FINAL, GPA + 0x1010);
    nested(np_rd); npt[1] = PA | 3; run(); FAULT(np_rd, 5 | FINAL, GPA + 0x1010);      /* nested user bit */
    nested(np_ex); npt[1] = PA | 7 | 1ull << 63; run(); FAULT(GPA + 0x1010, 0x15 | FINAL, GPA + 0x1010);
    nested(np_rd); npt[1] = PA | 7 | 1ull << 51; run(); FAULT(np_rd, 0xd | FINAL, GPA + 0x1010);
    *(u64 *)(PA + 0x10) = 0x1122334455667788;
    nested(np_rd); npt[1] = PA | 7; run();
    EQ(vm.exit_code, VMCALL);
    EQ(gr.cx, 0x1122334455667788);
    EQ(npt[1] & 0x60, 0x20);
    nested(np_rw); npt[1] = PA | 7; run();                 /* dirty only by the write */
    EQ(vm.exit_code, VMCALL);
    EQ(npt[1] & 0x60, 0x60);
    EQ(*(u64 *)(PA + 0x10), 0x1234);
    nested(np_rw); npt[1] = PA | 5; run();
    FAULT((ul)np_rw + 3, 7 | FINAL, GPA + 0x1010);
    npt[1] |= 2; run();                                    /* more rights need no flush */
    EQ(vm.exit_code, VMCALL);
}

/* The guest's own tables in the window: page 5 its root, 6 to 8 below; page 9 mapped at VA 80_0000_0000h. */
static void own_tables(void *ip)
{
    nested(ip);
    for (unsigned i = 1; i < 10; i++)
        npt[i] = (PA + i * 4096) | 7;
    u64 *root = (u64 *)(PA + 0x5000), *l3 = (u64 *)(PA + 0x6000), *l2 = (u64 *)(PA + 0x7000), *l1 = (u64 *)(PA + 0x8000);
    memcpy(root, pml4, 4096);
    memset(l3, 0, 4096 * 3);
    root[1] = (GPA + 0x6000) | 7;
    l3[0] = (GPA + 0x7000) | 7;
    l2[0] = (GPA + 0x8000) | 7;
    l1[1] = (GPA + 0x9000) | 7;
    vm.cr3 = GPA + 0x5000;
    gr.bx = 0x8000001010ul;
}

static void nested_tables(void)
{
    own_tables(np_rw);
    *(u64 *)(PA + 0x9010) = 77;
    run();
    EQ(vm.exit_code, VMCALL);
    EQ(gr.cx, 77);
    EQ(*(u64 *)(PA + 0x9010), 0x1234);
    EQ(*(u64 *)(PA + 0x8008) & 0x60, 0x60);
    EQ(npt[8] & 0x60, 0x60);                               /* a table is written by walking it */
    own_tables(np_rd); npt[7] = 0; run();
    FAULT(np_rd, 6 | TABLE, GPA + 0x7000);
    own_tables(np_rd); npt[8] = (PA + 0x8000) | 5; run();
    FAULT(np_rd, 7 | TABLE, GPA + 0x8008);
    own_tables(np_rd); npt[9] = 0; run();
    FAULT(np_rd, 4 | FINAL, GPA + 0x9010);
    own_tables(np_wr); *(u64 *)(PA + 0x8008) = (GPA + 0x9000) | 5; npt[9] = 0; vm.cr0 |= 0x10000; intercept(0x4e, 1); run();
    EXIT(0x4e, np_wr);                                     /* the guest's own fault comes first */
    EQ(vm.info1, 3);
    EQ(vm.info2, 0x8000001010ul);
    own_tables(np_rd);                                     /* a large page of the guest over small nested ones */
    ((u64 *)(PA + 0x7000))[0] = GPA | 0x87;
    gr.bx = 0x8000003010ul;
    *(u64 *)(PA + 0x13010) = 99;
    npt[3] = (PA + 0x13000) | 7;
    run();
    EQ(gr.cx, 99);
    gr.bx = 0x8000004010ul;
    npt[4] = 0;
    vm.tlb_control = 1;
    vm.rip = (ul)np_rd;
    run();
    FAULT(np_rd, 4 | FINAL, GPA + 0x4010);
}

CODE(pte_change, "mov (%rbx),%rcx; mov %rdx,(%rsi); invlpg (%rbx); mov (%rbx),%rdi\n" VMMCALL)
static void nested_changes(void)
{
    own_tables(pte_change);                                /* the guest changes its own table */
    npt[10] = (PA + 0xa000) | 7;
    npt[8] |= 0x60;
    *(u64 *)(PA + 0x9010) = 1;
    *(u64 *)(PA + 0xa010) = 2;
    ((u64 *)(PA + 0x8000))[2] = (GPA + 0x8000) | 7;        /* its last table, where it can reach it */
    gr.si = 0x8000002008ul;
    gr.dx = (GPA + 0xa000) | 7;
    run();
    EQ(vm.exit_code, VMCALL);
    EQ(gr.cx, 1);
    EQ(gr.di, 2);
    static const u8 how[] = { 1, 3, 0, 0 };
    for (unsigned i = 0; i < 4; i++) {                     /* the host changes the nested one, and flushes: all, ASID, new ASID, INVLPGA */
        nested(np_rd);
        *(u64 *)(PA + 0x1010) = 11;
        *(u64 *)(PA + 0x2010) = 22;
        npt[1] = (PA + 0x1000) | 7;
        run();
        EQ(gr.cx, 11);
        npt[1] = (PA + 0x2000) | 7;
        vm.tlb_control = how[i];
        if (i == 2)
            vm.asid = 2;
        if (i == 3)
            __asm__ volatile("invlpga" : : "a"(GPA + 0x1010), "c"(1) : "memory");
        vm.rip = (ul)np_rd;
        run();
        EQ(gr.cx, 22);
    }
    nested(np_rd);                                         /* two guests with equal tables of their own and other nested ones */
    npt[1] = (PA + 0x1000) | 7;
    run();
    EQ(gr.cx, 11);
    static u64 other[512] __attribute__((aligned(4096)));
    memcpy(other, npml4, 4096);
    static u64 other3[512] __attribute__((aligned(4096))), other2[512] __attribute__((aligned(4096)));
    memcpy(other3, npdpt, 4096);
    other[0] = (ul)other3 | 7;
    other3[1] = (ul)other2 | 7;
    other2[0] = (PA & ~0x1ffffful) | 0xe7;
    vm.ncr3 = (ul)other;
    vm.asid = 3;
    vm.tlb_control = 0;
    for (unsigned i = 0; i < 4; i++) {
        *(u64 *)((PA & ~0x1ffffful) + 0x1010) = 33;
        vm.rip = (ul)np_rd;
        vm.ncr3 = i & 1 ? (ul)npml4 : (ul)other;
        vm.asid = i & 1 ? 1 : 3;
        run();
        EQ(gr.cx, i & 1 ? *(u64 *)(PA + 0x1010) : 33);
    }
}

static void unpaged_guest(void)
{
    nested(0);
    npt[0] = (PA + 0x3000) | 7;
    npdpt[0] = (ul)npd | 7;                                /* GPA 0 is the window */
    /* 16-bit: mov $0x5678,%ax; mov %ax,0x10; vmmcall; then hlt */
    static const u8 real[] = { 0xb8, 0x78, 0x56, 0xa3, 0x10, 0x00, 0x0f, 0x01, 0xd9, 0xa1, 0x00, 0x20 };
    memcpy((void *)(PA + 0x3100), real, sizeof real);
    vm.efer = 0x1000;
    vm.cr0 = 0x10;
    vm.cr4 = 0;
    vm.cr3 = 0;
    vm.cs = (struct seg){ 0, 0x9b, 0xffff, 0 };
    vm.ss = vm.ds = vm.es = (struct seg){ 0, 0x93, 0xffff, 0 };
    vm.rip = 0x100;
    vm.idt = (struct seg){ 0, 0, 0x3ff, 0 };
    run();
    EXIT(VMCALL, 0x106);
    EQ(vm.rax & 0xffff, 0x5678);
    EQ(*(u16 *)(PA + 0x3010), 0x5678);
    EQ(vm.cpl, 0);
    vm.rip = 0x109;                                        /* reads 2000h, which is not mapped */
    run();
    FAULT(0x109, 4 | FINAL, 0x2000);
}

/* Legacy protected mode without paging of its own: a far jump and an interrupt through task gates. */
static void task_switch(void)
{
    static const u8 jump[] = { 0xea, 0, 0, 0, 0, 0x38, 0 }, soft[] = { 0xcd, 0x31 };
    u64 free = gdt[7];
    gdt[7] = SEG_DESC((ul)tss, 103, 0x89, 0);
    for (unsigned i = 0; i < 2; i++) {
        nested(0);
        npt[2] = (PA + 0x4000) | 7;
        memcpy((void *)(PA + 0x4100), i ? soft : jump, i ? sizeof soft : sizeof jump);
        ((u64 *)(PA + 0x4800))[0x31] = 0x0000e50000380000ull;          /* task gate, DPL 3 */
        vm.efer = 0x1000;
        vm.cr0 = 0x11;
        vm.cr4 = 0;
        vm.cs = (struct seg){ 0x18, 0xc9b, 0xffffffff, 0 };
        vm.idt = (struct seg){ 0, 0, 0x7ff, GPA + 0x2800 };
        vm.rsp = GPA + 0x2800;
        vm.rip = GPA + 0x2100;
        intercept(0x7d, 1);
        run();
        EXIT(0x7d, GPA + 0x2100);
        EQ(vm.info1, 0x38);
        EQ(vm.info2, i ? 0 : 1ull << 38);
        EQ(vm.int_info, i ? 0x80000431 : 0);
    }
    gdt[7] = free;
}

/* Whatever a VMCB says, VMRUN comes back, by the timer at the latest, and the host is as it was. */
static u64 seed = 88172645463325252ull;
static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void odd_state(void)
{
    static const u64 cr0[] = { 0x10, 0x11, 0x80000011, 0x80010033, 0x80000010, 0x80050033 }, efer[] = { 0x1000, 0x1500, 0x1d01, 0x1900, 0x1100 };
    struct seg *s[] = { &vm.es, &vm.cs, &vm.ss, &vm.ds, &vm.fs, &vm.gs, &vm.ldt, &vm.tr };
    vm.cr0 = cr0[rnd() % 6];
    vm.efer = efer[rnd() % 5];
    vm.cr4 = rnd() & 0x7ff;
    if (rnd() % 4)
        vm.cr4 |= 0x20;
    vm.rflags = rnd() & 0x3f7fd5;
    vm.cpl = rnd() & 3;
    for (unsigned i = 0; i < 8; i++)
        if (rnd() & 1)
            *s[i] = (struct seg){ (u16)rnd(), (u16)(rnd() & 0xfff), (u32)(rnd() & 1 ? rnd() : 0xffffffff), rnd() & 3 ? 0 : rnd() >> (rnd() & 63) };
    if (!(rnd() & 3))
        vm.rip = rnd() >> (rnd() & 63);
    if (!(rnd() & 3))
        vm.rsp = rnd() >> (rnd() & 63);
    if (!(rnd() & 3))
        vm.idt.limit = (u32)rnd() & 0xfff;
    if (!(rnd() & 3))
        vm.event_inj = (rnd() & 0xff) | (rnd() & 0xf00) | 0x80000000;
    vm.dr7 = rnd() & 1 ? 0x400 : rnd() & 0xffff27ff;
    vm.int_state = rnd() & 1;
    vm.int_ctl = 1 << 24 | (rnd() & 0x1f010f);
    vm.int_vector = (u32)rnd() & 0xff;
    vm.intercept[2] = rnd() & 1 ? ~0u : (u32)rnd();
    vm.asid = 1 + rnd() % 5;
}

/* Nothing of the host's can be written but what walking the kernel's tables needs. */
static void fence_in(void)
{
    static u64 low[512] __attribute__((aligned(4096))), npd0[512] __attribute__((aligned(4096)));
    for (ul i = 0; i < 512; i++) {
        ul at = i * 4096;
        int open = at == (ul)pml4 || at == (ul)pdpt || (at >= (ul)pd && at < (ul)pd + 4 * 4096) || at == (ul)guest_stack;
        low[i] = at | (open ? 7 : 5);
    }
    memcpy(npd0, pd[0], 4096);
    npd0[0] = (ul)low | 7;
    npdpt[0] = (ul)npd0 | 7;
    npdpt[2] = npdpt[3] = 0;
    memset(iopm, 0xff, sizeof iopm);
    memset(msrpm, 0xff, sizeof msrpm);
}

static u64 kind(u64 code)
{
    switch (code) {
    case INVALID: return 1;
    case NPF: return 2;
    case 0x60: return 4;
    case SHUTDOWN: return 8;
    case VMCALL: return 16;
    case 0x40 ... 0x5f: return 32;
    case IOIO: case MSR: return 0;
    default: return 64;
    }
}

static void odd_guests(void)
{
    static u8 *const pieces[] = { 0, nothing, pf_at, ud_at, i_popf, registers_at, sti_at, spin, gp_at };
    u64 cr4 = READ_CR(4), efer = rdmsr(EFER), codes = 0;
    apic[0x3e0 / 4] = 0xb;                                 /* the timer: divided by one, once, vector 43h */
    apic[0x320 / 4] = 0x43;
    for (unsigned i = 0; i < 3000; i++) {
        nested(pieces[1 + rnd() % 8]);
        if (rnd() & 1)
            npt[1] = PA | 7;
        gr.bx = rnd() & 1 ? GPA + 0x1000 : rnd();
        odd_state();
        fence_in();
        intercept(0x60, 1);
        intercept(IOIO, 1);
        intercept(MSR, 1);
        apic[0x380 / 4] = 100000;
        __asm__ volatile("clgi; sti; nop" ::: "memory");
        vm_enter(&vm, &gr, &host_state);
        __asm__ volatile("cli; stgi" ::: "memory");
        apic[0x380 / 4] = 0;
        if (apic[0x220 / 4] & 8)                           /* it was the timer: let it through */
            host_code(open_at), apic[0xb0 / 4] = 0;
        codes |= kind(vm.exit_code);
        EQ(READ_CR(4), cr4);
        EQ(rdmsr(EFER), efer);
    }
    EQ(codes & 63, 63);
    EQ(codes & 64, 0);
}

/* How long a world switch takes: told, not judged. */
static void switches(void)
{
    unsigned n = 2000;
    nested(nothing);
    run();
    vm.tlb_control = 0;
    u64 before = rdtsc();
    for (unsigned i = 0; i < n; i++)
        run();
    u64 each = (rdtsc() - before) / n;
    EQ(vm.exit_code, VMCALL);
    put("# "); put_dec((unsigned)each); put(" ticks for VMRUN and #VMEXIT\n");
}

/* ---- what else an AMD does its own way ---- */
CODE(call_at, "syscall\ncall_end: ud2\n") LABEL(call_end);
CODE(sysenter_at, "sysenter\n") CODE(lstar_at, "nop\n" CODE_END) CODE(cstar_at, "nop; nop\n" CODE_END)
static void amd_calls(void)
{
    struct regs r = { .ip = (ul)call_at, .cs = 0x2b, .ds = 0x23, .es = 0x23, .ss = 0x23, .fl = 0x202, .sp = (ul)user_stack_top - 64 };
    u64 efer = rdmsr(EFER);
    wrmsr(EFER, efer | 1);
    wrmsr(0xc0000081, 8ull << 32 | 0x1bull << 48);
    wrmsr(0xc0000082, (ul)lstar_at);
    wrmsr(0xc0000083, (ul)cstar_at);
    wrmsr(0xc0000084, 0x200);
    enter(&r);
    EXPECT(0x80, 0, (ul)lstar_at + 3);
    EQ(last.cx, (ul)call_end);
    r.cs = 0x1b;                                           /* compatibility mode */
    enter(&r);
    EXPECT(0x80, 0, (ul)cstar_at + 4);
    EQ(last.cx, (ul)call_end);
    EQ(last.r11, 0x202);
    EQ(last.fl & 0x200, 0);
    EQ(last.cs, 8);
    r.ip = (ul)sysenter_at;
    enter(&r);
    EXPECT(6, 0, sysenter_at);
    wrmsr(EFER, efer);
}

int main(void)
{
    RUN(unavailable); RUN(registers); RUN(user_mode); RUN(invalid); RUN(instructions); RUN(more_instructions); RUN(exceptions); RUN(ports); RUN(msrs);
    RUN(inject); RUN(virtual_interrupts); RUN(physical_interrupts); RUN(tsc_offset); RUN(load_and_save); RUN(nested_faults); RUN(nested_tables);
    RUN(nested_changes); RUN(unpaged_guest); RUN(task_switch); RUN(amd_calls); RUN(odd_guests); RUN(switches);
    finish();
}
