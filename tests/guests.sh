#!/bin/sh
# Guests as Debian packages them, each checked by what it says on its console: GNU Mach, Linux for i386, U-Boot, Xen with a Debian dom0,
# memtest86+, GRUB-Invaders.
. "$(dirname "$0")/lib.sh"
need_guest
if ! tests/guest/fetch.sh systems >"$work/systems.log" 2>&1; then
    skip all "no packages: $(tail -n 1 "$work/systems.log")"
    exit 0
fi

# run NAME SECONDS OPTION...: the console in $work/NAME, $status (124: time limit)
run() {
    name=$1 seconds=$(limit "$2")
    shift 2
    timeout -k 5 "$seconds" "$duet" -accel "$accel" "$@" -nographic -no-reboot </dev/null >"$work/$name.raw" 2>"$work/$name.err"
    status=$?
    tr -d '\r' <"$work/$name.raw" >"$work/$name"
}
# says TEST PATTERN: a verdict on the last run
says() {
    grep -aqE -- "$2" "$work/$name"
    verdict "$1" $? "status $status; no '$2'; $(tail -n 1 "$work/$name.err") last: $(grep -av '^ *$' "$work/$name" | tail -n 1 | cut -c1-100)"
}

# ---- GNU Mach: up to where it wants the modules of a Hurd ----

mach() {
    echo "set kernel $1; set month $(date -u +%Y-%m)" >"$work/expect"
    cat >>"$work/expect" <<'TCL'
start -m 128 -kernel $guest/$kernel.elf -append console=com0 -nographic -no-reboot
if {![await $kernel/banner "GNU Mach 1\\.8"]} { exit }
ok $kernel/banner
if {[await $kernel/memory_map "biosmem: 0*100000:0*8000000, available"]} { ok $kernel/memory_map }
if {[await $kernel/clock "RTC time is $month-"]} { ok $kernel/clock }
if {[await $kernel/bootstrap "panic \[^\n\]*bootstrap_create: No bootstrap code loaded with the kernel!"]} { ok $kernel/bootstrap }
send "\001x"
ends $kernel/end 0
TCL
    dialog 20 <"$work/expect"
}
mach gnumach

# ---- Linux for i386: two and three levels of page tables ----

if { tests/guest/fetch.sh i386 && tests/guest/mkinitrd.sh; } >"$work/fetch_i386.log" 2>&1; then
    mach gnumach-i386
    for kernel in 686 686-pae; do
        boot $kernel 60 "quiet duet.nonet duet.run=hello.sh"
        booted linux_$kernel
        grep -aqE "^Linux .*-$kernel i686" "$work/console"
        verdict linux_$kernel/uname $? "$(grep -a '^Linux' "$work/console")"
    done
else
    skip gnumach-i386 "no packages for i386: $(tail -n 1 "$work/fetch_i386.log")"
    skip linux_686 "no packages for i386"
    skip linux_686-pae "no packages for i386"
fi

# ---- U-Boot as the firmware: from the reset vector; the 64-bit one by way of its loader ----

u_boot() {
    echo "set flavour $1" >"$work/expect"
    cat >>"$work/expect" <<'TCL'
start -m 256 -bios $guest/u-boot/usr/lib/u-boot/$flavour/u-boot.rom -nographic -no-reboot
if {![await $flavour/banner "U-Boot 20\[0-9.\]+.*DRAM: +256 MiB.*Hit any key to stop autoboot"]} { exit }
ok $flavour/banner
send "x"
if {![await $flavour/prompt "\n=> "]} { exit }
ok $flavour/prompt
# What was typed may be part of what stopped it: an empty line first.
send "\r"
if {![await $flavour/prompt "\n=> "]} { exit }
send "bdinfo\r"
if {[await $flavour/bdinfo "boot_params.*-> size *= *0x0*10000000.*=> "]} { ok $flavour/bdinfo }
send "mw.l 0x1000000 0x12345678 4; md.l 0x1000000 4; crc32 0x1000000 10\r"
if {[await $flavour/memory "01000000: 12345678 12345678 12345678 12345678.*crc32 for 01000000 ... 0100000f ==> efbda81a"]} { ok $flavour/memory }
send "pci\r"
if {[await $flavour/pci "00.01.00 +0x8086 +0x7000.*00.00.00 +0x8086 +0x1237"]} { ok $flavour/pci }
send "reset\r"
ends $flavour/reset 0
TCL
    dialog 40 <"$work/expect"
}
u_boot qemu-x86
u_boot qemu-x86_64

