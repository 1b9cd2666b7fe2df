#!/bin/sh
# The translator under circumstances that seldom come up: blocks of one instruction, blocks of random lengths whose exits are not linked, which look
# for pending work at random and whose temporaries are in registers chosen at random, a code cache that is always full, a TLB of two pages. The bare-metal kernels and the instruction cases must not notice;
# with SOAK=1 neither does Linux, nor any of ten seeds.
. "$(dirname "$0")/lib.sh"

ways="one-insn-per-tb=on cache-kib=144 cache-kib=400 tlb=2,random=1 random=2,cache-kib=160"
[ -z "${SOAK:-}" ] || ways="$ways random=3 random=4 random=5 random=6 random=7,tlb=1 random=8,tlb=3 random=9,one-insn-per-tb=on random=10,cache-kib=144,tlb=4"

for kernel in long64 prot32 real16 paging64 smc64 loops64 exits64 insn64; do
    case $kernel in
    insn64) make_kernel insn64 -I. tests/insn/*.S ;;
    *) make_kernel $kernel ;;
    esac || fail "$kernel" "cannot build it: $(tail -n 1 "$work/$kernel.log")"
done

for way in $ways; do
    bad=
    for kernel in long64 prot32 real16 paging64 smc64 loops64 insn64 ${SOAK:+exits64}; do
        timeout -k 5 "$(limit 60)" "$duet" -accel "tcg,$way" -cpu max -m 64 -kernel "$work/$kernel" -nographic -no-reboot \
            -device isa-debug-exit,iobase=0x501,iosize=1 </dev/null >"$work/out" 2>"$work/err"
        status=$?
        if [ $status != 1 ] || ! grep -q '^end' "$work/out"; then
            bad="$bad $kernel: status $status $(grep -m 1 '^FAIL' "$work/out" | tr -d '\r' | cut -c1-100) $(tail -n 1 "$work/err");"
        fi
    done
    [ -z "$bad" ]
    verdict "kernels/$way" $? "$bad"
done

# Each of them takes hold.
"$duet" -accel tcg,cache-kib=144,tlb=2 -m 64 -kernel "$work/long64" -nographic -no-reboot -device isa-debug-exit,iobase=0x501,iosize=1 -d exec \
    -D "$work/counters" </dev/null >"$work/out" 2>"$work/err"
awk '$2 == "cache_flushes" { flushes = $3 } $2 == "tlb_refills" { refills = $3 } END { exit !(flushes > 10 && refills > 500) }' "$work/counters"
verdict tight $? "$(grep -E 'cache_flushes|tlb_refills' "$work/counters" | tr '\n' ' ')"

[ -n "${SOAK:-}" ] || exit 0
need_guest
for way in $(echo "$ways" | sed "s,cache-kib=1,cache-kib=10,g"); do       # 144 KiB: it would never be done
    accel=tcg,$way boot cloud 400 "quiet no_timer_check duet.nonet duet.run=hello.sh"
    booted "linux/$way"
done
