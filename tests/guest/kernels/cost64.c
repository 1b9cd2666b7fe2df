/* What an exit costs: ticks of the time stamp counter an operation, the best of five rounds of two thousand. */
#include "kit.h"

#define ROUNDS 2000
#define MEASURE(name, op) do { \
        u64 best = ~0ull; \
        for (int i = 0; i < 5; i++) { \
            u64 start = rdtsc(); \
            for (int n = 0; n < ROUNDS; n++) { op; } \
            u64 ticks = rdtsc() - start; \
            best = ticks < best ? ticks : best; \
        } \
        put("cost " name " "); put_dec((unsigned)(best / ROUNDS)); put("\n"); \
    } while (0)

void main(void);
void main(void)
{
    volatile u32 *ioapic = (volatile u32 *)0xfec00000ul, *hpet = (volatile u32 *)0xfed00000ul;
    u32 r[4];

    *ioapic = 1;
    MEASURE("nothing", __asm__ volatile("" : : : "memory"));
    MEASURE("cpuid", cpuid(0, 0, r));
    MEASURE("port_read", inb(0x3ff));
    MEASURE("port_write", outb(0x3ff, 0x55));
    MEASURE("memory_read", (void)hpet[1]);
    MEASURE("memory_write", hpet[0x108 / 4] = 5);
    finish();
}
