/*
 * Every row of insns.def in every mode of the processor, ring 0 and the system's instructions above all: random encodings over a bare machine
 * (descriptor tables with good and bad entries, gates, tasks, I/O bitmap, page tables with holes, MSRs), done by the interpreter and by the
 * translator. The whole struct x86_cpu and all memory must be the same after the instruction, and again after the delivery of what it raised.
 * The host's processor is not asked: it runs user code only (gen_exec.c). At the end the account: every row of the table is proven here or there.
 * DUET_CASES: percent of the usual number of cases. DUET_SEED: only that case. DUET_ROW: only rows of that mnemonic. DUET_BASE: other seeds.
 */
#include "tests/unit/sys_world.h"

/* ---- the instruction ---- */

static uint64_t frame_word(unsigned k)               /* as IRET and far RET take them: ip, cs, flags, sp, ss */
{
    switch (k % 5) {
    case 0: return HANDLERS + pick(0x400);
    case 1: return some_selector();
    case 2: return (rnd() & 0x257fd5) | 2;
    case 3: return STACK3 + pick(0x4000);
    default: return some_selector();
    }
}

static void fill_stack(const struct x86_cpu *c, const struct x86_insn *i)
{
    bool iret = is_gen(i->row, gen_iret);
    uint64_t at = w->ss + c->regs[X86_RSP];
    for (unsigned k = 0; k < 10; k++, at += i->opsize) {
        uint64_t v = iret ? frame_word(k) : k % 2 ? some_selector() : some_address();
        memcpy(image + at, &v, i->opsize);
    }
}

/* Far pointers, table registers, XSAVE areas, VMCBs: what the operand in memory should look like to get far. */
static void fill_operand(const struct x86_insn *i, uint64_t ea)
{
    if (ea < WORK || ea > WORK + WORK_SIZE - 0x1000 || chance(4))
        return;
    if (is_gen(i->row, gen_far) || is_gen(i->row, gen_lseg)) {
        uint64_t off = HANDLERS + pick(0x400);
        uint16_t sel = some_selector();
        memcpy(image + ea, &off, i->opsize);
        memcpy(image + ea + i->opsize, &sel, 2);
    } else if (is_gen(i->row, gen_dtr)) {
        uint16_t limit = (uint16_t)(pick(2) ? 0xfff : value());
        uint64_t base = pick(3) ? (pick(2) ? GDT : w->lma ? IDT64 : IDT32) : value();
        memcpy(image + ea, &limit, 2);
        memcpy(image + ea + 2, &base, 8);
    } else if (is_gen(i->row, gen_fxsave) || is_gen(i->row, gen_invlpg)) {
        static struct state st;
        random_fpu(st.fpu);
        memcpy(image + ea, st.fpu, 512);
        memset(image + ea + 512, 0, 64);
        put64((uint32_t)ea + 512, exec_components & rnd());
        put64((uint32_t)ea + 520, pick(2) ? 0 : 1ull << 63 | (exec_components & rnd()));
        if (is_gen(i->row, gen_invlpg))
            put64((uint32_t)ea, pick(2) ? 0 : pick(0x1000));
    } else if (i->n_opnd && i->o[0].size == 2) {
        memcpy(image + ea, (uint16_t[]){ some_selector() }, 2);
    }
}

static bool place(struct x86_cpu *c, struct enc *e, struct x86_insn *i)
{
    unsigned base = i->mem.base, index = i->mem.vsib ? X86_NOREG : i->mem.index, size = i->addrsize;
    uint64_t seg = i->mem.seg < X86_SEGS ? c->seg[i->mem.seg].base : 0, ea = some_address();
    uint64_t mask = size == 8 ? ~0ull : size == 4 ? 0xffffffff : 0xffff;
    if (is_gen(i->row, gen_fxsave) && pick(8))
        ea &= ~63ull;
    if (w->ds)
        ea = WORK + (ea & 0x7fff);
    uint64_t off = ea - (w->mode == X86_M64 && i->mem.seg < X86_FS ? 0 : seg);
    if (base == X86_NOREG && index == X86_NOREG) {
        int32_t d = (int32_t)(off - (i->mem.rip_rel ? w->cs + c->rip + i->len : 0));
        if (e->disp_at)
            memcpy(e->b + e->disp_at, &d, e->a16 ? 2 : 4);
    } else if (base != X86_NOREG && base != X86_RSP) {
        if (index != X86_NOREG && index != base)
            off -= (c->regs[index] = pick(64)) << i->mem.scale;
        else if (index == base)
            off /= (1u << i->mem.scale) + 1;
        c->regs[base] = ((off - (uint64_t)i->mem.disp) & mask) | (size == 2 ? c->regs[base] & 0xffff0000 : 0);
    }
    fill_operand(i, ea);
    return true;
}

