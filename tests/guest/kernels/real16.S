/*
 * Real mode: a multiboot kernel that drops to real mode at 7C00h and checks, in 16-bit code, interrupts through the vector table, exceptions
 * with their real-mode frames, segment wrap and limits, the stack at its ends, string instructions, big real mode, A20, and a .COM program's habits.
 * A failed check prints its number. SDM vol. 3 ch. 20.
 */
#include "start16.h"

    .balign 8
gdt: .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00009a000000ffff, 0x000092000000ffff
gdt_ptr: .word 39
    .long gdt

/* ---- from here on addresses are relative to 7C00h: X - image + 7C00h ---- */
#define AT(x) (x - image + 0x7c00)
    .code16
image:
    mov $0x20, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov %ax, %fs
    mov %ax, %gs
    lidtl AT(idt_ptr)
    mov %cr0, %eax
    and $0xfe, %al
    mov %eax, %cr0
    ljmp $0, $AT(real)
idt_ptr: .word 0x3ff
    .long 0
failed: .word 0
check_no: .word 0
saved_sp: .word 0

/* CHECK: the zero flag must be set */
.macro CHECK
    pushf
    incw %cs:AT(check_no)
    popf
    jz 9f
    call fail
9:
.endm

fail:
    pushaw
    movw $1, %cs:AT(failed)
    mov $AT(text_fail), %si
    call print
    mov %cs:AT(check_no), %ax
    mov $10, %bl
    div %bl
    add $0x3030, %ax
    push %ax
    call putc
    pop %ax
    mov %ah, %al
    call putc
    mov $'\n', %al
    call putc
    popaw
    ret
print:
    mov %cs:(%si), %al
    inc %si
    test %al, %al
    jz 1f
    call putc
    jmp print
1:  ret
putc:
    push %dx
    mov $0x3f8, %dx
    outb %al, %dx
    pop %dx
    ret
text_fail: .asciz "FAIL real_mode: check "
text_ok: .asciz "ok real_mode\nend\n"
text_end: .asciz "end\n"

/* the vector's handler leaves: ip of the frame in bx, cs in si, flags in di; resumes at %bp with the stack as before */
handler:
    pop %bx
    pop %si
    pop %di
    mov %cs:AT(saved_sp), %sp
    push %ax
    xor %ax, %ax
    mov %ax, %ss
    pop %ax
    jmp *%bp
iret_handler:
    mov $0x77, %cl
    iret

.macro VECTOR n to
    movw $AT(\to), %es:4 * \n
    movw $0, %es:4 * \n + 2
.endm
.macro TRY where
    mov $AT(\where), %bp
    mov %sp, AT(saved_sp)
.endm

real:
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7000, %esp
    VECTOR 0, handler
    VECTOR 1, handler
    VECTOR 3, handler
    VECTOR 4, handler
    VECTOR 5, handler
    VECTOR 6, handler
    VECTOR 12, handler
    VECTOR 13, handler
    VECTOR 0x60, iret_handler
    /* 1: software interrupt and IRET keep flags and stack */
    stc
    int $0x60
    sbb %ax, %ax
    cmp $-1, %ax
    CHECK
    cmp $0x77, %cl
    CHECK
    cmp $0x7000, %sp
    CHECK
    /* 4: divide error points at the instruction */
    TRY 1f
    xor %cx, %cx
div_at:
    div %cx
1:  cmp $AT(div_at), %bx
    CHECK
    test %si, %si
    CHECK
    /* 6: int3 points behind, into too */
    TRY 1f
    int3
int3_next:
1:  cmp $AT(int3_next), %bx
    CHECK
    TRY 1f
    mov $0x7fff, %ax
    add $1, %ax
    into
into_next:
1:  cmp $AT(into_next), %bx
    CHECK
    /* 8: #UD, also for LLDT, which real mode does not have; LOCK on a register */
    TRY 1f
ud_at:
    ud2
1:  cmp $AT(ud_at), %bx
    CHECK
    TRY 1f
lldt_at:
    lldt %ax
1:  cmp $AT(lldt_at), %bx
    CHECK
    /* 10: a word at FFFFh is #GP, at FFFFh in the stack #SS */
    TRY 1f
    mov $0xffff, %di
gp_at:
    mov (%di), %ax
1:  cmp $AT(gp_at), %bx
    CHECK
    TRY 1f
    mov $0xffff, %di
ss_at:
    mov %ss:(%di), %ax
