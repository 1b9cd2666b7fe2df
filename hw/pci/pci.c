/*
 * PCI bus: configuration space, BAR decoding, capabilities, MSI-X, INTx. See pci.h for the contract.
 *
 * In: port accesses at 0xcf8-0xcff, register accesses of the MSI-X BAR, INTx levels. Out: regions in the address spaces, PIRQ levels,
 * MSI messages. Invariants: config bytes change only under wmask/w1c; a BAR's address is checked once, in bar_address.
 * Locks: machine lock. Manual: PCI Local Bus Specification 3.0, chapters 3.2.2, 6.1-6.8.
 */
#include "hw/pci/pci.h"
#include "core/alloc.h"
#include "core/log.h"
#include <errno.h>
#include <string.h>

enum { MSIX_ENTRY = 16, MSIX_PBA = 0x800, MSIX_BAR_SIZE = 4096, MSIX_CTRL_ENABLE = 0x8000, MSIX_CTRL_MASK = 0x4000, MSIX_VECTOR_MASKED = 1 };
enum { BAR_REG_IO_MASK = 3, BAR_REG_MEM_MASK = 15, ROM_ENABLE = 1 };
#define BAR_ADDR_BITS 46                  /* what the memory address space decodes */

static uint32_t get_le(const uint8_t *p, unsigned size)
{
    uint32_t v = 0;
    memcpy(&v, p, size);
    return v;
}

static void put_le(uint8_t *p, unsigned size, uint32_t v)
{
    memcpy(p, &v, size);
}

uint32_t pci_config_get(const struct pci_dev *d, unsigned offset, unsigned size)
{
    return offset + size <= 256 ? get_le(d->config + offset, size) : ~0u;
}

void pci_config_set(struct pci_dev *d, unsigned offset, unsigned size, uint32_t val, uint32_t wmask)
{
    put_le(d->config + offset, size, val);
    put_le(d->reset_config + offset, size, val);
    put_le(d->wmask + offset, size, wmask);
}

static unsigned bar_reg(int n)
{
    return n == PCI_ROM_BAR ? PCI_ROM_REG : PCI_BAR0 + n * 4u;
}

/* Where BAR n decodes now; 0 when it does not. An all-ones address is a size probe, never a place. */
static uint64_t bar_address(const struct pci_dev *d, int n)
{
    const struct pci_bar *b = &d->bar[n];
    unsigned reg = bar_reg(n), cmd = get_le(d->config + PCI_COMMAND, 2);
    uint64_t addr = get_le(d->config + reg, 4), limit = 0xffffffffu;
    if (b->flags & PCI_BAR_IO) {
        limit = 0xffff;
        if (!(cmd & PCI_CMD_IO))
            return 0;
    } else {
        if (!(cmd & PCI_CMD_MEM) || (n == PCI_ROM_BAR && !(addr & ROM_ENABLE)))
            return 0;
        if (b->flags & PCI_BAR_MEM64) {
            addr |= (uint64_t)get_le(d->config + reg + 4, 4) << 32;
            limit = BIT(BAR_ADDR_BITS) - 1;
        }
    }
    addr &= ~(b->size - 1);
    if (addr + b->size - 1 < addr || addr + b->size - 1 >= limit + !!(b->flags & PCI_BAR_IO))
        return 0;
    return addr;
}

static void bar_update(struct pci_dev *d, int n)
{
    struct pci_bar *b = &d->bar[n];
    struct aspace *as = b->flags & PCI_BAR_IO ? d->bus->io : d->bus->mem;
    uint64_t addr = b->size ? bar_address(d, n) : 0;
    if (b->mapped && b->region.base != addr) {
        as_remove(as, &b->region);
        b->mapped = false;
    }
    if (addr && !b->mapped) {
        as_add(as, &b->region, addr, b->size);
        b->mapped = true;
    }
}

static void bars_update(struct pci_dev *d)
{
    for (int n = 0; n < PCI_BARS; n++)
        bar_update(d, n);
}

/* --- INTx --- */

