/*
 * Chips at register level with a manual clock and recorded lines: state coverage of every device, and the main paths of each.
 */
#include "tests/unit/test.h"
#include "core/alloc.h"
#include "hw/char/debugcon.h"
#include "hw/char/uart.h"
#include "hw/input/i8042.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "hw/intc/pic.h"
#include "hw/misc/debugexit.h"
#include "hw/misc/fw_cfg.h"
#include "hw/misc/pm.h"
#include "hw/misc/port92.h"
#include "hw/pci/i440fx.h"
#include "hw/pci/piix3.h"
#include "hw/timer/hpet.h"
#include "hw/timer/pit.h"
#include "hw/timer/rtc.h"

static int level[32], edges[32];
static void line_set(void *opaque, int n, int l) { edges[n] += l && !level[n]; level[n] = l; }
static struct irq line(int n) { return (struct irq){ line_set, NULL, n }; }

struct rig { struct vm *vm; struct vcpu cpu; struct region ram; };

static struct rig *rig_new(void)
{
    struct rig *r = xzalloc(sizeof(*r));
    memset(level, 0, sizeof(level));
    memset(edges, 0, sizeof(edges));
    r->vm = vm_new(NULL, clock_new_manual());
    r->cpu.vm = r->vm;
    as_add_ram(r->vm->mem, &r->ram, "ram", 0, 1 << 20, REGION_RAM);
    return r;
}

static void outb(struct rig *r, unsigned port, unsigned v) { as_write(r->vm->io, port, v, 1); }
static unsigned inb(struct rig *r, unsigned port) { return (unsigned)as_read(r->vm->io, port, 1); }

static int pic_ack_any(void *p) { return pic_ack(p); }

TEST(hw_state_coverage)
{
    struct rig *r = rig_new();
    struct vm *vm = r->vm;
    struct irq lines[24];
    for (int i = 0; i < 24; i++)
        lines[i] = line(i);
    struct apic_bus *b = apic_bus_new(vm, vm->mem);
    struct pci_bus *pci = pci_bus_new(vm, vm->mem, vm->io);
    pic_new(vm, vm->io, line(0));
    ioapic_new(vm, vm->mem, apic_deliver, b);
    lapic_new(vm, b, &r->cpu, NULL);
    pit_new(vm, vm->io, line(0));
    rtc_new(vm, vm->io, line(8), 0);
    hpet_new(vm, vm->mem, lines);
    uart_new(vm, vm->io, 0x3f8, line(4), NULL);
    debugcon_new(vm, vm->io, 0xe9, NULL);
    debugexit_new(vm, vm->io, 0x501, 0);
    fw_cfg_new(vm, vm->io, vm->mem);
    port92_new(vm, vm->io, line(20));
    i8042_new(vm, vm->io, line(1), line(12), line(20));
    i440fx_new(vm, pci, vm->mem, &r->ram, NULL);
    piix3_new(vm, pci, lines);
    pm_new(vm, pci, vm->io, line(9), (struct irq){ 0 });
    for (struct device *d = vm->devices; d; d = d->next) {
        long at = state_uncovered(d->rows, d->size);
        if (at >= 0)
            printf("%s: byte %ld\n", d->name, at);
        CHECK_EQ(at, -1);
    }
    vm_reset_devices(vm);
}

TEST(hw_pic_priorities)
{
    struct rig *r = rig_new();
    struct pic *p = pic_new(r->vm, r->vm->io, line(0));
    static const uint16_t init[][2] = { { 0x20, 0x11 }, { 0x21, 0x20 }, { 0x21, 4 }, { 0x21, 1 }, { 0xa0, 0x11 }, { 0xa1, 0x28 }, { 0xa1, 2 }, { 0xa1, 1 } };
    for (unsigned i = 0; i < ARRAY_SIZE(init); i++)
        outb(r, init[i][0], init[i][1]);
    irq_raise(pic_irq(p, 4));
    CHECK_EQ(level[0], 1);
    irq_raise(pic_irq(p, 8));
    CHECK_EQ(pic_ack(p), 0x28);
    CHECK_EQ(level[0], 0);                        /* 4 waits behind the cascade */
    irq_raise(pic_irq(p, 1));
    CHECK_EQ(pic_ack(p), 0x21);
    outb(r, 0x20, 0x20);
    outb(r, 0xa0, 0x20);
    outb(r, 0x20, 0x20);
    CHECK_EQ(pic_ack(p), 0x24);
    outb(r, 0x20, 0x64);
    CHECK_EQ(pic_ack(p), 0x27);                   /* spurious */
    outb(r, 0x4d1, 0x0c);
    irq_raise(pic_irq(p, 10));
    CHECK_EQ(pic_ack(p), 0x2a);
    outb(r, 0xa0, 0x20);
    outb(r, 0x20, 0x20);
    CHECK_EQ(level[0], 1);                        /* still asserted */
    irq_lower(pic_irq(p, 10));
    CHECK_EQ(level[0], 0);
}

