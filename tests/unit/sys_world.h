/*
 * The bare machines of gen_system.c: memory with descriptor tables, gates, tasks, an I/O bitmap and page tables (identity, with special pages), and
 * the state of the processor in each mode ("world"). Everything is made anew, at random, for each case; two machines get the same.
 */
#ifndef TESTS_UNIT_SYS_WORLD_H
#define TESTS_UNIT_SYS_WORLD_H
#pragma GCC diagnostic ignored "-Wunused-function"       /* the native half of the kit */
#include "tests/unit/exec_gen.h"
#include "core/log.h"
#include "frontend-x86/helper_sys.h"
#include "frontend-x86/mode.h"

#define MEM 0x34000u
enum { PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, PT = 0x4000, PD32 = 0x6000, GDT = 0x7000, LDT = 0x8000, IDT32 = 0x9000, IDT64 = 0xa000,
       TSS = 0xb000, TSS_NEW = 0xe000, HANDLERS = 0x10000, STACK0 = 0x11000, STACK3 = 0x19000, WORK = 0x20000, WORK_SIZE = 0x8000,
       SPECIAL = 0x28000 /* pages: absent, read-only, supervisor, not executable */, TEXT = 0x30000 };

struct world { const char *name; enum x86_mode mode; unsigned cpl, paging; bool pe, vm86, lma; uint32_t cs, ds, ss; };
static const struct world worlds[] = {
    { "real", X86_M16, 0, 0, false, false, false, TEXT, WORK, STACK0 },       { "v86", X86_M16, 3, 2, true, true, false, TEXT, WORK, STACK0 },
    { "prot16", X86_M16, 0, 0, true, false, false, TEXT, WORK, STACK0 },      { "prot32", X86_M32, 0, 0, true, false, false, 0, 0, 0 },
    { "pse32_user", X86_M32, 3, 2, true, false, false, 0, 0, 0 },             { "pae32", X86_M32, 0, 3, true, false, false, 0, 0, 0 },
    { "compat_user", X86_M32, 3, 4, true, false, true, 0, 0, 0 },             { "compat", X86_M32, 0, 4, true, false, true, 0, 0, 0 },
    { "long", X86_M64, 0, 4, true, false, true, 0, 0, 0 },                    { "long_user", X86_M64, 3, 4, true, false, true, 0, 0, 0 },
};

static struct x86_cpuid sys_model;
static struct sys { struct machine m; struct aspace *io; struct region ports; uint64_t wrote; } sys_i, sys_t;
static uint8_t image[MEM];                           /* memory at a case's beginning */
static const struct world *w;
static uint64_t frozen = 0x123456789aull;

/* ---- the machine ---- */

static uint64_t port_read(void *o, uint64_t off, unsigned size) { return (off * 0x9e3779b97f4a7c15ull >> 20) & size_mask(size); }
static void port_write(void *o, uint64_t off, uint64_t v, unsigned size)
{
    struct sys *s = o;
    s->wrote = (s->wrote ^ off ^ v << 8 ^ size) * 0x9e3779b97f4a7c15ull;
}

static void sys_new(struct sys *s, bool interp)
{
    struct machine *m = &s->m;
    m->mem = as_new("mem", 46);
    CHECK_EQ(as_add_ram(m->mem, &m->ram, "ram", 0, MEM, REGION_RAM), 0);
    s->ports = (struct region){ .kind = REGION_IO, .name = "ports", .read = port_read, .write = port_write, .opaque = s, .no_lock = true };
    s->io = as_new("io", 16);
    as_add(s->io, &s->ports, 0, 0x10000);
    m->t = tcg_new(&x86_frontend, &x64_backend, m->mem, 32 << 20, interp);
    CHECK(m->t != NULL);
    m->t->max_insns = 1;
    m->vm.io = s->io;
    exec_wire(m, &sys_model);
    tcg_state_changed(m->env);
}

static void put64(uint32_t at, uint64_t v) { memcpy(image + at, &v, 8); }
static void put_gate(uint32_t at, unsigned sel, uint32_t off, unsigned attr, unsigned low)
{
    put64(at, (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)low << 32 | (uint64_t)attr << 40 | (uint64_t)(off >> 16) << 48);
}

static uint64_t desc(uint32_t base, uint32_t limit, unsigned type, unsigned flags)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)type << 40 | (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 |
           (uint64_t)(base >> 24) << 56;
}

