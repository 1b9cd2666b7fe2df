/* The blocks that took most of the vCPUs' time, through all stages: `info hot`, -d hot. */
#ifndef VMM_HOT_H
#define VMM_HOT_H
#include "core/vm.h"

#define HOT_SHOWN 10
/* One call for each line or more, with line ends. The vCPUs are at rest, or have ended. */
void hot_each(struct vm *, unsigned most, void (*line)(void *opaque, const char *text), void *opaque);
#endif
