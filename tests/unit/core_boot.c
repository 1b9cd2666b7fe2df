/*
 * vmm/load_*.c, vmm/elf.c: a made-up kernel of each kind is put where it belongs, and damaged ones are refused without harm.
 */
#include "core/alloc.h"
#include "tests/unit/test.h"
#include "vmm/boot.h"
#include <stdlib.h>
#include <unistd.h>

#define RAM (16u << 20)

static struct vm *vm;
static struct vcpu vcpu;
static struct x86_cpu cpu;
static uint32_t flags_word;
static struct region ram;
static struct engine engine;
static unsigned changed;
static void state_changed(struct vcpu *v) { changed++; }

static void machine(void)
{
    engine.vcpu_state_changed = state_changed;
    if (vm)
        return;
    vm = vm_new(NULL, NULL);
    cpu.flags_word = &flags_word;
    cpu.vcpu = &vcpu;
    vcpu = (struct vcpu){ .vm = vm, .cpu = &cpu, .engine = &engine };
    vm->vcpus[0] = &vcpu;
    as_add_ram(vm->mem, &ram, "ram", 0, RAM, REGION_RAM);
}

static int start(const uint8_t *data, size_t len, const char *cmdline, const char *initrd)
{
    static char path[] = "/tmp/duet-test-XXXXXX";
    char name[sizeof(path)];
    struct boot b;

    machine();
    strcpy(name, path);
    int fd = mkstemp(name), ret;
    CHECK(fd >= 0 && write(fd, data, len) == (ssize_t)len);
    close(fd);
    ret = boot_prepare(&b, name, initrd, cmdline, RAM, 0, 0xe0000);
    if (!ret)
        ret = boot_load(&b, vm);
    unlink(name);
    image_free(&b.kernel);
    return ret;
}

static uint8_t file[0x4000];

static void make_linux(unsigned xloadflags)
{
    memset(file, 0, sizeof(file));
    file[0x1f1] = 1;
    put32(file + 0x1f4, (sizeof(file) - 1024) / 16);
    file[0x201] = 0x6a;
    memcpy(file + 0x202, "HdrS", 4);
    file[0x206] = 0x0f;
    file[0x207] = 0x02;
    file[0x211] = 1;
    put32(file + 0x22c, 0x7fffffff);
    put32(file + 0x230, 0x200000);
    file[0x234] = 1;
    file[0x236] = (uint8_t)xloadflags;
    put32(file + 0x238, 2047);
    put64(file + 0x258, 0x1000000);          /* does not fit: must be moved */
    put32(file + 0x260, 0x100000);
    memset(file + 1024, 0x90, 64);
}

TEST(linux_64)
{
    make_linux(1);
    CHECK_EQ(start(file, sizeof(file), "console=ttyS0", NULL), 0);
    CHECK_EQ(cpu.rip, 0x200200);
    CHECK_EQ(as_read(vm->mem, 0x200000, 4), 0x90909090);
    CHECK_EQ(cpu.efer, EFER_LME | EFER_LMA);
    CHECK(x86_code64(&cpu) && cpu.cr3 == 0x8000 && (cpu.cr0 & CR0_PG));
    CHECK_EQ(cpu.regs[X86_RSI], 0x7000);
    CHECK_EQ(as_read(vm->mem, 0x7000 + 0x202, 4), 0x53726448);
    CHECK_EQ(as_read(vm->mem, 0x7000 + 0x70, 8), 0xe0000);
    CHECK_EQ(as_read(vm->mem, 0x7000 + 0x1e8, 1), 4);
    CHECK_EQ(as_read(vm->mem, as_read(vm->mem, 0x7000 + 0x228, 4), 8), 0x3d656c6f736e6f63ull);
    CHECK_EQ(as_read(vm->mem, 0x8000, 8), 0x9003);
    CHECK_EQ(as_read(vm->mem, 0xd000 + 8 * 511, 8), 0xffe00083ull);
    CHECK_EQ(changed, 1);
}

TEST(linux_32_and_initrd)
{
    make_linux(0);
    CHECK_EQ(start(file, sizeof(file), "", "/etc/passwd"), 0);
    CHECK_EQ(cpu.rip, 0x200000);
    CHECK(!(cpu.cr0 & CR0_PG) && cpu.seg[X86_CS].sel == 0x10 && (cpu.seg[X86_CS].attr & SEG_DB));
    uint32_t at = (uint32_t)as_read(vm->mem, 0x7218, 4), len = (uint32_t)as_read(vm->mem, 0x721c, 4);
    CHECK(at % 4096 == 0 && at + len <= RAM && at + len + 4096 > RAM);
    CHECK_EQ(as_read(vm->mem, at, 4), 0x746f6f72);
}

TEST(linux_damaged)
{
    make_linux(1);
    CHECK(start(file, 700, "", NULL) < 0);
    CHECK(start(file, sizeof(file) - 64, "", NULL) < 0);
    put32(file + 0x260, 0x7fffffff);
    CHECK(start(file, sizeof(file), "", NULL) < 0);
    CHECK(start(file, 100, "", NULL) < 0);
}

