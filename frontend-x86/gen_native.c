/*
 * Re-emission of guest instructions by the host: decoded instruction -> one IR op `native` whose record carries the encoding, with
 * general-register and memory operands by reference (tcg/native.h). Also the mode checks that come before: the CR0 and CR4 bits are part of
 * the block's key, so a forbidden instruction becomes the raise of its exception at translation time.
 *
 * A masked operand in memory is described to tcg by the elements that the mask selects; instructions that access it whatever the mask says
 * (A_NF) are not.
 *
 * MULX has two outputs and an implied input, which a native record cannot carry: it is an ordinary multiply without flags.
 * SDM vol. 2 ch. 2.4 (exception classes), vol. 3 ch. 2.5, 13.1.
 */
#include "frontend-x86/gen_native.h"
#include "frontend-x86/rows.h"
#include "tcg/native.h"
#include "x86/cpuid.h"

struct refs { ir_ref d, e, a, b, c; struct ir_mem m; bool mem; };

static bool no_avx(const struct x86_gen *g)
{
    return !(g->mode & XM_AVX) || !(g->mode & XM_PE) || (g->mode & XM_VM86);
}

static bool touches(const struct x86_insn *i, unsigned kind)
{
    for (unsigned k = 0; k < i->n_opnd; k++)
        if (i->o[k].kind == kind)
            return true;
    return false;
}

bool gen_sse_forbidden(struct x86_gen *g, const struct x86_insn *i, bool legacy_needs_osfxsr)
{
    bool ud = i->vex ? no_avx(g) : (g->mode & XM_EM) || (legacy_needs_osfxsr && !(g->mode & XM_OSFXSR));
    if (ud)
        gen_undef(g);
    else if (g->mode & XM_TS)
        gen_raise(g, X86_NM, false, 0);
    return ud || (g->mode & XM_TS);
}

bool gen_avx512_forbidden(struct x86_gen *g, const struct x86_insn *i)
{
    uint32_t a = i->row->attr;
    bool one_length = a & (X86_F_LIG | X86_F_VEXL0), full = i->vex_l == 2 || (i->evex_b && i->modrm >= 0xc0);
    bool lengths = !i->evex || one_length || full || x86_has(g->cpu->cpuid, FEAT_avx512vl);
    if (!(g->mode & XM_AVX512) || no_avx(g) || !lengths)
        gen_undef(g);
    else if (g->mode & XM_TS)
        gen_raise(g, X86_NM, false, 0);
    else
        return false;
    return true;
}

bool gen_x87_forbidden(struct x86_gen *g)
{
    if (!(g->mode & (XM_TS | XM_EM)))
        return false;
    gen_raise(g, X86_NM, false, 0);
    return true;
}

static uint16_t mem_align(const struct x86_insn *i, unsigned size)
{
    return i->row->attr & X86_F_ALIGN ? (uint16_t)size : 1;
}

/* Elements of the operand in memory against bits of the mask: a broadcast has one for all, a scalar instruction looks at one bit. */
static uint32_t lanes_of(const struct x86_insn *i, const struct x86_operand *o)
{
    uint32_t a = i->row->attr;
    unsigned log = (a >> X86_F_LANE_SHIFT) & 3, n = o->size >> log, vl = 16u << i->vex_l, total = n;
    if (!i->evex_k || (a & X86_F_NOSUPPR))
        return 0;
    if (i->evex_b)                                   /* of Wh: conversions to wider elements */
        total = (i->row->opnd[o - i->o] == L_Wh ? vl / 2 : vl) >> log;
    else if (a & X86_F_REPEAT)
        total = vl >> log;
    return native_lanes(log, n, total, a & X86_F_PACKED);
}

