/*
 * The IR interpreter (tcg/interp.h). In: an optimised block, the guest CPU state behind env. Out: the state after it, and why it ended.
 *
 * Values: globals in the guest CPU state, temps in interp_state, flags in interp_state.fl; the latter go to env->flags before anything that
 * may look at them (helpers, exits), and by interp_restore_state at faults. What an op computes is in tcg/eval.h. Memory is
 * reached by mmu_ld/mmu_st; read-modify-write probes for writing first, so that the fault is a write fault and nothing is written before it.
 * Locked ops are atomic in RAM; those that cross a page run while no other vCPU does. On devices they are a load and a store.
 *
 * Not re-entrant for one vCPU; no locks. Temps are masked to the size written: reading more of them than was defined gives zeros.
 */
#include <errno.h>
#include <ffi.h>
#include <string.h>
#include "core/ram.h"
#include "tcg/eval.h"
#include "tcg/fold.h"
#include "tcg/interp.h"
#include "tcg/lanes.h"
#include "tcg/native.h"

static interp_native_fn *run_native;
static ffi_cif cifs[TCG_ARGS + 1];          /* by number of arguments besides cpu */
static ffi_type *ffi_args[TCG_ARGS + 1];

int interp_init(interp_native_fn *fn)
{
    run_native = fn;
    ffi_args[0] = &ffi_type_pointer;
    for (unsigned i = 1; i <= TCG_ARGS; i++)
        ffi_args[i] = &ffi_type_uint64;
    for (unsigned n = 0; n <= TCG_ARGS; n++)
        if (ffi_prep_cif(&cifs[n], FFI_DEFAULT_ABI, n + 1, &ffi_type_uint64, ffi_args) != FFI_OK)
            return -EINVAL;
    return 0;
}

struct run {
    struct tcg_env *env;
    const struct ir_block *b;
    uint8_t *cpu;
    struct interp_state *s;
};

static uint64_t global_get(const struct run *r, ir_ref ref)
{
    const struct ir_global *g = &r->b->fe->globals[ref];
    uint64_t v = 0;
    if (likely(g->size == 8))                    /* a copy of constant size is one load */
        memcpy(&v, r->cpu + g->offset, 8);
    else
        memcpy(&v, r->cpu + g->offset, g->size);
    return v;
}

static uint64_t get(const struct run *r, ir_ref ref)
{
    if (ref < IR_TEMP0)
        return global_get(r, ref);
    if (ref < IR_CONST0)
        return r->s->temp[ref - IR_TEMP0];
    return ref == IR_NONE ? 0 : r->b->consts[ref - IR_CONST0];
}

/* Write SIZE bytes of v to d: 4 and 8 replace all, 1 and 2 the low bytes of a global. */
static void set(const struct run *r, ir_ref d, unsigned size, uint64_t v)
{
    if (d == IR_NONE)
        return;
    v &= size_mask(size);
    if (ir_is_temp(d))
        r->s->temp[d - IR_TEMP0] = v;
    else if (likely(size >= 4))
        memcpy(r->cpu + r->b->fe->globals[d].offset, &v, 8);
    else
        memcpy(r->cpu + r->b->fe->globals[d].offset, &v, size);
}

static void set_pc(const struct run *r, uint64_t pc)
{
    memcpy(r->cpu + r->b->fe->pc_offset, &pc, sizeof(pc));
}

static void flags_out(const struct run *r)
{
    r->env->flags = fl_from_rflags(r->s->fl);
}

static void flags_in(const struct run *r)
{
    r->s->fl = fl_to_rflags(r->env->flags);
}

bool interp_restore_state(struct tcg_env *env)
{
    struct interp_state *s = env->interp;
    if (!s)
        return false;
    struct run r = { env, s->block, tcg_cpu(env), s };
    if (s->gi < s->block->n_guest)
        set_pc(&r, s->block->guest[s->gi].pc);
    if (!s->in_call)
        flags_out(&r);
    return true;
}

void interp_unwound(struct tcg_env *env)
{
    env->interp = NULL;
}

static void fault(const struct run *r, enum tcg_host_fault f) __attribute__((noreturn));

static void fault(const struct run *r, enum tcg_host_fault f)
{
    interp_restore_state(r->env);
    r->b->fe->host_fault(r->cpu, f);
    tcg_unwind(r->env, TCG_UNWIND_FAULT);
}

/* ---- memory ---- */

