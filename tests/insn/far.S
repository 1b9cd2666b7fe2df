/* Far calls, jumps and returns within a privilege: what they push, where they go, what they check first. CS is asked for, as systems differ. */
#include "insn.h"

/* The stack is compared, so what was pushed is taken to registers and wiped. */
CASE far/call_and_return_32
DO
    movl $1f, 0x20000100
    mov %cs, 0x20000104
    mov %cs, %ecx
    lcall *0x20000100
2:  jmp 3f
1:  mov (%rsp), %eax
    mov 4(%rsp), %edx
    sub %ecx, %edx
    sub $2b, %eax
    lretl
3:  movq $0, 0x20000100
    movq $0, -8(%rsp)
    xor %ecx, %ecx
DONE
    OUT RAX, 0
    OUT RDX, 0
    OUT RCX, 0
    OUT FLAGS, ZF | PF

/* REX.W: offsets of 64 bits, which AMD's processors have not got. */
CASE far/call_and_return_64
    NOT_NATIVE
DO
    movq $1f, 0x20000100
    mov %cs, 0x20000108
    mov %cs, %ecx
    rex.w lcall *0x20000100
2:  jmp 3f
1:  mov (%rsp), %rax
    mov 8(%rsp), %rdx
    movzwl %dx, %edx
    sub %ecx, %edx
    sub $2b, %rax
    mov %rsp, %rbx
    lretq $0x20
3:  mov %rsp, %rcx
    sub $0x20, %rsp
    movq $0, 0x20000100
    movq $0, 0x20000108
    movq $0, -8(%rsp)
    movq $0, -16(%rsp)
    xor %esi, %esi
DONE
    OUT RAX, 0
    OUT RBX, WINDOW_RSP - 16
    OUT RCX, WINDOW_RSP + 0x20
    OUT RDX, 0
    OUT RSI, 0
    OUT FLAGS, ZF | PF

CASE far/jump_64
    NOT_NATIVE
DO
    movq $1f, 0x20000100
    mov %cs, 0x20000108
    rex.w ljmp *0x20000100
    ud2
1:  movq $0, 0x20000100
    movw $0, 0x20000108
DONE

/* Nothing has been pushed. */
CASE far/call_null
    MEM 0x100, 0x12345678
DO
1:  lcall *0x20000100
DONE
    FAULT 13, 0, 1b

CASE far/jump_null
    MEM 0x100, 0x12345678
    MEM 0x108, 3
DO
1:  rex.w ljmp *0x20000100
DONE
    FAULT 13, 0, 1b

CASE far/return_null
DO
    push $0
    push $0
1:  lretq
DONE
    OUT RSP, WINDOW_RSP - 16
    FAULT 13, 0, 1b

CASE far/call_absent_pointer
    IN RDI, WINDOW + 0x1ffc
DO
1:  lcall *(%rdi)
DONE
    FAULT 14, 4, 1b
    CR2_IN WINDOW + 0x2000, WINDOW + 0x2001

CASE far/call_onto_read_only
    IN RSP, WINDOW + 0x4004
DO
    movl $2f, 0x20004800
    mov %cs, 0x20004804
1:  lcall *0x20004800
2:  ud2
DONE
    FAULT 14, 7, 1b
    CR2_IN WINDOW + 0x3ffc, WINDOW + 0x3fff

CASE far/return_absent_stack
    IN RSP, WINDOW + 0x1ff8
DO
1:  lretq
DONE
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2000

CASE32 far/call_and_return_in_32_bit_code
DO32
    movl $1f, 0x20000100
    mov %cs, %ecx
    mov %cx, 0x20000104
    lcall *0x20000100
2:  jmp 3f
1:  mov (%esp), %eax
    mov 4(%esp), %dx
    sub %cx, %dx
    sub $2b, %eax
    mov %esp, %ebx
    lret $8
3:  mov %esp, %ecx
    sub $8, %esp
    movl $0, 0x20000100
    movl $0, 0x20000104
    movl $0, -4(%esp)
    movl $0, -8(%esp)
    xor %edx, %edx
DONE
    OUT RAX, 0
    OUT RBX, WINDOW_RSP - 8
    OUT RCX, WINDOW_RSP + 8
    OUT RDX, 0
    OUT FLAGS, ZF | PF

CASE32 far/return_of_words_in_32_bit_code
DO32
    mov %cs, %ax
    push %ax
    pushw $0x1234
    push %cs
    push $1f
    lret
1:  mov %esp, %ebx
    movl $0, (%esp)
    add $4, %esp
    movl $0, -8(%esp)
    movl $0, -12(%esp)
    xor %eax, %eax
DONE
    OUT RAX, 0
    OUT RBX, WINDOW_RSP - 4
    OUT FLAGS, ZF | PF
