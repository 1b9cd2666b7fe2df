/*
 * One straight run of guest code from a given user state, done three ways, and the outcomes compared: natively in this process, by the
 * interpreter, by the translator. A case is code bytes at a virtual address, and a state (registers, flags, FPU image, data pages).
 *
 * Native: UD2 in exec_native enters the SIGILL handler, which writes the state into the signal frame; sigreturn loads all of it, FPU too. Any trap comes
 * back to the handler, which takes the outcome from the frame and puts the frame of the UD2 back. Guests: two machines, long mode at CPL 3, page
 * tables that show the same addresses; the frontend's deliver is replaced: an exception is the outcome. Code ends in INT3.
 * The data window and code window lie at fixed addresses below 4 GiB that the process keeps free; around the data there is nothing,
 * or before it a page that can only be read (exec_read_only).
 */
#ifndef TESTS_UNIT_EXEC_FRAME_H
#define TESTS_UNIT_EXEC_FRAME_H
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include "core/vm.h"
#include "frontend-x86/frontend.h"
#include "frontend-x86/mmu_x86.h"
#include "frontend-x86/rows.h"
#include "tcg/tcg.h"
#include "tests/unit/test.h"
#include "x86/cpuid.h"
#include "x86/xstate.h"

#define DATA 0x20000000ull
#define DATA_SIZE 0x4000u
#define CODE 0x30000000ull
#define CODE_SIZE 0x40000u
#define GS_BASE (DATA + 0x1000)
#define RAM_SIZE 0x200000u
#define GPA_DATA 0x10000u
#define GPA_CODE 0x100000u
#define FPU_SIZE X86_XSAVE_SIZE

/* The address sanitizer does not know the stack on which translated code calls helpers: under it the interpreter stands for both. */
#ifdef __SANITIZE_ADDRESS__
static const bool exec_no_tcg = true;
#else
static const bool exec_no_tcg = false;
#endif

struct state {
    uint64_t r[16], rip, flags;
    uint8_t fpu[FPU_SIZE] __attribute__((aligned(64)));      /* XSAVE standard format; exec_fpu_size bytes of exec_components are used */
    uint8_t mem[DATA_SIZE];
    unsigned vector, error;
    uint64_t cr2;
};

static uint64_t exec_components = X86_XS_BASE;       /* with AVX-512's where the host has it */
static unsigned exec_fpu_size = 832;
static enum x86_mode exec_mode = X86_M64;            /* others: compatibility mode */
static bool exec_seg;                                /* segments of the LDT: data at DATA with a limit, code at CODE; always so for M16 */
static uint64_t exec_cs_base, exec_ds_base;          /* what st.rip and data addresses, which are linear, have more than registers */
static bool exec_legacy;                             /* ... but legacy protected mode with PAE paging: for exec_set_mode */
static bool exec_read_only;                          /* before exec_setup: the page before the data can be read */
static bool exec_hot;                                /* the translator shall take the blocks for hot ones */
static bool exec_trial;                              /* ... and not know yet how their accesses are best checked */

static void exec_learned(struct tcg *t, enum tcg_learned what, uint64_t pc, bool is)
{
    t->learned[what][tcg_pc_slot(pc)] = is ? pc : 0;
}

static uint64_t exec_random;                         /* the translator's stress switch: it begins with this (0: off) */
static uint64_t exec_tlb_only[16];                   /* a bit a code byte: the translator shall use the TLB for the access of the instruction there */
#define USER_CS32 0x23
#define USER_DS 0x2b
enum { LDT_CODE16 = 0x07, LDT_CODE32 = 0x0f, LDT_DATA16 = 0x17, LDT_DATA32 = 0x1f };
static uint16_t exec_cs_sel(void) { return !exec_seg ? USER_CS32 : exec_mode == X86_M16 ? LDT_CODE16 : LDT_CODE32; }
static uint16_t exec_ds_sel(void) { return !exec_seg ? USER_DS : exec_mode == X86_M16 ? LDT_DATA16 : LDT_DATA32; }

static const int exec_greg[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13,
                                   REG_R14, REG_R15 };
static const char *const exec_reg_name[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };

