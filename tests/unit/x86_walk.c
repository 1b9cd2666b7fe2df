/*
 * The page walk against a second walker written from the manual's tables, over random tables, accesses and control bits in all modes.
 * The reference reads bytes of a flat memory and knows nothing of x86/walk.c's helpers.
 */
#include "tests/unit/test.h"
#include "core/aspace.h"
#include "x86/svm.h"
#include <stdlib.h>

#define MEM_SIZE (1u << 20)

static struct aspace *mem;
static struct region ram;
static uint64_t seed = 88172645463325252ull;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

struct ref { bool ok; uint64_t pa, ad[4]; uint32_t err; unsigned bits; };

static uint64_t get(uint64_t a, unsigned n)
{
    uint64_t v = 0;
    if (a + n > MEM_SIZE)
        return n == 8 ? ~0ull : 0xffffffffu;
    memcpy(&v, ram.host + a, n);
    return v;
}

static void ref_walk(const struct x86_cpu *c, uint64_t va, int access, bool user, bool ac, struct ref *r)
{
    bool lma = c->efer & EFER_LMA, pae = c->cr4 & CR4_PAE, nxe = (c->efer & EFER_NXE) && pae;
    int shift = lma ? 39 : pae ? 30 : 22;
    unsigned es = pae ? 8 : 4;
    uint64_t table = lma ? c->cr3 & 0x3ffffffff000ull : pae ? c->cr3 & 0xffffffe0 : c->cr3 & 0xfffff000;
    bool W = true, U = true, X = true, present = true, rsvd = false;
    uint64_t e;
    for (;;) {
        unsigned idx = pae ? (shift == 30 && !lma ? va >> 30 & 3 : va >> shift & 511) : va >> shift & 1023;
        bool pdpte3 = pae && !lma && shift == 30;
        e = get(table + idx * es, es);
        if (!(e & 1)) { present = false; break; }
        bool ps = e & 0x80;
        bool leaf = shift == 12 || (shift == 21 && ps) || (shift == 30 && ps && lma) || (shift == 22 && ps && (c->cr4 & CR4_PSE));
        if (es == 8) {
            rsvd |= (e & 0x000fc00000000000ull) != 0;
            rsvd |= !nxe && e >> 63 && !pdpte3;
            rsvd |= !lma && (e & 0x7ff0000000000000ull) != 0;
            rsvd |= pdpte3 && ((e & 0x1e6) || e >> 63);
            rsvd |= shift == 39 && ps;
            rsvd |= leaf && shift == 21 && (e & 0x1fe000);
            rsvd |= leaf && shift == 30 && (e & 0x3fffe000);
        } else {
            rsvd |= leaf && shift == 22 && (e & 0x200000);
        }
        if (rsvd)
            break;
        if (!pdpte3) {
            W &= e >> 1 & 1;
            U &= e >> 2 & 1;
            X &= !(nxe && e >> 63);
        }
        if (leaf)
            break;
        table = es == 8 ? e & 0x3ffffffff000ull : e & 0xfffff000;
        shift = shift == 22 ? 12 : shift - 9;
    }
    bool fault = !present || rsvd;
    if (!fault) {
        bool wp = c->cr0 & CR0_WP;
        if (user)
            fault = !U || (access == 1 && !W) || (access == 2 && !X);
        else if (access == 2)
            fault = !X || (U && (c->cr4 & CR4_SMEP));
        else
            fault = (access == 1 && !W && wp) || (U && (c->cr4 & CR4_SMAP) && !ac);
    }
    r->ok = !fault;
    r->bits = (unsigned)shift;
    r->err = (present ? 1 : 0) | (access == 1 ? 2 : 0) | (user ? 4 : 0) | (rsvd ? 8 : 0) | (access == 2 && (nxe || (c->cr4 & CR4_SMEP)) ? 16 : 0);
    uint64_t low = (1ull << shift) - 1;
    uint64_t base = es == 8 ? e & 0x3fffffffffffull & ~low : e & 0xffffffff & ~low;
    if (shift == 22)
        base |= (e >> 13 & 0xff) << 32;
    r->pa = (base | (va & low)) & ~0xfffull;
}

