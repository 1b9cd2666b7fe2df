/*
 * Several processors in 64-bit mode: start-up by INIT and SIPI, interrupts between them, atomic instructions on memory of every kind (also where
 * translated code or a page table lies, and across a page end), changes of page tables and of code seen by others. Each part is a job that
 * all processors run, with barriers inside. Memory order: litmus64.c.
 */
#include "smp.h"

enum { POOL = 0x1000000, POOL_PAGES = 1024 };           /* fresh pages for tables and code */

/* ---- interrupts between processors ---- */
static void send_ipis(unsigned cpu)
{
    __asm__ volatile("sti");
    barrier();
    for (unsigned i = 0; i < 500; i++) {
        unsigned to = (cpu + 1) % n_cpus, before = ipis[to];
        apic_write(0x310, to << 24);
        apic_write(0x300, 0x4060);
        while (ipis[to] == before)                       /* its only sender */
            pause();
    }
    barrier();
    __asm__ volatile("cli");
}

static void interrupts(void)
{
    everywhere(send_ipis);
    for (unsigned i = 0; i < n_cpus; i++)
        EQ(ipis[i], 500);
}

/* One that runs, and one that sleeps with interrupts off: an NMI comes to both. */
static volatile unsigned nmi_end;
static void take_nmis(unsigned cpu)
{
    barrier();
    if (cpu == 1) {
        while (nmis[1] < 100)
            pause();
        while (!nmi_end)
            __asm__ volatile("hlt");
        nmi_end = 2;
    } else if (cpu == 0) {
        for (unsigned i = 0; i < 200; i++) {
            unsigned before = nmis[1];
            apic_write(0x310, 1 << 24);
            if (i == 199)
                nmi_end = 1;
            apic_write(0x300, 0x4400);
            while (nmis[1] == before)
                pause();
        }
        for (; nmi_end != 2; wait_us(100))               /* the last one may have come just before the HLT */
            apic_write(0x300, 0x4400);
    }
    barrier();
}

static void nmi_ipis(void)
{
    nmi_end = 0;
    everywhere(take_nmis);
    EQ(nmis[1] >= 200, 1);
    EQ(nmis[0], 0);
}

/* INIT stops a processor in whatever it does; a SIPI starts it from the beginning. */
static volatile u64 ticks;
static void tick_for_ever(unsigned cpu)
{
    while (cpu == 1)
        ticks++;
}

static void init_of_running(void)
{
    for (unsigned i = 0; i < 10; i++) {
        started = job_done = 0;
        ticks = 0;
        job = tick_for_ever;
        __atomic_add_fetch(&job_number, 1, __ATOMIC_SEQ_CST);
        while (ticks < 1000 || job_done != n_cpus - 2)
            pause();
        apic_write(0x310, 1 << 24);
        apic_write(0x300, 0x4500);
        wait_us(200);
        apic_write(0x300, 0x4608);
        while (!started)
            pause();
        u64 at = ticks;
        wait_us(200);
        EQ(ticks, at);
    }
    started = n_cpus - 1;
    everywhere(send_ipis);                               /* it works as before */
}

/* ---- atomic instructions ---- */
static volatile u64 *target;                             /* three words */
static unsigned rounds;
static void add_up(unsigned cpu __attribute__((unused)))
{
    barrier();
    for (unsigned i = 0; i < rounds; i++) {
        u64 v;
        __asm__ volatile("lock addq $2, %0" : "+m"(target[0]) : : "memory");
        __asm__ volatile("lock incq %0; lock incq %0" : "+m"(target[0]) : : "memory");
        xadd(&target[0], 2);
        do
            v = target[0];
        while (cmpxchg(&target[0], v, v + 2) != v);
        while (xchg(&target[1], 2))                      /* a lock around a plain counter */
            pause();
        target[2] += 2;
        __atomic_store_n(&target[1], 0, __ATOMIC_RELEASE);
    }
    barrier();
}

static void count_at(ul at, unsigned n)
{
    target = AT(at);
    rounds = n;
    target[0] = target[1] = target[2] = 0;
    everywhere(add_up);
    EQ(target[0], 8ull * n * n_cpus);
    EQ(target[2], 2ull * n * n_cpus);
}

static void atomics(void) { count_at(POOL + 64, 20000); }

static void run_there(unsigned cpu __attribute__((unused)))
{
    for (unsigned i = 0; i < 100; i++)
        EQ(((unsigned (*)(void))POOL)(), 7);
}
/* Translated code on the same page. */
static void atomics_beside_code(void)
{
    static const u8 code[] = { 0xb8, 7, 0, 0, 0, 0xc3 };
    memcpy((void *)POOL, code, sizeof(code));
    everywhere(run_there);
    count_at(POOL + 512, 3000);
    everywhere(run_there);
}

