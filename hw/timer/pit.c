/*
 * 8254. See pit.h.
 *
 * In: ports 0x40-0x43, 0x61. Out: irq0 edges.
 * Counters and outputs are functions of the time since `start`. Channel 0's timer fires at rising edges of OUT only; in the periodic modes
 * the line is dropped and raised there, since controllers look at edges. A new count takes effect at once, but in modes 2 and 3 while counting:
 * there it waits for the end of the period (mode 2) or half period (mode 3), which is worked out at the next access (settle).
 * Locks: machine lock. Manual: 8254 data sheet.
 */
#include "hw/timer/pit.h"
#include "core/alloc.h"

enum { RW_LATCH, RW_LOW, RW_HIGH, RW_BOTH, MIN_PERIOD_NS = 10000, REFRESH_NS = 15085 };

static uint64_t ticks_at(const struct pit_channel *c, int64_t now) { return muldiv64((uint64_t)(now - c->start), PIT_HZ, NS_PER_SEC); }
static uint64_t ticks(const struct pit *p, const struct pit_channel *c) { return ticks_at(c, clock_ns(p->clock)); }

static int64_t ticks_to_ns(uint64_t t)
{
    return (int64_t)muldiv64(t, NS_PER_SEC, PIT_HZ) + 1;
}

static bool periodic(const struct pit_channel *c) { return c->mode == 2 || c->mode == 3; }
static bool one_shot(const struct pit_channel *c) { return c->mode == 1 || c->mode == 5; }
static bool counting(const struct pit_channel *c) { return c->loaded && (one_shot(c) ? c->triggered : c->gate); }

/* Load the waiting count if its time has come. In mode 3 that may be at the falling edge: the new low half begins, so `start` lies before it. */
static void settle(struct pit *p, struct pit_channel *c)
{
    if (!c->next_count || !counting(c) || ticks(p, c) < c->next_at)
        return;
    bool falling = c->mode == 3 && c->next_at < c->count;
    c->start += ticks_to_ns(c->next_at);
    c->count = c->next_count;
    c->next_count = 0;
    c->null_count = 0;
    if (falling)
        c->start -= ticks_to_ns((c->count + 1) / 2);
}

static void settle_all(struct pit *p)
{
    for (int i = 0; i < 3; i++)
        settle(p, &p->ch[i]);
}

static uint32_t counter(const struct pit *p, const struct pit_channel *c)
{
    uint32_t wrap = c->bcd ? 10000 : 65536;
    uint64_t t;
    if (!counting(c))
        return c->loaded && !one_shot(c) ? c->paused : c->count % wrap;
    t = ticks(p, c);
    if (c->mode == 2)
        return (uint32_t)(c->count - t % c->count) % wrap;
    if (c->mode == 3) {                               /* by twos in either half; of an odd count the high half is one longer, and ends at 0 */
        uint64_t high = (c->count + 1) / 2, at = t % c->count;
        return (uint32_t)((c->count & ~1u) - 2 * (at < high ? at : at - high)) % wrap;
    }
    return (uint32_t)(c->count + wrap - t % wrap) % wrap;
}

static bool out(const struct pit *p, const struct pit_channel *c)
{
    uint64_t t;
    if (!counting(c))
        return c->mode == 0 ? c->loaded && !c->gate && c->paused == 0 : true;
    t = ticks(p, c);
    switch (c->mode) {
    case 0:
    case 1: return t >= c->count;
    case 2: return t % c->count != c->count - 1;
    case 3: return t % c->count < (c->count + 1) / 2;
    default: return t != c->count;
    }
}

