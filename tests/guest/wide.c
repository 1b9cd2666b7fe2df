/*
 * In a guest: what a program sees of protection keys and of addresses beyond 47 bits. Prints a line a part. Static; run by tests/wide.sh.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf out;
static volatile int code, key;
static void on_segv(int sig, siginfo_t *si, void *context)
{
    code = si->si_code;
    key = code == SEGV_PKUERR ? (int)si->si_pkey : -1;
    siglongjmp(out, 1);
}

/* 0: it went well; else the signal's code */
static int touch(volatile char *p, int write)
{
    if (sigsetjmp(out, 1))
        return code;
    if (write)
        *p = 1;
    else
        (void)*p;
    return 0;
}

static void keys(void)
{
    char *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int k = pkey_alloc(0, 0), other = pkey_alloc(0, PKEY_DISABLE_WRITE), bad = 0;
    if (k <= 0 || other <= 0 || pkey_mprotect(p + 4096, 4096, PROT_READ | PROT_WRITE, k) || pkey_mprotect(p + 8192, 4096, PROT_READ | PROT_WRITE, other)) {
        printf("keys absent\n");
        return;
    }
    memset(p, 0, 8192);
    bad += touch(p + 4096, 1) != 0;
    for (int i = 0; i < 1000; i++) {
        pkey_set(k, PKEY_DISABLE_ACCESS);
        bad += touch(p + 4096, 0) != SEGV_PKUERR || key != k;
        bad += touch(p, 1) != 0;
        pkey_set(k, PKEY_DISABLE_WRITE);
        bad += touch(p + 4096, 0) != 0 || touch(p + 4096, 1) != SEGV_PKUERR;
        pkey_set(k, 0);
        bad += touch(p + 4096, 1) != 0;
    }
    pkey_set(other, PKEY_DISABLE_WRITE);                    /* a handler begins with all keys barred, and jumping out of it leaves them so */
    bad += touch(p + 8192, 0) != 0 || touch(p + 8192, 1) != SEGV_PKUERR || key != other;
    pkey_set(k, PKEY_DISABLE_ACCESS);
    int pipes[2];                                          /* the kernel heeds it too */
    bad += pipe(pipes) || write(pipes[1], p + 4096, 1) != -1 || write(pipes[1], p, 1) != 1;
    pid_t child = fork();                                  /* a new process has the same register, of its own */
    if (!child) {
        int r = touch(p + 4096, 0) != SEGV_PKUERR;
        pkey_set(k, 0);
        _exit(r || touch(p + 4096, 1));
    }
    int status;
    waitpid(child, &status, 0);
    bad += status || touch(p + 4096, 0) != SEGV_PKUERR;
    printf("keys %d bad\n", bad);
}

static void high(void)
{
    char *want = (char *)(1ul << 52), *p = mmap(want, 1 << 20, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p != want) {
        printf("high absent: %p\n", (void *)p);
        return;
    }
    static const unsigned char inc[] = { 0x8d, 0x47, 0x01, 0xc3 };           /* lea 1(%rdi),%eax; ret */
    int bad = 0, n = 0;
    for (unsigned long i = 0; i < 1 << 20; i += 8)
        *(uint64_t *)(p + i) = (uint64_t)(p + i);
    for (unsigned long i = 0; i < 1 << 20; i += 8)
        bad += *(uint64_t *)(p + i) != (uint64_t)(p + i);
    memcpy(p, inc, sizeof(inc));
    for (int i = 0; i < 100000; i++)
        n = ((int (*)(int))p)(n);
    bad += n != 100000;
    mprotect(p, 4096, PROT_NONE);
    bad += touch(p, 0) != SEGV_ACCERR;
    munmap(p, 1 << 20);
    bad += touch(p, 0) != SEGV_MAPERR;
    bad += touch((char *)(1ul << 57), 0) != SI_KERNEL;     /* not canonical */
    printf("high %d bad\n", bad);
}

int main(void)
{
    struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
    sigaction(SIGSEGV, &sa, NULL);
    keys();
    high();
    return 0;
}
