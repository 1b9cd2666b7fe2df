/* The x87 environment and state in memory, in both forms: what is stored, what comes back, what the stores leave in the processor. */
#include "insn.h"

    .section .rodata
    .balign 16
env_nan: .quad 0x7ff8000000000001
    .text
    .macro clear_registers
    fninit
    .rept 8
    fldz
    .endr
    fninit
    .endm

/* Words of the environment's 32-bit form: control, status, tag; FIP; FCS and FOP; FDP; FDS. The upper halves are ones where nothing is defined. Processors
   that have given up FCS and FDS store zeros. */
CASE x87_env/load_and_store
    MEM 0x100, 0x00006900ffff0c5f
    MEM 0x108, 0x112233440000ffff
    MEM 0x110, 0x5566778805674321
    MEM 0x118, 0x0000abcd
DO
    fldenv 0x20000100
    fnstenv 0x20000140
    fnstcw 0x20000180
    movw $0, 0x20000150
    movw $0, 0x20000158
    fninit
DONE
    MEMOUT 0x140, 0xffff6900ffff0c5f
    MEMOUT 0x148, 0x11223344ffffffff
    MEMOUT 0x150, 0x5566778805670000
    MEMOUT 0x158, 0xffff0000
    MEMOUT 0x180, 0x0c7f

/* ... and of the 16-bit form. */
CASE x87_env/load_and_store_16
    MEM 0x100, 0x3344ffff69000c5f
    MEM 0x108, 0x00000000667788aa
DO
    data16 fldenv 0x20000100
    data16 fnstenv 0x20000140
    fnstcw 0x20000180
    movw $0, 0x20000148
    fninit
DONE
    MEMOUT 0x140, 0x3344ffff69000c5f
    MEMOUT 0x148, 0x0000000066770000
    MEMOUT 0x180, 0x0c7f

/* All 8 bytes of the status of an FLDENV with an unmasked error: the next waiting instruction is #MF, FNSTENV masks what it has stored. */
CASE x87_env/unmasked_error
    MEM 0x100, 0x00000004ffff0c3b
    MEM 0x108, 0xffff
DO
    fldenv 0x20000100
    fnstsw 0x20000140
1:  fwait
DONE
    MEMOUT 0x140, 0x8084
    FAULT 16, 0, 1b

CASE x87_env/store_masks
    MEM 0x100, 0x00000004ffff0c3b
    MEM 0x108, 0xffff
DO
    fldenv 0x20000100
    fnstenv 0x20000140
    fnstsw 0x20000180
    fwait
    fnstcw 0x20000188
    fnclex
DONE
    MEMOUT 0x140, 0xffff8084ffff0c7b
    MEMOUT 0x148, 0x00000000ffffffff
    MEMOUT 0x158, 0xffff0000
    MEMOUT 0x180, 0x0004
    MEMOUT 0x188, 0x0c7f

/* Tags are made from the registers, whatever FLDENV was given: valid, zero, special, empty. */
CASE x87_env/tags
    MEM 0x108, 0x0000
DO
    fninit
    fldl env_nan
    fldz
    fld1
    fnstenv 0x20000140
    movl $0x2000037f, 0x20000100
    movw $0x2800, 0x20000104
    movw $0x0000, 0x20000102
    movl $0x03ff, 0x20000108
    fldenv 0x20000100
    fnstenv 0x20000180
    movl $0, 0x20000158
    movl $0, 0x20000198
    movq $0, 0x20000150
    movq $0, 0x20000190
    movl $0, 0x2000014c
    movl $0, 0x2000018c
    movq $0, 0x20000100
    movl $0, 0x20000108
    fninit
DONE
    MEMOUT 0x140, 0xffff2800ffff037f
    MEMOUT 0x148, 0x00000000ffff93ff
    MEMOUT 0x180, 0xffff2800ffff037f
    MEMOUT 0x188, 0x00000000ffff93ff

/* FNSAVE: environment, then ST(0) to ST(7); the processor is as after FNINIT. */
CASE x87_env/save_and_restore
DO
    clear_registers
    fld1
    fldz
    fldpi
    fnsave 0x20000200
    fnstcw 0x20000140
    fnstsw 0x20000142
    fnstenv 0x20000160
    frstor 0x20000200
    fstpl 0x20000180
    fstpl 0x20000188
    fstpl 0x20000190
    movq $0, 0x2000020c
    movq $0, 0x20000214
    fninit
DONE
    MEMOUT 0x140, 0x0000037f
    MEMOUT 0x160, 0xffff0000ffff037f
    MEMOUT 0x168, 0x00000000ffffffff
    MEMOUT 0x178, 0xffff0000
    MEMOUT 0x180, 0x400921fb54442d18
    MEMOUT 0x190, 0x3ff0000000000000
    MEMOUT 0x200, 0xffff2800ffff037f
    MEMOUT 0x208, 0x00000000ffff13ff
    MEMOUT 0x210, 0
    MEMOUT 0x218, 0x2168c23500000000
    MEMOUT 0x220, 0x00004000c90fdaa2
    MEMOUT 0x228, 0x0000000000000000
    MEMOUT 0x230, 0x8000000000000000
    MEMOUT 0x238, 0x3fff

