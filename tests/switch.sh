#!/bin/sh
# A running Linux is moved between engines by the monitor, while it sums memory, writes a disk and sleeps: sums right, no sleep forgotten, both clocks
# in step, the file system clean; nested, to KVM and back. And the monitor itself: what it refuses leaves the guest running.
. "$(dirname "$0")/lib.sh"

# ---- a bare-metal kernel that checks itself, on any host; with KVM where it works ----

gcc -shared -fPIC -O1 -Wall -o "$work/shim.so" tests/guest/kvm_shim.c -ldl || fail shim "cannot build it"
make_kernel moving64 || fail moving64 "cannot build it: $(tail -n 1 "$work/moving64.log")"

# median FILE: of the times of the moves that it tells of
median() { sed -n 's/.* in \([0-9.]*\) ms.*/\1/p' "$1" | sort -n | awk '{ t[NR] = $1 } END { print t[int((NR + 1) / 2)] }'; }

# quick NAME FILE: the median of those times is below 50 ms
quick() {
    echo "# $1: $(grep -c ' -> .* ms' "$2") moves, median $(median "$2") ms"
    [ -n "$(median "$2")" ] && awk "BEGIN { exit !($(median "$2") < 50) }"
    verdict "$1_time" $? "median $(median "$2") ms"
}

# moving NAME FROM TO OPTION...: there and back until it ends, a hundred moves at least. Of the ticks that the kernel has counted, at most one a move
# may be lost or doubled; half of the moves are made while it counts.
moving() {
    name=$1 from=$2 to=$3
    shift 3
    rm -f "$work/ended"
    (sleep 0.5; while [ ! -e "$work/ended" ]; do echo "accel $to"; sleep 0.06; echo "accel $from"; sleep 0.06; done) | {
        timeout -k 5 "$(limit 60)" "$duet" "$@" -m 512 -kernel "$work/moving64" -device isa-debug-exit,iobase=0x501,iosize=1 -no-reboot \
            -serial "file:$work/moving" -display none -monitor stdio >"$work/moves" 2>"$work/err"
        echo $? >"$work/status"
        : >"$work/ended"
        cat >/dev/null
    }
    status=$(cat "$work/status")
    moves=$(grep -c ' -> .* ms' "$work/moves")
    [ "$status" = 1 ] && [ "$moves" -ge 100 ] && grep -q '^ok moved' "$work/moving"
    verdict "$name" $? "status $status, $moves moves; $(grep -a FAIL "$work/moving") $(tail -n 1 "$work/err") $(grep -a 'accel .*:.*' "$work/moves" | grep -v ' ms' | head -n 1)"
    echo "# $name: $(grep '^ticks' "$work/moving")"
    sed -n 's/^ticks pit \(.*\) of \(.*\) apic \(.*\) of \(.*\)/\1 \2 \3 \4/p' "$work/moving" |
        awk -v most=$((moves / 2)) '{ p = $1 - $2; a = $3 - $4; d = $6; n++ } END { exit !(n && p * p <= most * most && a * a <= most * most && d <= most) }'
    verdict "${name}_ticks" $? "$(grep '^ticks' "$work/moving") with $moves moves"
    quick "$name" "$work/moves"
}
moving moving64/tcg_interp tcg interp -accel tcg
moving moving64/interp_tcg interp tcg -accel interp

# With KVM where there is one, with hardware behind it or not, and the chips wherever they can be.
echo quit | timeout -k 5 "$(limit 20)" "$duet" -accel kvm,emulated=on -m 16 -S -display none -monitor stdio -kernel "$work/moving64" >"$work/out" 2>"$work/err"
if [ -s "$work/err" ]; then
    skip moving64/kvm "$(sed -n 's/^duet: //p' "$work/err" | head -n 1)"
