/*
 * isa-debug-exit: a write of V ends the process with status (V << 1) | 1, by vm_request(VM_QUIT). Reads 0.
 * Test suites use iobase 0xf4 or 0x501, iosize 4 or 2. No state. Locks: machine lock.
 */
#ifndef HW_MISC_DEBUGEXIT_H
#define HW_MISC_DEBUGEXIT_H
#include "core/vm.h"

#define DEBUGEXIT_PORT 0x501

struct debugexit {
    struct device dev;
    struct region io;
    struct vm *vm;
};

/* iosize 0: 2 bytes. */
struct debugexit *debugexit_new(struct vm *, struct aspace *io, uint16_t iobase, unsigned iosize);
#endif
