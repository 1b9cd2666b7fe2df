/* debug.h in 32-bit code without paging. */
#include "debug.h"
