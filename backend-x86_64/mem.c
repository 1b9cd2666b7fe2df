/*
 * Guest memory accesses: the one place that knows how a guest address becomes a host address in emitted code. Two ways. In hot blocks by region
 * descriptor (softmmu/tlb.h), where the addend does not depend on the address, so that the check is off the critical path:
 *
 *     lea  r10, [guest address] ; sub r10, [region.start] ; cmp r10, [region.len] ; jae slow ; mov r10, [region.addend] ; op [base + r10 + disp]
 *
 * and, in other blocks, or for accesses that jump about (found by counting misses, tcg/fast.c) or have no base register, by the TLB:
 *
 *     lea  rax, [guest address]
 *     mov  r10, rax ; shr r10, 7 ; and r10d, mask ; add r10, [env.tlb]      TLB entry
 *     xor  rax, [r10 + tag]                                                   offset in page, when it hits
 *     cmp  rax, 4096 - size ; ja slow                                         miss, MMIO, tracked page, or page-crossing
 *     mov  r10, [r10 + host]
 *     op   [rax + r10]
 *
 * Either way several accesses off one base can share the first one's check (groups.c); by the TLB it leaves the page's addend in env for the others.
 *
 * slow (out of line): the address is restored and a stub asks the softmmu. It answers with a host address (TLB refilled, or a bounce buffer
 * in env that holds the loaded bytes) and the fast path's last instruction runs on that; or, for writes that cannot go to memory
 * directly, with 0: then a copy of the instruction runs on the bounce buffer, or on tracked RAM, and a second stub stores it or tells of it. So every
 * instruction can touch MMIO
 * and cross pages, and flags come from the same host instruction. Faults and self-modifying code are found before anything is written.
 */
#include <assert.h>
#include "backend-x86_64/x64.h"

/* A temp in rax or r10 that outlives the address computation or is a value of this insn must move. */
static void clear_for_address(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    for (unsigned i = 0; i < 2; i++) {
        unsigned r = i ? R10 : RAX;
        if (!x->owner_valid[r])
            continue;
        ir_ref t = IR_TEMP0 + x->owner[r];
        bool value = t == in->a || t == in->b || t == in->c || x->last_use[x->owner[r]] > x->k;
        if (value)
            x64_evict(x, r, BIT(RAX) | BIT(R10));
    }
    x->locked |= BIT(RAX) | BIT(R10);
}

/* Members of a group, and accesses in a loop's tight copy, neither fault nor touch EFLAGS. */
bool x64_is_member(const struct x64_ctx *x)
{
    if (x->loop.on && x->loop.of[x->k] < LOOP_CHECKED)
        return true;
    return x->group[x->k].role == GROUP_MEMBER;
}

void x64_mem_prepare(struct x64_ctx *x)
{
    if (!x64_is_member(x))
        x64_fl_clobber(x);
    clear_for_address(x);
}

unsigned x64_value_reg(struct x64_ctx *x, ir_ref r, unsigned size, bool own)
{
    struct x64_val v = x64_val(x, r);
    if (v.kind == V_REG && v.reg != RAX && v.reg != R10 && !own) {
        x->locked |= v.reg == R11 ? BIT(R11) : 0;
        return v.reg;
    }
    bool mine = v.kind == V_REG && v.reg == R11;
    if (mine && x->last_use[r - IR_TEMP0] > x->k) {        /* the copy stays in a slot */
        uint16_t locked = x->locked;
        x->locked |= BIT(RAX) | BIT(R10);
        x64_evict(x, R11, BIT(RAX) | BIT(R10));
        x->locked = locked;
        v = x64_val(x, r);
        mine = false;
    }
    if (!mine) {
        uint16_t locked = x->locked;
        x->locked |= BIT(RAX) | BIT(R10);
        x64_evict(x, R11, BIT(RAX) | BIT(R10));
        x->locked = locked;
        x64_load(x, ir_is_temp(r) ? 8 : size, R11, r);
        if (ir_is_temp(r) && x->last_use[r - IR_TEMP0] <= x->k)
            x64_bind(x, r, R11);
    }
    x->locked |= BIT(R11);
    return R11;
}

static unsigned addr_reg(struct x64_ctx *x, ir_ref r, unsigned busy)
{
    struct x64_val v = x64_val(x, r);
    if (v.kind == V_REG)
        return v.reg;
    unsigned reg = busy == RAX ? R10 : RAX;
    x64_load(x, 8, reg, r);
    return reg;
}

