/*
 * Our models of the interrupt controllers, and the kernel's (vmm/kvm_chips.h): field by field both ways, and the wires that lead to either.
 *
 * ON: PIC, I/O APIC, local APICs and PIT (vmm/kvm_pit.c) are the kernel's. SPLIT: the local APICs only; the I/O APIC model sends messages, and hears
 * of EOIs through the kernel. Invariants: a model whose chip is the kernel's gets no accesses and has no timer armed; its line levels are kept here,
 * since the kernel does not tell them apart from requests. Chips change their place while the vCPU is at rest: what has happened on one side is
 * loaded by the other, and what falls due in between is the other's. Hazards: the kernel hides a local timer that has fired until a vCPU runs
 * (kvm_aside_turn), and takes a high edge line for a new edge. Locks: machine lock. Linux arch/x86/include/uapi/asm/kvm.h.
 */
#include "vmm/kvm_chips.h"
#include "core/log.h"
#include "vmm/kvm_pit.h"
#include <errno.h>
#include <string.h>
#include <time.h>

enum { MSI_LEVEL = 0xc000, ALL_PINS = (1 << IOAPIC_PINS) - 1 };

static struct kvm_models *m;
static enum kvm_chips place;                  /* where the chips are now; OFF: with us */
static int (*apic_ack)(void *opaque);
static struct { void *dev; void (*post_load)(void *dev); } own[VM_MAX_VCPUS + 2];      /* the models' own */
static unsigned n_own;

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
        pic_out(&m->pic->chip[i], &k.chip.pic, i);
        int ret = kvm_chips_set(&k);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int pic_fetch(void)
{
    struct kvm_irqchip k;

    for (unsigned i = 0; i < 2; i++) {
        int ret = kvm_chips_get(&k, i ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER);
        if (ret < 0)
            return ret;
        pic_in(&m->pic->chip[i], &k.chip.pic);
    }
    return 0;
}

/* ---- I/O APIC ---- */

enum { RED_LEVEL = 1 << 15, RED_MASKED = 1 << 16 };

/* An edge line that is high has been served already. */
static int ioapic_load(uint64_t mask)
{
    struct kvm_irqchip k = { .chip_id = KVM_IRQCHIP_IOAPIC };
    struct kvm_ioapic_state *s = &k.chip.ioapic;

    s->base_address = IOAPIC_BASE;
    s->ioregsel = m->ioapic->index;
    s->id = m->ioapic->id;
    for (int i = 0; i < IOAPIC_PINS; i++) {
        s->redirtbl[i].bits = m->ioapic->redir[i] | mask;
        if (m->ioapic->redir[i] & RED_LEVEL)
            s->irr |= m->ioapic->line & 1u << i;
    }
    return kvm_chips_set(&k);
}

static int ioapic_fetch(void)
{
    struct kvm_irqchip k;
    int ret = kvm_chips_get(&k, KVM_IRQCHIP_IOAPIC);

    if (ret < 0)
        return ret;
    m->ioapic->index = (uint8_t)k.chip.ioapic.ioregsel;
    m->ioapic->id = (uint8_t)k.chip.ioapic.id;
    for (int i = 0; i < IOAPIC_PINS; i++)
        m->ioapic->redir[i] = k.chip.ioapic.redirtbl[i].bits;
    return 0;
}

/* SPLIT: which messages' ends the kernel must tell us of, also of those sent before it had the local APIC. */
static void watch_pins(void)
{
    for (int i = 0; i < IOAPIC_PINS; i++) {
        uint64_t e = m->ioapic->redir[i];
        if ((e & RED_LEVEL) && !(e & RED_MASKED))
            kvm_chips_watch_eoi(LAPIC_BASE | (e >> 56) << 12 | (e >> 9 & 4), (uint32_t)(e & 0x7ff & ~0x800u) | MSI_LEVEL);
    }
}

/* ---- local APICs ---- */

