/* What a kernel does for programs: processes, switches, pipes, system calls, page faults, copies, signals. `system NAME TURNS`. */
#include "kernels.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t calls(long turns)
{
    pid_t parent = getppid();
    uint64_t sum = 0;

    while (turns--)
        sum += syscall(SYS_getppid) == parent;
    return sum;
}

/* The exit status of the process, or -1. */
static int status_of(pid_t pid)
{
    int status = -1;

    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* fork, exec, wait: of a small program, linked to the C library. */
static uint64_t execs(long turns)
{
    uint64_t sum = 0;

    while (turns--) {
        pid_t pid = fork();
        if (!pid) {
            execl("/bin/true", "true", NULL);
            _exit(127);
        }
        sum += status_of(pid) == 0;
    }
    return sum;
}

static uint64_t forks(long turns)
{
    uint64_t sum = 0;

    while (turns--) {
        pid_t pid = fork();
        if (!pid)
            _exit(7);
        sum += status_of(pid) == 7;
    }
    return sum;
}

/* A byte to another process and back: two switches a turn. */
static uint64_t switches(long turns)
{
    int there[2], back[2];
    unsigned char c = 1;
    uint64_t sum = 0;

    if (pipe(there) || pipe(back))
        exit(1);
    if (!fork()) {
        close(there[1]);
        while (read(there[0], &c, 1) == 1) {
            c = (unsigned char)(c * 5 + 1);
            if (write(back[1], &c, 1) != 1)
                break;
        }
        _exit(0);
    }
    while (turns--) {
        if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
            exit(1);
        sum = sum * 3 + c;
    }
    return sum;
}

/* 64 KiB at a time from one process to the other. */
static uint64_t pipes(long turns)
{
    static unsigned char buffer[1 << 16];
    uint64_t total = 0;
    int ends[2];
    ssize_t n;

    if (pipe(ends))
        exit(1);
    if (!fork()) {
        close(ends[0]);
        while (turns--)
            if (write(ends[1], buffer, sizeof(buffer)) != sizeof(buffer))
                _exit(1);
        _exit(0);
    }
    close(ends[1]);
    while ((n = read(ends[0], buffer, sizeof(buffer))) > 0)
        total += (uint64_t)n;
    return total;
}

static volatile sig_atomic_t caught;
static void catch(int n) { caught += n == SIGUSR1; }

static uint64_t signals(long turns)
{
    signal(SIGUSR1, catch);
    while (turns--)
        raise(SIGUSR1);
    return (uint64_t)caught;
}

/* 4 MiB mapped, each page written once, unmapped. */
static uint64_t faults(long turns)
{
    enum { SIZE = 4 << 20 };
    uint64_t sum = 0;

    while (turns--) {
        unsigned char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            exit(1);
        madvise(p, SIZE, MADV_NOHUGEPAGE);
        for (size_t i = 0; i < SIZE; i += 4096)
            p[i] = (unsigned char)(p[i] + (i >> 12));
        sum += p[4096 * 77];
        munmap(p, SIZE);
    }
    return sum;
}

/* Copies of 8 MiB, as the library does them. */
static uint64_t copies(long turns)
{
    enum { SIZE = 8 << 20 };
    unsigned char *a = malloc(SIZE), *b = malloc(SIZE);

    if (!a || !b)
        exit(1);
    memset(a, 3, SIZE);
    for (long i = 0; i < turns; i++) {
        a[i % SIZE] = (unsigned char)i;
        memcpy(b, a, SIZE);
        memmove(a + 64, b, SIZE - 64);
    }
    return sum_of(b, 1 << 16);
}

int main(int argc, char **argv)
{
    static const struct kernel kernels[] = {
        { "calls", calls }, { "execs", execs }, { "forks", forks }, { "switches", switches }, { "pipes", pipes }, { "signals", signals },
        { "faults", faults }, { "copies", copies }, { NULL, NULL },
    };
    return run_kernel(kernels, argc, argv);
}
