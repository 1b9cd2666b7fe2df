/*
 * Address spaces of SVM guests.
 *
 * A context is all that a guest translation depends on beside the guest's own tables: nested CR3, ASID, and the control bits of both levels that
 * change what entries mean. Each gets a number; shadow pages of different numbers are never mixed (softmmu). So world switches, and
 * guests that go to and fro between modes, flush nothing. The guest's tables are tracked as any others; the nested ones are
 * not: the hypervisor has to flush after changing them (TLB_CONTROL, a new ASID, INVLPGA), which drops the contexts of that ASID. Without nested
 * paging all tables are tracked and flushing has nothing to do. APM vol. 2 15.16, 15.25.
 */
#pragma GCC target("general-regs-only")
#include "frontend-x86/mmu_x86.h"
#include "frontend-x86/svm.h"
#include "frontend-x86/seg.h"

#define ROOT_BITS 46          /* of CR3 with the PCID; the context's number is above */

/* Not in the way of each other: CR0 16 31, CR4 4 5 12 17 20 21 22, EFER 10 11; 23 to 29 PKRU's number. */
static uint64_t control_bits(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    cr4 &= CR4_PSE | CR4_PAE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_LA57 | CR4_PKE;
    return (cr0 & (CR0_PG | CR0_WP)) | cr4 | (efer & (EFER_LMA | EFER_NXE));
}

uint64_t svm_root(const struct x86_cpu *c)
{
    uint64_t addr = c->efer & EFER_LMA ? c->cr3 & (BIT(ROOT_BITS) - 1) : c->cr3 & (c->cr4 & CR4_PAE ? 0xffffffe0u : 0xfffff000u);
    if ((c->efer & EFER_LMA) && !(c->cr4 & CR4_PCIDE))
        addr &= PAGE_MASK;
    return BIT(63) | BIT(62) | (uint64_t)c->svm.ctx << ROOT_BITS | (c->cr0 & CR0_PG ? addr : 0);
}

static void forget(struct x86_cpu *c, struct x86_svm_context *x)
{
    mmu_drop_context(x86_mmu(c), x->id);
    x->id = 0;
}

/* When the numbers have been used up everything goes, and they begin anew. */
static uint16_t new_id(struct x86_cpu *c)
{
    if (++c->svm_last_id == 0) {
        mmu_flush_all(x86_mmu(c));
        for (unsigned i = 0; i < X86_SVM_CONTEXTS; i++)
            c->svm_contexts[i].id = 0;
        c->svm_last_id = 1;
    }
    return c->svm_last_id;
}

void svm_set_context(struct x86_cpu *c)
{
    struct x86_svm *s = &c->svm;
    uint64_t own = control_bits(c->cr0, c->cr4, c->efer) | (uint64_t)x86_pkru_id(c) << 23;
    uint64_t bits = own | (s->np ? control_bits(0, s->host.cr4, s->host.efer) << 32 | BIT(63) : 0);
    struct x86_svm_context *x = c->svm_contexts, *old = x;
    for (; x < c->svm_contexts + X86_SVM_CONTEXTS; x++) {
        if (x->id && x->ncr3 == s->ncr3 && x->asid == s->asid && x->bits == bits)
            break;
        if (old->id && (!x->id || x->stamp < old->stamp))
            old = x;
    }
    if (x == c->svm_contexts + X86_SVM_CONTEXTS) {
        x = old;
        if (x->id)
            forget(c, x);
        *x = (struct x86_svm_context){ .ncr3 = s->ncr3, .bits = bits, .asid = s->asid, .id = new_id(c) };
    }
    x->stamp = ++c->svm_stamp;
    s->ctx = x->id;
}

void svm_flush(struct x86_cpu *c, uint32_t asid)
{
    for (struct x86_svm_context *x = c->svm_contexts; x < c->svm_contexts + X86_SVM_CONTEXTS; x++)
        if (x->id && x->bits >> 63 && (!asid || x->asid == asid))
            forget(c, x);
}

void x86_paging_changed(struct x86_cpu *c)
{
    if (c->svm.guest)
        svm_set_context(c);
    mmu_set_root(x86_mmu(c));
}
