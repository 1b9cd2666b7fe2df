/*
 * -cpu MODEL[,+F][,-F][,F=on|off][,PROPERTY=VALUE]: from the tables models.def and feat.def to struct x86_cpuid.
 *
 * In: the text, and what the host's processor offers (features that are re-emitted natively need it). Out: the model, or which word cannot be had
 * and what comes nearest; nobody is told from here. A feature that is taken away takes along what builds on it; one that is asked for without
 * what it builds on is an error. Names are compared without '-', '_' and '.', as they are written in several ways.
 */
#include "x86/cpuid.h"
#include "x86/xstate.h"
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VENDOR_INTEL "GenuineIntel"
#define VENDOR_AMD "AuthenticAMD"

const struct x86_feat_row x86_feats[FEAT_COUNT] = {
#define FEAT(name, leaf, subleaf, reg, bit, host) [FEAT_##name] = { #name, leaf, subleaf, reg, bit, host },
#include "x86/feat.def"
#undef FEAT
};

struct model { const char *name, *base, *vendor; uint16_t family, model, stepping; uint32_t level, xlevel; const char *brand, *features; };
static const struct model models[] = {
#define MODEL(name, base, vendor, family, model, stepping, level, xlevel, brand, features) \
    { #name, base, VENDOR_##vendor, family, model, stepping, level, xlevel, brand, features },
#include "x86/models.def"
#undef MODEL
};

/* Other words for the same. */
static const char *const model_alias[][2] = { { "host", "max" }, { "Conroe", "core2duo" }, { "pentium-mmx", "pentium" } };
static const char *const feat_alias[][2] = { { "pni", "sse3" }, { "lahf_lm", "lahf64" }, { "clflush", "clfsh" }, { "3dnowprefetch", "prefetchw" },
    { "lzcnt", "abm" }, { "sha_ni", "sha" }, { "xd", "nx" }, { "cmpxchg16b", "cx16" }, { "cmpxchg8b", "cx8" }, { "longmode", "lm" } };

/* A feature without what it builds on would make guests use what is not there. */
static const uint8_t needs[][2] = {
    { FEAT_mmx, FEAT_fpu }, { FEAT_fxsr, FEAT_fpu }, { FEAT_sse, FEAT_fxsr }, { FEAT_sse2, FEAT_sse }, { FEAT_sse3, FEAT_sse2 }, { FEAT_ssse3, FEAT_sse3 },
    { FEAT_sse41, FEAT_ssse3 }, { FEAT_sse42, FEAT_sse41 }, { FEAT_aes, FEAT_sse2 }, { FEAT_pclmulqdq, FEAT_sse2 }, { FEAT_sha, FEAT_sse2 },
    { FEAT_gfni, FEAT_sse2 }, { FEAT_xsave, FEAT_fxsr }, { FEAT_avx, FEAT_xsave }, { FEAT_avx, FEAT_sse42 }, { FEAT_avx2, FEAT_avx }, { FEAT_fma, FEAT_avx },
    { FEAT_f16c, FEAT_avx }, { FEAT_xsaveopt, FEAT_xsave }, { FEAT_xsavec, FEAT_xsave }, { FEAT_xgetbv1, FEAT_xsave }, { FEAT_xsaves, FEAT_xsavec },
    { FEAT_vpclmulqdq, FEAT_avx }, { FEAT_vaes, FEAT_avx }, { FEAT_avx_vnni, FEAT_avx2 }, { FEAT_avx512f, FEAT_avx2 }, { FEAT_avx512f, FEAT_fma },
    { FEAT_avx512f, FEAT_f16c }, { FEAT_avx512dq, FEAT_avx512f }, { FEAT_avx512ifma, FEAT_avx512f }, { FEAT_avx512cd, FEAT_avx512f },
    { FEAT_avx512bw, FEAT_avx512f }, { FEAT_avx512vl, FEAT_avx512f }, { FEAT_avx512_vbmi, FEAT_avx512bw }, { FEAT_avx512_vbmi2, FEAT_avx512bw },
    { FEAT_avx512_vnni, FEAT_avx512f }, { FEAT_avx512_bitalg, FEAT_avx512bw }, { FEAT_avx512_vpopcntdq, FEAT_avx512f },
    { FEAT_avx512_vp2intersect, FEAT_avx512f }, { FEAT_avx512_bf16, FEAT_avx512bw }, { FEAT_mca, FEAT_mce }, { FEAT_x2apic, FEAT_apic },
    { FEAT_tsc_deadline, FEAT_apic }, { FEAT_nx, FEAT_pae }, { FEAT_lm, FEAT_pae }, { FEAT_lm, FEAT_msr }, { FEAT_syscall, FEAT_lm }, { FEAT_lahf64, FEAT_lm },
    { FEAT_pdpe1gb, FEAT_lm }, { FEAT_fsgsbase, FEAT_lm }, { FEAT_pcid, FEAT_lm }, { FEAT_la57, FEAT_lm }, { FEAT_pku, FEAT_lm }, { FEAT_pku, FEAT_xsave }, { FEAT_invpcid, FEAT_pcid }, { FEAT_arch_cap, FEAT_msr },
    { FEAT_svm, FEAT_lm }, { FEAT_npt, FEAT_svm }, { FEAT_nrip_save, FEAT_svm }, { FEAT_flushbyasid, FEAT_svm },
};

void x86_feat_set(struct x86_cpuid *id, unsigned f, bool on)
{
    if (on)
        id->feats[f / 64] |= BIT(f % 64);
    else
        id->feats[f / 64] &= ~BIT(f % 64);
}

void x86_drop_dependents(struct x86_cpuid *id)
{
    for (int pass = 0; pass < 8; pass++)
        for (unsigned i = 0; i < ARRAY_SIZE(needs); i++)
            if (!x86_has(id, needs[i][1]))
                x86_feat_set(id, needs[i][0], false);
}

/* ---- the host ---- */

static bool host_avx_usable(uint32_t ecx1)
{
    uint32_t lo, hi;
    if (!(ecx1 & 1u << 27))
        return false;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (lo & 6) == 6;
}

void x86_host_leaf(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
    memset(out, 0, 16);
    if (!__get_cpuid_count(leaf, subleaf, &out[0], &out[1], &out[2], &out[3]))
        return;
    if (leaf == 1 && !host_avx_usable(out[2]))
        out[2] &= ~(1u << 28);
    if (leaf == 7 && subleaf == 0 && !x86_host_avx512())
        out[1] &= ~(1u << 16);
}

bool x86_leaf_offers(unsigned f, x86_leaf_fn *leaf, void *opaque)
{
    const struct x86_feat_row *r = &x86_feats[f];
    uint32_t out[4] = { 0 };
    leaf(opaque, r->leaf, r->subleaf, out);
    return out[r->reg] >> r->bit & 1;
}

/* Can it be given at all, and here? */
static bool possible(unsigned f, x86_leaf_fn *host, void *opaque)
{
    return x86_feats[f].host != 2 && (x86_feats[f].host != 1 || x86_leaf_offers(f, host, opaque));
}

/* ---- names ---- */

static bool same_name(const char *a, size_t len, const char *b)
{
    size_t i = 0;
    for (;;) {
        while (i < len && strchr("-_.", a[i]))
            i++;
        while (*b && strchr("-_.", *b))
            b++;
        if (i == len || !*b)
            return i == len && !*b;
        if (a[i++] != *b++)
            return false;
    }
}

static unsigned feat_find(const char *name, size_t len)
{
    for (unsigned i = 0; i < ARRAY_SIZE(feat_alias); i++)
        if (same_name(name, len, feat_alias[i][0]))
            return feat_find(feat_alias[i][1], strlen(feat_alias[i][1]));
    for (unsigned f = 1; f < FEAT_COUNT; f++)
        if (same_name(name, len, x86_feats[f].name))
            return f;
    return FEAT_none;
}

static const struct model *model_find(const char *name, size_t len)
{
    for (unsigned i = 0; i < ARRAY_SIZE(model_alias); i++)
        if (strlen(model_alias[i][0]) == len && !memcmp(model_alias[i][0], name, len))
            return model_find(model_alias[i][1], strlen(model_alias[i][1]));
    for (const struct model *m = models; m < models + ARRAY_SIZE(models); m++)
        if (strlen(m->name) == len && !memcmp(m->name, name, len))
            return m;
    return NULL;
}

const char *x86_model_name(unsigned n) { return n < ARRAY_SIZE(models) ? models[n].name : NULL; }
const char *x86_model_brand(unsigned n) { return models[n].brand; }

/* ---- a model's features ---- */

/* The row's words over its base's. Everything: the list was or began with "*". */
static bool expand(struct x86_cpuid *id, const struct model *m, x86_leaf_fn *host, void *opaque)
{
    bool everything = *m->base && expand(id, model_find(m->base, strlen(m->base)), host, opaque);
    for (const char *p = m->features; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        bool off = *p == '-';
        unsigned f = feat_find(p + off, n - off);
        if (*p == '*') {
            everything = true;
            for (unsigned k = 1; k < FEAT_COUNT; k++)
                x86_feat_set(id, k, x86_feats[k].host < 2 && possible(k, host, opaque));
        } else if (*p == '?') {
            for (unsigned k = 1; k < FEAT_COUNT; k++)
                x86_feat_set(id, k, x86_has(id, k) && possible(k, host, opaque));
        } else if (f != FEAT_none) {
            x86_feat_set(id, f, !off && x86_feats[f].host != 2);
        }
        p += n;
    }
    return everything;
}

bool x86_model_possible(unsigned n, x86_leaf_fn *host, void *opaque)
{
    struct x86_cpuid id = { 0 };
    expand(&id, &models[n], host, opaque);
    for (unsigned f = 1; f < FEAT_COUNT; f++)
        if (x86_has(&id, f) && !possible(f, host, opaque))
            return false;
    return true;
}

/* The nearest of a model's ancestors that the host can give. */
static const char *possible_ancestor(const struct model *m, x86_leaf_fn *host, void *opaque)
{
    while (*m->base) {
        m = model_find(m->base, strlen(m->base));
        if (x86_model_possible((unsigned)(m - models), host, opaque))
            return m->name;
    }
    return "max";
}

/* ---- words ---- */

static int complain(struct x86_model_why *why, enum x86_model_fault fault, const char *word, size_t len)
{
    why->fault = fault;
    snprintf(why->word, sizeof(why->word), "%.*s", (int)len, word);
    return -EINVAL;
}

static void add_word(char *to, size_t size, const char *sep, const char *word)
{
    size_t n = strlen(to);
    snprintf(to + n, size - n, "%s%s", n ? sep : "", word);
}

static int take_number(uint32_t *to, const char *v, size_t len, uint32_t max)
{
    char *end;
    unsigned long n = strtoul(v, &end, 0);
    if (!len || end != v + len || *v == '-' || n > max)
        return -EINVAL;
    *to = (uint32_t)n;
    return 0;
}

static int take_vendor(struct x86_cpuid *id, const char *v, size_t len)
{
    if (len != 12 || (memcmp(v, VENDOR_INTEL, 12) && memcmp(v, VENDOR_AMD, 12)))
        return -EINVAL;
    memcpy(id->vendor, v, 12);
    return 0;
}

/* KEY=VALUE that is no feature. 1: there is no such key. */
static int take_property(struct x86_cpuid *id, const char *k, size_t klen, const char *v, size_t len)
{
    static const char *const names[] = { "family", "model", "stepping", "level", "xlevel", "vendor", "model-id", "check", "enforce" };
    uint32_t *const to[] = { &id->family, &id->model, &id->stepping, &id->level, &id->xlevel };
    static const uint32_t max[] = { 0xff + 15, 0xff, 15, 0x1f, 0x8000001f };
    unsigned i = 0;
    while (i < ARRAY_SIZE(names) && (strlen(names[i]) != klen || memcmp(names[i], k, klen)))
        i++;
    if (i == ARRAY_SIZE(names))
        return 1;
    if (i < 5)
        return take_number(to[i], v, len, max[i]);
    if (i == 5)
        return take_vendor(id, v, len);
    if (i == 6)
        snprintf(id->brand, sizeof(id->brand), "%.*s", (int)len, v);
    return 0;                                     /* what cannot be given is always an error */
}

/* +F, -F, F, F=on, F=off: what of it is the feature's name, and which. */
static unsigned feature_word(const char *w, size_t len, bool *on)
{
    size_t skip = len && (*w == '+' || *w == '-'), n = len - skip;
    const char *eq = memchr(w, '=', len), *v = eq ? eq + 1 : "on";
    size_t vlen = eq ? len - (size_t)(v - w) : 2;
    *on = *w != '-';
    if (eq) {
        n = (size_t)(eq - w) - skip;
        if ((vlen == 3 && !memcmp(v, "off", 3)) || (vlen == 2 && !memcmp(v, "no", 2)) || (vlen == 5 && !memcmp(v, "false", 5)))
            *on = !*on;
        else if ((vlen != 2 || memcmp(v, "on", 2)) && (vlen != 3 || memcmp(v, "yes", 3)) && (vlen != 4 || memcmp(v, "true", 4)))
            return FEAT_none;
    }
    return feat_find(w + skip, n);
}

/* asked: features that were asked for by name. */
static int apply_word(struct x86_cpuid *id, const char *w, size_t len, struct x86_cpuid *asked, struct x86_model_why *why)
{
    const char *eq = memchr(w, '=', len);
    int r = eq ? take_property(id, w, (size_t)(eq - w), eq + 1, len - (size_t)(eq - w) - 1) : 1;
    bool on;
    if (r <= 0)
        return r ? complain(why, X86_BAD_VALUE, w, len) : 0;
    unsigned f = feature_word(w, len, &on);
    if (f == FEAT_none)
        return complain(why, X86_NO_FEATURE, w, len);
    x86_feat_set(id, f, on);
    x86_feat_set(asked, f, on);
    return 0;
}

int x86_apply_words(struct x86_cpuid *id, const char *spec, struct x86_cpuid *asked, struct x86_model_why *why)
{
    const char *p = spec ? spec + strcspn(spec, ",") : "";
    while (*p == ',') {
        size_t n = strcspn(++p, ",");
        if (n && apply_word(id, p, n, asked, why))
            return -EINVAL;
        p += n;
    }
    return 0;
}

/* Everything that F needs and ID has not, into LIST as ",+a,+b"; NEAR: the first of it that can be had. */
static void list_needs(const struct x86_cpuid *id, unsigned f, struct x86_cpuid *seen, struct x86_model_why *why)
{
    for (unsigned i = 0; i < ARRAY_SIZE(needs); i++) {
        if (needs[i][0] != f || x86_has(id, needs[i][1]) || x86_has(seen, needs[i][1]))
            continue;
        x86_feat_set(seen, needs[i][1], true);
        add_word(why->list, sizeof(why->list), " ", x86_feats[needs[i][1]].name);
        list_needs(id, needs[i][1], seen, why);
    }
}

/* What comes nearest to a feature that cannot be had: what it builds on. */
static const char *nearest_need(unsigned f, x86_leaf_fn *host, void *opaque)
{
    for (unsigned i = 0; i < ARRAY_SIZE(needs); i++) {
        if (needs[i][0] == f)
            return possible(needs[i][1], host, opaque) ? x86_feats[needs[i][1]].name : nearest_need(needs[i][1], host, opaque);
    }
    return "";
}

/* Can the features be had, and has each that was asked for what it needs? */
static int check_features(struct x86_cpuid *id, const struct x86_cpuid *asked, const struct model *m, x86_leaf_fn *host, void *opaque,
                          struct x86_model_why *why)
{
    struct x86_cpuid seen = { 0 };
    bool model_lacks = false;
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        if (!x86_has(id, f) || possible(f, host, opaque))
            continue;
        if (x86_has(asked, f)) {
            snprintf(why->near, sizeof(why->near), "%s", nearest_need(f, host, opaque));
            return complain(why, x86_feats[f].host == 2 ? X86_NOT_GIVEN : X86_NOT_HERE, x86_feats[f].name, strlen(x86_feats[f].name));
        }
        model_lacks = true;
        add_word(why->list, sizeof(why->list), " ", x86_feats[f].name);
    }
    if (model_lacks) {
        snprintf(why->near, sizeof(why->near), "%s", possible_ancestor(m, host, opaque));
        return complain(why, X86_MODEL_NOT_HERE, m->name, strlen(m->name));
    }
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        if (x86_has(asked, f))
            list_needs(id, f, &seen, why);
        if (*why->list)
            return complain(why, X86_NEEDS_MORE, x86_feats[f].name, strlen(x86_feats[f].name));
    }
    return 0;
}

