#!/bin/sh
# SVM from Debian's side: its kvm and kvm-amd modules in a guest of ours run a probe in real, protected, paged, PAE and long mode, and an unmodified
# cloud kernel under an inner qemu. With nested paging, then without (-npt): there KVM makes shadow page tables.
. "$(dirname "$0")/lib.sh"
need_guest

tree=$work/tree/kvm
mkdir -p "$tree/bios"
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
    for lib in $(ldd "$qemu" | grep -o '/[^ )]*'); do
        mkdir -p "$work/tree$(dirname "$lib")"
        cp -L "$lib" "$work/tree$lib"
    done
    for rom in bios-256k.bin vgabios-stdvga.bin linuxboot_dma.bin kvmvapic.bin; do
        cp -L "$(find /usr/share/seabios /usr/share/qemu -name $rom | head -n 1)" "$tree/bios/" || return 1
    done
    cp -L "$guest/vmlinuz-cloud" "$tree/vmlinuz"
    cp "$guest/initrd-cloud.gz" "$tree/initrd"
}
inner=yes
inner_qemu 2>"$work/inner.log" || inner=

{ cat "$guest/initrd-cloud.gz"; (cd "$work/tree" && find . | cpio -o -H newc --owner 0:0 --quiet) | gzip -1; } >"$work/initrd.gz"

# svm NAME CPU WHAT-KVM-SAYS
svm() {
    timeout -k 5 "$(limit 100)" "$duet" -accel "$accel" -cpu "$2" -m 768 -kernel "$guest/vmlinuz-cloud" -initrd "$work/initrd.gz" -nographic -no-reboot \
        -append "console=ttyS0 panic=-1 quiet duet.nonet duet.run=kvm.sh duet.seconds=$(limit 60)" </dev/null >"$work/console.raw" 2>"$work/stderr"
    boot_status=$?
    tr -d '\r' <"$work/console.raw" >"$work/console"
    cp "$work/console" "$work/console.$1"
    grep -aq "$3" "$work/console"
    verdict "$1/module" $? "kvm-amd says: $(grep -a 'SVM' "$work/console" | tail -n 1)"
    for mode in real protected paged pae long; do
        grep -aq "^kvm $mode yes" "$work/console"
        verdict "$1/$mode" $? "$(grep -a "^kvm $mode" "$work/console" || echo "the guest said nothing")"
    done
    if [ -n "$inner" ]; then
        grep -aq '^inner-result: ok' "$work/console"
        verdict "$1/kernel" $? "$(tail -n 1 "$work/console" | cut -c1-100)"
    else
        skip "$1/kernel" "no qemu to put into the guest"
    fi
    booted "$1-ends"
    grep -a '^kvm speed' "$work/console" | sed 's/^/# /'
}
svm nested max,+svm 'Nested Paging enabled'
svm shadow max,+svm,-npt 'Nested Virtualization enabled'