static void intx_update(struct pci_dev *d)
{
    struct pci_bus *bus = d->bus;
    int pin = d->config[PCI_INT_PIN], seen = d->intx && !(get_le(d->config + PCI_COMMAND, 2) & PCI_CMD_INTX_DISABLE);
    d->config[PCI_STATUS] = (uint8_t)((d->config[PCI_STATUS] & ~PCI_STATUS_INTX) | (d->intx ? PCI_STATUS_INTX : 0));
    if (seen == d->intx_seen || pin < 1 || pin > 4)
        return;
    d->intx_seen = (uint8_t)seen;
    int line = pci_pirq_of(d->devfn >> 3, pin);
    bus->pirq_count[line] = (uint16_t)(bus->pirq_count[line] + (seen ? 1 : -1));
    irq_set(bus->pirq[line], bus->pirq_count[line] != 0);
}

void pci_set_irq(struct pci_dev *d, int level)
{
    d->intx = level != 0;
    intx_update(d);
}

static void pci_irq_set(void *opaque, int n, int level)
{
    pci_set_irq(opaque, level);
}

struct irq pci_intx(struct pci_dev *d)
{
    return (struct irq){ pci_irq_set, d, 0 };
}

/* --- MSI-X --- */

static unsigned msix_control(const struct pci_dev *d)
{
    return d->msix_cap ? get_le(d->config + d->msix_cap + 2, 2) : 0;
}

bool pci_msix_enabled(const struct pci_dev *d)
{
    return msix_control(d) & MSIX_CTRL_ENABLE;
}

static bool msix_masked(const struct pci_dev *d, unsigned v)
{
    return (msix_control(d) & MSIX_CTRL_MASK) || (d->msix.table[v * MSIX_ENTRY + 12] & MSIX_VECTOR_MASKED);
}

/* A message is a bus-master write: without mastering it is lost. */
static void msix_send(struct pci_dev *d, unsigned v)
{
    const uint8_t *e = d->msix.table + v * MSIX_ENTRY;
    uint64_t addr = get_le(e, 4) | (uint64_t)get_le(e + 4, 4) << 32;
    uint32_t data = get_le(e + 8, 4);
    if (!d->bus->msi || !(get_le(d->config + PCI_COMMAND, 2) & PCI_CMD_MASTER))
        return;
    if (!notifier_send(d->bus->vm, &d->notifier[v], addr, data))
        d->bus->msi(d->bus->msi_opaque, addr, data);
}

static void msix_release(struct pci_dev *d)
{
    for (unsigned v = 0; v < d->msix_vectors; v++)
        notifier_release(d->bus->vm, &d->notifier[v]);
}

void pci_msix_notify(struct pci_dev *d, unsigned v)
{
    if (v >= d->msix_vectors || !pci_msix_enabled(d))
        return;
    if (msix_masked(d, v))
        d->msix.pba |= BIT(v);
    else
        msix_send(d, v);
}

static void msix_flush(struct pci_dev *d)
{
    if (!pci_msix_enabled(d)) {
        msix_release(d);
        return;
    }
    for (unsigned v = 0; v < d->msix_vectors; v++) {
        if ((d->msix.pba & BIT(v)) && !msix_masked(d, v)) {
            d->msix.pba &= ~BIT(v);
            msix_send(d, v);
        }
    }
}

static uint64_t msix_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_dev *d = opaque;
    uint64_t v = 0;
    if (offset + size <= d->msix_vectors * (uint64_t)MSIX_ENTRY)
        memcpy(&v, d->msix.table + offset, size);
    else if (offset >= MSIX_PBA && offset + size <= MSIX_PBA + sizeof(d->msix.pba))
        memcpy(&v, (uint8_t *)&d->msix.pba + (offset - MSIX_PBA), size);
    return v;
}

static void msix_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct pci_dev *d = opaque;
    if (size < 4 || offset + size > d->msix_vectors * (uint64_t)MSIX_ENTRY)
        return;
    memcpy(d->msix.table + offset, &val, size);
    if (offset % MSIX_ENTRY < 12)
        notifier_release(d->bus->vm, &d->notifier[offset / MSIX_ENTRY]);
    msix_flush(d);
}

