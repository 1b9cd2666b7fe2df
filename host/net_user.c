/*
 * User networking: a small network 10.0.2.0/24 inside this process (libslirp), with a DHCP server, a DNS proxy
 * and forwarded ports. Needs no privilege.
 *
 * In: frames of the guest, host sockets. Out: the reverse. libslirp's sockets sit in an epoll set of our own, whose one fd the loop watches:
 * each turn `prepare` asks libslirp which sockets it wants and adjusts the set (a system call only for what changed); `after` reports what
 * is ready. Its timers are timers of the machine's clock, so a stopped machine has a stopped network.
 * Hazard: libslirp closes sockets and may get the same number again at once: unregister_poll_fd drops the number from the set first.
 * Locks: machine lock throughout; libslirp itself has none.
 */
#define _GNU_SOURCE 1
#include "core/log.h"
#include "host/net.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define FD_MAX 4096                      /* highest socket number kept in the table; libslirp's sockets are few */

struct net_user {
    struct netdev nd;
    Slirp *slirp;
    struct clock *clock;
    int epfd;
    struct pollfd *want;                 /* what libslirp asked for in this turn */
    unsigned n_want, cap_want, turn;
    struct { uint32_t events; unsigned turn; } fds[FD_MAX];   /* what the epoll set holds; events 0: nothing */
    int max_fd;
    bool shut;
    /* options */
    struct in_addr net, mask, host, dns, dhcp;
    char hostname[64], domain[64], tftp[256], bootfile[128];
    bool restricted, ipv6, filled;
};

struct user_timer {
    struct timer t;
    struct net_user *u;
    SlirpTimerId id;
    SlirpTimerCb cb;
    void *cb_opaque;
};

/* --- libslirp's callbacks --- */
static ssize_t cb_send(const void *buf, size_t len, void *opaque)
{
    struct net_user *u = opaque;
    netdev_deliver(&u->nd, buf, len);
    return len;
}

static void cb_guest_error(const char *msg, void *opaque) { log_guest("user network: %s", msg); }
static int64_t cb_clock(void *opaque) { return clock_ns(((struct net_user *)opaque)->clock); }

static void timer_fired(void *opaque)
{
    struct user_timer *t = opaque;
    if (t->cb)
        t->cb(t->cb_opaque);
    else
        slirp_handle_timer(t->u->slirp, t->id, t->cb_opaque);
}

static struct user_timer *timer_make(struct net_user *u)
{
    struct user_timer *t = calloc(1, sizeof(*t));
    if (!t)
        abort();                         /* libslirp cannot be told */
    t->u = u;
    timer_init(&t->t, u->clock, timer_fired, t);
    return t;
}

static void *cb_timer_new(SlirpTimerCb cb, void *cb_opaque, void *opaque)
{
    struct user_timer *t = timer_make(opaque);
    t->cb = cb;
    t->cb_opaque = cb_opaque;
    return t;
}

static void *cb_timer_new_opaque(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    struct user_timer *t = timer_make(opaque);
    t->id = id;
    t->cb_opaque = cb_opaque;
    return t;
}

static void cb_timer_free(void *timer, void *opaque)
{
    struct user_timer *t = timer;
    timer_del(&t->t);
    free(t);
}

static void cb_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    struct user_timer *t = timer;
    timer_set(&t->t, expire_ms * 1000000);
}

static void cb_register_fd(int fd, void *opaque) { }

static void cb_unregister_fd(int fd, void *opaque)
{
    struct net_user *u = opaque;
    if (fd < 0 || fd >= FD_MAX || !u->fds[fd].events)
        return;
    epoll_ctl(u->epfd, EPOLL_CTL_DEL, fd, NULL);
    u->fds[fd].events = 0;
}

static void wake_up(void *opaque) { }

/* Another turn of the loop, so that prepare looks again. */
static void cb_notify(void *opaque) { loop_post(((struct net_user *)opaque)->nd.loop, wake_up, opaque); }

static const SlirpCb callbacks = {
    .send_packet = cb_send, .guest_error = cb_guest_error, .clock_get_ns = cb_clock, .timer_new = cb_timer_new, .timer_free = cb_timer_free,
    .timer_mod = cb_timer_mod, .register_poll_fd = cb_register_fd, .unregister_poll_fd = cb_unregister_fd, .notify = cb_notify,
    .timer_new_opaque = cb_timer_new_opaque,
};

