/* The cases of tests/insn/short (short.h) on a bare machine: each in real mode and in a 16-bit segment of protected mode. */
#include "kit.h"
#include "tests/insn/short/short.h"

#define ARITH (CF | PF | AF | ZF | SF | DF | OF)
#define DEFAULT_FLAGS 2
#define FRAME 24                         /* below the final SP: the end's frame, and what its handler pushes */

struct expectation { struct short_state s; u32 undef, at; int faults; };

static u8 *const window = (u8 *)SHORT_WINDOW, *const code = (u8 *)SHORT_CODE;
static u8 window_out[65536];
static struct short_state *const state = (void *)SHORT_TRAMPOLINE;
static const char *const names[13] = { "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "flags", "es", "cs", "ss", "ds" };
static const char *mode_name, *case_name;
static int bad;

static void put4(u8 *to, u32 off, u32 v)
{
    for (unsigned k = 0; k < 4; k++)
        to[(off + k) & 0xffff] = (u8)(v >> 8 * k);
}

static void prepare(const struct short_record *r, struct short_state *s, struct expectation *e)
{
    *s = (struct short_state){ .r = { [FLAGS] = DEFAULT_FLAGS, [ES] = 0x3000, [CS] = 0x2000, [SS] = 0x3000, [DS] = 0x3000 } };
    for (unsigned k = 0; k < 8; k++)
        s->r[k] = 0x01010101u * (0xa0 + k);
    s->r[SP] = SHORT_SP;
    e->at = SHORT_START;
    memset(window, 0, 65536);
    memset(window_out, 0, 65536);
    for (; r < __stop_short_records && r->kind != REC_BEGIN; r++) {
        if (r->kind == REC_IN)
            s->r[r->index] = r->a | (r->index == FLAGS ? DEFAULT_FLAGS : 0);
        else if (r->kind == REC_MEM)
            put4(window, r->index, r->a), put4(window_out, r->index, r->a);
        else if (r->kind == REC_AT)
            e->at = r->a;
    }
    s->ip = e->at;
}

/* The case's code, and its handler of INT 40h in both tables. */
static void place(const struct short_record *begin, const struct expectation *e)
{
    const u8 *from = (const u8 *)begin->b, *to = from;
    u32 handler = 0;
    for (const struct short_record *r = begin + 1; r < __stop_short_records && r->kind != REC_BEGIN; r++) {
        if (r->kind == REC_END)
            to = (const u8 *)r->a + 1;
        else if (r->kind == REC_HANDLER)
            handler = r->a - begin->b + e->at;
    }
    memset(code, 0xcc, 65536);
    for (u32 k = 0; from + k < to; k++)
        code[(e->at + k) & 0xffff] = from[k];
    volatile u16 *ivt;
    __asm__("" : "=r"(ivt) : "0"(0));
    u16 *gates = (u16 *)(SHORT_TRAMPOLINE + (short_trampoline_end - short_trampoline) - 256 - 2048);
    for (u32 n = 0; n < 256; n++) {
        ivt[2 * n] = gates[4 * n];
        ivt[2 * n + 1] = 0x1000;
    }
    if (handler) {
        ivt[0x80] = gates[0x100] = (u16)handler;
        ivt[0x81] = gates[0x101] = 0x2000;
    }
}

static void expect(const struct short_record *begin, struct expectation *e)
{
    for (const struct short_record *r = begin + 1; r < __stop_short_records && r->kind != REC_BEGIN; r++) {
        if (r->kind == REC_OUT)
            e->s.r[r->index] = r->a;
        else if (r->kind == REC_MEMOUT)
            put4(window_out, r->index, r->a);
        else if (r->kind == REC_UNDEF)
            e->undef |= r->a;
        else if (r->kind == REC_FAULT)
            e->s.vec = r->index, e->s.ip = r->a - begin->b + e->at, e->faults = 1;
        else if (r->kind == REC_FAULT_AT)
            e->s.vec = r->index, e->s.ip = r->a, e->faults = 1;
        else if (r->kind == REC_END && !e->faults)
            e->s.vec = 3, e->s.ip = r->a + 1 - begin->b + e->at;
    }
}

static void differ(const char *what, u32 got, u32 want)
{
    if (got == want)
        return;
    if (!bad++) {
        put("FAIL "); put(mode_name); put(case_name); put(":");
    }
    put(" "); put(what); put(" "); put_hex(got); put(", not "); put_hex(want);
}

static void compare(const struct expectation *e)
{
    static char off[] = "+0000";
    u32 mask = ARITH & ~e->undef;
    differ("vector", state->vec, e->s.vec);
    differ("error", state->err, 0);
    differ("ip", state->ip, e->s.ip & 0xffff);
    for (unsigned k = 0; k < 13; k++)
        differ(names[k], k == FLAGS ? state->r[k] & mask : state->r[k], k == FLAGS ? e->s.r[k] & mask : e->s.r[k]);
    for (u32 k = 0; k < 65536 && bad < 12; k++) {
        for (unsigned d = 0; d < 4; d++)
            off[1 + d] = "0123456789abcdef"[k >> (12 - 4 * d) & 15];
        if (((state->r[SP] - 1 - k) & 0xffff) >= FRAME)
            differ(off, window[k], window_out[k]);
    }
}

static void run_case(const struct short_record *begin, int real)
{
    struct expectation e = { .faults = 0 };
    struct short_state in;
    mode_name = real ? "real/" : "protected/";
    case_name = (const char *)begin->a;
    bad = 0;
    memcpy(state, short_trampoline, (ul)(short_trampoline_end - short_trampoline));
    prepare(begin + 1, &in, &e);
    e.s = in;
    place(begin, &e);
    expect(begin, &e);
    *state = in;
    short_enter(real);
    compare(&e);
    if (!bad) {
        put("ok "); put(mode_name); put(case_name);
    }
    put("\n");
    any_failed |= bad != 0;
}

int main(void);
int main(void)
{
    short_gdt[1] = gdt[1];
    short_gdt[2] = gdt[2];
    short_gdt[0x1000 / 8] = SEG_DESC(SHORT_TRAMPOLINE, 0xffff, 0x93, 0);
    short_gdt[0x1008 / 8] = SEG_DESC(SHORT_TRAMPOLINE, 0xffff, 0x9b, 0);
    short_gdt[0x2000 / 8] = SEG_DESC(SHORT_CODE, 0xffff, 0x9b, 0);
    short_gdt[0x3000 / 8] = SEG_DESC(SHORT_WINDOW, 0xffff, 0x93, 0);
    for (const struct short_record *r = __start_short_records; r < __stop_short_records; r++)
        if (r->kind == REC_BEGIN)
            for (int real = 0; real < 2; real++)
                run_case(r, real);
    finish();
}
