/*
 * The tight copy of a loop that is one hot block: its body once more, without any check. The block's entry leads to the copy's preheader,
 * which asks, for every stream of accesses (one base and index whose values change by constants from turn to turn), how many turns stay inside
 * its region descriptor. The smallest number, at most TURNS, is the budget. While it lasts no access can fault, miss or be MMIO, nothing else
 * can change the descriptors (there are no calls and no slow paths inside), and pending work waits for at most TURNS turns. Then the turn goes
 * on at the exit's guard, which looks at pending work as ever. When not even one turn is inside, the ordinary code runs, and fills the
 * descriptors. An access that jumps about (its ordinary code probes the TLB) is probed here too, and one whose base or index is computed in the
 * loop (a list's next element) has its descriptor's check in each turn; when these miss, the turn goes on in the ordinary code, at the same access.
 *
 * Registers: the budget in rax, up to two host addends in r10 and r11. A body that needs those itself (code_buf.touched tells) is emitted
 * again with fewer of them taken, at last with none: then budget and addends are in env.
 *
 * Flags at the top of the copy: the budget's arithmetic loses EFLAGS. With a recipe (flags.c) the exit's flags can be rebuilt: the budget is
 * counted at the bottom, and the first turn, whose flags came from outside, has a copy of its own if anything could show them. Without a
 * recipe, but when the block redefines flags before anything can show them, the budget is counted at the top, and the last turn is left to the
 * ordinary code, whose exit has its flags. Other blocks have no tight copy.
 */
#include <stdlib.h>
#include <string.h>
#include "backend-x86_64/x64.h"

#define TURNS 1023
#define COPIED_OPS 32                  /* IR insns in all copies of a turn */

static const struct { uint8_t left, n_hosts, host[2]; } plans[] = {
    { RAX, 2, { R10, R11 } }, { RAX, 1, { R10 } }, { RAX, 0, { 0 } }, { R11, 0, { 0 } }, { NOREG, 0, { 0 } } };

/* Is IR insn END a branch to the block's own start behind a body that a tight copy can be made of? */
static bool is_loop(const struct x64_ctx *x, uint32_t end)
{
    const struct ir_insn *in = &x->ir->insn[end];
    if (in->op != IR_jcc || ir_const_value(x->ir, in->a) != x->ir->pc)
        return false;
    for (uint32_t k = 0; k < end; k++) {
        in = &x->ir->insn[k];
        unsigned attr = ir_opinfo[in->op].attr;
        if (in->op == IR_call || in->op == IR_label || in->op == IR_cmpxchg || in->op == IR_setpc || ((attr & CTL) && in->op != IR_jcc))
            return false;
        if ((ir_is_temp(in->d) && x->last_use[in->d - IR_TEMP0] > end) || (ir_is_temp(in->e) && x->last_use[in->e - IR_TEMP0] > end))
            return false;
    }
    return true;
}

void x64_loop_find(struct x64_ctx *x)
{
    struct x64_loop *l = &x->loop;
    l->gate = l->over = l->top = NULL;
    x->tb->tight = 0;
    l->gated = false;
    if (!x->tb->hot || x->tb->key.cs_base)
        return;
    for (l->end = 0; l->end < x->ir->n && !is_loop(x, l->end); l->end++)
        ;
    l->gated = l->end < x->ir->n;
}

void x64_loop_gate(struct x64_ctx *x)
{
    struct x64_loop *l = &x->loop;
    if (!l->gated)
        return;
    l->gate = x64_jmp(x->c);
    x64_patch_here(x->c, l->gate);
    l->entry = x->c->p;
}

bool x64_loop_wanted(const struct x64_ctx *x)
{
    return x->loop.gate && !x->loop.on && !x->loop.over && x->k == x->loop.end && x->fs == FS_HOST && (x->has_recipe || !x->tb->needs_flags);
}

/* ---- streams ---- */

static bool plain(ir_ref r) { return r == IR_NONE || (ir_is_global(r) && x64_contract[r] != NOREG); }

/* What the body adds to each global: so far; whether also something that is not a constant, or anything at all. */
struct moves { int64_t off[IR_MAX_GLOBALS]; bool lost[IR_MAX_GLOBALS], moved[IR_MAX_GLOBALS]; };

static bool lost(const struct moves *m, ir_ref r) { return r != IR_NONE && !ir_is_const(r) && m->lost[r]; }

