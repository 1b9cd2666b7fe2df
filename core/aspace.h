/*
 * One map type for guest-physical memory and for I/O ports: non-overlapping regions by address, looked up by binary search in an
 * immutable, RCU-like sorted array that is replaced as a whole on change (readers never lock).
 *
 * RAM is one host mapping per region. For RAM pages a byte of tracking says why a write must be noticed
 * (translated code, guest page tables, dirty logging); every writer that is not translated code goes through as_write/as_dma_write, which call
 * the write hook when the byte is set. Devices are called with the machine lock held (as_* takes it when the caller does not have it).
 * DMA reaches RAM only: a device address that is not RAM reads ones / is dropped, and is reported by -d guest.
 */
#ifndef CORE_ASPACE_H
#define CORE_ASPACE_H
#include "core/counters.h"
#include "core/types.h"

enum region_kind { REGION_RAM, REGION_ROM, REGION_IO };
enum { TRACK_CODE = 1, TRACK_PT = 2, TRACK_DIRTY = 4 };

/*
 * A write that only asks a device to look at its queue. An engine may take it without leaving the guest: it then rings on the event loop's thread
 * with the machine lock held, a little later. For every other engine it is a write to the region, unless the device takes it without the machine
 * lock, to look later, on a thread of its own. Set before the region is in the map.
 */
struct doorbell {
    struct doorbell *next;                     /* of the region's */
    uint64_t offset; unsigned size;            /* the write's offset in the region, and its width */
    bool match; uint64_t value;                /* only writes of this value */
    void (*ring)(void *opaque, unsigned n); void *opaque; unsigned n;
    bool (*take)(void *opaque, unsigned n);    /* no lock is held; false: it must be written after all */
    int fd;                                    /* the engine's event, once it has one; 0: none yet */
};

struct region {
    enum region_kind kind;
    gpa_t base; uint64_t size;                 /* set by as_add; size in bytes */
    const char *name;
    uint8_t *host;                             /* RAM, ROM */
    uint8_t *track;                            /* RAM, ROM: one byte a page (atomic or/and); IO: of the RAM that its writes go to, or NULL */
    /* IO: size is 1, 2, 4 or 8; offset is relative to the region; the value is zero-extended. Accesses wider than max_size or not
       aligned are split by as_read/as_write into bytes or max_size pieces, in ascending order. */
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, uint64_t val, unsigned size);
    void *opaque;
    unsigned max_size;                         /* IO: 0 means 4 */
    struct doorbell *doorbells;                /* IO: may be NULL */
    bool enabled;                              /* is it in the map now */
    bool cpu_only;                             /* seen by processors alone: not in as_next_run, not for DMA */
    bool no_lock;                              /* IO: callbacks need no machine lock (local APIC page) */
};

struct aspace;
struct aspace *as_new(const char *name, unsigned addr_bits);    /* 16 for ports, 46 for memory */
void as_free(struct aspace *);
/* Put a region in the map; later regions win where they overlap earlier ones (priority = order of enabling). Takes the caller's struct (not copied). */
void as_add(struct aspace *, struct region *, gpa_t base, uint64_t size);
void as_remove(struct aspace *, struct region *);
void as_move(struct aspace *, struct region *, gpa_t base);     /* BAR programming */
/* RAM/ROM helper: fills host and track (lazily backed host memory) and adds the region. 0 or -ENOMEM. */
int as_add_ram(struct aspace *, struct region *, const char *name, gpa_t base, uint64_t size, enum region_kind kind);
/* A second window onto part of a RAM region's bytes (RAM above the PCI hole is its own region; BIOS alias under 1 MiB uses this). */
void as_add_alias(struct aspace *, struct region *alias, const char *name, struct region *ram, uint64_t ram_off, gpa_t base, uint64_t size);

