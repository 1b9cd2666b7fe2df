/* Faults in the middle of instructions that access several places: no register has changed, and where the manual says so no memory either. */
#include "insn.h"

CASE fault/movs_second_page_absent
    IN RCX, 0x20
    IN RSI, WINDOW + 0x1000
    IN RDI, WINDOW + 0x1ff0
    MEM 0x1000, 0x0706050403020100
    MEM 0x1008, 0x0f0e0d0c0b0a0908
DO
1:  rep movsb
DONE
    OUT RCX, 0x10
    OUT RSI, WINDOW + 0x1010
    OUT RDI, WINDOW + 0x2000
    MEMOUT 0x1ff0, 0x0706050403020100
    MEMOUT 0x1ff8, 0x0f0e0d0c0b0a0908
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2000

CASE fault/movs_source_absent
    IN RCX, 4
    IN RSI, WINDOW + 0x1ff0
    IN RDI, WINDOW + 0x100
    MEM 0x1ff0, 0x1111111111111111
    MEM 0x1ff8, 0x2222222222222222
DO
1:  rep movsq
DONE
    OUT RCX, 2
    OUT RSI, WINDOW + 0x2000
    OUT RDI, WINDOW + 0x110
    MEMOUT 0x100, 0x1111111111111111
    MEMOUT 0x108, 0x2222222222222222
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2000

CASE fault/movs_downwards
    IN RCX, 4
    IN RSI, WINDOW + 0x108
    IN RDI, WINDOW + 0x8
    IN FLAGS, DF
    MEM 0x108, 0x1111111111111111
    MEM 0x100, 0x2222222222222222
DO
1:  rep movsq
DONE
    OUT RCX, 2
    OUT RSI, WINDOW + 0xf8
    OUT RDI, WINDOW - 8
    MEMOUT 0x8, 0x1111111111111111
    MEMOUT 0x0, 0x2222222222222222
    FAULT 14, 6, 1b
    CR2 WINDOW - 8

CASE fault/movsq_over_page_end
    IN RSI, WINDOW + 0x100
    IN RDI, WINDOW + 0x1ffc
    MEM 0x100, -1
DO
1:  movsq
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2000

CASE fault/stos_to_read_only
    IN RCX, 3
    IN RDI, WINDOW + 0x3000
DO
1:  rep stosl
DONE
    FAULT 14, 7, 1b
    CR2 WINDOW + 0x3000

CASE fault/scas_runs_into_nothing
    IN RAX, 0
    IN RCX, 0x100
    IN RDI, WINDOW + 0x1ffc
DO
1:  repe scasb
DONE
    OUT RCX, 0xfc
    OUT RDI, WINDOW + 0x2000
    OUT FLAGS, ZF | PF
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2000

CASE fault/xchg
    IN RDI, WINDOW + 0x1ffd
DO
1:  xchg %eax, (%rdi)
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2000

CASE fault/xadd
    IN RDI, WINDOW + 0x3008
DO
1:  lock xadd %rax, (%rdi)
DONE
    FAULT 14, 7, 1b
    CR2 WINDOW + 0x3008

CASE fault/pop_to_absent
    MEM 0x1800, 0x55
    IN RDI, WINDOW + 0x2000
DO
1:  pop (%rdi)
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2000

CASE fault/push_of_absent
    IN RDI, WINDOW + 0x2000
DO
1:  push (%rdi)
DONE
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2000

CASE fault/push_to_read_only
    IN RSP, WINDOW + 0x3010
DO
1:  push %rax
DONE
    FAULT 14, 7, 1b
    CR2 WINDOW + 0x3008

CASE fault/call_through_bad_stack
    IN RSP, WINDOW + 0x3000
    IN RAX, 0x1234
DO
1:  call *%rax
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2ff8

CASE fault/ret_from_absent
    IN RSP, WINDOW + 0x2000
DO
1:  ret
DONE
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2000

CASE fault/enter_below_window
    IN RSP, WINDOW + 0x8
    IN RBP, WINDOW + 0x1f0
DO
1:  enter $0x10, $0
DONE
    FAULT 14, 6, 1b
    CR2_IN 0x1ffffff0, 0x1ffffff8
    MEMOUT 0, WINDOW + 0x1f0

CASE fault/leave
    IN RBP, WINDOW + 0x2000
DO
1:  leave
DONE
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2000

CASE fault/not_canonical
    IN RDI, 0x800000000000
DO
1:  mov (%rdi), %eax
DONE
    FAULT 13, 0, 1b

