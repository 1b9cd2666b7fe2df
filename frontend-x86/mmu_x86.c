/*
 * struct mmu_ops of the x86: turns x86/walk.c's answers into rights by softmmu mode, and failures into recorded page faults.
 *
 * Modes: 0 supervisor; 1 supervisor to whom user pages are barred (SMAP with AC clear); 2 user. A non-canonical address in a 4-level or 5-level
 * address space is #GP(0) or #SS(0), which delivery tells apart. root and mode are called from code that is
 * general-regs-only: they are compiled so and touch nothing but the CPU state. SDM vol. 3 ch. 4.6, 4.10.1.
 */
#pragma GCC target("general-regs-only")
#include "frontend-x86/mmu_x86.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"
#include "frontend-x86/svm.h"
#include "core/log.h"
#include "core/vm.h"
#include "tcg/env.h"

/* Protection keys. PKRU is part of what a root is: each value has spaces and shadow pages of its own, so WRPKRU only switches pointers, and an access
   costs what it did. Values are numbered as they come; a guest with more than there are numbers gets one for each vCPU, and flushes. */
#define PKRU_IDS 63u
static uint32_t pkru_values[PKRU_IDS];

void x86_pkru_changed(struct x86_cpu *c)
{
    uint32_t v = (uint32_t)c->pkru | ((uint32_t)c->pkru & 0x55555555u) << 1, none;
    unsigned i = 0;
    c->pkru_id = 0;
    for (; v && i < PKRU_IDS && !c->pkru_id; i++) {
        none = 0;
        if (__atomic_compare_exchange_n(&pkru_values[i], &none, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) || none == v)
            c->pkru_id = (uint8_t)(i + 1);
    }
    if (v && !c->pkru_id)
        c->pkru_id = (uint8_t)(PKRU_IDS + 1 + c->vcpu->id);
    if (c->pkru_id <= PKRU_IDS && !c->svm.guest) {
        mmu_set_root(x86_mmu(c));
        return;
    }
    struct tcg_env *env = tcg_env_of(c);
    bool live = env->fpu_live;
    tcg_fpu_save(env);
    if (c->pkru_id > PKRU_IDS)
        mmu_flush_all(env->mmu);
    x86_paging_changed(c);
    if (live)
        tcg_fpu_load(env);
}

unsigned x86_pkru_id(const struct x86_cpu *c) { return (c->cr4 & CR4_PKE) && (c->efer & EFER_LMA) ? c->pkru_id : 0; }

/* AD (1) and WD (2) of the page's key. */
static unsigned key_bits(const struct x86_cpu *c, const struct x86_walk *w) { return w->u && x86_pkru_id(c) ? c->pkru >> (2 * w->pkey) & 3 : 0; }

static void perms(const struct x86_cpu *c, const struct x86_walk *w, struct mmu_walk *out)
{
    unsigned key = key_bits(c, w);
    uint8_t user_rw = key & 1 ? 0 : w->w && w->d && !key ? MP_R | MP_W : MP_R;
    bool wp = (c->cr0 & CR0_WP) || !(c->cr0 & CR0_PG);
    bool paged = (c->cr0 & CR0_PG) != 0;
    bool super_x = w->x && !(paged && w->u && (c->cr4 & CR4_SMEP));
    uint8_t rw = key & 1 ? 0 : MP_R | ((w->w || !wp) && w->d && !(key && wp) ? MP_W : 0);
    bool barred = paged && w->u && (c->cr4 & CR4_SMAP);
    out->perm[0] = (uint8_t)(rw | (super_x ? MP_X : 0));
    out->perm[1] = (uint8_t)((barred ? 0 : rw) | (super_x ? MP_X : 0));
    out->perm[2] = w->u ? (uint8_t)(user_rw | (w->x ? MP_X : 0)) : 0;
    for (unsigned i = 0; w->nested && i < MMU_MODES; i++)
        out->perm[i] &= (uint8_t)(MP_R | (w->nested_w ? MP_W : 0) | (w->nested_x ? MP_X : 0));
}

/* What an entry means beside its format: WP, SMEP, SMAP, NXE. */
static unsigned control_bits(const struct x86_cpu *c)
{
    return (c->cr0 & CR0_WP ? 1 : 0) | (c->cr4 & CR4_SMEP ? 2 : 0) | (c->cr4 & CR4_SMAP ? 4 : 0) | (c->efer & EFER_NXE ? 8 : 0);
}

static bool pae_registers(const struct x86_cpu *c) { return (c->cr4 & CR4_PAE) && !(c->efer & EFER_LMA); }

/* SVM contexts have 16 bits (svm_tlb.c). The PDPTEs of PAE paging are registers, which each vCPU has for itself; keys are for long mode. */
static unsigned context(const struct x86_cpu *c)
{
    if (c->svm.guest)
        return c->svm.ctx;
    return control_bits(c) << 16 | (pae_registers(c) ? (unsigned)c->vcpu->id : x86_pkru_id(c)) << 20;
}

static void convert(const struct x86_cpu *c, const struct x86_walk *w, struct mmu_walk *out)
{
    perms(c, w, out);
    out->gpa = w->gpa;
    out->page_bits = w->page_bits;
    out->global = w->g;
    out->n_entries = w->n;
    if (x86_sees_smram(c)) {                       /* the hole breaks large pages and what has no tables: not remembered */
        out->page_bits = c->cr0 & CR0_PG ? PAGE_BITS : 0;
        out->n_entries = 0;
        return;
    }
    out->entry_size = w->entry_size;
    out->context = context(c);
    for (unsigned i = 0; i < w->n; i++) {
        out->entry[i] = w->entry[i];
        out->entry_bits[i] = w->entry_bits[i];
    }
}

