/*
 * Several accesses off one base share one check. A group is a leader, which checks that 64 bytes around all of the
 * group's addresses lie in its region descriptor, and members, which then use the descriptor's addend without a check; addresses are compared
 * symbolically (a register plus what LEA by constants has added to it, an index register that has not changed).
 *
 * Where linear addresses have 32 bits, members use a base register as it is, with 64 bits: right as long as nothing has wrapped. The leader's check,
 * with 64 bits too, says so of the addresses, and of the register's own later values if they are among the 64 bytes. Other addresses (an
 * index, which may be negative) are reckoned with 32 bits at each access.
 *
 * Why this is exact: between the check and a member's use nothing may change what the descriptor stands for. Helper calls, labels and accesses that
 * would refill the same descriptor close a group. Another access's slow path may make a page tracked (a page-table walk), after which a
 * member's store must be noticed: such a slow path begins its instruction anew instead of going on (restart), so it must be the first
 * access of its instruction, or it closes all groups. A leader whose check fails for good (MMIO, end of a region or page, a fault) has its instruction
 * and what follows run in a block without groups: so leaders, too, are first accesses.
 */
#include "backend-x86_64/x64.h"

#define OPEN ARRAY_SIZE(((struct tcg_env *)0)->group_addend)
#define MEMBERS 24

struct open_group {
    bool used;
    uint8_t slot;                      /* descriptor */
    bool tlb;                          /* the leader asks the TLB: there is no descriptor */
    bool narrow, adds32;               /* as struct x64_group; the base is added to with 32 bits */
    ir_ref base, index;
    uint8_t scale;
    uint32_t base_ver, index_ver;
    int64_t base_off, index_off;
    int64_t lo, hi, leader_off;
    uint32_t member[MEMBERS], members;  /* insns; the first is the leader */
    bool store;
    bool loads_only;                    /* the descriptor for stores may have been refilled since the leader's check: no upgrade */
};

struct walk {
    struct open_group open[OPEN];
    uint32_t ver[IR_MAX_GLOBALS];      /* of each global's unknown part */
    int64_t off[IR_MAX_GLOBALS];       /* what constants have added since */
    unsigned gi;
    bool seen_access;                  /* in this guest instruction */
};

int x64_region_use(const struct x64_ctx *x, const struct ir_insn *in)
{
    if (in->seg != IR_NONE)
        return TCG_REGION_SEG;
    if (in->base != IR_NONE && ir_is_global(in->base) && in->base < 16)
        return in->base;
    if ((in->base == IR_NONE || ir_is_const(in->base)) && in->index == IR_NONE)
        return TCG_REGION_ABS;
    return -1;
}

unsigned x64_mem_kind(const struct x64_ctx *x, const struct ir_insn *in)
{
    switch (in->op) {
    case IR_ld: return NM_READ;
    case IR_st: return NM_WRITE;
    case IR_rmw: case IR_cmpxchg: return NM_RW;
    case IR_native: return x->ir->natives[in->imm].mem;
    default: return NM_NONE;
    }
}

static unsigned access_size(const struct x64_ctx *x, const struct ir_insn *in) { return in->op == IR_native ? x->ir->natives[in->imm].mem_size : in->size; }

/* The group is complete: one with a single access is none. */
static void close_group(struct x64_ctx *x, struct open_group *g, unsigned slot)
{
    if (g->used && g->members > 1) {
        struct x64_group *l = &x->group[g->member[0]];
        l->role = GROUP_LEADER;
        l->lo = (int16_t)(g->lo - g->leader_off);
        l->span = (uint8_t)(g->hi - g->lo);
        l->store = g->store;
        l->slot = (uint8_t)slot;
        l->narrow = g->narrow;
        for (unsigned i = 1; i < g->members; i++)
            x->group[g->member[i]] = (struct x64_group){
                .role = GROUP_MEMBER, .tlb = g->tlb, .narrow = g->narrow, .store = g->store, .slot = (uint8_t)slot };
    }
    g->used = false;
}

static void close_all(struct x64_ctx *x, struct walk *w)
{
    for (unsigned i = 0; i < OPEN; i++)
        close_group(x, &w->open[i], i);
}

static bool plain_reg(ir_ref r) { return ir_is_global(r) && x64_contract[r] != NOREG; }

