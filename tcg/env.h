/*
 * What translated code reaches at fixed offsets from the host stack pointer. One allocation a vCPU:
 *
 *     low  [ guard page | host stack for helpers, grows down | struct tcg_env | guest CPU state ]  high
 *                                                            ^ host rsp while translated code runs
 *
 * so the CPU state costs no register. The guest CPU state (struct x86_cpu) starts at TCG_CPU_OFFSET.
 * fpu_live: the host FPU holds the guest's x87/MMX/SSE/AVX state; C code that may use vector registers must not run before
 * tcg_fpu_save. Code reached from translated code without saving is compiled -mgeneral-regs-only (Makefile: REGSONLY).
 */
#ifndef TCG_ENV_H
#define TCG_ENV_H
#include "core/types.h"
#include "core/vcpu.h"
#include "softmmu/mmu.h"

/* Canonical flags word: bits 8..15 as LAHF's AH (SF ZF - AF - PF - CF), bit 0 OF. */
static inline uint32_t fl_from_rflags(uint64_t f) { return (uint32_t)((f & 0xd5) << 8 | ((f >> 11) & 1)); }
static inline uint32_t fl_to_rflags(uint32_t w) { return ((w >> 8) & 0xd5) | (w & 1) << 11; }

#define TCG_JC_BITS 16
/* XSAVE components that the host's registers hold for the guest, if its XCR0 has them: x87 SSE AVX, AVX-512. */
#define TCG_FPU_COMPONENTS 0xe7

/* Region descriptors (softmmu/tlb.h): by privilege bank (0 supervisor, 1 user), then by use: base register, absolute addresses, segment bases. */
#define TCG_REGION_ABS 16
#define TCG_REGION_SEG 17
#define TCG_REGION_USES 18
#define TCG_REGIONS (2 * TCG_REGION_USES)          /* for loads; as many again for stores */

#define TCG_TRIALS 1024
#define TCG_SITES 4096
static inline unsigned tcg_site(uint64_t rx) { return (unsigned)(rx ^ rx >> 12) & (TCG_SITES - 1); }

struct tb_key;

