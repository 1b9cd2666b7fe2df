/* Integer helpers: flags, port I/O with its checks, enter, bound, BCD, wide compare-exchange. Faults come before any write. SDM vol. 1 ch. 18, vol. 2. */
#include "frontend-x86/helper_int.h"
#include "core/vm.h"
#include "frontend-x86/insn.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"
#include "frontend-x86/smm.h"

uint64_t helper_raise_err(struct x86_cpu *cpu, uint64_t vec, uint64_t err, uint64_t u) { x86_raise_err(cpu, (unsigned)vec, (uint32_t)err); }
uint64_t helper_pushf(struct x86_cpu *cpu, uint64_t a, uint64_t b, uint64_t c) { return x86_get_rflags(cpu) & ~(uint64_t)(RF_VM | RF_RF); }

uint64_t helper_popf(struct x86_cpu *cpu, uint64_t v, uint64_t size, uint64_t u)
{
    unsigned iopl = (cpu->rflags & RF_IOPL) >> 12, cpl = cpu->rflags & RF_VM ? 3 : cpu->cpl;
    uint64_t mask = RF_ARITH | RF_TF | RF_DF | RF_NT;
    if (size > 2)
        mask |= RF_AC | RF_ID;
    if (cpl <= iopl)
        mask |= RF_IF;
    if (cpl == 0)
        mask |= RF_IOPL;
    x86_set_rflags(cpu, (x86_get_rflags(cpu) & ~(mask | (size > 2 ? RF_RF : 0))) | (v & mask) | 2);
    x86_after_transfer(cpu);
    return 0;
}

void x86_io_check(struct x86_cpu *cpu, unsigned port, unsigned size)
{
    const struct x86_seg *t = &cpu->seg[X86_TR];
    bool vm = cpu->rflags & RF_VM;
    if (cpu->dr[7] & 0xff)
        x86_watch_io(cpu, port, size);
    if (!(cpu->cr0 & CR0_PE) || (!vm && cpu->cpl <= (cpu->rflags & RF_IOPL) >> 12))
        return;
    if (!(t->attr & SEG_P) || !(t->attr & 0x800) || t->limit < 0x67)
        x86_raise_err(cpu, X86_GP, 0);
    uint32_t at = (uint32_t)x86_ld(cpu, t->base + 0x66, 2, x86_sys_mode(cpu)) + port / 8;
    if (at + 1 > t->limit || (x86_ld(cpu, t->base + at, 2, x86_sys_mode(cpu)) >> (port & 7) & ((1u << size) - 1)))
        x86_raise_err(cpu, X86_GP, 0);
}

uint64_t helper_in(struct x86_cpu *cpu, uint64_t port, uint64_t size, uint64_t u)
{
    x86_io_check(cpu, (unsigned)port, (unsigned)size);
    cpu->vcpu->n.port_read++;
    return as_read(cpu->vcpu->vm->io, port, (unsigned)size);
}

uint64_t helper_out(struct x86_cpu *cpu, uint64_t port, uint64_t v, uint64_t size)
{
    x86_io_check(cpu, (unsigned)port, (unsigned)size);
    cpu->vcpu->n.port_write++;
    as_write(cpu->vcpu->vm->io, port, v & (0xffffffffu >> (32 - 8 * size)), (unsigned)size);
    x86_end_out(cpu, (unsigned)port, (unsigned)size);
    return 0;
}

uint64_t helper_bound(struct x86_cpu *cpu, uint64_t x, uint64_t lo, uint64_t hi)
{
    if ((int64_t)x < (int64_t)lo || (int64_t)x > (int64_t)hi)
        x86_raise(cpu, X86_BR);
    return 0;
}

/* A read-modify-write that is done as a load and a store: its fault must be a write's. */
uint64_t helper_check_write(struct x86_cpu *cpu, uint64_t va, uint64_t size, uint64_t u)
{
    mmu_check(x86_mmu(cpu), va, size, MMU_WRITE, x86_stack_mode(cpu, cpu->cpl));
    return 0;
}

uint64_t helper_enter(struct x86_cpu *cpu, uint64_t bytes, uint64_t level, uint64_t size)
{
    struct x86_stack s = x86_stack_now(cpu, cpu->cpl), old;
    uint64_t keep = size == 2 ? 0xffff : size == 4 ? 0xffffffff : ~0ull, frame, bp = cpu->regs[X86_RBP];
    x86_push(cpu, &s, (unsigned)size, bp);
    frame = s.sp;
    for (unsigned k = 1; k < level; k++) {
        bp -= size;
        old = s;
        old.sp = bp & s.mask;
        x86_push(cpu, &s, (unsigned)size, x86_pop(cpu, &old, (unsigned)size));
    }
    if (level)
        x86_push(cpu, &s, (unsigned)size, frame);
    s.sp = (s.sp - bytes) & s.mask;
    old = s;
    mmu_check(x86_mmu(cpu), s.base + s.sp, 1, MMU_WRITE, s.mode);
    x86_stack_commit(cpu, &s);
    cpu->regs[X86_RBP] = size == 4 ? (uint32_t)frame : (cpu->regs[X86_RBP] & ~keep) | (frame & keep);
    return 0;
}

static uint64_t szp(uint8_t al)
{
    return (al ? 0 : RF_ZF) | (al & 0x80 ? RF_SF : 0) | (__builtin_parity(al) ? 0 : RF_PF);
}

