/*
 * Every row of insns.def in every mode of the processor, ring 0 and the system's instructions above all: random encodings over a bare machine
 * (descriptor tables with good and bad entries, gates, tasks, I/O bitmap, page tables with holes, MSRs), done by the interpreter and by the
 * translator. The whole struct x86_cpu and all memory must be the same after the instruction, and again after the delivery of what it raised.
 * The host's processor is not asked: it runs user code only (gen_exec.c). At the end the account: every row of the table is proven here or there.
 * DUET_CASES: percent of the usual number of cases. DUET_SEED: only that case. DUET_ROW: only rows of that mnemonic. DUET_BASE: other seeds.
 */
#include "tests/unit/sys_case.h"

/* ---- running and comparing ---- */

static unsigned cases, seen[4096], faults[32], shown;
static uint64_t now_seed;
static struct enc now_enc;
static struct x86_insn now_insn;

static void show_eight(const char *what, unsigned at, const void *a, const void *b)
{
    unsigned long long x, y;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    printf("    %s 0x%x: %016llx %016llx\n", what, at, x, y);
}

static void show_difference(const struct x86_cpu *a, const struct x86_cpu *b, const char *when)
{
    char text[120];
    x86_disas(&now_insn, a->rip, text, sizeof text);
    printf("case of seed %llu: %s in %s: ", (unsigned long long)now_seed, text, w->name);
    for (unsigned k = 0; k < now_insn.len; k++)
        printf("%02x", now_enc.b[k]);
    printf(": interp and tcg differ %s\n", when);
    for (unsigned at = 0, n = 0; at < sizeof *a && n < 12; at += 8)
        if (memcmp((const char *)a + at, (const char *)b + at, 8)) {
            show_eight("struct x86_cpu +", at, (const char *)a + at, (const char *)b + at);
            n++;
        }
    for (unsigned at = 0, n = 0; at < MEM && n < 6; at += 8)
        if (memcmp(sys_i.m.ram.host + at, sys_t.m.ram.host + at, 8)) {
            show_eight("memory", at, sys_i.m.ram.host + at, sys_t.m.ram.host + at);
            n++;
        }
    fflush(stdout);
}

static bool same(const struct x86_insn *i, uint32_t undef, const char *when)
{
    static struct x86_cpu a, b;
    normal(&sys_i, &a, undef);
    normal(&sys_t, &b, undef);
    if (is_gen(i->row, gen_rdrand))                  /* no two of them are the same */
        a.regs[i->o[0].reg] = b.regs[i->o[0].reg] = 0, a.rflags &= ~(uint64_t)RF_CF, b.rflags &= ~(uint64_t)RF_CF;
    if (memcmp(&a, &b, sizeof a) || sys_i.wrote != sys_t.wrote || memcmp(sys_i.m.ram.host, sys_t.m.ram.host, MEM) ||
        sys_i.m.vcpu.halted != sys_t.m.vcpu.halted || sys_i.m.vm.request != sys_t.m.vm.request) {
        if (shown++ < 6)
            show_difference(&a, &b, when);
        return false;
    }
    return true;
}

static bool random_case(const struct x86_row *r, uint64_t seed)
{
    static struct x86_cpu c;
    static uint32_t flags;
    struct tb_key key;
    gen_seed = now_seed = seed;
    c = *sys_i.m.cpu;
    c.flags_word = &flags;
    fill_image();
    random_cpu(&c);
    c.rip = TEXT - w->cs + 0x100 + pick(0x2000);
    if (chance(10))
        c.rip |= 0xff8;                              /* up to and over the end of a page */
    if (!make(&c, r, &now_enc, &now_insn))
        return false;
    memset(image + w->cs + c.rip, 0xcc, 32);
    memcpy(image + w->cs + c.rip, now_enc.b, now_insn.len);
    c.rflags = x86_get_rflags(&c);
    load(&sys_i, &c);
    load(&sys_t, &c);
    cases++;
    seen[r - x86_rows]++;
    both(&key);
    uint32_t undef = r->fl_u | (is_gen(r, gen_shift) || is_gen(r, gen_shd) ? RF_OF : 0);
    unsigned vector = sys_i.m.cpu->exc_pending ? sys_i.m.cpu->exc_vector : 31;
    faults[vector & 31]++;
    bool ok = same(&now_insn, undef, "after it");
    if (!x86_has(&sys_model, r->feat) && !is_gen(r, gen_nop) && vector != X86_UD && vector != X86_DB && vector != X86_PF && vector != X86_GP) {
        printf("row %u %s: the processor has not got it, and vector %u is not #UD\n", (unsigned)(r - x86_rows), r->name, vector);
        ok = false;
    }
    agree_on_flags(&sys_i, undef);
    agree_on_flags(&sys_t, undef);
    for (unsigned k = 0; ok && k < 3 && !is_gen(r, gen_rdrand); k++) {         /* what it raised, and what comes of that */
        both(&key);
        undef = undefined_at(&key);
        ok = same(&now_insn, undef, "after the delivery");
        agree_on_flags(&sys_i, undef);
        agree_on_flags(&sys_t, undef);
        if (!sys_i.m.cpu->exc_pending)
            break;
    }
    return ok;
}

