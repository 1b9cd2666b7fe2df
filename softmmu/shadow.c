/*
 * Shadow page tables: inserting what a guest walk found, dropping what a guest write changed, giving pages up.
 *
 * In: struct mmu_walk, writes to tracked table pages. Out: shadow entries that shadow_lookup (internal.h) follows.
 * Invariants: a shadow page's table is tracked as long as it exists; a child knows all its parents' entries; a leaf that leaves the
 * shadow leaves all TLBs in the same critical section, and one that was handed out for code renews the code generations.
 * A page without parents stays (a process may come back to it) until the LRU or the write-flood rule takes it.
 * Locks: everything here runs with m->lock held. Manual: SDM 3A 4.10 (what a processor may cache; we cache less long than it may).
 */
#include <stdlib.h>
#include <string.h>
#include "core/alloc.h"
#include "softmmu/internal.h"

static unsigned sp_hash(const struct pt_page *pt, uint64_t tag, unsigned bits)
{
    return (ptr_hash(pt) ^ (unsigned)(tag * 0x9e3779b1u) ^ bits * 977) & (HASH_SIZE - 1);
}

static gva_t entry_va(const struct shadow_page *sp, unsigned i) { return sp->tag << sp->shift | (uint64_t)i << sp->bits; }

static void gens_drop(struct mmu_shared *m, uint64_t mask, gva_t va)
{
    if (va >> 63 || va >> 30 == 3)                 /* the latter is an upper part in some modes, and not in others (tcg/frontend.h) */
        for (unsigned i = 0; i < N_SPACES; i++)
            m->groups[i].gen = gen_fresh(m);
    if (!(va >> 63))
        for (; mask; mask &= mask - 1)
            m->spaces[__builtin_ctzll(mask)].gen_lo = gen_fresh(m);
    gens_sync(m);
}

static void leaf_gone(struct mmu_shared *m, struct shadow_page *sp, unsigned i)
{
    gva_t va = entry_va(sp, i);
    drop_seq_next(m);
    if (!sp->as_mask)
        return;
    tlb_drop_range(m, sp->as_mask, va, sp->bits);
    if (sp->e[i] & SE_FETCHED)
        gens_drop(m, sp->as_mask, va);
}

/* All leaves under SP leave the TLBs; the shadow itself stays. */
static void subtree_gone(struct mmu_shared *m, struct shadow_page *sp)
{
    unsigned left = sp->live;
    for (unsigned i = 0; left; i++) {
        if (!sp->e[i])
            continue;
        left--;
        if (sp->e[i] & SE_CHILD)
            subtree_gone(m, se_child(sp->e[i]));
        else
            leaf_gone(m, sp, i);
    }
}

static void parent_remove(struct shadow_page *child, struct shadow_page *parent, unsigned idx)
{
    for (unsigned i = 0; i < child->n_parents; i++) {
        if (child->parents[i].parent == parent && child->parents[i].idx == idx) {
            child->parents[i] = child->parents[--child->n_parents];
            return;
        }
    }
}

static void parent_add(struct shadow_page *child, struct shadow_page *parent, unsigned idx)
{
    if (child->n_parents == child->cap_parents) {
        child->cap_parents = child->cap_parents ? child->cap_parents * 2 : 2;
        child->parents = xrealloc(child->parents, child->cap_parents * sizeof(*child->parents));
    }
    child->parents[child->n_parents++] = (struct parent_link){ parent, idx };
}

/* Does the second generation of S hold for some address of entry I of its top table SP? A space that has used the upper half of 64-bit addresses has no
   other upper part. */
static bool in_upper_part(const struct space *s, const struct shadow_page *sp, unsigned i)
{
    gva_t va = entry_va(sp, i);
    return va >> 63 || (!(s->upper && is_upper_half(s->upper)) && va < BIT(32) && va + BIT(sp->bits) > 3 * BIT(30));
}

/*
 * The spaces whose top table is SP lose what entry I of it led to. The pages below may be shared with spaces that still reach them by their
 * own top tables, so nothing is dropped there: these spaces start with empty TLBs and new generations. (A process's top table being
 * reused costs no other process anything.) False: SP is nobody's top table.
 */
