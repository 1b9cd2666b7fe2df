/* align.h in 32-bit code. */
#include "align.h"
