/*
 * 4-level and 5-level walks with protection keys, on processors with and without 1 GiB pages, against a reference written from the manual's tables
 * over random tables; and 4 MiB pages on processors without PSE-36.
 */
#include "tests/unit/test.h"
#include "core/aspace.h"
#include "x86/cpuid.h"

#define PAGES 64
#define RND(n) (rnd() % (n))

static struct aspace *mem;
static struct region ram;
static uint64_t seed = 0x2545f4914f6cdd1dull;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

struct answer { bool ok; uint64_t pa; uint32_t err; };

static uint64_t entry(uint64_t at)
{
    uint64_t v = ~0ull;
    if (at < PAGES * 4096)
        memcpy(&v, ram.host + at, 8);
    return v;
}

static void reference(const struct x86_cpu *c, bool giant, uint64_t va, int access, bool user, bool ac, struct answer *r)
{
    uint64_t at = c->cr3 & 0x3ffffffff000, e;
    bool w = true, u = true, x = true, key = false;
    int shift = c->cr4 & CR4_LA57 ? 48 : 39;
    *r = (struct answer){ .err = (access == 1 ? 2u : 0) | (user ? 4u : 0) };
    if (access == 2 && ((c->efer & EFER_NXE) || (c->cr4 & CR4_SMEP)))
        r->err |= 16;
    for (;; shift -= 9) {
        e = entry(at + (va >> shift & 511) * 8);
        if (!(e & 1))
            return;
        bool ps = e >> 7 & 1, leaf = shift == 12 || (ps && (shift == 21 || shift == 30));
        bool bad = (e >> 46 & 63) || (e >> 63 && !(c->efer & EFER_NXE)) || (ps && shift >= 39) || (ps && shift == 30 && !giant);
        if (leaf && shift > 12)
            bad |= (e & ((1ull << shift) - 1) & ~0x1fffull) != 0;
        if (bad) {
            r->err |= 9;
            return;
        }
        w &= e >> 1 & 1;
        u &= e >> 2 & 1;
        x &= !(e >> 63);
        if (leaf)
            break;
        at = e & 0x3ffffffff000;
    }
    bool wp = c->cr0 & CR0_WP, fault;
    if (access < 2 && u && (c->cr4 & CR4_PKE)) {
        unsigned k = e >> 59 & 15;
        bool ad = c->pkru >> 2 * k & 1, wd = c->pkru >> (2 * k + 1) & 1;
        key = ad || (wd && access == 1 && (user || wp));
    }
    if (access == 2)
        fault = !x || (user ? !u : u && (c->cr4 & CR4_SMEP));
    else if (user)
        fault = !u || (access == 1 && !w) || key;
    else
        fault = (access == 1 && !w && wp) || (u && (c->cr4 & CR4_SMAP) && !ac) || key;
    uint64_t low = (1ull << shift) - 1;
    r->ok = !fault;
    r->err |= 1 | (key ? 32 : 0);
    r->pa = ((e & 0x3fffffffffff & ~low) | (va & low)) & ~0xfffull;
}

static void fill(void)
{
    for (unsigned i = 0; i < PAGES * 512; i++) {
        uint64_t e = RND(PAGES) << 12 | (RND(16) ? 1 : 0) | (RND(4) ? 2 : 0) | (RND(4) ? 4 : 0) | RND(16) << 59 | (RND(6) ? 0 : 0x80);
        if (e & 0x80 && RND(4))
            e &= ~0x3ff000ull;
        if (!RND(16))
            e |= 1ull << (RND(2) ? 63 : 46 + RND(6));
        memcpy(ram.host + i * 8, &e, 8);
    }
}

static void setup(void)
{
    if (mem)
        return;
    mem = as_new("mem", 46);
    CHECK(as_add_ram(mem, &ram, "ram", 0, PAGES * 4096, REGION_RAM) == 0);
}

static void compare(bool five)
{
    struct x86_cpuid plain = { 0 }, all;
    unsigned good = 0, keyed = 0, reserved = 0;
    setup();
    memset(&all, 0xff, sizeof(all));
    for (unsigned i = 0; i < 300000; i++) {
        if (i % 20000 == 0)
            fill();
        bool giant = rnd() & 1, user = rnd() & 1, ac = rnd() & 1;
        struct x86_cpu c = { .cr0 = CR0_PE | CR0_PG | (rnd() & CR0_WP), .efer = EFER_LME | EFER_LMA | (rnd() & EFER_NXE), .pkru = (uint32_t)(rnd() & rnd()),
                             .cr3 = RND(PAGES) << 12, .cpuid = giant ? &all : &plain };
        c.cr4 = CR4_PAE | (rnd() & (CR4_SMEP | CR4_SMAP | CR4_PKE)) | (five ? CR4_LA57 : 0);
        uint64_t va = (uint64_t)((int64_t)(rnd() << (five ? 7 : 16)) >> (five ? 7 : 16));
        unsigned access = (unsigned)RND(3);
        struct answer want;
        struct x86_walk got;
        reference(&c, giant, va, (int)access, user, ac, &want);
        int r = x86_walk(&c, mem, va, access, user, ac, false, &got);
        CHECK_EQ(r == 0, want.ok);
        if (r)
            CHECK_EQ(got.fault, want.err);
        else
            CHECK_EQ(got.gpa, want.pa);
        good += !r;
        keyed += r && got.fault & 32;
        reserved += r && got.fault & 8;
        CHECK(!x86_walk(&c, mem, va, 3, user, ac, false, &got) || !(got.fault & 1) || (got.fault & 8));      /* rights are not asked about */
    }
    printf("# %u good, %u barred by keys, %u with reserved bits\n", good, keyed, reserved);
    CHECK(good > 5000 && keyed > 2000 && reserved > 3000);
}

TEST(walk_4level_keys) { compare(false); }
TEST(walk_5level_keys) { compare(true); }

TEST(walk_no_pse36)
{
    struct x86_cpuid id = { 0 };
    struct x86_cpu c = { .cr0 = CR0_PE | CR0_PG, .cr4 = CR4_PSE, .cpuid = &id };
    struct x86_walk w;
    uint32_t e = 0x83 | 1 << 14;
    setup();
    memcpy(ram.host, &e, 4);
    CHECK(x86_walk(&c, mem, 0x1234, 0, false, false, false, &w) < 0 && w.fault == 9);
    x86_feat_set(&id, FEAT_pse36, true);
    CHECK(x86_walk(&c, mem, 0x1234, 0, false, false, false, &w) == 0 && w.gpa == (2ull << 32 | 0x1000));
    e = 0x83 | 1 << 12;
    memcpy(ram.host, &e, 4);
    CHECK(x86_walk(&c, mem, 0x1234, 0, false, false, false, &w) < 0 && w.fault == 9);
    x86_feat_set(&id, FEAT_pat, true);
    CHECK(x86_walk(&c, mem, 0x1234, 0, false, false, false, &w) == 0 && w.gpa == 0x1000);
}
