#!/bin/sh
# The ELF image inside Debian's compressed kernel, entered by its PVH note. Where the image is: Documentation/x86/boot.rst, payload_offset.
. "$(dirname "$0")/lib.sh"
need_guest

# number FILE OFFSET BYTES
number() { od -A n -t "u$3" -j "$2" -N "$3" "$1" | tr -d ' '; }

image=$guest/vmlinuz-cloud
setup=$(number "$image" 497 1)
start=$(((${setup:-4} + 1) * 512 + $(number "$image" 584 4)))
length=$(number "$image" 588 4)
# The packed image is followed by four bytes that tell its length.
tail -c "+$((start + 1))" "$image" | head -c "$((length - 4))" >"$work/packed"
lz4 -dc "$work/packed" >"$work/vmlinux" 2>"$work/lz4.err"
if ! readelf -n "$work/vmlinux" 2>/dev/null | grep -q Xen; then
    skip all "the kernel's image is not packed with lz4, or has no note: $(tail -n 1 "$work/lz4.err")"
    exit 0
fi
timeout -k 5 "$(limit 90)" "$duet" -accel "$accel" -m 512 -kernel "$work/vmlinux" -initrd "$guest/initrd-cloud.gz" \
    -append "console=ttyS0 panic=-1 duet.nonet duet.run=cpu.sh" -nographic -no-reboot </dev/null >"$work/console" 2>"$work/stderr"
boot_status=$?
booted debian
rm -f "$work/vmlinux" "$work/packed"
