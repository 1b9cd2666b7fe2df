#!/bin/sh
# The measuring part of bench/engines, also run inside its nested machine (so: nothing that busybox lacks). One machine a workload, engine and round;
# the engines take turns, so that what else the host does hits all of them.
# usage: engines_run.sh DUET KERNEL NATIVE DISK TICKS ROUNDS "ENGINE..." "NAME..."     ENGINE: native, or what -accel takes
# Prints `tsc HERTZ`, `time ENGINE NAME TICKS OPS CHECK`, `fail ENGINE NAME why`, and of the last round `count ENGINE NAME OPS COUNTER VALUE`.
set -u
duet=$1 kernel=$2 native=$3 disk=$4 ticks=$5 rounds=$6 engines=$7 names=$8
said=${TMPDIR:-/tmp}/engines.$$
trap 'rm -f "$said" "$said.count"' EXIT

# -D must not be seen by an earlier run: a machine that ends badly has none.
machine() {
    rm -f "$said.count"
    timeout -k 5 "${LIMIT:-60}" "$duet" -accel "$1" -m 64 -kernel "$kernel" -append "$2 $ticks" -display none -serial stdio -no-reboot \
        -device isa-debug-exit,iobase=0x501,iosize=1 -drive "file=$disk,if=virtio,format=raw" -nic user,model=virtio-net-pci \
        -d exec -D "$said.count" </dev/null >"$said" 2>&1
    status=$?
}

# measure ENGINE NAME LAST
measure() {
    engine=${1%%,*}
    machine "$1" "$2"
    if ! grep -q '^took ' "$said"; then
        echo "fail $engine $2 $(sed -n "s/^failed $2 //p; s/^duet: //p" "$said" | tr -d '\r"\\' | head -n 1 | grep . || echo "status $status")"
        return
    fi
    tr -d '\r' <"$said" | sed -n "s/^took \([^ ]* [0-9]* [0-9]* [0-9]*\) .*/time $engine \1/p"
    [ "$3" = 0 ] || sed -n 's/^counter \([a-z_0-9]*\) *\([0-9]*\) .*/\1 \2/p' "$said.count" |
        sed "s/^/count $engine $2 $(tr -d '\r' <"$said" | sed -n 's/^took .* //p') /"
}

round=1
while [ "$round" -le "$rounds" ]; do
    case " $engines " in *' native '*)
        # shellcheck disable=SC2086
        "$native" "$ticks" "$disk" $names | sed 's/^took \([^ ]* [0-9]* [0-9]* [0-9]*\) .*/time native \1/' ;;
    esac
    for name in empty $names; do
        for which in $engines; do
            [ "$which" = native ] || measure "$which" "$name" $((round == rounds))
        done
    done
    round=$((round + 1))
done
