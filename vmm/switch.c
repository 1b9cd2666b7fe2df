/*
 * Moving a machine between engines (vmm/switch.h).
 *
 * An engine's vCPU is made when it is first wanted, and kept: a second move is quick. Only one of them is connected to struct vcpu at a time.
 * What an engine derived from memory is worthless when another has run: the translator drops blocks and shadow tables on the way in, KVM is told
 * of the memory map by VCPU_WORK. Invariant: after a refused move everything is as it was.
 * Hazard: vcpu_kick reads the fields exchanged here; everyone who kicks another thread's vCPU holds the machine lock.
 */
#include "vmm/switch.h"
#include "kvm/kvm.h"
#include "vmm/engines.h"
#include "vmm/kvm_chips.h"
#include "vmm/rest.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What of struct vcpu belongs to an engine. */
struct home { void *cpu, *engine_data; uint32_t *poll_word; void (*kick_engine)(struct vcpu *); bool failed; };

static struct home homes[2];                       /* translator, kvm */

static struct home *home_of(const struct engine *e) { return &homes[e == &kvm_engine]; }

static const char take_slow[] = "kvm,emulated=on";

static const struct engine *engine_named(const char *name)
{
    const struct engine *const all[] = { &tcg_engine, &interp_engine, &kvm_engine };

    if (!strcmp(name, take_slow))
        return &kvm_engine;

    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        if (!strcmp(all[i]->name, name))
            return all[i];
    }
    return NULL;
}

static void leave(struct vcpu *v, struct home *h)
{
    *h = (struct home){ v->cpu, v->engine_data, v->poll_word, v->kick_engine, false };
}

static void enter(struct vcpu *v, const struct home *h)
{
    v->cpu = h->cpu;
    v->engine_data = h->engine_data;
    v->kick_engine = h->kick_engine;
    __atomic_store_n(&v->poll_word, h->poll_word, __ATOMIC_RELEASE);
}

static void set_engine(struct vm *vm, const struct engine *e)
{
    vm->engine = e;
    vm->vcpus[0]->engine = e;
    snprintf(vm->accel_why, sizeof(vm->accel_why), "moved there by the monitor");
}

/* ---- kvm ---- */

static int kvm_would_do(bool slow_too, char *why, size_t len)
{
    struct kvm_probe p;

    kvm_probe(&p, !slow_too);
    snprintf(why, len, "%s%s", p.why, p.usable && !p.assisted ? ": too slow (accel kvm,emulated=on takes it all the same)" : "");
    return p.usable && (p.assisted || slow_too) ? 0 : -ENODEV;
}

/* The state that one engine has and the other cannot take. */
static int can_move(struct vm *vm, const struct engine *to, char *why, size_t len)
{
    const struct x86_cpu *c = vm->vcpus[0]->cpu;

    if (to == &kvm_engine && ((c->efer & EFER_SVME) || c->svm.guest))
        snprintf(why, len, "the guest uses SVM, whose state cannot be carried to KVM");
    else if (to == &kvm_engine && c->smm)
        snprintf(why, len, "the processor is in system management mode");
    else
        return 0;
    return -EBUSY;
}

/* What the guest has been told that it can use must be there. */
static int same_cpu(const struct x86_cpuid *from, const struct x86_cpuid *to, char *why, size_t len)
{
    size_t at = (size_t)snprintf(why, len, "the engine lacks features that the guest was told of:");
    unsigned n = 0;

    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        if (x86_has(from, (enum x86_feat)f) && !x86_has(to, (enum x86_feat)f) && at < len) {
            at += (size_t)snprintf(why + at, len - at, " %s", x86_feats[f].name);
            n++;
        }
    }
    return n ? -ENOTSUP : 0;
}

static int make_home(struct vm *vm, const struct engine *to, char *why, size_t len)
{
    struct home *h = home_of(to);
    struct vcpu *v = vm->vcpus[0];
    int ret;

    if (h->cpu)
        return 0;
    if (to == &kvm_engine) {
        kvm_want_irqchip(KVM_CHIPS_OFF);
        if (!vm->cpu_spec)
            vm->cpu_spec = X86_MODEL_DEFAULT;                  /* not the host's processor: what the guest has seen */
    }
    v->kick_engine = NULL;
    v->poll_word = NULL;
    h->failed |= (ret = h->failed ? -EIO : to->init(vm)) < 0 || (ret = to->vcpu_init(v)) < 0;
    if (h->failed)
        snprintf(why, len, "the engine cannot start (duet's error output has said why)");
    else
        leave(v, h);
    return h->failed ? ret : 0;
}

