/*
 * Repeated string instructions and INS/OUTS. One call does up to some thousand elements and returns 1 when the instruction must go on;
 * registers are exact after every element, so a fault or an interrupt finds them right. Runs inside one page go by host pointers.
 * what: kind | size << 4 | addrsize << 8 | source segment << 12 | rep << 16 | repne << 17. SDM vol. 2 REP.
 */
#include "core/vm.h"
#include "frontend-x86/helper_int.h"
#include "frontend-x86/raise.h"
#include "frontend-x86/seg.h"
#include <string.h>

struct rep { unsigned kind, size, as, seg; bool rep, repne; uint64_t mask; };

static void put(struct x86_cpu *cpu, const struct rep *r, unsigned reg, uint64_t v)
{
    cpu->regs[reg] = r->as == 2 ? (cpu->regs[reg] & ~0xffffull) | (v & 0xffff) : v & r->mask;
}

static uint64_t address(struct x86_cpu *cpu, const struct rep *r, unsigned seg, unsigned reg, bool write)
{
    uint64_t off = cpu->regs[reg] & r->mask, va = off + (seg == X86_FS || seg == X86_GS || !x86_code64(cpu) ? cpu->seg[seg].base : 0);
    if (!x86_code64(cpu)) {
        helper_seg_check(cpu, off, seg | (write ? 8 : 0) | r->size << 4, 0);
        va = (uint32_t)va;
    }
    if (cpu->dr[7] & 0xff)
        x86_watch(cpu, va, r->size, write);
    if (unlikely((cpu->rflags & RF_AC) && (cpu->cr0 & CR0_AM) && cpu->cpl == 3))
        helper_align_check(cpu, va, r->size, 0);
    return va;
}

static void compare(struct x86_cpu *cpu, unsigned size, uint64_t a, uint64_t b)
{
    unsigned sh = 64 - 8 * size;
    uint64_t x = a << sh, y = b << sh, d = x - y, res = d >> sh;
    uint64_t f = (x < y ? RF_CF : 0) | (d ? 0 : RF_ZF) | (d >> 63 ? RF_SF : 0) | (((x ^ y) & (x ^ d)) >> 63 ? RF_OF : 0) |
                 (__builtin_parity((unsigned)(res & 0xff)) ? 0 : RF_PF) | (((a ^ b ^ res) & 0x10) ? RF_AF : 0);
    *cpu->flags_word = fl_from_rflags(f);
}

/* The store of an element. One that changes this block's own code need not start the instruction anew, which would read a port or a device a
   second time: the block ends with the instruction, as one that runs alone does. */
static void store(struct x86_cpu *cpu, uint64_t va, uint64_t v, unsigned size)
{
    struct tcg_env *env = tcg_env_of(cpu);
    bool alone = env->one_insn;
    env->one_insn = true;
    mmu_st(env->mmu, va, v, size);
    env->one_insn = alone;
}

/* One element; false when a repeated compare ends. */
static bool element(struct x86_cpu *cpu, const struct rep *r)
{
    struct mmu *m = x86_mmu(cpu);
    bool src = r->kind == REP_MOVS || r->kind == REP_LODS || r->kind == REP_CMPS || r->kind == REP_OUTS;
    bool dst = r->kind != REP_LODS && r->kind != REP_OUTS, wr = r->kind == REP_MOVS || r->kind == REP_STOS || r->kind == REP_INS;
    uint64_t a = cpu->regs[X86_RAX], b = 0, d = 0;
    cpu->vcpu->n.port_string += r->kind == REP_INS || r->kind == REP_OUTS;
    if (src)
        a = mmu_ld(m, address(cpu, r, r->seg, X86_RSI, false), r->size);
    if (dst)
        d = address(cpu, r, X86_ES, X86_RDI, wr);
    if (r->kind == REP_INS) {
        mmu_check(m, d, r->size, MMU_WRITE, x86_stack_mode(cpu, cpu->cpl));
        a = as_read(cpu->vcpu->vm->io, cpu->regs[X86_RDX] & 0xffff, r->size);
    }
    if (wr)
        store(cpu, d, a, r->size);
    else if (dst)
        b = mmu_ld(m, d, r->size);
    else if (r->kind == REP_OUTS)
        as_write(cpu->vcpu->vm->io, cpu->regs[X86_RDX] & 0xffff, a, r->size);
    else
        memcpy(&cpu->regs[X86_RAX], &a, r->size == 4 ? 8 : r->size);
    if (dst && !wr)
        compare(cpu, r->size, a, b);
    uint64_t step = (uint64_t)cpu->df * r->size;
    if (src)
        put(cpu, r, X86_RSI, cpu->regs[X86_RSI] + step);
    if (dst)
        put(cpu, r, X86_RDI, cpu->regs[X86_RDI] + step);
    if (r->rep)
        put(cpu, r, X86_RCX, cpu->regs[X86_RCX] - 1);
    return wr || !dst || !!(*cpu->flags_word & 0x4000) != r->repne;
}

