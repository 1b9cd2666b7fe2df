/*
 * Taking a block out of use, and finding the block of a host pc. General registers only: both happen while the guest owns the FPU. The block's code
 * stays where it is until the cache is emptied, so a vCPU that is inside it may finish it. Under t->lock, but for tcg_tb_by_code.
 */
#include "tcg/tcg.h"

static void unlink_page(struct tcg *t, struct tb *tb, unsigned p)
{
    struct tb **at = &t->pages[tb_page_hash(tb->phys[p])];
    while (*at && *at != (struct tb *)((uintptr_t)tb | p))
        at = tb_page_link(*at);
    if (*at)
        *at = tb->page_next[p];
}

static void unlink_hash(struct tcg *t, struct tb *tb)
{
    struct tb **at = &t->hash[tb_hash(tb->key.pc, tb->phys[0], tb->key.mode)];
    while (*at && *at != tb)
        at = &(*at)->hash_next;
    if (*at)
        *at = tb->hash_next;
}

static void unlink_out(struct tb *tb)
{
    for (unsigned i = 0; i < tb->n_exits; i++) {
        struct tb_exit *e = &tb->exits[i];
        if (!e->dest)
            continue;
        struct tb_exit **at = &e->dest->in;
        while (*at && *at != e)
            at = &(*at)->next_in;
        if (*at)
            *at = e->next_in;
        e->dest = NULL;
    }
}

void tcg_tb_invalidate(struct tcg *t, struct tb *tb, enum counter why)
{
    if (!tb->valid)
        return;
    tb->valid = false;
    t->n.all[why]++;
    unlink_hash(t, tb);
    if (tb->places || tb->origin)
        tcg_origin_drop(t, tb->origin ? tb->origin : tb);
    for (unsigned p = 0; p < 2; p++)
        if (tb->phys[p] != ~0ull)
            unlink_page(t, tb, p);
    tcg_unlink_in(t, tb);
    unlink_out(tb);
    for (unsigned i = 0; i < t->n_envs; i++) {
        unsigned at = tcg_jc_index(tb->key.pc);
        for (unsigned way = 0; way < 2; way++)
            if (t->envs[i]->jc[at ^ way].code == tb->code)
                t->envs[i]->jc[at ^ way].tag = 0;
    }
}

struct tb *tcg_tb_by_code(struct tcg *t, const void *rx)
{
    size_t at = (size_t)((const uint8_t *)rx - t->rx);
    if (at >= t->cache_size)
        return NULL;
    const struct tcg_part *p = &t->part[MIN(at / (t->cache_size / t->n_parts & ~63ul), t->n_parts - 1)];
    unsigned lo = 0, hi = __atomic_load_n(&p->n, __ATOMIC_ACQUIRE);
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if ((const uint8_t *)rx < p->by_code[mid]->code)
            hi = mid;
        else
            lo = mid + 1;
    }
    if (!lo)
        return NULL;
    struct tb *tb = p->by_code[lo - 1];
    return (const uint8_t *)rx <= tb->code + tb->code_size ? tb : NULL;
}
