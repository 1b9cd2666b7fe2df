/*
 * The instruction set against the host's processor: for every user-visible row of insns.def random encodings and states, random blocks of up
 * to 12 instructions (some closed to loops), and loops whose addresses move (exec_loop.h), in 64-bit code, in 32-bit code with flat segments, and
 * in 16- and 32-bit code with segments that have bases and limits, run natively, by the interpreter and by the translator (exec_frame.h, exec_gen.h);
 * registers, flags (but undefined ones), FPU state, memory and faults must agree. The seed of a case is printed when it fails, and DUET_SEED
 * runs only that case. At the end: code that a device or the code itself changes, which the host's processor is not asked about.
 * DUET_CASES: percent of the usual number of cases. DUET_ROW: only rows of that mnemonic. DUET_SURVEY: one failure a row, do not stop.
 * DUET_BASE: another sequence of seeds.
 */
#include "tests/unit/exec_loop.h"

static struct state st_in, st_native, st_interp, st_tcg;
static unsigned bad_rows[4096], cases_run, cases_random, failures;
static uint64_t code_at = CODE;

static __attribute__((constructor)) void want_read_only(void) { exec_read_only = true; }

static unsigned setting(const char *name, unsigned def)
{
    const char *s = getenv(name);
    return s ? (unsigned)strtoul(s, NULL, 0) : def;
}

/* Code moves on, so that most cases are new code to the translator, and old code is overwritten now and then. */
static uint64_t next_code(void)
{
    code_at += 0x300 + 16 * pick(8) + pick(16);
    if (code_at + 0x800 > CODE + (exec_seg ? 0x10000 : CODE_SIZE))
        code_at = CODE + pick(64);
    return code_at;
}

static void run_three(const struct gen *g, unsigned n, const struct exec_mask *mask)
{
    uint8_t code[800];
    memcpy(code, g->b, n);
    memset(code + n, 0xcc, 16);
    exec_native(&st_in, &st_native, code, n + 16);
    exec_guest(&exec_interp, &st_in, &st_interp, code, n + 16);
    exec_guest(exec_no_tcg ? &exec_interp : &exec_tcg, &st_in, &st_tcg, code, n + 16);
    struct exec_mask k = *mask;
    for (unsigned i = 0; i <= g->n_insn; i++)        /* a fault shows the flags of before the instruction */
        if (st_native.rip >= g->at + (i ? g->pos[i] : 0) && st_native.rip < g->at + (i < g->n_insn ? g->pos[i + 1] : n) && st_native.vector != X86_BP)
            k.flags &= ~(uint64_t)g->undef_fault[i];
    if (st_native.vector == X86_BP)
        k.flags &= ~(uint64_t)g->undef;
    exec_normal(&st_native, &k);
    exec_normal(&st_interp, &k);
    exec_normal(&st_tcg, &k);
}

static bool agree(const struct gen *g, unsigned n)
{
    struct exec_mask mask = { RF_ARITH | RF_DF, g->skip_at, g->skip_len };
    run_three(g, n, &mask);
    return exec_same(&st_native, &st_interp) && exec_same(&st_native, &st_tcg);
}

static void show_code(const struct gen *g, unsigned n)
{
    for (unsigned at = 0; at < n;) {
        struct x86_insn i;
        char text[120];
        if (x86_decode(&i, g->b + at, n - at, g->mode) != X86_OK)
            return;
        x86_disas(&i, g->at + at, text, sizeof text);
        printf("    %llx: ", (unsigned long long)(g->at + at));
        for (unsigned k = 0; k < i.len; k++)
            printf("%02x", g->b[at + k]);
        printf("  %s\n", text);
        at += i.len;
    }
}

/* The shortest beginning of the block that fails. The outcome of that run is in st_*. */
static unsigned shorten(const struct gen *g)
{
    struct gen part = *g;
    for (unsigned k = 1; k < g->n_insn; k++) {
        part.n_insn = k;
        part.undef = g->undef_before[k];
        if (!agree(&part, g->pos[k]))
            return g->pos[k];
    }
    agree(g, g->n);
    return g->n;
}