static void move(struct moves *m, const struct x64_ctx *x, const struct ir_insn *in)
{
    for (unsigned i = 0; i < 2; i++) {
        ir_ref d = i ? in->e : in->d;
        int64_t by;
        if (d == IR_NONE || !ir_is_global(d))
            continue;
        m->moved[d] = true;
        if (x64_is_step(x, in, d, &by))
            m->off[d] += by;
        else
            m->lost[d] = true;
    }
}

/* The stream that an access of the body belongs to, its range relative to base + (index << scale) at the top of the body; NULL: it has none, and
   *of says how its address is checked. */
static struct x64_stream *stream_of(struct x64_ctx *x, const struct ir_insn *in, const struct moves *so_far, const struct moves *all, uint8_t *of)
{
    struct x64_loop *l = &x->loop;
    bool fixed = in->base != IR_NONE && ir_is_const(in->base);
    ir_ref base = fixed ? IR_NONE : in->base;
    unsigned size = in->op == IR_native ? x->ir->natives[in->imm].mem_size : in->size;
    int use = x64_region_use(x, in);
    *of = LOOP_PROBED;
    if (use < 0 || use == TCG_REGION_SEG || !plain(base) || !plain(in->index) || (base == IR_NONE && in->index != IR_NONE) || size > MEM_REGION_SPAN ||
        (in->flags & (x64_linear32(x) ? IRF_ADDR16 : IRF_ADDR32 | IRF_ADDR16)) || tcg_has_learned(x->t, LEARNED_TLB, x->ir->guest[in->gi].pc))
        return NULL;
    if (lost(all, base) || lost(all, in->index) || (in->flags & IRF_ADDR32)) {
        *of = LOOP_CHECKED;
        return NULL;
    }
    const int64_t *off = so_far->off;
    int64_t at = in->disp + (fixed ? (int64_t)ir_const_value(x->ir, in->base) : 0) + (base == IR_NONE ? 0 : off[base]) +
        (in->index == IR_NONE ? 0 : off[in->index] * (1 << in->scale));
    struct x64_stream *s = l->stream;
    for (; s < l->stream + l->n_streams; s++)
        if (s->base == base && s->index == in->index && s->scale == in->scale && at >= s->hi - LOOP_SPAN && at + (int64_t)size <= s->lo + LOOP_SPAN)
            break;
    if (s == l->stream + ARRAY_SIZE(l->stream))
        return NULL;
    if (s == l->stream + l->n_streams) {
        l->n_streams++;
        *s = (struct x64_stream){ .base = base, .index = in->index, .scale = in->scale, .lo = at, .hi = at + size, .use = (uint8_t)use };
    }
    s->lo = MIN(s->lo, at);
    s->hi = MAX(s->hi, at + (int64_t)size);
    s->store |= x64_mem_kind(x, in) != NM_READ || x->group[in - x->ir->insn].store;
    s->trusts_load |= x->group[in - x->ir->insn].role != GROUP_NONE && !x->group[in - x->ir->insn].store;
    return s;
}

/* Streams that use the same host value share it. */
static void give_host(struct x64_loop *l, struct x64_stream *s)
{
    bool own = s->index != IR_NONE && (s->base_fixed || s->index_fixed);
    s->host = l->n_hosts;
    if (s->base != IR_NONE && !own)
        for (struct x64_stream *o = l->stream; o < s; o++)
            if (o->region == s->region && o->base != IR_NONE && (o->index == IR_NONE || !(o->base_fixed || o->index_fixed)))
                s->host = o->host;
    l->n_hosts += s->host == l->n_hosts;
}

/* What one turn adds to a register. */
static int64_t step_of(const struct moves *all, ir_ref r, unsigned scale) { return r == IR_NONE ? 0 : all->off[r] * (1 << scale); }

