/*
 * When a message is given to the engine (core/notifier.h): the second time that it is sent, so that a guest that writes a new one for each interrupt
 * does not pay for a route each time.
 */
#include "core/notifier.h"
#include "core/vm.h"
#include <unistd.h>

void notifier_release(struct vm *vm, struct notifier *n)
{
    if (n->fd)
        vm->engine->notifier_unbind(n);
    *n = (struct notifier){ 0 };
}

bool notifier_send(struct vm *vm, struct notifier *n, uint64_t addr, uint32_t data)
{
    uint64_t one = 1;

    vm->n.messages++;
    if (!vm->engine || !vm->engine->notifier_bind)
        return false;
    if (n->addr != addr || n->data != data) {
        notifier_release(vm, n);
        n->addr = addr;
        n->data = data;
        return false;
    }
    if (!n->fd && !n->refused) {
        n->refused = vm->engine->notifier_bind(n) < 0;
        vm->n.message_routes += !n->refused;
    }
    if (!n->fd || write(n->fd, &one, sizeof(one)) != sizeof(one))
        return false;
    vm->n.message_events++;
    return true;
}
