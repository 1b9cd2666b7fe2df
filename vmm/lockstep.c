/*
 * Lock-step: two engines run the same guest, one instruction after the other, and the first difference ends the run (-lockstep A,B).
 *
 * A is the machine, with its devices. B is a second vCPU of the other engine with its own copy of RAM and no devices: its map has A's regions, and what A's
 * instruction was told by a device or by its interrupt controller is told to B again, which must ask the same in the same order. Both instructions see one
 * TSC. What devices write by DMA is copied to B. B's pending word is A's before each turn, so interrupts come at the same instruction.
 * Written memory is found by page: all pages start with TRACK_DIRTY, the first store to one reports it, and the pages reported lately are compared
 * after every turn. Locks: the machine lock is held through a turn, so no device moves meanwhile; it is dropped between turns, and while the guest sleeps.
 * The vCPUs' poll words are disconnected: nothing asynchronous may end a repeated string instruction early in one of the two.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_EVENTS 16384              /* of one instruction: a repeated INS asks once an element */
#define MAX_REGIONS 256
#define MAX_COPIES 16
#define MAX_PAGES 8192                /* written by one instruction, and a few lately written */
#define KEEP_PAGES 16
#define BREATHE 2000                  /* turns between two in which the event loop gets the machine lock */

enum event_kind { EV_READ, EV_WRITE, EV_PORT_READ, EV_PORT_WRITE, EV_ACK, EV_GET_TPR, EV_SET_TPR, EV_GET_BASE, EV_SET_BASE, EV_MSR_READ, EV_MSR_WRITE };
static const char *const event_names[] = { "memory read", "memory write", "port read", "port write", "interrupt acknowledge", "CR8 read", "CR8 write",
    "APIC base read", "APIC base write", "APIC MSR read", "APIC MSR write" };
struct event { enum event_kind kind; unsigned size; int ret; uint64_t addr, val; };

/* Host memory of A and B's copy of it. */
struct copy { uint8_t *a, *b, *track_a, *track_b; uint64_t size; };

struct space { struct aspace *a, *b; struct as_tap tap_a, tap_b; struct region regions[MAX_REGIONS]; unsigned n; bool stale; };

static struct lockstep {
    struct vm *b;
    struct tcg *tcg[2];
    struct tcg_env *env[2];
    const char *name[2];
    bool lead_interp, resync, recording, replaying;
    struct vcpu_intc intc;            /* A's real one */
    struct space mem, io;
    struct copy copies[MAX_COPIES]; unsigned n_copies;
    struct event events[MAX_EVENTS]; unsigned n_events, next;
    char bad[200];                    /* B asked something else */
    struct ls_page pages[MAX_PAGES]; unsigned n_pages;
    struct tb_key key[2];             /* of the instruction just executed */
    struct x86_cpu before; uint32_t before_flags;
    uint64_t before_pc;
    uint64_t count;
} ls;

static struct x86_cpu *cpu_of(int i) { return tcg_cpu(ls.env[i]); }

/* ---- what devices said ---- */

static void record(enum event_kind kind, uint64_t addr, uint64_t val, unsigned size, int ret)
{
    if (ls.recording && ls.n_events < MAX_EVENTS)
        ls.events[ls.n_events++] = (struct event){ kind, size, ret, addr, val };
}

/* B asks: the answer that A got. VAL is compared where B gives it. */
static struct event replay(enum event_kind kind, uint64_t addr, uint64_t val, unsigned size, bool gives)
{
    if (!ls.replaying)
        return (struct event){ .ret = -1 };
    struct event e = ls.next < ls.n_events ? ls.events[ls.next] : (struct event){ .kind = kind, .ret = -1 };
    bool same = ls.next < ls.n_events && e.kind == kind && e.addr == addr && e.size == size && (!gives || e.val == val);
    if (!same && !*ls.bad)
        snprintf(ls.bad, sizeof(ls.bad), "%s asks for a %s at 0x%llx of %u bytes (value 0x%llx), %s %s at 0x%llx of %u bytes (value 0x%llx)", ls.name[1],
                 event_names[kind], (unsigned long long)addr, size, (unsigned long long)val, ls.name[0],
                 ls.next < ls.n_events ? event_names[e.kind] : "nothing,", (unsigned long long)e.addr, e.size, (unsigned long long)e.val);
    ls.next++;
    return e;
}

static enum event_kind kind_of(const struct space *s, bool write) { return (s == &ls.io ? EV_PORT_READ : EV_READ) + (write ? 1 : 0); }