static bool find_streams(struct x64_ctx *x, uint32_t end)
{
    struct x64_loop *l = &x->loop;
    struct moves all = { 0 }, so_far = { 0 };
    l->n_streams = l->n_hosts = 0;
    l->may_miss = false;
    for (uint32_t k = 0; k < end; k++)
        move(&all, x, &x->ir->insn[k]);
    for (uint32_t k = 0; k < end; k++) {
        const struct ir_insn *in = &x->ir->insn[k];
        if (x64_mem_kind(x, in) != NM_NONE) {
            struct x64_stream *s = stream_of(x, in, &so_far, &all, &l->of[k]);
            l->may_miss |= !s;
            if (s)
                l->of[k] = (uint8_t)(s - l->stream);
            else if (l->of[k] == LOOP_PROBED && x->group[k].role != GROUP_NONE)
                return false;
        }
        move(&so_far, x, in);
    }
    for (struct x64_stream *s = l->stream; s < l->stream + l->n_streams; s++) {
        s->step = step_of(&all, s->base, 0) + step_of(&all, s->index, s->scale);
        if (s->step > 1 << 20 || s->step < -(1 << 20) || (s->base != IR_NONE && s->lo != (int32_t)s->lo))
            return false;
        s->base_fixed = s->base != IR_NONE && !all.moved[s->base];
        s->index_fixed = s->index != IR_NONE && !all.moved[s->index];
        s->region = (uint8_t)(1 + s->use + TCG_REGION_USES * x->ir->mem_bank + (s->store ? TCG_REGIONS : 0));
        give_host(l, s);
    }
    return l->n_hosts <= ARRAY_SIZE(((struct tcg_env *)0)->loop_host);
}

/* ---- code ---- */

static struct x64_mem host_mem(unsigned n)
{
    struct x64_mem m = ENV_AT(loop_host);
    m.disp += (int32_t)(8 * n);
    return m;
}

static struct x64_mem at_top(const struct x64_stream *s, int64_t disp)
{
    return (struct x64_mem){ x64_contract[s->base], s->index == IR_NONE ? NOREG : x64_contract[s->index], s->scale, (int32_t)disp };
}

/* rax = min(rax, turns of this stream by that descriptor); goes to the ordinary code when the next turn is not inside. r10, r11 are lost. */
static void limit_by(struct x64_ctx *x, const struct x64_stream *s, unsigned region)
{
    struct code_buf *c = x->c;
    int64_t pace = s->step < 0 ? -s->step : s->step, span = s->hi - s->lo, more = MAX(span - MEM_REGION_SPAN, 0);
    struct x64_mem len = x64_region_field(region, offsetof(struct mem_region, len) + 8 * mem_region_len((unsigned)(span - more)));
    if (s->base == IR_NONE)
        x64_mov_ri(c, R10, (uint64_t)s->lo);
    else
        x64_lea(c, 8, R10, at_top(s, s->lo));
    x64_alu_rm(c, X64_SUB, 8, R10, x64_region_field(region, offsetof(struct mem_region, start)));
    if (s->step < 0)
        x64_mov_rr(c, 8, R11, R10);                /* so far down it may go */
    x64_alu_rm(c, !more && s->step <= 0 ? X64_CMP : X64_SUB, 8, R10, len);
    x64_jcc_to(c, CC_AE, x->loop.entry);
    if (more || s->step > 0)
        x64_group_r(c, 0xf6, 2, 8, R10);           /* not: the last good offset less this one */
    if (more) {
        x64_alu_ri(c, X64_SUB, 8, R10, (int32_t)more);
        x64_jcc_to(c, CC_B, x->loop.entry);
    }
    if (!pace)
        return;
    unsigned r = s->step < 0 ? R11 : R10, shift = pace == 1 ? 0 : 64 - (unsigned)__builtin_clzll((uint64_t)pace - 1);
    if (shift)
        x64_shift_ri(c, X64_SHR, 8, r, shift);     /* by the next power of two: fewer turns than there might be */
    x64_alu_rr(c, X64_CMP, 8, r, RAX);
    x64_rr(c, x64_wide(0x42, 8, 1), RAX, r);       /* cmovb */
}

/* A turn that misses goes on in the ordinary code, whose members trust their groups' descriptors: those for loads, too, when there are both. */
static void limit_turns(struct x64_ctx *x, const struct x64_stream *s)
{
    limit_by(x, s, s->region);
    if (s->store && s->trusts_load && x->loop.may_miss)
        limit_by(x, s, s->region - TCG_REGIONS);
}

static void set_host(struct x64_ctx *x, const struct x64_stream *s, unsigned reg)
{
    struct code_buf *c = x->c;
    struct x64_mem addend = x64_region_field(s->region, offsetof(struct mem_region, addend));
    if (s->base == IR_NONE) {
        x64_mov_ri(c, reg, (uint64_t)s->lo);
        x64_alu_rm(c, X64_ADD, 8, reg, addend);
        return;
    }
    x64_mov_rm(c, 8, reg, addend);
    if (s->index != IR_NONE && s->base_fixed)
        x64_alu_rr(c, X64_ADD, 8, reg, x64_contract[s->base]);
    else if (s->index != IR_NONE && s->index_fixed)
        x64_lea(c, 8, reg, (struct x64_mem){ (uint8_t)reg, x64_contract[s->index], s->scale, 0 });
}

