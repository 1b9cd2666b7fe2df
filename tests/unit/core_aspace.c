/*
 * core/aspace.c: overlaps, splitting of accesses, DMA, tracking, and lookups that race with changes of the map.
 */
#include "core/aspace.h"
#include "tests/unit/test.h"
#include <errno.h>

static char io_log[256];
static uint64_t log_read(void *opaque, uint64_t off, unsigned size)
{
    CHECK(machine_lock_held());
    sprintf(io_log + strlen(io_log), "r%llu.%u ", (unsigned long long)off, size);
    return 0x8877665544332211ull >> ((off & 7) * 8);
}

static void log_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    sprintf(io_log + strlen(io_log), "w%llu.%u=%llx ", (unsigned long long)off, size, (unsigned long long)val);
}

static unsigned hook_calls, hook_track;
static gpa_t hook_addr;
static size_t hook_len;
static void hook(void *opaque, gpa_t addr, size_t len, unsigned track)
{
    hook_calls++;
    hook_addr = addr;
    hook_len = len;
    hook_track = track;
}

TEST(overlap_later_wins)
{
    struct aspace *as = as_new("t", 46);
    struct region ram, io = { .kind = REGION_IO, .name = "io", .read = log_read, .write = log_write };
    uint64_t off, run;

    CHECK_EQ(as_add_ram(as, &ram, "ram", 0, 0x10000, REGION_RAM), 0);
    as_add(as, &io, 0x4000, 0x1000);
    CHECK(as_find(as, 0x3000, &off, &run) == &ram);
    CHECK_EQ(off, 0x3000);
    CHECK_EQ(run, 0x1000);
    CHECK(as_find(as, 0x4010, &off, &run) == &io);
    CHECK_EQ(off, 0x10);
    CHECK_EQ(run, 0xff0);
    CHECK(as_find(as, 0x5000, &off, &run) == &ram);
    CHECK_EQ(off, 0x5000);
    CHECK_EQ(run, 0xb000);
    CHECK(!as_find(as, 0x10000, &off, &run));
    as_move(as, &io, 0x8000);
    CHECK(as_find(as, 0x4010, &off, &run) == &ram);
    CHECK_EQ(run, 0x3ff0);
    CHECK(as_find(as, 0x8000, &off, &run) == &io);
    as_remove(as, &io);
    CHECK(as_find(as, 0x8000, &off, &run) == &ram);
    CHECK_EQ(run, 0x8000);
    as_free(as);
}

TEST(outside_is_clipped)
{
    struct aspace *as = as_new("t", 16);
    struct region io = { .kind = REGION_IO, .name = "io", .read = log_read, .write = log_write };
    uint64_t off, run;

    as_add(as, &io, 0xfff8, 0x100);
    CHECK(as_find(as, 0xffff, &off, &run) == &io);
    CHECK_EQ(run, 1);
    CHECK(!as_find(as, 0x10000, &off, &run));
    as_move(as, &io, ~0ull - 3);
    CHECK(!as_find(as, ~0ull, &off, &run));
    CHECK(!as_find(as, 0xffff, &off, &run));
    CHECK_EQ(as_read(as, 0xffff, 4), 0xffffffff);
    as_free(as);
}

TEST(io_is_split)
{
    struct aspace *as = as_new("t", 46);
    struct region io = { .kind = REGION_IO, .name = "io", .read = log_read, .write = log_write };

    as_add(as, &io, 0x1000, 0x1000);
    *io_log = 0;
    CHECK_EQ(as_read(as, 0x1000, 8), 0x8877665544332211ull);
    CHECK_EQ(as_read(as, 0x1001, 2), 0x3322);
    CHECK_EQ(as_read(as, 0x1004, 4), 0x88776655);
    CHECK(!strcmp(io_log, "r0.4 r4.4 r1.1 r2.1 r4.4 "));
    *io_log = 0;
    as_write(as, 0x1002, 0xaabbccdd, 4);
    as_write(as, 0x1ffe, 0x11223344, 4);
    CHECK(!strcmp(io_log, "w2.1=dd w3.1=cc w4.1=bb w5.1=aa w4094.2=3344 "));
    io.max_size = 8;
    *io_log = 0;
    as_write(as, 0x1008, 0x1122334455667788ull, 8);
    as_write(as, 0x1010, 0xffff112233ull, 3);
    CHECK(!strcmp(io_log, "w8.8=1122334455667788 w16.1=33 w17.1=22 w18.1=11 "));
    as_free(as);
}

