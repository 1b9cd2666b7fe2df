/*
 * The third machine beside those of sys_world.h: its processor is the kernel's, /dev/kvm. It is asked about one step that the interpreter has made
 * (an instruction, or an instruction with the delivery of what it raised), from the same state and the same memory, and is stopped by an INT3 where the
 * interpreter has come to. Not asked is what the table `rules` has, with reasons; each is counted, and said at the end.
 */
#ifndef TESTS_UNIT_SYS_KVM_H
#define TESTS_UNIT_SYS_KVM_H
#include "tests/unit/sys_world.h"
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include "core/clock.h"
#include "kvm/internal.h"
#include "vmm/lockstep_int.h"

#define TICK_NS 50000000
#define LATE 4                                       /* ticks */

static struct { struct vm *vm; struct vcpu *v; struct kvm_cpu *k; struct region ram; struct sys io; uint64_t tpr; } sys_k;
static struct region beyond;                         /* the interpreter's memory behind its RAM: counts the accesses */
static unsigned kvm_beyond;
static struct x86_cpu kvm_before;                    /* where the step begins */
static uint64_t kvm_before_flags, kvm_before_wrote;
static uint8_t kvm_memory[MEM];
static volatile sig_atomic_t kvm_ticks;

/* ---- what is not asked ---- */

struct kvm_step { const struct x86_insn *insn; const struct x86_cpu *after; uint64_t target; bool stopped; };
static bool row_is(const struct kvm_step *s, const char *name) { return s->insn && !strncmp(s->insn->row->name, name, strlen(name)); }

static bool no_target(const struct kvm_step *s)
{
    bool special = w->paging && s->target >= SPECIAL && s->target < SPECIAL + 0x4000;
    return !s->stopped && (s->target >= MEM - 16 || special);
}
static bool over_itself(const struct kvm_step *s)
{
    uint64_t at = kvm_before.seg[X86_CS].base + kvm_before.rip;
    return !s->stopped && s->target - at < (s->insn ? s->insn->len : 15);
}
static bool hidden(const struct kvm_step *s) { return s->insn && !x86_has(&sys_model, s->insn->row->feat) && !is_gen(s->insn->row, gen_nop); }
static bool task(const struct kvm_step *s)
{
    const struct x86_seg *was = &kvm_before.seg[X86_TR], *is = &s->after->seg[X86_TR];
    return is->sel != was->sel || is->base != was->base;
}
static bool time_and_maker(const struct kvm_step *s) { return row_is(s, "cpuid") || row_is(s, "rdtsc") || row_is(s, "rdpmc"); }
static bool random_number(const struct kvm_step *s) { return s->insn && is_gen(s->insn->row, gen_rdrand); }
static bool not_ram(const struct kvm_step *s) { return kvm_beyond; }
static bool debugged(const struct kvm_step *s) { return s->insn && (s->insn->row->mnem == X86I_int3 || s->insn->row->mnem == X86I_int1); }
static bool hypercall(const struct kvm_step *s) { return s->insn && (s->insn->row->mnem == X86I_vmcall || s->insn->row->mnem == X86I_vmmcall); }
static bool other_tables(const struct kvm_step *s)
{
    bool pdptes = s->insn && is_gen(s->insn->row, gen_mov_cr) && w->paging == 3;        /* nested paging reads them when it walks */
    return pdptes || s->after->cr3 != kvm_before.cr3 || (s->after->cr0 ^ kvm_before.cr0) & (CR0_PG | CR0_PE) ||
           (s->after->cr4 ^ kvm_before.cr4) & (CR4_PAE | CR4_PSE | CR4_SMEP | CR4_LA57);
}
/* Where its operand in memory is: reading the INT3, or a write over it, would show. */
static bool over_int3(const struct kvm_step *s)
{
    const struct x86_insn *i = s->insn;
    const struct x86_cpu *c = &kvm_before;
    bool memory = false;
    if (s->stopped)
        return false;
    for (unsigned k = 0; i && k < i->n_opnd; k++)
        memory |= i->o[k].kind == OK_MEM;
    if (!memory)
        return kvm_memory[s->target] != sys_i.m.ram.host[s->target];
    uint64_t ea = (uint64_t)i->mem.disp + (i->mem.rip_rel ? c->rip + i->len : 0) + (i->mem.base < 16 ? c->regs[i->mem.base] : 0);
    ea += i->mem.index < 16 && !i->mem.vsib ? c->regs[i->mem.index] << i->mem.scale : 0;
    ea &= i->addrsize == 2 ? 0xffff : i->addrsize == 4 ? 0xffffffff : ~0ull;
    ea += i->mem.seg < X86_SEGS ? c->seg[i->mem.seg].base : 0;
    return s->target + 64 - ea < 128 || kvm_memory[s->target] != sys_i.m.ram.host[s->target];
}
static bool upper_half(const struct kvm_step *s)
{
    return s->insn && is_gen(s->insn->row, gen_mov_cr) && s->insn->o[0].kind == OK_CR && kvm_before.regs[s->insn->o[1].reg] >> 32;
}
static bool watched(const struct kvm_step *s)
{
    const uint64_t *dr = s->after->dr;
    for (unsigned n = 0; n < 4; n++)
        if (dr[7] >> 2 * n & 3 && !(dr[7] >> (16 + 4 * n) & 3) && dr[n] == s->target)
            return true;
    return false;
}
static bool port_memory(const struct kvm_step *s)
{
    const struct x86_cpu *c = &kvm_before;
    return s->insn && is_gen(s->insn->row, gen_ins_outs) &&
           ((uint32_t)(c->seg[X86_ES].base + c->regs[X86_RDI]) >= MEM - 8 || (uint32_t)(c->seg[s->insn->mem.seg].base + c->regs[X86_RSI]) >= MEM - 8);
}
static bool port_trap(const struct kvm_step *s)
{
    return s->insn && is_gen(s->insn->row, gen_ins_outs) && (kvm_before_flags & RF_TF || (kvm_before_flags & RF_AC && w->cpl == 3));
}
static bool fast_call(const struct kvm_step *s)
{
    return w->lma && (row_is(s, "sysenter") || row_is(s, "sysexit"));
}
static bool branch_steps(const struct kvm_step *s) { return kvm_before.debugctl; }
static bool own_tables(const struct kvm_step *s) { return tables_written(&sys_i); }
static bool msr(const struct kvm_step *s) { return s->insn && is_gen(s->insn->row, gen_msr); }

