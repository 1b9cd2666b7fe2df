/*
 * Local APICs and their bus. See lapic.h.
 *
 * In: registers (MMIO, MSR), messages, LINT lines. Out: VCPU_INTR level and NMI/SMI/INIT/SIPI bits of vCPUs; EOIs of level vectors.
 * Invariants: VCPU_INTR is high exactly while ack would return a vector; in the software-disabled state every LVT entry is masked
 * and fixed messages are dropped; timer_next is the deadline of the one host timer.
 * The timer's bus clock is 1 GHz: one count a nanosecond before the divider.
 * Locks: machine lock for everything; the vcpu_intc functions take it. Manual: Intel SDM volume 3, chapter "APIC".
 */
#include "hw/intc/lapic.h"
#include "core/alloc.h"
#include "core/log.h"
#include <stdio.h>
#include <string.h>

enum reg {
    R_ID = 0x02, R_VERSION = 0x03, R_TPR = 0x08, R_APR = 0x09, R_PPR = 0x0a, R_EOI = 0x0b, R_LDR = 0x0d, R_DFR = 0x0e, R_SVR = 0x0f,
    R_ISR = 0x10, R_TMR = 0x18, R_IRR = 0x20, R_ESR = 0x28, R_CMCI = 0x2f, R_ICR = 0x30, R_ICR_HI = 0x31, R_LVT_TIMER = 0x32,
    R_LVT_ERROR = 0x37, R_INITIAL = 0x38, R_CURRENT = 0x39, R_DIVIDE = 0x3e, R_SELF_IPI = 0x3f,
};
enum { MODE_FIXED, MODE_LOWEST, MODE_SMI, MODE_NMI = 4, MODE_INIT, MODE_SIPI, MODE_EXTINT };
enum { ESR_SEND_ILLEGAL = 0x20, ESR_RECV_ILLEGAL = 0x40, ESR_REGISTER = 0x80 };
enum { BASE_BSP = 0x100, BASE_X2 = 0x400, BASE_ENABLE = 0x800 };
enum { LVT_MASKED = 0x10000, LVT_LEVEL = 0x8000, LVT_RIRR = 0x4000, SVR_ENABLE = 0x100 };
enum { TIMER_ONESHOT, TIMER_PERIODIC, TIMER_TSC };
enum { MSR_X2APIC = 0x800, MSR_TSC_DEADLINE = 0x6e0 };
#define VERSION_VALUE 0x00060014u
#define BASE_ADDR_MASK 0x3ffffffff000ull
#define MIN_RATE_NS 10000                 /* a guest may ask for a 2 ns period; the host loop must survive it */

static const uint32_t lvt_writable[LVT_COUNT] = { 0x107ff, 0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff };
static __thread struct lapic *current_lapic;

static void set_bit(uint32_t *map, int v) { map[v >> 5] |= 1u << (v & 31); }
static void clear_bit(uint32_t *map, int v) { map[v >> 5] &= ~(1u << (v & 31)); }
static bool test_bit(const uint32_t *map, int v) { return map[v >> 5] >> (v & 31) & 1; }

static int highest_bit(const uint32_t *map)
{
    for (int i = 7; i >= 0; i--) {
        if (map[i])
            return i * 32 + 31 - __builtin_clz(map[i]);
    }
    return -1;
}

static bool hw_enabled(const struct lapic *l) { return l->base & BASE_ENABLE; }
static bool x2_mode(const struct lapic *l) { return (l->base & (BASE_ENABLE | BASE_X2)) == (BASE_ENABLE | BASE_X2); }
static bool sw_enabled(const struct lapic *l) { return hw_enabled(l) && (l->svr & SVR_ENABLE); }

/* --- priority and the line to the vCPU --- */

static uint32_t ppr(const struct lapic *l)
{
    int isrv = highest_bit(l->isr);
    uint32_t in_service = isrv < 0 ? 0 : (uint32_t)isrv & 0xf0;
    return (l->tpr & 0xf0) >= in_service ? l->tpr : in_service;
}

