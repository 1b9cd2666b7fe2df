/*
 * 8259A pair. See pic.h.
 *
 * In: line levels, port writes (ICW1-4, OCW1-3, ELCR). Out: INTR level, vectors.
 * Invariants: bit 2 of the master's IRR mirrors the slave's INT; level lines (ELCR) are in IRR exactly while asserted; an edge line is in
 * IRR from its rising edge to the acknowledge, but no longer than the line is high. So a device must hold its line until it is served; an
 * acknowledge that finds the request gone gives IRQ7 or IRQ15 without an in-service bit.
 * Locks: machine lock. Manual: 8259A data sheet.
 */
#include "hw/intc/pic.h"
#include "core/alloc.h"

enum { CASCADE = 2, ICW1 = 0x10, ICW1_IC4 = 1, ICW1_SINGLE = 2, ICW4_AEOI = 2, ICW4_SFNM = 0x10, NONE = 8 };

/* Rank (0 highest) of the most urgent bit in MASK, or NONE. */
static int rank_of(const struct pic_chip *c, uint8_t mask)
{
    int i = 0;
    while (i < NONE && !(mask >> ((i + c->prio) & 7) & 1))
        i++;
    return i;
}

/* The input that may interrupt now, or -1. */
static int chip_request(const struct pic_chip *c, bool master)
{
    uint8_t isr = c->isr;
    int want = rank_of(c, c->irr & (uint8_t)~c->imr);
    if (c->smm)
        isr &= (uint8_t)~c->imr;
    if (master && (c->icw4 & ICW4_SFNM))
        isr &= (uint8_t)~(1u << CASCADE);
    return want < rank_of(c, isr) ? (want + c->prio) & 7 : -1;
}

static void pic_update(struct pic *p)
{
    struct pic_chip *m = &p->chip[0];
    bool slave = chip_request(&p->chip[1], false) >= 0;
    m->irr = (uint8_t)((m->irr & ~(1u << CASCADE)) | (slave ? 1u << CASCADE : 0));
    irq_set(p->intr, chip_request(m, true) >= 0);
}

static void chip_line(struct pic_chip *c, int n, int level)
{
    uint8_t bit = (uint8_t)(1u << n);
    if (c->elcr & bit)
        c->irr = level ? c->irr | bit : c->irr & (uint8_t)~bit;
    else if (level && !(c->line & bit))
        c->irr |= bit;
    else if (!level)
        c->irr &= (uint8_t)~bit;
    c->line = level ? c->line | bit : c->line & (uint8_t)~bit;
}

static void pic_set_line(void *opaque, int n, int level)
{
    struct pic *p = opaque;
    if (n == CASCADE)
        return;
    chip_line(&p->chip[n >> 3], n & 7, level != 0);
    pic_update(p);
}

struct irq pic_irq(struct pic *p, int n)
{
    return (struct irq){ pic_set_line, p, n & 15 };
}

static void chip_ack(struct pic_chip *c, int n)
{
    uint8_t bit = (uint8_t)(1u << n);
    if (!(c->icw4 & ICW4_AEOI))
        c->isr |= bit;
    else if (c->rotate_aeoi)
        c->prio = (n + 1) & 7;
    if (!(c->elcr & bit))
        c->irr &= (uint8_t)~bit;
}

int pic_ack(struct pic *p)
{
    struct pic_chip *m = &p->chip[0], *s = &p->chip[1];
    int n = chip_request(m, true), vector;
    if (n < 0)
        return m->base + 7;                   /* spurious: no in-service bit */
    chip_ack(m, n);
    if (n == CASCADE) {
        n = chip_request(s, false);
        if (n >= 0)
            chip_ack(s, n);
        vector = s->base + (n < 0 ? 7 : n);
    } else {
        vector = m->base + n;
    }
    pic_update(p);
    return vector;
}

static void chip_icw1(struct pic_chip *c, uint8_t val)
{
    c->icw1 = val;
    c->icw4 = c->imr = c->isr = c->prio = c->smm = c->rotate_aeoi = c->read_isr = c->poll = 0;
    c->irr = c->line & c->elcr;
    c->init_step = 2;
}

/* In special mask mode a non-specific EOI passes over masked in-service bits. */
static void chip_eoi(struct pic_chip *c, uint8_t val)
{
    int cmd = val >> 5, n = val & 7;
    if (cmd == 1 || cmd == 5) {
        int rank = rank_of(c, c->smm ? c->isr & (uint8_t)~c->imr : c->isr);
        if (rank == NONE)
            return;
        n = (rank + c->prio) & 7;
    }
    if (cmd & 1)
        c->isr &= (uint8_t)~(1u << n);
    if (cmd >= 5)
        c->prio = (n + 1) & 7;
}