enum { S_CODE0 = 0x08, S_DATA0 = 0x10, S_CODE3 = 0x1b, S_DATA3 = 0x23, S_LONG3 = 0x2b, S_LONG0 = 0x30, S_TSS = 0x70, S_LDT = 0x80, S_NEW = 0x90,
       S_GATE = 0xa0, S_GATE2 = 0xb0, S_TASKGATE = 0xc0, S_TSS16 = 0xc8, S_GATE16 = 0xd0, N_SEL = 32 };

static void fill_gdt(bool lma)
{
    const uint64_t d[] = { 0, desc(0, 0xfffff, 0x9b, 0xc), desc(0, 0xfffff, 0x93, 0xc), desc(0, 0xfffff, 0xfb, 0xc), desc(0, 0xfffff, 0xf3, 0xc),
        desc(0, 0xfffff, 0xfb, 0xa), desc(0, 0xfffff, 0x9b, 0xa), desc(WORK, 0xffff, 0x92, 0), desc(TEXT, 0xffff, 0x9b, 0),
        desc(0, 0xfffff, 0x9e, 0xc) /* conforming */, desc(0, 0xfffff, 0x12, 0xc) /* absent */, desc(0, 0xfffff, 0xf0, 0xc) /* read-only */,
        desc(0, 0x7fff, 0x96, 4) /* expand-down */, desc(0, 0xfffff, 0xf8, 0xc) /* execute-only */ };
    memset(image + GDT, 0, N_SEL * 8);
    memcpy(image + GDT, d, sizeof d);
    put64(GDT + S_TSS, desc(TSS, 104 + 0x2000, 0x8b, 0));
    put64(GDT + S_LDT, desc(LDT, 0xff, 0x82, 0));
    put64(GDT + S_NEW, desc(TSS_NEW, 103, 0x89, 0));
    put_gate(GDT + S_GATE, lma ? S_LONG0 : S_CODE0, HANDLERS + 0x100, 0xec, lma ? 0 : pick(4));
    put_gate(GDT + S_GATE2, pick(2) ? 0x48 : S_CODE3, HANDLERS + 0x140, pick(2) ? 0xec : 0x6c, 0);
    put_gate(GDT + S_TASKGATE, S_NEW, 0, 0xe5, 0);
    put64(GDT + S_TSS16, desc(TSS_NEW + 0x100, 43, 0x81, 0));
    put_gate(GDT + S_GATE16, 0x40, 0x180, 0xe4, 0);
    put64(GDT + 0xd8, desc(0, 0x10fff, 0x9b, 4));
    for (unsigned at = 0xe0; at < N_SEL * 8; at += 8)
        put64(GDT + at, rnd());
    for (unsigned k = 0; k < 16; k++)
        put64(LDT + k * 8, chance(3) ? rnd() : d[pick(ARRAY_SIZE(d))]);
}

static void fill_idt(bool lma)
{
    for (unsigned v = 0; v < 256; v++) {
        unsigned attr = v == 3 || v == 4 || v >= 0x80 ? 0xee : v % 5 ? 0x8e : 0x8f;
        put_gate(IDT32 + 8 * v, S_CODE0, HANDLERS + v, attr, 0);
        put_gate(IDT64 + 16 * v, S_LONG0, HANDLERS + v, attr, v % 7 == 6);
        put64(IDT64 + 16 * v + 8, 0);
        if (!w->pe)
            memcpy(image + 4 * v, (uint32_t[]){ (HANDLERS >> 4) << 16 | v }, 4);
    }
    put_gate(IDT32 + 8 * 0x81, S_NEW, 0, 0xe5, 0);
    put_gate(IDT32 + 8 * 0x82, S_CODE0, HANDLERS, 0x6e, 0);
    put_gate(IDT32 + 8 * 0x83, S_CODE0, HANDLERS, 0xe6, 0);
    put_gate(IDT32 + 8 * 0x84, S_CODE3, HANDLERS, 0xee, 0);
    put_gate(IDT64 + 16 * 0x82, S_LONG0, HANDLERS, 0x6e, 0);
    put_gate(IDT64 + 16 * 0x84, S_CODE0, HANDLERS, 0xee, 0);
}

static uint32_t root(void) { return w->paging == 2 ? PD32 : w->paging == 3 ? PDPT + 0x800 : PML4; }

