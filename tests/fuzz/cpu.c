/*
 * libFuzzer on the whole processor: a byte for the mode, four for the state, then code, which the interpreter and the translator run instruction by
 * instruction on the bare machines of gen_system.c. After each, and after each delivery, everything that a program could see must be the same.
 * What was reached is told to the fuzzer by rows of insns.def and their outcomes: the engines themselves are not instrumented, as that would use
 * the registers in which the guest's FPU lives.
 */
#define TEST_NO_MAIN
#include "tests/unit/sys_world.h"

#define CODE_MOST 96
#define STEPS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t reached[4096 * 8];

/* What the machine would run next, if it is in memory. */
static bool next_insn(const struct x86_cpu *c, struct x86_insn *i)
{
    struct tb_key key;
    x86_get_key((void *)c, &key);
    enum x86_mode mode = key.mode & XM_CODE64 ? X86_M64 : key.mode & XM_CODE32 ? X86_M32 : X86_M16;
    return key.pc < MEM - 16 && x86_decode(i, sys_i.m.ram.host + key.pc, 15, mode) == X86_OK;
}

/* Strings of gigabytes that go nowhere, and what no two engines can agree on. False: not this one. */
static bool tame(const struct x86_insn *i)
{
    if ((i->rep || i->repne) && field_used(i->row, LF_STRING)) {
        sys_i.m.cpu->regs[X86_RCX] &= 63;
        sys_t.m.cpu->regs[X86_RCX] &= 63;
    }
    return !is_gen(i->row, gen_rdrand) && !(is_gen(i->row, gen_shd) && i->opsize == 2);
}

static void differ(const struct x86_cpu *a, const struct x86_cpu *b, const struct x86_insn *i, bool known)
{
    char text[120] = "?";
    if (known)
        x86_disas(i, 0, text, sizeof text);
    printf("interp and tcg differ in %s after: %s\n", w->name, text);
    for (unsigned at = 0; at < sizeof *a; at += 8)
        if (memcmp((const char *)a + at, (const char *)b + at, 8))
            printf("    struct x86_cpu + 0x%x\n", at);
    for (unsigned at = 0; at < MEM; at += 8)
        if (memcmp(sys_i.m.ram.host + at, sys_t.m.ram.host + at, 8))
            printf("    memory 0x%x\n", at);
    fflush(stdout);
    abort();
}

static bool one_step(void)
{
    static struct x86_cpu a, b;
    struct x86_insn i;
    struct tb_key key;
    bool raised = sys_i.m.cpu->exc_pending, known = next_insn(sys_i.m.cpu, &i);
    if (!raised && known && !tame(&i))
        return false;
    bool on = both(&key);
    uint32_t undef = known && !raised ? i.row->fl_u | (is_gen(i.row, gen_shift) || is_gen(i.row, gen_shd) ? RF_OF : 0) : undefined_at(&key);
    normal(&sys_i, &a, undef);
    normal(&sys_t, &b, undef);
    bool outside = sys_i.wrote == sys_t.wrote && sys_i.m.vcpu.halted == sys_t.m.vcpu.halted;
    if (!outside || memcmp(&a, &b, sizeof a) || memcmp(sys_i.m.ram.host, sys_t.m.ram.host, MEM))
        differ(&a, &b, &i, known);
    agree_on_flags(&sys_i, undef);
    agree_on_flags(&sys_t, undef);
    if (known && !raised)
        reached[(i.row - x86_rows) * 8 + (a.exc_pending ? 1 + a.exc_vector % 7 : 0)] = 1;
    return on && sys_i.m.vm.request == VM_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct x86_cpu c;
    static uint32_t flags, seed;
    if (size < 6)
        return 0;
    sys_setup();
    w = &worlds[data[0] % ARRAY_SIZE(worlds)];
    exec_mode = w->mode;
    memcpy(&seed, data + 1, 4);
    gen_seed = (uint64_t)seed << 8 | 1;
    c = *sys_i.m.cpu;
    c.flags_word = &flags;
    fill_image();
    random_cpu(&c);
    c.rip = TEXT - w->cs + 0x100;
    size = MIN(size - 5, (size_t)CODE_MOST);
    memset(image + TEXT + 0x100, 0xcc, CODE_MOST + 32);
    memcpy(image + TEXT + 0x100, data + 5, size);
    c.rflags = x86_get_rflags(&c);
    load(&sys_i, &c);
    load(&sys_t, &c);
    for (unsigned k = 0; k < STEPS && one_step(); k++)
        ;
    return 0;
}