/* rax (or D) = the guest linear address; EFLAGS may be lost. Registers rax and r10 are free but for dying base and index temps. */
static void address(struct x64_ctx *x, unsigned d)
{
    const struct ir_insn *in = x->in;
    bool a32 = in->flags & IRF_ADDR32;
    unsigned lsize = a32 ? 4 : 8;
    struct x64_mem m = {NOREG, NOREG, in->scale, in->disp};
    bool base_const = in->base != IR_NONE && ir_is_const(in->base);
    uint64_t cbase = base_const ? ir_const_value(x->ir, in->base) : 0;
    if (base_const && in->index == IR_NONE) {
        uint64_t v = cbase + (uint64_t)(int64_t)in->disp;
        x64_mov_ri(x->c, d, a32 ? (uint32_t)v : v);
    } else if (in->base == IR_NONE && in->index == IR_NONE) {
        x64_mov_ri(x->c, d, a32 ? (uint32_t)in->disp : (uint64_t)(int64_t)in->disp);
    } else {
        if (in->index != IR_NONE)
            m.index = (uint8_t)addr_reg(x, in->index, in->base != IR_NONE && x64_ref_is(x, in->base, RAX) ? RAX : in->base != IR_NONE && x64_ref_is(x, in->base, R10) ? R10 : NOREG);
        if (in->base != IR_NONE)
            m.base = (uint8_t)addr_reg(x, in->base, m.index);
        if (m.base != NOREG && m.index == NOREG && m.disp == 0) {
            if (m.base != d || a32)
                x64_mov_rr(x->c, lsize, d, m.base);
        } else {
            x64_lea(x->c, lsize, d, m);
        }
    }
    if (in->seg != IR_NONE) {
        struct x64_val s = x64_val(x, in->seg);
        if (s.kind == V_REG)
            x64_alu_rr(x->c, X64_ADD, 8, d, s.reg);
        else
            x64_alu_rm(x->c, X64_ADD, 8, d, s.mem);
    }
}

/* Must the operand be aligned to its size? The host's own check does not see the address on the slow path. */
static bool strict(const struct x64_ctx *x, const struct ir_insn *in)
{
    return in->op == IR_native && x->ir->natives[in->imm].align > 1;
}

/* Only some of its elements are accessed. */
static bool masked(const struct x64_ctx *x, const struct ir_insn *in)
{
    return in->op == IR_native && x->ir->natives[in->imm].lanes;
}

struct x64_mem x64_region_field(unsigned region, size_t field)
{
    struct x64_mem d = ENV_AT(region);
    d.disp += (int32_t)((region - 1) * sizeof(struct mem_region) + field);
    return d;
}

static struct x64_mem region_len(unsigned region, unsigned bytes)
{
    return x64_region_field(region, offsetof(struct mem_region, len) + 8 * mem_region_len(bytes));
}

static void slow_path(struct x64_ctx *x, struct x64_ool *o)
{
    struct code_buf *c = x->c;
    x64_patch_here(c, o->from);
    bool a32 = o->in->flags & IRF_ADDR32;
    if (o->folded)
        x64_lea(c, a32 ? 4 : 8, RAX, o->addr);
    else if (!o->region)
        x64_rm(c, x64_wide(0x33, 8, 0), RAX, x64_at(R10, o->tag));
    if (masked(x, o->in))
        x64_lanes_to_env(c, &x->ir->natives[o->in->imm]);
    x64_mov_ri(c, R10, o->size | (uint32_t)o->kind << 8 | (uint32_t)o->region << 16 | (strict(x, o->in) ? 1u << 24 : 0) | (masked(x, o->in) ? 1u << 25 : 0) |
               (uint32_t)o->restart << 30);
    x64_call_to(c, o->region ? x->s->probe_region[x->ir->mem_bank][o->kind != NM_READ] : x->s->probe);
    x->in = o->in;
    x64_point_at(x, c->p, o->fl, o->recipe);
    uint8_t *bounce = NULL;
    if (o->kind != NM_READ) {
        if (!o->region)
            x64_test_rr(c, 8, RAX, RAX);
        bounce = x64_jcc(c, CC_E);
    }
    if (!o->region) {
        x64_alu_rr(c, X64_XOR, 4, R10, R10);
    } else if (o->folded && a32) {                 /* the operand's address has 64 bits: it may have missed for that */
        x64_alu_rr(c, X64_ADD, 8, R10, RAX);
        x64_lea(c, 8, RAX, o->addr);
        x64_alu_rr(c, X64_SUB, 8, R10, RAX);
    }
    x64_jmp_to(c, o->resume);
    if (!bounce)
        return;
    x64_patch_here(c, bounce);
    if (o->acc.need_flags)
        x64_reload_code(c, ENV_AT(flags));
    if (o->in->op == IR_native)
        x64_point_at(x, c->p, o->fl, o->recipe);
    x64_mov_rm(c, 8, R10, ENV_AT(slow_ptr));
    o->access(c, x->ir, o->in, &o->acc, x64_at(R10, 0));
    if (o->acc.defines)
        x64_spill_code(c, ENV_AT(saved_flags));
    x64_call_to(c, x->s->commit);
    x64_point_at(x, c->p, o->fl, o->recipe);
    if (o->acc.defines)
        x64_reload_code(c, ENV_AT(saved_flags));
    x64_jmp_to(c, o->after);
}