/* ---- identity ---- */

static uint32_t signature(const struct x86_cpuid *id)
{
    uint32_t family = MIN(id->family, 15u), more = id->family - family;
    return id->stepping | (id->model & 15) << 4 | family << 8 | (id->model >> 4) << 16 | more << 20;
}

void x86_name_brand(struct x86_cpuid *id)
{
    unsigned mhz = (unsigned)((x86_tsc_hz() + 5000000) / 10000000);
    if (!*id->brand)
        snprintf(id->brand, sizeof(id->brand), "Duet Virtual CPU @ %u.%02uGHz", mhz / 100, mhz % 100);
}

/* A model of our own is an AMD of family 1Ah, when it is to be one. */
static void identify(struct x86_cpuid *id, const struct model *m, const char *spec)
{
    bool ours = !*m->brand && !strcmp(m->vendor, VENDOR_INTEL) && m->xlevel;
    if (!id->vendor[0])
        memcpy(id->vendor, ours && x86_has(id, FEAT_svm) ? VENDOR_AMD : m->vendor, 12);
    id->amd = !memcmp(id->vendor, VENDOR_AMD, 12);
    if (ours && id->amd && id->family == m->family && id->model == m->model) {
        id->family = 0x1a;
        id->model = id->stepping = 0;
    }
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        uint32_t leaf = x86_has(id, f) ? x86_feats[f].leaf : 0;
        uint32_t *top = leaf >= 0x80000000 ? &id->xlevel : &id->level;
        *top = MAX(*top, leaf);
    }
    if (id->amd && id->xlevel)
        id->xlevel = MAX(id->xlevel, 0x8000001eu);
    id->signature = signature(id);
    x86_name_brand(id);
}

int x86_model_make(struct x86_cpuid *id, const char *spec, x86_leaf_fn *host, void *opaque, struct x86_model_why *why)
{
    struct x86_cpuid asked = { 0 };
    spec = spec && *spec ? spec : X86_MODEL_DEFAULT;
    size_t len = strcspn(spec, ",");
    const struct model *m = model_find(spec, len);
    memset(why, 0, sizeof(*why));
    memset(id, 0, sizeof(*id));
    if (!m)
        return complain(why, X86_NO_MODEL, spec, len);
    expand(id, m, host, opaque);
    id->family = m->family;
    id->model = m->model;
    id->stepping = m->stepping;
    id->level = m->level;
    id->xlevel = m->xlevel;
    snprintf(id->brand, sizeof(id->brand), "%s", m->brand);
    if (x86_apply_words(id, spec, &asked, why) || check_features(id, &asked, m, host, opaque, why))
        return -EINVAL;
    x86_drop_dependents(id);
    identify(id, m, spec);
    return 0;
}

int x86_cpuid_model(struct x86_cpuid *id, const char *spec)
{
    struct x86_model_why why;
    return x86_model_make(id, spec, x86_host_leaf, NULL, &why);
}
