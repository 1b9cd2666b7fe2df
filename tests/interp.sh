#!/bin/sh
# The same initrd under -accel interp: the same console output as under -accel tcg, but for timings.
. "$(dirname "$0")/lib.sh"
need_guest

# What tells the time, and what depends on it, is taken out: stamps, clock rates, the order of what other threads
# say at the same time (and the numbers they give their devices), and the kernel's remarks about a slow host.
normal() {
    sed -e 's/^\[ *[0-9.]*\] //' -e 's/[0-9.]* MHz/N MHz/g' -e 's/[0-9.]* BogoMIPS/N BogoMIPS/' -e 's/lpj=[0-9]*/lpj=N/' -e 's/[0-9]* usecs/N usecs/' \
        -e 's/[0-9.]* [mnu]s\b/N ms/g' -e 's/0x[0-9a-f]\{8,\}/0xN/g' -e 's/[0-9][0-9-]*T[0-9:]* UTC ([0-9]*)/DATE/' \
        -e 's,/input[0-9]*$,/inputN,' "$1" |
        grep -avE 'hpet: Lost|too long|hogged|stall|hrtimer: |random: |clocksource|tsc: |rtc_cmos|sched_clock|audit|avg|refined|Freeing|raid6|xor:|ms$' | sort
}
# A kernel at a random address counts its free memory differently at each boot: nokaslr.
for accel in tcg interp; do
    if [ $accel = tcg ]; then seconds=90; else seconds=700; fi
    boot cloud $seconds "nokaslr duet.nonet duet.run=cpu.sh" -drive "file=$guest/busybox,if=virtio,format=raw,snapshot=on"
    booted "$accel" || exit 0
    cp "$work/console" "$work/console.$accel"
    normal "$work/console" >"$work/normal.$accel"
done
diff "$work/normal.tcg" "$work/normal.interp" >"$work/difference"
same=$?
cat "$work/difference"
verdict same_console $same "$(grep -c '^[<>]' "$work/difference") lines differ (see the log)"
[ "$(wc -l <"$work/normal.tcg")" -gt 100 ]
verdict length $? "only $(wc -l <"$work/normal.tcg") lines on the console"