static const struct rule { bool (*when)(const struct kvm_step *); const char *why; } kvm_rules[] = {
    { no_target, "the step ends where no INT3 can be: behind the memory's end, or in a page that cannot be executed" },
    { over_itself, "the step ends in its own instruction" },
    { hidden, "an instruction that is not offered: the processor has it all the same" },
    { time_and_maker, "CPUID and counters: the kernel's have its own clock and maker" },
    { random_number, "random numbers" },
    { msr, "MSRs: some are the host's, or count; tests/unit/kvm_host.c has their synchronisation" },
    { task, "task switches: the kernel emulates them" },
    { debugged, "INT3 is what it is stopped by, and of INT1's trap KVM on SVM makes a fault" },
    { over_int3, "the step reads or writes where the INT3 is" },
    { upper_half, "control registers' upper halves: the kernel's emulator drops them" },
    { watched, "the guest's own breakpoint is where the INT3 would be" },
    { port_memory, "INS and OUTS beyond RAM: the kernel's emulator begins anew for ever" },
    { port_trap, "INS and OUTS with the trap flag or the alignment check, which the kernel emulates without" },
    { fast_call, "SYSENTER and SYSEXIT in long mode: KVM on SVM takes their #UD and emulates Intel's" },
    { branch_steps, "DEBUGCTL: KVM on SVM does not load it" },
    { own_tables, "page tables were written over: what of them the processor remembers is not defined" },
    { hypercall, "hypercalls are the kernel's own" },
    { other_tables, "paging is another at the step's end: no telling where the INT3 must be" },
    { not_ram, "memory that is not RAM: the kernel's emulator knows few instructions" },
};
static unsigned kvm_asked, kvm_shown, kvm_not_asked[ARRAY_SIZE(kvm_rules)];

static bool not_asked_of_kvm(const struct kvm_step *s)
{
    for (unsigned i = 0; i < ARRAY_SIZE(kvm_rules); i++)
        if (kvm_rules[i].when(s)) {
            kvm_not_asked[i]++;
            return true;
        }
    return false;
}

/* ---- the machine ---- */

static uint64_t kvm_get_tpr(void *opaque) { return sys_k.tpr; }
static void kvm_set_tpr(void *opaque, uint64_t v) { sys_k.tpr = v; }
static uint64_t kvm_get_base(void *opaque) { return 0xfee00900; }
static int kvm_set_base(void *opaque, uint64_t v) { return 0; }
static void kvm_tick(int sig) { kvm_ticks++; }

static int kvm_int3(void)
{
    struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP };
    return kvm_do(sys_k.k->fd, "KVM_SET_GUEST_DEBUG", KVM_SET_GUEST_DEBUG, &d);
}

