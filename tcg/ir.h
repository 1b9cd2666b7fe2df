/*
 * The intermediate representation: a block is a flat array of struct ir_insn in guest order, built by a frontend through the ir_* builder
 * functions (which fold constants at construction), rewritten by tcg/opt_*.c, and consumed by a backend or the interpreter.
 *
 * Operands (ir_ref) are guest registers (globals), temporaries and constants directly. Flags are one implicit value: the last op that
 * defined them; x86's six arithmetic flags S Z A P C O. Liveness of that value is computed by tcg/opt_flags.c into fl_live / fl_fault.
 *
 * Invariants (tcg/verify.c): a temp is defined before use, within the same straight line between labels; every memory operand's base and
 * index are globals, temps or IR_NONE; the last insn has attribute END; guest instruction numbers (gi) never decrease.
 * Precision: in the insns of one guest instruction, everything that can fault comes before the first write of a global or flags, except
 * where the fault cannot happen any more.
 */
#ifndef TCG_IR_H
#define TCG_IR_H
#include "core/alloc.h"
#include "core/types.h"

typedef uint16_t ir_ref;
#define IR_NONE 0xffff
#define IR_GLOBAL0 0            /* 0..63: the frontend's globals */
#define IR_TEMP0 64             /* 64..0x3fff: temporaries */
#define IR_CONST0 0x4000        /* 0x4000..: index into block->consts */
#define IR_MAX_GLOBALS 64
static inline bool ir_is_global(ir_ref r) { return r < IR_TEMP0; }
static inline bool ir_is_temp(ir_ref r) { return r >= IR_TEMP0 && r < IR_CONST0; }
static inline bool ir_is_const(ir_ref r) { return r >= IR_CONST0 && r != IR_NONE; }

enum ir_op {
#define OP(name, out, in, attr, doc) IR_##name,
#include "tcg/ops.def"
#undef OP
    IR_OP_COUNT
};

enum ir_attr { FW = 1, FP = 2, FR = 4, LD = 8, ST = 16, FAULT = 32, SIDE = 64, CTL = 128, END = 256 };

struct ir_opinfo { const char *name, *out, *in, *doc; uint16_t attr; };
extern const struct ir_opinfo ir_opinfo[IR_OP_COUNT];

/* Conditions, in x86's numbering (SDM vol. 1 app. B): bit 0 negates. */
enum ir_cond { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };

/* Arithmetic flags at their RFLAGS places. */
enum { FL_C = 0x001, FL_P = 0x004, FL_A = 0x010, FL_Z = 0x040, FL_S = 0x080, FL_O = 0x800, FL_ALL = 0x8d5 };

enum ir_rmw { RMW_add, RMW_or, RMW_adc, RMW_sbb, RMW_and, RMW_sub, RMW_xor, RMW_inc, RMW_dec, RMW_neg, RMW_not,
              RMW_shl, RMW_shr, RMW_sar, RMW_rol, RMW_ror, RMW_rcl, RMW_rcr, RMW_bts, RMW_btr, RMW_btc, RMW_xchg, RMW_xadd, RMW_COUNT };
/* RMW_bts.. take a bit index below the operand's width in a (the frontend has moved the address). */

enum ir_ldsub { IR_LD_PLAIN, IR_LD_ZX, IR_LD_SX4, IR_LD_SX8 };

enum ir_iflags {
    IRF_FLAGS = 1,           /* this insn defines the flags value */
    IRF_LOCK = 2,            /* atomic */
    IRF_LAST = 4,            /* set by the builder: last insn of its guest instruction */
    IRF_SUPER = 8,           /* memory access with supervisor privilege whatever the mode (descriptor tables) */
    IRF_ADDR32 = 16,         /* m: the sum base+index*scale+disp wraps at 32 bits (before seg is added); for 32-bit guests seg sum wraps as well */
    IRF_ADDR16 = 32,         /* lea only (address temp for 16-bit addressing): the sum wraps at 16 bits */
};

struct ir_insn {
    uint8_t op;              /* enum ir_op */
    uint8_t size;            /* bytes: 1 2 4 8; native: bytes of memory accessed is in the native record */
    uint8_t sub;             /* condition, rmw op, extension, source bytes */
    uint8_t flags;           /* enum ir_iflags */
    ir_ref d, e;
    ir_ref a, b, c;
    ir_ref base, index, seg; /* m = seg + base + (index << scale) + disp; seg is a global holding a segment base, or IR_NONE */
    uint8_t scale;           /* 0..3 */
    uint8_t alu_sub;         /* reserved for passes */
    uint16_t gi;             /* guest instruction number in the block */
    int32_t disp;
    uint32_t imm;            /* label, helper, exit reason, native index, mask */
    uint16_t fl_live;        /* after opt_flags: FL_ bits that a later op (or exit) really reads after this insn */
    uint16_t fl_fault;       /* FL_ bits that only a fault or interrupt before their redefinition could show */
};

