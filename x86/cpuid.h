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
    uint32_t family, model, stepping;     /* of which the signature is made */
    uint32_t level, xlevel;               /* the highest basic and extended leaf */
    unsigned cores, threads;              /* cores a package, threads a core; 0 is 1 */
};

/* Rows of feat.def, whose head explains them. */
struct x86_feat_row { const char *name; uint32_t leaf, subleaf; uint8_t reg, bit, host; };
extern const struct x86_feat_row x86_feats[FEAT_COUNT];

/* For engines on a real processor. A leaf function says what the processor offers; SUBLEAF as CPUID's ecx. */
typedef void x86_leaf_fn(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
x86_leaf_fn x86_host_leaf;                                    /* the host's, with AVX and AVX-512 only when the translator can use them */

/* ---- -cpu's text (models.c) ---- */
enum x86_model_fault {
    X86_MODEL_OK,
    X86_NO_MODEL, X86_NO_FEATURE, X86_BAD_VALUE,              /* word is not known, or its value is not one */
    X86_NOT_GIVEN,                                            /* word is a feature that exists, but not here */
    X86_NOT_HERE,                                             /* word is a feature that the host's processor lacks; near: one like it that can be had, or "" */
    X86_MODEL_NOT_HERE,                                       /* word is a model, list what the host's processor lacks of it; near: a model that can be had */
    X86_NEEDS_MORE,                                           /* word is a feature that builds on those of list, which the model lacks */
};
struct x86_model_why { enum x86_model_fault fault; char word[64], near[64], list[512]; };

/* Without -cpu. */
#define X86_MODEL_DEFAULT "duet64"
/* MODEL[,+F][,-F][,F=on|off][,PROPERTY=VALUE] on a host; NULL or no name: the default. 0, or -EINVAL and why. */
int x86_model_make(struct x86_cpuid *, const char *spec, x86_leaf_fn *host, void *opaque, struct x86_model_why *why);
int x86_cpuid_model(struct x86_cpuid *, const char *spec);    /* on this host */
const char *x86_model_name(unsigned n);                       /* NULL: there are no more */
const char *x86_model_brand(unsigned n);
bool x86_model_possible(unsigned n, x86_leaf_fn *host, void *opaque);
/* Parts of it, for models that come from elsewhere. */
int x86_apply_words(struct x86_cpuid *, const char *spec, struct x86_cpuid *asked, struct x86_model_why *why);
bool x86_leaf_offers(unsigned f, x86_leaf_fn *, void *opaque);
void x86_feat_set(struct x86_cpuid *, unsigned f, bool on);
void x86_drop_dependents(struct x86_cpuid *);                 /* features without what they build on */
void x86_name_brand(struct x86_cpuid *);

/* The model loses every feature that the processor has not. */
void x86_cpuid_restrict(struct x86_cpuid *, x86_leaf_fn *, void *opaque);
/* The model becomes that processor (vendor, signature and the features that have names), changed by SPEC's words. 0 or -EINVAL. */
int x86_cpuid_adopt(struct x86_cpuid *, const char *spec, x86_leaf_fn *, void *opaque);
/* Takes from a processor's leaf the features that have names and that the model lacks. */
void x86_cpuid_mask(const struct x86_cpuid *, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
uint64_t x86_xcr0_valid(const struct x86_cpuid *);            /* bits that XCR0 may have */
static inline bool x86_has(const struct x86_cpuid *id, enum x86_feat f) { return f == FEAT_none || (id->feats[f / 64] >> (f % 64) & 1); }
/* What MSRs, bases of segments and tables, and INVLPG accept: as wide as the processor can have addresses, whatever the paging in force. */
static inline bool x86_canonical_wide(const struct x86_cpu *c, uint64_t va) { return x86_canonical_in(va, x86_has(c->cpuid, FEAT_la57) ? 57 : 48); }
void x86_cpuid(struct x86_cpu *, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);   /* eax ebx ecx edx */
#endif
