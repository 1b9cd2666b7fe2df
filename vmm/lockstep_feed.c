/*
 * Lock-step: both sides hear the same. What A is told by devices, by its interrupt controller and by DMA is recorded while it takes its turn; B is told
 * the same again, and must ask the same in the same order. A20, changes of the memory map and DMA are recorded before the access that caused them.
 * The page of the local APIC is a device like others; what a processor asks its controller outside of it has events of its own.
 */
#include "vmm/lockstep_int.h"
#include "core/alloc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = { "memory read", "memory write", "port read", "port write", "interrupt acknowledge", "CR8 read", "CR8 write",
    "APIC base read", "APIC base write", "APIC MSR read", "APIC MSR write", "DMA", "change of the map", "change of A20 or SMRAM", "SMI" };

static bool passive(const struct ls_event *e) { return e->kind >= EV_DMA; }

void ls_feed_clear(void)
{
    for (unsigned i = 0; i < ls.n_events; i++)
        free(ls.events[i].bytes);
    ls.n_events = ls.next[0] = ls.next[1] = 0;
}

void ls_record(const struct ls_event *e)
{
    if (ls.recording && ls.n_events < LS_MAX_EVENTS)
        ls.events[ls.n_events++] = *e;
    if (ls.blocks && ls.n_events > LS_MAX_EVENTS / 2)
        __atomic_store_n(&ls.env[0]->poll, 1, __ATOMIC_RELEASE);     /* time to compare */
}

static void record(enum ls_kind kind, uint64_t addr, uint64_t val, unsigned size, int ret)
{
    ls_record(&(struct ls_event){ kind, size, ret, addr, val, NULL });
}

static void happen(const struct ls_event *e, int i)
{
    if (e->kind == EV_DMA) {
        ls_dma_to(i, e->addr, e->bytes, e->size);
    } else if (e->kind == EV_MAP && i) {
        ls_follow_maps();
    } else if (e->kind == EV_SIGHT && i) {
        ls_cpu(1)->a20_off = e->val & 1;
        ls_cpu(1)->smram = (uint8_t)(e->val >> 1);
        vcpu_set_pending(ls.b->vcpus[0], VCPU_WORK);
        ls.mem.stale |= ls.kvm;                      /* its slots follow the map */
    } else if (e->kind == EV_SMI) {
        vcpu_set_pending(i ? ls.b->vcpus[0] : ls.env[0]->vcpu, VCPU_SMI);
    }
}

bool ls_fed(int i)
{
    while (ls.next[i] < ls.n_events && passive(&ls.events[ls.next[i]]))
        happen(&ls.events[ls.next[i]++], i);
    return ls.next[i] == ls.n_events;
}

/* Side I asks: the answer that was given first. VAL is compared where the side gives it. */
static struct ls_event replay(int i, enum ls_kind kind, uint64_t addr, uint64_t val, unsigned size, bool gives)
{
    if (!ls.replaying)
        return (struct ls_event){ .ret = -1 };
    bool more = !ls_fed(i) && ls.next[i] < ls.n_events;
    struct ls_event e = more ? ls.events[ls.next[i]] : (struct ls_event){ .kind = kind, .ret = -1 };
    bool same = more && e.kind == kind && e.addr == addr && e.size == size && (!gives || e.val == val);
    if (!same && !*ls.bad)
        snprintf(ls.bad, sizeof(ls.bad), "%s asks for a %s at 0x%llx of %u bytes (value 0x%llx), %s %s at 0x%llx of %u bytes (value 0x%llx)", ls.name[i],
                 names[kind], (unsigned long long)addr, size, (unsigned long long)val, ls.name[0], more ? names[e.kind] : "nothing,",
                 (unsigned long long)e.addr, e.size, (unsigned long long)e.val);
    ls.next[i]++;
    return e;
}

static enum ls_kind kind_of(const struct ls_space *s, bool write) { return (s == &ls.io ? EV_PORT_READ : EV_READ) + (write ? 1 : 0); }

/* A window whose writes go to RAM by a device's hand (shadow RAM that reads as ROM). */
static void follow_window(const struct ls_space *s, gpa_t addr, unsigned size)
{
    uint64_t off, left;
    struct region *r = as_find(s->a, addr, &off, &left);
    struct ls_copy *c = r && r->kind == REGION_IO && r->track ? ls_copy_by_track(r->track) : NULL;

    if (c) {
        uint64_t at = ((uint64_t)(r->track - c->track_a) << PAGE_BITS) + off;
        memcpy(c->b + at, c->a + at, MIN(size, left));
    }
}

/* A write to ROM does nothing; some engines tell the address space of it, some do not. */
static bool no_event(struct aspace *as, gpa_t addr, bool write)
{
    uint64_t off, left;
    struct region *r = write ? as_find(as, addr, &off, &left) : NULL;
    return r && r->kind == REGION_ROM;
}

/* What the board tells a processor of its lines: A20, and whether SMRAM is seen. */
static uint64_t sight(int i) { return ls_cpu(i)->a20_off | (uint64_t)ls_cpu(i)->smram << 1; }

/* An SMI that this OUT has brought: it belongs to the instruction (x86_end_out), so B must know within the same one. */
static bool brought_smi(const struct ls_space *s, bool write)
{
    const struct x86_cpu *a = ls_cpu(0);
    return write && s == &ls.io && !a->smm && a->svm.gif && (__atomic_load_n(&a->vcpu->pending, __ATOMIC_SEQ_CST) & VCPU_SMI);
}

