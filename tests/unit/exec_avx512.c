/*
 * What is special about AVX-512, beyond the random cases of gen_exec.c: masked operands that lie partly where there is no memory, for every row
 * that has them, against the host's processor; masked accesses to a device, element by element; when the instructions are #UD and #NM; and
 * that the FPU hand-over carries the new registers when and only when the guest's XCR0 has them.
 */
#include "tests/unit/exec_frame.h"
#include "tests/unit/encodings.h"
#include "tcg/native.h"

#define END (DATA + DATA_SIZE)
static struct state in, native, interp, tcg;
static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed * 0x9e3779b97f4a7c15ull >> 8;
}

static void need_host(void)
{
    exec_setup();
    if (!x86_has(&exec_model, FEAT_avx512f))
        SKIP("the host has no AVX-512");
    exec_set_mode(X86_M64, false);
}

static void fresh_state(void)
{
    memset(&in, 0, sizeof in);
    in.rip = CODE + 0x100 + rnd() % 0x20000;
    in.flags = 0x202;
    in.r[X86_RSP] = DATA + 0x3000;
    for (unsigned k = 32; k < exec_fpu_size; k += 4) {
        uint32_t v = 0x3f000000 | (uint32_t)(rnd() & 0x80ffffff);
        if (k >= 160 && (k < 416 || k >= 576))
            memcpy(in.fpu + k, &v, 4);
    }
    *(uint16_t *)in.fpu = 0x37f;
    *(uint32_t *)(in.fpu + 24) = 0x1f80;
    in.fpu[512] = (uint8_t)exec_components;
    for (unsigned k = 0; k < DATA_SIZE; k += 4)
        *(uint32_t *)(in.mem + k) = 0x3f000000 | (uint32_t)(rnd() & 0x80ffffff);
}

static void set_mask(unsigned n, uint64_t v) { memcpy(in.fpu + x86_xcomp[5].offset + 8 * n, &v, 8); }

static void run_guests(const uint8_t *code, unsigned n)
{
    exec_guest(&exec_interp, &in, &interp, code, n);
    exec_guest(exec_no_tcg ? &exec_interp : &exec_tcg, &in, &tcg, code, n);
}

/* ---- operands partly beyond the end of memory, or before its beginning ---- */
static unsigned compared, spared, faulted, wrong;

static void one_edge(const struct x86_row *r, const struct x86_insn *i, const uint8_t *b)
{
    const struct exec_mask all = { RF_ARITH, 0, 0 };
    uint8_t code[32];
    unsigned size = 0;
    for (unsigned k = 0; k < i->n_opnd; k++)
        size = i->o[k].kind == OK_MEM ? i->o[k].size : size;
    unsigned log = (r->attr >> X86_F_LANE_SHIFT) & 3, in_reach = (unsigned)(rnd() % (size + 1)), lanes = in_reach >> log;
    bool end = rnd() & 1;
    fresh_state();
    in.r[X86_RAX] = end ? END - in_reach : DATA - size + in_reach;
    unsigned before = (size - in_reach + (1u << log) - 1) >> log;      /* elements that begin before memory does */
    uint64_t inside = end ? native_ones(lanes) : ~native_ones(before);
    set_mask(3, (rnd() & 3 ? inside : rnd()) & (rnd() & 1 ? ~0ull : rnd()));
    memcpy(code, b, i->len);
    memset(code + i->len, 0xcc, 16);
    exec_native(&in, &native, code, i->len + 16u);
    run_guests(code, i->len + 16u);
    exec_normal(&native, &all);
    exec_normal(&interp, &all);
    exec_normal(&tcg, &all);
    compared++;
    spared += native.vector == X86_BP && in_reach < size;
    faulted += native.vector == X86_PF;
    if (exec_same(&native, &interp) && exec_same(&native, &tcg))
        return;
    if (wrong++ < 4) {
        char text[120];
        x86_disas(i, in.rip, text, sizeof text);
        printf("%s, %u of %u bytes at the %s\n", text, in_reach, size, end ? "end" : "beginning");
        exec_show(&in, &native, &interp, &tcg);
    }
}

