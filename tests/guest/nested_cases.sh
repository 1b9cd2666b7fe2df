# Runs in the outer guest (mknested.sh): the generated cases and the fuzzer's inputs on a third engine, this guest's /dev/kvm. What the programs say
# is said with `nested/` before it.
dmesg -n 1
cases=$(sed -n 's/.*duet.cases=\([0-9]*\).*/\1/p' /proc/cmdline)
base=$(sed -n 's/.*duet.base=\([0-9]*\).*/\1/p' /proc/cmdline)
run() {
    name=$1
    shift
    "$@" >/out 2>&1 </dev/null
    status=$?
    sed "s,^\(ok\|FAIL\|skip\) ,\1 nested/$name/," /out
    [ $status = 0 ] || grep -q '^FAIL' /out || echo "FAIL nested/$name/status: $status $(tail -n 1 /out)"
}
export DUET_CASES=$cases DUET_BASE=$base
run gen_kvm /gen_kvm
run replay /replay $((cases * 15)) /corpus/*
echo "nested: end"
