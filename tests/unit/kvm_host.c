/*
 * The KVM engine on this host, where there is one: the probe's cost and verdict, slots that follow the address space, the dirty log, CPU state
 * there and back through the kernel, and the state of the kernel's interrupt controllers through our models.
 */
#include "tests/unit/test.h"
#include "x86/xstate.h"
#include "core/clock.h"
#include "core/notifier.h"
#include "core/vm.h"
#include "kvm/internal.h"
#include "vmm/kvm_chips.h"
#include "vmm/loop.h"
#include <cpuid.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct vm *vm;
static struct region ram, rom;
static struct kvm_models models;

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * (int64_t)NS_PER_SEC + ts.tv_nsec;
}

static bool no_kvm(void)
{
    struct kvm_probe p;
    kvm_probe(&p, false);
    return !p.usable;
}
#define NEED_KVM() do { if (no_kvm()) SKIP("no usable /dev/kvm"); } while (0)

/* The thread's time, in which the throw-away machine runs, too: what else runs on the host is not the probe's cost. */
static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* The best of many. SLOW is the factor for time limits, as in the other tests. */
TEST(probe_is_quick)
{
    const char *slow = getenv("SLOW");
    int64_t best = INT64_MAX, quickest = INT64_MAX, limit = 20 * 1000 * 1000ll * (slow ? atoi(slow) : 1);
    struct kvm_probe p;
    double load;

    NEED_KVM();
    for (int i = 0; i < 40 && (best >= limit || quickest >= limit); i++) {
        int64_t start = cpu_ns(), wall = now_ns();
        kvm_probe(&p, true);
        best = MIN(best, cpu_ns() - start);
        quickest = MIN(quickest, now_ns() - wall);
        CHECK(p.usable);
        CHECK(p.rate > 1000);
        CHECK(strlen(p.why) > 20);
    }
    printf("# probe %.1f ms of the processor, %.1f ms by the clock: %s\n", (double)best / 1e6, (double)quickest / 1e6, p.why);
    CHECK(best < limit);
    if (quickest >= limit && getloadavg(&load, 1) == 1 && load > (double)sysconf(_SC_NPROCESSORS_ONLN))
        SKIP("its processor time is within the limit; by the clock nothing can be said while the host is overloaded");
    CHECK(quickest < limit);
}

/* The tests' code ends at a port with a region: writes to nothing at 80h do not come out. */
static uint64_t ones(void *opaque, uint64_t offset, unsigned size) { return size_mask(size); }
static void ignore(void *opaque, uint64_t offset, uint64_t val, unsigned size) { }
static struct region post = { .kind = REGION_IO, .name = "post", .read = ones, .write = ignore };

/* One machine a process: RAM at 0, ROM below 1 MiB, all chips in the kernel. */
static void machine(void)
{
    if (vm)
        return;
    kvm_want_irqchip(KVM_CHIPS_ON);
    vm = vm_new(&kvm_engine, clock_new_manual());
    vm->loop = loop_new(vm->clock);
    CHECK_EQ(kvm_engine.init(vm), 0);
    machine_lock();
    as_add(vm->io, &post, 0x80, 1);
    CHECK_EQ(as_add_ram(vm->mem, &ram, "ram", 0, 8 << 20, REGION_RAM), 0);
    CHECK_EQ(as_add_ram(vm->mem, &rom, "rom", 0xf0000, 0x10000, REGION_ROM), 0);
    struct vcpu *v = calloc(1, sizeof(*v));
    v->vm = vm;
    v->engine = &kvm_engine;
    CHECK_EQ(kvm_engine.vcpu_init(v), 0);
    vm->vcpus[vm->n_vcpus++] = v;
    struct irq gsi[24];
    for (int i = 0; i < 24; i++)
        gsi[i] = kvm_models_gsi(&models, i);
    models = (struct kvm_models){ .vm = vm, .apics = apic_bus_new(vm, vm->mem) };
    models.pic = pic_new(vm, vm->io, kvm_models_intr(&models));
    models.ioapic = ioapic_new(vm, vm->mem, kvm_models_deliver, &models);
    lapic_new(vm, models.apics, v, NULL);
    models.hpet = hpet_new(vm, vm->mem, gsi);
    models.pit = pit_new(vm, vm->io, hpet_pit_irq(models.hpet));
    kvm_models_connect(&models);
    CHECK_EQ(kvm_models_load(), 0);
}

