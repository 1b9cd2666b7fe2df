/*
 * Doorbells of devices (core/aspace.h) as the kernel's ioeventfds: the guest's write is over as soon as the kernel has counted it, and the event
 * loop rings the device.
 *
 * In: the flat views of both address spaces; a change of either registers what has come and takes back what has gone, so a BAR can move.
 * A kernel that has no room for one more leaves the write to the exit, which does the same. Locks: machine lock. Linux api.rst: KVM_IOEVENTFD.
 */
#include "core/log.h"
#include "core/vm.h"
#include "kvm/internal.h"
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_BELLS 256

struct placed { struct doorbell *bell; gpa_t addr; bool io; };

static struct placed placed[MAX_BELLS];
static unsigned n_placed;

static void on_event(void *opaque, int fd, unsigned events)
{
    struct doorbell *b = opaque;
    uint64_t count;

    if (read(fd, &count, sizeof(count)) == sizeof(count))
        b->ring(b->opaque, b->n);
}

static int tell(const struct placed *p, bool away)
{
    const struct doorbell *b = p->bell;
    struct kvm_ioeventfd e = { .datamatch = b->value, .addr = p->addr, .len = b->size, .fd = b->fd,
        .flags = (b->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) | (p->io ? KVM_IOEVENTFD_FLAG_PIO : 0) | (away ? KVM_IOEVENTFD_FLAG_DEASSIGN : 0) };
    return kvm_try(kvm_host.vm_fd, KVM_IOEVENTFD, (unsigned long)&e);
}

static bool give_event(struct doorbell *b)
{
    if (b->fd)
        return true;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0)
        return false;
    if (loop_watch(kvm_host.vm->loop, fd, LOOP_READ, on_event, b)) {
        close(fd);
        return false;
    }
    b->fd = fd;
    return true;
}

static void place(struct doorbell *b, gpa_t addr, bool io)
{
    struct placed p = { b, addr, io };

    for (unsigned i = 0; i < n_placed; i++) {
        if (placed[i].bell == b && placed[i].addr == addr)
            return;
    }
    if (n_placed < MAX_BELLS && give_event(b) && tell(&p, false) >= 0)
        placed[n_placed++] = p;
}

static void look(struct aspace *as, bool io)
{
    struct as_run r;

    for (gpa_t at = 0; as_next_run(as, at, &r); at = r.start + r.size) {
        for (struct doorbell *b = r.region->doorbells; b; b = b->next) {
            if (b->offset >= r.off && b->offset - r.off < r.size)
                place(b, r.start + (b->offset - r.off), io);
        }
    }
}

/* What has gone is taken back before what has come is given: one doorbell may have moved onto another's place. */
static void changed(void *opaque)
{
    struct vm *vm = kvm_host.vm;
    unsigned n = 0;

    for (unsigned i = 0; i < n_placed; i++) {
        struct placed *p = &placed[i];
        uint64_t off, left;
        struct region *r = as_find(p->io ? vm->io : vm->mem, p->addr, &off, &left);
        struct doorbell *b = r ? r->doorbells : NULL;
        while (b && (b != p->bell || b->offset != off))
            b = b->next;
        if (b)
            placed[n++] = *p;
        else
            tell(p, true);
    }
    n_placed = n;
    look(vm->mem, false);
    look(vm->io, true);
}

void kvm_doorbells_init(struct vm *vm)
{
    if (!vm->loop || as_has_tap(vm->io) || kvm_try(kvm_host.dev, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD) <= 0)
        return;
    as_on_change(vm->mem, changed, NULL);
    as_on_change(vm->io, changed, NULL);
}
