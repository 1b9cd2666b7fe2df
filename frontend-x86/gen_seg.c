/*
 * Generators: far control transfers, IRET, software interrupts, segment register loads and stores, selector questions.
 *
 * Nearly all call a helper (helper_seg.c) that checks and then writes; the block ends after whatever changes the mode. Operands in memory
 * are loaded before the call. For far transfers the CPU state's pc is set to the next instruction's first: the helper pushes it. SDM vol. 2 by name.
 */
#include "frontend-x86/gen_sys.h"

void gen_helper(struct x86_gen *g, enum x86_helper h, ir_ref a, ir_ref b, ir_ref c)
{
    ir_call(g->ir, h, IR_NONE, a, b, c);
}

ir_ref gen_helper_val(struct x86_gen *g, enum x86_helper h, ir_ref a, ir_ref b, ir_ref c)
{
    ir_ref d = ir_temp(g->ir);
    ir_call(g->ir, h, d, a, b, c);
    return d;
}

void gen_set_pc(struct x86_gen *g, uint64_t pc)
{
    ir_setpc(g->ir, gen_const_pc(g, pc));
}

/* The instruction has set the pc: boundary work as in gen_lookup_at. */
void gen_lookup(struct x86_gen *g)
{
    if (g->mode & (XM_TF | XM_DR)) {
        gen_helper(g, H_single_step, gen_const(g, g->mode & XM_TF ? 2 : 0), gen_const(g, g->next), IR_NONE);
        ir_exit(g->ir, 0);
    } else {
        ir_lookup(g->ir);
    }
    g->end = true;
}

void gen_exit(struct x86_gen *g)
{
    ir_exit(g->ir, 0);
    g->end = true;
}

/* ---- software interrupts ---- */
static void soft_int(struct x86_gen *g, unsigned vector, unsigned soft)
{
    gen_helper(g, H_int_n, gen_const(g, vector), gen_const_pc(g, g->next), gen_const(g, soft));
}

/* When it comes back, the program's own handler is next; TF is clear there, as after any interrupt. */
static void int_v86(struct x86_gen *g, unsigned vector)
{
    gen_helper(g, H_int_v86, gen_const(g, vector), gen_const(g, g->next), IR_NONE);
    if (g->mode & XM_DR) {
        gen_helper(g, H_single_step, gen_const(g, 0), gen_const(g, g->next), IR_NONE);
        gen_exit(g);
        return;
    }
    ir_lookup(g->ir);
    g->end = true;
}

void gen_int(struct x86_gen *g, const struct x86_insn *i)
{
    switch (i->row->mnem) {
    case X86I_int3:
        soft_int(g, X86_BP, 1);
        break;
    case X86I_int1:
        soft_int(g, X86_DB, 0);
        break;
    case X86I_into: {
        uint32_t skip = ir_new_label(g->ir);
        ir_brcc(g->ir, CC_NO, skip);
        soft_int(g, X86_OF, 1);
        ir_label(g->ir, skip);
        gen_goto(g, g->next);
        return;
    }
    default:
        if (g->mode & XM_VM86) {
            int_v86(g, (unsigned)i->o[0].imm & 0xff);
            return;
        }
        soft_int(g, (unsigned)i->o[0].imm & 0xff, 2);
    }
    gen_exit(g);
}

void gen_iret(struct x86_gen *g, const struct x86_insn *i)
{
    gen_set_pc(g, g->next);
    gen_helper(g, H_iret, gen_const(g, i->opsize), IR_NONE, IR_NONE);
    if (!(g->mode & (XM_TF | XM_DR))) {
        gen_lookup(g);
        return;
    }
    gen_helper(g, H_single_step, gen_const(g, g->mode & XM_TF ? 3 : 1), gen_const(g, g->next), IR_NONE);    /* RF as loaded holds for the instruction returned to */
    gen_exit(g);
}

/* ---- far jumps, calls, returns ---- */
/* A far pointer in memory: offset of opsize bytes, then the selector. */
static void load_far(struct x86_gen *g, const struct x86_insn *i, ir_ref *off, ir_ref *sel)
{
    struct ir_mem m = gen_mem(g, i, i->opsize + 2u, GEN_R | (i->opsize == 2 ? GEN_ALIGN2 : i->opsize == 4 ? GEN_ALIGN4 : GEN_ALIGN8));
    struct ir_mem m2 = gen_mem_at(g, m, i->opsize);
    *off = ir_ld(g->ir, i->opsize, IR_LD_ZX, IR_NONE, &m);
    *sel = ir_ld(g->ir, 2, IR_LD_ZX, IR_NONE, &m2);
}

void gen_far(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref off, sel;
    if (i->row->mnem == X86I_retf) {
        unsigned imm = i->n_opnd ? (unsigned)i->o[0].imm & 0xffff : 0;
        gen_helper(g, H_far_ret, gen_const(g, i->opsize), gen_const(g, imm), IR_NONE);
        gen_lookup(g);
        return;
    }
    if (i->o[0].kind == OK_FAR) {
        off = gen_const(g, i->o[0].imm);
        sel = gen_const(g, i->o[0].sel);
    } else {
        load_far(g, i, &off, &sel);
    }
    gen_set_pc(g, g->next);
    gen_helper(g, i->row->mnem == X86I_lcall ? H_far_call : H_far_jmp, sel, off, gen_const(g, i->opsize));
    gen_lookup(g);
}