/* Vector that the APIC itself would deliver now, or -1. */
static int pending_vector(const struct lapic *l)
{
    int v = sw_enabled(l) ? highest_bit(l->irr) : -1;
    return v >= 0 && ((uint32_t)v & 0xf0) > (ppr(l) & 0xf0) ? v : -1;
}

/* Is the PIC's INTR passed to this vCPU? A disabled APIC is a wire, on the boot processor; an enabled one needs LINT0 as ExtINT. */
static bool pic_pending(const struct lapic *l)
{
    if (!l->bus->pic_level)
        return false;
    if (!sw_enabled(l))
        return l->base & BASE_BSP;
    return !(l->lvt[LVT_LINT0] & LVT_MASKED) && (l->lvt[LVT_LINT0] >> 8 & 7) == MODE_EXTINT;
}

static void lapic_update(struct lapic *l)
{
    vcpu_set_intr(l->vcpu, pending_vector(l) >= 0 || l->extint || pic_pending(l));
}

static void accept(struct lapic *l, int mode, uint8_t vector, int trigger);

static void lapic_error(struct lapic *l, uint32_t bit)
{
    bool news = !(l->esr_pending & bit);
    l->esr_pending |= bit;
    /* The error interrupt itself must not report its own bad vector. */
    if (news && !(l->lvt[LVT_ERROR] & LVT_MASKED) && (l->lvt[LVT_ERROR] & 0xff) >= 16)
        accept(l, MODE_FIXED, (uint8_t)l->lvt[LVT_ERROR], 0);
}

static void accept_fixed(struct lapic *l, uint8_t vector, int trigger)
{
    if (!sw_enabled(l))
        return;
    if (vector < 16) {
        lapic_error(l, ESR_RECV_ILLEGAL);
        return;
    }
    set_bit(l->irr, vector);
    if (trigger)
        set_bit(l->tmr, vector);
    else
        clear_bit(l->tmr, vector);
    lapic_update(l);
}

static void accept(struct lapic *l, int mode, uint8_t vector, int trigger)
{
    switch (mode) {
    case MODE_FIXED:
    case MODE_LOWEST:
        accept_fixed(l, vector, trigger);
        break;
    case MODE_SMI:
        vcpu_set_pending(l->vcpu, VCPU_SMI);
        break;
    case MODE_NMI:
        vcpu_set_pending(l->vcpu, VCPU_NMI);
        break;
    case MODE_INIT:
        lapic_init_reset(l);
        vcpu_set_pending(l->vcpu, VCPU_INIT);
        break;
    case MODE_SIPI:
        __atomic_store_n(&l->vcpu->sipi_vector, vector, __ATOMIC_SEQ_CST);
        vcpu_set_pending(l->vcpu, VCPU_SIPI);
        break;
    case MODE_EXTINT:
        l->extint = 1;
        lapic_update(l);
        break;
    }
}

/* --- the bus --- */

static uint32_t x2_ldr(const struct lapic *l)
{
    return (uint32_t)(l->vcpu->id >> 4) << 16 | 1u << (l->vcpu->id & 15);
}

static bool logical_match(const struct lapic *l, uint32_t dest)
{
    if (x2_mode(l)) {
        uint32_t ldr = x2_ldr(l);
        return dest == ~0u || (dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff));
    }
    uint32_t ldr = l->ldr >> 24;
    if (l->dfr >> 28 == 0xf)
        return dest & ldr & 0xff;
    return ((dest >> 4 & 15) == ldr >> 4 || (dest >> 4 & 15) == 15) && (dest & ldr & 15);
}

/* I/O APIC and MSI destinations have 8 bits; more than 255 APICs do not exist, so 0xff is a broadcast in every mode. */
static bool match(const struct lapic *l, uint32_t dest, int dest_mode)
{
    if (dest_mode)
        return logical_match(l, dest);
    return dest == 0xff || dest == ~0u || dest == (x2_mode(l) ? (uint32_t)l->vcpu->id : l->id);
}

