/*
 * Memory order between processors: litmus tests, run very often, with every fence and with locked instructions, through every kind of access.
 *
 * A test is at most four processors with two accesses each to the words x and y. Its code is made here for each kind of access and fence, as a
 * loop over many instances of (x, y). What may come out is not written down: a model of the manual's store-order memory (each processor has a
 * queue of stores; a fence or a locked instruction waits until it is empty) is run through all its interleavings. What was seen must be
 * among that; what is allowed by the queues alone, and seen, is reported.
 * Two processors run the tests for two; more run those for three and four. SDM 3A 8.2.
 */
#include "smp.h"

#ifndef RUNS
#define RUNS 400                                        /* of each combination; where it is cheap, 16 times as many */
#endif

enum op_kind { NOP, ST, LD };
enum { X, Y };
struct op { u8 kind, at, val; };                         /* val of a load: the number of its result */
struct shape { const char *name; u8 n; struct op op[4][2]; u8 at_first[2]; };
static const struct shape shapes[] = {
    { "sb", 2, .op = { { { ST, X, 1 }, { LD, Y, 0 } }, { { ST, Y, 1 }, { LD, X, 1 } } } },
    { "mp", 2, .op = { { { ST, X, 1 }, { ST, Y, 1 } }, { { LD, Y, 0 }, { LD, X, 1 } } } },
    { "lb", 2, .op = { { { LD, Y, 0 }, { ST, X, 1 } }, { { LD, X, 1 }, { ST, Y, 1 } } } },
    { "r", 2, .op = { { { ST, X, 1 }, { ST, Y, 1 } }, { { ST, Y, 2 }, { LD, X, 0 } } } },
    { "s", 2, .op = { { { ST, X, 2 }, { ST, Y, 1 } }, { { LD, Y, 0 }, { ST, X, 1 } } } },
    { "2+2w", 2, .op = { { { ST, X, 1 }, { ST, Y, 2 } }, { { ST, Y, 1 }, { ST, X, 2 } } } },
    { "2+2w-same", 2, .op = { { { ST, X, 1 }, { ST, Y, 2 } }, { { ST, Y, 1 }, { ST, X, 2 } } }, .at_first = { 0, 2 } },   /* a store that may change nothing */
    { "coherence", 2, .op = { { { ST, X, 1 }, { ST, X, 2 } }, { { LD, X, 0 }, { LD, X, 1 } } } },
    { "wrc", 3, .op = { { { ST, X, 1 } }, { { LD, X, 0 }, { ST, Y, 1 } }, { { LD, Y, 1 }, { LD, X, 2 } } } },
    { "iriw", 4, .op = { { { ST, X, 1 } }, { { ST, Y, 1 } }, { { LD, X, 0 }, { LD, Y, 1 } }, { { LD, Y, 2 }, { LD, X, 3 } } } },
};

/* What stands between the two accesses, or how they are locked themselves. */
enum fence { NONE, MFENCE, LFENCE, SFENCE, LOCK_ADD, XCHG_STORES, XADD_LOADS, N_FENCES };
static const char *const fence_names[] = { "plain", "mfence", "lfence", "sfence", "lock-add", "xchg-stores", "xadd-loads" };

/* How memory is reached: the instruction, and what lies there. */
enum insn { MOV8, MOV32, MOV64, SSE, STRING, REP, N_INSNS };
static const char *const insn_names[] = { "mov8", "mov32", "mov64", "sse", "lods-stos", "rep" };
/* NEAR: one run of memory for each base register; FAR: x and y by one register from two runs; CROSSING: over the end of a page; CODE: beside
   translated code; TABLE: in page tables that are in use. */
enum place { NEAR, FAR, CROSSING, CODE_PAGE, TABLE, N_PLACES };
static const char *const place_names[] = { "near", "far", "crossing", "code", "table" };

/* ---- the model ---- */

