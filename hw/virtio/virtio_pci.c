/*
 * Virtio over PCI: decoding of the two register interfaces, vectors and interrupts. The meaning of the registers is virtio.c's.
 *
 * BAR0 (I/O, unless disable-legacy): the 0.9.5 block, then the device's configuration. BAR1: MSI-X. BAR4 (unless disable-modern), four pages:
 * common configuration, ISR, device configuration, notification (4 bytes a queue). A vendor capability points to each.
 * Registers answer to their natural width; narrower reads are cut out of it, narrower writes are dropped and reported.
 * Interrupts: MSI-X vectors when the function has MSI-X enabled (the ISR byte is then not used), else the ISR byte and INTx, cleared by reading.
 * Locks: machine lock. Manual: virtio 1.2, section 4.1, and 4.1.4.10 for the legacy layout.
 */
#include "hw/virtio/virtio_pci.h"
#include "core/log.h"
#include <errno.h>
#include <string.h>

#define VENDOR_VIRTIO 0x1af4
#define MODERN_BAR 4
#define MSIX_BAR 1
enum { CAP_COMMON = 1, CAP_NOTIFY = 2, CAP_ISR = 3, CAP_DEVICE = 4, CAP_PCI = 5 };
enum { PAGE_COMMON, PAGE_ISR, PAGE_DEVICE, PAGE_NOTIFY };
#define NOTIFY_STEP 4u
enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

enum common_reg {
    C_DEV_FEATURE_SEL = 0, C_DEV_FEATURE = 4, C_DRV_FEATURE_SEL = 8, C_DRV_FEATURE = 12, C_CONFIG_VECTOR = 16, C_NUM_QUEUES = 18, C_STATUS = 20,
    C_GENERATION = 21, C_QUEUE_SEL = 22, C_QUEUE_SIZE = 24, C_QUEUE_VECTOR = 26, C_QUEUE_ENABLE = 28, C_QUEUE_NOTIFY_OFF = 30, C_DESC_LO = 32,
    C_DESC_HI = 36, C_AVAIL_LO = 40, C_AVAIL_HI = 44, C_USED_LO = 48, C_USED_HI = 52, C_END = 56,
};
enum legacy_reg {
    L_DEV_FEATURES = 0, L_DRV_FEATURES = 4, L_QUEUE_PFN = 8, L_QUEUE_SIZE = 12, L_QUEUE_SEL = 14, L_NOTIFY = 16, L_STATUS = 18, L_ISR = 19,
    L_CONFIG_VECTOR = 20, L_QUEUE_VECTOR = 22,
};

static struct virtio_pci *vp_of(struct virtio *v) { return container_of(v, struct virtio_pci, vio); }

/* --- interrupts --- */
static void raise(struct virtio *v, uint16_t vector, uint8_t isr)
{
    struct virtio_pci *vp = vp_of(v);
    if (pci_msix_enabled(&vp->pci)) {
        if (vector != VIRTIO_NO_VECTOR)
            pci_msix_notify(&vp->pci, vector);
        return;
    }
    v->r.isr |= isr;
    pci_set_irq(&vp->pci, 1);
}

static void notify_queue(struct virtio *v, struct virtq *q) { raise(v, q->r.vector, ISR_QUEUE); }
static void notify_config(struct virtio *v) { raise(v, v->r.config_vector, ISR_CONFIG); }

/* A legacy driver may forget to enable bus mastering (old ones did): only modern ones are held to it. */
static bool may_dma(struct virtio *v)
{
    return (vp_of(v)->pci.config[PCI_COMMAND] & PCI_CMD_MASTER) || !virtio_has(v, VIRTIO_F_VERSION_1);
}

static uint8_t isr_take(struct virtio_pci *vp)
{
    uint8_t isr = vp->vio.r.isr;
    vp->vio.r.isr = 0;
    pci_set_irq(&vp->pci, 0);
    return isr;
}

static uint16_t lawful_vector(struct virtio_pci *vp, uint64_t v)
{
    return v < vp->pci.msix_vectors ? v : VIRTIO_NO_VECTOR;
}

static void set_status(struct virtio_pci *vp, uint8_t val, bool legacy)
{
    virtio_set_status(&vp->vio, val, legacy);
    if (!val)
        pci_set_irq(&vp->pci, 0);
}

