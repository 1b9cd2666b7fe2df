/*
 * The whole machine without a CPU: built by pc_new over a manual clock, then (1) every device saved, scrambled and loaded, seen to be the same
 * through the bus; (2) a hostile guest: random values to every port and register, random virtqueues, with a deterministic random source.
 *
 * The fuzz test is bounded by a count and by wall time; its worth is under MODE=dbg, where the sanitizers watch. alarm() turns a hang into a failure.
 */
#include "tests/unit/test.h"
#include "core/alloc.h"
#include "core/log.h"
#include "hw/pci/pci.h"
#include "tests/unit/fake_loop.h"
#include "vmm/pc.h"
#include "x86/cpu.h"
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MEM_BARS 0xe0000000u
#define IO_BARS 0xc000u
#define QUEUES 0x100000u                  /* fuzzed rings live in the megabyte from here */

static struct vm *vm;
static struct pc *pc;
static struct options opt;
static struct device_opt *const dev = opt.devices;
static uint32_t mem_end, io_end;

static int cpu_init(struct vcpu *v) { v->cpu = xzalloc(sizeof(struct x86_cpu)); return 0; }
static void cpu_reset(struct vcpu *v) { }
static const struct engine no_engine = { .name = "none", .vcpu_init = cpu_init, .vcpu_reset = cpu_reset };

static uint32_t in(unsigned port, unsigned size) { return (uint32_t)as_read(vm->io, port, size); }
static void out(unsigned port, uint32_t v, unsigned size) { as_write(vm->io, port, v, size); }
static uint32_t cfg_r(int devfn, unsigned off) { out(0xcf8, 0x80000000u | (unsigned)devfn << 8 | off, 4); return in(0xcfc, 4); }
static void cfg_w(int devfn, unsigned off, uint32_t v) { out(0xcf8, 0x80000000u | (unsigned)devfn << 8 | off, 4); out(0xcfc, v, 4); }

/* What firmware does: size each BAR and place it. */
static void place_bars(void)
{
    mem_end = MEM_BARS;
    io_end = IO_BARS;
    for (int devfn = 0; devfn < 256; devfn++) {
        if (cfg_r(devfn, 0) == ~0u)
            continue;
        for (unsigned bar = 0x10; bar < 0x28; bar += 4) {
            cfg_w(devfn, bar, ~0u);
            uint32_t m = cfg_r(devfn, bar), size;
            if (!m)
                continue;
            if (m & 1) {
                size = (~(m & ~3u) + 1) & 0xffff;
                io_end = (io_end + size - 1) & ~(size - 1);
                cfg_w(devfn, bar, io_end);
                io_end += size;
            } else {
                size = ~(m & ~15u) + 1;
                mem_end = (mem_end + size - 1) & ~(size - 1);
                cfg_w(devfn, bar, mem_end);
                mem_end += size;
                if ((m & 6) == 4)
                    cfg_w(devfn, bar += 4, 0);
            }
        }
        cfg_w(devfn, 4, 7);
    }
}

static char disk_path[] = "/tmp/duet-machine-XXXXXX";

static void machine(void)
{
    static bool built;
    int fd;

    if (built)
        return;
    built = true;
    fd = mkstemp(disk_path);
    CHECK(fd >= 0 && !ftruncate(fd, 1 << 20));
    close(fd);
    opt = (struct options){ .accel = "tcg", .ram_size = 16u << 20, .n_drives = 1, .n_serial = 2, .n_devices = 5, .serial = { "null", "null" } };
    opt.drives[0] = (struct drive_opt){ .id = "d", .file = disk_path, .virtio = true, .raw = true, .used = true };
    for (unsigned i = 0; i < opt.n_devices; i++)
        dev[i].slot = -1;
    dev[0].kind = DEVICE_VIRTIO_NET;
    dev[1].kind = DEVICE_VIRTIO_RNG;
    dev[2].kind = DEVICE_VIRTIO_CONSOLE;
    dev[3].kind = DEVICE_DEBUG_EXIT;
    dev[4].kind = DEVICE_DEBUGCON;
    vm = vm_new(&no_engine, clock_new_manual());
    vm->loop = &fake_loop;
    machine_lock();
    pc = pc_new(vm, &opt, 1);
    machine_unlock();
    unlink(disk_path);
    CHECK(pc);
    CHECK_EQ(pc_reset(pc), 0);
    place_bars();
}

/* ---- saved state ---- */

