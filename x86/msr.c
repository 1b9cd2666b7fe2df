/*
 * RDMSR and WRMSR from the table msr.def. Privilege is the caller's check. 0, or -1 for #GP.
 *
 * The engine looks after consequences outside the CPU state: after a write of EFER, paging may have changed meaning (tcg: helper_wrmsr).
 * The APIC's MSRs go to vcpu->intc. An MSR nobody knows is #GP, and said once with -d unimp. SDM vol. 4; vol. 3 11.11 (MTRR), 11.12 (PAT).
 */
#include "core/log.h"
#include "x86/cpuid.h"
#include "x86/svm.h"

/* Spelled out for systems that look here: no flaw of the speculative kind (RDCL SKIP_L1D SSB MDS PSCHANGE TAA SBDR FBSDP PSDP BHI PBRSB GDS RFDS ITS). */
#define X86_ARCH_CAP (0x4000000000000000ull | BIT(0) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) | BIT(15) | BIT(20) | BIT(24) | BIT(26) | BIT(27))

enum msr_kind { FIELD, CANON, CONST, ZERO, MTRR_BASE, MTRR_FIX, MTRR_DEF, PAT, SPECIAL, KEPT, ENGINE };

#define MSR_OFF(field) offsetof(struct x86_cpu, field)
#define MSR_OFF_FIELD(f) MSR_OFF(f)
#define MSR_OFF_CANON(f) MSR_OFF(f)
#define MSR_OFF_ZERO(f) MSR_OFF(f)
#define MSR_OFF_MTRR_BASE(f) MSR_OFF(f)
#define MSR_OFF_MTRR_FIX(f) MSR_OFF(f)
#define MSR_OFF_MTRR_DEF(f) MSR_OFF(f)
#define MSR_OFF_PAT(f) MSR_OFF(f)
#define MSR_OFF_KEPT(f) MSR_OFF(f)
#define MSR_OFF_ENGINE(f) MSR_OFF(f)
#define MSR_OFF_CONST(f) 0
#define MSR_OFF_SPECIAL(f) 0

const struct x86_msr x86_msrs[] = {
#define MSR(num, name, kind, field, mask) { num, MSR_OFF_##kind(field), mask, kind, #name },
#include "x86/msr.def"
#undef MSR
};
const unsigned x86_n_msrs = ARRAY_SIZE(x86_msrs);

