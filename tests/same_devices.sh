#!/bin/sh
# The same script for every device (devices32) under each engine: the traces of all accesses (-d io) and all devices' saved state at the end (-d devices)
# are byte-identical. Time goes on by accesses alone (-rtc clock=accesses), so nothing needs to be masked. KVM: this host's, and a nested one.
. "$(dirname "$0")/lib.sh"

make_kernel devices32 || fail devices32 "cannot build it: $(tail -n 1 "$work/devices32.log")"
head -c 65536 /dev/zero | tr '\0' x >"$work/disk.img"
cp tests/guest/devices_options "$work/"
date=2026-03-01T12:00:00

# devices NAME OPTION...: the report without its first line, which names the engine, in $work/NAME
devices() {
    name=$1
    shift
    (cd "$work" && timeout -k 5 "$(limit 40)" "$duet" "$@" $(cat devices_options) -rtc base=$date,clock=accesses -d io,devices -D "$name.log" \
        -serial "file:$name.serial" </dev/null 2>"$name.err")
    status=$?
    tail -n +2 "$work/$name.log" >"$work/$name"
    [ $status = 1 ] && grep -q '^end' "$work/$name.serial"
}

# same NAME: as the translator's
same() {
    cmp -s "$work/tcg" "$work/$1"
    verdict "$1" $? "$(diff "$work/tcg" "$work/$1" | sed -n 2p | cut -c1-100)"
}

devices tcg -accel tcg
verdict script $? "status $status; $(tail -n 1 "$work/tcg.err")"
lines=$(grep -cE '^(port|memory) (read|write) ' "$work/tcg")
echo "# $lines accesses, $(grep -c '\..* ' "$work/tcg") fields"
head -n 1 "$work/tcg.log" | grep -q '^engine: tcg: as asked$'
verdict says_engine $? "$(head -n 1 "$work/tcg.log")"
# Every device was reached, and the disk's request was served.
missing=
for at in 'port .* 20 ' 'port .* a1 ' 'port .* 4d1 ' 'port .* 40 ' 'port .* 42 ' 'port .* 71 ' 'port .* 3f8 ' 'port .* 60 ' 'port .* 92 ' 'port .* cfc ' \
    'port .* 511 ' 'port .* 518 ' 'port .* e9 ' 'port .* b2 ' 'port .* 608 ' 'memory .* fed000f0 ' 'memory .* fec00010 ' 'memory .* fee00390 '; do
    grep -q "^$at" "$work/tcg" || missing="$missing $at;"
done
for device in pic ioapic lapic pit rtc i8042 uart3f8 hpet pm fw_cfg piix3 i440fx virtio-blk virtio-rng virtio-net virtio-console; do
    grep -q "^$device[0-9]*\." "$work/tcg" || missing="$missing $device;"
done
[ -z "$missing" ] && [ "$lines" -gt 10000 ]
verdict every_device $? "not reached:$missing"

devices again -accel tcg && same again
devices interp -accel interp
same interp
date=2026-03-01T12:00:01
devices other_date -accel tcg
! cmp -s "$work/tcg" "$work/other_date"
verdict a_difference_shows $? "another date makes no difference"
date=2026-03-01T12:00:00

if devices kvm -accel kvm,emulated=on,kernel-irqchip=off; then
    same kvm
else
    skip kvm "$(sed -n 's/^duet: //p' "$work/kvm.err" | head -n 1) (status $status)"
fi

need_guest
if [ -z "$(find "$guest/cloud/lib/modules" -name kvm-amd.ko)" ]; then
    skip nested "the guest kernel's package has no kvm-amd module"
    exit 0
fi
cat >"$work/inside.sh" <<E2
dmesg -n 1
timeout 100 duet -accel kvm,kernel-irqchip=off \$(cat /devices_options) -rtc base=$date,clock=accesses -d io,devices -D /log -serial file:/serial </dev/null
echo "status \$?"
head -n 1 /log
tail -n +2 /log | md5sum | sed 's/^/sum /'
echo "nested: end"
E2
tests/guest/mknested.sh "$duet" "$work/outer.gz" "$work/inside.sh" "$work/devices32" "$work/disk.img" "$work/devices_options" >"$work/mknested.log" 2>&1 ||
    fail nested "cannot make the outer initrd: $(tail -n 1 "$work/mknested.log")"
timeout -k 5 "$(limit 120)" "$duet" -accel tcg -cpu max,+svm -m 512 -nographic -no-reboot -kernel "$guest/vmlinuz-cloud" -initrd "$work/outer.gz" \
    -append "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check" </dev/null 2>"$work/outer.err" | tr -d '\r' >"$work/outer"
[ "$(sed -n 's/^sum \([0-9a-f]*\).*/\1/p' "$work/outer")" = "$(md5sum <"$work/tcg" | cut -d' ' -f1)" ]
verdict nested_kvm $? "$(grep -E '^(status|engine|sum)' "$work/outer" | tr '\n' ' ')"
grep -q '^engine: kvm: ' "$work/outer"
verdict nested_says_engine $? "$(grep engine: "$work/outer")"
