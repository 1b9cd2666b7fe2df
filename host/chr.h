/*
 * Character streams: what a UART, a console or a monitor is plugged into. A stream has one back end (stdio, file, pty, socket, null) and
 * one receiver. Output is taken at once and buffered (bounded) while the host end is not ready; input is offered only while
 * can_receive says there is room, and the device calls chr_accept_input when room appears.
 *
 * Locks: everything runs with the machine lock held (on the loop's thread for input); callbacks likewise.
 */
#ifndef HOST_CHR_H
#define HOST_CHR_H
#include "core/loop.h"

struct chr;

enum chr_event { CHR_OPENED = 1, CHR_CLOSED, CHR_BREAK };     /* a peer came / went (EOF of stdin is CHR_CLOSED) */

/* Returns the number of bytes taken (less than LEN, possibly 0, when the bounded buffer is full and the host end is stuck). With no
   peer connected, output is taken and dropped, like a cable with nothing at its end. */
int chr_write(struct chr *, const uint8_t *buf, size_t len);
/* Bytes that chr_write would take now. */
size_t chr_write_room(struct chr *);
/* can_receive: bytes the device can take now; receive: never more than that; event: enum chr_event (may be NULL). All NULL detaches. */
void chr_set_receiver(struct chr *, size_t (*can_receive)(void *), void (*receive)(void *, const uint8_t *, size_t), void (*event)(void *, int),
                      void *opaque);
/* The device has room again: resume reading from the host. */
void chr_accept_input(struct chr *);
/* Called when output that had been refused can be retried (optional; may be NULL). */
void chr_set_writable(struct chr *, void (*writable)(void *), void *opaque);
bool chr_connected(struct chr *);
/* Write out what is buffered, until nothing has moved for a second or five have passed; restores the terminal; frees. */
void chr_close(struct chr *);
/* For every open stream: flush likewise, the writers being told of room, and restore the terminal (at process exit; also safe when nothing is open). */
void chr_exit_all(void);

/* Back ends. On failure NULL with the reason in ERR (errlen bytes). stdio may be opened once. QUIT is called on Ctrl-A X (may be NULL). */
struct chr *chr_open_stdio(struct loop *, bool signals, void (*quit)(void *), void *opaque, char *err, size_t errlen);
struct chr *chr_open_file(struct loop *, const char *path, bool append, char *err, size_t errlen);
/* prints "char device redirected to /dev/pts/N (label LABEL)" */
struct chr *chr_open_pty(struct loop *, const char *label, char *err, size_t errlen);
struct chr *chr_open_unix(struct loop *, const char *path, bool server, bool wait, char *err, size_t errlen);
struct chr *chr_open_tcp(struct loop *, const char *host, const char *port, bool server, bool wait, char *err, size_t errlen);
struct chr *chr_open_null(struct loop *);
/*
 * From the words after -serial: null | none | stdio | file:PATH | pty | unix:PATH[,server[=on|off]][,wait=on|off|,nowait] |
 * tcp:HOST:PORT[,server...]. "none" gives the null back end too. LABEL names the stream in messages.
 */
struct chr *chr_open(struct loop *, const char *spec, const char *label, void (*quit)(void *), void *opaque, char *err, size_t errlen);

/* Several front ends on one stream ("mon:stdio", -nographic): each call returns a front end; the first has the input; Ctrl-A C moves it
   to the next. Output of all goes to BASE. BASE must not be given a receiver otherwise. Up to 4. NULL when full. */
struct chr *chr_mux_add(struct chr *base);
#endif
