/*
 * The guest's flags as host EFLAGS (x64.h): spilled with lahf/seto and reloaded with add/sahf, never pushf/popf. Measured: 0.8 and 0.3 ns.
 */
#include <assert.h>
#include "backend-x86_64/x64.h"

void x64_spill_code(struct code_buf *c, struct x64_mem to)
{
    x64_b(c, 0x9f);                                /* lahf */
    x64_touch(c, BIT(RAX));
    x64_setcc(c, CC_O, RAX);
    x64_mov_mr(c, 4, to, RAX);
}

void x64_reload_code(struct code_buf *c, struct x64_mem from)
{
    x64_mov_rm(c, 4, RAX, from);
    x64_b(c, 0x04);                                /* add al, 0x7f: OF = bit 0 */
    x64_b(c, 0x7f);
    x64_b(c, 0x9e);                                /* sahf */
}

/* Does somebody want the flags value as it is before this insn, when EFLAGS is lost during the insn? */
bool x64_fl_wanted_before(const struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    unsigned attr = ir_opinfo[in->op].attr;
    if (attr & (LD | ST | FAULT | CTL) || in->op == IR_call || in->op == IR_native)
        return true;
    if ((attr & FW) && (in->flags & IRF_FLAGS))
        return false;
    return (in->fl_live | in->fl_fault) != 0;
}

/* ---- recipes ---- */
static bool recipe_operand(struct x64_ctx *x, ir_ref r, bool *is_const, uint64_t *v)
{
    *is_const = ir_is_const(r);
    if (*is_const)
        *v = ir_const_value(x->ir, r);
    else
        *v = r;
    return (ir_is_global(r) && x->ir->fe->globals[r].size == 8) || (*is_const && x64_fits32(*v));
}

bool x64_recipe_wants_carry(const struct tb_recipe *r) { return r->op == RECIPE_INC || r->op == RECIPE_DEC; }

/* env->flags has the carry flag, whatever it has of the others. */
static bool carry_in_mem(const struct x64_ctx *x) { return x->fs & FS_MEM || (x->has_recipe && x64_recipe_wants_carry(&x->recipe[x->n_recipes - 1])); }

static void carry_from_mem(struct code_buf *c)
{
    x64_rm(c, x64_wide(0xba, 4, 1), 4, ENV_AT(flags));            /* bt dword [flags], 8 */
    x64_b(c, 8);
}

/* EFLAGS.CF = the value's; the others may be lost. */
void x64_fl_need_carry(struct x64_ctx *x)
{
    if (x->fs & FS_HOST || !x->fs)
        return;
    if (carry_in_mem(x))
        carry_from_mem(x->c);
    else
        x64_fl_need(x);
}

/* The flags just defined by x->in, if they can be recomputed later. carry: they keep the old one, and that is in env->flags. */
static void note_recipe(struct x64_ctx *x, bool carry)
{
    const struct ir_insn *in = x->in;
    struct tb_recipe r = {.size = in->size};
    ir_ref a = in->a, b = in->b;
    x->has_recipe = false;
    switch (in->op) {
    case IR_sub:
        r.op = RECIPE_CMP;
        if (in->d != IR_NONE && (in->d == a || in->d == b)) {
            if (in->d == b)
                return;
            r.op = RECIPE_SUBR;
        }
        break;
    case IR_add:
        r.op = RECIPE_ADDR;
        if (in->d == b) {
            b = a;
            a = in->d;
        }
        if (in->d == IR_NONE || a == b || in->d == b)
            return;
        a = in->d;
        break;
    case IR_and: case IR_or: case IR_xor:
        r.op = RECIPE_AND;
        if (in->d != IR_NONE)
            a = b = in->d;
        else if (in->op != IR_and)
            return;
        break;
    case IR_inc: case IR_dec:
        if (!carry || in->d == IR_NONE)
            return;
        r = (struct tb_recipe){.op = in->op == IR_inc ? RECIPE_INC : RECIPE_DEC, .size = in->size, .b = 1, .b_const = true};
        break;
    default: return;
    }
    if (x64_recipe_wants_carry(&r))
        a = in->d;
    else if (!recipe_operand(x, b, &r.b_const, &r.b))
        return;
    if (x->n_recipes >= X64_MAX_RECIPES || !recipe_operand(x, a, &r.a_const, &r.a) || r.a_const)
        return;
    x->recipe[x->n_recipes++] = r;
    x->has_recipe = true;
}

