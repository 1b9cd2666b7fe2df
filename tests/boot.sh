#!/bin/sh
# The demo as a test: Debian's cloud kernel to a shell, /proc, the network, a disk, power-off.
. "$(dirname "$0")/lib.sh"
need_guest

mkdir -p "$work/files" "$work/www"
echo "a file on the disk" >"$work/files/note"
mke2fs -q -t ext4 -d "$work/files" "$work/disk.img" 16M >/dev/null
before=$(sha256sum <"$work/disk.img")
head -c 300000 /dev/urandom >"$work/www/blob"
sum=$(sha256sum <"$work/www/blob" | cut -c1-64)
port=$((20000 + $$ % 20000))
"$guest/busybox" httpd -f -p "127.0.0.1:$port" -h "$work/www" &
server=$!
trap 'kill $server' EXIT

port=$port sum=$sum dialog 90 <<'TCL'
start -m 512 -kernel $guest/vmlinuz-cloud -initrd $guest/initrd-cloud.gz -append "console=ttyS0 quiet" \
    -drive file=$env(work)/disk.img,if=virtio,format=raw,snapshot=on -nic user,model=virtio-net-pci -nographic
if {![await shell "# "]} { exit }
ok shell
check proc "ls /proc" "cpuinfo.*meminfo"
check cpuinfo "cat /proc/cpuinfo" "model name.*flags.*sse2"
check ping "ping -c 2 10.0.2.2" "2 packets received"
check wget "wget -q -O /tmp/blob http://10.0.2.2:$env(port)/blob; sha256sum /tmp/blob" $env(sum)
check mount "mount /dev/vda /mnt; cat /mnt/note" "a file on the disk"
check write "dd if=/dev/zero of=/mnt/zero bs=64k count=32 && sync" "records out"
check time "a=\$(cut -d. -f1 /proc/uptime); sleep 2; b=\$(cut -d. -f1 /proc/uptime); echo took-\$((b-a))" "took-\[23\]"
send "poweroff\n"
ends poweroff 0

start -m 512 -kernel $guest/vmlinuz-cloud -initrd $guest/initrd-cloud.gz -append "console=ttyS0 quiet" -nographic
if {![await second_boot "# "]} { exit }
send "\001x"
ends ctrl_a_x 0
TCL
[ "$(sha256sum <"$work/disk.img")" = "$before" ]
verdict snapshot $? "the image was changed in spite of snapshot=on"
