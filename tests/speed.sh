#!/bin/sh
# `info speed`, -d speed, -d hot, -perfmap, -jitdump: what is counted while Debian's cloud kernel boots is there and plausible; shares of time add up;
# the function that a bare-metal kernel spends its time in is the one that is named, with its instructions counted; perf's files can be parsed.
. "$(dirname "$0")/lib.sh"

# value SECTION NAME: a figure of the line of JSON in $json
value() { printf '%s\n' "$json" | sed -n "s/.*\"$1\": {\([^}]*\)}.*/\1/p" | tr ',' '\n' | sed -n "s/^ *\"$2\": *\([-0-9.]*\)\$/\1/p"; }
json_of() { json=$(sed -n 's/^speed-json //p' "$1"); }
# holds CONDITION NAME=VALUE...: awk's
holds() {
    condition=$1
    shift
    for pair in "$@"; do set -- "$@" -v "${pair%%=*}=${pair#*=}"; shift; done
    awk "$@" "BEGIN { exit !($condition) }"
}

# ---- a bare-metal kernel whose time goes into one function ----

gcc -std=gnu11 -O2 -ffreestanding -fno-math-errno -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables -falign-functions=64 -I. \
    -c -o "$work/compute.o" bench/compute.c && make_kernel engines64 -I. "$work/compute.o" ||
    { fail kernel "$(tail -n 1 "$work/engines64.log")"; exit 0; }
# metal NAME WORKLOAD TICKS OPTION...: the trace is NAME.trace; perf's files are in $work
metal() {
    metal_name=$1 metal_work="$2 $3"
    shift 3
    (cd "$work" && exec timeout -k 5 "$(limit 30)" "$duet" -m 64 -kernel engines64 -append "$metal_work" -display none -serial stdio -no-reboot \
        -device isa-debug-exit,iobase=0x501,iosize=1 -D "$metal_name.trace" "$@") </dev/null >"$work/$metal_name.console" 2>&1
    json_of "$work/$metal_name.trace"
}
metal integer integer 2000000000 -accel tcg,profile=on -d speed,hot -jitdump
top=$(value guest_functions integer)
holds 'top > 90 && tight > 80' top="${top:-0}" tight="$(value share tight)"
verdict names $? "integer has ${top:-no} % of the time: $(printf '%s\n' "$json" | sed 's/.*"guest_functions": {\([^}]*\).*/\1/')"
grep -aqE '^hot 1: .*\(integer\+0x[0-9a-f]+\)' "$work/integer.trace" &&
    sed -n '/^hot 1/,/^hot 2/p' "$work/integer.trace" | tr '\n' '@' |
    grep -aq '@guest:@.* rol .*@IR:@.*rol.*@OPT:@.*rol.*@host: .*@ *[1-9][0-9.]*%  0x[0-9a-f]*: '
verdict hot/stages $? "$(grep -am 1 '^hot 1' "$work/integer.trace")"

metal count integer 1000000000 -accel tcg,profile=count -d speed
turns=$(tr -d '\r' <"$work/count.console" | sed -n 's/^took integer .* \([0-9]*\)$/\1/p')
holds 'turns > 0 && n > 9.9 * turns && n < 10.5 * turns' turns="${turns:-0}" n="$(value time guest_instructions)"
verdict instructions $? "$(value time guest_instructions) counted in ${turns:-?} turns of 10"

metal out port_write 500000000 -accel tcg,profile=on -d speed
holds 'out > 20 && device > 5' out="$(value helpers out)" device="$(value share device)"
verdict helper $? "OUT has $(value helpers out) % of a loop of it, the devices $(value share device) %"

metal off port_write 20000000 -accel tcg -d speed -symbols "$work/nothing"
grep -q '^duet: -symbols .*nothing: No such file' "$work/off.console"
verdict symbols_missing $? "$(tail -n 1 "$work/off.console")"
nm "$work/engines64" | sed -n 's/ integer$/ whole_numbers/p' >"$work/System.map"
metal list integer 500000000 -accel tcg,profile=on -d speed -symbols "$work/System.map"
holds 'whole > 90' whole="$(value guest_functions whole_numbers)"
verdict symbols_list $? "whole_numbers has $(value guest_functions whole_numbers) %"
metal small port_write 20000000 -accel tcg,cache-kib=160 -d speed
holds 'flushes > 0 && dropped >= flushes' flushes="$(value counters cache_flushes)" dropped="$(value counters drop_flush)"
verdict flushes $? "$(value counters cache_flushes) flushes of a small cache, $(value counters drop_flush) blocks dropped by them"
metal off port_write 20000000 -accel tcg -d speed
[ -n "$(value counters port_write)" ] && [ -z "$(value share code)" ]
verdict off $? "sampled without being asked"