/* ---- natively ---- */
enum { SIGS = 5 };
static const int exec_sig[SIGS] = { SIGILL, SIGTRAP, SIGFPE, SIGSEGV, SIGBUS };
static struct sigaction exec_old[SIGS];
static struct state *exec_out;                       /* not NULL: a native run is under way */
static const struct state *exec_in;
static greg_t exec_gregs[NGREG];
static uint8_t exec_fp[FPU_SIZE];
extern char exec_launch[];
static void (*exec_crash)(int sig);                  /* shows the case when a run crashes the process */

static void exec_load_frame(ucontext_t *uc)
{
    uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
    memcpy(exec_gregs, uc->uc_mcontext.gregs, sizeof exec_gregs);
    memcpy(exec_fp, fp, exec_fpu_size);
    for (unsigned i = 0; i < 16; i++)
        uc->uc_mcontext.gregs[exec_greg[i]] = (greg_t)exec_in->r[i];
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(exec_in->rip - exec_cs_base);
    uc->uc_mcontext.gregs[REG_EFL] = (greg_t)exec_in->flags;
    if (exec_mode != X86_M64)
        uc->uc_mcontext.gregs[REG_CSGSFS] = (greg_t)exec_cs_sel() | (greg_t)((uint64_t)exec_ds_sel() << 48);
    memcpy(fp, exec_in->fpu, 416);
    memcpy(fp + 576, exec_in->fpu + 576, exec_fpu_size - 576);
    *(uint64_t *)(fp + 512) |= exec_components;
}

/* Components that the image says are in their initial state. */
static void exec_fill_initial(uint8_t *f)
{
    uint64_t bv = *(uint64_t *)(f + 512);
    if (!(bv & 1)) {
        memset(f, 0, 24);
        *(uint16_t *)f = 0x37f;
        memset(f + 32, 0, 128);
    }
    if (!(bv & 2))
        memset(f + 160, 0, 256);
    for (unsigned n = 2; n < X86_XCOMPS_FPU; n++)
        if (exec_components & ~bv & (1u << n))
            memset(f + x86_xcomp[n].offset, 0, x86_xcomp[n].size);
}

static void exec_take_frame(ucontext_t *uc)
{
    struct state *o = exec_out;
    greg_t *g = uc->uc_mcontext.gregs;
    for (unsigned i = 0; i < 16; i++)
        o->r[i] = (uint64_t)g[exec_greg[i]];
    o->vector = (unsigned)g[REG_TRAPNO];
    o->rip = (uint64_t)g[REG_RIP] - (o->vector == X86_BP) + exec_cs_base;
    o->flags = (uint64_t)g[REG_EFL];
    o->error = o->vector == X86_PF || o->vector == X86_GP || o->vector == X86_SSF || o->vector == X86_AC ? (unsigned)g[REG_ERR] : 0;
    o->cr2 = o->vector == X86_PF ? (uint64_t)g[REG_CR2] : 0;
    memset(o->fpu, 0, sizeof o->fpu);
    memcpy(o->fpu, uc->uc_mcontext.fpregs, exec_fpu_size);
    exec_fill_initial(o->fpu);
    memcpy(g, exec_gregs, sizeof exec_gregs);
    memcpy(uc->uc_mcontext.fpregs, exec_fp, exec_fpu_size);
    g[REG_RIP] += 2;
    exec_out = NULL;
}

static void exec_handler(int sig, siginfo_t *si, void *ctx)
{
    ucontext_t *uc = ctx;
    if (exec_in) {
        exec_load_frame(uc);
        exec_in = NULL;
        return;
    }
    if (exec_out) {
        exec_take_frame(uc);
        return;
    }
    greg_t pc = uc->uc_mcontext.gregs[REG_RIP];
    for (unsigned i = 0; i < SIGS; i++)
        if (exec_sig[i] == sig && exec_old[i].sa_sigaction && exec_old[i].sa_flags & SA_SIGINFO)
            exec_old[i].sa_sigaction(sig, si, ctx);
    if (uc->uc_mcontext.gregs[REG_RIP] == pc && exec_crash) {
        printf("trap %lld at %llx address %llx\n", (long long)uc->uc_mcontext.gregs[REG_TRAPNO], (unsigned long long)pc, (unsigned long long)uc->uc_mcontext.gregs[REG_CR2]);
        exec_crash(sig);
    }
}

