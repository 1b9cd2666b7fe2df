/* How fast the machine is and where its time goes: `info speed`, -d speed. */
#ifndef VMM_SPEED_H
#define VMM_SPEED_H
#include "core/vm.h"

/* What is shown is since the machine's start, or since the last of these. Machine lock held. */
void speed_restart(struct vm *);
/* One call for each line, with its line end. json: one line, the same figures as an object of objects by section. From any thread. */
void speed_each(struct vm *, bool json, void (*line)(void *opaque, const char *text), void *opaque);
#endif
