/*
 * The x86 generator's frame: fetch loop (x86_translate), memory operands, register operands, stack, raising. In: guest bytes at a tb_key;
 * out: one IR block that ends with an END op. The instructions themselves are in gen_*.c.
 *
 * Outside flat modes each access gets a check of limit and type by a helper; the address then is a temp. Memory operands are built before
 * anything is written, so faults are precise. SDM vol. 1 ch. 3.3, vol. 3 ch. 5.
 */
#include "frontend-x86/gen.h"
#include "core/ram.h"
#include "tcg/env.h"
#include "frontend-x86/helper_int.h"
#include "frontend-x86/helper_sys.h"
#include "frontend-x86/svm.h"
#include <stddef.h>
#include <string.h>

#define H(name, n, res, flags) uint64_t helper_##name(struct x86_cpu *, uint64_t, uint64_t, uint64_t);
#include "frontend-x86/helpers.def"
#undef H

#define H(name, n, res, flags) { #name, (void *)helper_##name, n, res, flags },
const struct tcg_helper x86_helpers[] = {
#include "frontend-x86/helpers.def"
};
#undef H
const unsigned x86_n_helpers = H_COUNT;

#define G(name, field, size) { #name, offsetof(struct x86_cpu, field), size },
const struct ir_global x86_globals[] = {
#include "frontend-x86/globals.def"
};
#undef G
const unsigned x86_n_globals = sizeof(x86_globals) / sizeof(x86_globals[0]);

uint64_t gen_trunc(uint64_t v, unsigned size) { return size >= 8 ? v : v & ((1ull << (8 * size)) - 1); }

uint64_t gen_pc(const struct x86_gen *g, uint64_t pc, unsigned opsize)
{
    return gen_code64(g) ? pc : gen_trunc(pc, opsize == 2 ? 2 : 4);
}

/* ---- memory operands ---- */

static ir_ref seg_base(const struct x86_gen *g, unsigned seg)
{
    static const uint8_t base[] = { XG_ES_BASE, XG_CS_BASE, XG_SS_BASE, XG_DS_BASE, XG_FS_BASE, XG_GS_BASE };
    bool fsgs = seg == X86_FS || seg == X86_GS;
    if (seg > X86_GS || (!fsgs && (g->mode & XM_FLAT)))
        return IR_NONE;
    return base[seg];
}

ir_ref gen_linear(struct x86_gen *g, const struct ir_mem *m)
{
    struct ir_mem off = *m;
    off.seg = IR_NONE;
    if (m->base != IR_NONE && m->index == IR_NONE && !m->disp && m->seg == IR_NONE && !(m->flags & IRF_ADDR32))
        return m->base;
    ir_ref r = ir_lea(g->ir, off.flags & IRF_ADDR32 ? 4 : 8, IR_NONE, &off);
    if (m->seg != IR_NONE)
        r = ir_op2(g->ir, IR_add, gen_code64(g) ? 8 : 4, IR_NONE, r, m->seg, 0);
    return r;
}

/* Can an access through this segment fail by limit or type? */
static bool seg_may_fail(const struct x86_gen *g, unsigned seg, unsigned access)
{
    if (gen_code64(g) || seg > X86_GS)
        return false;
    if (seg == X86_FS || seg == X86_GS)
        return !(g->mode & (seg == X86_FS ? XM_FS4G : XM_GS4G));
    return !(g->mode & XM_FLAT) || (seg == X86_CS && (access & GEN_W));
}

/* The alignment that an operand must have while #AC is on (SDM vol. 3 table 6-7); the masked ones of AVX are not looked at. */
static unsigned natural_align(const struct x86_gen *g, unsigned size, unsigned access)
{
    if ((access & GEN_NOALIGN) || g->lanes)
        return 1;
    if (access & (GEN_ALIGN2 | GEN_ALIGN4 | GEN_ALIGN8))
        return (access & (GEN_ALIGN2 | GEN_ALIGN4 | GEN_ALIGN8)) / (GEN_ALIGN2 / 2);
    switch (size) {
    case 2: case 4: case 8: case 16: return size;
    case 10: return 8;
    case 32: case 64: return 16;
    default: return 1;
    }
}

