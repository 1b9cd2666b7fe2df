/* The layout of XSAVE areas (x86/xstate.h), asked of the host once, before main. */
#include "x86/xstate.h"
#include "x86/cpu.h"
#include <cpuid.h>

struct x86_xcomp x86_xcomp[X86_XCOMPS] = { [2] = { X86_XSAVE_EXTENDED, 256, false }, [9] = { X86_XSAVE_SIZE, 8, false } };

__attribute__((constructor)) static void xcomp_init(void)
{
    uint32_t size, offset, flags, d;
    for (unsigned n = 3; n < X86_XCOMPS; n++)
        if ((X86_XS_AVX512 >> n & 1) && __get_cpuid_count(0xd, n, &size, &offset, &flags, &d))
            x86_xcomp[n] = (struct x86_xcomp){ (uint16_t)offset, (uint16_t)size, flags & 2 };
}

bool x86_host_avx512(void)
{
    uint32_t a, b, c, d, lo, hi;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27))
        return false;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    if ((lo & 0xe6) != 0xe6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 30 & 1))
        return false;
    return x86_xsave_size(X86_XS_BASE | X86_XS_AVX512, false) <= X86_XSAVE_SIZE;
}

unsigned x86_xcomp_offset(unsigned n, uint64_t comp)
{
    if (!(comp >> 63))
        return x86_xcomp[n].offset;
    unsigned at = X86_XSAVE_EXTENDED;
    for (unsigned k = 2; k <= n; k++) {
        if (x86_xcomp[k].aligned && (comp >> k & 1))
            at = (at + 63) & ~63u;
        if (k < n && (comp >> k & 1))
            at += x86_xcomp[k].size;
    }
    return at;
}

unsigned x86_xsave_size(uint64_t components, bool compact)
{
    unsigned size = X86_XSAVE_EXTENDED;
    for (unsigned n = 2; n < X86_XCOMPS; n++)
        if (components >> n & 1)
            size = MAX(size, x86_xcomp_offset(n, compact ? components | 1ull << 63 : 0) + x86_xcomp[n].size);
    return size;
}
