/*
 * libFuzzer on the whole processor: a byte for the mode, four for the state, then code, which the interpreter and the translator run instruction by
 * instruction on the bare machines of gen_system.c. After each, and after each delivery, everything that a program could see must be the same.
 * Where /dev/kvm has hardware behind it, that is the third engine (sys_kvm.h).
 * What was reached is told to the fuzzer by rows of insns.def and their outcomes: the engines themselves are not instrumented, as that would use
 * the registers in which the guest's FPU lives.
 * Built with -DREPLAY it is a program without libFuzzer: replay INPUTS [FILE...] runs the files, and as many inputs made of rows of insns.def;
 * DUET_BASE: others, DUET_SEED: only that one.
 */
#define TEST_NO_MAIN
#include "tests/unit/sys_kvm.h"

#define CODE_MOST 96
#define STEPS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t reached[4096 * 8];

/* What the machine would run next, if it is in memory. */
static bool next_insn(const struct x86_cpu *c, struct x86_insn *i)
{
    struct tb_key key;
    x86_get_key((void *)c, &key);
    enum x86_mode mode = key.mode & XM_CODE64 ? X86_M64 : key.mode & XM_CODE32 ? X86_M32 : X86_M16;
    return key.pc < MEM - 16 && x86_decode(i, sys_i.m.ram.host + key.pc, 15, mode) == X86_OK;
}

/* Strings of gigabytes that go nowhere, and what no two engines can agree on. False: not this one. */
static bool tame(const struct x86_insn *i)
{
    if ((i->rep || i->repne) && field_used(i->row, LF_STRING)) {
        sys_i.m.cpu->regs[X86_RCX] &= 63;
        sys_t.m.cpu->regs[X86_RCX] &= 63;
    }
    return !is_gen(i->row, gen_rdrand) && !(is_gen(i->row, gen_shd) && i->opsize == 2);
}

#ifdef REPLAY
static const bool replay = true;
#else
static const bool replay = false;
#endif
static unsigned differences;
static bool third;                                   /* kvm is asked, too */
static const char *const names[] = { "interp and tcg", "interp and kvm" };

static void differ(const char *who, const struct x86_cpu *a, const struct x86_cpu *b, const struct x86_insn *i, bool known)
{
    char text[120] = "?";
    if (known)
        x86_disas(i, 0, text, sizeof text);
    printf("%s differ in %s after: %s\n", who, w->name, text);
    for (unsigned at = 0; who == names[0] && at < sizeof *a; at += 8)
        if (memcmp((const char *)a + at, (const char *)b + at, 8))
            printf("    struct x86_cpu + 0x%x\n", at);
    for (unsigned at = 0; who == names[0] && at < MEM; at += 8)
        if (memcmp(sys_i.m.ram.host + at, sys_t.m.ram.host + at, 8))
            printf("    memory 0x%x\n", at);
    fflush(stdout);
    differences++;
    if (!replay)
        abort();
}

/* An instruction and the delivery of what it raises are one step for kvm: it begins where no exception is waiting, and ends there. */
static void ask_third(bool begins, const struct x86_insn *i, uint32_t undef)
{
    static struct x86_insn first;
    static bool asked, known;
    bool answered;
    if (begins) {
        asked = !sys_i.m.vcpu.halted;
        known = i != NULL;
        first = known ? *i : first;
        agree_on_flags(&sys_i, undef);                       /* a fault pushes those of before */
        agree_on_flags(&sys_t, undef);
        sys_kvm_before();
        return;
    }
    bool trapped = sys_i.m.cpu->exc_pending && sys_i.m.cpu->exc_vector == X86_DB && undef;
    asked &= !trapped;
    if (!asked || sys_i.m.cpu->exc_pending)
        return;
    const char *bad = sys_kvm_after(known ? &first : NULL, undef, &answered);
    if (bad) {
        printf("kvm: %s\n", bad);
        differ(names[1], NULL, NULL, &first, known);
    }
}

