/* Moves: mov movzx movsx movsxd lea xchg xadd cmpxchg cmpxchg8b/16b bswap movbe cbw cwd setcc cmovcc xlat nop ud. SDM vol. 1 ch. 7.3.1. */
#include "core/vm.h"
#include "frontend-x86/gen.h"

void gen_mov(struct x86_gen *g, const struct x86_insn *i)
{
    const struct x86_operand *o = &i->o[0];
    if (o->kind == OK_GPR && i->o[1].kind == OK_MEM) {
        struct ir_mem m = gen_mem(g, i, o->size, GEN_R);
        ir_ld(g->ir, o->size, IR_LD_PLAIN, o->reg, &m);
        return;
    }
    gen_put(g, i, 0, gen_get(g, i, 1));
}

void gen_movx(struct x86_gen *g, const struct x86_insn *i)
{
    const struct x86_operand *o = &i->o[0];
    unsigned from = i->o[1].size;
    bool sx = i->row->mnem != X86I_movzx;
    if (from >= o->size) {
        gen_put_reg(g, o, gen_get(g, i, 1));
        return;
    }
    if (i->o[1].kind == OK_MEM && o->size >= 4) {
        struct ir_mem m = gen_mem(g, i, from, GEN_R);
        ir_ld(g->ir, from, sx ? o->size == 8 ? IR_LD_SX8 : IR_LD_SX4 : IR_LD_ZX, o->reg, &m);
        return;
    }
    ir_ext(g->ir, sx ? IR_sext : IR_zext, o->size, from, o->reg, gen_get(g, i, 1));
}

void gen_lea(struct x86_gen *g, const struct x86_insn *i) { gen_ea(g, i, i->o[0].size, i->o[0].reg); }

/* Memory: always locked; the old value is in a temp until the access is through. */
void gen_xchg(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned mi = i->o[0].kind == OK_MEM ? 0 : 1, ri = !mi, size = i->o[0].size;
    if (i->o[mi].kind == OK_MEM) {
        ir_ref t = ir_temp(g->ir), v = gen_get(g, i, ri);
        struct ir_mem m = gen_mem(g, i, size, GEN_RW);
        ir_rmw(g->ir, RMW_xchg, size, t, &m, v, IRF_LOCK);
        gen_put_reg(g, &i->o[ri], t);
        return;
    }
    ir_ref t = ir_mov(g->ir, size, ir_temp(g->ir), gen_get(g, i, 0));
    gen_put_reg(g, &i->o[0], gen_get(g, i, 1));
    gen_put_reg(g, &i->o[1], t);
}

void gen_xadd(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned size = i->o[0].size;
    ir_ref t = ir_temp(g->ir), v = gen_get(g, i, 1);
    if (i->o[0].kind == OK_MEM) {
        struct ir_mem m = gen_mem(g, i, size, GEN_RW);
        ir_rmw(g->ir, RMW_xadd, size, t, &m, v, IRF_FLAGS | (i->lock ? IRF_LOCK : 0));
        gen_put_reg(g, &i->o[1], t);
        return;
    }
    ir_mov(g->ir, size, t, gen_get(g, i, 0));
    ir_ref s = ir_op2(g->ir, IR_add, size, ir_temp(g->ir), t, v, IRF_FLAGS);
    gen_put_reg(g, &i->o[1], t);
    gen_put_reg(g, &i->o[0], s);
}

