/*
 * System management mode, for smm32.c and smm64.c, and for smmbad64.c, which has a main() of its own: SMI by port B2h, by the I/O APIC in HLT; the state save map, SMBASE, SMRAM, RSM; what waits meanwhile.
 * The handler is 16-bit code that obeys `box`. APM vol. 2 ch. 10, SDM vol. 3 ch. 34; 82371AB (APMC_EN, SMI_EN), 82441FX (SMRAM).
 */
#include "kit.h"

static struct box { u32 count, action, halt, cr0, smbase, cs, io, own, value, at; } *const box = (void *)0x600;
enum { GO_ON = 1, AGAIN = 2, NMI = 4, SMI = 8, MOVE = 16, POKE = 32 };

__asm__(".pushsection .pieces,\"awx\",@progbits\n.code16\nhandler:\n"
        "incl 0x600; mov %cr0,%eax; mov %eax,0x60c; mov %cs,%ax; mov %ax,0x614; movb %cs:0xfec9,%al; movb %al,0x608; movl %cs:0xfec0,%eax; mov %eax,0x618\n"
        "incl %cs:0x9000; movl %cs:0x9000,%eax; mov %eax,0x61c\n"
        "testb $1,0x604; jz 1f; movb $0,%cs:0xfec9\n1:"
        "testb $2,0x604; jz 1f; andb $0xfd,0x604; movb $0xff,%cs:0xfec8\n1:"
        "testb $4,0x604; jz 1f; andb $0xfb,0x604; mov $0xfee00300,%ebx; addr32 movl $0x4400,(%ebx)\n1:"
        "testb $8,0x604; jz 1f; andb $0xf7,0x604; outb %al,$0xb2\n1:"
        "testb $16,0x604; jz 1f; mov 0x610,%eax; movl %eax,%cs:0xff00\n1:"
        "testb $32,0x604; jz 1f; mov 0x620,%eax; mov 0x624,%bx; mov %eax,%cs:(%bx)\n1:"
        "rsm\nhandler_end:\n"
#ifdef __x86_64__
        ".code64"
#else
        ".code32"
#endif
        "\n.popsection\n");
extern u8 handler[], handler_end[];
CODE(apm, "out %al,$0xb2\napm_next: nop\n" CODE_END) LABEL(apm_next);
CODE(apm_again, "mov $5,%ecx\nout %al,$0xb2\n" CODE_END)
CODE(rsm_, "rsm\n" CODE_END)
CODE(halt, "hlt\nhalt_next: nop\n" CODE_END) LABEL(halt_next);
CODE(tf_apm, "out %al,$0xb2\ntf_apm_next: nop\n" CODE_END) LABEL(tf_apm_next);
CODE(loop_apm, "mov $100,%ecx\n1: out %al,$0xb2; incl 0x630; dec %ecx; jnz 1b\n" CODE_END)

