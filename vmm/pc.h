/* The machine "pc": built from the options, reset, and its host resources closed. */
#ifndef VMM_PC_H
#define VMM_PC_H
#include "vmm/options.h"
#include "core/vm.h"

struct pc;

/* Host resources first (files, networks, terminals), then RAM and devices. LOOP and the engine are in VM; its vCPUs are made here.
   NULL after one line on stderr. Machine lock held. */
struct pc *pc_new(struct vm *, const struct options *, int n_cpus);
/* Power-on or reset: every device and vCPU, then the kernel when one is started directly. All vCPUs stand still. 0 or -errno (logged). */
int pc_reset(struct pc *);
/* The ACPI power button. Machine lock held. */
void pc_power_button(struct pc *);
/* The calling thread runs this vCPU from now on. */
void pc_vcpu_thread(struct pc *, struct vcpu *);
/* Flush and close disks, networks and terminals. Safe on every exit path, also with PC NULL. */
void pc_close(struct pc *);
#endif
