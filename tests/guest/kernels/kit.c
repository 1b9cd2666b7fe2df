/* The parts of the kit that are not in a header: what the compiler may call. */
#include "kit.h"

void *memset(void *p, int c, ul n)
{
    u8 *b = p;
    while (n--)
        *b++ = (u8)c;
    return p;
}

void *memcpy(void *d, const void *s, ul n)
{
    u8 *a = d;
    const u8 *b = s;
    while (n--)
        *a++ = *b++;
    return d;
}
