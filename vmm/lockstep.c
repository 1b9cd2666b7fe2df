/*
 * Lock-step: two engines run the same guest, one instruction after the other, and the first difference ends the run (-lockstep A,B).
 *
 * A is the machine, with its devices. B is a second vCPU of the other engine with its own copy of RAM and no devices: its map has A's regions, and what A's
 * instruction was told by a device or by its interrupt controller is told to B again, which must ask the same in the same order. Both instructions see one
 * TSC. What devices write by DMA is copied to B. B's pending word is A's before each turn, so interrupts come at the same instruction.
 * With kvm in the pair the translator is A, whatever the order: where an event leads to is found by it (lockstep_kvm.c). With blocks=on a turn of A's is
 * as long as it likes (lockstep_blocks.c). Locks: the machine lock is held through a turn, so no device moves meanwhile; it is dropped between turns, and
 * while the guest sleeps. The vCPUs' poll words are disconnected: nothing asynchronous may end a repeated string instruction early in one of the two.
 */
#include "vmm/lockstep.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "frontend-x86/frontend.h"
#include "frontend-x86/insn.h"
#include "frontend-x86/mode.h"
#include "vmm/engines.h"
#include "vmm/lockstep_int.h"
#include "x86/cpuid.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEEP_PAGES 16
#define KEEP_PAGES_BLOCKS 64
#define BREATHE 2000                  /* turns between two in which the event loop gets the machine lock */
#define BREATHE_BLOCKS 4

struct lockstep ls;

/* ---- making B like A ---- */

void ls_copy_cpu(const struct x86_cpu *from, uint32_t flags, int to)
{
    struct x86_cpu *c = ls_cpu(to), old = *c;

    *c = *from;
    c->flags_word = old.flags_word;
    c->cpuid = old.cpuid;
    c->vcpu = old.vcpu;
    *c->flags_word = flags;
    if (ls.env[to])
        tcg_state_changed(ls.env[to]);
    else
        kvm_engine.vcpu_state_changed(ls.b->vcpus[0]);
}

static void resync(struct vcpu *a)
{
    struct vcpu *b = ls.b->vcpus[0];

    ls_feed_connect(a);
    if (!ls.blocks)
        a->poll_word = NULL;
    b->poll_word = NULL;
    b->thread = a->thread;
    ls.mem.stale = ls.io.stale = true;
    ls_follow_maps();
    ls_copy_memory();
    ls_copy_cpu(ls_cpu(0), ls.env[0]->flags, 1);
    b->halted = a->halted;
    b->barred = a->barred;
    b->pending = 0;
    ls.b->request = VM_NONE;
    ls.resync = false;
    ls_forget_pages();
}

/* ---- a difference ---- */

bool ls_insn_at(const struct tb_key *key, struct x86_insn *insn)
{
    uint8_t bytes[15];
    unsigned n = sizeof(bytes);

    while (n && mmu_peek_mem(ls.env[0]->mmu, key->pc, bytes, n))
        n--;
    return x86_decode(insn, bytes, n, key->mode & XM_CODE64 ? X86_M64 : key->mode & XM_CODE32 ? X86_M32 : X86_M16) == X86_OK;
}

bool ls_repeats(const struct x86_insn *insn)
{
    unsigned op = insn->opcode;
    return (insn->rep || insn->repne) && insn->map == 0 && !insn->vex && ((op & 0xfc) == 0x6c || (op & 0xfc) == 0xa4 || (op >= 0xaa && op <= 0xaf));
}

/* RFLAGS that the instruction leaves undefined. */
static uint64_t undefined_flags(void)
{
    struct x86_insn insn;
    return ls_insn_at(&ls.key[0], &insn) ? insn.row->fl_u : 0;
}

bool ls_pages_differ(bool quiet)
{
    bool differ = false;
    for (unsigned i = 0; i < ls.n_pages; i++)
        differ |= ls_page_differs(&ls.pages[i], quiet);
    return differ;
}

/* A worker may be filling a buffer of A's that is not announced yet: it gets time to do so. */
bool ls_pages_stay_different(void)
{
    for (unsigned i = 0; i < 50; i++) {
        if (!ls_pages_differ(true))
            return false;
        machine_unlock();
        nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
        machine_lock();
    }
    return true;
}

static bool differs(bool halted_alike)
{
    const struct x86_cpu *a = ls_cpu(0), *b = ls_cpu(1);

    if (!halted_alike || *ls.bad || !ls_fed(1) || ls.key[0].pc != ls.key[1].pc)
        return true;
    if (ls_cpus_differ(a, b, 0, true) && ls_cpus_differ(a, b, undefined_flags(), true))
        return true;
    return ls_pages_stay_different();
}

