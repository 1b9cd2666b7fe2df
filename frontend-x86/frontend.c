/*
 * The x86 as the translator sees it: one struct tcg_frontend that names our stages.
 *
 * Pins: the registers in the order in which they deserve a host register (compilers' habits: rax, rsp, argument registers, rbx, rbp...).
 * host_fault says which guest exception a trap of translated code stands for. No state, no locks.
 */
#include "frontend-x86/helper_fpu.h"
#include "frontend-x86/frontend.h"
#include "frontend-x86/deliver.h"
#include "frontend-x86/gen.h"
#include "frontend-x86/raise.h"
#include "tcg/env.h"

static const uint8_t pin_order[] = { X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI, X86_R8, X86_R9, X86_R12, X86_R13,
                                     X86_R14, X86_R15, X86_R10, X86_R11 };

static __attribute__((target("general-regs-only"))) void get_key(void *cpu, struct tb_key *key)
{
    x86_get_key(cpu, key);
}

/* CR0.NE clear: the error is for the board to see (hw/misc/ferr.c). */
static void x87_error(struct x86_cpu *cpu)
{
    if (cpu->cr0 & CR0_NE)
        x86_record(cpu, X86_MF);
    else
        cpu->x87_wait = true;
}

static void host_fault(void *cpu, enum tcg_host_fault what)
{
    switch (what) {
    case TCG_FAULT_DIV: x86_record(cpu, X86_DE); break;
    case TCG_FAULT_SIMD: x86_record(cpu, ((struct x86_cpu *)cpu)->cr4 & CR4_OSXMMEXCPT ? X86_XM : X86_UD); break;
    case TCG_FAULT_X87: x87_error(cpu); break;
    case TCG_FAULT_GP: x86_record_err(cpu, X86_GP, 0); break;
    }
}

enum x86_status x86_decode_at(struct x86_cpu *cpu, uint64_t pc, struct x86_insn *i)
{
    bool wide = x86_code64(cpu);
    uint8_t b[15] = { 0 };
    uint64_t at = wide ? pc : (uint32_t)(pc + cpu->seg[X86_CS].base);
    for (unsigned n = 0; n < 15; n++)
        if (mmu_peek_mem(tcg_env_of(cpu)->mmu, at + n, b + n, 1))
            break;
    return x86_decode(i, b, 15, wide ? X86_M64 : cpu->seg[X86_CS].attr & SEG_DB ? X86_M32 : X86_M16);
}

/* Of the x87's pointers (tcg/frontend.h). */
static void x87_insn(void *opaque, uint64_t pc, uint64_t va, uint16_t *op, uint64_t *off)
{
    struct x86_cpu *cpu = opaque;
    bool wide = x86_code64(cpu);
    struct x86_insn i;
    if (x86_decode_at(cpu, pc, &i) != X86_OK)
        return;
    *op = (uint16_t)((i.opcode & 7) << 8 | i.modrm);
    if (!i.n_opnd || i.o[0].kind != OK_MEM)
        return;
    bool based = !wide || i.mem.seg == X86_FS || i.mem.seg == X86_GS;
    *off = va - (based && i.mem.seg < X86_SEGS ? cpu->seg[i.mem.seg].base : 0);
    if (!wide)
        *off = (uint32_t)*off;
}

static void given_up(void *opaque)
{
    struct x86_cpu *cpu = opaque;
    cpu->pmu.open = 0;
}

static int disas(void *cpu, const struct tb_key *key, uint64_t pc, const uint8_t *bytes, unsigned len, char *out, size_t outlen)
{
    struct x86_insn insn;
    enum x86_mode mode = key->mode & XM_CODE64 ? X86_M64 : key->mode & XM_CODE32 ? X86_M32 : X86_M16;
    if (x86_decode(&insn, bytes, len, mode) != X86_OK || x86_disas(&insn, pc, out, outlen) < 0)
        return -1;
    return insn.len;
}

const struct tcg_frontend x86_frontend = {
    .name = "x86",
    .globals = x86_globals,
    .n_globals = XG_OPEN + 1,
    .pin_order = pin_order,
    .n_pin = ARRAY_SIZE(pin_order),
    .helpers = x86_helpers,
    .n_helpers = H_COUNT,
    .cpu_size = sizeof(struct x86_cpu),
    .wide = XM_LMA, .upper = { 0xc0000000, 1ull << 63 },
    .pc_offset = offsetof(struct x86_cpu, rip),
    .fpu_offset = offsetof(struct x86_cpu, fpu),
    .xcr0_offset = offsetof(struct x86_cpu, xcr0),
    .opmask = x86_opmask,
    .get_key = get_key,
    .translate = x86_translate,
    .deliver = x86_deliver,
    .host_fault = host_fault,
    .given_up = given_up,
    .x87_insn = x87_insn,
    .disas = disas,
};
