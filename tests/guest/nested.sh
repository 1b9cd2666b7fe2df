# Runs in the outer guest (mknested.sh): the program under -accel kvm, with each place that the interrupt controllers can have. Every test is said
# as the other tests do; what the inner guests print stays in between, for the log.
dmesg -n 1
# A sign of life: a guest that hangs is ended by its time limit; an outer machine that stands still shows by this.
(while sleep 10; do echo "# alive $(cut -d' ' -f1 /proc/uptime)"; done) &
mkdir -p /www
head -c 30000 /dev/urandom >/www/blob
httpd -p 127.0.0.1:8088 -h /www

now() { cut -d' ' -f1 /proc/uptime; }
say() { echo "# $(now)"; if [ "$1" = 0 ]; then echo "ok $2"; else echo "FAIL $2: $3"; fi; }
inner() { timeout -k 5 60 duet -accel kvm,kernel-irqchip=$chips "$@" -nographic </dev/null >/out 2>/err; status=$?; tr -d '\r' </out >/out.text; }

counter() { awk -v n=$1 '$2 == n { v = $3 } END { print v + 0 }' /counters; }

# linux KERNEL NAME: to user space, with disk, network and random numbers
linux() {
    inner -m 256 -kernel /vmlinuz-$1 -initrd /initrd-$1.gz -append "console=ttyS0 panic=-1 quiet duet.run=devices.sh" -no-reboot \
        -drive file=/disk.img,if=virtio,format=raw,snapshot=on -nic user,model=virtio-net-pci -device virtio-rng-pci -d exec -D /counters
    cat /out.text
    [ $status = 0 ] && grep -q 'DUET-RESULT: ok' /out.text
    say $? $2 "status $status $(tail -n 1 /err) $(tail -n 1 /out.text)"
    # Interrupts of the devices: the kernel delivers them where it has the local APIC.
    messages=$(counter messages) events=$(counter message_events)
    if [ $chips = off ]; then [ "$messages" -gt 10 ] && [ "$events" = 0 ]; else [ "$events" -gt 10 ] && [ "$events" -gt $((messages / 2)) ]; fi
    say $? $2_messages "$events of $messages by events"
}

for chips in off split on; do
    for kernel in exits16 exits32 exits64 smc64 groups64; do
        inner -m 64 -kernel /$kernel -no-reboot -device isa-debug-exit,iobase=0x501,iosize=1
        sed -n "s,^\(ok\|FAIL\|skip\) \(.*\),\1 nested/$chips/$kernel/\2,p" /out.text
        grep -q '^end' /out.text && [ $status = 1 ]
        say $? nested/$chips/$kernel "status $status $(tail -n 1 /err)"
    done
    for kind in 1 3 5 6 7; do
        inner -m 16 -kernel /kind$kind -device isa-debug-exit,iobase=0xf4,iosize=4
        [ $status = 33 ] && [ "$(grep -oE 'boot|again' /out.text | tr '\n' ' ')" = "boot again " ]
        say $? nested/$chips/reset_$kind "status $status $(tail -n 1 /err)"
        inner -m 16 -kernel /kind$kind -no-reboot
        [ $status = 0 ] && [ "$(grep -oE 'boot|again' /out.text | tr '\n' ' ')" = "boot " ]
        say $? nested/$chips/no_reboot_$kind "status $status $(tail -n 1 /err)"
    done
    linux cloud nested/$chips/linux
done

# The instruction cases; QEMU has many of them wrong. KVM on SVM makes a fault of INT1's trap, on real processors as well.
if grep -q duet.outer=in_duet /proc/cmdline && [ -e /insn64 ]; then
    inner -m 64 -cpu max -kernel /insn64 -no-reboot -device isa-debug-exit,iobase=0x501,iosize=1
    sed -n "s,^FAIL trap/icebp.*,skip nested/insn64/icebp: KVM on SVM makes a fault of it,p; s,^FAIL \(.*\),FAIL nested/insn64/\1,p" /out.text
    grep -q '^end' /out.text && [ "$(grep -c '^ok ' /out.text)" -gt 150 ] && [ "$(grep -v icebp /out.text | grep -c '^FAIL')" = 0 ]
    say $? nested/insn64 "status $status $(grep -c '^ok ' /out.text) $(tail -n 1 /err)"
    inner -m 64 -cpu max -kernel /short32 -no-reboot -device isa-debug-exit,iobase=0x501,iosize=1
    sed -n "s,^FAIL \(.*\),FAIL nested/short32/\1,p" /out.text
    grep -q '^end' /out.text && [ "$(grep -c '^ok ' /out.text)" -ge 110 ] && [ $status = 1 ]
    say $? nested/short32 "status $status $(grep -c '^ok ' /out.text) $(tail -n 1 /err)"
fi

# Code where nothing is: the kernel cannot go on. One message, with registers and code; the disk is as it was.
before=$(cksum </disk.img)
inner -m 16 -kernel /kind2 -no-reboot -drive file=/disk.img,if=virtio,format=raw
[ $status = 1 ] && grep -q 'KVM_EXIT_INTERNAL_ERROR' /err && grep -q 'EIP=f1234567' /err && grep -q 'code at pc:' /err &&
    [ "$(cksum </disk.img)" = "$before" ]
say $? nested/internal_error "status $status $(head -n 1 /err)"

# Other kernels: everything built as modules; 32-bit ones with two and three levels of page tables (tests/kvm.sh: not in QEMU).
others="generic 686 686-pae" places="off split on"
grep -q duet.outer=in_qemu /proc/cmdline && others=generic places=on
for chips in $places; do
    for kernel in $others; do
        [ -e /vmlinuz-$kernel ] && linux $kernel nested/$chips/linux_$kernel
    done
done

# The same processor as the translator shows.
inner -m 256 -cpu max -kernel /vmlinuz-cloud -initrd /initrd-cloud.gz -append "console=ttyS0 panic=-1 quiet duet.nonet duet.run=hello.sh" -no-reboot
[ $status = 0 ] && grep -q 'DUET-RESULT: ok' /out.text
say $? nested/cpu_max "status $status $(tail -n 1 /err)"

# The unit tests of the engine, on this KVM.
if [ -e /kvm_host ]; then
    SLOW=20 timeout 60 /kvm_host >/out 2>/err
    status=$?
    sed -n "s,^\(ok\|FAIL\|skip\) ,&nested/unit/,p" /out
    say $status nested/unit "status $status $(tail -n 1 /err)"
fi

# A KVM with hardware behind it is what auto takes.
duet -accel auto -m 16 -kernel /kind1 -no-reboot -nographic </dev/null >/out 2>/err
[ $? = 0 ] && grep -q 'using kvm: .*hardware assistance' /err
say $? nested/auto "$(cat /err)"

# With shadow page tables, made by KVM.
if grep -q duet.outer=in_duet /proc/cmdline && [ -e /vmlinuz-686-pae ] && rmmod kvm-amd && insmod /modules/kvm-amd.ko npt=0; then
    linux 686-pae nested/linux_686-pae_shadow
fi
echo "nested: end"
