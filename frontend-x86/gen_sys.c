/*
 * Generators: interrupt flag, control and debug registers, descriptor tables, SYSCALL and friends, CPUID, TSC, MSRs, HLT, TLB, caches, fences.
 *
 * CPL 0 (X86_F_PRIV), protected mode (X86_F_PROT) and features are checked before these are called. Frequent ones call general-regs-only helpers
 * (fast_sys.c). What changes the block key ends with lookup; what only touches paging ends too, as the code's mapping may differ. SDM vol. 2 by name.
 */
#include "frontend-x86/gen_sys.h"

/* IOPL decides, and without it there may be a virtual flag. STI: only when something is pending the next instruction gets a shadow block; else it follows in this block, with no look
   at pending interrupts between (x86_translate sees to it when the block is full), so that STI; HLT never sleeps over an interrupt. */
void gen_cli_sti(struct x86_gen *g, const struct x86_insn *i)
{
    if ((g->mode & XM_PE) && gen_cpl(g) > XM_IOPL(g->mode)) {
        gen_helper(g, H_virtual_if, gen_const(g, i->row->mnem == X86I_sti), IR_NONE, IR_NONE);
        return;
    }
    if (i->row->mnem == X86I_cli) {
        gen_helper(g, H_cli, IR_NONE, IR_NONE, IR_NONE);
        return;
    }
    ir_ref shadow = gen_helper_val(g, H_sti, IR_NONE, IR_NONE, IR_NONE);
    if (gen_boundary(g))
        return;
    uint32_t on = ir_new_label(g->ir);
    ir_brz(g->ir, 4, shadow, on);
    gen_lookup_next(g);
    ir_label(g->ir, on);
    g->end = false;
}

/* ---- control and debug registers ---- */
static void read_cr(struct x86_gen *g, const struct x86_insn *i, unsigned n)
{
    if (n == 8)
        gen_put(g, i, 0, gen_helper_val(g, H_read_cr8, IR_NONE, IR_NONE, IR_NONE));
    else
        gen_put(g, i, 0, gen_helper_val(g, H_read_cr, gen_const(g, n), IR_NONE, IR_NONE));
}

bool gen_cr_exists(const struct x86_gen *g, unsigned n)
{
    return n == 0 || (n >= 2 && n <= 4) || (n == 8 && gen_code64(g));
}

void gen_mov_cr(struct x86_gen *g, const struct x86_insn *i)
{
    bool write = i->o[0].kind == OK_CR;
    unsigned n = i->o[write ? 0 : 1].reg;
    if (!gen_cr_exists(g, n)) {
        gen_undef(g);
        return;
    }
    if (!write) {
        read_cr(g, i, n);
        return;
    }
    ir_ref v = gen_code64(g) ? gen_get(g, i, 1) : ir_ext(g->ir, IR_zext, 8, 4, IR_NONE, gen_get(g, i, 1));
    enum x86_helper h = n == 0 ? H_write_cr0 : n == 2 ? H_write_cr2 : n == 3 ? (g->mode & XM_LMA ? H_write_cr3_long : H_write_cr3) : n == 4 ? H_write_cr4 : H_write_cr8;
    if (n == 0)
        gen_svm_cr0(g, v, false);
    gen_helper(g, h, v, IR_NONE, IR_NONE);
    gen_lookup_next(g);
}

void gen_mov_dr(struct x86_gen *g, const struct x86_insn *i)
{
    bool write = i->o[0].kind == OK_DR;
    unsigned n = i->o[write ? 0 : 1].reg;
    if (n > 7) {
        gen_undef(g);
        return;
    }
    if (!write) {
        gen_put(g, i, 0, gen_helper_val(g, H_read_dr, gen_const(g, n), IR_NONE, IR_NONE));
        return;
    }
    ir_ref v = gen_code64(g) ? gen_get(g, i, 1) : ir_ext(g->ir, IR_zext, 8, 4, IR_NONE, gen_get(g, i, 1));
    gen_helper(g, H_write_dr, gen_const(g, n), v, IR_NONE);
    gen_lookup_next(g);
}

void gen_clts(struct x86_gen *g, const struct x86_insn *i)
{
    gen_helper(g, H_clts, IR_NONE, IR_NONE, IR_NONE);
    gen_lookup_next(g);
}

void gen_lmsw(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref v = gen_get(g, i, 0);
    gen_svm_cr0(g, v, true);
    gen_helper(g, H_lmsw, v, IR_NONE, IR_NONE);
    gen_lookup_next(g);
}

