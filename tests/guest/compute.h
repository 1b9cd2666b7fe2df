/* One loop of integer arithmetic for comparing ring 3 of a guest (kernels/compute64.c) with the host (tests/kvm.sh). Needs ecx; changes eax and ecx. */
#ifndef COMPUTE_H
#define COMPUTE_H
#define COMPUTE_ROUNDS "20000000"
#define COMPUTE_LOOP "xor %eax, %eax\n 1: imul $0x9e3779b1, %eax, %eax\n add %ecx, %eax\n dec %ecx\n jnz 1b\n"
#endif
