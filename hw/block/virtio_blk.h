/* Virtio block device (virtio 1.2, 5.2) on PCI. See virtio_blk.c. */
#ifndef HW_BLOCK_VIRTIO_BLK_H
#define HW_BLOCK_VIRTIO_BLK_H
#include "core/vm.h"
#include "host/block.h"
#include "hw/virtio/virtio_pci.h"

struct virtio_blk_opts {
    struct virtio_pci_opts pci;
    struct block *blk;
    const char *serial;              /* at most 20 bytes; NULL: "" */
    unsigned num_queues;             /* 1..4; 0: 1 */
};
struct virtio_blk;
struct virtio_blk *virtio_blk_new(struct vm *, struct pci_bus *, const char *name, const struct virtio_blk_opts *);
#endif
