/*
 * System control port A. See port92.h. In: port writes, the keyboard controller's A20. Out: A20 line, reset.
 * Invariant: bit 1 of val equals the A20 line. Locks: machine lock.
 */
#include "hw/misc/port92.h"
#include "core/alloc.h"

enum { FAST_RESET = 1, A20 = 2 };

static uint64_t port92_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct port92 *)opaque)->val;
}

static void port92_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct port92 *p = opaque;
    bool reset = (val & FAST_RESET) && !(p->val & FAST_RESET);
    p->val = (uint8_t)val;
    irq_set(p->a20, (val & A20) != 0);
    if (reset)
        vm_request(p->vm, VM_RESET, 0);
}

static void a20_in(void *opaque, int n, int level)
{
    struct port92 *p = opaque;
    p->val = (uint8_t)((p->val & ~A20) | (level ? A20 : 0));
    irq_set(p->a20, level);
}

struct irq port92_a20_irq(struct port92 *p) { return (struct irq){ a20_in, p, 0 }; }

static void port92_reset(void *dev)
{
    struct port92 *p = dev;
    p->val = A20;
    irq_set(p->a20, 1);
}

static void port92_post_load(void *dev)
{
    struct port92 *p = dev;
    irq_set(p->a20, (p->val & A20) != 0);
}

static const struct state_row port92_rows[] = {
    S_SKIP(struct port92, dev), S_SKIP(struct port92, io), S_SKIP(struct port92, vm), S_SKIP(struct port92, a20), S_SAVE(struct port92, val), S_END
};

struct port92 *port92_new(struct vm *vm, struct aspace *io, struct irq a20)
{
    struct port92 *p = xzalloc(sizeof(*p));
    p->vm = vm;
    p->a20 = a20;
    p->io = (struct region){ .kind = REGION_IO, .name = "port92", .read = port92_read, .write = port92_write, .opaque = p, .max_size = 1 };
    as_add(io, &p->io, 0x92, 1);
    device_add(vm, &p->dev, "port92", port92_rows, sizeof(*p), port92_reset);
    p->dev.post_load = port92_post_load;
    port92_reset(p);
    return p;
}