/* Limit and type of the segment, then alignment; outside 64-bit code offset plus base wraps at 4 GiB and becomes a temp. */
static struct ir_mem checked(struct x86_gen *g, struct ir_mem m, unsigned seg, unsigned size, unsigned access)
{
    if (access & GEN_NOCHECK)
        return m;
    bool may_fail = seg_may_fail(g, seg, access);
    if (may_fail || (!gen_code64(g) && m.seg != IR_NONE)) {
        struct ir_mem off = m;
        off.seg = IR_NONE;
        ir_ref r = ir_lea(g->ir, 4, IR_NONE, &off);
        if (may_fail && g->lanes)
            ir_call(g->ir, H_seg_lanes, IR_NONE, r, gen_const(g, g->lanes), gen_const(g, seg | (access & GEN_W ? 8 : 0) | (unsigned)g->lane_k << 4));
        else if (may_fail)
            ir_call(g->ir, H_seg_check, IR_NONE, r, gen_const(g, seg | (access & GEN_W ? 8 : 0) | size << 4), IR_NONE);
        m.base = m.seg == IR_NONE ? r : ir_op2(g->ir, IR_add, 4, IR_NONE, r, m.seg, 0);
        m.seg = IR_NONE;
        m.index = IR_NONE;
        m.scale = 0;
        m.disp = 0;
    }
    if ((g->mode & XM_DR) && size)
        ir_call(g->ir, H_dr_watch, IR_NONE, gen_linear(g, &m), gen_const(g, size | (access & GEN_W ? 1u << 16 : 0)), IR_NONE);
    unsigned align = g->mode & XM_AC ? natural_align(g, size, access) : 1;
    if (align > 1)
        ir_call(g->ir, H_align_check, IR_NONE, gen_linear(g, &m), gen_const(g, align), IR_NONE);
    return m;
}

static struct ir_mem raw_mem(struct x86_gen *g, const struct x86_insn *i)
{
    struct ir_mem m = { .base = IR_NONE, .index = IR_NONE, .seg = IR_NONE };
    int64_t disp = i->mem.disp;
    if (i->mem.base != X86_NOREG)
        m.base = i->mem.base;
    if (i->mem.index != X86_NOREG && !i->mem.vsib) {
        m.index = i->mem.index;
        m.scale = i->mem.scale;
    }
    if (i->mem.rip_rel)
        disp += (int64_t)g->next;
    if (i->mem.rip_rel && (i->addrsize != 8 || disp == (int32_t)disp))
        g->ir->movable = false;
    if (i->addrsize == 4) {
        m.flags = IRF_ADDR32;
        disp = (int32_t)disp;
    }
    if (i->addrsize == 2) {
        m.disp = (int16_t)disp;
        m.flags = IRF_ADDR16;
        m.base = ir_lea(g->ir, 4, IR_NONE, &m);
        m.index = IR_NONE;
        m.scale = m.flags = 0;
        m.disp = 0;
        m.flags = IRF_ADDR32;
        return m;
    }
    if (disp != (int32_t)disp) {
        m.base = i->mem.rip_rel ? gen_const_pc(g, (uint64_t)disp) : gen_const(g, (uint64_t)disp);      /* moffs otherwise: there is no other base */
        m.base = ir_mov(g->ir, 8, ir_temp(g->ir), m.base);
        disp = 0;
    }
    m.disp = (int32_t)disp;
    return m;
}

struct ir_mem gen_mem(struct x86_gen *g, const struct x86_insn *i, unsigned size, unsigned access)
{
    struct ir_mem m = raw_mem(g, i);
    m.seg = seg_base(g, i->mem.seg);
    return checked(g, m, i->mem.seg, size, access);
}

struct ir_mem gen_mem_at(struct x86_gen *g, struct ir_mem m, int32_t off)
{
    int64_t d = (int64_t)m.disp + off;
    if (d != (int32_t)d) {
        struct ir_mem o = m;
        o.seg = IR_NONE;
        m.base = ir_lea(g->ir, m.flags & IRF_ADDR32 ? 4 : 8, IR_NONE, &o);
        m.index = IR_NONE;
        m.scale = 0;
        d = off;
    }
    m.disp = (int32_t)d;
    return m;
}

