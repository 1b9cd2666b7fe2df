#!/bin/sh
# Several vCPUs in parallel: a bare-metal kernel (start-up, IPIs, atomics, tables and code that change under others) under every engine, resets,
# and Linux with work for all of them.
. "$(dirname "$0")/lib.sh"

# bare NAME CPUS ENGINE
bare() {
    timeout -k 5 "$(limit 120)" "$duet" -accel "$3" -smp "$2" -m 64 -kernel "$work/smp64" -nographic -no-reboot \
        -device isa-debug-exit,iobase=0x501,iosize=1 </dev/null >"$work/bare$1" 2>"$work/err"
    status=$?
    tr -d '\r' <"$work/bare$1" | sed -n "s,^\(ok\|FAIL\|skip\) \(.*\),\1 $test_name/$1/\2,p"
    grep -q '^end' "$work/bare$1" && [ $status = 1 ]
    verdict "$1" $? "status $status, last: $(tail -n 1 "$work/bare$1" | cut -c1-100) $(tail -n 1 "$work/err")"
}

# kvm_bare CHIPS: under KVM. One that emulates kernel code does not lock what crosses a page, so the count of split_locks is then only skipped.
kvm_bare() {
    bare "kvm_$1" 2 "kvm,emulated=on,kernel-irqchip=$1" >"$work/verdicts"
    if [ "$(grep '^FAIL' "$work/verdicts" | grep -vc -e '/split_locks: ' -e ': status 3, last: end')" = 0 ] && grep -q '^FAIL.*/split_locks: ' "$work/verdicts" &&
        "$duet" -accel kvm -m 16 -kernel "$work/smp64" -nographic </dev/null 2>&1 | grep -q 'emulates guest-kernel code'; then
        grep -v '^FAIL' "$work/verdicts"
        skip "kvm_$1/split_locks" "a KVM that emulates guest kernels does not lock what crosses a page"
    else
        cat "$work/verdicts"
    fi
}

# resets NAME CPUS ENGINE: by the guest in every way, in the end by the monitor
resets() {
    rm -f "$work/reset"
    { timeout 60 sh -c "until grep -q 'reset: monitor' $work/reset; do sleep 0.1; done" 2>/dev/null; echo system_reset; sleep 2; } |
        timeout -k 5 "$(limit 90)" "$duet" -accel "$3" -smp "$2" -m 64 -kernel "$work/reset64" -display none -monitor stdio -serial file:"$work/reset" \
            -device isa-debug-exit,iobase=0x501,iosize=1 >"$work/out" 2>"$work/err"
    [ "$(tr -d '\r' <"$work/reset" | grep -c '^ok start_up')" = 7 ] && grep -q '^end' "$work/reset"
    verdict "$1" $? "last: $(tail -n 1 "$work/reset") $(tail -n 1 "$work/err")"
}
if make_kernel smp64 && make_kernel reset64; then
    bare 2 2 tcg
    bare 4 4 tcg
    bare interp 4 interp
    resets reset 4 tcg
    resets reset_interp 2 interp
else
    fail smp64 "cannot build it: $(tail -n 1 "$work"/*64.log)"
fi

# A KVM that emulates kernel code has limits (tests/kvm.sh), but several vCPUs it can.
if ! [ -r /dev/kvm ] || [ "${SOAK:-}" != 1 ]; then
    skip kvm "$([ -r /dev/kvm ] && echo 'two minutes more (SOAK=1 runs it)' || echo 'no /dev/kvm here')"
else
    for chips in on split off; do kvm_bare $chips; done
fi

# bad OPTIONS WORDS: refused with these words on stderr
bad() {
    name=$1 words=$2
    shift 2
    "$duet" -accel tcg "$@" -kernel "$work/smp64" -display none </dev/null >"$work/out" 2>"$work/err"
    [ $? = 1 ] && [ "$(grep -vc '^engine: ' "$work/err")" = 1 ] && grep -q -- "$words" "$work/err"
    verdict "$name" $? "$(cat "$work/err")"
}
bad bad_product 'are not 4 CPUs' -smp 4,sockets=3
bad bad_lockstep 'needs a machine of one CPU' -smp 2 -lockstep tcg,interp
bad bad_svm 'needs a machine of one CPU' -smp 2 -cpu max,+svm
bad too_many 'not a number between' -smp 33