/* Takes the vCPU's thread out of the kernel now and then. */
static void kvm_start_ticks(void)
{
    struct sigaction on_tick = { .sa_handler = kvm_tick };
    struct sigevent e = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 3 };
    struct itimerspec every = { { 0, TICK_NS }, { 0, TICK_NS } };
    timer_t timer;
    e._sigev_un._tid = gettid();
    sigaction(e.sigev_signo, &on_tick, NULL);
    CHECK(!timer_create(CLOCK_MONOTONIC, &e, &timer) && !timer_settime(timer, 0, &every, NULL));
}

/* False: there is no /dev/kvm with hardware behind it (another does not come out for an INT3). Before sys_setup: the model of the processor is what
   the kernel lends out, for the other machines, too. */
static bool sys_kvm_open(void)
{
    static bool asked;
    struct kvm_probe p;
    if (asked)
        return sys_k.k != NULL;
    asked = true;
    kvm_probe(&p, true);
    if (!p.usable || !p.assisted)
        return false;
    kvm_want_irqchip(KVM_CHIPS_OFF);
    sys_k.vm = vm_new(&kvm_engine, clock_new_manual());
    sys_k.vm->cpu_spec = "host";
    sys_k.io.ports = (struct region){ .kind = REGION_IO, .name = "ports", .read = port_read, .write = port_write, .opaque = &sys_k.io };
    sys_k.v = calloc(1, sizeof *sys_k.v);
    sys_k.v->vm = sys_k.vm;
    sys_k.v->engine = &kvm_engine;
    sys_k.v->thread = pthread_self();
    sys_k.v->intc = (struct vcpu_intc){ .get_tpr = kvm_get_tpr, .set_tpr = kvm_set_tpr, .get_base = kvm_get_base, .set_base = kvm_set_base };
    CHECK_EQ(kvm_engine.init(sys_k.vm), 0);
    machine_lock();
    as_add(sys_k.vm->io, &sys_k.io.ports, 0, 0x10000);
    CHECK_EQ(as_add_ram(sys_k.vm->mem, &sys_k.ram, "ram", 0, MEM, REGION_RAM), 0);
    machine_unlock();
    CHECK_EQ(kvm_engine.vcpu_init(sys_k.v), 0);
    sys_k.vm->vcpus[sys_k.vm->n_vcpus++] = sys_k.v;
    sys_k.k = sys_k.v->engine_data;
    sys_model = kvm_host.model;
    CHECK_EQ(kvm_int3(), 0);
    kvm_start_ticks();
    return true;
}

static uint32_t kvm_mxcsr_mask;                      /* the processor's own: XSAVE stores it, XRSTOR does not load it */
static void kvm_take_mask(void)
{
    static uint8_t fx[512] __attribute__((aligned(16)));
    __asm__ volatile("fxsave %0" : "=m"(fx));
    memcpy(&kvm_mxcsr_mask, fx + 28, 4);
}

static uint64_t beyond_read(void *opaque, uint64_t off, unsigned size)
{
    kvm_beyond++;
    return size_mask(size);
}
static void beyond_write(void *opaque, uint64_t off, uint64_t v, unsigned size) { kvm_beyond++; }

/* After sys_setup. */
static void sys_kvm_watch(void)
{
    if (beyond.name)
        return;
    kvm_take_mask();
    beyond = (struct region){ .kind = REGION_IO, .name = "beyond", .read = beyond_read, .write = beyond_write, .no_lock = true };
    as_add(sys_i.m.mem, &beyond, MEM, (1ull << 45) - MEM);
}

/* ---- a step ---- */

/* The interpreter is about to make it. */
static void sys_kvm_before(void)
{
    kvm_beyond = 0;
    kvm_before = *sys_i.m.cpu;
    kvm_before_flags = x86_get_rflags(sys_i.m.cpu);
    kvm_before_wrote = sys_i.wrote;
    memcpy(kvm_memory, sys_i.m.ram.host, MEM);
}

static int kvm_load(void)
{
    struct x86_cpu *c = &sys_k.k->cpu;
    memcpy(sys_k.ram.host, kvm_memory, MEM);
    *c = kvm_before;
    c->flags_word = &sys_k.k->flags, c->vcpu = sys_k.v, c->cpuid = &kvm_host.model;
    x86_set_rflags(c, kvm_before_flags);
    sys_k.v->halted = false;
    sys_k.v->pending = 0;
    sys_k.vm->request = VM_NONE;
    sys_k.io.wrote = kvm_before_wrote;
    sys_k.k->push = true;
    sys_k.k->stepped = false;
    return kvm_begin(sys_k.k);
}

