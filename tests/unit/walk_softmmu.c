/*
 * Paging as a program meets it: loads, stores and fetches through the softmmu (TLBs, shadow tables, mmu_x86.c, x86/walk.c) against a walker written here
 * from the manual's tables. First every combination of rights, then random tables, accesses, table writes by CPU and DMA, and control bits.
 *
 * Exactly compared: which accesses fault, error code, CR2, the bytes that are reached, and A and D bits of every entry. A table that changes counts at
 * once, without INVLPG: the shadow promises that. A and D are set by accesses that do not fault, in the whole path. SDM vol. 3 ch. 4.
 */
#include "frontend-x86/mmu_x86.h"
#include "core/vm.h"
#include "softmmu/mmu.h"
#include "tests/unit/test.h"
#include "x86/cpu.h"
#include <stdlib.h>

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX BIT(63)
#define RAM_SIZE (4u << 20)
#define TABLES 0x10000u                              /* table pages, N_TABLES of them; the rest of RAM holds a number in each page */
#define N_TABLES 32u
#define SCRATCH 0x80000u

struct format { const char *name; unsigned levels, esize, shift[5]; uint64_t cr4, efer; };
static const struct format formats[] = {
    { "32bit", 2, 4, { 12, 22 }, 0, 0 },
    { "pse", 2, 4, { 12, 22 }, CR4_PSE, 0 },
    { "pae", 3, 8, { 12, 21, 30 }, CR4_PAE, 0 },
    { "4level", 4, 8, { 12, 21, 30, 39 }, CR4_PAE, EFER_LMA | EFER_LME },
    { "5level", 5, 8, { 12, 21, 30, 39, 48 }, CR4_PAE | CR4_LA57, EFER_LMA | EFER_LME },
};

static const struct format *f;
static struct x86_cpu cpu;
static struct vcpu vcpu;
static struct vm vm;
static struct aspace *mem;
static struct region ram;
static struct mmu *m;
static struct mmu_ops ops;
static struct tlb_entry *tlb;
static uint32_t gens[2];
static jmp_buf fault;
static uint64_t seed = 88172645463325252ull;

static uint64_t rnd(void) { seed ^= seed << 13; seed ^= seed >> 7; return seed ^= seed << 17; }

/* ---- the reference ---- */

struct path { bool present, reserved, w, u, x, large; uint64_t pa, at[5], want[5]; unsigned n; };

static uint64_t entry(uint64_t at)
{
    uint64_t v = 0;
    if (at > RAM_SIZE - 8)                           /* a table beyond memory reads ones */
        return size_mask(f->esize);
    memcpy(&v, ram.host + at, f->esize);
    return v;
}

/* Bits that must be clear; SHIFT: of the addresses that the entry's table divides, LARGE: it is a page. */
static uint64_t reserved(unsigned shift, bool large)
{
    bool nxe = cpu.efer & EFER_NXE;
    if (f->esize == 4)
        return large ? 0x200000 : 0;
    uint64_t r = 0x000fc00000000000ull | (nxe ? 0 : NX);
    if (f->levels == 3)
        r |= shift == 30 ? NX | 0x7ff00000000001e6ull : 0x7ff0000000000000ull;
    if (shift >= 39)
        r |= PS;
    return r | (!large ? 0 : shift == 21 ? 0x1fe000 : shift == 30 ? 0x3fffe000 : 0);
}

static bool is_large(uint64_t e, unsigned shift)
{
    if (shift == 22)
        return (e & PS) && (cpu.cr4 & CR4_PSE);
    return (e & PS) && (shift == 21 || (shift == 30 && f->levels >= 4));
}

static void walk(uint64_t va, struct path *p)
{
    uint64_t table = f->levels == 3 ? cpu.cr3 & 0xffffffe0 : cpu.cr3 & 0x3ffffffff000ull, e;
    memset(p, 0, sizeof *p);
    p->w = p->u = p->x = true;
    for (unsigned l = f->levels; l-- > 0;) {
        unsigned shift = f->shift[l], bits = f->esize == 4 ? 10 : 9;
        bool pdpte = f->levels == 3 && l == 2;
        uint64_t index = va >> shift & (pdpte ? 3 : (1u << bits) - 1);
        p->at[p->n] = table + index * f->esize;
        e = pdpte ? cpu.pdpte[index] : entry(p->at[p->n]);
        if (!(e & P))
            return;
        p->present = true;
        bool large = l && is_large(e, shift);
        if (e & reserved(shift, large)) {
            p->reserved = true;
            return;
        }
        if (!pdpte)
            p->w &= (e & W) != 0, p->u &= (e & U) != 0, p->x &= !(e & NX) || !(cpu.efer & EFER_NXE);
        p->want[p->n] = pdpte ? entry(p->at[p->n]) : e | A;
        p->n++;
        table = e & (f->esize == 4 ? 0xfffff000 : 0x3ffffffff000ull);
        p->present = l == 0 || large;                /* so far it was about this level: the rest decides */
        if (!p->present)
            continue;
        uint64_t low = (1ull << shift) - 1;
        p->pa = (table & ~low) | (va & low);
        if (shift == 22)
            p->pa |= (e & 0x1fe000) << 19;
        p->large = large;
        return;
    }
}

