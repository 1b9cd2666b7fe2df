/*
 * Model-specific registers: the rows of x86/msr.def that live in the kernel, the time stamp counter, and accesses that the kernel hands to us.
 *
 * Which rows a kernel knows is found by asking once. Rows that are fields of special registers (FS_BASE, GS_BASE) go with those. The kernel asks us
 * about MSRs that it does not know, and about those of the filter: writes of the TSC (tsc_offset must follow) and, when the local APIC is
 * our model, its base and deadline. Linux api.rst: KVM_GET_MSRS, KVM_X86_SET_MSR_FILTER.
 */
#include "core/log.h"
#include "kvm/internal.h"
#include <errno.h>
#include <string.h>

#define MAX_MSRS 192
enum { MSR_TSC = 0x10, MSR_APIC_BASE = 0x1b, MSR_TSC_ADJUST = 0x3b, MSR_DEADLINE = 0x6e0 };

struct msr_list { struct kvm_msrs head; struct kvm_msr_entry e[MAX_MSRS]; };
static const struct x86_msr *known[MAX_MSRS];
static unsigned n_known;
static bool asked;

static bool in_segments(const struct x86_msr *m)
{
    return m->offset >= offsetof(struct x86_cpu, seg) && m->offset < offsetof(struct x86_cpu, seg) + sizeof(((struct x86_cpu *)0)->seg);
}

static uint64_t *place(struct kvm_cpu *k, const struct x86_msr *m) { return (uint64_t *)((char *)&k->cpu + m->offset); }

/* The rows from FROM on, with their numbers and no values. */
static void fill(struct msr_list *l, unsigned from)
{
    memset(&l->head, 0, sizeof(l->head));
    for (unsigned i = from; i < n_known; i++)
        l->e[l->head.nmsrs++] = (struct kvm_msr_entry){ .index = known[i]->num };
}

/* The kernel stops at the first register it does not know: that one is forgotten. */
static void forget(unsigned i)
{
    memmove(&known[i], &known[i + 1], (n_known - i - 1) * sizeof(known[0]));
    n_known--;
}

static int ask(struct kvm_cpu *k)
{
    struct msr_list l;

    asked = true;
    for (unsigned i = 0; i < x86_n_msrs && n_known < MAX_MSRS; i++) {
        if (x86_msrs[i].offset && !in_segments(&x86_msrs[i]))
            known[n_known++] = &x86_msrs[i];
    }
    for (unsigned from = 0; from < n_known;) {
        fill(&l, from);
        int got = kvm_do(k->fd, "KVM_GET_MSRS", KVM_GET_MSRS, &l);
        if (got < 0)
            return got;
        from += (unsigned)got;
        if (from < n_known)
            forget(from);
    }
    return 0;
}

static int read_all(struct kvm_cpu *k, struct msr_list *l)
{
    int ret = asked ? 0 : ask(k);

    fill(l, 0);
    return ret < 0 ? ret : kvm_do(k->fd, "KVM_GET_MSRS", KVM_GET_MSRS, l);
}

int kvm_msrs_get(struct kvm_cpu *k)
{
    struct msr_list l;
    int got = read_all(k, &l);

    for (int i = 0; i < got; i++)
        *place(k, known[i]) = l.e[i].data;
    return MIN(got, 0);
}

/* Only what differs is written. A value that the kernel refuses stays as it is there: some controls take fewer values than our rows. */
int kvm_msrs_put(struct kvm_cpu *k)
{
    struct msr_list l;
    int got = read_all(k, &l);
    unsigned n = 0;

    for (int i = 0; i < got; i++) {
        uint64_t v = *place(k, known[i]);
        if (l.e[i].data != v)
            l.e[n++] = (struct kvm_msr_entry){ .index = known[i]->num, .data = v };
    }
    for (unsigned from = 0; got >= 0 && from < n; from++) {
        memmove(l.e, l.e + from, (n - from) * sizeof(l.e[0]));
        n -= from;
        l.head.nmsrs = n;
        if ((got = kvm_do(k->fd, "KVM_SET_MSRS", KVM_SET_MSRS, &l)) < 0)
            break;
        from = (unsigned)got;
        if (from < n && log_on(LOG_UNIMP))
            log_printf("kvm: MSR %#x = %#llx is refused\n", l.e[from].index, (unsigned long long)l.e[from].data);
    }
    return MIN(got, 0);
}

