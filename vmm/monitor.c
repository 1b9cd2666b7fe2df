/*
 * The monitor: one line in, one command done; its answer ends with a new prompt.
 *
 * Everything runs with the machine lock held, on the loop's thread; what needs the vCPU at rest is a call of vmm/rest.h on its own thread. While one
 * is under way no further input is taken, so commands are done in order. Commands are rows of one table.
 */
#include "vmm/monitor.h"
#include "core/clock.h"
#include "core/log.h"
#include "host/chr.h"
#include "kvm/kvm.h"
#include "vmm/counters.h"
#include "vmm/engines.h"
#include "vmm/hot.h"
#include "vmm/kvm_chips.h"
#include "vmm/rest.h"
#include "vmm/speed.h"
#include "vmm/switch.h"
#include "vmm/words.h"
#include "x86/cpu.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct monitor {
    struct vm *vm; struct pc *pc; const struct options *opt; struct chr *chr;
    char line[256]; size_t len;
    bool too_long, busy;
    char arg[64]; int64_t asked;                   /* of the call under way */
} mon;

/* Of any length. */
static void say_text(void *opaque, const char *text)
{
    while (*text) {
        size_t run = strcspn(text, "\n");
        chr_write(mon.chr, (const uint8_t *)text, run);
        text += run;
        if (*text && *text++ == '\n')
            chr_write(mon.chr, (const uint8_t *)"\r\n", 2);
    }
}

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
    char text[8192];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    say_text(NULL, text);
}

static void prompt(void) { say("(duet) "); }

static int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * (int64_t)NS_PER_SEC + ts.tv_nsec;
}

/* ---- commands that need the vCPU at rest ---- */

static void answered(void)
{
    mon.busy = false;
    prompt();
    chr_accept_input(mon.chr);
}

static void at_rest(void (*call)(void *), const char *arg)
{
    snprintf(mon.arg, sizeof(mon.arg), "%s", arg);
    mon.asked = now_ns();
    mon.busy = true;
    rest_call(mon.vm, call, NULL);
}

static void registers(void *opaque)
{
    char text[4096];

    x86_dump(mon.vm->vcpus[0]->cpu, text, sizeof(text));
    say("%s", text);
    answered();
}

static void hottest(void *opaque)
{
    char *end;
    unsigned long n = *mon.arg ? strtoul(mon.arg, &end, 10) : HOT_SHOWN;

    if (*mon.arg && (*end || n - 1 >= 1000))
        say("info hot: '%s' is not a number (valid: 1 to 1000)\n", mon.arg);
    else
        hot_each(mon.vm, (unsigned)n, say_text, NULL);
    answered();
}

static void change_profile(void *opaque)
{
    int ret = speed_profile(mon.vm, mon.arg);

    if (ret)
        say("profile %s: %s\n", mon.arg, ret == -ENOENT ? "only tcg has profiles" : strerror(-ret));
    answered();
}

static void change_engine(void *opaque)
{
    const char *from = mon.vm->engine->name;
    char why[1024];

    if (switch_engine(mon.vm, mon.opt, mon.arg, why, sizeof(why)) < 0)
        say("accel %s: %s\n", mon.arg, why);
    else
        say("accel: %s -> %s in %.3f ms\n", from, mon.vm->engine->name, (double)(now_ns() - mon.asked) / 1e6);
    answered();
}

/* ---- commands ---- */

static void do_accel(const char *arg, const char *option)
{
    if (*arg)
        at_rest(change_engine, arg);
    else
        say("accel: which? (tcg, interp, kvm)\n");
}

static void info_accel(const char *option)
{
    static const char *const places[] = { "off", "split", "on" };

    say("engine: %s (%s)\n", mon.vm->engine->name, mon.vm->accel_why);
    if (mon.vm->engine == &kvm_engine)
        say("kernel-irqchip: %s\n", places[kvm_chips_of(mon.vm)]);
}

static void info_status(const char *option)
{
    static const char *const names[] = { "running", "paused", "paused (shutdown)" };
    say("VM status: %s\n", names[rest_state()]);
}

static void info_counters(const char *option) { counters_each(mon.vm, say_text, NULL); }
static void info_speed(const char *option) { speed_each(mon.vm, *option, say_text, NULL); }
static void info_hot(const char *option) { at_rest(hottest, option); }
static void info_registers(const char *option) { at_rest(registers, ""); }

static const struct { const char *name, *option, *help; void (*show)(const char *option); } infos[] = {
    { "accel", "", "engine, why it was chosen, kernel-irqchip", info_accel },
    { "counters", "", "what has been counted since the start: exits, blocks, TLB and page-table events", info_counters },
    { "hot", "[N]", "the N blocks that took most time, through all stages (profile on)", info_hot },
    { "registers", "", "the processor's registers", info_registers },
    { "speed", "-j", "where time goes (profile on), and what has been counted by the second; -j: as JSON", info_speed },
    { "status", "", "running or not", info_status },
};

static void unknown(const char *what, const char *word, const char *const *valid)
{
    unsigned best = 0;

    for (unsigned i = 1; valid[i]; i++) {
        if (words_distance(word, valid[i]) < words_distance(word, valid[best]))
            best = i;
    }
    say("%s: '%s' is not known (nearest: %s; help lists all)\n", what, word, valid[best]);
}

