/*
 * tcg/eval.h against the host CPU: every arithmetic op and size, boundary and random operands and old flags, results and all flags that the manual
 * defines. With DUET_EVAL_UNDEFINED set, undefined flags are compared as well and differences counted, which says how
 * this host differs from the fixed choice in eval.h. Skipped on hosts that are no x86-64.
 */
#include <stdlib.h>
#include "tcg/eval.h"
#include "tests/unit/test.h"

struct regs { uint64_t rax, rcx, rdx, fl; };
typedef void host_fn(struct regs *);

#define HOST(name, insn) \
    static void name(struct regs *r) \
    { \
        uint64_t a = r->rax, c = r->rcx, d = r->rdx, f = (r->fl & FL_ALL) | 0x202; \
        __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushq %[f]\n\tpopfq\n\t" insn "\n\tpushfq\n\tpopq %[f]\n\tlea 128(%%rsp), %%rsp" \
                         : "+a"(a), "+c"(c), "+d"(d), [f] "+r"(f) : : "cc", "memory"); \
        *r = (struct regs){ a, c, d, f & FL_ALL }; \
    }
#define HOST4(n, m, b, w, l, q) HOST(n##_1, m "b " b) HOST(n##_2, m "w " w) HOST(n##_4, m "l " l) HOST(n##_8, m "q " q)
#define TWO(n, m) HOST4(n, m, "%%cl, %%al", "%%cx, %%ax", "%%ecx, %%eax", "%%rcx, %%rax")
#define ONE(n, m) HOST4(n, m, "%%al", "%%ax", "%%eax", "%%rax")
#define SHIFT(n, m) HOST4(n, m, "%%cl, %%al", "%%cl, %%ax", "%%cl, %%eax", "%%cl, %%rax")
#define MUL(n, m) HOST4(n, m, "%%cl", "%%cx", "%%ecx", "%%rcx")
#define THREE(n, m) HOST(n##_2, m "w %%cx, %%ax") HOST(n##_4, m "l %%ecx, %%eax") HOST(n##_8, m "q %%rcx, %%rax")
#define DOUBLE(n, m) HOST(n##_2, m "w %%cl, %%dx, %%ax") HOST(n##_4, m "l %%cl, %%edx, %%eax") HOST(n##_8, m "q %%cl, %%rdx, %%rax")

TWO(h_add, "add") TWO(h_sub, "sub") TWO(h_adc, "adc") TWO(h_sbb, "sbb") TWO(h_and, "and") TWO(h_or, "or") TWO(h_xor, "xor")
ONE(h_inc, "inc") ONE(h_dec, "dec") ONE(h_neg, "neg") ONE(h_not, "not")
SHIFT(h_shl, "shl") SHIFT(h_shr, "shr") SHIFT(h_sar, "sar") SHIFT(h_rol, "rol") SHIFT(h_ror, "ror") SHIFT(h_rcl, "rcl") SHIFT(h_rcr, "rcr")
MUL(h_mulu, "mul") MUL(h_muls, "imul") MUL(h_divu, "div") MUL(h_divs, "idiv")
THREE(h_imul, "imul") THREE(h_bt, "bt") THREE(h_bts, "bts") THREE(h_btr, "btr") THREE(h_btc, "btc")
THREE(h_bsf, "bsf") THREE(h_bsr, "bsr") THREE(h_tzcnt, "tzcnt") THREE(h_lzcnt, "lzcnt") THREE(h_popcnt, "popcnt")
DOUBLE(h_shld, "shld") DOUBLE(h_shrd, "shrd")
HOST(h_bswap_4, "bswap %%eax") HOST(h_bswap_8, "bswap %%rax")
HOST(h_clc, "clc") HOST(h_stc, "stc") HOST(h_cmc, "cmc")

/* How operands map to registers: AC a=rax b=rcx; ADC a=rax b=rdx c=rcx; CA a=rcx b=rax (the destination's old value). */
enum map { AC, ADC, CA };
struct row { uint8_t op, map; host_fn *fn[4]; const char *feature; };
#define R4(n) { n##_1, n##_2, n##_4, n##_8 }
#define R3(n) { NULL, n##_2, n##_4, n##_8 }

static const struct row rows[] = {
    { IR_add, AC, R4(h_add), 0 }, { IR_sub, AC, R4(h_sub), 0 }, { IR_adc, AC, R4(h_adc), 0 }, { IR_sbb, AC, R4(h_sbb), 0 },
    { IR_and, AC, R4(h_and), 0 }, { IR_or, AC, R4(h_or), 0 }, { IR_xor, AC, R4(h_xor), 0 },
    { IR_inc, AC, R4(h_inc), 0 }, { IR_dec, AC, R4(h_dec), 0 }, { IR_neg, AC, R4(h_neg), 0 }, { IR_not, AC, R4(h_not), 0 },
    { IR_shl, AC, R4(h_shl), 0 }, { IR_shr, AC, R4(h_shr), 0 }, { IR_sar, AC, R4(h_sar), 0 },
    { IR_rol, AC, R4(h_rol), 0 }, { IR_ror, AC, R4(h_ror), 0 }, { IR_rcl, AC, R4(h_rcl), 0 }, { IR_rcr, AC, R4(h_rcr), 0 },
    { IR_mulu, AC, R4(h_mulu), 0 }, { IR_muls, AC, R4(h_muls), 0 }, { IR_imul, AC, R3(h_imul), 0 },
    { IR_divu, ADC, R4(h_divu), 0 }, { IR_divs, ADC, R4(h_divs), 0 },
    { IR_bt, AC, R3(h_bt), 0 }, { IR_bts, AC, R3(h_bts), 0 }, { IR_btr, AC, R3(h_btr), 0 }, { IR_btc, AC, R3(h_btc), 0 },
    { IR_bsf, CA, R3(h_bsf), 0 }, { IR_bsr, CA, R3(h_bsr), 0 },
    { IR_tzcnt, CA, R3(h_tzcnt), "bmi" }, { IR_lzcnt, CA, R3(h_lzcnt), "lzcnt" }, { IR_popcnt, CA, R3(h_popcnt), "popcnt" },
    { IR_shld, ADC, R3(h_shld), 0 }, { IR_shrd, ADC, R3(h_shrd), 0 },
    { IR_bswap, AC, { NULL, NULL, h_bswap_4, h_bswap_8 }, 0 },
};

/* Flags whose value the manual defines, for these operands. */
static uint32_t defined(unsigned op, unsigned size, const struct ir_val *v)
{
    unsigned n = eval_count(op == IR_shld || op == IR_shrd ? v->c : v->b, size), bits = size * 8;
    switch (op) {
    case IR_and: case IR_or: case IR_xor: return FL_ALL & ~FL_A;
    case IR_shl: case IR_shr:
        return !n ? FL_ALL : (FL_S | FL_Z | FL_P) | (n <= bits ? FL_C : 0) | (n == 1 ? FL_O : 0);
    case IR_sar: return !n ? FL_ALL : (FL_S | FL_Z | FL_P | FL_C) | (n == 1 ? FL_O : 0);
    case IR_rol: case IR_ror: case IR_rcl: case IR_rcr: return n > 1 ? FL_ALL & ~FL_O : FL_ALL;
    case IR_shld: case IR_shrd: return !n ? FL_ALL : n > bits ? 0 : (FL_S | FL_Z | FL_P | FL_C) | (n == 1 ? FL_O : 0);
    case IR_mulu: case IR_muls: case IR_imul: return FL_C | FL_O;
    case IR_divu: case IR_divs: return 0;
    case IR_bt: case IR_bts: case IR_btr: case IR_btc: return FL_C | FL_Z;
    case IR_bsf: case IR_bsr: return FL_Z;
    case IR_tzcnt: case IR_lzcnt: return FL_C | FL_Z;
    default: return FL_ALL;
    }
}

static uint64_t seed = 0x123456789abcdefull;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint64_t operand(void)
{
    static const uint64_t edge[] = { 0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff,
                                     0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, ~0ull, ~1ull };
    unsigned k = rnd() % 4;
    return k == 0 ? edge[rnd() % ARRAY_SIZE(edge)] : k == 1 ? rnd() >> rnd() % 64 : k == 2 ? 0 - (rnd() >> rnd() % 64) : rnd();
}

static uint64_t undefined_diffs[IR_OP_COUNT][5];

static void one_case(const struct row *row, unsigned k)
{
    unsigned size = 1u << k;
    struct ir_val in = { .a = operand(), .b = operand(), .c = operand(), .fl = (uint32_t)rnd() & FL_ALL }, v = in;
    if ((row->op == IR_divu || row->op == IR_divs) && rnd() % 4)       /* make quotients that fit frequent */
        in.b = row->op == IR_divs && (in.a & (1ull << (size * 8 - 1))) ? ~0ull : rnd() % 3;
    if ((row->op == IR_divu || row->op == IR_divs) && size == 1 && rnd() % 2)
        in.a &= 0xff;
    v = in;
    CHECK(ir_eval(row->op, size, 0, 0, &v));
    if (v.fault)
        return;
    struct regs r = { row->map == CA ? in.b : in.a, row->map == AC ? in.b : row->map == CA ? in.a : in.c, row->map == ADC ? in.b : 0, in.fl };
    row->fn[k](&r);
    unsigned out = ir_out_size(row->op, size, 0);
    bool wide = ir_opinfo[row->op].out[0] && ir_opinfo[row->op].out[1];
    bool rotate_far = (row->op == IR_shld || row->op == IR_shrd) && eval_count(in.c, size) > size * 8;
    uint32_t def = defined(row->op, size, &in), got = v.fl ^ (uint32_t)r.fl;
    if ((ir_opinfo[row->op].out[0] && !rotate_far && ((v.d ^ r.rax) & size_mask(out))) || (wide && size > 1 && ((v.e ^ r.rdx) & size_mask(size))) ||
        (got & def)) {
        printf("%s size %u a=%llx b=%llx c=%llx fl=%x: eval d=%llx e=%llx fl=%x, host %llx %llx fl=%llx\n", ir_opinfo[row->op].name, size,
               (unsigned long long)in.a, (unsigned long long)in.b, (unsigned long long)in.c, in.fl, (unsigned long long)v.d, (unsigned long long)v.e, v.fl,
               (unsigned long long)r.rax, (unsigned long long)r.rdx, (unsigned long long)r.fl);
        CHECK(!"eval.h differs from the host");
    }
    if (getenv("DUET_EVAL_UNDEFINED") && row->op != IR_divu && row->op != IR_divs)
        for (int f = 0; f < 12; f++)
            if (got >> f & 1 && undefined_diffs[row->op][k]++ < 3)
                printf("undefined %s size %u a=%llx b=%llx c=%llx d=%llx fl=%x eval %x host %llx\n", ir_opinfo[row->op].name, size, (unsigned long long)in.a,
                       (unsigned long long)in.b, (unsigned long long)in.c, (unsigned long long)v.d, in.fl, v.fl, (unsigned long long)r.fl);
}

static bool has(const char *feature)
{
    __builtin_cpu_init();
    return !feature || (!strcmp(feature, "bmi") && __builtin_cpu_supports("bmi")) || (!strcmp(feature, "lzcnt") && __builtin_cpu_supports("lzcnt")) ||
           (!strcmp(feature, "popcnt") && __builtin_cpu_supports("popcnt"));
}

TEST(ir_eval_host)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        for (unsigned k = 0; k < 4; k++)
            for (unsigned n = 0; rows[i].fn[k] && has(rows[i].feature) && n < 20000; n++)
                one_case(&rows[i], k);
}

