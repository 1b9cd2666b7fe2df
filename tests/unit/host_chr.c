/* Character streams: escapes, mux, end of input, sockets with clients that come and go, back pressure. */
#include "tests/unit/test.h"
#include "host/chr_int.h"
#include "tests/unit/fake_loop.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

static char got[2][256], err[256], path[64];
static size_t got_n[2], room = 256;
static int quits, events, last_event;

static size_t can(void *o) { return room; }
static void take(void *o, const uint8_t *b, size_t n)
{
    size_t k = (size_t)(uintptr_t)o;
    memcpy(got[k] + got_n[k], b, n);
    got_n[k] += n;
}
static void event(void *o, int e) { events++; last_event = e; }
static void quit(void *o) { quits++; }

static int client(void)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    strcpy(sa.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0);
    return fd;
}

TEST(unix_server_reconnects)
{
    char spec[100], b[16];
    snprintf(path, sizeof(path), "/tmp/duet-chr-%d", getpid());
    snprintf(spec, sizeof(spec), "unix:%s,server,nowait", path);
    struct chr *c = chr_open(&fake_loop, spec, "t", NULL, NULL, err, sizeof(err));
    CHECK(c != NULL);
    chr_set_receiver(c, can, take, event, NULL);
    CHECK_EQ(chr_write(c, (const uint8_t *)"x", 1), 1);          /* nobody there */
    for (int round = 0; round < 2; round++) {
        got_n[0] = 0;
        int fd = client();
        fake_loop_run(chr_connected(c));
        CHECK_EQ(last_event, CHR_OPENED);
        CHECK_EQ(write(fd, "ab\001x", 4), 4);                    /* no escapes on sockets */
        fake_loop_run(got_n[0] == 4);
        CHECK_EQ(got_n[0], 4);
        CHECK_EQ(chr_write(c, (const uint8_t *)"hello", 5), 5);
        CHECK_EQ(read(fd, b, 5), 5);
        close(fd);
        fake_loop_run(!chr_connected(c));
        CHECK_EQ(last_event, CHR_CLOSED);
    }
    chr_close(c);
}

TEST(back_pressure)
{
    static uint8_t big[400000], sink[65536];
    char spec[100];
    snprintf(spec, sizeof(spec), "unix:%s,server=on,wait=off", path);
    struct chr *c = chr_open(&fake_loop, spec, "t", NULL, NULL, err, sizeof(err));
    CHECK(c != NULL);
    int fd = client();
    fake_loop_run(chr_connected(c));
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = i * 7;
    size_t sent = 0, seen = 0;
    bool short_once = false;
    for (int i = 0; i < 10000 && seen < sizeof(big); i++) {
        size_t n = chr_write(c, big + sent, sizeof(big) - sent);
        short_once |= n < sizeof(big) - sent;
        sent += n;
        ssize_t r = recv(fd, sink, sizeof(sink), MSG_DONTWAIT);
        for (ssize_t k = 0; k < r; k++)
            CHECK_EQ(sink[k], big[seen + k]);
        seen += r > 0 ? r : 0;
        fake_turn();
    }
    CHECK(short_once);
    CHECK_EQ(seen, sizeof(big));
    close(fd);
    chr_close(c);
}

TEST(stdio_escapes_mux_and_end)
{
    int p[2], old = dup(0);
    CHECK(pipe(p) == 0);
    dup2(p[0], 0);
    struct chr *c = chr_open(&fake_loop, "stdio", "t", quit, NULL, err, sizeof(err));
    CHECK(c != NULL);
    CHECK(chr_open(&fake_loop, "stdio", "t", quit, NULL, err, sizeof(err)) == NULL);
    struct chr *a = chr_mux_add(c), *b = chr_mux_add(c);
    got_n[0] = got_n[1] = 0;
    chr_set_receiver(a, can, take, event, (void *)0);
    chr_set_receiver(b, can, take, event, (void *)1);
    CHECK_EQ(write(p[1], "one\001\001\001ctwo\001b\001x", 14), 14);
    close(p[1]);
    fake_loop_run(quits);
    fake_turn();
    CHECK_EQ(quits, 1);
    CHECK(got_n[0] == 4 && !memcmp(got[0], "one\001", 4));
    CHECK(got_n[1] == 3 && !memcmp(got[1], "two", 3));
    CHECK_EQ(last_event, CHR_BREAK);
    for (int i = 0; i < 5; i++)
        fake_turn();                                             /* end of input is quiet */
    dup2(old, 0);
    chr_close(c);
}

/* A reader who is slow when the machine ends gets the buffer's contents and what the device could not yet give. */
static struct { struct chr *c; size_t sent, seen; int fd; } slow;
static uint8_t slow_byte(size_t i) { return (uint8_t)(i * 7); }
static void slow_send(void *opaque)
{
    for (uint8_t b; slow.sent < 400000; slow.sent++) {
        b = slow_byte(slow.sent);
        if (chr_write(slow.c, &b, 1) < 1)
            return;
    }
}

static void *slow_read(void *opaque)
{
    uint8_t b[4096];
    for (ssize_t n; (n = read(slow.fd, b, sizeof(b))) > 0; usleep(500))
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(b[i], slow_byte(slow.seen++));
    return NULL;
}

TEST(slow_reader_at_the_end)
{
    int p[2];
    pthread_t thread;
    CHECK(pipe(p) == 0);
    fcntl(p[1], F_SETFL, O_NONBLOCK);
    slow.c = chr_alloc(&fake_loop);
    slow.c->out_fd = p[1];
    slow.c->connected = true;
    slow.fd = p[0];
    chr_set_writable(slow.c, slow_send, NULL);
    slow_send(NULL);
    CHECK(slow.sent < 400000);
    CHECK_EQ(pthread_create(&thread, NULL, slow_read, NULL), 0);
    chr_exit_all();
    chr_close(slow.c);
    pthread_join(thread, NULL);
    CHECK_EQ(slow.seen, 400000);
}

TEST(bad_words)
{
    static const char *bad[] = { "telepathy", "unix:/tmp/x,frob", "tcp:nohost", "file:/nonexistent/x", "unix:" };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        err[0] = 0;
        CHECK(chr_open(&fake_loop, bad[i], "t", NULL, NULL, err, sizeof(err)) == NULL);
        CHECK(err[0] != 0);
    }
}
