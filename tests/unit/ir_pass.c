/* Builder folding, text round trip, and the passes of tcg/, on blocks written as text with a stub frontend. */
#include <stdlib.h>
#include "tcg/eval.h"
#include "tcg/frontend.h"
#include "tcg/native.h"
#include "tests/unit/test.h"

enum { RAX, RBX, RCX, FSB, N_GLOBALS };
static const struct ir_global globals[N_GLOBALS] = { { "rax", 0, 8 }, { "rbx", 8, 8 }, { "rcx", 16, 8 }, { "fs_base", 24, 8 } };
static const struct tcg_helper helpers[] = { { "h_pure", NULL, 1, true, TCGH_PURE }, { "h_any", NULL, 1, true, 0 } };
static const struct tcg_frontend fe = { .name = "stub", .globals = globals, .n_globals = N_GLOBALS, .helpers = helpers, .n_helpers = 2 };
static struct ir_native natives[IR_MAX_NATIVES];
static struct ir_block blk = { .natives = natives }, blk2 = { .natives = natives };

static void verify(const struct ir_block *b)
{
    unsigned at;
    const char *e = ir_verify(b, &at);
    if (e)
        printf("insn %u: %s\n", at, e);
    CHECK(!e);
}

static void parse(struct ir_block *b, const char *text)
{
    char err[128] = "";
    if (ir_parse(b, &fe, text, err, sizeof(err)))
        printf("%s\n", err);
    CHECK(!err[0]);
}

static void expect(const struct ir_block *b, const char *want)
{
    struct ir_text t = { 0 };
    ir_print(b, &t);
    bool same = !strcmp(t.buf, want);
    if (!same)
        printf("got:\n%swant:\n%s", t.buf, want);
    free(t.buf);
    CHECK(same);
}

TEST(ir_fold_builder)
{
    struct ir_block *b = &blk;
    ir_begin(b, &fe, 0x1000);
    ir_guest(b, 0x1000, 3);
    ir_ref c = ir_op2(b, IR_add, 4, IR_NONE, ir_const(b, 0xffffffff), ir_const(b, 2), 0);
    CHECK(ir_is_const(c));
    CHECK_EQ(ir_const_value(b, c), 1);
    CHECK_EQ(b->n, 0);
    CHECK_EQ(ir_op2(b, IR_add, 8, RAX, RAX, ir_const(b, 0), 0), RAX);           /* nothing */
    CHECK_EQ(b->n, 0);
    ir_op2(b, IR_add, 4, RAX, RAX, ir_const(b, 0), 0);                         /* clears the upper half */
    CHECK_EQ(b->n, 1);
    CHECK_EQ(b->insn[0].op, IR_mov);
    ir_op2(b, IR_add, 8, RAX, RAX, ir_const(b, 0), IRF_FLAGS);                 /* flags wanted: stays */
    CHECK_EQ(b->insn[1].op, IR_add);
    ir_op2(b, IR_shl, 8, RAX, RAX, ir_const(b, 64), IRF_FLAGS);                /* count 0: keeps flags, too */
    CHECK_EQ(b->n, 2);
    ir_mov(b, 8, RBX, RBX);
    CHECK_EQ(b->n, 2);
    c = ir_ext(b, IR_sext, 8, 1, IR_NONE, ir_const(b, 0x80));
    CHECK_EQ(ir_const_value(b, c), 0xffffffffffffff80);
    struct ir_mem m = { ir_const(b, 0x10), IR_NONE, IR_NONE, 0, 0, 8 };
    c = ir_lea(b, 8, IR_NONE, &m);
    CHECK_EQ(ir_const_value(b, c), 0x18);
    m.base = ir_const(b, 0x123456789ab);
    ir_ref t = ir_ld(b, 4, IR_LD_ZX, IR_NONE, &m);                             /* too far for a displacement */
    CHECK(ir_is_temp(b->insn[b->n - 1].base));
    ir_st(b, 8, &(struct ir_mem){ RBX, ir_const(b, 2), FSB, 3, 0, -8 }, t);
    CHECK_EQ(b->insn[b->n - 1].disp, 8);
    CHECK_EQ(b->insn[b->n - 1].index, IR_NONE);
    ir_jmpi(b, ir_const(b, 0x2000));
    verify(b);
    expect(b, "block 0x1000\n; guest 0 0x1000 3\n    mov.d rax, rax\n    add.q rax, rax, $0x0 {flags}\n    mov.q t0, $0x123456789ab\n"
              "    ld.d t1, [t0 + 0x8] zx\n    st.q [fs_base: rbx + 0x8], t1\n    jmp.q $0x2000\n");
}

