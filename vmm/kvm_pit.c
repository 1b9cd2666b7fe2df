/*
 * Our PIT and the kernel's (vmm/kvm_pit.h): counts both ways.
 *
 * The kernel begins to count anew whenever it is told a state, and does not say how far channel 0 has come. So in: a count that runs down once is
 * loaded with what is left of it; a periodic one is told twice, now and at its next edge, which is ours to make. Out: a processor reads counter and
 * OUT (kvm/aside.c), and unless an edge is near, of which nobody could say who has made it, the timer is stopped (as when the HPET takes over).
 * Locks: machine lock. Intel 8254 data sheet; Linux asm/kvm.h.
 */
#include "vmm/kvm_pit.h"
#include "core/log.h"
#include <errno.h>
#include <string.h>
#include <time.h>

enum { HPET_LEGACY = 2, PIT_UNSET = 0xff, RW_LOW_BYTE = 1, RW_HIGH_BYTE, RW_WORD_LOW, RW_WORD_HIGH, LATCH_ALL_OF_0 = 0xc2, WRAP = 65536,
    NEAR_NS = 2000000 };

static bool pit_off;                          /* the HPET has taken the PIT's place */
static struct { struct timer timer; struct kvm_models *m; struct kvm_pit_channel_state was; } first_edge;

static bool legacy(const struct kvm_models *m) { return m->hpet && (m->hpet->config & HPET_LEGACY); }
static bool once(unsigned mode) { return mode == 0 || mode == 4; }
static bool periodic(unsigned mode) { return mode == 2 || mode == 3; }

static int64_t host_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * (int64_t)NS_PER_SEC + ts.tv_nsec;
}

/* Ticks that have passed in NS, and the time that N take. */
static uint64_t ticks_of(int64_t ns) { return muldiv64((uint64_t)MAX(ns, (int64_t)0), PIT_HZ, NS_PER_SEC); }
static int64_t ns_of(uint64_t n) { return (int64_t)muldiv64(n, NS_PER_SEC, PIT_HZ) + 1; }

static uint32_t left_of(uint32_t count, uint64_t passed) { return passed < count ? count - (uint32_t)passed : 1; }

/* ---- to the kernel ---- */

/* A control word without a count yet is told as a mode, whose count is the longest. */
static struct kvm_pit_channel_state channel_out(const struct pit_channel *c, int64_t now)
{
    bool word = c->rw == 3, set = c->loaded || c->null_count;
    uint8_t first = word ? RW_WORD_LOW : c->rw;
    uint32_t count = !c->loaded ? WRAP : c->next_count ? c->next_count
                   : once(c->mode) && c->gate ? left_of(c->count, ticks_of(now - c->start)) : c->count;

    return (struct kvm_pit_channel_state){ .count = count, .latched_count = c->latch, .count_latched = c->latched ? first : 0,
        .status_latched = c->status_latched, .status = c->status, .read_state = word && c->read_hi ? RW_WORD_HIGH : first,
        .write_state = word && c->write_hi ? RW_WORD_HIGH : first, .write_latch = c->write_low, .rw_mode = c->rw,
        .mode = set ? c->mode : PIT_UNSET, .bcd = c->bcd, .gate = c->gate };
}

static void state_out(struct kvm_models *m, struct kvm_pit_state2 *s)
{
    int64_t now = clock_ns(m->vm->clock);

    pit_off = legacy(m);
    *s = (struct kvm_pit_state2){ .flags = (pit_off ? KVM_PIT_FLAGS_HPET_LEGACY : 0) | (m->pit->speaker & 2 ? KVM_PIT_FLAGS_SPEAKER_DATA_ON : 0) };
    for (int i = 0; i < 3; i++)
        s->channels[i] = channel_out(&m->pit->ch[i], now);
}

/* A state that the kernel has given, to be given back: the counts that run down once go on. */
static int give_back(struct kvm_pit_state2 *s)
{
    for (int i = 1; i < 3; i++) {
        struct kvm_pit_channel_state *c = &s->channels[i];
        if (once(c->mode))
            c->count = left_of(c->count, ticks_of(host_ns() - c->count_load_time));
    }
    return kvm_chips_set_pit(s);
}

/* The edge that came while the kernel was a part of a period late. If the guest has given the channel other orders, they hold. */
static void make_first_edge(void *opaque)
{
    const struct kvm_pit_channel_state *was = &first_edge.was;
    struct kvm_models *m = first_edge.m;
    struct kvm_pit_state2 s;

    if (kvm_chips_of(m->vm) != KVM_CHIPS_ON || pit_off || kvm_chips_get_pit(&s) < 0 || s.channels[0].count != was->count ||
        s.channels[0].mode != was->mode)
        return;
    kvm_chips_line(0, 1);
    kvm_chips_line(0, 0);
    give_back(&s);
}

