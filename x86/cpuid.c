/*
 * CPUID: the leaves of a model (models.c). Features come from feat.def, identities from models.def; every other number is here.
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
#include <errno.h>
#include <string.h>

#define VENDOR_AMD "AuthenticAMD"
#define APIC_BUS_KHZ 1000000u

void x86_cpuid_restrict(struct x86_cpuid *id, x86_leaf_fn *leaf, void *opaque)
{
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        if (x86_has(id, f) && !x86_leaf_offers(f, leaf, opaque))
            x86_feat_set(id, f, false);
    }
    x86_drop_dependents(id);
}

int x86_cpuid_adopt(struct x86_cpuid *id, const char *spec, x86_leaf_fn *leaf, void *opaque)
{
    struct x86_cpuid asked = { 0 };
    struct x86_model_why why;
    uint32_t out[4] = { 0 };
    memset(id, 0, sizeof(*id));
    for (unsigned f = 1; f < FEAT_COUNT; f++)
        x86_feat_set(id, f, x86_leaf_offers(f, leaf, opaque));
    leaf(opaque, 0, 0, out);
    memcpy(id->vendor, &out[1], 4);
    memcpy(id->vendor + 4, &out[3], 4);
    memcpy(id->vendor + 8, &out[2], 4);
    id->level = MAX(out[0], 0xbu);                     /* places and the brand are ours */
    leaf(opaque, 0x80000000, 0, out);
    id->xlevel = MAX(out[0], 0x80000004u);
    leaf(opaque, 1, 0, out);
    id->signature = out[0];
    if (x86_apply_words(id, spec, &asked, &why))
        return -EINVAL;
    id->amd = !memcmp(id->vendor, VENDOR_AMD, 12);
    x86_name_brand(id);
    x86_cpuid_restrict(id, leaf, opaque);
    return 0;
}

void x86_cpuid_mask(const struct x86_cpuid *id, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        const struct x86_feat_row *r = &x86_feats[f];
        if (r->leaf == leaf && r->subleaf == subleaf && !x86_has(id, f))
            out[r->reg] &= ~(1u << r->bit);
    }
}

static void leaf_features(const struct x86_cpuid *id, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        const struct x86_feat_row *r = &x86_feats[f];
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
    if (id->amd)
        out[0] &= 0x3ffffff;
}

/* TLBs 5Bh B0h, and FFh: caches are in leaf 4. Where that leaf is not there FFh would send programs to look for it for ever: a Pentium III's. */
static void leaf_descriptors(const struct x86_cpuid *id, uint32_t out[4])
{
    if (id->amd)
        return;
    out[0] = id->level >= 4 ? 0x5bb0ff01 : 0x03020101;
    out[3] = id->level >= 4 ? 0 : 0x0c040843;
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
    uint64_t vectors = x86_has(id, FEAT_avx512f) ? X86_XS_BASE | X86_XS_AVX512 : x86_has(id, FEAT_avx) ? X86_XS_BASE : X86_XS_X87 | X86_XS_SSE;
    return vectors | (x86_has(id, FEAT_pku) ? X86_XS_PKRU : 0);
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
        out[0] = id->level;
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
    case 2:
        leaf_descriptors(id, out);
        break;
    case 4:                                                /* an AMD has 8000001Dh */
        if (!id->amd)
            leaf_cache(id, n, out);
        break;
    case 6:
        leaf_features(id, 6, 0, out);
        break;
    case 7:
        leaf_features(id, 7, n, out);
        out[2] |= n == 0 && cpu->cr4 & CR4_PKE ? 1u << 4 : 0;                  /* OSPKE */
        out[0] |= n == 0 && (x86_has(id, FEAT_avx_vnni) || x86_has(id, FEAT_avx512_bf16));    /* EAX of subleaf 0: the highest subleaf */
        break;
    case 0xa:                                              /* version 2, which is the feature's bit; a set bit of EBX is an event that cannot be counted */
        leaf_features(id, leaf, 0, out);
        if (out[0])
            out[0] |= X86_PMU_COUNTERS << 8 | X86_PMU_WIDTH << 16 | 7u << 24, out[1] = 0x78, out[3] = X86_PMU_FIXED | X86_PMU_WIDTH << 5;
        break;
    case 0xb: case 0x1f:
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

/* An AMD's places: core and package are fields of the APIC id. */
static void leaf_amd_topology(const struct x86_cpuid *id, uint32_t apic_id, uint32_t out[4])
{
    unsigned thread_bits = id_bits(threads_of(id)), core_bits = id_bits(MAX(id->cores, 1u));
    out[0] = apic_id;
    out[1] = (apic_id >> thread_bits & (uint32_t)(BIT(core_bits) - 1)) | (threads_of(id) - 1) << 8;
    out[2] = apic_id >> (thread_bits + core_bits) & 0xff;
}

static void leaf_ext(struct x86_cpu *cpu, uint32_t leaf, uint32_t n, uint32_t out[4])
{
    const struct x86_cpuid *id = cpu->cpuid;
    switch (leaf) {
    case 0x80000000:
        out[0] = id->xlevel;
        break;
    case 0x80000001:
        leaf_features(id, leaf, 0, out);
        if (id->amd)                                       /* CmpLegacy, TOPOEXT: 8000001Dh and 8000001Eh are there */
            out[2] |= (package_of(id) > 1 ? 1u << 1 : 0) | 1u << 22;
        if (!x86_code64(cpu) && !id->amd)
            out[3] &= ~(1u << 11);                         /* Intel: SYSCALL is there in 64-bit code only */
        break;
    case 0x80000002: case 0x80000003: case 0x80000004:
        memcpy(out, id->brand + (leaf - 0x80000002) * 16, 16);
        break;
    case 0x80000005:
        if (id->amd)
            out[2] = out[3] = 32u << 24 | 8u << 16 | 1u << 8 | 64;   /* L1: KiB, 8-way, line */
        break;
    case 0x80000006:
        out[2] = 1024u << 16 | 8u << 12 | 64;              /* L2: KiB, 16-way, line */
        out[3] = id->amd ? 16u << 18 | 8u << 12 | 1u << 8 | 64 : 0;   /* L3: half MiB */
        break;
    case 0x80000007:
        leaf_features(id, leaf, 0, out);
        break;
    case 0x80000008:
        out[0] = X86_PHYS_BITS | (x86_has(id, FEAT_la57) ? 57u : 48u) << 8;
        out[2] = id->amd ? (package_of(id) - 1) | (uint32_t)id_bits(package_of(id)) << 12 : 0;
        break;
    case 0x8000000a:
        if (!x86_has(id, FEAT_svm))
            break;
        leaf_features(id, leaf, 0, out);
        out[0] = 1;
        out[1] = SVM_ASIDS;
        break;
    case 0x8000001d:
        leaf_cache(id, n, out);
        break;
    case 0x8000001e:
        leaf_amd_topology(id, cpu->vcpu ? (uint32_t)cpu->vcpu->id : 0, out);
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
    } else if (leaf >= 0x80000000 && leaf <= cpu->cpuid->xlevel) {
        leaf_ext(cpu, leaf, subleaf, out);
    } else {
        leaf_basic(cpu, MIN(leaf, cpu->cpuid->level), subleaf, out);
    }
}