/* To the INT3, a halt or a reset; -ETIMEDOUT: neither. */
static int kvm_go(void)
{
    int ret = 0;
    kvm_ticks = 0;
    while (ret >= 0 && !sys_k.k->stepped && !sys_k.v->halted && sys_k.vm->request == VM_NONE)
        ret = kvm_ticks > LATE ? -ETIMEDOUT : kvm_run_once(sys_k.k, false);
    if (sys_k.vm->request != VM_NONE)
        kvm_int3();                                  /* a reset processor has forgotten it */
    return ret < 0 ? ret : kvm_state_get(sys_k.k);
}

/* Accessed bits: the kernel's processor has fetched the INT3. */
static bool memory_same(uint32_t *at)
{
    for (*at = 0; *at < MEM; *at += 8) {
        uint64_t a, b;
        memcpy(&a, sys_i.m.ram.host + *at, 8);
        memcpy(&b, sys_k.ram.host + *at, 8);
        if (w->paging && *at >= PML4 && *at < GDT)
            a |= 0x2000000020, b |= 0x2000000020;
        if (a != b)
            return false;
    }
    return true;
}

/* What struct x86_cpu has for the translator only, the hidden part of segments that cannot be used, and granularity, which AMD's do not keep. */
static void kvm_settle(const struct x86_cpu *a, struct x86_cpu *b)
{
    ls_kvm_settle_segments(a, b);
    b->dr[7] &= ~0x800ull;                           /* KVM knows the RTM bit of every processor */
    b->tsc_offset = a->tsc_offset;
    if (a->intr_shadow && kvm_before_flags & RF_IF)
        b->intr_shadow = true;                       /* the translator takes one from an STI that ends a block, whatever IF was before */
    x86_set_rflags(b, (x86_get_rflags(b) & ~(uint64_t)RF_RF) | (x86_get_rflags(a) & RF_RF));        /* nobody clears RF where nobody can see it */
    if (!(b->fpu[512] & (X86_XS_SSE | X86_XS_AVX)))
        memcpy(b->fpu + 24, a->fpu + 24, 4);         /* KVM_GET_XSAVE loses MXCSR when no vector register is in use */
    exec_fill_initial(b->fpu);
}

/* NULL: nothing against it (ANSWERED says whether it was asked), else what. UNDEF: flags that the step leaves undefined. */
static const char *sys_kvm_after(const struct x86_insn *insn, uint32_t undef, bool *answered)
{
    static struct x86_cpu a;
    static char text[100];
    struct x86_cpu *b = &sys_k.k->cpu;
    bool reset = sys_i.m.vm.request != VM_NONE, halted = sys_i.m.vcpu.halted && !reset;
    uint32_t at = 0;
    a = *sys_i.m.cpu;
    exec_fill_initial(a.fpu);
    struct kvm_step s = { .insn = insn, .after = &a, .stopped = halted || reset,
                          .target = x86_code64(&a) ? a.rip : (uint32_t)(a.seg[X86_CS].base + a.rip) };
    *answered = false;
    if (not_asked_of_kvm(&s))
        return NULL;
    if (kvm_load() < 0)
        return "it refuses the state";
    uint8_t *stop = s.stopped ? NULL : sys_k.ram.host + s.target, was = stop ? *stop : 0;
    if (stop)
        *stop = 0xcc;
    int ret = kvm_go();
    if (stop && *stop == 0xcc)
        *stop = was;
    kvm_asked++;
    *answered = true;
    kvm_settle(&a, b);
    if (getenv("DUET_SEED"))
        ls_show_cpus(&a, b, "interp", "kvm"), log_flush();
    if (ret < 0 && ret != -ETIMEDOUT)
        return "it fails";
    if (sys_k.v->halted != halted || (sys_k.vm->request != VM_NONE) != reset)
        return sys_k.v->halted != halted ? halted ? "only the interpreter is halted" : "only kvm is halted" :
               reset ? "only the interpreter is reset" : "only kvm is reset";
    if (reset)
        return NULL;
    if (ls_cpus_differ(&a, b, undef, true)) {
        if (kvm_shown++ < 8) {
            ls_show_cpus(&a, b, "interp", "kvm");
            log_flush();
        }
        return ret < 0 ? "it does not come there" : "registers";
    }
    if (sys_i.wrote != sys_k.io.wrote)
        return "what they wrote to ports";
    if (!memory_same(&at)) {
        const uint8_t *m = sys_i.m.ram.host + at, *n = sys_k.ram.host + at;
        snprintf(text, sizeof text, "memory at 0x%x: %016llx %016llx", at, *(const unsigned long long *)m, *(const unsigned long long *)n);
        return text;
    }
    return NULL;
}

static void sys_kvm_say(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(kvm_rules); i++)
        printf("# not asked %u times: %s\n", kvm_not_asked[i], kvm_rules[i].why);
    printf("# kvm was asked %u times\n", kvm_asked);
}
#endif
