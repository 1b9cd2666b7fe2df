/*
 * The guest's page walk in every paging mode: off, 32-bit (with PSE and PSE-36), PAE, 4-level.
 *
 * In: a linear address (canonical: the caller's check) and the kind of access; CR0, CR3, CR4, EFER of the CPU. Out: the physical address and
 * combined rights, or the page-fault error code. A and D bits are set by compare-and-exchange on the host's RAM, after the rights have
 * been checked, as several processors may walk the same tables; an entry that changed meanwhile restarts the walk. No locks.
 * entry[] and entry_bits[] are indexed by level: 0 is the leaf's entry, n - 1 the root's.
 * SDM vol. 3 ch. 4 (4.3 32-bit, 4.4 PAE, 4.5 4-level, 4.6 rights, 4.7 error codes, 4.8 A and D).
 */
#include "core/aspace.h"
#include "x86/cpu.h"
#include <string.h>

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_A 0x20ull
#define PTE_D 0x40ull
#define PTE_PS 0x80ull
#define PTE_G 0x100ull
#define PTE_NX (1ull << 63)
#define PHYS_MASK (BIT(X86_PHYS_BITS) - 1)

enum { PFE_P = 1, PFE_W = 2, PFE_U = 4, PFE_RSVD = 8, PFE_I = 16 };

struct format {                     /* of the paging mode in force */
    uint8_t levels, entry_size, index_bits;
    bool nx;                        /* bit 63 is XD, else reserved */
    bool pse;                       /* large pages in 32-bit paging */
};

struct walk_entry { uint64_t val; gpa_t addr; };

static struct format walk_format(const struct x86_cpu *c)
{
    if (c->efer & EFER_LMA)
        return (struct format){ 4, 8, 9, c->efer & EFER_NXE, true };
    if (c->cr4 & CR4_PAE)
        return (struct format){ 3, 8, 9, c->efer & EFER_NXE, true };
    return (struct format){ 2, 4, 10, false, c->cr4 & CR4_PSE };
}

static unsigned level_bits(const struct format *f, unsigned level)
{
    return PAGE_BITS + level * f->index_bits;
}

static uint64_t read_entry(struct aspace *mem, gpa_t addr, unsigned size)
{
    uint64_t off, run;
    struct region *r = as_find(mem, addr, &off, &run);
    if (r && r->kind != REGION_IO && run >= size)
        return size == 8 ? __atomic_load_n((uint64_t *)(r->host + off), __ATOMIC_RELAXED) : __atomic_load_n((uint32_t *)(r->host + off), __ATOMIC_RELAXED);
    return as_read(mem, addr, size);
}

