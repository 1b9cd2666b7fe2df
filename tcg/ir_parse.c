/*
 * Reads the text form of a block (described in tcg/ir_print.c) into a block: for tests, and to try a block by hand.
 *
 * In: text, one insn a line; lines starting with # and blank lines are skipped, commas are white space. `block` and `; guest` lines may be
 * left out (then everything belongs to guest instruction 0). Out: the block, exactly as written: nothing is folded. Errors name the
 * line. The result is not verified: tests want to build bad blocks, too. Native records go to b->natives, which must be set when used.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tcg/fold.h"
#include "tcg/frontend.h"
#include "tcg/native.h"
#include "tcg/text.h"

struct parser {
    struct ir_block *b;
    const char *p, *end;             /* rest of the line */
    char tok[128];
    char *err;
    size_t errlen;
    unsigned line;
};

static int fail(struct parser *ps, const char *what)
{
    if (ps->errlen)
        snprintf(ps->err, ps->errlen, "line %u: %s near \"%s\"", ps->line, what, ps->tok);
    return -EINVAL;
}

static void skip(struct parser *ps)
{
    while (ps->p < ps->end && (isspace((unsigned char)*ps->p) || *ps->p == ','))
        ps->p++;
}

/* The next token: one of []{}:+-* alone, or a run of other characters. false at the end of the line. */
static bool next(struct parser *ps)
{
    size_t n = 0;
    skip(ps);
    ps->tok[0] = 0;
    if (ps->p == ps->end)
        return false;
    if (strchr("[]{}:+-*", *ps->p)) {
        ps->tok[n++] = *ps->p++;
    } else {
        while (ps->p < ps->end && !isspace((unsigned char)*ps->p) && !strchr(",[]{}:+-*", *ps->p)) {
            if (n + 1 < sizeof(ps->tok))
                ps->tok[n++] = *ps->p;
            ps->p++;
        }
    }
    ps->tok[n] = 0;
    return true;
}

static bool peek(struct parser *ps, char c)
{
    skip(ps);
    return ps->p < ps->end && *ps->p == c;
}

static bool number(const char *s, uint64_t *v)
{
    char *e;
    if (!isdigit((unsigned char)*s))
        return false;
    *v = strtoull(s, &e, 0);
    return !*e;
}

static bool small(const char *s, uint64_t limit, uint32_t *v)
{
    uint64_t n;
    if (!number(s, &n) || n >= limit)
        return false;
    *v = (uint32_t)n;
    return true;
}

static bool parse_ref(struct parser *ps, ir_ref *r)
{
    struct ir_block *b = ps->b;
    uint64_t v;
    uint32_t n;
    if (!strcmp(ps->tok, "_")) {
        *r = IR_NONE;
        return true;
    }
    for (unsigned i = 0; b->fe && i < b->fe->n_globals; i++)
        if (!strcmp(ps->tok, b->fe->globals[i].name)) {
            *r = (ir_ref)i;
            return true;
        }
    if (ps->tok[0] == 't' && small(ps->tok + 1, IR_MAX_TEMPS, &n)) {
        if (n >= b->n_temps)
            b->n_temps = n + 1;
        *r = (ir_ref)(IR_TEMP0 + n);
        return true;
    }
    if (ps->tok[0] == 'g' && small(ps->tok + 1, IR_MAX_GLOBALS, &n)) {
        *r = (ir_ref)n;
        return true;
    }
    if (ps->tok[0] != '$' || b->n_consts >= IR_MAX_CONSTS)
        return false;
    if (!ps->tok[1] && peek(ps, '-')) {              /* $-8 */
        next(ps);
        if (!next(ps) || !number(ps->tok, &v))
            return false;
        v = 0 - v;
    } else if (!number(ps->tok + 1, &v)) {
        return false;
    }
    *r = ir_const(b, v);
    return true;
}

