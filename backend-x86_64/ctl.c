/*
 * Control: labels and branches inside a block, exits (tcg/tb.h), the jump-cache probe, helper calls. At labels flags are in env->flags.
 */
#include <assert.h>
#include <string.h>
#include "backend-x86_64/x64.h"

static void to_label(struct x64_ctx *x, uint8_t *at, uint32_t label)
{
    if (x->label_at[label]) {
        x64_set_rel32(at, x->label_at[label]);
    } else if (x->n_label_fix < ARRAY_SIZE(x->label_fix)) {
        x->label_fix[x->n_label_fix].at = at;
        x->label_fix[x->n_label_fix++].label = label;
    } else {
        x->overflow = true;
    }
}

static void emit_label(struct x64_ctx *x)
{
    uint32_t label = x->in->imm;
    x64_fl_to_mem(x);
    x->fs = FS_MEM;
    x->has_recipe = false;
    x->c->same = 0;
    x->fpu_known = x->fpu_known && !x->fpu_dropped && x->ir->uses_fpu;
    x->label_at[label] = x->c->p;
    for (unsigned i = 0; i < x->n_label_fix; i++)
        if (x->label_fix[i].label == label)
            x64_set_rel32(x->label_fix[i].at, x->c->p);
}

static void emit_brcc(struct x64_ctx *x)
{
    x64_fl_to_mem(x);
    int cc = x64_cc_from_mem(x, x->in->sub);
    if (cc < 0) {
        x64_fl_need(x);
        cc = x->in->sub;
    }
    to_label(x, x64_jcc(x->c, (unsigned)cc), x->in->imm);
}

static void emit_brz(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    x64_fl_to_mem(x);
    struct x64_val a = x64_val(x, in->a);
    if (a.kind == V_MEM)
        x64_alu_mi(x->c, X64_CMP, in->size, a.mem, 0);
    else {
        unsigned r = x64_in_reg(x, in->a, in->size);
        x64_test_rr(x->c, in->size, r, r);
    }
    x->fs = FS_MEM;
    to_label(x, x64_jcc(x->c, in->op == IR_brz ? CC_E : CC_NE), in->imm);
}

struct tb_count *x64_count(struct x64_ctx *x, unsigned guest)
{
    struct code_buf *c = x->c;
    struct tb_count *n = xzalloc(sizeof *n);
    n->next = x->counts;
    x->counts = n;
    n->guest = guest;
    n->from = x->tb->fpu_entry;
    n->code = (uint32_t)(c->p - x->start);
    x64_mov_ri(c, R10, (uint64_t)(uintptr_t)&n->runs);
    x64_mov_mr(c, 8, ENV_AT(saved_r11), R11);
    x64_mov_rm(c, 8, R11, x64_at(R10, 0));
    x64_lea(c, 8, R11, x64_at(R11, 1));
    x64_mov_mr(c, 8, x64_at(R10, 0), R11);
    x64_mov_rm(c, 8, R11, ENV_AT(saved_r11));
    n->code_end = (uint32_t)(c->p - x->start);
    return n;
}

/* The way from the entry to a way out that begins here; it ends where x64_emit_ctl or the caller says. */
static struct tb_count *count_way(struct x64_ctx *x) { return x->counting ? x64_count(x, x->in->gi + 1u) : NULL; }

/* A part of an exit that begins here and that linking may skip. */
static struct tb_count *count_part(struct x64_ctx *x)
{
    struct tb_count *n = x->counting ? x64_count(x, 0) : NULL;
    if (n)
        n->from = n->code;
    return n;
}

static void count_until(struct x64_ctx *x, struct tb_count *n)
{
    if (n)
        n->to = (uint32_t)(x->c->p - x->start);
}

/* The rel32 of the jump that comes next, whose opcode has OPCODE bytes, is to lie within 16 aligned bytes of code: DMA to code unlinks from
   another thread, and the processor must not fetch half of the new displacement. */