/* The matching APIC with the lowest processor priority; equals take turns. */
static struct lapic *arbitrate(struct apic_bus *b, uint32_t dest, int dest_mode)
{
    struct lapic *best = NULL;
    int best_i = 0;
    for (int i = 0; i < b->n; i++) {
        int at = (b->arb + i) % b->n;
        struct lapic *l = b->apics[at];
        if (sw_enabled(l) && match(l, dest, dest_mode) && (!best || (ppr(l) >> 4) < (ppr(best) >> 4))) {
            best = l;
            best_i = at;
        }
    }
    if (best)
        b->arb = (best_i + 1) % b->n;
    return best;
}

void apic_deliver(void *opaque, uint32_t dest, int dest_mode, int mode, uint8_t vector, int trigger)
{
    struct apic_bus *b = opaque;
    if (mode == MODE_LOWEST) {
        struct lapic *l = arbitrate(b, dest, dest_mode);
        if (l)
            accept(l, mode, vector, trigger);
        return;
    }
    for (int i = 0; i < b->n; i++) {
        if (match(b->apics[i], dest, dest_mode))
            accept(b->apics[i], mode, vector, trigger);
    }
}

void apic_msi(struct apic_bus *b, uint64_t addr, uint32_t data)
{
    if ((addr & ~0xfffffull) != LAPIC_BASE) {
        log_guest("msi: address %#llx is not an APIC", (unsigned long long)addr);
        return;
    }
    if ((data & 0x8000) && !(data & 0x4000))
        return;                               /* deassertion of a level message */
    apic_deliver(b, (uint32_t)addr >> 12 & 0xff, addr >> 2 & 1, data >> 8 & 7, (uint8_t)data, data >> 15 & 1);
}

static void icr_send(struct lapic *l)
{
    struct apic_bus *b = l->bus;
    uint32_t lo = l->icr_lo, dest = x2_mode(l) ? l->icr_hi : l->icr_hi >> 24;
    int mode = lo >> 8 & 7, shorthand = lo >> 18 & 3;
    uint8_t vector = (uint8_t)lo;
    if (mode == MODE_INIT && (lo & 0xc000) == 0x8000)
        return;                               /* INIT level de-assert: only resets arbitration */
    if (mode == 3 || mode == MODE_EXTINT)
        return;
    if (mode <= MODE_LOWEST && vector < 16) {
        lapic_error(l, ESR_SEND_ILLEGAL);
        return;
    }
    if (!shorthand) {
        apic_deliver(b, dest, lo >> 11 & 1, mode, vector, 0);
        return;
    }
    for (int i = 0; i < b->n; i++) {
        bool self = b->apics[i] == l;
        if (shorthand == 1 ? self : shorthand == 2 || !self)
            accept(b->apics[i], mode, vector, 0);
    }
}

static void lapic_eoi(struct lapic *l)
{
    int v = highest_bit(l->isr);
    if (v < 0)
        return;
    clear_bit(l->isr, v);
    if (test_bit(l->tmr, v)) {
        if ((uint32_t)v == (l->lvt[LVT_LINT0] & 0xff))
            l->lvt[LVT_LINT0] &= ~(uint32_t)LVT_RIRR;
        if (l->bus->eoi)
            l->bus->eoi(l->bus->eoi_opaque, (uint8_t)v);
    }
    lapic_update(l);
}

/* --- LINT lines --- */

static void lint_rise(struct lapic *l, int lvt)
{
    uint32_t e = l->lvt[lvt];
    int mode = e >> 8 & 7;
    if ((e & LVT_MASKED) || !hw_enabled(l) || mode == MODE_EXTINT)
        return;
    if (mode == MODE_FIXED && lvt == LVT_LINT0 && (e & LVT_LEVEL))
        l->lvt[lvt] |= LVT_RIRR;
    accept(l, mode, (uint8_t)e, mode == MODE_FIXED && (e & LVT_LEVEL));
}

static void pic_set(void *opaque, int n, int level)
{
    struct apic_bus *b = opaque;
    b->pic_level = level;
    for (int i = 0; i < b->n; i++) {
        struct lapic *l = b->apics[i];
        bool rise = level && !l->lint0_level;
        l->lint0_level = level != 0;
        if (rise)
            lint_rise(l, LVT_LINT0);
        lapic_update(l);
    }
}

