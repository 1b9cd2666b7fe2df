#!/bin/sh
# Downloads what the guests run: Debian's packaged kernels (cloud and generic) and the static busybox, as packages.
# Everything lands in build/guest/; nothing outside of it is written but apt's own package lists when they are empty.
# usage: tests/guest/fetch.sh [i386] [systems]     (idempotent: a second run does nothing)
# Result: build/guest/{cloud,generic}/ (unpacked packages), vmlinuz-cloud, vmlinuz-generic, busybox; with "i386" also 686-pae/, 686/, their
# kernels, busybox-i386 and gnumach-i386/, by package lists of their own; with "systems" what is not Linux (tests/guests.sh), each in its folder.
set -eu
out=$(cd "$(dirname "$0")/../.." && pwd)/build/guest
mkdir -p "$out"
cd "$out"
exec 9>.lock
flock 9                                 # tests run side by side

say() { echo "fetch: $*"; }
die() { echo "fetch: $*" >&2; exit 1; }

apt_options=

# The package that the meta package $1 depends on today, e.g. linux-image-6.1.0-56-amd64.
real_package() {
    apt-cache $apt_options depends "$1" 2>/dev/null | sed -n 's/.*Depends: *\(linux-image-[0-9][^ ]*\).*/\1/p' | head -n 1
}

# download PACKAGE FOLDER: the package unpacked in FOLDER (made under another name first: an interrupted run leaves nothing half done)
unpack() {
    rm -rf "$2" "$2.part" deb.part
    mkdir -p "$2.part" deb.part
    chmod 777 deb.part                     # apt drops to its own user for downloads
    say "downloading $1"
    (cd deb.part && apt-get $apt_options download -q -q "$1") || die "cannot download $1 (is there a network, and a Debian mirror in apt's sources?)"
    dpkg -x deb.part/*.deb "$2.part"
    rm -rf deb.part
    mv "$2.part" "$2"
}

kernel() {
    if [ ! -e "vmlinuz-$1" ] || [ ! -d "$1/lib/modules" ]; then
        package=$(real_package "$2")
        [ -n "$package" ] || die "apt knows no package $2"
        unpack "$package" "$1"
        ln -sf "$1"/boot/vmlinuz-* "vmlinuz-$1"
        say "vmlinuz-$1 is $(basename "$(readlink "vmlinuz-$1")")"
    fi
}

systems="gnumach:gnumach-image-1.8-486 u-boot:u-boot-qemu xen:xen-hypervisor-4.17-amd64 memtest:memtest86+ invaders:grub-invaders"
wanted() { case " $arguments " in *" $1 "*) true ;; *) false ;; esac; }
systems_missing() { for s in $systems; do [ -d "${s%%:*}" ] || return 0; done; return 1; }

arguments=$*
if [ ! -e vmlinuz-cloud ] || [ ! -e vmlinuz-generic ] || [ ! -e busybox ] || { wanted systems && systems_missing; }; then
    if [ -z "$(real_package linux-image-cloud-amd64)" ]; then
        say "no package lists: running apt-get update"
        apt-get update -q -q || die "apt-get update failed"
    fi
fi
kernel cloud linux-image-cloud-amd64
kernel generic linux-image-amd64
if [ ! -e busybox ]; then
    unpack busybox-static busybox-deb
    cp busybox-deb/bin/busybox busybox.part 2>/dev/null || cp busybox-deb/usr/bin/busybox busybox.part
    mv busybox.part busybox
fi
if wanted systems; then
    for s in $systems; do
        [ -d "${s%%:*}" ] || unpack "${s#*:}" "${s%%:*}"
    done
    # Their own loader would unpack these; ours reads ELF files.
    [ -e xen.elf ] || { gzip -dc xen/boot/xen-*.gz >xen.part && mv xen.part xen.elf; }
    [ -e gnumach.elf ] || { gzip -dc gnumach/boot/gnumach-*.gz >gnumach.part && mv gnumach.part gnumach.elf; }
fi
wanted i386 || exit 0

if [ ! -e vmlinuz-686-pae ] || [ ! -e vmlinuz-686 ] || [ ! -e busybox-i386 ] || [ ! -e gnumach-i386.elf ]; then
    state=$out/apt-i386
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    apt_options="-o APT::Architecture=i386 -o APT::Architectures=i386 -o Dir::State::Lists=$state/lists -o Dir::Cache=$state/cache"
    apt-get $apt_options update -q -q >/dev/null 2>&1 || say "some package lists for i386 could not be read"
fi
kernel 686-pae linux-image-686-pae
kernel 686 linux-image-686
if [ ! -e busybox-i386 ]; then
    unpack busybox-static busybox-deb-i386
    cp busybox-deb-i386/bin/busybox busybox-i386.part 2>/dev/null || cp busybox-deb-i386/usr/bin/busybox busybox-i386.part
    mv busybox-i386.part busybox-i386
fi
if [ ! -e gnumach-i386.elf ]; then
    unpack gnumach-image-1.8-486 gnumach-i386
    gzip -dc gnumach-i386/boot/gnumach-*.gz >gnumach.part
    mv gnumach.part gnumach-i386.elf
fi
rm -rf "$out/apt-i386"
