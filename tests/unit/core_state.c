/*
 * core/state.c: round trip, length check, and the search for bytes that no row names. core/log.c: the words of -d.
 */
#include "core/log.h"
#include "core/state.h"
#include "tests/unit/test.h"
#include <errno.h>

struct thing { void *wiring; uint8_t a; uint32_t b; uint16_t c[3]; uint64_t d; uint8_t e; };

static const struct state_row rows[] = {
    S_SKIP(struct thing, wiring), S_SAVE(struct thing, a), S_SAVE(struct thing, b), S_SAVE(struct thing, c), S_SAVE(struct thing, d),
    S_SAVE(struct thing, e), S_END
};
static const struct state_row rows_without_d[] = {
    S_SKIP(struct thing, wiring), S_SAVE(struct thing, a), S_SAVE(struct thing, b), S_SAVE(struct thing, c), S_SAVE(struct thing, e), S_END
};

TEST(round_trip)
{
    struct thing x = { (void *)1, 2, 3, { 4, 5, 6 }, 7, 8 }, y = { (void *)9, 0, 0, { 0, 0, 0 }, 0, 0 };
    uint8_t buf[64];

    CHECK_EQ(state_size(rows), 1 + 4 + 6 + 8 + 1);
    CHECK_EQ(state_save(rows, &x, buf), 20);
    CHECK_EQ(state_load(rows, &y, buf, 19), (uint64_t)-EINVAL);
    CHECK_EQ(y.a, 0);
    CHECK_EQ(state_load(rows, &y, buf, 20), 0);
    CHECK(y.wiring == (void *)9 && y.a == 2 && y.b == 3 && y.c[2] == 6 && y.d == 7 && y.e == 8);
}

TEST(coverage)
{
    CHECK_EQ(state_uncovered(rows, sizeof(struct thing)), -1);
    CHECK(state_uncovered(rows_without_d, sizeof(struct thing)) >= 22);
    CHECK_EQ(state_uncovered(rows, sizeof(struct thing) + 8), sizeof(struct thing) - 7);
}

TEST(log_words)
{
    unsigned mask = 0;
    const char *bad = NULL;

    CHECK_EQ(log_parse("in_asm,out_asm,unimp", &mask, &bad), 0);
    CHECK_EQ(mask, LOG_IN_ASM | LOG_OUT_ASM | LOG_UNIMP);
    CHECK_EQ(log_parse("int,bogus", &mask, &bad), (uint64_t)-EINVAL);
    CHECK(!strncmp(bad, "bogus", 5));
    CHECK_EQ(mask, LOG_IN_ASM | LOG_OUT_ASM | LOG_UNIMP);
}
