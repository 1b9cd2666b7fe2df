/*
 * The softmmu against a reference walk: a made-up guest with four-level tables of 8-byte entries (present, write, user, accessed, dirty,
 * large, no-execute) in RAM, random accesses, table writes by CPU and DMA, root and mode switches; after each step the TLBs and the code
 * generations may promise nothing that a fresh walk denies.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <time.h>
#include "core/aspace.h"
#include "core/alloc.h"
#include "softmmu/mmu.h"
#include "tests/unit/test.h"

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80 };
#define NX BIT(63)
#define ADDR 0x000ffffffffff000ull
#define RAM_SIZE (16u << 20)
#define ROM_BASE 0x2000000ull
#define IO_BASE 0x3000000ull
#define PT_BASE 0x100000ull
#define N_PT 24                         /* 0..3 roots, 4..7 level 3, 8..13 level 2, 14..23 level 1 */
#define FIX_L3 0x1e0000ull
#define FIX_L2 0x1e1000ull
#define DIRECT 0xffffff8000000000ull    /* all RAM by large pages, supervisor only */

struct guest { uint64_t root; unsigned mode; bool paging; unsigned context; bool pae; };     /* pae: three levels, addresses of 32 bits */
static struct guest g;
static struct aspace *as;
static struct region ram, rom, io;
static struct mmu *m;
static struct tlb_entry *tlb;
static uint32_t gens[2];
static jmp_buf fault;
static uint64_t io_last;
static unsigned inv_calls;
static gpa_t inv_gpa;
static unsigned inv_len;
static uint64_t seed = 88172645463325252ull;

static uint64_t rnd(void) { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; return seed; }
static uint64_t *entry_at(gpa_t a) { return (uint64_t *)(ram.host + a); }

/* Contexts 1 and 2 have a second translation of their own that moves pages of data about; it is tracked by nobody. */
static uint8_t second[3][RAM_SIZE >> 12];

static void through_second(gva_t va, struct mmu_walk *w)
{
    if (w->page_bits > 12) {
        for (unsigned i = w->n_entries++; i; i--) {
            w->entry[i] = w->entry[i - 1];
            w->entry_bits[i] = w->entry_bits[i - 1];
        }
        w->entry[0] = (w->entry[1] & PAGE_MASK) + (va >> 12 & 511) * 8;
        w->page_bits = w->entry_bits[0] = 12;
    }
    w->context = g.context;
    if (w->gpa >= 0x400000 && w->gpa < RAM_SIZE)
        w->gpa ^= (uint64_t)second[g.context][w->gpa >> 12] << 12;
}