static bool top_entry_gone(struct mmu_shared *m, struct shadow_page *sp, unsigned idx)
{
    if (sp->n_parents)
        return false;
    for (unsigned i = 0; i < N_SPACES; i++) {
        struct space *s = &m->spaces[i];
        for (unsigned j = 0; j < s->n_slots; j++) {
            if (s->slot[j].sp != sp)
                continue;
            tlbs_reset(m, s);
            s->gen_lo = gen_fresh(m);
            if (in_upper_part(s, sp, idx))
                space_leave_group(m, s);
            break;
        }
    }
    gens_sync(m);
    regions_drop(m, false);
    return true;
}

static void entry_drop(struct mmu_shared *m, struct shadow_page *sp, unsigned i)
{
    uint64_t e = sp->e[i];
    if (!e)
        return;
    m->n.shadow_drops++;
    drop_seq_next(m);
    if (e & SE_CHILD) {
        if (!top_entry_gone(m, sp, i))
            subtree_gone(m, se_child(e));
        parent_remove(se_child(e), sp, i);
    } else {
        leaf_gone(m, sp, i);
    }
    sp->e[i] = 0;
    if (!--sp->live)
        sp->as_mask = 0;
}

static void lru_unlink(struct shadow_page *sp)
{
    sp->lru_prev->lru_next = sp->lru_next;
    sp->lru_next->lru_prev = sp->lru_prev;
}

static void lru_front(struct mmu_shared *m, struct shadow_page *sp)
{
    sp->lru_next = m->lru.lru_next;
    sp->lru_prev = &m->lru;
    sp->lru_next->lru_prev = sp;
    m->lru.lru_next = sp;
}

/* Spaces that have SP as a top table forget it (and with it what made their upper half known). */
static void slots_forget(struct mmu_shared *m, struct shadow_page *sp)
{
    for (unsigned i = 0; i < N_SPACES; i++) {
        struct space *s = &m->spaces[i];
        for (unsigned j = 0; j < s->n_slots; j++) {
            if (s->slot[j].sp != sp)
                continue;
            if (is_upper_half(sp))
                space_leave_group(m, s);
            s->slot[j--] = s->slot[--s->n_slots];
        }
    }
}

/* Frees SP; its table page is untracked when this was its last shadow. */
static void sp_free(struct mmu_shared *m, struct shadow_page *sp)
{
    struct pt_page *pt = sp->pt;
    struct shadow_page **p;

    for (unsigned i = 0; sp->live; i++)
        entry_drop(m, sp, i);
    while (sp->n_parents) {
        struct parent_link *l = &sp->parents[sp->n_parents - 1];
        entry_drop(m, l->parent, l->idx);       /* removes the link */
    }
    slots_forget(m, sp);
    for (p = &m->hash[sp_hash(pt, sp->tag, sp->bits)]; *p != sp; p = &(*p)->hash_next)
        ;
    *p = sp->hash_next;
    for (p = &pt->pages; *p != sp; p = &(*p)->pt_next)
        ;
    *p = sp->pt_next;
    lru_unlink(sp);
    m->n_shadow--;
    drop_seq_next(m);
    free(sp->parents);
    free(sp);
    if (!pt->pages)
        pt_free_locked(m, pt);
}

void shadow_zap_all_locked(struct mmu_shared *m)
{
    while (m->lru.lru_next != &m->lru)
        sp_free(m, m->lru.lru_next);
    for (unsigned i = 0; i < HASH_SIZE; i++)    /* tables tracked by a walk that was not inserted yet */
        while (m->pt_hash[i])
            pt_free_locked(m, m->pt_hash[i]);
}

void shadow_zap_context_locked(struct mmu_shared *m, unsigned context)
{
    struct shadow_page *next;
    for (struct shadow_page *sp = m->lru.lru_next; sp != &m->lru; sp = next) {
        next = sp->lru_next;
        if (sp->context == context)
            sp_free(m, sp);            /* frees no other page */
    }
}

