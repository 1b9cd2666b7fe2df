/*
 * The vCPUs' samples added up by name and by block (vmm/profile.h). In: tables that signal handlers may be writing; a slot is whole once its
 * address is there, and its counts are read as they stand. Names of our own functions come from the program's file.
 */
#define _GNU_SOURCE
#include "vmm/profile.h"
#include "core/alloc.h"
#include "frontend-x86/mode.h"
#include "vmm/engines.h"
#include "vmm/symbols.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct symbols *guest_symbols, *own_symbols;
static const char *kernel;                     /* that may have symbols, until somebody asks */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;         /* of these: perf's files are written on vCPUs' threads */

int profile_symbols(const struct options *o)
{
    kernel = o->symbols ? NULL : o->kernel;
    if (o->symbols)
        guest_symbols = symbols_load(o->symbols, 0, "-symbols");
    return o->symbols && !guest_symbols ? -EINVAL : 0;
}

static const char *find_guest(uint64_t pc, uint64_t *off)
{
    pthread_mutex_lock(&lock);
    if (kernel)
        guest_symbols = symbols_load(kernel, 0, NULL);
    kernel = NULL;
    pthread_mutex_unlock(&lock);
    return symbols_find(guest_symbols, pc, off);
}

void profile_guest_name(uint64_t pc, uint64_t block, char *name, size_t len)
{
    uint64_t off;
    const char *s = find_guest(pc, &off);
    if (s)
        snprintf(name, len, "%s", s);
    else
        snprintf(name, len, "0x%llx", (unsigned long long)block);
}

void profile_guest_place(uint64_t pc, char *name, size_t len)
{
    uint64_t off;
    const char *s = find_guest(pc, &off);
    if (s)
        snprintf(name, len, "%s+0x%llx", s, (unsigned long long)off);
    else
        snprintf(name, len, "0x%llx", (unsigned long long)pc);
}

static int own_bias(struct dl_phdr_info *info, size_t size, void *bias)
{
    *(uint64_t *)bias = info->dlpi_addr;
    return 1;                                  /* the first is the program */
}

static void own_name(uint64_t pc, char *name, size_t len)
{
    uint64_t bias = 0, off;
    Dl_info lib;

    if (!own_symbols) {
        dl_iterate_phdr(own_bias, &bias);
        own_symbols = symbols_load("/proc/self/exe", bias, NULL);
    }
    const char *s = symbols_find(own_symbols, pc, &off);
    struct tcg *t = engine_tcg_last();
    if (s)
        snprintf(name, len, "%s", s);
    else if (pc - (uint64_t)t->rx < t->cache_size)
        snprintf(name, len, "(stubs)");
    else if (dladdr((void *)(uintptr_t)pc, &lib) && lib.dli_fname)
        snprintf(name, len, "%s (%s)", lib.dli_sname ? lib.dli_sname : "?", basename(lib.dli_fname));
    else
        snprintf(name, len, "?");
}

/* ---- lists that grow ---- */

struct names { struct profile_name *at; unsigned n; };

static void name_add(struct names *l, const char *name, uint64_t ns)
{
    if (!l->n || strcmp(l->at[l->n - 1].name, name)) {
        if (!(l->n & (l->n - 1)))
            l->at = xrealloc(l->at, sizeof(*l->at) * (l->n ? 2 * l->n : 1));
        l->at[l->n].ns = 0;
        snprintf(l->at[l->n++].name, sizeof(l->at->name), "%s", name);
    }
    l->at[l->n - 1].ns += ns;
}

#define BY(field) x->field < y->field ? -1 : x->field > y->field
static int by_name(const void *a, const void *b) { return strcmp(((const struct profile_name *)a)->name, ((const struct profile_name *)b)->name); }

static int longest(const void *a, const void *b)
{
    const struct profile_name *y = a, *x = b;
    return BY(ns);
}

/* A name once, the longest time first. */
static void names_sum(struct profile_name **to, unsigned *n, struct names *l)
{
    struct names sum = { 0 };
    if (l->n)
        qsort(l->at, l->n, sizeof(*l->at), by_name);
    for (unsigned i = 0; i < l->n; i++)
        name_add(&sum, l->at[i].name, l->at[i].ns);
    if (sum.n)
        qsort(sum.at, sum.n, sizeof(*sum.at), longest);
    free(l->at);
    *to = sum.at;
    *n = sum.n;
}

static bool same_block(const struct profile_block *b, const struct profile_site *x)
{
    const struct profile_slot *s = &x->s;
    return b->key.pc == s->key.pc && b->key.mode == s->key.mode && b->key.cs_base == s->key.cs_base && b->phys == s->phys;
}

static bool is_code(unsigned place) { return place == PLACE_code || place == PLACE_hot || place == PLACE_tight; }

