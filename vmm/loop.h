/* What main needs of the event loop beyond core/loop.h. */
#ifndef VMM_LOOP_H
#define VMM_LOOP_H
#include "core/clock.h"
#include "core/loop.h"

struct loop *loop_new(struct clock *);      /* NULL: logged. Timers of the clock run in the loop. */
void loop_free(struct loop *);
void loop_run(struct loop *);               /* until loop_quit; machine lock not held */
void loop_quit(struct loop *);              /* any thread */
#endif
