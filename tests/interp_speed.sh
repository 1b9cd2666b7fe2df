#!/bin/sh
# The interpreter carries the batteries: an everyday mix of integer code at 20 million guest instructions a second or more. The instructions are
# counted by the translator (-d count); the time is the processor's, not the clock's.
. "$(dirname "$0")/lib.sh"

# run ACCEL [OPTION...]: user and system time in seconds in $work/time
run() {
    engine=$1
    shift
    bash -c 'TIMEFORMAT="%U %S"; time timeout -k 5 "$@" >"$0/out" 2>"$0/err" </dev/null' "$work" "$(limit 60)" "$duet" -accel "$engine" -m 64 \
        -kernel "$work/mix64" -nographic -no-reboot -device isa-debug-exit,iobase=0x501,iosize=1 "$@" 2>"$work/time"
    tr -d '\r' <"$work/out" | sed -n "s,^\(ok\|FAIL\) \(.*\),\1 $test_name/$engine/\2,p"
    grep -q '^end' "$work/out" || fail "$engine" "no end: $(tail -n 1 "$work/err")"
}
if ! make_kernel mix64; then
    fail mix64 "cannot build it: $(tail -n 1 "$work/mix64.log")"
    exit
fi
run tcg -d count -D "$work/trace"
counted=$(sed -n 's/^count: guest instructions \([0-9]*\) .*/\1/p' "$work/trace")
run interp
rate=$(awk -v n="${counted:-0}" '{ printf "%.1f", n / ($1 + $2) / 1e6 }' "$work/time")
echo "# ${counted:-0} guest instructions in $(cat "$work/time") s (user, system): $rate million a second"
awk -v rate="$rate" 'BEGIN { exit !(rate >= 20) }'
verdict rate $? "$rate million guest instructions a second"