static uint16_t to_guest(const struct pit_channel *c, uint32_t v)
{
    if (!c->bcd)
        return (uint16_t)v;
    return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static uint32_t from_guest(const struct pit_channel *c, uint16_t v)
{
    uint32_t n = c->bcd ? (v & 15) + (v >> 4 & 15) * 10u + (v >> 8 & 15) * 100u + (v >> 12) * 1000u : v;
    return n ? n : c->bcd ? 10000 : 65536;
}

static void set_level(struct pit *p, int level)
{
    p->level = (uint8_t)level;
    irq_set(p->irq, level);
}

/* When a periodic OUT rises next, as settle will see it to the nanosecond: a different rounding would give two edges for one. */
static int64_t next_rise(const struct pit_channel *c, uint64_t t)
{
    if (c->next_count && c->next_at < c->count)       /* loaded at the falling edge: its low half follows */
        return c->start + ticks_to_ns(c->next_at) - ticks_to_ns((c->next_count + 1) / 2) + ticks_to_ns(c->next_count);
    return c->start + ticks_to_ns((t / c->count + 1) * c->count);
}

/* Next rising edge of channel 0's OUT after NOW. */
static void arm_at(struct pit *p, int64_t now)
{
    struct pit_channel *c = &p->ch[0];
    p->next = CLOCK_NEVER;
    if (counting(c)) {
        uint64_t t = ticks_at(c, now);
        if (periodic(c)) {
            p->next = next_rise(c, t);
            if (ticks_to_ns(c->count) < MIN_PERIOD_NS)
                p->next = MAX(p->next, now + MIN_PERIOD_NS);
        } else if (t < c->count + (c->mode == 4 ? 1 : 0)) {
            p->next = c->start + ticks_to_ns(c->count + (c->mode == 4 ? 1 : 0));
        }
    }
    if (p->next == CLOCK_NEVER)
        timer_del(&p->timer);
    else
        timer_set(&p->timer, MAX(p->next, now));
}

static void arm(struct pit *p) { arm_at(p, clock_ns(p->clock)); }

static void fire(void *opaque)
{
    struct pit *p = opaque;
    settle(p, &p->ch[0]);
    arm(p);
    if (p->ch[0].mode != 0)
        set_level(p, 0);
    set_level(p, 1);
}

/* A count for a running channel in mode 2 or 3. An edge whose timer is late must not be forgotten when the timer is set anew. */
static void load_later(struct pit *p, struct pit_channel *c, uint16_t v)
{
    if (c == &p->ch[0] && p->next <= clock_ns(p->clock))
        fire(p);
    uint64_t t = ticks(p, c), high = (c->count + 1) / 2;
    if (!c->next_count && t >= c->count) {            /* from here on, start is the beginning of the present period */
        c->start += ticks_to_ns(t / c->count * c->count);
        t %= c->count;
    }
    c->next_count = from_guest(c, v);
    c->next_at = c->mode == 3 && t < high && c->count > 1 ? (uint32_t)high : c->count;
    c->null_count = 1;
}

static void load(struct pit *p, int n, uint16_t v)
{
    struct pit_channel *c = &p->ch[n];
    c->reload = v;
    if (periodic(c) && counting(c)) {
        load_later(p, c, v);
        if (n == 0)
            arm(p);
        return;
    }
    c->next_count = 0;
    c->count = from_guest(c, v);
    c->paused = c->count;
    c->loaded = 1;
    c->null_count = 0;
    if (!one_shot(c))                             /* a running one-shot keeps its count until the next trigger */
        c->start = clock_ns(p->clock);
    if (n == 0) {
        if (c->mode == 0)
            set_level(p, 0);
        arm(p);
    }
}

static void gate_set(struct pit *p, int n, int level)
{
    struct pit_channel *c = &p->ch[n];
    int64_t now = clock_ns(p->clock);
    if (level == c->gate)
        return;
    if (!level && counting(c) && !one_shot(c))
        c->paused = periodic(c) || ticks(p, c) < c->count ? counter(p, c) : 0;
    c->gate = (uint8_t)level;
    if (!level || !c->loaded)
        return;
    if (periodic(c) || one_shot(c)) {
        c->triggered = 1;
        c->start = now;
        if (c->next_count) {
            c->count = c->next_count;
            c->next_count = c->null_count = 0;
        }
    } else {
        c->start = now - ticks_to_ns(c->count - MIN(c->paused, c->count));
    }
}

static void latch_count(struct pit *p, struct pit_channel *c)
{
    if (c->latched)
        return;
    c->latch = to_guest(c, counter(p, c));
    c->latched = c->rw;
}

static void latch_status(struct pit *p, struct pit_channel *c)
{
    if (c->status_latched)
        return;
    c->status = (uint8_t)(out(p, c) << 7 | c->null_count << 6 | c->rw << 4 | c->mode << 1 | c->bcd);
    c->status_latched = 1;
}

static void control(struct pit *p, uint8_t val)
{
    int n = val >> 6;
    if (n == 3) {                                 /* read-back; its count and status bits are active low */
        for (int i = 0; i < 3; i++) {
            if (!(val >> (i + 1) & 1))
                continue;
            if (!(val & 0x20))
                latch_count(p, &p->ch[i]);
            if (!(val & 0x10))
                latch_status(p, &p->ch[i]);
        }
        return;
    }
    struct pit_channel *c = &p->ch[n];
    if ((val >> 4 & 3) == RW_LATCH) {
        latch_count(p, c);
        return;
    }
    c->rw = val >> 4 & 3;
    c->mode = (val >> 1 & 7) > 5 ? (val >> 1 & 3) : (val >> 1 & 7);
    c->bcd = val & 1;
    c->next_count = 0;
    c->loaded = c->triggered = c->latched = c->status_latched = c->read_hi = c->write_hi = 0;
    c->null_count = 1;
    if (n == 0) {
        set_level(p, c->mode != 0);
        arm(p);
    }
}

static void data_write(struct pit *p, int n, uint8_t val)
{
    struct pit_channel *c = &p->ch[n];
    if (c->rw == RW_LOW) {
        load(p, n, val);
    } else if (c->rw == RW_HIGH) {
        load(p, n, (uint16_t)(val << 8));
    } else if (!c->write_hi) {
        c->write_low = val;
        c->write_hi = 1;
        c->null_count = 1;
    } else {
        c->write_hi = 0;
        load(p, n, (uint16_t)(c->write_low | val << 8));
    }
}

static uint8_t data_read(struct pit *p, int n)
{
    struct pit_channel *c = &p->ch[n];
    uint16_t v;
    if (c->status_latched) {
        c->status_latched = 0;
        return c->status;
    }
    v = c->latched ? c->latch : to_guest(c, counter(p, c));
    bool high = c->rw == RW_HIGH || (c->rw == RW_BOTH && c->read_hi);
    if (c->rw == RW_BOTH)
        c->read_hi ^= 1;
    if (c->rw != RW_BOTH || high)
        c->latched = 0;
    return (uint8_t)(high ? v >> 8 : v);
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
    settle_all(opaque);
    return offset == 3 ? 0xff : data_read(opaque, (int)offset);
}

static void pit_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    settle_all(opaque);
    if (offset == 3)
        control(opaque, (uint8_t)val);
    else
        data_write(opaque, (int)offset, (uint8_t)val);
}

