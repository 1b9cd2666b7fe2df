/*
 * The translator as its parts see it, and what vmm calls. One struct tcg a machine; code cache and lookup structures are shared by its
 * vCPUs. Lock: t->lock protects everything here but emitted code itself; taken by fast.c's lookups as a spin lock (they may not call libc).
 */
#ifndef TCG_TCG_H
#define TCG_TCG_H
#include "core/spin.h"
#include "tcg/backend.h"
#include "tcg/env.h"
#include "tcg/frontend.h"
#include "tcg/tb.h"

#define TCG_ARGS 3
#define TCG_HOT_SAMPLES 2             /* of a 1 kHz clock of the thread's CPU time */
#define TCG_HOT_TURNS 32              /* of a block that is a loop */
/* What is kept about linear pcs, of blocks and of instructions. Where a set forgets, or two address spaces have the same pc, only speed is lost. */
enum tcg_learned {
    LEARNED_HOT,             /* a block: often met */
    LEARNED_TRIED,           /* a hot block: how its accesses are best checked is known */
    LEARNED_TLB,             /* an instruction: region descriptors do not serve its accesses */
    LEARNED_APART,           /* an instruction: nor can they share a check with others */
    LEARNED_KEEP_IR,         /* while profiling, a block: its IR is to be kept, as hot blocks' is */
    TCG_LEARNED
};
#define TCG_LEARNED_BITS 14
#define TB_HASH_BITS 19
#define TB_PAGE_HASH_BITS 14
#define TCG_ORIGIN_BITS 16
#define TCG_PARTS 8u

/* Why translated code was left: the value of backend->enter. Counted: the rows left_* of core/counters.def. */
enum tcg_exit {
    TCG_EXIT_SITE,           /* an exit without a link: env->exit_info is the struct tb, the low byte of saved_misc which of its exits */
    TCG_EXIT_JMPI,           /* indirect jump that missed the jump cache; pc stored */
    TCG_EXIT_LOOKUP,         /* pc stored, mode may have changed */
    TCG_EXIT_POLL,           /* pending work; likewise */
    TCG_EXIT_REASON,         /* IR exit: env->exit_info = imm; pc stored */
    TCG_EXIT_UNWIND,         /* tcg_unwind or a host fault: state restored; env->exit_info = enum tcg_unwind */
};

struct tcg {
    const struct tcg_frontend *fe;
    const struct tcg_backend *be;
    struct aspace *mem;
    bool interp;
    unsigned max_insns;              /* guest instructions a block (-one-insn-per-tb: 1) */
    uint32_t lock;
    bool exclusive;                  /* a vCPU wants to be, or is, alone (world.c) */
    /* code cache: the same memory mapped twice */
    uint8_t *rw, *rx; size_t cache_size;
    struct code_buf buf;             /* what is free of the part in use */
    uint8_t *blocks_start;           /* rw: after the stubs */
    uint32_t flush_count;
    struct arena meta;               /* struct tb and their arrays: of the part in use */
    char *meta_base;
    struct tcg_part { struct tb **by_code; unsigned n; } part[TCG_PARTS];       /* cache.c; by_code: in order of address */
    unsigned n_parts, now;
    struct tb *hash[1 << TB_HASH_BITS];
    struct tb *pages[1 << TB_PAGE_HASH_BITS];
    struct tb *origins[1 << TCG_ORIGIN_BITS];
    struct ir_block *ir;             /* scratch of the translation under way */
    union counters n;
    struct tb_count *counts;         /* -d count */
    void (*on_block)(const struct tb *);       /* each block of host code, when it has been made or copied; one call at a time; or NULL */
    bool profiling;                  /* profile.c */
    bool counting;                   /* all blocks made from now on count how often they run, without their host instructions */
    struct { uint64_t at, tsc; uint32_t n; } region_miss[1024];  /* by host return address: recent misses, to find accesses that no region serves */
    uint64_t learned[TCG_LEARNED][1 << TCG_LEARNED_BITS];        /* linear pcs: direct-mapped sets */
    unsigned next_trial;             /* of env->trial */
    bool check_moves;                /* stress: what tcg_move makes is compared with a translation */
    uint64_t random;                 /* stress: state of a random sequence, 0: none. Blocks of any length, exits unlinked, scratch registers in any order, looks at what is pending */
    uint64_t spoil_pc;               /* lock-step's own test: what is there is translated wrongly, in this form of it; 0: none */
    enum { SPOIL_ANY, SPOIL_BLOCK /* with others */, SPOIL_HOT /* in a hot block */, SPOIL_FLAGS /* flags from another block */ } spoil_form;
    uint64_t salt_seed; uint32_t next_salt, salt_epoch;
    struct { uint64_t pc; int64_t ns; uint32_t n; } lost[1024];  /* by linear pc: how often in a short time a store took the block that starts there */
    struct { uint32_t mode, gen; uint64_t cs_base, salt; } salts[1024];
    struct tcg_env *envs[64]; unsigned n_envs;
};

