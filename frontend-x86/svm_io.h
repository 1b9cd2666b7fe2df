/* EXITINFO1 of an intercepted port access, made by the generator and by its helper. Sizes of operand (1 2 4 bytes) and address (16 32 64 bits)
   have one bit each. APM vol. 2 15.10.2. */
#ifndef FRONTEND_X86_SVM_IO_H
#define FRONTEND_X86_SVM_IO_H
#define SVM_IO_IN 1u
#define SVM_IO_STRING 4u
#define SVM_IO_REP 8u
#define SVM_IO_SIZE_SHIFT 4
#define SVM_IO_ADDR_SHIFT 7
#define SVM_IO_SEG_SHIFT 10
#endif
