# The machines of bench/run (sourced): start, one workload, memory, idle, end. A machine's console is two FIFOs in $out/WHO; lines are read from its
# descriptor (fd_of). What is measured goes to stdout:
#   time NAME WHO ROUND NANOSECONDS MD5 CPU HOST     (CPU: nanoseconds of processor time, of the process on the host, natively of the workload
#                                                    itself; HOST: by the host's clock, between the words on the console)
#   fail NAME WHO ROUND why
#   memory WHO BITS ROUND PEAK BEYOND                (KiB: VmHWM, and without guest RAM)
#   idle WHO BITS SHARE                              (of a host processor)
#   counter BITS NAME VALUE                          (what Duet has counted, in the last round)
ram=1024        # MiB
limit=300       # seconds for a boot and for a workload

fd_of() { case $1 in native) echo 3 ;; duet) echo 4 ;; qemu) echo 5 ;; kvm) echo 6 ;; esac; }
nanoseconds() { date +%s%N; }

# What kind of KVM the host has, by the program's own probe.
kvm_kind() {
    [ -w /dev/kvm ] || { echo "none: no /dev/kvm"; return; }
    why=$("$duet" -accel auto -display none -serial null -m 64 -kernel "$guest/vmlinuz-cloud" -append panic=-1 -no-reboot 2>&1 </dev/null |
        sed -n 's/^duet: .*-accel auto: using [a-z]*: //p' | head -n 1)
    case $why in
    *'hardware assistance'*) echo "hardware: $why" ;;
    *) echo "not measured: ${why:-no answer}" ;;
    esac
}

# machine_command WHO BITS: what to start is left in the file `command`, a line of shell
machine_command() {
    kernel=cloud
    [ "$2" = 64 ] || kernel=686-pae
    case $1 in
    native) echo "exec unshare -m sh bench/native.sh '$guest/bench-root-$2' '$out/disk.img'"; return ;;
    duet) echo "exec '$duet' -accel tcg -d ${duet_log:-exec} -D '$out/duet/log' -monitor none \\" ;;
    qemu) echo "exec $qemu -accel tcg -cpu max -monitor none \\" ;;
    kvm) echo "exec '$duet' -accel kvm -monitor none \\" ;;
    esac
    echo "-m $ram -smp 1 -display none -serial stdio -no-reboot -kernel '$guest/vmlinuz-$kernel' -initrd '$guest/initrd-$kernel.gz' \\"
    echo "-append 'console=ttyS0 quiet panic=-1 duet.nonet duet.root=/dev/vda' -nic user,model=virtio-net-pci \\"
    echo "-drive 'file=$guest/bench-$2.img,if=virtio,format=raw,snapshot=on' -drive 'file=$out/disk.img,if=virtio,format=raw,snapshot=on'"
}

# machine_await WHO SECONDS WORDS: waits for a line of the console that has the words and leaves it, with the time before it, in $said; what passes is
# kept in the file `console`
machine_await() {
    said=$(words=$3 timeout "$2" sh -c 'cr=$(printf "\r"); while IFS= read -r line; do
            printf "%s\n" "${line%"$cr"}" >>"$0"
            case $line in *"$words"*) echo "$(date +%s%N) ${line%"$cr"}"; exit 0 ;; esac
        done; exit 1' "$out/$1/console" <&"$(fd_of "$1")")
}

# machine_start WHO BITS ROUND
machine_start() {
    box=$out/$1
    rm -rf "$box"
    mkdir -p "$box"
    mkfifo "$box/in" "$box/out"
    machine_command "$1" "$2" >"$box/command"
    from=$(nanoseconds)
    # Its input is opened for writing as well: it never ends while nobody writes.
    sh "$box/command" <>"$box/in" >"$box/out" 2>"$box/stderr" &
    echo $! >"$box/pid"
    eval "exec $(fd_of "$1")<'$box/out'"
    if [ "$1" != native ]; then
        machine_await "$1" $limit 'login: root' || { machine_lost "$1" "boot$2" "$3"; return 1; }
        echo "time boot$2 $1 $3 $((${said%% *} - from)) boot $(busy "$1")"
    fi
    machine_await "$1" $limit 'ready ' || { machine_lost "$1" "boot$2" "$3"; return 1; }
}

machine_lost() {
    echo "fail $2 $1 $3 no answer $(tail -n 1 "$out/$1/stderr" | tr -d '"\\' | cut -c1-120)"
    kill "$(cat "$out/$1/pid")" 2>/dev/null || true
    : >"$out/$1/lost"
}