/* ---- vmm's interface ---- */
struct tcg *tcg_new(const struct tcg_frontend *, const struct tcg_backend *, struct aspace *mem, size_t cache_size, bool interp);   /* NULL: logged */
void tcg_free(struct tcg *);
/* Allocates stack, env and guest CPU state (zeroed); the frontend's CPU is tcg_cpu(env). */
struct tcg_env *tcg_env_new(struct tcg *, struct vcpu *);
void tcg_env_free(struct tcg_env *);
int tcg_sampler_start(struct tcg_env *);           /* on the vCPU's thread: 0 or -errno */
/* What a SIGPROF's value points to, from the env: the sampler's and the profile's (profile.h) come at different times. */
enum { TCG_SAMPLE_HOT, TCG_SAMPLE_PROFILE };
void tcg_run(struct tcg_env *);                    /* on the vCPU's thread until VCPU_EXIT is pending */
/* Deliver what is pending, then run one guest instruction (tcg->max_insns is 1), whose key goes to *key. False: halted. */
bool tcg_step(struct tcg_env *, struct tb_key *key);
void tcg_show(struct tcg_env *, const struct tb_key *, unsigned max);     /* translate what is there once more, for -d in_asm,ir,opt,out_asm */
/* Deliver what is pending, then run as tcg_run does until something needs attention; what comes next is left for the next turn. False: halted. */
bool tcg_turn(struct tcg_env *);
void tcg_state_changed(struct tcg_env *);
/* The vCPU has left tcg_run: go on with the interpreter, or with translated code. Whatever was derived from memory goes. 0 or -errno. */
int tcg_set_interp(struct tcg_env *, bool interp);
struct mmu *tcg_peer_mmu(const struct tcg_env *);  /* of the machine's first vCPU, NULL for itself: to make env->mmu */
void tcg_watch_code(struct tcg_env *);             /* after env->mmu was made */
extern __thread struct tcg_env *tcg_running;       /* this thread's vCPU, while it is in tcg_run or tcg_step */

/* ---- cache.c ---- */
int tcg_cache_init(struct tcg *, size_t size);
void tcg_cache_start(struct tcg *);
void tcg_cache_flush(struct tcg *);
void tcg_cache_next(struct tcg *);
size_t tcg_cache_used(const struct tcg *);         /* bytes of code */
struct tb *tcg_tb_new(struct tcg *);
void tcg_tb_insert(struct tcg *, struct tb *);
void tcg_tb_insert_locked(struct tcg *, struct tb *);
void tcg_invalidate_range(struct tcg *, gpa_t gpa, unsigned len, enum counter why);
unsigned tcg_max_insns(struct tcg *, uint64_t pc, unsigned max);       /* fewer than max where stores into code keep taking blocks away */
static inline uint32_t tb_hash(uint64_t pc, gpa_t phys, uint32_t mode)
{
    uint64_t h = (pc ^ phys * 0x9e3779b97f4a7c15ull ^ (uint64_t)mode << 40) * 0xbf58476d1ce4e5b9ull;
    return (uint32_t)(h >> (64 - TB_HASH_BITS));
}
static inline unsigned tb_page_hash(gpa_t gpa) { return (unsigned)((gpa >> PAGE_BITS) * 0x9e3779b1u >> 7) & ((1u << TB_PAGE_HASH_BITS) - 1); }
/* Lists by page hold tagged pointers: bit 0 says which of the block's two pages the link belongs to. */
static inline struct tb **tb_page_link(struct tb *tagged) { return &((struct tb *)((uintptr_t)tagged & ~1ull))->page_next[(uintptr_t)tagged & 1]; }
static inline unsigned tcg_half(const struct tcg *t, uint32_t mode, uint64_t pc) { return pc >= t->fe->upper[(mode & t->fe->wide) != 0]; }
static inline unsigned tcg_jc_index(uint64_t va) { return (unsigned)((va ^ va >> 12) & ((1 << TCG_JC_BITS) - 1)); }

/* ---- retire.c: general registers only ---- */
void tcg_tb_invalidate(struct tcg *, struct tb *, enum counter why);        /* CNT_drop_... */
struct tb *tcg_tb_by_code(struct tcg *, const void *rx);

/* vCPUs may step on each other's states: it is random all the same. */
static inline unsigned tcg_random(struct tcg *t, unsigned n)
{
    uint64_t r = __atomic_load_n(&t->random, __ATOMIC_RELAXED);
    r ^= r << 13, r ^= r >> 7, r ^= r << 17;
    __atomic_store_n(&t->random, r, __ATOMIC_RELAXED);
    return (unsigned)(r >> 20) % n;
}

