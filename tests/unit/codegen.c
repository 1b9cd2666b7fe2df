/*
 * How many host instructions the hottest guest forms cost, pinned: tests/codegen/x86_64.txt has a row for each, this test counts anew. A count that
 * has changed is a failure until it is accepted (tests/codegen/accept.sh rewrites the file); then the difference is there to review.
 *
 * Counted is what is emitted in line for the form alone in a block of user-level 64-bit code, flags dead behind it, less what an empty block has:
 * as first translated (accesses by TLB probe), and hot (by region descriptor). What makes flags only (CMP) has a JNE behind it, a branch has CMP RAX, RBX
 * before it, and the two are counted together; of a branch both ways, each from the beginning. Slow paths and helpers are not counted.
 */
#pragma GCC diagnostic ignored "-Wunused-function"       /* only the translating half of the kit is used */
#include "tests/unit/exec_frame.h"
#include "core/log.h"

#define TABLE "tests/codegen/x86_64.txt"

static struct state in, out;
static uint64_t at = CODE;

/* Host instructions of the block at PC, translated since there were FIRST blocks, with all ways out of it. */
static unsigned cost(unsigned first, uint64_t pc)
{
    const struct tcg *t = exec_tcg.t;
    unsigned sum = 0;
    for (unsigned i = first; i < t->part[t->now].n; i++) {
        const struct tb *tb = t->part[t->now].by_code[i];
        for (const struct tb_count *n = tb->key.pc == pc ? t->counts : NULL; n; n = n->next) {
            const uint64_t *runs = &n->runs;         /* the block that counts there has its address as a constant */
            if (n->code_end <= tb->code_size && memmem(tb->code + n->code, n->code_end - n->code, &runs, sizeof runs))
                sum += n->host;
        }
    }
    return sum;
}

enum kind { PLAIN, BRANCH, FLAGS };

static unsigned translate(const uint8_t *insn, unsigned len, enum kind kind, bool hot)
{
    static const uint8_t cmp[] = { 0x48, 0x39, 0xd8 }, jmp[] = { 0xeb, 0x00 }, jne[] = { 0x75, 0x00 };
    uint8_t code[64];
    unsigned n = 0, first = exec_tcg.t->part[exec_tcg.t->now].n;
    memset(code, 0xcc, sizeof code);
    if (kind == BRANCH)
        memcpy(code, cmp, 3), n = 3;
    memcpy(code + n, insn, len);
    n += len;
    if (kind == FLAGS)
        memcpy(code + n, jne, 2);
    if (kind == PLAIN) {
        memcpy(code + n, cmp, 3);
        memcpy(code + n + 3, jmp, 2);
    }
    at += 0x100;
    if (at + 0x200 > CODE + CODE_SIZE)
        at = CODE;
    memset(&in, 0, sizeof in);
    *(uint16_t *)in.fpu = 0x37f;
    *(uint32_t *)(in.fpu + 24) = 0x1f80;
    in.fpu[512] = (uint8_t)exec_components;
    for (unsigned k = 0; k < 16; k++)
        in.r[k] = DATA + 0x2000;
    in.rip = at;
    in.flags = 0x202;
    exec_hot = hot;
    log_mask |= LOG_COUNT;
    exec_guest(&exec_tcg, &in, &out, code, sizeof code);
    log_mask &= ~(unsigned)LOG_COUNT;
    return cost(first < exec_tcg.t->part[exec_tcg.t->now].n ? first : 0, at);      /* the counts stay: a branch may go back into an earlier block */
}

static unsigned parse(const char *hex, uint8_t *b)
{
    unsigned n = 0, v;
    while (n < 15 && sscanf(hex + 2 * n, "%2x", &v) == 1)
        b[n++] = (uint8_t)v;
    return n;
}

static enum kind kind_of(const struct x86_insn *i)
{
    bool writes = i->n_opnd == 0;
    for (unsigned k = 0; k < i->n_opnd; k++) {
        if (i->o[k].kind == OK_REL)
            return BRANCH;
        writes |= i->o[k].access & 2;
    }
    if (i->row->attr & X86_F_ENDS || i->mnem == X86I_jmp || i->mnem == X86I_call || i->mnem == X86I_ret)
        return BRANCH;
    return i->row->fl_w && !writes ? FLAGS : PLAIN;
}

TEST(codegen)
{
    char line[256], hex[40];
    int cold, hot, differ = 0, rows = 0, said_cold, said_hot;
    bool accept = getenv("DUET_ACCEPT") != NULL;
    exec_setup();
    exec_set_mode(X86_M64, false);
    if (exec_no_tcg)
        SKIP("no translated code under the address sanitizer");
    FILE *f = fopen(TABLE, "r"), *new = accept ? fopen(TABLE ".new", "w") : NULL;
    CHECK(f && (!accept || new));
    int empty = (int)translate(NULL, 0, PLAIN, false);
    while (fgets(line, sizeof line, f)) {
        uint8_t b[16];
        struct x86_insn i;
        char text[120];
        if (sscanf(line, "%d %d %39s", &said_cold, &said_hot, hex) != 3) {
            if (new)
                fputs(line, new);
            continue;
        }
        unsigned n = parse(hex, b);
        CHECK(x86_decode(&i, b, 15, X86_M64) == X86_OK && i.len == n);
        x86_disas(&i, 0x1000, text, sizeof text);
        cold = (int)translate(b, n, kind_of(&i), false) - empty;
        hot = (int)translate(b, n, kind_of(&i), true) - empty;
        rows++;
        if (new)
            fprintf(new, "%3d %3d %-24s %s\n", cold, hot, hex, text);
        if (cold == said_cold && hot == said_hot)
            continue;
        differ++;
        if (!accept)
            printf("# %s %s: %d and %d host instructions, not %d and %d\n", hex, text, cold, hot, said_cold, said_hot);
    }
    fclose(f);
    if (new) {
        fclose(new);
        CHECK_EQ(rename(TABLE ".new", TABLE), 0);
    }
    printf("# %d forms, %d differ\n", rows, differ);
    CHECK(rows >= 150);
    CHECK(accept || differ == 0);
}
