/*
 * The workloads of bench/engines, without an operating system, so that every engine runs the same: `-append "NAME TICKS"` runs one for about that
 * many ticks of the time stamp counter, in short runs, and says `took NAME TICKS OPS CHECK ALL` of the best; ALL: the ops of all runs, to which what the
 * engine counts belongs. NAME: a row of `works`, or of compute_table (bench/compute.c), which runs at ring 3. What cannot be done says
 * `failed NAME why`. Ring 0 uses no INT n: see exits64.c.
 */
#include "bench/compute.h"
#include "virtio.h"

#define APIC 0xfee00000ul
#define IOAPIC 0xfec00000ul
#define HPET 0xfed00000ul
#define WINDOW 0x40000000ul             /* 2 MiB of 4 KiB pages that the paging workloads change */

extern u64 pml4[512], pdpt[512], pd[2048];
extern u32 multiboot_info;

static u64 pt[2][512] __attribute__((aligned(4096))), pml4_b[512] __attribute__((aligned(4096))), pdpt_b[512] __attribute__((aligned(4096))),
    pd_b[512] __attribute__((aligned(4096)));
static u8 pages[64][4096] __attribute__((aligned(4096)));
static char line[256];
static u64 check;

static inline void store32(ul a, u32 v) { __asm__ volatile("movl %0, (%1)" : : "r"(v), "r"(a) : "memory"); }
static inline u32 load32(ul a) { u32 v; __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(a) : "memory"); return v; }
static inline void touch(ul a) { __asm__ volatile("movq (%0), %%rax" : : "r"(a) : "rax", "memory"); }
static inline void invlpg(ul a) { __asm__ volatile("invlpg (%0)" : : "r"(a) : "memory"); }

static void put_u64(u64 v)
{
    if (v > 9)
        put_u64(v / 10);
    put_char((char)('0' + v % 10));
}

static void __attribute__((noreturn)) failed(const char *why)
{
    put("failed "); put(line); put(" "); put(why); put("\n");
    any_failed = 1;
    finish();
}

/* Handlers of their own: those of the kit carry the whole register context to and fro. */
extern volatile u64 ticked, fault_entry;
extern u64 fault_address;
extern u8 on_interrupt[], on_uart[], on_page_fault[], on_syscall[];
__asm__(".pushsection .pieces,\"awx\",@progbits\n.balign 64\n"
        "ticked: .quad 0\nfault_entry: .quad 0\nfault_address: .quad 0\n"
        "on_uart: push %rax\n push %rdx\n mov $0x3f9, %edx\n xor %eax, %eax\n out %al, %dx\n pop %rdx\n jmp 1f\n"
        "on_interrupt: push %rax\n 1: incq ticked\n mov $0xfee000b0, %eax\n movl $0, (%rax)\n pop %rax\n iretq\n"
        "on_page_fault: push %rax\n push %rdx\n mov fault_entry, %rax\n mov fault_address, %rdx\n mov %rax, (%rdx)\n"
        " incq ticked\n pop %rdx\n pop %rax\n add $8, %rsp\n iretq\n"
        "on_syscall: sysretq\n"
        ".popsection");
/* Takes the time at ring 3: the way there and back is ring 0's affair. rax: ticks, rbp: the result. */
CODE(user_compute, "mov %rax, %rbp\n rdtsc\n shl $32, %rdx\n or %rdx, %rax\n mov %rax, %rbx\n call *%rbp\n"
     "mov %rax, %rbp\n rdtsc\n shl $32, %rdx\n or %rdx, %rax\n sub %rbx, %rax\n ud2");
CODE(user_syscalls, "1: syscall\n dec %rdi\n jnz 1b\n ud2");

static void gate(unsigned vector, u8 *handler)
{
    idt[vector].lo = (u16)(ul)handler;
    idt[vector].mid = (u16)((ul)handler >> 16);
}

