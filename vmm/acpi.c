/*
 * ACPI tables. See acpi.h.
 *
 * In: struct acpi_config. Out: one blob. The DSDT is written by a small AML emitter: each open_* call returns a position that close_pkg
 * patches with the length, always in the 3-byte form. Invariants: nothing is written past CAPACITY (the emitter counts on and the
 * build fails with -E2BIG); every table's checksum is set after its last byte.
 * Locks: none. Manual: ACPI 6.4 chapters 5.2 (tables), 6.4 (resource descriptors), 20 (AML encoding).
 */
#include "vmm/acpi.h"
#include "core/alloc.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY 0x20000u
enum { HEADER = 36, FADT_LEN = 244, FACS_LEN = 64, PM_IO = 0x600, GPE_IO = 0xafe0, SMI_PORT = 0xb2, RESET_PORT = 0xcf9, RESET_VALUE = 0x0e };
enum { AML_NAME = 0x08, AML_SCOPE = 0x10, AML_BUFFER = 0x11, AML_PACKAGE = 0x12, AML_METHOD = 0x14, AML_EXT = 0x5b, AML_EXT_REGION = 0x80,
       AML_EXT_FIELD = 0x81, AML_EXT_DEVICE = 0x82, AML_ARG0 = 0x68, AML_STORE = 0x70, AML_AND = 0x7b, AML_OR = 0x7d,
       AML_DWORD_FIELD = 0x8a, AML_RETURN = 0xa4 };

struct out { uint8_t *p; uint32_t n; uint32_t base; };

static void put(struct out *o, const void *data, uint32_t len)
{
    if (o->n + len <= CAPACITY)
        memcpy(o->p + o->n, data, len);
    o->n = MIN(o->n + len, CAPACITY + 1);
}

static void put8(struct out *o, uint8_t v) { put(o, &v, 1); }
static void put16(struct out *o, uint16_t v) { put(o, &v, 2); }
static void put32(struct out *o, uint32_t v) { put(o, &v, 4); }
static void put64(struct out *o, uint64_t v) { put(o, &v, 8); }
static void put_zeros(struct out *o, uint32_t n) { while (n--) put8(o, 0); }
static void align(struct out *o, uint32_t to) { while (o->n % to) put8(o, 0); }

static void patch(struct out *o, uint32_t at, const void *v, uint32_t len)
{
    if (at + len <= CAPACITY)
        memcpy(o->p + at, v, len);
}

static uint8_t checksum(const struct out *o, uint32_t at, uint32_t len)
{
    uint8_t sum = 0;
    for (uint32_t i = at; i < at + len && i < CAPACITY; i++)
        sum = (uint8_t)(sum + o->p[i]);
    return (uint8_t)-sum;
}

/* --- tables --- */

static uint32_t table_open(struct out *o, const char *sig, uint8_t rev)
{
    align(o, 16);
    uint32_t at = o->n;
    put(o, sig, 4);
    put32(o, 0);
    put8(o, rev);
    put8(o, 0);
    put(o, "DUET  DUETPC  ", 14);
    put32(o, 1);
    put(o, "DUET", 4);
    put32(o, 1);
    return at;
}

static void table_close(struct out *o, uint32_t at)
{
    uint32_t len = o->n - at;
    uint8_t sum;
    patch(o, at + 4, &len, 4);
    sum = checksum(o, at, len);
    patch(o, at + 9, &sum, 1);
}

/* --- AML --- */

static uint32_t open_pkg(struct out *o)
{
    put_zeros(o, 3);
    return o->n - 3;
}

/* The length counts itself: bits 0-3 in the first byte, two more bytes follow. */
static void close_pkg(struct out *o, uint32_t at)
{
    uint32_t len = o->n - at;
    uint8_t b[3] = { (uint8_t)(0x80 | (len & 15)), (uint8_t)(len >> 4), (uint8_t)(len >> 12) };
    patch(o, at, b, 3);
}