TEST(ir_eval_divide_faults)
{
    struct ir_val v = { .a = 1, .b = 0, .c = 0 };
    ir_eval(IR_divu, 4, 0, 0, &v);
    CHECK(v.fault);
    v = (struct ir_val){ .a = 0x80000000, .b = 0xffffffff, .c = 0xffffffff };        /* INT_MIN / -1 */
    ir_eval(IR_divs, 4, 0, 0, &v);
    CHECK(v.fault);
    v = (struct ir_val){ .a = 0, .b = 0x8000000000000000, .c = ~0ull };
    ir_eval(IR_divs, 8, 0, 0, &v);
    CHECK(v.fault);
    v = (struct ir_val){ .a = 0x80000000, .b = 0xffffffff, .c = 1 };                 /* INT_MIN / 1 */
    ir_eval(IR_divs, 4, 0, 0, &v);
    CHECK(!v.fault);
    CHECK_EQ(v.d, 0x80000000);
    v = (struct ir_val){ .a = 0, .b = 1, .c = 1 };
    ir_eval(IR_divu, 8, 0, 0, &v);
    CHECK(v.fault);
    v = (struct ir_val){ .a = 0x8000, .c = 0xff };
    ir_eval(IR_divs, 1, 0, 0, &v);
    CHECK(v.fault);
}

