/*
 * Corners of the chips at register level, with a manual clock and recorded lines: PIT counts that wait for the end of a period, edges that do not
 * last until the 8259A's acknowledge, edges on masked I/O APIC pins, UART break, loopback and a peer that does not listen, PCI BARs sized
 * and moved, MSI-X masks and pending bits, the debug console, mouse packets. (Virtio queues: virtio_pci.c.)
 */
#include "tests/unit/test.h"
#include "core/alloc.h"
#include "host/chr_int.h"
#include "hw/char/debugcon.h"
#include "hw/char/uart.h"
#include "hw/input/i8042.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "hw/intc/pic.h"
#include "hw/pci/pci.h"
#include "hw/timer/hpet.h"
#include "hw/timer/pit.h"
#include "tests/unit/fake_loop.h"
#include <fcntl.h>
#include <stdlib.h>

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
    vm->loop = &fake_loop;
    as_add_ram(vm->mem, &ram, "ram", 0, 1 << 20, REGION_RAM);
}

static void out(unsigned port, uint64_t v, unsigned size) { as_write(vm->io, port, v, size); }
static uint64_t in(unsigned port, unsigned size) { return as_read(vm->io, port, size); }
static void poke(uint64_t addr, uint64_t v, unsigned size) { as_write(vm->mem, addr, v, size); }
static uint64_t peek(uint64_t addr, unsigned size) { return as_read(vm->mem, addr, size); }
static void pass(int64_t ns) { machine_lock(); clock_advance(vm->clock, ns); machine_unlock(); }

/* ---- PIT: ticks are 838 ns ---- */

static int64_t now_ticks;
static int64_t tick_ns(int64_t t) { return t * 1000000000 / PIT_HZ + 10; }

static void pit_rig(unsigned mode)
{
    rig();
    now_ticks = 0;
    pit_new(vm, vm->io, line(0));
    out(0x43, 0x30 | mode << 1, 1);
    edges[0] = 0;
    level[0] = 1;
}

static void pass_to(int64_t t)
{
    pass(tick_ns(t) - (now_ticks ? tick_ns(now_ticks) : 0));
    now_ticks = t;
}

static void pit_count(unsigned v) { out(0x40, v & 0xff, 1); out(0x40, v >> 8, 1); }

static unsigned pit_counter(void)
{
    out(0x43, 0, 1);
    unsigned low = (unsigned)in(0x40, 1);
    return low | (unsigned)in(0x40, 1) << 8;
}

static unsigned pit_status(void) { out(0x43, 0xe2, 1); return (unsigned)in(0x40, 1); }

TEST(pit_rate_generator_reloads_at_end)
{
    pit_rig(2);
    pit_count(10000);
    pass_to(1000);
    CHECK_EQ(pit_counter(), 9000);
    pit_count(300);
    CHECK_EQ(pit_counter(), 9000);
    CHECK_EQ(pit_status() & 0x40, 0x40);          /* null count: written, not loaded */
    pass_to(9990);
    CHECK_EQ(edges[0], 0);
    CHECK_EQ(pit_counter(), 10);
    pass_to(10000);
    CHECK_EQ(edges[0], 1);
    CHECK_EQ(pit_counter(), 300);
    CHECK_EQ(pit_status() & 0x40, 0);
    pass_to(10000 + 299);
    CHECK_EQ(edges[0], 1);
    pass_to(10000 + 300);
    CHECK_EQ(edges[0], 2);
    pass_to(10000 + 3010);
    CHECK_EQ(edges[0], 11);
}

TEST(pit_square_wave_reloads_at_half)
{
    pit_rig(3);
    pit_count(1000);
    pass_to(100);
    pit_count(200);                               /* high half: loaded at 500, low until 600 */
    pass_to(490);
    CHECK_EQ(pit_status() & 0xc0, 0xc0);
    pass_to(510);
    CHECK_EQ(pit_status() & 0xc0, 0);
    CHECK_EQ(edges[0], 0);
    pass_to(598);
    CHECK_EQ(edges[0], 0);
    pass_to(602);
    CHECK_EQ(edges[0], 1);
    CHECK_EQ(pit_status() & 0x80, 0x80);
    pass_to(802);
    CHECK_EQ(edges[0], 2);
    pass_to(950);                                 /* low half of 802..1002: the next count waits for the rising edge */
    pit_count(4000);
    pass_to(1003);
    CHECK_EQ(edges[0], 3);
    pass_to(4990);
    CHECK_EQ(edges[0], 3);
    pass_to(5005);
    CHECK_EQ(edges[0], 4);
}