/* Registers that an instruction takes as numbers and values of its own kind. */
static void own_values(struct x86_cpu *c, const struct x86_insn *i)
{
    uint64_t v;
    if (is_gen(i->row, gen_msr)) {
        c->regs[X86_RCX] = chance(12) ? value() : x86_msrs[pick(x86_n_msrs)].num;
        if (pick(3) && !x86_rdmsr(c, (uint32_t)c->regs[X86_RCX], &v)) {
            v ^= pick(3) ? 1ull << pick(64) : 0;
            c->regs[X86_RAX] = (uint32_t)v, c->regs[X86_RDX] = v >> 32;
        }
    } else if (is_gen(i->row, gen_mov_cr) && i->opcode == 0x22) {
        static const uint32_t roots[] = { PML4, PDPT + 0x800, PD32 };
        unsigned n = i->o[0].reg;
        v = n == 0 ? c->cr0 : n == 4 ? c->cr4 : n == 3 ? (pick(3) ? c->cr3 : roots[pick(3)]) : value();
        c->regs[i->o[1].reg] = v ^ (pick(4) ? 1ull << pick(pick(4) ? 32 : 64) : 0);
    } else if (is_gen(i->row, gen_xcr)) {
        static const uint32_t x[] = { 0, 1, 2, 3, 5, 7, 0x27, 0xe7, 0xe3, 0x18, 0x1f };
        c->regs[X86_RCX] = chance(8) ? value() : pick(2);
        c->regs[X86_RAX] = x[pick(ARRAY_SIZE(x))], c->regs[X86_RDX] = chance(8);
    } else if (is_gen(i->row, gen_fxsave)) {
        c->regs[X86_RAX] = pick(2) ? ~0u : rnd() & 0xff, c->regs[X86_RDX] = pick(2) ? 0 : (uint32_t)rnd();
    } else if (is_gen(i->row, gen_cpuid)) {
        c->regs[X86_RAX] = pick(0x20) | (pick(2) ? 0 : pick(2) ? 0x80000000u : 0x40000000u);
        c->regs[X86_RCX] = pick(10);
    } else if (is_gen(i->row, gen_syscall) && pick(4)) {
        c->regs[X86_RCX] = HANDLERS + pick(0x400), c->regs[X86_RDX] = HANDLERS + pick(0x400), c->regs[X86_R11] = rnd() & 0x257fd5;
    } else if (i->row->feat == FEAT_svm && pick(4)) {
        c->regs[X86_RAX] = WORK + pick(8) * 0x1000;
    } else if (i->n_opnd && i->o[0].kind == OK_GPR && (i->row->attr & X86_F_PROT) && pick(4)) {
        c->regs[i->o[i->n_opnd - 1].reg] = some_selector();
    } else if (is_gen(i->row, gen_mov_seg) && i->n_opnd == 2 && i->o[1].kind == OK_GPR && pick(4)) {
        c->regs[i->o[1].reg] = some_selector();
    }
}

static bool make(struct x86_cpu *c, const struct x86_row *r, struct enc *e, struct x86_insn *i)
{
    struct gen g = { .mode = w->mode };
    encode(&g, r, e);
    if (x86_decode(i, e->b, 15, w->mode) != X86_OK || i->row != r)
        return false;
    own_values(c, i);
    if (is_gen(r, gen_shd) && i->opsize == 2)        /* counts above 16 are undefined */
        e->b[e->imm_at] &= 15, c->regs[X86_RCX] &= ~16ull;
    if (i->n_opnd && i->o[0].kind == OK_FAR) {
        uint64_t off = HANDLERS + pick(0x400);
        uint16_t sel = some_selector();
        memcpy(e->b + e->imm_at, &off, i->opsize);
        memcpy(e->b + e->imm_at + i->opsize, &sel, 2);
    }
    for (unsigned k = 0; k < i->n_opnd; k++)
        if (i->o[k].kind == OK_MEM && !field_used(r, LF_STRING)) {
            place(c, e, i);
            break;
        }
    if (field_used(r, LF_STRING)) {
        c->regs[X86_RCX] = pick(40);
        c->regs[X86_RSI] = some_address() - w->ds, c->regs[X86_RDI] = some_address() - w->ds;
    }
    if (w->ss + c->regs[X86_RSP] < MEM - 0x100)
        fill_stack(c, i);
    if (is_gen(r, gen_shd) && i->opsize == 2 && c->regs[X86_RCX] & 16)        /* the operand's address has taken the count's register */
        return false;
    return x86_decode(i, e->b, 15, w->mode) == X86_OK && i->row == r;
}

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

static bool by_host(const struct x86_row *r) { return usable(r, X86_M64) || usable(r, X86_M32) || usable(r, X86_M16); }
static bool fits(const struct x86_row *r, enum x86_mode mode)
{
    if (!r->gen || r->attr & (mode == X86_M64 ? X86_F_I64 : X86_F_ONLY64))
        return false;
    return mode == X86_M64 || r->w != 1 || r->attr & (X86_F_VEX | X86_F_EVEX);
}

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
