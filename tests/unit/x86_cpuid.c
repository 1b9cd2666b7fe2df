/* CPUID: vendor and limits, features follow the model and its words, dependents fall with what they need, sizes of XSAVE. */
#include "tests/unit/test.h"
#include "x86/cpuid.h"

static struct x86_cpuid id;
static struct x86_cpu cpu;
static uint32_t flags, r[4];

static void fresh(const char *spec)
{
    CHECK_EQ(x86_cpuid_model(&id, spec), 0);
    memset(&cpu, 0, sizeof(cpu));
    cpu.cpuid = &id;
    cpu.flags_word = &flags;
    x86_reset(&cpu);
}

TEST(cpuid_leaves)
{
    fresh("max");
    x86_cpuid(&cpu, 0, 0, r);
    CHECK(r[0] >= 0xd && !memcmp(&r[1], "Genu", 4) && !memcmp(&r[3], "ineI", 4) && !memcmp(&r[2], "ntel", 4));
    x86_cpuid(&cpu, 1, 0, r);
    CHECK_EQ(r[0], 0x106ca);
    CHECK(!(r[2] & 1u << 27));
    cpu.cr4 |= CR4_OSXSAVE;
    x86_cpuid(&cpu, 1, 0, r);
    CHECK(r[2] & 1u << 27);
    x86_cpuid(&cpu, 0x80000008, 0, r);
    CHECK_EQ(r[0] & 0xffff, 46 | 48 << 8);
    x86_cpuid(&cpu, 0x40000000, 0, r);
    CHECK(!memcmp(&r[1], "DuetDuetDuet", 12));
    x86_cpuid(&cpu, 0x15, 0, r);
    CHECK(r[0] && (uint64_t)r[2] * r[1] / r[0] == x86_tsc_hz());
}

/* SVM is offered on request, makes an AMD of us, and brings its leaf. */
TEST(cpuid_svm)
{
    fresh("max");
    CHECK(!x86_has(&id, FEAT_svm) && !x86_has(&id, FEAT_npt) && !id.amd);
    x86_cpuid(&cpu, 0x80000000, 0, r);
    CHECK_EQ(r[0], 0x80000008);
    fresh("max,+svm,-npt");
    x86_cpuid(&cpu, 0, 0, r);
    CHECK(id.amd && !memcmp(&r[1], "Auth", 4) && !memcmp(&r[3], "enti", 4) && !memcmp(&r[2], "cAMD", 4));
    x86_cpuid(&cpu, 1, 0, r);
    CHECK_EQ((r[0] >> 8 & 15) + (r[0] >> 20 & 0xff), 0x1a);
    x86_cpuid(&cpu, 0x80000001, 0, r);
    CHECK(r[2] & 4);
    CHECK(r[3] & 1u << 11);                    /* SYSCALL, outside 64-bit code too */
    x86_cpuid(&cpu, 0x8000000a, 0, r);
    CHECK(r[0] == 1 && r[1] > 1 && (r[3] & 0x49) == 0x48);
    fresh("max,+svm,vendor=GenuineIntel");
    CHECK(x86_has(&id, FEAT_svm) && !id.amd);
    fresh("max,vendor=AuthenticAMD");
    CHECK(!x86_has(&id, FEAT_svm) && id.amd);
    CHECK(x86_cpuid_model(&id, "max,vendor=Nobody") < 0);
}

TEST(cpuid_models)
{
    fresh("max,-avx");
    CHECK(!x86_has(&id, FEAT_avx) && !x86_has(&id, FEAT_avx2) && !x86_has(&id, FEAT_fma));
    x86_cpuid(&cpu, 0xd, 0, r);
    CHECK(!x86_has(&id, FEAT_xsave) || (r[0] == 3 && r[2] == 576));
    fresh("duet64");
    x86_cpuid(&cpu, 0xd, 1, r);
    CHECK_EQ(r[0] | r[1] | r[2] | r[3], 0);
    CHECK(!x86_has(&id, FEAT_xsave) && x86_has(&id, FEAT_sse2) && x86_has(&id, FEAT_lm));
    CHECK(x86_cpuid_model(&id, "pentium9") < 0);
    CHECK(x86_cpuid_model(&id, "max,+nonsense") < 0);
}

/* The components of AVX-512: sizes by the architecture, places by the host; one after the other in the compacted format. */
TEST(cpuid_xsave_avx512)
{
    static const unsigned size[3] = { 64, 512, 1024 };
    unsigned end = 0;
    fresh("max");
    if (!x86_has(&id, FEAT_avx512f))
        SKIP("the host has no AVX-512");
    for (unsigned n = 5; n < 8; n++) {
        x86_cpuid(&cpu, 0xd, n, r);
        CHECK(r[0] == size[n - 5] && r[1] >= 832 && r[1] % 64 == 0 && r[1] >= end);
        end = r[1] + r[0];
    }
    for (unsigned k = 0; k < 2; k++) {
        cpu.xcr0 = k ? 0xe7 : 7;
        x86_cpuid(&cpu, 0xd, 0, r);
        CHECK(r[0] == 0xe7 && r[1] == (k ? end : 832) && r[2] == end && r[3] == 0);
        x86_cpuid(&cpu, 0xd, 1, r);
        CHECK(r[0] == 15 && r[1] == (k ? 2432 : 832) && r[2] == 0 && r[3] == 0);
    }
    fresh("duet64");
    CHECK(!x86_has(&id, FEAT_avx512f) && !x86_has(&id, FEAT_gfni) && !x86_has(&id, FEAT_vaes));
    fresh("max,-avx2");
    CHECK(!x86_has(&id, FEAT_avx512f) && !x86_has(&id, FEAT_avx512bw) && !x86_has(&id, FEAT_avx512_vbmi2));
}

TEST(cpuid_xsave)
{
    fresh("max,-avx512f");
    if (!x86_has(&id, FEAT_avx))
        SKIP("the host has no AVX");
    for (unsigned k = 0; k < 2; k++) {
        cpu.xcr0 = k ? 7 : 3;
        x86_cpuid(&cpu, 0xd, 0, r);
        CHECK(r[0] == 7 && r[1] == (k ? 832 : 576) && r[2] == 832 && r[3] == 0);
        x86_cpuid(&cpu, 0xd, 1, r);                          /* XSAVEOPT, XSAVEC, XGETBV(1), XSAVES; no supervisor components */
        CHECK(r[0] == 15 && r[1] == (k ? 832 : 576) && r[2] == 0 && r[3] == 0);
    }
    x86_cpuid(&cpu, 0xd, 2, r);
    CHECK(r[0] == 256 && r[1] == 576 && r[2] == 0 && r[3] == 0);
    x86_cpuid(&cpu, 0xd, 5, r);
    CHECK_EQ(r[0] | r[1] | r[2] | r[3], 0);
    fresh("max,-avx512f,-xsavec");
    x86_cpuid(&cpu, 0xd, 1, r);
    CHECK(r[0] == 5 && r[1] == 0);
}
