/* Virtio console, a single port without multiport (virtio 1.2, 5.3) on PCI: the guest's hvc0. */
#ifndef HW_CHAR_VIRTIO_CONSOLE_H
#define HW_CHAR_VIRTIO_CONSOLE_H
#include "core/vm.h"
#include "host/chr.h"
#include "hw/virtio/virtio_pci.h"

struct virtio_console;
struct virtio_console *virtio_console_new(struct vm *, struct pci_bus *, const char *name, const struct virtio_pci_opts *, struct chr *);
#endif