static void seg(struct out *o, const char *name) { put(o, name, 4); }

static void aml_int(struct out *o, uint32_t v)
{
    if (v <= 1) {
        put8(o, (uint8_t)v);
    } else if (v <= 0xff) {
        put8(o, 0x0a);
        put8(o, (uint8_t)v);
    } else if (v <= 0xffff) {
        put8(o, 0x0b);
        put16(o, (uint16_t)v);
    } else {
        put8(o, 0x0c);
        put32(o, v);
    }
}

static void name_int(struct out *o, const char *name, uint32_t v)
{
    put8(o, AML_NAME);
    seg(o, name);
    aml_int(o, v);
}

/* _HID as a compressed EISA id, "PNP0A03". */
static void name_hid(struct out *o, const char *id)
{
    unsigned letters = (id[0] - 0x40u) << 10 | (id[1] - 0x40u) << 5 | (id[2] - 0x40u);
    unsigned product = (unsigned)strtoul(id + 3, NULL, 16);
    put8(o, AML_NAME);
    seg(o, "_HID");
    put8(o, 0x0c);
    put8(o, (uint8_t)(letters >> 8));
    put8(o, (uint8_t)letters);
    put8(o, (uint8_t)(product >> 8));
    put8(o, (uint8_t)product);
}

static uint32_t open_device(struct out *o, const char *name)
{
    put8(o, AML_EXT);
    put8(o, AML_EXT_DEVICE);
    uint32_t at = open_pkg(o);
    seg(o, name);
    return at;
}

static uint32_t open_method(struct out *o, const char *name, uint8_t flags)
{
    put8(o, AML_METHOD);
    uint32_t at = open_pkg(o);
    seg(o, name);
    put8(o, flags);
    return at;
}

/* Name (NAME, Buffer () { resources }); close_resources adds the end tag and patches both lengths. */
struct buffer { uint32_t pkg, size; };

static struct buffer open_resources(struct out *o, const char *name)
{
    struct buffer b;
    put8(o, AML_NAME);
    seg(o, name);
    put8(o, AML_BUFFER);
    b.pkg = open_pkg(o);
    put8(o, 0x0b);
    b.size = o->n;
    put16(o, 0);
    return b;
}

static void close_resources(struct out *o, struct buffer b)
{
    put16(o, 0x0079);
    uint16_t len = (uint16_t)(o->n - b.size - 2);
    patch(o, b.size, &len, 2);
    close_pkg(o, b.pkg);
}

static void res_io(struct out *o, uint16_t base, uint8_t len)
{
    put8(o, 0x47);
    put8(o, 1);
    put16(o, base);
    put16(o, base);
    put8(o, 1);
    put8(o, len);
}

static void res_irq(struct out *o, int irq)
{
    put8(o, 0x22);
    put16(o, (uint16_t)(1u << irq));
}

/* Extended interrupts, level, active high, shared. */
static void res_interrupts(struct out *o, const uint32_t *irqs, int n)
{
    put8(o, 0x89);
    put16(o, (uint16_t)(2 + 4 * n));
    put8(o, 0x09);
    put8(o, (uint8_t)n);
    for (int i = 0; i < n; i++)
        put32(o, irqs[i]);
}

static void res_mem32(struct out *o, uint32_t base, uint32_t len)
{
    put8(o, 0x86);
    put16(o, 9);
    put8(o, 1);
    put32(o, base);
    put32(o, len);
}

/* Address windows that the bridge produces; TYPE 0 memory, 1 I/O, 2 bus numbers. LAST is inclusive. */
static void res_word(struct out *o, uint8_t type, uint16_t first, uint16_t last)
{
    put8(o, 0x88);
    put16(o, 13);
    put8(o, type);
    put8(o, 0x0c);
    put8(o, type == 1 ? 3 : 0);
    put16(o, 0);
    put16(o, first);
    put16(o, last);
    put16(o, 0);
    put16(o, (uint16_t)(last - first + 1));
}