struct state { u8 mem[2], reg[4], pc[4], queued[4]; struct { u8 at, val; } queue[4][2]; };
static u8 allowed[1 << 12], strong[1 << 12];
static const struct shape *shape;
static enum fence fence;

static unsigned outcome(const u8 *reg, const u8 *mem)
{
    return (unsigned)(reg[0] | reg[1] << 2 | reg[2] << 4 | reg[3] << 6 | mem[0] << 8 | mem[1] << 10);
}

/* Memory now, or the youngest store to it in the processor's own queue. */
static u8 seen(const struct state *s, unsigned cpu, unsigned at)
{
    for (unsigned i = s->queued[cpu]; i-- > 0;)
        if (s->queue[cpu][i].at == at)
            return s->queue[cpu][i].val;
    return s->mem[at];
}

static void explore(const struct state *s, int locked, u8 *into);

static void drain_one(struct state s, unsigned cpu, int locked, u8 *into)
{
    s.mem[s.queue[cpu][0].at] = s.queue[cpu][0].val;
    s.queue[cpu][0] = s.queue[cpu][1];
    s.queued[cpu]--;
    explore(&s, locked, into);
}

static int waits(const struct state *s, unsigned cpu, const struct op *o, int locked)
{
    int full_fence = s->pc[cpu] == 1 && (fence == MFENCE || fence == LOCK_ADD);
    return s->queued[cpu] && (locked || full_fence || (o->kind == ST ? fence == XCHG_STORES : fence == XADD_LOADS));
}

static void execute(struct state s, unsigned cpu, const struct op *o, int locked, u8 *into)
{
    s.pc[cpu]++;
    if (o->kind == LD)
        s.reg[o->val] = seen(&s, cpu, o->at);
    else if (o->kind == ST && (locked || fence == XCHG_STORES))
        s.mem[o->at] = o->val;
    else if (o->kind == ST) {
        s.queue[cpu][s.queued[cpu]].at = o->at;
        s.queue[cpu][s.queued[cpu]++].val = o->val;
    }
    explore(&s, locked, into);
}

/* LOCKED: every access is done at once, as if there were no queues. */
static void explore(const struct state *s, int locked, u8 *into)
{
    int end = 1;
    for (unsigned cpu = 0; cpu < shape->n; cpu++) {
        const struct op *o = &shape->op[cpu][s->pc[cpu]];
        if (s->queued[cpu])
            end = 0, drain_one(*s, cpu, locked, into);
        if (s->pc[cpu] == 2)
            continue;
        end = 0;
        if (!waits(s, cpu, o, locked))
            execute(*s, cpu, o, locked, into);
    }
    if (end)
        into[outcome(s->reg, s->mem)] = 1;
}

static void run_model(void)
{
    struct state start = { .mem = { shape->at_first[X], shape->at_first[Y] } };
    memset(allowed, 0, sizeof(allowed));
    memset(strong, 0, sizeof(strong));
    explore(&start, 0, allowed);
    explore(&start, 1, strong);
}

/* ---- the code: %r8 and %r9 point to x and y, %r10 to the results, %r11d counts ---- */

enum { CODE_AT = 0x1000000, RESULTS = 0x1100000, WORDS = 0x1800000, MOST = 4096 };
static u8 *out;
static unsigned instances, stride;
static ul x_base, y_base;
static enum insn insn;
static enum place where;

static void bytes(const char *b, unsigned n) { while (n--) *out++ = (u8)*b++; }
#define BYTES(s) bytes(s, sizeof(s) - 1)
static void imm32(u32 v) { for (unsigned i = 0; i < 4; i++) *out++ = (u8)(v >> (8 * i)); }

/* The operand x or y, with REG in the other field. */
static void operand(unsigned reg, unsigned at)
{
    if (where != FAR) {
        *out++ = (u8)(reg << 3 | at);
        return;
    }
    *out++ = (u8)(0x80 | reg << 3);
    imm32(at == X ? 0 : (u32)(y_base - x_base));
}
static void address_in(const char *lea, unsigned reg, unsigned at) { bytes(lea, 2); operand(reg, at); }