struct ir_mem gen_mem_reg(struct x86_gen *g, unsigned seg, ir_ref reg, int32_t disp, unsigned addrsize, unsigned size, unsigned access)
{
    struct ir_mem m = { .base = reg, .index = IR_NONE, .seg = IR_NONE, .disp = disp };
    if (addrsize == 2) {
        m.flags = IRF_ADDR16;
        m.base = ir_lea(g->ir, 4, IR_NONE, &m);
        m.disp = 0;
    }
    m.flags = addrsize == 8 ? 0 : IRF_ADDR32;
    m.seg = seg_base(g, seg);
    return checked(g, m, seg, size, access);
}

ir_ref gen_ea(struct x86_gen *g, const struct x86_insn *i, unsigned size, ir_ref d)
{
    struct ir_mem m = raw_mem(g, i);
    if (size >= 4 && (i->addrsize == 8 || size == 4))
        return ir_lea(g->ir, size, d, &m);
    ir_ref r = ir_lea(g->ir, i->addrsize == 8 ? 8 : 4, IR_NONE, &m);
    if (size == 8)
        return ir_ext(g->ir, IR_zext, 8, 4, d, r);
    return d == IR_NONE ? r : ir_mov(g->ir, size, d, r);
}

/* ---- register operands ---- */

ir_ref gen_get(struct x86_gen *g, const struct x86_insn *i, unsigned n)
{
    const struct x86_operand *o = &i->o[n];
    switch (o->kind) {
    case OK_GPR:
        return o->reg;
    case OK_GPRH:
        return ir_op1(g->ir, IR_exth, 1, ir_temp(g->ir), o->reg, 0);
    case OK_MEM: {
        struct ir_mem m = gen_mem(g, i, o->size, GEN_R);
        return ir_ld(g->ir, o->size, IR_LD_PLAIN, IR_NONE, &m);
    }
    default:
        return gen_const(g, o->imm);
    }
}

void gen_put_reg(struct x86_gen *g, const struct x86_operand *o, ir_ref v)
{
    if (o->kind == OK_GPRH)
        ir_op2(g->ir, IR_deph, 8, o->reg, o->reg, v, 0);
    else
        ir_mov(g->ir, o->size, o->reg, v);
}

void gen_put(struct x86_gen *g, const struct x86_insn *i, unsigned n, ir_ref v)
{
    const struct x86_operand *o = &i->o[n];
    if (o->kind != OK_MEM) {
        gen_put_reg(g, o, v);
        return;
    }
    struct ir_mem m = gen_mem(g, i, o->size, GEN_W);
    ir_st(g->ir, o->size, &m, v);
}

/* ---- stack ---- */

unsigned gen_stack_size(const struct x86_gen *g) { return gen_code64(g) ? 8 : g->mode & XM_SS32 ? 4 : 2; }

void gen_sp_add(struct x86_gen *g, int32_t n)
{
    struct ir_mem m = { .base = X86_RSP, .index = IR_NONE, .seg = IR_NONE, .disp = n };
    unsigned ss = gen_stack_size(g);
    if (ss == 2)
        ir_mov(g->ir, 2, X86_RSP, ir_op2(g->ir, IR_add, 2, IR_NONE, X86_RSP, gen_const(g, gen_trunc((uint64_t)(int64_t)n, 2)), 0));
    else
        ir_lea(g->ir, ss, X86_RSP, &m);
}

void gen_push_val(struct x86_gen *g, ir_ref v, unsigned size)
{
    struct ir_mem m = gen_mem_reg(g, X86_SS, X86_RSP, -(int32_t)size, gen_stack_size(g), size, GEN_W);
    ir_st(g->ir, size, &m, v);
    gen_sp_add(g, -(int32_t)size);
}

ir_ref gen_pop_ld(struct x86_gen *g, unsigned size)
{
    struct ir_mem m = gen_mem_reg(g, X86_SS, X86_RSP, 0, gen_stack_size(g), size, GEN_R);
    return ir_ld(g->ir, size, size < 4 ? IR_LD_ZX : IR_LD_PLAIN, IR_NONE, &m);
}

