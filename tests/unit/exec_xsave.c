/*
 * The XSAVE family against the host's processor, in the way of gen_exec.c: a state is loaded by XRSTOR from a random image (both formats,
 * some with forbidden headers), saved again by XSAVE, XSAVEOPT or XSAVEC, and XGETBV with ECX=1 says what is in use; natively, by the interpreter
 * and by the translator, in 64-bit and in 32-bit code. Memory and faults must agree. What programs may not do is then tried on the guests alone:
 * XSAVES and XRSTORS at CPL 0 against XSAVEC and XRSTOR, and the order of the exceptions. SDM vol. 1 ch. 13.
 *
 * A component that the image has is never in its initial configuration, and one that it has not is initialised by XRSTOR just before, as a
 * processor need not notice that a component has become initial in another way.
 */
#include "tests/unit/exec_frame.h"
#include <cpuid.h>

#define IMAGE (DATA + 0x400)
#define AREA (DATA + 0x1000)
enum { SAVE, OPT, COMPACT, SUPER };
enum { PER_HOW = 3000 };

static struct state in, native, interp, tcg;
static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed * 0x9e3779b97f4a7c15ull >> 8;
}
static bool chance(unsigned of) { return rnd() % of == 0; }

static void need_host(void)
{
    uint32_t a = 0, b, c, d;
    if (!__get_cpuid_count(0xd, 1, &a, &b, &c, &d) || (a & 7) != 7)
        SKIP("the host has no XSAVEC, XSAVEOPT or XGETBV(1)");
    exec_setup();
    if (!x86_has(&exec_model, FEAT_avx))
        SKIP("the host has no AVX");
}

/* Registers that are nobody's initial ones. XMM and YMM have their first word odd. */
static void random_image(uint8_t *f)
{
    uint32_t mxcsr = chance(2) ? 0x1f80 : chance(30) ? (uint32_t)rnd() : 0x1f80 | (rnd() & 0xe03f);
    memset(f, 0, 32);
    f[0] = 0x7f;
    f[1] = (uint8_t)(rnd() & 0x0c);
    f[3] = (uint8_t)(rnd() & 0x38);
    f[4] = (uint8_t)rnd();
    memcpy(f + 24, &mxcsr, 4);
    for (unsigned k = 32; k < exec_fpu_size; k += 8) {
        uint64_t v = rnd() | 1;
        if (k < 160 && k % 16)
            v &= 0xffff;
        if (k < 416 || k >= 576)
            memcpy(f + k, &v, 8);
    }
}

/* Mostly one that may be loaded. */
static void random_header(uint8_t *h)
{
    uint64_t bv = rnd() & exec_components, comp = chance(2) ? 0 : 1ull << 63 | bv | (rnd() & exec_components);
    if (chance(20))
        bv ^= chance(2) ? 1ull << 40 : rnd() & exec_components;
    if (chance(30))
        comp ^= chance(2) ? 1ull << 40 : 1ull << 63;
    memset(h, 0, 64);
    memcpy(h, &bv, 8);
    memcpy(h + 8, &comp, 8);
    if (chance(30))
        h[16 + rnd() % 48] = 1;
}

struct code { uint8_t b[64]; unsigned n; };
static void add(struct code *c, const char *bytes, unsigned n)
{
    memcpy(c->b + c->n, bytes, n);
    c->n += n;
}

static void mask_in_eax(struct code *c, unsigned mask)
{
    char mov[5] = { (char)0xb8, (char)mask };
    add(c, mov, 5);
}

static void op(struct code *c, const char *bytes)
{
    if (exec_mode == X86_M64 && chance(2))
        add(c, "\x48", 1);
    add(c, bytes, 3);
}

