/* Shared by the generators of native instructions (gen_native.c, gen_x87.c, gen_sse.c): mode checks and the emission itself. */
#ifndef FRONTEND_X86_GEN_NATIVE_H
#define FRONTEND_X86_GEN_NATIVE_H
#include "frontend-x86/gen.h"
/* #UD or #NM emitted instead of an MMX/SSE/AVX instruction: true when the mode forbids it. */
bool gen_sse_forbidden(struct x86_gen *, const struct x86_insn *, bool legacy_needs_osfxsr);
/* The same for EVEX and for the opmask instructions. */
bool gen_avx512_forbidden(struct x86_gen *, const struct x86_insn *);
bool gen_x87_forbidden(struct x86_gen *);
void gen_ferr(struct x86_gen *);
void gen_wait(struct x86_gen *);
void gen_native_emit(struct x86_gen *, const struct x86_insn *, unsigned native_kind);
#endif
