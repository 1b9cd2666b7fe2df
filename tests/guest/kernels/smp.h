/*
 * Several processors for the 64-bit test kernels (kit.h): start-up by INIT and SIPI, jobs that all of them run, barriers. Included by one file of a
 * kernel.
 */
#ifndef SMP_H
#define SMP_H
#include "kit.h"

#define APIC 0xfee00000ul
#define MAX_CPUS 32
#define AT(a) ((volatile u64 *)(ul)(a))

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
        "mov $0xfee00020, %eax\n mov (%rax), %eax\n shr $24, %eax\n mov %eax, %edi\n shl $13, %eax\n lea ap_stacks + 8192(%rax), %rsp\n jmp ap_main\n"
        ".global ipi_stub\n ipi_stub: push %rax\n mov $0xfee00020, %eax\n mov (%rax), %eax\n shr $24, %eax\n lock incl ipis(,%rax,4)\n"
        "mov $0xfee000b0, %eax\n movl $0, (%rax)\n pop %rax\n iretq\n"
        ".global nmi_stub\n nmi_stub: push %rax\n mov $0xfee00020, %eax\n mov (%rax), %eax\n shr $24, %eax\n lock incl nmis(,%rax,4)\n pop %rax\n iretq\n"
        ".popsection\n");
extern u8 trampoline[], trampoline_end[], ipi_stub[], nmi_stub[];
volatile unsigned ipis[MAX_CPUS], nmis[MAX_CPUS];
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

static inline void barrier(void)
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
    unsigned seen = job_number;
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

static void wake_aps(void)
{
    apic_write(0x300, 0xc4500);
    wait_us(1000);
    apic_write(0x300, 0xc4608);
    for (unsigned i = 0; i < 5000 && started != n_cpus - 1; i++)
        wait_us(1000);
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
    idt[2] = (struct idt_entry){ (u16)(ul)nmi_stub, 8, 0x8e00, (u16)((ul)nmi_stub >> 16), 0, 0 };
    apic_write(0xf0, 0x1ff);
    EQ(apic_read(0x20) >> 24, 0);
    wake_aps();
    EQ(started, n_cpus - 1);
    if (started != n_cpus - 1)
        finish();
    wait_us(1000);
    apic_write(0x300, 0xc4608);                          /* a second one means nothing to a processor that runs */
    wait_us(1000);
    EQ(started, n_cpus - 1);
}
#endif
