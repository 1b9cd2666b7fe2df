/*
 * The CPU state both ways: struct x86_cpu to the kernel's structs and back, driven by fields.def and, for MSRs, by x86/msr.def.
 *
 * In and out: the vCPU stands still (or the calling thread is its own). Invariant: get after put gives the same struct x86_cpu. Order of writing:
 * special registers first (they decide what the others may hold), events last (writing registers drops them). An external interrupt or an
 * exception that was taken but not yet delivered is a recorded exception of struct x86_cpu: its next boundary delivers it.
 * Linux Documentation/virt/kvm/api.rst.
 */
#include "core/log.h"
#include "core/vm.h"
#include "kvm/internal.h"
#include "x86/cpuid.h"
#include <errno.h>
#include <string.h>

struct kvm_state {
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    struct kvm_xcrs xcrs;
    struct kvm_xsave xsave;
    struct kvm_debugregs debugregs;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp;
};

/* In order of writing. */
static const struct block { const char *get_name, *put_name; unsigned long get, put; size_t offset; } blocks[] = {
#define BLOCK(member, GET, PUT) { #GET, #PUT, GET, PUT, offsetof(struct kvm_state, member) }
    BLOCK(sregs, KVM_GET_SREGS, KVM_SET_SREGS), BLOCK(regs, KVM_GET_REGS, KVM_SET_REGS), BLOCK(xcrs, KVM_GET_XCRS, KVM_SET_XCRS),
    BLOCK(xsave, KVM_GET_XSAVE, KVM_SET_XSAVE), BLOCK(debugregs, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS), BLOCK(mp, KVM_GET_MP_STATE, KVM_SET_MP_STATE),
    BLOCK(events, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS),
#undef BLOCK
};

static const struct field { uint16_t there, here; uint8_t there_size, here_size; } fields[] = {
#define FIELD(block, member, field) { offsetof(struct kvm_state, block.member), offsetof(struct x86_cpu, field), \
    sizeof(((struct kvm_state *)0)->block.member), sizeof(((struct x86_cpu *)0)->field) },
#define SEGMENT(block, member, index)
#include "kvm/fields.def"
#undef FIELD
#undef SEGMENT
};

static const struct segment { uint16_t there; uint8_t index; } segments[] = {
#define FIELD(block, member, field)
#define SEGMENT(block, member, index) { offsetof(struct kvm_state, block.member), index },
#include "kvm/fields.def"
#undef FIELD
#undef SEGMENT
};

/* ---- fields and segments ---- */

static void copy(void *to, unsigned to_size, const void *from, unsigned from_size)
{
    uint64_t v = 0;
    memcpy(&v, from, from_size);
    memcpy(to, &v, to_size);
}

static void fields_put(const struct x86_cpu *c, struct kvm_state *s)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        const struct field *f = &fields[i];
        copy((char *)s + f->there, f->there_size, (const char *)c + f->here, f->here_size);
    }
}

static void fields_get(struct x86_cpu *c, const struct kvm_state *s)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        const struct field *f = &fields[i];
        copy((char *)c + f->here, f->here_size, (const char *)s + f->there, f->there_size);
    }
}

static struct kvm_segment segment_put(const struct x86_seg *s)
{
    bool p = s->attr & SEG_P;
    return (struct kvm_segment){ .base = s->base, .limit = s->limit, .selector = s->sel, .type = s->attr >> 8 & 15, .s = s->attr >> 12 & 1,
        .dpl = SEG_DPL(s->attr), .present = p, .avl = s->attr >> 20 & 1, .l = s->attr >> 21 & 1, .db = s->attr >> 22 & 1, .g = s->attr >> 23 & 1,
        .unusable = !p };
}

static struct x86_seg segment_get(const struct kvm_segment *k)
{
    bool p = k->present && !k->unusable;
    uint32_t attr = (uint32_t)(k->type & 15) << 8 | (uint32_t)(k->s & 1) << 12 | (uint32_t)(k->dpl & 3) << 13 | (p ? SEG_P : 0) |
                    (uint32_t)(k->avl & 1) << 20 | (k->l ? SEG_L : 0) | (k->db ? SEG_DB : 0) | (k->g ? SEG_G : 0);
    return (struct x86_seg){ .base = k->base, .limit = k->limit, .attr = attr, .sel = k->selector };
}

static void segments_put(const struct x86_cpu *c, struct kvm_state *s)
{
    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++) {
        struct kvm_segment k = segment_put(&c->seg[segments[i].index]);
        memcpy((char *)s + segments[i].there, &k, sizeof(k));
    }
}

static void segments_get(struct x86_cpu *c, const struct kvm_state *s)
{
    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++) {
        struct kvm_segment k;
        memcpy(&k, (const char *)s + segments[i].there, sizeof(k));
        c->seg[segments[i].index] = segment_get(&k);
    }
}

/* ---- what is composed ---- */

static void events_put(const struct kvm_cpu *k, struct kvm_state *s)
{
    const struct x86_cpu *c = &k->cpu;
    struct kvm_vcpu_events *e = &s->events;

    e->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    e->interrupt.shadow = (c->intr_shadow ? KVM_X86_SHADOW_INT_STI : 0) | (c->ss_shadow ? KVM_X86_SHADOW_INT_MOV_SS : 0);
    if (!c->exc_pending)
        return;
    if (c->exc_vector >= 32 || c->exc_soft) {
        e->interrupt.injected = 1;
        e->interrupt.nr = c->exc_vector;
        e->interrupt.soft = c->exc_soft;
        return;
    }
    e->exception.injected = 1;
    e->exception.nr = c->exc_vector;
    e->exception.has_error_code = c->exc_has_error;
    e->exception.error_code = c->exc_error;
    if (c->exc_vector == X86_PF)
        s->sregs.cr2 = c->exc_cr2;
}