uint64_t ls_access_a(void *opaque, gpa_t addr, uint64_t val, unsigned size, bool write)
{
    if (no_event(((struct ls_space *)opaque)->a, addr, write))
        return val;
    if (ls.dead)
        return replay(0, kind_of(opaque, write), addr, val, size, write).val;
    if (write)
        follow_window(opaque, addr, size);
    if (ls.recording && sight(0) != sight(1))
        record(EV_SIGHT, 0, sight(0), 0, 0);
    if (ls.recording && brought_smi(opaque, write))
        record(EV_SMI, 0, 0, 0, 0);
    record(kind_of(opaque, write), addr, val, size, 0);
    return val;
}

uint64_t ls_access_b(void *opaque, gpa_t addr, uint64_t val, unsigned size, bool write)
{
    return no_event(((struct ls_space *)opaque)->b, addr, write) ? val : replay(1, kind_of(opaque, write), addr, val, size, write).val;
}

/* ---- the interrupt controller ---- */

static int ack_b(void *o) { return replay(1, EV_ACK, 0, 0, 0, false).ret; }
static uint64_t get_tpr_b(void *o) { return replay(1, EV_GET_TPR, 0, 0, 0, false).val; }
static void set_tpr_b(void *o, uint64_t v) { replay(1, EV_SET_TPR, 0, v, 0, true); }
static uint64_t get_base_b(void *o) { return replay(1, EV_GET_BASE, 0, 0, 0, false).val; }
static int set_base_b(void *o, uint64_t v) { return replay(1, EV_SET_BASE, 0, v, 0, true).ret; }
static int msr_read_b(void *o, uint32_t msr, uint64_t *v) { struct ls_event e = replay(1, EV_MSR_READ, msr, 0, 0, false); *v = e.val; return e.ret; }
static int msr_write_b(void *o, uint32_t msr, uint64_t v) { return replay(1, EV_MSR_WRITE, msr, v, 0, true).ret; }

static int ack_a(void *o)
{
    if (ls.dead)
        return replay(0, EV_ACK, 0, 0, 0, false).ret;
    int r = ls.intc.ack(o);
    record(EV_ACK, 0, 0, 0, r);
    return r;
}

static uint64_t get_tpr_a(void *o)
{
    if (ls.dead)
        return replay(0, EV_GET_TPR, 0, 0, 0, false).val;
    uint64_t v = ls.intc.get_tpr(o);
    record(EV_GET_TPR, 0, v, 0, 0);
    return v;
}

static void set_tpr_a(void *o, uint64_t v)
{
    if (!ls.dead)
        ls.intc.set_tpr(o, v);
    record(EV_SET_TPR, 0, v, 0, 0);
    if (ls.dead)
        replay(0, EV_SET_TPR, 0, v, 0, true);
}

static uint64_t get_base_a(void *o)
{
    if (ls.dead)
        return replay(0, EV_GET_BASE, 0, 0, 0, false).val;
    uint64_t v = ls.intc.get_base(o);
    record(EV_GET_BASE, 0, v, 0, 0);
    return v;
}

static int set_base_a(void *o, uint64_t v)
{
    if (ls.dead)
        return replay(0, EV_SET_BASE, 0, v, 0, true).ret;
    int r = ls.intc.set_base(o, v);
    record(EV_SET_BASE, 0, v, 0, r);
    return r;
}

static int msr_read_a(void *o, uint32_t msr, uint64_t *v)
{
    if (ls.dead) {
        struct ls_event e = replay(0, EV_MSR_READ, msr, 0, 0, false);
        *v = e.val;
        return e.ret;
    }
    int r = ls.intc.x2apic_read(o, msr, v);
    record(EV_MSR_READ, msr, *v, 0, r);
    return r;
}

static int msr_write_a(void *o, uint32_t msr, uint64_t v)
{
    if (ls.dead)
        return replay(0, EV_MSR_WRITE, msr, v, 0, true).ret;
    int r = ls.intc.x2apic_write(o, msr, v);
    record(EV_MSR_WRITE, msr, v, 0, r);
    return r;
}

/* KVM keeps CR8 and the APIC's base itself and looks at ours whenever it enters and leaves the guest, so those questions are no events there: both
   sides see A's controller as it is, and what KVM wants to change must have been changed by A. */
static int ack_kvm(void *o) { return -1; }
static uint64_t get_tpr_kvm(void *o) { return ls.intc.get_tpr(ls.intc.opaque); }
static uint64_t get_base_kvm(void *o) { return ls.intc.get_base(ls.intc.opaque); }
static void set_tpr_kvm(void *o, uint64_t v)
{
    if (ls.replaying && v != get_tpr_kvm(o) && !*ls.bad)
        snprintf(ls.bad, sizeof(ls.bad), "%s sets CR8 to 0x%llx", ls.name[1], (unsigned long long)v);
}

void ls_feed_connect(struct vcpu *a)
{
    static const struct vcpu_intc for_kvm = { ack_kvm, get_tpr_kvm, set_tpr_kvm, get_base_kvm, set_base_b, msr_read_b, msr_write_b, NULL, NULL };

    if (a->intc.ack == ack_a)
        return;
    ls.intc = a->intc;
    a->intc = (struct vcpu_intc){ ack_a, get_tpr_a, set_tpr_a, get_base_a, set_base_a, msr_read_a, msr_write_a, NULL, ls.intc.opaque };
    if (ls.kvm) {
        a->intc.get_tpr = ls.intc.get_tpr;
        a->intc.set_tpr = ls.intc.set_tpr;
        a->intc.get_base = ls.intc.get_base;
    }
    ls.b->vcpus[0]->intc = ls.kvm ? for_kvm : (struct vcpu_intc){ ack_b, get_tpr_b, set_tpr_b, get_base_b, set_base_b, msr_read_b, msr_write_b, NULL, NULL };
}