static void fill_tss(bool lma)
{
    const uint32_t new[26] = { 0, STACK0 + 0x6000, S_DATA0, 0, 0, 0, 0, root(), HANDLERS + 0x200, 2, 1, 2, 3, 4, STACK0 + 0x5000, 6, 7, 8, S_DATA0,
                               chance(3) ? S_CODE3 : S_CODE0, S_DATA0, S_DATA0, 0, 0, chance(3) ? S_LDT : 0, 0x680000 };
    uint32_t stack = STACK0 + 0x7000, ss = S_DATA0;
    memset(image + TSS, 0, 104);
    for (unsigned k = 104; k < 104 + 0x2000; k++)
        image[TSS + k] = (uint8_t)(rnd() & rnd() & rnd());
    if (lma) {
        for (unsigned k = 4; k < 92; k += 8)
            put64(TSS + k, stack);
    } else {
        memcpy(image + TSS + 4, &stack, 4);
        memcpy(image + TSS + 8, &ss, 4);
    }
    image[TSS + 102] = 104;
    memcpy(image + TSS_NEW, new, sizeof new);
    memset(image + TSS_NEW + 0x100, 0, 44);
    for (unsigned k = 0; k < 4; k++)                 /* a task of 16 bits: ip, cs, ss, ds */
        memcpy(image + TSS_NEW + 0x100 + (const uint8_t[]){ 14, 36, 38, 40 }[k], (const uint16_t[]){ 0x200, 0x40, 0x38, 0x38 } + k, 2);
}

/* Everything identity-mapped; the special pages differ by their bits, everything else is the user's, too. */
static void fill_tables(void)
{
    put64(PML4, PDPT | 7);
    put64(PDPT, PD | 7);
    for (unsigned k = 0; k < 4; k++)
        put64(PDPT + 0x800 + 8 * k, PD | 1);         /* PAE */
    put64(PD, PT | 7);
    for (unsigned k = 0; k < 512; k++)
        put64(PT + 8 * k, (uint64_t)k << 12 | 7);
    put64(PT + (SPECIAL >> 12) * 8, SPECIAL);
    put64(PT + (SPECIAL >> 12) * 8 + 8, (SPECIAL + 0x1000) | 5);
    put64(PT + (SPECIAL >> 12) * 8 + 16, (SPECIAL + 0x2000) | 3);
    put64(PT + (SPECIAL >> 12) * 8 + 24, (SPECIAL + 0x3000) | 7 | 1ull << 63);
    memcpy(image + PD32, (uint32_t[]){ 0x87 }, 4);
}

static void fill_image(void)
{
    memset(image, 0x90, MEM);
    memset(image, 0, 0x7000);
    for (unsigned k = 0; k < WORK_SIZE; k += 8)
        put64(WORK + k, value());
    fill_tables();
    fill_gdt(w->lma);
    fill_idt(w->lma);
    fill_tss(w->lma);
}

/* ---- the state ---- */

static uint16_t some_selector(void)
{
    return chance(12) ? (uint16_t)rnd() : (uint16_t)(pick(N_SEL) * 8 + (chance(3) ? pick(4) : (pick(2) ? w->cpl : 0)) + (chance(8) ? 4 : 0));
}

static uint64_t some_address(void)
{
    switch (pick(8)) {
    case 0: return HANDLERS + pick(0x400);
    case 1: return STACK0 + 0x1000 + pick(0x5000);
    case 2: return SPECIAL + pick(0x5000) - 0x800;
    case 3: return w->mode == X86_M64 && chance(3) ? 0x800000000000ull + rnd() % 64 - 32 : TEXT + pick(0x1000);
    default: return WORK + pick(WORK_SIZE);
    }
}

static uint64_t some_value(void) { return chance(4) ? some_selector() : chance(3) ? some_address() : value(); }

static void set_seg(struct x86_seg *s, unsigned sel, uint32_t base, uint32_t limit, uint32_t attr)
{
    *s = (struct x86_seg){ .base = base, .limit = limit, .attr = attr, .sel = (uint16_t)sel };
}


static void fill_segs(struct x86_cpu *c)
{
    uint32_t data = SEG_P | SEG_S | SEG_RW | SEG_A | (uint32_t)w->cpl << 13, code = data | SEG_CODE, big = SEG_G | SEG_DB;
    bool flat = !w->ds, three = w->cpl == 3;
    unsigned csel = w->mode == X86_M64 ? (three ? S_LONG3 : S_LONG0) : three ? S_CODE3 : S_CODE0, dsel = three ? S_DATA3 : S_DATA0;

    for (unsigned k = X86_ES; k <= X86_GS; k++)
        set_seg(&c->seg[k], flat ? dsel : w->ds >> 4, w->ds, flat ? ~0u : 0xffff, data | (flat ? big : 0));
    set_seg(&c->seg[X86_CS], flat ? csel : w->cs >> 4, w->cs, flat ? ~0u : 0xffff, code | (w->mode == X86_M64 ? SEG_G | SEG_L : flat ? big : 0));
    set_seg(&c->seg[X86_SS], flat ? dsel : w->ss >> 4, w->ss, flat ? ~0u : 0xffff, data | (flat ? big : 0));
    if (w->pe && !flat && !w->vm86) {
        c->seg[X86_CS].sel = 0x40;
        c->seg[X86_SS].sel = c->seg[X86_DS].sel = c->seg[X86_ES].sel = 0x38;
    }
    if (w->lma && chance(2))
        c->seg[X86_FS].base = value() & 0xffff, c->seg[X86_GS].base = WORK;
    set_seg(&c->seg[X86_LDTR], chance(3) ? 0 : S_LDT, LDT, 0xff, chance(3) ? 0 : SEG_P | 2 << 8);
    set_seg(&c->seg[X86_TR], S_TSS, TSS, 104 + 0x2000, SEG_P | 11 << 8);
}

