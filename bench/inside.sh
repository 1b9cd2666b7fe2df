#!/bin/sh
# The server in a benchmark's guest, and in the same file system on the bare host. Takes one order a line:
#   run NAME COMMAND    runs the command by a shell in an empty folder of /bench/work, which is in memory; says `start NAME`, `stop NAME` and
#                       `took NAME NANOSECONDS STATUS MD5 CPU`: by the monotonic clock; of the command's output; processor time
#   quit                switches the machine off
export PATH=/bench/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C disk
if [ -t 0 ]; then
    stty -echo -onlcr
    mount -t tmpfs none /bench/work
    disk=/dev/vdb
else
    disk=/bench/work/disk.img
fi
echo "ready $(uname -m)"
while read -r word name command; do
    case $word in
    run)
        rm -rf /bench/work/run
        mkdir /bench/work/run
        cd /bench/work/run || exit 1
        echo "start $name"
        took=$(stopwatch "$command" ../out)
        echo "stop $name"
        # shellcheck disable=SC2086
        set -- $took
        echo "took $name $1 $2 $(md5sum <../out | cut -d' ' -f1) $3"
        ;;
    quit)
        [ ! -t 0 ] || poweroff -f -f
        exit
        ;;
    esac
done
