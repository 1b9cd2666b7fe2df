/*
 * The code all blocks share, emitted once at the start of the cache: entering and leaving translated code, helper calls, the slow path of memory
 * accesses, loading and saving the FPU. Stack: rsp = env in translated code; a stub that was called has its return address below env.
 */
#include <errno.h>
#include <string.h>
#include "backend-x86_64/x64.h"

struct x64_stubs x64_stubs;
uint8_t x64_contract[IR_MAX_GLOBALS];
static const struct tcg_frontend *the_fe;
static unsigned (*enter_fn)(struct tcg_env *, void *);

/* Registers that hold globals, in the frontend's order of preference. The x86 guest's list starts rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r12 r13. */
static const uint8_t pins[] = {RBX, RCX, RDX, R15, R14, RBP, RSI, RDI, R8, R9, R12, R13};

static void contract_init(const struct tcg_frontend *fe)
{
    memset(x64_contract, NOREG, sizeof x64_contract);
    for (unsigned i = 0; i < fe->n_pin && i < ARRAY_SIZE(pins); i++)
        x64_contract[fe->pin_order[i]] = pins[i];
}

static struct x64_mem glob(unsigned g, int below) { return x64_at(RSP, (int32_t)(TCG_CPU_OFFSET + the_fe->globals[g].offset) + below); }

/* below: bytes pushed under env. */
static void save_pins(struct code_buf *c, int below)
{
    for (unsigned g = 0; g < the_fe->n_globals; g++)
        if (x64_contract[g] != NOREG)
            x64_mov_mr(c, 8, glob(g, below), x64_contract[g]);
}

static bool callee_saved(unsigned r) { return r == RBX || r == RBP || r >= R12; }

static void load_pins(struct code_buf *c, int below, bool only_caller_saved)
{
    for (unsigned g = 0; g < the_fe->n_globals; g++)
        if (x64_contract[g] != NOREG && !(only_caller_saved && callee_saved(x64_contract[g])))
            x64_mov_rm(c, 8, x64_contract[g], glob(g, below));
}

static struct x64_mem env_at(size_t off, int below) { return x64_at(RSP, (int32_t)off + below); }
#define ENVB(field, below) env_at(offsetof(struct tcg_env, field), below)

static void call_abs(struct code_buf *c, const void *fn)
{
    x64_mov_ri(c, RAX, (uint64_t)(uintptr_t)fn);
    x64_call_r(c, RAX);
}

static const uint8_t c_saved[] = {RBX, RBP, R12, R13, R14, R15};

static void emit_enter_leave(struct code_buf *c, struct x64_stubs *s)
{
    s->enter = c->p;                               /* unsigned enter(env = rdi, code = rsi) */
    for (unsigned i = 0; i < ARRAY_SIZE(c_saved); i++)
        x64_push(c, c_saved[i]);
    x64_mov_mr(c, 8, x64_at(RDI, offsetof(struct tcg_env, host_sp)), RSP);
    x64_mov_rr(c, 8, RSP, RDI);
    x64_mov_rr(c, 8, RAX, RSI);
    load_pins(c, 0, false);
    x64_jmp_r(c, RAX);

    s->leave = c->p;                               /* eax = reason; pins are saved */
    x64_mov_rm(c, 8, RSP, ENV_AT(host_sp));
    for (unsigned i = ARRAY_SIZE(c_saved); i-- > 0;)
        x64_pop(c, c_saved[i]);
    x64_b(c, 0xc3);
}

static uint8_t *emit_exit(struct code_buf *c, struct x64_stubs *s, unsigned reason)
{
    uint8_t *at = c->p;
    save_pins(c, 0);
    x64_mov_ri(c, RAX, reason);
    x64_jmp_to(c, s->leave);
    return at;
}