static void setup_window(void)
{
    for (unsigned i = 0; i < 512; i++) {
        pt[0][i] = (ul)pages[i % 32] | 7;
        pt[1][i] = (ul)pages[32 + i % 32] | 7;
        pml4_b[i] = pml4[i];
        pdpt_b[i] = pdpt[i];
        pd_b[i] = pd[512 + i];
    }
    pd[512] = (ul)pt[0] | 7;
    pd_b[0] = (ul)pt[1] | 7;
    pdpt_b[1] = (ul)pd_b | 7;
    pml4_b[0] = (ul)pdpt_b | 7;
    WRITE_CR(3, pml4);
    fault_address = (ul)&pt[0][0];
    fault_entry = pt[0][0];
}

/* ---- exits ---- */
static u64 port_read(u64 n) { for (; n; n--) inb(0x3ff); return 0; }
static u64 port_write(u64 n) { for (; n; n--) outb(0x3ff, 0x55); return 0; }
static u64 mmio_read(u64 n) { for (; n; n--) load32(HPET + 4); return 0; }
static u64 mmio_write(u64 n) { for (; n; n--) store32(HPET + 0x108, 5); return 0; }
static u64 apic_read(u64 n) { for (; n; n--) load32(APIC + 0x80); return 0; }
static u64 cpuids(u64 n) { for (u32 r[4]; n; n--) cpuid(0, 0, r); return 0; }
static u64 msr_read(u64 n) { for (; n; n--) rdmsr(0xfe); return 0; }
static u64 msr_write(u64 n) { for (; n; n--) wrmsr(0xc0000102, n); return 0; }
static u64 empty(u64 n) { for (; n; n--) __asm__ volatile("" : : : "memory"); return 0; }
static u64 ring0_integer(u64 n) { compute_table[0].run(n); return 0; }

/* ---- interrupts ---- */
static void wait_tick(u64 before)
{
    u64 start = rdtsc();
    while (ticked == before)
        if (rdtsc() - start > 20000000000ull)
            failed("the interrupt does not come");
}

static void setup_apic(void)
{
    store32(APIC + 0xf0, 0x1ff);
    store32(APIC + 0x3e0, 0xb);
    store32(APIC + 0x320, 0x51);
    gate(0x51, on_interrupt);
}

static u64 ipi_self(u64 n)
{
    __asm__ volatile("sti");
    for (; n; n--) {
        u64 before = ticked;
        store32(APIC + 0x300, 0x40051);
        wait_tick(before);
    }
    __asm__ volatile("cli");
    return 0;
}

/* The timer is set to its shortest time, and the processor halts until it comes. */
static u64 halt_wake(u64 n)
{
    for (; n; n--) {
        u64 before = ticked;
        store32(APIC + 0x380, 1);
        while (ticked == before)
            __asm__ volatile("sti\n hlt\n cli" : : : "memory");
    }
    return 0;
}

static void setup_uart(void)
{
    setup_apic();
    gate(0x62, on_uart);
    store32(IOAPIC, 0x19);
    store32(IOAPIC + 0x10, 0);
    store32(IOAPIC, 0x18);
    store32(IOAPIC + 0x10, 0x62);                       /* edge */
    outb(0x3fc, 8);
}

/* A device's line through the I/O APIC: the transmitter is empty, so allowing its interrupt raises it. */
static u64 device_interrupt(u64 n)
{
    __asm__ volatile("sti");
    for (; n; n--) {
        u64 before = ticked;
        outb(0x3f9, 2);
        wait_tick(before);
    }
    __asm__ volatile("cli");
    return 0;
}

/* ---- paging ---- */
static u64 pte_change(u64 n)
{
    for (; n; n--) {
        pt[0][0] = (ul)pages[n % 32] | 7;
        invlpg(WINDOW);
        touch(WINDOW);
    }
    return 0;
}

static void setup_fault(void) { setup_window(); gate(14, on_page_fault); }

static u64 page_fault(u64 n)
{
    for (; n; n--) {
        pt[0][0] = 0;
        invlpg(WINDOW);
        touch(WINDOW);
    }
    return 0;
}

