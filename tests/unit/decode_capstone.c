/*
 * The decoder and the disassembler against capstone: for every row of insns.def, encodings in all modes, register and memory forms with
 * several modrm bytes and prefixes; both must agree on the length and on the name. Then the decoder's own rules: LOCK, VEX prefixes, 15 bytes,
 * 64-bit holes, truncation. Where the library spells a name in another way, spellings says so; where it is wrong or older (4.0.2 is), faults
 * has an entry with the reason. What came with AVX-512 it knows in part: there a refusal is only counted (objdump is asked for names, too,
 * decode_objdump.c). An entry that excuses nothing is a failure too: the library has been repaired, or the entry hides something.
 */
#define x86_insn cs_x86_insn
#include <capstone/capstone.h>
#undef x86_insn
#include "tests/unit/encodings.h"
#include "tests/unit/test.h"
#include "x86/cpuid.h"
#include <time.h>

static csh cs[3];

static void open_all(void)
{
    static const int mode[3] = { CS_MODE_16, CS_MODE_32, CS_MODE_64 };
    for (unsigned m = 0; m < 3; m++)
        CHECK(cs[m] || cs_open(CS_ARCH_X86, mode[m], &cs[m]) == CS_ERR_OK);
}

/* Names that mean the same. A star stands for any letters: the predicate of a comparison. */
static struct spelling { const char *ours, *theirs; unsigned used; } spellings[] = {
    { "mov", "movabs", 0 },             /* a 64-bit immediate or address */
    { "movq", "movd", 0 },              /* with REX.W, AMD's name */
    { "sysretq", "sysret", 0 },
    { "sysexitq", "sysexit", 0 },
    { "fneni", "feni8087_nop", 0 },
    { "fndisi", "fdisi8087_nop", 0 },
    { "fnsetpm", "fsetpm", 0 },
    { "vcmpps", "vcmp*ps", 0 },
    { "vcmppd", "vcmp*pd", 0 },
    { "vcmpss", "vcmp*ss", 0 },
    { "vcmpsd", "vcmp*sd", 0 },
    { "vcvtpd2dq", "vcvtpd2dqx", 0 },   /* the x tells a 128-bit operand in memory */
    { "vcvttpd2dq", "vcvttpd2dqx", 0 },
    { "vcvtpd2ps", "vcvtpd2psx", 0 },
};

/* What an entry of faults is limited to. */
enum { IN16 = 1, IN32 = 2, IN64 = 4, ALL = 7, W66 = 8, W67 = 16, WREX = 32, WREG = 64, WMEM = 128 };

/*
 * Where capstone is wrong: opcodes lo..hi of a map when it has all of `when`, our name (NULL: any), what it says: a name, or refused.
 * length: it is the length that differs (the name too when theirs is given).
 */