void gen_smsw(struct x86_gen *g, const struct x86_insn *i)
{
    gen_helper(g, H_umip_check, IR_NONE, IR_NONE, IR_NONE);
    gen_put(g, i, 0, gen_helper_val(g, H_read_cr, gen_const(g, 0), IR_NONE, IR_NONE));
}

/* ---- SGDT SIDT LGDT LIDT: limit, then base of 4 (8) bytes; loads with 16-bit operands take 24 bits ---- */
void gen_dtr(struct x86_gen *g, const struct x86_insn *i)
{
    bool idt = i->row->mnem == X86I_sidt || i->row->mnem == X86I_lidt, store = i->row->mnem == X86I_sgdt || i->row->mnem == X86I_sidt;
    unsigned base_size = gen_code64(g) ? 8 : 4;
    if (store)
        gen_helper(g, H_umip_check, IR_NONE, IR_NONE, IR_NONE);
    ir_ref base = IR_NONE, limit = IR_NONE;
    if (store) {
        base = gen_helper_val(g, H_read_dt, gen_const(g, idt ? 2 : 0), IR_NONE, IR_NONE);
        limit = gen_helper_val(g, H_read_dt, gen_const(g, idt ? 3 : 1), IR_NONE, IR_NONE);
    }
    struct ir_mem m = gen_mem(g, i, base_size + 2, (store ? GEN_W : GEN_R) | GEN_ALIGN4);
    struct ir_mem m2 = gen_mem_at(g, m, 2);
    if (store) {                                       /* a fault is at the first byte that cannot be written */
        gen_helper(g, H_check_write, gen_linear(g, &m), gen_const(g, base_size + 2), IR_NONE);
        ir_st(g->ir, base_size, &m2, base);
        ir_st(g->ir, 2, &m, limit);
        return;
    }
    limit = ir_ld(g->ir, 2, IR_LD_ZX, IR_NONE, &m);
    base = ir_ld(g->ir, base_size, IR_LD_ZX, IR_NONE, &m2);
    if (i->opsize == 2 && !gen_code64(g))
        base = ir_op2(g->ir, IR_and, 8, IR_NONE, base, gen_const(g, 0xffffff), 0);
    gen_helper(g, idt ? H_set_idt : H_set_gdt, base, limit, IR_NONE);
}

/* ---- fast system calls ---- */
void gen_syscall(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref size = gen_const(g, i->rex & 8 ? 8 : 4);
    switch (i->row->mnem) {
    case X86I_syscall: gen_helper(g, H_syscall, gen_const_pc(g, g->next), IR_NONE, IR_NONE); break;
    case X86I_sysret: gen_helper(g, H_sysret, size, IR_NONE, IR_NONE); break;
    case X86I_sysenter: gen_helper(g, H_sysenter, IR_NONE, IR_NONE, IR_NONE); break;
    default: gen_helper(g, H_sysexit, size, IR_NONE, IR_NONE);
    }
    /* TF after the instruction decides about its trap: the helpers look themselves. */
    if (g->mode & XM_DR)
        gen_helper(g, H_single_step, gen_const(g, 0), gen_const(g, g->next), IR_NONE);
    ir_lookup(g->ir);
    g->end = true;
}

void gen_swapgs(struct x86_gen *g, const struct x86_insn *i)
{
    gen_helper(g, H_swapgs, IR_NONE, IR_NONE, IR_NONE);
}

/* ---- identification, time, MSRs ---- */
void gen_cpuid(struct x86_gen *g, const struct x86_insn *i)
{
    gen_helper(g, H_cpuid, IR_NONE, IR_NONE, IR_NONE);
}

void gen_rdtsc(struct x86_gen *g, const struct x86_insn *i)
{
    gen_helper(g, i->row->mnem == X86I_rdtsc ? H_rdtsc : i->row->mnem == X86I_rdtscp ? H_rdtscp : H_rdpmc, IR_NONE, IR_NONE, IR_NONE);
}

void gen_msr(struct x86_gen *g, const struct x86_insn *i)
{
    bool write = i->row->mnem == X86I_wrmsr;
    gen_helper(g, write ? H_wrmsr : H_rdmsr, IR_NONE, IR_NONE, IR_NONE);
    if (write)
        gen_lookup_next(g);
}

void gen_xcr(struct x86_gen *g, const struct x86_insn *i)
{
    if (!(g->mode & XM_OSXSAVE)) {
        gen_undef(g);
        return;
    }
    gen_helper(g, i->row->mnem == X86I_xgetbv ? H_xgetbv : H_xsetbv, IR_NONE, IR_NONE, IR_NONE);
    if (i->row->mnem == X86I_xsetbv)
        gen_lookup_next(g);
}

