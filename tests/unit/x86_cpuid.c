/* CPUID: vendor and limits, features follow the model and its words, dependents fall with what they need, sizes of XSAVE, places of threads; -cpu. */
#include "tests/unit/test.h"
#include "x86/cpuid.h"
#include <errno.h>

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
    fresh(NULL);
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
    x86_cpuid(&cpu, 0x8000000a, 0, r);
    CHECK_EQ(r[3] & 1, 0);
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
    CHECK(!x86_has(&id, FEAT_xsave) || (r[0] & 7) == 3);
    fresh("max,-avx,-pku");
    x86_cpuid(&cpu, 0xd, 0, r);
    CHECK(!x86_has(&id, FEAT_xsave) || (r[0] == 3 && r[2] == 576));
    fresh("x86-64-v2");
    x86_cpuid(&cpu, 0xd, 1, r);
    CHECK_EQ(r[0] | r[1] | r[2] | r[3], 0);
    CHECK(!x86_has(&id, FEAT_xsave) && x86_has(&id, FEAT_sse2) && x86_has(&id, FEAT_lm));
    CHECK(x86_cpuid_model(&id, "pentium9") < 0);
    CHECK(x86_cpuid_model(&id, "max,+nonsense") < 0);
}

/* A processor as one wants it: everything, but for one bit. */
static struct { uint32_t leaf; uint8_t reg; uint32_t bits; } lacks;
static void host(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    memset(out, 0xff, 16);
    if (leaf == lacks.leaf && subleaf == 0)
        out[lacks.reg] &= ~lacks.bits;
}

static const struct { const char *name, *base, *features; } rows[] = {
#define MODEL(name, base, vendor, family, model, stepping, level, xlevel, brand, features) { #name, base, features },
#include "x86/models.def"
#undef MODEL
};

/* The words of a row over those of its base, as a list of names would be read. */
static void listed(const char *name, bool has[FEAT_COUNT])
{
    for (unsigned i = 0; *name && i < ARRAY_SIZE(rows); i++) {
        if (strcmp(rows[i].name, name))
            continue;
        listed(rows[i].base, has);
        for (unsigned f = 1; f < FEAT_COUNT; f++) {
            size_t n = strlen(x86_feats[f].name);
            for (const char *p = rows[i].features; x86_feats[f].host != 2 && (p = strstr(p, x86_feats[f].name)); p += n)
                has[f] |= (p == rows[i].features || p[-1] == ' ') && (p[n] == ' ' || !p[n]);
        }
    }
}

/* Every row of models.def and each of its words: known, and what it builds on is in the model, too. */
TEST(model_rows)
{
    struct x86_model_why why;
    lacks.bits = 0;
    for (unsigned i = 0; x86_model_name(i); i++) {
        bool has[FEAT_COUNT] = { false };
        CHECK(!x86_model_make(&id, x86_model_name(i), host, NULL, &why) && x86_model_possible(i, host, NULL));
        listed(rows[i].name, has);
        for (unsigned f = 1; f < FEAT_COUNT && *rows[i].features != '*'; f++)
            CHECK_EQ(x86_has(&id, f), has[f]);
        for (const char *p = rows[i].features; *p && *p != '?'; p += strspn(p, " ")) {
            char spec[64];
            size_t n = strcspn(p, " ");
            snprintf(spec, sizeof(spec), "max,-%.*s", (int)(n - (*p == '-')), p + (*p == '-'));
            CHECK(*p == '*' || x86_model_make(&id, spec, host, NULL, &why) == 0);
            p += n;
        }
    }
}

/* The default can be had everywhere, less what the host lacks; and what it leaves out of what could be had is on purpose. */
TEST(default_model)
{
    struct x86_model_why why;
    struct x86_cpuid max;
    lacks.bits = 0;
    CHECK_EQ(x86_model_make(&max, "max", host, NULL, &why), 0);
    CHECK_EQ(x86_model_make(&id, NULL, host, NULL, &why), 0);
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        const char *n = x86_feats[f].name;
        bool left_out = !strncmp(n, "avx512", 6) || !strcmp(n, "la57") || !strcmp(n, "pku") || !strcmp(n, "npt") || !strcmp(n, "nrip_save") ||
                        !strcmp(n, "flushbyasid");
        CHECK_EQ(x86_has(&id, f), x86_has(&max, f) && !left_out);
    }
    lacks.leaf = 1, lacks.reg = 2, lacks.bits = 1u << 28 | 1u << 19 | 1u << 25;   /* AVX, SSE4.1, AES */
    CHECK_EQ(x86_model_make(&id, NULL, host, NULL, &why), 0);
    CHECK(!x86_has(&id, FEAT_avx) && !x86_has(&id, FEAT_avx2) && !x86_has(&id, FEAT_sse42) && !x86_has(&id, FEAT_aes));
    CHECK(x86_has(&id, FEAT_ssse3) && x86_has(&id, FEAT_xsave) && x86_has(&id, FEAT_bmi2));
    CHECK_EQ(x86_model_make(&id, "duet64,+aes", host, NULL, &why), -EINVAL);
    CHECK_EQ(why.fault, X86_NOT_HERE);
    lacks.bits = 0;
}

