#!/bin/sh
# The third opinion: the cases of the generators in every mode, and the inputs of the fuzz target, on /dev/kvm beside the interpreter and the
# translator (tests/unit/gen_kvm.c, tests/fuzz/cpu.c): a KVM in a translated guest, whose processor is the translator with SVM. On a host whose /dev/kvm
# has hardware behind it gen_kvm is among the unit tests, too. SOAK=1: five times as many, others each time.
. "$(dirname "$0")/lib.sh"
need_guest
cases=100 base=1
[ -z "${SOAK:-}" ] || { cases=500 && base=$(date +1%j%H); }
keep=$top/build/fuzz/cpu

if [ -z "$(find "$guest/cloud/lib/modules" -name kvm-amd.ko)" ]; then
    skip all "the guest kernel's package has no kvm-amd module"
    exit 0
fi
mkdir -p "$work/corpus"
find "$keep" -type f 2>/dev/null | sort | head -n 2000 | while read -r file; do cp "$file" "$work/corpus/"; done
[ -n "$(ls "$work/corpus")" ] || printf '\001\002\003\004\005\220' >"$work/corpus/nop"
if ! gcc -std=gnu11 -O2 -w -I. -pthread -fno-strict-aliasing -DREPLAY -o "$work/replay" tests/fuzz/cpu.c build/rel/libduet.a -lslirp -lffi -lz -lm \
    2>"$work/gcc.log"; then
    fail build "$(grep -m 1 error "$work/gcc.log")"
    exit 0
fi
if ! tests/guest/mknested.sh "$duet" "$work/outer.gz" tests/guest/nested_cases.sh build/rel/tests/gen_kvm "$work/replay" "$work/corpus" >"$work/mknested.log" 2>&1; then
    fail nested "cannot make the outer initrd: $(tail -n 1 "$work/mknested.log")"
    exit 0
fi
timeout -k 5 "$(limit $((90 + cases * 2 / 3)))" "$duet" -accel tcg -cpu max,+svm -m 1024 -nographic -no-reboot -kernel "$guest/vmlinuz-cloud" -initrd "$work/outer.gz" \
    -append "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check duet.cases=$cases duet.base=$base" </dev/null >"$work/raw" 2>"$work/err"
status=$?
tr -d '\r' <"$work/raw" >"$work/out"
grep -a '^#' "$work/out"
sed -n "s,^\(ok\|FAIL\|skip\) nested/,\1 $test_name/,p" "$work/out"
grep -q '^nested: end' "$work/out"
verdict end $? "status $status; last: $(grep -v '^ *$' "$work/out" | tail -n 1 | cut -c1-100)"
# Some of a kind are not asked; most are, in every mode and by both programs.
asked=$(awk '/^# kvm was asked/ { print $5 }' "$work/out" | tr '\n' ' ')
echo "$asked" | awk -v n=$((cases * 40)) '{ exit !($1 > n && $2 > n / 4) }'
verdict asked $? "kvm was asked: $asked"
