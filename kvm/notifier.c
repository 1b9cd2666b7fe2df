/*
 * Messages of devices (core/notifier.h) as the kernel's irqfds: an event bound to a route of its own.
 *
 * Invariant: what is in bound[] has an event and a route, and belongs to the kernel's local APICs; before their state is read all of it is dropped, which
 * waits for what is on its way. A kernel that lacks something, or has no room for one more, leaves the message to its sender.
 * Locks: machine lock. Linux api.rst: KVM_IRQFD, KVM_SET_GSI_ROUTING.
 */
#include "core/notifier.h"
#include "core/vm.h"
#include "kvm/internal.h"
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct notifier *bound[KVM_MESSAGES];
static bool usable;

void kvm_notifiers_init(struct vm *vm)
{
    usable = kvm_lapic_inside() && !as_has_tap(vm->io) && kvm_try(kvm_host.dev, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) > 0 &&
        kvm_try(kvm_host.dev, KVM_CHECK_EXTENSION, KVM_CAP_IRQ_ROUTING) > 0;
}

static int tell(int fd, unsigned route, bool away)
{
    struct kvm_irqfd i = { .fd = (uint32_t)fd, .gsi = kvm_chips_gsi(route), .flags = away ? KVM_IRQFD_FLAG_DEASSIGN : 0 };
    return kvm_try(kvm_host.vm_fd, KVM_IRQFD, (unsigned long)&i);
}

int kvm_notifier_bind(struct notifier *n)
{
    unsigned route = n->route;                /* after kvm_notifiers_drop it still has this message: changing routes takes the kernel milliseconds */
    int ret, fd;

    for (unsigned i = 0; bound[route] && i < KVM_MESSAGES; i++)
        route = i;
    if (!usable || bound[route])
        return -ENOSPC;
    if ((fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0)
        return -errno;
    if ((ret = kvm_chips_route(route, n->addr, n->data)) < 0 || (ret = tell(fd, route, false)) < 0) {
        close(fd);
        return ret;
    }
    n->fd = fd;
    n->route = route;
    bound[route] = n;
    return 0;
}

/* The route stays until another message takes its place: without an event nothing comes by it. */
void kvm_notifier_unbind(struct notifier *n)
{
    tell(n->fd, n->route, true);
    close(n->fd);
    bound[n->route] = NULL;
    n->fd = 0;
}

void kvm_notifiers_drop(void)
{
    for (unsigned i = 0; i < KVM_MESSAGES; i++) {
        if (bound[i])
            kvm_notifier_unbind(bound[i]);
    }
}