/* Called before an insertion, which then needs at most MAX_LEVELS pages and frees none. */
void shadow_make_room_locked(struct mmu_shared *m)
{
    if (m->n_shadow + MAX_LEVELS < MAX_SHADOW)
        return;
    for (unsigned i = 0; i < 64; i++)
        sp_free(m, m->lru.lru_prev);
}

/* Bytes of the table page PT have changed. */
void shadow_pt_write_locked(struct mmu_shared *m, struct pt_page *pt, unsigned off, unsigned len)
{
    for (struct shadow_page *sp = pt->pages; sp; sp = sp->pt_next) {
        unsigned last = (off + len - 1) / sp->entry_size;
        for (unsigned i = off / sp->entry_size; i <= last; i++) {
            if (i < sp->first)
                continue;
            entry_drop(m, sp, i - sp->first);
        }
        if (!sp->n_chain && is_upper_half(sp) && off + len > PAGE_SIZE / 2)      /* no longer equal to others' */
            for (unsigned i = 0; i < N_SPACES; i++)
                for (unsigned j = 0; j < m->spaces[i].n_slots; j++)
                    if (m->spaces[i].slot[j].sp == sp)
                        space_leave_group(m, &m->spaces[i]);
    }
    drop_seq_next(m);
    pt->flood += (len + 7) / 8;
    if (pt->flood < FLOOD_LIMIT)
        return;
    if (!pt->pages) {
        pt_free_locked(m, pt);
        return;
    }
    while (pt->pages->pt_next)
        sp_free(m, pt->pages);
    sp_free(m, pt->pages);              /* the last one frees PT too */
}

/* The shadow of walk level K for VA under CHAIN. */
static struct shadow_page *sp_get(struct mmu_shared *m, const struct mmu_walk *w, int k, gva_t va, struct pt_page *pt,
                                  const uint64_t *chain, unsigned n_chain)
{
    unsigned bits = w->entry_bits[k], n = PAGE_SIZE / w->entry_size, shift = bits + (w->entry_size == 8 ? 9 : 10);
    unsigned first = (w->entry[k] & (PAGE_SIZE - 1)) / w->entry_size - ((va >> bits) & (n - 1));
    uint64_t tag = va >> shift;
    unsigned h = sp_hash(pt, tag, bits);
    struct shadow_page *sp;

    for (sp = m->hash[h]; sp; sp = sp->hash_next)
        if (sp->pt == pt && sp->tag == tag && sp->bits == bits && sp->entry_size == w->entry_size && sp->first == first &&
            sp->n_chain == n_chain && sp->context == w->context && !memcmp(sp->chain, chain, n_chain * sizeof(*chain)))
            break;
    if (sp) {
        lru_unlink(sp);
    } else {
        sp = xzalloc(sizeof(*sp) + n * sizeof(sp->e[0]));
        *sp = (struct shadow_page){ .pt = pt, .tag = tag, .bits = bits, .shift = shift, .entry_size = w->entry_size, .first = first, .n_chain = n_chain,
                                     .context = w->context };
        memcpy(sp->chain, chain, n_chain * sizeof(*chain));
        sp->hash_next = m->hash[h];
        m->hash[h] = sp;
        sp->pt_next = pt->pages;
        pt->pages = sp;
        m->n_shadow++;
    }
    lru_front(m, sp);
    return sp;
}

static void slot_set(struct mmu_shared *m, struct space *s, struct shadow_page *sp)
{
    unsigned i = 0;
    while (i < s->n_slots && (s->slot[i].tag != sp->tag || s->slot[i].shift != sp->shift))
        i++;
    if (i < s->n_slots && s->slot[i].sp == sp)
        return;
    if (i < s->n_slots) {               /* another table at the same place: the root changed its format or its PDPTEs */
        subtree_gone(m, s->slot[i].sp);
        space_leave_group(m, s);
    } else if (s->n_slots == N_SLOTS) {
        i = 0;
        subtree_gone(m, s->slot[0].sp);
        space_leave_group(m, s);
    } else {
        s->n_slots++;
    }
    s->slot[i] = (struct slot){ sp->tag, sp->shift, sp };
    if (is_upper_half(sp))
        space_join_group(m, s, sp);
}