/* Is it allowed, and if not, with what error code does it fault? */
static bool judge(const struct path *p, unsigned access, bool user, bool ac, uint32_t *err)
{
    bool wp = cpu.cr0 & CR0_WP, smep = cpu.cr4 & CR4_SMEP, smap = cpu.cr4 & CR4_SMAP, nx = (cpu.efer & EFER_NXE) && (cpu.cr4 & CR4_PAE), ok;
    *err = (access == MMU_WRITE ? 2 : 0) | (user ? 4 : 0) | (access == MMU_EXEC && (nx || smep) ? 16 : 0);
    if (p->reserved)
        *err |= 9;
    if (p->reserved || !p->present)
        return false;
    if (user)
        ok = p->u && (access == MMU_READ || (access == MMU_WRITE ? p->w : p->x));
    else if (access == MMU_EXEC)
        ok = p->x && !(p->u && smep);
    else
        ok = !(p->u && smap && !ac) && (access == MMU_READ || p->w || !wp);
    *err |= ok ? 0 : 1;
    return ok;
}

/* ---- the machine ---- */

static void __attribute__((noreturn)) on_fault(void *c) { longjmp(fault, 1); }

static void setup(const struct format *format)
{
    f = format;
    static uint32_t flags;
    vm.mem = mem = as_new("mem", 46);
    CHECK_EQ(as_add_ram(mem, &ram, "ram", 0, RAM_SIZE, REGION_RAM), 0);
    vcpu.vm = &vm;
    ops = x86_mmu_ops;
    ops.raise = on_fault;
    memset(&cpu, 0, sizeof cpu);
    cpu.vcpu = &vcpu;
    cpu.flags_word = &flags;
    cpu.cr0 = CR0_PE | CR0_PG;
    cpu.cr4 = f->cr4;
    cpu.efer = f->efer;
    cpu.cr3 = TABLES;
    cpu.seg[X86_CS].attr = f->efer ? SEG_L : 0;
    memset(ram.host, 0, RAM_SIZE);
    for (unsigned at = SCRATCH; at < RAM_SIZE; at += 8)
        memcpy(ram.host + at, (uint64_t[]){ at * 0x9e3779b97f4a7c15ull }, 8);
    m = mmu_new(&cpu, &ops, mem, NULL, &tlb, gens);
}

static void teardown(void)
{
    mmu_free(m);
    as_free(mem);
}

static void put_entry(uint64_t at, uint64_t e) { CHECK_EQ(as_dma_write(mem, at, &e, f->esize), 0); }

/* As MOV CR3: PDPTEs are read then. */
static void set_root(uint64_t cr3)
{
    cpu.cr3 = cr3;
    if (f->levels == 3) {
        for (unsigned k = 0; k < 4; k++)
            put_entry(cr3 + 8 * k, entry(cr3 + 8 * k) & ~reserved(30, false));
        CHECK_EQ(x86_load_pdptes(&cpu, mem, cr3), 0);
        if (cpu.pdpte_stale)
            mmu_flush_all(m);
        cpu.pdpte_stale = false;
    }
    mmu_set_root(m);
}

static void set_control(bool wp, bool smep, bool smap, bool nxe, bool user, bool ac)
{
    cpu.cr0 = (cpu.cr0 & ~(uint64_t)CR0_WP) | (wp ? CR0_WP : 0);
    cpu.cr4 = f->cr4 | (smep ? CR4_SMEP : 0) | (smap ? CR4_SMAP : 0);
    cpu.efer = f->efer | (nxe ? EFER_NXE : 0);
    cpu.cpl = user ? 3 : 0;
    x86_set_rflags(&cpu, ac ? RF_AC : 0);
    mmu_set_root(m);
    mmu_set_mode(m);
}

static unsigned accesses, faults, larges;
static volatile bool went;