/* --- polling --- */
static const struct { int slirp; short host; } poll_bits[] = {
    { SLIRP_POLL_IN, POLLIN }, { SLIRP_POLL_OUT, POLLOUT }, { SLIRP_POLL_PRI, POLLPRI }, { SLIRP_POLL_ERR, POLLERR }, { SLIRP_POLL_HUP, POLLHUP },
};

static int add_poll(int fd, int events, void *opaque)
{
    struct net_user *u = opaque;
    struct pollfd p = { .fd = fd };
    for (unsigned i = 0; i < ARRAY_SIZE(poll_bits); i++) {
        if (events & poll_bits[i].slirp)
            p.events |= poll_bits[i].host;
    }
    if (u->n_want == u->cap_want) {
        unsigned cap = u->cap_want ? u->cap_want * 2 : 32;
        struct pollfd *w = realloc(u->want, cap * sizeof(*w));
        if (!w)
            return -1;
        u->want = w;
        u->cap_want = cap;
    }
    u->want[u->n_want] = p;
    return u->n_want++;
}

static int get_revents(int idx, void *opaque)
{
    struct net_user *u = opaque;
    int r = 0;
    if (idx < 0 || (unsigned)idx >= u->n_want)
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(poll_bits); i++) {
        if (u->want[idx].revents & poll_bits[i].host)
            r |= poll_bits[i].slirp;
    }
    return r;
}

