/*
 * Floating-point kernels. Compiled twice: as the compiler likes (scalar SSE2), and with -mfpmath=387, where doubles live in x87 registers
 * and only matter when stored. Results are rounded before they are shown: sine and cosine may be another variant of the library on another CPU.
 */
#include "kernels.h"
#include <math.h>
#if !defined(__FLT_EVAL_METHOD__) || __FLT_EVAL_METHOD__ == 0
#include <immintrin.h>
#endif

static uint64_t rounded(double x) { return (uint64_t)(int64_t)llround(x * 1e4); }

/* Five bodies that attract each other: divisions and square roots, all scalar. */
static uint64_t bodies(long turns)
{
    double p[5][3], v[5][3] = { { 0 } }, energy = 0;
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++) {
            p[i][k] = (i + 1) * (k == i % 3 ? 3.0 : 1.0);
            v[i][k] = 0.01 * (i - 2) * (k - 1);
        }
    while (turns--) {
        for (int i = 0; i < 5; i++)
            for (int j = i + 1; j < 5; j++) {
                double d[3], square = 0.01;
                for (int k = 0; k < 3; k++) {
                    d[k] = p[i][k] - p[j][k];
                    square += d[k] * d[k];
                }
                double pull = 0.0001 / (square * sqrt(square));
                for (int k = 0; k < 3; k++) {
                    v[i][k] -= d[k] * pull;
                    v[j][k] += d[k] * pull;
                }
            }
        for (int i = 0; i < 5; i++)
            for (int k = 0; k < 3; k++)
                p[i][k] += v[i][k] * 0.001;
    }
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++)
            energy += v[i][k] * v[i][k];
    return rounded(energy);
}

/* A transform of 4096 complex numbers in place, there and back. */
static void transform(double (*a)[2], int n, double sign)
{
    for (int i = 1, j = 0; i < n; i++) {
        int bit = n >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j)
            for (int k = 0; k < 2; k++) {
                double t = a[i][k];
                a[i][k] = a[j][k];
                a[j][k] = t;
            }
    }
    for (int size = 2; size <= n; size <<= 1) {
        double angle = sign * 2 * M_PI / size, cr = cos(angle), ci = sin(angle);
        for (int i = 0; i < n; i += size) {
            double wr = 1, wi = 0;
            for (int j = i; j < i + size / 2; j++) {
                int k = j + size / 2;
                double xr = a[k][0] * wr - a[k][1] * wi, xi = a[k][0] * wi + a[k][1] * wr, w = wr * cr - wi * ci;
                a[k][0] = a[j][0] - xr;
                a[k][1] = a[j][1] - xi;
                a[j][0] += xr;
                a[j][1] += xi;
                wi = wr * ci + wi * cr;
                wr = w;
            }
        }
    }
}

static uint64_t fft(long turns)
{
    enum { N = 4096 };
    static double a[N][2];
    double sum = 0;

    for (int i = 0; i < N; i++)
        a[i][0] = (i * 7 + i / 3) % 64;
    while (turns--) {
        transform(a, N, 1);
        transform(a, N, -1);
        for (int i = 0; i < N; i++)
            for (int k = 0; k < 2; k++)
                a[i][k] /= N;
    }
    for (int i = 0; i < N; i++)
        sum += a[i][0] * (i % 5);
    return rounded(sum);
}

/* Spheres above a plane, lit from one point: a picture of 96 lines, some deciding branches a ray. */
struct hit { double t; int sphere; };

static struct hit nearest(const double (*spheres)[4], int n, const double *from, const double *way)
{
    struct hit h = { 1e9, -1 };
    for (int s = 0; s < n; s++) {
        double b = 0, c = -spheres[s][3] * spheres[s][3];
        for (int k = 0; k < 3; k++) {
            double d = from[k] - spheres[s][k];
            b += d * way[k];
            c += d * d;
        }
        double disc = b * b - c;
        if (disc > 0) {
            double t = -b - sqrt(disc);
            if (t > 1e-4 && t < h.t)
                h = (struct hit){ t, s };
        }
    }
    return h;
}

static uint64_t rays(long turns)
{
    enum { SPHERES = 12, LINES = 96 };
    double spheres[SPHERES][4], light = 0;
    const double lamp[3] = { 0.57, 0.57, -0.59 };

    for (int s = 0; s < SPHERES; s++) {
        const double sphere[4] = { (s % 4) * 1.5 - 2.2, (s / 4) * 1.4 - 1.4, 4 + (s * 5 % 7) * 0.4, 0.6 + (s % 3) * 0.1 };
        memcpy(spheres[s], sphere, sizeof(sphere));
    }
    while (turns--)
        for (int i = 0; i < LINES * LINES; i++) {
            double from[3] = { 0, 0, -1 }, weight = 1;
            double way[3] = { (i % LINES - LINES / 2) / (double)LINES, (i / LINES - LINES / 2) / (double)LINES, 1 };
            for (int bounce = 0; bounce < 3; bounce++) {
                double at[3], normal[3], length = sqrt(way[0] * way[0] + way[1] * way[1] + way[2] * way[2]), dot = 0, lit = 0;
                for (int k = 0; k < 3; k++)
                    way[k] /= length;
                struct hit h = nearest((const double (*)[4])spheres, SPHERES, from, way);
                if (h.sphere < 0)
                    break;
                for (int k = 0; k < 3; k++) {
                    at[k] = from[k] + way[k] * h.t;
                    normal[k] = (at[k] - spheres[h.sphere][k]) / spheres[h.sphere][3];
                    dot += normal[k] * way[k];
                    lit += normal[k] * lamp[k];
                }
                if (lit > 0 && nearest((const double (*)[4])spheres, SPHERES, at, lamp).sphere < 0)
                    light += weight * lit;
                for (int k = 0; k < 3; k++) {
                    way[k] -= 2 * dot * normal[k];
                    from[k] = at[k];
                }
                weight *= 0.5;
            }
        }
    return rounded(light);
}