static void make_store(const struct op *o)
{
    if (fence == XCHG_STORES) {
        BYTES("\xb8"), imm32(o->val);
        insn == MOV64 ? BYTES("\x49\x87") : insn == MOV8 ? BYTES("\x41\x86") : BYTES("\x41\x87");
        operand(0, o->at);
        return;
    }
    switch (insn) {
    case MOV8: BYTES("\x41\xc6"), operand(0, o->at), *out++ = o->val; break;
    case MOV32: BYTES("\x41\xc7"), operand(0, o->at), imm32(o->val); break;
    case MOV64: BYTES("\x49\xc7"), operand(0, o->at), imm32(o->val); break;
    case SSE: BYTES("\xb8"), imm32(o->val), BYTES("\x66\x0f\x6e\xc0\x66\x0f\x70\xc0\x00\x41\x0f\x11"), operand(0, o->at); break;
    default:
        BYTES("\xb8"), imm32(o->val), address_in("\x49\x8d", 7, o->at);
        insn == REP ? BYTES("\xb9\x04\x00\x00\x00\xf3\xab") : BYTES("\xab");
    }
}

/* Into %r12d or %r13d (K), or to the results at once. */
static void make_load(const struct op *o, unsigned k)
{
    if (fence == XADD_LOADS) {
        k ? BYTES("\x45\x31\xed\xf0") : BYTES("\x45\x31\xe4\xf0");
        insn == MOV64 ? BYTES("\x4d\x0f\xc1") : insn == MOV8 ? BYTES("\x45\x0f\xc0") : BYTES("\x45\x0f\xc1");
        operand(4 + k, o->at);
        return;
    }
    switch (insn) {
    case MOV8: BYTES("\x45\x0f\xb6"), operand(4 + k, o->at); break;
    case MOV32: BYTES("\x45\x8b"), operand(4 + k, o->at); break;
    case MOV64: BYTES("\x4d\x8b"), operand(4 + k, o->at); break;
    case SSE: BYTES("\x41\x0f\x10"), operand(1 + k, o->at); break;
    case STRING: address_in("\x49\x8d", 6, o->at), BYTES("\xad\x41\x89"), *out++ = (u8)(0xc4 + k); break;
    default: address_in("\x49\x8d", 6, o->at), BYTES("\x49\x8d\x7a"), *out++ = (u8)(16 * k), BYTES("\xb9\x04\x00\x00\x00\xf3\xa5");
    }
}

static void make_fence(void)
{
    switch (fence) {
    case MFENCE: BYTES("\x0f\xae\xf0"); break;
    case LFENCE: BYTES("\x0f\xae\xe8"); break;
    case SFENCE: BYTES("\x0f\xae\xf8"); break;
    case LOCK_ADD: BYTES("\xf0\x83\x04\x24\x00"); break;
    default: break;
    }
}

static u8 *code_of(unsigned cpu) { return (u8 *)(CODE_AT + 4096ul * cpu); }
static unsigned *results_of(unsigned cpu) { return (void *)(RESULTS + 0x20000ul * cpu); }

static void make_code(unsigned cpu)
{
    out = code_of(cpu);
    for (unsigned i = 0; i < 2; i++) {
        const struct op *o = &shape->op[cpu][i];
        o->kind == ST ? make_store(o) : o->kind == LD ? make_load(o, i) : (void)0;
        if (!i)
            make_fence();
    }
    if (insn == SSE && fence != XADD_LOADS)
        BYTES("\x66\x41\x0f\x7e\xcc\x66\x41\x0f\x7e\xd5");           /* movd %xmm1, %r12d; movd %xmm2, %r13d */
    if (insn != REP || fence == XADD_LOADS)
        BYTES("\x45\x89\x22\x45\x89\x6a\x10");                       /* mov %r12d, (%r10); mov %r13d, 16(%r10) */
    BYTES("\x49\x83\xc2\x20\x49\x81\xc0"), imm32(stride), BYTES("\x49\x81\xc1"), imm32(stride);
    BYTES("\x41\xff\xcb\x0f\x85"), imm32((u32)(code_of(cpu) - out - 4)), BYTES("\xc3");
}

