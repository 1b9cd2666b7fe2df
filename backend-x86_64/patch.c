/* Linking blocks by rewriting rel32s (tcg/tb.h describes an exit's code), and copying one to run at another pc. General registers only: called between
   blocks. */
#include <errno.h>
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

static void copy_bytes(uint8_t *to, const uint8_t *from, size_t n) { __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); }

/* At the same place in a line of the cache: what was aligned still is. The exits are as they were before they were linked. */
int x64_move(struct tcg *t, const struct tb *from, struct tb *to)
{
    struct code_buf *c = &t->buf;
    const uint8_t *old = from->code - c->rx_delta;
    uint8_t *p = c->p + CODE_HEADER;
    p += ((uintptr_t)old - (uintptr_t)p) & 63;
    if (p + from->code_size + 65536 > c->end)
        return -ENOSPC;
    *(struct tb **)(p - CODE_HEADER) = to;
    copy_bytes(p, old, from->code_size);
    c->p = p + from->code_size;
    to->code = p + c->rx_delta;
    to->code_size = from->code_size;
    for (unsigned i = 0; i < from->n_places; i++) {
        uint8_t *at = p + from->places[i] / PLACE_KINDS;
        switch (from->places[i] % PLACE_KINDS) {
        case PLACE_REL32: *(int32_t *)at -= (int32_t)(p - old); break;
        default: *(uint64_t *)at += to->key.pc - from->key.pc;
        }
    }
    for (unsigned n = 0; n < to->n_exits; n++) {
        x64_link(t, to, n, NULL);
        if (to->exits[n].gen)
            *(uint32_t *)(p + to->exits[n].gen) = 0;
    }
    return 0;
}

/* b has places: byte for byte, but for distances to stubs, which lead to the same ones. */
bool x64_same(struct tcg *t, const struct tb *a, const struct tb *b)
{
    const uint8_t *pa = a->code - t->buf.rx_delta, *pb = b->code - t->buf.rx_delta;
    if (a->code_size != b->code_size)
        return false;
    for (uint32_t off = 0, n = 0; off < a->code_size; off++) {
        if (n == b->n_places || off != b->places[n] / PLACE_KINDS) {
            if (pa[off] != pb[off])
                return false;
            continue;
        }
        switch (b->places[n++] % PLACE_KINDS) {
        case PLACE_REL32:
            if (pa + *(const int32_t *)(pa + off) != pb + *(const int32_t *)(pb + off))
                return false;
            off += 3;
            break;
        default:
            if (*(const uint64_t *)(pa + off) != *(const uint64_t *)(pb + off))
                return false;
            off += 7;
        }
    }
    return true;
}
