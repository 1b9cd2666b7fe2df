#!/bin/sh
# A TCP connection from the host through hostfwd= reaches a service in the guest: busybox httpd, one page, the same bytes.
. "$(dirname "$0")/lib.sh"
need_guest
command -v curl >/dev/null || command -v wget >/dev/null || { skip all "neither curl nor wget"; exit 0; }
port=$((20000 + $$ % 20000))
{
    sleep "$(limit 8)"
    printf 'mkdir /tmp/www; seq 1 20000 > /tmp/www/page; httpd -p 80 -h /tmp/www; echo serv""ing\r'
    sleep "$(limit 12)"
    printf 'poweroff -f\r'
} | timeout -k 5 "$(limit 60)" "$duet" -accel "$accel" -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$guest/initrd-cloud.gz" \
    -append "console=ttyS0 quiet" -nographic -no-reboot -nic "user,hostfwd=tcp:127.0.0.1:$port-:80" >"$work/console" 2>"$work/stderr" &
pid=$!
n=0
while ! grep -aq serving "$work/console" && [ $n -lt "$(limit 40)" ]; do sleep 1; n=$((n + 1)); done
sleep 1
if command -v curl >/dev/null; then
    curl -s -m 10 "http://127.0.0.1:$port/page" >"$work/page"
else
    wget -q -T 10 -O "$work/page" "http://127.0.0.1:$port/page"
fi
seq 1 20000 | cmp -s - "$work/page"
verdict page_from_guest $? "$(wc -c <"$work/page") bytes of $(seq 1 20000 | wc -c); $(tail -n 1 "$work/stderr")"
wait $pid
status=$?
[ $status = 0 ]
verdict poweroff_status $? "status $status"
