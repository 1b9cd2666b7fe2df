/* align.h in 64-bit code. */
#include "align.h"