static void align_link(struct code_buf *c, unsigned opcode)
{
    unsigned off = (unsigned)((uintptr_t)c->p + opcode) & 15;
    if (off > 12)
        x64_nops(c, 16 - off);
}

/* The stub finds the block's beginning from its return address; nothing here is another in a copy of the block. */
static void leave_by(struct x64_ctx *x, const struct tb_exit *e, const uint8_t *stub)
{
    const unsigned len = 10;                       /* of the two instructions */
    x64_mov_ri(x->c, RAX, (uint32_t)(x->c->p + len - x->start) << 8 | e->n);
    x64_call_to(x->c, stub);
}

/* The part of an exit from its body on. */
static void exit_body(struct x64_ctx *x, struct tb_exit *e)
{
    struct code_buf *c = x->c;
    uint64_t from = x->tb->key.pc, to = e->pc + x->tb->key.cs_base;
    e->body = (uint32_t)(c->p - x->start);
    struct tb_count *part = e->spills ? count_part(x) : NULL;
    if (e->spills && e->rebuild)
        x64_recipe_code(x, &x->recipe[e->recipe - 1]);
    if (e->spills)
        x64_spill_code(c, ENV_AT(flags));
    count_until(x, part);
    e->guard = (uint32_t)(c->p - x->start);
    part = count_part(x);
    uint8_t *pend = NULL, *stale = NULL;
    if (e->backward) {
        x64_alu_mi(c, X64_CMP, 4, ENV_AT(poll), 0);
        pend = x64_jcc(c, CC_NE);
    }
    if ((from ^ to) & PAGE_MASK || (to & ~PAGE_MASK) > PAGE_SIZE - 16) {
        struct x64_mem gen = ENV_AT(code_gen);
        gen.disp += tcg_half(x->t, x->tb->key.mode, to) ? 4 : 0;
        x64_rm(c, x64_wide(0x81, 4, 0), X64_CMP, gen);
        e->gen = (uint32_t)(c->p - x->start);
        x64_d(c, 0);
        stale = x64_jcc(c, CC_NE);
    }
    bool late = (pend || stale) && e->recipe;      /* these may be reached with unsaved flags */
    align_link(c, 1);
    uint8_t *link = x64_jmp(c);
    count_until(x, part);
    e->link = (uint32_t)(link - x->start);
    e->stub = (uint32_t)(c->p - x->start);
    x64_patch_here(c, link);
    leave_by(x, e, x->s->exit_site);
    if (stale) {
        x64_patch_here(c, stale);
        if (late) {
            x64_recipe_code(x, &x->recipe[e->recipe - 1]);
            x64_spill_code(c, ENV_AT(flags));
        }
        if (x->ir->movable)
            x64_mov_ri_place(c, R11, to, PLACE_PC);
        else
            x64_mov_ri(c, R11, to);
        leave_by(x, e, x->tb->key.cs_base ? x->s->exit_site : x->s->exit_stale[tcg_half(x->t, x->tb->key.mode, to)]);
    }
    if (pend) {
        x64_patch_here(c, pend);
        if (late) {
            x64_recipe_code(x, &x->recipe[e->recipe - 1]);
            x64_spill_code(c, ENV_AT(flags));
        }
        leave_by(x, e, x->s->exit_poll);
    }
}

static void jcc_exit_path(struct x64_ctx *x, struct x64_ool *o)
{
    struct tb_exit *e = &x->exits[o->exit];
    x64_patch_here(x->c, o->from);
    if (x->counting) {                             /* linking then moves a jump behind the counting code instead of the jcc */
        struct tb_count *way = count_way(x);
        way->from = o->way_from;
        way->to = (uint32_t)(o->from + 4 - x->start);
        align_link(x->c, 1);
        uint8_t *at = x64_jmp(x->c);
        e->patch = (uint32_t)(at - x->start);
        x64_patch_here(x->c, at);
    }
    exit_body(x, e);
    if (x->loop.over && x->loop.exit == e->n && !x->loop.top)
        x64_emit_loop(x, e);
}

