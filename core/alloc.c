/*
 * Allocation that cannot fail, lazily backed maps, and arenas (core/alloc.h).
 *
 * Sizes never come from a guest unchecked, so running out here means that the host is out of memory: the process says so and aborts.
 * xmap is the exception: guest RAM may honestly be larger than the host can give, so it returns NULL and the caller reports.
 * Large maps are aligned to 2 MiB, so that the host kernel can back them by large pages.
 */
#define _GNU_SOURCE
#include "core/alloc.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_ALIGN (2u << 20)

static void *check(void *p, size_t n)
{
    if (!p && n) {
        fprintf(stderr, "duet: out of memory (%zu bytes)\n", n);
        abort();
    }
    return p;
}

void *xmalloc(size_t n) { return check(malloc(n), n); }
void *xzalloc(size_t n) { return check(calloc(1, n), n); }
void *xrealloc(void *p, size_t n) { return check(realloc(p, n), n); }

char *xstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(xmalloc(n), s, n);
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        s = NULL;
    va_end(ap);
    return check(s, 1);
}

static void *map_raw(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void *xmap(size_t n)
{
    n = (n + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
    if (n < HUGE_ALIGN)
        return map_raw(n ? n : PAGE_SIZE);
    char *p = n <= SIZE_MAX / 2 ? map_raw(n + HUGE_ALIGN) : NULL;
    if (!p)
        return NULL;
    size_t head = -(uintptr_t)p & (HUGE_ALIGN - 1);
    if (head)
        munmap(p, head);
    if (head < HUGE_ALIGN)
        munmap(p + head + n, HUGE_ALIGN - head);
    return p + head;
}

void arena_init(struct arena *a, size_t cap)
{
    a->base = check(xmap(cap), cap);
    a->used = 0;
    a->cap = cap;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t need = (n + 15) & ~(size_t)15;
    void *p = a->base + a->used;

    assert(need >= n && need <= a->cap - a->used);
    a->used += need;
    return p;
}
