/*
 * A tiny user of /dev/kvm, static, for a guest that offers SVM: runs code in real mode, protected mode with and without paging, PAE, and long mode.
 * Each piece makes port accesses, one store to and one load from memory that is not there, takes an interrupt, and halts; all of it is counted and
 * compared. Prints `kvm NAME yes` or `kvm NAME no: why` for each mode, then how long exits take. Exit status 0: all yes.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MEMORY 0xa0000u
#define CODE 0x1000u
#define MMIO 0xd0000u
#define OUTS 200u
#define VECTOR 0x40

/* The same programme three times: OUTS words to port 10h, a store and a load outside memory, what was loaded to port 11h, one interrupt, HLT. */
__asm__(".section .rodata\n"
        ".code16\ncode16: mov $200, %cx\n1: mov %cx, %ax; out %ax, $0x10; loop 1b\n"
        "mov $0xd000, %ax; mov %ax, %ds; movb $0x77, 0x10; mov 0x14, %al; out %al, $0x11\n"
        "xor %ax, %ax; mov %ax, %ds; sti; out %al, $0x12; hlt; mov %bx, %ax; out %ax, $0x13; cli; hlt\n"
        "handler16: inc %bx; iret\ncode16_end:\n"
        ".code32\ncode32: mov $200, %ecx\n1: mov %ecx, %eax; out %ax, $0x10; loop 1b\n"
        "movb $0x77, 0xd0010; mov 0xd0014, %al; out %al, $0x11\n"
        "sti; out %al, $0x12; hlt; mov %ebx, %eax; out %ax, $0x13; cli; hlt\n"
        "handler32: inc %ebx; iret\ncode32_end:\n"
        ".code64\ncode64: mov $200, %ecx\n1: mov %ecx, %eax; out %ax, $0x10; loop 1b\n"
        "movb $0x77, 0xd0010; mov 0xd0014, %al; out %al, $0x11\n"
        "sti; out %al, $0x12; hlt; mov %ebx, %eax; out %ax, $0x13; cli; hlt\n"
        "handler64: inc %rbx; iretq\ncode64_end:\n"
        "spin64: mov $50000000, %ecx\n1: dec %ecx; jnz 1b; hlt\n"
        "exits64: mov $20000, %ecx\n1: out %al, $0x14; loop 1b; hlt\nspin64_end:\n.previous\n");
extern const uint8_t code16[], handler16[], code16_end[], code32[], handler32[], code32_end[], code64[], handler64[], code64_end[];
extern const uint8_t spin64[], exits64[], spin64_end[];

enum mode { REAL, PROTECTED, PAGED, PAE, LONG, MODES };
static const char *const mode_name[MODES] = { "real", "protected", "paged", "pae", "long" };

struct machine { int vm, vcpu; uint8_t *mem; struct kvm_run *run; unsigned outs, sum, mmio, halts, loaded, handled, inject; };

static int kvm;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void machine_new(struct machine *m)
{
    memset(m, 0, sizeof(*m));
    m->vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (m->vm < 0)
        die("KVM_CREATE_VM");
    ioctl(m->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul);
    m->mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region r = { .memory_size = MEMORY, .userspace_addr = (uintptr_t)m->mem };
    if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &r) < 0)
        die("KVM_SET_USER_MEMORY_REGION");
    m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
    m->run = mmap(NULL, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
    if (m->vcpu < 0 || m->run == MAP_FAILED)
        die("KVM_CREATE_VCPU");
    struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 e[100]; } id = { .head.nent = 100 };
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &id) < 0 || ioctl(m->vcpu, KVM_SET_CPUID2, &id) < 0)
        die("KVM_SET_CPUID2");
}