# machine_mark WHO WORDS: waits for them, notes both clocks, lets the machine go on
machine_mark() {
    machine_await "$1" $limit "$2" || return 1
    clock=$(nanoseconds) cpu=$(busy "$1")
    echo go >"$out/$1/in"
}

# machine_run WHO NAME ROUND COMMAND
machine_run() {
    [ ! -e "$out/$1/lost" ] || { echo "fail $2 $1 $3 the machine was lost before"; return; }
    echo "run $2 $4" >"$out/$1/in"
    machine_mark "$1" "start $2" && start=$clock before=$cpu && machine_mark "$1" "stop $2" && stop=$clock after=$cpu &&
        machine_await "$1" $limit "took $2 " || { machine_lost "$1" "$2" "$3"; return; }
    # shellcheck disable=SC2086
    set -- "$1" "$2" "$3" $said
    [ "$1" != native ] || after=${10} before=0
    if [ "$8" != 0 ]; then
        who=$1 name=$2 round=$3 status=$8
        shift 10
        echo "fail $name $who $round status $status: $*"
    # Whoever runs, its clock may not run faster than the host's, nor slower by more than what the words on the console and a busy host take.
    elif awk -v host=$((stop - start)) -v its="$7" 'BEGIN { d = host - its; exit !(d < -(0.01 * its + 2e6) || d > 0.05 * its + 2e9) }'; then
        echo "fail $2 $1 $3 clocks disagree: $7 ns in the guest, $((stop - start)) on the host"
    else
        echo "time $2 $1 $3 $7 $9 $((after - before)) $((stop - start))"
    fi
}

# machine_memory WHO BITS ROUND: guest RAM is the one mapping of just that size. Shared memory that is mapped twice is resident twice, and is there once.
machine_memory() {
    [ ! -e "$out/$1/lost" ] || return 0
    pid=$(cat "$out/$1/pid")
    awk -v who="$1" -v bits="$2" -v round="$3" -v ram=$((ram * 1024)) '
        /^[0-9a-f]+-[0-9a-f]+ / { twice = /memfd:|\/dev\/zero/ }
        /^VmHWM:/ { peak = $2 }
        /^Size:/ { size = $2 }
        /^Rss:/ { resident = $2; if (size == ram) out += $2 }
        /^Pss:/ && twice && size != ram { out += resident - $2 }
        END { print "memory", who, bits, round, peak, peak - out }' "/proc/$pid/status" "/proc/$pid/smaps"
}

# Processor time of a machine's process in nanoseconds, to 10 ms; the name in the second field may have blanks.
busy() { sed 's/.*) //' "/proc/$(cat "$out/$1/pid")/stat" | awk '{ printf "%.0f\n", ($12 + $13) * 1e7 }'; }

# machine_idle BITS "WHO...": all machines do nothing for a while
machine_idle() {
    sleep 2
    for who in $2; do [ "$who" = native ] || [ -e "$out/$who/lost" ] || busy "$who" >"$out/$who/busy"; done
    sleep "$idle"
    for who in $2; do
        [ "$who" = native ] || [ -e "$out/$who/lost" ] || awk -v who="$who" -v bits="$1" -v from="$(cat "$out/$who/busy")" \
            -v to="$(busy "$who")" -v s="$idle" 'BEGIN { printf "idle %s %s %.4f\n", who, bits, (to - from) / 1e9 / s }'
    done
}

# machine_counters BITS: of the last machine
machine_counters() { sed -n "s/^counter \([a-z_0-9]*\)  *\([0-9]*\) .*/counter $1 \1 \2/p" "$out/duet-$1.log" 2>/dev/null || true; }

# machine_stop WHO
machine_stop() {
    pid=$(cat "$out/$1/pid")
    [ -e "$out/$1/lost" ] || echo quit >"$out/$1/in"
    # The rest of the console is read, or the machine could wait for room in the FIFO.
    timeout 30 cat <&"$(fd_of "$1")" >/dev/null || kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    eval "exec $(fd_of "$1")<&-"
    rm -f "$out/$1/pid"
}

# What still runs when bench/run is interrupted.
machines_kill() { for who in native duet qemu kvm; do [ ! -e "$out/$who/pid" ] || kill "$(cat "$out/$who/pid")" 2>/dev/null || true; done; }
