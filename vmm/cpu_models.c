/*
 * -cpu (vmm/cpu_models.h): says in one line what cannot be had and what comes nearest, and lists what there is. The models themselves are in x86/.
 */
#include "vmm/cpu_models.h"
#include "core/alloc.h"
#include "core/log.h"
#include "vmm/words.h"
#include "x86/cpuid.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MOST_MODELS 64

static int help(void)
{
    printf("models (+: this host can give it):\n");
    for (unsigned i = 0; x86_model_name(i); i++)
        printf("  %c %-20s%s\n", x86_model_possible(i, x86_host_leaf, NULL) ? '+' : ' ', x86_model_name(i), x86_model_brand(i));
    printf("features, after the model as ,+NAME or ,-NAME (+: this host can give it):\n");
    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        const struct x86_feat_row *r = &x86_feats[f];
        if (r->host != 2)
            printf("  %c %s%s\n", r->host != 1 || x86_leaf_offers(f, x86_host_leaf, NULL) ? '+' : ' ', r->name,
                   r->host == 3 ? " (when it is asked for)" : "");
    }
    printf("properties: vendor=GenuineIntel|AuthenticAMD family= model= stepping= level= xlevel= model-id=\n");
    return 1;
}

static int unknown_model(const char *word)
{
    const char *names[MOST_MODELS] = { NULL };
    for (unsigned i = 0; i + 1 < MOST_MODELS && x86_model_name(i); i++)
        names[i] = x86_model_name(i);
    return words_bad_value("-cpu", word, names);
}

static int unknown_feature(const char *word)
{
    const char *names[FEAT_COUNT] = { NULL };
    unsigned n = 0;
    size_t skip = *word == '+' || *word == '-';
    for (unsigned f = 1; f < FEAT_COUNT; f++)
        if (x86_feats[f].host != 2)
            names[n++] = x86_feats[f].name;
    return words_unknown("-cpu", word + skip, names);
}

/* Without the feature, or with those that it needs. */
static int say_nearest(const char *spec, const struct x86_model_why *why)
{
    char more[sizeof(why->list) * 2] = "";
    size_t n = 0;

    if (why->fault != X86_NEEDS_MORE) {
        log_error("-cpu: this host's processor has no %s, which would have to be passed through (nearest possible: %s)", why->word,
                  *why->near ? why->near : "the model without it");
        return -EINVAL;
    }
    for (const char *p = why->list; *p && n + 3 < sizeof(more); p++) {
        if (p == why->list || *p == ' ') {
            more[n++] = ',';
            more[n++] = '+';
        }
        if (*p != ' ')
            more[n++] = *p;
    }
    log_error("-cpu: %s builds on %s, which is off (nearest possible: %s%s)", why->word, why->list, spec, more);
    return -EINVAL;
}

/* A processor that KVM lends out may have what the translator cannot give. */
static bool lent(const struct options *o)
{
    return !strncmp(o->cpu, "host", strcspn(o->cpu, ",")) && (!strcmp(o->accel, "kvm") || !strcmp(o->accel, "auto"));
}

int cpu_check(const struct options *o)
{
    struct x86_model_why why;
    struct x86_cpuid id;

    if (!o->cpu || !x86_model_make(&id, o->cpu, x86_host_leaf, NULL, &why))
        return 0;
    switch (why.fault) {
    case X86_NO_MODEL:
        return unknown_model(why.word);
    case X86_NO_FEATURE:
        return unknown_feature(why.word);
    case X86_BAD_VALUE:
        log_error("-cpu: '%s': not a value of this property (vendor: GenuineIntel or AuthenticAMD; the others: numbers in range)", why.word);
        return -EINVAL;
    case X86_MODEL_NOT_HERE:
        log_error("-cpu: this host's processor lacks %s of model %s (nearest possible: %s, or those taken away by ,-NAME)", why.list, why.word,
                  why.near);
        return -EINVAL;
    case X86_NOT_GIVEN:
        if (!lent(o))
            log_error("-cpu: %s is not implemented (nearest possible: %.*s without it)", why.word, (int)strcspn(o->cpu, ","), o->cpu);
        return lent(o) ? 0 : -EINVAL;
    default:
        return lent(o) ? 0 : say_nearest(o->cpu, &why);
    }
}

int cpu_take(struct options *o, const char *opt, char *arg)
{
    if (!strcmp(arg, "help") || !strcmp(arg, "?"))
        return help();
    o->cpu = arg;
    return 0;
}

bool cpu_has(const struct options *o, unsigned feature)
{
    struct x86_cpuid id;
    return !x86_cpuid_model(&id, o->cpu) && x86_has(&id, (enum x86_feat)feature);
}
