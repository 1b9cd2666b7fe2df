# The benchmark's bare host: the guest's file system as the root of a shell, in a mount namespace of its own. usage: native.sh ROOT DISK
set -eu
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc none "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs none "$1/bench/scratch"
mount -t tmpfs none "$1/tmp"
: >"$1/bench/scratch/disk.img"
mount --bind "$2" "$1/bench/scratch/disk.img"
exec chroot "$1" /bench/inside.sh