static void fill(uint8_t *p, size_t n, uint32_t seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
}

TEST(cpu_state_there_and_back)
{
    NEED_KVM();
    machine();
    struct kvm_cpu *k = vm->vcpus[0]->engine_data;
    struct x86_cpu *c = &k->cpu, want;
    x86_reset(c);
    for (int i = 0; i < 16; i++)
        c->regs[i] = 0x0123456789abcdefull * (unsigned)(i + 3);
    c->rip = 0x12345;
    x86_set_rflags(c, RF_CF | RF_DF | RF_OF | RF_ZF | RF_IF | 2);
    c->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP;
    c->cr2 = 0xdead000;
    c->cr3 = 0x5000;
    c->cr4 = CR4_PAE | CR4_OSFXSR | CR4_DE;
    for (int i = X86_ES; i <= X86_GS; i++)
        c->seg[i] = (struct x86_seg){ .base = 0x1000u * (unsigned)i, .limit = 0xfffff, .attr = SEG_P | SEG_S | SEG_RW | SEG_A | SEG_DB,
            .sel = (uint16_t)(8 * i + 8) };
    c->seg[X86_CS].attr |= SEG_CODE;
    c->gdt.base = 0x7000;
    c->gdt.limit = 0x77;
    c->idt.base = 0x8000;
    c->idt.limit = 0x7ff;
    c->dr[0] = 0x1111;
    c->dr[3] = 0x4444;
    c->star = 0x0023001000000000ull;
    c->lstar = 0xffffffff80001000ull;
    c->sfmask = 0x47700;
    c->sysenter_cs = 0x10;
    c->sysenter_esp = 0x88001000;                     /* AMD's processors keep 32 bits */
    c->kernel_gs_base = 0xffff888000002000ull;
    c->pat = 0x0007010600070106ull;
    fill(c->fpu + 32, 8 * 16, 5);                     /* the registers; 10 bytes of each 16 */
    for (int i = 0; i < 8; i++)
        memset(c->fpu + 32 + 16 * i + 10, 0, 6);
    fill(c->fpu + 160, 16 * 16, 6);
    uint64_t components = x86_xcr0_valid(&kvm_host.model), extended = components & (X86_XS_AVX | X86_XS_AVX512);
    memcpy(c->fpu + 512, &components, 8);
    c->xcr0 = components;
    for (unsigned n = 2; n < X86_XCOMPS_FPU; n++)
        if (extended >> n & 1)
            fill(c->fpu + x86_xcomp[n].offset, x86_xcomp[n].size, n);
    c->exc_pending = true;
    c->exc_vector = 13;
    c->exc_has_error = true;
    c->exc_error = 0x18;
    want = *c;
    uint32_t flags = k->flags;
    CHECK_EQ(kvm_state_put(k), 0);
    memset(c->regs, 0x55, sizeof(c->regs));
    memset(c->seg, 0x55, sizeof(c->seg));
    memset(c->fpu, 0x55, sizeof(c->fpu));
    c->rip = c->cr0 = c->cr2 = c->cr3 = c->cr4 = c->efer = c->lstar = c->star = c->pat = c->gdt.base = c->idt.limit = c->dr[0] = c->dr[3] = ~0ull;
    c->sfmask = c->sysenter_cs = c->sysenter_esp = c->kernel_gs_base = ~0ull;
    c->exc_pending = false;
    c->exc_vector = c->exc_error = 0;
    k->flags = 0;
    c->df = 1;
    c->rflags = 0;
    c->xcr0 = 0;
    CHECK_EQ(kvm_state_get(k), 0);
    CHECK(!memcmp(c->regs, want.regs, sizeof(c->regs)));
    CHECK(!memcmp(c->seg, want.seg, sizeof(c->seg)));
    CHECK(!memcmp(c->fpu + 32, want.fpu + 32, 8 * 16 + 16 * 16));
    for (unsigned n = 2; n < X86_XCOMPS_FPU; n++)
        CHECK(!(extended >> n & 1) || !memcmp(c->fpu + x86_xcomp[n].offset, want.fpu + x86_xcomp[n].offset, x86_xcomp[n].size));
    printf("# components %llx\n", (unsigned long long)components);
    CHECK_EQ(k->flags, flags);
#define SAME(f) CHECK_EQ(c->f, want.f)
    SAME(rip); SAME(cr0); SAME(cr2); SAME(cr3); SAME(cr4); SAME(efer); SAME(xcr0); SAME(df); SAME(rflags); SAME(gdt.base); SAME(gdt.limit);
    SAME(idt.base); SAME(idt.limit); SAME(dr[0]); SAME(dr[3]); SAME(star); SAME(lstar); SAME(sfmask); SAME(sysenter_cs); SAME(sysenter_esp);
    SAME(kernel_gs_base); SAME(pat); SAME(exc_pending); SAME(exc_vector); SAME(exc_has_error); SAME(exc_error); SAME(cpl);
#undef SAME
}

