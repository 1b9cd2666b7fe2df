/* String instructions: single steps as IR, repeated ones and INS/OUTS by helper_rep, which returns 1 when there is more to do. SDM vol. 1 ch. 7.3.9. */
#include "frontend-x86/gen.h"
#include "frontend-x86/helper_int.h"

static void advance(struct x86_gen *g, unsigned reg, unsigned size, unsigned as)
{
    struct ir_mem m = { .base = reg, .index = XG_DF, .seg = IR_NONE, .scale = (uint8_t)__builtin_ctz(size) };
    if (as == 2)
        ir_mov(g->ir, 2, reg, ir_lea(g->ir, 4, IR_NONE, &m));
    else
        ir_lea(g->ir, as, reg, &m);
}

static unsigned source(const struct x86_insn *i) { return i->seg_override != X86_NOREG ? i->seg_override : X86_DS; }

static void repeated(struct x86_gen *g, const struct x86_insn *i, unsigned kind, unsigned size, bool rep)
{
    uint64_t what = kind | size << 4 | i->addrsize << 8 | source(i) << 12 | (rep ? 1u << 16 : 0) | (i->repne ? 1u << 17 : 0);
    uint32_t more = ir_new_label(g->ir), done = ir_new_label(g->ir);
    bool fast = (kind == REP_MOVS || kind == REP_STOS) && i->addrsize != 2 && !gen_boundary(g) && !(g->mode & (XM_COUNT | XM_AC));
    if (fast)
        ir_brnz(g->ir, 4, ir_call(g->ir, H_rep_fast, ir_temp(g->ir), gen_const(g, what), IR_NONE, IR_NONE), done);
    ir_ref r = ir_call(g->ir, H_rep, ir_temp(g->ir), gen_const(g, what), IR_NONE, IR_NONE);
    ir_brnz(g->ir, 4, r, more);
    gen_lookup_next(g);
    ir_label(g->ir, more);
    if (!(g->mode & (XM_TF | XM_DR))) {
        gen_lookup_at(g, gen_const_pc(g, g->pc));
        if (fast) {
            ir_label(g->ir, done);
            gen_goto(g, g->next);
        }
        return;
    }
    ir_setpc(g->ir, gen_const_pc(g, g->pc));              /* RF stays: a breakpoint here has been passed */
    ir_call(g->ir, H_single_step, IR_NONE, gen_const(g, g->mode & XM_TF ? 3 : 1), gen_const_pc(g, g->pc), IR_NONE);
    ir_exit(g->ir, 0);
}

static void single(struct x86_gen *g, const struct x86_insn *i, unsigned kind, unsigned size)
{
    unsigned as = i->addrsize;
    struct ir_mem s, d;
    ir_ref v = X86_RAX;
    if (kind == REP_MOVS || kind == REP_LODS || kind == REP_CMPS) {
        s = gen_mem_reg(g, source(i), X86_RSI, 0, as, size, GEN_R);
        v = ir_ld(g->ir, size, IR_LD_PLAIN, kind == REP_LODS ? X86_RAX : IR_NONE, &s);
    }
    if (kind == REP_MOVS || kind == REP_STOS) {
        d = gen_mem_reg(g, X86_ES, X86_RDI, 0, as, size, GEN_W);
        ir_st(g->ir, size, &d, v);
    } else if (kind == REP_CMPS || kind == REP_SCAS) {
        d = gen_mem_reg(g, X86_ES, X86_RDI, 0, as, size, GEN_R);
        ir_cmp(g->ir, IR_sub, size, v, ir_ld(g->ir, size, IR_LD_PLAIN, IR_NONE, &d));
    }
    if (kind == REP_MOVS || kind == REP_LODS || kind == REP_CMPS)
        advance(g, X86_RSI, size, as);
    if (kind != REP_LODS)
        advance(g, X86_RDI, size, as);
}

void gen_string(struct x86_gen *g, const struct x86_insn *i)
{
    static const uint8_t kinds[16] = { [4] = REP_MOVS, [6] = REP_CMPS, [10] = REP_STOS, [12] = REP_LODS, [14] = REP_SCAS };
    unsigned kind = kinds[i->opcode & 14], size = i->opcode & 1 ? i->opsize : 1;
    if (i->rep || i->repne)
        repeated(g, i, kind, size, true);
    else
        single(g, i, kind, size);
}

void gen_ins_outs(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned size = !(i->opcode & 1) ? 1 : i->opsize == 2 ? 2 : 4;
    repeated(g, i, i->opcode & 2 ? REP_OUTS : REP_INS, size, i->rep || i->repne);
}
