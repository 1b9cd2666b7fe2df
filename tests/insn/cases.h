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
#define PLACED(name, rec) .macro name place, value:vararg ; record rec, \place, (\value), 0 ; .endm
    PLACED(IN, REC_IN)
    PLACED(OUT, REC_OUT)
    PLACED(MEM, REC_MEM)
    PLACED(MEMOUT, REC_MEMOUT)
    .macro UNDEF flags:vararg
    record REC_UNDEF, 0, (\flags), 0
    .endm
#endif
#endif