/* Set BITS in an entry that still has the value seen. False: somebody changed it, walk again. Entries outside RAM stay as they are. */
static bool set_bits(struct aspace *mem, const struct walk_entry *e, unsigned size, uint64_t bits)
{
    uint64_t off, run;
    if ((e->val & bits) == bits)
        return true;
    struct region *r = as_find(mem, e->addr, &off, &run);
    if (!r || r->kind != REGION_RAM || run < size)
        return true;
    if (size == 8) {
        uint64_t old = e->val;
        return __atomic_compare_exchange_n((uint64_t *)(r->host + off), &old, old | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    uint32_t old = (uint32_t)e->val;
    return __atomic_compare_exchange_n((uint32_t *)(r->host + off), &old, old | (uint32_t)bits, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* Bits that must be zero in a present entry of this level. */
static uint64_t reserved_bits(const struct format *f, unsigned level, bool large)
{
    if (f->entry_size == 4)
        return large ? BIT(21) : 0;                       /* PSE-36: bits 20..13 are address bits 39..32 */
    uint64_t r = 0x000fffffffffffffull & ~PHYS_MASK;
    if (f->levels == 3 && level == 2)
        return r | 0xfff0000000000000ull | 0x1e6;         /* PAE PDPTE: no rights at all */
    if (f->levels == 3)
        r |= 0x7ff0000000000000ull;
    if (!f->nx)
        r |= PTE_NX;
    if (level == 3)
        r |= PTE_PS;
    else if (large)
        r |= (BIT(level_bits(f, level)) - 1) & ~0x1fffull;
    return r;
}

static uint64_t table_base(const struct format *f, uint64_t entry)
{
    return f->entry_size == 4 ? entry & 0xfffff000u : entry & PHYS_MASK & PAGE_MASK;
}

static uint64_t root_base(const struct x86_cpu *c, const struct format *f)
{
    if (f->levels == 3)
        return c->cr3 & 0xffffffe0u;
    return f->entry_size == 4 ? c->cr3 & 0xfffff000u : c->cr3 & PHYS_MASK & PAGE_MASK;
}

static gpa_t leaf_address(const struct format *f, uint64_t e, unsigned level, gva_t va)
{
    uint64_t low = BIT(level_bits(f, level)) - 1;
    uint64_t base = f->entry_size == 8 ? e & PHYS_MASK & ~low : e & 0xffffffffu & ~low;
    if (f->entry_size == 4 && level)
        base |= (e & 0x1fe000) << 19;                     /* PSE-36: bits 20..13 to 39..32 */
    return (base | (va & low)) & PAGE_MASK;
}

/* May this access be made with the combined rights in OUT? */
static bool allowed(const struct x86_cpu *c, const struct x86_walk *out, unsigned access, bool user, bool ac)
{
    if (user && !out->u)
        return false;
    if (access == 2)
        return out->x && (user || !out->u || !(c->cr4 & CR4_SMEP));
    if (!user && out->u && (c->cr4 & CR4_SMAP) && !ac)
        return false;
    return access != 1 || out->w || (!user && !(c->cr0 & CR0_WP));
}

static int fail(const struct x86_cpu *c, struct x86_walk *out, unsigned access, bool user, uint32_t code)
{
    out->fault = code | (access == 1 ? PFE_W : 0) | (user ? PFE_U : 0);
    if (access == 2 && ((c->cr4 & CR4_SMEP) || ((c->cr4 & CR4_PAE) && (c->efer & EFER_NXE))))
        out->fault |= PFE_I;
    return -1;
}

static void combine(const struct format *f, struct x86_walk *out, uint64_t e, unsigned level)
{
    if (f->levels == 3 && level == 2)
        return;                                            /* PAE PDPTEs carry no rights */
    out->w &= (e & PTE_W) != 0;
    out->u &= (e & PTE_U) != 0;
    out->x &= !(f->nx && (e & PTE_NX));
}

int x86_load_pdptes(struct x86_cpu *c, struct aspace *mem, uint64_t cr3)
{
    uint64_t e[4];
    struct format f = { .levels = 3, .entry_size = 8 };
    for (unsigned i = 0; i < 4; i++) {
        e[i] = as_read(mem, (cr3 & 0xffffffe0u) + i * 8, 8);
        if ((e[i] & PTE_P) && (e[i] & reserved_bits(&f, 2, false)))
            return -1;
    }
    memcpy(c->pdpte, e, sizeof(e));
    return 0;
}

/* The entry of LEVEL at ADDR. PDPTEs of PAE paging are registers; their addresses are still told, so that the caller's caches follow memory. */
static uint64_t entry_at(struct x86_cpu *c, struct aspace *mem, const struct format *f, unsigned level, gpa_t addr)
{
    uint64_t e = read_entry(mem, addr, f->entry_size);
    if (f->levels != 3 || level != 2)
        return e;
    c->pdpte_stale |= e != c->pdpte[addr >> 3 & 3];
    return c->pdpte[addr >> 3 & 3];
}

/* One descent. 0 done, -1 fault, 1 entries changed under us: again. */
static int walk_once(struct x86_cpu *c, struct aspace *mem, gva_t va, unsigned access, bool user, bool ac, bool set_ad, struct x86_walk *out)
{
    struct format f = walk_format(c);
    struct walk_entry seen[4];
    uint64_t base = root_base(c, &f), e = 0;
    unsigned level = f.levels;
    bool large = false;
    out->w = out->u = out->x = true;
    out->entry_size = f.entry_size;
    do {
        unsigned bits = level_bits(&f, --level);
        unsigned index_mask = f.levels == 3 && level == 2 ? 3 : (1u << f.index_bits) - 1;
        gpa_t addr = base + ((va >> bits) & index_mask) * f.entry_size;
        e = entry_at(c, mem, &f, level, addr);
        seen[level] = (struct walk_entry){ e, addr };
        if (!(e & PTE_P))
            return fail(c, out, access, user, 0);
        large = level && (e & PTE_PS) && f.pse && level < 3 && !(f.levels == 3 && level == 2);
        if (e & reserved_bits(&f, level, large))
            return fail(c, out, access, user, PFE_P | PFE_RSVD);
        combine(&f, out, e, level);
        base = table_base(&f, e);
    } while (level && !large);
    if (!allowed(c, out, access, user, ac))
        return fail(c, out, access, user, PFE_P);
    unsigned leaf = level;
    for (unsigned l = f.levels; set_ad && l-- > leaf;) {
        if (f.levels == 3 && l == 2)
            continue;                                      /* no A bit */
        uint64_t bits = PTE_A | (l == leaf && access == 1 ? PTE_D : 0);
        if (!set_bits(mem, &seen[l], f.entry_size, bits))
            return 1;
    }
    out->n = f.levels - leaf;
    for (unsigned i = 0; i < out->n; i++) {
        out->entry[i] = seen[leaf + i].addr;
        out->entry_bits[i] = (uint8_t)level_bits(&f, leaf + i);
    }
    out->gpa = leaf_address(&f, e, leaf, va);
    out->page_bits = level_bits(&f, leaf);
    out->d = (e & PTE_D) || (set_ad && access == 1);
    out->g = (e & PTE_G) && (c->cr4 & CR4_PGE);
    return 0;
}

int x86_walk(struct x86_cpu *c, struct aspace *mem, gva_t va, unsigned access, bool user, bool ac, bool set_ad, struct x86_walk *out)
{
    memset(out, 0, sizeof(*out));
    if (!(c->cr0 & CR0_PG)) {
        out->gpa = va & 0xfffff000u;
        out->page_bits = 64;
        out->w = out->u = out->x = out->d = true;
    } else {
        int r;
        do
            r = walk_once(c, mem, va, access, user, ac, set_ad, out);
        while (r > 0);
        if (r)
            return r;
    }
    if (c->a20_off)
        out->gpa &= ~(gpa_t)0x100000;
    return 0;
}