need_guest

# Eight jobs at once, more than there are host processors; the sums do not depend on the number of CPUs.
mkdir -p "$work/tree/tests"
cp tests/guest/parallel.sh "$work/tree/tests/"
{ cat "$guest/initrd-cloud.gz"; (cd "$work/tree" && find . | cpio -o -H newc --owner 0:0 --quiet | gzip -n); } >"$work/initrd.gz"
job() { k=0; while [ $k -lt 6 ]; do yes "round $1 $k" | head -c 200000 | sha256sum; k=$((k + 1)); done | sha256sum | cut -c1-64; }
for i in 1 2 3 4 5 6 7 8; do echo "sum $i $(job $i)"; done >"$work/sums"

accel_more=
# linux CPUS SMP-OPTION [OPTION...]
linux() {
    cpus=$1
    shift
    timeout -k 5 "$(limit 150)" "$duet" -accel "tcg$accel_more" -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$work/initrd.gz" -nographic -no-reboot \
        -append "console=ttyS0 quiet panic=-1 duet.nonet duet.run=parallel.sh" -smp "$@" </dev/null >"$work/raw" 2>"$work/err"
    status=$?
    tr -d '\r' <"$work/raw" >"$work/linux$cpus"
    [ $status = 0 ] && grep -q "^cpus $cpus\$" "$work/linux$cpus" && grep '^sum ' "$work/linux$cpus" | cmp -s - "$work/sums"
    verdict "linux$cpus$accel_more" $? "status $status; $(grep '^cpus' "$work/linux$cpus"); $(tail -n 1 "$work/linux$cpus" | cut -c1-100) $(tail -n 1 "$work/err")"
    ! grep -q '^kernel: ' "$work/linux$cpus"
    verdict "linux$cpus$accel_more/quiet" $? "$(grep '^kernel: ' "$work/linux$cpus" | head -n 1)"
}
linux 2 2,sockets=2
linux 4 4,cores=2,threads=2
grep -q '^siblings 4' "$work/linux4" && grep -q '^cpu cores 2' "$work/linux4"
verdict topology $? "$(grep -E '^(siblings|cpu cores)' "$work/linux4" | tr '\n' ' ')"
linux 8 8
# Parts of the code cache are emptied again and again, while others want to run.
small=$work/small accel_more=,cache-kib=6000
linux 2 2,cores=2 -d exec -D "$small"
accel_more=
awk '$2 == "cache_turns" { n = $3 } END { exit !(n > 30) }' "$small"
verdict small_cache $? "$(grep cache_turns "$small")"

# The interpreter has time for a kernel and a shell only.
mini=$work/mini
mkdir -p "$mini/bin" "$mini/proc" "$mini/dev"
cp "$guest/busybox" "$mini/bin/"
cat >"$mini/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
echo "cpus $(/bin/busybox nproc)"
job() { /bin/busybox yes "round $1" | /bin/busybox head -c 20000 | /bin/busybox sha256sum | /bin/busybox cut -c1-64; }
job 1 >/1 & job 2 >/2 & wait
for i in 1 2; do echo "sum $i $(/bin/busybox cat /$i)"; done
/bin/busybox dmesg | /bin/busybox grep -E 'BUG|stall|lockup|unstable' | /bin/busybox sed 's/^/kernel: /'
/bin/busybox poweroff -f
INIT
chmod 755 "$mini/init"
(cd "$mini" && find . | cpio -o -H newc --owner 0:0 --quiet) >"$work/mini.cpio"
for i in 1 2; do echo "sum $i $(yes "round $i" | head -c 20000 | sha256sum | cut -c1-64)"; done >"$work/mini.sums"
timeout -k 5 "$(limit 150)" "$duet" -accel interp -smp 2 -m 128 -kernel "$guest/vmlinuz-cloud" -initrd "$work/mini.cpio" -nographic -no-reboot \
    -append "console=ttyS0 quiet panic=-1 no_timer_check mitigations=off tsc=reliable" </dev/null >"$work/raw" 2>"$work/err"
