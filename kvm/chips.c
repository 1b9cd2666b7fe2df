/*
 * The kernel's interrupt controllers: creation, routing, lines and messages in, state both ways as raw structs.
 *
 * Invariant of the routing table: ON, global interrupt n is input n of the PIC (n < 16) and pin n of the I/O APIC, 0 being pin 2; SPLIT, entry i
 * is a level-triggered message that our I/O APIC model has sent, which is how the kernel knows whose EOIs to report. Behind the pins are messages of
 * devices (kvm/notifier.c), in both. Locks: machine lock.
 * Linux api.rst: KVM_CREATE_IRQCHIP, KVM_CAP_SPLIT_IRQCHIP, KVM_SET_GSI_ROUTING.
 */
#include "core/log.h"
#include "core/vm.h"
#include "kvm/internal.h"
#include <errno.h>
#include <string.h>

#define PINS 24

#define MAX_PIN_ROUTES (PINS + 16)

struct routes { struct kvm_irq_routing head; struct kvm_irq_routing_entry e[MAX_PIN_ROUTES + KVM_MESSAGES]; };

static struct routes routes;                  /* those of the pins, and what set_routes appends */
static struct kvm_irq_routing_entry messages[KVM_MESSAGES];           /* type 0: not in use */
static unsigned next_watch;
static uint32_t levels;                       /* of the lines, as last told to the kernel */
static void (*end_of_interrupt)(void *opaque, uint8_t vector);
static void *end_opaque;

static void route_pin(unsigned gsi, unsigned chip, unsigned pin)
{
    routes.e[routes.head.nr++] = (struct kvm_irq_routing_entry){ .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { chip, pin } };
}

/* The kernel takes the whole table each time. */
static int set_routes(void)
{
    unsigned pins = routes.head.nr;

    for (unsigned i = 0; i < KVM_MESSAGES; i++) {
        if (messages[i].type)
            routes.e[routes.head.nr++] = messages[i];
    }
    int ret = kvm_try(kvm_host.vm_fd, KVM_SET_GSI_ROUTING, (unsigned long)&routes);
    routes.head.nr = pins;
    return ret;
}

static int set_pin_routes(void)
{
    int ret = set_routes();
    if (ret < 0)
        log_error("-accel kvm: KVM_SET_GSI_ROUTING: %s", strerror(-ret));
    return ret;
}

static int create_inside(void)
{
    struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
    int ret = kvm_do(kvm_host.vm_fd, "KVM_CREATE_IRQCHIP", KVM_CREATE_IRQCHIP, NULL);

    if (ret < 0 || (ret = kvm_do(kvm_host.vm_fd, "KVM_CREATE_PIT2", KVM_CREATE_PIT2, &pit)) < 0)
        return ret;
    for (unsigned i = 0; i < PINS; i++) {
        if (i < 16 && i != 2)
            route_pin(i, i < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, i & 7);
        route_pin(i, KVM_IRQCHIP_IOAPIC, i ? i : 2);
    }
    return set_pin_routes();
}

int kvm_chips_init(void)
{
    struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { PINS } };

    if (kvm_host.irqchip == KVM_CHIPS_ON)
        return create_inside();
    return kvm_host.irqchip == KVM_CHIPS_SPLIT ? kvm_do(kvm_host.vm_fd, "KVM_CAP_SPLIT_IRQCHIP", KVM_ENABLE_CAP, &split) : 0;
}

int kvm_chips_line(int gsi, int level)
{
    struct kvm_irq_level line = { .irq = (uint32_t)gsi, .level = level != 0 };

    if (!(levels >> gsi & 1) == !level)
        return 0;
    levels ^= 1u << gsi;
    return kvm_do(kvm_host.vm_fd, "KVM_IRQ_LINE", KVM_IRQ_LINE, &line);
}

int kvm_chips_msi(uint64_t addr, uint32_t data)
{
    struct kvm_msi msi = { .address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data };
    return kvm_do(kvm_host.vm_fd, "KVM_SIGNAL_MSI", KVM_SIGNAL_MSI, &msi);
}

