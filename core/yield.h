/* Giving the host processor away from code that may call nothing: the kernel keeps all registers but rax, rcx and r11. */
#ifndef CORE_YIELD_H
#define CORE_YIELD_H
#include <sys/syscall.h>

static inline void host_yield(void)
{
#ifdef __x86_64__
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "0"(SYS_sched_yield) : "rcx", "r11", "memory");
#else
    extern int sched_yield(void);
    sched_yield();
#endif
}
#endif