/* As x64_x87_hide. rax, rdx are free; a return address is on the stack. */
static void emit_x87_hide(struct code_buf *c)
{
    static const struct { uint8_t at, size; } part[3] = { { offsetof(struct x64_x87, ip), 8 }, { offsetof(struct x64_x87, dp), 8 }, { offsetof(struct x64_x87, op), 2 } };
    x64_alu_rr(c, X64_XOR, 4, RDX, RDX);
    for (unsigned i = 0; i < ARRAY_SIZE(part); i++) {
        struct x64_mem m = x64_at(RSP, 8 + (int32_t)(TCG_CPU_OFFSET + the_fe->fpu_offset + part[i].at)), kept = ENVB(x87_kept, 8);
        kept.disp += 8 * (int32_t)i;
        if (part[i].size == 2)
            x64_alu_rr(c, X64_XOR, 4, RAX, RAX);
        x64_mov_rm(c, part[i].size, RAX, m);
        x64_mov_mr(c, 8, kept, RAX);
        x64_mov_mr(c, part[i].size, m, RDX);
    }
}

/* Exit number AL of a block has called, from EAX >> 8 bytes behind the block's beginning. */
static void note_caller(struct code_buf *c)
{
    x64_pop(c, R10);
    x64_mov_mr(c, 8, ENV_AT(saved_misc), RAX);
    x64_shift_ri(c, X64_SHR, 4, RAX, 8);
    x64_alu_rr(c, X64_SUB, 8, R10, RAX);
    x64_mov_rm(c, 8, R10, x64_at(R10, -CODE_HEADER));
    x64_mov_mr(c, 8, ENV_AT(exit_info), R10);
}

/*
 * An exit whose link was made for another mapping of code: most often that of another address space that runs the same block (processes of one
 * program). The jump cache may know where it goes in this one; else the link is made anew. r11 = target.
 */
static void emit_exit_stale(struct code_buf *c, struct x64_stubs *s, unsigned half)
{
    struct x64_mem salt = ENV_AT(salt);
    salt.disp += half ? 8 : 0;
    s->exit_stale[half] = c->p;
    note_caller(c);
    x64_mov_rm(c, 8, RAX, salt);
    struct x64_mem code = x64_jump_cache(c, 0);
    uint8_t *miss = x64_jcc(c, CC_NE);
    x64_jmp_m(c, code);
    x64_patch_here(c, miss);
    emit_exit(c, s, TCG_EXIT_SITE);
}

/* An indirect jump to r11 that the jump cache does not know, or work is pending. What the entry held before may be what is wanted. */
static void emit_exit_jmpi(struct code_buf *c, struct x64_stubs *s, const struct tcg_frontend *fe, unsigned half)
{
    struct x64_mem salt = ENV_AT(salt);
    salt.disp += half ? 8 : 0;
    s->exit_jmpi[half] = c->p;
    x64_alu_mi(c, X64_CMP, 4, ENV_AT(poll), 0);
    uint8_t *polled = x64_jcc(c, CC_NE);
    x64_mov_rm(c, 8, RAX, salt);
    struct x64_mem code = x64_jump_cache(c, 1);
    uint8_t *miss = x64_jcc(c, CC_NE);
    x64_jmp_m(c, code);
    x64_patch_here(c, polled);
    x64_patch_here(c, miss);
    x64_mov_mr(c, 8, x64_at(RSP, (int32_t)(TCG_CPU_OFFSET + fe->pc_offset)), R11);
    emit_exit(c, s, TCG_EXIT_JMPI);
}

static void emit_exits(struct code_buf *c, struct x64_stubs *s, const struct tcg_frontend *fe)
{
    s->exit_site = c->p;
    note_caller(c);
    emit_exit(c, s, TCG_EXIT_SITE);
    emit_exit_stale(c, s, 0);
    emit_exit_stale(c, s, 1);
    s->exit_poll = c->p;
    note_caller(c);
    emit_exit(c, s, TCG_EXIT_POLL);
    emit_exit_jmpi(c, s, fe, 0);
    emit_exit_jmpi(c, s, fe, 1);
    s->exit_lookup = emit_exit(c, s, TCG_EXIT_LOOKUP);
    s->exit_reason = c->p;
    x64_mov_mr(c, 8, ENV_AT(exit_info), RAX);
    emit_exit(c, s, TCG_EXIT_REASON);
    s->fault_return = c->p;                        /* pins are saved by the signal handler */
    x64_mov_ri(c, RAX, TCG_EXIT_UNWIND);
    x64_jmp_to(c, s->leave);
}

