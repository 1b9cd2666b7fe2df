/* vmm/symbols.c: names from an ELF file of either class and from a list; damaged files are refused or give other names, nothing else. */
#include "tests/unit/test.h"
#include "vmm/boot.h"
#include "vmm/symbols.h"
#include <stdlib.h>
#include <unistd.h>

static struct symbols *load(const void *bytes, size_t len, uint64_t bias)
{
    char path[] = "/tmp/duet-test-XXXXXX";
    int fd = mkstemp(path);

    CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
    struct symbols *s = symbols_load(path, bias, NULL);
    close(fd);
    unlink(path);
    return s;
}

static bool is(const struct symbols *s, uint64_t addr, const char *name, uint64_t at)
{
    uint64_t off;
    const char *found = symbols_find(s, addr, &off);
    return name ? found && !strcmp(found, name) && off == at : !found;
}

/* Sections: none, code, strings, symbols. Functions: one [0x1000, 0x1010), two [0x1010, 0x1018), a label three at 0x1020 without a size; an
   object and a label that are no code. */
static size_t make_elf(uint8_t *f, bool is64)
{
    static const struct { uint8_t name, type; uint16_t value, size; uint8_t section; } syms[] = {
        { 0, 0, 0, 0, 0 }, { 5, 2, 0x1010, 8, 1 }, { 1, 2, 0x1000, 16, 1 }, { 9, 0, 0x1020, 0, 1 }, { 15, 1, 0x1008, 4, 1 },
        { 15, 0, 0x1004, 0, 2 } };
    unsigned sh = is64 ? 64 : 40, sym = is64 ? 24 : 16, at_str = 64, at_sym = 96, at_sh = at_sym + (unsigned)ARRAY_SIZE(syms) * sym;

    memset(f, 0, 1024);
    memcpy(f, "\177ELF", 4);
    f[4] = is64 ? 2 : 1;
    f[5] = 1;
    put32(f + (is64 ? 40 : 32), at_sh);
    f[is64 ? 58 : 46] = (uint8_t)sh;
    f[is64 ? 60 : 48] = 4;
    memcpy(f + at_str, "\0one\0two\0three\0object", 22);
    for (unsigned i = 0; i < ARRAY_SIZE(syms); i++) {
        uint8_t *d = f + at_sym + i * sym;
        d[0] = syms[i].name;
        d[is64 ? 4 : 12] = syms[i].type;
        d[is64 ? 6 : 14] = syms[i].section;
        put32(d + (is64 ? 8 : 4), syms[i].value);
        put32(d + (is64 ? 16 : 8), syms[i].size);
    }
    static const struct { uint32_t type, flags, link; } secs[4] = { { 0, 0, 0 }, { 1, 4, 0 }, { 3, 0, 0 }, { 2, 0, 2 } };
    for (unsigned i = 1; i < 4; i++) {
        uint8_t *d = f + at_sh + i * sh;
        put32(d + 4, secs[i].type);
        put32(d + 8, secs[i].flags);
        put32(d + (is64 ? 24 : 16), i == 2 ? at_str : i == 3 ? at_sym : 0);
        put32(d + (is64 ? 32 : 20), i == 2 ? 22 : i == 3 ? (unsigned)ARRAY_SIZE(syms) * sym : 0);
        put32(d + (is64 ? 40 : 24), secs[i].link);
    }
    return at_sh + 4 * sh;
}

static void check_elf(bool is64)
{
    uint8_t f[1024];
    struct symbols *s = load(f, make_elf(f, is64), 0x100000);

    CHECK(s != NULL);
    CHECK(is(s, 0x101000, "one", 0) && is(s, 0x10100f, "one", 15) && is(s, 0x101010, "two", 0) && is(s, 0x101017, "two", 7));
    CHECK(is(s, 0x101018, NULL, 0) && is(s, 0x101020, "three", 0) && is(s, 0x101120, "three", 256));
    CHECK(is(s, 0x100fff, NULL, 0) && is(s, 0x201020, NULL, 0));
    symbols_free(s);
}

TEST(elf64) { check_elf(true); }
TEST(elf32) { check_elf(false); }

TEST(system_map)
{
    static const char text[] = "ffffffff81000000 T _text\nffffffff81000100 t helper [module]\nffffffff81000180 D data\nnonsense\n\n"
                               "ffffffff81000200 W weak\r\nffffffff81000300 T unended";
    struct symbols *s = load(text, sizeof(text) - 1, 0);

    CHECK(s != NULL);
    CHECK(is(s, 0xffffffff810000ff, "_text", 255) && is(s, 0xffffffff81000190, "helper", 0x90) && is(s, 0xffffffff81000304, "weak", 0x104));
    symbols_free(s);
    CHECK(!load("", 0, 0) && !load("nothing here\n", 13, 0));
    CHECK(is(NULL, 1, NULL, 0));
}

/* Each byte damaged in turn, and each shorter file. */
TEST(damaged)
{
    static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
    uint8_t f[1024];
    uint64_t off;

    for (unsigned is64 = 0; is64 < 2; is64++) {
        size_t len = make_elf(f, is64);
        for (size_t at = 6; at < len; at++)
            for (unsigned v = 0; v < ARRAY_SIZE(values); v++) {
                make_elf(f, is64);
                f[at] = values[v];
                struct symbols *s = load(f, len, 0);
                symbols_find(s, 0x1004, &off);
                if (s)
                    symbols_free(s);
            }
        make_elf(f, is64);
        for (size_t n = 0; n < len; n++) {
            struct symbols *s = load(f, n, 0);
            if (s)
                symbols_free(s);
        }
    }
}
