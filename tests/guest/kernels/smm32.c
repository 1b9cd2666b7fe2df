/* smm.h in 32-bit code without paging. */
#include "smm.h"
