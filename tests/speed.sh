#!/bin/sh
# `info speed` and -d speed: what is counted while Debian's cloud kernel boots is there, and is plausible.
. "$(dirname "$0")/lib.sh"
need_guest

boot cloud 60 "quiet duet.nonet duet.run=hello.sh" -d speed -D "$work/trace" >/dev/null
json=$(sed -n 's/^speed-json //p' "$work/trace")
# value SECTION NAME: a figure of the JSON line
value() { printf '%s\n' "$json" | sed -n "s/.*\"$1\": {\([^}]*\)}.*/\1/p" | tr ',' '\n' | sed -n "s/^ *\"$2\": *\([-0-9.]*\)\$/\1/p"; }

none=
for name in port_read port_write mmio cpuid rdmsr wrmsr cr3_writes invlpg exceptions page_faults interrupts blocks block_insns ir_ops code_bytes hot_blocks \
    tight_loops single_blocks guest_bytes links relinks fpu_saves drop_written drop_hot left_site left_jmpi left_lookup left_poll unwound_fault \
    unwound_single slow_accesses region_misses slow_copies tlb_refills shadow_misses walks region_fills root_switches root_new tracked_pages \
    tracked_stores shadow_drops; do
    [ "$(value counters $name | cut -d. -f1)" -gt 0 ] 2>/dev/null || none="$none $name"
done
[ -z "$none" ]
verdict counters $? "zero or not there after a boot:$none"
# above SECTION NAME SECTION NAME: the first is at least the second
above() { awk -v a="$(value "$1" "$2")" -v b="$(value "$3" "$4")" 'BEGIN { exit !(a != "" && b != "" && a >= b) }' || echo " $2($(value "$1" "$2")) < $4($(value "$3" "$4"))"; }
wrong=$(above counters slow_accesses counters region_misses; above counters shadow_misses counters page_faults; above counters walks counters shadow_misses
    above counters blocks counters hot_blocks; above counters exceptions counters page_faults; above counters links counters relinks)
[ -z "$wrong" ]
verdict consistent $? "$wrong"

# In the monitor, as text and as JSON.
(sleep 1; echo info speed; echo info speed -j; echo info speed -x; sleep 0.5; echo quit) | timeout -k 5 "$(limit 20)" "$duet" -accel tcg -m 512 -display none \
    -kernel "$guest/vmlinuz-cloud" -append "console=ttyS0 quiet" -serial null -monitor stdio 2>&1 | tr -d '\r' >"$work/monitor"
grep -qE '^  blocks +[1-9][0-9]* +[0-9.]+/s  blocks translated' "$work/monitor" && json=$(grep -m 1 '^(duet) {"time"' "$work/monitor") && [ "$(value time cpus)" = 1 ] &&
    grep -q "'-x' is not known (valid: -j)" "$work/monitor"
verdict monitor $? "$(tail -n 3 "$work/monitor" | cut -c1-200)"