/* Every saved byte of a chip, through the kernel. Values are such as the kernel takes. */
static void through_the_kernel(struct device *d)
{
    size_t n = state_size(d->rows);
    uint8_t *before = malloc(n), *after = malloc(n);

    state_save(d->rows, d, before);
    d->post_load(d);
    d->pre_save(d);
    state_save(d->rows, d, after);
    for (size_t i = 0; i < n; i++)
        CHECK_EQ(after[i], before[i]);
    free(before);
    free(after);
}

TEST(pic_state)
{
    NEED_KVM();
    machine();
    struct pic_chip *c = models.pic->chip;
    for (int i = 0; i < 2; i++) {
        c[i] = (struct pic_chip){ .irr = i ? 0x10 : 0x04, .isr = 0x20, .imr = 0xa5, .line = 0x10, .base = (uint8_t)(0x30 + 8 * i), .prio = 3,
            .elcr = i ? 0x0c : 0x20, .icw1 = 1, .icw4 = 2, .init_step = 3, .read_isr = 1, .smm = 1, .rotate_aeoi = 1 };
    }
    struct pic_chip want[2] = { c[0], c[1] };
    CHECK_EQ(kvm_models_load(), 0);
    memset(c, 0, sizeof(want));
    c[0].line = want[0].line;
    c[1].line = want[1].line;
    models.pic->dev.pre_save(models.pic);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(c[i].irr & ~4, want[i].irr & ~4);
        CHECK_EQ(c[i].isr, want[i].isr);
        CHECK_EQ(c[i].imr, want[i].imr);
        CHECK_EQ(c[i].base, want[i].base);
        CHECK_EQ(c[i].prio, want[i].prio);
        CHECK_EQ(c[i].elcr, want[i].elcr);
        CHECK_EQ(c[i].icw4, want[i].icw4);
        CHECK_EQ(c[i].init_step, want[i].init_step);
        CHECK_EQ(c[i].read_isr, want[i].read_isr);
        CHECK_EQ(c[i].smm, want[i].smm);
        CHECK_EQ(c[i].rotate_aeoi, want[i].rotate_aeoi);
    }
    models.pic->dev.reset(models.pic);
}

TEST(ioapic_state)
{
    NEED_KVM();
    machine();
    models.ioapic->redir[4] = 0x0100000000008931ull | BIT(16);
    models.ioapic->redir[23] = 0x0300000000000042ull | BIT(16);
    models.ioapic->index = 0x18;
    models.ioapic->id = 2;
    through_the_kernel(&models.ioapic->dev);
    models.ioapic->dev.reset(models.ioapic);
}

TEST(lapic_state)
{
    NEED_KVM();
    machine();
    struct lapic *l = models.apics->apics[0], want;
    l->svr = 0x1ff;
    l->tpr = 0x20;
    l->ldr = 0x01000000;
    l->isr[2] = 0x20000;
    l->tmr[2] = 0x20000;
    l->irr[3] = 0x100;
    l->lvt[LVT_TIMER] = 0x10051;
    l->lvt[LVT_LINT1] = 0x400;
    l->lvt[LVT_ERROR] = 0xfe;
    l->divide = 0xb;
    l->icr_hi = 0x01000000;
    l->icr_lo = 0x40f1;
    want = *l;
    CHECK_EQ(kvm_models_load(), 0);
    l->svr = l->tpr = l->ldr = l->isr[2] = l->tmr[2] = l->irr[3] = l->lvt[LVT_TIMER] = l->lvt[LVT_ERROR] = l->divide = l->icr_hi = l->icr_lo = 0;
    l->dev.pre_save(l);
#define SAME(f) CHECK_EQ(l->f, want.f)
    SAME(svr); SAME(tpr); SAME(ldr); SAME(isr[2]); SAME(tmr[2]); SAME(irr[3]); SAME(lvt[LVT_TIMER]); SAME(lvt[LVT_LINT1]); SAME(lvt[LVT_ERROR]);
    SAME(divide); SAME(icr_hi); SAME(icr_lo); SAME(id); SAME(base);
#undef SAME
    l->dev.reset(l);
    CHECK_EQ(kvm_models_load(), 0);
}