/* A leader's check failed: the stub fills the descriptor so that it holds, or does not come back. */
static void leader_path(struct x64_ctx *x, struct x64_ool *o)
{
    struct code_buf *c = x->c;
    x64_patch_here(c, o->from);
    x64_lea(c, o->narrow ? 4 : 8, RAX, o->addr);
    x64_mov_ri(c, R10, o->size | (uint32_t)o->kind << 8 | (uint32_t)o->region << 16 | (o->in->flags & IRF_ADDR32 ? 1u << 29 : 0) | 1u << 31);
    x64_call_to(c, x->s->probe_region[x->ir->mem_bank][o->kind != NM_READ]);
    x->in = o->in;
    x64_point_at(x, c->p, o->fl, o->recipe);
    x64_jmp_to(c, o->resume);
}

static unsigned tag_of(unsigned kind) { return kind == NM_READ ? offsetof(struct tlb_entry, tag_r) : offsetof(struct tlb_entry, tag_w); }

/* rax = address -> rax = offset in the page, r10 = the page's host address. Returns the branch that a miss takes: then r10 is the TLB entry. */
static uint8_t *tlb_check(struct x64_ctx *x, unsigned kind, unsigned size)
{
    struct code_buf *c = x->c;
    x64_mov_rr(c, 8, R10, RAX);
    x64_shift_ri(c, X64_SHR, 8, R10, PAGE_BITS - 5);
    x64_alu_ri(c, X64_AND, 4, R10, (TLB_ENTRIES - 1) << 5);
    x64_alu_rm(c, X64_ADD, 8, R10, ENV_AT(tlb));
    x64_alu_rm(c, X64_XOR, 8, RAX, x64_at(R10, (int32_t)tag_of(kind)));
    x64_alu_ri(c, X64_CMP, 8, RAX, (int32_t)(PAGE_SIZE - size));
    uint8_t *miss = x64_jcc(c, CC_A);
    x64_mov_rm(c, 8, R10, x64_at(R10, offsetof(struct tlb_entry, host)));
    return miss;
}

/* The descriptor for this insn's accesses: 1 + number, or 0 when the TLB serves better. In a block that is not hot there are none: the misses of code
   that runs a few times are too many. */
static unsigned region_of(struct x64_ctx *x, unsigned kind)
{
    if (x->group[x->k].tlb)
        return 0;
    bool store = kind != NM_READ || x->group[x->k].store;
    return 1 + (unsigned)x64_region_use(x, x->in) + TCG_REGION_USES * x->ir->mem_bank + (store ? TCG_REGIONS : 0);
}

/* r10 = the addend called OF, from memory unless it is there. */
void x64_addend(struct x64_ctx *x, unsigned of, struct x64_mem from)
{
    if (!(x->c->same & BIT(R10)) || x->addend_of != of)
        x64_mov_rm(x->c, 8, R10, from);
    x->c->same |= BIT(R10);
    x->addend_of = (uint8_t)of;
}

static struct x64_mem group_addend(unsigned slot)
{
    struct x64_mem m = ENV_AT(group_addend);
    m.disp += (int32_t)(8 * slot);
    return m;
}

