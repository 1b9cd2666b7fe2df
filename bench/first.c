/*
 * The first process of the boot benchmark: says that it runs, and switches the machine off.
 */
#include <stdio.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(void)
{
    puts("first process");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}
