# Runs in the outer guest (mknested.sh): machines that move between kvm and tcg, on a KVM with hardware behind it, with each place that the interrupt
# controllers can have. The bare-metal kernel counts its ticks; Linux sums memory and writes a disk.
dmesg -n 1
say() { if [ "$1" = 0 ]; then echo "ok $2"; else echo "FAIL $2: $3"; fi; }
# moves TO FROM PAUSE: commands, until the machine ends
moves() { while [ ! -e /ended ]; do echo "accel $1"; sleep "$3"; echo "accel $2"; sleep "$3"; done; }
# machine LIMIT CHIPS TO PAUSE OPTION...: the monitor's answers are in /moves, the guest's words in /said; it starts under kvm
machine() {
    seconds=$1 chips=$2 to=$3 pause=$4
    shift 4
    rm -f /ended /said
    moves "$to" kvm "$pause" | {
        timeout "$seconds" duet -accel kvm,kernel-irqchip=$chips -cpu max "$@" -no-reboot -display none -serial file:/said -monitor stdio >/moves 2>/err
        echo $? >/status
        : >/ended
        cat >/dev/null
    }
    status=$(cat /status)
    moved=$(grep -c ' -> .* ms' /moves)
    cat /said
    echo "# $(cut -d' ' -f1 /proc/uptime) moves $chips $to $moved, median: to kvm $(median kvm) ms, from kvm $(median "$to") ms"
}
# median ENGINE: of the times of the moves there
median() { sed -n "s/.* -> $1 in \([0-9.]*\) ms.*/\1/p" /moves | sort -n | awk '{ t[NR] = $1 } END { print t[int((NR + 1) / 2)] }'; }
# quick NAME: a translator that is itself translated makes its code anew after each move; that is most of it
quick() {
    all=$(median '[a-z]*')
    awk "BEGIN { exit !(${all:-1000} < 250) }"
    say $? "$1_time" "median $all ms"
}
why() { echo "status $status, $moved moves; $(grep -a FAIL /said | tail -n 1) $(tail -n 1 /err) $(grep lacks /moves | head -n 1)"; }

for chips in ${chips:-off split on}; do
    machine 120 $chips tcg 0.3 -m 64 -kernel /moving64 -device isa-debug-exit,iobase=0x501,iosize=1
    [ "$status" = 1 ] && [ "$moved" -ge 20 ] && grep -q '^ok moved' /said
    say $? nested/moving64_$chips "$(why)"
    quick nested/moving64_$chips
    sed -n 's/^ticks pit \(.*\) of \(.*\) apic \(.*\) of \(.*\)/\1 \2 \3 \4/p' /said |
        awk -v most=$moved '{ p = $1 - $2; a = $3 - $4; d = $6; n++ } END { exit !(n && p * p <= most * most && a * a <= most * most && d <= most) }'
    say $? nested/moving64_${chips}_ticks "$(grep '^ticks' /said) with $moved moves"
done

for chips in ${linux_chips:-on}; do
    machine 150 $chips tcg 0.2 -m 512 -kernel /vmlinuz-cloud -initrd /initrd-cloud.gz -drive file=/disk.img,if=virtio,format=raw -d exec -D /counters \
        -append "console=ttyS0 panic=-1 quiet duet.nonet duet.rounds=${rounds:-4} duet.run=switching.sh"
    [ "$status" = 0 ] && [ "$moved" -ge 100 ] && grep -q 'DUET-RESULT: ok' /said
    say $? nested/linux_$chips "$(why)"
    quick nested/linux_$chips
    # The disk's interrupts went through the kernel's events, which are given back at each move and asked for again.
    awk '$2 == "message_events" { events = $3 } $2 == "message_routes" { routes = $3 } END { exit !(routes > 1 && events > 10) }' /counters
    say $? nested/linux_${chips}_messages "$(grep 'counter message' /counters | tr -s ' ' | tr '\n' ' ')"
done
echo "disk: begin"
gzip -9 </disk.img | base64
echo "disk: end"
echo "nested: end"