/* A crash of ours: show what was being run. */
static const struct gen *now;
static uint64_t now_seed;
static void on_abort(int sig)
{
    if (!now) {
        signal(SIGABRT, SIG_DFL);
        abort();
    }
    printf("crashed in case of seed %llu\n", (unsigned long long)now_seed);
    show_code(now, now->n);
    fflush(stdout);
    ir_dump(exec_tcg.t->ir, "block");
    signal(sig, SIG_DFL);
    raise(sig);
}

static void check_case(const struct gen *g, uint64_t seed)
{
    now = g;
    now_seed = seed;
    cases_run++;
    exec_random = seed >> 34 & 7 ? 0 : seed;
    cases_random += exec_random != 0;
    if (agree(g, g->n))
        return;
    unsigned n = shorten(g), last = 0;
    while (last + 1 < g->n_insn && g->pos[last + 1] < n)
        last++;
    unsigned row = (unsigned)(g->row[last] - x86_rows);
    failures++;
    if (bad_rows[row]++ >= (getenv("DUET_SEED") ? 100 : 1))
        return;
    printf("case of seed %llu: row %u %s%s\n", (unsigned long long)seed, row, g->row[last]->name, g->n_insn > 1 ? " (block)" : "");
    show_code(g, n);
    exec_show(&st_in, &st_native, &st_interp, &st_tcg);
    fflush(stdout);
    if (getenv("DUET_SEED"))
        ir_dump(exec_tcg.t->ir, "last block");
    if (!getenv("DUET_SURVEY") && failures > 5)
        CHECK_EQ(failures, 0);
}

static bool not_asked(uint64_t seed)
{
    const char *only = getenv("DUET_SEED");
    return only && strtoull(only, NULL, 0) != seed;
}

/* ---- the account ---- */
enum { FORM_REG = 1, FORM_MEM = 2, FORM_LOCK = 4, FORM_REP = 8, FORM_66 = 16, FORM_67 = 32, FORM_REX = 64, FORM_SEG = 128,
       FORM_EDGE = 256, FORM_MASKED = 512, FORM_COUNT = 10 };
static const char *const form_name[FORM_COUNT] = {
    "register", "memory", "lock", "rep", "66", "67", "rex", "segment", "over a page's end", "masked" };
static uint32_t row_forms[4096];
static unsigned form_cases[FORM_COUNT], vector_cases[32];

static void note_forms(const struct gen *g)
{
    const struct x86_insn *i = &g->last;
    unsigned f = 0, size = 0;
    for (unsigned k = 0; k < i->n_opnd; k++)
        if (i->o[k].kind == OK_MEM)
            size = i->o[k].size;
    f |= i->has_modrm && i->modrm >= 0xc0 ? FORM_REG : i->has_modrm || size ? FORM_MEM : 0;
    f |= (i->lock ? FORM_LOCK : 0) | (i->rep || i->repne ? FORM_REP : 0) | (i->p66 ? FORM_66 : 0) | (i->p67 ? FORM_67 : 0) | (i->rex ? FORM_REX : 0);
    f |= (i->seg_override != X86_NOREG ? FORM_SEG : 0) | (i->evex_k ? FORM_MASKED : 0);
    f |= g->last_ea && (g->last_ea & 4095) + size > 4096 ? FORM_EDGE : 0;
    row_forms[i->row - x86_rows] |= f | 1u << FORM_COUNT;
    for (unsigned k = 0; k < FORM_COUNT; k++)
        form_cases[k] += f >> k & 1;
    vector_cases[st_native.vector & 31]++;
}

static bool one_row(const struct x86_row *r, uint64_t seed)
{
    static struct gen g;
    if (not_asked(seed))
        return true;
    gen_seed = seed;
    memset(&g, 0, sizeof g);
    g.at = next_code();
    g.in = &st_in;
    g.mode = exec_mode;
    exec_hot = seed >> 33 & 1;
    random_state(&st_in, g.at, 0);
    if (!gen_insn(&g, r))
        return false;
    check_case(&g, seed);
    note_forms(&g);
    return true;
}

static const struct x86_row *good[4096];
static unsigned n_good;