/* CHILD is under TOP, a top table of S. */
static void child_set(struct mmu_shared *m, struct space *s, const struct shadow_page *top, const struct shadow_page *child)
{
    bool pae_upper = top->bits == 30 && top->entry_size == 8 && child->tag == 3;
    if (pae_upper && s->upper != child)
        space_join_group(m, s, child);
}

static void entry_set(struct mmu_shared *m, struct shadow_page *sp, unsigned i, uint64_t e)
{
    uint64_t old = sp->e[i];
    e |= e & SE_LEAF ? old & SE_FETCHED : 0;
    if (old == e)
        return;
    /* A leaf that only gained permissions (D was set) need not be dropped: the caller overwrites its TLB entry, others miss and come here. */
    if (old && ((old ^ e) & ~SE_PERMS || old & ~e & SE_PERMS))
        entry_drop(m, sp, i);
    if (!sp->e[i])
        sp->live++;
    sp->e[i] = e;
    if (e & SE_CHILD)
        parent_add(se_child(e), sp, i);
}

static uint64_t guest_entry(const struct pt_page *pt, gpa_t addr, unsigned size)
{
    return ram_load(pt->host + (addr & (PAGE_SIZE - 1)), size);
}

static uint64_t leaf_make(const struct mmu_walk *w, gva_t va)
{
    uint64_t perm = w->perm[0] | w->perm[1] << 3 | w->perm[2] << 6;
    gpa_t base = (w->gpa & PAGE_MASK) - (va & (BIT(w->entry_bits[0]) - 1) & PAGE_MASK);
    return base | perm << SE_PERM | SE_LEAF;
}

/* Structural sanity of a walk: whatever the guest's walker hands out, no index leaves its table. */
static bool walk_fits(const struct mmu_walk *w, gva_t va)
{
    if (!w->n_entries || w->n_entries > MAX_LEVELS || (w->entry_size != 4 && w->entry_size != 8) || w->page_bits != w->entry_bits[0])
        return false;
    for (unsigned k = 0; k < w->n_entries; k++) {
        unsigned n = PAGE_SIZE / w->entry_size;
        if (w->entry_bits[k] < PAGE_BITS || w->entry_bits[k] > 52 || (k && w->entry_bits[k] <= w->entry_bits[k - 1]) ||
            (w->entry[k] & (PAGE_SIZE - 1)) / w->entry_size < ((va >> w->entry_bits[k]) & (n - 1)))
            return false;
    }
    return true;
}

/* Of a walk whose tables have all been tracked. False (and nothing done): it cannot be cached. */
bool shadow_insert_locked(struct mmu_shared *m, struct space *s, gva_t va, const struct mmu_walk *w)
{
    struct shadow_page *parent = NULL;
    struct pt_page *pt[MAX_LEVELS];
    uint64_t chain[MAX_LEVELS];
    unsigned depth = 0;

    if (!walk_fits(w, va))
        return false;
    for (unsigned k = 0; k < w->n_entries; k++) {
        struct ram_run *r = run_find(m, w->entry[k]);
        pt[k] = r ? pt_find_locked(m, r->track + ((w->entry[k] - r->start) >> PAGE_BITS)) : NULL;
        if (!pt[k])
            return false;
    }
    for (int k = w->n_entries - 1; k >= 0; k--) {
        struct shadow_page *sp = sp_get(m, w, k, va, pt[k], chain, depth);
        if (parent)
            entry_set(m, parent, sp_index(parent, va), (uintptr_t)sp | SE_CHILD);
        else
            slot_set(m, s, sp);
        if (parent && !parent->n_chain)
            child_set(m, s, parent, sp);
        pt[k]->flood = 0;
        if (k) {
            chain[depth] = guest_entry(pt[k], w->entry[k], w->entry_size) ^ (w->entry[k - 1] & PAGE_MASK);
            depth++;
        }
        parent = sp;
    }
    entry_set(m, parent, sp_index(parent, va), leaf_make(w, va));
    parent->as_mask |= BIT(s - m->spaces);
    return true;
}
