/*
 * Generators of the SVM instructions, and the calls that ask about intercepts before an instruction of a guest.
 *
 * Which exit code an instruction has is one table; MOV to and from CR and DR, ports and MSRs have functions of their own. gen_svm_check runs
 * after the checks of privilege and mode, before the instruction's own code. APM vol. 2 15.9, vol. 3.
 */
#include "frontend-x86/gen_sys.h"
#include "frontend-x86/svm.h"
#include "frontend-x86/svm_io.h"

static const uint8_t exit_code[X86I_COUNT] = {
    [X86I_sidt] = SVM_IDTR_READ, [X86I_sgdt] = SVM_GDTR_READ, [X86I_sldt] = SVM_LDTR_READ, [X86I_str] = SVM_TR_READ, [X86I_lidt] = SVM_IDTR_WRITE,
    [X86I_lgdt] = SVM_GDTR_WRITE, [X86I_lldt] = SVM_LDTR_WRITE, [X86I_ltr] = SVM_TR_WRITE, [X86I_rdtsc] = SVM_RDTSC, [X86I_rdpmc] = SVM_RDPMC,
    [X86I_pushf] = SVM_PUSHF, [X86I_popf] = SVM_POPF, [X86I_cpuid] = SVM_CPUID, [X86I_rsm] = SVM_RSM, [X86I_iret] = SVM_IRET, [X86I_int] = SVM_INTN,
    [X86I_invd] = SVM_INVD, [X86I_pause] = SVM_PAUSE, [X86I_hlt] = SVM_HLT, [X86I_invlpg] = SVM_INVLPG, [X86I_invlpga] = SVM_INVLPGA,
    [X86I_vmrun] = SVM_VMRUN, [X86I_vmmcall] = SVM_VMMCALL, [X86I_vmload] = SVM_VMLOAD, [X86I_vmsave] = SVM_VMSAVE, [X86I_stgi] = SVM_STGI,
    [X86I_clgi] = SVM_CLGI, [X86I_rdtscp] = SVM_RDTSCP, [X86I_int1] = SVM_ICEBP, [X86I_wbinvd] = SVM_WBINVD, [X86I_xsetbv] = SVM_XSETBV,
    [X86I_clts] = SVM_CR_WRITE, [X86I_lmsw] = SVM_CR_WRITE };

static void check(struct x86_gen *g, unsigned code)
{
    gen_helper(g, H_svm_check, gen_const(g, code), gen_const(g, g->next), IR_NONE);
}

/* CR and DR share the form: 16 codes each for reads and writes. */
static void check_mov(struct x86_gen *g, const struct x86_insn *i, unsigned read_code, unsigned kind)
{
    bool write = i->o[0].kind == kind;
    unsigned n = i->o[write ? 0 : 1].reg;
    if (kind == OK_CR ? !gen_cr_exists(g, n) : n > 7)
        return;                                            /* #UD comes first */
    check(g, read_code + (write ? 0x10 : 0) + n);
}

void gen_svm_cr0(struct x86_gen *g, ir_ref v, bool lmsw)
{
    if (g->mode & XM_GUEST)
        gen_helper(g, H_svm_cr0, v, gen_const(g, g->next), gen_const(g, lmsw));
}

void gen_svm_invpcid(struct x86_gen *g, ir_ref type, ir_ref at)
{
    if (g->mode & XM_GUEST)
        gen_helper(g, H_svm_invpcid, type, at, gen_const(g, g->next));
}

static void check_io(struct x86_gen *g, const struct x86_insn *i)
{
    bool in = i->row->mnem == X86I_in || i->row->mnem == X86I_insb || i->row->mnem == X86I_insd;
    bool string = i->row->mnem != X86I_in && i->row->mnem != X86I_out;
    unsigned size = !(i->opcode & 1) ? 1 : i->opsize == 2 ? 2 : 4;
    const struct x86_operand *port = &i->o[in ? 1 : 0];
    uint32_t info = (in ? SVM_IO_IN : 0) | size << SVM_IO_SIZE_SHIFT | (i->addrsize / 2u) << SVM_IO_ADDR_SHIFT;
    if (string) {
        unsigned seg = in ? X86_ES : i->seg_override != X86_NOREG ? i->seg_override : X86_DS;
        info |= SVM_IO_STRING | (i->rep || i->repne ? SVM_IO_REP : 0) | seg << SVM_IO_SEG_SHIFT;
    }
    gen_helper(g, H_svm_io, !string && port->kind == OK_IMM ? gen_const(g, port->imm & 0xff) : X86_RDX, gen_const(g, info), gen_const(g, g->next));
}

void gen_svm_check(struct x86_gen *g, const struct x86_insn *i)
{
    unsigned mnem = i->row->mnem;
    if (exit_code[mnem])
        check(g, exit_code[mnem]);
    else if (mnem == X86I_smsw)
        check(g, SVM_CR_READ);
    else if (i->row->gen == gen_mov_cr)
        check_mov(g, i, SVM_CR_READ, OK_CR);
    else if (i->row->gen == gen_mov_dr)
        check_mov(g, i, SVM_DR_READ, OK_DR);
    else if (i->row->gen == gen_msr)
        gen_helper(g, H_svm_msr, gen_const(g, mnem == X86I_wrmsr), gen_const(g, g->next), IR_NONE);
    else if (i->row->gen == gen_in || i->row->gen == gen_out || i->row->gen == gen_ins_outs)
        check_io(g, i);
}

/* rAX as wide as the address size. */
static ir_ref rax_address(struct x86_gen *g, const struct x86_insn *i)
{
    return i->addrsize == 8 ? X86_RAX : ir_ext(g->ir, IR_zext, 8, i->addrsize, IR_NONE, X86_RAX);
}

void gen_svm(struct x86_gen *g, const struct x86_insn *i)
{
    switch (i->row->mnem) {
    case X86I_vmrun:
        gen_helper(g, H_vmrun, rax_address(g, i), gen_const(g, g->next), IR_NONE);
        gen_exit(g);
        return;
    case X86I_vmload: case X86I_vmsave:
        gen_helper(g, H_vmload, rax_address(g, i), gen_const(g, i->row->mnem == X86I_vmsave), IR_NONE);
        break;
    case X86I_invlpga:
        gen_helper(g, H_invlpga, rax_address(g, i), X86_RCX, IR_NONE);
        break;
    default:
        gen_helper(g, H_set_gif, gen_const(g, i->row->mnem == X86I_stgi), IR_NONE, IR_NONE);
    }
    gen_lookup_next(g);
}
