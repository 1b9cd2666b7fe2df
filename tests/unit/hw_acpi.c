/*
 * ACPI tables: found by scan rules, checksums, and the DSDT disassembles and recompiles with iasl where it is installed.
 */
#include "tests/unit/test.h"
#include "vmm/acpi.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct acpi_config config = { .n_cpus = 4, .pci_mem_base = 0xc0000000u, .pci_mem_end = 0xfec00000u, .pci_mem64_base = 1ull << 40,
                                           .pci_mem64_end = 1ull << 41, .hpet = true, .com1 = true, .com2 = true, .i8042 = true };

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t s = 0;
    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

TEST(acpi_checksums)
{
    struct acpi_blob b;
    uint32_t rsdt, len, table;
    CHECK_EQ(acpi_build(&config, &b), 0);
    CHECK(!memcmp(b.data, "RSD PTR ", 8));
    CHECK_EQ(sum(b.data, 20), 0);
    CHECK_EQ(sum(b.data, 36), 0);
    memcpy(&rsdt, b.data + 16, 4);
    rsdt -= b.addr;
    memcpy(&len, b.data + rsdt + 4, 4);
    CHECK_EQ(len, 36 + 12);
    CHECK_EQ(sum(b.data + rsdt, len), 0);
    for (int i = 0; i < 3; i++) {
        memcpy(&table, b.data + rsdt + 36 + 4 * i, 4);
        memcpy(&len, b.data + table - b.addr + 4, 4);
        CHECK_EQ(sum(b.data + table - b.addr, len), 0);
    }
    free(b.data);
}

TEST(acpi_refuses_nonsense)
{
    struct acpi_config c = config;
    struct acpi_blob b;
    c.n_cpus = 0;
    CHECK(acpi_build(&c, &b) < 0);
    c = config;
    c.load_addr = 0xffff0;
    CHECK(acpi_build(&c, &b) < 0);
}

TEST(acpi_dsdt_compiles)
{
    struct acpi_blob b;
    char dir[] = "/tmp/duet-acpi-XXXXXX", path[64], cmd[256];
    if (system("command -v iasl >/dev/null 2>&1"))
        SKIP("iasl is not installed");
    CHECK_EQ(acpi_build(&config, &b), 0);
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/dsdt.aml", dir);
    FILE *f = fopen(path, "w");
    CHECK(f && fwrite(b.data + b.dsdt_offset, 1, b.dsdt_len, f) == b.dsdt_len);
    fclose(f);
    snprintf(cmd, sizeof(cmd), "cd %s && iasl -d dsdt.aml >d.log 2>&1 && iasl dsdt.dsl >c.log 2>&1 && grep -q ' 0 Errors' c.log", dir);
    CHECK_EQ(system(cmd), 0);
    snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
    CHECK_EQ(system(cmd), 0);
    free(b.data);
}