/* After '['. Terms: REF: (segment), REF (base), REF*N (index), numbers with signs (displacement). */
static int parse_mem(struct parser *ps, struct ir_insn *in)
{
    bool minus = false;
    while (next(ps) && ps->tok[0] != ']') {
        uint64_t v;
        ir_ref r;
        if (ps->tok[0] == '+' || ps->tok[0] == '-') {
            minus = ps->tok[0] == '-';
        } else if (number(ps->tok, &v)) {
            in->disp = (int32_t)((uint32_t)in->disp + (uint32_t)(minus ? 0 - v : v));
            minus = false;
        } else if (!parse_ref(ps, &r)) {
            return fail(ps, "bad address term");
        } else if (peek(ps, ':')) {
            next(ps);
            in->seg = r;
        } else if (peek(ps, '*')) {
            next(ps);
            if (!next(ps) || !number(ps->tok, &v) || (v != 1 && v != 2 && v != 4 && v != 8))
                return fail(ps, "bad scale");
            in->index = r;
            in->scale = (uint8_t)__builtin_ctz((unsigned)v);
        } else {
            in->base = r;
        }
    }
    return ps->tok[0] == ']' ? 0 : fail(ps, "missing ]");
}

static int parse_flags(struct parser *ps, struct ir_insn *in)
{
    while (next(ps) && ps->tok[0] != '}') {
        const struct ir_flag_name *f = ir_flag_names;
        while (f->name && strcmp(f->name, ps->tok))
            f++;
        if (!f->name)
            return fail(ps, "unknown flag");
        in->flags |= (uint8_t)f->bit;
    }
    return 0;
}

static int parse_arith(struct parser *ps, const char *s, uint16_t *out)
{
    for (; *s; s++) {
        const struct ir_flag_name *f = ir_arith_names;
        while (f->name && *f->name != *s)
            f++;
        if (!f->name)
            return fail(ps, "unknown arithmetic flag");
        *out |= (uint16_t)f->bit;
    }
    return 0;
}

static int parse_enc(struct parser *ps, struct ir_insn *in, const char *s)
{
    struct ir_block *b = ps->b;
    if (!b->natives || b->n_natives >= IR_MAX_NATIVES || strlen(s) != 2 * sizeof(struct ir_native))
        return fail(ps, "bad native record");
    uint8_t *raw = (uint8_t *)&b->natives[b->n_natives];
    for (unsigned i = 0; i < sizeof(struct ir_native); i++) {
        char hex[3] = { s[2 * i], s[2 * i + 1], 0 };
        raw[i] = (uint8_t)strtoul(hex, NULL, 16);
    }
    in->imm = b->n_natives++;
    return 0;
}

static int parse_helper(struct parser *ps, struct ir_insn *in)
{
    const struct tcg_frontend *fe = ps->b->fe;
    for (unsigned i = 0; fe && i < fe->n_helpers; i++)
        if (!strcmp(ps->tok + 1, fe->helpers[i].name)) {
            in->imm = i;
            return 0;
        }
    return fail(ps, "unknown helper");
}

static int parse_label(struct parser *ps, struct ir_insn *in)
{
    if (!small(ps->tok + 1, IR_MAX_LABELS, &in->imm))
        return fail(ps, "bad label");
    if (in->imm >= ps->b->n_labels)
        ps->b->n_labels = in->imm + 1;
    return 0;
}

/* A word after the operands. 1: it was none, so an operand. */
static int parse_word(struct parser *ps, struct ir_insn *in)
{
    const char *t = ps->tok;
    uint32_t n;
    if (*t == '{')
        return parse_flags(ps, in);
    if (!strncmp(t, "live=", 5))
        return parse_arith(ps, t + 5, &in->fl_live);
    if (!strncmp(t, "fault=", 6))
        return parse_arith(ps, t + 6, &in->fl_fault);
    if (!strncmp(t, "enc=", 4))
        return parse_enc(ps, in, t + 4);
    if (*t == '@')
        return parse_helper(ps, in);
    if (*t == 'L' && isdigit((unsigned char)t[1]))
        return parse_label(ps, in);
    if (*t == '#') {
        if (!small(t + 1, 1ull << 32, &n))
            return fail(ps, "bad immediate");
        if (in->op == IR_setcf || in->op == IR_fence)
            in->sub = (uint8_t)n;
        else
            in->imm = n;
        return 0;
    }
    if (!strcmp(t, "from") || !strcmp(t, "mask")) {
        bool from = *t == 'f';
        if (!next(ps) || !small(ps->tok, from ? in->op == IR_jmpc ? 65 : 9 : 1ull << 32, &n))
            return fail(ps, "bad number");
        if (from)
            in->sub = (uint8_t)n;
        else
            in->imm = n;
        return 0;
    }
    for (unsigned i = 1; i < 4 && in->op == IR_ld; i++)
        if (!strcmp(t, ir_ldsub_name[i])) {
            in->sub = (uint8_t)i;
            return 0;
        }
    return 1;
}

