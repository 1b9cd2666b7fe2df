#!/bin/sh
# Makes build/guest/initrd-cloud.gz and initrd-generic.gz (and those of the i386 kernels, where they have been fetched): static busybox,
# tests/guest/init, the scripts in tests/guest/run/ and the
# kernel modules that the machine's virtio devices and ext4 need, with a list of them in loading order.
# The order comes from each module's own `depends=` record, so no depmod is needed on the host.
# usage: tests/guest/mkinitrd.sh            after fetch.sh; rebuilds what is older than its sources
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$here/../../build/guest
cd "$out"
exec 9>.lock
flock 9                                 # tests run side by side

wanted="virtio_pci virtio_blk virtio_net virtio-rng virtio_console crc32c_generic ext4"

die() { echo "mkinitrd: $*" >&2; exit 1; }

# add_module KERNEL NAME: appends the module's dependencies and then itself to $tree/modules/order, once; built-in ones have no file
add_module() {
    file=$(find "$1/lib/modules" -name "$2.ko" | head -n 1)
    [ -n "$file" ] || file=$(find "$1/lib/modules" -name "$(echo "$2" | tr _ -).ko" | head -n 1)
    [ -n "$file" ] || return 0
    grep -qx "$(basename "$file")" "$tree/modules/order" && return 0
    for dep in $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr ',' ' '); do
        add_module "$1" "$dep"
    done
    file=$(find "$1/lib/modules" -name "$2.ko" | head -n 1)           # the recursion has overwritten it (sh has no locals)
    [ -n "$file" ] || file=$(find "$1/lib/modules" -name "$(echo "$2" | tr _ -).ko" | head -n 1)
    cp "$file" "$tree/modules/"
    basename "$file" >>"$tree/modules/order"
}

make_initrd() {
    tree=$out/tree-$1.$$
    rm -rf "$tree"
    mkdir -p "$tree/bin" "$tree/dev" "$tree/proc" "$tree/sys" "$tree/mnt" "$tree/tmp" "$tree/etc" "$tree/modules" "$tree/tests" "$tree/root"
    ln -s bin "$tree/sbin"
    case $1 in 686*) cp busybox-i386 "$tree/bin/busybox" ;; *) cp busybox "$tree/bin/busybox" ;; esac
    for applet in $(./busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
    done
    : >"$tree/modules/order"
    for name in $wanted; do
        add_module "$1" "$name"
    done
    cp "$here/init" "$tree/init"
    cp "$here/udhcpc.sh" "$tree/etc/udhcpc.sh"
    cp "$here"/run/* "$tree/tests/"
    chmod 755 "$tree/init" "$tree/etc/udhcpc.sh" "$tree"/tests/*
    echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
    (cd "$tree" && find . | sort | cpio -o -H newc --owner 0:0 --quiet) | gzip -n -9 >"initrd-$1.gz.part.$$"
    mv "initrd-$1.gz.part.$$" "initrd-$1.gz"
    rm -rf "$tree"
    echo "mkinitrd: initrd-$1.gz ($(wc -c <"initrd-$1.gz") bytes)"
}

for kernel in cloud generic 686-pae 686; do
    case $kernel in 686*) [ -e "vmlinuz-$kernel" ] && [ -e busybox-i386 ] || continue ;; esac
    [ -d "$kernel/lib/modules" ] || die "build/guest/$kernel is missing: run tests/guest/fetch.sh first"
    if [ ! -e "initrd-$kernel.gz" ] || [ -n "$(find "$here" busybox -newer "initrd-$kernel.gz" | head -n 1)" ]; then
        make_initrd "$kernel"
    fi
done
