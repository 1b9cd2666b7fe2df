/*
 * CPUID: the models and the leaves. Features come from feat.def; every other number is here.
 *
 * Which processor we say we are decides which flaws a guest kernel defends against, and each defence (page-table isolation, retpolines,
 * buffer clearing, IBPB on every switch) costs a translated guest dearly although a translator has none of the flaws. Linux keeps a white list of
 * processors: AMD since Zen is spared Meltdown, L1TF and MDS, but gets Spectre v1 and v2, SSB and Retbleed. The one entry that means "does not
 * speculate at all", and so ends the search for flaws before the first of them in every kernel since 4.15, is the in-order Intel
 * Atom: family 6, model 1Ch. With GenuineIntel 6/1C/10 and today's feature bits the kernel uses the features (it looks at bits, not at
 * models) and no defences. Stepping 10 is above the old steppings (<= 2) whose large pages were broken. ARCH_CAPABILITIES says the same
 * to systems that look there. Consequences of the vendor, followed everywhere: SYSCALL is for 64-bit code only, SYSENTER works in
 * compatibility mode, leaf 15h gives the TSC rate (no calibration against the PIT), leaf 4 describes caches.
 *
 * With SVM (+svm) we are an AMD of family 1Ah instead, unless vendor= says otherwise: no kernel looks for SVM on an Intel. That costs
 * the defences against Spectre. Its SYSCALL is for compatibility mode too, its SYSENTER is not for long mode.
 *
 * SDM vol. 2 CPUID. The hypervisor leaves 4000_0000h follow the common layout: 4000_0010h eax = TSC kHz, ebx = APIC bus kHz.
 */
#include "x86/cpuid.h"
#include "x86/svm.h"
#include "x86/xstate.h"
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_BASIC 0x16u
#define MAX_EXT(id) (x86_has(id, FEAT_svm) ? 0x8000000au : 0x80000008u)
#define VENDOR_INTEL "GenuineIntel"
#define VENDOR_AMD "AuthenticAMD"
#define APIC_BUS_KHZ 1000000u

struct feat_row { const char *name; uint32_t leaf, subleaf; uint8_t reg, bit, host; };
static const struct feat_row feat_rows[FEAT_COUNT] = {
#define FEAT(name, leaf, subleaf, reg, bit, host) [FEAT_##name] = { #name, leaf, subleaf, reg, bit, host },
#include "x86/feat.def"
#undef FEAT
};

bool x86_has(const struct x86_cpuid *id, enum x86_feat f)
{
    return f == FEAT_none || (id->feats[f / 64] >> (f % 64) & 1);
}

static void feat_set(struct x86_cpuid *id, unsigned f, bool on)
{
    if (on)
        id->feats[f / 64] |= BIT(f % 64);
    else
        id->feats[f / 64] &= ~BIT(f % 64);
}

static bool host_avx_usable(void)
{
    uint32_t a, b, c, d, lo, hi;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27))
        return false;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (lo & 6) == 6;
}

static bool host_has(const struct feat_row *r)
{
    uint32_t v[4];
    if (!__get_cpuid_count(r->leaf, r->subleaf, &v[0], &v[1], &v[2], &v[3]))
        return false;
    return v[r->reg] >> r->bit & 1;
}

static int feat_find(const char *name, size_t len)
{
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        if (strlen(feat_rows[f].name) == len && !memcmp(feat_rows[f].name, name, len))
            return (int)f;
    }
    return -1;
}