static bool bad_address(const struct x86_cpu *c, gva_t va)
{
    return (c->efer & EFER_LMA) && !x86_canonical(c, va);
}

static struct aspace *memory(const struct x86_cpu *c)
{
    return c->vcpu->vm->mem;
}

/* CR3's table address and PCID in X86_PHYS_BITS bits, above them PKRU's number, the control bits that change how entries are read, and the format;
   bit 62 says that SMRAM is seen, bit 63 keeps paging-on roots away from 0. An SVM guest's format is part of its context (svm_tlb.c). */
static uint64_t op_root(void *opaque)
{
    const struct x86_cpu *c = opaque;
    uint64_t smram = x86_sees_smram(c) ? BIT(62) : 0;
    if (!(c->cr0 & CR0_PG) && !svm_nested(c))
        return smram;
    if (c->svm.guest)
        return svm_root(c);
    uint64_t format = c->efer & EFER_LMA ? (c->cr4 & CR4_LA57 ? 4 : 3) : c->cr4 & CR4_PAE ? 2 : c->cr4 & CR4_PSE ? 1 : 0;
    uint64_t addr = c->efer & EFER_LMA ? c->cr3 & (BIT(X86_PHYS_BITS) - 1) : c->cr3 & (c->cr4 & CR4_PAE ? 0xffffffe0u : 0xfffff000u);
    if (pae_registers(c))
        addr |= (uint64_t)c->vcpu->id << 40;
    if ((c->efer & EFER_LMA) && !(c->cr4 & CR4_PCIDE))
        addr &= PAGE_MASK;
    return BIT(63) | smram | format << 59 | (uint64_t)control_bits(c) << 53 | (uint64_t)x86_pkru_id(c) << X86_PHYS_BITS | addr;
}

/* -d mmu. A walk leaves the guest's FPU saved (softmmu/access.c), so ordinary C may be called. A root is told at its first walk. */
static void log_walk(struct x86_cpu *c, gva_t va, enum mmu_access access, unsigned mode, const struct mmu_walk *w, uint32_t fault)
{
    static const char *const access_name[] = { "read", "write", "fetch" }, *const mode_name[MMU_MODES] = { "super", "super, user barred", "user" };
    static __thread uint64_t told;                /* BIT(62) beside a root: one was told */
    uint64_t root = op_root(c);
    if (!log_in_range(va))
        return;
    if (told != (root | BIT(62))) {
        told = root | BIT(62);
        log_printf("mmu: root %016llx cr3 %016llx%s\n", (unsigned long long)root, (unsigned long long)c->cr3, root ? "" : " (no paging)");
    }
    if (w)
        log_printf("mmu: %s (%s) va %016llx -> gpa %llx page 2^%u perm %x/%x/%x%s entry %llx\n", access_name[access], mode_name[mode], (unsigned long long)va,
                   (unsigned long long)(w->gpa | (va & ~PAGE_MASK)), w->page_bits, w->perm[0], w->perm[1], w->perm[2], w->global ? " global" : "",
                   (unsigned long long)(w->n_entries ? w->entry[0] : 0));
    else
        log_printf("mmu: %s (%s) va %016llx -> fault, error code %x pc %llx\n", access_name[access], mode_name[mode], (unsigned long long)va, fault,
                   (unsigned long long)c->rip);
}

static int op_walk(void *opaque, gva_t va, enum mmu_access access, unsigned mode, struct mmu_walk *out)
{
    struct x86_cpu *c = opaque;
    struct x86_walk w;
    if (bad_address(c, va)) {
        if (log_on(LOG_MMU))
            log_walk(c, va, access, mode, NULL, 0);
        x86_record_bad_va(c, va);
        return -1;
    }
    if (x86_walk(c, memory(c), va, access, mode == 2, mode == 0, true, &w)) {
        if (log_on(LOG_MMU))
            log_walk(c, va, access, mode, NULL, w.fault);
        if (w.npf)
            svm_record_exit(c, SVM_NPF, w.fault | (w.npf_table ? SVM_NPF_TABLE : SVM_NPF_FINAL), w.npf_gpa, 0);
        else
            x86_record_pf(c, va, w.fault);
        return -1;
    }
    convert(c, &w, out);
    if (log_on(LOG_MMU))
        log_walk(c, va, access, mode, out, 0);
    return 0;
}

/* Rights are not checked: the debugger sees all that is mapped. */
static int op_peek(void *opaque, gva_t va, struct mmu_walk *out)
{
    struct x86_cpu *c = opaque;
    struct x86_walk w;
    if (bad_address(c, va) || x86_walk(c, memory(c), va, 3, false, true, false, &w))
        return -1;
    convert(c, &w, out);
    return 0;
}

static void __attribute__((noreturn)) op_raise(void *opaque)
{
    x86_raise_recorded(opaque);
}

/* Called whenever the privilege has changed, so counters of one level are told here. */
static unsigned op_mode(void *opaque)
{
    struct x86_cpu *c = opaque;
    if (unlikely(c->pmu.filter))
        x86_pmu_mode(c);
    if (c->cpl == 3)
        return 2;
    return (c->cr4 & CR4_SMAP) && !(c->rflags & RF_AC);
}

/* An operand that begins below the hole in the address space and ends in it is #GP(0), whatever its first page is. */
static int op_reach(void *opaque, gva_t last)
{
    struct x86_cpu *c = opaque;
    if (!bad_address(c, last))
        return 0;
    x86_record_bad_va(c, last);
    return -1;
}

static bool op_wraps(void *opaque) { return !x86_code64(opaque); }

const struct mmu_ops x86_mmu_ops = { op_walk, op_peek, op_raise, op_root, op_mode, op_reach, op_wraps };
