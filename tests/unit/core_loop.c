/*
 * vmm/loop.c: descriptors, timers and posted calls all arrive, on time and with the machine lock held.
 */
#include "core/aspace.h"
#include "tests/unit/test.h"
#include "vmm/loop.h"
#include <unistd.h>

static struct loop *loop;
static int got, fired, posted;
static struct timer timer;
static int64_t due;

static void on_readable(void *opaque, int fd, unsigned events)
{
    char c;

    CHECK(machine_lock_held());
    if (read(fd, &c, 1) == 1)
        got++;
    else
        loop_watch(loop, fd, 0, NULL, NULL);
}

static void fire(void *opaque)
{
    struct clock *c = opaque;
    int64_t now = clock_ns(c);

    CHECK(now >= due);
    if (++fired == 50)
        loop_quit(loop);
    due = now + 1000000;
    timer_set(&timer, due);
}

static void count_post(void *opaque) { posted++; }

static void *poster(void *opaque)
{
    for (int i = 0; i < 1000; i++)
        loop_post(loop, count_post, NULL);
    return NULL;
}

TEST(everything_arrives)
{
    struct clock *c = clock_new_real();
    pthread_t t;
    int p[2];

    CHECK(pipe(p) == 0);
    loop = loop_new(c);
    CHECK(loop != NULL);
    CHECK_EQ(loop_watch(loop, p[0], LOOP_READ, on_readable, NULL), 0);
    CHECK(write(p[1], "abc", 3) == 3);
    close(p[1]);
    timer_init(&timer, c, fire, c);
    due = clock_ns(c) + 1000000;
    timer_set(&timer, due);
    pthread_create(&t, NULL, poster, NULL);
    loop_run(loop);
    pthread_join(t, NULL);
    CHECK_EQ(got, 3);
    CHECK_EQ(fired, 50);
    CHECK_EQ(posted, 1000);
    loop_free(loop);
    clock_free(c);
    close(p[0]);
}
