/* The monitor (-monitor): lines of commands on a character stream, answers on the same. */
#ifndef VMM_MONITOR_H
#define VMM_MONITOR_H
#include "vmm/pc.h"

/* Opens the stream that the options name, if any. Machine lock held. 0, or -EINVAL after one line on stderr. */
int monitor_open(struct vm *, struct pc *, const struct options *);
#endif
