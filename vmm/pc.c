/*
 * The machine "pc": i440FX, PIIX3, PIIX4 power management, ISA chips, virtio on PCI; created and wired in pc_new, in order.
 *
 * In: struct options, checked. Out: a machine ready for pc_reset. Memory: RAM up to 3.5 GiB, the PCI hole, the rest of RAM from 4 GiB; ROM
 * below 1 MiB (256 KiB window) and below 4 GiB. Interrupts: ISA line n is PIC input n and I/O APIC pin n (line 0: pin 2); PCI INTx go
 * through the PIIX3's router to lines 10 and 11. Locks: machine lock held throughout. Manual: 82441FX, 82371SB data sheets.
 */
#include "vmm/pc.h"
#include "core/alloc.h"
#include "core/log.h"
#include "hw/block/virtio_blk.h"
#include "hw/char/debugcon.h"
#include "hw/char/uart.h"
#include "hw/char/virtio_console.h"
#include "hw/input/i8042.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "hw/intc/pic.h"
#include "hw/misc/debugexit.h"
#include "hw/misc/ferr.h"
#include "hw/misc/fw_cfg.h"
#include "hw/misc/pm.h"
#include "hw/misc/port92.h"
#include "hw/net/virtio_net.h"
#include "hw/pci/i440fx.h"
#include "hw/pci/piix3.h"
#include "hw/timer/hpet.h"
#include "hw/timer/pit.h"
#include "hw/timer/rtc.h"
#include "hw/virtio/virtio_rng.h"
#include "vmm/acpi.h"
#include "vmm/boot.h"
#include "vmm/engines.h"
#include "vmm/kvm_chips.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PCI_HOLE 0xe0000000ull           /* RAM ends here at the latest; PCI memory begins */
#define PCI_HOLE_END 0xfec00000ull
#define FOUR_GIB 0x100000000ull
#define LOW_ROM 0xc0000u
#define LOW_ROM_SIZE 0x40000u
#define LOW_BIOS_MAX 0x20000u            /* of a large firmware, this much is visible below 1 MiB */
#define BIOS_MAX (16u << 20)
#define PCI_IO_BASE 0xc000

static const uint16_t com_port[OPT_SERIALS] = { 0x3f8, 0x2f8 };
static const int com_irq[OPT_SERIALS] = { 4, 3 };

struct pc {
    struct vm *vm;
    const struct options *opt;
    uint64_t below_4g, above_4g;
    struct region smram;
    struct region ram, ram_high, vga_hole, rom, rom_high;
    struct acpi_blob acpi;
    struct boot boot;
    /* host */
    struct chr *serial[OPT_SERIALS], *chardev[OPT_MAX];
    struct block *drive[OPT_MAX];
    struct netdev *net[OPT_MAX];
    /* chips that others are wired to */
    struct pci_bus *pci; struct i440fx *bridge; struct rtc *rtc; struct pm *pm; struct fw_cfg *fw_cfg;
    struct kvm_models chips;             /* interrupt controllers, PIT, HPET; KVM may have some of them */
    struct lapic *lapic[VM_MAX_VCPUS];
};

/* ---- glue between chips ---- */

static int ack_pic(void *opaque) { return pic_ack(opaque); }
static uint64_t read_tsc(void *opaque) { return x86_rdtsc(((struct vcpu *)opaque)->cpu); }
static void quit(void *opaque) { vm_request(opaque, VM_QUIT, 0); }

/* A20 changes what addresses mean. The vCPU drops derived state itself, at its next look at pending work. */
static void set_a20(void *opaque, int n, int level)
{
    struct vm *vm = opaque;

    for (int i = 0; i < vm->n_vcpus; i++) {
        struct x86_cpu *c = vm->vcpus[i]->cpu;
        if (c->a20_off == !level)
            continue;
        c->a20_off = !level;
        vcpu_set_pending(vm->vcpus[i], VCPU_WORK);
    }
}

/* SMRAM is opened (bit 0) or enabled (bit 1): the same. */
static void set_smram(void *opaque, int bit, int level)
{
    struct vm *vm = opaque;

    for (int i = 0; i < vm->n_vcpus; i++) {
        struct x86_cpu *c = vm->vcpus[i]->cpu;
        uint8_t v = (uint8_t)((c->smram & ~(1u << bit)) | (unsigned)level << bit);
        if (c->smram == v)
            continue;
        c->smram = v;
        vcpu_set_pending(vm->vcpus[i], VCPU_WORK);
    }
}

