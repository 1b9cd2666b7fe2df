/* What the translator asks of a host. backend-x86_64/backend.c: x64_backend. */
#ifndef TCG_BACKEND_H
#define TCG_BACKEND_H
#include "tcg/env.h"
#include "tcg/tb.h"

/* Writes go to rw; code runs at rw + rx_delta. touched: registers that code emitted since it was 0 may have written (more than there are, never
   fewer); same: those of a chosen set that it has not. */
#define CODE_HEADER 8        /* before a block's code: the address of its struct tb, by which an exit finds it */
struct code_buf { uint8_t *rw; intptr_t rx_delta; uint8_t *p, *end; uint16_t touched, same; struct code_places *places; };

/* What of a block's code depends on where things are, noted while it is emitted (when there is somewhere to note it): offsets in the buffer, ascending. */
enum code_place { PLACE_REL32 /* distance to other code */, PLACE_PC /* imm64: a guest pc */, PLACE_KINDS };
#define CODE_MAX_PLACES 2048
struct code_places { const uint8_t *from /* of the block: distances to below it are places */; unsigned n; struct { uint8_t *at; uint8_t kind; } place[CODE_MAX_PLACES]; };       /* n may exceed the room: then it is of no use */

struct tcg_backend {
    const char *name;
    /* Emit entry, exit and slow-path stubs shared by all blocks; 0 or -errno. */
    int (*init)(struct tcg *, const struct tcg_frontend *);
    /* Translate; fills tb->code, exits, fault map. 0, or -ENOSPC when the buffer is full (ordinary: the cache is reset and we retry). */
    int (*emit)(struct tcg *, const struct ir_block *, struct tb *);
    /* TO is FROM at another pc (to->key; FROM has places): its code, and its exits' places in it, all unlinked. 0, or -ENOSPC. General registers only. */
    int (*move)(struct tcg *, const struct tb *from, struct tb *to);
    /* Is A the code of B, both at the same pc and neither linked? */
    bool (*same)(struct tcg *, const struct tb *a, const struct tb *b);
    /* Patch exit N of tb to go to dest (NULL: back to its unlinked stub). Safe while other threads run the code. */
    void (*link)(struct tcg *, struct tb *, unsigned n, struct tb *dest);
    /* Run translated code from CODE until it leaves; returns the tcg_exit reason (env->exit_info has the rest). */
    unsigned (*enter)(struct tcg_env *, void *code);
    /* Execute one native record outside translated code, for the interpreter: refs are values in and out. 0, or 1 + the enum tcg_host_fault
       that it met; then only the FPU state (its sticky flags) has changed. */
    int (*run_native)(struct tcg_env *, const struct ir_native *, uint64_t io[5] /* d e a b c */, uint32_t *flags, void *mem);
    /* Emitted code as text, an instruction a call: how many, or -1. */
    int (*disas)(const uint8_t *rx, size_t len, uint64_t addr, void (*line)(void *opaque, uint64_t addr, const char *text), void *opaque);
};
extern const struct tcg_backend x64_backend;      /* backend-x86_64/backend.c */
#endif
