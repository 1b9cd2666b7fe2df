/* Files read whole (kernels, initial RAM disks, firmware), unpacked when they are gzip. */
#ifndef VMM_IMAGE_H
#define VMM_IMAGE_H
#include "core/types.h"

struct image { uint8_t *data; size_t len; };

/* At most MAX bytes (also after unpacking). 0, or -errno after saying why: WHAT is the option's name. */
int image_read(struct image *, const char *path, const char *what, uint64_t max, bool gunzip);
void image_free(struct image *);
#endif
