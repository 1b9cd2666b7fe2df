/*
 * Translation blocks, the code cache and the lookup structures (tcg/cache.c, tcg/link.c, tcg/exec.c).
 */
#ifndef TCG_TB_H
#define TCG_TB_H
#include "tcg/frontend.h"

#define TB_MAX_EXITS 66
#define TB_MAX_CODE 65535u
#define TB_APART 0x80000000u    /* in a block's mode, beside the frontend's bits: each access has a check of its own. Entered by the run loop only. */

enum tb_fl_where {           /* where the flags value is at a point where guest state may be asked for */
    TBF_MEM,                 /* env->flags */
    TBF_HOST,                /* host EFLAGS (host faults only) */
    TBF_RECIPE,              /* recompute: recipes[arg] */
};

/* How to recompute flags from guest registers that still hold what they need. a and b: global numbers, or constants when *_const. */
enum tb_recipe_op { RECIPE_CMP /* of a - b */, RECIPE_AND /* of a & b */, RECIPE_ADDR /* of an addition with result a and addend b */,
                    RECIPE_SUBR /* of a subtraction with result a and subtrahend b */,
                    RECIPE_INC, RECIPE_DEC /* of an increment, decrement with result a; CF is the one in env->flags */ };
struct tb_recipe { uint8_t op, size; bool a_const, b_const; uint64_t a, b; };

struct tb_point { uint32_t off; uint16_t gi; uint8_t fl; uint8_t recipe; };      /* off: host pc - tb->code */

/*
 * With -d count: a stretch of a block's code and how often it was run. Stretches: the FPU check at entry; from there to a way out, for each; a direct
 * exit's spill, and its guard with the jump. The code that counts is not counted, nor is anything out of line but exits. Kept until the program
 * ends, whatever becomes of the block. Approximate where a block branches inside itself: both sides are counted.
 */
struct tb_count {
    struct tb_count *next;
    uint64_t runs;                   /* incremented by the block */
    uint32_t guest, host;            /* guest instructions completed, host instructions, of one run */
    uint32_t from, to;               /* the stretch's offsets */
    uint32_t code, code_end;         /* ... and those of the code that counts it */
};

/*
 * A direct exit. Code, offsets from tb->code:  [patch: jcc/jmp rel32] -> body: spill flags -> guard: poll, code generation -> link: jmp rel32
 * -> stub (unlinked). Linking sets link's target, and lets patch skip the spill, or everything, when the entered block does not need flags.
 */
struct tb_exit {
    uint16_t patch;          /* rel32 of the jump that starts this exit; 0 when body is fallen into */
    uint16_t body, guard, link, stub;
    uint16_t gen;            /* imm32 of the code generation to compare, 0 when the target is in this page */
    uint32_t gen_value;      /* set before linking */
    uint64_t pc;             /* guest pc of the target */
    struct tb *dest;         /* linked to, or NULL */
    struct tb_exit *next_in; /* list of exits linked into dest */
    struct tb *owner;
    uint8_t n;
    bool spills;             /* body spills flags that are only in EFLAGS */
    bool rebuild;            /* ... from the recipe: EFLAGS are gone */
    bool backward;
    bool fpu_live;           /* the FPU is the guest's when this exit is taken */
    uint8_t recipe;          /* 1 + the recipe that can replace the spill; 0 none */
};

/* What a block was made of, and where that is. */
struct tb_bytes { const uint8_t *host[2]; uint64_t epoch; uint8_t b[]; };

struct tb {
    /* what a search looks at comes first */
    struct tb_key key;
    gpa_t phys[2];           /* guest-physical address of the first byte; page of the rest when it crosses, else ~0 */
    struct tb *hash_next;
    struct tb_bytes *bytes;  /* not NULL: the block must be compared with its bytes before each run, until their epoch is settled (softmmu/settle.c) */
    uint8_t *code;           /* rx address */
    uint32_t code_size;      /* at most TB_MAX_CODE */
    uint32_t tight;          /* offset of a loop's copy without checks (backend); 0 none */
    uint16_t fpu_entry;      /* offset of the entry for those who know that the FPU is the guest's */
    uint16_t n_points, n_recipes, n_exits, n_places;
    uint16_t len, n_guest;
    bool needs_flags;        /* flags at entry are read, or could be shown by a fault before they are redefined */
    bool valid, one_insn, uses_fpu;
    bool hot;                /* made with region descriptors */
    bool narrow;             /* guest pcs are taken modulo 2^32 (tcg_guest_pc) */
    bool learned;            /* check-moves: made with what was learned about a pc of it */
    bool moved;              /* copied from a block at another pc */
    uint8_t samples, turns;
    uint8_t trial_share;     /* one in so many runs may miss */
    uint16_t trial;          /* 1 + index of env->trial: the block counts its runs, to learn how its accesses are best checked; else 0 */
    uint16_t *guest;         /* n_guest + 1 offsets of guest instructions, the last one of the block's end */
    struct tb_point *points;
    struct tb_recipe *recipes;
    struct tb_exit *exits;
    struct tb_exit *in;      /* exits of other blocks linked to this one */
    struct tb *page_next[2];
    uint32_t *places;        /* n_places of them: offset * PLACE_KINDS + enum code_place; NULL: it cannot be moved (tcg/move.c) */
    struct tb *origin;       /* the block that this one is a moved copy of, while that one is remembered */
    struct tb *origins_next; /* of those that copies are made from, by physical address */
    struct ir_block *ir;     /* kept for the interpreter, and for -d hot, with made, which is before the passes and has the bytes */
    struct ir_block *made;
};

struct tcg;
#endif
