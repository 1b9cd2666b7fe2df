/* Traps and software interrupts, instructions of other privilege levels. */
#include "insn.h"

CASE trap/single_step
    IN FLAGS, 0x100
DO
    inc %eax
1:  inc %eax
DONE
    OUT RAX, 0xa0a0a0a1
    OUT FLAGS, SF
    FAULT 1, 0, 1b

CASE trap/single_step_of_a_string
    IN FLAGS, 0x100
    IN RCX, 3
    IN RDI, WINDOW + 0x100
    IN RAX, 0x55
DO
1:  rep stosb
DONE
    OUT RCX, 2
    OUT RDI, WINDOW + 0x101
    MEMOUT 0x100, 0x55
    FAULT 1, 0, 1b

CASE trap/popf_sets_trap
    MEM 0x1800, 0x102
DO
    popf
    nop
1:  nop
DONE
    OUT RSP, WINDOW_RSP + 8
    OUT FLAGS, 0
    FAULT 1, 0, 1b

/* Not natively: KVM on SVM, which the host may be a guest of, makes a fault of it. */
CASE trap/icebp
    NOT_NATIVE
DO
    .byte 0xf1
1:
DONE
    FAULT 1, 0, 1b

CASE trap/int_not_for_users
DO
1:  int $0x40
DONE
    FAULT 13, 0x202, 1b

CASE privileged/hlt
DO
1:  hlt
DONE
    FAULT 13, 0, 1b

CASE privileged/cli
DO
1:  cli
DONE
    FAULT 13, 0, 1b

CASE privileged/mov_from_cr
DO
1:  mov %cr0, %rax
DONE
    FAULT 13, 0, 1b

CASE privileged/wrmsr
DO
1:  wrmsr
DONE
    FAULT 13, 0, 1b

CASE privileged/lgdt
DO
1:  lgdt (%rsp)
DONE
    FAULT 13, 0, 1b

CASE privileged/lgdt_of_a_register
DO
1:  .byte 0x0f, 0x01, 0xd6
DONE
    FAULT 6, 0, 1b

CASE privileged/popf_keeps_if_and_iopl
    MEM 0x1800, 0x3002
DO
    popf
    pushf
    pop %rax
    and $0x3200, %eax
    cmp $0x200, %eax
DONE
    NOT_NATIVE
    OUT RAX, 0
    OUT RSP, WINDOW_RSP + 8
    OUT FLAGS, CF | PF | SF
    MEMOUT 0x1800, 0x2

CASE ring0/mov_cr0_same
    RING0
DO
    mov %cr0, %rax
    mov %rax, %cr0
    mov %cr0, %rcx
    sub %rcx, %rax
    xor %ecx, %ecx
DONE
    OUT RAX, 0
    OUT RCX, 0
    OUT FLAGS, ZF | PF
    UNDEF AF

CASE ring0/mov_cr4_reserved
    RING0
    IN RAX, 0x80000000
DO
1:  mov %rax, %cr4
DONE
    FAULT 13, 0, 1b

CASE ring0/mov_cr0_pg_without_pe
    RING0
    IN RAX, 0x80000000
DO
1:  mov %rax, %cr0
DONE
    FAULT 13, 0, 1b

CASE ring0/wrmsr_efer_reserved
    RING0
    IN RAX, 0x80
    IN RDX, 0
    IN RCX, 0xc0000080
DO
1:  wrmsr
DONE
    FAULT 13, 0, 1b

CASE ring0/read_only_with_wp
    RING0
    IN RDI, WINDOW + 0x3000
DO
1:  incl (%rdi)
DONE
    FAULT 14, 3, 1b
    CR2 WINDOW + 0x3000

CASE ring0/iret_to_null_stack_segment
    RING0
    IN RSP, WINDOW + 0x1000
DO
    pushq $0
    pushq $0x1000
    pushq $2
    pushq $8
    pushq $3f
    iretq
3:
DONE
    OUT RSP, 0x1000
    MEMOUT 0xff0, 0x1000
    MEMOUT 0xfe8, 2
    MEMOUT 0xfe0, 8
    MEMOUT 0xfd8, 3b
    OUT FLAGS, 0

CASE ring0/invlpg_of_a_register
    RING0
DO
1:  .byte 0x0f, 0x01, 0x3c, 0x24
2:  .byte 0x0f, 0x01, 0xfe
DONE
    FAULT 6, 0, 2b