#define COND(n, cc) HOST(c_##n, "set" cc " %%al")
COND(0, "o") COND(1, "no") COND(2, "b") COND(3, "ae") COND(4, "e") COND(5, "ne") COND(6, "be") COND(7, "a")
COND(8, "s") COND(9, "ns") COND(10, "p") COND(11, "np") COND(12, "l") COND(13, "ge") COND(14, "le") COND(15, "g")

TEST(ir_eval_conditions)
{
    static host_fn *const set[16] = { c_0, c_1, c_2, c_3, c_4, c_5, c_6, c_7, c_8, c_9, c_10, c_11, c_12, c_13, c_14, c_15 };
    for (unsigned cc = 0; cc < 16; cc++)
        for (unsigned k = 0; k < 64; k++) {
            uint32_t f = (k & 1 ? FL_C : 0) | (k & 2 ? FL_P : 0) | (k & 4 ? FL_A : 0) | (k & 8 ? FL_Z : 0) | (k & 16 ? FL_S : 0) | (k & 32 ? FL_O : 0);
            struct regs r = { 0, 0, 0, f };
            set[cc](&r);
            CHECK_EQ(eval_cond(cc, f), r.rax & 1);
            for (uint32_t bit = 1; bit <= FL_O; bit <<= 1)         /* only flags it says it reads matter */
                if (bit & FL_ALL & ~eval_cond_reads(cc))
                    CHECK_EQ(eval_cond(cc, f), eval_cond(cc, f ^ bit));
        }
}

TEST(ir_eval_setcf)
{
    for (unsigned k = 0; k < 2; k++)
        for (unsigned sub = 0; sub < 3; sub++) {
            static host_fn *const fn[3] = { h_clc, h_stc, h_cmc };
            struct ir_val v = { .fl = k ? FL_ALL : 0 };
            struct regs r = { 0, 0, 0, v.fl };
            fn[sub](&r);
            ir_eval(IR_setcf, 1, sub, 0, &v);
            CHECK_EQ(v.fl, r.fl);
        }
}
