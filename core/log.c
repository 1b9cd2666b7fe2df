/*
 * Log categories and host messages (core/log.h).
 *
 * In: printf-style calls from any thread. Out: whole lines, never interleaved: the log lock (the innermost lock of the machine, core/vm.h)
 * is held while one message is written. Guest trace goes to the -D file or stderr; errors and warnings always to stderr.
 * log_guest lets at most GUEST_BURST lines a second through, so that a guest that loops on nonsense cannot fill a disk; what was
 * left out is counted and said.
 */
#include "core/log.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define GUEST_BURST 200u

unsigned log_mask;
uint64_t log_range_lo, log_range_hi = UINT64_MAX;

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *log_file;                      /* NULL: stderr */
static time_t guest_second;
static unsigned guest_lines, guest_dropped;

static const struct { const char *name; unsigned bit; } log_names[] = {
    { "in_asm", LOG_IN_ASM }, { "ir", LOG_IR }, { "opt", LOG_OPT }, { "out_asm", LOG_OUT_ASM }, { "int", LOG_INT },
    { "mmu", LOG_MMU }, { "guest", LOG_GUEST }, { "exec", LOG_EXEC }, { "unimp", LOG_UNIMP }, { "count", LOG_COUNT | LOG_EXEC },
    { "io", LOG_IO }, { "devices", LOG_DEVICES }, { "speed", LOG_SPEED }, { "hot", LOG_HOT },
};

static unsigned log_bit(const char *word, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(log_names); i++) {
        if (strlen(log_names[i].name) == len && !memcmp(log_names[i].name, word, len))
            return log_names[i].bit;
    }
    return 0;
}

int log_parse(const char *spec, unsigned *mask, const char **bad)
{
    unsigned m = 0;

    for (const char *p = spec;; ) {
        size_t len = strcspn(p, ",");
        unsigned bit = log_bit(p, len);
        if (!bit) {
            *bad = p;
            return -EINVAL;
        }
        m |= bit;
        p += len;
        if (!*p)
            break;
        p++;
    }
    *mask |= m;
    return 0;
}

int log_open(const char *path)
{
    FILE *f = fopen(path, "we");

    if (!f)
        return -errno;
    pthread_mutex_lock(&log_lock);
    if (log_file)
        fclose(log_file);
    log_file = f;
    pthread_mutex_unlock(&log_lock);
    return 0;
}

static FILE *log_out(void) { return log_file ? log_file : stderr; }

void log_printf(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    pthread_mutex_lock(&log_lock);
    vfprintf(log_out(), fmt, ap);
    pthread_mutex_unlock(&log_lock);
    va_end(ap);
}

/* One line on stderr: PREFIX, the message, and a newline when the message has none. */
static void say(const char *prefix, const char *fmt, va_list ap)
{
    size_t n = strlen(fmt);

    pthread_mutex_lock(&log_lock);
    if (log_file)
        fflush(log_file);
    fputs(prefix, stderr);
    vfprintf(stderr, fmt, ap);
    if (!n || fmt[n - 1] != '\n')
        fputc('\n', stderr);
    fflush(stderr);
    pthread_mutex_unlock(&log_lock);
}

void log_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say("duet: ", fmt, ap);
    va_end(ap);
}

void log_warn(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    say("duet: warning: ", fmt, ap);
    va_end(ap);
}

void log_flush(void)
{
    pthread_mutex_lock(&log_lock);
    fflush(log_out());
    pthread_mutex_unlock(&log_lock);
}

/* Log lock held. True when one more line may be shown in this second. */
static bool guest_allowed(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    if (ts.tv_sec != guest_second) {
        if (guest_dropped)
            fprintf(log_out(), "guest: %u more messages not shown\n", guest_dropped);
        guest_second = ts.tv_sec;
        guest_lines = guest_dropped = 0;
    }
    if (guest_lines >= GUEST_BURST) {
        guest_dropped++;
        return false;
    }
    guest_lines++;
    return true;
}

void log_guest(const char *fmt, ...)
{
    va_list ap;

    if (!log_on(LOG_GUEST))
        return;
    va_start(ap, fmt);
    pthread_mutex_lock(&log_lock);
    if (guest_allowed()) {
        size_t n = strlen(fmt);
        fputs("guest: ", log_out());
        vfprintf(log_out(), fmt, ap);
        if (!n || fmt[n - 1] != '\n')
            fputc('\n', log_out());
    }
    pthread_mutex_unlock(&log_lock);
    va_end(ap);
}
