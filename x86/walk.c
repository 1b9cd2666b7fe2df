/*
 * The guest's page walk in every paging mode: off, 32-bit (with PSE and PSE-36), PAE, 4-level, 5-level; protection keys.
 *
 * In: a linear address (canonical: the caller's check) and the kind of access; CR0, CR3, CR4, EFER of the CPU. Out: the physical address and
 * combined rights, or the page-fault error code. A and D bits are set by compare-and-exchange on the host's RAM, after the rights have
 * been checked, as several processors may walk the same tables; an entry that changed meanwhile restarts the walk. No locks.
 * Under nested paging (AMD SVM) the addresses in all this are a guest's: each goes through a second walk, of the tables of nested CR3, and
 * either can fail: out->npf tells whose fault it is. APM vol. 2 15.25.
 * entry[] and entry_bits[] are indexed by level: 0 is the leaf's entry, n - 1 the root's.
 * SDM vol. 3 ch. 4 (4.3 32-bit, 4.4 PAE, 4.5 4-level and 5-level, 4.6 rights and keys, 4.7 error codes, 4.8 A and D).
 */
#include "core/aspace.h"
#include "x86/cpuid.h"
#include "x86/svm.h"
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

enum { PFE_P = 1, PFE_W = 2, PFE_U = 4, PFE_RSVD = 8, PFE_I = 16, PFE_PK = 32 };
enum { KEY_AD = 1, KEY_WD = 2 };

struct format {                     /* of the paging mode in force */
    uint8_t levels, entry_size, index_bits;
    bool nx;                        /* bit 63 is XD, else reserved */
    bool pse;                       /* large pages in 32-bit paging */
    uint64_t not_large;             /* bits that this processor's large entries must not have: 32-bit paging, and at level 2 the size bit itself */
};

struct walk_entry { uint64_t val; gpa_t addr; };

/* One dimension of a walk: the guest's own tables, or (host) the nested ones, which the world outside the guest has set up. */
struct tables { struct format f; uint64_t root; bool host; };

/* A state without a model stands for a processor that has all. */
static bool offers(const struct x86_cpuid *id, enum x86_feat f) { return !id || x86_has(id, f); }

/* PSE-36 gives bits 20..13 of a large entry a meaning, PAT bit 12; 1 GiB pages are a feature. */
static struct format walk_format(const struct x86_cpuid *id, uint64_t cr4, uint64_t efer)
{
    if (efer & EFER_LMA)
        return (struct format){ cr4 & CR4_LA57 ? 5 : 4, 8, 9, efer & EFER_NXE, true, offers(id, FEAT_pdpe1gb) ? 0 : PTE_PS };
    if (cr4 & CR4_PAE)
        return (struct format){ 3, 8, 9, efer & EFER_NXE, true, 0 };
    return (struct format){ 2, 4, 10, false, cr4 & CR4_PSE,
                            BIT(21) | (offers(id, FEAT_pse36) ? 0 : 0x1fe000) | (offers(id, FEAT_pat) ? 0 : BIT(12)) };
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
        return large ? f->not_large : 0;
    uint64_t r = 0x000fffffffffffffull & ~PHYS_MASK;
    if (f->levels == 3 && level == 2)
        return r | 0xfff0000000000000ull | 0x1e6;         /* PAE PDPTE: no rights at all */
    if (f->levels == 3)
        r |= 0x7ff0000000000000ull;
    if (!f->nx)
        r |= PTE_NX;
    if (level >= 3)
        r |= PTE_PS;
    else if (large && level == 2 && f->not_large)
        r |= f->not_large;
    else if (large)
        r |= (BIT(level_bits(f, level)) - 1) & ~0x1fffull;
    return r;
}

static uint64_t table_base(const struct format *f, uint64_t entry)
{
    return f->entry_size == 4 ? entry & 0xfffff000u : entry & PHYS_MASK & PAGE_MASK;
}

static uint64_t root_base(uint64_t cr3, const struct format *f)
{
    if (f->levels == 3)
        return cr3 & 0xffffffe0u;
    return f->entry_size == 4 ? cr3 & 0xfffff000u : cr3 & PHYS_MASK & PAGE_MASK;
}

static gpa_t leaf_address(const struct format *f, uint64_t e, unsigned level, gva_t va)
{
    uint64_t low = BIT(level_bits(f, level)) - 1;
    uint64_t base = f->entry_size == 8 ? e & PHYS_MASK & ~low : e & 0xffffffffu & ~low;
    if (f->entry_size == 4 && level)
        base |= (e & 0x1fe000) << 19;                     /* PSE-36: bits 20..13 to 39..32 */
    return (base | (va & low)) & PAGE_MASK;
}

/* What a walk is for. */
struct purpose { unsigned access; bool user, ac, set_ad; };

/* Does the protection key of a user's page bar this access? For a supervisor's, too; its writes only if it heeds read-only pages. */
static bool key_bars(const struct x86_cpu *c, const struct x86_walk *out, const struct purpose *p)
{
    unsigned bits = (unsigned)(c->pkru >> (2 * out->pkey)) & 3;
    if (!(c->cr4 & CR4_PKE) || !(c->efer & EFER_LMA) || !out->u || p->access > 1)
        return false;
    return (bits & KEY_AD) || ((bits & KEY_WD) && p->access == 1 && (p->user || (c->cr0 & CR0_WP)));
}

