/*
 * The debug console of Bochs and QEMU: bytes written to port 0xe9 go to a character stream; the port reads 0xe9.
 * No state. Locks: machine lock.
 */
#ifndef HW_CHAR_DEBUGCON_H
#define HW_CHAR_DEBUGCON_H
#include "core/vm.h"
#include "host/chr.h"

struct debugcon {
    struct device dev;
    struct region io;
    struct chr *chr;
    uint8_t readback;
};

/* PORT is 0xe9 by default (isa-debugcon,iobase=). */
struct debugcon *debugcon_new(struct vm *, struct aspace *io, uint16_t port, struct chr *chr);
#endif