static struct copy *copy_by_track(const uint8_t *track)
{
    for (unsigned i = 0; i < ls.n_copies; i++) {
        if (track >= ls.copies[i].track_a && track < ls.copies[i].track_a + ((ls.copies[i].size + PAGE_SIZE - 1) >> PAGE_BITS))
            return &ls.copies[i];
    }
    return NULL;
}

/* A window whose writes go to RAM by a device's hand (shadow RAM that reads as ROM). */
static void follow_window(const struct space *s, gpa_t addr, unsigned size)
{
    uint64_t off, left;
    struct region *r = as_find(s->a, addr, &off, &left);
    struct copy *c = r && r->kind == REGION_IO && r->track ? copy_by_track(r->track) : NULL;

    if (c) {
        uint64_t at = ((uint64_t)(r->track - c->track_a) << PAGE_BITS) + off;
        memcpy(c->b + at, c->a + at, MIN(size, left));
    }
}

static uint64_t access_a(void *opaque, gpa_t addr, uint64_t val, unsigned size, bool write)
{
    if (write)
        follow_window(opaque, addr, size);
    record(kind_of(opaque, write), addr, val, size, 0);
    return val;
}

static uint64_t access_b(void *opaque, gpa_t addr, uint64_t val, unsigned size, bool write) { return replay(kind_of(opaque, write), addr, val, size, write).val; }

static int ack_a(void *o) { int r = ls.intc.ack(o); record(EV_ACK, 0, 0, 0, r); return r; }
static uint64_t get_tpr_a(void *o) { uint64_t v = ls.intc.get_tpr(o); record(EV_GET_TPR, 0, v, 0, 0); return v; }
static void set_tpr_a(void *o, uint64_t v) { ls.intc.set_tpr(o, v); record(EV_SET_TPR, 0, v, 0, 0); }
static uint64_t get_base_a(void *o) { uint64_t v = ls.intc.get_base(o); record(EV_GET_BASE, 0, v, 0, 0); return v; }
static int set_base_a(void *o, uint64_t v) { int r = ls.intc.set_base(o, v); record(EV_SET_BASE, 0, v, 0, r); return r; }
static int msr_read_a(void *o, uint32_t msr, uint64_t *v) { int r = ls.intc.x2apic_read(o, msr, v); record(EV_MSR_READ, msr, *v, 0, r); return r; }
static int msr_write_a(void *o, uint32_t msr, uint64_t v) { int r = ls.intc.x2apic_write(o, msr, v); record(EV_MSR_WRITE, msr, v, 0, r); return r; }

static int ack_b(void *o) { return replay(EV_ACK, 0, 0, 0, false).ret; }
static uint64_t get_tpr_b(void *o) { return replay(EV_GET_TPR, 0, 0, 0, false).val; }
static void set_tpr_b(void *o, uint64_t v) { replay(EV_SET_TPR, 0, v, 0, true); }
static uint64_t get_base_b(void *o) { return replay(EV_GET_BASE, 0, 0, 0, false).val; }
static int set_base_b(void *o, uint64_t v) { return replay(EV_SET_BASE, 0, v, 0, true).ret; }
static int msr_read_b(void *o, uint32_t msr, uint64_t *v) { struct event e = replay(EV_MSR_READ, msr, 0, 0, false); *v = e.val; return e.ret; }
static int msr_write_b(void *o, uint32_t msr, uint64_t v) { return replay(EV_MSR_WRITE, msr, v, 0, true).ret; }

/* The board connects A's controller after the vCPU was made. */
static void tap_intc(struct vcpu *a)
{
    if (a->intc.ack == ack_a)
        return;
    ls.intc = a->intc;
    a->intc = (struct vcpu_intc){ ack_a, get_tpr_a, set_tpr_a, get_base_a, set_base_a, msr_read_a, msr_write_a, ls.intc.opaque };
    ls.b->vcpus[0]->intc = (struct vcpu_intc){ ack_b, get_tpr_b, set_tpr_b, get_base_b, set_base_b, msr_read_b, msr_write_b, NULL };
}

/* ---- B's memory ---- */

static struct copy *copy_of(const uint8_t *a)
{
    for (unsigned i = 0; i < ls.n_copies; i++) {
        if (a >= ls.copies[i].a && a < ls.copies[i].a + ls.copies[i].size)
            return &ls.copies[i];
    }
    return NULL;
}

