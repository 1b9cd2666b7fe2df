/*
 * How accesses come to be checked: a hot block on trial learns which of its accesses region descriptors do not serve (tcg/learn.c), and 32-bit accesses
 * whose address wraps are right, alone and beside others off the same base (backend-x86_64/groups.c).
 */
#pragma GCC diagnostic ignored "-Wunused-function"       /* only the translating half of the kit is used */
#include "tests/unit/exec_frame.h"

static struct state in, out;

static void begin(void)
{
    memset(&in, 0, sizeof in);
    *(uint16_t *)in.fpu = 0x37f;
    *(uint32_t *)(in.fpu + 24) = 0x1f80;
    in.fpu[512] = (uint8_t)exec_components;
    in.rip = CODE + 0x100;
    in.flags = 0x202;
    for (unsigned i = 0; i < DATA_SIZE; i++)
        in.mem[i] = (uint8_t)(i * 7 + (i >> 8));
}

/* Two pages in turn by rbx, one page by rsi, 3000 times:
   mov rax, [rbx]; mov r8, [rsi]; xor rbx, 0x2000; jmp to the next; sub r9, 1; jne to the first; int3 */
TEST(trial)
{
    static const uint8_t code[] = { 0x48, 0x8b, 0x03, 0x4c, 0x8b, 0x06, 0x48, 0x81, 0xf3, 0x00, 0x20, 0, 0, 0xeb, 0x00, 0x49, 0x83, 0xe9, 0x01, 0x75, 0xeb, 0xcc };
    if (exec_no_tcg)
        SKIP("no translated code under the address sanitizer");
    exec_setup();
    exec_set_mode(X86_M64, false);
    begin();
    exec_hot = exec_trial = true;
    in.r[X86_RBX] = DATA;
    in.r[X86_RSI] = DATA + 0x1000;
    in.r[X86_R9] = 3000;
    exec_guest(&exec_tcg, &in, &out, code, sizeof code);
    exec_hot = exec_trial = false;
    const struct tcg *t = exec_tcg.t;
    CHECK_EQ(out.vector, X86_BP);
    CHECK_EQ(out.r[X86_R9], 0);
    CHECK(tcg_has_learned(t, LEARNED_TRIED, in.rip));
    CHECK(tcg_has_learned(t, LEARNED_TLB, in.rip));
    CHECK(!tcg_has_learned(t, LEARNED_TLB, in.rip + 3));
}

/* What is loaded to eax and ecx from DATA + 0x10 and + 0x14, by CODE with ebx so far below 0 that the sum of base and displacement wraps. */
static void wrapping(const uint8_t *code, unsigned len, bool hot)
{
    begin();
    exec_hot = hot;
    in.r[X86_RBX] = (uint32_t)(DATA - 0x40000000);
    for (unsigned i = 0; i < 3; i++) {
        exec_guest(&exec_tcg, &in, &out, code, len);
        CHECK_EQ(out.vector, X86_BP);
        CHECK_EQ(out.r[X86_RAX], *(uint32_t *)(in.mem + 0x10));
        CHECK_EQ(out.r[X86_RCX], *(uint32_t *)(in.mem + 0x14));
    }
    exec_hot = false;
}

TEST(wrap32)
{
    /* mov eax, [ebx + 0x40000010]; mov ecx, [ebx + 0x40000014]; the same with an addition between them; the second alone, behind another */
    static const uint8_t pair[] = { 0x8b, 0x83, 0x10, 0, 0, 0x40, 0x8b, 0x8b, 0x14, 0, 0, 0x40, 0xcc },
        step[] = { 0x8b, 0x83, 0x10, 0, 0, 0x40, 0x83, 0xc3, 0x10, 0x8b, 0x8b, 0x04, 0, 0, 0x40, 0xcc },
        apart[] = { 0x8b, 0x83, 0x10, 0, 0, 0x40, 0x89, 0xde, 0x8b, 0x8e, 0x14, 0, 0, 0x40, 0xcc };
    if (exec_no_tcg)
        SKIP("no translated code under the address sanitizer");
    exec_setup();
    exec_legacy = true;
    exec_set_mode(X86_M32, false);
    for (unsigned hot = 0; hot < 2; hot++) {
        wrapping(pair, sizeof pair, hot);
        wrapping(step, sizeof step, hot);
        wrapping(apart, sizeof apart, hot);
    }
    exec_legacy = false;
    exec_set_mode(X86_M64, false);
}