/* Of an access in a group, whose registers are the contract's: its address and MORE. */
static struct x64_mem base_index(const struct ir_insn *in, int32_t more)
{
    return (struct x64_mem){x64_contract[in->base], in->index == IR_NONE ? NOREG : x64_contract[in->index], in->scale, in->disp + more};
}

/* The host operand of an access whose address needs no check: r10 = addend. region 0: the group's own. */
#define TLB_ADDEND 0x60
static struct x64_mem unchecked(struct x64_ctx *x, unsigned region)
{
    const struct ir_insn *in = x->in;
    struct x64_mem m = {RAX, R10, 0, 0};
    bool narrow = x->group[x->k].narrow;
    if (in->index == IR_NONE && !narrow)
        m = (struct x64_mem){x64_contract[in->base], R10, 0, in->disp};
    else
        x64_lea(x->c, narrow ? 4 : 8, RAX, base_index(in, 0));
    unsigned slot = x->group[x->k].slot;
    if (region)
        x64_addend(x, region, x64_region_field(region, offsetof(struct mem_region, addend)));
    else
        x64_addend(x, TLB_ADDEND + slot, group_addend(slot));
    return m;
}

/* A leader's probe of the TLB failed. */
static void tlb_leader_path(struct x64_ctx *x, struct x64_ool *o)
{
    struct code_buf *c = x->c;
    x64_patch_here(c, o->from);
    x64_lea(c, o->narrow ? 4 : 8, RAX, o->addr);
    x64_mov_ri(c, R10, TCG_GROUP(o->size, o->kind & 3u, o->kind >> 2, (o->in->flags & IRF_ADDR32) != 0, o->below, o->own));
    x64_call_to(c, x->s->probe_group);
    x->in = o->in;
    x64_point_at(x, c->p, o->fl, o->recipe);
    x64_mov_rr(c, 8, R10, RAX);
    x64_jmp_to(c, o->resume);
}

static struct x64_mem lowest(struct x64_ctx *x) { return base_index(x->in, x->group[x->k].lo); }

/* Where there is no descriptor a leader asks the TLB, and leaves the page's addend to its members. What more than a page fault can come of, its slow path
   must not ask for by itself (own 0). */
static void tlb_leader(struct x64_ctx *x, unsigned kind, unsigned size)
{
    struct code_buf *c = x->c;
    const struct x64_group *g = &x->group[x->k];
    unsigned all = g->store ? NM_RW : kind, own = strict(x, x->in) || masked(x, x->in) ? 0 : size;
    struct x64_ool o = {.emit = tlb_leader_path, .in = x->in, .kind = (uint8_t)(all | kind << 2), .size = g->span, .own = (uint8_t)own, .below = (uint8_t)-g->lo, .fl = (uint8_t)x64_fl_where(x),
                        .recipe = (uint8_t)(x->n_recipes - 1), .addr = lowest(x), .narrow = g->narrow};
    x64_lea(c, g->narrow ? 4 : 8, RAX, o.addr);
    o.from = tlb_check(x, all, g->span);
    x64_alu_rr(c, X64_ADD, 8, R10, RAX);
    o.resume = c->p;                               /* r10 = host address of the lowest */
    x64_lea(c, g->narrow ? 4 : 8, RAX, o.addr);
    x64_alu_rr(c, X64_SUB, 8, R10, RAX);
    x64_mov_mr(c, 8, group_addend(g->slot), R10);
    x->c->same |= BIT(R10);
    x->addend_of = (uint8_t)(TLB_ADDEND + g->slot);
    *x64_ool(x, tlb_leader_path) = o;
}

/* In a loop's tight copy, a leader's check that fails is made again by the ordinary code. */
static void leader_check(struct x64_ctx *x, unsigned region, unsigned kind)
{
    const struct ir_insn *in = x->in;
    struct code_buf *c = x->c;
    struct x64_mem low = lowest(x);
    struct x64_ool o = {.emit = leader_path, .in = in, .kind = (uint8_t)kind, .size = x->group[x->k].span, .region = (uint8_t)region, .fl = (uint8_t)x64_fl_where(x),
                        .recipe = (uint8_t)(x->n_recipes - 1), .resume = c->p, .addr = low, .narrow = x->group[x->k].narrow};
    x64_lea(c, o.narrow ? 4 : 8, R10, low);
    x64_alu_rm(c, X64_SUB, 8, R10, x64_region_field(region, 0));
    x64_alu_rm(c, X64_CMP, 8, R10, region_len(region, o.size));
    o.from = x64_jcc(c, CC_AE);
    if (x->loop.on)
        x64_loop_miss(x, o.from);
    else
        *x64_ool(x, leader_path) = o;
}

