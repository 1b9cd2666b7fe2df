/*
 * What runs between blocks without leaving for ordinary C: resolving exits, linking, jump-cache fills, the slow path of memory accesses. Compiled
 * general-regs-only: the guest's values may be in the host FPU throughout. Anything that may call the C library first saves the FPU.
 */
#include "tcg/lanes.h"
#include "tcg/tcg.h"

void tcg_unlink_in(struct tcg *t, struct tb *tb)
{
    struct tb_exit *e = tb->in, *next;
    for (; e; e = next) {
        next = e->next_in;
        t->be->link(t, e->owner, e->n, NULL);
        e->dest = NULL;
    }
    tb->in = NULL;
}

static bool same_bytes(const struct tb *tb)
{
    const struct tb_bytes *t = tb->bytes;
    unsigned first = MIN(tb->len, (unsigned)(PAGE_SIZE - (tb->key.pc & ~PAGE_MASK)));
    for (unsigned i = 0; i < tb->len; i++)
        if (__atomic_load_n(i < first ? t->host[0] + i : t->host[1] + (i - first), __ATOMIC_RELAXED) != t->b[i])
            return false;
    return true;
}

/* TB was made when another vCPU might still store to its bytes unnoticed. False: one has, and TB is gone. *now: it may be linked and cached. */
static bool tcg_trusted(struct tcg_env *env, struct tb *tb, bool *now)
{
    struct tcg *t = env->tcg;
    *now = true;
    const struct tb_bytes *b = __atomic_load_n(&tb->bytes, __ATOMIC_ACQUIRE);
    if (likely(!b))
        return true;
    bool settled = mmu_settled(env->mmu, __atomic_load_n(&b->epoch, __ATOMIC_ACQUIRE));     /* before the comparison: stores come no more */
    tcg_lock(t);
    bool good = tb->valid && (!tb->bytes || same_bytes(tb));
    if (!good)
        tcg_tb_invalidate(t, tb, CNT_drop_stale);
    else if (settled)
        __atomic_store_n(&tb->bytes, NULL, __ATOMIC_RELEASE);
    *now = !tb->bytes;
    tcg_unlock(t);
    return good;
}

static struct tb *find(struct tcg_env *env, const struct tb_key *key, bool *trusted);

struct tb *tcg_find(struct tcg_env *env, const struct tb_key *key)
{
    bool trusted;
    return find(env, key, &trusted);
}

static struct tb *find(struct tcg_env *env, const struct tb_key *key, bool *trusted)
{
    struct tcg *t = env->tcg;
    gpa_t gpa, gpa2;
    if (!mmu_code_gpa_fast(env->mmu, key->pc, &gpa))
        return NULL;
    gpa = (gpa & PAGE_MASK) | (key->pc & ~PAGE_MASK);
    struct tb *tb = __atomic_load_n(&t->hash[tb_hash(key->pc, gpa, key->mode)], __ATOMIC_ACQUIRE);
    for (; tb; tb = __atomic_load_n(&tb->hash_next, __ATOMIC_ACQUIRE)) {
        if (tb->key.pc != key->pc || tb->phys[0] != gpa || tb->key.mode != key->mode || tb->key.cs_base != key->cs_base)
            continue;
        if (tb->phys[1] != ~0ull && (!mmu_code_gpa_fast(env->mmu, (key->pc | ~PAGE_MASK) + 1, &gpa2) || (gpa2 & PAGE_MASK) != tb->phys[1]))
            continue;
        return tcg_trusted(env, tb, trusted) ? tb : NULL;
    }
    return NULL;
}

/*
 * A salt stands for one (mode, code base, code generation): equal salts, same meaning of a linear pc. A jump-cache tag is pc ^ salt. Bits
 * 48..63 number the salt (never 0 or 0xffff), so the tags of two canonical pcs under two salts differ, and none is 0; the other bits are
 * random and secret, so a guest cannot make up a pc that is not canonical and hits. (Where canonical addresses have 57 bits, it would have to make
 * up 48 of these bits for two pcs in different 256 TiB to be taken for each other.) When the numbers run out, each vCPU empties its jump cache
 * before it takes a new salt.
 */
#define LAST_SALT 0xfffe

/* The C library's may use vector registers. */
static void clear(void *at, size_t bytes)
{
    for (volatile uint64_t *p = at; bytes; bytes -= 8)
        *p++ = 0;
}