/* Each feature is at its place, and only where the model has it. */
TEST(feature_bits)
{
    struct x86_model_why why;
    lacks.bits = 0;
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        const struct x86_feat_row *row = &x86_feats[f];
        CHECK_EQ(x86_model_make(&id, "max,+svm,+pmu,vendor=GenuineIntel", host, NULL, &why), 0);
        memset(&cpu, 0, sizeof(cpu));
        cpu.cpuid = &id;
        cpu.efer = EFER_LMA;                                               /* SYSCALL shows in 64-bit code */
        cpu.seg[X86_CS].attr = SEG_L;
        x86_cpuid(&cpu, row->leaf, row->subleaf, r);
        CHECK_EQ(r[row->reg] >> row->bit & 1, row->host != 2);
        x86_feat_set(&id, f, false);
        x86_cpuid(&cpu, row->leaf, row->subleaf, r);
        CHECK_EQ(r[row->reg] >> row->bit & 1, 0);
    }
}

static void is(const char *spec, enum x86_feat f, bool on, uint32_t signature, uint32_t level)
{
    struct x86_model_why why;
    CHECK_EQ(x86_model_make(&id, spec, host, NULL, &why), 0);
    CHECK_EQ(x86_has(&id, f), on);
    CHECK_EQ(id.signature, signature);
    CHECK_EQ(id.level, level);
}

TEST(model_list)
{
    lacks.bits = 0;
    is("486", FEAT_tsc, false, 0x480, 1);
    is("pentium", FEAT_cmov, false, 0x543, 1);
    is("pentium3", FEAT_sse, true, 0x673, 2);
    is("core2duo", FEAT_sse41, false, 0x6fb, 10);
    is("Conroe", FEAT_lm, true, 0x6fb, 10);
    is("Nehalem", FEAT_sse42, true, 0x106a3, 11);
    is("Haswell", FEAT_avx2, true, 0x306c4, 13);
    is("Skylake-Server", FEAT_avx512bw, true, 0x50654, 13);
    is("Skylake-Server,-avx512f", FEAT_avx512bw, false, 0x50654, 13);
    is("EPYC", FEAT_avx512f, false, 0x800f12, 13);
    is("x86-64-v2", FEAT_avx, false, 0x106ca, 0x1f);
    is("x86-64-v3", FEAT_avx512f, false, 0x106ca, 0x1f);
    is("x86-64-v4", FEAT_avx512vl, true, 0x106ca, 0x1f);
    is("qemu64", FEAT_ssse3, false, 0x106ca, 13);
    is("486,+sse4.1=off,family=5,model=0x12,stepping=3,level=2", FEAT_sse41, false, 0x10523, 2);
    is("pentium,sse=on,fxsr,+smep", FEAT_smep, true, 0x543, 7);         /* leaves up to what the features need */
    is("duet64,vendor=AuthenticAMD,model-id=A processor", FEAT_lm, true, 0xb00f00, 0x1f);
    CHECK(!strcmp(id.brand, "A processor") && id.amd);
}

static void refused(const char *spec, enum x86_model_fault fault, const char *word, const char *near, const char *list)
{
    struct x86_model_why why;
    CHECK_EQ(x86_model_make(&id, spec, host, NULL, &why), -EINVAL);
    CHECK_EQ(why.fault, fault);
    CHECK(!strcmp(why.word, word) && !strcmp(why.near, near) && !strcmp(why.list, list));
}

TEST(model_refused)
{
    lacks.bits = 0;
    refused("pentium9", X86_NO_MODEL, "pentium9", "", "");
    refused("max,+avx3", X86_NO_FEATURE, "+avx3", "", "");
    refused("max,avx=perhaps", X86_NO_FEATURE, "avx=perhaps", "", "");
    refused("max,family=x", X86_BAD_VALUE, "family=x", "", "");
    refused("max,vendor=Nobody", X86_BAD_VALUE, "vendor=Nobody", "", "");
    refused("max,+sse4a", X86_NOT_GIVEN, "sse4a", "", "");
    refused("x86-64-v2,+avx2", X86_NEEDS_MORE, "avx2", "", "avx xsave");
    refused("max,-avx,+avx2", X86_NEEDS_MORE, "avx2", "", "avx");
    refused("core2duo,+npt", X86_NEEDS_MORE, "npt", "", "svm");
    lacks.leaf = 7, lacks.reg = 1, lacks.bits = 1u << 16;                   /* no AVX512F */
    refused("max,+avx512f", X86_NOT_HERE, "avx512f", "avx2", "");
    refused("Icelake-Server", X86_MODEL_NOT_HERE, "Icelake-Server", "Skylake-Client", "avx512f");
    refused("EPYC-Genoa", X86_MODEL_NOT_HERE, "EPYC-Genoa", "EPYC-Milan", "avx512f");
    is("Skylake-Server,-avx512f", FEAT_avx2, true, 0x50654, 13);
    is("max", FEAT_avx512bw, false, 0x106ca, 0x1f);
}