static const char refused[] = "nothing";
static struct fault { const char *ours; uint8_t map, lo, hi, when; const char *theirs; bool length; const char *why; unsigned used; } faults[] = {
    { "cbw", 0, 0x98, 0x98, IN16, "cwde", false, "16-bit mode: it forgets the mode's own operand size", 0 },
    { "cwd", 0, 0x99, 0x99, IN16, "cdq", false, "likewise", 0 },
    { "insd", 0, 0x6d, 0x6d, IN64 | W66 | WREX, "insw", false, "REX.W wins over 66", 0 },
    { "outsd", 0, 0x6f, 0x6f, IN64 | W66 | WREX, "outsw", false, "likewise", 0 },
    { "popfq", 0, 0x9d, 0x9d, IN64 | W66 | WREX, "popf", false, "likewise", 0 },
    { "pushfq", 0, 0x9c, 0x9c, IN64 | W66 | WREX, "pushf", false, "likewise", 0 },
    { "pause", 0, 0x90, 0x90, IN64 | WREX, "xchg", false, "F3 REX.W 90 is PAUSE", 0 },
    { "jcxz", 0, 0xe3, 0xe3, IN32 | W66 | W67, "jecxz", false, "with 66 it forgets that 67 chooses the register", 0 },
    { "jecxz", 0, 0xe3, 0xe3, IN16 | W66 | W67, "jcxz", false, "likewise", 0 },
    { "jecxz", 0, 0xe3, 0xe3, IN64 | W66 | W67, "jrcxz", false, "likewise", 0 },
    { NULL, 0, 0xe8, 0xe9, IN64 | W66, NULL, true, "66 makes it take a 16-bit displacement in 64-bit mode, as AMD does; we do as Intel", 0 },
    { NULL, 1, 0x80, 0x8f, IN64 | W66, NULL, true, "likewise", 0 },
    { "ret", 0, 0xc2, 0xc2, ALL | W66, NULL, true, "66 makes it take a 4-byte immediate", 0 },
    { "rdpkru", 1, 0x01, 0x01, ALL | WREG, refused, false, "it does not know protection keys", 0 },
    { "wrpkru", 1, 0x01, 0x01, ALL | WREG, refused, false, "likewise", 0 },
    { "ud0", 1, 0xff, 0xff, ALL, NULL, true, "it ends UD0 before the modrm byte", 0 },
    { "ud0", 1, 0xff, 0xff, ALL, refused, false, "it does not know UD0 with prefixes", 0 },
    { "ud1", 1, 0xb9, 0xb9, ALL, "ud2b", true, "it ends UD1 before the modrm byte", 0 },
    { "clwb", 1, 0xae, 0xae, IN64 | W66 | WREX, "xsaveopt64", false, "66 is CLWB, whatever REX.W says", 0 },
    { "rdpid", 1, 0xc7, 0xc7, ALL | WREG, "rdseed", false, "newer than the library", 0 },
    { "lfence", 1, 0xae, 0xae, ALL | WREG, refused, false, "modrm.rm of the fences is ignored by processors", 0 },
    { "mfence", 1, 0xae, 0xae, ALL | WREG, refused, false, "likewise", 0 },
    { "sfence", 1, 0xae, 0xae, ALL | WREG, refused, false, "likewise", 0 },
    { "endbr32", 1, 0x1e, 0x1e, ALL | W67, refused, false, "any prefix but F3 makes it refuse", 0 },
    { "endbr64", 1, 0x1e, 0x1e, ALL | W67, refused, false, "likewise", 0 },
    { "endbr32", 1, 0x1e, 0x1e, IN64 | WREX, refused, false, "likewise", 0 },
    { "endbr64", 1, 0x1e, 0x1e, IN64 | WREX, refused, false, "likewise", 0 },
    { "endbr32", 1, 0x1e, 0x1e, IN16, refused, false, "likewise: 16-bit mode is shown with 67", 0 },
    { "endbr64", 1, 0x1e, 0x1e, IN16, refused, false, "likewise", 0 },
    { "nop", 1, 0x0d, 0x0d, ALL | WREG, refused, false, "a reserved NOP that it does not know", 0 },
    { "nop", 1, 0x18, 0x18, ALL | WREG, refused, false, "likewise", 0 },
    { "nop", 1, 0x1a, 0x1f, ALL | WREG, refused, false, "likewise", 0 },
    { "prefetch", 1, 0x0d, 0x0d, ALL | WMEM, refused, false, "only /1 of 3DNow!'s prefetches is known to it", 0 },
    { "prefetchwt1", 1, 0x0d, 0x0d, ALL | WMEM, refused, false, "likewise", 0 },
    { "vinsertf64x2", 3, 0x18, 0x18, IN16 | IN32, "vinsertf32x4", false, "outside 64-bit mode it forgets EVEX.W", 0 },
    { "vinsertf64x4", 3, 0x1a, 0x1a, IN16 | IN32, "vinsertf32x8", false, "likewise", 0 },
    { "vinserti64x2", 3, 0x38, 0x38, IN16 | IN32, "vinserti32x4", false, "likewise", 0 },
    { "vinserti64x4", 3, 0x3a, 0x3a, IN16 | IN32, "vinserti32x8", false, "likewise", 0 },
    { "vmovdqa64", 1, 0x6f, 0x7f, IN16 | IN32, "vmovdqa32", false, "likewise", 0 },
    { "vmovdqu64", 1, 0x6f, 0x7f, IN16 | IN32, "vmovdqu32", false, "likewise", 0 },
    { "vbroadcasti128", 2, 0x5a, 0x5a, ALL | WMEM, refused, false, "it does not know it", 0 },
};

static bool same_spelling(const char *pattern, const char *name)
{
    size_t n = strcspn(pattern, "*"), len = strlen(name), tail = pattern[n] ? strlen(pattern + n + 1) : 0;
    if (!pattern[n])
        return !strcmp(pattern, name);
    return !strncmp(pattern, name, n) && len >= n + tail && !strcmp(pattern + n + 1, name + len - tail);
}

static bool spelt(const char *ours, const char *theirs)
{
    for (unsigned k = 0; k < ARRAY_SIZE(spellings); k++)
        if (!strcmp(spellings[k].ours, ours) && same_spelling(spellings[k].theirs, theirs)) {
            spellings[k].used++;
            return true;
        }
    return false;
}

