/*
 * HPET. See hpet.h.
 *
 * In: MMIO, the PIT's and RTC's lines. Out: interrupt lines. The counter runs at one count per 10 ns of the clock.
 * Invariants: `counter` is the value at `since` while running; a comparator's deadline is its next match, but its host timer is armed only while
 * somebody could notice. Linux leaves a periodic comparator running with its interrupt off: nobody is woken for it, settle makes up for it.
 * Locks: machine lock. Manual: IA-PC HPET specification 1.0a.
 */
#include "hw/timer/hpet.h"
#include "core/alloc.h"
#include <string.h>

enum { TICK_NS = 10, MIN_PERIOD = 1000, ENABLE = 1, LEGACY = 2, T_LEVEL = 2, T_ENABLE = 4, T_PERIODIC = 8, T_SET_VAL = 0x40, T_32BIT = 0x100 };
#define CAPABILITIES (10000000ull << 32 | 0x8086a201u)
#define T_WRITABLE 0x3f0eull              /* VAL_SET is an action, not a state */
#define T_CAPS (0x00f00004ull << 32 | 0x30)

static bool running(const struct hpet *h) { return h->config & ENABLE; }

static uint64_t count_now(const struct hpet *h)
{
    return running(h) ? h->counter + (uint64_t)(clock_ns(h->clock) - h->since) / TICK_NS : h->counter;
}

static int route(const struct hpet *h, int n)
{
    if ((h->config & LEGACY) && n < 2)
        return n ? 8 : 0;
    int r = h->t[n].config >> 9 & 31;
    return r < 24 ? r : 0;
}

static void drive(struct hpet *h, int n, int level)
{
    h->t[n].level = (uint8_t)level;
    irq_set(h->irq[route(h, n)], level);
}

static void update_line(struct hpet *h, int n)
{
    struct hpet_timer *t = &h->t[n];
    int level = (t->config & T_ENABLE) && (h->isr >> n & 1) && running(h);
    if ((t->config & T_LEVEL) && level != t->level)
        drive(h, n, level);
}

/* Counts until the comparator matches next. */
static uint64_t distance(const struct hpet *h, const struct hpet_timer *t)
{
    uint64_t d = t->cmp - count_now(h);
    return t->config & T_32BIT ? (uint32_t)d : d;
}

/* Only a match that would be seen without a look at the registers is waited for. */
static void set_timer(struct hpet *h, int n)
{
    const struct hpet_timer *t = &h->t[n];
    bool seen = (t->config & T_ENABLE) || ((t->config & T_LEVEL) && !(h->isr >> n & 1));
    timer_set(&h->timer[n], seen ? t->deadline : CLOCK_NEVER);
}

static void arm(struct hpet *h, int n)
{
    struct hpet_timer *t = &h->t[n];
    t->deadline = CLOCK_NEVER;
    if (running(h)) {
        uint64_t d = distance(h, t);
        if (d < (uint64_t)INT64_MAX / TICK_NS / 2)
            t->deadline = clock_ns(h->clock) + (int64_t)d * TICK_NS;
    }
    set_timer(h, n);
}

static void interrupt(struct hpet *h, int n)
{
    struct hpet_timer *t = &h->t[n];
    if (t->config & T_LEVEL) {
        h->isr |= BIT(n);
        update_line(h, n);
    } else if (t->config & T_ENABLE) {
        drive(h, n, 0);
        drive(h, n, 1);                           /* stays: an 8259A forgets an edge that drops before it is acknowledged */
    }
}

/* Periods that passed unnoticed are skipped: one interrupt. */
static void advance(struct hpet *h, struct hpet_timer *t)
{
    uint64_t step = MAX(t->period, (uint64_t)MIN_PERIOD), mask = t->config & T_32BIT ? 0xffffffffu : ~0ull;
    uint64_t late = (count_now(h) - t->cmp) & mask;
    t->cmp = (t->cmp + (late / step + 1) * step) & mask;
}

