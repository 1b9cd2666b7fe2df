/*
 * A device's DMA over the very code that rings it: random numbers for the immediate operand of an instruction behind the store that asks for them,
 * in the same block of code. The device must come to its end, and so must the code.
 */
#include "virtio.h"

enum { PORT = 0xc100, TABLE = 0xfe000000, BAR4 = 0xfe010000 };

static struct vring ring;
static u8 code[] __attribute__((aligned(64))) = { 0x66, 0x89, 2, 0x48, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0xcd, 0x80 };      /* mov %ax,(%rdx); movabs $0,%rbx; int $0x80 */

/* The notification capability's place of queue 0 (virtio 1.2, 4.1.4.4). */
static ul doorbell(void)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        if (pci_read(slot, 0) != 0x10051af4)
            continue;
        for (unsigned cap = pci_read(slot, 0x34) & 0xfc; cap; cap = pci_read(slot, cap) >> 8 & 0xfc)
            if ((pci_read(slot, cap) & 0xff) == 9 && pci_read(slot, cap) >> 24 == 2) {
                pci_write(slot, 0x10 + 4 * (pci_read(slot, cap + 4) & 7), BAR4);
                pci_write(slot, 0x14 + 4 * (pci_read(slot, cap + 4) & 7), 0);
                return BAR4 + pci_read(slot, cap + 8);
            }
    }
    return 0;
}

static void over_own_code(void)
{
    if (!virtio_find(0x1005, PORT, TABLE, 0x60) || !virtio_queue(&ring, PORT, 0))
        SKIP("no random number device");
    virtio_start(PORT);
    ring.desc[0] = (struct vdesc){ (ul)code + 5, 8, VDESC_WRITE, 0 };
    ring.avail[2] = 0;
    ring.avail[1] = 1;
    struct regs r = { .ip = (ul)code, .cs = 8, .ss = 0x10, .ds = 0x10, .es = 0x10, .fl = 2, .sp = (ul)stack_top - 4096, .ax = 0, .dx = doorbell() };
    enter(&r);
    EXPECT_END();
    EQ(last.ip, (ul)code + 15);
    while (ring.used[1] != 1) { }
    u64 now;
    memcpy(&now, code + 5, 8);
    EQ(now != 0, 1);
    EQ(last.bx == now || last.bx == 0, 1);
}

void main(void);
void main(void)
{
    RUN(over_own_code);
    finish();
}
