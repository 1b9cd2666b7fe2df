/*
 * The backend's inside: the register contract, the emission context of one block, and the functions its files offer each other.
 *
 * Register contract, at every block edge: the guest globals named by x64_contract live in their host registers; all other globals in the CPU
 * state; flags in env->flags, unless the entered block does not need them (tb->needs_flags false); rsp = env. Scratch (dead at edges):
 * rax, r10, r11. Inside a block temps live in scratch registers or, when those run out, in env's spill slots.
 *
 * Flags, inside a block: ctx->fs says where valid copies are: host EFLAGS, env->flags, both, or nowhere (dead). Whatever clobbers EFLAGS
 * calls x64_fl_clobber first, which spills (lahf, seto) when the value is still wanted; a reader calls x64_fl_need. At every point where a fault
 * or exit can show guest state a tb_point says where the flags are.
 */
#ifndef BACKEND_X64_H
#define BACKEND_X64_H
#include "backend-x86_64/asm.h"
#include "tcg/native.h"
#include "tcg/tcg.h"

#define X64_ENV RSP
#define X64_N_SCRATCH 3
#define X64_MAX_OOL 512
#define ENV_AT(field) x64_at(X64_ENV, (int32_t)offsetof(struct tcg_env, field))

enum { FS_HOST = 1, FS_MEM = 2, FS_RECIPE = 4 };      /* RECIPE: only faults can show the value; ctx->recipe rebuilds it */
#define X64_MAX_RECIPES 255

/* Host register of each global, NOREG when it lives in memory. */
extern uint8_t x64_contract[IR_MAX_GLOBALS];

struct x64_stubs {                     /* rw addresses in the code cache */
    uint8_t *enter, *leave, *exit_site, *exit_stale[2], *exit_lookup, *exit_reason, *exit_jmpi[2], *exit_poll, *fault_return;
    uint8_t *call_regs, *call_c;       /* helper in r10, arguments in env->args */
    uint8_t *probe;                    /* slow path: address in rax, tcg_slow_probe's HOW in r10d -> rax host address or 0 (bounce in use) */
    uint8_t *probe_region[2][2];       /* by bank, and whether it stores: a descriptor missed; as probe -> rax address, r10 addend; ZF: bounce in use */
    uint8_t *trial;                    /* a block has had its trial */
    uint8_t *probe_group;              /* lowest address in rax, tcg_slow_group's HOW in r10d -> rax its host address */
    uint8_t *commit;                   /* after a bounced write */
    uint8_t *fpu_load;
};

/* What an access to memory needs besides its address, fixed when the fast path is emitted and used again for the slow path's copy. */
struct x64_acc {
    bool is_imm, lock;
    int32_t imm;
    uint8_t v;                         /* value register */
    uint8_t d;                         /* destination register of loads, cmpxchg's accumulator */
    uint8_t reg, vvvv;                 /* native: resolved fields */
    bool defines;                      /* EFLAGS after it are the guest's and wanted */
    bool need_flags;                   /* EFLAGS must be valid before it */
};
typedef void (*x64_access)(struct code_buf *, const struct ir_block *, const struct ir_insn *, const struct x64_acc *, struct x64_mem m);

/* What groups.c found out about a memory access. */
struct x64_group {
    uint8_t role;                      /* enum x64_role */
    bool restart;                      /* the slow path must begin the instruction anew if it made a page tracked: groups are open here */
    int16_t lo;                        /* leader: what to add to the insn's address for the lowest address of the group */
    uint8_t span;                      /* leader: bytes from the lowest to the end of the highest */
    bool store;                        /* leader and members: the group has stores, its loads use the descriptor for stores too */
    bool tlb;                          /* the check, of whatever role, asks the TLB: there is no descriptor, or it would not serve */
    bool narrow;                       /* leader and members: addresses are reckoned with 32 bits, each anew */
    uint8_t slot;                      /* leader and members, where tlb: where the addend is kept (env->group_addend) */
};
enum x64_role { GROUP_NONE, GROUP_LEADER, GROUP_MEMBER };

/* Accesses of a loop's body off one base and index, whose values change by constants from turn to turn (loop.c). */
#define LOOP_SPAN 2048
#define LOOP_PROBED 0xff
#define LOOP_CHECKED 0xfe
#define LOOP_HOST 0x80
struct x64_stream {
    ir_ref base, index;                /* globals with a host register, or IR_NONE */
    uint8_t scale, use, region, host;  /* use: TCG_REGION_; region: as x64_ool; host: number of the host value that its operands need */
    bool store, trusts_load, base_fixed, index_fixed;       /* trusts_load: is of a group that stands on the descriptor for loads */
    int64_t lo, hi, step;              /* bytes touched by a turn, relative to base + (index << scale) at its beginning; what a turn adds */
};