/* Firmware knows one handler, that of the first processor. */
static void set_smi(void *opaque, int n, int level)
{
    struct vm *vm = opaque;

    if (level)
        vcpu_set_pending(vm->vcpus[0], VCPU_SMI);
}

/* ---- host resources ---- */

static int open_serials(struct pc *pc)
{
    char err[256];

    for (unsigned i = 0; i < pc->opt->n_serial; i++) {
        const char *spec = pc->opt->serial[i];
        bool signals = !pc->opt->serial_mux[i];
        if (!strcmp(spec, "none"))
            continue;
        pc->serial[i] = !strcmp(spec, "stdio") ? chr_open_stdio(pc->vm->loop, signals, quit, pc->vm, err, sizeof(err))
                                               : chr_open(pc->vm->loop, spec, i ? "serial1" : "serial0", quit, pc->vm, err, sizeof(err));
        if (!pc->serial[i]) {
            log_error("-serial %s: %s", spec, err);
            return -EINVAL;
        }
    }
    return 0;
}

static int open_chardevs(struct pc *pc)
{
    char err[256];

    for (unsigned i = 0; i < pc->opt->n_chardevs; i++) {
        const struct chardev_opt *c = &pc->opt->chardevs[i];
        bool serial = false;
        for (unsigned s = 0; s < pc->opt->n_serial; s++)
            serial |= pc->opt->serial[s] == c->spec;
        if (serial)
            continue;                                    /* -serial chardev:ID has opened it */
        pc->chardev[i] = !strcmp(c->spec, "stdio") ? chr_open_stdio(pc->vm->loop, c->signals, quit, pc->vm, err, sizeof(err))
                                                   : chr_open(pc->vm->loop, c->spec, c->id, quit, pc->vm, err, sizeof(err));
        if (!pc->chardev[i]) {
            log_error("-chardev %s: %s", c->id, err);
            return -EINVAL;
        }
    }
    return 0;
}

static int open_drives(struct pc *pc)
{
    char err[256];

    for (unsigned i = 0; i < pc->opt->n_drives; i++) {
        const struct drive_opt *d = &pc->opt->drives[i];
        const char *cache = d->cache ? d->cache : "writeback";
        struct block_opts o = { .path = d->file, .format = d->raw ? "raw" : NULL, .readonly = d->readonly, .snapshot = d->snapshot || pc->opt->snapshot,
            .at_once = pc->opt->clock_by_access || pc->opt->lockstep,
            .cache = !strcmp(cache, "unsafe") ? BLOCK_UNSAFE : !strcmp(cache, "writethrough") ? BLOCK_WRITETHROUGH : BLOCK_WRITEBACK };
        pc->drive[i] = block_open(&o, err, sizeof(err));
        if (!pc->drive[i]) {
            log_error("-drive file=%s: %s", d->file, err);
            return -EINVAL;
        }
    }
    return 0;
}

static int open_nets(struct pc *pc)
{
    char err[256];

    for (unsigned i = 0; i < pc->opt->n_netdevs; i++) {
        pc->net[i] = netdev_open(pc->vm->loop, pc->vm->clock, pc->opt->netdevs[i].spec, err, sizeof(err));
        if (!pc->net[i]) {
            log_error("network '%s': %s", pc->opt->netdevs[i].spec, err);
            return -EINVAL;
        }
    }
    return 0;
}

/* ---- memory ---- */