static void choose_rows(enum x86_mode mode, bool seg)
{
    const char *only = getenv("DUET_ROW");
    exec_setup();
    signal(SIGABRT, on_abort);
    signal(SIGALRM, on_abort);                       /* a case that never ends */
    alarm(300 + setting("DUET_CASES", 100));
    exec_crash = on_abort;
    exec_set_mode(mode, seg);
    if (seg && !exec_has_ldt)
        SKIP("no modify_ldt");
    n_good = failures = cases_run = 0;
    for (unsigned n = 0; n < x86_n_rows && n_good < ARRAY_SIZE(good); n++)
        if (usable(&x86_rows[n], mode) && (!only || !strcmp(only, x86_rows[n].name)))
            good[n_good++] = &x86_rows[n];
}

static void every_row(enum x86_mode mode, bool seg, unsigned per_row)
{
    unsigned lost = 0;
    uint64_t base = setting("DUET_BASE", 1);
    choose_rows(mode, seg);
    for (unsigned n = 0; n < n_good; n++) {
        bool any = false;
        for (unsigned k = 0; k < per_row; k++)
            any |= one_row(good[n], (base << 32 | (uint64_t)(good[n] - x86_rows) << 16 | k) * 0x9e3779b97f4a7c15ull | 1);
        if (!any)
            lost++, printf("# no case for row %u %s %02x\n", (unsigned)(good[n] - x86_rows), good[n]->name, good[n]->opcode);
    }
    printf("# %u rows, %u cases, %u failures\n", n_good, cases_run, failures);
    CHECK_EQ(failures, 0);
    CHECK_EQ(lost, 0);
}

/* sub r9, 1; jnz to the beginning */
static void close_loop(struct gen *g)
{
    uint8_t b[10] = { 0x49, 0x83, 0xe9, 0x01, 0x0f, 0x85 };
    int32_t d = -(int32_t)(g->n + 10);
    memcpy(b + 6, &d, 4);
    memcpy(g->b + g->n, b, 10);
    g->n += 10;
    g->undef = 0;
}

static void begin_block(struct gen *g, uint64_t seed)
{
    gen_seed = seed;
    memset(g, 0, sizeof *g);
    g->at = next_code();
    g->in = &st_in;
    g->mode = exec_mode;
    g->block = true;
}

/* As if it had been found out that descriptors do not serve some of the accesses. */
static void learn_some(const struct gen *g)
{
    if (chance(3))
        for (unsigned k = 0; k < g->n_insn; k++)
            if (chance(3))
                exec_tlb_only[g->pos[k] / 64] |= 1ull << g->pos[k] % 64;
}

static void one_block(uint64_t seed)
{
    static struct gen g;
    if (not_asked(seed))
        return;
    begin_block(&g, seed);
    g.reserved = g.mode == X86_M64 ? RESERVED64 : RESERVED32;
    exec_hot = seed >> 33 & 1;
    exec_trial = seed >> 34 & 1;
    random_state(&st_in, g.at, g.reserved);
    bool integer = pick(2);
    unsigned want = 2 + pick(GEN_BLOCK - 1);
    for (unsigned k = 0; k < 80 && g.n_insn < want && g.n < 600; k++) {
        const struct x86_row *r = good[pick(n_good)];
        if ((integer || pick(3)) && (is_gen(r, gen_native) || is_gen(r, gen_evex) || is_gen(r, gen_x87) || is_gen(r, gen_nop)))        /* they are most of the rows */
            continue;
        if (is_gen(r, gen_x87_env) || is_gen(r, gen_mxcsr))
            continue;
        gen_insn(&g, r);
    }
    if (!g.n_insn)
        return;
    if (g.mode == X86_M64 && chance(4) && !is_gen(g.row[0], gen_gather))      /* its mask is as the processor makes it in the first round only */
        close_loop(&g);
    learn_some(&g);
    check_case(&g, seed);
    memset(exec_tlb_only, 0, sizeof exec_tlb_only);
}

static void blocks(enum x86_mode mode, bool seg, unsigned n)
{
    uint64_t base = setting("DUET_BASE", 1);
    choose_rows(mode, seg);
    for (unsigned k = 0; k < n; k++)
        one_block((base << 32 | k) * 0x9e3779b97f4a7c15ull | 1);
    printf("# %u blocks, %u failures\n", cases_run, failures);
    CHECK_EQ(failures, 0);
}

/* ---- loops ---- */
static unsigned loops_counted, loops_tight;          /* of the cases that counted what they run: those that entered a tight copy */