/* ---- segment registers ---- */
void gen_mov_seg(struct x86_gen *g, const struct x86_insn *i)
{
    if (i->o[0].kind == OK_SEG) {
        unsigned seg = i->o[0].reg;
        if (seg == X86_CS || seg > X86_GS) {
            gen_undef(g);
            return;
        }
        gen_helper(g, H_load_seg, gen_const(g, seg | (seg == X86_SS ? 8 : 0)), gen_get(g, i, 1), IR_NONE);
        gen_lookup_next(g);
        return;
    }
    if (i->o[1].reg > X86_GS) {
        gen_undef(g);
        return;
    }
    gen_put(g, i, 0, gen_helper_val(g, H_read_seg, gen_const(g, i->o[1].reg), IR_NONE, IR_NONE));
}

void gen_push_seg(struct x86_gen *g, const struct x86_insn *i)
{
    gen_push_val(g, gen_helper_val(g, H_read_seg, gen_const(g, i->o[0].reg), IR_NONE, IR_NONE), i->opsize);
}

void gen_pop_seg(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref v = gen_pop_ld(g, i->opsize);
    gen_helper(g, H_load_seg, gen_const(g, i->o[0].reg | (i->o[0].reg == X86_SS ? 8u : 0)), v, IR_NONE);
    gen_sp_add(g, i->opsize);
    gen_lookup_next(g);
}

void gen_lseg(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned seg = i->row->mnem == X86I_les ? X86_ES : i->row->mnem == X86I_lds ? X86_DS : i->row->mnem == X86I_lss ? X86_SS : i->row->mnem == X86I_lfs ? X86_FS : X86_GS;
    ir_ref off, sel;
    load_far(g, i, &off, &sel);
    gen_helper(g, H_load_seg, gen_const(g, seg), sel, IR_NONE);                    /* LSS loads both halves: no shadow */
    gen_put_reg(g, &i->o[0], off);
    gen_lookup_next(g);
}

/* ---- LDTR and TR ---- */
void gen_ldtr(struct x86_gen *g, const struct x86_insn *i)
{
    if (i->row->mnem == X86I_sldt || i->row->mnem == X86I_str) {
        gen_put(g, i, 0, gen_helper_val(g, i->row->mnem == X86I_sldt ? H_sldt : H_str, IR_NONE, IR_NONE, IR_NONE));
        return;
    }
    gen_helper(g, i->row->mnem == X86I_lldt ? H_lldt : H_ltr, gen_get(g, i, 0), IR_NONE, IR_NONE);
}

/* ---- questions: helpers answer with ZF in bit 32 ---- */
static void zf_from(struct x86_gen *g, ir_ref r, unsigned bit)
{
    ir_ref z = bit ? ir_op2(g->ir, IR_shr, 8, IR_NONE, r, gen_const(g, bit), 0) : r;
    z = ir_op2(g->ir, IR_shl, 8, IR_NONE, z, gen_const(g, 6), 0);
    ir_setf(g->ir, z, FL_Z);
}

void gen_lar(struct x86_gen *g, const struct x86_insn *i)
{
    if (i->row->mnem == X86I_verr || i->row->mnem == X86I_verw) {
        ir_ref ok = gen_helper_val(g, i->row->mnem == X86I_verr ? H_verr : H_verw, gen_get(g, i, 0), IR_NONE, IR_NONE);
        zf_from(g, ok, 0);
        return;
    }
    ir_ref old = gen_get(g, i, 0);
    ir_ref r = gen_helper_val(g, i->row->mnem == X86I_lar ? H_lar : H_lsl, gen_get(g, i, 1), old, IR_NONE);
    zf_from(g, r, 32);
    /* invisible: the whole destination stays, upper half included */
    unsigned size = i->opsize == 2 ? 2 : 8;
    ir_ref v = size == 2 ? r : ir_ext(g->ir, IR_zext, 8, 4, IR_NONE, r);
    ir_cmov(g->ir, size, CC_E, old, v, old);
}

/* Memory is written only if something changes: a page that cannot be written is no fault otherwise. */
void gen_arpl(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref r = gen_helper_val(g, H_arpl, gen_get(g, i, 0), gen_get(g, i, 1), IR_NONE);
    if (i->o[0].kind != OK_MEM) {
        gen_put(g, i, 0, r);
        zf_from(g, r, 32);
        return;
    }
    uint32_t same = ir_new_label(g->ir), done = ir_new_label(g->ir);
    struct ir_mem m = gen_mem(g, i, 2, GEN_W);
    ir_brz(g->ir, 8, ir_op2(g->ir, IR_shr, 8, IR_NONE, r, gen_const(g, 32), 0), same);
    ir_st(g->ir, 2, &m, r);
    ir_setf(g->ir, gen_const(g, RF_ZF), FL_Z);
    ir_br(g->ir, done);
    ir_label(g->ir, same);
    ir_setf(g->ir, gen_const(g, 0), FL_Z);
    ir_label(g->ir, done);
}