static void fired(struct hpet *h, int n)
{
    struct hpet_timer *t = &h->t[n];
    bool periodic = (t->config & T_PERIODIC) && t->period;
    if (periodic)
        advance(h, t);
    t->deadline = CLOCK_NEVER;
    interrupt(h, n);
    if (periodic) {
        arm(h, n);
        return;
    }
    if (t->config & T_32BIT) {                    /* matches again when the low word has gone round, not now */
        uint64_t d = distance(h, t);
        t->deadline = clock_ns(h->clock) + (int64_t)(d ? d : BIT(32)) * TICK_NS;
    }
    set_timer(h, n);
}

/* Matches that nobody was woken for, before anything is read or changed. */
static void settle(struct hpet *h)
{
    int64_t now = clock_ns(h->clock);
    for (int n = 0; n < HPET_TIMERS; n++) {
        if (h->t[n].deadline <= now)
            fired(h, n);
    }
}

static void fire0(void *opaque) { fired(opaque, 0); }
static void fire1(void *opaque) { fired(opaque, 1); }
static void fire2(void *opaque) { fired(opaque, 2); }

static void timer_config_write(struct hpet *h, int n, uint64_t v)
{
    struct hpet_timer *t = &h->t[n];
    if (t->level)
        drive(h, n, 0);                           /* before the route changes */
    t->config = (v & T_WRITABLE) | T_CAPS;
    t->set_val = (v & T_SET_VAL) != 0;
    if (t->config & T_32BIT)
        t->cmp = (uint32_t)t->cmp;
    if (!(t->config & T_LEVEL))
        h->isr &= ~BIT(n);
    update_line(h, n);
    arm(h, n);
}

/* In periodic mode a write sets the period, and the accumulator too when VAL_SET was given. */
static void comparator_write(struct hpet *h, int n, uint64_t v, uint64_t bits)
{
    struct hpet_timer *t = &h->t[n];
    uint64_t keep = t->config & T_32BIT ? 0 : ~bits;
    if (!(t->config & T_PERIODIC) || t->set_val)
        t->cmp = (t->cmp & keep) | v;
    if (t->config & T_PERIODIC)
        t->period = (t->period & keep) | v;
    if (bits >> 32 || (t->config & T_32BIT))
        t->set_val = 0;
    arm(h, n);
}

static void config_write(struct hpet *h, uint64_t v)
{
    uint64_t old = h->config, now = count_now(h);
    for (int n = 0; n < HPET_TIMERS; n++) {
        if (h->t[n].level)
            drive(h, n, 0);
    }
    h->config = v & (ENABLE | LEGACY);
    h->counter = now;
    h->since = clock_ns(h->clock);
    if ((old ^ h->config) & LEGACY) {
        irq_set(h->irq[0], h->config & LEGACY ? 0 : h->pit_level);
        irq_set(h->irq[8], h->config & LEGACY ? 0 : h->rtc_level);
    }
    for (int n = 0; n < HPET_TIMERS; n++) {
        update_line(h, n);
        arm(h, n);
    }
}

static void counter_write(struct hpet *h, uint64_t v)
{
    h->counter = v;
    h->since = clock_ns(h->clock);
    for (int n = 0; n < HPET_TIMERS; n++)
        arm(h, n);
}

static void isr_write(struct hpet *h, uint64_t v)
{
    h->isr &= ~v;
    for (int n = 0; n < HPET_TIMERS; n++) {
        update_line(h, n);
        set_timer(h, n);
    }
}

static uint64_t reg_read(const struct hpet *h, unsigned reg)
{
    unsigned n = (reg - 0x100) / 0x20;
    switch (reg) {
    case 0x00: return CAPABILITIES;
    case 0x10: return h->config;
    case 0x20: return h->isr;
    case 0xf0: return count_now(h);
    }
    if (reg < 0x100 || n >= HPET_TIMERS)
        return 0;
    return (reg & 0x18) == 0 ? h->t[n].config : (reg & 0x18) == 8 ? h->t[n].cmp : 0;
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    settle(opaque);
    return reg_read(opaque, (unsigned)offset & ~7u) >> (offset & 7) * 8 & size_mask(size);
}