static int walk_common(gva_t va, int acc, unsigned mode, struct mmu_walk *w, bool set)
{
    gpa_t table = g.root & ADDR;
    uint64_t all = W | U, nx = 0;
    uint64_t *path[4];
    int lv, n = 0;
    memset(w, 0, sizeof(*w));
    if (!g.paging) {
        w->gpa = va & PAGE_MASK;
        w->page_bits = 64;
        memset(w->perm, 7, sizeof(w->perm));
        return 0;
    }
    w->entry_size = 8;
    for (lv = g.pae ? 2 : 3; lv >= 0; lv--) {
        unsigned bits = 12 + 9 * lv;
        gpa_t a = table + ((va >> bits) & 511) * 8;
        uint64_t e = *entry_at(a);
        if (!(e & P))
            return -1;
        path[n] = entry_at(a);
        w->entry[n] = a;
        w->entry_bits[n++] = bits;
        all &= e;
        nx |= e & NX;
        table = e & ADDR;
        if (lv == 0 || (lv == 1 && (e & PS)))
            break;
    }
    unsigned bits = 12 + 9 * lv;
    bool write = acc == MMU_WRITE, user = all & U, dirty = (*path[n - 1] & D) || write;
    uint8_t p = MP_R | (nx ? 0 : MP_X) | ((all & W) ? MP_W : 0);
    uint8_t perm[3] = { p, user ? 0 : p, user ? p : 0 };
    if (acc >= 0 && !(perm[mode] & (1 << acc)))
        return -1;
    for (int i = 0; i < n && set; i++)
        *path[i] |= A;
    if (set && write)
        *path[n - 1] |= D;
    for (int i = 0; i < 3; i++)
        w->perm[i] = dirty ? perm[i] : perm[i] & ~MP_W;
    w->page_bits = bits;
    w->gpa = (table & ~(BIT(bits) - 1)) | (va & (BIT(bits) - 1) & PAGE_MASK);
    w->n_entries = n;
    for (int i = 0; i < n / 2; i++) {
        gpa_t t = w->entry[i]; w->entry[i] = w->entry[n - 1 - i]; w->entry[n - 1 - i] = t;
        uint8_t b = w->entry_bits[i]; w->entry_bits[i] = w->entry_bits[n - 1 - i]; w->entry_bits[n - 1 - i] = b;
    }
    if (g.context)
        through_second(va, w);
    return 0;
}
static int g_walk(void *cpu, gva_t va, enum mmu_access acc, unsigned mode, struct mmu_walk *w) { return walk_common(va, acc, mode, w, true); }
static int g_peek(void *cpu, gva_t va, struct mmu_walk *w) { return walk_common(va, -1, 0, w, false); }
static void __attribute__((noreturn)) g_raise(void *cpu) { longjmp(fault, 1); }
static uint64_t g_root(void *cpu) { return g.paging ? g.root | g.context << 1 | g.pae << 3 | 1 : 0; }
static unsigned g_mode(void *cpu) { return g.mode; }
static const struct mmu_ops ops = { g_walk, g_peek, g_raise, g_root, g_mode, NULL, NULL };
static uint64_t io_read(void *o, uint64_t off, unsigned size) { return 0x5a00 | off; }
static void io_write(void *o, uint64_t off, uint64_t v, unsigned size) { io_last = v << 12 | off; }
static void on_inv(void *o, gpa_t gpa, unsigned len) { inv_calls++; inv_gpa = gpa; inv_len = len; }

static gpa_t pt(unsigned i) { return PT_BASE + i * PAGE_SIZE; }

static void setup(void)
{
    as = as_new("mem", 46);
    as_add_ram(as, &ram, "ram", 0, RAM_SIZE, REGION_RAM);
    as_add_ram(as, &rom, "rom", ROM_BASE, 65536, REGION_ROM);
    memset(&io, 0, sizeof(io));
    io.kind = REGION_IO; io.name = "io"; io.read = io_read; io.write = io_write; io.max_size = 8; io.no_lock = true;
    as_add(as, &io, IO_BASE, 4096);
    for (unsigned i = 0; i < 4; i++)
        *entry_at(pt(i) + 511 * 8) = FIX_L3 | P | W | A;
    *entry_at(FIX_L3) = FIX_L2 | P | W | A;
    for (unsigned i = 0; i < 8; i++)
        *entry_at(FIX_L2 + i * 8) = (uint64_t)i << 21 | P | W | PS;
    g = (struct guest){ .root = pt(0), .paging = true };
    m = mmu_new(NULL, &ops, as, NULL, &tlb, gens);
    mmu_on_code_write(m, on_inv, NULL);
    inv_calls = 0;
}
static void teardown(void) { mmu_free(m); as_free(as); }
static void set_root(uint64_t r) { g.root = r; mmu_set_root(m); }
static void set_mode(unsigned mode) { g.mode = mode; mmu_set_mode(m); }
static bool try_ld(gva_t va, unsigned n, uint64_t *v) { if (setjmp(fault)) return false; *v = mmu_ld(m, va, n); return true; }
static bool try_st(gva_t va, uint64_t v, unsigned n) { if (setjmp(fault)) return false; mmu_st(m, va, v, n); return true; }
static const uint8_t *try_code(gva_t va, gpa_t *gpa) { *gpa = ~0ull; if (setjmp(fault)) return NULL; return mmu_code_page(m, va, gpa); }
static void st(gva_t va, uint64_t v, unsigned n) { CHECK(try_st(va, v, n)); }

