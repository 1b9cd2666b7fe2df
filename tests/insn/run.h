/*
 * What the two runners of tests/insn share: a case's records made into a start and an expectation, and the comparison. The runner gives
 *     run(&start, attributes, &end)    run it: registers, flags, XMM registers and the window's contents are in start.
 *     put(text), put_hex(value)        output; has_feature(leaf, register, bit).
 * Freestanding: the kernel has no library.
 */
#ifndef TESTS_INSN_RUN_H
#define TESTS_INSN_RUN_H
#include "insn.h"

#define PAGE 4096
#define ARITH (CF | PF | AF | ZF | SF | DF | OF)
struct insn_state { unsigned long r[17], ip, vec, err, cr2, xmm[16][2]; };

struct expectation { struct insn_state s; unsigned long undef; unsigned attr; int skip, faults; unsigned long cr2_last; };

static unsigned char window_in[2 * PAGE], window_out[2 * PAGE];      /* of pages 0 and 1 */

static void run(const struct insn_state *in, unsigned attr, struct insn_state *out);
static int has_feature(unsigned leaf, unsigned reg, unsigned bit);
static void put(const char *s);
static void put_hex(unsigned long long v);

static const char *const reg_name[17] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "flags" };

static void copy(void *d, const void *s, unsigned long n)
{
    for (unsigned long k = 0; k < n; k++)
        ((unsigned char *)d)[k] = ((const unsigned char *)s)[k];
}

static void default_state(struct insn_state *s)
{
    copy(s, &(struct insn_state){ 0 }, sizeof *s);
    for (unsigned k = 0; k < 16; k++) {
        s->r[k] = 0x0101010101010101ul * (0xa0 + k);
        s->xmm[k][0] = 0x1111000000000000ul + k;
        s->xmm[k][1] = 0x2222000000000000ul + k;
    }
    s->r[RSP] = WINDOW_RSP;
    s->r[FLAGS] = 0x202;
    for (unsigned k = 0; k < sizeof window_in; k++)
        window_in[k] = window_out[k] = 0;
}

/* First what it starts from, then what it shall end with: most of that is the same. */
static void take_inputs(const struct insn_record *r, struct insn_state *s, struct expectation *e)
{
    for (; r->kind != REC_BEGIN && r < __stop_insn_records; r++) {
        if (r->kind == REC_IN)
            s->r[r->index] = r->index == FLAGS ? r->a | 0x202 : r->a;
        else if (r->kind == REC_INX)
            s->xmm[r->index][0] = r->a, s->xmm[r->index][1] = r->b;
        else if (r->kind == REC_MEM)
            copy(window_in + r->index, &r->a, 8), copy(window_out + r->index, &r->a, 8);
        else if (r->kind == REC_ATTR)
            e->attr |= r->index;
        else if (r->kind == REC_NEED && !has_feature(r->index >> 16, r->index >> 8 & 255, r->index & 255))
            e->skip = 1;
    }
    for (unsigned k = 0; k < 16 && e->attr & ATTR_32; k++)
        s->r[k] = k < 8 ? (unsigned)s->r[k] : 0;
    if (e->attr & ATTR_AC)
        s->r[FLAGS] |= 0x40000;
}

static void take_outputs(const struct insn_record *r, struct expectation *e)
{
    for (; r->kind != REC_BEGIN && r < __stop_insn_records; r++) {
        if (r->kind == REC_OUT)
            e->s.r[r->index] = r->a;
        else if (r->kind == REC_OUTX)
            e->s.xmm[r->index][0] = r->a, e->s.xmm[r->index][1] = r->b;
        else if (r->kind == REC_MEMOUT)
            copy(window_out + r->index, &r->a, 8);
        else if (r->kind == REC_UNDEF)
            e->undef |= r->a;
        else if (r->kind == REC_FAULT)
            e->s.vec = r->index, e->s.err = r->a, e->s.ip = r->b, e->faults = 1;
        else if (r->kind == REC_CR2)
            e->s.cr2 = r->a, e->cr2_last = r->index ? r->b : r->a;
        else if (r->kind == REC_END && !e->faults)
            e->s.vec = 3, e->s.ip = r->a;
    }
}

static const char *case_name;
static int case_bad;

static void differ(const char *what, unsigned long got, unsigned long want)
{
    if (got == want)
        return;
    if (!case_bad++) {
        put("FAIL ");
        put(case_name);
        put(":");
    }
    put(" ");
    put(what);
    put(" ");
    put_hex(got);
    put(", not ");
    put_hex(want);
}

static void compare_case(const struct insn_state *s, const struct expectation *e)
{
    static char off[] = "+0000";
    unsigned long mask = ARITH & ~e->undef;
    differ("vector", s->vec, e->s.vec);
    differ("error", s->err, e->s.err);
    differ("ip", s->ip, e->s.ip);
    if (s->vec == 14 && (s->cr2 < e->s.cr2 || s->cr2 > e->cr2_last))
        differ("cr2", s->cr2, e->s.cr2);
    for (unsigned k = 0; k < 16; k++) {
        unsigned long keep = e->attr & ATTR_32 ? k < 8 ? 0xffffffff : 0 : ~0ul;
        differ(reg_name[k], s->r[k] & keep, e->s.r[k] & keep);
    }
    differ("flags", s->r[FLAGS] & mask, e->s.r[FLAGS] & mask);
    for (unsigned k = 0; k < 16; k++) {
        differ("xmm", s->xmm[k][0], e->s.xmm[k][0]);
        differ("xmm (upper half)", s->xmm[k][1], e->s.xmm[k][1]);
    }
    for (unsigned k = 0; k < sizeof window_out; k++) {
        for (unsigned d = 0; d < 4; d++)
            off[1 + d] = "0123456789abcdef"[k >> (12 - 4 * d) & 15];
        differ(off, *(volatile unsigned char *)(WINDOW + (unsigned long)k), window_out[k]);
    }
}

/* All cases; how many failed. NATIVE: only those that can be run by a program. */
static int run_all(int native)
{
    int failed = 0;
    for (const struct insn_record *r = __start_insn_records; r < __stop_insn_records; r++) {
        struct insn_state in, out;
        struct expectation e = { .attr = 0 };
        if (r->kind != REC_BEGIN)
            continue;
        case_name = (const char *)r->a;
        case_bad = 0;
        default_state(&in);
        take_inputs(r + 1, &in, &e);
        in.ip = r->b;
        e.s = in;
        take_outputs(r + 1, &e);
        if (native && e.attr & ATTR_NOT_NATIVE)
            e.skip = 1;
        if (!e.skip) {
            copy((void *)WINDOW, window_in, sizeof window_in);
            run(&in, e.attr, &out);
            compare_case(&out, &e);
        } else {
            put(native && e.attr & ATTR_NOT_NATIVE ? "# not for a program: " : "skip ");
            put(case_name);
            put(native && e.attr & ATTR_NOT_NATIVE ? "\n" : ": the processor has not got it\n");
            continue;
        }
        if (case_bad)
            put("\n");
        else
            put("ok "), put(case_name), put("\n");
        failed += case_bad != 0;
    }
    return failed;
}
#endif
