/* Eight kinds of user-mode work, no libc, no system calls: each function does N turns and returns a value that depends on all of them and on the
 * calls before it: tables are made by the first call. */
#include "bench/compute.h"
#include <emmintrin.h>

typedef unsigned long u;

/* Ten instructions a turn, in registers. */
static u integer(u n)
{
    u a = 1, b = 2, c = 3;
    for (; n; n--)
        __asm__ volatile("add %0, %1\n\txor %1, %2\n\trol $7, %0\n\tlea 5(%0,%2), %1\n\tsub $3, %2\n\tand $0x7fffffff, %1\n\tor $1, %0\n\tadd %2, %0"
                         : "+r"(a), "+r"(b), "+r"(c) : : "cc");
    return a ^ b ^ c;
}

/* Branches on data: steps of Collatz sequences. */
static u branches(u n)
{
    u start = 1, x = 1, sum = 0;
    for (; n; n--) {
        if (x == 1)
            x = ++start;
        else if (x & 1)
            x = 3 * x + 1;
        else
            x >>= 1;
        sum += x;
    }
    return sum;
}

__attribute__((noipa)) static unsigned tree(unsigned depth) { return depth ? tree(depth - 1) + tree(depth - 1) + depth : 1; }

/* Calls and returns: a turn is a tree of 31. */
static u calls(u n)
{
    u sum = 0;
    for (; n; n--)
        sum = sum * 3 + tree(4);
    return sum;
}

/* A byte, a table look-up: CRC-32 of 64 KiB, a turn a byte. */
static u table(u n)
{
    static unsigned crc_table[256];
    static unsigned char bytes[1 << 16];
    unsigned crc = ~0u;
    if (!crc_table[1]) {
        for (unsigned i = 0; i < 256; i++) {
            crc_table[i] = i;
            for (int k = 0; k < 8; k++)
                crc_table[i] = crc_table[i] & 1 ? crc_table[i] >> 1 ^ 0xedb88320u : crc_table[i] >> 1;
        }
        for (unsigned i = 0; i < sizeof(bytes); i++)
            bytes[i] = (unsigned char)(i * 7 + (i >> 8));
    }
    for (u i = 0; i < n; i++)
        crc = crc_table[(crc ^ bytes[i % sizeof(bytes)]) & 0xff] ^ crc >> 8;
    return crc;
}

/* Dependent loads around a cycle through 512 KiB: latency of memory accesses. */
static u chase(u n)
{
    enum { SLOTS = 1 << 16 };
    static u ring[SLOTS];
    u at = 0;
    if (!ring[0])
        for (u i = 0; i < SLOTS; i++)
            ring[i] = (i * 5 + 12345) % SLOTS;          /* full period: 5 is 1 modulo 4, the addend odd */
    for (; n; n--)
        at = ring[at];
    return at;
}

/* Stores and loads that jump about: a binary heap of 4096 words, a turn replaces its least by something larger. */
static u heap(u n)
{
    enum { COUNT = 4096 };
    static unsigned h[COUNT];
    static unsigned seed = 12345;
    u sum = 0;
    if (!h[1] || h[0] > 1u << 31)
        for (unsigned i = 0; i < COUNT; i++)
            h[i] = i;
    for (; n; n--) {
        seed = seed * 1664525u + 1013904223u;
        unsigned v = h[0] + (seed >> 18), i = 0;
        sum += h[0];
        for (unsigned c; (c = 2 * i + 1) < COUNT; i = c) {
            c += c + 1 < COUNT && h[c + 1] < h[c];
            if (v <= h[c])
                break;
            h[i] = h[c];
        }
        h[i] = v;
    }
    return sum;
}

/* Scalar SSE2: a step of a chaotic map, a division and a square root a turn. */
static u scalar(u n)
{
    double x = 0.3, y = 0.7;
    for (; n; n--) {
        x = 3.7 * x * (1.0 - x);
        y = __builtin_sqrt(y / (1.0 + x * y));
    }
    return (u)(x * 1e9) ^ (u)(y * 1e12);
}

/* Packed SSE: rows of single-precision numbers, 16 KiB, four of them a turn. */
static u vector(u n)
{
    enum { VECTORS = 1024 };
    static __m128 a[VECTORS], b[VECTORS];
    static int started;
    __m128 k = _mm_set1_ps(0.5f), sum = _mm_setzero_ps();
    float out[4];
    for (int i = 0; i < VECTORS && !started; i++) {
        a[i] = _mm_set_ps((float)i, (float)(i % 7), (float)(i % 13), 1);
        b[i] = _mm_set1_ps((float)(i % 5));
    }
    started = 1;
    for (u i = 0; i < n; i++) {
        __m128 v = _mm_add_ps(_mm_mul_ps(a[i % VECTORS], k), b[i % VECTORS]);
        a[i % VECTORS] = v;
        sum = _mm_add_ps(_mm_mul_ps(sum, k), v);
    }
    _mm_storeu_ps(out, sum);
    return (u)(out[0] * 1024) ^ (u)(out[3] * 1024);
}

const struct compute compute_table[] = {
    { "integer", integer }, { "branches", branches }, { "calls", calls }, { "table", table }, { "chase", chase }, { "heap", heap },
    { "scalar", scalar }, { "vector", vector }, { 0, 0 },
};
