/*
 * MC146818 clock with 128 bytes of CMOS at 0x70/0x71 and 128 more at 0x72/0x73.
 *
 * In: port accesses; host time at start. Out: irq8. The date is an offset from the clock, turned into fields when read or written;
 * update-in-progress is up for the 244 us before each second ends. Locks: machine lock. Manual: MC146818A data sheet.
 */
#ifndef HW_TIMER_RTC_H
#define HW_TIMER_RTC_H
#include "core/vm.h"

struct rtc {
    struct device dev;
    struct region io;
    struct irq irq;
    struct clock *clock;
    struct timer periodic, update;
    uint8_t cmos[256];
    int64_t offset;                       /* ns to add to the clock to get guest time (ns since 1970) */
    int64_t halted_at;                    /* guest time in ns while SET or the divider stops the clock */
    int64_t next_periodic, next_update;
    uint8_t index, index_hi, stopped, nmi_masked;
};

/* BASE is the guest's time at machine start in seconds since 1970 (local or UTC as the guest wants); negative: the host's UTC time(). */
struct rtc *rtc_new(struct vm *, struct aspace *io, struct irq irq8, int64_t base);
/* CMOS bytes for the BIOS (0x00-0xff; the clock's own 0x00-0x0d are refused); kept over reset. */
void rtc_set_cmos(struct rtc *, uint8_t addr, uint8_t val);
uint8_t rtc_get_cmos(struct rtc *, uint8_t addr);
/* Base, extended and above-16M sizes in their usual places (0x15/16, 0x17/18, 0x30/31, 0x34/35, 0x5b-0x5d), and the number of CPUs (0x5f). */
void rtc_set_memory(struct rtc *, uint64_t below_4g, uint64_t above_4g, int cpus);
#endif
