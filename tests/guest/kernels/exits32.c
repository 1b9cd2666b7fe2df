/* What makes a processor leave an engine, in 32-bit protected mode without paging: exits.h. Uses no INT n, as exits64.c. */
#include "exits.h"

void main(void);
void main(void)
{
    RUN(ports);
    RUN(port_strings);
    RUN(device_memory);
    RUN(device_memory_strings);
    RUN(identification);
    finish();
}