/* What a process does at its start and end: 64 pages are entered, used and taken away, and CR3 is loaded. An op is a page. */
static u64 map_unmap(u64 n)
{
    for (u64 i = 0; i < n; i += 64) {
        for (unsigned p = 64; p < 128; p++)
            pt[0][p] = (ul)pages[p % 32] | 7;
        for (unsigned p = 64; p < 128; p++)
            touch(WINDOW + p * 4096);
        for (unsigned p = 64; p < 128; p++)
            pt[0][p] = 0;
        WRITE_CR(3, pml4);
    }
    return 0;
}

/* To the other address space, where eight pages are used. */
static u64 context_switch(u64 n)
{
    for (; n; n--) {
        WRITE_CR(3, n & 1 ? pml4_b : pml4);
        for (unsigned p = 0; p < 8; p++)
            touch(WINDOW + p * 4096);
    }
    return 0;
}

/* ---- ring 3 ---- */
/* The ticks that the code itself says. */
static u64 user(u8 *code, u64 n, u64 function)
{
    struct regs r = { .ip = (ul)code, .cs = 0x2b, .ss = 0x23, .ds = 0x23, .es = 0x23, .fl = 2, .sp = (ul)user_stack_top, .di = n, .ax = function };

    enter(&r);
    if (last.vec != 6)
        failed("ring 3 has ended by another exception");
    return last.ax;
}

static void setup_syscall(void)
{
    wrmsr(0xc0000081, 0x001b000800000000);
    wrmsr(0xc0000082, (ul)on_syscall);
    wrmsr(0xc0000084, 0x200);
}

static u64 system_call(u64 n) { user(user_syscalls, n, 0); return 0; }

/* ---- devices ---- */
static struct vring disk_ring, receive_ring, send_ring;
static u8 sector[4096] __attribute__((aligned(4096))), frame[2][2048];
static struct { u32 type, zero; u64 at; u8 status; } disk_request;

static u64 disk_read(u64 n);

static void setup_disk(void)
{
    setup_apic();
    if (!virtio_find(0x1001, 0xc100, 0xf0000000, 0x51) || !virtio_queue(&disk_ring, 0xc100, 0))
        failed("there is no virtio disk");
    disk_ring.desc[0] = (struct vdesc){ (ul)&disk_request, 16, VDESC_NEXT, 1 };
    disk_ring.desc[1] = (struct vdesc){ (ul)sector, sizeof(sector), VDESC_NEXT | VDESC_WRITE, 2 };
    disk_ring.desc[2] = (struct vdesc){ (ul)&disk_request.status, 1, VDESC_WRITE, 0 };
    virtio_start(0xc100);
    disk_read(1);                                       /* at 4 KiB */
    for (unsigned i = 0; i < sizeof(sector); i++)
        check += sector[i];
}

/* 4 KiB, one request after the other, through the first 4 MiB of the disk. */
static u64 disk_read(u64 n)
{
    for (; n; n--) {
        disk_request.at = n % 1024 * 8;
        disk_request.status = 0xff;
        virtio_offer(&disk_ring);
        virtio_wait(&disk_ring);
        if (disk_request.status)
            failed("a read does not end well");
    }
    return 0;
}

static void setup_net(void)
{
    static const u8 arp[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
        0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2 };

    setup_apic();
    if (!virtio_find(0x1000, 0xc200, 0xf0010000, 0x51) || !virtio_queue(&receive_ring, 0xc200, 0) || !virtio_queue(&send_ring, 0xc200, 1))
        failed("there is no virtio network interface");
    memcpy(frame[1] + 10, arp, sizeof(arp));
    receive_ring.desc[0] = (struct vdesc){ (ul)frame[0], 2048, VDESC_WRITE, 0 };
    send_ring.desc[0] = (struct vdesc){ (ul)frame[1], 10 + sizeof(arp), 0, 0 };
    virtio_start(0xc200);
}

