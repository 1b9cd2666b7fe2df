/*
 * x87: instructions are re-emitted (gen_native.c); those that store or load the instruction and data pointers (environment, whole
 * state) go through helpers, because the host's pointers are addresses of translated code. All but FWAIT want CR0.TS and EM clear.
 * SDM vol. 1 ch. 8, vol. 3 ch. 2.5.
 */
#include "frontend-x86/gen_native.h"
#include "frontend-x86/rows.h"
#include "tcg/native.h"

/* Errors may be gone: with CR0.NE clear that is seen outside. */
void gen_ferr(struct x86_gen *g)
{
    if (!(g->mode & XM_NE))
        ir_call(g->ir, H_ferr, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
}

void gen_x87(struct x86_gen *g, const struct x86_insn *i)
{
    if (gen_x87_forbidden(g))
        return;
    if (i->n_opnd && i->o[0].kind == OK_MEM && i->mnem != X86I_fnstcw)
        gen_wait(g);
    gen_native_emit(g, i, NATIVE_FPU);
    if (i->mnem == X86I_fninit)
        ir_call(g->ir, H_x87_init, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    if (i->mnem == X86I_fninit || i->mnem == X86I_fnclex)
        gen_ferr(g);
}

void gen_fnstsw(struct x86_gen *g, const struct x86_insn *i)
{
    if (gen_x87_forbidden(g))
        return;
    if (i->o[0].kind == OK_MEM) {
        gen_native_emit(g, i, NATIVE_FPU);
        return;
    }
    struct ir_native *n = ir_native(g->ir, X86_RAX, IR_NONE, IR_NONE, IR_NONE, IR_NONE, NULL, 0);
    *n = (struct ir_native){ .kind = NATIVE_FPU, .enc = NENC_LEGACY, .opcode = i->opcode, .has_modrm = true, .reg = 4, .out_ax = true, .align = 1 };
}

void gen_fwait(struct x86_gen *g, const struct x86_insn *i)
{
    if ((g->mode & (XM_TS | XM_MP)) == (XM_TS | XM_MP)) {
        gen_raise(g, X86_NM, false, 0);
        return;
    }
    gen_wait(g);
}

void gen_x87_env(struct x86_gen *g, const struct x86_insn *i)
{
    if (gen_x87_forbidden(g))
        return;
    struct ir_mem m = gen_mem(g, i, i->o[0].size, i->o[0].access | (i->opsize == 2 ? GEN_ALIGN2 : GEN_ALIGN4));
    unsigned h = i->mnem == X86I_fldenv ? H_fldenv : i->mnem == X86I_fnstenv ? H_fnstenv : i->mnem == X86I_fnsave ? H_fnsave : H_frstor;
    if (h == H_fldenv || h == H_frstor)       /* a pending exception is taken before */
        gen_wait(g);
    ir_call(g->ir, h, IR_NONE, gen_linear(g, &m), gen_const(g, i->opsize == 2 ? 2 : 4), IR_NONE);
    gen_ferr(g);
}