/* Whatever is known of the access itself: the leader's check has been made. */
static bool same_check(const struct open_group *g, unsigned slot)
{
    bool upgrade = g->slot + (unsigned)TCG_REGIONS == slot && !g->loads_only;     /* a store beside loads: the group becomes one for stores */
    return g->tlb || g->slot == slot || upgrade || (g->store && g->slot == slot + (unsigned)TCG_REGIONS);
}

/* The group's range with an access of SIZE bytes at OFF in it. */
static void widen(const struct walk *w, const struct open_group *g, int64_t off, unsigned size, int64_t *lo, int64_t *hi)
{
    int64_t base = w->off[g->base];
    *lo = MIN(g->lo, off);
    *hi = MAX(g->hi, off + (int64_t)size);
    if (g->adds32 && !g->narrow && base != g->base_off) {        /* the register itself must not have wrapped */
        *lo = MIN(*lo, base);
        *hi = MAX(*hi, base + 1);
    }
}

static bool joins(struct walk *w, struct open_group *g, const struct ir_insn *in, unsigned slot, int64_t off, unsigned size)
{
    int64_t lo, hi;
    if (!g->used || g->members == MEMBERS || !same_check(g, slot) || g->base != in->base || g->base_ver != w->ver[in->base] || g->index != in->index)
        return false;
    if (in->index != IR_NONE && (g->scale != in->scale || g->index_ver != w->ver[in->index] || g->index_off != w->off[in->index]))
        return false;
    widen(w, g, off, size, &lo, &hi);
    return hi - lo <= MEM_REGION_SPAN;
}

/* A store joins a group of loads: it now stands on the descriptor for stores alone. */
static void upgrade(struct x64_ctx *x, struct walk *w, struct open_group *g, unsigned slot)
{
    for (unsigned j = 0; j < OPEN; j++)
        if (&w->open[j] != g && !g->tlb && w->open[j].used && !w->open[j].tlb && w->open[j].slot == slot)
            close_group(x, &w->open[j], j);
    g->store = true;
    g->slot = (uint8_t)slot;
}

/* Access k will use, or fill, its descriptor. Returns whether a group stands on that for stores of this base. */
static bool descriptor_used(struct x64_ctx *x, struct walk *w, unsigned slot)
{
    bool stores_open = false;
    for (unsigned i = 0; i < OPEN; i++) {
        struct open_group *g = &w->open[i];
        if (g->tlb)
            continue;
        if (g->used && g->slot == slot)
            close_group(x, g, i);
        if (g->slot + (unsigned)TCG_REGIONS == slot)
            g->loads_only = true;
        stores_open |= g->used && g->slot == slot + (unsigned)TCG_REGIONS;
    }
    return stores_open;
}

/* A group that is not open, or else one that nothing can join any more, or else any. */
static struct open_group *take_group(struct x64_ctx *x, struct walk *w)
{
    struct open_group *best = &w->open[0];
    for (unsigned i = 0; i < OPEN; i++) {
        struct open_group *g = &w->open[i];
        if (!g->used)
            return g;
        if (g->base_ver != w->ver[g->base])
            best = g;
    }
    close_group(x, best, (unsigned)(best - w->open));
    return best;
}