/* Does the block's code at N's offsets count in N? It has its address as a constant. */
static bool counts_in(const struct tb *tb, const struct tb_count *n)
{
    const uint64_t *at = &n->runs;
    return n->code_end <= tb->code_size && memmem(tb->code + n->code, n->code_end - n->code, &at, sizeof at);
}

/* Did a block made since there were FIRST of them run a tight copy, and count it? */
static bool tight_since(unsigned first)
{
    const struct tcg *t = exec_tcg.t;
    for (unsigned i = first; i < t->part[t->now].n; i++) {
        uint32_t tight = t->part[t->now].by_code[i]->tight;
        for (const struct tb_count *n = tight ? t->counts : NULL; n; n = n->next)
            if (n->runs && n->guest && n->from > tight && counts_in(t->part[t->now].by_code[i], n))
                return true;
    }
    return false;
}

static void drop_counts(void)                        /* the blocks are not run again */
{
    while (exec_tcg.t->counts) {
        struct tb_count *next = exec_tcg.t->counts->next;
        free(exec_tcg.t->counts);
        exec_tcg.t->counts = next;
    }
}

static void one_loop(uint64_t seed)
{
    static struct gen g;
    if (not_asked(seed))
        return;
    begin_block(&g, seed);
    exec_hot = pick(8);
    random_state(&st_in, g.at, RESERVED64);
    if (!loop_gen(&g, good, n_good))
        return;
    learn_some(&g);
    unsigned first = exec_tcg.t->part[exec_tcg.t->now].n;
    bool counting = chance(4);
    log_mask |= counting ? LOG_COUNT : 0;
    check_case(&g, seed);
    log_mask &= ~(unsigned)LOG_COUNT;
    memset(exec_tlb_only, 0, sizeof exec_tlb_only);
    loops_counted += counting;
    loops_tight += counting && tight_since(first < exec_tcg.t->part[exec_tcg.t->now].n ? first : 0);
    drop_counts();
}

static void loops(enum x86_mode mode, unsigned n)
{
    uint64_t base = setting("DUET_BASE", 1);
    unsigned kept = 0;
    choose_rows(mode, false);
    for (unsigned k = 0; k < n_good; k++)
        if (loop_row(good[k]))
            good[kept++] = good[k];
    n_good = kept;
    loops_counted = loops_tight = 0;
    for (unsigned k = 0; k < n; k++)
        one_loop((base << 32 | k) * 0x9e3779b97f4a7c15ull | 1);
    printf("# %u loops, %u failures; %u of %u entered a tight copy\n", cases_run, failures, loops_tight, loops_counted);
    CHECK_EQ(failures, 0);
    CHECK(exec_no_tcg || loops_counted < 100 || loops_tight * 4 > loops_counted);
}

/* A device that writes while a block is being made: after its bytes were decoded, before anybody watches them. */
static bool dma_done;
static void translate_and_dma(void *cpu, struct mmu *mmu, const struct tb_key *key, unsigned max, struct ir_block *ir)
{
    struct tcg_env *env = tcg_env_of(cpu);
    x86_frontend.translate(cpu, mmu, key, max, ir);
    if (!dma_done)
        as_dma_write(env->tcg->mem, GPA_CODE + 0xffe + 3, "\x22", 1);
    dma_done = true;
}

static void run_both(const uint8_t *code, unsigned len, void (*before)(void), void (*check)(struct machine *, const struct state *))
{
    struct machine *both[2] = { &exec_interp, &exec_tcg };
    exec_set_mode(X86_M64, false);
    for (unsigned i = 0; i < (exec_no_tcg ? 1 : 2); i++) {
        memset(&st_in, 0, sizeof st_in);
        *(uint16_t *)st_in.fpu = 0x37f;
        *(uint32_t *)(st_in.fpu + 24) = 0x1f80;
        st_in.rip = CODE + 0xffe;
        st_in.flags = 2;
        before();
        exec_guest(both[i], &st_in, &st_tcg, code, len);
        check(both[i], &st_tcg);
    }
}

static void dma_before(void) { dma_done = false; }
static void dma_check(struct machine *m, const struct state *s)
{
    CHECK(dma_done);
    CHECK_EQ(s->r[X86_RAX], 0x11220000);
}