int kvm_msr_one(struct kvm_cpu *k, unsigned long request, uint32_t index, uint64_t *v)
{
    struct { struct kvm_msrs head; struct kvm_msr_entry e; } l = { { .nmsrs = 1 }, { .index = index, .data = *v } };
    int got = kvm_try(k->fd, request, (unsigned long)&l);

    *v = l.e.data;
    return got < 0 ? got : got == 1 ? 0 : -ENXIO;
}

/* ---- the time stamp counter ---- */

static int tsc_attr(struct kvm_cpu *k, unsigned long request, uint64_t *offset)
{
    struct kvm_device_attr a = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)offset };
    return kvm_try(k->fd, request, (unsigned long)&a);
}

/* The kernel adds its offset to the host's counter, we subtract ours. */
int kvm_tsc_put(struct kvm_cpu *k)
{
    uint64_t offset = 0 - k->cpu.tsc_offset, now;

    if (kvm_host.tsc_attr)
        return tsc_attr(k, KVM_SET_DEVICE_ATTR, &offset);
    now = x86_rdtsc(&k->cpu);
    return kvm_msr_one(k, KVM_SET_MSRS, MSR_TSC, &now);
}

int kvm_tsc_get(struct kvm_cpu *k)
{
    uint64_t v = 0;
    int ret = kvm_host.tsc_attr ? tsc_attr(k, KVM_GET_DEVICE_ATTR, &v) : kvm_msr_one(k, KVM_GET_MSRS, MSR_TSC, &v);

    if (!ret)
        k->cpu.tsc_offset = kvm_host.tsc_attr ? 0 - v : x86_host_tsc() - v;
    return ret;
}

/* ---- accesses that come to us ---- */

int kvm_msr_init(void)
{
    static uint8_t deny;                              /* a clear bit: not the kernel's */
    struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR,
        .args = { KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER } };
    unsigned both = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
    struct kvm_msr_filter f = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW, .ranges = {
        { KVM_MSR_FILTER_WRITE, 1, MSR_TSC, &deny }, { KVM_MSR_FILTER_WRITE, 1, MSR_TSC_ADJUST, &deny } } };
    int ret;

    if (!kvm_lapic_inside()) {
        f.ranges[2] = (struct kvm_msr_filter_range){ both, 1, MSR_APIC_BASE, &deny };
        f.ranges[3] = (struct kvm_msr_filter_range){ both, 1, MSR_DEADLINE, &deny };
    }
    if ((ret = kvm_do(kvm_host.vm_fd, "KVM_CAP_X86_USER_SPACE_MSR", KVM_ENABLE_CAP, &cap)) < 0)
        return ret;
    return kvm_do(kvm_host.vm_fd, "KVM_X86_SET_MSR_FILTER", KVM_X86_SET_MSR_FILTER, &f);
}

/* The kernel keeps what a write has changed here. */
static int written(struct kvm_cpu *k, uint32_t msr)
{
    struct kvm_sregs s;
    int ret;

    if (msr == MSR_TSC || msr == MSR_TSC_ADJUST) {
        uint64_t adjust = k->cpu.tsc_adjust;
        kvm_msr_one(k, KVM_SET_MSRS, MSR_TSC_ADJUST, &adjust);
        return kvm_tsc_put(k);
    }
    if (msr != MSR_APIC_BASE)
        return 0;
    if ((ret = kvm_do(k->fd, "KVM_GET_SREGS", KVM_GET_SREGS, &s)) < 0)
        return ret;
    k->run->apic_base = s.apic_base = k->vcpu->intc.get_base(k->vcpu->intc.opaque);
    return kvm_do(k->fd, "KVM_SET_SREGS", KVM_SET_SREGS, &s);
}

int kvm_msr_exit(struct kvm_cpu *k, bool write)
{
    struct kvm_run *r = k->run;
    uint64_t v = r->msr.data;

    if (write) {
        r->msr.error = x86_wrmsr(&k->cpu, r->msr.index, v) != 0;
        return r->msr.error ? 0 : written(k, r->msr.index);
    }
    r->msr.error = x86_rdmsr(&k->cpu, r->msr.index, &v) != 0;
    r->msr.data = v;
    return 0;
}