/* xor edx, edx; mov eax; xrstor(s) [rbx]; mov eax; xsave? [rsi]; mov ecx, 1; xgetbv; and eax, E7h; xor edx, edx; int3 */
static struct code make_code(unsigned how, unsigned load, unsigned save)
{
    static const char *const save_op[] = { "\x0f\xae\x26", "\x0f\xae\x36", "\x0f\xc7\x26", "\x0f\xc7\x2e" };
    struct code c = { .n = 0 };
    add(&c, "\x31\xd2", 2);
    mask_in_eax(&c, load);
    op(&c, how == SUPER ? "\x0f\xc7\x1b" : "\x0f\xae\x2b");
    mask_in_eax(&c, save);
    op(&c, save_op[how]);
    add(&c, "\xb9\x01\x00\x00\x00\x0f\x01\xd0\x25\xe7\x00\x00\x00\x31\xd2", 15);
    add(&c, "\xcc\xcc\xcc\xcc", 4);
    return c;
}

static void random_in(void)
{
    memset(&in, 0, sizeof in);
    in.rip = CODE + 0x100 + rnd() % 0x2000;
    in.flags = 0x202;
    in.r[X86_RBX] = IMAGE + (chance(40) ? 1u << rnd() % 6 : 0);
    in.r[X86_RSI] = AREA + (chance(40) ? 1u << rnd() % 6 : 0);
    in.r[X86_RSP] = DATA + 0x3000;
    random_image(in.fpu);
    *(uint32_t *)(in.fpu + 24) = 0x1f80;
    for (unsigned k = 0; k < DATA_SIZE; k++)
        in.mem[k] = (uint8_t)rnd();
    random_image(in.mem + (IMAGE - DATA));
    random_header(in.mem + (IMAGE - DATA) + 512);
    if (chance(2))
        memset(in.mem + (AREA - DATA) + 512, 0, 64);
}

/* Not compared: MXCSR_MASK, of which AMD has a bit more, and the six bytes behind each x87 register. */
static void blank(struct state *s)
{
    uint8_t *area = s->mem + (in.r[X86_RSI] - DATA);
    memset(area + 28, 0, 4);
    for (unsigned k = 0; k < 8; k++)
        memset(area + 32 + 16 * k + 10, 0, 6);
}

static void normal(struct state *s)
{
    const struct exec_mask k = { RF_ARITH, 0, 0 };
    blank(s);
    exec_normal(s, &k);
}

static unsigned failures, faults;
static unsigned some_components(void) { return (unsigned)(chance(2) ? exec_components : rnd() & exec_components); }

static void compare(const char *what, unsigned load, unsigned save)
{
    faults += native.vector != X86_BP;
    if (exec_same(&native, &interp) && exec_same(&native, &tcg))
        return;
    if (failures++ < 4) {
        uint64_t h[2];
        memcpy(h, in.mem + (IMAGE - DATA) + 512, 16);
        printf("%s, loads %u of %llx %llx, saves %u\n", what, load, (unsigned long long)h[0], (unsigned long long)h[1], save);
        exec_show(&in, &native, &interp, &tcg);
    }
}

static void run_guests(const struct code *c)
{
    exec_guest(&exec_interp, &in, &interp, c->b, c->n);
    exec_guest(exec_no_tcg ? &exec_interp : &exec_tcg, &in, &tcg, c->b, c->n);
}

/* After the guests. A host kernel that preempts the sequence may leave components in use that were initial: then once more. */
static void run_host(const struct code *c)
{
    for (unsigned tries = 0; tries < 5; tries++) {
        exec_native(&in, &native, c->b, c->n);
        normal(&native);
        if (exec_same(&native, &interp))
            break;
    }
}

static void as_host(enum x86_mode mode)
{
    static const char *const name[] = { "xsave", "xsaveopt", "xsavec" };
    need_host();
    exec_set_mode(mode, false);
    failures = faults = 0;
    for (unsigned n = 0; n < 3 * PER_HOW; n++) {
        unsigned how = n % 3, load = some_components(), save = some_components();
        struct code c = make_code(how, load, save);
        random_in();
        run_guests(&c);
        normal(&interp);
        normal(&tcg);
        run_host(&c);
        compare(name[how], load, save);
    }
    printf("# %u cases, %u of them faults\n", 3 * PER_HOW, faults);
    exec_set_mode(X86_M64, false);
    CHECK_EQ(failures, 0);
    CHECK(faults > PER_HOW / 10 && faults < PER_HOW);
}

TEST(as_host_64) { as_host(X86_M64); }
TEST(as_host_32) { as_host(X86_M32); }