TEST(pit_square_wave_of_an_odd_count)
{
    pit_rig(3);
    pit_count(7);                                 /* 6 4 2 0 while OUT is high, 6 4 2 while it is low */
    static const uint8_t want[7] = { 6, 4, 2, 0, 6, 4, 2 };
    for (unsigned t = 0; t < 35; t++) {
        pass_to(t);
        CHECK_EQ(pit_counter(), want[t % 7]);
        CHECK_EQ(pit_status() >> 7 & 1, t % 7 < 4);
    }
}

TEST(pit_last_count_wins_and_mode_loads_at_once)
{
    pit_rig(2);
    pit_count(1000);
    pass_to(2500);
    CHECK_EQ(edges[0], 2);
    pit_count(50);
    pit_count(5000);
    pass_to(3001);
    CHECK_EQ(edges[0], 3);
    pass_to(7900);
    CHECK_EQ(edges[0], 3);
    out(0x43, 0x34, 1);
    pit_count(100);
    pass_to(8001);
    CHECK_EQ(edges[0], 4);
    CHECK_EQ(level[0], 1);
}

TEST(pit_one_edge_a_period_whatever_the_rounding)
{
    for (unsigned a = 100; a < 1100; a += 37) {
        pit_rig(3);
        pit_count(a);
        pass_to(3);
        pit_count(a * 3 + 1);
        pass(tick_ns((a + 1) / 2 + (a * 3 + 1) / 2 + 20));
        CHECK_EQ(edges[0], 1);
    }
}

/* ---- 8259A ---- */

static struct pic *pic_rig(void)
{
    static const uint16_t init[][2] = {
        { 0x20, 0x11 }, { 0x21, 0x20 }, { 0x21, 4 }, { 0x21, 1 }, { 0xa0, 0x11 }, { 0xa1, 0x28 }, { 0xa1, 2 }, { 0xa1, 1 },
    };
    rig();
    struct pic *p = pic_new(vm, vm->io, line(0));
    for (unsigned i = 0; i < ARRAY_SIZE(init); i++)
        out(init[i][0], init[i][1], 1);
    return p;
}

TEST(pic_short_edge_is_spurious)
{
    struct pic *p = pic_rig();
    irq_raise(pic_irq(p, 4));
    CHECK_EQ(in(0x20, 1), 0x10);
    CHECK_EQ(level[0], 1);
    irq_lower(pic_irq(p, 4));
    CHECK_EQ(in(0x20, 1), 0);
    CHECK_EQ(pic_ack(p), 0x27);
    out(0x20, 0x0b, 1);
    CHECK_EQ(in(0x20, 1), 0);                     /* nothing in service */
    out(0x20, 0x0a, 1);
    irq_raise(pic_irq(p, 4));
    CHECK_EQ(pic_ack(p), 0x24);
    CHECK_EQ(in(0x20, 1), 0);                     /* still high, but one edge is one request */
    out(0x20, 0x20, 1);
    CHECK_EQ(level[0], 0);
    irq_lower(pic_irq(p, 4));
    irq_raise(pic_irq(p, 4));
    CHECK_EQ(level[0], 1);
}

TEST(pic_short_edge_on_slave)
{
    struct pic *p = pic_rig();
    irq_raise(pic_irq(p, 10));
    irq_lower(pic_irq(p, 10));
    CHECK_EQ(level[0], 0);
    CHECK_EQ(pic_ack(p), 0x27);                   /* the slave's INT went too: the master knows of nothing */
    irq_raise(pic_irq(p, 10));
    CHECK_EQ(pic_ack(p), 0x2a);
}

TEST(pic_real_irq7_has_service_bit)
{
    struct pic *p = pic_rig();
    irq_raise(pic_irq(p, 7));
    CHECK_EQ(pic_ack(p), 0x27);
    out(0x20, 0x0b, 1);
    CHECK_EQ(in(0x20, 1), 0x80);
}