status=$?
tr -d '\r' <"$work/raw" >"$work/linux_interp"
[ $status = 0 ] && grep -q '^cpus 2$' "$work/linux_interp" && grep '^sum ' "$work/linux_interp" | cmp -s - "$work/mini.sums" &&
    ! grep -q '^kernel: ' "$work/linux_interp"
verdict linux_interp $? "status $status; $(grep -aE '^(cpus|kernel)' "$work/linux_interp" | head -n 2 | tr '\n' ' ')$(tail -n 1 "$work/err")"

# Under KVM with half of the interrupt chips in the kernel, nested.
if [ "${SOAK:-}" != 1 ]; then
    skip nested_split "three minutes more (SOAK=1 runs it)"
elif ! tests/guest/mknested.sh "$duet" "$work/outer.gz" tests/guest/nested_smp.sh "$work/smp64" >"$work/mknested.log" 2>&1; then
    fail nested_split "cannot make the outer initrd: $(tail -n 1 "$work/mknested.log")"
else
    timeout -k 5 "$(limit 240)" "$duet" -accel tcg -cpu max,+svm -m 1024 -nographic -no-reboot -kernel "$guest/vmlinuz-cloud" -initrd "$work/outer.gz" \
        -append "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check" </dev/null >"$work/raw" 2>"$work/err"
    tr -d '\r' <"$work/raw" >"$work/nested_split"
    sed -n "s,^\(ok\|FAIL\|skip\) ,\1 $test_name/nested_split/,p" "$work/nested_split"
    grep -q '^end' "$work/nested_split" && grep -q '^status 1:' "$work/nested_split"
    verdict nested_split $? "$(grep '^status' "$work/nested_split"); last: $(tail -n 1 "$work/nested_split" | cut -c1-100)"
fi

if [ "${SOAK:-}" != 1 ]; then
    skip debian8 "systemd on eight CPUs: two minutes more (SOAK=1 runs it)"
    exit 0
fi
if ! tests/guest/mkdebian.sh >"$work/mkdebian.log" 2>&1; then
    skip debian8 "no Debian image: $(tail -n 1 "$work/mkdebian.log")"
    exit 0
fi
test_name=smp/debian8
dialog 300 <<'TCL'
start -smp 8 -m 1024 -kernel $guest/vmlinuz-generic -initrd $guest/initrd-generic.gz -append "console=ttyS0 quiet duet.nonet duet.root=/dev/vda" \
    -drive file=$guest/debian.img,if=virtio,format=raw,snapshot=on -nographic
if {![await login_prompt "duet login: "]} { exit }
ok login_prompt
send "root\n"
if {![await login "root@duet:~# "]} { exit }
ok login
check eight "nproc" "\[\r\n\]8\[\r\n\]"
check systemd "systemctl is-system-running --wait | grep -E 'running|degraded'"
check failed_units "systemctl --failed --no-legend --plain | grep -v autofs | wc -l" "\[\r\n\]0\[\r\n\]"
check work "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do (head -c 8000000 /dev/zero | sha256sum >/tmp/s.\$i) & done; wait; sort -u /tmp/s.* | wc -l" "\[\r\n\]1\[\r\n\]"
check no_stalls "dmesg | grep -ciE 'stall|lockup|BUG:|clocksource.*(unstable|skew)|timed out|hung' | grep -x 0"
check no_timeouts "journalctl -b --no-pager | grep -ciE 'timed out|watchdog timeout' | grep -x 0"
send "poweroff\n"
ends poweroff 0
TCL
