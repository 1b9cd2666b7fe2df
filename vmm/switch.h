/*
 * The running machine moves to another engine (the monitor's accel). The state is carried as struct x86_cpu; RAM, devices and the clock stay where
 * they are. Between tcg and interp nothing moves at all: they are one translator with another last stage.
 */
#ifndef VMM_SWITCH_H
#define VMM_SWITCH_H
#include "vmm/options.h"
#include "core/vm.h"

/* NAME: tcg, interp, kvm, or "kvm,emulated=on", which takes a KVM without hardware assistance too. The vCPU is at rest, the calling thread is its own,
   machine lock held. 0: it goes on there; -errno: WHY (one line) says what is in the way, and the guest goes on where it was. */
int switch_engine(struct vm *, const struct options *, const char *name, char *why, size_t len);
#endif
