/*
 * `info speed` and -d speed: where time went, by samples if a profile was taken (vmm/profile.h), and what was counted (core/counters.def) by the
 * second.
 *
 * Every figure is one row of a section; rows are made once, by rows_each, and shown as text or as JSON by whoever takes them.
 */
#include "vmm/speed.h"
#include "core/clock.h"
#include "vmm/counters.h"
#include "vmm/engines.h"
#include "vmm/profile.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LISTED 12                             /* of helpers and functions */
#define LEAST 0.1                             /* percent, of those */

struct row { const char *section, *name, *unit, *what; double value, rate; };      /* rate: a second; negative: of no interest */
struct taker { void (*take)(struct taker *, const struct row *); };

const char *const speed_profiles[] = { "off", "on", "count", NULL };

/* Figures are of the time between the two; the second is now until a profile is ended. Machine lock. */
struct moment { int64_t ns; union counters n; uint64_t insns; };
static struct moment base, end;
static bool ended;

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * (int64_t)NS_PER_SEC + ts.tv_nsec;
}

static void look(struct vm *vm, struct moment *m)
{
    m->ns = now_ns();
    m->insns = engine_tcg_guest_insns();
    counters_sum(vm, &m->n);
    m->n.idle = 0;
    for (int i = 0; i < vm->n_vcpus; i++)
        m->n.idle += vcpu_idle_ns(vm->vcpus[i]);
}

static void stop(struct vm *vm, struct tcg *t)
{
    if (t->profiling) {
        look(vm, &end);
        ended = true;
    }
    tcg_profile_stop(t);
    if (t->counting)
        engine_tcg_count(false);
}

int speed_profile(struct vm *vm, const char *how)
{
    struct tcg *t = engine_tcg_last();
    bool off = how && !strcmp(how, "off"), count = how && !strcmp(how, "count");

    if (t && (off || !how))
        stop(vm, t);
    if (off)
        return 0;
    if (t && count != t->counting)
        engine_tcg_count(count);
    look(vm, &base);
    ended = false;
    if (!how)
        return 0;
    return t && !t->interp ? tcg_profile_start(t) : -ENOENT;
}

static void put(struct taker *t, const char *section, const char *name, double value, const char *unit, const char *what)
{
    t->take(t, &(struct row){ section, name, unit, what, value, -1 });
}

static double ratio(uint64_t a, uint64_t b) { return b ? (double)a / (double)b : 0; }

static void put_ratios(struct taker *t, const union counters *n)
{
    put(t, "translation", "block_length", ratio(n->block_insns, n->blocks), "", "guest instructions a block");
    put(t, "translation", "ops", ratio(n->ir_ops, n->block_insns), "", "IR ops a guest instruction");
    put(t, "translation", "expansion", ratio(n->code_bytes, n->guest_bytes), "", "host code bytes a guest code byte");
}

static void put_counters(struct taker *t, const union counters *n, double seconds)
{
    for (unsigned i = 0; i < N_COUNTERS; i++) {
        if (!n->all[i])
            continue;
        double v = counter_value(i, n->all[i]);
        t->take(t, &(struct row){ "counters", counter_name(i), counter_unit(i), counter_what(i), v, v / seconds });
    }
}

static void put_names(struct taker *t, const char *section, const struct profile_name *list, unsigned n, double all)
{
    for (unsigned i = 0; i < MIN(n, LISTED) && 100 * (double)list[i].ns / all >= LEAST; i++)
        put(t, section, list[i].name, 100 * (double)list[i].ns / all, "%", "");
}

static double processor_ns(const struct profile *p)
{
    double sum = 0;
    for (unsigned i = 0; i < N_PLACES; i++)
        sum += (double)p->ns[i];
    return sum;
}

/* Of the time in which the vCPUs ran or slept: what the host gave to others instead is left out. */
static void put_shares(struct taker *t, const struct profile *p, double idle)
{
    double all = MAX(processor_ns(p) + idle, 1.0);

    for (unsigned i = 0; i < N_PLACES; i++)
        put(t, "share", tcg_place_name[i], 100 * (double)p->ns[i] / all, "%", tcg_place_what[i]);
    put(t, "share", "idle", 100 * idle / all, "%", "asleep: halted, and nothing to do");
    put(t, "guest", "user", 100 * (double)p->user_ns / all, "%", "of the time: the guest's ring 3, with the slow paths and helpers it calls");
    put(t, "guest", "system", 100 * (double)p->system_ns / all, "%", "... other rings");
    put(t, "samples", "samples", (double)p->samples, "", "interruptions that the shares rest on");
    put(t, "samples", "unnamed", (double)p->lost, "", "... without room in the tables that blocks and functions are found from");
    put_names(t, "helpers", p->helpers, p->n_helpers, all);
    put_names(t, "host_functions", p->hosts, p->n_hosts, all);
    put_names(t, "guest_functions", p->guests, p->n_guests, all);
}

