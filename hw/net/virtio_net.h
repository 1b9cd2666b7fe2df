/* Virtio network card (virtio 1.2, 5.1) on PCI. See virtio_net.c. */
#ifndef HW_NET_VIRTIO_NET_H
#define HW_NET_VIRTIO_NET_H
#include "core/vm.h"
#include "host/net.h"
#include "hw/virtio/virtio_pci.h"

struct virtio_net_opts {
    struct virtio_pci_opts pci;
    struct netdev *net;              /* NULL: nothing plugged in, link down */
    uint8_t mac[6];
};
struct virtio_net;
struct virtio_net *virtio_net_new(struct vm *, struct pci_bus *, const char *name, const struct virtio_net_opts *);
#endif
