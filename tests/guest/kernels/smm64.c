/* smm.h in 64-bit code. */
#include "smm.h"