static void res_dword_mem(struct out *o, uint32_t first, uint32_t last, uint8_t flags)
{
    put8(o, 0x87);
    put16(o, 23);
    put8(o, 0);
    put8(o, 0x0c);
    put8(o, flags);
    put32(o, 0);
    put32(o, first);
    put32(o, last);
    put32(o, 0);
    put32(o, last - first + 1);
}

static void res_qword_mem(struct out *o, uint64_t first, uint64_t last)
{
    put8(o, 0x8a);
    put16(o, 43);
    put8(o, 0);
    put8(o, 0x0c);
    put8(o, 3);
    put64(o, 0);
    put64(o, first);
    put64(o, last);
    put64(o, 0);
    put64(o, last - first + 1);
}

/* --- DSDT --- */

static void root_crs(struct out *o, const struct acpi_config *c)
{
    struct buffer b = open_resources(o, "_CRS");
    res_word(o, 2, 0, 0xff);
    res_io(o, 0xcf8, 8);
    res_word(o, 1, 0, 0xcf7);
    res_word(o, 1, 0xd00, 0xffff);
    res_dword_mem(o, 0xa0000, 0xbffff, 3);
    res_dword_mem(o, (uint32_t)c->pci_mem_base, (uint32_t)(c->pci_mem_end - 1), 1);
    if (c->pci_mem64_end)
        res_qword_mem(o, c->pci_mem64_base, c->pci_mem64_end - 1);
    close_resources(o, b);
}

static const char *const link_names[4] = { "LNKA", "LNKB", "LNKC", "LNKD" };
static const char *const route_names[4] = { "PRQA", "PRQB", "PRQC", "PRQD" };

/* Pin P (0 = INTA) of slot S is wired to PIRQ (S + P - 1) & 3. */
static void root_prt(struct out *o)
{
    put8(o, AML_NAME);
    seg(o, "_PRT");
    put8(o, AML_PACKAGE);
    uint32_t all = open_pkg(o);
    put8(o, 128);
    for (uint32_t i = 0; i < 128; i++) {
        put8(o, AML_PACKAGE);
        uint32_t one = open_pkg(o);
        put8(o, 4);
        aml_int(o, (i / 4) << 16 | 0xffff);
        aml_int(o, i & 3);
        seg(o, link_names[(i / 4 + (i & 3) - 1) & 3]);
        aml_int(o, 0);
        close_pkg(o, one);
    }
    close_pkg(o, all);
}

/* The routing registers of the ISA bridge. */
static void isa_routing(struct out *o)
{
    put8(o, AML_EXT);
    put8(o, AML_EXT_REGION);
    seg(o, "P40C");
    put8(o, 2);                                   /* PCI_Config */
    aml_int(o, 0x60);
    aml_int(o, 4);
    put8(o, AML_EXT);
    put8(o, AML_EXT_FIELD);
    uint32_t at = open_pkg(o);
    seg(o, "P40C");
    put8(o, 1);                                   /* ByteAcc, NoLock, Preserve */
    for (int i = 0; i < 4; i++) {
        seg(o, route_names[i]);
        put8(o, 8);
    }
    close_pkg(o, at);
}

static void isa_device(struct out *o, const char *name, const char *hid, uint32_t uid, const uint16_t (*io)[2], int n_io, int irq)
{
    uint32_t at = open_device(o, name);
    name_hid(o, hid);
    name_int(o, "_UID", uid);
    struct buffer b = open_resources(o, "_CRS");
    for (int i = 0; i < n_io; i++)
        res_io(o, io[i][0], (uint8_t)io[i][1]);
    if (irq >= 0)
        res_irq(o, irq);
    close_resources(o, b);
    close_pkg(o, at);
}

