/*
 * SSE and AVX instructions that are not plain re-emission: MXCSR, state save and restore, gathers and masked moves (their faults belong
 * to active elements only, so helpers do them element by element on the saved FPU image). SDM vol. 1 ch. 10, 13; vol. 2 VGATHER, MASKMOV.
 */
#include "frontend-x86/gen_native.h"
#include "frontend-x86/helper_fpu.h"
#include "frontend-x86/rows.h"
#include "tcg/native.h"

void gen_mxcsr(struct x86_gen *g, const struct x86_insn *i)
{
    if (!gen_sse_forbidden(g, i, true))
        gen_native_emit(g, i, NATIVE_FPU);
}

static bool is_fx(const struct x86_insn *i)
{
    return i->mnem == X86I_fxsave || i->mnem == X86I_fxsave64 || i->mnem == X86I_fxrstor || i->mnem == X86I_fxrstor64;
}

void gen_fxsave(struct x86_gen *g, const struct x86_insn *i)
{
    static const uint8_t fx_helper[2] = { H_fxsave, H_fxrstor };
    unsigned ext = (i->modrm >> 3) & 7, how = (gen_code64(g) ? FPU_H_CODE64 : 0) | (i->rex & 8 ? FPU_H_WIDE : 0);
    struct ir_mem m;
    if (is_fx(i)) {
        if (gen_x87_forbidden(g))
            return;
        m = gen_mem(g, i, 512, i->o[0].access | GEN_ALIGN4);          /* before its own rule of 16 */
        ir_call(g->ir, fx_helper[ext & 1], IR_NONE, gen_linear(g, &m), gen_const(g, how), IR_NONE);
        gen_ferr(g);
        return;
    }
    if (!(g->mode & XM_OSXSAVE)) {
        gen_undef(g);
        return;
    }
    if (g->mode & XM_TS) {
        gen_raise(g, X86_NM, false, 0);
        return;
    }
    bool compact = i->opcode == 0xc7, restore = ext == (compact ? 3 : 5);
    if (compact && ext != 4 && gen_cpl(g)) {         /* XSAVES, XRSTORS; not by the row: #UD and #NM come first */
        gen_gp0(g);
        return;
    }
    m = gen_mem(g, i, 576, restore ? GEN_R : GEN_W);
    how |= compact ? FPU_H_COMPACT : ext == 6 ? FPU_H_INIT_OPT : 0;
    ir_call(g->ir, restore ? H_xrstor : H_xsave, IR_NONE, gen_linear(g, &m), gen_const(g, how), IR_NONE);
    gen_ferr(g);
}

/* Base + displacement without the vector index; the helper adds the rest and checks the segment per element. */
void gen_gather(struct x86_gen *g, const struct x86_insn *i)
{
    if (gen_sse_forbidden(g, i, true))
        return;
    struct x86_insn plain = *i;
    plain.mem.index = X86_NOREG;
    plain.mem.vsib = false;
    plain.mem.scale = 0;
    ir_ref ea = gen_ea(g, &plain, 8, IR_NONE);
    uint32_t how = i->o[0].reg | (uint32_t)i->mem.index << 4 | (uint32_t)i->o[2].reg << 8 | (uint32_t)i->mem.scale << 12;
    how |= (i->vex_l ? FPU_G_L : 0) | (i->vex_w ? FPU_G_W : 0) | (i->opcode & 1 ? FPU_G_QINDEX : 0) | (i->addrsize != 8 ? FPU_ADDR32 : 0);
    ir_call(g->ir, H_gather, IR_NONE, ea, gen_const(g, how), gen_const(g, i->mem.seg));
}

/* EVEX: the destination is the register of a gather, memory of a scatter. */
void gen_gather512(struct x86_gen *g, const struct x86_insn *i)
{
    if (gen_avx512_forbidden(g, i))
        return;
    struct x86_insn plain = *i;
    bool store = i->o[0].kind == OK_MEM;
    plain.mem.index = X86_NOREG;
    plain.mem.vsib = false;
    plain.mem.scale = 0;
    ir_ref ea = gen_ea(g, &plain, 8, IR_NONE);
    uint32_t how = i->o[store].reg | (uint32_t)i->mem.index << 8 | (uint32_t)i->evex_k << 16 | (uint32_t)i->mem.scale << 20 | (store ? FPU_S_STORE : 0);
    how |= (i->vex_w ? FPU_S_W : 0) | (i->opcode & 1 ? FPU_S_QINDEX : 0) | (uint32_t)i->vex_l << FPU_S_LENGTH_SHIFT | (i->addrsize != 8 ? FPU_ADDR32 : 0);
    ir_call(g->ir, H_gather512, IR_NONE, ea, gen_const(g, how), gen_const(g, i->mem.seg));
}

/* MASKMOVQ, MASKMOVDQU: [DS:rDI]; segment override allowed. */
static void maskmov_legacy(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned seg = i->seg_override != X86_NOREG ? i->seg_override : X86_DS;
    bool mmx = i->o[0].kind == OK_MMX;
    struct ir_mem m = gen_mem_reg(g, seg, X86_RDI, 0, i->addrsize, mmx ? 8 : 16, GEN_W | GEN_ALIGN8);
    if (mmx)
        gen_wait(g);
    uint32_t how = i->o[0].reg | (uint32_t)i->o[1].reg << 4 | FPU_M_STORE | FPU_M_BYTES | (mmx ? FPU_M_MMX : 0);
    ir_call(g->ir, H_maskmov, IR_NONE, gen_linear(g, &m), gen_const(g, how), gen_const(g, X86_SEGS));
}

void gen_maskmov(struct x86_gen *g, const struct x86_insn *i)
{
    if (gen_sse_forbidden(g, i, i->o[0].kind != OK_MMX))
        return;
    if (i->opcode == 0xf7) {
        maskmov_legacy(g, i);
        return;
    }
    bool store = i->o[0].kind == OK_MEM;
    uint32_t how = (store ? i->o[2].reg : i->o[0].reg) | (uint32_t)i->o[1].reg << 4 | (store ? FPU_M_STORE : 0) | (i->vex_l ? FPU_M_L : 0);
    how |= i->vex_w || i->opcode == 0x2d || i->opcode == 0x2f ? FPU_M_QUADS : 0;
    how |= (i->addrsize == 4 ? FPU_ADDR32 : 0) | (i->addrsize == 2 ? FPU_ADDR16 : 0);
    ir_call(g->ir, H_maskmov, IR_NONE, gen_ea(g, i, 8, IR_NONE), gen_const(g, how), gen_const(g, i->mem.seg));
}
