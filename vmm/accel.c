/*
 * Which engine runs the guest. -accel kvm is a demand: without a KVM that is worth having it is an error. -accel auto takes kvm when the
 * host has hardware assistance, else the translator, and says in one line which and why.
 */
#include "vmm/accel.h"
#include "core/log.h"
#include "kvm/kvm.h"
#include "softmmu/mmu.h"
#include "vmm/engines.h"
#include "vmm/lockstep.h"
#include "vmm/speed.h"
#include "vmm/words.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = { "tcg", "interp", "auto", "kvm", NULL };

static int take_irqchip(struct options *o, const char *what, const char *val)
{
    static const char *const valid[] = { "off", "split", "on", NULL };

    for (int i = 0; valid[i]; i++) {
        if (!strcmp(val, valid[i]))
            o->kernel_irqchip = i;
    }
    return words_check_value(what, val, valid);
}

static int take_smm(struct options *o, const char *val)
{
    static const char *const valid[] = { "auto", "on", "off", NULL };

    for (int i = 0; valid[i]; i++) {
        if (!strcmp(val, valid[i]))
            o->smm = i;
    }
    return words_check_value("-machine smm", val, valid);
}

/* In MiB. */
static int take_tb_size(const char *val, struct tcg_stress *s)
{
    int ret = words_number("-accel tcg,tb-size", val, 2, 1024, &s->cache_kib);
    s->cache_kib <<= 10;
    return ret;
}

/* What tests and measurements ask of the translator. */
static int take_stress(struct options *o, const char *opt, const struct words *w)
{
    static const char *const keys[] = { "one-insn-per-tb", "check-moves", "tb-size", "cache-kib", "tlb", "random", "profile", NULL };
    struct tcg_stress *s = &o->stress;

    for (unsigned i = 0; i < w->n; i++) {
        const char *key = w->key[i], *val = w->val[i];
        int ret = !strcmp(key, "one-insn-per-tb") ? words_bool("-accel tcg,one-insn-per-tb", val, &s->one_insn)
                : !strcmp(key, "check-moves") ? words_bool("-accel tcg,check-moves", val, &s->check_moves)
                : !strcmp(key, "tb-size") ? take_tb_size(val, s)
                : !strcmp(key, "cache-kib") ? words_number("-accel tcg,cache-kib", val, 144, 512 << 10, &s->cache_kib)
                : !strcmp(key, "tlb") ? words_number("-accel tcg,tlb", val, 1, MMU_TINY_MOST, &s->tlb)
                : !strcmp(key, "profile") ? words_check_value("-accel tcg,profile", o->profile = val, speed_profiles)
                : !strcmp(key, "random") ? words_number("-accel tcg,random", val, 1, UINT32_MAX, &s->seed) : words_unknown(opt, key, keys);
        if (ret)
            return ret;
    }
    return 0;
}

int accel_take(struct options *o, const char *opt, char *arg)
{
    static const char *const keys[] = { "kernel-irqchip", "emulated", NULL };
    struct words w;

    if (words_split(&w, arg, opt) || words_check_value(opt, w.head, names))
        return -EINVAL;
    o->accel = w.head;
    if (!strcmp(w.head, "tcg"))
        return take_stress(o, opt, &w);
    if (w.n && strcmp(w.head, "kvm"))
        return words_unknown(opt, w.key[0], (const char *const[]){ NULL });
    for (unsigned i = 0; i < w.n; i++) {
        int ret = !strcmp(w.key[i], "kernel-irqchip") ? take_irqchip(o, "-accel kvm,kernel-irqchip", w.val[i])
                : !strcmp(w.key[i], "emulated") ? words_bool("-accel kvm,emulated", w.val[i], &o->kvm_emulated) : words_unknown(opt, w.key[i], keys);
        if (ret)
            return ret;
    }
    return 0;
}

int machine_take(struct options *o, const char *opt, char *arg)
{
    static const char *const valid[] = { "pc", NULL }, *const keys[] = { "accel", "kernel-irqchip", "kernel_irqchip", "smm", NULL };
    struct words w;

    if (words_split(&w, arg, opt) || words_check_value(opt, w.head, valid))
        return -EINVAL;
    for (unsigned i = 0; i < w.n; i++) {
        int ret = 0;
        if (!strcmp(w.key[i], "accel"))
            ret = words_check_value("-machine accel", o->accel = w.val[i], names);
        else if (!strcmp(w.key[i], "kernel-irqchip") || !strcmp(w.key[i], "kernel_irqchip"))
            ret = take_irqchip(o, "-machine kernel-irqchip", w.val[i]);
        else if (!strcmp(w.key[i], "smm"))
            ret = take_smm(o, w.val[i]);
        else
            ret = words_unknown(opt, w.key[i], keys);
        if (ret)
            return ret;
    }
    return 0;
}

static const struct engine *demand_kvm(const struct options *o, char *why, size_t len)
{
    struct kvm_probe p;

    kvm_probe(&p, false);                          /* starts sooner where the host's module leaves no doubt */
    if (p.usable && !p.assisted && !o->kvm_emulated)
        kvm_probe(&p, true);
    snprintf(why, len, "%s", p.why);
    if (p.usable && (p.assisted || o->kvm_emulated))
        return &kvm_engine;
    log_error("-accel kvm: %s%s", p.why, p.usable ? ": too slow; use -accel tcg, or -accel kvm,emulated=on to have it all the same" : "");
    return NULL;
}

static const struct engine *choose(const struct options *o, char *why, size_t len)
{
    struct kvm_probe p;

    kvm_want_irqchip((enum kvm_chips)o->kernel_irqchip);
    snprintf(why, len, "as asked");
    if (o->lockstep)
        return lockstep_engine(o->lockstep);
    if (!strcmp(o->accel, "interp"))
        return &interp_engine;
    if (!strcmp(o->accel, "kvm"))
        return demand_kvm(o, why, len);
    if (strcmp(o->accel, "auto"))
        return &tcg_engine;
    kvm_probe(&p, true);
    snprintf(why, len, "%s", p.why);
    log_warn("-accel auto: using %s: %s", p.assisted ? "kvm" : "tcg", p.why);
    return p.assisted ? &kvm_engine : &tcg_engine;
}

const struct engine *accel_choose(const struct options *o, char *why, size_t len)
{
    const struct engine *e = choose(o, why, len);
    if (e != &kvm_engine || o->smm != SMM_ON)
        return e;
    log_error("-machine smm=on: there is no system management mode under -accel kvm; smm=auto leaves it out there, -accel tcg has it");
    return NULL;
}
