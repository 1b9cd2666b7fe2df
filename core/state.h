/*
 * Saved state, declared as rows. Each device lists its guest-visible fields once; save, load, the round-trip test and
 * the "every byte is saved or skipped by name" test are all driven by the rows.
 */
#ifndef CORE_STATE_H
#define CORE_STATE_H
#include "core/types.h"

enum state_kind { STATE_END, STATE_SAVE, STATE_SKIP };

struct state_row {
    const char *name;
    uint32_t offset, size;       /* bytes within the device's struct; saved raw, little endian host */
    enum state_kind kind;
};

#define S_SAVE(type, field) { #field, offsetof(type, field), sizeof(((type *)0)->field), STATE_SAVE }   /* arrays and nested structs too */
#define S_SKIP(type, field) { #field, offsetof(type, field), sizeof(((type *)0)->field), STATE_SKIP }   /* wiring, host resources, caches */
#define S_END { 0, 0, 0, STATE_END }

/* Bytes needed by the rows; writes to / reads from BUF. state_load returns 0 or -EINVAL when LEN does not match. */
size_t state_size(const struct state_row *rows);
size_t state_save(const struct state_row *rows, const void *obj, void *buf);
int state_load(const struct state_row *rows, void *obj, const void *buf, size_t len);
/* First byte of OBJSIZE that no row names, or -1; padding up to 7 bytes before an aligned row or the end is tolerated. */
long state_uncovered(const struct state_row *rows, size_t objsize);
#endif