int pci_msix_init(struct pci_dev *d, unsigned vectors, int bar)
{
    if (!vectors || vectors > PCI_MSIX_MAX || bar < 0 || bar > 5)
        return -EINVAL;
    uint8_t cap = pci_add_cap(d, PCI_CAP_MSIX, 12);
    if (!cap)
        return -EINVAL;
    d->msix_cap = cap;
    d->msix_vectors = (uint16_t)vectors;
    pci_config_set(d, cap + 2u, 2, vectors - 1, MSIX_CTRL_ENABLE | MSIX_CTRL_MASK);
    pci_config_set(d, cap + 4u, 4, (uint32_t)bar, 0);
    pci_config_set(d, cap + 8u, 4, MSIX_PBA | (uint32_t)bar, 0);
    pci_bar_add(d, bar, PCI_BAR_MEM, MSIX_BAR_SIZE, "msix", msix_read, msix_write, d)->max_size = 8;
    return 0;
}

static void msix_reset(struct pci_dev *d)
{
    msix_release(d);
    memset(&d->msix, 0, sizeof(d->msix));
    for (unsigned v = 0; v < PCI_MSIX_MAX; v++)
        d->msix.table[v * MSIX_ENTRY + 12] = MSIX_VECTOR_MASKED;
}

/* --- functions --- */

void pci_dev_init(struct pci_bus *bus, struct pci_dev *d, int devfn, uint16_t vendor, uint16_t device, uint32_t class, uint8_t revision)
{
    d->bus = bus;
    d->devfn = (uint8_t)devfn;
    d->cap_end = 0x40;
    d->dev.post_load = pci_dev_post_load;
    bus->devs[d->devfn] = d;
    pci_config_set(d, PCI_VENDOR_ID, 2, vendor, 0);
    pci_config_set(d, PCI_DEVICE_ID, 2, device, 0);
    pci_config_set(d, PCI_COMMAND, 2, 0, PCI_CMD_MASTER | PCI_CMD_INTX_DISABLE | 0x140);   /* parity and SERR enables are stored */
    pci_config_set(d, PCI_REVISION, 4, class << 8 | revision, 0);
    pci_config_set(d, PCI_CACHE_LINE, 2, 0, 0xf8ff);
    d->w1c[PCI_STATUS + 1] = 0xf9;
    msix_reset(d);
}

void pci_set_subsystem(struct pci_dev *d, uint16_t vendor, uint16_t id)
{
    pci_config_set(d, PCI_SUBSYS_VENDOR, 2, vendor, 0);
    pci_config_set(d, PCI_SUBSYS_ID, 2, id, 0);
}

void pci_set_int_pin(struct pci_dev *d, int pin)
{
    pci_config_set(d, PCI_INT_PIN, 1, (uint32_t)pin, 0);
    pci_config_set(d, PCI_INT_LINE, 1, 0, 0xff);
}

void pci_dev_reset(struct pci_dev *d)
{
    d->intx = 0;
    intx_update(d);
    memcpy(d->config, d->reset_config, sizeof(d->config));
    msix_reset(d);
    bars_update(d);
}

void pci_dev_post_load(void *dev)
{
    bars_update(dev);
}

static struct pci_bar *bar_prepare(struct pci_dev *d, int n, unsigned flags, uint64_t size, const char *name)
{
    struct pci_bar *b = &d->bar[n];
    unsigned cmd = flags & PCI_BAR_IO ? PCI_CMD_IO : PCI_CMD_MEM;
    uint64_t mask = ~(size - 1);
    b->size = size;
    b->flags = (uint8_t)flags;
    b->region.name = name;
    b->region.base = 0;
    put_le(d->wmask + PCI_COMMAND, 2, get_le(d->wmask + PCI_COMMAND, 2) | cmd);
    if (n == PCI_ROM_BAR)
        pci_config_set(d, PCI_ROM_REG, 4, 0, ((uint32_t)mask & 0xfffff800u) | ROM_ENABLE);
    else
        pci_config_set(d, bar_reg(n), 4, flags, (uint32_t)mask & ~(flags & PCI_BAR_IO ? (uint32_t)BAR_REG_IO_MASK : (uint32_t)BAR_REG_MEM_MASK));
    if (flags & PCI_BAR_MEM64)
        pci_config_set(d, bar_reg(n) + 4, 4, 0, (uint32_t)(mask >> 32));
    return b;
}