# ---- Xen, and Debian's generic kernel as its first domain, in user space, with the machine's disk and network ----

mkdir "$work/files"
echo "a file on the disk" >"$work/files/note"
mke2fs -q -t ext4 -d "$work/files" "$work/disk.img" 16M >/dev/null
# There is no BIOS that Xen's start in real mode could ask: it takes multiboot's memory map.
xen() {
    run "xen_$1" 100 -m 1024 -smp "$1" -kernel "$guest/xen.elf" -append "console=com1 com1=115200,8n1 loglvl=all no-real-mode" \
        -initrd "$guest/vmlinuz-generic console=hvc0 panic=-1 duet.run=xen.sh duet.cpus=$1,$guest/initrd-generic.gz" \
        -drive "file=$work/disk.img,if=virtio,format=raw,snapshot=on" -nic user,model=virtio-net-pci
    says "xen_$1/hypervisor" '^\(XEN\) Xen version 4\.'
    says "xen_$1/acpi" '^\(XEN\) ACPI: RSDP .*DUET'
    says "xen_$1/cpus" "^\(XEN\) Brought up $1 CPUs"
    says "xen_$1/building" '^\(XEN\) \*\*\* Building a PV Dom0'
    says "xen_$1/linux" 'Booting kernel on Xen'
    for fact in hypervisor clock processors interrupts sleeping forks memory disk net; do
        grep -aq "^xen $fact yes" "$work/xen_$1"
        verdict "xen_$1/dom0_$fact" $? "$(grep -a "^xen $fact" "$work/xen_$1" || echo "dom0 said nothing")"
    done
    [ $status = 0 ] && grep -aq 'DUET-RESULT: ok xen.sh' "$work/xen_$1" && grep -aq 'Entering ACPI S5 state' "$work/xen_$1"
    verdict "xen_$1/power_off" $? "status $status; $(tail -n 1 "$work/xen_$1.err")"
}
xen 1
if [ "${SOAK:-}" = 1 ]; then xen 2; else skip xen_2 "half a minute more (SOAK=1 runs it)"; fi

# A second, paravirtual domain: the first starts it with Debian's toolstack and lends it the machine's disk; console and disk are shared rings.
domu() {
    if ! tests/guest/mkxen.sh >"$work/mkxen.log" 2>&1; then
        skip xen_domu "no toolstack: $(tail -n 1 "$work/mkxen.log")"
        return
    fi
    cat "$guest/initrd-generic.gz" "$guest/initrd-xen.gz" >"$work/initrd-domu.gz"
    run xen_domu 150 -m 1024 -kernel "$guest/xen.elf" -append "console=com1 com1=115200,8n1 no-real-mode" \
        -initrd "$guest/vmlinuz-generic console=hvc0 panic=-1 duet.nonet duet.run=xen_domu.sh,$work/initrd-domu.gz" \
        -drive "file=$work/disk.img,if=virtio,format=raw,snapshot=on"
    for fact in paravirtual disk forks memory; do
        grep -aq "^domu $fact yes" "$work/xen_domu"
        verdict "xen_domu/$fact" $? "$(grep -a "^domu" "$work/xen_domu" | tail -n 1)"
    done
    grep -aq "^domu wrote $(seq 1 200000 | md5sum | cut -c1-32)" "$work/xen_domu"
    verdict xen_domu/disk_of_the_first $? "$(grep -a '^domu wrote' "$work/xen_domu")"
    [ $status = 0 ] && grep -aq 'DUET-RESULT: ok xen_domu.sh' "$work/xen_domu"
    verdict xen_domu/end $? "status $status; $(tail -n 1 "$work/xen_domu.err")"
}
if [ "${SOAK:-}" = 1 ]; then domu; else skip xen_domu "a minute more (SOAK=1 runs it)"; fi

