/*
 * From the 32-bit kernel to a case's 16-bit code, in real or in protected mode, and back by whatever trap ends it (short.h). The trampoline is copied to
 * its segment: 1000h in real mode; in protected mode 1000h is its data and 1008h its code, so that the same text serves both.
 */
#include "short.h"

#define T(x) ((x) - short_trampoline)
#define GDT_ENTRIES 0x602

    .section .bss
    .balign 8
    .global short_gdt
short_gdt: .fill GDT_ENTRIES, 8
kernel_esp: .long 0

    .section .data
gdt_ptr: .word GDT_ENTRIES * 8 - 1
    .long short_gdt
idt_ptr: .word 2047
    .long SHORT_TRAMPOLINE + T(gates)
kernel_gdt_ptr: .word 255
    .long gdt
kernel_idt_ptr: .word 2047
    .long idt

    .text
    .code32
    .global short_enter, short_trampoline, short_trampoline_end
short_enter:
    pusha
    mov %esp, kernel_esp
    mov 36(%esp), %ebx
    lgdt gdt_ptr
    lidt idt_ptr
    ljmp $0x1008, $T(go)
back:
    cld
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov kernel_esp, %esp
    lgdt kernel_gdt_ptr
    lidt kernel_idt_ptr
    popa
    ret

    .balign 16
short_trampoline:
regs: .fill 8, 4
flags: .long 0
es_: .long 0
cs_: .long 0
ss_: .long 0
ds_: .long 0
ip: .long 0
vec: .long 0
err: .long 0
far: .word 0, 0x2000
ivt_ptr: .word 1023
    .long 0

    .code16
go: mov $0x1000, %ax                         # real mode keeps limits and the stack's size
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    test %bl, %bl
    jz 1f
    mov %cr0, %eax
    and $0xfe, %al
    mov %eax, %cr0
    ljmp $0x1000, $T(2f)
2:  mov $0x1000, %ax
    mov %ax, %ds
    lidtl T(ivt_ptr)
    mov %ax, %ss
1:  mov $T(stack_top), %esp
    mov T(ip), %ax
    mov %ax, T(far)
    pushl T(flags)
    popfl
    mov $0x3000, %ax
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov T(regs) + 4, %ecx
    mov T(regs) + 8, %edx
    mov T(regs) + 12, %ebx
    mov T(regs) + 20, %ebp
    mov T(regs) + 24, %esi
    mov T(regs) + 28, %edi
    mov %ax, %ss
    mov T(regs) + 16, %esp
    mov %ax, %ds
    mov %cs:T(regs), %eax
    ljmp *%cs:T(far)

/* The frame of 16-bit gates, the error code that only protected mode has, the vector. */
common:
    push %ds
    push $0x1000
    pop %ds
    mov %eax, T(regs)
    mov %ecx, T(regs) + 4
    mov %edx, T(regs) + 8
    mov %ebx, T(regs) + 12
    mov %ebp, T(regs) + 20
    mov %esi, T(regs) + 24
    mov %edi, T(regs) + 28
    xor %eax, %eax
    pop %ax
    mov %eax, T(ds_)
    pop %ax
    mov %eax, T(vec)
    xor %edx, %edx
    mov %ax, %cx
    mov $0x27d00, %ebx                       # vectors with an error code
    bt %eax, %ebx
    jnc 1f
    smsw %cx
    test $1, %cl
    jz 1f
    pop %dx
1:  mov %edx, T(err)
    pop %ax
    mov %eax, T(ip)
    pop %ax
    mov %eax, T(cs_)
    pop %ax
    mov %eax, T(flags)
    mov %esp, T(regs) + 16
    mov %es, %ax
    mov %eax, T(es_)
    mov %ss, %ax
    mov %eax, T(ss_)
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $8, $back

    .balign 8
stubs:
    .set n, 0
    .rept 256
    .balign 8
    .byte 0x68
    .word n
    jmp common
    .set n, n + 1
    .endr
    .balign 8
gates:
    .set n, 0
    .rept 256
    .word T(stubs) + 8 * n, 0x1008, 0x8600, 0
    .set n, n + 1
    .endr
    .fill 64, 4
stack_top:
short_trampoline_end:
    .section .note.GNU-stack, "", @progbits