/* A feature without what it builds on would make guests use what is not there. */
static void drop_dependents(struct x86_cpuid *id)
{
    static const uint8_t needs[][2] = {
        { FEAT_avx, FEAT_xsave }, { FEAT_avx, FEAT_sse42 }, { FEAT_avx2, FEAT_avx }, { FEAT_fma, FEAT_avx }, { FEAT_f16c, FEAT_avx },
        { FEAT_xsaveopt, FEAT_xsave }, { FEAT_xsavec, FEAT_xsave }, { FEAT_xgetbv1, FEAT_xsave }, { FEAT_xsaves, FEAT_xsavec },
        { FEAT_sse2, FEAT_sse }, { FEAT_sse3, FEAT_sse2 },
        { FEAT_ssse3, FEAT_sse3 }, { FEAT_sse41, FEAT_ssse3 }, { FEAT_sse42, FEAT_sse41 }, { FEAT_invpcid, FEAT_pcid }, { FEAT_x2apic, FEAT_apic },
        { FEAT_tsc_deadline, FEAT_apic }, { FEAT_pcid, FEAT_lm }, { FEAT_syscall, FEAT_lm }, { FEAT_vpclmulqdq, FEAT_avx }, { FEAT_vaes, FEAT_avx },
        { FEAT_avx_vnni, FEAT_avx2 },
        { FEAT_avx512f, FEAT_avx2 }, { FEAT_avx512f, FEAT_fma }, { FEAT_avx512f, FEAT_f16c }, { FEAT_avx512dq, FEAT_avx512f }, { FEAT_avx512ifma, FEAT_avx512f },
        { FEAT_avx512cd, FEAT_avx512f }, { FEAT_avx512bw, FEAT_avx512f }, { FEAT_avx512vl, FEAT_avx512f }, { FEAT_avx512_vbmi, FEAT_avx512bw },
        { FEAT_avx512_vbmi2, FEAT_avx512bw }, { FEAT_avx512_vnni, FEAT_avx512f }, { FEAT_avx512_bitalg, FEAT_avx512bw },
        { FEAT_avx512_vpopcntdq, FEAT_avx512f }, { FEAT_avx512_vp2intersect, FEAT_avx512f }, { FEAT_avx512_bf16, FEAT_avx512bw },
        { FEAT_npt, FEAT_svm }, { FEAT_nrip_save, FEAT_svm }, { FEAT_flushbyasid, FEAT_svm },
    };
    if (!x86_host_avx512())
        feat_set(id, FEAT_avx512f, false);
    for (int pass = 0; pass < 6; pass++)
        for (unsigned i = 0; i < ARRAY_SIZE(needs); i++)
            if (!x86_has(id, needs[i][1]))
                feat_set(id, needs[i][0], false);
}

static void model_max(struct x86_cpuid *id)
{
    bool avx = host_avx_usable();
    for (unsigned f = 1; f < FEAT_COUNT; f++)
        feat_set(id, f, feat_rows[f].host == 0 || (feat_rows[f].host == 1 && host_has(&feat_rows[f])));
    if (!avx)
        feat_set(id, FEAT_avx, false);
}

/* Lean: SSE4.2 and what kernels like, no XSAVE state beyond FXSAVE. */
static void model_lean(struct x86_cpuid *id)
{
    static const uint8_t drop[] = { FEAT_xsave, FEAT_avx, FEAT_bmi1, FEAT_bmi2, FEAT_adx, FEAT_sha, FEAT_movbe, FEAT_rdseed, FEAT_rdrand, FEAT_aes,
                                    FEAT_pclmulqdq, FEAT_abm, FEAT_rdpid, FEAT_umip, FEAT_clwb, FEAT_gfni };
    model_max(id);
    for (unsigned i = 0; i < ARRAY_SIZE(drop); i++)
        feat_set(id, drop[i], false);
}

/* vendor=: the two whose manners we know. */
static int apply_vendor(struct x86_cpuid *id, const char *v, size_t len)
{
    if (len != 12 || (memcmp(v, VENDOR_INTEL, 12) && memcmp(v, VENDOR_AMD, 12)))
        return -EINVAL;
    memcpy(id->vendor, v, 12);
    return 0;
}

