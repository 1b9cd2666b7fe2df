/*
 * Virtio devices driven as a guest driver does: config space, BAR4, rings in RAM, a sink for MSI. Then the same by a villain.
 */
#define _GNU_SOURCE 1
#include "tests/unit/test.h"
#include "core/vm.h"
#include "hw/block/virtio_blk.h"
#include "hw/char/virtio_console.h"
#include "hw/net/virtio_net.h"
#include "hw/virtio/virtio_rng.h"
#include "tests/unit/fake_loop.h"
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#define RAM_SIZE (4u << 20)
#define BAR 0xe0000000ull
#define MSIX 0xe1000000ull
#define DESC 0x10000u
#define AVAIL 0x11000u
#define USED 0x12000u
#define Q_STRIDE 0x10000u
#define DATA 0x100000u

static struct vm machine;
static struct region ram;
static struct pci_bus *bus;
static unsigned msi_count;
static uint32_t msi_last;
static uint16_t avail_idx[4];

static void on_msi(void *opaque, uint64_t addr, uint32_t data) { msi_count++; msi_last = data; }

static void machine_setup(void)
{
    memset(&machine, 0, sizeof(machine));
    machine.mem = as_new("mem", 46);
    machine.io = as_new("io", 16);
    machine.clock = clock_new_manual();
    machine.loop = &fake_loop;
    machine.devices_tail = &machine.devices;
    memset(&ram, 0, sizeof(ram));
    as_add_ram(machine.mem, &ram, "ram", 0, RAM_SIZE, REGION_RAM);
    bus = pci_bus_new(&machine, machine.mem, machine.io);
    pci_bus_connect_msi(bus, on_msi, NULL);
    msi_count = 0;
    memset(avail_idx, 0, sizeof(avail_idx));
}

static void cfg_w(int devfn, unsigned off, uint32_t v)
{
    as_write(machine.io, 0xcf8, 0x80000000u | devfn << 8 | off, 4);
    as_write(machine.io, 0xcfc, v, 4);
}

static uint32_t cfg_r(int devfn, unsigned off)
{
    as_write(machine.io, 0xcf8, 0x80000000u | devfn << 8 | off, 4);
    return as_read(machine.io, 0xcfc, 4);
}

static void put(gpa_t a, uint64_t v, unsigned size) { as_dma_write(machine.mem, a, &v, size); }
static uint64_t get(gpa_t a, unsigned size) { uint64_t v = 0; as_dma_read(machine.mem, a, &v, size); return v; }
static void common_w(unsigned off, uint64_t v, unsigned size) { as_write(machine.mem, BAR + off, v, size); }
static uint64_t common_r(unsigned off, unsigned size) { return as_read(machine.mem, BAR + off, size); }

/* Reset to DRIVER_OK with FEATURES (and VERSION_1), N queues of SIZE. */
static void drive(int devfn, uint64_t features, unsigned n, unsigned size)
{
    cfg_w(devfn, 0x20, BAR);
    cfg_w(devfn, 0x24, 0);
    cfg_w(devfn, 0x14, MSIX);
    cfg_w(devfn, 4, 6);
    unsigned cap = cfg_r(devfn, 0x34) & 0xff;
    while (cap && (cfg_r(devfn, cap) & 0xff) != PCI_CAP_MSIX)
        cap = cfg_r(devfn, cap) >> 8 & 0xff;
    CHECK(cap != 0);
    cfg_w(devfn, cap, 0x80000000u);
    for (unsigned i = 0; i <= n; i++) {
        as_write(machine.mem, MSIX + 16 * i, 0xfee00000, 4);
        as_write(machine.mem, MSIX + 16 * i + 8, 0x40 + i, 4);
        as_write(machine.mem, MSIX + 16 * i + 12, 0, 4);
    }
    common_w(20, 0, 1);
    common_w(20, 1, 1);
    common_w(20, 3, 1);
    features |= BIT(VIRTIO_F_VERSION_1);
    for (unsigned i = 0; i < 2; i++) {
        common_w(8, i, 4);
        common_w(12, features >> 32 * i & 0xffffffff, 4);
    }
    common_w(20, 11, 1);
    CHECK_EQ(common_r(20, 1), 11);
    CHECK_EQ(common_r(18, 2), n);
    common_w(16, 0, 2);
    for (unsigned i = 0; i < n; i++) {
        common_w(22, i, 2);
        common_w(24, size, 2);
        common_w(26, i + 1, 2);
        common_w(32, DESC + Q_STRIDE * i, 8);
        common_w(40, AVAIL + Q_STRIDE * i, 8);
        common_w(48, USED + Q_STRIDE * i, 8);
        common_w(28, 1, 2);
        for (unsigned k = 0; k < 0x3000; k += 8)
            put(DESC + Q_STRIDE * i + k, 0, 8);
        avail_idx[i] = 0;
    }
    common_w(20, 15, 1);
    CHECK_EQ(common_r(20, 1), 15);
}