TEST(masked_edges)
{
    unsigned rows = 0;
    need_host();
    compared = spared = faulted = wrong = 0;
    for (unsigned n = 0; n < x86_n_rows; n++) {
        const struct x86_row *r = &x86_rows[n];
        unsigned before = compared;
        for (unsigned v = 3; v < VARIANTS; v += 8) {           /* those of [rax] */
            uint8_t b[24];
            struct x86_insn i;
            if (!(r->attr & X86_F_EVEX) || !x86_has(&exec_model, r->feat) || !encode(r, X86_M64, v, b) || x86_decode(&i, b, 15, X86_M64) != X86_OK)
                continue;
            if (i.evex_k && !i.mem.vsib && i.modrm < 0xc0 && !i.p67 && i.row == r)
                for (unsigned k = 0; k < 3; k++)
                    one_edge(r, &i, b);
        }
        rows += compared != before;
    }
    printf("# %u rows, %u cases: %u reached beyond memory and did not fault, %u faulted\n", rows, compared, spared, faulted);
    CHECK_EQ(wrong, 0);
    CHECK(spared > compared / 8 && faulted > compared / 8);
}

/* ---- a device ---- */
#define GPA_DEVICE 0x300000u
#define DEVICE (DATA + 0x10000)                      /* where the page tables show it */
static struct { uint8_t size; bool write; uint16_t at; uint64_t v; } accesses[200];
static unsigned n_accesses;

static uint64_t device_read(void *dev, uint64_t at, unsigned size)
{
    accesses[n_accesses].at = (uint16_t)at, accesses[n_accesses].write = false, accesses[n_accesses++].size = (uint8_t)size;
    return 0x4041424344454647ull + at * 0x0101010101010101ull;
}

static void device_write(void *dev, uint64_t at, uint64_t v, unsigned size)
{
    accesses[n_accesses].at = (uint16_t)at, accesses[n_accesses].v = v, accesses[n_accesses].write = true, accesses[n_accesses++].size = (uint8_t)size;
}

static struct region device[2];

static void show_device(struct machine *m, struct region *r)
{
    ((uint64_t *)m->ram.host)[0x4000 / 8 + (DEVICE - DATA) / 4096] = GPA_DEVICE | 0x67;
    *r = (struct region){ .kind = REGION_IO, .name = "device", .read = device_read, .write = device_write, .max_size = 8 };
    if (!as_find(m->mem, GPA_DEVICE, &(uint64_t){ 0 }, &(uint64_t){ 0 }))
        as_add(m->mem, r, GPA_DEVICE, 4096);
}

/* SIZE bytes an element; PACKED: memory has the active ones only; ONE: it has one for all. */
static const struct { const char *name, *code; uint8_t len, size, lanes; bool packed, one; } on_device[] = {
    { "vmovdqu8 [rax]{k3}, zmm1", "\x62\xf1\x7f\x4b\x7f\x08", 6, 1, 64, false, false },
    { "vmovdqu16 [rax]{k3}, ymm1", "\x62\xf1\xff\x2b\x7f\x08", 6, 2, 16, false, false },
    { "vmovups zmm1{k3}, [rax]", "\x62\xf1\x7c\x4b\x10\x08", 6, 4, 16, false, false },
    { "vmovupd ymm1{k3}{z}, [rax]", "\x62\xf1\xfd\xab\x10\x08", 6, 8, 4, false, false },
    { "vaddps zmm1{k3}, zmm2, [rax]{1to16}", "\x62\xf1\x6c\x5b\x58\x08", 6, 4, 16, false, true },
    { "vpexpandd zmm1{k3}, [rax]", "\x62\xf2\x7d\x4b\x89\x08", 6, 4, 16, true, false },
    { "vpcompressb [rax]{k3}, zmm1", "\x62\xf2\x7d\x4b\x63\x08", 6, 1, 64, true, false },
    { "vpmovqb [rax]{k3}, zmm1", "\x62\xf2\x7e\x4b\x32\x08", 6, 1, 8, false, false },
    { "vaddss xmm1{k3}, xmm2, [rax]", "\x62\xf1\x6e\x0b\x58\x08", 6, 4, 1, false, false },
};

/* Exactly the active elements, lowest first, each with its size. */
static bool as_selected(unsigned t, uint64_t mask)
{
    unsigned n = 0, lanes = on_device[t].lanes;
    uint64_t active = mask & (lanes == 64 ? ~0ull : (1ull << lanes) - 1);
    if (on_device[t].one)
        active = active != 0;
    if (on_device[t].packed)
        active = __builtin_popcountll(active) == 64 ? ~0ull : (1ull << __builtin_popcountll(active)) - 1;
    for (unsigned k = 0; k < 64; k++)
        if (active >> k & 1) {
            if (n >= n_accesses || accesses[n].at != 8 + k * on_device[t].size || accesses[n].size != on_device[t].size)
                return false;
            n++;
        }
    return n == n_accesses;
}

