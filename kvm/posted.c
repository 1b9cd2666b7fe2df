/*
 * Writes to the port of POST codes. This machine has nothing there, and guests write it to let time pass (Linux for i386 37,000 times at start, unless
 * KVM's CPUID leaf has told it not to), so the kernel collects them without leaving the guest: coalesced PIO.
 *
 * Invariant: registered only while no region is there; what is collected has no effect but a report (-d guest), which comes when the vCPU is next outside,
 * before what it came out for. No port with a device is treated so: a vCPU that does not come out would hold its writes back for ever.
 * Locks: machine lock. Linux api.rst: KVM_REGISTER_COALESCED_MMIO.
 */
#include "core/vm.h"
#include "kvm/internal.h"
#include <string.h>

#define POST_PORT 0x80
#define RING_ENTRIES ((PAGE_SIZE - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio))

static size_t ring_at;                        /* offset in a vCPU's mapping of the ring, which is the machine's; 0: there is none */
static bool collecting;

static void changed(void *opaque)
{
    struct kvm_coalesced_mmio_zone zone = { .addr = POST_PORT, .size = 1, .pio = 1 };
    uint64_t off, run;
    bool want = !as_find(kvm_host.vm->io, POST_PORT, &off, &run);

    if (want != collecting && kvm_try(kvm_host.vm_fd, want ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO, (unsigned long)&zone) >= 0)
        collecting = want;
}

void kvm_posted_init(struct vm *vm)
{
    int page = kvm_try(kvm_host.dev, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);

    if (as_has_tap(vm->io) || page <= 0 || kvm_try(kvm_host.dev, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO) <= 0 ||
        kvm_host.run_size < (size_t)(page + 1) * PAGE_SIZE)
        return;
    ring_at = (size_t)page * PAGE_SIZE;
    as_on_change(vm->io, changed, NULL);
    changed(NULL);
}

void kvm_posted_drain(struct kvm_cpu *k)
{
    struct kvm_coalesced_mmio_ring *r = (void *)((uint8_t *)k->run + ring_at);

    if (!ring_at || __atomic_load_n(&r->first, __ATOMIC_RELAXED) == __atomic_load_n(&r->last, __ATOMIC_ACQUIRE))
        return;
    machine_lock();
    for (uint32_t at = r->first; at != __atomic_load_n(&r->last, __ATOMIC_ACQUIRE); at = r->first) {
        const struct kvm_coalesced_mmio *e = &r->coalesced_mmio[at];
        as_write(k->vcpu->vm->io, e->phys_addr, e->data[0], 1);
        k->vcpu->n.kvm_posted++;
        __atomic_store_n(&r->first, (at + 1) % RING_ENTRIES, __ATOMIC_RELEASE);
    }
    machine_unlock();
}
