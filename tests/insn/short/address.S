/* Addresses of 16 bits: where they wrap, where the segment ends; the prefixes that change sizes. */
#include "short.h"

CASE sum_wraps
    IN BX, 0x1234ff00
    IN SI, 0x0200
    MEM 0x100, 0x11223344
DO
    mov (%bx,%si), %ax
    mov 2(%bx,%si), %cl
DONE
    OUT AX, 0xa0a03344
    OUT CX, 0xa1a1a122

CASE displacement_wraps
    IN BX, 0x8100
    MEM 0x100, 0x11223344
DO
    mov -0x8000(%bx), %eax
    addw $1, 0x8000(%bx)
DONE
    OUT AX, 0x11223344
    MEMOUT 0x100, 0x11223345

CASE word_over_the_end
    IN BX, 0xffff
DO
1:  mov (%bx), %ax
DONE
    FAULT 13, 1b

CASE store_over_the_end
    IN BX, 0xfffd
DO
1:  mov %eax, (%bx)
DONE
    FAULT 13, 1b

CASE word_over_the_end_of_the_stack_segment
    IN BP, 0xffff
DO
1:  incw (%bp)
DONE
    FAULT 12, 1b

CASE last_byte
    IN BX, 0xffff
    MEM 0xfffc, 0x99000000
DO
    mov (%bx), %al
DONE
    OUT AX, 0xa0a0a099

CASE wide_address_inside
    IN AX, 0xfff0
    IN BX, 4
    MEM 0xfff8, 0x12345678
DO
    mov (%eax,%ebx,2), %ecx
DONE
    OUT CX, 0x12345678

CASE wide_address_beyond
    IN AX, 0x10000
DO
1:  mov (%eax), %cl
DONE
    FAULT 13, 1b

CASE wide_sum_does_not_wrap
    IN AX, 0xffff
    IN BX, 1
DO
1:  mov %cl, (%eax,%ebx)
DONE
    FAULT 13, 1b

CASE wide_stack_address_beyond
    IN BP, 0x10000
DO
1:  mov 4(%ebp), %cl
DONE
    FAULT 12, 1b

CASE lea_of_both_sizes
    IN BX, 0xabcdff00
    IN SI, 0x12340300
DO
    leaw (%bx,%si), %ax
    leal (%bx,%si), %ecx
    leaw (%ebx,%esi), %dx
    leal (%ebx,%esi), %edi
DONE
    OUT AX, 0xa0a00200
    OUT CX, 0x200
    OUT DX, 0xa2a20200
    OUT DI, 0xbe020200

CASE xlat_wraps
    IN BX, 0xfff0
    IN AX, 0x20
    MEM 0x10, 0x77
DO
    xlat
DONE
    OUT AX, 0x77

CASE string_wraps
    IN SI, 0x1111ffff
    IN DI, 0x2222fffe
    IN CX, 0x33330003
    MEM 0xfffc, 0x41000000
    MEM 0, 0x00004342
DO
    rep movsb
DONE
    OUT SI, 0x11110002
    OUT DI, 0x22220001
    OUT CX, 0x33330000
    MEMOUT 0xfffc, 0x42410000
    MEMOUT 0, 0x00004343

CASE string_over_the_end
    IN SI, 0x100
    IN DI, 0xfffd
    IN CX, 3
    MEM 0x100, 0x44332211
DO
1:  rep movsw
DONE
    OUT SI, 0x102
    OUT DI, 0xffff
    OUT CX, 2
    MEMOUT 0xfffc, 0x00221100
    FAULT 13, 1b

CASE count_of_16_bits
    IN CX, 0x10000
    IN DI, 0x100
DO
    rep stosb
DONE

CASE count_of_32_bits
    IN CX, 0x10
    IN DI, 0x100
DO
    addr32 rep stosl
