/* Where QEMU 7.2 to 10.2 differ, or differed, from the processor; each by the number of its issue or commit. */
#include "insn.h"

/* 3452: RCR and RCL of bytes and words by 9 and 17: the carry is one more bit of the ring, so nothing moves. */
CASE qemu3452/rcr_byte_by_9
    IN RAX, 0x81
DO
    rcrb $9, %al
DONE
    UNDEF OF

CASE qemu3452/rcr_byte_by_9_carry
    IN RAX, 0x81
    IN FLAGS, CF
DO
    rcrb $9, %al
DONE
    OUT FLAGS, CF
    UNDEF OF

CASE qemu3452/rcr_byte_by_8
    IN RAX, 0x81
    IN FLAGS, CF
DO
    rcrb $8, %al
DONE
    OUT RAX, 0x03
    OUT FLAGS, CF
    UNDEF OF

CASE qemu3452/rcl_byte_by_18_cl
    IN RBX, 0xc3
    IN RCX, 18
    IN FLAGS, CF
DO
    rclb %cl, %bl
DONE
    OUT FLAGS, CF
    UNDEF OF

CASE qemu3452/rcr_word_by_17
    IN RAX, 0x8001
    IN FLAGS, CF
DO
    rcrw $17, %ax
DONE
    OUT FLAGS, CF
    UNDEF OF

CASE qemu3452/rcl_word_by_18
    IN RAX, 0x8001
DO
    rclw $18, %ax
DONE
    OUT RAX, 0x0002
    OUT FLAGS, CF
    UNDEF OF

CASE qemu3452/rcr_byte_memory_by_10
    MEM 0x40, 0x11223344556677f0
DO
    movl $0x20000040, %edi
    rcrb $10, (%rdi)
DONE
    OUT RDI, 0x20000040
    MEMOUT 0x40, 0x1122334455667778
    OUT FLAGS, 0
    UNDEF OF

/* 3580: F6 /1 and F7 /1 are TEST, as /0 are. */
CASE qemu3580/f6_1
    IN RAX, 0x80
DO
    .byte 0xf6, 0xc8, 0x80
DONE
    OUT FLAGS, SF
    UNDEF AF

CASE qemu3580/f7_1
    IN RDX, 0x0f0f0f0f
DO
    .byte 0xf7, 0xca, 0xf0, 0xf0, 0xf0, 0xf0
DONE
    OUT FLAGS, ZF | PF
    UNDEF AF

CASE qemu3580/f7_1_word_memory
    MEM 0x18, 0x8000
DO
    .byte 0x66, 0xf7, 0x0c, 0x25, 0x18, 0, 0, 0x20, 0, 0x80
DONE
    OUT FLAGS, SF | PF
    UNDEF AF

/* 427: CRC32 has to do with general registers only: CR0.TS does not matter. Nor to POPCNT, MOVBE and ADCX. */
CASE qemu427/crc32_task_switched
    NEED NEED_SSE42
    TASK_SWITCHED
    IN RAX, 0
    IN RBX, 0x31
DO
    crc32b %bl, %eax
    popcnt %ebx, %ecx
DONE
    OUT RAX, 0xc288cab2
    OUT RCX, 3
    OUT FLAGS, 0

CASE qemu427/sse_task_switched
    TASK_SWITCHED
DO
1:  movaps %xmm1, %xmm0
DONE
    FAULT 7, 0, 1b

CASE qemu427/mmx_task_switched
    TASK_SWITCHED
DO
1:  movd %eax, %mm0
DONE
    FAULT 7, 0, 1b

CASE qemu427/x87_task_switched
    TASK_SWITCHED
DO
1:  fld1
DONE
    FAULT 7, 0, 1b

/* e7bbb7cb: the flags that a fault shows are those from before its instruction. */
CASE qemu_e7bbb7cb/add_to_read_only
    IN RAX, 5
    IN RDI, WINDOW + 0x3010
DO
    cmp $6, %rax
1:  add %rax, (%rdi)
DONE
    OUT FLAGS, CF | AF | SF | PF
    FAULT 14, 7, 1b
    CR2 WINDOW + 0x3010