TEST(machine_rows_cover_every_device)
{
    machine();
    for (struct device *d = vm->devices; d; d = d->next) {
        long at = state_uncovered(d->rows, d->size);
        if (at >= 0)
            printf("%s: byte %ld is neither saved nor skipped\n", d->name, at);
        CHECK_EQ(at, -1);
    }
}

/* Registers in use: timers running, interrupts pending, queues and FIFOs not empty. */
static void put_to_work(void)
{
    static const uint16_t pokes[][2] = {
        { 0x20, 0x11 }, { 0x21, 0x30 }, { 0x21, 4 }, { 0x21, 1 }, { 0xa0, 0x11 }, { 0xa1, 0x38 }, { 0xa1, 2 }, { 0xa1, 1 }, { 0x21, 0 }, { 0xa1, 0 },
        { 0x43, 0x34 }, { 0x40, 0x9c }, { 0x40, 0x2e }, { 0x43, 0xb6 }, { 0x42, 0x34 }, { 0x42, 0x12 }, { 0x61, 3 },
        { 0x70, 11 }, { 0x71, 0x72 }, { 0x70, 0x0a }, { 0x71, 0x29 }, { 0x70, 0x50 }, { 0x71, 0x5a },
        { 0x3fb, 0x83 }, { 0x3f8, 12 }, { 0x3f9, 0 }, { 0x3fb, 3 }, { 0x3fa, 0xc7 }, { 0x3f9, 5 }, { 0x3fc, 0x1b }, { 0x3f8, 'x' }, { 0x3ff, 0x77 },
        { 0x64, 0x60 }, { 0x60, 0x47 }, { 0x64, 0xd4 }, { 0x60, 0xf4 }, { 0x60, 0xf2 }, { 0x92, 2 }, { 0xb3, 0x12 }, { 0x4d1, 0x0e },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(pokes); i++)
        out(pokes[i][0], pokes[i][1], 1);
    out(0x510, 0x19, 2);
    out(0x602, 0x0101, 2);
    as_write(vm->mem, 0xfed00010, 1, 4);
    as_write(vm->mem, 0xfed00100, 0x04, 4);
    as_write(vm->mem, 0xfed00108, 0x123456, 8);
    as_write(vm->mem, 0xfec00000, 0x14, 4);
    as_write(vm->mem, 0xfec00010, 0x31, 4);
    as_write(vm->mem, 0xfee000f0, 0x1ff, 4);
    as_write(vm->mem, 0xfee003e0, 0xb, 4);
    as_write(vm->mem, 0xfee00320, 0x20040, 4);
    as_write(vm->mem, 0xfee00380, 777777, 4);
    as_write(vm->mem, 0xfee00080, 0x20, 4);
    machine_lock();
    clock_advance(vm->clock, 12345678);
    machine_unlock();
}

static uint64_t mix(uint64_t h, uint64_t v) { return (h ^ v) * 0x9e3779b97f4a7c15ull ^ h >> 29; }

/* Everything that can be read, with the side effects of reading; one number a page of ports or of registers. */
static void look(uint64_t sums[64])
{
    static const uint32_t pages[] = { 0xfed00000, 0xfee00000 };
    unsigned n = 0;
    for (unsigned p = 0; p < 0x1000; p += 0x100) {
        uint64_t h = p;
        for (unsigned i = p; i < p + 0x100; i++)
            h = mix(h, in(i, 1));
        sums[n++] = h;
    }
    for (unsigned k = 0; k < ARRAY_SIZE(pages); k++) {
        uint64_t h = k;
        for (unsigned i = 0; i < 0x400; i += k ? 16 : 8)
            h = mix(h, as_read(vm->mem, pages[k] + i, k ? 4 : 8));
        sums[n++] = h;
    }
    uint64_t h = 1;
    for (unsigned i = 0; i < 64; i++) {
        as_write(vm->mem, 0xfec00000, i, 4);
        h = mix(h, as_read(vm->mem, 0xfec00010, 4));
    }
    sums[n++] = h;
    for (int devfn = 0, left = 40; devfn < 256 && left; devfn++) {
        if (cfg_r(devfn, 0) == ~0u)
            continue;
        h = (uint64_t)devfn;
        for (unsigned i = 0; i < 256; i += 4)
            h = mix(h, cfg_r(devfn, i));
        sums[n++] = h;
        left--;
    }
    h = 2;
    for (uint32_t a = MEM_BARS; a < mem_end; a += 4)
        h = mix(h, as_read(vm->mem, a, 4));
    sums[n++] = h;
    h = 3;
    for (uint32_t a = IO_BARS; a < io_end; a++)
        h = mix(h, in(a, 1));
    sums[n++] = h;
    while (n < 64)
        sums[n++] = 0;
}