TEST(pit_state)
{
    NEED_KVM();
    machine();
    struct pit_channel *c = models.pit->ch;
    c[0] = (struct pit_channel){ .count = 11932, .reload = 11932, .mode = 2, .rw = 3, .gate = 1, .loaded = 1, .read_hi = 1,
        .latch = 0x1234, .latched = 1 };
    c[2] = (struct pit_channel){ .count = 65536, .mode = 3, .rw = 1, .gate = 0, .loaded = 1 };
    CHECK_EQ(kvm_models_load(), 0);
    memset(c, 0, 3 * sizeof(*c));
    models.pit->dev.pre_save(models.pit);
    CHECK_EQ(c[0].count, 11932);
    CHECK_EQ(c[0].mode, 2);
    CHECK_EQ(c[0].rw, 3);
    CHECK_EQ(c[0].gate, 1);
    CHECK_EQ(c[0].loaded, 1);
    CHECK_EQ(c[0].read_hi, 1);
    CHECK_EQ(c[0].latched, 1);
    CHECK_EQ(c[0].latch, 0x1234);
    CHECK_EQ(c[1].loaded, 0);
    CHECK_EQ(c[2].count, 65536);
    CHECK_EQ(c[2].rw, 1);
    CHECK_EQ(c[2].gate, 0);
    models.pit->dev.reset(models.pit);
    CHECK_EQ(kvm_models_load(), 0);
}

/* Timers that run in the kernel are found as far as they have come, and one that has run down does not do it again. The machine's clock stands. */
TEST(timers_in_flight)
{
    NEED_KVM();
    machine();
    struct lapic *l = models.apics->apics[0];
    struct pit_channel *c = models.pit->ch;
    int64_t ms = 1000000, now = clock_ns(vm->clock);
    l->svr = 0x1ff;
    l->lvt[LVT_TIMER] = 0x51;
    l->divide = 0xb;
    l->initial_count = 50000000;
    l->timer_start = now;
    c[0] = (struct pit_channel){ .count = 65536, .mode = 2, .rw = 3, .gate = 1, .loaded = 1, .start = now };
    int64_t loaded = now_ns();
    CHECK_EQ(kvm_models_load(), 0);
    usleep(10000);
    models.pit->dev.pre_save(models.pit);
    CHECK(now - c[0].start > 9 * ms);
    CHECK(now - c[0].start < now_ns() - loaded + ms);
    CHECK_EQ(c[0].mode, 2);
    CHECK_EQ(kvm_models_load(), 0);
    usleep(10000);
    l->dev.pre_save(l);
    CHECK(now - l->timer_start > 9 * ms || l->timer_fired);
    CHECK(now - l->timer_start < now_ns() - loaded + ms || l->timer_fired);
    while (now_ns() - loaded < 100 * ms)
        usleep(1000);
    l->dev.pre_save(l);
    CHECK_EQ(l->timer_fired, 1);
    CHECK_EQ(l->irr[2], 1u << 17);
    l->irr[2] = 0;
    CHECK_EQ(kvm_models_load(), 0);
    usleep(2000);
    l->dev.pre_save(l);
    CHECK_EQ(l->irr[2], 0);
    CHECK_EQ(l->initial_count, 50000000);
    l->dev.reset(l);
    models.pit->dev.reset(models.pit);
    CHECK_EQ(kvm_models_load(), 0);
}

/* ---- memory ---- */

static uint64_t dirty_pages, dirty_wanted;
static void dirty(void *opaque, gpa_t addr)
{
    dirty_pages++;
    dirty_wanted += addr == 0x20000 || addr == 0x21000 || addr == 0x22000;
}

