#!/bin/sh
# Makes build/guest/initrd-xen.gz: what Xen's first domain needs to start another one, as an archive to put behind initrd-generic.gz: Debian's
# toolstack (xl, xenstored, xenconsoled) with its libraries, the kernel modules of the shared rings, and kernel and initrd of the second domain.
# usage: tests/guest/mkxen.sh            after fetch.sh and mkinitrd.sh; idempotent
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$here/../.." && pwd)/build/guest
cd "$out"
exec 9>.lock
flock 9
[ ! -e initrd-xen.gz ] || [ -n "$(find "$here" initrd-generic.gz -newer initrd-xen.gz | head -n 1)" ] || exit 0

packages="xen-utils-4.17 xenstore-utils libxencall1 libxenevtchn1 libxenforeignmemory1 libxengnttab1 libxenmisc4.17 libxenstore4 libxentoollog1
    libxentoolcore1 libxendevicemodel1 libxenhypfs1 libyajl2 libuuid1 libnl-3-200 libnl-route-3-200 libc6 zlib1g liblzma5 libbz2-1.0 liblzo2-2 libzstd1
    libgcc-s1 libfdt1"
die() { echo "mkxen: $*" >&2; exit 1; }
for package in $packages; do
    [ ! -d "xen-tools/$package" ] || continue
    rm -rf deb.part
    mkdir -p deb.part xen-tools
    chmod 777 deb.part                     # apt drops to its own user for downloads
    (cd deb.part && apt-get download -q -q "$package") || die "cannot download $package"
    dpkg -x deb.part/*.deb "xen-tools/$package.part"
    rm -rf deb.part
    mv "xen-tools/$package.part" "xen-tools/$package"
done

tree=$out/tree-xen.$$
trap 'rm -rf "$tree"' EXIT
rm -rf "$tree"
mkdir -p "$tree/bin" "$tree/lib64" "$tree/usr/lib" "$tree/etc/xen/scripts" "$tree/domu" "$tree/modules-xen" "$tree/var/run/xen" "$tree/var/lib/xen" \
    "$tree/var/lib/xenstored" "$tree/var/log/xen/console" "$tree/run" "$tree/lib"

# library FILE: the libraries that a program or library names, all in /usr/lib
library() {
    for name in $(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
        [ ! -e "$tree/usr/lib/$name" ] || continue
        path=$(find xen-tools -name "$name" | head -n 1)
        [ -n "$path" ] || die "no package has $name, which $1 needs"
        cp -L "$path" "$tree/usr/lib/$name"
        library "$tree/usr/lib/$name"
    done
}
tools=xen-tools/xen-utils-4.17/usr/lib/xen-4.17/bin
for tool in xl xenstored xenconsoled xen-init-dom0; do
    cp "$tools/$tool" "$tree/bin/"
    library "$tools/$tool"
done
cp xen-tools/xenstore-utils/usr/bin/xenstore "$tree/bin/"
for tool in read write list ls; do
    ln -s xenstore "$tree/bin/xenstore-$tool"
done
cp -L "$(find xen-tools/libgcc-s1 -name libgcc_s.so.1)" "$tree/usr/lib/"              # pthread_cancel asks for it by name
cp "$tree/usr/lib/ld-linux-x86-64.so.2" "$tree/lib64/"

# The script that connects a disk; Debian's wants bash.
cat >"$tree/etc/xen/scripts/block" <<'SCRIPT'
#!/bin/sh
case $1 in
add)
    device=$(xenstore-read "$XENBUS_PATH/params")
    number=$(stat -c '%t:%T' "$device")
    xenstore-write "$XENBUS_PATH/physical-device" "$number" "$XENBUS_PATH/physical-device-path" "$device" "$XENBUS_PATH/hotplug-status" connected
    ;;
esac
SCRIPT
chmod 755 "$tree/etc/xen/scripts/block"
: >"$tree/etc/xen/xl.conf"
cat >"$tree/domu/config" <<'CONFIG'
name = "second"
type = "pv"
memory = 160
kernel = "/domu/vmlinuz"
ramdisk = "/domu/initrd.gz"
extra = "console=hvc0 panic=-1 duet.nonet duet.run=domu.sh"
disk = [ "phy:/dev/vda,xvda,w" ]
on_poweroff = "destroy"
on_reboot = "destroy"
on_crash = "destroy"
CONFIG

# modules NAME... : these and what they depend on, in loading order, in $into
modules() {
    for name in "$@"; do
        file=$(find generic/lib/modules -name "$name.ko" | head -n 1)
        [ -n "$file" ] || { shift; continue; }
        # shellcheck disable=SC2046
        modules $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr ',' ' ')
        file=$(find generic/lib/modules -name "$1.ko" | head -n 1)
        shift
        [ -e "$into/$(basename "$file")" ] || { cp "$file" "$into/" && basename "$file" >>"$into/order"; }
    done
}
into=$tree/modules-xen
modules xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs xen-blkback
cp generic/boot/vmlinuz-* "$tree/domu/vmlinuz"
front=$out/tree-domu.$$
mkdir -p "$front/modules-xen"
into=$front/modules-xen
modules xen-blkfront
# One gzip member: the toolstack unpacks no more of it.
{ gzip -dc initrd-generic.gz; (cd "$front" && find . | sort | cpio -o -H newc --owner 0:0 --quiet); } | gzip -n >"$tree/domu/initrd.gz"
rm -rf "$front"
(cd "$tree" && find . | sort | cpio -o -H newc --owner 0:0 --quiet) | gzip -n >initrd-xen.part
mv initrd-xen.part initrd-xen.gz
echo "mkxen: initrd-xen.gz ($(wc -c <initrd-xen.gz) bytes)"