static struct tb_exit *new_exit(struct x64_ctx *x)
{
    if (x->n_exits >= TB_MAX_EXITS) {
        x->overflow = true;
        x->n_exits = 0;
    }
    struct tb_exit *e = &x->exits[x->n_exits];
    *e = (struct tb_exit){.n = (uint8_t)x->n_exits, .owner = x->tb, .pc = ir_const_value(x->ir, x->in->a)};
    e->backward = e->pc <= x->ir->guest[x->in->gi].pc;
    e->spills = x->fs == FS_HOST || x->fs == FS_RECIPE;
    e->rebuild = x->fs == FS_RECIPE;
    e->fpu_live = x->fpu_known;
    e->recipe = e->spills && x->has_recipe ? (uint8_t)x->n_recipes : 0;
    x->n_exits++;
    return e;
}

static void emit_jcc(struct x64_ctx *x)
{
    int cc = x64_cc_from_mem(x, x->in->sub);
    if (cc < 0) {
        x64_fl_need(x);
        cc = x->in->sub;
    }
    struct tb_exit *e = new_exit(x);
    bool loop = x64_loop_wanted(x);
    align_link(x->c, 2);
    uint8_t *at = x64_jcc(x->c, (unsigned)cc);
    e->patch = (uint32_t)(at - x->start);
    struct x64_ool *o = x64_ool(x, jcc_exit_path);
    *o = (struct x64_ool){.emit = jcc_exit_path, .from = at, .in = x->in, .exit = e->n,
                          .way_from = x->loop.on ? (uint32_t)(x->loop.top - x->start) : x->tb->fpu_entry};
    if (loop)
        x64_loop_note(x, e);
}

static void emit_jmp(struct x64_ctx *x)
{
    struct tb_exit *e = new_exit(x);
    struct tb_count *way = count_way(x);
    if (e->spills) {                               /* a jump that linking can turn past the spill */
        align_link(x->c, 1);
        uint8_t *at = x64_jmp(x->c);
        e->patch = (uint32_t)(at - x->start);
        x64_patch_here(x->c, at);
    }
    count_until(x, way);
    exit_body(x, e);
}

static struct x64_mem pc_mem(struct x64_ctx *x) { return x64_at(X64_ENV, (int32_t)(TCG_CPU_OFFSET + x->ir->fe->pc_offset)); }

/* The writes of a jmpc that leaves. */
static void jmpc_add(struct x64_ctx *x, const struct ir_insn *in)
{
    if (in->op != IR_jmpc || in->d == IR_NONE)
        return;
    unsigned r = x64_contract[in->d];
    if (r != NOREG)
        x64_lea(x->c, 8, r, x64_at(r, (int32_t)in->imm));
    else
        x64_alu_mi(x->c, X64_ADD, 8, x64_global_mem(x, in->d), (int32_t)in->imm);
}

static unsigned half_of(const struct x64_ctx *x) { return tcg_half(x->t, x->tb->key.mode, x->tb->key.pc); }

/* A jmpc that the jump cache does not know: a pc that is not canonical is never in there (tcg/fast.c), so it is only looked at here. */
static void jmpc_miss(struct x64_ctx *x, struct x64_ool *o)
{
    struct code_buf *c = x->c;
    uint8_t shift = (uint8_t)(64 - o->in->sub);
    x64_patch_here(c, o->from);
    x64_patch_here(c, o->after);
    x64_mov_rr(c, 8, RAX, R11);
    x64_shift_ri(c, X64_SHL, 8, RAX, shift);
    x64_shift_ri(c, X64_SAR, 8, RAX, shift);
    x64_alu_rr(c, X64_CMP, 8, RAX, R11);
    x64_jcc_to(c, CC_NE, o->resume);
    jmpc_add(x, o->in);
    x64_jmp_to(c, x->s->exit_jmpi[half_of(x)]);
}