static unsigned conditions(const struct x86_insn *i)
{
    static const uint8_t in[3] = { IN16, IN32, IN64 };
    unsigned c = in[i->mode] | (i->p66 ? W66 : 0) | (i->p67 ? W67 : 0) | (i->rex & 8 ? WREX : 0);
    return c | (i->has_modrm ? i->modrm >= 0xc0 ? WREG : WMEM : 0);
}

static bool known_fault(const struct x86_insn *i, const char *ours, const char *theirs, bool length)
{
    unsigned c = conditions(i);
    for (unsigned k = 0; k < ARRAY_SIZE(faults); k++) {
        struct fault *f = &faults[k];
        bool here = f->map == i->map && i->opcode >= f->lo && i->opcode <= f->hi && (f->when & c & ALL) && !(f->when & ~c & ~(unsigned)ALL);
        if (here && (!f->ours || !strcmp(f->ours, ours)) && f->length == length && !strcmp(f->theirs ? f->theirs : ours, theirs)) {
            f->used++;
            return true;
        }
    }
    return false;
}

/* The name as the disassembler prints it, with its prefix and without operands. */
static void name_of(const struct x86_insn *i, char *text, size_t size)
{
    x86_disas(i, 0x1000, text, size);
    char *p = strchr(text, ' ');
    bool prefix = p && (!strncmp(text, "lock ", 5) || !strncmp(text, "rep", 3));
    p = prefix ? strchr(p + 1, ' ') : p;
    if (p)
        *p = 0;
}

/* Both names without the prefix that both say. */
static void skip_prefix(const char **a, const char **b)
{
    size_t n = strcspn(*a, " ");
    if ((*a)[n] && !strncmp(*a, *b, n + 1))
        *a += n + 1, *b += n + 1;
}

/*
 * In 16-bit mode the library takes a mandatory prefix for an operand size. What such a row means does not depend on the operand size, so
 * it is shown in 32-bit mode, with the address size turned round.
 */
static unsigned shown_in(const struct x86_row *r, unsigned mode, const uint8_t *b, uint8_t *to, int *shift)
{
    bool turn = mode == X86_M16 && !(r->attr & (X86_F_VEX | X86_F_EVEX)) && (r->prefix == P66 || r->prefix == PF2 || r->prefix == PF3);
    *shift = !turn ? 0 : b[0] == 0x67 ? -1 : 1;
    to[0] = 0x67;
    memcpy(to + (*shift > 0), b + (*shift < 0), 15);
    return turn ? X86_M32 : mode;
}

static unsigned compared, excused, newer, wrong;

/* It knows AVX-512 as it was in its first years, and many forms not. */
static bool half_known(const struct x86_row *r)
{
    static const uint8_t with[] = { FEAT_avx512f, FEAT_avx512bw, FEAT_avx512dq, FEAT_gfni, FEAT_vaes, FEAT_vpclmulqdq, FEAT_avx_vnni };
    bool is = r->attr & X86_F_EVEX;
    for (unsigned k = 0; k < ARRAY_SIZE(with); k++)
        is |= r->feat == with[k];
    return is;
}

static void compare(const struct x86_row *r, unsigned mode, unsigned variant)
{
    uint8_t b[24], shown[24];
    char text[160];
    struct x86_insn i;
    cs_insn *c = NULL;
    int shift;
    if (!encode(r, mode, variant, b) || x86_decode(&i, b, 15, (enum x86_mode)mode) != X86_OK || i.row != r)
        return;
    name_of(&i, text, sizeof(text));
    unsigned their_mode = shown_in(r, mode, b, shown, &shift), len = i.len + (unsigned)shift;
    size_t n = cs_disasm(cs[their_mode], shown, 16, 0x1000, 1, &c);
    const char *ours = text, *theirs = n ? c->mnemonic : refused;
    bool length = n && c->size != len;
    skip_prefix(&ours, &theirs);
    compared++;
    if (length || strcmp(ours, theirs)) {
        if (theirs == refused && half_known(r))
            newer++;
        else if (known_fault(&i, ours, theirs, length) || (!length && spelt(ours, theirs)))
            excused++;
        else if (wrong++ < 40)
            printf("%s mode %u: %02x %02x %02x %02x %02x: %u bytes, capstone %s %u\n", text, mode, b[0], b[1], b[2], b[3], b[4], len, theirs,
                   n ? c->size : 0);
    }
    cs_free(c, n);
}

TEST(rows_do_not_overlap)
{
    const char *e = x86_rows_check();
    if (e)
        puts(e);
    CHECK(!e);
}

