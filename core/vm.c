/*
 * The machine as a list of parts (core/vm.h): devices in creation order, vCPUs, and requests to the main loop.
 *
 * vm_request may come from a device callback (machine lock held), a vCPU thread or the terminal; it only notes the request and tells every
 * vCPU to leave its engine. The vCPU threads report to the event loop, which acts when all of them stand still (vmm/main.c).
 */
#include "core/vm.h"
#include "core/alloc.h"
#include <stdlib.h>

struct vm *vm_new(const struct engine *engine, struct clock *clock)
{
    struct vm *vm = xzalloc(sizeof(*vm));

    vm->engine = engine;
    vm->clock = clock;
    vm->mem = as_new("memory", 47);
    vm->io = as_new("io", 16);
    vm->devices_tail = &vm->devices;
    return vm;
}

void vm_free(struct vm *vm)
{
    for (int i = 0; i < vm->n_vcpus; i++) {
        if (vm->engine && vm->engine->vcpu_free)
            vm->engine->vcpu_free(vm->vcpus[i]);
        pthread_cond_destroy(&vm->vcpus[i]->wake);
        free(vm->vcpus[i]);
    }
    as_free(vm->mem);
    as_free(vm->io);
    free(vm);
}

void device_add(struct vm *vm, struct device *d, const char *name, const struct state_row *rows, size_t size, void (*reset)(void *))
{
    d->name = name;
    d->rows = rows;
    d->size = size;
    d->reset = reset;
    d->next = NULL;
    *vm->devices_tail = d;
    vm->devices_tail = &d->next;
}

void vm_reset_devices(struct vm *vm)
{
    machine_lock();
    for (struct device *d = vm->devices; d; d = d->next) {
        if (d->reset)
            d->reset(d);
    }
    machine_unlock();
}

void vm_stop_vcpus(struct vm *vm)
{
    for (int i = 0; i < vm->n_vcpus; i++)
        vcpu_set_pending(vm->vcpus[i], VCPU_EXIT);
}

void vm_request(struct vm *vm, enum vm_request request, int status)
{
    machine_lock();
    if (request > vm->request) {
        vm->request = request;
        vm->exit_status = status;
    }
    vm_stop_vcpus(vm);
    machine_unlock();
}