static uint64_t port61_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pit *p = opaque;
    settle(p, &p->ch[2]);
    return p->speaker | (clock_ns(p->clock) / REFRESH_NS & 1) << 4 | (uint64_t)out(p, &p->ch[2]) << 5;
}

static void port61_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct pit *p = opaque;
    settle(p, &p->ch[2]);
    p->speaker = val & 15;
    gate_set(p, 2, val & 1);
}

/* The state a BIOS leaves would be mode 3 on channel 0; the chip itself comes up undefined and here silent. */
static void pit_reset(void *dev)
{
    struct pit *p = dev;
    for (int i = 0; i < 3; i++)
        p->ch[i] = (struct pit_channel){ .mode = 3, .rw = RW_BOTH, .gate = i != 2, .count = 65536, .start = clock_ns(p->clock) };
    p->speaker = 0;
    set_level(p, 0);
    arm(p);
}

void pit_pause(struct pit *p)
{
    if (p->next <= clock_ns(p->clock))
        fire(p);
    settle_all(p);
    timer_del(&p->timer);
}

/* Counts come from a file: none may be zero, which they are divided by. */
void pit_resume(struct pit *p, int64_t since)
{
    for (int i = 0; i < 3; i++)
        p->ch[i].count = MIN(MAX(p->ch[i].count, 1u), 65536u);
    settle_all(p);
    arm_at(p, since);
}

static void pit_post_load(void *dev) { pit_resume(dev, clock_ns(((struct pit *)dev)->clock)); }

static const struct state_row pit_rows[] = {
    S_SKIP(struct pit, dev), S_SKIP(struct pit, io), S_SKIP(struct pit, port61), S_SKIP(struct pit, irq), S_SKIP(struct pit, clock),
    S_SKIP(struct pit, timer), S_SAVE(struct pit, ch), S_SAVE(struct pit, next), S_SAVE(struct pit, speaker), S_SAVE(struct pit, level), S_END
};

struct pit *pit_new(struct vm *vm, struct aspace *io, struct irq irq0)
{
    struct pit *p = xzalloc(sizeof(*p));
    p->irq = irq0;
    p->clock = vm->clock;
    timer_init(&p->timer, vm->clock, fire, p);
    p->io = (struct region){ .kind = REGION_IO, .name = "pit", .read = pit_read, .write = pit_write, .opaque = p, .max_size = 1 };
    p->port61 = (struct region){ .kind = REGION_IO, .name = "port61", .read = port61_read, .write = port61_write, .opaque = p, .max_size = 1 };
    as_add(io, &p->io, 0x40, 4);
    as_add(io, &p->port61, 0x61, 1);
    device_add(vm, &p->dev, "pit", pit_rows, sizeof(*p), pit_reset);
    p->dev.post_load = pit_post_load;
    pit_reset(p);
    return p;
}