/* A segment base that is a 4-byte global belongs to a guest with 32-bit linear addresses: the whole sum wraps. */
static uint64_t address(const struct run *r, const struct ir_insn *in)
{
    uint64_t a = (uint64_t)(int64_t)in->disp;
    if (in->base != IR_NONE)
        a += get(r, in->base);
    if (in->index != IR_NONE)
        a += get(r, in->index) << in->scale;
    if (in->flags & IRF_ADDR32)
        a = (uint32_t)a;
    if (in->flags & IRF_ADDR16)
        a = (uint16_t)a;
    if (in->seg != IR_NONE) {
        a += global_get(r, in->seg);
        if ((in->flags & IRF_ADDR32) && r->b->fe->globals[in->seg].size == 4)
            a = (uint32_t)a;
    }
    return a;
}

static uint64_t load(const struct run *r, const struct ir_insn *in, gva_t va)
{
    uint64_t v = 0;
    if (!(in->flags & IRF_SUPER))
        return mmu_ld(r->env->mmu, va, in->size);
    mmu_ld_mem(r->env->mmu, va, &v, in->size, 0);
    return v;
}

static void store(const struct run *r, const struct ir_insn *in, gva_t va, uint64_t v)
{
    if (in->flags & IRF_SUPER)
        mmu_st_mem(r->env->mmu, va, &v, in->size, 0);
    else
        mmu_st(r->env->mmu, va, v, in->size);
}

/* Fault now if the bytes may not be written; host address when they are plain RAM in one page. */
static void *probe_write(const struct run *r, gva_t va, unsigned size)
{
    void *p = mmu_probe(r->env->mmu, va, size, MMU_WRITE);
    if (!p && (va & ~PAGE_MASK) + size > PAGE_SIZE) {
        mmu_probe(r->env->mmu, va, 1, MMU_WRITE);
        mmu_probe(r->env->mmu, (va + size - 1) & PAGE_MASK, 1, MMU_WRITE);
    }
    return p;
}

/* Where a read-modify-write can be done as one: plain RAM, or a tracked page between mmu_rmw_begin and rmw_end. NULL: a load and a store; a locked one
   that crosses a page is begun anew while no other vCPU runs. */
static void *rmw_begin(const struct run *r, const struct ir_insn *in, gva_t va, bool *tracked)
{
    struct tcg_env *env = r->env;
    *tracked = false;
    if (in->flags & IRF_SUPER)
        return NULL;
    void *p = probe_write(r, va, in->size);
    if (p)
        return p;
    p = mmu_rmw_begin(env->mmu, va, in->size);
    *tracked = p;
    if (!p && (in->flags & IRF_LOCK) && (va & ~PAGE_MASK) + in->size > PAGE_SIZE && env->tcg->n_envs > 1 && !env->alone)
        tcg_unwind(env, TCG_UNWIND_ALONE);
    return p;
}

static void rmw_end(const struct run *r, const struct ir_insn *in, bool tracked)
{
    if (tracked)
        mmu_rmw_end(r->env->mmu, in->size);
}

/* Guest addresses need no alignment; the host (x86, and any with 128-bit-safe atomics) takes them as they are. */

#define CAS(type) do { \
        type want = (type)*old; \
        bool ok = __atomic_compare_exchange_n((type *)p, &want, (type)v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
        *old = want; \
        return ok; \
    } while (0)

static bool cas(void *p, unsigned size, uint64_t *old, uint64_t v)
{
    switch (size) {
    case 1: CAS(uint8_t);
    case 2: CAS(ram16);
    case 4: CAS(ram32);
    default: CAS(ram64);
    }
}

static void exec_ld(const struct run *r, const struct ir_insn *in)
{
    uint64_t v = load(r, in, address(r, in));
    if (in->sub == IR_LD_SX4 || in->sub == IR_LD_SX8)
        v = (uint64_t)sign_extend(v, in->size);
    set(r, in->d, ir_out_size(IR_ld, in->size, in->sub), v);
}

/* The new value of memory; v->fl the new flags. */
static uint64_t rmw_value(const struct ir_insn *in, uint64_t old, struct ir_val *v)
{
    enum ir_op op = ir_rmw_op(in->sub);
    uint64_t a = v->a;
    if (op == IR_OP_COUNT)
        return a;
    struct ir_val t = { .a = old, .b = a, .fl = v->fl };
    ir_eval(op, in->size, 0, 0, &t);
    v->fl = t.fl;
    return t.d;
}

static void exec_rmw(const struct run *r, const struct ir_insn *in)
{
    gva_t va = address(r, in);
    bool tracked;
    void *p = rmw_begin(r, in, va, &tracked);
    struct ir_val v;
    uint64_t a = get(r, in->a), old, new;
    if (p) {
        old = ram_load(p, in->size);
        do {
            v = (struct ir_val){ .a = a, .fl = r->s->fl };
            new = rmw_value(in, old, &v);
        } while (!cas(p, in->size, &old, new));
        rmw_end(r, in, tracked);
    } else {
        old = load(r, in, va);
        v = (struct ir_val){ .a = a, .fl = r->s->fl };
        new = rmw_value(in, old, &v);
        store(r, in, va, new);
    }
    if (in->flags & IRF_FLAGS)
        r->s->fl = v.fl;
    set(r, in->d, in->size, old);
}

