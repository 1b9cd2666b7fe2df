/*
 * Lock-step of optimised code (-lockstep tcg,interp,blocks=on): the translator runs as it does alone, blocks linked, hot loops in their tight copies, until
 * it comes out or a short time is over; then the interpreter goes instruction by instruction until its state is the same: registers, known flags,
 * everything asked of devices, written memory. Both are one machine then, whatever the number of instructions. If it never is, that is a difference.
 *
 * A difference is narrowed. The devices are cut off (what they said is in the list of events), memory and registers go back to the last agreement, and
 * both run again: single instructions, then whole blocks alone. Where neither shows it, only the linking of the blocks can, and they are listed.
 * A turn never ends within a repeated string instruction, which the interpreter does as one.
 */
#define _GNU_SOURCE
#include "vmm/lockstep_int.h"
#include "core/log.h"
#include "frontend-x86/frontend.h"
#include "frontend-x86/insn.h"
#include "vmm/engines.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WINDOW_NS 30000               /* of a turn of A's that does not end by itself */
#define LIMIT 20000000                /* instructions of B's in which it must get to where A is; A does far fewer in its time */
#define AGAIN 2000000                 /* ... when the turn is run again: of all of it, */
#define AGAIN_BLOCK 1000000           /* of one block, which may be a loop */
#define PIECES 10000000               /* of a repeated instruction, which is at most this long, or goes on for ever */
#define TRAIL 64                      /* instructions whose undefined flags are followed */
#define SHOWN 24                      /* blocks in a list */

static struct {
    timer_t timer;
    bool started, halted, barred;
    uint32_t pending;                 /* A's when the turn began */
    struct tb_key trail[TRAIL]; uint64_t n_trail;
    struct x86_cpu nearest; uint32_t nearest_flags; int nearest_same;
} w;

/* ---- A's turn ---- */

static void on_time(int sig) { __atomic_store_n(&ls.env[0]->poll, 1, __ATOMIC_RELEASE); }

static void start_clock(void)
{
    struct sigaction a = { .sa_handler = on_time, .sa_flags = SA_RESTART };
    struct sigevent e = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 4, ._sigev_un._tid = gettid() };
    sigset_t set;

    sigaction(SIGRTMIN + 4, &a, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 4);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    if (timer_create(CLOCK_MONOTONIC, &e, &w.timer) < 0 || tcg_sampler_start(ls.env[0]) < 0)
        log_error("-lockstep: no clock: %s", strerror(errno));
    w.started = true;
}

static void set_clock(long ns)
{
    struct itimerspec t = { { 0, ns }, { 0, ns } };          /* repeated: one that comes before the code is entered is lost */
    timer_settime(w.timer, 0, &t, NULL);
}

static bool at_string(void)
{
    struct tb_key key;
    struct x86_insn insn;

    x86_frontend.get_key(ls_cpu(0), &key);
    return ls_insn_at(&key, &insn) && ls_repeats(&insn);
}

static uint64_t next_pc(int i)
{
    struct tb_key key;
    x86_frontend.get_key(ls_cpu(i), &key);
    return key.pc;
}

static bool run_a(void)
{
    ls.recording = true;
    set_clock(WINDOW_NS);
    bool on = tcg_turn(ls.env[0]);
    set_clock(0);
    for (unsigned i = 0; on && i < PIECES && !ls.env[0]->need_deliver && !ls.env[0]->vcpu->halted && at_string(); i++) {
        ls.env[0]->one_insn = true;
        tcg_turn(ls.env[0]);
    }
    ls.recording = false;
    return on;
}

/* ---- B follows ---- */

/* Flags that the instructions of the trail have left undefined. */
static uint64_t undefined(void)
{
    uint64_t fl = 0;

    for (uint64_t i = w.n_trail > TRAIL ? w.n_trail - TRAIL : 0; i < w.n_trail; i++) {
        struct x86_insn insn;
        if (ls_insn_at(&w.trail[i % TRAIL], &insn))
            fl = (fl & ~(uint64_t)insn.row->fl_w) | insn.row->fl_u;
    }
    return fl;
}

static bool met(void)
{
    const struct x86_cpu *a = ls_cpu(0), *b = ls_cpu(1);

    if (a->rip != b->rip || memcmp(a->regs, b->regs, sizeof(a->regs)) || ls.env[0]->vcpu->halted != ls.env[1]->vcpu->halted)
        return false;
    if (!ls_fed(1) || (ls_cpus_differ(a, b, 0, true) && ls_cpus_differ(a, b, undefined(), true)))
        return false;
    return !ls_pages_differ(true);
}