TEST(pic_hpet_edge_waits_for_ack)
{
    struct irq lines[24];
    struct pic *p = pic_rig();
    for (int i = 0; i < 24; i++)
        lines[i] = i < 16 ? pic_irq(p, i) : (struct irq){ 0 };
    hpet_new(vm, vm->mem, lines);
    poke(0xfed00100, 0x4c, 8);
    poke(0xfed00108, 100000, 8);
    poke(0xfed00010, 3, 4);
    pass(2000000);
    CHECK_EQ(pic_ack(p), 0x20);
    out(0x20, 0x20, 1);
    CHECK_EQ(level[0], 0);
    pass(1000000);
    CHECK_EQ(level[0], 1);
}

/* ---- I/O APIC ---- */

static unsigned deliveries, last_vector;
static void on_deliver(void *o, uint32_t dest, int dm, int mode, uint8_t vector, int trigger) { deliveries++; last_vector = vector; }
static void redir(int pin, uint32_t low) { poke(0xfec00000, 0x10 + 2 * (unsigned)pin, 4); poke(0xfec00010, low, 4); }

TEST(ioapic_masked_edges_are_lost)
{
    rig();
    deliveries = 0;
    struct ioapic *io = ioapic_new(vm, vm->mem, on_deliver, NULL);
    redir(5, 0x10055);
    irq_raise(ioapic_irq(io, 5));
    redir(5, 0x55);
    CHECK_EQ(deliveries, 0);                      /* not even though the pin is still high */
    irq_lower(ioapic_irq(io, 5));
    irq_raise(ioapic_irq(io, 5));
    CHECK_EQ(deliveries, 1);
    CHECK_EQ(last_vector, 0x55);
    irq_raise(ioapic_irq(io, 5));
    CHECK_EQ(deliveries, 1);
    redir(6, 0x18066);                            /* a level does wait behind its mask */
    irq_raise(ioapic_irq(io, 6));
    CHECK_EQ(deliveries, 1);
    redir(6, 0x8066);
    CHECK_EQ(deliveries, 2);
    redir(6, 0x8066);
    CHECK_EQ(deliveries, 2);                      /* remote IRR */
    ioapic_eoi(io, 0x66);
    CHECK_EQ(deliveries, 3);
}

/* ---- UART ---- */

static uint8_t sent[64];
static unsigned n_sent;

/* A stream over a pipe that is read here. */
static struct chr *pipe_chr(int fds[2])
{
    struct chr *c = chr_alloc(&fake_loop);
    CHECK(pipe(fds) == 0);
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    c->out_fd = fds[1];
    c->connected = true;
    return c;
}

static unsigned drain(int fd)
{
    ssize_t n = read(fd, sent, sizeof(sent));
    n_sent = n > 0 ? (unsigned)n : 0;
    return n_sent;
}

TEST(uart_break)
{
    int fds[2];
    rig();
    struct chr *c = pipe_chr(fds);
    uart_new(vm, vm->io, 0x3f8, line(4), c);
    out(0x3fc, 0x0b, 1);
    out(0x3f9, 4, 1);
    CHECK_EQ(level[4], 0);
    chr_send_event(c, CHR_BREAK);
    CHECK_EQ(level[4], 1);
    CHECK_EQ(in(0x3fa, 1), 6);                    /* receiver line status */
    CHECK_EQ(in(0x3fd, 1) & 0x11, 0x11);          /* BI, and the zero byte that came with it */
    CHECK_EQ(level[4], 0);
    CHECK_EQ(in(0x3fd, 1) & 0x11, 0x01);
    CHECK_EQ(in(0x3f8, 1), 0);
    CHECK_EQ(in(0x3fd, 1) & 0x11, 0);
}

TEST(uart_break_in_loopback)
{
    int fds[2];
    rig();
    struct chr *c = pipe_chr(fds);
    uart_new(vm, vm->io, 0x3f8, line(4), c);
    out(0x3fa, 1, 1);
    out(0x3fc, 0x10, 1);
    out(0x3fb, 0x43, 1);                          /* set break */
    CHECK_EQ(in(0x3fd, 1) & 0x11, 0x11);
    CHECK_EQ(in(0x3f8, 1), 0);
    out(0x3f8, 0x55, 1);                          /* not seen on a line that is held low */
    CHECK_EQ(in(0x3fd, 1) & 0x71, 0x60);
    out(0x3fb, 0x03, 1);
    out(0x3f8, 0x56, 1);
    CHECK_EQ(in(0x3fd, 1) & 0x71, 0x61);
    CHECK_EQ(in(0x3f8, 1), 0x56);
    chr_send_event(c, CHR_BREAK);                 /* from outside: the line in is cut off */
    CHECK_EQ(in(0x3fd, 1) & 0x11, 0);
    out(0x3fb, 0x43, 1);
    CHECK_EQ(in(0x3fd, 1) & 0x11, 0x11);
    in(0x3f8, 1);
    out(0x3fc, 0, 1);
    out(0x3fc, 0x10, 1);                          /* the break still stands: it comes back with loopback */
    CHECK_EQ(in(0x3fd, 1) & 0x11, 0x11);
}