/* Registers of 32 bits by their offset in the page, and the field of the model. */
static const struct { uint16_t reg, field; } apic_regs[] = {
#define REG(reg, field) { reg, offsetof(struct lapic, field) }
    REG(0x80, tpr), REG(0xd0, ldr), REG(0xe0, dfr), REG(0xf0, svr), REG(0x280, esr), REG(0x300, icr_lo), REG(0x310, icr_hi),
    REG(0x380, initial_count), REG(0x3e0, divide), REG(0x2f0, lvt[LVT_CMCI]), REG(0x320, lvt[LVT_TIMER]), REG(0x330, lvt[LVT_THERMAL]),
    REG(0x340, lvt[LVT_PERF]),
    REG(0x350, lvt[LVT_LINT0]), REG(0x360, lvt[LVT_LINT1]), REG(0x370, lvt[LVT_ERROR]),
#define REG8(reg, field) REG(reg, field[0]), REG(reg + 0x10, field[1]), REG(reg + 0x20, field[2]), REG(reg + 0x30, field[3]), \
    REG(reg + 0x40, field[4]), REG(reg + 0x50, field[5]), REG(reg + 0x60, field[6]), REG(reg + 0x70, field[7])
    REG8(0x100, isr), REG8(0x180, tmr), REG8(0x200, irr),
#undef REG8
#undef REG
};
enum { REG_ID = 0x20, REG_TIMER = 0x320, REG_INITIAL = 0x380, REG_CURRENT = 0x390, REG_DIVIDE = 0x3e0 };

static int divider_shift(const struct lapic *l) { return (int)(((l->divide & 3) | (l->divide >> 1 & 4)) + 1) & 7; }
static unsigned timer_mode(const struct lapic *l) { return l->lvt[LVT_TIMER] >> 17 & 3; }
enum { ONE_SHOT, PERIODIC };

static void apic_out(const struct lapic *l, struct kvm_lapic_state *s)
{
    uint32_t id = l->id << 24, current = lapic_current_count(l);
    bool spent = l->timer_fired && timer_mode(l) == ONE_SHOT;          /* with an initial count it would fire again */

    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < ARRAY_SIZE(apic_regs); i++)
        memcpy(s->regs + apic_regs[i].reg, (const char *)l + apic_regs[i].field, 4);
    memcpy(s->regs + REG_ID, &id, 4);
    current = MAX(current, 1u);                                         /* 0 means a whole period */
    memcpy(s->regs + REG_CURRENT, &current, 4);
    if (spent)
        memset(s->regs + REG_INITIAL, 0, 4);
}

static void apic_in(struct lapic *l, const struct kvm_lapic_state *s, int64_t now)
{
    uint32_t current, spent = l->timer_fired ? l->initial_count : 0;

    for (unsigned i = 0; i < ARRAY_SIZE(apic_regs); i++)
        memcpy((char *)l + apic_regs[i].field, s->regs + apic_regs[i].reg, 4);
    memcpy(&l->id, s->regs + REG_ID, 4);
    l->id >>= 24;
    memcpy(&current, s->regs + REG_CURRENT, 4);
    if (!l->initial_count && timer_mode(l) == ONE_SHOT)
        l->initial_count = spent;
    l->timer_start = now - ((int64_t)(l->initial_count - current) << divider_shift(l));
    l->timer_fired = l->initial_count && !current && timer_mode(l) == ONE_SHOT;
}

static int lapic_load_one(struct lapic *l)
{
    struct kvm_lapic_state s;

    apic_out(l, &s);
    l->extint = 0;                                                      /* the PIC still asks */
    return kvm_chips_set_lapic(l->vcpu, &s, l->base, l->tsc_deadline);
}

static int64_t host_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * (int64_t)NS_PER_SEC + ts.tv_nsec;
}

static uint32_t reg(const struct kvm_lapic_state *s, unsigned at)
{
    uint32_t v;
    memcpy(&v, s->regs + at, 4);
    return v;
}