struct x64_loop {
    bool gated;                        /* the block is hot, and a loop: it may get a copy */
    bool on;                           /* the copy is being emitted */
    bool bad;                          /* it cannot be made by this plan */
    bool fpu_known;
    bool may_miss;                     /* some of its accesses are checked in each turn */
    uint8_t *gate;                     /* the jump at the block's entry: to the preheader, or just on; NULL: no loop */
    uint8_t *entry, *over, *top;       /* the ordinary code; behind its branch back; the copy */
    uint8_t exit, plan, copies;        /* copies: turns in a round */
    unsigned recipe;                   /* 1 + the recipe of the flags at the exit; 0 none */
    uint32_t end;                      /* IR insn of the branch back */
    unsigned n_streams, n_hosts;
    struct x64_stream stream[8];
    uint8_t of[IR_MAX_INSNS];          /* stream of each access, or LOOP_PROBED, LOOP_CHECKED */
};

/* Where an access's check begins in the ordinary code of a hot block, and where flags are there; at NULL: temps hold values. */
struct x64_twin { uint8_t *at; uint8_t fs, recipe; };

struct x64_ctx;
struct x64_ool {                       /* code moved out of line, emitted after the block's body */
    void (*emit)(struct x64_ctx *, struct x64_ool *);
    uint8_t *from;                     /* rel32 to point here */
    uint8_t *resume, *after;
    const struct ir_insn *in;
    x64_access access;
    struct x64_acc acc;
    uint16_t tag;                      /* offset of the probed tag */
    bool restart;                      /* see struct x64_group */
    bool narrow;                       /* a leader: see struct x64_group */
    bool folded;                       /* region path: the address is [base + disp], not in rax */
    struct x64_mem addr;               /* folded: base and disp; a leader: the lowest address */
    uint8_t region;                    /* 1 + number of the descriptor; 0: TLB */
    uint8_t fl, recipe;                /* where flags are meanwhile: enum tb_fl_where */
    uint8_t size, kind, exit;
    uint8_t own, below;                /* a leader: bytes of its own access, and how far the group's lowest address is below it */
    uint32_t way_from;                 /* -d count: where the way to this exit begins */
};

struct x64_ctx {
    struct code_buf *c;
    struct tcg *t;
    const struct ir_block *ir;
    struct tb *tb;
    const struct x64_stubs *s;
    uint8_t *start;
    uint8_t owner_valid[16];           /* host register holds temp owner[] */
    uint16_t owner[16];
    uint8_t loc_reg[IR_MAX_TEMPS];     /* register of a temp, or NOREG */
    int8_t loc_slot[IR_MAX_TEMPS];     /* spill slot of a temp, or -1 */
    uint16_t last_use[IR_MAX_TEMPS];
    uint64_t slots_used;
    const uint8_t *order;              /* in which scratch registers are taken */
    uint16_t locked;                   /* scratch registers not to be taken in this insn */
    uint8_t fs;
    bool has_recipe;                   /* recipe[n_recipes - 1] describes the current flags value and its registers are intact */
    struct tb_recipe recipe[X64_MAX_RECIPES];
    unsigned n_recipes;
    uint32_t fl_fresh;                 /* 1 + the insn that defined the flags last */
    uint8_t addend_of;                 /* while c->same has r10, it holds the addend of this descriptor (or, LOOP_HOST: that host value of a tight copy) */
    bool fpu_dropped;                  /* some call of this block has taken the FPU away */
    bool fpu_known;                    /* the FPU is the guest's at this point on every path */
    uint32_t k;                        /* insn being emitted */
    const struct ir_insn *in;
    uint8_t *label_at[IR_MAX_LABELS];
    struct { uint8_t *at; uint32_t label; } label_fix[128];
    unsigned n_label_fix;
    struct x64_ool ool[X64_MAX_OOL];
    unsigned n_ool;
    struct tb_point points[IR_MAX_INSNS * 2];
    unsigned n_points;
    struct tb_exit exits[TB_MAX_EXITS];
    unsigned n_exits;
    bool overflow;
    bool counting;                     /* -d count for this block */
    struct tb_count *counts;           /* made so far */
    struct x64_group group[IR_MAX_INSNS];
    struct x64_loop loop;
    struct x64_twin twin[IR_MAX_INSNS];
    struct code_places places;
};

