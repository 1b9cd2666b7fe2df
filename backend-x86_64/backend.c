/*
 * x64_backend: one forward walk over a block's IR, each op lowered by the file of its group, then the out-of-line code. The block's
 * metadata (exits, points) is copied into the cache's arena. See x64.h for the contract, mem.c for memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "core/log.h"
#include "backend-x86_64/x64.h"

typedef void (*lower_fn)(struct x64_ctx *);

static lower_fn lower_of(unsigned op)
{
    switch (op) {
    case IR_mov: case IR_zext: case IR_sext: case IR_exth: case IR_deph: case IR_cmov: case IR_setcc: case IR_bswap: return x64_emit_move;
    case IR_lea: return x64_emit_lea;
    case IR_add: case IR_sub: case IR_adc: case IR_sbb: case IR_and: case IR_or: case IR_xor: case IR_inc: case IR_dec: case IR_neg: case IR_not:
        return x64_emit_alu;
    case IR_shl: case IR_shr: case IR_sar: case IR_rol: case IR_ror: case IR_rcl: case IR_rcr: return x64_emit_shift;
    case IR_imul: case IR_mulu: case IR_muls: case IR_divu: case IR_divs: return x64_emit_muldiv;
    case IR_shld: case IR_shrd: case IR_bt: case IR_bts: case IR_btr: case IR_btc: case IR_bsf: case IR_bsr: case IR_tzcnt: case IR_lzcnt: case IR_popcnt:
        return x64_emit_bits;
    case IR_getf: case IR_setf: case IR_setcf: return x64_emit_flagop;
    case IR_ld: case IR_st: case IR_rmw: case IR_cmpxchg: return x64_emit_mem;
    case IR_native: return x64_emit_native;
    case IR_call: return x64_emit_call;
    default: return x64_emit_ctl;
    }
}

static void touch(struct x64_ctx *x, ir_ref r, unsigned k)
{
    if (ir_is_temp(r))
        x->last_use[r - IR_TEMP0] = (uint16_t)k;
}

static void find_last_uses(struct x64_ctx *x)
{
    for (unsigned k = 0; k < x->ir->n && x->ir->n_temps; k++) {
        const struct ir_insn *in = &x->ir->insn[k];
        touch(x, in->d, k), touch(x, in->e, k), touch(x, in->a, k), touch(x, in->b, k), touch(x, in->c, k);
        touch(x, in->base, k), touch(x, in->index, k);
    }
}

/* Are the flags at entry read, or could a fault or exit show them, before they are redefined? */
static bool entry_needs_flags(const struct ir_block *ir)
{
    for (unsigned k = 0; k < ir->n; k++) {
        const struct ir_insn *in = &ir->insn[k];
        unsigned attr = ir_opinfo[in->op].attr;
        if (attr & (LD | ST | FAULT | CTL | FR) || ((attr & FP) && (in->flags & IRF_FLAGS)) || in->op == IR_call || in->op == IR_native || in->op == IR_label || in->op == IR_getf)
            return true;
        if ((attr & FW) && (in->flags & IRF_FLAGS))
            return false;
    }
    return true;
}

struct x64_ool *x64_ool(struct x64_ctx *x, void (*emit)(struct x64_ctx *, struct x64_ool *))
{
    if (x->n_ool >= X64_MAX_OOL) {
        x->overflow = true;
        x->n_ool = 0;
    }
    return &x->ool[x->n_ool++];
}

void x64_emit_insn(struct x64_ctx *x, uint32_t k)
{
    x->k = k;
    x->in = &x->ir->insn[k];
    if (unlikely(!x64_room(x->c)))
        return;
    if (unlikely(x->t->random))
        x64_choose_order(x);
    if (x->fs == FS_RECIPE)
        x64_fl_before(x);
    lower_of(x->in->op)(x);
    if (x->has_recipe)
        x64_fl_after(x);
    x->locked = 0;
    if (x->owner_valid[RAX] | x->owner_valid[R10] | x->owner_valid[R11] || x->slots_used)
        x64_free_dead(x);
}

static void emit_body(struct x64_ctx *x)
{
    for (unsigned k = 0; k < x->ir->n; k++)
        x64_emit_insn(x, k);
    for (unsigned i = 0; i < x->n_ool && x64_room(x->c); i++) {
        x->in = x->ool[i].in;
        x->ool[i].emit(x, &x->ool[i]);
    }
}

/* The places that a copy elsewhere would have other values in. */
static void keep_places(struct x64_ctx *x)
{
    struct code_places *l = x->c->places;
    struct tb *tb = x->tb;
    x->c->places = NULL;
    if (!l || l->n > CODE_MAX_PLACES)
        return;
    tb->places = arena_alloc(&x->t->meta, sizeof(uint32_t) * (l->n + 1));
    for (unsigned i = 0; i < l->n; i++)
        tb->places[i] = (uint32_t)(l->place[i].at - x->start) * PLACE_KINDS + l->place[i].kind;
    tb->n_places = l->n;
}