/* The current access's TLB probe in the copy has been emitted, FROM is where it branches when it misses: to the ordinary code's probe. The
   guest's flags must be where that code has them, and no value in a scratch register. */
static void miss_path(struct x64_ctx *x, struct x64_ool *o)
{
    x64_patch_here(x->c, o->from);
    if (o->fl == TBF_MEM && o->recipe) {
        x64_recipe_code(x, &x->recipe[o->recipe - 1]);
        x64_spill_code(x->c, ENV_AT(flags));
    }
    x64_jmp_to(x->c, o->resume);
}

static bool same_recipe(const struct x64_ctx *x, unsigned other)
{
    return !memcmp(&x->recipe[x->n_recipes - 1], &x->recipe[other], sizeof x->recipe[0]);
}


/* Values of temps that are under way, whose places the two codes need not agree on. */
static bool temps_alive(const struct x64_ctx *x)
{
    return x->owner_valid[RAX] || x->owner_valid[R10] || x->owner_valid[R11] || (x->locked & BIT(R11)) || x->slots_used;
}

void x64_twin_note(struct x64_ctx *x)
{
    x->twin[x->k] = (struct x64_twin){ .at = temps_alive(x) ? NULL : x->c->p, .fs = x->fs, .recipe = (uint8_t)(x->n_recipes - 1) };
}

void x64_loop_miss(struct x64_ctx *x, uint8_t *from)
{
    const struct x64_twin *t = &x->twin[x->k];
    bool rebuild = x->fs == FS_RECIPE && t->fs == FS_MEM;
    if (temps_alive(x) || !t->at || (x->fs != t->fs && !rebuild) || (x->fs & FS_RECIPE && t->fs & FS_RECIPE && !same_recipe(x, t->recipe))) {
        x->loop.bad = true;
        return;
    }
    struct x64_ool *o = x64_ool(x, miss_path);
    *o = (struct x64_ool){ .emit = miss_path, .in = x->in, .from = from, .resume = t->at, .fl = t->fs & FS_MEM ? TBF_MEM : TBF_HOST,
                           .recipe = rebuild ? (uint8_t)x->n_recipes : 0 };
}

/* The host operand of an access in the copy. */
struct x64_mem x64_loop_operand(struct x64_ctx *x)
{
    const struct x64_loop *l = &x->loop;
    const struct x64_stream *s = &l->stream[l->of[x->k]];
    const struct ir_insn *in = x->in;
    uint8_t host = s->host < plans[l->plan].n_hosts ? plans[l->plan].host[s->host] : R10;
    if (s->host >= plans[l->plan].n_hosts)
        x64_addend(x, LOOP_HOST | s->host, host_mem(s->host));
    if (s->base == IR_NONE)
        return x64_at(host, (int32_t)(in->disp + (in->base == IR_NONE ? 0 : (int64_t)ir_const_value(x->ir, in->base)) - s->lo));
    if (in->index == IR_NONE)
        return (struct x64_mem){ x64_contract[in->base], host, 0, in->disp };
    if (s->base_fixed)
        return (struct x64_mem){ host, x64_contract[in->index], in->scale, in->disp };
    if (s->index_fixed)
        return (struct x64_mem){ x64_contract[in->base], host, 0, in->disp };
    x64_lea(x->c, 8, RAX, (struct x64_mem){ x64_contract[in->base], x64_contract[in->index], in->scale, in->disp });
    return (struct x64_mem){ RAX, host, 0, 0 };
}

/* Addends that have no register go to env, through r10; then the others. rax holds the budget. */
static void set_hosts(struct x64_ctx *x)
{
    const struct x64_loop *l = &x->loop;
    unsigned in_regs = plans[l->plan].n_hosts;
    for (unsigned n = l->n_hosts; n-- > 0;) {
        const struct x64_stream *s = l->stream;
        while (s->host != n)
            s++;
        set_host(x, s, n < in_regs ? plans[l->plan].host[n] : R10);
        if (n >= in_regs)
            x64_mov_mr(x->c, 8, host_mem(n), R10);
    }
}

