#!/bin/sh
# Bare-metal kernels that check the processor's system side by themselves (tests/guest/kernels/), under both engines.
# A kernel prints `ok NAME`, `FAIL NAME: why` or `skip NAME: why` for each of its tests, then `end`; it leaves through isa-debug-exit with status 1
# when all went well. With REFERENCE="qemu-system-x86_64 -accel ... -cpu ..." the same kernels run there instead, for comparison.
. "$(dirname "$0")/lib.sh"

# run_kernel ENGINE NAME
run_kernel() {
    case $2 in svm*) more="-cpu max,+svm" ;; wide*) more="-cpu max" ;; pmu*) more="-cpu max,+pmu" ;; dma64) more="-device virtio-rng-pci" ;; smmsmp*) more="-smp 2" ;; *) more= ;; esac
    # What is mapped elsewhere is copied, and the copies are compared with translations.
    accel=$1
    [ $1.$2 != tcg.paging32 ] || accel=tcg,check-moves=on more="-d exec -D $work/counters"
    reboot=-no-reboot
    [ $2 != smmbad64 ] || reboot=
    timeout -k 5 "$(limit 90)" ${REFERENCE:-"$duet" -accel "$accel" $more} -m 64 -kernel "$work/$2" -nographic $reboot \
        -device isa-debug-exit,iobase=0x501,iosize=1 </dev/null >"$work/$1.$2" 2>"$work/$1.$2.err"
    status=$?
    tr -d '\r' <"$work/$1.$2" | sed -n "s,^\(ok\|FAIL\|skip\) \(.*\),\1 $test_name/$1/$2/\2,p"
    grep -q '^end' "$work/$1.$2" && [ $status = 1 -o $status = 3 ]
    verdict "$1/$2" $? "status $status, last: $(tail -n 1 "$work/$1.$2" | cut -c1-100) $(tail -n 1 "$work/$1.$2.err")"
}

for kernel in ${KERNELS:-prot32 vme32 fpu32 fpu64 smm32 smm64 smmbad64 smmsmp64 debug32 debug64 align32 align64 long64 paging32 paging64 wide64 pmu64 smc64 dma64 groups64 loops64 svm64 real16 exits16 exits32 exits64}; do
    if ! make_kernel $kernel; then
        fail "$kernel" "cannot build it: $(tail -n 1 "$work/$kernel.log")"
        continue
    fi
    for engine in ${ENGINES:-tcg interp}; do
        run_kernel "$engine" "$kernel"
    done
done
if [ -s "$work/counters" ]; then
    awk '$2 == "moves_checked" { n = $3 } END { exit !(n >= 18) }' "$work/counters"
    verdict tcg/paging32/moved $? "$(grep moves_checked "$work/counters")"
fi
