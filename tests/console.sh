#!/bin/sh
# The serial port on a file, a unix socket and a pty; hostfwd= from the host into the guest.
. "$(dirname "$0")/lib.sh"
need_guest
gcc -m32 -nostdlib -static -no-pie -Wl,--build-id=none,-Ttext=0x100000,-N,--no-warn-rwx-segments -DKIND=1 -o "$work/kernel" tests/guest/tiny.S

# tiny SERIAL OPTION...: the tiny kernel, which says "boot" and ends
tiny() {
    serial=$1
    shift
    timeout -k 2 "$(limit 20)" "$duet" -accel "$accel" -m 16 -kernel "$work/kernel" -display none -no-reboot -serial "$serial" "$@" </dev/null
}
tiny "file:$work/serial" >"$work/out" 2>"$work/err"
grep -aq boot "$work/serial" && [ ! -s "$work/out" ]
verdict file $? "no output in the file; $(cat "$work/err")"

tiny "unix:$work/socket,server=on,wait=on" 2>"$work/err" &
pid=$!
sleep 1
timeout 10 perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un($ARGV[0])) or die $!; print while <S>' "$work/socket" >"$work/said" 2>/dev/null
wait $pid
grep -aq boot "$work/said"
verdict unix_socket $? "nothing came out of the socket; $(cat "$work/err")"

# Nobody comes: SIGTERM ends the wait, with a line that says so, and takes the socket away.
"$duet" -m 16 -kernel "$work/kernel" -display none -serial "unix:$work/alone,server=on,wait=on" </dev/null >"$work/out" 2>"$work/err" &
pid=$!
sleep 1
[ -S "$work/alone" ] && kill -TERM $pid
(sleep 5; kill -9 $pid 2>/dev/null) &
wait $pid
status=$?
[ $status = 1 ] && grep -q 'signal ended the wait' "$work/err" && [ ! -e "$work/alone" ]
verdict term_while_waiting $? "status $status; $(cat "$work/err")"

# A pty: its name is said on stdout; the letters of a guest that then halts come out of it.
gcc -m32 -nostdlib -static -no-pie -Wl,--build-id=none,-Ttext=0x100000,-N,--no-warn-rwx-segments -DKIND=4 -o "$work/halting" tests/guest/tiny.S
"$duet" -accel "$accel" -m 16 -kernel "$work/halting" -display none -serial pty </dev/null >"$work/out" 2>"$work/err" &
pid=$!
n=0
until grep -q /dev/pts "$work/out" || [ $n -gt 50 ]; do
    sleep 0.1
    n=$((n + 1))
done
timeout 5 head -n 1 "$(sed -n 's,.*\(/dev/pts/[0-9]*\).*,\1,p' "$work/out")" >"$work/said" 2>>"$work/err"
kill $pid
wait $pid
status=$?
grep -aq boot "$work/said" && [ $status = 143 ]
verdict pty $? "status $status, it said '$(cat "$work/said")'; $(cat "$work/out" "$work/err")"

port=$((40000 + $$ % 20000))
timeout -k 5 "$(limit 60)" "$duet" -accel "$accel" -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$guest/initrd-cloud.gz" -nographic \
    -append "console=ttyS0 quiet panic=-1 duet.run=listen.sh" -nic "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:$port-:8080" </dev/null >"$work/console" 2>"$work/err" &
pid=$!
n=0
while [ $n -lt 100 ] && ! grep -aq listening "$work/console" 2>/dev/null && kill -0 $pid 2>/dev/null; do
    sleep 0.3
    n=$((n + 1))
done
sleep 1
said=$("$guest/busybox" timeout 15 "$guest/busybox" wget -q -O - "http://127.0.0.1:$port/hello" 2>&1)
[ "$said" = "from the guest" ]
verdict hostfwd $? "got '$said'"
wait $pid
