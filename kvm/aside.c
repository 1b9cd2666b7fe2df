/*
 * A few instructions of our own on the guest's processor, while the guest stands still: some of the kernel's state shows only when a processor
 * runs. Timers of its local APIC become interrupts there, and how far its PIT has counted is told to a processor that reads the port.
 *
 * The code is in a page of its own, below the identity map (vcpu.c), read-only and full of ones whenever the guest can look. Protected mode, no
 * paging, interrupts off, NMIs masked. Each piece ends with an access to MARK, which comes out to us. Hazard: the guest's registers in the kernel are
 * lost; struct x86_cpu has them, and push is set. Linux api.rst.
 */
#include "core/log.h"
#include "core/vm.h"
#include "kvm/internal.h"
#include <errno.h>
#include <string.h>

#define AT 0xfeffb000ul
enum { MARK = 0xeb, TURN = 0, OUT = 16, IN = 32 };

static const uint8_t code[] = { [TURN] = 0x0f, 0xa2, 0xe6, MARK,         /* cpuid; out %al, $MARK */
                                [OUT] = 0xee, 0xe6, MARK,                /* out %al, (%dx); out %al, $MARK */
                                [IN] = 0xec, 0xe6, MARK };               /* in (%dx), %al; out %al, $MARK */
static uint8_t page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

static int give_page(void)
{
    static bool given;
    struct kvm_userspace_memory_region m = { .slot = KVM_PRIVATE_SLOT, .guest_phys_addr = AT, .memory_size = PAGE_SIZE,
        .userspace_addr = (uintptr_t)page, .flags = KVM_MEM_READONLY };
    int ret = given ? 0 : kvm_do(kvm_host.vm_fd, "KVM_SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION, &m);

    given |= ret >= 0;
    memset(page, 0xff, sizeof(page));
    if (ret >= 0)
        memcpy(page, code, sizeof(code));
    return ret;
}

static struct kvm_segment flat(unsigned type, bool system)
{
    return (struct kvm_segment){ .limit = system ? 0x67 : 0xffffffff, .selector = 8, .type = (uint8_t)type, .s = !system, .present = 1, .db = !system,
        .g = !system };
}

static int set_mode(struct kvm_cpu *k)
{
    struct kvm_sregs s;
    int ret = kvm_do(k->fd, "KVM_GET_SREGS", KVM_GET_SREGS, &s);

    s.cs = flat(11, false);
    s.ds = s.es = s.fs = s.gs = s.ss = flat(3, false);
    s.tr = flat(11, true);
    s.ldt = (struct kvm_segment){ .unusable = 1 };
    s.cr0 = CR0_PE | CR0_ET | CR0_NE;
    s.cr4 = s.efer = 0;
    memset(s.interrupt_bitmap, 0, sizeof(s.interrupt_bitmap));
    return ret < 0 ? ret : kvm_do(k->fd, "KVM_SET_SREGS", KVM_SET_SREGS, &s);
}

int kvm_aside_begin(struct vcpu *v)
{
    struct kvm_cpu *k = v->engine_data;
    struct kvm_vcpu_events e = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW, .nmi.masked = 1 };
    struct kvm_mp_state mp = { KVM_MP_STATE_RUNNABLE };
    int ret;

    k->push = true;
    k->run->request_interrupt_window = 0;
    if (!kvm_host.readonly_mem)
        return -ENOTSUP;
    if ((ret = give_page()) < 0 || (ret = set_mode(k)) < 0 || (ret = kvm_do(k->fd, "KVM_SET_MP_STATE", KVM_SET_MP_STATE, &mp)) < 0)
        return ret;
    return kvm_do(k->fd, "KVM_SET_VCPU_EVENTS", KVM_SET_VCPU_EVENTS, &e);
}

int kvm_aside_end(struct vcpu *v)
{
    struct kvm_cpu *k = v->engine_data;
    struct kvm_vcpu_events e;
    int ret = kvm_do(k->fd, "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &e);

    memset(page, 0xff, sizeof(page));
    if (ret >= 0 && e.nmi.pending)
        vcpu_set_pending(v, VCPU_NMI);
    return ret;
}

/* 0: the mark was reached. Kicks only make it try again: what is pending will be looked at later. */
static int run_to_mark(struct kvm_cpu *k)
{
    struct kvm_run *r = k->run;

    for (int tries = 0; tries < 1000; tries++) {
        __atomic_store_n(&r->immediate_exit, 0, __ATOMIC_SEQ_CST);
        int ret = kvm_try(k->fd, KVM_RUN, 0);
        if (ret < 0 && ret != -EINTR && ret != -EAGAIN)
            return ret;
        if (ret >= 0 && r->exit_reason == KVM_EXIT_IO && r->io.port == MARK)
            return 0;
        if (ret >= 0 && r->exit_reason == KVM_EXIT_IOAPIC_EOI)
            kvm_chips_eoi_exit(r->eoi.vector);
        else if (ret >= 0 && r->exit_reason != KVM_EXIT_INTR)
            break;
    }
    log_error("-accel kvm: code of our own ended with exit reason %u (%s)", r->exit_reason, kvm_exit_name(r->exit_reason));
    return -EIO;
}

static int go(struct vcpu *v, unsigned entry, uint16_t port, uint8_t *al)
{
    struct kvm_cpu *k = v->engine_data;
    struct kvm_regs regs = { .rip = AT + entry, .rflags = 2, .rdx = port, .rax = *al };
    int ret;

    kvm_run_once(k, true);                            /* the mark of the last piece is behind it */
    if ((ret = kvm_do(k->fd, "KVM_SET_REGS", KVM_SET_REGS, &regs)) < 0 || (ret = run_to_mark(k)) < 0)
        return ret;
    *al = *((uint8_t *)k->run + k->run->io.data_offset);
    return 0;
}

int kvm_aside_turn(struct vcpu *v) { return go(v, TURN, 0, &(uint8_t){ 0 }); }
int kvm_aside_out(struct vcpu *v, uint16_t port, uint8_t val) { return go(v, OUT, port, &val); }
int kvm_aside_in(struct vcpu *v, uint16_t port, uint8_t *val) { return go(v, IN, port, val); }