static void show_stages(void)
{
    bool at_pc = ls.before_pc == ls.key[0].pc;       /* else an event was delivered first: the state after it is nearer */
    log_mask |= LOG_IN_ASM | LOG_IR | LOG_OPT | LOG_OUT_ASM;
    log_range_lo = 0;
    log_range_hi = UINT64_MAX;
    for (int i = 0; i < 2 && ls.env[i]; i++) {
        log_printf("---- the instruction as %s translates it\n", ls.name[i]);
        if (at_pc)
            ls_copy_cpu(&ls.before, ls.before_flags, i);
        tcg_show(ls.env[i], &ls.key[0], 1);
    }
}

void ls_report(bool halted_alike)
{
    log_printf("lockstep: %s and %s differ after instruction %llu, at pc 0x%llx\n", ls.name[0], ls.name[1], (unsigned long long)ls.count,
               (unsigned long long)ls.key[0].pc);
    if (!halted_alike)
        log_printf("lockstep: only one of them is halted\n");
    if (ls.key[0].pc != ls.key[1].pc)
        log_printf("lockstep: %s executed the instruction at pc 0x%llx\n", ls.name[1], (unsigned long long)ls.key[1].pc);
    if (*ls.bad)
        log_printf("lockstep: %s\n", ls.bad);
    else if (!ls_fed(1))
        log_printf("lockstep: %s made %u accesses to devices, %s %u\n", ls.name[0], ls.n_events, ls.name[1], ls.next[1]);
    ls_cpus_differ(ls_cpu(0), ls_cpu(1), undefined_flags(), false);
    ls_pages_differ(false);
    ls_show_cpus(ls_cpu(0), ls_cpu(1), ls.name[0], ls.name[1]);
    show_stages();
    log_flush();
}

/* ---- a turn ---- */

static void rest(struct vcpu *a, bool halted)
{
    x86_freeze_tsc(0);
    machine_unlock();
    if (halted)
        vcpu_wait(a, ~a->barred);
    else
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);      /* enough for another thread to wake up and take it, on a busy host too */
    machine_lock();
}

/* Timers that are due fire here, as the event loop seldom has the machine lock. */
static void let_time_pass(struct vcpu *a)
{
    x86_freeze_tsc(0);
    if (clock_next_deadline(a->vm->clock) <= clock_ns(a->vm->clock))
        clock_run_timers(a->vm->clock);
    x86_freeze_tsc(x86_host_tsc());
}

bool ls_step(int i)
{
    if (i == 1)
        ls.replaying = true;
    else
        ls.recording = !ls.dead;
    bool on = tcg_step(ls.env[i], &ls.key[i]);
    ls.recording = false;
    ls.replaying = ls.dead;
    return on;
}

static void begin_turn(struct vcpu *a, struct vcpu *b)
{
    struct tb_key key;

    x86_frontend.get_key(ls_cpu(0), &key);
    ls.before = *ls_cpu(0);
    ls.before_flags = ls.env[0]->flags;
    ls.before_pc = ls.key[0].pc = ls.key[1].pc = key.pc;
    ls_feed_clear();
    let_time_pass(a);
    __atomic_store_n(&b->pending, __atomic_load_n(&a->pending, __ATOMIC_SEQ_CST) & ~(uint32_t)VCPU_EXIT, __ATOMIC_SEQ_CST);
}

/* One instruction of each. False: they differ. */
static bool insn_turn(bool *on)
{
    bool on_a = ls_step(0), on_b = on_a;

    *on = on_a;
    ls.count++;
    if (ls.kvm && !ls_kvm_turn(on_a))
        return false;
    if (!ls.kvm)
        on_b = ls_step(1);
    ls_follow_maps();
    if (!ls.kvm && differs(on_a == on_b)) {
        ls_report(on_a == on_b);
        return false;
    }
    return true;
}

/* False: they differ. */
static bool turn(struct vcpu *a, struct vcpu *b)
{
    bool on;

    begin_turn(a, b);
    if (ls.blocks ? !ls_blocks_turn(b, &on) : !insn_turn(&on))
        return false;
    if (ls.env[1])
        ls.env[1]->flags = ls.env[0]->flags;        /* undefined ones too, or they would be found at the next PUSHF */
    if (ls.n_pages > (ls.blocks ? KEEP_PAGES_BLOCKS : KEEP_PAGES))
        ls_forget_pages();
    if (!on || ++ls.turns % (ls.blocks ? BREATHE_BLOCKS : BREATHE) == 0)
        rest(a, !on);
    return true;
}

static enum run_result run(struct vcpu *a)
{
    bool same = true;

