#!/bin/sh
# Makes build/guest/debian.img: a minimal Debian 12 root file system with systemd, as one ext4 file system without a partition table.
# root's password is empty. Needs root (debootstrap runs the packages' scripts in a chroot); nothing is mounted for the image itself.
# usage: tests/guest/mkdebian.sh          idempotent; takes a few minutes the first time
set -eu
out=$(cd "$(dirname "$0")/../.." && pwd)/build/guest
root=$out/debian-root
mkdir -p "$out"
exec 9>"$out/.lock-debian"
flock 9
[ ! -e "$out/debian.img" ] || exit 0
[ "$(id -u)" = 0 ] || { echo "mkdebian: debootstrap needs root" >&2; exit 1; }

# The mirror that this machine uses; debootstrap's default otherwise.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -o 'https\{0,1\}://[^ ]*/debian/\{0,1\}\( \|$\)' | head -n 1 | tr -d ' ')
rm -rf "$root"
echo "mkdebian: debootstrap from ${mirror:-the default mirror}"
debootstrap --variant=minbase --include=systemd-sysv,udev,kmod,dbus,iproute2,procps bookworm "$root" ${mirror:+"$mirror"} >"$out/debootstrap.log" 2>&1 || {
    echo "mkdebian: debootstrap failed; its last lines:" >&2
    tail -n 5 "$out/debootstrap.log" >&2
    exit 1
}
echo duet >"$root/etc/hostname"
echo "/dev/vda / ext4 defaults 0 1" >"$root/etc/fstab"
sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root/etc/resolv.conf"
mke2fs -q -t ext4 -L duet-root -d "$root" "$out/debian.img.part" 1200M >/dev/null
mv "$out/debian.img.part" "$out/debian.img"
rm -rf "$root"
echo "mkdebian: debian.img is ready"
