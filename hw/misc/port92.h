/*
 * System control port A (0x92): A20 gate (bit 1) and fast reset (rising bit 0).
 *
 * In: port accesses, and the keyboard controller's idea of A20 (port92_a20_irq). Out: the A20 line: the last writer wins.
 * Reset leaves A20 open unless the constructor was told otherwise, as firmware for virtual machines expects. Locks: machine lock.
 */
#ifndef HW_MISC_PORT92_H
#define HW_MISC_PORT92_H
#include "core/vm.h"

struct port92 {
    struct device dev;
    struct region io;
    struct vm *vm;
    struct irq a20;
    uint8_t val;
};

struct port92 *port92_new(struct vm *, struct aspace *io, struct irq a20);
/* The i8042's A20 output goes here. */
struct irq port92_a20_irq(struct port92 *);
#endif