/* Real-mode code at 1000h that writes one byte in each of the pages 20h..22h, then halts for good by a jump to itself. */
TEST(dirty_log)
{
    static const uint8_t code[] = { 0xb8, 0x00, 0x20, 0x8e, 0xd8,             /* mov $0x2000, %ax; mov %ax, %ds */
                                    0xc6, 0x06, 0x00, 0x00, 0x01,             /* movb $1, 0 */
                                    0xc6, 0x06, 0x00, 0x10, 0x01,             /* movb $1, 0x1000 */
                                    0xc6, 0x06, 0x00, 0x20, 0x01,             /* movb $1, 0x2000 */
                                    0xe6, 0x80, 0xeb, 0xfe };                 /* out %al, $0x80; jmp . */
    NEED_KVM();
    machine();
    struct kvm_cpu *k = vm->vcpus[0]->engine_data;
    memcpy(ram.host + 0x1000, code, sizeof(code));
    x86_reset(&k->cpu);
    k->cpu.seg[X86_CS].sel = 0;
    k->cpu.seg[X86_CS].base = 0;
    k->cpu.rip = 0x1000;
    CHECK_EQ(kvm_memory_begin(), 0);
    CHECK_EQ(kvm_state_put(k), 0);
    CHECK_EQ(kvm_dirty_start(), 0);
    CHECK_EQ(kvm_dirty_collect(dirty, NULL), 0);
    dirty_pages = dirty_wanted = 0;
    for (int i = 0; i < 100 && ram.host[0x22000] != 1; i++)
        kvm_try(k->fd, KVM_RUN, 0);
    CHECK_EQ(ram.host[0x20000] + ram.host[0x21000] + ram.host[0x22000], 3);
    CHECK_EQ(kvm_dirty_collect(dirty, NULL), 0);
    CHECK_EQ(dirty_wanted, 3);
    CHECK(dirty_pages <= 4);                          /* the page of the code is made writable on its first fetch */
    dirty_pages = 0;
    CHECK_EQ(kvm_dirty_collect(dirty, NULL), 0);
    CHECK_EQ(dirty_pages, 0);
    CHECK_EQ(kvm_dirty_stop(), 0);
}

/* ---- doorbells ---- */

static void ring(void *opaque, unsigned n) { }
static uint64_t nothing(void *opaque, uint64_t offset, unsigned size) { return 0; }

static uint64_t mmio_at;

/* Runs real-mode code at 1000h until it leaves; the port of the exit, or -1 (and mmio_at). */
static int run_to_port(const uint8_t *code, size_t len)
{
    struct kvm_cpu *k = vm->vcpus[0]->engine_data;

    memcpy(ram.host + 0x1000, code, len);
    x86_reset(&k->cpu);
    k->cpu.seg[X86_CS].sel = 0;
    k->cpu.seg[X86_CS].base = 0;
    k->cpu.rip = 0x1000;
    CHECK_EQ(kvm_memory_begin(), 0);
    CHECK_EQ(kvm_state_put(k), 0);
    kvm_try(k->fd, KVM_RUN, 0);
    int port = k->run->exit_reason == KVM_EXIT_IO ? k->run->io.port : -1;
    mmio_at = k->run->exit_reason == KVM_EXIT_MMIO ? k->run->mmio.phys_addr : 0;
    k->run->immediate_exit = 1;                   /* finish the instruction, so that the next state is not disturbed */
    kvm_try(k->fd, KVM_RUN, 0);
    k->run->immediate_exit = 0;
    return port;
}

static int rings(const struct doorbell *b)
{
    uint64_t n = 0;
    return b->fd > 0 && read(b->fd, &n, sizeof(n)) == sizeof(n) ? (int)n : 0;
}

/* Port 600h rings for the value 3 only; the region then moves to 700h, and the old place is an ordinary port again. */
TEST(doorbells_follow_their_region)
{
    static uint8_t code[] = { 0xba, 0x00, 0x06, 0xb8, 0x03, 0x00, 0xef,      /* mov $0x600, %dx; mov $3, %ax; out %ax, %dx */
                              0xb0, 0x01, 0xe6, 0x80 };                      /* mov $1, %al; out %al, $0x80 */
    static struct doorbell bell = { .offset = 0, .size = 2, .match = true, .value = 3, .ring = ring };
    static struct region r = { .kind = REGION_IO, .name = "bell", .read = nothing, .write = ignore, .doorbells = &bell };

    NEED_KVM();
    machine();
    as_add(vm->io, &r, 0x600, 4);
    CHECK_EQ(run_to_port(code, sizeof(code)), 0x80);
    CHECK_EQ(rings(&bell), 1);
    code[4] = 4;
    CHECK_EQ(run_to_port(code, sizeof(code)), 0x600);
    code[4] = 3;
    as_move(vm->io, &r, 0x700);
    CHECK_EQ(run_to_port(code, sizeof(code)), 0x600);
    CHECK_EQ(rings(&bell), 0);
    code[2] = 7;
    CHECK_EQ(run_to_port(code, sizeof(code)), 0x80);
    CHECK_EQ(rings(&bell), 1);
    as_remove(vm->io, &r);
    CHECK_EQ(run_to_port(code, sizeof(code)), 0x700);
    CHECK_EQ(rings(&bell), 0);
}