int kvm_chips_watch_eoi(uint64_t addr, uint32_t data)
{
    struct kvm_irq_routing_entry e = { .type = KVM_IRQ_ROUTING_MSI, .u.msi = { .address_lo = (uint32_t)addr, .data = data } };

    for (unsigned i = 0; i < routes.head.nr; i++) {
        if (routes.e[i].u.msi.address_lo == e.u.msi.address_lo && routes.e[i].u.msi.data == data)
            return 0;
    }
    e.gsi = next_watch;
    routes.e[next_watch] = e;
    routes.head.nr = MAX(routes.head.nr, next_watch + 1);
    next_watch = (next_watch + 1) % PINS;
    return set_pin_routes();
}

unsigned kvm_chips_gsi(unsigned route) { return PINS + route; }

int kvm_chips_route(unsigned route, uint64_t addr, uint32_t data)
{
    struct kvm_irq_routing_entry *e = &messages[route], old = *e;

    *e = (struct kvm_irq_routing_entry){ .gsi = kvm_chips_gsi(route), .type = KVM_IRQ_ROUTING_MSI,
        .u.msi = { .address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data } };
    int ret = memcmp(e, &old, sizeof(old)) ? set_routes() : 0;
    if (ret < 0)
        *e = old;
    return ret;
}

void kvm_chips_on_eoi(void (*end)(void *, uint8_t), void *opaque)
{
    end_of_interrupt = end;
    end_opaque = opaque;
}

void kvm_chips_eoi_exit(uint8_t vector)
{
    machine_lock();
    if (end_of_interrupt)
        end_of_interrupt(end_opaque, vector);
    machine_unlock();
}

/* ---- state ---- */

int kvm_chips_get(struct kvm_irqchip *c, unsigned chip)
{
    memset(c, 0, sizeof(*c));
    c->chip_id = chip;
    return kvm_do(kvm_host.vm_fd, "KVM_GET_IRQCHIP", KVM_GET_IRQCHIP, c);
}

int kvm_chips_set(struct kvm_irqchip *c) { return kvm_do(kvm_host.vm_fd, "KVM_SET_IRQCHIP", KVM_SET_IRQCHIP, c); }

int kvm_chips_get_lapic(struct vcpu *v, struct kvm_lapic_state *s, uint64_t *base, uint64_t *tsc_deadline)
{
    struct kvm_cpu *k = v->engine_data;
    struct kvm_sregs sregs;
    int ret = kvm_do(k->fd, "KVM_GET_SREGS", KVM_GET_SREGS, &sregs);

    *tsc_deadline = 0;
    if (ret < 0)
        return ret;
    *base = sregs.apic_base;
    kvm_msr_one(k, KVM_GET_MSRS, 0x6e0, tsc_deadline);
    return kvm_do(k->fd, "KVM_GET_LAPIC", KVM_GET_LAPIC, s);
}

int kvm_chips_set_deadline(struct vcpu *v, uint64_t tsc)
{
    struct kvm_cpu *k = v->engine_data;
    int ret = kvm_tsc_put(k);
    return ret < 0 ? ret : kvm_msr_one(k, KVM_SET_MSRS, 0x6e0, &tsc);
}

int kvm_chips_set_lapic(struct vcpu *v, const struct kvm_lapic_state *s, uint64_t base, uint64_t tsc_deadline)
{
    struct kvm_cpu *k = v->engine_data;
    struct kvm_sregs sregs;
    int ret = kvm_do(k->fd, "KVM_GET_SREGS", KVM_GET_SREGS, &sregs);

    sregs.apic_base = base;
    k->apic_seen = false;
    if (ret < 0 || (ret = kvm_do(k->fd, "KVM_SET_SREGS", KVM_SET_SREGS, &sregs)) < 0)
        return ret;
    ret = kvm_do(k->fd, "KVM_SET_LAPIC", KVM_SET_LAPIC, (void *)s);

    return ret < 0 || !tsc_deadline ? ret : kvm_chips_set_deadline(v, tsc_deadline);
}

int kvm_chips_get_pit(struct kvm_pit_state2 *s) { return kvm_do(kvm_host.vm_fd, "KVM_GET_PIT2", KVM_GET_PIT2, s); }
int kvm_chips_set_pit(const struct kvm_pit_state2 *s) { return kvm_do(kvm_host.vm_fd, "KVM_SET_PIT2", KVM_SET_PIT2, (void *)s); }
