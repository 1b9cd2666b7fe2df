/*
 * Back ends of character streams: opening a terminal, file, pty, socket or nothing, and the parser of -serial's words. Each fills the fds and the
 * traits of a struct chr (chr_int.h); moving bytes is chr.c's part.
 *
 * In: words of the command line. Out: a stream, or NULL and a one-line reason. Machine lock held, before the machine runs or on the loop's
 * thread. The terminal is put into raw mode (output processing stays on) and restored by chr_close, chr_exit_all and atexit.
 */
#define _GNU_SOURCE 1
#include "host/chr_int.h"
#include "core/log.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool stdio_taken;

static struct chr *fail(struct chr *c, char *err, size_t errlen, const char *what, const char *arg, int e)
{
    snprintf(err, errlen, "%s%s%s%s%s", what, arg ? " " : "", arg ? arg : "", e ? ": " : "", e ? strerror(e) : "");
    chr_close(c);
    return NULL;
}

/* --- stdio --- */
static void stdio_raw(struct chr *c, bool signals)
{
    if (!isatty(0) || tcgetattr(0, &c->saved_tty) < 0 || tcgetpgrp(0) != getpgrp())
        return;
    struct termios t = c->saved_tty;
    t.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals)
        t.c_lflag &= ~ISIG;
    t.c_cflag = (t.c_cflag & ~(CSIZE | PARENB)) | CS8;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    if (tcsetattr(0, TCSANOW, &t) == 0)
        c->tty_changed = true;
}

struct chr *chr_open_stdio(struct loop *loop, bool signals, void (*quit)(void *), void *opaque, char *err, size_t errlen)
{
    struct chr *c = NULL;
    if (stdio_taken)
        return fail(NULL, err, errlen, "stdio can be used only once", NULL, 0);
    if (!(c = chr_alloc(loop)))
        return fail(NULL, err, errlen, "out of memory", NULL, 0);
    stdio_taken = true;
    signal(SIGPIPE, SIG_IGN);
    atexit(chr_exit_all);
    c->in_fd = fcntl(0, F_GETFD) < 0 ? -1 : 0;
    c->out_fd = fcntl(1, F_GETFD) < 0 ? -1 : 1;
    c->connected = c->poll_before_write = c->has_escape = true;
    c->chunk = isatty(1) ? 256 : 4096;
    c->lossy_in = isatty(0);
    c->quit = quit;
    c->quit_opaque = opaque;
    stdio_raw(c, signals);
    chr_update_watch(c);
    return c;
}

/* --- file, null, pty --- */
struct chr *chr_open_file(struct loop *loop, const char *path, bool append, char *err, size_t errlen)
{
    struct chr *c = chr_alloc(loop);
    if (!c)
        return fail(NULL, err, errlen, "out of memory", NULL, 0);
    c->out_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0644);
    if (c->out_fd < 0)
        return fail(c, err, errlen, "cannot open", path, errno);
    c->connected = true;
    return c;
}

struct chr *chr_open_null(struct loop *loop)
{
    return chr_alloc(loop);
}

struct chr *chr_open_pty(struct loop *loop, const char *label, char *err, size_t errlen)
{
    struct chr *c = chr_alloc(loop);
    char name[128];
    if (!c)
        return fail(NULL, err, errlen, "out of memory", NULL, 0);
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return fail(c, err, errlen, "cannot make a pty", NULL, errno);
    c->in_fd = c->out_fd = fd;
    if (grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, name, sizeof(name)) != 0)
        return fail(c, err, errlen, "cannot make a pty", NULL, errno);
    c->slave_fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (c->slave_fd < 0)
        return fail(c, err, errlen, "cannot open", name, errno);
    struct termios t;
    if (tcgetattr(c->slave_fd, &t) == 0) {
        cfmakeraw(&t);
        tcsetattr(c->slave_fd, TCSANOW, &t);
    }
    c->connected = c->lossy_out = true;           /* nobody may ever open the slave: a full pty must not stop the guest */
    printf("char device redirected to %s (label %s)\n", name, label ? label : "chr");
    fflush(stdout);
    chr_update_watch(c);
    return c;
}

/* --- sockets --- */
void chr_on_accept(void *opaque, int fd, unsigned events)
{
    struct chr *c = opaque;
    int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0)
        return;
    loop_watch(c->loop, fd, 0, chr_on_accept, c);  /* one peer at a time; the others wait in the backlog */
    chr_set_peer(c, peer);
}

/* The first peer. The signals that end the program are blocked and read by the loop, which does not run yet: here they are asked for. */
static int accept_first(int fd)
{
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        sigset_t pending;
        int peer = poll(&p, 1, 100) > 0 ? accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
        if (peer >= 0 || (p.revents && errno != EINTR && errno != EAGAIN && errno != ECONNABORTED))
            return peer;
        sigpending(&pending);
        if (sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT) || sigismember(&pending, SIGHUP)) {
            errno = EINTR;
            return -1;
        }
    }
}

static struct chr *socket_serve(struct chr *c, int fd, bool wait, const char *name, char *err, size_t errlen)
{
    c->is_socket = true;
    c->listen_fd = fd;
    if (listen(fd, 4) < 0)
        return fail(c, err, errlen, "cannot listen on", name, errno);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (wait) {
        log_printf("duet: waiting for a connection on %s\n", name);
        log_flush();
        int peer = accept_first(fd);
        if (peer < 0)
            return fail(c, err, errlen, errno == EINTR ? "a signal ended the wait for a connection on" : "cannot accept on", name, errno == EINTR ? 0 : errno);
        chr_set_peer(c, peer);
    } else {
        loop_watch(c->loop, fd, LOOP_READ, chr_on_accept, c);
    }
    return c;
}