static void fill_control(struct x86_cpu *c)
{
    c->cr0 = CR0_ET | CR0_NE | CR0_MP | (w->pe ? CR0_PE : 0) | (w->paging ? CR0_PG : 0) | (rnd() & (CR0_WP | CR0_AM));
    if (chance(12))
        c->cr0 ^= 1ull << pick(4) & 0xe;
    c->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | (w->paging >= 3 ? CR4_PAE : w->paging == 2 ? CR4_PSE : 0);
    if (chance(3))
        c->cr4 ^= (rnd() & (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PGE | CR4_PCE | CR4_UMIP | CR4_FSGSBASE | CR4_SMAP)) |
                  (chance(8) ? CR4_OSXSAVE : 0);
    c->cr4 &= x86_cr4_known(&sys_model);
    c->efer = (w->lma ? EFER_LMA | EFER_LME : 0) | EFER_SCE | EFER_NXE | (chance(3) && x86_has(&sys_model, FEAT_svm) ? EFER_SVME : 0);
    c->cr3 = root();
    for (unsigned k = 0; k < 4; k++)
        memcpy(&c->pdpte[k], image + PDPT + 0x800 + 8 * k, 8);
    c->xcr0 = chance(6) ? 3 : x86_xcr0_valid(&sys_model);
    c->gdt = (struct x86_dtr){ .base = GDT, .limit = N_SEL * 8 - 1 };
    c->idt = (struct x86_dtr){ .base = !w->pe ? 0 : w->lma ? IDT64 : IDT32, .limit = w->lma ? 4095 : !w->pe ? 1023 : 2047 };
    c->star = (uint64_t)(S_CODE3 | 3) << 48 | (uint64_t)S_LONG0 << 32;
    c->lstar = HANDLERS + 0x300;
    c->cstar = HANDLERS + 0x310;
    c->sfmask = rnd() & 0x47700;
    c->sysenter_cs = chance(6) ? 0 : S_CODE0;
    c->sysenter_esp = STACK0 + 0x4000;
    c->sysenter_eip = HANDLERS + 0x320;
    c->kernel_gs_base = WORK + 0x1000;
    c->svm.hsave_pa = WORK + 0x7000;
    if (chance(10))
        c->dr[7] = 0x400 | (rnd() & 0x23ff & rnd()), c->dr[0] = some_address(), c->dr[1] = some_address();
}

static void random_cpu(struct x86_cpu *c)
{
    static struct state st;
    x86_reset(c);
    fill_segs(c);
    fill_control(c);
    c->cpl = (uint8_t)w->cpl;
    for (unsigned k = 0; k < 16; k++)
        c->regs[k] = w->mode == X86_M64 ? some_value() : k < 8 ? (uint32_t)some_value() : 0;
    c->regs[X86_RCX] = chance(2) ? pick(9) : c->regs[X86_RCX];
    c->regs[X86_RSP] = (w->cpl == 3 && !w->ss ? STACK3 : STACK0) - w->ss + 0x2000 + pick(0x400) * 8;
    uint64_t fl = rnd() & (RF_ARITH | RF_DF | RF_NT | RF_AC | RF_IF | RF_ID);
    fl |= (chance(2) ? (rnd() & RF_IOPL) : RF_IOPL) | (chance(12) ? RF_TF : 0) | (chance(12) ? RF_RF : 0);
    fl &= chance(3) ? ~0ull : ~(uint64_t)(RF_NT | RF_AC);
    x86_set_rflags(c, fl | 2 | (w->vm86 ? RF_VM | (rnd() & (RF_VIF | RF_VIP)) : 0));
    exec_components = x86_xcr0_valid(&sys_model) & ~(uint64_t)X86_XS_PKRU;          /* what the host's registers hold */
    random_fpu(st.fpu);
    memcpy(c->fpu, st.fpu, FPU_SIZE);
    *(uint64_t *)(c->fpu + 512) = exec_components;
}