/* Blocks in the order of their sites: equal ones are neighbours. */
static void block_add(struct profile *p, const struct profile_site *s)
{
    struct profile_block *b = p->n_blocks ? &p->blocks[p->n_blocks - 1] : NULL;
    if (!b || !same_block(b, s)) {
        if (!(p->n_blocks & (p->n_blocks - 1)))
            p->blocks = xrealloc(p->blocks, sizeof(*p->blocks) * (p->n_blocks ? 2 * p->n_blocks : 1));
        b = &p->blocks[p->n_blocks++];
        *b = (struct profile_block){ .key = s->s.key, .phys = s->s.phys, .sites = s };
    }
    b->n_sites++;
    *(is_code(s->s.place) ? &b->own_ns : &b->called_ns) += s->ns;
}

static int by_block(const void *a, const void *b)
{
    const struct profile_slot *x = &((const struct profile_site *)a)->s, *y = &((const struct profile_site *)b)->s;
    int d = BY(in_block);
    d = d ? d : x->in_block ? 0 : BY(at);
    d = d ? d : BY(key.pc);
    d = d ? d : BY(phys);
    d = d ? d : BY(key.mode);
    return d ? d : BY(key.cs_base);
}

static int longest_block(const void *a, const void *b)
{
    const struct profile_block *y = a, *x = b;
    uint64_t m = x->own_ns + x->called_ns, n = y->own_ns + y->called_ns;
    return m < n ? -1 : m > n;
}

/* ---- adding up ---- */

/* Processor time of a sample. */
static double weight(const struct tcg_profile *e) { return (double)(e->last_ns - e->first_ns) / (double)MAX(e->samples, 1u); }

static struct profile_site *sites_of_all(const struct tcg *t, size_t *n)
{
    struct profile_site *all = xmalloc(sizeof(*all) * PROFILE_SLOTS * t->n_envs);
    *n = 0;
    for (unsigned i = 0; i < t->n_envs; i++) {
        const struct tcg_profile *e = t->envs[i]->profile;
        for (unsigned k = 0; e && k < PROFILE_SLOTS; k++)
            if (__atomic_load_n(&e->slot[k].at, __ATOMIC_ACQUIRE))
                all[(*n)++] = (struct profile_site){ e->slot[k], (uint64_t)(weight(e) * e->slot[k].samples) };
    }
    qsort(all, *n, sizeof(*all), by_block);
    return all;
}

static void add_sites(struct profile *p, const struct tcg *t)
{
    struct names hosts = { 0 }, guests = { 0 };
    char name[64];

    p->sites = sites_of_all(t, &p->n_sites);
    for (size_t i = 0; i < p->n_sites; i++) {
        const struct profile_slot *s = &p->sites[i].s;
        uint64_t ns = p->sites[i].ns;
        if (s->in_block) {
            block_add(p, &p->sites[i]);
            *(XM_CPL(s->key.mode) == 3 ? &p->user_ns : &p->system_ns) += ns;
            profile_guest_name(s->guest, s->key.pc, name, sizeof(name));
            name_add(&guests, name, ns);
        } else {
            own_name(s->at, name, sizeof(name));
            name_add(&hosts, name, ns);
        }
    }
    names_sum(&p->hosts, &p->n_hosts, &hosts);
    names_sum(&p->guests, &p->n_guests, &guests);
    if (p->n_blocks)
        qsort(p->blocks, p->n_blocks, sizeof(*p->blocks), longest_block);
}

struct profile *profile_collect(void)
{
    struct tcg *t = engine_tcg_last();
    struct names helpers = { 0 };

    if (!t || !t->n_envs || !t->envs[0]->profile)
        return NULL;
    struct profile *p = xzalloc(sizeof(*p));
    for (unsigned i = 0; i < t->n_envs; i++) {
        const struct tcg_profile *e = t->envs[i]->profile;
        if (!e)
            continue;
        p->samples += e->samples;
        p->lost += e->lost;
        for (unsigned k = 0; k < N_PLACES; k++)
            p->ns[k] += (uint64_t)(weight(e) * (double)e->place[k]);
        for (unsigned k = 0; k < PROFILE_HELPERS; k++)
            if (e->helper[k])
                name_add(&helpers, k < t->fe->n_helpers ? t->fe->helpers[k].name : "others", (uint64_t)(weight(e) * (double)e->helper[k]));
    }
    names_sum(&p->helpers, &p->n_helpers, &helpers);
    add_sites(p, t);
    return p;
}

void profile_free(struct profile *p)
{
    if (!p)
        return;
    free(p->helpers);
    free(p->hosts);
    free(p->guests);
    free(p->blocks);
    free(p->sites);
    free(p);
}