static void put_time(struct vm *vm, struct taker *t, const struct moment *m, double seconds, const struct profile *p)
{
    double all = seconds * 1e9 * vm->n_vcpus;

    put(t, "time", "seconds", seconds, "s", "since the start, or of the profile");
    put(t, "time", "cpus", vm->n_vcpus, "", "vCPUs");
    put(t, "time", "idle", 100 * (double)m->n.idle / all, "%", "of the vCPUs' time by the clock: asleep");
    if (p && p->samples)
        put(t, "time", "away", 100 - 100 * ((double)m->n.idle + processor_ns(p)) / all, "%", "... others ran instead, or a lock was waited for");
    if (m->insns)
        t->take(t, &(struct row){ "time", "guest_instructions", "", "counted (profile=count)", (double)m->insns, (double)m->insns / seconds });
}

static void rows_each(struct vm *vm, struct taker *t)
{
    struct moment m = end;
    struct profile *p = profile_collect();
    size_t used = engine_tcg_cache_used();

    if (!ended)
        look(vm, &m);
    m.insns -= base.insns;
    for (unsigned i = 0; i < N_COUNTERS; i++)
        m.n.all[i] -= base.n.all[i];
    double ns = (double)MAX(m.ns - base.ns, 1);
    put_time(vm, t, &m, ns / 1e9, p);
    if (p && p->samples)
        put_shares(t, p, (double)m.n.idle);
    if (used) {
        put(t, "translation", "cache", (double)used, "bytes", "of the code cache in use");
        put_ratios(t, &m.n);
    }
    put_counters(t, &m.n, ns / 1e9);
    profile_free(p);
}

/* ---- as text, as JSON ---- */

struct writer {
    struct taker taker;
    void (*line)(void *opaque, const char *text);
    void *opaque;
    char section[24], *json;
    size_t len;
    FILE *f;
};

static void number(char *to, size_t len, double v)
{
    snprintf(to, len, v == (double)(int64_t)v ? "%.0f" : "%.3f", v);
}

static void write_text(struct taker *t, const struct row *r)
{
    struct writer *w = (struct writer *)t;
    char value[40], rate[48] = "", text[256];

    if (strcmp(w->section, r->section)) {
        snprintf(w->section, sizeof(w->section), "%s", r->section);
        snprintf(text, sizeof(text), "%s:\n", r->section);
        w->line(w->opaque, text);
    }
    number(value, sizeof(value), r->value);
    if (r->rate >= 0)
        snprintf(rate, sizeof(rate), " %14.1f/s", r->rate);
    snprintf(text, sizeof(text), "  %-24s %16s %-5s%s  %s\n", r->name, value, r->unit, rate, r->what);
    w->line(w->opaque, text);
}

static void write_json(struct taker *t, const struct row *r)
{
    struct writer *w = (struct writer *)t;
    char value[40];
    bool first = strcmp(w->section, r->section);

    if (first) {
        fprintf(w->f, "%s\"%s\": {", *w->section ? "}, " : "{", r->section);
        snprintf(w->section, sizeof(w->section), "%s", r->section);
    }
    number(value, sizeof(value), r->value);
    fprintf(w->f, "%s\"%s\": %s", first ? "" : ", ", r->name, value);
}

void speed_each(struct vm *vm, bool json, void (*line)(void *opaque, const char *text), void *opaque)
{
    struct writer w = { .taker = { json ? write_json : write_text }, .line = line, .opaque = opaque };

    if (!json) {
        rows_each(vm, &w.taker);
        return;
    }
    w.f = open_memstream(&w.json, &w.len);
    if (!w.f)
        return;
    rows_each(vm, &w.taker);
    fprintf(w.f, "}}\n");
    fclose(w.f);
    line(opaque, w.json);
    free(w.json);
}