/* May this access be made with the combined rights in OUT? To nested tables every access is a user's. */
static bool allowed(const struct x86_cpu *c, const struct tables *t, const struct x86_walk *out, const struct purpose *p)
{
    if (p->access == 3)
        return true;
    if (!t->host && key_bars(c, out, p))
        return false;
    if (p->user && !out->u)
        return false;
    if (p->access == 2)
        return out->x && (p->user || !out->u || !(c->cr4 & CR4_SMEP));
    if (!p->user && out->u && (c->cr4 & CR4_SMAP) && !p->ac)
        return false;
    return p->access != 1 || out->w || (!p->user && !(c->cr0 & CR0_WP));
}

static int fail(const struct x86_cpu *c, const struct tables *t, struct x86_walk *out, const struct purpose *p, uint32_t code)
{
    out->fault = code | (p->access == 1 ? PFE_W : 0) | (p->user ? PFE_U : 0);
    if (p->access == 2 && (t->f.nx || (!t->host && ((c->cr4 & CR4_SMEP) || ((c->cr4 & CR4_PAE) && (c->efer & EFER_NXE))))))
        out->fault |= PFE_I;
    if (code == PFE_P && !t->host && key_bars(c, out, p))
        out->fault |= PFE_PK;
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

static int to_system(struct x86_cpu *c, struct aspace *mem, gpa_t gpa, const struct purpose *, bool table, struct x86_walk *out,
                     struct x86_walk *found);

int x86_load_pdptes(struct x86_cpu *c, struct aspace *mem, uint64_t cr3)
{
    uint64_t e[4];
    struct format f = { .levels = 3, .entry_size = 8 };
    for (unsigned i = 0; i < 4; i++) {
        e[i] = as_read(mem, x86_smram_at(c, (cr3 & 0xffffffe0u) + i * 8), 8);
        if ((e[i] & PTE_P) && (e[i] & reserved_bits(&f, 2, false)))
            return -1;
    }
    memcpy(c->pdpte, e, sizeof(e));
    return 0;
}

/* The entry of LEVEL at ADDR. PDPTEs of PAE paging are registers (not with nested paging); their addresses are still told, so that the caller's
   caches follow memory. */
static uint64_t entry_at(struct x86_cpu *c, struct aspace *mem, const struct tables *t, unsigned level, gpa_t addr)
{
    uint64_t e = read_entry(mem, addr, t->f.entry_size);
    if (t->f.levels != 3 || level != 2 || t->host || svm_nested(c))
        return e;
    c->pdpte_stale |= e != c->pdpte[addr >> 3 & 3];
    return c->pdpte[addr >> 3 & 3];
}

/* Where an entry of the tables is in memory. Tables of a guest under nested paging are written to as far as the nested ones are concerned. */
static int entry_place(struct x86_cpu *c, struct aspace *mem, const struct tables *t, const struct purpose *p, struct x86_walk *out, gpa_t *addr)
{
    struct purpose table = { p->set_ad ? 1 : 0, true, false, p->set_ad };
    struct x86_walk n;
    if (t->host || !svm_nested(c))
        return 0;
    if (to_system(c, mem, *addr, &table, true, out, &n))
        return -1;
    *addr = n.gpa | (*addr & ~PAGE_MASK);
    return 0;
}

static int set_accessed(struct aspace *mem, const struct format *f, const struct walk_entry *seen, unsigned leaf, bool write)
{
    for (unsigned l = f->levels; l-- > leaf;) {
        if (f->levels == 3 && l == 2)
            continue;                                      /* no A bit */
        if (!set_bits(mem, &seen[l], f->entry_size, PTE_A | (l == leaf && write ? PTE_D : 0)))
            return 1;
    }
    return 0;
}

/* One descent. 0 done, -1 fault, 1 entries changed under us: again. */
static int walk_once(struct x86_cpu *c, struct aspace *mem, const struct tables *t, gva_t va, const struct purpose *p, struct x86_walk *out)
{
    const struct format f = t->f;
    struct walk_entry seen[5];
    uint64_t base = root_base(t->root, &f), e = 0;
    unsigned level = f.levels;
    bool large = false;
    out->w = out->u = out->x = true;
    out->entry_size = f.entry_size;
    do {
        unsigned bits = level_bits(&f, --level);
        unsigned index_mask = f.levels == 3 && level == 2 ? 3 : (1u << f.index_bits) - 1;
        gpa_t addr = base + ((va >> bits) & index_mask) * f.entry_size;
        if (entry_place(c, mem, t, p, out, &addr))
            return -1;
        addr = x86_smram_at(c, addr);
        e = entry_at(c, mem, t, level, addr);
        seen[level] = (struct walk_entry){ e, addr };
        if (!(e & PTE_P))
            return fail(c, t, out, p, 0);
        large = level && (e & PTE_PS) && f.pse && level < 3 && !(f.levels == 3 && level == 2);
        if (e & reserved_bits(&f, level, large))
            return fail(c, t, out, p, PFE_P | PFE_RSVD);
        combine(&f, out, e, level);
        base = table_base(&f, e);
    } while (level && !large);
    out->pkey = f.entry_size == 8 && f.levels > 3 ? e >> 59 & 15 : 0;
    if (!allowed(c, t, out, p))
        return fail(c, t, out, p, PFE_P);
    unsigned leaf = level;
    if (p->set_ad && set_accessed(mem, &f, seen, leaf, p->access == 1))
        return 1;
    out->n = f.levels - leaf;
    for (unsigned i = 0; i < out->n; i++) {
        out->entry[i] = seen[leaf + i].addr;
        out->entry_bits[i] = (uint8_t)level_bits(&f, leaf + i);
    }
    out->gpa = leaf_address(&f, e, leaf, va);
    out->page_bits = level_bits(&f, leaf);
    out->d = (e & PTE_D) || (p->set_ad && p->access == 1);
    out->g = (e & PTE_G) && (c->cr4 & CR4_PGE);
    return 0;
}

static int walk_tables(struct x86_cpu *c, struct aspace *mem, const struct tables *t, gva_t va, const struct purpose *p, struct x86_walk *out)
{
    int r;
    do {
        memset(out, 0, sizeof(*out));
        r = walk_once(c, mem, t, va, p, out);
    } while (r > 0);
    return r;
}

/* The second dimension: the page of GPA in system memory, into FOUND. A failure is noted in OUT, the walk of the first one. */
static int to_system(struct x86_cpu *c, struct aspace *mem, gpa_t gpa, const struct purpose *p, bool table, struct x86_walk *out,
                     struct x86_walk *found)
{
    struct tables t = { walk_format(c->cpuid, c->svm.host.cr4, c->svm.host.efer), c->svm.ncr3, true };
    if (!walk_tables(c, mem, &t, gpa, p, found))
        return 0;
    out->npf = true;
    out->npf_table = table;
    out->npf_gpa = gpa;
    out->fault = found->fault;
    return -1;
}

/* A leaf whose nested page is smaller is split: entries of smaller pages are made up beside it, in its own table page, so that the
   softmmu, which mirrors tables, tracks the right one. */
static void split_leaf(struct x86_walk *out, gva_t va, unsigned nested_bits)
{
    unsigned index_bits = out->entry_size == 8 ? 9 : 10;
    while (out->page_bits > nested_bits && out->n < ARRAY_SIZE(out->entry)) {
        for (unsigned i = out->n++; i; i--) {
            out->entry[i] = out->entry[i - 1];
            out->entry_bits[i] = out->entry_bits[i - 1];
        }
        out->page_bits -= index_bits;
        out->entry_bits[0] = (uint8_t)out->page_bits;
        out->entry[0] = (out->entry[1] & PAGE_MASK) + ((va >> out->page_bits) & ((1u << index_bits) - 1)) * out->entry_size;
    }
}

/* OUT, the walk in the guest's tables, becomes one to system memory. */
static int nest(struct x86_cpu *c, struct aspace *mem, gva_t va, const struct purpose *p, struct x86_walk *out)
{
    struct purpose final = *p;
    struct x86_walk n;
    final.user = true;
    if (to_system(c, mem, out->gpa | (va & ~PAGE_MASK), &final, false, out, &n))
        return -1;
    split_leaf(out, va, n.page_bits);
    out->gpa = n.gpa;
    out->nested = true;
    out->nested_w = n.w && n.d;
    out->nested_x = n.x;
    return 0;
}

/* Without paging of its own a nested guest sees the nested tables alone. */
static int walk_unpaged(struct x86_cpu *c, struct aspace *mem, gva_t va, const struct purpose *p, struct x86_walk *out)
{
    struct purpose final = *p;
    struct x86_walk n;
    final.user = true;
    memset(out, 0, sizeof(*out));
    if (svm_nested(c)) {
        if (to_system(c, mem, va & 0xffffffffu, &final, false, out, &n))
            return -1;
        *out = n;
        out->nested = true;
        out->nested_w = n.w && n.d;
        out->nested_x = n.x;
        out->g = false;
    } else {
        out->gpa = va & 0xfffff000u;
        out->page_bits = 64;
    }
    out->w = out->u = out->x = out->d = true;
    return 0;
}

int x86_walk(struct x86_cpu *c, struct aspace *mem, gva_t va, unsigned access, bool user, bool ac, bool set_ad, struct x86_walk *out)
{
    struct purpose p = { access, user, ac, set_ad };
    struct tables t = { walk_format(c->cpuid, c->cr4, c->efer), c->cr3, false };
    if (!(c->cr0 & CR0_PG)) {
        if (walk_unpaged(c, mem, va, &p, out))
            return -1;
    } else if (walk_tables(c, mem, &t, va, &p, out) || (svm_nested(c) && nest(c, mem, va, &p, out))) {
        return -1;
    }
    if (c->a20_off && !c->smm)
        out->gpa &= ~(gpa_t)0x100000;
    out->gpa = x86_smram_at(c, out->gpa);
    return 0;
}
