/*
 * The hottest blocks (vmm/hot.h): the guest's code and the host's with the share of time that each instruction took, between them the IR before
 * and after the passes. In: samples (vmm/profile.h), and blocks as they are in the code cache now. The IR is kept of hot blocks made
 * while the profile is on, and of those sampled a few times; a block whose time was taken by an earlier form has its time here all the same.
 */
#include "vmm/hot.h"
#include "frontend-x86/mode.h"
#include "vmm/engines.h"
#include "vmm/profile.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct report { struct vm *vm; struct tcg *t; void (*line)(void *, const char *); void *opaque; double total; const struct profile_block *b; };

static void say(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct report *r, const char *fmt, ...)
{
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    r->line(r->opaque, text);
}

static bool is_form_of(const struct tb *tb, const struct profile_block *b)
{
    return tb->key.pc == b->key.pc && tb->key.mode == b->key.mode && tb->key.cs_base == b->key.cs_base && tb->phys[0] == b->phys;
}

/* The block's form that is in use, else the last whose guest code is known. */
static const struct tb *find(const struct tcg *t, const struct profile_block *b)
{
    const struct tb *old = NULL;
    for (unsigned n = 0; n < t->n_parts; n++) {
        const struct tcg_part *p = &t->part[(t->now + t->n_parts - n) % t->n_parts];
        for (unsigned i = p->n; i-- > 0;) {
            const struct tb *tb = p->by_code[i];
            if (is_form_of(tb, b) && tb->valid)
                return tb;
            old = !old && tb->made && is_form_of(tb, b) ? tb : old;
        }
    }
    return old;
}

static const char *share(const struct report *r, uint64_t ns, char text[16])
{
    if (ns)
        snprintf(text, 16, "%6.2f%%", 100 * (double)ns / r->total);
    else
        snprintf(text, 16, "%7s", "");
    return text;
}

/* Bytes of an instruction, which may lie in two pages. */
static bool bytes_of(const struct report *r, const struct tb *tb, uint64_t off, unsigned len, uint8_t *to)
{
    if (tb->made)
        memcpy(to, tb->made->code + off, len);
    for (unsigned i = 0; !tb->made && i < len; i++) {
        uint64_t at = (tb->phys[0] & ~PAGE_MASK) + off + i;
        gpa_t gpa = at < PAGE_SIZE ? (tb->phys[0] & PAGE_MASK) + at : tb->phys[1] + (at - PAGE_SIZE);
        if (as_dma_read(r->vm->mem, gpa, to + i, 1) < 0)
            return false;
    }
    return true;
}

static void say_guest(struct report *r, const struct tb *tb)
{
    char text[128], time[16];
    uint8_t bytes[16];

    say(r, "guest:\n");
    for (unsigned i = 0; i < tb->n_guest; i++) {
        uint64_t pc = tcg_guest_pc(tb, i), linear = pc + tb->key.cs_base, ns = 0;
        unsigned len = tb->guest[i + 1] - tb->guest[i];
        for (unsigned k = 0; k < r->b->n_sites; k++)
            ns += r->b->sites[k].s.guest == linear ? r->b->sites[k].ns : 0;
        if (!bytes_of(r, tb, linear - tb->key.pc, len, bytes) ||
            r->t->fe->disas(r->vm->vcpus[0]->cpu, &tb->key, pc, bytes, len, text, sizeof(text)) < 0)
            strcpy(text, "?");
        say(r, "%s  0x%llx: %s\n", share(r, ns, time), (unsigned long long)pc, text);
    }
}

static void say_ir(struct report *r, const struct ir_block *ir, const char *title)
{
    struct ir_text text = { 0 };

    ir_print(ir, &text);
    say(r, "%s\n", title);
    r->line(r->opaque, text.buf);
    free(text.buf);
}

static void host_line(void *opaque, uint64_t addr, const char *text)
{
    struct report *r = opaque;
    uint64_t ns = 0;
    char time[16];

    for (unsigned k = 0; k < r->b->n_sites; k++)
        ns += r->b->sites[k].s.at == addr && r->b->sites[k].s.flush == r->t->flush_count ? r->b->sites[k].ns : 0;
    say(r, "%s  0x%llx: %s\n", share(r, ns, time), (unsigned long long)addr, text);
}

static void say_block(struct report *r, unsigned rank)
{
    const struct profile_block *b = r->b;
    const struct tb *tb = find(r->t, b);
    char name[96], all[16], own[16];

    profile_guest_place(b->key.pc, name, sizeof(name));
    say(r, "hot %u: %s of the processor time, %s in its code; block 0x%llx (%s), mode 0x%x, cpl %u\n", rank, share(r, b->own_ns + b->called_ns, all),
        share(r, b->own_ns, own), (unsigned long long)b->key.pc, name, b->key.mode, XM_CPL(b->key.mode));
    if (!tb) {
        say(r, "it is not in the code cache any more\n");
        return;
    }
    say_guest(r, tb);
    if (tb->ir && tb->made) {
        say_ir(r, tb->made, "IR:");
        say_ir(r, tb->ir, "OPT:");
    } else {
        say(r, "its IR was not kept: too few samples, or the profile has ended\n");
    }
    say(r, "host: %u bytes for %u guest instructions%s%s%s\n", tb->code_size, tb->n_guest, tb->hot ? ", a hot block" : "",
        tb->tight ? " with a tight loop" : "", tb->valid ? "" : ", dropped since");
    r->t->be->disas(tb->code, tb->code_size, (uint64_t)(uintptr_t)tb->code, host_line, r);
}

void hot_each(struct vm *vm, unsigned most, void (*line)(void *opaque, const char *text), void *opaque)
{
    struct report r = { .vm = vm, .t = engine_tcg_last(), .line = line, .opaque = opaque };
    struct profile *p = profile_collect();

    for (unsigned i = 0; p && i < N_WHERES; i++)
        r.total += (double)p->ns[i];
    if (!p || !r.total)
        say(&r, "hot: nothing was sampled (-accel tcg,profile=on; the monitor's profile on)\n");
    for (unsigned i = 0; p && i < MIN(most, p->n_blocks); i++) {
        r.b = &p->blocks[i];
        say_block(&r, i + 1);
    }
    profile_free(p);
}