static uint64_t to_page_end(uint64_t v) { return 4096 - (v & 4095); }

/* A page that holds code or page tables (kernels clear such pages when they give them another use): its changes are made known as one. See
   store(). */
static char *begin_tracked(struct x86_cpu *cpu, uint64_t va, unsigned len)
{
    struct tcg_env *env = tcg_env_of(cpu);
    bool alone = env->one_insn;
    env->one_insn = true;
    char *p = mmu_rmw_begin(env->mmu, va, len);
    env->one_insn = alone;
    return p;
}

/* Forward MOVS and STOS inside one page of 32- or 64-bit flat-limit addresses: elements done, 0 when that is not possible. */
static uint64_t bulk(struct x86_cpu *cpu, const struct rep *r, uint64_t count)
{
    if ((r->kind != REP_MOVS && r->kind != REP_STOS) || cpu->df < 0 || r->as == 2 || count < 4)
        return 0;
    uint64_t d = address(cpu, r, X86_ES, X86_RDI, true), s = 0, n = to_page_end(d);
    if (r->kind == REP_MOVS) {
        s = address(cpu, r, r->seg, X86_RSI, false);
        n = to_page_end(s) < n ? to_page_end(s) : n;
    }
    n = n / r->size < count ? n / r->size : count;
    if (!n)
        return 0;
    uint64_t len = n * r->size;
    if (!x86_code64(cpu)) {
        const struct x86_seg *e = &cpu->seg[X86_ES], *f = &cpu->seg[r->seg];
        if ((cpu->regs[X86_RDI] & r->mask) + len - 1 > e->limit || (e->attr & SEG_EC))
            return 0;
        if (r->kind == REP_MOVS && ((cpu->regs[X86_RSI] & r->mask) + len - 1 > f->limit || (f->attr & SEG_EC)))
            return 0;
    }
    char *from = r->kind == REP_MOVS ? mmu_probe(x86_mmu(cpu), s, (unsigned)len, MMU_READ) : NULL;
    char *to = mmu_probe(x86_mmu(cpu), d, (unsigned)len, MMU_WRITE);
    bool tracked = !to;
    if (r->kind == REP_MOVS && !from)
        return 0;
    if (tracked && !(to = begin_tracked(cpu, d, (unsigned)len)))
        return 0;
    uint64_t k = n;
    if (r->kind == REP_MOVS) {
        if (to > from && to < from + len)
            return 0;                                   /* a forward copy onto itself spreads a pattern: by elements */
        memmove(to, from, len);
        put(cpu, r, X86_RSI, cpu->regs[X86_RSI] + len);
    } else {
        uint64_t v = cpu->regs[X86_RAX], byte = (v & 0xff) * 0x0101010101010101ull;
        if (!((v ^ byte) & (r->size == 8 ? ~0ull : BIT(8 * r->size) - 1)))
            memset(to, (int)(v & 0xff), len);           /* all bytes alike: clearing memory, nearly always */
        else
            for (char *p = to; k--; p += r->size)
                memcpy(p, &v, r->size);
    }
    if (tracked)
        mmu_rmw_end(x86_mmu(cpu), (unsigned)len);
    put(cpu, r, X86_RDI, cpu->regs[X86_RDI] + len);
    put(cpu, r, X86_RCX, cpu->regs[X86_RCX] - n);
    return n;
}

uint64_t helper_rep(struct x86_cpu *cpu, uint64_t what, uint64_t u1, uint64_t u2)
{
    struct rep r = { .kind = what & 15, .size = what >> 4 & 15, .as = what >> 8 & 15, .seg = what >> 12 & 15, .rep = what >> 16 & 1, .repne = what >> 17 & 1 };
    r.mask = r.as == 2 ? 0xffff : r.as == 4 ? 0xffffffff : ~0ull;
    bool step = (cpu->rflags & RF_TF) || (cpu->dr[7] & 0xff);
    cpu->rep_more = false;
    if (r.rep && !(cpu->regs[X86_RCX] & r.mask))
        return 0;
    if (r.kind == REP_INS || r.kind == REP_OUTS)
        x86_io_check(cpu, cpu->regs[X86_RDX] & 0xffff, r.size);
    if (!r.rep) {
        element(cpu, &r);
        return 0;
    }
    for (unsigned budget = 4096; budget; budget--) {
        uint64_t count = cpu->regs[X86_RCX] & r.mask;
        uint64_t n = step ? 0 : bulk(cpu, &r, count);
        if (!count || (!n && !element(cpu, &r)))
            return 0;
        if (!(cpu->regs[X86_RCX] & r.mask))
            return 0;
        if (step || ((n || !(budget & 63)) && __atomic_load_n(&tcg_env_of(cpu)->poll, __ATOMIC_RELAXED)))
            break;
    }
    cpu->rep_more = true;
    cpu->pmu.open = 0;                             /* one instruction, however often it is resumed */
    if (step)
        cpu->rflags |= RF_RF;
    return 1;
}
