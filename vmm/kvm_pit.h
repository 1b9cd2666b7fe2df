/* The PIT when KVM has it (kernel-irqchip=on): its state there and back. For vmm/kvm_chips.c. All return 0 or -errno (logged); machine lock held. */
#ifndef VMM_KVM_PIT_H
#define VMM_KVM_PIT_H
#include "vmm/kvm_chips.h"

/* Channel 0 has made its one edge; loaded otherwise, it would make it again. LOAD_SPENT lets it do so: what that does to the PIC and what is behind
   it must be undone by loading those. */
bool kvm_pit_spent(const struct kvm_models *);
int kvm_pit_load_spent(struct kvm_models *);
int kvm_pit_load(struct kvm_models *);
/* Between kvm_aside_begin and _end. The kernel's PIT stands still from SINCE on. */
int kvm_pit_fetch(struct kvm_models *, int64_t *since);

/* The kernel's PIT pulses line 0, which ours must not hold; what the HPET holds of line N (0, 2) is its own. */
void kvm_pit_drop_line(struct kvm_models *);
int kvm_pit_hpet_level(const struct kvm_models *, int n);
/* The HPET takes line 0 from the PIT, or gives it back: it drives its output whenever it does. */
void kvm_pit_follow_hpet(struct kvm_models *);
#endif