static void nmi_set(void *opaque, int n, int level)
{
    struct apic_bus *b = opaque;
    for (int i = 0; i < b->n; i++) {
        struct lapic *l = b->apics[i];
        bool rise = level && !l->lint1_level;
        l->lint1_level = level != 0;
        if (rise && !hw_enabled(l) && (l->base & BASE_BSP))
            vcpu_set_pending(l->vcpu, VCPU_NMI);
        else if (rise)
            lint_rise(l, LVT_LINT1);
    }
}

struct irq apic_bus_pic_irq(struct apic_bus *b) { return (struct irq){ pic_set, b, 0 }; }
struct irq apic_bus_nmi_irq(struct apic_bus *b) { return (struct irq){ nmi_set, b, 0 }; }

/* --- timer --- */

static int timer_mode(const struct lapic *l)
{
    return l->lvt[LVT_TIMER] >> 17 & 3;
}

static int timer_shift(const struct lapic *l)
{
    return (int)(((l->divide & 3) | (l->divide >> 1 & 4)) + 1) & 7;
}

static int64_t timer_period(const struct lapic *l)
{
    return (int64_t)l->initial_count << timer_shift(l);
}

uint32_t lapic_current_count(const struct lapic *l)
{
    int64_t period = timer_period(l), elapsed = clock_ns(l->bus->vm->clock) - l->timer_start;
    if (!period || timer_mode(l) >= TIMER_TSC || l->timer_fired)
        return 0;
    if (timer_mode(l) == TIMER_PERIODIC)
        elapsed %= period;
    return elapsed >= period ? 0 : (uint32_t)((period - elapsed) >> timer_shift(l));
}

static int64_t tsc_next(struct lapic *l, int64_t now)
{
    if (!l->tsc_deadline || !l->tsc.hz)
        return CLOCK_NEVER;
    int64_t left = (int64_t)(l->tsc_deadline - l->tsc.rdtsc(l->tsc.opaque));
    if (left <= 0)
        return now;
    return (uint64_t)left / l->tsc.hz > 3600u * 24 * 365 ? CLOCK_NEVER : now + (int64_t)muldiv64((uint64_t)left, NS_PER_SEC, l->tsc.hz) + 1;
}

/* Compute the next deadline after NOW from the registers and set the host timer. */
static void timer_arm_at(struct lapic *l, int64_t now)
{
    int64_t period = timer_period(l);
    l->timer_next = CLOCK_NEVER;
    if (timer_mode(l) == TIMER_TSC)
        l->timer_next = tsc_next(l, clock_ns(l->bus->vm->clock));
    else if (period && timer_mode(l) == TIMER_PERIODIC)
        l->timer_next = MAX(l->timer_start + ((now - l->timer_start) / period + 1) * period, period < MIN_RATE_NS ? now + MIN_RATE_NS : now);
    else if (period && timer_mode(l) == TIMER_ONESHOT && !l->timer_fired)
        l->timer_next = MAX(l->timer_start + period, now);
    if (l->timer_next == CLOCK_NEVER)
        timer_del(&l->timer);
    else
        timer_set(&l->timer, l->timer_next);
}

static void timer_arm(struct lapic *l) { timer_arm_at(l, clock_ns(l->bus->vm->clock)); }

static void timer_fire(void *opaque)
{
    struct lapic *l = opaque;
    if (timer_mode(l) == TIMER_TSC) {
        if ((int64_t)(l->tsc_deadline - l->tsc.rdtsc(l->tsc.opaque)) > 0) {     /* rounding, or the guest moved its TSC */
            timer_arm(l);
            return;
        }
        l->tsc_deadline = 0;
    } else if (timer_mode(l) == TIMER_ONESHOT) {
        l->timer_fired = 1;
    }
    timer_arm(l);
    if (!(l->lvt[LVT_TIMER] & LVT_MASKED))
        accept_fixed(l, (uint8_t)l->lvt[LVT_TIMER], 0);
}

