# Runs in the guest (tests/smp.sh, tests/tsan.sh): eight jobs at once, and many short-lived processes. The sums do not depend on the number of CPUs.
echo "cpus $(grep -c ^processor /proc/cpuinfo)"
sed -n 's/^\(siblings\|cpu cores\)[^0-9]*/\1 /p' /proc/cpuinfo | sort -u
job() { k=0; while [ $k -lt 6 ]; do yes "round $1 $k" | head -c 200000 | sha256sum; k=$((k + 1)); done | sha256sum | cut -c1-64; }
for i in 1 2 3 4 5 6 7 8; do job $i >/tmp/sum.$i & done
wait
for i in 1 2 3 4 5 6 7 8; do echo "sum $i $(cat /tmp/sum.$i)"; done
i=0
while [ $i -lt 40 ]; do (true) & (true) & wait; i=$((i + 1)); done
dmesg | grep -E 'BUG|stall|lockup|unstable|WARNING' | sed 's/^/kernel: /'
