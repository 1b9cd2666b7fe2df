# Work whose result is known, while the machine is moved between engines: sums of memory, files on a disk, sleeps that must end, clocks that must agree.
mount /dev/vda /mnt || exit 1
now() { cut -d. -f1 /proc/uptime; }
rtc() { cat /sys/class/rtc/rtc0/since_epoch; }
rounds=$(sed -n "s/.*duet.rounds=\([0-9]*\).*/\1/p" /proc/cmdline)
started=$(now) clock=$(rtc)
echo "switching: begin"
(n=0; while [ $n -lt 200 ]; do usleep 50000; n=$((n + 1)); done; echo $n >/tmp/sleeps) &
round=0
while [ $round -lt "${rounds:-24}" ]; do
    round=$((round + 1))
    yes "round $round of the work" | head -c 400000 >/tmp/data
    cp /tmp/data "/mnt/data.$round"
    sync
    sum=$(sha256sum </tmp/data) again=$(sha256sum <"/mnt/data.$round")
    [ "$sum" = "$again" ] || exit 1
    echo "sum $round ${sum%% *}"
done
wait $!
umount /mnt
echo "sleeps $(cat /tmp/sleeps)"
passed=$(($(now) - started)) shown=$(($(rtc) - clock))
echo "seconds $passed by the counter, $shown by the clock chip"
[ $((passed - shown)) -le 2 ] && [ $((shown - passed)) -le 2 ]