static void desc(unsigned q, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
    gpa_t a = DESC + Q_STRIDE * q + 16 * i;
    put(a, addr, 8);
    put(a + 8, len, 4);
    put(a + 12, flags, 2);
    put(a + 14, next, 2);
}

static void offer(unsigned q, uint16_t head, unsigned size)
{
    put(AVAIL + Q_STRIDE * q + 4 + 2 * (avail_idx[q] & (size - 1)), head, 2);
    put(AVAIL + Q_STRIDE * q + 2, ++avail_idx[q], 2);
}

static void kick(unsigned q) { as_write(machine.mem, BAR + 0x3000 + 4 * q, q, 2); }
static uint16_t used(unsigned q) { return get(USED + Q_STRIDE * q + 2, 2); }

static struct block *image(uint64_t size, bool snapshot)
{
    char name[] = "/tmp/duet-test-XXXXXX", err[200];
    int fd = mkstemp(name);
    CHECK(fd >= 0 && ftruncate(fd, size) == 0);
    close(fd);
    struct block_opts o = { .path = name, .format = "raw", .snapshot = snapshot };
    struct block *b = block_open(&o, err, sizeof(err));
    unlink(name);
    return b;
}

static struct virtio_blk *blk;
static struct block *disk;

static void blk_setup(uint64_t features)
{
    machine_setup();
    disk = image(1 << 20, false);
    CHECK(disk != NULL);
    struct virtio_blk_opts o = { .pci = { .devfn = 0x20 }, .blk = disk, .serial = "SER123" };
    blk = virtio_blk_new(&machine, bus, "vblk", &o);
    CHECK(blk != NULL);
    drive(0x20, features, 1, 64);
}

/* Request of TYPE at SECTOR with LEN bytes at DATA; returns the status byte. */
static unsigned blk_request(uint32_t type, uint64_t sector, uint32_t len, bool to_guest)
{
    put(DATA - 64, type, 4);
    put(DATA - 60, 0, 4);
    put(DATA - 56, sector, 8);
    put(DATA - 32, 0xff, 1);
    desc(0, 0, DATA - 64, 16, 1, len ? 1 : 2);
    desc(0, 1, DATA, len, to_guest ? 3 : 1, 2);
    desc(0, 2, DATA - 32, 1, 2, 0);
    uint16_t before = used(0);
    offer(0, 0, 64);
    kick(0);
    fake_loop_run(used(0) != before);
    CHECK_EQ((uint16_t)(used(0) - before), 1);
    return get(DATA - 32, 1);
}

TEST(blk_write_read_flush_id)
{
    blk_setup(BIT(9) | BIT(13) | BIT(14));
    CHECK_EQ(common_r(0x2000, 4), 2048);                         /* capacity */
    for (unsigned i = 0; i < 4096; i += 8)
        put(DATA + i, 0x1122334455660000ull + i, 8);
    CHECK_EQ(blk_request(1, 3, 4096, false), 0);
    CHECK_EQ(msi_last, 0x41);
    for (unsigned i = 0; i < 4096; i += 8)
        put(DATA + i, 0, 8);
    CHECK_EQ(blk_request(0, 3, 4096, true), 0);
    CHECK_EQ(get(DATA + 4088, 8), 0x1122334455660000ull + 4088);
    CHECK_EQ(get(USED + 4 + 8 + 4, 4), 4097);
    CHECK_EQ(blk_request(4, 0, 0, false), 0);
    CHECK_EQ(blk_request(8, 0, 20, true), 0);
    CHECK_EQ(get(DATA, 4), 0x31524553 + 0);                      /* "SER1" */
    put(DATA, 3, 8);
    put(DATA + 8, 4, 4);
    put(DATA + 12, 1, 4);
    CHECK_EQ(blk_request(13, 0, 16, false), 0);
    CHECK_EQ(blk_request(0, 3, 512, true), 0);
    CHECK_EQ(get(DATA, 8), 0);
    CHECK_EQ(msi_count, 6);
}

