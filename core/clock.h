/*
 * All guest time. A clock is real (CLOCK_MONOTONIC, stopped while the machine is stopped) or manual (tests, later
 * an instruction count). Timers belong to a clock; they fire in clock_run_timers, which the event loop (or a test) calls with the
 * machine lock held. timer_set may be called from any thread that holds the machine lock.
 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H
#include "core/types.h"

#define NS_PER_SEC 1000000000ull
#define CLOCK_NEVER INT64_MAX

struct timer {
    int64_t deadline;                 /* ns on its clock; CLOCK_NEVER when idle */
    int heap_pos;                     /* -1 when idle */
    struct clock *clock;
    void (*fire)(void *opaque);
    void *opaque;
};

struct clock *clock_new_real(void);
struct clock *clock_new_manual(void);                 /* starts at 0 */
void clock_free(struct clock *);
int64_t clock_ns(struct clock *);                     /* monotonic ns since machine start; any thread */
void clock_stop(struct clock *);                      /* freezes a real clock; clock_start resumes without a jump */
void clock_start(struct clock *);
void clock_advance(struct clock *, int64_t ns);       /* manual only: moves time, firing timers in order on the way */
void clock_set_ns(struct clock *, int64_t ns);        /* for state load */

void timer_init(struct timer *, struct clock *, void (*fire)(void *), void *opaque);
void timer_set(struct timer *, int64_t deadline_ns);  /* absolute; moves an armed timer */
void timer_del(struct timer *);
static inline bool timer_armed(const struct timer *t) { return t->heap_pos >= 0; }

int64_t clock_next_deadline(struct clock *);          /* CLOCK_NEVER when none */
void clock_run_timers(struct clock *);
/* Called (machine lock held) whenever the earliest deadline changes, so that the loop can re-arm its timerfd. */
void clock_on_rearm(struct clock *, void (*rearm)(void *opaque, int64_t deadline), void *opaque);

/* a * b / c in 128 bits. */
static inline uint64_t muldiv64(uint64_t a, uint64_t b, uint64_t c) { return (unsigned __int128)a * b / c; }
#endif