static int apply_word(struct x86_cpuid *id, const char *w, size_t len)
{
    if (len > 7 && !memcmp(w, "vendor=", 7))
        return apply_vendor(id, w + 7, len - 7);
    int f = len > 1 && (*w == '+' || *w == '-') ? feat_find(w + 1, len - 1) : -1;
    if (f < 0)
        return -EINVAL;
    if (*w == '-')
        feat_set(id, (unsigned)f, false);
    else if (feat_rows[f].host != 2 && (feat_rows[f].host != 1 || host_has(&feat_rows[f])))
        feat_set(id, (unsigned)f, true);
    return 0;
}

/* The words after the model's name. */
static int apply_words(struct x86_cpuid *id, const char *spec)
{
    const char *p = spec ? spec + strcspn(spec, ",") : "";
    while (*p == ',') {
        size_t n = strcspn(++p, ",");
        if (apply_word(id, p, n))
            return -EINVAL;
        p += n;
    }
    drop_dependents(id);
    return 0;
}

static void name_brand(struct x86_cpuid *id)
{
    unsigned mhz = (unsigned)((x86_tsc_hz() + 5000000) / 10000000);
    snprintf(id->brand, sizeof(id->brand), "Duet Virtual CPU @ %u.%02uGHz", mhz / 100, mhz % 100);
}

int x86_cpuid_model(struct x86_cpuid *id, const char *spec)
{
    size_t len = strcspn(spec ? spec : "", ",");
    memset(id, 0, sizeof(*id));
    if (!spec || !len || (len == 3 && !memcmp(spec, "max", 3)) || (len == 4 && !memcmp(spec, "host", 4)))
        model_max(id);
    else if ((len == 6 && !memcmp(spec, "duet64", 6)) || (len == 6 && !memcmp(spec, "qemu64", 6)))
        model_lean(id);
    else
        return -EINVAL;
    if (apply_words(id, spec))
        return -EINVAL;
    if (!id->vendor[0])
        memcpy(id->vendor, x86_has(id, FEAT_svm) ? VENDOR_AMD : VENDOR_INTEL, 12);
    id->amd = !memcmp(id->vendor, VENDOR_AMD, 12);
    id->signature = id->amd ? 0x00b00f00 : 0x000106ca;
    name_brand(id);
    return 0;
}

static bool leaf_offers(const struct feat_row *r, x86_leaf_fn *leaf, void *opaque)
{
    uint32_t out[4] = { 0 };
    leaf(opaque, r->leaf, r->subleaf, out);
    return out[r->reg] >> r->bit & 1;
}

void x86_cpuid_restrict(struct x86_cpuid *id, x86_leaf_fn *leaf, void *opaque)
{
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        if (x86_has(id, f) && !leaf_offers(&feat_rows[f], leaf, opaque))
            feat_set(id, f, false);
    }
    drop_dependents(id);
}

int x86_cpuid_adopt(struct x86_cpuid *id, const char *spec, x86_leaf_fn *leaf, void *opaque)
{
    uint32_t out[4] = { 0 };
    memset(id, 0, sizeof(*id));
    for (unsigned f = 1; f < FEAT_COUNT; f++)
        feat_set(id, f, leaf_offers(&feat_rows[f], leaf, opaque));
    leaf(opaque, 0, 0, out);
    memcpy(id->vendor, &out[1], 4);
    memcpy(id->vendor + 4, &out[3], 4);
    memcpy(id->vendor + 8, &out[2], 4);
    leaf(opaque, 1, 0, out);
    id->amd = !memcmp(id->vendor, VENDOR_AMD, 12);
    id->signature = out[0];
    name_brand(id);
    return apply_words(id, spec);
}

void x86_cpuid_mask(const struct x86_cpuid *id, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        const struct feat_row *r = &feat_rows[f];
        if (r->leaf == leaf && r->subleaf == subleaf && !x86_has(id, f))
            out[r->reg] &= ~(1u << r->bit);
    }
}

static void leaf_features(const struct x86_cpuid *id, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        const struct feat_row *r = &feat_rows[f];
        if (r->leaf == leaf && r->subleaf == subleaf && x86_has(id, f))
            out[r->reg] |= 1u << r->bit;
    }
}

