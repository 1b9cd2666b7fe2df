/*
 * The bench guests: one static program with a loop for each kind of work. `loops NAME` runs it, natively or in a guest, and prints
 * `bench NAME NANOSECONDS INSTRUCTIONS CHECK`: the time by the monotonic clock, how many guest instructions the loop has executed as far as
 * its body is written in assembly (0: not known), and a value that must be the same everywhere.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/mman.h>
#include <immintrin.h>

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

struct result { uint64_t instructions, check; };

/* Ten instructions a turn, in registers. */
static struct result bench_int(void)
{
    uint64_t n = 200000000, a = 1, b = 2, c = 3;
    struct result r = { n * 10, 0 };
    __asm__ volatile("1:\n\tadd %1, %2\n\txor %2, %3\n\trol $7, %1\n\tlea 5(%1,%3), %2\n\tsub $3, %3\n\tand $0x7fffffff, %2\n\tor $1, %1\n\t"
                     "add %3, %1\n\tdec %0\n\tjnz 1b" : "+r"(n), "+r"(a), "+r"(b), "+r"(c) : : "cc");
    r.check = a ^ b ^ c;
    return r;
}

/* A call, a frame, a return: nine instructions a turn. */
static struct result bench_call(void)
{
    uint64_t n = 100000000, a = 0;
    struct result r = { n * 9, 0 };
    __asm__ volatile("sub $128, %%rsp\n\tjmp 2f\n\t.balign 16\n3:\n\tpush %%rbp\n\tmov %%rsp, %%rbp\n\tlea 1(%1), %1\n\tpop %%rbp\n\tret\n"
                     ".balign 16\n2:\n\tcall 3b\n\tadd $2, %1\n\tdec %0\n\tjnz 2b\n\tadd $128, %%rsp" : "+r"(n), "+r"(a) : : "cc", "memory");
    r.check = a;
    return r;
}

/* Integer code as a compiler writes it: the longest Collatz chain (branches on data, adds, shifts, flags all the time). */
static struct result bench_collatz(void)
{
    uint64_t best = 0, check = 0;
    for (uint64_t i = 1; i < 600000; i++) {
        uint64_t x = i, steps = 0;
        while (x != 1) {
            if (x & 1)
                x = 3 * x + 1;
            else
                x >>= 1;
            steps++;
        }
        if (steps > best) {
            best = steps;
            check = i;
        }
    }
    return (struct result){ 0, check * 1000 + best };
}

/* ... with memory: the table-driven CRC-32 of a buffer; and heap sort, whose accesses jump about. */
static struct result bench_crc(void)
{
    static uint32_t table[256];
    static uint8_t buffer[1 << 16];
    uint32_t crc = ~0u;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        table[i] = c;
    }
    for (unsigned i = 0; i < sizeof(buffer); i++)
        buffer[i] = (uint8_t)(i * 7 + (i >> 8));
    for (int turn = 0; turn < 1500; turn++)
        for (unsigned i = 0; i < sizeof(buffer); i++)
            crc = table[(crc ^ buffer[i]) & 0xff] ^ crc >> 8;
    return (struct result){ 0, crc };
}

/* A running sum over an array, and how often each byte value occurs: little arithmetic, an access or two to each element. */
static struct result bench_prefix(void)
{
    static uint32_t a[4096];
    for (uint32_t i = 0; i < 4096; i++)
        a[i] = i * 2654435761u;
    for (int turn = 0; turn < 30000; turn++)
        for (unsigned i = 1; i < 4096; i++)
            a[i] = (a[i] + a[i - 1]) ^ i;
    return (struct result){ 0, a[4095] };
}

static struct result bench_hist(void)
{
    static uint32_t count[256];
    static uint8_t buffer[1 << 14];
    uint64_t check = 0;
    for (unsigned i = 0; i < sizeof(buffer); i++)
        buffer[i] = (uint8_t)(i * 2654435761u >> 20);
    for (int turn = 0; turn < 8000; turn++)
        for (unsigned i = 0; i < sizeof(buffer); i++)
            count[buffer[i]]++;
    for (unsigned i = 0; i < 256; i++)
        check = check * 31 + count[i];
    return (struct result){ 0, check };
}

