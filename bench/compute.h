/* The compute kernels of bench/engines: object code that is linked into the bare-metal guest (at ring 3) and into the native program alike. */
#ifndef BENCH_COMPUTE_H
#define BENCH_COMPUTE_H

/* N turns; the result of the first call is the same everywhere. */
struct compute { const char *name; unsigned long (*run)(unsigned long n); };
extern const struct compute compute_table[];       /* ends with name NULL */
#endif
