/*
 * What the parts of lock-step share: lockstep.c runs the turns, lockstep_feed.c gives both sides the same inputs, lockstep_mem.c keeps B's memory,
 * lockstep_diff.c compares, lockstep_kvm.c is the side on /dev/kvm, lockstep_blocks.c lets the translator run on.
 */
#ifndef VMM_LOCKSTEP_INT_H
#define VMM_LOCKSTEP_INT_H
#include "core/vm.h"
#include "tcg/tcg.h"
#include "x86/cpu.h"

#define LS_MAX_EVENTS 16384           /* of one turn: a repeated INS asks once an element */
#define LS_MAX_REGIONS 256
#define LS_MAX_COPIES 16
#define LS_MAX_PAGES 8192             /* written by one turn, and a few lately written */

enum ls_kind { EV_READ, EV_WRITE, EV_PORT_READ, EV_PORT_WRITE, EV_ACK, EV_GET_TPR, EV_SET_TPR, EV_GET_BASE, EV_SET_BASE, EV_MSR_READ, EV_MSR_WRITE,
               EV_DMA, EV_MAP, EV_SIGHT, EV_SMI };      /* these four before the access that causes them */
struct ls_event { enum ls_kind kind; unsigned size; int ret; uint64_t addr, val; uint8_t *bytes; };

/* Host memory of A and B's copy of it. */
struct ls_copy { uint8_t *a, *b, *track_a, *track_b; uint64_t size; };
struct ls_space { struct aspace *a, *b; struct as_tap tap_a, tap_b; struct region regions[LS_MAX_REGIONS]; unsigned n; bool stale; };
/* A page that one of the two has written lately, in both machines. */
struct ls_page { gpa_t gpa; uint8_t *a, *b; uint8_t *track_a, *track_b, *was /* before the turn, in mode blocks */; };

struct lockstep {
    struct vm *b;
    struct tcg *tcg[2];               /* B's is NULL when it is kvm */
    struct tcg_env *env[2];
    const char *name[2];
    bool lead_interp, kvm, blocks;    /* the order that was asked for */
    bool resync, recording, replaying;
    bool dead;                        /* the devices are gone: A is told again what it was told, like B */
    bool ahead;                       /* B has fetched its next instruction: accessed bits may be set that A sets in the next turn */
    struct vcpu_intc intc;            /* A's real one */
    struct ls_space mem, io;
    struct ls_copy copies[LS_MAX_COPIES]; unsigned n_copies;
    struct ls_event events[LS_MAX_EVENTS]; unsigned n_events, next[2];
    char bad[200];                    /* one of them asked something else */
    struct ls_page pages[LS_MAX_PAGES]; unsigned n_pages;
    struct tb_key key[2];             /* of the instruction just executed */
    struct x86_cpu before; uint32_t before_flags;
    uint64_t before_pc;
    uint64_t count, turns;            /* instructions, of B's in mode blocks; turns */
};
extern struct lockstep ls;

static inline struct x86_cpu *ls_cpu(int i) { return i && ls.kvm ? ls.b->vcpus[0]->cpu : tcg_cpu(ls.env[i]); }

/* ---- lockstep_feed.c ---- */
/* No event yet, none told again. */
void ls_feed_clear(void);
/* Before the first turn, and after the board has connected another interrupt controller. */
void ls_feed_connect(struct vcpu *a);
void ls_record(const struct ls_event *);
uint64_t ls_access_a(void *space, gpa_t addr, uint64_t val, unsigned size, bool write);
uint64_t ls_access_b(void *space, gpa_t addr, uint64_t val, unsigned size, bool write);
/* Has side I asked for everything that the turn's first run was told? */
bool ls_fed(int i);

/* ---- lockstep_mem.c ---- */
void ls_spaces_init(struct vm *a, struct vm *b);
void ls_follow_maps(void);
void ls_copy_memory(void);
void ls_forget_pages(void);
void ls_note_page(gpa_t, int writer);
void ls_keep_pages(void);                                  /* the list's, as they are before a turn */
struct ls_copy *ls_copy_by_track(const uint8_t *track);
/* Bytes that a device has put into memory, into that side's. */
void ls_dma_to(int i, gpa_t addr, const void *bytes, size_t len);

/* ---- lockstep.c ---- */
/* Side I's next instruction, with what belongs to it: the first is recorded, the other is told the same. False: halted. */
bool ls_step(int i);
void ls_report(bool halted_alike);
void ls_copy_cpu(const struct x86_cpu *from, uint32_t flags, int to);
bool ls_pages_differ(bool quiet);
bool ls_pages_stay_different(void);
/* The instruction at that key's pc, as bytes are there now. False: it cannot be decoded. */
struct x86_insn;
bool ls_insn_at(const struct tb_key *, struct x86_insn *);
bool ls_repeats(const struct x86_insn *);                  /* a string instruction that is repeated */

/* ---- lockstep_diff.c ---- */
/* What of the processors differs: a line for each on the log, or none when quiet; bits of UNDEFINED flags may differ. True: something does. */
bool ls_cpus_differ(const struct x86_cpu *a, const struct x86_cpu *b, uint64_t undefined, bool quiet);
bool ls_page_differs(const struct ls_page *, bool quiet);
/* The registers of both, those that differ marked. */
void ls_show_cpus(const struct x86_cpu *a, const struct x86_cpu *b, const char *name_a, const char *name_b);

/* ---- lockstep_kvm.c ---- */
int ls_kvm_init(void);
/* The translator has taken its turn: take the same. False: it cannot be taken; a line on the log. */
bool ls_kvm_turn(bool a_ran);
/* B, a state read from KVM, gets what KVM does not keep of segments from A: the hidden part of those that cannot be used, and granularity (AMD). */
void ls_kvm_settle_segments(const struct x86_cpu *a, struct x86_cpu *b);
void ls_kvm_say(void);

/* ---- lockstep_blocks.c ---- */
bool ls_blocks_turn(struct vcpu *b, bool *on);
#endif