/* ---- leaving ---- */

void gen_raise(struct x86_gen *g, unsigned vector, bool has_err, uint32_t err)
{
    if (has_err)
        ir_call(g->ir, H_raise_err, IR_NONE, gen_const(g, vector), gen_const(g, err), IR_NONE);
    else
        ir_call(g->ir, H_raise, IR_NONE, gen_const(g, vector), IR_NONE, IR_NONE);
    ir_exit(g->ir, 0);
    g->end = true;
}

void gen_gp0(struct x86_gen *g) { gen_raise(g, X86_GP, true, 0); }
void gen_undef(struct x86_gen *g) { gen_raise(g, X86_UD, false, 0); }

void gen_lookup_at(struct x86_gen *g, ir_ref pc)
{
    ir_setpc(g->ir, pc);
    if (g->mode & (XM_TF | XM_DR)) {
        ir_call(g->ir, H_single_step, IR_NONE, gen_const(g, g->mode & XM_TF ? 2 : 0), gen_const(g, g->next), IR_NONE);
        ir_exit(g->ir, 0);
    } else {
        ir_lookup(g->ir);
    }
    g->end = true;
}

void gen_lookup_next(struct x86_gen *g) { gen_lookup_at(g, gen_const_pc(g, g->next)); }

void gen_goto(struct x86_gen *g, uint64_t pc)
{
    if (!gen_target_const(g, pc))
        return;
    if (gen_boundary(g)) {                             /* the step's own end follows the new pc */
        gen_lookup_at(g, gen_const_pc(g, pc));
        return;
    }
    ir_jmp(g->ir, pc);
    g->end = true;
}

/* ---- fetch ---- */

/* The page where the block starts, and bytes of it, read a piece at a time: what was decoded is what was read once, whoever writes to it. A later
   instruction must lie in the page as a whole: whether the next page may be executed is asked only when an instruction that needs it is about to run, so
   a block crosses a page end with its only instruction or not at all. */
#define FETCHED 64u
struct fetch { uint64_t page_va; const uint8_t *page; unsigned at, n; uint8_t buf[FETCHED + 16]; };      /* buf: n bytes of the page from offset at on */

static uint64_t linear(const struct x86_gen *g, uint64_t pc)
{
    uint64_t v = pc + g->cs_base;
    return gen_code64(g) ? v : (uint32_t)v;
}

static void fill(struct fetch *f, unsigned at)
{
    f->at = at;
    f->n = MIN(FETCHED, PAGE_SIZE - at);
    ram_read(f->buf, f->page + at, f->n);
}

/* The first instruction, of which the page has N bytes and no more. */
static void fetch_rest(struct x86_gen *g, uint8_t *buf, unsigned n)
{
    gpa_t gpa;
    uint64_t va = linear(g, g->pc + n);
    const uint8_t *p = mmu_code_page(g->mmu, va, &gpa);
    if (p)
        ram_read(buf + n, p + (va & ~PAGE_MASK), 15 - n);
    else
        mmu_ld_mem(g->mmu, va, buf + n, 15 - n, 0);
}

static enum x86_status first_insn(struct x86_gen *g, struct fetch *f, struct x86_insn *i, enum x86_mode mode)
{
    uint64_t va = linear(g, g->pc);
    unsigned at = (unsigned)(va & ~PAGE_MASK), n = MIN(15u, PAGE_SIZE - at);
    gpa_t gpa;
    f->page_va = va & PAGE_MASK;
    f->page = mmu_code_page(g->mmu, va, &gpa);
    if (f->page) {
        fill(f, at);
    } else {
        f->at = at;
        f->n = n;
        mmu_ld_mem(g->mmu, va, f->buf, n, 0);
    }
    enum x86_status st = x86_decode(i, f->buf, n, mode);
    if (st != X86_TRUNC || n == 15)
        return st;
    fetch_rest(g, f->buf, n);
    return x86_decode(i, f->buf, 15, mode);
}

