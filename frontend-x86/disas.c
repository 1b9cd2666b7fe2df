/*
 * Intel-syntax text of a decoded instruction, for logs, the monitor and the tests. In: the insn and the address of its first byte.
 * Out: text, always terminated; the return value is its length, as snprintf's.
 */
#include "frontend-x86/rows.h"
#include "x86/cpu.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

struct out { char *p; size_t len, n; };

__attribute__((format(printf, 2, 3))) static void say(struct out *o, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int k = vsnprintf(o->n < o->len ? o->p + o->n : NULL, o->n < o->len ? o->len - o->n : 0, fmt, ap);
    va_end(ap);
    o->n += k > 0 ? (size_t)k : 0;
}

static const char *const seg_name[8] = { "es", "cs", "ss", "ds", "fs", "gs", "?", "?" };

static void say_gpr(struct out *o, unsigned r, unsigned size)
{
    static const char *const low[8] = { "al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil" };
    static const char *const word[8] = { "ax", "cx", "dx", "bx", "sp", "bp", "si", "di" };
    if (r >= 8)
        say(o, "r%u%s", r, size == 1 ? "b" : size == 2 ? "w" : size == 4 ? "d" : "");
    else if (size == 1)
        say(o, "%s", low[r]);
    else
        say(o, "%s%s", size == 4 ? "e" : size == 8 ? "r" : "", word[r]);
}

static const char *size_name(unsigned size)
{
    switch (size) {
    case 1: return "byte ptr ";
    case 2: return "word ptr ";
    case 4: return "dword ptr ";
    case 6: return "fword ptr ";
    case 8: return "qword ptr ";
    case 10: return "xword ptr ";
    case 16: return "xmmword ptr ";
    case 32: return "ymmword ptr ";
    case 64: return "zmmword ptr ";
    default: return "";
    }
}

static void say_number(struct out *o, uint64_t v) { say(o, v > 9 ? "0x%" PRIx64 : "%" PRIx64, v); }

static void say_disp(struct out *o, int64_t disp, bool first, unsigned addrsize)
{
    if (first)
        say_number(o, addrsize == 8 ? (uint64_t)disp : (uint64_t)disp & ((1ull << (8 * addrsize)) - 1));
    else if (disp) {
        say(o, disp < 0 ? " - " : " + ");
        say_number(o, disp < 0 ? 0 - (uint64_t)disp : (uint64_t)disp);
    }
}

/* Of a VSIB index vector: where the elements are wider than the indices it has half the length. */
static unsigned index_length(const struct x86_insn *i)
{
    unsigned half = i->vex_l ? i->vex_l - 1u : 0;
    for (unsigned k = 0; k < i->n_opnd; k++)
        if (i->row->opnd[k] == L_Gh)
            return half;
    return i->vex_l;
}

static void say_mem(struct out *o, const struct x86_insn *i, const struct x86_operand *op)
{
    bool implied = !i->has_modrm && op->reg;
    say(o, "%s", size_name(op->size));
    if (implied && i->row->opnd[0] != L_XLAT) {
        say(o, "%s:[", seg_name[op->sel & 7]);
        say_gpr(o, op->reg, i->addrsize);
        say(o, "]");
        return;
    }
    if (i->seg_override != X86_NOREG)
        say(o, "%s:", seg_name[i->mem.seg & 7]);
    say(o, "[");
    bool first = true;
    if (i->mem.rip_rel) {
        say(o, i->addrsize == 8 ? "rip" : "eip");
        first = false;
    } else if (i->mem.base != X86_NOREG) {
        say_gpr(o, i->mem.base, i->addrsize);
        first = false;
    }
    if (i->mem.index != X86_NOREG) {
        say(o, first ? "" : " + ");
        if (i->mem.vsib)
            say(o, "%cmm%u", "xyzz"[index_length(i)], i->mem.index);
        else
            say_gpr(o, i->mem.index, i->addrsize);
        if (i->mem.scale)
            say(o, "*%u", 1u << i->mem.scale);
        first = false;
    }
    say_disp(o, i->mem.disp, first, i->addrsize);
    say(o, "]");
}

static void say_operand(struct out *o, const struct x86_insn *i, const struct x86_operand *op, uint64_t pc)
{
    static const char high[4] = { 'a', 'c', 'd', 'b' };
    switch (op->kind) {
    case OK_GPR: say_gpr(o, op->reg, op->size); break;
    case OK_GPRH: say(o, "%ch", high[op->reg & 3]); break;
    case OK_MEM: say_mem(o, i, op); break;
    case OK_IMM: say_number(o, op->imm); break;
    case OK_CONST1: say(o, "1"); break;
    case OK_REL: say_number(o, (pc + i->len + op->imm) & (op->size == 8 ? ~0ull : op->size == 4 ? 0xffffffffull : 0xffffull)); break;
    case OK_FAR: say(o, "0x%x:0x%" PRIx64, op->sel, op->imm); break;
    case OK_SEG: say(o, "%s", seg_name[op->reg & 7]); break;
    case OK_CR: say(o, "cr%u", op->reg); break;
    case OK_DR: say(o, "dr%u", op->reg); break;
    case OK_XMM: say(o, "xmm%u", op->reg); break;
    case OK_YMM: say(o, "ymm%u", op->reg); break;
    case OK_ZMM: say(o, "zmm%u", op->reg); break;
    case OK_MASK: say(o, "k%u", op->reg); break;
    case OK_MMX: say(o, "mm%u", op->reg); break;
    case OK_ST: say(o, "st(%u)", op->reg); break;
    default: break;
    }
}

/* What EVEX adds to the operands: the mask after the first, the broadcast after memory, rounding after the last. */
static void say_evex(struct out *o, const struct x86_insn *i, unsigned k)
{
    static const char *const round[4] = { "rn", "rd", "ru", "rz" };
    const struct x86_operand *op = &i->o[k];
    if (k == 0 && i->evex_k)
        say(o, " {k%u}%s", i->evex_k, i->evex_z ? " {z}" : "");
    if (i->evex_b && op->kind == OK_MEM)
        say(o, "{1to%u}", (i->row->opnd[k] == L_Wh ? 8u << i->vex_l : 16u << i->vex_l) / op->size);
    if (i->evex_b && i->modrm >= 0xc0 && k + 1u == i->n_opnd)
        say(o, i->row->attr & X86_F_ER ? ", {%s-sae}" : ", {sae}", round[i->vex_l]);
}

static const char *mnem_name(unsigned mnem)
{
    static const char *const names[X86I_COUNT] = {
#define MNEM(name) [X86I_##name] = #name,
#include "frontend-x86/mnems.def"
#undef MNEM
    };
    return mnem && mnem < X86I_COUNT ? names[mnem] : "(bad)";
}

int x86_disas(const struct x86_insn *i, uint64_t pc, char *out, size_t len)
{
    struct out o = { out, len, 0 };
    if (len)
        out[0] = 0;
    bool cmp = i->row && (i->row->fl_w == RF_ARITH);
    if (i->lock)
        say(&o, "lock ");
    if (i->row && (i->row->attr & X86_F_REPOK) && (i->rep || i->repne))
        say(&o, !cmp ? "rep " : i->rep ? "repe " : "repne ");
    say(&o, "%s", mnem_name(i->mnem));
    for (unsigned k = 0; k < i->n_opnd; k++) {
        say(&o, k ? ", " : " ");
        say_operand(&o, i, &i->o[k], pc);
        if (i->evex)
            say_evex(&o, i, k);
    }
    return (int)o.n;
}