/* Two looks with a turn in between: if no timer has run down from the first to the second, the second has every interrupt of before. One that has run
   down by the clock may still wait for the host's timer interrupt, which comes before that of a sleep. */
static int lapic_fetch_one(struct lapic *l)
{
    struct kvm_lapic_state s;
    int ret = 0;

    for (int tries = 0; tries < 50 && ret >= 0; tries++) {
        int64_t first = host_ns();
        if ((ret = kvm_chips_get_lapic(l->vcpu, &s, &l->base, &l->tsc_deadline)) < 0)
            break;
        uint32_t left = reg(&s, REG_CURRENT), initial = reg(&s, REG_INITIAL);
        if (initial && !left)
            nanosleep(&(struct timespec){ .tv_nsec = 1 }, NULL);
        if ((ret = kvm_aside_turn(l->vcpu)) < 0 || (ret = kvm_chips_get_lapic(l->vcpu, &s, &l->base, &l->tsc_deadline)) < 0)
            break;
        uint32_t mode = reg(&s, REG_TIMER) >> 17 & 3;
        memcpy(&l->divide, s.regs + REG_DIVIDE, 4);
        if (!initial || mode > PERIODIC || (mode == ONE_SHOT && !left == !reg(&s, REG_CURRENT)) ||
            (mode == PERIODIC && host_ns() - first < (int64_t)left << divider_shift(l)))
            break;
    }
    if (ret >= 0)
        apic_in(l, &s, clock_ns(m->vm->clock));
    return ret;
}

/* The kernel's timers need not run on. */
static void lapic_still(struct lapic *l)
{
    struct kvm_lapic_state s;

    apic_out(l, &s);
    memset(s.regs + REG_INITIAL, 0, 4);
    kvm_chips_set_lapic(l->vcpu, &s, l->base, 0);
}

/* ---- wires: to the kernel or to our models, wherever the chips are ---- */

static void kernel_line(struct kvm_models *at, int n, int level)
{
    uint32_t pin = 1u << (n ? n : 2);

    if (n < 16 && n != 2) {
        struct pic_chip *c = &at->pic->chip[n >> 3];
        c->line = (uint8_t)(level ? c->line | 1u << (n & 7) : c->line & ~(1u << (n & 7)));
    }
    at->ioapic->line = level ? at->ioapic->line | pin : at->ioapic->line & ~pin;
    if (n == 0)
        kvm_pit_follow_hpet(at);
    kvm_chips_line(n, level);
}

static void gsi_set(void *opaque, int n, int level)
{
    struct kvm_models *at = opaque;

    if (place == KVM_CHIPS_ON) {
        kernel_line(at, n, level);
        return;
    }
    if (n < 16)
        irq_set(pic_irq(at->pic, n), level);
    irq_set(ioapic_irq(at->ioapic, n ? n : 2), level);
}

struct irq kvm_models_gsi(struct kvm_models *at, int n) { return (struct irq){ gsi_set, at, n }; }

/* SPLIT: the kernel's local APIC does not know LINT0's level; we inject what the PIC has. */
static void intr_set(void *opaque, int n, int level)
{
    struct kvm_models *at = opaque;

    if (place == KVM_CHIPS_OFF)
        irq_set(apic_bus_pic_irq(at->apics), level);
    else
        at->apics->pic_level = level;
    if (place == KVM_CHIPS_SPLIT)
        vcpu_set_intr(at->vm->vcpus[0], level);
}

struct irq kvm_models_intr(struct kvm_models *at) { return (struct irq){ intr_set, at, 0 }; }

static int split_ack(void *opaque)
{
    machine_lock();
    int vector = pic_ack(m->pic);
    machine_unlock();
    return vector;
}

void kvm_models_msi(void *opaque, uint64_t addr, uint32_t data)
{
    struct kvm_models *at = opaque;

    if (place == KVM_CHIPS_OFF)
        apic_msi(at->apics, addr, data);
    else
        kvm_chips_msi(addr, data);
}

