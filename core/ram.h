/*
 * Guest RAM as the program's own code reaches it. The guest's other processors, devices and workers may change or read it at the same time, as on a
 * machine, so scalars are single accesses, and longer pieces are made of such: what was seen may be partly new, never anything else.
 * General registers only. Disk and network buffers are copied by memcpy (as_dma_*): what a device sees of a buffer that changes is the guest's
 * affair.
 */
#ifndef CORE_RAM_H
#define CORE_RAM_H
#include "core/types.h"

typedef uint16_t ram16 __attribute__((aligned(1), may_alias));
typedef uint32_t ram32 __attribute__((aligned(1), may_alias));
typedef uint64_t ram64 __attribute__((aligned(1), may_alias));

/* 1, 2, 4 or 8 bytes. */
static inline uint64_t ram_load(const void *p, unsigned size)
{
    switch (size) {
    case 1: return __atomic_load_n((const uint8_t *)p, __ATOMIC_RELAXED);
    case 2: return __atomic_load_n((const ram16 *)p, __ATOMIC_RELAXED);
    case 4: return __atomic_load_n((const ram32 *)p, __ATOMIC_RELAXED);
    default: return __atomic_load_n((const ram64 *)p, __ATOMIC_RELAXED);
    }
}

static inline void ram_store(void *p, uint64_t v, unsigned size)
{
    switch (size) {
    case 1: __atomic_store_n((uint8_t *)p, (uint8_t)v, __ATOMIC_RELAXED); break;
    case 2: __atomic_store_n((ram16 *)p, (uint16_t)v, __ATOMIC_RELAXED); break;
    case 4: __atomic_store_n((ram32 *)p, (uint32_t)v, __ATOMIC_RELAXED); break;
    default: __atomic_store_n((ram64 *)p, v, __ATOMIC_RELAXED); break;
    }
}

/* The widest scalar that N bytes begin with. */
static inline unsigned ram_piece(size_t n) { return n >= 8 ? 8 : n >= 4 ? 4 : n >= 2 ? 2 : 1; }

static inline void ram_read(void *to, const void *ram, size_t n)
{
    for (unsigned k; n; n -= k, to = (char *)to + k, ram = (const char *)ram + k) {
        k = ram_piece(n);
        uint64_t v = ram_load(ram, k);
        __builtin_memcpy(to, &v, k);
    }
}

static inline void ram_write(void *ram, const void *from, size_t n)
{
    for (unsigned k; n; n -= k, from = (const char *)from + k, ram = (char *)ram + k) {
        uint64_t v = 0;
        k = ram_piece(n);
        __builtin_memcpy(&v, from, k);
        ram_store(ram, v, k);
    }
}

static inline bool ram_same(const void *ram, const void *as, size_t n)
{
    for (unsigned k; n; n -= k, as = (const char *)as + k, ram = (const char *)ram + k) {
        uint64_t v = 0;
        k = ram_piece(n);
        __builtin_memcpy(&v, as, k);
        if (ram_load(ram, k) != v)
            return false;
    }
    return true;
}
#endif
