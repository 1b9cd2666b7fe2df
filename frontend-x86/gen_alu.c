/*
 * Arithmetic of two and one operands: add or adc sbb and sub xor cmp test inc dec neg not, and the flag instructions clc stc cmc cld std
 * lahf sahf salc. A memory destination is one rmw op, so that it is one access and can be locked. SDM vol. 1 ch. 7.3.
 */
#include "frontend-x86/gen.h"

struct alu { uint16_t mnem; uint8_t op, rmw; };
static const struct alu alus[] = {
    { X86I_add, IR_add, RMW_add }, { X86I_or, IR_or, RMW_or }, { X86I_adc, IR_adc, RMW_adc }, { X86I_sbb, IR_sbb, RMW_sbb },
    { X86I_and, IR_and, RMW_and }, { X86I_sub, IR_sub, RMW_sub }, { X86I_xor, IR_xor, RMW_xor }, { X86I_cmp, IR_sub, RMW_sub },
    { X86I_inc, IR_inc, RMW_inc }, { X86I_dec, IR_dec, RMW_dec }, { X86I_neg, IR_neg, RMW_neg }, { X86I_not, IR_not, RMW_not },
};

static const struct alu *find(unsigned mnem)
{
    const struct alu *a = alus;
    while (a->mnem != mnem)
        a++;
    return a;
}

static ir_ref dest(struct x86_gen *g, const struct x86_operand *o) { return o->kind == OK_GPRH ? ir_temp(g->ir) : o->reg; }

static void finish(struct x86_gen *g, const struct x86_operand *o, ir_ref d)
{
    if (o->kind == OK_GPRH)
        gen_put_reg(g, o, d);
}

void gen_alu(struct x86_gen *g, const struct x86_insn *i)
{
    const struct alu *a = find(i->row->mnem);
    const struct x86_operand *o = &i->o[0];
    if (i->row->mnem == X86I_cmp) {
        ir_ref x = gen_get(g, i, 0);
        ir_cmp(g->ir, IR_sub, o->size, x, gen_get(g, i, 1));
        return;
    }
    if (o->kind == OK_MEM) {
        ir_ref v = gen_get(g, i, 1);
        struct ir_mem m = gen_mem(g, i, o->size, GEN_RW);
        ir_rmw(g->ir, a->rmw, o->size, IR_NONE, &m, v, IRF_FLAGS | (i->lock ? IRF_LOCK : 0));
        return;
    }
    ir_ref x = gen_get(g, i, 0), y = gen_get(g, i, 1), d = dest(g, o);
    ir_op2(g->ir, a->op, o->size, d, x, y, IRF_FLAGS);
    finish(g, o, d);
}

void gen_test(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref x = gen_get(g, i, 0);
    ir_cmp(g->ir, IR_and, i->o[0].size, x, gen_get(g, i, 1));
}

static void unary(struct x86_gen *g, const struct x86_insn *i)
{
    const struct alu *a = find(i->row->mnem);
    const struct x86_operand *o = &i->o[0];
    unsigned fl = i->row->mnem == X86I_not ? 0 : IRF_FLAGS;
    if (o->kind == OK_MEM) {
        struct ir_mem m = gen_mem(g, i, o->size, GEN_RW);
        ir_rmw(g->ir, a->rmw, o->size, IR_NONE, &m, gen_const(g, 1), fl | (i->lock ? IRF_LOCK : 0));
        return;
    }
    ir_ref x = gen_get(g, i, 0), d = dest(g, o);
    ir_op1(g->ir, a->op, o->size, d, x, fl);
    finish(g, o, d);
}

void gen_incdec(struct x86_gen *g, const struct x86_insn *i) { unary(g, i); }
void gen_negnot(struct x86_gen *g, const struct x86_insn *i) { unary(g, i); }

void gen_flagop(struct x86_gen *g, const struct x86_insn *i)
{
    switch (i->row->mnem) {
    case X86I_clc: ir_setcf(g->ir, 0); break;
    case X86I_stc: ir_setcf(g->ir, 1); break;
    case X86I_cmc: ir_setcf(g->ir, 2); break;
    case X86I_cld: ir_mov(g->ir, 8, XG_DF, gen_const(g, 1)); break;
    default: ir_mov(g->ir, 8, XG_DF, gen_const(g, ~0ull)); break;
    }
}

void gen_lahf(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref f = ir_op2(g->ir, IR_or, 4, IR_NONE, ir_getf(g->ir), gen_const(g, 2), 0);
    ir_op2(g->ir, IR_deph, 8, X86_RAX, X86_RAX, f, 0);
}

void gen_sahf(struct x86_gen *g, const struct x86_insn *i)
{
    ir_setf(g->ir, ir_op1(g->ir, IR_exth, 1, ir_temp(g->ir), X86_RAX, 0), FL_ALL & 0xff);
}

void gen_salc(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref t = ir_setcc(g->ir, CC_B, ir_temp(g->ir));
    ir_op1(g->ir, IR_neg, 1, X86_RAX, t, 0);
}
