/*
 * The back end against the interpreter: random IR blocks (arithmetic, flags, partial registers, memory, exits) run by both from the same state;
 * registers, flags and memory must agree. The guest is a stub with paging off.
 */
#include <stdlib.h>
#include "core/log.h"
#include "tcg/interp.h"
#include "tcg/native.h"
#include "tests/unit/test.h"

#define N_REGS 16
#define RAM (1u << 20)
struct cpu { uint64_t r[N_REGS], pc, seg, key, xcr0; uint8_t fpu[1024] __attribute__((aligned(64))); };
#define G(n, i) { n, 8 * i, 8 }
static const struct ir_global globals[] = { G("rax", 0), G("rcx", 1), G("rdx", 2), G("rbx", 3), G("rsp", 4), G("rbp", 5), G("rsi", 6), G("rdi", 7), G("r8", 8), G("r9", 9),
    G("r10", 10), G("r11", 11), G("r12", 12), G("r13", 13), G("r14", 14), G("r15", 15), { "seg", offsetof(struct cpu, seg), 8 } };
static const uint8_t order[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13 };

static uint64_t h_mix(struct cpu *c, uint64_t a, uint64_t b)
{
    c->r[3] += a * 3 + b;
    return a ^ b;
}
static const struct tcg_helper helpers[] = { { "mix", (void *)h_mix, 2, true, TCGH_REGS }, { "mixc", (void *)h_mix, 2, true, 0 } };

static int walk(void *cpu, gva_t va, enum mmu_access a, unsigned mode, struct mmu_walk *w)
{
    memset(w, 0, sizeof *w);
    w->gpa = va & PAGE_MASK;
    w->page_bits = 64;
    w->perm[0] = w->perm[1] = w->perm[2] = 7;
    return 0;
}
static int peek(void *cpu, gva_t va, struct mmu_walk *w) { return walk(cpu, va, MMU_READ, 0, w); }
static void __attribute__((noreturn)) raise_(void *cpu) { abort(); }
static uint64_t root(void *cpu) { return 0; }
static unsigned mode(void *cpu) { return 0; }
static const struct mmu_ops ops = { walk, peek, raise_, root, mode, NULL, NULL };
static void get_key(void *cpu, struct tb_key *k) { *k = (struct tb_key){ .pc = ((struct cpu *)cpu)->pc }; }
static bool deliver(void *cpu) { return true; }
static void host_fault(void *cpu, enum tcg_host_fault f) {}

static const struct tcg_frontend fe = { .name = "stub", .globals = globals, .n_globals = ARRAY_SIZE(globals), .pin_order = order, .n_pin = 12, .helpers = helpers, .n_helpers = 2,
    .cpu_size = sizeof(struct cpu), .pc_offset = offsetof(struct cpu, pc), .fpu_offset = offsetof(struct cpu, fpu),
    .xcr0_offset = offsetof(struct cpu, xcr0), .get_key = get_key, .deliver = deliver, .host_fault = host_fault };

static struct vcpu vcpu;
static struct machine { struct tcg *t; struct tcg_env *env; struct cpu *cpu; struct aspace *mem; struct region ram; } jit, itp;
static struct ir_native natives[IR_MAX_NATIVES];
static struct ir_block *blk;

static void make(struct machine *m, bool interp)
{
    m->mem = as_new("mem", 46);
    CHECK_EQ(as_add_ram(m->mem, &m->ram, "ram", 0, RAM, REGION_RAM), 0);
    m->t = tcg_new(&fe, &x64_backend, m->mem, 16 << 20, interp);
    m->env = tcg_env_new(m->t, &vcpu);
    m->cpu = tcg_cpu(m->env);
    m->env->mmu = mmu_new(m->cpu, &ops, m->mem, NULL, &m->env->tlb, m->env->code_gen);
    mmu_set_root(m->env->mmu);
    mmu_set_mode(m->env->mmu);
}

static void setup(void)
{
    if (blk)
        return;
    vcpu.thread = pthread_self();
    make(&jit, false);
    make(&itp, true);
    blk = calloc(1, sizeof *blk);
    blk->natives = natives;
}