TEST(masked_device)
{
    struct machine *both[2] = { &exec_interp, &exec_tcg };
    need_host();
    for (unsigned m = 0; m < 2; m++)
        show_device(both[m], &device[m]);
    for (unsigned n = 0; n < 2000; n++) {
        unsigned t = n % ARRAY_SIZE(on_device);
        uint64_t mask = rnd() & (rnd() & 1 ? ~0ull : rnd()) & (rnd() & 7 ? ~0ull : 0);
        uint8_t code[32];
        memcpy(code, on_device[t].code, on_device[t].len);
        memset(code + on_device[t].len, 0xcc, 16);
        fresh_state();
        in.r[X86_RAX] = DEVICE + 8;
        set_mask(3, mask);
        for (unsigned m = 0; m < (exec_no_tcg ? 1 : 2); m++) {
            n_accesses = 0;
            exec_guest(both[m], &in, m ? &tcg : &interp, code, on_device[t].len + 16u);
            CHECK_EQ(m ? tcg.vector : interp.vector, X86_BP);
            if (!as_selected(t, mask))
                printf("%s, mask %llx: %u accesses\n", on_device[t].name, (unsigned long long)mask, n_accesses);
            CHECK(as_selected(t, mask));
        }
        CHECK(exec_no_tcg || !memcmp(interp.fpu, tcg.fpu, FPU_SIZE));
    }
}

/* ---- code ---- */

/* vmovdqu8 [rip + 1]{k3}, xmm1 over the immediate of mov rax, imm64, which comes next: the bytes that the mask selects are new, the others old. */
TEST(masked_store_to_code)
{
    static const uint8_t bytes[] = { 0x62, 0xf1, 0x7f, 0x0b, 0x7f, 0x0d, 2, 0, 0, 0, 0x48, 0xb8, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
                                     0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc };
    const struct exec_mask all = { RF_ARITH, 0, 0 };
    need_host();
    for (unsigned n = 0; n < 300; n++) {
        uint64_t mask = rnd() & 0xff & (n % 5 ? ~0ull : 0), want = 0;
        fresh_state();
        set_mask(3, mask | (rnd() & ~0xffffull));
        for (unsigned k = 0; k < 8; k++)
            want |= (uint64_t)(mask >> k & 1 ? in.fpu[160 + 16 + k] : bytes[12 + k]) << (8 * k);
        exec_native(&in, &native, bytes, sizeof bytes);
        run_guests(bytes, sizeof bytes);
        exec_normal(&native, &all);
        exec_normal(&interp, &all);
        exec_normal(&tcg, &all);
        CHECK_EQ(native.r[X86_RAX], want);
        CHECK(exec_same(&native, &interp) && exec_same(&native, &tcg));
    }
}

/* ---- #UD and #NM ---- */

static unsigned vector_of(const char *bytes, unsigned len, uint64_t xcr0, uint64_t cr0_on)
{
    struct machine *both[2] = { &exec_interp, &exec_tcg };
    uint8_t code[32];
    fresh_state();
    in.r[X86_RAX] = DATA + 64;
    memcpy(code, bytes, len);
    memset(code + len, 0xcc, 16);
    for (unsigned k = 0; k < 2; k++) {
        both[k]->cpu->xcr0 = xcr0;
        both[k]->cpu->cr0 |= cr0_on;
        tcg_state_changed(both[k]->env);
    }
    run_guests(code, len + 16);
    exec_set_mode(X86_M64, false);
    CHECK_EQ(interp.vector, tcg.vector);
    return interp.vector;
}

static unsigned without(unsigned feature, const char *bytes, unsigned len)
{
    exec_model.feats[feature / 64] ^= BIT(feature % 64);
    unsigned v = vector_of(bytes, len, exec_components, 0);
    exec_model.feats[feature / 64] ^= BIT(feature % 64);
    return v;
}