/* Decode at g->pc. NULL: not the first instruction and not wholly in the block's page, so the block ends before it. Else its bytes. */
static const uint8_t *fetch_decode(struct x86_gen *g, struct fetch *f, struct x86_insn *i, bool first, enum x86_status *st)
{
    enum x86_mode mode = gen_code64(g) ? X86_M64 : g->mode & XM_CODE32 ? X86_M32 : X86_M16;
    if (first) {
        *st = first_insn(g, f, i, mode);
        return f->buf;
    }
    uint64_t va = linear(g, g->pc);
    unsigned at = (unsigned)(va & ~PAGE_MASK), n = MIN(15u, PAGE_SIZE - at);
    if ((va & PAGE_MASK) != f->page_va || !f->page)
        return NULL;
    if (at < f->at || at + n > f->at + f->n)
        fill(f, at);
    const uint8_t *p = f->buf + (at - f->at);
    *st = x86_decode(i, p, n, mode);
    return *st == X86_TRUNC && n < 15 ? NULL : p;
}

/* ---- CS limit: real code runs with 64 KiB or 4 GiB, which the key tells; other limits are compared at run time ---- */
static uint64_t known_limit(const struct x86_gen *g)
{
    return gen_code64(g) || (g->mode & (XM_FLAT | XM_LIM4G)) ? ~0ull : g->mode & XM_LIM64K ? 0xffff : ~0ull;
}

static bool odd_limit(const struct x86_gen *g)
{
    return !gen_code64(g) && !(g->mode & (XM_FLAT | XM_LIM4G | XM_LIM64K));
}

static bool beyond_limit(const struct x86_gen *g, unsigned len)
{
    return g->pc + len - 1 > known_limit(g);
}

bool gen_target_const(struct x86_gen *g, uint64_t pc)
{
    if (odd_limit(g))
        ir_call(g->ir, H_cs_check, IR_NONE, gen_const(g, pc), IR_NONE, IR_NONE);
    if (gen_code64(g) ? x86_canonical_in(pc, gen_va_bits(g)) : pc <= known_limit(g))
        return true;
    gen_gp0(g);
    return false;
}

void gen_target_check(struct x86_gen *g, ir_ref pc, unsigned opsize)
{
    if (odd_limit(g) || (opsize > 2 && known_limit(g) == 0xffff))
        ir_call(g->ir, H_cs_check, IR_NONE, pc, IR_NONE, IR_NONE);
}

static bool lock_ok(const struct x86_insn *i)
{
    return (i->row->attr & X86_F_LOCKABLE) && i->n_opnd && i->o[0].kind == OK_MEM;
}

/* Without the feature TZCNT and LZCNT are BSF and BSR with a prefix that means nothing. */
static const struct x86_row *row_of(const struct x86_gen *g, const struct x86_insn *i)
{
    unsigned plain = i->mnem == X86I_tzcnt ? X86I_bsf : i->mnem == X86I_lzcnt ? X86I_bsr : 0;
    const struct x86_row *r = x86_rows;
    if (!plain || x86_has(g->cpu->cpuid, i->row->feat))
        return i->row;
    while (r->mnem != plain)
        r++;
    return r;
}

static void one(struct x86_gen *g, struct x86_insn *i, enum x86_status st)
{
    if (st == X86_OK) {
        i->row = row_of(g, i);
        i->mnem = i->row->mnem;
    }
    if (st == X86_TOOLONG || st == X86_TRUNC || (st == X86_OK && beyond_limit(g, i->len)))
        gen_gp0(g);
    else if (st != X86_OK || !i->row->gen || !x86_has(g->cpu->cpuid, i->row->feat))
        gen_undef(g);
    else if (i->lock && !lock_ok(i))
        gen_undef(g);
    else if ((i->row->attr & X86_F_PROT) && (!(g->mode & XM_PE) || (g->mode & XM_VM86)))
        gen_undef(g);
    else if ((i->row->attr & X86_F_PRIV) && gen_cpl(g))
        gen_gp0(g);
    else {
        if (g->mode & XM_GUEST)
            gen_svm_check(g, i);
        i->row->gen(g, i);
    }
}

