/* What the programs of kernels share: `PROGRAM NAME TURNS` runs one of a table and prints what it returns, which must be the same everywhere. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kernel { const char *name; uint64_t (*run)(long turns); };

static inline int run_kernel(const struct kernel *table, int argc, char **argv)
{
    for (; argc == 3 && table->name; table++)
        if (!strcmp(argv[1], table->name)) {
            printf("%s %llx\n", table->name, (unsigned long long)table->run(atol(argv[2])));
            return 0;
        }
    return 2;
}

/* A sum over bytes, for what is in an array. */
static inline uint64_t sum_of(const void *p, size_t n)
{
    const unsigned char *c = p;
    uint64_t sum = 14695981039346656037ull;

    while (n--)
        sum = (sum ^ *c++) * 1099511628211ull;
    return sum;
}