static void access(struct x64_ctx *x, struct walk *w, uint32_t k, unsigned kind)
{
    const struct ir_insn *in = &x->ir->insn[k];
    uint64_t pc = x->ir->guest[in->gi].pc + x->tb->key.cs_base;
    int use = x64_region_use(x, in);
    unsigned slot = (unsigned)use + (kind == NM_READ ? 0 : TCG_REGIONS), size = access_size(x, in);
    bool tlb = !x->tb->hot || use < 0 || size > MEM_REGION_SPAN || tcg_has_learned(x->t, LEARNED_TLB, pc);
    bool first = !w->seen_access, groupable = use >= 0 && use < 16 && plain_reg(in->base) && (in->index == IR_NONE || plain_reg(in->index)) &&
        (!(in->flags & IRF_ADDR32) || x64_linear32(x)) && size <= MEM_REGION_SPAN && in->disp >= INT32_MIN + MEM_REGION_SPAN && !tcg_has_learned(x->t, LEARNED_APART, pc) &&
        !(tlb && x->loop.gated);
    x->group[k].tlb = tlb;
    w->seen_access = true;
    int64_t off = groupable ? w->off[in->base] + in->disp : 0;
    if (groupable)
        for (unsigned i = 0; i < OPEN; i++) {
            struct open_group *g = &w->open[i];
            if (!joins(w, g, in, slot, off, size))
                continue;
            widen(w, g, off, size, &g->lo, &g->hi);
            g->member[g->members++] = k;
            if (kind != NM_READ && !g->store)
                upgrade(x, w, g, slot);
            return;
        }
    if (!first)
        close_all(x, w);
    bool stores_open = !tlb && descriptor_used(x, w, slot);
    x->group[k].restart = first;
    if (!groupable || !first)
        return;
    *take_group(x, w) = (struct open_group){
        .used = true, .slot = (uint8_t)slot, .tlb = tlb, .narrow = !x64_unwrapped(x, in), .adds32 = x64_linear32(x), .scale = in->scale,
        .base = in->base, .base_ver = w->ver[in->base], .base_off = w->off[in->base], .index = in->index,
        .index_ver = in->index == IR_NONE ? 0 : w->ver[in->index], .index_off = in->index == IR_NONE ? 0 : w->off[in->index],
        .lo = off, .hi = off + (int64_t)size, .leader_off = off, .member = {k}, .members = 1, .store = kind != NM_READ, .loads_only = stores_open };
}

/* d = d + constant, by LEA, ADD, SUB, INC or DEC; *by is the constant. */
bool x64_is_step(const struct x64_ctx *x, const struct ir_insn *in, ir_ref d, int64_t *by)
{
    if (in->size != (x64_linear32(x) ? 4 : 8))
        return false;
    if (in->op == IR_lea) {
        *by = in->disp;
        return in->base == d && in->index == IR_NONE && in->seg == IR_NONE && !(in->flags & (in->size == 4 ? IRF_ADDR16 : IRF_ADDR16 | IRF_ADDR32));
    }
    if ((in->op == IR_inc || in->op == IR_dec) && in->a == d) {
        *by = in->op == IR_inc ? 1 : -1;
        return true;
    }
    if ((in->op != IR_add && in->op != IR_sub) || in->a != d || !ir_is_const(in->b))
        return false;
    *by = in->size == 4 ? (int32_t)ir_const_value(x->ir, in->b) : (int64_t)ir_const_value(x->ir, in->b);
    if (*by != (int32_t)*by)
        return false;
    if (in->op == IR_sub)
        *by = -*by;
    return true;
}

static void written(const struct x64_ctx *x, struct walk *w, const struct ir_insn *in, ir_ref d)
{
    int64_t by;
    if (d == IR_NONE || !ir_is_global(d))
        return;
    if (x64_is_step(x, in, d, &by)) {
        w->off[d] += by;
    } else {
        w->ver[d]++;
        w->off[d] = 0;
    }
}

/* A branch to the block's own start: what is behind it may be reached from the loop's tight copy, which has made no leader's check (loop.c). */
static bool goes_back(const struct ir_block *ir, const struct ir_insn *in) { return in->op == IR_jcc && ir_const_value(ir, in->a) == ir->pc; }

void x64_find_groups(struct x64_ctx *x)
{
    struct walk w = {.gi = ~0u};
    for (uint32_t k = 0; k < x->ir->n; k++) {
        const struct ir_insn *in = &x->ir->insn[k];
        unsigned attr = ir_opinfo[in->op].attr, kind = x64_mem_kind(x, in);
        x->group[k] = (struct x64_group){.tlb = true};
        if (x->tb->one_insn || x->tb->key.mode & TB_APART)
            continue;
        if (in->gi != w.gi) {
            w.gi = in->gi;
            w.seen_access = false;
        }
        if (kind != NM_NONE)
            access(x, &w, k, kind);
        else if (in->op == IR_call || in->op == IR_label || goes_back(x->ir, in) || ((attr & CTL) && in->op != IR_jcc && in->op != IR_setpc))
            close_all(x, &w);
        written(x, &w, in, in->d);
        written(x, &w, in, in->e);
    }
    close_all(x, &w);
}
