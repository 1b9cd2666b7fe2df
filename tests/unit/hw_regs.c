/*
 * Registers that hw_chips.c leaves out, each with a manual clock and recorded lines: HPET, fw_cfg DMA and directory, power management,
 * port 0x92 and 0xcf9, debug exit, PIRQ routing, RTC interrupts, the local APIC's timer modes and IPIs, UART timeout and overrun.
 */
#include "tests/unit/test.h"
#include "core/alloc.h"
#include "hw/char/uart.h"
#include "hw/intc/lapic.h"
#include "hw/misc/debugexit.h"
#include "hw/misc/fw_cfg.h"
#include "hw/misc/pm.h"
#include "hw/misc/port92.h"
#include "hw/pci/i440fx.h"
#include "hw/pci/piix3.h"
#include "hw/timer/hpet.h"
#include "hw/timer/rtc.h"
#include <endian.h>

static int level[32], edges[32];
static void line_set(void *opaque, int n, int l) { edges[n] += l && !level[n]; level[n] = l; }
static struct irq line(int n) { return (struct irq){ line_set, NULL, n }; }

static struct vm *vm;
static struct region ram;

static void rig(void)
{
    memset(level, 0, sizeof(level));
    memset(edges, 0, sizeof(edges));
    memset(&ram, 0, sizeof(ram));
    vm = vm_new(NULL, clock_new_manual());
    as_add_ram(vm->mem, &ram, "ram", 0, 1 << 20, REGION_RAM);
}

static void out(unsigned port, uint64_t v, unsigned size) { as_write(vm->io, port, v, size); }
static uint64_t in(unsigned port, unsigned size) { return as_read(vm->io, port, size); }
static void poke(uint64_t addr, uint64_t v, unsigned size) { as_write(vm->mem, addr, v, size); }
static uint64_t peek(uint64_t addr, unsigned size) { return as_read(vm->mem, addr, size); }
static void pass(int64_t ns) { machine_lock(); clock_advance(vm->clock, ns); machine_unlock(); }
static void cfg(int devfn, unsigned off, uint32_t v, unsigned size)
{
    out(0xcf8, 0x80000000u | (unsigned)devfn << 8 | (off & ~3u), 4);
    out(0xcfc + (off & 3), v, size);
}

/* ---- HPET: 100 MHz, so 100 counts are a microsecond ---- */

static void hpet_rig(void)
{
    struct irq lines[24];
    rig();
    for (int i = 0; i < 24; i++)
        lines[i] = line(i);
    hpet_new(vm, vm->mem, lines);
}

TEST(hpet_counts_and_stops)
{
    hpet_rig();
    CHECK_EQ(peek(0xfed00004, 4), 10000000);      /* femtoseconds a count */
    pass(1000);
    CHECK_EQ(peek(0xfed000f0, 8), 0);
    poke(0xfed00010, 1, 4);
    pass(1000);
    CHECK_EQ(peek(0xfed000f0, 8), 100);
    poke(0xfed00010, 0, 4);
    pass(1000);
    CHECK_EQ(peek(0xfed000f0, 8), 100);
    poke(0xfed000f0, 0xfffffff0, 8);
    poke(0xfed00010, 1, 4);
    pass(320);
    CHECK_EQ(peek(0xfed000f4, 4), 1);             /* carry into the high half */
}

TEST(hpet_one_shot_once)
{
    hpet_rig();
    poke(0xfed00100, 0x104 | 20 << 9, 8);         /* 32 bits, edge, line 20 */
    poke(0xfed00108, 500, 8);
    poke(0xfed00010, 1, 4);
    pass(4990);
    CHECK_EQ(edges[20], 0);
    pass(10);
    CHECK_EQ(edges[20], 1);
    pass(1000000000);
    CHECK_EQ(edges[20], 1);                       /* not before the low word has gone round */
    pass(42000000000);
    CHECK_EQ(edges[20], 2);
}

