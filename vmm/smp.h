/* Several CPUs: -smp, and the threads that run them. */
#ifndef VMM_SMP_H
#define VMM_SMP_H
#include "vmm/options.h"
#include "core/vm.h"

int smp_take(struct options *, const char *opt, char *arg);         /* 0 or -EINVAL, said why */
/* What was given, completed as QEMU does (cores first) and checked against what goes with it; vm->topology. The number of CPUs, or -EINVAL. */
int smp_complete(struct vm *, const struct options *);

/* Every vCPU has a thread, which runs its engine until VCPU_EXIT. When all have come out, the last of them calls HANDLE with the machine at rest: true,
   and all go on; false, and all end. smp_run starts them and returns 0, or -errno (logged); smp_join waits for their end. */
int smp_run(struct vm *, bool (*handle)(void *opaque, enum run_result worst), void (*begin)(void *opaque, struct vcpu *), void *opaque);
void smp_join(struct vm *);
#endif
