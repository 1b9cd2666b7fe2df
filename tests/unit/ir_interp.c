/* The interpreter on blocks written as text: a stub frontend, and helpers; memory ops need a machine and are covered by the instruction tests. */
#include <stdlib.h>
#include "tcg/interp.h"
#include "tcg/native.h"
#include "tests/unit/test.h"

struct cpu { uint64_t r[4], pc; };
enum { RAX, RBX, RCX, RDX };
static const struct ir_global globals[] = { { "rax", 0, 8 }, { "rbx", 8, 8 }, { "rcx", 16, 8 }, { "rdx", 24, 8 } };

static uint64_t h_add3(void *cpu, uint64_t a, uint64_t b, uint64_t c)
{
    tcg_env_of(cpu)->flags |= fl_from_rflags(FL_C);
    return a + b + c;
}

static struct { uint64_t pc; uint32_t flags; bool ok; } seen;

static uint64_t h_look(void *cpu)
{
    seen.ok = interp_restore_state(tcg_env_of(cpu));
    seen.pc = ((struct cpu *)cpu)->pc;
    seen.flags = fl_to_rflags(tcg_env_of(cpu)->flags);
    return 0;
}

static const struct tcg_helper helpers[] = { { "add3", (void *)h_add3, 3, true, 0 }, { "look", (void *)h_look, 0, false, 0 } };
static const struct tcg_frontend fe = { .name = "stub", .globals = globals, .n_globals = 4, .helpers = helpers, .n_helpers = 2,
                                        .cpu_size = sizeof(struct cpu), .pc_offset = offsetof(struct cpu, pc) };
static struct ir_native natives[IR_MAX_NATIVES];
static struct ir_block blk = { .natives = natives };

static struct tcg_env *env;
static struct cpu *cpu;

static unsigned run(const char *text, bool optimise)
{
    char err[128] = "";
    unsigned at;
    if (!env) {
        env = aligned_alloc(64, (TCG_CPU_OFFSET + sizeof(struct cpu) + 63) & ~63ull);
        memset(env, 0, TCG_CPU_OFFSET);
        cpu = tcg_cpu(env);
        CHECK_EQ(interp_init(NULL), 0);
    }
    if (ir_parse(&blk, &fe, text, err, sizeof(err)))
        printf("%s\n", err);
    CHECK(!err[0]);
    CHECK(!ir_verify(&blk, &at));
    if (optimise)
        ir_optimise(&blk);
    return interp_run(env, &blk);
}

TEST(interp_values)
{
    for (int opt = 0; opt < 2; opt++) {
        run("jmp $0\n", opt);
        *cpu = (struct cpu){ { ~0ull, 5, 0x1122334455667788, 0 }, 0 };
        env->flags = 0;
        CHECK_EQ(run("add.d rax, rax, rbx {flags}\nmov.w rbx, rcx\nexth.b t0, rcx\nmov.b rdx, t0\ndeph.q rcx, rcx, rbx\njmp $0x1234\n", opt), TCG_EXIT_JMPI);
        CHECK_EQ(cpu->r[RAX], 4);
        CHECK_EQ(cpu->r[RBX], 0x7788);
        CHECK_EQ(cpu->r[RDX], 0x77);
        CHECK_EQ(cpu->r[RCX], 0x1122334455668888);
        CHECK_EQ(cpu->pc, 0x1234);
        CHECK_EQ(fl_to_rflags(env->flags), FL_C | FL_A);
        CHECK(!env->interp);
    }
}

TEST(interp_control)
{
    for (int opt = 0; opt < 2; opt++) {
        run("jmp $0\n", opt);
        *cpu = (struct cpu){ { 0, 10, 0, 0 }, 0 };
        CHECK_EQ(run("label L0\nadd.q rax, rax, rbx\nsub.q rbx, rbx, $1 {flags}\nbrcc.ne L0\nbrz.q rbx L1\nmov.q rdx, $1\nlabel L1\njcc.e $0x77\njmp $0x88\n", opt),
                 TCG_EXIT_JMPI);
        CHECK_EQ(cpu->r[RAX], 55);
        CHECK_EQ(cpu->r[RDX], 0);
        CHECK_EQ(cpu->pc, 0x77);
        CHECK_EQ(run("setpc $0x99\nexit #7\n", opt), TCG_EXIT_REASON);
        CHECK_EQ(env->exit_info, 7);
        CHECK_EQ(cpu->pc, 0x99);
        CHECK_EQ(run("lookup\n", opt), TCG_EXIT_LOOKUP);
        cpu->r[RCX] = 0xabcdef0123456789;
        CHECK_EQ(run("jmpi rcx\n", opt), TCG_EXIT_JMPI);
        CHECK_EQ(cpu->pc, 0xabcdef0123456789);
    }
}

TEST(interp_helpers)
{
    for (int opt = 0; opt < 2; opt++) {
        run("jmp $0\n", opt);
        *cpu = (struct cpu){ { 1, 2, 3, 0 }, 0 };
        run("xor.q rdx, rdx, rdx {flags}\ncall t0, rax, rbx, rcx @add3\nadc.q rdx, t0, $0 {flags}\njmp $1\n", opt);
        CHECK_EQ(cpu->r[RDX], 7);                       /* the helper has set CF */
        run("; guest 0 0x100 2\nsub.q _, rax, rax {flags}\n; guest 1 0x102 3\ncall _, _, _, _ @look\njmp $1\n", opt);
        CHECK(seen.ok);
        CHECK_EQ(seen.pc, 0x102);
        CHECK_EQ(seen.flags, FL_Z | FL_P);
        CHECK(!interp_restore_state(env));
    }
}

TEST(interp_muldiv)
{
    run("jmp $0\n", false);
    *cpu = (struct cpu){ { ~0ull, ~0ull, 7, 0 }, 0 };
    run("mulu.q rax, rdx, rax, rbx {flags}\njmp $1\n", false);
    CHECK_EQ(cpu->r[RAX], 1);
    CHECK_EQ(cpu->r[RDX], ~1ull);
    cpu->r[RAX] = 100;
    cpu->r[RDX] = 0;
    run("divu.q rax, rdx, rax, rdx, rcx\njmp $1\n", false);
    CHECK_EQ(cpu->r[RAX], 14);
    CHECK_EQ(cpu->r[RDX], 2);
    cpu->r[RAX] = 0xffff0064;
    run("divu.b rax, _, rax, _, rcx\njmp $1\n", false);
    CHECK_EQ(cpu->r[RAX], 0xffff020e);
}