/* A processor that is lent out: its vendor, limits and features; words take away, and add only what it has. */
static void lent(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    static const struct { uint32_t leaf, v[4]; } has[] = {
        { 0, { 0x10, 0x756e6547, 0x6c65746e, 0x49656e69 } }, { 1, { 0x50654, 0, 1u << 0 | 1u << 26, 0x07ffffff } }, { 0x80000000, { 0x80000008, 0, 0, 0 } },
        { 0x80000001, { 0, 0, 1, 1u << 29 } } };
    memset(out, 0, 16);
    for (unsigned i = 0; i < ARRAY_SIZE(has); i++)
        if (has[i].leaf == leaf)
            memcpy(out, has[i].v, 16);
}

TEST(model_adopted)
{
    memset(&cpu, 0, sizeof(cpu));
    cpu.cpuid = &id;
    CHECK_EQ(x86_cpuid_adopt(&id, "host,-sse3,+avx", lent, NULL), 0);
    CHECK(!strcmp(id.vendor, "GenuineIntel") && !id.amd && id.signature == 0x50654);
    CHECK(x86_has(&id, FEAT_sse2) && x86_has(&id, FEAT_xsave) && x86_has(&id, FEAT_lm) && !x86_has(&id, FEAT_sse3) && !x86_has(&id, FEAT_avx));
    x86_cpuid(&cpu, 0, 0, r);
    CHECK_EQ(r[0], 0x10);
    x86_cpuid(&cpu, 0x80000000, 0, r);
    CHECK_EQ(r[0], 0x80000008);
    CHECK(x86_cpuid_adopt(&id, "host,+nonsense", lent, NULL) < 0);
}

/* CR4, EFER, MSRs, paging: what a model lacks is reserved. */
TEST(model_reserved)
{
    uint64_t v;
    fresh("486");
    x86_cpuid(&cpu, 0x80000000, 0, r);                                      /* there are none: the last basic leaf answers */
    CHECK_EQ(r[0], 0x480);
    cpu.cr4 = 0;
    CHECK(x86_rdmsr(&cpu, 0xc0000080, &v) < 0 && x86_rdmsr(&cpu, 0x277, &v) < 0 && x86_rdmsr(&cpu, 0x174, &v) < 0 && x86_rdmsr(&cpu, 0x1b, &v) < 0);
    CHECK(x86_rdmsr(&cpu, 0xfe, &v) < 0 && x86_rdmsr(&cpu, 0x2ff, &v) < 0 && x86_rdmsr(&cpu, 0x179, &v) < 0 && x86_rdmsr(&cpu, 0x401, &v) < 0);
    fresh("pentium3");
    x86_cpuid(&cpu, 2, 0, r);                                               /* no FFh: there is no leaf 4 to look at */
    for (unsigned i = 0; i < 16; i++)
        CHECK((r[i / 4] >> i % 4 * 8 & 0xff) != 0xff);
    CHECK(!x86_rdmsr(&cpu, 0x277, &v) && !x86_rdmsr(&cpu, 0x174, &v) && !x86_rdmsr(&cpu, 0xfe, &v) && x86_rdmsr(&cpu, 0xc0000080, &v) < 0);
    fresh("qemu32");
    CHECK(!x86_wrmsr(&cpu, 0xc0000080, EFER_NXE) && x86_wrmsr(&cpu, 0xc0000080, EFER_LME) < 0 && x86_wrmsr(&cpu, 0xc0000080, EFER_SCE) < 0);
    fresh("max,-syscall");
    CHECK(!x86_wrmsr(&cpu, 0xc0000080, EFER_LME) && x86_wrmsr(&cpu, 0xc0000080, EFER_SCE) < 0);
}

