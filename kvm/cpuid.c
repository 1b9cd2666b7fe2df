/*
 * CPUID of the guest: what KVM_GET_SUPPORTED_CPUID offers, through x86/cpuid.
 *
 * "-cpu host", the default: the host's processor with all that KVM lends out, so that the guest's kernel defends itself as it must here. Any
 * other model is the translator's own, less what KVM has not: such a guest sees the same processor under every engine. Invariant: what
 * struct x86_cpu cannot carry is not offered (the table `without`), so a vCPU's state is always complete. Leaves that depend on the vCPU
 * (APIC id, topology) are ours; those that depend on its registers (OSXSAVE, XSAVE sizes) the kernel follows.
 */
#include "core/alloc.h"
#include "core/log.h"
#include "core/vm.h"
#include "kvm/internal.h"
#include "x86/xstate.h"
#include <errno.h>
#include <linux/kvm_para.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES 256
enum { EAX, EBX, ECX, EDX };

/* Offered by KVM, with state that struct x86_cpu has no field for. */
static const struct { uint32_t leaf, subleaf; uint8_t reg; uint32_t bits; } without[] = {
    { 1, 0, ECX, BIT(5) | BIT(15) },                                                          /* VMX, PDCM */
    { 7, 0, EBX, BIT(2) | BIT(14) | BIT(25) },                                                /* SGX, MPX, PT */
    { 7, 0, EBX, BIT(26) | BIT(27) },                                                         /* AVX-512 of Xeon Phi */
    { 7, 0, ECX, BIT(3) | BIT(4) | BIT(5) | BIT(7) | BIT(24) | BIT(30) },                     /* PKU, WAITPKG, CET, bus lock, SGX */
    { 7, 0, EDX, BIT(2) | BIT(3) | BIT(20) | BIT(22) | BIT(23) | BIT(24) | BIT(25) },  /* AVX-512 of Xeon Phi and FP16, IBT, AMX */
    { 7, 1, EAX, BIT(17) | BIT(18) | BIT(21) },                                               /* FRED, LKGS, AMX */
    { 0xd, 0, EAX, ~(uint32_t)(X86_XS_BASE | X86_XS_AVX512) }, { 0xd, 0, EDX, ~0u },
    { 0xd, 1, EAX, BIT(3) | BIT(4) }, { 0xd, 1, ECX, ~0u }, { 0xd, 1, EDX, ~0u },             /* XSAVES, XFD */
    { 0x80000001, 0, ECX, BIT(2) | BIT(9) | BIT(10) | BIT(15) | BIT(23) | BIT(24) },          /* SVM OSVW IBS LWP counters */
};
/* Not offered where the XSAVE area is not as struct x86_cpu has it. */
static const struct { uint32_t leaf, subleaf; uint8_t reg; uint32_t bits; } avx512[] = {
    { 7, 0, EBX, BIT(16) | BIT(17) | BIT(21) | BIT(28) | BIT(30) | BIT(31) }, { 7, 0, ECX, BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14) },
    { 7, 0, EDX, BIT(8) }, { 7, 1, EAX, BIT(5) }, { 0xd, 0, EAX, X86_XS_AVX512 },
};
/* Leaves of features that are not offered at all: performance counters, SGX, PT, AMX, SVM, encrypted memory. */
static const uint32_t empty_leaves[] = { 0xa, 0x12, 0x14, 0x1d, 0x1e, 0x1f, 0x8000000a, 0x8000001f, 0x80000022 };

/* Paravirtual features that need the kernel's local APIC. */
#define PV_NEEDS_LAPIC (BIT(KVM_FEATURE_ASYNC_PF) | BIT(KVM_FEATURE_PV_EOI) | BIT(KVM_FEATURE_PV_UNHALT) | BIT(KVM_FEATURE_ASYNC_PF_VMEXIT) | \
                        BIT(KVM_FEATURE_PV_SEND_IPI) | BIT(KVM_FEATURE_PV_SCHED_YIELD) | BIT(KVM_FEATURE_ASYNC_PF_INT))
#define PV_KEPT (BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_NOP_IO_DELAY) | BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_STEAL_TIME) | \
                 BIT(KVM_FEATURE_PV_TLB_FLUSH) | BIT(KVM_FEATURE_POLL_CONTROL) | BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT) | PV_NEEDS_LAPIC)