/* ---- where values are: regs.c ---- */
void x64_choose_order(struct x64_ctx *);                              /* which scratch registers an insn takes first */
struct x64_val { uint8_t kind; uint8_t reg; struct x64_mem mem; int64_t imm; };
enum { V_REG, V_MEM, V_IMM };
struct x64_val x64_val(struct x64_ctx *, ir_ref);                     /* in place: nothing emitted */
unsigned x64_in_reg(struct x64_ctx *, ir_ref, unsigned size);          /* in a register (loads into scratch when needed) */
unsigned x64_take_scratch(struct x64_ctx *);                           /* a free scratch register, locked for this insn */
void x64_claim(struct x64_ctx *, unsigned reg);                        /* this scratch register, its temp moved away, locked */
void x64_evict(struct x64_ctx *, unsigned reg, uint16_t avoid);        /* move its temp to a register outside avoid or to memory */
void x64_bind(struct x64_ctx *, ir_ref temp, unsigned reg);            /* the temp now lives in this scratch register */
unsigned x64_dest(struct x64_ctx *, ir_ref d, ir_ref reuse);           /* register to compute d in; for a memory global a scratch: x64_dest_done stores it */
void x64_dest_done(struct x64_ctx *, ir_ref d, unsigned reg, unsigned size);
void x64_load(struct x64_ctx *, unsigned size, unsigned reg, ir_ref);  /* mov reg, value (size 1, 2: whole 32 bits may be read) */
void x64_free_dead(struct x64_ctx *);                                  /* after an insn, if there are any temps: those whose last use it was */
struct x64_mem x64_global_mem(struct x64_ctx *, ir_ref);
bool x64_ref_is(struct x64_ctx *, ir_ref, unsigned reg);

/* ---- flags: flags.c ---- */
void x64_fl_need(struct x64_ctx *);                 /* valid flags in EFLAGS */
void x64_fl_need_carry(struct x64_ctx *);           /* ... of which only CF is wanted, by an insn that defines the others */
void x64_fl_clobber(struct x64_ctx *);              /* EFLAGS is about to be overwritten without defining the guest's flags */
void x64_fl_to_mem(struct x64_ctx *);               /* env->flags valid (spills) */
void x64_fl_define(struct x64_ctx *);               /* the insn just emitted defined (or destroyed) them */
void x64_spill_code(struct code_buf *, struct x64_mem to);       /* lahf; seto al; mov to, eax */
void x64_reload_code(struct code_buf *, struct x64_mem from);
bool x64_fl_wanted_before(const struct x64_ctx *);  /* before this insn, the value is wanted after EFLAGS goes */
void x64_point(struct x64_ctx *, const uint8_t *host, unsigned fl);
void x64_point_at(struct x64_ctx *, const uint8_t *host, unsigned fl, unsigned recipe);
void x64_fl_before(struct x64_ctx *);               /* each insn, with FS_RECIPE: one whose registers it writes must be used up now */
void x64_fl_after(struct x64_ctx *);                /* ... with has_recipe */
bool x64_recipe_wants_carry(const struct tb_recipe *);                  /* it is good while env->flags has the value's CF */
void x64_recipe_code(struct x64_ctx *, const struct tb_recipe *);     /* EFLAGS = its flags; uses rax */
static inline unsigned x64_fl_where(const struct x64_ctx *x) { return x->fs & FS_MEM ? TBF_MEM : x->fs & FS_RECIPE ? TBF_RECIPE : TBF_HOST; }

/* ---- groups.c: accesses off one base that share one check ---- */
void x64_find_groups(struct x64_ctx *);
bool x64_is_member(const struct x64_ctx *);
int x64_region_use(const struct x64_ctx *, const struct ir_insn *);      /* TCG_REGION_ number, or -1 */
unsigned x64_mem_kind(const struct x64_ctx *, const struct ir_insn *);   /* enum native_mem of a memory op; NM_NONE for others */

bool x64_is_step(const struct x64_ctx *, const struct ir_insn *, ir_ref d, int64_t *by);       /* d = d + constant */
/* Linear addresses have 32 bits, and so has every translation: an address reckoned with 64 bits is right, or finds none. */
static inline bool x64_linear32(const struct x64_ctx *x) { return !(x->tb->key.mode & x->t->fe->wide); }
/* The access's address may be reckoned with 64 bits, which for 32-bit addressing is the same unless it wraps: so not where it likely does. */
static inline bool x64_unwrapped(const struct x64_ctx *x, const struct ir_insn *in)
{
    return !(in->flags & IRF_ADDR32) || (x64_linear32(x) && in->index == IR_NONE && in->disp >= -65536);
}

/* ---- loop.c: the copy of a hot loop that needs no checks ---- */
void x64_loop_find(struct x64_ctx *);
void x64_loop_gate(struct x64_ctx *);                                    /* at the block's entry: room to go to the copy, if it is a loop */
bool x64_loop_wanted(const struct x64_ctx *);                            /* asked at each jcc: is it the loop's, and does its state suit? */
void x64_loop_note(struct x64_ctx *, const struct tb_exit *);            /* its jcc has just been emitted */
void x64_emit_loop(struct x64_ctx *, struct tb_exit *);                  /* its out-of-line code has just been emitted */
struct x64_mem x64_loop_operand(struct x64_ctx *);
void x64_loop_miss(struct x64_ctx *, uint8_t *from);                     /* its probe branches at FROM when it misses */
void x64_twin_note(struct x64_ctx *);                                    /* the current access's check begins here in the ordinary code */

