/*
 * The kit of tests/insn. A case is a piece of code at user level, what it starts from, and what it must leave behind:
 *
 *     CASE name                  CASE32: in a 32-bit code segment of long mode
 *         IN RAX, 0x81           registers (RAX..R15, FLAGS); the others hold known values
 *         INX 3, lo, hi          XMM registers
 *         MEM 0x10, 0x1234       eight bytes at that offset of the window (below)
 *     DO
 *         rcrb $9, %al
 *     DONE                       (an INT3: how a case ends that does not fault)
 *         OUT RAX, 0x40          everything that is not listed must be as it was before: registers, flags, XMM registers, the window
 *         OUT FLAGS, CF | OF     the arithmetic flags and DF, all of them
 *         UNDEF OF               flags that the manual leaves undefined
 *         OUTX 3, lo, hi
 *         MEMOUT 0x10, 0x1234
 *         FAULT 14, 6, 1b        the vector, the error code, and the address of the faulting instruction
 *         CR2 address            of a page fault; CR2_IN first, last where processors differ
 *         NEED bit               CPUID features (NEED_...): elsewhere the case is skipped
 *         RING0, NOT_NATIVE, TASK_SWITCHED (CR0.TS is set), ALIGN_CHECK
 *
 * The window, at WINDOW below 4 GiB: page 0 and 1 plain, 2 absent, 3 read-only, 4 plain, 5 absent; the page before it is absent, too. All
 * plain pages hold zeros and can be executed. RSP is WINDOW + 1800h. The same records are read by two runners: native.c, on the host's own processor, and
 * tests/guest/kernels/insn64.c, a bare machine, under every engine. Both build run.h around a way to run a piece of code.
 */
#ifndef TESTS_INSN_INSN_H
#define TESTS_INSN_INSN_H

#define WINDOW 0x20000000
#define WINDOW_PAGES 6
#define WINDOW_RSP (WINDOW + 0x1800)

#define RAX 0
#define RCX 1
#define RDX 2
#define RBX 3
#define RSP 4
#define RBP 5
#define RSI 6
#define RDI 7
#define R8 8
#define R9 9
#define R10 10
#define R11 11
#define R12 12
#define R13 13
#define R14 14
#define R15 15
#define FLAGS 16

#define REC_BEGIN 1
#define REC_IN 2
#define REC_OUT 3
#define REC_INX 4
#define REC_OUTX 5
#define REC_MEM 6
#define REC_MEMOUT 7
#define REC_FAULT 8
#define REC_CR2 9
#define REC_UNDEF 10
#define REC_NEED 11
#define REC_ATTR 12
#define REC_END 13

#define ATTR_32 1
#define ATTR_RING0 2
#define ATTR_NOT_NATIVE 4
#define ATTR_TS 8
#define ATTR_AC 16

/* A feature: leaf 1 or 7, register (0 eax 1 ebx 2 ecx 3 edx), bit. */
#define NEED_FEATURE(leaf, reg, bit) ((leaf) << 16 | (reg) << 8 | (bit))
#define NEED_SSE42 NEED_FEATURE(1, 2, 20)
#define NEED_CX16 NEED_FEATURE(1, 2, 13)
#define NEED_AVX NEED_FEATURE(1, 2, 28)
#define NEED_BMI1 NEED_FEATURE(7, 1, 3)
#define NEED_AVX2 NEED_FEATURE(7, 1, 5)
#define NEED_BMI2 NEED_FEATURE(7, 1, 8)
#define NEED_ADX NEED_FEATURE(7, 1, 19)
#define NEED_AVX512F NEED_FEATURE(7, 1, 16)
#define NEED_AVX512BW NEED_FEATURE(7, 1, 30)

#include "tests/insn/cases.h"
#ifdef __ASSEMBLER__
    .macro record kind, index, a, b
    .pushsection insn_records, "a"
    .long \kind, \index
    .quad \a, \b
    .popsection
    .endm

    .macro CASE name
    record REC_BEGIN, 0, 770f, 771f
    .pushsection .rodata
770: .asciz "\name"
    .popsection
    .endm

    .macro CASE32 name
    CASE \name
    record REC_ATTR, ATTR_32, 0, 0
    .endm

    .macro DO
    .text
    .balign 64
771:
    .endm

    .macro DO32
    DO
    .code32
    .endm

    .macro DONE
772: int3
    .code64
    record REC_END, 0, 772b, 0
    .endm

    .macro INX reg, lo, hi
    record REC_INX, \reg, \lo, \hi
    .endm
    .macro OUTX reg, lo, hi
    record REC_OUTX, \reg, \lo, \hi
    .endm
    .macro FAULT vector, error, at
    record REC_FAULT, \vector, \error, \at
    .endm
    .macro CR2 address:vararg
    record REC_CR2, 0, (\address), 0
    .endm
    .macro CR2_IN first, last
    record REC_CR2, 1, (\first), (\last)
    .endm
    .macro NEED feature
    record REC_NEED, \feature, 0, 0
    .endm
    .macro RING0
    record REC_ATTR, ATTR_RING0 | ATTR_NOT_NATIVE, 0, 0
    .endm
    .macro NOT_NATIVE
    record REC_ATTR, ATTR_NOT_NATIVE, 0, 0
    .endm
    .macro TASK_SWITCHED
    record REC_ATTR, ATTR_TS | ATTR_NOT_NATIVE, 0, 0
    .endm
    .macro ALIGN_CHECK
    record REC_ATTR, ATTR_AC, 0, 0
    .endm
    .section .note.GNU-stack, "", @progbits
    .text
#else
struct insn_record { unsigned kind, index; unsigned long a, b; };
extern const struct insn_record __start_insn_records[], __stop_insn_records[];
#endif
#endif
