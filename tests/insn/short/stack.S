/* 16-bit stacks: SP wraps, ESP's upper half stays; calls, interrupts and returns of both operand sizes. */
#include "short.h"

CASE push_wraps
    IN SP, 0x12340000
DO
    push %ax
DONE
    OUT SP, 0x1234fffe
    MEMOUT 0xfffc, 0xa0a00000

CASE pop_wraps
    IN SP, 0x1234fffe
    MEM 0xfffc, 0xbeef0000
DO
    pop %bx
DONE
    OUT SP, 0x12340000
    OUT BX, 0xa3a3beef

CASE pushl_and_popl
DO
    pushl %eax
    pushl $-2
    pushw $-3
    popw %bx
    popl %ecx
    popl %edx
    pushl %ecx
DONE
    OUT BX, 0xa3a3fffd
    OUT CX, -2
    OUT DX, 0xa0a0a0a0
    OUT SP, 0x7ffc
    MEMOUT 0x7ffc, -2

CASE push_sp_is_the_old_one
DO
    push %sp
    pushl %esp
    popl %eax
    pop %bx
    pushw $0x1234
    pop %sp
    mov %sp, %cx
    mov $0x8000, %sp
DONE
    OUT AX, 0x7ffe
    OUT BX, 0xa3a38000
    OUT CX, 0xa1a11234

CASE pusha_wraps
    IN SP, 8
DO
    pusha
DONE
    OUT SP, 0xfff8
    MEMOUT 0xfff8, 0xa6a6a7a7
    MEMOUT 0xfffc, 0x0008a5a5
    MEMOUT 0, 0xa2a2a3a3
    MEMOUT 4, 0xa0a0a1a1

CASE pushal
DO
    pushal
    mov $1, %ecx
    mov $1, %edi
    popal
    sub $32, %sp
DONE
    OUT SP, 0x7fe0
    OUT FLAGS, OF
    MEMOUT 0x7fe0, 0xa7a7a7a7
    MEMOUT 0x7fe4, 0xa6a6a6a6
    MEMOUT 0x7fe8, 0xa5a5a5a5
    MEMOUT 0x7fec, 0x8000
    MEMOUT 0x7ff0, 0xa3a3a3a3
    MEMOUT 0x7ff4, 0xa2a2a2a2
    MEMOUT 0x7ff8, 0xa1a1a1a1
    MEMOUT 0x7ffc, 0xa0a0a0a0

CASE popa_leaves_sp
    MEM 0x8000, 0x11112222
    MEM 0x8004, 0x33334444
    MEM 0x8008, 0x55556666
    MEM 0x800c, 0x77778888
DO
    popa
DONE
    OUT AX, 0xa0a07777
    OUT CX, 0xa1a18888
    OUT DX, 0xa2a25555
    OUT BX, 0xa3a36666
    OUT SP, 0x8010
    OUT BP, 0xa5a54444
    OUT SI, 0xa6a61111
    OUT DI, 0xa7a72222

CASE pop_to_memory_by_esp
    MEM 0x8000, 0x12345678
DO
    addr32 popw 4(%esp)
    addr32 popl 4(%esp)
DONE
    OUT SP, 0x8006
    MEMOUT 0x8006, 0x00005678
    MEMOUT 0x800a, 0x00001234

CASE enter_and_leave
    IN BP, 0x12349000
DO
    enter $6, $0
    mov %ebp, %eax
    mov %sp, %bx
    movw $7, -2(%bp)
    leave
DONE
    OUT AX, 0x12347ffe
    OUT BX, 0xa3a37ff8

CASE enter_nested
    IN BP, 0x9000
    MEM 0x8ffc, 0x55556666
DO
    enter $4, $3
    mov %sp, %dx
DONE
    OUT BP, 0x7ffe
    OUT SP, 0x7ff4
    OUT DX, 0xa2a27ff4
    MEMOUT 0x7ffc, 0x90005555
    MEMOUT 0x7ff8, 0x66667ffe

CASE call_and_ret
DO
    call 1f
2:  jmp 3f
1:  mov %sp, %bx
    mov (%bx), %ax
    sub $OFF(2b), %ax
    ret $4
3:  mov %sp, %cx
    mov $0x8000, %sp
DONE
    OUT AX, 0xa0a00000
    OUT BX, 0xa3a37ffe
    OUT CX, 0xa1a18004
    OUT FLAGS, ZF | PF

CASE calll_and_retl
DO
    calll 1f
2:  jmp 3f
1:  mov %sp, %bx
    mov (%bx), %eax
    sub $OFF(2b), %eax
    retl
3:  mov %sp, %cx
DONE
    OUT AX, 0
    OUT BX, 0xa3a37ffc
    OUT CX, 0xa1a18000
    OUT FLAGS, ZF | PF