static uint64_t seed = 1;
static uint64_t rnd(void)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed * 0x9e3779b97f4a7c15ull >> 16;
}
static unsigned pick(unsigned n) { return (unsigned)(rnd() % n); }
static uint64_t value(void)
{
    static const uint64_t edge[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~0ull };
    return pick(3) ? rnd() << 16 ^ rnd() : edge[pick(ARRAY_SIZE(edge))];
}

static ir_ref temps[8];
static unsigned n_temps;
static unsigned sz(void) { return 1u << pick(4); }
static bool hot_mode;
static ir_ref reg(void) { return hot_mode ? (ir_ref)(pick(2) ? pick(5) : 9 + pick(7)) : (ir_ref)pick(N_REGS); }
static ir_ref in(void) { return pick(4) == 0 && n_temps ? temps[pick(n_temps)] : pick(5) == 0 ? ir_const(blk, value()) : reg(); }
static ir_ref inr(void) { return pick(4) == 0 && n_temps ? temps[pick(n_temps)] : reg(); }

/* An address inside RAM: index register masked to a temp, sometimes page-crossing. */
static struct ir_mem hot_addr(void);
static bool hot_mode;
static struct ir_mem addr(void)
{
    if (hot_mode && pick(5))
        return hot_addr();
    ir_ref t = ir_temp(blk);
    ir_op2(blk, IR_and, 8, t, reg(), ir_const(blk, 0x3ffff), 0);
    struct ir_mem m = { t, IR_NONE, IR_NONE, 0, 0, (int32_t)pick(4096) };
    if (pick(4) == 0) {
        m.index = ir_temp(blk);
        ir_op2(blk, IR_and, 8, m.index, reg(), ir_const(blk, 0xffff), 0);
        m.scale = (uint8_t)pick(4);
    }
    if (pick(5) == 0)
        m.seg = 16;
    return m;
}

/* For hot blocks: off registers 5..7, which hold addresses and only move by constants. */
static struct ir_mem hot_addr(void)
{
    struct ir_mem m = { (ir_ref)(5 + pick(3)), IR_NONE, IR_NONE, 0, 0, (int32_t)(8 * pick(8)) + (int32_t)pick(2) };
    if (pick(4) == 0)
        m.index = 8, m.scale = (uint8_t)pick(3);
    return m;
}

static void add_temp(ir_ref t)
{
    if (!ir_is_temp(t))
        return;
    if (n_temps < 8)
        temps[n_temps++] = t;
    else
        temps[pick(8)] = t;
}

