/*
 * The data that the workloads read, the same everywhere: `generate text|table|binary BYTES` on stdout. text: words, frequent ones short, as
 * compressors meet them; table: lines of a key, a name and two numbers; binary: records of a machine's kind, pointers and small integers.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 20240229;

static uint32_t next(uint32_t below)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((seed >> 33) % below);
}

/* Word w of a vocabulary: syllables by its digits, so that no list is needed. */
static int word(char *to, uint32_t w)
{
    static const char *const syllables[] = { "an", "be", "con", "de", "er", "fi", "ga", "hu", "in", "jo", "ke", "la", "mo", "ne", "or", "pri" };
    int n = 0;

    do {
        n += sprintf(to + n, "%s", syllables[w & 15]);
        w >>= 4;
    } while (w);
    return n;
}

/* Small numbers are frequent: the least of three. */
static uint32_t skewed(uint32_t below)
{
    uint32_t a = next(below), b = next(below), c = next(below);
    a = a < b ? a : b;
    return a < c ? a : c;
}

static int text(char *line)
{
    int n = 0, words = 6 + (int)next(10);

    for (int i = 0; i < words; i++) {
        n += word(line + n, skewed(20000));
        line[n++] = next(12) ? ' ' : ',';
    }
    line[n - 1] = '\n';
    return n;
}

static int table(char *line)
{
    int n = sprintf(line, "%08x ", next(1u << 31));

    n += word(line + n, next(5000));
    return n + sprintf(line + n, " %u %u.%02u\n", next(1000), next(100000), next(100));
}

static int binary(char *record)
{
    uint64_t fields[4] = { 0x7f0000000000ull + next(1 << 20) * 16, skewed(256), next(1u << 31), skewed(1 << 16) << 16 | next(4) };

    memcpy(record, fields, sizeof(fields));
    return sizeof(fields);
}

int main(int argc, char **argv)
{
    long left = argc == 3 ? atol(argv[2]) : 0;
    int (*make)(char *) = argc != 3 ? NULL : !strcmp(argv[1], "text") ? text : !strcmp(argv[1], "table") ? table : binary;
    char line[1024];

    while (make && left > 0) {
        int n = make(line);
        fwrite(line, 1, (size_t)(n < left ? n : left), stdout);
        left -= n;
    }
    return !make;
}