struct tcg_env {
    /* 0 */ uint32_t poll;                 /* nonzero: leave at the next loop edge or indirect branch (vcpu->poll_word) */
    /* 4 */ uint32_t flags;                /* canonical place of the flags value at block edges and in helpers */
    /* 8 */ struct tlb_entry *tlb;         /* data TLB of the current address space and mode (softmmu keeps it) */
    /* 16 */ uint64_t salt[2];             /* numbers of (mode, code generation) for the lower and the upper part of the address space (tcg_half) */
    /* 32 */ uint32_t code_gen[2];         /* equal number = same code mapping (guards cross-page links); from softmmu */
    /* 40 */ uint32_t fpu_live; uint32_t fpu_pad;
    /* 48 */ uint64_t spill[6];            /* backend: temps and saved scratch */
    /* 96 */ uint64_t ret_pc;              /* host return address of the helper or slow path being run: the key to guest pc and flags */
    /* 104 */ void *host_sp;               /* C stack to return to */
    /* 112 */ uint64_t exit_info;          /* why translated code was left: enum tcg_exit | site */
    /* 120 */ uint64_t pad;
    /* 128 */ uint8_t bounce[64] __attribute__((aligned(64)));   /* memory operand of a slow access (MMIO, page crossing) */
    uint64_t args[3];                      /* of the helper being called */
    uint64_t x87_kept[3];                  /* while the FPU is live: the guest's FIP, FDP and FOP as they were loaded (backend's fpu.c) */
    uint64_t native_pc;                    /* interpreter: of the guest instruction whose native record runs */
    uint64_t slow_va, slow_mask;           /* of the access in bounce; of a masked one: its opmask register */
    uint32_t slow_size, slow_lanes;        /* bytes; native_lanes() of a masked one, else 0 */
    void *slow_ptr;                        /* where the instruction of a slow access that writes runs: bounce, or tracked RAM itself */
    uint64_t saved_r11, saved_misc;        /* scratch kept over a slow path */
    uint64_t salt_gens;                    /* code_gen pair that salt[] was made for */
    uint32_t salt_mode, salt_epoch; uint64_t salt_cs_base;
    struct mem_region region[2 * TCG_REGIONS];
    uint64_t group_addend[4];              /* of accesses that share a probe of the TLB (backend) */
    uint64_t regions_live;                 /* some of them may be in use */
    int32_t region_turn, region_turns;     /* user-mode misses until the softmmu is asked for a larger run; how many there were to be */
    uint64_t slots[64];                    /* spilled temps */
    int32_t trial[TCG_TRIALS];             /* runs left of blocks on trial (learn.c) */
    uint32_t site_misses[TCG_SITES];       /* of region descriptors, by tcg_site() of the return address of the slow path's call */
    uint64_t loop_host[6];                 /* addends and turns left in a loop's tight copy (backend) */
    uint32_t loop_left, loop_pad;
    uint32_t saved_flags;                  /* of an instruction on the bounce buffer, until its store is done */
    bool one_insn;                         /* the block being made or run is a single uncached instruction */
    bool apart;                            /* the next block is one whose accesses share no checks (TB_APART) */
    bool need_deliver;                     /* the run loop must ask the frontend before it goes on */
    uint8_t fault_fl;                      /* enum tb_fl_where of the point found by tcg_restore_at */
    struct tb_key *step_key;               /* tcg_step: every block returns to the run loop, and its key goes here; else NULL */
    struct tb *cold_tb;                    /* a block to be retranslated (tcg_sample) */
    struct tb *interp_tb;                  /* block being interpreted */
    void *interp;                          /* struct interp_state */
    struct mmu *mmu;
    struct vcpu *vcpu;
    struct tcg *tcg;
    const struct tcg_frontend *fe;
    void *host_unwind[8];                  /* __builtin_setjmp buffer of the run loop */
    bool inside, alone, translating;       /* tcg/world.c */
    bool delivering;                       /* the frontend delivers an exception or an interrupt */
    int tid;                               /* of the vCPU's thread; 0: it does not run yet */
    struct tcg_profile *profile;           /* tcg/profile.h; NULL: never asked for */
    bool stop_others;                      /* the next step is one instruction while no other vCPU runs */
    bool in_code;                          /* translated code (or a helper it called) is running: unwinding rebuilds pc and flags */
    uint8_t *stack_base; size_t stack_size;
    uint64_t stat_insns;                   /* -d exec counters */
    struct { uint64_t tag; void *code; } jc[1 << TCG_JC_BITS] __attribute__((aligned(64)));     /* jump cache: linear pc ^ salt (0: empty) and the block's code; see tcg/fast.c */
} __attribute__((aligned(64)));

#define TCG_CPU_OFFSET sizeof(struct tcg_env)
static inline void *tcg_cpu(struct tcg_env *e) { return (char *)e + TCG_CPU_OFFSET; }
static inline struct tcg_env *tcg_env_of(void *cpu) { return (struct tcg_env *)((char *)cpu - TCG_CPU_OFFSET); }

/* Store the live host FPU state into the guest CPU state (frontend's fpu area) and load the C environment's; no-op when not live. */
void tcg_fpu_save(struct tcg_env *);
void tcg_fpu_load(struct tcg_env *);           /* the reverse */

/* Leave the helper or slow path now, noreturn. The guest's pc and flags are first rebuilt for the instruction being executed.
   TCG_UNWIND_FAULT: the frontend has recorded a pending exception; the run loop delivers it. _ONE_INSN: the instruction runs in a block of its own;
   _APART: it and those behind it share no checks of their accesses;
   _ALONE: and while no other vCPU runs (it cannot be atomic otherwise). */
enum tcg_unwind { TCG_UNWIND_FAULT = 1, TCG_UNWIND_LOOKUP, TCG_UNWIND_ONE_INSN, TCG_UNWIND_APART, TCG_UNWIND_ALONE };
void tcg_unwind(struct tcg_env *, enum tcg_unwind) __attribute__((noreturn));
/* The same rebuilding without leaving (helpers that must see exact pc/flags; they are exact already on entry to an IR call). */
void tcg_restore_state(struct tcg_env *);
#endif
