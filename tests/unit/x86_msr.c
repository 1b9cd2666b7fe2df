/* The MSR table: order, reset values, reserved bits, canonical checks, EFER's rules, TSC arithmetic. */
#include "tests/unit/test.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"

static struct x86_cpuid id;
static struct x86_cpu cpu;
static uint32_t flags;

static void fresh(void)
{
    CHECK_EQ(x86_cpuid_model(&id, X86_MODEL_DEFAULT), 0);
    memset(&cpu, 0, sizeof(cpu));
    cpu.cpuid = &id;
    cpu.flags_word = &flags;
    x86_reset(&cpu);
}

/* What holds traps and interrupts off until the end of an instruction ends with a reset. */
TEST(reset_ends_shadows)
{
    fresh();
    cpu.intr_shadow = cpu.ss_shadow = cpu.rep_more = cpu.exc_rf = true;
    x86_reset(&cpu);
    CHECK(!cpu.intr_shadow && !cpu.ss_shadow && !cpu.rep_more && !cpu.exc_rf);
    cpu.ss_shadow = true;
    x86_init(&cpu);
    CHECK(!cpu.ss_shadow);
}

TEST(msr_sorted)
{
    for (unsigned i = 1; i < x86_n_msrs; i++)
        CHECK(x86_msrs[i - 1].num < x86_msrs[i].num);
}

TEST(msr_fields)
{
    uint64_t v;
    fresh();
    CHECK_EQ(x86_wrmsr(&cpu, 0xc0000082, 0xffffffff81000000ull), 0);
    CHECK_EQ(cpu.lstar, 0xffffffff81000000ull);
    CHECK(x86_wrmsr(&cpu, 0xc0000082, 0x800000000000ull) < 0);
    x86_feat_set(&id, FEAT_la57, true);                     /* addresses may have 57 bits, whatever the paging in force */
    CHECK_EQ(x86_wrmsr(&cpu, 0xc0000082, 0xff000000000000ull), 0);
    CHECK(x86_wrmsr(&cpu, 0xc0000082, 0x100000000000000ull) < 0);
    x86_feat_set(&id, FEAT_la57, false);
    CHECK_EQ(x86_wrmsr(&cpu, 0xc0000082, 0xffffffff81000000ull), 0);
    CHECK_EQ(x86_wrmsr(&cpu, 0xc0000101, 0xffff888000000000ull), 0);
    CHECK_EQ(cpu.seg[X86_GS].base, 0xffff888000000000ull);
    CHECK(x86_rdmsr(&cpu, 0xc1, &v) < 0 && x86_rdmsr(&cpu, 0x186, &v) < 0 && x86_rdmsr(&cpu, 0x38f, &v) < 0);     /* counters are +pmu */
    CHECK_EQ(x86_rdmsr(&cpu, 0x277, &v), 0);
    CHECK_EQ(v, 0x0007040600070406ull);
    CHECK(x86_wrmsr(&cpu, 0x277, 2) < 0);
    CHECK(x86_rdmsr(&cpu, 0x12345, &v) < 0);
    CHECK(x86_wrmsr(&cpu, 0xfe, 0) < 0);
    CHECK_EQ(x86_wrmsr(&cpu, 0x201, 0x3ffff0000800ull), 0);
    CHECK(x86_wrmsr(&cpu, 0x201, 1ull << 50) < 0);
    CHECK_EQ(x86_wrmsr(&cpu, 0x40f, 0), 0);
    CHECK(x86_wrmsr(&cpu, 0x40d, 1) < 0);
}

/* No supervisor component: XSS holds zero, and is there only with XSAVES. */
TEST(msr_xss)
{
    uint64_t v = 1;
    fresh();
    if (!x86_has(&id, FEAT_xsave))
        SKIP("the host has no XSAVE");
    CHECK(x86_rdmsr(&cpu, 0xda0, &v) == 0 && v == 0);
    CHECK_EQ(x86_wrmsr(&cpu, 0xda0, 0), 0);
    CHECK(x86_wrmsr(&cpu, 0xda0, 1) < 0 && x86_wrmsr(&cpu, 0xda0, 1ull << 8) < 0);
    CHECK_EQ(x86_cpuid_model(&id, "max,-xsaves"), 0);
    CHECK(x86_rdmsr(&cpu, 0xda0, &v) < 0 && x86_wrmsr(&cpu, 0xda0, 0) < 0);
}