static void isa_bridge(struct out *o, const struct acpi_config *c)
{
    static const uint16_t com1[1][2] = { { 0x3f8, 8 } }, com2[1][2] = { { 0x2f8, 8 } }, kbd[2][2] = { { 0x60, 1 }, { 0x64, 1 } };
    static const uint16_t rtc[1][2] = { { 0x70, 8 } };
    static const uint16_t board[5][2] = { { PM_IO, 0x40 }, { GPE_IO, 4 }, { SMI_PORT, 2 }, { 0x4d0, 2 }, { 0x92, 1 } };
    uint32_t at = open_device(o, "ISA_");
    name_int(o, "_ADR", 0x00010000);
    isa_routing(o);
    if (c->i8042) {
        isa_device(o, "PS2K", "PNP0303", 0, kbd, 2, 1);
        isa_device(o, "PS2M", "PNP0F13", 0, NULL, 0, 12);
    }
    if (c->com1)
        isa_device(o, "COM1", "PNP0501", 1, com1, 1, 4);
    if (c->com2)
        isa_device(o, "COM2", "PNP0501", 2, com2, 1, 3);
    isa_device(o, "RTC_", "PNP0B00", 0, rtc, 1, 8);
    isa_device(o, "MBRD", "PNP0C02", 1, board, 5, -1);
    close_pkg(o, at);
}

/* \_SB_.PCI0.ISA_.PRQx */
static void route_ref(struct out *o, int i)
{
    put(o, "\\\x2f\x04", 3);
    put(o, "_SB_PCI0ISA_", 12);
    seg(o, route_names[i]);
}

/* The interrupt number sits at byte 5 of the one descriptor. */
static void link_crs(struct out *o, int i)
{
    static const uint32_t none = 0;
    uint32_t m = open_method(o, "_CRS", 8);
    struct buffer b = open_resources(o, "BUF_");
    res_interrupts(o, &none, 1);
    close_resources(o, b);
    put8(o, AML_DWORD_FIELD);
    seg(o, "BUF_");
    aml_int(o, 5);
    seg(o, "IRQV");
    put8(o, AML_AND);
    route_ref(o, i);
    aml_int(o, 15);
    seg(o, "IRQV");
    put8(o, AML_RETURN);
    seg(o, "BUF_");
    close_pkg(o, m);
}

static void link_device(struct out *o, int i)
{
    static const uint32_t possible[3] = { 5, 10, 11 };
    uint32_t at = open_device(o, link_names[i]), m;
    name_hid(o, "PNP0C0F");
    name_int(o, "_UID", (uint32_t)i + 1);
    name_int(o, "_STA", 0x0b);
    struct buffer b = open_resources(o, "_PRS");
    res_interrupts(o, possible, 3);
    close_resources(o, b);
    link_crs(o, i);
    m = open_method(o, "_DIS", 0);
    put8(o, AML_OR);
    route_ref(o, i);
    aml_int(o, 0x80);
    route_ref(o, i);
    close_pkg(o, m);
    m = open_method(o, "_SRS", 9);
    put8(o, AML_DWORD_FIELD);
    put8(o, AML_ARG0);
    aml_int(o, 5);
    seg(o, "IRQW");
    put8(o, AML_STORE);
    seg(o, "IRQW");
    route_ref(o, i);
    close_pkg(o, m);
    close_pkg(o, at);
}

static void hpet_device(struct out *o)
{
    uint32_t at = open_device(o, "HPET");
    name_hid(o, "PNP0103");
    name_int(o, "_UID", 0);
    struct buffer b = open_resources(o, "_CRS");
    res_mem32(o, 0xfed00000u, 0x400);
    close_resources(o, b);
    close_pkg(o, at);
}

