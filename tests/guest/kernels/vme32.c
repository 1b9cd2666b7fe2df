/*
 * The virtual interrupt flag: virtual-8086 mode with CR4.VME (CLI STI PUSHF POPF IRET, INT n through the redirection bitmap) and CR4.PVI at ring 3.
 * The bitmap is the 32 bytes before the I/O permission map, which this kernel moves up to make room. SDM vol. 3 ch. 20.3, 20.4.
 */
#include "kit.h"

#define BITMAP 104
#define IF 0x200
#define VIF 0x80000
#define VIP 0x100000

/* 8000h is the program: cs 7ffh ip 10h, its stack ends at 9000h + 1000h. */
static void start86(const u8 *code, unsigned n, u32 fl)
{
    memcpy((void *)0x8000, code, n);
    memcpy((void *)(0x8000 + n), "\xcd\x80", 2);
    struct regs r = { .ip = 0x10, .cs = 0x7ff, .fl = 0x20002 | fl, .sp = 0x1000, .ss = 0x900, .vm_ds = 0x800, .vm_es = 0x800 };
    r.ax = 0x1111; r.cx = 0x2222;
    enter(&r);
}
#define GO86(fl, ...) do { static const u8 c_[] = { __VA_ARGS__ }; start86(c_, sizeof(c_), fl); } while (0)
#define STACK16(n) (((u16 *)0xa000)[n])

static void vector86(unsigned n, u32 at) { __asm__ volatile("mov %0, (%1)" : : "r"(at), "r"(4 * n) : "memory"); }
static void to_monitor(unsigned n, int on) { tss[BITMAP + n / 8] = (u8)((tss[BITMAP + n / 8] & ~(1 << n % 8)) | on << n % 8); }

/* INT 80h ends each piece, so it goes to the monitor at IOPL 3; with less it is #GP there. */
static void flags_with(u32 extra)
{
    GO86(VIF | extra, 0xfa); EXPECT(13, 0, 0x11); EQ(last.fl & (VIF | VIP | IF), extra & (VIP | IF));
    GO86(extra, 0x9c, 0x59); EXPECT(13, 0, 0x12); EQ(last.cx & 0x7300, 0x3000); EQ(last.sp, 0x1000);
    GO86(VIF | extra, 0x9c, 0x59); EXPECT(13, 0, 0x12); EQ(last.cx & 0x7300, 0x3200);
    GO86(VIF | extra, 0x6a, 1, 0x9d); EXPECT(13, 0, 0x13); EQ(last.fl & (VIF | 0x3001 | IF), 1 | (extra & IF));
    GO86(extra, 0x68, 0x00, 0x70, 0x9d); EXPECT(13, 0, 0x14); EQ(last.fl & (VIF | 0x7000 | IF), 0x4000 | (extra & IF));
    GO86(VIF | extra, 0x66, 0x9c); EXPECT(13, 0, 0x10); EQ(last.sp, 0x1000);
    GO86(VIF | extra, 0x66, 0x9d); EXPECT(13, 0, 0x10);
    GO86(VIF | extra, 0x68, 0x00, 0x01, 0x9d); EXPECT(13, 0, 0x13); EQ(last.sp, 0xffe); EQ(last.fl & VIF, VIF);
}

static void vme_flags(void)
{
    flags_with(0);
    flags_with(IF);
    GO86(0, 0xfb); EXPECT(13, 0, 0x11); EQ(last.fl & (VIF | IF), VIF);
    GO86(IF, 0x68, 0x00, 0x02, 0x9d); EXPECT(13, 0, 0x14); EQ(last.fl & (VIF | IF), VIF | IF);
    GO86(VIP, 0xfb); EXPECT(13, 0, 0x10); EQ(last.fl & (VIF | VIP), VIP);
    GO86(VIP, 0x68, 0x00, 0x02, 0x9d); EXPECT(13, 0, 0x13); EQ(last.sp, 0xffe); EQ(last.fl & VIF, 0);
    GO86(VIP | VIF, 0xfa); EXPECT(13, 0, 0x11); EQ(last.fl & (VIF | VIP), VIP);
    GO86(0x3000, 0xfb); EXPECT(0x80, 0, 0x13); EQ(last.fl & (VIF | IF), IF);
    GO86(0x3000 | IF | VIF, 0xfa); EXPECT(0x80, 0, 0x13); EQ(last.fl & (VIF | IF), VIF);
    GO86(0x3000 | VIF, 0x9c, 0x59); EXPECT(0x80, 0, 0x14); EQ(last.cx & 0x7200, 0x3000);
    GO86(0x3000 | VIF, 0x66, 0x9c, 0x66, 0x59); EXPECT(0x80, 0, 0x16); EQ(last.cx & 0xff0000, 0x80000);
}

