/*
 * Native records for the interpreter: each distinct encoding becomes a small thunk that loads the guest's FPU state and flags,
 * runs the one instruction with its GPR operands in r8 (reg), r9 (rm), r10 (vvvv) and memory at [rsi], and stores everything back.
 *     void thunk(env = rdi, mem = rsi, io = rdx, flags = rcx)
 * A trap of that instruction (floating-point exceptions) goes on at the thunk's tail, which saves the FPU state only. Each vCPU's thread has thunks of
 * its own, one place for each hash, in a memory of their own that is mapped twice.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backend-x86_64/x64.h"
#include "core/alloc.h"
#include "core/log.h"

#define N_THUNKS 1024
#define THUNK_ROOM 1024
struct thunk { struct ir_native n; uint8_t *code, *tail; };
static __thread struct { struct thunk *thunk; uint8_t *rw, *rx; } own;
static __thread struct thunk *running;
static __thread int trapped;

static uint32_t hash_native(const struct ir_native *n)
{
    const uint8_t *p = (const uint8_t *)n;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < sizeof *n; i++)
        h = (h ^ p[i]) * 16777619u;
    return h;
}

/* As tcg_fpu_save: the components that the guest has. XCR0: its distance from the area in r12. */
static void xsave_op(struct code_buf *c, unsigned digit, int32_t xcr0)
{
    x64_mov_rm(c, 4, RAX, x64_at(R12, xcr0));
    x64_alu_ri(c, X64_AND, 4, RAX, TCG_FPU_COMPONENTS);
    x64_alu_ri(c, X64_OR, 4, RAX, 7);
    x64_alu_rr(c, X64_XOR, 4, RDX, RDX);
    x64_rm(c, x64_wide(0xae, 8, 1), digit, x64_at(R12, 0));
}

/* Returns the tail. */
static uint8_t *emit_thunk(struct code_buf *c, const struct ir_native *n, int32_t xcr0)
{
    static const uint8_t saved[] = {RBX, RBP, R12, R13, R14, R15};
    struct x64_mem mem = x64_at(R14, 0);
    struct x64_acc a = {.reg = n->reg_role == NR_GPR ? R8 : n->reg, .vvvv = n->vvvv_role == NR_GPR ? R10 : n->vvvv};
    for (unsigned i = 0; i < ARRAY_SIZE(saved); i++)
        x64_push(c, saved[i]);
    x64_mov_rr(c, 8, R12, RDI);
    x64_mov_rr(c, 8, R14, RSI);
    x64_mov_rr(c, 8, R13, RDX);
    x64_mov_rr(c, 8, R15, RCX);
    if (n->kind == NATIVE_FPU)
        xsave_op(c, 5, xcr0);
    x64_mov_rm(c, 8, R8, x64_at(R13, 16));         /* io: d e a b c */
    x64_mov_rm(c, 8, R9, x64_at(R13, 24));
    x64_mov_rm(c, 8, R10, x64_at(R13, 32));
    x64_reload_code(c, x64_at(R15, 0));
    if (n->implied & NIMP_AX_DX) {
        x64_mov_rr(c, 8, RAX, R8);
        x64_mov_rr(c, 8, RDX, R9);
    }
    x64_native_encoding(c, n, &a, n->mem ? &mem : NULL, n->rm_role == NR_GPR ? R9 : n->rm);
    if (n->out_ax)
        x64_mov_rr(c, 8, R8, RAX);
    if (n->implied & NIMP_CX_OUT)
        x64_mov_rr(c, 8, R8, RCX);
    x64_spill_code(c, x64_at(R15, 0));
    x64_mov_mr(c, 8, x64_at(R13, 0), n->vvvv_out ? R10 : R8);
    x64_mov_mr(c, 8, x64_at(R13, 8), R9);
    uint8_t *tail = c->p;
    if (n->kind == NATIVE_FPU) {
        xsave_op(c, 4, xcr0);
        x64_b(c, 0xdb), x64_b(c, 0xe3);            /* fninit; MXCSR back to the C default */
        x64_rm(c, x64_wide(0xae, 4, 1), 2, x64_at(RSP, 8 * ARRAY_SIZE(saved) + 8));
    }
    for (unsigned i = ARRAY_SIZE(saved); i-- > 0;)
        x64_pop(c, saved[i]);
    x64_b(c, 0xc3);
    return tail;
}

uint64_t x64_native_trap(uint64_t pc, enum tcg_host_fault what)
{
    if (!running || pc < (uint64_t)running->code || pc >= (uint64_t)running->tail)
        return 0;
    trapped = 1 + (int)what;
    return (uint64_t)running->tail;
}

/* As with memory that runs out, there is no going on without. */
static void open_own(void)
{
    int fd = memfd_create("duet-thunks", MFD_CLOEXEC);
    size_t size = N_THUNKS * THUNK_ROOM;
    own.rw = fd < 0 || ftruncate(fd, (off_t)size) < 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    own.rx = own.rw == MAP_FAILED ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (own.rx == MAP_FAILED) {
        log_error("interpreter: no executable memory of %zu KiB", size >> 10);
        abort();
    }
    close(fd);
    own.thunk = xzalloc(N_THUNKS * sizeof(struct thunk));
}

static struct thunk *thunk_of(const struct ir_native *n, int32_t xcr0)
{
    if (!own.thunk)
        open_own();
    size_t i = hash_native(n) % N_THUNKS;
    struct thunk *th = &own.thunk[i];
    if (th->code && !memcmp(&th->n, n, sizeof *n))
        return th;
    uint8_t *at = own.rw + i * THUNK_ROOM;
    struct code_buf buf = {.rw = own.rw, .rx_delta = own.rx - own.rw, .p = at, .end = at + THUNK_ROOM};
    uint8_t *tail = emit_thunk(&buf, n, xcr0);
    th->n = *n;
    th->code = at + buf.rx_delta;
    th->tail = tail + buf.rx_delta;
    return th;
}

int x64_run_native(struct tcg_env *env, const struct ir_native *n, uint64_t io[5], uint32_t *flags, void *mem)
{
    if (n->kind == NATIVE_FPU)
        x64_x87_hide(env);
    running = thunk_of(n, (int32_t)(env->fe->xcr0_offset - env->fe->fpu_offset));
    trapped = 0;
    uint8_t *area = (uint8_t *)tcg_cpu(env) + env->fe->fpu_offset;
    /* the C default for MXCSR is passed on the stack, above the return address */
    __asm__ volatile("subq $144, %%rsp\n\tmovl $0x1f80, (%%rsp)\n\tcall *%4\n\taddq $144, %%rsp"
                     : "+D"(area), "+S"(mem), "+d"(io), "+c"(flags) : "r"(running->code) : "rax", "r8", "r9", "r10", "r11", "memory", "cc");
    if (n->kind == NATIVE_FPU)
        x64_x87_show(env, (uint64_t)running->code, (uint64_t)running->tail);
    running = NULL;
    return trapped;
}
