#!/bin/sh
# The generic kernel (linux-image-amd64): its virtio and ext4 are modules. A disk, a network, a random number source, power-off.
. "$(dirname "$0")/lib.sh"
need_guest
mkdir "$work/files"
echo "a file on the disk" >"$work/files/note"
mke2fs -q -t ext4 -d "$work/files" "$work/disk.img" 16M >/dev/null
boot generic 110 "quiet duet.run=devices.sh" -drive "file=$work/disk.img,if=virtio,format=raw" -nic user,model=virtio-net-pci -device virtio-rng-pci
booted boots
for what in disk net rng hpet acpi; do
    grep -aq "device $what yes" "$work/console"
    verdict "$what" $? "$(grep -a "device $what" "$work/console" || echo "the guest said nothing")"
done
e2fsck -fn "$work/disk.img" >"$work/fsck" 2>&1
verdict fsck $? "$(tail -n 1 "$work/fsck")"
