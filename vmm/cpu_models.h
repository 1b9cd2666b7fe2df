/* -cpu on the command line. */
#ifndef VMM_CPU_MODELS_H
#define VMM_CPU_MODELS_H
#include "vmm/options.h"

int cpu_take(struct options *, const char *opt, char *arg);  /* 1: the list was printed */
int cpu_check(const struct options *);                       /* when all options are known. 0, or -EINVAL: one line has said why */
bool cpu_has(const struct options *, unsigned feature);      /* enum x86_feat */
#endif