/* A's map has changed. Memory comes before the windows onto it, so a region that is new here is a whole one. B's map follows after the turn. */
static void on_change(void *opaque)
{
    struct space *s = opaque;
    struct as_run r = { 0 };

    for (gpa_t at = 0; as_next_run(s->a, at, &r); at = r.start + r.size) {
        if (r.region->kind == REGION_IO || copy_of(r.region->host) || ls.n_copies == MAX_COPIES)
            continue;
        uint8_t *b = xmap(r.region->size), *track = xmap((r.region->size + PAGE_SIZE - 1) >> PAGE_BITS);
        if (b && track)
            ls.copies[ls.n_copies++] = (struct copy){ r.region->host, b, r.region->track, track, r.region->size };
    }
    s->stale = true;
}

static void follow_map(struct space *s)
{
    struct as_run r = { 0 };

    if (!s->stale)
        return;
    while (s->n)
        as_remove(s->b, &s->regions[--s->n]);
    for (gpa_t at = 0; s->n < MAX_REGIONS && as_next_run(s->a, at, &r); at = r.start + r.size) {
        struct copy *c = r.region->kind == REGION_IO ? NULL : copy_of(r.region->host);
        struct region *to = &s->regions[s->n++];
        *to = (struct region){ .kind = r.region->kind, .name = r.region->name, .max_size = r.region->max_size };
        if (r.region->kind == REGION_IO && r.region->track && (c = copy_by_track(r.region->track))) {
            to->track = c->track_b + (r.region->track - c->track_a) + (r.off >> PAGE_BITS);
        } else if (c) {
            to->host = c->b + (r.region->host + r.off - c->a);
            to->track = c->track_b + ((to->host - c->b) >> PAGE_BITS);
        }
        as_add(s->b, to, r.start, r.size);
    }
    s->stale = false;
}

/* Bytes that a device or a loader put into A's memory. */
static void follow_dma(gpa_t addr, size_t len)
{
    uint8_t buf[PAGE_SIZE];

    for (size_t n; len; addr += n, len -= n) {
        n = MIN(len, sizeof(buf));
        if (!as_dma_read(ls.mem.a, addr, buf, n))
            as_load(ls.mem.b, addr, buf, n);
    }
}

static void note_page(gpa_t gpa)
{
    uint64_t off_a, off_b, left;

    struct region *a = as_find(ls.mem.a, gpa, &off_a, &left), *b = as_find(ls.mem.b, gpa, &off_b, &left);
    if (!a || !b || !a->host || !b->host || ls.n_pages == MAX_PAGES)
        return;
    for (unsigned i = ls.n_pages; i-- > 0;) {
        if (ls.pages[i].gpa == gpa && ls.pages[i].a == a->host + off_a)      /* the map may have changed since */
            return;
    }
    ls.pages[ls.n_pages++] = (struct ls_page){ gpa, a->host + off_a, b->host + off_b, a->track + (off_a >> PAGE_BITS), b->track + (off_b >> PAGE_BITS) };
}

static void dirty_a(void *opaque, gpa_t addr, size_t len, bool dma)
{
    if (ls.resync)
        return;
    if (dma) {
        follow_dma(addr, len);
    } else {
        note_page(addr & PAGE_MASK);
        note_page((addr + len - 1) & PAGE_MASK);
    }
}

static void dirty_b(void *opaque, gpa_t addr, size_t len, bool dma)
{
    if (!dma)
        dirty_a(opaque, addr, len, false);
}

/* Pages that were written lately are watched for their next first store again. */
static void forget_pages(void)
{
    for (unsigned i = 0; i < ls.n_pages; i++) {
        __atomic_or_fetch(ls.pages[i].track_a, TRACK_DIRTY, __ATOMIC_SEQ_CST);
        __atomic_or_fetch(ls.pages[i].track_b, TRACK_DIRTY, __ATOMIC_SEQ_CST);
    }
    ls.n_pages = 0;
    mmu_flush_all(ls.env[0]->mmu);
    mmu_flush_all(ls.env[1]->mmu);
}

/* ---- making B like A ---- */

static void copy_memory(void)
{
    struct as_run r = { 0 };

    for (gpa_t at = 0; as_next_run(ls.mem.a, at, &r); at = r.start + r.size) {
        struct copy *c = r.region->kind == REGION_IO ? NULL : copy_of(r.region->host);
        const uint8_t *a = r.region->host + r.off;
        for (uint64_t i = 0; c && i < r.size; i += PAGE_SIZE) {
            if (memcmp(a + i, c->b + (a + i - c->a), MIN(PAGE_SIZE, r.size - i)))
                as_load(ls.mem.b, r.start + i, a + i, MIN(PAGE_SIZE, r.size - i));
        }
    }
    for (struct copy *c = ls.copies; c < ls.copies + ls.n_copies; c++) {          /* and what is hidden now */
        for (uint64_t i = 0; i < c->size; i += PAGE_SIZE) {
            if (memcmp(c->a + i, c->b + i, MIN(PAGE_SIZE, c->size - i)))
                memcpy(c->b + i, c->a + i, MIN(PAGE_SIZE, c->size - i));
            __atomic_or_fetch(&c->track_a[i >> PAGE_BITS], TRACK_DIRTY, __ATOMIC_SEQ_CST);
            __atomic_or_fetch(&c->track_b[i >> PAGE_BITS], TRACK_DIRTY, __ATOMIC_SEQ_CST);
        }
    }
}

