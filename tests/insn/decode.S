/* What the processor refuses to decode, and what it does not: lengths, LOCK, VEX and EVEX prefixes, opcodes with reserved forms. */
#include "insn.h"

CASE length/15_bytes
DO
    .fill 14, 1, 0x2e
    nop
DONE

CASE length/16_bytes
DO
1:  .fill 15, 1, 0x2e
    nop
DONE
    FAULT 13, 0, 1b

CASE length/16_bytes_by_immediate
DO
1:  .fill 8, 1, 0x3e
    .byte 0x81, 0x84, 0x24, 0, 0, 0, 0, 1, 0, 0, 0
DONE
    FAULT 13, 0, 1b

CASE length/15_bytes_by_immediate
DO
    .fill 4, 1, 0x3e
    .byte 0x81, 0x84, 0x24, 0, 0, 0, 0, 1, 0, 0, 0
DONE
    MEMOUT 0x1800, 1
    OUT FLAGS, 0

/* Too long, with the rest of it in a page that is absent: the bytes are needed first. */
CASE length/16_bytes_over_page_end
    IN RAX, WINDOW + 0x1ff8
    MEM 0x1ff8, 0x6666666666666666
DO
    jmp *%rax
DONE
    FAULT 14, 0x14, WINDOW + 0x1ff8
    CR2 WINDOW + 0x2000

CASE length/rex_counts_last
    IN RAX, 0x1234
DO
    .byte 0x48, 0x66, 0xb8, 0x55, 0x00
DONE
    OUT RAX, 0x55

CASE lock/register
DO
1:  .byte 0xf0, 0x01, 0xc0
DONE
    FAULT 6, 0, 1b

CASE lock/mov
DO
1:  .byte 0xf0, 0x89, 0x04, 0x24
DONE
    FAULT 6, 0, 1b

CASE lock/cmp
DO
1:  .byte 0xf0, 0x39, 0x04, 0x24
DONE
    FAULT 6, 0, 1b

CASE lock/bt
DO
1:  .byte 0xf0, 0x0f, 0xba, 0x24, 0x24, 0x01
DONE
    FAULT 6, 0, 1b

CASE lock/load_form_of_add
DO
1:  .byte 0xf0, 0x03, 0x04, 0x24
DONE
    FAULT 6, 0, 1b

CASE lock/nop
DO
1:  .byte 0xf0, 0x90
DONE
    FAULT 6, 0, 1b

CASE lock/neg
    MEM 0x1800, 1
DO
    lock negq (%rsp)
DONE
    MEMOUT 0x1800, -1
    OUT FLAGS, CF | AF | SF | PF

CASE lock/btc
    MEM 0x1800, 1
DO
    lock btcl $0, (%rsp)
DONE
    MEMOUT 0x1800, 0
    OUT FLAGS, CF
    UNDEF OF | SF | ZF | AF | PF

CASE vex/after_66
    NEED NEED_AVX
DO
1:  .byte 0x66, 0xc5, 0xf8, 0x28, 0xc1
DONE
    FAULT 6, 0, 1b

CASE vex/after_f3
    NEED NEED_AVX
DO
1:  .byte 0xf3, 0xc5, 0xf8, 0x28, 0xc1
DONE
    FAULT 6, 0, 1b

CASE vex/after_lock
    NEED NEED_AVX
DO
1:  .byte 0xf0, 0xc5, 0xf8, 0x28, 0xc1
DONE
    FAULT 6, 0, 1b

CASE vex/after_rex
    NEED NEED_AVX
DO
1:  .byte 0x48, 0xc5, 0xf8, 0x28, 0xc1
DONE
    FAULT 6, 0, 1b

CASE vex/vvvv_unused
    NEED NEED_AVX
DO
1:  .byte 0xc5, 0xf0, 0x28, 0xc1
DONE
    FAULT 6, 0, 1b

CASE vex/length_of_movd
    NEED NEED_AVX