static void keep_meta(struct x64_ctx *x)
{
    struct tb *tb = x->tb;
    struct arena *a = &x->t->meta;
    tb->n_exits = x->n_exits;
    tb->exits = arena_alloc(a, sizeof(struct tb_exit) * x->n_exits);
    memcpy(tb->exits, x->exits, sizeof(struct tb_exit) * x->n_exits);
    tb->n_recipes = x->n_recipes;
    tb->recipes = arena_alloc(a, sizeof(struct tb_recipe) * x->n_recipes);
    memcpy(tb->recipes, x->recipe, sizeof(struct tb_recipe) * x->n_recipes);
    tb->n_points = x->n_points;
    tb->points = arena_alloc(a, sizeof(struct tb_point) * x->n_points);
    memcpy(tb->points, x->points, sizeof(struct tb_point) * x->n_points);
    keep_places(x);
}

/* -d count: the host instruction at this offset belongs to all stretches around it, unless it is there to count, or is padding, of which there is
   more or less as addresses happen to be. */
static void count_insn(void *opaque, uint64_t off, const char *text)
{
    struct x64_ctx *x = opaque;
    if (!strncmp(text, "nop", 3))
        return;
    for (struct tb_count *n = x->counts; n; n = n->next)
        if (off >= n->code && off < n->code_end)
            return;
    for (struct tb_count *n = x->counts; n; n = n->next)
        n->host += off >= n->from && off < n->to;
}

static bool wants_density(const struct tb *tb) { return log_on(LOG_COUNT) && log_in_range(tb->key.pc); }

/* The block is complete: what its stretches are made of. */
static void finish_counts(struct x64_ctx *x)
{
    if (!x->counts || (wants_density(x->tb) && x64_each_insn(x->start, x->tb->code_size, 0, count_insn, x) < 0))
        return;
    struct tb_count *last = x->counts;
    while (last->next)
        last = last->next;
    last->next = x->t->counts;
    __atomic_store_n(&x->t->counts, x->counts, __ATOMIC_RELEASE);       /* read meanwhile (engine_tcg_guest_insns) */
}

static void drop_counts(struct x64_ctx *x)
{
    for (struct tb_count *next, *n = x->counts; n; n = next) {
        next = n->next;
        free(n);
    }
}

static int x64_emit(struct tcg *t, const struct ir_block *ir, struct tb *tb)
{
    static __thread struct x64_ctx ctx;            /* large; one translation at a time a thread */
    struct x64_ctx *x = &ctx;
    x->c = &t->buf;
    x->t = t;
    x->ir = ir;
    x->tb = tb;
    x->s = &x64_stubs;
    x->counting = wants_density(tb) || t->counting;
    if (x->c->end - x->c->p < 2 * X64_ROOM)
        return -ENOSPC;
    x->c->p += -((uintptr_t)x->c->p + CODE_HEADER) & 15;
    x64_q(x->c, (uint64_t)(uintptr_t)tb);
    x->start = x->c->p;
    x->places.n = 0;
    x->places.from = x->start;
    x->c->places = ir->movable && !x->counting ? &x->places : NULL;
    memset(x->owner_valid, 0, sizeof x->owner_valid);
    memset(x->loc_reg, NOREG, ir->n_temps);
    memset(x->loc_slot, -1, ir->n_temps);
    memset(x->label_at, 0, sizeof x->label_at[0] * ir->n_labels);
    x->slots_used = 0;
    x64_choose_order(x);
    x->locked = 0;
    x->n_ool = x->n_points = x->n_exits = x->n_label_fix = 0;
    x->overflow = false;
    x->counts = NULL;
    x->fs = FS_MEM;
    x->has_recipe = false;
    x->n_recipes = 0;
    x->fl_fresh = 0;
    x->fpu_known = x->fpu_dropped = false;
    x->c->same = 0;
    find_last_uses(x);
    x64_loop_find(x);
    x64_find_groups(x);
    tb->needs_flags = entry_needs_flags(ir);
    tb->trial = x64_wants_trial(x) ? (uint16_t)(1 + t->next_trial++ % TCG_TRIALS) : 0;
    tb->code = x->start + x->c->rx_delta;
    tb->uses_fpu = ir->uses_fpu;
    x->in = &ir->insn[0];
    tb->fpu_entry = 0;
    if (ir->uses_fpu) {
        struct tb_count *check = x->counting ? x64_count(x, 0) : NULL;
        x64_fpu_check(x);
        tb->fpu_entry = (uint16_t)(x->c->p - x->start);
        if (check)
            check->to = tb->fpu_entry;
    }
    if (tb->trial)
        x64_trial_count(x);
    x64_loop_gate(x);
    emit_body(x);
    if (x->overflow || !x64_room(x->c)) {
        x64_rewind(x->c, x->start);
        drop_counts(x);
        x->c->places = NULL;
        return x->overflow ? -EOVERFLOW : -ENOSPC;
    }
    tb->code_size = (uint32_t)(x->c->p - x->start);
    keep_meta(x);
    if (tb->trial)
        tcg_trial_begin(t, tb, x->loop.gated);
    finish_counts(x);
    return 0;
}

const struct tcg_backend x64_backend = {
    .name = "x86_64", .init = x64_init, .emit = x64_emit, .move = x64_move, .same = x64_same, .link = x64_link, .enter = x64_enter, .run_native = x64_run_native, .disas = x64_each_insn,
};
