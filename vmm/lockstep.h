/* -lockstep A,B: two engines run the same guest side by side and stop at the first difference. */
#ifndef VMM_LOCKSTEP_H
#define VMM_LOCKSTEP_H
#include "core/engine.h"

/* ORDER: "tcg,interp" or "interp,tcg"; the first has the devices. */
const struct engine *lockstep_engine(const char *order);
#endif
