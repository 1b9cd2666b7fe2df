/* One block from guest bytes to host code: frontend, passes, backend, registration. Stages are shown by -d in_asm, ir, opt, out_asm. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "core/log.h"
#include "core/ram.h"
#include "tcg/native.h"
#include "tcg/tcg.h"

static void show_guest(struct tcg_env *env, const struct tb_key *key, const struct ir_block *ir)
{
    uint8_t bytes[16];
    char text[128];
    log_printf("IN: pc 0x%llx mode 0x%x\n", (unsigned long long)key->pc, key->mode);
    for (unsigned i = 0; i < ir->n_guest; i++) {
        uint64_t pc = ir->guest[i].pc;
        unsigned len = ir->guest[i].len;
        if (mmu_peek_mem(env->mmu, pc + key->cs_base, bytes, len) < 0 || env->fe->disas(tcg_cpu(env), key, pc, bytes, len, text, sizeof text) < 0)
            strcpy(text, "?");
        log_printf("  0x%llx: %s\n", (unsigned long long)pc, text);
    }
}

static void show_line(void *opaque, uint64_t addr, const char *text) { log_printf("  0x%llx: %s\n", (unsigned long long)addr, text); }

static void keep_guest(struct tcg *t, struct tb *tb, const struct ir_block *ir)
{
    tb->n_guest = (uint16_t)ir->n_guest;
    tb->len = (uint16_t)ir->guest_bytes;
    tb->guest = arena_alloc(&t->meta, sizeof tb->guest[0] * (ir->n_guest + 1));
    for (unsigned i = 0; i < ir->n_guest; i++)
        tb->guest[i] = (uint16_t)(ir->guest[i].pc - ir->pc);
    tb->guest[ir->n_guest] = tb->len;
    for (unsigned i = 0; i < ir->n_guest && !tb->narrow; i++)
        tb->narrow = tcg_guest_pc(tb, i) != ir->guest[i].pc;
}

/* A copy as long as its contents. */
static struct ir_block *copy_ir(struct tcg *t, const struct ir_block *ir)
{
    size_t size = offsetof(struct ir_block, insn) + ir->n * sizeof ir->insn[0];
    struct ir_block *copy = arena_alloc(&t->meta, size);
    memcpy(copy, ir, size);
    copy->natives = arena_alloc(&t->meta, sizeof(struct ir_native) * (ir->n_natives + 1));
    memcpy(copy->natives, ir->natives, sizeof(struct ir_native) * ir->n_natives);
    return copy;
}

/* The interpreter runs the IR itself. */
static void keep_ir(struct tcg *t, struct tb *tb, const struct ir_block *ir)
{
    tb->ir = copy_ir(t, ir);
    tb->code = t->buf.p + t->buf.rx_delta;         /* a place in the address order */
    tb->code_size = 16;
    t->buf.p += 16;
}

/* An addition becomes a subtraction, after everything that is shown of the IR. */
static void spoil(struct ir_block *ir)
{
    for (unsigned i = 0; i < ir->n; i++)
        if (ir->insn[i].op == IR_add)
            ir->insn[i].op = IR_sub;
}

static bool is_spoiled(const struct tcg *t, const struct ir_block *ir, const struct tb *tb)
{
    return t->spoil_form == SPOIL_ANY || (t->spoil_form == SPOIL_BLOCK && ir->n_guest > 1) || (t->spoil_form == SPOIL_HOT && tb->hot);
}

/* Guest instructions before the first that is the top of a hot loop inside the block; 0: there is none. A loop that is a block of its own has a tight
   copy, which its first turn should not miss for being part of what runs into it. */
static unsigned before_inner_loop(const struct tcg *t, const struct ir_block *ir)
{
    for (uint32_t k = 0; k < ir->n; k++) {
        const struct ir_insn *in = &ir->insn[k];
        uint64_t to = in->op == IR_jcc ? ir_const_value(ir, in->a) : 0;
        if (in->op != IR_jcc || to <= ir->pc || to > ir->guest[in->gi].pc || !tcg_has_learned(t, LEARNED_HOT, to))
            continue;
        for (unsigned i = 1; i < in->gi; i++)
            if (ir->guest[i].pc == to)
                return i;
    }
    return 0;
}

/* An access's way of being checked depends on what has been learned about its pc. */
static bool learned(const struct tcg *t, const struct tb *tb)
{
    for (unsigned i = 0; i < tb->n_guest; i++)
        if (tcg_has_learned(t, LEARNED_TLB, tcg_guest_pc(tb, i)) || tcg_has_learned(t, LEARNED_APART, tcg_guest_pc(tb, i)))
            return true;
    return false;
}