/* Numbers of 1024 bits multiplied as schools teach it: wide products and carries. */
static struct result bench_bignum(void)
{
    enum { WORDS = 16 };
    uint64_t a[WORDS], b[WORDS], r[2 * WORDS], check = 0;
    for (unsigned i = 0; i < WORDS; i++) {
        a[i] = 0x9e3779b97f4a7c15ull * (i + 1);
        b[i] = 0xc2b2ae3d27d4eb4full * (i + 3);
    }
    for (int turn = 0; turn < 300000; turn++) {
        memset(r, 0, sizeof(r));
        for (unsigned i = 0; i < WORDS; i++) {
            uint64_t carry = 0;
            for (unsigned j = 0; j < WORDS; j++) {
                unsigned __int128 t = (unsigned __int128)a[i] * b[j] + r[i + j] + carry;
                r[i + j] = (uint64_t)t;
                carry = (uint64_t)(t >> 64);
            }
            r[i + WORDS] = carry;
        }
        a[turn % WORDS] ^= r[turn % (2 * WORDS)];
        check ^= r[WORDS];
    }
    return (struct result){ 0, check };
}

/* Euclid: a division a turn. */
static struct result bench_gcd(void)
{
    uint64_t check = 0;
    for (uint64_t i = 1; i < 400000; i++) {
        uint64_t a = i * 0x9e3779b97f4a7c15ull, b = i * 0xc2b2ae3d27d4eb4full >> 3;
        while (b) {
            uint64_t t = a % b;
            a = b;
            b = t;
        }
        check += a;
    }
    return (struct result){ 0, check };
}

static void sift(uint32_t *a, unsigned i, unsigned n)
{
    for (unsigned c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && a[c + 1] > a[c])
            c++;
        if (a[i] >= a[c])
            return;
        uint32_t t = a[i];
        a[i] = a[c];
        a[c] = t;
    }
}

static struct result bench_sort(void)
{
    enum { COUNT = 20000 };
    static uint32_t a[COUNT];
    uint64_t check = 0;
    for (int turn = 0; turn < 80; turn++) {
        uint32_t seed = 12345u + (uint32_t)turn;
        for (unsigned i = 0; i < COUNT; i++)
            a[i] = seed = seed * 1664525u + 1013904223u;
        for (unsigned i = COUNT / 2; i-- > 0;)
            sift(a, i, COUNT);
        for (unsigned n = COUNT; n-- > 1;) {
            uint32_t t = a[0];
            a[0] = a[n];
            a[n] = t;
            sift(a, 0, n);
        }
        check += a[COUNT / 3];
    }
    return (struct result){ 0, check };
}

/* Recursion as a compiler writes it: frames, saved registers, unpredictable depth. */
__attribute__((noinline, optimize("no-optimize-sibling-calls"))) static uint64_t fib(unsigned n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static struct result bench_fib(void) { return (struct result){ 0, fib(36) }; }

/* A random cycle through 16 KiB: each load waits for the one before; three instructions a turn. */
static struct result chase(void **ring)
{
    enum { SLOTS = 2048 };
    static unsigned order[SLOTS];
    uint64_t n = 200000000, seed = 1;
    struct result r = { n * 3, 0 };

    for (unsigned i = 0; i < SLOTS; i++)
        order[i] = i;
    for (unsigned i = SLOTS - 1; i; i--) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        unsigned j = (unsigned)((seed >> 33) % (i + 1)), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (unsigned i = 0; i < SLOTS; i++)
        ring[order[i]] = &ring[order[(i + 1) % SLOTS]];
    void *p = &ring[0];
    __asm__ volatile("1:\n\tmov (%1), %1\n\tdec %0\n\tjnz 1b" : "+r"(n), "+r"(p) : : "cc", "memory");
    r.check = (uint64_t)((char *)p - (char *)ring);
    return r;
}

/* ... of a large heap block, as malloc gives programs (large pages where the system has them), and of four 4 KiB pages. */
static struct result bench_chase(void)
{
    enum { HUGE = 2 << 20 };
    char *p = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(p, 2 * HUGE, MADV_HUGEPAGE);
    return chase((void **)(((uintptr_t)p + HUGE - 1) & ~(uintptr_t)(HUGE - 1)));
}

static struct result bench_chase4k(void)
{
    char *p = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(p, 1 << 16, MADV_NOHUGEPAGE);
    return chase((void **)p);
}

enum { N = 192 };
static double da[N][N] __attribute__((aligned(32))), db[N][N] __attribute__((aligned(32))), dc[N][N] __attribute__((aligned(32)));
static float fa[N][N] __attribute__((aligned(32))), fb[N][N] __attribute__((aligned(32))), fc[N][N] __attribute__((aligned(32)));

static void fill(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            da[i][j] = fa[i][j] = (float)((i * 7 + j * 3) % 17) / 8;
            db[i][j] = fb[i][j] = (float)((i * 5 + j * 11) % 13) / 4;
        }
    }
    memset(dc, 0, sizeof(dc));
    memset(fc, 0, sizeof(fc));
}