static void random_insn(void)
{
    static const uint8_t two[] = { IR_add, IR_sub, IR_adc, IR_sbb, IR_and, IR_or, IR_xor };
    static const uint8_t sh[] = { IR_shl, IR_shr, IR_sar, IR_rol, IR_ror, IR_rcl, IR_rcr };
    static const uint8_t one[] = { IR_inc, IR_dec, IR_neg, IR_not };
    static const uint8_t bits[] = { IR_bts, IR_btr, IR_btc };
    static const uint8_t scan[] = { IR_tzcnt, IR_lzcnt, IR_popcnt };
    static const uint8_t rmw[] = { RMW_add, RMW_or, RMW_adc, RMW_sbb, RMW_and, RMW_sub, RMW_xor, RMW_inc, RMW_dec, RMW_neg, RMW_not };
    unsigned k, f = pick(4) ? IRF_FLAGS : 0, size = sz(), wide = size < 2 ? 4 : size;
    struct ir_mem m;
    ir_ref d;
    switch (pick(26)) {
    case 0: case 1: case 2: ir_op2(blk, two[pick(7)], size, reg(), in(), in(), f); break;
    case 3: add_temp(ir_op2(blk, two[pick(7)], 8, ir_temp(blk), in(), in(), f)); break;
    case 4: ir_cmp(blk, pick(2) ? IR_sub : IR_and, size, in(), in()); break;
    case 5: d = reg(), ir_op2(blk, two[pick(7)], size, d, d, in(), f); break;
    case 6: k = pick(4), d = reg(), ir_op1(blk, one[k], size, d, pick(2) ? d : reg(), one[k] == IR_not ? 0 : f); break;
    case 7: d = reg(), ir_op2(blk, sh[pick(7)], size, d, pick(2) ? d : reg(), pick(2) ? 1 : ir_const(blk, pick(40)), f); break;
    case 8: d = reg(), ir_op2(blk, sh[pick(7)], size, d, d, inr(), f); break;
    case 9: d = reg(), ir_op3(blk, pick(2) ? IR_shld : IR_shrd, wide < 4 ? 4 : wide, d, d, reg(), pick(2) ? 1 : ir_const(blk, 1 + pick(30)), IRF_FLAGS); break;
    case 10: ir_ext(blk, pick(2) ? IR_zext : IR_sext, wide, wide > 2 && pick(2) ? 2 : 1, reg(), inr()); break;
    case 11: ir_mov(blk, size, reg(), in()); break;
    case 12: add_temp(ir_mov(blk, 8, ir_temp(blk), in())); break;
    case 13: d = reg(), ir_cmov(blk, wide, pick(16), d, inr(), d); break;
    case 14: ir_setcc(blk, pick(16), reg()); break;
    case 15: d = ir_op1(blk, IR_exth, 1, ir_temp(blk), pick(4), 0), ir_mov(blk, 1, reg(), d); break;
    case 16: d = (ir_ref)pick(4), ir_op2(blk, IR_deph, 8, d, d, in(), 0); break;
    case 17: ir_op2(blk, IR_imul, wide, reg(), inr(), in(), IRF_FLAGS), ir_setf(blk, reg(), FL_ALL & ~(FL_C | FL_O)); break;      /* the others are undefined */
    case 18: ir_muldiv(blk, pick(2) ? IR_mulu : IR_muls, wide, 0, 2, 0, inr(), IR_NONE, IRF_FLAGS), ir_setf(blk, reg(), FL_ALL & ~(FL_C | FL_O)); break;
    case 19: d = reg(), ir_op2(blk, bits[pick(3)], wide, d, d, in(), IRF_FLAGS); break;
    case 20: ir_op1(blk, scan[pick(3)], wide, reg(), inr(), IRF_FLAGS), ir_setf(blk, reg(), FL_ALL & ~(FL_C | FL_Z)); break;
    case 21: m = addr(), add_temp(ir_ld(blk, size, pick(2) ? IR_LD_ZX : IR_LD_SX8, IR_NONE, &m)); break;
    case 22: m = addr(), ir_ld(blk, size, pick(2) && size < 8 ? IR_LD_SX4 + (int)pick(2) : IR_LD_PLAIN, reg(), &m); break;
    case 23: m = addr(), ir_st(blk, size, &m, in()); break;
    case 24: m = addr();
        switch (pick(4)) {
        case 0: ir_rmw(blk, pick(2) ? RMW_xchg : RMW_xadd, size, reg(), &m, reg(), IRF_FLAGS); break;
        case 1: ir_cmpxchg(blk, size, 0, &m, reg(), IRF_FLAGS | (pick(2) ? IRF_LOCK : 0)); break;
        case 2: ir_rmw(blk, RMW_shl + (int)pick(7), size, IR_NONE, &m, pick(2) ? 1 : ir_const(blk, pick(33)), IRF_FLAGS); break;
        default: d = rmw[pick(11)], ir_rmw(blk, d, size, IR_NONE, &m, d >= RMW_inc ? IR_NONE : in(), d == RMW_not ? 0 : IRF_FLAGS); break;
        }
        break;
    default:
        switch (pick(5)) {
        case 0: ir_setcf(blk, pick(3)); break;
        case 1: ir_mov(blk, 4, reg(), ir_getf(blk)); break;
        case 2: ir_setf(blk, inr(), pick(2) ? FL_ALL : FL_ALL & ~FL_O); break;
        case 3: add_temp(ir_call(blk, pick(2), ir_temp(blk), inr(), in(), IR_NONE)); break;
        default: ir_op1(blk, IR_bswap, pick(2) ? 4 : 8, reg(), reg(), 0); break;
        }
    }
}