static void **save_all(void)
{
    void **image = xzalloc(64 * sizeof(*image));
    int i = 0;
    for (struct device *d = vm->devices; d; d = d->next, i++) {
        if (d->pre_save)
            d->pre_save(d);
        image[i] = xzalloc(state_size(d->rows) + 1);
        state_save(d->rows, d, image[i]);
    }
    return image;
}

static void scramble_all(void)
{
    for (struct device *d = vm->devices; d; d = d->next) {
        for (const struct state_row *r = d->rows; r->kind != STATE_END; r++) {
            for (uint32_t i = 0; r->kind == STATE_SAVE && i < r->size; i++)
                ((uint8_t *)d)[r->offset + i] ^= 0x5a;
        }
    }
}

static void load_all(void **image)
{
    int i = 0;
    for (struct device *d = vm->devices; d; d = d->next, i++)
        CHECK_EQ(state_load(d->rows, d, image[i], state_size(d->rows)), 0);
    for (struct device *d = vm->devices; d; d = d->next) {
        if (d->post_load)
            d->post_load(d);
    }
}

static void free_all(void **image)
{
    for (int i = 0; i < 64; i++)
        free(image[i]);
    free(image);
}

static void expect_same(void **a, void **b, const char *when)
{
    int i = 0;
    for (struct device *d = vm->devices; d; d = d->next, i++) {
        size_t at = 0;
        for (const struct state_row *r = d->rows; r->kind != STATE_END; r++) {
            if (r->kind != STATE_SAVE)
                continue;
            if (memcmp((char *)a[i] + at, (char *)b[i] + at, r->size))
                printf("%s: %s differs %s\n", d->name, r->name, when);
            at += r->size;
        }
        CHECK(!memcmp(a[i], b[i], at));
    }
}

/* Two looks from the same image see the same, and leave the same behind; a load adds and loses nothing. */
static void round_trip(void)
{
    uint64_t first[64], second[64];
    void **image = save_all(), **again, **after1, **after2;

    look(first);
    after1 = save_all();
    scramble_all();
    load_all(image);
    again = save_all();
    expect_same(image, again, "after load");
    look(second);
    after2 = save_all();
    for (unsigned i = 0; i < 64; i++) {
        if (first[i] != second[i])
            printf("look %u differs\n", i);
        CHECK_EQ(first[i], second[i]);
    }
    expect_same(after1, after2, "after reading all registers");
    free_all(image);
    free_all(again);
    free_all(after1);
    free_all(after2);
}

TEST(machine_save_load_round_trip)
{
    machine();
    machine_lock();
    round_trip();
    put_to_work();
    round_trip();
    machine_unlock();
}

/* ---- the hostile guest ---- */

static uint64_t seed = 0x1234567;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Values that tend to hurt more than noise: small, all ones, powers of two, addresses of rings. */
static uint64_t nasty(void)
{
    switch (rnd() % 8) {
    case 0: return rnd() % 16;
    case 1: return ~0ull;
    case 2: return 1ull << rnd() % 64;
    case 3: return QUEUES + (rnd() % 64) * 0x1000;
    case 4: return ~0ull << rnd() % 64;
    case 5: return 0;
    default: return rnd();
    }
}

static void poke_port(void)
{
    static const uint16_t busy[] = { 0x20, 0xa0, 0x40, 0x60, 0x70, 0x92, 0xb0, 0x3f8, 0x2f8, 0x4d0, 0x500, 0x510, 0x518, 0x600, 0x628, 0xafe0, 0xcf8, 0xcfc };
    unsigned size = 1u << rnd() % 3;
    unsigned port = rnd() % 4 ? busy[rnd() % ARRAY_SIZE(busy)] + rnd() % 8 : rnd() & 0xffff;
    if (rnd() % 4 == 0)
        port = IO_BARS + rnd() % (io_end - IO_BARS);
    if (rnd() & 1)
        in(port & 0xffff, size);
    else
        out(port & 0xffff, (uint32_t)nasty(), size);
}