/* The instruction before this one is complete. In front of everything that may raise. */
static void count_insn(struct x86_gen *g)
{
    ir_op2(g->ir, IR_add, 8, XG_INSNS, XG_INSNS, g->ir->n_guest > 1 ? gen_const(g, 1) : XG_OPEN, 0);
    if (g->ir->n_guest > 1)
        return;
    uint32_t on = ir_new_label(g->ir);
    ir_mov(g->ir, 8, XG_OPEN, gen_const(g, 1));
    ir_brnz(g->ir, 8, ir_op2(g->ir, IR_shr, 8, IR_NONE, XG_INSNS, gen_const(g, 63), 0), on);
    ir_call(g->ir, H_pmu_full, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    ir_label(g->ir, on);
}

/* The work at the start of every instruction in the modes that have some. */
static void begin_insn(struct x86_gen *g, unsigned len)
{
    if (g->mode & XM_COUNT)
        count_insn(g);
    if (g->mode & XM_DR)
        ir_call(g->ir, H_dr_begin, IR_NONE, gen_const(g, linear(g, g->pc)), IR_NONE, IR_NONE);
    if (g->mode & XM_SHADOW)
        ir_call(g->ir, H_end_shadow, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    if (odd_limit(g))
        ir_call(g->ir, H_cs_check, IR_NONE, gen_const(g, g->pc + len - 1), IR_NONE, IR_NONE);
}

/* The block is full. After STI the next instruction must come before any look at pending interrupts, so it gets a shadow block. */
static void end_full(struct x86_gen *g, bool after_sti)
{
    if (after_sti)
        ir_call(g->ir, H_sti_shadow, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    if (after_sti || gen_boundary(g))
        gen_lookup_at(g, gen_const_pc(g, g->pc));
    else
        ir_jmp(g->ir, g->pc);
}

/* User code is run at one address in one process and at another in the next. In modes with work at each instruction that work is told of
   pcs in many ways. */
static bool is_movable(const struct x86_gen *g)
{
    bool code32 = (g->mode & (XM_PE | XM_CODE64 | XM_CODE32 | XM_LIM4G | XM_VM86)) == (XM_PE | XM_CODE32 | XM_LIM4G);
    return (gen_code64(g) || code32) && ir_pc_low(g->pc) == code32 && gen_cpl(g) == 3 && !gen_boundary(g) && !(g->mode & (XM_GUEST | XM_AC)) && !g->cs_base &&
           ir_pc_movable(g->pc);
}

/* Single step, breakpoints and interrupt shadow: blocks of one instruction. The shadow is cleared first: the instruction may set a new one. */
void x86_translate(void *cpu, struct mmu *mmu, const struct tb_key *key, unsigned max, struct ir_block *ir)
{
    struct x86_gen g = { .ir = ir, .cpu = cpu, .mmu = mmu, .mode = key->mode, .cs_base = key->cs_base };
    struct x86_insn i;
    struct fetch f;
    enum x86_status st = X86_BAD;
    const uint8_t *bytes;
    g.pc = key->pc - key->cs_base;
    if (!gen_code64(&g))
        g.pc = (uint32_t)g.pc;
    ir_begin(ir, ir->fe ? ir->fe : tcg_env_of(cpu)->fe, g.pc);
    ir->mem_bank = gen_cpl(&g) == 3;
    ir->movable = is_movable(&g);
    if (gen_boundary(&g))
        max = 1;
    bool sti = false;
    for (unsigned n = 0; !g.end; n++) {
        if (n == max || (n && !ir_room(ir)) || (n && beyond_limit(&g, 1)) || !(bytes = fetch_decode(&g, &f, &i, n == 0, &st))) {
            end_full(&g, sti);
            return;
        }
        unsigned len = i.len ? i.len : 1;
        memcpy(ir->code + ir->guest_bytes, bytes, 16);             /* len of them count; there is room for 16 */
        g.next = gen_pc(&g, g.pc + len, gen_code64(&g) ? 8 : 4);
        ir_guest(ir, g.pc, len);
        begin_insn(&g, len);
        one(&g, &i, st);
        sti = st == X86_OK && i.mnem == X86I_sti;
        g.pc = g.next;
    }
}
