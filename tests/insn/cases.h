/* What both kits of cases share: the flags' names, and the records that only say a register or a place with a value. A kit defines its REC_ before it includes this. */
#ifndef TESTS_INSN_CASES_H
#define TESTS_INSN_CASES_H

#define CF 0x1
#define PF 0x4
#define AF 0x10
#define ZF 0x40
#define SF 0x80
#define DF 0x400
#define OF 0x800

#ifdef __ASSEMBLER__
    .macro IN reg, value:vararg
    record REC_IN, \reg, (\value), 0
    .endm
    .macro OUT reg, value:vararg
    record REC_OUT, \reg, (\value), 0
    .endm
    .macro MEM offset, value:vararg
    record REC_MEM, \offset, (\value), 0
    .endm
    .macro MEMOUT offset, value:vararg
    record REC_MEMOUT, \offset, (\value), 0
    .endm
    .macro UNDEF flags:vararg
    record REC_UNDEF, 0, (\flags), 0
    .endm
#endif
#endif