static struct x64_mem or_mem(struct x64_ctx *x, uint64_t g) { return x64_global_mem(x, (ir_ref)g); }

static void recipe_alu(struct x64_ctx *x, unsigned alu, const struct tb_recipe *r)
{
    if (r->b_const)
        x64_alu_ri(x->c, alu, r->size, RAX, (int32_t)r->b);
    else if (x64_contract[r->b] != NOREG)
        x64_alu_rr(x->c, alu, r->size, RAX, x64_contract[r->b]);
    else
        x64_alu_rm(x->c, alu, r->size, RAX, or_mem(x, r->b));
}

void x64_recipe_code(struct x64_ctx *x, const struct tb_recipe *r)
{
    if (x64_contract[r->a] != NOREG)
        x64_mov_rr(x->c, 8, RAX, x64_contract[r->a]);
    else
        x64_mov_rm(x->c, 8, RAX, or_mem(x, r->a));
    switch (r->op) {
    case RECIPE_CMP: recipe_alu(x, X64_CMP, r); break;
    case RECIPE_AND: recipe_alu(x, X64_AND, r); break;
    case RECIPE_ADDR: recipe_alu(x, X64_SUB, r), recipe_alu(x, X64_ADD, r); break;
    case RECIPE_INC: case RECIPE_DEC:
        recipe_alu(x, r->op == RECIPE_INC ? X64_SUB : X64_ADD, r);
        carry_from_mem(x->c);
        x64_group_r(x->c, 0xfe, r->op == RECIPE_INC ? 0 : 1, r->size, RAX);
        break;
    default: recipe_alu(x, X64_ADD, r), recipe_alu(x, X64_SUB, r); break;
    }
}

static bool recipe_uses(const struct tb_recipe *r, ir_ref d) { return ir_is_global(d) && ((!r->a_const && r->a == d) || (!r->b_const && r->b == d)); }

static bool writes_recipe(const struct x64_ctx *x)
{
    const struct tb_recipe *r = &x->recipe[x->n_recipes - 1];
    return recipe_uses(r, x->in->d) || recipe_uses(r, x->in->e) || x->in->op == IR_call;
}

/* It keeps no flag but the carry. */
static bool counts(const struct ir_insn *in) { return (in->op == IR_inc || in->op == IR_dec) && in->flags & IRF_FLAGS; }

void x64_fl_before(struct x64_ctx *x)
{
    if (writes_recipe(x) && x64_fl_wanted_before(x) && !(counts(x->in) && carry_in_mem(x)))
        x64_fl_to_mem(x);
}

void x64_fl_after(struct x64_ctx *x)
{
    if (x->fl_fresh != x->k + 1 && writes_recipe(x)) {
        x->has_recipe = false;
        x->fs &= ~FS_RECIPE;
    }
}

static void take_rax(struct x64_ctx *x)
{
    uint16_t keep = x->locked;
    x64_evict(x, RAX, 0);
    x->locked = keep;
}

void x64_fl_to_mem(struct x64_ctx *x)
{
    if (x->fs & FS_MEM || !x->fs)
        return;
    take_rax(x);
    if (x->fs == FS_RECIPE) {
        x64_recipe_code(x, &x->recipe[x->n_recipes - 1]);
        x->fs = FS_HOST;
    }
    x64_spill_code(x->c, ENV_AT(flags));
    x->fs |= FS_MEM;
}

