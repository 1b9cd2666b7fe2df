# A program's view of protection keys and 5-level paging (tests/wide.sh puts it there), and the kernel's of performance counters.
grep -m 1 '^flags' /proc/cpuinfo
/bin/wide
# The kernel's watchdog counts cycles: with counters its NMIs come while the processor is busy.
if [ -e /proc/sys/kernel/nmi_watchdog ] && [ "$(cat /proc/sys/kernel/nmi_watchdog)" = 1 ]; then
    echo 1 >/proc/sys/kernel/watchdog_thresh
    i=0
    while [ $i -lt 60000 ]; do i=$((i + 1)); done
    grep PMI: /proc/interrupts
fi