static void check_tlb(gva_t va)
{
    struct mmu_walk w;
    struct tlb_entry *t = &tlb[tlb_index(va)];
    if (t->tag_r == (va & PAGE_MASK)) {
        CHECK(walk_common(va, MMU_READ, g.mode, &w, false) == 0);
        CHECK(t->host == (w.gpa >= ROM_BASE ? rom.host + (w.gpa - ROM_BASE) : ram.host + w.gpa));
    }
    if (t->tag_w == (va & PAGE_MASK)) {
        CHECK(walk_common(va, MMU_READ, g.mode, &w, false) == 0);
        CHECK(w.perm[g.mode] & MP_W);
        CHECK(w.gpa < RAM_SIZE && t->host == ram.host + w.gpa);
        CHECK_EQ(ram.track[w.gpa >> 12], 0);
    }
}

static bool in_upper(gva_t va) { return g.pae ? va >> 30 == 3 : va >> 63; }

static gva_t rnd_va(void)
{
    uint64_t r = rnd();
    if (g.pae)
        return (r >> 8 & 1) * 3 << 30 | (uint64_t)(r >> 10 & 3) << 21 | (uint64_t)(r >> 12 & 7) << 12 | (r >> 20 & 4095);
    if (r % 8 == 0)
        return DIRECT + (rnd() % RAM_SIZE);
    gva_t va = (uint64_t)(r >> 8 & 1) << 39 | (uint64_t)(r >> 9 & 1) << 30;
    va |= (uint64_t)(r >> 10 & 3) << 21 | (uint64_t)(r >> 12 & 7) << 12 | (r >> 20 & 4095);
    return r >> 40 & 1 ? va | 0xffff800000000000ull : va;
}

static uint64_t rnd_entry(unsigned table)
{
    uint64_t f = (rnd() & (W | U)) | (rnd() % 8 ? P : 0) | (rnd() % 3 ? W | U : 0) | (rnd() % 4 ? 0 : NX);
    if (table < 4)
        return pt(g.pae ? 8 + rnd() % 6 : 4 + rnd() % 4) | f;
    if (table < 8)
        return pt(8 + rnd() % 6) | f;
    if (table < 14)
        return rnd() % 4 ? pt(14 + rnd() % 10) | f : (rnd() % 8) << 21 | f | PS;
    switch (rnd() % 16) {
    case 0: return IO_BASE | f;
    case 1: return (ROM_BASE + (rnd() % 16) * PAGE_SIZE) | f;
    case 2: return pt(rnd() % N_PT) | f;                    /* a table mapped as data */
    default: return (0x400000 + (rnd() % 64) * PAGE_SIZE) | f | (rnd() & D);
    }
}

static void step_table(void)
{
    unsigned t = rnd() % N_PT;
    unsigned i = t < 4 && g.pae ? (rnd() & 1) * 3 : t < 4 ? (rnd() & 1) | (rnd() & 1) << 8 : t < 8 ? rnd() & 1 : t < 14 ? rnd() & 3 : rnd() & 7;
    gpa_t a = pt(t) + i * 8;
    uint64_t e = rnd() % 6 ? rnd_entry(t) : *entry_at(a) ^ (rnd() & (W | U | A | D));
    if (rnd() & 1 && !g.pae) {
        if (g.mode)
            set_mode(0);
        st(DIRECT + a, e, 8);
    } else {
        CHECK_EQ(as_dma_write(as, a, &e, 8), 0);
    }
}

