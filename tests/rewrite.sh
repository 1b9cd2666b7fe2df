#!/bin/sh
# Code that changes while other CPUs run it: a program that makes code (tests/guest/jit.c), which says in the guest what it says natively, and
# with SOAK=1 the guest kernel's function tracer, switched on and off a thousand times with four busy CPUs.
. "$(dirname "$0")/lib.sh"
need_guest
rounds=1000 full=2 jit=${SOAK:+4}20

mkdir -p "$work/tree/bin" "$work/tree/tests"
if ! gcc -O2 -Wall -Wextra -Werror -static -pthread -o "$work/tree/bin/jit" tests/guest/jit.c 2>"$work/gcc.log"; then
    fail build "$(grep -m 1 error "$work/gcc.log")"
    exit 0
fi
cp tests/guest/ftrace.sh "$work/tree/tests/"
echo "jit $jit" >"$work/tree/tests/jit.sh"
{ cat "$guest/initrd-cloud.gz"; (cd "$work/tree" && find . | cpio -o -H newc --owner 0:0 --quiet) | gzip -1; } >"$work/initrd.gz"

# guest_run SCRIPT SECONDS: its console is in $work/SCRIPT.out
guest_run() {
    timeout -k 5 "$(limit "$2")" "$duet" -accel "$accel" -smp 4 -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$work/initrd.gz" -nographic -no-reboot \
        -append "console=ttyS0 panic=-1 quiet rcupdate.rcu_cpu_stall_timeout=$(limit 21) duet.nonet duet.rounds=$rounds duet.full=$full duet.run=$1" </dev/null >"$work/raw" 2>"$work/stderr"
    status=$?
    tr -d '\r' <"$work/raw" >"$work/$1.out"
}

"$work/tree/bin/jit" "$jit" >"$work/native"
grep -q '^poke: none wrong, all saw' "$work/native" && ! grep -q 'instead of' "$work/native"
verdict native $? "the program does not work here: $(tail -n 1 "$work/native")"
guest_run jit.sh ${SOAK:+10}60
grep -aE '^(generate|own|poke|jit): ' "$work/jit.sh.out" | cmp -s - "$work/native"
verdict jit $? "natively $(tail -n 1 "$work/native"), in the guest $(grep -aE '^(generate|own|poke|jit)' "$work/jit.sh.out" | tail -n 1), $(tail -n 1 "$work/stderr")"

if [ "${SOAK:-}" != 1 ]; then
    skip ftrace "a thousand switches take minutes (SOAK=1 runs it)"
    exit 0
fi
guest_run ftrace.sh 1500
want=$((rounds + full))
[ $status = 0 ] && grep -aqx "switched $want" "$work/ftrace.sh.out"
verdict ftrace $? "status $status, $(grep -a '^switched' "$work/ftrace.sh.out") of $want; last: $(tail -n 1 "$work/ftrace.sh.out" | cut -c1-100) $(tail -n 1 "$work/stderr")"
! grep -aq '^kernel: ' "$work/ftrace.sh.out"
verdict ftrace_quiet $? "$(grep -a '^kernel: ' "$work/ftrace.sh.out" | head -n 1)"
