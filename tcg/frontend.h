/* What the translator asks of a guest. One instance for each guest ISA (frontend-x86/frontend.c: x86_frontend). */
#ifndef TCG_FRONTEND_H
#define TCG_FRONTEND_H
#include "softmmu/mmu.h"
#include "tcg/ir.h"

/* A block is found by where its bytes are, where it is seen, and the mode they were translated for. */
struct tb_key {
    uint64_t pc;             /* linear address of the first byte */
    uint64_t cs_base;        /* linear = cs_base + guest pc; 0 for flat code */
    uint32_t mode;           /* the frontend's bits */
};

struct ir_global { const char *name; uint32_t offset; uint8_t size; };   /* offset in the guest CPU state; size 8, or 4 / 2 zero-extended on use and never written by IR */

enum tcg_helper_flags {
    TCGH_REGS = 1,           /* compiled general-regs-only: the FPU may stay live */
    TCGH_PURE = 2,           /* touches no guest register or flag (may read others' state) and cannot fault: caller-saved registers only are kept */
    TCGH_FPU = 4,            /* wants the guest's FPU state in memory (saved before, and dead in the host registers after) */
};
struct tcg_helper { const char *name; void *fn; uint8_t n_args; bool has_result; uint8_t flags; };   /* uint64_t fn(cpu, a, b, c) */

enum tcg_host_fault { TCG_FAULT_DIV, TCG_FAULT_SIMD, TCG_FAULT_X87, TCG_FAULT_GP };

struct tcg_frontend {
    const char *name;
    const struct ir_global *globals; unsigned n_globals;
    const uint8_t *pin_order; unsigned n_pin;         /* globals in the order in which they deserve a host register */
    const struct tcg_helper *helpers; unsigned n_helpers;
    size_t cpu_size;
    /* Which of two generations of the code mapping (softmmu/mmu.c) holds for a pc: the second from upper[0] on, in modes with a bit of wide from upper[1] on. */
    uint32_t wide; uint64_t upper[2];
    uint32_t pc_offset;                               /* uint64_t pc in the CPU state */
    uint32_t fpu_offset;                              /* 64-byte aligned XSAVE area (standard format) in the CPU state */
    uint32_t xcr0_offset;                             /* uint64_t in the CPU state: components of the area beyond the first three are the guest's when set */

    uint64_t (*opmask)(void *cpu, unsigned n);        /* opmask register n of the saved FPU state */
    void (*get_key)(void *cpu, struct tb_key *);      /* [regs] */
    /* Build the block at KEY, at most MAX guest instructions. Fetches by mmu_code_page; a fetch fault on the first instruction raises,
       on a later one ends the block before it. */
    void (*translate)(void *cpu, struct mmu *, const struct tb_key *, unsigned max, struct ir_block *);
    /* The run loop, at an instruction boundary with exact state: deliver what is pending (exceptions recorded by faults, NMI, interrupts,
       INIT...). true: the vCPU may run; false: halted, wait. */
    bool (*deliver)(void *cpu);
    /* A host trap inside translated code, at an exact instruction: record the guest exception it stands for; the unwind follows. */
    void (*host_fault)(void *cpu, enum tcg_host_fault);
    void (*given_up)(void *cpu);                      /* [regs] the instruction under way raises, or begins anew: nothing of it has been done */
    /* Of the x87 instruction at PC, which accessed linear address VA if any: its opcode, and when it has an operand in memory that one's offset. */
    void (*x87_insn)(void *cpu, uint64_t pc, uint64_t va, uint16_t *op, uint64_t *off);
    int (*disas)(void *cpu, const struct tb_key *, uint64_t pc, const uint8_t *bytes, unsigned len, char *out, size_t outlen);   /* length or -1 */
};
#endif