void kvm_models_deliver(void *opaque, uint32_t dest, int dest_mode, int delivery_mode, uint8_t vector, int trigger)
{
    struct kvm_models *at = opaque;
    uint64_t addr = LAPIC_BASE | (dest & 0xff) << 12 | (uint32_t)dest_mode << 2;
    uint32_t data = vector | (uint32_t)delivery_mode << 8 | (trigger ? MSI_LEVEL : 0);

    if (place == KVM_CHIPS_OFF) {
        apic_deliver(at->apics, dest, dest_mode, delivery_mode, vector, trigger);
        return;
    }
    if (trigger)
        kvm_chips_watch_eoi(addr, data);
    kvm_chips_msi(addr, data);
}

static void set_place(enum kvm_chips p)
{
    struct vcpu *v = m->vm->vcpus[0];

    place = p;
    v->intc.ack = p == KVM_CHIPS_SPLIT ? split_ack : apic_ack;
    if (p != KVM_CHIPS_OFF)
        vcpu_set_intr(v, p == KVM_CHIPS_SPLIT && m->apics->pic_level);
}

/* ---- all of them ---- */

/* The lines as the kernel was last told are those of the last time it had the chips. What this makes its chips do, the states loaded next undo. */
static int lines_load(void)
{
    int ret = ioapic_load(RED_MASKED);

    kvm_pit_drop_line(m);
    for (int n = 0; n < IOAPIC_PINS && ret >= 0; n++)
        ret = kvm_chips_line(n, n == 0 || n == 2 ? kvm_pit_hpet_level(m, n) : (int)(m->ioapic->line >> n & 1));
    return ret;
}

static int lapics_load(void)
{
    int ret = 0;

    for (int i = 0; i < m->apics->n && ret >= 0; i++) {
        timer_del(&m->apics->apics[i]->timer);
        ret = lapic_load_one(m->apics->apics[i]);
    }
    return ret;
}

int kvm_models_load(void)
{
    bool on = place == KVM_CHIPS_ON, spent;
    int ret;

    if (place == KVM_CHIPS_OFF)
        return 0;
    if (!on)
        watch_pins();
    spent = on && kvm_pit_spent(m);
    if (on && ((ret = lines_load()) < 0 || (spent && (ret = kvm_pit_load_spent(m)) < 0) || (ret = pic_load()) < 0 || (ret = ioapic_load(0)) < 0))
        return ret;
    if ((ret = lapics_load()) < 0 || !on || spent)
        return ret;
    return kvm_pit_load(m);
}

/* Does the kernel give what will be asked of it? Afterwards there is no way back. */
static int try_all(bool on)
{
    struct kvm_lapic_state s;
    struct kvm_pit_state2 p;
    struct kvm_irqchip k;
    uint64_t base, deadline;
    int ret = kvm_chips_get_lapic(m->vm->vcpus[0], &s, &base, &deadline);

    for (unsigned chip = KVM_IRQCHIP_PIC_MASTER; on && chip <= KVM_IRQCHIP_IOAPIC && ret >= 0; chip++)
        ret = kvm_chips_get(&k, chip);
    return ret < 0 || !on ? ret : kvm_chips_get_pit(&p);
}

/* Leaves the kernel's PIT standing still. An interrupt that the kernel still carries would be lost. */
static int fetch(bool pit, int64_t *since)
{
    struct vcpu *v = m->vm->vcpus[0];

    kvm_notifiers_drop();
    int ret = kvm_aside_begin(v);

    if (ret >= 0 && pit)
        ret = kvm_pit_fetch(m, since);
    bool still = ret >= 0 && pit;
    for (int i = 0; i < m->apics->n && ret >= 0; i++)
        ret = lapic_fetch_one(m->apics->apics[i]);
    if (ret < 0 && still)
        kvm_pit_load(m);
    int end = kvm_aside_end(v);
    return ret < 0 ? ret : end;
}

static void own_post_load(void *dev)
{
    for (unsigned i = 0; i < n_own; i++) {
        if (own[i].dev == dev)
            own[i].post_load(dev);
    }
}

