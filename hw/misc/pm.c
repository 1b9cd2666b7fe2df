/*
 * PIIX4 power management. See pm.h.
 *
 * In: config (0x40 base, 0x80 enable), ACPI ports, 0xb2/0xb3. Out: SCI level, SMI pulse, power-off.
 * Invariant: SCI is high exactly while SCI_EN and some enabled status bit. The block is mapped exactly while 0x80 bit 0 is set.
 * Reset maps it at 0x600, as firmware would. Locks: machine lock. Manual: ACPI 6.4 chapter 4.8; 82371AB data sheet.
 */
#include "hw/misc/pm.h"
#include "core/alloc.h"
#include "core/log.h"

enum { PM_STS = 0, PM_EN = 2, PM_CNT = 4, PM_TMR = 8, GLB_CTL = 0x28, REG_BASE = 0x40, REG_DEVACTB = 0x58, REG_MISC = 0x80 };
enum { STS_TMR = 1, STS_GBL = 0x20, STS_PWRBTN = 0x100, STS_RTC = 0x400, STS_WAK = 0x8000, CNT_SCI_EN = 1, CNT_SLP_EN = 0x2000 };
#define STS_ALL 0x8731
#define APMC_EN 0x02000000u
#define GLB_SMI_EN 1u

static uint32_t pm_ticks(const struct pm *p)
{
    return (uint32_t)muldiv64((uint64_t)clock_ns(p->clock), PM_TIMER_HZ, NS_PER_SEC);
}

static void sci_update(struct pm *p)
{
    bool on = (p->control & CNT_SCI_EN) && ((p->status & p->enable & (STS_TMR | STS_GBL | STS_PWRBTN | STS_RTC)) || (p->gpe_status & p->gpe_enable));
    irq_set(p->sci, on);
}

/* The timer's top bit changes every 2^31 counts; a host timer is needed only until the status bit is set. */
static void overflow_arm(struct pm *p)
{
    uint64_t t = muldiv64((uint64_t)clock_ns(p->clock), PM_TIMER_HZ, NS_PER_SEC);
    p->overflow_at = (int64_t)muldiv64((t / BIT(31) + 1) * BIT(31), NS_PER_SEC, PM_TIMER_HZ) + 1;
    timer_set(&p->overflow, p->overflow_at);
}

static void overflow_fire(void *opaque)
{
    struct pm *p = opaque;
    p->status |= STS_TMR;
    overflow_arm(p);
    sci_update(p);
}

static void control_write(struct pm *p, uint16_t val)
{
    p->control = val & 0x1c07;
    if (!(val & CNT_SLP_EN))
        return;
    if ((val >> 10 & 7) == PM_S5_TYPE)
        vm_request(p->vm, VM_POWEROFF, 0);
    else
        log_guest("pm: sleep type %d is not supported", val >> 10 & 7);
}

static uint32_t pm_reg(const struct pm *p, unsigned dword)
{
    switch (dword) {
    case PM_STS: return p->status | (uint32_t)p->enable << 16;
    case PM_CNT: return p->control;
    case PM_TMR: return pm_ticks(p);
    case GLB_CTL: return p->glb_ctl;
    default: return 0;
    }
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
    return pm_reg(opaque, (unsigned)offset & ~3u) >> (offset & 3) * 8 & size_mask(size);
}

static uint16_t merge(uint16_t old, uint64_t val, unsigned shift, unsigned size)
{
    uint16_t m = (uint16_t)(size_mask(size) << shift);
    return (uint16_t)((old & ~m) | (val << shift & m));
}

static void pm_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct pm *p = opaque;
    unsigned shift = (offset & 1) * 8;
    switch (offset & ~1ull) {
    case PM_STS:
        p->status &= (uint16_t)~(merge(0, val, shift, MIN(size, 2u)) & STS_ALL);
        if (size == 4)
            p->enable = (uint16_t)(val >> 16) & 0x0521;
        break;
    case PM_EN: p->enable = merge(p->enable, val, shift, size) & 0x0521; break;
    case PM_CNT: control_write(p, merge(p->control, val, shift, MIN(size, 2u))); break;
    case GLB_CTL: p->glb_ctl = (uint32_t)val; break;
    }
    sci_update(p);
}

static uint64_t gpe_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pm *p = opaque;
    return (p->gpe_status | (uint32_t)p->gpe_enable << 16) >> offset * 8 & size_mask(size);
}

static void gpe_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct pm *p = opaque;
    uint32_t bits = (uint32_t)((val & size_mask(size)) << offset * 8), mask = (uint32_t)(size_mask(size) << offset * 8);
    p->gpe_status &= (uint16_t)~bits;
    p->gpe_enable = (uint16_t)((((uint32_t)p->gpe_enable << 16 & ~mask) | (bits & 0xffff0000u)) >> 16);
    sci_update(p);
}

static uint64_t smi_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pm *p = opaque;
    return offset ? p->apms : p->apmc;
}

