/*
 * Near branches: call jmp ret jcc jcxz loop. Targets are guest pcs cut to the operand size, and checked against CS's limit before anything is
 * written. In 64-bit code the target must be canonical: #GP(0) is the branch's own fault, with rip and rSP as before it.
 * SDM vol. 1 ch. 6.4, 7.3.8.
 */
#include "frontend-x86/gen.h"

static uint64_t target(const struct x86_gen *g, const struct x86_insn *i) { return gen_pc(g, g->next + i->o[0].imm, i->opsize); }

/* To a pc in V; under single step the boundary work of the block end is done by gen_lookup_at's path. */
static void go(struct x86_gen *g, ir_ref v)
{
    if (gen_boundary(g)) {
        gen_lookup_at(g, v);
        return;
    }
    ir_jmpi(g->ir, v);
    g->end = true;
}

/* To a pc in V that was computed. begin comes before the first write: what is not canonical leaves for the end, where it is a fault. */
#define NO_LABEL ~0u
static uint32_t begin_computed(struct x86_gen *g, ir_ref v, unsigned size)
{
    gen_target_check(g, v, size);
    if (!gen_code64(g) || size != 8)
        return NO_LABEL;
    uint32_t bad = ir_new_label(g->ir);
    ir_ref low = ir_op2(g->ir, IR_shl, 8, IR_NONE, v, gen_const(g, 64 - gen_va_bits(g)), 0);
    ir_ref t = ir_op2(g->ir, IR_sar, 8, IR_NONE, low, gen_const(g, 64 - gen_va_bits(g)), 0);
    ir_brnz(g->ir, 8, ir_op2(g->ir, IR_xor, 8, IR_NONE, t, v, 0), bad);
    return bad;
}

/* The check can wait for the jump (jmpc): nothing but RSP is written in between, and it adds to that. */
static bool leave_checked(struct x86_gen *g, ir_ref v, unsigned size, ir_ref d, uint32_t add)
{
    if (!gen_code64(g) || size != 8 || gen_boundary(g))
        return false;
    ir_jmpc(g->ir, v, gen_va_bits(g), d, add);
    gen_gp0(g);
    return true;
}

static void end_computed(struct x86_gen *g, ir_ref v, uint32_t bad)
{
    go(g, v);
    if (bad == NO_LABEL)
        return;
    ir_label(g->ir, bad);
    gen_gp0(g);
}

static ir_ref indirect(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned size = i->opsize;
    ir_ref v = ir_temp(g->ir);
    if (i->o[0].kind == OK_MEM) {
        struct ir_mem m = gen_mem(g, i, size, GEN_R);
        return ir_ld(g->ir, size, IR_LD_ZX, v, &m);
    }
    if (size == 8)
        return ir_mov(g->ir, 8, v, i->o[0].reg);
    return ir_ext(g->ir, IR_zext, 8, size, v, i->o[0].reg);
}

void gen_call(struct x86_gen *g, const struct x86_insn *i)
{
    bool direct = i->o[0].kind == OK_REL;
    ir_ref v = direct ? IR_NONE : indirect(g, i);
    uint32_t bad = NO_LABEL;
    if (!direct)
        bad = begin_computed(g, v, i->opsize);
    else if (!gen_target_const(g, target(g, i)))
        return;
    gen_push_val(g, gen_const_pc(g, g->next), i->opsize);
    if (direct)
        gen_goto(g, target(g, i));
    else
        end_computed(g, v, bad);
}

void gen_jmp(struct x86_gen *g, const struct x86_insn *i)
{
    if (i->o[0].kind == OK_REL) {
        gen_goto(g, target(g, i));
        return;
    }
    ir_ref v = indirect(g, i);
    if (!leave_checked(g, v, i->opsize, IR_NONE, 0))
        end_computed(g, v, begin_computed(g, v, i->opsize));
}

void gen_ret(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned s = i->opsize;
    struct ir_mem m = gen_mem_reg(g, X86_SS, X86_RSP, 0, gen_stack_size(g), s, GEN_R);
    ir_ref v = ir_ld(g->ir, s, IR_LD_ZX, IR_NONE, &m);
    uint32_t add = s + (i->n_opnd ? (uint32_t)i->o[0].imm & 0xffff : 0);
    if (leave_checked(g, v, s, X86_RSP, add))
        return;
    uint32_t bad = begin_computed(g, v, s);
    gen_sp_add(g, (int32_t)add);
    end_computed(g, v, bad);
}

/* The taken side leaves at the label's place: pc is set by setpc, so that single step sees it too. */
static void leave_to(struct x86_gen *g, uint64_t pc)
{
    if (!gen_target_const(g, pc))
        return;
    if (gen_boundary(g))
        gen_lookup_at(g, gen_const_pc(g, pc));
    else
        ir_jmp(g->ir, pc);
}

/* A target that gets a check of its own: on the taken side only. */
static bool far_target(const struct x86_gen *g, uint64_t pc)
{
    if (gen_code64(g))
        return !x86_canonical_in(pc, gen_va_bits(g));
    return !(g->mode & (XM_FLAT | XM_LIM4G)) && !((g->mode & XM_LIM64K) && pc <= 0xffff);
}

void gen_jcc(struct x86_gen *g, const struct x86_insn *i)
{
    if (gen_boundary(g) || far_target(g, target(g, i))) {
        uint32_t taken = ir_new_label(g->ir);
        ir_brcc(g->ir, i->opcode & 15, taken);
        leave_to(g, g->next);
        ir_label(g->ir, taken);
        leave_to(g, target(g, i));
        g->end = true;
        return;
    }
    ir_jcc(g->ir, i->opcode & 15, target(g, i));
}

/* brz/brnz to the end of the taken side; not taken: on with the next instruction in another block. */
static void on_zero(struct x86_gen *g, unsigned size, ir_ref r, bool zero, uint64_t pc)
{
    uint32_t taken = ir_new_label(g->ir);
    if (zero)
        ir_brz(g->ir, size, r, taken);
    else
        ir_brnz(g->ir, size, r, taken);
    leave_to(g, g->next);
    ir_label(g->ir, taken);
    leave_to(g, pc);
    g->end = true;
}

void gen_jcxz(struct x86_gen *g, const struct x86_insn *i) { on_zero(g, i->addrsize, X86_RCX, true, target(g, i)); }

void gen_loop(struct x86_gen *g, const struct x86_insn *i)
{
    struct ir_mem m = { .base = X86_RCX, .index = IR_NONE, .seg = IR_NONE, .disp = -1 };
    uint32_t out = ir_new_label(g->ir);
    if (i->addrsize == 2)
        ir_op2(g->ir, IR_sub, 2, X86_RCX, X86_RCX, gen_const(g, 1), 0);
    else
        ir_lea(g->ir, i->addrsize, X86_RCX, &m);
    if (i->row->mnem == X86I_loop) {
        on_zero(g, i->addrsize, X86_RCX, false, target(g, i));
        return;
    }
    ir_brcc(g->ir, i->row->mnem == X86I_loope ? CC_NE : CC_E, out);
    ir_brz(g->ir, i->addrsize, X86_RCX, out);
    leave_to(g, target(g, i));
    ir_label(g->ir, out);
    leave_to(g, g->next);
    g->end = true;
}