static struct virtq *selected(struct virtio *v)
{
    return v->r.queue_sel < v->n_queues ? &v->vq[v->r.queue_sel] : NULL;
}

/* --- the common configuration page --- */
static uint32_t half(uint64_t v, unsigned which) { return which < 2 ? v >> (32 * which) : 0; }

static void set_half(uint64_t *reg, unsigned which, uint32_t v)
{
    if (which < 2)
        *reg = (*reg & ~(0xffffffffull << (32 * which))) | (uint64_t)v << (32 * which);
}

static uint32_t queue_reg_read(struct virtq *q, unsigned reg)
{
    switch (reg) {
    case C_QUEUE_SIZE: return q->r.size;
    case C_QUEUE_VECTOR: return q->r.vector;
    case C_QUEUE_ENABLE: return q->r.enabled;
    case C_QUEUE_NOTIFY_OFF: return q->index;
    case C_DESC_LO: case C_DESC_HI: return half(q->r.desc, reg == C_DESC_HI);
    case C_AVAIL_LO: case C_AVAIL_HI: return half(q->r.avail, reg == C_AVAIL_HI);
    case C_USED_LO: case C_USED_HI: return half(q->r.used, reg == C_USED_HI);
    default: return 0;
    }
}

/* Base offset of the register that holds OFF. */
static unsigned common_reg_of(unsigned off)
{
    if (off >= C_CONFIG_VECTOR && off < C_DESC_LO)
        return off == C_STATUS || off == C_GENERATION ? off : off & ~1u;
    return off & ~3u;
}

static unsigned common_reg_size(unsigned reg)
{
    if (reg == C_STATUS || reg == C_GENERATION)
        return 1;
    return reg >= C_CONFIG_VECTOR && reg < C_DESC_LO ? 2 : 4;
}

static uint32_t common_reg_read(struct virtio_pci *vp, unsigned reg)
{
    struct virtio *v = &vp->vio;
    struct virtq *q = selected(v);
    switch (reg) {
    case C_DEV_FEATURE_SEL: return v->r.feature_sel;
    case C_DEV_FEATURE: return half(virtio_offered(v, false), v->r.feature_sel);
    case C_DRV_FEATURE_SEL: return v->r.driver_feature_sel;
    case C_DRV_FEATURE: return half(v->r.features, v->r.driver_feature_sel);
    case C_CONFIG_VECTOR: return v->r.config_vector;
    case C_NUM_QUEUES: return v->n_queues;
    case C_STATUS: return v->r.status;
    case C_GENERATION: return v->r.generation;
    case C_QUEUE_SEL: return v->r.queue_sel;
    default:
        if (!q)
            return reg == C_QUEUE_VECTOR ? VIRTIO_NO_VECTOR : 0;
        return queue_reg_read(q, reg);
    }
}

/* Reads may span registers (a word over status and generation): gather them byte by byte. */
static uint64_t common_read(struct virtio_pci *vp, unsigned off, unsigned size)
{
    uint64_t val = 0;
    for (unsigned i = 0; i < size && off + i < C_END; i++) {
        unsigned reg = common_reg_of(off + i);
        val |= (uint64_t)(common_reg_read(vp, reg) >> 8 * (off + i - reg) & 0xff) << 8 * i;
    }
    return val;
}

static void queue_reg_write(struct virtio_pci *vp, struct virtq *q, unsigned reg, uint32_t val)
{
    if (reg == C_QUEUE_VECTOR) {
        q->r.vector = lawful_vector(vp, val);
        return;
    }
    if (q->r.enabled) {
        log_guest("%s: queue %u changed while enabled", vp->vio.name, q->index);
        return;
    }
    switch (reg) {
    case C_QUEUE_SIZE: virtq_set_size(q, val); break;
    case C_QUEUE_ENABLE:
        if (val == 1)
            virtq_enable(q);
        break;
    case C_DESC_LO: case C_DESC_HI: set_half(&q->r.desc, reg == C_DESC_HI, val); break;
    case C_AVAIL_LO: case C_AVAIL_HI: set_half(&q->r.avail, reg == C_AVAIL_HI, val); break;
    case C_USED_LO: case C_USED_HI: set_half(&q->r.used, reg == C_USED_HI, val); break;
    }
}