/* In a page table in use: entries that are not present. */
static void atomics_in_page_table(void)
{
    volatile u64 *pt = AT(POOL + 4096);
    for (unsigned i = 0; i < 512; i++)
        pt[i] = 0;
    pt[0] = (POOL + 8192) | 3;
    u64 was = pd[1024];
    pd[1024] = (ul)pt | 7;
    invlpg(0x80000000ul);
    *AT(0x80000000ul) = 5;
    count_at(POOL + 4096 + 64, 3000);
    EQ(*AT(POOL + 8192), 5);
    pd[1024] = was;
    invlpg(0x80000000ul);
}

static void split_add(unsigned cpu __attribute__((unused)))
{
    barrier();
    for (unsigned i = 0; i < 300; i++) {
        __asm__ volatile("lock addq $1, (%0)" : : "r"(POOL + 8192 - 3) : "memory");
        __asm__ volatile("lock addq $1, (%0)" : : "r"(POOL + 8192 + 64 - 3) : "memory");
    }
    barrier();
}
static void split_locks(void)
{
    for (unsigned i = 0; i < 16; i++)
        ((volatile u8 *)(POOL + 8192 - 8))[i] = 0, ((volatile u8 *)(POOL + 8192 + 56))[i] = 0;
    everywhere(split_add);
    EQ(*AT(POOL + 8192 - 3), 300ull * n_cpus);
    EQ(*AT(POOL + 8192 + 64 - 3), 300ull * n_cpus);
}

/* ---- tables and code that others change ---- */

/* Each round has a fresh table, which becomes known to the softmmu at the very moment another processor writes to it. */
static void change_tables(unsigned cpu)
{
    for (unsigned i = 0; i < 400; i++) {
        volatile u64 *pt = AT(POOL + 0x100000 + (i % 256) * 4096);
        ul a = POOL + 0x3000, b = POOL + 0x4000, va = 0x80000000ul;
        if (cpu == 0) {
            for (unsigned k = 0; k < 512; k++)
                pt[k] = 0;
            *AT(a) = 0xa;
            *AT(b) = 0xb;
            pt[1] = a | 3;
            pd[1024] = (ul)pt | 7;
        }
        invlpg(va);
        invlpg(va + 4096);
        barrier();
        if (cpu == 1) {
            for (unsigned k = 0; k < (i & 15) * 8; k++)
                __asm__ volatile("" : : : "memory");
            pt[1] = b | 3;
        } else {
            u64 v = *AT(va + 4096);
            EQ(v == 0xa || v == 0xb, 1);
        }
        barrier();
        invlpg(va + 4096);
        EQ(*AT(va + 4096), 0xb);
        barrier();
    }
}
static void tables(void)
{
    u64 was = pd[1024];
    everywhere(change_tables);
    pd[1024] = was;
    invlpg(0x80000000ul);
}

/* Each round has a fresh page of code, which one processor changes while others first run it. */
static void change_code(unsigned cpu)
{
    static const u8 code[] = { 0xb8, 1, 0, 0, 0, 0xc3 };
    for (unsigned i = 0; i < 400; i++) {
        u8 *p = (u8 *)POOL + 0x200000 + (i % 256) * 4096;
        unsigned v[4];
        if (cpu == 0)
            memcpy(p, code, sizeof(code));
        barrier();
        cpuid(0, 0, v);
        barrier();
        if (cpu == 1)
            *(volatile u32 *)(p + 1) = 2;
        else
            for (unsigned k = 0; k < 3; k++) {
                unsigned got = ((unsigned (*)(void))p)();
                EQ(got == 1 || got == 2, 1);
            }
        barrier();
        cpuid(0, 0, v);
        EQ(((unsigned (*)(void))p)(), 2);
        barrier();
    }
}
static void code(void) { everywhere(change_code); }

/* Code that is old and known, rewritten again and again by its neighbour. */
static volatile u32 word_now;
static void rewrite(unsigned cpu)
{
    u8 *p = (u8 *)POOL + 0x300000;
    unsigned v[4];
    for (u32 i = 1; i < 1500; i++) {
        if (i % n_cpus == cpu)
            *(volatile u32 *)(p + 1) = word_now = i;
        barrier();
        cpuid(0, 0, v);
        EQ(((unsigned (*)(void))p)(), i);
        barrier();
    }
}
static void code_again(void)
{
    static const u8 code[] = { 0xb8, 0, 0, 0, 0, 0xc3 };
    memcpy((void *)(POOL + 0x300000), code, sizeof(code));
    everywhere(rewrite);
}

/* The machine ends by a port of the last processor's. */
static void end_on_last(unsigned cpu)
{
    if (cpu == n_cpus - 1)
        finish();
    for (;;)
        pause();
}

void main(void);
void main(void)
{
    RUN(start_up);
    RUN(interrupts);
    RUN(nmi_ipis);
    RUN(init_of_running);
    RUN(atomics);
    RUN(atomics_beside_code);
    RUN(atomics_in_page_table);
    RUN(split_locks);
    RUN(tables);
    RUN(code);
    RUN(code_again);
    everywhere(end_on_last);
}