/* The accumulator is written only when the comparison fails; memory is written in any case (so it faults as a write). */
static void exec_cmpxchg(const struct run *r, const struct ir_insn *in)
{
    gva_t va = address(r, in);
    bool tracked;
    void *p = rmw_begin(r, in, va, &tracked);
    uint64_t m = size_mask(in->size), acc = get(r, in->a) & m, new = get(r, in->b) & m, old = acc;
    if (p) {
        cas(p, in->size, &old, new);
        rmw_end(r, in, tracked);
    } else {
        old = load(r, in, va);
        store(r, in, va, old == acc ? new : old);
    }
    struct ir_val v = { .a = acc, .b = old, .fl = r->s->fl };
    ir_eval(IR_sub, in->size, 0, 0, &v);
    if (in->flags & IRF_FLAGS)
        r->s->fl = v.fl;
    if (old != acc)
        set(r, in->d, in->size, old);
}

/* ---- native instructions ---- */

static void copy_in(const struct run *r, gva_t va, uint8_t *buf, unsigned size)
{
    for (unsigned i = 0, n; i < size; i += n) {
        n = size - i >= 8 ? 8 : size - i >= 4 ? 4 : size - i >= 2 ? 2 : 1;
        uint64_t v = mmu_ld(r->env->mmu, va + i, n);
        memcpy(buf + i, &v, n);
    }
}

static void lanes_are(const struct run *r, const struct ir_native *n)
{
    r->env->slow_lanes = n->lanes;
    r->env->slow_mask = r->env->fe->opmask(r->cpu, n->evex_k);
}

static void exec_native(const struct run *r, const struct ir_insn *in)
{
    const struct ir_native *n = &r->b->natives[in->imm];
    uint64_t io[5] = { get(r, in->d), get(r, in->e), get(r, in->a), get(r, in->b), get(r, in->c) };
    gva_t va = n->mem ? address(r, in) : 0;
    void *p = NULL;
    bool bounce = false;
    if (n->lanes)
        lanes_are(r, n);
    if (!run_native || (n->mem && n->align > 1 && (va & (n->align - 1u)) && (!n->lanes || tcg_lanes_any(r->env))))
        fault(r, TCG_FAULT_GP);
    if (n->lanes) {
        tcg_lanes_check(r->env, va, n->mem & NM_WRITE ? MMU_WRITE : MMU_READ);
        if (n->mem & NM_READ)
            tcg_lanes_load(r->env, va);
        p = r->env->bounce;
    } else if (n->mem) {
        p = n->mem & NM_WRITE ? probe_write(r, va, n->mem_size) : mmu_probe(r->env->mmu, va, n->mem_size, MMU_READ);
        bounce = !p;
    }
    if (bounce) {
        p = r->env->bounce;
        if (n->mem & NM_READ)
            copy_in(r, va, p, n->mem_size);
    }
    flags_out(r);
    uint32_t word = r->env->flags;
    r->env->native_pc = r->b->guest[r->s->gi].pc;
    r->env->slow_va = va;
    int trap = run_native(r->env, n, io, &word, p);
    if (trap)
        fault(r, (enum tcg_host_fault)(trap - 1));
    if (n->lanes && (n->mem & NM_WRITE))
        tcg_lanes_store(r->env, va);
    else if (bounce && (n->mem & NM_WRITE))
        mmu_st_wide(r->env->mmu, va, p, n->mem_size);
    if (in->flags & IRF_FLAGS)
        r->s->fl = fl_to_rflags(word);
    /* x86 keeps bits 16.. of a 16-bit result's register; the native reads its old value from d, so 8 bytes are right for all but temps. */
    set(r, in->d, n->out_ax ? 2 : 8, io[0]);
    set(r, in->e, 8, io[1]);
}

/* ---- helpers ---- */

static void exec_call(const struct run *r, const struct ir_insn *in)
{
    const struct tcg_helper *h = &r->b->fe->helpers[in->imm];
    uint64_t arg[TCG_ARGS] = { get(r, in->a), get(r, in->b), get(r, in->c) };
    void *cpu = r->cpu;
    void *values[TCG_ARGS + 1] = { &cpu, &arg[0], &arg[1], &arg[2] };
    ffi_arg result = 0;
    flags_out(r);
    r->s->in_call = true;
    ffi_call(&cifs[MIN(h->n_args, TCG_ARGS)], FFI_FN(h->fn), &result, values);
    r->s->in_call = false;
    if (!(h->flags & TCGH_PURE))
        flags_in(r);
    if (h->has_result)
        set(r, in->d, 8, (uint64_t)result);
}

