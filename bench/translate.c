/*
 * How fast guest code is translated: the text of a real program, block after block, through the real stages, nothing of it run. bench/translate builds
 * and calls it.
 * usage: translate TEXT KIND [once]
 *   TEXT: bytes of code (objcopy -O binary); KIND: user64, kernel64 or user32, what the code is taken for
 *   once: the whole, once and no more, for counting instructions (callgrind --toggle-collect=stage_whole)
 * Prints `blocks N insns N guest N host N`, then for each stage `STAGE NS`: nanoseconds a guest instruction, of the best of some rounds; each includes
 * those before it. `fresh` is `whole` in a cache that has never been used: as in a machine that boots.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include "core/vm.h"
#include "frontend-x86/frontend.h"
#include "frontend-x86/insn.h"
#include "frontend-x86/mmu_x86.h"
#include "frontend-x86/mode.h"
#include "tcg/tcg.h"
#include "x86/cpuid.h"

#define RAM_SIZE (32u << 20)
#define CODE_AT (4u << 20)                 /* where the text is in RAM; page tables are below */
#define ROUNDS 7

static struct tcg *t;
static struct tcg_env *env;
static struct vm vm;
static struct vcpu vcpu;
static struct region ram;
static struct x86_cpuid model;
static struct tb_key key;
static uint64_t code_va;
static size_t code_len;
static uint64_t *pcs;
static unsigned n_pcs;
static unsigned long insns, host_bytes;
static enum x86_mode decode_mode;

/* In place of libc's, for the cache's second mapping of the same memory (tcg/cache.c), which valgrind does not know: nothing is run here, so its addresses
   are enough. */