static void fill(unsigned es)
{
    for (unsigned a = 0; a < MEM_SIZE; a += es) {
        uint64_t e = (rnd() % (MEM_SIZE >> 12)) << 12;
        e |= rnd() % 8 ? 1 : 0;
        e |= rnd() % 4 ? 2 : 0;
        e |= rnd() % 4 ? 4 : 0;
        e |= (rnd() & rnd() & 0xf8) | (rnd() & 0x300);
        if (es == 8 && rnd() % 32 == 0)
            e |= 1ull << (rnd() % 2 ? 63 : 40 + rnd() % 24);
        if (rnd() % 8 == 0)
            e = (e & ~0x3ff000ull) | (rnd() % 2 ? 0x80 : 0) | (rnd() % 8 ? 0 : 1 << (12 + rnd() % 10));
        memcpy(ram.host + a, &e, es);
    }
}

static void setup(void)
{
    if (mem)
        return;
    mem = as_new("mem", 46);
    CHECK(as_add_ram(mem, &ram, "ram", 0, MEM_SIZE, REGION_RAM) == 0);
}

/* PDPTEs are registers; here they are set without the checks of a load, so that walks meet reserved bits in them too. */
static void set_pdptes(struct x86_cpu *c) { memcpy(c->pdpte, ram.host + (c->cr3 & 0xffffffe0), sizeof(c->pdpte)); }

static void random_cpu(struct x86_cpu *c, int mode)
{
    memset(c, 0, sizeof(*c));
    c->cr0 = CR0_PE | CR0_PG | (rnd() & CR0_WP);
    c->cr4 = (rnd() & (CR4_SMEP | CR4_SMAP | CR4_PGE | CR4_PSE)) | (mode ? CR4_PAE : 0);
    c->efer = (mode && rnd() % 2 ? EFER_NXE : 0) | (mode == 2 ? EFER_LMA | EFER_LME : 0);
    c->cr3 = (rnd() % (MEM_SIZE >> 12)) << 12;
    set_pdptes(c);
}

static void compare(int mode)
{
    struct x86_cpu c;
    unsigned good = 0, large = 0;
    setup();
    for (int round = 0; round < 20; round++) {
        fill(mode ? 8 : 4);
        for (int i = 0; i < 20000; i++) {
            random_cpu(&c, mode);
            uint64_t va = mode == 2 ? (uint64_t)((int64_t)(rnd() << 16) >> 16) : (uint32_t)rnd();
            unsigned access = rnd() % 3;
            bool user = rnd() & 1, ac = rnd() & 1;
            struct ref r;
            struct x86_walk w;
            ref_walk(&c, va, (int)access, user, ac, &r);
            uint64_t before[4];
            int got = x86_walk(&c, mem, va, access, user, ac, false, &w);
            CHECK_EQ(got == 0, r.ok);
            if (got) {
                CHECK_EQ(w.fault, r.err);
                continue;
            }
            good++;
            large += w.page_bits > 12;
            CHECK_EQ(w.gpa, r.pa);
            CHECK_EQ(w.page_bits, r.bits);
            for (unsigned k = 0; k < w.n; k++)
                before[k] = get(w.entry[k], w.entry_size);
            if (rnd() % 16)
                continue;
            CHECK_EQ(x86_walk(&c, mem, va, access, user, ac, true, &w), 0);
            for (unsigned k = 0; k < w.n; k++) {
                bool pdpte3 = mode == 1 && w.entry_bits[k] == 30;
                uint64_t want = before[k] | (pdpte3 ? 0 : 0x20) | (k == 0 && access == 1 ? 0x40 : 0);
                bool aliased = false;
                for (unsigned j = 0; j < w.n; j++)
                    aliased |= j != k && w.entry[j] == w.entry[k];
                if (!aliased)
                    CHECK_EQ(get(w.entry[k], w.entry_size), want);
            }
        }
    }
    CHECK(good > 1000 && large > 100);
}