/* Of the states in which B was at A's pc, the one that was most like it: what a report shows. */
static void note_nearest(void)
{
    const struct x86_cpu *a = ls_cpu(0), *b = ls_cpu(1);
    int same = 0;

    for (unsigned i = 0; i < 16; i++)
        same += a->regs[i] == b->regs[i];
    if (same <= w.nearest_same)
        return;
    w.nearest_same = same;
    w.nearest = *b;
    w.nearest_flags = ls.env[1]->flags;
    w.nearest.flags_word = &w.nearest_flags;
}

/* B goes to where A is. False: it does not get there. */
static bool follow(uint64_t limit)
{
    struct vcpu *b = ls.env[1]->vcpu;
    bool there = met(), on = true;

    w.n_trail = 0;
    w.nearest_same = -1;
    ls.replaying = true;
    for (uint64_t n = 0; !there && on && n < limit && !*ls.bad; n++) {
        on = tcg_step(ls.env[1], &ls.key[1]);
        w.trail[w.n_trail++ % TRAIL] = ls.key[1];
        ls.count++;
        __atomic_store_n(&b->pending, 0, __ATOMIC_SEQ_CST);        /* A looks at what is pending at the start of a turn only */
        there = met();
        if (!there && ls_cpu(1)->rip == ls_cpu(0)->rip)
            note_nearest();
    }
    ls.replaying = ls.dead;
    return there;
}

/* ---- back to the last agreement ---- */

static void silence(struct ls_space *s)
{
    struct as_run r = { 0 };

    for (gpa_t at = 0; as_next_run(s->a, at, &r); at = r.start + r.size) {
        if (r.region->kind == REGION_IO) {
            r.region->read = NULL;
            r.region->write = NULL;
        }
    }
}

static void go_back(void)
{
    for (unsigned i = 0; i < ls.n_pages; i++) {
        memcpy(ls.pages[i].a, ls.pages[i].was, PAGE_SIZE);
        memcpy(ls.pages[i].b, ls.pages[i].was, PAGE_SIZE);
    }
    for (int i = 0; i < 2; i++) {
        struct vcpu *v = ls.env[i]->vcpu;
        tcg_cache_flush(ls.tcg[i]);
        mmu_flush_all(ls.env[i]->mmu);
        ls_copy_cpu(&ls.before, ls.before_flags, i);
        ls.env[i]->one_insn = false;
        v->halted = w.halted;
        v->barred = w.barred;
        __atomic_store_n(&v->pending, w.pending, __ATOMIC_SEQ_CST);
        ls.next[i] = 0;
    }
    *ls.bad = 0;
    w.n_trail = 0;
    ls.dead = ls.replaying = true;
}

static void nothing_pending(void)
{
    for (int i = 0; i < 2; i++)
        __atomic_store_n(&ls.env[i]->vcpu->pending, 0, __ATOMIC_SEQ_CST);
}

/* The turn is over for A when it asks for what was not asked then. */
static bool over(bool on) { return !on || ls.next[0] > ls.n_events; }

/* One instruction, a repeated one to its end: its pieces are of different lengths. */
static bool whole(int i)
{
    const struct x86_cpu *c = ls_cpu(i);
    bool on = tcg_step(ls.env[i], &ls.key[i]);
    struct x86_insn insn;

    if (!on || !ls_insn_at(&ls.key[i], &insn) || !ls_repeats(&insn))
        return on;
    for (unsigned n = 0; n < PIECES && !c->exc_pending && next_pc(i) == ls.key[i].pc; n++)
        tcg_step(ls.env[i], &ls.key[i]);
    return on;
}

/* Instruction by instruction. True: that shows it, and it has been reported. */
static bool narrow_insn(void)
{
    ls.tcg[0]->max_insns = 1;
    for (uint64_t n = 0; n < AGAIN; n++) {
        ls.before = *ls_cpu(0);
        ls.before_flags = ls.env[0]->flags;
        ls.before_pc = ls.key[0].pc = ls.key[1].pc = next_pc(0);
        bool on_a = whole(0);
        if (over(on_a))
            return false;
        bool on_b = whole(1);
        nothing_pending();
        w.trail[w.n_trail++ % TRAIL] = ls.key[1];
        ls.count++;
        if (*ls.bad || on_a != on_b || ls.key[0].pc != ls.key[1].pc || ls.next[0] != ls.next[1] ||
            ls_cpus_differ(ls_cpu(0), ls_cpu(1), undefined(), true) || ls_pages_differ(true)) {
            ls_report(on_a == on_b);
            return true;
        }
        ls.env[1]->flags = ls.env[0]->flags;
    }
    return false;
}