TEST(hpet_periodic_and_level)
{
    hpet_rig();
    poke(0xfed00120, 0x4e | 21 << 9, 8);          /* timer 1: level, enabled, periodic, VAL_SET */
    poke(0xfed00128, 10000, 8);
    poke(0xfed00010, 1, 4);
    pass(100000);
    if (!(peek(0xfed00120, 8) & 8))
        SKIP("timer 1 is not periodic here");
    CHECK_EQ(level[21], 1);
    CHECK_EQ(peek(0xfed00020, 4), 2);
    poke(0xfed00020, 2, 4);
    CHECK_EQ(level[21], 0);
    pass(99990);
    CHECK_EQ(level[21], 0);
    pass(10);
    CHECK_EQ(level[21], 1);
}

/* A comparator whose matches nobody can notice costs no wake-ups, and has gone on all the same. */
TEST(hpet_unnoticed)
{
    hpet_rig();
    poke(0xfed00100, 0x48 | 20 << 9, 8);          /* timer 0: edge, disabled, periodic, VAL_SET */
    poke(0xfed00108, 10000, 8);
    poke(0xfed00010, 1, 4);
    CHECK_EQ(clock_next_deadline(vm->clock), CLOCK_NEVER);
    pass(1050000);
    CHECK_EQ(edges[20], 0);
    CHECK_EQ(peek(0xfed00108, 8), 110000);
    pass(100000);
    poke(0xfed00100, 0x0c | 20 << 9, 8);          /* enabled in the middle of a period */
    pass(49990);
    CHECK_EQ(edges[20], 0);
    pass(10);
    CHECK_EQ(edges[20], 1);
    poke(0xfed00100, 0x0a | 20 << 9, 8);          /* level, disabled: the status bit must come, once */
    pass(100000);
    CHECK_EQ(clock_next_deadline(vm->clock), CLOCK_NEVER);
    CHECK_EQ(peek(0xfed00020, 4), 1);
    pass(100000);
    poke(0xfed00020, 1, 4);
    pass(99990);
    CHECK_EQ(peek(0xfed00020, 4), 0);
    pass(10);
    CHECK_EQ(peek(0xfed00020, 4), 1);
}

TEST(hpet_legacy_route)
{
    struct irq lines[24];
    rig();
    for (int i = 0; i < 24; i++)
        lines[i] = line(i);
    struct hpet *h = hpet_new(vm, vm->mem, lines);
    irq_set(hpet_pit_irq(h), 1);
    CHECK_EQ(level[0], 1);
    poke(0xfed00100, 0x4c, 8);
    poke(0xfed00108, 100000, 8);
    poke(0xfed00010, 3, 4);
    CHECK_EQ(level[0], 0);                        /* the PIT is cut off */
    edges[0] = 0;
    irq_pulse(hpet_pit_irq(h));
    CHECK_EQ(edges[0], 0);
    pass(10000000);
    CHECK_EQ(edges[0], 10);
    irq_pulse(hpet_rtc_irq(h));
    CHECK_EQ(edges[8], 0);
    poke(0xfed00010, 0, 4);
    irq_pulse(hpet_rtc_irq(h));
    CHECK_EQ(edges[8], 1);
}

/* ---- fw_cfg ---- */

TEST(fw_cfg_directory_and_dma)
{
    struct { uint32_t control, length; uint64_t address; } req;
    uint8_t got[16];
    uint16_t key = 0;
    rig();
    struct fw_cfg *f = fw_cfg_new(vm, vm->io, vm->mem);
    fw_cfg_add_file(f, "etc/one", "ABCDEFGH", 8);
    out(0x510, 0, 2);
    CHECK_EQ(in(0x511, 1), 'Q');
    out(0x510, 0x19, 2);
    CHECK_EQ(in(0x511, 1) << 24 | in(0x511, 1) << 16 | in(0x511, 1) << 8 | in(0x511, 1), 1);
    CHECK_EQ(in(0x511, 1) << 24 | in(0x511, 1) << 16 | in(0x511, 1) << 8 | in(0x511, 1), 8);
    key = (uint16_t)(in(0x511, 1) << 8);
    key |= (uint16_t)in(0x511, 1);
    CHECK_EQ(key, 0x20);
    CHECK_EQ(be32toh((uint32_t)in(0x514, 4)), 0x51454d55);
    req.control = htobe32((uint32_t)key << 16 | 8 | 2);
    req.length = htobe32(12);
    req.address = htobe64(0x2000);
    as_load(vm->mem, 0x1000, &req, sizeof(req));
    poke(0x2000 + 8, ~0ull, 8);
    out(0x514, 0, 4);
    out(0x518, htobe32(0x1000), 4);
    CHECK_EQ(peek(0x1000, 4), 0);
    CHECK(!as_dma_read(vm->mem, 0x2000, got, 16));
    CHECK(!memcmp(got, "ABCDEFGH\0\0\0\0\377\377\377\377", 16));        /* zeros after the item, then nothing touched */
    req.control = htobe32(2);
    req.address = htobe64(0x7ffffffffff0ull);
    as_load(vm->mem, 0x1000, &req, sizeof(req));
    out(0x518, htobe32(0x1000), 4);
    CHECK_EQ(be32toh((uint32_t)peek(0x1000, 4)) & 1, 1);
}

