/*
 * "head,key=val,key=val" strings of the command line, and the messages about words that are not known: one line on stderr that names
 * the nearest valid word (by edit distance) or lists them. A comma inside a value is written twice.
 */
#ifndef VMM_WORDS_H
#define VMM_WORDS_H
#include "core/types.h"

#define WORDS_MAX 48

struct words { char *head; unsigned n; char *key[WORDS_MAX], *val[WORDS_MAX]; };   /* pointers into the string that was split */

/* Splits S in place. A key without "=" has the value "on". 0 or -EINVAL (said why; OPT is the option's name). */
int words_split(struct words *, char *s, const char *opt);
int words_split_keys(struct words *, char *s, const char *opt);          /* no head: "key=val,..." from the start */
const char *words_get(const struct words *, const char *key);            /* last value of KEY or NULL */
/* Lists end with NULL. All say why and return -EINVAL; words_check_value returns 0 for a valid one. */
int words_check_value(const char *what, const char *val, const char *const *valid);
int words_bad_value(const char *what, const char *val, const char *const *valid);
int words_unknown(const char *what, const char *key, const char *const *valid);
int words_unknown_option(const char *arg, const char *const *valid);
int words_bool(const char *what, const char *val, bool *out);
int words_number(const char *what, const char *val, unsigned lo, unsigned hi, unsigned *out);   /* decimal or 0x */
int words_hex(const char *what, const char *val, unsigned lo, unsigned hi, unsigned *out);      /* hexadecimal, as PCI slots are written */
unsigned words_distance(const char *a, const char *b);
#endif