static void rm_operand(struct x86_gen *g, const struct x86_insn *i, const struct x86_operand *o, struct ir_native *n, struct refs *r)
{
    if (o->kind == OK_MEM) {
        n->lanes = g->lanes = i->evex ? lanes_of(i, o) : 0;
        g->lane_k = i->evex_k;
        r->m = gen_mem(g, i, o->size, o->access | (mem_align(i, o->size) > 1 ? GEN_NOALIGN : 0));
        r->mem = true;
        g->lanes = 0;
        n->mem = o->access;
        n->mem_size = (uint8_t)o->size;
        n->disp_unit = (uint8_t)x86_disp_unit(i->row, o->size);
        n->align = (uint8_t)mem_align(i, o->size);
        n->rm = 0;
        if (i->evex_k && !n->lanes && n->mem == NM_WRITE)        /* what is masked out must be there, and stays */
            n->mem = NM_RW;
    } else if (o->kind == OK_GPR) {
        n->rm_role = NR_GPR;
        r->b = o->access & 1 ? o->reg : IR_NONE;
        r->e = o->access & 2 ? o->reg : IR_NONE;
        n->byte_gpr |= o->size == 1;
    } else if (o->kind == OK_GPRH) {
        n->rm_role = NR_GPR;
        n->byte_gpr = true;
        r->b = ir_op1(g->ir, IR_exth, 8, ir_temp(g->ir), o->reg, 0);
    } else {
        n->rm = o->reg;
    }
}

static void vvvv_operand(const struct x86_operand *o, struct ir_native *n, struct refs *r)
{
    if (o->kind != OK_GPR) {
        n->vvvv = o->reg;
        return;
    }
    n->vvvv_role = NR_GPR;
    n->vvvv_out = o->access & 2;
    if (n->vvvv_out)
        r->d = o->reg;
    else
        r->c = o->reg;
}

static void reg_operand(const struct x86_operand *o, struct ir_native *n, struct refs *r)
{
    if (o->kind != OK_GPR) {
        n->reg = o->reg;
        return;
    }
    n->reg_role = NR_GPR;
    r->d = o->access & 2 ? o->reg : IR_NONE;
    r->a = o->access & 1 ? o->reg : IR_NONE;
}

static void operands(struct x86_gen *g, const struct x86_insn *i, struct ir_native *n, struct refs *r)
{
    for (unsigned k = 0; k < i->n_opnd; k++)
        switch (x86_letters[i->row->opnd[k]].field) {
        case LF_RM: rm_operand(g, i, &i->o[k], n, r); break;
        case LF_REG: reg_operand(&i->o[k], n, r); break;
        case LF_VVVV: vvvv_operand(&i->o[k], n, r); break;
        case LF_IMM: case LF_IMMS: case LF_IS4:
            n->has_imm = true;
            n->imm = i->imm8;
            break;
        default: break;
        }
    if (n->has_imm && i->mode != X86_M64 && i->row->opnd[3] == L_Lx)
        n->imm &= 0x7f;
}

/* PCMPxSTRx: lengths in eAX and eDX, an index to ECX. */
static void implied(const struct x86_insn *i, struct ir_native *n, struct refs *r)
{
    if (i->map != 3 || i->opcode < 0x60 || i->opcode > 0x63)
        return;
    if (i->opcode < 0x62) {
        n->implied |= NIMP_AX_DX;
        n->rexw &= i->mode == X86_M64;               /* VEX.W means nothing elsewhere */
        r->a = X86_RAX;
        r->b = X86_RDX;
    }
    if (i->opcode & 1) {
        n->implied |= NIMP_CX_OUT;
        r->d = X86_RCX;
    }
}