static void machine_free(struct machine *m)
{
    munmap(m->run, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
    close(m->vcpu);
    close(m->vm);
    munmap(m->mem, MEMORY);
}

static void poke32(struct machine *m, unsigned at, uint32_t v) { memcpy(m->mem + at, &v, 4); }
static void poke64(struct machine *m, unsigned at, uint64_t v) { memcpy(m->mem + at, &v, 8); }

/* Tables at 10000h, IDT at 8000h, GDT at 9000h. */
static void set_idt(struct machine *m, enum mode mode, unsigned handler)
{
    if (mode == REAL) {
        poke32(m, VECTOR * 4, handler);
    } else if (mode == LONG) {
        poke64(m, 0x8000 + VECTOR * 16, 0x00008e0000080000ull | handler);
        poke64(m, 0x8000 + VECTOR * 16 + 8, 0);
    } else {
        poke64(m, 0x8000 + VECTOR * 8, 0x00008e0000080000ull | handler);
    }
    poke64(m, 0x9008, mode == LONG ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull);
    poke64(m, 0x9010, 0x00cf93000000ffffull);
}

static void set_tables(struct machine *m, enum mode mode)
{
    if (mode == PAGED)
        poke32(m, 0x10000, 0x83);                  /* one page of 4 MiB */
    if (mode == PAE)
        poke64(m, 0x10000, 0x11001);
    if (mode == LONG) {
        poke64(m, 0x10000, 0x12003);
        poke64(m, 0x12000, 0x11003);
    }
    poke64(m, 0x11000, 0x83);                      /* 2 MiB */
}

static void set_mode(struct machine *m, enum mode mode)
{
    struct kvm_sregs s;
    if (ioctl(m->vcpu, KVM_GET_SREGS, &s) < 0)
        die("KVM_GET_SREGS");
    s.cs.base = s.cs.selector = 0;
    if (mode != REAL) {
        struct kvm_segment data = { .limit = 0xffffffff, .selector = 0x10, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1 }, code = data;
        code.selector = 8;
        code.type = 11;
        code.db = mode != LONG;
        code.l = mode == LONG;
        s.ds = s.es = s.fs = s.gs = s.ss = data;
        s.cs = code;
        s.gdt.base = 0x9000;
        s.gdt.limit = 0x17;
        s.idt.base = 0x8000;
        s.idt.limit = 0xfff;
        s.cr0 = 0x11 | (mode >= PAGED ? 0x80000000u : 0);
        s.cr3 = 0x10000;
        s.cr4 = mode == PAGED ? 0x10 : mode >= PAE ? 0x20 : 0;
        s.efer = mode == LONG ? 0x500 : 0;
        set_tables(m, mode);
    }
    if (ioctl(m->vcpu, KVM_SET_SREGS, &s) < 0)
        die("KVM_SET_SREGS");
}

static void load(struct machine *m, enum mode mode)
{
    const uint8_t *from = mode == REAL ? code16 : mode == LONG ? code64 : code32;
    const uint8_t *end = mode == REAL ? code16_end : mode == LONG ? code64_end : code32_end;
    const uint8_t *handler = mode == REAL ? handler16 : mode == LONG ? handler64 : handler32;
    memcpy(m->mem + CODE, from, (size_t)(end - from));
    set_idt(m, mode, CODE + (unsigned)(handler - from));
    set_mode(m, mode);
    struct kvm_regs r = { .rip = CODE, .rsp = 0x7000, .rflags = 2 };
    if (ioctl(m->vcpu, KVM_SET_REGS, &r) < 0)
        die("KVM_SET_REGS");
}

static void port(struct machine *m)
{
    uint32_t v = 0;
    memcpy(&v, (uint8_t *)m->run + m->run->io.data_offset, m->run->io.size);
    switch (m->run->io.port) {
    case 0x10: m->outs++; m->sum += v; break;
    case 0x11: m->loaded = v; break;
    case 0x12: m->inject = 1; break;
    case 0x13: m->handled = v; break;
    }
}

static const char *memory_access(struct machine *m)
{
    m->mmio++;
    if (m->run->mmio.is_write && m->run->mmio.phys_addr == MMIO + 0x10 && m->run->mmio.len == 1 && m->run->mmio.data[0] == 0x77)
        return NULL;
    if (m->run->mmio.is_write || m->run->mmio.phys_addr != MMIO + 0x14 || m->run->mmio.len != 1)
        return "an access that nobody made";
    m->run->mmio.data[0] = 0x5a;
    return NULL;
}

static const char *step(struct machine *m)
{
    static char text[80];
    struct kvm_interrupt irq = { VECTOR };
    if (m->inject && m->run->ready_for_interrupt_injection) {
        if (ioctl(m->vcpu, KVM_INTERRUPT, &irq) < 0)
            return "KVM_INTERRUPT";
        m->inject = 0;
    }
    m->run->request_interrupt_window = m->inject != 0;
    if (ioctl(m->vcpu, KVM_RUN, 0) < 0)
        return "KVM_RUN";
    switch (m->run->exit_reason) {
    case KVM_EXIT_IO: port(m); return NULL;
    case KVM_EXIT_MMIO: return memory_access(m);
    case KVM_EXIT_HLT: m->halts++; return NULL;
    case KVM_EXIT_IRQ_WINDOW_OPEN: return NULL;
    }
    snprintf(text, sizeof(text), "exit reason %u (%llx)", m->run->exit_reason, (unsigned long long)m->run->hw.hardware_exit_reason);
    return text;
}

/* The handler may have run before the first HLT: then that one halts for good, and the probe wakes it as a timer would. */
static const char *run_mode(enum mode mode)
{
    static char text[160];
    struct machine m;
    const char *bad = NULL;
    machine_new(&m);
    load(&m, mode);
    for (unsigned n = 0; n < 1000 && !bad && !m.handled; n++)
        bad = step(&m);
    for (unsigned n = 0; n < 4 && !bad && m.run->exit_reason != KVM_EXIT_HLT; n++)
        bad = step(&m);
    if (!bad && (m.outs != OUTS || m.sum != OUTS * (OUTS + 1) / 2 || m.mmio != 2 || m.loaded != 0x5a || m.handled != 1 || !m.halts)) {
        snprintf(text, sizeof(text), "outs %u sum %u mmio %u loaded %x handled %u halts %u", m.outs, m.sum, m.mmio, m.loaded, m.handled, m.halts);
        bad = text;
    }
    machine_free(&m);
    return bad;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double timed(const uint8_t *what)
{
    struct machine m;
    machine_new(&m);
    load(&m, LONG);
    memcpy(m.mem + CODE, spin64, (size_t)(spin64_end - spin64));
    struct kvm_regs r = { .rip = CODE + (uint64_t)(what - spin64), .rsp = 0x7000, .rflags = 2 };
    ioctl(m.vcpu, KVM_SET_REGS, &r);
    double begin = seconds();
    while (!m.halts && !step(&m)) {
    }
    double took = seconds() - begin;
    machine_free(&m);
    return took;
}

int main(void)
{
    int status = 0;
    kvm = open("/dev/kvm", O_RDWR);
    if (kvm < 0 || ioctl(kvm, KVM_GET_API_VERSION, 0) != 12)
        die("/dev/kvm");
    for (enum mode mode = REAL; mode < MODES; mode++) {
        const char *bad = run_mode(mode);
        printf("kvm %s %s%s\n", mode_name[mode], bad ? "no: " : "yes", bad ? bad : "");
        status |= bad != NULL;
        fflush(stdout);
    }
    printf("kvm speed %.0f M instructions/s, %.1f us an exit to user mode\n", 100 / timed(spin64), timed(exits64) / 20000 * 1e6);
    return status;
}