/* ---- power, reset, exit ---- */

static struct pci_bus *pci_rig(void)
{
    struct irq isa[16];
    rig();
    for (int i = 0; i < 16; i++)
        isa[i] = line(i);
    struct pci_bus *b = pci_bus_new(vm, vm->mem, vm->io);
    piix3_new(vm, b, isa);
    return b;
}

TEST(pm_timer_sci_and_s5)
{
    struct pci_bus *b = pci_rig();
    struct pm *p = pm_new(vm, b, vm->io, line(9), (struct irq){ 0 });
    pass(1000000000);
    CHECK_EQ(in(0x608, 4), 3579545);
    out(0xb2, PM_ACPI_ENABLE, 1);
    CHECK_EQ(in(0x604, 2) & 1, 1);
    out(0x602, 0x100, 2);
    CHECK_EQ(level[9], 0);
    pm_power_button(p);
    CHECK_EQ(level[9], 1);
    CHECK_EQ(in(0x600, 2) & 0x100, 0x100);
    out(0x600, 0x100, 2);
    CHECK_EQ(level[9], 0);
    out(0x602, 1, 2);
    pass(600 * 1000000000ll);                     /* bit 31 changes after 599.9 s */
    CHECK_EQ(level[9], 1);
    out(0x600, 1, 2);
    CHECK_EQ(level[9], 0);
    out(0x604, 0x2000 | 1 << 10, 2);
    CHECK_EQ(vm->request, VM_NONE);
    out(0x604, 0x2000 | PM_S5_TYPE << 10, 2);
    CHECK_EQ(vm->request, VM_POWEROFF);
}

TEST(reset_by_cf9_and_92)
{
    pci_rig();
    port92_new(vm, vm->io, line(20));
    out(0xcf9, 2, 1);
    CHECK_EQ(vm->request, VM_NONE);
    out(0xcf9, 6, 1);
    CHECK_EQ(vm->request, VM_RESET);
    vm->request = VM_NONE;
    out(0x92, 0, 1);
    CHECK_EQ(level[20], 0);
    out(0x92, 2, 1);
    CHECK_EQ(level[20], 1);
    out(0x92, 3, 1);
    CHECK_EQ(vm->request, VM_RESET);
}

TEST(debug_exit_status)
{
    rig();
    debugexit_new(vm, vm->io, 0x501, 4);
    out(0x501, 0x10, 1);
    CHECK_EQ(vm->request, VM_QUIT);
    CHECK_EQ(vm->exit_status, 0x21);
}

TEST(pirq_routing)
{
    struct pci_bus *b = pci_rig();
    irq_set(b->pirq[0], 1);
    CHECK_EQ(level[10], 1);
    cfg(PCI_DEVFN(1, 0), 0x60, 5, 1);
    CHECK_EQ(level[10], 0);
    CHECK_EQ(level[5], 1);
    cfg(PCI_DEVFN(1, 0), 0x61, 5, 1);
    irq_set(b->pirq[1], 1);
    irq_set(b->pirq[0], 0);
    CHECK_EQ(level[5], 1);                        /* shared: the other still asks */
    cfg(PCI_DEVFN(1, 0), 0x61, 0x80, 1);
    CHECK_EQ(level[5], 0);
}

/* ---- PAM ---- */

static uint64_t hooked_at, hooked_len;
static void hook(void *opaque, gpa_t addr, size_t len, unsigned bits) { hooked_at = addr; hooked_len = len; CHECK_EQ(bits, TRACK_CODE); }

