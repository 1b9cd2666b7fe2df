/*
 * 8254 interval timer at 0x40-0x43 and the speaker port 0x61 that gates its channel 2.
 *
 * In: port accesses. Out: irq0 follows channel 0's output. Counters are computed from the clock when read; only channel 0 has a timer.
 * Late timers produce one interrupt, not a burst. Locks: machine lock. Manual: 8254 data sheet; port B of the PIIX3.
 */
#ifndef HW_TIMER_PIT_H
#define HW_TIMER_PIT_H
#include "core/vm.h"

#define PIT_HZ 1193182u

struct pit_channel {
    int64_t start;                        /* clock ns at which the current count was loaded */
    uint32_t count;                       /* 1..65536 (10000 in BCD); meaning of the reload value */
    uint32_t paused;                      /* counter value held while the gate is low */
    uint32_t next_count, next_at;         /* modes 2 and 3: the count written while counting (0: none) and the tick after start that loads it */
    uint16_t latch, reload;
    uint8_t mode, rw, bcd, gate, status, write_low;
    uint8_t latched, status_latched, read_hi, write_hi, null_count, loaded, triggered;
};

struct pit {
    struct device dev;
    struct region io, port61;
    struct irq irq;
    struct clock *clock;
    struct timer timer;
    struct pit_channel ch[3];
    int64_t next;                         /* when channel 0's output changes next; CLOCK_NEVER */
    uint8_t speaker;                      /* port 0x61 bits 0..3 as written */
    uint8_t level;                        /* irq0 now */
};

struct pit *pit_new(struct vm *, struct aspace *io, struct irq irq0);
/* Another (the kernel's) takes this chip's place: what is due is done, and no timer is armed; next stays. And back, with the state loaded: edges of
   channel 0 since SINCE (clock ns) are this one's to make. */
void pit_pause(struct pit *);
void pit_resume(struct pit *, int64_t since);
#endif
