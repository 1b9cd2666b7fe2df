/*
 * The cases of gen_system.c, every row of insns.def in every mode of the processor, on a third engine: what the interpreter makes of an
 * instruction, and of the delivery of what it raises, the kernel's processor must make of it too (sys_kvm.h has what it is not asked, and why). tests/third.sh runs
 * it on a KVM in a translated guest. DUET_CASES, DUET_SEED, DUET_ROW, DUET_BASE: as in gen_system.c.
 */
#include "tests/unit/sys_case.h"
#include "tests/unit/sys_kvm.h"

static uint64_t now_seed;
static struct enc now_enc;
static struct x86_insn now_insn;
static unsigned shown, now_vector, faults[33];

static void show(const char *what)
{
    char text[120];
    if (shown++ >= (getenv("DUET_ALL") ? 1000 : 8))
        return;
    x86_disas(&now_insn, kvm_before.rip, text, sizeof text);
    printf("case of seed %llu: %s in %s: ", (unsigned long long)now_seed, text, w->name);
    for (unsigned k = 0; k < now_insn.len; k++)
        printf("%02x", now_enc.b[k]);
    printf(": vector %d: interp and kvm differ: %s\n", now_vector == 32 ? -1 : (int)now_vector, what);
    fflush(stdout);
}

/* False: there is no such case. *OK: they agree. */
static bool random_case(const struct x86_row *r, uint64_t seed, bool *ok)
{
    static struct x86_cpu c;
    static uint32_t flags;
    struct tb_key key;
    uint32_t undef = r->fl_u | (is_gen(r, gen_shift) || is_gen(r, gen_shd) ? RF_OF : 0);
    bool answered;
    gen_seed = now_seed = seed;
    c = *sys_i.m.cpu;
    c.flags_word = &flags;
    fill_image();
    random_cpu(&c);
    memcpy(c.fpu + 28, &kvm_mxcsr_mask, 4);
    c.rip = TEXT - w->cs + 0x100 + pick(0x2000);
    if (chance(10))
        c.rip |= 0xff8;
    if (!make(&c, r, &now_enc, &now_insn))
        return false;
    memset(image + w->cs + c.rip, 0xcc, 32);
    memcpy(image + w->cs + c.rip, now_enc.b, now_insn.len);
    c.rflags = x86_get_rflags(&c) & ~(uint64_t)undef;        /* a fault pushes those of before */
    load(&sys_i, &c);
    sys_kvm_before();
    unsigned n = 0;
    now_vector = 32;
    do {
        tcg_step(sys_i.m.env, &key);
        now_vector = n == 0 && sys_i.m.cpu->exc_pending ? sys_i.m.cpu->exc_vector & 31 : now_vector;
    } while (sys_i.m.cpu->exc_pending && ++n < 5);
    if (sys_i.m.cpu->exc_pending || (undef && now_vector == X86_DB))        /* a trap pushes undefined flags */
        return true;
    const char *bad = sys_kvm_after(&now_insn, n ? 0 : undef, &answered);
    faults[now_vector] += answered;
    if (bad)
        show(bad);
    *ok = !bad;
    return true;
}

static void every_row(const struct world *world, unsigned percent)
{
    const char *only = getenv("DUET_ROW"), *one = getenv("DUET_SEED"), *base = getenv("DUET_BASE"), *more = getenv("DUET_CASES");
    unsigned bad = 0, cases = 0, scale = percent * (more ? (unsigned)atoi(more) : 100);
    if (!sys_kvm_open())
        SKIP("no /dev/kvm with hardware assistance (tests/third.sh has one)");
    sys_setup();
    sys_kvm_watch();
    w = world;
    exec_mode = w->mode;
    exec_seg = true;
    memset(faults, 0, sizeof faults);
    shown = 0;
    unsigned before = kvm_asked;
    for (unsigned n = 0; n < x86_n_rows; n++) {
        const struct x86_row *r = &x86_rows[n];
        if (!fits(r, w->mode) || (only && strcmp(only, r->name)))
            continue;
        unsigned system = 3 * scale, user = by_host(r) ? scale : system, want = user / 10000 + (n * 7919u % 10000 < user % 10000);
        for (unsigned k = 0, made = 0; made < want && k < 20 * want; k++) {
            uint64_t id = (uint64_t)(base ? atoi(base) : 1) << 40 | (uint64_t)(w - worlds) << 32 | (uint64_t)n << 16 | k | 0x8000;
            uint64_t seed = id * 0x9e3779b97f4a7c15ull | 1;
            bool ok = true;
            if (one && strtoull(one, NULL, 0) != seed)
                continue;
            made += random_case(r, seed, &ok);
            bad += !ok;
        }
        cases++;
    }
    printf("# %s: %u rows, kvm asked %u times, %u differ; no fault %u, #UD %u, #GP %u, #PF %u, #SS %u, #NP %u, #TS %u, #NM %u, #DB %u\n", w->name, cases,
           kvm_asked - before, bad, faults[32], faults[X86_UD], faults[X86_GP], faults[X86_PF], faults[X86_SSF], faults[X86_NP], faults[X86_TS],
           faults[X86_NM], faults[X86_DB]);
    CHECK_EQ(bad, 0);
}

TEST(real) { every_row(&worlds[0], 20); }
TEST(v86) { every_row(&worlds[1], 20); }
TEST(prot16) { every_row(&worlds[2], 20); }
TEST(prot32) { every_row(&worlds[3], 20); }
TEST(pse32_user) { every_row(&worlds[4], 20); }
TEST(pae32) { every_row(&worlds[5], 20); }
TEST(compat_user) { every_row(&worlds[6], 20); }
TEST(compat) { every_row(&worlds[7], 20); }
TEST(long) { every_row(&worlds[8], 20); }
TEST(long_user) { every_row(&worlds[9], 20); }

TEST(asked)
{
    if (!sys_k.k)
        SKIP("no /dev/kvm with hardware assistance (tests/third.sh has one)");
    sys_kvm_say();
    CHECK(getenv("DUET_ROW") || getenv("DUET_SEED") || kvm_asked > 300);
}
