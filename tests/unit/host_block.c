/* Disk images: bytes, snapshot, locks, odd sizes, zeroing, many requests in flight, errors. */
#include "tests/unit/test.h"
#include "host/block.h"
#include "tests/unit/fake_loop.h"
#include <fcntl.h>
#include <stdlib.h>

static char path[64], err[256];
static int results[64], n_done;

static void make_file(off_t size)
{
    strcpy(path, "/tmp/duet-block-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0 && ftruncate(fd, size) == 0);
    close(fd);
}

static struct block *open_it(bool ro, bool snapshot)
{
    struct block_opts o = { .path = path, .format = "raw", .readonly = ro, .snapshot = snapshot };
    return block_open(&o, err, sizeof(err));
}

static void done(struct block_req *r, int ret) { results[n_done++ % 64] = ret; }

TEST(write_read_at_once)
{
    uint8_t a[1024], b[1024];
    make_file(8192);
    struct block *d = open_it(false, false);
    CHECK(d != NULL);
    memset(a, 0x5a, sizeof(a));
    CHECK_EQ(block_size(d), 8192);
    CHECK_EQ(block_pwrite(d, 512, a, 1024), 0);
    CHECK_EQ(block_pread(d, 512, b, 1024), 0);
    CHECK(!memcmp(a, b, 1024));
    CHECK_EQ(block_flush(d), 0);
    CHECK_EQ(block_pread(d, 8192, b, 512), -EINVAL);
    CHECK_EQ(block_pread(d, 100, b, 512), -EINVAL);
    block_close(d);
    unlink(path);
}

TEST(odd_size_is_rounded)
{
    uint8_t b[512];
    make_file(700);
    struct block *d = open_it(false, false);
    CHECK_EQ(block_size(d), 1024);
    memset(b, 1, sizeof(b));
    CHECK_EQ(block_pread(d, 512, b, 512), 0);
    CHECK_EQ(b[511], 0);
    CHECK_EQ(block_pwrite(d, 512, b, 512), 0);
    block_close(d);
    unlink(path);
}

TEST(locks)
{
    make_file(4096);
    struct block *a = open_it(false, false);
    CHECK(a != NULL);
    CHECK(open_it(false, false) == NULL);
    CHECK(strstr(err, "in use") != NULL);
    CHECK(open_it(true, false) == NULL);
    block_close(a);
    a = open_it(true, false);
    struct block *b = open_it(true, false);
    CHECK(a && b);
    uint8_t z[512] = { 0 };
    CHECK_EQ(block_pwrite(a, 0, z, 512), -EROFS);
    block_close(a);
    block_close(b);
    unlink(path);
}

TEST(snapshot_leaves_the_image)
{
    uint8_t a[4096], b[4096];
    make_file(1 << 20);
    struct block *d = open_it(false, false);
    memset(a, 1, sizeof(a));
    CHECK_EQ(block_pwrite(d, 4096, a, 4096), 0);
    block_close(d);
    d = open_it(false, true);
    CHECK(d && !block_readonly(d));
    memset(a, 2, 512);
    CHECK_EQ(block_pwrite(d, 4096 + 1024, a, 512), 0);
    CHECK_EQ(block_pread(d, 4096, b, 4096), 0);
    CHECK(b[0] == 1 && b[1023] == 1 && b[1024] == 2 && b[1535] == 2 && b[1536] == 1);
    struct block_req z = { .op = BLOCK_ZERO, .offset = 4096, .len = 512, .done = done };
    n_done = 0;
    block_submit(d, &z);
    block_drain(d);
    CHECK_EQ(results[0], 0);
    CHECK_EQ(block_pread(d, 4096, b, 1024), 0);
    CHECK(b[0] == 0 && b[512] == 1);
    block_close(d);
    d = open_it(true, false);
    CHECK_EQ(block_pread(d, 4096, b, 4096), 0);
    CHECK(b[0] == 1 && b[1024] == 1);
    block_close(d);
    unlink(path);
}

TEST(many_in_flight)
{
    static uint8_t buf[64][4096];
    struct iovec v[64];
    struct block_req r[64];
    make_file(1 << 20);
    struct block *d = open_it(false, false);
    for (int round = 0; round < 2; round++) {
        n_done = 0;
        for (int i = 0; i < 64; i++) {
            memset(buf[i], round ? 0 : i + 1, 4096);
            v[i] = (struct iovec){ buf[i], 4096 };
            r[i] = (struct block_req){ .op = round ? BLOCK_READ : BLOCK_WRITE, .offset = 4096 * i, .len = 4096, .iov = &v[i], .niov = 1,
                                       .done = done };
            block_submit(d, &r[i]);
        }
        fake_loop_run(n_done == 64);
        CHECK_EQ(n_done, 64);
    }
    for (int i = 0; i < 64; i++) {
        CHECK_EQ(results[i], 0);
        CHECK_EQ(buf[i][4095], i + 1);
    }
    block_close(d);
    fake_run_posts();
    unlink(path);
}

TEST(media_change_and_foreign_formats)
{
    struct block_opts none = { 0 };
    uint8_t b[512];
    struct block *d = block_open(&none, err, sizeof(err));
    CHECK(d && !block_inserted(d));
    CHECK_EQ(block_pread(d, 0, b, 512), -ENOMEDIUM);
    make_file(4096);
    struct block_opts o = { .path = path };
    CHECK_EQ(block_change(d, &o, err, sizeof(err)), 0);
    CHECK_EQ(block_size(d), 4096);
    block_close(d);
    int fd = open(path, O_WRONLY);
    CHECK_EQ(pwrite(fd, "QFI\xfb", 4, 0), 4);
    close(fd);
    CHECK(block_open(&o, err, sizeof(err)) == NULL);
    CHECK(strstr(err, "qcow2") != NULL);
    unlink(path);
    CHECK(block_open(&o, err, sizeof(err)) == NULL);
}
