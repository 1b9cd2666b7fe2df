/*
 * Resets of a machine whose processors all run: asked for by one of the others (keyboard controller, triple fault, port CF9h, port 92h), and at the
 * end by the monitor. What is left in memory tells how often that was.
 */
#include "smp.h"

#define STAGE AT(0x3f00000)
static const char *const stages[] = { "keyboard controller", "triple fault", "port cf9", "port 92", "INIT of all others", "monitor" };

static void no_idt(void)
{
    static const struct { u16 limit; u64 base; } __attribute__((packed)) none = { 0, 0 };
    __asm__ volatile("lidt %0\n\tint3" : : "m"(none));
}

static void reset_by_last(unsigned cpu)
{
    barrier();
    if (cpu == n_cpus - 1)
        switch ((unsigned)*STAGE) {
        case 1: outb(0x64, 0xfe); break;
        case 2: no_idt(); break;
        case 3: outb(0xcf9, 2), outb(0xcf9, 6); break;
        case 4: outb(0x92, 1); break;
        case 5: apic_write(0x300, 0xc4500), outb(0x64, 0xfe); break;
        }
    for (;;)
        pause();
}

void main(void);
void main(void)
{
    RUN(start_up);
    u64 stage = ++*STAGE;
    put("stage "), put_dec((unsigned)stage), put("\n");
    if (stage > sizeof(stages) / sizeof(stages[0]))
        finish();
    put("reset: "), put(stages[stage - 1]), put("\n");
    everywhere(reset_by_last);
}