static int add_ram(struct pc *pc)
{
    struct aspace *mem = pc->vm->mem;

    pc->vm->ram_size = pc->opt->ram_size;
    pc->below_4g = MIN(pc->opt->ram_size, PCI_HOLE);
    pc->above_4g = pc->opt->ram_size - pc->below_4g;
    if (as_add_ram(mem, &pc->ram, "ram", 0, pc->below_4g, REGION_RAM) ||
        (pc->above_4g && as_add_ram(mem, &pc->ram_high, "ram above 4 GiB", FOUR_GIB, pc->above_4g, REGION_RAM))) {
        log_error("-m: the host cannot give %llu MiB", (unsigned long long)(pc->opt->ram_size >> 20));
        return -ENOMEM;
    }
    pc->vga_hole = (struct region){ .kind = REGION_IO, .name = "vga hole" };      /* no card: reads ones */
    as_add(mem, &pc->vga_hole, 0xa0000, 0x20000);
    if (pc->below_4g >= 0xc0000) {
        as_add_alias(mem, &pc->smram, "smram", &pc->ram, 0xa0000, X86_SMRAM_ALIAS | 0xa0000, 0x20000);
        pc->smram.cpu_only = true;
    }
    return 0;
}

/* The firmware ends at 4 GiB, and its last 128 KiB at 1 MiB. Without one the ROM window reads ones. */
static int add_rom(struct pc *pc)
{
    struct aspace *mem = pc->vm->mem;
    struct image bios = { 0 };
    int ret = 0;

    if (pc->opt->bios && (ret = image_read(&bios, pc->opt->bios, "-bios", BIOS_MAX, false)))
        return ret;
    if (pc->opt->bios && (!bios.len || bios.len % 0x10000)) {
        log_error("-bios %s: %zu bytes is not a multiple of 64 KiB", pc->opt->bios, bios.len);
        ret = -EINVAL;
    }
    if (!ret && (as_add_ram(mem, &pc->rom, "rom", LOW_ROM, LOW_ROM_SIZE, REGION_ROM) ||
                 (bios.len && as_add_ram(mem, &pc->rom_high, "bios", FOUR_GIB - bios.len, bios.len, REGION_ROM))))
        ret = -ENOMEM;
    if (!ret) {
        size_t low = MIN(bios.len, (size_t)LOW_BIOS_MAX);
        memset(pc->rom.host, 0xff, LOW_ROM_SIZE - low);
        if (low)
            memcpy(pc->rom.host + LOW_ROM_SIZE - low, bios.data + bios.len - low, low);
        if (bios.len)
            memcpy(pc->rom_high.host, bios.data, bios.len);
    }
    image_free(&bios);
    return ret;
}

/* ---- CPUs ---- */

static int add_vcpus(struct pc *pc, int n)
{
    struct vm *vm = pc->vm;

    for (int i = 0; i < n; i++) {
        struct vcpu *v = xzalloc(sizeof(*v));
        v->vm = vm;
        v->id = i;
        v->engine = vm->engine;
        pthread_cond_init(&v->wake, NULL);
        if (vm->engine->vcpu_init(v)) {
            log_error("-accel %s: cannot make CPU %d", vm->engine->name, i);
            free(v);
            return -EINVAL;
        }
        vm->vcpus[vm->n_vcpus++] = v;
    }
    return 0;
}

/* ---- firmware tables ---- */

static void add_firmware_data(struct pc *pc)
{
    struct e820 { uint64_t base, size; uint32_t type; } __attribute__((packed)) map[2] = { { 0, pc->below_4g, 1 }, { FOUR_GIB, pc->above_4g, 1 } };
    struct fw_cfg *f = pc->fw_cfg;

    rtc_set_memory(pc->rtc, pc->below_4g, pc->above_4g, pc->vm->n_vcpus);
    fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, pc->below_4g);
    fw_cfg_add_u16(f, FW_CFG_NB_CPUS, (uint16_t)pc->vm->n_vcpus);
    fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, (uint16_t)pc->vm->n_vcpus);
    fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, pc->opt->no_display);
    fw_cfg_add_u32(f, FW_CFG_IRQ0_OVERRIDE, 1);
    fw_cfg_add_file(f, "etc/e820", map, (uint32_t)(pc->above_4g ? sizeof(map) : sizeof(map[0])));
}

static int build_acpi(struct pc *pc)
{
    struct acpi_config c = { .n_cpus = pc->vm->n_vcpus, .pci_mem_base = PCI_HOLE, .pci_mem_end = PCI_HOLE_END, .hpet = true,
        .com1 = pc->opt->n_serial > 0, .com2 = pc->opt->n_serial > 1, .i8042 = true };
    int ret = acpi_build(&c, &pc->acpi);

    if (ret)
        log_error("cannot build the ACPI tables: %s", strerror(-ret));
    return ret;
}

