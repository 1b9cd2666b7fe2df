/*
 * The text form of a block, for -d ir / opt and tests; tcg/ir_parse.c reads it back.
 *
 *     block 0x1000
 *     ; guest 0 0x1000 3
 *         add.q rax, rax, $0x8 {flags} live=CZ
 *         ld.d t3, [fs_base: rbx + rcx*8 + 0x10] zx
 *         jcc.ne.q $0x401000
 *
 * One insn a line: op, condition or rmw op, size letter (b w d q), outputs then inputs in the order of ops.def (_ for none), then what
 * only some ops have: `from N` source bytes (jmpc: bits), zx sx4 sx8, #N immediate, Ln label, @helper, mask, enc= a native record. Index registers carry
 * *scale always, the segment base a colon.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core/log.h"
#include "tcg/fold.h"
#include "tcg/frontend.h"
#include "tcg/native.h"
#include "tcg/text.h"

const char *const ir_cond_name[16] = { "o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g" };
const char *const ir_rmw_name[RMW_COUNT] = { "add", "or", "adc", "sbb", "and", "sub", "xor", "inc", "dec", "neg", "not", "shl", "shr", "sar", "rol",
                                             "ror", "rcl", "rcr", "bts", "btr", "btc", "xchg", "xadd" };
const char *const ir_ldsub_name[4] = { "", "zx", "sx4", "sx8" };
const struct ir_flag_name ir_flag_names[] = {
    { "flags", IRF_FLAGS }, { "lock", IRF_LOCK }, { "super", IRF_SUPER }, { "addr32", IRF_ADDR32 }, { "addr16", IRF_ADDR16 }, { NULL, 0 } };
const struct ir_flag_name ir_arith_names[] = {
    { "C", FL_C }, { "P", FL_P }, { "A", FL_A }, { "Z", FL_Z }, { "S", FL_S }, { "O", FL_O }, { NULL, 0 } };

static void put(struct ir_text *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct ir_text *o, const char *fmt, ...)
{
    char tmp[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(tmp, sizeof(tmp), fmt, ap);
    va_end(ap);
    if (n >= (int)sizeof(tmp))
        n = sizeof(tmp) - 1;
    if (o->len + (size_t)n + 1 > o->cap) {
        o->cap = (o->cap + (size_t)n + 1) * 2 + 1024;
        o->buf = xrealloc(o->buf, o->cap);
    }
    memcpy(o->buf + o->len, tmp, (size_t)n + 1);
    o->len += (size_t)n;
}

static void put_ref(struct ir_text *o, const struct ir_block *b, ir_ref r)
{
    if (r == IR_NONE)
        put(o, "_");
    else if (ir_is_global(r) && b->fe && r < b->fe->n_globals)
        put(o, "%s", b->fe->globals[r].name);
    else if (ir_is_global(r))
        put(o, "g%u", r);
    else if (ir_is_temp(r))
        put(o, "t%u", r - IR_TEMP0);
    else
        put(o, "$0x%llx", r - IR_CONST0 < (int)b->n_consts ? (unsigned long long)b->consts[r - IR_CONST0] : 0xbadbadull);
}

static void put_mem(struct ir_text *o, const struct ir_block *b, const struct ir_insn *in)
{
    const char *sep = "";
    put(o, "[");
    if (in->seg != IR_NONE) {
        put_ref(o, b, in->seg);
        put(o, ": ");
    }
    if (in->base != IR_NONE) {
        put_ref(o, b, in->base);
        sep = " + ";
    }
    if (in->index != IR_NONE) {
        put(o, "%s", sep);
        put_ref(o, b, in->index);
        put(o, "*%u", 1u << in->scale);
        sep = " + ";
    }
    if (in->disp < 0)
        put(o, "%s0x%x", *sep ? " - " : "-", 0u - (uint32_t)in->disp);
    else if (in->disp || !*sep)
        put(o, "%s0x%x", sep, (uint32_t)in->disp);
    put(o, "]");
}

static void put_extra(struct ir_text *o, const struct ir_block *b, const struct ir_insn *in)
{
    const uint8_t *raw;
    switch (in->op) {
    case IR_zext: case IR_sext: put(o, " from %u", in->sub); break;
    case IR_ld: put(o, "%s%s", in->sub ? " " : "", ir_ldsub_name[in->sub & 3]); break;
    case IR_setcf: case IR_fence: put(o, " #%u", in->sub); break;
    case IR_exit: put(o, " #%u", in->imm); break;
    case IR_jmpc: put(o, " from %u #%u", in->sub, in->imm); break;
    case IR_setf: put(o, " mask 0x%x", in->imm); break;
    case IR_label: case IR_br: case IR_brcc: case IR_brz: case IR_brnz: put(o, " L%u", in->imm); break;
    case IR_call:
        if (b->fe && in->imm < b->fe->n_helpers)
            put(o, " @%s", b->fe->helpers[in->imm].name);
        else
            put(o, " #%u", in->imm);
        break;
    case IR_native:
        raw = (const uint8_t *)&b->natives[in->imm];
        put(o, " enc=");
        for (unsigned i = 0; i < sizeof(struct ir_native); i++)
            put(o, "%02x", raw[i]);
        break;
    default: break;
    }
}

static void put_flags(struct ir_text *o, const struct ir_insn *in)
{
    const char *sep = " {";
    for (const struct ir_flag_name *f = ir_flag_names; f->name; f++)
        if (in->flags & f->bit) {
            put(o, "%s%s", sep, f->name);
            sep = " ";
        }
    if (*sep && sep[1] != '{')
        put(o, "}");
    for (int which = 0; which < 2; which++) {
        unsigned fl = which ? in->fl_fault : in->fl_live;
        if (fl)
            put(o, which ? " fault=" : " live=");
        for (const struct ir_flag_name *f = ir_arith_names; f->name; f++)
            if (fl & f->bit)
                put(o, "%s", f->name);
    }
}

static void put_insn(struct ir_text *o, const struct ir_block *b, const struct ir_insn *in)
{
    struct ir_insn t = *in;
    const struct ir_opinfo *info = &ir_opinfo[in->op];
    const char *sep = " ";
    put(o, "    %s", info->name);
    if (in->op == IR_rmw)
        put(o, ".%s", ir_rmw_name[in->sub % RMW_COUNT]);
    else if (in->op == IR_cmov || in->op == IR_setcc || in->op == IR_brcc || in->op == IR_jcc)
        put(o, ".%s", ir_cond_name[in->sub & 15]);
    put(o, ".%c", in->size == 1 ? 'b' : in->size == 2 ? 'w' : in->size == 4 ? 'd' : 'q');
    for (int k = 0; k < 2; k++)
        for (const char *p = k ? ir_ins(in->op) : info->out; *p; p++) {
            put(o, "%s", sep);
            sep = ", ";
            if (*p == 'm')
                put_mem(o, b, in);
            else
                put_ref(o, b, *ir_field(&t, *p));
        }
    put_extra(o, b, in);
    put_flags(o, in);
    put(o, "\n");
}

static void put_guest(struct ir_text *o, const struct ir_block *b, unsigned g)
{
    put(o, "; guest %u 0x%llx %u\n", g, (unsigned long long)b->guest[g].pc, b->guest[g].len);
}

void ir_print(const struct ir_block *b, struct ir_text *o)
{
    unsigned g = 0;
    put(o, "block 0x%llx\n", (unsigned long long)b->pc);
    for (unsigned i = 0; i < b->n; i++) {
        for (; g < b->n_guest && g <= b->insn[i].gi; g++)
            put_guest(o, b, g);
        put_insn(o, b, &b->insn[i]);
    }
    for (; g < b->n_guest; g++)
        put_guest(o, b, g);
}

void ir_dump(const struct ir_block *b, const char *title)
{
    struct ir_text t = { NULL, 0, 0 };
    ir_print(b, &t);
    log_printf("%s\n%s\n", title, t.buf);
    free(t.buf);
}
