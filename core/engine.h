/* An execution engine: tcg, interp (the same with another back end), kvm. */
#ifndef CORE_ENGINE_H
#define CORE_ENGINE_H
#include "core/vcpu.h"

struct notifier;

enum run_result { RUN_STOPPED, RUN_ERROR };     /* STOPPED: VCPU_EXIT was pending; see vm->request */

struct engine {
    const char *name;
    int (*init)(struct vm *);                          /* 0 or -errno (logged) */
    int (*vcpu_init)(struct vcpu *);                   /* creates v->cpu */
    void (*vcpu_reset)(struct vcpu *);                 /* architectural reset */
    enum run_result (*vcpu_run)(struct vcpu *);        /* on the vCPU's thread until stopped */
    void (*vcpu_state_changed)(struct vcpu *);         /* cpu state was written from outside (loader, monitor): drop derived state */
    void (*vcpu_free)(struct vcpu *);
    /* Optional (core/notifier.h): an event that sends the notifier's message, in its fd; 0 or -errno (silent). UNBIND: nothing is on its way afterwards. */
    int (*notifier_bind)(struct notifier *);
    void (*notifier_unbind)(struct notifier *);
};
#endif