static void leaf_vendor(const char *v, uint32_t out[4])
{
    memcpy(&out[1], v, 4);
    memcpy(&out[3], v + 4, 4);
    memcpy(&out[2], v + 8, 4);
}

/* Deterministic cache parameters: L1d and L1i 32 KiB 8-way, L2 1 MiB 16-way, L3 8 MiB 16-way; 64-byte lines; not shared. */
static unsigned threads_of(const struct x86_cpuid *id) { return MAX(id->threads, 1u); }
static unsigned package_of(const struct x86_cpuid *id) { return MAX(id->cores, 1u) * threads_of(id); }

/* APIC id bits that number N things. */
static unsigned id_bits(unsigned n) { return n > 1 ? 32 - (unsigned)__builtin_clz(n - 1) : 0; }

/* The first two levels are a core's, the last is the package's. */
static void leaf_cache(const struct x86_cpuid *id, uint32_t n, uint32_t out[4])
{
    static const struct { uint8_t type, level; uint16_t ways; uint32_t sets; } c[] = { { 1, 1, 8, 64 }, { 2, 1, 8, 64 }, { 3, 2, 16, 1024 }, { 3, 3, 16, 8192 } };
    if (n >= ARRAY_SIZE(c))
        return;
    unsigned sharing = n == 3 ? package_of(id) : threads_of(id);
    out[0] = c[n].type | (uint32_t)c[n].level << 5 | 1u << 8 | (BIT(id_bits(sharing)) - 1) << 14 | (uint32_t)(BIT(id_bits(MAX(id->cores, 1u))) - 1) << 26;
    out[1] = 63u | (c[n].ways - 1u) << 22;
    out[2] = c[n].sets - 1;
}

static void leaf_topology(const struct x86_cpuid *id, uint32_t n, uint32_t apic_id, uint32_t out[4])
{
    unsigned thread_bits = id_bits(threads_of(id)), core_bits = id_bits(MAX(id->cores, 1u));
    if (n < 2) {
        out[0] = n ? thread_bits + core_bits : thread_bits;
        out[1] = n ? package_of(id) : threads_of(id);
    }
    out[2] = (n & 0xff) | (n == 0 ? 1u << 8 : n == 1 ? 2u << 8 : 0);
    out[3] = apic_id;
}

uint64_t x86_xcr0_valid(const struct x86_cpuid *id)
{
    return x86_has(id, FEAT_avx512f) ? X86_XS_BASE | X86_XS_AVX512 : x86_has(id, FEAT_avx) ? X86_XS_BASE : X86_XS_X87 | X86_XS_SSE;
}

/* No component belongs to the supervisor. */
static void leaf_xsave(const struct x86_cpu *cpu, uint32_t n, uint32_t out[4])
{
    const struct x86_cpuid *id = cpu->cpuid;
    uint64_t all = x86_xcr0_valid(id);
    if (!x86_has(id, FEAT_xsave))
        return;
    if (n == 0) {
        out[0] = (uint32_t)all;
        out[1] = x86_xsave_size(cpu->xcr0, false);
        out[2] = x86_xsave_size(all, false);
    } else if (n == 1) {
        leaf_features(id, 0xd, 1, out);
        out[1] = x86_has(id, FEAT_xsavec) ? x86_xsave_size(cpu->xcr0, true) : 0;
    } else if (n >= 2 && n < X86_XCOMPS && (all >> n & 1)) {
        out[0] = x86_xcomp[n].size;
        out[1] = x86_xcomp[n].offset;
        out[2] = x86_xcomp[n].aligned ? 2 : 0;
    }
}

