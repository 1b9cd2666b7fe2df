/*
 * HPET at 0xfed00000: a 64-bit counter at 100 MHz, three comparators, legacy replacement. No FSB delivery.
 *
 * In: MMIO. Out: lines of the I/O APIC (irq[0..23]); with legacy replacement comparator 0 takes the PIT's irq0 and comparator 1 irq8, and
 * the PIT and the RTC are cut off: wire them through hpet_pit_irq and hpet_rtc_irq. Locks: machine lock. Manual: IA-PC HPET 1.0a.
 */
#ifndef HW_TIMER_HPET_H
#define HW_TIMER_HPET_H
#include "core/vm.h"

#define HPET_BASE 0xfed00000u
#define HPET_TIMERS 3

struct hpet_timer {
    uint64_t config, cmp, period;         /* period: last value written for periodic mode */
    int64_t deadline;                     /* CLOCK_NEVER when idle */
    uint8_t level;                        /* line driven now */
    uint8_t set_val;                      /* Tn_VAL_SET_CNF written: the next comparator write sets the accumulator too */
    uint8_t pad[6];
};

struct hpet {
    struct device dev;
    struct region mmio;
    struct irq irq[24];
    struct clock *clock;
    struct timer timer[HPET_TIMERS];
    struct hpet_timer t[HPET_TIMERS];
    uint64_t config, isr, counter;        /* counter: value at `since` (running) or now (stopped) */
    int64_t since;
    uint8_t pit_level, rtc_level;
};

/* IRQ: 24 global interrupts; irq[0] is where the PIT's line goes (the ISA irq 0), irq[8] the RTC's. */
struct hpet *hpet_new(struct vm *, struct aspace *mem, const struct irq irq[24]);
/* Inputs for the PIT's and the RTC's interrupts: passed to irq[0] and irq[8] unless legacy replacement is on. */
struct irq hpet_pit_irq(struct hpet *);
struct irq hpet_rtc_irq(struct hpet *);
#endif