/* Registers: flags of cmp acc,dst; what is not to change is not written: a 32-bit write would clear the upper half. */
void gen_cmpxchg(struct x86_gen *g, const struct x86_insn *i)
{
    const struct x86_operand *o = &i->o[0];
    unsigned size = o->size;
    ir_ref v = gen_get(g, i, 1);
    if (o->kind == OK_MEM) {
        struct ir_mem m = gen_mem(g, i, size, GEN_RW);
        ir_cmpxchg(g->ir, size, X86_RAX, &m, v, IRF_FLAGS | (i->lock ? IRF_LOCK : 0));
        return;
    }
    ir_ref old = ir_mov(g->ir, size, ir_temp(g->ir), gen_get(g, i, 0)), acc = ir_temp(g->ir), res = ir_temp(g->ir);
    ir_cmp(g->ir, IR_sub, size, X86_RAX, old);
    if (size < 4) {
        ir_cmov(g->ir, size, CC_E, res, v, old);
        ir_cmov(g->ir, size, CC_E, acc, X86_RAX, old);
        ir_mov(g->ir, size, X86_RAX, acc);
        gen_put_reg(g, o, res);
        return;
    }
    ir_ref keep = ir_mov(g->ir, 8, ir_temp(g->ir), o->reg);
    if (size == 4) {
        old = ir_ext(g->ir, IR_zext, 8, 4, IR_NONE, old);
        v = ir_ext(g->ir, IR_zext, 8, 4, IR_NONE, v);
    }
    ir_cmov(g->ir, 8, CC_E, res, v, keep);
    ir_cmov(g->ir, 8, CC_E, acc, X86_RAX, old);
    ir_mov(g->ir, 8, X86_RAX, acc);
    ir_mov(g->ir, 8, o->reg, res);
}

void gen_cmpxchg8b(struct x86_gen *g, const struct x86_insn *i)
{
    bool wide = i->rex & 8;
    struct ir_mem m = gen_mem(g, i, wide ? 16 : 8, wide ? GEN_RW | GEN_NOALIGN : GEN_RW);          /* 16 bytes: #GP, by the helper */
    ir_call(g->ir, wide ? H_cmpxchg16b : H_cmpxchg8b, IR_NONE, gen_linear(g, &m), gen_const(g, i->lock), IR_NONE);
}

void gen_bswap(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref r = i->o[0].reg;
    if (i->o[0].size == 2)
        ir_mov(g->ir, 2, r, gen_const(g, 0));          /* undefined by the manual; processors clear the word */
    else
        ir_op1(g->ir, IR_bswap, i->o[0].size, r, r, 0);
}

static ir_ref swapped(struct x86_gen *g, unsigned size, ir_ref v)
{
    if (size == 2)
        return ir_op2(g->ir, IR_rol, 2, IR_NONE, v, gen_const(g, 8), 0);
    return ir_op1(g->ir, IR_bswap, size, IR_NONE, v, 0);
}

void gen_movbe(struct x86_gen *g, const struct x86_insn *i) { gen_put(g, i, 0, swapped(g, i->o[0].size, gen_get(g, i, 1))); }

void gen_cbw(struct x86_gen *g, const struct x86_insn *i) { ir_ext(g->ir, IR_sext, i->opsize, i->opsize / 2, X86_RAX, X86_RAX); }

void gen_cwd(struct x86_gen *g, const struct x86_insn *i)
{
    ir_op2(g->ir, IR_sar, i->opsize, X86_RDX, X86_RAX, gen_const(g, 8 * i->opsize - 1), 0);
}

void gen_setcc(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned cc = i->opcode & 15;
    if (i->o[0].kind == OK_GPR)
        ir_setcc(g->ir, cc, i->o[0].reg);
    else
        gen_put(g, i, 0, ir_setcc(g->ir, cc, ir_temp(g->ir)));
}

void gen_cmovcc(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref d = i->o[0].reg, v = gen_get(g, i, 1);
    ir_cmov(g->ir, i->o[0].size, i->opcode & 15, d, v, d);
}

void gen_xlat(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned as = i->addrsize;
    ir_ref al = ir_ext(g->ir, IR_zext, 8, 1, IR_NONE, X86_RAX);
    ir_ref a = ir_op2(g->ir, IR_add, as == 2 ? 4 : as, IR_NONE, X86_RBX, al, 0);
    struct ir_mem m = gen_mem_reg(g, i->seg_override != X86_NOREG ? i->seg_override : X86_DS, a, 0, as, 1, GEN_R);
    ir_ld(g->ir, 1, IR_LD_PLAIN, X86_RAX, &m);
}

void gen_nop(struct x86_gen *g, const struct x86_insn *i) { }

/* What it waits for may need the host's processor. */
void gen_pause(struct x86_gen *g, const struct x86_insn *i)
{
    if (g->cpu->vcpu->vm->n_vcpus > 1)
        ir_call(g->ir, H_pause, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
}

void gen_ud(struct x86_gen *g, const struct x86_insn *i) { gen_undef(g); }