/* Check by region descriptor; returns the host operand. */
static struct x64_mem region_probe(struct x64_ctx *x, struct x64_ool *o)
{
    const struct ir_insn *in = x->in;
    struct code_buf *c = x->c;
    struct x64_mem m = {RAX, R10, 0, 0};
    o->folded = in->base != IR_NONE && ir_is_global(in->base) && x64_contract[in->base] != NOREG && in->index == IR_NONE && in->seg == IR_NONE && x64_unwrapped(x, in);
    if (o->folded) {
        o->addr = x64_at(x64_contract[in->base], in->disp);
        if (in->disp)
            x64_lea(c, 8, R10, o->addr);
        else
            x64_mov_rr(c, 8, R10, o->addr.base);
        m = (struct x64_mem){o->addr.base, R10, 0, in->disp};
    } else {
        address(x, RAX);
        x64_mov_rr(c, 8, R10, RAX);
    }
    x64_alu_rm(c, X64_SUB, 8, R10, x64_region_field(o->region, 0));
    x64_alu_rm(c, X64_CMP, 8, R10, region_len(o->region, o->size));
    o->from = x64_jcc(c, CC_AE);
    x64_mov_rm(c, 8, R10, x64_region_field(o->region, offsetof(struct mem_region, addend)));
    return m;
}

static struct x64_mem tlb_probe(struct x64_ctx *x, struct x64_ool *o)
{
    address(x, RAX);
    o->from = tlb_check(x, o->kind, o->size);
    return (struct x64_mem){RAX, R10, 0, 0};
}

void x64_mem_access(struct x64_ctx *x, unsigned size, unsigned kind, struct x64_acc *acc, x64_access access, bool combine)
{
    struct code_buf *c = x->c;
    struct x64_ool o = {.emit = slow_path, .in = x->in, .access = access, .acc = *acc, .size = (uint8_t)size, .kind = (uint8_t)kind,
                        .tag = kind == NM_READ ? offsetof(struct tlb_entry, tag_r) : offsetof(struct tlb_entry, tag_w),
                        .fl = (uint8_t)x64_fl_where(x), .recipe = (uint8_t)(x->n_recipes - 1), .region = (uint8_t)region_of(x, kind)};
    struct x64_group *g = &x->group[x->k];
    bool streams = x->loop.on && x->loop.of[x->k] < LOOP_CHECKED;
    bool grouped = g->role != GROUP_NONE, leads = grouped && g->role == GROUP_LEADER && !streams;
    struct x64_mem m;
    if (x->tb->hot && !x->loop.on)
        x64_twin_note(x);
    if (streams) {
        grouped = true;
        m = x64_loop_operand(x);
    } else if (grouped) {
        if (leads && o.region)
            leader_check(x, o.region, g->store ? NM_RW : kind);
        else if (leads)
            tlb_leader(x, kind, size);
        m = unchecked(x, o.region);
    } else {
        o.restart = g->restart;
        m = o.region ? region_probe(x, &o) : tlb_probe(x, &o);
        if (x->loop.on)
            x64_loop_miss(x, o.from);
    }
    o.resume = c->p;
    if (acc->need_flags || combine) {
        x64_lea(c, 8, R10, m);
        m = x64_at(R10, 0);
        if (acc->need_flags && (!grouped || leads))
            x64_reload_code(c, ENV_AT(flags));
        else if (acc->need_flags)
            x64_fl_need(x);                        /* rax is free; memory operands and temps stay where they are */
    }
    if (x->in->op == IR_native)
        x64_point(x, c->p, x64_fl_where(x));       /* the instruction itself may trap: alignment, #XM, #MF */
    access(c, x->ir, x->in, acc, m);
    o.after = c->p;
    if (!grouped && !x->loop.on)
        *x64_ool(x, slow_path) = o;
    x->locked &= (uint16_t)~(BIT(RAX) | BIT(R10));
}