static void count_down(struct x64_ctx *x)
{
    uint8_t left = plans[x->loop.plan].left;
    if (left != NOREG)
        x64_alu_ri(x->c, X64_SUB, 4, left, 1);
    else
        x64_alu_mi(x->c, X64_SUB, 4, ENV_AT(loop_left), 1);
}

/* -d count: the turn that began at FROM. r10 may be in use. */
static void count_turn(struct x64_ctx *x, const uint8_t *turn)
{
    struct code_buf *c = x->c;
    uint32_t from = (uint32_t)(c->p - x->start);
    if (!x->counting)
        return;
    uint16_t touched = c->touched;
    x64_mov_mr(c, 8, ENV_AT(saved_misc), R10);
    struct tb_count *n = x64_count(x, x->in->gi + 1u);
    x64_mov_rm(c, 8, R10, ENV_AT(saved_misc));
    c->touched = touched;
    n->code = from;
    n->code_end = (uint32_t)(c->p - x->start);
    n->from = (uint32_t)(turn - x->start);
    n->to = n->code;
}

/* The branch at the end of a turn that another copy follows. */
static void close_turn(struct x64_ctx *x, const uint8_t *turn)
{
    x64_jcc_to(x->c, x->in->sub ^ 1u, x->loop.over);
    count_turn(x, turn);
    if (!x->loop.recipe)
        x->fs = 0;
}

/* The branch back to the top. END: where the copy of the first turn goes when there is no round behind it, or NULL. */
static void close_loop(struct x64_ctx *x, const struct tb_exit *e, const uint8_t *turn, uint8_t *end)
{
    struct code_buf *c = x->c;
    struct x64_loop *l = &x->loop;
    if (l->recipe) {
        close_turn(x, turn);
        count_down(x);
        x64_jcc_to(c, CC_NS, l->top);
        if (x->counting)                           /* the last copy's turn has the whole round's branch */
            x->counts->to = (uint32_t)(c->p - x->start);
        if (end)
            x64_patch_here(c, end);
        if (x->tb->needs_flags) {
            x64_recipe_code(x, &x->recipe[l->recipe - 1]);
            x64_spill_code(c, ENV_AT(flags));
        }
        x64_jmp_to(c, x->start + e->guard);
    } else if (x->counting) {
        close_turn(x, turn);                       /* its branch stands for the one below */
        x64_jmp_to(c, l->top);
    } else {
        x64_jcc_to(c, x->in->sub, l->top);
        x64_jmp_to(c, l->over);
    }
}

static void fresh_state(struct x64_ctx *x, uint8_t fs)
{
    memset(x->owner_valid, 0, sizeof x->owner_valid);
    memset(x->loc_reg, NOREG, x->ir->n_temps);
    memset(x->loc_slot, -1, x->ir->n_temps);
    x->slots_used = 0;
    x->locked = 0;
    x->c->same = 0;
    x->fl_fresh = 0;
    x->fpu_known = x->loop.fpu_known;
    x->fs = fs;
    x->has_recipe = fs == FS_RECIPE;
    if (fs == FS_RECIPE)
        x->recipe[x->n_recipes++] = x->recipe[x->loop.recipe - 1];
}

/* One turn up to its branch; false when it does not end as the ordinary code does: with flags in EFLAGS, that the recipe tells of if there is one. (With
   one that wants the carry flag in env, the ordinary code may have spilled it for an access that needs no check here.) */
static bool emit_turn(struct x64_ctx *x)
{
    const struct x64_loop *l = &x->loop;
    for (uint32_t k = 0; k < l->end; k++)
        x64_emit_insn(x, k);
    x->k = l->end;
    x->in = &x->ir->insn[l->end];
    return x->fs == FS_HOST && !x->overflow && !l->bad && (!l->recipe || (x->has_recipe && same_recipe(x, l->recipe - 1)));
}

/* rax = rounds of turns, counted as the copy's form wants it. */
static void preheader(struct x64_ctx *x, bool first)
{
    struct code_buf *c = x->c;
    struct x64_loop *l = &x->loop;
    struct tb_count *n = x->counting ? x64_count(x, 0) : NULL;
    x64_mov_ri(c, RAX, TURNS);
    for (unsigned i = 0; i < l->n_streams; i++)
        limit_turns(x, &l->stream[i]);
    if (l->copies > 1) {
        if (!first)
            x64_alu_ri(c, X64_ADD, 4, RAX, 1);
        x64_shift_ri(c, X64_SHR, 4, RAX, (unsigned)__builtin_ctz(l->copies));
    }
    if (l->copies > 1 && !first) {                 /* a turn that is left over is for the ordinary code */
        x64_alu_ri(c, X64_SUB, 4, RAX, 1);
        x64_jcc_to(c, CC_S, l->entry);
    }
    set_hosts(x);
    if (plans[l->plan].left == NOREG)
        x64_mov_mr(c, 4, ENV_AT(loop_left), RAX);
    else
        x64_mov_rr(c, 8, plans[l->plan].left, RAX);
    if (n) {
        n->from = n->code;
        n->to = (uint32_t)(c->p - x->start);
    }
}

