/*
 * Lock-step with a side on /dev/kvm. The translator takes each turn first; KVM is then brought through the same instruction and compared.
 *
 * Usually by a single step. The processor's own trap flag is visible to some instructions and lost by others, and does not stop at an exception's
 * handler, so those run freely to where the translator went, which has a breakpoint: the table `rules`. An exception that the translator has recorded
 * is taken by KVM together with its delivery, in the next turn. What KVM writes unseen is found by its dirty log. What cannot be asked of KVM is copied to
 * it from the translator, counted, and said at the end.
 */
#include "core/log.h"
#include "frontend-x86/insn.h"
#include "kvm/kvm.h"
#include "vmm/lockstep_int.h"
#include <errno.h>
#include <string.h>

#define LIMIT_MS 2000
#define MSRS_EVERY 64                 /* turns; between them only SWAPGS changes what is compared, writes being taken from the translator */
#define DIRTY_EVERY 5000              /* turns between two looks at the dirty log */

enum how { STEP, RUN /* freely, to the next pc */, TAKE /* step, then take the results from the translator */, SKIP /* take everything from the translator */ };

static bool guest_debugs(const struct x86_insn *insn)
{
    const struct x86_cpu *a = ls_cpu(0);
    return (ls.before.rflags | a->rflags) & RF_TF || (ls.before.dr[7] | a->dr[7]) & 0xff;
}
static bool guests_guest(const struct x86_insn *insn) { return ls.before.svm.guest || ls_cpu(0)->svm.guest; }
static bool task_switch(const struct x86_insn *insn) { return ls_cpu(0)->seg[X86_TR].sel != ls.before.seg[X86_TR].sel; }
static bool repeated(const struct x86_insn *insn) { return insn && ls_repeats(insn); }
static bool instruction(const struct x86_insn *insn, uint16_t mnem) { return insn && insn->row->mnem == mnem; }

/* The first that fits: WHEN says so, or it is that instruction. Nothing fits: a step. */
static const struct rule { uint16_t mnem; bool (*when)(const struct x86_insn *); uint8_t how; const char *why; } rules[] = {
    { 0, guest_debugs, SKIP, "the guest's own debugging, where KVM's would be in its way" },
    { 0, guests_guest, SKIP, "a guest's guest" },
    { 0, task_switch, RUN, "a new TR: a task switch replaces the trap flag" },
    { 0, repeated, RUN, "a step is one element of a repeated instruction" },
    { X86I_pushf, NULL, RUN, "the trap flag would be pushed" },
    { X86I_int, NULL, RUN, "the trap flag would be pushed" },
    { X86I_popf, NULL, RUN, "the trap flag would be replaced" },
    { X86I_iret, NULL, RUN, "the trap flag would be replaced" },
    { X86I_sysret, NULL, RUN, "the trap flag would be replaced" },
    { X86I_syscall, NULL, RUN, "the trap flag would be seen in R11" },
    { X86I_cpuid, NULL, TAKE, "the kernel's leaves follow its own clock and vendor" },
    { X86I_rdtsc, NULL, TAKE, "the processor's counter cannot be stopped" },
    { X86I_rdtscp, NULL, TAKE, "the processor's counter cannot be stopped" },
    { X86I_rdpmc, NULL, TAKE, "the processor's counters cannot be stopped" },
    { X86I_rdmsr, NULL, TAKE, "some registers are the host's, or count" },
    { X86I_wrmsr, NULL, SKIP, "some are refused by the kernel where the translator has them" },
};
static uint64_t used[ARRAY_SIZE(rules)];

/* Rules of another kind, counted too. */
static struct other { const char *why; uint64_t n; } with_ss = { .why = "debug traps are held off after a load of SS: the next instruction belongs to it" },
    with_iret = { .why = "a kernel that emulates IRET goes on at its target at once" },
    with_event = { .why = "an event is compared after its handler was entered, with the first instruction there" },
    no_target = { .why = "no breakpoint can be where no address is: the fault of the fetch from there is taken with it" };

static struct {
    int vector;                       /* acknowledged, to be injected with the next instruction; -1: none */
    bool delivery;                    /* an event is under way: the last turn has stopped before its handler */
    bool emulated;                    /* the kernel emulates guest-kernel code: steps show no trap flag, and breakpoints are missed after far transfers */
    bool msrs;                        /* they are worth a look after this turn */
    uint64_t dirty;
} k = { .vector = -1 };

static struct vcpu *vcpu(void) { return ls.b->vcpus[0]; }
static uint64_t linear_pc(const struct x86_cpu *c) { return x86_code64(c) ? c->rip : (uint32_t)(c->seg[X86_CS].base + c->rip); }

