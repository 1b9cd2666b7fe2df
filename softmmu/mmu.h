/*
 * Guest virtual to host. Per vCPU one struct mmu; per machine a set of address spaces (one per root: CR3 with PCID, paging mode and the control
 * bits that change what entries mean), each with TLBs per vCPU and mode, over shadow page tables shared between address spaces. Shadow pages mirror guest page-table pages, keyed by (guest-physical
 * page, level, format, base va), filled on demand by ops->walk and kept coherent by tracking: a guest page-table page gets TRACK_PT,
 * so stores to it take the slow path, and the entries that the store changes are dropped (from the TLBs too). Hence changing
 * the root switches a pointer, and INVLPG of a coherent entry does nothing.
 *
 * This room sees no guest: the guest's page-table format is in struct mmu_ops.
 * Functions marked [regs] are compiled general-regs-only and may run while the guest owns the FPU; the others only after tcg_fpu_save.
 */
#ifndef SOFTMMU_MMU_H
#define SOFTMMU_MMU_H
#include "core/aspace.h"
#include "core/counters.h"
#include "softmmu/tlb.h"

enum mmu_access { MMU_READ = 0, MMU_WRITE = 1, MMU_EXEC = 2 };
#define MMU_MODES 3                  /* the guest numbers them; x86: 0 supervisor, 1 supervisor with user pages barred (SMAP), 2 user */

enum { MP_R = 1, MP_W = 2, MP_X = 4 };   /* permissions of one mode on one page */

/* What a guest walk found. Entries are listed from the root (level n_entries-1) to the leaf (0). */
struct mmu_walk {
    gpa_t gpa;                       /* of the 4 KiB page that holds va */
    unsigned page_bits;              /* size of the guest mapping: 12, 21, 22, 30; 64 when paging is off. Without entries: not to be kept; 0: holds for this root */
    uint8_t perm[MMU_MODES];         /* MP_ bits, all levels combined, by mode; W only if the dirty bit is (now) set */
    bool global;
    unsigned n_entries;
    gpa_t entry[6];                  /* guest-physical addresses of the page-table entries used: what must be tracked */
    uint8_t entry_bits[6];           /* va bits below which this entry's table is indexed: 12, 21, 30, 39, 48 (22 for 32-bit) */
    unsigned entry_size;             /* 4 or 8 bytes */
    unsigned context;                /* what else the translation rests on: shadow pages of different contexts are never shared */
};

struct mmu_ops {
    /* Walk for one access by mode; sets A (and D for MMU_WRITE) bits in guest memory as the processor does.
       0, or -1 with the fault recorded in the guest CPU by the guest's own rules (CR2, error code) but not yet raised. */
    int (*walk)(void *cpu, gva_t va, enum mmu_access, unsigned mode, struct mmu_walk *out);
    /* As walk, but touches nothing and records nothing (debugger, code prefetch of the translator). 0 or -1. */
    int (*peek)(void *cpu, gva_t va, struct mmu_walk *out);
    /* Raise the recorded fault: unwinds, does not return. */
    void (*raise)(void *cpu) __attribute__((noreturn));
    uint64_t (*root)(void *cpu);     /* identifies the address space: root address, PCID, format; 0 when paging is off */
    unsigned (*mode)(void *cpu);     /* current data access mode */
    /* An access over a page's end has LAST as its last byte: 0, or -1 with a fault recorded that comes before its pages'. NULL: never. */
    int (*reach)(void *cpu, gva_t last);
    bool (*wraps)(void *cpu);        /* linear addresses have 32 bits now: an access goes on from their end at 0. NULL: never */
};

struct mmu;
struct tcg_env;

/* tlb_word: where the current TLB pointer is kept for translated code; gen_words: two code generations (tcg_env.code_gen). peer: another vCPU of
   this machine, NULL for the first. NULL: too many. */
struct mmu *mmu_new(void *cpu, const struct mmu_ops *, struct aspace *mem, struct mmu *peer, struct tlb_entry **tlb_word, uint32_t *gen_words);
void mmu_free(struct mmu *);

/* The translator's region descriptors: n for loads, then n for stores. Emitted code may fill one from a TLB entry by itself, setting *live;
   DMA to page tables on another thread may race with that, so INVLPG and root changes empty them, as they would a TLB. */
void mmu_set_regions(struct mmu *, struct mem_region *, unsigned n, uint64_t *live);
/* [regs] Make REGION serve an access by mode; the run around va that is one stretch of host memory: NULL when va is no plain RAM now.
   A region filled in a supervisor mode only covers pages that user mode cannot touch, so it holds in modes 0 and 1. */
void *mmu_region_fill(struct mmu *, gva_t va, unsigned size, bool write, struct mem_region *);