static void tsc_deadline_write(struct lapic *l, uint64_t v)
{
    if (timer_mode(l) != TIMER_TSC)
        return;
    l->tsc_deadline = v;
    timer_arm(l);
    if (l->timer_next != CLOCK_NEVER && l->timer_next <= clock_ns(l->bus->vm->clock))
        timer_fire(l);
}

static void initial_write(struct lapic *l, uint32_t v)
{
    if (timer_mode(l) == TIMER_TSC)
        return;
    l->initial_count = v;
    l->timer_start = clock_ns(l->bus->vm->clock);
    l->timer_fired = 0;
    timer_arm(l);
}

/* --- registers --- */

static int lvt_index(unsigned reg)
{
    return reg == R_CMCI ? LVT_CMCI : (int)(reg - R_LVT_TIMER) + LVT_TIMER;
}

static void lvt_write(struct lapic *l, int n, uint32_t v)
{
    uint32_t old = l->lvt[n];
    l->lvt[n] = (v & lvt_writable[n]) | (old & LVT_RIRR);
    if (!sw_enabled(l))
        l->lvt[n] |= LVT_MASKED;
    if (n == LVT_TIMER) {
        if ((old ^ l->lvt[n]) & 0x60000) {            /* leaving or entering deadline mode disarms; mode 3 is reserved */
            if ((old >> 17 & 3) == TIMER_TSC || timer_mode(l) == TIMER_TSC) {
                l->tsc_deadline = 0;
                l->initial_count = 0;
            }
        }
        timer_arm(l);
    }
    lapic_update(l);
}

static void svr_write(struct lapic *l, uint32_t v)
{
    l->svr = v & 0x3ff;
    if (!(v & SVR_ENABLE)) {
        for (int i = 0; i < LVT_COUNT; i++)
            l->lvt[i] |= LVT_MASKED;
    }
    lapic_update(l);
}

/* Reads register REG (offset / 16); false when there is none. */
static bool reg_read(struct lapic *l, unsigned reg, uint32_t *v)
{
    bool x2 = x2_mode(l);
    *v = 0;
    if (reg >= R_ISR && reg < R_ESR) {
        *v = (reg < R_TMR ? l->isr : reg < R_IRR ? l->tmr : l->irr)[reg & 7];
        return true;
    }
    if (reg == R_CMCI || (reg >= R_LVT_TIMER && reg <= R_LVT_ERROR)) {
        *v = l->lvt[lvt_index(reg)];
        return true;
    }
    switch (reg) {
    case R_ID: *v = x2 ? (uint32_t)l->vcpu->id : l->id << 24; return true;
    case R_VERSION: *v = VERSION_VALUE; return true;
    case R_TPR: *v = l->tpr; return true;
    case R_APR: return !x2;
    case R_PPR: *v = ppr(l); return true;
    case R_EOI: return !x2;
    case R_LDR: *v = x2 ? x2_ldr(l) : l->ldr; return true;
    case R_DFR: *v = l->dfr; return !x2;
    case R_SVR: *v = l->svr; return true;
    case R_ESR: *v = l->esr; return true;
    case R_ICR: *v = l->icr_lo; return true;
    case R_ICR_HI: *v = l->icr_hi; return !x2;
    case R_INITIAL: *v = l->initial_count; return true;
    case R_CURRENT: *v = lapic_current_count(l); return true;
    case R_DIVIDE: *v = l->divide; return true;
    default: return false;
    }
}

/* Writes what both register interfaces share; false when REG is not writable. */
static bool reg_write(struct lapic *l, unsigned reg, uint32_t v)
{
    if (reg == R_CMCI || (reg >= R_LVT_TIMER && reg <= R_LVT_ERROR)) {
        lvt_write(l, lvt_index(reg), v);
        return true;
    }
    switch (reg) {
    case R_TPR: l->tpr = v & 0xff; lapic_update(l); return true;
    case R_EOI: lapic_eoi(l); return true;
    case R_SVR: svr_write(l, v); return true;
    case R_ESR: l->esr = l->esr_pending; l->esr_pending = 0; return true;
    case R_ICR: l->icr_lo = v & 0xccfff & ~0x1000u; icr_send(l); return true;
    case R_INITIAL: initial_write(l, v); return true;
    case R_DIVIDE: l->divide = v & 11; timer_arm(l); return true;
    default: return false;
    }
}