/* env.ret_pc = the caller's return address, rsp 16 below env (aligned). */
static void enter_c(struct code_buf *c)
{
    x64_mov_rm(c, 8, RAX, x64_at(RSP, 0));
    x64_mov_mr(c, 8, ENVB(ret_pc, 8), RAX);
    save_pins(c, 8);
    x64_alu_ri(c, X64_SUB, 8, RSP, 8);
}

static void leave_c(struct code_buf *c, bool all)
{
    load_pins(c, 16, !all);
    x64_alu_ri(c, X64_ADD, 8, RSP, 8);
    x64_b(c, 0xc3);
}

static uint8_t *emit_call_stub(struct code_buf *c, bool save_fpu)
{
    uint8_t *at = c->p;
    enter_c(c);
    if (save_fpu) {
        x64_alu_mi(c, X64_CMP, 4, ENVB(fpu_live, 16), 0);
        uint8_t *skip = x64_jcc(c, CC_E);
        x64_mov_mr(c, 8, ENVB(saved_misc, 16), R10);
        x64_lea(c, 8, RDI, x64_at(RSP, 16));
        call_abs(c, (const void *)tcg_fpu_save);
        x64_mov_rm(c, 8, R10, ENVB(saved_misc, 16));
        x64_patch_here(c, skip);
    }
    x64_lea(c, 8, RDI, x64_at(RSP, 16 + (int32_t)TCG_CPU_OFFSET));
    x64_mov_rm(c, 8, RSI, ENVB(args[0], 16));
    x64_mov_rm(c, 8, RDX, ENVB(args[1], 16));
    x64_mov_rm(c, 8, RCX, ENVB(args[2], 16));
    x64_call_r(c, R10);
    x64_mov_rm(c, 8, R10, ENVB(code_gen, 16));
    x64_alu_rm(c, X64_CMP, 8, R10, ENVB(salt_gens, 16));
    uint8_t *same = x64_jcc(c, CC_E);
    x64_mov_mr(c, 8, ENVB(saved_misc, 16), RAX);
    x64_lea(c, 8, RDI, x64_at(RSP, 16));
    call_abs(c, (const void *)tcg_update_salts);
    x64_mov_rm(c, 8, RAX, ENVB(saved_misc, 16));
    x64_patch_here(c, same);
    leave_c(c, true);
    return at;
}

/* rax = slow(env, rax, r10d); rsp is 16 below env. */
static void call_slow(struct code_buf *c, void *(*slow)(struct tcg_env *, uint64_t va, uint64_t how))
{
    x64_mov_mr(c, 8, ENVB(slow_va, 8), RAX);
    x64_mov_mr(c, 8, ENVB(saved_r11, 8), R11);
    enter_c(c);
    x64_lea(c, 8, RDI, x64_at(RSP, 16));
    x64_mov_rm(c, 8, RSI, ENVB(slow_va, 16));
    x64_mov_rr(c, 4, RDX, R10);
    call_abs(c, (const void *)slow);
    x64_mov_rm(c, 8, R11, ENVB(saved_r11, 16));
}

/* rax = va, r10 = what the function wants to know of it -> rax; keeps r11 */
static uint8_t *emit_probe_stub(struct code_buf *c, void *(*slow)(struct tcg_env *, uint64_t va, uint64_t how))
{
    uint8_t *at = c->p;
    call_slow(c, slow);
    leave_c(c, false);
    return at;
}