_Static_assert(sizeof(struct tlb_entry) == 32, "the probe's index arithmetic");

static void access_ld(struct code_buf *c, const struct ir_block *ir, const struct ir_insn *in, const struct x64_acc *a, struct x64_mem m)
{
    switch (in->sub) {
    case IR_LD_ZX:
        if (in->size >= 4)                         /* zero-extends by itself */
            x64_mov_rm(c, in->size, a->d, m);
        else
            x64_movx_rm(c, false, 4, in->size, a->d, m);
        break;
    case IR_LD_SX4: x64_movx_rm(c, true, 4, in->size, a->d, m); break;
    case IR_LD_SX8: x64_movx_rm(c, true, 8, in->size, a->d, m); break;
    default:
        if (in->size < 4 && !a->lock)              /* lock: may not merge */
            x64_movx_rm(c, false, 4, in->size, a->d, m);
        else
            x64_mov_rm(c, in->size, a->d, m);
    }
}

static void emit_ld(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    struct x64_acc a = {0};
    x64_mem_prepare(x);
    bool pinned = ir_is_global(in->d) && x64_contract[in->d] != NOREG;
    if (pinned) {
        a.d = x64_contract[in->d];
        a.lock = in->size < 4 && in->sub == IR_LD_PLAIN;
    } else if (ir_is_temp(in->d) && x->loc_reg[in->d - IR_TEMP0] != NOREG && x->loc_reg[in->d - IR_TEMP0] == R11) {
        a.d = R11;
    } else {
        a.d = x->owner_valid[R11] && x->last_use[x->owner[R11]] > x->k ? R10 : R11;
    }
    x64_mem_access(x, in->size, NM_READ, &a, access_ld, false);
    unsigned size = in->sub == IR_LD_PLAIN ? in->size : 8;
    if (!pinned)
        x64_dest_done(x, in->d, a.d, size);
}

static void access_st(struct code_buf *c, const struct ir_block *ir, const struct ir_insn *in, const struct x64_acc *a, struct x64_mem m)
{
    if (a->is_imm)
        x64_mov_mi(c, in->size, m, a->imm);
    else
        x64_mov_mr(c, in->size, m, a->v);
}

/* Fill acc's value from r. */
static void value(struct x64_ctx *x, struct x64_acc *a, ir_ref r, unsigned size, bool own)
{
    struct x64_val v = x64_val(x, r);
    if (v.kind == V_IMM && !own && !ir_is_const_pc(x->ir, r) && (size < 8 || x64_fits32((uint64_t)v.imm))) {
        a->is_imm = true;
        a->imm = (int32_t)v.imm;
        return;
    }
    a->v = (uint8_t)x64_value_reg(x, r, size, own);
}

static void emit_st(struct x64_ctx *x)
{
    struct x64_acc a = {0};
    if (!x64_is_member(x))
        x64_fl_clobber(x);
    value(x, &a, x->in->a, x->in->size, false);
    x64_mem_prepare(x);
    x64_mem_access(x, x->in->size, NM_WRITE, &a, access_st, false);
}

static void lock_prefix(struct code_buf *c, const struct x64_acc *a)
{
    if (a->lock)
        x64_b(c, 0xf0);
}

