/* Linking blocks by rewriting rel32s (tcg/tb.h describes an exit's code). General registers only: called between blocks. */
#include "backend-x86_64/x64.h"

void x64_link(struct tcg *t, struct tb *tb, unsigned n, struct tb *dest)
{
    struct tb_exit *e = &tb->exits[n];
    uint8_t *rw = tb->code - t->buf.rx_delta;
    const uint8_t *stub = rw + e->stub, *body = rw + e->body;
    if (!dest) {
        x64_set_rel32(rw + e->link, stub);
        if (e->patch)
            x64_set_rel32(rw + e->patch, body);
        return;
    }
    const uint8_t *to = dest->code - t->buf.rx_delta + (e->fpu_live ? dest->fpu_entry : 0);
    if (e->gen)
        __builtin_memcpy(rw + e->gen, &e->gen_value, 4);
    x64_set_rel32(rw + e->link, to);
    if (e->patch) {
        const uint8_t *first = body;
        bool guarded = e->gen || e->backward;
        if (e->spills && !dest->needs_flags && (!guarded || e->recipe))
            first = guarded ? rw + e->guard : to;
        else if (!e->spills && !e->backward && !e->gen)
            first = to;
        x64_set_rel32(rw + e->patch, first);
    }
}
