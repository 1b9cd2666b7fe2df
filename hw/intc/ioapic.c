/*
 * I/O APIC. See ioapic.h.
 *
 * In: pin levels, register accesses, EOIs. Out: delivery callback.
 * Invariants: remote IRR is set only in level entries that have delivered and wait for EOI; irr holds an edge only from
 * set_line to pin_service: one that finds its entry masked is dropped there, as in the chip, which does not sample masked edge pins.
 * Locks: machine lock. Manual: 82093AA data sheet; the EOI register of version 0x20.
 */
#include "hw/intc/ioapic.h"
#include "core/alloc.h"
#include "core/log.h"

enum { REG_INDEX = 0x00, REG_DATA = 0x10, REG_EOI = 0x40, VERSION = 0x20 };
#define RED_STATUS BIT(12)
#define RED_RIRR BIT(14)
#define RED_LEVEL BIT(15)
#define RED_MASKED BIT(16)
#define RED_LOW_WRITABLE 0x1afffull

static void pin_send(struct ioapic *io, int pin)
{
    uint64_t e = io->redir[pin];
    io->deliver(io->opaque, (uint32_t)(e >> 56), e >> 11 & 1, e >> 8 & 7, (uint8_t)e, e >> 15 & 1);
}

static void pin_service(struct ioapic *io, int pin)
{
    uint64_t *e = &io->redir[pin];
    uint32_t bit = 1u << pin;
    bool edge = io->irr & bit;
    io->irr &= ~bit;
    if (*e & RED_MASKED)
        return;
    if (!(*e & RED_LEVEL)) {
        if (edge)
            pin_send(io, pin);
    } else if ((io->line & bit) && !(*e & RED_RIRR)) {
        *e |= RED_RIRR;
        pin_send(io, pin);
    }
}

static void ioapic_set_line(void *opaque, int pin, int level)
{
    struct ioapic *io = opaque;
    uint32_t bit = 1u << pin, was = io->line;
    io->line = level ? was | bit : was & ~bit;
    if (level && !(was & bit))
        io->irr |= bit;
    if (level)
        pin_service(io, pin);
}

struct irq ioapic_irq(struct ioapic *io, int pin)
{
    if (pin < 0 || pin >= IOAPIC_PINS)
        return (struct irq){ 0 };
    return (struct irq){ ioapic_set_line, io, pin };
}

void ioapic_eoi(void *opaque, uint8_t vector)
{
    struct ioapic *io = opaque;
    for (int pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *e = &io->redir[pin];
        if ((*e & RED_LEVEL) && (*e & RED_RIRR) && (uint8_t)*e == vector) {
            *e &= ~RED_RIRR;
            pin_service(io, pin);
        }
    }
}

static uint32_t reg_read(struct ioapic *io, unsigned reg)
{
    if (reg == 0 || reg == 2)
        return (uint32_t)io->id << 24;
    if (reg == 1)
        return VERSION | (IOAPIC_PINS - 1) << 16;
    if (reg < 0x10 || reg >= 0x10 + 2 * IOAPIC_PINS)
        return ~0u;
    return (uint32_t)(io->redir[(reg - 0x10) / 2] >> (reg & 1 ? 32 : 0));
}

static void reg_write(struct ioapic *io, unsigned reg, uint32_t val)
{
    if (reg == 0)
        io->id = val >> 24 & 15;
    if (reg < 0x10 || reg >= 0x10 + 2 * IOAPIC_PINS)
        return;
    int pin = (int)(reg - 0x10) / 2;
    uint64_t *e = &io->redir[pin];
    if (reg & 1) {
        *e = (*e & 0xffffffffu) | (uint64_t)(val & 0xff000000u) << 32;
    } else {
        *e = (*e & ~RED_LOW_WRITABLE) | (val & RED_LOW_WRITABLE);
        if (!(*e & RED_LEVEL))
            *e &= ~RED_RIRR;              /* software's way to drop a stuck remote IRR */
    }
    pin_service(io, pin);
}

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ioapic *io = opaque;
    if (offset == REG_INDEX)
        return io->index;
    if (offset == REG_DATA)
        return reg_read(io, io->index) & size_mask(size);
    return 0;
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct ioapic *io = opaque;
    if (offset == REG_INDEX)
        io->index = (uint8_t)val;
    else if (offset == REG_DATA && size == 4)
        reg_write(io, io->index, (uint32_t)val);
    else if (offset == REG_EOI)
        ioapic_eoi(io, (uint8_t)val);
    else
        log_guest("ioapic: write of %u bytes to %#x", size, (unsigned)offset);
}

/* Line levels are the devices' and survive. */
static void ioapic_reset(void *dev)
{
    struct ioapic *io = dev;
    for (int pin = 0; pin < IOAPIC_PINS; pin++)
        io->redir[pin] = RED_MASKED;
    io->irr = 0;
    io->id = io->index = 0;
}

static const struct state_row ioapic_rows[] = {
    S_SKIP(struct ioapic, dev), S_SKIP(struct ioapic, mmio), S_SKIP(struct ioapic, deliver), S_SKIP(struct ioapic, opaque),
    S_SAVE(struct ioapic, redir), S_SAVE(struct ioapic, line), S_SAVE(struct ioapic, irr), S_SAVE(struct ioapic, id),
    S_SAVE(struct ioapic, index), S_END
};

struct ioapic *ioapic_new(struct vm *vm, struct aspace *mem, ioapic_deliver_fn *deliver, void *opaque)
{
    struct ioapic *io = xzalloc(sizeof(*io));
    io->deliver = deliver;
    io->opaque = opaque;
    io->mmio = (struct region){ .kind = REGION_IO, .name = "ioapic", .read = mmio_read, .write = mmio_write, .opaque = io };
    as_add(mem, &io->mmio, IOAPIC_BASE, 0x1000);
    device_add(vm, &io->dev, "ioapic", ioapic_rows, sizeof(*io), ioapic_reset);
    ioapic_reset(io);
    return io;
}
