/*
 * Where values are while a block is emitted: pinned globals in the registers of the contract, other globals in the CPU state, temps in
 * the three scratch registers or in env's slots. One forward walk; a temp's register is freed after its last use. Nothing here touches EFLAGS.
 */
#include <assert.h>
#include "backend-x86_64/x64.h"

/* rax last: flags, mul, cmpxchg want it. The others are for the stress switch random=. */
static const uint8_t scratch_orders[6][X64_N_SCRATCH] = {
    {R11, R10, RAX}, {R10, R11, RAX}, {R11, RAX, R10}, {R10, RAX, R11}, {RAX, R11, R10}, {RAX, R10, R11},
};

void x64_choose_order(struct x64_ctx *x) { x->order = scratch_orders[unlikely(x->t->random) ? tcg_random(x->t, ARRAY_SIZE(scratch_orders)) : 0]; }

static bool is_scratch(unsigned r) { return r == RAX || r == R10 || r == R11; }

struct x64_mem x64_global_mem(struct x64_ctx *x, ir_ref r)
{
    return x64_at(X64_ENV, (int32_t)(TCG_CPU_OFFSET + x->ir->fe->globals[r].offset));
}

static struct x64_mem slot_mem(int slot) { return x64_at(X64_ENV, (int32_t)(offsetof(struct tcg_env, slots) + 8 * (unsigned)slot)); }

struct x64_val x64_val(struct x64_ctx *x, ir_ref r)
{
    if (ir_is_const(r))
        return (struct x64_val){.kind = V_IMM, .imm = (int64_t)ir_const_value(x->ir, r)};
    if (ir_is_global(r)) {
        if (x64_contract[r] != NOREG)
            return (struct x64_val){.kind = V_REG, .reg = x64_contract[r]};
        return (struct x64_val){.kind = V_MEM, .mem = x64_global_mem(x, r)};
    }
    unsigned t = r - IR_TEMP0;
    if (x->loc_reg[t] != NOREG)
        return (struct x64_val){.kind = V_REG, .reg = x->loc_reg[t]};
    assert(x->loc_slot[t] >= 0);
    return (struct x64_val){.kind = V_MEM, .mem = slot_mem(x->loc_slot[t])};
}

bool x64_ref_is(struct x64_ctx *x, ir_ref r, unsigned reg)
{
    if (r == IR_NONE || ir_is_const(r))
        return false;
    if (ir_is_temp(r))                             /* one that is about to be defined is nowhere */
        return x->loc_reg[r - IR_TEMP0] == reg;
    struct x64_val v = x64_val(x, r);
    return v.kind == V_REG && v.reg == reg;
}

static void drop_reg(struct x64_ctx *x, unsigned reg)
{
    if (x->owner_valid[reg]) {
        x->loc_reg[x->owner[reg]] = NOREG;
        x->owner_valid[reg] = 0;
    }
}

void x64_bind(struct x64_ctx *x, ir_ref temp, unsigned reg)
{
    unsigned t = temp - IR_TEMP0;
    assert(is_scratch(reg));
    if (x->loc_reg[t] != NOREG)
        x->owner_valid[x->loc_reg[t]] = 0;
    drop_reg(x, reg);
    x->loc_reg[t] = reg;
    x->owner[reg] = t;
    x->owner_valid[reg] = 1;
    if (x->loc_slot[t] >= 0) {                     /* the copy in memory is stale */
        x->slots_used &= ~BIT(x->loc_slot[t]);
        x->loc_slot[t] = -1;
    }
}

static void to_slot(struct x64_ctx *x, unsigned reg)
{
    unsigned t = x->owner[reg];
    if (x->loc_slot[t] < 0) {
        int slot = __builtin_ctzll(~x->slots_used);
        assert(~x->slots_used);
        x->slots_used |= BIT(slot);
        x->loc_slot[t] = (int8_t)slot;
        x64_mov_mr(x->c, 8, slot_mem(slot), reg);
    }
    drop_reg(x, reg);
}

void x64_evict(struct x64_ctx *x, unsigned reg, uint16_t avoid)
{
    if (!x->owner_valid[reg])
        return;
    for (unsigned i = 0; i < X64_N_SCRATCH; i++) {
        unsigned r = x->order[i];
        if (r != reg && !x->owner_valid[r] && !((x->locked | avoid) & BIT(r))) {
            unsigned t = x->owner[reg];
            x64_mov_rr(x->c, 8, r, reg);
            x->owner_valid[reg] = 0;
            x->loc_reg[t] = r;
            x->owner[r] = t;
            x->owner_valid[r] = 1;
            return;
        }
    }
    to_slot(x, reg);
}

