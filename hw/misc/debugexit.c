/*
 * isa-debug-exit. See debugexit.h. In: writes. Out: vm_request(VM_QUIT). No state. Locks: machine lock.
 */
#include "hw/misc/debugexit.h"
#include "core/alloc.h"

static uint64_t debugexit_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void debugexit_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    vm_request(((struct debugexit *)opaque)->vm, VM_QUIT, (int)((uint32_t)val << 1 | 1));
}

static void debugexit_reset(void *dev) { (void)dev; }

static const struct state_row debugexit_rows[] = {
    S_SKIP(struct debugexit, dev), S_SKIP(struct debugexit, io), S_SKIP(struct debugexit, vm), S_END
};

struct debugexit *debugexit_new(struct vm *vm, struct aspace *io, uint16_t iobase, unsigned iosize)
{
    struct debugexit *d = xzalloc(sizeof(*d));
    d->vm = vm;
    d->io = (struct region){ .kind = REGION_IO, .name = "debugexit", .read = debugexit_read, .write = debugexit_write, .opaque = d };
    as_add(io, &d->io, iobase, iosize ? iosize : 2);
    device_add(vm, &d->dev, "debugexit", debugexit_rows, sizeof(*d), debugexit_reset);
    return d;
}
