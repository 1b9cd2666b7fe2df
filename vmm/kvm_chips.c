/*
 * Our models of the interrupt controllers and the PIT, and the kernel's (vmm/kvm_chips.h): field by field both ways.
 *
 * ON: PIC, I/O APIC, local APICs and PIT are the kernel's. SPLIT: the local APICs only; the I/O APIC model sends messages, and hears of EOIs through
 * the kernel. Invariants: a model whose chip is the kernel's gets no accesses and has no timer armed; its line levels are kept here, since
 * the kernel does not tell them apart from requests. Locks: machine lock. Linux arch/x86/include/uapi/asm/kvm.h.
 */
#include "vmm/kvm_chips.h"
#include "core/log.h"
#include <errno.h>
#include <string.h>
#include <time.h>

enum { HPET_LEGACY = 2, MSI_LEVEL = 0xc000, PIT_UNSET = 0xff, RW_LOW_BYTE = 1, RW_HIGH_BYTE, RW_WORD_LOW, RW_WORD_HIGH };

static struct kvm_models m;
static bool pit_off;                          /* the HPET has taken the PIT's place */

enum kvm_chips kvm_chips_of(const struct vm *vm) { return vm->engine == &kvm_engine ? kvm_chips_place() : KVM_CHIPS_OFF; }

/* ---- PIC ---- */

static void pic_out(const struct pic_chip *c, struct kvm_pic_state *s, bool slave)
{
    *s = (struct kvm_pic_state){ .last_irr = c->line, .irr = c->irr, .imr = c->imr, .isr = c->isr, .priority_add = c->prio, .irq_base = c->base,
        .read_reg_select = c->read_isr, .poll = c->poll, .special_mask = c->smm, .init_state = c->init_step ? c->init_step - 1 : 0,
        .auto_eoi = c->icw4 >> 1 & 1, .rotate_on_auto_eoi = c->rotate_aeoi, .special_fully_nested_mode = c->icw4 >> 4 & 1, .init4 = c->icw1 & 1,
        .elcr = c->elcr, .elcr_mask = slave ? 0xde : 0xf8 };
}

static void pic_in(struct pic_chip *c, const struct kvm_pic_state *s)
{
    c->irr = s->irr;
    c->imr = s->imr;
    c->isr = s->isr;
    c->prio = s->priority_add;
    c->base = s->irq_base;
    c->read_isr = s->read_reg_select;
    c->poll = s->poll;
    c->smm = s->special_mask;
    c->init_step = s->init_state ? s->init_state + 1 : 0;
    c->icw4 = (uint8_t)((c->icw4 & ~0x12) | s->auto_eoi << 1 | s->special_fully_nested_mode << 4);
    c->icw1 = (uint8_t)((c->icw1 & ~1) | s->init4);
    c->rotate_aeoi = s->rotate_on_auto_eoi;
    c->elcr = s->elcr;
}

