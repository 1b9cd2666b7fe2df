/* What makes a processor leave an engine, in every mode: ports and device memory, one access and strings of them, and CPUID. */
#ifndef EXITS_H
#define EXITS_H
#include "kit.h"

static u8 buffer[64];

static inline void outw(u16 p, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(p)); }
static inline void outl(u16 p, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(p)); }
static inline u16 inw(u16 p) { u16 v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline u32 inl(u16 p) { u32 v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline u32 load32(ul a) { u32 v; __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(a) : "memory"); return v; }
static inline void store32(ul a, u32 v) { __asm__ volatile("movl %0, (%1)" : : "r"(v), "r"(a) : "memory"); }

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
    store32(HPET + 0x108, 0x12345678);
    EQ(load32(HPET + 0x108), 0x12345678);
    store32(HPET + 0x108, 0x55667788);
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
    EQ(load32(HPET + 0x108), 0x01020304);
    EQ(load32(HPET + 0x10c), 0x01020304);
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
#endif