static void cpu_device(struct out *o, int n)
{
    static const char hex[] = "0123456789ABCDEF";
    char name[5] = { 'C', 'P', hex[n >> 4 & 15], hex[n & 15], 0 };
    uint32_t at = open_device(o, name);
    put8(o, AML_NAME);
    seg(o, "_HID");
    put8(o, 0x0d);
    put(o, "ACPI0007", 9);
    name_int(o, "_UID", (uint32_t)n);
    close_pkg(o, at);
}

static void dsdt(struct out *o, const struct acpi_config *c)
{
    put8(o, AML_SCOPE);
    uint32_t sb = open_pkg(o);
    put8(o, '\\');
    seg(o, "_SB_");
    for (int i = 0; i < 4; i++)
        link_device(o, i);
    uint32_t pci = open_device(o, "PCI0");
    name_hid(o, "PNP0A03");
    name_int(o, "_ADR", 0);
    name_int(o, "_UID", 0);
    root_crs(o, c);
    root_prt(o);
    isa_bridge(o, c);
    close_pkg(o, pci);
    if (c->hpet)
        hpet_device(o);
    for (int i = 0; i < c->n_cpus; i++)
        cpu_device(o, i);
    close_pkg(o, sb);
    put8(o, AML_NAME);
    seg(o, "_S5_");
    put8(o, AML_PACKAGE);
    uint32_t s5 = open_pkg(o);
    put8(o, 4);
    put_zeros(o, 4);
    close_pkg(o, s5);
}

/* --- static tables --- */

static void gas_io(uint8_t *t, unsigned at, uint8_t bits, uint8_t access, uint64_t addr)
{
    t[at] = 1;
    t[at + 1] = bits;
    t[at + 3] = access;
    memcpy(t + at + 4, &addr, 8);
}

static void set(uint8_t *t, unsigned at, uint64_t v, unsigned size) { memcpy(t + at, &v, size); }

static void fadt_body(struct out *o, uint32_t facs, uint32_t dsdt_addr, bool i8042)
{
    uint8_t t[FADT_LEN] = { 0 };
    set(t, 36, facs, 4);
    set(t, 40, dsdt_addr, 4);
    set(t, 45, 1, 1);                             /* desktop */
    set(t, 46, 9, 2);
    set(t, 48, SMI_PORT, 4);
    set(t, 52, 0xf1, 1);
    set(t, 53, 0xf0, 1);
    set(t, 56, PM_IO, 4);
    set(t, 64, PM_IO + 4, 4);
    set(t, 76, PM_IO + 8, 4);
    set(t, 80, GPE_IO, 4);
    set(t, 88, 0x04000204, 4);                    /* lengths: event 4, control 2, control2 0, timer 4 */
    set(t, 92, 4, 1);
    set(t, 96, 0x0fff, 2);                        /* no C2, no C3 */
    set(t, 98, 0x0fff, 2);
    set(t, 108, 0x32, 1);
    set(t, 109, i8042 ? 3 : 1, 2);
    set(t, 112, 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 10, 4);   /* WBINVD, C1, no sleep button, no fixed RTC, 32-bit timer, reset */
    gas_io(t, 116, 8, 1, RESET_PORT);
    set(t, 128, RESET_VALUE, 1);
    set(t, 132, facs, 8);
    set(t, 140, dsdt_addr, 8);
    gas_io(t, 148, 32, 2, PM_IO);
    gas_io(t, 172, 16, 2, PM_IO + 4);
    gas_io(t, 208, 32, 3, PM_IO + 8);
    gas_io(t, 220, 32, 1, GPE_IO);
    put(o, t + HEADER, FADT_LEN - HEADER);
}

static void madt_override(struct out *o, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    put8(o, 2);
    put8(o, 10);
    put8(o, 0);
    put8(o, irq);
    put32(o, gsi);
    put16(o, flags);
}