void x64_claim(struct x64_ctx *x, unsigned reg)
{
    x64_evict(x, reg, 0);
    x->locked |= BIT(reg);
    x64_touch(x->c, BIT(reg));
}

unsigned x64_take_scratch(struct x64_ctx *x)
{
    for (unsigned i = 0; i < X64_N_SCRATCH; i++) {
        unsigned r = x->order[i];
        if (!x->owner_valid[r] && !(x->locked & BIT(r))) {
            x->locked |= BIT(r);
            return r;
        }
    }
    int best = -1;
    for (unsigned i = 0; i < X64_N_SCRATCH; i++) {
        unsigned r = x->order[i];
        if (!(x->locked & BIT(r)) && (best < 0 || x->last_use[x->owner[r]] > x->last_use[x->owner[(unsigned)best]]))
            best = (int)r;
    }
    assert(best >= 0);
    to_slot(x, (unsigned)best);
    x->locked |= BIT(best);
    return (unsigned)best;
}

void x64_load(struct x64_ctx *x, unsigned size, unsigned reg, ir_ref r)
{
    struct x64_val v = x64_val(x, r);
    if (v.kind == V_IMM && size >= 4 && ir_is_const_pc(x->ir, r))
        x64_mov_ri_place(x->c, reg, (uint64_t)v.imm, PLACE_PC);
    else if (v.kind == V_IMM)
        x64_mov_ri(x->c, reg, (uint64_t)v.imm & size_mask(size));
    else if (v.kind == V_REG)
        x64_mov_rr(x->c, size == 8 ? 8 : 4, reg, v.reg);
    else if (ir_is_global(r) && x->ir->fe->globals[r].size < 4)
        x64_movx_rm(x->c, false, 4, x->ir->fe->globals[r].size, reg, v.mem);
    else
        x64_mov_rm(x->c, size == 8 && !(ir_is_global(r) && x->ir->fe->globals[r].size == 4) ? 8 : 4, reg, v.mem);
}

unsigned x64_in_reg(struct x64_ctx *x, ir_ref r, unsigned size)
{
    struct x64_val v = x64_val(x, r);
    if (v.kind == V_REG) {
        if (is_scratch(v.reg))
            x->locked |= BIT(v.reg);
        return v.reg;
    }
    unsigned reg = x64_take_scratch(x);
    x64_load(x, ir_is_temp(r) ? 8 : size, reg, r);         /* a temp moves as a whole */
    if (ir_is_temp(r))
        x64_bind(x, r, reg);
    return reg;
}

unsigned x64_dest(struct x64_ctx *x, ir_ref d, ir_ref reuse)
{
    if (ir_is_global(d)) {
        if (x64_contract[d] != NOREG)
            return x64_contract[d];
        return x64_take_scratch(x);
    }
    if (ir_is_temp(d) && x->loc_reg[d - IR_TEMP0] != NOREG) {
        x->locked |= BIT(x->loc_reg[d - IR_TEMP0]);
        return x->loc_reg[d - IR_TEMP0];
    }
    if (reuse != IR_NONE && ir_is_temp(reuse)) {
        unsigned t = reuse - IR_TEMP0;
        if (x->loc_reg[t] != NOREG && x->last_use[t] <= x->k) {
            x->locked |= BIT(x->loc_reg[t]);
            return x->loc_reg[t];
        }
    }
    return x64_take_scratch(x);
}

void x64_dest_done(struct x64_ctx *x, ir_ref d, unsigned reg, unsigned size)
{
    if (d == IR_NONE)
        return;
    if (ir_is_temp(d)) {
        if (x->loc_reg[d - IR_TEMP0] != reg)
            x64_bind(x, d, reg);
        return;
    }
    if (x64_contract[d] == NOREG)
        x64_mov_mr(x->c, size == 4 ? 8 : size, x64_global_mem(x, d), reg);        /* size 4 zero-extends */
    else if (x64_contract[d] != reg)
        x64_mov_rr(x->c, size, x64_contract[d], reg);
}

void x64_free_dead(struct x64_ctx *x)
{
    for (unsigned i = 0; i < X64_N_SCRATCH; i++) {
        unsigned r = x->order[i];
        if (x->owner_valid[r] && x->last_use[x->owner[r]] <= x->k)
            drop_reg(x, r);
    }
    if (x->slots_used)
        for (unsigned t = 0; t < x->ir->n_temps; t++)
            if (x->loc_slot[t] >= 0 && x->last_use[t] <= x->k) {
                x->slots_used &= ~BIT(x->loc_slot[t]);
                x->loc_slot[t] = -1;
            }
}