TEST(msr_efer)
{
    fresh();
    CHECK_EQ(x86_wrmsr(&cpu, 0xc0000080, EFER_SCE | EFER_LME | EFER_NXE), 0);
    CHECK(x86_wrmsr(&cpu, 0xc0000080, EFER_SVME) < 0);
    cpu.cr0 |= CR0_PG;
    CHECK(x86_wrmsr(&cpu, 0xc0000080, EFER_SCE | EFER_NXE) < 0);
}

/* Memory types are those there are; machine-check banks keep their controls, and their status is written with zero only. */
TEST(msr_memory_types_and_banks)
{
    uint64_t v;
    fresh();
    CHECK(!x86_rdmsr(&cpu, 0xfe, &v) && v == 0x508 && x86_wrmsr(&cpu, 0xfe, v) < 0);
    CHECK(!x86_wrmsr(&cpu, 0x2ff, 0xc06) && x86_wrmsr(&cpu, 0x2ff, 0xc02) < 0 && x86_wrmsr(&cpu, 0x2ff, 0x1000) < 0);
    CHECK(!x86_wrmsr(&cpu, 0x200, 0x80000006) && x86_wrmsr(&cpu, 0x200, 0x80000007) < 0 && x86_wrmsr(&cpu, 0x200, BIT(46)) < 0);
    CHECK(!x86_wrmsr(&cpu, 0x250, 0x0605040100060504ull) && x86_wrmsr(&cpu, 0x250, 0x0302000000000000ull) < 0);
    CHECK(!x86_rdmsr(&cpu, 0x179, &v) && (v & 0xff) == 10 && x86_wrmsr(&cpu, 0x179, v) < 0);
    CHECK(!x86_wrmsr(&cpu, 0x400, 5) && !x86_rdmsr(&cpu, 0x400, &v) && v == 5);
    CHECK(!x86_wrmsr(&cpu, 0x401, 0) && x86_wrmsr(&cpu, 0x401, 1) < 0 && x86_rdmsr(&cpu, 0x428, &v) < 0);
    CHECK(!x86_wrmsr(&cpu, 0x17b, ~0ull) && x86_wrmsr(&cpu, 0x17b, 1) < 0);
}

/* VM_CR: disabled for good without the feature; with it SVMDIS bars EFER.SVME, and LOCK holds it. */
TEST(msr_svm)
{
    uint64_t v;
    fresh();
    CHECK_EQ(x86_rdmsr(&cpu, 0xc0010114, &v), 0);
    CHECK_EQ(v, 0x10);
    CHECK_EQ(x86_cpuid_model(&id, "max,+svm"), 0);
    CHECK_EQ(x86_rdmsr(&cpu, 0xc0010114, &v), 0);
    CHECK_EQ(v, 0);
    CHECK_EQ(x86_wrmsr(&cpu, 0xc0000080, EFER_SVME), 0);
    CHECK(x86_wrmsr(&cpu, 0xc0010114, 0x10) < 0);
    CHECK_EQ(x86_wrmsr(&cpu, 0xc0000080, 0), 0);
    CHECK_EQ(x86_wrmsr(&cpu, 0xc0010114, 0x18), 0);
    CHECK(x86_wrmsr(&cpu, 0xc0000080, EFER_SVME) < 0);
    CHECK_EQ(x86_wrmsr(&cpu, 0xc0010114, 0), 0);
    CHECK_EQ(x86_rdmsr(&cpu, 0xc0010114, &v), 0);
    CHECK_EQ(v, 0x18);
    CHECK_EQ(x86_wrmsr(&cpu, 0xc0010117, 0x12345000), 0);
    CHECK(x86_wrmsr(&cpu, 0xc0010117, 0x12345678) < 0);
    CHECK_EQ(x86_rdmsr(&cpu, 0xc0010117, &v), 0);
    CHECK_EQ(v, 0x12345000);
}

TEST(msr_tsc)
{
    uint64_t v;
    fresh();
    CHECK_EQ(x86_wrmsr(&cpu, 0x10, 1ull << 50), 0);
    CHECK_EQ(x86_rdmsr(&cpu, 0x10, &v), 0);
    CHECK(v >= 1ull << 50 && v < (1ull << 50) + 100000000);
    CHECK_EQ(x86_wrmsr(&cpu, 0x3b, 0), 0);
    CHECK(x86_rdtsc(&cpu) < 1ull << 45);
    CHECK(x86_tsc_hz() > 100000000);
}

TEST(rflags_split)
{
    fresh();
    for (uint64_t f = 0; f < 4096; f++) {
        uint64_t want = (f & (RF_ARITH | RF_DF | RF_IF | RF_TF)) | 2;
        x86_set_rflags(&cpu, want);
        CHECK_EQ(x86_get_rflags(&cpu), want);
    }
}