static int find_word(const char *const *names, unsigned n, const char *s)
{
    for (unsigned i = 0; i < n; i++)
        if (!strcmp(names[i], s))
            return (int)i;
    return -1;
}

/* op[.sub][.size]: modifies the token. */
static int parse_op(struct parser *ps, struct ir_insn *in)
{
    char *save = NULL, *w = strtok_r(ps->tok, ".", &save);
    unsigned op = 0;
    while (op < IR_OP_COUNT && (!w || strcmp(ir_opinfo[op].name, w)))
        op++;
    if (op == IR_OP_COUNT)
        return fail(ps, "unknown op");
    *in = (struct ir_insn){ .op = (uint8_t)op, .size = 8, .d = IR_NONE, .e = IR_NONE, .a = IR_NONE, .b = IR_NONE, .c = IR_NONE,
                            .base = IR_NONE, .index = IR_NONE, .seg = IR_NONE };
    bool cc = op == IR_cmov || op == IR_setcc || op == IR_brcc || op == IR_jcc;
    if (cc || op == IR_rmw) {
        w = strtok_r(NULL, ".", &save);
        int sub = !w ? -1 : cc ? find_word(ir_cond_name, 16, w) : find_word(ir_rmw_name, RMW_COUNT, w);
        if (sub < 0)
            return fail(ps, "bad condition or rmw op");
        in->sub = (uint8_t)sub;
    }
    w = strtok_r(NULL, ".", &save);
    const char *letters = "bwdq", *l = w && *w && !w[1] ? strchr(letters, *w) : NULL;
    if (w && !l)
        return fail(ps, "bad size");
    if (l)
        in->size = (uint8_t)(1u << (l - letters));
    if (ir_opinfo[op].attr & END)
        in->flags |= IRF_LAST;
    return 0;
}

static int parse_insn(struct parser *ps)
{
    struct ir_block *b = ps->b;
    struct ir_insn in;
    char order[8];
    unsigned k = 0;
    int r = parse_op(ps, &in);
    if (r)
        return r;
    if (b->n >= IR_MAX_INSNS)
        return fail(ps, "too many insns");
    snprintf(order, sizeof(order), "%s%s", ir_opinfo[in.op].out, ir_ins(in.op));
    in.gi = (uint16_t)(b->n_guest ? b->n_guest - 1 : 0);
    while (!r && next(ps)) {
        r = parse_word(ps, &in);
        if (r <= 0)
            continue;
        r = 0;
        if (!order[k])
            return fail(ps, "too many operands");
        if (order[k] == 'm')
            r = ps->tok[0] == '[' ? parse_mem(ps, &in) : fail(ps, "[ expected");
        else if (!parse_ref(ps, ir_field(&in, order[k])))
            r = fail(ps, "bad operand");
        k++;
    }
    if (!r && order[k])
        return fail(ps, "too few operands");
    if (!r)
        b->insn[b->n++] = in;
    return r;
}

static int parse_line(struct parser *ps)
{
    uint64_t pc, len;
    if (!next(ps) || ps->tok[0] == '#')
        return 0;
    if (!strcmp(ps->tok, "block")) {
        if (!next(ps) || !number(ps->tok, &ps->b->pc))
            return fail(ps, "bad pc");
        return 0;
    }
    if (ps->tok[0] != ';')
        return parse_insn(ps);
    if (!next(ps) || strcmp(ps->tok, "guest"))
        return 0;
    if (!next(ps) || !next(ps) || !number(ps->tok, &pc) || !next(ps) || !number(ps->tok, &len) || ps->b->n_guest >= IR_MAX_GUEST)
        return fail(ps, "bad guest line");
    ir_guest(ps->b, pc, (unsigned)len);
    return 0;
}

int ir_parse(struct ir_block *b, const struct tcg_frontend *fe, const char *text, char *err, size_t errlen)
{
    struct parser ps = { .b = b, .err = err, .errlen = errlen };
    int r = 0;
    ir_begin(b, fe, 0);
    while (!r && *text) {
        const char *nl = strchr(text, '\n');
        ps.p = text;
        ps.end = nl ? nl : text + strlen(text);
        ps.line++;
        r = parse_line(&ps);
        text = nl ? nl + 1 : ps.end;
    }
    return r;
}