static void copy_cpu(const struct x86_cpu *from, uint32_t flags, int to)
{
    struct x86_cpu *c = cpu_of(to), old = *c;

    *c = *from;
    c->flags_word = old.flags_word;
    c->cpuid = old.cpuid;
    c->vcpu = old.vcpu;
    *c->flags_word = flags;
    tcg_state_changed(ls.env[to]);
}

static void resync(struct vcpu *a)
{
    struct vcpu *b = ls.b->vcpus[0];

    tap_intc(a);
    a->poll_word = b->poll_word = NULL;
    b->thread = a->thread;
    ls.mem.stale = ls.io.stale = true;
    follow_map(&ls.mem);
    follow_map(&ls.io);
    copy_memory();
    copy_cpu(cpu_of(0), ls.env[0]->flags, 1);
    b->halted = a->halted;
    b->barred = a->barred;
    b->pending = 0;
    ls.b->request = VM_NONE;
    ls.resync = false;
    forget_pages();
}

/* ---- a difference ---- */

/* RFLAGS that the instruction leaves undefined. */
static uint64_t undefined_flags(void)
{
    uint8_t bytes[15];
    struct x86_insn insn;
    unsigned n = sizeof(bytes);
    uint32_t mode = ls.key[0].mode;

    while (n && mmu_peek_mem(ls.env[0]->mmu, ls.key[0].pc, bytes, n))
        n--;
    if (x86_decode(&insn, bytes, n, mode & XM_CODE64 ? X86_M64 : mode & XM_CODE32 ? X86_M32 : X86_M16) != X86_OK)
        return 0;
    return insn.row->fl_u;
}

static bool pages_differ(bool quiet)
{
    bool differ = false;
    for (unsigned i = 0; i < ls.n_pages; i++)
        differ |= ls_page_differs(&ls.pages[i], quiet);
    return differ;
}

/* A worker may be filling a buffer of A's that is not announced yet: it gets time to do so. */
static bool pages_stay_different(void)
{
    for (unsigned i = 0; i < 50; i++) {
        if (!pages_differ(true))
            return false;
        machine_unlock();
        nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
        machine_lock();
    }
    return true;
}

static bool differs(bool halted_alike)
{
    const struct x86_cpu *a = cpu_of(0), *b = cpu_of(1);

    if (!halted_alike || *ls.bad || ls.next != ls.n_events || ls.key[0].pc != ls.key[1].pc)
        return true;
    if (ls_cpus_differ(a, b, 0, true) && ls_cpus_differ(a, b, undefined_flags(), true))
        return true;
    return pages_stay_different();
}

static void show_stages(void)
{
    bool at_pc = ls.before_pc == ls.key[0].pc;       /* else an event was delivered first: the state after it is nearer */
    log_mask |= LOG_IN_ASM | LOG_IR | LOG_OPT | LOG_OUT_ASM;
    log_range_lo = 0;
    log_range_hi = UINT64_MAX;
    for (int i = 0; i < 2; i++) {
        log_printf("---- the instruction as %s translates it\n", ls.name[i]);
        if (at_pc)
            copy_cpu(&ls.before, ls.before_flags, i);
        tcg_show(ls.env[i], &ls.key[0]);
    }
}

static void report(bool halted_alike)
{
    log_printf("lockstep: %s and %s differ after instruction %llu, at pc 0x%llx\n", ls.name[0], ls.name[1], (unsigned long long)ls.count,
               (unsigned long long)ls.key[0].pc);
    if (!halted_alike)
        log_printf("lockstep: only one of them is halted\n");
    if (ls.key[0].pc != ls.key[1].pc)
        log_printf("lockstep: %s executed the instruction at pc 0x%llx\n", ls.name[1], (unsigned long long)ls.key[1].pc);
    if (*ls.bad)
        log_printf("lockstep: %s\n", ls.bad);
    else if (ls.next != ls.n_events)
        log_printf("lockstep: %s made %u accesses to devices, %s %u\n", ls.name[0], ls.n_events, ls.name[1], ls.next);
    ls_cpus_differ(cpu_of(0), cpu_of(1), undefined_flags(), false);
    pages_differ(false);
    ls_show_cpus(cpu_of(0), cpu_of(1), ls.name[0], ls.name[1]);
    show_stages();
    log_flush();
}