# ---- jitdump: the records follow each other to the end of the file, and one is the block that was hottest ----

dump=$(ls "$work"/jit-*.dump)
od -An -v -tu1 -w1 "$dump" | awk '
    { b[NR - 1] = $1 + 0 }
    function u32(o) { return b[o] + 256 * (b[o + 1] + 256 * (b[o + 2] + 256 * b[o + 3])) }
    function u64(o) { return u32(o) + 4294967296 * u32(o + 4) }
    END {
        if (u32(0) != 1248416836) bad = bad " magic" u32(0)
        if (u32(4) != 1 || u32(12) != 62) bad = bad " header"
        for (o = u32(8); o + 16 <= NR; o += u32(o + 4)) {
            if (u32(o + 4) < 16 || o + u32(o + 4) > NR) { bad = bad " size@" o; break }
            last = u32(o)
            if (u64(o + 8) < time) bad = bad " time@" o
            time = u64(o + 8)
            if (last)
                continue
            if (u64(o + 24) != u64(o + 32) || u64(o + 48) != loads++) bad = bad " load@" o
            name = ""
            for (p = o + 56; b[p]; p++) name = name sprintf("%c", b[p])
            if (p + 1 + u64(o + 40) != o + u32(o + 4)) bad = bad " length@" o
            print name, u64(o + 24), u64(o + 40)
        }
        if (o != NR || last != 3) bad = bad " end@" o "/" NR
        print "bad:" bad
    }' >"$work/dump.names"
grep -q '^bad:$' "$work/dump.names" && grep -q '^integer+0x[0-9a-f]* ' "$work/dump.names" && grep -q '^duet-stubs ' "$work/dump.names"
verdict jitdump $? "$(tail -n 1 "$work/dump.names") in $(wc -l <"$work/dump.names") records of $dump"

# ---- a boot ----

need_guest
accel=tcg,profile=on
boot cloud 60 "quiet duet.nonet duet.run=hello.sh" -d speed,hot -D "$work/trace" -perfmap
booted boot
json_of "$work/trace"

none=
for name in port_read port_write mmio cpuid rdmsr wrmsr cr3_writes invlpg exceptions page_faults interrupts blocks block_insns ir_ops code_bytes hot_blocks \
    tight_loops single_blocks guest_bytes links relinks fpu_saves drop_written drop_hot left_site left_jmpi left_lookup left_poll unwound_fault \
    unwound_single slow_accesses region_misses slow_copies tlb_refills shadow_misses walks region_fills root_switches root_new tracked_pages \
    tracked_stores shadow_drops; do
    holds 'n > 0' n="$(value counters $name)" || none="$none $name"
done
[ -z "$none" ]
verdict counters $? "zero or not there after a boot:$none"
# above NAME NAME: the first counter is at least the second
above() {
    set -- "$1" "$2" "$(value counters "$1")" "$(value counters "$2")"
    holds 'a >= b' a="$3" b="$4" || echo " $1($3) < $2($4)"
}
wrong=$(above slow_accesses region_misses; above shadow_misses page_faults; above walks shadow_misses; above blocks hot_blocks
    above exceptions page_faults; above links relinks; above code_bytes guest_bytes; above tracked_stores drop_written)
[ -z "$wrong" ]
verdict consistent $? "$wrong"

shares=$(printf '%s\n' "$json" | sed 's/.*"share": {\([^}]*\)}.*/\1/')
sum=$(printf '%s\n' "$shares" | tr ',' '\n' | awk '{ s += $2 } END { print s }')
holds 'sum > 99.9 && sum < 100.1' sum="$sum"
verdict shares/sum $? "they add up to $sum %: $shares"
none=
for name in user system; do
    holds 'n > 0' n="$(value guest $name)" || none="$none $name"
