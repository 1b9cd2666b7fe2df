/*
 * Samples of where vCPUs are, taken by a signal that interrupts each vCPU's thread about a thousand times a second. They cost nothing
 * while they are not asked for. Of a thread that sleeps, or has hardly run since the last one, none is taken: what samples share out among
 * themselves is the processor time of the thread.
 */
#ifndef TCG_PROFILE_H
#define TCG_PROFILE_H
#include "tcg/tcg.h"

enum tcg_place {
#define PLACE(name, what) PLACE_##name,
#include "tcg/places.def"
#undef PLACE
    N_PLACES
};
extern const char *const tcg_place_name[N_PLACES], *const tcg_place_what[N_PLACES];

/* What the back end can tell. site: the address in a block where the thread was, or from where what runs was called; 0: none. helper: of
   PLACE_helper. */
struct tcg_sample { uint64_t pc, site; const void *helper; enum tcg_place place; };

#define PROFILE_SLOTS 32768
#define PROFILE_HELPERS 256

/* Time at one host address: of C code and stubs (key.pc is not set), or at a place in a block, or called from there. */
struct profile_slot {
    uint64_t at;                       /* 0: free */
    uint32_t flush;                    /* which life of the code cache the block belongs to (struct tcg: flush_count) */
    uint8_t place; bool in_block;
    uint32_t samples;
    struct tb_key key; gpa_t phys;     /* of the block */
    uint64_t guest;                    /* linear pc of the guest instruction in it */
};

struct tcg_profile {                   /* a vCPU's; written by its thread's signal handler, read as it stands */
    void *timer; bool armed;
    uint64_t first_ns, last_ns;        /* the thread's processor time at the first and at the last signal; 0: not known yet */
    uint64_t place[N_PLACES], samples, lost;   /* lost: those without room among the slots */
    uint64_t helper[PROFILE_HELPERS];          /* by number in the frontend's table; the last: others */
    struct profile_slot slot[PROFILE_SLOTS];
};

/* From any thread, one at a time. Starting empties what was sampled; what was is kept after stopping. 0 or -errno. */
int tcg_profile_start(struct tcg *);
void tcg_profile_stop(struct tcg *);
/* On the vCPU's thread, before it runs: a profile that was started earlier is taken of it, too. */
int tcg_profile_thread(struct tcg_env *);
/* In the signal handler of the vCPU's thread. */
void tcg_profile_sample(struct tcg_env *, const struct tcg_sample *);
#endif
