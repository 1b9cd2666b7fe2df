/* What the files of this room share. */
#ifndef KVM_INTERNAL_H
#define KVM_INTERNAL_H
#include "kvm/kvm.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"

/* The machine in the kernel. fds are -1 when closed. */
struct kvm_host {
    int dev, vm_fd;
    struct vm *vm;
    enum kvm_chips irqchip;
    size_t run_size;                     /* bytes of struct kvm_run's mapping */
    bool tsc_attr, tsc_deadline, readonly_mem;
    struct kvm_cpuid2 *supported;        /* KVM_GET_SUPPORTED_CPUID, once */
    struct x86_cpuid model;
};
extern struct kvm_host kvm_host;

/* engine_data of a vCPU. */
struct kvm_cpu {
    struct x86_cpu cpu;
    uint32_t flags;                      /* canonical arithmetic flags of cpu */
    struct vcpu *vcpu;
    int fd;
    struct kvm_run *run;
    bool push;                           /* cpu is newer than the kernel's registers */
    bool inside;                         /* about to be, or in, KVM_RUN: kicks need a signal; atomic */
    bool stepped;                        /* a debug exit has come (debug.c) */
    bool apic_seen;                      /* apic_base and cr8 are those of the kernel's local APIC, not our model's */
    uint64_t apic_base, cr8;
    enum counter exit_counter;           /* of the last exit, and when it came (0: none yet) */
    uint64_t exit_tsc;
};

/* ioctl that says what went wrong; 0 or more, or -errno. TRY: silent. */
int kvm_do(int fd, const char *name, unsigned long request, void *arg);
int kvm_try(int fd, unsigned long request, unsigned long arg);
static inline bool kvm_lapic_inside(void) { return kvm_host.irqchip != KVM_CHIPS_OFF; }

/* probe.c: opens /dev/kvm and checks its version and what we cannot do without. fd, or -errno with why filled. */
int kvm_open(char *why, size_t len);
/* cpuid.c */
int kvm_cpuid_init(const char *spec);
int kvm_cpuid_set(struct kvm_cpu *);
/* memory.c */
void kvm_memory_init(struct vm *);
int kvm_memory_begin(void);              /* before a vCPU runs: from now on the slots follow the map; 0 or -errno */
void kvm_memory_update(void);
#define KVM_PRIVATE_SLOT 256             /* the first number that memory.c does not use */
/* doorbell.c */
void kvm_doorbells_init(struct vm *);
/* notifier.c */
void kvm_notifiers_init(struct vm *);
int kvm_notifier_bind(struct notifier *);
void kvm_notifier_unbind(struct notifier *);
/* posted.c; DRAIN: after every KVM_RUN. */
void kvm_posted_init(struct vm *);
void kvm_posted_drain(struct kvm_cpu *);
/* sync.c: all of struct x86_cpu to the kernel and back. 0 or -errno. */
int kvm_state_put(struct kvm_cpu *);
int kvm_state_get(struct kvm_cpu *);
int kvm_registers_get(struct kvm_cpu *);          /* without the model-specific ones and the TSC */
/* msr.c */
int kvm_msr_init(void);
int kvm_msrs_put(struct kvm_cpu *);
int kvm_msrs_get(struct kvm_cpu *);
int kvm_tsc_put(struct kvm_cpu *);
int kvm_tsc_get(struct kvm_cpu *);
int kvm_msr_one(struct kvm_cpu *, unsigned long request, uint32_t index, uint64_t *v);      /* KVM_GET_MSRS or KVM_SET_MSRS; silent */
int kvm_msr_exit(struct kvm_cpu *, bool write);
/* vcpu.c: memory and registers are as they should be in the kernel; 0 or -errno. */
int kvm_begin(struct kvm_cpu *);
/* debug.c; vcpu.c: one entry and what it comes out for; FINISH: only what the last exit has left of its instruction. 0 or -errno (reported). */
int kvm_debug_exit(struct kvm_cpu *);
int kvm_run_once(struct kvm_cpu *, bool finish);
/* chips.c */
int kvm_chips_init(void);
int kvm_chips_vcpu_init(struct kvm_cpu *);
void kvm_chips_eoi_exit(uint8_t vector);
#define KVM_MESSAGES 256                 /* routes for messages; each is a global interrupt of its own */
unsigned kvm_chips_gsi(unsigned route);
int kvm_chips_route(unsigned route, uint64_t addr, uint32_t data);       /* silent */
/* report.c: one clear message for an exit that nobody can handle */
void kvm_report(struct kvm_cpu *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *kvm_exit_name(uint32_t reason);
#endif