TEST(ram_and_rom)
{
    struct aspace *as = as_new("t", 46);
    struct region ram, rom, alias;
    uint32_t v = 0x12345678, out;

    as_add_ram(as, &ram, "ram", 0x1000, 0x2000, REGION_RAM);
    as_add_ram(as, &rom, "rom", 0x3000, 0x1000, REGION_ROM);
    as_add_alias(as, &alias, "alias", &ram, 0x1000, 0x8000, 0x1000);
    CHECK_EQ(as_load(as, 0x3000, &v, 4), 0);
    as_write(as, 0x3000, 0, 4);
    CHECK_EQ(as_read(as, 0x3000, 4), 0x12345678);
    as_write(as, 0x2ffe, 0xaabbccdd, 4);
    CHECK_EQ(as_read(as, 0x2ffe, 4), 0x5678ccdd);
    CHECK_EQ(as_read(as, 0x8ffe, 2), 0xccdd);
    as_write(as, 0x8000, 0x77, 1);
    CHECK_EQ(as_read(as, 0x2000, 1), 0x77);
    CHECK_EQ(as_dma_write(as, 0x2ffe, &v, 4), (uint64_t)-EFAULT);
    CHECK_EQ(as_dma_read(as, 0x2ffe, &out, 4), 0);
    CHECK_EQ(out, 0x56785678);
    CHECK_EQ(as_dma_read(as, 0x3ffe, &out, 4), (uint64_t)-EFAULT);
    CHECK_EQ(out, 0xffff0000);
    CHECK_EQ(as_load(as, 0x3ffe, &v, 4), (uint64_t)-EFAULT);
    as_free(as);
}

TEST(tracking)
{
    struct aspace *as = as_new("t", 46);
    struct region ram;
    uint8_t buf[0x1800] = { 1 };
    size_t len = 0x10000;

    as_add_ram(as, &ram, "ram", 0x10000, 0x4000, REGION_RAM);
    as_set_write_hook(as, hook, NULL);
    as_write(as, 0x10000, 1, 4);
    CHECK_EQ(hook_calls, 0);
    region_track_set(&ram, 0x1000, TRACK_PT);
    as_write(as, 0x11010, 1, 8);
    CHECK_EQ(hook_calls, 1);
    CHECK_EQ(hook_addr, 0x11010);
    CHECK_EQ(hook_len, 8);
    CHECK_EQ(hook_track, TRACK_PT);
    as_dma_write(as, 0x10c00, buf, sizeof(buf));
    CHECK_EQ(hook_calls, 2);
    CHECK_EQ(hook_addr, 0x11000);
    CHECK_EQ(hook_len, 0x1000);
    CHECK(as_dma_ptr(as, 0x12000, &len, true) == ram.host + 0x2000);
    CHECK_EQ(len, 0x2000);
    as_dma_dirty(as, 0x11ff0, 0x20);
    CHECK_EQ(hook_calls, 3);
    CHECK_EQ(hook_len, 0x10);
    region_track_clear(&ram, 0x1000, TRACK_PT);
    as_write(as, 0x11010, 1, 8);
    CHECK_EQ(hook_calls, 3);
    as_free(as);
}

static struct aspace *race_as;
static struct region race_a, race_b;
static bool race_stop;

static void *race_reader(void *opaque)
{
    uint64_t off, run;

    while (!__atomic_load_n(&race_stop, __ATOMIC_ACQUIRE)) {
        CHECK(as_find(race_as, 0x100010, &off, &run) == &race_a);
        CHECK(off == 0x10 && run == 0xff0);
    }
    return NULL;
}

TEST(lookups_race_with_changes)
{
    pthread_t t;

    race_as = as_new("t", 46);
    race_a = race_b = (struct region){ .kind = REGION_IO };
    as_add(race_as, &race_a, 0x100000, 0x1000);
    as_add(race_as, &race_b, 0x1000, 0x1000);
    pthread_create(&t, NULL, race_reader, NULL);
    for (unsigned i = 0; i < 100000; i++)
        as_move(race_as, &race_b, i & 1 ? 0x1000 : 0x200000);
    __atomic_store_n(&race_stop, true, __ATOMIC_RELEASE);
    pthread_join(t, NULL);
    as_free(race_as);
}