/* Registers that only the MMIO interface writes. */
static bool mmio_only_write(struct lapic *l, unsigned reg, uint32_t v)
{
    switch (reg) {
    case R_ID: l->id = v >> 24; return true;
    case R_LDR: l->ldr = v & 0xff000000u; return true;
    case R_DFR: l->dfr = v | 0x0fffffffu; return true;
    case R_ICR_HI: l->icr_hi = v & 0xff000000u; return true;
    default: return false;
    }
}

static struct lapic *mmio_target(struct apic_bus *b)
{
    struct lapic *l = current_lapic && current_lapic->bus == b ? current_lapic : b->apics[0];
    return l && hw_enabled(l) && !x2_mode(l) ? l : NULL;
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct lapic *l = mmio_target(opaque);
    uint32_t v;
    if (!l)
        return size_mask(size);
    if ((offset & 15) + size > 4)
        return 0;
    if (offset >= 0x400 || !reg_read(l, (unsigned)offset >> 4, &v)) {
        lapic_error(l, ESR_REGISTER);
        return 0;
    }
    return v >> (offset & 3) * 8 & size_mask(size);
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct lapic *l = mmio_target(opaque);
    if (!l || (offset & 15) || size != 4)
        return;
    unsigned reg = (unsigned)offset >> 4;
    if (offset >= 0x400 || (!reg_write(l, reg, (uint32_t)val) && !mmio_only_write(l, reg, (uint32_t)val)))
        lapic_error(l, ESR_REGISTER);
}

/* --- vcpu_intc --- */

static int ack_locked(struct lapic *l)
{
    int v = pending_vector(l);
    if (v >= 0) {
        clear_bit(l->irr, v);
        set_bit(l->isr, v);
    } else if (l->extint || pic_pending(l)) {
        l->extint = 0;
        v = l->bus->pic_ack ? l->bus->pic_ack(l->bus->pic_opaque) : -1;
    }
    lapic_update(l);
    return v;
}

static int intc_ack(void *opaque)
{
    machine_lock();
    int v = ack_locked(opaque);
    machine_unlock();
    return v;
}

/* The entry masks itself: software opens it when it has read the counters. */
static void intc_pmi(void *opaque)
{
    struct lapic *l = opaque;
    machine_lock();
    lint_rise(l, LVT_PERF);
    l->lvt[LVT_PERF] |= LVT_MASKED;
    machine_unlock();
}

static uint64_t intc_get_tpr(void *opaque)
{
    return ((struct lapic *)opaque)->tpr >> 4;
}

static void intc_set_tpr(void *opaque, uint64_t v)
{
    struct lapic *l = opaque;
    machine_lock();
    l->tpr = (uint32_t)(v & 15) << 4;
    lapic_update(l);
    machine_unlock();
}

static uint64_t intc_get_base(void *opaque)
{
    return ((struct lapic *)opaque)->base;
}

/* One page serves all: it is mapped while any APIC is in MMIO mode, at the address of the one that moved last. */
static void bus_map(struct apic_bus *b, gpa_t base)
{
    bool on = false;
    for (int i = 0; i < b->n; i++)
        on |= hw_enabled(b->apics[i]) && !x2_mode(b->apics[i]);
    if (b->mmio_on && (!on || b->mmio_base != base)) {
        as_remove(b->mem, &b->mmio);
        b->mmio_on = false;
    }
    if (on && !b->mmio_on) {
        as_add(b->mem, &b->mmio, base, PAGE_SIZE);
        b->mmio_on = true;
        b->mmio_base = base;
    }
}

