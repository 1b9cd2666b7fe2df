/*
 * What makes a processor leave an engine, in 64-bit mode: exits.h, and MSRs, the time stamp counter, memory that changes its kind, halting and waking
 * by the local timer, by the PIT through the PIC and by the I/O APIC, and a computation at ring 3. Ring 0 uses no INT n, so that it runs on a
 * KVM that emulates kernels.
 */
#include "exits.h"

static inline u64 load64(ul a) { u64 v; __asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(a) : "memory"); return v; }
static inline void store64(ul a, u64 v) { __asm__ volatile("movq %0, (%1)" : : "r"(v), "r"(a) : "memory"); }

/* 64 bits at once. */
static void device_memory_wide(void)
{
    EQ(load64(HPET) >> 32, 10000000);
    store64(HPET + 0x108, 0x1122334455667788);
    EQ(load64(HPET + 0x108), 0x1122334455667788);
}

CODE(read_unknown, "rdmsr\n rdmsr_end: hlt");

static void model_specific(void)
{
    struct regs r = { .ip = (ul)read_unknown, .cs = 8, .ss = 0x10, .ds = 0x10, .es = 0x10, .fl = 2, .sp = (ul)stack_top - 4096, .cx = 0x12345 };

    wrmsr(0xc0000082, 0xffffffff81234560);
    EQ(rdmsr(0xc0000082), 0xffffffff81234560);
    wrmsr(0xc0000102, 0x00007fff00001000);
    EQ(rdmsr(0xc0000102), 0x00007fff00001000);
    EQ(rdmsr(0x1b), 0xfee00900);
    EQ(rdmsr(0xc0000080) & 0x500, 0x500);
    EQ(rdmsr(0x277) & 7, 6);
    enter(&r);
    EXPECT(13, 0, read_unknown);
}

static void time_stamp(void)
{
    u64 a = rdtsc(), b = rdtsc();

    EQ(b > a, 1);
    wrmsr(0x10, 1ull << 50);
    a = rdtsc();
    EQ(a >= 1ull << 50 && a < (1ull << 50) + (1ull << 40), 1);
    wrmsr(0x10, b);
    EQ(rdtsc() < 1ull << 50, 1);
}

static void host_bridge(u8 reg, u8 val)
{
    outl(0xcf8, 0x80000000 | (reg & 0xfc));
    outb((u16)(0xcfc + (reg & 3)), val);
}

/* The firmware's window is RAM, read-only RAM, ROM, and RAM that is written while ROM is read. */
static void memory_kinds(void)
{
    ul a = 0xf8000;

    host_bridge(0x59, 0x30);
    store32(a, 0x11111111);
    EQ(load32(a), 0x11111111);
    host_bridge(0x59, 0x10);
    store32(a, 0x22222222);
    EQ(load32(a), 0x11111111);
    host_bridge(0x59, 0x00);
    EQ(load32(a), 0xffffffff);
    store32(a, 0x33333333);
    EQ(load32(a), 0xffffffff);
    host_bridge(0x59, 0x20);
    store32(a, 0x44444444);
    EQ(load32(a), 0xffffffff);
    host_bridge(0x59, 0x30);
    EQ(load32(a), 0x44444444);
}

CODE(halt, "sti\n hlt\n halted: jmp halted");
LABEL(halted);

/* Halts until an interrupt comes; the handler's frame is in last. */
static void wait_for_interrupt(void)
{
    struct regs r = { .ip = (ul)halt, .cs = 8, .ss = 0x10, .ds = 0x10, .es = 0x10, .fl = 2, .sp = (ul)stack_top - 4096 };
    enter(&r);
    EQ(last.ip, (ul)halted);
    EQ(last.fl >> 9 & 1, 1);
}

static void wake_by_local_timer(void)
{
    store32(APIC + 0xf0, 0x1ff);
    store32(APIC + 0x3e0, 0xb);
    for (int i = 0; i < 3; i++) {
        store32(APIC + 0x320, 0x51);
        store32(APIC + 0x380, 2000000);
        wait_for_interrupt();
        EQ(last.vec, 0x51);
        EQ(load32(APIC + 0x120) >> 17 & 1, 1);          /* in service: 51h is bit 17 of the third word */
        store32(APIC + 0xb0, 0);
        EQ(load32(APIC + 0x120), 0);
    }
}

static void wake_by_deadline(void)
{
    u32 r[4];

    cpuid(1, 0, r);
    if (!(r[2] >> 24 & 1))
        SKIP("no TSC deadline timer");
    store32(APIC + 0x320, 0x40052);
    wrmsr(0x6e0, rdtsc() + 5000000);
    wait_for_interrupt();
    EQ(last.vec, 0x52);
    EQ(rdmsr(0x6e0), 0);
    store32(APIC + 0xb0, 0);
    store32(APIC + 0x320, 0x10000);
}

