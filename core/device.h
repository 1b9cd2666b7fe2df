/*
 * A device is one struct whose first member is struct device; it has read/write callbacks on its regions, rows of saved fields, a reset,
 * and one constructor named <chip>_new. vmm/pc.c creates and wires all of them in one visible order.
 */
#ifndef CORE_DEVICE_H
#define CORE_DEVICE_H
#include "core/aspace.h"
#include "core/clock.h"
#include "core/irq.h"
#include "core/state.h"

struct vm;

struct device {
    const char *name;                     /* unique in the machine: "uart0" */
    const struct state_row *rows;
    size_t size;                          /* of the whole device struct (coverage test) */
    void (*reset)(void *dev);             /* to power-on values; constructors call it too */
    void (*pre_save)(void *dev);          /* optional: drain, latch timers into saved fields */
    void (*post_load)(void *dev);         /* optional: re-arm timers, recompute lines */
    struct device *next;                  /* list owned by vm, in order of creation */
};

/* Register with the machine; the device's reset is called by vm_reset in order of creation. */
void device_add(struct vm *, struct device *, const char *name, const struct state_row *rows, size_t size, void (*reset)(void *));
#endif
