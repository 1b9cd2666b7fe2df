/* One block from guest bytes to host code: frontend, passes, backend, registration. Stages are shown by -d in_asm, ir, opt, out_asm. */
#include <errno.h>
#include <string.h>
#include "core/log.h"
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

static void show_line(uint64_t addr, const char *text) { log_printf("  0x%llx: %s\n", (unsigned long long)addr, text); }

static void keep_guest(struct tcg *t, struct tb *tb, const struct ir_block *ir)
{
    tb->n_guest = (uint16_t)ir->n_guest;
    tb->len = (uint16_t)ir->guest_bytes;
    tb->guest = arena_alloc(&t->meta, sizeof(struct ir_guest_insn) * (ir->n_guest + 1));
    memcpy(tb->guest, ir->guest, sizeof(struct ir_guest_insn) * ir->n_guest);
}

/* The interpreter runs the IR itself: a copy as long as its contents. */
static void keep_ir(struct tcg *t, struct tb *tb, const struct ir_block *ir)
{
    size_t size = offsetof(struct ir_block, insn) + ir->n * sizeof ir->insn[0];
    tb->ir = arena_alloc(&t->meta, size);
    memcpy(tb->ir, ir, size);
    tb->ir->natives = arena_alloc(&t->meta, sizeof(struct ir_native) * (ir->n_natives + 1));
    memcpy(tb->ir->natives, ir->natives, sizeof(struct ir_native) * ir->n_natives);
    tb->code = t->buf.p + t->buf.rx_delta;         /* a place in the address order */
    tb->code_size = 16;
    t->buf.p += 16;
}

static int build(struct tcg_env *env, const struct tb_key *key, unsigned max, struct tb *tb)
{
    struct tcg *t = env->tcg;
    struct ir_block *ir = t->ir;
    env->fe->translate(tcg_cpu(env), env->mmu, key, max, ir);
    if (log_on(LOG_IN_ASM) && log_in_range(key->pc))
        show_guest(env, key, ir);
    ir_optimise(ir);
    t->n.ir_ops += ir->n;
    tb->key = *key;
    tb->hot = !env->one_insn && t->hot[tcg_pc_slot(key->pc)] == key->pc;     /* a group whose check failed runs alone, without groups */
    keep_guest(t, tb, ir);
    if (t->interp) {
        keep_ir(t, tb, ir);
        return 0;
    }
    int r = t->be->emit(t, ir, tb);
    if (r == 0 && log_on(LOG_OUT_ASM) && log_in_range(key->pc)) {
        log_printf("OUT: %u bytes for %u guest instructions\n", tb->code_size, tb->n_guest);
        t->be->disas(tb->code, tb->code_size, (uint64_t)(uintptr_t)tb->code, show_line);
    }
    return r;
}

/* The physical pages under the block. May raise a fetch fault. */
static void place(struct tcg_env *env, struct tb *tb)
{
    gpa_t gpa;
    mmu_code_page(env->mmu, tb->key.pc, &gpa);
    tb->phys[0] = gpa | (tb->key.pc & ~PAGE_MASK);
    tb->phys[1] = ~0ull;
    unsigned first = PAGE_SIZE - (unsigned)(tb->key.pc & ~PAGE_MASK);
    if (tb->len > first) {
        mmu_code_page(env->mmu, (tb->key.pc | ~PAGE_MASK) + 1, &gpa);
        tb->phys[1] = gpa & PAGE_MASK;
    }
}

/* Writes to the block's bytes are noticed from now on. After its registration: a write by DMA that finds no block in a page gives the page up. */
static void watch(struct tcg_env *env, const struct tb *tb)
{
    unsigned first = PAGE_SIZE - (unsigned)(tb->key.pc & ~PAGE_MASK);
    mmu_code_add(env->mmu, tb->phys[0], MIN(tb->len, first));
    if (tb->phys[1] != ~0ull)
        mmu_code_add(env->mmu, tb->phys[1], tb->len - first);
}

/* May raise a fetch fault (unwinds). max 1 with one_insn: the block is not findable and runs once. FPU saved. */
struct tb *tcg_translate(struct tcg_env *env, const struct tb_key *key, unsigned max)
{
    struct tcg *t = env->tcg;
    for (;;) {
        struct tb *tb = tcg_tb_new(t);
        int r = tb && t->buf.p + 131072 < t->buf.end ? build(env, key, max, tb) : -ENOSPC;
        if (r == -EOVERFLOW && max > 1) {          /* too much for the emitter's tables: a shorter block */
            max = max > 8 ? max / 4 : 1;
            continue;
        }
        if (r < 0) {
            tcg_cache_flush(t);
            continue;
        }
        tb->one_insn = env->one_insn;
        place(env, tb);
        tcg_tb_insert(t, tb);
        watch(env, tb);
        return tb;
    }
}
