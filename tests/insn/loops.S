/* Loops long enough to be hot, for what is left behind when they end. */
#include "insn.h"

/* The carry of the last turn, kept by DEC, is asked for behind an access that needs a check; by nobody but a fault. */
CASE loop/carry_kept_by_dec
    IN R8, 200
    IN RAX, 0xffffff38
    IN RBX, WINDOW + 0x108
    IN RCX, 200
    INX 1, 0, 0
    MEM 0x100, 0x0000000100000001
    MEM 0x1000, 1
DO
1:  sub $1, %r8
    add 0x20001000, %eax
    paddd 0x20000100, %xmm1
    dec %rcx
    jg 1b
    mov (%rbx), %esi
2:  movaps (%rbx), %xmm2
DONE
    FAULT 13, 0, 2b
    OUT R8, 0
    OUT RAX, 0
    OUT RCX, 0
    OUT RSI, 0
    OUTX 1, 0x000000c8000000c8, 0
    OUT FLAGS, CF | ZF | PF

CASE loop/carry_kept_by_inc
    IN R8, 200
    IN RAX, 0xffffff38
    IN RBX, WINDOW + 0x108
    IN RCX, -200
    INX 1, 0, 0
    MEM 0x100, 0x0000000100000001
    MEM 0x1000, 1
DO
1:  sub $1, %r8
    add 0x20001000, %eax
    paddd 0x20000100, %xmm1
    inc %rcx
    jl 1b
    movups (%rbx), %xmm2
DONE
    OUT R8, 0
    OUT RAX, 0
    OUT RCX, 0
    OUTX 1, 0x000000c8000000c8, 0
    OUTX 2, 0, 0
    OUT FLAGS, CF | ZF | PF | AF
