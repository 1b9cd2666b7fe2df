#!/bin/sh
# AVX-512 in a guest: a static program (tests/guest/avx512.c) says under Debian's kernel what it says natively; with -cpu duet64 and with
# -avx512f the guest's kernel is offered none.
. "$(dirname "$0")/lib.sh"
need_guest
if ! grep -qw avx512_vbmi2 /proc/cpuinfo || ! grep -qw gfni /proc/cpuinfo; then
    skip all "the host has no AVX-512, or an early one"
    exit 0
fi

mkdir -p "$work/tree/bin"
subsets="-mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512cd -mavx512ifma -mavx512vbmi -mavx512vbmi2 -mavx512vnni -mavx512bitalg
    -mavx512vpopcntdq -mgfni -mvaes -mvpclmulqdq"
# no vzeroupper: the program looks at what calls leave in the registers
# shellcheck disable=SC2086
if ! gcc -O2 -Wall -Wextra -Wno-unused-parameter -Werror -static -mno-vzeroupper $subsets -o "$work/tree/bin/avx512" tests/guest/avx512.c 2>"$work/gcc.log"; then
    fail build "$(grep -m 1 error "$work/gcc.log")"
    exit 0
fi
"$work/tree/bin/avx512" >"$work/native"
grep -q '^signals 0 bad' "$work/native" && grep -q '^switches 0 bad' "$work/native"
verdict native $? "the program does not work here: $(tail -n 1 "$work/native")"

{ cat "$guest/initrd-cloud.gz"; (cd "$work/tree" && find . | cpio -o -H newc --owner 0:0 --quiet) | gzip -1; } >"$work/initrd.gz"

# guest CPU: runs it there; its lines are in $work/console
guest_run() {
    timeout -k 5 "$(limit 120)" "$duet" -accel "$accel" -cpu "$1" -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$work/initrd.gz" -nographic -no-reboot \
        -append "console=ttyS0 panic=-1 quiet duet.nonet duet.run=avx512.sh" </dev/null >"$work/console.raw" 2>"$work/stderr"
    tr -d '\r' <"$work/console.raw" >"$work/console"
}

guest_run max
for line in floats integers faults edges switches signals; do
    want=$(grep "^$line " "$work/native")
    grep -aqx "$want" "$work/console"
    verdict "$line" $? "natively '$want', in the guest '$(grep -a "^$line " "$work/console" || tail -n 1 "$work/console" | cut -c1-80)'"
done
for cpu in duet64 max,-avx512f; do
    guest_run $cpu
    grep -aqx 'flags without avx512' "$work/console"
    verdict "not_offered_$cpu" $? "the guest's /proc/cpuinfo: $(grep -a '^flags' "$work/console" || tail -n 1 "$work/console" | cut -c1-80)"
done