/* The region holding ADDR, or NULL; *off is the offset within it, *run the bytes left in this mapped run (an overlaid region's run ends early). */
struct region *as_find(struct aspace *, gpa_t addr, uint64_t *off, uint64_t *run);

/* The flat view, a run at a time: the first run that ends after FROM. False: there is none. Adjacent runs of one region are one. */
struct as_run { gpa_t start; uint64_t size; struct region *region; uint64_t off; };
bool as_next_run(struct aspace *, gpa_t from, struct as_run *out);
bool as_next_run_of_cpu(struct aspace *, gpa_t from, struct as_run *);      /* the regions that processors alone see among them */

/* CPU accesses, any size 1..8, any alignment, may cross regions. Nothing there: reads ones, writes are dropped (-d guest). */
uint64_t as_read(struct aspace *, gpa_t addr, unsigned size);
void as_write(struct aspace *, gpa_t addr, uint64_t val, unsigned size);

/* This thread is in a device's callback, called by one of these: what is written now is written by a device. */
bool as_in_device(void);

/* Device accesses to RAM, any length. Return 0, or -EFAULT when some part is not RAM (that part read as ones / not written). */
int as_dma_read(struct aspace *, gpa_t addr, void *buf, size_t len);
int as_dma_write(struct aspace *, gpa_t addr, const void *buf, size_t len);
/* Host pointer to a run of RAM for device I/O (iovecs): bytes usable in *len (<= asked). NULL when not RAM. After writing through
   it the device calls as_dma_dirty for what it wrote. */
void *as_dma_ptr(struct aspace *, gpa_t addr, size_t *len, bool write);
void as_dma_dirty(struct aspace *, gpa_t addr, size_t len);
void as_cpu_dirty(struct aspace *, gpa_t addr, size_t len);     /* ... a processor, of its own structures there */
/* Loader only: writes RAM and ROM alike. */
int as_load(struct aspace *, gpa_t addr, const void *buf, size_t len);

/* Two machines in lock-step (vmm/lockstep.c), or a trace (vmm/devtrace.c), listen here. access: after a CPU access that is neither to RAM nor to ROM; a read yields what it returns.
   dirty: bytes of RAM were written by as_*, or by the CPU to a page with TRACK_DIRTY; dma: by a device or a loader. At most one; NULL: none. */
struct as_tap {
    uint64_t (*access)(void *opaque, gpa_t addr, uint64_t val, unsigned size, bool write);
    void (*dirty)(void *opaque, gpa_t addr, size_t len, bool dma);
    void *opaque;
};
void as_set_tap(struct aspace *, const struct as_tap *);
bool as_has_tap(const struct aspace *);
void as_tell_dirty(struct aspace *, gpa_t addr, size_t len, bool dma);

/* Hook called after a write to a page whose track byte is set (bits passed); at most one user: the softmmu. */
void as_set_write_hook(struct aspace *, void (*hook)(void *opaque, gpa_t addr, size_t len, unsigned track), void *opaque);
/* Topology listeners (softmmu flushes, kvm re-slots): called after each change of the map. */
void as_on_change(struct aspace *, void (*cb)(void *opaque), void *opaque);
static inline void region_track_set(struct region *r, uint64_t off, unsigned bits) { __atomic_or_fetch(&r->track[off >> PAGE_BITS], (uint8_t)bits, __ATOMIC_SEQ_CST); }
static inline void region_track_clear(struct region *r, uint64_t off, unsigned bits) { __atomic_and_fetch(&r->track[off >> PAGE_BITS], (uint8_t)~bits, __ATOMIC_SEQ_CST); }

/* The machine lock that IO callbacks run under (recursive for the owner thread). */
void machine_lock(void);
void machine_unlock(void);
bool machine_lock_held(void);
/* Call CB when this thread gives the lock back, once, however often asked. False: it does not hold it, or too much is to be called already. */
bool machine_unlocked(void (*cb)(void *opaque), void *opaque);
const union counters *machine_counters(void);       /* waits for it */
#endif