static void pic_init(void)
{
    static const u8 words[][2] = { { 0x20, 0x11 }, { 0x21, 0x60 }, { 0x21, 4 }, { 0x21, 1 }, { 0xa0, 0x11 }, { 0xa1, 0x68 }, { 0xa1, 2 }, { 0xa1, 1 },
        { 0x21, 0xfe }, { 0xa1, 0xff } };
    for (unsigned i = 0; i < sizeof(words) / 2; i++)
        outb(words[i][0], words[i][1]);
}

static void wake_by_pit(void)
{
    pic_init();
    store32(APIC + 0x350, 0x700);                       /* LINT0: ExtINT */
    for (int i = 0; i < 2; i++) {
        outb(0x43, 0x30);                               /* channel 0, mode 0: one shot of 5 ms */
        outb(0x40, 6000 & 0xff);
        outb(0x40, 6000 >> 8);
        wait_for_interrupt();
        EQ(last.vec, 0x60);
        outb(0x20, 0x0b);
        EQ(inb(0x20), 1);
        outb(0x20, 0x20);
    }
    outb(0x21, 0xff);
}

/* The PIT again, by pin 2 of the I/O APIC; then the UART's line, level triggered. */
static void wake_by_io_apic(void)
{
    store32(IOAPIC, 0x14);
    store32(IOAPIC + 0x10, 0x61);
    outb(0x43, 0x30);
    outb(0x40, 6000 & 0xff);
    outb(0x40, 6000 >> 8);
    wait_for_interrupt();
    EQ(last.vec, 0x61);
    store32(APIC + 0xb0, 0);
    store32(IOAPIC + 0x10, 0x10000);

    for (int i = 0; i < 2; i++) {
        store32(IOAPIC, 0x18);
        store32(IOAPIC + 0x10, 0x8062);
        outb(0x3fc, 8);
        outb(0x3f9, 2);                                 /* transmitter empty */
        wait_for_interrupt();
        EQ(last.vec, 0x62);
        outb(0x3f9, 0);
        store32(APIC + 0xb0, 0);
        EQ(load32(IOAPIC + 0x10) >> 14 & 1, 0);         /* the EOI has reached the I/O APIC */
    }
    store32(IOAPIC + 0x10, 0x10000);
}

static void task_priority(void)
{
    __asm__ volatile("mov %0, %%cr8" : : "r"(9ul));
    EQ(load32(APIC + 0x80), 0x90);
    store32(APIC + 0x80, 0x30);
    ul v;
    __asm__ volatile("mov %%cr8, %0" : "=r"(v));
    EQ(v, 3);
    /* A waiting interrupt of class 5 comes when the priority falls below it. */
    __asm__ volatile("mov %0, %%cr8" : : "r"(9ul));
    store32(APIC + 0x300, 0x40053);                     /* to itself */
    EQ(load32(APIC + 0x220) >> 19 & 1, 1);
    __asm__ volatile("mov %0, %%cr8" : : "r"(0ul));
    wait_for_interrupt();
    EQ(last.vec, 0x53);
    store32(APIC + 0xb0, 0);
}

/* Leaves ring 3 by an exception: not every KVM without hardware assistance lets INT n out of it. */
CODE(compute, "xor %eax, %eax\n 1: imul $0x9e3779b1, %eax, %eax\n add %ecx, %eax\n dec %ecx\n jnz 1b\n computed: ud2");
LABEL(computed);

static void ring3(void)
{
    struct regs r = { .ip = (ul)compute, .cs = 0x2b, .ss = 0x23, .ds = 0x23, .es = 0x23, .fl = 0x202, .sp = (ul)user_stack_top, .cx = 1000 };
    u32 want = 0;

    for (u32 n = 1000; n; n--)
        want = want * 0x9e3779b1u + n;
    enter(&r);
    EXPECT(6, 0, computed);
    EQ((u32)last.ax, want);
    r.cx = 20000000;
    enter(&r);
    EXPECT(6, 0, computed);
    EQ((u32)last.cx, 0);
}

void main(void);
void main(void)
{
    RUN(ports);
    RUN(port_strings);
    RUN(device_memory);
    RUN(device_memory_wide);
    RUN(device_memory_strings);
    RUN(identification);
    RUN(model_specific);
    RUN(time_stamp);
    RUN(memory_kinds);
    RUN(ring3);
    RUN(wake_by_local_timer);
    RUN(wake_by_deadline);
    RUN(wake_by_pit);
    RUN(wake_by_io_apic);
    RUN(task_priority);
    finish();
}
