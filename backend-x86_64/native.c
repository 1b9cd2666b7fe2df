/*
 * Guest instructions that run as themselves (tcg/native.h): re-encoded with renamed general registers and the checked host address. Before
 * the first FPU instruction after the FPU may have been taken away, fpu_live is tested and the state loaded out of line.
 */
#include <assert.h>
#include "backend-x86_64/x64.h"

static struct x64_enc enc_of(const struct ir_native *n)
{
    return (struct x64_enc){.prefix = n->prefix, .prefix66 = n->prefix66, .w = n->rexw, .map = n->map, .op = n->opcode,
                            .byte_reg = n->byte_gpr && n->reg_role == NR_GPR, .byte_rm = n->byte_gpr && n->rm_role == NR_GPR};
}

/* Vector registers are no general ones. */
static uint16_t gprs_of(const struct ir_native *n, const struct x64_acc *a, unsigned rm)
{
    uint16_t r = n->reg_role == NR_GPR ? (uint16_t)BIT(a->reg) : 0;
    r |= n->vvvv_role == NR_GPR ? (uint16_t)BIT(a->vvvv) : 0;
    r |= n->rm_role == NR_GPR ? (uint16_t)BIT(rm) : 0;
    return r | (n->out_ax ? (uint16_t)BIT(RAX) : 0);
}

void x64_native_encoding(struct code_buf *c, const struct ir_native *n, const struct x64_acc *a, const struct x64_mem *m, unsigned rm)
{
    struct x64_enc e = enc_of(n);
    uint16_t touched = c->touched, same = c->same;
    if (!n->has_modrm) {
        if (e.prefix == 0x66 || e.prefix66)
            x64_b(c, 0x66);
        if (e.prefix == 0xf2 || e.prefix == 0xf3)
            x64_b(c, e.prefix);
        if (n->enc == NENC_VEX) {                  /* vzeroupper, vzeroall */
            x64_b(c, 0xc5);
            x64_b(c, 0xf8 | n->vex_l << 2);
        } else if (n->map) {
            x64_b(c, 0x0f);
        }
        x64_b(c, n->opcode);
    } else if (n->enc == NENC_EVEX) {
        struct x64_evex v = {.ll = n->vex_l, .vvvv = a->vvvv, .k = n->evex_k, .unit = n->disp_unit, .z = n->evex_z, .b = n->evex_b};
        if (m)
            x64_evex_rm(c, e, v, a->reg, *m);
        else
            x64_evex_rr(c, e, v, a->reg, rm);
    } else if (n->enc == NENC_VEX) {
        if (m)
            x64_vex_rm(c, e, n->vex_l, a->vvvv, a->reg, *m);
        else
            x64_vex_rr(c, e, n->vex_l, a->vvvv, a->reg, rm);
    } else if (m) {
        x64_rm(c, e, a->reg, *m);
    } else {
        x64_rr(c, e, a->reg, rm);
    }
    if (n->has_imm)
        x64_b(c, n->imm);
    c->touched = touched;
    c->same = same;
    x64_touch(c, gprs_of(n, a, rm));
}

/* On the way to the softmmu, which then looks at the active elements only: kmovq to memory. */
void x64_lanes_to_env(struct code_buf *c, const struct ir_native *n)
{
    const struct x64_enc kmovq = {.w = 1, .map = 1, .op = 0x91};
    uint16_t touched = c->touched, same = c->same;
    x64_vex_rm(c, kmovq, false, 0, n->evex_k, ENV_AT(slow_mask));
    c->touched = touched;                          /* a mask is no general register */
    c->same = same;
    x64_mov_mi(c, 4, ENV_AT(slow_lanes), (int32_t)n->lanes);
}

static void access_native(struct code_buf *c, const struct ir_block *ir, const struct ir_insn *in, const struct x64_acc *a, struct x64_mem m)
{
    if (a->imm)                                    /* the VEX.vvvv register lives in memory and so does reg: rax is free (combined address) */
        x64_mov_rm(c, 8, RAX, x64_at(X64_ENV, a->imm));
    if (ir->natives[in->imm].implied & NIMP_AX_DX) /* likewise */
        x64_mov_rr(c, 8, RAX, x64_contract[in->a]);
    x64_native_encoding(c, &ir->natives[in->imm], a, &m, 0);
}

static void fpu_load_path(struct x64_ctx *x, struct x64_ool *o)
{
    x64_patch_here(x->c, o->from);
    x64_call_to(x->c, x->s->fpu_load);
    x64_jmp_to(x->c, o->resume);
}

/* The FPU becomes the guest's. EFLAGS must be free to lose. Loading it costs rax and r10, too. */
void x64_fpu_check(struct x64_ctx *x)
{
    x64_evict(x, RAX, BIT(RAX) | BIT(R10));
    x64_evict(x, R10, BIT(RAX) | BIT(R10));
    x64_alu_mi(x->c, X64_CMP, 4, ENV_AT(fpu_live), 0);
    uint8_t *miss = x64_jcc(x->c, CC_E);
    struct x64_ool *o = x64_ool(x, fpu_load_path);
    *o = (struct x64_ool){.emit = fpu_load_path, .from = miss, .resume = x->c->p, .in = x->in};
    x->c->same = 0;
    x->fpu_known = true;
}

/* A host register for an input GPR; own: it will be written. */
static unsigned gpr_in(struct x64_ctx *x, ir_ref in, ir_ref out)
{
    if (in != IR_NONE && (out == IR_NONE || out == in))
        return x64_in_reg(x, in, 8);
    unsigned r = x64_dest(x, out, IR_NONE);
    if (in != IR_NONE && !x64_ref_is(x, in, r))
        x64_load(x, 8, r, in);
    return r;
}

