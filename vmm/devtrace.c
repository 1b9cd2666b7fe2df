/*
 * What a guest did to its devices (-d io: a line for each access) and what has become of them (-d devices: all saved fields at the end), in a form that can be
 * compared byte by byte between engines and runs.
 *
 * Accesses are seen on the one road from CPU to device, core/aspace. With -rtc clock=accesses the same place moves the clock, so all that depends on
 * time depends on the guest's own accesses only. Not with -lockstep, which listens there itself. Locks: machine lock while the clock moves.
 */
#include "vmm/devtrace.h"
#include "core/alloc.h"
#include "core/log.h"
#include <stdio.h>
#include <stdlib.h>

static struct { struct vm *vm; bool trace; int64_t tick; struct as_tap mem, io; } t;

static uint64_t access(void *opaque, gpa_t addr, uint64_t val, unsigned size, bool write)
{
    if (t.trace)
        log_printf("%s %s %u %llx %llx\n", opaque == &t.io ? "port" : "memory", write ? "write" : "read", size, (unsigned long long)addr,
                   (unsigned long long)val);
    if (t.tick) {
        machine_lock();
        clock_advance(t.vm->clock, t.tick);
        machine_unlock();
    }
    return val;
}

static void dirty(void *opaque, gpa_t addr, size_t len, bool dma) { }

void devtrace_open(struct vm *vm, bool trace, int64_t tick)
{
    t.vm = vm;
    t.trace = trace;
    t.tick = tick;
    if (!trace && !tick)
        return;
    t.mem = (struct as_tap){ access, dirty, &t.mem };
    t.io = (struct as_tap){ access, dirty, &t.io };
    as_set_tap(vm->mem, &t.mem);
    as_set_tap(vm->io, &t.io);
}

static void dump_row(const struct device *d, const struct state_row *r)
{
    const uint8_t *at = (const uint8_t *)d + r->offset;
    char *text = xmalloc(2 * (size_t)r->size + 1);

    for (uint32_t i = 0; i < r->size; i++)
        sprintf(text + 2 * i, "%02x", at[i]);
    log_printf("%s.%s %s\n", d->name, r->name, text);
    free(text);
}

void devtrace_dump(struct vm *vm)
{
    for (struct device *d = vm->devices; d; d = d->next) {
        if (d->pre_save)
            d->pre_save(d);
        for (const struct state_row *r = d->rows; r && r->kind != STATE_END; r++) {
            if (r->kind == STATE_SAVE && r->size)
                dump_row(d, r);
        }
    }
}
