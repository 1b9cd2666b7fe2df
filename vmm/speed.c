/*
 * `info speed` and -d speed: what was counted (core/counters.def) by the second, and ratios of it.
 *
 * Every figure is one row of a section; rows are made once, by rows_each, and shown as text or as JSON by whoever takes them.
 */
#include "vmm/speed.h"
#include "core/clock.h"
#include "vmm/counters.h"
#include "vmm/engines.h"
#include "x86/cpu.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct row { const char *section, *name, *unit, *what; double value, rate; };      /* rate: a second; negative: of no interest */
struct taker { void (*take)(struct taker *, const struct row *); };

static struct { int64_t ns; union counters n; uint64_t idle; } base;      /* machine lock */

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * (int64_t)NS_PER_SEC + ts.tv_nsec;
}

static uint64_t idle_ns(struct vm *vm)
{
    uint64_t sum = 0;
    for (int i = 0; i < vm->n_vcpus; i++)
        sum += vcpu_idle_ns(vm->vcpus[i]);
    return sum;
}

void speed_restart(struct vm *vm)
{
    base.ns = now_ns();
    base.idle = idle_ns(vm);
    counters_sum(vm, &base.n);
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
        t->take(t, &(struct row){ "counters", counter_name(i), counter_unit(i), counter_what(i), v, seconds > 0 ? v / seconds : 0 });
    }
}

static void rows_each(struct vm *vm, struct taker *t)
{
    double seconds = (double)(now_ns() - base.ns) / 1e9, cpus = vm->n_vcpus;
    union counters n;
    size_t used = engine_tcg_cache_used();

    counters_sum(vm, &n);
    for (unsigned i = 0; i < N_COUNTERS; i++)
        n.all[i] -= base.n.all[i];
    n.idle = idle_ns(vm) - base.idle;
    put(t, "time", "seconds", seconds, "s", "since the start, or since the profile was begun");
    put(t, "time", "cpus", cpus, "", "vCPUs");
    put(t, "time", "idle", seconds > 0 ? 100 * (double)n.idle / 1e9 / seconds / cpus : 0, "%", "of the vCPUs' time: halted, and nothing to do");
    if (used) {
        put(t, "translation", "cache", (double)used, "bytes", "of the code cache in use");
        put_ratios(t, &n);
    }
    put_counters(t, &n, seconds);
}

/* ---- as text, as JSON ---- */

struct writer { struct taker taker; void (*line)(void *opaque, const char *text); void *opaque; char section[24]; char *json; size_t len; FILE *f; };

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