/* The descriptor of r10, at rcx, is set to the page that r11 = its tag ^ rax is the offset in, rdx = its TLB entry. r10 = the addend; takes rcx, rdx, r11. */
static void region_to_page(struct code_buf *c)
{
    x64_mov_rm(c, 8, R10, x64_at(RDX, offsetof(struct tlb_entry, host)));
    x64_group_r(c, 0xf6, 3, 8, R11);               /* neg */
    x64_alu_rr(c, X64_ADD, 8, R11, RAX);           /* the page */
    x64_alu_rr(c, X64_SUB, 8, R10, R11);
    x64_mov_mr(c, 8, x64_at(RCX, offsetof(struct mem_region, start)), R11);
    x64_mov_mr(c, 8, x64_at(RCX, offsetof(struct mem_region, addend)), R10);
    for (unsigned i = 0; i < MEM_REGION_LENS; i++)
        x64_mov_mi(c, 8, x64_at(RCX, (int32_t)(offsetof(struct mem_region, len) + 8 * i)), (int32_t)(PAGE_SIZE - mem_region_slack(i)));
}

/*
 * A region descriptor missed in user mode: most often the next page, which the TLB knows. rax = va, r10 = tcg_slow_probe's HOW; returns to the caller
 * with r10 = addend, ZF clear and the descriptor set to that page. Falls through when the TLB does not know it either, or when it is the
 * softmmu's turn to find a larger run. rcx, rdx are pushed; their values are below.
 */
static void region_from_tlb(struct code_buf *c, bool store)
{
    uint8_t *miss[4];
    x64_alu_mi(c, X64_SUB, 4, ENVB(region_turn, 24), 1);
    miss[0] = x64_jcc(c, CC_S);
    x64_mov_mr(c, 8, ENVB(saved_r11, 24), R11);
    x64_mov_mr(c, 8, ENVB(saved_misc, 24), R10);
    x64_mov_rr(c, 8, RDX, RAX);
    x64_shift_ri(c, X64_SHR, 8, RDX, PAGE_BITS - 5);
    x64_alu_ri(c, X64_AND, 4, RDX, (TLB_ENTRIES - 1) << 5);
    x64_alu_rm(c, X64_ADD, 8, RDX, ENVB(tlb, 24));
    x64_mov_rr(c, 8, R11, RAX);
    x64_alu_rm(c, X64_XOR, 8, R11, x64_at(RDX, store ? offsetof(struct tlb_entry, tag_w) : offsetof(struct tlb_entry, tag_r)));
    x64_alu_ri(c, X64_CMP, 8, R11, PAGE_SIZE - 1);
    miss[1] = x64_jcc(c, CC_A);
    x64_mov_rr(c, 4, RCX, R10);
    x64_shift_ri(c, X64_SHR, 4, RCX, 16);
    x64_movx_rr(c, false, 4, 1, RCX, RCX);         /* 1 + number of the descriptor */
    x64_movx_rr(c, false, 4, 1, R10, R10);         /* bytes */
    x64_alu_rr(c, X64_ADD, 4, R10, R11);
    x64_alu_ri(c, X64_CMP, 4, R10, PAGE_SIZE);
    miss[2] = x64_jcc(c, CC_A);
    x64_lea(c, 4, RCX, (struct x64_mem){RCX, RCX, 1, 0});
    x64_shift_ri(c, X64_SHL, 4, RCX, 4);
    x64_lea(c, 8, RCX, (struct x64_mem){RSP, RCX, 0, (int32_t)(24 + offsetof(struct tcg_env, region) - sizeof(struct mem_region))});
    region_to_page(c);
    x64_mov_mi(c, 8, ENVB(regions_live, 24), 1);
    x64_mov_rm(c, 8, R11, ENVB(saved_r11, 24));
    x64_test_rr(c, 8, RSP, RSP);
    x64_pop(c, RDX);
    x64_pop(c, RCX);
    x64_b(c, 0xc3);
    x64_patch_here(c, miss[1]);
    x64_patch_here(c, miss[2]);
    x64_mov_rm(c, 8, R11, ENVB(saved_r11, 24));
    x64_mov_rm(c, 8, R10, ENVB(saved_misc, 24));
    x64_patch_here(c, miss[0]);
}
_Static_assert(sizeof(struct mem_region) == 48, "the descriptor's address is reckoned with shifts");

