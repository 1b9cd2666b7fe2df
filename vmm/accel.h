/* -accel and -machine: the engine that runs the guest. */
#ifndef VMM_ACCEL_H
#define VMM_ACCEL_H
#include "core/vm.h"
#include "vmm/options.h"

/* "kvm,kernel-irqchip=split", "pc,accel=tcg". 0, or -EINVAL after one line on stderr. */
int accel_take(struct options *, const char *opt, char *arg);
int machine_take(struct options *, const char *opt, char *arg);
/* The engine for these options, with the reason in WHY (struct vm keeps it); NULL after one line on stderr. Nothing is created. */
const struct engine *accel_choose(const struct options *, char *why, size_t len);
#endif