static void call_code(unsigned cpu)
{
    register ul r8 __asm__("r8") = x_base, r9 __asm__("r9") = y_base, r10 __asm__("r10") = (ul)results_of(cpu), r11 __asm__("r11") = instances;
    __asm__ volatile("call *%4" : "+r"(r8), "+r"(r9), "+r"(r10), "+r"(r11) : "b"(code_of(cpu))
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r12", "r13", "memory", "cc");
}

/* ---- running ---- */

static u64 relaxed, total, wrong;
static unsigned batches, first_wrong;
static u64 relaxed_of[N_FENCES];

static void choose_place(void)
{
    static const struct { unsigned n, stride; ul x, y; } at[N_PLACES] = {
        [NEAR] = { MOST, 64, WORDS, WORDS + 0x40000 }, [FAR] = { MOST, 64, WORDS, WORDS + 0x600000 },
        [CROSSING] = { 64, 4096, WORDS + 4094, WORDS + 0x80000 + 4094 },
        [CODE_PAGE] = { 240, 16, WORDS + 256, WORDS + 4096 + 256 }, [TABLE] = { 240, 16, WORDS + 256, WORDS + 4096 + 256 } };
    instances = at[where].n;
    stride = at[where].stride;
    x_base = at[where].x;
    y_base = at[where].y;
    batches = (RUNS * (where <= FAR ? 16 : 1) + instances - 1) / instances;      /* the first while the code is made, by one after the other */
}

/* A page of the last two kinds stays what it is only while it is used. */
static void use_places(void)
{
    for (ul page = WORDS; page <= WORDS + 4096; page += 4096) {
        if (where == CODE_PAGE)
            EQ(((unsigned (*)(void))page)(), 7);
        if (where == TABLE) {
            ul va = page == WORDS ? 0x80000000ul : 0x80200000ul;
            invlpg(va);
            EQ(*AT(va), 5);
        }
    }
}

static void open_places(void)
{
    static const u8 code[] = { 0xb8, 7, 0, 0, 0, 0xc3 };
    memset((void *)WORDS, 0, 0x100000);
    *AT(WORDS + 8192) = 5;
    for (unsigned i = 0; i < 2; i++) {
        if (where == CODE_PAGE)
            memcpy((void *)(WORDS + 4096ul * i), code, sizeof(code));
        if (where == TABLE) {
            *AT(WORDS + 4096ul * i) = (WORDS + 8192) | 3;
            pd[1024 + i] = (WORDS + 4096ul * i) | 7;
        }
    }
}

static void close_places(void)
{
    for (unsigned i = 0; i < 2 && where == TABLE; i++)
        pd[1024 + i] = ((1024ul + i) << 21) | 0xe7;
    invlpg(0x80000000ul);
    invlpg(0x80200000ul);
}

static void clear_words(void)
{
    u64 x[2] = { shape->at_first[X], 0 }, y[2] = { shape->at_first[Y], 0 };
    for (unsigned i = 0; i < instances; i++) {
        memcpy((void *)(x_base + i * stride), x, 16);
        memcpy((void *)(y_base + i * stride), y, 16);
    }
}

static void judge(void)
{
    for (unsigned i = 0; i < instances; i++) {
        u8 reg[4] = { 0 }, mem[2] = { *(u8 *)(x_base + i * stride), *(u8 *)(y_base + i * stride) };
        for (unsigned cpu = 0; cpu < shape->n; cpu++)
            for (unsigned k = 0; k < 2; k++)
                if (shape->op[cpu][k].kind == LD)
                    reg[shape->op[cpu][k].val] = (u8)results_of(cpu)[i * 8 + k * 4];
        unsigned o = outcome(reg, mem) & 4095;
        if (!allowed[o] && !wrong++)
            first_wrong = o;
        relaxed += allowed[o] && !strong[o];
    }
    total += instances;
}

/* A barrier that all leave within a few instructions of each other, unless the host has them wait: PAUSE would give its processor away. */
static volatile unsigned arrived;
static void meet(unsigned round)
{
    unsigned spins = 0;
    __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
    while (arrived < round * n_cpus)
        if (++spins > 200000)
            pause();
}

static void litmus_job(unsigned cpu)
{
    unsigned v[4];
    cpuid(0, 0, v);
    for (unsigned b = 0; b < batches; b++) {
        if (cpu == 0)
            clear_words();
        if (where == TABLE)
            use_places();
        meet(3 * b + 1);
        if (where == CODE_PAGE)
            use_places();
        meet(3 * b + 2);
        if (cpu < shape->n)
            call_code(cpu);
        meet(3 * b + 3);
        if (cpu == 0)
            judge();
    }
}

static void put_combination(void)
{
    put(shape->name), put(" "), put(fence_names[fence]), put(" "), put(insn_names[insn]), put(" "), put(place_names[where]);
}

static void one(void)
{
    choose_place();
    open_places();
    for (unsigned cpu = 0; cpu < shape->n; cpu++)
        make_code(cpu);
    relaxed = wrong = arrived = 0;
    everywhere(litmus_job);
    close_places();
    relaxed_of[fence] += relaxed;
    if (!wrong)
        return;
    put("note "), put_combination(), put(": "), put_dec((unsigned)wrong);
    put(" times an outcome that no order allows, such as "), put_hex(first_wrong), put("\n");
    EQ(wrong, 0);
}

/* Bytes across a page end are no access across a page end; XCHG and XADD have one form for each width. */
static int makes_sense(void)
{
    if (where == CROSSING && (insn == MOV8 || insn == SSE || insn == REP))
        return 0;
    return insn <= MOV64 || (fence != XCHG_STORES && fence != XADD_LOADS);
}

static void report(void)
{
    put("note "), put(shape->name), put(": seen of what only the stores' queues allow:");
    for (unsigned f = 0; f < N_FENCES; f++) {
        put(" "), put(fence_names[f]), put(" ");
        relaxed_of[f] ? put_dec((unsigned)relaxed_of[f]) : put("0");
    }
    put("; runs "), put_dec((unsigned)total), put("\n");
}

static int may_relax(void)
{
    for (unsigned o = 0; o < sizeof(allowed); o++)
        if (allowed[o] && !strong[o])
            return 1;
    return 0;
}

static void all_forms(void)
{
    int weak = 0;
    total = 0;
    memset(relaxed_of, 0, sizeof(relaxed_of));
    for (fence = NONE; fence < N_FENCES; fence++) {
        run_model();
        weak |= may_relax();
        for (insn = 0; insn < N_INSNS; insn++)
            for (where = 0; where < N_PLACES; where++)
                if (makes_sense())
                    one();
    }
    fence = NONE, insn = MOV32, where = NEAR;
    run_model();
    for (unsigned tries = 0; weak && !relaxed_of[NONE] && tries < 200; tries++)      /* the host may have run them one after the other so far */
        one();
    report();
    if (weak && !relaxed_of[NONE])
        SKIP("no store was seen to wait: did the processors run in turns?");
}

void main(void);
void main(void)
{
    RUN(start_up);
    for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        shape = &shapes[i];
        if (n_cpus == 2 ? shape->n != 2 : shape->n == 2 || shape->n > n_cpus)
            continue;
        test_name = shape->name;
        test_failed = 0;
        all_forms();
        if (!test_failed)
            put("ok "), put(shape->name), put("\n");
    }
    finish();
}