TEST(multiboot_addresses)
{
    static const uint32_t header[8] = { 0x1badb002, 0x10003, -(0x1badb002 + 0x10003u), 0x100100, 0x100000, 0, 0x110000, 0x100180 };

    memset(file, 0xaa, sizeof(file));
    memcpy(file + 0x300, header, sizeof(header));        /* the file's offset 0x200 goes to 0x100000 */
    CHECK_EQ(start(file, sizeof(file), "a b", "/etc/passwd one,/etc/passwd two"), 0);
    CHECK_EQ(cpu.rip, 0x100180);
    CHECK_EQ(cpu.regs[X86_RAX], 0x2badb002);
    uint32_t info = (uint32_t)cpu.regs[X86_RBX], mods = (uint32_t)as_read(vm->mem, info + 24, 4);
    CHECK_EQ(as_read(vm->mem, 0x100100, 4), 0x1badb002);
    CHECK_EQ(as_read(vm->mem, 0x10f000, 4), 0);
    CHECK_EQ(as_read(vm->mem, info + 20, 4), 2);
    CHECK_EQ(as_read(vm->mem, mods, 4), 0x110000);
    CHECK_EQ(as_read(vm->mem, mods + 16, 4) % 4096, 0);
    CHECK_EQ(as_read(vm->mem, info + 44, 4), 24 * 4);
    CHECK_EQ(as_read(vm->mem, info + 8, 4), RAM / 1024 - 1024);
    put32(file + 0x300 + 16, 0x200000);                  /* load address above the header's */
    CHECK(start(file, sizeof(file), "", NULL) < 0);
}

/* A 32-bit ELF kernel linked at 3 GiB + 1 MiB, loaded at 1 MiB, entered 0x20 bytes after its start. */
static void make_linked_high(void)
{
    static const uint8_t ident[] = { 0x7f, 'E', 'L', 'F', 1, 1, 1 };
    static const uint32_t segment[8] = { 1, 0x1000, 0xc0100000, 0x100000, 0x1000, 0x3000, 5, 0x1000 };
    static const uint32_t header[3] = { 0x1badb002, 3, -(0x1badb002 + 3u) };

    memset(file, 0, sizeof(file));
    memcpy(file, ident, sizeof(ident));
    put32(file + 24, 0xc0100020);
    put32(file + 28, 52);
    file[42] = 32;
    file[44] = 1;
    memcpy(file + 52, segment, sizeof(segment));
    memcpy(file + 0x1000, header, sizeof(header));
}

TEST(multiboot_entry_is_physical)
{
    make_linked_high();
    CHECK_EQ(start(file, sizeof(file), "", NULL), 0);
    CHECK_EQ(cpu.rip, 0x100020);
    put32(file + 24, 0x100020);              /* given as a physical address: as it is */
    CHECK_EQ(start(file, sizeof(file), "", NULL), 0);
    CHECK_EQ(cpu.rip, 0x100020);
    put32(file + 52 + 24, 6);                /* no code there: as it is */
    put32(file + 24, 0xc0100020);
    CHECK_EQ(start(file, sizeof(file), "", NULL), 0);
    CHECK_EQ(cpu.rip, 0xc0100020);
}

static void make_elf(void)
{
    static const uint8_t ident[] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 };
    uint8_t *p = file + 64;

    memset(file, 0, sizeof(file));
    memcpy(file, ident, sizeof(ident));
    put64(file + 24, 0xffffffff81000000ull);
    put64(file + 32, 64);
    file[54] = 56;
    file[56] = 2;
    put32(p, 1);
    put64(p + 8, 0x1000);
    put64(p + 24, 0x200000);
    put64(p + 32, 0x1000);
    put64(p + 40, 0x3000);
    p += 56;
    put32(p, 4);
    put64(p + 8, 0x800);
    put64(p + 32, 20);
    put64(p + 48, 4);
    put32(file + 0x800, 4);
    put32(file + 0x804, 4);
    put32(file + 0x808, 18);
    memcpy(file + 0x80c, "Xen", 4);
    put32(file + 0x810, 0x200040);
    memset(file + 0x1000, 0xcc, 0x1000);
}

TEST(pvh)
{
    make_elf();
    CHECK_EQ(start(file, sizeof(file), "quiet", "/etc/passwd"), 0);
    CHECK_EQ(cpu.rip, 0x200040);
    CHECK_EQ(as_read(vm->mem, 0x200ffc, 8), 0xcccccccc);
    uint64_t info = cpu.regs[X86_RBX];
    CHECK_EQ(as_read(vm->mem, info, 4), 0x336ec578);
    CHECK_EQ(as_read(vm->mem, as_read(vm->mem, info + 24, 8), 4), 0x65697571);
    CHECK_EQ(as_read(vm->mem, info + 32, 8), 0xe0000);
    CHECK_EQ(as_read(vm->mem, info + 48, 4), 4);
}

/* Any byte of the headers may be anything: refused or loaded, never a crash. */
TEST(random_damage)
{
    srand(7);
    int quiet = dup(2), null = 0;
    (void)!freopen("/dev/null", "w", stderr);
    for (int i = 0; i < 3000; i++) {
        if (i % 3 == 0)
            make_linux(i & 1);
        else
            make_elf();
        for (int n = rand() % 6 + 1; n; n--)
            file[rand() % (i % 3 ? 0x828 : 0x280)] = (uint8_t)rand();
        null += start(file, (size_t)(rand() % 4 ? sizeof(file) : (unsigned)rand() % sizeof(file)), "x", NULL) == 0;
    }
    dup2(quiet, 2);
    close(quiet);
    CHECK(null > 0);
}