/* The models go on. An interrupt line that is high is looked at again. */
static void resume(bool pit, int64_t since)
{
    set_place(KVM_CHIPS_OFF);
    own_post_load(m->pic);
    for (int i = 0; i < m->apics->n; i++)
        lapic_resume(m->apics->apics[i], m->apics->apics[i]->timer_start);
    for (int n = 0; n < IOAPIC_PINS; n++) {
        if (m->ioapic->line >> n & 1)
            irq_set(ioapic_irq(m->ioapic, n), 1);
    }
    if (pit)
        pit_resume(m->pit, since);
}

int kvm_models_leave(void)
{
    bool on = place == KVM_CHIPS_ON;
    int64_t since = clock_ns(m->vm->clock);
    int ret = place == KVM_CHIPS_OFF ? 0 : try_all(on);

    if (place == KVM_CHIPS_OFF || ret < 0 || (ret = fetch(on, &since)) < 0 || (on && ((ret = pic_fetch()) < 0 || (ret = ioapic_fetch()) < 0)))
        return ret;
    for (int i = 0; i < m->apics->n; i++)
        lapic_still(m->apics->apics[i]);
    resume(on, since);
    return 0;
}

int kvm_models_take(void)
{
    enum kvm_chips to = m ? kvm_chips_place() : KVM_CHIPS_OFF;
    int64_t now;
    int ret;

    if (to == KVM_CHIPS_OFF)
        return 0;
    for (int i = 0; i < m->apics->n; i++)
        lapic_pause(m->apics->apics[i]);
    if (to == KVM_CHIPS_ON)
        pit_pause(m->pit);
    now = clock_ns(m->vm->clock);
    set_place(to);
    if ((ret = kvm_models_load()) < 0)
        resume(to == KVM_CHIPS_ON, now);
    return ret;
}

void kvm_models_go(void)
{
    for (int i = 0; place != KVM_CHIPS_OFF && i < m->apics->n; i++) {
        if (m->apics->apics[i]->tsc_deadline)
            kvm_chips_set_deadline(m->apics->apics[i]->vcpu, m->apics->apics[i]->tsc_deadline);
    }
}

/* ---- saving and loading while the kernel has them ---- */

static void lapic_pre_save(void *dev)
{
    if (place != KVM_CHIPS_OFF)
        fetch(false, NULL);
}

static void pic_pre_save(void *dev)
{
    if (place == KVM_CHIPS_ON)
        pic_fetch();
}

static void ioapic_pre_save(void *dev)
{
    if (place == KVM_CHIPS_ON)
        ioapic_fetch();
}

static void pit_pre_save(void *dev)
{
    int64_t since;

    if (place == KVM_CHIPS_ON && fetch(true, &since) >= 0)
        kvm_pit_load(m);
}

static void post_load(void *dev)
{
    bool lapic = dev != m->pic && dev != m->ioapic && dev != m->pit;

    if (place != KVM_CHIPS_OFF)
        kvm_models_load();
    if (place == KVM_CHIPS_OFF || (place == KVM_CHIPS_SPLIT && !lapic))
        own_post_load(dev);
}

static void connect(void *dev, void (*pre_save)(void *dev))
{
    struct device *d = dev;

    if (d->post_load) {
        own[n_own].dev = dev;
        own[n_own++].post_load = d->post_load;
    }
    d->pre_save = pre_save;
    d->post_load = post_load;
}

void kvm_models_connect(struct kvm_models *models)
{
    m = models;
    n_own = 0;
    apic_ack = m->vm->vcpus[0]->intc.ack;
    for (int i = 0; i < m->apics->n; i++)
        connect(m->apics->apics[i], lapic_pre_save);
    connect(m->pic, pic_pre_save);
    connect(m->ioapic, ioapic_pre_save);
    connect(m->pit, pit_pre_save);
    kvm_chips_on_eoi(ioapic_eoi, m->ioapic);
    set_place(kvm_chips_of(m->vm));
}