/* ---- the state ---- */

/* All that is the guest's, with the features that it was told of; what belongs to the engine stays. Numbers of SVM contexts are never used twice. */
static void carry(struct x86_cpu *to, const struct x86_cpu *from)
{
    struct x86_cpu old = *to;

    *to = *from;
    to->flags_word = old.flags_word;
    to->cpuid = old.cpuid;
    *to->cpuid = *from->cpuid;
    memcpy(to->svm_contexts, old.svm_contexts, sizeof(to->svm_contexts));
    to->svm_stamp = old.svm_stamp;
    to->svm_last_id = old.svm_last_id;
    x86_set_rflags(to, x86_get_rflags(from));
}

/* KVM keeps the four PDPTEs to itself. */
static void pdptes_in(struct vm *vm, struct x86_cpu *c)
{
    if ((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !(c->efer & EFER_LMA))
        x86_load_pdptes(c, vm->mem, c->cr3);
}

static int refused(char *why, size_t len, const char *what, int ret)
{
    snprintf(why, len, "the kernel does not %s the interrupt controllers: %s", what, strerror(-ret));
    return ret;
}

static int move(struct vm *vm, const struct engine *to, char *why, size_t len)
{
    struct vcpu *v = vm->vcpus[0];
    struct home *from = home_of(vm->engine), *there = home_of(to);
    int ret;

    leave(v, from);
    if ((ret = make_home(vm, to, why, len)) < 0 ||
        (ret = same_cpu(((struct x86_cpu *)from->cpu)->cpuid, ((struct x86_cpu *)there->cpu)->cpuid, why, len)) < 0) {
        enter(v, from);
        return ret;
    }
    enter(v, from);
    if ((ret = kvm_models_leave()) < 0)
        return refused(why, len, "give back", ret);
    carry(there->cpu, from->cpu);
    enter(v, there);
    if (to != &kvm_engine) {
        pdptes_in(vm, v->cpu);
    } else if ((ret = kvm_models_take()) < 0) {
        enter(v, from);
        return refused(why, len, "take", ret);
    }
    return 0;
}

/* Both engines stand still, and so does the guest's time: to the guest a move takes none. */
static int move_frozen(struct vm *vm, const struct engine *to, char *why, size_t len)
{
    struct vcpu *v = vm->vcpus[0];
    int ret = home_of(to) == home_of(vm->engine) ? 0 : move(vm, to, why, len);

    if (ret < 0)
        return ret;
    if ((ret = engine_tcg_take_over(v, to)) < 0) {
        snprintf(why, len, "the interpreter cannot start: %s", strerror(-ret));
        return ret;
    }
    set_engine(vm, to);
    vcpu_set_pending(v, VCPU_WORK);
    to->vcpu_state_changed(v);
    return 0;
}

int switch_engine(struct vm *vm, const struct options *opt, const char *name, char *why, size_t len)
{
    const struct engine *to = engine_named(name);
    int ret = 0;

    if (!to || to == vm->engine) {
        snprintf(why, len, to ? "%s runs the machine already" : "there is no engine '%s' (tcg, interp, kvm)", name);
        return -EINVAL;
    }
    if (vm->n_vcpus > 1) {
        snprintf(why, len, "a machine of several CPUs stays with its engine");
        return -ENOTSUP;
    }
    if (to == &kvm_engine && !home_of(to)->cpu && (ret = kvm_would_do(opt->kvm_emulated || !strcmp(name, take_slow), why, len)) < 0)
        return ret;
    if (home_of(to) != home_of(vm->engine) && (ret = can_move(vm, to, why, len)) < 0)
        return ret;
    rest_freeze(vm);
    ret = move_frozen(vm, to, why, len);
    rest_thaw(vm);
    if (!ret && to == &kvm_engine)
        kvm_models_go();
    return ret;
}