static int set_base_locked(struct lapic *l, uint64_t v)
{
    unsigned mode = v & (BASE_ENABLE | BASE_X2), old = l->base & (BASE_ENABLE | BASE_X2);
    if (v & ~(BASE_ADDR_MASK | BASE_ENABLE | BASE_X2 | BASE_BSP))
        return -1;
    if (mode == BASE_X2 || (old == (BASE_ENABLE | BASE_X2) && mode == BASE_ENABLE) || (!old && mode == (BASE_ENABLE | BASE_X2)))
        return -1;
    if (old && !mode)
        lapic_init_reset(l);
    l->base = v;
    if (mode != old)
        l->icr_hi = 0;
    bus_map(l->bus, x2_mode(l) ? l->bus->mmio_base : v & BASE_ADDR_MASK);
    lapic_update(l);
    return 0;
}

static int intc_set_base(void *opaque, uint64_t v)
{
    machine_lock();
    int r = set_base_locked(opaque, v);
    machine_unlock();
    return r;
}

static int x2_read_locked(struct lapic *l, uint32_t msr, uint64_t *v)
{
    uint32_t v32;
    if (msr == MSR_TSC_DEADLINE) {
        *v = l->tsc_deadline;
        return l->tsc.hz ? 0 : -1;
    }
    if (!x2_mode(l) || msr < MSR_X2APIC || msr > MSR_X2APIC + 0x3f || !reg_read(l, msr - MSR_X2APIC, &v32))
        return -1;
    *v = v32;
    if (msr - MSR_X2APIC == R_ICR)
        *v |= (uint64_t)l->icr_hi << 32;
    return 0;
}

static int x2_write_locked(struct lapic *l, uint32_t msr, uint64_t v)
{
    unsigned reg = msr - MSR_X2APIC;
    if (msr == MSR_TSC_DEADLINE) {
        if (l->tsc.hz)
            tsc_deadline_write(l, v);
        return l->tsc.hz ? 0 : -1;
    }
    if (!x2_mode(l) || msr < MSR_X2APIC || reg > 0x3f || (reg != R_ICR && v >> 32))
        return -1;
    if (((reg == R_EOI || reg == R_ESR) && v) || ((reg == R_TPR || reg == R_SELF_IPI) && v >> 8))
        return -1;
    if (reg == R_SELF_IPI) {
        if (v < 16)
            lapic_error(l, ESR_SEND_ILLEGAL);
        else
            accept_fixed(l, (uint8_t)v, 0);
        return 0;
    }
    if (reg == R_ICR)
        l->icr_hi = (uint32_t)(v >> 32);
    return reg_write(l, reg, (uint32_t)v) ? 0 : -1;
}

static int intc_x2_read(void *opaque, uint32_t msr, uint64_t *v)
{
    machine_lock();
    int r = x2_read_locked(opaque, msr, v);
    machine_unlock();
    return r;
}

static int intc_x2_write(void *opaque, uint32_t msr, uint64_t v)
{
    machine_lock();
    int r = x2_write_locked(opaque, msr, v);
    machine_unlock();
    return r;
}

/* --- construction --- */

/* LINT0 of the boot processor starts as ExtINT: firmware leaves it so, and a kernel without firmware finds the PIC working. */
void lapic_init_reset(struct lapic *l)
{
    memset(l->isr, 0, sizeof(l->isr));
    memset(l->tmr, 0, sizeof(l->tmr));
    memset(l->irr, 0, sizeof(l->irr));
    for (int i = 0; i < LVT_COUNT; i++)
        l->lvt[i] = LVT_MASKED;
    if (l->base & BASE_BSP)
        l->lvt[LVT_LINT0] = MODE_EXTINT << 8;
    l->ldr = l->tpr = l->esr = l->esr_pending = l->icr_lo = l->icr_hi = l->divide = l->initial_count = 0;
    l->dfr = ~0u;
    l->svr = 0xff;
    l->tsc_deadline = 0;
    l->timer_start = 0;
    l->extint = l->timer_fired = 0;
    timer_arm(l);
    lapic_update(l);
}