static void step_access(void)
{
    struct mmu_walk w, w2;
    gva_t va = rnd_va();
    unsigned n = 1u << (rnd() & 3), first = MIN(n, 4096 - (unsigned)(va & 4095));
    bool write = rnd() & 1;
    int acc = write ? MMU_WRITE : MMU_READ;
    bool ok = walk_common(va, acc, g.mode, &w, false) == 0 && (first == n || walk_common(va + first, acc, g.mode, &w2, false) == 0);
    uint64_t v = rnd() & size_mask(n), expect = 0;
    /* never scribble over tables by chance */
    if (write && ok && ((w.gpa >= PT_BASE && w.gpa < 0x200000) || (first < n && w2.gpa >= PT_BASE && w2.gpa < 0x200000)))
        return;
    check_tlb(va);
    if (rnd() % 4 == 0) {
        uint8_t *p = mmu_refill(m, va, n, acc);
        if (p) {
            CHECK(ok && first == n);
            CHECK(p == (w.gpa >= ROM_BASE ? rom.host + (w.gpa - ROM_BASE) : ram.host + w.gpa) + (va & 4095));
        }
        check_tlb(va);
    }
    if (write) {
        CHECK_EQ(try_st(va, v, n), ok);
        if (ok && first == n && w.gpa < RAM_SIZE) {
            memcpy(&expect, ram.host + w.gpa + (va & 4095), n);
            CHECK_EQ(expect, v);
            CHECK(walk_common(va, MMU_READ, g.mode, &w2, false) == 0 && (w2.perm[g.mode] & MP_W));
        }
    } else {
        CHECK_EQ(try_ld(va, n, &v), ok);
        if (ok && w.gpa < RAM_SIZE && (first == n || w2.gpa < RAM_SIZE)) {
            memcpy(&expect, ram.host + w.gpa + (va & 4095), first);
            if (first < n)
                memcpy((uint8_t *)&expect + first, ram.host + w2.gpa, n - first);
            CHECK_EQ(v, expect);
        }
    }
    check_tlb(va);
}

static struct known { gva_t va; gpa_t gpa; uint32_t gen; unsigned mode; } known[256];

static void step_code(unsigned i)
{
    struct mmu_walk w;
    gva_t va = rnd_va();
    gpa_t gpa;
    try_code(va, &gpa);
    bool ok = walk_common(va, MMU_EXEC, g.mode, &w, false) == 0;
    CHECK_EQ(gpa, ok ? w.gpa : ~0ull);
    if (ok)
        known[i % 256] = (struct known){ va, gpa, gens[in_upper(va)], g.mode };
}

static void check_known(void)
{
    struct mmu_walk w;
    for (unsigned i = 0; i < 256; i++) {
        struct known *k = &known[i];
        if (!k->gen || gens[in_upper(k->va)] != k->gen)
            continue;
        CHECK(walk_common(k->va, MMU_EXEC, k->mode, &w, false) == 0);
        CHECK_EQ(w.gpa, k->gpa);
    }
}

static void step_context(void)
{
    if (rnd() & 1) {
        g.context = rnd() % 3;
        mmu_set_root(m);
    } else {
        unsigned c = 1 + rnd() % 2;
        second[c][0x400 + rnd() % 64] = rnd() & 7;
        mmu_drop_context(m, c);
    }
}

static void random_steps(bool contexts, bool pae)
{
    setup();
    g.pae = pae;
    memset(known, 0, sizeof(known));
    for (unsigned i = 0; i < 500; i++)
        step_table();
    for (unsigned i = 0; i < 120000; i++) {
        unsigned r = rnd() % 100;
        if (r < 12)
            step_table();
        else if (r < 16)
            set_root(pt(rnd() % 4) | (rnd() & 0x300));       /* several names of one table */
        else if (r < 22)
            set_mode(rnd() % 3);
        else if (r < 32)
            step_code(i);
        else if (r < 36 && contexts)
            step_context();
        else if (i % 5000 == 99)
            mmu_flush_all(m);
        else
            step_access();
        for (unsigned j = 0; j < 4; j++)
            check_tlb(rnd_va());
        if (i % 16 == 0)
            check_known();
    }
    const union counters *s = mmu_counters(m), *sh = mmu_shared_counters(m);
    printf("# refill_fast %lu walks %lu st_tracked %lu drops %lu root_new %lu switches %lu io %lu\n", s->tlb_refills, s->walks, s->tracked_stores,
           sh->shadow_drops, sh->root_new, s->root_switches, s->mmio);
    CHECK(s->tlb_refills > (contexts ? 500 : 1000) && sh->shadow_drops > 1000);
    teardown();
}

TEST(mmu_random) { random_steps(false, false); }
TEST(mmu_random_contexts) { random_steps(true, false); }
TEST(mmu_random_pae) { random_steps(false, true); }

