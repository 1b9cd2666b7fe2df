/* Scalar types and tiny bit helpers used in every room. */
#ifndef CORE_TYPES_H
#define CORE_TYPES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t gva_t;          /* guest virtual (linear) address */
typedef uint64_t gpa_t;          /* guest physical address, or a port in the I/O space */

#define PAGE_BITS 12
#define PAGE_SIZE 4096u
#define PAGE_MASK (~(uint64_t)4095)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define BIT(n) (1ull << (n))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* All ones in the low SIZE bytes (1, 2, 4, 8). */
static inline uint64_t size_mask(unsigned size) { return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1; }

/* Sign-extend the low SIZE bytes of V. */
static inline int64_t sign_extend(uint64_t v, unsigned size)
{
    unsigned s = 64 - size * 8;
    return (int64_t)(v << s) >> s;
}
#endif