static int build(struct tcg_env *env, const struct tb_key *key, unsigned max, struct tb *tb)
{
    struct tcg *t = env->tcg;
    struct ir_block *ir = t->ir;
    unsigned most = tcg_max_insns(t, key->pc, max);
    /* A block shortened by stores into it may grow again. */
    struct tb_key plain = *key;
    plain.mode &= ~TB_APART;
    tb->hot = !env->one_insn && plain.mode == key->mode && most == max && tcg_has_learned(t, LEARNED_HOT, key->pc);
    tb->one_insn = env->one_insn;
    env->fe->translate(tcg_cpu(env), env->mmu, &plain, most, ir);
    unsigned first = tb->hot ? before_inner_loop(t, ir) : 0;
    if (first)
        env->fe->translate(tcg_cpu(env), env->mmu, &plain, first, ir);
    if (log_on(LOG_IN_ASM) && log_in_range(key->pc))
        show_guest(env, &plain, ir);
    bool keep = t->profiling && (tb->hot || tcg_has_learned(t, LEARNED_KEEP_IR, key->pc));       /* for -d hot */
    if (keep) {
        tb->made = copy_ir(t, ir);
        tb->made->code = memcpy(arena_alloc(&t->meta, ir->guest_bytes + 1), ir->code, ir->guest_bytes);
    }
    ir_optimise(ir);
    if (keep)
        tb->ir = copy_ir(t, ir);
    t->n.ir_ops += ir->n;
    tb->key = *key;
    keep_guest(t, tb, ir);
    tb->learned = t->check_moves && learned(t, tb);
    if (t->interp) {
        keep_ir(t, tb, ir);
        return 0;
    }
    if (unlikely(t->spoil_pc) && t->spoil_pc == key->pc && is_spoiled(t, ir, tb))
        spoil(ir);
    int r = t->be->emit(t, ir, tb);
    if (r == 0 && tb->code_size > TB_MAX_CODE)
        return -EOVERFLOW;
    if (unlikely(t->spoil_pc) && t->spoil_pc == key->pc && t->spoil_form == SPOIL_FLAGS)
        tb->needs_flags = false;
    if (r == 0 && log_on(LOG_OUT_ASM) && log_in_range(key->pc)) {
        log_printf("OUT: %u bytes for %u guest instructions\n", tb->code_size, tb->n_guest);
        t->be->disas(tb->code, tb->code_size, (uint64_t)(uintptr_t)tb->code, show_line, NULL);
    }
    return r;
}

/* Where the block's bytes are. host is NULL where they are not RAM or ROM. */
struct place { const uint8_t *host[2]; unsigned len[2]; };

/* The pages under the block. May raise a fetch fault. */
static void place(struct tcg_env *env, struct tb *tb, struct place *p)
{
    gpa_t gpa;
    unsigned in_page = (unsigned)(tb->key.pc & ~PAGE_MASK);
    *p = (struct place){ .len = { MIN(tb->len, PAGE_SIZE - in_page) } };
    p->host[0] = mmu_code_page(env->mmu, tb->key.pc, &gpa);
    p->host[0] += p->host[0] ? in_page : 0;
    tb->phys[0] = gpa | in_page;
    tb->phys[1] = ~0ull;
    p->len[1] = tb->len - p->len[0];
    if (p->len[1]) {
        p->host[1] = mmu_code_page(env->mmu, (tb->key.pc | ~PAGE_MASK) + 1, &gpa);
        tb->phys[1] = gpa & PAGE_MASK;
    }
}

/* A device's registers have no lasting bytes and nobody notices their change: such a block runs once and is not found again. */
static bool lasting(const struct place *p) { return p->host[0] && (!p->len[1] || p->host[1]); }

/* Writes to the block's bytes are noticed from now on. After its registration: a write by DMA that finds no block in a page gives the page up. */
static uint64_t watch(struct tcg_env *env, const struct tb *tb, const struct place *p)
{
    uint64_t last = 0;
    for (unsigned i = 0; i < 2; i++)
        if (p->len[i]) {
            uint64_t epoch = mmu_code_add(env->mmu, tb->phys[i], p->len[i]);
            last = MAX(last, epoch);
        }
    return last;                           /* the epoch after which stores to the bytes come no more unnoticed; 0: now */
}

/* Its bytes are watched and were the decoded ones after that. Under the lock: others may be comparing them. */
static void trust_after(struct tcg *t, struct tb *tb, uint64_t epoch)
{
    if (!__atomic_load_n(&tb->bytes, __ATOMIC_RELAXED))        /* nobody else trusts it before its epoch is known */
        return;
    tcg_lock(t);
    __atomic_store_n(&tb->bytes->epoch, epoch, __ATOMIC_RELEASE);
    if (!epoch)
        __atomic_store_n(&tb->bytes, NULL, __ATOMIC_RELEASE);
    tcg_unlock(t);
}