TEST(mmu_shared_upper_half)
{
    setup();
    uint64_t v;
    CHECK(try_ld(DIRECT + 0x500000, 8, &v));
    uint64_t walks = mmu_counters(m)->walks;
    uint32_t hi = gens[1], lo = gens[0];
    set_root(pt(1));
    CHECK(try_ld(DIRECT + 0x600000, 8, &v));
    CHECK_EQ(gens[1], hi);                                   /* equal upper halves: one number */
    CHECK(gens[0] != lo);
    CHECK(mmu_counters(m)->walks <= walks + 4);
    walks = mmu_counters(m)->walks;
    set_root(pt(0));
    CHECK(try_ld(DIRECT + 0x600000, 8, &v));                 /* filled by the other space */
    CHECK_EQ(mmu_counters(m)->walks, walks);
    CHECK_EQ(gens[0], lo);
    st(DIRECT + pt(0) + 300 * 8, 0x1000, 8);                 /* upper entry of this root */
    CHECK(gens[1] != hi);
    set_root(pt(1));
    CHECK_EQ(gens[1], hi);
    teardown();
}

/* Entry I of table T, by the guest's program or by a device. */
static void set_entry(gpa_t t, unsigned i, uint64_t e)
{
    if (g.pae)
        CHECK_EQ(as_dma_write(as, t + i * 8, &e, 8), 0);
    else
        st(DIRECT + t + i * 8, e, 8);
}

/* 0..8 pages of 4 KiB at 0 of root R: page I is data page I. */
static void map_pages(gpa_t r, gpa_t l3, gpa_t l2, gpa_t l1)
{
    *entry_at(r) = (g.pae ? l2 : l3) | P | W | A;
    *entry_at(l3) = l2 | P | W | A;
    *entry_at(l2) = l1 | P | W | A;
    for (unsigned i = 0; i < 8; i++)
        *entry_at(l1 + i * 8) = (0x400000 + i * PAGE_SIZE) | P | W | A;
}

TEST(mmu_generations_of_code_only)
{
    uint64_t v;
    gpa_t gpa;
    setup();
    map_pages(pt(0), pt(4), pt(8), pt(14));
    for (unsigned i = 1; i < 8; i++)
        CHECK(try_ld(i * PAGE_SIZE, 8, &v));
    CHECK(try_code(2 * PAGE_SIZE, &gpa) && try_code(4 * PAGE_SIZE, &gpa) && try_code(6 * PAGE_SIZE, &gpa) && mmu_code_gpa_fast(m, 7 * PAGE_SIZE, &gpa));
    CHECK(try_code(DIRECT, &gpa));
    uint32_t lo = gens[0], hi = gens[1];
    set_entry(pt(14), 1, 0x480000 | P | W | A);              /* could be executed, and was not */
    set_entry(pt(14), 3, 0);
    CHECK_EQ(gens[0], lo);
    set_entry(pt(14), 2, 0x480000 | P | W | A);
    CHECK(gens[0] != lo);
    lo = gens[0];
    CHECK(try_ld(2 * PAGE_SIZE, 8, &v));
    set_entry(pt(14), 2, 0x480000 | P | W | A | NX);         /* nobody has asked for code in the new page */
    CHECK_EQ(gens[0], lo);
    st(4 * PAGE_SIZE, 1, 8);                                 /* D is set: more rights, the same entry */
    CHECK_EQ(gens[0], lo);
    set_entry(pt(14), 4, 0x404000 | P | W | A | D | NX);
    CHECK(gens[0] != lo);
    lo = gens[0];
    set_entry(pt(14), 7, 0x407000 | P | A | D);
    CHECK(gens[0] != lo);
    lo = gens[0];
    set_entry(pt(8), 0, 0);                                  /* with page 6 below */
    CHECK(gens[0] != lo);
    lo = gens[0];
    CHECK_EQ(gens[1], hi);
    set_entry(pt(0), 0, 0);                                  /* of the root: the upper half stays */
    CHECK(gens[0] != lo);
    CHECK_EQ(gens[1], hi);
    set_entry(FIX_L2, 0, P | W | PS | NX);
    CHECK(gens[1] != hi);
    teardown();
}

