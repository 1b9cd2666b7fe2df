#!/bin/sh
# The instruction cases of tests/insn/ (insn.h tells how one is written): natively, as far as a program may run them, and as a bare machine under each
# engine; on this host's /dev/kvm only if that takes them (nested: tests/kvm.sh). A case that fails is a line of its own, the others are counted.
# With REFERENCE="qemu-system-x86_64 -accel tcg -cpu max" they run there instead.
. "$(dirname "$0")/lib.sh"

# said NAME STATUS FILE
said() {
    tr -d '\r' <"$3" | sed -n "s,^\(FAIL\|skip\) \(.*\),\1 $test_name/$1/\2,p"
    cases=$(grep -c '^ok ' "$3")
    echo "# $1: $cases cases"
    grep -q '^end' "$3" && [ "$cases" -gt 150 ] && [ "$2" = 0 ]
    verdict "$1" $? "status $2, $cases cases, last: $(tail -n 1 "$3" | cut -c1-100)"
}

# bare ENGINE
bare() {
    timeout -k 5 "$(limit 60)" ${REFERENCE:-"$duet" -accel "$1" -cpu max} -m 64 -kernel "$work/insn64" -nographic -no-reboot \
        -device isa-debug-exit,iobase=0x501,iosize=1 </dev/null >"$work/$1" 2>"$work/$1.err"
    [ $? = 1 ]
}

if gcc -O1 -Wall -Wextra -Wno-unused-parameter -no-pie -static -I. -o "$work/native" tests/insn/native.c tests/insn/*.S >"$work/native.log" 2>&1; then
    timeout -k 5 "$(limit 20)" "$work/native" >"$work/native.out"
    said native $? "$work/native.out"
else
    fail native "cannot build it: $(tail -n 1 "$work/native.log")"
fi

if ! make_kernel insn64 -I. tests/insn/*.S; then
    fail insn64 "cannot build it: $(tail -n 1 "$work/insn64.log")"
    exit 1
fi
for engine in tcg interp; do
    bare $engine
    said $engine $? "$work/$engine"
done
bare kvm,emulated=on
status=$?
if grep -q '^end' "$work/kvm,emulated=on"; then
    said kvm $status "$work/kvm,emulated=on"
else
    skip kvm "$(grep -m 1 -E 'duet:' "$work/kvm,emulated=on.err" | cut -c1-120)"
fi
