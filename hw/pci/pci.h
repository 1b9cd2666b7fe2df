/*
 * PCI: one bus, functions with 256 bytes of configuration space, BARs, capabilities, MSI-X, INTx; mechanism #1 at 0xcf8/0xcfc.
 *
 * In: port accesses. Out: BARs appear in and vanish from the address spaces as the guest programs them; interrupts.
 * A PCI device's struct starts with struct pci_dev; it puts PCI_ROWS(type, member) into its rows, calls pci_dev_reset from its reset and
 * pci_dev_post_load from its post_load (pci_dev_init sets post_load to it; overriders call it).
 * Invariant: a BAR is mapped exactly while its enable bit in COMMAND is set and its address is not zero, inside the space and not wrapping.
 * Locks: machine lock. Manual: PCI Local Bus Specification 3.0, chapter 6.
 */
#ifndef HW_PCI_PCI_H
#define HW_PCI_PCI_H
#include "core/notifier.h"
#include "core/vm.h"

#define PCI_DEVFN(slot, fn) ((slot) << 3 | (fn))
#define PCI_BARS 7                        /* 6 is the expansion ROM */
#define PCI_ROM_BAR 6
#define PCI_MSIX_MAX 64
#define PCI_ROM_REG 0x30

enum pci_reg {
    PCI_VENDOR_ID = 0x00, PCI_DEVICE_ID = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06, PCI_REVISION = 0x08, PCI_CLASS_PROG = 0x09,
    PCI_CLASS_DEVICE = 0x0a, PCI_CACHE_LINE = 0x0c, PCI_LATENCY = 0x0d, PCI_HEADER_TYPE = 0x0e, PCI_BAR0 = 0x10, PCI_SUBSYS_VENDOR = 0x2c,
    PCI_SUBSYS_ID = 0x2e, PCI_CAP_PTR = 0x34, PCI_INT_LINE = 0x3c, PCI_INT_PIN = 0x3d,
};
enum { PCI_CMD_IO = 1, PCI_CMD_MEM = 2, PCI_CMD_MASTER = 4, PCI_CMD_INTX_DISABLE = 0x400 };
enum { PCI_STATUS_INTX = 0x08, PCI_STATUS_CAPS = 0x10 };
enum { PCI_CAP_MSI = 5, PCI_CAP_VENDOR = 9, PCI_CAP_MSIX = 0x11 };
/* MEM64 takes BARs n and n+1. */
enum pci_bar_flags { PCI_BAR_MEM = 0, PCI_BAR_IO = 1, PCI_BAR_MEM64 = 4, PCI_BAR_PREFETCH = 8 };

struct pci_bar {
    struct region region;
    uint64_t size;                        /* 0: not implemented */
    uint8_t flags;
    bool mapped;
};

struct pci_msix {
    uint8_t table[PCI_MSIX_MAX * 16];
    uint64_t pba;
};

struct pci_dev {
    struct device dev;
    struct pci_bus *bus;
    uint8_t devfn, cap_end, msix_cap;     /* cap_end: first free byte for capabilities */
    uint16_t msix_vectors;
    uint8_t wmask[256], w1c[256], reset_config[256];
    struct pci_bar bar[PCI_BARS];
    /* Optional: called after the guest's write has changed config. */
    void (*config_written)(struct pci_dev *, unsigned offset, unsigned size);
    uint8_t config[256];
    struct pci_msix msix;
    struct notifier notifier[PCI_MSIX_MAX];
    uint8_t intx;                         /* level the device drives */
    uint8_t intx_seen;                    /* level the bus sees (INTx disable applied) */
};

/* Rows for everything in struct pci_dev, M being its member name in TYPE (or use PCI_ROWS_SELF for a bare struct pci_dev). */
#define PCI_ROWS(type, m) \
    S_SKIP(type, m.dev), S_SKIP(type, m.bus), S_SKIP(type, m.devfn), S_SKIP(type, m.cap_end), S_SKIP(type, m.msix_cap), \
    S_SKIP(type, m.msix_vectors), S_SKIP(type, m.wmask), S_SKIP(type, m.w1c), S_SKIP(type, m.reset_config), S_SKIP(type, m.bar), \
    S_SKIP(type, m.config_written), S_SAVE(type, m.config), S_SAVE(type, m.msix), S_SKIP(type, m.notifier), S_SAVE(type, m.intx), S_SAVE(type, m.intx_seen)