static void chip_command(struct pic_chip *c, uint8_t val)
{
    if (val & ICW1) {
        chip_icw1(c, val);
    } else if (val & 8) {
        if (val & 4)
            c->poll = 1;
        if (val & 2)
            c->read_isr = val & 1;
        if (val & 0x40)
            c->smm = val >> 5 & 1;
    } else if ((val >> 5 & 3) == 0) {
        c->rotate_aeoi = val >> 7;
    } else if (val >> 5 != 2) {
        chip_eoi(c, val);
    }
}

static void chip_data(struct pic_chip *c, uint8_t val)
{
    switch (c->init_step) {
    case 2:
        c->base = val & 0xf8;
        c->init_step = c->icw1 & ICW1_SINGLE ? (c->icw1 & ICW1_IC4 ? 4 : 0) : 3;
        break;
    case 3:
        c->init_step = c->icw1 & ICW1_IC4 ? 4 : 0;
        break;
    case 4:
        c->icw4 = val;
        c->init_step = 0;
        break;
    default:
        c->imr = val;
    }
}

static void pic_write(struct pic *p, int chip, uint64_t offset, uint8_t val)
{
    if (offset & 1)
        chip_data(&p->chip[chip], val);
    else
        chip_command(&p->chip[chip], val);
    pic_update(p);
}

static uint64_t pic_read(struct pic *p, int chip, uint64_t offset)
{
    struct pic_chip *c = &p->chip[chip];
    if (c->poll) {                            /* this read is the acknowledge */
        int n = chip_request(c, chip == 0);
        c->poll = 0;
        if (n < 0)
            return 0;
        chip_ack(c, n);
        pic_update(p);
        return 0x80u | (unsigned)n;
    }
    if (offset & 1)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size) { return pic_read(opaque, 0, offset); }
static uint64_t slave_read(void *opaque, uint64_t offset, unsigned size) { return pic_read(opaque, 1, offset); }
static void master_write(void *opaque, uint64_t offset, uint64_t val, unsigned size) { pic_write(opaque, 0, offset, (uint8_t)val); }
static void slave_write(void *opaque, uint64_t offset, uint64_t val, unsigned size) { pic_write(opaque, 1, offset, (uint8_t)val); }

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct pic *)opaque)->chip[offset & 1].elcr;
}

/* Lines that change to level take the present level into IRR. */
static void elcr_set(struct pic_chip *c, uint8_t val, bool slave)
{
    c->elcr = val & (slave ? 0xde : 0xf8);
    c->irr = (uint8_t)((c->irr & ~c->elcr) | (c->line & c->elcr));
}

static void elcr_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct pic *p = opaque;
    elcr_set(&p->chip[offset & 1], (uint8_t)val, offset & 1);
    pic_update(p);
}

void pic_set_elcr(struct pic *p, uint16_t mask)
{
    for (int i = 0; i < 2; i++) {
        p->chip[i].elcr_default = (uint8_t)(mask >> (8 * i));
        elcr_set(&p->chip[i], p->chip[i].elcr_default, i);
    }
    pic_update(p);
}

static void pic_reset(void *dev)
{
    struct pic *p = dev;
    for (int i = 0; i < 2; i++) {
        struct pic_chip *c = &p->chip[i];
        uint8_t line = c->line, elcr = c->elcr_default;
        *c = (struct pic_chip){ .line = line, .elcr_default = elcr };
        elcr_set(c, elcr, i);
    }
    pic_update(p);
}

static void pic_post_load(void *dev)
{
    pic_update(dev);
}

static const struct state_row pic_rows[] = {
    S_SKIP(struct pic, dev), S_SKIP(struct pic, io), S_SKIP(struct pic, elcr_io), S_SKIP(struct pic, intr), S_SAVE(struct pic, chip), S_END
};

struct pic *pic_new(struct vm *vm, struct aspace *io, struct irq intr)
{
    struct pic *p = xzalloc(sizeof(*p));
    p->intr = intr;
    p->io[0] = (struct region){ .kind = REGION_IO, .name = "pic-master", .read = master_read, .write = master_write, .opaque = p, .max_size = 1 };
    p->io[1] = (struct region){ .kind = REGION_IO, .name = "pic-slave", .read = slave_read, .write = slave_write, .opaque = p, .max_size = 1 };
    p->elcr_io = (struct region){ .kind = REGION_IO, .name = "elcr", .read = elcr_read, .write = elcr_write, .opaque = p, .max_size = 1 };
    as_add(io, &p->io[0], 0x20, 2);
    as_add(io, &p->io[1], 0xa0, 2);
    as_add(io, &p->elcr_io, 0x4d0, 2);
    device_add(vm, &p->dev, "pic", pic_rows, sizeof(*p), pic_reset);
    p->dev.post_load = pic_post_load;
    pic_reset(p);
    return p;
}
