/* How fast the machine is and where its time goes: `info speed`, -d speed. */
#ifndef VMM_SPEED_H
#define VMM_SPEED_H
#include "core/vm.h"

/* What -accel tcg,profile= and the monitor's `profile` say. on: sample where time goes. count: also count the guest's instructions, in all
   blocks made from now on; this costs the blocks some time. */
extern const char *const speed_profiles[];
/* HOW: one of these, or NULL, for none at the machine's start: what is shown begins now, and ends when a profile is ended. Machine lock
   held, the vCPUs at rest. 0; -ENOENT: there is no translator; or another -errno. */
int speed_profile(struct vm *, const char *how);
/* One call for each line, with its line end. json: one line, the same figures as an object of objects by section. From any thread. */
void speed_each(struct vm *, bool json, void (*line)(void *opaque, const char *text), void *opaque);
#endif
