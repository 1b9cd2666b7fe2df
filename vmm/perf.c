/*
 * What perf needs to name translated code. In: each block as it is made. Out: a line of the perf map, a record of the jit dump.
 *
 * The map has no time: after the code cache was emptied its older lines name what is no longer there. The dump has it: `perf record -k 1`, then
 * `perf inject --jit`. perf finds the dump by a mapping of its first page, which must be executable.
 * Locks: calls come one at a time (tcg/translate.c). Formats: Linux tools/perf/Documentation/jitdump-specification.txt; the map is
 * `start size name`, in hex, a line each.
 */
#define _GNU_SOURCE
#include "vmm/perf.h"
#include "core/log.h"
#include "vmm/engines.h"
#include "vmm/profile.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x4a695444u                      /* "JiTD", in the host's byte order */
enum { VERSION = 1, EM_X86_64 = 62, CODE_LOAD = 0, CODE_CLOSE = 3 };

struct header { uint32_t magic, version, size, mach, pad, pid; uint64_t time, flags; };
struct record { uint32_t id, size; uint64_t time; };
struct load { struct record r; uint32_t pid, tid; uint64_t vma, addr, size, index; };

static FILE *map, *dump;
static void *marker;
static uint64_t index_next;

static uint64_t now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void name_code(const void *code, size_t size, const char *name)
{
    uint64_t at = (uint64_t)(uintptr_t)code;
    uint32_t len = (uint32_t)(sizeof(struct load) + strlen(name) + 1 + size);
    struct load l = { { CODE_LOAD, len, now() }, (uint32_t)getpid(), (uint32_t)gettid(), at, at, size, index_next++ };

    if (map)
        fprintf(map, "%llx %zx %s\n", (unsigned long long)at, size, name);
    if (!dump)
        return;
    fwrite(&l, sizeof(l), 1, dump);
    fwrite(name, strlen(name) + 1, 1, dump);
    fwrite(code, size, 1, dump);
}

static void on_block(const struct tb *tb)
{
    char name[96];

    profile_guest_place(tb->key.pc, name, sizeof(name));
    name_code(tb->code, tb->code_size, name);
}

/* A file of our own: /tmp is everybody's. */
static FILE *create(const char *option, const char *path)
{
    unlink(path);
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w+");
    if (!f)
        log_error("%s: %s: %s", option, path, strerror(errno));
    return f;
}

static int open_dump(void)
{
    struct header h = { MAGIC, VERSION, sizeof(h), EM_X86_64, 0, (uint32_t)getpid(), now(), 0 };
    char path[64];

    snprintf(path, sizeof(path), "jit-%d.dump", (int)getpid());
    if (!(dump = create("-jitdump", path)))
        return -EIO;
    fwrite(&h, sizeof(h), 1, dump);
    fflush(dump);
    marker = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno(dump), 0);
    if (marker == MAP_FAILED) {
        log_error("-jitdump: %s: perf would not find it: %s", path, strerror(errno));
        return -EIO;
    }
    return 0;
}

int perf_open(const struct options *o)
{
    struct tcg *t = engine_tcg_last();
    char path[64];

    if (!o->perfmap && !o->jitdump)
        return 0;
    if (!t) {
        log_warn("-%s: only the translator has code to name", o->perfmap ? "perfmap" : "jitdump");
        return 0;
    }
    snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
    if (o->perfmap && !(map = create("-perfmap", path)))
        return -EIO;
    if (map)
        setvbuf(map, NULL, _IOLBF, 0);         /* perf may look at any time */
    if (o->jitdump && open_dump())
        return -EIO;
    name_code(t->rx, (size_t)(t->blocks_start - t->rw), "duet-stubs");
    t->on_block = on_block;
    return 0;
}

void perf_close(void)
{
    if (map)
        fclose(map);
    if (dump) {
        struct record r = { CODE_CLOSE, sizeof(r), now() };
        fwrite(&r, sizeof(r), 1, dump);
        munmap(marker, PAGE_SIZE);
        fclose(dump);
    }
    map = dump = NULL;
}
