/*
 * Where the components of an XSAVE area lie. In the standard format that is the processor's choice: we use and present the host's, so that
 * its XSAVE fills struct x86_cpu's fpu, and KVM's area is the same. SDM vol. 1 ch. 13.4, vol. 2 CPUID leaf 0Dh.
 */
#ifndef X86_XSTATE_H
#define X86_XSTATE_H
#include "core/types.h"

enum { X86_XS_X87 = 1, X86_XS_SSE = 2, X86_XS_AVX = 4, X86_XS_OPMASK = 0x20, X86_XS_ZMM_HI256 = 0x40, X86_XS_HI16_ZMM = 0x80,
       X86_XS_BASE = 7, X86_XS_AVX512 = 0xe0, X86_XS_PKRU = 0x200 };
#define X86_XCOMPS_FPU 8             /* those of them that are in struct x86_cpu's fpu */
#define X86_XCOMPS 10
#define X86_XSAVE_EXTENDED 576u      /* where component 2 begins; the legacy area and the header are before it */

struct x86_xcomp { uint16_t offset, size; bool aligned; };      /* in the standard format; aligned: to 64 bytes in the compacted one */
extern struct x86_xcomp x86_xcomp[X86_XCOMPS];                  /* from 2 on; size 0: the host has it not. PKRU is not in cpu's fpu: after it */

/* The host's operating system lets programs use AVX-512, the host has KMOVQ, by which we store masks (AVX512BW), and its area is not larger than ours. */
bool x86_host_avx512(void);
/* Offset of component n >= 2 in an area whose XCOMP_BV is COMP: bit 63 set: compacted, of those components. */
unsigned x86_xcomp_offset(unsigned n, uint64_t comp);
/* Bytes of an area of these components. */
unsigned x86_xsave_size(uint64_t components, bool compact);
#endif
