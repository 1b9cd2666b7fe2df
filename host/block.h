/*
 * Disk images as devices see them: an array of 512-byte sectors with read, write, flush, discard and write-zeroes, either at once (block_pread
 * and friends) or by a request run on a worker thread and completed there with the machine lock held.
 *
 * In: offsets and lengths in bytes, multiples of 512, inside block_size (otherwise -EINVAL). Out: 0 or -errno.
 * Requests in flight may run in any order; a flush covers the writes that had completed before it was submitted. A completed write is in the
 * host's page cache: it survives the death of this process; a completed flush survives the host's.
 * snapshot=on: writes go to an unlinked temporary file; the image is opened read-only.
 * Locks: all functions are called with the machine lock held (or before the machine runs).
 */
#ifndef HOST_BLOCK_H
#define HOST_BLOCK_H
#include "host/worker.h"
#include <sys/uio.h>

#define BLOCK_SECTOR 512u

struct block;

enum block_cache { BLOCK_WRITEBACK, BLOCK_WRITETHROUGH, BLOCK_UNSAFE };   /* unsafe: flush does nothing */
enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_ZERO };

struct block_opts {
    const char *path;            /* NULL: an empty drive (no medium) */
    const char *format;          /* NULL or "raw"; NULL refuses images whose first bytes say that they are not raw */
    bool readonly, snapshot, no_lock, ignore_discard;
    bool at_once;                /* block_submit carries requests out itself: the same order of events each time */
    enum block_cache cache;
};

struct block_req {
    /* filled by the caller, kept valid until done runs */
    enum block_op op;
    uint64_t offset, len;                /* bytes; for READ and WRITE len is the sum of the iovecs */
    struct iovec *iov; int niov;
    bool may_unmap;                      /* BLOCK_ZERO */
    void (*done)(struct block_req *, int ret);
    void *opaque;
    /* private */
    struct block *b; int ret; struct block_req *next; struct job job;
};

/* NULL with a one-line reason in ERR. Takes a shared (readers) or exclusive (writer) lock on the file. */
struct block *block_open(const struct block_opts *, char *err, size_t errlen);
void block_close(struct block *);                 /* drains first */
uint64_t block_size(struct block *);              /* bytes, multiple of 512; 0 when no medium */
bool block_readonly(struct block *);
bool block_write_cache(struct block *);           /* true: the device must offer flush and say that its cache is on */
bool block_at_once(struct block *);
bool block_inserted(struct block *);
const char *block_path(struct block *);           /* "" when no medium */

void block_submit(struct block *, struct block_req *);   /* done is never called from inside block_submit */
void block_drain(struct block *);                 /* waits for this image's requests and runs their done callbacks */
void block_drain_all(void);                       /* every open image; at process exit, snapshots */
void block_poll(struct block *);                  /* runs done callbacks of requests that have finished */

int block_pread(struct block *, uint64_t offset, void *buf, size_t len);
int block_pwrite(struct block *, uint64_t offset, const void *buf, size_t len);
int block_flush(struct block *);

/* Removable media: swap the medium (opts->path NULL ejects); the old one stays when the new one fails. The device's callback is then called. */
int block_change(struct block *, const struct block_opts *, char *err, size_t errlen);
void block_on_change(struct block *, void (*changed)(void *opaque), void *opaque);
#endif
