/*
 * Stack: push pop pusha popa pushf popf enter leave. The store or load comes before rSP moves; a PUSHA that faults half way has written
 * what lies below the stack and nothing else, as the processor's own order of stores does. SDM vol. 1 ch. 6.2.
 */
#include "frontend-x86/gen.h"

/* Operand size of a push: forced to 8 in 64-bit code unless 66 makes it 2 (decoded into opsize). */
void gen_push(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref v = gen_get(g, i, 0);
    gen_push_val(g, v, i->opsize);
}

/* pop mem: the address uses rSP after the pop, so rSP is computed as a value first; a fault of the store leaves rSP alone. */
static void pop_mem(struct x86_gen *g, const struct x86_insn *i, ir_ref v)
{
    struct x86_insn t = *i;
    unsigned size = i->opsize;
    if (i->mem.base == X86_RSP)
        t.mem.disp += size;
    struct ir_mem m = gen_mem(g, &t, size, GEN_W);
    ir_st(g->ir, size, &m, v);
    gen_sp_add(g, (int32_t)size);
}

void gen_pop(struct x86_gen *g, const struct x86_insn *i)
{
    if (i->o[0].kind == OK_GPR && i->o[0].reg != X86_RSP) {      /* once loaded nothing can fault */
        struct ir_mem m = gen_mem_reg(g, X86_SS, X86_RSP, 0, gen_stack_size(g), i->opsize, GEN_R);
        ir_ld(g->ir, i->opsize, IR_LD_PLAIN, i->o[0].reg, &m);
        gen_sp_add(g, i->opsize);
        return;
    }
    ir_ref v = gen_pop_ld(g, i->opsize);
    if (i->o[0].kind == OK_MEM) {
        pop_mem(g, i, v);
        return;
    }
    gen_sp_add(g, i->opsize);
    ir_mov(g->ir, i->opsize, i->o[0].reg, v);
}

void gen_pusha(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned s = i->opsize, ss = gen_stack_size(g);
    for (unsigned r = 0; r < 8; r++) {
        struct ir_mem m = gen_mem_reg(g, X86_SS, X86_RSP, -(int32_t)(s * (r + 1)), ss, s, GEN_W);
        ir_st(g->ir, s, &m, r);
    }
    gen_sp_add(g, -8 * (int32_t)s);
}

void gen_popa(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned s = i->opsize, ss = gen_stack_size(g);
    ir_ref v[8];
    for (unsigned k = 0; k < 8; k++) {
        struct ir_mem m = gen_mem_reg(g, X86_SS, X86_RSP, (int32_t)(s * k), ss, s, GEN_R);
        v[k] = ir_ld(g->ir, s, IR_LD_PLAIN, IR_NONE, &m);
    }
    gen_sp_add(g, 8 * (int32_t)s);
    for (unsigned k = 0; k < 8; k++)
        if (7 - k != X86_RSP)
            ir_mov(g->ir, s, 7 - k, v[k]);
}

static bool v86_barred(const struct x86_gen *g) { return (g->mode & XM_VM86) && XM_IOPL(g->mode) != 3; }

void gen_pushf(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref f = v86_barred(g) ? ir_call(g->ir, H_pushf_vme, ir_temp(g->ir), gen_const(g, i->opsize), IR_NONE, IR_NONE)
                             : ir_call(g->ir, H_pushf, ir_temp(g->ir), IR_NONE, IR_NONE, IR_NONE);
    gen_push_val(g, f, i->opsize);
}

void gen_popf(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref v = gen_pop_ld(g, i->opsize);
    if (v86_barred(g)) {
        ir_call(g->ir, H_popf_vme, IR_NONE, v, gen_const(g, i->opsize), IR_NONE);
        gen_sp_add(g, i->opsize);
    } else {
        gen_sp_add(g, i->opsize);
        ir_call(g->ir, H_popf, IR_NONE, v, gen_const(g, i->opsize), IR_NONE);
    }
    gen_lookup_next(g);
}

void gen_leave(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned s = i->opsize, ss = gen_stack_size(g);
    struct ir_mem m = gen_mem_reg(g, X86_SS, X86_RBP, 0, ss, s, GEN_R);
    ir_ref v = ir_ld(g->ir, s, IR_LD_PLAIN, IR_NONE, &m);
    ir_mov(g->ir, ss, X86_RSP, X86_RBP);
    gen_sp_add(g, (int32_t)s);
    ir_mov(g->ir, s, X86_RBP, v);
}

void gen_enter(struct x86_gen *g, const struct x86_insn *i)
{
    ir_call(g->ir, H_enter, IR_NONE, gen_const(g, i->o[0].imm & 0xffff), gen_const(g, i->o[1].imm & 31), gen_const(g, i->opsize));
}