/* iret to 0800:0020 with FLAGS in cx; there: INT 80h */
static void iret86(u32 fl, u32 image)
{
    static const u8 c[] = { 0x51, 0x68, 0x00, 0x08, 0x6a, 0x20, 0xcf };
    memcpy((void *)0x8020, "\xcd\x80", 2);
    memcpy((void *)0x8000, c, sizeof(c));
    struct regs r = { .ip = 0x10, .cs = 0x7ff, .fl = 0x20002 | fl, .sp = 0x1000, .ss = 0x900, .cx = image };
    enter(&r);
}

static void vme_iret(void)
{
    iret86(0, 0x0201); EXPECT(13, 0, 0x20); EQ(last.cs, 0x800); EQ(last.sp, 0x1000); EQ(last.fl & (VIF | IF | 0x3001), VIF | 1);
    iret86(VIF | IF, 0x7000); EXPECT(13, 0, 0x20); EQ(last.fl & (VIF | IF | 0x7000), IF | 0x4000);
    iret86(VIP, 0x0200); EXPECT(13, 0, 0x16); EQ(last.cs, 0x7ff); EQ(last.sp, 0xffa); EQ(last.fl & VIF, 0);
    iret86(VIP, 0x0001); EXPECT(13, 0, 0x20); EQ(last.fl & 1, 1);
    iret86(0, 0x0100); EXPECT(13, 0, 0x16); EQ(last.sp, 0xffa);
    iret86(0x3000, 0x0200); EXPECT(0x80, 0, 0x22); EQ(last.fl & (VIF | IF | 0x3000), IF | 0x3000);
    GO86(0, 0x66, 0xcf); EXPECT(13, 0, 0x10);
}

static void vme_int(void)
{
    vector86(0x21, 0x08000040);
    memcpy((void *)0x8040, "\xb9\x55\x55\xcd\x80", 5);                     /* the program's handler */
    to_monitor(0x21, 0);
    GO86(VIF | 1, 0xcd, 0x21); EXPECT(13, 0, 0x43); EQ(last.cs, 0x800); EQ(last.cx, 0x5555); EQ(last.sp, 0xffa); EQ(last.fl & (VIF | IF), 0);
    EQ(STACK16(-1) & 0x7301, 0x3201); EQ(STACK16(-2), 0x7ff); EQ(STACK16(-3), 0x12);
    GO86(IF, 0xcd, 0x21); EXPECT(13, 0, 0x43); EQ(STACK16(-1) & 0x7300, 0x3000); EQ(last.fl & (VIF | IF), IF);
    GO86(VIP, 0xcd, 0x21); EXPECT(13, 0, 0x43); EQ(last.fl & VIP, VIP);
    GO86(0x3000 | IF | VIF, 0xcd, 0x21); EXPECT(0x80, 0, 0x45); EQ(STACK16(-1) & 0x7300, 0x3200); EQ(last.fl & (VIF | IF), VIF);
    GO86(0x3100 | IF, 0xcd, 0x21); EQ(last.vec, 0x80); EQ(last.fl & 0x100, 0); EQ(STACK16(-1) & 0x100, 0x100);      /* no trap after it */
    to_monitor(0x21, 1);
    GO86(VIF, 0xcd, 0x21); EXPECT(13, 0, 0x10); EQ(last.sp, 0x1000);
    idt[0x21].attr |= 0x6000;
    GO86(0x3000, 0xcd, 0x21); EXPECT(0x21, 0, 0x12); EQ(last.sp, 0x1000);
    GO86(0x3000, 0xcc); EXPECT(3, 0, 0x11);                               /* INT3 and INTO are never redirected */
    vector86(3, 0x08000040); to_monitor(3, 0);
    GO86(0, 0xcc); EXPECT(3, 0, 0x11);
    GO86(0, 0xcd, 3); EXPECT(13, 0, 0x43);
    to_monitor(0x21, 0);
    WRITE_CR(4, READ_CR(4) & ~1ul);
    GO86(0, 0xcd, 0x21); EXPECT(13, 0, 0x10);
    GO86(0x3000, 0xcd, 0x21); EXPECT(0x21, 0, 0x12);
    WRITE_CR(4, READ_CR(4) | 1);
    u16 io = *(u16 *)(tss + 102);
    *(u16 *)(tss + 102) = 8;                                              /* the bitmap would begin before the TSS */
    GO86(0x3000, 0xcd, 0x21); EXPECT(13, 0, 0x10);
    *(u16 *)(tss + 102) = io;
}