TEST(ir_last_marks)
{
    struct ir_block *b = &blk;
    ir_begin(b, &fe, 0);
    ir_guest(b, 0, 1);
    ir_mov(b, 8, RAX, RBX);
    ir_mov(b, 8, RCX, RBX);
    ir_guest(b, 1, 1);
    ir_guest(b, 2, 1);
    ir_jmp(b, 3);
    CHECK(!(b->insn[0].flags & IRF_LAST));
    CHECK(b->insn[1].flags & IRF_LAST);
    CHECK(b->insn[2].flags & IRF_LAST);
    CHECK_EQ(b->insn[2].gi, 2);
    CHECK_EQ(b->guest_bytes, 3);
}

TEST(ir_flags_liveness)
{
    parse(&blk, "; guest 0 0 1\nadd.q rax, rax, rbx {flags}\n; guest 1 1 1\nsub.q _, rax, rbx {flags}\n; guest 2 2 1\njcc.e $1\njmp $2\n");
    opt_flags(&blk);
    CHECK(!(blk.insn[0].flags & IRF_FLAGS));
    CHECK_EQ(blk.insn[0].fl_live, 0);
    CHECK_EQ(blk.insn[1].fl_live, FL_Z);          /* leaving only shows the others */
    CHECK_EQ(blk.insn[1].fl_fault, FL_ALL & ~FL_Z);
    /* a load between: only a fault could show them */
    parse(&blk, "add.q rax, rax, rbx {flags}\nld.q rcx, [rbx]\nsub.q _, rax, rbx {flags}\njmp $2\n");
    opt_flags(&blk);
    CHECK(blk.insn[0].flags & IRF_FLAGS);
    CHECK_EQ(blk.insn[0].fl_live, 0);
    CHECK_EQ(blk.insn[0].fl_fault, FL_ALL);
    /* inc keeps CF; unused cmp goes */
    parse(&blk, "sub.q _, rax, rbx {flags}\nadd.q rax, rax, rbx {flags}\ninc.q rax, rax {flags}\njmp $2\n");
    opt_flags(&blk);
    CHECK_EQ(blk.n, 3);
    CHECK_EQ(blk.insn[0].fl_fault, FL_C);
    CHECK(blk.insn[0].flags & IRF_FLAGS);
    /* shift by an unknown count keeps all, by a known one nothing */
    parse(&blk, "add.q rax, rax, rbx {flags}\nshl.q rax, rax, rcx {flags}\njmp $2\n");
    opt_flags(&blk);
    CHECK_EQ(blk.insn[0].fl_fault, FL_ALL);
    parse(&blk, "add.q rax, rax, rbx {flags}\nshl.q rax, rax, $3 {flags}\njmp $2\n");
    opt_flags(&blk);
    CHECK(!(blk.insn[0].flags & IRF_FLAGS));
    /* forward label: union of both ways */
    parse(&blk, "add.q rax, rax, rbx {flags}\nbrz.q rcx L0\nsub.q _, rax, rbx {flags}\nlabel L0\nsetcc.b.b rax\nadd.q rax, rax, rbx {flags}\njmp $2\n");
    opt_flags(&blk);
    CHECK_EQ(blk.insn[0].fl_live, FL_C);
    CHECK_EQ(blk.insn[2].fl_live, FL_C);
    /* backward: everything */
    parse(&blk, "label L0\nadd.q rax, rax, rbx {flags}\nbrnz.q rcx L0\nadd.q rax, rax, rbx {flags}\njmp $2\n");
    opt_flags(&blk);
    CHECK_EQ(blk.insn[1].fl_live, FL_ALL);
    /* helpers see flags unless pure */
    parse(&blk, "add.q rax, rax, rbx {flags}\ncall rcx, rax, _, _ @h_pure\nadd.q rax, rax, rbx {flags}\ncall rcx, rax, _, _ @h_any\nadd.q rax, rax, rbx {flags}\njmp $2\n");
    opt_flags(&blk);
    CHECK(!(blk.insn[0].flags & IRF_FLAGS));
    CHECK(blk.insn[2].flags & IRF_FLAGS);
}

TEST(ir_copy_and_dead)
{
    parse(&blk, "mov.q t0, rax\nmov.q t1, $0x10\nadd.q t2, t0, t1\nld.q rbx, [t1 + t0*2]\nst.q [t2], t0\nmov.q rax, $1\nst.q [rbx], t0\njmp $2\n");
    ir_optimise(&blk);
    verify(&blk);
    expect(&blk, "block 0x0\n    mov.q t0, rax fault=CPAZSO\n    add.q t2, rax, $0x10 fault=CPAZSO\n    ld.q rbx, [rax*2 + 0x10] fault=CPAZSO\n"
                 "    st.q [t2], rax fault=CPAZSO\n    mov.q rax, $0x1 fault=CPAZSO\n    st.q [rbx], t0 fault=CPAZSO\n    jmp.q $0x2 fault=CPAZSO\n");
    parse(&blk, "mov.q t0, $5\nshl.d t1, t0, $1\nadd.q rax, rax, t1\nsub.q t3, rax, rbx {flags}\nadd.q t4, rbx, rcx\njmp $2\n");
    ir_optimise(&blk);
    CHECK_EQ(blk.n, 4);                                /* the size 4 temp is not read at size 8 through the copy, t4 is gone */
    CHECK_EQ(blk.insn[2].d, IR_NONE);                  /* became a compare */
}