TEST(hw_apic)
{
    struct rig *r = rig_new();
    struct aspace *m = r->vm->mem;
    struct apic_bus *b = apic_bus_new(r->vm, m);
    struct ioapic *io = ioapic_new(r->vm, m, apic_deliver, b);
    struct pic *pic = pic_new(r->vm, r->vm->io, apic_bus_pic_irq(b));
    struct vcpu_intc *ic = &r->cpu.intc;
    lapic_new(r->vm, b, &r->cpu, NULL);
    apic_bus_connect_eoi(b, ioapic_eoi, io);
    apic_bus_connect_pic(b, pic_ack_any, pic);
    irq_raise(pic_irq(pic, 0));
    CHECK(r->cpu.pending & VCPU_INTR);
    CHECK_EQ(ic->ack(ic->opaque), 0);
    CHECK(!(r->cpu.pending & VCPU_INTR));
    as_write(m, 0xfee000f0, 0x1ff, 4);
    as_write(m, 0xfec00000, 0x10 + 2 * 10, 4);
    as_write(m, 0xfec00010, 0x8051, 4);
    irq_raise(ioapic_irq(io, 10));
    CHECK_EQ(ic->ack(ic->opaque), 0x51);
    CHECK_EQ(ic->ack(ic->opaque), -1);
    as_write(m, 0xfee000b0, 0, 4);
    CHECK_EQ(ic->ack(ic->opaque), 0x51);          /* the pin is still high */
    irq_lower(ioapic_irq(io, 10));
    as_write(m, 0xfee000b0, 0, 4);
    CHECK(!(r->cpu.pending & VCPU_INTR));
    apic_msi(b, 0xfee00000, 0x61);
    ic->set_tpr(ic->opaque, 6);
    CHECK(!(r->cpu.pending & VCPU_INTR));
    ic->set_tpr(ic->opaque, 0);
    CHECK_EQ(ic->ack(ic->opaque), 0x61);
    as_write(m, 0xfee000b0, 0, 4);
    as_write(m, 0xfee003e0, 11, 4);
    as_write(m, 0xfee00320, 0x20040, 4);
    as_write(m, 0xfee00380, 1000000, 4);
    clock_advance(r->vm->clock, 400000);
    CHECK_EQ(as_read(m, 0xfee00390, 4), 600000);
    clock_advance(r->vm->clock, 600001);
    CHECK_EQ(ic->ack(ic->opaque), 0x40);
    CHECK_EQ(ic->set_base(ic->opaque, 0xfee00d00), 0);
    CHECK_EQ(ic->x2apic_write(ic->opaque, 0x80b, 1), -1);
    CHECK_EQ(ic->x2apic_write(ic->opaque, 0x83f, 0x77), 0);
    CHECK_EQ(ic->ack(ic->opaque), 0x77);
}

TEST(hw_timers)
{
    struct rig *r = rig_new();
    pit_new(r->vm, r->vm->io, line(0));
    rtc_new(r->vm, r->vm->io, line(8), 951782399);    /* 2000-02-28 23:59:59 */
    outb(r, 0x43, 0x34);
    outb(r, 0x40, 0x9c);
    outb(r, 0x40, 0x2e);
    edges[0] = 0;
    clock_advance(r->vm->clock, 1000000000);
    CHECK(edges[0] == 100 || edges[0] == 99);
    outb(r, 0x70, 7);
    CHECK_EQ(inb(r, 0x71), 0x29);
    outb(r, 0x61, 0);
    outb(r, 0x43, 0xb0);
    outb(r, 0x42, 0xa9);
    outb(r, 0x42, 0x04);
    outb(r, 0x61, 1);
    CHECK_EQ(inb(r, 0x61) & 0x20, 0);
    clock_advance(r->vm->clock, 1001000);
    CHECK_EQ(inb(r, 0x61) & 0x20, 0x20);
}

TEST(hw_uart_i8042_pci)
{
    struct rig *r = rig_new();
    uart_new(r->vm, r->vm->io, 0x3f8, line(4), NULL);
    struct i8042 *k = i8042_new(r->vm, r->vm->io, line(1), line(12), line(20));
    struct pci_bus *pci = pci_bus_new(r->vm, r->vm->mem, r->vm->io);
    i440fx_new(r->vm, pci, r->vm->mem, &r->ram, NULL);
    outb(r, 0x3fc, 8);
    outb(r, 0x3f9, 2);
    CHECK_EQ(level[4], 1);
    CHECK_EQ(inb(r, 0x3fa), 2);
    CHECK_EQ(level[4], 0);
    outb(r, 0x3fc, 0x10);
    outb(r, 0x3f8, 'x');
    CHECK_EQ(inb(r, 0x3fd) & 1, 1);
    CHECK_EQ(inb(r, 0x3f8), 'x');
    i8042_key(k, 0x1e, false, true);
    CHECK_EQ(inb(r, 0x60), 0x1e);
    i8042_key(k, 0x48, true, false);
    CHECK_EQ(inb(r, 0x60), 0xe0);
    CHECK_EQ(inb(r, 0x60), 0xc8);
    outb(r, 0x64, 0xaa);
    CHECK_EQ(inb(r, 0x60), 0x55);
    as_write(r->vm->io, 0xcf8, 0x80000000, 4);
    CHECK_EQ(as_read(r->vm->io, 0xcfc, 4), 0x12378086);
    as_write(r->vm->io, 0xcf8, 0x80000058, 4);
    as_write(r->vm->io, 0xcfd, 0x30, 1);
    as_write(r->vm->mem, 0xf0000, 0x1234, 2);
    CHECK_EQ(as_read(r->vm->mem, 0xf0000, 2), 0x1234);
}