TEST(exceptions)
{
    static const struct { const char *code; uint8_t len; unsigned feature; bool vl; } t[] = {
        { "\x62\xf1\x74\x48\x58\xc2", 6, FEAT_avx512f, false },         /* vaddps zmm0, zmm1, zmm2 */
        { "\x62\xf1\x74\x08\x58\xc2", 6, FEAT_avx512f, true },          /* vaddps xmm0, xmm1, xmm2 */
        { "\x62\xf1\x76\x08\x58\xc2", 6, FEAT_avx512f, false },         /* vaddss xmm0, xmm1, xmm2 */
        { "\x62\xf1\x74\x18\x58\xc2", 6, FEAT_avx512f, false },         /* vaddps zmm0, zmm1, zmm2, {rn-sae} */
        { "\xc5\xfc\x41\xca", 4, FEAT_avx512f, false },                 /* kandw k1, k0, k2 */
        { "\xc5\xfd\x41\xca", 4, FEAT_avx512dq, false },                /* kandb */
        { "\x62\xf1\x7d\x28\xfc\x00", 6, FEAT_avx512bw, true },         /* vpaddb ymm0, ymm0, [rax] */
        { "\x62\xf2\x75\x28\xdc\xc2", 6, FEAT_vaes, true },             /* vaesenc ymm0, ymm1, ymm2 */
        { "\x62\xf2\x7d\x49\x90\x04\x20", 7, FEAT_avx512f, false },     /* vpgatherdd zmm0{k1}, [rax + zmm4] */
    };
    need_host();
    for (unsigned k = 0; k < ARRAY_SIZE(t); k++) {
        unsigned runs = k + 1 == ARRAY_SIZE(t) ? X86_PF : X86_BP;
        CHECK_EQ(vector_of(t[k].code, t[k].len, exec_components, 0), runs);
        CHECK_EQ(vector_of(t[k].code, t[k].len, exec_components, CR0_TS), X86_NM);
        CHECK_EQ(vector_of(t[k].code, t[k].len, X86_XS_BASE, CR0_TS), X86_UD);
        CHECK_EQ(without(t[k].feature, t[k].code, t[k].len), X86_UD);
        CHECK_EQ(without(FEAT_avx512vl, t[k].code, t[k].len), t[k].vl ? X86_UD : runs);
    }
    CHECK_EQ(without(FEAT_gfni, "\x62\xf2\x75\x48\xcf\xc2", 6), X86_UD);
    CHECK_EQ(without(FEAT_gfni, "\x66\x0f\x38\xcf\xc2", 5), X86_UD);
    CHECK_EQ(without(FEAT_vaes, "\xc4\xe2\x75\xdc\xc2", 5), X86_UD);    /* vaesenc ymm0, ymm1, ymm2 */
    CHECK_EQ(without(FEAT_vaes, "\xc4\xe2\x71\xdc\xc2", 5), X86_BP);    /* 128 bits are AES and AVX */
    CHECK_EQ(without(FEAT_avx_vnni, "\xc4\xe2\x75\x50\xc2", 5), x86_has(&exec_model, FEAT_avx_vnni) ? X86_UD : X86_BP);
}

/* ---- what the hand-over of the FPU carries ---- */

/* vpaddd ymm0, ymm0, ymm1: the guest owns the FPU, then C does. */
static const uint8_t use_avx[] = { 0xc5, 0xfd, 0xfe, 0xc1, 0xcc, 0xcc };
/* kmovq rbx, k1; vmovq rcx, xmm16 (from zmm16) */
static const uint8_t use_avx512[] = { 0xc4, 0xe1, 0xfb, 0x93, 0xd9, 0x62, 0xe1, 0xfd, 0x08, 0x7e, 0xc1, 0xcc, 0xcc };

static void carried(struct machine *m, struct state *out)
{
    struct x86_cpu *c = m->cpu;
    fresh_state();
    c->xcr0 = X86_XS_BASE;
    tcg_state_changed(m->env);
    exec_guest(m, &in, out, use_avx, sizeof use_avx);
    CHECK_EQ(out->vector, X86_BP);
    CHECK(!memcmp(c->fpu + 832, in.fpu + 832, exec_fpu_size - 832));         /* not saved */
    fresh_state();
    c->xcr0 = exec_components;
    tcg_state_changed(m->env);
    exec_guest(m, &in, out, use_avx512, sizeof use_avx512);
    CHECK_EQ(out->vector, X86_BP);
    CHECK(!memcmp(&out->r[X86_RBX], in.fpu + x86_xcomp[5].offset + 8, 8));
    CHECK(!memcmp(&out->r[X86_RCX], in.fpu + x86_xcomp[7].offset, 8));
    CHECK(!memcmp(out->fpu + 832, in.fpu + 832, exec_fpu_size - 832));
}

TEST(carried_when_enabled)
{
    need_host();
    carried(&exec_interp, &interp);
    if (!exec_no_tcg)
        carried(&exec_tcg, &tcg);
    exec_set_mode(X86_M64, false);
}