TEST(uart_loopback_modem_lines)
{
    rig();
    uart_new(vm, vm->io, 0x3f8, line(4), NULL);
    CHECK_EQ(in(0x3fe, 1), 0xb0);                 /* a ready peer: DCD, DSR, CTS */
    out(0x3fc, 0x10, 1);
    CHECK_EQ(in(0x3fe, 1), 0x0b);                 /* all gone, each with its delta */
    CHECK_EQ(in(0x3fe, 1), 0);
    out(0x3fc, 0x12, 1);
    CHECK_EQ(in(0x3fe, 1), 0x11);                 /* RTS -> CTS */
    out(0x3fc, 0x11, 1);
    CHECK_EQ(in(0x3fe, 1), 0x23);                 /* DTR -> DSR, CTS dropped */
    out(0x3fc, 0x14, 1);
    CHECK_EQ(in(0x3fe, 1), 0x42);                 /* OUT1 -> RI: no delta on the rise */
    out(0x3fc, 0x18, 1);
    CHECK_EQ(in(0x3fe, 1), 0x8c);                 /* OUT2 -> DCD; RI's trailing edge */
    out(0x3f8, 0x5a, 1);
    CHECK_EQ(in(0x3fd, 1) & 0x61, 0x61);
    CHECK_EQ(in(0x3f8, 1), 0x5a);
    CHECK_EQ(level[4], 0);
}

/* The pipe's reader sleeps: THRE goes low when nothing more is taken, no byte is lost, and comes back with the room. */
TEST(uart_stuck_peer)
{
    int fds[2];
    unsigned want = 0, wrote = 0;
    uint8_t expect = 0;
    rig();
    fake_clock = vm->clock;
    struct chr *c = pipe_chr(fds);
    uart_new(vm, vm->io, 0x3f8, line(4), c);
    out(0x3fa, 1, 1);
    while (wrote < 300000 && (in(0x3fd, 1) & 0x20))
        out(0x3f8, wrote++ & 0xff, 1);
    CHECK(wrote > 1000 && wrote < 300000);
    for (int turn = 0; turn < 20000 && want < wrote; turn++) {
        while (drain(fds[0])) {
            for (unsigned i = 0; i < n_sent; i++)
                CHECK_EQ(sent[i], expect++);
            want += n_sent;
        }
        machine_lock();
        clock_advance(vm->clock, 20000000);
        fake_turn();
        machine_unlock();
    }
    CHECK_EQ(want, wrote);
    CHECK_EQ(in(0x3fd, 1) & 0x60, 0x60);
    fake_clock = NULL;
}

TEST(debugcon_bytes)
{
    int fds[2];
    rig();
    struct chr *c = pipe_chr(fds);
    debugcon_new(vm, vm->io, 0xe9, c);
    CHECK_EQ(in(0xe9, 1), 0xe9);
    for (const char *s = "hello"; *s; s++)
        out(0xe9, (uint8_t)*s, 1);
    machine_lock();
    fake_turn();
    machine_unlock();
    CHECK_EQ(drain(fds[0]), 5);
    CHECK(!memcmp(sent, "hello", 5));
}

/* ---- PCI ---- */

static struct pci_bus *bus;
static struct { struct pci_dev pci; } card;
static uint64_t bar_last;
static unsigned msi_count;
static uint32_t msi_last;

static uint64_t bar_read(void *o, uint64_t off, unsigned size) { return 0x1000 + off; }
static void bar_write(void *o, uint64_t off, uint64_t v, unsigned size) { bar_last = off << 32 | v; }
static void on_msi(void *o, uint64_t addr, uint32_t data) { msi_count++; msi_last = data; }
static uint32_t cfg(unsigned off) { out(0xcf8, 0x80001800u | off, 4); return (uint32_t)in(0xcfc, 4); }
static void cfg_w(unsigned off, uint32_t v) { out(0xcf8, 0x80001800u | off, 4); out(0xcfc, v, 4); }