# ---- memtest86+: two passes of all tests but the last, which waits for minutes whether bits fade ----

memtest() {
    echo "set flavour $1" >"$work/expect"
    cat >>"$work/expect" <<'TCL'
start -m 16 -kernel $guest/memtest/boot/memtest86+$flavour.bin -append "console=ttyS0,115200 nobigstatus" -nographic -no-reboot
proc key {letter text} {
    global flavour
    send -- $letter
    if {![await memtest_$flavour/menu $text]} { exit }
}
# On a serial line the digits are the function keys.
if {![await memtest_$flavour/menu "Using: Core #0"]} { exit }
key 1 "<F10> Exit menu"
key 1 "Remove one test.*\\*\\.\\*{9}"
key 2 "Enter test #"
key "10\r" "Current selection:.*\\*\\.\\*{8}\\."
key 0 "Settings:"
send "0"
ok memtest_$flavour/menu
if {![await memtest_$flavour/two_passes "Pass:  2 +Errors: (\[0-9\]+)"]} { exit }
if {$expect_out(1,string) == 0} { ok memtest_$flavour/two_passes } else { fail memtest_$flavour/two_passes "$expect_out(1,string) errors" }
send "\033"
ends memtest_$flavour/exit 0
TCL
    dialog 100 <"$work/expect"
    cp "$work/transcript" "$work/memtest_$1"
}
for flavour in x64 ia32; do
    if [ "${SOAK:-}" = 1 ]; then memtest $flavour; else skip memtest_$flavour "half a minute more (SOAK=1 runs it)"; fi
done

# ---- GRUB-Invaders: it writes into a text screen that is not there, so the screen is put together from what is traced of its writes ----

# 753664 is b8000: an awk need not know hexadecimal.
screen='
function hex(s,  v, i) { v = 0; for (i = 1; i <= length(s); i++) v = v * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1; return v }
$1 == "memory" && $2 == "write" && $3 == 1 { at = hex($4) - 753664; if (at >= 0 && at < 4000 && at % 2 == 0) cell[at / 2] = hex($5) }
END {
    for (y = 0; y < 25; y++) {
        line = ""
        for (x = 0; x < 80; x++) { c = cell[y * 80 + x]; line = line (c > 32 && c < 127 ? sprintf("%c", c) : " ") }
        print line
    }
}'
timeout -k 5 "$(limit 30)" "$duet" -accel "$accel" -m 64 -kernel "$guest/invaders/boot/invaders.exec" -nographic -no-reboot -d io </dev/null 2>&1 |
    head -n 1000000 >"$work/invaders.io"
# Each picture is all of its 4000 bytes; forty invaders are in it.
grep '^memory write' "$work/invaders.io" | head -n 4000 | awk "$screen" >"$work/invaders.first"
awk "$screen" "$work/invaders.io" >"$work/invaders.last"
invaders=$(grep -oF -- '-*-' "$work/invaders.first" | wc -l)
[ "$invaders" = 40 ] && grep -q '/ \\' "$work/invaders.first"
verdict invaders/screen $? "$invaders invaders on the first screen, which has $(grep -c '[^ ]' "$work/invaders.first") lines with something on them"
grep -qF -- '-*-' "$work/invaders.last" && ! cmp -s "$work/invaders.first" "$work/invaders.last"
verdict invaders/move $? "the screen is as it was"
[ "$(grep -c '^port read 1 64 ' "$work/invaders.io")" -gt 1000 ]
verdict invaders/keyboard $? "it does not ask for keys"
rm -f "$work/invaders.io"
