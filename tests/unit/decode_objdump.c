/*
 * The decoder's lengths against objdump's (binutils), the second opinion beside decode_capstone.c: encodings of all rows, each followed by
 * NOPs in which either side finds its way back, are written to a file and disassembled; objdump must begin a line at the end of each
 * encoding and none inside it. Of EVEX encodings and opmask instructions, which capstone half knows, the name must be the same
 * as well. Where it does not on purpose, faults says why; an entry that excuses nothing is a failure.
 */
#define _GNU_SOURCE
#include "tests/unit/encodings.h"
#include "tests/unit/test.h"
#include <stdlib.h>
#include <unistd.h>

enum { PAD = 8, MOST = 400000 };

static struct slot { uint32_t at; uint8_t len; bool p66, rexw, memory; const struct x86_row *row; } slots[MOST];
static unsigned n_slots;
static uint8_t image[MOST * 24], begins[MOST * 24];
static char names[MOST][24];                        /* of the slots */

enum { IN64 = 1, W66 = 2, WREX = 4, WREG = 8, WMEM = 16, ROWF2 = 32 };

/* Opcodes lo..hi of a map that have all of `when`; our name, NULL: any. */
static struct fault { const char *ours; uint8_t map, lo, hi, when; const char *why; unsigned used; } faults[] = {
    { "bsf", 1, 0xbc, 0xbc, ROWF2, "it does not know that F2 is ignored here", 0 },
    { "bsr", 1, 0xbd, 0xbd, ROWF2, "likewise", 0 },
    { "mfence", 1, 0xae, 0xae, WREG, "modrm.rm of the fences is ignored by processors", 0 },
    { "sfence", 1, 0xae, 0xae, WREG, "likewise", 0 },
    { "nop", 1, 0x0d, 0x0d, WREG, "a reserved NOP that it does not know", 0 },
    { "nop", 1, 0x1a, 0x1b, WMEM, "it takes the reserved NOP for one of MPX, which have no 16-bit addresses", 0 },
    { "wait", 0, 0x9b, 0x9b, IN64 | WREX, "it puts REX on a line of its own before WAIT", 0 },
    { NULL, 0, 0xe8, 0xe9, IN64 | W66, "66 makes it take a 16-bit displacement in 64-bit mode, as AMD does; we do as Intel", 0 },
    { NULL, 1, 0x80, 0x8f, IN64 | W66, "likewise", 0 },
};

static bool known_fault(unsigned mode, const struct slot *s)
{
    const struct x86_row *r = s->row;
    unsigned has = (mode == X86_M64 ? IN64 : 0) | (s->p66 ? W66 : 0) | (s->rexw ? WREX : 0) | (s->memory ? WMEM : WREG);
    has |= r->prefix == PF2 ? ROWF2 : 0;
    for (unsigned k = 0; k < ARRAY_SIZE(faults); k++) {
        struct fault *f = &faults[k];
        if (f->map == r->map && r->opcode >= f->lo && r->opcode <= f->hi && !(f->when & ~has) && (!f->ours || !strcmp(f->ours, r->name))) {
            f->used++;
            return true;
        }
    }
    return false;
}

static unsigned write_image(unsigned mode)
{
    unsigned at = 0;
    n_slots = 0;
    for (unsigned r = 0; r < x86_n_rows; r++)
        for (unsigned v = 0; v < VARIANTS; v++) {
            struct x86_insn i;
            uint8_t b[24];
            if (!encode(&x86_rows[r], mode, v, b) || x86_decode(&i, b, 15, (enum x86_mode)mode) != X86_OK || i.row != &x86_rows[r])
                continue;
            CHECK(n_slots < MOST);
            slots[n_slots++] = (struct slot){ at, i.len, i.p66, i.rex & 8, i.has_modrm && i.modrm < 0xc0, i.row };
            memcpy(image + at, b, i.len);
            memset(image + at + i.len, 0x90, PAD);
            at += i.len + PAD;
        }
    return at;
}

/* The first word that is no remark on the encoding. */
static void take_name(const char *text, char name[24])
{
    int n = 0;
    while (sscanf(text, "%23s%n", name, &n) == 1 && (name[0] == '{' || !strncmp(name, "addr", 4)))
        text += n;
}

static void disassemble(unsigned mode, unsigned size)
{
    static const char *const machine[3] = { "i8086", "i386", "x86-64" };
    char path[] = "/tmp/duet-encodings-XXXXXX", command[200], line[400];
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, image, size) == (ssize_t)size);
    close(fd);
    snprintf(command, sizeof(command), "objdump -D -z --no-show-raw-insn -b binary -m i386 -M %s,intel %s", machine[mode], path);
    memset(begins, 0, sizeof(begins));
    memset(names, 0, sizeof(names));
    FILE *f = popen(command, "r");
    unsigned k = 0;
    while (f && fgets(line, sizeof(line), f)) {
        char *end;
        unsigned long at = strtoul(line, &end, 16);
        if (end != line && *end == ':' && at < size)
            begins[at] = 1;
        while (k < n_slots && slots[k].at < at)
            k++;
        if (end != line && *end == ':' && k < n_slots && slots[k].at == at)
            take_name(end + 1, names[k]);
    }
    if (f)
        pclose(f);
    unlink(path);
    CHECK(begins[0]);
}

static bool same_length(const struct slot *s)
{
    for (unsigned k = 1; k < s->len; k++)
        if (begins[s->at + k])
            return false;
    return begins[s->at] && begins[s->at + s->len];
}

/* Predicates are a part of some names: vcmpltps, vpcmpnequd, vpclmulhqlqdq. */
static bool same_name(const char *ours, const char *theirs)
{
    size_t n = !strncmp(ours, "vpclmul", 7) ? 7 : !strncmp(ours, "vpcmp", 5) ? 5 : !strncmp(ours, "vcmp", 4) ? 4 : 0, len = strlen(theirs), tail = strlen(ours + n);
    return !strcmp(ours, theirs) || (n && len >= n + tail && !strncmp(ours, theirs, n) && !strcmp(ours + n, theirs + len - tail));
}

static bool named(const struct x86_row *r) { return r->attr & X86_F_EVEX || x86_letters[r->opnd[0]].kind == OK_MASK; }

static void lengths(unsigned mode)
{
    unsigned wrong = 0, excused = 0, size = write_image(mode);
    disassemble(mode, size);
    for (unsigned k = 0; k < n_slots; k++) {
        const struct slot *s = &slots[k];
        if (same_length(s) && (!named(s->row) || same_name(s->row->name, names[k])))
            continue;
        if (known_fault(mode, s))
            excused++;
        else if (wrong++ < 40)
            printf("%s (%s) mode %u: %02x %02x %02x %02x %02x: %u bytes\n", s->row->name, names[k], mode, image[s->at], image[s->at + 1], image[s->at + 2],
                   image[s->at + 3], image[s->at + 4], s->len);
    }
    printf("# %u encodings compared, %u differ as listed\n", n_slots, excused);
    CHECK_EQ(wrong, 0);
    CHECK(n_slots > 150000);
}

TEST(lengths_as_objdump)
{
    unsigned idle = 0;
    if (system("objdump --version >/dev/null 2>&1"))
        SKIP("no objdump");
    for (unsigned m = 0; m < 3; m++)
        lengths(m);
    for (unsigned k = 0; k < ARRAY_SIZE(faults); k++)
        if (!faults[k].used)
            idle++, printf("fault %u is not needed: %s %02x (%s)\n", k, faults[k].ours ? faults[k].ours : "any", faults[k].lo, faults[k].why);
    CHECK_EQ(idle, 0);
}