/* The flags are the helper's: CF alone. */
void gen_rdrand(struct x86_gen *g, const struct x86_insn *i)
{
    ir_ref v = gen_helper_val(g, i->row->mnem == X86I_rdrand ? H_rdrand : H_rdseed, gen_const(g, i->opsize), IR_NONE, IR_NONE);
    gen_put_reg(g, &i->o[0], v);
}

void gen_rdpid(struct x86_gen *g, const struct x86_insn *i)
{
    gen_put_reg(g, &i->o[0], gen_helper_val(g, H_rdpid, IR_NONE, IR_NONE, IR_NONE));
}

void gen_pkru(struct x86_gen *g, const struct x86_insn *i)
{
    if (i->row->mnem == X86I_rdpkru) {
        gen_helper(g, H_rdpkru, IR_NONE, IR_NONE, IR_NONE);
        return;
    }
    gen_helper(g, H_wrpkru, IR_NONE, IR_NONE, IR_NONE);
    gen_lookup_next(g);
}

void gen_fsgsbase(struct x86_gen *g, const struct x86_insn *i)
{
    bool write = i->row->mnem == X86I_wrfsbase || i->row->mnem == X86I_wrgsbase;
    ir_ref seg = gen_const(g, i->row->mnem == X86I_rdfsbase || i->row->mnem == X86I_wrfsbase ? X86_FS : X86_GS);
    if (write)
        gen_helper(g, H_write_fsgs, seg, gen_get(g, i, 0), gen_const(g, i->o[0].size));
    else
        gen_put_reg(g, &i->o[0], gen_helper_val(g, H_read_fsgs, seg, IR_NONE, IR_NONE));
}

/* ---- waiting, TLB, caches ---- */
void gen_hlt(struct x86_gen *g, const struct x86_insn *i)
{
    gen_helper(g, H_hlt, IR_NONE, IR_NONE, IR_NONE);
    gen_set_pc(g, g->next);
    if (g->mode & (XM_TF | XM_DR))                     /* the trap ends the wait at once */
        gen_helper(g, H_single_step, gen_const(g, g->mode & XM_TF ? 2 : 0), gen_const(g, g->next), IR_NONE);
    gen_exit(g);
}

void gen_invlpg(struct x86_gen *g, const struct x86_insn *i)
{
    bool pcid = i->row->mnem == X86I_invpcid;
    struct ir_mem m = gen_mem(g, i, pcid ? 16 : 1, pcid ? GEN_R : GEN_NOCHECK);
    ir_ref at = gen_linear(g, &m);
    if (pcid) {
        gen_svm_invpcid(g, gen_get(g, i, 0), at);
        gen_helper(g, H_invpcid, gen_get(g, i, 0), at, IR_NONE);
    } else {
        gen_helper(g, H_invlpg, at, IR_NONE, IR_NONE);
    }
    gen_lookup_next(g);
}

/* Caches are not modelled: flushing a line is an access of a byte that may fault. */
void gen_cache(struct x86_gen *g, const struct x86_insn *i)
{
    if (i->row->mnem == X86I_invd || i->row->mnem == X86I_wbinvd)
        return;
    struct ir_mem m = gen_mem(g, i, 1, GEN_R);
    ir_ld(g->ir, 1, IR_LD_ZX, IR_NONE, &m);
}

void gen_monitor(struct x86_gen *g, const struct x86_insn *i)
{
    gen_undef(g);
}

/* At CPL 0 AC is not in the key: only the TLB in use changes, so the next block can be linked. */
void gen_clac(struct x86_gen *g, const struct x86_insn *i)
{
    gen_helper(g, H_set_ac, gen_const(g, i->row->mnem == X86I_stac), IR_NONE, IR_NONE);
    gen_goto(g, g->next);
}

void gen_fence(struct x86_gen *g, const struct x86_insn *i)
{
    struct ir_insn *f = &g->ir->insn[g->ir->n];
    ir_setcf(g->ir, i->row->mnem == X86I_mfence ? 0 : i->row->mnem == X86I_lfence ? 1 : 2);
    f->op = IR_fence;                         /* the same operands: none but sub */
    f->flags = 0;
}

/* No trap of a single step after it: TF is the interrupted program's. */
void gen_rsm(struct x86_gen *g, const struct x86_insn *i)
{
    gen_helper(g, H_rsm, IR_NONE, IR_NONE, IR_NONE);
    gen_exit(g);
}

void gen_vmcall(struct x86_gen *g, const struct x86_insn *i)
{
    gen_undef(g);
}
