# Runs in the outer guest: this program and QEMU in turns under -accel kvm (bench/kvm).
dmesg -n 1
qemu="qemu-system-x86_64 -L / -accel kvm -cpu host -nodefaults -vga none -display none -nic none"

# engine WHO: the command's first words
engine() {
    case $1 in
    qemu) echo "$qemu" ;;
    *) echo "duet -display none -accel kvm,kernel-irqchip=${1#duet-}" ;;
    esac
}

word() { tr ' ' '\n' </proc/cmdline | sed -n "s/^bench.$1=//p"; }
rounds=$(seq "$(word rounds)")
part() { case ,$(word parts), in *,$1,*) return 0 ;; esac; return 1; }

part start && for round in $rounds; do
    for who in qemu duet-on duet-split duet-off; do
        echo "bench start_ms $who $(/timer 7 $(engine $who) -m 128 -bios /first.bin -chardev stdio,id=d -device isa-debugcon,chardev=d,iobase=0xe9 -device isa-debug-exit,iobase=0xf4,iosize=1)"
    done
done
part ticks && for round in $rounds; do
    for who in qemu duet-on duet-off; do
        $(engine $who) -m 64 -kernel /cost64 -serial stdio -device isa-debug-exit,iobase=0x501,iosize=1 </dev/null 2>&1 | tr -d '\r' |
            sed -n "s/.*cost /bench ticks_/p" | sed "s/ \([0-9]*\)$/ $who \1/"
    done
done
# Direct reads of 4 KiB, one after the other: milliseconds for 2000 of them by the inner guest's own clock.
part reads && for round in $rounds; do
    for who in qemu duet-on; do
        timeout 100 $(engine $who) -m 256 -kernel /vmlinuz-cloud -initrd /inner.gz \
            -append "console=ttyS0 panic=-1 quiet duet.nonet duet.run=reads.sh" -no-reboot -drive file=/disk.img,if=virtio,format=raw,cache=writeback -serial stdio </dev/null 2>&1 | tr -d '\r' |
            sed -n "s/^reads /bench reads_ms $who /p"
    done
done
echo "bench: end"