int kvm_pit_load(struct kvm_models *m)
{
    struct kvm_pit_state2 s;
    struct pit *p = m->pit;

    timer_del(&p->timer);
    if (!first_edge.m)
        timer_init(&first_edge.timer, m->vm->clock, make_first_edge, NULL);
    state_out(m, &s);
    first_edge.m = m;
    first_edge.was = s.channels[0];
    timer_set(&first_edge.timer, p->ch[0].loaded && periodic(p->ch[0].mode) && !pit_off ? p->next : CLOCK_NEVER);
    return kvm_chips_set_pit(&s);
}

bool kvm_pit_spent(const struct kvm_models *m)
{
    const struct pit_channel *c = &m->pit->ch[0];
    return c->loaded && once(c->mode) && m->pit->next == CLOCK_NEVER;
}

/* The pulse comes from a thread of the kernel: the PIC shows when it has been. */
int kvm_pit_load_spent(struct kvm_models *m)
{
    struct kvm_irqchip k = { .chip_id = KVM_IRQCHIP_PIC_MASTER, .chip.pic.imr = 0xff };
    int ret = kvm_chips_set(&k);
    int64_t until = host_ns() + 50000000;

    if (ret < 0 || (ret = kvm_pit_load(m)) < 0 || pit_off)
        return ret;
    do {
        ret = kvm_chips_get(&k, KVM_IRQCHIP_PIC_MASTER);
    } while (ret >= 0 && !(k.chip.pic.irr & 1) && host_ns() < until);
    return ret;
}

/* ---- from the kernel ---- */

static void channel_in(struct pit_channel *c, const struct kvm_pit_channel_state *s, int64_t now)
{
    c->loaded = s->mode != PIT_UNSET;
    if (c->loaded)
        c->mode = s->mode;
    c->count = s->count ? s->count : WRAP;
    c->reload = (uint16_t)s->count;
    c->latch = s->latched_count;
    c->latched = s->count_latched != 0;
    c->status_latched = s->status_latched;
    c->status = s->status;
    c->read_hi = s->read_state == RW_WORD_HIGH;
    c->write_hi = s->write_state == RW_WORD_HIGH;
    c->write_low = s->write_latch;
    c->rw = s->rw_mode ? s->rw_mode : c->rw;
    c->bcd = s->bcd;
    c->gate = s->gate;
    c->next_count = 0;
    c->null_count = 0;
    c->start = now - (host_ns() - s->count_load_time);
}

static int take(struct vcpu *v, unsigned n, uint8_t *to)
{
    int ret = 0;
    for (unsigned i = 0; i < n && ret >= 0; i++)
        ret = kvm_aside_in(v, 0x40, &to[i]);
    return ret;
}

/* Ticks since channel 0 began to count, from its counter and OUT. */
static uint64_t passed(const struct pit_channel *c, uint32_t counter, bool out)
{
    uint64_t down = (c->count - counter) & (WRAP - 1);

    if (c->mode == 3)
        return ((c->count - counter) & (WRAP - 1)) / 2 + (out ? 0 : (c->count + 1) / 2);
    if (periodic(c->mode))
        return down % c->count;
    return out && c->mode == 0 && down < c->count ? down + WRAP : down;
}

/* What the guest has latched already comes first, and is of no use here. */
static int read_latched(struct vcpu *v, const struct kvm_pit_channel_state *s)
{
    unsigned waiting = (s->status_latched ? 1 : 0) + (s->count_latched == RW_WORD_LOW ? 2 : s->count_latched ? 1 : 0);
    uint8_t b[3];
    return take(v, waiting, b);
}

static int read_phase(struct kvm_models *m, int64_t *at)
{
    struct vcpu *v = m->vm->vcpus[0];
    struct pit_channel *c = &m->pit->ch[0];
    uint8_t b[3] = { 0 };
    int ret = kvm_aside_out(v, 0x43, LATCH_ALL_OF_0);

    *at = clock_ns(m->vm->clock);
    if (ret < 0 || (ret = take(v, c->rw == 3 ? 3 : 2, b)) < 0)
        return ret;
    uint32_t counter = c->rw == RW_HIGH_BYTE ? (uint32_t)b[1] << 8 : b[1] | (c->rw == 3 ? (uint32_t)b[2] << 8 : 0);
    c->start = *at - ns_of(passed(c, counter, b[0] >> 7));
    return 0;
}