static void access_rmw(struct code_buf *c, const struct ir_block *ir, const struct ir_insn *in, const struct x64_acc *a, struct x64_mem m)
{
    static const uint8_t alu[] = {X64_ADD, X64_OR, X64_ADC, X64_SBB, X64_AND, X64_SUB, X64_XOR};
    static const uint8_t sh[] = {X64_SHL, X64_SHR, X64_SAR, X64_ROL, X64_ROR, X64_RCL, X64_RCR};
    unsigned size = in->size, op = in->sub;
    if (op <= RMW_xor) {
        lock_prefix(c, a);
        if (a->is_imm)
            x64_alu_mi(c, alu[op], size, m, a->imm);
        else
            x64_alu_mr(c, alu[op], size, m, a->v);
    } else if (op <= RMW_not) {
        lock_prefix(c, a);
        x64_group_m(c, op <= RMW_dec ? 0xfe : 0xf6, op == RMW_inc ? 0 : op == RMW_dec ? 1 : op == RMW_neg ? 3 : 2, size, m);
    } else if (op <= RMW_rcr) {
        if (a->is_imm) {
            x64_group_m(c, 0xc0, sh[op - RMW_shl], size, m);
            x64_b(c, (uint8_t)a->imm);
        } else if (a->v == RCX) {
            x64_group_m(c, 0xd2, sh[op - RMW_shl], size, m);
        } else {                                   /* a count that is not in CL */
            x64_mov_mr(c, 8, ENV_AT(saved_misc), RCX);
            x64_mov_rr(c, 4, RCX, a->v);
            x64_group_m(c, 0xd2, sh[op - RMW_shl], size, m);
            x64_mov_rm(c, 8, RCX, ENV_AT(saved_misc));
        }
    } else if (op <= RMW_btc) {
        unsigned n = op - RMW_bts + 1;
        lock_prefix(c, a);
        if (a->is_imm) {
            x64_rm(c, x64_wide(0xba, size, 1), 4 + n, m);
            x64_b(c, (unsigned)a->imm & (size * 8 - 1));
        } else {
            x64_rm(c, x64_wide(0xa3 | n << 3, size, 1), a->v, m);
        }
    } else if (op == RMW_xchg) {
        x64_rm(c, x64_sized(0x86, size, 0), a->v, m);
    } else {
        lock_prefix(c, a);
        x64_rm(c, x64_sized(0xc0, size, 1), a->v, m);
    }
}

/* Flags that the register form of this rmw keeps, and whether it reads any. */
static uint16_t rmw_keeps(const struct ir_insn *in, bool const_count, bool *reads)
{
    *reads = in->sub == RMW_adc || in->sub == RMW_sbb || in->sub == RMW_rcl || in->sub == RMW_rcr;
    if (in->sub == RMW_inc || in->sub == RMW_dec)
        return FL_C;
    if (in->sub >= RMW_shl && in->sub <= RMW_sar)
        return const_count ? 0 : FL_ALL;
    if (in->sub >= RMW_rol && in->sub <= RMW_rcr)
        return const_count ? FL_ALL & ~(FL_C | FL_O) : FL_ALL;
    if (in->sub >= RMW_bts && in->sub <= RMW_btc)
        return FL_ALL & ~FL_C;
    return 0;
}

static void emit_rmw(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    bool setf = (in->flags & IRF_FLAGS) && in->sub < RMW_xchg + 2 && in->sub != RMW_xchg && in->sub != RMW_not, reads;
    bool swap = in->sub == RMW_xchg || in->sub == RMW_xadd;
    struct x64_acc a = {.lock = (in->flags & IRF_LOCK) != 0};
    uint16_t keeps = rmw_keeps(in, in->a != IR_NONE && ir_is_const(in->a) && (ir_const_value(x->ir, in->a) & (in->size == 8 ? 63 : 31)), &reads);
    if (!x64_is_member(x) || in->sub == RMW_not)
        x64_fl_clobber(x);
    else
        x64_fl_to_mem(x);
    if (in->sub < RMW_inc || in->sub > RMW_not)
        value(x, &a, in->a, in->sub >= RMW_shl && in->sub <= RMW_rcr ? 1 : in->size, swap);
    a.need_flags = reads || (setf && ((in->fl_live | in->fl_fault) & keeps));
    a.defines = setf && (in->fl_live | in->fl_fault);
    if (a.need_flags)
        x64_fl_to_mem(x);                          /* also from a recipe: they are reloaded after the check */
    x64_mem_prepare(x);
    x64_mem_access(x, in->size, NM_RW, &a, access_rmw, false);
    if (setf)
        x64_fl_define(x);
    else if (!x64_is_member(x) || (in->sub != RMW_xchg && in->sub != RMW_not))
        x->fs &= ~FS_HOST;
    if (swap && in->d != IR_NONE) {
        if (ir_is_global(in->d) && x64_contract[in->d] != NOREG)
            x64_mov_rr(x->c, in->size, x64_contract[in->d], R11);
        else if (in->size == 4 && ir_is_global(in->d)) {
            x64_mov_rr(x->c, 4, R11, R11);
            x64_dest_done(x, in->d, R11, 4);
        } else
            x64_dest_done(x, in->d, R11, in->size);
    }
}

