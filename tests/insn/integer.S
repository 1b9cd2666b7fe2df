/* Integer instructions at their edges: counts that are masked away, results of 32 bits, comparisons that write all the same. */
#include "insn.h"

CASE shift/count_0_keeps_flags
    IN RCX, 0x40
    IN RAX, 0x123456789abcdef0
    IN FLAGS, CF | OF | AF | PF | SF
DO
    shl %cl, %rax
    sar %cl, %rax
    ror %cl, %rax
DONE

CASE shift/count_32_clears_upper_half
    IN RCX, 0x20
    IN RAX, 0x123456789abcdef0
    IN RDX, 0x123456789abcdef0
    IN FLAGS, CF | ZF
DO
    shr %cl, %eax
    shld $32, %ebx, %edx
DONE
    OUT RAX, 0x9abcdef0
    OUT RDX, 0x9abcdef0

CASE shift/sar_byte_by_31
    IN RAX, 0x80
DO
    sarb $31, %al
DONE
    OUT RAX, 0xff
    OUT FLAGS, CF | SF | PF
    UNDEF AF | OF

CASE shift/rol_byte_by_8_sets_carry
    IN RAX, 0x81
DO
    rolb $8, %al
DONE
    OUT FLAGS, CF
    UNDEF OF

CASE shift/shl_by_1_overflow
    IN RAX, 0x4000000000000000
DO
    shl $1, %rax
DONE
    OUT RAX, 0x8000000000000000
    OUT FLAGS, OF | SF | PF
    UNDEF AF

CASE cmov/false_clears_upper_half
    IN RAX, 0x123456789abcdef0
    IN FLAGS, ZF
DO
    cmovnz %ebx, %eax
DONE
    OUT RAX, 0x9abcdef0

CASE cmov/false_reads_memory
    IN RDI, WINDOW + 0x2000
DO
1:  cmovz (%rdi), %eax
DONE
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2000

CASE xchg/nop_is_no_xchg
    IN RAX, 0x123456789abcdef0
DO
    .byte 0x90
DONE

CASE xchg/eax_eax_is_one
    IN RAX, 0x123456789abcdef0
DO
    .byte 0x87, 0xc0
DONE
    OUT RAX, 0x9abcdef0

CASE xchg/nop_with_rex_b
    IN RAX, 1
    IN R8, 2
DO
    .byte 0x49, 0x90
DONE
    OUT RAX, 2
    OUT R8, 1

CASE cmpxchg/unequal_writes
    IN RAX, 1
    IN RDI, WINDOW + 0x3000
DO
1:  cmpxchg %ebx, (%rdi)
DONE
    FAULT 14, 7, 1b
    CR2 WINDOW + 0x3000

CASE cmpxchg/unequal
    IN RAX, 0xffffffff00000001
    MEM 0x20, 0x1122334455667788
DO
    movl $0x20000020, %edi
    lock cmpxchg %ebx, (%rdi)
DONE
    OUT RDI, 0x20000020
    OUT RAX, 0x55667788
    OUT FLAGS, CF | AF | SF

CASE cmpxchg/equal
    IN RAX, 0xffffffff55667788
    IN RBX, 0x99
    MEM 0x20, 0x1122334455667788
DO
    movl $0x20000020, %edi
    cmpxchg %ebx, (%rdi)
DONE
    OUT RDI, 0x20000020
    MEMOUT 0x20, 0x1122334400000099
    OUT FLAGS, ZF | PF

CASE cmpxchg16b/equal
    NEED NEED_CX16
    IN RAX, 0x1111
    IN RDX, 0x2222
    IN RBX, 0x3333
    IN RCX, 0x4444
    IN RDI, WINDOW + 0x30
    IN FLAGS, CF | OF
    MEM 0x30, 0x1111
    MEM 0x38, 0x2222
DO
    lock cmpxchg16b (%rdi)
DONE
    MEMOUT 0x30, 0x3333
    MEMOUT 0x38, 0x4444
    OUT FLAGS, CF | OF | ZF

CASE cmpxchg16b/unaligned
    NEED NEED_CX16
    IN RDI, WINDOW + 0x38
DO
1:  cmpxchg16b (%rdi)
DONE
    FAULT 13, 0, 1b

CASE cmpxchg16b/unequal_on_read_only
    NEED NEED_CX16
    IN RDI, WINDOW + 0x3ff0
DO
1:  cmpxchg16b (%rdi)
DONE
    FAULT 14, 7, 1b
    CR2 WINDOW + 0x3ff0

CASE cmpxchg8b/over_page_end
    IN RDI, WINDOW + 0x1ffc
DO
1:  cmpxchg8b (%rdi)
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2000

CASE divide/by_zero
    IN RCX, 0
DO
1:  div %rcx
DONE
    FAULT 0, 0, 1b

CASE divide/smallest_by_minus_one
    IN RAX, 0x8000000000000000
    IN RDX, -1
    IN RCX, -1
DO
1:  idiv %rcx
DONE
    FAULT 0, 0, 1b

CASE divide/quotient_too_large
    IN RAX, 0
    IN RDX, 2
    IN RCX, 2
DO
1:  divl %ecx
DONE
    FAULT 0, 0, 1b

CASE bits/string_before_operand
    IN RAX, -1
    MEM 0x38, 0
DO
    movl $0x20000040, %edi
    lock bts %rax, (%rdi)
DONE
    OUT RDI, 0x20000040
    MEMOUT 0x38, 0x8000000000000000
    OUT FLAGS, 0
    UNDEF OF | SF | ZF | AF | PF

CASE bits/immediate_wraps
    MEM 0x40, 0
DO
    btsl $35, 0x20000040
DONE
    MEMOUT 0x40, 8
    OUT FLAGS, 0
    UNDEF OF | SF | ZF | AF | PF

CASE stack/push_rsp
DO
    push %rsp
    pop %rax
DONE
    OUT RAX, WINDOW_RSP
    MEMOUT 0x17f8, WINDOW_RSP

CASE stack/pop_rsp
    MEM 0x1800, 0x1234
DO
    pop %rsp
DONE
    OUT RSP, 0x1234

CASE stack/pop_above_itself
    MEM 0x1800, 0x77
DO
    pop 8(%rsp)
DONE
    OUT RSP, WINDOW_RSP + 8
    MEMOUT 0x1810, 0x77

CASE stack/push_below_itself
    MEM 0x1800, 0x77
DO
    push (%rsp)
DONE
    OUT RSP, WINDOW_RSP - 8
    MEMOUT 0x17f8, 0x77

CASE stack/word_in_long_mode
    IN RAX, 0x4321
DO
    pushw %ax
    popw %cx
    pushw $-2
DONE
    OUT RSP, WINDOW_RSP - 2
    OUT RCX, 0xa1a1a1a1a1a14321
    MEMOUT 0x17f8, 0xfffe000000000000

CASE string/rep_0_at_nothing
    IN RCX, 0
    IN RSI, 0
    IN RDI, 0
DO
    rep movsb
    rep stosq
    repne scasb
DONE

CASE string/cmps_stops
    IN RCX, 10
    IN RSI, WINDOW + 0x100
    IN RDI, WINDOW + 0x200
    MEM 0x100, 0x0000050403020100
    MEM 0x200, 0x0000090403020100
DO
    repe cmpsb
DONE
    OUT RCX, 4
    OUT RSI, WINDOW + 0x106
    OUT RDI, WINDOW + 0x206
    OUT FLAGS, CF | AF | SF | PF
