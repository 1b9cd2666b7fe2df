# KVM on a processor with SVM: loads Debian's modules, runs the probe in five modes, then a whole kernel under an inner qemu when there is one.
# kvm_args: parameters of kvm-amd.
for module in irqbypass kvm; do insmod /kvm/$module.ko || exit 1; done
insmod /kvm/kvm-amd.ko $kvm_args || exit 1
dmesg | grep -E 'SVM|kvm:'
/kvm/kvmprobe || bad=1
if [ -x /kvm/qemu ]; then
    timeout "${seconds:-60}" /kvm/qemu -L /kvm/bios -accel kvm -cpu host -m 192 -nographic -no-reboot -nic none -kernel /kvm/vmlinuz -initrd /kvm/initrd \
        -append 'console=ttyS0 panic=-1 quiet duet.nonet duet.run=hello.sh' </dev/null 2>&1 | tr -d '\r' | sed 's/DUET-RESULT/inner-result/' >/tmp/inner
    tail -n 20 /tmp/inner
    grep -q 'inner-result: ok' /tmp/inner || bad=1
fi
exit "${bad:-0}"