struct x64_mem x64_jump_cache(struct code_buf *c, unsigned way)
{
    struct x64_mem entry = {RSP, R10, 3, (int32_t)offsetof(struct tcg_env, jc)}, code = entry;
    code.disp += 8;
    x64_mov_rr(c, 8, R10, R11);
    x64_shift_ri(c, X64_SHR, 8, R10, 12);
    x64_alu_rr(c, X64_XOR, 4, R10, R11);
    x64_movx_rr(c, false, 4, 2, R10, R10);
    if (way)
        x64_alu_ri(c, X64_XOR, 4, R10, 1);
    x64_alu_rr(c, X64_ADD, 4, R10, R10);           /* 16 bytes an entry */
    x64_alu_rr(c, X64_XOR, 8, RAX, R11);
    x64_alu_mr(c, X64_CMP, 8, entry, RAX);
    return code;
}
_Static_assert(TCG_JC_BITS == 16, "the index is cut to two bytes");

/* r11 = guest pc. */
static void jump_cache(struct x64_ctx *x)
{
    struct code_buf *c = x->c;
    unsigned half = half_of(x);
    struct x64_mem salt = ENV_AT(salt);
    salt.disp += half ? 8 : 0;
    x64_mov_rm(c, 8, RAX, salt);
    struct x64_mem code = x64_jump_cache(c, 0);
    if (x->in->op == IR_jmpi) {
        x64_jcc_to(c, CC_NE, x->s->exit_jmpi[half]);
        x64_alu_mi(c, X64_CMP, 4, ENV_AT(poll), 0);
        x64_jcc_to(c, CC_NE, x->s->exit_jmpi[half]);
        x64_jmp_m(c, code);
        return;
    }
    uint8_t *miss = x64_jcc(c, CC_NE);
    x64_alu_mi(c, X64_CMP, 4, ENV_AT(poll), 0);
    uint8_t *polled = x64_jcc(c, CC_NE);
    jmpc_add(x, x->in);
    x64_jmp_m(c, code);
    struct x64_ool *o = x64_ool(x, jmpc_miss);
    *o = (struct x64_ool){.emit = jmpc_miss, .from = miss, .after = polled, .resume = c->p, .in = x->in};
}

static void emit_jmpi(struct x64_ctx *x)
{
    struct code_buf *c = x->c;
    x64_fl_to_mem(x);
    struct x64_val v = x64_val(x, x->in->a);
    if (v.kind == V_IMM)
        x64_mov_ri(c, R11, (uint64_t)v.imm);
    else if (v.kind == V_REG)
        x64_mov_rr(c, 8, R11, v.reg);
    else
        x64_mov_rm(c, 8, R11, v.mem);
    count_way(x);
    assert(x->in->op == IR_jmpi || !x->tb->key.cs_base);
    if (x->tb->key.cs_base) {
        x64_mov_mr(c, 8, pc_mem(x), R11);
        x64_jmp_to(c, x->s->exit_lookup);
        return;
    }
    jump_cache(x);
}

static void emit_setpc(struct x64_ctx *x)
{
    struct x64_val v = x64_val(x, x->in->a);
    if (v.kind == V_IMM && x64_fits32((uint64_t)v.imm) && !ir_is_const_pc(x->ir, x->in->a))
        x64_mov_mi(x->c, 8, pc_mem(x), (int32_t)v.imm);
    else
        x64_mov_mr(x->c, 8, pc_mem(x), x64_in_reg(x, x->in->a, 8));
}

static void emit_fence(struct x64_ctx *x)
{
    x64_b(x->c, 0x0f);
    x64_b(x->c, 0xae);
    x64_b(x->c, x->in->sub == 0 ? 0xf0 : x->in->sub == 1 ? 0xe8 : 0xf8);
}

