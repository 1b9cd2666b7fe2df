/*
 * A fixed script for every device of the machine, one after the other, for tests/same_devices.sh: the accesses and the devices' state at the end must be
 * the same, byte for byte, under every engine. Interrupts stay off, so that none is taken at an engine's own moment; nothing halts, because time goes on
 * by accesses only; what a device does by itself (a disk request) is awaited in memory, where looking costs no access.
 */
#include "kit.h"

static inline void outw(u16 p, u16 v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(p)); }
static inline void outl(u16 p, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(p)); }
static inline u16 inw(u16 p) { u16 v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline u32 inl(u16 p) { u32 v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline u32 rd32(u32 at) { u32 v; __asm__ volatile("movl (%1), %0" : "=r"(v) : "r"(at) : "memory"); return v; }
static inline void wr32(u32 at, u32 v) { __asm__ volatile("movl %0, (%1)" : : "r"(v), "r"(at) : "memory"); }

/* PORT and value pairs are written, PORT alone is read. */
#define R(port) { port, -1 }
struct step { u16 port; short val; };
static void play(const struct step *s, unsigned n)
{
    for (; n--; s++) {
        if (s->val < 0)
            inb(s->port);
        else
            outb(s->port, (u8)s->val);
    }
}
#define PLAY(...) do { static const struct step s_[] = { __VA_ARGS__ }; play(s_, sizeof(s_) / sizeof(s_[0])); } while (0)

static void pic(void)
{
    PLAY({ 0x20, 0x11 }, { 0x21, 0x30 }, { 0x21, 0x04 }, { 0x21, 0x01 }, { 0xa0, 0x11 }, { 0xa1, 0x38 }, { 0xa1, 0x02 }, { 0xa1, 0x01 },
         { 0x21, 0xfb }, { 0xa1, 0xff }, R(0x21), R(0xa1), { 0x20, 0x0a }, R(0x20), { 0x20, 0x0b }, R(0x20), { 0xa0, 0x0a }, R(0xa0), { 0x20, 0x20 },
         { 0xa0, 0x62 }, { 0x20, 0x0c }, R(0x20), { 0x20, 0xc3 }, { 0x20, 0x68 }, { 0x20, 0x48 }, R(0x4d0), R(0x4d1), { 0x4d1, 0x0e }, R(0x4d1));
}

static void pit(void)
{
    PLAY({ 0x43, 0x34 }, { 0x40, 0x34 }, { 0x40, 0x12 }, { 0x43, 0x00 }, R(0x40), R(0x40), { 0x43, 0xe2 }, R(0x40), { 0x61, 0x01 }, { 0x43, 0xb6 },
         { 0x42, 0x40 }, { 0x42, 0x00 }, R(0x61), R(0x42), R(0x42), R(0x61), { 0x43, 0xb0 }, { 0x42, 0x20 }, { 0x42, 0x00 }, R(0x61), { 0x43, 0xe8 }, R(0x42));
    for (unsigned i = 0; i < 100; i++)
        inb(0x61);
    PLAY({ 0x61, 0x00 }, { 0x43, 0x54 }, { 0x41, 0x12 }, R(0x41), { 0x43, 0x70 }, { 0x41, 0x99 }, { 0x41, 0x09 }, R(0x41), R(0x41));
}

static void rtc(void)
{
    for (u8 i = 0; i < 128; i++) {
        outb(0x70, i);
        inb(0x71);
    }
    PLAY({ 0x70, 0x0b }, { 0x71, 0x82 }, { 0x70, 0x00 }, { 0x71, 0x58 }, { 0x70, 0x02 }, { 0x71, 0x59 }, { 0x70, 0x04 }, { 0x71, 0x23 }, { 0x70, 0x07 },
         { 0x71, 0x28 }, { 0x70, 0x08 }, { 0x71, 0x02 }, { 0x70, 0x09 }, { 0x71, 0x24 }, { 0x70, 0x0b }, { 0x71, 0x72 }, { 0x70, 0x0a }, { 0x71, 0x26 },
         { 0x70, 0x01 }, { 0x71, 0x59 }, { 0x70, 0x03 }, { 0x71, 0x59 }, { 0x70, 0x05 }, { 0x71, 0xff }, { 0x70, 0x7f }, { 0x71, 0xa5 }, R(0x71));
    for (unsigned i = 0; i < 3000; i++)
        PLAY({ 0x70, 0x0c }, R(0x71), { 0x70, 0x00 }, R(0x71));
}

static void uart(void)
{
    PLAY({ 0x3fb, 0x80 }, { 0x3f8, 0x01 }, { 0x3f9, 0x00 }, R(0x3f8), R(0x3f9), { 0x3fb, 0x03 }, { 0x3fa, 0xc7 }, R(0x3fa), { 0x3f9, 0x0f }, { 0x3ff, 0x5a },
         R(0x3ff), { 0x3fc, 0x1f }, R(0x3fe), { 0x3f8, 0x41 }, { 0x3f8, 0x42 }, R(0x3fd), R(0x3fa));
    for (unsigned i = 0; i < 400; i++)
        inb(0x3fd);
    PLAY(R(0x3f8), R(0x3fd), R(0x3f8), R(0x3fd), R(0x3fa), { 0x3fc, 0x0b }, R(0x3fe), { 0x3f9, 0x00 }, { 0x3fa, 0x07 });
    put("devices\n");
}

static void keyboard(void)
{
    static const u8 commands[] = { 0xaa, 0xab, 0xa9, 0x20, 0xd0, 0xc0, 0xad, 0xae, 0xa7, 0xa8 };
    for (unsigned i = 0; i < sizeof(commands); i++) {
        outb(0x64, commands[i]);
        PLAY(R(0x64), R(0x60), R(0x64));
    }
    PLAY({ 0x64, 0x60 }, { 0x60, 0x44 }, { 0x60, 0xf2 }, R(0x64), R(0x60), R(0x64), R(0x60), R(0x64), R(0x60), { 0x60, 0xed }, R(0x60), { 0x60, 0x02 }, R(0x60),
         { 0x60, 0xf0 }, R(0x60), { 0x60, 0x00 }, R(0x60), R(0x60), { 0x60, 0xff }, R(0x64), R(0x60), R(0x60), { 0x64, 0xd4 }, { 0x60, 0xff }, R(0x64), R(0x60),
         R(0x60), R(0x60), { 0x64, 0xd4 }, { 0x60, 0xe9 }, R(0x60), R(0x60), R(0x60), R(0x60), { 0x64, 0xd4 }, { 0x60, 0xf4 }, R(0x60), { 0x64, 0xd2 },
         { 0x60, 0x1c }, R(0x64), R(0x60), R(0x92), R(0x61));
}

static void hpet(void)
{
    u32 h = 0xfed00000;
    for (u32 at = 0; at < 0x160; at += 4)
        rd32(h + at);
    wr32(h + 0xf0, 0x1000);
    wr32(h + 0xf4, 0);
    wr32(h + 0x100, 0x44);
    wr32(h + 0x108, 5000);
    wr32(h + 0x120, 0x4);
    wr32(h + 0x128, 0x9000);
    wr32(h + 0x10, 1);
    for (unsigned i = 0; i < 50; i++)
        rd32(h + 0xf0);
    rd32(h + 0x20);
    wr32(h + 0x20, 3);
    wr32(h + 0x10, 3);
    rd32(h + 0x100);
    rd32(h + 0x108);
    wr32(h + 0x10, 0);
}

static void apics(void)
{
    u32 io = 0xfec00000, local = 0xfee00000;
    for (u32 i = 0; i < 64; i++) {
        wr32(io, i);
        rd32(io + 0x10);
    }
    for (u32 i = 0; i < 24; i++) {
        wr32(io, 0x10 + 2 * i);
        wr32(io + 0x10, 0x10000 | (i & 1) << 15 | (i & 2) << 12 | (0x50 + i));
        wr32(io, 0x11 + 2 * i);
        wr32(io + 0x10, i << 24);
        rd32(io + 0x10);
    }
    for (u32 at = 0; at < 0x400; at += 0x10)
        rd32(local + at);
    wr32(local + 0xf0, 0x1ff);
    wr32(local + 0x80, 0x20);
    wr32(local + 0x3e0, 0xb);
    wr32(local + 0x320, 0x10060);
    wr32(local + 0x380, 1000000);
    for (unsigned i = 0; i < 20; i++)
        rd32(local + 0x390);
    wr32(local + 0x320, 0x20061);
    wr32(local + 0x350, 0x10000);
    wr32(local + 0x360, 0x10400);
    wr32(local + 0xd0, 0x02000000);
    wr32(local + 0x310, 0);
    wr32(local + 0x300, 0x40071);                  /* to itself: stays in the request register */
    wr32(local + 0x280, 0);
    rd32(local + 0x280);
    for (u32 at = 0x100; at < 0x280; at += 0x10)
        rd32(local + at);
    wr32(local + 0xb0, 0);
}

static u32 pci_at(u32 devfn, u32 reg) { return 0x80000000u | devfn << 8 | reg; }
static u32 pci_rd(u32 devfn, u32 reg) { outl(0xcf8, pci_at(devfn, reg)); return inl(0xcfc); }
static void pci_wr(u32 devfn, u32 reg, u32 v) { outl(0xcf8, pci_at(devfn, reg)); outl(0xcfc, v); }

static void pci_function(u32 devfn)
{
    for (u32 reg = 0; reg < 256; reg += 4)
        pci_rd(devfn, reg);
    u32 command = pci_rd(devfn, 4);
    pci_wr(devfn, 4, command & ~7u);
    for (u32 reg = 0x10; reg < 0x34; reg += 4) {
        u32 was = pci_rd(devfn, reg);
        pci_wr(devfn, reg, reg == 0x30 ? 0xfffff800 : ~0u);
        pci_rd(devfn, reg);
        pci_wr(devfn, reg, was);
        pci_rd(devfn, reg);
    }
    pci_wr(devfn, 0x3c, 0x0000010b);
    pci_rd(devfn, 0x3c);
    pci_wr(devfn, 4, command);
    outl(0xcf8, pci_at(devfn, 0));
    inw(0xcfc);
    inb(0xcff);
}

static void pci(void)
{
    for (u32 slot = 0; slot < 32; slot++) {
        if (pci_rd(slot << 3, 0) == ~0u)
            continue;
        u32 n = pci_rd(slot << 3, 0xc) & 0x800000 ? 8 : 1;
        for (u32 f = 0; f < n; f++)
            if (pci_rd(slot << 3 | f, 0) != ~0u)
                pci_function(slot << 3 | f);
    }
    pci_wr(1 << 3, 0x60, 0x0b0b0a0a);              /* the router, and shadow memory open and closed again */
    pci_rd(1 << 3, 0x60);
    u32 pam = pci_rd(0, 0x58);
    pci_wr(0, 0x58, pam ^ 0x00001100);
    pci_rd(0, 0x58);
    pci_wr(0, 0x58, pam);
}

static void power(void)
{
    u32 base = pci_rd(1 << 3 | 3, 0x40) & 0xffc0;
    if (!base)
        return;
    inw((u16)base);
    inw((u16)(base + 2));
    outw((u16)(base + 2), 0x0121);
    inw((u16)(base + 2));
    inw((u16)(base + 4));
    outw((u16)base, 0xffff);
    inl((u16)(base + 8));
    inl((u16)(base + 8));
    PLAY({ 0xb3, 0x12 }, R(0xb3), { 0xb2, 0x99 }, R(0xb2));
}

static u8 page[4096 * 8] __attribute__((aligned(4096)));

static void firmware(void)
{
    static u32 request[4];
    for (u16 key = 0; key < 0x30; key++) {
        outw(0x510, key);
        for (unsigned i = 0; i < 40; i++)
            inb(0x511);
    }
    request[0] = __builtin_bswap32(0x19u << 16 | 8 | 2);
    request[1] = __builtin_bswap32(256);
    request[3] = __builtin_bswap32((u32)page);
    outl(0x514, 0);
    outl(0x518, __builtin_bswap32((u32)request));
    inl(0x514);
}

/* A device's first queue by its legacy registers: one buffer, device-readable up to SPLIT, awaited. */
struct desc { u64 addr; u32 len; u16 flags, next; };
static void virtio(u32 devfn, u32 queue, u32 head, u32 body, u32 tail, int writes)
{
    u16 io = (u16)(pci_rd(devfn, 0x10) & ~3u);
    u32 id = pci_rd(devfn, 0);
    if ((id & 0xffff) != 0x1af4 || !io)
        return;
    pci_wr(devfn, 4, 7);
    outb(io + 18, 0);
    outb(io + 18, 1);
    outb(io + 18, 3);
    outl(io + 4, inl(io) & 0x20);
    outw(io + 14, (u16)queue);
    u32 n = inw(io + 12);
    memset(page, 0, sizeof(page));
    outl(io + 8, (u32)page >> 12);
    struct desc *d = (struct desc *)page;
    u32 used = ((u32)page + n * 16 + 4 + 2 * n + 2 + 4095) & ~4095u, at = 0;
    u8 *data = page + 4096 * 6;
    memset(data, 0, 4096);
    if (head)
        d[at] = (struct desc){ (u32)data, head, 1, (u16)(at + 1) }, at++;
    d[at] = (struct desc){ (u32)data + 64, body, (u16)((writes ? 2 : 0) | (tail ? 1 : 0)), (u16)(at + 1) }, at++;
    if (tail)
        d[at] = (struct desc){ (u32)data + 4000, tail, 2, 0 };
    u16 *avail = (u16 *)(page + n * 16);
    avail[2] = 0;
    __asm__ volatile("" : : : "memory");
    avail[1] = 1;
    outb(io + 18, 7);
    for (u16 i = 0; i < 24; i++)
        inb(io + 20 + i);
    outw(io + 16, (u16)queue);
    while (*(volatile u16 *)(used + 2) != 1) { }
    inb(io + 19);
    inb(io + 19);
    inb(io + 18);
}

static void virtios(void)
{
    virtio(4 << 3, 0, 16, 512, 1, 1);              /* blk: reads the first sector */
    virtio(5 << 3, 0, 0, 64, 0, 1);                /* rng */
    virtio(6 << 3, 1, 10, 60, 0, 0);               /* net: sends a frame to nobody */
    virtio(7 << 3, 1, 0, 5, 0, 0);                 /* console: says five zeros */
}

int main(void)
{
    __asm__ volatile("cli");
    pic();
    pit();
    rtc();
    keyboard();
    hpet();
    apics();
    pci();
    power();
    firmware();
    virtios();
    uart();
    for (const char *s = "debug\n"; *s; s++)
        outb(0xe9, (u8)*s);
    inb(0xe9);
    inb(0x80);
    finish();
}
