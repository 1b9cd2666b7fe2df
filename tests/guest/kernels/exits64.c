/*
 * What makes a processor leave an engine: ports and device memory, one access and strings of them; CPUID, MSRs, the time stamp counter, memory that
 * changes its kind, halting and waking by the local timer and by the PIT through the PIC, and a computation at ring 3. Ring 0 uses no INT n
 * and no paging but 64-bit, so that it runs on a KVM that emulates kernels.
 */
#include "kit.h"

static u8 buffer[64];

static inline void outw(u16 p, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(p)); }
static inline void outl(u16 p, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(p)); }
static inline u16 inw(u16 p) { u16 v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline u32 inl(u16 p) { u32 v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline u32 load32(ul a) { u32 v; __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(a) : "memory"); return v; }
static inline u64 load64(ul a) { u64 v; __asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(a) : "memory"); return v; }
static inline void store32(ul a, u32 v) { __asm__ volatile("movl %0, (%1)" : : "r"(v), "r"(a) : "memory"); }
static inline void store64(ul a, u64 v) { __asm__ volatile("movq %0, (%1)" : : "r"(v), "r"(a) : "memory"); }

#define HPET 0xfed00000ul
#define APIC 0xfee00000ul
#define IOAPIC 0xfec00000ul

static void ports(void)
{
    outb(0x70, 0x55);
    outb(0x71, 0xa7);
    outb(0x70, 0x55);
    EQ(inb(0x71), 0xa7);
    outl(0xcf8, 0x80000000);
    EQ(inl(0xcfc), 0x12378086);
    EQ(inw(0xcfe), 0x1237);
    EQ(inb(0xcfd), 0x80);
    EQ(inb(0x1234), 0xff);
    EQ(inl(0x1234), 0xffffffff);
}

static void port_strings(void)
{
    u8 *d = buffer;
    const u8 *s = buffer;
    ul n = 4;

    outw(0x510, 0);
    __asm__ volatile("cld; rep insb" : "+D"(d), "+c"(n) : "d"(0x511) : "memory");
    EQ(n, 0);
    EQ(d - buffer, 4);
    EQ(*(u32 *)buffer, 0x554d4551);                     /* QEMU */
    buffer[19] = 0x3c;
    n = 20;
    __asm__ volatile("rep outsb" : "+S"(s), "+c"(n) : "d"(0x3ff) : "memory");
    EQ(s - buffer, 20);
    EQ(inb(0x3ff), 0x3c);                               /* the UART's scratch register: the last byte stays */
}

static void device_memory(void)
{
    u32 v = 0;

    EQ(load32(HPET + 4), 10000000);                     /* femtoseconds a tick */
    EQ(load64(HPET) >> 32, 10000000);
    store32(HPET + 0x108, 0x12345678);
    EQ(load32(HPET + 0x108), 0x12345678);
    store64(HPET + 0x108, 0x1122334455667788);
    EQ(load64(HPET + 0x108), 0x1122334455667788);
    __asm__ volatile("movzwl (%1), %0" : "=r"(v) : "r"(HPET + 0x108));
    EQ(v, 0x7788);
    __asm__ volatile("orl $0x70, (%0)" : : "r"(HPET + 0x108) : "memory");
    EQ(load32(HPET + 0x108), 0x556677f8);
    store32(IOAPIC, 1);
    EQ(load32(IOAPIC + 0x10) >> 16, 23);                /* pins; versions differ: 11h in the kernel, 20h with an EOI register */
    EQ(load32(APIC + 0x20), 0);
}

static void device_memory_strings(void)
{
    ul from = HPET, to = (ul)buffer, n = 2;

    __asm__ volatile("cld; rep movsl" : "+S"(from), "+D"(to), "+c"(n) : : "memory");
    EQ(from, HPET + 8);
    EQ(*(u32 *)(buffer + 4), 10000000);
    to = HPET + 0x108;
    n = 2;
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(0x01020304) : "memory");
    EQ(load64(HPET + 0x108), 0x0102030401020304);
}

static void identification(void)
{
    u32 r[4];

    cpuid(0, 0, r);
    EQ(r[0] >= 1, 1);
    EQ(r[1] != 0 && r[2] != 0 && r[3] != 0, 1);
    cpuid(1, 0, r);
    EQ(r[1] >> 24, 0);                                  /* APIC id */
    EQ(r[2] >> 31, 1);                                  /* a hypervisor is present */
    EQ(r[2] >> 21 & 1, 1);                              /* x2APIC */
    EQ(r[3] >> 9 & 1, 1);
    cpuid(0x80000001, 0, r);
    EQ(r[3] >> 29 & 1, 1);
    cpuid(0x40000000, 0, r);
    EQ(r[0] >= 0x40000010, 1);
    cpuid(0xb, 0, r);
    EQ(r[3], 0);
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

void main(void)
{
    RUN(ports);
    RUN(port_strings);
    RUN(device_memory);
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