/* The accumulator goes through rax; m never uses rax (combine). A 4-byte accumulator is only written (and zero-extended) when unequal. */
static void access_cmpxchg(struct code_buf *c, const struct ir_block *ir, const struct ir_insn *in, const struct x64_acc *a, struct x64_mem m)
{
    if (a->d == NOREG)
        x64_mov_rm(c, 8, RAX, x64_at(X64_ENV, a->imm));
    else
        x64_mov_rr(c, 8, RAX, a->d);
    lock_prefix(c, a);
    x64_rm(c, x64_sized(0xb0, in->size, 1), a->v, m);
    uint8_t *skip = x64_jcc(c, CC_E);
    if (a->d == NOREG)
        x64_mov_mr(c, in->size == 4 ? 8 : in->size, x64_at(X64_ENV, a->imm), RAX);
    else
        x64_mov_rr(c, in->size, a->d, RAX);
    x64_patch_here(c, skip);
}

static void emit_cmpxchg(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    struct x64_acc a = {.lock = (in->flags & IRF_LOCK) != 0, .d = NOREG};
    x64_fl_clobber(x);
    a.v = (uint8_t)x64_value_reg(x, in->b, in->size, false);
    if (ir_is_temp(in->a)) {                       /* keep the accumulator temp in memory meanwhile */
        assert(in->d == in->a);
        uint16_t locked = x->locked;
        x->locked |= BIT(RAX) | BIT(R10) | BIT(R11);
        for (unsigned i = 0; i < 3; i++) {
            unsigned r = i == 0 ? RAX : i == 1 ? R10 : R11;
            if (x64_ref_is(x, in->a, r))
                x64_evict(x, r, BIT(RAX) | BIT(R10) | BIT(R11));
        }
        x->locked = locked;
        a.imm = x64_val(x, in->a).mem.disp;
    } else if (x64_contract[in->a] != NOREG) {
        a.d = x64_contract[in->a];
    } else {
        a.imm = x64_global_mem(x, in->a).disp;
    }
    x64_mem_prepare(x);
    a.defines = (in->fl_live | in->fl_fault) != 0 && (in->flags & IRF_FLAGS);
    x64_mem_access(x, in->size, NM_RW, &a, access_cmpxchg, true);
    x64_fl_define(x);
}

void x64_emit_lea(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    bool plain = in->seg == IR_NONE && !(in->flags & (IRF_ADDR32 | IRF_ADDR16));
    if (in->seg != IR_NONE)
        x64_fl_clobber(x);
    if (plain && (in->base == IR_NONE || x64_val(x, in->base).kind == V_REG) && (in->index == IR_NONE || x64_val(x, in->index).kind == V_REG) &&
        (in->base != IR_NONE || in->index != IR_NONE)) {
        struct x64_mem m = {in->base == IR_NONE ? NOREG : x64_val(x, in->base).reg, in->index == IR_NONE ? NOREG : x64_val(x, in->index).reg, in->scale, in->disp};
        if (in->base != IR_NONE)
            x->locked |= BIT(m.base);
        if (in->index != IR_NONE)
            x->locked |= BIT(m.index);
        bool merge = in->size == 2 && ir_is_global(in->d);
        unsigned r = merge ? x64_take_scratch(x) : x64_dest(x, in->d, IR_NONE);
        x64_lea(x->c, in->size == 8 ? 8 : 4, r, m);
        if (merge && x64_contract[in->d] != NOREG)
            x64_mov_rr(x->c, 2, x64_contract[in->d], r);
        else
            x64_dest_done(x, in->d, r, in->size);
        return;
    }
    clear_for_address(x);
    address(x, RAX);
    if (in->flags & IRF_ADDR16)
        x64_movx_rr(x->c, false, 4, 2, RAX, RAX);
    else if (in->size == 4)
        x64_mov_rr(x->c, 4, RAX, RAX);
    x->locked &= (uint16_t)~(BIT(RAX) | BIT(R10));
    if (ir_is_global(in->d) && x64_contract[in->d] != NOREG)
        x64_mov_rr(x->c, in->size, x64_contract[in->d], RAX);
    else
        x64_dest_done(x, in->d, RAX, in->size);
}

void x64_emit_mem(struct x64_ctx *x)
{
    switch (x->in->op) {
    case IR_ld: emit_ld(x); break;
    case IR_st: emit_st(x); break;
    case IR_rmw: emit_rmw(x); break;
    default: emit_cmpxchg(x); break;
    }
}
