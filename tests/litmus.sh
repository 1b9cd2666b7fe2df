#!/bin/sh
# Memory order between vCPUs (tests/guest/kernels/litmus64.c): thousands of runs of each test in each form, with SOAK=1 so many that each
# test with each fence has had millions.
. "$(dirname "$0")/lib.sh"

# orders CPUS [OPTION...]
orders() {
    timeout -k 5 "$(limit ${SOAK:+18}90)" "$duet" -accel "$accel" -smp "$1" -m 64 -kernel "$work/litmus64" -nographic -no-reboot \
        -device isa-debug-exit,iobase=0x501,iosize=1 </dev/null >"$work/raw" 2>"$work/err"
    status=$?
    tr -d '\r' <"$work/raw" >"$work/out$1"
    grep '^note' "$work/out$1"
    sed -n "s,^\(ok\|FAIL\|skip\) \(.*\),\1 $test_name/$1/\2,p" "$work/out$1"
    grep -q '^end' "$work/out$1" && [ $status = 1 ]
    verdict "$1" $? "status $status, last: $(tail -n 1 "$work/out$1" | cut -c1-100) $(tail -n 1 "$work/err")"
}
if make_kernel litmus64 ${SOAK:+-DRUNS=20000}; then
    orders 2
    orders 4
else
    fail litmus64 "cannot build it: $(tail -n 1 "$work/litmus64.log")"
fi
