#!/bin/sh
# 256 MiB written to a disk in the guest, read back after a cold restart: the guest's sum of what it wrote, the host's sum of the image
# and the guest's sum of what it reads are the same.
. "$(dirname "$0")/lib.sh"
need_guest
truncate -s 256M "$work/disk.img"
drive="file=$work/disk.img,if=virtio,format=raw"

boot cloud 140 "quiet duet.nonet duet.run=disk_write.sh" -drive "$drive"
booted write || exit 0
wrote=$(sed -n 's/.*wrote //p' "$work/console")
host=$(sha256sum <"$work/disk.img" | cut -c1-64)
[ -n "$wrote" ] && [ "$wrote" = "$host" ]
verdict host_reads_what_the_guest_wrote $? "guest $wrote host $host"

boot cloud 140 "quiet duet.nonet duet.run=disk_read.sh" -drive "$drive"
booted read
read=$(sed -n 's/.*read //p' "$work/console")
[ "$read" = "$host" ]
verdict guest_reads_it_after_restart $? "guest $read host $host"

boot cloud 60 "quiet duet.nonet duet.run=disk_readonly.sh" -drive "$drive,readonly=on"
booted readonly
[ "$(sha256sum <"$work/disk.img" | cut -c1-64)" = "$host" ]
verdict readonly_image_unchanged $? "the image was changed in spite of readonly=on"
rm -f "$work/disk.img"
