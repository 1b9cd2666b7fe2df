/* User networking: a DHCP discover gets an offer of the right address, a forwarded port reaches the guest's side, rules are checked. */
#include "tests/unit/test.h"
#include "host/net.h"
#include "tests/unit/fake_loop.h"
#include <arpa/inet.h>
#include <stdlib.h>

static uint8_t got[2048];
static size_t got_len;
static unsigned got_n;
static char err[256];

static bool ready(void *opaque) { return true; }
static void take(void *opaque, const uint8_t *f, size_t len)
{
    got_len = MIN(len, sizeof(got));
    memcpy(got, f, got_len);
    got_n++;
}

static size_t discover(uint8_t *f)
{
    static const uint8_t mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
    uint8_t *ip = f + 14, *udp = ip + 20, *d = udp + 8;
    size_t len = 14 + 20 + 8 + 300;
    memset(f, 0, len);
    memset(f, 0xff, 6);
    memcpy(f + 6, mac, 6);
    f[12] = 8;
    ip[0] = 0x45;
    ip[2] = (len - 14) >> 8;
    ip[3] = (len - 14) & 0xff;
    ip[8] = 64;
    ip[9] = 17;
    memset(ip + 16, 0xff, 4);
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2)
        sum += ip[i] << 8 | ip[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    ip[10] = ~sum >> 8;
    ip[11] = ~sum;
    udp[1] = 68;
    udp[3] = 67;
    udp[4] = 308 >> 8;
    udp[5] = 308 & 0xff;
    d[0] = d[1] = 1;
    d[2] = 6;
    d[4] = 0x77;
    memcpy(d + 28, mac, 6);
    static const uint8_t opts[] = { 99, 130, 83, 99, 53, 1, 1, 255 };
    memcpy(d + 236, opts, sizeof(opts));
    return len;
}

TEST(dhcp_offer)
{
    uint8_t f[400];
    fake_clock = clock_new_real();
    struct netdev *nd = netdev_open(&fake_loop, fake_clock, "user,id=n0", err, sizeof(err));
    CHECK(nd != NULL);
    CHECK(!strcmp(nd->id, "n0"));
    netdev_set_receiver(nd, ready, take, NULL);
    got_n = 0;
    netdev_send(nd, f, discover(f));
    CHECK_EQ(got_n, 0);                                          /* never from inside send */
    fake_loop_run(got_n && got[23] == 17 && got[14 + 23] == 68);
    CHECK(got_len > 300);
    uint8_t *d = got + 42, offered[4] = { 10, 0, 2, 15 };
    CHECK_EQ(d[0], 2);
    CHECK(!memcmp(d + 16, offered, 4));
    CHECK(d[240] == 53 && d[242] == 2);
    netdev_close(nd);
    fake_prepare = NULL;
    fake_after = NULL;
}

TEST(hostfwd_rules)
{
    struct hostfwd f;
    CHECK_EQ(hostfwd_parse("tcp::2222-:22", &f, err, sizeof(err)), 0);
    CHECK(!f.udp && f.host_port == 2222 && f.guest_port == 22 && f.host_addr == 0 && f.guest_addr == 0);
    CHECK_EQ(hostfwd_parse("udp:127.0.0.1:53-10.0.2.20:5353", &f, err, sizeof(err)), 0);
    CHECK(f.udp && f.host_addr == htonl(0x7f000001) && f.guest_addr == htonl(0x0a000214) && f.guest_port == 5353);
    static const char *bad[] = { "tcp::2222", "sctp::1-:2", "tcp:x:1-:2", "tcp::0-:2", "tcp::70000-:2", "tcp::1-:", "tcp::-1-:2", "", "2222-22" };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        err[0] = 0;
        CHECK_EQ(hostfwd_parse(bad[i], &f, err, sizeof(err)), -EINVAL);
        CHECK(err[0] != 0);
    }
}

TEST(bad_options)
{
    static const char *bad[] = { "user,foo=1", "user,net=1.2.3", "user,restrict=maybe", "user,hostfwd=tcp:1", "wifi" };
    if (!fake_clock)
        fake_clock = clock_new_real();
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        err[0] = 0;
        CHECK(netdev_open(&fake_loop, fake_clock, bad[i], err, sizeof(err)) == NULL);
        CHECK(err[0] != 0);
    }
}
