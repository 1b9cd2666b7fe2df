/*
 * Interrupt messages of a PCI function and an engine that takes them over (core/notifier.h): what comes as it is, what as an event, and when the engine
 * gets its event back.
 */
#include "tests/unit/test.h"
#include "core/vm.h"
#include "hw/pci/pci.h"
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MSIX 0xe1000000ull
#define DEVFN 0x20

static struct vm machine;
static struct pci_bus *bus;
static struct pci_dev function;
static unsigned plain, binds;
static uint32_t last;
static int bound;                             /* events that the engine has given and not taken back */
static bool engine_full;

static void on_msi(void *opaque, uint64_t addr, uint32_t data) { plain++; last = data; }

static int fake_bind(struct notifier *n)
{
    if (engine_full)
        return -ENOSPC;
    binds++;
    bound++;
    n->fd = eventfd(0, EFD_NONBLOCK);
    return 0;
}

static void fake_unbind(struct notifier *n)
{
    close(n->fd);
    n->fd = 0;
    bound--;
}

static const struct engine taker = { .notifier_bind = fake_bind, .notifier_unbind = fake_unbind };
static const struct engine other = { .name = "other" };

static void cfg_w(unsigned off, uint32_t v)
{
    as_write(machine.io, 0xcf8, 0x80000000u | DEVFN << 8 | off, 4);
    as_write(machine.io, 0xcfc, v, 4);
}

static void entry_w(unsigned vector, unsigned reg, uint32_t v) { as_write(machine.mem, MSIX + 16 * vector + reg, v, 4); }

static void program(void)
{
    cfg_w(0x14, MSIX);
    cfg_w(4, 6);
    cfg_w(function.msix_cap, 0x80000000u);
    for (unsigned i = 0; i < 2; i++) {
        entry_w(i, 0, 0xfee00000);
        entry_w(i, 8, 0x40 + i);
        entry_w(i, 12, 0);
    }
}

static void setup(const struct engine *e)
{
    memset(&machine, 0, sizeof(machine));
    memset(&function, 0, sizeof(function));
    machine.mem = as_new("mem", 46);
    machine.io = as_new("io", 16);
    machine.devices_tail = &machine.devices;
    machine.engine = e;
    bus = pci_bus_new(&machine, machine.mem, machine.io);
    pci_bus_connect_msi(bus, on_msi, NULL);
    pci_dev_init(bus, &function, DEVFN, 0x1af4, 0x1041, 0x020000, 1);
    CHECK_EQ(pci_msix_init(&function, 2, 1), 0);
    program();
    plain = binds = 0;
    bound = 0;
    engine_full = false;
}

static uint64_t take_event(unsigned vector)
{
    uint64_t n = 0;
    int fd = function.notifier[vector].fd;
    return fd && read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* One interrupt: does it come as it is, as an event, or not at all? */
enum { NEITHER, PLAIN, EVENT };
static int send(unsigned vector)
{
    plain = 0;
    pci_msix_notify(&function, vector);
    return (take_event(vector) == 1 ? EVENT : 0) | (plain == 1 ? PLAIN : 0);
}

TEST(an_engine_without_events)
{
    setup(&other);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(send(1), PLAIN);
    CHECK_EQ(last, 0x41);
    CHECK_EQ(machine.n.messages, 4);
    CHECK_EQ(machine.n.message_events, 0);
}

TEST(the_second_goes_by_event)
{
    setup(&taker);
    CHECK_EQ(send(0), PLAIN);
    CHECK_EQ(send(1), PLAIN);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(send(0), EVENT);
        CHECK_EQ(send(1), EVENT);
    }
    CHECK_EQ(binds, 2);
    CHECK_EQ(machine.n.messages, 10);
    CHECK_EQ(machine.n.message_events, 8);
    CHECK_EQ(machine.n.message_routes, 2);
}

TEST(masked_is_not_sent)
{
    setup(&taker);
    send(1);
    CHECK_EQ(send(1), EVENT);
    entry_w(1, 12, 1);
    CHECK_EQ(send(1), NEITHER);
    CHECK_EQ(send(1), NEITHER);
    plain = 0;
    entry_w(1, 12, 0);                        /* pending: once */
    CHECK_EQ(take_event(1), 1);
    CHECK_EQ(plain, 0);
    CHECK_EQ(send(1), EVENT);
    cfg_w(4, 2);                              /* no bus mastering: lost */
    CHECK_EQ(send(1), NEITHER);
}

TEST(a_changed_message_has_another_event)
{
    setup(&taker);
    send(1);
    CHECK_EQ(send(1), EVENT);
    CHECK_EQ(bound, 1);
    entry_w(1, 8, 0x51);
    CHECK_EQ(bound, 0);
    CHECK_EQ(send(1), PLAIN);
    CHECK_EQ(last, 0x51);
    CHECK_EQ(send(1), EVENT);
    CHECK_EQ(binds, 2);
    for (uint32_t i = 0; i < 10; i++) {       /* new each time: never worth an event */
        entry_w(1, 8, 0x60 + i);
        CHECK_EQ(send(1), PLAIN);
        CHECK_EQ(last, 0x60 + i);
    }
    CHECK_EQ(binds, 2);
    function.msix.table[16 + 8] = 0x77;       /* as a loaded state does */
    send(1);
    CHECK_EQ(send(1), EVENT);
    function.msix.table[16 + 8] = 0x78;
    CHECK_EQ(send(1), PLAIN);
    CHECK_EQ(last, 0x78);
}

TEST(reset_and_disabling_give_back)
{
    setup(&taker);
    for (int i = 0; i < 2; i++) {
        send(0);
        send(1);
    }
    CHECK_EQ(bound, 2);
    pci_dev_reset(&function);
    CHECK_EQ(bound, 0);
    CHECK_EQ(send(1), NEITHER);
    program();
    CHECK_EQ(send(1), PLAIN);
    CHECK_EQ(send(1), EVENT);
    cfg_w(function.msix_cap, 0);
    CHECK_EQ(bound, 0);
    CHECK_EQ(send(1), NEITHER);
}

TEST(an_engine_that_refuses_is_asked_once)
{
    setup(&taker);
    engine_full = true;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(send(1), PLAIN);
    engine_full = false;
    CHECK_EQ(send(1), PLAIN);
    entry_w(1, 8, 0x52);
    CHECK_EQ(send(1), PLAIN);
    CHECK_EQ(send(1), EVENT);
}

/* The engine takes its events back when the machine leaves it (kvm_notifiers_drop); the next one sends as it does. */
TEST(a_move_to_another_engine)
{
    setup(&taker);
    send(1);
    CHECK_EQ(send(1), EVENT);
    fake_unbind(&function.notifier[1]);
    machine.engine = &other;
    CHECK_EQ(send(1), PLAIN);
    machine.engine = &taker;
    CHECK_EQ(send(1), EVENT);
    CHECK_EQ(binds, 2);
}