/* Time to the next edge after AT. */
static int64_t to_edge(const struct pit_channel *c, int64_t at)
{
    int64_t period = ns_of(c->count), since = at - c->start;

    if (periodic(c->mode))
        return period - since % period;
    return since < period ? period - since : CLOCK_NEVER;
}

/* The sleep at the end lets the host's timer interrupt come that the last edge may still wait for. */
static int read_phase_between_edges(struct kvm_models *m, int64_t *at)
{
    const struct pit_channel *c = &m->pit->ch[0];
    int64_t near = MIN(ns_of(c->count) / 4, (int64_t)NEAR_NS), left;
    int ret = 0;

    for (int tries = 0; tries < 5 && ret >= 0; tries++) {
        if ((ret = read_phase(m, at)) < 0 || (left = to_edge(c, *at)) > near)
            break;
        nanosleep(&(struct timespec){ .tv_nsec = left + 20000 }, NULL);
    }
    nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL);
    return ret;
}

/* The kernel's count is late as long as the first edge has not come. */
static void keep_first_edge(struct pit_channel *c, int64_t *since)
{
    int64_t edge = first_edge.timer.deadline;

    if (!first_edge.m || !timer_armed(&first_edge.timer))
        return;
    timer_del(&first_edge.timer);
    if (c->count != first_edge.was.count || c->mode != first_edge.was.mode)
        return;
    c->start = edge - ns_of(c->count);
    *since = MIN(*since, edge - 1);
}

/* Stops the kernel's timer. 1: it has made its edge just before, as the PIC shows; 0: it has not. */
static int stop(struct kvm_pit_state2 *s)
{
    struct kvm_irqchip before, after;
    int ret;

    s->flags |= KVM_PIT_FLAGS_HPET_LEGACY;
    if ((ret = kvm_chips_get(&before, KVM_IRQCHIP_PIC_MASTER)) < 0 || (ret = kvm_chips_set_pit(s)) < 0 ||
        (ret = kvm_chips_get(&after, KVM_IRQCHIP_PIC_MASTER)) < 0)
        return ret;
    return after.chip.pic.irr & ~before.chip.pic.irr & 1;
}

int kvm_pit_fetch(struct kvm_models *m, int64_t *since)
{
    struct kvm_pit_state2 s;
    int64_t now = clock_ns(m->vm->clock);
    int ret = kvm_chips_get_pit(&s);

    *since = now;
    if (ret < 0)
        return ret;
    for (int i = 0; i < 3; i++)
        channel_in(&m->pit->ch[i], &s.channels[i], now);
    m->pit->speaker = (uint8_t)((m->pit->speaker & 12) | (s.channels[2].gate ? 1 : 0) | (s.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON ? 2 : 0));
    if ((s.flags & KVM_PIT_FLAGS_HPET_LEGACY) || s.channels[0].mode == PIT_UNSET)
        return 0;
    if ((ret = read_latched(m->vm->vcpus[0], &s.channels[0])) < 0 || (ret = read_phase_between_edges(m, since)) < 0)
        return ret;
    int64_t edge = to_edge(&m->pit->ch[0], *since);
    if ((ret = stop(&s)) > 0 && edge != CLOCK_NEVER)
        *since += edge;
    keep_first_edge(&m->pit->ch[0], since);
    return MIN(ret, 0);
}

/* ---- the HPET ---- */

void kvm_pit_drop_line(struct kvm_models *m)
{
    m->pit->level = 0;
    if (m->hpet)
        m->hpet->pit_level = 0;
    if (kvm_pit_hpet_level(m, 0) || kvm_pit_hpet_level(m, 2))
        return;
    m->pic->chip[0].line &= (uint8_t)~1;
    m->ioapic->line &= ~4u;
}

int kvm_pit_hpet_level(const struct kvm_models *m, int n)
{
    for (int i = 0; m->hpet && i < HPET_TIMERS; i++) {
        const struct hpet_timer *t = &m->hpet->t[i];
        int line = legacy(m) && i < 2 ? (i ? 8 : 0) : (int)(t->config >> 9 & 31);
        if (line == n && t->level && (n || legacy(m)))
            return 1;
    }
    return 0;
}

void kvm_pit_follow_hpet(struct kvm_models *m)
{
    struct kvm_pit_state2 s;
    bool off = legacy(m);

    if (off == pit_off || kvm_chips_get_pit(&s) < 0)
        return;
    pit_off = off;
    s.flags = (s.flags & ~(uint32_t)KVM_PIT_FLAGS_HPET_LEGACY) | (off ? KVM_PIT_FLAGS_HPET_LEGACY : 0);
    give_back(&s);
}
