/*
 * Virtio over PCI (virtio 1.2, 4.1): the modern capability interface in BAR4, the legacy (0.9.5) register block in I/O BAR0, MSI-X in BAR1.
 * A device embeds struct virtio_pci as its first member.
 */
#ifndef HW_VIRTIO_VIRTIO_PCI_H
#define HW_VIRTIO_VIRTIO_PCI_H
#include "hw/pci/pci.h"
#include "hw/virtio/virtio.h"

struct virtio_pci_opts {
    int devfn;                       /* slot << 3 | function, or -1: the first free slot */
    bool disable_legacy, disable_modern;
};

struct virtio_pci {
    struct pci_dev pci;
    struct virtio vio;
    struct virtio_pci_opts opts;
    uint8_t cfg_cap;                     /* config offset of the PCI configuration access capability */
    uint8_t pad[7];
    struct doorbell bell[2][VIRTIO_MAX_QUEUES];   /* modern, legacy */
};

/*
 * A constructor calls virtio_pci_init, adds its queues, then virtio_pci_finish (BARs, capabilities, device_add, reset). CLASS is 24 bits.
 * REVISION and ids follow from the options: 1000.. + revision 0 transitional, 1040 + id and revision 1 when legacy is disabled.
 * -EINVAL when both interfaces are disabled or there is no slot.
 */
int virtio_pci_init(struct pci_bus *, struct virtio_pci *, const struct virtio_pci_opts *, enum virtio_id, uint32_t class, const char *name,
                    const struct virtio_ops *, unsigned config_size);
int virtio_pci_finish(struct vm *, struct virtio_pci *, const struct state_row *rows, size_t size);
void virtio_pci_reset(void *vp);         /* struct device reset and post_load of every virtio PCI device */
void virtio_pci_post_load(void *vp);

#define VIRTIO_PCI_ROWS(type, m) \
    PCI_ROWS(type, m.pci), VIRTIO_ROWS(type, m.vio), S_SKIP(type, m.opts), S_SKIP(type, m.cfg_cap), S_SKIP(type, m.pad), S_SKIP(type, m.bell)
#endif