/* ---- guest events ---- */
void mmu_set_root(struct mmu *);                    /* [regs] root may have changed: ops->root is asked; same root is nearly free */
void mmu_set_mode(struct mmu *);                    /* [regs] privilege or AC changed: ops->mode is asked, tlb_word switched */
void mmu_flush_all(struct mmu *);                   /* control bits changed that alter the meaning of entries (WP, SMEP, SMAP, NXE, PSE, PAE, PKE) or memory map changed */
void mmu_drop_context(struct mmu *, unsigned context);      /* what a context rests on (tables that are not tracked) has changed */
void mmu_flush_page(struct mmu *, gva_t va);        /* INVLPG: entries are coherent, so only what is not tracked is dropped */

/* Stress: the TLB keeps at most N pages (up to MMU_TINY_MOST; 0: as many as it has entries). */
#define MMU_TINY_MOST 16
void mmu_set_tiny(struct mmu *, unsigned n);

/* ---- accesses; size 1..8 bytes (mem: any), any alignment; faults go to ops->raise ---- */
/* [regs] Fast refill: host address for va if the page is plain RAM reachable now (installing it in the TLB), else NULL and nothing happened.
   Covers shadow hits; an access that crosses a page returns NULL. */
void *mmu_refill(struct mmu *, gva_t va, unsigned size, enum mmu_access);
/* Host address if [va, va+size) is plain RAM for that access in one page, NULL when it needs mmu_ld/mmu_st (MMIO, crossing, tracked); faults raise. */
void *mmu_probe(struct mmu *, gva_t va, unsigned size, enum mmu_access);
uint64_t mmu_ld(struct mmu *, gva_t va, unsigned size);
void mmu_st(struct mmu *, gva_t va, uint64_t val, unsigned size);
/* One store of up to 64 bytes: it goes where its pages were when it began, even if it changes the tables that say so. */
void mmu_st_wide(struct mmu *, gva_t va, const void *buf, unsigned size);
/* A read-modify-write on a page where mmu_probe finds no plain RAM: the host address when it is tracked RAM all the same (then mmu_rmw_end follows
   the access, which may be atomic), NULL when it is MMIO or ROM or crosses the page. May unwind, as a store to code does. */
void *mmu_rmw_begin(struct mmu *, gva_t va, unsigned size);
void mmu_rmw_end(struct mmu *, unsigned size);
/* Explicit mode (supervisor accesses to descriptor tables from user mode: mode 0). Nothing is written if any page faults. */
void mmu_ld_mem(struct mmu *, gva_t va, void *buf, size_t len, unsigned mode);
void mmu_st_mem(struct mmu *, gva_t va, const void *buf, size_t len, unsigned mode);
/* Fault now if [va, va+len) is not accessible so; else nothing. */
void mmu_check(struct mmu *, gva_t va, size_t len, enum mmu_access, unsigned mode);
/* Debugger and log: no faults, no A/D. 0 or -1. */
int mmu_peek_mem(struct mmu *, gva_t va, void *buf, size_t len);

/* ---- code ---- */
/* Host address of the 4 KiB guest page holding va for instruction fetch in the current mode and its guest-physical address; NULL when it is not RAM/ROM
   (*gpa still set). Faults raise. */
const uint8_t *mmu_code_page(struct mmu *, gva_t va, gpa_t *gpa);
/* [regs] Same from shadow/TLB only: false when not known (caller leaves for the slow way). */
bool mmu_code_gpa_fast(struct mmu *, gva_t va, gpa_t *gpa);
/* Stores to bytes of code. The translator registers ranges; a store (CPU or DMA) that overlaps a registered byte range and changes it calls
   invalidate(opaque, gpa, len) BEFORE the new bytes are visible to translated code. Pages without ranges lose TRACK_CODE. */
/* Its number: stores that began before it may come unnoticed until mmu_settled says that none can be left (0: there are none). */
uint64_t mmu_code_add(struct mmu *, gpa_t gpa, unsigned len);
void mmu_code_forget_page(struct mmu *, gpa_t page);
void mmu_on_code_write(struct mmu *, void (*invalidate)(void *opaque, gpa_t gpa, unsigned len), void *opaque);

/* ---- other vCPUs (settle.c), [regs] ---- */
void mmu_quiesce(struct mmu *);                     /* this vCPU is not inside an access, nor in code that relies on a check made before */
void mmu_set_poll(struct mmu *, uint32_t *word);    /* setting WORD makes the vCPU come to its mmu_quiesce soon */
void mmu_outside(struct mmu *);                     /* ... and will not be before its next mmu_quiesce */
bool mmu_settled(const struct mmu *, uint64_t epoch);

const union counters *mmu_counters(const struct mmu *);          /* the vCPU's own */
const union counters *mmu_shared_counters(const struct mmu *);   /* the machine's: shadow_drops, root_new, tlb_flushes, tracked_pages */
bool mmu_is_walking(void);                               /* this thread walks the guest's tables */
uint64_t mmu_tracked_pages(const struct mmu *);          /* [regs] how often a page was tracked, by anybody */
#endif