/* Two processes under PAE paging: directories of the last GiB are shared or are not. */
TEST(mmu_pae_upper_part)
{
    gpa_t gpa, upper = 0xc0000000;
    setup();
    g.pae = true;
    for (unsigned i = 0; i < 3; i++) {
        map_pages(pt(i), pt(4), pt(8 + i), pt(14 + i));
        *entry_at(pt(i) + 3 * 8) = pt(i < 2 ? 11 : 12) | P | W | A;
        *entry_at(pt(11 + i / 2)) = pt(18) | P | W | A;
    }
    for (unsigned i = 0; i < 8; i++)
        *entry_at(pt(18) + i * 8) = (0x500000 + i * PAGE_SIZE) | P | W | A | D;
    uint32_t lo[3], hi[3];
    for (unsigned i = 0; i < 3; i++) {
        set_root(pt(i));
        CHECK(try_code(0, &gpa) && try_code(upper, &gpa));
        lo[i] = gens[0];
        hi[i] = gens[1];
    }
    CHECK_EQ(hi[0], hi[1]);
    CHECK(hi[1] != hi[2] && lo[0] != lo[1]);
    set_root(pt(0));
    set_entry(pt(0), 0, 0);
    CHECK(gens[0] != lo[0]);
    CHECK_EQ(gens[1], hi[0]);
    set_entry(pt(0), 3, pt(12) | P | W | A);
    CHECK(gens[1] != hi[0]);
    CHECK(try_code(upper, &gpa));
    CHECK_EQ(gens[1], hi[2]);                                /* the third's group now */
    set_root(pt(1));
    CHECK_EQ(gens[0], lo[1]);
    CHECK_EQ(gens[1], hi[1]);
    set_entry(pt(0), 3, pt(11) | P | W | A);                 /* back, while another one runs */
    set_root(pt(0));
    CHECK(gens[1] != hi[2] && try_code(upper, &gpa));
    CHECK_EQ(gens[1], hi[1]);
    set_entry(pt(18), 0, 0x600000 | P | W | A | D);          /* of all */
    for (unsigned i = 0; i < 3; i++) {
        set_root(pt(i));
        CHECK(gens[1] != hi[i]);
    }
    teardown();
}

TEST(mmu_flood_untracks)
{
    setup();
    uint64_t v;
    *entry_at(pt(0)) = pt(4) | P | W | U; *entry_at(pt(4)) = pt(8) | P | W | U; *entry_at(pt(8)) = pt(14) | P | W | U;
    *entry_at(pt(14)) = 0x500000 | P | W | U;
    CHECK(try_ld(0x10, 8, &v));
    CHECK_EQ(ram.track[pt(14) >> 12], TRACK_PT);
    for (unsigned i = 1; i < 200; i++)
        st(DIRECT + pt(14) + i * 8, i, 8);
    CHECK_EQ(ram.track[pt(14) >> 12], 0);
    st(DIRECT + pt(14), 0, 8);
    CHECK(!try_ld(0x10, 8, &v));
    teardown();
}

TEST(mmu_code_writes)
{
    setup();
    mmu_code_add(m, 0x500100, 16);
    CHECK_EQ(ram.track[0x500], TRACK_CODE);
    st(DIRECT + 0x500110, 1, 8);
    st(DIRECT + 0x5000f8, 1, 8);
    st(DIRECT + 0x500108, 0, 8);                             /* same value */
    CHECK_EQ(inv_calls, 0);
    st(DIRECT + 0x50010c, 0x100000001ull, 8);                /* byte 0x10c in, 0x110 same */
    CHECK_EQ(inv_calls, 1);
    CHECK_EQ(inv_gpa, 0x50010c);
    CHECK_EQ(inv_len, 1);
    uint8_t b[300] = { 0 };
    as_dma_write(as, 0x500000, b, sizeof(b));
    CHECK_EQ(inv_calls, 2);
    CHECK_EQ(inv_len, 16);
    mmu_code_forget_page(m, 0x500000);
    CHECK_EQ(ram.track[0x500], 0);
    CHECK(mmu_probe(m, DIRECT + 0x500100, 8, MMU_WRITE) == ram.host + 0x500100);
    CHECK(tlb[tlb_index(DIRECT + 0x500100)].tag_w == DIRECT + 0x500000);
    mmu_code_add(m, 0x500ff8, 16);                           /* becomes tracked: the writable entry goes */
    CHECK(tlb[tlb_index(DIRECT + 0x500100)].tag_w != DIRECT + 0x500000);
    CHECK_EQ(ram.track[0x501], TRACK_CODE);
    teardown();
}

