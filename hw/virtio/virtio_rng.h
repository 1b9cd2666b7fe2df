/* Virtio entropy device (virtio 1.2, 5.4) on PCI: fills buffers from getrandom(2). */
#ifndef HW_VIRTIO_VIRTIO_RNG_H
#define HW_VIRTIO_VIRTIO_RNG_H
#include "core/vm.h"
#include "hw/virtio/virtio_pci.h"

struct virtio_rng;
struct virtio_rng *virtio_rng_new(struct vm *, struct pci_bus *, const char *name, const struct virtio_pci_opts *);
#endif