/* ---- devices of the command line ---- */

static struct chr *chr_of(struct pc *pc, const struct device_opt *d) { return d->chr ? pc->chardev[d->chr - pc->opt->chardevs] : NULL; }

static void add_blk(struct pc *pc, unsigned drive, const struct device_opt *d, unsigned n)
{
    struct virtio_blk_opts o = { .pci = { .devfn = d && d->slot >= 0 ? PCI_DEVFN(d->slot, 0) : -1 }, .blk = pc->drive[drive],
        .serial = d && d->serial ? d->serial : pc->opt->drives[drive].serial, .num_queues = d ? d->num_queues : 0 };
    virtio_blk_new(pc->vm, pc->pci, xasprintf("virtio-blk%u", n), &o);
}

static void add_net(struct pc *pc, const struct device_opt *d, unsigned n)
{
    struct virtio_net_opts o = { .pci = { .devfn = d->slot >= 0 ? PCI_DEVFN(d->slot, 0) : -1 }, .net = d->net ? pc->net[d->net - pc->opt->netdevs] : NULL };
    memcpy(o.mac, d->mac, 6);
    virtio_net_new(pc->vm, pc->pci, xasprintf("virtio-net%u", n), &o);
}

static void add_device(struct pc *pc, const struct device_opt *d, unsigned n)
{
    struct virtio_pci_opts po = { .devfn = d->slot >= 0 ? PCI_DEVFN(d->slot, 0) : -1 };

    switch (d->kind) {
    case DEVICE_VIRTIO_BLK: add_blk(pc, (unsigned)(d->drive - pc->opt->drives), d, OPT_MAX + n); break;
    case DEVICE_VIRTIO_NET: add_net(pc, d, n); break;
    case DEVICE_VIRTIO_RNG: virtio_rng_new(pc->vm, pc->pci, xasprintf("virtio-rng%u", n), &po); break;
    case DEVICE_VIRTIO_CONSOLE: virtio_console_new(pc->vm, pc->pci, xasprintf("virtio-console%u", n), &po, chr_of(pc, d)); break;
    case DEVICE_VIRTIO_SERIAL: break;            /* the bus of a virtconsole, which brings its own */
    case DEVICE_DEBUG_EXIT: debugexit_new(pc->vm, pc->vm->io, (uint16_t)(d->iobase ? d->iobase : DEBUGEXIT_PORT), d->iosize); break;
    case DEVICE_DEBUGCON: debugcon_new(pc->vm, pc->vm->io, (uint16_t)(d->iobase ? d->iobase : 0xe9), chr_of(pc, d)); break;
    }
}

static void add_devices(struct pc *pc)
{
    for (unsigned i = 0; i < pc->opt->n_drives; i++) {
        if (pc->opt->drives[i].virtio)
            add_blk(pc, i, NULL, i);
    }
    for (unsigned i = 0; i < pc->opt->n_devices; i++)
        add_device(pc, &pc->opt->devices[i], i);
}

/* ---- the board: every chip and every wire, in order ---- */