static void set_interest(struct net_user *u, int fd, uint32_t events)
{
    struct epoll_event ev = { .events = events, .data.fd = fd };
    u->fds[fd].turn = u->turn;
    if (u->fds[fd].events == events)
        return;
    if (epoll_ctl(u->epfd, u->fds[fd].events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0)
        epoll_ctl(u->epfd, errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev);
    u->fds[fd].events = events;
    u->max_fd = MAX(u->max_fd, fd);
}

static void prepare(void *opaque, int *timeout_ms)
{
    struct net_user *u = opaque;
    uint32_t timeout = *timeout_ms < 0 ? UINT32_MAX : (uint32_t)*timeout_ms;
    if (u->shut)
        return;
    u->n_want = 0;
    u->turn++;
    slirp_pollfds_fill(u->slirp, &timeout, add_poll, u);
    u->filled = true;
    if (timeout != UINT32_MAX && (*timeout_ms < 0 || timeout < (uint32_t)*timeout_ms))
        *timeout_ms = MIN(timeout, 1000000u);
    for (unsigned i = 0; i < u->n_want; i++) {
        int fd = u->want[i].fd;                   /* EPOLLIN.. have the values of POLLIN.. */
        if (fd >= 0 && fd < FD_MAX)
            set_interest(u, fd, (uint16_t)u->want[i].events & (POLLIN | POLLOUT | POLLPRI));
    }
    for (int fd = 0; fd <= u->max_fd; fd++) {     /* what libslirp no longer wants would wake us for nothing */
        if (u->fds[fd].events && u->fds[fd].turn != u->turn)
            cb_unregister_fd(fd, u);
    }
}

static void after(void *opaque)
{
    struct net_user *u = opaque;
    if (u->shut || !u->filled)
        return;
    u->filled = false;
    int r = u->n_want ? poll(u->want, u->n_want, 0) : 0;
    slirp_pollfds_poll(u->slirp, r < 0, get_revents, u);
}

static void epoll_ready(void *opaque, int fd, unsigned events) { }   /* the wake-up is all: `after` does the work */

static void user_output(struct netdev *nd, const uint8_t *frame, size_t len)
{
    struct net_user *u = container_of(nd, struct net_user, nd);
    slirp_input(u->slirp, frame, len);
    cb_notify(u);                                 /* a new socket may have to be watched */
}

static void user_shut(struct netdev *nd)
{
    struct net_user *u = container_of(nd, struct net_user, nd);
    u->shut = true;
    slirp_cleanup(u->slirp);
    loop_watch(nd->loop, u->epfd, 0, epoll_ready, u);
    close(u->epfd);
    free(u->want);
    u->want = NULL;
}

/* --- options --- */
static int parse_port(const char *s, uint16_t *port)
{
    char *end;
    unsigned long v = strtoul(s, &end, 10);
    if (end == s || *end || v == 0 || v > 65535 || *s == '-' || *s == '+')
        return -EINVAL;
    *port = v;
    return 0;
}

/* "[addr]:port"; an empty address is 0. Changes S. */
static int parse_end(char *s, uint32_t *addr, uint16_t *port)
{
    struct in_addr a = { 0 };
    char *colon = strrchr(s, ':');
    if (!colon)
        return -EINVAL;
    *colon = 0;
    if (*s && inet_pton(AF_INET, s, &a) != 1)
        return -EINVAL;
    *addr = a.s_addr;
    return parse_port(colon + 1, port);
}

int hostfwd_parse(const char *rule, struct hostfwd *f, char *err, size_t errlen)
{
    char buf[128], *p = buf, *dash;
    memset(f, 0, sizeof(*f));
    snprintf(buf, sizeof(buf), "%s", rule);
    if (!strncmp(p, "udp:", 4)) {
        f->udp = true;
        p += 4;
    } else if (!strncmp(p, "tcp:", 4)) {
        p += 4;
    } else if (*p == ':') {
        p += 1;
    } else {
        snprintf(err, errlen, "hostfwd '%s': the protocol must be tcp or udp, as in tcp::2222-:22", rule);
        return -EINVAL;
    }
    dash = strchr(p, '-');
    if (!dash) {
        snprintf(err, errlen, "hostfwd '%s': no '-' between host and guest, as in tcp::2222-:22", rule);
        return -EINVAL;
    }
    *dash = 0;
    if (parse_end(p, &f->host_addr, &f->host_port) < 0) {
        snprintf(err, errlen, "hostfwd '%s': bad host side, wanted [address]:port", rule);
        return -EINVAL;
    }
    if (parse_end(dash + 1, &f->guest_addr, &f->guest_port) < 0) {
        snprintf(err, errlen, "hostfwd '%s': bad guest side, wanted [address]:port", rule);
        return -EINVAL;
    }
    return 0;
}

int netdev_user_hostfwd_add(struct netdev *nd, const char *rule, char *err, size_t errlen)
{
    struct net_user *u = container_of(nd, struct net_user, nd);
    struct hostfwd f;
    if (hostfwd_parse(rule, &f, err, errlen) < 0)
        return -EINVAL;
    struct in_addr host = { f.host_addr }, guest = { f.guest_addr };
    if (slirp_add_hostfwd(u->slirp, f.udp, host, f.host_port, guest, f.guest_port) < 0) {
        int e = errno ? errno : EADDRINUSE;
        snprintf(err, errlen, "hostfwd '%s': cannot listen on host port %u: %s", rule, f.host_port, strerror(e));
        return -e;
    }
    return 0;
}

static int parse_on(const char *v, bool *b)
{
    bool on = !strcmp(v, "on") || !strcmp(v, "yes") || !strcmp(v, "y");
    if (!on && strcmp(v, "off") != 0 && strcmp(v, "no") != 0 && strcmp(v, "n") != 0)
        return -EINVAL;
    *b = on;
    return 0;
}

/* "A.B.C.D[/bits]": the network; host, dns and dhcp follow it (.2, .3, .15). */
static int parse_net(struct net_user *u, char *v)
{
    char *slash = strchr(v, '/');
    long bits = 24;
    if (slash) {
        *slash++ = 0;
        bits = strtol(slash, &slash, 10);
        if (*slash)
            return -EINVAL;
    }
    if (bits < 8 || bits > 27 || inet_pton(AF_INET, v, &u->net) != 1)
        return -EINVAL;
    u->mask.s_addr = htonl(~0u << (32 - bits));
    u->net.s_addr &= u->mask.s_addr;
    u->host.s_addr = u->net.s_addr | htonl(2);
    u->dns.s_addr = u->net.s_addr | htonl(3);
    u->dhcp.s_addr = u->net.s_addr | htonl(15);
    return 0;
}

static int parse_addr(const char *v, struct in_addr *a) { return inet_pton(AF_INET, v, a) == 1 ? 0 : -EINVAL; }
static int parse_text(const char *v, char *to, size_t size) { return (size_t)snprintf(to, size, "%s", v) < size ? 0 : -EINVAL; }

/* One "key=value" that slirp_new needs; hostfwd rules come after it exists. */
static int parse_word(struct net_user *u, const char *key, char *v)
{
    if (!strcmp(key, "id") || !strcmp(key, "hostfwd"))
        return 0;
    if (!strcmp(key, "net"))
        return parse_net(u, v);
    if (!strcmp(key, "host"))
        return parse_addr(v, &u->host);
    if (!strcmp(key, "dns"))
        return parse_addr(v, &u->dns);
    if (!strcmp(key, "dhcpstart"))
        return parse_addr(v, &u->dhcp);
    if (!strcmp(key, "hostname"))
        return parse_text(v, u->hostname, sizeof(u->hostname));
    if (!strcmp(key, "domainname"))
        return parse_text(v, u->domain, sizeof(u->domain));
    if (!strcmp(key, "tftp"))
        return parse_text(v, u->tftp, sizeof(u->tftp));
    if (!strcmp(key, "bootfile"))
        return parse_text(v, u->bootfile, sizeof(u->bootfile));
    if (!strcmp(key, "restrict"))
        return parse_on(v, &u->restricted);
    if (!strcmp(key, "ipv6"))
        return parse_on(v, &u->ipv6);
    return -ENOENT;
}

/* "net=" must come before what it would overwrite, whatever the order of the words: two rounds. */
static int parse_options(struct net_user *u, const char *opts, char *err, size_t errlen)
{
    for (int round = 0; round < 2; round++) {
        char *copy = strdup(opts), *save = NULL;
        for (char *w = copy ? strtok_r(copy, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save)) {
            char *v = strchr(w, '=');
            if (v)
                *v++ = 0;
            if ((round == 0) != !strcmp(w, "net"))
                continue;
            int r = v ? parse_word(u, w, v) : -ENOENT;
            if (r == -ENOENT)
                snprintf(err, errlen, "user network: unknown option '%s' (valid: id, net, host, dns, dhcpstart, hostname, domainname, tftp, "
                         "bootfile, restrict, ipv6, hostfwd)", w);
            else if (r < 0)
                snprintf(err, errlen, "user network: bad value '%s' for %s", v, w);
            if (r < 0) {
                free(copy);
                return r;
            }
        }
        free(copy);
    }
    return 0;
}

static int add_forwards(struct net_user *u, const char *opts, char *err, size_t errlen)
{
    char *copy = strdup(opts), *save = NULL;
    int r = 0;
    for (char *w = copy ? strtok_r(copy, ",", &save) : NULL; w && r == 0; w = strtok_r(NULL, ",", &save)) {
        if (!strncmp(w, "hostfwd=", 8))
            r = netdev_user_hostfwd_add(&u->nd, w + 8, err, errlen);
    }
    free(copy);
    return r;
}

static Slirp *start(struct net_user *u)
{
    SlirpConfig c = {
        .version = 4, .restricted = u->restricted, .in_enabled = true, .vnetwork = u->net, .vnetmask = u->mask, .vhost = u->host,
        .in6_enabled = u->ipv6, .vprefix_len = 64, .vhostname = *u->hostname ? u->hostname : NULL, .tftp_path = *u->tftp ? u->tftp : NULL,
        .bootfile = *u->bootfile ? u->bootfile : NULL, .vdhcp_start = u->dhcp, .vnameserver = u->dns, .vdomainname = *u->domain ? u->domain : NULL,
    };
    inet_pton(AF_INET6, "fec0::", &c.vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &c.vhost6);
    inet_pton(AF_INET6, "fec0::3", &c.vnameserver6);
    return slirp_new(&c, &callbacks, u);
}

struct netdev *netdev_user_new(struct loop *loop, struct clock *clock, const char *opts, char *err, size_t errlen)
{
    struct net_user *u = calloc(1, sizeof(*u));
    char net[] = "10.0.2.0/24";
    if (!u) {
        snprintf(err, errlen, "out of memory");
        return NULL;
    }
    netdev_init(&u->nd, loop, "user");
    u->clock = clock;
    u->ipv6 = true;
    parse_net(u, net);
    if (parse_options(u, opts, err, errlen) < 0) {
        free(u);
        return NULL;
    }
    u->epfd = epoll_create1(EPOLL_CLOEXEC);
    u->slirp = u->epfd >= 0 ? start(u) : NULL;
    if (!u->slirp) {
        snprintf(err, errlen, "user network: libslirp does not start with these addresses");
        if (u->epfd >= 0)
            close(u->epfd);
        free(u);
        return NULL;
    }
    u->nd.output = user_output;
    u->nd.shut = user_shut;
    if (add_forwards(u, opts, err, errlen) < 0) {
        slirp_cleanup(u->slirp);
        close(u->epfd);
        free(u);
        return NULL;
    }
    loop_add_poller(loop, prepare, after, u);
    loop_watch(loop, u->epfd, LOOP_READ, epoll_ready, u);
    return &u->nd;
}
