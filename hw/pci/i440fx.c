/*
 * i440FX host bridge: identity and PAM. See i440fx.h.
 *
 * In: config writes to 0x59-0x5f. Out: one window per segment, present unless the segment is in mode 0 (ROM shows).
 * Invariant: a window's mode equals its PAM bits after every write, reset and load. RAM windows share bytes and write tracking with the RAM
 * region. Locks: machine lock. Manual: 82441FX data sheet.
 */
#include "hw/pci/i440fx.h"
#include "core/alloc.h"
#include <string.h>

enum { PAM0 = 0x59, PAM_READ = 1, PAM_WRITE = 2, HOLE = 0xc0000, HOLE_SIZE = 0x40000 };
enum { SMRAM = 0x72, D_OPEN = 0x40, D_CLS = 0x20, D_LCK = 0x10, G_SMRAME = 8 };

/* Which nibble describes segment i: the high half of 0x59 is the BIOS area, then two 16 KiB segments a register. */
static unsigned pam_bits(const struct i440fx *f, int i)
{
    if (i == 0)
        return f->pci.config[PAM0] >> 4 & 3;
    return f->pci.config[PAM0 + (i + 1) / 2] >> (i & 1 ? 0 : 4) & 3;
}

static uint64_t shadow_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pam_segment *s = opaque;
    uint64_t v = ~0ull;
    if (s->bridge->rom)
        memcpy(&v, s->bridge->rom->host + (s->base - HOLE) + offset, size);
    return v & size_mask(size);
}

static void shadow_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct pam_segment *s = opaque;
    memcpy(s->bridge->ram->host + s->base + offset, &val, size);
}

static void pam_window(struct pam_segment *s, unsigned mode)
{
    struct region *ram = s->bridge->ram, *w = &s->window;
    if (s->mode == mode)
        return;
    if (s->mode)
        as_remove(s->bridge->mem, w);
    s->mode = (uint8_t)mode;
    if (!mode)
        return;
    if (mode == PAM_WRITE)
        *w = (struct region){ .kind = REGION_IO, .name = "pam-write", .read = shadow_read, .write = shadow_write, .opaque = s, .max_size = 8,
                              .track = ram->track + (s->base >> PAGE_BITS) };
    else
        *w = (struct region){ .kind = mode & PAM_WRITE ? REGION_RAM : REGION_ROM, .name = "pam", .host = ram->host + s->base,
                              .track = ram->track + (s->base >> PAGE_BITS) };
    as_add(s->bridge->mem, w, s->base, s->size);
}

static void pam_update(struct i440fx *f)
{
    for (int i = 0; i < PAM_SEGMENTS; i++)
        pam_window(&f->pam[i], pam_bits(f, i));
}

/* D_LCK closes SMRAM and locks the register until reset, but for D_CLS. */
static void smram_update(struct i440fx *f)
{
    uint8_t v = f->pci.config[SMRAM];
    if (v & D_LCK) {
        v &= (uint8_t)~D_OPEN;
        pci_config_set(&f->pci, SMRAM, 1, v, D_CLS);
    }
    irq_set(f->smram[0], (v & G_SMRAME) && (v & D_OPEN));
    irq_set(f->smram[1], (v & G_SMRAME) != 0);
}

void i440fx_connect_smram(struct i440fx *f, struct irq open, struct irq enabled)
{
    f->smram[0] = open;
    f->smram[1] = enabled;
    smram_update(f);
}

static void i440fx_config_written(struct pci_dev *d, unsigned offset, unsigned size)
{
    if (offset < PAM0 + 7 && offset + size > PAM0)
        pam_update(container_of(d, struct i440fx, pci));
    if (offset <= SMRAM && offset + size > SMRAM)
        smram_update(container_of(d, struct i440fx, pci));
}

void i440fx_open_shadow(struct i440fx *f)
{
    f->pci.config[PAM0] = 0x30;
    memset(f->pci.config + PAM0 + 1, 0x33, 6);
    pam_update(f);
}

static void i440fx_reset(void *dev)
{
    struct i440fx *f = dev;
    pci_config_set(&f->pci, SMRAM, 1, 0x02, D_OPEN | D_CLS | D_LCK | G_SMRAME);
    pci_dev_reset(&f->pci);
    pam_update(f);
    smram_update(f);
}

static void i440fx_post_load(void *dev)
{
    struct i440fx *f = dev;
    pci_dev_post_load(&f->pci);
    pam_update(f);
    smram_update(f);
}

static const struct state_row i440fx_rows[] = {
    PCI_ROWS(struct i440fx, pci), S_SKIP(struct i440fx, mem), S_SKIP(struct i440fx, ram), S_SKIP(struct i440fx, rom),
    S_SKIP(struct i440fx, pam), S_SKIP(struct i440fx, smram), S_END
};

struct i440fx *i440fx_new(struct vm *vm, struct pci_bus *bus, struct aspace *mem, struct region *ram, struct region *rom)
{
    struct i440fx *f = xzalloc(sizeof(*f));
    f->mem = mem;
    f->ram = ram;
    f->rom = rom;
    for (int i = 0; i < PAM_SEGMENTS; i++) {
        f->pam[i].bridge = f;
        f->pam[i].base = i ? HOLE + (i - 1) * 0x4000u : 0xf0000u;
        f->pam[i].size = i ? 0x4000u : 0x10000u;
    }
    pci_dev_init(bus, &f->pci, PCI_DEVFN(0, 0), 0x8086, 0x1237, 0x060000, 2);
    pci_config_set(&f->pci, PCI_COMMAND, 2, 0x0006, 0x0100);
    pci_config_set(&f->pci, PCI_STATUS, 2, 0x0280, 0);
    pci_config_set(&f->pci, PAM0, 1, 0, 0x30);
    for (unsigned reg = PAM0 + 1; reg < PAM0 + 7; reg++)
        pci_config_set(&f->pci, reg, 1, 0, 0x33);
    f->pci.config_written = i440fx_config_written;
    device_add(vm, &f->pci.dev, "i440fx", i440fx_rows, sizeof(*f), i440fx_reset);
    f->pci.dev.post_load = i440fx_post_load;
    i440fx_reset(f);
    return f;
}