/* With other vCPUs the block is at first not to be trusted: see tcg_trusted. */
static void keep_bytes(struct tcg *t, struct tb *tb, const struct place *p)
{
    if (t->n_envs < 2 || tb->one_insn)
        return;
    tb->bytes = arena_alloc(&t->meta, sizeof *tb->bytes + tb->len);
    memcpy(tb->bytes->b, t->ir->code, tb->len);
    for (unsigned i = 0; i < 2; i++)
        tb->bytes->host[i] = p->host[i];
    tb->bytes->epoch = UINT64_MAX;
}

/* Asked once the bytes are watched: a write by DMA between decoding and watching was noticed by nobody. */
static bool changed(const struct ir_block *ir, const struct place *p)
{
    for (unsigned i = 0, at = 0; i < 2; at += p->len[i++])
        if (p->len[i] && !ram_same(p->host[i], ir->code + at, p->len[i]))
            return true;
    return false;
}

static void give_up(struct tcg *t, struct tb *tb)
{
    tcg_lock(t);
    tcg_tb_invalidate(t, tb, CNT_drop_stale);
    tcg_unlock(t);
}

static struct tb *make(struct tcg_env *env, const struct tb_key *key, unsigned max, int *error)
{
    struct tcg *t = env->tcg;
    struct place p;
    for (;;) {
        struct tb *tb = tcg_tb_new(t);
        int r = tb && t->buf.p + 131072 < t->buf.end ? build(env, key, max, tb) : -ENOSPC;
        if (r == -EOVERFLOW && max > 1) {          /* too much for the emitter's tables: a shorter block */
            max = max > 8 ? max / 4 : 1;
            continue;
        }
        if (r < 0) {
            *error = r;
            return NULL;
        }
        place(env, tb, &p);
        tb->one_insn = env->one_insn || !lasting(&p);
        keep_bytes(t, tb, &p);
        t->n.blocks++;
        t->n.block_insns += tb->n_guest;
        t->n.hot_blocks += tb->hot;
        t->n.tight_loops += tb->tight != 0;
        t->n.single_blocks += tb->one_insn;
        if (unlikely(t->on_block != NULL) && !t->interp)
            t->on_block(tb);
        tcg_tb_insert(t, tb);
        if (!lasting(&p))
            return tb;
        uint64_t epoch = watch(env, tb, &p);
        if (!changed(t->ir, &p)) {
            trust_after(t, tb, epoch);
            return tb;
        }
        give_up(t, tb);
    }
}

/* -accel tcg,check-moves: the moved block TB, as it would be if it were translated. (A hot one is made of what is known about other blocks.) */
static void check_moved(struct tcg_env *env, const struct tb *tb, unsigned max)
{
    struct tcg *t = env->tcg;
    struct tb fresh = {0};
    uint8_t *keep = t->buf.p;
    size_t used = t->meta.used;
    if (tb->hot || tb->learned)
        return;
    while (((uintptr_t)(t->buf.p + CODE_HEADER) ^ (uintptr_t)tb->code) & 63)
        t->buf.p++;
    if (build(env, &tb->key, max, &fresh) == 0 && !fresh.learned && !(fresh.places && fresh.n_guest == tb->n_guest && t->be->same(t, tb, &fresh))) {
        log_error("the block at 0x%llx, moved there, is not what is translated there", (unsigned long long)tb->key.pc);
        abort();
    }
    t->buf.p = keep;
    t->meta.used = used;
    t->n.moves_checked++;
}

/* The part of the cache in use is full. The others may be in the next one. */
static void make_room(struct tcg_env *env)
{
    bool alone = env->alone;
    if (env->tcg->n_envs > 1 && !alone) {
        tcg_translation_end(env);
        tcg_stop_others(env);
        tcg_translation_begin(env);
    }
    tcg_cache_next(env->tcg);
    if (env->tcg->n_envs > 1 && !alone) {
        tcg_translation_end(env);
        tcg_let_others(env);
        tcg_translation_begin(env);
    }
}

/* May raise a fetch fault (unwinds). max 1 with one_insn: the block is not findable and runs once. FPU saved. */
struct tb *tcg_translate(struct tcg_env *env, const struct tb_key *key, unsigned max)
{
    struct tcg *t = env->tcg;
    struct tb *tb;
    int error = 0;
    tcg_translation_begin(env);
    while (!(tb = env->one_insn ? NULL : tcg_find(env, key)) && !(tb = tcg_move(env, key, max)) && !(tb = make(env, key, max, &error)))
        make_room(env);
    if (unlikely(t->check_moves) && tb->moved)
        check_moved(env, tb, max);
    tcg_translation_end(env);
    return tb;
}
