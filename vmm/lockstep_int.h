/* Between vmm/lockstep.c, which runs two vCPUs side by side, and vmm/lockstep_diff.c, which compares them and says what differs. */
#ifndef VMM_LOCKSTEP_INT_H
#define VMM_LOCKSTEP_INT_H
#include "core/vm.h"
#include "tcg/tcg.h"
#include "x86/cpu.h"

/* A page that one of the two has written lately, in both machines. */
struct ls_page { gpa_t gpa; const uint8_t *a, *b; uint8_t *track_a, *track_b; };

/* What of the processors differs: a line for each on the log, or none when quiet; bits of UNDEFINED flags may differ. True: something does. */
bool ls_cpus_differ(const struct x86_cpu *a, const struct x86_cpu *b, uint64_t undefined, bool quiet);
bool ls_page_differs(const struct ls_page *, bool quiet);
/* The registers of both, those that differ marked. */
void ls_show_cpus(const struct x86_cpu *a, const struct x86_cpu *b, const char *name_a, const char *name_b);
#endif
