/*
 * Which encodings exist: the decoder's answer for VEX and EVEX against the host's processor. EVEX's space in three maps is walked (opcode,
 * mandatory prefix, W, L'L, b, z, a mask or none, modrm.reg, register or memory), then random prefixes of the rows, then the VEX space; an
 * encoding in 80 is taken, all with DUET_ALL in the environment (some minutes); in 64-bit code, then in 32-bit code. Each is run in this process with
 * an empty mask, and #UD must come when and only when the decoder refuses, or the row's feature is not offered. Opcodes with no row at all that
 * the processor has are extensions that we do not know: they are counted, and no failure.
 *
 * One signal an encoding: the handler notes the outcome and writes the next one to where it returns to.
 */
#define _GNU_SOURCE
#include "frontend-x86/rows.h"
#include "tests/unit/test.h"
#include "x86/cpuid.h"
#include "x86/xstate.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { AT = 5, BYTES = 16 };
static struct x86_cpuid model;
static uint8_t *code, *data;                         /* below 4 GiB */
static bool (*next_case)(uint8_t *b);                /* fills b; false: that was the last */
static greg_t saved[NGREG];
static bool running;
static enum x86_mode mode;
static unsigned cases, wrong, unknown, exist;
static uint8_t known[3][4][256];                     /* [EVEX VEX][map][opcode]: has a row */

static bool offered(const struct x86_insn *i)
{
    uint32_t a = i->row->attr;
    bool one_length = a & (X86_F_LIG | X86_F_VEXL0), full = i->vex_l == 2 || (i->evex_b && i->modrm >= 0xc0);
    if (!x86_has(&model, i->row->feat))
        return false;
    return !i->evex || (x86_has(&model, FEAT_avx512f) && (one_length || full || x86_has(&model, FEAT_avx512vl)));
}

/* AMD's processors do not look at W of VEX VPERMQ and VPERMPD, and in 32-bit code they refuse VEX VPEXTRD and VPINSRD with W, which means nothing there. */
static bool amd_w(const uint8_t *b, bool ours)
{
    if (b[0] != 0xc4 || (b[1] & 31) != 3)
        return false;
    return ours ? mode == X86_M32 && (b[2] & 0x80) && (b[3] == 0x16 || b[3] == 0x22) : !(b[2] & 0x80) && b[3] < 2;
}

static void judge(bool ud)
{
    const uint8_t *b = code + AT;
    struct x86_insn i;
    char text[120] = "refused";
    bool ours = x86_decode(&i, b, BYTES - 1, mode) == X86_OK && offered(&i);
    unsigned map = b[0] == 0x62 ? b[1] & 7 : b[1] & 31, op = b[0] == 0x62 ? b[4] : b[3];
    cases++;
    exist += !ud;
    if (ours == !ud || amd_w(b, ours))
        return;
    if (!ours && map < 4 && !known[b[0] != 0x62][map][op]) {
        unknown++;
        return;
    }
    if (ours)
        x86_disas(&i, 0, text, sizeof text);
    if (wrong++ < 60)
        printf("%02x %02x %02x %02x %02x %02x %02x: processor %s, we: %s\n", b[0], b[1], b[2], b[3], b[4], b[5], b[6], ud ? "#UD" : "runs it", text);
}

static void prepare(greg_t *g)
{
    for (unsigned r = 0; r < 16; r++)
        g[r] = (greg_t)(data + 4096);                /* REG_R8..REG_RSP */
    g[REG_RIP] = (greg_t)code;
    if (mode == X86_M32)
        g[REG_CSGSFS] = (saved[REG_CSGSFS] & ~0xffffll) | 0x23;
}

static void handler(int sig, siginfo_t *si, void *ctx)
{
    greg_t *g = ((ucontext_t *)ctx)->uc_mcontext.gregs;
    if (!running) {
        memcpy(saved, g, sizeof saved);
        running = true;
    } else {
        judge(sig == SIGILL);
    }
    if (next_case(code + AT)) {
        prepare(g);
        return;
    }
    memcpy(g, saved, sizeof saved);
    g[REG_RIP] += 2;
    running = false;
}

static void setup(enum x86_mode m)
{
    static const uint8_t no_mask[AT] = { 0xc4, 0xe1, 0xf4, 0x47, 0xc9 };        /* kxorq k1, k1, k1 */
    static uint8_t alt[65536];
    static const int sigs[] = { SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE };
    stack_t ss = { .ss_sp = alt, .ss_size = sizeof alt };
    if (!x86_host_avx512())
        SKIP("the host has no AVX-512");
    CHECK_EQ(x86_cpuid_model(&model, "max,-la57,-pku"), 0);
    mode = m;
    for (unsigned n = 0; n < x86_n_rows; n++) {
        const struct x86_row *r = &x86_rows[n];
        if (r->attr & (X86_F_EVEX | X86_F_VEX))
            known[!(r->attr & X86_F_EVEX)][r->map][r->opcode] = 1;
    }
    if (!code) {
        code = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
        CHECK(code != MAP_FAILED);
        memset(code, 0xcc, 4096);
        data = code + 4096;
        memcpy(code, no_mask, AT);
    }
    CHECK_EQ(sigaltstack(&ss, NULL), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(sigs); i++) {
        struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
        sigaction(sigs[i], &sa, NULL);
    }
    cases = wrong = unknown = exist = 0;
}