/* Will this value be wanted in memory at the end of the block, whatever happens before? */
static bool spilled_later(const struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    if ((ir_opinfo[in->op].attr & FW) && (in->flags & IRF_FLAGS))
        return false;
    for (uint32_t k = x->k + 1; k < x->ir->n; k++) {
        in = &x->ir->insn[k];
        if (in->op == IR_jmpi || in->op == IR_jmpc || in->op == IR_lookup || in->op == IR_call)
            return true;
        if (((ir_opinfo[in->op].attr & FW) && (in->flags & IRF_FLAGS)) || (ir_opinfo[in->op].attr & (CTL | FP)) || in->op == IR_native)
            return false;
    }
    return false;
}

/* A fault may want the value but no instruction does: a recipe is enough, as long as its registers survive this insn. */
static bool recipe_is_enough(const struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    unsigned attr = ir_opinfo[in->op].attr;
    bool defines = (attr & (FW | FP)) && (in->flags & IRF_FLAGS), reads = (attr & FR) || ((attr & FP) && defines);
    if (!x->has_recipe || reads || (attr & CTL) || in->op == IR_call || in->op == IR_rmw ||
        (in->op == IR_native && (x->ir->natives[in->imm].reads_flags || x->ir->natives[in->imm].writes_flags)) || (!defines && in->fl_live))
        return false;
    return !writes_recipe(x) || (!defines && !in->fl_fault) || (defines && (attr & FW));
}

void x64_fl_clobber(struct x64_ctx *x)
{
    if (x->fs == FS_HOST && x64_fl_wanted_before(x)) {
        if (recipe_is_enough(x) && !spilled_later(x))
            x->fs = FS_RECIPE;
        else
            x64_fl_to_mem(x);
    }
    x->fs &= ~FS_HOST;
}

void x64_fl_need(struct x64_ctx *x)
{
    if (x->fs & FS_HOST || !x->fs)
        return;
    take_rax(x);
    if (x->fs == FS_RECIPE)
        x64_recipe_code(x, &x->recipe[x->n_recipes - 1]);
    else
        x64_reload_code(x->c, ENV_AT(flags));
    x->fs |= FS_HOST;
    x->fs &= ~FS_RECIPE;
}

void x64_fl_define(struct x64_ctx *x)
{
    bool carry = carry_in_mem(x);
    x->fs = FS_HOST;
    note_recipe(x, carry);
    x->fl_fresh = x->k + 1;
}

/* Conditions that are one bit of the flags word: (byte of env->flags, mask). */
int x64_cc_from_mem(struct x64_ctx *x, unsigned cc)
{
    static const struct { uint8_t byte, mask; } bit[16] = {
        [CC_O] = {0, 1}, [CC_NO] = {0, 1}, [CC_B] = {1, 1}, [CC_AE] = {1, 1}, [CC_E] = {1, 0x40}, [CC_NE] = {1, 0x40},
        [CC_BE] = {1, 0x41}, [CC_A] = {1, 0x41}, [CC_S] = {1, 0x80}, [CC_NS] = {1, 0x80}, [CC_P] = {1, 4}, [CC_NP] = {1, 4} };
    if (x->fs != FS_MEM || !bit[cc].mask)
        return -1;
    struct x64_mem m = ENV_AT(flags);
    m.disp += bit[cc].byte;
    x64_test_mi(x->c, 1, m, (int8_t)bit[cc].mask);
    return cc & 1 ? CC_E : CC_NE;
}

void x64_point_at(struct x64_ctx *x, const uint8_t *host, unsigned fl, unsigned recipe)
{
    if (x->n_points >= ARRAY_SIZE(x->points)) {
        x->overflow = true;
        return;
    }
    x->points[x->n_points++] = (struct tb_point){.off = (uint32_t)(host - x->start), .gi = x->in->gi, .fl = (uint8_t)fl, .recipe = (uint8_t)recipe};
}

void x64_point(struct x64_ctx *x, const uint8_t *host, unsigned fl) { x64_point_at(x, host, fl, x->n_recipes - 1); }
