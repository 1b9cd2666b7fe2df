/*
 * Is there a KVM, and is it worth having? Some hosts' /dev/kvm has no hardware behind it: it runs a guest's user code natively and emulates its
 * kernel an instruction at a time. A throw-away VM with one page of code tells: a loop at ring 0 in 64-bit mode, once to touch everything, then
 * against the clock. Hardware gives hundreds of millions of instructions a second, such an emulation about two.
 * Nothing stays behind: descriptors and mappings are closed, by a thread of their own. Takes a few milliseconds; the timed loops are the larger part of it on a slow host.
 */
#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "kvm/internal.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define API_VERSION 12
#define ASSISTED_RATE 20000000u                /* between the two kinds by a factor of ten each way */
#define DOUBTFUL_RATE 3000000u                 /* a short run as fast as this is worth a long one, in which entry and exit weigh little */
#define WARM_LOOPS 16
#define SHORT_LOOPS 1500
#define LONG_LOOPS 30000
#define TRIES 4                                /* the best counts: what else runs on the host may take the processor away */

static const struct { int cap; const char *name; } needed[] = {
    { KVM_CAP_USER_MEMORY, "USER_MEMORY" }, { KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT" }, { KVM_CAP_EXT_CPUID, "EXT_CPUID" },
    { KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS" }, { KVM_CAP_DEBUGREGS, "DEBUGREGS" }, { KVM_CAP_XSAVE, "XSAVE" }, { KVM_CAP_XCRS, "XCRS" },
    { KVM_CAP_MP_STATE, "MP_STATE" }, { KVM_CAP_GET_TSC_KHZ, "GET_TSC_KHZ" }, { KVM_CAP_X86_USER_SPACE_MSR, "X86_USER_SPACE_MSR" },
    { KVM_CAP_X86_MSR_FILTER, "X86_MSR_FILTER" },
};

int kvm_open(char *why, size_t len)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), ret = fd < 0 ? -errno : 0, version;

    if (fd < 0) {
        const char *what = ret == -ENOENT ? "/dev/kvm is missing (no KVM in this kernel, or its module is not loaded)"
                         : ret == -EACCES ? "no permission to open /dev/kvm (is this user in the group kvm?)" : "/dev/kvm cannot be opened";
        snprintf(why, len, "%s: %s", what, strerror(-ret));
        return ret;
    }
    if ((version = ioctl(fd, KVM_GET_API_VERSION, 0)) != API_VERSION) {
        snprintf(why, len, "/dev/kvm has API version %d; this program needs %d", version, API_VERSION);
        close(fd);
        return -ENOTSUP;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(needed); i++) {
        if (ioctl(fd, KVM_CHECK_EXTENSION, needed[i].cap) > 0)
            continue;
        snprintf(why, len, "/dev/kvm has no KVM_CAP_%s, which this program needs", needed[i].name);
        close(fd);
        return -ENOTSUP;
    }
    return fd;
}

/* ---- the throw-away VM: page 0 code, 1 to 3 page tables (the first 2 MiB, one large page) ---- */

static const uint8_t loop_code[] = { 0xff, 0xc9,          /* 1: dec %ecx */
                                     0x75, 0xfc,          /*    jnz 1b */
                                     0xf4 };              /*    hlt */

struct trial { int vm, vcpu; uint8_t *mem; struct kvm_run *run; size_t run_size; };

static struct kvm_segment trial_segment(unsigned type, bool code)
{
    return (struct kvm_segment){ .limit = 0xffffffff, .selector = code ? 8 : 16, .type = (uint8_t)type, .present = 1, .s = 1, .g = 1,
        .l = code, .db = !code };
}