/* Who has 10.0.2.2? and the answer. */
static u64 net_round_trip(u64 n)
{
    for (; n; n--) {
        virtio_offer(&receive_ring);
        virtio_offer(&send_ring);
        virtio_wait(&send_ring);
        virtio_wait(&receive_ring);
    }
    return 0;
}

/* ---- the list ---- */
static void nothing(void) { }
/* run: N ops; 0, or its own idea of the ticks that they have taken. */
static const struct work { const char *name; void (*setup)(void); u64 (*run)(u64 n); } works[] = {
    { "empty", nothing, empty },
    { "ring0_integer", nothing, ring0_integer }, { "port_read", nothing, port_read }, { "port_write", nothing, port_write },
    { "mmio_read", nothing, mmio_read }, { "mmio_write", nothing, mmio_write }, { "apic_read", nothing, apic_read }, { "cpuid", nothing, cpuids },
    { "msr_read", nothing, msr_read }, { "msr_write", nothing, msr_write }, { "ipi_self", setup_apic, ipi_self },
    { "halt_wake", setup_apic, halt_wake }, { "device_interrupt", setup_uart, device_interrupt }, { "pte_change", setup_window, pte_change },
    { "page_fault", setup_fault, page_fault }, { "map_unmap", setup_window, map_unmap }, { "context_switch", setup_window, context_switch },
    { "system_call", setup_syscall, system_call }, { "disk_read", setup_disk, disk_read }, { "net_round_trip", setup_net, net_round_trip },
};

static const struct compute *computing;
static u64 run_compute(u64 n) { return user(user_compute, n, (ul)computing->run); }

static u64 timed(u64 (*run)(u64), u64 n)
{
    u64 start = rdtsc(), own = run(n);
    return own ? own : rdtsc() - start;
}

/* N grows until a run takes a twentieth of what was asked for; then the best of the runs that fit in: short ones escape what else the host does. */
static void measure(u64 (*run)(u64), u64 want)
{
    u64 n = 64, ticks, best = ~0ull, all = 0, spent = 0, slice = want / 20;

    while (all += n, (ticks = timed(run, n)) < slice / 2 && n < 1ull << 40)
        n = ticks < slice / 64 ? n * 8 : n * slice / ticks / 64 * 64 + 64;
    for (int i = 0; i < 3 || spent < want; i++) {
        ticks = timed(run, n);
        best = ticks < best ? ticks : best;
        all += n;
        spent += ticks;
    }
    put("took "); put(line); put(" "); put_u64(best); put(" "); put_u64(n); put(" "); put_u64(check); put(" "); put_u64(all); put("\n");
}

static int same(const char *a, const char *b)
{
    for (; *a && *a == *b; a++, b++)
        ;
    return *a == *b;
}

/* The two last words of the command line: `line` becomes the first of them; the value is the second. */
static u64 take_words(void)
{
    const char *from = (const char *)(ul)*(u32 *)(ul)(multiboot_info + 16), *words[2] = { "", "" };
    u64 v = 0;
    unsigned n = 0;

    for (const char *p = from; *p; p++) {
        if (*p != ' ' && (p == from || p[-1] == ' ')) {
            words[0] = words[1];
            words[1] = p;
        }
    }
    for (; words[0][n] && words[0][n] != ' ' && n < sizeof(line) - 1; n++)
        line[n] = words[0][n];
    for (const char *p = words[1]; *p >= '0' && *p <= '9'; p++)
        v = v * 10 + (u64)(*p - '0');
    return v;
}

void main(void);
void main(void)
{
    u64 want = take_words();

    for (unsigned i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
        if (same(works[i].name, line)) {
            works[i].setup();
            measure(works[i].run, want);
            finish();
        }
    }
    for (computing = compute_table; computing->name; computing++) {
        if (same(computing->name, line)) {
            run_compute(1000);
            check = last.bp;
            measure(run_compute, want);
            finish();
        }
    }
    failed("there is no such workload");
}
