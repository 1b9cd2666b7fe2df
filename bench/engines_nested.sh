#!/bin/sh
# The nested set of bench/engines: an outer machine, translated, whose processor has SVM, loads Debian's kvm-amd; in there the same workloads run.
# usage: engines_nested.sh DUET OUT TICKS ROUNDS "NAME..."      prints what engines_run.sh says in there, after a `set` line
# Environment: OUTER=duet or qemu, the outer machine
set -eu
duet=$1 out=$2 ticks=$3 rounds=$4 names=$5
guest=build/guest
tests/guest/fetch.sh >/dev/null
echo "$ticks $rounds $names" >"$out/engines.want"
cp bench/engines_run.sh "$out/engines_run.sh"
tests/guest/mknested.sh "$duet" "$out/engines.gz" bench/engines_inner.sh "$out/engines.want" "$out/engines_run.sh" "$out/engines64" \
    "$out/engines_native" "$out/engines.img"
case ${OUTER:-duet} in
qemu) set -- qemu-system-x86_64 -accel tcg -cpu max -nic none ;;
*) set -- "$duet" -accel tcg -cpu max,+svm ;;
esac
timeout -k 5 "${NESTED_LIMIT:-900}" "$@" -m 1024 -nographic -no-reboot -kernel "$guest/vmlinuz-cloud" -initrd "$out/engines.gz" \
    -append 'console=ttyS0 panic=-1 quiet mitigations=off no_timer_check' </dev/null 2>"$out/engines.outer.err" | tr -d '\r' >"$out/engines.outer"
grep -q '^engines: end' "$out/engines.outer" || { echo "bench/engines: the outer machine did not end well, see $out/engines.outer" >&2; exit 1; }
echo "set nested hardware in a machine translated by ${OUTER:-duet}: $(sed -n 's/^engines: why //p' "$out/engines.outer")"
sed -n '/^engines: begin/,/^engines: end/{/^\(tsc\|time\|fail\|count\) /p}' "$out/engines.outer"
