# Runs in the outer guest (mknested.sh): machines that move between kvm and tcg, on a KVM with hardware behind it.
dmesg -n 1
say() { if [ "$1" = 0 ]; then echo "ok $2"; else echo "FAIL $2: $3"; fi; }
# moves TO FROM: commands, until the machine ends
moves() { while [ ! -e /ended ]; do echo "accel $1"; sleep 1; echo "accel $2"; sleep 1; done; }
# machine LIMIT TO OPTION...: the monitor's answers are in /moves, the guest's words in /said; it starts under kvm
machine() {
    seconds=$1 to=$2
    shift 2
    rm -f /ended /said
    moves "$to" kvm | {
        timeout "$seconds" duet -accel kvm,kernel-irqchip=off -cpu max "$@" -no-reboot -display none -serial file:/said -monitor stdio >/moves 2>/err
        echo $? >/status
        : >/ended
        cat >/dev/null
    }
    status=$(cat /status)
    moved=$(grep -c ' -> .* ms' /moves)
    echo "# moves $moved: $(sed -n 's/.*accel: \(.*\)/\1/p' /moves | tr -d '\r' | head -n 6 | tr '\n' ';')"
    cat /said
}

for to in tcg interp; do
    machine 90 $to -m 64 -kernel /moving64 -device isa-debug-exit,iobase=0x501,iosize=1
    [ "$status" = 1 ] && [ "$moved" -ge 4 ] && grep -q '^ok moved' /said
    say $? nested/moving64_$to "status $status, $moved moves; $(tail -n 1 /err) $(grep lacks /moves | head -n 1)"
done

machine 150 tcg -m 192 -kernel /vmlinuz-cloud -initrd /initrd-cloud.gz -drive file=/disk.img,if=virtio,format=raw \
    -append "console=ttyS0 panic=-1 quiet duet.nonet duet.rounds=4 duet.run=switching.sh"
[ "$status" = 0 ] && [ "$moved" -ge 6 ] && grep -q 'DUET-RESULT: ok' /said
say $? nested/linux "status $status, $moved moves; $(tail -n 1 /err) $(grep lacks /moves | head -n 1)"
echo "disk: begin"
gzip -9 </disk.img | base64
echo "disk: end"
echo "nested: end"