struct region *pci_bar_add(struct pci_dev *d, int n, unsigned flags, uint64_t size, const char *name,
                           uint64_t (*read)(void *, uint64_t, unsigned), void (*write)(void *, uint64_t, uint64_t, unsigned), void *opaque)
{
    struct region *r = &bar_prepare(d, n, flags, size, name)->region;
    r->kind = REGION_IO;
    r->read = read;
    r->write = write;
    r->opaque = opaque;
    return r;
}

struct region *pci_bar_add_ram(struct pci_dev *d, int n, unsigned flags, uint64_t size, const char *name)
{
    uint8_t *host = xmap(size);
    if (!host)
        return NULL;
    struct region *r = &bar_prepare(d, n, flags, size, name)->region;
    r->kind = n == PCI_ROM_BAR ? REGION_ROM : REGION_RAM;
    r->host = host;
    r->track = xzalloc((size + PAGE_SIZE - 1) >> PAGE_BITS);
    return r;
}

uint8_t pci_add_cap(struct pci_dev *d, uint8_t id, unsigned len)
{
    unsigned at = d->cap_end, link = PCI_CAP_PTR;
    if (at + len > 256 || len < 2)
        return 0;
    while (d->config[link])
        link = d->config[link] + 1u;
    pci_config_set(d, link, 1, at, 0);
    pci_config_set(d, at, 2, id, 0);
    pci_config_set(d, PCI_STATUS, 1, d->config[PCI_STATUS] | PCI_STATUS_CAPS, 0);
    d->cap_end = (uint8_t)MIN((at + len + 3) & ~3u, 255u);
    return (uint8_t)at;
}

int pci_dma_read(struct pci_dev *d, gpa_t addr, void *buf, size_t len)
{
    if (!(d->config[PCI_COMMAND] & PCI_CMD_MASTER)) {
        memset(buf, 0xff, len);
        return -EFAULT;
    }
    return as_dma_read(d->bus->mem, addr, buf, len);
}

int pci_dma_write(struct pci_dev *d, gpa_t addr, const void *buf, size_t len)
{
    return d->config[PCI_COMMAND] & PCI_CMD_MASTER ? as_dma_write(d->bus->mem, addr, buf, len) : -EFAULT;
}

/* --- configuration mechanism #1 --- */

static void config_write(struct pci_dev *d, unsigned offset, uint32_t val, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        uint8_t v = (uint8_t)(val >> (i * 8)), *c = &d->config[offset + i], m = d->wmask[offset + i];
        *c = (uint8_t)((*c & ~m) | (v & m));
        *c &= (uint8_t)~(v & d->w1c[offset + i]);
    }
    bool command = offset <= PCI_COMMAND + 1 && offset + size > PCI_COMMAND;
    if (command || (offset >= PCI_BAR0 && offset < PCI_ROM_REG + 4))
        bars_update(d);
    if (command)
        intx_update(d);
    if (d->msix_cap && offset <= d->msix_cap + 3u && offset + size > d->msix_cap + 2u)
        msix_flush(d);
    if (d->config_written)
        d->config_written(d, offset, size);
}

/* The function that 0xcf8 selects; NULL when none, or when configuration cycles are off. Only bus 0 exists. */
static struct pci_dev *selected(struct pci_bus *bus)
{
    if (!(bus->address & 0x80000000u) || (bus->address & 0x00ff0000u))
        return NULL;
    return bus->devs[bus->address >> 8 & 0xff];
}

static uint64_t cfg_io_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_bus *bus = opaque;
    struct pci_dev *d;
    if (offset < 4) {
        if (offset == 0 && size == 4)
            return bus->address;
        return offset == 1 && size == 1 && bus->rcr_read ? bus->rcr_read(bus->rcr_opaque) : size_mask(size);
    }
    d = selected(bus);
    return d ? pci_config_get(d, (bus->address & 0xfc) | (offset & 3), size) : size_mask(size);
}

static void cfg_io_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct pci_bus *bus = opaque;
    struct pci_dev *d;
    if (offset < 4) {
        if (offset == 0 && size == 4)
            bus->address = (uint32_t)val & 0x80fffffcu;
        else if (offset == 1 && size == 1 && bus->rcr_write)
            bus->rcr_write(bus->rcr_opaque, (uint8_t)val);
        return;
    }
    d = selected(bus);
    if (d)
        config_write(d, (bus->address & 0xfc) | (offset & 3), (uint32_t)val, size);
}

