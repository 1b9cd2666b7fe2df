/*
 * Log categories of -d, and host error messages. Guest trace goes to the -D file (stderr by default);
 * log_error always goes to stderr as one line, "duet: " first. Nothing here exits: only vmm/main.c does.
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H
#include "core/types.h"

enum log_cat {
    LOG_IN_ASM = 1 << 0, LOG_IR = 1 << 1, LOG_OPT = 1 << 2, LOG_OUT_ASM = 1 << 3,
    LOG_INT = 1 << 4, LOG_MMU = 1 << 5, LOG_GUEST = 1 << 6, LOG_EXEC = 1 << 7, LOG_UNIMP = 1 << 8,
    LOG_IO = 1 << 10, LOG_DEVICES = 1 << 11,  /* every access to a device; the state of all devices at the end (vmm/devtrace.h) */
    LOG_SPEED = 1 << 12, LOG_HOT = 1 << 13,   /* at the end: vmm/speed.h, vmm/hot.h */
    LOG_COUNT = 1 << 9,                       /* translated code counts what it executes, said with LOG_EXEC's numbers */
};

extern unsigned log_mask;                     /* bits of enum log_cat */
extern uint64_t log_range_lo, log_range_hi;   /* stages are shown for guest pcs in [lo, hi] (-dfilter) */

static inline bool log_on(unsigned cat) { return unlikely(log_mask & cat); }
static inline bool log_in_range(uint64_t pc) { return pc >= log_range_lo && pc <= log_range_hi; }

/* Parse "in_asm,ir,..." into *mask; 0, or -EINVAL with *bad pointing at the unknown word. */
int log_parse(const char *spec, unsigned *mask, const char **bad);
int log_open(const char *path);               /* -D; 0 or -errno */
void log_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_flush(void);
/* A guest did something senseless; shown by -d guest, rate-limited. */
void log_guest(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#endif