static void leaf_basic(struct x86_cpu *cpu, uint32_t leaf, uint32_t n, uint32_t out[4])
{
    const struct x86_cpuid *id = cpu->cpuid;
    uint32_t apic_id = cpu->vcpu ? (uint32_t)cpu->vcpu->id : 0;
    uint64_t hz = x86_tsc_hz();
    switch (leaf) {
    case 0:
        out[0] = MAX_BASIC;
        leaf_vendor(id->vendor, out);
        break;
    case 1:
        leaf_features(id, 1, 0, out);
        out[0] = id->signature;
        out[1] = 8u << 8 | package_of(id) << 16 | apic_id << 24;
        out[3] |= package_of(id) > 1 ? 1u << 28 : 0;           /* HTT: the number above is valid */
        out[2] |= cpu->cr4 & CR4_OSXSAVE ? 1u << 27 : 0;
        if (cpu->vcpu && cpu->vcpu->intc.get_base && !(cpu->vcpu->intc.get_base(cpu->vcpu->intc.opaque) & 0x800))
            out[3] &= ~(1u << 9);                          /* a disabled APIC is not there */
        break;
    case 2:                                                /* TLBs 5Bh B0h; FFh: caches are in leaf 4 */
        out[0] = 0x5bb0ff01;
        break;
    case 4:
        leaf_cache(id, n, out);
        break;
    case 6:
        leaf_features(id, 6, 0, out);
        break;
    case 7:
        leaf_features(id, 7, n, out);
        out[0] |= n == 0 && x86_has(id, FEAT_avx_vnni);    /* EAX of subleaf 0: the highest subleaf */
        break;
    case 0xb:
        leaf_topology(id, n, apic_id, out);
        break;
    case 0xd:
        leaf_xsave(cpu, n, out);
        break;
    case 0x15:                                             /* "crystal" * ebx / eax; halved when it would not fit */
        out[0] = 1;
        out[1] = hz > UINT32_MAX ? 2 : 1;
        out[2] = (uint32_t)(hz / out[1]);
        break;
    case 0x16:
        out[0] = out[1] = (uint32_t)((hz + 500000) / 1000000);
        out[2] = 100;
        break;
    }
}

static void leaf_ext(struct x86_cpu *cpu, uint32_t leaf, uint32_t out[4])
{
    const struct x86_cpuid *id = cpu->cpuid;
    switch (leaf) {
    case 0x80000000:
        out[0] = MAX_EXT(id);
        break;
    case 0x80000001:
        leaf_features(id, leaf, 0, out);
        if (!x86_code64(cpu) && !id->amd)
            out[3] &= ~(1u << 11);                         /* Intel: SYSCALL is there in 64-bit code only */
        break;
    case 0x80000002: case 0x80000003: case 0x80000004:
        memcpy(out, id->brand + (leaf - 0x80000002) * 16, 16);
        break;
    case 0x80000006:
        out[2] = 1024u << 16 | 8u << 12 | 64;              /* L2: KiB, 16-way, line */
        break;
    case 0x80000007:
        leaf_features(id, leaf, 0, out);
        break;
    case 0x80000008:
        out[0] = X86_PHYS_BITS | 48u << 8;
        out[2] = id->amd ? (package_of(id) - 1) | (uint32_t)id_bits(package_of(id)) << 12 : 0;
        break;
    case 0x8000000a:
        leaf_features(id, leaf, 0, out);
        out[0] = 1;
        out[1] = SVM_ASIDS;
        break;
    }
}

static void leaf_hypervisor(uint32_t leaf, uint32_t out[4])
{
    if (leaf == 0x40000000) {
        out[0] = 0x40000010;
        memcpy(&out[1], "DuetDuetDuet", 12);
    } else if (leaf == 0x40000010) {
        out[0] = (uint32_t)(x86_tsc_hz() / 1000);
        out[1] = APIC_BUS_KHZ;
    }
}

void x86_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    memset(out, 0, 16);
    if (leaf >> 8 == 0x400000) {
        if (x86_has(cpu->cpuid, FEAT_hypervisor))
            leaf_hypervisor(leaf, out);
    } else if (leaf >= 0x80000000 && leaf <= MAX_EXT(cpu->cpuid)) {
        leaf_ext(cpu, leaf, out);
    } else {
        leaf_basic(cpu, leaf <= MAX_BASIC ? leaf : MAX_BASIC, subleaf, out);
    }
}
