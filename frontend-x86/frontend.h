/* The x86 guest as the translator's frontend (frontend.c). */
#ifndef FRONTEND_X86_FRONTEND_H
#define FRONTEND_X86_FRONTEND_H
#include "tcg/frontend.h"
extern const struct tcg_frontend x86_frontend;
#endif