TEST(mmu_io_rom_crossing)
{
    setup();
    uint64_t v;
    *entry_at(pt(0)) = pt(4) | P | W; *entry_at(pt(4)) = pt(8) | P | W; *entry_at(pt(8)) = pt(14) | P | W;
    *entry_at(pt(14)) = IO_BASE | P | W; *entry_at(pt(14) + 8) = ROM_BASE | P | W; *entry_at(pt(14) + 16) = 0x500000 | P | W;
    CHECK(try_ld(0x10, 2, &v));
    CHECK_EQ(v, 0x5a10);
    st(0x20, 7, 4);
    CHECK_EQ(io_last, 7 << 12 | 0x20);
    rom.host[4094] = 1; rom.host[4095] = 2; ram.host[0x500000] = 3;
    CHECK(try_ld(0x1ffe, 4, &v));
    CHECK_EQ(v, 0x30201);
    st(0x1ffe, 0xaabbccdd, 4);
    CHECK_EQ(rom.host[4095], 2);
    CHECK_EQ(ram.host[0x500000], 0xbb);
    CHECK(!try_st(0x2ffe, 0x11223344, 4));                   /* second page missing: nothing written */
    CHECK_EQ(ram.host[0x500ffe], 0);
    g.paging = false;
    mmu_set_root(m);
    st(0x600000, 0x1234, 2);
    CHECK_EQ(ram.host[0x600000], 0x34);
    CHECK(mmu_refill(m, 0x600010, 4, MMU_WRITE) == ram.host + 0x600010);
    teardown();
}