TEST(walk_32bit) { compare(0); }
TEST(walk_pae) { compare(1); }
TEST(walk_4level) { compare(2); }
TEST(walk_off)
{
    struct x86_cpu c;
    struct x86_walk w;
    setup();
    memset(&c, 0, sizeof(c));
    CHECK_EQ(x86_walk(&c, mem, 0x123456789ull, 1, true, false, true, &w), 0);
    CHECK_EQ(w.gpa, 0x23456000);
    CHECK_EQ(w.page_bits, 64);
    CHECK(w.w && w.u && w.x && w.d);
}

/* Two dimensions: random guest tables under random nested ones, against the reference applied twice. */
static bool ref_nested(const struct x86_cpu *host, uint64_t gpa, int access, struct ref *r)
{
    ref_walk(host, gpa, access, true, false, r);
    return r->ok;
}

/* The first failure of a guest walk of VA whose tables are themselves translated: its error code and where, or the system address. */
static void ref_two(const struct x86_cpu *c, const struct x86_cpu *host, uint64_t va, uint64_t *pa, uint32_t *err, bool *npf, bool *table)
{
    uint64_t at = c->cr3 & 0x3ffffffff000ull, e = 0;
    struct ref r;
    *npf = *table = true;
    int shift = 39;
    for (;; shift -= 9) {
        if (!ref_nested(host, at + (va >> shift & 511) * 8, 1, &r)) {
            *err = r.err;
            return;
        }
        e = get(r.pa + ((at + (va >> shift & 511) * 8) & 0xfff), 8);
        if (!(e & 1) || (e & 0x000fc00000000000ull) || e >> 63 || (shift == 39 && e & 0x80) || (shift == 30 && e & 0x80 && e & 0x3fffe000) ||
            (shift == 21 && e & 0x80 && e & 0x1fe000)) {
            *npf = *table = false;
            *err = e & 1 ? 9 : 0;
            return;
        }
        if (shift == 12 || (shift < 39 && e & 0x80))
            break;
        at = e & 0x3ffffffff000ull;
    }
    *table = false;
    uint64_t gpa = (e & 0x3ffffffff000ull & ~((1ull << shift) - 1)) | (va & ((1ull << shift) - 1));
    *npf = !ref_nested(host, gpa, 0, &r);
    *err = r.err;
    *pa = r.pa;
}

TEST(walk_nested)
{
    struct x86_cpu c, host;
    unsigned good = 0, tables = 0, finals = 0, split = 0;
    setup();
    for (int round = 0; round < 20; round++) {
        fill(8);
        for (int i = 0; i < 20000; i++) {
            random_cpu(&host, 2);
            random_cpu(&c, 2);
            c.cr0 |= CR0_PG;
            c.efer &= ~(uint64_t)EFER_NXE;
            c.cr4 &= ~(uint64_t)(CR4_SMAP | CR4_SMEP);
            c.svm = (struct x86_svm){ .guest = true, .np = true, .ncr3 = host.cr3, .host.cr4 = host.cr4, .host.efer = host.efer };
            uint64_t va = (uint64_t)((int64_t)(rnd() << 16) >> 16), pa = 0;
            struct x86_walk w;
            uint32_t err = 0;
            bool npf, table;
            ref_two(&c, &host, va, &pa, &err, &npf, &table);
            int got = x86_walk(&c, mem, va, 0, false, true, true, &w);
            CHECK_EQ(w.npf, npf);
            if (got) {
                CHECK_EQ(w.fault, err);
                CHECK_EQ(w.npf && w.npf_table, table);
                tables += w.npf && w.npf_table;
                finals += w.npf && !w.npf_table;
                continue;
            }
            CHECK_EQ(w.gpa, pa & PAGE_MASK);
            good++;
            split += w.n > 1 && (w.entry[0] & PAGE_MASK) == (w.entry[1] & PAGE_MASK);
        }
    }
    printf("# nested walks: %u good, %u faults in tables, %u final, %u split leaves\n", good, tables, finals, split);
    CHECK(good > 50 && tables > 1000 && finals > 50 && split > 10);
}