/* Without VME: all of it is #GP(0). */
static void no_vme(void)
{
    WRITE_CR(4, READ_CR(4) & ~1ul);
    GO86(0, 0xfa); EXPECT(13, 0, 0x10);
    GO86(0, 0xfb); EXPECT(13, 0, 0x10);
    GO86(0, 0x9c); EXPECT(13, 0, 0x10);
    GO86(0, 0x9d); EXPECT(13, 0, 0x10);
    GO86(0, 0xcf); EXPECT(13, 0, 0x10);
    WRITE_CR(4, READ_CR(4) | 1);
}

CODE(cli3, "cli\ncli3_next:" CODE_END) LABEL(cli3_next);
CODE(sti3, "sti\nsti3_next:" CODE_END) LABEL(sti3_next);
CODE(pushf3, "pushf; pop %eax; orl $0x280200,%eax; push %eax; popf\n" CODE_END)
static void go3(void *ip, u32 fl)
{
    struct regs r = { .ip = (u32)ip, .cs = 0x1b, .ds = 0x23, .es = 0x23, .fs = 0x23, .gs = 0x23, .ss = 0x23, .fl = 2 | fl, .sp = (u32)user_stack_top - 64 };
    enter(&r);
}

static void pvi(void)
{
    go3(cli3, VIF); EXPECT(13, 0, cli3);
    WRITE_CR(4, READ_CR(4) | 2);
    go3(cli3, VIF | IF); EXPECT_END(); EQ(last.fl & (VIF | IF), IF);
    go3(sti3, 0); EXPECT_END(); EQ(last.fl & (VIF | IF), VIF);
    go3(sti3, VIP); EXPECT(13, 0, sti3); EQ(last.fl & VIF, 0);
    go3(cli3, VIP | VIF); EXPECT_END(); EQ(last.fl & (VIF | VIP), VIP);
    go3(sti3, 0x3000); EXPECT_END(); EQ(last.fl & (VIF | IF), IF);
    go3(pushf3, VIF); EXPECT_END(); EQ(last.fl & (VIF | IF), VIF);         /* PUSHF and POPF know nothing of it */
    GO86(0, 0xfb); EXPECT(13, 0, 0x11); EQ(last.fl & VIF, VIF);
    WRITE_CR(4, READ_CR(4) & ~2ul);
}

void main(void);
void main(void)
{
    u32 v[4];
    cpuid(1, 0, v);
    test_name = "vme";
    EQ(v[3] >> 1 & 1, 1);
    *(u16 *)(tss + 102) = BITMAP + 32;
    memset(tss + BITMAP + 32, 0, 8192 - 32);
    memset(tss + BITMAP, 0xff, 32);
    RUN(no_vme);
    WRITE_CR(4, READ_CR(4) | 1);
    RUN(vme_flags);
    RUN(vme_iret);
    RUN(vme_int);
    RUN(pvi);
    finish();
}
