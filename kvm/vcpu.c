/*
 * The engine behind core/engine.h: one VM, one thread a vCPU around KVM_RUN, one switch on why it came back.
 *
 * In: vcpu->pending (set by any thread), as_read and as_write for what the guest does to devices. Out: RUN_STOPPED when VCPU_EXIT is
 * pending, with struct x86_cpu complete; RUN_ERROR after one message. A kick sets immediate_exit, which stays until the vCPU has looked at pending
 * again, and sends a signal only to a vCPU that is, or is about to be, inside: a line raised on the vCPU's own thread costs no system call.
 * The instruction of a port or memory access is finished by the next KVM_RUN, so the registers are complete only after one more entry (settle).
 * Local APIC outside the kernel: interrupts, halting, INIT and SIPI are decided here. Locks: none held while running.
 */
#include "core/alloc.h"
#include "core/log.h"
#include "core/vm.h"
#include "kvm/internal.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define IDENTITY_MAP 0xfeffc000ul          /* four pages below 4 GiB that Intel's KVM needs for itself; nothing else is there */

struct kvm_host kvm_host = { .dev = -1, .vm_fd = -1, .irqchip = KVM_CHIPS_ON };

static int kick_signal(void) { return SIGRTMIN + 2; }

void kvm_want_irqchip(enum kvm_chips i) { kvm_host.irqchip = i; }
enum kvm_chips kvm_chips_place(void) { return kvm_host.irqchip; }

int kvm_try(int fd, unsigned long request, unsigned long arg)
{
    int ret = ioctl(fd, request, arg);
    return ret < 0 ? -errno : ret;
}

int kvm_do(int fd, const char *name, unsigned long request, void *arg)
{
    int ret = kvm_try(fd, request, (unsigned long)arg);
    if (ret < 0)
        log_error("-accel kvm: %s: %s", name, strerror(-ret));
    return ret;
}

/* ---- creation ---- */

static bool has(int cap) { return kvm_try(kvm_host.dev, KVM_CHECK_EXTENSION, (unsigned long)cap) > 0; }

static int create_vm(void)
{
    uint64_t map = IDENTITY_MAP;
    int ret = kvm_host.vm_fd = kvm_do(kvm_host.dev, "KVM_CREATE_VM", KVM_CREATE_VM, NULL);

    if (ret < 0)
        return ret;
    if (has(KVM_CAP_SET_IDENTITY_MAP_ADDR) && (ret = kvm_do(kvm_host.vm_fd, "KVM_SET_IDENTITY_MAP_ADDR", KVM_SET_IDENTITY_MAP_ADDR, &map)) < 0)
        return ret;
    if (has(KVM_CAP_SET_TSS_ADDR) && (ret = kvm_do(kvm_host.vm_fd, "KVM_SET_TSS_ADDR", KVM_SET_TSS_ADDR, (void *)(IDENTITY_MAP + PAGE_SIZE))) < 0)
        return ret;
    return (ret = kvm_chips_init()) < 0 ? ret : kvm_msr_init();
}

static int init(struct vm *vm)
{
    char why[160];
    int ret = kvm_host.dev = kvm_open(why, sizeof(why));

    kvm_host.vm = vm;
    if (ret < 0) {
        log_error("-accel kvm: %s", why);
        return ret;
    }
    kvm_host.run_size = (size_t)kvm_try(kvm_host.dev, KVM_GET_VCPU_MMAP_SIZE, 0);
    kvm_host.readonly_mem = has(KVM_CAP_READONLY_MEM);
    kvm_host.tsc_deadline = has(KVM_CAP_TSC_DEADLINE_TIMER);
    kvm_host.tsc_attr = has(KVM_CAP_VCPU_ATTRIBUTES);
    if ((ret = create_vm()) < 0)
        return ret;
    kvm_doorbells_init(vm);
    kvm_notifiers_init(vm);
    kvm_posted_init(vm);
    kvm_memory_init(vm);
    return 0;
}