done
for name in walk translate hot code memory helper between; do
    holds 'n > 0' n="$(value share $name)" || none="$none $name"
done
[ -z "$none" ] && holds 'n > 100' n="$(value samples samples)"
verdict shares/all $? "nothing in:$none ($(value samples samples) samples)"
named=$(printf '%s\n' "$json" | sed 's/.*"helpers": {\([^}]*\)}.*/\1/' | tr ',' '\n' | awk '{ s += $2 } END { print s }')
holds 'a > 0.7 * b && a < 1.3 * b + 5' a="$named" b="$(value share helper) + 0"
verdict helpers $? "those named have $named %, all $(value share helper) %"

shown=$(grep -ac '^hot [0-9]*: ' "$work/trace")
whole=$(awk '/^hot /{ n += s >= 4; s = 0 } /^(guest|IR|OPT|host):/{ s++ } END { print n + (s >= 4) }' "$work/trace")
[ "$shown" = 10 ] && [ "$whole" -ge 5 ] &&
    awk '/^hot /{ sub(/%/, "", $3); if (n++ && $3 + 0 > last) bad = 1; last = $3 + 0 } END { exit bad }' "$work/trace"
verdict hot/order $? "$shown blocks, $whole of them through all stages"

# The map has the code of the first block that is shown with its code.
map=$(ls -t /tmp/perf-*.map 2>/dev/null | head -n 1)
cp "$map" "$work/perf.map" && rm -f "$map"
first=$(sed -n '/^host:/{n;s/.*  0x\([0-9a-f]*\): .*/\1/p;q}' "$work/trace")
grep -q "^$first [0-9a-f]* " "$work/perf.map" && ! grep -qvE '^[0-9a-f]+ [0-9a-f]+ [^ ]+$' "$work/perf.map" &&
    holds 'lines > blocks' lines="$(wc -l <"$work/perf.map")" blocks="$(value counters blocks)"
verdict perfmap $? "$first is not among $(wc -l <"$work/perf.map") lines of $map, or they are not as they should be"

boot cloud 60 "quiet duet.nonet duet.run=hello.sh" -smp 2 -d speed -D "$work/trace.smp"
booted smp
json_of "$work/trace.smp"
sum=$(printf '%s\n' "$json" | sed 's/.*"share": {\([^}]*\)}.*/\1/' | tr ',' '\n' | awk '{ s += $2 } END { print s }')
holds 'sum > 99.9 && sum < 100.1 && cpus == 2 && idle > 5' sum="$sum" cpus="$(value time cpus)" idle="$(value share idle)"
verdict shares/smp $? "they add up to $sum %; $(value time cpus) CPUs, $(value share idle) % asleep"

# ---- the monitor ----

monitor() { timeout -k 5 "$(limit 20)" "$duet" -accel tcg -m 512 -display none -kernel "$guest/vmlinuz-cloud" -append "console=ttyS0 quiet" \
    -serial null -monitor stdio 2>&1 | tr -d '\r' >"$work/monitor"; }
(sleep 1; echo info speed; echo info speed -j; echo info speed -x; echo info hot; echo profile on; sleep 1; echo profile count; sleep 1
    echo info speed -j; echo info hot 1; echo profile off; sleep 0.5; echo profile maybe; echo quit) | monitor
said() { grep -qE "$1" "$work/monitor"; }
json=$(grep -o '{"time".*' "$work/monitor" | head -n 1)
[ "$(value time cpus)" = 1 ] && [ -z "$(value share code)" ] && said '^  blocks +[1-9][0-9]* +[0-9.]+/s  blocks translated' &&
    said "'-x' is not known \(valid: -j\)" && said '^\(duet\) hot: nothing was sampled' && said "'maybe' is not known"
verdict monitor/off $? "$(tail -n 3 "$work/monitor" | cut -c1-200)"
json=$(grep -o '{"time".*' "$work/monitor" | tail -n 1)
holds 'n > 1000 && s < 2' n="$(value time guest_instructions)" s="$(value time seconds)" && [ -n "$(value share code)" ] && said '^\(duet\) hot 1: '
verdict monitor/on $? "$(printf '%s' "$json" | cut -c1-300)"
