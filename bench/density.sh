# Host instructions for each guest instruction, in translated code (bench/run sources this, behind machine.sh). The translated code counts itself
# (-d count), which makes it slower, so these are runs of their own, not measured. To stdout: `density NAME RATIO`: of a loop, within it alone;
# `density_class CLASS RATIO`: of all workloads of a class together, kernel included, what the machine's boot takes taken off. Helpers and slow
# paths are not in the host's numbers.

# counted LOG: guest and host instructions that a machine has left in it
counted() { sed -n 's/^count: guest instructions \([0-9]*\) host instructions \([0-9]*\) .*/\1 \2/p' "$1" 2>/dev/null | tail -n 1; }

# density_loops LOOP...: each in a machine that has nothing but the tests' initrd and the program of loops
density_loops() {
    tree=$out/density
    rm -rf "$tree"
    mkdir -p "$tree/tests"
    cp "$guest/bench-root-64/bench/bin/loops" "$tree/loops"
    # shellcheck disable=SC2016
    printf '/loops "$loop"\n' >"$tree/tests/bench.sh"
    { cat "$guest/initrd-cloud.gz"; (cd "$tree" && find . | cpio -o -H newc --owner 0:0 --quiet | gzip -n); } >"$out/density.gz"
    # The range holds all loops' code with their callees: only the one asked for runs.
    range=$(nm -S "$tree/loops" | awk '$4 ~ /^(bench_|chase|fib)/ && $4 !~ /^fib[a-z]/ { print $1, $2 }' | sort)
    first=0x$(echo "$range" | head -n 1 | cut -d' ' -f1)
    last=$(echo "$range" | tail -n 1)
    last=$(printf '0x%x' $((0x${last% *} + 0x${last#* } - 1)))
    for loop in "$@"; do
        progress 64 - "instructions of $loop"
        rm -f "$out/density.log"
        timeout -k 5 $limit "$duet" -accel tcg -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$out/density.gz" -nographic -no-reboot \
            -append "console=ttyS0 quiet panic=-1 duet.nonet duet.run=bench.sh duet.loop=${loop#loop-}" -d count -D "$out/density.log" \
            -dfilter "$first..$last" </dev/null >/dev/null 2>&1 || true
        counted "$out/density.log" | awk -v loop="$loop" '$1 > 0 { printf "density %s %.3f\n", loop, $2 / $1 }'
    done
}

# One boot of the machine with all workloads of a class, or with none: guest and host instructions are left in $box/log
density_boot() {
    duet_log=count
    if machine_start duet "$1" 0 >"$out/density.said"; then
        while IFS='|' read -r name size command <&8; do
            progress "$1" - "instructions of $name"
            machine_run duet "$name" 0 "n=$size port=$port; $command"
        done 8<"$2" >"$out/density.said"
        machine_stop duet >/dev/null
    fi
    duet_log=
    counted "$out/duet/log"
}

# density_classes BITS: all classes of the plan but the boot and the loops
density_classes() {
    plan "$1" 1 | sed '/^boot[0-9]*|/d' | awk -F'|' 'FNR == NR { class[$1] = $2; next }
        class[$1] != "first" && class[$1] != "loops" { print class[$1] "|" $0 }' "$out/rows" - >"$out/plan.classes"
    [ -s "$out/plan.classes" ] || return 0
    : >"$out/plan"
    base=$(density_boot "$1" "$out/plan")
    for class in $(cut -d'|' -f1 "$out/plan.classes" | sort -u); do
        sed -n "s/^$class|//p" "$out/plan.classes" >"$out/plan"
        # shellcheck disable=SC2046
        echo $base $(density_boot "$1" "$out/plan") "$class" |
            awk 'NF == 5 && $3 > $1 { printf "density_class %s %.3f\n", $5, ($4 - $2) / ($3 - $1) }'
    done
}