static void privilege(unsigned cpl)
{
    struct machine *both[2] = { &exec_interp, &exec_tcg };
    for (unsigned k = 0; k < 2; k++) {
        both[k]->cpu->cpl = (uint8_t)cpl;
        tcg_state_changed(both[k]->env);
    }
}

/* There is no supervisor state: XSAVES is XSAVEC, and XRSTORS is XRSTOR that refuses the standard format. */
TEST(supervisor_forms)
{
    need_host();
    exec_set_mode(X86_M64, false);
    failures = faults = 0;
    for (unsigned n = 0; n < PER_HOW; n++) {
        unsigned load = some_components(), save = some_components();
        uint64_t again = seed;
        struct code host = make_code(COMPACT, load, save), c;
        seed = again;
        c = make_code(SUPER, load, save);
        random_in();
        privilege(0);
        run_guests(&c);
        privilege(3);
        normal(&interp);
        normal(&tcg);
        run_host(&host);
        if (in.mem[IMAGE - DATA + 512 + 15] >> 7) {
            compare("xsaves", load, save);
            continue;
        }
        CHECK(interp.vector == X86_GP && tcg.vector == X86_GP && !memcmp(interp.mem, native.vector == X86_GP ? native.mem : interp.mem, DATA_SIZE));
    }
    CHECK_EQ(failures, 0);
}

/* The vector of the first instruction, which is one of the family at [rbx]. */
static unsigned vector_of(const char *bytes, uint32_t cr4_off, uint32_t cr0_on, unsigned cpl)
{
    struct code c = { .n = 0 };
    struct machine *both[2] = { &exec_interp, &exec_tcg };
    random_in();
    memset(in.mem + (IMAGE - DATA), 0, 576);
    in.mem[IMAGE - DATA + 512 + 15] = 0x80;
    in.r[X86_RBX] = IMAGE;
    in.r[X86_RAX] = 7;
    add(&c, bytes, 3);
    add(&c, "\xcc\xcc\xcc\xcc", 4);
    for (unsigned k = 0; k < 2; k++) {
        both[k]->cpu->cr4 &= ~(uint64_t)cr4_off;
        both[k]->cpu->cr0 |= cr0_on;
    }
    privilege(cpl);
    run_guests(&c);
    exec_set_mode(X86_M64, false);
    CHECK_EQ(interp.vector, tcg.vector);
    CHECK(interp.vector == X86_BP || interp.rip == in.rip);
    return interp.vector;
}

TEST(exceptions)
{
    static const char *const op_of[6] = { "\x0f\xae\x23", "\x0f\xae\x33", "\x0f\xc7\x23", "\x0f\xae\x2b", "\x0f\xc7\x2b", "\x0f\xc7\x1b" };
    static const unsigned feature[6] = { FEAT_xsave, FEAT_xsaveopt, FEAT_xsavec, FEAT_xsave, FEAT_xsaves, FEAT_xsaves };
    need_host();
    for (unsigned k = 0; k < 6; k++) {
        CHECK_EQ(vector_of(op_of[k], 0, 0, 0), X86_BP);
        CHECK_EQ(vector_of(op_of[k], 0, 0, 3), k < 4 ? X86_BP : X86_GP);
        CHECK_EQ(vector_of(op_of[k], 0, CR0_TS, 3), X86_NM);
        CHECK_EQ(vector_of(op_of[k], CR4_OSXSAVE, CR0_TS, 3), X86_UD);
        exec_model.feats[feature[k] / 64] ^= BIT(feature[k] % 64);
        CHECK_EQ(vector_of(op_of[k], 0, 0, 0), X86_UD);
        exec_model.feats[feature[k] / 64] ^= BIT(feature[k] % 64);
    }
}

TEST(no_compacted_format_without_xsavec)
{
    need_host();
    exec_model.feats[FEAT_xsavec / 64] ^= BIT(FEAT_xsavec % 64);
    unsigned vector = vector_of("\x0f\xae\x2b", 0, 0, 3);
    exec_model.feats[FEAT_xsavec / 64] ^= BIT(FEAT_xsavec % 64);
    CHECK_EQ(vector, X86_GP);
}