static void sys_setup(void)
{
    if (sys_i.m.t)
        return;
    CHECK_EQ(x86_cpuid_model(&exec_model, "max,-la57,-pku"), 0);
    if (!sys_model.level)                         /* else it is a third machine's: sys_kvm.h */
        CHECK_EQ(x86_cpuid_model(&sys_model, "max,+svm"), 0);
    exec_components = x86_xcr0_valid(&sys_model) & ~(uint64_t)X86_XS_PKRU;          /* what the host's registers hold */
    x86_freeze_tsc(frozen);
    sys_new(&sys_i, true);
    sys_new(&sys_t, exec_no_tcg);
}

/* ---- running and comparing ---- */

static void load(struct sys *s, const struct x86_cpu *c)
{
    struct machine *m = &s->m;
    struct x86_cpu *to = m->cpu;
    struct x86_cpu keep = *to;
    for (unsigned at = 0; at < MEM; at += 4096)
        if (memcmp(m->ram.host + at, image + at, 4096))
            as_dma_write(m->mem, at, image + at, 4096);
    *to = *c;
    to->flags_word = keep.flags_word, to->vcpu = keep.vcpu, to->cpuid = keep.cpuid;
    memcpy(to->svm_contexts, keep.svm_contexts, sizeof to->svm_contexts);
    to->svm_stamp = keep.svm_stamp, to->svm_last_id = keep.svm_last_id;
    to->pdpte_stale = true;
    x86_set_rflags(to, c->rflags);                   /* with the arithmetic ones: see random_case */
    m->vcpu.halted = false;
    m->vcpu.pending = 0;
    m->vm.request = VM_NONE;
    s->wrote = 0;
    m->env->one_insn = false;
    mmu_flush_all(m->env->mmu);
    tcg_state_changed(m->env);
}

/* What a program could see. */
static void normal(struct sys *s, struct x86_cpu *c, uint32_t undef)
{
    *c = *s->m.cpu;
    c->rflags = x86_get_rflags(s->m.cpu) & ~(uint64_t)undef;
    c->flags_word = NULL, c->vcpu = NULL, c->cpuid = NULL;
    memset(c->svm_contexts, 0, sizeof c->svm_contexts);
    c->svm_stamp = 0, c->svm_last_id = 0, c->svm.ctx = 0, c->pauses = 0, c->pdpte_stale = false;
    exec_fill_initial(c->fpu);
    memset(c->fpu + 5, 0, 19);
    memset(c->fpu + 28, 0, 4);
    for (unsigned k = 0; k < 8; k++)
        memset(c->fpu + 32 + 16 * k + 10, 0, 6);
    memset(c->fpu + 416, 0, 160);
    if (!c->exc_pending)
        c->exc_vector = c->exc_soft = 0, c->exc_has_error = c->exc_bad_va = false, c->exc_error = 0, c->exc_next_rip = c->exc_cr2 = 0;
    else if (c->exc_vector != X86_PF)
        c->exc_cr2 = 0;
}

/* A jump may have gone anywhere: flags that the instruction there, which has been run, leaves undefined. */
static uint32_t undefined_at(const struct tb_key *key)
{
    struct x86_insn i;
    enum x86_mode mode = key->mode & XM_CODE64 ? X86_M64 : key->mode & XM_CODE32 ? X86_M32 : X86_M16;
    if (key->pc > MEM - 16 || x86_decode(&i, sys_i.m.ram.host + key->pc, 15, mode) != X86_OK)
        return 0;
    return i.row->fl_u | (is_gen(i.row, gen_shift) || is_gen(i.row, gen_shd) ? RF_OF : 0);
}

/* Undefined flags would show in what is pushed. */
static void agree_on_flags(struct sys *s, uint32_t undef)
{
    if (undef)
        x86_set_rflags(s->m.cpu, x86_get_rflags(s->m.cpu) & ~(uint64_t)undef);
}

/* It has written over page tables that it may be using: which of its parts see that is not defined. */
static bool tables_written(const struct sys *s)
{
    for (unsigned at = PML4; w->paging && at < GDT; at += 4) {
        uint32_t was, is;
        memcpy(&was, image + at, 4);
        memcpy(&is, s->m.ram.host + at, 4);
        if ((was ^ is) & ~0x60u)
            return true;
    }
    return false;
}

static bool both(struct tb_key *key)
{
    bool on = tcg_step(sys_i.m.env, key);
    return tcg_step(sys_t.m.env, key) | on;
}
#endif
