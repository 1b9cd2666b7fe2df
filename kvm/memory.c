/*
 * Memory slots: the kernel's picture of guest RAM and ROM, kept in step with the address space.
 *
 * In: the flat view of core/aspace (every change of the map calls kvm_memory_update). Out: one slot for each stretch of guest-physical
 * memory that is contiguous in the host too; ROM is read-only (a write is an exit, and as_write drops it). Only what differs is changed,
 * removals first, because slots may not overlap. The kernel takes milliseconds for a change, so nothing is told while the machine is put together. While the A20 line is low the second MiB shows the first. Dirty log: one bit a page.
 * Locks: machine lock. A vCPU that runs during a change may meet a slot that is gone: its access becomes an exit, which as_* serves.
 * Linux api.rst: KVM_SET_USER_MEMORY_REGION, KVM_GET_DIRTY_LOG.
 */
#include "core/alloc.h"
#include "core/log.h"
#include "core/vm.h"
#include "kvm/internal.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SLOTS KVM_PRIVATE_SLOT
#define MIB 0x100000ull

struct slot { gpa_t start; uint64_t size; uint8_t *host; bool rom, keep; };

static struct slot slots[MAX_SLOTS];           /* index: the kernel's slot number; size 0: free */
static bool logging, failed, begun;

static bool same(const struct slot *a, const struct slot *b)
{
    return a->start == b->start && a->size == b->size && a->host == b->host && a->rom == b->rom;
}

static int tell(unsigned n, const struct slot *s)
{
    struct kvm_userspace_memory_region m = { .slot = n, .guest_phys_addr = s->start, .memory_size = s->size, .userspace_addr = (uintptr_t)s->host,
        .flags = (s->rom ? KVM_MEM_READONLY : 0) | (logging && s->size ? KVM_MEM_LOG_DIRTY_PAGES : 0) };
    int ret = kvm_do(kvm_host.vm_fd, "KVM_SET_USER_MEMORY_REGION", KVM_SET_USER_MEMORY_REGION, &m);

    failed |= ret < 0;
    return ret;
}

/* ---- what the slots should be ---- */

struct wanted { struct slot s[MAX_SLOTS]; unsigned n; };

static void want(struct wanted *w, struct slot s)
{
    struct slot *last = w->n ? &w->s[w->n - 1] : NULL;

    if (last && last->start + last->size == s.start && last->host + last->size == s.host && last->rom == s.rom)
        last->size += s.size;
    else if (w->n < MAX_SLOTS)
        w->s[w->n++] = s;
    else
        failed = true;
}

/* The memory of [FROM, TO), shown at FROM + SHIFT. Slots have whole pages: what is less stays with as_read and as_write. */
static void want_range(struct wanted *w, gpa_t from, gpa_t to, uint64_t shift)
{
    struct as_run r;

    for (gpa_t at = from; at < to && as_next_run(kvm_host.vm->mem, at, &r) && r.start < to; at = r.start + r.size) {
        gpa_t lo = (MAX(r.start, from) + PAGE_SIZE - 1) & PAGE_MASK, hi = MIN(r.start + r.size, to) & PAGE_MASK;
        if (r.region->kind == REGION_IO || lo >= hi)
            continue;
        bool rom = r.region->kind == REGION_ROM;
        uint8_t *host = r.region->host + r.off + (lo - r.start);
        if (!((uintptr_t)host & ~PAGE_MASK) && (!rom || kvm_host.readonly_mem))
            want(w, (struct slot){ .start = lo + shift, .size = hi - lo, .host = host, .rom = rom });
    }
}

static bool a20_low(void)
{
    const struct vm *vm = kvm_host.vm;
    return vm->n_vcpus && ((struct x86_cpu *)vm->vcpus[0]->cpu)->a20_off;
}

void kvm_memory_update(void)
{
    struct wanted *w = xzalloc(sizeof(*w));
    unsigned free_slot = 0;

    if (a20_low()) {
        want_range(w, 0, MIB, 0);
        want_range(w, 0, MIB, MIB);
        want_range(w, 2 * MIB, BIT(X86_PHYS_BITS), 0);
    } else {
        want_range(w, 0, BIT(X86_PHYS_BITS), 0);
    }
    for (unsigned n = 0; n < MAX_SLOTS; n++) {
        struct slot *s = &slots[n];
        bool keep = false;
        for (unsigned i = 0; s->size && i < w->n && !keep; i++) {
            if (same(&w->s[i], s))
                keep = w->s[i].keep = true;
        }
        if (s->size && !keep) {
            s->size = 0;
            tell(n, s);
        }
    }
    for (unsigned i = 0; i < w->n; i++) {
        if (w->s[i].keep)
            continue;
        while (free_slot < MAX_SLOTS && slots[free_slot].size)
            free_slot++;
        if (free_slot < MAX_SLOTS && tell(free_slot, &w->s[i]) >= 0)
            slots[free_slot] = w->s[i];
    }
    free(w);
}

static void changed(void *opaque)
{
    if (begun)
        kvm_memory_update();
}

void kvm_memory_init(struct vm *vm) { as_on_change(vm->mem, changed, NULL); }

int kvm_memory_begin(void)
{
    machine_lock();
    if (!begun) {
        begun = true;
        kvm_memory_update();
    }
    machine_unlock();
    return failed ? -EINVAL : 0;
}

/* ---- dirty log ---- */

static int set_logging(bool on)
{
    int ret = 0;

    logging = on;
    for (unsigned n = 0; n < MAX_SLOTS && ret >= 0; n++) {
        if (slots[n].size && !slots[n].rom)
            ret = tell(n, &slots[n]);
    }
    return MIN(ret, 0);
}

int kvm_dirty_start(void) { return set_logging(true); }
int kvm_dirty_stop(void) { return set_logging(false); }

static int collect_slot(unsigned n, void (*page)(void *, gpa_t), void *opaque)
{
    uint64_t pages = slots[n].size >> PAGE_BITS, words = (pages + 63) / 64, *bits = xzalloc(words * 8);
    struct kvm_dirty_log log = { .slot = n, .dirty_bitmap = bits };
    int ret = kvm_do(kvm_host.vm_fd, "KVM_GET_DIRTY_LOG", KVM_GET_DIRTY_LOG, &log);

    for (uint64_t i = 0; ret >= 0 && i < words; i++) {
        for (uint64_t left = bits[i]; left; left &= left - 1)
            page(opaque, slots[n].start + ((i * 64 + (unsigned)__builtin_ctzll(left)) << PAGE_BITS));
    }
    free(bits);
    return ret;
}

int kvm_dirty_collect(void (*page)(void *, gpa_t), void *opaque)
{
    int ret = 0;

    for (unsigned n = 0; n < MAX_SLOTS && ret >= 0; n++) {
        if (slots[n].size && !slots[n].rom)
            ret = collect_slot(n, page, opaque);
    }
    return MIN(ret, 0);
}
