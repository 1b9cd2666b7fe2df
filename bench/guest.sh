#!/bin/sh
# Makes the guests of the benchmark: Debian 12 with compressors, interpreters, a compiler and the programs of bench/programs, once as a folder
# (build/guest/bench-root-BITS, for the bare host) and once as an ext4 image of it (bench-BITS.img, for the machines).
# usage: bench/guest.sh [64|32]...     idempotent: debootstrap runs when the packages change, the rest when bench/ does. Needs root.
set -eu
cd "$(dirname "$0")/.."
out=$(pwd)/build/guest
mkdir -p "$out"
exec 9>"$out/.lock-bench"
flock 9
die() { echo "bench/guest.sh: $*" >&2; exit 1; }

packages=systemd-sysv,udev,iproute2,gzip,xz-utils,zstd,bzip2,7zip,gcc,libc6-dev,libstb-dev,python3-minimal,perl,lua5.4,sqlite3,openssl
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -o 'https\{0,1\}://[^ ]*/debian/\{0,1\}\( \|$\)' | head -n 1 | tr -d ' ')

# system BITS ARCHITECTURE
system() {
    root=$out/bench-root-$1
    [ "$(cat "$root/bench-packages" 2>/dev/null)" != "$packages" ] || return 0
    [ "$(id -u)" = 0 ] || die "debootstrap needs root"
    echo "bench/guest.sh: debootstrap of a $1-bit system from ${mirror:-the default mirror} (minutes, once)"
    rm -rf "$root.part"
    debootstrap --arch="$2" --variant=minbase --include=$packages bookworm "$root.part" ${mirror:+"$mirror"} >"$out/bench-$1.log" 2>&1 ||
        die "debootstrap failed: $(tail -n 1 "$out/bench-$1.log")"
    rm -rf "$root.part"/var/cache/apt/archives/*.deb "$root.part"/var/lib/apt/lists/* "$root.part"/usr/share/doc "$root.part"/usr/share/locale
    echo bench >"$root.part/etc/hostname"
    echo "/dev/vda / ext4 defaults 0 1" >"$root.part/etc/fstab"
    echo $packages >"$root.part/bench-packages"
    rm -rf "$root" "$out/bench-$1.img"
    mv "$root.part" "$root"
}

# The serial line logs root in by itself, and root's shell is the server: the getty's word on the console is the end of the boot.
settings() {
    mkdir -p "$root/bench/scratch" "$root/etc/systemd/system/serial-getty@ttyS0.service.d"
    cat >"$root/etc/systemd/system/serial-getty@ttyS0.service.d/bench.conf" <<'UNIT'
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200 ttyS0 vt100
UNIT
    echo 'exec /bench/inside.sh' >"$root/root/.profile"
    sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"
    # What wakes an idle system up and would run at other times in each round.
    for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
        systemd-tmpfiles-clean.timer systemd-timesyncd.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
}

# Compiled by the guest's own compiler.
programs() {
    rm -rf "$root/bench/src"
    mkdir -p "$root/bench/src" "$root/bench/data"
    cp bench/inside.sh "$root/bench/"
    cp bench/programs/* bench/loops.c "$root/bench/src/"
    chroot "$root" sh /bench/src/build.sh "$1" || die "the programs cannot be built"
}

# guest BITS ARCHITECTURE
guest() {
    system "$1" "$2"
    root=$out/bench-root-$1
    image=$out/bench-$1.img
    if [ ! -e "$image" ] || [ -n "$(find bench/programs bench/inside.sh bench/loops.c bench/guest.sh -newer "$image" | head -n 1)" ]; then
        settings
        programs "$1"
        rm -f "$image" "$image.part"
        mke2fs -q -t ext4 -L bench -d "$root" "$image.part" 1500M >/dev/null
        mv "$image.part" "$image"
        echo "bench/guest.sh: bench-$1.img is ready"
    fi
}

for bits in ${*:-64 32}; do
    case $bits in
    64) guest 64 amd64 ;;
    32) guest 32 i386 ;;
    *) die "64 or 32" ;;
    esac
done