CASE x87_env/save_and_restore_16
DO
    clear_registers
    fld1
    fldz
    data16 fnsave 0x20000200
    fnstsw 0x20000142
    data16 frstor 0x20000200
    fstpl 0x20000180
    fstpl 0x20000188
    movq $0, 0x20000206
    fninit
DONE
    MEMOUT 0x180, 0
    MEMOUT 0x188, 0x3ff0000000000000
    MEMOUT 0x200, 0x00001fff3000037f
    MEMOUT 0x208, 0
    MEMOUT 0x210, 0
    MEMOUT 0x218, 0x8000000000000000
    MEMOUT 0x220, 0x3fff

CASE32 x87_env/save_in_32_bit_code
DO32
    clear_registers
    fld1
    fnsave 0x20000200
    frstor 0x20000200
    data16 fnsave 0x20000280
    movl $0, 0x2000020c
    movl $0, 0x20000210
    movl $0, 0x20000286
    movw $0, 0x2000028a
    movw $0, 0x20000288
DONE
    MEMOUT 0x200, 0xffff3800ffff037f
    MEMOUT 0x208, 0x00000000ffff3fff
    MEMOUT 0x218, 0x00000000ffff0000
    MEMOUT 0x220, 0x00003fff80000000
    MEMOUT 0x280, 0x00003fff3800037f
    MEMOUT 0x288, 0x0000000000000000
    MEMOUT 0x290, 0x3fff800000000000

/* Nothing is stored, and the processor is not initialized, when the image's end is absent; FRSTOR and FLDENV load nothing. */
CASE x87_env/save_to_absent
    IN RDI, WINDOW + 0x1fa0
DO
    fninit
    fld1
1:  fnsave (%rdi)
DONE
    FAULT 14, 6, 1b
    CR2_IN WINDOW + 0x2000, WINDOW + 0x200b

CASE x87_env/load_from_absent
    IN RDI, WINDOW + 0x1ff0
DO
1:  fldenv (%rdi)
DONE
    FAULT 14, 4, 1b
    CR2_IN WINDOW + 0x2000, WINDOW + 0x200b

/* MASKMOVDQU and MASKMOVQ: bytes whose mask bit is clear are not written, but their page is asked for like the others. */
CASE maskmov/some
    IN RDI, WINDOW + 0x103
    INX 1, 0x0807060504030201, 0x100f0e0d0c0b0a09
    INX 2, 0x8000ff00007f0080, 0x00000000000000ff
DO
    maskmovdqu %xmm2, %xmm1
DONE
    MEMOUT 0x100, 0x01000000
    MEMOUT 0x108, 0x09080006

CASE maskmov/mmx
    IN RDI, WINDOW + 0x100
    INX 1, 0x0807060504030201, 0
    INX 2, 0x80000000000000ff, 0
DO
    movdq2q %xmm1, %mm1
    movdq2q %xmm2, %mm2
    maskmovq %mm2, %mm1
    emms
DONE
    MEMOUT 0x100, 0x0800000000000001

CASE maskmov/rest_is_absent
    IN RDI, WINDOW + 0x1ff8
    INX 1, 0x0807060504030201, 0x100f0e0d0c0b0a09
    INX 2, 0xff00000000000000, 0
DO
1:  maskmovdqu %xmm2, %xmm1
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2000

CASE maskmov/start_is_absent
    IN RDI, WINDOW - 8
    INX 1, 0x0807060504030201, 0x100f0e0d0c0b0a09
    INX 2, 0, 0x80
DO
1:  maskmovdqu %xmm2, %xmm1
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW - 8

CASE maskmov/nothing_of_absent
    IN RDI, WINDOW + 0x2100
    INX 2, 0, 0
DO
1:  maskmovdqu %xmm2, %xmm1
DONE
    FAULT 14, 6, 1b
    CR2 WINDOW + 0x2100

CASE maskmov/mmx_nothing_of_read_only
    IN RDI, WINDOW + 0x3000
DO
    pxor %mm2, %mm2
1:  maskmovq %mm2, %mm1
DONE
    FAULT 14, 7, 1b
    CR2 WINDOW + 0x3000

CASE maskmov/absent
    IN RDI, WINDOW + 0x1ff8
    INX 2, 0x80, 0x8000000000000000
DO
1:  maskmovdqu %xmm2, %xmm1
DONE
    FAULT 14, 6, 1b
    CR2_IN WINDOW + 0x2000, WINDOW + 0x2007

CASE maskmov/mmx_read_only
    IN RDI, WINDOW + 0x3000
    INX 2, 0x8000000000000000, 0
DO
    movdq2q %xmm2, %mm2
1:  maskmovq %mm2, %mm1
DONE
    FAULT 14, 7, 1b
    CR2_IN WINDOW + 0x3000, WINDOW + 0x3007

CASE32 maskmov/segment
    IN RDI, WINDOW + 0x100
    INX 1, 0x0807060504030201, 0x100f0e0d0c0b0a09
    INX 2, 0x80, 0
DO32
    es maskmovdqu %xmm2, %xmm1
DONE
    MEMOUT 0x100, 1