struct ir_guest_insn { uint64_t pc; uint8_t len; };

#define IR_MAX_INSNS 1024
#define IR_MAX_GUEST 64      /* guest instructions a block */
#define IR_MAX_CODE (IR_MAX_GUEST * 16)
#define IR_MAX_CONSTS 512
#define IR_MAX_LABELS 64
#define IR_MAX_TEMPS 1024
#define IR_MAX_NATIVES 64

struct ir_native;
struct tb_key;

struct ir_block {
    const struct tcg_frontend *fe;
    uint64_t pc;                                   /* guest pc of the first insn (as the guest sees it: without the code segment's base) */
    uint32_t n, n_guest, n_consts, n_labels, n_temps, n_natives;
    struct ir_guest_insn guest[IR_MAX_GUEST + 1];
    uint64_t consts[IR_MAX_CONSTS];
    struct ir_native *natives;                     /* IR_MAX_NATIVES of them */
    uint8_t *code;                                 /* IR_MAX_CODE of them: the guest bytes that were decoded, guest_bytes long when a frontend made the block */
    uint64_t guest_bytes;                          /* length of guest code covered */
    bool uses_fpu;
    bool movable;                                  /* its code for another pc differs in the values of the constants in is_pc only (tcg/move.c) */
    uint64_t is_pc[IR_MAX_CONSTS / 64];            /* constants that are pc plus something fixed */
    uint8_t mem_bank;                              /* privilege of its data accesses: 0 supervisor, 1 user (region descriptors) */
    struct ir_insn insn[IR_MAX_INSNS];             /* last: a copy may stop after n */
};

/* ---- building (tcg/ir.c) ---- */
void ir_begin(struct ir_block *, const struct tcg_frontend *, uint64_t pc);      /* resets */
void ir_guest(struct ir_block *, uint64_t pc, unsigned len);                     /* a guest instruction starts */
bool ir_room(const struct ir_block *);                                           /* space for one more guest instruction (any kind) */
ir_ref ir_temp(struct ir_block *);
ir_ref ir_const(struct ir_block *, uint64_t v);                                  /* shared when equal */
/* A constant that is the block's pc plus something fixed. A frontend sets movable first; it goes where such a constant cannot be kept one. */
ir_ref ir_const_pc(struct ir_block *, uint64_t v);
static inline bool ir_is_const_pc(const struct ir_block *b, ir_ref r)
{
    return ir_is_const(r) && b->movable && b->is_pc[(r - IR_CONST0) / 64] >> (r - IR_CONST0) % 64 & 1;
}
/*
 * Where code can be moved to and from: addresses whose neighbourhood of 2 GiB takes 64 bits as a host's immediate; and for code whose pcs have 32 bits, low
 * ones, where code that stays among them (its jumps too) meets no end of the address space, has one code generation, and knows no pc cut to 16 bits.
 */
static inline bool ir_pc_low(uint64_t pc) { return pc - 0x10000 < 0xc0000000 - 0x20000; }
static inline bool ir_pc_movable(uint64_t pc) { return ir_pc_low(pc) || pc - (1ull << 33) < (1ull << 47) - (1ull << 34); }
uint64_t ir_const_value(const struct ir_block *, ir_ref);
uint32_t ir_new_label(struct ir_block *);

struct ir_mem { ir_ref base, index, seg; uint8_t scale; uint8_t flags; int32_t disp; };   /* flags: IRF_ADDR32, IRF_SUPER, IRF_LOCK */

/* Append one insn. ir_op2 and friends fold: both inputs constant and no flags wanted -> a constant is returned instead of d's temp, identities
   become mov or nothing. The returned ref is where the result is: d, or for d == IR_NONE with flags == 0 a fresh temp or a constant. */