/* Writes that go to RAM while reads see the ROM change RAM all the same: code that was translated from it must go. */
TEST(pam_write_only_is_tracked)
{
    static uint8_t bytes[0x40000], track[64];
    static struct region rom = { .kind = REGION_ROM, .host = bytes, .track = track, .size = sizeof(bytes) };
    struct pci_bus *b = pci_rig();
    i440fx_new(vm, b, vm->mem, &ram, &rom);
    as_set_write_hook(vm->mem, hook, NULL);
    cfg(0, 0x59, 0x20, 1);
    poke(0xf1234, 0x5555, 2);
    CHECK_EQ(hooked_len, 0);
    region_track_set(&ram, 0xf1234, TRACK_CODE);
    poke(0xf1234, 0xabcd, 2);
    CHECK_EQ(hooked_at, 0xf1234);
    CHECK_EQ(hooked_len, 2);
    CHECK_EQ(ram.host[0xf1234], 0xcd);
    as_set_write_hook(vm->mem, NULL, NULL);
}

/* ---- RTC ---- */

static void cmos(unsigned i, unsigned v) { out(0x70, i, 1); out(0x71, v, 1); }
static unsigned cmos_get(unsigned i) { out(0x70, i, 1); return (unsigned)in(0x71, 1); }

TEST(rtc_interrupts)
{
    rig();
    rtc_new(vm, vm->io, line(8), 951782398);      /* 2000-02-28 23:59:58 */
    CHECK_EQ(cmos_get(0x0a) & 0x80, 0);
    pass(999900000);
    CHECK_EQ(cmos_get(0x0a) & 0x80, 0x80);        /* 100 us before the second */
    pass(100000);
    CHECK_EQ(cmos_get(0x0a) & 0x80, 0);
    CHECK_EQ(cmos_get(0), 0x59);
    cmos_get(0x0c);
    cmos(1, 0x00); cmos(3, 0x00); cmos(5, 0x00);
    cmos(0x0b, 0x22);                             /* alarm */
    pass(1000000000);
    CHECK_EQ(level[8], 1);
    CHECK_EQ(cmos_get(0x0c) & 0xb0, 0xb0);        /* interrupt, alarm, update */
    CHECK_EQ(level[8], 0);
    CHECK_EQ(cmos_get(7), 0x29);
    cmos(0x0b, 0x12);                             /* update ended */
    pass(1000000000);
    CHECK_EQ(level[8], 1);
    cmos_get(0x0c);
    cmos(0x0a, 0x26);
    cmos(0x0b, 0x42);                             /* periodic, 1024 Hz */
    edges[8] = 0;
    for (int i = 0; i < 1000; i++) {
        pass(1000000);
        cmos_get(0x0c);
    }
    CHECK(edges[8] >= 998 && edges[8] <= 1000);
}

/* ---- local APIC ---- */

static uint64_t fake_tsc(void *opaque) { return (uint64_t)clock_ns(vm->clock) * 2; }
static struct vcpu cpus[4];
static struct lapic *apic[4];
static struct apic_bus *bus;

static void apic_rig(void)
{
    struct lapic_tsc tsc = { fake_tsc, NULL, 2000000000 };
    rig();
    bus = apic_bus_new(vm, vm->mem);
    memset(cpus, 0, sizeof(cpus));
    for (int i = 0; i < 4; i++) {
        cpus[i].vm = vm;
        cpus[i].id = i;
        apic[i] = lapic_new(vm, bus, &cpus[i], &tsc);
    }
    for (int i = 0; i < 4; i++) {
        lapic_set_current(apic[i]);
        poke(0xfee000f0, 0x1ff, 4);
        poke(0xfee000d0, 1u << (24 + i), 4);
    }
    lapic_set_current(apic[0]);
}

static int ack(int i) { return cpus[i].intc.ack(cpus[i].intc.opaque); }
static void eoi(int i) { lapic_set_current(apic[i]); poke(0xfee000b0, 0, 4); lapic_set_current(apic[0]); }