static void fail(const char *what)
{
    log_printf("lockstep: %s and %s differ after instruction %llu, at pc 0x%llx: %s\n", ls.name[0], ls.name[1], (unsigned long long)ls.count,
               (unsigned long long)ls.key[0].pc, what);
    ls_cpus_differ(ls_cpu(0), ls_cpu(1), 0, false);
    ls_show_cpus(ls_cpu(0), ls_cpu(1), ls.name[0], ls.name[1]);
    log_flush();
}

/* B becomes as A is. */
static void take_all(void)
{
    ls_copy_cpu(ls_cpu(0), ls.env[0]->flags, 1);
    vcpu()->halted = ls.env[0]->vcpu->halted;
    for (unsigned i = 0; i < ls.n_pages; i++)
        memcpy(ls.pages[i].b, ls.pages[i].a, PAGE_SIZE);
    ls.next[1] = ls.n_events;
    k.vector = -1;
    k.delivery = false;
}

/* How KVM gets through the instruction at the key, of which the translator has made what struct x86_cpu says now. */
static enum how how(void)
{
    struct x86_insn decoded, *insn = ls_insn_at(&ls.key[0], &decoded) ? &decoded : NULL;

    k.msrs |= instruction(insn, X86I_swapgs);
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
        const struct rule *r = &rules[i];
        if (r->when ? !r->when(insn) : !instruction(insn, r->mnem))
            continue;
        used[i]++;
        return r->how == RUN && r->mnem && k.emulated ? STEP : r->how;       /* an emulated step shows no trap flag */
    }
    return STEP;
}

static int run_to(uint64_t pc)
{
    ls.ahead = true;
    return kvm_run_to(vcpu(), pc, LIMIT_MS, k.msrs);
}

/* From before an event to its handler: the instruction that faults runs, or the interrupt is injected. */
static int enter_handler(void)
{
    int ret = k.vector >= 0 ? kvm_interrupt(vcpu(), k.vector) : 0;

    with_event.n++;
    k.vector = -1;
    k.delivery = false;
    return ret < 0 ? ret : run_to(ls.key[0].pc);
}

static void note_vector(void)
{
    for (unsigned i = 0; i < ls.n_events; i++) {
        if (ls.events[i].kind != EV_ACK)
            continue;
        k.vector = ls.events[i].ret;
        k.delivery |= k.vector >= 0;
        memmove(&ls.events[i], &ls.events[i + 1], (--ls.n_events - i) * sizeof(ls.events[0]));        /* KVM does not ask */
        i--;
    }
}

void ls_kvm_settle_segments(const struct x86_cpu *a, struct x86_cpu *b)
{
    for (int i = 0; i < X86_SEGS; i++) {
        bool usable = ((a->seg[i].attr | b->seg[i].attr) & SEG_P) && !(x86_code64(a) && !(a->seg[i].sel & ~3u));
        if (!usable && a->seg[i].sel == b->seg[i].sel)
            b->seg[i] = a->seg[i];
        if ((a->seg[i].attr ^ b->seg[i].attr) == SEG_G)
            b->seg[i].attr ^= SEG_G;
    }
}

/* Differences that mean nothing: of segments, and what struct x86_cpu has for the translator only. */
static void settle(void)
{
    const struct x86_cpu *a = ls_cpu(0);
    struct x86_cpu *b = ls_cpu(1);

    ls_kvm_settle_segments(a, b);
    b->tsc_offset = a->tsc_offset;
}

static void page_written(void *opaque, gpa_t gpa)
{
    k.dirty++;
    ls_note_page(gpa, 1);
}

static bool agree(void)
{
    const struct x86_cpu *a = ls_cpu(0), *b = ls_cpu(1);
    struct x86_insn insn;
    uint64_t undefined = ls_insn_at(&ls.key[0], &insn) ? insn.row->fl_u : 0;

    if (ls.count % DIRTY_EVERY == 0)
        kvm_dirty_collect(page_written, NULL);
    if (*ls.bad) {
        fail(ls.bad);
    } else if (!ls_fed(1)) {
        fail("one of them made more accesses to devices");
    } else if (vcpu()->halted != ls.env[0]->vcpu->halted) {
        fail("only one of them is halted");
    } else if (ls_cpus_differ(a, b, undefined, true)) {
        fail("registers");
    } else if (ls_pages_stay_different()) {
        fail("memory");
        ls_pages_differ(false);
    } else {
        return true;
    }
    return false;
}