static void do_info(const char *arg, const char *option)
{
    const char *names[ARRAY_SIZE(infos) + 1] = { NULL };

    for (unsigned i = 0; i < ARRAY_SIZE(infos); i++) {
        names[i] = infos[i].name;
        if (strcmp(arg, infos[i].name))
            continue;
        if (*option && strcmp(option, infos[i].option) && *infos[i].option != '[')
            say("info %s: '%s' is not known (valid: %s)\n", arg, option, *infos[i].option ? infos[i].option : "nothing");
        else
            infos[i].show(option);
        return;
    }
    unknown("info", arg, names);
}

static void do_profile(const char *arg, const char *option)
{
    for (unsigned i = 0; speed_profiles[i]; i++)
        if (!strcmp(arg, speed_profiles[i])) {
            at_rest(change_profile, arg);
            return;
        }
    unknown("profile", arg, speed_profiles);
}

static void do_stop(const char *arg, const char *option)
{
    if (rest_state() == REST_RUNNING)
        rest_set(mon.vm, REST_STOPPED);
}

static void do_cont(const char *arg, const char *option)
{
    if (rest_state() == REST_OFF)
        say("cont: the guest has switched itself off; system_reset starts it again\n");
    else
        rest_set(mon.vm, REST_RUNNING);
}

static void do_reset(const char *arg, const char *option) { vm_request(mon.vm, VM_RESET, 0); }
static void do_powerdown(const char *arg, const char *option) { pc_power_button(mon.pc); }
static void do_quit(const char *arg, const char *option) { vm_request(mon.vm, VM_QUIT, 0); }
static void do_help(const char *arg, const char *option);

static const struct { const char *name, *arg, *help; void (*run)(const char *arg, const char *option); } commands[] = {
    { "accel", "tcg|interp|kvm[,emulated=on]", "move the running machine to another engine", do_accel },
    { "cont", "", "let the guest go on", do_cont },
    { "help", "", "this list", do_help },
    { "info", "accel|counters|hot [N]|registers|speed [-j]|status", "show something", do_info },
    { "profile", "on|off|count", "sample where time goes, for info speed and info hot; count: also count the guest's instructions", do_profile },
    { "quit", "", "end the machine", do_quit },
    { "stop", "", "stop the guest", do_stop },
    { "system_powerdown", "", "press the power button", do_powerdown },
    { "system_reset", "", "press the reset button", do_reset },
};

static void do_help(const char *arg, const char *option)
{
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
        say("%s %s -- %s\n", commands[i].name, commands[i].arg, commands[i].help);
    for (unsigned i = 0; i < ARRAY_SIZE(infos); i++)
        say("info %s %s -- %s\n", infos[i].name, infos[i].option, infos[i].help);
}

static void run_command(char *line)
{
    const char *names[ARRAY_SIZE(commands) + 1] = { NULL };
    char *word = strtok(line, " \t"), *arg = strtok(NULL, " \t"), *option = strtok(NULL, " \t");

    if (!word)
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        names[i] = commands[i].name;
        if (strcmp(word, commands[i].name))
            continue;
        if ((option && commands[i].run != do_info) || strtok(NULL, " \t") || (arg && !*commands[i].arg))
            say("%s: too many words (%s %s)\n", word, word, commands[i].arg);
        else
            commands[i].run(arg ? arg : "", option ? option : "");
        return;
    }
    unknown("monitor", word, names);
}

/* ---- lines ---- */

/* One byte at a time: a command may bar what comes after it. */
static size_t can_receive(void *opaque) { return !mon.busy; }

static void end_of_line(void)
{
    mon.line[mon.len] = 0;
    if (mon.too_long)
        say("monitor: a line has at most %zu letters\n", sizeof(mon.line) - 1);
    else
        run_command(mon.line);
    mon.len = 0;
    mon.too_long = false;
    if (!mon.busy)
        prompt();
}

static void receive(void *opaque, const uint8_t *buf, size_t len)
{
    if (*buf == '\n' || *buf == '\r')
        end_of_line();
    else if (*buf == 8 || *buf == 127)
        mon.len -= mon.len > 0;
    else if (mon.len < sizeof(mon.line) - 1)
        mon.line[mon.len++] = (char)*buf;
    else
        mon.too_long = true;
}

static void on_event(void *opaque, int event)
{
    mon.len = 0;
    mon.too_long = false;
    if (event == CHR_OPENED && !mon.busy)
        prompt();
}

static void on_quit(void *opaque) { vm_request(mon.vm, VM_QUIT, 0); }

int monitor_open(struct vm *vm, struct pc *pc, const struct options *opt)
{
    char err[256];

    if (!opt->monitor)
        return 0;
    mon = (struct monitor){ .vm = vm, .pc = pc, .opt = opt };
    mon.chr = !strcmp(opt->monitor, "stdio") ? chr_open_stdio(vm->loop, true, on_quit, NULL, err, sizeof(err))
                                             : chr_open(vm->loop, opt->monitor, "monitor", on_quit, NULL, err, sizeof(err));
    if (!mon.chr) {
        log_error("-monitor %s: %s", opt->monitor, err);
        return -EINVAL;
    }
    chr_set_receiver(mon.chr, can_receive, receive, on_event, NULL);
    if (chr_connected(mon.chr))
        prompt();
    return 0;
}