TEST(lapic_timer_modes)
{
    uint64_t v;
    apic_rig();
    poke(0xfee003e0, 0xb, 4);                     /* divide by 1 */
    poke(0xfee00320, 0x20040, 4);
    poke(0xfee00380, 1000000, 4);
    pass(1);
    uint64_t left = peek(0xfee00390, 4);
    CHECK(left <= 1000000 && left > 900000);
    pass(10000000000);
    CHECK_EQ(ack(0), 0x40);
    eoi(0);
    pass(10000000000);
    CHECK_EQ(ack(0), 0x40);                       /* again: periodic */
    eoi(0);
    poke(0xfee00320, 0x40041, 4);                 /* TSC deadline */
    CHECK_EQ(cpus[0].intc.x2apic_write(cpus[0].intc.opaque, 0x6e0, fake_tsc(NULL) + 2000), 0);
    pass(990);
    CHECK_EQ(ack(0), -1);
    pass(20);
    CHECK_EQ(ack(0), 0x41);
    CHECK_EQ(cpus[0].intc.x2apic_read(cpus[0].intc.opaque, 0x6e0, &v), 0);
    CHECK_EQ(v, 0);
    eoi(0);
}

TEST(lapic_ipis)
{
    apic_rig();
    poke(0xfee00310, 2u << 24, 4);
    poke(0xfee00300, 0x4051, 4);                  /* physical, fixed */
    CHECK_EQ(ack(2), 0x51);
    CHECK_EQ(ack(1), -1);
    eoi(2);
    poke(0xfee00310, 0x0au << 24, 4);
    poke(0xfee00300, 0x4852, 4);                  /* logical: 1 and 3 */
    CHECK_EQ(ack(1), 0x52);
    CHECK_EQ(ack(3), 0x52);
    CHECK_EQ(ack(2), -1);
    eoi(1);
    eoi(3);
    poke(0xfee00310, 0x06u << 24, 4);
    poke(0xfee00300, 0x4953, 4);                  /* lowest priority among 1 and 2: exactly one */
    int a = ack(1), b = ack(2);
    CHECK((a == 0x53) != (b == 0x53));
    eoi(a == 0x53 ? 1 : 2);
    poke(0xfee00300, 0xc4054, 4);                 /* all but self */
    CHECK_EQ(ack(0), -1);
    CHECK_EQ(ack(1), 0x54);
    CHECK_EQ(ack(3), 0x54);
    eoi(1);
    eoi(3);
    poke(0xfee00310, 3u << 24, 4);
    poke(0xfee00300, 0x4500, 4);
    CHECK(cpus[3].pending & VCPU_INIT);
    poke(0xfee00300, 0x4699, 4);
    CHECK(cpus[3].pending & VCPU_SIPI);
    CHECK_EQ(cpus[3].sipi_vector, 0x99);
    CHECK(!(cpus[1].pending & (VCPU_INIT | VCPU_SIPI)));
}

/* ---- UART ---- */

TEST(uart_fifo_timeout_and_overrun)
{
    rig();
    uart_new(vm, vm->io, 0x3f8, line(4), NULL);
    out(0x3fb, 3, 1);
    out(0x3fa, 0xc7, 1);                          /* FIFO, trigger 14 */
    out(0x3fc, 0x18, 1);                          /* loopback, OUT2 */
    out(0x3f9, 1, 1);
    for (int i = 0; i < 3; i++)
        out(0x3f8, 'a' + (unsigned)i, 1);
    CHECK_EQ(in(0x3fa, 1) & 0xf, 1);              /* below the trigger: nothing yet */
    pass(100000000);
    CHECK_EQ(in(0x3fa, 1) & 0xf, 0xc);
    CHECK_EQ(in(0x3f8, 1), 'a');
    CHECK_EQ(in(0x3fa, 1) & 0xf, 1);
    for (int i = 0; i < 14; i++)
        out(0x3f8, '0' + (unsigned)i, 1);
    CHECK_EQ(in(0x3fa, 1) & 0xf, 4);
    CHECK_EQ(in(0x3fd, 1) & 2, 0);
    out(0x3f8, 'x', 1);
    CHECK_EQ(in(0x3fd, 1) & 2, 2);                /* overrun, told once */
    CHECK_EQ(in(0x3fd, 1) & 2, 0);
}