static void events_get(struct kvm_cpu *k, const struct kvm_state *s)
{
    struct x86_cpu *c = &k->cpu;
    const struct kvm_vcpu_events *e = &s->events;

    c->intr_shadow = e->interrupt.shadow != 0;
    c->ss_shadow = e->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
    c->exc_pending = e->exception.injected || e->interrupt.injected;
    c->exc_soft = false;
    c->exc_has_error = false;
    c->exc_next_rip = 0;
    c->exc_delivering = 0xff;
    if (e->exception.injected) {
        c->exc_vector = e->exception.nr;
        c->exc_has_error = e->exception.has_error_code;
        c->exc_error = e->exception.error_code;
        c->exc_cr2 = c->cr2;
    } else if (e->interrupt.injected) {
        c->exc_vector = e->interrupt.nr;
        c->exc_next_rip = c->rip;
    }
    if (e->nmi.pending || e->nmi.injected) {          /* ours from now on: the kernel has to forget it */
        vcpu_set_pending(k->vcpu, VCPU_NMI);
        k->push = true;
    }
}

static void fpu_put(const struct x86_cpu *c, struct kvm_state *s)
{
    memcpy(s->xsave.region, c->fpu, X86_XSAVE_SIZE);
}

static void fpu_get(struct x86_cpu *c, const struct kvm_state *s)
{
    uint64_t in_use;
    memcpy(c->fpu, s->xsave.region, X86_XSAVE_SIZE);
    memcpy(&in_use, c->fpu + 512, 8);
    in_use &= x86_xcr0_valid(&kvm_host.model);        /* others are not offered (cpuid.c) */
    memcpy(c->fpu + 512, &in_use, 8);
}

/* The parts of the interrupt controller that are registers of the processor. What the kernel's own has of them is its, once it has been loaded. */
static void apic_put(struct kvm_cpu *k, struct kvm_state *s)
{
    const struct vcpu_intc *ic = &k->vcpu->intc;

    if (!kvm_lapic_inside() || !k->apic_seen) {
        k->apic_base = ic->get_base ? ic->get_base(ic->opaque) : 0;
        k->cr8 = ic->get_tpr ? ic->get_tpr(ic->opaque) : 0;
        k->apic_seen = true;
    }
    s->sregs.apic_base = k->apic_base;
    s->sregs.cr8 = k->cr8;
}

static unsigned mp_put(const struct kvm_cpu *k)
{
    if (!kvm_lapic_inside())
        return KVM_MP_STATE_RUNNABLE;                 /* halting is ours */
    return k->cpu.wait_sipi ? KVM_MP_STATE_UNINITIALIZED : k->vcpu->halted ? KVM_MP_STATE_HALTED : KVM_MP_STATE_RUNNABLE;
}

static void mp_get(struct kvm_cpu *k, unsigned mp)
{
    if (!kvm_lapic_inside())
        return;
    k->cpu.wait_sipi = mp == KVM_MP_STATE_UNINITIALIZED || mp == KVM_MP_STATE_INIT_RECEIVED;
    k->vcpu->halted = k->cpu.wait_sipi || mp == KVM_MP_STATE_HALTED;
}

/* ---- all of it ---- */

int kvm_state_put(struct kvm_cpu *k)
{
    struct kvm_state s = { 0 };
    const struct x86_cpu *c = &k->cpu;
    int ret = 0;

    fields_put(c, &s);
    segments_put(c, &s);
    s.regs.rflags = x86_get_rflags(c);
    s.xcrs.nr_xcrs = 1;
    fpu_put(c, &s);
    apic_put(k, &s);
    s.mp.mp_state = mp_put(k);
    events_put(k, &s);
    for (unsigned i = 0; i < ARRAY_SIZE(blocks) && ret >= 0; i++)
        ret = kvm_do(k->fd, blocks[i].put_name, blocks[i].put, (char *)&s + blocks[i].offset);
    if (ret < 0 || (ret = kvm_msrs_put(k)) < 0 || (ret = kvm_tsc_put(k)) < 0)
        return ret;
    k->run->if_flag = (c->rflags & RF_IF) != 0;
    k->run->ready_for_interrupt_injection = k->run->if_flag && !c->intr_shadow && !c->exc_pending;
    k->push = false;
    return 0;
}

int kvm_registers_get(struct kvm_cpu *k)
{
    struct kvm_state s = { 0 };
    struct x86_cpu *c = &k->cpu;
    int ret = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(blocks) && ret >= 0; i++)
        ret = kvm_do(k->fd, blocks[i].get_name, blocks[i].get, (char *)&s + blocks[i].offset);
    if (ret < 0)
        return ret;
    fields_get(c, &s);
    segments_get(c, &s);
    x86_set_rflags(c, s.regs.rflags);
    c->cpl = c->cr0 & CR0_PE ? SEG_DPL(c->seg[X86_SS].attr) : 0;
    k->apic_base = s.sregs.apic_base;
    k->cr8 = s.sregs.cr8;
    fpu_get(c, &s);
    mp_get(k, s.mp.mp_state);
    events_get(k, &s);
    return 0;
}

int kvm_state_get(struct kvm_cpu *k)
{
    int ret = kvm_registers_get(k);

    if (ret < 0 || (ret = kvm_msrs_get(k)) < 0)
        return ret;
    return kvm_tsc_get(k);
}
