/* The start of the 16-bit kernels: from multiboot's 32-bit state to a 16-bit segment at 7C00h, where the kernel's own image goes. The kernel gives
   gdt_ptr (08h: 32-bit code, 10h: flat data, 18h: 16-bit code) and the bytes from image to image_end. */
    .section .multiboot, "a"
    .balign 4
    .long 0x1badb002, 0, -0x1badb002

    .text
    .code32
    .global _start
_start:
    cli
    lgdt gdt_ptr
    ljmp $8, $1f
1:  mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $image, %esi
    mov $0x7c00, %edi
    mov $image_end - image, %ecx
    cld
    rep movsb
    ljmp $0x18, $0x7c00
