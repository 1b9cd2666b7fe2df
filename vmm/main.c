/*
 * duet: parses the command line, builds the machine, runs it, and is the only file that exits.
 *
 * Threads: one for each vCPU (vmm/smp.c); this one runs the event loop. A request (reset, power-off, quit) makes the vCPUs leave their engine; the
 * last one's thread then resets the machine or ends the loop, so the machine always stands still when it is reset. Every exit path goes through
 * pc_close, which writes out disks and gives the terminal back.
 */
#include "core/alloc.h"
#include "core/log.h"
#include "vmm/accel.h"
#include "vmm/counters.h"
#include "vmm/devtrace.h"
#include "vmm/engines.h"
#include "vmm/hot.h"
#include "vmm/loop.h"
#include "vmm/monitor.h"
#include "vmm/options.h"
#include "vmm/pc.h"
#include "vmm/perf.h"
#include "vmm/profile.h"
#include "vmm/rest.h"
#include "vmm/smp.h"
#include "vmm/speed.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define ACCESS_NS 1000                        /* -rtc clock=accesses: what one takes */

struct run { struct vm *vm; struct pc *pc; const struct options *opt; int status; };

/* The vCPUs have left their engine; on one's thread. True: go on running. */
static bool handle_request(void *opaque, enum run_result result)
{
    struct run *r = opaque;
    struct vm *vm = r->vm;
    bool again = false;

    machine_lock();
    if (vm->request == VM_POWEROFF && r->opt->no_shutdown && result != RUN_ERROR) {
        vm->request = VM_NONE;                       /* stay, switched off, until something else is asked for */
        rest_set(vm, REST_OFF);
    }
    if (result != RUN_ERROR)
        rest_wait(vm);
    enum vm_request request = vm->request;
    vm->request = VM_NONE;
    for (int i = 0; i < vm->n_vcpus; i++)
        vcpu_clear_pending(vm->vcpus[i], VCPU_EXIT);
    if (result == RUN_ERROR) {
        r->status = 1;
    } else if (request == VM_RESET && !r->opt->no_reboot) {
        again = pc_reset(r->pc) == 0;
        r->status = !again;
        if (rest_state() == REST_OFF)
            rest_set(vm, REST_RUNNING);
    } else if (request == VM_QUIT) {
        r->status = r->opt->lockstep && vm->exit_status < 128 ? 0 : vm->exit_status;      /* 1 means a difference there */
    }
    again |= request == VM_NONE && result != RUN_ERROR;
    machine_unlock();
    if (!again)
        loop_quit(vm->loop);
    return again;
}

static void begin_vcpu(void *opaque, struct vcpu *v) { pc_vcpu_thread(((struct run *)opaque)->pc, v); }

/* SIGINT, SIGTERM and SIGHUP end the machine in order; a second one, a while later (timeout(1) sends its one twice), does not wait for a vCPU that does
   not come out. */
static void on_signal(void *opaque, int fd, unsigned events)
{
    static struct timespec first;
    struct signalfd_siginfo info;
    struct timespec now;

    if (read(fd, &info, sizeof(info)) != sizeof(info))
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (first.tv_sec) {
        if (now.tv_sec - first.tv_sec < 2)
            return;
        pc_close(NULL);
        _exit(128 + (int)info.ssi_signo);
    }
    first = now;
    vm_request(opaque, VM_QUIT, 128 + (int)info.ssi_signo);
}

static int watch_signals(struct vm *vm)
{
    sigset_t set;

    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return loop_watch(vm->loop, signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), LOOP_READ, on_signal, vm);
}

static void log_text(void *opaque, const char *text) { log_printf("%s", text); }
static void log_line(void *opaque, const char *text) { log_printf("counter %s", text); }

static int run(struct run *r)
{
    const char *profile = r->opt->profile ? r->opt->profile : log_on(LOG_HOT) ? "on" : NULL;
    machine_lock();
    int ret = speed_profile(r->vm, profile);
    machine_unlock();
    if (ret)
        log_warn("-accel %s: no profile: %s", r->vm->engine->name, ret == -ENOENT ? "only tcg has them" : strerror(-ret));
    if (smp_run(r->vm, handle_request, begin_vcpu, r))
        return 1;
    loop_run(r->vm->loop);
    smp_join(r->vm);
    perf_close();
    if (log_on(LOG_COUNT))
        engine_tcg_say_counts();
    if (log_on(LOG_EXEC))
        counters_each(r->vm, log_line, NULL);
    if (log_on(LOG_SPEED)) {
        speed_each(r->vm, false, log_text, NULL);
        log_printf("speed-json ");
        speed_each(r->vm, true, log_text, NULL);
    }
    if (log_on(LOG_HOT))
        hot_each(r->vm, HOT_SHOWN, log_text, NULL);
    if (log_on(LOG_DEVICES)) {
        machine_lock();
        devtrace_dump(r->vm);
        machine_unlock();
    }
    return r->status;
}

static int start(struct run *r)
{
    char why[sizeof(r->vm->accel_why)];
    engine_tcg_stress(&r->opt->stress);
    const struct engine *engine = accel_choose(r->opt, why, sizeof(why));
    struct vm *vm = r->vm = engine ? vm_new(engine, r->opt->clock_by_access ? clock_new_manual() : clock_new_real()) : NULL;

    if (!vm)
        return 1;
    memcpy(vm->accel_why, why, sizeof(why));
    if (log_mask || r->opt->lockstep)              /* the first line of what is reported */
        log_printf("engine: %s: %s\n", r->opt->lockstep ? r->opt->lockstep : engine->name, why);
    if (profile_symbols(r->opt))
        return 1;
    vm->no_reboot = r->opt->no_reboot;
    if (!(vm->loop = loop_new(vm->clock)) || watch_signals(vm))
        return 1;
    vm->cpu_spec = r->opt->cpu;
    int n_cpus = smp_complete(vm, r->opt);
    if (n_cpus < 0)
        return 1;
    if (!r->opt->lockstep)
        devtrace_open(vm, log_on(LOG_IO), r->opt->clock_by_access ? ACCESS_NS : 0);
    if (vm->engine->init(vm)) {
        log_error("-accel %s: cannot start", vm->engine->name);
        return 1;
    }
    if (perf_open(r->opt))
        return 1;
    machine_lock();
    r->pc = pc_new(vm, r->opt, n_cpus);
    int ret = r->pc ? monitor_open(vm, r->pc, r->opt) : -EINVAL;
    machine_unlock();
    if (ret || pc_reset(r->pc))
        return 1;
    if (r->opt->stopped)
        rest_set(vm, REST_STOPPED);
    return run(r);
}

int main(int argc, char **argv)
{
    static struct options opt;
    struct run r = { .opt = &opt };
    int ret = options_parse(&opt, argc, argv);

    if (ret)
        return ret < 0;
    log_mask = opt.log_mask;
    log_range_lo = opt.filter_lo;
    log_range_hi = opt.filter_hi;
    if (opt.log_path && (ret = log_open(opt.log_path))) {
        log_error("-D %s: %s", opt.log_path, strerror(-ret));
        return 1;
    }
    ret = start(&r);
    machine_lock();
    pc_close(r.pc);
    machine_unlock();
    log_flush();
    exit(ret);
}