struct chr *chr_open_unix(struct loop *loop, const char *path, bool server, bool wait, char *err, size_t errlen)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    struct chr *c = chr_alloc(loop);
    if (!c)
        return fail(NULL, err, errlen, "out of memory", NULL, 0);
    if (!*path || strlen(path) >= sizeof(sa.sun_path))
        return fail(c, err, errlen, "socket path is empty or too long:", path, 0);
    strcpy(sa.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(c, err, errlen, "cannot make a socket", NULL, errno);
    c->is_socket = true;
    if (!server) {
        if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
            int e = errno;
            close(fd);
            return fail(c, err, errlen, "cannot connect to", path, e);
        }
        fcntl(fd, F_SETFL, O_NONBLOCK);
        chr_set_peer(c, fd);
        return c;
    }
    c->listen_fd = fd;
    struct stat st;
    if (stat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);                             /* left over from an earlier run */
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        return fail(c, err, errlen, "cannot bind", path, errno);
    c->unlink_path = strdup(path);
    return socket_serve(c, fd, wait, path, err, errlen);
}

struct chr *chr_open_tcp(struct loop *loop, const char *host, const char *port, bool server, bool wait, char *err, size_t errlen)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = server ? AI_PASSIVE : 0 }, *ai = NULL;
    int r = getaddrinfo(*host ? host : NULL, port, &hints, &ai), one = 1, fd = -1, e = 0;
    if (r) {
        snprintf(err, errlen, "cannot resolve %s:%s: %s", host, port, gai_strerror(r));
        return NULL;
    }
    for (struct addrinfo *a = ai; a; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if ((server ? bind(fd, a->ai_addr, a->ai_addrlen) : connect(fd, a->ai_addr, a->ai_addrlen)) == 0)
            break;
        e = errno;
        close(fd);
        fd = -1;
    }
    freeaddrinfo(ai);
    struct chr *c = chr_alloc(loop);
    if (fd < 0 || !c)
        return fail(c, err, errlen, server ? "cannot bind port" : "cannot connect to port", port, e);
    c->is_socket = true;
    if (server)
        return socket_serve(c, fd, wait, port, err, errlen);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    chr_set_peer(c, fd);
    return c;
}

/* --- the words of -serial --- */
/* on, off, or absent (= on). -1: neither. */
static int parse_bool(const char *v)
{
    if (!v || !strcmp(v, "on") || !strcmp(v, "yes"))
        return 1;
    return !strcmp(v, "off") || !strcmp(v, "no") ? 0 : -1;
}

/* ",server,nowait" and ",server=on,wait=off". Cuts SPEC at its first comma. */
static int parse_socket_words(char *spec, bool *server, bool *wait, char *err, size_t errlen)
{
    char *save = NULL, *w;
    *server = false;
    *wait = true;
    for (strtok_r(spec, ",", &save); (w = strtok_r(NULL, ",", &save));) {
        char *v = strchr(w, '=');
        if (v)
            *v++ = 0;
        int on = parse_bool(v);
        if (on >= 0 && !strcmp(w, "server"))
            *server = on;
        else if (on >= 0 && !strcmp(w, "wait"))
            *wait = on;
        else if (on >= 0 && !strcmp(w, "nowait"))
            *wait = !on;
        else {
            snprintf(err, errlen, "unknown socket option '%s%s%s' (valid: server=on|off, wait=on|off)", w, v ? "=" : "", v ? v : "");
            return -EINVAL;
        }
    }
    return 0;
}

static struct chr *open_socket_spec(struct loop *loop, const char *spec, char *err, size_t errlen)
{
    bool server, wait, tcp = !strncmp(spec, "tcp:", 4);
    char *s = strdup(strchr(spec, ':') + 1);
    struct chr *c = NULL;
    if (!s || parse_socket_words(s, &server, &wait, err, errlen) < 0) {
        free(s);
        return NULL;
    }
    char *colon = tcp ? strrchr(s, ':') : NULL;
    if (tcp && !colon) {
        snprintf(err, errlen, "'%s' needs host:port", spec);
    } else if (tcp) {
        *colon = 0;
        c = chr_open_tcp(loop, s, colon + 1, server, wait, err, errlen);
    } else {
        c = chr_open_unix(loop, s, server, wait, err, errlen);
    }
    free(s);
    return c;
}

struct chr *chr_open(struct loop *loop, const char *spec, const char *label, void (*quit)(void *), void *opaque, char *err, size_t errlen)
{
    if (!strcmp(spec, "null") || !strcmp(spec, "none"))
        return chr_open_null(loop);
    if (!strcmp(spec, "stdio"))
        return chr_open_stdio(loop, false, quit, opaque, err, errlen);
    if (!strncmp(spec, "file:", 5))
        return chr_open_file(loop, spec + 5, false, err, errlen);
    if (!strcmp(spec, "pty"))
        return chr_open_pty(loop, label, err, errlen);
    if (!strncmp(spec, "unix:", 5) || !strncmp(spec, "tcp:", 4))
        return open_socket_spec(loop, spec, err, errlen);
    snprintf(err, errlen, "unknown character device '%s' (valid: null, stdio, file:PATH, pty, unix:PATH, tcp:HOST:PORT)", spec);
    return NULL;
}
