/* Words of the IR's text form, shared by printer and parser. */
#ifndef TCG_TEXT_H
#define TCG_TEXT_H
#include "tcg/ir.h"

struct ir_flag_name { const char *name; unsigned bit; };
extern const char *const ir_cond_name[16];
extern const char *const ir_rmw_name[RMW_COUNT];
extern const char *const ir_ldsub_name[4];
extern const struct ir_flag_name ir_flag_names[], ir_arith_names[];      /* NULL-terminated */
#endif