else
    for chips in off split on; do
        moving moving64/kvm_$chips kvm,emulated=on tcg -accel kvm,emulated=on,kernel-irqchip=$chips -cpu max
    done
    # A kernel that does not give its chips back (KVM_GET_LAPIC fails): the guest goes on where it is.
    (sleep 1; echo "accel tcg"; sleep 0.5; grep -c '^round' "$work/moving" >"$work/before"; sleep 4; echo "info accel"; sleep 0.5; echo quit) |
        LD_PRELOAD=$work/shim.so KVM_SHIM_IOCTL=0x8400ae8e timeout -k 5 "$(limit 30)" "$duet" -accel kvm,emulated=on,kernel-irqchip=on -cpu max -m 64 \
            -kernel "$work/moving64" -device isa-debug-exit,iobase=0x501,iosize=1 -no-reboot -serial "file:$work/moving" -display none -monitor stdio \
            >"$work/moves" 2>"$work/err"
    status=$?
    [ $status = 0 ] && grep -q 'does not give back' "$work/moves" && grep -q 'engine: kvm' "$work/moves" && ! grep -q '^FAIL' "$work/moving" &&
        [ "$(grep -c '^round' "$work/moving")" -gt "$(cat "$work/before")" ]
    verdict chips_not_given_back $? "status $status; $(grep -a FAIL "$work/moving") $(tail -n 1 "$work/err")"
fi

# -S: nothing runs before cont
make_tiny 1 || fail stopped_at_start "cannot build the kernel"
(sleep 1; wc -c <"$work/said" >"$work/before"; echo cont) |
    timeout -k 5 "$(limit 20)" "$duet" -S -accel "$accel" -m 16 -kernel "$work/kind1" -no-reboot -display none -serial "file:$work/said" -monitor stdio \
        >"$work/out" 2>"$work/err"
[ $? = 0 ] && [ "$(cat "$work/before")" = 0 ] && grep -q boot "$work/said"
verdict stopped_at_start $? "$(cat "$work/before") letters before cont; $(cat "$work/err")"
"$duet" -S -m 16 -kernel "$work/kind1" -display none >"$work/out" 2>"$work/err" </dev/null
[ $? = 1 ] && grep -q 'needs -monitor' "$work/err"
verdict stopped_without_monitor $? "$(cat "$work/err")"

need_guest

mke2fs -q -t ext4 "$work/disk.img" 64M >/dev/null
mkfifo "$work/commands"

# start OPTION...: the guest in the background, on a host without /dev/kvm; fd 3 is the monitor's input, $work/answers its output
start() {
    : >"$work/answers"
    timeout -k 5 "$(limit 200)" env LD_PRELOAD="$work/shim.so" KVM_SHIM_OPEN=2 "$duet" -accel "$accel" -m 512 -kernel "$guest/vmlinuz-cloud" \
        -initrd "$guest/initrd-cloud.gz" -display none -no-reboot -append "console=ttyS0 quiet panic=-1 duet.nonet duet.run=switching.sh" -drive "file=$work/disk.img,if=virtio,format=raw" \
        -serial "file:$work/serial" -monitor stdio "$@" <"$work/commands" >"$work/answers" 2>"$work/stderr" &
    pid=$!
    exec 3>"$work/commands"
}

# await SECONDS FILE PATTERN
await() {
    tenths=$(($(limit "$1") * 10))
    until grep -aqE -- "$3" "$2" 2>/dev/null; do
        tenths=$((tenths - 1))
        [ $tenths -gt 0 ] && kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.1
    done
}

# ask COMMAND PATTERN: the last answer matches
ask() {
    before=$(wc -l <"$work/answers")
    echo "$1" >&3
    tenths=$(limit 100)
    until tail -n "+$((before + 1))" "$work/answers" | tr -d '\r' | grep -qE -- "$2"; do
        tenths=$((tenths - 1))
        [ $tenths -gt 0 ] && kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.1
    done
}

# answers NAME COMMAND PATTERN: a verdict on what the monitor says
answers() {
    ask "$2" "$3"
    verdict "$1" $? "$(tail -n 1 "$work/answers")"
}

start
await 60 "$work/serial" 'switching: begin'
verdict begins $? "$(tail -n 1 "$work/serial") $(cat "$work/stderr")"

# ---- what is refused ----

answers unknown_command acel "'acel' is not known \(nearest: accel;"
answers unknown_info "info statu" "'statu' is not known \(nearest: status;"
answers unknown_engine "accel qemu" "there is no engine 'qemu'"
answers too_many_words "accel tcg now" "too many words"
answers same_engine "accel $accel" "$accel runs the machine already"
answers refused_move "accel kvm" "accel kvm: /dev/kvm is missing"
answers info_accel "info accel" "engine: $accel"
answers info_registers "info registers" "^EFER="

# ---- stop and cont: nothing is said by a guest that stands still ----

