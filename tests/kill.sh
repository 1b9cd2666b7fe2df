#!/bin/sh
# SIGKILL in the middle of writing: the image is one that fsck.ext4 repairs, and every file the guest had synced is in it, whole.
. "$(dirname "$0")/lib.sh"
need_guest

mkdir "$work/files"
mke2fs -q -t ext4 -d "$work/files" "$work/disk.img" 256M >/dev/null
"$duet" -accel "$accel" -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$guest/initrd-cloud.gz" -nographic \
    -append "console=ttyS0 quiet duet.nonet duet.run=syncing.sh" -drive "file=$work/disk.img,if=virtio,format=raw" </dev/null >"$work/console.raw" 2>"$work/stderr" &
pid=$!
trap 'kill -9 $pid 2>/dev/null' EXIT

# At least 25 files are to be on the disk; then some more time passes, so that the signal does not fall right behind a sync.
end=$(($(date +%s) + $(limit 120)))
while [ "$(grep -ac '^synced' "$work/console.raw")" -lt 25 ]; do
    if [ "$(date +%s)" -gt $end ] || ! kill -0 $pid 2>/dev/null; then
        fail writing "only $(grep -ac '^synced' "$work/console.raw") files were synced; $(tail -n 1 "$work/stderr")"
        exit 0
    fi
    sleep 0.2
done
sleep 0.3
kill -9 $pid
wait $pid 2>/dev/null
ok writing

tr -d '\r' <"$work/console.raw" | sed -n 's/^synced \([0-9]*\) \([0-9a-f]\{64\}\)$/\1 \2/p' >"$work/synced"
e2fsck -fy "$work/disk.img" >"$work/fsck" 2>&1
status=$?
[ $status -le 1 ]
verdict fsck_repairs $? "e2fsck ended with status $status"
e2fsck -fn "$work/disk.img" >"$work/fsck2" 2>&1
verdict fsck_again_finds_nothing $? "$(tail -n 1 "$work/fsck2")"

mkdir "$work/found"
debugfs -R "rdump / $work/found" "$work/disk.img" >/dev/null 2>&1
bad=0 n=0
while read -r number sum; do
    n=$((n + 1))
    if [ "$(sha256sum <"$work/found/file.$number" | cut -c1-64)" != "$sum" ]; then
        echo "file.$number is damaged or missing"
        bad=$((bad + 1))
    fi
done <"$work/synced"
[ $n -ge 25 ] && [ $bad = 0 ]
verdict synced_files $? "$bad of $n synced files are damaged or missing"
rm -rf "$work/disk.img" "$work/found"
