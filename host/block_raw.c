/*
 * Bytes of a raw image: preadv/pwritev on the file, or, with a snapshot, on an unlinked temporary file for the sectors that have been written
 * (one bit a sector says which; sector granularity means that a write never has to copy anything first).
 *
 * In: offsets and lengths already checked to be whole sectors inside the medium. Out: 0 or -errno. Any thread; no locks: two
 * requests that overlap in flight are the guest's race, and each sector's bit is set only after its bytes are in the overlay.
 * A file whose length is not a multiple of 512 reads zeros in its last sector's rest; writing there extends the file.
 */
#define _GNU_SOURCE 1
#include "core/log.h"
#include "host/block_int.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- opening --- */
static int overlay_make(struct medium *m)
{
    const char *dir = getenv("TMPDIR");
    char name[PATH_MAX];
    if (!dir || !*dir || strlen(dir) > 3000)
        dir = "/var/tmp";
    snprintf(name, sizeof(name), "%s/duet-snapshot-XXXXXX", dir);
    m->overlay_fd = mkostemp(name, O_CLOEXEC);
    if (m->overlay_fd < 0)
        return -errno;
    unlink(name);
    if (ftruncate(m->overlay_fd, m->size) < 0)
        return -errno;
    m->written_bytes = (m->size / BLOCK_SECTOR + 63) / 64 * 8 + 8;
    m->written = mmap(NULL, m->written_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->written == MAP_FAILED) {
        m->written = NULL;
        return -ENOMEM;
    }
    return 0;
}

static int64_t file_size(int fd)
{
    struct stat st;
    uint64_t bytes;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISREG(st.st_mode))
        return st.st_size;
    if (S_ISBLK(st.st_mode))
        return ioctl(fd, BLKGETSIZE64, &bytes) < 0 ? -errno : (int64_t)bytes;
    return S_ISDIR(st.st_mode) ? -EISDIR : -ENOTBLK;
}

/* A format we do not read, told by its first bytes: using it as raw would show the guest garbage, or destroy it. */
static const char *foreign_format(int fd)
{
    static const struct { const char *name, *magic; unsigned len; } known[] = {
        { "qcow2", "QFI\xfb", 4 }, { "vmdk", "KDMV", 4 }, { "vdi", "<<< ", 4 }, { "vhdx", "vhdxfile", 8 }, { "qed", "QED\0", 4 },
    };
    char head[16] = { 0 };
    if (pread(fd, head, sizeof(head), 0) < 8)
        return NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        if (!memcmp(head, known[i].magic, known[i].len))
            return known[i].name;
    }
    return NULL;
}

static struct medium *open_fail(struct medium *m, char *err, size_t errlen, const char *what, const char *path, int e)
{
    snprintf(err, errlen, "%s '%s'%s%s", what, path, e ? ": " : "", e ? strerror(e) : "");
    medium_close(m);
    return NULL;
}

