/* -d io and -d devices: what a guest did to its devices, and what has become of them. */
#ifndef VMM_DEVTRACE_H
#define VMM_DEVTRACE_H
#include "core/vm.h"

/* Before the engine's init. TRACE: a line on the log for each access. TICK: not 0: each access moves the (manual) clock by so many ns. */
void devtrace_open(struct vm *, bool trace, int64_t tick);
/* All saved fields of all devices, a line each: DEVICE.FIELD HEX, in order of creation. Machine lock held. */
void devtrace_dump(struct vm *);
#endif
