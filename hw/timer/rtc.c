/*
 * MC146818 and CMOS. See rtc.h.
 *
 * In: ports 0x70-0x73. Out: irq8.
 * Running, the date is clock + offset and the bytes 0-9 and 0x32 are made on reading. Stopped (SET, or the divider in reset) the bytes are
 * the truth, so that software may pass through dates that do not exist, and are turned into an offset when the clock starts again.
 * Locks: machine lock. Manual: MC146818A data sheet.
 */
#include "hw/timer/rtc.h"
#include "core/alloc.h"
#include <string.h>
#include <time.h>

enum { SEC = 0, SEC_ALARM, MINUTE, MINUTE_ALARM, HOUR, HOUR_ALARM, WDAY, MDAY, MONTH, YEAR, REG_A, REG_B, REG_C, REG_D, CENTURY = 0x32 };
enum { B_SET = 0x80, B_24H = 2, B_BINARY = 4, C_IRQ = 0x80, PF = 0x40, AF = 0x20, UF = 0x10, A_UIP = 0x80 };
#define SECOND ((int64_t)NS_PER_SEC)
#define UIP_NS 244000
#define LAST_SECOND 9000000000ll                 /* year 2255: later dates do not fit nanoseconds in 64 bits */

static uint8_t encode(const struct rtc *r, int v)
{
    return (uint8_t)(r->cmos[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static int decode(const struct rtc *r, uint8_t v)
{
    return r->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct rtc *r, int h)
{
    if (r->cmos[REG_B] & B_24H)
        return encode(r, h);
    return (uint8_t)(encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? 0x80 : 0));
}

static int decode_hour(const struct rtc *r, uint8_t v)
{
    if (r->cmos[REG_B] & B_24H)
        return decode(r, v);
    return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

static int64_t guest_ns(const struct rtc *r)
{
    return clock_ns(r->clock) + r->offset;
}

static void bytes_from_time(struct rtc *r)
{
    time_t t = (time_t)(guest_ns(r) / SECOND);
    struct tm tm;
    gmtime_r(&t, &tm);
    r->cmos[SEC] = encode(r, tm.tm_sec);
    r->cmos[MINUTE] = encode(r, tm.tm_min);
    r->cmos[HOUR] = encode_hour(r, tm.tm_hour);
    r->cmos[WDAY] = encode(r, tm.tm_wday + 1);
    r->cmos[MDAY] = encode(r, tm.tm_mday);
    r->cmos[MONTH] = encode(r, tm.tm_mon + 1);
    r->cmos[YEAR] = encode(r, tm.tm_year % 100);
    r->cmos[CENTURY] = (uint8_t)((tm.tm_year + 1900) / 1000 << 4 | (tm.tm_year + 1900) / 100 % 10);     /* always BCD */
}

/* Seconds keep their phase: only whole seconds are set. */
static void time_from_bytes(struct rtc *r)
{
    struct tm tm = {
        .tm_sec = decode(r, r->cmos[SEC]), .tm_min = decode(r, r->cmos[MINUTE]), .tm_hour = decode_hour(r, r->cmos[HOUR]),
        .tm_mday = decode(r, r->cmos[MDAY]), .tm_mon = decode(r, r->cmos[MONTH]) - 1,
        .tm_year = ((r->cmos[CENTURY] >> 4) * 10 + (r->cmos[CENTURY] & 15)) * 100 + decode(r, r->cmos[YEAR]) - 1900,
    };
    int64_t secs = timegm(&tm);
    r->offset = MIN(MAX(secs, 0), LAST_SECOND) * SECOND + guest_ns(r) % SECOND - clock_ns(r->clock);
}

static void update_irq(struct rtc *r)
{
    bool on = r->cmos[REG_C] & r->cmos[REG_B] & (PF | AF | UF);
    r->cmos[REG_C] = (uint8_t)((r->cmos[REG_C] & ~C_IRQ) | (on ? C_IRQ : 0));
    irq_set(r->irq, on);
}

static void arm_periodic(struct rtc *r)
{
    int rate = r->cmos[REG_A] & 15, divider = r->cmos[REG_A] >> 4 & 7;
    r->next_periodic = CLOCK_NEVER;
    timer_del(&r->periodic);
    if (!rate || divider >= 6 || (!(r->cmos[REG_B] & PF) && (r->cmos[REG_C] & PF)))
        return;
    uint64_t step = 1ull << ((rate <= 2 ? rate + 7 : rate) - 1);
    uint64_t t = muldiv64((uint64_t)clock_ns(r->clock), 32768, NS_PER_SEC);
    r->next_periodic = (int64_t)muldiv64((t / step + 1) * step, NS_PER_SEC, 32768) + 1;
    timer_set(&r->periodic, r->next_periodic);
}

static void arm_update(struct rtc *r)
{
    r->next_update = CLOCK_NEVER;
    timer_del(&r->update);
    if (r->stopped)
        return;
    r->next_update = (guest_ns(r) / SECOND + 1) * SECOND - r->offset;
    timer_set(&r->update, r->next_update);
}

static void periodic_fire(void *opaque)
{
    struct rtc *r = opaque;
    r->cmos[REG_C] |= PF;
    arm_periodic(r);
    update_irq(r);
}

static bool alarm_field(const struct rtc *r, int field)
{
    uint8_t a = r->cmos[field + 1];
    return a >= 0xc0 || a == r->cmos[field];      /* 11xxxxxx: don't care */
}

static void update_fire(void *opaque)
{
    struct rtc *r = opaque;
    bytes_from_time(r);
    r->cmos[REG_C] |= UF;
    if (alarm_field(r, SEC) && alarm_field(r, MINUTE) && alarm_field(r, HOUR))
        r->cmos[REG_C] |= AF;
    arm_update(r);
    update_irq(r);
}

/* Enter or leave the stopped state after a change of A or B. Leaving divider reset, the first update comes half a second later. */
static void check_stopped(struct rtc *r)
{
    bool held = (r->cmos[REG_A] >> 4 & 7) >= 6;
    bool stopped = held || (r->cmos[REG_B] & B_SET);
    if (held)
        r->halted_at = 1;
    if (stopped == r->stopped)
        return;
    if (stopped) {
        bytes_from_time(r);
    } else {
        time_from_bytes(r);
        if (r->halted_at)
            r->offset += SECOND / 2 - guest_ns(r) % SECOND;
        r->halted_at = 0;
    }
    r->stopped = stopped;
    arm_update(r);
}

static bool is_time(unsigned i)
{
    return i == SEC || i == MINUTE || i == HOUR || (i >= WDAY && i <= YEAR) || i == CENTURY;
}

static uint8_t cmos_read(struct rtc *r, unsigned i)
{
    uint8_t v;
    if (is_time(i) && !r->stopped)
        bytes_from_time(r);
    v = r->cmos[i];
    if (i == REG_A && !r->stopped && guest_ns(r) % SECOND >= SECOND - UIP_NS)
        v |= A_UIP;
    if (i == REG_C) {
        r->cmos[REG_C] = 0;
        update_irq(r);
        if (r->next_periodic == CLOCK_NEVER)
            arm_periodic(r);
    }
    return v;
}

static void write_b(struct rtc *r, uint8_t val)
{
    if (!r->stopped)
        bytes_from_time(r);
    if (val & B_SET)
        val &= (uint8_t)~UF;                      /* SET clears the update interrupt enable */
    uint8_t changed = r->cmos[REG_B] ^ val;
    r->cmos[REG_B] = val;
    if (!r->stopped && (changed & (B_24H | B_BINARY)))
        bytes_from_time(r);
    check_stopped(r);
    arm_periodic(r);
    update_irq(r);
}

static void cmos_write(struct rtc *r, unsigned i, uint8_t val)
{
    if (i == REG_A) {
        r->cmos[REG_A] = val & 0x7f;
        check_stopped(r);
        arm_periodic(r);
    } else if (i == REG_B) {
        write_b(r, val);
    } else if (i == REG_C || i == REG_D) {
        return;
    } else if (is_time(i) && !r->stopped) {
        bytes_from_time(r);
        r->cmos[i] = val;
        time_from_bytes(r);
        arm_update(r);
    } else {
        r->cmos[i] = val;
    }
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
    struct rtc *r = opaque;
    switch (offset) {
    case 1: return cmos_read(r, r->index);
    case 2: return r->index_hi & 0x7f;
    case 3: return r->cmos[r->index_hi];
    default: return 0xff;
    }
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct rtc *r = opaque;
    switch (offset) {
    case 0: r->index = val & 0x7f; r->nmi_masked = val >> 7 & 1; break;
    case 1: cmos_write(r, r->index, (uint8_t)val); break;
    case 2: r->index_hi = (uint8_t)(val | 0x80); break;
    default: r->cmos[r->index_hi] = (uint8_t)val;
    }
}

void rtc_set_cmos(struct rtc *r, uint8_t addr, uint8_t val)
{
    if (addr > REG_D)
        r->cmos[addr] = val;
}

uint8_t rtc_get_cmos(struct rtc *r, uint8_t addr)
{
    return r->cmos[addr];
}

static void set_word(struct rtc *r, uint8_t addr, uint64_t v)
{
    rtc_set_cmos(r, addr, (uint8_t)v);
    rtc_set_cmos(r, (uint8_t)(addr + 1), (uint8_t)(v >> 8));
}

void rtc_set_memory(struct rtc *r, uint64_t below_4g, uint64_t above_4g, int cpus)
{
    uint64_t ext = below_4g > 1u << 20 ? MIN((below_4g >> 10) - 1024, 65535u) : 0;
    set_word(r, 0x15, 640);
    set_word(r, 0x17, ext);
    set_word(r, 0x30, ext);
    set_word(r, 0x34, below_4g > 16u << 20 ? MIN((below_4g - (16u << 20)) >> 16, 65535u) : 0);
    set_word(r, 0x5b, above_4g >> 16);
    rtc_set_cmos(r, 0x5d, (uint8_t)(above_4g >> 32));
    rtc_set_cmos(r, 0x5f, (uint8_t)(cpus - 1));
}

/* The battery keeps the bytes and the time; a reset only takes away interrupts. */
static void rtc_reset(void *dev)
{
    struct rtc *r = dev;
    r->cmos[REG_B] &= (uint8_t)~(PF | AF | UF | 8);
    r->cmos[REG_C] = 0;
    r->index = 0;
    r->index_hi = 0x80;
    r->nmi_masked = 0;
    check_stopped(r);
    arm_periodic(r);
    arm_update(r);
    update_irq(r);
}

static void rtc_post_load(void *dev)
{
    arm_periodic(dev);
    arm_update(dev);
}

static const struct state_row rtc_rows[] = {
    S_SKIP(struct rtc, dev), S_SKIP(struct rtc, io), S_SKIP(struct rtc, irq), S_SKIP(struct rtc, clock), S_SKIP(struct rtc, periodic),
    S_SKIP(struct rtc, update), S_SAVE(struct rtc, cmos), S_SAVE(struct rtc, offset), S_SAVE(struct rtc, halted_at),
    S_SAVE(struct rtc, next_periodic), S_SAVE(struct rtc, next_update), S_SAVE(struct rtc, index), S_SAVE(struct rtc, index_hi),
    S_SAVE(struct rtc, stopped), S_SAVE(struct rtc, nmi_masked), S_END
};

struct rtc *rtc_new(struct vm *vm, struct aspace *io, struct irq irq8, int64_t base)
{
    struct rtc *r = xzalloc(sizeof(*r));
    r->irq = irq8;
    r->clock = vm->clock;
    r->offset = (base < 0 ? (int64_t)time(NULL) : base) * SECOND - clock_ns(vm->clock);
    r->cmos[REG_A] = 0x26;
    r->cmos[REG_B] = B_24H;
    r->cmos[REG_D] = 0x80;
    timer_init(&r->periodic, vm->clock, periodic_fire, r);
    timer_init(&r->update, vm->clock, update_fire, r);
    r->io = (struct region){ .kind = REGION_IO, .name = "rtc", .read = rtc_read, .write = rtc_write, .opaque = r, .max_size = 1 };
    as_add(io, &r->io, 0x70, 4);
    device_add(vm, &r->dev, "rtc", rtc_rows, sizeof(*r), rtc_reset);
    r->dev.post_load = rtc_post_load;
    rtc_reset(r);
    return r;
}
