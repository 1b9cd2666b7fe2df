#!/bin/sh
# The serial back ends with a booted guest: file (all 30000 lines arrive, in order, none lost) and a Unix socket opened as a server.
. "$(dirname "$0")/lib.sh"
need_guest
{
    sleep "$(limit 7)"
    printf 'seq 1 30000; echo e""nd; poweroff -f\r'
    sleep "$(limit 15)"
} | timeout -k 5 "$(limit 60)" "$duet" -accel "$accel" -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$guest/initrd-cloud.gz" \
    -append "console=ttyS0 quiet duet.nonet" -display none -no-reboot -serial stdio >"$work/stdio" 2>"$work/stderr"
tr -d '\r' <"$work/stdio" | grep -ax '[0-9][0-9]*' >"$work/lines"
seq 1 30000 | cmp -s - "$work/lines"
verdict stdio_loses_nothing $? "$(wc -l <"$work/lines") lines of 30000; $(tail -n 1 "$work/stderr")"

timeout -k 5 "$(limit 60)" "$duet" -accel "$accel" -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$guest/initrd-cloud.gz" \
    -append "console=ttyS0 duet.nonet duet.run=hello.sh" -display none -no-reboot -serial "file:$work/file" </dev/null >/dev/null 2>"$work/stderr"
status=$?
[ $status = 0 ] && grep -aq 'DUET-RESULT: ok' "$work/file"
verdict file $? "status $status; $(tail -n 1 "$work/stderr")"

command -v python3 >/dev/null || { skip unix_socket "no python3"; exit 0; }
timeout -k 5 "$(limit 60)" "$duet" -accel "$accel" -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$guest/initrd-cloud.gz" \
    -append "console=ttyS0 duet.nonet duet.run=hello.sh" -display none -no-reboot -serial "unix:$work/socket,server,nowait" </dev/null >/dev/null 2>"$work/stderr" &
pid=$!
sleep 1
python3 - "$work/socket" >"$work/socket.out" 2>>"$work/stderr" <<'P'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(sys.argv[1])
while True:
    b = s.recv(65536)
    if not b:
        break
    sys.stdout.buffer.write(b)
P
wait $pid
status=$?
[ $status = 0 ] && grep -aq 'DUET-RESULT: ok' "$work/socket.out"
verdict unix_socket $? "status $status; $(tail -n 1 "$work/stderr")"