ir_ref ir_op1(struct ir_block *, enum ir_op, unsigned size, ir_ref d, ir_ref a, unsigned flags);
ir_ref ir_op2(struct ir_block *, enum ir_op, unsigned size, ir_ref d, ir_ref a, ir_ref b, unsigned flags);
ir_ref ir_op3(struct ir_block *, enum ir_op, unsigned size, ir_ref d, ir_ref a, ir_ref b, ir_ref c, unsigned flags);
/* mulu, muls, divu, divs with both outputs; nothing is folded. Unused refs IR_NONE. */
void ir_muldiv(struct ir_block *, enum ir_op, unsigned size, ir_ref d, ir_ref e, ir_ref a, ir_ref b, ir_ref c, unsigned flags);
void ir_cmp(struct ir_block *, enum ir_op sub_or_and, unsigned size, ir_ref a, ir_ref b);          /* d = IR_NONE, flags set */
ir_ref ir_mov(struct ir_block *, unsigned size, ir_ref d, ir_ref a);
ir_ref ir_ext(struct ir_block *, enum ir_op zext_or_sext, unsigned size, unsigned from, ir_ref d, ir_ref a);   /* d IR_NONE: fresh temp */
ir_ref ir_lea(struct ir_block *, unsigned size, ir_ref d, const struct ir_mem *);
ir_ref ir_ld(struct ir_block *, unsigned size, enum ir_ldsub, ir_ref d, const struct ir_mem *);     /* d IR_NONE: fresh temp */
void ir_st(struct ir_block *, unsigned size, const struct ir_mem *, ir_ref a);
void ir_rmw(struct ir_block *, enum ir_rmw, unsigned size, ir_ref d, const struct ir_mem *, ir_ref a, unsigned flags);
void ir_cmpxchg(struct ir_block *, unsigned size, ir_ref acc, const struct ir_mem *, ir_ref newval, unsigned flags);
ir_ref ir_setcc(struct ir_block *, enum ir_cond, ir_ref d);
void ir_cmov(struct ir_block *, unsigned size, enum ir_cond, ir_ref d, ir_ref a, ir_ref b);
ir_ref ir_getf(struct ir_block *);
void ir_setf(struct ir_block *, ir_ref a, uint32_t mask);
void ir_setcf(struct ir_block *, unsigned what);
void ir_label(struct ir_block *, uint32_t label);
void ir_br(struct ir_block *, uint32_t label);
void ir_brcc(struct ir_block *, enum ir_cond, uint32_t label);
void ir_brz(struct ir_block *, unsigned size, ir_ref a, uint32_t label);
void ir_brnz(struct ir_block *, unsigned size, ir_ref a, uint32_t label);
void ir_jcc(struct ir_block *, enum ir_cond, uint64_t pc);
void ir_jmp(struct ir_block *, uint64_t pc);
void ir_jmpi(struct ir_block *, ir_ref a);
void ir_jmpc(struct ir_block *, ir_ref a, unsigned bits, ir_ref d, uint32_t add);                 /* d IR_NONE: nothing is added to */
void ir_lookup(struct ir_block *);
void ir_exit(struct ir_block *, unsigned reason);
void ir_setpc(struct ir_block *, ir_ref a);
ir_ref ir_call(struct ir_block *, unsigned helper, ir_ref d, ir_ref a, ir_ref b, ir_ref c);       /* d IR_NONE: result ignored */
struct ir_native *ir_native(struct ir_block *, ir_ref d, ir_ref e, ir_ref a, ir_ref b, ir_ref c, const struct ir_mem *m, unsigned flags);

/* ---- text form (tcg/ir_print.c, tcg/ir_parse.c): print and parse round-trip; tests use it ---- */
struct ir_text { char *buf; size_t len, cap; };
void ir_print(const struct ir_block *, struct ir_text *out);
void ir_dump(const struct ir_block *, const char *title);                        /* to the log */
int ir_parse(struct ir_block *, const struct tcg_frontend *, const char *text, char *err, size_t errlen);   /* 0 or -EINVAL */

/* NULL when well-formed, else what is wrong (static buffer) and *at the insn. Debug builds run it after every stage. */
const char *ir_verify(const struct ir_block *, unsigned *at);

/* ---- passes, in tcg/pipeline.c's order ---- */
void opt_flags(struct ir_block *);       /* liveness of flags: fl_live, fl_fault; drops IRF_FLAGS nobody can see */
void opt_move(struct ir_block *);        /* is the block movable still? */
void opt_copy(struct ir_block *);        /* copy and constant propagation into inputs and addresses, local */
void opt_dead(struct ir_block *);        /* removes insns whose outputs are unused temps */
void ir_optimise(struct ir_block *);     /* all of them, with -d ir / opt dumps and verification */
#endif
