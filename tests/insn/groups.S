/* Accesses off one base, which share a check in the translator: what each of them meets is its own. */
#include "insn.h"

CASE group/masked_loads_of_an_absent_page
    NEED NEED_AVX
    IN RDI, WINDOW + 0x2000
    INX 1, 0, 0
    INX 2, 1, 2
    INX 3, 3, 4
DO
    vmaskmovps (%rdi), %xmm1, %xmm2
    vmaskmovps 16(%rdi), %xmm1, %xmm3
DONE
    OUTX 2, 0, 0
    OUTX 3, 0, 0

CASE group/masked_stores_to_an_absent_page
    NEED NEED_AVX
    IN RDI, WINDOW + 0x2000
    INX 1, 0, 0
DO
    vmaskmovps %xmm1, %xmm1, (%rdi)
    vmaskmovps %xmm1, %xmm1, 16(%rdi)
DONE

CASE group/masked_words_of_an_absent_page
    NEED NEED_AVX512F
    IN RDI, WINDOW + 0x2000
    IN RAX, 0
    INX 2, 1, 2
    INX 3, 3, 4
DO
    kmovw %eax, %k1
    vmovups (%rdi), %zmm2{%k1}
    vmovups (%rdi), %zmm3{%k1}{z}
DONE
    OUTX 3, 0, 0

CASE group/unaligned_before_page_fault
    IN RDI, WINDOW + 0x2008
DO
1:  addps (%rdi), %xmm1
    addps 16(%rdi), %xmm2
DONE
    FAULT 13, 0, 1b

CASE group/second_in_an_absent_page
    IN RDI, WINDOW + 0x1ff8
    MEM 0x1ff8, 0x123456789
DO
    mov (%rdi), %rax
1:  mov 8(%rdi), %rcx
DONE
    OUT RAX, 0x123456789
    FAULT 14, 4, 1b
    CR2 WINDOW + 0x2000

CASE group/store_behind_load_of_a_read_only_page
    IN RDI, WINDOW + 0x3000
DO
    mov (%rdi), %rax
1:  mov %rax, 8(%rdi)
DONE
    OUT RAX, 0
    FAULT 14, 7, 1b
    CR2 WINDOW + 0x3008

CASE group/pops_over_a_page_end
    IN RSP, WINDOW + 0x0ff0
    MEM 0xff8, 0x1111
    MEM 0x1000, 0x2222
    MEM 0x1008, 0x3333
DO
    pop %rax
    pop %rcx
    pop %rdx
    pop %rbx
    mov %rax, -8(%rsp)
DONE
    OUT RAX, 0
    OUT RCX, 0x1111
    OUT RDX, 0x2222
    OUT RBX, 0x3333
    OUT RSP, WINDOW + 0x1010
    MEMOUT 0x1008, 0
