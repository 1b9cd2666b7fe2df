#!/bin/sh
# The long form of the generated cases (make soak): more than two million against the host's processor, with other seeds than check's, and half a
# million of interpreter against translator in every mode of the machine; paging at length.
. "$(dirname "$0")/lib.sh"

# long NAME PROGRAM ENVIRONMENT...
long() {
    name=$1 program=$2
    shift 2
    env "$@" "build/rel/tests/$program" >"$work/$name" 2>&1
    status=$?
    sed -n "s,^\(FAIL\|skip\) ,\1 $test_name/$name/,p" "$work/$name"
    verdict "$name" $status "$(grep -m 1 '^case' "$work/$name")"
}
# Their numbers: "# 2099 rows, 755640 cases", "# 180000 blocks", "# 18000 loops", "# long: 104980 cases".
count() { awk '/^# / { for (i = 2; i < NF; i++) if ($(i + 1) ~ /^(cases|blocks|loops),/) n += $i } END { print n + 0 }' "$work/$1"; }

base=$(date +1%j%H)                                  # other cases each time: said, so that they can be had again
echo "# DUET_BASE=$base"
long host gen_exec DUET_BASE="$base" DUET_CASES=900 DUET_SURVEY=1
cases=$(count host)
echo "# $cases cases against the host's processor"
[ "$cases" -ge 2000000 ]
verdict two_million $? "$cases"
long system gen_system DUET_BASE="$base" DUET_CASES=1000
cases=$(count system)
echo "# $cases cases of interpreter against translator"
[ "$cases" -ge 400000 ]
verdict system_cases $? "$cases"
long paging walk_softmmu SOAK=1