TEST(dma_while_translating)
{
    static const uint8_t code[] = { 0xb8, 0, 0, 0, 0x11, 0xcc };                             /* mov eax, 11000000h across a page end */
    exec_setup();
    exec_fe.translate = translate_and_dma;
    run_both(code, sizeof code, dma_before, dma_check);
    exec_fe.translate = x86_frontend.translate;
}

/* A loop that changes one of its own instructions each time round must not be translated as a whole each time. */
static uint64_t insns_before;
static void storm_before(void)
{
    st_in.r[X86_RCX] = 1000;
    insns_before = exec_tcg.t->n.block_insns + exec_interp.t->n.block_insns;
}

static void storm_check(struct machine *m, const struct state *s)
{
    uint64_t made = exec_tcg.t->n.block_insns + exec_interp.t->n.block_insns - insns_before;
    CHECK_EQ(s->r[X86_RAX], 1000 * 36);
    CHECK_EQ(s->r[X86_RDX], 1000 * 999 / 2);
    printf("# %llu guest instructions translated for 1000 rounds of 40\n", (unsigned long long)made);
    CHECK(made < 5000);
}

TEST(code_storm)
{
    uint8_t code[128];
    unsigned n = 0, inc;
    exec_setup();
    for (; n < 18 * 2; n += 2)
        code[n] = 0xff, code[n + 1] = 0xc0;                                                  /* inc eax */
    static const uint8_t change[] = { 0x81, 0xc2, 0, 0, 0, 0, 0xff, 0x05 };                  /* add edx, imm; inc dword imm */
    memcpy(code + n, change, sizeof change);
    n += sizeof change;
    inc = n + 4;
    int32_t to_imm = (int32_t)(18 * 2 + 2) - (int32_t)inc;
    memcpy(code + n, &to_imm, 4);
    for (n = inc; n < inc + 18 * 2; n += 2)
        code[n] = 0xff, code[n + 1] = 0xc0;
    code[n++] = 0xff, code[n++] = 0xc9;                                                      /* dec ecx; jnz */
    code[n++] = 0x75, code[n] = (uint8_t)-(int)(n + 1), n++;
    code[n++] = 0xcc;
    run_both(code, n, storm_before, storm_check);
}

/* ---- -d count ---- */
/* add rax, [rbx]; add rbx, 8; sub r9, 1, whose flags can be made again; jnz. And add rbx, 8 first, to a dec r9, where they cannot */
static const uint8_t count_sub[] = { 0x48, 0x03, 0x03, 0x48, 0x83, 0xc3, 0x08, 0x49, 0x83, 0xe9, 0x01, 0x75, 0xf3, 0xcc };
static const uint8_t count_dec[] = { 0x48, 0x83, 0xc3, 0x08, 0x48, 0x03, 0x43, 0xf8, 0x49, 0xff, 0xc9, 0x75, 0xf3, 0xcc };

static void count_turns(const uint8_t *code, unsigned len, unsigned turns, uint64_t *guest, uint64_t *host)
{
    random_state(&st_in, next_code(), RESERVED64);
    st_in.r[X86_RBX] = DATA;
    st_in.r[X86_R9] = turns;
    exec_hot = true;
    log_mask |= LOG_COUNT;
    exec_guest(&exec_tcg, &st_in, &st_tcg, code, len);
    log_mask &= ~(unsigned)LOG_COUNT;
    CHECK_EQ(st_tcg.vector, X86_BP);
    *guest = *host = 0;
    for (const struct tb_count *n = exec_tcg.t->counts; n; n = n->next) {
        *guest += n->runs * n->guest;
        *host += n->runs * n->host;
    }
    drop_counts();
}

/* A round of a tight copy is 4 turns of 5 host instructions (load, add, add, count, branch) and 2 that count down the budget. */
static void check_counts(const uint8_t *code, unsigned len)
{
    uint64_t guest, host, guest2, host2;
    if (exec_no_tcg)
        SKIP("no translated code under the address sanitizer");
    choose_rows(X86_M64, false);
    count_turns(code, len, 1, &guest, &host);        /* fills the descriptor */
    for (unsigned n = 37; n < 400; n += 50) {
        count_turns(code, len, n, &guest, &host);
        count_turns(code, len, n + 100, &guest2, &host2);
        CHECK_EQ(guest, 4 * (n - 1));                /* the last turn ends in INT3, which does not come back to be counted */
        CHECK_EQ(guest2 - guest, 400);
        CHECK_EQ(host2 - host, 25 * 22);
    }
}