/* Two queues of one disk at once: each answers in its own ring with its own vector, and what one wrote the other reads. */
static void blk2_offer(unsigned q, uint32_t type, uint64_t sector, gpa_t data)
{
    put(data - 64, type, 8);
    put(data - 56, sector, 8);
    put(data - 32, 0xff, 1);
    desc(q, 0, data - 64, 16, 1, 1);
    desc(q, 1, data, 512, type ? 1 : 3, 2);
    desc(q, 2, data - 32, 1, 2, 0);
    offer(q, 0, 64);
}

TEST(blk_two_queues)
{
    machine_setup();
    disk = image(1 << 20, false);
    struct virtio_blk_opts o = { .pci = { .devfn = 0x20 }, .blk = disk, .num_queues = 2 };
    CHECK(virtio_blk_new(&machine, bus, "vblk2", &o) != NULL);
    drive(0x20, BIT(9) | BIT(12), 2, 64);
    CHECK_EQ(common_r(0x2000 + 34, 2), 2);                       /* num_queues */
    for (unsigned round = 1; round < 50; round++) {
        gpa_t a = DATA, b = DATA + 0x1000;
        put(a, 0xaaaa0000u + round, 4);
        put(b, 0xbbbb0000u + round, 4);
        blk2_offer(0, 1, 2 * round, a);
        blk2_offer(1, 1, 2 * round + 1, b);
        msi_count = 0;
        kick(1);
        kick(0);
        fake_loop_run(used(0) == (uint16_t)(2 * round - 1) && used(1) == (uint16_t)(2 * round - 1));
        CHECK_EQ(msi_count, 2);
        CHECK_EQ(get(a - 32, 1), 0);
        CHECK_EQ(get(b - 32, 1), 0);
        blk2_offer(0, 0, 2 * round + 1, a);
        blk2_offer(1, 0, 2 * round, b);
        kick(0);
        fake_loop_run(used(0) == (uint16_t)(2 * round));
        CHECK_EQ(msi_last, 0x41);
        CHECK_EQ(used(1), 2 * round - 1);                        /* not kicked: not looked at */
        kick(1);
        fake_loop_run(used(1) == (uint16_t)(2 * round));
        CHECK_EQ(msi_last, 0x42);
        CHECK_EQ(get(a, 4), 0xbbbb0000u + round);
        CHECK_EQ(get(b, 4), 0xaaaa0000u + round);
    }
}

/* The store to the doorbell waits for nobody: not for the machine lock, and not for a request that does not end. */
static void *kicker(void *opaque)
{
    kick(0);
    return NULL;
}

static bool kick_returns(void)
{
    pthread_t t;
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 5;
    pthread_create(&t, NULL, kicker, NULL);
    return pthread_timedjoin_np(t, NULL, &end) == 0;
}

TEST(blk_kick_waits_for_nobody)
{
    machine_setup();
    disk = image(1 << 20, false);
    struct virtio_blk_opts o = { .pci = { .devfn = 0x20 }, .blk = disk };
    CHECK(virtio_blk_new(&machine, bus, "vblk", &o) != NULL);
    drive(0x20, BIT(9), 1, 64);
    blk2_offer(0, 0, 1, DATA);
    machine_lock();
    bool returned = kick_returns();
    machine_unlock();
    CHECK(returned);
    fake_loop_run(used(0) == 1);
    CHECK_EQ(used(0), 1);
}

/* A page that the kernel fills in only when it is told to: a read into it stands still. -1: the host does not let us. */
static int absent_page(gpa_t at)
{
    struct uffdio_api api = { .api = UFFD_API };
    struct uffdio_register reg = { .range = { (uintptr_t)ram.host + at, 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING };
    int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    madvise(ram.host + at, 4096, MADV_DONTNEED);
    if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &reg))
        return fd;
    close(fd);
    return -1;
}