CASE fault/not_canonical_stack
    IN RBP, 0x800000000000
DO
1:  mov (%rbp), %eax
DONE
    FAULT 12, 0, 1b

CASE fault/push_not_canonical
    IN RSP, 0xffff7fffffffff00
DO
1:  push %rax
DONE
    FAULT 12, 0, 1b

CASE fault/over_the_last_canonical
    IN RDI, 0x7ffffffffffc
DO
1:  mov (%rdi), %rax
DONE
    FAULT 13, 0, 1b

CASE fault/fetch_over_page_end
    IN RAX, WINDOW + 0x1ffd
    MEM 0x1ff8, 0x0000b8cccccccccc
DO
    jmp *%rax
DONE
    FAULT 14, 0x14, WINDOW + 0x1ffd
    CR2 WINDOW + 0x2000

CASE fault/fetch_of_a_whole_instruction
    IN RAX, WINDOW + 0x1ffe
    MEM 0x1ff8, 0xcc90cccccccccccc
DO
    jmp *%rax
DONE
    FAULT 3, 0, WINDOW + 0x1fff

CASE fault/unaligned_sse
    IN RDI, WINDOW + 0x108
DO
1:  movaps (%rdi), %xmm1
DONE
    FAULT 13, 0, 1b

CASE fault/unaligned_sse_before_page_fault
    IN RDI, WINDOW + 0x2008
DO
1:  addps (%rdi), %xmm1
DONE
    FAULT 13, 0, 1b

CASE fault/movups_over_page_end
    IN RDI, WINDOW + 0x1ff8
DO
1:  movups %xmm1, (%rdi)
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2000

CASE fault/movhps_keeps_register
    IN RDI, WINDOW + 0x2000
DO
1:  movhps (%rdi), %xmm1
DONE
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2000

CASE fault/fistp_keeps_the_stack
    IN RDI, WINDOW + 0x3000
DO
    fld1
1:  fistpl (%rdi)
DONE
    FAULT 14, 7, 1b
    CR2 WINDOW + 0x3000

CASE fault/fxsave_over_page_end
    IN RDI, WINDOW + 0x1f00
DO
1:  fxsave (%rdi)
DONE
    FAULT 14, 6, 1b
    CR2_IN WINDOW + 0x2000, WINDOW + 0x20ff

CASE fault/fxsave_unaligned
    IN RDI, WINDOW + 0x108
DO
1:  fxsave (%rdi)
DONE
    FAULT 13, 0, 1b

CASE fault/align_check
    ALIGN_CHECK
    IN RDI, WINDOW + 0x101
DO
    movb (%rdi), %al
1:  movl (%rdi), %ecx
DONE
    OUT RAX, 0xa0a0a0a0a0a0a000
    FAULT 17, 0, 1b

CASE fault/align_check_aligned
    ALIGN_CHECK
    IN RDI, WINDOW + 0x104
DO
    movl (%rdi), %ecx
    push %rcx
DONE
    OUT RCX, 0
    OUT RSP, WINDOW_RSP - 8

CASE fault/maskmov_selects_nothing_absent
    NEED NEED_AVX
    IN RDI, WINDOW + 0x1ff8
    INX 1, 0x8000000080000000, 0
    INX 2, 0x1111111122222222, 0x3333333344444444
DO
    vmaskmovps %xmm2, %xmm1, (%rdi)
    vmaskmovps (%rdi), %xmm1, %xmm3
DONE
    MEMOUT 0x1ff8, 0x1111111122222222
    OUTX 3, 0x1111111122222222, 0

CASE fault/maskmov_selects_absent
    NEED NEED_AVX
    IN RDI, WINDOW + 0x1ff8
    INX 1, 0x8000000080000000, 0x80000000
    INX 2, 0x1111111122222222, 0x3333333344444444
DO
1:  vmaskmovps %xmm2, %xmm1, (%rdi)
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2000

/* Elements before the one that faults are done: their masks are clear, their values there. */
CASE fault/gather_in_order
    NEED NEED_AVX2
    IN RDI, WINDOW + 0x1ff4
    INX 1, 0x0000000400000000, 0x0000000c00000008
    INX 2, -1, -1
    INX 3, 0, 0
    MEM 0x1ff0, 0x1111111100000000
    MEM 0x1ff8, 0x3333333322222222
DO
1:  vpgatherdd %xmm2, (%rdi, %xmm1), %xmm3
DONE
    OUTX 2, 0, 0xffffffff00000000
    OUTX 3, 0x2222222211111111, 0x0000000033333333
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2000