/* The textbook product: a dot product for each element, scalar SSE2. */
__attribute__((optimize("no-tree-vectorize"))) static struct result bench_double(void)
{
    fill();
    for (int turn = 0; turn < 12; turn++)
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double sum = dc[i][j];
                for (int k = 0; k < N; k++)
                    sum += da[i][k] * db[k][j];
                dc[i][j] = sum;
            }
    return (struct result){ 0, (uint64_t)(dc[N / 2][N / 3] * 64) };
}

/* The same by rows: a load, a multiplication, an addition and a store for each step, so memory checks weigh most. */
__attribute__((optimize("no-tree-vectorize"))) static struct result bench_doublerow(void)
{
    fill();
    for (int turn = 0; turn < 40; turn++)
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++)
                for (int j = 0; j < N; j++)
                    dc[i][j] += da[i][k] * db[k][j];
    return (struct result){ 0, (uint64_t)(dc[N / 2][N / 3] * 64) };
}

static struct result bench_sse(void)
{
    fill();
    for (int turn = 0; turn < 120; turn++)
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++) {
                __m128 a = _mm_set1_ps(fa[i][k]);
                for (int j = 0; j < N; j += 4)
                    _mm_store_ps(&fc[i][j], _mm_add_ps(_mm_load_ps(&fc[i][j]), _mm_mul_ps(a, _mm_load_ps(&fb[k][j]))));
            }
    return (struct result){ 0, (uint64_t)(fc[N / 2][N / 3] * 4) };
}

__attribute__((target("avx2,fma"))) static struct result bench_avx2(void)
{
    fill();
    for (int turn = 0; turn < 60; turn++)
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++) {
                __m256 a = _mm256_set1_ps(fa[i][k]);
                for (int j = 0; j < N; j += 8)
                    _mm256_store_ps(&fc[i][j], _mm256_fmadd_ps(a, _mm256_load_ps(&fb[k][j]), _mm256_load_ps(&fc[i][j])));
            }
    return (struct result){ 0, (uint64_t)(fc[N / 2][N / 3] * 4) };
}

/* Register-blocked, as BLAS kernels are: 4 x 16 results in eight registers, A packed by columns. */
__attribute__((target("avx2,fma"))) static struct result bench_avx2block(void)
{
    static float pa[N][4] __attribute__((aligned(64))), pb[N][16] __attribute__((aligned(64)));
    fill();
    for (int turn = 0; turn < 160; turn++)
        for (int i = 0; i < N; i += 4) {
            for (int k = 0; k < N; k++)
                for (int r = 0; r < 4; r++)
                    pa[k][r] = fa[i + r][k];
            for (int j = 0; j < N; j += 16) {
                __m256 c[4][2];
                for (int k = 0; k < N; k++)
                    memcpy(pb[k], &fb[k][j], sizeof(pb[k]));
#pragma GCC unroll 4
                for (int r = 0; r < 4; r++)
                    c[r][0] = c[r][1] = _mm256_setzero_ps();
                for (int k = 0; k < N; k++) {
                    __m256 b0 = _mm256_load_ps(&pb[k][0]), b1 = _mm256_load_ps(&pb[k][8]);
#pragma GCC unroll 4
                    for (int r = 0; r < 4; r++) {
                        __m256 a = _mm256_broadcast_ss(&pa[k][r]);
                        c[r][0] = _mm256_fmadd_ps(a, b0, c[r][0]);
                        c[r][1] = _mm256_fmadd_ps(a, b1, c[r][1]);
                    }
                }
#pragma GCC unroll 4
                for (int r = 0; r < 4; r++) {
                    _mm256_store_ps(&fc[i + r][j], c[r][0]);
                    _mm256_store_ps(&fc[i + r][j + 8], c[r][1]);
                }
            }
        }
    return (struct result){ 0, (uint64_t)(fc[N / 2][N / 3] * 4) };
}

static const struct { const char *name; struct result (*run)(void); } table[] = {
    { "int", bench_int }, { "collatz", bench_collatz }, { "crc", bench_crc }, { "sort", bench_sort }, { "prefix", bench_prefix }, { "hist", bench_hist }, { "bignum", bench_bignum }, { "gcd", bench_gcd },
    { "call", bench_call }, { "fib", bench_fib }, { "chase", bench_chase }, { "chase4k", bench_chase4k }, { "double", bench_double },
    { "doublerow", bench_doublerow }, { "sse", bench_sse }, { "avx2", bench_avx2 }, { "avx2block", bench_avx2block },
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (argc > 1 && strcmp(argv[1], table[i].name))
            continue;
        uint64_t start = now();
        struct result r = table[i].run();
        uint64_t end = now();
        printf("bench %s %llu %llu %llx\n", table[i].name, (unsigned long long)(end - start), (unsigned long long)r.instructions, (unsigned long long)r.check);
        fflush(stdout);
    }
    return 0;
}
