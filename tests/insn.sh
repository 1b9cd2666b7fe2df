#!/bin/sh
# The instruction cases of tests/insn/ (insn.h tells how one is written): natively, as far as a program may run them, and as a bare machine under each
# engine; on this host's /dev/kvm only if that takes them (nested: tests/kvm.sh). A case that fails is a line of its own, the others are counted.
# Those of 16-bit code (tests/insn/short/) are a kernel of their own, and nothing for a program.
# With REFERENCE="qemu-system-x86_64 -accel tcg -cpu max" they run there instead.
. "$(dirname "$0")/lib.sh"

# said NAME STATUS FILE LEAST: LEAST is how many cases there are at least
said() {
    tr -d '\r' <"$3" | sed -n "s,^\(FAIL\|skip\) \(.*\),\1 $test_name/$1/\2,p"
    cases=$(grep -c '^ok ' "$3")
    echo "# $1: $cases cases"
    grep -q '^end' "$3" && [ "$cases" -ge "$4" ] && [ "$2" = 0 ]
    verdict "$1" $? "status $2, $cases cases, last: $(tail -n 1 "$3" | cut -c1-100)"
}

# bare KERNEL ENGINE
bare() {
    timeout -k 5 "$(limit 60)" ${REFERENCE:-"$duet" -accel "$2" -cpu max} -m 64 -kernel "$work/$1" -nographic -no-reboot \
        -device isa-debug-exit,iobase=0x501,iosize=1 </dev/null >"$work/$1.$2" 2>"$work/$1.$2.err"
    [ $? = 1 ]
}

# everywhere KERNEL PREFIX LEAST
everywhere() {
    for engine in tcg interp; do
        bare $1 $engine
        said $2$engine $? "$work/$1.$engine" $3
    done
    bare $1 kvm,emulated=on
    status=$?
    if grep -q '^end' "$work/$1.kvm,emulated=on"; then
        said $2kvm $status "$work/$1.kvm,emulated=on" $3
    else
        skip $2kvm "$(grep -m 1 -E 'duet:' "$work/$1.kvm,emulated=on.err" | cut -c1-120)"
    fi
}

if gcc -O1 -Wall -Wextra -Wno-unused-parameter -no-pie -static -I. -o "$work/native" tests/insn/native.c tests/insn/*.S >"$work/native.log" 2>&1; then
    timeout -k 5 "$(limit 20)" "$work/native" >"$work/native.out"
    said native $? "$work/native.out" 200
else
    fail native "cannot build it: $(tail -n 1 "$work/native.log")"
fi

if ! make_kernel insn64 -I. tests/insn/*.S || ! make_kernel short32 -I. tests/insn/short/*.S; then
    fail kernels "cannot build them: $(tail -n 1 "$work/insn64.log" "$work/short32.log")"
    exit 1
fi
everywhere insn64 "" 210
everywhere short32 short/ 110
skip short/native "16-bit code is nothing that a program of this system can run"