1:  cmp $AT(ss_at), %bx
    CHECK
    /* 12: the stack wraps from 0 to FFFEh */
    mov $0x7000, %sp
    mov $0x2000, %ax
    mov %ax, %ss
    xor %sp, %sp
    push $0x1234
    cmp $0xfffe, %sp
    CHECK
    pop %ax
    cmp $0x1234, %ax
    CHECK
    test %sp, %sp
    CHECK
    xor %ax, %ax
    mov %ax, %ss
    mov $0x7000, %sp
    /* 15: upper halves of registers stay with 16-bit operands; addresses are cut to 16 bits */
    mov $0x12345678, %eax
    mov $0x9abc, %ax
    cmp $0x12349abc, %eax
    CHECK
    mov $0xfff0, %bx
    mov $0x7c18, %si
    mov (%bx,%si), %al
    cmp AT(image) + 8, %al
    CHECK
    /* 17: string instructions wrap their index at 64 KiB */
    mov $0x3000, %ax
    mov %ax, %es
    mov $0xfffe, %di
    mov $0x55, %al
    mov $4, %cx
    cld
    rep stosb
    cmp $2, %di
    CHECK
    cmpb $0x55, %es:1
    CHECK
    cmpb $0x55, %es:0xffff
    CHECK
    xor %ax, %ax
    mov %ax, %es
    /* 20: single step */
    TRY 1f
    pushf
    pop %ax
    or $0x100, %ax
    push %ax
    popf
    nop
tf_next:
1:  cmp $AT(tf_next), %bx
    CHECK
    mov $0x7000, %sp
    /* 21: big real mode: a 4 GiB limit loaded in protected mode stays */
    lgdtl AT(gdt2_ptr)
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    mov $0x08, %bx
    mov %bx, %ds
    and $0xfe, %al
    mov %eax, %cr0
    xor %bx, %bx
    mov %bx, %ds
    movl $0x200000, %ebx
    movl $0xcafe, (%ebx)
    cmpl $0xcafe, (%ebx)
    CHECK
    /* 22: A20: off, 1 MiB + x is x; on, it is not */
    mov $0xffff, %ax
    mov %ax, %fs
    movw $0x1111, 0x500
    inb $0x92, %al
    or $2, %al
    outb %al, $0x92
    movw $0x2222, %fs:0x510
    cmpw $0x1111, 0x500
    CHECK
    inb $0x92, %al
    and $0xfd, %al
    outb %al, $0x92
    cmpw $0x1111, %fs:0x510
    CHECK
    movw $0x3333, %fs:0x510
    cmpw $0x3333, 0x500
    CHECK
    inb $0x92, %al
    or $2, %al
    outb %al, $0x92
    cmpw $0x2222, %fs:0x510
    CHECK
    /* 26: far call and return, far pointers, CALL with memory operand */
    lcall $0x7c0, $farproc - image
    cmp $0x4321, %ax
    CHECK
    les AT(pointer), %di
    mov %es, %ax
    cmp $0xb800, %ax
    CHECK
    cmp $0x1234, %di
    CHECK
    xor %ax, %ax
    mov %ax, %es
    movw $AT(near_proc), 0x600
    call *0x600
    cmp $0x99, %al
    CHECK
    /* 30: BCD and friends, LOOP, XLAT, PUSHA */
    mov $0x15, %al
    add $0x27, %al
    daa
    cmp $0x42, %al
    CHECK
    mov $10, %cx
    xor %dx, %dx
2:  add %cx, %dx
    loop 2b
    cmp $55, %dx
    CHECK
    mov $AT(text_fail), %bx
    mov $3, %al
    xlat
    cmp $'L', %al
    CHECK
    mov $0x1111, %ax
    mov $0x2222, %di
    pusha
    xor %ax, %ax
    xor %di, %di
    popa
    cmp $0x1111, %ax
    CHECK
    cmp $0x2222, %di
    CHECK
    cmp $0x7000, %sp
    CHECK
    /* 36: code that runs over FFFFh in its segment is #GP */
    mov $0x4000, %ax
    mov %ax, %es
    movb $0x90, %es:0xffff
    xor %ax, %ax
    mov %ax, %es
    TRY 1f
    ljmp $0x4000, $0xffff
1:  cmp $0x4000, %si
    CHECK
    /* 37: the timer: HLT wakes through vector 8, flags have IF in the frame */
    VECTOR 8, handler
    mov $0x11, %al
    outb %al, $0x20
    mov $8, %al
    outb %al, $0x21
    mov $4, %al
    outb %al, $0x21
    mov $1, %al
    outb %al, $0x21
    mov $0xfe, %al
    outb %al, $0x21
    mov $0x30, %al
    outb %al, $0x43
    mov $0xe8, %al
    outb %al, $0x40
    mov $3, %al
    outb %al, $0x40
    TRY 1f
    sti
    hlt
hlt_next:
1:  cmp $AT(hlt_next), %bx
    CHECK
    and $0x200, %di
    cmp $0x200, %di
    CHECK
    /* the end */
    mov $AT(text_ok), %si
    cmpw $0, AT(failed)
    je 1f
    mov $AT(text_end), %si
1:  call print
    mov AT(failed), %al
    mov $0x501, %dx
    outb %al, %dx
2:  hlt
    jmp 2b
farproc:
    mov $0x4321, %ax
    lret
near_proc:
    mov $0x99, %al
    ret
pointer: .word 0x1234, 0xb800
    .balign 8
gdt2: .quad 0, 0x00cf92000000ffff
gdt2_ptr: .word 15
    .long AT(gdt2)
image_end:
    .section .note.GNU-stack, "", @progbits