static const struct x86_msr *msr_find(uint32_t num)
{
    unsigned lo = 0, hi = x86_n_msrs;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (x86_msrs[mid].num == num)
            return &x86_msrs[mid];
        if (x86_msrs[mid].num < num)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static void unknown(const char *what, uint32_t msr, uint64_t v)
{
    static uint32_t said[64];
    static unsigned n_said;
    for (unsigned i = 0; i < n_said && i < 64; i++)
        if (said[i] == msr)
            return;
    said[n_said++ & 63] = msr;
    if (log_on(LOG_UNIMP))
        log_printf("unknown msr %#x %s %#llx: #GP\n", msr, what, (unsigned long long)v);
}

static bool memory_type(unsigned t)
{
    return t == 0 || t == 1 || t == 4 || t == 5 || t == 6;
}

static bool types_ok(uint64_t v, bool uc_minus)
{
    for (int i = 0; i < 64; i += 8) {
        unsigned t = v >> i & 0xff;
        if (!memory_type(t) && !(uc_minus && t == 7))
            return false;
    }
    return true;
}

static int write_efer(struct x86_cpu *c, uint64_t v)
{
    uint64_t known = EFER_LMA;
    known |= (x86_has(c->cpuid, FEAT_lm) ? EFER_LME : 0) | (x86_has(c->cpuid, FEAT_syscall) ? EFER_SCE : 0);
    known |= x86_has(c->cpuid, FEAT_nx) ? EFER_NXE : 0;
    known |= x86_has(c->cpuid, FEAT_svm) && !(c->svm.vm_cr & SVM_VM_CR_SVMDIS) ? EFER_SVME : 0;
    if (v & ~known)
        return -1;
    if ((c->cr0 & CR0_PG) && ((v ^ c->efer) & EFER_LME))
        return -1;
    c->efer = (v & ~(uint64_t)EFER_LMA) | (c->efer & EFER_LMA);
    return 0;
}

static int read_intc(const struct x86_cpu *c, uint32_t msr, uint64_t *v)
{
    if (!c->vcpu || !c->vcpu->intc.x2apic_read)
        return -1;
    return c->vcpu->intc.x2apic_read(c->vcpu->intc.opaque, msr, v);
}

static int write_intc(const struct x86_cpu *c, uint32_t msr, uint64_t v)
{
    if (!c->vcpu || !c->vcpu->intc.x2apic_write)
        return -1;
    return c->vcpu->intc.x2apic_write(c->vcpu->intc.opaque, msr, v);
}

/* Without the feature SVM is disabled for good; HSAVE_PA is remembered only, as what VMRUN saves stays in the CPU state. */
static int write_svm(struct x86_cpu *c, uint32_t msr, uint64_t v)
{
    bool svm = x86_has(c->cpuid, FEAT_svm);
    if (msr == 0xc0010117) {
        if (v & ~(BIT(X86_PHYS_BITS) - 1) || v & ~PAGE_MASK)
            return -1;
        c->svm.hsave_pa = svm ? v : 0;
        return 0;
    }
    if (v & ~0x1full || (v & SVM_VM_CR_SVMDIS && c->efer & EFER_SVME))
        return -1;
    if (c->svm.vm_cr & SVM_VM_CR_LOCK)
        v = (v & ~(uint64_t)(SVM_VM_CR_LOCK | SVM_VM_CR_SVMDIS)) | (c->svm.vm_cr & (SVM_VM_CR_LOCK | SVM_VM_CR_SVMDIS));
    c->svm.vm_cr = svm ? v : 0;
    return 0;
}

static int read_special(struct x86_cpu *c, uint32_t msr, uint64_t *v)
{
    const struct vcpu_intc *ic = c->vcpu ? &c->vcpu->intc : NULL;
    switch (msr) {
    case 0x10:
        *v = x86_seen_tsc(c);
        return 0;
    case 0x1b:
        *v = ic && ic->get_base ? ic->get_base(ic->opaque) : 0xfee00000u;
        return 0;
    case 0x3b:
        *v = c->tsc_adjust;
        return 0;
    case 0x8b:
        *v = c->bios_sign;
        return 0;
    case 0x17b:
        *v = c->mcg_ctl;
        return 0;
    case 0x1a0:
        *v = c->misc_enable;
        return 0;
    case 0xc1 ... 0xc4: case 0x186 ... 0x189: case 0x309 ... 0x30b: case 0x38d ... 0x390:
        return x86_pmu_rdmsr(c, msr, v);
    case 0x6e0:
        return x86_has(c->cpuid, FEAT_tsc_deadline) ? read_intc(c, msr, v) : -1;
    case 0xc0000080:
        *v = c->efer;
        return 0;
    case 0xc0010114:
        *v = x86_has(c->cpuid, FEAT_svm) ? c->svm.vm_cr : SVM_VM_CR_SVMDIS;
        return 0;
    case 0xc0010117:
        *v = c->svm.hsave_pa;
        return 0;
    }
    return -1;
}

static int write_special(struct x86_cpu *c, uint32_t msr, uint64_t v)
{
    const struct vcpu_intc *ic = c->vcpu ? &c->vcpu->intc : NULL;
    switch (msr) {
    case 0x10:
        x86_write_tsc(c, v);
        return 0;
    case 0x1b:
        return ic && ic->set_base ? ic->set_base(ic->opaque, v) : 0;
    case 0x3b:
        c->tsc_offset -= v - c->tsc_adjust;
        c->tsc_adjust = v;
        return 0;
    case 0x8b:                                    /* written with 0 before CPUID reloads it: we have no update to show */
        c->bios_sign = v;
        return 0;
    case 0x17b:
        if (v != 0 && v != ~0ull)
            return -1;
        c->mcg_ctl = v;
        return 0;
    case 0x1a0:
        if (v & ~0x400c51889ull)
            return -1;
        c->misc_enable = v;
        return 0;
    case 0xc1 ... 0xc4: case 0x186 ... 0x189: case 0x309 ... 0x30b: case 0x38d ... 0x390:
        return x86_pmu_wrmsr(c, msr, v);
    case 0x6e0:
        return x86_has(c->cpuid, FEAT_tsc_deadline) ? write_intc(c, msr, v) : -1;
    case 0xc0000080:
        return write_efer(c, v);
    case 0xc0010114: case 0xc0010117:
        return write_svm(c, msr, v);
    }
    return -1;
}

/* MSRs that come with a CPUID feature. */
static bool msr_offered(const struct x86_cpu *c, uint32_t msr)
{
    if ((msr >= 0x200 && msr < 0x277) || msr == 0x2ff || msr == 0xfe)
        return x86_has(c->cpuid, FEAT_mtrr);
    if ((msr >= 0x179 && msr <= 0x17b) || (msr >= 0x400 && msr < 0x428))
        return x86_has(c->cpuid, FEAT_mca);
    switch (msr) {
    case 0x0: case 0x1: return x86_has(c->cpuid, FEAT_mce);
    case 0x1b: return x86_has(c->cpuid, FEAT_apic);
    case 0x3b: return x86_has(c->cpuid, FEAT_tsc_adjust);
    case 0x174: case 0x175: case 0x176: return x86_has(c->cpuid, FEAT_sep);
    case 0x277: return x86_has(c->cpuid, FEAT_pat);
    case 0xc1 ... 0xc4: case 0x186 ... 0x189: case 0x309 ... 0x30b: case 0x38d ... 0x390: return x86_has(c->cpuid, FEAT_pmu);
    case 0x10a: return x86_has(c->cpuid, FEAT_arch_cap);
    case 0xda0: return x86_has(c->cpuid, FEAT_xsaves);
    case 0xc0000103: return x86_has(c->cpuid, FEAT_rdtscp) || x86_has(c->cpuid, FEAT_rdpid);
    case 0xc0000081: case 0xc0000082: case 0xc0000083: case 0xc0000084:
    case 0xc0000100: case 0xc0000101: case 0xc0000102: return x86_has(c->cpuid, FEAT_lm);
    case 0xc0000080: return x86_has(c->cpuid, FEAT_lm) || x86_has(c->cpuid, FEAT_nx);
    }
    return true;
}

static uint64_t *msr_place(struct x86_cpu *c, const struct x86_msr *m)
{
    return (uint64_t *)((char *)c + m->offset);
}

int x86_rdmsr(struct x86_cpu *c, uint32_t msr, uint64_t *v)
{
    *v = 0;
    if (msr >> 8 == 8)
        return x86_has(c->cpuid, FEAT_x2apic) ? read_intc(c, msr, v) : -1;
    const struct x86_msr *m = msr_find(msr);
    if (!m || m->kind == ENGINE || !msr_offered(c, msr)) {
        unknown("read", msr, 0);
        return -1;
    }
    if (m->kind == SPECIAL || m->kind == KEPT)
        return read_special(c, msr, v);
    *v = m->kind == CONST ? m->mask : *msr_place(c, m);
    return 0;
}

static bool value_ok(const struct x86_cpu *c, const struct x86_msr *m, uint64_t v)
{
    switch (m->kind) {
    case FIELD: return !(v & ~m->mask);
    case CANON: return x86_canonical_wide(c, v);
    case ZERO: return v == 0;
    case MTRR_BASE: return !(v & ~m->mask) && memory_type(v & 0xff);
    case MTRR_DEF: return !(v & ~m->mask) && memory_type(v & 0xff);
    case MTRR_FIX: return types_ok(v, false);
    case PAT: return types_ok(v, true);
    }
    return false;
}

int x86_wrmsr(struct x86_cpu *c, uint32_t msr, uint64_t v)
{
    if (msr >> 8 == 8)
        return x86_has(c->cpuid, FEAT_x2apic) ? write_intc(c, msr, v) : -1;
    const struct x86_msr *m = msr_find(msr);
    if (!m || m->kind == ENGINE || !msr_offered(c, msr)) {
        unknown("written", msr, v);
        return -1;
    }
    if (m->kind == SPECIAL || m->kind == KEPT)
        return write_special(c, msr, v);
    if (m->kind == CONST)
        return msr == 0xfe || msr == 0x10a || msr == 0x179 ? -1 : 0;     /* these are read-only */
    if (!value_ok(c, m, v))
        return -1;
    *msr_place(c, m) = v;
    return 0;
}