static void show_block(const struct tb_key *key, bool all)
{
    log_mask |= all ? LOG_IN_ASM | LOG_IR | LOG_OPT | LOG_OUT_ASM : LOG_IN_ASM;
    log_range_lo = 0;
    log_range_hi = UINT64_MAX;
    tcg_show(ls.env[0], key, IR_MAX_GUEST);
}

/* A, where it came out, and B, when it was there and most like it. */
static void show_nearest(void)
{
    if (!ls_cpus_differ(ls_cpu(0), &w.nearest, 0, false))
        log_printf("lockstep: written memory, or what was asked of devices, differs\n");
    ls_show_cpus(ls_cpu(0), &w.nearest, ls.name[0], ls.name[1]);
}

static void report_block(const struct x86_cpu *start, uint32_t flags)
{
    log_printf("lockstep: tcg and interp differ after the block at pc 0x%llx, by its optimisation: its instructions one by one are right\n",
               (unsigned long long)ls.key[0].pc);
    if (w.nearest_same >= 0) {
        show_nearest();
    } else {
        log_printf("lockstep: interp does not come to pc 0x%llx\n", (unsigned long long)ls_cpu(0)->rip);
        ls_show_cpus(ls_cpu(0), ls_cpu(1), ls.name[0], ls.name[1]);
    }
    ls_copy_cpu(start, flags, 0);
    log_printf("---- the block as tcg translates it\n");
    show_block(&ls.key[0], true);
}

/* Whole blocks, not linked. */
static bool narrow_block(void)
{
    ls.tcg[0]->max_insns = IR_MAX_GUEST;
    for (uint64_t n = 0; n < AGAIN; n++) {
        struct x86_cpu start = *ls_cpu(0);
        uint32_t flags = ls.env[0]->flags;
        uint64_t count = ls.count;
        if (over(tcg_step(ls.env[0], &ls.key[0])))
            return false;
        __atomic_store_n(&ls.env[0]->vcpu->pending, 0, __ATOMIC_SEQ_CST);
        if (!follow(AGAIN_BLOCK)) {
            ls.count = count;
            report_block(&start, flags);
            return true;
        }
        ls.env[1]->flags = ls.env[0]->flags;
        n += ls.count - count;
    }
    return false;
}

static void report_links(void)
{
    log_printf("lockstep: tcg and interp differ after instruction %llu, and each block alone is right: by the linking of blocks, or by what it may leave out; "
               "blocks run since the last agreement at pc 0x%llx:\n", (unsigned long long)ls.count, (unsigned long long)ls.before_pc);
    go_back();
    for (unsigned i = 0; i < SHOWN; i++) {
        if (over(tcg_step(ls.env[0], &ls.key[0])))
            break;
        struct tb_key key = ls.key[0];
        nothing_pending();
        show_block(&key, true);
    }
}

/* The state that A came to and B did not, before everything goes back. */
static void narrow(void)
{
    static struct x86_cpu begin;
    uint32_t flags = ls.before_flags;
    uint64_t count = ls.count, pc = ls.before_pc;

    begin = ls.before;
    log_printf("lockstep: tcg comes out at pc 0x%llx, where interp does not agree; %u accesses to devices since the last agreement at pc 0x%llx%s%s\n",
               (unsigned long long)ls_cpu(0)->rip, ls.n_events, (unsigned long long)ls.before_pc, *ls.bad ? ": " : "", ls.bad);
    if (w.nearest_same >= 0)
        show_nearest();
    silence(&ls.mem);
    silence(&ls.io);
    ls.count = w.n_trail < count ? count - w.n_trail : 0;
    uint64_t agreed = ls.count;
    go_back();
    bool found = narrow_insn();
    for (int links = 0; links < 2 && !found; links++) {
        ls.before = begin;
        ls.before_flags = flags;
        ls.before_pc = pc;
        ls.count = agreed;
        go_back();
        if (!links)
            found = narrow_block();
        else
            report_links();
    }
    log_flush();
}

bool ls_blocks_turn(struct vcpu *b, bool *on)
{
    struct vcpu *a = ls.env[0]->vcpu;

    if (!w.started)
        start_clock();
    w.halted = a->halted;
    w.barred = a->barred;
    w.pending = __atomic_load_n(&b->pending, __ATOMIC_SEQ_CST);
    ls_keep_pages();
    *on = run_a();
    if (!follow(*on ? LIMIT : 1)) {
        narrow();
        return false;
    }
    ls_follow_maps();
    return true;
}
