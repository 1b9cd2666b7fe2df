/*
 * The command line as data. options_parse checks every word before anything is opened or created; what refers to something else
 * (drive=, netdev=, chardev=) is resolved here too, so that later steps cannot meet an unknown name.
 */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H
#include "core/types.h"
#include "vmm/engines.h"

#define OPT_MAX 16
#define OPT_SERIALS 2

struct drive_opt { const char *id, *file, *serial; bool virtio, readonly, snapshot, raw, used; const char *cache; };
struct netdev_opt { const char *id, *spec; bool used; };
struct chardev_opt { const char *id, *spec; bool signals, used; };

enum device_kind { DEVICE_VIRTIO_BLK, DEVICE_VIRTIO_NET, DEVICE_VIRTIO_RNG, DEVICE_VIRTIO_CONSOLE, DEVICE_VIRTIO_SERIAL, DEVICE_DEBUG_EXIT, DEVICE_DEBUGCON };
struct device_opt {
    enum device_kind kind;
    struct drive_opt *drive; struct netdev_opt *net; struct chardev_opt *chr;
    const char *serial;
    uint8_t mac[6];
    unsigned iobase, iosize, num_queues;        /* 0: the device's default */
    int slot;                                   /* PCI; -1: first free */
};

enum smm_choice { SMM_AUTO /* where the engine has the mode: not under KVM */, SMM_ON, SMM_OFF };

struct options {
    const char *accel, *cpu, *kernel, *initrd, *append, *bios, *log_path, *symbols;
    int kernel_irqchip;                         /* enum kvm_chips */
    int smm;                                    /* enum smm_choice: does the chipset raise SMIs? */
    const char *lockstep;                       /* -lockstep A,B: the leading engine, B follows; NULL: one engine */
    struct tcg_stress stress;                   /* -accel tcg,... */
    const char *profile;                        /* -accel tcg,profile=: one of speed_profiles, or NULL */
    bool kvm_emulated;                          /* -accel kvm takes a KVM without hardware assistance too */
    uint64_t ram_size;
    unsigned cpus, sockets, cores, threads;     /* 0: not given */
    int64_t rtc_base;                           /* seconds since 1970, -1: the host's */
    bool clock_by_access;                       /* -rtc clock=accesses */
    unsigned log_mask;
    uint64_t filter_lo, filter_hi;
    struct drive_opt drives[OPT_MAX]; unsigned n_drives;
    struct netdev_opt netdevs[OPT_MAX]; unsigned n_netdevs;
    struct chardev_opt chardevs[OPT_MAX]; unsigned n_chardevs;
    struct device_opt devices[2 * OPT_MAX]; unsigned n_devices;
    const char *serial[OPT_SERIALS]; unsigned n_serial;      /* spec of chr_open; "mon:" in front is removed (serial_mux) */
    bool serial_mux[OPT_SERIALS];
    const char *monitor;                        /* spec of chr_open, NULL: none */
    bool perfmap, jitdump;                      /* vmm/perf.h */
    bool nographic, no_display, snapshot, no_reboot, no_shutdown, stopped;
};

/* 0: go on; 1: help or version was printed; -EINVAL: one line on stderr has said why. */
int options_parse(struct options *, int argc, char **argv);
#endif