static void add_board(struct pc *pc)
{
    struct vm *vm = pc->vm;
    struct aspace *mem = vm->mem, *io = vm->io;
    struct kvm_models *c = &pc->chips;
    struct irq gsi[24];

    for (int i = 0; i < 24; i++)
        gsi[i] = kvm_models_gsi(c, i);
    c->vm = vm;
    c->apics = apic_bus_new(vm, mem);
    c->pic = pic_new(vm, io, kvm_models_intr(c));
    c->ioapic = ioapic_new(vm, mem, kvm_models_deliver, c);
    apic_bus_connect_eoi(c->apics, ioapic_eoi, c->ioapic);
    apic_bus_connect_pic(c->apics, ack_pic, c->pic);
    for (int i = 0; i < vm->n_vcpus; i++) {
        struct lapic_tsc tsc = { read_tsc, vm->vcpus[i], x86_tsc_hz() };
        pc->lapic[i] = lapic_new(vm, c->apics, vm->vcpus[i], &tsc);
    }

    pc->pci = pci_bus_new(vm, mem, io);
    pci_bus_connect_msi(pc->pci, kvm_models_msi, c);
    pc->bridge = i440fx_new(vm, pc->pci, mem, &pc->ram, &pc->rom);
    piix3_new(vm, pc->pci, gsi);
    i440fx_connect_smram(pc->bridge, (struct irq){ set_smram, vm, 0 }, (struct irq){ set_smram, vm, 1 });
    pc->pm = pm_new(vm, pc->pci, io, gsi[9], vm->engine == &kvm_engine || pc->opt->smm == SMM_OFF ? (struct irq){ 0 } : (struct irq){ set_smi, vm, 0 });

    c->hpet = hpet_new(vm, mem, gsi);
    c->pit = pit_new(vm, io, hpet_pit_irq(c->hpet));
    pc->rtc = rtc_new(vm, io, hpet_rtc_irq(c->hpet), pc->opt->rtc_base);
    struct port92 *port92 = port92_new(vm, io, (struct irq){ set_a20, vm, 0 });
    ferr_new(vm, io, gsi[13]);
    i8042_new(vm, io, gsi[1], gsi[12], port92_a20_irq(port92));
    for (unsigned i = 0; i < pc->opt->n_serial; i++) {
        if (strcmp(pc->opt->serial[i], "none"))
            uart_new(vm, io, com_port[i], gsi[com_irq[i]], pc->serial[i]);
    }
    pc->fw_cfg = fw_cfg_new(vm, io, mem);
    add_devices(pc);
    kvm_models_connect(c);
}

struct pc *pc_new(struct vm *vm, const struct options *opt, int n_cpus)
{
    struct pc *pc = xzalloc(sizeof(*pc));

    pc->vm = vm;
    pc->opt = opt;
    if (add_ram(pc) || add_rom(pc))
        goto fail;
    if (opt->kernel && boot_prepare(&pc->boot, opt->kernel, opt->initrd, opt->append, pc->below_4g, pc->above_4g, 0))
        goto fail;
    if (open_drives(pc) || open_nets(pc) || add_vcpus(pc, n_cpus) || open_serials(pc) || open_chardevs(pc))
        goto fail;
    add_board(pc);
    if (build_acpi(pc))
        goto fail;
    add_firmware_data(pc);
    return pc;
fail:
    pc_close(pc);
    return NULL;
}

/* What firmware would have left behind for a kernel that is started directly. */
static int start_kernel(struct pc *pc)
{
    static const uint8_t lines[4] = { 10, 10, 11, 11 };
    int ret;

    i440fx_open_shadow(pc->bridge);
    pci_assign_resources(pc->pci, (uint32_t)PCI_HOLE, (uint32_t)PCI_HOLE_END, PCI_IO_BASE, lines);
    pic_set_elcr(pc->chips.pic, 1 << 9 | 1 << 10 | 1 << 11);
    if ((ret = as_load(pc->vm->mem, pc->acpi.addr, pc->acpi.data, pc->acpi.len)))
        return ret;
    pc->boot.rsdp = pc->acpi.addr;
    return boot_load(&pc->boot, pc->vm);
}

int pc_reset(struct pc *pc)
{
    struct vm *vm = pc->vm;
    int ret = 0;

    machine_lock();
    for (int i = 0; i < vm->n_vcpus; i++)
        vcpu_clear_pending(vm->vcpus[i], VCPU_NMI | VCPU_SMI | VCPU_INIT | VCPU_SIPI | VCPU_INTR);
    vm_reset_devices(vm);
    for (int i = 0; i < vm->n_vcpus; i++)
        vm->engine->vcpu_reset(vm->vcpus[i]);
    if (pc->opt->kernel)
        ret = start_kernel(pc);
    if (!ret)
        ret = kvm_models_load();
    machine_unlock();
    return ret;
}

void pc_power_button(struct pc *pc) { pm_power_button(pc->pm); }
void pc_vcpu_thread(struct pc *pc, struct vcpu *v) { lapic_set_current(pc->lapic[v->id]); }

void pc_close(struct pc *pc)
{
    machine_lock();
    worker_end_calls();
    block_drain_all();
    for (unsigned i = 0; pc && i < OPT_MAX; i++) {
        if (pc->drive[i])
            block_close(pc->drive[i]);
        if (pc->net[i])
            netdev_close(pc->net[i]);
    }
    chr_exit_all();
    machine_unlock();
}
