/*
 * The inside of a disk image, shared by host/block.c (opening, requests, workers) and host/block_raw.c (bytes on files). Not for devices.
 */
#ifndef HOST_BLOCK_INT_H
#define HOST_BLOCK_INT_H
#include "host/block.h"
#include <pthread.h>

/* A medium: the image file and, with snapshot=on, the file that takes the writes. Read and written by several workers at once. */
struct medium {
    char *path;
    int fd, overlay_fd;                  /* overlay_fd -1: writes go to fd */
    uint64_t size;                       /* bytes, rounded up to a sector */
    uint64_t *written;                   /* snapshot: one bit a sector, set once the overlay holds it; atomic */
    size_t written_bytes;
    bool readonly, ignore_discard;
    enum block_cache cache;
};

struct block {
    struct block *next;                  /* all open images */
    struct medium *m;                    /* NULL: no medium */
    void (*changed)(void *);
    void *changed_opaque;
    bool at_once;
    /* under block.c's lock */
    unsigned in_flight;                  /* submitted and not yet in the done list */
    struct block_req *done_head, **done_tail;
    bool completing, closed;             /* completing: a worker is about to call complete */
};

struct medium *medium_open(const struct block_opts *, char *err, size_t errlen);
void medium_close(struct medium *);
/* Any thread; ranges already checked. The iovecs are used up (changed). 0 or -errno. */
int medium_readv(struct medium *, uint64_t off, struct iovec *, int n);
int medium_writev(struct medium *, uint64_t off, struct iovec *, int n);
int medium_flush(struct medium *);
int medium_discard(struct medium *, uint64_t off, uint64_t len);
int medium_zero(struct medium *, uint64_t off, uint64_t len, bool may_unmap);
#endif
