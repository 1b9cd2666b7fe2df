/*
 * Host code cut into instructions, by capstone: for traces of emitted code and for -d count. The library is loaded when it is first asked for: its
 * tables are most of what the dynamic linker would have to relocate at each start of the program. vCPU thread only.
 */
#include "backend-x86_64/x64.h"
#include "core/log.h"
#include <capstone/capstone.h>
#include <dlfcn.h>
#include <stdio.h>

#define TEXT_OF(x) #x
#define LIBRARY(major) "libcapstone.so." TEXT_OF(major)

static struct {
    __typeof__(cs_open) *open;
    __typeof__(cs_option) *option;
    __typeof__(cs_disasm) *disasm;
    __typeof__(cs_free) *free;
    __typeof__(cs_close) *close;
} capstone;

static void *symbol(void *lib, const char *name, bool *all)
{
    void *p = dlsym(lib, name);
    *all = *all && p;
    return p;
}

static bool loaded(void)
{
    static bool tried, all;
    void *lib = tried ? NULL : dlopen(LIBRARY(CS_API_MAJOR), RTLD_NOW | RTLD_LOCAL);

    if (!tried && lib) {
        all = true;
        capstone.open = symbol(lib, "cs_open", &all);
        capstone.option = symbol(lib, "cs_option", &all);
        capstone.disasm = symbol(lib, "cs_disasm", &all);
        capstone.free = symbol(lib, "cs_free", &all);
        capstone.close = symbol(lib, "cs_close", &all);
    }
    if (!tried && !all)
        log_warn("no %s: emitted code is neither shown nor counted", LIBRARY(CS_API_MAJOR));
    tried = true;
    return all;
}

int x64_each_insn(const uint8_t *code, size_t len, uint64_t addr, void (*each)(void *opaque, uint64_t addr, const char *text), void *opaque)
{
    csh h;
    cs_insn *insn;
    char text[256];

    if (!loaded() || capstone.open(CS_ARCH_X86, CS_MODE_64, &h) != CS_ERR_OK)
        return -1;
    capstone.option(h, CS_OPT_SKIPDATA, CS_OPT_ON);      /* an instruction it does not know may not end the list */
    size_t n = capstone.disasm(h, code, len, addr, 0, &insn);
    for (size_t i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "%s %s", insn[i].mnemonic, insn[i].op_str);
        each(opaque, insn[i].address, text);
    }
    if (n)
        capstone.free(insn, n);
    capstone.close(&h);
    return (int)n;
}
