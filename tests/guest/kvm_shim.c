/*
 * Preloaded into the program by tests/kvm.sh: a host whose KVM is missing, forbidden, of another version, or fails where it hurts.
 *   KVM_SHIM_OPEN=errno number        opening /dev/kvm fails so
 *   KVM_SHIM_IOCTL=request[:nth]      the nth (first) ioctl with this request number fails with EIO, and all after it
 *   KVM_SHIM_VERSION=n                the API version
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define GET_API_VERSION 0xae00ul

static int refuse(const char *path)
{
    const char *no = getenv("KVM_SHIM_OPEN");
    if (!no || strcmp(path, "/dev/kvm"))
        return 0;
    errno = atoi(no);
    return 1;
}

int open(const char *path, int flags, ...)
{
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    va_list ap;
    va_start(ap, flags);
    int mode = va_arg(ap, int);
    va_end(ap);
    return refuse(path) ? -1 : real(path, flags, mode);
}

int ioctl(int fd, unsigned long request, ...)
{
    static unsigned long count;
    int (*real)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    const char *fail = getenv("KVM_SHIM_IOCTL"), *version = getenv("KVM_SHIM_VERSION");
    va_list ap;
    va_start(ap, request);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    if (version && request == GET_API_VERSION)
        return atoi(version);
    if (fail) {
        char *end;
        unsigned long which = strtoul(fail, &end, 0), nth = *end == ':' ? strtoul(end + 1, NULL, 0) : 1;
        if (request == which && ++count >= nth) {
            errno = EIO;
            return -1;
        }
    }
    return real(fd, request, arg);
}