CASE qemu_e7bbb7cb/adc_over_page_end
    IN RAX, -1
    IN RDI, WINDOW + 0x1ffc
    IN FLAGS, CF | ZF | OF
DO
1:  adc %rax, (%rdi)
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2000

CASE qemu_e7bbb7cb/shift_of_absent
    IN RCX, 3
    IN RDI, WINDOW + 0x2008
    IN FLAGS, CF | PF | SF
DO
1:  shll %cl, (%rdi)
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2008

CASE qemu_e7bbb7cb/cmp_with_absent
    IN RDI, WINDOW + 0x2008
    IN FLAGS, CF | OF
DO
    sub %eax, %eax
1:  cmp %rax, (%rdi)
DONE
    OUT RAX, 0
    OUT FLAGS, ZF | PF
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2008

CASE qemu_e7bbb7cb/dec_keeps_carry
    IN RDI, WINDOW + 0x3000
    IN RAX, -1
DO
    add $1, %rax
1:  decl (%rdi)
DONE
    OUT RAX, 0
    OUT FLAGS, CF | ZF | PF | AF
    FAULT 14, 7, 1b
    CR2 WINDOW + 0x3000

/* 1370: BLSI, BLSR and BLSMSK have carries of their own. */
CASE qemu1370/blsi
    NEED NEED_BMI1
    IN RAX, 0x58
    IN RBX, 0
DO
    blsi %rax, %rcx
    setc %al
    blsi %rbx, %rdx
DONE
    OUT RAX, 1
    OUT RCX, 8
    OUT RDX, 0
    OUT FLAGS, ZF
    UNDEF AF | PF

CASE qemu1370/blsr
    NEED NEED_BMI1
    IN RAX, 0x8000000000000000
    IN RBX, 0
DO
    blsr %rax, %rcx
    setc %al
    setz %ah
    blsr %rbx, %rdx
DONE
    OUT RAX, 0x8000000000000100
    OUT RCX, 0
    OUT RDX, 0
    OUT FLAGS, CF | ZF
    UNDEF AF | PF

CASE qemu1371/blsmsk
    NEED NEED_BMI1
    IN RAX, 0
    IN FLAGS, ZF | OF
DO
    blsmsk %rax, %rcx
DONE
    OUT RCX, -1
    OUT FLAGS, CF | SF
    UNDEF AF | PF

/* 1372: BEXTR takes all eight bits of the start and of the length. */
CASE qemu1372/bextr_start_beyond
    NEED NEED_BMI1
    IN RAX, -1
    IN RBX, 0x0840
    IN RSI, 0x0844
    IN RDI, 0xff3c
DO
    bextr %rbx, %rax, %rcx
    bextr %rsi, %rax, %rdx
    bextr %rdi, %rax, %r8
DONE
    OUT RCX, 0
    OUT RDX, 0
    OUT R8, 0xf
    OUT FLAGS, 0
    UNDEF AF | PF | SF

/* 1373: ADOX and ADCX of 32 bits have their carry at bit 32, and each leaves the other's alone. */
CASE qemu1373/adox32
    NEED NEED_ADX
    IN RAX, 0xffffffff
    IN RBX, 0x1ffffffff
    IN FLAGS, OF | CF | ZF | SF
DO
    adox %eax, %ebx
DONE
    OUT RBX, 0xffffffff
    OUT FLAGS, OF | CF | ZF | SF

CASE qemu1373/adcx32
    NEED NEED_ADX
    IN RAX, 0x7fffffff
    IN RBX, 0xffffffff00000000
    IN FLAGS, OF | CF | AF
DO
    adcx %eax, %ebx
DONE
    OUT RBX, 0x80000000
    OUT FLAGS, OF | AF

/* 1374: BZHI takes eight bits of the index; its carry says that they are beyond the operand. */
CASE qemu1374/bzhi
    NEED NEED_BMI2
    IN RAX, -1
    IN RBX, 0x1ff
    IN RSI, 0x120
DO
    bzhi %rbx, %rax, %rcx
    setc %bl
    bzhi %esi, %eax, %edx
DONE
    OUT RBX, 0x101
    OUT RCX, -1
    OUT RDX, 0xffffffff
    OUT FLAGS, CF | SF
    UNDEF AF | PF