static bool one_step(void)
{
    static struct x86_cpu a, b;
    struct x86_insn i;
    struct tb_key key;
    bool raised = sys_i.m.cpu->exc_pending, known = next_insn(sys_i.m.cpu, &i);
    if (!raised && known && !tame(&i))
        return false;
    uint32_t own = known && !raised ? i.row->fl_u | (is_gen(i.row, gen_shift) || is_gen(i.row, gen_shd) ? RF_OF : 0) : 0;
    if (third && !raised)
        ask_third(true, known ? &i : NULL, own);
    bool on = both(&key);
    uint32_t undef = known && !raised ? own : undefined_at(&key);
    if (third)
        ask_third(false, NULL, undef);
    normal(&sys_i, &a, undef);
    normal(&sys_t, &b, undef);
    bool outside = sys_i.wrote == sys_t.wrote && sys_i.m.vcpu.halted == sys_t.m.vcpu.halted;
    if (!outside || memcmp(&a, &b, sizeof a) || memcmp(sys_i.m.ram.host, sys_t.m.ram.host, MEM))
        differ(names[0], &a, &b, &i, known);
    agree_on_flags(&sys_i, undef);
    agree_on_flags(&sys_t, undef);
    if (known && !raised)
        reached[(i.row - x86_rows) * 8 + (a.exc_pending ? 1 + a.exc_vector % 7 : 0)] = 1;
    return on && !differences && !sys_i.m.vcpu.halted && sys_i.m.vm.request == VM_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct x86_cpu c;
    static uint32_t flags, seed;
    if (size < 6)
        return 0;
    third = sys_kvm_open();
    sys_setup();
    if (third)
        sys_kvm_watch();
    w = &worlds[data[0] % ARRAY_SIZE(worlds)];
    exec_mode = w->mode;
    memcpy(&seed, data + 1, 4);
    gen_seed = (uint64_t)seed << 8 | 1;
    c = *sys_i.m.cpu;
    c.flags_word = &flags;
    fill_image();
    random_cpu(&c);
    if (third)
        memcpy(c.fpu + 28, &kvm_mxcsr_mask, 4);
    c.rip = TEXT - w->cs + 0x100;
    size = MIN(size - 5, (size_t)CODE_MOST);
    memset(image + TEXT + 0x100, 0xcc, CODE_MOST + 32);
    memcpy(image + TEXT + 0x100, data + 5, size);
    c.rflags = x86_get_rflags(&c);
    load(&sys_i, &c);
    load(&sys_t, &c);
    for (unsigned k = 0; k < STEPS && one_step(); k++)
        ;
    return 0;
}

#ifdef REPLAY
/* Some instructions of the world's mode, as the table has them: random bytes seldom come far. */
static size_t invent(uint8_t *b, unsigned n)
{
    struct gen g = { 0 };
    size_t at = 5;
    gen_seed = (n + 1) * 0x9e3779b97f4a7c15ull | 1;
    b[0] = (uint8_t)pick(ARRAY_SIZE(worlds));
    memcpy(b + 1, &gen_seed, 4);
    exec_mode = g.mode = worlds[b[0]].mode;
    exec_seg = true;
    for (unsigned k = 0; k < 4; k++) {
        struct enc e;
        const struct x86_row *r = &x86_rows[pick(x86_n_rows)];
        if (!r->gen || r->attr & (g.mode == X86_M64 ? X86_F_I64 : X86_F_ONLY64))
            continue;
        encode(&g, r, &e);
        memcpy(b + at, e.b, e.n);
        at += e.n;
    }
    return at;
}

int main(int argc, char **argv)
{
    static uint8_t b[4096];
    unsigned failed = 0, inputs = argc > 1 ? (unsigned)atoi(argv[1]) : 0, from = getenv("DUET_BASE") ? (unsigned)atoi(getenv("DUET_BASE")) * 1000003u : 0;
    test_thread = pthread_self();
    for (int i = 2; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        printf("%s\n", argv[i]);
        if (f)
            LLVMFuzzerTestOneInput(b, fread(b, 1, sizeof b, f)), fclose(f);
        failed += differences || !f;
        differences = 0;
    }
    for (unsigned n = 0; n < inputs; n++) {
        if (getenv("DUET_SEED") && strtoul(getenv("DUET_SEED"), NULL, 0) != from + n)
            continue;
        size_t size = invent(b, from + n);
        LLVMFuzzerTestOneInput(b, size);
        if (differences)
            printf("FAIL input %u\n", from + n);
        failed += differences;
        differences = 0;
    }
    if (third)
        sys_kvm_say();
    printf("%s replay: %d files, %u inputs, %u differ%s\n", failed ? "FAIL" : "ok", argc > 2 ? argc - 2 : 0, inputs, failed, third ? "" : "; without kvm");
    return failed != 0;
}
#endif
