/* Allocation that cannot fail (aborts with a message), and arenas for passes that free everything at once. */
#ifndef CORE_ALLOC_H
#define CORE_ALLOC_H
#include "core/types.h"

void *xmalloc(size_t n);
void *xzalloc(size_t n);                        /* zeroed */
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void *xmap(size_t n);                           /* zeroed, page aligned, lazily backed (mmap NORESERVE); NULL when impossible */

struct arena { char *base; size_t used, cap; };
void arena_init(struct arena *a, size_t cap);
void *arena_alloc(struct arena *a, size_t n);   /* 16-byte aligned, not zeroed; asserts on overflow */
static inline void arena_reset(struct arena *a) { a->used = 0; }
#endif
