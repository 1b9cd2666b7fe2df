/* How fast ring 3 is: the time stamp counter's ticks for 20 million rounds of the loop that tests/guest/compute.h also runs natively, the best of ten. */
#include "kit.h"
#include "../compute.h"

CODE(compute, "mov $" COMPUTE_ROUNDS ", %ecx\n" COMPUTE_LOOP "ud2");

void main(void);
void main(void)
{
    struct regs r = { .ip = (ul)compute, .cs = 0x2b, .ss = 0x23, .ds = 0x23, .es = 0x23, .fl = 0x202, .sp = (ul)user_stack_top };
    u64 best = ~0ull;

    for (int i = 0; i < 10; i++) {
        u64 start = rdtsc();
        enter(&r);
        u64 ticks = rdtsc() - start;
        best = ticks < best ? ticks : best;
    }
    put("ticks ");
    put_dec((unsigned)best);
    put("\n");
    finish();
}