TEST(blk_stuck_request)
{
    blk_setup(BIT(9));
    gpa_t stuck = DATA + 0x3000;
    blk2_offer(0, 0, 1, stuck + 0x1100);
    desc(0, 1, stuck, 512, 3, 2);                                /* its data, but not its header and status, are in that page */
    int fd = absent_page(stuck);
    if (fd < 0)
        SKIP("no userfaultfd here");
    struct pollfd p = { .fd = fd, .events = POLLIN };
    kick(0);
    CHECK_EQ(poll(&p, 1, 5000), 1);                              /* a worker has come to it */
    CHECK_EQ(common_r(0x2000, 4), 2048);                         /* the device answers */
    put(DATA - 64, 0, 8);
    put(DATA - 56, 2, 8);
    desc(0, 4, DATA - 64, 16, 1, 5);
    desc(0, 5, DATA, 512, 3, 6);
    desc(0, 6, DATA - 32, 1, 2, 0);
    offer(0, 4, 64);
    kick(0);
    fake_loop_run(used(0) == 1);
    CHECK_EQ(get(USED + 4, 4), 4);                               /* the other request overtakes it */
    struct uffdio_zeropage zero = { .range = { (uintptr_t)ram.host + stuck, 4096 } };
    CHECK_EQ(ioctl(fd, UFFDIO_ZEROPAGE, &zero), 0);
    fake_loop_run(used(0) == 2);
    CHECK_EQ(get(USED + 4 + 8, 4), 0);
    close(fd);
}

