/*
 * Private to softmmu: the structures behind struct mmu.
 *
 * Identity of a RAM page is the address of its track byte (page_id): it is the same through every alias of the page.
 * A shadow page mirrors the part of one guest table page that serves one run of guest-virtual addresses. Its key is the table (page and first
 * entry), the va bits it is indexed by, the entry size, the base va, and the chain of guest entries above it with the table addresses
 * taken out, and the context: so it may hold combined permissions and is still shared exactly between all address spaces that see it alike.
 *
 * Lock: the shared part's (a spinlock, because [regs] code takes it) guards all of it. It is a leaf: no callback and no as_* call that may call
 * back runs under it. Translated code reads the TLBs and generations without it; entries are dropped by tag stores.
 * Functions named *_locked want it held.
 */
#ifndef SOFTMMU_INTERNAL_H
#define SOFTMMU_INTERNAL_H
#include <pthread.h>
#include "core/ram.h"
#include "core/spin.h"
#include "softmmu/mmu.h"

#define N_SPACES 64
#define MMU_MAX_VCPUS 32               /* fewer than spaces: each may stand in one */
#define N_SLOTS 8                     /* top tables of one address space: two halves, and those of formats it had before */
#define N_RUNS 32
#define N_BLOCKS 32
#define N_FLAT 1024
#define HASH_SIZE 32768
#define MAX_SHADOW 16384              /* shadow pages; 4 or 8 KiB each */
#define FLOOD_LIMIT 32                /* writes to a table page without a use before it is given up */
#define BESIDE_LIMIT 64u              /* stores beside code until a page's code is given up the first time */
#define N_FLOODS 4096
#define MAX_LEVELS 6

/*
 * A shadow entry: 0 empty; child: pointer | SE_CHILD; leaf: base gpa | perms << SE_PERM | SE_LEAF, and SE_FETCHED once it was handed out for code.
 * Whatever the translator derives from a mapping of code (links, jump-cache entries) it derives from such an answer, so a leaf without the bit can
 * leave without a new code generation.
 */
enum { SE_CHILD = 1, SE_LEAF = 2, SE_PERM = 2, SE_FETCHED = 1 << 11 };
#define SE_PERMS ((uint64_t)0x1ff << SE_PERM)

struct parent_link { struct shadow_page *parent; unsigned idx; };

struct shadow_page {
    struct shadow_page *hash_next, *pt_next, *lru_prev, *lru_next;
    struct pt_page *pt;
    uint64_t tag;                     /* va >> shift */
    uint64_t chain[MAX_LEVELS];       /* guest entries above, root first, without the address of the next table */
    uint8_t n_chain, bits, shift, entry_size;
    uint16_t first;                   /* entry number within the guest page of va index 0 (a PAE root is 32 bytes) */
    unsigned context;                 /* of the walk (mmu.h) */
    uint64_t as_mask;                 /* spaces that took a translation from a leaf here */
    unsigned live, n_parents, cap_parents;
    struct parent_link *parents;
    uint64_t e[];
};

/* One tracked guest page-table page. */
struct pt_page {
    struct pt_page *hash_next;
    uint8_t *track, *host;            /* of the page */
    struct shadow_page *pages;
    unsigned flood;
    /* until the epoch is settled (settle.c): the entries as they are known, and a list of such pages */
    uint64_t epoch, *known;
    struct pt_page *unsettled_next;
};

struct code_page {
    struct code_page *hash_next;
    uint8_t *track;
    gpa_t gpa[4];                     /* the physical addresses under which it was registered (aliases) */
    unsigned n_gpa;
    uint64_t epoch;                   /* of its tracking (settle.c) */
    unsigned beside;                  /* stores to other bytes of the page */
    uint64_t bytes[PAGE_SIZE / 64];   /* bit: this byte belongs to translated code */
};

/* A stretch of RAM or ROM, whole pages, learned from as_find, for code that may not call it. */
struct ram_run {
    gpa_t start, end;
    uint8_t *host, *track;
    uint64_t *hint;                   /* one a page: TLB indices that hold tag_w for it, see hint_add */
    bool rom;
};

/* Hints of a region's pages, by track byte address. */
struct hint_block { uint8_t *lo, *hi; uint64_t *hint; };

struct slot { uint64_t tag; unsigned shift; struct shadow_page *sp; };        /* a top table */

struct space {
    bool used, flat;                  /* flat: paging is off, translations are in s->flat */
    uint64_t root, stamp;
    struct tlb_entry *tlb[MMU_MAX_VCPUS][MMU_MODES];
    struct slot slot[N_SLOTS];
    unsigned n_slots, group;
    uint64_t made;                    /* no other space had this number */
    const struct shadow_page *upper;  /* the table of the upper part, once it was used: a top table's upper half, or PAE's page directory of the last GiB */
    uint32_t gen_lo;
};