static uint64_t new_salt(struct tcg *t)
{
    if (t->next_salt == LAST_SALT) {
        t->next_salt = 0;
        t->salt_epoch++;
        clear(t->salts, sizeof t->salts);
    }
    uint64_t z = t->salt_seed += 0x9e3779b97f4a7c15ull;          /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (uint64_t)++t->next_salt << 48 | (z ^ z >> 31) >> 16;
}

static uint64_t salt_of(struct tcg *t, uint32_t mode, uint64_t cs_base, uint32_t gen)
{
    unsigned slot = (unsigned)((mode ^ gen * 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull >> 32) % ARRAY_SIZE(t->salts);
    if (t->salts[slot].salt && t->salts[slot].mode == mode && t->salts[slot].gen == gen && t->salts[slot].cs_base == cs_base)
        return t->salts[slot].salt;
    t->salts[slot].salt = new_salt(t);
    t->salts[slot].mode = mode;
    t->salts[slot].gen = gen;
    t->salts[slot].cs_base = cs_base;
    return t->salts[slot].salt;
}

static uint64_t gens(const struct tcg_env *env) { return (uint64_t)env->code_gen[1] << 32 | env->code_gen[0]; }

static void set_salts(struct tcg_env *env, const struct tb_key *key)
{
    struct tcg *t = env->tcg;
    tcg_lock(t);
    do {                                           /* both of one epoch */
        if (env->salt_epoch != t->salt_epoch)
            clear(env->jc, sizeof env->jc);
        env->salt_epoch = t->salt_epoch;
        env->salt[0] = salt_of(t, key->mode, key->cs_base, env->code_gen[0]);
        env->salt[1] = salt_of(t, key->mode | 1u << 31, key->cs_base, env->code_gen[1]);
    } while (env->salt_epoch != t->salt_epoch);
    tcg_unlock(t);
    env->salt_mode = key->mode;
    env->salt_cs_base = key->cs_base;
    env->salt_gens = gens(env);
}

void tcg_salts_for(struct tcg_env *env, const struct tb_key *key)
{
    if (key->mode != env->salt_mode || key->cs_base != env->salt_cs_base || gens(env) != env->salt_gens)
        set_salts(env, key);
}

void tcg_update_salts(struct tcg_env *env)
{
    struct tb_key key = {.mode = env->salt_mode, .cs_base = env->salt_cs_base};
    set_salts(env, &key);
}

static uint64_t *pc_word(struct tcg_env *env) { return (uint64_t *)((char *)tcg_cpu(env) + env->fe->pc_offset); }

static void jc_fill(struct tcg_env *env, const struct tb *tb)
{
    if (tb->key.cs_base)
        return;
    unsigned at = tcg_jc_index(tb->key.pc);
    tcg_lock(env->tcg);                            /* a DMA write may be invalidating it right now, on another thread */
    if (tb->valid) {
        if (env->jc[at].code != tb->code)
            env->jc[at ^ 1] = env->jc[at];         /* the second way, asked when the first one misses (backend: exit_jmpi) */
        env->jc[at].code = tb->code;
        env->jc[at].tag = tb->key.pc ^ env->salt[tcg_half(env->tcg, tb->key.mode, tb->key.pc)];
    }
    tcg_unlock(env->tcg);
}

static void *jc_code(struct tcg_env *env, const struct tb_key *key)
{
    unsigned at = tcg_jc_index(key->pc);
    uint64_t tag = key->pc ^ env->salt[tcg_half(env->tcg, key->mode, key->pc)];
    if (key->cs_base)
        return NULL;
    return env->jc[at].tag == tag ? env->jc[at].code : env->jc[at ^ 1].tag == tag ? env->jc[at ^ 1].code : NULL;
}

/* Exit n of FROM goes to DEST from now on, for the mapping of code in force. True: it was linked for another one before. */
static bool link_exit(struct tcg_env *env, struct tb *from, unsigned n, struct tb *dest)
{
    struct tcg *t = env->tcg;
    struct tb_exit *e = &from->exits[n];
    if (from->key.mode != dest->key.mode || from->key.cs_base != dest->key.cs_base || (unlikely(t->random) && !tcg_random(t, 4)))
        return false;
    tcg_lock(t);
    if (!from->valid || !dest->valid) {            /* asked under the lock: DMA invalidates from another thread */
        tcg_unlock(t);
        return false;
    }
    bool again = e->dest != NULL;
    if (again) {                                   /* leave the old list first */
        struct tb_exit **at = &e->dest->in;
        while (*at != e)
            at = &(*at)->next_in;
        *at = e->next_in;
    }
    e->dest = dest;
    e->next_in = dest->in;
    dest->in = e;
    /* Not code_gen: DEST was found after this was read, and what has changed since then must end the link. */
    e->gen_value = (uint32_t)(env->salt_gens >> 32 * tcg_half(t, dest->key.mode, dest->key.pc));
    t->be->link(t, from, n, dest);
    t->n.links++;
    t->n.relinks += again;
    tcg_unlock(t);
    return again;
}

static bool pending(struct tcg_env *env)
{
    return __atomic_load_n(&env->poll, __ATOMIC_ACQUIRE) || __atomic_load_n(&env->vcpu->pending, __ATOMIC_ACQUIRE);
}

/* A block that goes to itself is not linked before it is known to be no loop of a few turns: then it is made anew, as a hot one, at once. True: go
   on with it. */
static bool hot_loop(struct tcg_env *env, struct tb *tb)
{
    struct tcg *t = env->tcg;
    if (++tb->turns < TCG_HOT_TURNS)
        return true;
    tcg_learn(t, LEARNED_HOT, tb->key.pc);
    tcg_lock(t);
    tcg_tb_invalidate(t, tb, CNT_drop_hot);
    tcg_unlock(t);
    return false;
}

/* Run from CODE; blocks that are known are entered without leaving this function. Returns when something else is to be done, with an exact
   state at a guest instruction boundary: the last exit reason. */
unsigned tcg_chain(struct tcg_env *env, void *code)
{
    struct tb_key key;
    uint32_t flushes = env->tcg->flush_count;
    for (;;) {
        env->in_code = true;
        unsigned r = env->tcg->be->enter(env, code);
        env->in_code = false;
        env->vcpu->n.all[CNT_left_site + r]++;
        struct tb *from = NULL, *to;
        unsigned n = 0;
        bool trusted;
        if (r == TCG_EXIT_SITE || r == TCG_EXIT_POLL) {
            from = (struct tb *)env->exit_info;
            n = (uint8_t)env->saved_misc;
            *pc_word(env) = from->exits[n].pc;
        }
        if (r == TCG_EXIT_POLL || r == TCG_EXIT_REASON || r == TCG_EXIT_UNWIND || flushes != env->tcg->flush_count)
            return r == TCG_EXIT_SITE ? TCG_EXIT_LOOKUP : r;
        if ((r == TCG_EXIT_LOOKUP ? pending(env) : env->poll) || (unlikely(env->tcg->random) && !tcg_random(env->tcg, 8)))
            return TCG_EXIT_POLL;
        if (env->step_key || env->alone)
            return r;
        env->fe->get_key(tcg_cpu(env), &key);
        tcg_salts_for(env, &key);
        if (r == TCG_EXIT_LOOKUP && (code = jc_code(env, &key)))
            continue;
        to = find(env, &key, &trusted);
        if (!to)
            return r;
        if (!trusted) {
            code = to->code;
            continue;
        }
        if (from && from == to && !to->hot) {
            if (!hot_loop(env, to))
                return TCG_EXIT_LOOKUP;
        } else if (!from || link_exit(env, from, n, to))
            jc_fill(env, to);             /* where a link whose time comes again is looked up first (backend: exit_stale) */
        code = to->code;
    }
}

static void load_bounce(struct tcg_env *env, uint64_t va, unsigned size)
{
    for (unsigned i = 0; i < size;) {
        unsigned k = size - i >= 8 ? 8 : size - i >= 4 ? 4 : size - i >= 2 ? 2 : 1;
        uint64_t v = mmu_ld(env->mmu, va + i, k);
        for (unsigned j = 0; j < k; j++)
            env->bounce[i + j] = (uint8_t)(v >> (8 * j));
        i += k;
    }
}

/* Shared checks of 32-bit addresses are made with 64 bits, where what wraps is beyond them all. */
static bool wrapped(uint64_t va, bool a32) { return a32 && va >> 32; }

void *tcg_slow_probe(struct tcg_env *env, uint64_t va, uint64_t size_kind)
{
    unsigned size = size_kind & 0xff, kind = (size_kind >> 8) & 0xff;
    enum mmu_access access = kind == 1 ? MMU_READ : MMU_WRITE;
    unsigned region = (unsigned)(size_kind >> 16) & 0xff;
    bool restart = size_kind >> 30 & 1, live;
    uint64_t tracked = mmu_tracked_pages(env->mmu);
    void *p = NULL;
    env->vcpu->n.slow_accesses++;
    env->vcpu->n.region_misses += region != 0;
    if (!(size_kind >> 25 & 1))
        env->slow_lanes = 0;
    if (size_kind >> 31 & 1) {                     /* a group's leader: all of SIZE bytes, or the instructions run apart */
        struct mem_region *r = &env->region[region - 1];
        bool ok = !wrapped(va, size_kind >> 29 & 1) && mmu_region_fill(env->mmu, va, 1, access == MMU_WRITE, r) && va - r->start < r->len[mem_region_len(size)];
        tcg_note_region_miss(env, region, !ok);
        if (!ok)
            tcg_unwind(env, TCG_UNWIND_APART);
        return NULL;
    }
    if ((size_kind >> 24 & 1) && (va & (size - 1)) && (!env->slow_lanes || tcg_lanes_any(env))) {
        tcg_fpu_save(env);
        tcg_restore_state(env);
        env->fe->host_fault(tcg_cpu(env), TCG_FAULT_GP);
        tcg_unwind(env, TCG_UNWIND_FAULT);
    }
    if (region) {
        p = mmu_region_fill(env->mmu, va, size, access == MMU_WRITE, &env->region[region - 1]);
        tcg_note_region_miss(env, region, false);
    }
    if (!p)
        p = mmu_refill(env->mmu, va, size, access);
    if (p)
        return p;
    env->vcpu->n.slow_copies++;
    live = env->fpu_live;
    tcg_fpu_save(env);
    if (env->slow_lanes)
        tcg_lanes_check(env, va, access);
    else
        p = mmu_probe(env->mmu, va, size, access);
    if (!env->slow_lanes && ((va ^ (va + size - 1)) & PAGE_MASK)) {      /* both pages, before anything is read or written */
        if (kind == 3 && env->tcg->n_envs > 1 && !env->alone)
            tcg_unwind(env, TCG_UNWIND_ALONE);
        mmu_probe(env->mmu, va, 1, access);
        mmu_probe(env->mmu, (va + size - 1) & PAGE_MASK, 1, access);
    }
    if (restart && mmu_tracked_pages(env->mmu) != tracked)
        tcg_unwind(env, TCG_UNWIND_LOOKUP);        /* nothing of the instruction was done yet */
    if (!p && kind == 3 && (env->slow_ptr = mmu_rmw_begin(env->mmu, va, size))) {
        env->slow_size = size;
    } else if (!p) {
        env->slow_size = size;
        env->slow_ptr = env->bounce;
        if (env->slow_lanes && kind != 2)
            tcg_lanes_load(env, va);
        else if (kind != 2)
            load_bounce(env, va, size);
        if (kind == 1)
            p = env->bounce;
    }
    if (live)
        tcg_fpu_load(env);
    return p;
}

/* What the first access finds is its own affair: a fault, for one. Where the others are not served as it is, they run apart. */
void *tcg_slow_group(struct tcg_env *env, uint64_t va, uint64_t how)
{
    unsigned span = how & 0xff, own_at = how >> 16 & 0xff, own = how >> 24 & 0xff;
    enum mmu_access access = (how >> 8 & 3) == 1 ? MMU_READ : MMU_WRITE, own_access = (how >> 10 & 3) == 1 ? MMU_READ : MMU_WRITE;
    uint64_t tracked = mmu_tracked_pages(env->mmu);
    bool live = env->fpu_live, wraps = wrapped(va, how >> 12 & 1);
    void *p = wraps ? NULL : mmu_refill(env->mmu, va, span, access);
    env->vcpu->n.slow_groups++;
    if (p)
        return p;
    if (wraps) {
        tcg_note_group_miss(env);
        tcg_unwind(env, TCG_UNWIND_APART);
    }
    tcg_fpu_save(env);
    if (own)
        mmu_probe(env->mmu, va + own_at, own, own_access);
    if (mmu_tracked_pages(env->mmu) != tracked)
        tcg_unwind(env, TCG_UNWIND_LOOKUP);
    if (!(p = mmu_refill(env->mmu, va, span, access))) {
        tcg_note_group_miss(env);
        tcg_unwind(env, TCG_UNWIND_APART);
    }
    if (live)
        tcg_fpu_load(env);
    return p;
}

void tcg_slow_commit(struct tcg_env *env)
{
    bool live = env->fpu_live;
    tcg_fpu_save(env);
    if (env->slow_lanes)
        tcg_lanes_store(env, env->slow_va);
    else if (env->slow_ptr == env->bounce)
        mmu_st_wide(env->mmu, env->slow_va, env->bounce, env->slow_size);
    else
        mmu_rmw_end(env->mmu, env->slow_size);
    if (gens(env) != env->salt_gens)
        tcg_update_salts(env);
    if (live)
        tcg_fpu_load(env);
}
