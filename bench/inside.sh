#!/bin/sh
# The server in a benchmark's guest, and in the same file system on the bare host. Takes one order a line:
#   run NAME COMMAND    runs the command by a shell in an empty folder of /bench/scratch, which is in memory; says `start NAME` before, `stop NAME`
#                       after, and each time waits for the line `go`, so that the host can look at its clock; then
#                       `took NAME NANOSECONDS STATUS MD5 CPU WHY`: by the monotonic clock; of the command's output; processor time; its last error
#   quit                switches the machine off
# Commands find in $host the address of the host's web server, in $disk the disk's name, and in $direct whether to go round the page cache: a guest's
# reads end in the host's cache, as the host's own do when they do not go round it.
export PATH=/bench/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export host=127.0.0.1 disk=/bench/scratch/disk.img direct=
if [ -t 0 ]; then
    stty -echo -onlcr
    mount -t tmpfs none /bench/scratch
    for card in /sys/class/net/e*; do
        ip link set "${card##*/}" up
        ip address add 10.0.2.15/24 dev "${card##*/}"
    done
    host=10.0.2.2 disk=/dev/vdb direct=direct
fi
echo "ready $(uname -m)"
while read -r word name command; do
    case $word in
    run)
        rm -rf /bench/scratch/run
        mkdir /bench/scratch/run
        cd /bench/scratch/run || exit 1
        echo "start $name"
        read -r go
        took=$(stopwatch "$command" ../out ../err)
        echo "stop $name"
        read -r go
        # shellcheck disable=SC2086
        set -- $took
        echo "took $name $1 $2 $(md5sum <../out | cut -d' ' -f1) $3 $(tail -n 1 ../err)"
        ;;
    quit)
        [ ! -t 0 ] || poweroff -f -f
        exit
        ;;
    esac
done