/* The instruction itself. */
static int through(enum how h, bool more)
{
    const struct x86_cpu *a = ls_cpu(0);
    bool run = h == RUN && linear_pc(a) != ls.key[0].pc;
    int ret = run ? run_to(linear_pc(a)) : kvm_step(vcpu(), k.msrs);

    if (ret >= 0 && !run && more && ls_cpu(1)->rip != a->rip)
        ret = kvm_step(vcpu(), k.msrs);
    if (ret < 0 || h != TAKE)
        return ret;
    ls_cpu(1)->regs[X86_RAX] = a->regs[X86_RAX];
    ls_cpu(1)->regs[X86_RBX] = a->regs[X86_RBX];
    ls_cpu(1)->regs[X86_RCX] = a->regs[X86_RCX];
    ls_cpu(1)->regs[X86_RDX] = a->regs[X86_RDX];
    kvm_engine.vcpu_state_changed(vcpu());
    return 0;
}

/* What KVM does in one go the translator does in one turn. True: more than one instruction. */
static bool whole_turn(void)
{
    struct tb_key first = ls.key[0];
    struct x86_insn insn;
    bool more = false;

    for (;;) {
        const struct x86_cpu *a = ls_cpu(0);
        bool again = linear_pc(a) == ls.key[0].pc && ls_insn_at(&ls.key[0], &insn) && ls_repeats(&insn);
        bool iret = k.emulated && !more && ls_insn_at(&ls.key[0], &insn) && insn.row->mnem == X86I_iret;
        if (a->exc_pending || ls.env[0]->vcpu->halted || !(a->ss_shadow || again || iret))
            break;
        more |= a->ss_shadow || iret;
        with_ss.n += a->ss_shadow;
        with_iret.n += iret;
        ls_step(0);
    }
    ls.key[0] = first;
    return more;
}

static bool behind(enum how h) { return h == RUN && !x86_canonical(ls_cpu(0), linear_pc(ls_cpu(0))); }

bool ls_kvm_turn(bool a_ran)
{
    const struct x86_cpu *a = ls_cpu(0);
    int ret = 0;
    bool more = a_ran && whole_turn();
    note_vector();
    if (!a_ran)
        return true;
    if (ls.env[0]->vcpu->vm->request != VM_NONE || ls.b->request != VM_NONE)
        return true;                               /* the machine ends or starts anew: nobody sees more of this */
    k.msrs = ls.count % MSRS_EVERY == 0;
    enum how h = how();

    if (h == STEP && more && !k.emulated)
        h = RUN;
    if (h == SKIP || (ls.before.exc_pending && (ls.before.rflags & RF_TF))) {
        take_all();
        return true;
    }
    if (ls.before.exc_pending)
        k.delivery = true;
    ls.replaying = true;
    ls.ahead = false;
    if (k.delivery && ls.key[0].pc != ls.before_pc)
        ret = enter_handler();
    if (!a->exc_pending && ret >= 0 && !behind(h) && !(k.delivery && ls.key[0].pc == ls.before_pc))
        ret = through(h, more);
    ls.replaying = false;
    if (!ret && behind(h)) {
        no_target.n++;
        return k.delivery = true;
    }
    if (ret < 0) {
        settle();
        fail(ret == -ETIMEDOUT ? "kvm does not come to where the translator went" : "kvm fails");
        return false;
    }
    if (a->exc_pending)                            /* together with its delivery */
        return true;
    settle();
    return agree();
}

void ls_kvm_say(void)
{
    static const char *const did[] = { [RUN] = "ran freely", [TAKE] = "took the results", [SKIP] = "took everything" };
    const struct other *others[] = { &with_ss, &with_iret, &with_event, &no_target };

    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
        if (used[i])
            log_printf("lockstep: kvm %s %llu times: %s\n", did[rules[i].how], (unsigned long long)used[i], rules[i].why);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        if (others[i]->n)
            log_printf("lockstep: kvm did as one %llu times: %s\n", (unsigned long long)others[i]->n, others[i]->why);
    }
    log_printf("lockstep: %llu pages written by kvm were compared\n", (unsigned long long)k.dirty);
}

int ls_kvm_init(void)
{
    struct kvm_probe p;
    int ret;

    kvm_probe(&p, true);
    k.emulated = p.usable && !p.assisted;
    ls.name[1] = "kvm";
    kvm_want_irqchip(KVM_CHIPS_OFF);
    if ((ret = kvm_engine.init(ls.b)) < 0)
        return ret;
    return kvm_dirty_start();
}