static void lapic_reset(void *dev)
{
    struct lapic *l = dev;
    l->id = (uint32_t)l->vcpu->id;
    l->base = LAPIC_BASE | BASE_ENABLE | (l->vcpu->id == 0 ? BASE_BSP : 0);
    lapic_init_reset(l);
    bus_map(l->bus, LAPIC_BASE);
}

void lapic_pause(struct lapic *l)
{
    if (l->timer_next <= clock_ns(l->bus->vm->clock))
        timer_fire(l);
    timer_del(&l->timer);
}

void lapic_resume(struct lapic *l, int64_t since)
{
    if (!x2_mode(l) && hw_enabled(l))
        bus_map(l->bus, l->base & BASE_ADDR_MASK);
    else
        bus_map(l->bus, l->bus->mmio_base);
    timer_arm_at(l, since);
    lapic_update(l);
}

static void lapic_post_load(void *dev) { lapic_resume(dev, clock_ns(((struct lapic *)dev)->bus->vm->clock)); }

static const struct state_row lapic_rows[] = {
    S_SKIP(struct lapic, dev), S_SKIP(struct lapic, bus), S_SKIP(struct lapic, vcpu), S_SKIP(struct lapic, tsc), S_SKIP(struct lapic, timer),
    S_SKIP(struct lapic, name), S_SAVE(struct lapic, base), S_SAVE(struct lapic, isr), S_SAVE(struct lapic, tmr), S_SAVE(struct lapic, irr),
    S_SAVE(struct lapic, lvt), S_SAVE(struct lapic, id), S_SAVE(struct lapic, ldr), S_SAVE(struct lapic, dfr), S_SAVE(struct lapic, svr),
    S_SAVE(struct lapic, tpr), S_SAVE(struct lapic, esr), S_SAVE(struct lapic, esr_pending), S_SAVE(struct lapic, icr_lo),
    S_SAVE(struct lapic, icr_hi), S_SAVE(struct lapic, divide), S_SAVE(struct lapic, initial_count), S_SAVE(struct lapic, timer_start),
    S_SAVE(struct lapic, timer_next), S_SAVE(struct lapic, tsc_deadline), S_SAVE(struct lapic, lint0_level), S_SAVE(struct lapic, lint1_level),
    S_SAVE(struct lapic, extint), S_SAVE(struct lapic, timer_fired), S_END
};

struct apic_bus *apic_bus_new(struct vm *vm, struct aspace *mem)
{
    struct apic_bus *b = xzalloc(sizeof(*b));
    b->vm = vm;
    b->mem = mem;
    b->mmio_base = LAPIC_BASE;
    b->mmio = (struct region){ .kind = REGION_IO, .name = "lapic", .read = mmio_read, .write = mmio_write, .opaque = b };
    return b;
}

void apic_bus_connect_eoi(struct apic_bus *b, void (*eoi)(void *opaque, uint8_t vector), void *opaque)
{
    b->eoi = eoi;
    b->eoi_opaque = opaque;
}

void apic_bus_connect_pic(struct apic_bus *b, int (*ack)(void *opaque), void *opaque)
{
    b->pic_ack = ack;
    b->pic_opaque = opaque;
}

void lapic_set_current(struct lapic *l)
{
    current_lapic = l;
}

struct lapic *lapic_new(struct vm *vm, struct apic_bus *b, struct vcpu *vcpu, const struct lapic_tsc *tsc)
{
    struct lapic *l = xzalloc(sizeof(*l));
    l->bus = b;
    l->vcpu = vcpu;
    if (tsc)
        l->tsc = *tsc;
    snprintf(l->name, sizeof(l->name), "lapic%d", vcpu->id);
    timer_init(&l->timer, vm->clock, timer_fire, l);
    b->apics[b->n++] = l;
    vcpu->intc = (struct vcpu_intc){ intc_ack, intc_get_tpr, intc_set_tpr, intc_get_base, intc_set_base, intc_x2_read, intc_x2_write, intc_pmi, l };
    device_add(vm, &l->dev, l->name, lapic_rows, sizeof(*l), lapic_reset);
    l->dev.post_load = lapic_post_load;
    lapic_reset(l);
    return l;
}