/* ---- control ---- */

static uint32_t find_label(const struct ir_block *b, uint32_t label, uint32_t from)
{
    for (uint32_t i = from + 1; i < b->n; i++)
        if (b->insn[i].op == IR_label && b->insn[i].imm == label)
            return i;
    for (uint32_t i = 0; i < from; i++)
        if (b->insn[i].op == IR_label && b->insn[i].imm == label)
            return i;
    return b->n;
}

static bool branch_taken(const struct run *r, const struct ir_insn *in)
{
    uint64_t a = get(r, in->a) & size_mask(in->size);
    switch (in->op) {
    case IR_br: return true;
    case IR_brz: return a == 0;
    case IR_brnz: return a != 0;
    default: return eval_cond(in->sub, r->s->fl);
    }
}

static void exec_value(const struct run *r, const struct ir_insn *in)
{
    struct ir_val v = { .a = get(r, in->a), .b = get(r, in->b), .c = get(r, in->c), .fl = r->s->fl };
    ir_eval(in->op, in->size, in->sub, in->imm, &v);
    if (v.fault)
        fault(r, TCG_FAULT_DIV);
    if (in->flags & IRF_FLAGS)
        r->s->fl = v.fl;
    if ((in->op == IR_bsf || in->op == IR_bsr) && !(v.a & size_mask(in->size))) {      /* nothing is written, not even zeros above 32 bits */
        set(r, in->d, in->size >= 4 ? 8 : in->size, v.b);
        return;
    }
    set(r, in->e, in->size, v.e);
    set(r, in->d, ir_out_size(in->op, in->size, in->sub), v.d);
}

/* True: it leaves. */
static bool exec_jmpc(const struct run *r, const struct ir_insn *in)
{
    uint64_t pc = get(r, in->a);
    unsigned shift = 64u - in->sub;
    if ((uint64_t)((int64_t)(pc << shift) >> shift) != pc)
        return false;
    if (in->d != IR_NONE)
        set(r, in->d, 8, get(r, in->b) + in->imm);
    set_pc(r, pc);
    return true;
}

static unsigned leave(const struct run *r, unsigned reason)
{
    flags_out(r);
    r->env->interp = NULL;
    return reason;
}

static unsigned run_block(const struct run *r)
{
    struct interp_state *s = r->s;
    for (uint32_t i = 0; i < r->b->n; i++) {
        const struct ir_insn *in = &r->b->insn[i];
        s->i = i;
        s->gi = in->gi;
        switch (in->op) {
        case IR_lea: set(r, in->d, in->size, address(r, in)); break;
        case IR_ld: exec_ld(r, in); break;
        case IR_st: store(r, in, address(r, in), get(r, in->a) & size_mask(in->size)); break;
        case IR_rmw: exec_rmw(r, in); break;
        case IR_cmpxchg: exec_cmpxchg(r, in); break;
        case IR_fence: __atomic_thread_fence(__ATOMIC_SEQ_CST); break;
        case IR_native: exec_native(r, in); break;
        case IR_call: exec_call(r, in); break;
        case IR_setpc: set_pc(r, get(r, in->a)); break;
        case IR_label: break;
        case IR_br: case IR_brcc: case IR_brz: case IR_brnz:
            if (branch_taken(r, in))
                i = find_label(r->b, in->imm, i);
            break;
        case IR_jcc:
            if (!eval_cond(in->sub, s->fl))
                break;
            /* fall through */
        case IR_jmp: case IR_jmpi:
            set_pc(r, get(r, in->a));
            return leave(r, TCG_EXIT_JMPI);
        case IR_jmpc:
            if (exec_jmpc(r, in))
                return leave(r, TCG_EXIT_JMPI);
            break;
        case IR_lookup:
            return leave(r, TCG_EXIT_LOOKUP);
        case IR_exit:
            r->env->exit_info = in->imm;
            return leave(r, TCG_EXIT_REASON);
        default: exec_value(r, in); break;
        }
    }
    return leave(r, TCG_EXIT_LOOKUP);            /* not reached: verified blocks end by leaving */
}

unsigned interp_run(struct tcg_env *env, const struct ir_block *b)
{
    struct interp_state s;                       /* temps need no initial value: they are defined before use */
    struct run r = { env, b, tcg_cpu(env), &s };
    s.block = b;
    s.i = s.gi = 0;
    s.in_call = false;
    flags_in(&r);
    env->interp = &s;
    return run_block(&r);
}