struct group { uint32_t gen; unsigned refs; };     /* of spaces with the same upper half */

/* What the vCPUs of a machine share. */
struct mmu_shared {
    struct aspace *mem;
    struct mmu *vcpu[MMU_MAX_VCPUS];
    unsigned n_vcpus;
    bool uncached;                    /* a translation through tables outside RAM was handed out: INVLPG and root loads renew the code generations */
    struct { uint32_t word; char alone[124]; } lock;      /* a line that only those who take it touch; its neighbour may be fetched with it */
    uint64_t epoch;                   /* number of the last event that other vCPUs may not have seen yet: settle.c */
    struct pt_page *unsettled;
    uint64_t stamp, drop_seq;         /* drop_seq: counts drops, so that a walk that raced with one is repeated */
    uint32_t gen_next;
    struct space spaces[N_SPACES];
    struct group groups[N_SPACES];
    struct ram_run runs[N_RUNS];
    unsigned n_runs;
    struct hint_block blocks[N_BLOCKS];
    unsigned n_blocks;
    struct { gva_t va, gpa; } flat[N_FLAT];
    struct shadow_page *hash[HASH_SIZE];
    struct pt_page *pt_hash[HASH_SIZE];
    struct code_page *code_hash[HASH_SIZE];
    struct shadow_page lru;           /* head; e[] unused */
    unsigned n_shadow, n_code;
    uint8_t code_floods[N_FLOODS];    /* how often a page's code was given up, by hash */
    void (*invalidate)(void *opaque, gpa_t gpa, unsigned len);
    void *inv_opaque;
    union counters n;                 /* what is counted under the lock */
};

/* What an access needs to know of a page. host is NULL when the page is not wholly RAM or ROM. */
struct xlat { gpa_t gpa; uint8_t *host, *track; bool rom; };

/* An answer of mmu_code_gpa_fast: good for the same question in the same space as long as nothing has been dropped since. */
struct asked { gva_t va; gpa_t gpa; uint64_t made, drop_seq; };
#define N_ASKED 256

/* One vCPU's. Its own thread's, but for what the lock guards: cur is read by others, the TLBs lose entries. */
struct mmu {
    struct mmu_shared *sh;
    unsigned id;                      /* in sh->vcpu */
    void *cpu;
    const struct mmu_ops *ops;
    struct tlb_entry **tlb_word;
    uint32_t *gen_words;
    struct space *cur;                /* NULL: root unknown, the empty TLB is shown and the first slow access resolves it */
    unsigned mode;
    struct tlb_entry *empty_tlb;
    struct mem_region *regions; unsigned n_regions; uint64_t *regions_live;
    uint64_t seen; bool outside; uint32_t *poll;      /* settle.c */
    struct { struct xlat x; unsigned off; } rmw;      /* mmu_rmw_begin .. _end */
    struct { struct tlb_entry *e; unsigned i; } tiny[MMU_TINY_MOST]; unsigned n_tiny, at_tiny;      /* mmu_set_tiny: what is filled, oldest first */
    struct asked asked[N_ASKED];
    union counters stats;
};

static inline void mmu_lock(struct mmu_shared *m)
{
    uint64_t waited = spin_lock(&m->lock.word);
    if (unlikely(waited)) {
        m->n.mmu_waits++;
        m->n.mmu_wait_time += waited;
    }
}
static inline void mmu_unlock(struct mmu_shared *m) { spin_unlock(&m->lock.word); }

static inline unsigned ptr_hash(const void *p) { return (unsigned)(((uintptr_t)p * 0x9e3779b97f4a7c15ull) >> 40) & (HASH_SIZE - 1); }
static inline unsigned sp_size(const struct shadow_page *sp) { return PAGE_SIZE / sp->entry_size; }
static inline unsigned sp_index(const struct shadow_page *sp, gva_t va) { return (va >> sp->bits) & (sp_size(sp) - 1); }
static inline struct shadow_page *se_child(uint64_t e) { return (struct shadow_page *)(uintptr_t)(e & ~(uint64_t)SE_CHILD); }
static inline unsigned se_perm(uint64_t e, unsigned mode) { return (e >> (SE_PERM + 3 * mode)) & 7; }
static inline gpa_t se_gpa(uint64_t e) { return e & PAGE_MASK; }
static inline unsigned perm_for(enum mmu_access a) { return a == MMU_READ ? MP_R : a == MMU_WRITE ? MP_W : MP_X; }
static inline uint32_t gen_fresh(struct mmu_shared *m) { return m->gen_next += m->gen_next == UINT32_MAX ? 2 : 1; }