/* Registers that the plan takes. */
static unsigned taken(const struct x64_loop *l)
{
    unsigned r = plans[l->plan].left == NOREG ? 0 : (unsigned)BIT(plans[l->plan].left);
    for (unsigned i = 0; i < MIN(plans[l->plan].n_hosts, l->n_hosts); i++)
        r |= (unsigned)BIT(plans[l->plan].host[i]);
    return r;
}

/* Preheader and copy by plan; false when the body needs a register that the plan takes, or ends in another state than the ordinary code. */
static bool emit_by_plan(struct x64_ctx *x, const struct tb_exit *e)
{
    struct code_buf *c = x->c;
    struct x64_loop *l = &x->loop;
    bool first = l->recipe && x->tb->needs_flags;
    uint8_t *turn, *end = NULL, *begin = NULL;
    preheader(x, first);
    c->touched = 0;
    l->bad = false;
    if (first) {
        turn = c->p;
        fresh_state(x, FS_MEM);
        if (!emit_turn(x) || c->touched & taken(l))
            return false;
        close_turn(x, turn);
        count_down(x);
        end = x64_jcc(c, CC_S);
    }
    if (!l->recipe)
        begin = x64_jmp(c);
    x64_align(c, 32);
    l->top = c->p;
    if (begin) {
        count_down(x);
        x64_jcc_to(c, CC_S, l->entry);
        x64_patch_here(c, begin);
    }
    fresh_state(x, l->recipe ? FS_RECIPE : 0);
    c->touched = 0;
    for (unsigned copy = 1;; copy++) {
        turn = copy == 1 ? l->top : c->p;          /* the first copy's has the round's counting down */
        if (!emit_turn(x))
            return false;
        if (copy == l->copies)
            break;
        close_turn(x, turn);
    }
    if (c->touched & taken(l))
        return false;
    close_loop(x, e, turn, end);
    return true;
}

void x64_loop_note(struct x64_ctx *x, const struct tb_exit *e)
{
    struct x64_loop *l = &x->loop;
    l->exit = e->n;
    l->over = x->c->p;
    x->c->same = 0;                                /* the copy comes there with another r10 */
    l->fpu_known = x->fpu_known;
    l->recipe = x->has_recipe && (x->tb->needs_flags || !x64_recipe_wants_carry(&x->recipe[x->n_recipes - 1])) ? x->n_recipes : 0;
    if (!l->recipe)                                /* env may have another turn's carry when the copy comes there: only EFLAGS are known */
        x->has_recipe = false;
}

/* Behind the code of exit e, which x64_loop_note was told of. */
void x64_emit_loop(struct x64_ctx *x, struct tb_exit *e)
{
    struct x64_loop *l = &x->loop;
    if (!find_streams(x, l->end))
        return;
    l->copies = l->end * 4 <= COPIED_OPS ? 4 : l->end * 2 <= COPIED_OPS ? 2 : 1;
    unsigned points = x->n_points, exits = x->n_exits, recipes = x->n_recipes, ool = x->n_ool;
    struct tb_count *counts = x->counts;
    uint8_t *at = x->c->p;
    for (l->plan = 0; l->plan < ARRAY_SIZE(plans) && recipes < X64_MAX_RECIPES - 2; l->plan++) {
        l->on = true;
        bool done = emit_by_plan(x, e);
        l->on = false;
        if (done) {
            x64_set_rel32(l->gate, at);
            x->tb->tight = (uint32_t)(at - x->start);
            return;
        }
        x64_rewind(x->c, at);
        x->n_points = points;
        x->n_exits = exits;
        x->n_recipes = recipes;
        x->n_ool = ool;
        while (x->counts != counts) {
            struct tb_count *next = x->counts->next;
            free(x->counts);
            x->counts = next;
        }
        if (x->overflow)
            break;
    }
}