static int pic_load(void)
{
    for (unsigned i = 0; i < 2; i++) {
        struct kvm_irqchip k = { .chip_id = i ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER };
        pic_out(&m.pic->chip[i], &k.chip.pic, i);
        int ret = kvm_chips_set(&k);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static void pic_pre_save(void *dev)
{
    struct kvm_irqchip k;

    for (unsigned i = 0; i < 2; i++) {
        if (kvm_chips_get(&k, i ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER) >= 0)
            pic_in(&m.pic->chip[i], &k.chip.pic);
    }
}

/* ---- I/O APIC ---- */

static int ioapic_load(void)
{
    struct kvm_irqchip k = { .chip_id = KVM_IRQCHIP_IOAPIC };
    struct kvm_ioapic_state *s = &k.chip.ioapic;

    s->base_address = IOAPIC_BASE;
    s->ioregsel = m.ioapic->index;
    s->id = m.ioapic->id;
    s->irr = m.ioapic->line;
    for (int i = 0; i < IOAPIC_PINS; i++)
        s->redirtbl[i].bits = m.ioapic->redir[i];
    return kvm_chips_set(&k);
}

static void ioapic_pre_save(void *dev)
{
    struct kvm_irqchip k;

    if (kvm_chips_get(&k, KVM_IRQCHIP_IOAPIC) < 0)
        return;
    m.ioapic->index = (uint8_t)k.chip.ioapic.ioregsel;
    m.ioapic->id = (uint8_t)k.chip.ioapic.id;
    for (int i = 0; i < IOAPIC_PINS; i++)
        m.ioapic->redir[i] = k.chip.ioapic.redirtbl[i].bits;
}

/* ---- local APICs ---- */

/* Registers of 32 bits by their offset in the page, and the field of the model. */
static const struct { uint16_t reg, field; } apic_regs[] = {
#define REG(reg, field) { reg, offsetof(struct lapic, field) }
    REG(0x80, tpr), REG(0xd0, ldr), REG(0xe0, dfr), REG(0xf0, svr), REG(0x280, esr), REG(0x300, icr_lo), REG(0x310, icr_hi),
    REG(0x380, initial_count), REG(0x3e0, divide), REG(0x2f0, lvt[LVT_CMCI]), REG(0x320, lvt[LVT_TIMER]), REG(0x330, lvt[LVT_THERMAL]), REG(0x340, lvt[LVT_PERF]),
    REG(0x350, lvt[LVT_LINT0]), REG(0x360, lvt[LVT_LINT1]), REG(0x370, lvt[LVT_ERROR]),
#define REG8(reg, field) REG(reg, field[0]), REG(reg + 0x10, field[1]), REG(reg + 0x20, field[2]), REG(reg + 0x30, field[3]), \
    REG(reg + 0x40, field[4]), REG(reg + 0x50, field[5]), REG(reg + 0x60, field[6]), REG(reg + 0x70, field[7])
    REG8(0x100, isr), REG8(0x180, tmr), REG8(0x200, irr),
#undef REG8
#undef REG
};
enum { REG_ID = 0x20, REG_CURRENT = 0x390 };

static int divider_shift(const struct lapic *l) { return (int)(((l->divide & 3) | (l->divide >> 1 & 4)) + 1) & 7; }
static bool periodic(const struct lapic *l) { return (l->lvt[LVT_TIMER] >> 17 & 3) == 1; }

static uint32_t current_count(const struct lapic *l, int64_t now)
{
    int64_t period = (int64_t)l->initial_count << divider_shift(l), elapsed = now - l->timer_start;

    if (!period || l->timer_fired || l->lvt[LVT_TIMER] >> 18 & 1)
        return 0;
    if (periodic(l))
        elapsed %= period;
    return elapsed >= period ? 0 : (uint32_t)((period - elapsed) >> divider_shift(l));
}

static int lapic_load_one(struct lapic *l)
{
    struct kvm_lapic_state s = { 0 };
    uint32_t id = l->id << 24, current = current_count(l, clock_ns(m.vm->clock));
    int ret = kvm_push(l->vcpu);

    for (unsigned i = 0; i < ARRAY_SIZE(apic_regs); i++)
        memcpy(s.regs + apic_regs[i].reg, (char *)l + apic_regs[i].field, 4);
    memcpy(s.regs + REG_ID, &id, 4);
    memcpy(s.regs + REG_CURRENT, &current, 4);
    return ret < 0 ? ret : kvm_chips_set_lapic(l->vcpu, &s, l->tsc_deadline);
}

static void lapic_pre_save(void *dev)
{
    struct lapic *l = dev;
    struct kvm_lapic_state s;
    uint32_t current;

    if (kvm_chips_get_lapic(l->vcpu, &s, &l->base, &l->tsc_deadline) < 0)
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(apic_regs); i++)
        memcpy((char *)l + apic_regs[i].field, s.regs + apic_regs[i].reg, 4);
    memcpy(&l->id, s.regs + REG_ID, 4);
    l->id >>= 24;
    memcpy(&current, s.regs + REG_CURRENT, 4);
    l->timer_start = clock_ns(m.vm->clock) - ((int64_t)(l->initial_count - current) << divider_shift(l));
    l->timer_fired = l->initial_count && !current && !periodic(l);
}

/* ---- PIT ---- */

static int64_t host_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * (int64_t)NS_PER_SEC + ts.tv_nsec;
}

static struct kvm_pit_channel_state channel_out(const struct pit_channel *c)
{
    bool word = c->rw == 3;
    uint8_t first = word ? RW_WORD_LOW : c->rw;
    return (struct kvm_pit_channel_state){ .count = c->count, .latched_count = c->latch, .count_latched = c->latched ? first : 0,
        .status_latched = c->status_latched, .status = c->status, .read_state = word && c->read_hi ? RW_WORD_HIGH : first,
        .write_state = word && c->write_hi ? RW_WORD_HIGH : first, .write_latch = c->write_low, .rw_mode = c->rw,
        .mode = c->loaded ? c->mode : PIT_UNSET, .bcd = c->bcd, .gate = c->gate };
}

static void channel_in(struct pit_channel *c, const struct kvm_pit_channel_state *s)
{
    c->loaded = s->mode != PIT_UNSET;
    if (c->loaded)
        c->mode = s->mode;
    c->count = s->count ? s->count : 65536;
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
    c->start = clock_ns(m.vm->clock) - (host_ns() - s->count_load_time);
}

