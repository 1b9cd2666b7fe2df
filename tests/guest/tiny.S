/*
 * Tiny multiboot kernels for tests/triple.sh, one each by -DKIND=n. All of them count their starts in CMOS byte 0x50, which a reset keeps,
 * and print "boot" on the serial port; the second start of one boot prints "again" and leaves by isa-debug-exit at 0xf4 (status 33).
 * KIND 1: triple fault (no IDT). 2: jumps to an address where nothing is. 3: asks the keyboard controller for a reset. 4: halts for ever.
 * 5: port 0xcf9. 6: an IDT whose entries point nowhere. 7: enters paging with page tables that do not exist.
 * 8: enters paging with its own 4 MiB mapped, and reads 0x12345678, which is not (tests/stages.sh).
 */
    .section .text
    .long 0x1badb002, 0, -0x1badb002
    .globl _start
_start:
    mov $stack, %esp
    mov $0x50, %al
    out %al, $0x70
    in $0x71, %al
    cmp $0xa5, %al
    je again
    mov $0x50, %al
    out %al, $0x70
    mov $0xa5, %al
    out %al, $0x71
    mov $boot, %esi
    call print
#if KIND == 1
    lidt none
    int3
#elif KIND == 2
    lidt none
    mov $0xf1234567, %eax
    jmp *%eax
#elif KIND == 3
    mov $0xfe, %al
    out %al, $0x64
#elif KIND == 4
    cli
#elif KIND == 5
    mov $0xcf9, %dx
    mov $0x06, %al
    out %al, %dx
#elif KIND == 6
    lidt bad
    int $0x40
#elif KIND == 7
    lidt none
    mov $0xf0000000, %eax
    mov %eax, %cr3
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    mov 0x12345678, %eax
#elif KIND == 8
    lidt none
    mov $directory, %eax
    movl $0x83, (%eax)
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x10, %eax
    mov %eax, %cr4
    mov %cr0, %eax
    or $0x80000000, %eax
    mov %eax, %cr0
    mov 0x12345678, %eax
#endif
halt:
    hlt
    jmp halt
again:
    mov $twice, %esi
    call print
    mov $0x10, %al
    out %al, $0xf4
    jmp halt
print:
    mov $0x3fd, %dx
1:  in %dx, %al
    test $0x20, %al
    jz 1b
    mov $0x3f8, %dx
    lodsb
    test %al, %al
    jz 2f
    out %al, %dx
    jmp print
2:  ret
boot:  .asciz "boot\n"
twice: .asciz "again\n"
    .balign 8
none: .word 0
    .long 0
bad: .word 0x7ff
    .long table
    .balign 8
table: .fill 256, 8, 0x00008e0000080000
    .space 1024
stack:
#if KIND == 8
    .balign 4096
directory: .space 4096
#endif