static void outl(u16 p, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(p)); }
static u32 inl(u16 p) { u32 v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static u8 pci_get(u32 at) { outl(0xcf8, 0x80000000 | (at & ~3u)); return inb((u16)(0xcfc + (at & 3))); }
static void pci_put(u32 at, u8 v) { outl(0xcf8, 0x80000000 | (at & ~3u)); outb((u16)(0xcfc + (at & 3)), v); }

static struct regs context(void *ip)
{
    struct regs r = { .ip = (ul)ip, .cs = 8, .ds = 0x10, .es = 0x10, .ss = 0x10, .fl = 2, .sp = (ul)stack_top - 8192 };
    r.fs = r.gs = 0x10;
    r.ax = 0x11111111; r.bx = 0x22222222; r.cx = 0x33333333; r.dx = 0x44444444; r.si = 0x55555555; r.di = 0x66666666; r.bp = 0x77777777;
    return r;
}

static void go(void *ip, u32 action)
{
    struct regs r = context(ip);
    box->count = 0;
    box->action = action;
    enter(&r);
}

static void install(void) { memcpy((void *)0x38000, handler, (ul)(handler_end - handler)); }

static void __attribute__((unused)) smi_enable(void)
{
    go(rsm_, 0); EXPECT(6, 0, rsm_);
    install();
    go(apm, 0); EXPECT_END(); EQ(box->count, 0);
    pci_put(0x0b5b, pci_get(0x0b5b) | 2);                                  /* APMC_EN */
    go(apm, 0); EXPECT_END(); EQ(box->count, 0);
    outl(0x628, inl(0x628) | 1);                                           /* SMI_EN */
    go(apm, 0); EXPECT_END(); EQ(box->count, 1);
}

#ifndef SMM_OWN_MAIN
#define MAP(at, type) (*(type *)(0x30000ul + (at)))
static void map(void)
{
    struct regs r = context(apm);
    r.fl = 0x10cd7;                                                        /* with DF */
    box->count = 0;
    enter(&r); EXPECT_END(); EQ(box->count, 1); EQ(box->cr0 & 0x8000000d, 0); EQ(box->cs, 0x3000); EQ(box->halt, 0);
    EQ(last.ax, r.ax); EQ(last.bx, r.bx); EQ(last.cx, r.cx); EQ(last.dx, r.dx); EQ(last.si, r.si); EQ(last.di, r.di); EQ(last.bp, r.bp); EQ(last.sp, r.sp);
    EQ(last.fl & 0xcd7, 0xcd7); EQ(last.cs, 8); EQ(last.ss, 0x10);
    EQ(MAP(0xfefc, u32), 0x20064); EQ(MAP(0xff00, u32), 0x30000);
    EQ(MAP(0xfff8, ul), r.ax); EQ(MAP(0xfff0, ul), r.cx); EQ(MAP(0xffe8, ul), r.dx); EQ(MAP(0xffe0, ul), r.bx); EQ(MAP(0xffd8, ul), r.sp);
    EQ(MAP(0xffd0, ul), r.bp); EQ(MAP(0xffc8, ul), r.si); EQ(MAP(0xffc0, ul), r.di); EQ(MAP(0xff78, ul), (ul)apm_next); EQ(MAP(0xff70, u32) & 0xcd7, 0xcd7);
    EQ(MAP(0xff58, ul), READ_CR(0)); EQ(MAP(0xff50, ul), READ_CR(3)); EQ(MAP(0xff48, ul), READ_CR(4)); EQ(MAP(0xff60, u32), 0x400);
    EQ(MAP(0xfe10, u16), 8); EQ(MAP(0xfe20, u16), 0x10); EQ(MAP(0xfe68, ul), (ul)gdt); EQ(MAP(0xfe64, u16), 255); EQ(MAP(0xfe88, ul), (ul)idt);
    EQ(MAP(0xfe30, u16), 0x10); EQ(MAP(0xfe34, u32), 0xffffffff); EQ(MAP(0xfe98, ul), (ul)tss); EQ(MAP(0xfe92, u16) & 0xff, 0x8b);
    EQ(MAP(0xfec0, u32), 0xb20012); EQ(MAP(0xfea0, ul), (ul)apm);
#ifdef __x86_64__
    EQ(MAP(0xfed0, u64), rdmsr(0xc0000080));
#endif
    go(loop_apm, 0); EXPECT_END(); EQ(box->count, 100);
}

static void waiting(void)
{
    go(apm_again, AGAIN); EXPECT_END(); EQ(box->count, 2); EQ(last.cx, 5);
    go(apm, SMI); EXPECT_END(); EQ(box->count, 2); EQ(box->io, 0);          /* it was latched, and came between two instructions */
    go(apm, NMI); EXPECT(2, 0, apm_next); EQ(box->count, 1);
    struct regs r = context(tf_apm);
    r.fl = 0x102; box->count = 0;
    WRITE_DR(6, 0);
    enter(&r); EXPECT(1, 0, tf_apm_next); EQ(READ_DR(6) & 0x4000, 0x4000);
    if (!box->count)                                                        /* the trap may come first */
        go(halt_next, 0);
    EQ(box->count, 1);
}

/* PIT, I/O APIC pin 2, as an SMI: the processor sleeps with interrupts off. */
static void pit_smi(unsigned count)
{
    *(volatile u32 *)0xfec00000 = 0x10 + 2 * 2 + 1; *(volatile u32 *)0xfec00010 = 0;
    *(volatile u32 *)0xfec00000 = 0x10 + 2 * 2; *(volatile u32 *)0xfec00010 = 0x200;
    outb(0x43, count == 1 ? 0x30 : 0x34); outb(0x40, 0); outb(0x40, 0x20);
}

static void in_halt(void)
{
    pit_smi(1);
    go(halt, GO_ON); EXPECT_END(); EQ(box->count, 1); EQ(box->halt & 255, 1);
    pit_smi(2);                                                             /* back to sleep, and an interrupt wakes it */
    struct regs r = context(halt);
    r.fl = 0x202; box->count = 0; box->action = NMI;
    enter(&r); EXPECT(2, 0, halt_next); EQ(box->count, 1);
    *(volatile u32 *)0xfec00000 = 0x10 + 2 * 2; *(volatile u32 *)0xfec00010 = 0x10000;
    outb(0x43, 0x30);
}

/* SMBASE moves to the VGA hole, behind which is SMRAM. */
static void smram(void)
{
    volatile u32 *hole = (void *)0xa9000ul;
    *hole = 0;
    EQ(*hole, 0xffffffff);
    pci_put(0x72, 0x4a);
    *hole = 0x1234;
    memcpy((void *)0xa8000ul, handler, (ul)(handler_end - handler));
    EQ(*hole, 0x1234);
    pci_put(0x72, 0x0a);
    EQ(*hole, 0xffffffff); EQ(*(volatile u32 *)0xa8000ul, 0xffffffff);
    box->smbase = 0xa0000;
    go(apm, MOVE); EXPECT_END(); EQ(box->count, 1); EQ(box->cs, 0x3000);
    MAP(0xff78, u32) = 0;
    for (u32 i = 0; i < 20; i++) {
        go(apm, 0); EXPECT_END(); EQ(box->count, 1); EQ(box->cs, 0xa000); EQ(box->own, 0x1235 + i);
        EQ(*hole, 0xffffffff);
        *hole = 7;                                                          /* goes nowhere */
    }
    EQ(MAP(0xff78, u32), 0);
    pci_put(0x72, 0x4a);
    EQ(*hole, 0x1248); EQ(*(u32 *)0xafefcul, 0x20064); EQ(*(ul *)0xaff78ul, (ul)apm_next);
    *hole = 0x2000;
    ((u8 *)0xa8000ul)[handler_end - handler - 2] = 0x0f;                    /* code that was written while it was open is new code */
    pci_put(0x72, 0x02);                                                    /* not enabled: the handler sees the hole */
    pci_put(0x72, 0x1a);                                                    /* locked */
    pci_put(0x72, 0x4a); EQ(pci_get(0x72) & 0x78, 0x18); EQ(*hole, 0xffffffff);
    go(apm, 0); EXPECT_END(); EQ(box->own, 0x2001);
}

void main(void);
void main(void)
{
    RUN(smi_enable);
    RUN(map);
    RUN(waiting);
    RUN(in_halt);
    RUN(smram);
    finish();
}
#endif
