#!/bin/sh
# -cpu: what each model shows in CPUID is what the machine does (tests/guest/kernels/models32.c), under both engines; words that cannot be had are
# one line with the nearest that can, and status 1; -cpu help lists all; old processors carry the kernels of their time.
. "$(dirname "$0")/lib.sh"

make_kernel models32 -march=i486
verdict build $? "$(tail -n 1 "$work/models32.log")"

# shows MODEL ENGINE
shows() {
    name=$(echo "$1" | tr ',=+' '___')
    timeout -k 5 "$(limit 30)" "$duet" -accel "$2" -cpu "$1" -m 16 -kernel "$work/models32" -nographic -no-reboot \
        -device isa-debug-exit,iobase=0x501,iosize=1 </dev/null >"$work/$name.$2" 2>"$work/$name.$2.err"
    [ $? = 1 ] && grep -q '^end' "$work/$name.$2"
    verdict "shows/$2/$name" $? "$(grep -a FAIL "$work/$name.$2" | head -n 3 | tr '\r\n' '  ') $(tail -n 1 "$work/$name.$2.err")"
}

# Every model of the list that this host can give, and some with words.
"$duet" -cpu help >"$work/help" 2>"$work/help.err"
verdict help $? "status $?"
models=$(sed -n '/^models/,/^features/s/^  + \([^ ]*\).*/\1/p' "$work/help")
[ "$(echo "$models" | wc -l)" -ge 15 ] && grep -q '^  . Icelake-Server ' "$work/help" && grep -q '^  + fxsr$' "$work/help"
verdict help_lists $? "$(wc -l <"$work/help") lines"
for model in $models max,-cmov,-cx8,-tsc,-pat,-pse36 max,-sse2 max,-xsave duet64,-lm,-nx max,-mmx max,-smap,-umip,-fsgsbase,-pge \
    pentium,+cmov,sse4.2=off; do
    shows "$model" tcg
done
for model in 486 pentium3 max,-cmov,-sse max; do
    shows "$model" interp
done

# refuses NAME PATTERN SPEC
refuses() {
    timeout -k 2 20 "$duet" -accel "$accel" -cpu "$3" -kernel "$work/models32" -nographic </dev/null >"$work/out" 2>"$work/err"
    status=$?
    [ $status = 1 ] && [ "$(wc -l <"$work/err")" = 1 ] && [ ! -s "$work/out" ] && grep -qE -- "$2" "$work/err"
    verdict "refuses/$1" $? "status $status: $(head -n 2 "$work/err")"
}
refuses model "'Haswel'.*Haswell" Haswel
refuses feature "'avx3'.*avx" max,+avx3
refuses not_implemented 'sse4a' max,+sse4a
refuses dependency 'avx2 builds on avx.*nearest possible: x86-64-v2,\+avx2,\+avx,\+xsave' x86-64-v2,+avx2
refuses contradiction 'avx2 builds on avx.*nearest' max,-avx,avx2=on
refuses vendor 'GenuineIntel' max,vendor=Cyrix
refuses number 'stepping=16' max,stepping=16
refuses value 'sse2=maybe' max,sse2=maybe


# Kernels of their time: Debian's ask for a Pentium Pro, with PAE and without.
need_guest
if { tests/guest/fetch.sh i386 && tests/guest/mkinitrd.sh; } >"$work/fetch_i386.log" 2>&1; then
    for guest_cpu in 686/pentium2 686-pae/pentium3; do
        boot "${guest_cpu%/*}" 60 "quiet duet.nonet duet.run=hello.sh" -cpu "${guest_cpu#*/}"
        booted "boots_$(echo "$guest_cpu" | tr / _)"
    done
else
    skip boots "no packages: $(tail -n 1 "$work/fetch_i386.log")"
fi
