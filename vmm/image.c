/*
 * Reading files whole (vmm/image.h).
 *
 * In: a path from the command line. Out: bytes, or one line on stderr. Sizes are bounded by the caller (the guest's RAM), so that a
 * small packed file cannot fill the host. gzip: RFC 1952, by zlib.
 */
#include "vmm/image.h"
#include "core/alloc.h"
#include "core/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static int read_all(int fd, struct image *im)
{
    for (size_t got = 0; got < im->len;) {
        ssize_t n = read(fd, im->data + got, im->len - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        got += (size_t)n;
    }
    return 0;
}

static int unpack(struct image *im, uint64_t max)
{
    size_t cap = MAX(im->len * 4, (size_t)65536);
    struct image out = { xmalloc(cap), 0 };
    z_stream z = { .next_in = im->data, .avail_in = (unsigned)im->len };
    int ret = inflateInit2(&z, 15 + 16);

    while (ret == Z_OK) {
        if (out.len == cap && cap < max)
            out.data = xrealloc(out.data, cap *= 2);
        size_t room = MIN(cap - out.len, (size_t)1 << 30);
        z.next_out = out.data + out.len;
        z.avail_out = (unsigned)room;
        ret = inflate(&z, Z_NO_FLUSH);
        out.len += room - z.avail_out;
        if (ret == Z_OK && z.avail_out)
            ret = Z_DATA_ERROR;                     /* the input ended early */
    }
    inflateEnd(&z);
    if (ret != Z_STREAM_END || out.len > max) {
        free(out.data);
        return ret == Z_STREAM_END || ret == Z_BUF_ERROR ? -EFBIG : -EBADMSG;
    }
    free(im->data);
    *im = out;
    return 0;
}

int image_read(struct image *im, const char *path, const char *what, uint64_t max, bool gunzip)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;

    *im = (struct image){ 0 };
    if (fd < 0 || fstat(fd, &st) < 0) {
        ret = -errno;
        log_error("%s %s: %s", what, path, strerror(-ret));
    } else if (!S_ISREG(st.st_mode)) {
        ret = -EINVAL;
        log_error("%s %s: not a file", what, path);
    } else if ((uint64_t)st.st_size > max) {
        ret = -EFBIG;
        log_error("%s %s: %lld bytes do not fit into the guest's memory", what, path, (long long)st.st_size);
    } else {
        im->len = (size_t)st.st_size;
        im->data = xmalloc(im->len + 1);
        if ((ret = read_all(fd, im)))
            log_error("%s %s: %s", what, path, strerror(-ret));
    }
    if (fd >= 0)
        close(fd);
    if (!ret && gunzip && im->len > 18 && im->len < 1u << 31 && im->data[0] == 0x1f && im->data[1] == 0x8b && (ret = unpack(im, max)))
        log_error("%s %s: %s", what, path, ret == -EFBIG ? "unpacked, it does not fit into the guest's memory" : "damaged gzip data");
    if (ret)
        image_free(im);
    return ret;
}

void image_free(struct image *im)
{
    free(im->data);
    *im = (struct image){ 0 };
}