/* What a guest can use that may find itself without KVM at any moment: nothing that asks the kernel to act, or to report later. */
#define PV_MOVABLE (BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_NOP_IO_DELAY) | BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT))
#define APIC_BUS_KHZ 1000000u

static bool passthrough;                       /* -cpu host */

/* ---- what KVM offers ---- */

static const struct kvm_cpuid_entry2 *find(uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < kvm_host.supported->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &kvm_host.supported->entries[i];
        if (e->function == leaf && (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
            return e;
    }
    return NULL;
}

static void drop_uncarried(uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    for (unsigned i = 0; i < ARRAY_SIZE(without); i++) {
        if (without[i].leaf == leaf && without[i].subleaf == subleaf)
            out[without[i].reg] &= ~without[i].bits;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(empty_leaves); i++) {
        if (empty_leaves[i] == leaf)
            memset(out, 0, 16);
    }
    for (unsigned i = 0; !x86_host_avx512() && i < ARRAY_SIZE(avx512); i++) {
        if (avx512[i].leaf == leaf && avx512[i].subleaf == subleaf)
            out[avx512[i].reg] &= ~avx512[i].bits;
    }
    if (leaf == 0xd && subleaf == 0)
        out[EBX] = out[ECX] = x86_xsave_size(out[EAX], false);
    else if (leaf == 0xd && subleaf > 2 && (!x86_host_avx512() || subleaf >= X86_XCOMPS || !(X86_XS_AVX512 >> subleaf & 1)))
        memset(out, 0, 16);
}

/* x86_leaf_fn: the processor that this KVM can give a guest. */
static void offered(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    const struct kvm_cpuid_entry2 *e = find(leaf, subleaf);

    memset(out, 0, 16);
    if (!e)
        return;
    memcpy(out, (uint32_t[4]){ e->eax, e->ebx, e->ecx, e->edx }, 16);
    drop_uncarried(leaf, subleaf, out);
    if (leaf == 1) {
        bool deadline = !kvm_lapic_inside() || kvm_host.tsc_deadline;
        out[ECX] |= BIT(31) | BIT(21) | (deadline ? BIT(24) : 0);            /* a hypervisor; x2APIC and its timer, the kernel's or ours */
    }
}

int kvm_cpuid_init(const char *spec)
{
    struct kvm_cpuid2 *c = xzalloc(sizeof(*c) + MAX_ENTRIES * sizeof(c->entries[0]));
    int ret;

    c->nent = MAX_ENTRIES;
    if ((ret = kvm_do(kvm_host.dev, "KVM_GET_SUPPORTED_CPUID", KVM_GET_SUPPORTED_CPUID, c)) < 0) {
        free(c);
        return ret;
    }
    kvm_host.supported = c;
    passthrough = !spec || !strncmp(spec, "host", strcspn(spec, ","));
    ret = passthrough ? x86_cpuid_adopt(&kvm_host.model, spec, offered, NULL) : x86_cpuid_model(&kvm_host.model, spec);
    kvm_host.model.cores = kvm_host.vm->topology.cores;
    kvm_host.model.threads = kvm_host.vm->topology.threads;
    if (!passthrough)
        x86_cpuid_restrict(&kvm_host.model, offered, NULL);
    return ret;
}

/* ---- the list of one vCPU ---- */

static void add(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t subleaf, bool indexed, const uint32_t v[4])
{
    if (c->nent < MAX_ENTRIES)
        c->entries[c->nent++] = (struct kvm_cpuid_entry2){ .function = leaf, .index = subleaf, .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
            .eax = v[EAX], .ebx = v[EBX], .ecx = v[ECX], .edx = v[EDX] };
}

static void add_hypervisor(struct kvm_cpuid2 *c)
{
    const struct kvm_cpuid_entry2 *e = find(KVM_CPUID_FEATURES, 0);
    uint32_t id[4] = { 0x40000010 }, features[4] = { 0 }, rates[4] = { (uint32_t)(x86_tsc_hz() / 1000), APIC_BUS_KHZ };

    memcpy(&id[1], "KVMKVMKVM\0\0\0", 12);
    features[EAX] = e ? e->eax & (passthrough ? PV_KEPT : PV_MOVABLE) & (kvm_lapic_inside() ? ~0u : ~(uint32_t)PV_NEEDS_LAPIC) : 0;
    add(c, KVM_CPUID_SIGNATURE, 0, false, id);
    add(c, KVM_CPUID_FEATURES, 0, false, features);
    add(c, 0x40000010, 0, false, rates);
}

/* The machine's topology, whatever the host's is, as our own leaves have it; the same in AMD's words. */
static void place_vcpu(struct kvm_cpu *k, uint32_t leaf, uint32_t subleaf, uint32_t v[4])
{
    const struct vm_topology *t = &kvm_host.vm->topology;
    uint32_t own[4], id = (uint32_t)k->vcpu->id, package = MAX(t->cores, 1u) * MAX(t->threads, 1u);

    switch (leaf) {
    case 1:
        x86_cpuid(&k->cpu, leaf, subleaf, own);
        v[EBX] = (v[EBX] & 0xff00) | (own[EBX] & 0xffff0000u);
        v[EDX] = (v[EDX] & ~(uint32_t)BIT(28)) | (own[EDX] & (uint32_t)BIT(28));
        break;
    case 4:
    case 0x8000001d:
        x86_cpuid(&k->cpu, 4, subleaf, own);
        v[EAX] = (v[EAX] & 0x3fff) | (v[EAX] & 31 ? own[EAX] & (leaf == 4 ? 0xffffc000u : 0x03ffc000u) : 0);
        break;
    case 0xb:
        x86_cpuid(&k->cpu, leaf, subleaf, own);
        memcpy(v, own, 16);
        break;
    case 0x80000001:
        v[ECX] = (v[ECX] & ~(uint32_t)(BIT(1) | BIT(22))) | (package > 1 ? BIT(1) : 0);          /* CMP_LEGACY; TOPOEXT */
        break;
    case 0x80000008:
        v[ECX] = package - 1;
        break;
    case 0x8000001e:
        v[EAX] = id;
        v[EBX] = v[ECX] = 0;
        break;
    }
}

static void list_host(struct kvm_cpu *k, struct kvm_cpuid2 *c)
{
    for (unsigned i = 0; i < kvm_host.supported->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &kvm_host.supported->entries[i];
        uint32_t v[4];
        if (e->function >> 16 == 0x4000 || e->function == 0xb)
            continue;
        offered(NULL, e->function, e->index, v);
        x86_cpuid_mask(&kvm_host.model, e->function, e->index, v);
        place_vcpu(k, e->function, e->index, v);
        if (e->function - 0x80000002 < 3)
            x86_cpuid(&k->cpu, e->function, 0, v);        /* the brand: KVM has none to lend */
        add(c, e->function, e->index, e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX, v);
    }
    for (uint32_t n = 0; n < 3; n++) {
        uint32_t v[4] = { 0 };
        place_vcpu(k, 0xb, n, v);
        add(c, 0xb, n, true, v);
    }
}

static void list_model(struct kvm_cpu *k, struct kvm_cpuid2 *c)
{
    static const struct { uint32_t leaf; uint8_t n; } indexed[] = {
        { 4, 5 }, { 7, 2 }, { 0xb, 3 }, { 0xd, X86_XCOMPS }, { 0x1f, 3 }, { 0x8000001d, 5 },
    };
    static const uint32_t first[] = { 0, 0x80000000 };

    for (unsigned f = 0; f < ARRAY_SIZE(first); f++) {
        uint32_t v[4];
        x86_cpuid(&k->cpu, first[f], 0, v);
        for (uint32_t leaf = first[f], last = v[EAX]; leaf <= last; leaf++) {
            unsigned n = 1, i = 0;
            while (i < ARRAY_SIZE(indexed) && indexed[i].leaf != leaf)
                i++;
            n = i < ARRAY_SIZE(indexed) ? indexed[i].n : 1;
            for (uint32_t sub = 0; sub < n; sub++) {
                x86_cpuid(&k->cpu, leaf, sub, v);
                add(c, leaf, sub, n > 1, v);
            }
        }
    }
}

int kvm_cpuid_set(struct kvm_cpu *k)
{
    struct kvm_cpuid2 *c = xzalloc(sizeof(*c) + MAX_ENTRIES * sizeof(c->entries[0]));

    if (passthrough)
        list_host(k, c);
    else
        list_model(k, c);
    if (x86_has(&kvm_host.model, FEAT_hypervisor))
        add_hypervisor(c);
    int ret = kvm_do(k->fd, "KVM_SET_CPUID2", KVM_SET_CPUID2, c);
    free(c);
    return ret;
}
