#!/bin/sh
# SVM from Debian's side: its kvm and kvm-amd modules in a guest of ours run a probe in real, protected, paged, PAE and long mode, and, under an
# inner qemu, our own bare-metal kernels and an unmodified cloud kernel. With nested paging, then without (-npt): there KVM makes shadow page tables.
. "$(dirname "$0")/lib.sh"
need_guest

tree=$work/tree/kvm
mkdir -p "$tree/bios" "$tree/kernels"
for module in irqbypass kvm kvm-amd; do
    find "$guest/cloud/lib/modules" -name "$module.ko" -exec cp {} "$tree/" \;
done
if ! gcc -O2 -Wall -Wextra -Werror -static -o "$tree/kvmprobe" tests/guest/kvmprobe.c 2>"$work/gcc.log"; then
    fail probe "cannot build it: $(tail -n 1 "$work/gcc.log")"
    exit 0
fi

# inner_qemu: Debian's qemu with its libraries and firmware, when it is installed
inner_qemu() {
    qemu=$(command -v qemu-system-x86_64) && [ -e /usr/share/seabios/bios-256k.bin ] || return 1
    cp "$qemu" "$tree/qemu"
    tests/guest/libraries.sh "$qemu" "$work/tree" || return 1
    for rom in bios-256k.bin vgabios-stdvga.bin linuxboot_dma.bin multiboot_dma.bin kvmvapic.bin; do
        cp -L "$(find /usr/share/seabios /usr/share/qemu -name $rom | head -n 1)" "$tree/bios/" || return 1
    done
    for kernel in groups64 paging64; do
        make_kernel $kernel && cp "$work/$kernel" "$tree/kernels/" || return 1
    done
    cp -L "$guest/vmlinuz-cloud" "$tree/vmlinuz"
    cp "$guest/initrd-cloud.gz" "$tree/initrd"
}
inner=yes
inner_qemu 2>"$work/inner.log" || inner=

{ cat "$guest/initrd-cloud.gz"; (cd "$work/tree" && find . | cpio -o -H newc --owner 0:0 --quiet) | gzip -1; } >"$work/initrd.gz"

# svm NAME CPU WHAT-KVM-SAYS KERNEL...
svm() {
    name=$1 cpu=$2 says=$3
    shift 3
    [ -n "$inner" ] || set --
    words="duet.run=kvm.sh duet.kernels=$(echo "$*" | tr ' ' ,) duet.seconds=$(limit 60)"
    timeout -k 5 "$(limit 100)" "$duet" -accel "$accel" -cpu "$cpu" -m 768 -kernel "$guest/vmlinuz-cloud" -initrd "$work/initrd.gz" \
        -nographic -no-reboot -append "console=ttyS0 panic=-1 quiet no_timer_check duet.nonet $words" </dev/null >"$work/console.raw" 2>"$work/stderr"
    boot_status=$?
    tr -d '\r' <"$work/console.raw" >"$work/console"
    cp "$work/console" "$work/console.$name"
    grep -aq "$says" "$work/console"
    verdict "$name/module" $? "kvm-amd says: $(grep -a 'SVM' "$work/console" | tail -n 1)"
    for mode in real protected paged pae long; do
        grep -aq "^kvm $mode yes" "$work/console"
        verdict "$name/$mode" $? "$(grep -a "^kvm $mode" "$work/console" || echo "the guest said nothing")"
    done
    for kernel in "$@"; do
        grep -aq "^kvm kernel $kernel yes" "$work/console"
        verdict "$name/$kernel" $? "$(grep -a "^kvm kernel $kernel" "$work/console" || echo "the guest said nothing")"
    done
    if [ -n "$inner" ]; then
        grep -aq '^inner-result: ok' "$work/console"
        verdict "$name/kernel" $? "$(tail -n 1 "$work/console" | cut -c1-100)"
    else
        skip "$name/kernel" "no qemu to put into the guest"
    fi
    booted "$name-ends"
    grep -a '^kvm speed' "$work/console" | sed 's/^/# /'
}
# The other kernels meet what KVM does not do: A20, task switches to 16-bit tasks, breakpoints on ports, code in device
# registers; without nested paging also CR2 of a second fault.
svm nested max,+svm 'Nested Paging enabled' groups64 paging64
svm shadow max,+svm,-npt 'Nested Virtualization enabled' groups64
