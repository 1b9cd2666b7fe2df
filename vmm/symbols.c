/*
 * Symbol tables (vmm/symbols.h). In: a file, not trusted: every offset is checked against its length. Out: functions in order of address.
 * Manual: System V ABI, "Symbol Table"; the kernel's list has lines `address type name [module]`, of which types t T w W are code.
 */
#include "vmm/symbols.h"
#include "core/alloc.h"
#include "core/log.h"
#include "vmm/boot.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST (1024ull << 20)
#define REACH 65536                            /* of a symbol without a size */
enum { SHT_SYMTAB = 2, STT_NOTYPE = 0, STT_FUNC = 2, SHF_EXEC = 4 };

struct symbol { uint64_t addr, size; const char *name; };
struct symbols { struct image im; struct symbol *at; size_t n, cap; };

static void add(struct symbols *s, uint64_t addr, uint64_t size, const char *name)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 1024;
        s->at = xrealloc(s->at, s->cap * sizeof(*s->at));
    }
    s->at[s->n++] = (struct symbol){ addr, size, name };
}

static int by_address(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;
    return x->addr < y->addr ? -1 : x->addr > y->addr ? 1 : x->size < y->size ? -1 : x->size > y->size;
}

/* ---- ELF ---- */

struct section { uint32_t type, link; uint64_t flags, off, size; };

static bool get_section(const struct image *im, unsigned i, struct section *s)
{
    const uint8_t *d = im->data;
    bool is64 = d[4] == 2;
    uint64_t off = is64 ? get64(d + 40) : get32(d + 32);
    unsigned n = get16(d + (is64 ? 60 : 48)), size = get16(d + (is64 ? 58 : 46));

    if (i >= n || size < (is64 ? 64 : 40) || off > im->len || (uint64_t)n * size > im->len - off)
        return false;
    d += off + (uint64_t)i * size;
    *s = is64 ? (struct section){ get32(d + 4), get32(d + 40), get64(d + 8), get64(d + 24), get64(d + 32) }
              : (struct section){ get32(d + 4), get32(d + 24), get32(d + 8), get32(d + 16), get32(d + 20) };
    return s->type == 8 /* no bits in the file */ || (s->off <= im->len && s->size <= im->len - s->off);
}

static void add_elf(struct symbols *s, const struct section *tab, uint64_t bias)
{
    const struct image *im = &s->im;
    bool is64 = im->data[4] == 2;
    unsigned size = is64 ? 24 : 16;
    struct section names, in;

    if (!get_section(im, tab->link, &names) || !names.size || im->data[names.off + names.size - 1])
        return;
    for (uint64_t at = 0; at + size <= tab->size; at += size) {
        const uint8_t *d = im->data + tab->off + at;
        unsigned type = d[is64 ? 4 : 12] & 15, index = get16(d + (is64 ? 6 : 14));
        uint32_t name = get32(d);
        if (name >= names.size || !im->data[names.off + name] || (type != STT_FUNC && type != STT_NOTYPE))
            continue;
        if (type == STT_NOTYPE && (!get_section(im, index, &in) || !(in.flags & SHF_EXEC)))
            continue;                          /* labels of assembly are functions too */
        if (index)
            add(s, (is64 ? get64(d + 8) : get32(d + 4)) + bias, is64 ? get64(d + 16) : get32(d + 8), (const char *)im->data + names.off + name);
    }
}

static void read_elf(struct symbols *s, uint64_t bias)
{
    struct section sec;
    for (unsigned i = 0; get_section(&s->im, i, &sec); i++)
        if (sec.type == SHT_SYMTAB)
            add_elf(s, &sec, bias);
}

/* ---- a list ---- */

static void read_list(struct symbols *s, uint64_t bias)
{
    char *text = (char *)s->im.data, *end = text + s->im.len, *next;

    for (char *line = text; line < end; line = next) {
        char *stop = memchr(line, '\n', (size_t)(end - line)), *p;
        if (!stop)
            return;                            /* nothing ends the last name */
        *stop = 0;
        next = stop + 1;
        uint64_t addr = strtoull(line, &p, 16);
        if (p == line || p[0] != ' ' || !p[1] || p[2] != ' ' || !strchr("tTwW", p[1]))
            continue;
        p[3 + strcspn(p + 3, " \t\r")] = 0;
        add(s, addr + bias, 0, p + 3);
    }
}

struct symbols *symbols_load(const char *path, uint64_t bias, const char *option)
{
    struct symbols *s = xzalloc(sizeof(*s));
    int ret = image_read(&s->im, path, option ? option : "symbols", MOST, true);

    if (!ret && elf_probe(&s->im))
        read_elf(s, bias);
    else if (!ret)
        read_list(s, bias);
    if (!s->n) {
        if (!ret && option)
            log_error("%s %s: no symbols of functions (valid: an ELF file, a System.map)", option, path);
        symbols_free(s);
        return NULL;
    }
    qsort(s->at, s->n, sizeof(*s->at), by_address);
    return s;
}

void symbols_free(struct symbols *s)
{
    free(s->at);
    image_free(&s->im);
    free(s);
}

const char *symbols_find(const struct symbols *s, uint64_t addr, uint64_t *off)
{
    size_t lo = 0, hi = s ? s->n : 0;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->at[mid].addr <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (!lo || addr - s->at[lo - 1].addr >= (s->at[lo - 1].size ? s->at[lo - 1].size : REACH))
        return NULL;
    *off = addr - s->at[lo - 1].addr;
    return s->at[lo - 1].name;
}