static void smi_write(void *opaque, uint64_t offset, uint64_t val, unsigned size)
{
    struct pm *p = opaque;
    if (offset) {
        p->apms = (uint8_t)val;
        return;
    }
    p->apmc = (uint8_t)val;
    if (val == PM_ACPI_ENABLE)
        p->control |= CNT_SCI_EN;
    else if (val == PM_ACPI_DISABLE)
        p->control &= (uint16_t)~CNT_SCI_EN;
    sci_update(p);
    if ((pci_config_get(&p->pci, REG_DEVACTB, 4) & APMC_EN) && (p->glb_ctl & GLB_SMI_EN))
        irq_pulse(p->smi);
}

static void map_update(struct pm *p)
{
    uint16_t base = pci_config_get(&p->pci, REG_BASE, 2) & 0xffc0;
    bool on = (p->pci.config[REG_MISC] & 1) && base;
    if (p->mapped && (!on || base != p->mapped_base)) {
        as_remove(p->io, &p->pm_io);
        p->mapped = false;
    }
    if (on && !p->mapped) {
        as_add(p->io, &p->pm_io, base, 0x40);
        p->mapped = true;
        p->mapped_base = base;
    }
}

static void pm_config_written(struct pci_dev *d, unsigned offset, unsigned size)
{
    map_update(container_of(d, struct pm, pci));
}

void pm_power_button(struct pm *p)
{
    p->status |= STS_PWRBTN;
    sci_update(p);
}

static void pm_reset(void *dev)
{
    struct pm *p = dev;
    pci_dev_reset(&p->pci);
    p->status = p->enable = p->gpe_status = p->gpe_enable = 0;
    p->control = 0;
    p->glb_ctl = 0;
    p->apmc = p->apms = 0;
    map_update(p);
    overflow_arm(p);
    sci_update(p);
}

static void pm_post_load(void *dev)
{
    struct pm *p = dev;
    pci_dev_post_load(&p->pci);
    map_update(p);
    overflow_arm(p);
    sci_update(p);
}

static const struct state_row pm_rows[] = {
    PCI_ROWS(struct pm, pci), S_SKIP(struct pm, io), S_SKIP(struct pm, vm), S_SKIP(struct pm, pm_io), S_SKIP(struct pm, gpe_io),
    S_SKIP(struct pm, smi_io), S_SKIP(struct pm, sci), S_SKIP(struct pm, smi), S_SKIP(struct pm, clock), S_SKIP(struct pm, overflow),
    S_SKIP(struct pm, mapped), S_SKIP(struct pm, mapped_base), S_SAVE(struct pm, status), S_SAVE(struct pm, enable), S_SAVE(struct pm, control),
    S_SAVE(struct pm, gpe_status), S_SAVE(struct pm, gpe_enable), S_SAVE(struct pm, glb_ctl), S_SAVE(struct pm, apmc), S_SAVE(struct pm, apms),
    S_SAVE(struct pm, overflow_at), S_END
};

struct pm *pm_new(struct vm *vm, struct pci_bus *bus, struct aspace *io, struct irq sci, struct irq smi)
{
    struct pm *p = xzalloc(sizeof(*p));
    p->vm = vm;
    p->io = io;
    p->sci = sci;
    p->smi = smi;
    p->clock = vm->clock;
    timer_init(&p->overflow, vm->clock, overflow_fire, p);
    p->pm_io = (struct region){ .kind = REGION_IO, .name = "pm", .read = pm_read, .write = pm_write, .opaque = p };
    p->gpe_io = (struct region){ .kind = REGION_IO, .name = "gpe", .read = gpe_read, .write = gpe_write, .opaque = p };
    p->smi_io = (struct region){ .kind = REGION_IO, .name = "smi", .read = smi_read, .write = smi_write, .opaque = p, .max_size = 1 };
    as_add(io, &p->gpe_io, PM_GPE_BASE, 4);
    as_add(io, &p->smi_io, PM_SMI_CMD, 2);
    pci_dev_init(bus, &p->pci, PCI_DEVFN(1, 3), 0x8086, 0x7113, 0x068000, 3);
    pci_config_set(&p->pci, PCI_STATUS, 2, 0x0280, 0);
    pci_set_int_pin(&p->pci, 1);
    pci_config_set(&p->pci, PCI_INT_LINE, 1, 9, 0xff);
    pci_config_set(&p->pci, REG_BASE, 4, PM_BASE | 1, 0xffc0);
    pci_config_set(&p->pci, REG_DEVACTB, 4, smi.set ? 0 : APMC_EN, smi.set ? ~0u : ~APMC_EN);
    pci_config_set(&p->pci, REG_MISC, 1, 1, 1);
    pci_config_set(&p->pci, 0x5c, 4, 0x04, 0xffffffff);
    pci_config_set(&p->pci, 0x90, 4, 1, 0xfff0);
    pci_config_set(&p->pci, 0xd2, 1, 0, 0xff);
    p->pci.config_written = pm_config_written;
    device_add(vm, &p->pci.dev, "pm", pm_rows, sizeof(*p), pm_reset);
    p->pci.dev.post_load = pm_post_load;
    pm_reset(p);
    return p;
}