/* Deterministic machines: everything has happened when the store to the doorbell ends. */
TEST(blk_at_once)
{
    machine_setup();
    char name[] = "/tmp/duet-test-XXXXXX", err[200];
    int fd = mkstemp(name);
    CHECK(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
    close(fd);
    struct block_opts bo = { .path = name, .format = "raw", .at_once = true };
    struct virtio_blk_opts o = { .pci = { .devfn = 0x20 }, .blk = block_open(&bo, err, sizeof(err)) };
    unlink(name);
    CHECK(virtio_blk_new(&machine, bus, "vblk", &o) != NULL);
    drive(0x20, 0, 1, 64);                                       /* no FLUSH: a write is followed by one */
    blk2_offer(0, 1, 1, DATA);
    kick(0);
    CHECK_EQ(used(0), 1);
    CHECK_EQ(get(DATA - 32, 1), 0);
    CHECK_EQ(msi_last, 0x41);
}

TEST(blk_refuses)
{
    blk_setup(BIT(9));
    CHECK_EQ(blk_request(0, 2048, 512, true), 1);                /* past the end */
    CHECK_EQ(blk_request(1, ~0ull - 1, 512, false), 1);
    CHECK_EQ(blk_request(0, 0, 100, true), 1);                   /* not whole sectors */
    CHECK_EQ(blk_request(77, 0, 512, true), 2);
    CHECK_EQ(blk_request(0, 2047, 512, true), 0);
}

static void expect_broken(void)
{
    kick(0);
    fake_loop_run(common_r(20, 1) & 0x40);
    CHECK(common_r(20, 1) & 0x40);
    CHECK_EQ(msi_last, 0x40);                                    /* configuration vector */
    kick(0);
    drive(0x20, BIT(9) | BIT(28), 1, 64);
    CHECK_EQ(blk_request(0, 0, 512, true), 0);                   /* a reset heals */
}

TEST(villain_loop) { blk_setup(BIT(9)); desc(0, 0, DATA, 16, 1, 1); desc(0, 1, DATA, 16, 1, 0); offer(0, 0, 64); expect_broken(); }
TEST(villain_head) { blk_setup(BIT(9)); offer(0, 64, 64); expect_broken(); }
TEST(villain_next) { blk_setup(BIT(9)); desc(0, 0, DATA, 16, 1, 900); offer(0, 0, 64); expect_broken(); }
TEST(villain_not_ram) { blk_setup(BIT(9)); desc(0, 0, 0x7fff00000000ull, 16, 0, 0); offer(0, 0, 64); expect_broken(); }
TEST(villain_mmio) { blk_setup(BIT(9)); desc(0, 0, BAR, 16, 2, 0); offer(0, 0, 64); expect_broken(); }
TEST(villain_wraps) { blk_setup(BIT(9)); desc(0, 0, ~0ull - 4, 64, 2, 0); offer(0, 0, 64); expect_broken(); }
TEST(villain_end_of_ram) { blk_setup(BIT(9)); desc(0, 0, RAM_SIZE - 8, 64, 2, 0); offer(0, 0, 64); expect_broken(); }
TEST(villain_order) { blk_setup(BIT(9)); desc(0, 0, DATA, 16, 3, 1); desc(0, 1, DATA, 16, 0, 0); offer(0, 0, 64); expect_broken(); }
TEST(villain_index_jump) { blk_setup(BIT(9)); put(AVAIL + 2, 65, 2); expect_broken(); }
TEST(villain_no_status) { blk_setup(BIT(9)); desc(0, 0, DATA, 16, 0, 0); offer(0, 0, 64); expect_broken(); }
TEST(villain_indirect_unoffered) { blk_setup(BIT(9)); desc(0, 0, DATA, 16, 4, 0); offer(0, 0, 64); expect_broken(); }
TEST(villain_indirect_length) { blk_setup(BIT(9) | BIT(28)); desc(0, 0, DATA, 17, 4, 0); offer(0, 0, 64); expect_broken(); }
TEST(villain_indirect_nested)
{
    blk_setup(BIT(9) | BIT(28));
    desc(0, 0, DATA, 32, 4, 0);
    put(DATA, DATA, 8);
    put(DATA + 8, 32, 4);
    put(DATA + 12, 4, 2);
    offer(0, 0, 64);
    expect_broken();
}
TEST(villain_length_sum)
{
    blk_setup(BIT(9));
    for (unsigned i = 0; i < 63; i++)
        desc(0, i, 0, 0xf0000000u, 3, i + 1);
    offer(0, 0, 64);
    expect_broken();
}
TEST(villain_rings_outside)
{
    blk_setup(BIT(9));
    common_w(20, 0, 1);
    common_w(20, 3, 1);
    common_w(8, 1, 4);
    common_w(12, 1, 4);
    common_w(20, 11, 1);
    common_w(32, 0x700000000000ull, 8);
    common_w(24, 3, 2);                                          /* not a power of two: ignored */
    CHECK_EQ(common_r(24, 2), 256);
    common_w(28, 1, 2);
    common_w(20, 15, 1);
    kick(0);
    CHECK(common_r(20, 1) & 0x40);
}

TEST(double_kick_and_indirect)
{
    blk_setup(BIT(9) | BIT(28) | BIT(29));
    put(DATA + 0x1000, 0, 8);
    put(DATA + 0x1008, 1, 8);                                    /* read sector 1 */
    uint64_t table = DATA + 0x2000;
    struct { uint64_t a; uint32_t l; uint16_t f, n; } t[3] = { { DATA + 0x1000, 16, 1, 1 }, { DATA, 512, 3, 2 }, { DATA + 0x1800, 1, 2, 0 } };
    put(DATA + 0x1800, 0xff, 1);
    as_dma_write(machine.mem, table, t, sizeof(t));
    desc(0, 5, table, sizeof(t), 4, 0);
    offer(0, 5, 64);
    kick(0);
    kick(0);
    kick(3);                                                     /* no such queue */
    fake_loop_run(used(0) == 1);
    kick(0);
    fake_run_posts();
    CHECK_EQ(used(0), 1);
    CHECK_EQ(get(USED + 4, 4), 5);
    CHECK_EQ(get(DATA + 0x1800, 1), 0);
    CHECK_EQ(msi_count, 1);
    CHECK_EQ(get(USED + 4 + 8 * 64, 2), 1);                      /* avail_event */
    CHECK_EQ(blk_request(0, 0, 512, true), 0);                   /* used_event is 0: no interrupt for the second */
    CHECK_EQ(msi_count, 1);
}

TEST(features_refused)
{
    blk_setup(BIT(9));
    common_w(20, 0, 1);
    common_w(20, 3, 1);
    common_w(8, 0, 4);
    common_w(12, BIT(7), 4);
    common_w(8, 1, 4);
    common_w(12, 1, 4);
    common_w(20, 11, 1);
    CHECK_EQ(common_r(20, 1), 3);
}

TEST(legacy_intx)
{
    blk_setup(BIT(9));
    unsigned io = 0xc000;
    cfg_w(0x20, 0x10, io);
    cfg_w(0x20, 4, 7);
    unsigned cap = cfg_r(0x20, 0x34) & 0xff;
    while ((cfg_r(0x20, cap) & 0xff) != PCI_CAP_MSIX)
        cap = cfg_r(0x20, cap) >> 8 & 0xff;
    cfg_w(0x20, cap, 0);
    as_write(machine.io, io + 18, 0, 1);
    as_write(machine.io, io + 18, 3, 1);
    CHECK(as_read(machine.io, io, 4) & BIT(9));
    as_write(machine.io, io + 4, BIT(9), 4);
    as_write(machine.io, io + 14, 0, 2);
    CHECK_EQ(as_read(machine.io, io + 12, 2), 256);
    CHECK_EQ(as_read(machine.io, io + 20, 4), 2048);
    as_write(machine.io, io + 8, 0x40, 4);                       /* rings at 0x40000: desc 4096, avail, used at 0x42000 */
    CHECK_EQ(as_read(machine.io, io + 8, 4), 0x40);
    as_write(machine.io, io + 18, 7, 1);
    put(DATA, 0, 8);
    put(DATA + 8, 0, 8);
    put(0x40000, DATA, 8); put(0x40008, 16, 4); put(0x4000c, 1, 2); put(0x4000e, 1, 2);
    put(0x40010, DATA + 512, 8); put(0x40018, 513, 4); put(0x4001c, 2, 2);
    put(0x41004, 0, 2);
    put(0x41002, 1, 2);
    as_write(machine.io, io + 16, 0, 2);
    fake_loop_run(get(0x42002, 2) == 1);
    CHECK_EQ(get(0x42008, 4), 513);
    CHECK(cfg_r(0x20, 4) & 0x80000);                             /* INTx status */
    CHECK_EQ(as_read(machine.io, io + 19, 1), 1);
    CHECK_EQ(as_read(machine.io, io + 19, 1), 0);
    CHECK(!(cfg_r(0x20, 4) & 0x80000));
}

static struct device *device_named(const char *name)
{
    struct device *d = machine.devices;
    while (d && strcmp(d->name, name) != 0)
        d = d->next;
    return d;
}

TEST(rows_cover_and_reload)
{
    blk_setup(BIT(9));
    struct netdev *nd = netdev_null_new(&fake_loop);
    struct virtio_net_opts no = { .pci = { .devfn = 0x28 }, .net = nd, .mac = { 0x52, 0x54, 0, 1, 2, 3 } };
    CHECK(virtio_net_new(&machine, bus, "vnet", &no) != NULL);
    struct virtio_pci_opts po = { .devfn = -1 };
    CHECK(virtio_rng_new(&machine, bus, "vrng", &po) != NULL);
    CHECK(virtio_console_new(&machine, bus, "vcon", &po, chr_open_null(&fake_loop)) != NULL);
    const char *names[] = { "vblk", "vnet", "vrng", "vcon" };
    for (unsigned i = 0; i < 4; i++) {
        struct device *d = device_named(names[i]);
        CHECK(d != NULL);
        long at = state_uncovered(d->rows, d->size);
        if (at >= 0)
            printf("# %s: byte %ld\n", names[i], at);
        CHECK(at < 0);
    }
    struct device *d = device_named("vblk");
    CHECK_EQ(blk_request(0, 0, 512, true), 0);
    uint8_t *buf = malloc(state_size(d->rows)), *again = malloc(state_size(d->rows));
    size_t n = state_save(d->rows, d, buf);
    d->reset(d);
    CHECK_EQ(state_load(d->rows, d, buf, n), 0);
    d->post_load(d);
    CHECK_EQ(state_save(d->rows, d, again), n);
    CHECK(!memcmp(buf, again, n));
    CHECK_EQ(blk_request(0, 1, 512, true), 0);                   /* goes on where it was */
}

static uint8_t sent[2048];
static size_t sent_len;
static void on_output(struct netdev *nd, const uint8_t *f, size_t len) { memcpy(sent, f, len); sent_len = len; }

TEST(net_both_ways)
{
    machine_setup();
    struct netdev *nd = netdev_null_new(&fake_loop);
    nd->output = on_output;
    struct virtio_net_opts o = { .pci = { .devfn = 0x18, .disable_legacy = true }, .net = nd, .mac = { 0x52, 0x54, 0, 1, 2, 3 } };
    CHECK(virtio_net_new(&machine, bus, "vnet", &o) != NULL);
    CHECK_EQ(cfg_r(0x18, 0), 0x10411af4);
    drive(0x18, BIT(5) | BIT(15) | BIT(16), 2, 16);
    CHECK_EQ(common_r(0x2000, 4), 0x01005452);
    CHECK_EQ(common_r(0x2006, 2), 1);
    uint8_t f[200];
    for (unsigned i = 0; i < sizeof(f); i++)
        f[i] = i;
    as_dma_write(machine.mem, DATA + 12, f, sizeof(f));
    for (unsigned i = 0; i < 12; i++)
        put(DATA + i, 0, 1);
    desc(1, 0, DATA, 12 + sizeof(f), 0, 0);
    offer(1, 0, 16);
    kick(1);
    CHECK_EQ(sent_len, sizeof(f));
    CHECK(!memcmp(sent, f, sizeof(f)));
    CHECK_EQ(used(1), 1);
    CHECK_EQ(msi_last, 0x42);
    /* receive: waits for buffers, then is spread over two of 128 bytes */
    netdev_deliver(nd, f, sizeof(f));
    fake_run_posts();
    CHECK_EQ(used(0), 0);
    desc(0, 0, DATA + 0x1000, 128, 2, 0);
    desc(0, 1, DATA + 0x2000, 128, 2, 0);
    offer(0, 0, 16);
    offer(0, 1, 16);
    kick(0);
    CHECK_EQ(used(0), 2);
    CHECK_EQ(get(DATA + 0x1000 + 10, 2), 2);                     /* num_buffers */
    CHECK_EQ(get(DATA + 0x1000 + 12, 1), 0);
    CHECK_EQ(get(DATA + 0x2000, 1), 116);
    CHECK_EQ(get(USED + 4 + 8 + 4, 4), 84);
    CHECK_EQ(msi_last, 0x41);
}

TEST(rng_fills)
{
    machine_setup();
    struct virtio_pci_opts po = { .devfn = 0x18 };
    CHECK(virtio_rng_new(&machine, bus, "vrng", &po) != NULL);
    drive(0x18, 0, 1, 8);
    put(DATA, 0, 8);
    put(DATA + 8, 0, 8);
    desc(0, 0, DATA, 16, 2, 0);
    offer(0, 0, 8);
    kick(0);
    CHECK_EQ(used(0), 1);
    CHECK(get(DATA, 8) != 0 && get(DATA + 8, 8) != 0);
    CHECK_EQ(get(DATA + 16, 8), 0);
}

TEST(console_out_and_in)
{
    machine_setup();
    char spec[64], path[40], err[100], b[16] = { 0 };
    snprintf(path, sizeof(path), "/tmp/duet-vcon-%d", getpid());
    snprintf(spec, sizeof(spec), "unix:%s,server,nowait", path);
    struct chr *c = chr_open(&fake_loop, spec, "vcon", NULL, NULL, err, sizeof(err));
    CHECK(c != NULL);
    struct virtio_pci_opts po = { .devfn = 0x18 };
    CHECK(virtio_console_new(&machine, bus, "vcon", &po, c) != NULL);
    drive(0x18, BIT(2), 2, 8);
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    strcpy(sa.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
    fake_loop_run(chr_connected(c));
    put(DATA, 0x6f6c6c6568, 5);
    desc(1, 0, DATA, 5, 0, 0);
    offer(1, 0, 8);
    kick(1);
    CHECK_EQ(used(1), 1);
    CHECK_EQ(read(fd, b, 5), 5);
    CHECK(!memcmp(b, "hello", 5));
    as_write(machine.mem, BAR + 0x2008, '!', 4);
    CHECK_EQ(read(fd, b, 1), 1);
    CHECK_EQ(b[0], '!');
    CHECK_EQ(write(fd, "input", 5), 5);
    for (int i = 0; i < 5; i++)
        fake_turn();
    CHECK_EQ(used(0), 0);                                        /* waits for a buffer */
    desc(0, 0, DATA + 64, 3, 2, 0);
    desc(0, 1, DATA + 128, 64, 2, 0);
    offer(0, 0, 8);
    offer(0, 1, 8);
    kick(0);
    CHECK_EQ(used(0), 2);
    CHECK_EQ(get(DATA + 64, 3), 'i' | 'n' << 8 | 'p' << 16);
    CHECK_EQ(get(USED + 4 + 8 + 4, 4), 2);
    close(fd);
    chr_close(c);
}
