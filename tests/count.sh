#!/bin/sh
# -d count: a loop whose guest instructions are known is counted to within 1 %, and its host instructions for each are within reason.
. "$(dirname "$0")/lib.sh"
need_guest

mkdir -p "$work/tree/tests"
gcc -O2 -static -o "$work/tree/loops" bench/loops.c
printf '/loops int\necho DUET-RESULT: ok\n' >"$work/tree/tests/loop.sh"
{ cat "$guest/initrd-cloud.gz"; (cd "$work/tree" && find . | cpio -o -H newc --owner 0:0 --quiet | gzip -n); } >"$work/initrd.gz"
range=$(nm -S "$work/tree/loops" | awk '$4 == "bench_int" { print $1, $2 }')
# shellcheck disable=SC2086
set -- $range
last=$(printf '0x%x' $((0x$1 + 0x$2 - 1)))

timeout -k 5 "$(limit 60)" "$duet" -accel tcg -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$work/initrd.gz" -nographic -no-reboot \
    -append "console=ttyS0 quiet panic=-1 duet.nonet duet.run=loop.sh" -d count -D "$work/trace" -dfilter "0x$1..$last" \
    </dev/null 2>"$work/stderr" | tr -d '\r' >"$work/console"
known=$(sed -n 's/.*bench int [0-9]* \([0-9]*\) [0-9a-f]*$/\1/p' "$work/console")
set -- $(sed -n 's/^count: guest instructions \([0-9]*\) host instructions \([0-9]*\) ratio \([0-9.]*\) .*/\1 \2 \3/p' "$work/trace") 0 0 0
awk -v known="${known:-0}" -v guest="$1" 'BEGIN { exit !(known > 0 && guest > known * .99 && guest < known * 1.01) }'
verdict guest $? "${known:-?} instructions executed, $1 counted"
awk -v ratio="$3" 'BEGIN { exit !(ratio >= 0.8 && ratio <= 2.5) }'
verdict ratio $? "$2 host for $1 guest instructions: $3"