static uint64_t seed = 88172645463325252ull;

static uint32_t rnd(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 11) % n;
}

static ir_ref any_ref(struct ir_block *b)
{
    return rnd(3) ? (ir_ref)rnd(3) : b->n_temps && rnd(2) ? (ir_ref)(IR_TEMP0 + rnd(b->n_temps)) : ir_const(b, seed >> rnd(64));
}

static void random_insn(struct ir_block *b)
{
    static const uint8_t alu[] = { IR_add, IR_sub, IR_and, IR_or, IR_xor, IR_adc, IR_sbb, IR_shl, IR_rol, IR_bts, IR_rcr };
    struct ir_mem m = { rnd(4) ? (ir_ref)rnd(3) : IR_NONE, rnd(2) ? (ir_ref)rnd(3) : IR_NONE, rnd(4) ? IR_NONE : FSB, (uint8_t)rnd(4),
                        rnd(4) ? 0 : IRF_ADDR32, (int32_t)(seed >> 7) >> rnd(32) };
    unsigned size = 2u << rnd(3);
    switch (rnd(9)) {
    case 0: ir_ld(b, size, (enum ir_ldsub)rnd(4), rnd(2) ? RAX : IR_NONE, &m); break;
    case 1: ir_st(b, size, &m, any_ref(b)); break;
    case 2: ir_rmw(b, (enum ir_rmw)rnd(RMW_xchg), size, IR_NONE, &m, any_ref(b), IRF_LOCK | IRF_FLAGS); break;
    case 3: ir_cmov(b, size, (enum ir_cond)rnd(16), RBX, any_ref(b), any_ref(b)); break;
    case 4: ir_ext(b, IR_sext, 8, 1u << rnd(3), IR_NONE, any_ref(b)); break;
    case 5: ir_jcc(b, (enum ir_cond)rnd(16), seed >> 20); break;
    case 6: ir_setf(b, any_ref(b), FL_ALL); break;
    case 7: ir_call(b, rnd(2), ir_temp(b), any_ref(b), IR_NONE, IR_NONE); break;
    default: ir_op2(b, alu[rnd(sizeof(alu))], size, rnd(2) ? RCX : IR_NONE, any_ref(b), any_ref(b), rnd(2) ? IRF_FLAGS : 0); break;
    }
}

static void round_trip(const struct ir_block *b)
{
    struct ir_text t = { 0 };
    ir_print(b, &t);
    parse(&blk2, t.buf);
    CHECK_EQ(blk2.n, b->n);
    expect(&blk2, t.buf);
    for (unsigned i = 0; i < b->n; i++)
        CHECK_EQ(blk2.insn[i].flags, b->insn[i].flags);
    free(t.buf);
}

TEST(ir_text_round_trip)
{
    for (unsigned k = 0; k < 300; k++) {
        struct ir_block *b = &blk;
        ir_begin(b, &fe, 0x4000);
        for (unsigned g = 0; g < 12 && ir_room(b); g++) {
            ir_guest(b, 0x4000 + g * 4, 4);
            for (unsigned i = rnd(5); i > 0; i--)
                random_insn(b);
        }
        ir_jmp(b, 0x5000);
        verify(b);
        round_trip(b);
        ir_optimise(b);
        verify(b);
        round_trip(b);
    }
}

TEST(ir_parse_errors)
{
    static const char *const bad[] = { "frob rax\n", "add.q rax, rbx\n", "add.x rax, rax, rax\n", "ld.q rax, [rbx\n", "jcc.zz $1\n", "add.q rax, rax, rax {what}\n",
                                       "call _, _, _, _ @nobody\n", "st.q [rax*3], rax\n" };
    char err[128];
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(ir_parse(&blk, &fe, bad[i], err, sizeof(err)) < 0);
}

TEST(ir_verify_catches)
{
    static const char *const bad[] = { "", "mov.q rax, rbx\n", "mov.q rax, t0\njmp $1\n", "mov.q t0, rax\nlabel L0\nmov.q rbx, t0\njmp $1\n", "br L3\njmp $1\n",
                                       "deph.q rax, rbx, rcx\njmp $1\n", "mov.q fs_base, _\njmp $1\n", "zext.d rax, rbx from 4\njmp $1\n" };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        unsigned at;
        parse(&blk, bad[i]);
        if (!ir_verify(&blk, &at))
            printf("accepted: %s\n", bad[i]);
        CHECK(ir_verify(&blk, &at));
    }
}