echo stop >&3
answers stop "info status" "VM status: paused"
said=$(wc -c <"$work/serial")
sleep 2
[ "$(wc -c <"$work/serial")" = "$said" ]
verdict stands_still $? "the guest went on"
echo cont >&3
answers cont "info status" "VM status: running"

# ---- there and back again ----

while kill -0 "$pid" 2>/dev/null && ! grep -aq DUET-RESULT "$work/serial"; do
    echo "accel interp" >&3
    sleep 0.05
    echo "accel tcg" >&3
    sleep 0.12
done
exec 3>&-
wait "$pid"
status=$?
tr -d '\r' <"$work/serial" >"$work/console"
moves=$(grep -c ' -> .* ms' "$work/answers")
[ "$moves" -ge 100 ]
verdict moves $? "only $moves moves"
quick linux "$work/answers"
[ $status = 0 ] && grep -q 'DUET-RESULT: ok' "$work/console"
verdict guest $? "status $status; $(tail -n 2 "$work/console" | tr '\n' ' ')$(tail -n 1 "$work/stderr")"
# sums NAME ROUNDS CONSOLE: the guest has said what the host finds
sums() {
    round=0
    while [ $round -lt "$2" ]; do
        round=$((round + 1))
        echo "sum $round $(yes "round $round of the work" | head -c 400000 | sha256sum | cut -c1-64)"
    done >"$work/sums"
    grep '^sum ' "$3" | diff - "$work/sums" >"$work/difference"
    verdict "$1" $? "$(grep -c '^[<>]' "$work/difference") lines differ"
}
sums sums 24 "$work/console"
grep -q '^sleeps 200' "$work/console"
verdict no_sleep_lost $? "$(grep sleeps "$work/console")"
grep -q '^seconds' "$work/console"
verdict clocks $? "no clocks were compared"
echo "# $(grep '^seconds' "$work/console")"
e2fsck -fn "$work/disk.img" >"$work/fsck" 2>&1
verdict file_system $? "$(tail -n 1 "$work/fsck")"

# ---- nested: between a KVM with hardware behind it and the translator ----
# The outer machine is this program's: QEMU 7.2 forgets the interrupt shadow at VMRUN, so that its guests miss wake-ups when they are entered anew often.

make_kernel moving64 -DTICKS=19 || fail moving64 "cannot build it: $(tail -n 1 "$work/moving64.log")"
if [ -z "$(find "$guest/cloud/lib/modules" -name kvm-amd.ko)" ]; then
    skip nested "no kvm-amd module for the outer machine"
    exit 0
fi
rm -f "$work/disk.img"
mke2fs -q -t ext4 "$work/disk.img" 8M >/dev/null
if ! tests/guest/mknested.sh "$duet" "$work/outer.gz" tests/guest/nested_switch.sh "$work/moving64" "$work/disk.img" "$guest/vmlinuz-cloud" \
    "$guest/initrd-cloud.gz" >"$work/mknested.log" 2>&1; then
    fail nested "cannot make the outer initrd: $(tail -n 1 "$work/mknested.log")"
    exit 0
fi
timeout -k 5 "$(limit 500)" "$duet" -accel tcg -cpu max,+svm -m 1024 -nographic -no-reboot -kernel "$guest/vmlinuz-cloud" \
    -initrd "$work/outer.gz" -append 'console=ttyS0 panic=-1 quiet mitigations=off no_timer_check' </dev/null >"$work/outer.raw" 2>"$work/outer.err"
status=$?
tr -d '\r' <"$work/outer.raw" >"$work/outer"
sed -n "s,^\(ok\|FAIL\|skip\) nested/,\1 $test_name/nested/,p; s/^# moves/# nested moves/p" "$work/outer"
grep -q '^nested: end' "$work/outer"
verdict nested $? "status $status; last: $(grep -v '^ *$' "$work/outer" | tail -n 1 | cut -c1-100)"
sums nested/sums 4 "$work/outer"
grep -q '^sleeps 200' "$work/outer"
verdict nested/no_sleep_lost $? "$(grep sleeps "$work/outer")"
sed -n '/^disk: begin/,/^disk: end/p' "$work/outer" | sed '1d;$d' | base64 -d | gzip -d >"$work/nested.img" &&
    e2fsck -fn "$work/nested.img" >"$work/fsck" 2>&1
verdict nested/file_system $? "$(tail -n 1 "$work/fsck")"
