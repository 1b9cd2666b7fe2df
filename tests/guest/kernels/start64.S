/*
 * Start of the 64-bit test kernels: multiboot, long mode over identity-mapped 2 MiB pages (4 GiB, user-accessible), GDT, IDT, TSS,
 * main(); enter() and the trap stubs that come back from it (kit.h).
 * Selectors: 08 code64 10 data (ring 0), 1b code32 23 data 2b code64 (ring 3), 30 TSS, 40.. free for tests.
 */
    .section .multiboot, "a"
    .balign 4
    .long 0x1badb002, 0, -0x1badb002

    .section .data
    .balign 16
    .global gdt, idt, tss, last, stack_top, user_stack_top, kernel_sp, pml4, pdpt, pd, multiboot_info
gdt:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff, 0x00cffa000000ffff, 0x00cff2000000ffff, 0x00affa000000ffff, 0, 0
    .fill 24, 8, 0
gdt_ptr: .word 255
    .quad gdt
idt_ptr: .word 4095
    .quad idt
    .section .bss
    .balign 4096
pml4: .fill 4096
pdpt: .fill 4096
pd: .fill 4096 * 4
idt: .fill 512, 8, 0
tss: .fill 104 + 8192 + 1
    .balign 16
last: .fill 27, 8, 0
kernel_sp: .quad 0
multiboot_info: .quad 0
    .balign 4096
    .fill 16384
stack_top:
    .fill 16384
trap_stack_top:
    .fill 16384
user_stack_top:

    .text
    .code32
    .global _start, enter
_start:
    mov %ebx, multiboot_info
    mov $pdpt + 7, %eax
    mov %eax, pml4
    mov $pd + 7, %eax
    mov $pdpt, %edi
    mov $4, %ecx
1:  mov %eax, (%edi)
    add $4096, %eax
    add $8, %edi
    dec %ecx
    jnz 1b
    mov $0xe7, %eax
    mov $pd, %edi
    mov $2048, %ecx
2:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    dec %ecx
    jnz 2b
    mov $pml4, %eax
    mov %eax, %cr3
    mov $0x6a0, %eax
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    mov $0x901, %eax
    xor %edx, %edx
    wrmsr
    mov $0x80010033, %eax
    mov %eax, %cr0
    lgdt gdt_ptr
    ljmp $8, $3f
    .code64
3:  mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    lea stack_top, %rsp
    xor %ecx, %ecx
    lea idt, %rdi
    lea stubs, %rax
4:  mov %ax, (%rdi)
    movw $8, 2(%rdi)
    movw $0x8e00, 4(%rdi)
    mov %rax, %rdx
    shr $16, %rdx
    mov %dx, 6(%rdi)
    add $16, %rdi
    add $16, %rax
    inc %ecx
    cmp $256, %ecx
    jne 4b
    movb $0xee, idt + 0x80 * 16 + 5
    movb $0xee, idt + 3 * 16 + 5
    lidt idt_ptr
    movq $trap_stack_top, tss + 4
    movw $104, tss + 102
    movb $0xff, tss + 104 + 8192
    mov $tss, %eax
    mov %ax, gdt + 0x32
    shr $16, %eax
    mov %al, gdt + 0x34
    mov %ah, gdt + 0x37
    movw $104 + 8192, gdt + 0x30
    movb $0x89, gdt + 0x35
    mov $0x30, %eax
    ltr %ax
    mov $0xff, %al                          # firmware may have left interrupts on
    out %al, $0x21
    out %al, $0xa1
    call main
5:  hlt
    jmp 5b

/* offsets in struct regs: 15 general registers, then */
#define R_DS 120
#define R_ES 128
#define R_FS 136
#define R_GS 144
#define R_VEC 152
#define R_IP 168
#define R_CS 176
#define R_FL 184
#define R_SP 192
#define R_SS 200
#define R_CR2 208

enter:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, kernel_sp
    pushq R_SS(%rdi)
    pushq R_SP(%rdi)
    pushq R_FL(%rdi)
    pushq R_CS(%rdi)
    pushq R_IP(%rdi)
    mov R_DS(%rdi), %ds
    mov R_ES(%rdi), %es
    mov (%rdi), %r15
    mov 8(%rdi), %r14
    mov 16(%rdi), %r13
    mov 24(%rdi), %r12
    mov 32(%rdi), %r11
    mov 40(%rdi), %r10
    mov 48(%rdi), %r9
    mov 56(%rdi), %r8
    mov 72(%rdi), %rsi
    mov 80(%rdi), %rbp
    mov 88(%rdi), %rbx
    mov 96(%rdi), %rdx
    mov 104(%rdi), %rcx
    mov 112(%rdi), %rax
    mov 64(%rdi), %rdi
    iretq

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

common:
    push %rax
    push %rax
    push %rax
    push %rax
    mov %ds, (%rsp)
    mov %es, 8(%rsp)
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    cld
    mov %rsp, %rsi
    lea last, %rdi
    mov $26, %ecx
    rep movsq
    mov %ds, %eax
    mov %rax, last + R_DS
    mov %es, %eax
    mov %rax, last + R_ES
    mov %fs, %eax
    mov %rax, last + R_FS
    mov %gs, %eax
    mov %rax, last + R_GS
    mov %cr2, %rax
    mov %rax, last + R_CR2
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov kernel_sp, %rsp
    pushq $2
    popfq
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .section .note.GNU-stack, "", @progbits
