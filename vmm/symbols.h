/* Names of addresses: an ELF file's functions, or a list as the Linux kernel's System.map and /proc/kallsyms. */
#ifndef VMM_SYMBOLS_H
#define VMM_SYMBOLS_H
#include "core/types.h"

struct symbols;

/* BIAS is added to all addresses. NULL when the file is neither, or has no symbols: after one line on stderr that names OPTION, unless that
   is NULL. */
struct symbols *symbols_load(const char *path, uint64_t bias, const char *option);
void symbols_free(struct symbols *);
/* The function that ADDR is in, by size where that is known, else the nearest before it; *off: how far in. NULL: none. S may be NULL. */
const char *symbols_find(const struct symbols *s, uint64_t addr, uint64_t *off);
#endif