static uint8_t *emit_region_stub(struct code_buf *c, bool user, bool store)
{
    struct x64_mem misses = {RSP, RCX, 2, (int32_t)(24 + offsetof(struct tcg_env, site_misses))};
    uint8_t *at = c->p;
    x64_push(c, RCX);
    x64_push(c, RDX);
    x64_mov_rm(c, 8, RCX, x64_at(RSP, 16));        /* tcg_site of the return address */
    x64_mov_rr(c, 8, RDX, RCX);
    x64_shift_ri(c, X64_SHR, 8, RDX, 12);
    x64_alu_rr(c, X64_XOR, 4, RCX, RDX);
    x64_alu_ri(c, X64_AND, 4, RCX, TCG_SITES - 1);
    x64_alu_mi(c, X64_ADD, 4, misses, 1);
    if (user)
        region_from_tlb(c, store);
    x64_pop(c, RDX);
    x64_pop(c, RCX);
    call_slow(c, tcg_slow_probe);
    load_pins(c, 16, true);
    x64_mov_rr(c, 8, R10, RAX);
    x64_alu_rm(c, X64_SUB, 8, R10, ENVB(slow_va, 16));
    x64_test_rr(c, 8, RAX, RAX);
    x64_mov_rm(c, 8, RAX, ENVB(slow_va, 16));
    x64_lea(c, 8, RSP, x64_at(RSP, 8));
    x64_b(c, 0xc3);
    return at;
}

static void emit_memory_stubs(struct code_buf *c, struct x64_stubs *s)
{
    s->probe = emit_probe_stub(c, tcg_slow_probe);
    s->probe_group = emit_probe_stub(c, tcg_slow_group);
    for (unsigned i = 0; i < 4; i++)
        s->probe_region[i >> 1][i & 1] = emit_region_stub(c, i >> 1, i & 1);
    s->trial = c->p;
    enter_c(c);
    x64_lea(c, 8, RDI, x64_at(RSP, 16));
    call_abs(c, (const void *)tcg_trial_over);
    leave_c(c, false);
    s->commit = c->p;
    x64_mov_mr(c, 8, ENVB(saved_r11, 8), R11);
    enter_c(c);
    x64_lea(c, 8, RDI, x64_at(RSP, 16));
    call_abs(c, (const void *)tcg_slow_commit);
    x64_mov_rm(c, 8, R11, ENVB(saved_r11, 16));
    leave_c(c, false);

    s->fpu_load = c->p;                            /* keeps everything but rax, r10; edx:eax is the mask; as tcg_fpu_load */
    x64_mov_rr(c, 8, R10, RDX);
    emit_x87_hide(c);
    x64_mov_rm(c, 4, RAX, x64_at(RSP, 8 + (int32_t)(TCG_CPU_OFFSET + the_fe->xcr0_offset)));
    x64_alu_ri(c, X64_AND, 4, RAX, TCG_FPU_COMPONENTS);
    x64_alu_ri(c, X64_OR, 4, RAX, 7);
    x64_alu_rr(c, X64_XOR, 4, RDX, RDX);
    x64_rm(c, x64_wide(0xae, 8, 1), 5, x64_at(RSP, 8 + (int32_t)(TCG_CPU_OFFSET + the_fe->fpu_offset)));   /* xrstor64 */
    x64_mov_rr(c, 8, RDX, R10);
    x64_mov_mi(c, 4, ENVB(fpu_live, 8), 1);
    x64_b(c, 0xc3);
}

int x64_init(struct tcg *t, const struct tcg_frontend *fe)
{
    struct code_buf *c = &t->buf;
    struct x64_stubs *s = &x64_stubs;
    if (!__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("avx2"))
        return -ENOTSUP;
    if (!x64_room(c))
        return -ENOSPC;
    the_fe = fe;
    contract_init(fe);
    emit_enter_leave(c, s);
    emit_exits(c, s, fe);
    s->call_regs = emit_call_stub(c, false);
    s->call_c = emit_call_stub(c, true);
    emit_memory_stubs(c, s);
    x64_trap_init(t);
    enter_fn = (unsigned (*)(struct tcg_env *, void *))(uintptr_t)(s->enter + c->rx_delta);
    return 0;
}

unsigned x64_enter(struct tcg_env *env, void *code) { return enter_fn(env, code); }
