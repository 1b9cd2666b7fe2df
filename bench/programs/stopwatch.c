/*
 * stopwatch COMMAND OUT ERR: runs the command by a shell, its output going to two files; prints the nanoseconds that it took, its status, and the
 * nanoseconds of processor time of it and its children.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec from, to;
    struct rusage use;
    int out, err, status;
    pid_t pid;

    if (argc != 4 || (out = open(argv[2], O_CREAT | O_TRUNC | O_WRONLY, 0644)) < 0 || (err = open(argv[3], O_CREAT | O_TRUNC | O_WRONLY, 0644)) < 0)
        return 2;
    clock_gettime(CLOCK_MONOTONIC, &from);
    if (!(pid = fork())) {
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(out, 1);
        dup2(err, 2);
        execl("/bin/sh", "sh", "-c", argv[1], NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    getrusage(RUSAGE_CHILDREN, &use);
    printf("%lld %d %lld\n", (long long)(to.tv_sec - from.tv_sec) * 1000000000 + (to.tv_nsec - from.tv_nsec),
           WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
           ((use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000ll + use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1000);
    return 0;
}