TEST(loop_count) { check_counts(count_sub, sizeof count_sub); }
TEST(loop_count_no_recipe) { check_counts(count_dec, sizeof count_dec); }

static unsigned of_100(unsigned n) { return n / (exec_no_tcg ? 4 : 1) * setting("DUET_CASES", 100) / 100; }
TEST(row64) { every_row(X86_M64, false, of_100(40)); }
TEST(row32) { every_row(X86_M32, false, of_100(20)); }
TEST(row16) { every_row(X86_M16, true, of_100(20)); }
TEST(row32_segments) { every_row(X86_M32, true, of_100(10)); }
TEST(block64) { blocks(X86_M64, false, of_100(20000)); }
TEST(block32) { blocks(X86_M32, false, of_100(10000)); }
TEST(block16) { blocks(X86_M16, true, of_100(10000)); }
TEST(loop64) { loops(X86_M64, of_100(20000)); }
TEST(loop32) { loops(X86_M32, of_100(2000)); }
TEST(block32_segments) { blocks(X86_M32, true, of_100(5000)); }

/* Where linear addresses have 32 bits, accesses are checked in other ways. */
static void legacy(void (*run)(enum x86_mode, bool seg, unsigned n), bool seg, unsigned n)
{
    exec_legacy = true;
    run(X86_M32, seg, n);
    exec_legacy = false;
}

static void loops_in(enum x86_mode mode, bool seg, unsigned n) { loops(mode, n); }
TEST(block32_legacy) { legacy(blocks, false, of_100(10000)); }
TEST(block32_legacy_segments) { legacy(blocks, true, of_100(3000)); }
TEST(loop32_legacy) { legacy(loops_in, false, of_100(2000)); }

/* Every row that the host can run has been run, in each form that it has, and every kind of case came up. */
TEST(coverage)
{
    unsigned rows = 0, full = 0;
    if (exec_no_tcg || getenv("DUET_ROW") || getenv("DUET_SEED"))
        SKIP("not all cases were run");
    for (unsigned n = 0; n < x86_n_rows; n++) {
        const struct x86_row *r = &x86_rows[n];
        unsigned want = 1u << FORM_COUNT;
        if (wants_modrm(r))
            want |= (!(r->attr & X86_F_NOREG) && r->rm < 0 ? FORM_REG : 0) | (r->attr & X86_F_NOMEM ? 0 : FORM_MEM);
        if (!usable(r, X86_M64) && !usable(r, X86_M32) && !usable(r, X86_M16))
            continue;
        if (is_gen(r, gen_mov_seg) || field_used(r, LF_MOFFS))
            want &= 1u << FORM_COUNT | FORM_MEM;
        rows++;
        full += (row_forms[n] & want) == want;
        if ((row_forms[n] & want) != want)
            printf("# row %u %s %02x: forms %x of %x\n", n, r->name, r->opcode, row_forms[n] & want, want);
    }
    printf("# %u cases with registers, links and lengths of blocks at random\n", cases_random);
    CHECK(cases_random > 1000);
    printf("# %u of %u rows in every form;", full, rows);
    for (unsigned k = 0; k < FORM_COUNT; k++)
        printf(" %s %u%s", form_name[k], form_cases[k], k + 1 < FORM_COUNT ? "," : "\n");
    printf("# outcomes:");
    for (unsigned k = 0; k < 32; k++)
        if (vector_cases[k])
            printf(" vector %u %u", k, vector_cases[k]);
    printf("\n");
    CHECK_EQ(full, rows);
    for (unsigned k = 0; k < FORM_COUNT; k++)
        CHECK(form_cases[k] > 100);
    CHECK(vector_cases[X86_DE] && vector_cases[X86_GP] && vector_cases[X86_PF] && vector_cases[X86_SSF]);
    CHECK(vector_cases[X86_XM] && vector_cases[X86_MF]);
}