void *mremap(void *old, size_t size, size_t new_size, int flags, ...)
{
    return mmap(NULL, new_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void die(const char *what)
{
    fprintf(stderr, "translate: %s\n", what);
    exit(1);
}

/* All of RAM from code_va - CODE_AT on, in large pages. */
static void page_tables(bool user)
{
    uint64_t *p = (uint64_t *)ram.host, va = code_va - CODE_AT, bits = user ? 7 : 3;
    p[0x1000 / 8 + (va >> 39 & 511)] = 0x2000 | bits;
    p[0x2000 / 8 + (va >> 30 & 511)] = 0x3000 | bits;
    for (unsigned i = 0; i < RAM_SIZE >> 21; i++)
        p[0x3000 / 8 + (va >> 21 & 511) + i] = (uint64_t)i << 21 | 0x80 | bits;
}

static void cpu_state(bool user, bool wide)
{
    struct x86_cpu *c = tcg_cpu(env);
    x86_reset(c);
    for (unsigned i = 0; i < 6; i++)
        c->seg[i] = (struct x86_seg){ .limit = 0xffffffff, .attr = SEG_P | SEG_S | SEG_RW | SEG_A | SEG_G | SEG_DB | (user ? 3 << 13 : 0), .sel = user ? 0x2b : 0x18 };
    c->seg[X86_CS].attr = (c->seg[X86_CS].attr & ~(wide ? SEG_DB : 0)) | SEG_CODE | (wide ? SEG_L : 0);
    c->cpl = user ? 3 : 0;
    c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    c->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE;
    c->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    c->cr3 = 0x1000;
    c->xcr0 = x86_xcr0_valid(&model);
    c->rip = code_va;
    tcg_state_changed(env);
}

static void setup(const char *kind)
{
    bool user = strncmp(kind, "user", 4) == 0, wide = strstr(kind, "64");
    code_va = !wide ? 0x8048000 & ~0x1fffffull : user ? 0x555555400000ull : 0xffffffff81000000ull;
    decode_mode = wide ? X86_M64 : X86_M32;
    if (x86_cpuid_model(&model, "max,-la57,-pku") != 0)
        die("no such model");
    struct aspace *mem = as_new("mem", 46);
    if (as_add_ram(mem, &ram, "ram", 0, RAM_SIZE, REGION_RAM) != 0 || !(t = tcg_new(&x86_frontend, &x64_backend, mem, 256u << 20, false)))
        die("no memory");
    vm.mem = mem;
    vcpu.vm = &vm;
    vcpu.thread = pthread_self();
    env = tcg_env_new(t, &vcpu);
    struct x86_cpu *c = tcg_cpu(env);
    vcpu.cpu = c;
    c->vcpu = &vcpu;
    c->cpuid = &model;
    c->flags_word = &env->flags;
    env->mmu = mmu_new(c, &x86_mmu_ops, mem, NULL, &env->tlb, env->code_gen);
    tcg_watch_code(env);
    page_tables(user);
    cpu_state(user, wide);
    env->fe->get_key(c, &key);
}

static void load(const char *file)
{
    FILE *f = fopen(file, "rb");
    if (!f || !(code_len = fread(ram.host + CODE_AT, 1, RAM_SIZE - CODE_AT - (1u << 20), f)))
        die("cannot read the text");
    fclose(f);
    pcs = malloc(code_len * sizeof *pcs);
}

/* ---- the stages, each with those before it ---- */
static struct tb scratch;

__attribute__((noinline)) static void stage_decode(void)
{
    struct x86_insn i;
    for (uint64_t at = 0; at < code_len;) {
        x86_decode(&i, ram.host + CODE_AT + at, 15, decode_mode);
        at += i.len ? i.len : 1;
    }
}

static void generate(unsigned n)
{
    key.pc = pcs[n];
    env->fe->translate(tcg_cpu(env), env->mmu, &key, t->max_insns, t->ir);
}

__attribute__((noinline)) static void stage_generate(void)
{
    for (unsigned n = 0; n < n_pcs; n++)
        generate(n);
}

__attribute__((noinline)) static void stage_passes(void)
{
    for (unsigned n = 0; n < n_pcs; n++) {
        generate(n);
        ir_optimise(t->ir);
    }
}

__attribute__((noinline)) static void stage_emit(void)
{
    uint8_t *p = t->buf.p;
    size_t used = t->meta.used;
    for (unsigned n = 0; n < n_pcs; n++) {
        generate(n);
        ir_optimise(t->ir);
        memset(&scratch, 0, sizeof scratch);
        scratch.key = key;
        if (t->be->emit(t, t->ir, &scratch) < 0)
            die("a block is too large");
        t->buf.p = p;
        t->meta.used = used;
    }
}

__attribute__((noinline)) static void stage_whole(void)
{
    bool first = !n_pcs;
    for (uint64_t at = 0; at < code_len;) {
        key.pc = code_va + at;
        struct tb *tb = tcg_translate(env, &key, t->max_insns);
        if (first) {
            pcs[n_pcs++] = key.pc;
            insns += tb->n_guest;
            host_bytes += tb->code_size;
        }
        at += tb->len;
    }
}

static const struct { const char *name; void (*run)(void); } stages[] = {
    { "decode", stage_decode }, { "generate", stage_generate }, { "passes", stage_passes }, { "emit", stage_emit }, { "whole", stage_whole },
};

static double seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static double timed(void (*run)(void))
{
    double start = seconds();
    run();
    return (seconds() - start) * 1e9 / (double)insns;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        die("usage: translate TEXT KIND [once]");
    setup(argv[2]);
    load(argv[1]);
    double start = seconds();
    stage_whole();
    double fresh = (seconds() - start) * 1e9 / (double)insns;
    printf("blocks %u insns %lu guest %zu host %lu\n", n_pcs, insns, code_len, host_bytes);
    for (unsigned i = 0; i < ARRAY_SIZE(stages) && argc == 3; i++) {
        double best = 1e9;
        for (unsigned r = 0; r < ROUNDS; r++) {
            tcg_cache_flush(t);
            double ns = timed(stages[i].run);
            best = MIN(best, ns);
        }
        printf("%s %.1f\n", stages[i].name, best);
    }
    printf("fresh %.1f\n", fresh);
    return 0;
}
