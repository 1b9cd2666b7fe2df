/*
 * What must survive a move between engines while it goes on, in 64-bit mode: one-shot timers of the PIT and of the local APIC that end a halt, a sum
 * over memory written before, vector registers, a segment base, and a time stamp counter that never goes back. It says `round N` as it
 * goes, for whoever moves it. Then ticks of both timers are counted, and what the HPET's counter lets expect is said beside it. Ring 0 uses
 * no INT n, so that it runs on a KVM that emulates kernels.
 */
#include "kit.h"

#define APIC 0xfee00000ul
#define HPET 0xfed00000ul

#ifndef TICKS
#define TICKS 100                                       /* a second, of either timer; at least 19 */
#endif

enum { ROUNDS = 400, WORDS = 4096, PIT_HZ = 1193182, PIT_COUNT = PIT_HZ / TICKS, APIC_NS = 1000000000 / TICKS, COUNT_NS = 10, COUNT_SECONDS = 5 };

static u64 words[WORDS];
static u64 seen_tsc;

static inline void store32(ul a, u32 v) { __asm__ volatile("movl %0, (%1)" : : "r"(v), "r"(a) : "memory"); }

CODE(halt, "sti\n hlt\n halted: jmp halted");
LABEL(halted);

static void wait_for_any(void)
{
    struct regs r = { .ip = (ul)halt, .cs = 8, .ss = 0x10, .ds = 0x10, .es = 0x10, .fl = 2, .sp = (ul)stack_top - 4096 };
    enter(&r);
    EQ(last.ip, (ul)halted);
}

/* A move may double an interrupt, which then comes where the other one is waited for: it is counted, for the test to judge. */
static unsigned doubled;

static void wait_for_interrupt(u8 vector)
{
    wait_for_any();
    if (last.vec != vector && (last.vec == 0x60 || last.vec == 0x51)) {
        doubled++;
        if (last.vec == 0x60)
            outb(0x20, 0x20);
        else
            store32(APIC + 0xb0, 0);
        wait_for_any();
    }
    EQ(last.vec, vector);
}

static void timers_init(void)
{
    static const u8 pic[][2] = { { 0x20, 0x11 }, { 0x21, 0x60 }, { 0x21, 4 }, { 0x21, 1 }, { 0xa0, 0x11 }, { 0xa1, 0x68 }, { 0xa1, 2 }, { 0xa1, 1 },
        { 0x21, 0xfe }, { 0xa1, 0xff } };
    for (unsigned i = 0; i < sizeof(pic) / 2; i++)
        outb(pic[i][0], pic[i][1]);
    store32(APIC + 0xf0, 0x1ff);
    store32(APIC + 0x3e0, 0xb);
    store32(APIC + 0x350, 0x700);                       /* LINT0: ExtINT */
    store32(APIC + 0x320, 0x51);
}

/* 5 ms of the PIT, by the PIC; 5 ms of the local APIC. Both are under way when the machine is moved, most of the time. */
static void tick(void)
{
    outb(0x43, 0x30);
    outb(0x40, 6000 & 0xff);
    outb(0x40, 6000 >> 8);
    wait_for_interrupt(0x60);
    outb(0x20, 0x20);
    store32(APIC + 0x380, 5000000);
    wait_for_interrupt(0x51);
    store32(APIC + 0xb0, 0);
}

static void memory(u32 round)
{
    u64 sum = 0;

    for (u32 i = 0; i < WORDS; i++)
        sum += words[i];
    EQ(sum, (u64)WORDS * round);
    for (u32 i = 0; i < WORDS; i++)
        words[i]++;
}

static void registers(u32 round)
{
    static u64 v[2];

    __asm__ volatile("movdqu %%xmm7, %0" : "=m"(v));
    EQ(v[0], round);
    EQ(v[1], ~(u64)round);
    v[0] = round + 1;
    v[1] = ~v[0];
    __asm__ volatile("movdqu %0, %%xmm7" : : "m"(v));
    EQ(rdmsr(0xc0000100), 0x123456789000 + round);
    wrmsr(0xc0000100, 0x123456789001 + round);
}

static void counter(void)
{
    u64 now = rdtsc();

    EQ(now > seen_tsc, 1);
    seen_tsc = now;
}

static void moved(void)
{
    static u64 zero[2] = { 0, ~0ull };

    timers_init();
    __asm__ volatile("movdqu %0, %%xmm7" : : "m"(zero));
    wrmsr(0xc0000100, 0x123456789000);
    for (u32 round = 0; round < ROUNDS; round++) {
        tick();
        memory(round);
        registers(round);
        counter();
        if (round % 10 == 0) {
            put("round ");
            put_hex(round);
            put("\n");
        }
    }
}

/* ---- ticks ---- */

static u64 hpet_count(void) { return *(volatile u64 *)(HPET + 0xf0); }

static void put_ticks(const char *name, unsigned got, u64 expected)
{
    put(name);
    put_dec(got);
    put(" of ");
    put_dec((unsigned)expected);
}

static void ticked(void)
{
    unsigned pit = 0, apic = 0;
    u64 start, passed;

    *(volatile u64 *)(HPET + 0x10) = 1;
    store32(APIC + 0x320, 0x20051);
    start = hpet_count();
    outb(0x43, 0x34);
    outb(0x40, PIT_COUNT & 0xff);
    outb(0x40, PIT_COUNT >> 8);
    store32(APIC + 0x380, APIC_NS);
    do {
        wait_for_any();
        if (last.vec == 0x51) {
            apic++;
            store32(APIC + 0xb0, 0);
        } else {
            EQ(last.vec, 0x60);
            pit++;
            outb(0x20, 0x20);
        }
        passed = (hpet_count() - start) * COUNT_NS;
    } while (passed < COUNT_SECONDS * 1000000000ull);
    put_ticks("ticks pit ", pit, passed * PIT_HZ / PIT_COUNT / 1000000000ull);
    put_ticks(" apic ", apic, passed / APIC_NS);
    put(" doubled ");
    put_dec(doubled);
    put("\n");
}

void main(void);
void main(void)
{
    RUN(moved);
    RUN(ticked);
    finish();
}