/* What mathematical functions cost: the library's. */
static uint64_t functions(long turns)
{
    double x = 0.5, sum = 0;
    while (turns--) {
        x = fmod(x * 1.7 + 0.3, 3.0) + 0.1;
        sum += sin(x) * exp(-x) + log(x) * atan(x) + pow(x, 1.3);
    }
    return rounded(sum / 1e3);
}

enum { SIDE = 128 };
static double da[SIDE][SIDE], db[SIDE][SIDE], dc[SIDE][SIDE];

__attribute__((optimize("no-tree-vectorize"))) static uint64_t product(long turns)
{
    for (int i = 0; i < SIDE * SIDE; i++) {
        (&da[0][0])[i] = i % 17;
        (&db[0][0])[i] = i % 13;
    }
    while (turns--)
        for (int i = 0; i < SIDE; i++)
            for (int j = 0; j < SIDE; j++) {
                double sum = dc[i][j] / 2;
                for (int k = 0; k < SIDE; k++)
                    sum += da[i][k] * db[k][j];
                dc[i][j] = sum;
            }
    return rounded(dc[SIDE / 2][SIDE / 3]);
}

#if !defined(__FLT_EVAL_METHOD__) || __FLT_EVAL_METHOD__ == 0
static float fa[SIDE][SIDE] __attribute__((aligned(32))), fb[SIDE][SIDE] __attribute__((aligned(32))), fc[SIDE][SIDE] __attribute__((aligned(32)));

static void fill(void)
{
    for (int i = 0; i < SIDE * SIDE; i++) {
        (&fa[0][0])[i] = (float)(i % 17) / 8;
        (&fb[0][0])[i] = (float)(i % 13) / 4;
    }
}

/* Products of matrices by rows, four and eight numbers at a time. */
static uint64_t sse(long turns)
{
    fill();
    while (turns--)
        for (int i = 0; i < SIDE; i++)
            for (int k = 0; k < SIDE; k++)
                for (int j = 0; j < SIDE; j += 4)
                    _mm_store_ps(&fc[i][j], _mm_add_ps(_mm_load_ps(&fc[i][j]), _mm_mul_ps(_mm_set1_ps(fa[i][k]), _mm_load_ps(&fb[k][j]))));
    return sum_of(fc, sizeof(fc));
}

__attribute__((target("avx2,fma"))) static uint64_t avx2(long turns)
{
    fill();
    while (turns--)
        for (int i = 0; i < SIDE; i++)
            for (int j = 0; j < SIDE; j += 32) {
                __m256 c[4];
                for (int v = 0; v < 4; v++)
                    c[v] = _mm256_load_ps(&fc[i][j + v * 8]);
                for (int k = 0; k < SIDE; k++)
                    for (int v = 0; v < 4; v++)
                        c[v] = _mm256_fmadd_ps(_mm256_set1_ps(fa[i][k]), _mm256_load_ps(&fb[k][j + v * 8]), c[v]);
                for (int v = 0; v < 4; v++)
                    _mm256_store_ps(&fc[i][j + v * 8], c[v]);
            }
    return sum_of(fc, sizeof(fc));
}

/* Bytes, as pictures and video have them: differences of blocks, averages, saturation. */
static uint64_t bytes(long turns)
{
    static unsigned char a[1 << 16] __attribute__((aligned(16))), b[1 << 16] __attribute__((aligned(16)));
    uint64_t sum = 0;

    for (unsigned i = 0; i < sizeof(a); i++)
        a[i] = (unsigned char)(i * 2654435761u >> 24);
    while (turns--)
        for (unsigned i = 0; i + 32 <= sizeof(a); i += 16) {
            __m128i x = _mm_load_si128((__m128i *)(a + i)), y = _mm_loadu_si128((__m128i *)(a + i + 5)), z;
            z = _mm_sad_epu8(x, y);
            sum += (uint64_t)_mm_extract_epi16(z, 0) + (uint64_t)_mm_extract_epi16(z, 4);
            z = _mm_adds_epu8(_mm_avg_epu8(x, y), _mm_load_si128((__m128i *)(b + i)));
            _mm_store_si128((__m128i *)(b + i), _mm_shuffle_epi32(_mm_unpacklo_epi8(z, y), 0x4e));
        }
    return sum ^ sum_of(b, sizeof(b));
}
#endif

int main(int argc, char **argv)
{
    static const struct kernel kernels[] = {
        { "bodies", bodies }, { "fft", fft }, { "rays", rays }, { "functions", functions }, { "product", product },
#if !defined(__FLT_EVAL_METHOD__) || __FLT_EVAL_METHOD__ == 0
        { "sse", sse }, { "avx2", avx2 }, { "bytes", bytes },
#endif
        { NULL, NULL },
    };
    return run_kernel(kernels, argc, argv);
}
