/*
 * The unit tests' frame. A test program is one C file: it includes this header once and writes
 *     TEST(name) { CHECK(cond); CHECK_EQ(a, b); if (no_way) SKIP("reason"); }
 * Tests register themselves and run in the order of the file; main() is here. One line each: "ok NAME", "FAIL NAME file:line what"
 * or "skip NAME: reason"; the exit status is 1 when any failed. `PROGRAM name` runs only the tests whose name begins so.
 * A failed check ends its test (by longjmp, so it may stand in helper functions; in other threads it only marks the failure).
 */
#ifndef TESTS_UNIT_TEST_H
#define TESTS_UNIT_TEST_H
#include <pthread.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct test { const char *name; void (*run)(void); struct test *next; };

static struct test *test_list, **test_tail = &test_list, *test_now;
static jmp_buf test_end;
static pthread_t test_thread;
static volatile int test_result;             /* 0 ok, 1 failed, 2 skipped */

static inline void test_register(struct test *t)
{
    *test_tail = t;
    test_tail = &t->next;
}

static inline void test_finish(int result)
{
    if (test_result != 1)
        test_result = result;
    if (pthread_equal(pthread_self(), test_thread))
        longjmp(test_end, 1);
}

static inline void test_fail(const char *file, int line, const char *what)
{
    printf("FAIL %s %s:%d: %s\n", test_now->name, file, line, what);
    fflush(stdout);
    test_finish(1);
}

static inline void test_fail_eq(const char *file, int line, const char *a, const char *b, uint64_t x, uint64_t y)
{
    printf("FAIL %s %s:%d: %s == %s: 0x%llx != 0x%llx\n", test_now->name, file, line, a, b, (unsigned long long)x, (unsigned long long)y);
    fflush(stdout);
    test_finish(1);
}

static inline void test_skip(const char *reason)
{
    printf("skip %s: %s\n", test_now->name, reason);
    fflush(stdout);
    test_finish(2);
}

#define TEST(id) \
    static void test_##id(void); \
    static struct test test_entry_##id = { #id, test_##id, 0 }; \
    __attribute__((constructor)) static void test_register_##id(void) { test_register(&test_entry_##id); } \
    static void test_##id(void)
#define CHECK(cond) do { if (!(cond)) test_fail(__FILE__, __LINE__, #cond); } while (0)
#define CHECK_EQ(a, b) do { \
        uint64_t check_a = (uint64_t)(a), check_b = (uint64_t)(b); \
        if (check_a != check_b) \
            test_fail_eq(__FILE__, __LINE__, #a, #b, check_a, check_b); \
    } while (0)
#define SKIP(reason) test_skip(reason)

static inline bool test_run(struct test *t)
{
    test_now = t;
    test_result = 0;
    if (!setjmp(test_end))
        t->run();
    if (!test_result)
        printf("ok %s\n", t->name);
    fflush(stdout);
    return test_result != 1;
}

#ifndef TEST_NO_MAIN                           /* the frame without its program: tests/fuzz */
int main(int argc, char **argv)
{
    int failed = 0;

    test_thread = pthread_self();
    for (struct test *t = test_list; t; t = t->next) {
        if (argc < 2 || !strncmp(t->name, argv[1], strlen(argv[1])))
            failed += !test_run(t);
    }
    return failed ? 1 : 0;
}
#endif
#endif
