#!/bin/sh
# No data race in the program's own code, by ThreadSanitizer (make MODE=tsan), while several vCPUs run. Out of its sight: emitted code, what is
# compiled for general registers only (Makefile: REGSONLY and the pragma), and so the guest's own races; signals that interrupt emitted code come late, so
# nothing is found hot by sampling. With SOAK=1 also memory order, Linux, and the unit tests.
. "$(dirname "$0")/lib.sh"
duet=$top/build/tsan/duet
export TSAN_OPTIONS="suppressions=$top/tests/tsan.supp exitcode=66"

# A race that it must see, or its silence means nothing here.
cat >"$work/race.c" <<'C'
#include <pthread.h>
static int n;
static void *add(void *p) { for (int i = 0; i < 1000; i++) n++; return p; }
int main(void) { pthread_t t; pthread_create(&t, NULL, add, NULL); add(NULL); pthread_join(t, NULL); return 0; }
C
if ! gcc -O1 -g -pthread -fsanitize=thread -o "$work/race" "$work/race.c" 2>"$work/err" || [ ! -x "$duet" ]; then
    skip all "no ThreadSanitizer, or no build/tsan/duet (make MODE=tsan build/tsan/duet): $(tail -n 1 "$work/err")"
    exit 0
fi
"$work/race" >"$work/race.out" 2>&1
[ $? = 66 ] && grep -q 'data race' "$work/race.out"
verdict sees_a_race $? "$(tail -n 1 "$work/race.out")"

# clean NAME STATUS: nothing was reported in $work/NAME, and it ended so
clean() {
    ! grep -q 'WARNING: ThreadSanitizer' "$work/$1" && [ "$status" = "$2" ]
    verdict "$1" $? "status $status; $(grep SUMMARY "$work/$1" | sort | uniq -c | sort -rn | head -n 3 | tr '\n' ';') last: $(tail -n 1 "$work/$1" | cut -c1-100)"
}

# bare NAME CPUS KERNEL
bare() {
    timeout -k 5 "$(limit 240)" "$duet" -accel tcg -smp "$2" -m 64 -kernel "$work/$3" -nographic -no-reboot \
        -device isa-debug-exit,iobase=0x501,iosize=1 </dev/null >"$work/$1" 2>&1
    status=$?
    clean "$1" 1
}
make_kernel smp64 && make_kernel litmus64 -DRUNS=500 || fail kernels "cannot build them"
bare smp_2 2 smp64
bare smp_4 4 smp64
if [ "${SOAK:-}" != 1 ]; then
    skip more "memory order, Linux, unit tests: three minutes more (SOAK=1 runs them)"
    exit 0
fi
bare litmus_2 2 litmus64
bare litmus_4 4 litmus64

for unit in "$top"/build/tsan/tests/*; do
    case $unit in *.d | */gen_exec | */gen_system | */walk_softmmu | */x64_random) continue ;; esac         # one thread, for long
    timeout -k 5 "$(limit 120)" "$unit" >"$work/unit_$(basename "$unit")" 2>&1 </dev/null
    status=$?
    clean "unit_$(basename "$unit")" 0
done

need_guest
mkdir -p "$work/tree/tests"
cp tests/guest/parallel.sh "$work/tree/tests/"
{ cat "$guest/initrd-cloud.gz"; (cd "$work/tree" && find . | cpio -o -H newc --owner 0:0 --quiet | gzip -n); } >"$work/initrd.gz"
timeout -k 5 "$(limit 300)" "$duet" -accel tcg -smp 4 -m 512 -kernel "$guest/vmlinuz-cloud" -initrd "$work/initrd.gz" -nographic -no-reboot \
    -append "console=ttyS0 quiet panic=-1 duet.nonet duet.run=parallel.sh" </dev/null >"$work/linux_4" 2>&1
status=$?
clean linux_4 0