static int trial_registers(struct trial *t, uint64_t loops)
{
    struct kvm_sregs s;
    struct kvm_regs r = { .rip = 0, .rcx = loops, .rflags = 2, .rsp = 0x800 };

    if (ioctl(t->vcpu, KVM_GET_SREGS, &s) < 0)
        return -errno;
    s.cs = trial_segment(11, true);
    s.ds = s.es = s.fs = s.gs = s.ss = trial_segment(3, false);
    s.cr3 = 0x1000;
    s.cr4 = CR4_PAE;
    s.cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_NE;
    s.efer = EFER_LME | EFER_LMA;
    return ioctl(t->vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(t->vcpu, KVM_SET_REGS, &r) < 0 ? -errno : 0;
}

static int trial_open(struct trial *t, int dev)
{
    struct kvm_userspace_memory_region m = { .memory_size = 4 * PAGE_SIZE };
    static const uint64_t tables[3] = { 0x2007, 0x3007, 0x87 };

    t->mem = mmap(NULL, m.memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (t->mem == MAP_FAILED)
        return -ENOMEM;
    memcpy(t->mem, loop_code, sizeof(loop_code));
    for (unsigned i = 0; i < 3; i++)
        memcpy(t->mem + (i + 1) * PAGE_SIZE, &tables[i], 8);
    m.userspace_addr = (uintptr_t)t->mem;
    t->run_size = (size_t)ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0);
    if ((t->vm = ioctl(dev, KVM_CREATE_VM, 0)) < 0 || ioctl(t->vm, KVM_SET_USER_MEMORY_REGION, &m) < 0 ||
        (t->vcpu = ioctl(t->vm, KVM_CREATE_VCPU, 0)) < 0)
        return -errno;
    t->run = mmap(NULL, t->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, t->vcpu, 0);
    return t->run == MAP_FAILED ? -errno : 0;
}

static void *trial_close(void *opaque)
{
    struct trial *t = opaque;

    if (t->run && t->run != MAP_FAILED)
        munmap(t->run, t->run_size);
    if (t->vcpu >= 0)
        close(t->vcpu);
    if (t->vm >= 0)
        close(t->vm);
    if (t->mem && t->mem != MAP_FAILED)
        munmap(t->mem, 4 * PAGE_SIZE);
    free(t);
    return NULL;
}

/* The kernel takes its time to let a VM go (a grace period, up to tens of milliseconds): nobody needs to wait for it. No signal comes to that thread. */
static void trial_leave(struct trial *t)
{
    pthread_t thread;
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&thread, NULL, trial_close, t))
        trial_close(t);
    else
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Nanoseconds for LOOPS rounds of two instructions, or a negative number. */
static int64_t trial_run(struct trial *t, uint64_t loops)
{
    int ret = trial_registers(t, loops);
    uint64_t start = now_ns();

    if (ret < 0)
        return ret;
    do
        ret = ioctl(t->vcpu, KVM_RUN, 0);
    while (ret < 0 && (errno == EINTR || errno == EAGAIN));
    return ret < 0 ? -errno : t->run->exit_reason != KVM_EXIT_HLT ? -ENOTSUP : (int64_t)(now_ns() - start);
}

static void measure(struct kvm_probe *p, int dev)
{
    struct trial *t = xzalloc(sizeof(*t));
    t->vm = t->vcpu = -1;
    p->assisted = false;
    int ret = trial_open(t, dev);
    int64_t ns = ret < 0 ? ret : trial_run(t, WARM_LOOPS);

    for (int i = 0; i < TRIES && ns >= 0 && p->rate < ASSISTED_RATE; i++) {
        uint64_t loops = p->rate < DOUBTFUL_RATE ? SHORT_LOOPS : LONG_LOOPS;
        ns = trial_run(t, loops);
        p->rate = ns < 0 ? 0 : MAX(p->rate, muldiv64(2 * loops, NS_PER_SEC, (uint64_t)MAX(ns, 1)));
    }
    trial_leave(t);
    p->usable = ns >= 0;
    if (ns < 0) {
        snprintf(p->why, sizeof(p->why), "/dev/kvm cannot run a guest: %s", ns == -ENOTSUP ? "64-bit code does not run" : strerror((int)-ns));
        return;
    }
    p->assisted = p->rate >= ASSISTED_RATE;
    snprintf(p->why, sizeof(p->why), "/dev/kvm %s (%.1f million ring-0 instructions a second)",
             p->assisted ? "has hardware assistance" : "emulates guest-kernel code", (double)p->rate / 1e6);
}

/* These two load on processors with virtualisation only. */
static const char *const modules[] = { "/sys/module/kvm_intel", "/sys/module/kvm_amd" };

void kvm_probe(struct kvm_probe *p, bool run)
{
    int dev;

    memset(p, 0, sizeof(*p));
    if ((dev = kvm_open(p->why, sizeof(p->why))) < 0)
        return;
    p->usable = true;
    for (unsigned i = 0; i < ARRAY_SIZE(modules); i++)
        p->assisted |= !access(modules[i], F_OK);
    snprintf(p->why, sizeof(p->why), "/dev/kvm %s", p->assisted ? "has hardware assistance (the kernel's module says so)" : "is there, not measured");
    if (run)
        measure(p, dev);
    close(dev);
}