static void build(unsigned len)
{
    ir_begin(blk, &fe, 0x1000);
    blk->mem_bank = hot_mode && pick(2);
    n_temps = 0;
    for (unsigned i = 0; i < len; i++) {
        ir_guest(blk, 0x1000 + 2 * i, 2);
        random_insn();
        if (hot_mode && pick(6) == 0) {
            struct ir_mem step = { (ir_ref)(5 + pick(3)), IR_NONE, IR_NONE, 0, 0, pick(2) ? 8 : -8 };
            ir_lea(blk, 8, step.base, &step);
        }
        if (pick(16) == 0)
            ir_jcc(blk, pick(16), 0x2000 + 16 * i);
    }
    ir_jmp(blk, 0x3000);
    ir_optimise(blk);
}

static void compare(unsigned n, uint64_t s)
{
    bool bad = memcmp(jit.cpu->r, itp.cpu->r, sizeof jit.cpu->r) || jit.cpu->pc != itp.cpu->pc || fl_to_rflags(jit.env->flags) != fl_to_rflags(itp.env->flags) || memcmp(itp.ram.host, jit.ram.host, RAM);
    if (!bad)
        return;
    printf("case %u seed %llu\n", n, (unsigned long long)s);
    ir_dump(blk, "block");
    for (unsigned i = 0; i < N_REGS; i++)
        if (jit.cpu->r[i] != itp.cpu->r[i])
            printf("%s interp %016llx jit %016llx\n", globals[i].name, (unsigned long long)itp.cpu->r[i], (unsigned long long)jit.cpu->r[i]);
    printf("pc %llx %llx flags %x %x mem %s\n", (unsigned long long)itp.cpu->pc, (unsigned long long)jit.cpu->pc, fl_to_rflags(itp.env->flags), fl_to_rflags(jit.env->flags),
           memcmp(itp.ram.host, jit.ram.host, RAM) ? "differs" : "same");
    CHECK(0);
}

static void one(unsigned n, unsigned len)
{
    uint64_t s = seed;
    build(len);
    for (unsigned i = 0; i < N_REGS; i++)
        itp.cpu->r[i] = jit.cpu->r[i] = value();
    for (unsigned i = 5; hot_mode && i < 8; i++)
        itp.cpu->r[i] = jit.cpu->r[i] = 0x20000 + rnd() % 0x20000;
    if (hot_mode)
        itp.cpu->r[8] = jit.cpu->r[8] = rnd() % 0x4000;
    itp.cpu->seg = jit.cpu->seg = 0x100;
    itp.env->flags = jit.env->flags = fl_from_rflags(rnd());
    interp_run(itp.env, blk);

    mmu_set_regions(jit.env->mmu, jit.env->region, TCG_REGIONS, &jit.env->regions_live);
    struct tb tb = { .key = { .pc = 0x1000 }, .valid = false };
    uint16_t guest[IR_MAX_GUEST + 1];
    for (unsigned i = 0; i <= blk->n_guest; i++)
        guest[i] = (uint16_t)(blk->guest[i].pc - tb.key.pc);
    tb.guest = guest;
    tb.hot = hot_mode;
    jit.t->random = n & 1 ? s : 0;                         /* every other one with scratch registers at random */
    jit.t->buf.p = jit.t->blocks_start;
    arena_reset(&jit.t->meta);
    CHECK_EQ(x64_backend.emit(jit.t, blk, &tb), 0);
    jit.env->in_code = true;
    unsigned r = x64_backend.enter(jit.env, tb.code);
    jit.env->in_code = false;
    CHECK_EQ(r, TCG_EXIT_SITE);
    jit.cpu->pc = tb.exits[(uint8_t)jit.env->saved_misc].pc;
    compare(n, s);
}

TEST(x64_random_single)
{
    setup();
    for (unsigned n = 0; n < 30000; n++)
        one(n, 1);
}

TEST(x64_random_blocks)
{
    setup();
    for (unsigned n = 0; n < 3000; n++)
        one(n, 2 + pick(20));
}

TEST(x64_random_hot)
{
    setup();
    mmu_probe(jit.env->mmu, 0x20000, 8, MMU_WRITE);        /* the run of RAM is known: there is no run loop to take unwinding */
    hot_mode = true;
    for (unsigned n = 0; n < 6000; n++)
        one(n, 2 + pick(24));
    hot_mode = false;
}
