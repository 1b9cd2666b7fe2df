/*
 * Start of the 32-bit test kernels: multiboot, GDT, IDT, TSS, main(); enter() and the trap stubs that come back from it (kit.h).
 * Selectors: 08 code 10 data (ring 0), 1b code 23 data (ring 3), 28 TSS, 30 16-bit code, 38 16-bit data, 40.. free for tests.
 */
    .section .multiboot, "a"
    .balign 4
    .long 0x1badb002, 0, -0x1badb002

    .section .data
    .balign 16
    .global gdt, idt, tss, last, stack_top, user_stack_top, kernel_sp
gdt:
    .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00cffa000000ffff, 0x00cff2000000ffff, 0, 0x00009a000000ffff, 0x000092000000ffff
    .fill 24, 8, 0
gdt_ptr: .word 255
    .long gdt
idt_ptr: .word 2047
    .long idt
    .section .bss
    .balign 16
idt: .fill 256, 8, 0
tss: .fill 104 + 8192 + 1
    .balign 16
last: .fill 24, 4, 0
kernel_sp: .long 0
    .balign 4096
    .fill 16384
stack_top:
    .fill 16384
trap_stack_top:
    .fill 16384
user_stack_top:

    .text
    .global _start, enter
_start:
    mov $stack_top, %esp
    lgdt gdt_ptr
    ljmp $8, $1f
1:  mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    xor %ecx, %ecx
    mov $idt, %edi
    mov $stubs, %eax
2:  mov %ax, (%edi)
    movw $8, 2(%edi)
    movw $0x8e00, 4(%edi)
    mov %eax, %edx
    shr $16, %edx
    mov %dx, 6(%edi)
    add $8, %edi
    add $16, %eax
    inc %ecx
    cmp $256, %ecx
    jne 2b
    movb $0xee, idt + 0x80 * 8 + 5
    movb $0xee, idt + 3 * 8 + 5
    movb $0xee, idt + 4 * 8 + 5
    lidt idt_ptr
    movl $trap_stack_top, tss + 4
    movl $0x10, tss + 8
    movw $104, tss + 102
    movb $0xff, tss + 104 + 8192
    mov $tss, %eax
    mov %ax, gdt + 0x2a
    shr $16, %eax
    mov %al, gdt + 0x2c
    mov %ah, gdt + 0x2f
    movw $104 + 8192, gdt + 0x28
    movb $0x89, gdt + 0x2d
    mov $0x28, %eax
    ltr %ax
    mov $0xff, %al                          # firmware may have left interrupts on
    out %al, $0x21
    out %al, $0xa1
    call main
3:  hlt
    jmp 3b

/* offsets in struct regs */
#define R_DI 0
#define R_SI 4
#define R_BP 8
#define R_BX 16
#define R_DX 20
#define R_CX 24
#define R_AX 28
#define R_GS 32
#define R_FS 36
#define R_ES 40
#define R_DS 44
#define R_VEC 48
#define R_ERR 52
#define R_IP 56
#define R_CS 60
#define R_FL 64
#define R_SP 68
#define R_SS 72
#define R_VES 76
#define R_CR2 92

enter:
    push %ebp
    push %ebx
    push %esi
    push %edi
    mov 20(%esp), %eax
    mov %esp, kernel_sp
    testl $0x20000, R_FL(%eax)
    jz 1f
    pushl R_VES + 12(%eax)
    pushl R_VES + 8(%eax)
    pushl R_VES + 4(%eax)
    pushl R_VES(%eax)
    jmp 2f
1:  testl $3, R_CS(%eax)
    jnz 2f
    mov R_SS(%eax), %ecx
    mov R_SP(%eax), %edx
    mov %ecx, %ss
    mov %edx, %esp
    jmp 3f
2:  pushl R_SS(%eax)
    pushl R_SP(%eax)
3:  pushl R_FL(%eax)
    pushl R_CS(%eax)
    pushl R_IP(%eax)
    mov R_GS(%eax), %gs
    mov R_FS(%eax), %fs
    mov R_ES(%eax), %es
    mov R_DI(%eax), %edi
    mov R_SI(%eax), %esi
    mov R_BP(%eax), %ebp
    mov R_BX(%eax), %ebx
    mov R_DX(%eax), %edx
    mov R_CX(%eax), %ecx
    mov R_DS(%eax), %ds
    mov %cs:R_AX(%eax), %eax
    iret

    .balign 16
stubs:
    .set vec, 0
    .rept 256
    .balign 16
    .if (vec == 8) || ((vec >= 10) && (vec <= 14)) || (vec == 17)
    .else
    push $0
    .endif
    push $vec
    jmp common
    .set vec, vec + 1
    .endr

/* on the stack: vec err ip cs flags [sp ss [es ds fs gs]] */
    .global common
common:
    push %ds
    push %es
    push %fs
    push %gs
    pusha
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    cld
    mov %esp, %esi
    mov $last, %edi
    mov $23, %ecx
4:  mov %ss:(%esi), %eax
    mov %eax, (%edi)
    add $4, %esi
    add $4, %edi
    dec %ecx
    jnz 4b
    mov %cr2, %eax
    mov %eax, last + R_CR2
    testl $0x20000, last + R_FL
    jnz 5f
    testl $3, last + R_CS
    jnz 5f
    lea R_SP(%esp), %eax
    mov %eax, last + R_SP
    mov %ss, %eax
    mov %eax, last + R_SS
5:  mov $0x10, %eax
    mov %eax, %ss
    mov kernel_sp, %esp
    pushl $2
    popf
    pop %edi
    pop %esi
    pop %ebx
    pop %ebp
    ret
    .section .note.GNU-stack, "", @progbits