/* ---- trial.c ---- */
bool x64_wants_trial(const struct x64_ctx *);
void x64_trial_count(struct x64_ctx *);                                  /* at the block's entry */

/* ---- lowering, one file a group ---- */
void x64_emit_insn(struct x64_ctx *, uint32_t k);                        /* backend.c: one IR insn, with what goes before and after */
void x64_emit_alu(struct x64_ctx *), x64_emit_shift(struct x64_ctx *), x64_emit_muldiv(struct x64_ctx *), x64_emit_bits(struct x64_ctx *);
void x64_emit_move(struct x64_ctx *);
void x64_emit_mem(struct x64_ctx *), x64_emit_lea(struct x64_ctx *);                  /* mem.c: the one place of the softmmu lowering */
void x64_emit_native(struct x64_ctx *), x64_fpu_check(struct x64_ctx *);
void x64_emit_exit_paths(struct x64_ctx *);
struct tb_count *x64_count(struct x64_ctx *, unsigned guest);            /* ctl.c, -d count: code that counts a run of the stretch to be told; keeps all but r10 */
const void *x64_called_helper(const uint8_t *ret);
/* The jump cache's entry (way 1: the other one) for the guest pc in r11, compared with rax, the salt: equal when the pc is known, and then the code is in the operand returned.
   Takes rax, r10. */
struct x64_mem x64_jump_cache(struct code_buf *, unsigned way);
void x64_emit_ctl(struct x64_ctx *), x64_emit_call(struct x64_ctx *), x64_emit_flagop(struct x64_ctx *);
struct x64_ool *x64_ool(struct x64_ctx *, void (*emit)(struct x64_ctx *, struct x64_ool *));

/* The guest address m of the current insn is probed for SIZE bytes; then access() is emitted on host memory (base rax, index r10; or r10 alone
   when need_flags or combine). Before: values in acc are in registers other than rax and r10. After: rax and r10 are free. */
void x64_mem_access(struct x64_ctx *, unsigned size, unsigned kind /* enum native_mem */, struct x64_acc *, x64_access, bool combine);
/* The flags were handled and rax, r10 emptied: first half of the above, for callers that place values in between. */
void x64_mem_prepare(struct x64_ctx *);
unsigned x64_value_reg(struct x64_ctx *, ir_ref, unsigned size, bool own);   /* in a pinned register or r11 (own: always a copy in r11) */

void x64_addend(struct x64_ctx *, unsigned of, struct x64_mem from);         /* r10 = the addend called OF (struct x64_ctx: addend_of) */
struct x64_mem x64_region_field(unsigned region, size_t field);              /* of struct mem_region; region: 1 + number */

/* A condition on flags that are only in memory: tests a bit there; returns the condition to use afterwards, or -1. */
int x64_cc_from_mem(struct x64_ctx *, unsigned cc);

/* ---- stubs.c, patch.c ---- */
/* disas.c: host instructions as text, one after the other; how many, or -1 (no library, logged once). */
int x64_each_insn(const uint8_t *code, size_t len, uint64_t addr, void (*each)(void *opaque, uint64_t addr, const char *text), void *opaque);
int x64_init(struct tcg *, const struct tcg_frontend *);
extern struct x64_stubs x64_stubs;
void x64_link(struct tcg *, struct tb *, unsigned n, struct tb *dest);
int x64_move(struct tcg *, const struct tb *from, struct tb *to);
bool x64_same(struct tcg *, const struct tb *a, const struct tb *b);
void x64_native_encoding(struct code_buf *, const struct ir_native *, const struct x64_acc *, const struct x64_mem *m, unsigned rm);
/* The mask and the elements of a masked access go to env; the FPU is the guest's. */
void x64_lanes_to_env(struct code_buf *c, const struct ir_native *n);
void x64_trap_init(struct tcg *);
uint64_t x64_native_trap(uint64_t pc, enum tcg_host_fault);           /* a trap in a native record being interpreted: where to go on, or 0 */
unsigned x64_enter(struct tcg_env *, void *code);
int x64_run_native(struct tcg_env *, const struct ir_native *, uint64_t io[5], uint32_t *flags, void *mem);
/* fpu.c: the head of an XSAVE area; the x87's pointers, hidden from the host and shown again. thunk: one instruction that ran outside blocks. */
struct x64_x87 { uint16_t cw, sw, tw, op; uint64_t ip, dp; };
void x64_x87_hide(struct tcg_env *);
void x64_x87_show(struct tcg_env *, uint64_t thunk, uint64_t thunk_end);
#endif