TEST(mmu_many_spaces_and_speed)
{
    setup();
    uint64_t v;
    struct timespec a, b;
    for (unsigned i = 0; i < 100; i++) {                     /* more spaces than the pool holds */
        gpa_t r = 0x800000 + i * PAGE_SIZE;
        memcpy(ram.host + r + 2048, ram.host + pt(0) + 2048, 2048);
        set_root(r);
        CHECK(try_ld(DIRECT + i * 8, 8, &v));
    }
    for (gva_t va = DIRECT; va < DIRECT + RAM_SIZE; va += PAGE_SIZE)
        CHECK(try_ld(va, 8, &v));
    clock_gettime(CLOCK_MONOTONIC, &a);
    unsigned n = 0;
    for (unsigned k = 0; k < 200; k++)
        for (gva_t va = DIRECT; va < DIRECT + RAM_SIZE; va += PAGE_SIZE)
            n += mmu_refill(m, va, 8, MMU_READ) != NULL;
    clock_gettime(CLOCK_MONOTONIC, &b);
    CHECK_EQ(n, 200 * RAM_SIZE / PAGE_SIZE);
    printf("# %.1f ns a fast refill\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / n);
    teardown();
}

/* ---- a second vCPU ---- */

static struct mmu *m2;
static struct tlb_entry *tlb2;
static uint32_t gens2[2], poll2;

static void setup_two(void)
{
    setup();
    m2 = mmu_new(NULL, &ops, as, m, &tlb2, gens2);
    mmu_set_poll(m2, &poll2);
    mmu_quiesce(m);
    mmu_quiesce(m2);
}

static void teardown_two(void)
{
    mmu_free(m2);
    teardown();
}

/* 0x0000: the table at pt(14) by pt(0) -> pt(4) -> pt(8); page I of it is data page I. */
static void map_low(void)
{
    *entry_at(pt(0)) = pt(4) | P | W | A;
    *entry_at(pt(4)) = pt(8) | P | W | A;
    *entry_at(pt(8)) = pt(14) | P | W | A;
    for (uint64_t i = 0; i < 8; i++)
        *entry_at(pt(14) + i * 8) = (0x400000 + i * PAGE_SIZE) | P | W | A | D;
    *entry_at(0x400000) = 0xaa;
    *entry_at(0x401000) = 0xbb;
}

/* What the other vCPU's translated code holds after its probe. */
static uint64_t *probed(gva_t va)
{
    struct mmu *own = m;
    m = m2;
    uint64_t *p = setjmp(fault) ? NULL : mmu_probe(m2, va, 8, MMU_WRITE);
    m = own;
    return p;
}

TEST(mmu_late_store_to_table)
{
    uint64_t v, *late;
    setup_two();
    map_low();
    CHECK((late = probed(DIRECT + pt(14))));             /* its store comes later */
    CHECK(try_ld(0x10, 8, &v));                          /* ours tracks the table */
    CHECK(poll2);                                        /* it is asked to come out */
    *late = 0x401000 | P | W | A | D;                    /* noticed by nobody */
    mmu_flush_page(m, 0);
    CHECK(try_ld(0, 8, &v));
    CHECK_EQ(v, 0xbb);                                   /* INVLPG: what memory says now */
    *late = 0x400000 | P | W | A | D;
    mmu_set_root(m);                                     /* the same root, loaded again */
    CHECK(try_ld(0, 8, &v));
    CHECK_EQ(v, 0xaa);
    *late = 0x401000 | P | W | A | D;
    mmu_quiesce(m2);
    mmu_quiesce(m);
    mmu_flush_page(m, 0);
    CHECK(try_ld(0, 8, &v));                             /* settled, and the last late store was seen */
    CHECK_EQ(v, 0xbb);
    CHECK(!probed(DIRECT + pt(14)));                     /* from now on its stores come the slow way */
    uint64_t walks = mmu_counters(m)->walks;
    mmu_flush_page(m, 0);
    CHECK(try_ld(0, 8, &v));
    CHECK_EQ(mmu_counters(m)->walks, walks);                 /* and INVLPG costs nothing again */
    teardown_two();
}

TEST(mmu_late_store_to_code)
{
    setup_two();
    map_low();
    CHECK_EQ(mmu_code_add(m, 0x400000, 16) != 0, 1);
    uint64_t epoch = mmu_code_add(m, 0x400010, 16);
    CHECK(!mmu_settled(m, epoch));
    mmu_quiesce(m);
    CHECK(!mmu_settled(m, epoch));
    mmu_outside(m2);
    CHECK(mmu_settled(m, epoch));                        /* a halted vCPU has nothing under way */
    CHECK_EQ(mmu_code_add(m, 0x400020, 16), 0);
    uint64_t other = mmu_code_add(m, 0x402000, 16);
    mmu_quiesce(m);
    CHECK(mmu_settled(m, other));
    mmu_quiesce(m2);
    CHECK(mmu_settled(m, other));                        /* it came in after the page was barred */
    other = mmu_code_add(m, 0x403000, 16);
    mmu_quiesce(m);
    CHECK(!mmu_settled(m, other));
    mmu_quiesce(m2);
    CHECK(mmu_settled(m, other));
    teardown_two();
}

/* Read-modify-write on tracked RAM happens in place; what it changed is noticed. */
TEST(mmu_rmw_in_table)
{
    uint64_t v, *p;
    setup_two();
    map_low();
    CHECK(try_ld(0, 8, &v));
    CHECK(!probed(DIRECT + pt(14)));
    CHECK((p = mmu_rmw_begin(m2, DIRECT + pt(14), 8)));
    CHECK(p == entry_at(pt(14)));
    *p ^= 0x1000;
    mmu_rmw_end(m2, 8);
    CHECK(try_ld(0, 8, &v));
    CHECK_EQ(v, 0xbb);
    CHECK(!mmu_rmw_begin(m2, DIRECT + pt(14) + 4092, 8));
    teardown_two();
}