static void common_write(struct virtio_pci *vp, unsigned off, uint32_t val, unsigned size)
{
    struct virtio *v = &vp->vio;
    uint64_t features = v->r.features;
    struct virtq *q = selected(v);
    if (off >= C_END || common_reg_of(off) != off || common_reg_size(off) != size) {
        log_guest("%s: common configuration: write of %u bytes at %#x", v->name, size, off);
        return;
    }
    switch (off) {
    case C_DEV_FEATURE_SEL: v->r.feature_sel = val; break;
    case C_DRV_FEATURE_SEL: v->r.driver_feature_sel = val; break;
    case C_DRV_FEATURE:
        set_half(&features, v->r.driver_feature_sel, val);
        virtio_set_features(v, features, false);
        break;
    case C_CONFIG_VECTOR: v->r.config_vector = lawful_vector(vp, val); break;
    case C_STATUS: set_status(vp, val, false); break;
    case C_QUEUE_SEL: v->r.queue_sel = val; break;
    default:
        if (q && off >= C_QUEUE_SIZE)
            queue_reg_write(vp, q, off, val);
        break;
    }
}

/* --- BAR4 --- */
static uint64_t modern_read(void *opaque, uint64_t off, unsigned size)
{
    struct virtio_pci *vp = opaque;
    unsigned at = off & (PAGE_SIZE - 1);
    switch (off >> PAGE_BITS) {
    case PAGE_COMMON: return common_read(vp, at, size);
    case PAGE_ISR: return at == 0 ? isr_take(vp) : 0;
    case PAGE_DEVICE: return virtio_config_read(&vp->vio, at, size);
    default: return 0;
    }
}

static void modern_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    struct virtio_pci *vp = opaque;
    unsigned at = off & (PAGE_SIZE - 1);
    switch (off >> PAGE_BITS) {
    case PAGE_NOTIFY: virtio_kick(&vp->vio, at / NOTIFY_STEP); break;
    case PAGE_COMMON: common_write(vp, at, val, size); break;
    case PAGE_DEVICE: virtio_config_write(&vp->vio, at, val, size); break;
    }
}

/* --- BAR0, legacy --- */
static unsigned legacy_config_base(struct virtio_pci *vp)
{
    return pci_msix_enabled(&vp->pci) ? 24 : 20;
}

static uint32_t legacy_reg_read(struct virtio_pci *vp, unsigned reg)
{
    struct virtio *v = &vp->vio;
    struct virtq *q = selected(v);
    switch (reg) {
    case L_DEV_FEATURES: return virtio_offered(v, true);
    case L_DRV_FEATURES: return v->r.features;
    case L_QUEUE_PFN: return q && q->r.enabled ? q->r.desc >> PAGE_BITS : 0;
    case L_QUEUE_SIZE: return q ? q->max_size : 0;
    case L_QUEUE_SEL: return v->r.queue_sel;
    case L_STATUS: return v->r.status;
    case L_ISR: return isr_take(vp);
    case L_CONFIG_VECTOR: return v->r.config_vector;
    case L_QUEUE_VECTOR: return q ? q->r.vector : VIRTIO_NO_VECTOR;
    default: return 0;
    }
}

static uint64_t legacy_read(void *opaque, uint64_t off, unsigned size)
{
    struct virtio_pci *vp = opaque;
    unsigned base = legacy_config_base(vp), reg;
    if (off >= base)
        return virtio_config_read(&vp->vio, off - base, size);
    if (off < L_QUEUE_SIZE)
        reg = off & ~3u;
    else
        reg = off == L_STATUS || off == L_ISR ? off : off & ~1u;
    return legacy_reg_read(vp, reg) >> 8 * (off - reg) & size_mask(size);
}

/* Frame 0 is how a legacy driver gives the queue back. */
static void legacy_set_pfn(struct virtio_pci *vp, struct virtq *q, uint32_t pfn)
{
    if (pfn)
        virtq_set_legacy_pfn(q, pfn);
    else
        set_status(vp, 0, true);
}

