/*
 * Splitting and checking of option words (vmm/words.h).
 *
 * In: strings of the command line. Out: pointers into them, or one line on stderr. No state.
 */
#include "vmm/words.h"
#include "core/log.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the word at S in place (",," becomes ","); returns the start of the next one, or NULL. */
static char *cut(char *s)
{
    char *out = s;

    for (; *s; s++) {
        if (*s == ',' && s[1] != ',') {
            *out = 0;
            return s + 1;
        }
        if (*s == ',')
            s++;
        *out++ = *s;
    }
    *out = 0;
    return NULL;
}

int words_split_keys(struct words *w, char *s, const char *opt)
{
    w->n = 0;
    for (char *next; s; s = next) {
        next = cut(s);
        if (!*s || *s == '=' || w->n == WORDS_MAX) {
            log_error("%s: %s", opt, w->n == WORDS_MAX ? "too many words" : "an empty word (two commas stand for one inside a value)");
            return -EINVAL;
        }
        char *eq = strchr(s, '=');
        if (eq)
            *eq = 0;
        w->key[w->n] = s;
        w->val[w->n++] = eq ? eq + 1 : (char *)"on";
    }
    return 0;
}

int words_split(struct words *w, char *s, const char *opt)
{
    char *next = cut(s);

    w->head = s;
    w->n = 0;
    return next ? words_split_keys(w, next, opt) : 0;
}

const char *words_get(const struct words *w, const char *key)
{
    const char *v = NULL;

    for (unsigned i = 0; i < w->n; i++) {
        if (!strcmp(w->key[i], key))
            v = w->val[i];
    }
    return v;
}

/* Levenshtein's distance; words longer than 63 letters count as far from everything. */
unsigned words_distance(const char *a, const char *b)
{
    unsigned row[64], la = (unsigned)strlen(a), lb = (unsigned)strlen(b);

    if (la > 63 || lb > 63)
        return 64;
    for (unsigned j = 0; j <= lb; j++)
        row[j] = j;
    for (unsigned i = 1; i <= la; i++) {
        unsigned diag = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= lb; j++) {
            unsigned best = MIN(MIN(row[j], row[j - 1]) + 1, diag + (a[i - 1] != b[j - 1]));
            diag = row[j];
            row[j] = best;
        }
    }
    return row[lb];
}

/* "did you mean 'x'?" when something is near, else the whole list. */
static void suggest(const char *word, const char *const *valid, const char *dash, char *buf, size_t len)
{
    unsigned best = ~0u;
    size_t used = 0;

    for (unsigned i = 0; valid[i]; i++)
        best = MIN(best, words_distance(word, valid[i]));
    bool near = best <= strlen(word) / 3 + 1;
    used += (size_t)snprintf(buf, len, "%s", near ? "did you mean " : "valid: ");
    for (unsigned i = 0, n = 0; valid[i] && used < len; i++) {
        if (!near || words_distance(word, valid[i]) == best)
            used += (size_t)snprintf(buf + used, len - used, "%s%s%s", n++ ? (near ? " or " : ", ") : "", dash, valid[i]);
    }
    if (near && used < len)
        snprintf(buf + used, len - used, "?");
}

static int complain(const char *what, const char *kind, const char *word, const char *const *valid, const char *dash)
{
    char hint[1024];

    if (valid[0]) {
        suggest(word, valid, dash, hint, sizeof(hint));
        log_error("%s%sunknown %s '%s' (%s)", what, *what ? ": " : "", kind, word, hint);
    } else {
        log_error("%s: unknown %s '%s' (none is known here)", what, kind, word);
    }
    return -EINVAL;
}

int words_bad_value(const char *what, const char *val, const char *const *valid) { return complain(what, "value", val, valid, ""); }
int words_unknown(const char *what, const char *key, const char *const *valid) { return complain(what, "property", key, valid, ""); }

int words_unknown_option(const char *arg, const char *const *valid)
{
    char hint[1024];

    suggest(arg + strspn(arg, "-"), valid, "-", hint, sizeof(hint));
    log_error("unknown option '%s' (%s; -help lists all)", arg, hint);
    return -EINVAL;
}

int words_check_value(const char *what, const char *val, const char *const *valid)
{
    for (unsigned i = 0; valid[i]; i++) {
        if (!strcmp(val, valid[i]))
            return 0;
    }
    return words_bad_value(what, val, valid);
}

int words_bool(const char *what, const char *val, bool *out)
{
    static const char *const valid[] = { "on", "off", NULL };

    *out = !strcmp(val, "on") || !strcmp(val, "yes") || !strcmp(val, "true");
    return *out || !strcmp(val, "no") || !strcmp(val, "false") ? 0 : words_check_value(what, val, valid);
}

static int number(const char *what, const char *val, int base, unsigned lo, unsigned hi, unsigned *out)
{
    char *end;
    unsigned long v;

    errno = 0;
    v = strtoul(val, &end, base);
    if (end == val || *end || errno || *val == '-' || v < lo || v > hi) {
        log_error("%s: '%s' is not a number between 0x%x and 0x%x", what, val, lo, hi);
        return -EINVAL;
    }
    *out = (unsigned)v;
    return 0;
}

int words_number(const char *what, const char *val, unsigned lo, unsigned hi, unsigned *out) { return number(what, val, 0, lo, hi, out); }
int words_hex(const char *what, const char *val, unsigned lo, unsigned hi, unsigned *out) { return number(what, val, 16, lo, hi, out); }