/* ---- the rows ---- */

static void every_row(const struct world *world, unsigned system, unsigned user)
{
    const char *only = getenv("DUET_ROW"), *one = getenv("DUET_SEED"), *base = getenv("DUET_BASE"), *percent = getenv("DUET_CASES");
    unsigned bad = 0, before = cases, scale = percent ? (unsigned)atoi(percent) : exec_no_tcg ? 10 : 100;

    sys_setup();
    w = world;
    exec_mode = w->mode;
    exec_seg = true;                                 /* 67 is made in every mode */
    memset(faults, 0, sizeof faults);
    shown = 0;
    for (unsigned n = 0; n < x86_n_rows; n++) {
        const struct x86_row *r = &x86_rows[n];
        if (!fits(r, w->mode) || (only && strcmp(only, r->name)))
            continue;
        for (unsigned k = 0, made = 0, want = (by_host(r) ? user : system) * scale / 100; made < want && k < 20 * want; k++) {
            uint64_t id = (uint64_t)(base ? atoi(base) : 1) << 40 | (uint64_t)(w - worlds) << 32 | (uint64_t)n << 16 | k;
            uint64_t seed = id * 0x9e3779b97f4a7c15ull | 1;
            if (one && strtoull(one, NULL, 0) != seed)
                continue;
            unsigned was = cases;
            bad += !random_case(r, seed) && cases != was;
            made += cases != was;
        }
    }
    printf("# %s: %u cases, %u differ; no fault %u, #UD %u, #GP %u, #PF %u, #SS %u, #NP %u, #TS %u, #NM %u, #DB %u\n", w->name, cases - before,
           bad, faults[31], faults[X86_UD], faults[X86_GP], faults[X86_PF], faults[X86_SSF], faults[X86_NP], faults[X86_TS], faults[X86_NM],
           faults[X86_DB]);
    CHECK_EQ(bad, 0);
}

TEST(real) { every_row(&worlds[0], 20, 1); }
TEST(v86) { every_row(&worlds[1], 20, 1); }
TEST(prot16) { every_row(&worlds[2], 20, 1); }
TEST(prot32) { every_row(&worlds[3], 30, 1); }
TEST(pse32_user) { every_row(&worlds[4], 20, 1); }
TEST(pae32) { every_row(&worlds[5], 20, 1); }
TEST(compat_user) { every_row(&worlds[6], 20, 1); }
TEST(compat) { every_row(&worlds[7], 20, 1); }
TEST(long) { every_row(&worlds[8], 30, 1); }
TEST(long_user) { every_row(&worlds[9], 20, 1); }

/* The account. What gen_exec.c proves it requires itself: no row that it calls usable may be without a case. */
TEST(coverage)
{
    unsigned host = 0, here = 0, absent = 0, none = 0;
    if (exec_no_tcg || getenv("DUET_ROW") || getenv("DUET_SEED"))
        SKIP("not all cases were run");
    sys_setup();
    for (unsigned n = 0; n < x86_n_rows; n++) {
        const struct x86_row *r = &x86_rows[n];
        bool has = x86_has(&sys_model, r->feat);
        if (by_host(r)) {
            host++;
        } else if (seen[n]) {
            here += has, absent += !has;
            const char *why = !has ? "not on this host: is #UD" : r->attr & X86_F_PRIV ? "privileged" : "asks segments, ports, time, the maker";
            static const char *const map[] = { "", "0f ", "0f38 ", "0f3a " };
            printf("# row %u %s %s%02x /%d: %s; %u cases, interp against tcg\n", n, r->name, map[r->map & 3], r->opcode, r->ext, why, seen[n]);
        }
        none += !by_host(r) && !seen[n];
        if (!by_host(r) && !seen[n])
            printf("# row %u %s: no case\n", n, r->name);
    }
    unsigned parts = 10000 * (x86_n_rows - none) / x86_n_rows;
    printf("# %u rows: %u against the host's processor, %u interp against tcg, %u absent from this host, %u unproven: %u.%02u %%\n", x86_n_rows,
           host, here, absent, none, parts / 100, parts % 100);
    CHECK_EQ(none, 0);
}
