/* -perfmap, -jitdump: names of translated code for Linux's perf, in the files that it looks for. */
#ifndef VMM_PERF_H
#define VMM_PERF_H
#include "vmm/options.h"

/* After the engine's init, before the vCPUs run: /tmp/perf-PID.map, jit-PID.dump in the working directory. 0 or -errno after saying why. */
int perf_open(const struct options *);
void perf_close(void);
#endif