static void kick(struct vcpu *v)
{
    struct kvm_cpu *k = v->engine_data;

    __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&k->inside, __ATOMIC_SEQ_CST) && !pthread_equal(v->thread, pthread_self()))
        pthread_kill(v->thread, kick_signal());
}

static int open_vcpu(struct kvm_cpu *k, int id)
{
    int khz;

    if ((k->fd = kvm_do(kvm_host.vm_fd, "KVM_CREATE_VCPU", KVM_CREATE_VCPU, (void *)(uintptr_t)id)) < 0)
        return k->fd;
    k->run = mmap(NULL, kvm_host.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
    if (k->run == MAP_FAILED) {
        log_error("-accel kvm: cannot map a vCPU: %s", strerror(errno));
        return -errno;
    }
    if ((khz = kvm_do(k->fd, "KVM_GET_TSC_KHZ", KVM_GET_TSC_KHZ, NULL)) < 0)
        return khz;
    if (khz)
        x86_set_tsc_hz((uint64_t)khz * 1000);
    return kvm_host.supported ? 0 : kvm_cpuid_init(kvm_host.vm->cpu_spec);
}

static int vcpu_init(struct vcpu *v)
{
    struct kvm_cpu *k = xzalloc(sizeof(*k));
    int ret = open_vcpu(k, v->id);

    if (ret < 0) {
        free(k);
        return ret;
    }
    k->vcpu = v;
    k->cpu.vcpu = v;
    k->cpu.cpuid = &kvm_host.model;
    k->cpu.flags_word = &k->flags;
    v->cpu = &k->cpu;
    v->engine_data = k;
    if ((ret = kvm_cpuid_set(k)) < 0)
        return ret;
    v->kick_engine = kick;
    x86_reset(&k->cpu);
    k->push = true;
    return 0;
}

static void vcpu_reset(struct vcpu *v)
{
    struct kvm_cpu *k = v->engine_data;

    x86_reset(&k->cpu);
    k->cpu.wait_sipi = v->halted = v->id != 0;
    k->push = true;
    k->apic_seen = false;
}

static void vcpu_state_changed(struct vcpu *v) { ((struct kvm_cpu *)v->engine_data)->push = true; }

static void vcpu_free(struct vcpu *v)
{
    struct kvm_cpu *k = v->engine_data;

    v->kick_engine = NULL;
    munmap(k->run, kvm_host.run_size);
    close(k->fd);
    free(k);
}

/* ---- before an entry ---- */

static void on_kick(int sig) { }

/* The kick must interrupt the system call, and nothing else: every other signal stays blocked on this thread. */
static void open_kick(void)
{
    struct sigaction a = { .sa_handler = on_kick };
    sigset_t set;

    sigaction(kick_signal(), &a, NULL);
    sigemptyset(&set);
    sigaddset(&set, kick_signal());
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* INIT and SIPI, when the local APIC is our model. */
static int init_and_sipi(struct kvm_cpu *k, uint32_t pending)
{
    struct vcpu *v = k->vcpu;
    int ret = k->push ? 0 : kvm_state_get(k);

    if (ret < 0)
        return ret;
    vcpu_clear_pending(v, pending & (VCPU_INIT | VCPU_SIPI));
    if (pending & VCPU_INIT) {
        x86_init(&k->cpu);
        k->cpu.wait_sipi = v->halted = v->id != 0;
    }
    if ((pending & VCPU_SIPI) && k->cpu.wait_sipi) {
        k->cpu.wait_sipi = v->halted = false;
        k->cpu.seg[X86_CS].sel = (uint16_t)(v->sipi_vector << 8);
        k->cpu.seg[X86_CS].base = (uint64_t)(v->sipi_vector & 0xff) << 12;
        k->cpu.rip = 0;
    }
    return kvm_state_put(k);
}

static int inject_nmi(struct kvm_cpu *k)
{
    vcpu_clear_pending(k->vcpu, VCPU_NMI);
    k->vcpu->halted = false;
    return kvm_do(k->fd, "KVM_NMI", KVM_NMI, NULL);
}

/* The kernel hides a vector that KVM_INTERRUPT has given its local APIC until the guest is entered; among the events we see it if that fails. Those
   do not end a halt. */
static int give_vector(struct kvm_cpu *k, uint8_t vector)
{
    struct kvm_interrupt i = { .irq = vector };
    struct kvm_mp_state mp = { KVM_MP_STATE_RUNNABLE };
    struct kvm_vcpu_events e;
    int ret;

    if (!kvm_lapic_inside())
        return kvm_do(k->fd, "KVM_INTERRUPT", KVM_INTERRUPT, &i);
    if ((ret = kvm_do(k->fd, "KVM_SET_MP_STATE", KVM_SET_MP_STATE, &mp)) < 0 ||
        (ret = kvm_do(k->fd, "KVM_GET_VCPU_EVENTS", KVM_GET_VCPU_EVENTS, &e)) < 0)
        return ret;
    e.interrupt.injected = 1;
    e.interrupt.nr = vector;
    e.interrupt.soft = 0;
    return kvm_do(k->fd, "KVM_SET_VCPU_EVENTS", KVM_SET_VCPU_EVENTS, &e);
}

/* A vector of our models, if the guest takes it now; else ask to come out as soon as it does. */
static int inject(struct kvm_cpu *k)
{
    struct vcpu *v = k->vcpu;
    struct kvm_run *r = k->run;
    int ret = 0;

    if (r->ready_for_interrupt_injection) {
        int vector = v->intc.ack(v->intc.opaque);
        if (vector >= 0 && (ret = give_vector(k, (uint8_t)vector)) >= 0)
            r->ready_for_interrupt_injection = 0;
    }
    v->halted = false;
    r->request_interrupt_window = (__atomic_load_n(&v->pending, __ATOMIC_ACQUIRE) & VCPU_INTR) != 0;
    return MIN(ret, 0);
}

/* What is pending, done or handed to the kernel. 1: enter, 0: the vCPU is halted, or -errno. */
static int prepare(struct kvm_cpu *k, uint32_t pending)
{
    struct vcpu *v = k->vcpu;
    bool awake = kvm_lapic_inside() || k->run->if_flag;
    int ret = 0;

    v->barred = VCPU_SMI | (awake ? 0 : VCPU_INTR);
    k->run->request_interrupt_window = 0;
    if (pending & VCPU_WORK) {
        vcpu_clear_pending(v, VCPU_WORK);
        machine_lock();
        kvm_memory_update();                          /* A20 */
        machine_unlock();
    }
    if (!kvm_lapic_inside() && (pending & (VCPU_INIT | VCPU_SIPI)) && (ret = init_and_sipi(k, pending)) < 0)
        return ret;
    if (k->cpu.wait_sipi && !kvm_lapic_inside())
        return 0;
    if ((pending & VCPU_NMI) && (ret = inject_nmi(k)) < 0)
        return ret;
    if ((pending & VCPU_INTR) && kvm_host.irqchip != KVM_CHIPS_ON && (awake || !v->halted) && (ret = inject(k)) < 0)
        return ret;
    return kvm_lapic_inside() || !v->halted;
}

/* ---- exits ---- */

static int exit_io(struct kvm_cpu *k)
{
    struct kvm_run *r = k->run;
    struct aspace *io = k->vcpu->vm->io;
    uint8_t *data = (uint8_t *)r + r->io.data_offset;

    for (uint32_t i = 0; i < r->io.count; i++, data += r->io.size) {
        uint64_t v = 0;
        if (r->io.direction == KVM_EXIT_IO_IN) {
            v = as_read(io, r->io.port, r->io.size);
            memcpy(data, &v, r->io.size);
        } else {
            memcpy(&v, data, r->io.size);
            as_write(io, r->io.port, v, r->io.size);
        }
    }
    return 0;
}

static int exit_mmio(struct kvm_cpu *k)
{
    struct kvm_run *r = k->run;
    struct aspace *mem = k->vcpu->vm->mem;
    gpa_t addr = r->mmio.phys_addr & ~(gpa_t)(k->cpu.a20_off ? 0x100000 : 0);
    uint64_t v = 0;

    if (r->mmio.is_write) {
        memcpy(&v, r->mmio.data, 8);
        as_write(mem, addr, v, r->mmio.len);
    } else {
        v = as_read(mem, addr, r->mmio.len);
        memcpy(r->mmio.data, &v, 8);
    }
    return 0;
}

static int exit_internal(struct kvm_cpu *k)
{
    static const char *const what[] = { "?", "an instruction that it cannot emulate", "events during event delivery",
                                        "an event that could not be delivered", "an exit that it does not know" };
    uint32_t sub = k->run->internal.suberror;

    kvm_report(k, "KVM_EXIT_INTERNAL_ERROR, suberror %u: the kernel has met %s", sub, what[sub < ARRAY_SIZE(what) ? sub : 0]);
    return -EIO;
}

/* 0: go on, -errno after a report. */
static int handle_exit(struct kvm_cpu *k)
{
    struct kvm_run *r = k->run;

    switch (r->exit_reason) {
    case KVM_EXIT_IO:
        return exit_io(k);
    case KVM_EXIT_MMIO:
        return exit_mmio(k);
    case KVM_EXIT_X86_RDMSR:
        return kvm_msr_exit(k, false);
    case KVM_EXIT_X86_WRMSR:
        return kvm_msr_exit(k, true);
    case KVM_EXIT_HLT:
        k->vcpu->halted = true;
        return 0;
    case KVM_EXIT_IOAPIC_EOI:
        kvm_chips_eoi_exit(r->eoi.vector);
        return 0;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:                            /* cr8 is followed after every exit */
        return 0;
    case KVM_EXIT_DEBUG:
        return kvm_debug_exit(k);
    case KVM_EXIT_SHUTDOWN:
        if (log_on(LOG_INT))
            log_printf("triple fault: reset\n");
        vm_request(k->vcpu->vm, VM_RESET, 0);
        return 0;
    case KVM_EXIT_SYSTEM_EVENT:
        vm_request(k->vcpu->vm, r->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN ? VM_POWEROFF : VM_RESET, 0);
        return 0;
    case KVM_EXIT_HYPERCALL:
        r->hypercall.ret = (uint64_t)-1000;           /* KVM_ENOSYS */
        return 0;
    case KVM_EXIT_FAIL_ENTRY:
        kvm_report(k, "KVM_EXIT_FAIL_ENTRY: the processor refuses the guest's state, hardware reason %#llx",
                   (unsigned long long)r->fail_entry.hardware_entry_failure_reason);
        return -EIO;
    case KVM_EXIT_INTERNAL_ERROR:
        return exit_internal(k);
    default:
        kvm_report(k, "exit reason %u (%s) is not handled", r->exit_reason, kvm_exit_name(r->exit_reason));
        return -EIO;
    }
}

/* ---- the loop ---- */

/* CR8 and IA32_APIC_BASE of our model, seen by the kernel. */
static void tpr_in(struct kvm_cpu *k)
{
    if (!kvm_lapic_inside())
        k->run->cr8 = k->vcpu->intc.get_tpr(k->vcpu->intc.opaque);
}

static void tpr_out(struct kvm_cpu *k)
{
    const struct vcpu_intc *ic = &k->vcpu->intc;

    if (!kvm_lapic_inside() && k->run->cr8 != ic->get_tpr(ic->opaque))
        ic->set_tpr(ic->opaque, k->run->cr8);
}

/* 0: came out with a reason; -EINTR: look at pending; -errno: reported. */
static int enter(struct kvm_cpu *k)
{
    tpr_in(k);
    int ret = ioctl(k->fd, KVM_RUN, 0) < 0 ? -errno : 0;
    __atomic_store_n(&k->inside, false, __ATOMIC_RELEASE);
    tpr_out(k);
    kvm_posted_drain(k);
    if (ret == -EAGAIN)
        ret = -EINTR;
    if (ret < 0 && ret != -EINTR)
        kvm_report(k, "KVM_RUN: %s", strerror(-ret));
    return ret;
}

/* Finish the instruction of the last exit. */
static void settle(struct kvm_cpu *k)
{
    __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    ioctl(k->fd, KVM_RUN, 0);
}

/* Which counter an exit belongs to; its time is in the one after. */
static enum counter counter_of(uint32_t reason)
{
    switch (reason) {
    case KVM_EXIT_IO: return CNT_kvm_io;
    case KVM_EXIT_MMIO: return CNT_kvm_mmio;
    case KVM_EXIT_X86_RDMSR: case KVM_EXIT_X86_WRMSR: return CNT_kvm_msr;
    case KVM_EXIT_HLT: return CNT_kvm_hlt;
    case KVM_EXIT_IRQ_WINDOW_OPEN: return CNT_kvm_window;
    case KVM_EXIT_INTR: return CNT_kvm_signal;
    default: return CNT_kvm_other;
    }
}

/* Before an entry: what the exit before it has taken. */
static void count_time(struct kvm_cpu *k)
{
    if (k->exit_tsc)
        k->vcpu->n.all[k->exit_counter + 1] += x86_host_tsc() - k->exit_tsc;
}

/* One look at what is pending, one entry, one exit. */
static int step(struct kvm_cpu *k)
{
    struct vcpu *v = k->vcpu;
    int ret;

    __atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&k->inside, true, __ATOMIC_SEQ_CST);
    uint32_t pending = __atomic_load_n(&v->pending, __ATOMIC_SEQ_CST);
    if (pending & VCPU_EXIT)
        return 0;
    if ((ret = prepare(k, pending)) <= 0) {
        __atomic_store_n(&k->inside, false, __ATOMIC_RELEASE);
        if (!ret)
            vcpu_wait(v, ~v->barred);
        return ret;
    }
    count_time(k);
    ret = enter(k);
    k->exit_counter = counter_of(ret == -EINTR ? KVM_EXIT_INTR : k->run->exit_reason);
    k->exit_tsc = x86_host_tsc();
    v->n.all[k->exit_counter]++;
    return ret == -EINTR ? 0 : ret ? ret : handle_exit(k);
}

/* Without looking at what is pending: for single steps. */
int kvm_run_once(struct kvm_cpu *k, bool finish)
{
    __atomic_store_n(&k->run->immediate_exit, finish, __ATOMIC_SEQ_CST);
    k->run->request_interrupt_window = 0;
    int ret = enter(k);
    return ret == -EINTR ? 0 : ret ? ret : handle_exit(k);
}

int kvm_begin(struct kvm_cpu *k)
{
    int ret = kvm_memory_begin();
    return ret < 0 || !k->push ? ret : kvm_state_put(k);
}

static enum run_result vcpu_run(struct vcpu *v)
{
    struct kvm_cpu *k = v->engine_data;
    int ret = 0;

    open_kick();
    k->exit_tsc = 0;
    if (kvm_begin(k) < 0)
        return RUN_ERROR;
    while (ret >= 0 && !(__atomic_load_n(&v->pending, __ATOMIC_SEQ_CST) & VCPU_EXIT))
        ret = step(k);
    __atomic_store_n(&k->inside, false, __ATOMIC_RELEASE);
    if (ret < 0)
        return RUN_ERROR;
    settle(k);
    return kvm_state_get(k) < 0 ? RUN_ERROR : RUN_STOPPED;
}

const struct engine kvm_engine = {
    .name = "kvm", .init = init, .vcpu_init = vcpu_init, .vcpu_reset = vcpu_reset, .vcpu_run = vcpu_run,
    .vcpu_state_changed = vcpu_state_changed, .vcpu_free = vcpu_free,
    .notifier_bind = kvm_notifier_bind, .notifier_unbind = kvm_notifier_unbind };
