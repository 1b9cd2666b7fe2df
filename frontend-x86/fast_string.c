/*
 * REP MOVS and REP STOS where nothing can be noticed but the bytes: forward, in plain memory that the TLB or the shadow page tables know, by the host's
 * own instruction, a page at a time. General registers only: the guest keeps the FPU, and the block goes on. Everything else (a fault, a
 * device, a watched page, pending work) is left to helper_rep, which goes on where this has stopped. SDM vol. 2 REP.
 */
#pragma GCC target("general-regs-only")
#include "frontend-x86/helper_int.h"
#include "frontend-x86/mmu_x86.h"
#include "frontend-x86/seg.h"
#include "tcg/env.h"

#define PAGES 16                       /* at most, before pending work is looked at */

struct run { unsigned kind, size, seg; uint64_t mask; };

/* Data segments that every offset is inside of. */
static bool boundless(const struct x86_cpu *cpu, unsigned seg, bool write)
{
    const struct x86_seg *s = &cpu->seg[seg];
    if (x86_code64(cpu))
        return true;
    return s->limit == 0xffffffff && (s->attr & SEG_P) && !(s->attr & (SEG_CODE | SEG_EC)) && (!write || (s->attr & SEG_RW));
}

static uint64_t address(const struct x86_cpu *cpu, uint64_t off, unsigned seg)
{
    if (!x86_code64(cpu))
        return (uint32_t)(off + cpu->seg[seg].base);
    return off + (seg == X86_FS || seg == X86_GS ? cpu->seg[seg].base : 0);
}

/* Host address of LEN bytes, which are in one page; NULL: not at hand. */
static uint8_t *host(struct tcg_env *env, uint64_t va, unsigned len, bool write)
{
    const struct tlb_entry *e = &env->tlb[tlb_index(va)];
    if ((va ^ (write ? e->tag_w : e->tag_r)) < PAGE_SIZE)
        return e->host + (va & ~PAGE_MASK);
    return mmu_refill(env->mmu, va, len, write ? MMU_WRITE : MMU_READ);
}

static void copy(unsigned size, uint8_t *to, const uint8_t *from, uint64_t n)
{
    if (size == 1)
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    else if (size == 2)
        __asm__ volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    else if (size == 4)
        __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    else
        __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static void fill(unsigned size, uint8_t *to, uint64_t v, uint64_t n)
{
    if (size == 1)
        __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(v) : "memory");
    else if (size == 2)
        __asm__ volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(v) : "memory");
    else if (size == 4)
        __asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(v) : "memory");
    else
        __asm__ volatile("rep stosq" : "+D"(to), "+c"(n) : "a"(v) : "memory");
}

/* As many elements as lie in one page each. False: none. */
static bool page(struct x86_cpu *cpu, const struct run *r)
{
    struct tcg_env *env = tcg_env_of(cpu);
    uint64_t count = cpu->regs[X86_RCX] & r->mask, d = address(cpu, cpu->regs[X86_RDI] & r->mask, X86_ES);
    uint64_t s = r->kind == REP_MOVS ? address(cpu, cpu->regs[X86_RSI] & r->mask, r->seg) : d;
    uint64_t room = PAGE_SIZE - MAX(d & ~PAGE_MASK, s & ~PAGE_MASK), n = MIN(room / r->size, count);
    unsigned len = (unsigned)(n * r->size);
    uint8_t *from = NULL, *to;
    if (!n || (r->kind == REP_MOVS && !(from = host(env, s, len, false))) || !(to = host(env, d, len, true)))
        return false;
    if (from) {
        copy(r->size, to, from, n);
        cpu->regs[X86_RSI] = (cpu->regs[X86_RSI] + len) & r->mask;
    } else {
        fill(r->size, to, cpu->regs[X86_RAX], n);
    }
    cpu->regs[X86_RDI] = (cpu->regs[X86_RDI] + len) & r->mask;
    cpu->regs[X86_RCX] = (count - n) & r->mask;
    return true;
}

/* what: as helper_rep's, of MOVS or STOS with 32- or 64-bit addresses. 1: all is done. */
uint64_t helper_rep_fast(struct x86_cpu *cpu, uint64_t what, uint64_t unused1, uint64_t unused2)
{
    struct run r = { .kind = what & 15, .size = what >> 4 & 15, .seg = what >> 12 & 15, .mask = (what >> 8 & 15) == 4 ? 0xffffffff : ~0ull };
    cpu->rep_more = false;
    if (!(cpu->regs[X86_RCX] & r.mask))
        return 1;
    if (cpu->df < 0 || !boundless(cpu, X86_ES, true) || (r.kind == REP_MOVS && !boundless(cpu, r.seg, false)))
        return 0;
    for (unsigned i = 0; i < PAGES; i++) {
        if (!page(cpu, &r))
            return 0;
        if (!(cpu->regs[X86_RCX] & r.mask))
            return 1;
    }
    return 0;
}
