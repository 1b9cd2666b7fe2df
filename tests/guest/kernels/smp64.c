/*
 * Several processors in 64-bit mode: start-up by INIT and SIPI, interrupts between them, atomic instructions on memory of every kind (also where
 * translated code or a page table lies, and across a page end), memory order (litmus tests SB, MP, LB, IRIW), changes of page
 * tables and of code seen by others. Each part is a job that all processors run, with barriers inside.
 */
#include "kit.h"

#define APIC 0xfee00000ul
#define MAX_CPUS 32
#define AT(a) ((volatile u64 *)(ul)(a))

enum { POOL = 0x1000000, POOL_PAGES = 1024 };           /* fresh pages for tables and code */

extern u64 pml4[512], pdpt[512], pd[2048];
u8 ap_stacks[MAX_CPUS][8192] __attribute__((aligned(4096)));
static volatile unsigned started, n_cpus;
static void (*volatile job)(unsigned);
static volatile unsigned job_number, job_done;
static unsigned bar_count;
static volatile unsigned bar_round;

__asm__(".pushsection .pieces,\"awx\",@progbits\n"
        ".balign 16\n.global trampoline, trampoline_end\n"
        "trampoline: .code16\n cli\n xor %ax, %ax\n mov %ax, %ds\n lgdtl 0x8000 + tramp_gdt - trampoline\n"
        "mov $pml4, %eax\n mov %eax, %cr3\n mov $0x6a0, %eax\n mov %eax, %cr4\n mov $0xc0000080, %ecx\n mov $0x901, %eax\n xor %edx, %edx\n wrmsr\n"
        "mov $0x80010033, %eax\n mov %eax, %cr0\n ljmpl $8, $ap64\n"
        "tramp_gdt: .word 255\n .long gdt\n"
        "trampoline_end: .code64\n"
        "ap64: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %ss\n xor %eax, %eax\n mov %eax, %fs\n mov %eax, %gs\n lidt smp_idt_ptr\n"
        "mov $1, %eax\n lock xaddl %eax, ap_number\n mov %eax, %edi\n shl $13, %eax\n lea ap_stacks + 8192(%rax), %rsp\n jmp ap_main\n"
        ".global ipi_stub\n ipi_stub: push %rax\n mov $0xfee00020, %eax\n mov (%rax), %eax\n shr $24, %eax\n lock incl ipis(,%rax,4)\n"
        "mov $0xfee000b0, %eax\n movl $0, (%rax)\n pop %rax\n iretq\n"
        ".popsection\n");
extern u8 trampoline[], trampoline_end[], ipi_stub[];
unsigned ap_number = 1;
volatile unsigned ipis[MAX_CPUS];
struct { u16 limit; u64 base; } __attribute__((packed)) smp_idt_ptr = { 4095, 0 };

static inline u32 apic_read(u32 r) { u32 v; __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(APIC + r) : "memory"); return v; }
static inline void apic_write(u32 r, u32 v) { __asm__ volatile("movl %0, (%1)" : : "r"(v), "r"(APIC + r) : "memory"); }
static inline void pause(void) { __asm__ volatile("pause" : : : "memory"); }
static inline u64 xadd(volatile u64 *p, u64 v) { __asm__ volatile("lock xaddq %0, %1" : "+r"(v), "+m"(*p) : : "memory"); return v; }
static inline u64 xchg(volatile u64 *p, u64 v) { __asm__ volatile("xchgq %0, %1" : "+r"(v), "+m"(*p) : : "memory"); return v; }
static inline u64 cmpxchg(volatile u64 *p, u64 old, u64 new)
{
    __asm__ volatile("lock cmpxchgq %2, %1" : "+a"(old), "+m"(*p) : "r"(new) : "memory");
    return old;
}
static inline void invlpg(ul va) { __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory"); }

static void barrier(void)
{
    unsigned round = bar_round;
    if (__atomic_add_fetch(&bar_count, 1, __ATOMIC_SEQ_CST) == n_cpus) {
        bar_count = 0;
        __atomic_store_n(&bar_round, round + 1, __ATOMIC_SEQ_CST);
    } else {
        while (__atomic_load_n(&bar_round, __ATOMIC_SEQ_CST) == round)
            pause();
    }
}

void ap_main(unsigned cpu);
void ap_main(unsigned cpu)
{
    unsigned seen = 0;
    apic_write(0xf0, 0x1ff);
    __atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        while (__atomic_load_n(&job_number, __ATOMIC_SEQ_CST) == seen)
            pause();
        seen = job_number;
        job(cpu);
        __atomic_add_fetch(&job_done, 1, __ATOMIC_SEQ_CST);
    }
}

static void everywhere(void (*f)(unsigned))
{
    job = f;
    job_done = 0;
    __atomic_add_fetch(&job_number, 1, __ATOMIC_SEQ_CST);
    f(0);
    while (__atomic_load_n(&job_done, __ATOMIC_SEQ_CST) != n_cpus - 1)
        pause();
}

static void wait_us(unsigned us)
{
    for (u64 end = rdtsc() + (u64)us * 2000; rdtsc() < end;)
        pause();
}

