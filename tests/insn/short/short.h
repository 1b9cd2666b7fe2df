/*
 * The kit of tests/insn/short: cases of 16-bit code. Each is run in real mode and in a 16-bit segment of protected mode, and must end alike.
 *
 *     CASE name
 *         IN AX, 0x1234          registers (AX..DI: 32 bits; FLAGS); the others hold known values, SP is 8000h
 *         MEM 0x10, 0x1234       four bytes at that offset of the window
 *         AT 0xfff0              where in the code segment the code lies; 100h unless told
 *         HANDLER                at label 8: of INT 40h
 *     DO
 *         push %ax
 *     DONE                       (an INT3: how a case ends that does not fault)
 *         OUT SP, 0x7ffe         everything that is not listed must be as it was before: registers, arithmetic flags, segments, the window
 *         MEMOUT 0x7ffe, 0x1234
 *         UNDEF OF
 *         FAULT 13, 1b           the vector and the place; an error code must be 0
 *         FAULT_AT 13, 0         the same with an offset in the code segment
 *
 * Data segments are 3000h: the window, 64 KiB of zeros; CS is 2000h, 64 KiB of INT3 around the case's code. OFF(label) is an offset in it. In protected
 * mode these are selectors, of segments with the same bases. What is below the final SP is not looked at: the end's own frame lies there.
 * The runner is tests/guest/kernels/short32.c.
 */
#ifndef TESTS_INSN_SHORT_H
#define TESTS_INSN_SHORT_H

#define SHORT_TRAMPOLINE 0x10000         /* linear */
#define SHORT_CODE 0x20000
#define SHORT_WINDOW 0x30000
#define SHORT_START 0x100                /* where cases begin */
#define SHORT_SP 0x8000

#define AX 0
#define CX 1
#define DX 2
#define BX 3
#define SP 4
#define BP 5
#define SI 6
#define DI 7
#define FLAGS 8
#define ES 9
#define CS 10
#define SS 11
#define DS 12

#define REC_BEGIN 1
#define REC_IN 2
#define REC_OUT 3
#define REC_MEM 4
#define REC_MEMOUT 5
#define REC_FAULT 6
#define REC_FAULT_AT 7
#define REC_UNDEF 8
#define REC_AT 9
#define REC_HANDLER 10
#define REC_END 11

#include "tests/insn/cases.h"
#ifdef __ASSEMBLER__
    .macro record kind, index, a, b
    .pushsection short_records, "a"
    .long \kind, \index, \a, \b
    .popsection
    .endm

    .macro CASE name
    .set short_at, SHORT_START
    record REC_BEGIN, 0, 770f, 771f
    .pushsection .rodata
770: .asciz "\name"
    .popsection
    .endm

    .macro DO
    .text
    .code16
771:
    .endm

    .macro DONE
772: int3
    record REC_END, 0, 772b, 0
    .endm

    .macro AT offset
    .set short_at, \offset
    record REC_AT, 0, \offset, 0
    .endm
    .macro FAULT vector, at
    record REC_FAULT, \vector, \at, 0
    .endm
    .macro FAULT_AT vector, offset
    record REC_FAULT_AT, \vector, \offset, 0
    .endm
    .macro HANDLER
    record REC_HANDLER, 0, 8f, 0
    .endm
#define OFF(label) (label - 771b + short_at)
    .section .note.GNU-stack, "", @progbits
    .text
#else
struct short_record { unsigned kind, index, a, b; };
extern const struct short_record __start_short_records[], __stop_short_records[];

/* Filled before, and again after a case; lies at the start of the trampoline's segment. */
struct short_state { unsigned r[13], ip, vec, err; };
extern struct short_state short_state;               /* (the copy in the segment is used) */
extern unsigned char short_trampoline[], short_trampoline_end[];
extern unsigned long long short_gdt[];
void short_enter(int real);
#endif
#endif
