/* 32-bit code: what long mode has not got. */
#include "insn.h"

CASE32 pusha
    IN RAX, 0x11
    IN RCX, 0x22
    IN RDX, 0x33
    IN RBX, 0x44
    IN RBP, 0x55
    IN RSI, 0x66
    IN RDI, 0x77
DO32
    pusha
DONE
    OUT RSP, WINDOW_RSP - 32
    MEMOUT 0x17f8, 0x0000001100000022
    MEMOUT 0x17f0, 0x0000003300000044
    MEMOUT 0x17e8, 0x2000180000000055
    MEMOUT 0x17e0, 0x0000006600000077

CASE32 popa_skips_esp
    MEM 0x1800, 0x0000006600000077
    MEM 0x1808, 0xdeadbeef00000055
    MEM 0x1810, 0x0000003300000044
    MEM 0x1818, 0x0000001100000022
DO32
    popa
DONE
    OUT RAX, 0x11
    OUT RCX, 0x22
    OUT RDX, 0x33
    OUT RBX, 0x44
    OUT RBP, 0x55
    OUT RSI, 0x66
    OUT RDI, 0x77
    OUT RSP, WINDOW_RSP + 32

/* Processors have loaded some of the registers by then: here with what they are. */
CASE32 popa_over_page_end
    IN RBP, 0
    IN RSI, 0
    IN RDI, 0
    IN RSP, WINDOW + 0x1ff0
DO32
1:  popa
DONE
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2000

CASE32 pusha_to_nothing
    IN RSP, WINDOW + 0x3000
DO32
1:  pusha
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2ffc

CASE32 bound/inside
    IN RAX, -1
    MEM 0x100, 0x00000009fffffffe
DO32
    bound %eax, 0x20000100
DONE

CASE32 bound/outside
    IN RAX, 10
    MEM 0x100, 0x00000009fffffffe
DO32
1:  bound %eax, 0x20000100
DONE
    FAULT 5, 0, 1b

CASE32 into
    IN FLAGS, OF
DO32
    into
1:
DONE
    FAULT 4, 0, 1b

CASE32 into_without_overflow
DO32
    into
DONE

CASE32 aam_0
DO32
1:  aam $0
DONE
    FAULT 0, 0, 1b

CASE32 aam_16
    IN RAX, 0x7b
DO32
    aam $16
DONE
    OUT RAX, 0x70b
    OUT FLAGS, 0
    UNDEF CF | AF | OF

CASE32 daa
    IN RAX, 0x9a
DO32
    daa
DONE
    OUT RAX, 0
    OUT FLAGS, CF | AF | ZF | PF
    UNDEF OF

CASE32 das
    IN RAX, 0x9a
    IN FLAGS, AF
DO32
    das
DONE
    OUT RAX, 0x34
    OUT FLAGS, CF | AF
    UNDEF OF

CASE32 aaa
    IN RAX, 0x3ff
DO32
    aaa
DONE
    OUT RAX, 0x505
    OUT FLAGS, CF | AF
    UNDEF OF | SF | ZF | PF

CASE32 salc
    IN RAX, 0x1200
    IN FLAGS, CF
DO32
    .byte 0xd6
DONE
    OUT RAX, 0x12ff

CASE32 inc_is_not_rex
    IN RAX, 0xffffffff
    IN FLAGS, CF
DO32
    .byte 0x40
DONE
    OUT RAX, 0
    OUT FLAGS, CF | ZF | AF | PF

CASE32 arpl
    IN RAX, 0x50
    IN RBX, 3
DO32
    arpl %bx, %ax
DONE
    OUT RAX, 0x53
    OUT FLAGS, ZF

CASE32 arpl_writes_only_changes
    IN RBX, 0
    IN RDI, WINDOW + 0x3000
    IN FLAGS, CF | ZF
DO32
    arpl %bx, (%edi)
DONE
    OUT FLAGS, CF

CASE32 arpl_of_memory
    IN RBX, 3
    IN FLAGS, CF
    MEM 0x100, 0x5550
DO32
    arpl %bx, 0x20000100
DONE
    MEMOUT 0x100, 0x5553
    OUT FLAGS, CF | ZF

CASE32 arpl_to_read_only
    IN RBX, 1
    IN RDI, WINDOW + 0x3000
    IN FLAGS, CF
DO32
1:  arpl %bx, (%edi)
DONE
    FAULT 14, 7, 1b
    CR2 WINDOW + 0x3000

CASE32 alias_of_80
    IN RAX, 0xf0
DO32
    .byte 0x82, 0xc0, 0x10
DONE
    OUT RAX, 0
    OUT FLAGS, CF | ZF | PF

CASE32 addresses_of_16_bits
    IN RBX, 0x20000ffe
    IN RSI, 0x12340004
    IN RDI, 0x100
DO32
    addr16 lea (%bx, %si), %eax
    addr16 lea 0x7fff(%bx), %ecx
DONE
    OUT RAX, 0x1002
    OUT RCX, 0x8ffd

CASE32 enter_levels
    IN RBP, WINDOW + 0x1010
    MEM 0x1008, 0x0000222200001111
DO32
    enter $8, $3
DONE
    OUT RBP, WINDOW_RSP - 4
    OUT RSP, WINDOW_RSP - 4 - 12 - 8
    MEMOUT 0x17f8, 0x2000101000002222
    MEMOUT 0x17f0, 0x00001111200017fc


CASE32 pop_to_cs_is_gone
DO32
1:  .byte 0x66, 0x0f, 0xff, 0xc0
DONE
    FAULT 6, 0, 1b