DONE
    OUT CX, 0
    OUT DI, 0x140
    MEMOUT 0x100, 0xa0a0a0a0
    MEMOUT 0x104, 0xa0a0a0a0
    MEMOUT 0x108, 0xa0a0a0a0
    MEMOUT 0x10c, 0xa0a0a0a0
    MEMOUT 0x110, 0xa0a0a0a0
    MEMOUT 0x114, 0xa0a0a0a0
    MEMOUT 0x118, 0xa0a0a0a0
    MEMOUT 0x11c, 0xa0a0a0a0
    MEMOUT 0x120, 0xa0a0a0a0
    MEMOUT 0x124, 0xa0a0a0a0
    MEMOUT 0x128, 0xa0a0a0a0
    MEMOUT 0x12c, 0xa0a0a0a0
    MEMOUT 0x130, 0xa0a0a0a0
    MEMOUT 0x134, 0xa0a0a0a0
    MEMOUT 0x138, 0xa0a0a0a0
    MEMOUT 0x13c, 0xa0a0a0a0

CASE wide_string_beyond
    IN CX, 4
    IN SI, 0x10000
DO
1:  addr32 rep lodsb
DONE
    FAULT 13, 1b

CASE scan_backwards
    IN FLAGS, DF
    IN AX, 0x55
    IN CX, 0x10
    IN DI, 2
    MEM 0xfffc, 0x55000000
DO
    repne scasb
DONE
    OUT CX, 0xc
    OUT DI, 0xfffe
    OUT FLAGS, DF | ZF | PF

CASE loops_and_counters
    IN CX, 0x10001
DO
    xor %eax, %eax
1:  inc %ax
    loop 1b
    mov $3, %cx
2:  inc %ax
    addr32 loop 2b
    mov $0x10000, %ecx
    jcxz 3f
    ud2
3:  jecxz 4f
    inc %ax
4:  xor %ecx, %ecx
DONE
    OUT AX, 5
    OUT CX, 0
    OUT FLAGS, ZF | PF

CASE segments
    MEM 0x100, 0x20001234
    MEM 0x104, 0x00005678
DO
    les 0x100, %di
    mov %es, %eax
    mov %es:0x1002, %cl
    mov %ds, 0x108
    pushw $0x3000
    pop %es
    lesl 0x102, %edx
    pushl $0x3000
    popl %es
DONE
    OUT DX, 0x56782000
    OUT DI, 0xa7a71234
    OUT AX, 0x2000
    OUT CX, 0xa1a1a1cc
    MEMOUT 0x108, 0x3000

CASE bit_strings
    IN AX, 0xfffffff7
    IN BX, 0x100
    MEM 0xfc, 0
DO
    bts %ax, (%bx)
    btsl %eax, 4(%bx)
    mov $0x9, %ax
    btc %ax, (%bx)
DONE
    OUT AX, 0xffff0009
    MEMOUT 0xfc, 0x00800000
    MEMOUT 0x100, 0x00800200
    OUT FLAGS, 0
    UNDEF OF | SF | ZF | AF | PF

/* What runs past the segment's end is #GP; nothing wraps to its start. */
CASE code_runs_off_the_end
    AT 0xfffe
DO
    nop
    nop
DONE
    FAULT_AT 13, 0

CASE instruction_over_the_end
    AT 0xffff
DO
    mov $1, %al
DONE
    FAULT_AT 13, 0xffff

CASE short_jump_wraps
    AT 0xfff8
DO
    jmp .+0x10
DONE
    FAULT_AT 3, 0x9

CASE divide_error
    IN CX, 0
DO
    nop
1:  div %cl
DONE
    FAULT 0, 1b
    UNDEF CF | OF | SF | ZF | AF | PF

CASE into
    IN FLAGS, OF
DO
    into
1:  nop
DONE
    FAULT 4, 1b

CASE bound
    IN AX, 5
    IN BX, 0x100
    MEM 0x100, 0x00040001
DO
1:  bound %ax, (%bx)
DONE
    FAULT 5, 1b

CASE lock_of_a_load
DO
1:  .byte 0xf0, 0x8b, 0x07
DONE
    FAULT 6, 1b

CASE mixed_sizes
    IN AX, 0x8000
DO
    cbw
    cwde
    movzwl %ax, %ecx
    movsbl %ah, %edx
    imul $-3, %eax, %ebx
    shl $20, %esi
DONE
    OUT AX, 0
    OUT CX, 0
    OUT DX, 0
    OUT BX, 0
    OUT SI, 0x6a600000
    UNDEF CF | OF | SF | ZF | AF | PF