static int pit_load(void)
{
    struct kvm_pit_state2 s = { .flags = (m.hpet->config & HPET_LEGACY ? KVM_PIT_FLAGS_HPET_LEGACY : 0) |
                                         (m.pit->speaker & 2 ? KVM_PIT_FLAGS_SPEAKER_DATA_ON : 0) };

    pit_off = m.hpet->config & HPET_LEGACY;
    for (int i = 0; i < 3; i++)
        s.channels[i] = channel_out(&m.pit->ch[i]);
    return kvm_chips_set_pit(&s);
}

static void pit_pre_save(void *dev)
{
    struct kvm_pit_state2 s;

    if (kvm_chips_get_pit(&s) < 0)
        return;
    for (int i = 0; i < 3; i++)
        channel_in(&m.pit->ch[i], &s.channels[i]);
    m.pit->speaker = (uint8_t)((m.pit->speaker & 12) | (s.channels[2].gate ? 1 : 0) | (s.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON ? 2 : 0));
}

/* ---- wires ---- */

/* The HPET drives its output 0 whenever legacy replacement comes or goes: then the kernel's PIT must stop or start to drive it. */
static void follow_hpet(void)
{
    struct kvm_pit_state2 s;
    bool off = m.hpet && (m.hpet->config & HPET_LEGACY);

    if (off == pit_off || kvm_chips_get_pit(&s) < 0)
        return;
    pit_off = off;
    s.flags = (s.flags & ~(uint32_t)KVM_PIT_FLAGS_HPET_LEGACY) | (off ? KVM_PIT_FLAGS_HPET_LEGACY : 0);
    kvm_chips_set_pit(&s);
}

static void gsi_set(void *opaque, int n, int level)
{
    uint32_t pin = 1u << (n ? n : 2);

    if (!m.vm)
        return;
    if (n < 16 && n != 2) {
        struct pic_chip *c = &m.pic->chip[n >> 3];
        c->line = (uint8_t)(level ? c->line | 1u << (n & 7) : c->line & ~(1u << (n & 7)));
    }
    m.ioapic->line = level ? m.ioapic->line | pin : m.ioapic->line & ~pin;
    if (n == 0)
        follow_hpet();
    kvm_chips_line(n, level);
}

struct irq kvm_models_gsi(int n) { return (struct irq){ gsi_set, NULL, n }; }

static void intr_set(void *opaque, int n, int level) { vcpu_set_intr(((struct vm *)opaque)->vcpus[0], level); }
struct irq kvm_models_intr(struct vm *vm) { return (struct irq){ intr_set, vm, 0 }; }

static int split_ack(void *opaque)
{
    machine_lock();
    int vector = pic_ack(m.pic);
    machine_unlock();
    return vector;
}

void kvm_models_msi(void *opaque, uint64_t addr, uint32_t data) { kvm_chips_msi(addr, data); }

void kvm_models_deliver(void *opaque, uint32_t dest, int dest_mode, int delivery_mode, uint8_t vector, int trigger)
{
    uint64_t addr = LAPIC_BASE | (dest & 0xff) << 12 | (uint32_t)dest_mode << 2;
    uint32_t data = vector | (uint32_t)delivery_mode << 8 | (trigger ? MSI_LEVEL : 0);

    if (trigger)
        kvm_chips_watch_eoi(addr, data);
    kvm_chips_msi(addr, data);
}

/* ---- all of them ---- */

static int load_lapics(void)
{
    int ret = 0;

    for (int i = 0; i < m.apics->n && ret >= 0; i++)
        ret = lapic_load_one(m.apics->apics[i]);
    return ret;
}

int kvm_models_load(void)
{
    enum kvm_chips place = m.vm ? kvm_chips_of(m.vm) : KVM_CHIPS_OFF;
    int ret = place == KVM_CHIPS_OFF ? 0 : load_lapics();

    if (ret < 0 || place != KVM_CHIPS_ON)
        return ret;
    if ((ret = pic_load()) < 0 || (ret = ioapic_load()) < 0)
        return ret;
    return pit_load();
}

static void post_load(void *dev) { kvm_models_load(); }

static void connect(struct device *d, void (*pre_save)(void *dev))
{
    d->pre_save = pre_save;
    d->post_load = post_load;
}

void kvm_models_connect(const struct kvm_models *models)
{
    enum kvm_chips place = kvm_chips_of(models->vm);

    if (place == KVM_CHIPS_OFF)
        return;
    m = *models;
    for (int i = 0; i < m.apics->n; i++)
        connect(&m.apics->apics[i]->dev, lapic_pre_save);
    if (place == KVM_CHIPS_ON) {
        connect(&m.pic->dev, pic_pre_save);
        connect(&m.ioapic->dev, ioapic_pre_save);
        connect(&m.pit->dev, pit_pre_save);
        return;
    }
    kvm_chips_on_eoi(ioapic_eoi, m.ioapic);
    for (int i = 0; i < m.vm->n_vcpus; i++)
        m.vm->vcpus[i]->intc.ack = split_ack;
}