static uint64_t access_once(uint64_t va, unsigned access, unsigned size, uint64_t v)
{
    gpa_t gpa = ~0ull;
    went = false;
    if (setjmp(fault))
        return 0;
    if (access == MMU_READ)
        v = mmu_ld(m, va, size);
    else if (access == MMU_WRITE)
        mmu_st(m, va, v, size);
    else
        mmu_code_page(m, va, &gpa), v = gpa;
    went = true;
    return v;
}

static uint64_t bytes_at(uint64_t pa, unsigned n)
{
    uint64_t v = ~0ull >> (64 - 8 * n);
    if (pa + n <= RAM_SIZE)
        memcpy(&v, ram.host + pa, n);
    return v;
}

static void check_bits(const struct path *p, bool write)
{
    for (unsigned k = 0; k < p->n; k++) {
        uint64_t want = p->want[k] | (write && k + 1 == p->n ? D : 0);
        bool again = false;                          /* an entry that serves two levels */
        for (unsigned j = 0; j < p->n; j++)
            again |= j != k && p->at[j] == p->at[k];
        if (!again)
            CHECK_EQ(entry(p->at[k]), want);
    }
}

/* One access within a page, whose outcome is all that the reference says. */
static void one(uint64_t va, unsigned access, bool user, bool ac)
{
    struct path p;
    uint32_t err;
    unsigned size = 1u << (rnd() & 3);
    if ((va & 4095) + size > 4096)
        size = 1;
    walk(va, &p);
    bool ok = judge(&p, access, user, ac, &err), table = p.pa >= TABLES && p.pa < SCRATCH;
    if (ok && access == MMU_WRITE && table)          /* tables are changed on purpose only */
        access = MMU_READ;
    uint64_t before = ok && !table ? bytes_at(p.pa, size) : 0, v = rnd() & size_mask(size);
    uint64_t got = access_once(va, access, size, v);
    accesses++;
    CHECK_EQ(went, ok);
    if (!ok) {
        faults++;
        CHECK_EQ(cpu.exc_vector, X86_PF);
        CHECK_EQ(cpu.exc_error, err);
        CHECK_EQ(cpu.exc_cr2, va);
        return;
    }
    larges += p.large;
    check_bits(&p, access == MMU_WRITE);
    if (access == MMU_EXEC)
        CHECK_EQ(got, p.pa & PAGE_MASK);
    else if (access == MMU_READ && !table)
        CHECK_EQ(got, before);
    else if (access == MMU_WRITE && p.pa + size <= RAM_SIZE)
        CHECK_EQ(bytes_at(p.pa, size), v);
}

/* ---- every combination ---- */

/* Leaf at level DEPTH with every set of bits, the entry above it with every set of rights, all control bits, both privileges, all accesses. */
static void combinations(const struct format *format, unsigned depth)
{
    static const uint64_t leaf_bit[] = { P, W, U, A, D, NX }, upper_bit[] = { W, U, NX };
    setup(format);
    accesses = faults = larges = 0;
    bool wide = f->esize == 8;
    uint64_t table[5], va = 0x12345678 & 0xfffff000, lead = f->efer ? 0x7f0000000000ull : 0;
    va |= lead;
    for (unsigned l = 0; l < f->levels; l++)
        table[l] = TABLES + l * PAGE_SIZE;
    cpu.cr3 = table[f->levels - 1];
    uint64_t at[5];
    for (unsigned l = f->levels; l-- > depth;) {
        bool pdpte = f->levels == 3 && l == 2;
        at[l] = table[l] + (va >> f->shift[l] & (pdpte ? 3 : wide ? 511 : 1023)) * f->esize;
        put_entry(at[l], (l ? table[l - 1] : 0) | P | (pdpte ? 0 : W | U));
    }
    set_root(cpu.cr3);
    bool can_upper = depth + 1 < f->levels && !(f->levels == 3 && depth == 1), rsvd_leaf = wide || depth;
    for (unsigned leaf = 0; leaf < (wide ? 64 : 32); leaf++)
        for (unsigned upper = 0; upper < (can_upper ? wide ? 8 : 4 : 1); upper++)
            for (unsigned bad = 0; bad < (rsvd_leaf ? 2 : 1); bad++)
                for (unsigned c = 0; c < 64; c++) {
                    uint64_t e = 0x200000u * (depth == 1 && f->shift[1] == 21) | (depth ? PS : 0) | (depth ? 0 : 0x123000);
                    for (unsigned k = 0; k < 6; k++)
                        e |= leaf >> k & 1 ? leaf_bit[k] : 0;
                    if (bad)
                        e |= depth ? 1u << (f->shift[depth] - 1) : BIT(47);
                    put_entry(at[depth], e);
                    if (can_upper) {
                        uint64_t t = table[depth] | P;
                        for (unsigned k = 0; k < 3; k++)
                            t |= upper >> k & 1 ? upper_bit[k] : 0;
                        put_entry(at[depth + 1], t);
                    }
                    set_control(c & 1, c & 2, c & 4, wide && c & 8, c & 16, c & 32);
                    for (unsigned k = 0; k < 3; k++)
                        one(va + 8 * k, (k + c) % 3, c & 16, c & 32);
                }
    printf("# %s, pages of 2^%u: %u accesses, %u faults\n", f->name, f->shift[depth], accesses, faults);
    CHECK(accesses > 10000 && faults > accesses / 4 && faults < accesses);
    CHECK(!depth || larges > 100);
    teardown();
}