static void daa_das(uint8_t *al, uint64_t *f, bool sub)
{
    uint8_t old = *al;
    bool cf = *f & RF_CF, lo = (old & 15) > 9 || (*f & RF_AF), hi = old > 0x99 || cf;
    uint8_t d = (uint8_t)((lo ? 6 : 0) + (hi ? 0x60 : 0));
    *al = (uint8_t)(sub ? old - d : old + d);
    *f = szp(*al) | (lo ? RF_AF : 0) | (hi || (sub && lo && old < 6) ? RF_CF : 0);
}

uint64_t helper_bcd(struct x86_cpu *cpu, uint64_t mnem, uint64_t imm, uint64_t u)
{
    uint64_t all = x86_get_rflags(cpu), f = all;
    uint16_t ax = (uint16_t)cpu->regs[X86_RAX];
    uint8_t al = (uint8_t)ax, ah = (uint8_t)(ax >> 8);
    bool adj = (al & 15) > 9 || (f & RF_AF);
    if (mnem == X86I_daa || mnem == X86I_das) {
        daa_das(&al, &f, mnem == X86I_das);
    } else if (mnem == X86I_aam) {
        if (!imm)
            x86_raise(cpu, X86_DE);
        ah = (uint8_t)(al / imm);
        al = (uint8_t)(al % imm);
        f = szp(al);
    } else if (mnem == X86I_aad) {
        al = (uint8_t)(al + ah * imm);
        ah = 0;
        f = szp(al);
    } else {
        if (adj)
            ax = (uint16_t)(mnem == X86I_aaa ? ax + 0x106 : ax - 0x106);
        ah = (uint8_t)(ax >> 8);
        al = ax & 15;
        f = szp(al) | (adj ? RF_CF | RF_AF : 0);
    }
    cpu->regs[X86_RAX] = (cpu->regs[X86_RAX] & ~0xffffull) | (uint64_t)ah << 8 | al;
    x86_set_rflags(cpu, (all & ~(uint64_t)RF_ARITH) | (f & RF_ARITH));
    return 0;
}

static void set_zf(struct x86_cpu *cpu, bool z) { *cpu->flags_word = (*cpu->flags_word & ~0x4000u) | (z ? 0x4000u : 0); }

static void *rmw_begin(struct x86_cpu *cpu, uint64_t va, unsigned size, bool *tracked)
{
    void *p = mmu_probe(x86_mmu(cpu), va, size, MMU_WRITE);
    *tracked = !p;
    if (!p)
        p = mmu_rmw_begin(x86_mmu(cpu), va, size);
    if (!p && (va & ~PAGE_MASK) + size > PAGE_SIZE)
        x86_need_alone(cpu);
    return p;
}

static void rmw_end(struct x86_cpu *cpu, unsigned size, bool tracked)
{
    if (tracked)
        mmu_rmw_end(x86_mmu(cpu), size);
}

/* Host memory: atomic. Otherwise load and store; the store happens either way, as the processor does, so faults are a write's. */
uint64_t helper_cmpxchg8b(struct x86_cpu *cpu, uint64_t va, uint64_t lock, uint64_t u)
{
    uint64_t *r = cpu->regs, want = r[X86_RDX] << 32 | (uint32_t)r[X86_RAX], with = r[X86_RCX] << 32 | (uint32_t)r[X86_RBX], old = want;
    bool same, tracked;
    uint64_t *p = rmw_begin(cpu, va, 8, &tracked);
    if (p) {
        same = __atomic_compare_exchange_n(p, &old, with, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
        rmw_end(cpu, 8, tracked);
    } else {
        mmu_check(x86_mmu(cpu), va, 8, MMU_WRITE, x86_stack_mode(cpu, cpu->cpl));
        old = mmu_ld(x86_mmu(cpu), va, 8);
        same = old == want;
        mmu_st(x86_mmu(cpu), va, same ? with : old, 8);
    }
    if (!same) {
        r[X86_RAX] = (uint32_t)old;
        r[X86_RDX] = old >> 32;
    }
    set_zf(cpu, same);
    return 0;
}

uint64_t helper_cmpxchg16b(struct x86_cpu *cpu, uint64_t va, uint64_t lock, uint64_t u)
{
    uint64_t *r = cpu->regs, v[2];
    if (va & 15)
        x86_raise_err(cpu, X86_GP, 0);
    bool same, tracked;
    void *p = rmw_begin(cpu, va, 16, &tracked);
    if (p) {
        v[0] = r[X86_RAX];
        v[1] = r[X86_RDX];
        __asm__ volatile("lock cmpxchg16b %0" : "+m"(*(char(*)[16])p), "+a"(v[0]), "+d"(v[1]), "=@ccz"(same) : "b"(r[X86_RBX]), "c"(r[X86_RCX]) : "memory");
        rmw_end(cpu, 16, tracked);
    } else {
        unsigned mode = x86_stack_mode(cpu, cpu->cpl);
        mmu_check(x86_mmu(cpu), va, 16, MMU_WRITE, mode);
        mmu_ld_mem(x86_mmu(cpu), va, v, 16, mode);
        same = v[0] == r[X86_RAX] && v[1] == r[X86_RDX];
        uint64_t w[2] = { same ? r[X86_RBX] : v[0], same ? r[X86_RCX] : v[1] };
        mmu_st_mem(x86_mmu(cpu), va, w, 16, mode);
    }
    if (!same) {
        r[X86_RAX] = v[0];
        r[X86_RDX] = v[1];
    }
    set_zf(cpu, same);
    return 0;
}
