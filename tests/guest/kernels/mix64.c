/* An everyday mix of integer code, some 100 million instructions: sorting, hashing, a sieve, recursion, a list, strings. tests/interp_speed.sh times it. */
#include "kit.h"

#define N 30000
#define MEM(type, offset) ((type *)(0x800000ul + (offset)))

static u32 seed = 1;
static u32 next(void) { return seed = seed * 1664525 + 1013904223; }

static void sort(u32 *v, long lo, long hi)
{
    if (lo >= hi)
        return;
    u32 pivot = v[(lo + hi) / 2];
    long i = lo, j = hi;
    while (i <= j) {
        while (v[i] < pivot)
            i++;
        while (v[j] > pivot)
            j--;
        if (i <= j) {
            u32 t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
    }
    sort(v, lo, j);
    sort(v, i, hi);
}

static void sorting(void)
{
    u32 *v = MEM(u32, 0);
    for (unsigned turn = 0; turn < 5; turn++) {
        for (unsigned i = 0; i < N; i++)
            v[i] = next();
        sort(v, 0, N - 1);
        for (unsigned i = 1; i < N; i++)
            if (v[i - 1] > v[i])
                EQ(v[i - 1], v[i]);
    }
}

static void hashing(void)
{
    u8 *p = MEM(u8, 0x100000);
    u64 h = 0xcbf29ce484222325ull;
    for (unsigned i = 0; i < 1 << 20; i++)
        p[i] = (u8)(i * 7 >> 3);
    for (unsigned turn = 0; turn < 6; turn++)
        for (unsigned i = 0; i < 1 << 20; i++)
            h = (h ^ p[i]) * 0x100000001b3ull;
    EQ(h, 0x802302f2118a2325ull);
}

static void sieve(void)
{
    u8 *p = MEM(u8, 0x300000);
    unsigned n = 0;
    memset(p, 0, 1 << 20);
    for (unsigned i = 2; i < 1 << 20; i++) {
        if (p[i])
            continue;
        n++;
        for (unsigned k = 2 * i; k < 1 << 20; k += i)
            p[k] = 1;
    }
    EQ(n, 82025);
}

static unsigned __attribute__((noinline)) fib(unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static void recursion(void) { EQ(fib(27), 196418); }

struct node { struct node *next; u64 v; };
static void list(void)
{
    struct node *p = MEM(struct node, 0x500000), *at = p;
    u64 sum = 0;
    for (unsigned i = 0; i < 4096; i++)
        p[i] = (struct node){ &p[(i + 1365) & 4095], i };
    for (unsigned i = 0; i < 2000000; i++, at = at->next)
        sum += at->v;
    EQ(sum, 4095561920ull);
}

void main(void);
void main(void)
{
    RUN(sorting);
    RUN(hashing);
    RUN(sieve);
    RUN(recursion);
    RUN(list);
    finish();
}
