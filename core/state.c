/*
 * Rows of saved fields to bytes and back (core/state.h).
 *
 * The image of a device is its STATE_SAVE rows one after another, raw and without padding, in the order of the rows. Names and versions
 * are the business of the snapshot writer. state_uncovered is what keeps the rows honest: a unit test runs it over every device.
 */
#include "core/state.h"
#include <errno.h>
#include <string.h>

size_t state_size(const struct state_row *rows)
{
    size_t n = 0;

    for (; rows->kind != STATE_END; rows++) {
        if (rows->kind == STATE_SAVE)
            n += rows->size;
    }
    return n;
}

size_t state_save(const struct state_row *rows, const void *obj, void *buf)
{
    size_t n = 0;

    for (; rows->kind != STATE_END; rows++) {
        if (rows->kind == STATE_SAVE) {
            memcpy((char *)buf + n, (const char *)obj + rows->offset, rows->size);
            n += rows->size;
        }
    }
    return n;
}

int state_load(const struct state_row *rows, void *obj, const void *buf, size_t len)
{
    size_t n = 0;

    if (len != state_size(rows))
        return -EINVAL;
    for (; rows->kind != STATE_END; rows++) {
        if (rows->kind == STATE_SAVE) {
            memcpy((char *)obj + rows->offset, (const char *)buf + n, rows->size);
            n += rows->size;
        }
    }
    return 0;
}

/* Bytes [pos, end) can be what the compiler puts in before something aligned to 2, 4 or 8. */
static bool is_padding(size_t pos, size_t end)
{
    for (size_t align = 2; align <= 8; align *= 2) {
        if (end % align == 0 && end - pos < align)
            return true;
    }
    return false;
}

long state_uncovered(const struct state_row *rows, size_t objsize)
{
    size_t pos = 0;

    while (pos < objsize) {
        size_t reach = pos, next = objsize;
        for (const struct state_row *r = rows; r->kind != STATE_END; r++) {
            if (r->offset <= pos)
                reach = MAX(reach, (size_t)r->offset + r->size);
            else
                next = MIN(next, r->offset);
        }
        if (reach > pos)
            pos = reach;
        else if (is_padding(pos, next))
            pos = next;
        else
            return (long)pos;
    }
    return -1;
}
