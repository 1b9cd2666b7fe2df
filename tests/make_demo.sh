#!/bin/sh
# `make demo` as somebody at a terminal sees it: what it says to try is tried, and it ends in order, by poweroff and by Ctrl-A X.
. "$(dirname "$0")/lib.sh"
need_guest
before=$(cat "$guest"/demo.img 2>/dev/null | cksum)
dialog 90 <<'TCL'
spawn -noecho make --no-print-directory demo
if {![await text {http://10.0.2.2:([0-9]+)/hello.txt}]} { exit }
ok text
set port $expect_out(1,string)
if {![await shell "# "]} { exit }
ok shell
check proc "ls /proc; cat /proc/cpuinfo" "cpuinfo.*model name"
check ping "ping -c 3 10.0.2.2" "3 packets received"
check wget "wget -q -O - http://10.0.2.2:$port/hello.txt" "Hello from the host."
check disk "mount /dev/vda /mnt; ls /mnt" "README.md"
send "poweroff\n"
if {![await said "duet ended with status 0"]} { exit }
ends poweroff 0

spawn -noecho make --no-print-directory demo
if {![await second_boot "# "]} { exit }
send "\001x"
ends ctrl_a_x 0
TCL
[ -e "$guest/demo.img" ] && { [ "$before" = "$(printf '' | cksum)" ] || [ "$before" = "$(cksum <"$guest/demo.img")" ]; }
verdict image_unchanged $? "the demo's disk was changed in spite of snapshot=on"