DO
1:  .byte 0xc5, 0xfd, 0x6e, 0xc0
DONE
    FAULT 6, 0, 1b

CASE vex/map_0
    NEED NEED_AVX
DO
1:  .byte 0xc4, 0xe0, 0x78, 0x28, 0xc1
DONE
    FAULT 6, 0, 1b

CASE vex/gather_same_registers
    NEED NEED_AVX2
    IN RDI, WINDOW
DO
1:  .byte 0xc4, 0xe2, 0x69, 0x90, 0x0c, 0x0f
DONE
    FAULT 6, 0, 1b

CASE evex/reserved_bit_of_p0
    NEED NEED_AVX512F
DO
1:  .byte 0x62, 0xf9, 0x7c, 0x48, 0x28, 0xc1
DONE
    FAULT 6, 0, 1b

CASE evex/fixed_bit_of_p1
    NEED NEED_AVX512F
DO
1:  .byte 0x62, 0xf1, 0x78, 0x48, 0x28, 0xc1
DONE
    FAULT 6, 0, 1b

CASE evex/zeroing_without_mask
    NEED NEED_AVX512F
DO
1:  .byte 0x62, 0xf1, 0x7c, 0xc8, 0x28, 0xc1
DONE
    FAULT 6, 0, 1b

CASE evex/zeroing_of_memory
    NEED NEED_AVX512F
DO
1:  .byte 0x62, 0xf1, 0x7c, 0xc9, 0x29, 0x04, 0x24
DONE
    FAULT 6, 0, 1b

CASE evex/length_3
    NEED NEED_AVX512F
DO
1:  .byte 0x62, 0xf1, 0x7c, 0x68, 0x28, 0xc1
DONE
    FAULT 6, 0, 1b

CASE evex/broadcast_of_movaps
    NEED NEED_AVX512F
DO
1:  .byte 0x62, 0xf1, 0x7c, 0x58, 0x28, 0x04, 0x24
DONE
    FAULT 6, 0, 1b

CASE evex/after_66
    NEED NEED_AVX512F
DO
1:  .byte 0x66, 0x62, 0xf1, 0x7c, 0x48, 0x28, 0xc1
DONE
    FAULT 6, 0, 1b

CASE evex/gather_without_mask
    NEED NEED_AVX512F
    IN RDI, WINDOW
DO
1:  .byte 0x62, 0xf2, 0x7d, 0x48, 0x90, 0x0c, 0x17
DONE
    FAULT 6, 0, 1b

CASE opcode/ud2
DO
1:  ud2
DONE
    FAULT 6, 0, 1b

CASE opcode/lea_of_a_register
DO
1:  .byte 0x8d, 0xc0
DONE
    FAULT 6, 0, 1b

CASE opcode/pop_ext_1
DO
1:  .byte 0x8f, 0xc8
DONE
    FAULT 6, 0, 1b

CASE opcode/mov_ext_1
DO
1:  .byte 0xc7, 0xc8, 0, 0, 0, 0
DONE
    FAULT 6, 0, 1b

CASE opcode/ff_ext_7
DO
1:  .byte 0xff, 0xf8
DONE
    FAULT 6, 0, 1b

CASE opcode/far_call_of_a_register
DO
1:  .byte 0xff, 0xd8
DONE
    FAULT 6, 0, 1b

CASE opcode/mov_to_cs
DO
1:  .byte 0x8e, 0xc8
DONE
    FAULT 6, 0, 1b

CASE opcode/push_es_in_long_mode
DO
1:  .byte 0x06
DONE
    FAULT 6, 0, 1b

CASE opcode/salc_in_long_mode
DO
1:  .byte 0xd6
DONE
    FAULT 6, 0, 1b

CASE opcode/cmpxchg8b_of_a_register
DO
1:  .byte 0x0f, 0xc7, 0xc8
DONE
    FAULT 6, 0, 1b

CASE opcode/3dnow
DO
1:  .byte 0x0f, 0x0f, 0xc1, 0x9e
DONE
    FAULT 6, 0, 1b