static void poke_memory(void)
{
    static const uint32_t base[] = { 0xfed00000, 0xfec00000, 0xfee00000, 0xa0000, 0xc0000, 0xfff80000 };
    unsigned size = 1u << rnd() % 4;
    uint64_t addr = rnd() % 2 ? MEM_BARS + rnd() % (mem_end - MEM_BARS) : base[rnd() % ARRAY_SIZE(base)] + rnd() % 0x400;
    if (rnd() % 2)
        addr &= ~(uint64_t)(size - 1);
    if (rnd() % 3 == 0)
        as_read(vm->mem, addr, size);
    else
        as_write(vm->mem, addr, nasty(), size);
}

/* Rings that are almost right: descriptors near the ring's own pages, lengths of any size, links within or out of the table. */
static void poke_rings(void)
{
    uint64_t page = QUEUES + rnd() % 64 * 0x1000;
    for (int i = 0; i < 16; i++) {
        struct { uint64_t addr; uint32_t len; uint16_t flags, next; } d = {
            rnd() % 8 ? QUEUES + rnd() % 0x100000 : nasty(), (uint32_t)(rnd() % 8 ? rnd() % 0x2000 : nasty()), rnd() % 8, rnd() % 300 };
        as_load(vm->mem, page + (uint64_t)i * 16, &d, sizeof(d));
    }
    for (int i = 0; i < 8; i++) {
        uint16_t v = rnd() % 64;
        as_load(vm->mem, QUEUES + rnd() % 64 * 0x1000 + rnd() % 8 * 2, &v, 2);
    }
}

/* A driver's start of a random function, with the steps now and then out of order: modern interface at BAR4. */
static void drive_virtio(void)
{
    int devfn = (int)(rnd() % 8 + 2) << 3;
    uint32_t id = cfg_r(devfn, 0), bar;
    if ((id & 0xffff) != 0x1af4)
        return;
    cfg_w(devfn, 4, rnd() % 8 ? 7 : (uint32_t)nasty());
    bar = cfg_r(devfn, 0x20) & ~15u;
    if (bar < MEM_BARS || bar >= mem_end)
        return;
    as_write(vm->mem, bar + 20, 0, 1);
    as_write(vm->mem, bar + 20, 3, 1);
    for (unsigned i = 0; i < 2; i++) {
        as_write(vm->mem, bar + 8, i, 4);
        as_write(vm->mem, bar + 12, i ? 1 : rnd(), 4);
    }
    as_write(vm->mem, bar + 20, 0xb, 1);
    for (unsigned q = 0; q < 3; q++) {
        as_write(vm->mem, bar + 22, q, 2);
        as_write(vm->mem, bar + 24, rnd() % 4 ? 1u << rnd() % 9 : nasty(), 2);
        for (unsigned r = 32; r < 56; r += 8) {
            as_write(vm->mem, bar + r, rnd() % 16 ? QUEUES + rnd() % 64 * 0x1000 : nasty(), 4);
            as_write(vm->mem, bar + r + 4, rnd() % 16 ? 0 : nasty(), 4);
        }
        as_write(vm->mem, bar + 28, 1, 2);
    }
    as_write(vm->mem, bar + 20, 0xf, 1);
    for (unsigned q = 0; q < 3; q++) {
        poke_rings();
        as_write(vm->mem, bar + 0x3000 + q * 4, q, 2);
    }
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fuzz_step(unsigned i)
{
    if (i % 64 == 0)
        drive_virtio();
    if (i % 4096 == 0)
        place_bars();
    if (i % 16384 == 0)
        vm_reset_devices(vm), place_bars();
    switch (rnd() % 16) {
    case 0: poke_rings(); break;
    case 1: clock_advance(vm->clock, (int64_t)(rnd() % (rnd() % 8 ? 100000 : 20000000))); break;
    case 2: fake_run_posts(); break;
    case 3 ... 8: poke_port(); break;
    default: poke_memory();
    }
}

TEST(machine_survives_a_hostile_guest)
{
    double end, worst = 0;
    unsigned i = 0;

    machine();
    log_mask = 0;
    seed = 0x20261121;
    alarm(120);
    end = now() + 15;
    machine_lock();
    while (i < 600000 && now() < end) {
        double t = now();
        fuzz_step(i++);
        worst = MAX(worst, now() - t);
        vm->request = VM_NONE;
    }
    fake_run_posts();
    machine_unlock();
    alarm(0);
    CHECK(worst < 10);                        /* no single access may hold the machine for long */
    CHECK(i > 10000);
}
