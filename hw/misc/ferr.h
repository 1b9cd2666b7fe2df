/*
 * The PC/AT's way of x87 errors (port 0xf0): FERR# raises IRQ 13, a write of the port lowers it and asserts IGNNE# as long as FERR# stays.
 *
 * In: FERR# of a vCPU (ferr_signal), writes of port 0xf0. Out: IRQ 13, IGNNE#. The wires of all vCPUs are one, as on a board. Locks: machine lock,
 * which ferr_signal takes. Manual: 82371SB data sheet (PIIX3), "coprocessor error".
 */
#ifndef HW_MISC_FERR_H
#define HW_MISC_FERR_H
#include "core/vm.h"

struct ferr {
    struct device dev;
    struct region io;
    struct irq irq;
    bool ferr, ignne;
};

struct ferr *ferr_new(struct vm *, struct aspace *io, struct irq irq13);
bool ferr_signal(void *ferr, bool on);         /* struct vcpu_ferr: FERR# changes; IGNNE# */
#endif