/* INTx counts are not touched: each function's own reset lowers its line. */
static void bus_reset(void *dev)
{
    struct pci_bus *bus = dev;
    bus->address = 0;
}

static const struct state_row bus_rows[] = {
    S_SKIP(struct pci_bus, dev), S_SKIP(struct pci_bus, vm), S_SKIP(struct pci_bus, mem), S_SKIP(struct pci_bus, io),
    S_SKIP(struct pci_bus, cfg_io), S_SKIP(struct pci_bus, devs), S_SKIP(struct pci_bus, pirq), S_SKIP(struct pci_bus, msi),
    S_SKIP(struct pci_bus, msi_opaque), S_SKIP(struct pci_bus, rcr_read), S_SKIP(struct pci_bus, rcr_write),
    S_SKIP(struct pci_bus, rcr_opaque), S_SAVE(struct pci_bus, address), S_SAVE(struct pci_bus, pirq_count), S_END
};

struct pci_bus *pci_bus_new(struct vm *vm, struct aspace *mem, struct aspace *io)
{
    struct pci_bus *bus = xzalloc(sizeof(*bus));
    bus->vm = vm;
    bus->mem = mem;
    bus->io = io;
    bus->cfg_io = (struct region){ .kind = REGION_IO, .name = "pci-config", .read = cfg_io_read, .write = cfg_io_write, .opaque = bus };
    as_add(io, &bus->cfg_io, 0xcf8, 8);
    device_add(vm, &bus->dev, "pci", bus_rows, sizeof(*bus), bus_reset);
    bus_reset(bus);
    return bus;
}

void pci_bus_connect_msi(struct pci_bus *bus, void (*msi)(void *opaque, uint64_t addr, uint32_t data), void *opaque)
{
    bus->msi = msi;
    bus->msi_opaque = opaque;
}

int pci_bus_free_slot(struct pci_bus *bus, int slot)
{
    for (; slot < 32; slot++) {
        if (!bus->devs[PCI_DEVFN(slot, 0)])
            return slot;
    }
    return -1;
}

/* --- what a BIOS would do --- */

struct allocation { uint64_t mem, mem_end; uint32_t io; };

static void assign_bar(struct pci_dev *d, int n, struct allocation *a)
{
    struct pci_bar *b = &d->bar[n];
    uint64_t at;
    if (b->flags & PCI_BAR_IO) {
        at = (a->io + b->size - 1) & ~(b->size - 1);
        if (at + b->size > 0x10000)
            return;
        a->io = (uint32_t)(at + b->size);
    } else {
        uint64_t size = MAX(b->size, (uint64_t)PAGE_SIZE);     /* a page each: mappings of one device do not expose another */
        at = (a->mem + size - 1) & ~(size - 1);
        if (at + size > a->mem_end)
            return;
        a->mem = at + size;
    }
    put_le(d->config + bar_reg(n), 4, (uint32_t)at | (n == PCI_ROM_BAR ? 0 : b->flags));
    if (b->flags & PCI_BAR_MEM64)
        put_le(d->config + bar_reg(n) + 4, 4, (uint32_t)(at >> 32));
    d->config[PCI_COMMAND] |= b->flags & PCI_BAR_IO ? PCI_CMD_IO : PCI_CMD_MEM;
}

void pci_assign_resources(struct pci_bus *bus, uint32_t mem_base, uint32_t mem_end, uint16_t io_base, const uint8_t lines[4])
{
    struct allocation a = { mem_base, mem_end, io_base };
    for (int devfn = 0; devfn < 256; devfn++) {
        struct pci_dev *d = bus->devs[devfn];
        if (!d)
            continue;
        for (int n = 0; n < PCI_BARS; n++) {
            if (d->bar[n].size)
                assign_bar(d, n, &a);
        }
        int pin = d->config[PCI_INT_PIN];
        if (pin >= 1 && pin <= 4)
            d->config[PCI_INT_LINE] = lines[pci_pirq_of(devfn >> 3, pin)];
        bars_update(d);
    }
}
