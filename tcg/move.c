/*
 * Blocks at another pc. Programs and libraries are mapped somewhere else in each process, so the code of one physical page is met at ever new pcs. A
 * block that is movable (tcg/opt_move.c) is copied there instead of being made anew: its code with the values of some places changed
 * (backend->move), its exits unlinked. Nothing is shared with the block that it was made from, whose part of the cache may be emptied first.
 *
 * That block, the origin, is the first of its kind that is in use. When a copy turns out to be made badly (it is to be a hot block, or to do
 * without region descriptors), its origin is none any more, and the better block becomes the next origin. Under t->lock: an origin is valid,
 * so the bytes under it are watched, and whoever stores to them takes the copies away too.
 */
#include <string.h>
#include "tcg/ir.h"
#include "tcg/tcg.h"

static struct tb **slot(struct tcg *t, gpa_t gpa, uint32_t mode) { return &t->origins[tb_hash(0, gpa, mode) >> (TB_HASH_BITS - TCG_ORIGIN_BITS)]; }

void tcg_origin_add(struct tcg *t, struct tb *tb)
{
    struct tb **at = slot(t, tb->phys[0], tb->key.mode);
    tb->origins_next = *at;
    *at = tb;
}

void tcg_origin_drop(struct tcg *t, struct tb *tb)
{
    struct tb **at = slot(t, tb->phys[0], tb->key.mode);
    while (*at && *at != tb)
        at = &(*at)->origins_next;
    if (*at)
        *at = tb->origins_next;
    tb->places = NULL;
}

static struct tb *origin_of(struct tcg_env *env, const struct tb_key *key, gpa_t gpa)
{
    struct tcg *t = env->tcg;
    struct tb *o = *slot(t, gpa, key->mode);
    gpa_t gpa2;
    while (o && (o->phys[0] != gpa || o->key.mode != key->mode))
        o = o->origins_next;
    if (!o || o->bytes || ir_pc_low(o->key.pc) != ir_pc_low(key->pc) || (!o->hot && tcg_has_learned(t, LEARNED_HOT, key->pc)) ||
        (o->trial && tcg_has_learned(t, LEARNED_TRIED, key->pc)))
        return NULL;
    if (o->phys[1] != ~0ull && (!mmu_code_gpa_fast(env->mmu, (key->pc | ~PAGE_MASK) + 1, &gpa2) || (gpa2 & PAGE_MASK) != o->phys[1]))
        return NULL;
    return o;
}

static void *again(struct tcg *t, const void *from, size_t n) { return memcpy(arena_alloc(&t->meta, n), from, n); }

static struct tb *copy(struct tcg *t, struct tb *o, const struct tb_key *key)
{
    struct tb *tb = tcg_tb_new(t);
    uint64_t distance = key->pc - o->key.pc;
    if (!tb)
        return NULL;
    *tb = *o;
    tb->key = *key;
    tb->origin = o;
    tb->moved = true;
    tb->places = NULL;
    tb->in = NULL;
    tb->hash_next = tb->origins_next = NULL;
    tb->samples = tb->turns = 0;
    for (unsigned i = 0; i < o->n_exits && ir_pc_low(key->pc); i++)
        if (!ir_pc_low(o->exits[i].pc + distance))
            return NULL;
    tb->guest = again(t, o->guest, sizeof o->guest[0] * (o->n_guest + 1));
    tb->points = again(t, o->points, sizeof o->points[0] * o->n_points);
    tb->recipes = again(t, o->recipes, sizeof o->recipes[0] * o->n_recipes);
    tb->exits = arena_alloc(&t->meta, sizeof(struct tb_exit) * o->n_exits);
    for (unsigned i = 0; i < o->n_exits; i++) {
        tb->exits[i] = o->exits[i];
        tb->exits[i].pc += distance;
        tb->exits[i].owner = tb;
        tb->exits[i].dest = NULL;
        tb->exits[i].next_in = NULL;
    }
    return t->be->move(t, o, tb) < 0 ? NULL : tb;
}

struct tb *tcg_move(struct tcg_env *env, const struct tb_key *key, unsigned max)
{
    struct tcg *t = env->tcg;
    struct tb *o, *tb = NULL;
    gpa_t gpa;
    if (t->interp || env->one_insn || t->spoil_pc || key->cs_base || !ir_pc_movable(key->pc) || (t->random && tcg_random(t, 2)) ||
        tcg_max_insns(t, key->pc, max) != max || !mmu_code_gpa_fast(env->mmu, key->pc, &gpa))
        return NULL;
    tcg_lock(t);
    o = origin_of(env, key, (gpa & PAGE_MASK) | (key->pc & ~PAGE_MASK));
    if (o && (tb = copy(t, o, key)))
        tcg_tb_insert_locked(t, tb);
    tcg_unlock(t);
    if (tb && unlikely(t->on_block != NULL))
        t->on_block(tb);
    t->n.moved += tb != NULL;
    return tb;
}