TEST(every_row_is_reached)
{
    unsigned lost = 0;
    for (unsigned n = 0; n < x86_n_rows; n++) {
        bool seen = false;
        for (unsigned m = 0; m < 3 && !seen; m++)
            for (unsigned v = 0; v < VARIANTS && !seen; v++) {
                uint8_t b[24];
                struct x86_insn i;
                seen = encode(&x86_rows[n], m, v, b) && x86_decode(&i, b, 15, (enum x86_mode)m) == X86_OK && i.row == &x86_rows[n];
            }
        if (!seen && x86_rows[n].opnd[1] != L_Gx && x86_rows[n].opnd[1] != L_Gh) {
            printf("row %u %s map %u opcode %02x is not reached\n", n, x86_rows[n].name, x86_rows[n].map, x86_rows[n].opcode);
            lost++;
        }
    }
    CHECK_EQ(lost, 0);
}

TEST(names_and_lengths_as_capstone)
{
    unsigned idle = 0;
    open_all();
    for (unsigned n = 0; n < x86_n_rows; n++)
        for (unsigned m = 0; m < 3; m++)
            for (unsigned v = 0; v < VARIANTS; v++)
                compare(&x86_rows[n], m, v);
    for (unsigned k = 0; k < ARRAY_SIZE(faults); k++)
        if (!faults[k].used)
            idle++, printf("fault %u is not needed: %s %02x (%s)\n", k, faults[k].ours ? faults[k].ours : "any", faults[k].lo, faults[k].why);
    for (unsigned k = 0; k < ARRAY_SIZE(spellings); k++)
        if (!spellings[k].used)
            idle++, printf("spelling %s = %s is not needed\n", spellings[k].ours, spellings[k].theirs);
    printf("# %u encodings compared, %u differ as listed, %u of AVX-512 it does not know\n", compared, excused, newer);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(idle, 0);
    CHECK(compared > 300000);
}

static enum x86_status st(enum x86_mode m, unsigned n, const char *bytes)
{
    struct x86_insn i;
    return x86_decode(&i, (const uint8_t *)bytes, n, m);
}

TEST(rules)
{
    CHECK_EQ(st(X86_M64, 3, "\xf0\x01\x03"), X86_OK);            /* lock add [rbx], eax */
    CHECK_EQ(st(X86_M64, 3, "\xf0\x01\xc3"), X86_BAD);           /* register */
    CHECK_EQ(st(X86_M64, 3, "\xf0\x39\x03"), X86_BAD);           /* cmp */
    CHECK_EQ(st(X86_M64, 1, "\x06"), X86_BAD);
    CHECK_EQ(st(X86_M32, 1, "\x06"), X86_OK);
    CHECK_EQ(st(X86_M64, 4, "\x62\xf1\x7c\x48"), X86_TRUNC);     /* EVEX */
    CHECK_EQ(st(X86_M64, 6, "\x62\xf1\x7c\x48\x58\xc1"), X86_OK);
    CHECK_EQ(st(X86_M64, 7, "\x66\x62\xf1\x7c\x48\x58\xc1"), X86_BAD);
    CHECK_EQ(st(X86_M64, 6, "\x62\xf1\x7c\x68\x58\xc1"), X86_BAD);       /* L'L is 3 */
    CHECK_EQ(st(X86_M64, 6, "\x62\xf1\x7c\xc8\x58\xc1"), X86_BAD);       /* z without a mask */
    CHECK_EQ(st(X86_M32, 2, "\x62\x03"), X86_OK);                          /* bound */
    CHECK_EQ(st(X86_M64, 5, "\x66\xc5\xf8\x58\xc1"), X86_BAD);   /* VEX after 66 */
    CHECK_EQ(st(X86_M64, 4, "\xc5\xe8\x10\xc1"), X86_BAD);       /* vvvv used where none is */
    CHECK_EQ(st(X86_M64, 1, "\x81"), X86_TRUNC);
    CHECK_EQ(st(X86_M64, 15, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66"), X86_TOOLONG);
    CHECK_EQ(st(X86_M64, 4, "\x66\xf3\x0f\xb8"), X86_TRUNC);
    CHECK_EQ(st(X86_M64, 3, "\x8e\xc8\x00"), X86_BAD);           /* mov cs, ax */
}

TEST(speed)
{
    static const uint8_t code[] = { 0x48, 0x8b, 0x44, 0x24, 0x08, 0x48, 0x01, 0xd8, 0x0f, 0xb6, 0x03, 0x66, 0x0f, 0x6f, 0x45, 0x00, 0xe8, 1, 2, 3, 4 };
    struct x86_insn i;
    struct timespec a, b;
    unsigned n = 0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (unsigned k = 0; k < 100000; k++)
        for (unsigned p = 0; p < sizeof(code); p += i.len, n++)
            CHECK(x86_decode(&i, code + p, (unsigned)sizeof(code) - p, X86_M64) == X86_OK);
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("# %.0f ns an instruction\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / n);
}