struct medium *medium_open(const struct block_opts *o, char *err, size_t errlen)
{
    struct medium *m = calloc(1, sizeof(*m));
    bool ro = o->readonly || o->snapshot;
    if (!m || !(m->path = strdup(o->path)))
        return open_fail(m, err, errlen, "out of memory for", o->path, 0);
    m->overlay_fd = -1;
    m->cache = o->cache;
    m->ignore_discard = o->ignore_discard;
    m->readonly = o->readonly && !o->snapshot;
    m->fd = open(o->path, (ro ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (m->fd < 0)
        return open_fail(m, err, errlen, ro ? "cannot open" : "cannot open for writing", o->path, errno);
    if (o->format && strcmp(o->format, "raw") != 0)
        return open_fail(m, err, errlen, "only format=raw is supported:", o->path, 0);
    int64_t size = file_size(m->fd);
    if (size < 0)
        return open_fail(m, err, errlen, "not a disk image:", o->path, -size);
    if (!o->no_lock && flock(m->fd, (ro ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0 && errno == EWOULDBLOCK)
        return open_fail(m, err, errlen, "image is in use by another process:", o->path, 0);
    const char *foreign = o->format ? NULL : foreign_format(m->fd);
    if (foreign) {
        snprintf(err, errlen, "'%s' looks like a %s image; only raw images are supported (format=raw uses it as it is)", o->path, foreign);
        medium_close(m);
        return NULL;
    }
    m->size = ((uint64_t)size + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
    int r = o->snapshot ? overlay_make(m) : 0;
    if (r < 0)
        return open_fail(m, err, errlen, "cannot make a snapshot file for", o->path, -r);
    return m;
}

void medium_close(struct medium *m)
{
    if (!m)
        return;
    if (m->fd >= 0)
        close(m->fd);
    if (m->overlay_fd >= 0)
        close(m->overlay_fd);
    if (m->written)
        munmap(m->written, m->written_bytes);
    free(m->path);
    free(m);
}

/* --- vectors --- */
/* Drop LEN bytes from the front of a vector. */
static void iov_advance(struct iovec **iov, int *n, size_t len)
{
    while (*n && len >= (*iov)->iov_len) {
        len -= (*iov)->iov_len;
        (*iov)++;
        (*n)--;
    }
    if (len) {
        (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + len;
        (*iov)->iov_len -= len;
    }
}

static void iov_zero(struct iovec *iov, int n)
{
    for (int i = 0; i < n; i++)
        memset(iov[i].iov_base, 0, iov[i].iov_len);
}

/* All of the vector from FD at OFF; past the end of the file there are zeros. */
static int read_full(int fd, uint64_t off, struct iovec *iov, int n)
{
    while (n && !iov->iov_len)
        iov++, n--;
    while (n) {
        ssize_t r = preadv(fd, iov, MIN(n, IOV_MAX), off);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0) {
            iov_zero(iov, n);
            return 0;
        }
        off += r;
        iov_advance(&iov, &n, r);
    }
    return 0;
}

static int write_full(int fd, uint64_t off, struct iovec *iov, int n)
{
    while (n && !iov->iov_len)
        iov++, n--;
    while (n) {
        ssize_t r = pwritev(fd, iov, MIN(n, IOV_MAX), off);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -EIO;
        off += r;
        iov_advance(&iov, &n, r);
    }
    return 0;
}

/* --- the overlay --- */
static bool is_written(struct medium *m, uint64_t sector)
{
    return __atomic_load_n(&m->written[sector / 64], __ATOMIC_ACQUIRE) >> (sector % 64) & 1;
}

static void mark_written(struct medium *m, uint64_t off, uint64_t len)
{
    uint64_t s = off / BLOCK_SECTOR, end = (off + len) / BLOCK_SECTOR;
    while (s < end) {
        unsigned bit = s % 64, n = MIN(64 - bit, end - s);
        uint64_t mask = (n == 64 ? ~0ull : BIT(n) - 1) << bit;
        __atomic_or_fetch(&m->written[s / 64], mask, __ATOMIC_RELEASE);
        s += n;
    }
}

/* Sectors from S, at most MAX, that are all written or all not. */
static uint64_t written_run(struct medium *m, uint64_t s, uint64_t max)
{
    bool w = is_written(m, s);
    uint64_t n = 1;
    while (n < max) {
        uint64_t word = __atomic_load_n(&m->written[(s + n) / 64], __ATOMIC_ACQUIRE);
        if ((s + n) % 64 == 0 && max - n >= 64 && word == (w ? ~0ull : 0))
            n += 64;
        else if ((word >> ((s + n) % 64) & 1) == w)
            n++;
        else
            break;
    }
    return n;
}

/* The first LEN bytes of a vector as a vector of its own (malloc). */
static struct iovec *iov_head(const struct iovec *iov, int n, size_t len, int *out_n)
{
    struct iovec *v = malloc(sizeof(*v) * (n ? n : 1));
    int k = 0;
    for (; v && k < n && len; k++) {
        v[k] = iov[k];
        v[k].iov_len = MIN(v[k].iov_len, len);
        len -= v[k].iov_len;
    }
    *out_n = k;
    return v;
}

static int overlay_read(struct medium *m, uint64_t off, struct iovec *iov, int n)
{
    uint64_t left = 0;
    for (int i = 0; i < n; i++)
        left += iov[i].iov_len;
    while (left) {
        uint64_t run = written_run(m, off / BLOCK_SECTOR, left / BLOCK_SECTOR) * BLOCK_SECTOR;
        int fd = is_written(m, off / BLOCK_SECTOR) ? m->overlay_fd : m->fd, part_n;
        struct iovec *part = iov_head(iov, n, run, &part_n);
        if (!part)
            return -ENOMEM;
        int r = read_full(fd, off, part, part_n);
        free(part);
        if (r < 0)
            return r;
        iov_advance(&iov, &n, run);
        off += run;
        left -= run;
    }
    return 0;
}

/* --- operations --- */
int medium_readv(struct medium *m, uint64_t off, struct iovec *iov, int n)
{
    return m->written ? overlay_read(m, off, iov, n) : read_full(m->fd, off, iov, n);
}

int medium_writev(struct medium *m, uint64_t off, struct iovec *iov, int n)
{
    uint64_t len = 0;
    if (m->readonly)
        return -EROFS;
    for (int i = 0; i < n; i++)
        len += iov[i].iov_len;
    if (!m->written) {
        int r = write_full(m->fd, off, iov, n);
        return r == 0 && m->cache == BLOCK_WRITETHROUGH ? medium_flush(m) : r;
    }
    int r = write_full(m->overlay_fd, off, iov, n);
    if (r == 0)
        mark_written(m, off, len);
    return r;
}

/* A snapshot's writes are thrown away at the end: there is nothing to make durable. */
int medium_flush(struct medium *m)
{
    if (m->written || m->readonly || m->cache == BLOCK_UNSAFE)
        return 0;
    return fdatasync(m->fd) < 0 ? -errno : 0;
}

static int write_zero_bytes(int fd, uint64_t off, uint64_t len)
{
    static const uint8_t zeros[65536];
    while (len) {
        struct iovec v = { (void *)zeros, MIN(len, sizeof(zeros)) };
        size_t n = v.iov_len;
        int r = write_full(fd, off, &v, 1);
        if (r < 0)
            return r;
        off += n;
        len -= n;
    }
    return 0;
}

/* A hole that crosses the file's end would leave the size alone, and reading there gives zeros: right in either case. */
static int punch(int fd, uint64_t off, uint64_t len)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len) < 0 ? -errno : 0;
}

int medium_discard(struct medium *m, uint64_t off, uint64_t len)
{
    if (m->readonly)
        return -EROFS;
    if (m->ignore_discard)
        return 0;
    if (m->written)
        return medium_zero(m, off, len, true);
    int r = punch(m->fd, off, len);
    return r == -EOPNOTSUPP || r == -ENODEV || r == -EINVAL ? 0 : r;    /* a hint: a file system that cannot is no error */
}

int medium_zero(struct medium *m, uint64_t off, uint64_t len, bool may_unmap)
{
    int fd = m->written ? m->overlay_fd : m->fd, r = -EOPNOTSUPP;
    if (m->readonly)
        return -EROFS;
    if (m->written || (may_unmap && !m->ignore_discard))
        r = punch(fd, off, len);
    if (r < 0 && !m->written)
        r = fallocate(fd, FALLOC_FL_ZERO_RANGE, off, len) < 0 ? -errno : 0;
    if (r < 0)
        r = write_zero_bytes(fd, off, len);
    if (r == 0 && m->written)
        mark_written(m, off, len);
    if (r == 0 && !m->written && m->cache == BLOCK_WRITETHROUGH)
        r = medium_flush(m);
    return r;
}
