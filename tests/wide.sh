#!/bin/sh
# Debian's amd64 kernel with all that -cpu max has: 5-level paging, protection keys and PCIDs are in use, and a static program (tests/guest/wide.c)
# sees them right; with +pmu the kernel's watchdog gets its interrupts. With -cpu duet64 nothing of this is there.
. "$(dirname "$0")/lib.sh"
need_guest

mkdir -p "$work/tree/bin"
if ! gcc -O2 -Wall -Wextra -Wno-unused-parameter -Werror -static -o "$work/tree/bin/wide" tests/guest/wide.c 2>"$work/gcc.log"; then
    fail build "$(grep -m 1 error "$work/gcc.log")"
    exit 0
fi
{ cat "$guest/initrd-generic.gz"; (cd "$work/tree" && find . | cpio -o -H newc --owner 0:0 --quiet) | gzip -1; } >"$work/initrd.gz"

# guest_run CPU ENGINE: its console is in $work/console
guest_run() {
    timeout -k 5 "$(limit 120)" "$duet" -accel "$2" -cpu "$1" -m 512 -kernel "$guest/vmlinuz-generic" -initrd "$work/initrd.gz" -nographic -no-reboot \
        -append "console=ttyS0 panic=-1 nmi_watchdog=1 quiet duet.nonet duet.run=wide.sh" </dev/null >"$work/console.raw" 2>"$work/stderr"
    tr -d '\r' <"$work/console.raw" >"$work/console"
}
# says NAME PATTERN
says() {
    grep -aqE -- "$2" "$work/console"
    verdict "$1" $? "no '$2'; $(tail -n 1 "$work/stderr") last: $(grep -av '^ *$' "$work/console" | tail -n 1 | cut -c1-100)"
}

guest_run max,+pmu "$accel"
for flag in la57 pku ospke pcid invpcid umip smap xsaves; do
    says "max/$flag" "^flags.* $flag( |\$)"
done
says max/keys '^keys 0 bad'
says max/high '^high 0 bad'
says pmu/interrupts '^ *PMI: +[1-9]'
guest_run duet64 "$accel"
says duet64/keys '^keys absent'
says duet64/high '^high absent'
