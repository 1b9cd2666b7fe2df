/* The data TLB's layout: what translated code probes inline. */
#ifndef SOFTMMU_TLB_H
#define SOFTMMU_TLB_H
#include "core/types.h"

#define TLB_BITS 12                 /* entries a mode */
#define TLB_ENTRIES (1u << TLB_BITS)

/*
 * Index i of va: (va >> 12) & (TLB_ENTRIES - 1). The probe is (va ^ tag) <= 4096 - size, which leaves the offset in the page:
 * tag == (va & PAGE_MASK) when that access may go straight to host memory at host + (va & 4095).
 * An invalid tag must differ from every va of ITS index, so it depends on the index: tlb_invalid(i).
 * Not valid (slow path): MMIO, ROM writes, pages with a track byte for writes, pages whose D bit is clear for writes.
 */
struct tlb_entry {
    uint64_t tag_r, tag_w;
    uint8_t *host;                  /* host address of the page (not an addend) */
    uint64_t page_id;               /* softmmu's own: identifies the RAM page */
};
/*
 * Region descriptors, for latency: an access at va is (va - start) < len, then host memory at va + addend: the addend does not depend on the address.
 * There is a length for each class of accesses, smaller than the bytes there are by what the access may reach beyond its first byte: up to 8
 * bytes, 16, 32, and 64, which is for groups of accesses, too. The translator keeps several descriptors, by use (which base register, load
 * or store) and privilege; the softmmu fills one at a time and empties all of them (len = 0) whenever a translation they may rest on goes,
 * or a page in a writable one is to be tracked.
 */
#define MEM_REGION_SPAN 64
#define MEM_REGION_LENS 4
struct mem_region { uint64_t start, addend, len[MEM_REGION_LENS]; };
static inline unsigned mem_region_len(unsigned bytes) { return bytes <= 8 ? 0 : bytes <= 16 ? 1 : bytes <= 32 ? 2 : 3; }
static inline unsigned mem_region_slack(unsigned i) { return (8u << i) - 1; }

static inline unsigned tlb_index(uint64_t va) { return (va >> PAGE_BITS) & (TLB_ENTRIES - 1); }
static inline uint64_t tlb_invalid(unsigned i) { return (uint64_t)(i ^ 1) << PAGE_BITS; }
#endif
