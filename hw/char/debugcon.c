/*
 * Debug console port. See debugcon.h. In: byte writes. Out: bytes to the stream, which may drop them when stuck.
 * No state. Locks: machine lock.
 */
#include "hw/char/debugcon.h"
#include "core/alloc.h"

static uint64_t debugcon_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct debugcon *)opaque)->readback;
}

static void debugcon_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct debugcon *d = opaque;
    uint8_t byte = (uint8_t)val;
    if (d->chr)
        chr_write(d->chr, &byte, 1);
}

static void debugcon_reset(void *dev) { (void)dev; }

static const struct state_row debugcon_rows[] = {
    S_SKIP(struct debugcon, dev), S_SKIP(struct debugcon, io), S_SKIP(struct debugcon, chr), S_SKIP(struct debugcon, readback), S_END
};

struct debugcon *debugcon_new(struct vm *vm, struct aspace *io, uint16_t port, struct chr *chr)
{
    struct debugcon *d = xzalloc(sizeof(*d));
    d->chr = chr;
    d->readback = 0xe9;
    d->io = (struct region){ .kind = REGION_IO, .name = "debugcon", .read = debugcon_read, .write = debugcon_write, .opaque = d, .max_size = 1 };
    as_add(io, &d->io, port, 1);
    device_add(vm, &d->dev, "debugcon", debugcon_rows, sizeof(*d), debugcon_reset);
    return d;
}