static void legacy_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    struct virtio_pci *vp = opaque;
    struct virtio *v = &vp->vio;
    struct virtq *q = selected(v);
    unsigned base = legacy_config_base(vp);
    if (off >= base) {
        virtio_config_write(v, off - base, val, size);
        return;
    }
    switch (off) {
    case L_NOTIFY: virtio_kick(v, val & 0xffff); break;
    case L_DRV_FEATURES: virtio_set_features(v, val, true); break;
    case L_QUEUE_PFN:
        if (q)
            legacy_set_pfn(vp, q, val);
        break;
    case L_QUEUE_SEL: v->r.queue_sel = val; break;
    case L_STATUS: set_status(vp, val, true); break;
    case L_CONFIG_VECTOR: v->r.config_vector = lawful_vector(vp, val); break;
    case L_QUEUE_VECTOR:
        if (q)
            q->r.vector = lawful_vector(vp, val);
        break;
    default: log_guest("%s: legacy write of %u bytes at %#x", v->name, size, (unsigned)off);
    }
}

/* --- configuration-space access to BAR4, for firmware that cannot reach the BAR (4.1.4.9) --- */
/* The data field holds what the last programmed read gives: config reads have no callback, so it is fetched when the address is written;
   the ISR, which reading clears, is only shown. */
static void cfg_access(struct pci_dev *d, unsigned offset, unsigned size)
{
    struct virtio_pci *vp = container_of(d, struct virtio_pci, pci);
    unsigned cap = vp->cfg_cap;
    if (!cap || offset + size <= cap + 4u || offset >= cap + 20u)
        return;
    uint32_t at, len, data = 0;
    memcpy(&at, d->config + cap + 8, 4);
    memcpy(&len, d->config + cap + 12, 4);
    if (d->config[cap + 4] != MODERN_BAR || (len != 1 && len != 2 && len != 4) || at % len || at >= 4 * PAGE_SIZE)
        return;
    if (offset >= cap + 16u) {
        memcpy(&data, d->config + cap + 16, 4);
        modern_write(vp, at, data & size_mask(len), len);
        return;
    }
    data = at >> PAGE_BITS == PAGE_ISR ? vp->vio.r.isr : modern_read(vp, at, len);
    memcpy(d->config + cap + 16, &data, 4);
}

/* --- construction --- */
int virtio_pci_init(struct pci_bus *bus, struct virtio_pci *vp, const struct virtio_pci_opts *o, enum virtio_id id, uint32_t class, const char *name,
                    const struct virtio_ops *ops, unsigned config_size)
{
    static const uint16_t transitional[] = { [VIRTIO_ID_NET] = 0x1000, [VIRTIO_ID_BLOCK] = 0x1001, [VIRTIO_ID_CONSOLE] = 0x1003,
                                             [VIRTIO_ID_RNG] = 0x1005 };
    vp->opts = *o;
    if (o->disable_legacy && o->disable_modern) {
        log_error("%s: disable-legacy and disable-modern leave no interface", name);
        return -EINVAL;
    }
    int devfn = o->devfn;
    if (devfn < 0) {
        int slot = pci_bus_free_slot(bus, 1);
        devfn = slot < 0 ? -1 : PCI_DEVFN(slot, 0);
    }
    if (devfn < 0 || devfn > 255 || bus->devs[devfn]) {
        log_error("%s: no free PCI slot", name);
        return -EINVAL;
    }
    pci_dev_init(bus, &vp->pci, devfn, VENDOR_VIRTIO, o->disable_legacy ? 0x1040 + id : transitional[id], class, o->disable_legacy);
    pci_set_subsystem(&vp->pci, VENDOR_VIRTIO, o->disable_legacy ? 0x1100 : id);
    pci_set_int_pin(&vp->pci, 1);
    virtio_init(&vp->vio, bus->mem, name, id, ops, config_size);
    vp->vio.notify_queue = notify_queue;
    vp->vio.notify_config = notify_config;
    vp->vio.may_dma = may_dma;
    vp->vio.loop = bus->vm->loop;
    vp->vio.offer_v1 = !o->disable_modern;
    return 0;
}

