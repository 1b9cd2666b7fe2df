/* debug.h in 64-bit code. */
#include "debug.h"
