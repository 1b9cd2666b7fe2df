/*
 * A program that uses AVX-512 as programs do, built static and run natively and in the guest: what it prints must be the same. Arithmetic of each
 * family hashed; masked accesses beside a page that is not there, with a handler that makes it so in the middle of a gather; registers and
 * opmasks kept over context switches and signals.
 */
#define _GNU_SOURCE
#include <immintrin.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}

static __m512i random_vector(void)
{
    uint64_t v[8];
    for (int i = 0; i < 8; i++)
        v[i] = rnd();
    return _mm512_loadu_si512(v);
}

static uint64_t hash;
static void add(__m512i v)
{
    uint64_t w[8];
    _mm512_storeu_si512(w, v);
    for (int i = 0; i < 8; i++)
        hash = (hash ^ w[i]) * 0x100000001b3ull + 1;
}

static void say(const char *name)
{
    printf("%s %016llx\n", name, (unsigned long long)hash);
    hash = 0;
}

static void floats(void)
{
    __m512d a = _mm512_set1_pd(1.0), b = _mm512_cvtepi64_pd(_mm512_srli_epi64(random_vector(), 40));
    for (int i = 0; i < 3000; i++) {
        __mmask8 k = (__mmask8)rnd();
        a = _mm512_mask_fmadd_pd(a, k, b, _mm512_set1_pd(0.75));
        b = _mm512_add_round_pd(_mm512_sqrt_pd(_mm512_abs_pd(a)), b, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
        a = _mm512_maskz_getmant_pd((__mmask8)~k, a, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
        add(_mm512_castpd_si512(_mm512_scalef_pd(a, _mm512_set1_pd(i % 7))));
        add(_mm512_castsi256_si512(_mm512_cvtpd_epu32(b)));
    }
    say("floats");
}

static void integers(void)
{
    __m512i a = random_vector(), b = random_vector(), c = random_vector();
    for (int i = 0; i < 3000; i++) {
        __mmask16 k = _mm512_cmpgt_epu32_mask(a, b);
        a = _mm512_mask_mullo_epi32(a, k, b, c);
        b = _mm512_ternarylogic_epi64(a, b, c, 0x96);
        c = _mm512_permutex2var_epi16(a, b, c);
        a = _mm512_add_epi64(a, _mm512_popcnt_epi64(_mm512_conflict_epi32(b)));
        b = _mm512_dpbusd_epi32(b, a, c);
        c = _mm512_shrdv_epi16(c, a, b);
        a = _mm512_madd52hi_epu64(a, b, c);
        b = _mm512_maskz_compress_epi8(_cvtu64_mask64(rnd()), b);
        b = _mm512_xor_si512(b, _mm512_gf2p8affine_epi64_epi8(a, c, 0x63));
        c = _mm512_aesenc_epi128(c, _mm512_clmulepi64_epi128(a, b, 0x10));
        add(_mm512_xor_si512(a, _mm512_sub_epi8(b, c)));
    }
    say("integers");
}

static uint8_t *pages;
static volatile int faults;
static void on_segv(int sig)
{
    faults++;
    mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE);
}

/* The upper of two pages is away. */
static void edges(void)
{
    uint64_t index[8];
    signal(SIGSEGV, on_segv);
    for (int i = 0; i < 4096; i++)
        pages[i] = (uint8_t)(i * 7);
    for (int n = 0; n <= 64; n++) {
        __mmask64 k = n == 64 ? ~0ull : (1ull << n) - 1;
        __m512i v = _mm512_maskz_loadu_epi8(k, pages + 4096 - n);
        _mm512_mask_storeu_epi8(pages + 4096 - n, k, _mm512_add_epi8(v, _mm512_set1_epi8(1)));
        _mm512_mask_compressstoreu_epi8(pages + 4096 - n, n ? ~0ull << (64 - n) : 0, v);
        add(v);
    }
    add(_mm512_castsi128_si512(_mm_maskz_broadcastb_epi8(0, _mm_set1_epi8(pages[4095]))));
    for (int i = 0; i < 8; i++)
        index[i] = (uint64_t)(i * 700);
    __m512i got = _mm512_mask_i64gather_epi64(_mm512_set1_epi64(-1), 0x7f, _mm512_loadu_si512(index), pages, 1);
    add(got);
    printf("faults %d\n", faults);
    _mm512_mask_i64scatter_epi64(pages, 0xa5, _mm512_loadu_si512(index), got, 1);
    for (int i = 0; i < 8192; i += 64)
        add(_mm512_loadu_si512(pages + i));
    say("edges");
}

/* Sixteen of the registers from 16 on, and two masks, hold what depends on WHO over LOOPS rounds of something else. */
static int keeps(uint64_t who, int loops, void (*other)(void))
{
    int bad = 0;
    for (int i = 0; i < loops; i++) {
        uint64_t in = who * 0x9e3779b97f4a7c15ull + (uint64_t)i, out[4];
        __asm__ volatile("vpbroadcastq %0, %%zmm31\n\tvpaddq %%zmm31, %%zmm31, %%zmm16\n\tvpaddq %%zmm31, %%zmm16, %%zmm3\n\tkmovq %0, %%k7\n\tknotq %%k7, %%k1"
                         : : "r"(in) : "memory", "xmm16", "xmm31", "xmm3", "k1", "k7");
        other();                                     /* a system call or a signal: the kernel keeps all of them */
        __asm__ volatile("vextracti64x2 $3, %%zmm31, %%xmm0\n\tvmovq %%xmm0, %0\n\tvextracti64x2 $3, %%zmm16, %%xmm0\n\tvmovq %%xmm0, %1\n\t"
                         "vextracti64x2 $3, %%zmm3, %%xmm0\n\tvmovq %%xmm0, %2\n\tkxnorq %%k1, %%k7, %%k0\n\tkmovq %%k0, %3"
                         : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : : "xmm0");
        bad += out[0] != in || out[1] != 2 * in || out[2] != 3 * in || out[3] != 0;
    }
    return bad;
}

static __attribute__((naked, noinline)) void yield(void) { __asm__("mov $24, %eax\n\tsyscall\n\tret"); }
static volatile uint64_t spin_until;
static void spin(void)
{
    for (uint64_t i = 0; i < 100000; i++)
        spin_until = spin_until + i;
}

static void on_alarm(int sig)
{
    __asm__ volatile("vpternlogd $0xff, %%zmm31, %%zmm31, %%zmm31\n\tvpxorq %%zmm16, %%zmm16, %%zmm16\n\tvzeroall\n\t"
                     "kxorq %%k7, %%k7, %%k7\n\tkxorq %%k1, %%k1, %%k1" : : :
                     "xmm31", "xmm16", "xmm3", "k1", "k7");
    ualarm(500, 0);
}

static void switches(void)
{
    int bad = 0;
    for (uint64_t child = 1; child <= 3; child++)
        if (!fork())
            _exit(keeps(child, 3000, yield) != 0 || keeps(child, 100, spin) != 0);
    for (int n = 0, status; n < 3; n++)
        bad += wait(&status) < 0 || status;
    printf("switches %d bad\n", bad);
    signal(SIGALRM, on_alarm);
    ualarm(500, 0);
    bad = keeps(9, 300, spin);
    signal(SIGALRM, SIG_IGN);
    printf("signals %d bad\n", bad);
}

int main(void)
{
    pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(pages + 4096, 4096, PROT_NONE);
    floats();
    integers();
    edges();
    switches();
    return 0;
}