/* ---- move.c: blocks made from others that differ in pc only ---- */
struct tb *tcg_move(struct tcg_env *, const struct tb_key *, unsigned max);       /* NULL: there is none to make it from */
void tcg_origin_add(struct tcg *, struct tb *);
void tcg_origin_drop(struct tcg *, struct tb *);

/* ---- translate.c ---- */
struct tb *tcg_translate(struct tcg_env *, const struct tb_key *, unsigned max);

/* ---- fast.c: general registers only ---- */
struct tb *tcg_find(struct tcg_env *, const struct tb_key *);                    /* NULL: not known without the slow way */
unsigned tcg_chain(struct tcg_env *, void *code);                                /* run, resolving exits, until slow work is needed */
void tcg_update_salts(struct tcg_env *);
void tcg_salts_for(struct tcg_env *, const struct tb_key *);
void *tcg_slow_probe(struct tcg_env *, uint64_t va, uint64_t size_kind);
/* Accesses off one base, probed by the first of them: how many bytes, read or write (enum native_mem) of them all and of the first,
   which is so far from the lowest and has so many bytes (0: it must not be asked for without its other checks). a32: addresses have 32 bits. */
#define TCG_GROUP(span, kind, own_kind, a32, own_at, own) \
    ((uint32_t)(span) | (uint32_t)(kind) << 8 | (uint32_t)(own_kind) << 10 | (uint32_t)(a32) << 12 | (uint32_t)(own_at) << 16 | (uint32_t)(own) << 24)
void *tcg_slow_group(struct tcg_env *, uint64_t va, uint64_t how);               /* the host address of va, good for all of them; or no return */
void tcg_slow_commit(struct tcg_env *);
void tcg_unlink_in(struct tcg *, struct tb *);

/* ---- learn.c: general registers only ---- */
static inline unsigned tcg_pc_slot(uint64_t pc) { return (unsigned)(pc ^ pc >> TCG_LEARNED_BITS) & ((1u << TCG_LEARNED_BITS) - 1); }
static inline bool tcg_has_learned(const struct tcg *t, enum tcg_learned what, uint64_t pc) { return t->learned[what][tcg_pc_slot(pc)] == pc; }
static inline void tcg_learn(struct tcg *t, enum tcg_learned what, uint64_t pc) { t->learned[what][tcg_pc_slot(pc)] = pc; }
void tcg_note_region_miss(struct tcg_env *, unsigned region, bool in_vain);
void tcg_note_group_miss(struct tcg_env *);
/* The block's code is complete. many: a run may be many turns of a loop. */
void tcg_trial_begin(struct tcg *, struct tb *, bool many);
void tcg_trial_over(struct tcg_env *);                                           /* called by the block */
void tcg_sample(struct tcg *, struct tcg_env *, uint64_t rx);
void tcg_retire(struct tcg_env *);

static inline void tcg_lock(struct tcg *t)
{
    uint64_t waited = spin_lock(&t->lock);
    if (unlikely(waited)) {
        t->n.tcg_waits++;
        t->n.tcg_wait_time += waited;
    }
}
static inline void tcg_unlock(struct tcg *t) { spin_unlock(&t->lock); }

/* ---- world.c ---- */
static inline void tcg_go_outside(struct tcg_env *env) { __atomic_store_n(&env->inside, false, __ATOMIC_SEQ_CST); }    /* keeping no pointer to a block */
/* False: someone wants to be alone; tcg_go_inside waits for that. */
static inline bool tcg_try_inside(struct tcg_env *env)
{
    __atomic_store_n(&env->inside, true, __ATOMIC_SEQ_CST);
    if (likely(!__atomic_load_n(&env->tcg->exclusive, __ATOMIC_SEQ_CST)))
        return true;
    tcg_go_outside(env);
    return false;
}
void tcg_go_inside(struct tcg_env *);
void tcg_stop_others(struct tcg_env *);            /* from inside; back inside after tcg_let_others */
void tcg_let_others(struct tcg_env *);
void tcg_translation_begin(struct tcg_env *);      /* may be outside for a while */
void tcg_translation_end(struct tcg_env *);

/* ---- exec.c ---- */
bool tcg_guest_at(struct tcg *, uint64_t rx, uint64_t *pc);            /* false: RX is in no block */
static inline uint64_t tcg_guest_pc(const struct tb *tb, unsigned gi)
{
    uint64_t pc = tb->key.pc - tb->key.cs_base + tb->guest[gi];
    return tb->narrow ? (uint32_t)pc : pc;
}
uint64_t tcg_guest_pc_at(const struct tb *, uint64_t rx);
void tcg_restore_at(struct tcg_env *, struct tb *, uint64_t rx);
#endif
