/* CPU features by name and the CPUID leaves of a CPU model. SDM vol. 2 CPUID; AMD APM vol. 3 app. E. */
#ifndef X86_CPUID_H
#define X86_CPUID_H
#include "x86/cpu.h"

enum x86_feat {
    FEAT_none,               /* always there */
#define FEAT(name, leaf, subleaf, reg, bit, host) FEAT_##name,
#include "x86/feat.def"
#undef FEAT
    FEAT_COUNT
};

struct x86_cpuid {
    uint64_t feats[(FEAT_COUNT + 63) / 64];
    char brand[49], vendor[13];
    bool amd;                             /* in manners too */
    uint32_t signature;
    unsigned cores, threads;              /* cores a package, threads a core; 0 is 1 */
};

/* A model by name ("max", "duet64", "qemu64"): everything that the translator implements and the host can pass through. 0 or -EINVAL. */
int x86_cpuid_model(struct x86_cpuid *, const char *spec);
/* For engines on a real processor. A leaf function says what the processor offers; SUBLEAF as CPUID's ecx. */
typedef void x86_leaf_fn(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
/* The model loses every feature that the processor has not. */
void x86_cpuid_restrict(struct x86_cpuid *, x86_leaf_fn *, void *opaque);
/* The model becomes that processor (vendor, signature and the features that have names), changed by SPEC's words. 0 or -EINVAL. */
int x86_cpuid_adopt(struct x86_cpuid *, const char *spec, x86_leaf_fn *, void *opaque);
/* Takes from a processor's leaf the features that have names and that the model lacks. */
void x86_cpuid_mask(const struct x86_cpuid *, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
uint64_t x86_xcr0_valid(const struct x86_cpuid *);            /* bits that XCR0 may have */
bool x86_has(const struct x86_cpuid *, enum x86_feat);
void x86_cpuid(struct x86_cpu *, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);   /* eax ebx ecx edx */
#endif
