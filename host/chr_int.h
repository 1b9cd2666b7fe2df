/*
 * The inside of a character stream, shared by host/chr.c (buffers, delivery, mux), host/chr_open.c (back ends). Not for devices.
 *
 * Input: host fd -> filter (Ctrl-A escapes) -> in ring -> receiver. The ring is read ahead of the receiver so that escapes work
 * while the guest does not listen. Output: chr_write -> fd, the rest -> out ring -> fd when it is writable.
 */
#ifndef HOST_CHR_INT_H
#define HOST_CHR_INT_H
#include "host/chr.h"
#include <termios.h>

#define CHR_IN 4096u                     /* bytes; a power of two */
#define CHR_OUT 65536u
#define CHR_FRONTS 4

struct ring { uint8_t *buf; unsigned size, head, count; };

struct chr {
    struct loop *loop;
    struct chr *next;                    /* all open streams, for chr_exit_all */
    int in_fd, out_fd;                   /* may be equal; -1: none */
    int listen_fd, slave_fd;             /* server socket; our own end of the pty, which keeps it from hanging up */
    unsigned watched_in, watched_out;    /* events asked of the loop for each fd */
    bool connected, is_socket, poll_before_write, lossy_out, lossy_in, in_posted, in_always_ready, closed, refused;
    size_t chunk;                        /* most bytes in one write; 0: no limit */
    struct ring in, out;
    bool has_escape, escape;             /* Ctrl-A handling; Ctrl-A has been seen */
    void (*quit)(void *);
    void *quit_opaque;
    struct termios saved_tty;
    bool tty_changed;
    char *unlink_path;
    /* receiver */
    size_t (*can_receive)(void *);
    void (*receive)(void *, const uint8_t *, size_t);
    void (*event)(void *, int);
    void *opaque;
    void (*writable)(void *);
    void *writable_opaque;
    /* mux */
    struct chr *base, *fronts[CHR_FRONTS];
    unsigned n_fronts, focus;
};

struct chr *chr_alloc(struct loop *);
void chr_update_watch(struct chr *);
void chr_set_peer(struct chr *, int fd);          /* a connection has come (sockets) */
void chr_send_event(struct chr *, int event);
void chr_on_accept(void *opaque, int fd, unsigned events);
#endif