static void pci_rig(void)
{
    rig();
    msi_count = 0;
    memset(&card, 0, sizeof(card));
    bus = pci_bus_new(vm, vm->mem, vm->io);
    pci_bus_connect_msi(bus, on_msi, NULL);
    pci_dev_init(bus, &card.pci, PCI_DEVFN(3, 0), 0x1234, 0x5678, 0xff0000, 1);
    pci_bar_add(&card.pci, 0, PCI_BAR_IO, 0x20, "ports", bar_read, bar_write, NULL);
    pci_bar_add(&card.pci, 1, PCI_BAR_MEM, 0x10000, "mem", bar_read, bar_write, NULL);
    pci_bar_add(&card.pci, 2, PCI_BAR_MEM64 | PCI_BAR_PREFETCH, 1 << 20, "mem64", bar_read, bar_write, NULL);
    CHECK_EQ(pci_msix_init(&card.pci, 3, 4), 0);
}

TEST(pci_bar_sizing)
{
    pci_rig();
    static const uint32_t want[6] = { 0xffffffe1, 0xffff0000, 0xfff0000c, 0xffffffff, 0xfffff000, 0 };
    for (unsigned i = 0; i < 6; i++) {
        uint32_t old = cfg(0x10 + 4 * i);
        cfg_w(0x10 + 4 * i, ~0u);
        CHECK_EQ(cfg(0x10 + 4 * i), want[i]);
        cfg_w(0x10 + 4 * i, old);
        CHECK_EQ(cfg(0x10 + 4 * i), old);
    }
}

TEST(pci_bar_moving)
{
    pci_rig();
    cfg_w(0x10, 0xc100);
    cfg_w(0x14, 0xe0000000);
    CHECK_EQ(in(0xc104, 4), ~0u);                 /* decoding is off */
    CHECK_EQ(peek(0xe0000004, 4), ~0u);
    cfg_w(4, 3);
    CHECK_EQ(in(0xc104, 4), 0x1004);
    CHECK_EQ(peek(0xe0000004, 4), 0x1004);
    cfg_w(0x10, 0xc200);
    cfg_w(0x14, 0xe0100000);
    CHECK_EQ(in(0xc104, 4), ~0u);
    CHECK_EQ(in(0xc208, 4), 0x1008);
    CHECK_EQ(peek(0xe0000004, 4), ~0u);
    poke(0xe0100010, 77, 4);
    CHECK_EQ(bar_last, 0x10ull << 32 | 77);
    cfg_w(0x18, 0x40000000);                      /* above 4 GiB, low half first */
    cfg_w(0x1c, 1);
    CHECK_EQ(peek(0x140000010, 4), 0x1010);
    CHECK_EQ(peek(0x40000010, 4), ~0u);
    cfg_w(4, 1);
    CHECK_EQ(peek(0xe0100010, 4), ~0u);
    CHECK_EQ(in(0xc208, 4), 0x1008);
    cfg_w(4, 0);
    CHECK_EQ(in(0xc208, 4), ~0u);
    cfg_w(4, 2);
    cfg_w(0x14, ~0u);                             /* sizing with decoding on, as sloppy firmware does: nothing stays at the top */
    cfg_w(0x14, 0xe0200000);
    CHECK_EQ(peek(0xe0200004, 4), 0x1004);
    pci_dev_reset(&card.pci);
    CHECK_EQ(peek(0xe0200004, 4), ~0u);
}