/* PCI links are active high and level, which differs from the ISA default, so the lines they may use are named as well as the SCI. */
static void madt_body(struct out *o, int n_cpus)
{
    static const uint8_t level_high[4] = { 5, 9, 10, 11 };
    put32(o, 0xfee00000u);
    put32(o, 1);
    for (int i = 0; i < n_cpus; i++) {
        put8(o, 0);
        put8(o, 8);
        put8(o, (uint8_t)i);
        put8(o, (uint8_t)i);
        put32(o, 1);
    }
    put8(o, 1);
    put8(o, 12);
    put8(o, 0);                                   /* the I/O APIC's reset id */
    put8(o, 0);
    put32(o, 0xfec00000u);
    put32(o, 0);
    madt_override(o, 0, 2, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(level_high); i++)
        madt_override(o, level_high[i], level_high[i], 0x0d);
    put8(o, 4);
    put8(o, 6);
    put8(o, 0xff);
    put16(o, 0);
    put8(o, 1);
}

static void hpet_body(struct out *o)
{
    put32(o, 0x8086a201u);
    put32(o, 0x00004000u);                        /* memory space, 64 bits wide */
    put64(o, 0xfed00000u);
    put8(o, 0);
    put16(o, 128);
    put8(o, 0);
}

static void rsdp(struct out *o, uint32_t rsdt, uint32_t xsdt)
{
    uint64_t x = xsdt;
    uint32_t len = 36;
    uint8_t sum;
    patch(o, 0, "RSD PTR ", 8);
    patch(o, 9, "DUET  \2", 7);
    patch(o, 16, &rsdt, 4);
    patch(o, 20, &len, 4);
    patch(o, 24, &x, 8);
    sum = checksum(o, 0, 20);
    patch(o, 8, &sum, 1);
    sum = checksum(o, 0, 36);
    patch(o, 32, &sum, 1);
}

int acpi_build(const struct acpi_config *c, struct acpi_blob *out)
{
    struct out o = { xzalloc(CAPACITY), 0, c->load_addr ? c->load_addr : 0xe0000 };
    uint32_t list[3], n = 0, at, rsdt, xsdt, facs;
    if (c->n_cpus < 1 || c->n_cpus > 255 || c->pci_mem_end <= c->pci_mem_base || c->pci_mem_end > 0xffffffffull || (o.base & 15) ||
        o.base < 0xe0000 || o.base >= 0x100000) {
        free(o.p);
        return -EINVAL;
    }
    put_zeros(&o, 64);                            /* RSDP, filled in last */
    facs = o.n;
    put(&o, "FACS", 4);
    put32(&o, FACS_LEN);
    put_zeros(&o, 24);
    put8(&o, 1);
    put_zeros(&o, FACS_LEN - 33);
    out->dsdt_offset = at = table_open(&o, "DSDT", 2);
    dsdt(&o, c);
    table_close(&o, at);
    out->dsdt_len = o.n - at;
    list[n++] = table_open(&o, "FACP", 3);
    fadt_body(&o, o.base + facs, o.base + out->dsdt_offset, c->i8042);
    table_close(&o, list[n - 1]);
    list[n++] = table_open(&o, "APIC", 3);
    madt_body(&o, c->n_cpus);
    table_close(&o, list[n - 1]);
    if (c->hpet) {
        list[n++] = table_open(&o, "HPET", 1);
        hpet_body(&o);
        table_close(&o, list[n - 1]);
    }
    rsdt = table_open(&o, "RSDT", 1);
    for (uint32_t i = 0; i < n; i++)
        put32(&o, o.base + list[i]);
    table_close(&o, rsdt);
    xsdt = table_open(&o, "XSDT", 1);
    for (uint32_t i = 0; i < n; i++)
        put64(&o, o.base + list[i]);
    table_close(&o, xsdt);
    rsdp(&o, o.base + rsdt, o.base + xsdt);
    if (o.n > CAPACITY || o.base + o.n > 0x100000) {
        free(o.p);
        return -E2BIG;
    }
    out->data = o.p;
    out->len = o.n;
    out->addr = o.base;
    return 0;
}