    machine_lock();
    if (ls.resync)
        resync(a);
    while (same && !(__atomic_load_n(&a->pending, __ATOMIC_SEQ_CST) & VCPU_EXIT))
        same = turn(a, ls.b->vcpus[0]);
    x86_freeze_tsc(0);
    if (same)
        log_printf("lockstep: %llu instructions without a difference\n", (unsigned long long)ls.count);
    if (same && ls.kvm)
        ls_kvm_say();
    machine_unlock();
    return same ? RUN_STOPPED : RUN_ERROR;
}

/* ---- the pair as an engine ---- */

/* A wrong translation of the instruction there, for the test: PC[,block|,hot|,flags] (tcg/tcg.h). */
static void take_spoil(struct tcg *t)
{
    static const char *const forms[] = { [SPOIL_ANY] = "", [SPOIL_BLOCK] = ",block", [SPOIL_HOT] = ",hot", [SPOIL_FLAGS] = ",flags" };
    const char *spoil = getenv("DUET_LOCKSTEP_SPOIL");
    char *end = NULL;

    if (!spoil)
        return;
    t->spoil_pc = strtoull(spoil, &end, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
        if (!strcmp(end, forms[i]))
            t->spoil_form = i;
    }
}

static int make_translator(struct vm *vm, int i, bool interp)
{
    int ret = engine_tcg_init(vm, interp);
    struct tcg *t;

    if (ret)
        return ret;
    t = ls.tcg[i] = engine_tcg_last();
    if (!ls.blocks || interp)
        t->max_insns = 1;
    ls.name[i] = interp ? "interp" : "tcg";
    if (!interp)
        take_spoil(t);
    return 0;
}

/* The interpreter is made first: the back end keeps the stubs of the last one made, and only the translator uses them. */
static int init(struct vm *a)
{
    int ret = 0;

    ls.b = vm_new(ls.kvm ? &kvm_engine : &tcg_engine, a->clock);
    __builtin_cpu_init();
    bool amd = ls.kvm && __builtin_cpu_is("amd");    /* the manners of the processor that we are on: an SVM processor's */
    const char *spec = a->cpu_spec ? a->cpu_spec : X86_MODEL_DEFAULT;
    a->cpu_spec = ls.b->cpu_spec = xasprintf("%s,-rdrand,-rdseed%s", spec, amd ? ",+svm" : "");    /* of those no answer is the same */
    ls.resync = true;
    ls_spaces_init(a, ls.b);
    if (ls.kvm)
        return (ret = make_translator(a, 0, ls.lead_interp)) ? ret : ls_kvm_init();
    for (int interp = 1; interp >= 0 && !ret; interp--)
        ret = make_translator(interp == ls.lead_interp ? a : ls.b, interp != ls.lead_interp, interp);
    return ret;
}

static int vcpu_init(struct vcpu *a)
{
    struct vcpu *b = xzalloc(sizeof(*b));
    int ret;

    *b = (struct vcpu){ .vm = ls.b, .id = a->id, .engine = ls.b->engine };
    pthread_cond_init(&b->wake, NULL);
    if ((ret = engine_tcg_vcpu(ls.tcg[0], a)) || (ret = ls.kvm ? kvm_engine.vcpu_init(b) : engine_tcg_vcpu(ls.tcg[1], b)))
        return ret;
    ls.env[0] = a->engine_data;
    ls.env[1] = ls.kvm ? NULL : b->engine_data;
    ls.b->vcpus[ls.b->n_vcpus++] = b;
    if (ls.kvm)
        ls_cpu(0)->cpuid = ls_cpu(1)->cpuid;         /* what both have */
    return 0;
}

static void vcpu_reset(struct vcpu *a)
{
    tcg_engine.vcpu_reset(a);
    ls.resync = true;
}

static void vcpu_state_changed(struct vcpu *a)
{
    tcg_engine.vcpu_state_changed(a);
    ls.resync = true;
}

static const struct engine engine = { .name = "lockstep", .init = init, .vcpu_init = vcpu_init, .vcpu_reset = vcpu_reset, .vcpu_run = run,
    .vcpu_state_changed = vcpu_state_changed };

const char *const lockstep_orders[] = { "tcg,interp", "interp,tcg", "tcg,interp,blocks=on", "tcg,kvm", "kvm,tcg", "interp,kvm", "kvm,interp", NULL };

const struct engine *lockstep_engine(const char *order)
{
    ls.kvm = strstr(order, "kvm") != NULL;
    ls.blocks = strstr(order, "blocks=on") != NULL;
    ls.lead_interp = ls.kvm ? strstr(order, "interp") != NULL : !strncmp(order, "interp", 6);
    return &engine;
}
