#!/bin/sh
# A guest that sleeps leaves the host alone: how often the program's threads wake up, and the processor time they take, in four seconds of a Linux
# without ticks (a timer that nobody waits for, running on at 250 Hz, is what this is to find).
. "$(dirname "$0")/lib.sh"
need_guest

mkdir -p "$work/tree/tests"
pid=
trap 'kill -9 $pid 2>/dev/null' EXIT
printf 'echo asleep\nsleep 60\n' >"$work/tree/tests/asleep.sh"
{ cat "$guest/initrd-cloud.gz"; (cd "$work/tree" && find . | cpio -o -H newc --owner 0:0 --quiet | gzip -n); } >"$work/initrd.gz"

wakes() { cat /proc/"$1"/task/*/status | awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }'; }
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }

# idle CPUS WAKES: at most so many a second
idle() {
    "$duet" -accel "$accel" -smp "$1" -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$work/initrd.gz" -display none -monitor none -no-reboot \
        -serial "file:$work/console$1" -append "console=ttyS0 quiet panic=-1 duet.run=asleep.sh" </dev/null 2>"$work/stderr" &
    pid=$!
    end=$(($(date +%s) + $(limit 60)))
    until grep -q '^asleep' "$work/console$1" 2>/dev/null || [ "$(date +%s)" -gt $end ] || ! kill -0 $pid 2>/dev/null; do sleep 0.2; done
    sleep 2
    w=$(wakes $pid) t=$(ticks $pid)
    sleep 4
    w=$((($(wakes $pid) - w) / 4)) t=$((($(ticks $pid) - t) * 100 / (4 * $(getconf CLK_TCK))))
    kill -9 $pid
    wait $pid 2>/dev/null
    pid=
    grep -q '^asleep' "$work/console$1"
    verdict "sleeps_$1" $? "$(tail -n 1 "$work/stderr")"
    [ "$w" -ge 1 ] && [ "$w" -le "$2" ]
    verdict "wakes_$1" $? "$w a second, $2 at most"
    [ "$t" -le 4 ]
    verdict "time_$1" $? "$t % of a processor"
    echo "# $1 CPUs: $w wake-ups a second, $t % of a processor"
}
idle 1 100
idle 2 160