static void emit_reg_form(struct x64_ctx *x, const struct ir_native *n)
{
    const struct ir_insn *in = x->in;
    struct x64_acc a = {.reg = n->reg, .vvvv = n->vvvv};
    unsigned rm = n->rm;
    ir_ref reg_out = n->vvvv_out ? IR_NONE : in->d;
    if (n->rm_role == NR_GPR)
        rm = gpr_in(x, in->b, in->e);
    if (n->vvvv_role == NR_GPR)
        a.vvvv = (uint8_t)(n->vvvv_out ? gpr_in(x, in->c, in->d) : x64_in_reg(x, in->c, 8));
    if (n->reg_role == NR_GPR)
        a.reg = (uint8_t)gpr_in(x, in->a, reg_out);
    if (n->out_ax || (n->implied & NIMP_AX_DX))
        x64_claim(x, RAX);
    if (n->implied & NIMP_AX_DX)                   /* RDX and RCX are the guest's (the contract says so) */
        x64_mov_rr(x->c, 8, RAX, x64_contract[in->a]);
    if (n->kind == NATIVE_FPU || !n->enc)
        x64_point(x, x->c->p, x64_fl_where(x));
    x64_native_encoding(x->c, n, &a, NULL, rm);
    if (n->out_ax) {
        if (ir_is_global(in->d) && x64_contract[in->d] != NOREG)
            x64_mov_rr(x->c, 2, x64_contract[in->d], RAX);
        else
            x64_dest_done(x, in->d, RAX, 2);
        return;
    }
    unsigned size = in->size >= 4 ? 8 : in->size;
    if (in->d != IR_NONE && !n->implied)
        x64_dest_done(x, in->d, n->vvvv_out ? a.vvvv : a.reg, size);
    if (in->e != IR_NONE)
        x64_dest_done(x, in->e, rm, size);
}

static void emit_mem_form(struct x64_ctx *x, const struct ir_native *n)
{
    const struct ir_insn *in = x->in;
    struct x64_acc a = {.reg = n->reg, .vvvv = n->vvvv, .need_flags = n->reads_flags};
    if (!x64_is_member(x))
        x64_fl_clobber(x);
    else if (n->writes_flags)
        x64_fl_to_mem(x);                          /* it may trap before it writes them */
    if (n->reads_flags)
        x64_fl_to_mem(x);
    bool out_mem = false;
    if (n->reg_role == NR_GPR) {
        bool pinned_out = in->d != IR_NONE && ir_is_global(in->d) && x64_contract[in->d] != NOREG && !n->vvvv_out;
        if (pinned_out && (in->a == IR_NONE || in->a == in->d)) {
            a.reg = x64_contract[in->d];
        } else if (in->a != IR_NONE) {
            out_mem = in->d != IR_NONE && !n->vvvv_out;
            a.reg = (uint8_t)x64_value_reg(x, in->a, 8, out_mem);
        } else {
            out_mem = true;
            x64_claim(x, R11);
            a.reg = R11;
        }
    }
    unsigned late_vvvv = NOREG;
    if (n->vvvv_role == NR_GPR) {
        ir_ref v = n->vvvv_out ? in->d : in->c;
        struct x64_val vv = ir_is_global(v) && x64_contract[v] != NOREG ? x64_val(x, v) : (struct x64_val){.kind = V_MEM};
        if (vv.kind == V_REG && vv.reg != RAX && vv.reg != R10) {
            a.vvvv = vv.reg;
        } else if (a.reg != R11 || n->reg_role != NR_GPR) {
            if (n->vvvv_out)
                x64_claim(x, R11);
            else
                x64_value_reg(x, v, 8, true);
            a.vvvv = R11;
            out_mem = out_mem || n->vvvv_out;
        } else {                                   /* both in memory: rax is free once the address is combined */
            late_vvvv = v;
            a.vvvv = RAX;
        }
    }
    x64_mem_prepare(x);
    a.defines = n->writes_flags && (in->flags & IRF_FLAGS) && (in->fl_live | in->fl_fault);
    if (late_vvvv != NOREG)
        a.imm = x64_val(x, (ir_ref)late_vvvv).mem.disp;
    x64_mem_access(x, n->mem_size, n->mem, &a, access_native, a.need_flags || late_vvvv != NOREG || (n->implied & NIMP_AX_DX));
    if (out_mem)
        x64_dest_done(x, in->d, R11, in->size >= 4 ? 8 : in->size);
}

void x64_emit_native(struct x64_ctx *x)
{
    const struct ir_insn *in = x->in;
    const struct ir_native *n = &x->ir->natives[in->imm];
    if (n->kind == NATIVE_FPU && !x->fpu_known) {
        x64_fl_clobber(x);
        x64_fpu_check(x);
    }
    if (n->mem != NM_NONE) {
        emit_mem_form(x, n);
        /* the instruction itself may trap (#GP alignment, #XM, #MF): flags are in memory */
    } else {
        if (n->writes_flags && !(in->flags & IRF_FLAGS))
            x64_fl_clobber(x);
        if (n->kind == NATIVE_FPU && n->writes_flags)
            x64_fl_to_mem(x);                      /* it may trap before it writes them */
        if (n->reads_flags)
            x64_fl_need(x);
        emit_reg_form(x, n);
    }
    if (n->writes_flags) {
        if (in->flags & IRF_FLAGS)
            x64_fl_define(x);
        else
            x->fs &= ~FS_HOST;
    }
}
