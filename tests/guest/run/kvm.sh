# KVM on a processor with SVM: loads Debian's modules, runs the probe in five modes, then, under an inner qemu when there is one, bare-metal kernels
# that check the processor, and a whole Linux.
# kvm_args: parameters of kvm-amd; kernels: names of bare-metal kernels, with commas.
for module in irqbypass kvm; do insmod /kvm/$module.ko || exit 1; done
insmod /kvm/kvm-amd.ko $kvm_args || exit 1
dmesg | grep -E 'SVM|kvm:'
/kvm/kvmprobe || bad=1
for kernel in $(echo "${kernels:-}" | tr ',' ' '); do
    timeout 30 /kvm/qemu -L /kvm/bios -accel kvm -cpu host -m 64 -nographic -no-reboot -nic none -kernel "/kvm/kernels/$kernel" \
        -device isa-debug-exit,iobase=0x501,iosize=1 </dev/null >/tmp/kernel 2>&1
    if [ $? = 1 ]; then said=yes; else said="no: $(grep -a FAIL /tmp/kernel | head -n 1)" bad=1; fi
    echo "kvm kernel $kernel $said"
done
if [ -x /kvm/qemu ]; then
    timeout "${seconds:-60}" /kvm/qemu -L /kvm/bios -accel kvm -cpu host -m 192 -nographic -no-reboot -nic none \
        -kernel /kvm/vmlinuz -initrd /kvm/initrd -append 'console=ttyS0 panic=-1 quiet duet.nonet duet.run=hello.sh' </dev/null 2>&1 |
        tr -d '\r' | sed 's/DUET-RESULT/inner-result/' >/tmp/inner
    tail -n 20 /tmp/inner
    grep -q 'inner-result: ok' /tmp/inner || bad=1
fi
exit "${bad:-0}"
