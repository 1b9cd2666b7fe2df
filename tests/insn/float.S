/* x87 and SSE at their edges: stack faults, precision control, pending exceptions, what comparisons and conversions make of NaNs. */
#include "insn.h"

    .section .rodata
    .balign 16
third: .double 0.3333333333333333
nan: .quad 0x7ff8000000000000
big: .double 1e300
denormal: .quad 1
single_control: .word 0x07f
unmasked_divide: .word 0x37b
unmasked_sse: .long 0x1d00
reserved_mxcsr: .long 0x10000

/* Precision control applies to arithmetic, not to loads (an xemu and Zephyr defect). */
CASE x87/load_is_not_rounded
DO
    fldcw single_control
    fldl third
    fstpl 0x20000100
DONE
    MEMOUT 0x100, 0x3fd5555555555555

CASE x87/arithmetic_is_rounded
DO
    fldcw single_control
    fldl third
    fldz
    faddp
    fstpl 0x20000100
DONE
    MEMOUT 0x100, 0x3fd5555560000000

/* FSQRT of a denormal ends (it did not in Unicorn). */
CASE x87/sqrt_of_a_denormal
DO
    fldl denormal
    fsqrt
    fstpl 0x20000100
DONE
    MEMOUT 0x100, 0x1e60000000000000

CASE x87/stack_underflow
DO
    fninit
    fld %st(0)
    fnstsw %ax
DONE
    OUT RAX, 0xa0a0a0a0a0a03841

CASE x87/stack_overflow
DO
    fninit
    .rept 8
    fldz
    .endr
    fld1
    fnstsw %ax
    fistpl 0x20000100
DONE
    OUT RAX, 0xa0a0a0a0a0a03a41
    MEMOUT 0x100, 0x80000000

CASE x87/pending_exception
DO
    fldcw unmasked_divide
    fld1
    fldz
    fdivrp
    nop
1:  fwait
DONE
    FAULT 16, 0, 1b

CASE x87/pending_does_not_stop_fnstsw
DO
    fldcw unmasked_divide
    fld1
    fldz
    fdivrp
    fnstsw %ax
    fnclex
    fwait
    fninit
DONE
    OUT RAX, 0xa0a0a0a0a0a0b084

CASE x87/compare_with_nan
    IN FLAGS, OF | SF | AF
DO
    fldl nan
    fld1
    fucomip %st(1), %st
DONE
    OUT FLAGS, ZF | PF | CF

CASE x87/bcd
DO
    push $-1234567
    fildll (%rsp)
    fbstp 0x20000100
DONE
    OUT RSP, WINDOW_RSP - 8
    MEMOUT 0x17f8, -1234567
    MEMOUT 0x100, 0x01234567
    MEMOUT 0x108, 0x8000

CASE x87/fist_too_large
DO
    fldl big
    fistpll 0x20000100
    fnstsw %ax
DONE
    OUT RAX, 0xa0a0a0a0a0a00001
    MEMOUT 0x100, 0x8000000000000000

CASE sse/min_max_take_the_second
DO
    movsd nan, %xmm0
    movsd third, %xmm1
    movaps %xmm0, %xmm2
    maxsd %xmm1, %xmm2
    movaps %xmm1, %xmm3
    minsd %xmm0, %xmm3
DONE
    OUTX 0, 0x7ff8000000000000, 0
    OUTX 1, 0x3fd5555555555555, 0
    OUTX 2, 0x3fd5555555555555, 0
    OUTX 3, 0x7ff8000000000000, 0

CASE sse/convert_too_large
DO
    cvttsd2si big, %eax
    cvtsd2si big, %rcx
    cvttss2si nan, %edx
DONE
    OUT RAX, 0x80000000
    OUT RCX, 0x8000000000000000
    OUT RDX, 0

CASE sse/compare_clears_the_rest
    IN FLAGS, OF | SF | AF | ZF
    INX 0, 0x3ff0000000000000, 0
    INX 1, 0x4000000000000000, 0
DO
    ucomisd %xmm1, %xmm0
DONE
    OUT FLAGS, CF

CASE sse/unmasked_divide
    INX 0, 0x3ff0000000000000, 0
    INX 1, 0, 0
DO
    ldmxcsr unmasked_sse
1:  divsd %xmm1, %xmm0
DONE
    FAULT 19, 0, 1b

CASE sse/reserved_mxcsr
DO
1:  ldmxcsr reserved_mxcsr
DONE
    FAULT 13, 0, 1b

CASE sse/scalar_load_clears
DO
    movss third, %xmm0
    movsd %xmm1, %xmm2
    movq %xmm3, %xmm4
DONE
    OUTX 0, 0x0000000055555555, 0
    OUTX 2, 0x1111000000000001, 0x2222000000000002
    OUTX 4, 0x1111000000000003, 0

CASE sse/pcmpistri
    NEED NEED_SSE42
    INX 0, 0x0000000000636261, 0
    INX 1, 0x6162636463626178, 0
DO
    pcmpistri $0x0c, %xmm1, %xmm0
DONE
    OUT RCX, 1
    OUT FLAGS, CF | ZF | SF

/* VEX clears what is above its result, the legacy form keeps it. */
CASE avx/upper_half
    NEED NEED_AVX
DO
    vpcmpeqd %xmm5, %xmm5, %xmm5
    vinsertf128 $1, %xmm5, %ymm0, %ymm0
    vinsertf128 $1, %xmm5, %ymm1, %ymm1
    addps %xmm0, %xmm0
    vmovaps %xmm1, %xmm1
    vextractf128 $1, %ymm0, %xmm2
    vextractf128 $1, %ymm1, %xmm3
    subps %xmm0, %xmm0
    xorps %xmm0, %xmm0
DONE
    OUTX 0, 0, 0
    OUTX 2, -1, -1
    OUTX 3, 0, 0
    OUTX 5, -1, -1