static unsigned add_cap(struct virtio_pci *vp, unsigned type, uint32_t offset, uint32_t length, unsigned len)
{
    unsigned at = pci_add_cap(&vp->pci, PCI_CAP_VENDOR, len);
    pci_config_set(&vp->pci, at + 2, 1, len, 0);
    pci_config_set(&vp->pci, at + 3, 1, type, 0);
    pci_config_set(&vp->pci, at + 4, 1, type == CAP_PCI ? 0 : MODERN_BAR, type == CAP_PCI ? 0xff : 0);
    pci_config_set(&vp->pci, at + 8, 4, offset, type == CAP_PCI ? ~0u : 0);
    pci_config_set(&vp->pci, at + 12, 4, length, type == CAP_PCI ? ~0u : 0);
    return at;
}

static void ring(void *opaque, unsigned queue) { virtio_kick(&((struct virtio_pci *)opaque)->vio, queue); }

static bool take(void *opaque, unsigned queue) { return virtio_kick_by_worker(&((struct virtio_pci *)opaque)->vio, queue); }

/* One a queue; the register is the queue's own (modern), or one for all that takes the queue's number (legacy). */
static void add_doorbells(struct virtio_pci *vp, struct region *r, bool legacy)
{
    for (unsigned i = 0; i < vp->vio.n_queues; i++) {
        struct doorbell *b = &vp->bell[legacy][i];
        *b = (struct doorbell){ .next = r->doorbells, .offset = legacy ? (unsigned)L_NOTIFY : PAGE_NOTIFY * PAGE_SIZE + i * NOTIFY_STEP, .size = 2,
            .match = legacy, .value = i, .ring = ring, .take = take, .opaque = vp, .n = i };
        r->doorbells = b;
    }
}

static void add_modern(struct virtio_pci *vp)
{
    unsigned flags = PCI_BAR_MEM64 | PCI_BAR_PREFETCH;
    add_doorbells(vp, pci_bar_add(&vp->pci, MODERN_BAR, flags, 4 * PAGE_SIZE, "virtio", modern_read, modern_write, vp), false);
    add_cap(vp, CAP_COMMON, PAGE_COMMON * PAGE_SIZE, PAGE_SIZE, 16);
    add_cap(vp, CAP_ISR, PAGE_ISR * PAGE_SIZE, PAGE_SIZE, 16);
    add_cap(vp, CAP_DEVICE, PAGE_DEVICE * PAGE_SIZE, PAGE_SIZE, 16);
    unsigned at = add_cap(vp, CAP_NOTIFY, PAGE_NOTIFY * PAGE_SIZE, PAGE_SIZE, 20);
    pci_config_set(&vp->pci, at + 16, 4, NOTIFY_STEP, 0);
    vp->cfg_cap = add_cap(vp, CAP_PCI, 0, 0, 20);
    pci_config_set(&vp->pci, vp->cfg_cap + 16, 4, 0, ~0u);
    vp->pci.config_written = cfg_access;
}

int virtio_pci_finish(struct vm *vm, struct virtio_pci *vp, const struct state_row *rows, size_t size)
{
    unsigned legacy_size = 32;
    while (legacy_size < 24 + vp->vio.config_size)
        legacy_size *= 2;
    if (!vp->opts.disable_legacy)
        add_doorbells(vp, pci_bar_add(&vp->pci, 0, PCI_BAR_IO, legacy_size, "virtio-legacy", legacy_read, legacy_write, vp), true);
    int r = pci_msix_init(&vp->pci, vp->vio.n_queues + 1, MSIX_BAR);
    if (r < 0)
        return r;
    if (!vp->opts.disable_modern)
        add_modern(vp);
    device_add(vm, &vp->pci.dev, vp->vio.name, rows, size, virtio_pci_reset);
    vp->pci.dev.post_load = virtio_pci_post_load;
    virtio_pci_reset(vp);
    return 0;
}

void virtio_pci_reset(void *opaque)
{
    struct virtio_pci *vp = opaque;
    virtio_core_reset(&vp->vio);
    pci_dev_reset(&vp->pci);
}

void virtio_pci_post_load(void *opaque)
{
    struct virtio_pci *vp = opaque;
    pci_dev_post_load(&vp->pci);
    virtio_post_load(&vp->vio);
}