static void start_up(void)
{
    u8 *low = (u8 *)0x8000;
    outb(0x510, 5), outb(0x511, 0);
    __asm__ volatile("outw %w0, %w1" : : "a"(5), "d"(0x510));
    n_cpus = inb(0x511);
    for (ul i = 0; i < (ul)(trampoline_end - trampoline); i++)
        low[i] = trampoline[i];
    smp_idt_ptr.base = (ul)idt;
    idt[0x60] = (struct idt_entry){ (u16)(ul)ipi_stub, 8, 0x8e00, (u16)((ul)ipi_stub >> 16), 0, 0 };
    apic_write(0xf0, 0x1ff);
    EQ(apic_read(0x20) >> 24, 0);
    apic_write(0x300, 0xc4500);
    wait_us(1000);
    apic_write(0x300, 0xc4608);
    for (unsigned i = 0; i < 5000 && started != n_cpus - 1; i++)
        wait_us(1000);
    EQ(started, n_cpus - 1);
    if (started != n_cpus - 1)
        finish();
    wait_us(1000);
    apic_write(0x300, 0xc4608);                          /* a second one means nothing to a processor that runs */
    wait_us(1000);
    EQ(started, n_cpus - 1);
}

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

/* ---- memory order: many instances in a row, on cache lines of their own ---- */
enum { INSTANCES = 4096, BATCHES = 245 };                /* a million and more */
struct line { volatile unsigned x, r0, r1, pad0[13], y, r2, r3, pad1[13]; };
static struct line *const lines = (void *)0x1800000;
static int litmus;
static unsigned reordered;                              /* store buffering, which is allowed without a fence */
enum { SB, SB_FENCED, MP, LB, IRIW };

#define FOR_EACH for (unsigned i = 0; i < INSTANCES; i++) { struct line *l = &lines[i * 1021 % INSTANCES];
static void store_buffer(unsigned cpu)
{
    if (cpu == 0) FOR_EACH l->x = 1; l->r0 = l->y; }
    if (cpu == 1) FOR_EACH l->y = 1; l->r1 = l->x; }
}
static void store_buffer_fenced(unsigned cpu)
{
    if (cpu == 0) FOR_EACH l->x = 1; __asm__ volatile("mfence" : : : "memory"); l->r0 = l->y; }
    if (cpu == 1) FOR_EACH unsigned v = 1; __asm__ volatile("xchgl %0, %1" : "+r"(v), "+m"(l->y) : : "memory"); l->r1 = l->x; }
}
static void message_passing(unsigned cpu)
{
    if (cpu == 0) FOR_EACH l->x = 1; l->y = 1; }
    if (cpu == 1) FOR_EACH l->r0 = l->y; l->r1 = l->x; }
}
static void load_buffer(unsigned cpu)
{
    if (cpu == 0) FOR_EACH l->r0 = l->y; l->x = 1; }
    if (cpu == 1) FOR_EACH l->r1 = l->x; l->y = 1; }
}
static void independent_reads(unsigned cpu)
{
    if (cpu == 0) FOR_EACH l->x = 1; }
    if (cpu == 1) FOR_EACH l->y = 1; }
    if (cpu == 2) FOR_EACH l->r0 = l->x; l->r1 = l->y; }
    if (cpu == 3) FOR_EACH l->r2 = l->y; l->r3 = l->x; }
}
static void (*const litmus_code[])(unsigned) = { store_buffer, store_buffer_fenced, message_passing, load_buffer, independent_reads };

static void litmus_batch(unsigned cpu)
{
    for (unsigned b = 0; b < BATCHES; b++) {
        if (cpu == 0)
            memset(lines, 0, sizeof(*lines) * INSTANCES);
        barrier();
        litmus_code[litmus](cpu);
        barrier();
        if (cpu != 0)
            continue;
        for (unsigned i = 0; i < INSTANCES; i++) {
            struct line *l = &lines[i];
            unsigned bad = litmus == SB_FENCED ? !l->r0 && !l->r1 : litmus == MP ? l->r0 && !l->r1 : litmus == LB ? l->r0 && l->r1 :
                litmus == IRIW ? l->r0 && !l->r1 && l->r2 && !l->r3 : 0;
            EQ(bad, 0);
            reordered += litmus == SB && !l->r0 && !l->r1;
        }
    }
}
static void litmus_sb(void)
{
    litmus = SB;
    everywhere(litmus_batch);
    if (!reordered)
        SKIP("no store was seen to wait: did the processors run in turns?");
}
static void litmus_sb_fenced(void) { litmus = SB_FENCED; everywhere(litmus_batch); }
static void litmus_mp(void) { litmus = MP; everywhere(litmus_batch); }
static void litmus_lb(void) { litmus = LB; everywhere(litmus_batch); }
static void litmus_iriw(void)
{
    if (n_cpus < 4)
        SKIP("fewer than four processors");
    litmus = IRIW;
    everywhere(litmus_batch);
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

void main(void);
void main(void)
{
    RUN(start_up);
    RUN(interrupts);
    RUN(atomics);
    RUN(atomics_beside_code);
    RUN(atomics_in_page_table);
    RUN(split_locks);
    RUN(litmus_sb);
    RUN(litmus_sb_fenced);
    RUN(litmus_mp);
    RUN(litmus_lb);
    RUN(litmus_iriw);
    RUN(tables);
    RUN(code);
    RUN(code_again);
    finish();
}