TEST(rights_32bit) { combinations(&formats[0], 0); }
TEST(rights_pse) { combinations(&formats[1], 0); }
TEST(rights_pse_large) { combinations(&formats[1], 1); }
TEST(rights_pae) { combinations(&formats[2], 0); }
TEST(rights_pae_large) { combinations(&formats[2], 1); }
TEST(rights_4level) { combinations(&formats[3], 0); }
TEST(rights_4level_large) { combinations(&formats[3], 1); }
TEST(rights_4level_huge) { combinations(&formats[3], 2); }
TEST(rights_5level) { combinations(&formats[4], 0); }
TEST(rights_5level_huge) { combinations(&formats[4], 2); }

/* ---- random tables ---- */

static uint64_t random_entry(void)
{
    uint64_t e = TABLES + (rnd() % N_TABLES) * PAGE_SIZE;
    if (rnd() % 3 == 0)
        e = SCRATCH + rnd() % ((RAM_SIZE - SCRATCH) >> 12) * PAGE_SIZE;
    if (rnd() % 6 == 0)
        e = (e & 0x3fffff & ~(uint64_t)0x1fffff) | PS;
    e |= (rnd() % 10 ? P : 0) | (rnd() % 3 ? W : 0) | (rnd() % 3 ? U : 0) | (rnd() & rnd() & (A | D | G));
    if (f->esize == 8 && rnd() % 24 == 0)
        e |= rnd() % 4 ? NX : 1ull << (46 + rnd() % 17);
    return e;
}

static uint64_t random_va(void)
{
    uint64_t va = rnd() & 4095;
    for (unsigned l = 0; l < f->levels; l++)         /* few entries of each table, so that accesses meet */
        va |= (rnd() & 3) << f->shift[l];
    return va;
}

static bool user_now, ac_now;

static void random_control(void)
{
    uint64_t r = rnd();
    user_now = r & 16, ac_now = r & 32;
    set_control(r & 1, r & 2, r & 4, f->esize == 8 && r & 8, user_now, ac_now);
}

/* By a device, or by the CPU through whatever mapping it has of that table; that may fault, and is an access like others. */
static void random_table_write(void)
{
    uint64_t at = TABLES + (rnd() % N_TABLES) * PAGE_SIZE + (rnd() & 3) * f->esize, e = rnd() % 5 ? random_entry() : entry(at) ^ (rnd() & (W | U | A | D));
    if (rnd() & 1) {
        put_entry(at, e);
        return;
    }
    as_write(mem, at, e, f->esize);
}

static void random_paging(const struct format *format, unsigned steps)
{
    setup(format);
    accesses = faults = larges = 0;
    for (unsigned t = 0; t < N_TABLES; t++)
        for (unsigned k = 0; k < 4; k++)
            put_entry(TABLES + t * PAGE_SIZE + k * f->esize, random_entry());
    set_root(TABLES);
    random_control();
    for (unsigned k = 0; k < steps; k++) {
        unsigned r = (unsigned)(rnd() % 100);
        if (r < 8)
            random_table_write();
        else if (r < 11)
            set_root(TABLES + (rnd() % 4) * PAGE_SIZE);
        else if (r < 16)
            random_control();
        else if (r < 17)
            mmu_flush_page(m, random_va());
        else
            one(random_va(), (unsigned)(rnd() % 3), user_now, ac_now);
    }
    printf("# %s: %u accesses, %u faults, %u to large pages\n", f->name, accesses, faults, larges);
    CHECK(accesses > steps / 2 && faults > 1000 && faults < accesses);
    teardown();
}

static unsigned steps(void) { return getenv("SOAK") ? 1000000 : 100000; }
TEST(random_32bit) { random_paging(&formats[0], steps()); }
TEST(random_pse) { random_paging(&formats[1], steps()); }
TEST(random_pae) { random_paging(&formats[2], steps()); }
TEST(random_4level) { random_paging(&formats[3], steps()); }
TEST(random_5level) { random_paging(&formats[4], steps()); }