struct pci_bus {
    struct device dev;
    struct vm *vm;
    struct aspace *mem, *io;
    struct region cfg_io;
    struct pci_dev *devs[256];            /* by devfn */
    struct irq pirq[4];                   /* PIRQA..D, into the south bridge */
    void (*msi)(void *opaque, uint64_t addr, uint32_t data); void *msi_opaque;
    uint8_t (*rcr_read)(void *opaque); void (*rcr_write)(void *opaque, uint8_t v); void *rcr_opaque;   /* port 0xcf9 */
    uint32_t address;                     /* 0xcf8 */
    uint16_t pirq_count[4];               /* functions asserting each line */
};

struct pci_bus *pci_bus_new(struct vm *, struct aspace *mem, struct aspace *io);
/* MSI writes of devices (a wrapper of apic_msi). */
void pci_bus_connect_msi(struct pci_bus *, void (*msi)(void *opaque, uint64_t addr, uint32_t data), void *opaque);
/* First free slot number at or after SLOT (function 0 unused), or -1. */
int pci_bus_free_slot(struct pci_bus *, int slot);

/* Prepare D and put it on the bus. CLASS is 24 bits class/subclass/prog-if. Call first; then BARs and capabilities; then device_add. */
void pci_dev_init(struct pci_bus *, struct pci_dev *d, int devfn, uint16_t vendor, uint16_t device, uint32_t class, uint8_t revision);
void pci_set_subsystem(struct pci_dev *, uint16_t vendor, uint16_t id);
/* Pin 1..4 (INTA..INTD); makes INT_LINE writable. */
void pci_set_int_pin(struct pci_dev *, int pin);
/* Constructor-time defaults of config bytes, with the guest-writable bits (and restored by pci_dev_reset). */
void pci_config_set(struct pci_dev *, unsigned offset, unsigned size, uint32_t val, uint32_t wmask);
uint32_t pci_config_get(const struct pci_dev *, unsigned offset, unsigned size);
/* Config space back to its defaults, BARs unmapped, INTx low, MSI-X masked. */
void pci_dev_reset(struct pci_dev *);
void pci_dev_post_load(void *pci_dev);

/* A BAR with callbacks; SIZE a power of two (>= 16 for memory, >= 4 for I/O). The region can be adjusted (max_size, no_lock) until it is mapped. */
struct region *pci_bar_add(struct pci_dev *, int n, unsigned flags, uint64_t size, const char *name,
                           uint64_t (*read)(void *, uint64_t, unsigned), void (*write)(void *, uint64_t, uint64_t, unsigned), void *opaque);
/* A BAR backed by RAM (frame buffer) or, with n = PCI_ROM_BAR, ROM; NULL when out of memory. region->host is the bytes. */
struct region *pci_bar_add_ram(struct pci_dev *, int n, unsigned flags, uint64_t size, const char *name);

/* Append a capability of LEN bytes (id and next included); returns its offset, 0 when full. */
uint8_t pci_add_cap(struct pci_dev *, uint8_t id, unsigned len);

/* MSI-X with its table and PBA in BAR n (created here: 4096 bytes). 0 or -EINVAL. */
int pci_msix_init(struct pci_dev *, unsigned vectors, int bar);
bool pci_msix_enabled(const struct pci_dev *);
/* Send vector V, or remember it in the PBA while masked. V out of range is ignored. */
void pci_msix_notify(struct pci_dev *, unsigned v);

/* INTx of this function (level). */
void pci_set_irq(struct pci_dev *, int level);
struct irq pci_intx(struct pci_dev *);

/* Bus-master access: refused (-EFAULT) while COMMAND.master is off. */
int pci_dma_read(struct pci_dev *, gpa_t addr, void *buf, size_t len);
int pci_dma_write(struct pci_dev *, gpa_t addr, const void *buf, size_t len);

/* What a BIOS would do, for direct kernel boot: give every BAR an address (memory from MEM_BASE up to MEM_END, ports from IO_BASE), enable
   decoding and fill in INT_LINE from LINES[PIRQ]. */
void pci_assign_resources(struct pci_bus *, uint32_t mem_base, uint32_t mem_end, uint16_t io_base, const uint8_t lines[4]);
/* PIRQ (0..3) that PIN (1..4) of SLOT is wired to. */
static inline int pci_pirq_of(int slot, int pin) { return (slot + pin - 2) & 3; }
#endif