/* A 32-bit write replaces its half of the 64-bit register. */
static void mmio_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct hpet *h = opaque;
    unsigned reg = (unsigned)offset & ~7u, shift = (offset & 7) * 8, n = (reg - 0x100) / 0x20;
    uint64_t bits = size_mask(size) << shift, part = val << shift & bits, whole;
    if (size < 4)
        return;
    settle(h);
    whole = (reg_read(h, reg) & ~bits) | part;
    switch (reg) {
    case 0x10: config_write(h, whole); return;
    case 0x20: isr_write(h, part); return;
    case 0xf0: counter_write(h, whole); return;
    }
    if (reg < 0x100 || n >= HPET_TIMERS)
        return;
    if ((reg & 0x18) == 0 && (bits & 0xff))
        timer_config_write(h, (int)n, whole);
    else if ((reg & 0x18) == 8)
        comparator_write(h, (int)n, part, bits);
}

static void pit_in(void *opaque, int n, int level)
{
    struct hpet *h = opaque;
    h->pit_level = (uint8_t)level;
    if (!(h->config & LEGACY))
        irq_set(h->irq[0], level);
}

static void rtc_in(void *opaque, int n, int level)
{
    struct hpet *h = opaque;
    h->rtc_level = (uint8_t)level;
    if (!(h->config & LEGACY))
        irq_set(h->irq[8], level);
}

struct irq hpet_pit_irq(struct hpet *h) { return (struct irq){ pit_in, h, 0 }; }
struct irq hpet_rtc_irq(struct hpet *h) { return (struct irq){ rtc_in, h, 8 }; }

static void hpet_reset(void *dev)
{
    struct hpet *h = dev;
    config_write(h, 0);
    h->counter = h->isr = 0;
    for (int n = 0; n < HPET_TIMERS; n++)
        h->t[n] = (struct hpet_timer){ .config = T_CAPS, .cmp = ~0ull, .deadline = CLOCK_NEVER };
}

static void hpet_pre_save(void *dev) { settle(dev); }

static void hpet_post_load(void *dev)
{
    for (int n = 0; n < HPET_TIMERS; n++)
        arm(dev, n);
}

static const struct state_row hpet_rows[] = {
    S_SKIP(struct hpet, dev), S_SKIP(struct hpet, mmio), S_SKIP(struct hpet, irq), S_SKIP(struct hpet, clock), S_SKIP(struct hpet, timer),
    S_SAVE(struct hpet, t), S_SAVE(struct hpet, config), S_SAVE(struct hpet, isr), S_SAVE(struct hpet, counter), S_SAVE(struct hpet, since),
    S_SAVE(struct hpet, pit_level), S_SAVE(struct hpet, rtc_level), S_END
};

struct hpet *hpet_new(struct vm *vm, struct aspace *mem, const struct irq irq[24])
{
    static void (*const fire[HPET_TIMERS])(void *) = { fire0, fire1, fire2 };
    struct hpet *h = xzalloc(sizeof(*h));
    memcpy(h->irq, irq, sizeof(h->irq));
    h->clock = vm->clock;
    for (int n = 0; n < HPET_TIMERS; n++)
        timer_init(&h->timer[n], vm->clock, fire[n], h);
    h->mmio = (struct region){ .kind = REGION_IO, .name = "hpet", .read = mmio_read, .write = mmio_write, .opaque = h, .max_size = 8 };
    as_add(mem, &h->mmio, HPET_BASE, 0x400);
    device_add(vm, &h->dev, "hpet", hpet_rows, sizeof(*h), hpet_reset);
    h->dev.pre_save = hpet_pre_save;
    h->dev.post_load = hpet_post_load;
    hpet_reset(h);
    return h;
}