/* 2 packages of 3 cores of 2 threads: APIC ids have 1, 2 and the remaining bits. */
TEST(topology)
{
    struct vcpu v = { .id = 13 };
    fresh("max");
    id.cores = 3;
    id.threads = 2;
    cpu.vcpu = &v;
    x86_cpuid(&cpu, 1, 0, r);
    CHECK((r[1] >> 16 & 0xff) == 6 && r[1] >> 24 == 13 && (r[3] & 1u << 28));
    for (unsigned leaf = 0xb; leaf <= 0x1f; leaf += 0x14) {
        x86_cpuid(&cpu, leaf, 0, r);
        CHECK(r[0] == 1 && r[1] == 2 && r[2] == (1u << 8 | 0) && r[3] == 13);
        x86_cpuid(&cpu, leaf, 1, r);
        CHECK(r[0] == 3 && r[1] == 6 && r[2] == (2u << 8 | 1) && r[3] == 13);
        x86_cpuid(&cpu, leaf, 2, r);
        CHECK(r[0] == 0 && r[1] == 0 && r[2] == 2 && r[3] == 13);
    }
    x86_cpuid(&cpu, 4, 0, r);
    CHECK((r[0] & 0xff) == 0x21 && (r[0] >> 14 & 0xfff) == 1 && r[0] >> 26 == 3 && r[2] == 63);
    x86_cpuid(&cpu, 4, 3, r);
    CHECK((r[0] & 0xff) == 0x63 && (r[0] >> 14 & 0xfff) == 7);
    x86_cpuid(&cpu, 4, 4, r);
    CHECK_EQ(r[0], 0);
    x86_cpuid(&cpu, 0x80000008, 0, r);
    CHECK_EQ(r[2], 0);
    fresh("EPYC,-f16c,-avx");                          /* whatever the host has */
    id.cores = 3;
    id.threads = 2;
    cpu.vcpu = &v;
    x86_cpuid(&cpu, 0x80000001, 0, r);
    CHECK((r[2] & (1u << 1 | 1u << 22)) == (1u << 1 | 1u << 22));
    x86_cpuid(&cpu, 0x80000008, 0, r);
    CHECK_EQ(r[2], 5 | 3 << 12);
    x86_cpuid(&cpu, 0x8000001d, 0, r);
    CHECK((r[0] & 0xff) == 0x21 && r[0] >> 14 == 1);
    x86_cpuid(&cpu, 0x8000001d, 3, r);
    CHECK((r[0] & 0xff) == 0x63 && r[0] >> 14 == 7);
    x86_cpuid(&cpu, 0x8000001e, 0, r);                 /* 13: package 1, core 2, thread 1 */
    CHECK(r[0] == 13 && r[1] == (2u | 1u << 8) && r[2] == 1);
    x86_cpuid(&cpu, 4, 0, r);
    CHECK_EQ(r[0], 0);
}

/* The components of AVX-512: sizes by the architecture, places by the host; one after the other in the compacted format. */
TEST(cpuid_xsave_avx512)
{
    static const unsigned size[3] = { 64, 512, 1024 };
    unsigned end = 0;
    fresh("max,-pku");
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
    fresh("x86-64-v3");
    CHECK(!x86_has(&id, FEAT_avx512f) && !x86_has(&id, FEAT_gfni) && !x86_has(&id, FEAT_vaes));
    fresh("max,-avx2");
    CHECK(!x86_has(&id, FEAT_avx512f) && !x86_has(&id, FEAT_avx512bw) && !x86_has(&id, FEAT_avx512_vbmi2));
}

TEST(cpuid_xsave)
{
    fresh("max,-pku,-avx512f");
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
    fresh("max,-pku,-avx512f,-xsavec");
    x86_cpuid(&cpu, 0xd, 1, r);
    CHECK(r[0] == 5 && r[1] == 0);
}

/* Keys and wide addresses: component 9 after all others, OSPKE, linear address bits. */
TEST(cpuid_wide)
{
    fresh("max");
    CHECK(x86_has(&id, FEAT_pku) && x86_has(&id, FEAT_la57));
    x86_cpuid(&cpu, 7, 0, r);
    CHECK((r[2] & (1u << 3 | 1u << 4 | 1u << 16)) == (1u << 3 | 1u << 16));
    cpu.cr4 |= CR4_PKE;
    x86_cpuid(&cpu, 7, 0, r);
    CHECK(r[2] & 1u << 4);
    x86_cpuid(&cpu, 0x80000008, 0, r);
    CHECK_EQ(r[0] & 0xffff, 46 | 57 << 8);
    x86_cpuid(&cpu, 0xd, 9, r);
    CHECK(r[0] == 8 && r[1] >= X86_XSAVE_SIZE && r[2] == 0);
    uint32_t end = r[1] + 8;
    cpu.xcr0 = 0x203;
    x86_cpuid(&cpu, 0xd, 0, r);
    CHECK((r[0] & 0x200) && r[1] == end && r[2] == end);
    x86_cpuid(&cpu, 0xd, 1, r);
    CHECK_EQ(r[1], 584);
    CHECK(x86_cpuid_model(&id, "max,-xsave") == 0 && !x86_has(&id, FEAT_pku));
}