void x64_emit_ctl(struct x64_ctx *x)
{
    switch (x->in->op) {
    case IR_label: emit_label(x); break;
    case IR_br:
        x64_fl_to_mem(x);
        to_label(x, x64_jmp(x->c), x->in->imm);
        break;
    case IR_brcc: emit_brcc(x); break;
    case IR_brz: case IR_brnz: emit_brz(x); break;
    case IR_jcc: emit_jcc(x); break;
    case IR_jmp: emit_jmp(x); break;
    case IR_jmpi: case IR_jmpc: emit_jmpi(x); break;
    case IR_setpc: emit_setpc(x); break;
    case IR_fence: emit_fence(x); break;
    case IR_lookup:
        x64_fl_to_mem(x);
        count_way(x);
        x64_jmp_to(x->c, x->s->exit_lookup);
        break;
    default:
        x64_fl_to_mem(x);
        count_way(x);
        x64_mov_ri(x->c, RAX, x->in->imm);
        x64_jmp_to(x->c, x->s->exit_reason);
    }
    if (x->counts && !x->counts->to)               /* a way out that has just been completed */
        count_until(x, x->counts);
}

/* Arguments go through env->args: the argument registers of the C ABI hold guest registers until the stub has saved them. */
/* The helper of the call that returns to RET, or NULL: the load of r10 before it, as x64_emit_call makes it. */
const void *x64_called_helper(const uint8_t *ret)
{
    uint64_t fn = 0;
    if (ret[-5] == 0xe8 && ret[-15] == 0x49 && ret[-14] == 0xba)
        memcpy(&fn, ret - 13, 8);
    else if (ret[-5] == 0xe8 && ret[-11] == 0x41 && ret[-10] == 0xba)
        memcpy(&fn, ret - 9, 4);
    return (const void *)(uintptr_t)fn;
}

void x64_emit_call(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    const struct tcg_helper *h = &x->ir->fe->helpers[in->imm];
    ir_ref arg[TCG_ARGS] = {in->a, in->b, in->c};
    x64_fl_to_mem(x);
    for (unsigned i = 0; i < h->n_args; i++) {
        struct x64_mem m = ENV_AT(args);
        m.disp += (int32_t)(8 * i);
        if (arg[i] == IR_NONE)
            continue;
        struct x64_val v = x64_val(x, arg[i]);
        if (v.kind == V_IMM && x64_fits32((uint64_t)v.imm) && !ir_is_const_pc(x->ir, arg[i])) {
            x64_mov_mi(x->c, 8, m, (int32_t)v.imm);
        } else {
            unsigned r = v.kind == V_REG ? v.reg : x64_take_scratch(x);
            if (v.kind != V_REG)
                x64_load(x, 8, r, arg[i]);
            x64_mov_mr(x->c, 8, m, r);
            x->locked = 0;
        }
    }
    x->locked = BIT(RAX) | BIT(R10) | BIT(R11);
    for (unsigned i = 0; i < 16; i++)
        if (x->owner_valid[i] && x->last_use[x->owner[i]] > x->k)
            x64_evict(x, i, 0);
    for (unsigned i = 0; i < 16; i++)
        if (x->owner_valid[i]) {
            x->loc_reg[x->owner[i]] = NOREG;
            x->owner_valid[i] = 0;
        }
    x64_mov_ri(x->c, R10, (uint64_t)(uintptr_t)h->fn);
    x64_call_to(x->c, h->flags & TCGH_REGS ? x->s->call_regs : x->s->call_c);
    x->c->same = 0;
    x64_point(x, x->c->p, TBF_MEM);
    x->locked = 0;
    x->fs = FS_MEM;
    if (!(h->flags & TCGH_REGS)) {
        x->fpu_known = false;
        x->fpu_dropped = true;
    }
    if (in->d != IR_NONE) {
        if (ir_is_global(in->d) && x64_contract[in->d] != NOREG)
            x64_mov_rr(x->c, 8, x64_contract[in->d], RAX);
        else
            x64_dest_done(x, in->d, RAX, 8);
    }
}
