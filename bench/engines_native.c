/*
 * The host's side of bench/engines: the same compute kernels, from the same object code, and what the host's kernel takes for the like of some of the
 * guest's workloads. Prints `tsc HERTZ`, then `took NAME TICKS OPS CHECK ALL` as the guest does (tests/guest/kernels/engines64.c).
 * usage: engines_native TICKS FILE [NAME...]     FILE: what disk_read reads; NAME: all by default
 */
#include "bench/compute.h"
#include <cpuid.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int disk_fd;
static const struct compute *computing;

static unsigned long long now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (unsigned long long)ts.tv_sec * 1000000000ull + (unsigned long long)ts.tv_nsec;
}

static unsigned long long tsc_hz(void)
{
    unsigned long long t = __builtin_ia32_rdtsc(), n = now_ns();
    usleep(50000);
    return (unsigned long long)((double)(__builtin_ia32_rdtsc() - t) * 1e9 / (double)(now_ns() - n));
}

static void compute(unsigned long n) { computing->run(n); }

static void cpuids(unsigned long n)
{
    for (unsigned a, b, c, d; n; n--)
        __cpuid(0, a, b, c, d);
}

static void system_call(unsigned long n)
{
    for (; n; n--)
        syscall(SYS_getppid);
}

static void *some_pages(size_t n) { return mmap(NULL, n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

static void page_fault(unsigned long n)
{
    volatile char *p = some_pages(1);
    for (; n; n--) {
        madvise((void *)p, 4096, MADV_DONTNEED);
        *p = 1;
    }
    munmap((void *)p, 4096);
}

static void map_unmap(unsigned long n)
{
    for (unsigned long i = 0; i < n; i += 64) {
        volatile char *p = some_pages(64);
        for (unsigned k = 0; k < 64; k++)
            p[k * 4096] = 1;
        munmap((void *)p, 64 * 4096);
    }
}

static void halt_wake(unsigned long n)
{
    for (; n; n--)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){ 0, 1 }, NULL);
}

static void disk_read(unsigned long n)
{
    static char sector[4096];
    for (; n; n--)
        if (pread(disk_fd, sector, sizeof(sector), (off_t)(n % 1024) * 4096) != sizeof(sector))
            exit(1);
}

static unsigned long block_sum(void)
{
    unsigned char block[4096];
    unsigned long sum = 0;
    if (pread(disk_fd, block, sizeof(block), 4096) != sizeof(block))
        exit(1);
    for (unsigned i = 0; i < sizeof(block); i++)
        sum += block[i];
    return sum;
}

static const struct { const char *name; void (*run)(unsigned long); } works[] = {
    { "cpuid", cpuids }, { "system_call", system_call }, { "page_fault", page_fault }, { "map_unmap", map_unmap }, { "halt_wake", halt_wake },
    { "disk_read", disk_read },
};

static unsigned long long timed(void (*run)(unsigned long), unsigned long n)
{
    unsigned long long start = __builtin_ia32_rdtsc();
    run(n);
    return __builtin_ia32_rdtsc() - start;
}

/* As in the guest. */
static void measure(const char *name, void (*run)(unsigned long), unsigned long long want, unsigned long check)
{
    unsigned long n = 64, all = 0;
    unsigned long long ticks, best = ~0ull, spent = 0, slice = want / 20;

    while ((ticks = timed(run, n)) < slice / 2 && n < 1ul << 40)
        n = ticks < slice / 64 ? n * 8 : n * slice / ticks / 64 * 64 + 64;
    for (int i = 0; i < 3 || spent < want; i++) {
        ticks = timed(run, n);
        best = ticks < best ? ticks : best;
        all += n;
        spent += ticks;
    }
    printf("took %s %llu %lu %lu %lu\n", name, best, n, check, all);
    fflush(stdout);
}

static int wanted(const char *name, char **names)
{
    if (!*names)
        return 1;
    for (; *names; names++)
        if (!strcmp(*names, name))
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    unsigned long long want = argc > 2 ? strtoull(argv[1], NULL, 10) : 0;

    if (!want || (disk_fd = open(argv[2], O_RDONLY)) < 0) {
        fprintf(stderr, "usage: engines_native TICKS FILE [NAME...]\n");
        return 2;
    }
    printf("tsc %llu\n", tsc_hz());
    for (computing = compute_table; computing->name; computing++)
        if (wanted(computing->name, argv + 3))
            measure(computing->name, compute, want, computing->run(1000));
    for (unsigned i = 0; i < sizeof(works) / sizeof(works[0]); i++)
        if (wanted(works[i].name, argv + 3))
            measure(works[i].name, works[i].run, want, works[i].run == disk_read ? block_sum() : 0);
    return 0;
}
