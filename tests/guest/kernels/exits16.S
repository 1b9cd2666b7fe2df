/*
 * What makes a processor leave an engine, in real mode: ports, strings of them, device memory through big real mode, the A20 line, and an interrupt of
 * the PIT that ends a halt. Uses no INT n, so that it runs on a KVM that emulates kernels. Prints "ok NAME" or "FAIL NAME" and "end" like the others.
 */
#include "start16.h"

    .balign 8
gdt: .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00009a000000ffff
gdt_ptr: .word 31
    .long gdt

/* ---- from here on addresses are relative to 7C00h: X - image + 7C00h; DS keeps its 4 GiB limit (big real mode) ---- */
#define AT(x) (x - image + 0x7c00)
    .code16
image:
    mov %cr0, %eax
    and $0xfe, %al
    mov %eax, %cr0
    ljmp $0, $AT(real)

/* VERDICT name: ok when the zero flag is set */
.macro VERDICT name
    mov $AT(9f), %si
    call verdict
    jmp 8f
9:  .asciz "\name\n"
8:
.endm

verdict:
    push %si
    mov $AT(ok), %si
    jz 1f
    movb $1, AT(failed)
    mov $AT(bad), %si
1:  call print
    pop %si
print:
    lodsb
    test %al, %al
    jz 2f
    mov $0x3f8, %dx
    out %al, %dx
    jmp print
2:  ret
ok: .asciz "ok "
bad: .asciz "FAIL "
end: .asciz "end\n"
signature: .ascii "QEMU"
failed: .byte 0
woken: .byte 0

real:
    xor %ax, %ax
    mov %ax, %ss
    mov $0x7000, %sp
    xor %ax, %ax
    mov %ax, %es
    lidtl AT(idt_ptr)
    cld

    mov $0x70, %dx
    mov $0x55, %al
    out %al, %dx
    mov $0x5a, %al
    out %al, $0x71
    mov $0x55, %al
    out %al, %dx
    in $0x71, %al
    cmp $0x5a, %al
    VERDICT ports

    mov $0x510, %dx
    xor %ax, %ax
    out %ax, %dx
    mov $0x511, %dx
    mov $0x6000, %di
    mov $4, %cx
    rep insb
    mov $AT(signature), %si
    mov $0x6000, %di
    mov $4, %cx
    repe cmpsb
    VERDICT port_strings

    mov $0xfed00108, %ebx
    movl $0x12345678, (%ebx)
    mov (%ebx), %eax
    cmp $0x12345678, %eax
    VERDICT device_memory

    mov $1, %eax
    cpuid
    bt $31, %ecx
    cmc
    sbb %eax, %eax
    VERDICT identification

    /* the line low: 1 MiB + x is x; high: it is not */
    mov $0xffff, %ax
    mov %ax, %fs
    movw $0x1111, 0x500
    mov $2, %al
    out %al, $0x92
    movw $0x2222, %fs:0x510
    mov $0, %al
    out %al, $0x92
    mov %fs:0x510, %bx
    movw $0x3333, %fs:0x510
    mov 0x500, %cx
    mov $2, %al
    out %al, $0x92
    mov %fs:0x510, %dx
    cmp $0x1111, %bx
    jne 1f
    cmp $0x3333, %cx
    jne 1f
    cmp $0x2222, %dx
1:  VERDICT a20

    movw $AT(handler), %es:0x60 * 4
    movw $0, %es:0x60 * 4 + 2
    mov $AT(pic), %si
1:  lodsw
    movzbw %al, %dx
    mov %ah, %al
    out %al, %dx
    cmp $AT(pic_end), %si
    jne 1b
    sti
    hlt
    cli
    cmpb $1, AT(woken)
    VERDICT wake_by_pit

    mov $AT(end), %si
    call print
    mov $0x501, %dx
    mov AT(failed), %al
    out %al, %dx
3:  hlt
    jmp 3b

handler:
    push %ax
    incb %cs:AT(woken)
    mov $0x20, %al
    out %al, $0x20
    pop %ax
    iret
/* port and value: the PIC from vector 60h, line 0 only; the PIT's channel 0 in mode 0, 5 ms */
pic: .byte 0x20, 0x11, 0x21, 0x60, 0x21, 4, 0x21, 1, 0x21, 0xfe, 0x43, 0x30, 0x40, 0x70, 0x40, 0x17
pic_end:
idt_ptr: .word 0x3ff
    .long 0
image_end:
    .section .note.GNU-stack, "", @progbits
