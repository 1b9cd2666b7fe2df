/*
 * RSM with a map that no processor can be in the state of: the machine shuts down, which resets it. Memory stays and tells how far the list has come.
 * First the same way with a possible change. APM vol. 2 ch. 10.3, SDM vol. 3 ch. 34.4.1.
 */
#define SMM_OWN_MAIN
#include "smm.h"

#define STAGE (*(volatile u32 *)0x3f00000)
#define MAGIC 0x534d4d00u

static const struct { u32 at, value; const char *name; } bad[] = {
    { 0xff58, 0x80000010, "paging_without_protection" }, { 0xff58, 0x20000011, "NW_without_CD" }, { 0xff5c, 1, "CR0_upper_half" },
    { 0xff48, 0x80000020, "reserved_bit_of_CR4" }, { 0xff48, 0, "long_mode_without_PAE" }, { 0xfed0, 0x502, "reserved_bit_of_EFER" },
    { 0xfed0, 0x100, "LMA_clear_with_LME_and_paging" }, { 0xfed0, 0x400, "LMA_without_LME" }, { 0xff70, 0, "RFLAGS_without_bit_1" } };

static void poke(u32 at, u32 value)
{
    box->at = at;
    box->value = value;
    go(apm, POKE);
}

static void possible(void)
{
    poke(0xfff8, 0x99); EXPECT_END(); EQ(last.ax, 0x99); EQ(box->count, 1);
}

int main(void);
int main(void)
{
    install();
    pci_put(0x0b5b, pci_get(0x0b5b) | 2);
    outl(0x628, inl(0x628) | 1);
    if (STAGE - MAGIC > sizeof bad / sizeof *bad) {
        STAGE = MAGIC;
        RUN(possible);
    } else {
        put("ok "), put(bad[STAGE - MAGIC - 1].name), put("\n");
    }
    if (STAGE - MAGIC == sizeof bad / sizeof *bad)
        finish();
    STAGE++;
    test_name = bad[STAGE - MAGIC - 1].name;
    poke(bad[STAGE - MAGIC - 1].at, bad[STAGE - MAGIC - 1].value);
    failed_at(__LINE__, "it went on", 1, 0);
    finish();
}