/* ---- a turn ---- */

static void follow_a20(struct vcpu *b)
{
    if (cpu_of(1)->a20_off != cpu_of(0)->a20_off) {
        cpu_of(1)->a20_off = cpu_of(0)->a20_off;
        vcpu_set_pending(b, VCPU_WORK);
    }
}

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

/* False: they differ. */
static bool turn(struct vcpu *a, struct vcpu *b)
{
    struct tb_key key;

    x86_frontend.get_key(cpu_of(0), &key);
    ls.before = *cpu_of(0);
    ls.before_flags = ls.env[0]->flags;
    ls.before_pc = ls.key[0].pc = ls.key[1].pc = key.pc;
    ls.n_events = ls.next = 0;
    let_time_pass(a);
    __atomic_store_n(&b->pending, __atomic_load_n(&a->pending, __ATOMIC_SEQ_CST) & ~(uint32_t)VCPU_EXIT, __ATOMIC_SEQ_CST);
    ls.recording = true;
    bool on_a = tcg_step(ls.env[0], &ls.key[0]);
    ls.recording = false;
    ls.replaying = true;
    bool on_b = tcg_step(ls.env[1], &ls.key[1]);
    ls.replaying = false;
    ls.count++;
    follow_map(&ls.mem);
    follow_map(&ls.io);
    follow_a20(b);
    if (differs(on_a == on_b)) {
        report(on_a == on_b);
        return false;
    }
    ls.env[1]->flags = ls.env[0]->flags;            /* undefined ones too, or they would be found at the next PUSHF */
    if (ls.n_pages > KEEP_PAGES)
        forget_pages();
    if (!on_a || ls.count % BREATHE == 0)
        rest(a, !on_a);
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
    machine_unlock();
    return same ? RUN_STOPPED : RUN_ERROR;
}

/* ---- the pair as an engine ---- */

static void make_space(struct space *s, struct aspace *a, struct aspace *b)
{
    s->a = a;
    s->b = b;
    s->tap_a = (struct as_tap){ access_a, dirty_a, s };
    s->tap_b = (struct as_tap){ access_b, dirty_b, s };
    as_set_tap(a, &s->tap_a);
    as_set_tap(b, &s->tap_b);
    as_on_change(a, on_change, s);
}

/* The interpreter is made first: the back end keeps the stubs of the last one made, and only the translator uses them. */
static int init(struct vm *a)
{
    ls.b = vm_new(&tcg_engine, a->clock);
    a->cpu_spec = ls.b->cpu_spec = xasprintf("%s,-rdrand,-rdseed", a->cpu_spec ? a->cpu_spec : "max");        /* the same answer to both is none */
    ls.resync = true;
    make_space(&ls.mem, a->mem, ls.b->mem);
    make_space(&ls.io, a->io, ls.b->io);
    for (int interp = 1; interp >= 0; interp--) {
        bool leads = interp == ls.lead_interp;
        int ret = engine_tcg_init(leads ? a : ls.b, interp);
        if (ret)
            return ret;
        struct tcg *t = ls.tcg[!leads] = engine_tcg_last();
        t->max_insns = 1;
        ls.name[!leads] = interp ? "interp" : "tcg";
        const char *spoil = getenv("DUET_LOCKSTEP_SPOIL");           /* a wrong translation of the instruction there, for the test */
        if (spoil && !interp)
            t->spoil_pc = strtoull(spoil, NULL, 0);
    }
    return 0;
}

static int vcpu_init(struct vcpu *a)
{
    struct vcpu *b = xzalloc(sizeof(*b));
    int ret;

    *b = (struct vcpu){ .vm = ls.b, .id = a->id, .engine = a->engine };
    pthread_cond_init(&b->wake, NULL);
    if ((ret = engine_tcg_vcpu(ls.tcg[0], a)) || (ret = engine_tcg_vcpu(ls.tcg[1], b)))
        return ret;
    ls.env[0] = a->engine_data;
    ls.env[1] = b->engine_data;
    ls.b->vcpus[ls.b->n_vcpus++] = b;
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

const struct engine *lockstep_engine(const char *order)
{
    ls.lead_interp = !strcmp(order, "interp,tcg");
    return &engine;
}