CASE retl_beyond_the_limit
    MEM 0x8000, 0x10100
DO
1:  retl
DONE
    FAULT 13, 1b

CASE jmpl_beyond_the_limit
DO
1:  .byte 0x66, 0xe9
    .long 0x10000
DONE
    FAULT 13, 1b

CASE jmp_is_cut
DO
    .byte 0xe9
    .word 0xfff0
DONE
    FAULT_AT 3, 0x00f4

CASE call_indirect_is_cut
    IN AX, 0x12340400
DO
    call *%ax
DONE
    OUT SP, 0x7ffe
    FAULT_AT 3, 0x401
    MEMOUT 0x7ffe, 0x0102

CASE jmp_indirect_memory
    IN BX, 0xfff0
    IN SI, 0x20
    MEM 0x10, 0xffff0500
DO
    jmp *(%bx,%si)
DONE
    FAULT_AT 3, 0x501

CASE far_call_and_return
DO
    lcall $0x2000, $OFF(1f)
2:  jmp 3f
1:  mov %sp, %bx
    mov (%bx), %ax
    mov 2(%bx), %dx
    sub $OFF(2b), %ax
    lret $2
3:  mov %sp, %cx
    mov $0x8000, %sp
DONE
    OUT AX, 0xa0a00000
    OUT BX, 0xa3a37ffc
    OUT CX, 0xa1a18002
    OUT DX, 0xa2a22000
    OUT FLAGS, ZF | PF

CASE far_calll_and_retl
DO
    lcalll $0x2000, $OFF(1f)
2:  jmp 3f
1:  mov %sp, %bx
    mov (%bx), %eax
    mov 4(%bx), %dx
    sub $OFF(2b), %eax
    lretl
3:  mov %sp, %cx
DONE
    OUT AX, 0
    OUT BX, 0xa3a37ff8
    OUT CX, 0xa1a18000
    OUT DX, 0xa2a22000
    OUT FLAGS, ZF | PF

CASE far_call_wraps
    IN SP, 2
DO
    lcall $0x2000, $OFF(1f)
2:  nop
1:  mov %sp, %bx
    mov 0, %dx
DONE
    OUT SP, 0xfffe
    OUT BX, 0xa3a3fffe
    OUT DX, 0xa2a22000
    MEMOUT 0xfffe, 0x20000105

CASE far_jump
DO
    ljmp $0x2000, $OFF(1f)
    ud2
1:  ljmpl $0x2000, $OFF(2f)
    ud2
2:  mov %cs, %eax
DONE
    OUT AX, 0x2000

CASE far_jump_through_memory
    IN BX, 0xfffc
    MEM 0xfffc, 0x20000600
DO
    ljmp *(%bx)
DONE
    FAULT_AT 3, 0x601

CASE far_jump_pointer_over_the_end
    IN BX, 0xfffd
DO
1:  ljmp *(%bx)
DONE
    FAULT 13, 1b

CASE int_and_iret
    IN FLAGS, CF | ZF | OF | 0x200
    HANDLER
DO
    int $0x40
1:  jmp 2f
8:  mov %sp, %bx
    mov (%bx), %ax
    mov 2(%bx), %cx
    mov 4(%bx), %dx
    pushf
    pop %si
    movw $0x0201, 4(%bx)
    iret
2:  mov $0x4, %al
    cli
DONE
    OUT AX, 0xa0a00104
    OUT BX, 0xa3a37ffa
    OUT CX, 0xa1a12000
    OUT DX, 0xa2a20a43
    OUT SI, 0xa6a60843
    OUT FLAGS, CF

CASE int_wraps
    IN SP, 2
    HANDLER
DO
    int $0x40
1:  nop
8:  mov %sp, %bx
DONE
    OUT SP, 0xfffc
    OUT BX, 0xa3a3fffc
    MEMOUT 0xfffc, 0x20000102
    MEMOUT 0, 0x0002

CASE iretl
DO
    pushfl
    pushl $0x2000
    pushl $OFF(1f)
    iretl
    ud2
1:  nop
DONE

CASE iretl_beyond_the_limit
DO
    pushfl
    pushl $0x2000
    pushl $0x10000
1:  iretl
DONE
    OUT SP, 0x7ff4
    MEMOUT 0x7ff4, 0x10000
    MEMOUT 0x7ff8, 0x2000
    MEMOUT 0x7ffc, 0x0002
    FAULT 13, 1b

CASE pushfl_and_popf
    IN FLAGS, CF | SF
DO
    pushfl
    popl %eax
    pushw $0x0844
    popfw
    pushfw
    pop %bx
DONE
    OUT AX, 0x83
    OUT BX, 0xa3a30846
    OUT FLAGS, OF | ZF | PF
