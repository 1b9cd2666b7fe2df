/*
 * The generator's context and tools shared by all gen_*.c: decoded instruction in, IR out (gen.c). One context lives for one block.
 *
 * A gen function appends the IR of one instruction. Memory is accessed before a global or the flags are written; when it ends the block
 * (jmp, lookup, exit) it sets g->end. pc, next are guest pcs (offsets in CS). gen_mem makes the segment and alignment checks of modes
 * that need them, so it is called before anything is written. SDM vol. 1 ch. 3, vol. 2 ch. 2.
 */
#ifndef FRONTEND_X86_GEN_H
#define FRONTEND_X86_GEN_H
#include "frontend-x86/insn.h"
#include "frontend-x86/mode.h"
#include "tcg/frontend.h"
#include "tcg/ir.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"

enum { XG_FS_BASE = 16, XG_GS_BASE, XG_ES_BASE, XG_CS_BASE, XG_SS_BASE, XG_DS_BASE, XG_DF, XG_INSNS, XG_OPEN };

enum x86_helper {
#define H(name, n_args, has_result, flags) H_##name,
#include "frontend-x86/helpers.def"
#undef H
    H_COUNT
};
extern const struct tcg_helper x86_helpers[];
extern const unsigned x86_n_helpers;
extern const struct ir_global x86_globals[];
extern const unsigned x86_n_globals;

struct x86_gen {
    struct ir_block *ir;
    struct x86_cpu *cpu;             /* identity and CPUID only: state is in mode */
    struct mmu *mmu;
    uint32_t mode;                   /* XM_ bits */
    uint64_t cs_base;
    uint64_t pc, next;               /* guest pc of this instruction and of the next one */
    uint32_t lanes; uint8_t lane_k;  /* of the masked operand that gen_mem is asked for (tcg/native.h), and its opmask register; else 0 */
    bool end;                        /* the block has ended */
};

void x86_translate(void *cpu, struct mmu *, const struct tb_key *, unsigned max, struct ir_block *);   /* tcg_frontend.translate */

static inline bool gen_code64(const struct x86_gen *g) { return g->mode & XM_CODE64; }
static inline unsigned gen_va_bits(const struct x86_gen *g) { return g->mode & XM_LA57 ? 57 : 48; }
static inline unsigned gen_cpl(const struct x86_gen *g) { return g->mode & XM_VM86 ? 3 : XM_CPL(g->mode); }
static inline ir_ref gen_const(struct x86_gen *g, uint64_t v) { return ir_const(g->ir, v); }
static inline ir_ref gen_const_pc(struct x86_gen *g, uint64_t v) { return ir_const_pc(g->ir, v); }      /* v: pc plus something fixed */
uint64_t gen_trunc(uint64_t v, unsigned size);
/* A guest pc cut to what the instruction pointer of this operand size can hold. */
uint64_t gen_pc(const struct x86_gen *, uint64_t pc, unsigned opsize);

/* ALIGN2, 4, 8: what #AC wants, where that does not follow from the size; NOALIGN: nothing, the instruction has rules of its own. */
enum gen_access { GEN_R = 1, GEN_W = 2, GEN_RW = 3, GEN_NOCHECK = 4, GEN_ALIGN2 = 8, GEN_ALIGN4 = 16, GEN_ALIGN8 = 32, GEN_NOALIGN = 64 };
/* The memory operand of i, for an access of SIZE bytes: checks of limit, type and alignment are emitted (GEN_NOCHECK: none). */
struct ir_mem gen_mem(struct x86_gen *, const struct x86_insn *, unsigned size, unsigned access);
/* The same with OFF added to the address, no further checks. */
struct ir_mem gen_mem_at(struct x86_gen *, struct ir_mem, int32_t off);
/* [seg: reg + disp] with addresses of ADDRSIZE bytes. */
struct ir_mem gen_mem_reg(struct x86_gen *, unsigned seg, ir_ref reg, int32_t disp, unsigned addrsize, unsigned size, unsigned access);
/* Effective address as lea computes it (no segment), of i->addrsize, in d or a fresh temp; linear adds the segment. */
ir_ref gen_ea(struct x86_gen *, const struct x86_insn *, unsigned size, ir_ref d);
ir_ref gen_linear(struct x86_gen *, const struct ir_mem *);

/* Operand n: value (register itself, temp or constant) and store; reg forms merge as the size wants. */
ir_ref gen_get(struct x86_gen *, const struct x86_insn *, unsigned n);
void gen_put(struct x86_gen *, const struct x86_insn *, unsigned n, ir_ref v);       /* memory: computes the address and stores */
void gen_put_reg(struct x86_gen *, const struct x86_operand *, ir_ref v);            /* OK_GPR, OK_GPRH */

/* Stack: size of rSP in bytes; push stores before it moves rSP; a load from the top and the later move are separate for precision. */
unsigned gen_stack_size(const struct x86_gen *);
void gen_push_val(struct x86_gen *, ir_ref v, unsigned size);
ir_ref gen_pop_ld(struct x86_gen *, unsigned size);
void gen_sp_add(struct x86_gen *, int32_t n);

void gen_raise(struct x86_gen *, unsigned vector, bool has_err, uint32_t err);        /* ends the block */
void gen_gp0(struct x86_gen *);
void gen_undef(struct x86_gen *);                                                     /* #UD */
void gen_lookup_next(struct x86_gen *);                                               /* setpc next + lookup; ends the block */
void gen_lookup_at(struct x86_gen *, ir_ref pc);
/* Near targets against CS's limit, before anything is written. const: false when #GP was raised (and the block has ended). In 64-bit code const asks
   for a canonical address, and the other for nothing. */
bool gen_target_const(struct x86_gen *, uint64_t pc);
void gen_target_check(struct x86_gen *, ir_ref pc, unsigned opsize);
/* Modes with work at instruction boundaries: one-instruction blocks, left by gen_lookup_at. */
static inline bool gen_boundary(const struct x86_gen *g) { return g->mode & (XM_TF | XM_SHADOW | XM_DR); }
void gen_goto(struct x86_gen *, uint64_t pc);                                         /* direct jump, already cut; ends the block */

#define GEN(name) void name(struct x86_gen *, const struct x86_insn *)
GEN(gen_alu); GEN(gen_test); GEN(gen_incdec); GEN(gen_negnot); GEN(gen_mov); GEN(gen_movx); GEN(gen_lea); GEN(gen_xchg); GEN(gen_xadd);
GEN(gen_cmpxchg); GEN(gen_cmpxchg8b); GEN(gen_shift); GEN(gen_shd); GEN(gen_bt); GEN(gen_bscan); GEN(gen_bswap); GEN(gen_movbe); GEN(gen_mul);
GEN(gen_imul); GEN(gen_div); GEN(gen_cbw); GEN(gen_cwd); GEN(gen_push); GEN(gen_pop); GEN(gen_pusha); GEN(gen_popa); GEN(gen_pushf);
GEN(gen_popf); GEN(gen_enter); GEN(gen_leave); GEN(gen_call); GEN(gen_jmp); GEN(gen_ret); GEN(gen_jcc); GEN(gen_jcxz); GEN(gen_loop);
GEN(gen_setcc); GEN(gen_cmovcc); GEN(gen_string); GEN(gen_ins_outs); GEN(gen_in); GEN(gen_out); GEN(gen_flagop); GEN(gen_lahf);
GEN(gen_sahf); GEN(gen_xlat); GEN(gen_bcd); GEN(gen_salc); GEN(gen_bound); GEN(gen_nop); GEN(gen_pause); GEN(gen_ud);
#undef GEN
#endif
