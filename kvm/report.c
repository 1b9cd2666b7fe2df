/* What is said when a vCPU comes out of the kernel for a reason that ends the machine: the reason, the registers, and the bytes at pc. */
#include "core/log.h"
#include "core/vm.h"
#include "kvm/internal.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *kvm_exit_name(uint32_t reason)
{
    static const char *const names[] = {
#define NAME(x) [KVM_EXIT_##x] = #x
        NAME(UNKNOWN), NAME(EXCEPTION), NAME(IO), NAME(HYPERCALL), NAME(DEBUG), NAME(HLT), NAME(MMIO), NAME(IRQ_WINDOW_OPEN), NAME(SHUTDOWN),
        NAME(FAIL_ENTRY), NAME(INTR), NAME(SET_TPR), NAME(TPR_ACCESS), NAME(NMI), NAME(INTERNAL_ERROR), NAME(SYSTEM_EVENT), NAME(IOAPIC_EOI),
        NAME(HYPERV), NAME(X86_RDMSR), NAME(X86_WRMSR), NAME(DIRTY_RING_FULL), NAME(X86_BUS_LOCK), NAME(XEN), NAME(NOTIFY),
#undef NAME
    };
    return reason < ARRAY_SIZE(names) && names[reason] ? names[reason] : "?";
}

/* Up to 16 bytes at pc in hexadecimal; fewer when the page after it is not there. */
static void code_bytes(struct x86_cpu *c, char *text, size_t len)
{
    size_t n = 0;

    for (unsigned i = 0; i < 16 && n + 4 < len; i++) {
        struct x86_walk w;
        uint8_t b;
        gva_t va = c->seg[X86_CS].base + c->rip + i;
        struct aspace *mem = c->vcpu->vm->mem;
        if (x86_walk(c, mem, va, 0, false, true, false, &w) || as_dma_read(mem, (w.gpa & PAGE_MASK) | (va & ~PAGE_MASK), &b, 1))
            break;
        n += (size_t)snprintf(text + n, len - n, " %02x", b);
    }
    if (!n)
        snprintf(text, len, " not readable");
}

void kvm_report(struct kvm_cpu *k, const char *fmt, ...)
{
    char what[256], regs[4096], code[64];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    if (kvm_state_get(k) < 0) {
        log_error("-accel kvm: %s; the machine stops (its registers cannot be read)", what);
        return;
    }
    x86_dump(&k->cpu, regs, sizeof(regs));
    code_bytes(&k->cpu, code, sizeof(code));
    log_error("-accel kvm: %s; the machine stops\n%scode at pc:%s", what, regs, code);
}