TEST(pci_msix_mask_and_pending)
{
    pci_rig();
    unsigned cap = cfg(0x34) & 0xff;
    CHECK_EQ(cfg(cap) & 0xff, 0x11);
    CHECK_EQ(cfg(cap) >> 16 & 0x7ff, 2);
    uint64_t pba = 0xe1000000ull + (cfg(cap + 8) & ~7u);
    cfg_w(0x20, 0xe1000000);
    cfg_w(4, 6);
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(peek(0xe100000c + 16 * i, 4), 1);                   /* masked at power on */
        poke(0xe1000000 + 16 * i, 0xfee00000, 4);
        poke(0xe1000008 + 16 * i, 0x40 + i, 4);
    }
    pci_msix_notify(&card.pci, 0);                /* not enabled: not even pending */
    CHECK_EQ(peek(pba, 4), 0);
    cfg_w(cap, 0x80000000);
    pci_msix_notify(&card.pci, 0);
    pci_msix_notify(&card.pci, 0);
    pci_msix_notify(&card.pci, 2);
    pci_msix_notify(&card.pci, 3);                /* no such vector */
    CHECK_EQ(msi_count, 0);
    CHECK_EQ(peek(pba, 4), 5);
    poke(0xe100000c, 0, 4);
    CHECK_EQ(msi_count, 1);                       /* two became one */
    CHECK_EQ(msi_last, 0x40);
    CHECK_EQ(peek(pba, 4), 4);
    poke(pba, 0, 4);
    CHECK_EQ(peek(pba, 4), 4);                    /* read only */
    cfg_w(cap, 0xc0000000);                       /* function mask */
    pci_msix_notify(&card.pci, 0);
    poke(0xe100002c, 0, 4);
    CHECK_EQ(msi_count, 1);
    CHECK_EQ(peek(pba, 4), 5);
    cfg_w(cap, 0x80000000);
    CHECK_EQ(msi_count, 3);
    CHECK_EQ(msi_last, 0x42);
    CHECK_EQ(peek(pba, 4), 0);
    cfg_w(4, 2);                                  /* no bus mastering: the message goes nowhere */
    pci_msix_notify(&card.pci, 0);
    CHECK_EQ(msi_count, 3);
}

/* ---- mouse ---- */

static struct i8042 *kbc;
static unsigned mouse_byte(void)
{
    CHECK_EQ(in(0x64, 1) & 0x21, 0x21);
    return (unsigned)in(0x60, 1);
}
static void mouse_cmd(uint8_t v) { out(0x64, 0xd4, 1); out(0x60, v, 1); CHECK_EQ(mouse_byte(), 0xfa); }

TEST(mouse_packets)
{
    rig();
    kbc = i8042_new(vm, vm->io, line(1), line(12), line(20));
    out(0x64, 0xa8, 1);
    out(0x64, 0x60, 1);
    out(0x60, 0x47, 1);
    i8042_mouse(kbc, 5, 5, 0, 0);
    CHECK_EQ(in(0x64, 1) & 1, 0);                 /* not reporting yet */
    mouse_cmd(0xf4);
    edges[12] = 0;
    i8042_mouse(kbc, 5, -3, 0, 1);
    CHECK_EQ(edges[12], 1);
    CHECK_EQ(mouse_byte(), 0x29);                 /* dy negative, left */
    CHECK_EQ(mouse_byte(), 5);
    CHECK_EQ(mouse_byte(), 0xfd);
    CHECK_EQ(edges[12], 3);                       /* an edge for each byte */
    CHECK_EQ(level[12], 0);
    i8042_mouse(kbc, -300, 0, 0, 2);              /* more than nine bits: two packets */
    CHECK_EQ(mouse_byte(), 0x1a);
    CHECK_EQ(mouse_byte(), 0x01);
    CHECK_EQ(mouse_byte(), 0);
    CHECK_EQ(mouse_byte(), 0x1a);
    CHECK_EQ(mouse_byte(), 0xd3);
    CHECK_EQ(mouse_byte(), 0);
    CHECK_EQ(in(0x64, 1) & 1, 0);
    static const uint8_t knock[] = { 0xf3, 200, 0xf3, 100, 0xf3, 80 };
    for (unsigned i = 0; i < sizeof(knock); i++)
        mouse_cmd(knock[i]);
    mouse_cmd(0xf2);
    CHECK_EQ(mouse_byte(), 3);
    i8042_mouse(kbc, 0, 0, -1, 4);
    CHECK_EQ(mouse_byte(), 0x0c);
    CHECK_EQ(mouse_byte(), 0);
    CHECK_EQ(mouse_byte(), 0);
    CHECK_EQ(mouse_byte(), 0xff);
    out(0x64, 0xd4, 1);
    out(0x60, 0xff, 1);
    CHECK_EQ(mouse_byte(), 0xfa);
    CHECK_EQ(mouse_byte(), 0xaa);
    CHECK_EQ(mouse_byte(), 0);
    i8042_mouse(kbc, 1, 1, 0, 0);
    CHECK_EQ(in(0x64, 1) & 1, 0);                 /* a reset stops the reports */
}