/* Only while nothing is at the port; none lost, and a wider write comes out. */
TEST(post_codes_do_not_come_out)
{
    static uint8_t code[] = { 0xb9, 0x2c, 0x01, 0xe6, 0x80, 0xe2, 0xfc,      /* mov $300, %cx; 1: out %al, $0x80; loop 1b */
                              0xe6, 0x81 };                                  /* out %al, $0x81 */
    static uint8_t wide[] = { 0xe7, 0x80 };                                  /* out %ax, $0x80 */

    NEED_KVM();
    machine();
    struct kvm_cpu *k = vm->vcpus[0]->engine_data;
    if (kvm_try(kvm_host.dev, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO) <= 0)
        SKIP("this KVM does not collect writes to ports");
    uint64_t before = k->vcpu->n.kvm_posted;
    CHECK_EQ(run_to_port(code, sizeof(code)), 0x80);
    kvm_posted_drain(k);
    CHECK_EQ(k->vcpu->n.kvm_posted, before);
    as_remove(vm->io, &post);
    unsigned full = run_to_port(code, sizeof(code)) == 0x80;   /* the ring has no more room */
    CHECK_EQ(full, 1);
    while (kvm_posted_drain(k), kvm_try(k->fd, KVM_RUN, 0) == 0 && k->run->io.port == 0x80 && full < 10)
        full++;
    CHECK_EQ(k->run->io.port, 0x81);
    kvm_posted_drain(k);
    CHECK_EQ(k->vcpu->n.kvm_posted + full, before + 300);
    CHECK_EQ(run_to_port(wide, sizeof(wide)), 0x80);
    as_add(vm->io, &post, 0x80, 1);
    CHECK_EQ(run_to_port(code, sizeof(code)), 0x80);
}

/* A slot comes, moves, and goes with its region; what is no slot leaves to the engine. */
TEST(slots_follow_the_map)
{
    static struct region window;
    /* mov $0xd000, %ax; mov %ax, %ds; mov 0, %al; out %al, $0x80 */
    static uint8_t code[] = { 0xb8, 0x00, 0xd0, 0x8e, 0xd8, 0xa0, 0x00, 0x00, 0xe6, 0x80 };
    struct kvm_cpu *k;

    NEED_KVM();
    machine();
    k = vm->vcpus[0]->engine_data;
    ram.host[0xd0000] = 0x11;
    ram.host[0x300000] = 0x22;
    CHECK_EQ(run_to_port(code, sizeof(code)), 0x80);
    CHECK_EQ(*((uint8_t *)k->run + k->run->io.data_offset), 0x11);
    as_add_alias(vm->mem, &window, "window", &ram, 0x300000, 0xd0000, 0x4000);
    CHECK_EQ(run_to_port(code, sizeof(code)), 0x80);
    CHECK_EQ(*((uint8_t *)k->run + k->run->io.data_offset), 0x22);
    as_move(vm->mem, &window, 0xd4000);
    CHECK_EQ(run_to_port(code, sizeof(code)), 0x80);
    CHECK_EQ(*((uint8_t *)k->run + k->run->io.data_offset), 0x11);
    as_remove(vm->mem, &window);
    window = (struct region){ .kind = REGION_IO, .name = "io", .read = nothing, .write = ignore };
    as_add(vm->mem, &window, 0xd0000, 0x1000);
    CHECK_EQ(run_to_port(code, sizeof(code)), -1);
    CHECK_EQ(mmio_at, 0xd0000);
    as_remove(vm->mem, &window);
}

/* ---- messages ---- */

static bool requested(unsigned vector)
{
    struct lapic *l = models.apics->apics[0];
    l->dev.pre_save(l);
    return l->irr[vector >> 5] >> (vector & 31) & 1;
}

