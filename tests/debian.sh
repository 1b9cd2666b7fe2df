#!/bin/sh
# A debootstrap root file system on a virtio disk, generic kernel, systemd, to a login prompt; then a login and an orderly power-off.
# Its programs and libraries lie elsewhere in each process: what the translator moves there is compared with a translation.
. "$(dirname "$0")/lib.sh"
need_guest
if ! tests/guest/mkdebian.sh >"$work/mkdebian.log" 2>&1; then
    skip all "no Debian image: $(tail -n 1 "$work/mkdebian.log")"
    exit 0
fi
accel=$accel,check-moves=on
dialog 300 <<'TCL'
start -m 1024 -kernel $guest/vmlinuz-generic -initrd $guest/initrd-generic.gz -append "console=ttyS0 quiet duet.nonet duet.root=/dev/vda" \
    -drive file=$guest/debian.img,if=virtio,format=raw,snapshot=on -nic user,model=virtio-net-pci -nographic -d exec -D $env(work)/counters
if {![await login_prompt "duet login: "]} { exit }
ok login_prompt
send "root\n"
if {![await login "root@duet:~# "]} { exit }
ok login
check systemd "systemctl is-system-running --wait | grep -E 'running|degraded'"
check failed_units "systemctl --failed --no-legend --plain | grep -v autofs | wc -l" "\[\r\n\]0\[\r\n\]"
check root "findmnt -n /" "/dev/vda"
check userland "perl -e 'print join(q(,), map { \$_ ** 2 } 1..5), qq(\\n)' && dpkg -l systemd | tail -n 1" "1,4,9,16,25.*systemd"
send "poweroff\n"
ends poweroff 0
TCL
awk '$2 == "moves_checked" { n = $3 } END { exit !(n > 10000) }' "$work/counters"
verdict moves_checked $? "$(grep moves_checked "$work/counters")"
