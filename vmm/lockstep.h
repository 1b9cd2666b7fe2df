/* -lockstep A,B: two engines run the same guest side by side and stop at the first difference. */
#ifndef VMM_LOCKSTEP_H
#define VMM_LOCKSTEP_H
#include "core/engine.h"

/* The orders there are: the first has the devices and, without kvm, leads; NULL ends them. */
extern const char *const lockstep_orders[];
const struct engine *lockstep_engine(const char *order);
#endif
