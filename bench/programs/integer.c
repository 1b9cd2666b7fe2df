/*
 * Integer kernels of compiled code, for 32- and 64-bit guests alike: sorting, hashing, compression, a hash table, strings, bits, a maze, a small
 * machine.
 */
#include "kernels.h"

static uint32_t seed;
static uint32_t next(void) { return seed = seed * 1664525u + 1013904223u; }

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The library's sort, its comparison called through a pointer. */
static uint64_t quick(long turns)
{
    static uint32_t a[50000];
    uint64_t sum = 0;

    while (turns--) {
        for (unsigned i = 0; i < 50000; i++)
            a[i] = next() >> 8;
        qsort(a, 50000, sizeof(a[0]), by_value);
        sum = sum * 31 + a[12345];
    }
    return sum;
}

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

/* SHA-256's rounds on a block that changes: rotations, additions, a schedule of 64 words. The constants are of the same kind, not the standard's. */
static uint64_t rounds(long turns)
{
    uint32_t h[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, k[64], w[64];

    for (int i = 0; i < 64; i++)
        k[i] = (uint32_t)(i + 1) * 2654435761u;
    while (turns--) {
        uint32_t s[8];
        memcpy(s, h, sizeof(s));
        for (int i = 0; i < 16; i++)
            w[i] = h[i & 7] * 31 + (uint32_t)i;
        for (int i = 16; i < 64; i++)
            w[i] = w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
                (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
        for (int i = 0; i < 64; i++) {
            uint32_t e = s[4], a = s[0];
            uint32_t t1 = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + k[i] + w[i];
            uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
            memmove(s + 1, s, 7 * sizeof(s[0]));
            s[4] += t1;
            s[0] = t1 + t2;
        }
        for (int i = 0; i < 8; i++)
            h[i] += s[i];
    }
    return sum_of(h, sizeof(h));
}

/* Matches found by a table of hashes, as the quick compressors do; the text repeats itself now and then. */
static uint64_t matches(long turns)
{
    enum { SIZE = 1 << 17 };
    static unsigned char text[SIZE + 8];
    static uint32_t last[1 << 13];
    uint64_t sum = 0;

    while (turns--) {
        for (uint32_t i = 0; i < SIZE; i++)
            text[i] = i > 999 && (next() >> 28) ? text[i - 1 - (next() >> 23)] : (unsigned char)('a' + (next() >> 28));
        memset(last, 0, sizeof(last));
        for (uint32_t i = 1; i < SIZE - 300;) {
            uint32_t word, n = 0;
            memcpy(&word, text + i, 4);
            uint32_t slot = word * 2654435761u >> 19, from = last[slot];
            last[slot] = i;
            while (from && n < 255 && text[from + n] == text[i + n])
                n++;
            sum = sum * 3 + n;
            i += n > 3 ? n : 1;
        }
    }
    return sum;
}

/* Open addressing, insertions and look-ups of keys that are mostly there. */
static uint64_t table(long turns)
{
    enum { SLOTS = 1 << 15 };
    static struct { uint32_t key, count; } slots[SLOTS];
    uint64_t sum = 0;

    while (turns--) {
        memset(slots, 0, sizeof(slots));
        for (int i = 0; i < 200000; i++) {
            uint32_t key = (next() >> 18) + 1, at = key * 2654435761u >> 17;
            while (slots[at].key && slots[at].key != key)
                at = (at + 1) & (SLOTS - 1);
            slots[at].key = key;
            sum += ++slots[at].count;
        }
    }
    return sum;
}

/* Words separated, folded and compared through the library. */
static uint64_t strings(long turns)
{
    static char text[1 << 16];
    uint64_t sum = 0;

    while (turns--) {
        char *at = text, *word, before[64] = "";
        for (unsigned i = 0; i < sizeof(text) - 1; i++)
            text[i] = next() >> 29 ? (char)('a' + (next() >> 29)) : ' ';
        for (; (word = strtok(at, " ")); at = NULL) {
            size_t n = strlen(word);
            sum = sum * 5 + n + (strcmp(word, before) > 0) + (strstr(word, "aba") != NULL);
            memcpy(before, word, n < 63 ? n + 1 : 63);
        }
    }
    return sum;
}

/* Eratosthenes, a bit a number; divisions to check some. */
static uint64_t sieve(long turns)
{
    enum { LIMIT = 1 << 20 };
    static uint32_t composite[LIMIT / 32];
    uint64_t sum = 0;

    while (turns--) {
        memset(composite, 0, sizeof(composite));
        for (uint32_t i = 2; i < LIMIT; i++) {
            if (composite[i >> 5] >> (i & 31) & 1)
                continue;
            for (uint32_t k = i * 2; k < LIMIT; k += i)
                composite[k >> 5] |= 1u << (k & 31);
            sum += LIMIT % i;
        }
    }
    return sum;
}

/* The shortest way through a random maze, breadth first: a queue, neighbours, branches that nobody can foresee. */
static uint64_t maze(long turns)
{
    enum { W = 512 };
    static int distance[W * W], queue[W * W];
    static const int step[4] = { 1, -1, W, -W };
    uint64_t sum = 0;

    while (turns--) {
        for (int i = 0; i < W * W; i++)
            distance[i] = i < W || i >= W * (W - 1) || i % W == 0 || next() >> 30 == 0 ? -2 : -1;
        int head = 0, tail = 0;
        queue[tail++] = W + 1;
        distance[W + 1] = 0;
        while (head < tail) {
            int at = queue[head++];
            for (int d = 0; d < 4; d++) {
                int to = at + step[d];
                if (distance[to] == -1) {
                    distance[to] = distance[at] + 1;
                    queue[tail++] = to;
                }
            }
        }
        sum = sum * 7 + (uint64_t)tail + (uint64_t)distance[queue[tail - 1]];
    }
    return sum;
}

/* An interpreter of a small stack machine: one indirect jump an instruction. */
static uint64_t machine(long turns)
{
    enum { PUSH, ADD, MUL, SWAP, DUP, DROP, LESS, LOOP };
    static const unsigned char code[] = { PUSH, 7, DUP, MUL, ADD, DUP, PUSH, 3, LESS, SWAP, PUSH, 5, MUL, ADD, DUP, DROP, LOOP };
    uint32_t stack[16] = { 1 }, sp = 0;

    for (unsigned at = 0; turns;)
        switch (code[at++]) {
        case PUSH: stack[++sp] = code[at++]; break;
        case ADD: sp--; stack[sp] += stack[sp + 1]; break;
        case MUL: sp--; stack[sp] *= stack[sp + 1]; break;
        case SWAP: { uint32_t t = stack[sp]; stack[sp] = stack[sp - 1]; stack[sp - 1] = t; break; }
        case DUP: stack[sp + 1] = stack[sp]; sp++; break;
        case DROP: sp--; break;
        case LESS: sp--; stack[sp] = stack[sp] < stack[sp + 1] ? 1 : stack[sp]; stack[++sp] = stack[0]; break;
        case LOOP: sp = 0; stack[0] = stack[0] * 2654435761u + 1; at = 0; turns--; break;
        }
    return stack[0];
}

int main(int argc, char **argv)
{
    static const struct kernel kernels[] = {
        { "quick", quick }, { "rounds", rounds }, { "matches", matches }, { "table", table }, { "strings", strings }, { "sieve", sieve },
        { "maze", maze }, { "machine", machine }, { NULL, NULL },
    };
    seed = 12345;
    return run_kernel(kernels, argc, argv);
}