static void run(bool (*cases_of)(uint8_t *))
{
    next_case = cases_of;
    __asm__ volatile("ud2" ::: "memory", "cc");
    printf("# %u encodings, %u exist; %u of extensions without a row\n", cases, exist, unknown);
    CHECK_EQ(wrong, 0);
    CHECK(exist > 1500);
}

/* modrm and what follows it. Memory: [rax + xmm4], [rax]. */
static void tail(uint8_t *b, unsigned reg, bool mem)
{
    memset(b, 0xcc, BYTES - 4);
    b[0] = (uint8_t)((mem ? 0x04 : 0xc0) | reg << 3);
    if (mem)
        b[1] = 0x20;
}

static uint64_t at, seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed * 0x9e3779b97f4a7c15ull >> 16;
}

static unsigned step(void) { return getenv("DUET_ALL") ? 1 : 1 + rnd() % 159; }

static unsigned take(uint64_t *n, unsigned bits)
{
    unsigned v = (unsigned)*n & ((1u << bits) - 1);
    *n >>= bits;
    return v;
}

/* Walked: bit by bit of a number. vvvv is 1111 in one half, in the other 1110. */
static bool evex_walk(uint8_t *b)
{
    uint64_t n = at += step();
    unsigned mem = take(&n, 1), reg = take(&n, 3), k = take(&n, 1), z = take(&n, 1), bit_b = take(&n, 1), ll = take(&n, 2), w = take(&n, 1), pp = take(&n, 2),
             v = take(&n, 1), op = take(&n, 8), map = take(&n, 2) + 1;
    if (map > 3)
        return false;
    b[0] = 0x62;
    b[1] = (uint8_t)(0xf0 | map);
    b[2] = (uint8_t)(w << 7 | (v ? 0x70 : 0x78) | 4 | pp);
    b[3] = (uint8_t)(z << 7 | ll << 5 | bit_b << 4 | 8 | k);
    b[4] = (uint8_t)op;
    tail(b + 5, reg, mem);
    return true;
}

static bool evex_random(uint8_t *b)
{
    if (!at--)
        return false;
    const struct x86_row *r;
    do
        r = &x86_rows[rnd() % x86_n_rows];
    while (!(r->attr & X86_F_EVEX));
    unsigned pp = r->prefix == P66 ? 1 : r->prefix == PF3 ? 2 : r->prefix == PF2 ? 3 : 0, w = r->w >= 0 ? (unsigned)r->w : rnd() & 1;
    b[0] = 0x62;
    b[1] = (uint8_t)(((rnd() & 0xf8) & (rnd() & 3 ? 0xf0 : 0xff)) | r->map | (mode == X86_M32 ? 0xc0 : 0));       /* or it would be BOUND */
    b[2] = (uint8_t)(w << 7 | (rnd() & 0x78) | (rnd() & 15 ? 4 : 0) | pp);
    b[3] = (uint8_t)((rnd() & 3 ? 0 : rnd() & 0x90) | (rnd() & 0x60) | (rnd() & 8) | (rnd() & 1));
    if (rnd() & 1)
        b[2] |= 0x78, b[3] |= 8;
    b[4] = r->opcode;
    tail(b + 5, r->ext >= 0 ? (unsigned)r->ext : rnd() & 7, rnd() & 1);
    return true;
}

static bool vex_walk(uint8_t *b)
{
    uint64_t n = at += step();
    unsigned mem = take(&n, 1), reg = take(&n, 3), rxb = take(&n, 3), l = take(&n, 1), w = take(&n, 1), pp = take(&n, 2), v = take(&n, 2),
             op = take(&n, 8), map = take(&n, 2) + 1;
    if (map > 3)
        return false;
    b[0] = 0xc4;
    b[1] = (uint8_t)(rxb << 5 | map | (mode == X86_M32 ? 0xc0 : 0));          /* or it would be LES */
    b[2] = (uint8_t)(w << 7 | (v == 0 ? 15 : v == 1 ? 14 : v == 2 ? 6 : 7) << 3 | l << 2 | pp);
    b[3] = (uint8_t)op;
    tail(b + 4, reg, mem);
    if (map == 1 && op == 0x77)                      /* no modrm: it would be a prefix of what comes next */
        b[4] = 0xcc;
    return true;
}

static unsigned n_random(void) { return getenv("DUET_ALL") ? 1000000 : 100000; }

TEST(evex_as_host) { setup(X86_M64); at = 0; run(evex_walk); }
TEST(evex_random_as_host) { setup(X86_M64); at = n_random(); run(evex_random); }
TEST(vex_as_host) { setup(X86_M64); at = 0; run(vex_walk); }
TEST(evex_as_host_32) { setup(X86_M32); at = 0; run(evex_walk); }
TEST(evex_random_as_host_32) { setup(X86_M32); at = n_random(); run(evex_random); }
TEST(vex_as_host_32) { setup(X86_M32); at = 0; run(vex_walk); }
