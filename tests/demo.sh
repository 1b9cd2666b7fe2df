#!/bin/sh
# The demo: Debian's own cloud kernel under translation, with a disk, a network and a shell on this terminal.
# Leave with `poweroff` in the guest or Ctrl-A X. Environment: DUET (the program), ACCEL (tcg), PORT (of the little web server).
set -eu
cd "$(dirname "$0")/.."
duet=${DUET:-build/duet}
guest=build/guest
tests/guest/fetch.sh
tests/guest/mkinitrd.sh

if [ ! -e $guest/demo.img ]; then
    rm -rf $guest/demo-files
    mkdir -p $guest/demo-files/docs
    cp README.md $guest/demo-files/
    cp docs/*.md $guest/demo-files/docs/
    mke2fs -q -t ext4 -L duet-demo -d $guest/demo-files $guest/demo.img.part 64M >/dev/null
    mv $guest/demo.img.part $guest/demo.img
    rm -rf $guest/demo-files
fi

port=${PORT:-$((20000 + $$ % 20000))}
mkdir -p $guest/www
echo "Hello from the host." >$guest/www/hello.txt
$guest/busybox httpd -f -p "127.0.0.1:$port" -h $guest/www &
server=$!
trap 'kill $server 2>/dev/null' EXIT
trap 'exit 1' INT TERM HUP

cat <<TEXT

Booting. In the guest, try:
    ls /proc; cat /proc/cpuinfo
    ping -c 3 10.0.2.2
    wget -q -O - http://10.0.2.2:$port/hello.txt        (a server on this host)
    mount /dev/vda /mnt; ls /mnt                        (an ext4 image; snapshot=on: it is not changed)
    poweroff                                            (or Ctrl-A X)

TEXT
status=0
"$duet" -accel "${ACCEL:-tcg}" -m 512 -kernel $guest/vmlinuz-cloud -initrd $guest/initrd-cloud.gz -append "console=ttyS0 quiet" \
    -drive file=$guest/demo.img,if=virtio,format=raw,snapshot=on -nic user -nographic || status=$?
echo "duet ended with status $status"
exit $status