void gen_native_emit(struct x86_gen *g, const struct x86_insn *i, unsigned kind)
{
    const struct x86_row *row = i->row;
    struct refs r = { IR_NONE, IR_NONE, IR_NONE, IR_NONE, IR_NONE, { 0 }, false };
    struct ir_native n = { .kind = (uint8_t)kind, .map = i->map, .opcode = i->opcode, .has_modrm = i->has_modrm, .align = 1 };
    n.enc = i->evex ? NENC_EVEX : i->vex ? NENC_VEX : NENC_LEGACY;
    n.prefix = row->prefix == P66 || row->prefix == PF2 || row->prefix == PF3 ? row->prefix : 0;
    n.prefix66 = kind == NATIVE_GPR && n.prefix && n.prefix != P66 && !i->vex && i->opsize == 2;
    n.rexw = i->vex ? i->vex_w : (i->rex & 8) != 0;
    n.vex_l = i->vex_l;
    n.evex_k = i->evex_k;
    n.evex_z = i->evex_z;
    n.evex_b = i->evex_b;
    n.reg = (i->modrm >> 3) & 7;
    n.rm = i->modrm & 7;
    operands(g, i, &n, &r);
    implied(i, &n, &r);
    if (n.map == 0 && n.mem == NM_WRITE)            /* x87 stores do not write when they meet an unmasked exception */
        n.mem = NM_RW;
    unsigned fl = row->fl_w | row->fl_u;
    n.writes_flags = fl != 0;
    n.reads_flags = row->fl_r || (fl && fl != FL_ALL);
    *ir_native(g->ir, r.d, r.e, r.a, r.b, r.c, r.mem ? &r.m : NULL, fl ? IRF_FLAGS : 0) = n;
}

/* An instruction with a memory operand waits before it touches memory: a pending x87 exception comes first. */
void gen_wait(struct x86_gen *g)
{
    struct ir_native *n = ir_native(g->ir, IR_NONE, IR_NONE, IR_NONE, IR_NONE, IR_NONE, NULL, 0);
    *n = (struct ir_native){ .kind = NATIVE_FPU, .enc = NENC_LEGACY, .opcode = 0x9b, .align = 1 };
}

/* Compatibility mode keeps registers 8..15: one register at a time. */
static void zero_low_eight(struct x86_gen *g, bool all)
{
    for (unsigned r = 0; r < 8; r++) {              /* vpxor xmm, xmm, xmm or vmovdqa xmm, xmm */
        struct ir_native *n = ir_native(g->ir, IR_NONE, IR_NONE, IR_NONE, IR_NONE, IR_NONE, NULL, 0);
        *n = (struct ir_native){ .kind = NATIVE_FPU, .enc = NENC_VEX, .prefix = P66, .map = 1, .opcode = all ? 0xef : 0x6f, .has_modrm = true, .align = 1,
                                 .reg = (uint8_t)r, .rm = (uint8_t)r, .vvvv = (uint8_t)(all ? r : 0) };
    }
}

void gen_native(struct x86_gen *g, const struct x86_insn *i)
{
    bool mmx_only = !i->vex && (touches(i, OK_MMX) || i->mnem == X86I_emms) && !touches(i, OK_XMM);
    if (gen_sse_forbidden(g, i, !mmx_only))
        return;
    if (touches(i, OK_MMX) && touches(i, OK_MEM))
        gen_wait(g);
    if (i->vex && i->map == 1 && i->opcode == 0x77 && i->mode != X86_M64) {
        zero_low_eight(g, i->vex_l);
        return;
    }
    gen_native_emit(g, i, NATIVE_FPU);
}

void gen_evex(struct x86_gen *g, const struct x86_insn *i)
{
    if (!gen_avx512_forbidden(g, i))
        gen_native_emit(g, i, NATIVE_FPU);
}

/* Low half to vvvv, high half to reg; high wins when they are the same. */
static void gen_mulx(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned size = i->o[0].size;
    ir_ref src = gen_get(g, i, 2), lo = ir_temp(g->ir), hi = ir_temp(g->ir);
    ir_muldiv(g->ir, IR_mulu, size, lo, hi, X86_RDX, src, IR_NONE, 0);
    ir_mov(g->ir, size, i->o[1].reg, lo);
    ir_mov(g->ir, size, i->o[0].reg, hi);
}

void gen_native_gpr(struct x86_gen *g, const struct x86_insn *i)
{
    if (i->vex && (!(g->mode & XM_PE) || (g->mode & XM_VM86)))
        gen_undef(g);
    else if (i->mnem == X86I_mulx)
        gen_mulx(g, i);
    else
        gen_native_emit(g, i, NATIVE_GPR);
}