static __attribute__((noinline)) void exec_native(const struct state *in, struct state *out, const uint8_t *code, unsigned len)
{
    memcpy((void *)DATA, in->mem, DATA_SIZE);
    memcpy((void *)in->rip, code, len);
    exec_out = out;
    exec_in = in;
    __asm__ volatile("exec_launch: ud2" ::: "memory", "cc");
    memcpy(out->mem, (void *)DATA, DATA_SIZE);
}

static void exec_map(uint64_t at, size_t size, int prot)
{
    void *p = mmap((void *)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(p == (void *)at);
}

static bool exec_has_ldt;

static void exec_native_setup(void)
{
    static uint8_t alt[65536] __attribute__((aligned(64)));
    stack_t ss = { .ss_sp = alt, .ss_size = sizeof alt };
    exec_map(DATA, DATA_SIZE, PROT_READ | PROT_WRITE);
    if (exec_read_only) {
        exec_map(DATA - 4096, 4096, PROT_READ);
        CHECK_EQ(*(volatile uint8_t *)(DATA - 1), 0);            /* so that it is present */
    }
    exec_map(CODE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
    memset((void *)CODE, 0xcc, CODE_SIZE);
    CHECK_EQ(sigaltstack(&ss, NULL), 0);
    for (unsigned i = 0; i < SIGS; i++) {
        struct sigaction sa = { .sa_sigaction = exec_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
        sigaction(exec_sig[i], &sa, &exec_old[i]);
    }
    CHECK_EQ(syscall(SYS_arch_prctl, 0x1001, GS_BASE), 0);       /* ARCH_SET_GS */
    struct user_desc d[4] = { { .entry_number = 0, .base_addr = CODE, .limit = 0xffff, .contents = 2 }, { .entry_number = 1, .base_addr = CODE, .limit = 0xffff, .contents = 2, .seg_32bit = 1 },
                              { .entry_number = 2, .base_addr = DATA, .limit = DATA_SIZE - 1, .useable = 1 }, { .entry_number = 3, .base_addr = DATA, .limit = DATA_SIZE - 1, .seg_32bit = 1, .useable = 1 } };
    for (unsigned i = 0; i < 4; i++)
        exec_has_ldt = syscall(SYS_modify_ldt, 0x11, &d[i], sizeof d[i]) == 0;
}

/* ---- as a guest ---- */
static const uint8_t exec_page[DATA_SIZE / 4096] = { 1, 2, 0, 3 };      /* the RAM page behind each data page: a run of two, then single ones */

static uint8_t *exec_data_page(uint8_t *ram, unsigned i) { return ram + GPA_DATA + exec_page[i] * 4096u; }

struct machine { struct tcg *t; struct tcg_env *env; struct x86_cpu *cpu; struct aspace *mem; struct region ram; struct vcpu vcpu; struct vm vm; };
static struct machine exec_interp, exec_tcg;
static struct x86_cpuid exec_model;
static struct tcg_frontend exec_fe;

static bool exec_deliver(void *opaque)
{
    struct x86_cpu *c = opaque;
    if (!c->exc_pending)
        return true;
    vcpu_set_pending(c->vcpu, VCPU_EXIT);
    return false;
}

static void exec_page_tables(struct machine *m)
{
    uint64_t *ram = (uint64_t *)m->ram.host;
    memset(m->ram.host + GPA_CODE, 0xcc, CODE_SIZE);
    ram[0x1000 / 8] = 0x2007;
    ram[0x2000 / 8] = 0x3007;
    ram[0x1800 / 8] = 0x3001;                        /* the table of exec_legacy */
    ram[0x3000 / 8 + (DATA >> 21)] = 0x4007;
    ram[0x3000 / 8 + (CODE >> 21)] = 0x5007;
    ram[0x3000 / 8 + (DATA >> 21) - 1] = 0x6007;
    ram[0x6000 / 8 + 511] = exec_read_only ? 0x7025 : 0;
    for (unsigned i = 0; i < DATA_SIZE / 4096; i++)
        ram[0x4000 / 8 + i] = (GPA_DATA + exec_page[i] * 4096u) | 0x67;
    for (unsigned i = 0; i < CODE_SIZE / 4096; i++)
        ram[0x5000 / 8 + i] = (GPA_CODE + i * 4096) | 0x67;
}

static void exec_cpu_state(struct x86_cpu *c)
{
    uint16_t gs, fs, ss, cs, ds, es;
    __asm__("mov %%gs, %0; mov %%fs, %1; mov %%ss, %2; mov %%cs, %3; mov %%ds, %4; mov %%es, %5" : "=r"(gs), "=r"(fs), "=r"(ss), "=r"(cs), "=r"(ds), "=r"(es));
    uint16_t sel[6] = { es, cs, ss, ds, fs, gs };
    for (unsigned i = 0; i < 6; i++)
        c->seg[i] = (struct x86_seg){ .limit = 0xffffffff, .attr = SEG_P | SEG_S | SEG_RW | SEG_A | SEG_G | SEG_DB | 3 << 13, .sel = sel[i] };
    c->seg[X86_CS].attr = SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_A | SEG_G | SEG_L | 3 << 13;
    c->seg[X86_GS].base = GS_BASE;
    c->cpl = 3;
    c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    c->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE;
    c->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    c->cr3 = 0x1000;
    c->xcr0 = exec_components;
}

/* A vCPU of that model for m->t and m->mem, as after a reset. */
static void exec_wire(struct machine *m, struct x86_cpuid *model)
{
    m->vm.mem = m->mem;
    m->vcpu.vm = &m->vm;
    m->vcpu.thread = pthread_self();
    m->env = tcg_env_new(m->t, &m->vcpu);
    m->cpu = tcg_cpu(m->env);
    m->vcpu.cpu = m->cpu;
    m->cpu->vcpu = &m->vcpu;
    m->cpu->cpuid = model;
    m->cpu->flags_word = &m->env->flags;
    m->env->mmu = mmu_new(m->cpu, &x86_mmu_ops, m->mem, NULL, &m->env->tlb, m->env->code_gen);
    tcg_watch_code(m->env);
    x86_reset(m->cpu);
}

static void exec_machine(struct machine *m, bool interp)
{
    m->mem = as_new("mem", 46);
    CHECK_EQ(as_add_ram(m->mem, &m->ram, "ram", 0, RAM_SIZE, REGION_RAM), 0);
    m->t = tcg_new(&exec_fe, &x64_backend, m->mem, 32 << 20, interp);
    CHECK(m->t != NULL);
    exec_wire(m, &exec_model);
    exec_page_tables(m);
    tcg_state_changed(m->env);
}

static void exec_set_mode(enum x86_mode mode, bool seg)
{
    struct machine *both[2] = { &exec_interp, &exec_tcg };
    exec_mode = mode;
    exec_seg = seg;
    exec_cs_base = seg ? CODE : 0;
    exec_ds_base = seg ? DATA : 0;
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"((unsigned)exec_ds_sel()));
    for (unsigned i = 0; i < 2; i++) {
        struct x86_cpu *c = both[i]->cpu;
        exec_cpu_state(c);
        if (mode != X86_M64) {
            c->seg[X86_CS].sel = exec_cs_sel();
            c->seg[X86_SS].sel = exec_ds_sel();
            c->seg[X86_CS].attr = (c->seg[X86_CS].attr & ~SEG_L) | SEG_DB;
        }
        if (mode != X86_M64 && exec_legacy) {
            c->efer &= ~(uint64_t)(EFER_LME | EFER_LMA);
            c->cr3 = 0x1800;
            CHECK_EQ(x86_load_pdptes(c, both[i]->mem, c->cr3), 0);
        }
        for (unsigned s = X86_ES; s <= X86_DS && seg; s++) {
            c->seg[s].base = s == X86_CS ? CODE : DATA;
            c->seg[s].limit = s == X86_CS ? 0xffff : DATA_SIZE - 1;
            c->seg[s].attr &= mode == X86_M16 ? ~(SEG_G | SEG_DB) : ~SEG_G;
        }
        tcg_state_changed(both[i]->env);
    }
}

static void exec_setup(void)
{
    if (exec_tcg.t)
        return;
    CHECK_EQ(x86_cpuid_model(&exec_model, "max,-la57,-pku"), 0);
    exec_components = x86_xcr0_valid(&exec_model);
    exec_fpu_size = x86_xsave_size(exec_components, false);
    exec_fe = x86_frontend;
    exec_fe.deliver = exec_deliver;
    exec_machine(&exec_interp, true);
    exec_machine(&exec_tcg, false);                  /* last: traps of translated code are looked up in the newest */
    exec_native_setup();
    exec_set_mode(X86_M64, false);
}

static __attribute__((destructor)) void exec_free(void)
{
    struct machine *both[2] = { &exec_interp, &exec_tcg };
    for (unsigned i = 0; i < 2 && both[i]->env; i++) {
        mmu_free(both[i]->env->mmu);
        tcg_env_free(both[i]->env);
        tcg_free(both[i]->t);
    }
}

static void exec_guest(struct machine *m, const struct state *in, struct state *out, const uint8_t *code, unsigned len)
{
    struct x86_cpu *c = m->cpu;
    for (unsigned i = 0; i < DATA_SIZE / 4096; i++)
        memcpy(exec_data_page(m->ram.host, i), in->mem + i * 4096, 4096);
    as_dma_write(m->mem, GPA_CODE + (in->rip - CODE), code, len);
    memcpy(c->regs, in->r, sizeof in->r);
    c->rip = in->rip - exec_cs_base;
    x86_set_rflags(c, in->flags);
    memcpy(c->fpu, in->fpu, FPU_SIZE);
    *(uint64_t *)(c->fpu + 512) = exec_components;
    c->exc_pending = false;
    c->exc_delivering = 0xff;
    c->exc_cr2 = 0;
    m->env->need_deliver = false;
    vcpu_clear_pending(&m->vcpu, VCPU_EXIT);
    for (unsigned i = 0; i < len; i++) {
        exec_learned(m->t, LEARNED_HOT, in->rip + i, exec_hot);
        exec_learned(m->t, LEARNED_TRIED, in->rip + i, !exec_trial);
        exec_learned(m->t, LEARNED_TLB, in->rip + i, exec_tlb_only[i / 64] >> i % 64 & 1);
    }
    m->t->random = exec_random;
    tcg_run(m->env);
    m->t->random = 0;
    memcpy(out->r, c->regs, sizeof out->r);
    out->rip = c->rip + exec_cs_base;
    out->flags = x86_get_rflags(c);
    memcpy(out->fpu, c->fpu, FPU_SIZE);
    exec_fill_initial(out->fpu);
    for (unsigned i = 0; i < DATA_SIZE / 4096; i++)
        memcpy(out->mem + i * 4096, exec_data_page(m->ram.host, i), 4096);
    out->vector = c->exc_vector;
    out->error = c->exc_has_error ? c->exc_error : 0;
    out->cr2 = c->exc_vector == X86_PF ? c->exc_cr2 : 0;
}

/* ---- comparing ---- */
struct exec_mask { uint64_t flags; uint64_t skip_at; unsigned skip_len; };     /* flags to compare; data bytes not to compare */

static void exec_normal(struct state *s, const struct exec_mask *k)
{
    s->flags &= k->flags;
    if (s->vector == X86_PF && s->error & 16)        /* a jump to anywhere may find something that this process has there */
        s->error &= ~1u;
    for (unsigned i = 0; i < 16 && exec_mode != X86_M64; i++)
        s->r[i] = i < 8 ? (uint32_t)s->r[i] : 0;
    memset(s->fpu + 5, 0, 19);                       /* FOP FIP FDP and reserved */
    memset(s->fpu + 28, 0, 4);
    for (unsigned i = 0; i < 8; i++)
        memset(s->fpu + 32 + 16 * i + 10, 0, 6);
    memset(s->fpu + 416, 0, 160);
    if (k->skip_len && k->skip_at >= DATA && k->skip_at < DATA + DATA_SIZE)
        memset(s->mem + (k->skip_at - DATA), 0, k->skip_at + k->skip_len > DATA + DATA_SIZE ? DATA + DATA_SIZE - k->skip_at : k->skip_len);
}

static bool exec_same(const struct state *a, const struct state *b)
{
    return !memcmp(a->r, b->r, sizeof a->r) && a->rip == b->rip && a->flags == b->flags && !memcmp(a->fpu, b->fpu, FPU_SIZE) && a->vector == b->vector &&
           a->error == b->error && a->cr2 == b->cr2 && !memcmp(a->mem, b->mem, DATA_SIZE);
}

static void exec_show_bytes(const char *name, const uint8_t *in, const uint8_t *a, const uint8_t *b, const uint8_t *c, unsigned n)
{
    const uint8_t *v[4] = { in, a, b, c };
    static const char *const who[4] = { "in", "native", "interp", "tcg" };
    for (unsigned k = 0; k < 4; k++) {
        printf("    %-12s %-6s ", name, who[k]);
        for (unsigned i = n; i-- > 0;)
            printf("%02x%s", v[k][i], i % 8 ? "" : " ");
        printf("\n");
    }
}

static void exec_show_u64(const char *name, uint64_t in, uint64_t a, uint64_t b, uint64_t c)
{
    if (a != b || a != c)
        printf("    %-8s in %016llx native %016llx interp %016llx tcg %016llx\n", name, (unsigned long long)in, (unsigned long long)a, (unsigned long long)b, (unsigned long long)c);
}

/* The registers of AVX-512: opmasks, upper halves, registers from 16 on. */
static void exec_show_avx512(const struct state *in, const struct state *n, const struct state *i, const struct state *t)
{
    static const struct { const char *name; unsigned comp, size, count; } part[] = { { "k", 5, 8, 8 }, { "zmmh", 6, 32, 16 }, { "zmm16+", 7, 64, 16 } };
    char name[24];
    for (unsigned p = 0; p < ARRAY_SIZE(part); p++)
        for (unsigned k = 0; k < part[p].count && (exec_components >> part[p].comp & 1); k++) {
            unsigned at = x86_xcomp[part[p].comp].offset + k * part[p].size;
            snprintf(name, sizeof name, "%s%u", part[p].name, k);
            if (memcmp(n->fpu + at, i->fpu + at, part[p].size) || memcmp(n->fpu + at, t->fpu + at, part[p].size))
                exec_show_bytes(name, in->fpu + at, n->fpu + at, i->fpu + at, t->fpu + at, part[p].size);
        }
}

static void exec_show_fpu(const struct state *in, const struct state *n, const struct state *i, const struct state *t)
{
    static const struct { const char *name; unsigned at, size; } part[] = { { "fcw", 0, 2 }, { "fsw", 2, 2 }, { "ftw", 4, 1 }, { "mxcsr", 24, 4 } };
    char name[16];
    for (unsigned k = 0; k < ARRAY_SIZE(part) + 40; k++) {
        unsigned at = k < 8 ? 32 + 16 * k : k < 24 ? 160 + 16 * (k - 8) : k < 40 ? 576 + 16 * (k - 24) : part[k - 40].at;
        unsigned size = k < 8 ? 10 : k < 40 ? 16 : part[k - 40].size;
        if (!memcmp(n->fpu + at, i->fpu + at, size) && !memcmp(n->fpu + at, t->fpu + at, size))
            continue;
        snprintf(name, sizeof name, "%s%u", k < 8 ? "st" : k < 24 ? "xmm" : k < 40 ? "ymmh" : part[k - 40].name, k < 8 ? k : k < 24 ? k - 8 : k < 40 ? k - 24 : 0);
        exec_show_bytes(name, in->fpu + at, n->fpu + at, i->fpu + at, t->fpu + at, size);
    }
}

static void exec_show(const struct state *in, const struct state *n, const struct state *i, const struct state *t)
{
    for (unsigned k = 0; k < 16; k++)
        exec_show_u64(exec_reg_name[k], in->r[k], n->r[k], i->r[k], t->r[k]);
    exec_show_u64("rip", in->rip, n->rip, i->rip, t->rip);
    exec_show_u64("flags", in->flags, n->flags, i->flags, t->flags);
    exec_show_u64("vector", 0, n->vector, i->vector, t->vector);
    exec_show_u64("error", 0, n->error, i->error, t->error);
    exec_show_u64("cr2", 0, n->cr2, i->cr2, t->cr2);
    exec_show_fpu(in, n, i, t);
    exec_show_avx512(in, n, i, t);
    for (unsigned k = 0, shown = 0; k < DATA_SIZE && shown < 4; k += 8)
        if (memcmp(n->mem + k, i->mem + k, 8) || memcmp(n->mem + k, t->mem + k, 8)) {
            char name[20];
            snprintf(name, sizeof name, "m%llx", (unsigned long long)(DATA + k));
            exec_show_bytes(name, in->mem + k, n->mem + k, i->mem + k, t->mem + k, 8);
            shown++;
        }
}
#endif
