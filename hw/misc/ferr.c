/* FERR#, IGNNE# and IRQ 13. See ferr.h. Invariant: IGNNE# is asserted only while FERR# is. */
#include "hw/misc/ferr.h"
#include "core/alloc.h"

static uint64_t ferr_read(void *opaque, uint64_t offset, unsigned size)
{
    return ~0ull;
}

static void ferr_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct ferr *f = opaque;
    f->ignne = f->ferr;
    irq_lower(f->irq);
}

bool ferr_signal(void *opaque, bool on)
{
    struct ferr *f = opaque;
    machine_lock();
    if (on && !f->ignne)
        irq_raise(f->irq);
    f->ferr = on;
    f->ignne &= on;
    bool ignne = f->ignne;
    machine_unlock();
    return ignne;
}

static void ferr_reset(void *dev)
{
    struct ferr *f = dev;
    f->ferr = f->ignne = false;
    irq_lower(f->irq);
}

static const struct state_row ferr_rows[] = { S_SKIP(struct ferr, dev), S_SKIP(struct ferr, io), S_SKIP(struct ferr, irq), S_SAVE(struct ferr, ferr),
    S_SAVE(struct ferr, ignne), S_END };

struct ferr *ferr_new(struct vm *vm, struct aspace *io, struct irq irq13)
{
    struct ferr *f = xzalloc(sizeof(*f));
    f->irq = irq13;
    f->io = (struct region){ .kind = REGION_IO, .name = "ferr", .read = ferr_read, .write = ferr_write, .opaque = f, .max_size = 1 };
    as_add(io, &f->io, 0xf0, 1);
    device_add(vm, &f->dev, "ferr", ferr_rows, sizeof(*f), ferr_reset);
    for (int i = 0; i < vm->n_vcpus; i++)
        vm->vcpus[i]->ferr = (struct vcpu_ferr){ ferr_signal, f };
    return f;
}
