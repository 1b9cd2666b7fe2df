#!/bin/sh
# libFuzzer (tests/fuzz/) on the decoder, under the sanitizers, and on the whole processor: FUZZ_SECONDS each (60). The corpus stays in build/fuzz, so
# the next run begins where this one ended. An input that fails is kept beside it.
. "$(dirname "$0")/lib.sh"
keep=$top/build/fuzz
seconds=${FUZZ_SECONDS:-60}
mkdir -p "$keep/decode" "$keep/cpu"

if ! command -v clang >/dev/null || ! { echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' >"$work/try.c" &&
    clang -fsanitize=fuzzer,address -o "$work/try" "$work/try.c" >/dev/null 2>&1; }; then
    skip all "no clang with libFuzzer here (Debian's clang and libclang-rt-dev)"
    exit 0
fi
flags="-std=gnu11 -g -O1 -w -I. -pthread -fno-strict-aliasing"
libs="build/rel/libduet.a -lslirp -lffi -lz -lm"
# shellcheck disable=SC2086
clang $flags -fsanitize=fuzzer,address,undefined -o "$work/decode" tests/fuzz/decode.c frontend-x86/decode.c frontend-x86/decode_rows.c frontend-x86/disas.c \
    $libs >"$work/build.log" 2>&1 && clang $flags -fsanitize=fuzzer -o "$work/cpu" tests/fuzz/cpu.c $libs >>"$work/build.log" 2>&1
if [ $? != 0 ]; then
    fail build "$(grep -m 1 error "$work/build.log")"
    exit 1
fi

# fuzz NAME OPTION...: the translator takes host traps for guest faults by itself
fuzz() {
    name=$1
    shift
    ASAN_OPTIONS=detect_leaks=0 timeout -k 5 $((seconds * 2 + 60)) "$work/$name" -max_total_time="$seconds" -timeout=30 -print_final_stats=1 \
        -artifact_prefix="$keep/$name-" "$@" "$keep/$name" >"$work/$name.log" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name.log")
    echo "# $name: $runs inputs"
    [ $status = 0 ] && [ "${runs:-0}" -gt 1000 ]
    verdict "$name" $? "status $status; $(grep -aE 'differ in|ERROR|runtime error' "$work/$name.log" | head -n 1) $(grep -a 'Test unit written' "$work/$name.log")"
}
fuzz decode -max_len=40
fuzz cpu -max_len=64 -len_control=0 -handle_segv=0 -handle_fpe=0 -handle_ill=0 -handle_bus=0
