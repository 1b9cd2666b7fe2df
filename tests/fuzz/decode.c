/*
 * libFuzzer on the decoder: any bytes, in all three modes. What it accepts has at most 15 bytes, is the same when no more bytes are there than it
 * is long, is found incomplete with one byte less, and can be printed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "frontend-x86/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one(const uint8_t *p, unsigned n, enum x86_mode mode)
{
    struct x86_insn i, again;
    char text[160];
    memset(&i, 0, sizeof i);
    enum x86_status s = x86_decode(&i, p, n, mode);
    if (s != X86_OK)
        return;
    if (!i.len || i.len > 15 || i.len > n || i.n_opnd > 4 || !i.row)
        abort();
    uint8_t *copy = malloc(i.len);                   /* so that the sanitizer sees what is read behind it */
    memcpy(copy, p, i.len);
    memset(&again, 0, sizeof again);
    if (x86_decode(&again, copy, i.len, mode) != X86_OK || again.len != i.len || again.row != i.row)
        abort();
    if (x86_decode(&again, copy, i.len - 1u, mode) != X86_TRUNC)
        abort();
    free(copy);
    x86_disas(&i, 0x1000, text, sizeof text);
    x86_disas(&i, 0x1000, text, 5);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (unsigned mode = X86_M16; mode <= X86_M64; mode++)
        one(data, size > 32 ? 32 : (unsigned)size, mode);
    return 0;
}
