/*
 * The smallest driver for virtio's old interface: one request under way, its end told by MSI-X entry 0; the processor halts until then.
 * Virtio 1.2, sections 2.7 and 4.1.4.10; PCI local bus 3.0, section 6.8.2.
 */
#ifndef VIRTIO_H
#define VIRTIO_H
#include "kit.h"

struct vdesc { u64 addr; u32 len; u16 flags, next; };
struct vring { struct vdesc *desc; volatile u16 *avail, *used; u16 size, index, seen, port; u8 memory[3 * 4096] __attribute__((aligned(4096))); };
enum { VDESC_NEXT = 1, VDESC_WRITE = 2 };

static inline void outl(u16 p, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(p)); }
static inline u32 inl(u16 p) { u32 v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline void outw(u16 p, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(p)); }
static inline u16 inw(u16 p) { u16 v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(p)); return v; }

static u32 pci_address(unsigned slot, unsigned reg) { return 0x80000000u | slot << 11 | reg; }

static u32 pci_read(unsigned slot, unsigned reg) { outl(0xcf8, pci_address(slot, reg)); return inl(0xcfc); }
static void pci_write(unsigned slot, unsigned reg, u32 v) { outl(0xcf8, pci_address(slot, reg)); outl(0xcfc, v); }

/* 0: it has no MSI-X. */
static int virtio_msix(unsigned slot, u32 table, u8 vector)
{
    unsigned cap = pci_read(slot, 0x34) & 0xfc;

    while (cap && (pci_read(slot, cap) & 0xff) != 0x11)
        cap = pci_read(slot, cap) >> 8 & 0xfc;
    if (!cap)
        return 0;
    pci_write(slot, 0x14, table);
    pci_write(slot, 4, 7);
    volatile u32 *entry = (volatile u32 *)(ul)table;
    entry[0] = 0xfee00000;
    entry[1] = 0;
    entry[2] = vector;
    entry[3] = 0;
    pci_write(slot, cap, 1u << 31 | (pci_read(slot, cap) & 0x3fffffff));
    return 1;
}

/* The function with that device id: its registers put at PORT, its MSI-X table at TABLE. 0: there is none. */
static int virtio_find(u16 device, u16 port, u32 table, u8 vector)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        if (pci_read(slot, 0) != ((u32)device << 16 | 0x1af4))
            continue;
        pci_write(slot, 0x10, port);
        if (!virtio_msix(slot, table, vector))
            return 0;
        outb(port + 18, 0);
        outb(port + 18, 3);
        outl(port + 4, 0);
        return 1;
    }
    return 0;
}

/* 0: larger than the memory for it, or no vector. */
static int virtio_queue(struct vring *r, u16 port, u16 queue)
{
    outw(port + 14, queue);
    r->size = inw(port + 12);
    r->port = port;
    r->index = queue;
    if (!r->size || r->size > 256)
        return 0;
    r->desc = (struct vdesc *)r->memory;
    r->avail = (volatile u16 *)(r->memory + 16 * r->size);
    r->used = (volatile u16 *)(r->memory + 8192);
    if (16u * r->size + 6 + 2u * r->size <= 4096)
        r->used = (volatile u16 *)(r->memory + 4096);
    outl(port + 8, (u32)(ul)r->memory >> 12);
    outw(port + 22, 0);
    return inw(port + 22) == 0;
}

static void virtio_start(u16 port) { outb(port + 18, 7); }

/* Hands the chain that begins at descriptor 0 to the device. */
static inline void virtio_offer(struct vring *r)
{
    r->avail[2 + r->avail[1] % r->size] = 0;
    __asm__ volatile("" : : : "memory");
    r->avail[1]++;
    __asm__ volatile("mfence" : : : "memory");
    outw(r->port + 16, r->index);
}

/* Until the device has given one back. */
static inline void virtio_wait(struct vring *r)
{
    while (r->used[1] == r->seen)
        __asm__ volatile("sti\n hlt\n cli" : : : "memory");
    r->seen++;
}
#endif