/* Empties the region descriptors of one vCPU; first: where to begin (n_regions: only those for stores). */
static inline void regions_drop_own(struct mmu *v, unsigned first)
{
    if (!v->regions || !__atomic_load_n(v->regions_live, __ATOMIC_RELAXED))
        return;
    if (!first)                        /* before the lengths: emitted code may fill one meanwhile and say so */
        __atomic_store_n(v->regions_live, 0, __ATOMIC_SEQ_CST);
    for (unsigned i = first; i < 2 * v->n_regions; i++)
        for (unsigned j = 0; j < MEM_REGION_LENS; j++)
            __atomic_store_n(&v->regions[i].len[j], 0, __ATOMIC_RELAXED);
}

/* Of all vCPUs. The lock is held, or nobody else runs. */
static inline void regions_drop(struct mmu_shared *m, bool stores_only)
{
    for (unsigned i = 0; i < m->n_vcpus; i++)
        regions_drop_own(m->vcpu[i], stores_only ? m->vcpu[i]->n_regions : 0);
}

/* The lock is held; walks read it without. */
static inline void drop_seq_next(struct mmu_shared *m) { __atomic_store_n(&m->drop_seq, m->drop_seq + 1, __ATOMIC_RELAXED); }

/* The page holding GPA if it is known RAM or ROM. */
static inline struct ram_run *run_find(struct mmu_shared *m, gpa_t gpa)
{
    for (unsigned i = 0; i < m->n_runs; i++)
        if (gpa >= m->runs[i].start && gpa < m->runs[i].end)
            return &m->runs[i];
    return NULL;
}

/* A hint word: five TLB indices of 12 bits, their number in bits 60..62, "there are more" in bit 63. */
static inline void hint_add(uint64_t *h, unsigned idx)
{
    unsigned n = (*h >> 60) & 7;
    for (unsigned i = 0; i < n; i++)
        if (((*h >> (i * 12)) & 4095) == idx)
            return;
    if (n < 5)
        *h = (*h | (uint64_t)idx << (n * 12)) + BIT(60);
    else
        *h |= BIT(63);
}

/* The shadow leaf that translates VA in S, or 0; *leaf_sp is the page that holds it. Marks it as used by S. */
static inline uint64_t shadow_lookup(struct mmu_shared *m, struct space *s, gva_t va, struct shadow_page **leaf_sp)
{
    struct shadow_page *sp = NULL;
    for (unsigned i = 0; i < s->n_slots; i++)
        if ((va >> s->slot[i].shift) == s->slot[i].tag)
            sp = s->slot[i].sp;
    while (sp) {
        uint64_t e = sp->e[sp_index(sp, va)];
        if (!e)
            return 0;
        if (sp->pt->flood)                 /* stores that change nothing would take the line from other vCPUs */
            sp->pt->flood = 0;
        if (!(e & SE_CHILD)) {
            if (!(sp->as_mask & BIT(s - m->spaces)))
                sp->as_mask |= BIT(s - m->spaces);
            *leaf_sp = sp;
            return e;
        }
        sp = se_child(e);
    }
    return 0;
}

/* Shadow only: gpa of VA's 4 KiB page and permissions of MODE. FETCH: the answer is for code. */
static inline bool shadow_xlat(struct mmu_shared *m, struct space *s, gva_t va, unsigned mode, gpa_t *gpa, unsigned *perm, bool fetch)
{
    if (s->flat) {
        unsigned i = (va >> PAGE_BITS) & (N_FLAT - 1);
        if (m->flat[i].va != (va & PAGE_MASK))
            return false;
        *gpa = m->flat[i].gpa;
        *perm = MP_R | MP_W | MP_X;
        return true;
    }
    struct shadow_page *sp;
    uint64_t e = shadow_lookup(m, s, va, &sp);
    if (!e)
        return false;
    *gpa = se_gpa(e) + (va & (BIT(sp->bits) - 1) & PAGE_MASK);
    *perm = se_perm(e, mode);
    if (fetch && *perm & MP_X)
        sp->e[sp_index(sp, va)] = e | SE_FETCHED;
    return true;
}

/* Installs VA in vCPU V's TLB of MODE (if that table exists). The caller has the lock. */
static inline void tlb_fill(struct space *s, unsigned v, gva_t va, unsigned mode, unsigned perm, struct ram_run *r, gpa_t gpa)
{
    struct tlb_entry *t = s->tlb[v][mode];
    if (!t)
        return;
    unsigned i = tlb_index(va);
    uint64_t page = (gpa - r->start) >> PAGE_BITS;
    bool w = (perm & MP_W) && !r->rom && !__atomic_load_n(&r->track[page], __ATOMIC_SEQ_CST);
    t[i].host = r->host + (page << PAGE_BITS);
    t[i].page_id = (uintptr_t)&r->track[page];
    t[i].tag_r = perm & MP_R ? va & PAGE_MASK : tlb_invalid(i);
    t[i].tag_w = w ? va & PAGE_MASK : tlb_invalid(i);
    if (w)
        hint_add(&r->hint[page], i);
}