/* A message that comes again goes by the kernel's event, and arrives; asking for the state takes the event back, and the next message makes a new one. */
TEST(messages_by_irqfd)
{
    struct notifier n = { 0 };
    struct lapic *l;

    NEED_KVM();
    machine();
    l = models.apics->apics[0];
    l->svr = 0x1ff;
    CHECK_EQ(kvm_models_load(), 0);
    CHECK(!notifier_send(vm, &n, 0xfee00000, 0x61));
    CHECK(!requested(0x61));
    if (!notifier_send(vm, &n, 0xfee00000, 0x61))
        SKIP("this KVM has no irqfd");
    CHECK(n.fd > 0);
    CHECK(requested(0x61));
    CHECK_EQ(n.fd, 0);
    CHECK(!notifier_send(vm, &n, 0xfee00000, 0x62));
    CHECK(!requested(0x62));
    CHECK(notifier_send(vm, &n, 0xfee00000, 0x62));
    struct notifier others[2] = { 0 };
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQ(notifier_send(vm, &others[i & 1], 0xfee00000, 0x70 + (i & 1)), i > 1);
    CHECK(n.route != others[0].route && n.route != others[1].route && others[0].route != others[1].route);
    CHECK(requested(0x62) && requested(0x70) && requested(0x71));
    CHECK_EQ(vm->n.message_events, 4);
    notifier_release(vm, &n);
    l->dev.reset(l);
    CHECK_EQ(kvm_models_load(), 0);
}

/* ---- single steps and breakpoints ---- */

static int hits;
static void hit(void *opaque, struct vcpu *v) { hits++; vcpu_set_pending(v, VCPU_EXIT); }

static const uint8_t stepped_code[] = { 0xb8, 0x34, 0x12,       /* 1000: mov $0x1234, %ax */
                                        0x40,                   /* 1003: inc %ax */
                                        0xe6, 0x80,             /* 1004: out %al, $0x80 */
                                        0xe4, 0x80,             /* 1006: in $0x80, %al */
                                        0x90, 0xeb, 0xfd };     /* 1008: nop; jmp 1008 */

static struct kvm_cpu *at_stepped_code(void)
{
    struct kvm_cpu *k = vm->vcpus[0]->engine_data;

    memcpy(ram.host + 0x1000, stepped_code, sizeof(stepped_code));
    x86_reset(&k->cpu);
    k->cpu.seg[X86_CS].sel = 0;
    k->cpu.seg[X86_CS].base = 0;
    k->cpu.rip = 0x1000;
    k->push = true;
    return k;
}

TEST(single_steps)
{
    static const uint64_t rips[] = { 0x1003, 0x1004, 0x1006, 0x1008, 0x1009, 0x1008 };

    NEED_KVM();
    machine();
    struct kvm_cpu *k = at_stepped_code();
    for (unsigned i = 0; i < ARRAY_SIZE(rips); i++) {
        CHECK_EQ(kvm_step(k->vcpu, true), 0);
        CHECK_EQ(k->cpu.rip, rips[i]);
    }
    CHECK_EQ(k->cpu.regs[X86_RAX], 0x12ff);
    CHECK(!(k->cpu.rflags & RF_TF));
}

static bool under_qemus_translator(void)
{
    uint32_t a, b, c, d;
    __cpuid(0x40000000, a, b, c, d);
    return b == 0x54474354;                           /* TCGT */
}

TEST(breakpoints)
{
    uint64_t at = 0x1006;

    NEED_KVM();
    if (under_qemus_translator())
        SKIP("QEMU's translator does not arm the breakpoints of a guest that it emulates SVM for");
    machine();
    struct kvm_cpu *k = at_stepped_code();
    CHECK_EQ(kvm_breakpoints(k->vcpu, &at, 1, hit, NULL), 0);
    k->vcpu->thread = pthread_self();
    CHECK_EQ(kvm_engine.vcpu_run(k->vcpu), RUN_STOPPED);
    CHECK_EQ(hits, 1);
    CHECK_EQ(k->cpu.rip, 0x1006);
    CHECK_EQ(k->cpu.regs[X86_RAX], 0x1235);
    CHECK_EQ(k->cpu.dr[0], 0);
    CHECK_EQ(kvm_breakpoints(k->vcpu, NULL, 0, NULL, NULL), 0);
    vcpu_clear_pending(k->vcpu, VCPU_EXIT);
}