/* The same for the page's own vCPU, which may have been given a tiny TLB: then the oldest page goes, and now and then the descriptors. */
static inline void tlb_install(struct mmu *m, gva_t va, unsigned mode, unsigned perm, struct ram_run *r, gpa_t gpa)
{
    if (unlikely(m->n_tiny) && m->cur->tlb[m->id][mode]) {
        unsigned at = m->at_tiny++ % m->n_tiny, i = m->tiny[at].i;
        struct tlb_entry *e = m->tiny[at].e;
        if (e) {
            __atomic_store_n(&e->tag_r, tlb_invalid(i), __ATOMIC_RELAXED);
            __atomic_store_n(&e->tag_w, tlb_invalid(i), __ATOMIC_RELAXED);
        }
        if (m->at_tiny % 8 == 0)
            regions_drop_own(m, 0);
        m->tiny[at].i = tlb_index(va);
        m->tiny[at].e = &m->cur->tlb[m->id][mode][tlb_index(va)];
    }
    tlb_fill(m->cur, m->id, va, mode, perm, r, gpa);
}

/* mmu.c */
void tlbs_reset(struct mmu_shared *, struct space *);       /* of all vCPUs */
void mmu_resolve(struct mmu *);                              /* unlocked; vCPU */
void gens_sync(struct mmu_shared *);
static inline bool is_upper_half(const struct shadow_page *sp) { return sp->tag && sp->entry_size == 8 && sp->shift >= 48; }
void space_join_group(struct mmu_shared *, struct space *, const struct shadow_page *);
void space_leave_group(struct mmu_shared *, struct space *);
void flush_locked(struct mmu_shared *);                      /* all TLBs, shadow pages and flat translations; fresh generations */

/* refill.c */
void mmu_forget_root(struct mmu *);                   /* [regs] */

/* shadow.c */
bool shadow_insert_locked(struct mmu_shared *, struct space *, gva_t va, const struct mmu_walk *);   /* false: not cacheable */
void shadow_pt_write_locked(struct mmu_shared *, struct pt_page *, unsigned off, unsigned len);
void shadow_zap_all_locked(struct mmu_shared *);
void shadow_zap_context_locked(struct mmu_shared *, unsigned context);
void shadow_make_room_locked(struct mmu_shared *);

/* settle.c */
uint64_t epoch_new_locked(struct mmu_shared *);       /* of an event; 0: there is one vCPU, nothing to settle */
bool epoch_settled(const struct mmu_shared *, uint64_t epoch);
void settle_locked(struct mmu_shared *);              /* track.c: look at all pages that are not settled; ordinary C */

/* track.c */
bool run_learn(struct mmu_shared *, gpa_t gpa, struct ram_run *);   /* takes the lock; false: not a whole page of RAM or ROM */
extern __thread bool mmu_walking;                    /* this thread runs ops->walk: the writes it makes are A and D bits */
struct ram_run *run_learn_locked(struct mmu_shared *, gpa_t gpa);   /* NULL: not a whole page of RAM or ROM; good while the lock is held */
bool pt_track_locked(struct mmu_shared *, gpa_t entry, bool *fresh);   /* false: no RAM there */
struct pt_page *pt_find_locked(struct mmu_shared *, const uint8_t *track);
void pt_free_locked(struct mmu_shared *, struct pt_page *);
void page_track_locked(struct mmu_shared *, uint8_t *track, unsigned bit);
void tlb_drop_page(struct mmu_shared *, uint64_t as_mask, gva_t va);
void tlb_drop_range(struct mmu_shared *, uint64_t as_mask, gva_t va, unsigned bits);
void track_write_hook(void *mmu, gpa_t addr, size_t len, unsigned track);
void track_written(struct mmu_shared *, const struct xlat *, unsigned off, unsigned len);
void track_store(struct mmu_shared *, const struct xlat *, unsigned off, const void *buf, unsigned len);

/* code.c */
/* Of LEN bytes stored at OFF of a page: tells the translator if they overlap code. OLD/NEW (may be NULL: all differ) limit it to changed bytes. */
void code_store(struct mmu_shared *, uint8_t *track, unsigned off, unsigned len, const uint8_t *old, const uint8_t *new);
void code_free_all(struct mmu_shared *);
#endif
